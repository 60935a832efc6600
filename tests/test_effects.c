/* test_effects.c -- the linear model of a search's likelihoods.
 *
 * The yardstick is the model written out: rows kept, a running mean subtracted, normal equations
 * solved by elimination, the marginal likelihood as its formula has it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/methods/effects.h"
#include "tests/support/enumerate.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { ROWS = 400, LIMIT = 4096, MOST = PN_MOST_EFFECTS };

static pn_arch all[LIMIT];

static double noise(int i) { return 12 * (pn_uniform(7, PN_STREAM_TEST, 1, (uint64_t)i) - .5); }

static pn_arch drawn(const pn_space *space, int i) {
    pn_prior uniform;
    pn_arch a;
    assert_int_equal(pn_prior_init(&uniform, space, true), PN_OK);
    pn_prior_sample(&uniform, 3, 0, (uint64_t)i, &a);
    return a;
}

/* What a sample is worth: more with every op of a high number at a high node, less with every use
 * of the cell's first input; on a level that rises. */
static double planted(const pn_arch *a) {
    double sum = 0;
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
                const pn_choice t = a->cell[kind].term[node][slot];
                sum += (kind ? .5 : 1) * (t.op + .2 * node * t.op - 2 * (t.input == 0));
            }
    return sum;
}

static double likelihood(const pn_arch *a, int i) { return planted(a) + noise(i) - 100 + .05 * i; }

static void gather(pn_effects *e, const pn_space *space, int rows) {
    pn_effects_init(e, space);
    for (int i = 0; i < rows; i++) {
        const pn_arch a = drawn(space, i);
        pn_effects_add(e, &a, likelihood(&a, i));
    }
}

/* ---- the model written out ------------------------------------------------------------------- */

/* Of a whole space: kind, then the cell and its nodes, each with ops, then inputs. */
static void row_of(const pn_arch *a, double x[MOST]) {
    memset(x, 0, MOST * sizeof *x);
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
                const pn_choice t = a->cell[kind].term[node][slot];
                x[kind * 60 + t.op] += 1;
                x[kind * 60 + 7 + t.input] += 1;
                x[kind * 60 + 12 * (1 + node) + t.op] += .3;
                x[kind * 60 + 12 * (1 + node) + 7 + t.input] += .3;
            }
}

static double x[ROWS][MOST], y[ROWS];

/* Gaussian elimination without pivots, which a positive definite matrix does not need; gives the
 * logarithm of the determinant. */
static double eliminate(double penalty, double theta[MOST]) {
    static double m[MOST][MOST + 1];
    double log_determinant = 0;
    for (int i = 0; i < MOST; i++)
        for (int j = 0; j <= MOST; j++) {
            m[i][j] = i == j ? penalty : 0;
            for (int r = 1; r < ROWS; r++) m[i][j] += x[r][i] * (j < MOST ? x[r][j] : y[r]);
        }
    for (int i = 0; i < MOST; i++) {
        log_determinant += log(m[i][i]);
        for (int k = i + 1; k < MOST; k++)
            for (int j = MOST; j >= i; j--) m[k][j] -= m[k][i] / m[i][i] * m[i][j];
    }
    for (int i = MOST - 1; i >= 0; i--) {
        theta[i] = m[i][MOST];
        for (int j = i + 1; j < MOST; j++) theta[i] -= m[i][j] * theta[j];
        theta[i] /= m[i][i];
    }
    return log_determinant;
}

static void by_definition(double theta[MOST]) {
    static const double penalty[] = {10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5};
    const pn_space space = pn_space_darts();
    double mean[MOST], level = 0, best = -INFINITY, trial[MOST];
    for (int r = 0; r < ROWS; r++) {
        const pn_arch a = drawn(&space, r);
        row_of(&a, x[r]);
        y[r] = likelihood(&a, r);
        if (r == 0) {
            memcpy(mean, x[0], sizeof mean);
            level = y[0];
        }
        y[r] -= level;
        const double gain = r < 50 ? 1. / (r + 1) : .02;
        level += gain * y[r];
        for (int i = 0; i < MOST; i++) {
            x[r][i] -= mean[i];
            mean[i] += gain * x[r][i];
        }
    }
    for (size_t p = 0; p < sizeof penalty / sizeof *penalty; p++) {
        const double log_determinant = eliminate(penalty[p], trial);
        double left = 0; /* squares of what is unexplained, and of theta */
        for (int r = 1; r < ROWS; r++) {
            double off = y[r];
            for (int i = 0; i < MOST; i++) off -= x[r][i] * trial[i];
            left += off * off;
        }
        for (int i = 0; i < MOST; i++) left += penalty[p] * trial[i] * trial[i];
        const double evidence =
            -(ROWS - 1) / 2. * log(left) - log_determinant / 2 + MOST / 2. * log(penalty[p]);
        if (evidence > best) {
            best = evidence;
            memcpy(theta, trial, sizeof trial);
        }
    }
}

/* Condition numbers of the normal equations are below 1e5 (a penalty of 10 at least, 400 rows of
 * squares below 16), so both are off by less than 1e5 * 120 * 2^-53 = 1.3e-9 of the largest. */
