/* progress.h -- what commands that take long have in common: a clock, the time left in words, and a
 * signal that asks them to stop and save. */
#ifndef PN_PROGRESS_H
#define PN_PROGRESS_H

#include <signal.h>
#include <stdbool.h>

#include "runtime/status.h"

/* Seconds of a clock that only goes on. */
double pn_now(void);

/* "3:05", "2:10:00". */
void pn_clock_text(double seconds, char text[32]);

/* SIGINT and SIGTERM from now on only set pn_stopped to their number; the same signal again ends
 * the program at once. */
extern volatile sig_atomic_t pn_stopped;
void pn_stop_on_signals(void);

/* The exit code of a command: pn_report's, and 143 for what SIGTERM has interrupted. */
int pn_report_stopped(const char *command, pn_status status);

#endif
