/* test_conv.c -- ReLU and dense convolution of a concatenation, or average pool and 1x1
 * convolution, against plain loops. */
#include "tests/support/op_test.h"

static const pn_key keys[] = {
    {"N", 1, 40, PN_MUST},   {"HxW", 1, 224, PN_MUST}, {"C,", 4, 1024, PN_MUST},
    {"K", 4, 1024, PN_MUST}, {"R", 1, 5, PN_MUST},     {"s", 1, 3, 1},
    {"p", 0, 4, 0},          {"mean", 0, 0, 0},        {"in=", 0, 0, 0},
    {"also=,", 0, 0, 0},     {"out=", 0, 0, 0},        {NULL, 0, 0, 0}};

static const pn_case cases[] = {
    {"ImageNet's stem, the second convolution",
     "N1 6x112 C24 K48 R3 s2 p1 in=batch+affine out=batch+affine"},
    {"ImageNet's stem, the third convolution",
     "N2 14x13 C48 K48 R3 s2 p1 in=batch+affine out=batch+affine"},
    {"auxiliary head: average of 5x5, stride 3",
     "N2 8x8 C36,36,36,36 K60 R5 s3 mean in=batch out=batch+affine"},
    {"auxiliary head on ImageNet: average of 5x5, stride 2",
     "N2 14x14 C48,48 K16 R5 s2 mean out=batch+affine"},
    {"auxiliary head: 2x2 to one pixel of many channels",
     "N3 2x2 C36 K268 R2 in=batch+affine out=batch+affine"},
    {"an average that whole numbers keep exact", "N3 7x6 C4,20,8 K12 R4 mean in=batch out=factor"},
    {"averages whose windows leave gaps", "N3 9x8 C16 K12 R2 s3 mean in=batch out=batch"},
    {"one pixel", "N1 1x1 C4 K4 R1 in=open"},
    {"one pixel under a window of 3x3", "N1 1x1 C4 K4 R3 p1 in=open"},
    {"one pixel, normalised: no variance", "N1 1x1 C8 K8 R3 s2 p1 in=batch out=batch+affine"},
    {"the window is the image", "N5 4x4 C12 K8 R4 in=batch out=batch"},
    {"padding as wide as it may be", "N2 3x2 C4,8 K8 R5 p4 in=batch out=batch"},
    {"windows that read nothing but padding", "N2 1x1 C8 K8 R3 p2 in=batch out=batch"},
    {"gaps between the windows", "N3 8x9 C12 K8 R1 s3 in=batch out=batch"},
    {"gaps, and dx is added to", "N3 8x9 C12 K8 R2 s3 in=batch+add out=batch"},
    {"1x1, stride 1", "N2 5x6 C16,4 K20 R1 in=batch out=batch"},
    {"odd everything", "N3 7x9 C12 K20 R3 s2 p1 in=batch out=batch"},
    {"one row", "N2 1x19 C8 K8 R3 p1 in=batch out=batch"},
    {"one column", "N2 19x1 C8 K8 R3 p1 in=batch out=batch"},
    {"224 wide", "N1 4x224 C4 K8 R3 s2 p1 in=batch out=batch"},
    {"as wide as a card takes",
     "N1 3x2 C4 K1024 R2 in=batch out=batch+factor | N1 3x2 C1020,4 K4 R2 in=batch out=batch"},
    {"as many channels as there are", "N1 5x5 C1024,1024,1024,1024 K4 R5 in=batch"},
    {"so many outputs that a card keeps dw in memory, over several tiles",
     "N30 3x3 C4 K512 R2 in=batch out=batch"},
    {"more tiles than a card's blocks", "N9 64x64 C4 K8 R3 p1 out=batch+factor"},
    {"partials that a card adds in two rounds; blocks without a run in the last sets",
     "N9 32x32 C16 K32 R3 s2 p1 in=batch out=batch"},
    {"parts of different widths", "N3 7x5 C4,36,8,20 K20 R3 p1 in=batch out=batch"},
    {"parts with different norms",
     "N3 5x5 C8,8,12,4 K12 R3 s2 p1 also=-,batch,running+affine,batch+affine out=batch"},
    {"dx of two parts only, one of them added to",
     "N3 5x5 C8,8,12,4 K12 R3 in=batch also=-,no-dx,add,no-dx out=batch"},
    {"dx not wanted", "N3 5x5 C8,8 K12 R2 s2 in=no-dx+batch out=batch"},
    {"batch no multiple of the chunks", "N17 5x3 C20 K12 R3 s2 p1 in=batch out=batch"},
    {"gamma and beta, negative and zero: what is 0 outside the image is r, not x",
     "N3 6x6 C24,8 K24 R3 p1 in=batch+affine out=batch+affine"},
    {"running statistics", "N3 6x6 C24,8 K24 R3 s2 p1 in=running out=running"},
    {"running statistics, gamma learnt",
     "N3 6x6 C24,8 K24 R2 s2 in=running+affine out=running+affine"},
    {"weighted", "N4 4x4 C16 K16 R3 p1 out=batch+weight"},
    {"no norm at all, weighted per image", "N4 4x4 C16 K16 R3 p1 out=factor"},
    {"jobs of different shapes",
     "N4 4x4 C16,8 K16 R3 p1 out=batch | N2 9x9 C36 K4 R5 s2 p2 in=batch out=batch | "
     "N1 1x3 C4,4,4 K8 R1 s2"},
    {"jobs of different windows that share dx",
     "N3 8x8 C16,16 K16 R3 s2 p1 in=batch out=batch & K32 R1 out=batch & K4 R4 s3 mean"},
    {"jobs that share dx and add to it",
     "N3 4x4 C8,12 K8 R2 in=add+batch & K8 R3 p1 | N3 4x4 C8 K8 R4 & K12 R2 s3"},
    {"two that share dx, an image for each thread", "N17 4x3 C20 K8 R3 s2 p1 in=batch & K36 R1"},
    {"four that share dx, an image for each thread",
     "N33 3x4 C8,4 K4 R2 in=batch & K12 R3 s2 & K40 R1 s3 & K4 R2 s2 mean"},
};

