/* test_golden.c -- both networks against PyTorch in float64, on every instruction set: the search
 * network, 12 genotypes in 4 sizes; the evaluation network, 5 in 3 sizes. golden/make_golden.py
 * says what the files hold; weights, images and labels follow from its formula. */
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
#include "runtime/batches.h"
#include "search/methods/method.h"
#include "search/methods/mixture.h"
#include "search/network/genotype.h"
#include "search/network/whole.h"
#include "tests/support/check.h"
#include "tests/support/golden.h"

/* Bounds of the projection of a gradient, relative to its norm: a gradient as a whole feels a ReLU
 * that float32 decides otherwise (make_golden.py). */
#define PROJECTION_BOUND 1e-1
#define PROJECTION_BOUND_BF16 5e-1
#define PROJECTION_BOUND_FP16 (PROJECTION_BOUND_BF16 * .7) /* .5 of it, of a smaller scale */
#define PROJECTION_BOUND_TF32 (PROJECTION_BOUND_BF16 / 2)  /* .36 of it, likewise */

/* Of the evaluation network, whose files hold few and wide cells. Running statistics: relative to
 * a tensor's norm. They are means over hundreds of pixels, and feel few roundings (6e-8 each; of
 * tf32 5e-4, of bf16 4e-3). */
#define EVALUATION_LOGIT_BOUND 1e-5
#define EVALUATION_LOSS_BOUND 1e-6
#define STATISTICS_BOUND 1e-5
#define STATISTICS_BOUND_BF16 4e-2
#define STATISTICS_BOUND_FP16 (STATISTICS_BOUND_BF16 / 4)
#define STATISTICS_BOUND_TF32 (STATISTICS_BOUND_BF16 / 8)

