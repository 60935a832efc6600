/* test_head.c -- global average pool, linear, softmax cross-entropy, against plain loops. */
#include "tests/support/op_test.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_IMAGES = 40 };

static const pn_key keys[] = {
    {"N", 1, MAX_IMAGES, PN_MUST}, {"HxW", 1, 224, PN_MUST}, {"C,", 4, 1024, PN_MUST},
    {"K", 2, 1000, PN_MUST},       {"relu", 0, 0, 0},        {"smoothing=", 0, 1, 0},
    {"weight=", 0, 1, 1},          {"scaled", 0, 0, 0},      {"in=", 0, 0, 0},
    {"also=,", 0, 0, 0},           {NULL, 0, 0, 0}};

/* K: classes; scaled: `scale` is not NULL. */
static const pn_case cases[] = {
    {"one pixel, one image", "N1 1x1 C4 K2"},
    {"CIFAR-10 after cells of 64", "N6 8x8 C64,64,64,64 K10 scaled"},
    {"CIFAR-100", "N3 8x8 C36,36 K100"},
    {"a thousand classes, smoothed", "N2 7x7 C8 K1000 smoothing=0.1"},
    {"more images than chunks", "N19 3x2 C12,4 K7"},
    {"images in sets on a card, the last a small one", "N37 3x2 C12,4 K7 in=batch scaled"},
    {"images in sets on a card, two heads on one tensor", "N40 2x2 C8 K10 in=batch & K6 relu"},
    {"odd number of classes, odd image", "N5 5x7 C20 K3"},
    {"an auxiliary head: relu, weight 0.4",
     "N4 2x2 C16 K10 relu scaled weight=0.4 in=batch+affine"},
    {"relu without a norm", "N4 4x4 C16,8 K10 relu"},
    {"parts with different norms", "N4 3x3 C8,20,4,12 K5 also=-,batch,running+affine,batch+affine"},
    {"dx of some parts only, one added to", "N4 3x3 C8,8,4,12 K5 in=batch also=-,no-dx,add,no-dx"},
    {"two heads of different shapes",
     "N4 4x4 C16 K10 smoothing=0.1 in=batch | N4 2x2 C8,8 K10 relu weight=0.4"},
    {"two heads on one tensor", "N4 4x4 C16 K10 in=batch & K6 relu weight=0.4"},
    {"four heads on one tensor, an image for each thread",
     "N17 2x2 C16,36 K10 in=batch & K100 & K3 relu & K7"},
    {"224 wide", "N1 2x224 C4 K4"},
};

/* What lies outside of jobs; one set of jobs is in use at a time. */
static int32_t (*labels)[MAX_IMAGES];
static pn_result wanted[PN_MAX_JOBS];
static const pn_head *first_job;

