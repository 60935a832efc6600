/* test_stem.c -- 3x3 convolution of the image, against plain loops. */
#include "tests/support/op_test.h"

static const pn_key keys[] = {
    {"N", 1, 40, PN_MUST}, {"HxW", 1, 224, PN_MUST}, {"C", 1, 3, PN_MUST}, {"K", 4, 108, PN_MUST},
    {"s", 1, 2, 1},        {"out=", 0, 0, 0},        {NULL, 0, 0, 0}};

static const pn_case cases[] = {
    {"one pixel", "N1 1x1 C1 K4"},
    {"one pixel, normalised: no variance", "N1 1x1 C3 K8 out=batch+affine"},
    {"two pixels: unbiased variance is twice the biased", "N2 1x1 C3 K8 out=batch+affine"},
    {"one row", "N2 1x9 C3 K8 out=batch"},
    {"one column", "N2 9x1 C3 K8 out=batch"},
    {"CIFAR's image to 48", "N2 32x32 C3 K48 out=batch+affine"},
    {"Fashion-MNIST's image to 24", "N2 28x28 C1 K24 out=batch+affine"},
    {"to 108, the full-size network", "N1 9x11 C3 K108 out=batch+affine"},
    {"odd everything", "N3 7x9 C3 K20 out=batch"},
    {"224 wide", "N1 3x224 C3 K8 out=batch"},
    {"batch no multiple of the chunks", "N17 5x4 C3 K12 out=batch"},
    {"running statistics", "N3 6x6 C1 K16 out=running+affine"},
    {"no norm, weighted", "N3 6x6 C3 K16 out=weight"},
    {"no norm, weighted per image", "N3 6x6 C3 K16 out=factor"},
    {"stride 2, one pixel", "N2 1x1 C3 K8 s2"},
    {"stride 2, even: the last window ends inside", "N2 8x6 C3 K8 s2 out=batch"},
    {"stride 2, odd: the last window ends outside", "N3 7x9 C1 K20 s2 out=batch+affine"},
    {"ImageNet's image to 24, stride 2", "N1 6x224 C3 K24 s2 out=batch+affine"},
    {"both strides in one call, weighted per image",
     "N3 6x6 C3 K16 out=factor | N17 5x4 C1 K12 s2 out=batch+factor"},
    {"more tiles than a card's blocks", "N33 16x16 C3 K108 out=batch+affine"},
    {"jobs of different shapes",
     "N4 4x4 C3 K16 out=batch | N2 9x9 C1 K4 out=batch+affine | N1 1x3 C3 K36"},
};

static void make(pn_set *set, const pn_row *r, void *job, int i) {
    (void)i;
    pn_stem *s = job;
    *s = (pn_stem){.N = r->N, .H = r->H, .W = r->W, .C = *r->C, .stride = r->stride};
    const int outputs = pn_out_size(s->H, s->stride) * pn_out_size(s->W, s->stride),
              pixels = s->N * outputs, weights = 9 * s->C * r->K;
    s->x = pn_set_data(set, "x", (size_t)s->N * s->H * s->W * s->C, 3, 2);
    s->out = pn_set_output(set, s->N, outputs, r->K, r->out, 9 * s->C + 2);
    s->w = pn_set_data(set, "w", weights, 3, 1);
    s->dw = pn_set_result(set, "dw", weights, pixels + 16, true);
    pn_set_find(set, s->dw)->must = set->backward;
}

static void roll(pn_set *dice, int i, pn_row *r) {
    (void)i;
    pn_roll_size(dice, r, 20, 13);
    r->stride = 1 + pn_set_whole(dice, 0, 1);
    *r->C = pn_set_whole(dice, 0, 1) ? 1 : 3;
    r->K = 4 * pn_set_whole(dice, 1, 17);
    r->out = pn_roll_output(dice);
}

static const pn_flaw flaws[] = {
    {"an image of 2 channels", offsetof(pn_stem, C), 2},
    {"an image of 4 channels", offsetof(pn_stem, C), 4},
    {"stride 3", offsetof(pn_stem, stride), 3},
    {"no stride", offsetof(pn_stem, stride), 0},
    {"6 channels out", offsetof(pn_stem, out.K), 6},
    {"no x", offsetof(pn_stem, x), PN_NULL},
};

PN_CALLS(stem)

static const pn_op_test op = {
    .subject = {PN_SUBJECT(stem), .twin = stem_twin, .make = make, .out = offsetof(pn_stem, out),
                .weights = {{offsetof(pn_stem, w), offsetof(pn_stem, dw)}}},
    .keys = keys,
    .cases = cases,
    .count = sizeof cases / sizeof *cases,
    .roll = roll,
    .seed = 1902,
    .rolls = 60,
    .linear = {"N3 7x6 C3 K20", "N3 7x6 C3 K20 s2"},
    .shape = "N5 9x7 C3 K20 out=batch",
    .good = "N2 5x5 C3 K8 out=batch",
    .flaws = flaws,
    .flaw_count = sizeof flaws / sizeof *flaws,
};

/* 1..6 in two rows; output channel 0 sees the pixel to the right, channel 1 ten times the one
 * above. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, false);
    pn_stem s;
    pn_op_jobs(&op, &set, "N1 2x3 C1 K4", &s);
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

int main(void) {
    static const struct CMUnitTest others[] = {cmocka_unit_test(by_hand)};
    return pn_op_main(&op, others, 1);
}
