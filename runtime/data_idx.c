/* data_idx.c -- IDX files, the format of MNIST and its relatives: a big-endian magic number that
 * holds the element type (8: bytes) and the number of dimensions, the dimensions, the elements.
 * zlib reads plain files as they are, so one way serves both kinds. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/data.h"

enum { MAGIC_LABELS = 0x0801, MAGIC_IMAGES = 0x0803, LONGEST_HEADER = 16, CHUNK = 1 << 17 };

/* No set that fits a search comes near; a damaged header does. */
#define MAX_BODY ((uint64_t)1 << 36)

static uint32_t big_endian(const uint8_t *b) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static pn_status parse_header(const uint8_t *bytes, size_t size, pn_idx *idx, size_t *header,
                              size_t *body) {
    if (size < 8) return pn_fail(PN_EINPUT, "%zu bytes, too short for an IDX file", size);
    uint32_t magic = big_endian(bytes);
    if (magic != MAGIC_LABELS && magic != MAGIC_IMAGES)
        return pn_fail(PN_EINPUT, "magic number 0x%08x, want 0x%08x (labels) or 0x%08x (images)",
                       magic, MAGIC_LABELS, MAGIC_IMAGES);
    *idx = (pn_idx){.rank = magic == MAGIC_IMAGES ? 3 : 1, .dim = {1, 1, 1}};
    *header = 4 + 4 * (size_t)idx->rank;
    if (size < *header) return pn_fail(PN_EINPUT, "%zu bytes, too short for an IDX file", size);
    uint64_t product = 1;
    for (int i = 0; i < idx->rank; i++) {
        const uint32_t n = big_endian(bytes + 4 + 4 * i);
        const uint32_t most = i == 0 ? INT_MAX : PN_MAX_IMAGE_EDGE;
        if (n < 1 || n > most)
            return pn_fail(PN_EINPUT, "dimension %d is %u, want 1 to %u", i, n, most);
        idx->dim[i] = (int)n;
        product *= n; /* below 2^31 * 2^12 * 2^12 */
    }
    if (product > MAX_BODY)
        return pn_fail(PN_EINPUT, "%d x %d x %d bytes, more than any set that fits", idx->dim[0],
                       idx->dim[1], idx->dim[2]);
    *body = product;
    return PN_OK;
}

static pn_status wrong_length(size_t have, size_t want, const char *more) {
    return pn_fail(PN_EINPUT, "%s%zu bytes after the header, want %zu as it says", more, have,
                   want);
}

pn_status pn_idx_parse(const void *bytes, size_t size, pn_idx *out) {
    size_t header = 0, body = 0;
    pn_idx idx;
    PN_TRY(parse_header(bytes, size, &idx, &header, &body));
    if (size - header != body) return wrong_length(size - header, body, "");
    idx.bytes = malloc(body);
    if (!idx.bytes) return pn_fail(PN_EMEM, "no memory for %zu bytes", body);
    memcpy(idx.bytes, (const uint8_t *)bytes + header, body);
    *out = idx;
    return PN_OK;
}

static pn_status read_failed(gzFile file) {
    int code;
    const char *why = gzerror(file, &code);
    if (code == Z_MEM_ERROR) return pn_fail(PN_EMEM, "no memory to read it");
    if (code == Z_ERRNO) return pn_fail(PN_EIO, "cannot read: %s", strerror(errno));
    return pn_fail(PN_EINPUT, "damaged or cut off: %s", why);
}

/* Reads up to `size` bytes; *got is fewer at the end of the file only. */
static pn_status read_some(gzFile file, uint8_t *to, size_t size, size_t *got) {
    *got = 0;
    while (*got < size) {
        size_t part = size - *got < CHUNK ? size - *got : CHUNK;
        int n = gzread(file, to + *got, (unsigned)part);
        if (n < 0) return read_failed(file);
        if (n == 0) break;
        *got += (size_t)n;
    }
    int code;
    gzerror(file, &code); /* a gzip stream that stops early looks like an end, except for this */
    return code == Z_OK || code == Z_STREAM_END ? PN_OK : read_failed(file);
}

/* Memory grows with what is really there: a header may say anything. */
static pn_status read_body(gzFile file, pn_idx *idx, size_t body) {
    size_t room = 0, used = 0, got;
    do {
        room = used + (used > CHUNK ? used : CHUNK);
        if (room > body + 1) room = body + 1; /* one more, to see whether the file goes on */
        uint8_t *larger = realloc(idx->bytes, room);
        if (!larger) return pn_fail(PN_EMEM, "no memory for %zu bytes", room);
        idx->bytes = larger;
        PN_TRY(read_some(file, idx->bytes + used, room - used, &got));
        used += got;
    } while (used == room && used <= body);
    if (used != body) return wrong_length(used, body, used > body ? "at least " : "");
    return PN_OK;
}

static pn_status read_stream(gzFile file, pn_idx *idx) {
    uint8_t start[LONGEST_HEADER];
    size_t got, header = 0, body = 0;
    PN_TRY(read_some(file, start, 8, &got));
    if (got == 8 && big_endian(start) == MAGIC_IMAGES) {
        size_t rest;
        PN_TRY(read_some(file, start + got, LONGEST_HEADER - got, &rest));
        got += rest;
    }
    PN_TRY(parse_header(start, got, idx, &header, &body));
    return read_body(file, idx, body);
}

pn_status pn_idx_read(const char *path, pn_idx *out) {
    gzFile file = gzopen(path, "rbe");
    if (!file)
        return pn_fail(errno == ENOMEM ? PN_EMEM : PN_EIO, "%s: cannot open: %s", path,
                       strerror(errno));
    gzbuffer(file, CHUNK);
    pn_idx idx = {0};
    pn_status status = read_stream(file, &idx);
    const int closed = gzclose_r(file);
    if (closed == Z_ERRNO && status == PN_OK)
        status = pn_fail(PN_EIO, "cannot read: %s", strerror(errno));
    else if (closed != Z_OK && status == PN_OK)
        status = pn_fail(PN_EINPUT, "damaged or cut off");
    if (status == PN_OK) {
        *out = idx;
        return PN_OK;
    }
    free(idx.bytes);
    return pn_fail_in(status, "%s", path);
}
