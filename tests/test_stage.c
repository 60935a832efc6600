/* test_stage.c -- ReLU, depthwise, pointwise: the kernels against plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"

/* One job; zero in R, dilation, stride means 3, 1, 1. */
typedef struct row {
    int N, H, W, C, R, dilation, stride;
    int in, out; /* see jobs.h */
    bool shares; /* the input of the job before, adding to the same dx */
} row;

/* A call of one job or more. */
static const struct call {
    const char *why;
    row job[PN_MAX_JOBS];
} calls[] = {
    {"one pixel", {{.N = 1, .H = 1, .W = 1, .C = 4, .in = PN_OPEN}}},
    {"one pixel a batch, normalised",
     {{.N = 3, .H = 1, .W = 1, .C = 8, .R = 5, .in = PN_BATCH, .out = PN_BATCH}}},
    {"filter wider than the image", {{.N = 2, .H = 2, .W = 3, .C = 8, .R = 5, .dilation = 2}}},
    {"one column", {{.N = 2, .H = 9, .W = 1, .C = 4, .R = 5, .in = PN_BATCH, .out = PN_BATCH}}},
    {"one row, stride 2",
     {{.N = 2, .H = 1, .W = 9, .C = 4, .R = 3, .stride = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"odd everything",
     {{.N = 3, .H = 7, .W = 9, .C = 20, .R = 5, .in = PN_BATCH, .out = PN_BATCH}}},
    {"four channels: less than any vector",
     {{.N = 2, .H = 6, .W = 5, .C = 4, .in = PN_BATCH, .out = PN_BATCH}}},
    {"a multiple of 4 and of nothing else",
     {{.N = 2, .H = 8, .W = 8, .C = 36, .in = PN_BATCH, .out = PN_BATCH}}},
    {"the first cells, 3x3",
     {{.N = 2, .H = 32, .W = 32, .C = 16, .in = PN_BATCH, .out = PN_BATCH | PN_FACTOR}}},
    {"the middle cells, 5x5",
     {{.N = 2, .H = 16, .W = 16, .C = 32, .R = 5, .in = PN_BATCH, .out = PN_BATCH | PN_FACTOR}}},
    {"the last cells, 5x5 dilated",
     {{.N = 3, .H = 8, .W = 8, .C = 64, .R = 5, .dilation = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"into the first reduction",
     {{.N = 2, .H = 32, .W = 32, .C = 32, .stride = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"28 wide, MNIST's size",
     {{.N = 1, .H = 28, .W = 28, .C = 8, .R = 5, .in = PN_BATCH, .out = PN_BATCH}}},
    {"14 wide",
     {{.N = 2, .H = 14, .W = 14, .C = 16, .dilation = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"7 wide, stride 2",
     {{.N = 2, .H = 7, .W = 7, .C = 32, .R = 5, .stride = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"224 wide", {{.N = 1, .H = 5, .W = 224, .C = 4, .in = PN_BATCH, .out = PN_BATCH}}},
    {"odd size, stride 2, dilation 2",
     {{.N = 2,
       .H = 11,
       .W = 13,
       .C = 8,
       .R = 5,
       .dilation = 2,
       .stride = 2,
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"even size, stride 2, dilation 2",
     {{.N = 2,
       .H = 10,
       .W = 6,
       .C = 8,
       .R = 3,
       .dilation = 2,
       .stride = 2,
       .in = PN_BATCH,
       .out = PN_BATCH}}},
    {"batch no multiple of the chunks",
     {{.N = 17, .H = 5, .W = 5, .C = 12, .in = PN_BATCH, .out = PN_BATCH}}},
    {"a large batch of small images",
     {{.N = 70, .H = 2, .W = 2, .C = 8, .in = PN_BATCH, .out = PN_BATCH}}},
    {"gamma and beta, negative and zero",
     {{.N = 4, .H = 6, .W = 7, .C = 24, .in = PN_BATCH | PN_AFFINE, .out = PN_BATCH | PN_AFFINE}}},
    {"running statistics",
     {{.N = 2, .H = 6, .W = 6, .C = 16, .in = PN_RUNNING, .out = PN_RUNNING}}},
    {"running statistics, gamma learnt",
     {{.N = 2,
       .H = 6,
       .W = 6,
       .C = 16,
       .in = PN_RUNNING | PN_AFFINE,
       .out = PN_RUNNING | PN_AFFINE}}},
    {"gamma without gradient",
     {{.N = 2,
       .H = 6,
       .W = 6,
       .C = 16,
       .in = PN_BATCH | PN_FROZEN,
       .out = PN_RUNNING | PN_FROZEN}}},
    {"no norm at all", {{.N = 2, .H = 9, .W = 8, .C = 16, .R = 5}}},
    {"adds to dx and sums",
     {{.N = 3, .H = 6, .W = 6, .C = 16, .in = PN_BATCH | PN_ADD, .out = PN_BATCH}}},
    {"dx not wanted",
     {{.N = 3, .H = 6, .W = 6, .C = 16, .in = PN_BATCH | PN_NO_DX, .out = PN_BATCH}}},
    {"weighted per image", {{.N = 5, .H = 4, .W = 4, .C = 8, .in = PN_BATCH, .out = PN_FACTOR}}},
    {"more tiles than a card's blocks",
     {{.N = 140, .H = 5, .W = 4, .C = 8, .in = PN_BATCH, .out = PN_BATCH}}},
    {"channels in many slices",
     {{.N = 1, .H = 9, .W = 7, .C = 260, .R = 5, .in = PN_BATCH, .out = PN_BATCH}}},
    {"as wide as a card takes",
     {{.N = 1, .H = 2, .W = 3, .C = 1024, .in = PN_BATCH, .out = PN_BATCH}}},
    {"jobs of different shapes",
     {{.N = 4, .H = 8, .W = 8, .C = 16, .R = 5, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 4, .H = 16, .W = 16, .C = 8, .stride = 2, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 1, .H = 3, .W = 3, .C = 36, .dilation = 2}}},
    {"jobs that share dx",
     {{.N = 3, .H = 8, .W = 8, .C = 16, .R = 5, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 3, .H = 8, .W = 8, .C = 16, .in = PN_BATCH, .out = PN_BATCH, .shares = true},
      {.N = 3,
       .H = 8,
       .W = 8,
       .C = 16,
       .stride = 2,
       .in = PN_BATCH,
       .out = PN_BATCH,
       .shares = true}}},
    {"jobs that share dx and add to it",
     {{.N = 3, .H = 4, .W = 4, .C = 8, .in = PN_ADD | PN_BATCH},
      {.N = 3, .H = 4, .W = 4, .C = 8, .in = PN_BATCH, .shares = true},
      {.N = 3, .H = 4, .W = 4, .C = 8, .R = 5},
      {.N = 3, .H = 4, .W = 4, .C = 8, .dilation = 2, .shares = true}}},
    {"two that share dx, an image for each thread",
     {{.N = 17, .H = 4, .W = 3, .C = 36, .R = 5, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 17, .H = 4, .W = 3, .C = 36, .stride = 2, .out = PN_BATCH, .shares = true}}},
    {"four that share dx, an image for each thread",
     {{.N = 33, .H = 3, .W = 3, .C = 16, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 33, .H = 3, .W = 3, .C = 16, .R = 5, .out = PN_BATCH, .shares = true},
      {.N = 33, .H = 3, .W = 3, .C = 16, .dilation = 2, .shares = true},
      {.N = 33, .H = 3, .W = 3, .C = 16, .R = 5, .stride = 2, .shares = true}}},
};

static pn_stage new_job(pn_set *set, const row *r, const pn_stage *before) {
    pn_stage s = {.N = r->N, .H = r->H, .W = r->W, .R = r->R ? r->R : 3};
    s.dilation = r->dilation ? r->dilation : 1;
    s.stride = r->stride ? r->stride : 1;
    const int P = pn_out_size(s.H, s.stride), Q = pn_out_size(s.W, s.stride), taps = s.R * s.R;
    const int chain = taps + r->C + 16; /* roundings of z and dx: both convolutions, both norms */
    s.shares_dx = r->shares;
    if (r->shares) {
        s.in = before->in;
        s.in.add = 1;
    } else {
        s.in = pn_set_input(set, (size_t)s.N * s.H * s.W, r->C, r->in, chain);
    }
    s.out = pn_set_output(set, s.N, (size_t)P * Q, r->C, r->out, chain);
    s.dw = pn_set_data(set, "dw", (size_t)taps * r->C, 1, 1);
    s.pw = pn_set_data(set, "pw", (size_t)r->C * r->C, 1, 1);
    const int sums = s.N * P * Q + chain;
    s.ddw = pn_set_result(set, "ddw", (size_t)taps * r->C, sums, true);
    s.dpw = pn_set_result(set, "dpw", (size_t)r->C * r->C, sums, true);
    pn_set_find(set, s.ddw)->must = pn_set_find(set, s.dpw)->must = set->backward;
    return s;
}

static int build(pn_set *set, const void *rows, void *jobs) {
    const row *r = rows;
    pn_stage *s = jobs;
    int count = 0;
    for (; count < PN_MAX_JOBS && r[count].N; count++)
        s[count] = new_job(set, &r[count], s + count - 1);
    return count;
}

PN_CALLS(stage)

static void magnitude(bool backward, const void *job, const pn_twins *t) {
    pn_stage s = *(const pn_stage *)job;
    s.out.coef = fabsf(s.out.coef);
    stage_twin(backward, &s, t);
}

static const pn_output *output(const void *job, size_t *pixels) {
    const pn_stage *s = job;
    *pixels = (size_t)s->N * pn_out_size(s->H, s->stride) * pn_out_size(s->W, s->stride);
    return &s->out;
}

static const pn_subject subject = {"stage",   sizeof(pn_stage), stage_scratch,
                                   stage_run, stage_twin,       magnitude,
                                   build,     output,           NULL};

static void test_call(void **state) {
    const struct call *c = *state;
    assert_int_equal(pn_check(&subject, c->why, c->job, (uint64_t)(c - calls)), 0);
}

static void combinations_nobody_thought_of(void **state) {
    (void)state;
    static const int likes[] = {0,
                                PN_BATCH,
                                PN_BATCH | PN_AFFINE,
                                PN_RUNNING,
                                PN_RUNNING | PN_AFFINE,
                                PN_BATCH | PN_FROZEN};
    int failures = 0;
    pn_set dice = {.state = 2019};
    for (int i = 0; i < 40; i++) {
        row r[PN_MAX_JOBS] = {{.N = pn_set_whole(&dice, 1, 5),
                               .H = pn_set_whole(&dice, 1, 19),
                               .W = pn_set_whole(&dice, 1, 19)}};
        r->C = 4 * pn_set_whole(&dice, 1, 12);
        r->R = 2 * pn_set_whole(&dice, 1, 2) + 1;
        r->dilation = pn_set_whole(&dice, 1, 2);
        r->stride = pn_set_whole(&dice, 1, 2);
        r->in = likes[pn_set_whole(&dice, 0, 5)] | (pn_set_whole(&dice, 0, 3) ? 0 : PN_ADD);
        r->out = likes[pn_set_whole(&dice, 0, 5)] | (pn_set_whole(&dice, 0, 1) ? 0 : PN_FACTOR);
        char why[200];
        snprintf(why, sizeof why, "N %d H %d W %d C %d R %d dilation %d stride %d in %d out %d",
                 r->N, r->H, r->W, r->C, r->R, r->dilation, r->stride, r->in, r->out);
        failures += pn_check(&subject, why, r, 1000 + i);
    }
    assert_int_equal(failures, 0);
}

/* Input 1..6 in two rows, a filter that looks one to the left and one down, two channels
 * crossed. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, false);
    pn_stage s = new_job(&set, &(row){.N = 1, .H = 2, .W = 3, .C = 4}, NULL);
    pn_set_freeze(&set);
    const pn_twins t = pn_set_values(&set);
    double *x = pn_at(&t, s.in.x), *dw = pn_at(&t, s.dw), *pw = pn_at(&t, s.pw);
    for (int i = 0; i < 24; i++)
        x[i] = i % 4 == 0 ? 1 + i / 4 : -1; /* channels 1..3: relu'd away */
    memset(dw, 0, 36 * sizeof *dw);
    memset(pw, 0, 16 * sizeof *pw);
    dw[(1 * 3 + 0) * 4] = 10; /* left */
    dw[(2 * 3 + 1) * 4] = 1;  /* below */
    pw[0 * 4 + 2] = 1;        /* channel 0 to 2 */
    pn_stage_fwd_ref(&s, &t);
    const double want[6] = {4, 15, 26, 0, 40, 50};
    for (int i = 0; i < 24; i++)
        assert_true(pn_at(&t, s.out.z)[i] == (i % 4 == 2 ? want[i / 4] : 0));
    pn_set_end(&set);
}

/* Linear where ReLU is open: <dy, z> = <dx, x> = <dpw, pw> = <ddw, dw>, whatever the numbers. */
static void adjoint(void **state) {
    (void)state;
    static const row rows[] = {
        {.N = 3, .H = 7, .W = 6, .C = 12, .R = 5, .in = PN_OPEN},
        {.N = 2, .H = 9, .W = 8, .C = 16, .stride = 2, .in = PN_OPEN},
        {.N = 2, .H = 8, .W = 8, .C = 20, .R = 3, .dilation = 2, .in = PN_OPEN}};
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int i = 0; i < 3 && pn_backend_at(backend); i++) {
            pn_set set;
            pn_set_begin(&set, 77 + i, true, true);
            pn_stage s = new_job(&set, &rows[i], NULL);
            pn_member *ddw = pn_set_find(&set, s.ddw), *dpw = pn_set_find(&set, s.dpw);
            memset(s.ddw, 0, ddw->count * sizeof *s.ddw);
            memset(s.dpw, 0, dpw->count * sizeof *s.dpw);
            assert_int_equal(pn_call(&subject, pn_backend_at(backend), false, &s, 1), PN_OK);
            assert_int_equal(pn_call(&subject, pn_backend_at(backend), true, &s, 1), PN_OK);
            const double want = pn_dot(s.out.dy, s.out.z, pn_set_find(&set, s.out.z)->count);
            assert_true(want != 0);
            assert_true(pn_dot(s.in.dx, s.in.x, pn_set_find(&set, s.in.x)->count) == want);
            assert_true(pn_dot(s.ddw, s.dw, ddw->count) == want);
            assert_true(pn_dot(s.dpw, s.pw, dpw->count) == want);
            pn_set_end(&set);
        }
}

static void bad_arguments(void **state) {
    (void)state;
    static const pn_flaw flaws[] = {
        {"filter of 4", offsetof(pn_stage, R), 4},
        {"stride 3", offsetof(pn_stage, stride), 3},
        {"no stride", offsetof(pn_stage, stride), 0},
        {"dilation 0", offsetof(pn_stage, dilation), 0},
        {"no image", offsetof(pn_stage, N), 0},
        {"negative height", offsetof(pn_stage, H), -5},
        {"no width", offsetof(pn_stage, W), 0},
        {"6 channels in", offsetof(pn_stage, in.C), 6},
        {"12 channels out of 8", offsetof(pn_stage, out.K), 12},
        {"no norm of that number", offsetof(pn_stage, in.norm.mode), 7},
        {"norm without statistics", offsetof(pn_stage, out.norm.stats), PN_NULL},
        {"no x", offsetof(pn_stage, in.x), PN_NULL},
        {"no depthwise weights", offsetof(pn_stage, dw), PN_NULL},
        {"no pointwise weights", offsetof(pn_stage, pw), PN_NULL},
    };
    static const pn_flaw of_pass[2][2] = {
        {{"no z", offsetof(pn_stage, out.z), PN_NULL},
         {"no z", offsetof(pn_stage, out.z), PN_NULL}},
        {{"no dy", offsetof(pn_stage, out.dy), PN_NULL},
         {"no dpw", offsetof(pn_stage, dpw), PN_NULL}},
    };
    const row r[PN_MAX_JOBS] = {{.N = 2, .H = 5, .W = 5, .C = 8, .in = PN_BATCH, .out = PN_BATCH},
                                {.N = 2, .H = 5, .W = 5, .C = 8, .in = PN_BATCH, .out = PN_BATCH}};
    static const pn_flaw sharing[] = {
        {"the second to share dx overwrites it", offsetof(pn_stage, in.add), 0},
        {"shares dx and does not say so", offsetof(pn_stage, shares_dx), 0},
        {"shares_dx 2", offsetof(pn_stage, shares_dx), 2}};
    static const pn_flaw alone = {"shares no dx and says so", offsetof(pn_stage, shares_dx), 1};
    row sharers[PN_MAX_JOBS];
    memcpy(sharers, r, sizeof r);
    sharers[1].shares = true;
    int failures = pn_check_flaws(&subject, true, sharers, sharing, 3);
    failures += pn_check_flaws(&subject, true, r, &alone, 1);
    for (int backward = 0; backward < 2; backward++) {
        failures += pn_check_flaws(&subject, backward, r, flaws, sizeof flaws / sizeof *flaws);
        failures += pn_check_flaws(&subject, backward, r, of_pass[backward], 2);
    }
    assert_int_equal(failures, 0);
}

static void scratch_depends_on_shapes_only(void **state) {
    (void)state;
    const row r[PN_MAX_JOBS] = {
        {.N = 5, .H = 9, .W = 7, .C = 20, .R = 5, .in = PN_BATCH, .out = PN_BATCH}};
    const pn_stage bare = {.N = 5,
                           .H = 9,
                           .W = 7,
                           .R = 5,
                           .dilation = 1,
                           .stride = 1,
                           .in = {.C = 20, .norm = {.mode = PN_NORM_BATCH}},
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
    return pn_run_rows("stage", calls, sizeof *calls, (int)(sizeof calls / sizeof *calls),
                       test_call, others, 5);
}
