/* space.h -- what can be sampled: cells of nodes, each a sum of two terms, each term an op applied
 * to an input (DARTS' space; Liu, Simonyan, Yang 2019). A whole space has both kinds of cell, four
 * nodes and seven ops; tests use smaller ones that can be enumerated.
 *
 * What is found, read or trained may have more: a cell of every edge, as SNAS finds it (Xie, Zheng,
 * Liu, Lin 2019), and `none` in the place of an op, so that a node sums 0 to 5 terms. */
#ifndef PN_SPACE_H
#define PN_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

enum { PN_MAX_NODES = 4, PN_NODE_TERMS = 2, PN_KINDS = 2, PN_MAX_OPS = 7 };
enum { PN_MOST_TERMS = 2 + PN_MAX_NODES - 1 }; /* of a node with all of its edges */

typedef enum pn_kind { PN_NORMAL, PN_REDUCTION } pn_kind;

/* In the order of DARTS' list of primitives (without "none"). */
typedef enum pn_op {
    PN_MAX_POOL_3X3,
    PN_AVG_POOL_3X3,
    PN_SKIP_CONNECT,
    PN_SEP_CONV_3X3,
    PN_SEP_CONV_5X5,
    PN_DIL_CONV_3X3,
    PN_DIL_CONV_5X5,
    PN_NONE /* no op: its term is not there. Of no space's ops */
} pn_op;

extern const char *const pn_op_name[PN_MAX_OPS + 1]; /* "max_pool_3x3", ..., "none" */

typedef struct pn_choice {
    uint8_t op;    /* a pn_op */
    uint8_t input; /* 0, 1: the cell's inputs; 2 + j: node j, j below this node */
} pn_choice;

/* Two terms a node; or of every edge one, in any order, so that the inputs of a node differ. Slots
 * are counted as a list of the terms has them, `none` too. */
typedef struct pn_cell {
    pn_choice term[PN_MAX_NODES][PN_MOST_TERMS];
    uint8_t every_edge;
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

/* Slots of a node; and the number of one in the list of all of a cell's. */
static inline int pn_slots(const pn_cell *cell, int node) {
    return cell->every_edge ? pn_inputs(node) : PN_NODE_TERMS;
}
static inline int pn_slot_place(const pn_cell *cell, int node, int slot) {
    return cell->every_edge ? pn_edge(node, slot) : PN_NODE_TERMS * node + slot;
}

/* Terms that there are: of a node; of an architecture. */
int pn_node_terms(const pn_cell *cell, int node);
int pn_arch_terms(const pn_space *space, const pn_arch *arch);

/* Whether the space has this architecture: two terms a node, each with one of its ops. */
bool pn_space_has(const pn_space *space, const pn_arch *arch);

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

static inline bool pn_is_pool(pn_op op) { return op == PN_MAX_POOL_3X3 || op == PN_AVG_POOL_3X3; }

/* Whether an op has weights of its own: pools and the skip have none (at stride 2 the skip is a
 * factorized reduce with weights, but it is chosen for being a skip). */
static inline int pn_op_has_weights(pn_op op) { return op > PN_SKIP_CONNECT && op < PN_NONE; }

PN_API_END

#endif
