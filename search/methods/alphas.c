/* alphas.c -- see alphas.h. */
#include "search/methods/alphas.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define INITIAL_DEVIATION 1e-3

pn_status pn_alphas_resolve(pn_settings *s) {
    pn_settings_fill_real(&s->rate_alpha, 3e-4);
    pn_settings_fill_real(&s->decay_alpha, 1e-3);
    pn_settings_fill(&s->samples, 1);
    pn_settings_fill(&s->evidence, 0);
    pn_settings_fill(&s->warmup, 0);
    return PN_OK;
}

pn_status pn_alphas_begin(pn_alphas *a, const pn_space *space, const pn_settings *s,
                          bool distinct) {
    *a = (pn_alphas){.steps = s->steps,
                     .seed = s->seed,
                     .distinct = distinct,
                     .adam = {.rate = s->rate_alpha,
                              .beta1 = 0.5,
                              .beta2 = 0.999,
                              .epsilon = 1e-8,
                              .decay = s->decay_alpha},
                     .rate = s->rate,
                     .rate_end = s->rate_end,
                     .tau = s->tau,
                     .tau_end = s->tau_end,
                     .order = s->order == 2 ? 2 : 1,
                     .epsilon = s->epsilon};
    return pn_mixture_init(&a->mixture, space, INITIAL_DEVIATION, s->seed);
}

/* ---- a step ---------------------------------------------------------------------------------- */

pn_status pn_alphas_report(const pn_alphas *a, const pn_evaluator *e, pn_step_report *r) {
    if (a->step >= a->steps)
        return pn_fail(PN_EARG, "step %lld of a search of %lld steps", (long long)a->step,
                       (long long)a->steps);
    memset(r, 0, sizeof *r);
    r->step = a->step;
    r->trained = r->validated = true;
    r->images = 2 * (int64_t)e->batch;
    r->rate_v = pn_cosine_rate(a->rate, a->rate_end, a->step, a->steps);
    return PN_OK;
}

static pn_status check_gradient(const pn_alphas *a, const double *of_weight, const char *half,
                                double log_likelihood) {
    char name[PN_NAME_BYTES];
    for (int i = 0; i < a->mixture.count; i++) {
        if (isfinite(of_weight[i])) continue;
        pn_mixture_name(&a->mixture.space, i, name);
        return pn_fail(PN_EDIVERGED,
                       "step %lld: the gradient of %s is %g, want a finite number (%s "
                       "log-likelihood %g)",
                       (long long)a->step, name, of_weight[i], half, log_likelihood);
    }
    return PN_OK;
}

double pn_alphas_temperature(const pn_alphas *a) {
    const double gone = a->steps > 1 ? (double)a->step / (double)(a->steps - 1) : 0;
    return a->tau + gone * (a->tau_end - a->tau);
}

/* SGD along the gradient of the training batch that is queued. of_weight NULL: not wanted. */
static pn_status descend(const pn_alphas *a, const pn_evaluator *e, double *of_weight,
                         pn_step_report *r) {
    pn_evaluation found;
    PN_TRY(e->update(e->self, r->rate_v));
    if (of_weight) {
        PN_TRY(e->mixed(e->self, PN_STEP_TRAIN, &found, of_weight));
        PN_TRY(check_gradient(a, of_weight, "training", found.train_ll));
    }
    PN_TRY(e->finish(e->self, 1, &found, &r->gradient_norm_v));
    if (!isfinite(found.train_ll) || !isfinite(r->gradient_norm_v))
        return pn_fail(PN_EDIVERGED,
                       "step %lld: training log-likelihood is %g, norm of the weights' gradient "
                       "%g, want finite numbers",
                       (long long)a->step, found.train_ll, r->gradient_norm_v);
    r->train_loss = -found.train_ll / e->batch;
    r->train_accuracy = (double)found.train_correct / e->batch;
    r->evaluation[0].bytes = found.bytes;
    return PN_OK;
}

pn_status pn_alphas_train(const pn_alphas *a, const pn_evaluator *e, const double *weight,
                          const int8_t *chosen, pn_step_report *r) {
    PN_TRY(e->begin(e->self, a->step));
    PN_TRY(e->mix(e->self, PN_STEP_TRAIN, weight, chosen));
    return descend(a, e, NULL, r);
}

