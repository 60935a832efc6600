/* safetensors.c -- reading and writing named arrays.
 *
 * The checksum is the first thing in our header, {"__metadata__":{"crc32":"0123abcd", at a fixed
 * place, and covers every byte of the file, its own eight digits counted as zeros. Where it
 * stands elsewhere, another program has rewritten the file and it means nothing any more. */
#include "runtime/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/json.h"
#include "runtime/text.h"

#define METADATA "__metadata__"
#define CHECKSUM_KEY "crc32"
#define CHECKSUM_PREFIX "{\"" METADATA "\":{\"" CHECKSUM_KEY "\":\""
#define CHECKSUM_ZERO "00000000"

enum { LENGTH_BYTES = 8, CHECKSUM_DIGITS = 8, ALIGN = 64 };

/* What the official library accepts. */
#define MAX_HEADER 100000000

struct pn_safetensors {
    char *path; /* for messages */
    json_t *header;
    pn_array *arrays; /* in the file's order */
    pn_array *sorted; /* the same, by name */
    int count;
    bool checked;
    void *block; /* all data; NULL if they are in `mapping` */
    void *mapping;
    size_t mapped; /* bytes of it */
};

/* ---- Reading --------------------------------------------------------------------------------- */

/* Where bytes come from, one after the other: a file, or memory. */
typedef struct source {
    int fd;
    const unsigned char *bytes; /* not NULL: memory */
    uint64_t size;              /* of the whole */
} source;

static pn_status next_bytes(source *from, void *to, size_t size) {
    if (from->bytes) {
        if (size) memcpy(to, from->bytes, size);
        from->bytes += size;
        return PN_OK;
    }
    unsigned char *at = to;
    while (size > 0) {
        ssize_t n = read(from->fd, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return pn_fail(PN_EIO, "cannot read: %s", strerror(errno));
        if (n == 0) return pn_fail(PN_EINPUT, "became shorter while it was read");
        at += n;
        size -= (size_t)n;
    }
    return PN_OK;
}

static uint64_t align_up(uint64_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

static pn_status read_dtype(const char *name, const json_t *text, pn_array *array) {
    const char *want = json_string_value(text);
    if (!want) return pn_fail(PN_EINPUT, "array %.64s: its dtype is not a string", name);
    for (int d = 0; d < PN_DTYPES; d++)
        if (strcmp(want, pn_dtype_name((pn_dtype)d)) == 0) {
            array->dtype = (pn_dtype)d;
            return PN_OK;
        }
    return pn_fail(PN_EINPUT,
                   "array %.64s: dtype %.16s, want BOOL, U8, I8, I16, U16, F16, BF16, I32, F32, "
                   "I64 or F64",
                   name, want);
}

static pn_status read_shape(const char *name, const json_t *shape, pn_array *array) {
    if (!json_is_array(shape))
        return pn_fail(PN_EINPUT, "array %.64s: its shape is not a list", name);
    size_t rank = json_array_size(shape);
    if (rank > PN_MAX_RANK)
        return pn_fail(PN_EINPUT, "array %.64s: %zu dimensions, want at most %d", name, rank,
                       PN_MAX_RANK);
    array->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *n = json_array_get(shape, i);
        if (!json_is_integer(n) || json_integer_value(n) < 0)
            return pn_fail(PN_EINPUT, "array %.64s: dimension %zu is not a whole number from 0 up",
                           name, i);
        array->shape[i] = json_integer_value(n);
    }
    return PN_OK;
}

/* An entry of the header while offsets are not yet checked against each other. */
typedef struct entry {
    pn_array array;
    uint64_t begin, end;
} entry;

static pn_status read_entry(const char *name, const json_t *value, uint64_t data_size, entry *e) {
    const json_t *dtype = json_object_get(value, "dtype"), *shape = json_object_get(value, "shape"),
                 *offsets = json_object_get(value, "data_offsets");
    if (!dtype || !shape || !offsets || json_object_size(value) != 3)
        return pn_fail(PN_EINPUT, "array %.64s: want exactly dtype, shape and data_offsets", name);
    e->array.name = name;
    PN_TRY(read_dtype(name, dtype, &e->array));
    PN_TRY(read_shape(name, shape, &e->array));

    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return pn_fail(PN_EINPUT, "array %.64s: data_offsets are not two whole numbers", name);
    json_int_t b = json_integer_value(begin), n = json_integer_value(end);
    if (b < 0 || n < b || (uint64_t)n > data_size)
        return pn_fail(PN_EINPUT,
                       "array %.64s: data_offsets %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT
                       ", but the file has %" PRIu64 " bytes of data",
                       name, b, n, data_size);
    e->begin = (uint64_t)b;
    e->end = (uint64_t)n;
    size_t bytes = pn_array_bytes(&e->array);
    if (bytes != e->end - e->begin)
        return pn_fail(PN_EINPUT,
                       "array %.64s: %s %s does not take the %" PRIu64
                       " bytes that its data_offsets span",
                       name, pn_dtype_name(e->array.dtype),
                       pn_shape_text(e->array.rank, e->array.shape), e->end - e->begin);
    return PN_OK;
}

static pn_status check_metadata(json_t *metadata) {
    if (!json_is_object(metadata)) return pn_fail(PN_EINPUT, METADATA " is not an object");
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) if (!json_is_string(value)) return pn_fail(
        PN_EINPUT, METADATA ": the value of %.64s is not a string", key);
    return PN_OK;
}

