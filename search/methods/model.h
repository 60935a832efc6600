/* model.h -- the one-shot model: shared weights that evaluate any architecture of the space. It
 * stands behind the callbacks of step.h. K architectures one after another, or on a large card
 * several in flight (flights.h), each on the D shards of its batch one after another. With a group
 * of processes, each runs the units (k, d) that are dealt to it; weights and results are the same
 * on all. */
#ifndef PN_MODEL_H
#define PN_MODEL_H

#include "kernels/api.h"
#include "runtime/device_batch.h"
#include "runtime/update.h"
#include "search/methods/flights.h"
#include "search/methods/step.h"
#include "search/network/network.h"
#include "search/rundir/journal.h"

PN_API_BEGIN

/* What the programs of a search are. */
typedef enum pn_model_kind {
    PN_MODEL_CELLS,  /* sampled architectures */
    PN_MODEL_EDGES,  /* one op on every edge */
    PN_MODEL_MIXTURE /* all ops on every edge: the supernet */
} pn_model_kind;

typedef struct pn_model_settings {
    pn_network_spec network;
    int N;         /* batch */
    int shards;    /* D: parts of a batch, each with BatchNorm statistics of its own; it divides N,
                    * and is 1 but for cells */
    uint64_t seed; /* of weights and batches */
    bool augment;
    bool frozen;        /* v is not trained: no gradient, no backward pass */
    bool all_images;    /* the half that trains v is all of them; the other one is as ever */
    bool drop_path;     /* mixes may have edges that are dropped */
    bool recompute;     /* keep less for the backward pass: pn_program_recompute */
    int in_flight;      /* most architectures of a step at once; 0: by pn_flights_rule */
    size_t memory;      /* most bytes of weights, arena and batches; 0 = no limit */
    double temperature; /* of the weights of v: 1 = the paper's */
    double skip_below;  /* a sample whose weight relative to the largest is below skips backward */
    float momentum, decay, clip; /* SGD */
    bool nesterov;
    bool look_ahead;        /* room for `ahead` and `aside`: two more copies of the weights */
    pn_model_kind kind;     /* it sizes the arena; cells can be evaluated by all of them */
    struct pn_group *group; /* of cells; NULL: this process alone */
} pn_model_settings;

/* Batch 64 in one shard, momentum 0.9, decay 3e-4, clip 5, augmentation, skip below 2^-24: a
 * smaller relative weight cannot change a float32 sum. */
pn_model_settings pn_model_defaults(void);

typedef struct pn_model {
    pn_model_settings settings;
    const pn_kernels *kernels;
    pn_network network;
    pn_flights flights;
    pn_update update;
    pn_program_size size; /* of the last program */
    size_t unit_floats;   /* of the gradient of the largest program */
    pn_result *found;     /* (halves, samples, shards): training, then validation; in memory of the
                        * device */
    pn_result *result;    /* the same as of the end of the last step, on the host */
    pn_share *share;      /* (samples), there */
    pn_evaluation *evaluation;
    float *mix_weight, *mix_dweight; /* of a supernet, in memory of the device, */
    float *mix_host;                 /* and on the host: weights, then dweights */
    bool supernet, supernet_drops;   /* the program at hand is that of all ops, with drop-path */
    /* The weights of a mix: the network's, or the same tensors with other ranges on the device,
     * `ahead` their values, `slope` the gradient that is kept; NULL without look_ahead. */
    pn_parameters *place, elsewhere;
    float *ahead, *slope;
    float *mix_factor, *factor_host; /* of drop-path, (layers, edges, N); NULL without */
    double mix_keep;                 /* of the mixes of this step; 1: nothing is dropped */
    int samples;                     /* most there can be */
    int *owner;          /* (samples, shards): the rank that runs a unit of this step, */
    int dealt;           /* of so many samples; NULL and 0 without a group */
    double *cost, *load; /* room to deal: (samples, shards), (ranks), */
    int *held;           /* (ranks) */
    int64_t *joined;     /* what is joined in a step: results, bytes */
    bool met;            /* in this step: result has that of all */
    bool applied;        /* in this step: the weights were to be moved */
    pn_batches *batches; /* stream 0: the half that trains v; 1: the half that trains pi */
    int64_t step;
    int64_t taken[2]; /* step of the batch at hand of each stream, -1: none */
    pn_device_batch device_batch[2];
    double begun; /* the step at hand, by pn_now */
    pn_step_times
        times; /* of the last step: `all` from begin to finish; no distribution, no images */
} pn_model;

/* Enumerates and initialises the weights, reserves the arena for the largest program of its kind,
 * or several as far as memory goes (flights.h), and starts the batches. `data` must outlive the
 * model; if it is NULL, the batches of each step are the caller's (pn_model_give). PN_EMEM, before
 * anything large is touched, if the largest program does not fit settings->memory, or the device;
 * the sentence names the batch that would. */
pn_status pn_model_create(pn_model *model, const pn_kernels *kernels, const pn_space *space,
                          const pn_model_settings *settings, const pn_data *data, int samples);
void pn_model_destroy(pn_model *model);

/* Bytes of what a search that looks ahead has beside its weights: two copies of them. */
size_t pn_model_ahead_bytes(const pn_parameters *weights, bool look_ahead);

/* Batch of the host's, of settings.N normalised images, for the step to come: stream 0 trains v,
 * 1 trains pi. It may be changed when the step is done. */
pn_status pn_model_give(pn_model *model, int stream, int64_t step, const pn_batch *batch);

/* The callbacks. */
pn_evaluator pn_model_evaluator(pn_model *model);

/* Mean log-likelihood (nats an image) and accuracy of an architecture with the shared weights, on
 * the first `steps` batches of the validation half in the order of epoch 0. */
pn_status pn_model_score(pn_model *model, const pn_arch *arch, int64_t steps,
                         double *log_likelihood, double *accuracy);

/* The same on batches made elsewhere, of settings.N images each. */
pn_status pn_model_score_on(pn_model *model, const pn_arch *arch, pn_batches *batches, int stream,
                            int64_t steps, double *log_likelihood, double *accuracy);

PN_API_END

#endif
