/* test_node.c -- the weighted sum of normalised terms, against plain loops. */
#include "tests/support/op_test.h"

#include <stdlib.h>

static const pn_key keys[] = {{"N", 1, 70, PN_MUST},
                              {"HxW", 1, 224, PN_MUST},
                              {"C", 4, 1024, PN_MUST},
                              {"coef=,", -3, 3, PN_MUST},
                              {"in-place=", 1, PN_MOST_PARTS, 0},
                              {"restore", 0, 0, 0},
                              {"again=", 2, PN_MOST_PARTS, 0},
                              {"factors", 0, 0, 0},
                              {"in=", 0, 0, 0},
                              {"also=,", 0, 0, 0},
                              {NULL, 0, 0, 0}};

/* A term is like `in=` and like its own `also=`. */
static const pn_case cases[] = {
    {"more tiles than a card's blocks, in place", "N70 32x32 C16 coef=1,2 in-place=2 in=batch"},
    {"as wide as a card takes, z put back",
     "N2 3x3 C1024 coef=1,2 in-place=2 restore in=batch also=-,no-dx"},
    {"one pixel", "N1 1x1 C4 coef=1,1"},
    {"a sampled cell's two terms, 16 channels", "N2 32x32 C16 coef=1,1 in=batch+no-dx"},
    {"a sampled cell's two terms, 32 channels", "N3 16x16 C32 coef=1,1 in=batch+no-dx"},
    {"a sampled cell's two terms, 64 channels", "N2 8x8 C64 coef=1,1 in=batch+no-dx"},
    {"cells of 36, drop-path", "N3 8x8 C36 coef=1,1 factors in=batch+affine+no-dx"},
    {"one operation and one skip connection", "N3 7x5 C20 coef=1,1 also=batch+no-dx,-"},
    {"two skip connections, one adding", "N3 7x5 C12 coef=1,1 also=-,add"},
    {"two skips of one tensor", "N3 4x5 C12 coef=1,2 again=2 in=batch"},
    {"two skips of one tensor, both adding", "N3 4x5 C12 coef=2,-1 again=2 in=batch+add"},
    {"a single term", "N2 3x5 C8 coef=-2 in=batch"},
    {"a supernet's eight terms",
     "N3 5x5 C16 coef=1,2,-1,1,1,-2,1,1 factors in=batch also=-,no-dx,add,no-dx,-,-,affine,no-dx"},
    {"terms with every kind of norm",
     "N3 5x5 C24 coef=1,1,2,1,-1,1 also=-,batch,batch+affine,running,running+affine,batch+frozen"},
    {"no dx, sums where a norm needs them",
     "N3 5x5 C24 coef=1,1,2,1,-1,1 in=no-dx "
     "also=-,batch,batch+affine,running,running+affine,batch+frozen"},
    {"no dx, sums added to", "N3 5x5 C8 coef=1,2 in=no-dx+batch+add"},
    {"in place of the first term", "N3 5x6 C12 coef=1,2 in-place=1 in=batch"},
    {"in place of the last term", "N3 5x6 C12 coef=1,2,-1 in-place=3 in=batch"},
    {"a sampled cell's two terms in one tensor less",
     "N2 16x16 C32 coef=1,1 in-place=2 restore in=batch+no-dx"},
    {"put back beside a skip connection, coef 2",
     "N3 7x5 C20 coef=1,2 in-place=2 restore also=add,batch+no-dx"},
    {"a single term put back", "N2 3x5 C8 coef=-2 in-place=1 restore in=batch+no-dx"},
    {"the last of four terms put back",
     "N17 5x3 C12 coef=1,2,-1,-1 in-place=4 restore "
     "also=batch+affine,-,running+no-dx,batch+no-dx+add"},
    {"224 wide", "N1 3x224 C4 coef=1,1 in=batch"},
    {"28 wide", "N1 28x28 C8 coef=1,1 in=batch"},
    {"batch no multiple of the chunks", "N17 5x3 C12 coef=1,1 factors in=batch"},
    {"jobs of different shapes",
     "N4 4x4 C16 coef=1,1 in=batch | N2 9x7 C8 coef=1,2,1 in=batch+no-dx | N1 1x3 C4 coef=1"},
    {"two that share dx, an image for each thread", "N17 4x3 C36 coef=1,2 in=batch & coef=2,-1"},
    {"four that share dx, an image for each thread",
     "N33 3x3 C8 coef=1,1,1 in=add+batch & coef=1,2,-1 & coef=2,1,1 & coef=-1,1,2 factors"},
};

