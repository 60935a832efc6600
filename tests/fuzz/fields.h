/* fields.h -- of the two targets that read run.json: a table of fields from any bytes. */
#ifndef PN_FUZZ_FIELDS_H
#define PN_FUZZ_FIELDS_H

#include "search/rundir/fields.h"
#include "tests/fuzz/harness.h"

enum { FUZZ_SETTINGS_BYTES = 4096 };

/* Reads JSON over `defaults` (of `size` bytes): refused, or every number is within its bounds, and
 * the same settings come back from what they are written as. `settings`: what was read. */
pn_status fuzz_fields(const pn_fields *fields, const void *defaults, size_t size, const char *json,
                      size_t length, void *settings);

/* The defaults as the JSON of a whole file, with the input in place of the value of one field,
 * which its first byte chooses: where a fuzzer that knows no JSON gets to the fields. To be
 * freed. */
char *fuzz_field(const pn_fields *fields, const void *defaults, const uint8_t *data, size_t size,
                 size_t *length);

/* The input as the text of one field, chosen likewise, as the command line has it; and as a string
 * of JSON. */
void fuzz_option(const pn_fields *fields, const void *defaults, size_t bytes, const uint8_t *data,
                 size_t size);

#endif
