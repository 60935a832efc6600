/* test_steps.c -- three steps of the methods that learn logits, against PyTorch in float64 with the
 * optimizers of the public code (golden/make_golden.py, "steps"): DARTS of both orders and GDAS.
 * And DARTS' second order by the twins in double precision: its formula, and, where its finite
 * difference is tiny, the derivative that the formula stands for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "kernels/poison.h"
#include "search/methods/method.h"
#include "search/methods/mixture.h"
#include "search/network/whole.h"
#include "tests/support/check.h"
#include "tests/support/golden.h"

/* Of a gradient of the logits as a vector: PN_MIXTURE_BOUND where it is that of one pass. A finite
 * difference takes that of two apart. */
#define SECOND_ORDER_BOUND 1e-3
/* The same on a card. An input of a ReLU that is within rounding of 0 may count in one of the two
 * gradients and not in the other, and 1 / (2 epsilon) makes that large: the emulated card was off
 * by 3.2e-2, and by 4e-6 when sums in its products were larger by 6e-8 of themselves. Whether its
 * gradients are right, the first order tells. */
#define FLIP_BOUND 0.1

/* Of the way that a tensor goes, which is a sum of gradients: as of those. */
#define PROJECTION_BOUND 1e-1

enum { STEPS = 3 };

/* ---- a case ---------------------------------------------------------------------------------- */

typedef struct golden {
    const json_t *settings, *one;
    const char *why;
} golden;

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static int whole_number(const json_t *object, const char *key) { return (int)number(object, key); }

static void numbers(const json_t *list, double to[PN_MAX_MIX]) {
    assert_int_equal(json_array_size(list), PN_MAX_MIX);
    for (size_t i = 0; i < PN_MAX_MIX; i++) to[i] = json_number_value(json_array_get(list, i));
}

static pn_data data_like(const json_t *settings) {
    return (pn_data){.count = 1000,
                     .H = whole_number(settings, "height"),
                     .W = whole_number(settings, "width"),
                     .C = whole_number(settings, "image_channels"),
                     .classes = whole_number(settings, "classes")};
}

static pn_settings settings_of(const golden *g) {
    pn_settings s = pn_settings_defaults();
    const pn_data data = data_like(g->settings);
    const char *name;
    json_t *value;
    snprintf(s.method, sizeof s.method, "%s", json_string_value(json_object_get(g->one, "method")));
    s.layers = whole_number(g->settings, "layers");
    s.channels = whole_number(g->settings, "channels");
    s.batch = whole_number(g->settings, "batch");
    json_object_foreach(json_object_get(g->one, "options"), name, value) {
        char text[32];
        int i = 0;
        snprintf(text, sizeof text, "%.17g", json_number_value(value));
        while (strcmp(pn_settings_fields.list[i].name, name) != 0)
            assert_true(++i < pn_settings_fields.count);
        assert_int_equal(pn_field_set(&s, &pn_settings_fields.list[i], text), PN_OK);
    }
    if (pn_method_check(&s) != PN_OK || pn_settings_resolve(&s, &data) != PN_OK)
        fail_msg("%s: %s", g->why, pn_error());
    assert_int_equal(s.steps, STEPS);
    return s;
}

static void first_logits(const golden *g, double logit[PN_MAX_MIX]) {
    const char *const name = json_string_value(json_object_get(g->one, "alpha"));
    for (size_t i = 0; i < PN_MAX_MIX; i++) logit[i] = 2 * (double)pn_golden_uniform(name, i);
}

/* In the outside's order, as values. */
static void fill_momentum(const pn_parameters *p, float *momentum) {
    for (int t = 0; t < p->count; t++) {
        const size_t count = p->list[t].count;
        float *m = malloc(count * sizeof *m);
        char name[128];
        assert_non_null(m);
        snprintf(name, sizeof name, "%s.momentum", p->list[t].name);
        for (size_t i = 0; i < count; i++) m[i] = pn_golden_uniform(name, i) * 0x1p-6F;
        pn_parameters_set(p, momentum, t, m);
        free(m);
    }
}

static void fill_batch(const pn_network_spec *spec, int N, const char *name, float *image,
                       int32_t *label) {
    char labels[64];
    snprintf(labels, sizeof labels, "%s.labels", name);
    pn_golden_images(name, N, spec->H, spec->W, spec->image_channels, image);
    pn_golden_labels(labels, N, spec->classes, label);
}

