/* npy.c -- numpy's format: "\x93NUMPY", version, header length, a Python dictionary, the data. */
#include "runtime/npy.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"

#define MAGIC "\x93NUMPY"

enum { MAGIC_BYTES = 6, V1_START = 10, V2_START = 12, ALIGN = 64 };

static const struct {
    const char *descr;
    pn_dtype dtype;
} types[] = {{"<f4", PN_F32}, {"<f8", PN_F64}, {"<i4", PN_I32}, {"<i8", PN_I64}, {"|u1", PN_U8}};
enum { TYPES = sizeof types / sizeof *types };

/* ---- The header's dictionary: three keys in any order, each once ----------------------------- */

typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_blanks(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) c->at++;
}

/* Takes `text` if it is next, after blanks. */
static bool take(cursor *c, const char *text) {
    skip_blanks(c);
    size_t n = strlen(text);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0) return false;
    c->at += n;
    return true;
}

static bool take_number(cursor *c, int64_t *number) {
    skip_blanks(c);
    const char *start = c->at;
    *number = 0;
    for (; c->at < c->end && isdigit((unsigned char)*c->at); c->at++)
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, *c->at - '0', number))
            return false;
    return c->at > start;
}

static pn_status take_descr(cursor *c, pn_array *out) {
    for (int i = 0; i < TYPES; i++) {
        char quoted[8];
        snprintf(quoted, sizeof quoted, "'%s'", types[i].descr);
        if (take(c, quoted)) {
            out->dtype = types[i].dtype;
            return PN_OK;
        }
    }
    skip_blanks(c);
    int shown = 0;
    while (shown < 12 && c->at + shown < c->end && c->at[shown] != ',') shown++;
    return pn_fail(PN_EINPUT, "descr %.*s, want '<f4', '<f8', '<i4', '<i8' or '|u1'", shown, c->at);
}

static pn_status take_order(cursor *c) {
    if (take(c, "False")) return PN_OK;
    if (take(c, "True"))
        return pn_fail(PN_EINPUT, "fortran_order True, want False (numpy.ascontiguousarray)");
    return pn_fail(PN_EINPUT, "fortran_order is neither True nor False");
}

static pn_status take_shape(cursor *c, pn_array *out) {
    if (!take(c, "(")) return pn_fail(PN_EINPUT, "shape is not a tuple");
    bool comma = true; /* a tuple of one number needs one behind it */
    while (!take(c, ")")) {
        if (out->rank == PN_MAX_RANK)
            return pn_fail(PN_EINPUT, "more than %d dimensions", PN_MAX_RANK);
        if (!comma || !take_number(c, &out->shape[out->rank]))
            return pn_fail(PN_EINPUT, "shape is not a tuple of whole numbers from 0 up");
        out->rank++;
        comma = take(c, ",");
    }
    if (out->rank == 1 && !comma) return pn_fail(PN_EINPUT, "shape is not a tuple");
    return PN_OK;
}

static pn_status take_dictionary(cursor *c, pn_array *out) {
    bool descr = false, order = false, shape = false;
    if (!take(c, "{")) return pn_fail(PN_EINPUT, "the header is not a dictionary");
    while (!take(c, "}")) {
        bool *seen;
        if (take(c, "'descr'") && take(c, ":")) {
            seen = &descr;
            PN_TRY(take_descr(c, out));
        } else if (take(c, "'fortran_order'") && take(c, ":")) {
            seen = &order;
            PN_TRY(take_order(c));
        } else if (take(c, "'shape'") && take(c, ":")) {
            if (shape) return pn_fail(PN_EINPUT, "the header names a key twice");
            seen = &shape;
            PN_TRY(take_shape(c, out));
        } else {
            return pn_fail(PN_EINPUT,
                           "the header has a key other than descr, fortran_order, shape");
        }
        if (*seen) return pn_fail(PN_EINPUT, "the header names a key twice");
        *seen = true;
        if (take(c, ",")) continue;
        if (take(c, "}")) break;
        return pn_fail(PN_EINPUT, "the header is not a dictionary");
    }
    skip_blanks(c);
    if (c->at != c->end) return pn_fail(PN_EINPUT, "the header goes on after its dictionary");
    if (!descr || !order || !shape)
        return pn_fail(PN_EINPUT, "the header lacks descr, fortran_order or shape");
    return PN_OK;
}