static void make(pn_set *set, const pn_row *r, void *job, int i) {
    pn_head *s = job;
    if (!labels) labels = pn_reach(PN_MAX_JOBS * sizeof *labels);
    first_job = s - i;
    *s = (pn_head){.N = r->N,
                   .H = r->H,
                   .W = r->W,
                   .parts = pn_row_parts(r),
                   .relu = r->relu,
                   .classes = r->K,
                   .shares_dx = r->shares,
                   .smoothing = r->smoothing,
                   .loss_weight = r->weight,
                   .labels = labels[i]};
    const int image = s->H * s->W;
    /* A mean over a power of two keeps whole numbers exact; nothing does after the softmax. */
    if (set->backward || (image & (image - 1))) set->exact = false;
    const int C = pn_op_inputs(set, r, s->in, i ? s[-1].in : NULL, 3 * s->classes + 48);
    for (int n = 0; n < s->N; n++) labels[i][n] = pn_set_whole(set, 0, s->classes - 1);
    s->w = pn_set_data(set, "w", (size_t)C * s->classes, 1, 1);
    s->b = pn_set_data(set, "b", s->classes, 2, 1);
    /* Backward is linear in (p - target), whose error is that of a softmax of logits below 4:
     * the exponent, an exp, a sum over the classes, a division. */
    const int softmax = s->classes + 32;
    s->dw = pn_set_result(set, "dw", (size_t)C * s->classes, s->N + softmax, true);
    s->db = pn_set_result(set, "db", s->classes, s->N + softmax, true);
    pn_set_find(set, s->dw)->must = pn_set_find(set, s->db)->must = set->backward;
    if (set->backward) {
        s->pooled = pn_set_data(set, "pooled", (size_t)s->N * C, 2, 2);
        s->logits = pn_set_data(set, "logits", (size_t)s->N * s->classes, 3, 3);
    } else {
        s->pooled = pn_set_result(set, "pooled", (size_t)s->N * C, image + 8, false);
        s->logits = pn_set_result(set, "logits", (size_t)s->N * s->classes, image + C + 16, false);
    }
    float *result = pn_set_poison(set, "result", sizeof(pn_result) / sizeof(float), 0);
    pn_set_find(set, result)->opaque = true;
    s->result = (pn_result *)(void *)result;
    if (r->scaled) s->scale = pn_set_data(set, "scale", 1, 1, 1);
    if (r->scaled) *(float *)s->scale = 0.375f;
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

static void roll(pn_set *dice, int i, pn_row *r) {
    (void)i;
    pn_roll_size(dice, r, 20, 9);
    r->K = pn_set_whole(dice, 2, 40);
    r->relu = pn_set_whole(dice, 0, 1);
    r->smoothing = pn_set_whole(dice, 0, 1) ? 0 : 0.25f;
    r->weight = pn_set_whole(dice, 0, 1) ? 1 : 0.4f;
    r->scaled = pn_set_whole(dice, 0, 1);
    pn_roll_parts(dice, r, 9);
}

static const pn_flaw flaws[] = {
    {"no classes", offsetof(pn_head, classes), 0},
    {"no norm of that number", offsetof(pn_head, in[0].norm.mode), 7},
    {"norm without statistics", offsetof(pn_head, in[1].norm.stats), PN_NULL},
    {"no labels", offsetof(pn_head, labels), PN_NULL},
    {"nowhere to pool", offsetof(pn_head, pooled), PN_NULL},
    {"no logits", offsetof(pn_head, logits), PN_NULL},
    {"no result", offsetof(pn_head, result), PN_NULL_FORWARD},
    {"no b", offsetof(pn_head, b), PN_NULL_FORWARD},
    {"no db", offsetof(pn_head, db), PN_NULL_BACKWARD},
};

static const pn_op_test op = {
    .subject = {PN_SUBJECT(head), .twin = twin, .magnitude = magnitude, .make = make, .also = also,
                .in = offsetof(pn_head, in), .parts = offsetof(pn_head, parts),
                .shares_dx = offsetof(pn_head, shares_dx), .outside = offsetof(pn_head, labels),
                .weights = {{offsetof(pn_head, w), offsetof(pn_head, dw)}}},
    .keys = keys,
    .cases = cases,
    .count = sizeof cases / sizeof *cases,
    .roll = roll,
    .seed = 1902,
    .rolls = 40,
    .shape = "N5 9x7 C20,8 K10 in=batch",
    .good = "N2 5x5 C8,4 K3 in=batch",
    .flaws = flaws,
    .flaw_count = sizeof flaws / sizeof *flaws,
};

/* Two images of two pixels, two classes. Logits (1, 1 + log 3) and (0, 0): probabilities 1/4, 3/4
 * and 1/2, 1/2; the tie goes to class 0. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, true);
    pn_head s[1];
    pn_op_jobs(&op, &set, "N2 1x2 C4 K2", s);
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
    pn_head s[1];
    char row[40];
    snprintf(row, sizeof row, "N4 2x2 C4 K%d", classes);
    pn_op_jobs(&op, &set, row, s);
    memset((float *)s->w, 0, (size_t)4 * classes * sizeof *s->w);
    memcpy((float *)s->b, bias, classes * sizeof *bias);
    for (int n = 0; n < 4; n++) labels[0][n] = label;
    assert_int_equal(pn_call(&op.subject, k, false, s, 1), PN_OK);
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

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(logits_far_apart),
        cmocka_unit_test(first_of_equal_logits_wins),
        cmocka_unit_test(nan_is_passed_on),
    };
    const int failed = pn_op_main(&op, others, 4);
    pn_unreach(labels);
    return failed;
}
