/* conv1x1.c -- z = W^T relu(v(x)), x a concatenation. */
#include <stdlib.h>

#include "kernels/reference/reference.h"

void pn_conv1x1_fwd_ref(const pn_conv1x1 *s, const pn_twins *t) {
    const size_t pixels = (size_t)s->N * s->H * s->W;
    const int C = pn_channels_ref(s->in, s->parts), K = s->out.K;
    const double *w = pn_at(t, s->w);
    double *r = pn_input_v_ref(s->in, s->parts, pixels, t);
    pn_relu_ref(r, pixels * C);
    double *z = pn_at(t, s->out.z);
    for (size_t i = 0; i < pixels; i++)
        for (int k = 0; k < K; k++) {
            double sum = 0;
            for (int c = 0; c < C; c++) sum += w[c * K + k] * r[i * C + c];
            z[i * K + k] = sum;
        }
    pn_output_stats_ref(&s->out, pixels, t);
    free(r);
}

void pn_conv1x1_bwd_ref(const pn_conv1x1 *s, const pn_twins *t) {
    const size_t pixels = (size_t)s->N * s->H * s->W;
    const int C = pn_channels_ref(s->in, s->parts), K = s->out.K;
    const double *w = pn_at(t, s->w);
    double *dw = pn_at(t, s->dw);
    double *v = pn_input_v_ref(s->in, s->parts, pixels, t);
    double *dz = pn_output_dz_ref(&s->out, s->N, (size_t)s->H * s->W, t);
    double *dv = pn_zeros_ref(pixels * C);
    for (size_t i = 0; i < pixels; i++)
        for (int c = 0; c < C; c++) {
            if (!(v[i * C + c] > 0)) continue;
            for (int k = 0; k < K; k++) {
                dw[c * K + k] += v[i * C + c] * dz[i * K + k];
                dv[i * C + c] += w[c * K + k] * dz[i * K + k];
            }
        }
    pn_input_dv_ref(s->in, s->parts, pixels, dv, t);
    free(v);
    free(dz);
    free(dv);
}
