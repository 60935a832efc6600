/* protobuf.h -- messages in the wire format of Protocol Buffers, written by hand.
 *
 * A message is a row of fields, each a key (number << 3 | wire type) and a value: a varint (wire
 * type 0: seven bits a byte, the lowest first, the top bit says that more follow), four or eight
 * bytes (5 and 1, little endian), or a length and as many bytes (2). A message in a message is of
 * the last kind, and so is a packed list of numbers.
 * (protobuf.dev/programming-guides/encoding.) */
#ifndef PN_PROTOBUF_H
#define PN_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/status.h"

/* Zero is an empty one. What cannot be added for lack of memory is left out, and remembered. */
typedef struct pn_message {
    unsigned char *data;
    size_t bytes, room;
    bool no_memory;
} pn_message;

void pn_message_whole(pn_message *m, int field, uint64_t value);
void pn_message_float(pn_message *m, int field, float value);
void pn_message_double(pn_message *m, int field, double value);
void pn_message_doubles(pn_message *m, int field, const double *value, int count); /* packed */
void pn_message_bytes(pn_message *m, int field, const void *data, size_t bytes);
void pn_message_text(pn_message *m, int field, const char *text);

/* Bytes as they are, without a key. */
void pn_message_raw(pn_message *m, const void *data, size_t bytes);

/* A message as a field of this one: all that is added from open until close, which takes what open
 * gave. They nest. */
size_t pn_message_open(pn_message *m, int field);
void pn_message_close(pn_message *m, size_t opened);

/* PN_EMEM if something is missing; PN_EARG for more than 2 GiB, which no reader takes. */
pn_status pn_message_check(const pn_message *m);
void pn_message_free(pn_message *m);

#endif
