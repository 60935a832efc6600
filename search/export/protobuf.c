/* protobuf.c -- see protobuf.h. */
#include "search/export/protobuf.h"

#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, EIGHT_BYTES = 1, LENGTH = 2, FOUR_BYTES = 5, VARINT_BYTES = 10 };

/* Room for more bytes at `at`, what is there moved behind them; NULL: no memory. */
static unsigned char *insert(pn_message *m, size_t at, size_t bytes) {
    if (m->no_memory) return NULL;
    if (m->room - m->bytes < bytes) {
        const size_t room = 2 * m->bytes + bytes + 256;
        unsigned char *data = realloc(m->data, room);
        m->no_memory = !data;
        if (!data) return NULL;
        m->data = data;
        m->room = room;
    }
    memmove(m->data + at + bytes, m->data + at, m->bytes - at);
    m->bytes += bytes;
    return m->data + at;
}

static void add(pn_message *m, size_t at, const void *data, size_t bytes) {
    unsigned char *to = insert(m, at, bytes);
    if (to && bytes) memcpy(to, data, bytes);
}

static void add_varint(pn_message *m, size_t at, uint64_t value) {
    unsigned char varint[VARINT_BYTES];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) varint[n++] = (unsigned char)(value | 0x80);
    varint[n++] = (unsigned char)value;
    add(m, at, varint, n);
}

static void add_key(pn_message *m, int field, int wire) {
    add_varint(m, m->bytes, (uint64_t)field << 3 | (uint64_t)wire);
}

void pn_message_whole(pn_message *m, int field, uint64_t value) {
    add_key(m, field, VARINT);
    add_varint(m, m->bytes, value);
}

static void add_little_endian(pn_message *m, uint64_t bits, int count) {
    unsigned char bytes[8];
    for (int i = 0; i < count; i++) bytes[i] = (unsigned char)(bits >> 8 * i);
    add(m, m->bytes, bytes, (size_t)count);
}

void pn_message_float(pn_message *m, int field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_key(m, field, FOUR_BYTES);
    add_little_endian(m, bits, 4);
}

static void add_double(pn_message *m, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_little_endian(m, bits, 8);
}

void pn_message_double(pn_message *m, int field, double value) {
    add_key(m, field, EIGHT_BYTES);
    add_double(m, value);
}

void pn_message_doubles(pn_message *m, int field, const double *value, int count) {
    add_key(m, field, LENGTH);
    add_varint(m, m->bytes, 8 * (uint64_t)count);
    for (int i = 0; i < count; i++) add_double(m, value[i]);
}

void pn_message_bytes(pn_message *m, int field, const void *data, size_t bytes) {
    add_key(m, field, LENGTH);
    add_varint(m, m->bytes, bytes);
    add(m, m->bytes, data, bytes);
}

void pn_message_text(pn_message *m, int field, const char *text) {
    pn_message_bytes(m, field, text, strlen(text));
}

void pn_message_raw(pn_message *m, const void *data, size_t bytes) {
    add(m, m->bytes, data, bytes);
}

size_t pn_message_open(pn_message *m, int field) {
    add_key(m, field, LENGTH);
    return m->bytes;
}

void pn_message_close(pn_message *m, size_t opened) { add_varint(m, opened, m->bytes - opened); }

pn_status pn_message_check(const pn_message *m) {
    if (m->no_memory) return pn_fail(PN_EMEM, "no memory for a message of %zu bytes", m->bytes);
    if (m->bytes > INT32_MAX)
        return pn_fail(PN_EARG, "a message of %zu bytes, want 2 GiB at most", m->bytes);
    return PN_OK;
}

void pn_message_free(pn_message *m) {
    free(m->data);
    *m = (pn_message){0};
}
