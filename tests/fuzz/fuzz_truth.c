/* fuzz_truth.c -- any bytes as a table of known cells, alone and as more lines behind a hundred
 * good ones, without which no table is accepted: refused, or cells in a strict order, each with an
 * accuracy that can be one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/methods/prior.h"
#include "search/network/genotype.h"
#include "search/truth/table.h"
#include "tests/fuzz/harness.h"

enum { GOOD = 110, GOOD_BYTES = GOOD * (PN_SHORT_BYTES + 8) };

static char good[GOOD_BYTES];
static size_t good_length;

static pn_status load(const uint8_t *data, size_t size) {
    pn_known known;
    const pn_status status = pn_known_read((const char *)data, size, &known);
    fuzz_loaded();
    for (int i = 0; status == PN_OK && i < known.count; i++) {
        const pn_known_cell *cell = &known.cell[i];
        MUST(cell->accuracy >= 0 && cell->accuracy <= 100 && cell->line > 1);
        MUST(!i || memcmp(&cell[-1].arch, &cell->arch, sizeof cell->arch) < 0);
    }
    pn_known_free(&known);
    return status;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const pn_space space = pn_space_darts();
    pn_prior uniform;
    (void)argc;
    (void)argv;
    MUST(pn_prior_init(&uniform, &space, true) == PN_OK);
    good_length = (size_t)snprintf(good, sizeof good, "architecture,fuzz\n");
    for (int i = 0; i < GOOD; i++) {
        pn_arch arch;
        char text[PN_SHORT_BYTES];
        memset(&arch, 0, sizeof arch);
        pn_prior_sample(&uniform, 1, 0, (uint64_t)i, &arch);
        pn_genotype_short(&space, &arch, text);
        good_length += (size_t)snprintf(good + good_length, sizeof good - good_length, "%s,%d\n",
                                        text, 90 + i % 5);
    }
    return 0;
}

/* A row is 9 bytes at least (PDARTS,1 and its end) and takes 48; while they grow, three times. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(good_length + size + 1);
    MUST(text != NULL);
    memcpy(text, good, good_length);
    if (size) memcpy(text + good_length, data, size);
    text[good_length + size] = 0;
    char *alone = text + good_length; /* a zero follows it, as it does a file */
    fuzz_run(load, (const uint8_t *)alone, size, 16 * size + FUZZ_CONSTANT);
    fuzz_run(load, (const uint8_t *)text, good_length + size,
             16 * (good_length + size) + FUZZ_CONSTANT);
    free(text);
    return 0;
}
