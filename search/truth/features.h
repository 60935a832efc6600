/* features.h -- what a cell's accuracy is predicted from. Nothing depends on the order of a node's
 * two terms.
 *
 * Features, for either kind of cell:
 *     a 1                  the mean; no penalty
 *     op at a node         terms of node n that have op o                         (8 * 7)
 *     op on a source       terms that have op o on input 0, input 1, or a node    (6 * 7)
 *     op over op           half the terms with op o on a node, for either op that node has (2 * 49)
 *     readers              1 for the number of terms that read input i: 0, 1, ... 4 or more
 *     ops with weights     1 for their number, 0 to 8
 *     depth                the most ops in a row
 *
 * Counts are what the cell is compared with the table by: outside the table's least and most of
 * any of them a linear model only extrapolates, and it does that with confidence. By leverage alone
 * 9 of 10 normal cells with 7 skips would be judged by NAS-Bench-301's table, at 93.6 % on average,
 * and 4 of 10 with nothing but skips, at 94.0 %: its cells are the better, the more skips they
 * have, and they have 4 at most. */
#ifndef PN_FEATURES_H
#define PN_FEATURES_H

#include "search/network/space.h"
#include "search/truth/ridge.h"

enum { PN_SOURCES = 2 + PN_MAX_NODES - 1, PN_CELL_TERMS = PN_MAX_NODES * PN_NODE_TERMS };

/* Where each group of features begins. */
enum {
    PN_BY_NODE = 1,
    PN_BY_SOURCE = PN_BY_NODE + PN_KINDS * PN_MAX_NODES * PN_MAX_OPS,
    PN_OP_OVER_OP = PN_BY_SOURCE + PN_KINDS * 3 * PN_MAX_OPS,
    PN_READERS = PN_OP_OVER_OP + PN_KINDS * PN_MAX_OPS * PN_MAX_OPS,
    PN_WITH_WEIGHTS = PN_READERS + PN_KINDS * PN_SOURCES * (PN_MAX_NODES + 1),
    PN_DEPTH = PN_WITH_WEIGHTS + PN_KINDS * (PN_CELL_TERMS + 1),
    PN_FEATURES = PN_DEPTH + PN_KINDS
};

/* Counts of a cell: of each op, of the readers of each input, of nodes that read one input twice,
 * and of ops with weights. */
enum {
    PN_COUNT_READERS = PN_MAX_OPS,
    PN_COUNT_TWICE = PN_COUNT_READERS + PN_SOURCES,
    PN_COUNT_WEIGHTS,
    PN_COUNTS
};

/* Of an architecture that the whole space has (pn_space_has). */
void pn_features(const pn_arch *arch, pn_ridge_row *row);
void pn_counts(const pn_cell *cell, int count[PN_COUNTS]);

/* Each node's terms in one order, so that equal networks are equal bytes. */
pn_arch pn_terms_sorted(const pn_arch *arch);

#endif