/* In place of the random ones of pn_whole_create. */
static void fill_batch(pn_whole *w, const char *name) {
    const pn_network_spec *s = &w->network.spec;
    const int N = pn_program_batch(w->program);
    pn_golden_images(name, N, s->H, s->W, s->image_channels, w->image);
    pn_golden_labels("labels", N, s->classes, w->labels);
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

typedef struct worst {
    double logit, loss, norm, projection, statistic, alpha;
} worst;

/* Of a logit and of a loss, in which the two networks differ; of a gradient; of the statistics. */
typedef struct bounds {
    double logit, loss, norm, projection, statistic;
} bounds;
static const bounds of_search = {PN_LOGIT_BOUND, PN_LOSS_BOUND, PN_GRADIENT_BOUND, PROJECTION_BOUND,
                                 STATISTICS_BOUND};
static const bounds of_evaluation = {EVALUATION_LOGIT_BOUND, EVALUATION_LOSS_BOUND,
                                     PN_GRADIENT_BOUND, PROJECTION_BOUND, STATISTICS_BOUND};
static const bounds of_tf32 = {PN_LOGIT_BOUND_TF32, PN_LOSS_BOUND_TF32, PN_GRADIENT_BOUND_TF32,
                               PROJECTION_BOUND_TF32, STATISTICS_BOUND_TF32};
static const bounds of_bf16 = {PN_LOGIT_BOUND_BF16, PN_LOSS_BOUND_BF16, PN_GRADIENT_BOUND_BF16,
                               PROJECTION_BOUND_BF16, STATISTICS_BOUND_BF16};
static const bounds of_fp16 = {PN_LOGIT_BOUND_FP16, PN_LOSS_BOUND_FP16, PN_GRADIENT_BOUND_FP16,
                               PROJECTION_BOUND_FP16, STATISTICS_BOUND_FP16};

static bool is_coarse(const pn_kernels *k) {
    return k->storage != PN_STORED_FLOAT32 || k->products == PN_PRODUCTS_TF32;
}
static bounds bounds_of(const pn_kernels *k, bounds of_float32) {
    return k->storage == PN_STORED_BF16   ? of_bf16
           : k->storage == PN_STORED_FP16 ? of_fp16
           : is_coarse(k)                 ? of_tf32
                                          : of_float32;
}

/* How far norm and projection of a tensor of one of the ranges are off, relative to the norm and
 * `more`. */
static void compare(const pn_parameters *p, const float *range, int t, const json_t *pair,
                    double more, double *norm, double *projection) {
    const double want = json_number_value(json_array_get(pair, 0)),
                 scale = more + (want > 0 ? want : 1);
    const pn_golden_pair got = pn_golden_pair_of(p, range, t);
    *norm = fabs(got.norm - want) / scale;
    *projection = fabs(got.along - json_number_value(json_array_get(pair, 1))) / scale;
}

static double norm_of_all(const json_t *gradients) {
    double total = 0;
    const char *name;
    json_t *pair;
    json_object_foreach((json_t *)gradients, name, pair) {
        const double norm = json_number_value(json_array_get(pair, 0));
        total += norm * norm;
    }
    return sqrt(total);
}

static void check_gradients(const pn_whole *w, const pn_arch *arch, const json_t *gradients,
                            bounds b, const char *where, worst *most) {
    const pn_parameters *p = &w->network.parameters;
    bool *used = calloc((size_t)p->count, sizeof *used);
    size_t seen = 0;
    assert_non_null(used);
    pn_network_uses(&w->network, arch, used);
    /* As in pn_whole_compare. */
    const double more =
        is_coarse(w->kernels) ? pn_whole_floor(w->kernels) * norm_of_all(gradients) : 0;
    for (int t = 0; t < p->count; t++) {
        if (p->list[t].role == PN_ROLE_STATE) continue;
        const json_t *pair = json_object_get(gradients, p->list[t].name);
        double norm, off;
        if (used[t] != (pair != NULL))
            fail_msg("%s: %s is used by one side only", where, p->list[t].name);
        if (!pair) continue;
        compare(p, p->gradient, t, pair, more, &norm, &off);
        if (!(norm <= b.norm) || !(off <= b.projection))
            fail_msg("%s: gradient of %s: norm off by %.1e, projection by %.1e", where,
                     p->list[t].name, norm, off);
        most->norm = fmax(most->norm, norm);
        most->projection = fmax(most->projection, off);
        seen++;
    }
    assert_int_equal(seen, json_object_size(gradients));
    free(used);
}

static void check_logits(const float *logits, int N, int classes, const json_t *rows, double bound,
                         const char *where, worst *most) {
    assert_int_equal(json_array_size(rows), N);
    for (int i = 0; i < N * classes; i++) {
        const json_t *row = json_array_get(rows, (size_t)(i / classes));
        const double d =
            fabs(logits[i] - json_number_value(json_array_get(row, (size_t)(i % classes))));
        if (!(d <= bound)) fail_msg("%s: logit %d off by %.1e", where, i, d);
        most->logit = fmax(most->logit, d);
    }
}

static pn_whole_case case_of(const json_t *settings, const json_t *golden, pn_arch *arch) {
    if (arch) {
        const char *text = json_string_value(json_object_get(golden, "genotype"));
        assert_int_equal(pn_genotype_read(text, strlen(text), arch), PN_OK);
    }
    return (pn_whole_case){
        .why = json_string_value(json_object_get(golden, "name")),
        .spec = {.layers = (int)number(settings, "layers"),
                 .channels = (int)number(settings, "channels"),
                 .H = (int)number(settings, "height"),
                 .W = (int)number(settings, "width"),
                 .image_channels = (int)number(settings, "image_channels"),
                 .classes = (int)number(settings, "classes")},
        .N = (int)number(settings, "batch"),
        .training = true,
    };
}

static void run_whole(pn_whole *w, const pn_whole_case *c) {
    if (pn_whole_run(w) != PN_OK) fail_msg("%s: %s", c->why, pn_error());
}

static void check_head(const pn_whole *w, const pn_whole_case *c, int head, double loss,
                       const json_t *logits, bounds b, worst *most) {
    const double off = fabs(w->result[head].loss - loss);
    if (!(off <= b.loss)) fail_msg("%s: loss of head %d off by %.1e", c->why, head, off);
    most->loss = fmax(most->loss, off);
    check_logits(w->logits + (size_t)head * (size_t)c->N * (size_t)c->spec.classes, c->N,
                 c->spec.classes, logits, b.logit, c->why, most);
}

/* Everything that one training pass finds. */
static void check_pass(const pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                       const json_t *golden, bounds b, worst *most) {
    check_head(w, c, 0, number(golden, "loss"), json_object_get(golden, "logits"), b, most);
    if (c->auxiliary)
        check_head(w, c, 1, number(golden, "loss_auxiliary"),
                   json_object_get(golden, "logits_auxiliary"), b, most);
    assert_true(fabs(w->result[0].log_likelihood - number(golden, "log_likelihood")) <=
                c->N * b.loss);
    if (!is_coarse(w->kernels))
        assert_int_equal(w->result[0].correct, (int64_t)number(golden, "correct"));
    check_gradients(w, arch, json_object_get(golden, "gradients"), b, c->why, most);
}

static void check_search(const json_t *settings, const json_t *golden, const pn_kernels *k,
                         worst *most) {
    pn_arch arch;
    pn_whole w;
    const pn_whole_case c = case_of(settings, golden, &arch);
    if (pn_whole_create(&w, &c, &arch, k, 1) != PN_OK) fail_msg("%s: %s", c.why, pn_error());
    pn_golden_weights(&w.network.parameters);
    fill_batch(&w, "input");
    run_whole(&w, &c);
    check_pass(&w, &c, &arch, golden, bounds_of(k, of_search), most);
    pn_whole_destroy(&w);
}

/* ---- the evaluation network ------------------------------------------------------------------ */

/* Factors of 1/0.8 or 0 by the formula; pn_network_drop_path says which places are the identity's
 * (its factors are all one then) and which two are one term: the second has zeros alone. */
static void fill_factors(pn_whole *w, const pn_arch *arch) {
    const int N = pn_program_batch(w->program), nodes = w->network.space.nodes;
    for (int layer = 0; layer < w->network.spec.layers; layer++)
        for (int node = 0; node < nodes; node++) {
            const pn_kind kind = pn_kind_at(layer, w->network.spec.layers);
            const pn_choice *t = arch->cell[kind].term[node];
            float *const pair =
                w->factor.host + (size_t)((layer * nodes + node) * PN_NODE_TERMS * N);
            for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
                const bool identity =
                    t[slot].op == PN_SKIP_CONNECT && (kind == PN_NORMAL || t[slot].input > 1);
                char name[64];
                snprintf(name, sizeof name, "drop_path.%d.%d.%d", layer, node, slot);
                for (int i = 0; i < N; i++)
                    pair[slot * N + i] = identity || pn_golden_bits(name, (uint32_t)i) % 5
                                             ? (identity ? 1 : 1 / 0.8F)
                                             : 0;
            }
            const bool reduce = t[0].op == PN_SKIP_CONNECT && kind == PN_REDUCTION &&
                                t[0].input < 2; /* has weights */
            if (t[0].op != t[1].op || t[0].input != t[1].input || pn_op_has_weights(t[0].op) ||
                reduce || (pn_is_pool(t[0].op) && w->network.spec.pool_norm))
                continue;
            for (int i = 0; i < N; i++) {
                pair[i] += pair[N + i];
                pair[N + i] = 0;
            }
        }
}

