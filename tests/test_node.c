/* test_node.c -- the weighted sum of normalised terms, against plain loops. */
#include "kernels/halves.h"
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

/* Of 35 terms: all ops of an edge, five times. */
#define EDGE "batch+no-dx,batch+no-dx,-,batch+no-dx,batch+no-dx,batch+no-dx,batch+no-dx"
#define ONES "coef=1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1 "

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
    {"a single term, weighted", "N2 3x5 C8 coef=-2 in=batch+weight+learnt"},
    {"two weighted terms, whose producers read dh",
     "N3 5x6 C16 coef=1,2 in=batch+no-dx+weight+learnt"},
    {"two skips that are weighted", "N3 4x5 C12 coef=1,-1 in=weight+learnt also=-,add"},
    {"weights that are 0, 1e-30, negative or not there",
     "N3 4x5 C12 coef=1,1,1,1,2 in=batch+learnt also=zero,tiny+no-dx,weight,-,zero+no-dx"},
    {"two terms without weights whose gradients are wanted",
     "N3 4x5 C20 coef=1,2 in=learnt also=-,batch+no-dx"},
    {"one op on each of two edges: put back, gradients wanted",
     "N2 5x6 C32 coef=1,1 in-place=2 restore in=batch+no-dx+learnt"},
    {"one op on each of five edges: put back, gradients wanted",
     "N3 5x3 C12 coef=1,2,1,-1,1 in-place=5 restore in=learnt "
     "also=batch+affine,-,running+no-dx,weight,batch+no-dx"},
    {"every kind of norm, weighted",
     "N3 5x5 C24 coef=1,1,2,1,-1,1 in=weight+learnt "
     "also=-,batch,batch+affine,running,running+affine,batch+frozen"},
    {"every kind of norm, weighted, no dx",
     "N3 5x5 C24 coef=1,1,2,1,-1,1 in=weight+learnt+no-dx "
     "also=-,batch,batch+affine,running,running+affine,batch+frozen"},
    {"weights and drop-path", "N5 4x3 C36 coef=1,2,1 factors in=batch+no-dx+weight+learnt"},
    {"weights, in place of the second of three",
     "N3 5x6 C12 coef=1,2,1 in-place=2 in=batch+weight"},
    {"all ops on five edges, 16 channels",
     "N2 4x4 C16 " ONES "in=weight+learnt also=" EDGE "," EDGE "," EDGE "," EDGE "," EDGE},
    {"all ops on five edges, 36 channels, each with a dx",
     "N3 3x2 C36 " ONES "in=weight+learnt+batch"},
    {"weighted, sharing dx", "N17 4x3 C36 coef=1,2 in=batch+weight+learnt & coef=2,-1 & coef=1,1"},
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
    const int steps = 7 * s->terms + 8;
    for (int j = 0; j < s->terms; j++) {
        pn_term *t = &term[j];
        *t = (pn_term){.coef = (float)r->coef[j], .weight = pn_set_weight(set, r->in | r->also[j])};
        if (r->factors) t->factor = pn_set_factor(set, s->N);
        if ((r->in | r->also[j]) & PN_LEARNT) { /* a sum over all elements; it may come out as 0 */
            t->dweight = pn_set_poison(set, "dweight", 1, (int)pixels * s->C + 2 * steps + 8);
        }
        if (r->shares || r->again == j + 1) {
            t->in = r->shares ? terms[i - 1][j].in : t[-1].in;
            t->in.add = 1;
            if (t->in.dx) pn_set_find(set, t->in.dx)->coarse++;
            continue;
        }
        t->in = pn_set_input(set, pixels, s->C, r->in | r->also[j], 8);
        const int like = r->in | r->also[j]; /* its dt is 0, or lost where it is added */
        const bool silent = like & PN_ZERO || (like & PN_TINY && like & PN_ADD);
        if (t->in.norm.mode != PN_NORM_NONE)
            pn_set_find(set, t->in.norm.stats)->must =
                set->backward && !silent && pn_wants_sums_ref(&t->in.norm);
        if (t->in.dx && silent) pn_set_find(set, t->in.dx)->must = false;
    }
    if (r->in_place) {
        s->h = (float *)term[r->in_place - 1].in.x;
        pn_set_find(set, s->h)->steps = steps;
        if (r->restore) { /* the sum over xhat inherits what putting back rounds */
            pn_set_find(set, s->h)->must = true;
            pn_member *sums = pn_set_find(set, term[s->terms - 1].in.norm.stats);
            sums->steps += steps;
            sums->coarse++;
        }
    } else {
        s->h = pn_set_stored(set, pn_set_result(set, "h", pixels * s->C, steps, false));
        pn_set_find(set, s->h)->must = !set->backward;
    }
    s->dh = pn_set_stored(set, pn_set_data(set, "dh", pixels * s->C, 2, 1));
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
        const double *factor = pn_at(t, term->factor), *weight = pn_at(t, term->weight);
        double *v = pn_input_v_ref(&term->in, 1, count / s->C, t);
        for (size_t j = 0; j < count; j++)
            h[j] += term->coef * (weight ? *weight : 1) * (factor ? factor[j / image] : 1) * v[j];
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

