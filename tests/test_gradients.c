/* test_gradients.c -- the reference's backward passes against central differences of its forward
 * passes: each op alone, and a network with all of them.
 *
 * The loss is a sum of random multiples of what a node makes of the op's output, so that the
 * deferred BatchNorm between the two (s1, s2, dz) is always part of it.
 *
 * Tolerance. A central difference with step h is off by h^2/6 times a third derivative, and by
 * the loss's rounding error over h: with h = 1e-5 and numbers near 1, some 1e-11 + 1e-10. The
 * limit is 1e-6 of the largest element of each gradient. Points are chosen away from the kinks of
 * ReLU and maximum, by more than h moves them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/jobs.h"

static const double h = 1e-5;
enum { MOST_ELEMENTS = 48 }; /* looked at of each array */

/* Runs the forward passes, and says the loss. */
typedef double loss_fn(void *model, const pn_twins *t);

/* One array and the place of its gradient. Where the op's input is normalised by statistics that
 * the test holds fixed, dx is the gradient with respect to v: then `norm` turns it into that of
 * x. */
typedef struct pair {
    const char *name;
    const float *x, *dx;
    const pn_norm *norm;
    int C;
} pair;

static double chain_rule(const pair *p, size_t i, const pn_twins *t) {
    if (!p->norm || p->norm->mode == PN_NORM_NONE) return 1;
    const double *gamma = pn_at(t, p->norm->gamma), *stats = pn_at(t, p->norm->stats);
    const int c = (int)(i % p->C);
    return (gamma ? gamma[c] : 1) * stats[p->C + c];
}

/* `count` elements of p->x, spread over the array. The gradients have been computed before. */
static int check_pair(const char *why, const pair *p, size_t count, loss_fn *loss, void *model,
                      const pn_twins *t) {
    double *x = pn_at(t, p->x), largest = 0;
    double *got = pn_zeros_ref(count); /* the forward passes may write over statistics: copied */
    for (size_t i = 0; i < count; i++) {
        got[i] = pn_at(t, p->dx)[i] * chain_rule(p, i, t);
        largest = fmax(largest, fabs(got[i]));
    }
    int failures = 0;
    const size_t step = count > MOST_ELEMENTS ? count / MOST_ELEMENTS | 1 : 1;
    for (size_t i = 0; i < count; i += step) {
        const double at = x[i];
        x[i] = at + h;
        const double above = loss(model, t);
        x[i] = at - h;
        const double want = (above - loss(model, t)) / (2 * h);
        x[i] = at;
        if (fabs(got[i] - want) <= 1e-6 * largest) continue;
        print_error("%s: d%s[%zu] is %.12g, differences say %.12g, largest %.3g\n", why, p->name, i,
                    got[i], want, largest);
        failures++;
        break;
    }
    if (!(largest > 0)) {
        print_error("%s: d%s is all zeros\n", why, p->name);
        failures++;
    }
    free(got);
    return failures;
}

/* Elements of the array that f is in, from f on. */
static size_t rest_of(const pn_set *set, const float *f) {
    for (int i = 0; i < set->count; i++) {
        const pn_member *a = &set->member[i];
        if (f >= a->f && f < a->f + a->count) return a->count - (size_t)(f - a->f);
    }
    return 0;
}

/* ---- One op, and the node that reads it ------------------------------------------------------ */

/* What all the ops have: where they write, and up to PN_PARTS inputs. */
typedef struct alone {
    const char *name;
    void (*forward)(const void *job, const pn_twins *t);
    void (*backward)(const void *job, const pn_twins *t);
    const void *job;
    const pn_input *in;
    int parts;
    const pn_output *out;
    pn_node node;
    pn_term term;
} alone;

static double loss_of_node(const pn_node *node, const pn_twins *t) {
    const double *sum = pn_at(t, node->h), *coefficient = pn_at(t, node->dh);
    double loss = 0;
    for (int i = 0; i < node->N * node->H * node->W * node->C; i++) loss += coefficient[i] * sum[i];
    return loss;
}

