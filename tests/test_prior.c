/* test_prior.c -- the distribution over architectures, against sums over whole small spaces.
 *
 * The yardstick is the definition, written once more in naive form: a product of softmax
 * probabilities, and with distinct inputs divided by 1 - sum_i p0(i) p1(i) per node. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/methods/prior.h"
#include "tests/support/enumerate.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 4096 };
static pn_arch all[LIMIT];

/* Small enough to enumerate, each with a reason. */
static const struct {
    const char *why;
    int kinds, nodes, ops;
    bool distinct;
} cases[] = {
    {"one op: only inputs are chosen", 1, 1, 1, false},
    {"the same, two architectures left", 1, 1, 1, true},
    {"one node", 1, 1, 2, false},
    {"one node, distinct", 1, 1, 3, true},
    {"factors of different lengths", 1, 2, 3, false},
    {"three inputs, distinct", 1, 2, 3, true},
    {"both kinds", 2, 1, 4, false},
    {"both kinds, distinct", 2, 2, 1, true},
    {"three nodes, distinct", 1, 3, 1, true},
};
enum { CASES = sizeof cases / sizeof *cases };

static void make(int i, double spread, pn_prior *prior) {
    pn_space space = pn_small_space(cases[i].kinds, cases[i].nodes, cases[i].ops);
    assert_int_equal(pn_prior_init(prior, &space, cases[i].distinct), PN_OK);
    pn_random_logits(prior, spread, 7 + (uint64_t)i);
}

/* Softmax probability of choice i of n. */
static double softmax(const double *logit, int n, int i) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += exp(logit[j]);
    return exp(logit[i]) / sum;
}

static double probability_by_definition(const pn_prior *p, const pn_arch *a) {
    const double *at = p->logit;
    double product = 1;
    for (int kind = 0; kind < p->space.kinds; kind++)
        for (int node = 0; node < p->space.nodes; node++) {
            double of[2][5], equal = 0;
            for (int slot = 0; slot < 2; slot++) {
                pn_choice c = a->cell[kind].term[node][slot];
                for (int i = 0; i < 2 + node; i++) of[slot][i] = softmax(at, 2 + node, i);
                at += 2 + node;
                product *= of[slot][c.input];
                for (int i = 0; i < p->space.ops; i++)
                    if (p->space.op[i] == c.op) product *= softmax(at, p->space.ops, i);
                at += p->space.ops;
            }
            for (int i = 0; i < 2 + node; i++) equal += of[0][i] * of[1][i];
            if (p->distinct) product /= 1 - equal;
        }
    return product;
}

static void darts_space_has_the_published_size(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    pn_prior prior;
    pn_factor factor[PN_MAX_FACTORS];
    assert_int_equal(pn_prior_init(&prior, &space, false), PN_OK);
    assert_int_equal(prior.count, 168);
    assert_int_equal(pn_factors(&space, factor), 32);
    int next = 0;
    for (int f = 0; f < 32; f++) {
        assert_int_equal(factor[f].first, next);
        next += factor[f].choices;
    }
    assert_int_equal(next, 168);
    /* (2 * 3 * 4 * 5)^2 inputs times 7^8 ops a cell, 8.30e10; both cells 6.89e21. */
    double cell = 14400 * pow(7, 8);
    assert_true(pn_prior_size(&prior) == cell * cell);
    assert_true(fabs(pn_prior_entropy(&prior, NULL) - 2 * log(cell)) < 1e-12);
    assert_true(fabs(pn_prior_entropy_uniform(&prior) - 50.285) < 0.0005);
    prior.distinct = true; /* 2*1 * 3*2 * 4*3 * 5*4 pairs of inputs */
    cell = 2880 * pow(7, 8);
    assert_true(pn_prior_size(&prior) == cell * cell);
    assert_true(fabs(pn_prior_entropy(&prior, NULL) - 2 * log(cell)) < 1e-12);
}

