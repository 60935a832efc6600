/* method_darts.c -- DARTS, first order (Liu, Simonyan, Yang 2019; github.com/quark0/darts).
 *
 * Every edge is the sum of its ops, weighted by the softmax of their logits. A step moves the
 * logits by the gradient of a validation batch, then the shared weights, with the new logits, by
 * that of a training batch: two passes of the supernet.
 *
 * Published (CIFAR-10): 8 cells, 16 channels, batch 64, 50 epochs of a half; SGD .025 to .001,
 * momentum .9, decay 3e-4, clip 5; Adam 3e-4, betas .5 and .999, decay 1e-3, logits from 1e-3 N(0,
 * 1). The usual settings are these, but for the epochs. Two differences: the cosine falls with
 * every step, there with every epoch; and the halves are drawn by the seed, there the first and the
 * second 25,000 images. */
#include <stdio.h>

#include "search/methods/alphas.h"

/* Multiply-adds of the supernet in those of the mean architecture, 8 cells, C=16: both by
 * `plan`. By time it is more: it also sums 98 terms a cell. */
#define SUPERNET 6.7

static pn_status resolve(pn_settings *s, const pn_data *data) {
    (void)data;
    return pn_alphas_resolve(s);
}

static double cost(const pn_settings *s, int64_t steps) {
    (void)s;
    return 2 * SUPERNET * (double)steps;
}

static void describe(const pn_settings *s, char text[PN_METHOD_TEXT]) {
    snprintf(text, PN_METHOD_TEXT, "DARTS, first order: %lld steps, logits at rate %g, decay %g",
             (long long)s->steps, s->rate_alpha, s->decay_alpha);
}

static pn_status begin(void *self, const pn_space *space, const pn_settings *settings) {
    return pn_alphas_begin(self, space, settings, true);
}

static pn_status step(void *self, const pn_evaluator *e, pn_step_report *r) {
    pn_alphas *a = self, moved;
    double weight[PN_MAX_MIX], of_weight[PN_MAX_MIX], gradient[PN_MAX_MIX];
    PN_TRY(pn_alphas_report(a, e, r));
    pn_mixture_weights(&a->mixture, NULL, 1, weight);
    PN_TRY(pn_alphas_validate(a, e, weight, NULL, of_weight, r));
    pn_mixture_back(&a->mixture, weight, 1, of_weight, gradient);
    moved = *a;
    PN_TRY(pn_alphas_move(&moved, gradient, r));
    pn_mixture_weights(&moved.mixture, NULL, 1, weight);
    PN_TRY(pn_alphas_train(&moved, e, weight, NULL, r));
    *a = moved;
    a->step++;
    return PN_OK;
}

const pn_method pn_method_darts = {
    .name = "darts",
    .options = "|rate-alpha|decay-alpha|nesterov|",
    .model = PN_MODEL_MIXTURE,
    .resolve = resolve,
    .cost = cost,
    .describe = describe,
    .begin = begin,
    .step = step,
    PN_ALPHAS_MEMBERS,
};
