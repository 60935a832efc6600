/* method_snas.c -- SNAS (Xie, Zheng, Liu, Lin 2019; github.com/SNAS-Series/SNAS-Series, folder
 * SNAS).
 *
 * The supernet of DARTS, but its weights are drawn: on each edge the softmax of (logits + Gumbel
 * noise) / tau, one draw a step for all cells of a kind and all images. tau falls, so that a draw
 * comes to be nearly one op. There is one loss, of one batch, that moves the shared weights and,
 * through the draw, the logits: half of the images need not be kept from training. An image's edge
 * is dropped, all of its ops, with a probability of .3 (drop-path). To the loss is added what the
 * cell would cost (resource.h), times a weight. The cell has every edge whose most probable choice
 * is an op: 0 to 5 terms a node.
 *
 * The cost is that of the weights drawn, and its gradient goes through the draw; or that of the
 * softmax of the logits; or its gradient is the policy's: each edge's cost times the slope of log p
 * of its draw. (There the slope of log p goes through the draw as well, which makes it the gradient
 * of no mean; here the draw stands still.)
 *
 * Published (CIFAR-10): 8 cells, 16 channels, batch 64, 150 epochs of all images; tau 1 to .03; SGD
 * .025 to .001, momentum .9, decay 3e-4, clip 5; logits from N(1, .01^2), Adam 3e-4, betas .5 and
 * .999, decay 1e-3, and a clip of 10 (so where it runs on several GPUs; on one it is plain SGD of
 * the same rate). There cosine and tau change with every epoch, here with every step; there tau
 * falls within 150 epochs whatever was asked for. The resource term is the logarithmic one of the
 * weights drawn, times 1.5e-3 by the README, 1e-2 by the code. Which weights made the cells called
 * mild, moderate and aggressive is published nowhere: here the first is the README's, the last the
 * code's, and moderate lies between. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "search/methods/alphas.h"
#include "search/methods/resource.h"

#define INITIAL_MEAN 1.0
#define INITIAL_DEVIATION 1e-2
#define CLIP 10.0

typedef struct snas {
    pn_alphas alphas; /* the first member: pn_alphas_* take it for their own */
    double drop_path, weight;
    bool linear, expected, policy; /* the resource term: its form; of what; by which gradient */
} snas;

static bool is(const char *word, const char *other) { return strcmp(word, other) == 0; }

/* Weights of the code, where none is asked for: of the logarithms, and of the linear form. */
static double default_weight(const pn_settings *s) {
    if (!is(s->resource_form, "linear")) return is(s->resource_of, "policy-gradient") ? 1e-4 : 1e-2;
    return is(s->resource_of, "expected") ? 1e-4 : 1e-5;
}

static void settle(char word[16], const char *usual) {
    if (is(word, "auto")) snprintf(word, 16, "%s", usual);
}

static pn_status resolve(pn_settings *s, const pn_data *data) {
    static const struct {
        const char *name;
        double share;
    } named[] = {{"none", 0}, {"mild", 0.15}, {"moderate", 0.4}, {"aggressive", 1}};
    int i = 0;
    (void)data;
    settle(s->resource, "mild");
    settle(s->resource_form, "log");
    settle(s->resource_of, "drawn");
    while (!is(named[i].name, s->resource)) i++;
    pn_settings_fill_real(&s->resource_weight, named[i].share * default_weight(s));
    pn_settings_fill_real(&s->drop_path, 0.3);
    pn_settings_fill_real(&s->tau, 1);
    pn_settings_fill_real(&s->tau_end, 0.03);
    return pn_alphas_resolve(s);
}

static double cost(const pn_settings *s, int64_t steps) {
    (void)s;
    return PN_SUPERNET_COST * (double)steps;
}

