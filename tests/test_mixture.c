/* test_mixture.c -- weights of ops on edges: softmax, noise and gradients against closed forms and
 * differences, cells against the parsing rule as the public code has it, and the distribution over
 * cells against its enumeration. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/methods/mixture.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

static double random_number(uint64_t which, int i) { /* -1..1 */
    return 2 * pn_uniform(3, PN_STREAM_TEST, which, (uint64_t)i) - 1;
}

/* Logits of some size, so that ops differ. */
static pn_mixture mixture_of(const pn_space *space, uint64_t which, double size) {
    pn_mixture m;
    assert_int_equal(pn_mixture_init(&m, space, 0, 1), PN_OK);
    for (int i = 0; i < m.count; i++) m.logit[i] = size * random_number(which, i);
    return m;
}

static pn_space small_space(int nodes, int ops) {
    pn_space s = pn_space_darts();
    s.nodes = nodes;
    s.ops = ops;
    memset(s.op + ops, 0, (size_t)(PN_MAX_OPS - ops));
    return s;
}

static void as_many_as_darts_has(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    pn_mixture m;
    char name[PN_NAME_BYTES], other[PN_NAME_BYTES];
    assert_int_equal(pn_mixture_init(&m, &space, 1e-3, 1), PN_OK);
    assert_int_equal(m.count, 224);
    assert_int_equal(pn_mixture_edges(&m), 28);
    assert_true(fabs(pn_mixture_entropy_uniform(&m) - 28 * log(8)) < 1e-12);
    pn_mixture_name(&space, 0, name);
    assert_string_equal(name, "normal.0.0.none");
    pn_mixture_name(&space, 112 + 8 * 7 + 4, name); /* edges of node 2 begin at 5 */
    assert_string_equal(name, "reduce.2.2.sep_conv_3x3");
    pn_mixture_name(&space, 223, name);
    assert_string_equal(name, "reduce.3.4.dil_conv_5x5");
    for (int i = 0; i < m.count; i++)
        for (int j = 0; j < i; j++) {
            pn_mixture_name(&space, i, name);
            pn_mixture_name(&space, j, other);
            assert_string_not_equal(name, other);
        }
    pn_space none = space;
    none.ops = 0;
    assert_int_equal(pn_mixture_init(&m, &none, 1, 1), PN_EARG);
}

/* Mean and variance of many independent numbers lie within five of their standard errors; for a
 * normal number the fourth central moment is 3, for a Gumbel one 27/5 + 3 variances squared. */
static void assert_moments(const double *x, int n, double mean, double variance, double kurtosis) {
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++) sum += x[i] / n;
    for (int i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / n;
    assert_true(fabs(sum - mean) < 5 * sqrt(variance / n));
    assert_true(fabs(square - variance) < 5 * variance * sqrt((kurtosis - 1) / n));
}

static void random_numbers_are_what_they_are_called(void **state) {
    (void)state;
    enum { PASSES = 40 };
    static double noise[PASSES * PN_MAX_MIX], again[PN_MAX_MIX], logit[PASSES * PN_MAX_MIX];
    const double pi = acos(-1), gamma = 0.57721566490153286;
    const pn_space space = pn_space_darts();
    pn_mixture m;
    for (int i = 0; i < PASSES; i++) {
        assert_int_equal(pn_mixture_init(&m, &space, 2, (uint64_t)i), PN_OK);
        memcpy(logit + i * m.count, m.logit, (size_t)m.count * sizeof *logit);
        pn_mixture_noise(&m, 7, i / 2, i % 2, noise + i * m.count);
    }
    assert_moments(logit, PASSES * m.count, 0, 4, 3);
    assert_moments(noise, PASSES * m.count, gamma, pi * pi / 6, 5.4);
    pn_mixture_noise(&m, 7, 3, 1, again);
    assert_memory_equal(again, noise + 7 * m.count, (size_t)m.count * sizeof *again);
    for (int i = 0; i < PASSES * m.count; i++) /* no two of other step or pass are one */
        for (int j = i + m.count; j < PASSES * m.count; j += m.count)
            assert_true(noise[i] != noise[j] && isfinite(noise[i]));
}