static void cut_out(pn_whole *w, int edge) {
    const pn_network_spec *s = &w->network.spec;
    const size_t floats = (size_t)s->H * (size_t)s->W * (size_t)s->image_channels;
    for (int n = 0; edge && n < pn_program_batch(w->program); n++)
        pn_cut_out(s->H, s->W, s->image_channels, edge,
                   (int)(pn_golden_bits("cutout", 2 * (uint32_t)n) % (uint32_t)s->H),
                   (int)(pn_golden_bits("cutout", 2 * (uint32_t)n + 1) % (uint32_t)s->W),
                   w->image + (size_t)n * floats);
}

static void check_statistics(const pn_whole *w, json_t *statistics, bounds b, const char *where,
                             worst *most) {
    const pn_parameters *p = &w->network.parameters;
    const char *name;
    json_t *pair;
    assert_true(json_object_size(statistics) > 20);
    json_object_foreach(statistics, name, pair) {
        const int t = pn_parameters_find(p, name);
        double norm, off;
        if (t < 0 || p->list[t].role != PN_ROLE_STATE) fail_msg("%s: no %s", where, name);
        compare(p, p->value, t, pair, 0, &norm, &off);
        if (!(norm <= b.statistic) || !(off <= b.statistic))
            fail_msg("%s: %s: norm off by %.1e, projection by %.1e", where, name, norm, off);
        most->statistic = fmax(most->statistic, fmax(norm, off));
    }
}

