/* parsec.c -- the step of the search.
 *
 * Why the practical rule is what it is (seen at small scale, 5 cells, batch 32, 1,500 steps):
 * the literal sum over a batch gives one sample nearly all the weight (effective sample size 1.2
 * to 1.4 of 4); T = batch / 4 gives 2.3 to 3.8, and with the control variate twice the signal to
 * noise of pi's gradient at T = 1. Without a control variate and with equal weights pi does a
 * random walk: its entropy falls and nothing is learnt. K is neutral per evaluation, so K is
 * small and v gets more steps. Without warm-up pi collapses to the cell's inputs, the only terms
 * that are good before v is. Half of the steps warm up: the 100 visits per (input, op) after which
 * shared likelihood and stand-alone accuracy agreed are 1,750 steps at node 3, and a warm-up
 * step costs one training pass where a usual one costs K and K forward passes.
 *
 * Why evidence (measured with published accuracies, PERF.md): single scores of cells with shared
 * weights say nothing of them after a thousand steps, but a linear model of all likelihoods does,
 * and the likelihoods of training are there for nothing. The rate stays high: as it falls, the
 * likelihoods of different cells draw together. */
#include "search/methods/parsec.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* Rate times steps sets where the entropy of pi ends: 5 left it uniform, 50 to 60 ended at a
 * quarter to a third. */
#define TRAVEL 50.0
#define LARGEST_RATE 0.1

/* By evidence pi changes every so many steps: a fit takes as long as some hundredths of a step. */
#define REFIT 16

static const char *const rule_name[PN_RULES] = {"paper", "practical", "evidence"};

pn_search_settings pn_rule_paper(int64_t steps) {
    return (pn_search_settings){.rule = PN_RULE_PAPER,
                                .samples = 16,
                                .steps = steps,
                                .temperature = 1,
                                .temperature_v = 1,
                                .beta1 = 0.5,
                                .beta2 = 0.999,
                                .epsilon = 1e-8,
                                .rate_v = 0.025,
                                .rate_v_end = 0.001};
}

pn_search_settings pn_rule_practical(int64_t steps, int batch) {
    pn_search_settings s = pn_rule_paper(steps);
    s.rule = PN_RULE_PRACTICAL;
    s.samples = 4;
    s.warmup = steps / 2;
    s.temperature = batch / 4.0;
    s.baseline = true;
    s.distinct_inputs = true;
    return s;
}

pn_search_settings pn_rule_evidence(int64_t steps) {
    pn_search_settings s = pn_rule_paper(steps);
    s.rule = PN_RULE_EVIDENCE;
    s.samples = 1;
    s.warmup = steps;
    s.evidence = true;
    s.restart = 2000;
    s.rate_v_end = s.rate_v;
    s.found_supported = true;
    s.entropy_end = 24;
    s.distinct_inputs = true;
    return s;
}

pn_search_settings pn_rule_preset(pn_rule rule, int64_t steps, int batch) {
    return rule == PN_RULE_PAPER       ? pn_rule_paper(steps)
           : rule == PN_RULE_PRACTICAL ? pn_rule_practical(steps, batch)
                                       : pn_rule_evidence(steps);
}

int pn_samples_at(double entropy, double per_nat) {
    const double samples = ceil(entropy * per_nat);
    return samples > INT_MAX ? INT_MAX : samples > 2 ? (int)samples : 2;
}

const char *pn_rule_name(pn_rule rule) { return rule_name[rule]; }

pn_status pn_rule_read(const char *name, pn_rule *rule) {
    for (int i = 0; i < PN_RULES; i++)
        if (strcmp(name, rule_name[i]) == 0) {
            *rule = (pn_rule)i;
            return PN_OK;
        }
    return pn_fail(PN_EARG, "rule '%s', want paper, practical or evidence", name);
}

static pn_status check_number(const char *name, double value, bool zero_allowed) {
    if (isfinite(value) && (value > 0 || (zero_allowed && value == 0))) return PN_OK;
    return pn_fail(PN_EARG, "%s %g, want a number %s 0", name, value,
                   zero_allowed ? "of at least" : "above");
}

