/* test_head.c -- global average pool, linear, softmax cross-entropy, against plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"

enum { MAX_IMAGES = 32 };

typedef struct row {
    int N, H, W, classes;
    int C[PN_PARTS], in, also[PN_PARTS];
    int relu;
    float smoothing, loss_weight; /* weight 0 means 1 */
    bool scaled;                  /* `scale` is not NULL */
    bool shares;                  /* the inputs of the job before, adding to the same dx */
} row;

static const struct call {
    const char *why;
    row job[PN_MAX_JOBS];
} calls[] = {
    {"one pixel, one image", {{.N = 1, .H = 1, .W = 1, .classes = 2, .C = {4}}}},
    {"CIFAR-10 after cells of 64",
     {{.N = 6, .H = 8, .W = 8, .classes = 10, .C = {64, 64, 64, 64}, .scaled = true}}},
    {"CIFAR-100", {{.N = 3, .H = 8, .W = 8, .classes = 100, .C = {36, 36}}}},
    {"a thousand classes, smoothed",
     {{.N = 2, .H = 7, .W = 7, .classes = 1000, .C = {8}, .smoothing = 0.1f}}},
    {"more images than chunks", {{.N = 19, .H = 3, .W = 2, .classes = 7, .C = {12, 4}}}},
    {"odd number of classes, odd image", {{.N = 5, .H = 5, .W = 7, .classes = 3, .C = {20}}}},
    {"an auxiliary head: relu, weight 0.4",
     {{.N = 4,
       .H = 2,
       .W = 2,
       .classes = 10,
       .C = {16},
       .in = PN_BATCH | PN_AFFINE,
       .relu = 1,
       .loss_weight = 0.4f,
       .scaled = true}}},
    {"relu without a norm", {{.N = 4, .H = 4, .W = 4, .classes = 10, .C = {16, 8}, .relu = 1}}},
    {"parts with different norms",
     {{.N = 4,
       .H = 3,
       .W = 3,
       .classes = 5,
       .C = {8, 20, 4, 12},
       .also = {0, PN_BATCH, PN_RUNNING | PN_AFFINE, PN_BATCH | PN_AFFINE}}}},
    {"dx of some parts only, one added to",
     {{.N = 4,
       .H = 3,
       .W = 3,
       .classes = 5,
       .C = {8, 8, 4, 12},
       .in = PN_BATCH,
       .also = {0, PN_NO_DX, PN_ADD, PN_NO_DX}}}},
    {"two heads of different shapes",
     {{.N = 4, .H = 4, .W = 4, .classes = 10, .C = {16}, .in = PN_BATCH, .smoothing = 0.1f},
      {.N = 4, .H = 2, .W = 2, .classes = 10, .C = {8, 8}, .relu = 1, .loss_weight = 0.4f}}},
    {"two heads on one tensor",
     {{.N = 4, .H = 4, .W = 4, .classes = 10, .C = {16}, .in = PN_BATCH},
      {.N = 4,
       .H = 4,
       .W = 4,
       .classes = 6,
       .C = {16},
       .relu = 1,
       .loss_weight = 0.4f,
       .shares = true}}},
    {"four heads on one tensor, an image for each thread",
     {{.N = 17, .H = 2, .W = 2, .classes = 10, .C = {16, 36}, .in = PN_BATCH},
      {.N = 17, .H = 2, .W = 2, .classes = 100, .C = {16, 36}, .shares = true},
      {.N = 17, .H = 2, .W = 2, .classes = 3, .C = {16, 36}, .relu = 1, .shares = true},
      {.N = 17, .H = 2, .W = 2, .classes = 7, .C = {16, 36}, .shares = true}}},
    {"224 wide", {{.N = 1, .H = 2, .W = 224, .classes = 4, .C = {4}}}},
};

/* What lies outside of jobs; one set of jobs is in use at a time. */
static int32_t labels[PN_MAX_JOBS][MAX_IMAGES];
static pn_result wanted[PN_MAX_JOBS];
static const pn_head *first_job;

