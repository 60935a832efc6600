/* parsec.h -- one step of the search: K architectures drawn from pi, importance weights, the
 * shared weights v and the logits of pi moved (Casale, Gordon, Fusi 2019, section 3).
 *
 * With l_k the log-likelihood of a batch (its sum, in nats) under architecture a_k:
 *     w_k            = exp(l_k / T) / sum_j exp(l_j / T)
 *     gradient of v  = sum_k w_k d/dv l_k                       on a batch of the training half
 *     gradient of pi = sum_k (w_k - b) d/dpi log p(a_k | pi)    on one of the validation half
 * both to be climbed. Or, by evidence: one architecture a step, whose training likelihood is all
 * that is asked for; v climbs d/dv l, and pi is what all likelihoods so far say (effects.h). That
 * is not the paper's rule but a bound of its objective: sum_a p(a) log p(D | a) <= log p(D). And v
 * may begin anew several times, so that p(D | a) is a mean over initial weights too.
 *
 * The calls of a step (step.h):
 *     usual            begin, deal, K x train, K x validate, update, finish
 *     during warm-up   begin, deal, train, update, finish
 *     frozen weights   begin, deal, K x validate, finish
 *     by evidence      begin, deal, train, update, finish */
#ifndef PN_PARSEC_H
#define PN_PARSEC_H

#include "kernels/api.h"
#include "search/methods/adam.h"
#include "search/methods/effects.h"
#include "search/methods/prior.h"
#include "search/methods/step.h"

PN_API_BEGIN

typedef enum pn_rule { PN_RULE_PAPER, PN_RULE_PRACTICAL, PN_RULE_EVIDENCE, PN_RULES } pn_rule;

/* How to search. Take a preset, then change what you like: each is independent of the others. */
typedef struct pn_search_settings {
    pn_rule rule;           /* which preset this began as; for the records */
    int samples;            /* K, 2..PN_MAX_SAMPLES; by evidence 1 */
    double samples_per_nat; /* not 0: K follows pi's entropy, up to `samples`: pn_samples_at */
    int64_t steps;          /* of the whole search */
    int64_t warmup;         /* the first of them: v alone, one architecture a step */
    double temperature;     /* T of pi's weights: 1 = the paper's sum of log-probabilities, the
                           * batch size = their mean over the batch */
    double temperature_v;   /* T of v's weights. The evaluator applies it; here for the report */
    double entropy_end;     /* of pi at the end, by evidence; nats */
    int64_t restart;        /* by evidence: v begins anew after every so many steps; 0 = never */
    bool warmup_prior; /* the warm-up draws from pi as it is, not uniformly: for a pi that knows */
    bool baseline;     /* b = 1/K, a control variate without bias; otherwise b = 0 */
    bool distinct_inputs;         /* a node's two inputs differ */
    bool evidence;                /* see above; a new search from the uniform pi only */
    bool found_supported;         /* see found.h; not with warmup_prior */
    bool freeze_weights;          /* pi alone; there is no warm-up then, whatever it says above */
    double rate_pi;               /* Adam's; 0 = 50 / (steps of pi), at most 0.1 */
    double beta1, beta2, epsilon; /* Adam's */
    double rate_v, rate_v_end;    /* SGD's, first and last, on a cosine over all steps */
    uint64_t seed;
} pn_search_settings;

/* The literal rule: K = 16, T = 1, no warm-up, no control variate, inputs may coincide. The
 * paper's own learning rate of pi is not known to us; both presets leave it at 0 (see above). */
pn_search_settings pn_rule_paper(int64_t steps);

/* The rule that was seen to work at small scale: K = 4, T = batch / 4, control variate, distinct
 * inputs, and a warm-up of half the steps. Why these: parsec.c. */
pn_search_settings pn_rule_practical(int64_t steps, int batch);

/* By evidence: every step draws uniformly, v begins anew every 2,000 steps at a constant rate, pi
 * goes down to 24 nats evenly, and the cell found stays where cells were trained. */
pn_search_settings pn_rule_evidence(int64_t steps);

/* The preset of a rule. */
pn_search_settings pn_rule_preset(pn_rule rule, int64_t steps, int batch);

/* K = max(2, entropy * per_nat, rounded up), as FP-NAS has it (Yan et al. 2021, section 4.1):
 * architectures that a step draws from a pi of this entropy, in nats. */
int pn_samples_at(double entropy, double per_nat);

const char *pn_rule_name(pn_rule rule);                  /* "paper", "practical", "evidence" */
pn_status pn_rule_read(const char *name, pn_rule *rule); /* PN_EARG */

/* A search. prior.logit, moment1, moment2, step, updates and, by evidence, the effects are its
 * whole state. */
typedef struct pn_search {
    pn_search_settings settings; /* as resolved: rate_pi > 0, no warm-up if weights are frozen */
    pn_prior prior;
    double moment1[PN_MAX_LOGITS], moment2[PN_MAX_LOGITS]; /* Adam's, of the gradient to climb */
    int64_t step;    /* the next one; settings.steps when done */
    int64_t updates; /* of pi so far */
    pn_effects effects;
} pn_search;

/* A search at step 0 with a uniform pi. (To begin from another distribution, set prior.logit.)
 * PN_EARG with the setting at fault. */
pn_status pn_search_init(pn_search *search, const pn_space *space,
                         const pn_search_settings *settings);

/* One step. The caller stops at search->step == settings.steps; PN_EARG beyond.
 * PN_EDIVERGED if a log-likelihood or v's gradient norm is not finite: the sentence names the
 * step, the sample and the architecture, and the search is as it was before the step. (v is the
 * evaluator's: it should not apply an update whose gradient norm is not finite.) After any
 * failure the report is undefined. */
pn_status pn_search_step(pn_search *search, const pn_evaluator *evaluator, pn_step_report *report);

/* The state as one array of pn_search_state_count doubles, for a checkpoint: logits, first
 * moments, second moments, step, updates; by evidence also the effects. */
int pn_search_state_count(const pn_search *search);
void pn_search_save(const pn_search *search, double *state);

/* Puts back what pn_search_save gave, into a search initialised with the same space; it then
 * continues to the bit. PN_EINPUT if the numbers cannot be a state; nothing is changed then. */
pn_status pn_search_restore(pn_search *search, const double *state, int count);

/* The two formulas at the top, also without a search around them.
 *
 * weight[k] = exp(l_k / T) / sum_j exp(l_j / T), for finite l; gives 1 / sum_k w_k^2 back. */
double pn_importance_weights(const double *log_likelihood, int K, double temperature,
                             double *weight);

/* gradient[logit] += sum_k (weight[k] - baseline) d/dpi log p(a_k | pi). */
void pn_pi_gradient(const pn_prior *prior, const pn_arch *arch, const double *weight, int K,
                    double baseline, double *gradient);

PN_API_END

#endif
