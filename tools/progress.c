/* progress.c -- see progress.h. */
#include "tools/progress.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

volatile sig_atomic_t pn_stopped;

bool pn_on_terminal(void) {
    const char *kind = getenv("TERM");
    return isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

void pn_progress_line(bool terminal, char *text) {
    struct winsize size;
    if (terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 &&
        strlen(text) >= size.ws_col)
        text[size.ws_col - 1] = 0; /* a line that wraps would not be replaced by the next */
    fprintf(stderr, terminal ? "\r\033[K%s" : "%s\n", text);
    fflush(stderr);
}

void pn_duration_text(double seconds, char text[32]) {
    const long s = (long)(seconds + 0.5), m = (s + 30) / 60;
    if (s < 100)
        snprintf(text, 32, "%ld s", s);
    else if (m < 100)
        snprintf(text, 32, "%ld min", m);
    else if (m < 48 * 60)
        snprintf(text, 32, "%ld h %ld min", m / 60, m % 60);
    else
        snprintf(text, 32, "%ld d %ld h", m / 1440, m / 60 % 24);
}

const char *pn_count_text(int64_t count, char text[32]) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    char *to = text;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0 && digits[i - 1] != '-') *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return text;
}

void pn_say_forecast(const char *length, double seconds, int64_t steps, const char *otherwise) {
    char about[32];
    pn_duration_text(seconds, about);
    fprintf(stderr, "%s, about %s by the first %" PRId64 " steps%s%s\n", length, about, steps,
            otherwise ? "; " : "", otherwise ? otherwise : "");
}

void pn_clock_text(double seconds, char text[32]) {
    const long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
}

/* Two threads may be here at once, for two signals. */
static void on_signal(int signal_number) {
    static atomic_flag asked = ATOMIC_FLAG_INIT;
    if (!pn_stopped) pn_stopped = signal_number;
    const bool asks = signal_number == SIGINT || signal_number == SIGTERM;
    if (!asks || !atomic_flag_test_and_set(&asked)) return;
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number); /* it is held back until we return */
}

void pn_stop_on_signals(void) {
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    enum { COUNT = sizeof all / sizeof *all };
    struct sigaction before, action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (int i = 0; i < COUNT; i++) (void)sigaddset(&action.sa_mask, all[i]);
    for (int i = 0; i < COUNT; i++)
        if (sigaction(all[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(all[i], &action, NULL);
}
