/* fuzz_safetensors.c -- any bytes as a safetensors file: refused, or every array is within it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pn_safetensors *file;
    pn_status status = pn_safetensors_parse(data, size, &file);
    if (status != PN_OK) return status == PN_EINPUT && *pn_error() ? 0 : (abort(), 0);

    size_t total = 0;
    unsigned sum = 0;
    for (int i = 0; i < pn_safetensors_count(file); i++) {
        const pn_array *array = pn_safetensors_at(file, i);
        const uint8_t *bytes = array->data;
        for (size_t j = 0; j < pn_array_bytes(array); j++) sum += bytes[j]; /* readable */
        total += pn_array_bytes(array);
        const pn_array *found = pn_safetensors_find(file, array->name);
        if (!found || found->data != array->data) abort();
    }
    volatile unsigned used = sum;
    (void)used;
    if (total > size) abort();
    pn_safetensors_meta(file, "step");
    pn_safetensors_free(file);
    return 0;
}