static void the_fit_is_that_of_the_definition(void **state) {
    (void)state;
    static pn_effects e;
    const pn_space space = pn_space_darts();
    double got[MOST], want[MOST], largest = 0;
    gather(&e, &space, ROWS);
    assert_int_equal(e.count, MOST);
    pn_effects_fit(&e, got);
    by_definition(want);
    for (int i = 0; i < MOST; i++) largest = fmax(largest, fabs(want[i]));
    assert_true(largest > .1);
    for (int i = 0; i < MOST; i++) assert_true(fabs(got[i] - want[i]) < 1.3e-9 * largest);
}

/* ---- what it is for -------------------------------------------------------------------------- */

static void what_was_planted_is_found(void **state) {
    (void)state;
    static pn_effects e;
    const pn_space space = pn_space_darts();
    double theta[MOST], sum[5] = {0};
    gather(&e, &space, 4 * ROWS);
    pn_effects_fit(&e, theta);
    for (int i = 0; i < 1000; i++) { /* others */
        const pn_arch a = drawn(&space, 100000 + i);
        const double s = pn_effects_score(&e, theta, &a), p = planted(&a);
        const double term[] = {s, p, s * s, p * p, s * p};
        for (int k = 0; k < 5; k++) sum[k] += term[k] / 1000;
    }
    const double r =
        (sum[4] - sum[0] * sum[1]) / sqrt((sum[2] - sum[0] * sum[0]) * (sum[3] - sum[1] * sum[1]));
    assert_true(r > .95);
}

/* Halves that saw the same plan agree, halves that saw noise do not. */
static void the_agreement_is_that_of_the_signal(void **state) {
    (void)state;
    enum { SETS = 20 };
    static pn_effects e, twice;
    const pn_space space = pn_space_darts();
    gather(&e, &space, 4 * ROWS);
    const double much = pn_effects_agreement(&e);
    gather(&e, &space, ROWS);
    const double less = pn_effects_agreement(&e);
    assert_true(much > .9 && much < 1 && less < much && less > .5);

    double sum = 0, least = 1; /* noise; and every sample twice, so that both halves are one */
    for (int k = 0; k < SETS; k++) {
        pn_effects_init(&e, &space);
        pn_effects_init(&twice, &space);
        for (int i = 0; i < ROWS; i++) {
            const pn_arch a = drawn(&space, i);
            pn_effects_add(&e, &a, noise(k * ROWS + i));
            for (int n = 0; n < 2; n++) pn_effects_add(&twice, &a, noise(k * ROWS + i));
        }
        sum += pn_effects_agreement(&e);
        least = fmin(least, pn_effects_agreement(&twice));
    }
    assert_true(fabs(sum / SETS) < .25); /* some 10 directions count: .3 a set, of 20 .07 */
    assert_true(least > .95);
}

/* Weights that begin anew are worse by 1,000 nats: no effect hears of it. */
static void a_new_level_tells_nothing(void **state) {
    (void)state;
    static pn_effects e, high;
    const pn_space space = pn_space_darts();
    gather(&e, &space, ROWS);
    high = e;
    pn_effects_level(&e);
    pn_effects_level(&high);
    for (int i = ROWS; i < 2 * ROWS; i++) {
        const pn_arch a = drawn(&space, i);
        pn_effects_add(&e, &a, likelihood(&a, i));
        pn_effects_add(&high, &a, likelihood(&a, i) + 1000);
    }
    assert_int_equal(e.samples, 2 * ROWS);
    assert_memory_equal(e.gram, high.gram, sizeof e.gram);
    for (int i = 0; i < MOST; i++) /* roundings of 1,000 in sums of 800 products below 1e3 */
        assert_true(fabs(e.moment[i] - high.moment[i]) < 800 * 1e3 * 1000 * 0x1p-52);
}

static void the_order_of_terms_does_not_matter(void **state) {
    (void)state;
    static pn_effects e, swapped;
    const pn_space space = pn_space_darts();
    double theta[MOST];
    pn_effects_init(&e, &space);
    pn_effects_init(&swapped, &space);
    for (int i = 0; i < 50; i++) {
        pn_arch a = drawn(&space, i), b = a;
        for (int k = 0; k < PN_KINDS * PN_MAX_NODES; k++) {
            pn_choice *t = b.cell[k % 2].term[k / 2], first = t[0];
            t[0] = t[1];
            t[1] = first;
        }
        pn_effects_add(&e, &a, likelihood(&a, i));
        pn_effects_add(&swapped, &b, likelihood(&a, i));
        pn_effects_fit(&e, theta);
        assert_true(pn_effects_score(&e, theta, &a) == pn_effects_score(&e, theta, &b));
    }
    assert_memory_equal(&e, &swapped, sizeof e);
}

