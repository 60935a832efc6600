/* test_stage.c -- ReLU, depthwise, pointwise: the kernels against plain loops. */
#include "tests/support/op_test.h"

static const pn_key keys[] = {
    {"N", 1, 140, PN_MUST}, {"HxW", 1, 224, PN_MUST}, {"C", 4, 1024, PN_MUST},
    {"R", 3, 5, 3},         {"s", 1, 2, 1},           {"d", 1, 2, 1},
    {"in=", 0, 0, 0},       {"out=", 0, 0, 0},        {NULL, 0, 0, 0}};

static const pn_case cases[] = {
    {"one pixel", "N1 1x1 C4 in=open"},
    {"one pixel a batch, normalised", "N3 1x1 C8 R5 in=batch out=batch"},
    {"filter wider than the image", "N2 2x3 C8 R5 d2"},
    {"one column", "N2 9x1 C4 R5 in=batch out=batch"},
    {"one row, stride 2", "N2 1x9 C4 s2 in=batch out=batch"},
    {"odd everything", "N3 7x9 C20 R5 in=batch out=batch"},
    {"four channels: less than any vector", "N2 6x5 C4 in=batch out=batch"},
    {"a multiple of 4 and of nothing else", "N2 8x8 C36 in=batch out=batch"},
    {"the first cells, 3x3", "N2 32x32 C16 in=batch out=batch+factor"},
    {"the middle cells, 5x5", "N2 16x16 C32 R5 in=batch out=batch+factor"},
    {"the last cells, 5x5 dilated", "N3 8x8 C64 R5 d2 in=batch out=batch"},
    {"into the first reduction", "N2 32x32 C32 s2 in=batch out=batch"},
    {"28 wide, MNIST's size", "N1 28x28 C8 R5 in=batch out=batch"},
    {"14 wide", "N2 14x14 C16 d2 in=batch out=batch"},
    {"7 wide, stride 2", "N2 7x7 C32 R5 s2 in=batch out=batch"},
    {"224 wide", "N1 5x224 C4 in=batch out=batch"},
    {"odd size, stride 2, dilation 2", "N2 11x13 C8 R5 s2 d2 in=batch out=batch"},
    {"even size, stride 2, dilation 2", "N2 10x6 C8 s2 d2 in=batch out=batch"},
    {"batch no multiple of the chunks", "N17 5x5 C12 in=batch out=batch"},
    {"a large batch of small images", "N70 2x2 C8 in=batch out=batch"},
    {"gamma and beta, negative and zero", "N4 6x7 C24 in=batch+affine out=batch+affine"},
    {"running statistics", "N2 6x6 C16 in=running out=running"},
    {"running statistics, gamma learnt", "N2 6x6 C16 in=running+affine out=running+affine"},
    {"gamma without gradient", "N2 6x6 C16 in=batch+frozen out=running+frozen"},
    {"no norm at all", "N2 9x8 C16 R5"},
    {"adds to dx and sums", "N3 6x6 C16 in=batch+add out=batch"},
    {"dx not wanted", "N3 6x6 C16 in=batch+no-dx out=batch"},
    {"weighted, as in a supernet", "N5 4x4 C8 in=batch out=batch+weight"},
    {"weighted, and per image", "N5 4x4 C8 in=batch out=weight+factor"},
    {"weighted per image", "N5 4x4 C8 in=batch out=factor"},
    {"more tiles than a card's blocks", "N140 5x4 C8 in=batch out=batch"},
    {"partials that a card adds in two rounds, its last set a small one",
     "N51 8x8 C64 R3 out=batch"},
    {"channels in many slices", "N1 9x7 C260 R5 in=batch out=batch"},
    {"as wide as a card takes", "N1 2x3 C1024 in=batch out=batch"},
    {"jobs of different shapes",
     "N4 8x8 C16 R5 in=batch out=batch | N4 16x16 C8 s2 in=batch out=batch | N1 3x3 C36 d2"},
    {"jobs that share dx", "N3 8x8 C16 R5 in=batch out=batch & out=batch & s2 out=batch"},
    {"jobs that share dx and add to it", "N3 4x4 C8 in=add+batch &  | N3 4x4 C8 R5 & d2"},
    {"two that share dx, an image for each thread",
     "N17 4x3 C36 R5 in=batch out=batch & s2 out=batch"},
    {"four that share dx, an image for each thread",
     "N33 3x3 C16 in=batch out=batch & R5 out=batch & d2 & R5 s2"},
};

