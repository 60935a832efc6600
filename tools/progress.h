/* progress.h -- what commands that take long have in common: a clock, the time left in words, and a
 * signal that asks them to stop and save. */
#ifndef PN_PROGRESS_H
#define PN_PROGRESS_H

#include <signal.h>
#include <stdbool.h>

/* Seconds of a clock that only goes on. */
double pn_now(void);

/* "3:05", "2:10:00". */
void pn_clock_text(double seconds, char text[32]);

/* From now on SIGINT, SIGTERM, SIGHUP (the terminal is gone) and SIGPIPE (nobody reads our messages
 * any more) set pn_stopped, the first of them, to their number. A second SIGINT or SIGTERM ends the
 * program at once; a SIGHUP does not, since kernel and shell both send one, nor does a SIGPIPE,
 * which comes with every message. A signal that is ignored stays so (nohup, a job in the
 * background of a script). */
extern volatile sig_atomic_t pn_stopped;
void pn_stop_on_signals(void);

#endif