static void names_are_unique_and_found_again(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    pn_factor factor[PN_MAX_FACTORS];
    char name[PN_NAME_BYTES];
    for (int i = 0; i < 168; i++) {
        pn_logit_name(&space, i, name);
        assert_int_equal(pn_logit_find(&space, name), i);
    }
    pn_logit_name(&space, 0, name);
    assert_string_equal(name, "normal.0.0.input.0");
    pn_logit_name(&space, 5, name);
    assert_string_equal(name, "normal.0.0.op.sep_conv_3x3");
    pn_logit_name(&space, 167, name);
    assert_string_equal(name, "reduce.3.1.op.dil_conv_5x5");
    pn_factors(&space, factor);
    pn_factor_name(&factor[31], name);
    assert_string_equal(name, "reduce.3.1.op");
    assert_int_equal(pn_logit_find(&space, "normal.0.0.input.2"), -1);

    space = pn_small_space(1, 1, 2); /* names follow the ops of the space, not their numbers */
    pn_logit_name(&space, 2, name);
    assert_string_equal(name, "normal.0.0.op.dil_conv_5x5");
}

static void impossible_spaces_are_refused(void **state) {
    (void)state;
    pn_prior prior;
    pn_space bad[] = {{0, 1, 1, {0}}, {3, 1, 1, {0}}, {1, 0, 1, {0}},    {1, 5, 1, {0}},
                      {1, 1, 0, {0}}, {1, 1, 8, {0}}, {1, 1, 2, {3, 3}}, {1, 1, 1, {7}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(pn_prior_init(&prior, &bad[i], false), PN_EARG);
}

/* Rounding: at most 4096 terms of relative error 100 * 2^-53 (a product of 30 numbers, each of a
 * few operations) in a sum of 1. */
static void log_p_is_the_definition_and_sums_to_one(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        pn_prior p;
        make(i, 3, &p);
        int n = pn_enumerate(&p.space, p.distinct, all, LIMIT);
        assert_true(n == pn_prior_size(&p));
        double sum = 0;
        for (int a = 0; a < n; a++) {
            double log_p = pn_prior_log_p(&p, &all[a]);
            assert_true(fabs(log_p - log(probability_by_definition(&p, &all[a]))) < 1e-12);
            sum += exp(log_p);
        }
        assert_true(fabs(sum - 1) < 1e-12);
    }
}

static void coinciding_inputs_have_no_probability_if_distinct(void **state) {
    (void)state;
    pn_prior p;
    make(3, 3, &p);
    int n = pn_enumerate(&p.space, false, all, LIMIT), refused = 0;
    for (int a = 0; a < n; a++) {
        const pn_choice *term = all[a].cell[0].term[0];
        bool equal = term[0].input == term[1].input;
        assert_int_equal(pn_prior_log_p(&p, &all[a]) == -INFINITY, equal);
        refused += equal;
    }
    assert_int_equal(refused, n / 2);
}

/* Central differences. The third derivative of log p by one logit is that of a log-normaliser:
 * the third cumulant of an indicator, below 0.1, so the formula is off by at most 0.1 h^2 / 6.
 * log p itself, a sum of at most 24 terms below 20, is rounded by less than 24 * 20 * 16 * 2^-53
 * = 9e-13, which the difference divides by h. */
static void gradient_agrees_with_finite_differences(void **state) {
    (void)state;
    const double h = 1e-4, bound = 0.1 * h * h / 6 + 9e-13 / h;
    for (int i = 0; i <= CASES + 1; i++) {
        pn_prior p;
        if (i < CASES) {
            make(i, 3, &p);
        } else {
            pn_space darts = pn_space_darts();
            assert_int_equal(pn_prior_init(&p, &darts, i == CASES), PN_OK);
            pn_random_logits(&p, 3, 99);
        }
        pn_arch a;
        pn_prior_sample(&p, 5, 0, (uint64_t)i, &a);
        double gradient[PN_MAX_LOGITS];
        for (int j = 0; j < PN_MAX_LOGITS; j++) gradient[j] = 1000;
        pn_prior_gradient(&p, &a, 2, gradient); /* added, with its weight */
        for (int j = 0; j < p.count; j++) {
            pn_prior up = p, down = p;
            up.logit[j] += h;
            down.logit[j] -= h;
            double slope = (pn_prior_log_p(&up, &a) - pn_prior_log_p(&down, &a)) / (2 * h);
            assert_true(fabs((gradient[j] - 1000) / 2 - slope) < bound);
        }
    }
}

/* ---- tables made once are the tables made for every architecture ----------------------------- */

/* Log-probabilities of a block, anew: of a node's pair of inputs (block 0), or of the op of a slot.
 * The order of the operations is the prior's own, so that all bits are the same. */
enum { MOST = (PN_MAX_NODES + 1) * (PN_MAX_NODES + 1) };
static int table_alone(const pn_prior *p, int kind, int node, int block, double table[MOST]) {
    pn_factor factor[PN_MAX_FACTORS];
    double max = -INFINITY, sum = 0;
    (void)pn_factors(&p->space, factor);
    const pn_factor *f = factor + (kind * p->space.nodes + node) * 4; /* input, op, input, op */
    int n = 0;
    if (block > 0) {
        for (; n < p->space.ops; n++) table[n] = p->logit[f[2 * block - 1].first + n];
    } else {
        for (int i = 0; i < f[0].choices; i++)
            for (int j = 0; j < f[0].choices; j++)
                table[n++] = p->distinct && i == j
                                 ? -INFINITY
                                 : p->logit[f[0].first + i] + p->logit[f[2].first + j];
    }
    for (int i = 0; i < n; i++) max = fmax(max, table[i]);
    for (int i = 0; i < n; i++) sum += exp(table[i] - max);
    const double log_sum = log(sum);
    for (int i = 0; i < n; i++) table[i] = (table[i] - max) - log_sum;
    return n;
}

static int entry_alone(const pn_prior *p, const pn_choice *term, int node, int block) {
    return block > 0 ? pn_op_choice(&p->space, term[block - 1].op)
                     : term[0].input * pn_inputs(node) + term[1].input;
}

static double log_p_alone(const pn_prior *p, const pn_arch *a) {
    double table[MOST], sum = 0;
    if (!pn_space_has(&p->space, a)) return -INFINITY;
    for (int kind = 0; kind < p->space.kinds; kind++)
        for (int node = 0; node < p->space.nodes; node++)
            for (int block = 0; block < 3; block++) {
                (void)table_alone(p, kind, node, block, table);
                sum += table[entry_alone(p, a->cell[kind].term[node], node, block)];
            }
    return sum;
}

static void gradient_alone(const pn_prior *p, const pn_arch *a, double weight, double *gradient) {
    double probability[PN_MAX_LOGITS];
    pn_factor factor[PN_MAX_FACTORS];
    const int factors = pn_factors(&p->space, factor);
    pn_prior_marginals(p, probability);
    for (int i = 0; i < p->count; i++) gradient[i] -= weight * probability[i];
    for (int f = 0; f < factors; f++) {
        const pn_choice c = a->cell[factor[f].kind].term[factor[f].node][factor[f].slot];
        gradient[factor[f].first + (factor[f].ops ? pn_op_choice(&p->space, c.op) : c.input)] +=
            weight;
    }
}

/* Entry after entry, until the number that was drawn is used up. */
static void sample_alone(const pn_prior *p, uint64_t step, uint64_t index, pn_arch *a) {
    memset(a, 0, sizeof *a);
    for (int kind = 0; kind < p->space.kinds; kind++)
        for (int node = 0; node < p->space.nodes; node++)
            for (int block = 0; block < 3; block++) {
                double table[MOST];
                const int n = table_alone(p, kind, node, block, table), inputs = pn_inputs(node);
                const int b = (kind * PN_MAX_NODES + node) * 3 + block;
                double left = pn_uniform(3, PN_STREAM_SAMPLE, step, index * 32 + (uint64_t)b);
                int take = 0;
                for (int i = 0; i < n; i++) {
                    const double probability = exp(table[i]);
                    if (probability <= 0) continue;
                    take = i;
                    if (left < probability) break;
                    left -= probability;
                }
                pn_choice *term = a->cell[kind].term[node];
                if (block > 0) {
                    term[block - 1].op = p->space.op[take];
                } else {
                    term[0].input = (uint8_t)(take / inputs);
                    term[1].input = (uint8_t)(take % inputs);
                }
            }
}

static void assert_alone(const pn_prior *prior, int draws) {
    pn_prior p = *prior;
    pn_tables t;
    double one[PN_MAX_LOGITS] = {0}, many[PN_MAX_LOGITS] = {0};
    pn_tables_make(&p, &t);
    for (int j = 0; j < p.count; j++) p.logit[j] += j; /* the tables are of the time before */
    for (uint64_t k = 0; k < (uint64_t)draws; k++) {
        pn_arch a, b, c;
        sample_alone(prior, k / 10, k, &a);
        pn_tables_sample(&t, 3, k / 10, k, &b);
        pn_prior_sample(prior, 3, k / 10, k, &c);
        assert_memory_equal(&a, &b, sizeof a);
        assert_memory_equal(&a, &c, sizeof a);
        const double log_p = log_p_alone(prior, &a);
        assert_true(log_p == pn_tables_log_p(&t, &a) && log_p == pn_prior_log_p(prior, &a));
        gradient_alone(prior, &a, 0.5 + (double)k, one);
        pn_tables_gradient(&t, &a, 0.5 + (double)k, many);
        for (int j = 0; j < p.count; j++) assert_true(one[j] == many[j]);
    }
}

/* Logits of -SPREAD to SPREAD: equal ones, usual ones, and such that most entries have probability
 * 0, so that a block ends in those. */
static void tables_made_once_have_the_bits_of_tables_made_anew(void **state) {
    (void)state;
    static const double spread[] = {0, 3, 40, 2000};
    enum { SPREADS = sizeof spread / sizeof *spread };
    for (int k = 0; k < SPREADS; k++) {
        pn_prior p;
        for (int i = 0; i < CASES; i++) {
            make(i, spread[k], &p);
            assert_alone(&p, 50);
        }
        const pn_space darts = pn_space_darts();
        for (int distinct = 0; distinct < 2; distinct++) {
            assert_int_equal(pn_prior_init(&p, &darts, distinct), PN_OK);
            pn_random_logits(&p, spread[k], 99);
            assert_alone(&p, 300);
        }
    }
}

/* What the space has not, has no probability; whatever stands in a cell that it has not. */
static void an_architecture_of_another_space_has_no_probability(void **state) {
    (void)state;
    pn_prior p;
    pn_arch a;
    make(4, 3, &p); /* one kind, two nodes, three ops from the end of the list */
    pn_prior_sample(&p, 3, 0, 0, &a);
    assert_true(pn_prior_log_p(&p, &a) > -INFINITY);
    a.cell[PN_REDUCTION].term[0][0].op = PN_NONE;
    assert_true(pn_prior_log_p(&p, &a) > -INFINITY);
    for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
        pn_arch b = a;
        b.cell[PN_NORMAL].term[1][slot].op = PN_MAX_POOL_3X3;
        assert_true(pn_prior_log_p(&p, &b) == -INFINITY);
        b.cell[PN_NORMAL].term[1][slot].op = PN_NONE;
        assert_true(pn_prior_log_p(&p, &b) == -INFINITY);
    }
    a.cell[PN_NORMAL].every_edge = 1;
    assert_true(pn_prior_log_p(&p, &a) == -INFINITY);
}

