/* clock.h -- time as it passes. */
#ifndef PN_CLOCK_H
#define PN_CLOCK_H

/* Seconds of a clock that only goes on. */
double pn_now(void);

#endif
