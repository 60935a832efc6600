/* ridge.c -- see ridge.h.
 *
 * A is positive definite: where v'Av = 0, the penalty makes all of v but its first entry 0, and the
 * rows, which begin with a 1, make that 0. So Cholesky needs no pivots. */
#include "search/truth/ridge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A = L L', L in the lower half, in place. */
static void factorize(double *a, int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            const double *row = a + (size_t)i * (size_t)n, *other = a + (size_t)j * (size_t)n;
            double sum = row[j];
            for (int k = 0; k < j; k++) sum -= row[k] * other[k];
            a[(size_t)i * (size_t)n + (size_t)j] = i == j ? sqrt(sum) : sum / other[j];
        }
}

/* Column c of A^-1: L z = e_c, then L' x = z. A^-1 is symmetric, so it is written as a row. */
static void invert(const double *l, int n, int c, double *x) {
    memset(x, 0, (size_t)n * sizeof *x);
    for (int i = c; i < n; i++) {
        const double *row = l + (size_t)i * (size_t)n;
        double sum = i == c;
        for (int k = c; k < i; k++) sum -= row[k] * x[k];
        x[i] = sum / row[i];
    }
    for (int i = n - 1; i >= 0; i--) {
        const double *row = l + (size_t)i * (size_t)n;
        x[i] /= row[i];
        for (int k = 0; k < i; k++) x[k] -= row[k] * x[i];
    }
}

pn_status pn_ridge_fit(pn_ridge *r, int width, double penalty, const pn_ridge_row *row,
                       const double *y, int count) {
    const size_t n = (size_t)width;
    double *a = calloc(n * n + n, sizeof *a), *right = a + n * n;
    *r = (pn_ridge){.width = width,
                    .weight = calloc(n, sizeof *r->weight),
                    .inverse = malloc(n * n * sizeof *r->inverse)};
    if (!a || !r->weight || !r->inverse) {
        free(a);
        return pn_fail(PN_EMEM, "no memory to fit %d cells", count);
    }
    for (int i = 0; i < count; i++)
        for (int p = 0; p < row[i].count; p++) {
            double *to = a + (size_t)row[i].index[p] * n;
            for (int q = 0; q <= p; q++) to[row[i].index[q]] += row[i].value[p] * row[i].value[q];
            right[row[i].index[p]] += row[i].value[p] * y[i];
        }
    for (size_t j = 1; j < n; j++) a[j * n + j] += penalty;
    factorize(a, width);
    for (int c = 0; c < width; c++) {
        double *column = r->inverse + (size_t)c * n;
        invert(a, width, c, column);
        for (size_t j = 0; j < n; j++) r->weight[j] += column[j] * right[c];
    }
    free(a);
    return PN_OK;
}

void pn_ridge_free(pn_ridge *r) {
    free(r->weight);
    free(r->inverse);
    *r = (pn_ridge){0};
}

double pn_ridge_predict(const pn_ridge *r, const pn_ridge_row *row) {
    double sum = 0;
    for (int p = 0; p < row->count; p++) sum += row->value[p] * r->weight[row->index[p]];
    return sum;
}

double pn_ridge_leverage(const pn_ridge *r, const pn_ridge_row *row) {
    double sum = 0;
    for (int p = 0; p < row->count; p++) {
        const double *from = r->inverse + (size_t)row->index[p] * (size_t)r->width;
        double part = 0;
        for (int q = 0; q < row->count; q++) part += row->value[q] * from[row->index[q]];
        sum += row->value[p] * part;
    }
    return sum;
}

pn_left_out pn_ridge_left_out(const pn_ridge *r, const pn_ridge_row *row, double y) {
    const double h = pn_ridge_leverage(r, row);
    return (pn_left_out){h / (1 - h), (y - pn_ridge_predict(r, row)) / (1 - h)};
}