pn_status pn_alphas_train_both(const pn_alphas *a, const pn_evaluator *e, const double *weight,
                               double keep, double *of_weight, pn_step_report *r) {
    PN_TRY(e->begin(e->self, a->step));
    if (keep < 1) PN_TRY(e->drop(e->self, keep));
    PN_TRY(e->mix(e->self, PN_STEP_TRAIN, weight, NULL));
    return descend(a, e, of_weight, r);
}

pn_status pn_alphas_slope(const pn_alphas *a, const pn_evaluator *e, pn_step_half half,
                          const double *weight, const int8_t *chosen, double *of_weight,
                          pn_step_report *r) {
    const bool trains = half == PN_STEP_TRAIN;
    const char *const which = trains ? "training" : "validation";
    pn_evaluation found;
    PN_TRY(e->mix(e->self, half, weight, chosen));
    PN_TRY(e->mixed(e->self, half, &found, of_weight));
    const double likelihood = trains ? found.train_ll : found.val_ll;
    PN_TRY(check_gradient(a, of_weight, which, likelihood));
    if (!isfinite(likelihood))
        return pn_fail(PN_EDIVERGED, "step %lld: %s log-likelihood is %g, want a finite number",
                       (long long)a->step, which, likelihood);
    if (trains) return PN_OK;
    r->val_loss = -likelihood / e->batch;
    r->val_accuracy = (double)found.val_correct / e->batch;
    return PN_OK;
}

pn_status pn_alphas_validate(const pn_alphas *a, const pn_evaluator *e, const double *weight,
                             const int8_t *chosen, double *of_weight, pn_step_report *r) {
    PN_TRY(e->begin(e->self, a->step));
    return pn_alphas_slope(a, e, PN_STEP_VALIDATE, weight, chosen, of_weight, r);
}

pn_status pn_alphas_move(pn_alphas *a, const double *gradient, pn_step_report *r) {
    const int n = a->mixture.count;
    double uphill[PN_MAX_MIX], squares = 0;
    char name[PN_NAME_BYTES];
    pn_alphas moved = *a;
    for (int i = 0; i < n; i++) {
        uphill[i] = -gradient[i];
        squares += gradient[i] * gradient[i];
    }
    r->gradient_norm_pi = sqrt(squares);
    pn_adam_climb(&moved.adam, ++moved.updates, n, uphill, moved.moment1, moved.moment2,
                  moved.mixture.logit);
    const int bad = pn_mixture_bad(moved.mixture.logit, n);
    if (bad >= 0) {
        pn_mixture_name(&a->mixture.space, bad, name);
        return pn_fail(PN_EDIVERGED, "step %lld: the logit of %s is %g, want one from %d to %d",
                       (long long)a->step, name, moved.mixture.logit[bad], -PN_LARGEST_MIXED,
                       PN_LARGEST_MIXED);
    }
    *a = moved;
    r->entropy = pn_mixture_entropy(&a->mixture);
    return PN_OK;
}

/* ---- the state ------------------------------------------------------------------------------- */

const char *pn_alphas_warmup_name(const pn_settings *settings) {
    (void)settings;
    return "warm-up";
}

int64_t pn_alphas_position(const void *self) { return ((const pn_alphas *)self)->step; }

int pn_alphas_count(const void *self) { return 3 * ((const pn_alphas *)self)->mixture.count + 2; }

void pn_alphas_save(const void *self, double *state) {
    const pn_alphas *a = self;
    const size_t n = (size_t)a->mixture.count;
    memcpy(state, a->mixture.logit, n * sizeof *state);
    memcpy(state + n, a->moment1, n * sizeof *state);
    memcpy(state + 2 * n, a->moment2, n * sizeof *state);
    state[3 * n] = (double)a->step; /* exact below 2^53 */
    state[3 * n + 1] = (double)a->updates;
}

