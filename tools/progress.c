/* progress.c -- see progress.h. */
#include "tools/progress.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

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
