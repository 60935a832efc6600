/* text.h -- numbers in text, and names joined to paths. */
#ifndef PN_TEXT_H
#define PN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/status.h"
#include "kernels/utf8.h"

/* The decimal digits at *at, which then points behind them; false, and nothing changed, if there
 * are none or the number is not in [min, max]. */
bool pn_take_whole(const char **at, uint64_t min, uint64_t max, uint64_t *value);

/* The whole text as a whole number in [min, max]; up to 2^53 it may also be written as 1e6. */
bool pn_whole(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* The fewest digits that read back as the same number: 0.025, not 0.025000000000000001. */
enum { PN_REAL_BYTES = 32 };
char *pn_real_text(double x, char text[PN_REAL_BYTES]);

/* DIRECTORY/NAME; without NAME (NULL) the directory alone. PN_EARG if it has no room. */
pn_status pn_path_join(char *path, size_t room, const char *directory, const char *name);

#endif
