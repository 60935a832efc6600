/* effects.h -- what every choice is worth, from all architectures that a search has trained.
 *
 * The log-likelihood of a training batch, measured before its step, is modelled as
 *     l_t = level_t + theta . x(a_t) + noise
 * where x counts, for either kind of cell, its terms with each op and each input, in the whole cell
 * and (with a prior of smaller variance) at each node. So what is learnt of an op at one node holds
 * for the others, and the order of a node's two terms does not matter. The level is how well the
 * shared weights do at the time: a running mean, of x too, is subtracted, and begins anew where
 * the weights do. theta has a Gaussian prior, whose variance maximises the marginal likelihood
 * (empirical Bayes; MacKay 1992).
 *
 * The sum of l_t is the prequential evidence of the data (Dawid 1984): every batch is predicted
 * by weights that have not been trained on it (as long as no image comes twice).
 * What it tells of a cell is there before any training and fades with it: PERF.md, "What does the
 * evidence say?".
 *
 * Because theta . x(a) is a sum over factors, the distribution that is nearest to
 * p(a) exp(theta . x(a) / T), p uniform, is this one itself: a pi with logits theta / T. */
#ifndef PN_EFFECTS_H
#define PN_EFFECTS_H

#include "kernels/api.h"
#include "search/methods/prior.h"

PN_API_BEGIN

enum {
    PN_EFFECT_INPUTS = 2 + PN_MAX_NODES - 1,
    PN_MOST_EFFECTS = PN_KINDS * (1 + PN_MAX_NODES) * (PN_MAX_OPS + PN_EFFECT_INPUTS),
    PN_MOST_EFFECTS_STATE = 4 + 3 * PN_MOST_EFFECTS + PN_MOST_EFFECTS * (PN_MOST_EFFECTS + 1) / 2
};

typedef struct pn_effects {
    pn_space space;
    int count;       /* effects: of a kind, its whole cell, then node by node; ops, then inputs */
    int64_t samples; /* added so far */
    int64_t age;     /* of the level: samples in it; 0: the next one sets level and mean, no more */
    double level, square;           /* running mean of l; sum of (l - level)^2 */
    double mean[PN_MOST_EFFECTS];   /* running means of x */
    double moment[PN_MOST_EFFECTS]; /* sums of (x - mean) (l - level) */
    double half[PN_MOST_EFFECTS];   /* the same of every other sample */
    double gram[PN_MOST_EFFECTS * (PN_MOST_EFFECTS + 1) / 2]; /* of (x - mean) (x - mean)', the
                                                               * lower triangle, row by row */
} pn_effects;

/* Nothing known. The space has been checked. */
void pn_effects_init(pn_effects *effects, const pn_space *space);

/* The weights have begun anew: the next sample is the first of its level. */
void pn_effects_level(pn_effects *effects);

/* One more sample. */
void pn_effects_add(pn_effects *effects, const pn_arch *arch, double log_likelihood);

/* The posterior mean of theta: one number an effect. All 0 as long as nothing can be told. */
void pn_effects_fit(const pn_effects *effects, double theta[PN_MOST_EFFECTS]);

/* How well the samples agree: the correlation, over architectures drawn as the samples were, of the
 * scores that either half of them would give alone; -1 to 1, 0 as long as nothing can be told. Near
 * 1 more samples would change nothing. It says how sure the estimate is, not what it is worth. */
double pn_effects_agreement(const pn_effects *effects);

/* theta . x(a). */
double pn_effects_score(const pn_effects *effects, const double *theta, const pn_arch *arch);

/* Sets the logits to theta / T, with the T that leaves pi this entropy (nats), or the uniform pi if
 * it has no more. */
void pn_effects_prior(const pn_effects *effects, const double *theta, double entropy,
                      pn_prior *prior);

/* The whole as an array of pn_effects_state_count doubles. Restoring: false if a number cannot be
 * part of one; nothing is changed then. */
int pn_effects_state_count(const pn_effects *effects);
void pn_effects_save(const pn_effects *effects, double *state);
bool pn_effects_restore(pn_effects *effects, const double *state);

PN_API_END

#endif