static void make(pn_set *set, const pn_row *r, void *job, int i) {
    pn_stage *s = job;
    *s = (pn_stage){.N = r->N,
                    .H = r->H,
                    .W = r->W,
                    .R = r->R,
                    .dilation = r->dilation,
                    .stride = r->stride,
                    .shares_dx = r->shares};
    const int P = pn_out_size(s->H, s->stride), Q = pn_out_size(s->W, s->stride),
              taps = s->R * s->R;
    const int C = *r->C,
              chain = taps + C + 16; /* roundings of z and dx: both convolutions, both norms */
    pn_op_inputs(set, r, &s->in, i ? &s[-1].in : NULL, chain);
    s->out = pn_set_output(set, s->N, (size_t)P * Q, C, r->out, chain);
    s->dw = pn_set_data(set, "dw", (size_t)taps * C, 1, 1);
    s->pw = pn_set_data(set, "pw", (size_t)C * C, 1, 1);
    const int sums = s->N * P * Q + chain;
    s->ddw = pn_set_result(set, "ddw", (size_t)taps * C, sums, true);
    s->dpw = pn_set_result(set, "dpw", (size_t)C * C, sums, true);
    pn_set_find(set, s->ddw)->must = pn_set_find(set, s->dpw)->must = set->backward;
}

static void roll(pn_set *dice, int i, pn_row *r) {
    (void)i;
    pn_roll_size(dice, r, 5, 19);
    *r->C = 4 * pn_set_whole(dice, 1, 12);
    r->R = 2 * pn_set_whole(dice, 1, 2) + 1;
    r->dilation = pn_set_whole(dice, 1, 2);
    r->stride = pn_set_whole(dice, 1, 2);
    r->in = pn_roll_input(dice);
    r->out = pn_roll_output(dice);
}

static const pn_flaw flaws[] = {
    {"filter of 4", offsetof(pn_stage, R), 4},
    {"stride 3", offsetof(pn_stage, stride), 3},
    {"no stride", offsetof(pn_stage, stride), 0},
    {"dilation 0", offsetof(pn_stage, dilation), 0},
    {"12 channels out of 8", offsetof(pn_stage, out.K), 12},
};

PN_CALLS(stage)

static const pn_op_test op = {
    .subject = {PN_SUBJECT(stage), .twin = stage_twin, .multiplies = true, .make = make,
                .in = offsetof(pn_stage, in), .shares_dx = offsetof(pn_stage, shares_dx),
                .out = offsetof(pn_stage, out),
                .weights = {{offsetof(pn_stage, dw), offsetof(pn_stage, ddw)},
                            {offsetof(pn_stage, pw), offsetof(pn_stage, dpw)}}},
    .keys = keys,
    .cases = cases,
    .count = sizeof cases / sizeof *cases,
    .roll = roll,
    .seed = 2019,
    .rolls = 40,
    .linear = {"N3 7x6 C12 R5 in=open", "N2 9x8 C16 s2 in=open", "N2 8x8 C20 R3 d2 in=open"},
    .shape = "N5 9x7 C20 R5 in=batch out=batch",
    .good = "N2 5x5 C8 in=batch out=batch",
    .flaws = flaws,
    .flaw_count = sizeof flaws / sizeof *flaws,
};

/* Input 1..6 in two rows, a filter that looks one to the left and one down, two channels
 * crossed. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, false);
    pn_stage s;
    pn_op_jobs(&op, &set, "N1 2x3 C4", &s);
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

int main(void) {
    static const struct CMUnitTest others[] = {cmocka_unit_test(by_hand)};
    return pn_op_main(&op, others, 1);
}
