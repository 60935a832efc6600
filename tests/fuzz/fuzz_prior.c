/* fuzz_prior.c -- any bytes as prior.csv of the search that another one begins from: refused, or
 * copied, row by row; with the right header in front, too. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/from.h"
#include "tests/fuzz/tiny.h"

static char *header;
static size_t length;

static pn_status load(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return fuzz_from_rows();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz_from_make();
    header = tiny_read(fuzz_path("from"), "prior.csv", &length);
    length = strcspn(header, "\n") + 1;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_file("from/prior.csv", data, size);
    fuzz_run(load, data, size, FUZZ_DATA * size + FUZZ_WRITER);
    uint8_t *whole = malloc(length + size);
    MUST(whole != NULL);
    memcpy(whole, header, length);
    if (size) memcpy(whole + length, data, size);
    fuzz_file("from/prior.csv", whole, length + size);
    fuzz_run(load, whole, length + size, FUZZ_DATA * (length + size) + FUZZ_WRITER);
    free(whole);
    return 0;
}
