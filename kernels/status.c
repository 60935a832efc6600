/* status.c -- one sentence per thread. What others wrote (paths, values, words of files) is in it
 * as a terminal can show it: a sentence is one line and does nothing to the screen. */
#include "kernels/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/utf8.h"

static _Thread_local char sentence[PN_SENTENCE_BYTES];

void pn_say(const char *format, ...) {
    char raw[sizeof sentence];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    pn_text_visible(raw, sentence, sizeof sentence);
}

void pn_say_in(const char *format, ...) {
    char reason[sizeof sentence], raw[sizeof sentence];
    memcpy(reason, sentence, sizeof reason);
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    const size_t used = n < 0 ? 0 : (size_t)n;
    if (used + sizeof ": " < sizeof raw) { /* as much of the reason as there is room for */
        memcpy(raw + used, ": ", 2);
        memcpy(raw + used + 2, reason, sizeof raw - used - 3);
        raw[sizeof raw - 1] = 0;
    }
    pn_text_visible(raw, sentence, sizeof sentence);
}

const char *pn_error(void) { return sentence; }
