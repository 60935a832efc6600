/* array.h -- an array as files describe it: a type, a shape, bytes in C order, little endian.
 * What safetensors.h and npy.h have in common. */
#ifndef PN_ARRAY_H
#define PN_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/api.h"

PN_API_BEGIN

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "arrays are stored as they lie in memory"
#endif

enum { PN_MAX_RANK = 8 };

typedef enum pn_dtype {
    PN_BOOL,
    PN_U8,
    PN_I8,
    PN_I16,
    PN_U16,
    PN_F16,
    PN_BF16,
    PN_I32,
    PN_F32,
    PN_I64,
    PN_F64,
    PN_DTYPES
} pn_dtype;

typedef struct pn_array {
    const char *name; /* NULL where the format has no names */
    pn_dtype dtype;
    int rank; /* 0: one number */
    int64_t shape[PN_MAX_RANK];
    const void *data;
} pn_array;

const char *pn_dtype_name(pn_dtype dtype); /* "F32", as in safetensors */
size_t pn_dtype_size(pn_dtype dtype);      /* bytes of one element */

/* Bytes of all elements. SIZE_MAX if a dimension is negative, or if the number exceeds 2^62 - 1. */
size_t pn_array_bytes(const pn_array *array);

/* "(2,3)", for messages. The same text buffer serves every call of a thread. */
const char *pn_shape_text(int rank, const int64_t *shape);

PN_API_END

#endif