/* Terms live outside of jobs; one set of jobs is in use at a time. */
static pn_term (*terms)[PN_MOST_PARTS];

static void make(pn_set *set, const pn_row *r, void *job, int i) {
    pn_node *s = job;
    if (!terms) terms = pn_reach(PN_MAX_JOBS * sizeof *terms);
    pn_term *term = terms[i];
    *s = (pn_node){.N = r->N,
                   .H = r->H,
                   .W = r->W,
                   .C = *r->C,
                   .terms = pn_row_parts(r),
                   .restore = r->restore,
                   .shares_dx = r->shares,
                   .term = term};
    assert_true(r->in_place <= s->terms && r->again <= s->terms);
    const size_t pixels = (size_t)s->N * s->H * s->W;
    const int steps = 6 * s->terms + 8;
    for (int j = 0; j < s->terms; j++) {
        pn_term *t = &term[j];
        *t = (pn_term){.coef = (float)r->coef[j]};
        if (r->factors) t->factor = pn_set_factor(set, s->N);
        if (r->shares || r->again == j + 1) {
            t->in = r->shares ? terms[i - 1][j].in : t[-1].in;
            t->in.add = 1;
            continue;
        }
        t->in = pn_set_input(set, pixels, s->C, r->in | r->also[j], 8);
        if (t->in.norm.mode != PN_NORM_NONE)
            pn_set_find(set, t->in.norm.stats)->must =
                set->backward && pn_wants_sums_ref(&t->in.norm);
    }
    if (r->in_place) {
        s->h = (float *)term[r->in_place - 1].in.x;
        pn_set_find(set, s->h)->steps = steps;
        if (r->restore) { /* the sum over xhat inherits what putting back rounds */
            pn_set_find(set, s->h)->must = true;
            pn_set_find(set, term[s->terms - 1].in.norm.stats)->steps += steps;
        }
    } else {
        s->h = pn_set_result(set, "h", pixels * s->C, steps, false);
        pn_set_find(set, s->h)->must = !set->backward;
    }
    s->dh = pn_set_data(set, "dh", pixels * s->C, 2, 1);
}

PN_CALLS(node)

/* The difference that puts z back becomes a sum; means are those of magnitudes, below 0. */
static void magnitude_of_z(const pn_node *s, const pn_twins *t) {
    const size_t image = (size_t)s->H * s->W * s->C, count = s->N * image;
    const pn_term *last = &s->term[s->terms - 1];
    const double *mean = pn_at(t, last->in.norm.stats), *rstd = mean + s->C;
    double *h = pn_at(t, s->h);
    for (int i = 0; i + 1 < s->terms; i++) {
        const pn_term *term = &s->term[i];
        const double *factor = pn_at(t, term->factor);
        double *v = pn_input_v_ref(&term->in, 1, count / s->C, t);
        for (size_t j = 0; j < count; j++)
            h[j] += term->coef * (factor ? factor[j / image] : 1) * v[j];
        free(v);
    }
    for (size_t j = 0; j < count; j++) h[j] = h[j] / (last->coef * rstd[j % s->C]) - mean[j % s->C];
}

static void magnitude(bool backward, const void *job, const pn_twins *t) {
    pn_node s = *(const pn_node *)job;
    pn_term positive[PN_MOST_PARTS];
    memcpy(positive, s.term, s.terms * sizeof *positive);
    for (int i = 0; i < s.terms; i++) positive[i].coef = fabsf(positive[i].coef);
    s.term = positive;
    if (backward && s.restore) {
        magnitude_of_z(&s, t);
        s.restore = 0;
    }
    node_twin(backward, &s, t);
}

