/* test_reduce.c -- factorized reduce of a concatenation, against plain loops. */
#include "tests/support/op_test.h"

static const pn_case cases[] = {
    {"evaluation cells of 144 channels", "N2 9x9 C144,144,144,144 K144 in=batch+affine out=batch"},
    {"as wide as a card takes", "N1 5x5 C1024,4 K1024 in=batch out=batch+factor"},
    {"more tiles than a card's blocks", "N40 32x64 C12 K16 out=batch+factor"},
    {"partials that a card adds in two rounds, its last set a small one",
     "N9 31x31 C16,16,16,16 K64 in=batch out=batch"},
    {"jobs that share dx, K of all kinds",
     "N3 8x9 C80,40 K16 in=batch out=batch & K516 out=batch & K100 out=batch+affine"},
    {"one pixel: the second grid sees padding only", "N1 1x1 C8 K8 in=open"},
    {"two by two: one pixel of each grid", "N3 2x2 C8 K8 in=batch out=batch"},
    {"odd height", "N2 7x6 C12 K8 in=batch out=batch"},
    {"odd width", "N2 6x7 C12 K8 in=batch out=batch"},
    {"odd everything", "N3 9x5 C36 K20 in=batch out=batch"},
    {"one row", "N2 1x10 C8 K4 in=batch out=batch"},
    {"four channels out: two from each grid", "N2 6x6 C4 K4 in=batch out=batch"},
    {"twelve channels out: six from each grid", "N2 6x4 C8 K12 in=batch out=batch"},
    {"skip in the first reduction", "N2 32x32 C32 K32 in=batch out=batch+factor"},
    {"preprocess after the first reduction", "N2 32x32 C16,16,16,16 K32 out=batch"},
    {"preprocess after the second", "N2 16x16 C32,32,32,32 K64 out=batch"},
    {"cells of 36", "N2 8x8 C36,36,36,36 K72 out=batch"},
    {"28 wide", "N1 28x28 C12 K8 in=batch out=batch"},
    {"224 wide", "N1 4x224 C4,4 K8 in=batch out=batch"},
    {"parts of different widths and norms",
     "N3 5x7 C8,20,12,4 K16 also=-,batch,running+affine,batch+affine out=batch"},
    {"dx of two parts only, one of them added to",
     "N3 6x5 C8,8,12,4 K12 in=batch also=-,no-dx,add,no-dx out=batch"},
    {"dx not wanted", "N3 6x6 C8,8 K12 in=no-dx+batch out=batch"},
    {"batch no multiple of the chunks", "N17 5x4 C20 K12 in=batch out=batch"},
    {"gamma and beta, negative and zero", "N3 6x6 C24,8 K24 in=batch+affine out=batch+affine"},
    {"running statistics", "N3 6x6 C24,8 K24 in=running out=running"},
    {"weighted", "N4 5x4 C16 K16 out=batch+weight"},
    {"no norm at all, weighted per image", "N4 5x4 C16 K16 out=factor"},
    {"jobs of different shapes",
     "N4 4x4 C16,8 K16 out=batch | N2 9x9 C36 K4 in=batch out=batch | N2 1x3 C4,4,4 K8"},
    {"jobs that share dx", "N3 8x7 C16,16 K16 in=batch out=batch & K32 out=batch"},
    {"jobs that share dx and add to it", "N3 4x4 C8,12 K8 in=add+batch & K8"},
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
};

static void make(pn_set *set, const pn_row *r, void *job, int i) {
    (void)i;
    pn_make_pointwise(set, r, job, 2);
}

static const pn_flaw flaws[] = {{"10 channels out", offsetof(pn_reduce, out.K), 10}};

PN_CALLS(reduce)

static const pn_op_test op = {
    .subject = {PN_SUBJECT(reduce), .twin = reduce_twin, .multiplies = true, .make = make,
                PN_PLACES_OF_PARTS(pn_reduce)},
    .keys = pn_pointwise_keys,
    .cases = cases,
    .count = sizeof cases / sizeof *cases,
    .roll = pn_roll_pointwise,
    .seed = 1903,
    .rolls = 60,
    .linear = {"N3 7x6 C12,36,4 K20 in=open", "N2 8x8 C32,32,32,32 K32 in=open"},
    .shape = "N5 9x7 C20,8 K20 in=batch out=batch",
    .good = "N2 5x5 C8,4 K8 in=batch out=batch",
    .flaws = flaws,
    .flaw_count = 1,
};

/* A 3x3 image of 1..9 in channel 0: the first grid sees 1 3 7 9, the second 5 and padding. */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, false);
    pn_reduce s;
    pn_op_jobs(&op, &set, "N1 3x3 C4 K4", &s);
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

int main(void) {
    static const struct CMUnitTest others[] = {cmocka_unit_test(by_hand)};
    return pn_op_main(&op, others, 1);
}
