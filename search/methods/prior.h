/* prior.h -- the distribution over architectures: p(a | pi).
 *
 * Independent categorical factors with softmax logits: for every kind of cell, node and slot one
 * over the inputs (2 + node choices) and one over the ops (Casale, Gordon, Fusi 2019, section 3).
 *
 * Flat order of the logits, and of everything that has one number a logit (gradients, moments,
 * probabilities): kind, node, slot; there first the inputs, then the ops. DARTS' space has 32
 * factors and 168 logits.
 *
 * With `distinct` the two inputs of a node differ: the distribution above conditioned on that,
 * which is what drawing again until they differ samples from. Its normaliser per node is
 * 1 - sum_i p0(i) p1(i). Everything below is exact for the conditioned distribution. To have one
 * code for both, a node's two inputs are treated as one choice among pairs (at most 25), whose
 * logit is the sum of the two; pairs of equal inputs are left out if they must differ. So the
 * sampler needs no loop either.
 *
 * Two assignments that differ in the order of a node's two terms are the same network but count
 * as two here. */
#ifndef PN_PRIOR_H
#define PN_PRIOR_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/api.h"
#include "search/methods/top.h"
#include "search/network/space.h"

PN_API_BEGIN

enum {
    PN_MAX_FACTORS = 32,
    PN_MAX_LOGITS = 168,
    PN_NAME_BYTES = 48,
    PN_MAX_BLOCKS = PN_KINDS * PN_MAX_NODES * 3, /* of a node: its pair of inputs, two ops */
    PN_MAX_ENTRIES = (PN_MAX_NODES + 1) * (PN_MAX_NODES + 1)
};

typedef struct pn_prior {
    pn_space space;
    bool distinct; /* a node's two inputs differ */
    int count;     /* logits in use; the rest is zero */
    double logit[PN_MAX_LOGITS];
} pn_prior;

/* One categorical: logits first .. first + choices - 1. */
typedef struct pn_factor {
    pn_kind kind;
    int node, slot;
    bool ops; /* over ops; otherwise over inputs */
    int first, choices;
} pn_factor;

/* A uniform prior: all logits zero. PN_EARG if the space is not one. */
pn_status pn_prior_init(pn_prior *prior, const pn_space *space, bool distinct);

/* The factors in flat order; gives their number back. */
int pn_factors(const pn_space *space, pn_factor factor[PN_MAX_FACTORS]);

/* "normal.0.1.input" and "normal.0.1.op": kind, node, slot. */
void pn_factor_name(const pn_factor *factor, char name[PN_NAME_BYTES]);

/* "normal.0.1.input.0", "reduce.3.0.op.sep_conv_3x3": a logit's name in prior.csv. */
void pn_logit_name(const pn_space *space, int logit, char name[PN_NAME_BYTES]);

/* Logits that come from a file: the first that is no number, or so large that the sum of two, or a
 * difference, would be none; -1 if all are usable. */
#define PN_LARGEST_LOGIT 1e100
int pn_prior_bad_logit(const double *logit, int count);

/* The logit with that name, -1 if the space has none. */
int pn_logit_find(const pn_space *space, const char *name);

/* log p(a | pi); -INFINITY if `distinct` rules it out. The architecture is one of the space. */
double pn_prior_log_p(const pn_prior *prior, const pn_arch *arch);

/* gradient[logit] += weight * d log p(a | pi) / d logit, for an architecture of probability > 0. */
void pn_prior_gradient(const pn_prior *prior, const pn_arch *arch, double weight, double *gradient);

/* Draws an architecture; a function of the prior and of (seed, step, index) on
 * PN_STREAM_SAMPLE, so that nothing of the generator needs saving. index < 2^32. */
void pn_prior_sample(const pn_prior *prior, uint64_t seed, uint64_t step, uint64_t index,
                     pn_arch *arch);

/* A prior made ready for many architectures: the three functions above cost some hundred
 * exponentials a call, these three none, and give the same bits. It is the prior of the time when
 * it was made. */
typedef struct pn_tables {
    pn_space space;
    int logits;                     /* of the prior */
    uint8_t choice[PN_MAX_OPS + 1]; /* of the op factor: a pn_op's; PN_MAX_OPS: not of the space */
    int last[PN_MAX_BLOCKS];        /* of each block: its last entry of a probability above 0 */
    double log_p[PN_MAX_BLOCKS][PN_MAX_ENTRIES], probability[PN_MAX_BLOCKS][PN_MAX_ENTRIES];
    double marginal[PN_MAX_LOGITS]; /* as pn_prior_marginals */
} pn_tables;

void pn_tables_make(const pn_prior *prior, pn_tables *tables);
double pn_tables_log_p(const pn_tables *tables, const pn_arch *arch);
void pn_tables_gradient(const pn_tables *tables, const pn_arch *arch, double weight,
                        double *gradient);
void pn_tables_sample(const pn_tables *tables, uint64_t seed, uint64_t step, uint64_t index,
                      pn_arch *arch);

/* The most probable architecture; of equals the one with the lowest inputs and op numbers. */
void pn_prior_mode(const pn_prior *prior, pn_arch *arch);

/* The `want` most probable architectures, best first (equals in a fixed order), and their
 * log-probabilities (log_p may be NULL). *found is below `want` only if the space has fewer.
 * PN_EARG, PN_EMEM. */
pn_status pn_prior_top(const pn_prior *prior, int want, pn_arch *arch, double *log_p, int *found);

/* How many architectures have a probability above zero. */
double pn_prior_size(const pn_prior *prior);

/* Entropy in nats. by_factor (PN_MAX_FACTORS, flat order of factors) may be NULL; it sums to the
 * total. Where the two inputs of a node are not independent, slot 0 has the entropy of its
 * input, slot 1 that of its input given slot 0's. */
double pn_prior_entropy(const pn_prior *prior, double *by_factor);

/* The entropy of the uniform prior over the same assignments: log pn_prior_size, 50.285 nats for
 * DARTS' space. */
double pn_prior_entropy_uniform(const pn_prior *prior);

/* probability[logit]: that the factor takes this choice. With `distinct` it is the marginal of
 * the conditioned distribution, not the softmax of the factor's logits. */
void pn_prior_marginals(const pn_prior *prior, double probability[PN_MAX_LOGITS]);

PN_API_END

#endif