/* With the weights and running statistics of `w`. */
static void check_inference(const pn_whole *w, const pn_whole_case *training, const pn_arch *arch,
                            int cutout, const json_t *golden, bounds b, worst *most) {
    pn_whole_case c = *training;
    c.training = c.auxiliary = false;
    c.inference = true;
    c.keep = 0;
    pn_whole still;
    const pn_parameters *p = &w->network.parameters;
    if (pn_whole_create(&still, &c, arch, w->kernels, 1) != PN_OK)
        fail_msg("%s: %s", c.why, pn_error());
    memcpy(still.network.parameters.value, p->value, p->floats * sizeof *p->value);
    fill_batch(&still, "input");
    cut_out(&still, cutout);
    run_whole(&still, &c);
    check_logits(still.logits, c.N, c.spec.classes, json_object_get(golden, "logits_inference"),
                 b.logit, c.why, most);
    pn_whole_destroy(&still);
}

static void check_evaluation(const json_t *settings, const json_t *golden, const pn_kernels *k,
                             worst *most) {
    static const char *const batches[] = {"input", "input.1", "input.2"};
    const bounds b = bounds_of(k, of_evaluation);
    pn_arch arch;
    pn_whole w;
    pn_whole_case c = case_of(settings, golden, &arch);
    const int cutout = (int)number(golden, "cutout");
    assert_true(number(settings, "auxiliary_weight") == PN_AUXILIARY_WEIGHT);
    c.auxiliary = json_is_true(json_object_get(settings, "auxiliary"));
    c.keep = json_is_true(json_object_get(golden, "drop_path")) ? 0.8 : 0;
    c.spec.evaluation = true;
    c.spec.auxiliary = c.auxiliary;
    c.spec.imagenet_stem =
        !strcmp(json_string_value(json_object_get(settings, "stem")), "imagenet");
    c.spec.smoothing = (float)number(golden, "smoothing");
    c.spec.pool_norm = json_is_true(json_object_get(golden, "pool_norm"));
    if (pn_whole_create(&w, &c, &arch, k, 1) != PN_OK) fail_msg("%s: %s", c.why, pn_error());
    pn_golden_weights(&w.network.parameters);
    if (w.factor.count) fill_factors(&w, &arch);
    for (int step = 0; step < 3; step++) {
        fill_batch(&w, batches[step]);
        cut_out(&w, cutout);
        run_whole(&w, &c);
        if (step == 0) check_pass(&w, &c, &arch, golden, b, most);
    }
    check_statistics(&w, json_object_get(golden, "statistics"), b, c.why, most);
    check_inference(&w, &c, &arch, cutout, golden, b, most);
    pn_whole_destroy(&w);
}

/* ---- the supernet ---------------------------------------------------------------------------- */

static void fill_array(const json_t *list, float *to, size_t count) {
    assert_int_equal(json_array_size(list), count);
    for (size_t i = 0; i < count; i++) to[i] = (float)json_number_value(json_array_get(list, i));
}

static void fill_edge_factors(pn_whole *w) {
    const int N = pn_program_batch(w->program), edges = pn_edges(w->network.space.nodes);
    for (int place = 0; place < w->network.spec.layers * edges; place++) {
        char name[64];
        snprintf(name, sizeof name, "drop_path.%d.%d", place / edges, place % edges);
        for (int i = 0; i < N; i++)
            w->factor.host[place * N + i] = pn_golden_bits(name, (uint32_t)i) % 5 ? 1 / 0.8F : 0;
    }
}

