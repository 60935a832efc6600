/* stem.c -- 3x3 convolution of the image. */
#include <stdlib.h>

#include "kernels/reference/reference.h"

void pn_stem_fwd_ref(const pn_stem *s, const pn_twins *t) {
    const double *x = pn_at(t, s->x), *w = pn_at(t, s->w);
    double *z = pn_at(t, s->out.z);
    const int P = pn_out_size(s->H, s->stride), Q = pn_out_size(s->W, s->stride);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < P; p++)
            for (int q = 0; q < Q; q++)
                for (int k = 0; k < s->out.K; k++) {
                    double sum = 0;
                    for (int i = 0; i < 3; i++)
                        for (int j = 0; j < 3; j++) {
                            const int h = p * s->stride + i - 1, v = q * s->stride + j - 1;
                            if (h < 0 || h >= s->H || v < 0 || v >= s->W) continue;
                            for (int c = 0; c < s->C; c++)
                                sum += w[((i * 3 + j) * s->C + c) * s->out.K + k] *
                                       x[pn_nhwc(n, h, v, c, s->H, s->W, s->C)];
                        }
                    z[pn_nhwc(n, p, q, k, P, Q, s->out.K)] = sum;
                }
    pn_output_stats_ref(&s->out, (size_t)s->N * P * Q, t);
}

void pn_stem_bwd_ref(const pn_stem *s, const pn_twins *t) {
    const double *x = pn_at(t, s->x);
    double *dw = pn_at(t, s->dw);
    const int P = pn_out_size(s->H, s->stride), Q = pn_out_size(s->W, s->stride);
    double *dz = pn_output_dz_ref(&s->out, s->N, (size_t)P * Q, t);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < P; p++)
            for (int q = 0; q < Q; q++)
                for (int i = 0; i < 3; i++)
                    for (int j = 0; j < 3; j++) {
                        const int h = p * s->stride + i - 1, v = q * s->stride + j - 1;
                        if (h < 0 || h >= s->H || v < 0 || v >= s->W) continue;
                        for (int c = 0; c < s->C; c++)
                            for (int k = 0; k < s->out.K; k++)
                                dw[((i * 3 + j) * s->C + c) * s->out.K + k] +=
                                    x[pn_nhwc(n, h, v, c, s->H, s->W, s->C)] *
                                    dz[pn_nhwc(n, p, q, k, P, Q, s->out.K)];
                    }
    free(dz);
}
