/* clock.c -- see clock.h. */
#include "runtime/clock.h"

#include <time.h>

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double pn_now(void) { return seconds_of(CLOCK_MONOTONIC); }

double pn_lap(double *since) {
    const double before = *since;
    *since = pn_now();
    return *since - before;
}

double pn_cpu_now(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

double pn_process_now(void) { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }
