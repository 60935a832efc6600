/* fuzz_genotype.c -- any bytes as a genotype, alone and inside a file: refused, or an
 * architecture that comes back from both notations. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "search/genotype.h"

static void must(int holds) {
    if (!holds) abort();
}

static void comes_back(const pn_arch *arch) {
    pn_space space = pn_space_darts();
    pn_arch back;
    char text[PN_GENOTYPE_BYTES], line[PN_SHORT_BYTES];
    pn_genotype_write(arch, text);
    must(pn_genotype_read(text, strlen(text), &back) == PN_OK);
    must(memcmp(arch, &back, sizeof back) == 0);
    pn_genotype_short(&space, arch, line);
    must(pn_genotype_read(line, strlen(line), &back) == PN_OK);
    must(memcmp(arch, &back, sizeof back) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pn_arch arch;
    pn_status status = pn_genotype_read((const char *)data, size, &arch);
    must(status == PN_OK || status == PN_EARG);
    if (status == PN_OK) comes_back(&arch);
    status = pn_genotype_find((const char *)data, size, &arch);
    must(status == PN_OK || status == PN_EINPUT);
    if (status == PN_OK) comes_back(&arch);
    return 0;
}