static double loss_alone(void *model, const pn_twins *t) {
    const alone *a = model;
    a->forward(a->job, t);
    pn_node_fwd_ref(&a->node, t);
    return loss_of_node(&a->node, t);
}

/* The arrays were made for the backward pass; those that the forward pass makes are made anew. */
static int check_alone(alone *a, pn_set *set, int P, int Q, const pair *weights, int count) {
    const int N = a->node.N;
    a->term = (pn_term){.in = {.x = a->out->z, .C = a->out->K, .norm = a->out->norm},
                        .coef = a->out->coef,
                        .factor = a->out->factor};
    const float *sum = pn_set_poison(set, "h", (size_t)N * P * Q * a->out->K, 0);
    a->node = (pn_node){.N = N,
                        .H = P,
                        .W = Q,
                        .C = a->out->K,
                        .terms = 1,
                        .term = &a->term,
                        .h = (float *)sum,
                        .dh = a->out->dy};
    pn_set_freeze(set);
    const pn_twins t = pn_set_values(set);

    pair pairs[32];
    int n = 0;
    for (int i = 0; i < count; i++) pairs[n++] = weights[i];
    for (int part = 0; part < a->parts; part++) {
        const pn_input *in = &a->in[part];
        pairs[n++] = (pair){"x", in->x, in->dx, &in->norm, in->C};
        /* s1 and s2 are the gradients of the input's own beta and gamma. */
        if (in->norm.beta)
            pairs[n++] = (pair){"beta below", in->norm.beta, in->norm.stats + 2 * in->C, NULL, 0};
        if (in->norm.gamma)
            pairs[n++] = (pair){"gamma below", in->norm.gamma, in->norm.stats + 3 * in->C, NULL, 0};
    }
    if (a->out->norm.gamma)
        pairs[n++] = (pair){"gamma", a->out->norm.gamma, a->out->norm.dgamma, NULL, 0};
    if (a->out->norm.beta)
        pairs[n++] = (pair){"beta", a->out->norm.beta, a->out->norm.dbeta, NULL, 0};
    for (int i = 0; i < n; i++) /* what is added to begins at 0 */
        memset(pn_at(&t, pairs[i].dx), 0, rest_of(set, pairs[i].x) * sizeof(double));

    loss_alone(a, &t);
    pn_node_bwd_ref(&a->node, &t);
    a->backward(a->job, &t);
    int failures = 0;
    for (int i = 0; i < n; i++)
        failures += check_pair(a->name, &pairs[i], rest_of(set, pairs[i].x), loss_alone, a, &t);
    pn_set_end(set);
    return failures;
}

#define PN_ANY(op)                                                                              \
    static void op##_forward(const void *job, const pn_twins *t) { pn_##op##_fwd_ref(job, t); } \
    static void op##_backward(const void *job, const pn_twins *t) { pn_##op##_bwd_ref(job, t); }
PN_ANY(stem)
PN_ANY(stage)
PN_ANY(conv1x1)
PN_ANY(reduce)
PN_ANY(conv)
PN_ANY(pool)

/* The norms of an op's input and output: all kinds, twice with gamma and beta. */
static const int likes[][2] = {
    {PN_BATCH | PN_AFFINE, PN_BATCH | PN_AFFINE | PN_FACTOR},
    {PN_RUNNING | PN_AFFINE, PN_RUNNING | PN_AFFINE},
    {PN_BATCH, PN_BATCH},
    {0, PN_FACTOR},
};
enum { LIKES = 4 };

static float *weights_of(pn_set *set, size_t count) { return pn_set_data(set, "w", count, 1, 1); }
static float *gradient_of(pn_set *set, size_t count) { return pn_set_poison(set, "dw", count, 0); }

