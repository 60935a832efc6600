/* test_deal.c -- the units of a step among ranks: all dealt, alike, and well. */
#include <stdint.h>
#include <stdlib.h>

#include "runtime/rng.h"
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

/* The busiest of the best deal: by trying all. */
static double best(const double *cost, int count, double *load, int ranks, int u) {
    if (u == count) return largest(load, ranks);
    double least = 1e300;
    for (int r = 0; r < ranks; r++) {
        load[r] += cost[u];
        const double here = best(cost, count, load, ranks, u + 1);
        load[r] -= cost[u];
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
    int owner[5];
    for (int u = 0; u < 5; u++) cost[u] = given[u];
    pn_deal(cost, 5, load, 2, owner);
    for (int u = 0; u < 5; u++) assert_int_equal(owner[u], want[u]);
    assert_true(load[0] == 9 && load[1] == 10);
}

/* Equal units go round; of fewer units than ranks each has a rank of its own. */
static void test_equal_units(void **state) {
    (void)state;
    double cost[6], load[4];
    int owner[6];
    for (int count = 1; count <= 6; count++) {
        for (int u = 0; u < count; u++) cost[u] = 7;
        pn_deal(cost, count, load, 4, owner);
        for (int u = 0; u < count; u++) assert_int_equal(owner[u], u % 4);
    }
}

static void test_bound(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++)
        for (int ranks = 1; ranks <= 3; ranks++) {
            enum { COUNT = 7 };
            double cost[COUNT], left[COUNT], load[3], sum[3] = {0}, zero[3] = {0};
            int owner[COUNT];
            draw(cost, COUNT, seed);
            draw(left, COUNT, seed);
            pn_deal(left, COUNT, load, ranks, owner);
            for (int u = 0; u < COUNT; u++) {
                assert_true(owner[u] >= 0 && owner[u] < ranks);
                sum[owner[u]] += cost[u];
            }
            for (int r = 0; r < ranks; r++) assert_true(sum[r] == load[r]);
            const double limit = (4.0 / 3 - 1.0 / (3 * ranks)) * best(cost, COUNT, zero, ranks, 0);
            assert_true(largest(load, ranks) <= limit * (1 + 1e-12));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_equal_units),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests_name("deal", tests, NULL, NULL);
}
