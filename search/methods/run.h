/* run.h -- a search in a directory: settings, tables, checkpoints; continued when opened again.
 *
 *   run.json                  settings, versions, device, state; no times, so that a continued run
 *                             ends with the same bytes as an uninterrupted one
 *   metrics.csv               a row per step
 *   samples.csv               a row per sampled architecture
 *   prior.csv                 the distribution, about a hundred times during the search
 *   events.jsonl, times.csv   what happened when, and what it cost (journal.h)
 *   checkpoint-STEP.safetensors  weights, momentum, the method's state; lengths of the tables
 *   genotype.txt              the cell found (found.h), once the search is finished
 *   lock                      held by the process at work
 *
 * With a group of processes (pn_opening) all open it and make the same calls: rank 0 does what is
 * said here, the others compute. The files have the same bytes for any number of them.
 *
 * A run may be killed at any moment. The tables are flushed to the disk before the checkpoint
 * that counts on them, and cut back to its lengths when the run goes on from there. */
#ifndef PN_RUN_H
#define PN_RUN_H

#include "kernels/api.h"
#include "search/methods/method.h"
#include "search/network/images.h"
#include "search/rundir/record.h"

PN_API_BEGIN

typedef struct pn_run {
    pn_record record;
    struct pn_group *group; /* of which rank 0 alone has the record; NULL: one process */
    pn_settings settings;
    pn_data data;
    pn_images images; /* what the data say of themselves */
    pn_model model;
    const pn_method *method;
    void *self;            /* its state */
    pn_belief belief;      /* what it believes now, */
    pn_health health;      /* and how healthy that is */
    pn_step_report report; /* of the last step */
    pn_step_times times;   /* of it, as in times.csv */
    bool continued;        /* from a checkpoint */
    bool finished;
} pn_run;

/* Opens a directory: a new one (made, as those above it), or one with a run in it, which is
 * continued from its last checkpoint; for reading: a run to look at, of which no step can be made.
 * `settings`: what was asked for. `memory`: as in pn_model_settings. After a failure pn_run_close
 * frees what there is. Errors as pn_record_open; PN_EINPUT for a damaged checkpoint, or data that
 * have changed. */
pn_status pn_run_open(pn_run *run, const char *directory, const pn_settings *settings,
                      const pn_opening *opening, const pn_kernels *kernels, size_t memory);

/* The next step; settings.steps when the run is done. */
int64_t pn_run_position(const pn_run *run);

/* One step, and its rows. PN_EDIVERGED: the last checkpoint is untouched, and run.json says so. */
pn_status pn_run_step(pn_run *run);

/* Whether prior.csv has a row for the state at hand: at step 0, after each hundredth of the steps,
 * and at the end. */
bool pn_run_marked(const pn_run *run);

/* Writes a checkpoint of the state between two steps; older ones but one are removed. */
pn_status pn_run_save(pn_run *run);

/* After the last step: last checkpoint, genotype.txt; the older checkpoints are removed. */
pn_status pn_run_finish(pn_run *run);

/* Gives everything back; nothing is written. A run that was never opened is allowed. */
void pn_run_close(pn_run *run);

PN_API_END

#endif
