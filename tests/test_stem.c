/* test_stem.c -- 3x3 convolution of the image, against plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"

typedef struct row {
    int N, H, W, C, K, out, two; /* two: stride 2 */
} row;

static const struct call {
    const char *why;
    row job[PN_MAX_JOBS];
} calls[] = {
    {"one pixel", {{.N = 1, .H = 1, .W = 1, .C = 1, .K = 4}}},
    {"one pixel, normalised: no variance",
     {{.N = 1, .H = 1, .W = 1, .C = 3, .K = 8, .out = PN_BATCH | PN_AFFINE}}},
    {"two pixels: unbiased variance is twice the biased",
     {{.N = 2, .H = 1, .W = 1, .C = 3, .K = 8, .out = PN_BATCH | PN_AFFINE}}},
    {"one row", {{.N = 2, .H = 1, .W = 9, .C = 3, .K = 8, .out = PN_BATCH}}},
    {"one column", {{.N = 2, .H = 9, .W = 1, .C = 3, .K = 8, .out = PN_BATCH}}},
    {"CIFAR's image to 48",
     {{.N = 2, .H = 32, .W = 32, .C = 3, .K = 48, .out = PN_BATCH | PN_AFFINE}}},
    {"Fashion-MNIST's image to 24",
     {{.N = 2, .H = 28, .W = 28, .C = 1, .K = 24, .out = PN_BATCH | PN_AFFINE}}},
    {"to 108, the full-size network",
     {{.N = 1, .H = 9, .W = 11, .C = 3, .K = 108, .out = PN_BATCH | PN_AFFINE}}},
    {"odd everything", {{.N = 3, .H = 7, .W = 9, .C = 3, .K = 20, .out = PN_BATCH}}},
    {"224 wide", {{.N = 1, .H = 3, .W = 224, .C = 3, .K = 8, .out = PN_BATCH}}},
    {"batch no multiple of the chunks",
     {{.N = 17, .H = 5, .W = 4, .C = 3, .K = 12, .out = PN_BATCH}}},
    {"running statistics",
     {{.N = 3, .H = 6, .W = 6, .C = 1, .K = 16, .out = PN_RUNNING | PN_AFFINE}}},
    {"no norm, weighted per image", {{.N = 3, .H = 6, .W = 6, .C = 3, .K = 16, .out = PN_FACTOR}}},
    {"stride 2, one pixel", {{.N = 2, .H = 1, .W = 1, .C = 3, .K = 8, .two = 1}}},
    {"stride 2, even: the last window ends inside",
     {{.N = 2, .H = 8, .W = 6, .C = 3, .K = 8, .two = 1, .out = PN_BATCH}}},
    {"stride 2, odd: the last window ends outside",
     {{.N = 3, .H = 7, .W = 9, .C = 1, .K = 20, .two = 1, .out = PN_BATCH | PN_AFFINE}}},
    {"ImageNet's image to 24, stride 2",
     {{.N = 1, .H = 6, .W = 224, .C = 3, .K = 24, .two = 1, .out = PN_BATCH | PN_AFFINE}}},
    {"both strides in one call, weighted per image",
     {{.N = 3, .H = 6, .W = 6, .C = 3, .K = 16, .out = PN_FACTOR},
      {.N = 17, .H = 5, .W = 4, .C = 1, .K = 12, .two = 1, .out = PN_BATCH | PN_FACTOR}}},
    {"jobs of different shapes",
     {{.N = 4, .H = 4, .W = 4, .C = 3, .K = 16, .out = PN_BATCH},
      {.N = 2, .H = 9, .W = 9, .C = 1, .K = 4, .out = PN_BATCH | PN_AFFINE},
      {.N = 1, .H = 1, .W = 3, .C = 3, .K = 36}}},
};

static pn_stem new_job(pn_set *set, const row *r) {
    pn_stem s = {.N = r->N, .H = r->H, .W = r->W, .C = r->C, .stride = 1 + r->two};
    const int outputs = pn_out_size(s.H, s.stride) * pn_out_size(s.W, s.stride),
              pixels = s.N * outputs, weights = 9 * r->C * r->K;
    s.x = pn_set_data(set, "x", (size_t)s.N * s.H * s.W * r->C, 3, 2);
    s.out = pn_set_output(set, s.N, outputs, r->K, r->out, 9 * r->C + 2);
    s.w = pn_set_data(set, "w", weights, 3, 1);
    s.dw = pn_set_result(set, "dw", weights, pixels + 16, true);
    pn_set_find(set, s.dw)->must = set->backward;
    return s;
}

static int build(pn_set *set, const void *rows, void *jobs) {
    const row *r = rows;
    int count = 0;
    for (; count < PN_MAX_JOBS && r[count].N; count++)
        ((pn_stem *)jobs)[count] = new_job(set, &r[count]);
    return count;
}

PN_CALLS(stem)

static void magnitude(bool backward, const void *job, const pn_twins *t) {
    pn_stem s = *(const pn_stem *)job;
    s.out.coef = fabsf(s.out.coef);
    stem_twin(backward, &s, t);
}

static const pn_output *output(const void *job, size_t *pixels) {
    const pn_stem *s = job;
    *pixels = (size_t)s->N * pn_out_size(s->H, s->stride) * pn_out_size(s->W, s->stride);
    return &s->out;
}

static const pn_subject subject = {"stem",    sizeof(pn_stem), stem_scratch, stem_run, stem_twin,
                                   magnitude, build,           output,       NULL};

static void test_call(void **state) {
    const struct call *c = *state;
    assert_int_equal(pn_check(&subject, c->why, c->job, (uint64_t)(c - calls)), 0);
}