/* Adam's betas: an average that forgets, so below 1. */
static pn_status check_beta(const char *name, double beta) {
    if (beta >= 0 && beta < 1) return PN_OK;
    return pn_fail(PN_EARG, "%s %g, want at least 0 and below 1", name, beta);
}

static pn_status check(const pn_search_settings *s) {
    if (s->evidence && s->samples != 1)
        return pn_fail(PN_EARG, "%d samples a step, want 1: by evidence every step counts",
                       s->samples);
    if (s->evidence && s->freeze_weights)
        return pn_fail(PN_EARG, "evidence with frozen weights, want weights that are trained");
    if (s->restart < 0 || (s->restart && !s->evidence))
        return pn_fail(PN_EARG, "weights that begin anew every %lld steps, want 0 or evidence",
                       (long long)s->restart);
    if (s->found_supported && s->warmup_prior)
        return pn_fail(PN_EARG,
                       "a cell that the warm-up supports, want a warm-up that draws "
                       "uniformly");
    if (!s->evidence && (s->samples < 2 || s->samples > PN_MAX_SAMPLES))
        return pn_fail(PN_EARG, "%d samples a step, want 2..%d (the weight of one is always 1)",
                       s->samples, PN_MAX_SAMPLES);
    if (s->steps < 1) return pn_fail(PN_EARG, "%lld steps, want at least 1", (long long)s->steps);
    if (s->warmup < 0 || s->warmup > s->steps)
        return pn_fail(PN_EARG, "%lld steps of warm-up, want 0..%lld (all steps)",
                       (long long)s->warmup, (long long)s->steps);
    PN_TRY(check_number("samples a nat", s->samples_per_nat, true));
    PN_TRY(check_number("temperature", s->temperature, false));
    PN_TRY(check_number("temperature of v's weights", s->temperature_v, false));
    PN_TRY(check_number("rate of pi", s->rate_pi, true));
    PN_TRY(check_number("rate of v", s->rate_v, true));
    PN_TRY(check_number("last rate of v", s->rate_v_end, true));
    PN_TRY(check_number("epsilon", s->epsilon, false));
    PN_TRY(check_number("entropy at the end", s->entropy_end, true));
    PN_TRY(check_beta("beta1", s->beta1));
    return check_beta("beta2", s->beta2);
}

pn_status pn_search_init(pn_search *search, const pn_space *space,
                         const pn_search_settings *settings) {
    PN_TRY(check(settings));
    pn_prior prior;
    PN_TRY(pn_prior_init(&prior, space, settings->distinct_inputs));

    memset(search, 0, sizeof *search);
    search->prior = prior;
    search->settings = *settings;
    pn_search_settings *s = &search->settings;
    pn_effects_init(&search->effects, space);
    if (s->freeze_weights) s->warmup = 0;
    if (s->rate_pi == 0) s->rate_pi = fmin(LARGEST_RATE, TRAVEL / fmax(1, s->steps - s->warmup));
    return PN_OK;
}

double pn_importance_weights(const double *log_likelihood, int K, double temperature,
                             double *weight) {
    double max = -INFINITY, sum = 0, squares = 0;
    for (int k = 0; k < K; k++) max = fmax(max, log_likelihood[k]);
    for (int k = 0; k < K; k++) {
        weight[k] = exp((log_likelihood[k] - max) / temperature);
        sum += weight[k];
    }
    for (int k = 0; k < K; k++) {
        weight[k] /= sum;
        squares += weight[k] * weight[k];
    }
    return 1 / squares;
}

void pn_pi_gradient(const pn_prior *prior, const pn_arch *arch, const double *weight, int K,
                    double baseline, double *gradient) {
    pn_tables tables;
    pn_tables_make(prior, &tables);
    for (int k = 0; k < K; k++)
        pn_tables_gradient(&tables, &arch[k], weight[k] - baseline, gradient);
}

/* A cosine for each life of v. */
static double rate_v(const pn_search_settings *s, int64_t step) {
    const int64_t born = s->restart ? step - step % s->restart : 0;
    const int64_t left = s->steps - born,
                  life = s->restart && s->restart < left ? s->restart : left;
    return pn_cosine_rate(s->rate_v, s->rate_v_end, step - born, life);
}