static void weights_are_a_softmax(void **state) {
    (void)state;
    static const double temperatures[] = {0.03, 0.5, 1, 10};
    double weight[PN_MAX_MIX], noise[PN_MAX_MIX];
    const pn_space space = pn_space_darts();
    const pn_mixture m = mixture_of(&space, 1, 3);
    pn_mixture_noise(&m, 1, 0, 0, noise);
    for (int i = 0; i < 4; i++)
        for (int noisy = 0; noisy < 2; noisy++) {
            const double T = temperatures[i];
            pn_mixture_weights(&m, noisy ? noise : NULL, T, weight);
            for (int at = 0; at < m.count; at += 8) {
                double sum = 0, all = 0;
                for (int k = at; k < at + 8; k++) {
                    sum += weight[k];
                    all += exp((m.logit[k] + (noisy ? noise[k] : 0)) / T - 100);
                }
                assert_true(fabs(sum - 1) < 1e-14);
                for (int k = at; k < at + 8; k++) {
                    const double want = exp((m.logit[k] + (noisy ? noise[k] : 0)) / T - 100) / all;
                    if (T > 0.4) assert_true(fabs(weight[k] - want) < 1e-12);
                }
            }
        }
    const pn_mixture equal = mixture_of(&space, 1, 0);
    assert_true(fabs(pn_mixture_entropy(&equal) - 28 * log(8)) < 1e-12);
    assert_true(pn_mixture_entropy(&m) < 28 * log(8) - 1);
}

/* A linear function of the weights: its gradient with respect to them is known, that of the logits
 * is compared with central differences, whose error is h^2 / 6 of third derivatives (below 1 / T^3
 * here) and rounding over h. */
static void gradients_against_differences(void **state) {
    (void)state;
    static const double temperatures[] = {0.5, 1, 4};
    double weight[PN_MAX_MIX], noise[PN_MAX_MIX], of_weight[PN_MAX_MIX], gradient[PN_MAX_MIX];
    const pn_space space = small_space(2, 3);
    const pn_mixture m = mixture_of(&space, 2, 1);
    pn_mixture_noise(&m, 1, 5, 0, noise);
    for (int i = 0; i < m.count; i++) of_weight[i] = i % 4 ? random_number(4, i) : 0;
    for (int t = 0; t < 3; t++) {
        const double T = temperatures[t], h = 1e-4;
        pn_mixture_weights(&m, noise, T, weight);
        pn_mixture_back(&m, weight, T, of_weight, gradient);
        for (int i = 0; i < m.count; i++) {
            double side[2] = {0};
            for (int s = 0; s < 2; s++) {
                pn_mixture moved = m;
                moved.logit[i] += s ? h : -h;
                pn_mixture_weights(&moved, noise, T, weight);
                for (int k = 0; k < m.count; k++) side[s] += of_weight[k] * weight[k];
            }
            assert_true(fabs((side[1] - side[0]) / (2 * h) - gradient[i]) <
                        h * h / (6 * T * T * T) + 1e-11);
        }
        for (int at = 0; at < m.count; at += 4) {
            double sum = 0;
            for (int k = at; k < at + 4; k++) sum += gradient[k];
            assert_true(fabs(sum) < 1e-14);
        }
    }
}

/* Only the chosen op has a gradient g. As the public code has it: d/dlogit_k of the softmax of
 * (log_softmax(alpha) + G) / tau is p_k (delta_ki - p_i) g / tau, then through log_softmax, which
 * subtracts the sum of these, 0. */
static void straight_through_is_that_of_gdas(void **state) {
    (void)state;
    double p[PN_MAX_MIX], noise[PN_MAX_MIX], of_weight[PN_MAX_MIX] = {0}, gradient[PN_MAX_MIX];
    int8_t chosen[PN_MAX_MIX_EDGES];
    const pn_space space = pn_space_darts();
    const pn_mixture m = mixture_of(&space, 6, 1);
    const double tau = 0.7;
    int none = 0;
    pn_mixture_noise(&m, 9, 0, 0, noise);
    pn_mixture_weights(&m, noise, tau, p);
    pn_mixture_choose(&m, p, chosen);
    for (int e = 0; e < 28; e++) {
        none += chosen[e] < 0;
        if (chosen[e] >= 0) of_weight[8 * e + 1 + chosen[e]] = random_number(8, e);
    }
    assert_true(none > 0 && none < 14);
    pn_mixture_back(&m, p, tau, of_weight, gradient);
    for (int e = 0; e < 28; e++)
        for (int k = 0; k < 8; k++) {
            const int i = 1 + chosen[e];
            const double pk = p[8 * e + k], pi = p[8 * e + i], g = of_weight[8 * e + i];
            assert_true(p[8 * e + k] <= pi);
            assert_true(fabs(gradient[8 * e + k] - pk * ((k == i) - pi) / tau * g) < 1e-15);
        }
}

