/* utf8.c -- see utf8.h. */
#include "kernels/utf8.h"

#include <stdio.h>
#include <string.h>

size_t pn_utf8_length(const char *text) {
    static const struct {
        unsigned char mask, lead;
        unsigned least;
    } forms[] = {{0x80, 0x00, 1}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    const unsigned char *at = (const unsigned char *)text;
    for (size_t n = 0; n < sizeof forms / sizeof *forms; n++) {
        if ((at[0] & forms[n].mask) != forms[n].lead) continue;
        unsigned code = at[0] & (unsigned char)~forms[n].mask;
        for (size_t i = 1; i <= n; i++) {
            if ((at[i] & 0xc0) != 0x80) return 0; /* a final zero, too */
            code = code << 6 | (at[i] & 0x3f);
        }
        const bool half = code >= 0xd800 && code <= 0xdfff; /* of a UTF-16 pair */
        return code >= forms[n].least && code <= 0x10ffff && !half ? n + 1 : 0;
    }
    return 0;
}

bool pn_utf8(const char *text) {
    while (*text) {
        const size_t n = pn_utf8_length(text);
        if (!n) return false;
        text += n;
    }
    return true;
}

/* ASCII's, DEL, and those that Latin-1 has at 0x80 to 0x9f: C2 80 to C2 9F. */
static bool is_control(const char *at, size_t length) {
    const unsigned char first = (unsigned char)at[0];
    return first < 0x20 || first == 0x7f ||
           (length == 2 && first == 0xc2 && (unsigned char)at[1] < 0xa0);
}

void pn_text_visible(const char *text, char *out, size_t room) {
    size_t used = 0;
    while (*text) {
        char shown[16];
        const size_t n = pn_utf8_length(text), bytes = n ? n : 1;
        if (n && !is_control(text, n)) {
            snprintf(shown, sizeof shown, "%.*s", (int)n, text);
        } else {
            for (size_t i = 0; i < bytes; i++)
                snprintf(shown + 4 * i, 5, "\\x%02x", (unsigned)(unsigned char)text[i]);
        }
        const size_t length = strlen(shown);
        if (used + length >= room) break;
        memcpy(out + used, shown, length);
        used += length;
        text += bytes;
    }
    if (room) out[used] = 0;
}
