/* kernels/host/norm.h -- the two ends of deferred BatchNorm (see kernels.h): statistics gathered
 * in partials and finished in a fixed order, and the coefficients that loads apply.
 *
 * Forward sums are shifted: a chunk subtracts the value of its own first pixel, so that sum and
 * sum of squares stay near the spread of the data and their difference loses nothing, however
 * far the mean is from zero. */
#ifndef PN_HOST_NORM_H
#define PN_HOST_NORM_H

#include <math.h>

#include "kernels/host/host.h"

/* A chunk's forward partial: three rows of `stride` floats: pivot, sum of (z - pivot), sum of
 * squares of the same. */
enum { PN_FWD_ROWS = 3, PN_BWD_ROWS = 2 };

/* Finishes the statistics of a tensor of `pixels` = N*P*Q pixels from `chunks` partials,
 * `partial_floats` apart; `image_pixels` = P*Q. Also serves PN_NORM_RUNNING, without partials. */
static inline void pn_norm_finish_fwd(const pn_norm *norm, int K, int N, long image_pixels,
                                      const float *partials, size_t partial_floats, int stride) {
    if (norm->mode == PN_NORM_NONE) return;
    float *mean = norm->stats, *rstd = mean + K;
    if (norm->mode == PN_NORM_RUNNING) {
        for (int k = 0; k < K; k++) {
            mean[k] = norm->running_mean[k];
            rstd[k] = (float)(1 / sqrt((double)norm->running_var[k] + norm->eps));
        }
        return;
    }
    const int chunks = pn_chunks(N);
    for (int k = 0; k < K; k++) {
        double n = 0, m = 0, m2 = 0; /* Chan, Golub, LeVeque 1979 */
        for (int c = 0; c < chunks; c++) {
            const float *partial = partials + c * partial_floats;
            double count = (double)(pn_chunk_first(N, c + 1) - pn_chunk_first(N, c)) * image_pixels;
            double shifted = partial[stride + k] / count;
            double chunk_m2 = partial[2 * stride + k] - shifted * shifted * count;
            double delta = partial[k] + shifted - m;
            m2 += (chunk_m2 > 0 ? chunk_m2 : 0) + delta * delta * n * count / (n + count);
            m += delta * count / (n + count);
            n += count;
        }
        double variance = m2 / n;
        mean[k] = (float)m;
        rstd[k] = (float)(1 / sqrt(variance + norm->eps));
        if (norm->running_mean) {
            double unbiased = n > 1 ? m2 / (n - 1) : variance;
            norm->running_mean[k] += norm->momentum * ((float)m - norm->running_mean[k]);
            norm->running_var[k] += norm->momentum * ((float)unbiased - norm->running_var[k]);
        }
    }
}

/* What a consumer's load applies: v = scale * x + shift. Channels from C to padded get 0. */
static inline void pn_norm_scale_shift(const pn_norm *norm, int C, int padded, float *scale,
                                       float *shift) {
    for (int c = 0; c < padded; c++) {
        scale[c] = c < C;
        shift[c] = 0;
    }
    if (norm->mode == PN_NORM_NONE) return;
    const float *mean = norm->stats, *rstd = mean + C;
    for (int c = 0; c < C; c++) {
        scale[c] = (norm->gamma ? norm->gamma[c] : 1) * rstd[c];
        shift[c] = (norm->beta ? norm->beta[c] : 0) - mean[c] * scale[c];
    }
}

/* Mean and rstd of a tensor, for xhat where gamma and beta hide it; 0 above C and without norm. */
static inline void pn_norm_mean_rstd(const pn_norm *norm, int C, int padded, float *mean,
                                     float *rstd) {
    const int known = norm->mode == PN_NORM_NONE ? 0 : C;
    for (int c = 0; c < padded; c++) {
        mean[c] = c < known ? norm->stats[c] : 0;
        rstd[c] = c < known ? norm->stats[C + c] : 0;
    }
}

/* coef * weight * factor[n]: what dy is multiplied by in image n. */
static inline float pn_output_scale(const pn_output *out, int n) {
    const float scale = out->weight ? out->coef * *out->weight : out->coef;
    return scale * (out->factor ? out->factor[n] : 1);
}

/* What turns dy into dz: dz = a * (pn_output_scale * dy) + b * z + q, the scale not yet in a. */
static inline void pn_norm_dz(const pn_norm *norm, int K, int padded, double pixels, float *a,
                              float *b, float *q) {
    for (int k = 0; k < padded; k++) {
        a[k] = k < K;
        b[k] = q[k] = 0;
    }
    if (norm->mode == PN_NORM_NONE) return;
    const float *mean = norm->stats, *rstd = mean + K, *s1 = rstd + K, *s2 = s1 + K;
    for (int k = 0; k < K; k++) {
        double g = (norm->gamma ? norm->gamma[k] : 1) * (double)rstd[k];
        a[k] = (float)g;
        if (norm->mode == PN_NORM_RUNNING) continue;
        double slope = -g * rstd[k] * s2[k] / pixels;
        b[k] = (float)slope;
        q[k] = (float)(-g * s1[k] / pixels - slope * mean[k]);
    }
}

/* dgamma, dbeta of a producer's own BatchNorm: its consumers have made the sums. */
static inline void pn_norm_parameters(const pn_norm *norm, int K) {
    if (norm->mode == PN_NORM_NONE) return;
    const float *s1 = norm->stats + 2 * K, *s2 = s1 + K;
    for (int k = 0; k < K; k++) {
        if (norm->dgamma) norm->dgamma[k] += s2[k];
        if (norm->dbeta) norm->dbeta[k] += s1[k];
    }
}

/* Does a consumer have to make the two backward sums of this norm? */
static inline int pn_norm_wants_sums(const pn_norm *norm) {
    return norm->mode == PN_NORM_BATCH || (norm->mode && (norm->dgamma || norm->dbeta));
}

/* Adds a consumer's two sums, from partials that hold two rows of `stride` floats: s1, s2, gathered
 * without the weight. */
static inline void pn_norm_finish_weighted(const pn_norm *norm, int C, int add, int N,
                                           const float *partials, size_t partial_floats, int stride,
                                           double weight) {
    if (!pn_norm_wants_sums(norm)) return;
    float *sums = norm->stats + 2 * C;
    for (int row = 0; row < PN_BWD_ROWS; row++)
        for (int c = 0; c < C; c++) {
            double sum = 0;
            for (int chunk = 0; chunk < pn_chunks(N); chunk++)
                sum += partials[chunk * partial_floats + row * stride + c];
            float *to = &sums[row * C + c];
            sum *= weight;
            *to = (float)(add ? *to + sum : sum);
        }
}
static inline void pn_norm_finish_bwd(const pn_norm *norm, int C, int add, int N,
                                      const float *partials, size_t partial_floats, int stride) {
    pn_norm_finish_weighted(norm, C, add, N, partials, partial_floats, stride, 1);
}

#endif
