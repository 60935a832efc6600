/* test_reduce.c -- factorized reduce of a concatenation, against plain loops. */
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
    {"one pixel: the second grid sees padding only",
     {{.N = 1, .H = 1, .W = 1, .K = 8, .C = {8}, .in = PN_OPEN}}},
    {"two by two: one pixel of each grid",
     {{.N = 3, .H = 2, .W = 2, .K = 8, .C = {8}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"odd height", {{.N = 2, .H = 7, .W = 6, .K = 8, .C = {12}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"odd width", {{.N = 2, .H = 6, .W = 7, .K = 8, .C = {12}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"odd everything",
     {{.N = 3, .H = 9, .W = 5, .K = 20, .C = {36}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"one row", {{.N = 2, .H = 1, .W = 10, .K = 4, .C = {8}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"four channels out: two from each grid",
     {{.N = 2, .H = 6, .W = 6, .K = 4, .C = {4}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"twelve channels out: six from each grid",
     {{.N = 2, .H = 6, .W = 4, .K = 12, .C = {8}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"skip in the first reduction",
     {{.N = 2, .H = 32, .W = 32, .K = 32, .C = {32}, .in = PN_BATCH, .out = PN_BATCH | PN_FACTOR}}},
    {"preprocess after the first reduction",
     {{.N = 2, .H = 32, .W = 32, .K = 32, .C = {16, 16, 16, 16}, .out = PN_BATCH}}},
    {"preprocess after the second",
     {{.N = 2, .H = 16, .W = 16, .K = 64, .C = {32, 32, 32, 32}, .out = PN_BATCH}}},
    {"cells of 36", {{.N = 2, .H = 8, .W = 8, .K = 72, .C = {36, 36, 36, 36}, .out = PN_BATCH}}},
    {"28 wide", {{.N = 1, .H = 28, .W = 28, .K = 8, .C = {12}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"224 wide",
     {{.N = 1, .H = 4, .W = 224, .K = 8, .C = {4, 4}, .in = PN_BATCH, .out = PN_BATCH}}},
    {"parts of different widths and norms",
     {{.N = 3,
       .H = 5,
       .W = 7,
       .K = 16,
       .C = {8, 20, 12, 4},
       .also = {0, PN_BATCH, PN_RUNNING | PN_AFFINE, PN_BATCH | PN_AFFINE},
       .out = PN_BATCH}}},
    {"dx of two parts only, one of them added to",
     {{.N = 3,
       .H = 6,
       .W = 5,
       .K = 12,
       .C = {8, 8, 12, 4},
       .in = PN_BATCH,
       .also = {0, PN_NO_DX, PN_ADD, PN_NO_DX},
       .out = PN_BATCH}}},
    {"dx not wanted",
     {{.N = 3, .H = 6, .W = 6, .K = 12, .C = {8, 8}, .in = PN_NO_DX | PN_BATCH, .out = PN_BATCH}}},
    {"batch no multiple of the chunks",
     {{.N = 17, .H = 5, .W = 4, .K = 12, .C = {20}, .in = PN_BATCH, .out = PN_BATCH}}},
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
    {"no norm at all, weighted per image",
     {{.N = 4, .H = 5, .W = 4, .K = 16, .C = {16}, .out = PN_FACTOR}}},
    {"jobs of different shapes",
     {{.N = 4, .H = 4, .W = 4, .K = 16, .C = {16, 8}, .out = PN_BATCH},
      {.N = 2, .H = 9, .W = 9, .K = 4, .C = {36}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 1, .H = 1, .W = 3, .K = 8, .C = {4, 4, 4}}}},
    {"jobs that share dx",
     {{.N = 3, .H = 8, .W = 7, .K = 16, .C = {16, 16}, .in = PN_BATCH, .out = PN_BATCH},
      {.N = 3, .H = 8, .W = 7, .K = 32, .C = {16, 16}, .out = PN_BATCH, .shares = true}}},
    {"jobs that share dx and add to it",
     {{.N = 3, .H = 4, .W = 4, .K = 8, .C = {8, 12}, .in = PN_ADD | PN_BATCH},
      {.N = 3, .H = 4, .W = 4, .K = 8, .C = {8, 12}, .shares = true}}},
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
};

static int channels(const row *r, int *parts) {
    int C = 0;
    for (*parts = 0; *parts < PN_PARTS && r->C[*parts]; ++*parts) C += r->C[*parts];
    return C;
}

static pn_reduce new_job(pn_set *set, const row *r, const pn_reduce *before) {
    pn_reduce s = {.N = r->N, .H = r->H, .W = r->W, .shares_dx = r->shares};
    const int C = channels(r, &s.parts), pixels = s.N * s.H * s.W;
    for (int part = 0; part < s.parts; part++)
        if (r->shares) {
            s.in[part] = before->in[part];
            s.in[part].add = 1;
        } else {
            s.in[part] = pn_set_input(set, pixels, r->C[part], r->in | r->also[part], r->K + 16);
        }
    s.out = pn_set_output(set, s.N, (size_t)pn_out_size(s.H, 2) * pn_out_size(s.W, 2), r->K, r->out,
                          C + 16);
    s.w = pn_set_data(set, "w", (size_t)C * r->K, 1, 1);
    s.dw = pn_set_result(set, "dw", (size_t)C * r->K, pixels + 16, true);
    pn_set_find(set, s.dw)->must = set->backward;
    return s;
}

static int build(pn_set *set, const void *rows, void *jobs) {
    const row *r = rows;
    pn_reduce *s = jobs;
    int count = 0;
    for (; count < PN_MAX_JOBS && r[count].N; count++)
        s[count] = new_job(set, &r[count], s + count - 1);
    return count;
}

PN_CALLS(reduce)

static void magnitude(bool backward, const void *job, const pn_twins *t) {
    pn_reduce s = *(const pn_reduce *)job;
    s.out.coef = fabsf(s.out.coef);
    reduce_twin(backward, &s, t);
}

static const pn_output *output(const void *job, size_t *pixels) {
    const pn_reduce *s = job;
    *pixels = (size_t)s->N * pn_out_size(s->H, 2) * pn_out_size(s->W, 2);
    return &s->out;
}

static const pn_subject subject = {"reduce",    sizeof(pn_reduce), reduce_scratch, reduce_run,
                                   reduce_twin, magnitude,         build,          output,
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
    pn_set dice = {.state = 1903};
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

/* A 3x3 image of 1..9 in channel 0: the first grid sees 1 3 7 9, the second 5 and padding. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, false);
    pn_reduce s = new_job(&set, &(row){.N = 1, .H = 3, .W = 3, .K = 4, .C = {4}}, NULL);
    pn_set_freeze(&set);
    const pn_twins t = pn_set_values(&set);
    double *x = pn_at(&t, s.in[0].x), *w = pn_at(&t, s.w);
    for (int i = 0; i < 36; i++) x[i] = i % 4 ? -1 : 1 + i / 4;
    memset(w, 0, 16 * sizeof *w);
    w[0 * 8 + 0] = 1;  /* first grid, channel 0 to its first */
    w[1 * 8 + 1] = 10; /* second grid, channel 0 to its second */
    pn_reduce_fwd_ref(&s, &t);
    const double want[16] = {1, 0, 0, 50, 3, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0};
    for (int i = 0; i < 16; i++) assert_true(pn_at(&t, s.out.z)[i] == want[i]);
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
            pn_reduce s = new_job(&set, &rows[i], NULL);
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
        {"no part", offsetof(pn_reduce, parts), 0},
        {"five parts", offsetof(pn_reduce, parts), PN_PARTS + 1},
        {"no image", offsetof(pn_reduce, N), 0},
        {"negative height", offsetof(pn_reduce, H), -5},
        {"no width", offsetof(pn_reduce, W), 0},
        {"6 channels in", offsetof(pn_reduce, in[1].C), 6},
        {"no channels in", offsetof(pn_reduce, in[0].C), 0},
        {"10 channels out", offsetof(pn_reduce, out.K), 10},
        {"no norm of that number", offsetof(pn_reduce, in[1].norm.mode), 7},
        {"norm without statistics", offsetof(pn_reduce, out.norm.stats), PN_NULL},
        {"no x", offsetof(pn_reduce, in[1].x), PN_NULL},
        {"no weights", offsetof(pn_reduce, w), PN_NULL},
    };
    static const pn_flaw of_pass[2][2] = {
        {{"no z", offsetof(pn_reduce, out.z), PN_NULL}},
        {{"no dy", offsetof(pn_reduce, out.dy), PN_NULL},
         {"no dw", offsetof(pn_reduce, dw), PN_NULL}},
    };
    const row r[PN_MAX_JOBS] = {
        {.N = 2, .H = 5, .W = 5, .K = 8, .C = {8, 4}, .in = PN_BATCH, .out = PN_BATCH},
        {.N = 2, .H = 5, .W = 5, .K = 8, .C = {8, 4}, .in = PN_BATCH, .out = PN_BATCH}};
    static const pn_flaw sharing[] = {
        {"the second to share dx overwrites it", offsetof(pn_reduce, in[0].add), 0},
        {"shares dx and does not say so", offsetof(pn_reduce, shares_dx), 0},
        {"shares_dx 2", offsetof(pn_reduce, shares_dx), 2}};
    static const pn_flaw alone = {"shares no dx and says so", offsetof(pn_reduce, shares_dx), 1};
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
    const pn_reduce bare = {.N = 5,
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
        cmocka_unit_test(scratch_depends_on_shapes_only),
        cmocka_unit_test(bad_arguments),
    };
    return pn_run_rows("reduce", calls, sizeof *calls, (int)(sizeof calls / sizeof *calls),
                       test_call, others, (int)(sizeof others / sizeof *others));
}