static void stage(void **state) {
    (void)state;
    static const int shapes[][5] = {
        {5, 4, 3, 1, 1}, {4, 5, 5, 2, 1}, {5, 5, 3, 2, 2}, {4, 6, 5, 1, 2}};
    for (int i = 0; i < LIKES; i++) {
        pn_set set;
        pn_set_begin(&set, i, false, true);
        const int *v = shapes[i], C = 8, P = pn_out_size(v[0], v[4]), Q = pn_out_size(v[1], v[4]);
        pn_stage s = {.N = 2, .H = v[0], .W = v[1], .R = v[2], .dilation = v[3], .stride = v[4]};
        s.in = pn_set_input(&set, (size_t)s.N * s.H * s.W, C, likes[i][0], 0);
        s.out = pn_set_output(&set, s.N, (size_t)P * Q, C, likes[i][1], 0);
        s.dw = weights_of(&set, (size_t)s.R * s.R * C);
        s.pw = weights_of(&set, (size_t)C * C);
        s.ddw = gradient_of(&set, (size_t)s.R * s.R * C);
        s.dpw = gradient_of(&set, (size_t)C * C);
        alone a = {"stage", stage_forward, stage_backward, &s,         &s.in,
                   1,       &s.out,        {.N = s.N},     {.coef = 1}};
        const pair weights[] = {{"dw", s.dw, s.ddw, NULL, 0}, {"pw", s.pw, s.dpw, NULL, 0}};
        assert_int_equal(check_alone(&a, &set, P, Q, weights, 2), 0);
    }
}

static void conv1x1(void **state) {
    (void)state;
    for (int i = 0; i < LIKES; i++) {
        pn_set set;
        pn_set_begin(&set, 10 + i, false, true);
        pn_conv1x1 s = {.N = 3, .H = 2, .W = 3, .parts = 1 + i % 3};
        for (int part = 0; part < s.parts; part++)
            s.in[part] = pn_set_input(&set, 18, 4 + 4 * part, likes[(i + part) % LIKES][0], 0);
        const int C = pn_channels_ref(s.in, s.parts), K = 8;
        s.out = pn_set_output(&set, s.N, 6, K, likes[i][1], 0);
        s.w = weights_of(&set, (size_t)C * K);
        s.dw = gradient_of(&set, (size_t)C * K);
        alone a = {"conv1x1", conv1x1_forward, conv1x1_backward, &s,         s.in,
                   s.parts,   &s.out,          {.N = s.N},       {.coef = 1}};
        assert_int_equal(check_alone(&a, &set, s.H, s.W, &(pair){"w", s.w, s.dw, NULL, 0}, 1), 0);
    }
}

static void reduce(void **state) {
    (void)state;
    for (int i = 0; i < LIKES; i++) {
        pn_set set;
        pn_set_begin(&set, 20 + i, false, true);
        pn_reduce s = {.N = 3, .H = 4 + i % 2, .W = 5 - i / 2, .parts = 1 + i % 3};
        const int P = pn_out_size(s.H, 2), Q = pn_out_size(s.W, 2), K = 8;
        for (int part = 0; part < s.parts; part++)
            s.in[part] = pn_set_input(&set, (size_t)s.N * s.H * s.W, 4 + 4 * part,
                                      likes[(i + part) % LIKES][0], 0);
        const int C = pn_channels_ref(s.in, s.parts);
        s.out = pn_set_output(&set, s.N, (size_t)P * Q, K, likes[i][1], 0);
        s.w = weights_of(&set, (size_t)C * K);
        s.dw = gradient_of(&set, (size_t)C * K);
        alone a = {"reduce", reduce_forward, reduce_backward, &s,         s.in,
                   s.parts,  &s.out,         {.N = s.N},      {.coef = 1}};
        assert_int_equal(check_alone(&a, &set, P, Q, &(pair){"w", s.w, s.dw, NULL, 0}, 1), 0);
    }
}

