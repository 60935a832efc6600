/* test_pool.c -- 3x3 maximum and average, against plain loops. An average divides, so only the
 * maximum is exact on whole numbers; they are full of ties. */
#include "tests/support/op_test.h"

#include <stdio.h>

static const pn_key keys[] = {
    {"N", 1, 130, PN_MUST}, {"HxW", 1, 224, PN_MUST}, {"C", 4, 1024, PN_MUST}, {"s", 1, 2, 1},
    {"mean", 0, 0, 0},      {"in=", 0, 0, 0},         {"out=", 0, 0, 0},       {NULL, 0, 0, 0}};

/* Each in all kinds: check_kinds. */
static const pn_case cases[] = {
    {"as wide as a card takes", "N1 3x9 C1024 in=batch out=batch"},
    {"more tiles than a card's blocks, dx shared", "N130 17x3 C4 in=batch out=batch & s2"},
    {"one pixel", "N1 1x1 C4"},
    {"one row", "N2 1x7 C8 in=batch out=batch"},
    {"one column, stride 2", "N2 7x1 C8 s2 in=batch out=batch"},
    {"two by two", "N3 2x2 C4 in=batch out=batch"},
    {"odd everything", "N3 7x9 C20 in=batch out=batch"},
    {"odd everything, stride 2", "N3 7x9 C20 s2 in=batch out=batch"},
    {"even everything, stride 2", "N3 8x6 C12 s2 in=batch out=batch"},
    {"the first cells", "N2 32x32 C16 in=batch out=batch+factor"},
    {"the middle cells", "N2 16x16 C32 in=batch out=batch+factor"},
    {"the last cells", "N3 8x8 C64 in=batch out=batch"},
    {"into the first reduction", "N2 32x32 C32 s2 in=batch out=batch"},
    {"cells of 36", "N2 8x8 C36 in=batch out=batch"},
    {"28 wide, 14 out", "N1 28x28 C8 s2 in=batch out=batch"},
    {"224 wide", "N1 3x224 C4 in=batch out=batch"},
    {"batch no multiple of the chunks", "N17 5x3 C12 in=batch out=batch"},
    {"gamma negative and zero: the maximum of v is not that of x",
     "N3 6x6 C24 in=batch+affine out=batch+affine"},
    {"the same at stride 2", "N3 6x6 C24 s2 in=batch+affine out=batch"},
    {"running statistics", "N3 6x6 C24 in=running out=running"},
    {"running statistics, gamma learnt", "N3 6x6 C24 in=running+affine out=running+affine"},
    {"weighted, as in a supernet", "N3 6x7 C16 out=batch+weight"},
    {"no norm, as when training from scratch", "N3 6x7 C16 out=factor"},
    {"adds to dx and sums", "N3 6x6 C16 in=batch+add out=batch"},
    {"adds at stride 2", "N3 6x6 C16 s2 in=batch+add out=batch"},
    {"dx not wanted", "N3 6x6 C16 in=batch+no-dx out=batch+affine"},
    {"jobs of different shapes",
     "N4 4x4 C16 out=batch | N2 9x9 C8 s2 in=batch out=batch | N1 1x3 C4"},
    {"jobs that share dx", "N3 8x8 C16 in=batch out=batch & out=batch & s2"},
    {"jobs that share dx and add to it", "N3 4x4 C8 in=add+batch & "},
    {"two that share dx, an image for each thread", "N17 4x3 C36 in=batch out=batch & s2"},
    {"four that share dx, an image for each thread", "N33 3x3 C8 in=batch out=batch &  & s2 & s2"},
};

static void make(pn_set *set, const pn_row *r, void *job, int i) {
    pn_pool *s = job;
    *s = (pn_pool){.N = r->N,
                   .H = r->H,
                   .W = r->W,
                   .stride = r->stride,
                   .shares_dx = r->shares,
                   .kind = r->mean ? PN_POOL_AVG : PN_POOL_MAX};
    if (s->kind == PN_POOL_AVG) set->exact = false;
    pn_op_inputs(set, r, &s->in, i ? &s[-1].in : NULL, 32);
    s->out = pn_set_output(set, s->N,
                           (size_t)pn_out_size(s->H, s->stride) * pn_out_size(s->W, s->stride),
                           *r->C, r->out, 24); /* 9 terms, and the norms */
}

static void roll(pn_set *dice, int i, pn_row *r) {
    (void)i;
    pn_roll_size(dice, r, 6, 13);
    *r->C = 4 * pn_set_whole(dice, 1, 12);
    r->stride = pn_set_whole(dice, 1, 2);
    r->in = pn_roll_input(dice);
    r->out = pn_roll_output(dice);
}

static const pn_flaw flaws[] = {
    {"stride 3", offsetof(pn_pool, stride), 3},
    {"no stride", offsetof(pn_pool, stride), 0},
    {"no such kind", offsetof(pn_pool, kind), 2},
    {"12 channels out of 8", offsetof(pn_pool, out.K), 12},
};

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

/* Maximum, average, and both in one call. */
static int check_kinds(const pn_subject *subject, const char *why, const pn_row rows[PN_MAX_JOBS],
                       uint64_t seed) {
    int failures = 0;
    for (int kinds = 0; kinds < 3; kinds++) {
        pn_row r[PN_MAX_JOBS];
        memcpy(r, rows, sizeof r);
        for (int i = 0; i < PN_MAX_JOBS; i++) r[i].mean = (kinds == 1) != (kinds == 2 && i % 2);
        if (kinds == 2 && !r[1].N) break;
        char name[PN_ROW_TEXT + 20];
        snprintf(name, sizeof name, "%s (%s first)", why, r->mean ? "avg" : "max");
        failures += pn_check(subject, name, r, seed);
    }
    return failures;
}

static const pn_op_test op = {
    .subject = {PN_SUBJECT(pool), .twin = pool_twin, .magnitude = magnitude, .make = make,
                .in = offsetof(pn_pool, in), .shares_dx = offsetof(pn_pool, shares_dx),
                .out = offsetof(pn_pool, out)},
    .keys = keys,
    .cases = cases,
    .count = sizeof cases / sizeof *cases,
    .check = check_kinds,
    .roll = roll,
    .seed = 1902,
    .rolls = 60,
    .shape = "N5 9x7 C20 in=batch out=batch",
    .good = "N2 5x5 C8 in=batch out=batch",
    .flaws = flaws,
    .flaw_count = sizeof flaws / sizeof *flaws,
};

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
        pn_pool s;
        pn_op_jobs(&op, &set, kind == PN_POOL_MAX ? "N1 3x3 C4" : "N1 3x3 C4 mean", &s);
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
    for (int backend = 0; backend < PN_ALL_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        pn_set set;
        pn_set_begin(&set, 1, true, false);
        set.storage = pn_backend_at(backend)->storage;
        pn_pool s;
        pn_op_jobs(&op, &set, "N2 4x4 C8", &s);
        const float least = set.storage == PN_STORED_FP16 ? -65504 : -0x1p101F;
        for (int i = 0; i < 256; i++) ((float *)s.in.x)[i] = least;
        pn_set_freeze(&set);
        pn_set_restore(&set);
        assert_int_equal(pn_call(&op.subject, pn_backend_at(backend), false, &s, 1), PN_OK);
        pn_set_widen(&set);
        for (int i = 0; i < 256; i++) assert_true(((float *)s.out.z)[i] == least);
        pn_set_end(&set);
    }
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(padding_never_wins),
    };
    return pn_op_main(&op, others, 2);
}