static void nothing_is_told_of_nothing(void **state) {
    (void)state;
    static pn_effects e;
    const pn_space space = pn_space_darts();
    double theta[MOST];
    pn_prior pi;
    assert_int_equal(pn_prior_init(&pi, &space, true), PN_OK);
    for (int rows = 0; rows < 2; rows++) {
        gather(&e, &space, rows);
        theta[0] = NAN;
        pn_effects_fit(&e, theta);
        for (int i = 0; i < MOST; i++) assert_true(theta[i] == 0);
        pi.logit[3] = 1;
        pn_effects_prior(&e, theta, 5, &pi);
        for (int i = 0; i < pi.count; i++) assert_true(pi.logit[i] == 0);
    }
    const pn_arch a = drawn(&space, 0); /* the same number again and again says nothing either */
    pn_effects_init(&e, &space);
    for (int i = 0; i < 3; i++) pn_effects_add(&e, &a, -5);
    pn_effects_fit(&e, theta);
    for (int i = 0; i < MOST; i++) assert_true(theta[i] == 0);
}

/* p(a) exp(score / T): over a whole space they differ by one number, and the entropy is right. */
static void pi_is_the_tempered_posterior(void **state) {
    (void)state;
    static pn_effects e;
    static const struct {
        int kinds, nodes;
        bool distinct;
    } cases[] = {{1, 2, false}, {1, 2, true}, {2, 1, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const bool distinct = cases[i].distinct;
        const pn_space space = {.kinds = cases[i].kinds,
                                .nodes = cases[i].nodes,
                                .ops = 3,
                                .op = {PN_SKIP_CONNECT, PN_SEP_CONV_3X3, PN_MAX_POOL_3X3}};
        double theta[MOST];
        pn_prior pi;
        gather(&e, &space, ROWS);
        pn_effects_fit(&e, theta);
        assert_int_equal(pn_prior_init(&pi, &space, distinct), PN_OK);
        const double uniform = pn_prior_entropy_uniform(&pi);
        /* The order of two inputs that differ is never decided. */
        const double least = distinct ? space.kinds * space.nodes * log(2) : 0;
        for (int part = 1; part <= 4; part++) {
            const double entropy = least + (uniform - least) * part / 5;
            pn_effects_prior(&e, theta, entropy, &pi);
            assert_true(fabs(pn_prior_entropy(&pi, NULL) - entropy) < 1e-9);
            const int n = pn_enumerate(&space, distinct, all, LIMIT);
            const double p0 = pn_prior_log_p(&pi, &all[0]);
            const double s0 = pn_effects_score(&e, theta, &all[0]);
            double scale = 0;
            for (int a = 1; a < n && scale == 0; a++) {
                const double s = pn_effects_score(&e, theta, &all[a]) - s0;
                if (fabs(s) > .1) scale = (pn_prior_log_p(&pi, &all[a]) - p0) / s;
            }
            assert_true(scale > 0);
            for (int a = 1; a < n; a++) {
                const double s = pn_effects_score(&e, theta, &all[a]) - s0;
                assert_true(fabs(pn_prior_log_p(&pi, &all[a]) - p0 - scale * s) < 1e-9);
            }
        }
        pn_effects_prior(&e, theta, uniform + 1, &pi);
        for (int k = 0; k < pi.count; k++) assert_true(pi.logit[k] == 0);
        pn_effects_prior(&e, theta, 0, &pi); /* as near as numbers allow */
        assert_true(pn_prior_entropy(&pi, NULL) < least + (uniform - least) / 5);
        assert_int_equal(pn_prior_bad_logit(pi.logit, pi.count), -1);
    }
}

static void what_is_restored_is_the_same(void **state) {
    (void)state;
    static pn_effects e, again;
    static double saved[PN_MOST_EFFECTS_STATE], damaged[PN_MOST_EFFECTS_STATE];
    const pn_space space = pn_space_darts();
    gather(&e, &space, 30);
    assert_int_equal(pn_effects_state_count(&e), PN_MOST_EFFECTS_STATE);
    pn_effects_save(&e, saved);
    pn_effects_init(&again, &space);
    assert_true(pn_effects_restore(&again, saved));
    assert_memory_equal(&e, &again, sizeof e);

    static const struct {
        int at;
        double value;
    } bad[] = {{0, 1.5},           {0, -1},
               {0, 1e300},         {2, -1},
               {1, NAN},           {3, .5},
               {5, INFINITY},      {4 + 2 * MOST, NAN},
               {4 + 3 * MOST, -1}, {PN_MOST_EFFECTS_STATE - 1, -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(damaged, saved, sizeof saved);
        damaged[bad[i].at] = bad[i].value;
        assert_false(pn_effects_restore(&again, damaged));
        assert_memory_equal(&e, &again, sizeof e);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fit_is_that_of_the_definition),
        cmocka_unit_test(what_was_planted_is_found),
        cmocka_unit_test(the_agreement_is_that_of_the_signal),
        cmocka_unit_test(a_new_level_tells_nothing),
        cmocka_unit_test(the_order_of_terms_does_not_matter),
        cmocka_unit_test(nothing_is_told_of_nothing),
        cmocka_unit_test(pi_is_the_tempered_posterior),
        cmocka_unit_test(what_is_restored_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