static void conv(void **state) {
    (void)state;
    static const int shapes[LIKES][6] = {
        {5, 4, 3, 2, 1, 0}, {4, 5, 2, 1, 0, 0}, {5, 6, 3, 2, 0, 1}, {3, 7, 5, 3, 4, 0}};
    for (int i = 0; i < LIKES; i++) {
        pn_set set;
        pn_set_begin(&set, 60 + i, false, true);
        const int *v = shapes[i], K = 8;
        pn_conv s = {.N = 2,
                     .H = v[0],
                     .W = v[1],
                     .parts = 1 + i % 3,
                     .R = v[2],
                     .stride = v[3],
                     .pad = v[4],
                     .mean = v[5]};
        const int P = pn_conv_size(s.H, s.R, s.stride, s.pad),
                  Q = pn_conv_size(s.W, s.R, s.stride, s.pad);
        for (int part = 0; part < s.parts; part++)
            s.in[part] = pn_set_input(&set, (size_t)s.N * s.H * s.W, 4 + 4 * part,
                                      likes[(i + part) % LIKES][0], 0);
        const size_t weights =
            (size_t)(s.mean ? 1 : s.R * s.R) * pn_channels_ref(s.in, s.parts) * K;
        s.out = pn_set_output(&set, s.N, (size_t)P * Q, K, likes[i][1], 0);
        s.w = weights_of(&set, weights);
        s.dw = gradient_of(&set, weights);
        alone a = {"conv",  conv_forward, conv_backward, &s,         s.in,
                   s.parts, &s.out,       {.N = s.N},    {.coef = 1}};
        assert_int_equal(check_alone(&a, &set, P, Q, &(pair){"w", s.w, s.dw, NULL, 0}, 1), 0);
    }
}

/* Random inputs are multiples of 1/64 and have ties: moved apart, by much more than h. */
static void part_ties(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] += (float)(i * 37 % 101) * 1.5e-4f;
}

static void pool(void **state) {
    (void)state;
    /* Which output goes with which input: batch statistics behind a pool undo what gamma and beta
     * in front of it do, and nothing would be left to compare. */
    static const int partner[LIKES] = {1, 3, 0, 2};
    for (int i = 0; i < 2 * LIKES; i++) {
        pn_set set;
        pn_set_begin(&set, 30 + i, false, true);
        pn_pool s = {.N = 2,
                     .H = 4,
                     .W = 5,
                     .stride = 1 + i % 2,
                     .kind = i < LIKES ? PN_POOL_MAX : PN_POOL_AVG};
        const int P = pn_out_size(s.H, s.stride), Q = pn_out_size(s.W, s.stride);
        s.in = pn_set_input(&set, 40, 4, likes[i % LIKES][0], 0);
        part_ties((float *)s.in.x, 160);
        s.out = pn_set_output(&set, s.N, (size_t)P * Q, 4, likes[partner[i % LIKES]][1], 0);
        alone a = {s.kind == PN_POOL_MAX ? "max pool" : "average pool",
                   pool_forward,
                   pool_backward,
                   &s,
                   &s.in,
                   1,
                   &s.out,
                   {.N = s.N},
                   {.coef = 1}};
        assert_int_equal(check_alone(&a, &set, P, Q, NULL, 0), 0);
    }
}

static void stem(void **state) {
    (void)state;
    for (int i = 0; i < LIKES; i++) {
        pn_set set;
        pn_set_begin(&set, 40 + i, false, true);
        pn_stem s = {.N = 3, .H = 3, .W = 4, .C = i % 2 ? 1 : 3, .stride = 1 + i / 2};
        const int weights = 9 * s.C * 8, P = pn_out_size(s.H, s.stride),
                  Q = pn_out_size(s.W, s.stride);
        s.x = pn_set_data(&set, "image", (size_t)36 * s.C, 1, 1);
        s.out = pn_set_output(&set, s.N, (size_t)P * Q, 8, likes[i][1], 0);
        s.w = weights_of(&set, weights);
        s.dw = gradient_of(&set, weights);
        alone a = {"stem", stem_forward, stem_backward, &s,         NULL,
                   0,      &s.out,       {.N = s.N},    {.coef = 1}};
        assert_int_equal(check_alone(&a, &set, P, Q, &(pair){"w", s.w, s.dw, NULL, 0}, 1), 0);
    }
}

/* ---- Ops that end in a loss of their own ----------------------------------------------------- */

static double loss_of_head(void *model, const pn_twins *t) {
    const pn_head *s = model;
    pn_head_fwd_ref(s, t);
    return *pn_at(t, s->scale) * s->loss_weight * s->result->loss;
}