static void mean_gradient_is_zero(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        pn_prior p;
        make(i, 3, &p);
        int n = pn_enumerate(&p.space, p.distinct, all, LIMIT);
        double sum[PN_MAX_LOGITS] = {0};
        for (int a = 0; a < n; a++)
            pn_prior_gradient(&p, &all[a], exp(pn_prior_log_p(&p, &all[a])), sum);
        for (int j = 0; j < p.count; j++) assert_true(fabs(sum[j]) < 1e-12);
    }
}

static void entropy_and_marginals_are_sums_over_the_space(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        pn_prior p;
        pn_factor factor[PN_MAX_FACTORS];
        make(i, 3, &p);
        int n = pn_enumerate(&p.space, p.distinct, all, LIMIT);
        int factors = pn_factors(&p.space, factor);
        double want[PN_MAX_LOGITS] = {0}, got[PN_MAX_LOGITS], entropy = 0;
        for (int a = 0; a < n; a++) {
            double probability = probability_by_definition(&p, &all[a]);
            entropy -= probability * log(probability);
            for (int f = 0; f < factors; f++) {
                pn_choice c = all[a].cell[factor[f].kind].term[factor[f].node][factor[f].slot];
                int choice = factor[f].ops ? PN_MAX_OPS - 1 - c.op : c.input;
                want[factor[f].first + choice] += probability;
            }
        }
        pn_prior_marginals(&p, got);
        for (int j = 0; j < p.count; j++) assert_true(fabs(want[j] - got[j]) < 1e-12);

        double by_factor[PN_MAX_FACTORS], sum = 0;
        assert_true(fabs(pn_prior_entropy(&p, by_factor) - entropy) < 1e-12);
        for (int f = 0; f < factors; f++) {
            double alone = 0;
            for (int j = 0; j < factor[f].choices; j++) {
                double q = want[factor[f].first + j];
                alone -= q > 0 ? q * log(q) : 0;
            }
            sum += by_factor[f];
            bool given_other = p.distinct && !factor[f].ops && factor[f].slot == 1;
            if (!given_other) assert_true(fabs(by_factor[f] - alone) < 1e-12);
        }
        assert_true(fabs(sum - entropy) < 1e-12);
    }
}

