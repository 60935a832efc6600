/* progress.h -- what commands that take long have in common: what they say in between, how long it
 * will take, and a signal that asks them to stop and save. How far they are: live.h. */
#ifndef PN_PROGRESS_H
#define PN_PROGRESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/clock.h"
#include "runtime/loss_scale.h"
#include "search/rundir/journal.h"

/* With JSON, notes are not printed, and a warning is an object. */
void pn_say_json(bool json);

/* A line on stderr, above what live.h shows; on a terminal it is broken between words. `text` is
 * changed. */
void pn_say_line(char *text);

/* The same of what is said beside progress. */
void pn_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "warning: SENTENCE", likewise. */
void pn_warn(const char *sentence);

/* "35 s", "12 min", "4 h 10 min", "2 d 3 h"; and "46,800". */
void pn_duration_text(double seconds, char text[32]);
const char *pn_count_text(int64_t count, char text[32]);

/* Of fp16, if there were any: steps that were skipped. */
void pn_say_skipped(const pn_loss_scale *loss);

/* After the first steps of something long: "46,800 steps, about 4 h 10 min by the first 20 steps;
 * OTHERWISE", where that is not NULL. */
enum { PN_FORECAST_STEPS = 20 };
void pn_say_forecast(const char *length, double seconds, int64_t steps, const char *otherwise);

/* "3:05", "2:10:00". */
void pn_clock_text(double seconds, char text[32]);

/* From now on SIGINT, SIGTERM, SIGHUP (the terminal is gone), SIGUSR1 (what batch systems send
 * before the time is up, and mpirun and srun hand on to all processes) and SIGPIPE (nobody reads
 * our messages any more) set pn_stopped, the first of them, to their number. A second SIGINT or
 * SIGTERM ends the program at once; a SIGHUP does not, since kernel and shell both send one, nor
 * does a SIGUSR1, nor a SIGPIPE, which comes with every message. A signal that is ignored stays so
 * (nohup, a job in the background of a script). */
extern volatile sig_atomic_t pn_stopped;
void pn_stop_on_signals(void);

/* The event `stop` of a run that ended with this status, unless the directory is not ours any more
 * or run.json says what became of it. The sentence at hand stays. */
void pn_tell_stop(pn_journal *journal, int64_t step, pn_status status);

#endif
