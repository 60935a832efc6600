/* test_found.c -- the cell that a search hands over, against whole small spaces. */
#include <math.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/methods/found.h"
#include "tests/support/enumerate.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 1 << 16, INPUTS = 2 + PN_MAX_NODES - 1, COUNTED = PN_MAX_OPS + INPUTS };

static pn_arch all[LIMIT];

static void count(const pn_space *space, const pn_arch *a, int kind, int times[COUNTED]) {
    memset(times, 0, COUNTED * sizeof *times);
    for (int node = 0; node < space->nodes; node++)
        for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
            const pn_choice t = a->cell[kind].term[node][slot];
            for (int c = 0; c < space->ops; c++) times[c] += space->op[c] == t.op;
            times[PN_MAX_OPS + t.input]++;
        }
}

static bool is_within(const pn_space *space, const pn_arch *a, const pn_support *support) {
    for (int kind = 0; kind < space->kinds; kind++) {
        int times[COUNTED];
        count(space, a, kind, times);
        for (int c = 0; c < COUNTED; c++)
            if (times[c] > support->most[kind][c]) return false;
    }
    return true;
}

/* Random supports, of which some hold no architecture: then it is the mode. */
static void it_is_the_best_within(void **state) {
    (void)state;
    static const struct {
        int kinds, nodes, ops;
        bool distinct;
    } cases[] = {{1, 2, 3, false}, {1, 2, 3, true}, {2, 1, 4, true}, {1, 1, 7, false}};
    int none = 0, bound = 0, free_mode = 0;
    for (int trial = 0; trial < 200; trial++) {
        const int i = trial % 4;
        const pn_space space = pn_small_space(cases[i].kinds, cases[i].nodes, cases[i].ops);
        const int cells = pn_enumerate(&space, cases[i].distinct, all, LIMIT);
        pn_prior pi;
        pn_support support;
        pn_arch got, mode;
        assert_int_equal(pn_prior_init(&pi, &space, cases[i].distinct), PN_OK);
        pn_random_logits(&pi, 2, (uint64_t)trial + 1);
        for (int kind = 0; kind < PN_KINDS; kind++)
            for (int c = 0; c < COUNTED; c++)
                support.most[kind][c] =
                    (int)(4 * pn_uniform(5, PN_STREAM_TEST, (uint64_t)trial,
                                         (uint64_t)kind * COUNTED + (uint64_t)c));
        double best = -INFINITY;
        for (int k = 0; k < cells; k++)
            if (is_within(&space, &all[k], &support))
                best = fmax(best, pn_prior_log_p(&pi, &all[k]));
        pn_supported_mode(&pi, &support, &got);
        pn_prior_mode(&pi, &mode);
        if (best == -INFINITY) {
            assert_memory_equal(&got, &mode, sizeof got);
            none++;
            continue;
        }
        assert_true(is_within(&space, &got, &support));
        assert_true(fabs(pn_prior_log_p(&pi, &got) - best) < 1e-12); /* one sum, in two orders */
        const bool same = pn_prior_log_p(&pi, &mode) - best < 1e-12;
        bound += !same;
        free_mode += same;
    }
    assert_true(none > 5 && bound > 50 && free_mode > 5);
}

static pn_search searched(int64_t warmup, int64_t step) {
    const pn_space space = pn_space_darts();
    pn_search_settings s = pn_rule_evidence(warmup + 10);
    pn_search search;
    s.warmup = warmup;
    s.seed = 9;
    assert_int_equal(pn_search_init(&search, &space, &s), PN_OK);
    search.step = step;
    return search;
}

/* By definition: the cells drawn again, sorted through for each number of times. */
static void the_support_is_what_was_drawn(void **state) {
    (void)state;
    static const int64_t cases[][2] = {{1, 1}, {40, 40}, {500, 500}, {500, 300}, {200, 205}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const pn_search search = searched(cases[i][0], cases[i][1]);
        const int64_t n = cases[i][1] < cases[i][0] ? cases[i][1] : cases[i][0];
        pn_support support;
        pn_support_of(&search, &support);
        for (int kind = 0; kind < PN_KINDS; kind++)
            for (int c = 0; c < COUNTED; c++) {
                int want = 0;
                for (int most = 1; most <= 8; most++) {
                    int64_t as_often = 0;
                    for (int64_t k = 0; k < n; k++) {
                        pn_arch a;
                        int times[COUNTED];
                        pn_prior_sample(&search.prior, 9, (uint64_t)k, 0, &a); /* still uniform */
                        count(&search.prior.space, &a, kind, times);
                        as_often += times[c] >= most;
                    }
                    if (as_often && 100 * as_often >= n) want = most;
                }
                assert_int_equal(support.most[kind][c], want);
            }
    }
}

/* A pi that wants sep_conv_5x5 everywhere gets it as often as it was trained: four times. */
static void one_op_does_not_take_all(void **state) {
    (void)state;
    pn_search search = searched(4000, 4000);
    pn_factor factor[PN_MAX_FACTORS];
    const int factors = pn_factors(&search.prior.space, factor);
    const int favourite = pn_op_choice(&search.prior.space, PN_SEP_CONV_5X5);
    const int second = pn_op_choice(&search.prior.space, PN_SKIP_CONNECT);
    pn_arch found, mode;
    for (int f = 0; f < factors; f++) {
        if (!factor[f].ops) continue;
        search.prior.logit[factor[f].first + favourite] = 3;
        search.prior.logit[factor[f].first + second] = 2 - .1 * factor[f].node;
    }
    pn_search_found(&search, &found);
    pn_prior_mode(&search.prior, &mode);
    for (int kind = 0; kind < PN_KINDS; kind++) {
        int times[COUNTED];
        count(&search.prior.space, &found, kind, times);
        assert_int_equal(times[favourite], 4);
        assert_int_equal(times[second], 4);
        for (int slot = 0; slot < 2; slot++) { /* where the second is nearest to it */
            assert_int_equal(found.cell[kind].term[0][slot].op, PN_SKIP_CONNECT);
            assert_int_equal(found.cell[kind].term[3][slot].op, PN_SEP_CONV_5X5);
        }
        count(&search.prior.space, &mode, kind, times);
        assert_int_equal(times[favourite], 8);
    }
    search.settings.found_supported = false;
    pn_search_found(&search, &found);
    assert_memory_equal(&found, &mode, sizeof found);
    search = searched(0, 5); /* nothing drawn uniformly: nothing to keep to */
    pn_search_found(&search, &found);
    pn_prior_mode(&search.prior, &mode);
    assert_memory_equal(&found, &mode, sizeof found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_best_within),
        cmocka_unit_test(the_support_is_what_was_drawn),
        cmocka_unit_test(one_op_does_not_take_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