static void mode_and_top_are_those_of_the_whole_space(void **state) {
    (void)state;
    static pn_arch top[LIMIT];
    static double log_p[LIMIT], sorted[LIMIT];
    for (int i = 0; i < CASES; i++) {
        pn_prior p;
        make(i, 3, &p);
        int n = pn_enumerate(&p.space, p.distinct, all, LIMIT), found;
        for (int a = 0; a < n; a++) { /* insertion: largest first */
            double x = pn_prior_log_p(&p, &all[a]);
            int at = a;
            for (; at > 0 && sorted[at - 1] < x; at--) sorted[at] = sorted[at - 1];
            sorted[at] = x;
        }
        pn_arch mode;
        pn_prior_mode(&p, &mode);
        assert_true(pn_prior_log_p(&p, &mode) == sorted[0]);

        int wants[] = {1, 7, LIMIT};
        for (int w = 0; w < 3; w++) {
            int want = wants[w];
            assert_int_equal(pn_prior_top(&p, want, top, log_p, &found), PN_OK);
            assert_int_equal(found, want < n ? want : n);
            assert_memory_equal(&top[0], &mode, sizeof mode);
            for (int k = 0; k < found; k++) {
                assert_true(fabs(log_p[k] - sorted[k]) < 1e-12);
                assert_true(fabs(pn_prior_log_p(&p, &top[k]) - log_p[k]) < 1e-12);
                for (int j = 0; j < k && found < 100; j++)
                    assert_memory_not_equal(&top[j], &top[k], sizeof *top);
            }
        }
    }
}

