/* test_pool.c -- 3x3 maximum and average, against plain loops. An average divides, so only the
 * maximum is exact on whole numbers; they are full of ties. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"

/* One job, of both kinds in turn; stride 0 means 1. */
typedef struct row {
    int N, H, W, C, stride;
    int in, out;
    bool shares; /* the input of the job before, adding to the same dx */
    pn_pool_kind kind;
} row;

static const struct call {
    const char *why;
    row job[PN_MAX_JOBS];
} calls[] = {
    {"as wide as a card takes",
     {{.N = 1, .H = 3, .W = 9, .C = 1024, .in = PN_BATCH, .out = PN_BATCH}}},
    {"more tiles than a card's blocks, dx shared",
     {{.N = 130, .H = 17, .W = 3, .C = 4, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 130, .H = 17, .W = 3, .C = 4, .stride = 2, .shares = true}}},
    {"one pixel", {{.N = 1, .H = 1, .W = 1, .C = 4}}},
    {"one row", {{.N = 2, .H = 1, .W = 7, .C = 8, .in = PN_BATCH, .out = PN_BATCH}}},
    {"one column, stride 2",
     {{.N = 2, .H = 7, .W = 1, .C = 8, .stride = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"two by two", {{.N = 3, .H = 2, .W = 2, .C = 4, .in = PN_BATCH, .out = PN_BATCH}}},
    {"odd everything", {{.N = 3, .H = 7, .W = 9, .C = 20, .in = PN_BATCH, .out = PN_BATCH}}},
    {"odd everything, stride 2",
     {{.N = 3, .H = 7, .W = 9, .C = 20, .stride = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"even everything, stride 2",
     {{.N = 3, .H = 8, .W = 6, .C = 12, .stride = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"the first cells",
     {{.N = 2, .H = 32, .W = 32, .C = 16, .in = PN_BATCH, .out = PN_BATCH | PN_FACTOR}}},
    {"the middle cells",
     {{.N = 2, .H = 16, .W = 16, .C = 32, .in = PN_BATCH, .out = PN_BATCH | PN_FACTOR}}},
    {"the last cells", {{.N = 3, .H = 8, .W = 8, .C = 64, .in = PN_BATCH, .out = PN_BATCH}}},
    {"into the first reduction",
     {{.N = 2, .H = 32, .W = 32, .C = 32, .stride = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"cells of 36", {{.N = 2, .H = 8, .W = 8, .C = 36, .in = PN_BATCH, .out = PN_BATCH}}},
    {"28 wide, 14 out",
     {{.N = 1, .H = 28, .W = 28, .C = 8, .stride = 2, .in = PN_BATCH, .out = PN_BATCH}}},
    {"224 wide", {{.N = 1, .H = 3, .W = 224, .C = 4, .in = PN_BATCH, .out = PN_BATCH}}},
    {"batch no multiple of the chunks",
     {{.N = 17, .H = 5, .W = 3, .C = 12, .in = PN_BATCH, .out = PN_BATCH}}},
    {"gamma negative and zero: the maximum of v is not that of x",
     {{.N = 3, .H = 6, .W = 6, .C = 24, .in = PN_BATCH | PN_AFFINE, .out = PN_BATCH | PN_AFFINE}}},
    {"the same at stride 2",
     {{.N = 3, .H = 6, .W = 6, .C = 24, .stride = 2, .in = PN_BATCH | PN_AFFINE, .out = PN_BATCH}}},
    {"running statistics",
     {{.N = 3, .H = 6, .W = 6, .C = 24, .in = PN_RUNNING, .out = PN_RUNNING}}},
    {"running statistics, gamma learnt",
     {{.N = 3,
       .H = 6,
       .W = 6,
       .C = 24,
       .in = PN_RUNNING | PN_AFFINE,
       .out = PN_RUNNING | PN_AFFINE}}},
    {"no norm, as when training from scratch",
     {{.N = 3, .H = 6, .W = 7, .C = 16, .out = PN_FACTOR}}},
    {"adds to dx and sums",
     {{.N = 3, .H = 6, .W = 6, .C = 16, .in = PN_BATCH | PN_ADD, .out = PN_BATCH}}},
    {"adds at stride 2",
     {{.N = 3, .H = 6, .W = 6, .C = 16, .stride = 2, .in = PN_BATCH | PN_ADD, .out = PN_BATCH}}},
    {"dx not wanted",
     {{.N = 3, .H = 6, .W = 6, .C = 16, .in = PN_BATCH | PN_NO_DX, .out = PN_BATCH | PN_AFFINE}}},
    {"jobs of different shapes",
     {{.N = 4, .H = 4, .W = 4, .C = 16, .out = PN_BATCH},
      {.N = 2, .H = 9, .W = 9, .C = 8, .stride = 2, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 1, .H = 1, .W = 3, .C = 4}}},
    {"jobs that share dx",
     {{.N = 3, .H = 8, .W = 8, .C = 16, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 3, .H = 8, .W = 8, .C = 16, .out = PN_BATCH, .shares = true},
      {.N = 3, .H = 8, .W = 8, .C = 16, .stride = 2, .shares = true}}},
    {"jobs that share dx and add to it",
     {{.N = 3, .H = 4, .W = 4, .C = 8, .in = PN_ADD | PN_BATCH},
      {.N = 3, .H = 4, .W = 4, .C = 8, .shares = true}}},
    {"two that share dx, an image for each thread",
     {{.N = 17, .H = 4, .W = 3, .C = 36, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 17, .H = 4, .W = 3, .C = 36, .stride = 2, .shares = true}}},
    {"four that share dx, an image for each thread",
     {{.N = 33, .H = 3, .W = 3, .C = 8, .kind = PN_POOL_AVG, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 33, .H = 3, .W = 3, .C = 8, .kind = PN_POOL_MAX, .shares = true},
      {.N = 33, .H = 3, .W = 3, .C = 8, .stride = 2, .kind = PN_POOL_AVG, .shares = true},
      {.N = 33, .H = 3, .W = 3, .C = 8, .stride = 2, .kind = PN_POOL_MAX, .shares = true}}},
};

static pn_pool new_job(pn_set *set, const row *r, const pn_pool *before) {
    pn_pool s = {
        .N = r->N, .H = r->H, .W = r->W, .stride = r->stride ? r->stride : 1, .kind = r->kind};
    if (s.kind == PN_POOL_AVG) set->exact = false;
    const int P = pn_out_size(s.H, s.stride), Q = pn_out_size(s.W, s.stride);
    s.shares_dx = r->shares;
    if (r->shares) {
        s.in = before->in;
        s.in.add = 1;
    } else {
        s.in = pn_set_input(set, (size_t)s.N * s.H * s.W, r->C, r->in, 32);
    }
    s.out = pn_set_output(set, s.N, (size_t)P * Q, r->C, r->out, 24); /* 9 terms, and the norms */
    return s;
}

static int build(pn_set *set, const void *rows, void *jobs) {
    const row *r = rows;
    pn_pool *s = jobs;
    int count = 0;
    for (; count < PN_MAX_JOBS && r[count].N; count++)
        s[count] = new_job(set, &r[count], s + count - 1);
    return count;
}

PN_CALLS(pool)

/* Who wins among magnitudes says nothing about who wins among values: backward, every input of a
 * window is given all of its gradient, which is at most 9 times the average's share. */
static void magnitude(bool backward, const void *job, const pn_twins *t) {
    pn_pool s = *(const pn_pool *)job;
    s.out.coef = fabsf(s.out.coef);
    if (backward && s.kind == PN_POOL_MAX) {
        s.kind = PN_POOL_AVG;
        s.out.coef *= 9;
    }
    pool_twin(backward, &s, t);
}

static const pn_output *output(const void *job, size_t *pixels) {
    const pn_pool *s = job;
    *pixels = (size_t)s->N * pn_out_size(s->H, s->stride) * pn_out_size(s->W, s->stride);
    return &s->out;
}

static const pn_subject subject = {"pool",    sizeof(pn_pool), pool_scratch, pool_run, pool_twin,
                                   magnitude, build,           output,       NULL};

/* Maximum, average, and both in one call. */
static int check_kinds(const char *why, const row *rows, uint64_t seed) {
    int failures = 0;
    for (int kinds = 0; kinds < 3; kinds++) {
        row r[PN_MAX_JOBS];
        memcpy(r, rows, sizeof r);
        for (int i = 0; i < PN_MAX_JOBS; i++)
            r[i].kind = (kinds == 1) != (kinds == 2 && i % 2) ? PN_POOL_AVG : PN_POOL_MAX;
        if (kinds == 2 && !r[1].N) break;
        char name[300];
        snprintf(name, sizeof name, "%s (%s first)", why, r->kind == PN_POOL_MAX ? "max" : "avg");
        failures += pn_check(&subject, name, r, seed);
    }
    return failures;
}

static void test_call(void **state) {
    const struct call *c = *state;
    assert_int_equal(check_kinds(c->why, c->job, (uint64_t)(c - calls)), 0);
}

static void combinations_nobody_thought_of(void **state) {
    (void)state;
    static const int likes[] = {0,
                                PN_BATCH,
                                PN_BATCH | PN_AFFINE,
                                PN_RUNNING,
                                PN_RUNNING | PN_AFFINE,
                                PN_BATCH | PN_ADD,
                                PN_ADD};
    int failures = 0;
    pn_set dice = {.state = 1902};
    for (int i = 0; i < 60; i++) {
        row r[PN_MAX_JOBS] = {{.N = pn_set_whole(&dice, 1, 6),
                               .H = pn_set_whole(&dice, 1, 13),
                               .W = pn_set_whole(&dice, 1, 13)}};
        r->C = 4 * pn_set_whole(&dice, 1, 12);
        r->stride = pn_set_whole(&dice, 1, 2);
        r->in = likes[pn_set_whole(&dice, 0, 6)];
        r->out = likes[pn_set_whole(&dice, 0, 4)] | (pn_set_whole(&dice, 0, 1) ? 0 : PN_FACTOR);
        char why[200];
        snprintf(why, sizeof why, "%d: N %d H %d W %d C %d stride %d in %d out %d", i, r->N, r->H,
                 r->W, r->C, r->stride, r->in, r->out);
        failures += check_kinds(why, r, 1000 + i);
    }
    assert_int_equal(failures, 0);
}

/* A 3x3 image; all windows but the middle one are cut by the edge. Equal inputs: the first wins. */
static void by_hand(void **state) {
    (void)state;
    static const double x[9] = {5, 1, 5, 2, 5, 0, -3, 4, 5}, dy[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const double max[9] = {5, 5, 5, 5, 5, 5, 5, 5, 5};
    static const double sum[9] = {13, 18, 11, 14, 24, 20, 8, 13, 14};
    static const int count[9] = {4, 6, 4, 6, 9, 6, 4, 6, 4};
    static const double dx_max[9] = {1 + 2 + 4 + 5, 0, 3 + 6, 0, 7 + 8 + 9, 0, 0, 0, 0};
    for (int kind = 0; kind < 2; kind++) {
        pn_set set;
        pn_set_begin(&set, 1, true, true);
        pn_pool s = new_job(&set, &(row){.N = 1, .H = 3, .W = 3, .C = 4, .kind = kind}, NULL);
        pn_set_freeze(&set);
        const pn_twins t = pn_set_values(&set);
        for (int i = 0; i < 36; i++) {
            pn_at(&t, s.in.x)[i] = x[i / 4];
            pn_at(&t, s.out.dy)[i] = dy[i / 4];
        }
        pn_pool_bwd_ref(&s, &t);
        pn_pool_fwd_ref(&s, &t);
        for (int i = 0; i < 36; i++) {
            const int pixel = i / 4;
            const double want = kind == PN_POOL_MAX ? max[pixel] : sum[pixel] / count[pixel];
            assert_true(pn_at(&t, s.out.z)[i] == want);
            if (kind == PN_POOL_MAX) assert_true(pn_at(&t, s.in.dx)[i] == dx_max[pixel]);
        }
        /* The top left corner is in four windows. */
        if (kind == PN_POOL_AVG)
            assert_true(fabs(pn_at(&t, s.in.dx)[0] - (1. / 4 + 2. / 6 + 4. / 6 + 5. / 9)) < 1e-15);
        pn_set_end(&set);
    }
}

/* An image where every value is the padding's would-be rival: all negative. */
static void padding_never_wins(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        pn_set set;
        pn_set_begin(&set, 1, true, false);
        pn_pool s = new_job(&set, &(row){.N = 2, .H = 4, .W = 4, .C = 8}, NULL);
        for (int i = 0; i < 256; i++) ((float *)s.in.x)[i] = -2e30f;
        assert_int_equal(pn_call(&subject, pn_backend_at(backend), false, &s, 1), PN_OK);
        for (int i = 0; i < 256; i++) assert_true(s.out.z[i] == -2e30f);
        pn_set_end(&set);
    }
}

static void bad_arguments(void **state) {
    (void)state;
    static const pn_flaw flaws[] = {
        {"stride 3", offsetof(pn_pool, stride), 3},
        {"no stride", offsetof(pn_pool, stride), 0},
        {"no such kind", offsetof(pn_pool, kind), 2},
        {"no image", offsetof(pn_pool, N), 0},
        {"negative height", offsetof(pn_pool, H), -5},
        {"no width", offsetof(pn_pool, W), 0},
        {"6 channels in", offsetof(pn_pool, in.C), 6},
        {"12 channels out of 8", offsetof(pn_pool, out.K), 12},
        {"no norm of that number", offsetof(pn_pool, in.norm.mode), 7},
        {"norm without statistics", offsetof(pn_pool, out.norm.stats), PN_NULL},
        {"no x", offsetof(pn_pool, in.x), PN_NULL},
    };
    static const pn_flaw of_pass[2] = {{"no z", offsetof(pn_pool, out.z), PN_NULL},
                                       {"no dy", offsetof(pn_pool, out.dy), PN_NULL}};
    const row r[PN_MAX_JOBS] = {{.N = 2, .H = 5, .W = 5, .C = 8, .in = PN_BATCH, .out = PN_BATCH},
                                {.N = 2, .H = 5, .W = 5, .C = 8, .in = PN_BATCH, .out = PN_BATCH}};
    static const pn_flaw sharing[] = {
        {"the second to share dx overwrites it", offsetof(pn_pool, in.add), 0},
        {"shares dx and does not say so", offsetof(pn_pool, shares_dx), 0},
        {"shares_dx 2", offsetof(pn_pool, shares_dx), 2}};
    static const pn_flaw alone = {"shares no dx and says so", offsetof(pn_pool, shares_dx), 1};
    row sharers[PN_MAX_JOBS];
    memcpy(sharers, r, sizeof r);
    sharers[1].shares = true;
    int failures = pn_check_flaws(&subject, true, sharers, sharing, 3);
    failures += pn_check_flaws(&subject, true, r, &alone, 1);
    for (int backward = 0; backward < 2; backward++) {
        failures += pn_check_flaws(&subject, backward, r, flaws, sizeof flaws / sizeof *flaws);
        failures += pn_check_flaws(&subject, backward, r, &of_pass[backward], 1);
    }
    assert_int_equal(failures, 0);
}

static void scratch_depends_on_shapes_only(void **state) {
    (void)state;
    const row r[PN_MAX_JOBS] = {{.N = 5, .H = 9, .W = 7, .C = 20, .in = PN_BATCH, .out = PN_BATCH}};
    const pn_pool bare = {.N = 5,
                          .H = 9,
                          .W = 7,
                          .stride = 1,
                          .in = {.C = 20, .norm = {.mode = PN_NORM_BATCH}},
                          .out = {.K = 20, .norm = {.mode = PN_NORM_BATCH}}};
    assert_int_equal(pn_check_scratch(&subject, r, &bare), 0);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(combinations_nobody_thought_of),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(padding_never_wins),
        cmocka_unit_test(scratch_depends_on_shapes_only),
        cmocka_unit_test(bad_arguments),
    };
    return pn_run_rows("pool", calls, sizeof *calls, (int)(sizeof calls / sizeof *calls), test_call,
                       others, (int)(sizeof others / sizeof *others));
}
