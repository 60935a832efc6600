/* fuzz_idx.c -- any bytes as an IDX file: refused, or as many elements as it says. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data.h"
#include "tests/fuzz/harness.h"

static pn_status load(const uint8_t *data, size_t size) {
    pn_idx idx;
    PN_TRY(pn_idx_parse(data, size, &idx));
    fuzz_loaded();
    const size_t bytes = (size_t)idx.dim[0] * (size_t)idx.dim[1] * (size_t)idx.dim[2];
    MUST(bytes + 4 + 4 * (size_t)idx.rank == size);
    MUST(memcmp(idx.bytes, data + size - bytes, bytes) == 0);
    free(idx.bytes);
    return PN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_run(load, data, size, FUZZ_DATA * size + FUZZ_CONSTANT);
}
