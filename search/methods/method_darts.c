/* method_darts.c -- DARTS of both orders (Liu, Simonyan, Yang 2019; github.com/quark0/darts).
 *
 * Every edge is the sum of its ops, weighted by the softmax of their logits. A step moves the
 * logits by the gradient of a validation batch, then the shared weights, with the new logits, by
 * that of a training batch: two passes of the supernet.
 *
 * Second order: what the logits are to lower is the validation loss after one more step of the
 * weights, which depends on the logits, too. With w the weights, m their momentum, xi SGD's rate,
 * mu and lambda its momentum and decay:
 *     w' = w - xi (mu m + dL_train/dw + lambda w)                          not clipped
 *     v  = dL_val(w')/dw',  e = epsilon / |v|
 *     g  = dL_val(w')/dalpha - xi (dL_train(w + e v)/dalpha - dL_train(w - e v)/dalpha) / (2 e)
 * Five passes. As the public code has it since its second version: +- e v lies around w, and v is
 * without the decay of w'. At the usual epsilon the second term is mostly what ReLUs and maxima do
 * that change between the two points, and far from the derivative (tests/test_steps.c measures it).
 *
 * Published (CIFAR-10): 8 cells, 16 channels, batch 64, 50 epochs of a half; SGD .025 to .001,
 * momentum .9, decay 3e-4, clip 5; Adam 3e-4, betas .5 and .999, decay 1e-3, logits from 1e-3 N(0,
 * 1). The usual settings are these, but for the epochs. Two differences: the cosine falls with
 * every step, there with every epoch; and the halves are drawn by the seed, there the first and the
 * second 25,000 images. */
#include <math.h>
#include <stdio.h>

#include "search/methods/alphas.h"

/* Of the supernet, a step. */
static int passes(int64_t order) { return order == 2 ? 5 : 2; }

static pn_status resolve(pn_settings *s, const pn_data *data) {
    (void)data;
    pn_settings_fill(&s->order, 1);
    if (s->order == 1 && s->epsilon != PN_UNSET_REAL)
        return pn_fail(PN_EARG, "--epsilon %g wants --order 2", s->epsilon);
    if (s->order == 2) pn_settings_fill_real(&s->epsilon, 0.01);
    return pn_alphas_resolve(s);
}

static double cost(const pn_settings *s, int64_t steps) {
    return passes(s->order) * PN_SUPERNET_COST * (double)steps;
}

static void describe(const pn_settings *s, char text[PN_METHOD_TEXT]) {
    snprintf(text, PN_METHOD_TEXT, "DARTS, %s order: %lld steps, logits at rate %g, decay %g",
             s->order == 2 ? "second" : "first", (long long)s->steps, s->rate_alpha,
             s->decay_alpha);
}

static pn_status begin(void *self, const pn_space *space, const pn_settings *settings) {
    return pn_alphas_begin(self, space, settings, true);
}

/* The gradient of the training batch's loss at v + `distance` along the slope that the evaluator
 * has kept; gives that slope's norm. */
static pn_status beside(const pn_alphas *a, const pn_evaluator *e, double distance,
                        const double *weight, double *of_weight, double *norm, pn_step_report *r) {
    PN_TRY(e->aside(e->self, distance, norm));
    return pn_alphas_slope(a, e, PN_STEP_TRAIN, weight, NULL, of_weight, r);
}

/* Second order: g of the head of this file, with respect to the weights of the ops, on which both
 * of its terms depend alike. */
static pn_status look_ahead(const pn_alphas *a, const pn_evaluator *e, const double *weight,
                            double *of_weight, pn_step_report *r) {
    double norm, plus[PN_MAX_MIX], minus[PN_MAX_MIX];
    PN_TRY(e->begin(e->self, a->step));
    PN_TRY(e->mix(e->self, PN_STEP_TRAIN, weight, NULL));
    PN_TRY(e->ahead(e->self, r->rate_v, &norm));
    if (!isfinite(norm))
        return pn_fail(PN_EDIVERGED,
                       "step %lld: norm of the weights' gradient, looking ahead, is %g, want a "
                       "finite number",
                       (long long)a->step, norm);
    PN_TRY(pn_alphas_slope(a, e, PN_STEP_VALIDATE, weight, NULL, of_weight, r));
    PN_TRY(beside(a, e, a->epsilon, weight, plus, &norm, r));
    PN_TRY(beside(a, e, -a->epsilon, weight, minus, &norm, r));
    for (int i = 0; i < a->mixture.count; i++)
        of_weight[i] -= r->rate_v * norm / (2 * a->epsilon) * (plus[i] - minus[i]);
    return PN_OK;
}

static pn_status step(void *self, const pn_evaluator *e, pn_step_report *r) {
    pn_alphas *a = self, moved;
    double weight[PN_MAX_MIX], of_weight[PN_MAX_MIX], gradient[PN_MAX_MIX];
    PN_TRY(pn_alphas_report(a, e, r));
    r->images = passes(a->order) * (int64_t)e->batch;
    pn_mixture_weights(&a->mixture, NULL, 1, weight);
    PN_TRY(a->order == 2 ? look_ahead(a, e, weight, of_weight, r)
                         : pn_alphas_validate(a, e, weight, NULL, of_weight, r));
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
    .options = "|order|epsilon|rate-alpha|decay-alpha|nesterov|",
    .model = PN_MODEL_MIXTURE,
    .resolve = resolve,
    .cost = cost,
    .describe = describe,
    .bytes = sizeof(pn_alphas),
    .begin = begin,
    .step = step,
    PN_ALPHAS_MEMBERS,
};
