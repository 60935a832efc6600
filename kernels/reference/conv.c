/* conv.c -- a convolution of relu(v(x)), x a concatenation: conv1x1, reduce, and a dense one, which
 * may be an average and a 1x1 one. */
#include <stdlib.h>

#include "kernels/reference/reference.h"

/* What the three ops have in common: windows RxR, or two grids of single pixels, the second one
 * pixel further down and to the right, each making half of the outputs. */
typedef struct window {
    int R, stride, pad, mean, grids;
} window;

/* All sizes, and what a tap's filter is multiplied by. */
typedef struct sizes {
    int P, Q, C, Kg, taps; /* Kg: outputs of a grid */
    size_t pixels, outputs;
    double share;
} sizes;

static sizes sizes_of(const pn_conv *s, window v) {
    const int grid = v.grids > 1; /* its last pixels may be outside */
    sizes a = {.P = grid ? pn_out_size(s->H, 2) : pn_conv_size(s->H, v.R, v.stride, v.pad),
               .Q = grid ? pn_out_size(s->W, 2) : pn_conv_size(s->W, v.R, v.stride, v.pad),
               .C = pn_channels_ref(s->in, s->parts),
               .Kg = s->out.K / v.grids,
               .taps = v.R * v.R * v.grids,
               .pixels = (size_t)s->N * s->H * s->W,
               .share = v.mean ? 1.0 / (v.R * v.R) : 1};
    a.outputs = (size_t)s->N * a.P * a.Q;
    return a;
}

/* The pixel of x that a tap of output pixel o reads; -1 outside the image. The only tap of a grid
 * is its number. */
static long input_pixel(const pn_conv *s, window v, const sizes *a, size_t o, int tap) {
    const long n = (long)o / (a->P * a->Q), p = (long)o / a->Q % a->P, q = (long)o % a->Q;
    const int down = v.grids > 1 ? tap : tap / v.R, right = v.grids > 1 ? tap : tap % v.R;
    const long h = p * v.stride + down - v.pad, w = q * v.stride + right - v.pad;
    return h < 0 || h >= s->H || w < 0 || w >= s->W ? -1 : (n * s->H + h) * s->W + w;
}

/* Where the weights of a tap and input channel start; an average's taps have the same. */
static size_t row_of(window v, const sizes *a, int tap, int c) {
    return ((size_t)(v.mean ? 0 : tap) * a->C + c) * a->Kg;
}

/* Where the outputs of a tap start, in z or dz. */
static size_t outputs_at(window v, const sizes *a, size_t o, int tap) {
    return (o * v.grids + (v.grids > 1 ? tap : 0)) * a->Kg;
}

static void forward(const pn_conv *s, window v, const pn_twins *t) {
    const sizes a = sizes_of(s, v);
    const double *w = pn_at(t, s->w);
    double *z = pn_at(t, s->out.z);
    double *r = pn_input_v_ref(s->in, s->parts, a.pixels, t);
    pn_relu_ref(r, a.pixels * a.C);
    for (size_t i = 0; i < a.outputs * s->out.K; i++) z[i] = 0;
    for (size_t o = 0; o < a.outputs; o++)
        for (int tap = 0; tap < a.taps; tap++) {
            const long pixel = input_pixel(s, v, &a, o, tap);
            double *to = z + outputs_at(v, &a, o, tap);
            for (int c = 0; c < a.C && pixel >= 0; c++)
                for (int k = 0; k < a.Kg; k++)
                    to[k] += a.share * w[row_of(v, &a, tap, c) + k] * r[pixel * a.C + c];
        }
    pn_output_stats_ref(&s->out, a.outputs, t);
    free(r);
}

static void backward(const pn_conv *s, window v, const pn_twins *t) {
    const sizes a = sizes_of(s, v);
    const double *w = pn_at(t, s->w);
    double *dw = pn_at(t, s->dw);
    double *x = pn_input_v_ref(s->in, s->parts, a.pixels, t);
    double *dz = pn_output_dz_ref(&s->out, s->N, (size_t)a.P * a.Q, t);
    double *dv = pn_zeros_ref(a.pixels * a.C);
    for (size_t o = 0; o < a.outputs; o++)
        for (int tap = 0; tap < a.taps; tap++) {
            const long pixel = input_pixel(s, v, &a, o, tap);
            const double *from = dz + outputs_at(v, &a, o, tap);
            for (int c = 0; c < a.C && pixel >= 0; c++) {
                const size_t i = (size_t)pixel * a.C + c, row = row_of(v, &a, tap, c);
                if (!(x[i] > 0)) continue;
                for (int k = 0; k < a.Kg; k++) {
                    const double d = a.share * from[k];
                    dw[row + k] += x[i] * d;
                    dv[i] += w[row + k] * d;
                }
            }
        }
    pn_input_dv_ref(s->in, s->parts, a.pixels, dv, t);
    free(x);
    free(dz);
    free(dv);
}

static const window one = {.R = 1, .stride = 1, .grids = 1},
                    two = {.R = 1, .stride = 2, .grids = 2};
static window window_of(const pn_conv *s) { return (window){s->R, s->stride, s->pad, s->mean, 1}; }

void pn_conv1x1_fwd_ref(const pn_conv1x1 *s, const pn_twins *t) { forward(s, one, t); }
void pn_conv1x1_bwd_ref(const pn_conv1x1 *s, const pn_twins *t) { backward(s, one, t); }
void pn_reduce_fwd_ref(const pn_reduce *s, const pn_twins *t) { forward(s, two, t); }
void pn_reduce_bwd_ref(const pn_reduce *s, const pn_twins *t) { backward(s, two, t); }
void pn_conv_fwd_ref(const pn_conv *s, const pn_twins *t) { forward(s, window_of(s), t); }
void pn_conv_bwd_ref(const pn_conv *s, const pn_twins *t) { backward(s, window_of(s), t); }