static int channels(const row *r, int *parts) {
    int C = 0;
    for (*parts = 0; *parts < PN_PARTS && r->C[*parts]; ++*parts) C += r->C[*parts];
    return C;
}

static pn_head new_job(pn_set *set, const row *r, const pn_head *before, int32_t *label) {
    pn_head s = {.N = r->N,
                 .H = r->H,
                 .W = r->W,
                 .classes = r->classes,
                 .relu = r->relu,
                 .smoothing = r->smoothing,
                 .loss_weight = r->loss_weight > 0 ? r->loss_weight : 1,
                 .labels = label,
                 .shares_dx = r->shares};
    const int C = channels(r, &s.parts), image = s.H * s.W;
    /* A mean over a power of two keeps whole numbers exact; nothing does after the softmax. */
    if (set->backward || (image & (image - 1))) set->exact = false;
    for (int part = 0; part < s.parts; part++)
        if (r->shares) {
            s.in[part] = before->in[part];
            s.in[part].add = 1;
        } else {
            s.in[part] = pn_set_input(set, (size_t)s.N * image, r->C[part], r->in | r->also[part],
                                      3 * s.classes + 48);
        }
    for (int n = 0; n < s.N; n++) label[n] = pn_set_whole(set, 0, s.classes - 1);
    s.w = pn_set_data(set, "w", (size_t)C * s.classes, 1, 1);
    s.b = pn_set_data(set, "b", s.classes, 2, 1);
    /* Backward is linear in (p - target), whose error is that of a softmax of logits below 4:
     * the exponent, an exp, a sum over the classes, a division. */
    const int softmax = s.classes + 32;
    s.dw = pn_set_result(set, "dw", (size_t)C * s.classes, s.N + softmax, true);
    s.db = pn_set_result(set, "db", s.classes, s.N + softmax, true);
    pn_set_find(set, s.dw)->must = pn_set_find(set, s.db)->must = set->backward;
    if (set->backward) {
        s.pooled = pn_set_data(set, "pooled", (size_t)s.N * C, 2, 2);
        s.logits = pn_set_data(set, "logits", (size_t)s.N * s.classes, 3, 3);
    } else {
        s.pooled = pn_set_result(set, "pooled", (size_t)s.N * C, image + 8, false);
        s.logits = pn_set_result(set, "logits", (size_t)s.N * s.classes, image + C + 16, false);
    }
    float *result = pn_set_poison(set, "result", sizeof(pn_result) / sizeof(float), 0);
    pn_set_find(set, result)->opaque = true;
    s.result = (pn_result *)(void *)result;
    if (r->scaled) s.scale = pn_set_data(set, "scale", 1, 1, 1);
    if (r->scaled) *(float *)s.scale = 0.375f;
    return s;
}

static int build(pn_set *set, const void *rows, void *jobs) {
    const row *r = rows;
    pn_head *s = jobs;
    int count = 0;
    first_job = s;
    for (; count < PN_MAX_JOBS && r[count].N; count++)
        s[count] = new_job(set, &r[count], s + count - 1, labels[count]);
    return count;
}

PN_CALLS(head)

/* The twin's result goes elsewhere than the kernel's. */
static void twin(bool backward, const void *job, const pn_twins *t) {
    pn_head s = *(const pn_head *)job;
    s.result = &wanted[(const pn_head *)job - first_job];
    head_twin(backward, &s, t);
}

/* Forward: pooled and logits are sums. Backward: what is linear in (p - target), with a bound for
 * it, 2, in its place; p and target are at most 1. */
