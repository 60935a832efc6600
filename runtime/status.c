/* status.c -- one sentence per thread. */
#include "runtime/status.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char sentence[1024];

void pn_say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
}

void pn_say_in(const char *format, ...) {
    char reason[sizeof sentence / 2]; /* room for both */
    snprintf(reason, sizeof reason, "%.*s", (int)sizeof reason - 1, sentence);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof sentence)
        snprintf(sentence + n, sizeof sentence - (size_t)n, ": %s", reason);
}

const char *pn_error(void) { return sentence; }