/* The largest of logits with Gumbel noise is a draw from their softmax. */
static void noise_draws_from_the_softmax(void **state) {
    (void)state;
    enum { DRAWS = 4000 };
    double weight[PN_MAX_MIX], noisy[PN_MAX_MIX], noise[PN_MAX_MIX];
    int8_t chosen[PN_MAX_MIX_EDGES];
    int times[PN_MAX_MIX] = {0};
    const pn_space space = small_space(1, 3);
    const pn_mixture m = mixture_of(&space, 3, 1);
    pn_mixture_weights(&m, NULL, 1, weight);
    for (int d = 0; d < DRAWS; d++) {
        pn_mixture_noise(&m, 2, d, 0, noise);
        pn_mixture_weights(&m, noise, 0.3, noisy);
        pn_mixture_choose(&m, noisy, chosen);
        for (int e = 0; e < pn_mixture_edges(&m); e++) times[4 * e + 1 + chosen[e]]++;
    }
    for (int i = 0; i < m.count; i++)
        assert_true(fabs(times[i] - DRAWS * weight[i]) <
                    5 * sqrt(DRAWS * weight[i] * (1 - weight[i])));
}

/* log of the density of the weights of an edge (Maddison, Mnih, Teh 2017, equation 10), its terms
 * without the logits left out. */
static double log_density(const double *logit, const double *weight, double T, int n) {
    double sum = 0, all = 0;
    for (int i = 0; i < n; i++) {
        sum += logit[i];
        all += exp(logit[i] - T * log(weight[i]));
    }
    return sum - n * log(all);
}

/* Central differences of the density of what was drawn, which stands still: their error is h^2 / 6
 * of third derivatives, below n here, and rounding of some 10 over h. */
static void the_policy_against_differences(void **state) {
    (void)state;
    static const double temperatures[] = {0.1, 0.7, 3};
    double weight[PN_MAX_MIX], noise[PN_MAX_MIX], of_edge[PN_MAX_MIX_EDGES], gradient[PN_MAX_MIX];
    const pn_space space = small_space(2, 3);
    const pn_mixture m = mixture_of(&space, 5, 2);
    pn_mixture_noise(&m, 1, 7, 0, noise);
    for (int e = 0; e < pn_mixture_edges(&m); e++) of_edge[e] = random_number(9, e);
    pn_mixture_policy(&m, noise, of_edge, gradient);
    for (int t = 0; t < 3; t++) {
        const double T = temperatures[t], h = 1e-4;
        pn_mixture_weights(&m, noise, T, weight);
        for (int i = 0; i < m.count; i++) {
            const int at = i / 4 * 4;
            double side[2];
            for (int s = 0; s < 2; s++) {
                pn_mixture moved = m;
                moved.logit[i] += s ? h : -h;
                side[s] = log_density(moved.logit + at, weight + at, T, 4);
            }
            const double slope = (side[1] - side[0]) / (2 * h);
            assert_true(fabs(of_edge[i / 4] * slope - gradient[i]) < 4 * h * h / 6 + 1e-10);
        }
    }
}

/* Two ways to the same mean: through the draw, and by the policy, which knows no slope. */
static void the_policy_is_right_on_average(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    const double T = 0.5;
    double weight[PN_MAX_MIX], noise[PN_MAX_MIX], worth[PN_MAX_MIX], through[PN_MAX_MIX],
        by_policy[PN_MAX_MIX], sum[PN_MAX_MIX] = {0}, squares[PN_MAX_MIX] = {0};
    const pn_space space = small_space(1, 3);
    const pn_mixture m = mixture_of(&space, 3, 1);
    for (int i = 0; i < m.count; i++) worth[i] = random_number(11, i);
    for (int d = 0; d < DRAWS; d++) {
        double of_edge[PN_MAX_MIX_EDGES] = {0};
        pn_mixture_noise(&m, 4, d, 0, noise);
        pn_mixture_weights(&m, noise, T, weight);
        for (int i = 0; i < m.count; i++) of_edge[i / 4] += worth[i] * weight[i];
        pn_mixture_back(&m, weight, T, worth, through);
        pn_mixture_policy(&m, noise, of_edge, by_policy);
        for (int i = 0; i < m.count; i++) {
            const double off = by_policy[i] - through[i];
            sum[i] += off;
            squares[i] += off * off;
        }
    }
    for (int i = 0; i < m.count; i++) assert_true(fabs(sum[i]) < 5 * sqrt(squares[i]));
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* DARTS' genotype(): edges sorted by their best op that is not `none` (a stable sort, as Python's),
 * the first two of them, on each the best op. */
