/* cuts.c -- see cuts.h. */
#include "kernels/cuts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pn_status pn_cuts_read(pn_cuts *cuts) {
    static const pn_cuts usual = {PN_BLOCKS, PN_BLOCKS, 1};
    const char *at = getenv("PARSEC_CUTS");
    pn_cuts c = *cuts = usual;
    int value, read;
    for (; at && *(at += strspn(at, " ")); at += read) {
        read = 0;
        if (sscanf(at, "blocks=%d%n", &value, &read) == 1 && value >= 16 && value <= PN_MOST_BLOCKS)
            c.blocks = value;
        else if (sscanf(at, "halves=%d%n", &value, &read) == 1 && value >= 0 && value <= 1 << 16)
            c.halves = value;
        else if (sscanf(at, "cost=%d%n", &value, &read) == 1 && (value == 0 || value == 1))
            c.cost = value;
        else
            read = 0;
        if (!read || (at[read] && at[read] != ' '))
            return pn_fail(PN_EARG,
                           "PARSEC_CUTS: \"%s\", want blocks=16 to %d, halves=0 or more, cost=0 or "
                           "1",
                           at, PN_MOST_BLOCKS);
    }
    *cuts = c;
    return PN_OK;
}