/* The gradient of the logits: through the softmax, with the gradients of a kind's cells added up;
 * `none` has the weight that is left, and no gradient. */
static void check_alpha(const pn_whole *w, const float *weight, const json_t *alpha,
                        const char *where, worst *most) {
    const int ops = w->network.space.ops, edges = pn_edges(w->network.space.nodes);
    double off = 0, size = 0;
    assert_int_equal(json_array_size(alpha), PN_KINDS * edges * (1 + ops));
    for (int e = 0; e < PN_KINDS * edges; e++) {
        double slope[1 + PN_MAX_OPS] = {0}, share[1 + PN_MAX_OPS] = {1}, mean = 0;
        for (int o = 0; o < ops; o++) {
            share[1 + o] = weight[e * ops + o];
            share[0] -= share[1 + o];
            for (int layer = 0; layer < w->network.spec.layers; layer++)
                if ((int)pn_kind_at(layer, w->network.spec.layers) == e / edges)
                    slope[1 + o] += w->dweight.host[(layer * edges + e % edges) * ops + o];
            mean += share[1 + o] * slope[1 + o];
        }
        for (int o = 0; o <= ops; o++) {
            const double want =
                json_number_value(json_array_get(alpha, (size_t)e * (size_t)(1 + ops) + (size_t)o));
            const double d = share[o] * (slope[o] - mean) - want;
            off += d * d;
            size += want * want;
        }
    }
    off = sqrt(off / size);
    if (!(off <= PN_MIXTURE_BOUND)) fail_msg("%s: gradient of alpha off by %.1e", where, off);
    most->alpha = fmax(most->alpha, off);
}

/* What a chosen op an edge leaves out has no gradient. */
static void check_mixed_gradients(const pn_whole *w, const json_t *gradients, const char *where,
                                  worst *most) {
    const pn_parameters *p = &w->network.parameters;
    size_t seen = 0;
    for (int t = 0; t < p->count; t++) {
        const json_t *pair = json_object_get(gradients, p->list[t].name);
        double norm = 0, off = 0;
        if (pair) compare(p, p->gradient, t, pair, 0, &norm, &off);
        for (size_t i = 0; !pair && i < p->list[t].count; i++)
            norm = fmax(norm, fabsf(p->gradient[p->list[t].offset + i]) > 0 ? INFINITY : 0);
        if (!(norm <= PN_GRADIENT_BOUND) || !(off <= PROJECTION_BOUND))
            fail_msg("%s: gradient of %s: norm off by %.1e, projection by %.1e", where,
                     p->list[t].name, norm, off);
        most->norm = fmax(most->norm, norm);
        most->projection = fmax(most->projection, off);
        seen += pair != NULL;
    }
    assert_int_equal(seen, json_object_size(gradients));
}

static void check_supernet(const json_t *settings, const json_t *golden, const pn_kernels *k,
                           worst *most) {
    const json_t *list = json_object_get(golden, "chosen");
    int8_t chosen[PN_KINDS * PN_MAX_EDGES];
    pn_whole w;
    pn_whole_case c = case_of(settings, golden, NULL);
    for (int e = 0; list && e < PN_KINDS * PN_MAX_EDGES; e++)
        chosen[e] = (int8_t)json_integer_value(json_array_get(
            json_array_get(list, (size_t)(e / PN_MAX_EDGES)), (size_t)(e % PN_MAX_EDGES)));
    c.keep = json_is_true(json_object_get(golden, "drop_path")) ? 0.8 : 0;
    const pn_whole_mix mix = {.weighted = !list, .chosen = list ? chosen : NULL};
    if (pn_whole_create_mixed(&w, &c, &mix, k, 1) != PN_OK) fail_msg("%s: %s", c.why, pn_error());
    float weight[PN_KINDS * PN_MAX_EDGES * PN_MAX_OPS];
    const size_t count = sizeof weight / sizeof *weight;
    fill_array(json_object_get(golden, "mixture"), weight, count);
    if (!list) memcpy(w.weight.host, weight, sizeof weight);
    pn_golden_weights(&w.network.parameters);
    fill_batch(&w, "input");
    if (c.keep > 0) fill_edge_factors(&w);
    run_whole(&w, &c);
    check_head(&w, &c, 0, number(golden, "loss"), json_object_get(golden, "logits"), of_search,
               most);
    assert_int_equal(w.result[0].correct, (int64_t)number(golden, "correct"));
    check_alpha(&w, weight, json_object_get(golden, "alpha"), c.why, most);
    check_mixed_gradients(&w, json_object_get(golden, "gradients"), c.why, most);
    pn_whole_destroy(&w);
}