static void magnitude(bool backward, const void *job, const pn_twins *t) {
    pn_head s = *(const pn_head *)job;
    pn_result ignored;
    s.result = &ignored;
    if (!backward) {
        head_twin(false, &s, t);
        return;
    }
    const int C = pn_channels_ref(s.in, s.parts), image = s.H * s.W;
    const double *w = pn_at(t, s.w), *pooled = pn_at(t, s.pooled);
    const double dlogit = 2 * s.loss_weight / s.N * (s.scale ? *pn_at(t, s.scale) : 1);
    double *dw = pn_at(t, s.dw), *db = pn_at(t, s.db);
    double *v = pn_input_v_ref(s.in, s.parts, (size_t)s.N * image, t);
    double *dv = pn_zeros_ref((size_t)s.N * image * C);
    for (int k = 0; k < s.classes; k++) db[k] += dlogit * s.N;
    for (int i = 0; i < s.N * image * C; i++)
        for (int k = 0; k < s.classes && (!s.relu || v[i] > 0); k++)
            dv[i] += w[i % C * s.classes + k] * dlogit / image;
    for (int i = 0; i < s.N * C; i++)
        for (int k = 0; k < s.classes; k++) dw[i % C * s.classes + k] += pooled[i] * dlogit;
    pn_input_dv_ref(s.in, s.parts, (size_t)s.N * image, dv, t);
    free(v);
    free(dv);
}

/* The result, given how far the logits may be off. A log-probability moves by at most twice the
 * largest error of its image's logits; computing it from them takes an exp and a log in each of
 * `classes` terms, on numbers no larger than the logits' range. */
static const char *also(const pn_set *set, const void *job) {
    static char text[200];
    const pn_head *s = job;
    const pn_result got = *s->result, want = wanted[s - first_job];
    if (set->backward) return NULL;
    const pn_twins values = pn_set_values(set), magnitudes = pn_set_magnitudes(set);
    const double *logits = pn_at(&values, s->logits), *m = pn_at(&magnitudes, s->logits);
    const int steps = s->H * s->W + pn_channels_ref(s->in, s->parts) + 16;
    double off = 0;
    int ties = 0; /* images that rounding may make correct or not */
    for (int n = 0; n < s->N; n++) {
        double most = 0, range = 0, best = -INFINITY;
        for (int k = 0; k < s->classes; k++) {
            const int i = n * s->classes + k;
            most = fmax(most, steps * 0x1p-24 * m[i]);
            range = fmax(range, fabs(logits[i]));
            if (k != s->labels[n]) best = fmax(best, logits[i]);
        }
        ties += !set->exact && fabs(logits[n * s->classes + s->labels[n]] - best) <= 2 * most;
        off += 2 * most + (s->classes + 16) * 0x1p-24 * (2 * range + log(s->classes) + 1);
    }
    if (fabs(got.log_likelihood - want.log_likelihood) <= off &&
        fabs(got.loss - want.loss) <= off / s->N && llabs(got.correct - want.correct) <= ties)
        return NULL;
    snprintf(text, sizeof text,
             "log-likelihood %.9g, loss %.9g, correct %d, want %.9g, %.9g, %d within %.3g",
             got.log_likelihood, got.loss, (int)got.correct, want.log_likelihood, want.loss,
             (int)want.correct, off);
    return text;
}

static const pn_subject subject = {"head",    sizeof(pn_head), head_scratch, head_run, twin,
                                   magnitude, build,           NULL,         also};

static void test_call(void **state) {
    const struct call *c = *state;
    assert_int_equal(pn_check(&subject, c->why, c->job, (uint64_t)(c - calls)), 0);
}

static void combinations_nobody_thought_of(void **state) {
    (void)state;
    static const int likes[] = {0,        PN_BATCH, PN_BATCH | PN_AFFINE, PN_RUNNING,
                                PN_NO_DX, PN_ADD,   PN_BATCH | PN_ADD};
    int failures = 0;
    pn_set dice = {.state = 1902};
    for (int i = 0; i < 40; i++) {
        row r[PN_MAX_JOBS] = {{.N = pn_set_whole(&dice, 1, 20),
                               .H = pn_set_whole(&dice, 1, 9),
                               .W = pn_set_whole(&dice, 1, 9)}};
        r->classes = pn_set_whole(&dice, 2, 40);
        r->relu = pn_set_whole(&dice, 0, 1);
        r->smoothing = pn_set_whole(&dice, 0, 1) ? 0 : 0.25f;
        r->loss_weight = pn_set_whole(&dice, 0, 1) ? 1 : 0.4f;
        r->scaled = pn_set_whole(&dice, 0, 1);
        const int parts = pn_set_whole(&dice, 1, PN_PARTS);
        for (int part = 0; part < parts; part++) {
            r->C[part] = 4 * pn_set_whole(&dice, 1, 9);
            r->also[part] = likes[pn_set_whole(&dice, 0, 6)];
        }
        char why[200];
        snprintf(why, sizeof why, "%d: N %d H %d W %d classes %d relu %d parts %d", i, r->N, r->H,
                 r->W, r->classes, r->relu, parts);
        failures += pn_check(&subject, why, r, 1000 + i);
    }
    assert_int_equal(failures, 0);
}