static void head(void **state) {
    (void)state;
    for (int i = 0; i < LIKES; i++) {
        pn_set set;
        pn_set_begin(&set, 50 + i, false, true);
        static const int32_t labels[4] = {2, 0, 6, 2};
        pn_result result;
        pn_head s = {.N = 4,
                     .H = 2,
                     .W = 3,
                     .parts = 2,
                     .relu = i % 2,
                     .classes = 7,
                     .smoothing = i > 1 ? 0.25f : 0,
                     .loss_weight = 0.5f,
                     .labels = labels,
                     .result = &result};
        for (int part = 0; part < 2; part++)
            s.in[part] = pn_set_input(&set, 24, 4 + 4 * part, likes[(i + part) % LIKES][0], 0);
        s.w = weights_of(&set, 12 * 7);
        s.b = weights_of(&set, 7);
        s.dw = gradient_of(&set, 12 * 7);
        s.db = gradient_of(&set, 7);
        s.pooled = pn_set_poison(&set, "pooled", 4 * 12, 0);
        s.logits = pn_set_poison(&set, "logits", 4 * 7, 0);
        s.scale = pn_set_data(&set, "scale", 1, 1, 1);
        pn_set_freeze(&set);
        const pn_twins t = pn_set_values(&set);
        *pn_at(&t, s.scale) = 1.75;
        memset(pn_at(&t, s.dw), 0, sizeof(double) * 12 * 7);
        memset(pn_at(&t, s.db), 0, sizeof(double) * 7);
        loss_of_head(&s, &t);
        pn_head_bwd_ref(&s, &t);
        pair pairs[8] = {{"w", s.w, s.dw, NULL, 0}, {"b", s.b, s.db, NULL, 0}};
        int n = 2, failures = 0;
        for (int part = 0; part < 2; part++) {
            const pn_input *in = &s.in[part];
            pairs[n++] = (pair){"x", in->x, in->dx, &in->norm, in->C};
            if (!in->norm.gamma) continue;
            pairs[n++] = (pair){"beta below", in->norm.beta, in->norm.stats + 2 * in->C, NULL, 0};
            pairs[n++] = (pair){"gamma below", in->norm.gamma, in->norm.stats + 3 * in->C, NULL, 0};
        }
        for (int j = 0; j < n; j++)
            failures +=
                check_pair("head", &pairs[j], rest_of(&set, pairs[j].x), loss_of_head, &s, &t);
        pn_set_end(&set);
        assert_int_equal(failures, 0);
    }
}

static double loss_of_terms(void *model, const pn_twins *t) {
    pn_node_fwd_ref(model, t);
    return loss_of_node(model, t);
}

static void node(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 60, false, true);
    pn_term term[LIKES];
    pair pairs[4 * LIKES];
    int n = 0, failures = 0;
    for (int i = 0; i < LIKES; i++) {
        term[i] = (pn_term){.in = pn_set_input(&set, 18, 8, likes[i][0], 0),
                            .coef = 1.5f - (float)i,
                            .factor = i % 2 ? pn_set_factor(&set, 3) : NULL,
                            .weight = pn_set_weight(&set, PN_WEIGHT),
                            .dweight = pn_set_poison(&set, "dweight", 1, 0)};
        const pn_input *in = &term[i].in;
        pairs[n++] = (pair){"x", in->x, in->dx, &in->norm, 8};
        pairs[n++] = (pair){"weight", term[i].weight, term[i].dweight, NULL, 0};
        if (!in->norm.gamma) continue;
        pairs[n++] = (pair){"beta below", in->norm.beta, in->norm.stats + 16, NULL, 0};
        pairs[n++] = (pair){"gamma below", in->norm.gamma, in->norm.stats + 24, NULL, 0};
    }
    pn_node s = {.N = 3, .H = 2, .W = 3, .C = 8, .terms = LIKES, .term = term};
    s.h = pn_set_poison(&set, "h", 144, 0);
    s.dh = pn_set_data(&set, "dh", 144, 1, 1);
    pn_set_freeze(&set);
    const pn_twins t = pn_set_values(&set);
    pn_node_bwd_ref(&s, &t);
    for (int i = 0; i < n; i++)
        failures += check_pair("node", &pairs[i], rest_of(&set, pairs[i].x), loss_of_terms, &s, &t);
    pn_set_end(&set);
    assert_int_equal(failures, 0);
}