/* ---- SNAS, step by step ---------------------------------------------------------------------- */

/* A search as the file's settings say, whose weights are the file's. */
typedef struct snas {
    pn_model model;
    void *self;
    const pn_method *method;
    float *image;
    int32_t *labels;
    double moment[PN_MAX_MIX]; /* the first one, as it should be */
    bool small[PN_MAX_MIX];    /* of a gradient that was small once */
} snas;

static void begin_snas(snas *s, const json_t *settings, const pn_kernels *k) {
    const pn_space space = pn_space_darts();
    const pn_data like = {.count = 1000,
                          .H = (int)number(settings, "height"),
                          .W = (int)number(settings, "width"),
                          .C = (int)number(settings, "image_channels"),
                          .classes = (int)number(settings, "classes")};
    pn_settings of = pn_settings_defaults();
    snprintf(of.method, sizeof of.method, "snas");
    of.layers = (int64_t)number(settings, "layers");
    of.channels = (int64_t)number(settings, "channels");
    of.batch = (int64_t)number(settings, "batch");
    of.steps = (int64_t)number(settings, "steps");
    of.seed = (uint64_t)number(settings, "seed");
    of.tau = number(settings, "tau");
    of.tau_end = number(settings, "tau_end");
    of.drop_path = number(settings, "drop_path");
    of.resource_weight = number(settings, "resource");
    of.rate = number(settings, "rate");
    of.rate_end = number(settings, "rate_end");
    of.rate_alpha = number(settings, "rate_alpha");
    of.decay_alpha = number(settings, "decay_alpha");
    assert_int_equal(pn_settings_resolve(&of, &like), PN_OK);
    const pn_model_settings model = pn_settings_model(&of, &like, 0);
    assert_true(model.momentum == (float)number(settings, "momentum") &&
                model.decay == (float)number(settings, "decay") &&
                model.clip == (float)number(settings, "clip"));
    *s = (snas){.method = pn_method_of(&of)};
    if (pn_model_create(&s->model, k, &space, &model, NULL, 1) != PN_OK) fail_msg("%s", pn_error());
    const size_t N = (size_t)of.batch;
    s->image = aligned_alloc(64, N * (size_t)(like.H * like.W * like.C) * 64);
    s->labels = calloc(N, sizeof *s->labels);
    s->self = calloc(1, s->method->bytes);
    assert_true(s->image && s->labels && s->self);
    assert_int_equal(s->method->begin(s->self, &space, &of), PN_OK);
}

/* The host's kernels read the batch where it is, until the step is done. */
static void give_batch(snas *s, int64_t step) {
    const pn_network_spec *spec = &s->model.settings.network;
    char name[32] = "input";
    if (step) snprintf(name, sizeof name, "input.%d", (int)step);
    const int N = s->model.settings.N;
    pn_golden_images(name, N, spec->H, spec->W, spec->image_channels, s->image);
    pn_golden_labels("labels", N, spec->classes, s->labels);
    const pn_batch batch = {.n = s->model.settings.N, .x = s->image, .labels = s->labels};
    assert_int_equal(pn_model_give(&s->model, 0, step, &batch), PN_OK);
}

/* The first moment, as a vector, is as near as the gradients it is made of. A logit moves by its
 * rate times a quotient of moments, which is as near as its own gradient: within a tenth where that
 * is a thousandth of all of it. */
