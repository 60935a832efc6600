/* trainer.h -- the evaluation network of one architecture, trained step by step from scratch.
 *
 * Everything is a function of (settings, step): batches, cut squares and dropped terms come from
 * counters, so that a training continues to the bit from weights, momenta and the step alone. */
#ifndef PN_TRAINER_H
#define PN_TRAINER_H

#include "kernels/api.h"
#include "runtime/device_batch.h"
#include "runtime/update.h"
#include "search/network/predict.h"
#include "search/rundir/journal.h"
#include "search/train/settings.h"

PN_API_BEGIN

typedef struct pn_trainer {
    pn_train_settings settings;
    const pn_kernels *kernels;
    pn_arch arch;
    pn_network network;
    pn_arena arena;
    pn_program *training, *inference; /* one arena for both, one after the other */
    pn_program_size size;             /* of the training program */
    pn_update update;
    pn_batches *batches;
    pn_device_batch device_batch;
    pn_result *found;  /* (2): of the head and of the auxiliary one, in memory of the device */
    pn_result *kept;   /* (2, shards): the same of each shard, there too; NULL of one shard */
    pn_result *result; /* the same, on the host */
    float *factor;     /* of drop-path, (layers, nodes, 2, N of a shard), there too; NULL: none */
    float *staging;    /* (2, shards) times that on the host, to upload from */
    size_t factors;    /* numbers, of a shard */
    int64_t mark[2];   /* of the upload from each half */
    pn_batch bound;    /* the batch that the training program was bound to; zero: not bound */
    int64_t step;      /* the next one */
    int64_t steps_per_epoch;
    struct pn_group *group; /* each rank runs its share of the shards; NULL: one process */
    pn_step_times times;    /* of all steps since the caller cleared it; `images` too */
} pn_trainer;

/* What a step did; losses are means over the batch, in nats. */
typedef struct pn_train_report {
    int images;
    int64_t correct;
    double loss, auxiliary_loss;
    double gradient_norm; /* before clipping; 0 if the step was skipped */
    bool skipped;         /* its gradient overflowed in fp16: runtime/loss_scale.h */
} pn_train_report;

/* Weights from the settings' seed, step 0. A batch is run in settings.shards parts, each with
 * BatchNorm statistics of its own; the gradient is that of the whole batch, and running statistics
 * move by the mean over the shards, both summed exactly (units.h). `settings` is resolved, `data`
 * outlives the trainer; if it has sizes but no images (NULL), the batches are the caller's:
 * pn_trainer_step_on alone. memory: most bytes of weights, arena and batches, 0 = no limit; PN_EMEM
 * before anything large is touched, naming the batch that would fit.
 * group: of processes that all create the same; NULL: one. Shard d is run by rank d modulo their
 * number; weights and reports are the same on all, and as of one process. PN_EARG if there are more
 * ranks than shards. */
pn_status pn_trainer_create(pn_trainer *trainer, const pn_kernels *kernels,
                            const pn_train_settings *settings, const pn_data *data, size_t memory,
                            struct pn_group *group);
void pn_trainer_destroy(pn_trainer *trainer);

/* One step. PN_EDIVERGED, with weights and step as they were, if loss or gradient is not finite
 * (running statistics may have moved). */
pn_status pn_trainer_step(pn_trainer *trainer, pn_train_report *report);

/* One step on a batch of the host's, of settings.batch normalised images, with this rate of SGD;
 * `dropped`: the probability with which drop-path drops a term, 0 .. below 1, without effect if the
 * settings have no drop-path. Likewise. */
pn_status pn_trainer_step_on(pn_trainer *trainer, const pn_batch *batch, double rate,
                             double dropped, pn_train_report *report);

/* To be called when another program has used the arena: with the second program, say. */
void pn_trainer_forget(pn_trainer *trainer);

/* The network as it is, on images; halves are those of the training's own split. See predict.h. */
pn_status pn_trainer_predict(pn_trainer *trainer, const pn_data *data, pn_half half,
                             pn_predictions *out);

PN_API_END

#endif