enum { MOST_ROLLED = 12 /* terms */ };

static void roll(pn_set *dice, int i, pn_row *r) {
    (void)i;
    pn_roll_size(dice, r, 20, 9);
    *r->C = 4 * pn_set_whole(dice, 1, 12);
    r->coef[0] = 1;
    r->also[0] = PN_BATCH;
    static const int weights[] = {0, 0, PN_WEIGHT, PN_WEIGHT, PN_ZERO, PN_TINY};
    const bool weighted = pn_set_whole(dice, 0, 1);
    for (int t = 1; t < pn_set_whole(dice, 2, MOST_ROLLED); t++) {
        r->coef[t] = pn_set_whole(dice, 1, 2) * (pn_set_whole(dice, 0, 1) ? 1 : -1);
        r->also[t] = pn_roll_input(dice) | (pn_set_whole(dice, 0, 1) ? PN_NO_DX : 0);
        if (!weighted) continue;
        r->also[t] |= weights[pn_set_whole(dice, 0, 5)];
        if (pn_set_whole(dice, 0, 2)) r->also[t] |= PN_LEARNT;
    }
    r->factors = pn_set_whole(dice, 0, 1);
}

static const pn_flaw flaws[] = {
    {"fewer terms than none", offsetof(pn_node, terms), -1},
    {"65,537 terms", offsetof(pn_node, terms), PN_MAX_TERMS + 1},
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

/* h is linear in the weights, so that the sum of weight * dweight is <dh, h> (Euler's identity): in
 * whole numbers exactly. */
static void weights_and_their_gradients_make_the_sum(void **state) {
    (void)state;
    static const char *const rows[] = {
        "N3 4x5 C12 coef=1,2,-1,1,2 in=weight+learnt also=-,batch,running+affine,batch+affine,zero",
        "N2 6x4 C16 coef=2,1 in=weight+learnt also=batch,-",
        "N17 3x2 C20 coef=1,2,1,-2,1,1,2 factors in=batch+weight+learnt",
    };
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows && pn_backend_at(backend); i++) {
            pn_set set;
            pn_node s;
            double sum = 0;
            pn_set_begin(&set, 40 + i, true, true);
            pn_op_jobs(&op, &set, rows[i], &s);
            const size_t count = (size_t)s.N * s.H * s.W * s.C;
            assert_int_equal(pn_call(&op.subject, pn_backend_at(backend), false, &s, 1), PN_OK);
            assert_int_equal(pn_call(&op.subject, pn_backend_at(backend), true, &s, 1), PN_OK);
            for (int t = 0; t < s.terms; t++) sum += (double)*s.term[t].weight * *s.term[t].dweight;
            const double want = pn_dot(s.dh, s.h, count);
            assert_true(want != 0);
            assert_true(sum == want);
            pn_set_end(&set);
        }
}

