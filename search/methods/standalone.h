/* standalone.h -- what a cell is worth without the weights it shared while searching: trained from
 * scratch, by itself, by one small schedule for all. It is no replacement for the evaluation
 * protocol of the papers; it ranks cells in seconds, and shows whether a search beats choosing at
 * random.
 *
 * The cell's search network (BatchNorm without scale and shift, statistics of the batch) is trained
 * on the first half of the training images, the half that trains v in a search; scored on the other
 * half, by which one may choose, and on the test images, which nothing has seen. */
#ifndef PN_STANDALONE_H
#define PN_STANDALONE_H

#include "kernels/api.h"
#include "search/methods/model.h"
#include "search/methods/parsec.h"

PN_API_BEGIN

typedef struct pn_standalone_settings {
    pn_model_settings model;
    int64_t steps;         /* SGD steps */
    double rate, rate_end; /* on a cosine */
    int images;            /* most images of either score */
} pn_standalone_settings;

/* Of pn_model_defaults, 600 steps, the rates of a search, 10,000 images. */
pn_standalone_settings pn_standalone_defaults(void);

/* Mean loss in nats, accuracy 0..1. */
typedef struct pn_score {
    double loss, accuracy;
} pn_score;

/* PN_EDIVERGED if the gradient becomes NaN or infinite. */
pn_status pn_standalone_train(const pn_kernels *kernels, const pn_standalone_settings *settings,
                              const pn_data *train, const pn_data *test, const pn_arch *arch,
                              pn_score *validation, pn_score *held_out);

/* What a search costs in SGD steps of one architecture. A step: K times forward and backward, and
 * K times forward, a third of the two; warm-up steps and those of evidence are one. Where K follows
 * the entropy, the most that it can cost. */
double pn_search_cost(const pn_search_settings *settings);

/* The score to be expected of the best of n cells, drawn from `count` without putting back: best by
 * choose_by[], of which value[] is given. The mean over all choices of n of the count, exactly. */
double pn_best_of(const double *choose_by, const double *value, int count, int n);

PN_API_END

#endif
