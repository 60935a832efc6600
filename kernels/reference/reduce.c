/* reduce.c -- factorized reduce: two 1x1 convolutions of stride 2 on grids one pixel apart. */
#include <stdlib.h>

#include "kernels/reference/reference.h"

/* Calls are over output pixels (n,p,q) and the two grids; grid g reads pixel (2p+g, 2q+g), which
 * at odd sizes may lie outside the image: then -1. */
static long input_pixel(const pn_reduce *s, int n, int p, int q, int grid) {
    const int h = 2 * p + grid, w = 2 * q + grid;
    return h < s->H && w < s->W ? ((long)n * s->H + h) * s->W + w : -1;
}

void pn_reduce_fwd_ref(const pn_reduce *s, const pn_twins *t) {
    const int P = pn_out_size(s->H, 2), Q = pn_out_size(s->W, 2);
    const size_t pixels = (size_t)s->N * s->H * s->W;
    const int C = pn_channels_ref(s->in, s->parts), K = s->out.K, half = K / 2;
    const double *weights = pn_at(t, s->w);
    double *r = pn_input_v_ref(s->in, s->parts, pixels, t);
    pn_relu_ref(r, pixels * C);
    double *z = pn_at(t, s->out.z);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < P; p++)
            for (int q = 0; q < Q; q++)
                for (int grid = 0; grid < 2; grid++) {
                    const long pixel = input_pixel(s, n, p, q, grid);
                    const double *w = weights + (size_t)grid * C * half;
                    for (int k = 0; k < half; k++) {
                        double sum = 0;
                        for (int c = 0; c < C && pixel >= 0; c++)
                            sum += w[c * half + k] * r[pixel * C + c];
                        z[pn_nhwc(n, p, q, grid * half + k, P, Q, K)] = sum;
                    }
                }
    pn_output_stats_ref(&s->out, (size_t)s->N * P * Q, t);
    free(r);
}

void pn_reduce_bwd_ref(const pn_reduce *s, const pn_twins *t) {
    const int P = pn_out_size(s->H, 2), Q = pn_out_size(s->W, 2);
    const size_t pixels = (size_t)s->N * s->H * s->W;
    const int C = pn_channels_ref(s->in, s->parts), K = s->out.K, half = K / 2;
    const double *weights = pn_at(t, s->w);
    double *gradients = pn_at(t, s->dw);
    double *v = pn_input_v_ref(s->in, s->parts, pixels, t);
    double *dz = pn_output_dz_ref(&s->out, s->N, (size_t)P * Q, t);
    double *dv = pn_zeros_ref(pixels * C);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < P; p++)
            for (int q = 0; q < Q; q++)
                for (int grid = 0; grid < 2; grid++) {
                    const long pixel = input_pixel(s, n, p, q, grid);
                    const double *w = weights + (size_t)grid * C * half;
                    double *dw = gradients + (size_t)grid * C * half;
                    for (int c = 0; c < C && pixel >= 0; c++) {
                        const long i = pixel * C + c;
                        if (!(v[i] > 0)) continue;
                        for (int k = 0; k < half; k++) {
                            const double d = dz[pn_nhwc(n, p, q, grid * half + k, P, Q, K)];
                            dw[c * half + k] += v[i] * d;
                            dv[i] += w[c * half + k] * d;
                        }
                    }
                }
    pn_input_dv_ref(s->in, s->parts, pixels, dv, t);
    free(v);
    free(dz);
    free(dv);
}