/* ---- A network ------------------------------------------------------------------------------- */

/*  image - stem - stage - stage (stride 2) - node - head
 *             \-- max pool (stride 2) ------/    \- conv1x1 -/
 *             \-- reduce -------------------/
 * Everything a search does with gradients: three ops add to the stem's, the producers of the
 * node's terms read the node's own, weighted, the head reads two parts. */
typedef struct network {
    pn_set set;
    pn_stem stem;
    pn_stage first, second;
    pn_pool pool;
    pn_reduce reduce;
    pn_term term[3];
    pn_node node;
    pn_conv1x1 conv;
    pn_head head;
    pn_result result;
} network;

enum { IMAGES = 2, EDGE = 6, HALF = 3, WIDTH = 8, CLASSES = 5 };

static pn_norm norm_between(pn_set *set, int affine) {
    pn_norm norm = {
        .mode = PN_NORM_BATCH, .eps = 1e-5f, .stats = pn_set_poison(set, "stats", 4 * WIDTH, 0)};
    if (!affine) return norm;
    float *gamma = pn_set_data(set, "gamma", WIDTH, 1, 1);
    for (int c = 0; c < WIDTH; c++) gamma[c] += gamma[c] < 0 ? -0.5f : 0.5f;
    norm.gamma = gamma;
    norm.beta = pn_set_data(set, "beta", WIDTH, 1, 1);
    norm.dgamma = gradient_of(set, WIDTH);
    norm.dbeta = gradient_of(set, WIDTH);
    return norm;
}

static pn_output output_of(pn_set *set, int edge, int affine) {
    return (pn_output){.z = pn_set_poison(set, "z", (size_t)IMAGES * edge * edge * WIDTH, 0),
                       .coef = 1,
                       .K = WIDTH,
                       .norm = norm_between(set, affine)};
}

/* What reads an output: its gradient is `dx`, with `add` as the order of the readers asks. */
static pn_input reader_of(const pn_output *out, const float *dx, int add) {
    return (pn_input){.x = out->z, .dx = (float *)dx, .C = WIDTH, .add = add, .norm = out->norm};
}

/* The ops, which differ in what they read and in little else. */
static pn_stem stem_of(pn_set *set) {
    return (pn_stem){.N = IMAGES,
                     .H = EDGE,
                     .W = EDGE,
                     .C = 3,
                     .stride = 1,
                     .x = pn_set_data(set, "image", (size_t)IMAGES * EDGE * EDGE * 3, 1, 1),
                     .out = output_of(set, EDGE, 1),
                     .w = weights_of(set, 27 * WIDTH),
                     .dw = gradient_of(set, 27 * WIDTH)};
}

static pn_stage stage_of(pn_set *set, const pn_output *from, int R, int dilation, int stride) {
    return (pn_stage){.N = IMAGES,
                      .H = EDGE,
                      .W = EDGE,
                      .R = R,
                      .dilation = dilation,
                      .stride = stride,
                      .in = reader_of(from, from->dy, 0),
                      .out = output_of(set, EDGE / stride, 0),
                      .dw = weights_of(set, (size_t)R * R * WIDTH),
                      .pw = weights_of(set, WIDTH * WIDTH),
                      .ddw = gradient_of(set, (size_t)R * R * WIDTH),
                      .dpw = gradient_of(set, WIDTH * WIDTH)};
}

static pn_pool pool_of(pn_set *set, const pn_output *from) {
    return (pn_pool){.N = IMAGES,
                     .H = EDGE,
                     .W = EDGE,
                     .stride = 2,
                     .kind = PN_POOL_MAX,
                     .in = reader_of(from, from->dy, 1),
                     .out = output_of(set, HALF, 0)};
}

