/* clock.c -- see clock.h. */
#include "runtime/clock.h"

#include <time.h>

double pn_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double pn_lap(double *since) {
    const double before = *since;
    *since = pn_now();
    return *since - before;
}

double pn_cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
