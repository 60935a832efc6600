/* test_node.c -- the weighted sum of normalised terms, against plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"

enum { MAX_TERMS = 8 };

/* One job. A term is like `in` and like its own `also`; it exists if its coef is not 0. */
typedef struct row {
    int N, H, W, C;
    int in, also[MAX_TERMS];
    int coef[MAX_TERMS];
    int in_place;   /* 1 + the term that h overwrites; 0: none */
    bool restore;   /* with in_place the last term: backward puts its z back */
    int shares;     /* 1 + the term that reads and adds to what the one before does; 0: none */
    bool shares_dx; /* its terms are those of the job before, and add to the same dx */
    bool with_factors;
} row;

static const struct call {
    const char *why;
    row job[PN_MAX_JOBS];
} calls[] = {
    {"more tiles than a card's blocks, in place",
     {{.N = 70, .H = 32, .W = 32, .C = 16, .in = PN_BATCH, .coef = {1, 2}, .in_place = 2}}},
    {"as wide as a card takes, z put back",
     {{.N = 2,
       .H = 3,
       .W = 3,
       .C = 1024,
       .in = PN_BATCH,
       .also = {0, PN_NO_DX},
       .coef = {1, 2},
       .in_place = 2,
       .restore = true}}},
    {"one pixel", {{.N = 1, .H = 1, .W = 1, .C = 4, .coef = {1, 1}}}},
    {"a sampled cell's two terms, 16 channels",
     {{.N = 2, .H = 32, .W = 32, .C = 16, .in = PN_BATCH | PN_NO_DX, .coef = {1, 1}}}},
    {"a sampled cell's two terms, 32 channels",
     {{.N = 3, .H = 16, .W = 16, .C = 32, .in = PN_BATCH | PN_NO_DX, .coef = {1, 1}}}},
    {"a sampled cell's two terms, 64 channels",
     {{.N = 2, .H = 8, .W = 8, .C = 64, .in = PN_BATCH | PN_NO_DX, .coef = {1, 1}}}},
    {"cells of 36, drop-path",
     {{.N = 3,
       .H = 8,
       .W = 8,
       .C = 36,
       .in = PN_BATCH | PN_AFFINE | PN_NO_DX,
       .coef = {1, 1},
       .with_factors = true}}},
    {"one operation and one skip connection",
     {{.N = 3, .H = 7, .W = 5, .C = 20, .also = {PN_BATCH | PN_NO_DX, 0}, .coef = {1, 1}}}},
    {"two skip connections, one adding",
     {{.N = 3, .H = 7, .W = 5, .C = 12, .also = {0, PN_ADD}, .coef = {1, 1}}}},
    {"two skips of one tensor",
     {{.N = 3, .H = 4, .W = 5, .C = 12, .in = PN_BATCH, .coef = {1, 2}, .shares = 2}}},
    {"two skips of one tensor, both adding",
     {{.N = 3, .H = 4, .W = 5, .C = 12, .in = PN_BATCH | PN_ADD, .coef = {2, -1}, .shares = 2}}},
    {"a single term", {{.N = 2, .H = 3, .W = 5, .C = 8, .in = PN_BATCH, .coef = {-2}}}},
    {"a supernet's eight terms",
     {{.N = 3,
       .H = 5,
       .W = 5,
       .C = 16,
       .in = PN_BATCH,
       .also = {0, PN_NO_DX, PN_ADD, PN_NO_DX, 0, 0, PN_AFFINE, PN_NO_DX},
       .coef = {1, 2, -1, 1, 1, -2, 1, 1},
       .with_factors = true}}},
    {"terms with every kind of norm",
     {{.N = 3,
       .H = 5,
       .W = 5,
       .C = 24,
       .also = {0, PN_BATCH, PN_BATCH | PN_AFFINE, PN_RUNNING, PN_RUNNING | PN_AFFINE,
                PN_BATCH | PN_FROZEN},
       .coef = {1, 1, 2, 1, -1, 1}}}},
    {"no dx, sums where a norm needs them",
     {{.N = 3,
       .H = 5,
       .W = 5,
       .C = 24,
       .in = PN_NO_DX,
       .also = {0, PN_BATCH, PN_BATCH | PN_AFFINE, PN_RUNNING, PN_RUNNING | PN_AFFINE,
                PN_BATCH | PN_FROZEN},
       .coef = {1, 1, 2, 1, -1, 1}}}},
    {"no dx, sums added to",
     {{.N = 3, .H = 5, .W = 5, .C = 8, .in = PN_NO_DX | PN_BATCH | PN_ADD, .coef = {1, 2}}}},
    {"in place of the first term",
     {{.N = 3, .H = 5, .W = 6, .C = 12, .in = PN_BATCH, .coef = {1, 2}, .in_place = 1}}},
    {"in place of the last term",
     {{.N = 3, .H = 5, .W = 6, .C = 12, .in = PN_BATCH, .coef = {1, 2, -1}, .in_place = 3}}},
    {"a sampled cell's two terms in one tensor less",
     {{.N = 2,
       .H = 16,
       .W = 16,
       .C = 32,
       .in = PN_BATCH | PN_NO_DX,
       .coef = {1, 1},
       .in_place = 2,
       .restore = true}}},
    {"put back beside a skip connection, coef 2",
     {{.N = 3,
       .H = 7,
       .W = 5,
       .C = 20,
       .also = {PN_ADD, PN_BATCH | PN_NO_DX},
       .coef = {1, 2},
       .in_place = 2,
       .restore = true}}},
    {"a single term put back",
     {{.N = 2,
       .H = 3,
       .W = 5,
       .C = 8,
       .in = PN_BATCH | PN_NO_DX,
       .coef = {-2},
       .in_place = 1,
       .restore = true}}},
    {"the last of four terms put back",
     {{.N = 17,
       .H = 5,
       .W = 3,
       .C = 12,
       .also = {PN_BATCH | PN_AFFINE, 0, PN_RUNNING | PN_NO_DX, PN_BATCH | PN_NO_DX | PN_ADD},
       .coef = {1, 2, -1, -1},
       .in_place = 4,
       .restore = true}}},
    {"224 wide", {{.N = 1, .H = 3, .W = 224, .C = 4, .in = PN_BATCH, .coef = {1, 1}}}},
    {"28 wide", {{.N = 1, .H = 28, .W = 28, .C = 8, .in = PN_BATCH, .coef = {1, 1}}}},
    {"batch no multiple of the chunks",
     {{.N = 17, .H = 5, .W = 3, .C = 12, .in = PN_BATCH, .coef = {1, 1}, .with_factors = true}}},
    {"jobs of different shapes",
     {{.N = 4, .H = 4, .W = 4, .C = 16, .in = PN_BATCH, .coef = {1, 1}},
      {.N = 2, .H = 9, .W = 7, .C = 8, .in = PN_BATCH | PN_NO_DX, .coef = {1, 2, 1}},
      {.N = 1, .H = 1, .W = 3, .C = 4, .coef = {1}}}},
    {"two that share dx, an image for each thread",
     {{.N = 17, .H = 4, .W = 3, .C = 36, .in = PN_BATCH, .coef = {1, 2}},
      {.N = 17, .H = 4, .W = 3, .C = 36, .shares_dx = true, .coef = {2, -1}}}},
    {"four that share dx, an image for each thread",
     {{.N = 33, .H = 3, .W = 3, .C = 8, .in = PN_ADD | PN_BATCH, .coef = {1, 1, 1}},
      {.N = 33, .H = 3, .W = 3, .C = 8, .shares_dx = true, .coef = {1, 2, -1}},
      {.N = 33, .H = 3, .W = 3, .C = 8, .shares_dx = true, .coef = {2, 1, 1}},
      {.N = 33,
       .H = 3,
       .W = 3,
       .C = 8,
       .shares_dx = true,
       .coef = {-1, 1, 2},
       .with_factors = true}}},
};