static void darts_parse(const pn_mixture *m, const double *weight, int kind, int node,
                        pn_choice term[2]) {
    int edges[PN_MAX_NODES + 1], inputs = pn_inputs(node), best[PN_MAX_NODES + 1];
    const double *w[PN_MAX_NODES + 1];
    for (int i = 0; i < inputs; i++) {
        w[i] = weight + (kind * pn_edges(m->space.nodes) + pn_edge(node, i)) * (1 + m->space.ops);
        edges[i] = i;
        best[i] = 1;
        for (int o = 2; o <= m->space.ops; o++)
            if (w[i][o] > w[i][best[i]]) best[i] = o;
    }
    for (int i = 1; i < inputs; i++) /* insertion */
        for (int j = i; j > 0 && w[edges[j]][best[edges[j]]] > w[edges[j - 1]][best[edges[j - 1]]];
             j--) {
            const int swap = edges[j];
            edges[j] = edges[j - 1];
            edges[j - 1] = swap;
        }
    for (int t = 0; t < 2; t++)
        term[t] = (pn_choice){m->space.op[best[edges[t]] - 1], (uint8_t)edges[t]};
}

static void cells_by_darts_rule(void **state) {
    (void)state;
    double weight[PN_MAX_MIX];
    const pn_space space = pn_space_darts();
    for (int trial = 0; trial < 200; trial++) {
        /* Every second one has few different values, and so many ties. */
        pn_mixture m = mixture_of(&space, 100 + (uint64_t)trial, 3);
        for (int i = 0; trial % 2 && i < m.count; i++) m.logit[i] = round(m.logit[i] / 3);
        pn_arch arch;
        pn_mixture_weights(&m, NULL, 1, weight);
        pn_mixture_cell(&m, true, &arch);
        for (int kind = 0; kind < 2; kind++)
            for (int node = 0; node < 4; node++) {
                pn_choice want[2];
                darts_parse(&m, weight, kind, node, want);
                assert_memory_equal(arch.cell[kind].term[node], want, sizeof want);
            }
    }
}

static void none_and_ties(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    pn_mixture m = mixture_of(&space, 1, 0);
    pn_arch arch;
    pn_mixture_cell(&m, true, &arch); /* all equal: the first op of the first two inputs */
    for (int node = 0; node < 4; node++)
        for (int slot = 0; slot < 2; slot++) {
            assert_int_equal(arch.cell[1].term[node][slot].op, PN_MAX_POOL_3X3);
            assert_int_equal(arch.cell[1].term[node][slot].input, slot);
        }
    pn_mixture_cell(&m, false, &arch); /* the first two ops of the first input */
    for (int slot = 0; slot < 2; slot++) {
        assert_int_equal(arch.cell[0].term[3][slot].op, PN_MAX_POOL_3X3 + slot);
        assert_int_equal(arch.cell[0].term[3][slot].input, 0);
    }
    /* Node 1 of the normal cell, edges 2 to 4: `none` takes the weight of input 0's ops, whatever
     * their logits, and input 2's best comes first. */
    m.logit[8 * 2] = 9;
    for (int o = 1; o < 8; o++) m.logit[8 * 2 + o] = 2;
    m.logit[8 * 4 + 1 + PN_SEP_CONV_5X5] = 1;
    pn_mixture_cell(&m, true, &arch);
    assert_int_equal(arch.cell[0].term[1][0].input, 2);
    assert_int_equal(arch.cell[0].term[1][0].op, PN_SEP_CONV_5X5);
    assert_int_equal(arch.cell[0].term[1][1].input, 1);
    assert_int_equal(arch.cell[0].term[1][1].op, PN_MAX_POOL_3X3);
}

