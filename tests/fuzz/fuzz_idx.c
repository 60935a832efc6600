/* fuzz_idx.c -- any bytes as an IDX file: refused, or as many elements as it says. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pn_idx idx;
    pn_status status = pn_idx_parse(data, size, &idx);
    if (status != PN_OK) return status == PN_EINPUT && *pn_error() ? 0 : (abort(), 0);
    const size_t bytes = (size_t)idx.dim[0] * (size_t)idx.dim[1] * (size_t)idx.dim[2];
    if (bytes + 4 + 4 * (size_t)idx.rank != size) abort();
    if (memcmp(idx.bytes, data + size - bytes, bytes) != 0) abort();
    free(idx.bytes);
    return 0;
}
