/* cells.h -- what a cell knows before its architecture: for who walks the cells of a network. */
#ifndef PN_CELLS_H
#define PN_CELLS_H

#include "search/network/network.h"

typedef struct pn_cell_shape {
    pn_kind kind;
    int C;              /* channels of its nodes */
    int in_channels[2]; /* of the two cell inputs as they come */
    bool reduce0;       /* the cell before was a reduction: input 0 is twice as large */
    int H, W;           /* of the two inputs after preprocessing */
    int P, Q;           /* of the nodes */
} pn_cell_shape;

/* Channels of what the first cell reads. */
int pn_stem_channels(const pn_network_spec *spec);

/* Fills shape[spec->layers]. */
void pn_cell_shapes(const pn_network_spec *spec, int nodes, pn_cell_shape *shape);

/* Edge and dilation of a convolution, and how many stages it is; 0 stages: not a convolution. */
static inline int pn_conv_stages(pn_op op, int *R, int *dilation) {
    *R = op == PN_SEP_CONV_5X5 || op == PN_DIL_CONV_5X5 ? 5 : 3;
    *dilation = op == PN_DIL_CONV_3X3 || op == PN_DIL_CONV_5X5 ? 2 : 1;
    return op == PN_SEP_CONV_3X3 || op == PN_SEP_CONV_5X5 ? 2 : pn_op_has_weights(op) ? 1 : 0;
}

static inline int pn_term_stride(const pn_cell_shape *s, int input) {
    return s->kind == PN_REDUCTION && input < 2 ? 2 : 1;
}

/* First parameter of a term's op; -1 if it has none. Where a cell has every edge, no two terms of a
 * node are on one input, and all have the first slot's weights. */
static inline int pn_term_weights(const pn_cell_weights *w, const pn_cell *cell, int node,
                                  int slot) {
    const pn_choice t = cell->term[node][slot];
    return t.op == PN_NONE ? -1 : w->op[node][cell->every_edge ? 0 : slot][t.input][t.op];
}

/* Whether both terms of a node are one: the same op without weights, or with the same ones, on the
 * same input. */
bool pn_equal_terms(const pn_cell_weights *w, const pn_cell *cell, int node);

#endif