static double off(const double *got, const double *want) {
    double distance = 0, size = 0;
    for (int i = 0; i < PN_MAX_MIX; i++) {
        distance += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    return sqrt(distance / size);
}

/* ---- three steps ----------------------------------------------------------------------------- */

typedef struct searching {
    const golden *g;
    pn_settings settings;
    const pn_method *method;
    void *self;
    pn_model model;
    float *image[2], *first; /* of both halves; the weights before the first step */
    int32_t *label[2];
    double size[STEPS][PN_MAX_MIX], error; /* what Adam has got so far, and how far off it may be */
} searching;

static void save(const searching *s, double state[3 * PN_MAX_MIX + 2]) {
    assert_int_equal(s->method->count(s->self), 3 * PN_MAX_MIX + 2);
    s->method->save(s->self, state);
}

static void begin(searching *s, const golden *g, const pn_kernels *k) {
    const pn_space space = pn_space_darts();
    const pn_data data = data_like(g->settings);
    double state[3 * PN_MAX_MIX + 2] = {0};
    memset(s, 0, sizeof *s);
    s->g = g;
    s->settings = settings_of(g);
    s->method = pn_method_of(&s->settings);
    s->self = calloc(1, s->method->bytes);
    const pn_model_settings settings = pn_settings_model(&s->settings, &data, 0);
    if (pn_model_create(&s->model, k, &space, &settings, NULL, 1) != PN_OK)
        fail_msg("%s: %s", g->why, pn_error());
    pn_parameters *p = &s->model.network.parameters;
    s->first = malloc(p->floats * sizeof *s->first);
    assert_true(s->self && s->first);
    for (int i = 0; i < 2; i++) {
        s->image[i] =
            calloc((size_t)settings.N, (size_t)(data.H * data.W * data.C) * sizeof(float));
        s->label[i] = calloc((size_t)settings.N, sizeof(int32_t));
        assert_true(s->image[i] && s->label[i]);
    }
    pn_golden_weights(p);
    fill_momentum(p, p->momentum);
    assert_int_equal(pn_parameters_push(p), PN_OK);
    memcpy(s->first, p->value, p->floats * sizeof *s->first);
    assert_int_equal(s->method->begin(s->self, &space, &s->settings), PN_OK);
    first_logits(g, state);
    assert_int_equal(s->method->restore(s->self, state, 3 * PN_MAX_MIX + 2), PN_OK);
}

static void end(searching *s) {
    pn_model_destroy(&s->model);
    free(s->self);
    free(s->first);
    for (int i = 0; i < 2; i++) {
        free(s->image[i]);
        free(s->label[i]);
    }
}

static void take_a_step(searching *s, int step) {
    static pn_step_report report;
    static const char *const half[] = {"train", "validation"};
    const pn_evaluator e = pn_model_evaluator(&s->model);
    const int N = s->model.settings.N;
    for (int i = 0; i < 2; i++) {
        char name[32];
        const pn_batch batch = {.n = N, .x = s->image[i], .labels = s->label[i]};
        snprintf(name, sizeof name, "%s.%d", half[i], step);
        fill_batch(&s->model.network.spec, N, name, s->image[i], s->label[i]);
        assert_int_equal(pn_model_give(&s->model, i, step, &batch), PN_OK);
    }
    if (s->method->step(s->self, &e, &report) != PN_OK) fail_msg("%s: %s", s->g->why, pn_error());
}

/* What Adam got, from its first moment (beta .5) before and after the step, without the decay. */
static void gradient_of(const double *before, const double *after, double gradient[PN_MAX_MIX]) {
    for (int i = 0; i < PN_MAX_MIX; i++)
        gradient[i] = -(2 * after[PN_MAX_MIX + i] - before[PN_MAX_MIX + i]) - 1e-3 * before[i];
}

/* Adam's step is its rate times u = m / s, m a weighted mean of the gradients so far, s the root of
 * one of their squares. If none of them is off by more than d, neither are m and s, and u is off
 * by at most (1 + |u|) d / (s - d). d is taken from the gradients seen; |u| <= 1.2 in three steps
 * with betas .5 and .999, which also bounds what it is off by where s is small. A logit adds up its
 * steps. */
static double largest_error(const searching *s, int step, int i, double d) {
    double sum = 0;
    for (int t = 0; t <= step; t++) {
        double square = 0, weight = 0;
        for (int k = 0; k <= t; k++) {
            const double b = pow(0.999, t - k);
            square += b * s->size[k][i] * s->size[k][i];
            weight += b;
        }
        const double root = sqrt(square / weight);
        sum += fmin(2.4, root > d ? 2.2 * d / (root - d) : 2.4);
    }
    return s->settings.rate_alpha * sum;
}

static void check_logits(searching *s, int step, const double *before, const double *after,
                         double bound, double *worst) {
    double want[PN_MAX_MIX], got[PN_MAX_MIX], norm = 0;
    int close = 0;
    gradient_of(before, after, got);
    numbers(json_array_get(json_object_get(s->g->one, "gradient"), (size_t)step), want);
    const double d = off(got, want);
    if (!(d <= bound)) fail_msg("%s, step %d: gradient off by %.1e", s->g->why, step, d);
    *worst = fmax(*worst, d);
    for (int i = 0; i < PN_MAX_MIX; i++) {
        norm += want[i] * want[i];
        s->size[step][i] = want[i] + 1e-3 * before[i];
    }
    s->error = fmax(s->error, d * sqrt(norm));
    numbers(json_array_get(json_object_get(s->g->one, "logits"), (size_t)step), want);
    for (int i = 0; i < PN_MAX_MIX; i++) {
        const double most = largest_error(s, step, i, s->error);
        if (!(fabs(after[i] - want[i]) <= most + 1e-8)) /* nine digits */
            fail_msg("%s, step %d: logit %d is %.9g, want %.9g", s->g->why, step, i, after[i],
                     want[i]);
        close += most < 0.1 * s->settings.rate_alpha;
    }
    if (bound < FLIP_BOUND)
        assert_true(close > PN_MAX_MIX * 9 / 10); /* bounds that are worth having */
}

/* The way from the first weights, of one tensor or all. */
static void check_way(const char *why, const char *what, pn_golden_pair got, const json_t *want,
                      double worst[2]) {
    const double norm = json_number_value(json_array_get(want, 0)),
                 along = json_number_value(json_array_get(want, 1)), scale = norm > 0 ? norm : 1;
    const double norm_off = fabs(got.norm - norm) / scale,
                 along_off = fabs(got.along - along) / scale;
    if (!(norm_off <= PN_GRADIENT_BOUND) || !(along_off <= PROJECTION_BOUND))
        fail_msg("%s: way of %s: norm off by %.1e, projection by %.1e", why, what, norm_off,
                 along_off);
    worst[0] = fmax(worst[0], norm_off);
    worst[1] = fmax(worst[1], along_off);
}

static void check_weights(const searching *s, int step, double worst[2]) {
    const pn_parameters *p = &s->model.network.parameters;
    const json_t *tensors = json_object_get(s->g->one, "gradients"),
                 *moved = json_object_get(s->g->one, "moved");
    float *way = malloc(p->floats * sizeof *way);
    pn_golden_pair all = {0};
    assert_non_null(way);
    assert_int_equal(pn_parameters_pull(p), PN_OK);
    for (size_t i = 0; i < p->floats; i++) way[i] = p->value[i] - s->first[i];
    assert_int_equal(json_object_size(tensors), p->count);
    for (int t = 0; t < p->count; t++) {
        const pn_golden_pair one = pn_golden_pair_of(p, way, t);
        all.norm += one.norm * one.norm;
        all.along += one.along;
        if (step == STEPS - 1)
            check_way(s->g->why, p->list[t].name, one, json_object_get(tensors, p->list[t].name),
                      worst);
    }
    all.norm = sqrt(all.norm);
    check_way(s->g->why, "all", all, json_array_get(moved, (size_t)step), worst);
    free(way);
}

static void check_steps(const golden *g, const pn_kernels *k, const char *backend, int steps) {
    static searching s;
    double state[2][3 * PN_MAX_MIX + 2], gradient = 0, worst[2] = {0};
    begin(&s, g, k);
    const double bound = s.settings.order != 2 ? PN_MIXTURE_BOUND
                         : k->memory->plain    ? SECOND_ORDER_BOUND
                                               : FLIP_BOUND;
    for (int step = 0; step < steps; step++) {
        save(&s, state[0]);
        take_a_step(&s, step);
        save(&s, state[1]);
        check_logits(&s, step, state[0], state[1], bound, &gradient);
        check_weights(&s, step, worst);
    }
    print_message(
        "%s, %s: worst gradient of the logits %.1e, way of a tensor %.1e, its projection "
        "%.1e\n",
        g->why, backend, gradient, worst[0], worst[1]);
    end(&s);
}

/* ---- second order in double precision -------------------------------------------------------- */

typedef struct twin {
    pn_whole whole;
    size_t floats; /* of a range */
    double *value, *gradient, *momentum, *first, *along;
    double weight[PN_MAX_MIX]; /* of the ops, and of `none` */
} twin;

/* Gradients of the mixture's weights, and of the shared weights in t->gradient. */
static void pass(twin *t, const char *batch, double of_weight[PN_MAX_MIX]) {
    pn_whole *w = &t->whole;
    const pn_network_spec *spec = &w->network.spec;
    const int N = pn_program_batch(w->program), edges = PN_MAX_MIX_EDGES / PN_KINDS;
    double *image = pn_at(&w->twins, w->image), *slope = pn_at(&w->twins, w->dweight.placed);
    fill_batch(spec, N, batch, w->image, w->labels);
    for (size_t i = 0; i < w->twin[1].count; i++) image[i] = (double)w->image[i];
    memset(t->gradient, 0, t->floats * sizeof *t->gradient);
    memset(of_weight, 0, PN_MAX_MIX * sizeof *of_weight);
    assert_int_equal(pn_whole_reference_run(w, true), PN_OK);
    for (int layer = 0; layer < spec->layers; layer++)
        for (int i = 0; i < edges * PN_MAX_OPS; i++) {
            const int edge = (int)pn_kind_at(layer, spec->layers) * edges + i / PN_MAX_OPS;
            of_weight[edge * PN_MIX_OPS + 1 + i % PN_MAX_OPS] +=
                slope[layer * edges * PN_MAX_OPS + i];
        }
}

static void create_twin(twin *t, const golden *g) {
    const pn_data data = data_like(g->settings);
    const pn_whole_mix mix = {.weighted = true};
    const pn_whole_case c = {.why = g->why,
                             .spec = {.layers = whole_number(g->settings, "layers"),
                                      .channels = whole_number(g->settings, "channels"),
                                      .H = data.H,
                                      .W = data.W,
                                      .image_channels = data.C,
                                      .classes = data.classes},
                             .N = whole_number(g->settings, "batch"),
                             .training = true};
    pn_mixture m = {.space = pn_space_darts(), .count = PN_MAX_MIX};
    if (pn_whole_reference_mixed(&t->whole, &c, &mix, 1) != PN_OK) fail_msg("%s", pn_error());
    pn_whole *w = &t->whole;
    pn_parameters *p = &w->network.parameters;
    t->floats = p->floats;
    pn_golden_weights(p);
    fill_momentum(p, p->momentum);
    t->value = pn_at(&w->twins, p->value);
    t->gradient = pn_at(&w->twins, p->gradient);
    t->momentum = pn_at(&w->twins, p->momentum);
    t->first = calloc(2 * t->floats, sizeof *t->first);
    assert_non_null(t->first);
    t->along = t->first + t->floats;
    for (size_t i = 0; i < t->floats; i++) {
        t->first[i] = p->value[i];
        t->momentum[i] = p->momentum[i];
    }
    first_logits(g, m.logit);
    pn_mixture_weights(&m, NULL, 1, t->weight);
    double *weight = pn_at(&w->twins, w->weight.placed);
    for (int i = 0; i < PN_MAX_MIX; i++)
        if (i % PN_MIX_OPS) weight[i / PN_MIX_OPS * PN_MAX_OPS + i % PN_MIX_OPS - 1] = t->weight[i];
}

/* The first term of the formula of method_darts.c, of the first step, and the slope of the second,
 * t->along: of_ahead is with respect to the weights of the ops. */
static void look_ahead(twin *t, double of_ahead[PN_MAX_MIX]) {
    const pn_range all = {0, t->floats};
    const pn_sgd sgd = {.rate = 0.025F, .momentum = 0.9F, .decay = 3e-4F};
    memcpy(t->value, t->first, t->floats * sizeof *t->value);
    pass(t, "train.0", of_ahead);
    memcpy(t->along, t->momentum, t->floats * sizeof *t->along); /* SGD's velocity, for now */
    (void)pn_sgd_ref(&all, 1, t->value, t->gradient, t->along, 1, sgd);
    pass(t, "validation.0", of_ahead);
    memcpy(t->along, t->gradient, t->floats * sizeof *t->along);
}

/* And all of it. */
static void second_order(twin *t, const double *of_ahead, double epsilon,
                         double gradient[PN_MAX_MIX]) {
    const pn_range all = {0, t->floats};
    const double rate = 0.025, length = pn_length_ref(&all, 1, t->along, 1);
    double beside[2][PN_MAX_MIX], of_weight[PN_MAX_MIX];
    for (int i = 0; i < 2; i++) {
        pn_move_ref(&all, 1, t->value, t->first, t->along, length, i ? -epsilon : epsilon);
        pass(t, "train.0", beside[i]);
    }
    for (int i = 0; i < PN_MAX_MIX; i++)
        of_weight[i] = of_ahead[i] - rate * length / (2 * epsilon) * (beside[0][i] - beside[1][i]);
    const pn_mixture m = {.space = pn_space_darts(), .count = PN_MAX_MIX};
    pn_mixture_back(&m, t->weight, 1, of_weight, gradient);
}

/* At the usual epsilon PyTorch does the same in float64: what is left are the float32 roundings of
 * rate, momentum and decay, 6e-8 each, and the digits of the file. */
#define SAME_FORMULA_BOUND 1e-5

/* So near to the weights no ReLU and no maximum changes between the two points, as one still does
 * at 1e-6. The bound is 1e3 of what is left, the second derivative's own change. */
#define TINY_EPSILON 1e-7
#define DERIVATIVE_BOUND 1e-5

static void check_twins(const golden *g) {
    static twin t;
    double want[PN_MAX_MIX], got[PN_MAX_MIX], of_ahead[PN_MAX_MIX];
    create_twin(&t, g);
    look_ahead(&t, of_ahead);
    second_order(&t, of_ahead, 0.01, got);
    numbers(json_array_get(json_object_get(g->one, "gradient"), 0), want);
    const double formula = off(got, want);
    second_order(&t, of_ahead, TINY_EPSILON, got);
    const double finite = off(want, got);
    numbers(json_object_get(g->one, "exact"), want);
    const double derivative = off(got, want);
    print_message(
        "%s, twins: formula off by %.1e, at a tiny epsilon by %.1e of the derivative; "
        "they differ by %.1e\n",
        g->why, formula, derivative, finite);
    assert_true(formula <= SAME_FORMULA_BOUND);
    assert_true(derivative <= DERIVATIVE_BOUND);
    assert_true(finite > 100 * DERIVATIVE_BOUND); /* the two are not the same to begin with */
    free(t.first);
    pn_whole_destroy(&t.whole);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static json_t *root;

static golden golden_at(size_t i) {
    const json_t *one = json_array_get(json_object_get(root, "cases"), i);
    return (golden){json_object_get(root, "settings"), one,
                    json_string_value(json_object_get(one, "name"))};
}

/* The emulated card takes seconds for a step: it takes one of each. So do the others under a
 * sanitizer, which looks at accesses. */
static void three_steps(void **state) {
    (void)state;
    const size_t count = json_array_size(json_object_get(root, "cases"));
    assert_true(count >= 3);
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        const bool emulated = !strcmp(pn_backend_labels[backend], "emulated");
#ifdef PN_ASAN
        const int steps = emulated ? 0 : 1;
#else
        const int steps = emulated ? 1 : STEPS;
#endif
        for (size_t i = 0; steps && i < count; i++) {
            const golden g = golden_at(i);
            check_steps(&g, k, pn_backend_labels[backend], steps);
        }
    }
}

static void second_order_is_a_derivative(void **state) {
    (void)state;
    int seen = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(root, "cases")); i++) {
        const golden g = golden_at(i);
        if (!json_object_get(g.one, "exact")) continue;
        check_twins(&g);
        seen++;
    }
    assert_true(seen > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_steps),
        cmocka_unit_test(second_order_is_a_derivative),
    };
    root = json_load_file("golden/steps.json", 0, NULL);
    if (!root) {
        fprintf(stderr, "cannot read golden/steps.json\n");
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(root);
    return failed;
}
