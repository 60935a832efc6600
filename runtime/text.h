/* text.h -- what others wrote: bytes that may not be UTF-8, whole numbers, names to be joined. */
#ifndef PN_TEXT_H
#define PN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

/* The length of the character of UTF-8 that begins at `at`; 0 if none does (not even a zero). */
size_t pn_utf8_length(const char *at);
bool pn_utf8(const char *text);

/* Copies text so that a terminal shows it and does nothing else: control characters, and bytes that
 * are not UTF-8, become \x1b and the like. What has no room is left out, never half a character. */
void pn_text_visible(const char *text, char *out, size_t room);

/* The decimal digits at *at, which then points behind them; false, and nothing changed, if there
 * are none or the number is not in [min, max]. */
bool pn_take_whole(const char **at, uint64_t min, uint64_t max, uint64_t *value);

/* The whole text as a whole number in [min, max]; up to 2^53 it may also be written as 1e6. */
bool pn_whole(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* DIRECTORY/NAME; without NAME (NULL) the directory alone. PN_EARG if it has no room. */
pn_status pn_path_join(char *path, size_t room, const char *directory, const char *name);

#endif