static void climb(pn_search *search, const double *gradient) {
    const pn_search_settings *s = &search->settings;
    const pn_adam adam = {
        .rate = s->rate_pi, .beta1 = s->beta1, .beta2 = s->beta2, .epsilon = s->epsilon};
    pn_adam_climb(&adam, ++search->updates, search->prior.count, gradient, search->moment1,
                  search->moment2, search->prior.logit);
}

/* Draws the architectures of a step, with their log-probabilities. */
static void draw(const pn_search *search, pn_step_report *r) {
    const pn_search_settings *s = &search->settings;
    pn_prior from = search->prior;
    if (r->warmup && !s->warmup_prior) memset(from.logit, 0, sizeof from.logit); /* uniform */
    pn_tables tables;
    pn_tables_make(&from, &tables);
    for (int k = 0; k < r->count; k++) {
        pn_tables_sample(&tables, s->seed, (uint64_t)r->step, (uint64_t)k, &r->arch[k]);
        r->log_p[k] = pn_tables_log_p(&tables, &r->arch[k]);
    }
}

/* Of the entropy that the step begins with; rounding may lift a uniform pi's above the most. */
static int samples_of(const pn_search *search) {
    const pn_search_settings *s = &search->settings;
    if (s->samples_per_nat == 0) return s->samples;
    const int samples = pn_samples_at(pn_prior_entropy(&search->prior, NULL), s->samples_per_nat);
    return samples < s->samples ? samples : s->samples;
}

static bool born_again(const pn_search *search) {
    const int64_t restart = search->settings.restart;
    return restart && search->step && search->step % restart == 0;
}

/* Queues the work of a step and waits for its numbers. */
static pn_status evaluate(const pn_search *search, const pn_evaluator *e, pn_step_report *r) {
    if (born_again(search)) PN_TRY(e->renew(e->self, search->step / search->settings.restart));
    PN_TRY(e->begin(e->self, r->step));
    if (e->deal) PN_TRY(e->deal(e->self, r->count, r->arch));
    for (int k = 0; r->trained && k < r->count; k++) PN_TRY(e->train(e->self, k, &r->arch[k]));
    for (int k = 0; r->validated && k < r->count; k++) PN_TRY(e->validate(e->self, k, &r->arch[k]));
    if (r->trained) {
        r->rate_v = rate_v(&search->settings, r->step);
        PN_TRY(e->update(e->self, r->rate_v));
    }
    return e->finish(e->self, r->count, r->evaluation, &r->gradient_norm_v);
}

/* The entropy falls evenly from the uniform pi's to the last, whatever the architectures are drawn
 * from. */
static void follow_evidence(pn_search *search, const pn_step_report *r) {
    const pn_search_settings *s = &search->settings;
    double theta[PN_MOST_EFFECTS];
    if (born_again(search)) pn_effects_level(&search->effects);
    pn_effects_add(&search->effects, &r->arch[0], r->evaluation[0].train_ll);
    const int64_t next = search->step + 1;
    if (next % REFIT != 0 && next != s->steps) return;
    const double gone = (double)next / (double)s->steps;
    const double uniform = pn_prior_entropy_uniform(&search->prior);
    pn_effects_fit(&search->effects, theta);
    pn_effects_prior(&search->effects, theta, uniform + gone * (s->entropy_end - uniform),
                     &search->prior);
    search->updates++;
}

