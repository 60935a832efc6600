/* progress.h -- what commands that take long have in common: a line that says how far they are, how
 * long it will take, and a signal that asks them to stop and save. */
#ifndef PN_PROGRESS_H
#define PN_PROGRESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/clock.h"

/* Whether stderr is a terminal on which a line can be written again. */
bool pn_on_terminal(void);

/* A line of progress: on a terminal in place of the last one, cut to its width; else a line. */
void pn_progress_line(bool terminal, char *text);

/* "35 s", "12 min", "4 h 10 min", "2 d 3 h"; and "46,800". */
void pn_duration_text(double seconds, char text[32]);
const char *pn_count_text(int64_t count, char text[32]);

/* After the first steps of something long: "46,800 steps, about 4 h 10 min by the first 20 steps;
 * OTHERWISE", where that is not NULL. */
enum { PN_FORECAST_STEPS = 20 };
void pn_say_forecast(const char *length, double seconds, int64_t steps, const char *otherwise);

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
