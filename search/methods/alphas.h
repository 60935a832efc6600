/* alphas.h -- what DARTS, GDAS and SNAS have in common: logits of every op on every edge
 * (mixture.h), which Adam moves by the gradient of the validation half (of SNAS by that of all
 * images), and the shared weights, which SGD moves by that of the training half. They differ in the
 * supernet that a step makes of the logits. */
#ifndef PN_ALPHAS_H
#define PN_ALPHAS_H

#include "kernels/api.h"
#include "search/methods/adam.h"
#include "search/methods/method.h"
#include "search/methods/mixture.h"

PN_API_BEGIN

/* The logits, both moments, step and updates are the whole state. */
/* Multiply-adds of the supernet in those of the mean architecture, 8 cells, C=16: both by
 * `plan`. By time it is more (PERF.md): it also sums 98 terms a cell. */
#define PN_SUPERNET_COST 6.7

typedef struct pn_alphas {
    pn_mixture mixture;
    double moment1[PN_MAX_MIX], moment2[PN_MAX_MIX];
    int64_t step, updates;
    int64_t steps;
    uint64_t seed;
    bool distinct;   /* the two inputs of a node of the cell found differ */
    bool every_edge; /* or: the cell has all edges whose best choice is an op */
    pn_adam adam;
    double rate, rate_end; /* SGD's, on a cosine */
    double tau, tau_end;   /* on a line; of a method that has them */
    int order;             /* of the logits' gradient; and of the second, */
    double epsilon;        /* how far from the weights its two points lie */
} pn_alphas;

/* Settings that all of them have, as DARTS has published them: 3e-4, betas .5 and .999, L2 1e-3;
 * the logits begin as 1e-3 N(0, 1). */
pn_status pn_alphas_resolve(pn_settings *settings);
pn_status pn_alphas_begin(pn_alphas *a, const pn_space *space, const pn_settings *settings,
                          bool distinct);

/* The beginning of a step's report; PN_EARG beyond the last. */
pn_status pn_alphas_report(const pn_alphas *a, const pn_evaluator *e, pn_step_report *report);

/* A supernet of the training half: weights, gradient, SGD. Its loss goes into the report. */
pn_status pn_alphas_train(const pn_alphas *a, const pn_evaluator *e, const double *weight,
                          const int8_t *chosen, pn_step_report *report);

/* The same, and of_weight as of pn_evaluator.mixed, of all ops on every edge, of which each is kept
 * with probability `keep` for an image. PN_EDIVERGED likewise. */
pn_status pn_alphas_train_both(const pn_alphas *a, const pn_evaluator *e, const double *weight,
                               double keep, double *of_weight, pn_step_report *report);

/* On a line from tau at the first step to tau_end at the last. */
double pn_alphas_temperature(const pn_alphas *a);

/* A supernet of a half with the evaluator's weights as they are: of_weight as of
 * pn_evaluator.mixed; of the validation half the loss goes into the report. PN_EDIVERGED names the
 * step, and edge and op where a gradient is not finite. */
pn_status pn_alphas_slope(const pn_alphas *a, const pn_evaluator *e, pn_step_half half,
                          const double *weight, const int8_t *chosen, double *of_weight,
                          pn_step_report *report);

/* The same of the validation half, as a beginning. */
pn_status pn_alphas_validate(const pn_alphas *a, const pn_evaluator *e, const double *weight,
                             const int8_t *chosen, double *of_weight, pn_step_report *report);

/* Adam downhill along the gradient of the loss. PN_EDIVERGED, *a unchanged, if a logit would leave
 * the range of mixture.h. */
pn_status pn_alphas_move(pn_alphas *a, const double *gradient, pn_step_report *report);

/* The members of pn_method. */
const char *pn_alphas_warmup_name(const pn_settings *settings);
int64_t pn_alphas_position(const void *self);
int pn_alphas_count(const void *self);
void pn_alphas_save(const void *self, double *state);
pn_status pn_alphas_restore(void *self, const double *state, int count);
int pn_alphas_columns(const void *self);
void pn_alphas_column(const void *self, int i, char name[PN_NAME_BYTES]);
void pn_alphas_probabilities(const void *self, double *probability);
void pn_alphas_believe(const void *self, pn_belief *belief);
void pn_alphas_derive(const void *self, pn_arch *arch);
void pn_alphas_conclude(const void *self, const pn_arch *arch, char text[PN_METHOD_TEXT]);
double pn_alphas_log_p(const void *self, const pn_arch *arch);
double pn_alphas_draw(const void *self, uint64_t seed, uint64_t index, pn_arch *arch);
pn_status pn_alphas_top(const void *self, int want, pn_arch *arch, double *log_p, int *found);

/* All of them, in a table's initialiser. */
#define PN_ALPHAS_MEMBERS                                                                 \
    .warmup_name = pn_alphas_warmup_name, .position = pn_alphas_position,                 \
    .count = pn_alphas_count, .save = pn_alphas_save, .restore = pn_alphas_restore,       \
    .columns = pn_alphas_columns, .column = pn_alphas_column,                             \
    .probabilities = pn_alphas_probabilities, .believe = pn_alphas_believe,               \
    .derive = pn_alphas_derive, .conclude = pn_alphas_conclude, .log_p = pn_alphas_log_p, \
    .draw = pn_alphas_draw, .top = pn_alphas_top

PN_API_END

#endif
