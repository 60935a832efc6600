/* rate.h -- how much is done a second, of late: what was done PN_RATE_HALF seconds ago counts half.
 * So the time left follows a machine that others begin to use. */
#ifndef PN_RATE_H
#define PN_RATE_H

#include <math.h>

enum { PN_RATE_HALF = 60 };

typedef struct pn_rate {
    double at, done;        /* the last look, by pn_now, and what was done in all by then */
    double amount, seconds; /* between all looks; what is old counts less */
} pn_rate;

static inline pn_rate pn_rate_begin(double now, double done) {
    return (pn_rate){.at = now, .done = done};
}

static inline void pn_rate_look(pn_rate *rate, double now, double done) {
    const double passed = now - rate->at, kept = exp2(-passed / PN_RATE_HALF);
    rate->amount = rate->amount * kept + (done - rate->done);
    rate->seconds = rate->seconds * kept + passed;
    rate->at = now;
    rate->done = done;
}

/* NAN: nothing was done yet. */
static inline double pn_rate_of(const pn_rate *rate) {
    return rate->amount > 0 && rate->seconds > 0 ? rate->amount / rate->seconds : NAN;
}

#endif
