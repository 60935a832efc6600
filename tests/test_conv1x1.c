/* test_conv1x1.c -- ReLU and 1x1 convolution of a concatenation, against plain loops. */
#include "tests/support/op_test.h"

static const pn_case cases[] = {
    {"evaluation cells of 144 channels", "N1 9x9 C144,144,144,144 K144 in=batch+affine out=batch"},
    {"as wide as a card takes", "N1 3x3 C1024,4 K1024 in=batch out=batch+factor"},
    {"more tiles than a card's blocks", "N22 32x64 C12 K16 out=batch+factor"},
    {"partials that a card adds in two rounds, its last set a small one",
     "N2 33x33 C16,16,16,16 K32 in=batch out=batch & K16"},
    {"jobs that share dx, K of all kinds",
     "N2 8x9 C80,40 K16 in=batch out=batch & K516 out=batch & K100 out=batch+affine"},
    {"one pixel", "N1 1x1 C4 K4 in=open"},
    {"one pixel, normalised: no variance", "N1 1x1 C8 K8 in=batch out=batch+affine"},
    {"two pixels: unbiased variance is twice the biased", "N1 1x2 C8 K8 in=batch out=batch+affine"},
    {"one pixel of each image", "N19 1x1 C12 K8 in=batch out=batch"},
    {"first cell: the stem's 48 channels to 16", "N2 32x32 C48 K16 in=batch+affine out=batch"},
    {"cells of 16: four parts to 16", "N2 32x32 C16,16,16,16 K16 out=batch"},
    {"cells of 32: four parts to 32", "N3 16x16 C32,32,32,32 K32 out=batch"},
    {"cells of 64: four parts to 64", "N2 8x8 C64,64,64,64 K64 out=batch"},
    {"more channels out than in", "N2 8x8 C36 K128 in=batch out=batch"},
    {"cells of 36", "N2 9x7 C36,36,36,36 K36 in=batch out=batch"},
    {"four channels to four", "N2 6x5 C4 K4 in=batch out=batch"},
    {"parts of different widths", "N3 7x5 C4,36,8,20 K20 in=batch out=batch"},
    {"parts with different norms",
     "N3 5x5 C8,8,12,4 K12 also=-,batch,running+affine,batch+affine out=batch"},
    {"dx of two parts only, one of them added to",
     "N3 5x5 C8,8,12,4 K12 in=batch also=-,no-dx,add,no-dx out=batch"},
    {"dx not wanted", "N3 5x5 C8,8 K12 in=no-dx+batch out=batch"},
    {"28 wide", "N1 28x28 C12 K8 in=batch out=batch"},
    {"224 wide", "N1 3x224 C4,4 K8 in=batch out=batch"},
    {"batch no multiple of the chunks", "N17 5x3 C20 K12 in=batch out=batch"},
    {"gamma and beta, negative and zero", "N3 6x6 C24,8 K24 in=batch+affine out=batch+affine"},
    {"running statistics", "N3 6x6 C24,8 K24 in=running out=running"},
    {"running statistics, gamma learnt", "N3 6x6 C24,8 K24 in=running+affine out=running+affine"},
    {"weighted", "N4 4x4 C16 K16 out=batch+weight"},
    {"no norm at all, weighted per image", "N4 4x4 C16 K16 out=factor"},
    {"jobs of different shapes",
     "N4 4x4 C16,8 K16 out=batch | N2 9x9 C36 K4 in=batch out=batch | N1 1x3 C4,4,4 K8"},
    {"jobs that share dx", "N3 8x8 C16,16,16,16 K16 in=batch out=batch & K32 out=batch & K4"},
    {"jobs that share dx and add to it", "N3 4x4 C8,12 K8 in=add+batch & K8 | N3 4x4 C8 K8 & K12"},
    {"two that share dx, an image for each thread, 4 channels",
     "N17 4x3 C4 K4 in=batch out=batch & K8 out=batch"},
    {"two that share dx, an image for each thread, 8 channels",
     "N17 4x3 C8 K8 in=batch out=batch & K8 out=batch"},
    {"two that share dx, an image for each thread, 16 channels",
     "N17 4x3 C16 K16 in=batch out=batch & K32 out=batch"},
    {"two that share dx, an image for each thread, 36 channels",
     "N17 4x3 C36 K36 in=batch out=batch & K72 out=batch"},
    {"two that share dx, an image for each thread, 64 channels",
     "N17 4x3 C64 K64 in=batch out=batch & K64 out=batch"},
    {"four that share dx, an image for each thread, 8 channels",
     "N33 3x4 C8 K8 in=batch out=batch & K32 out=batch & K4 & K20 out=batch"},
    {"four that share dx, an image for each thread, 32 channels",
     "N33 3x4 C32 K8 in=batch out=batch & K32 out=batch & K4 & K20 out=batch"},
    {"four that share dx, an image for each thread, 24 and 40 channels",
     "N33 3x4 C24,40 K8 in=batch out=batch & K32 out=batch & K4 & K20 out=batch"},
    {"two groups of two", "N16 3x3 C8,8 K8 in=batch & K64 | N20 2x3 C32 K16 in=add & K12"},
};