/* Two images of two pixels, two classes. Logits (1, 1 + log 3) and (0, 0): probabilities 1/4, 3/4
 * and 1/2, 1/2; the tie goes to class 0. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, true);
    const row r[PN_MAX_JOBS] = {{.N = 2, .H = 1, .W = 2, .classes = 2, .C = {4}}};
    pn_head s[PN_MAX_JOBS];
    build(&set, r, s);
    pn_set_freeze(&set);
    const pn_twins t = pn_set_values(&set);
    double *x = pn_at(&t, s->in[0].x), *w = pn_at(&t, s->w), *dw = pn_at(&t, s->dw);
    memset(x, 0, 16 * sizeof *x);
    memset(w, 0, 8 * sizeof *w);
    memset(dw, 0, 8 * sizeof *dw);
    x[0] = 3, x[4] = -1; /* image 0, channel 0: mean 1 */
    w[0] = 1, w[1] = 1 + log(3);
    memset(pn_at(&t, s->b), 0, 2 * sizeof *w);
    labels[0][0] = 1, labels[0][1] = 1;
    twin(false, s, &t);
    assert_true(fabs(wanted[0].log_likelihood - log(3. / 4 / 2)) < 1e-15);
    assert_true(fabs(wanted[0].loss + log(3. / 8) / 2) < 1e-15);
    assert_int_equal(wanted[0].correct, 1); /* image 1: a tie, class 0 is named first */
    twin(true, s, &t);
    assert_true(fabs(dw[0] - 1. / 4 / 2) < 1e-15); /* pooled 1 times (p - target) / N */
    assert_true(fabs(dw[1] + 1. / 4 / 2) < 1e-15);
    const double dpooled = (1 - (1 + log(3))) / 8;
    assert_true(fabs(pn_at(&t, s->in[0].dx)[0] - dpooled / 2) < 1e-15);
    pn_set_end(&set);
}

/* Forward with the logits that `bias` alone makes, the same for each of 4 images. */
static pn_result biased(const pn_kernels *k, const float *bias, int classes, int label) {
    pn_set set;
    pn_set_begin(&set, 1, true, false);
    const row r[PN_MAX_JOBS] = {{.N = 4, .H = 2, .W = 2, .classes = classes, .C = {4}}};
    pn_head s[PN_MAX_JOBS];
    build(&set, r, s);
    memset((float *)s->w, 0, (size_t)4 * classes * sizeof *s->w);
    memcpy((float *)s->b, bias, classes * sizeof *bias);
    for (int n = 0; n < 4; n++) labels[0][n] = label;
    assert_int_equal(pn_call(&subject, k, false, s, 1), PN_OK);
    const pn_result result = *s->result;
    pn_set_end(&set);
    return result;
}

/* exp(1e4) is no double: the maximum has to be taken off first. */
static void logits_far_apart(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        const float bias[3] = {1e4f, 0, -1e4f};
        pn_result got = biased(pn_backend_at(backend), bias, 3, 0);
        assert_true(got.log_likelihood == 0 && got.loss == 0 && got.correct == 4);
        got = biased(pn_backend_at(backend), bias, 3, 2);
        assert_true(got.log_likelihood == -8e4 && got.loss == 2e4 && got.correct == 0);
    }
}