/* Terms live outside of jobs; one set of jobs is in use at a time. */
static pn_term terms[PN_MAX_JOBS][MAX_TERMS];

static pn_node new_job(pn_set *set, const row *r, const pn_term *before, pn_term *term) {
    pn_node s = {
        .N = r->N, .H = r->H, .W = r->W, .C = r->C, .shares_dx = r->shares_dx, .term = term};
    const size_t pixels = (size_t)s.N * s.H * s.W;
    for (; s.terms < MAX_TERMS && r->coef[s.terms]; s.terms++) {
        pn_term *t = &term[s.terms];
        *t = (pn_term){.coef = (float)r->coef[s.terms]};
        if (r->with_factors) t->factor = pn_set_factor(set, s.N);
        if (r->shares_dx || r->shares == s.terms + 1) {
            t->in = r->shares_dx ? before[s.terms].in : t[-1].in;
            t->in.add = 1;
            continue;
        }
        t->in = pn_set_input(set, pixels, r->C, r->in | r->also[s.terms], 8);
        if (t->in.norm.mode != PN_NORM_NONE)
            pn_set_find(set, t->in.norm.stats)->must =
                set->backward && pn_wants_sums_ref(&t->in.norm);
    }
    if (r->in_place) {
        s.h = (float *)term[r->in_place - 1].in.x;
        pn_set_find(set, s.h)->steps = 6 * s.terms + 8;
        s.restore = r->restore;
        if (r->restore) { /* the sum over xhat inherits what putting back rounds */
            pn_set_find(set, s.h)->must = true;
            pn_set_find(set, term[s.terms - 1].in.norm.stats)->steps += 6 * s.terms + 8;
        }
    } else {
        s.h = pn_set_result(set, "h", pixels * r->C, 6 * s.terms + 8, false);
        pn_set_find(set, s.h)->must = !set->backward;
    }
    s.dh = pn_set_data(set, "dh", pixels * r->C, 2, 1);
    return s;
}

