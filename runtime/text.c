/* text.c -- see text.h. */
#include "runtime/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool pn_take_whole(const char **at, uint64_t min, uint64_t max, uint64_t *value) {
    const char *digit = *at;
    uint64_t number = 0;
    if (*digit < '0' || *digit > '9') return false;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        const uint64_t next = (uint64_t)(*digit - '0');
        if (number > (UINT64_MAX - next) / 10) return false;
        number = number * 10 + next;
    }
    if (number < min || number > max) return false;
    *at = digit;
    *value = number;
    return true;
}

bool pn_whole(const char *text, uint64_t min, uint64_t max, uint64_t *value) {
    const char *at = text;
    char *end;
    if (pn_take_whole(&at, min, max, value) && !*at) return true;
    if (!text[strspn(text, "0123456789")] || text[strspn(text, "0123456789.eE+")]) return false;
    errno = 0;
    const double x = strtod(text, &end);
    if (end == text || *end || errno || x != floor(x) || x > 0x1p53) return false;
    const uint64_t number = (uint64_t)x;
    if (number < min || number > max) return false;
    *value = number;
    return true;
}

char *pn_real_text(double x, char text[PN_REAL_BYTES]) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, PN_REAL_BYTES, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    return text;
}

pn_status pn_path_join(char *path, size_t room, const char *directory, const char *name) {
    const int n = snprintf(path, room, "%s%s%s", directory, name ? "/" : "", name ? name : "");
    if (n >= 0 && (size_t)n < room) return PN_OK;
    return pn_fail(PN_EARG, "%s: a path of %d bytes, want at most %zu", directory, n, room - 1);
}
