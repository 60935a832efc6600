/* measured.h -- what bench and profile say of the times they took: quartiles, whether the machine
 * was too busy to trust them, and JSON in the shape of Google Benchmark's, for bench/compare. */
#ifndef PN_MEASURED_H
#define PN_MEASURED_H

#include <stdbool.h>
#include <stdio.h>

#include "kernels/work.h"

struct json_t; /* jansson's */

enum { PN_MOST_REPETITIONS = 1000 };

/* The quartiles, between values where there is none, as Python's statistics.quantiles has them
 * ("inclusive"). 1 to PN_MOST_REPETITIONS values. */
typedef struct pn_spread {
    double low, median, high;
} pn_spread;
pn_spread pn_spread_of(const double *values, int count);

/* Half the distance of the quartiles, in percent of the median, in at most 4 characters. */
const char *pn_spread_text(const pn_spread *s, char text[8]);

/* The option to do without limits, and what it does. */
#define PN_ROW_LIMITS \
    PN_FLAG("limits", limits, "1", "measure the limits of this machine, which takes seconds")
static inline void pn_limits_want(pn_ceilings *c, bool wanted) {
    if (!wanted) c->flop_rate = -1;
}

/* Whether times are the program's, or those of a machine that did other work: the thread that
 * measures had less than 90 % of a processor, or other processes took more than a tenth of one that
 * the program's threads had use for. Where the system does not tell what others took, a load above
 * the number of processors counts instead, although it knows the minute before as well. */
typedef struct pn_trust {
    double wall, cpu; /* seconds while something was timed: of the clock, of this thread */
    double load;      /* mean of the last minute, when it began; -1: not known */
    double others;    /* processors that others kept busy, on average; -1: not known */
    int processors, threads;
    bool busy;
    double from, taken, own; /* when it began: clock, seconds of all processors, of this process */
} pn_trust;
void pn_trust_begin(pn_trust *t);
void pn_trust_judge(pn_trust *t, double wall, double cpu);

/* A sentence, if they are not to be trusted: at most 80 columns a line. */
void pn_trust_say(FILE *out, const pn_trust *t);

/* ---- JSON ------------------------------------------------------------------------------------ */

/* The context of a report: machine, device, threads, ceilings as numbers. NULL: no memory. */
struct json_t *pn_measured_context(const pn_ceilings *c, const pn_trust *t);

/* Appends one benchmark: its repetitions, each the mean of so many iterations, and their median.
 * `ms` and `cpu_ms` have `count` times; label: NULL, or a text that says more than the name;
 * counters: an object of numbers, which is handed over (NULL: no memory). Gives what jansson's
 * setters gave. */
typedef struct pn_measured {
    const char *name, *label;
    const double *ms, *cpu_ms;
    int count;
    long long iterations;
    bool brief; /* the median alone */
} pn_measured;
int pn_measured_add(struct json_t *list, const pn_measured *m, struct json_t *counters);

#endif