static int build(pn_set *set, const void *rows, void *jobs) {
    const row *r = rows;
    int count = 0;
    for (; count < PN_MAX_JOBS && r[count].N; count++)
        ((pn_node *)jobs)[count] =
            new_job(set, &r[count], terms[(count ? count : 1) - 1], terms[count]);
    return count;
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
    pn_term positive[MAX_TERMS];
    memcpy(positive, s.term, s.terms * sizeof *positive);
    for (int i = 0; i < s.terms; i++) positive[i].coef = fabsf(positive[i].coef);
    s.term = positive;
    if (backward && s.restore) {
        magnitude_of_z(&s, t);
        s.restore = 0;
    }
    node_twin(backward, &s, t);
}

static const pn_subject subject = {"node",    sizeof(pn_node), node_scratch, node_run, node_twin,
                                   magnitude, build,           NULL,         NULL};

static void test_call(void **state) {
    const struct call *c = *state;
    assert_int_equal(pn_check(&subject, c->why, c->job, (uint64_t)(c - calls)), 0);
}

static void combinations_nobody_thought_of(void **state) {
    (void)state;
    static const int likes[] = {0, PN_BATCH, PN_BATCH | PN_AFFINE, PN_RUNNING,
                                PN_RUNNING | PN_AFFINE};
    static const int dx[] = {0, 0, PN_ADD, PN_NO_DX, PN_NO_DX, PN_NO_DX | PN_ADD};
    int failures = 0;
    pn_set dice = {.state = 1902};
    for (int i = 0; i < 60; i++) {
        row r[PN_MAX_JOBS] = {{.N = pn_set_whole(&dice, 1, 20),
                               .H = pn_set_whole(&dice, 1, 9),
                               .W = pn_set_whole(&dice, 1, 9)}};
        r->C = 4 * pn_set_whole(&dice, 1, 12);
        r->coef[0] = 1;
        r->also[0] = PN_BATCH;
        for (int t = 1; t < pn_set_whole(&dice, 2, MAX_TERMS); t++) {
            r->coef[t] = pn_set_whole(&dice, 1, 2) * (pn_set_whole(&dice, 0, 1) ? 1 : -1);
            r->also[t] = likes[pn_set_whole(&dice, 0, 4)] | dx[pn_set_whole(&dice, 0, 5)];
        }
        r->with_factors = pn_set_whole(&dice, 0, 1);
        char why[300];
        int n = snprintf(why, sizeof why, "%d: N %d H %d W %d C %d factors %d also", i, r->N, r->H,
                         r->W, r->C, r->with_factors);
        for (int t = 0; t < MAX_TERMS && r->coef[t]; t++)
            n += snprintf(why + n, sizeof why - n, " %d", r->also[t]);
        failures += pn_check(&subject, why, r, 1000 + i);
    }
    assert_int_equal(failures, 0);
}

