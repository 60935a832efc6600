/* step.h -- one step of a search, whatever the method: what it asks of the network, and what there
 * is to write down of it.
 *
 * A method decides and never sees a kernel: an evaluator computes. Nothing of a step depends on a
 * number that the evaluator has yet to compute, until `finish`: on a GPU a whole step can be
 * queued. */
#ifndef PN_STEP_H
#define PN_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/api.h"
#include "search/network/network.h"

PN_API_BEGIN

enum { PN_MAX_SAMPLES = 256 };

/* What one architecture did in a step. What was not asked for is 0. */
typedef struct pn_evaluation {
    double train_ll, val_ll; /* sums over the batch, nats */
    int64_t train_correct, val_correct;
    int skipped;  /* 1: its weight is too small to matter, and its gradient is left out; or that of
                   * all, since it overflowed in fp16 (runtime/loss_scale.h) */
    size_t bytes; /* of the arena */
} pn_evaluation;

typedef enum pn_step_half { PN_STEP_TRAIN, PN_STEP_VALIDATE } pn_step_half;

/* The calls of a step, in this order, each as often as the method wants it:
 *     begin, deal, train, validate, update, finish
 * or score alone; or, with a supernet, begin, drop, mix, and mixed, or update and finish, or
 * update, mixed and finish, for a half; and between begin and the last mixed also ahead, then
 * aside. A status other than PN_OK ends the step at once and is passed on. */
typedef struct pn_evaluator {
    void *self;
    int batch;                      /* images in either batch */
    const pn_network_spec *network; /* of the shared weights; may be NULL as renew may */

    /* The batches of this step; gradient and online weights cleared. */
    pn_status (*begin)(void *self, int64_t step);
    /* The architectures of the step, of which several processes take their parts: what follows of
     * another's returns at once. May be NULL where nobody deals. */
    pn_status (*deal)(void *self, int count, const pn_arch *a);
    /* Queues the log-likelihood of the training batch under *a, and its gradient, which counts in
     * `update` by its importance weight. k counts from 0. */
    pn_status (*train)(void *self, int k, const pn_arch *a);
    /* Queues the log-likelihood of the validation batch: forward only. */
    pn_status (*validate)(void *self, int k, const pn_arch *a);
    /* Queues clipping and SGD on the shared weights with this learning rate. */
    pn_status (*update)(void *self, double rate);
    /* Waits, and reads everything: out[0..count-1], and the norm of v's gradient before clipping
     * (0 if there was no update, or it was skipped). A supernet's numbers are those of out[0]'s
     * training. */
    pn_status (*finish)(void *self, int count, pn_evaluation *out, double *gradient_norm);

    /* Between two steps: v as initialised once more, from other draws each time (1, 2, ...), and
     * momenta 0. May be NULL where no method asks for it. */
    pn_status (*renew)(void *self, int64_t time);

    /* A step by itself: one architecture on the first `batches` batches of the validation half in
     * the order of epoch 0, forward only, and waits. out->val_ll and val_correct are sums over all
     * of them. May be NULL likewise. */
    pn_status (*score)(void *self, const pn_arch *a, int64_t batches, pn_evaluation *out);

    /* A supernet with these weights of its ops, in the order of mixture.h, on a batch of this step:
     * queues forward and backward, whose gradient of the shared weights is added, as by train, to
     * what `update` takes and `begin` clears. chosen NULL: all ops of every edge; else one of each,
     * by its number, -1: none, and of weight 1, whatever `weight` says. May be NULL likewise. */
    pn_status (*mix)(void *self, pn_step_half half, const double *weight, const int8_t *chosen);
    /* Waits for the last mix: its log-likelihood, and of_weight[kinds * edges * (1 + ops)], the
     * gradient of the batch's mean loss with respect to every weight, summed over the cells; 0 of
     * what was not in the supernet. */
    pn_status (*mixed)(void *self, pn_step_half half, pn_evaluation *out, double *of_weight);

    /* Looking ahead (DARTS, second order): other weights than v for every mix until `begin`. v
     * stays as it is. Both wait, and give the norm of what they went along. May be NULL likewise.
     * ahead: to where `update` with this rate would take v by the gradient since begin, without
     * clipping. The gradient of the next mix, with respect to these weights, is kept.
     * aside: to v + step * g / |g|, g being the gradient that was kept. */
    pn_status (*ahead)(void *self, double rate, double *norm);
    pn_status (*aside)(void *self, double step, double *norm);
    /* Drop-path for the mixes of this step that follow: of every edge of every cell, an image's
     * part is kept with this probability, and then divided by it (network.h). May be NULL
     * likewise. */
    pn_status (*drop)(void *self, double keep);
} pn_evaluator;

/* What happened in a step. */
typedef struct pn_step_report {
    int64_t step;
    bool warmup;             /* the weights alone are trained */
    bool trained, validated; /* what was computed; what was not is 0 below, and empty in tables */
    int64_t images;          /* through the network, in all passes */
    int count;               /* architectures */
    pn_arch arch[PN_MAX_SAMPLES];
    pn_evaluation evaluation[PN_MAX_SAMPLES];
    double log_p[PN_MAX_SAMPLES];        /* under the distribution it was drawn from */
    double weight_v[PN_MAX_SAMPLES];     /* of the training batch, sum 1; 0 if weights are frozen */
    double weight_pi[PN_MAX_SAMPLES];    /* of the validation batch, before the baseline, sum 1; 0
                                          * during warm-up */
    double ess_v, ess_pi;                /* effective sample sizes 1 / sum_k w_k^2; 0 where no w */
    double entropy;                      /* of the distribution after the step, nats */
    double train_loss, val_loss;         /* nats an image, plain means over the architectures */
    double train_accuracy, val_accuracy; /* 0..1, likewise */
    double rate_v;                       /* given to update; 0 if there was none */
    double gradient_norm_v, gradient_norm_pi;
    double temperature; /* of what was drawn, if the method has one */
    double resource;    /* R of resource.h, before its weight, likewise */
    int skipped;        /* samples whose gradient was left out */
} pn_step_report;

/* Cosine from the first rate to the last, as PyTorch's CosineAnnealingLR: the rate at `step` of
 * `steps`. */
double pn_cosine_rate(double first, double last, int64_t step, int64_t steps);

/* No further step is worth taking on numbers that are none: PN_EDIVERGED if a log-likelihood or v's
 * gradient norm is not finite. The sentence names the step, the sample and the architecture. */
pn_status pn_step_check(const pn_space *space, const pn_step_report *report);

/* Sums the evaluations: losses, accuracies and how many were skipped. `images` of a batch. */
void pn_step_sum(pn_step_report *report, double images);

PN_API_END

#endif
