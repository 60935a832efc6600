/* curve.h -- truth.csv of a search: what pi and the cell found so far are worth, by a table of
 * known cells (search/truth/truth.h), at the steps of prior.csv.
 *
 * The search does not know of it: this file is made from what a run holds between two steps, and is
 * written before each checkpoint. So it has every row up to the checkpoint that a run continues
 * from; those beyond are dropped then, and are made again with the same digits. */
#ifndef PN_CURVE_H
#define PN_CURVE_H

#include "search/methods/run.h"
#include "search/truth/truth.h"

typedef struct pn_curve {
    pn_truth *truth; /* NULL: nobody asked for it, and all calls do nothing */
    char *text;
    size_t length, room;
} pn_curve;

/* Opens a table as pn_truth_open does; NULL: nobody asked for one. Before a run is opened, so that
 * a wrong one begins no run. pn_curve_close in any case. */
pn_status pn_curve_open(pn_curve *curve, const char *table);

/* When the run is open: takes over the rows of an earlier process up to the run's step, and adds
 * one for that step if it is missing. PN_EARG: the rows are by another table; PN_EINPUT: a
 * truth.csv that this program did not write. */
pn_status pn_curve_begin(pn_curve *curve, const pn_run *run);

/* After a step; and before a checkpoint. */
pn_status pn_curve_step(pn_curve *curve, const pn_run *run);
pn_status pn_curve_write(const pn_curve *curve, const pn_run *run);

/* Frees it. */
void pn_curve_close(pn_curve *curve);

#endif