static int by_offset(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1; /* empty ones first */
    return strcmp(x->array.name, y->array.name);
}

static int by_name(const void *a, const void *b) {
    const pn_array *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The data section has to be covered by the arrays, each byte once. */
static pn_status check_cover(const entry *entries, int count, uint64_t data_size) {
    uint64_t at = 0;
    for (int i = 0; i < count; i++) {
        if (entries[i].begin != at)
            return pn_fail(PN_EINPUT,
                           "array %.64s begins at byte %" PRIu64 " of the data, want %" PRIu64
                           ", where the one before ends",
                           entries[i].array.name, entries[i].begin, at);
        at = entries[i].end;
    }
    if (at != data_size)
        return pn_fail(PN_EINPUT, "%" PRIu64 " bytes of data, but the arrays end at %" PRIu64,
                       data_size, at);
    return PN_OK;
}

static pn_status read_entries(pn_safetensors *file, entry *entries, uint64_t data_size) {
    const char *key;
    json_t *value;
    json_object_foreach(file->header, key, value) {
        if (strcmp(key, METADATA) == 0)
            PN_TRY(check_metadata(value));
        else
            PN_TRY(read_entry(key, value, data_size, &entries[file->count++]));
    }
    qsort(entries, (size_t)file->count, sizeof *entries, by_offset);
    return check_cover(entries, file->count, data_size);
}

static pn_status read_data(source *from, pn_safetensors *file, const entry *entries,
                           uint64_t data_size, uLong *crc) {
    const size_t count = (size_t)file->count;
    uint64_t total = ALIGN;
    for (size_t i = 0; i < count; i++) total += align_up(entries[i].end - entries[i].begin);
    file->arrays = calloc(count + 1, sizeof *file->arrays);
    file->sorted = calloc(count + 1, sizeof *file->sorted);
    if (!file->mapping) file->block = aligned_alloc(ALIGN, total);
    if (!file->arrays || !file->sorted || (!file->mapping && !file->block))
        return pn_fail(PN_EMEM, "no memory for %" PRIu64 " bytes of arrays", total);

    unsigned char *place = file->block;
    for (size_t i = 0; i < count; i++) {
        const size_t bytes = entries[i].end - entries[i].begin;
        if (file->mapping) {
            place = (unsigned char *)file->mapping + (file->mapped - data_size) + entries[i].begin;
        } else {
            PN_TRY(next_bytes(from, place, bytes));
        }
        *crc = crc32_z(*crc, place, bytes);
        file->arrays[i] = entries[i].array;
        file->arrays[i].data = place;
        file->sorted[i] = file->arrays[i];
        if (!file->mapping) place += align_up(bytes);
    }
    qsort(file->sorted, count, sizeof *file->sorted, by_name);
    return PN_OK;
}

/* Whether the header begins as ours do; then their checksum is taken out of it. */
static bool take_checksum(char *header, size_t size, uLong *expected) {
    const size_t prefix = strlen(CHECKSUM_PREFIX);
    if (size < prefix + CHECKSUM_DIGITS + 1 || memcmp(header, CHECKSUM_PREFIX, prefix) != 0)
        return false;
    char *digits = header + prefix, text[CHECKSUM_DIGITS + 1] = {0};
    if (digits[CHECKSUM_DIGITS] != '"' || strspn(digits, "0123456789abcdef") != CHECKSUM_DIGITS)
        return false;
    memcpy(text, digits, CHECKSUM_DIGITS);
    memcpy(digits, CHECKSUM_ZERO, CHECKSUM_DIGITS);
    *expected = strtoul(text, NULL, 16);
    return true;
}

/* What torch.save writes: a zip archive, before version 1.6 a pickle of protocol 2. Neither begins
 * with the length of a header that the file has. */
static bool is_pickle(uint64_t length) {
    static const unsigned char zip[] = "PK\x03\x04", pickle[] = "\x80\x02\x8a\x0a";
    unsigned char bytes[LENGTH_BYTES];
    memcpy(bytes, &length, sizeof bytes);
    return !memcmp(bytes, zip, 4) || !memcmp(bytes, pickle, 4);
}

static pn_status read_header(source *from, pn_safetensors *file, uint64_t *data_size, uLong *crc,
                             uLong *expected) {
    if (from->size < LENGTH_BYTES)
        return pn_fail(PN_EINPUT, "%" PRIu64 " bytes, too short for a safetensors file",
                       from->size);
    uint64_t length;
    PN_TRY(next_bytes(from, &length, LENGTH_BYTES));
    if (length > MAX_HEADER || length > from->size - LENGTH_BYTES) {
        if (is_pickle(length))
            return pn_fail(PN_EINPUT,
                           "a PyTorch pickle; save it as safetensors "
                           "(safetensors.torch.save_file(model.state_dict(), FILE))");
        return pn_fail(PN_EINPUT,
                       "a header of %" PRIu64
                       " bytes, want at most %d and what the file has left, %" PRIu64,
                       length, MAX_HEADER, from->size - LENGTH_BYTES);
    }
    *data_size = from->size - LENGTH_BYTES - length;

    char *text = malloc(length + 1);
    if (!text) return pn_fail(PN_EMEM, "no memory for a header of %" PRIu64 " bytes", length);
    pn_status status = next_bytes(from, text, length);
    if (status == PN_OK) {
        text[length] = 0;
        status = text[0] == '{' ? pn_json_parse(text, length, &file->header)
                                : pn_fail(PN_EINPUT, "does not begin with '{'");
        if (status != PN_OK) status = pn_fail_in(status, "the header is not a JSON object");
    }
    if (status == PN_OK) {
        file->checked = take_checksum(text, length, expected);
        *crc = crc32_z(0, (const unsigned char *)&length, LENGTH_BYTES);
        *crc = crc32_z(*crc, (const unsigned char *)text, length);
    }
    free(text);
    return status;
}

static pn_status read_all(source *from, pn_safetensors *file) {
    uint64_t data_size = 0;
    uLong crc = 0, expected = 0;
    PN_TRY(read_header(from, file, &data_size, &crc, &expected));
    entry *entries = calloc(json_object_size(file->header) + 1, sizeof *entries);
    if (!entries) return pn_fail(PN_EMEM, "no memory for the list of arrays");
    pn_status status = read_entries(file, entries, data_size);
    if (status == PN_OK) status = read_data(from, file, entries, data_size, &crc);
    free(entries);
    if (status == PN_OK && file->checked && crc != expected)
        status = pn_fail(PN_EINPUT,
                         "damaged, or changed by another program: its CRC-32 is %08lx, want %08lx "
                         "as it says",
                         crc, expected);
    return status;
}

/* mapping: what is mapped, whole, and becomes the file's, failed or not; NULL: data are copied. */
static pn_status open_source(source *from, const char *path, void *mapping, pn_safetensors **out) {
    pn_safetensors *file = calloc(1, sizeof *file);
    if (file) file->path = strdup(path);
    if (!file || !file->path) {
        if (mapping) munmap(mapping, from->size);
        pn_safetensors_free(file);
        return pn_fail(PN_EMEM, "no memory to read it");
    }
    file->mapping = mapping;
    file->mapped = mapping ? from->size : 0;
    pn_status status = read_all(from, file);
    if (status == PN_OK)
        *out = file;
    else
        pn_safetensors_free(file);
    return status;
}

pn_status pn_safetensors_parse(const void *bytes, size_t size, pn_safetensors **out) {
    source from = {.fd = -1, .bytes = bytes ? bytes : (const unsigned char *)"", .size = size};
    return open_source(&from, "safetensors in memory", NULL, out);
}

/* An open file, from its beginning. */
static pn_status read_fd(int fd, const char *path, pn_safetensors **out) {
    source from = {.fd = fd};
    struct stat info;
    if (fstat(fd, &info) != 0) return pn_fail(PN_EIO, "cannot read its size: %s", strerror(errno));
    if (!S_ISREG(info.st_mode)) return pn_fail(PN_EINPUT, "not a regular file");
    from.size = (uint64_t)info.st_size;
    return open_source(&from, path, NULL, out);
}

pn_status pn_safetensors_read_in(const pn_place *place, const char *name, pn_safetensors **out) {
    char joined[PN_PATH_BYTES];
    const char *path = place ? pn_place_name(place, name, joined) : name;
    int fd;
    PN_TRY(pn_file_open_in(place, name, &fd));
    const pn_status status = read_fd(fd, path, out);
    close(fd);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", path);
}

pn_status pn_safetensors_read(const char *path, pn_safetensors **out) {
    return pn_safetensors_read_in(NULL, path, out);
}

static pn_status map_fd(int fd, const char *path, pn_safetensors **out) {
    source from = {.fd = -1};
    struct stat info;
    if (fstat(fd, &info) != 0) return pn_fail(PN_EIO, "cannot read its size: %s", strerror(errno));
    if (!S_ISREG(info.st_mode)) return pn_fail(PN_EINPUT, "not a regular file");
    if (info.st_size == 0) return pn_fail(PN_EINPUT, "empty");
    from.size = (uint64_t)info.st_size;
    void *mapping = mmap(NULL, from.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED)
        return pn_fail(errno == ENOMEM ? PN_EMEM : PN_EIO, "cannot map it: %s", strerror(errno));
    from.bytes = mapping;
    return open_source(&from, path, mapping, out);
}

pn_status pn_safetensors_map(const char *path, pn_safetensors **out) {
    int fd;
    PN_TRY(pn_file_open_in(NULL, path, &fd));
    const pn_status status = map_fd(fd, path, out);
    close(fd);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", path);
}

void pn_safetensors_free(pn_safetensors *file) {
    if (!file) return;
    if (file->mapping) munmap(file->mapping, file->mapped);
    free(file->block);
    free(file->sorted);
    free(file->arrays);
    json_decref(file->header);
    free(file->path);
    free(file);
}

int pn_safetensors_count(const pn_safetensors *file) { return file->count; }

const pn_array *pn_safetensors_at(const pn_safetensors *file, int i) { return &file->arrays[i]; }

const pn_array *pn_safetensors_find(const pn_safetensors *file, const char *name) {
    const pn_array wanted = {.name = name};
    return bsearch(&wanted, file->sorted, (size_t)file->count, sizeof *file->sorted, by_name);
}

const char *pn_safetensors_meta(const pn_safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, METADATA), key));
}