/* Two terms, the second normalised: h = 2 a - 3 (gamma (b - mean) rstd + beta). */
static void by_hand(void **state) {
    (void)state;
    pn_set set;
    pn_set_begin(&set, 1, true, true);
    const row r = {.N = 1,
                   .H = 1,
                   .W = 2,
                   .C = 4,
                   .also = {0, PN_BATCH | PN_AFFINE | PN_NO_DX},
                   .coef = {2, -3}};
    pn_node s = new_job(&set, &r, NULL, terms[0]);
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

static void bad_arguments(void **state) {
    (void)state;
    static const pn_flaw flaws[] = {
        {"no terms", offsetof(pn_node, terms), 0},
        {"no image", offsetof(pn_node, N), 0},
        {"negative height", offsetof(pn_node, H), -5},
        {"no width", offsetof(pn_node, W), 0},
        {"6 channels", offsetof(pn_node, C), 6},
        {"12 channels, terms of 8", offsetof(pn_node, C), 12},
        {"no array of terms", offsetof(pn_node, term), PN_NULL},
        {"nothing to put back in", offsetof(pn_node, restore), 1},
    };
    static const pn_flaw of_pass[2] = {{"no h", offsetof(pn_node, h), PN_NULL},
                                       {"no dh", offsetof(pn_node, dh), PN_NULL}};
    const row r[PN_MAX_JOBS] = {{.N = 2, .H = 5, .W = 5, .C = 8, .in = PN_BATCH, .coef = {1, 1}},
                                {.N = 2, .H = 5, .W = 5, .C = 8, .in = PN_BATCH, .coef = {1, 1}}};
    int failures = 0;
    for (int backward = 0; backward < 2; backward++) {
        failures += pn_check_flaws(&subject, backward, r, flaws, sizeof flaws / sizeof *flaws);
        failures += pn_check_flaws(&subject, backward, r, &of_pass[backward], 1);
    }
    assert_int_equal(failures, 0);
}

static void scratch_depends_on_shapes_only(void **state) {
    (void)state;
    const row r[PN_MAX_JOBS] = {{.N = 5, .H = 9, .W = 7, .C = 20, .in = PN_BATCH, .coef = {1, 1}}};
    const pn_node bare = {.N = 5, .H = 9, .W = 7, .C = 20, .terms = 2};
    assert_int_equal(pn_check_scratch(&subject, r, &bare), 0);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(combinations_nobody_thought_of),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(scratch_depends_on_shapes_only),
        cmocka_unit_test(bad_arguments),
    };
    return pn_run_rows("node", calls, sizeof *calls, (int)(sizeof calls / sizeof *calls), test_call,
                       others, (int)(sizeof others / sizeof *others));
}