static void first_of_equal_logits_wins(void **state) {
    (void)state;
    static const float bias[5] = {1, 2, 2, 0, 2};
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int label = 0; label < 5 && pn_backend_at(backend); label++)
            assert_int_equal(biased(pn_backend_at(backend), bias, 5, label).correct,
                             label == 1 ? 4 : 0);
}

/* The caller looks for a NaN in the result to see that training has diverged. */
static void nan_is_passed_on(void **state) {
    (void)state;
    for (int at = 0; at < 3; at++) {
        float bias[3] = {1, 2, 3};
        bias[at] = NAN;
        for (int backend = 0; backend < PN_BACKENDS; backend++) {
            if (!pn_backend_at(backend)) continue;
            const pn_result got = biased(pn_backend_at(backend), bias, 3, 1);
            assert_true(isnan(got.log_likelihood) && isnan(got.loss));
        }
    }
}

static void bad_arguments(void **state) {
    (void)state;
    static const pn_flaw flaws[] = {
        {"no part", offsetof(pn_head, parts), 0},
        {"five parts", offsetof(pn_head, parts), PN_PARTS + 1},
        {"no classes", offsetof(pn_head, classes), 0},
        {"no image", offsetof(pn_head, N), 0},
        {"negative height", offsetof(pn_head, H), -5},
        {"no width", offsetof(pn_head, W), 0},
        {"6 channels in", offsetof(pn_head, in[1].C), 6},
        {"no norm of that number", offsetof(pn_head, in[0].norm.mode), 7},
        {"norm without statistics", offsetof(pn_head, in[1].norm.stats), PN_NULL},
        {"no x", offsetof(pn_head, in[1].x), PN_NULL},
        {"no labels", offsetof(pn_head, labels), PN_NULL},
        {"no weights", offsetof(pn_head, w), PN_NULL},
        {"nowhere to pool", offsetof(pn_head, pooled), PN_NULL},
        {"no logits", offsetof(pn_head, logits), PN_NULL},
    };
    static const pn_flaw of_pass[2][2] = {
        {{"no result", offsetof(pn_head, result), PN_NULL},
         {"no b", offsetof(pn_head, b), PN_NULL}},
        {{"no dw", offsetof(pn_head, dw), PN_NULL}, {"no db", offsetof(pn_head, db), PN_NULL}},
    };
    const row r[PN_MAX_JOBS] = {
        {.N = 2, .H = 5, .W = 5, .classes = 3, .C = {8, 4}, .in = PN_BATCH},
        {.N = 2, .H = 5, .W = 5, .classes = 3, .C = {8, 4}, .in = PN_BATCH}};
    static const pn_flaw sharing[] = {
        {"the second to share dx overwrites it", offsetof(pn_head, in[0].add), 0},
        {"shares dx and does not say so", offsetof(pn_head, shares_dx), 0},
        {"shares_dx 2", offsetof(pn_head, shares_dx), 2}};
    static const pn_flaw alone = {"shares no dx and says so", offsetof(pn_head, shares_dx), 1};
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
        {.N = 5, .H = 9, .W = 7, .classes = 10, .C = {20, 8}, .in = PN_BATCH}};
    const pn_head bare = {.N = 5,
                          .H = 9,
                          .W = 7,
                          .classes = 10,
                          .parts = 2,
                          .loss_weight = 1,
                          .in = {{.C = 20, .norm = {.mode = PN_NORM_BATCH}},
                                 {.C = 8, .norm = {.mode = PN_NORM_BATCH}}}};
    assert_int_equal(pn_check_scratch(&subject, r, &bare), 0);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(combinations_nobody_thought_of),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(logits_far_apart),
        cmocka_unit_test(first_of_equal_logits_wins),
        cmocka_unit_test(nan_is_passed_on),
        cmocka_unit_test(scratch_depends_on_shapes_only),
        cmocka_unit_test(bad_arguments),
    };
    return pn_run_rows("head", calls, sizeof *calls, (int)(sizeof calls / sizeof *calls), test_call,
                       others, (int)(sizeof others / sizeof *others));
}