static void check_logits_of(snas *s, const json_t *settings, const json_t *step, int number_of_it,
                            const double *before, worst *most) {
    const json_t *gradient = json_object_get(step, "gradient"),
                 *logits = json_object_get(step, "logits");
    const double rate = number(settings, "rate_alpha"), decay = number(settings, "decay_alpha");
    double state[3 * PN_MAX_MIX + 2], off = 0, size = 0, square = 0;
    assert_int_equal(json_array_size(gradient), PN_MAX_MIX);
    assert_int_equal(s->method->count(s->self), 3 * PN_MAX_MIX + 2);
    s->method->save(s->self, state);
    for (size_t i = 0; i < PN_MAX_MIX; i++) {
        const double g = json_number_value(json_array_get(gradient, i));
        square += g * g;
        s->moment[i] = 0.5 * s->moment[i] - 0.5 * (g + decay * before[i]);
        const double d = state[PN_MAX_MIX + i] - s->moment[i];
        off += d * d;
        size += s->moment[i] * s->moment[i];
    }
    assert_true(square < 100); /* no clip */
    off = sqrt(off / size);
    if (!(off <= PN_MIXTURE_BOUND))
        fail_msg("snas, step %d: moment off by %.1e", number_of_it, off);
    most->alpha = fmax(most->alpha, off);
    int seen = 0;
    for (size_t i = 0; i < PN_MAX_MIX; i++) {
        const double g = json_number_value(json_array_get(gradient, i)) + decay * before[i],
                     want = json_number_value(json_array_get(logits, i));
        s->small[i] |= fabs(g) < 1e-3 * sqrt(square);
        seen += !s->small[i];
        if (!s->small[i] && fabs(state[i] - want) > 0.1 * rate * (number_of_it + 1))
            fail_msg("snas, step %d: logit %zu is %.9g, want %.9g", number_of_it, i, state[i],
                     want);
    }
    assert_true(seen > PN_MAX_MIX / 2);
}

/* All weights have gone as far from where they began as they should, within the bound of the
 * gradients that took them there. */
static void check_weights(const snas *s, const float *first, const json_t *weights, worst *most) {
    const pn_parameters *p = &s->model.network.parameters;
    size_t seen = 0;
    for (int t = 0; t < p->count; t++) {
        const json_t *pair = json_object_get(weights, p->list[t].name);
        double norm, projection, square = 0, size = 0;
        assert_non_null(pair);
        compare(p, p->value, t, pair, 0, &norm, &projection);
        for (size_t i = p->list[t].offset; i < p->list[t].offset + p->list[t].count; i++) {
            square += ((double)p->value[i] - first[i]) * ((double)p->value[i] - first[i]);
            size += (double)p->value[i] * p->value[i];
        }
        const double moved = sqrt(square / size), rounding = 1e-6;
        if (!(norm <= PN_GRADIENT_BOUND * moved + rounding) ||
            !(projection <= PROJECTION_BOUND * moved + rounding))
            fail_msg("snas, %s: norm off by %.1e, projection by %.1e; it moved by %.1e",
                     p->list[t].name, norm, projection, moved);
        most->norm = fmax(most->norm, norm);
        most->projection = fmax(most->projection, projection);
        seen++;
    }
    assert_int_equal(seen, json_object_size(weights));
}

static void check_snas(const json_t *root, const pn_kernels *k, worst *most) {
    const json_t *settings = json_object_get(root, "settings"),
                 *steps = json_object_get(root, "steps");
    static snas s;
    static pn_step_report report;
    begin_snas(&s, settings, k);
    pn_parameters *p = &s.model.network.parameters;
    const pn_evaluator e = pn_model_evaluator(&s.model);
    float *first = malloc(p->floats * sizeof *first);
    assert_non_null(first);
    pn_golden_weights(p);
    memcpy(first, p->value, p->floats * sizeof *first);
    assert_int_equal(pn_parameters_push(p), PN_OK);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        double before[3 * PN_MAX_MIX + 2];
        s.method->save(s.self, before);
        give_batch(&s, (int64_t)i);
        if (s.method->step(s.self, &e, &report) != PN_OK) fail_msg("%s", pn_error());
        const double off = fabs(report.train_loss - number(step, "loss"));
        if (!(off <= PN_LOSS_BOUND))
            fail_msg("snas, step %zu: loss %.9g, want %.9g", i, report.train_loss,
                     number(step, "loss"));
        most->loss = fmax(most->loss, off);
        check_logits_of(&s, settings, step, (int)i, before, most);
    }
    assert_int_equal(pn_parameters_pull(p), PN_OK);
    check_weights(&s, first, json_object_get(root, "weights"), most);
    free(first);
    free(s.self);
    free(s.image);
    free(s.labels);
    pn_model_destroy(&s.model);
}

