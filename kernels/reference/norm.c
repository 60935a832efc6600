/* norm.c -- what inputs and outputs mean under deferred BatchNorm (top of kernels.h). */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/reference/reference.h"

double *pn_at(const pn_twins *t, const float *f) {
    if (!f) return NULL;
    for (int i = 0; i < t->count; i++) {
        const pn_twin *twin = &t->list[i];
        uintptr_t offset = (uintptr_t)f - (uintptr_t)twin->f;
        if ((uintptr_t)f >= (uintptr_t)twin->f && offset < twin->count * sizeof *f)
            return twin->d + offset / sizeof *f;
    }
    fprintf(stderr, "reference: no doubles stand for %p\n", (const void *)f);
    abort();
}

double *pn_zeros_ref(size_t count) {
    double *zeros = calloc(count ? count : 1, sizeof *zeros);
    if (!zeros) abort();
    return zeros;
}

int pn_channels_ref(const pn_input *in, int parts) {
    int C = 0;
    for (int part = 0; part < parts; part++) C += in[part].C;
    return C;
}

double *pn_input_v_ref(const pn_input *in, int parts, size_t pixels, const pn_twins *t) {
    const int C = pn_channels_ref(in, parts);
    double *v = pn_zeros_ref(pixels * C);
    for (int part = 0, first = 0; part < parts; first += in[part++].C) {
        const pn_norm *norm = &in[part].norm;
        const double *x = pn_at(t, in[part].x), *mean = pn_at(t, norm->stats);
        const double *gamma = pn_at(t, norm->gamma), *beta = pn_at(t, norm->beta);
        for (size_t i = 0; i < pixels; i++)
            for (int c = 0; c < in[part].C; c++) {
                double value = x[i * in[part].C + c];
                if (norm->mode != PN_NORM_NONE) {
                    const double rstd = mean[in[part].C + c];
                    value =
                        (gamma ? gamma[c] : 1) * (value - mean[c]) * rstd + (beta ? beta[c] : 0);
                }
                v[i * C + first + c] = value;
            }
    }
    return v;
}

void pn_relu_ref(double *v, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!(v[i] > 0)) v[i] = 0;
}

int pn_wants_sums_ref(const pn_norm *norm) {
    if (norm->mode == PN_NORM_BATCH) return 1;
    return norm->mode == PN_NORM_RUNNING && (norm->dgamma || norm->dbeta);
}

void pn_input_sums_ref(const pn_input *in, size_t pixels, const double *dv, int stride,
                       const pn_twins *t) {
    const double *x = pn_at(t, in->x);
    double *mean = pn_at(t, in->norm.stats), *rstd = mean + in->C;
    double *s1 = rstd + in->C, *s2 = s1 + in->C;
    for (int c = 0; c < in->C; c++) {
        double sum1 = 0, sum2 = 0;
        for (size_t i = 0; i < pixels; i++) {
            const double xhat = (x[i * in->C + c] - mean[c]) * rstd[c];
            sum1 += dv[i * stride + c];
            sum2 += dv[i * stride + c] * xhat;
        }
        s1[c] = (in->add ? s1[c] : 0) + sum1;
        s2[c] = (in->add ? s2[c] : 0) + sum2;
    }
}

void pn_input_dv_ref(const pn_input *in, int parts, size_t pixels, const double *dv,
                     const pn_twins *t) {
    const int C = pn_channels_ref(in, parts);
    for (int part = 0, first = 0; part < parts; first += in[part++].C) {
        double *dx = pn_at(t, in[part].dx);
        if (!dx) continue;
        for (size_t i = 0; i < pixels; i++)
            for (int c = 0; c < in[part].C; c++) {
                double *to = &dx[i * in[part].C + c];
                *to = (in[part].add ? *to : 0) + dv[i * C + first + c];
            }
        if (pn_wants_sums_ref(&in[part].norm))
            pn_input_sums_ref(&in[part], pixels, dv + first, C, t);
    }
}

void pn_output_stats_ref(const pn_output *out, size_t pixels, const pn_twins *t) {
    const pn_norm *norm = &out->norm;
    if (norm->mode == PN_NORM_NONE) return;
    double *mean = pn_at(t, norm->stats), *rstd = mean + out->K;
    double *running_mean = pn_at(t, norm->running_mean), *running_var = pn_at(t, norm->running_var);
    const double *z = pn_at(t, out->z), momentum = norm->momentum;
    for (int k = 0; k < out->K; k++) {
        if (norm->mode == PN_NORM_RUNNING) {
            mean[k] = running_mean[k];
            rstd[k] = 1 / sqrt(running_var[k] + norm->eps);
            continue;
        }
        double sum = 0, squares = 0;
        for (size_t i = 0; i < pixels; i++) sum += z[i * out->K + k];
        mean[k] = sum / (double)pixels;
        for (size_t i = 0; i < pixels; i++) {
            const double d = z[i * out->K + k] - mean[k];
            squares += d * d;
        }
        const double variance = squares / (double)pixels;
        rstd[k] = 1 / sqrt(variance + norm->eps);
        if (running_mean) {
            /* A single pixel has no unbiased variance; it counts as 0, its biased one. */
            const double unbiased = pixels > 1 ? squares / (double)(pixels - 1) : 0;
            running_mean[k] = (1 - momentum) * running_mean[k] + momentum * mean[k];
            running_var[k] = (1 - momentum) * running_var[k] + momentum * unbiased;
        }
    }
}

double *pn_output_dz_ref(const pn_output *out, int N, size_t image_pixels, const pn_twins *t) {
    const pn_norm *norm = &out->norm;
    const int K = out->K;
    const double *dy = pn_at(t, out->dy), *factor = pn_at(t, out->factor), *z = pn_at(t, out->z);
    const double *weight = pn_at(t, out->weight);
    const double *mean = pn_at(t, norm->stats), *gamma = pn_at(t, norm->gamma);
    const double count = (double)N * (double)image_pixels;
    double *dz = pn_zeros_ref((size_t)N * image_pixels * K);
    for (int n = 0; n < N; n++)
        for (size_t p = 0; p < image_pixels; p++)
            for (int k = 0; k < K; k++) {
                const size_t i = ((size_t)n * image_pixels + p) * K + k;
                dz[i] = out->coef * (weight ? *weight : 1) * (factor ? factor[n] : 1) * dy[i];
                if (norm->mode == PN_NORM_NONE) continue;
                const double rstd = mean[K + k], s1 = mean[2 * K + k], s2 = mean[3 * K + k];
                if (norm->mode == PN_NORM_BATCH)
                    dz[i] -= s1 / count + (z[i] - mean[k]) * rstd * s2 / count;
                dz[i] *= (gamma ? gamma[k] : 1) * rstd;
            }
    double *dgamma = pn_at(t, norm->dgamma), *dbeta = pn_at(t, norm->dbeta);
    for (int k = 0; k < K; k++) {
        if (dbeta) dbeta[k] += mean[2 * K + k];
        if (dgamma) dgamma[k] += mean[3 * K + k];
    }
    return dz;
}
