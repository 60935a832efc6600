/* json.h -- jansson without its silence.
 *
 * jansson answers NULL alike for a mistake in the text, for a string that is not UTF-8, for a
 * number that is not finite, and for lack of memory; and an object whose member could not be made
 * is an object without it. Here the first is PN_EINPUT, the last PN_EMEM, and what lacks a part is
 * never written. To build an object, gather the results of jansson's setters and give them to
 * pn_json_text:
 *
 *     int failed = 0;
 *     json_t *root = json_object();
 *     failed |= json_object_set_new(root, "name", pn_json_string(name));
 *     failed |= json_object_set_new(root, "loss", pn_json_number(loss));
 *     PN_TRY(pn_json_text(root, failed, JSON_INDENT(2), &text));
 *
 * jansson is used from one thread at a time. */
#ifndef PN_JSON_H
#define PN_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/status.h"

/* Reads `size` bytes of JSON; a key that stands twice in an object is a mistake. *root is the
 * caller's. PN_EINPUT: "line 3: ...". */
pn_status pn_json_parse(const char *text, size_t size, json_t **root);

/* A string; bytes that are not UTF-8 (a path may have any) become U+FFFD. NULL: no memory. */
json_t *pn_json_string(const char *text);

/* A number, or null if it is not finite, which JSON cannot say. NULL: no memory. */
json_t *pn_json_number(double x);

/* A whole number of 64 bits; JSON's end at 2^63 - 1, so a larger one is a string of its digits. */
json_t *pn_json_seed(uint64_t seed);

/* What an object has under a name, where it is a number, else NaN; where it is a string, else "".
 * The object may be NULL. */
double pn_json_number_in(const json_t *object, const char *name);
const char *pn_json_text_in(const json_t *object, const char *name);

/* Among the flags below: every real in the fewest digits that read back as the same double, .025
 * and not 0.025000000000000001. Of 1e300 and all others it stays a real: 1.0, not 1. */
#define PN_JSON_EXACT JSON_REAL_PRECISION(17)

/* The text of `root`, which is handed over; *text is the caller's. PN_EMEM if `root` is NULL or
 * `failed` is not 0: some part of it could not be made. */
pn_status pn_json_text(json_t *root, int failed, size_t flags, char **text);

/* The same for a file: it ends with a newline. */
pn_status pn_json_file(json_t *root, int failed, size_t flags, char **text);

/* The same, printed as a line. PN_EIO if it cannot be written. */
pn_status pn_json_print(json_t *root, int failed, size_t flags, FILE *out);

#endif