static void three_steps_of_snas(void **state) {
    (void)state;
    json_t *root = json_load_file("golden/snas.json", 0, NULL);
    assert_non_null(root);
    for (int backend = 0; backend < PN_ALL_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        worst most = {0};
        if (!k || is_coarse(k)) continue;
        check_snas(root, k, &most);
        print_message(
            "snas, %s: worst loss %.1e, moment %.1e, norm of weights %.1e, projection "
            "%.1e\n",
            pn_backend_labels[backend], most.loss, most.alpha, most.norm, most.projection);
    }
    json_decref(root);
}

static void check_file(const char *path) {
    json_t *root = json_load_file(path, 0, NULL);
    if (!root) fail_msg("cannot read %s", path);
    const json_t *cases = json_object_get(root, "cases");
    const json_t *settings = json_object_get(root, "settings");
    const char *const network = json_string_value(json_object_get(settings, "network"));
    const bool supernet = network && !strcmp(network, "supernet"),
               evaluation = network && !supernet;
    assert_true(json_array_size(cases) >= 4);
    for (int backend = 0; backend < PN_ALL_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k || (supernet && is_coarse(k))) continue;
        worst most = {0};
        /* An evaluation network takes the emulated card seconds: it has the first two alone. A
         * sanitizer looks at accesses, not at numbers: one network of a kind is enough for it. */
        const bool emulated = !strncmp(pn_backend_labels[backend], "emulated", 8);
#ifdef PN_ASAN
        const size_t few = 1;
        const bool slow = evaluation || emulated;
#else
        const size_t few = 2;
        const bool slow = evaluation && emulated;
#endif
        /* So it is for kernels that float32 has, too, unless they are asked for alone. */
        const bool once_more = emulated && is_coarse(k) && !pn_only_backend();
        const size_t count = once_more ? 1 : slow ? few : json_array_size(cases);
        for (size_t i = 0; i < count; i++)
            (supernet     ? check_supernet
             : evaluation ? check_evaluation
                          : check_search)(settings, json_array_get(cases, i), k, &most);
        print_message(
            "%s, %s: worst logit %.1e, loss %.1e, gradient norm %.1e, projection %.1e, running "
            "statistic %.1e, alpha %.1e\n",
            path, pn_backend_labels[backend], most.logit, most.loss, most.norm, most.projection,
            most.statistic, most.alpha);
    }
    json_decref(root);
}

static void small(void **state) {
    (void)state;
    check_file("golden/small.json");
}
static void grey(void **state) {
    (void)state;
    check_file("golden/grey.json");
}
static void odd_edges(void **state) {
    (void)state;
    check_file("golden/odd.json");
}
static void the_search_network(void **state) {
    (void)state;
    check_file("golden/search.json");
}

static void the_supernet(void **state) {
    (void)state;
    check_file("golden/supernet_small.json");
}

static void the_evaluation_network(void **state) {
    (void)state;
    check_file("golden/eval_small.json");
}
static void the_evaluation_network_at_odd_edges(void **state) {
    (void)state;
    check_file("golden/eval_odd.json");
}
static void the_evaluation_network_for_imagenet(void **state) {
    (void)state;
    check_file("golden/eval_imagenet.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_steps_of_snas),
        cmocka_unit_test(small),
        cmocka_unit_test(grey),
        cmocka_unit_test(odd_edges),
        cmocka_unit_test(the_search_network),
        cmocka_unit_test(the_supernet),
        cmocka_unit_test(the_evaluation_network),
        cmocka_unit_test(the_evaluation_network_at_odd_edges),
        cmocka_unit_test(the_evaluation_network_for_imagenet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
