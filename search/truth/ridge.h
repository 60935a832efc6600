/* ridge.h -- least squares with a penalty, for rows that are mostly zeros.
 *
 * The weights w minimise sum_i (y_i - x_i w)^2 + penalty * sum_j w_j^2, where feature 0, which is 1
 * in every row, has no penalty. With A = X'X + penalty (0 for feature 0) that is w = A^-1 X'y.
 *
 * The leverage of a row x is x A^-1 x': how far it lies from the rows of the fit, as a share of the
 * variance of one measurement. Of a row of the fit, h = x_i A^-1 x_i', everything is known that a
 * fit without it would give, without making one: there its leverage is h / (1 - h), and its
 * residual r_i / (1 - h). */
#ifndef PN_RIDGE_H
#define PN_RIDGE_H

#include "kernels/status.h"

enum { PN_RIDGE_MOST = 80 }; /* features of a row that are not zero */

typedef struct pn_ridge_row {
    int count;
    int index[PN_RIDGE_MOST]; /* rising; the first is 0 */
    double value[PN_RIDGE_MOST];
} pn_ridge_row;

typedef struct pn_ridge {
    int width;
    double *weight;  /* of each feature */
    double *inverse; /* A^-1, width * width */
} pn_ridge;

/* A row of the fit as a fit without it sees it. */
typedef struct pn_left_out {
    double leverage, residual;
} pn_left_out;

/* Fits `count` rows (2 at least); penalty > 0. PN_EMEM. pn_ridge_free in any case. */
pn_status pn_ridge_fit(pn_ridge *ridge, int width, double penalty, const pn_ridge_row *row,
                       const double *y, int count);
void pn_ridge_free(pn_ridge *ridge);

double pn_ridge_predict(const pn_ridge *ridge, const pn_ridge_row *row);
double pn_ridge_leverage(const pn_ridge *ridge, const pn_ridge_row *row);
pn_left_out pn_ridge_left_out(const pn_ridge *ridge, const pn_ridge_row *row, double y);

#endif
