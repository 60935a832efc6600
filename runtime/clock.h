/* clock.h -- time as it passes, and as it is used. */
#ifndef PN_CLOCK_H
#define PN_CLOCK_H

/* Seconds of a clock that only goes on. */
double pn_now(void);

/* Seconds since *since, which becomes now. */
double pn_lap(double *since);

/* Seconds that a processor has worked for this thread. */
double pn_cpu_now(void);

#endif
