/* conv.c -- a dense convolution of relu(v(x)), x a concatenation; or an average and a 1x1 one. */
#include <stdlib.h>

#include "kernels/reference/reference.h"

/* All sizes, and what a tap's filter is multiplied by. */
typedef struct sizes {
    int P, Q, C, K, taps;
    size_t pixels, outputs;
    double share;
} sizes;

static sizes sizes_of(const pn_conv *s) {
    sizes a = {.P = pn_conv_size(s->H, s->R, s->stride, s->pad),
               .Q = pn_conv_size(s->W, s->R, s->stride, s->pad),
               .C = pn_channels_ref(s->in, s->parts),
               .K = s->out.K,
               .taps = s->R * s->R,
               .pixels = (size_t)s->N * s->H * s->W,
               .share = s->mean ? 1.0 / (s->R * s->R) : 1};
    a.outputs = (size_t)s->N * a.P * a.Q;
    return a;
}

/* The pixel of x that a tap of output pixel o reads; -1 outside the image. */
static long input_pixel(const pn_conv *s, const sizes *a, size_t o, int tap) {
    const long n = (long)o / (a->P * a->Q), p = (long)o / a->Q % a->P, q = (long)o % a->Q;
    const long h = p * s->stride + tap / s->R - s->pad, w = q * s->stride + tap % s->R - s->pad;
    return h < 0 || h >= s->H || w < 0 || w >= s->W ? -1 : (n * s->H + h) * s->W + w;
}

/* Where the weights of a tap and input channel start; an average's taps have the same. */
static size_t row_of(const pn_conv *s, const sizes *a, int tap, int c) {
    return ((size_t)(s->mean ? 0 : tap) * a->C + c) * a->K;
}

void pn_conv_fwd_ref(const pn_conv *s, const pn_twins *t) {
    const sizes a = sizes_of(s);
    const double *w = pn_at(t, s->w);
    double *z = pn_at(t, s->out.z);
    double *r = pn_input_v_ref(s->in, s->parts, a.pixels, t);
    pn_relu_ref(r, a.pixels * a.C);
    for (size_t i = 0; i < a.outputs * a.K; i++) z[i] = 0;
    for (size_t o = 0; o < a.outputs; o++)
        for (int tap = 0; tap < a.taps; tap++) {
            const long pixel = input_pixel(s, &a, o, tap);
            for (int c = 0; c < a.C && pixel >= 0; c++)
                for (int k = 0; k < a.K; k++)
                    z[o * a.K + k] += a.share * w[row_of(s, &a, tap, c) + k] * r[pixel * a.C + c];
        }
    pn_output_stats_ref(&s->out, a.outputs, t);
    free(r);
}

void pn_conv_bwd_ref(const pn_conv *s, const pn_twins *t) {
    const sizes a = sizes_of(s);
    const double *w = pn_at(t, s->w);
    double *dw = pn_at(t, s->dw);
    double *v = pn_input_v_ref(s->in, s->parts, a.pixels, t);
    double *dz = pn_output_dz_ref(&s->out, s->N, (size_t)a.P * a.Q, t);
    double *dv = pn_zeros_ref(a.pixels * a.C);
    for (size_t o = 0; o < a.outputs; o++)
        for (int tap = 0; tap < a.taps; tap++) {
            const long pixel = input_pixel(s, &a, o, tap);
            for (int c = 0; c < a.C && pixel >= 0; c++) {
                const size_t i = (size_t)pixel * a.C + c, row = row_of(s, &a, tap, c);
                if (!(v[i] > 0)) continue;
                for (int k = 0; k < a.K; k++) {
                    const double d = a.share * dz[o * a.K + k];
                    dw[row + k] += v[i] * d;
                    dv[i] += w[row + k] * d;
                }
            }
        }
    pn_input_dv_ref(s->in, s->parts, a.pixels, dv, t);
    free(v);
    free(dz);
    free(dv);
}
