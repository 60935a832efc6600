/* table.h -- a table of known cells: lines of CELL,ACCURACY below a line architecture,NAME. */
#ifndef PN_TABLE_H
#define PN_TABLE_H

#include <stddef.h>

#include "kernels/status.h"
#include "search/network/space.h"

enum {
    PN_KNOWN_LEAST = 100,    /* cells: fewer say little */
    PN_KNOWN_MOST = 20000,   /* 1 KB each while they are fitted */
    PN_KNOWN_FILE = 1 << 23, /* bytes */
    PN_MEASURE_BYTES = 48
};

typedef struct pn_known_cell {
    pn_arch arch;    /* with the terms of each node in one order */
    double accuracy; /* percent */
    int line;
} pn_known_cell;

typedef struct pn_known {
    char measure[PN_MEASURE_BYTES]; /* the name of the accuracy */
    pn_known_cell *cell;            /* no two are the same network */
    int count;
} pn_known;

/* Reads `size` bytes of a table; a zero follows them. Cells are in any notation of genotype.h.
 * PN_EINPUT names the line that is wrong: no cell of this space, no number from 0 to 100, a cell
 * that stands there twice with two accuracies; or the table: too few or too many cells, all equal,
 * cells of another space. PN_EMEM. pn_known_free in any case. */
pn_status pn_known_read(const char *text, size_t size, pn_known *known);
void pn_known_free(pn_known *known);

#endif
