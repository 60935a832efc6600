/* space.h -- what can be sampled: cells of nodes, each a sum of two terms, each term an op applied
 * to an input (DARTS' space; Liu, Simonyan, Yang 2019). A whole space has both kinds of cell, four
 * nodes and seven ops; tests use smaller ones that can be enumerated. */
#ifndef PN_SPACE_H
#define PN_SPACE_H

#include <stdint.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

enum { PN_MAX_NODES = 4, PN_NODE_TERMS = 2, PN_KINDS = 2, PN_MAX_OPS = 7 };

typedef enum pn_kind { PN_NORMAL, PN_REDUCTION } pn_kind;

/* In the order of DARTS' list of primitives (without "none"). */
typedef enum pn_op {
    PN_MAX_POOL_3X3,
    PN_AVG_POOL_3X3,
    PN_SKIP_CONNECT,
    PN_SEP_CONV_3X3,
    PN_SEP_CONV_5X5,
    PN_DIL_CONV_3X3,
    PN_DIL_CONV_5X5
} pn_op;

extern const char *const pn_op_name[PN_MAX_OPS]; /* "max_pool_3x3", ... */

typedef struct pn_choice {
    uint8_t op;    /* a pn_op */
    uint8_t input; /* 0, 1: the cell's inputs; 2 + j: node j, j below this node */
} pn_choice;

typedef struct pn_cell {
    pn_choice term[PN_MAX_NODES][PN_NODE_TERMS];
} pn_cell;

/* An architecture: one cell of each kind, indexed by pn_kind. Zero-filled where unused, so that
 * two can be compared with memcmp. */
typedef struct pn_arch {
    pn_cell cell[PN_KINDS];
} pn_arch;

typedef struct pn_space {
    int kinds;              /* 1 (normal only) or 2 */
    int nodes;              /* 1..4 */
    int ops;                /* 1..7 */
    uint8_t op[PN_MAX_OPS]; /* which pn_op the op factor's i-th choice is */
} pn_space;

/* The space of the paper: both kinds, four nodes, all seven ops. */
pn_space pn_space_darts(void);

/* PN_EARG unless the counts are in the ranges above and the ops are different pn_ops. */
pn_status pn_space_check(const pn_space *space);

/* The space in words, "2 kinds, 4 nodes, max_pool_3x3 ...": the same text means the same space. */
enum { PN_SPACE_BYTES = 160 };
void pn_space_text(const pn_space *space, char text[PN_SPACE_BYTES]);

/* How many inputs a term of `node` can choose from: the cell's two and every earlier node. */
static inline int pn_inputs(int node) { return 2 + node; }

/* Edges of a cell's first `nodes` nodes, from every input to every node; and the number of one, in
 * the order of the nodes and, of each, of its inputs. */
enum { PN_MAX_EDGES = PN_MAX_NODES * (PN_MAX_NODES + 3) / 2 };
static inline int pn_edges(int nodes) { return nodes * (nodes + 3) / 2; }
static inline int pn_edge(int node, int input) { return pn_edges(node) + input; }

/* Which choice of the op factor is `op`, one of the space's. */
static inline int pn_op_choice(const pn_space *space, int op) {
    int i = 0;
    while (i < space->ops - 1 && space->op[i] != op) i++;
    return i;
}

/* Which kind of cell stands at `layer` (from 0) of a network of `layers` cells: reductions at a
 * third and at two thirds of the depth (whole-number division), as in DARTS. */
static inline pn_kind pn_kind_at(int layer, int layers) {
    return layer == layers / 3 || layer == 2 * layers / 3 ? PN_REDUCTION : PN_NORMAL;
}

/* Whether an op has weights of its own: pools and the skip have none (at stride 2 the skip is a
 * factorized reduce with weights, but it is chosen for being a skip). */
static inline int pn_op_has_weights(pn_op op) { return op > PN_SKIP_CONNECT; }

PN_API_END

#endif