/* All edges of a node may have no op: the sum of nothing is 0, and nothing has a gradient. */
static void no_terms(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        pn_set set;
        pn_set_begin(&set, 1, true, true);
        enum { COUNT = 3 * 2 * 5 * 12 };
        pn_node s = {.N = 3, .H = 2, .W = 5, .C = 12};
        s.h = pn_set_poison(&set, "h", COUNT, 0);
        s.dh = pn_set_data(&set, "dh", COUNT, 2, 1);
        pn_set_freeze(&set);
        assert_int_equal(pn_call(&op.subject, k, true, &s, 1), PN_OK);
        assert_null(pn_set_touched(&set));
        assert_int_equal(pn_call(&op.subject, k, false, &s, 1), PN_OK);
        for (int i = 0; i < COUNT; i++) assert_true(((float *)s.h)[i] == 0);
        assert_null(pn_set_overrun(&set));
        s.restore = 1;
        assert_int_equal(pn_call(&op.subject, k, true, &s, 1), PN_EARG);
        pn_set_end(&set);
    }
}

/* What is put back would be divided by a weight that may be 0. */
static void a_weight_is_not_put_back(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        pn_set set;
        pn_set_begin(&set, 1, true, true);
        pn_node s;
        pn_op_jobs(&op, &set, "N2 3x3 C8 coef=1,1 in-place=2 restore in=batch+no-dx", &s);
        assert_int_equal(pn_call(&op.subject, k, true, &s, 1), PN_OK);
        ((pn_term *)s.term)[1].weight = pn_set_weight(&set, PN_WEIGHT);
        assert_int_equal(pn_call(&op.subject, k, true, &s, 1), PN_EARG);
        assert_non_null(strstr(pn_error(), "weight"));
        pn_set_end(&set);
    }
}

/* ---- halves ---------------------------------------------------------------------------------- */

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* What lies between a number of bf16 and the next, by definition: the nearer one, of two as near
 * the one whose last bit is 0. `bits` is not NaN; beyond the largest comes infinity. */
static uint16_t nearest(uint32_t bits) {
    const uint32_t below = bits >> 16, rest = bits & 0xFFFF;
    if (rest == 0x8000) return (uint16_t)(below % 2 ? below + 1 : below);
    return (uint16_t)(rest > 0x8000 ? below + 1 : below);
}

enum { ENDS = 8, IMAGES = 8192 };
static const uint32_t ends[ENDS] = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xC000, 0xFFFE, 0xFFFF};

/* Every half with what may follow it; NaNs are all those with an exponent of ones but infinity. */
static void bf16_rounds_to_the_nearest(void **state) {
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        const float x = pn_bf16_widen((uint16_t)half);
        assert_true(isnan(x) ? isnan(pn_bf16_widen(pn_bf16_narrow(x))) : pn_bf16_narrow(x) == half);
        for (int i = 0; i < ENDS; i++) {
            const uint32_t bits = half << 16 | ends[i];
            const uint16_t got = pn_bf16_narrow(float_of(bits));
            assert_true(isnan(float_of(bits)) ? isnan(pn_bf16_widen(got)) : got == nearest(bits));
        }
    }
}

/* What a half is, by definition; in place of infinity the number that would come there. */
static float fp16_of(int half) {
    const int exponent = half >> 10, fraction = half & 0x3FF;
    return exponent ? ldexpf((float)(0x400 + fraction), exponent - 25)
                    : ldexpf((float)fraction, -24);
}

