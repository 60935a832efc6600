/* test_conv1x1.c -- ReLU and 1x1 convolution of a concatenation, against plain loops. */
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
    int N, H, W, K;
    int C[PN_PARTS], in, also[PN_PARTS];
    int out;
    bool shares; /* the inputs of the job before, adding to the same dx */
} row;

static const struct call {
    const char *why;
    row job[PN_MAX_JOBS];
} calls[] = {
    {"evaluation cells of 144 channels",
     {{.N = 2,
       .H = 9,
       .W = 9,
       .K = 144,
       .C = {144, 144, 144, 144},
       .in = PN_BATCH | PN_AFFINE,
       .out = PN_BATCH}}},
    {"as wide as a card takes",
     {{.N = 1,
       .H = 5,
       .W = 5,
       .K = 1024,
       .C = {1024, 4},
       .in = PN_BATCH,
       .out = PN_BATCH | PN_FACTOR}}},
    {"more tiles than a card's blocks",
     {{.N = 40, .H = 32, .W = 64, .K = 16, .C = {12}, .out = PN_BATCH | PN_FACTOR}}},
    {"jobs that share dx, K of all kinds",
     {{.N = 3, .H = 8, .W = 9, .K = 16, .C = {80, 40}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 3, .H = 8, .W = 9, .K = 516, .C = {80, 40}, .shares = true, .out = PN_BATCH},
      {.N = 3,
       .H = 8,
       .W = 9,
       .K = 100,
       .C = {80, 40},
       .shares = true,
       .out = PN_BATCH | PN_AFFINE}}},
    {"one pixel", {{.N = 1, .H = 1, .W = 1, .K = 4, .C = {4}, .in = PN_OPEN}}},
    {"one pixel, normalised: no variance",
     {{.N = 1, .H = 1, .W = 1, .K = 8, .C = {8}, .in = PN_BATCH, .out = PN_BATCH | PN_AFFINE}}},
    {"two pixels: unbiased variance is twice the biased",
     {{.N = 1, .H = 1, .W = 2, .K = 8, .C = {8}, .in = PN_BATCH, .out = PN_BATCH | PN_AFFINE}}},
    {"one pixel of each image",
     {{.N = 19, .H = 1, .W = 1, .K = 8, .C = {12}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"first cell: the stem's 48 channels to 16",
     {{.N = 2, .H = 32, .W = 32, .K = 16, .C = {48}, .in = PN_BATCH | PN_AFFINE, .out = PN_BATCH}}},
    {"cells of 16: four parts to 16",
     {{.N = 2, .H = 32, .W = 32, .K = 16, .C = {16, 16, 16, 16}, .out = PN_BATCH}}},
    {"cells of 32: four parts to 32",
     {{.N = 3, .H = 16, .W = 16, .K = 32, .C = {32, 32, 32, 32}, .out = PN_BATCH}}},
    {"cells of 64: four parts to 64",
     {{.N = 2, .H = 8, .W = 8, .K = 64, .C = {64, 64, 64, 64}, .out = PN_BATCH}}},
    {"more channels out than in",
     {{.N = 2, .H = 8, .W = 8, .K = 128, .C = {36}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"cells of 36",
     {{.N = 2, .H = 9, .W = 7, .K = 36, .C = {36, 36, 36, 36}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"four channels to four",
     {{.N = 2, .H = 6, .W = 5, .K = 4, .C = {4}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"parts of different widths",
     {{.N = 3, .H = 7, .W = 5, .K = 20, .C = {4, 36, 8, 20}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"parts with different norms",
     {{.N = 3,
       .H = 5,
       .W = 5,
       .K = 12,
       .C = {8, 8, 12, 4},
       .also = {0, PN_BATCH, PN_RUNNING | PN_AFFINE, PN_BATCH | PN_AFFINE},
       .out = PN_BATCH}}},
    {"dx of two parts only, one of them added to",
     {{.N = 3,
       .H = 5,
       .W = 5,
       .K = 12,
       .C = {8, 8, 12, 4},
       .in = PN_BATCH,
       .also = {0, PN_NO_DX, PN_ADD, PN_NO_DX},
       .out = PN_BATCH}}},
    {"dx not wanted",
     {{.N = 3, .H = 5, .W = 5, .K = 12, .C = {8, 8}, .in = PN_NO_DX | PN_BATCH, .out = PN_BATCH}}},
    {"28 wide", {{.N = 1, .H = 28, .W = 28, .K = 8, .C = {12}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"224 wide",
     {{.N = 1, .H = 3, .W = 224, .K = 8, .C = {4, 4}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"batch no multiple of the chunks",
     {{.N = 17, .H = 5, .W = 3, .K = 12, .C = {20}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"gamma and beta, negative and zero",
     {{.N = 3,
       .H = 6,
       .W = 6,
       .K = 24,
       .C = {24, 8},
       .in = PN_BATCH | PN_AFFINE,
       .out = PN_BATCH | PN_AFFINE}}},
    {"running statistics",
     {{.N = 3, .H = 6, .W = 6, .K = 24, .C = {24, 8}, .in = PN_RUNNING, .out = PN_RUNNING}}},
    {"running statistics, gamma learnt",
     {{.N = 3,
       .H = 6,
       .W = 6,
       .K = 24,
       .C = {24, 8},
       .in = PN_RUNNING | PN_AFFINE,
       .out = PN_RUNNING | PN_AFFINE}}},
    {"no norm at all, weighted per image",
     {{.N = 4, .H = 4, .W = 4, .K = 16, .C = {16}, .out = PN_FACTOR}}},
    {"jobs of different shapes",
     {{.N = 4, .H = 4, .W = 4, .K = 16, .C = {16, 8}, .out = PN_BATCH},
      {.N = 2, .H = 9, .W = 9, .K = 4, .C = {36}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 1, .H = 1, .W = 3, .K = 8, .C = {4, 4, 4}}}},
    {"jobs that share dx",
     {{.N = 3, .H = 8, .W = 8, .K = 16, .C = {16, 16, 16, 16}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 3, .H = 8, .W = 8, .K = 32, .C = {16, 16, 16, 16}, .out = PN_BATCH, .shares = true},
      {.N = 3, .H = 8, .W = 8, .K = 4, .C = {16, 16, 16, 16}, .shares = true}}},
    {"jobs that share dx and add to it",
     {{.N = 3, .H = 4, .W = 4, .K = 8, .C = {8, 12}, .in = PN_ADD | PN_BATCH},
      {.N = 3, .H = 4, .W = 4, .K = 8, .C = {8, 12}, .shares = true},
      {.N = 3, .H = 4, .W = 4, .K = 8, .C = {8}},
      {.N = 3, .H = 4, .W = 4, .K = 12, .C = {8}, .shares = true}}},
    {"two that share dx, an image for each thread, 4 channels",
     {{.N = 17, .H = 4, .W = 3, .K = 4, .C = {4}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 17, .H = 4, .W = 3, .K = 8, .C = {4}, .out = PN_BATCH, .shares = true}}},
    {"two that share dx, an image for each thread, 8 channels",
     {{.N = 17, .H = 4, .W = 3, .K = 8, .C = {8}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 17, .H = 4, .W = 3, .K = 8, .C = {8}, .out = PN_BATCH, .shares = true}}},
    {"two that share dx, an image for each thread, 16 channels",
     {{.N = 17, .H = 4, .W = 3, .K = 16, .C = {16}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 17, .H = 4, .W = 3, .K = 32, .C = {16}, .out = PN_BATCH, .shares = true}}},
    {"two that share dx, an image for each thread, 36 channels",
     {{.N = 17, .H = 4, .W = 3, .K = 36, .C = {36}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 17, .H = 4, .W = 3, .K = 72, .C = {36}, .out = PN_BATCH, .shares = true}}},
    {"two that share dx, an image for each thread, 64 channels",
     {{.N = 17, .H = 4, .W = 3, .K = 64, .C = {64}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 17, .H = 4, .W = 3, .K = 64, .C = {64}, .out = PN_BATCH, .shares = true}}},
    {"four that share dx, an image for each thread, 8 channels",
     {{.N = 33, .H = 3, .W = 4, .K = 8, .C = {8}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 33, .H = 3, .W = 4, .K = 32, .C = {8}, .out = PN_BATCH, .shares = true},
      {.N = 33, .H = 3, .W = 4, .K = 4, .C = {8}, .shares = true},
      {.N = 33, .H = 3, .W = 4, .K = 20, .C = {8}, .out = PN_BATCH, .shares = true}}},
    {"four that share dx, an image for each thread, 32 channels",
     {{.N = 33, .H = 3, .W = 4, .K = 8, .C = {32}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 33, .H = 3, .W = 4, .K = 32, .C = {32}, .out = PN_BATCH, .shares = true},
      {.N = 33, .H = 3, .W = 4, .K = 4, .C = {32}, .shares = true},
      {.N = 33, .H = 3, .W = 4, .K = 20, .C = {32}, .out = PN_BATCH, .shares = true}}},
    {"four that share dx, an image for each thread, 24 and 40 channels",
     {{.N = 33, .H = 3, .W = 4, .K = 8, .C = {24, 40}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 33, .H = 3, .W = 4, .K = 32, .C = {24, 40}, .out = PN_BATCH, .shares = true},
      {.N = 33, .H = 3, .W = 4, .K = 4, .C = {24, 40}, .shares = true},
      {.N = 33, .H = 3, .W = 4, .K = 20, .C = {24, 40}, .out = PN_BATCH, .shares = true}}},
    {"two groups of two",
     {{.N = 16, .H = 3, .W = 3, .K = 8, .C = {8, 8}, .in = PN_BATCH},
      {.N = 16, .H = 3, .W = 3, .K = 64, .C = {8, 8}, .shares = true},
      {.N = 20, .H = 2, .W = 3, .K = 16, .C = {32}, .in = PN_ADD},
      {.N = 20, .H = 2, .W = 3, .K = 12, .C = {32}, .shares = true}}},
};

static int channels(const row *r, int *parts) {
    int C = 0;
    for (*parts = 0; *parts < PN_PARTS && r->C[*parts]; ++*parts) C += r->C[*parts];
    return C;
}

static pn_conv1x1 new_job(pn_set *set, const row *r, const pn_conv1x1 *before) {
    pn_conv1x1 s = {.N = r->N, .H = r->H, .W = r->W, .shares_dx = r->shares};
    const int C = channels(r, &s.parts), pixels = s.N * s.H * s.W;
    for (int part = 0; part < s.parts; part++)
        if (r->shares) {
            s.in[part] = before->in[part];
            s.in[part].add = 1;
        } else {
            s.in[part] = pn_set_input(set, pixels, r->C[part], r->in | r->also[part], r->K + 16);
        }
    s.out = pn_set_output(set, s.N, (size_t)s.H * s.W, r->K, r->out, C + 16);
    s.w = pn_set_data(set, "w", (size_t)C * r->K, 1, 1);
    s.dw = pn_set_result(set, "dw", (size_t)C * r->K, pixels + 16, true);
    pn_set_find(set, s.dw)->must = set->backward;
    return s;
}

static int build(pn_set *set, const void *rows, void *jobs) {
    const row *r = rows;
    pn_conv1x1 *s = jobs;
    int count = 0;
    for (; count < PN_MAX_JOBS && r[count].N; count++)
        s[count] = new_job(set, &r[count], s + count - 1);
    return count;
}

PN_CALLS(conv1x1)

static void magnitude(bool backward, const void *job, const pn_twins *t) {
    pn_conv1x1 s = *(const pn_conv1x1 *)job;
    s.out.coef = fabsf(s.out.coef);
    conv1x1_twin(backward, &s, t);
}

static const pn_output *output(const void *job, size_t *pixels) {
    const pn_conv1x1 *s = job;
    *pixels = (size_t)s->N * s->H * s->W;
    return &s->out;
}

static const pn_subject subject = {"conv1x1",    sizeof(pn_conv1x1), conv1x1_scratch, conv1x1_run,
                                   conv1x1_twin, magnitude,          build,           output,
                                   NULL};

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
                               .H = pn_set_whole(&dice, 1, 9),
                               .W = pn_set_whole(&dice, 1, 9)}};
        r->K = 4 * pn_set_whole(&dice, 1, 20);
        const int parts = pn_set_whole(&dice, 1, PN_PARTS);
        for (int part = 0; part < parts; part++) {
            r->C[part] = 4 * pn_set_whole(&dice, 1, 17);
            r->also[part] = likes[pn_set_whole(&dice, 0, 7)];
        }
        r->out = likes[pn_set_whole(&dice, 0, 4)] | (pn_set_whole(&dice, 0, 1) ? 0 : PN_FACTOR);
        for (int j = 1; j <= i % 3; j++) { /* others that share its inputs' dx */
            r->also[0] &= ~PN_NO_DX;
            r[j] = r[0];
            r[j].shares = true;
            r[j].K = 4 * pn_set_whole(&dice, 1, 8);
        }
        char why[200];
        snprintf(why, sizeof why, "%d: N %d H %d W %d K %d C %d %d %d %d also %d %d %d %d out %d",
                 i, r->N, r->H, r->W, r->K, r->C[0], r->C[1], r->C[2], r->C[3], r->also[0],
                 r->also[1], r->also[2], r->also[3], r->out);
        failures += pn_check(&subject, why, r, 1000 + i);
    }
    assert_int_equal(failures, 0);
}

/* Two pixels of four and four channels; what is negative does not count. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_conv1x1 s;
    pn_set_begin(&set, 1, true, false);
    s = new_job(&set, &(row){.N = 1, .H = 1, .W = 2, .K = 4, .C = {4, 4}}, NULL);
    pn_set_freeze(&set);
    const pn_twins t = pn_set_values(&set);
    const double a[8] = {1, -2, 3, 4, -5, 6, 7, 8}, b[8] = {10, 20, -30, 40, 50, 60, 70, -80};
    memcpy(pn_at(&t, s.in[0].x), a, sizeof a);
    memcpy(pn_at(&t, s.in[1].x), b, sizeof b);
    double *w = pn_at(&t, s.w);
    for (int c = 0; c < 8; c++) /* all channels; the last of each part; twice the first; none */
        memcpy(w + c * 4, (double[]){1, c % 4 == 3, c == 0 ? 2 : 0, 0}, 4 * sizeof *w);
    pn_conv1x1_fwd_ref(&s, &t);
    const double want[8] = {78, 44, 2, 0, 201, 8, 0, 0};
    for (int i = 0; i < 8; i++) assert_true(pn_at(&t, s.out.z)[i] == want[i]);
    pn_set_end(&set);
}

/* Linear where ReLU is open: <dy, z> = <dx, x> summed over the parts = <dw, w>. */
static void adjoint(void **state) {
    (void)state;
    static const row rows[] = {
        {.N = 3, .H = 7, .W = 6, .K = 20, .C = {12, 36, 4}, .in = PN_OPEN},
        {.N = 2, .H = 8, .W = 8, .K = 32, .C = {32, 32, 32, 32}, .in = PN_OPEN}};
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int i = 0; i < 2 && pn_backend_at(backend); i++) {
            pn_set set;
            pn_set_begin(&set, 77 + i, true, true);
            pn_conv1x1 s = new_job(&set, &rows[i], NULL);
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

/* A channel whose mean is 1000 times its spread: sums of squares without a pivot have no digit of
 * the variance left. The bound on rstd (check.c) is in terms of the spread. */
static void variance_far_from_zero(void **state) {
    (void)state;
    static pn_set set;
    pn_set_begin(&set, 3, false, false);
    pn_conv1x1 s =
        new_job(&set, &(row){.N = 8, .H = 8, .W = 8, .K = 8, .C = {4}, .out = PN_BATCH}, NULL);
    for (size_t i = 0; i < 512 * 4; i++)
        ((float *)s.in[0].x)[i] = i % 4 ? 1000 : (float)pn_set_real(&set, 0.5, 1.5);
    for (int i = 0; i < 32; i++) ((float *)s.w)[i] = i / 8 < 2;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        assert_int_equal(pn_call(&subject, pn_backend_at(backend), false, &s, 1), PN_OK);
        double mean = 0, variance = 0;
        for (int i = 0; i < 512; i++) mean += s.out.z[i * 8] / 512.0;
        for (int i = 0; i < 512; i++) variance += pow(s.out.z[i * 8] - mean, 2) / 512;
        /* Range 1, n = 512: g(3n+8) = 9.2e-5 of variance 1/12, half of it relative in rstd. */
        for (int k = 0; k < 8; k++)
            assert_true(fabs(s.out.norm.stats[8 + k] * sqrt(variance + 1e-5) - 1) < 6e-4);
    }
    pn_set_end(&set);
}

static void bad_arguments(void **state) {
    (void)state;
    static const pn_flaw flaws[] = {
        {"no part", offsetof(pn_conv1x1, parts), 0},
        {"five parts", offsetof(pn_conv1x1, parts), PN_PARTS + 1},
        {"no image", offsetof(pn_conv1x1, N), 0},
        {"negative height", offsetof(pn_conv1x1, H), -5},
        {"no width", offsetof(pn_conv1x1, W), 0},
        {"6 channels in", offsetof(pn_conv1x1, in[1].C), 6},
        {"no channels in", offsetof(pn_conv1x1, in[0].C), 0},
        {"10 channels out", offsetof(pn_conv1x1, out.K), 10},
        {"no norm of that number", offsetof(pn_conv1x1, in[1].norm.mode), 7},
        {"norm without statistics", offsetof(pn_conv1x1, out.norm.stats), PN_NULL},
        {"no x", offsetof(pn_conv1x1, in[1].x), PN_NULL},
        {"no weights", offsetof(pn_conv1x1, w), PN_NULL},
    };
    static const pn_flaw of_pass[2][2] = {
        {{"no z", offsetof(pn_conv1x1, out.z), PN_NULL}},
        {{"no dy", offsetof(pn_conv1x1, out.dy), PN_NULL},
         {"no dw", offsetof(pn_conv1x1, dw), PN_NULL}},
    };
    const row r[PN_MAX_JOBS] = {
        {.N = 2, .H = 5, .W = 5, .K = 8, .C = {8, 4}, .in = PN_BATCH, .out = PN_BATCH},
        {.N = 2, .H = 5, .W = 5, .K = 8, .C = {8, 4}, .in = PN_BATCH, .out = PN_BATCH}};
    static const pn_flaw sharing[] = {
        {"the second to share dx overwrites it", offsetof(pn_conv1x1, in[0].add), 0},
        {"shares dx and does not say so", offsetof(pn_conv1x1, shares_dx), 0},
        {"shares_dx 2", offsetof(pn_conv1x1, shares_dx), 2}};
    static const pn_flaw alone = {"shares no dx and says so", offsetof(pn_conv1x1, shares_dx), 1};
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
    const row r[PN_MAX_JOBS] = {
        {.N = 5, .H = 9, .W = 7, .K = 20, .C = {20, 8}, .in = PN_BATCH, .out = PN_BATCH}};
    const pn_conv1x1 bare = {.N = 5,
                             .H = 9,
                             .W = 7,
                             .parts = 2,
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
        cmocka_unit_test(variance_far_from_zero),
        cmocka_unit_test(scratch_depends_on_shapes_only),
        cmocka_unit_test(bad_arguments),
    };
    return pn_run_rows("conv1x1", calls, sizeof *calls, (int)(sizeof calls / sizeof *calls),
                       test_call, others, (int)(sizeof others / sizeof *others));
}