/* ---- Reading and writing --------------------------------------------------------------------- */

pn_status pn_npy_parse(const void *bytes, size_t size, pn_array *out) {
    const unsigned char *b = bytes;
    if (size < V2_START || memcmp(b, MAGIC, MAGIC_BYTES) != 0)
        return pn_fail(PN_EINPUT, "does not begin as a .npy file");
    const int major = b[6], minor = b[7];
    if ((major != 1 && major != 2) || minor != 0)
        return pn_fail(PN_EINPUT, "format %d.%d, want 1.0 or 2.0", major, minor);
    size_t start = major == 1 ? V1_START : V2_START, length = b[8] | (size_t)b[9] << 8;
    if (major == 2) length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (length > size - start)
        return pn_fail(PN_EINPUT, "a header of %zu bytes, but only %zu are left", length,
                       size - start);

    pn_array array = {0};
    cursor c = {(const char *)b + start, (const char *)b + start + length};
    PN_TRY(take_dictionary(&c, &array));
    const size_t want = pn_array_bytes(&array), have = size - start - length;
    if (want != have)
        return pn_fail(PN_EINPUT, "%zu bytes of data, but %s %s takes %s%zu", have,
                       pn_dtype_name(array.dtype), pn_shape_text(array.rank, array.shape),
                       want == SIZE_MAX ? "more than " : "", want);
    void *data = aligned_alloc(ALIGN, (want + ALIGN) / ALIGN * ALIGN);
    if (!data) return pn_fail(PN_EMEM, "no memory for %zu bytes", want);
    memcpy(data, b + start + length, want);
    array.data = data;
    *out = array;
    return PN_OK;
}

pn_status pn_npy_read(const char *path, pn_array *out) {
    void *bytes;
    size_t size;
    PN_TRY(pn_file_read(path, SIZE_MAX / 4, &bytes, &size));
    pn_status status = pn_npy_parse(bytes, size, out);
    free(bytes);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", path);
}

void pn_npy_free(pn_array *array) {
    free((void *)array->data);
    *array = (pn_array){0};
}

pn_status pn_npy_write(const char *path, const pn_array *array) {
    const char *descr = NULL;
    for (int i = 0; i < TYPES; i++)
        if (types[i].dtype == array->dtype) descr = types[i].descr;
    if (!descr)
        return pn_fail(PN_EARG, "%s: type %s, want F32, F64, I32, I64 or U8", path,
                       pn_dtype_name(array->dtype));
    if (array->rank < 0 || array->rank > PN_MAX_RANK || pn_array_bytes(array) == SIZE_MAX)
        return pn_fail(PN_EARG, "%s: rank %d, shape %s: too large, negative, or rank > %d", path,
                       array->rank, pn_shape_text(array->rank, array->shape), PN_MAX_RANK);

    char dictionary[256], shape[PN_MAX_RANK * 22 + 1] = "";
    size_t used = 0;
    for (int i = 0; i < array->rank; i++)
        used +=
            (size_t)snprintf(shape + used, sizeof shape - used,
                             i + 1 < array->rank ? "%" PRId64 ", " : "%" PRId64, array->shape[i]);
    int n = snprintf(dictionary, sizeof dictionary,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }", descr, shape,
                     array->rank == 1 ? "," : "");

    /* Spaces and a newline bring the data to a multiple of 64, as numpy does. */
    unsigned char header[V1_START + sizeof dictionary + ALIGN] = MAGIC "\x01";
    size_t end = (V1_START + (size_t)n + 1 + ALIGN - 1) / ALIGN * ALIGN;
    memcpy(header + V1_START, dictionary, (size_t)n);
    memset(header + V1_START + n, ' ', end - V1_START - (size_t)n);
    header[end - 1] = '\n';
    header[8] = (unsigned char)((end - V1_START) & 255);
    header[9] = (unsigned char)((end - V1_START) >> 8);

    pn_writer *out;
    PN_TRY(pn_writer_open(path, &out));
    pn_status status = pn_writer_write(out, header, end);
    if (status == PN_OK) status = pn_writer_write(out, array->data, pn_array_bytes(array));
    if (status == PN_OK) return pn_writer_commit(out);
    pn_writer_discard(out);
    return status;
}