static void mode_gives_way_where_both_slots_want_one_input(void **state) {
    (void)state;
    pn_space space = pn_small_space(1, 1, 1);
    pn_prior p;
    pn_arch mode;
    assert_int_equal(pn_prior_init(&p, &space, true), PN_OK);
    /* Slot 0: inputs 3, 2.9. Slot 1: 3, 0. Both prefer input 0, and slot 0 minds less. */
    const double logit[] = {3, 2.9, 0, 3, 0, 0};
    memcpy(p.logit, logit, sizeof logit);
    pn_prior_mode(&p, &mode);
    assert_int_equal(mode.cell[0].term[0][0].input, 1);
    assert_int_equal(mode.cell[0].term[0][1].input, 0);
}

static void top_of_the_whole_space_is_ordered_and_refuses_nonsense(void **state) {
    (void)state;
    pn_space darts = pn_space_darts();
    pn_prior p;
    pn_arch top[50], mode;
    double log_p[50];
    int found;
    assert_int_equal(pn_prior_init(&p, &darts, true), PN_OK);
    pn_random_logits(&p, 2, 3);
    assert_int_equal(pn_prior_top(&p, 50, top, log_p, &found), PN_OK);
    assert_int_equal(found, 50);
    pn_prior_mode(&p, &mode);
    assert_memory_equal(&top[0], &mode, sizeof mode);
    for (int k = 1; k < 50; k++) assert_true(log_p[k] <= log_p[k - 1]);
    assert_int_equal(pn_prior_top(&p, 0, top, log_p, &found), PN_EARG);
    assert_int_equal(pn_prior_top(&p, PN_MAX_TOP + 1, top, log_p, &found), PN_EARG);
}

