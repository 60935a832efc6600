/* resource.c -- see resource.h. */
#include "search/methods/resource.h"

#include <math.h>
#include <string.h>

#include "search/methods/mixture.h"
#include "search/network/cells.h"

pn_op_cost pn_op_cost_of(const pn_cell_shape *s, pn_op op, int input) {
    int R, dilation;
    const bool halves = pn_term_stride(s, input) == 2;
    const double C = s->C, y = (double)s->P * s->Q, all = C * y;
    const int stages = pn_conv_stages(op, &R, &dilation);
    if (op == PN_NONE) return (pn_op_cost){0, 0, 0};
    if (stages) {
        const double size = stages * (C * R * R + C * C);
        return (pn_op_cost){size, size * y, (4 * stages + (halves ? 3 : 0)) * all + size};
    }
    if (op != PN_SKIP_CONNECT) return (pn_op_cost){0, 9 * all, (halves ? 5 : 2) * all};
    if (!halves) return (pn_op_cost){0, 0, 2 * all};
    return (pn_op_cost){C * C, C * C * y, 9 * all + C * C};
}

/* ln of a sum, and 1 / of it; 0 and 0 below 1. */
static double log_of(double sum, double *slope) {
    *slope = sum < 1 ? 0 : 1 / sum;
    return sum < 1 ? 0 : log(sum);
}

/* r of an edge, times `share`, of which of_weight += the gradient. */
static double edge_cost(const pn_cell_shape *s, const pn_space *space, bool linear, int input,
                        double share, const double *weight, double *of_weight) {
    pn_op_cost sum = {0, 0, 0}, slope = {0.43 * 2, 0.43 / 4000, 0.43 / 100};
    for (int o = 0; o < space->ops; o++) {
        const pn_op_cost c = pn_op_cost_of(s, (pn_op)space->op[o], input);
        sum.size += weight[1 + o] * c.size;
        sum.flops += weight[1 + o] * c.flops;
        sum.mac += weight[1 + o] * c.mac;
    }
    double r = slope.size * sum.size + slope.flops * sum.flops + slope.mac * sum.mac;
    if (!linear) {
        r = (log_of(sum.size, &slope.size) + log_of(sum.flops, &slope.flops) +
             log_of(sum.mac, &slope.mac)) /
            3;
        slope = (pn_op_cost){slope.size / 3, slope.flops / 3, slope.mac / 3};
    }
    for (int o = 0; o < space->ops; o++) {
        const pn_op_cost c = pn_op_cost_of(s, (pn_op)space->op[o], input);
        of_weight[1 + o] +=
            share * (slope.size * c.size + slope.flops * c.flops + slope.mac * c.mac);
    }
    return share * r;
}

double pn_resource(const pn_network_spec *spec, const pn_space *space, bool linear,
                   const double *weight, double *of_weight, double *of_edge) {
    const int edges = pn_edges(space->nodes), ops = 1 + space->ops;
    pn_cell_shape shape[PN_MAX_LAYERS];
    int cells[PN_KINDS] = {0};
    double R = 0;
    memset(of_weight, 0, (size_t)(space->kinds * edges * ops) * sizeof *of_weight);
    if (of_edge) memset(of_edge, 0, (size_t)(space->kinds * edges) * sizeof *of_edge);
    pn_cell_shapes(spec, space->nodes, shape);
    for (int i = 0; i < spec->layers; i++) cells[shape[i].kind]++;
    for (int i = 0; i < spec->layers; i++)
        for (int node = 0; node < space->nodes; node++)
            for (int input = 0; input < pn_inputs(node); input++) {
                const int edge = (int)shape[i].kind * edges + pn_edge(node, input);
                const double r =
                    edge_cost(&shape[i], space, linear, input, 1.0 / cells[shape[i].kind],
                              weight + edge * ops, of_weight + edge * ops);
                R += r;
                if (of_edge) of_edge[edge] += r;
            }
    return R;
}
