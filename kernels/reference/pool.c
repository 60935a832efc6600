/* pool.c -- 3x3 maximum or average, padding 1. */
#include <stdlib.h>

#include "kernels/reference/reference.h"

/* The window of output (p,q): input rows h0..h1-1, columns w0..w1-1, cut at the image's edge. */
typedef struct window {
    int h0, h1, w0, w1;
} window;

static window window_at(const pn_pool *s, int p, int q) {
    const int h = p * s->stride, w = q * s->stride;
    return (window){h > 0 ? h - 1 : 0, h + 2 < s->H ? h + 2 : s->H, /* centre (h,w) */
                    w > 0 ? w - 1 : 0, w + 2 < s->W ? w + 2 : s->W};
}

/* Where in v the window's maximum lies: the first of equals in row order. */
static size_t winner(const pn_pool *s, const double *v, window o, int n, int c) {
    size_t best = pn_nhwc(n, o.h0, o.w0, c, s->H, s->W, s->in.C);
    for (int h = o.h0; h < o.h1; h++)
        for (int w = o.w0; w < o.w1; w++) {
            const size_t i = pn_nhwc(n, h, w, c, s->H, s->W, s->in.C);
            if (v[i] > v[best]) best = i;
        }
    return best;
}

void pn_pool_fwd_ref(const pn_pool *s, const pn_twins *t) {
    const int P = pn_out_size(s->H, s->stride), Q = pn_out_size(s->W, s->stride), C = s->in.C;
    double *v = pn_input_v_ref(&s->in, 1, (size_t)s->N * s->H * s->W, t);
    double *z = pn_at(t, s->out.z);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < P; p++)
            for (int q = 0; q < Q; q++)
                for (int c = 0; c < C; c++) {
                    const window o = window_at(s, p, q);
                    double *to = &z[pn_nhwc(n, p, q, c, P, Q, C)];
                    if (s->kind == PN_POOL_MAX) {
                        *to = v[winner(s, v, o, n, c)];
                        continue;
                    }
                    double sum = 0;
                    for (int h = o.h0; h < o.h1; h++)
                        for (int w = o.w0; w < o.w1; w++)
                            sum += v[pn_nhwc(n, h, w, c, s->H, s->W, C)];
                    *to = sum / ((o.h1 - o.h0) * (o.w1 - o.w0));
                }
    pn_output_stats_ref(&s->out, (size_t)s->N * P * Q, t);
    free(v);
}

void pn_pool_bwd_ref(const pn_pool *s, const pn_twins *t) {
    const int P = pn_out_size(s->H, s->stride), Q = pn_out_size(s->W, s->stride), C = s->in.C;
    const size_t pixels = (size_t)s->N * s->H * s->W;
    double *v = pn_input_v_ref(&s->in, 1, pixels, t);
    double *dz = pn_output_dz_ref(&s->out, s->N, (size_t)P * Q, t);
    double *dv = pn_zeros_ref(pixels * C);
    for (int n = 0; n < s->N; n++)
        for (int p = 0; p < P; p++)
            for (int q = 0; q < Q; q++)
                for (int c = 0; c < C; c++) {
                    const window o = window_at(s, p, q);
                    const double d = dz[pn_nhwc(n, p, q, c, P, Q, C)];
                    if (s->kind == PN_POOL_MAX) {
                        dv[winner(s, v, o, n, c)] += d;
                        continue;
                    }
                    for (int h = o.h0; h < o.h1; h++)
                        for (int w = o.w0; w < o.w1; w++)
                            dv[pn_nhwc(n, h, w, c, s->H, s->W, C)] +=
                                d / ((o.h1 - o.h0) * (o.w1 - o.w0));
                }
    pn_input_dv_ref(&s->in, 1, pixels, dv, t);
    free(v);
    free(dz);
    free(dv);
}
