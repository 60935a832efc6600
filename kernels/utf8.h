/* utf8.h -- text that others wrote: bytes that may not be UTF-8, and control characters. */
#ifndef PN_UTF8_H
#define PN_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The length of the character of UTF-8 that begins at `at`; 0 if none does (not even a zero). */
size_t pn_utf8_length(const char *at);
bool pn_utf8(const char *text);

/* Copies text so that a terminal shows it and does nothing else: control characters, and bytes that
 * are not UTF-8, become \x1b and the like. What has no room is left out, never half a character. */
void pn_text_visible(const char *text, char *out, size_t room);

#ifdef __cplusplus
}
#endif

#endif
