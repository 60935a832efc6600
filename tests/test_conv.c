/* test_conv.c -- ReLU and dense convolution of a concatenation, or average pool and 1x1
 * convolution, against plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"

/* One job. Parts end at the first C of 0; each is like `in`, and like its own `also`. */
typedef struct row {
    int N, H, W, R, stride, pad, mean, K;
    int C[PN_PARTS], in, also[PN_PARTS];
    int out;
    bool shares; /* the inputs of the job before, adding to the same dx */
} row;

static const struct call {
    const char *why;
    row job[PN_MAX_JOBS];
} calls[] = {
    {"ImageNet's stem, the second convolution",
     {{.N = 1,
       .H = 6,
       .W = 112,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 48,
       .C = {24},
       .in = PN_BATCH | PN_AFFINE,
       .out = PN_BATCH | PN_AFFINE}}},
    {"ImageNet's stem, the third convolution",
     {{.N = 2,
       .H = 14,
       .W = 13,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 48,
       .C = {48},
       .in = PN_BATCH | PN_AFFINE,
       .out = PN_BATCH | PN_AFFINE}}},
    {"auxiliary head: average of 5x5, stride 3",
     {{.N = 2,
       .H = 8,
       .W = 8,
       .R = 5,
       .stride = 3,
       .mean = 1,
       .K = 60,
       .C = {36, 36, 36, 36},
       .in = PN_BATCH,
       .out = PN_BATCH | PN_AFFINE}}},
    {"auxiliary head on ImageNet: average of 5x5, stride 2",
     {{.N = 2,
       .H = 14,
       .W = 14,
       .R = 5,
       .stride = 2,
       .mean = 1,
       .K = 16,
       .C = {48, 48},
       .out = PN_BATCH | PN_AFFINE}}},
    {"auxiliary head: 2x2 to one pixel of many channels",
     {{.N = 3,
       .H = 2,
       .W = 2,
       .R = 2,
       .stride = 1,
       .K = 268,
       .C = {36},
       .in = PN_BATCH | PN_AFFINE,
       .out = PN_BATCH | PN_AFFINE}}},
    {"an average that whole numbers keep exact",
     {{.N = 3,
       .H = 7,
       .W = 6,
       .R = 4,
       .stride = 1,
       .mean = 1,
       .K = 12,
       .C = {4, 20, 8},
       .in = PN_BATCH,
       .out = PN_FACTOR}}},
    {"averages whose windows leave gaps",
     {{.N = 3,
       .H = 9,
       .W = 8,
       .R = 2,
       .stride = 3,
       .mean = 1,
       .K = 12,
       .C = {16},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"one pixel", {{.N = 1, .H = 1, .W = 1, .R = 1, .stride = 1, .K = 4, .C = {4}, .in = PN_OPEN}}},
    {"one pixel under a window of 3x3",
     {{.N = 1, .H = 1, .W = 1, .R = 3, .stride = 1, .pad = 1, .K = 4, .C = {4}, .in = PN_OPEN}}},
    {"one pixel, normalised: no variance",
     {{.N = 1,
       .H = 1,
       .W = 1,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 8,
       .C = {8},
       .in = PN_BATCH,
       .out = PN_BATCH | PN_AFFINE}}},
    {"the window is the image",
     {{.N = 5,
       .H = 4,
       .W = 4,
       .R = 4,
       .stride = 1,
       .K = 8,
       .C = {12},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"padding as wide as it may be",
     {{.N = 2,
       .H = 3,
       .W = 2,
       .R = 5,
       .stride = 1,
       .pad = 4,
       .K = 8,
       .C = {4, 8},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"windows that read nothing but padding",
     {{.N = 2,
       .H = 1,
       .W = 1,
       .R = 3,
       .stride = 1,
       .pad = 2,
       .K = 8,
       .C = {8},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"gaps between the windows",
     {{.N = 3,
       .H = 8,
       .W = 9,
       .R = 1,
       .stride = 3,
       .K = 8,
       .C = {12},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"gaps, and dx is added to",
     {{.N = 3,
       .H = 8,
       .W = 9,
       .R = 2,
       .stride = 3,
       .K = 8,
       .C = {12},
       .in = PN_BATCH | PN_ADD,
       .out = PN_BATCH}}},
    {"1x1, stride 1",
     {{.N = 2,
       .H = 5,
       .W = 6,
       .R = 1,
       .stride = 1,
       .K = 20,
       .C = {16, 4},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"odd everything",
     {{.N = 3,
       .H = 7,
       .W = 9,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 20,
       .C = {12},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"one row",
     {{.N = 2,
       .H = 1,
       .W = 19,
       .R = 3,
       .stride = 1,
       .pad = 1,
       .K = 8,
       .C = {8},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"one column",
     {{.N = 2,
       .H = 19,
       .W = 1,
       .R = 3,
       .stride = 1,
       .pad = 1,
       .K = 8,
       .C = {8},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"224 wide",
     {{.N = 1,
       .H = 4,
       .W = 224,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 8,
       .C = {4},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"as wide as a card takes",
     {{.N = 1,
       .H = 3,
       .W = 2,
       .R = 2,
       .stride = 1,
       .K = 1024,
       .C = {4},
       .in = PN_BATCH,
       .out = PN_BATCH | PN_FACTOR},
      {.N = 1,
       .H = 3,
       .W = 2,
       .R = 2,
       .stride = 1,
       .K = 4,
       .C = {1020, 4},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"as many channels as there are",
     {{.N = 1,
       .H = 5,
       .W = 5,
       .R = 5,
       .stride = 1,
       .K = 4,
       .C = {1024, 1024, 1024, 1024},
       .in = PN_BATCH}}},
    {"so many outputs that a card keeps dw in memory, over several tiles",
     {{.N = 30,
       .H = 3,
       .W = 3,
       .R = 2,
       .stride = 1,
       .K = 512,
       .C = {4},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"more tiles than a card's blocks",
     {{.N = 9,
       .H = 64,
       .W = 64,
       .R = 3,
       .stride = 1,
       .pad = 1,
       .K = 8,
       .C = {4},
       .out = PN_BATCH | PN_FACTOR}}},
    {"parts of different widths",
     {{.N = 3,
       .H = 7,
       .W = 5,
       .R = 3,
       .stride = 1,
       .pad = 1,
       .K = 20,
       .C = {4, 36, 8, 20},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"parts with different norms",
     {{.N = 3,
       .H = 5,
       .W = 5,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 12,
       .C = {8, 8, 12, 4},
       .also = {0, PN_BATCH, PN_RUNNING | PN_AFFINE, PN_BATCH | PN_AFFINE},
       .out = PN_BATCH}}},
    {"dx of two parts only, one of them added to",
     {{.N = 3,
       .H = 5,
       .W = 5,
       .R = 3,
       .stride = 1,
       .pad = 0,
       .K = 12,
       .C = {8, 8, 12, 4},
       .in = PN_BATCH,
       .also = {0, PN_NO_DX, PN_ADD, PN_NO_DX},
       .out = PN_BATCH}}},
    {"dx not wanted",
     {{.N = 3,
       .H = 5,
       .W = 5,
       .R = 2,
       .stride = 2,
       .K = 12,
       .C = {8, 8},
       .in = PN_NO_DX | PN_BATCH,
       .out = PN_BATCH}}},
    {"batch no multiple of the chunks",
     {{.N = 17,
       .H = 5,
       .W = 3,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 12,
       .C = {20},
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"gamma and beta, negative and zero: what is 0 outside the image is r, not x",
     {{.N = 3,
       .H = 6,
       .W = 6,
       .R = 3,
       .stride = 1,
       .pad = 1,
       .K = 24,
       .C = {24, 8},
       .in = PN_BATCH | PN_AFFINE,
       .out = PN_BATCH | PN_AFFINE}}},
    {"running statistics",
     {{.N = 3,
       .H = 6,
       .W = 6,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 24,
       .C = {24, 8},
       .in = PN_RUNNING,
       .out = PN_RUNNING}}},
    {"running statistics, gamma learnt",
     {{.N = 3,
       .H = 6,
       .W = 6,
       .R = 2,
       .stride = 2,
       .K = 24,
       .C = {24, 8},
       .in = PN_RUNNING | PN_AFFINE,
       .out = PN_RUNNING | PN_AFFINE}}},
    {"no norm at all, weighted per image",
     {{.N = 4,
       .H = 4,
       .W = 4,
       .R = 3,
       .stride = 1,
       .pad = 1,
       .K = 16,
       .C = {16},
       .out = PN_FACTOR}}},
    {"jobs of different shapes",
     {{.N = 4,
       .H = 4,
       .W = 4,
       .R = 3,
       .stride = 1,
       .pad = 1,
       .K = 16,
       .C = {16, 8},
       .out = PN_BATCH},
      {.N = 2,
       .H = 9,
       .W = 9,
       .R = 5,
       .stride = 2,
       .pad = 2,
       .K = 4,
       .C = {36},
       .in = PN_BATCH,
       .out = PN_BATCH},
      {.N = 1, .H = 1, .W = 3, .R = 1, .stride = 2, .K = 8, .C = {4, 4, 4}}}},
    {"jobs of different windows that share dx",
     {{.N = 3,
       .H = 8,
       .W = 8,
       .R = 3,
       .stride = 2,
       .pad = 1,
       .K = 16,
       .C = {16, 16},
       .in = PN_BATCH,
       .out = PN_BATCH},
      {.N = 3,
       .H = 8,
       .W = 8,
       .R = 1,
       .stride = 1,
       .K = 32,
       .C = {16, 16},
       .out = PN_BATCH,
       .shares = true},
      {.N = 3,
       .H = 8,
       .W = 8,
       .R = 4,
       .stride = 3,
       .mean = 1,
       .K = 4,
       .C = {16, 16},
       .shares = true}}},
    {"jobs that share dx and add to it",
     {{.N = 3, .H = 4, .W = 4, .R = 2, .stride = 1, .K = 8, .C = {8, 12}, .in = PN_ADD | PN_BATCH},
      {.N = 3, .H = 4, .W = 4, .R = 3, .stride = 1, .pad = 1, .K = 8, .C = {8, 12}, .shares = true},
      {.N = 3, .H = 4, .W = 4, .R = 4, .stride = 1, .K = 8, .C = {8}},
      {.N = 3, .H = 4, .W = 4, .R = 2, .stride = 3, .K = 12, .C = {8}, .shares = true}}},
    {"two that share dx, an image for each thread",
     {{.N = 17, .H = 4, .W = 3, .R = 3, .stride = 2, .pad = 1, .K = 8, .C = {20}, .in = PN_BATCH},
      {.N = 17, .H = 4, .W = 3, .R = 1, .stride = 1, .K = 36, .C = {20}, .shares = true}}},
    {"four that share dx, an image for each thread",
     {{.N = 33, .H = 3, .W = 4, .R = 2, .stride = 1, .K = 4, .C = {8, 4}, .in = PN_BATCH},
      {.N = 33, .H = 3, .W = 4, .R = 3, .stride = 2, .K = 12, .C = {8, 4}, .shares = true},
      {.N = 33, .H = 3, .W = 4, .R = 1, .stride = 3, .K = 40, .C = {8, 4}, .shares = true},
      {.N = 33,
       .H = 3,
       .W = 4,
       .R = 2,
       .stride = 2,
       .mean = 1,
       .K = 4,
       .C = {8, 4},
       .shares = true}}},
};

static int outputs_of(const pn_conv *s) {
    return pn_conv_size(s->H, s->R, s->stride, s->pad) *
           pn_conv_size(s->W, s->R, s->stride, s->pad);
}

static pn_conv new_job(pn_set *set, const row *r, const pn_conv *before) {
    pn_conv s = {.N = r->N,
                 .H = r->H,
                 .W = r->W,
                 .R = r->R,
                 .stride = r->stride,
                 .pad = r->pad,
                 .mean = r->mean,
                 .shares_dx = r->shares};
    const int outputs = outputs_of(&s), taps = s.R * s.R;
    int C = 0;
    for (; s.parts < PN_PARTS && r->C[s.parts]; s.parts++) C += r->C[s.parts];
    /* A share of 1/9 or 1/25 is rounded, 1/4 and 1/16 are not. */
    if (s.mean && s.R % 2 && s.R > 1) set->exact = false;
    for (int part = 0; part < s.parts; part++)
        if (r->shares) {
            s.in[part] = before->in[part];
            s.in[part].add = 1;
        } else {
            s.in[part] = pn_set_input(set, (size_t)s.N * s.H * s.W, r->C[part],
                                      r->in | r->also[part], r->K + taps + 16);
        }
    s.out = pn_set_output(set, s.N, outputs, r->K, r->out, taps * C + 16);
    const size_t weights = (size_t)(s.mean ? 1 : taps) * C * r->K;
    s.w = pn_set_data(set, "w", weights, 1, 1);
    s.dw = pn_set_result(set, "dw", weights, s.N * outputs + taps + 16, true);
    pn_set_find(set, s.dw)->must = set->backward;
    return s;
}

static int build(pn_set *set, const void *rows, void *jobs) {
    const row *r = rows;
    pn_conv *s = jobs;
    int count = 0;
    for (; count < PN_MAX_JOBS && r[count].N; count++)
        s[count] = new_job(set, &r[count], s + count - 1);
    return count;
}

PN_CALLS(conv)

static void magnitude(bool backward, const void *job, const pn_twins *t) {
    pn_conv s = *(const pn_conv *)job;
    s.out.coef = fabsf(s.out.coef);
    conv_twin(backward, &s, t);
}

static const pn_output *output(const void *job, size_t *pixels) {
    const pn_conv *s = job;
    *pixels = (size_t)s->N * outputs_of(s);
    return &s->out;
}

static const pn_subject subject = {"conv",    sizeof(pn_conv), conv_scratch, conv_run, conv_twin,
                                   magnitude, build,           output,       NULL};

static void test_call(void **state) {
    const struct call *c = *state;
    assert_int_equal(pn_check(&subject, c->why, c->job, (uint64_t)(c - calls)), 0);
}

static void combinations_nobody_thought_of(void **state) {
    (void)state;
    static const int likes[] = {
        0,        PN_BATCH, PN_BATCH | PN_AFFINE, PN_RUNNING, PN_RUNNING | PN_AFFINE,
        PN_NO_DX, PN_ADD,   PN_BATCH | PN_ADD};
    int failures = 0;
    pn_set dice = {.state = 1902};
    for (int i = 0; i < 60; i++) {
        row r[PN_MAX_JOBS] = {{.N = pn_set_whole(&dice, 1, 20),
                               .R = pn_set_whole(&dice, 1, 5),
                               .stride = pn_set_whole(&dice, 1, 3),
                               .mean = pn_set_whole(&dice, 0, 2) == 0}};
        r->pad = r->mean ? 0 : pn_set_whole(&dice, 0, r->R - 1);
        const int least = r->R > 2 * r->pad ? r->R - 2 * r->pad : 1;
        r->H = pn_set_whole(&dice, least, 9);
        r->W = pn_set_whole(&dice, least, 9);
        r->K = 4 * pn_set_whole(&dice, 1, 12);
        const int parts = pn_set_whole(&dice, 1, PN_PARTS);
        for (int part = 0; part < parts; part++) {
            r->C[part] = 4 * pn_set_whole(&dice, 1, 6);
            r->also[part] = likes[pn_set_whole(&dice, 0, 7)];
        }
        r->out = likes[pn_set_whole(&dice, 0, 4)] | (pn_set_whole(&dice, 0, 1) ? 0 : PN_FACTOR);
        char why[200];
        snprintf(
            why, sizeof why,
            "%d: N %d H %d W %d R %d stride %d pad %d mean %d K %d C %d %d %d %d also %d %d %d %d "
            "out %d",
            i, r->N, r->H, r->W, r->R, r->stride, r->pad, r->mean, r->K, r->C[0], r->C[1], r->C[2],
            r->C[3], r->also[0], r->also[1], r->also[2], r->also[3], r->out);
        failures += pn_check(&subject, why, r, 1000 + i);
    }
    assert_int_equal(failures, 0);
}

/* Two rows of three pixels under 2x2 windows: a convolution with pad 1 and stride 2, an average
 * with stride 1. What is negative does not count, what is outside is 0. */
static void by_hand(void **state) {
    (void)state;
    for (int mean = 0; mean < 2; mean++) {
        pn_set set;
        pn_set_begin(&set, 1, true, false);
        const row r = {.N = 1,
                       .H = 2,
                       .W = 3,
                       .R = 2,
                       .stride = 2 - mean,
                       .pad = !mean,
                       .mean = mean,
                       .K = 4,
                       .C = {4}};
        pn_conv s = new_job(&set, &r, NULL);
        pn_set_freeze(&set);
        const pn_twins t = pn_set_values(&set);
        const double a[6] = {1, -2, 3, 4, 5, -6};
        double *x = pn_at(&t, s.in[0].x), *w = pn_at(&t, s.w);
        memset(x, 0, 24 * sizeof *x);
        memset(w, 0, pn_set_find(&set, s.w)->count * sizeof *w);
        for (int i = 0; i < 6; i++) x[i * 4 + 2] = a[i];
        /* Output 0 weighs the four taps of channel 2 by 1, 10, 100, 1000; the average by 4. */
        for (int tap = 0; tap < (mean ? 1 : 4); tap++)
            w[(tap * 4 + 2) * 4] = mean ? 4 : pow(10, tap);
        pn_conv_fwd_ref(&s, &t);
        const double want[2][4] = {{1000, 3000, 10 * 4, 5}, {1 + 4 + 5, 3 + 5, 0, 0}};
        for (int i = 0; i < outputs_of(&s); i++) {
            assert_true(pn_at(&t, s.out.z)[i * 4] == want[mean][i]);
            assert_true(pn_at(&t, s.out.z)[i * 4 + 1] == 0);
        }
        pn_set_end(&set);
    }
}

/* Linear where ReLU is open: <dy, z> = <dx, x> summed over the parts = <dw, w>. */
static void adjoint(void **state) {
    (void)state;
    static const row rows[] = {
        {.N = 3,
         .H = 7,
         .W = 6,
         .R = 3,
         .stride = 2,
         .pad = 1,
         .K = 20,
         .C = {12, 36, 4},
         .in = PN_OPEN},
        {.N = 2, .H = 8, .W = 8, .R = 5, .stride = 3, .pad = 4, .K = 8, .C = {8, 8}, .in = PN_OPEN},
        {.N = 2,
         .H = 8,
         .W = 7,
         .R = 4,
         .stride = 3,
         .mean = 1,
         .K = 32,
         .C = {32, 16},
         .in = PN_OPEN}};
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int i = 0; i < 3 && pn_backend_at(backend); i++) {
            pn_set set;
            pn_set_begin(&set, 77 + i, true, true);
            pn_conv s = new_job(&set, &rows[i], NULL);
            const size_t weights = pn_set_find(&set, s.w)->count;
            memset(s.dw, 0, weights * sizeof *s.dw);
            assert_int_equal(pn_call(&subject, pn_backend_at(backend), false, &s, 1), PN_OK);
            assert_int_equal(pn_call(&subject, pn_backend_at(backend), true, &s, 1), PN_OK);
            const double want = pn_dot(s.out.dy, s.out.z, pn_set_find(&set, s.out.z)->count);
            assert_true(want != 0);
            assert_true(pn_dot(s.dw, s.w, weights) == want);
            double dx = 0;
            for (int part = 0; part < s.parts; part++)
                dx += pn_dot(s.in[part].dx, s.in[part].x, pn_set_find(&set, s.in[part].x)->count);
            assert_true(dx == want);
            pn_set_end(&set);
        }
}

static void bad_arguments(void **state) {
    (void)state;
    static const pn_flaw flaws[] = {
        {"no part", offsetof(pn_conv, parts), 0},
        {"five parts", offsetof(pn_conv, parts), PN_PARTS + 1},
        {"no image", offsetof(pn_conv, N), 0},
        {"negative height", offsetof(pn_conv, H), -5},
        {"no width", offsetof(pn_conv, W), 0},
        {"no window in the height", offsetof(pn_conv, H), 2},
        {"no window in the width", offsetof(pn_conv, W), 2},
        {"R 0", offsetof(pn_conv, R), 0},
        {"R 6", offsetof(pn_conv, R), 6},
        {"no stride", offsetof(pn_conv, stride), 0},
        {"stride 4", offsetof(pn_conv, stride), 4},
        {"negative pad", offsetof(pn_conv, pad), -1},
        {"a pad of R", offsetof(pn_conv, pad), 5},
        {"mean 2", offsetof(pn_conv, mean), 2},
        {"an average with pad", offsetof(pn_conv, mean), 1},
        {"6 channels in", offsetof(pn_conv, in[1].C), 6},
        {"no channels in", offsetof(pn_conv, in[0].C), 0},
        {"10 channels out", offsetof(pn_conv, out.K), 10},
        {"no norm of that number", offsetof(pn_conv, in[1].norm.mode), 7},
        {"norm without statistics", offsetof(pn_conv, out.norm.stats), PN_NULL},
        {"no x", offsetof(pn_conv, in[1].x), PN_NULL},
        {"no weights", offsetof(pn_conv, w), PN_NULL},
    };
    static const pn_flaw of_pass[2][2] = {
        {{"no z", offsetof(pn_conv, out.z), PN_NULL}},
        {{"no dy", offsetof(pn_conv, out.dy), PN_NULL}, {"no dw", offsetof(pn_conv, dw), PN_NULL}},
    };
    const row good = {.N = 2,
                      .H = 5,
                      .W = 5,
                      .R = 5,
                      .stride = 2,
                      .pad = 1,
                      .K = 8,
                      .C = {8, 4},
                      .in = PN_BATCH,
                      .out = PN_BATCH};
    const row r[PN_MAX_JOBS] = {good, good};
    static const pn_flaw sharing[] = {
        {"the second to share dx overwrites it", offsetof(pn_conv, in[0].add), 0},
        {"shares dx and does not say so", offsetof(pn_conv, shares_dx), 0},
        {"shares_dx 2", offsetof(pn_conv, shares_dx), 2}};
    static const pn_flaw alone = {"shares no dx and says so", offsetof(pn_conv, shares_dx), 1};
    row sharers[PN_MAX_JOBS];
    memcpy(sharers, r, sizeof r);
    sharers[1].shares = true;
    int failures = pn_check_flaws(&subject, true, sharers, sharing, 3);
    failures += pn_check_flaws(&subject, true, r, &alone, 1);
    for (int backward = 0; backward < 2; backward++) {
        failures += pn_check_flaws(&subject, backward, r, flaws, sizeof flaws / sizeof *flaws);
        failures += pn_check_flaws(&subject, backward, r, of_pass[backward], 1 + backward);
    }
    assert_int_equal(failures, 0);
}

static void scratch_depends_on_shapes_only(void **state) {
    (void)state;
    const row r[PN_MAX_JOBS] = {{.N = 5,
                                 .H = 9,
                                 .W = 7,
                                 .R = 3,
                                 .stride = 2,
                                 .pad = 1,
                                 .K = 20,
                                 .C = {20, 8},
                                 .in = PN_BATCH,
                                 .out = PN_BATCH}};
    const pn_conv bare = {.N = 5,
                          .H = 9,
                          .W = 7,
                          .parts = 2,
                          .R = 3,
                          .stride = 2,
                          .pad = 1,
                          .in = {{.C = 20, .norm = {.mode = PN_NORM_BATCH}},
                                 {.C = 8, .norm = {.mode = PN_NORM_BATCH}}},
                          .out = {.K = 20, .norm = {.mode = PN_NORM_BATCH}}};
    assert_int_equal(pn_check_scratch(&subject, r, &bare), 0);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(combinations_nobody_thought_of),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(adjoint),
        cmocka_unit_test(scratch_depends_on_shapes_only),
        cmocka_unit_test(bad_arguments),
    };
    return pn_run_rows("conv", calls, sizeof *calls, (int)(sizeof calls / sizeof *calls), test_call,
                       others, (int)(sizeof others / sizeof *others));
}
