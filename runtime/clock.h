/* clock.h -- time as it passes, and as it is used. */
#ifndef PN_CLOCK_H
#define PN_CLOCK_H

/* Seconds of a clock that only goes on. */
double pn_now(void);

/* Seconds since *since, which becomes now. */
double pn_lap(double *since);

/* Seconds that processors have worked: one for this thread, all for this process. */
double pn_cpu_now(void);
double pn_process_now(void);

#endif
