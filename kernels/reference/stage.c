/* stage.c -- ReLU, depthwise convolution, pointwise convolution. */
#include <stdlib.h>

#include "kernels/reference/reference.h"

/* u (N,P,Q,C) of r (N,H,W,C). */
static double *depthwise(const pn_stage *s, const double *r, const double *dw) {
    const int P = pn_out_size(s->H, s->stride), Q = pn_out_size(s->W, s->stride), C = s->in.C;
    const int pad = s->dilation * (s->R - 1) / 2;
    double *u = pn_zeros_ref((size_t)s->N * P * Q * C);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < P; p++)
            for (int q = 0; q < Q; q++)
                for (int i = 0; i < s->R; i++)
                    for (int j = 0; j < s->R; j++) {
                        const int h = p * s->stride + i * s->dilation - pad;
                        const int w = q * s->stride + j * s->dilation - pad;
                        if (h < 0 || h >= s->H || w < 0 || w >= s->W) continue;
                        for (int c = 0; c < C; c++)
                            u[pn_nhwc(n, p, q, c, P, Q, C)] +=
                                dw[(i * s->R + j) * C + c] * r[pn_nhwc(n, h, w, c, s->H, s->W, C)];
                    }
    return u;
}

void pn_stage_fwd_ref(const pn_stage *s, const pn_twins *t) {
    const int P = pn_out_size(s->H, s->stride), Q = pn_out_size(s->W, s->stride);
    const int C = s->in.C, K = s->out.K;
    const size_t in_pixels = (size_t)s->N * s->H * s->W, out_pixels = (size_t)s->N * P * Q;
    const double *pw = pn_at(t, s->pw);
    double *r = pn_input_v_ref(&s->in, 1, in_pixels, t);
    pn_relu_ref(r, in_pixels * C);
    double *u = depthwise(s, r, pn_at(t, s->dw));
    double *z = pn_at(t, s->out.z);
    for (size_t i = 0; i < out_pixels; i++)
        for (int k = 0; k < K; k++) {
            double sum = 0;
            for (int c = 0; c < C; c++) sum += pw[c * K + k] * u[i * C + c];
            z[i * K + k] = sum;
        }
    pn_output_stats_ref(&s->out, out_pixels, t);
    free(r);
    free(u);
}

void pn_stage_bwd_ref(const pn_stage *s, const pn_twins *t) {
    const int P = pn_out_size(s->H, s->stride), Q = pn_out_size(s->W, s->stride);
    const int C = s->in.C, K = s->out.K, pad = s->dilation * (s->R - 1) / 2;
    const size_t in_pixels = (size_t)s->N * s->H * s->W, out_pixels = (size_t)s->N * P * Q;
    const double *dw = pn_at(t, s->dw), *pw = pn_at(t, s->pw);
    double *ddw = pn_at(t, s->ddw), *dpw = pn_at(t, s->dpw);
    double *v = pn_input_v_ref(&s->in, 1, in_pixels, t);
    double *r = pn_input_v_ref(&s->in, 1, in_pixels, t);
    pn_relu_ref(r, in_pixels * C);
    double *u = depthwise(s, r, dw);
    double *dz = pn_output_dz_ref(&s->out, s->N, (size_t)P * Q, t);
    double *du = pn_zeros_ref(out_pixels * C), *dv = pn_zeros_ref(in_pixels * C);
    for (size_t i = 0; i < out_pixels; i++)
        for (int c = 0; c < C; c++)
            for (int k = 0; k < K; k++) {
                dpw[c * K + k] += u[i * C + c] * dz[i * K + k];
                du[i * C + c] += pw[c * K + k] * dz[i * K + k];
            }
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < P; p++)
            for (int q = 0; q < Q; q++)
                for (int i = 0; i < s->R; i++)
                    for (int j = 0; j < s->R; j++) {
                        const int h = p * s->stride + i * s->dilation - pad;
                        const int w = q * s->stride + j * s->dilation - pad;
                        if (h < 0 || h >= s->H || w < 0 || w >= s->W) continue;
                        for (int c = 0; c < C; c++) {
                            const size_t from = pn_nhwc(n, p, q, c, P, Q, C);
                            const size_t to = pn_nhwc(n, h, w, c, s->H, s->W, C);
                            ddw[(i * s->R + j) * C + c] += du[from] * r[to];
                            if (v[to] > 0) dv[to] += dw[(i * s->R + j) * C + c] * du[from];
                        }
                    }
    pn_input_dv_ref(&s->in, 1, in_pixels, dv, t);
    free(v);
    free(r);
    free(u);
    free(dz);
    free(du);
    free(dv);
}