static void describe(const pn_settings *s, char text[PN_METHOD_TEXT]) {
    snprintf(text, PN_METHOD_TEXT,
             "SNAS: %lld steps on %s images, tau from %g to %g, drop-path %g, resources %g times "
             "the %s of the %s weights%s, logits at rate %g, decay %g",
             (long long)s->steps, s->all_images ? "all" : "half of the", s->tau, s->tau_end,
             s->drop_path, s->resource_weight,
             is(s->resource_form, "linear") ? "linear cost" : "logarithms",
             is(s->resource_of, "expected") ? "expected" : "drawn",
             is(s->resource_of, "policy-gradient") ? " by policy gradient" : "", s->rate_alpha,
             s->decay_alpha);
}

static pn_status begin(void *self, const pn_space *space, const pn_settings *settings) {
    snas *s = self;
    *s = (snas){.drop_path = settings->drop_path,
                .weight = settings->resource_weight,
                .linear = is(settings->resource_form, "linear"),
                .expected = is(settings->resource_of, "expected"),
                .policy = is(settings->resource_of, "policy-gradient")};
    PN_TRY(pn_alphas_begin(&s->alphas, space, settings, false));
    s->alphas.every_edge = true;
    PN_TRY(pn_mixture_init(&s->alphas.mixture, space, INITIAL_DEVIATION, settings->seed));
    for (int i = 0; i < s->alphas.mixture.count; i++) s->alphas.mixture.logit[i] += INITIAL_MEAN;
    return PN_OK;
}

/* R, whose gradient it adds to that of the logits; 0 without it. */
static double add_resource(const snas *s, const pn_network_spec *network, const double *noise,
                           const double *drawn, double tau, double *gradient) {
    const pn_mixture *m = &s->alphas.mixture;
    double expected[PN_MAX_MIX], of_weight[PN_MAX_MIX], of_edge[PN_MAX_MIX_EDGES],
        of_logit[PN_MAX_MIX];
    if (s->weight == 0) return 0;
    if (s->expected) {
        pn_mixture_weights(m, NULL, 1, expected);
        drawn = expected;
        tau = 1;
    }
    const double R = pn_resource(network, &m->space, s->linear, drawn, of_weight, of_edge);
    if (s->policy)
        pn_mixture_policy(m, noise, of_edge, of_logit);
    else
        pn_mixture_back(m, drawn, tau, of_weight, of_logit);
    for (int i = 0; i < m->count; i++) gradient[i] += s->weight * of_logit[i];
    return R;
}

static void clip(double *gradient, int count) {
    double squares = 0;
    for (int i = 0; i < count; i++) squares += gradient[i] * gradient[i];
    const double norm = sqrt(squares);
    for (int i = 0; norm > CLIP && i < count; i++) gradient[i] *= CLIP / norm;
}

static pn_status step(void *self, const pn_evaluator *e, pn_step_report *r) {
    snas *s = self;
    pn_alphas *a = &s->alphas;
    double noise[PN_MAX_MIX], weight[PN_MAX_MIX], of_weight[PN_MAX_MIX], gradient[PN_MAX_MIX];
    PN_TRY(pn_alphas_report(a, e, r));
    r->validated = false;
    r->images = e->batch;
    const double tau = r->temperature = pn_alphas_temperature(a);
    pn_mixture_noise(&a->mixture, a->seed, a->step, 0, noise);
    pn_mixture_weights(&a->mixture, noise, tau, weight);
    PN_TRY(pn_alphas_train_both(a, e, weight, 1 - s->drop_path, of_weight, r));
    pn_mixture_back(&a->mixture, weight, tau, of_weight, gradient);
    r->resource = add_resource(s, e->network, noise, weight, tau, gradient);
    clip(gradient, a->mixture.count);
    PN_TRY(pn_alphas_move(a, gradient, r));
    a->step++;
    return PN_OK;
}

const pn_method pn_method_snas = {
    .name = "snas",
    .options =
        "|rate-alpha|decay-alpha|nesterov|tau|tau-end|drop-path|resource|resource-weight|"
        "resource-form|resource-of|all-images|",
    .model = PN_MODEL_MIXTURE,
    .all_images = true,
    .drop_path = true,
    .has_temperature = true,
    .has_resource = true,
    .resolve = resolve,
    .cost = cost,
    .describe = describe,
    .bytes = sizeof(snas),
    .begin = begin,
    .step = step,
    PN_ALPHAS_MEMBERS,
};