static void combinations_nobody_thought_of(void **state) {
    (void)state;
    static const int likes[] = {0, PN_BATCH, PN_BATCH | PN_AFFINE, PN_RUNNING,
                                PN_RUNNING | PN_AFFINE};
    int failures = 0;
    pn_set dice = {.state = 1902};
    for (int i = 0; i < 60; i++) {
        row r[PN_MAX_JOBS] = {{.N = pn_set_whole(&dice, 1, 20),
                               .H = pn_set_whole(&dice, 1, 13),
                               .W = pn_set_whole(&dice, 1, 13)}};
        r->two = pn_set_whole(&dice, 0, 1);
        r->C = pn_set_whole(&dice, 0, 1) ? 1 : 3;
        r->K = 4 * pn_set_whole(&dice, 1, 17);
        r->out = likes[pn_set_whole(&dice, 0, 4)] | (pn_set_whole(&dice, 0, 1) ? 0 : PN_FACTOR);
        char why[200];
        snprintf(why, sizeof why, "%d: N %d H %d W %d C %d K %d out %d two %d", i, r->N, r->H, r->W,
                 r->C, r->K, r->out, r->two);
        failures += pn_check(&subject, why, r, 1000 + i);
    }
    assert_int_equal(failures, 0);
}

/* 1..6 in two rows; output channel 0 sees the pixel to the right, channel 1 ten times the one
 * above. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, false);
    pn_stem s = new_job(&set, &(row){.N = 1, .H = 2, .W = 3, .C = 1, .K = 4});
    pn_set_freeze(&set);
    const pn_twins t = pn_set_values(&set);
    double *x = pn_at(&t, s.x), *w = pn_at(&t, s.w);
    for (int i = 0; i < 6; i++) x[i] = i + 1;
    memset(w, 0, 36 * sizeof *w);
    w[(1 * 3 + 2) * 4 + 0] = 1;
    w[(0 * 3 + 1) * 4 + 1] = 10;
    pn_stem_fwd_ref(&s, &t);
    const double want[24] = {2, 0,  0, 0, 3, 0,  0, 0, 0, 0,  0, 0,
                             5, 10, 0, 0, 6, 20, 0, 0, 0, 30, 0, 0};
    for (int i = 0; i < 24; i++) assert_true(pn_at(&t, s.out.z)[i] == want[i]);
    pn_set_end(&set);
}

/* <dy, z> = <dw, w>: the op is linear in its weights. */
static void adjoint(void **state) {
    (void)state;
    for (int i = 0; i < 2 * PN_BACKENDS; i++) {
        const int backend = i / 2;
        if (!pn_backend_at(backend)) continue;
        pn_set set;
        pn_set_begin(&set, 77, true, true);
        pn_stem s = new_job(&set, &(row){.N = 3, .H = 7, .W = 6, .C = 3, .K = 20, .two = i % 2});
        const size_t weights = pn_set_find(&set, s.w)->count;
        memset(s.dw, 0, weights * sizeof *s.dw);
        assert_int_equal(pn_call(&subject, pn_backend_at(backend), false, &s, 1), PN_OK);
        assert_int_equal(pn_call(&subject, pn_backend_at(backend), true, &s, 1), PN_OK);
        const double want = pn_dot(s.out.dy, s.out.z, pn_set_find(&set, s.out.z)->count);
        assert_true(want != 0);
        assert_true(pn_dot(s.dw, s.w, weights) == want);
        pn_set_end(&set);
    }
}

static void bad_arguments(void **state) {
    (void)state;
    static const pn_flaw flaws[] = {
        {"an image of 2 channels", offsetof(pn_stem, C), 2},
        {"an image of 4 channels", offsetof(pn_stem, C), 4},
        {"stride 3", offsetof(pn_stem, stride), 3},
        {"no stride", offsetof(pn_stem, stride), 0},
        {"no image", offsetof(pn_stem, N), 0},
        {"negative height", offsetof(pn_stem, H), -5},
        {"no width", offsetof(pn_stem, W), 0},
        {"6 channels out", offsetof(pn_stem, out.K), 6},
        {"no norm of that number", offsetof(pn_stem, out.norm.mode), 7},
        {"norm without statistics", offsetof(pn_stem, out.norm.stats), PN_NULL},
        {"no x", offsetof(pn_stem, x), PN_NULL},
    };
    static const pn_flaw of_pass[2][2] = {
        {{"no z", offsetof(pn_stem, out.z), PN_NULL}, {"no w", offsetof(pn_stem, w), PN_NULL}},
        {{"no dy", offsetof(pn_stem, out.dy), PN_NULL}, {"no dw", offsetof(pn_stem, dw), PN_NULL}},
    };
    const row r[PN_MAX_JOBS] = {{.N = 2, .H = 5, .W = 5, .C = 3, .K = 8, .out = PN_BATCH},
                                {.N = 2, .H = 5, .W = 5, .C = 3, .K = 8, .out = PN_BATCH}};
    int failures = 0;
    for (int backward = 0; backward < 2; backward++) {
        failures += pn_check_flaws(&subject, backward, r, flaws, sizeof flaws / sizeof *flaws);
        failures += pn_check_flaws(&subject, backward, r, of_pass[backward], 2);
    }
    assert_int_equal(failures, 0);
}

static void scratch_depends_on_shapes_only(void **state) {
    (void)state;
    const row r[PN_MAX_JOBS] = {{.N = 5, .H = 9, .W = 7, .C = 3, .K = 20, .out = PN_BATCH}};
    const pn_stem bare = {.N = 5,
                          .H = 9,
                          .W = 7,
                          .C = 3,
                          .stride = 1,
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
    return pn_run_rows("stem", calls, sizeof *calls, (int)(sizeof calls / sizeof *calls), test_call,
                       others, (int)(sizeof others / sizeof *others));
}
