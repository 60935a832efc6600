/* fuzz_npy.c -- any bytes as a .npy file: refused, or an array that the file really holds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pn_array array;
    pn_status status = pn_npy_parse(data, size, &array);
    if (status != PN_OK) return status == PN_EINPUT && *pn_error() ? 0 : (abort(), 0);
    const size_t bytes = pn_array_bytes(&array);
    if (bytes > size || memcmp(array.data, data + size - bytes, bytes) != 0) abort();
    pn_npy_free(&array);
    return 0;
}