/* conv1x1 or reduce. */
static pn_conv pointwise_of(pn_set *set, pn_input in, int edge, int affine) {
    in.add = 1;
    return (pn_conv){.N = IMAGES,
                     .H = edge,
                     .W = edge,
                     .parts = 1,
                     .in = {in},
                     .out = output_of(set, HALF, affine),
                     .w = weights_of(set, WIDTH * WIDTH),
                     .dw = gradient_of(set, WIDTH * WIDTH)};
}

/* Its producers read dh, weighted. */
static pn_node node_of(pn_set *set, pn_output *const producers[3], pn_term term[3]) {
    const size_t count = (size_t)IMAGES * HALF * HALF * WIDTH;
    float *dh = pn_set_poison(set, "dh", count, 0);
    for (int i = 0; i < 3; i++) {
        term[i] = (pn_term){.in = reader_of(producers[i], NULL, 0),
                            .coef = 1.25f - (float)i,
                            .factor = i == 1 ? NULL : pn_set_factor(set, IMAGES),
                            .weight = i == 2 ? NULL : pn_set_weight(set, PN_WEIGHT),
                            .dweight = pn_set_poison(set, "dweight", 1, 0)};
        producers[i]->dy = dh;
        producers[i]->coef = term[i].coef;
        producers[i]->factor = term[i].factor;
        producers[i]->weight = term[i].weight;
    }
    return (pn_node){.N = IMAGES,
                     .H = HALF,
                     .W = HALF,
                     .C = WIDTH,
                     .terms = 3,
                     .term = term,
                     .h = pn_set_poison(set, "h", count, 0),
                     .dh = dh};
}

static pn_head head_of(pn_set *set, pn_input first, pn_input second, pn_result *result) {
    static const int32_t labels[IMAGES] = {3, 1};
    return (pn_head){.N = IMAGES,
                     .H = HALF,
                     .W = HALF,
                     .parts = 2,
                     .relu = 1,
                     .classes = CLASSES,
                     .smoothing = 0.25f,
                     .loss_weight = 1,
                     .in = {first, second},
                     .labels = labels,
                     .w = weights_of(set, 2 * WIDTH * CLASSES),
                     .b = weights_of(set, CLASSES),
                     .dw = gradient_of(set, 2 * WIDTH * CLASSES),
                     .db = gradient_of(set, CLASSES),
                     .pooled = pn_set_poison(set, "pooled", IMAGES * 2 * WIDTH, 0),
                     .logits = pn_set_poison(set, "logits", IMAGES * CLASSES, 0),
                     .result = result};
}

/* An output's own gradient. */
static const float *dy_of(pn_set *set, int edge) {
    return pn_set_poison(set, "dy", (size_t)IMAGES * edge * edge * WIDTH, 0);
}

static void build_network(network *n) {
    pn_set *set = &n->set;
    pn_set_begin(set, 6, false, true);
    n->stem = stem_of(set);
    n->stem.out.dy = dy_of(set, EDGE);
    n->first = stage_of(set, &n->stem.out, 5, 1, 1);
    n->first.out.dy = dy_of(set, EDGE);
    n->second = stage_of(set, &n->first.out, 3, 2, 2);
    n->pool = pool_of(set, &n->stem.out);
    n->reduce = pointwise_of(set, reader_of(&n->stem.out, n->stem.out.dy, 1), EDGE, 1);
    n->node = node_of(set, (pn_output *[]){&n->second.out, &n->pool.out, &n->reduce.out}, n->term);
    const pn_input sum = {.x = n->node.h, .dx = (float *)n->node.dh, .C = WIDTH};
    n->conv = pointwise_of(set, sum, HALF, 0);
    n->conv.out.dy = dy_of(set, HALF);
    n->head = head_of(set, sum, reader_of(&n->conv.out, n->conv.out.dy, 0), &n->result);
}

static double loss_of_network(void *model, const pn_twins *t) {
    network *n = model;
    pn_stem_fwd_ref(&n->stem, t);
    pn_stage_fwd_ref(&n->first, t);
    pn_stage_fwd_ref(&n->second, t);
    pn_pool_fwd_ref(&n->pool, t);
    pn_reduce_fwd_ref(&n->reduce, t);
    pn_node_fwd_ref(&n->node, t);
    pn_conv1x1_fwd_ref(&n->conv, t);
    pn_head_fwd_ref(&n->head, t);
    return n->result.loss;
}

