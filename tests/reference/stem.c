/* stem.c -- 3x3 convolution of the image. */
#include <stdlib.h>

#include "tests/reference/reference.h"

void pn_stem_fwd_ref(const pn_stem *s, const pn_twins *t) {
    const double *x = pn_at(t, s->x), *w = pn_at(t, s->w);
    double *z = pn_at(t, s->out.z);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < s->H; p++)
            for (int q = 0; q < s->W; q++)
                for (int k = 0; k < s->out.K; k++) {
                    double sum = 0;
                    for (int i = 0; i < 3; i++)
                        for (int j = 0; j < 3; j++) {
                            const int h = p + i - 1, v = q + j - 1;
                            if (h < 0 || h >= s->H || v < 0 || v >= s->W) continue;
                            for (int c = 0; c < s->C; c++)
                                sum += w[((i * 3 + j) * s->C + c) * s->out.K + k] *
                                       x[pn_nhwc(n, h, v, c, s->H, s->W, s->C)];
                        }
                    z[pn_nhwc(n, p, q, k, s->H, s->W, s->out.K)] = sum;
                }
    pn_output_stats_ref(&s->out, (size_t)s->N * s->H * s->W, t);
}

void pn_stem_bwd_ref(const pn_stem *s, const pn_twins *t) {
    const double *x = pn_at(t, s->x);
    double *dw = pn_at(t, s->dw);
    double *dz = pn_output_dz_ref(&s->out, s->N, (size_t)s->H * s->W, t);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < s->H; p++)
            for (int q = 0; q < s->W; q++)
                for (int i = 0; i < 3; i++)
                    for (int j = 0; j < 3; j++) {
                        const int h = p + i - 1, v = q + j - 1;
                        if (h < 0 || h >= s->H || v < 0 || v >= s->W) continue;
                        for (int c = 0; c < s->C; c++)
                            for (int k = 0; k < s->out.K; k++)
                                dw[((i * 3 + j) * s->C + c) * s->out.K + k] +=
                                    x[pn_nhwc(n, h, v, c, s->H, s->W, s->C)] *
                                    dz[pn_nhwc(n, p, q, k, s->H, s->W, s->out.K)];
                    }
    free(dz);
}