pn_status pn_search_step(pn_search *search, const pn_evaluator *evaluator, pn_step_report *r) {
    const pn_search_settings *s = &search->settings;
    if (search->step >= s->steps)
        return pn_fail(PN_EARG, "step %lld of a search of %lld steps", (long long)search->step,
                       (long long)s->steps);
    memset(r, 0, sizeof *r);
    r->step = search->step;
    r->warmup = search->step < s->warmup;
    r->trained = !s->freeze_weights;
    r->validated = !r->warmup && !s->evidence;
    r->count = r->warmup ? 1 : samples_of(search);
    r->images = (int64_t)(r->trained + r->validated) * r->count * evaluator->batch;
    draw(search, r);
    PN_TRY(evaluate(search, evaluator, r));
    PN_TRY(pn_step_check(&search->prior.space, r));
    pn_step_sum(r, evaluator->batch);

    double train_ll[PN_MAX_SAMPLES], val_ll[PN_MAX_SAMPLES];
    for (int k = 0; k < r->count; k++) {
        train_ll[k] = r->evaluation[k].train_ll;
        val_ll[k] = r->evaluation[k].val_ll;
    }
    if (r->trained)
        r->ess_v = pn_importance_weights(train_ll, r->count, s->temperature_v, r->weight_v);
    if (s->evidence) {
        follow_evidence(search, r);
    } else if (!r->warmup) {
        double gradient[PN_MAX_LOGITS] = {0}, squares = 0;
        r->ess_pi = pn_importance_weights(val_ll, r->count, s->temperature, r->weight_pi);
        pn_pi_gradient(&search->prior, r->arch, r->weight_pi, r->count,
                       s->baseline ? 1.0 / r->count : 0, gradient);
        for (int i = 0; i < search->prior.count; i++) squares += gradient[i] * gradient[i];
        r->gradient_norm_pi = sqrt(squares);
        climb(search, gradient);
    }
    r->entropy = pn_prior_entropy(&search->prior, NULL);
    search->step++;
    return PN_OK;
}

int pn_search_state_count(const pn_search *search) {
    return 3 * search->prior.count + 2 +
           (search->settings.evidence ? pn_effects_state_count(&search->effects) : 0);
}

void pn_search_save(const pn_search *search, double *state) {
    size_t n = (size_t)search->prior.count;
    memcpy(state, search->prior.logit, n * sizeof *state);
    memcpy(state + n, search->moment1, n * sizeof *state);
    memcpy(state + 2 * n, search->moment2, n * sizeof *state);
    state[3 * n] = (double)search->step; /* exact below 2^53 */
    state[3 * n + 1] = (double)search->updates;
    if (search->settings.evidence) pn_effects_save(&search->effects, state + 3 * n + 2);
}

pn_status pn_search_restore(pn_search *search, const double *state, int count) {
    size_t n = (size_t)search->prior.count;
    if (count != pn_search_state_count(search))
        return pn_fail(PN_EINPUT, "state of a search with %d numbers, want %d", count,
                       pn_search_state_count(search));
    for (int i = 0; i < count; i++)
        if (!isfinite(state[i]))
            return pn_fail(PN_EINPUT, "state of a search: number %d is %g, want a finite one", i,
                           state[i]);
    const int bad = pn_prior_bad_logit(state, (int)n);
    if (bad >= 0)
        return pn_fail(PN_EINPUT, "state of a search: logit %d is %g, want one between %g and %g",
                       bad, state[bad], -PN_LARGEST_LOGIT, PN_LARGEST_LOGIT);
    for (size_t i = 2 * n; i < 3 * n; i++)
        if (state[i] < 0)
            return pn_fail(PN_EINPUT, "state of a search: second moment %g, want at least 0",
                           state[i]);
    double step = state[3 * n], updates = state[3 * n + 1];
    if (step < 0 || step > (double)search->settings.steps || step != floor(step))
        return pn_fail(PN_EINPUT, "state of a search: step %g, want 0..%lld", step,
                       (long long)search->settings.steps);
    if (updates < 0 || updates > step || updates != floor(updates))
        return pn_fail(PN_EINPUT, "state of a search: %g updates of pi, want 0..%g", updates, step);
    if (search->settings.evidence &&
        (state[3 * n + 2] != step || !pn_effects_restore(&search->effects, state + 3 * n + 2)))
        return pn_fail(PN_EINPUT, "state of a search: its sums cannot be those of %g steps", step);
    memcpy(search->prior.logit, state, n * sizeof *state);
    memcpy(search->moment1, state + n, n * sizeof *state);
    memcpy(search->moment2, state + 2 * n, n * sizeof *state);
    search->step = (int64_t)step;
    search->updates = (int64_t)updates;
    return PN_OK;
}