/* One node, two inputs, three ops: 9 pairs of different inputs, 15 pairs of different terms. */
static void the_distribution_over_cells(void **state) {
    (void)state;
    enum { DRAWS = 4000, TERMS = 6 };
    pn_space space = small_space(1, 3);
    space.kinds = 1;
    const pn_mixture m = mixture_of(&space, 5, 1);
    for (int distinct = 0; distinct < 2; distinct++) {
        double sum = 0, most = 0, p[TERMS][TERMS] = {{0}};
        int times[TERMS][TERMS] = {{0}};
        pn_arch cell, likely = {0}, named, drawn;
        for (int a = 0; a < TERMS; a++)
            for (int b = 0; b < TERMS; b++) {
                memset(&cell, 0, sizeof cell);
                cell.cell[0].term[0][0] = (pn_choice){space.op[a % 3], (uint8_t)(a / 3)};
                cell.cell[0].term[0][1] = (pn_choice){space.op[b % 3], (uint8_t)(b / 3)};
                p[a][b] = exp(pn_mixture_log_p(&m, distinct, &cell));
                assert_true((p[a][b] > 0) == (distinct ? a / 3 != b / 3 : a != b));
                if (a < b) sum += p[a][b];
                if (a > b) assert_true(fabs(p[a][b] - p[b][a]) < 1e-15);
                if (p[a][b] > most) {
                    most = p[a][b];
                    likely = cell;
                }
            }
        assert_true(fabs(sum - 1) < 1e-12);
        pn_mixture_cell(&m, distinct, &named);
        assert_true(fabs(exp(pn_mixture_log_p(&m, distinct, &named)) - most) < 1e-15);
        assert_true(!memcmp(&named.cell[0].term[0][0], &likely.cell[0].term[0][0], 2) ||
                    !memcmp(&named.cell[0].term[0][0], &likely.cell[0].term[0][1], 2));
        for (int d = 0; d < DRAWS; d++) {
            const double log_p = pn_mixture_draw(&m, distinct, 4, (uint64_t)d, &drawn);
            const pn_choice *t = drawn.cell[0].term[0];
            const int a = t[0].input * 3 + pn_op_choice(&space, t[0].op),
                      b = t[1].input * 3 + pn_op_choice(&space, t[1].op);
            assert_true(a < b && fabs(exp(log_p) - p[a][b]) < 1e-15);
            times[a][b]++;
        }
        for (int a = 0; a < TERMS; a++)
            for (int b = a + 1; b < TERMS; b++)
                assert_true(fabs(times[a][b] - DRAWS * p[a][b]) <=
                            5 * sqrt(DRAWS * p[a][b] * (1 - p[a][b])));
    }
}

