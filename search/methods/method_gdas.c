/* method_gdas.c -- GDAS (Dong, Yang 2019; github.com/D-X-Y/AutoDL-Projects, its NASNet-like space).
 *
 * Every edge has one op, that of the largest logit with Gumbel noise, and `none` is one of the
 * choices: a supernet of the cost of little more than one architecture. The forward pass takes the
 * op as it is; backward its gradient goes straight through the softmax of (logits + noise) / tau.
 * tau falls from 10 to .1, so that the noise's part becomes smaller and the gradient sharper. A
 * step moves the shared weights by a training batch, then the logits by a validation batch, with
 * noise of its own.
 *
 * Published (CIFAR-10): batch 256, 250 epochs of a half; SGD .025 to .001, Nesterov's momentum
 * .9, decay 5e-4, clip 5; Adam as DARTS. There cosine and tau change with every epoch, here with
 * every step. The cell has, of each node, the two best of all pairs of op and input: an input
 * may have both. */
#include <stdio.h>

#include "search/methods/alphas.h"

/* Multiply-adds of a random op or none on each edge in those of the mean architecture: by
 * `plan`. */
#define ONE_OP_AN_EDGE 1.2

static pn_status resolve(pn_settings *s, const pn_data *data) {
    (void)data;
    pn_settings_fill_real(&s->decay, 5e-4);
    pn_settings_fill(&s->nesterov, 1);
    pn_settings_fill_real(&s->tau, 10);
    pn_settings_fill_real(&s->tau_end, 0.1);
    return pn_alphas_resolve(s);
}

static double cost(const pn_settings *s, int64_t steps) {
    (void)s;
    return 2 * ONE_OP_AN_EDGE * (double)steps;
}

static void describe(const pn_settings *s, char text[PN_METHOD_TEXT]) {
    snprintf(text, PN_METHOD_TEXT,
             "GDAS: %lld steps, tau from %g to %g, logits at rate %g, decay %g",
             (long long)s->steps, s->tau, s->tau_end, s->rate_alpha, s->decay_alpha);
}

static pn_status begin(void *self, const pn_space *space, const pn_settings *settings) {
    return pn_alphas_begin(self, space, settings, false);
}

/* The softmax and its largest of each edge. pass: 0 of training, 1 of validation. */
static void draw(const pn_alphas *a, int pass, double *weight, int8_t *chosen) {
    double noise[PN_MAX_MIX];
    pn_mixture_noise(&a->mixture, a->seed, a->step, pass, noise);
    pn_mixture_weights(&a->mixture, noise, pn_alphas_temperature(a), weight);
    pn_mixture_choose(&a->mixture, weight, chosen);
}

static pn_status step(void *self, const pn_evaluator *e, pn_step_report *r) {
    pn_alphas *a = self;
    double weight[PN_MAX_MIX], of_weight[PN_MAX_MIX], gradient[PN_MAX_MIX];
    int8_t chosen[PN_MAX_MIX_EDGES];
    PN_TRY(pn_alphas_report(a, e, r));
    r->temperature = pn_alphas_temperature(a);
    draw(a, 0, weight, chosen);
    PN_TRY(pn_alphas_train(a, e, weight, chosen, r));
    draw(a, 1, weight, chosen);
    PN_TRY(pn_alphas_validate(a, e, weight, chosen, of_weight, r));
    pn_mixture_back(&a->mixture, weight, r->temperature, of_weight, gradient);
    PN_TRY(pn_alphas_move(a, gradient, r));
    a->step++;
    return PN_OK;
}

const pn_method pn_method_gdas = {
    .name = "gdas",
    .options = "|rate-alpha|decay-alpha|nesterov|tau|tau-end|",
    .model = PN_MODEL_EDGES,
    .has_temperature = true,
    .resolve = resolve,
    .cost = cost,
    .describe = describe,
    .bytes = sizeof(pn_alphas),
    .begin = begin,
    .step = step,
    PN_ALPHAS_MEMBERS,
};