static void roll(pn_set *dice, int i, pn_row *r) {
    (void)i;
    pn_roll_size(dice, r, 20, 9);
    *r->C = 4 * pn_set_whole(dice, 1, 12);
    r->coef[0] = 1;
    r->also[0] = PN_BATCH;
    for (int t = 1; t < pn_set_whole(dice, 2, PN_MOST_PARTS); t++) {
        r->coef[t] = pn_set_whole(dice, 1, 2) * (pn_set_whole(dice, 0, 1) ? 1 : -1);
        r->also[t] = pn_roll_input(dice) | (pn_set_whole(dice, 0, 1) ? PN_NO_DX : 0);
    }
    r->factors = pn_set_whole(dice, 0, 1);
}

static const pn_flaw flaws[] = {
    {"no terms", offsetof(pn_node, terms), 0},
    {"6 channels", offsetof(pn_node, C), 6},
    {"12 channels, terms of 8", offsetof(pn_node, C), 12},
    {"no array of terms", offsetof(pn_node, term), PN_NULL},
    {"nothing to put back in", offsetof(pn_node, restore), 1},
    {"no h", offsetof(pn_node, h), PN_NULL_FORWARD},
    {"no dh", offsetof(pn_node, dh), PN_NULL_BACKWARD},
};

static const pn_op_test op = {
    .subject = {PN_SUBJECT(node), .twin = node_twin, .magnitude = magnitude, .make = make,
                .outside = offsetof(pn_node, term)},
    .keys = keys,
    .cases = cases,
    .count = sizeof cases / sizeof *cases,
    .roll = roll,
    .seed = 1902,
    .rolls = 60,
    .shape = "N5 9x7 C20 coef=1,1 in=batch",
    .good = "N2 5x5 C8 coef=1,1 in=batch",
    .flaws = flaws,
    .flaw_count = sizeof flaws / sizeof *flaws,
};

/* Two terms, the second normalised: h = 2 a - 3 (gamma (b - mean) rstd + beta). */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, true);
    pn_node s;
    pn_op_jobs(&op, &set, "N1 1x2 C4 coef=2,-3 also=-,batch+affine+no-dx", &s);
    pn_set_freeze(&set);
    const pn_twins t = pn_set_values(&set);
    double *stats = pn_at(&t, s.term[1].in.norm.stats);
    for (int c = 0; c < 4; c++) {
        stats[c] = 5;
        stats[4 + c] = 0.5;
        pn_at(&t, s.term[1].in.norm.gamma)[c] = c;
        pn_at(&t, s.term[1].in.norm.beta)[c] = 1;
        for (int pixel = 0; pixel < 2; pixel++) {
            pn_at(&t, s.term[0].in.x)[pixel * 4 + c] = 10 * c;
            pn_at(&t, s.term[1].in.x)[pixel * 4 + c] = pixel ? 9 : 3; /* xhat 2 and -1 */
            pn_at(&t, s.dh)[pixel * 4 + c] = pixel ? 1 : 4;
        }
    }
    pn_node_bwd_ref(&s, &t);
    pn_node_fwd_ref(&s, &t);
    for (int c = 0; c < 4; c++) {
        assert_true(pn_at(&t, s.h)[c] == 20 * c - 3 * (-c + 1));
        assert_true(pn_at(&t, s.h)[4 + c] == 20 * c - 3 * (2 * c + 1));
        assert_true(pn_at(&t, s.term[0].in.dx)[c] == 8);
        assert_true(stats[8 + c] == -15); /* -3 (4 + 1) */
        assert_true(stats[12 + c] == -3 * (4 * -1 + 1 * 2));
    }
    pn_set_end(&set);
}

int main(void) {
    static const struct CMUnitTest others[] = {cmocka_unit_test(by_hand)};
    const int failed = pn_op_main(&op, others, 1);
    pn_unreach(terms);
    return failed;
}