static int by_log_p(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* All cells of a space of one node of one input pair and of one of three, 15 * 36 with any inputs:
 * the list is as long as asked for, sorted, without repetition, and begins with the cell found. */
static void the_most_probable_cells(void **state) {
    (void)state;
    enum { ALL = 540, TERMS0 = 6, TERMS1 = 9 };
    pn_space space = small_space(2, 3);
    space.kinds = 1;
    static const int wants[] = {1, 7, 100, ALL, 2 * ALL};
    static pn_arch top[2 * ALL], named;
    static double log_p[2 * ALL], every[ALL];
    const pn_mixture m = mixture_of(&space, 6, 1);
    for (int distinct = 0; distinct < 2; distinct++) {
        int all = 0, found;
        for (int i = 0; i < TERMS0 * TERMS0 * TERMS1 * TERMS1; i++) {
            const int term[2][2] = {{i % TERMS0, i / TERMS0 % TERMS0},
                                    {i / 36 % TERMS1, i / 36 / TERMS1}};
            pn_arch cell = {0};
            if (term[0][0] >= term[0][1] || term[1][0] >= term[1][1]) continue;
            for (int t = 0; t < 4; t++) {
                const int number = term[t / 2][t % 2];
                cell.cell[0].term[t / 2][t % 2] =
                    (pn_choice){space.op[number % 3], (uint8_t)(number / 3)};
            }
            const double p = pn_mixture_log_p(&m, distinct, &cell);
            if (p > -INFINITY) every[all++] = p;
        }
        assert_int_equal(all, distinct ? 9 * 27 : ALL);
        qsort(every, (size_t)all, sizeof *every, by_log_p);
        for (int w = 0; w < 5; w++) {
            assert_int_equal(pn_mixture_top(&m, distinct, wants[w], top, log_p, &found), PN_OK);
            assert_int_equal(found, wants[w] < all ? wants[w] : all);
            for (int i = 0; i < found; i++) {
                assert_true(fabs(log_p[i] - every[i]) < 1e-12);
                assert_true(fabs(pn_mixture_log_p(&m, distinct, &top[i]) - log_p[i]) < 1e-12);
                for (int j = 0; j < i; j++)
                    assert_memory_not_equal(&top[i], &top[j], sizeof top[i]);
            }
        }
        pn_mixture_cell(&m, distinct, &named);
        assert_true(fabs(pn_mixture_log_p(&m, distinct, &named) - log_p[0]) < 1e-12);
    }
    int found = 3;
    assert_int_equal(pn_mixture_top(&m, true, 0, top, log_p, &found), PN_EARG);
    assert_int_equal(pn_mixture_top(&m, true, PN_MAX_TOP + 1, top, log_p, &found), PN_EARG);
    assert_int_equal(found, 0);
}

/* genotype_edge_all() of the public code: of each edge the first of the largest weights, `none`
 * among them, edges sorted by it (a stable sort). */
static void edges_parse(const pn_mixture *m, const double *weight, int kind, int node,
                        pn_choice term[PN_MOST_TERMS]) {
    double most[PN_MOST_TERMS] = {0};
    int best[PN_MOST_TERMS] = {0};
    bool taken[PN_MOST_TERMS] = {false};
    for (int input = 0; input < 2 + node; input++) {
        const double *w = weight + 8 * (14 * kind + node * (node + 3) / 2 + input);
        for (int o = 0; o < 8; o++)
            if (w[o] > most[input]) {
                most[input] = w[o];
                best[input] = o;
            }
    }
    for (int t = 0; t < 2 + node; t++) {
        int next = -1;
        for (int i = 0; i < 2 + node; i++)
            if (!taken[i] && (next < 0 || most[i] > most[next])) next = i;
        taken[next] = true;
        const int op = best[next] ? m->space.op[best[next] - 1] : PN_NONE;
        term[t] = (pn_choice){(uint8_t)op, (uint8_t)next};
    }
}

static void cells_of_every_edge(void **state) {
    (void)state;
    double weight[PN_MAX_MIX];
    const pn_space space = pn_space_darts();
    int none = 0, terms[PN_MOST_TERMS + 1] = {0};
    for (int trial = 0; trial < 200; trial++) {
        pn_mixture m = mixture_of(&space, 100 + (uint64_t)trial, 3);
        for (int i = 0; trial % 2 && i < m.count; i++) m.logit[i] = round(m.logit[i] / 3);
        for (int i = 0; i < m.count; i += 8) m.logit[i] += 1.5;
        pn_arch arch;
        pn_mixture_weights(&m, NULL, 1, weight);
        pn_mixture_edges_cell(&m, &arch);
        for (int kind = 0; kind < 2; kind++)
            for (int node = 0; node < 4; node++) {
                pn_choice want[PN_MOST_TERMS] = {{0, 0}};
                edges_parse(&m, weight, kind, node, want);
                assert_true(arch.cell[kind].every_edge == 1);
                assert_memory_equal(arch.cell[kind].term[node], want, sizeof want);
                terms[pn_node_terms(&arch.cell[kind], node)]++;
                none += 2 + node - pn_node_terms(&arch.cell[kind], node);
            }
    }
    for (int n = 0; n < 5; n++) assert_true(terms[n] > 0);
    assert_true(none > 500);
}

/* Two edges of four choices. */
static void the_distribution_over_edges(void **state) {
    (void)state;
    enum { DRAWS = 4000, CHOICES = 4 };
    pn_space space = small_space(1, 3);
    space.kinds = 1;
    const pn_mixture m = mixture_of(&space, 5, 1);
    double sum = 0, most = 0, p[CHOICES][CHOICES];
    int times[CHOICES][CHOICES] = {{0}};
    pn_arch cell, named, drawn;
    for (int a = 0; a < CHOICES; a++)
        for (int b = 0; b < CHOICES; b++) {
            memset(&cell, 0, sizeof cell);
            cell.cell[0].every_edge = 1;
            cell.cell[0].term[0][0] = (pn_choice){a ? space.op[a - 1] : (uint8_t)PN_NONE, 0};
            cell.cell[0].term[0][1] = (pn_choice){b ? space.op[b - 1] : (uint8_t)PN_NONE, 1};
            p[a][b] = exp(pn_mixture_edges_log_p(&m, &cell));
            sum += p[a][b];
            most = fmax(most, p[a][b]);
            const pn_choice first = cell.cell[0].term[0][0]; /* the order says nothing */
            cell.cell[0].term[0][0] = cell.cell[0].term[0][1];
            cell.cell[0].term[0][1] = first;
            assert_true(fabs(exp(pn_mixture_edges_log_p(&m, &cell)) - p[a][b]) < 1e-15);
        }
    assert_true(fabs(sum - 1) < 1e-12);
    pn_mixture_edges_cell(&m, &named);
    assert_true(fabs(exp(pn_mixture_edges_log_p(&m, &named)) - most) < 1e-15);
    for (int d = 0; d < DRAWS; d++) {
        const double log_p = pn_mixture_edges_draw(&m, 4, (uint64_t)d, &drawn);
        int choice[2];
        for (int i = 0; i < 2; i++) {
            const pn_choice t = drawn.cell[0].term[0][i];
            assert_int_equal(t.input, i);
            choice[i] = t.op == PN_NONE ? 0 : 1 + pn_op_choice(&space, t.op);
        }
        assert_true(fabs(exp(log_p) - p[choice[0]][choice[1]]) < 1e-15);
        times[choice[0]][choice[1]]++;
    }
    for (int a = 0; a < CHOICES; a++)
        for (int b = 0; b < CHOICES; b++)
            assert_true(fabs(times[a][b] - DRAWS * p[a][b]) <=
                        5 * sqrt(DRAWS * p[a][b] * (1 - p[a][b])));
    static pn_arch top[2 * CHOICES * CHOICES];
    double log_p[2 * CHOICES * CHOICES];
    int found;
    assert_int_equal(pn_mixture_edges_top(&m, 2 * CHOICES * CHOICES, top, log_p, &found), PN_OK);
    assert_int_equal(found, CHOICES * CHOICES); /* all there are, the best first */
    assert_true(fabs(exp(log_p[0]) - most) < 1e-15);
    for (int i = 0; i < found; i++) {
        assert_true(fabs(log_p[i] - pn_mixture_edges_log_p(&m, &top[i])) < 1e-12);
        assert_true(i == 0 || log_p[i] <= log_p[i - 1]);
        for (int j = 0; j < i; j++) assert_memory_not_equal(&top[i], &top[j], sizeof *top);
    }
    memset(&cell, 0, sizeof cell); /* two terms a node, and an op that the space has not */
    assert_true(isinf(pn_mixture_edges_log_p(&m, &cell)));
    cell.cell[0].every_edge = 1;
    cell.cell[0].term[0][1] = (pn_choice){PN_DIL_CONV_5X5, 1};
    assert_true(isinf(pn_mixture_edges_log_p(&m, &cell)));
    assert_true(isinf(pn_mixture_log_p(&m, true, &cell)));
}

static void bad_logits(void **state) {
    (void)state;
    const double bad[] = {NAN, INFINITY, -INFINITY, 101, -101};
    for (int i = 0; i < 5; i++) {
        const double logit[3] = {0, 100, bad[i]};
        assert_int_equal(pn_mixture_bad(logit, 3), 2);
        assert_int_equal(pn_mixture_bad(logit, 2), -1);
    }
    /* At the limit a pair of the least weights still has a probability. */
    const pn_space space = pn_space_darts();
    pn_mixture m = mixture_of(&space, 1, 0);
    for (int i = 0; i < m.count; i++) m.logit[i] = i % 8 ? -100 : 100;
    pn_arch arch;
    assert_true(isfinite(pn_mixture_draw(&m, true, 1, 0, &arch)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_darts_has),
        cmocka_unit_test(random_numbers_are_what_they_are_called),
        cmocka_unit_test(weights_are_a_softmax),
        cmocka_unit_test(gradients_against_differences),
        cmocka_unit_test(straight_through_is_that_of_gdas),
        cmocka_unit_test(noise_draws_from_the_softmax),
        cmocka_unit_test(the_policy_against_differences),
        cmocka_unit_test(the_policy_is_right_on_average),
        cmocka_unit_test(cells_by_darts_rule),
        cmocka_unit_test(none_and_ties),
        cmocka_unit_test(the_distribution_over_cells),
        cmocka_unit_test(the_most_probable_cells),
        cmocka_unit_test(cells_of_every_edge),
        cmocka_unit_test(the_distribution_over_edges),
        cmocka_unit_test(bad_logits),
    };
    return cmocka_run_group_tests_name("mixture", tests, NULL, NULL);
}