bool pn_safetensors_checked(const pn_safetensors *file) { return file->checked; }

pn_status pn_safetensors_get(const pn_safetensors *file, const char *name, pn_dtype dtype, int rank,
                             const int64_t *shape, const void **data) {
    const pn_array *array = pn_safetensors_find(file, name);
    if (!array) return pn_fail(PN_EINPUT, "%s: no array %s", file->path, name);
    bool same = array->dtype == dtype && array->rank == rank;
    for (int i = 0; same && i < rank; i++) same = array->shape[i] == shape[i];
    if (!same) {
        char found[256]; /* the text of a shape is one buffer */
        snprintf(found, sizeof found, "%s", pn_shape_text(array->rank, array->shape));
        return pn_fail(PN_EINPUT, "%s: array %s is %s %s, want %s %s", file->path, name,
                       pn_dtype_name(array->dtype), found, pn_dtype_name(dtype),
                       pn_shape_text(rank, shape));
    }
    *data = array->data;
    return PN_OK;
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* Adds `value`, which is handed over (NULL: no memory for it), under a new key. */
static pn_status add(json_t *object, const char *key, json_t *value, const char *what) {
    if (json_object_get(object, key)) {
        json_decref(value);
        return pn_fail(PN_EARG, "%s %s: named twice, or reserved", what, key);
    }
    if (!pn_utf8(key)) {
        json_decref(value);
        return pn_fail(PN_EARG, "%s %s: not UTF-8", what, key);
    }
    if (json_object_set_new(object, key, value) != 0)
        return pn_fail(PN_EMEM, "%s %s: no memory for its header", what, key);
    return PN_OK;
}

static pn_status add_text(json_t *object, const pn_meta *meta) {
    if (!pn_utf8(meta->text)) return pn_fail(PN_EARG, "key %s: not UTF-8", meta->key);
    return add(object, meta->key, json_string(meta->text), "key");
}

static pn_status add_array(json_t *header, const pn_array *array, uint64_t begin, uint64_t end) {
    int failed = 0;
    json_t *shape = json_array();
    for (int i = 0; i < array->rank; i++)
        failed |= json_array_append_new(shape, json_integer(array->shape[i]));
    json_t *value = json_pack("{s:s, s:o, s:[I,I]}", "dtype", pn_dtype_name(array->dtype), "shape",
                              shape, "data_offsets", (json_int_t)begin, (json_int_t)end);
    if (failed) {
        json_decref(value);
        value = NULL;
    }
    return add(header, array->name, value, "array");
}

static pn_status fill_header(json_t *header, const pn_array *arrays, const int *order, int count,
                             const pn_meta *metas, int meta_count) {
    json_t *metadata = json_object();
    PN_TRY(add(header, METADATA, metadata, "key"));
    PN_TRY(add_text(metadata, &(pn_meta){CHECKSUM_KEY, CHECKSUM_ZERO}));
    for (int i = 0; i < meta_count; i++) PN_TRY(add_text(metadata, &metas[i]));
    uint64_t at = 0;
    for (int i = 0; i < count; i++) {
        const pn_array *array = &arrays[order[i]];
        size_t bytes =
            array->rank >= 0 && array->rank <= PN_MAX_RANK ? pn_array_bytes(array) : SIZE_MAX;
        if (bytes == SIZE_MAX)
            return pn_fail(
                PN_EARG, "array %s: rank %d, shape %s: too large, negative, or rank > %d",
                array->name, array->rank, pn_shape_text(array->rank, array->shape), PN_MAX_RANK);
        PN_TRY(add_array(header, array, at, at + bytes));
        at += bytes;
    }
    return PN_OK;
}

/* The header's bytes, padded with spaces so that the data begins at a multiple of 8. `header` is
 * handed over; *text is the caller's. */
static pn_status header_text(json_t *header, char **text, uint64_t *length) {
    PN_TRY(pn_json_text(header, 0, JSON_COMPACT, text));
    const size_t used = strlen(*text), padded = (used + 7) / 8 * 8;
    char *larger = realloc(*text, padded + 1);
    if (!larger) {
        free(*text);
        *text = NULL;
        return pn_fail(PN_EMEM, "no memory for a header of %zu bytes", padded);
    }
    *text = larger;
    memset(larger + used, ' ', padded - used);
    *length = padded;
    return PN_OK;
}

/* Whether the next bytes of a file are these. */
static pn_status same_bytes(source *from, const void *want, size_t size) {
    unsigned char block[1 << 16];
    for (const unsigned char *at = want; size > 0;) {
        const size_t n = size < sizeof block ? size : sizeof block;
        PN_TRY(next_bytes(from, block, n));
        if (memcmp(block, at, n) != 0) return pn_fail(PN_EINPUT, "other bytes");
        at += n;
        size -= n;
    }
    return PN_OK;
}

/* Compares the file with what was written. A device or a pipe cannot be read back. */
static pn_status read_back(pn_writer *out, const char *header, uint64_t length,
                           const pn_array *arrays, const int *order, int count) {
    source from = {.fd = -1};
    PN_TRY(pn_writer_read_back(out, &from.fd));
    if (from.fd < 0) return PN_OK;
    pn_status status = same_bytes(&from, &length, LENGTH_BYTES);
    if (status == PN_OK) status = same_bytes(&from, header, length);
    for (int i = 0; i < count && status == PN_OK; i++)
        status = same_bytes(&from, arrays[order[i]].data, pn_array_bytes(&arrays[order[i]]));
    /* Not the caller's input: the disk, or memory, did not keep what it was given. */
    if (status == PN_EINPUT) return pn_fail_in(PN_EIO, "read back differently than written");
    return status;
}

static pn_status write_bytes(pn_writer *out, const char *path, const char *header, uint64_t length,
                             const pn_array *arrays, const int *order, int count) {
    PN_TRY(pn_writer_write(out, &length, LENGTH_BYTES));
    PN_TRY(pn_writer_write(out, header, length));
    for (int i = 0; i < count; i++)
        PN_TRY(pn_writer_write(out, arrays[order[i]].data, pn_array_bytes(&arrays[order[i]])));
    const pn_status status = read_back(out, header, length, arrays, order, count);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", path);
}

static void put_checksum(char *header, uint64_t length, const pn_array *arrays, const int *order,
                         int count) {
    uLong crc = crc32_z(0, (const unsigned char *)&length, LENGTH_BYTES);
    crc = crc32_z(crc, (const unsigned char *)header, length);
    for (int i = 0; i < count; i++) {
        const pn_array *array = &arrays[order[i]];
        const size_t bytes = pn_array_bytes(array);
        if (bytes) crc = crc32_z(crc, array->data, bytes); /* zlib takes NULL for a reset */
    }
    char digits[CHECKSUM_DIGITS + 1];
    snprintf(digits, sizeof digits, "%08x", (unsigned)crc);
    memcpy(header + strlen(CHECKSUM_PREFIX), digits, CHECKSUM_DIGITS);
}

/* Everything but the checksum; *text is the caller's. */
static pn_status make_header(const pn_array *arrays, const int *order, int count,
                             const pn_meta *metas, int meta_count, char **text, uint64_t *length) {
    json_t *header = json_object();
    if (!header) return pn_fail(PN_EMEM, "no memory for a header");
    pn_status status = fill_header(header, arrays, order, count, metas, meta_count);
    if (status != PN_OK) {
        json_decref(header);
        return status;
    }
    PN_TRY(header_text(header, text, length));
    return *length <= MAX_HEADER
               ? PN_OK
               : pn_fail(PN_EARG, "a header of %" PRIu64 " bytes, want at most %d", *length,
                         MAX_HEADER);
}

pn_status pn_safetensors_write_in(const pn_place *place, const char *name, const pn_array *arrays,
                                  int count, const pn_meta *metas, int meta_count) {
    char joined[PN_PATH_BYTES];
    const char *path = place ? pn_place_name(place, name, joined) : name;
    int *order = calloc((size_t)count + 1, sizeof *order), n = 0;
    if (!order) return pn_fail(PN_EMEM, "%s: no memory to write it", path);
    for (size_t size = sizeof(double); size > 0; size /= 2)
        for (int i = 0; i < count; i++)
            if (pn_dtype_size(arrays[i].dtype) == size) order[n++] = i;

    char *text = NULL;
    uint64_t length = 0;
    pn_writer *out = NULL;
    pn_status status = make_header(arrays, order, count, metas, meta_count, &text, &length);
    if (status != PN_OK) status = pn_fail_in(status, "%s", path);
    if (status == PN_OK) status = pn_writer_open_in(place, name, &out);
    if (status == PN_OK) {
        put_checksum(text, length, arrays, order, count);
        status = write_bytes(out, path, text, length, arrays, order, count);
    }
    if (status == PN_OK)
        status = pn_writer_commit(out);
    else
        pn_writer_discard(out);
    free(text);
    free(order);
    return status;
}

pn_status pn_safetensors_write(const char *path, const pn_array *arrays, int count,
                               const pn_meta *metas, int meta_count) {
    return pn_safetensors_write_in(NULL, path, arrays, count, metas, meta_count);
}