pn_status pn_alphas_restore(void *self, const double *state, int count) {
    pn_alphas *a = self;
    const size_t n = (size_t)a->mixture.count;
    char name[PN_NAME_BYTES];
    if (count != pn_alphas_count(a))
        return pn_fail(PN_EINPUT, "state of a search with %d numbers, want %d", count,
                       pn_alphas_count(a));
    const int bad = pn_mixture_bad(state, (int)n);
    if (bad >= 0) {
        pn_mixture_name(&a->mixture.space, bad, name);
        return pn_fail(PN_EINPUT, "state of a search: logit %s is %g, want one from %d to %d", name,
                       state[bad], -PN_LARGEST_MIXED, PN_LARGEST_MIXED);
    }
    for (size_t i = n; i < 3 * n; i++)
        if (!isfinite(state[i]) || (i >= 2 * n && state[i] < 0))
            return pn_fail(PN_EINPUT, "state of a search: moment %g, want a finite number%s",
                           state[i], i < 2 * n ? "" : " of at least 0");
    const double step = state[3 * n];
    if (!(step >= 0 && step <= (double)a->steps) || step != floor(step))
        return pn_fail(PN_EINPUT, "state of a search: step %g, want 0..%lld", step,
                       (long long)a->steps);
    if (state[3 * n + 1] != step)
        return pn_fail(PN_EINPUT, "state of a search: %g updates of the logits, want %g",
                       state[3 * n + 1], step);
    memcpy(a->mixture.logit, state, n * sizeof *state);
    memcpy(a->moment1, state + n, n * sizeof *state);
    memcpy(a->moment2, state + 2 * n, n * sizeof *state);
    a->step = a->updates = (int64_t)step;
    return PN_OK;
}

/* ---- what it believes ------------------------------------------------------------------------ */

int pn_alphas_columns(const void *self) { return ((const pn_alphas *)self)->mixture.count; }

void pn_alphas_column(const void *self, int i, char name[PN_NAME_BYTES]) {
    pn_mixture_name(&((const pn_alphas *)self)->mixture.space, i, name);
}

void pn_alphas_probabilities(const void *self, double *probability) {
    pn_mixture_weights(&((const pn_alphas *)self)->mixture, NULL, 1, probability);
}

void pn_alphas_believe(const void *self, pn_belief *b) {
    const pn_alphas *a = self;
    *b = (pn_belief){.known = true, .learnt = a->updates > 0, .derived = true};
    pn_alphas_derive(self, &b->arch);
    pn_arch_inputs(&a->mixture.space, &b->arch, b->input);
    b->entropy = pn_mixture_entropy(&a->mixture);
    b->entropy_uniform = pn_mixture_entropy_uniform(&a->mixture);
}

void pn_alphas_derive(const void *self, pn_arch *arch) {
    const pn_alphas *a = self;
    if (a->every_edge)
        pn_mixture_edges_cell(&a->mixture, arch);
    else
        pn_mixture_cell(&a->mixture, a->distinct, arch);
}

void pn_alphas_conclude(const void *self, const pn_arch *arch, char text[PN_METHOD_TEXT]) {
    const pn_alphas *a = self;
    snprintf(text, PN_METHOD_TEXT,
             "entropy of the edges %.2f of %.2f nats; log p of this cell pair %.2f",
             pn_mixture_entropy(&a->mixture), pn_mixture_entropy_uniform(&a->mixture),
             pn_alphas_log_p(self, arch));
}

double pn_alphas_log_p(const void *self, const pn_arch *arch) {
    const pn_alphas *a = self;
    return a->every_edge ? pn_mixture_edges_log_p(&a->mixture, arch)
                         : pn_mixture_log_p(&a->mixture, a->distinct, arch);
}

double pn_alphas_draw(const void *self, uint64_t seed, uint64_t index, pn_arch *arch) {
    const pn_alphas *a = self;
    return a->every_edge ? pn_mixture_edges_draw(&a->mixture, seed, index, arch)
                         : pn_mixture_draw(&a->mixture, a->distinct, seed, index, arch);
}

pn_status pn_alphas_top(const void *self, int want, pn_arch *arch, double *log_p, int *found) {
    const pn_alphas *a = self;
    return a->every_edge ? pn_mixture_edges_top(&a->mixture, want, arch, log_p, found)
                         : pn_mixture_top(&a->mixture, a->distinct, want, arch, log_p, found);
}
