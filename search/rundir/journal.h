/* journal.h -- what a run tells of itself beside its results: events.jsonl, what happened and when;
 * times.csv, what the steps cost.
 *
 * Neither is equal to the bit from one run to the next, and no checkpoint counts on them. So they
 * never stop a run either: a file that cannot be read, or is another's, stays as it is, one that
 * cannot be written any more ends where it is, and the run goes on without it, after one sentence
 * that says so (pn_opening.say). The next process that continues the run tries again. */
#ifndef PN_JOURNAL_H
#define PN_JOURNAL_H

#include "kernels/api.h"
#include "runtime/file.h"

PN_API_BEGIN

/* Takes one sentence, for a person. */
typedef void pn_journal_say(const char *sentence);

typedef struct pn_journal {
    const pn_place *place;
    pn_journal_say *say;     /* NULL: nobody listens */
    pn_table *events, *rows; /* NULL: not open, or given up */
    int statm;               /* descriptor of the system's figures of this process; -1: none */
    double flushed;          /* when rows reached the file last, by pn_now */
} pn_journal;

/* The initialiser of one that is not open. */
#define PN_NO_JOURNAL \
    { .statm = -1 }

/* What a step, or an epoch, cost. Seconds of this thread; NAN: not known. What is left of `all` are
 * the programs built, the rows written, and the epoch's score. */
typedef struct pn_step_times {
    double all;
    double data;              /* waiting for batches */
    double forward, backward; /* on a card not known: the host queues and does not wait */
    double update;            /* importance weights and SGD of the shared weights; likewise */
    double distribution;      /* draws, gradient and Adam of pi, or its fit to the evidence */
    int64_t images;           /* through the network, in all samples */
    size_t arena_bytes;       /* of the largest program */
    size_t memory_bytes;      /* of the process, resident; 0: not known */
} pn_step_times;

/* Opens both files in a run's directory, which stays open as long. `key`: the first column of
 * times.csv, "step" or "epoch", `first` the value in the next row; rows from there on are dropped,
 * and a line that a kill cut short. */
void pn_journal_open(pn_journal *journal, const pn_place *place, const char *key, int64_t first,
                     pn_journal_say *say);

/* How a run begins: the event `start` or `resume` at this step of so many, with the command line of
 * the process, host, version, device, threads and processor. */
void pn_journal_begin(pn_journal *journal, bool resume, int64_t step, int64_t steps,
                      const char *device);

/* The words of this process's command line; NULL: no memory. Whoever asks lets go of it. */
struct json_t *pn_journal_command(void);

/* Any other event. `text` is the value of `key`; NULL: there is none. The line is with the system
 * when this returns. */
void pn_journal_event(pn_journal *journal, const char *event, int64_t step, const char *key,
                      const char *text);

/* Resident memory of this process; 0 if the system does not say. */
size_t pn_journal_memory(const pn_journal *journal);

/* A row of times.csv. */
void pn_journal_times(pn_journal *journal, int64_t number, const pn_step_times *times);

/* Rows go to the system. */
void pn_journal_flush(pn_journal *journal);

/* One that is not open is allowed. */
void pn_journal_close(pn_journal *journal);

PN_API_END

#endif
