/* test_resource.c -- SNAS' resource term: what ops cost by hand, R by hand, and its gradient
 * against differences. */
#include <math.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/methods/mixture.h"
#include "search/methods/resource.h"
#include "search/network/cells.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

static const pn_network_spec search = {
    .layers = 8, .channels = 16, .H = 32, .W = 32, .image_channels = 3, .classes = 10};

/* As the public code counts them, for the first cell and the first reduction. */
static void ops_by_hand(void **state) {
    (void)state;
    static const struct {
        int layer, input;
        pn_op op;
        double size, flops, mac;
    } rows[] = {
        {0, 0, PN_NONE, 0, 0, 0},
        {0, 0, PN_MAX_POOL_3X3, 0, 147456, 32768},
        {0, 3, PN_AVG_POOL_3X3, 0, 147456, 32768},
        {0, 1, PN_SKIP_CONNECT, 0, 0, 32768},
        {0, 0, PN_SEP_CONV_3X3, 800, 819200, 131872},
        {0, 0, PN_SEP_CONV_5X5, 1312, 1343488, 132384},
        {0, 0, PN_DIL_CONV_3X3, 400, 409600, 65936},
        {0, 4, PN_DIL_CONV_5X5, 656, 671744, 66192},
        {2, 0, PN_AVG_POOL_3X3, 0, 73728, 40960},
        {2, 1, PN_SKIP_CONNECT, 1024, 262144, 74752},
        {2, 2, PN_SKIP_CONNECT, 0, 0, 16384},
        {2, 0, PN_SEP_CONV_3X3, 2624, 671744, 92736},
        {2, 2, PN_SEP_CONV_3X3, 2624, 671744, 68160},
        {2, 1, PN_DIL_CONV_5X5, 1824, 466944, 59168},
    };
    pn_cell_shape shape[PN_MAX_LAYERS];
    pn_cell_shapes(&search, PN_MAX_NODES, shape);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const pn_op_cost c = pn_op_cost_of(&shape[rows[i].layer], rows[i].op, rows[i].input);
        if (c.size != rows[i].size || c.flops != rows[i].flops || c.mac != rows[i].mac)
            fail_msg("row %zu: %g, %g, %g", i, c.size, c.flops, c.mac);
    }
}

/* One choice on every edge, 0: none. */
static void choose(double weight[PN_MAX_MIX], int choice) {
    for (int i = 0; i < PN_MAX_MIX; i++) weight[i] = i % PN_MIX_OPS == choice;
}

static double edge_of(const pn_op_cost *c, double share, bool linear) {
    if (linear)
        return 0.43 * (2 * share * c->size + share * c->flops / 4000 + share * c->mac / 100);
    const double sum[3] = {share * c->size, share * c->flops, share * c->mac};
    double r = 0;
    for (int i = 0; i < 3; i++) r += sum[i] < 1 ? 0 : log(sum[i]) / 3;
    return r;
}

/* Two cells of four, 14 edges each: means over the cells of a kind, edge by edge; of one op with
 * half of the weight, the rest on `none`; so small a weight that the sums are below 1. */
static void the_sum_by_hand(void **state) {
    (void)state;
    static const double shares[] = {1, 0.5, 1e-9};
    const pn_space space = pn_space_darts();
    pn_network_spec spec = search;
    pn_cell_shape shape[PN_MAX_LAYERS];
    spec.layers = 4; /* reductions 1 and 2 */
    pn_cell_shapes(&spec, PN_MAX_NODES, shape);
    for (int choice = 0; choice < PN_MIX_OPS; choice++)
        for (int s = 0; s < 3; s++)
            for (int linear = 0; linear < 2; linear++) {
                double weight[PN_MAX_MIX], of_weight[PN_MAX_MIX], want = 0;
                double of_edge[PN_MAX_MIX_EDGES], edge_want[PN_MAX_MIX_EDGES] = {0};
                choose(weight, choice);
                for (int i = 0; i < PN_MAX_MIX; i++) weight[i] *= shares[s];
                for (int layer = 0; layer < 4; layer++)
                    for (int node = 0; node < PN_MAX_NODES; node++)
                        for (int input = 0; input < pn_inputs(node); input++) {
                            const pn_op op = choice ? (pn_op)(choice - 1) : PN_NONE;
                            const pn_op_cost c = pn_op_cost_of(&shape[layer], op, input);
                            const double r = edge_of(&c, shares[s], linear) / 2;
                            want += r;
                            edge_want[(int)shape[layer].kind * pn_edges(PN_MAX_NODES) +
                                      pn_edge(node, input)] += r;
                        }
                const double got = pn_resource(&spec, &space, linear, weight, of_weight, of_edge);
                assert_true(fabs(got - want) <= 1e-12 * (1 + fabs(want)));
                assert_true((got > 0) == (choice > 0 && (linear || s < 2)));
                for (int e = 0; e < PN_MAX_MIX_EDGES; e++)
                    assert_true(fabs(of_edge[e] - edge_want[e]) <= 1e-12 * (1 + edge_want[e]));
                for (int e = 0; e < PN_MAX_MIX_EDGES; e++)
                    assert_true(of_weight[e * PN_MIX_OPS] == 0); /* none */
                for (int i = 0; !linear && s == 2 && i < PN_MAX_MIX; i++)
                    assert_true(of_weight[i] == 0); /* all are counted as 1 */
            }
}

/* Central differences; of logarithms their error is h^2 / 3 of (cost / sum)^3, of which none here
 * is above (1 / 0.01)^3, and rounding of R, some 500, over h. */
static void the_gradient_is_the_slope(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    const double h = 1e-6;
    for (int linear = 0; linear < 2; linear++)
        for (int kinds = 1; kinds <= 2; kinds++) {
            pn_network_spec spec = search;
            pn_space some = space;
            double weight[PN_MAX_MIX] = {0}, of_weight[PN_MAX_MIX], unused[PN_MAX_MIX];
            some.nodes = 2 * kinds;
            some.ops = kinds == 1 ? 3 : PN_MAX_OPS;
            spec.layers = 3 * kinds;
            const int ops = 1 + some.ops, count = 2 * pn_edges(some.nodes) * ops;
            for (int i = 0; i < count; i++)
                weight[i] =
                    0.01 + 0.2 * pn_uniform(1, PN_STREAM_TEST, (uint64_t)kinds, (uint64_t)i);
            (void)pn_resource(&spec, &some, linear, weight, of_weight, NULL);
            for (int i = 0; i < count; i++) {
                double side[2];
                for (int k = 0; k < 2; k++) {
                    double moved[PN_MAX_MIX];
                    memcpy(moved, weight, sizeof moved);
                    moved[i] += k ? h : -h;
                    side[k] = pn_resource(&spec, &some, linear, moved, unused, NULL);
                }
                const double slope = (side[1] - side[0]) / (2 * h);
                assert_true(fabs(slope - of_weight[i]) <= 1e-6 * (1 + fabs(of_weight[i])));
                assert_true((of_weight[i] > 0) == (i % ops > 0));
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_by_hand),
        cmocka_unit_test(the_sum_by_hand),
        cmocka_unit_test(the_gradient_is_the_slope),
    };
    return cmocka_run_group_tests_name("resource", tests, NULL, NULL);
}
