/* progress.c -- see progress.h. */
#include "tools/progress.h"

#include <stdio.h>
#include <time.h>

#include "tools/commands.h"

volatile sig_atomic_t pn_stopped;

double pn_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void pn_clock_text(double seconds, char text[32]) {
    const long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
}

static void on_signal(int signal_number) { pn_stopped = signal_number; }

static void stop_on(int signal_number, int flags) {
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    struct sigaction before;
    if (sigaction(signal_number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        (void)sigaction(signal_number, &action, NULL);
}

void pn_stop_on_signals(void) {
    stop_on(SIGINT, (int)SA_RESETHAND);
    stop_on(SIGTERM, (int)SA_RESETHAND);
    stop_on(SIGHUP, (int)SA_RESETHAND);
    stop_on(SIGPIPE, 0);
    (void)signal(SIGXFSZ, SIG_IGN);
}

int pn_report_stopped(const char *command, pn_status status) {
    const int code = pn_report(command, status);
    return status == PN_EINTR ? 128 + pn_stopped : code;
}