/* Least distance of a ReLU's input from its kink. */
static double distance_from_kinks(const network *n, const pn_twins *t) {
    const struct {
        const pn_input *in;
        int edge;
    } relus[] = {{&n->first.in, EDGE},
                 {&n->second.in, EDGE},
                 {n->reduce.in, EDGE},
                 {n->conv.in, HALF},
                 {&n->head.in[1], HALF}};
    double least = INFINITY;
    for (int i = 0; i < 5; i++) {
        const size_t pixels = (size_t)IMAGES * relus[i].edge * relus[i].edge;
        double *v = pn_input_v_ref(relus[i].in, 1, pixels, t);
        for (size_t j = 0; j < pixels * WIDTH; j++) least = fmin(least, fabs(v[j]));
        free(v);
    }
    return least;
}

static void whole_network(void **state) {
    (void)state;
    network *n = calloc(1, sizeof *n);
    assert_non_null(n);
    build_network(n);
    const pair pairs[] = {
        {"stem w", n->stem.w, n->stem.dw, NULL, 0},
        {"stem gamma", n->stem.out.norm.gamma, n->stem.out.norm.dgamma, NULL, 0},
        {"stem beta", n->stem.out.norm.beta, n->stem.out.norm.dbeta, NULL, 0},
        {"first dw", n->first.dw, n->first.ddw, NULL, 0},
        {"first pw", n->first.pw, n->first.dpw, NULL, 0},
        {"second dw", n->second.dw, n->second.ddw, NULL, 0},
        {"second pw", n->second.pw, n->second.dpw, NULL, 0},
        {"reduce w", n->reduce.w, n->reduce.dw, NULL, 0},
        {"reduce gamma", n->reduce.out.norm.gamma, n->reduce.out.norm.dgamma, NULL, 0},
        {"reduce beta", n->reduce.out.norm.beta, n->reduce.out.norm.dbeta, NULL, 0},
        {"conv w", n->conv.w, n->conv.dw, NULL, 0},
        {"head w", n->head.w, n->head.dw, NULL, 0},
        {"head b", n->head.b, n->head.db, NULL, 0},
        {"first weight", n->term[0].weight, n->term[0].dweight, NULL, 0},
        {"second weight", n->term[1].weight, n->term[1].dweight, NULL, 0},
    };
    const int count = (int)(sizeof pairs / sizeof *pairs);
    pn_set_freeze(&n->set);
    const pn_twins t = pn_set_values(&n->set);
    for (int i = 0; i < count; i++)
        memset(pn_at(&t, pairs[i].dx), 0, rest_of(&n->set, pairs[i].x) * sizeof(double));

    loss_of_network(n, &t);
    assert_true(distance_from_kinks(n, &t) > 10 * h);
    pn_head_bwd_ref(&n->head, &t);
    pn_conv1x1_bwd_ref(&n->conv, &t);
    pn_node_bwd_ref(&n->node, &t);
    pn_stage_bwd_ref(&n->second, &t);
    pn_stage_bwd_ref(&n->first, &t);
    pn_pool_bwd_ref(&n->pool, &t);
    pn_reduce_bwd_ref(&n->reduce, &t);
    pn_stem_bwd_ref(&n->stem, &t);
    int failures = 0;
    for (int i = 0; i < count; i++)
        failures +=
            check_pair("network", &pairs[i], rest_of(&n->set, pairs[i].x), loss_of_network, n, &t);
    pn_set_end(&n->set);
    free(n);
    assert_int_equal(failures, 0);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(stage), cmocka_unit_test(conv1x1), cmocka_unit_test(reduce),
        cmocka_unit_test(conv),  cmocka_unit_test(pool),    cmocka_unit_test(stem),
        cmocka_unit_test(head),  cmocka_unit_test(node),    cmocka_unit_test(whole_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