/* Here 1 - sum p0(i) p1(i) is 0 in double precision; what is left must still be exact. */
static void distinct_inputs_survive_two_slots_that_insist_on_one(void **state) {
    (void)state;
    pn_space space = pn_small_space(1, 1, 1);
    pn_prior p;
    assert_int_equal(pn_prior_init(&p, &space, true), PN_OK);
    p.logit[0] = p.logit[3] = 60; /* input 0 of both slots */
    int n = pn_enumerate(&space, true, all, LIMIT), first = 0;
    assert_int_equal(n, 2);
    for (int a = 0; a < 2; a++) assert_true(fabs(pn_prior_log_p(&p, &all[a]) - log(0.5)) < 1e-15);
    assert_true(fabs(pn_prior_entropy(&p, NULL) - log(2)) < 1e-15);
    for (int k = 0; k < 1000; k++) {
        pn_arch a;
        pn_prior_sample(&p, 1, 0, (uint64_t)k, &a);
        const pn_choice *term = a.cell[0].term[0];
        assert_int_not_equal(term[0].input, term[1].input);
        first += term[0].input == 0;
    }
    assert_in_range(first, 425, 575); /* 500 +- 4.75 sqrt(250): as rare as 2e-6 */
}

static int number_of(const pn_arch *a, int n) {
    for (int i = 0; i < n; i++)
        if (memcmp(a, &all[i], sizeof *a) == 0) return i;
    fail_msg("a sample that is not of the space");
    return -1;
}

static void samples_follow_the_distribution(void **state) {
    (void)state;
    enum { DRAWS = 100000 };
    static int seen[LIMIT];
    for (int i = 0; i < CASES; i++)
        for (int uniform = 0; uniform < 2; uniform++) {
            pn_prior p;
            make(i, uniform ? 0 : 0.7, &p);
            int n = pn_enumerate(&p.space, p.distinct, all, LIMIT);
            if (n > 600) continue; /* expected counts would be too small for the statistic */
            memset(seen, 0, sizeof seen);
            for (int d = 0; d < DRAWS; d++) {
                pn_arch a;
                pn_prior_sample(&p, 11, (uint64_t)d / 8, (uint64_t)d % 8, &a);
                seen[number_of(&a, n)]++;
            }
            double chi_square = 0;
            for (int a = 0; a < n; a++) {
                double expected = DRAWS * probability_by_definition(&p, &all[a]);
                chi_square += (seen[a] - expected) * (seen[a] - expected) / expected;
            }
            if (chi_square > pn_chi_square_limit(n - 1))
                fail_msg("%s: chi-square %g of %d degrees", cases[i].why, chi_square, n - 1);
        }
}

static void marginals_of_the_whole_space_are_sampled(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    for (int distinct = 0; distinct < 2; distinct++) {
        pn_space darts = pn_space_darts();
        pn_prior p;
        pn_factor factor[PN_MAX_FACTORS];
        double probability[PN_MAX_LOGITS];
        int seen[PN_MAX_LOGITS] = {0};
        assert_int_equal(pn_prior_init(&p, &darts, distinct), PN_OK);
        pn_random_logits(&p, 1.5, 21);
        pn_prior_marginals(&p, probability);
        int factors = pn_factors(&darts, factor);
        for (int d = 0; d < DRAWS; d++) {
            pn_arch a;
            pn_prior_sample(&p, 12, (uint64_t)d, 0, &a);
            for (int f = 0; f < factors; f++) {
                pn_choice c = a.cell[factor[f].kind].term[factor[f].node][factor[f].slot];
                seen[factor[f].first + (factor[f].ops ? c.op : c.input)]++;
            }
        }
        for (int f = 0; f < factors; f++) {
            double chi_square = 0;
            for (int j = factor[f].first; j < factor[f].first + factor[f].choices; j++) {
                double expected = DRAWS * probability[j];
                chi_square += (seen[j] - expected) * (seen[j] - expected) / expected;
            }
            assert_true(chi_square < pn_chi_square_limit(factor[f].choices - 1));
        }
    }
}

/* If two samples, or two factors of one, shared a random number, the joint distribution of some
 * pair of factors would not be the product of two uniform ones. */
