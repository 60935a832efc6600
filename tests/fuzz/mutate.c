/* mutate.c -- changes inside of a format that has lengths and checksums, which are then repaired:
 * else nearly every change ends at the first look. One change in sixteen stays unrepaired. */
#define ZLIB_CONST /* what is only read is const */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tests/fuzz/harness.h"

enum { LENGTH = 8, DIGITS = 8 };
static const char prefix[] = "{\"__metadata__\":{\"crc32\":\"";
enum { PREFIX = sizeof prefix - 1 };

/* ---- safetensors ----------------------------------------------------------------------------- */

static void repair(uint8_t *data, size_t size, uint64_t header) {
    if (header < PREFIX + DIGITS || memcmp(data + LENGTH, prefix, PREFIX) != 0) return;
    static const char hex[] = "0123456789abcdef";
    uint8_t *digits = data + LENGTH + PREFIX;
    memset(digits, '0', DIGITS);
    const uLong crc = crc32_z(0, data, size);
    for (int i = 0; i < DIGITS; i++) digits[i] = (uint8_t)hex[crc >> (28 - 4 * i) & 15];
}

void fuzz_repair_tensors(uint8_t *data, size_t size) {
    uint64_t header;
    memcpy(&header, data, LENGTH);
    repair(data, size, header);
}

/* Where the metadata object ends that begins at `at`. */
static size_t object_end(const uint8_t *text, size_t at, size_t end) {
    bool quoted = false;
    for (int depth = 0; at < end; at++) {
        if (text[at] == '\\')
            at++;
        else if (text[at] == '"')
            quoted = !quoted;
        else if (!quoted && text[at] == '{')
            depth++;
        else if (!quoted && text[at] == '}' && --depth == 0)
            return at;
    }
    return end;
}

/* Lets libFuzzer change the bytes from `at` to `end`, what follows moves; the new size. */
static size_t change(uint8_t *data, size_t size, size_t most, size_t at, size_t end) {
    const size_t old = end - at, room = old + (most - size), rest = size - end;
    uint8_t *part = malloc(room ? room : 1);
    if (!part) return size;
    memcpy(part, data + at, old);
    const size_t now = LLVMFuzzerMutate(part, old, room);
    memmove(data + at + now, data + end, rest);
    memcpy(data + at, part, now);
    free(part);
    return at + now + rest;
}

size_t fuzz_mutate_tensors(uint8_t *data, size_t size, size_t most, unsigned seed) {
    uint64_t header;
    if (size < LENGTH + 2 || seed % 16 == 0) return LLVMFuzzerMutate(data, size, most);
    memcpy(&header, data, LENGTH);
    if (header > size - LENGTH) header = size - LENGTH;
    const size_t text = LENGTH, values = text + header;
    size_t at = text, end = values;
    const bool ours = header > PREFIX + DIGITS && !memcmp(data + text, prefix, PREFIX);
    switch (seed / 16 % 4) {
        case 0: /* the metadata, where they come first */
        case 1:
            if (!ours) break;
            at = text + PREFIX + DIGITS + 1;
            end = object_end(data, text + 16, values);
            if (end < at) end = at;
            break;
        case 2: /* the first numbers: those of state, if there are any */
            at = values;
            end = size - values > 512 && seed / 64 % 2 ? values + 512 : size;
            break;
        default:
            break; /* the whole header */
    }
    const size_t now = change(data, size, most, at, end);
    if (end <= values) header += now - size;
    /* Data that were added or cut off are wrong in any case, unless the header changes too. */
    memcpy(data, &header, LENGTH);
    if (now > LENGTH + header || now == LENGTH + header) repair(data, now, header);
    return now;
}

/* ---- gzip ------------------------------------------------------------------------------------ */

enum { GZIP = 16, MOST_PLAIN = 1 << 16 };

static size_t unpack(const uint8_t *data, size_t size, uint8_t *to) {
    z_stream z = {.next_in = data, .avail_in = (uInt)size, .next_out = to, .avail_out = MOST_PLAIN};
    if (inflateInit2(&z, 15 + GZIP) != Z_OK) return 0;
    inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return z.total_out;
}

static size_t pack(const uint8_t *plain, size_t size, uint8_t *to, size_t most, int level) {
    z_stream z = {
        .next_in = plain, .avail_in = (uInt)size, .next_out = to, .avail_out = (uInt)most};
    if (deflateInit2(&z, level, Z_DEFLATED, 15 + GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    const int end = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return end == Z_STREAM_END ? z.total_out : 0;
}

size_t fuzz_mutate_gzip(uint8_t *data, size_t size, size_t most, unsigned seed) {
    static uint8_t plain[MOST_PLAIN];
    if (seed % 4 == 0 || size < 18) return LLVMFuzzerMutate(data, size, most);
    size_t unpacked = unpack(data, size, plain);
    if (!unpacked) return LLVMFuzzerMutate(data, size, most);
    if (seed % 4 == 1) { /* the stream changes, its trailer is made to fit */
        size = LLVMFuzzerMutate(data, size, most);
        unpacked = unpack(data, size, plain);
        if (size < 18 || !unpacked) return size;
        const uint32_t trailer[2] = {(uint32_t)crc32_z(0, plain, unpacked), (uint32_t)unpacked};
        memcpy(data + size - sizeof trailer, trailer, sizeof trailer);
        return size;
    }
    unpacked = LLVMFuzzerMutate(plain, unpacked, MOST_PLAIN);
    const size_t packed = pack(plain, unpacked, data, most, (int)(seed / 4 % 10));
    return packed ? packed : LLVMFuzzerMutate(data, size, most);
}
