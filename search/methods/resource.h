/* resource.h -- what a cell costs, as a smooth function of the weights of its ops: the resource
 * term of SNAS' loss (Xie, Zheng, Liu, Lin 2019; github.com/SNAS-Series/SNAS-Series, folder SNAS).
 *
 * Of op o on an edge whose output has C channels and y pixels in all (stride 2: what is in
 * brackets):
 *     op            size                  flops     mac
 *     none          0                     0         0
 *     pool          0                     9 C y     2 C y             [5 C y]
 *     skip          0    [C C]            0 [size y] 2 C y  [9 C y + size]
 *     sep_conv k    2 C k k + 2 C C       size y    8 C y + size      [11 C y + size]
 *     dil_conv k    C k k + C C           size y    4 C y + size      [7 C y + size]
 * An edge has the sums S, F, M of these, each times the op's weight, and
 *     log      r = (ln S + ln F + ln M) / 3, a sum below 1 counted as 1
 *     linear   r = .43 (2 S + F / 4000 + M / 100)
 * R is the sum of r over the edges, the mean of it over the cells of a kind, and both kinds added.
 * (There the mean is a division by 6 and 2, the numbers of cells of a network of 8, also where it
 * has 20.) */
#ifndef PN_RESOURCE_H
#define PN_RESOURCE_H

#include "kernels/api.h"
#include "search/network/network.h"

PN_API_BEGIN

struct pn_cell_shape; /* search/network/cells.h */

typedef struct pn_op_cost {
    double size, flops, mac;
} pn_op_cost;

/* Of an op, also of `none`, on an input of a cell. */
pn_op_cost pn_op_cost_of(const struct pn_cell_shape *shape, pn_op op, int input);

/* R, and of_weight[kinds * edges * (1 + ops)] = dR / dweight, in the order of mixture.h; and
 * of_edge[kinds * edges], what each edge has of R, NULL: not wanted. */
double pn_resource(const pn_network_spec *spec, const pn_space *space, bool linear,
                   const double *weight, double *of_weight, double *of_edge);

PN_API_END

#endif
