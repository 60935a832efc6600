/* array.c -- sizes and names of element types. */
#include "runtime/array.h"

#include <stdio.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[PN_DTYPES] = {
    [PN_BOOL] = {"BOOL", 1}, [PN_U8] = {"U8", 1},   [PN_I8] = {"I8", 1},     [PN_I16] = {"I16", 2},
    [PN_U16] = {"U16", 2},   [PN_F16] = {"F16", 2}, [PN_BF16] = {"BF16", 2}, [PN_I32] = {"I32", 4},
    [PN_F32] = {"F32", 4},   [PN_I64] = {"I64", 8}, [PN_F64] = {"F64", 8},
};

const char *pn_dtype_name(pn_dtype dtype) { return dtypes[dtype].name; }

size_t pn_dtype_size(pn_dtype dtype) { return dtypes[dtype].size; }

size_t pn_array_bytes(const pn_array *array) {
    const uint64_t limit = ((uint64_t)1 << 62) - 1;
    uint64_t bytes = pn_dtype_size(array->dtype);
    int empty = 0;
    for (int i = 0; i < array->rank; i++) {
        if (array->shape[i] < 0) return SIZE_MAX;
        if (array->shape[i] == 0) empty = 1;
    }
    if (empty) return 0;
    for (int i = 0; i < array->rank; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)array->shape[i], &bytes) || bytes > limit)
            return SIZE_MAX;
    return bytes;
}

const char *pn_shape_text(int rank, const int64_t *shape) {
    static _Thread_local char text[PN_MAX_RANK * 21 + 3];
    size_t n = 1;
    text[0] = '(';
    for (int i = 0; i < rank && i < PN_MAX_RANK; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, i ? ",%lld" : "%lld", (long long)shape[i]);
    snprintf(text + n, sizeof text - n, ")");
    return text;
}