static int outputs_of(const pn_conv *s) {
    return pn_conv_size(s->H, s->R, s->stride, s->pad) *
           pn_conv_size(s->W, s->R, s->stride, s->pad);
}

static void make(pn_set *set, const pn_row *r, void *job, int i) {
    pn_conv *s = job;
    *s = (pn_conv){.N = r->N,
                   .H = r->H,
                   .W = r->W,
                   .parts = pn_row_parts(r),
                   .R = r->R,
                   .stride = r->stride,
                   .pad = r->pad,
                   .mean = r->mean,
                   .shares_dx = r->shares};
    const int outputs = outputs_of(s), taps = s->R * s->R;
    /* A share of 1/9 or 1/25 is rounded, 1/4 and 1/16 are not. */
    if (s->mean && s->R % 2 && s->R > 1) set->exact = false;
    const int C = pn_op_inputs(set, r, s->in, i ? s[-1].in : NULL, r->K + taps + 16);
    s->out = pn_set_output(set, s->N, outputs, r->K, r->out, taps * C + 16);
    const size_t weights = (size_t)(s->mean ? 1 : taps) * C * r->K;
    s->w = pn_set_data(set, "w", weights, 1, 1);
    s->dw = pn_set_result(set, "dw", weights, s->N * outputs + taps + 16, true);
    pn_set_find(set, s->dw)->must = set->backward;
}

static void roll(pn_set *dice, int i, pn_row *r) {
    (void)i;
    r->N = pn_set_whole(dice, 1, 20);
    r->R = pn_set_whole(dice, 1, 5);
    r->stride = pn_set_whole(dice, 1, 3);
    r->mean = pn_set_whole(dice, 0, 2) == 0;
    r->pad = r->mean ? 0 : pn_set_whole(dice, 0, r->R - 1);
    const int least = r->R > 2 * r->pad ? r->R - 2 * r->pad : 1;
    r->H = pn_set_whole(dice, least, 9);
    r->W = pn_set_whole(dice, least, 9);
    r->K = 4 * pn_set_whole(dice, 1, 12);
    pn_roll_parts(dice, r, 6);
    r->out = pn_roll_output(dice);
}

static const pn_flaw flaws[] = {
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
    {"10 channels out", offsetof(pn_conv, out.K), 10},
};

PN_CALLS(conv)

static const pn_op_test op = {
    .subject = {PN_SUBJECT(conv), .twin = conv_twin, .multiplies = true, .make = make,
                PN_PLACES_OF_PARTS(pn_conv)},
    .keys = keys,
    .cases = cases,
    .count = sizeof cases / sizeof *cases,
    .roll = roll,
    .seed = 1902,
    .rolls = 60,
    .linear = {"N3 7x6 C12,36,4 K20 R3 s2 p1 in=open", "N2 8x8 C8,8 K8 R5 s3 p4 in=open",
               "N2 8x7 C32,16 K32 R4 s3 mean in=open"},
    .shape = "N5 9x7 C20,8 K20 R3 s2 p1 in=batch out=batch",
    .good = "N2 5x5 C8,4 K8 R5 s2 p1 in=batch out=batch",
    .flaws = flaws,
    .flaw_count = sizeof flaws / sizeof *flaws,
};

/* Two rows of three pixels under 2x2 windows: a convolution with pad 1 and stride 2, an average
 * with stride 1. What is negative does not count, what is outside is 0. */
static void by_hand(void **state) {
    (void)state;
    for (int mean = 0; mean < 2; mean++) {
        pn_set set;
        pn_set_begin(&set, 1, true, false);
        pn_conv s;
        pn_op_jobs(&op, &set, mean ? "N1 2x3 C4 K4 R2 mean" : "N1 2x3 C4 K4 R2 s2 p1", &s);
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

int main(void) {
    static const struct CMUnitTest others[] = {cmocka_unit_test(by_hand)};
    return pn_op_main(&op, others, 1);
}