static void make(pn_set *set, const pn_row *r, void *job, int i) {
    (void)i;
    pn_make_pointwise(set, r, job, 1);
}

static const pn_flaw flaws[] = {{"10 channels out", offsetof(pn_conv1x1, out.K), 10}};

PN_CALLS(conv1x1)

static const pn_op_test op = {
    .subject = {PN_SUBJECT(conv1x1), .twin = conv1x1_twin, .multiplies = true, .make = make,
                PN_PLACES_OF_PARTS(pn_conv1x1)},
    .keys = pn_pointwise_keys,
    .cases = cases,
    .count = sizeof cases / sizeof *cases,
    .roll = pn_roll_pointwise,
    .seed = 1902,
    .rolls = 60,
    .linear = {"N3 7x6 C12,36,4 K20 in=open", "N2 8x8 C32,32,32,32 K32 in=open"},
    .shape = "N5 9x7 C20,8 K20 in=batch out=batch",
    .good = "N2 5x5 C8,4 K8 in=batch out=batch",
    .flaws = flaws,
    .flaw_count = 1,
};

/* Two pixels of four and four channels; what is negative does not count. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_conv1x1 s;
    pn_set_begin(&set, 1, true, false);
    pn_op_jobs(&op, &set, "N1 1x2 C4,4 K4", &s);
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

/* A channel whose mean is 1000 times its spread: sums of squares without a pivot have no digit of
 * the variance left. The bound on rstd (check.c) is in terms of the spread. */
static void variance_far_from_zero(void **state) {
    (void)state;
    static pn_set set;
    pn_set_begin(&set, 3, false, false);
    pn_conv1x1 s;
    pn_op_jobs(&op, &set, "N8 8x8 C4 K8 out=batch", &s);
    for (size_t i = 0; i < 512 * 4; i++)
        ((float *)s.in[0].x)[i] = i % 4 ? 1000 : (float)pn_set_real(&set, 0.5, 1.5);
    for (int i = 0; i < 32; i++) ((float *)s.w)[i] = i / 8 < 2;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        assert_int_equal(pn_call(&op.subject, pn_backend_at(backend), false, &s, 1), PN_OK);
        const float *z = s.out.z;
        double mean = 0, variance = 0;
        for (int i = 0; i < 512; i++) mean += z[i * 8] / 512.0;
        for (int i = 0; i < 512; i++) variance += pow(z[i * 8] - mean, 2) / 512;
        /* Range 1, n = 512: g(3n+8) = 9.2e-5 of variance 1/12, half of it relative in rstd. */
        for (int k = 0; k < 8; k++)
            assert_true(fabs(s.out.norm.stats[8 + k] * sqrt(variance + 1e-5) - 1) < 6e-4);
    }
    pn_set_end(&set);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(variance_far_from_zero),
    };
    return pn_op_main(&op, others, 2);
}