static void neighbouring_samples_are_independent(void **state) {
    (void)state;
    enum { DRAWS = 5000 };
    static const struct { uint64_t step, index; } other[] = {{0, 0}, {0, 1}, {1, 0}};
    static int seen[PN_MAX_FACTORS][PN_MAX_FACTORS][PN_MAX_OPS][PN_MAX_OPS];
    pn_space darts = pn_space_darts();
    pn_factor factor[PN_MAX_FACTORS];
    pn_prior p;
    assert_int_equal(pn_prior_init(&p, &darts, false), PN_OK);
    int factors = pn_factors(&darts, factor);
    for (int o = 0; o < 3; o++) {
        memset(seen, 0, sizeof seen);
        for (uint64_t d = 0; d < DRAWS; d++) {
            int chosen[2][PN_MAX_FACTORS];
            for (int which = 0; which < 2; which++) {
                pn_arch a;
                pn_prior_sample(&p, 13, 2 * d + (which ? other[o].step : 0),
                                which ? other[o].index : 0, &a);
                for (int f = 0; f < factors; f++) {
                    pn_choice c = a.cell[factor[f].kind].term[factor[f].node][factor[f].slot];
                    chosen[which][f] = factor[f].ops ? c.op : c.input;
                }
            }
            for (int f = 0; f < factors; f++)
                for (int g = 0; g < factors; g++) seen[f][g][chosen[0][f]][chosen[1][g]]++;
        }
        for (int f = 0; f < factors; f++)
            for (int g = 0; g < factors; g++) {
                int cells = factor[f].choices * factor[g].choices;
                double expected = (double)DRAWS / cells, chi_square = 0;
                for (int i = 0; i < factor[f].choices; i++)
                    for (int j = 0; j < factor[g].choices; j++)
                        chi_square += pow(seen[f][g][i][j] - expected, 2) / expected;
                bool same = o == 0 && f == g; /* a factor and itself: it must show */
                assert_int_equal(chi_square < pn_chi_square_limit(cells - 1), !same);
            }
    }
}

static void a_sample_depends_on_its_numbers_alone(void **state) {
    (void)state;
    pn_space darts = pn_space_darts();
    pn_prior p;
    pn_arch a, b;
    assert_int_equal(pn_prior_init(&p, &darts, true), PN_OK);
    pn_prior_sample(&p, 1, 2, 3, &a);
    memset(&b, 0xff, sizeof b); /* what was there must not show through */
    pn_prior_sample(&p, 1, 2, 3, &b);
    assert_memory_equal(&a, &b, sizeof a);
    pn_prior_sample(&p, 1, 2, 4, &b);
    assert_memory_not_equal(&a, &b, sizeof a);
    pn_prior_sample(&p, 1, 3, 3, &b);
    assert_memory_not_equal(&a, &b, sizeof a);
    pn_prior_sample(&p, 2, 2, 3, &b);
    assert_memory_not_equal(&a, &b, sizeof a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(darts_space_has_the_published_size),
        cmocka_unit_test(names_are_unique_and_found_again),
        cmocka_unit_test(impossible_spaces_are_refused),
        cmocka_unit_test(log_p_is_the_definition_and_sums_to_one),
        cmocka_unit_test(coinciding_inputs_have_no_probability_if_distinct),
        cmocka_unit_test(gradient_agrees_with_finite_differences),
        cmocka_unit_test(tables_made_once_have_the_bits_of_tables_made_anew),
        cmocka_unit_test(an_architecture_of_another_space_has_no_probability),
        cmocka_unit_test(mean_gradient_is_zero),
        cmocka_unit_test(entropy_and_marginals_are_sums_over_the_space),
        cmocka_unit_test(mode_and_top_are_those_of_the_whole_space),
        cmocka_unit_test(mode_gives_way_where_both_slots_want_one_input),
        cmocka_unit_test(top_of_the_whole_space_is_ordered_and_refuses_nonsense),
        cmocka_unit_test(distinct_inputs_survive_two_slots_that_insist_on_one),
        cmocka_unit_test(samples_follow_the_distribution),
        cmocka_unit_test(marginals_of_the_whole_space_are_sampled),
        cmocka_unit_test(neighbouring_samples_are_independent),
        cmocka_unit_test(a_sample_depends_on_its_numbers_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