/* Every half, what lies in the middle before the next, and the floats beside that. */
static void fp16_rounds_to_the_nearest(void **state) {
    (void)state;
    for (int half = 0; half < 0x7C00; half++) {
        const float x = fp16_of(half), middle = (x + fp16_of(half + 1)) / 2;
        const int even = half % 2 ? half + 1 : half;
        for (int minus = 0; minus < 2; minus++) {
            const float by = minus ? -1 : 1;
            const int sign = minus ? 0x8000 : 0;
            assert_true(pn_fp16_widen((uint16_t)(half | sign)) == by * x);
            assert_int_equal(pn_fp16_narrow(by * x), half | sign);
            assert_int_equal(pn_fp16_narrow(by * middle), even | sign);
            assert_int_equal(pn_fp16_narrow(by * nextafterf(middle, 0)), half | sign);
            assert_int_equal(pn_fp16_narrow(by * nextafterf(middle, INFINITY)), (half + 1) | sign);
        }
    }
    assert_true(signbit(pn_fp16_widen(0x8000)) && pn_fp16_widen(0x8000) == 0);
    assert_true(pn_fp16_widen(0x7C00) == INFINITY && pn_fp16_widen(0xFC00) == -INFINITY);
    assert_int_equal(pn_fp16_narrow(INFINITY), 0x7C00);
    assert_int_equal(pn_fp16_narrow(-3e38F), 0xFC00);
    for (int fraction = 1; fraction < 0x400; fraction++)
        assert_true(isnan(pn_fp16_widen((uint16_t)(0x7C00 | fraction))) &&
                    isnan(pn_fp16_widen((uint16_t)(0xFC00 | fraction))));
    for (uint32_t fraction = 1; fraction < 0x800000; fraction *= 2)
        assert_true(isnan(pn_fp16_widen(pn_fp16_narrow(float_of(0x7F800000 | fraction)))) &&
                    isnan(pn_fp16_widen(pn_fp16_narrow(float_of(0xFF800000 | fraction)))));
}

/* NaNs are as good as each other: cards make other ones than the host. */
static bool is_rounded(pn_storage storage, uint16_t got, float x) {
    return isnan(x) ? isnan(pn_half_widen(storage, got)) : got == pn_half_narrow(storage, x);
}

/* Any float at all, and one that lies about where halves of fp16 do. */
static float dice_float(pn_set *dice, bool fp16) {
    const uint32_t half = (uint32_t)pn_set_whole(dice, 0, 0xFFFF),
                   end = ends[pn_set_whole(dice, 0, ENDS - 1)];
    float x = float_of(half << 16 | end);
    if (!fp16) return x;
    x = pn_fp16_widen((uint16_t)half);
    return isfinite(x) ? float_of(bits_of(x) | end >> 3) : x;
}

/* A node of one term makes h of an image's factor, and dx; either by another kind of loop. */
static void kernels_round_as_one_number_does(void **state) {
    (void)state;
    enum { C = 12 };
    uint16_t *const all = pn_reach(3 * IMAGES * C * sizeof *all);
    uint16_t *const x = all, *const h = x + IMAGES * C, *const dx = h + IMAGES * C;
    float *const factor = pn_reach(IMAGES * sizeof *factor);
    pn_set dice = {.state = 5};
    for (int n = 0; n < IMAGES; n++) factor[n] = dice_float(&dice, n % 2);
    pn_term *const term = pn_reach(sizeof *term);
    *term = (pn_term){.in = {.x = x, .dx = dx, .C = C}, .coef = 1, .factor = factor};
    pn_node s = {.N = IMAGES, .H = 1, .W = 1, .C = C, .terms = 1, .term = term, .h = h, .dh = x};
    for (int backend = 0; backend < PN_ALL_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k || k->storage == PN_STORED_FLOAT32) continue;
        for (int i = 0; i < IMAGES * C; i++) x[i] = pn_half_narrow(k->storage, 1);
        if (pn_call(&op.subject, k, false, &s, 1) != PN_OK) fail_msg("%s", pn_error());
        if (pn_call(&op.subject, k, true, &s, 1) != PN_OK) fail_msg("%s", pn_error());
        for (int i = 0; i < IMAGES * C; i++) {
            assert_true(is_rounded(k->storage, h[i], 0 + factor[i / C]));
            assert_true(is_rounded(k->storage, dx[i], factor[i / C]));
        }
    }
    pn_unreach(term);
    pn_unreach(factor);
    pn_unreach(all);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(weights_and_their_gradients_make_the_sum),
        cmocka_unit_test(no_terms),
        cmocka_unit_test(a_weight_is_not_put_back),
        cmocka_unit_test(bf16_rounds_to_the_nearest),
        cmocka_unit_test(fp16_rounds_to_the_nearest),
        cmocka_unit_test(kernels_round_as_one_number_does)};
    const int failed = pn_op_main(&op, others, sizeof others / sizeof *others);
    pn_unreach(terms);
    return failed;
}
