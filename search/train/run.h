/* run.h -- a training in a directory: one table of settings, one seed; continued when opened again.
 *
 *   run.json                  settings, versions, device, state, in the end the scores; no times
 *   metrics.csv               a row per epoch
 *   events.jsonl, times.csv   what happened when, and what it cost (journal.h)
 *   checkpoint-STEP.safetensors  weights, running statistics, momenta; length of the table
 *   best.safetensors, last.safetensors  weights that travel (weights.h): of the epoch with the best
 *                             score so far, and of the last one
 *   genotype.txt              the cell
 *   lock                      held by the process at work
 *
 * It may be killed at any moment, and then continues to the bit: see search/methods/run.h, which
 * does the same. */
#ifndef PN_TRAIN_RUN_H
#define PN_TRAIN_RUN_H

#include "kernels/api.h"
#include "search/network/images.h"
#include "search/rundir/record.h"
#include "search/train/trainer.h"

PN_API_BEGIN

/* What a network is worth: on the images it is scored on. epoch: how many it had then; 0: none. */
typedef struct pn_epoch_score {
    int64_t epoch;
    double loss, accuracy; /* nats; 0..1 */
} pn_epoch_score;

/* Of the epoch at hand: sums over its steps. */
typedef struct pn_epoch_sums {
    double loss, auxiliary_loss, gradient_norm;
    int64_t correct, images, steps;
} pn_epoch_sums;

typedef struct pn_training {
    pn_record record;
    struct pn_group *group; /* as in search/methods/run.h */
    pn_train_settings settings;
    pn_data data, held; /* to train on; the test split */
    pn_images images;   /* what the data say of themselves */
    pn_trainer trainer;
    pn_epoch_sums sums;
    pn_epoch_score last, best;
    pn_train_report report; /* of the last step */
    double epoch_begun;     /* the epoch at hand, or what we do of it, by pn_now */
    int64_t steps;          /* in all */
    bool continued, finished;
} pn_training;

/* Opens a directory: a new one, or one with a training in it, which is continued. `settings`: what
 * was asked for. Close it after a failure too. Errors as pn_run_open. */
pn_status pn_training_open(pn_training *training, const char *directory,
                           const pn_train_settings *settings, const pn_opening *opening,
                           const pn_kernels *kernels, size_t memory);

/* One step; after the last of an epoch also its score, its row and both files of weights.
 * PN_EDIVERGED, of the loss, the gradient or the score: the last checkpoint is untouched, and
 * run.json says so. */
pn_status pn_training_step(pn_training *training);

pn_status pn_training_save(pn_training *training);   /* a checkpoint */
pn_status pn_training_finish(pn_training *training); /* after the last step */
void pn_training_close(pn_training *training);

/* What came of a training, by its run.json alone: *finished if it is, with these settings but for
 * the seed; a directory without a training is one that is not. PN_EINPUT if run.json is damaged. */
pn_status pn_training_result(const char *directory, const pn_train_settings *settings,
                             bool *finished, pn_epoch_score *last, pn_epoch_score *best);

/* The settings of the training in a directory, by its run.json alone; *begun: there is one. */
pn_status pn_training_look(const char *directory, pn_train_settings *settings, bool *begun);

/* "test images", or what takes their place. */
const char *pn_training_scored_on(const pn_train_settings *settings);

PN_API_END

#endif
