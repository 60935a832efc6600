/* period.h -- rows of pixels as flat arrays of floats, and passes over them in periods of channels.
 *
 * An op without a product over channels need not know where one pixel ends: numbers per channel
 * are repeated along a row, sums are kept per position of the row and folded over its pixels at
 * the end. So every loop is plain and long, the compiler makes vectors of it, no channel count
 * needs a tail of its own, and each float32 sum has one term per row only. */
#ifndef PN_PERIOD_H
#define PN_PERIOD_H

#include <string.h>

#include "kernels/host/frame.h"
#include "kernels/host/norm.h"
#include "kernels/host/prefetch.h"

enum { PN_PERIOD = 256 }; /* floats, if a pixel has fewer */

/* Numbers per channel are repeated over a period of this many pixels, not over a whole row: a
 * dozen rows of 2 KB would not leave room in L1 for the data. */
static inline int pn_period(int C, int pixels) {
    const int most = C < PN_PERIOD ? PN_PERIOD / C : 1;
    return most < pixels ? most : pixels;
}

/* Copies the first pixel of an array to all others. */
static inline void pn_repeat(float *array, int C, int pixels) {
    for (int i = 1; i < pixels; i++)
        memcpy(array + (size_t)i * C, array, (size_t)C * sizeof *array);
}

/* to[c] = sum over the pixels of an array. */
static inline void pn_fold(float *to, const float *array, int C, int pixels) {
    memcpy(to, array, (size_t)C * sizeof *to);
    for (int i = 1; i < pixels; i++)
        for (int c = 0; c < C; c++) to[c] += array[(size_t)i * C + c];
}

/* A pass over a row of n floats; what belongs to channels has `period` floats. It stays a
 * function of its own: with a dozen of them in the loop over rows gcc runs out of registers and
 * reloads pointers inside the loops. */
#define PN_PASS static __attribute__((noinline, unused)) void
#define PN_EACH_PERIOD(at, m) \
    for (size_t at = 0, m; at < n && (m = n - at < period ? n - at : period, 1); at += period)

/* Adds a row of z to the shifted sums of a forward partial (see norm.h). */
PN_PASS pn_period_stats(const float *z, const float *pivot, float *sum, float *square,
                        size_t period, size_t n) {
    PN_EACH_PERIOD(at, m) {
#pragma omp simd
        for (size_t i = 0; i < m; i++) {
            float d = z[at + i] - pivot[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
}

/* g = the gradient with respect to z (see pn_norm_dz); z NULL where b and q are 0. The next
 * rows of dy and z are asked for. */
PN_PASS pn_period_dz(float *g, const pn_stored *dy, float factor, const pn_stored *z,
                     const float *a, const float *b, const float *q, size_t period, size_t n) {
    PN_EACH_PERIOD(at, m) {
        pn_prefetch(dy + n + at, m);
        if (z) {
            pn_prefetch(z + n + at, m);
#pragma omp simd
            for (size_t i = 0; i < m; i++)
                g[at + i] = a[i] * (factor * pn_widen_one(dy[at + i])) +
                            b[i] * pn_widen_one(z[at + i]) + q[i];
        } else {
#pragma omp simd
            for (size_t i = 0; i < m; i++) g[at + i] = a[i] * (factor * pn_widen_one(dy[at + i]));
        }
    }
}

/* Adds a row of dv to the two sums of a backward partial; the second lacks the factor rstd. */
PN_PASS pn_period_sums(const float *dv, const pn_stored *x, const float *mean, float *s1, float *s2,
                       size_t period, size_t n) {
    PN_EACH_PERIOD(at, m) {
#pragma omp simd
        for (size_t i = 0; i < m; i++) {
            float d = dv[at + i];
            s1[i] += d;
            s2[i] += d * (pn_widen_one(x[at + i]) - mean[i]);
        }
    }
}

/* Folds the two sums of a row's positions into a backward partial of rows of `stride` floats; rstd
 * NULL: 1. */
static inline void pn_fold_sums(float *partial, int stride, const float *s1, const float *s2,
                                const float *rstd, int C, int pixels) {
    pn_fold(partial, s1, C, pixels);
    pn_fold(partial + stride, s2, C, pixels);
    for (int c = 0; rstd && c < C; c++) partial[stride + c] *= rstd[c];
}

#endif
