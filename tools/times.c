/* times.c -- see times.h. */
#include "tools/times.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/times.h"

static bool asked;
static double start;

void pn_times_ask(void) {
    const char *said = getenv("PARSEC_TIMES");
    asked = said && *said && strcmp(said, "0") != 0;
    start = pn_now();
    if (asked) pn_times_start();
}

static void print_row(const char *op, const char *pass, int64_t launches, double ms, double all) {
    fprintf(stderr, "%-10s %-10s %10lld %12.1f %7.1f %%\n", op, pass, (long long)launches, ms,
            all > 0 ? 100 * ms / all : 0);
}

void pn_times_print(void) {
    pn_times t;
    double all = 0;
    int64_t launches = 0;
    if (!asked) return;
    const double seconds = pn_now() - start;
    if (pn_times_read(&t) != PN_OK) {
        fprintf(stderr, "parsec-nas: PARSEC_TIMES: %s\n", pn_error());
        return;
    }
    for (int i = 0; i < PN_TIMED; i++) {
        all += t.ms[i];
        launches += t.launches[i];
    }
    fprintf(stderr, "%-10s %-10s %10s %12s %9s\n", "op", "pass", "launches", "ms", "share");
    for (int i = 0; i < PN_TIMED; i++) {
        if (!t.launches[i]) continue;
        print_row(i < PN_TIMED_UPDATE ? pn_family_name[i / 2] : "update",
                  i < PN_TIMED_UPDATE ? i % 2 ? "backward" : "forward" : "", t.launches[i], t.ms[i],
                  all);
    }
    print_row("all", "", launches, all, all);
    fprintf(stderr, "of %.3f s of the whole command: %.1f %%\n", seconds,
            seconds > 0 ? all / (10 * seconds) : 0);
}
