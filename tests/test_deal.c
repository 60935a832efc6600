/* test_deal.c -- the units of a step among ranks: all dealt, alike, and well. */
#include <stdint.h>
#include <stdlib.h>

#include "runtime/rng.h"
#include "runtime/units.h"
#include "search/methods/deal.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { MOST = 64 };

static double largest(const double *x, int n) {
    double most = 0;
    for (int i = 0; i < n; i++)
        if (x[i] > most) most = x[i];
    return most;
}

/* The busiest of the best deal that gives nobody more than `most` units: by trying all. */
static double best(const double *cost, int count, double *load, int *held, int most, int ranks,
                   int u) {
    if (u == count) return largest(load, ranks);
    double least = 1e300;
    for (int r = 0; r < ranks; r++) {
        if (held[r] == most) continue;
        load[r] += cost[u];
        held[r]++;
        const double here = best(cost, count, load, held, most, ranks, u + 1);
        load[r] -= cost[u];
        held[r]--;
        if (here < least) least = here;
    }
    return least;
}

/* Whole numbers, so that sums are exact. */
static void draw(double *cost, int count, uint64_t seed) {
    for (int u = 0; u < count; u++)
        cost[u] = 1 + (int)(99 * pn_uniform(seed, PN_STREAM_INIT, 0, (uint64_t)u));
}

static void test_by_hand(void **state) {
    (void)state;
    static const double given[] = {3, 5, 5, 2, 4};
    static const int want[] = {1, 0, 1, 1, 0}; /* 5 and 4, then 5, 3 and 2 */
    double cost[5], load[2];
    int owner[5], held[2];
    for (int u = 0; u < 5; u++) cost[u] = given[u];
    pn_deal(cost, 5, load, held, 2, owner);
    for (int u = 0; u < 5; u++) assert_int_equal(owner[u], want[u]);
    assert_true(load[0] == 9 && load[1] == 10);
}

/* Equal units go round; of fewer units than ranks each has a rank of its own. */
static void test_equal_units(void **state) {
    (void)state;
    double cost[6], load[4];
    int owner[6], held[4];
    for (int count = 1; count <= 6; count++) {
        for (int u = 0; u < count; u++) cost[u] = 7;
        pn_deal(cost, count, load, held, 4, owner);
        for (int u = 0; u < count; u++) assert_int_equal(owner[u], u % 4);
    }
}

/* The bound is of up to three units a rank. */
static void test_bound(void **state) {
    (void)state;
    enum { COUNT = 9, RANKS = 3 };
    static const int counts[][2] = {{1, 1}, {3, 1}, {2, 2}, {5, 2}, {6, 2}, {7, 3}, {8, 3}, {9, 3}};
    for (uint64_t seed = 0; seed < 40; seed++)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            const int count = counts[i][0], ranks = counts[i][1],
                      most = pn_units_most(count, ranks);
            double cost[COUNT], left[COUNT], load[RANKS], sum[RANKS] = {0}, zero[RANKS] = {0};
            int owner[COUNT], held[RANKS], units[RANKS] = {0}, none[RANKS] = {0};
            draw(cost, count, seed);
            draw(left, count, seed);
            pn_deal(left, count, load, held, ranks, owner);
            for (int u = 0; u < count; u++) {
                assert_true(owner[u] >= 0 && owner[u] < ranks);
                sum[owner[u]] += cost[u];
                units[owner[u]]++;
            }
            for (int r = 0; r < ranks; r++) assert_true(sum[r] == load[r]);
            for (int r = 0; r < ranks; r++) assert_true(units[r] == held[r] && held[r] <= most);
            const double limit =
                (4.0 / 3 - 1.0 / (3 * ranks)) * best(cost, count, zero, none, most, ranks, 0);
            assert_true(largest(load, ranks) <= limit * (1 + 1e-12));
        }
}

/* However unequal: a rank has memory for an even part of them, and not for more. */
static void test_most(void **state) {
    (void)state;
    double cost[] = {10, 1, 1, 1}, load[2];
    int owner[4], held[2];
    pn_deal(cost, 4, load, held, 2, owner);
    assert_true(owner[0] == 0 && owner[1] == 1 && owner[2] == 1 && owner[3] == 0);
    assert_true(load[0] == 11 && load[1] == 2 && held[0] == 2 && held[1] == 2);
    assert_int_equal(pn_units_most(4, 2), 2);
    assert_int_equal(pn_units_most(5, 2), 3);
    assert_int_equal(pn_units_most(2, 2), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_equal_units),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_most),
    };
    return cmocka_run_group_tests_name("deal", tests, NULL, NULL);
}
