/* kernels/host/matrix.h -- the blocks that stage, conv1x1, reduce and conv are made of: pixels
 * times weights, the outer product for the weight gradient, and what stands before and after them.
 *
 * A workspace keeps pixels as rows of whole vectors, in L1. A product makes a block of 8 pixels by
 * two vectors of channels (4 by 2 where there are 16 registers): accumulators stay in registers,
 * weights are vectors, a pixel's value is broadcast from memory. Weights are packed once per
 * call into strips of two vectors, so that a strip is read front to back and large matrices do
 * not fall into few sets of the cache. Templates take sizes as literals; with the sizes of a
 * job in their place they are the general version. */
#ifndef PN_HOST_MATRIX_H
#define PN_HOST_MATRIX_H

#include "kernels/host/frame.h"
#include "kernels/host/norm.h"
#include "kernels/host/prefetch.h"
#include "kernels/host/stored.h"

#if PN_LANES == 16 || defined(__aarch64__) /* 32 vector registers */
enum { PN_WIDE = 8, PN_OUTER = 8 };
#else
enum { PN_WIDE = 4, PN_OUTER = 4 };
#endif
enum { PN_BLOCK = 8 }; /* most pixels in a block: what a workspace has behind its last pixel */

/* Room behind a pixel's floats where they are not whole vectors: for the last vector of what lies
 * unaligned, and because a step that is a power of two would put all pixels into few sets of the
 * cache. */
enum { PN_STEP_PAD = 16 };

/* ---- before: what a load applies ------------------------------------------------------------- */

/* r = relu(scale * x + shift) of n pixels, x_step and r_step floats apart. Writes whole vectors,
 * zeros above C. Fetches the place `ahead` floats further on, which the next call will read. */
PN_INLINE void pn_relu_strip(const int nb, int lanes, const pn_stored *x, size_t x_step, int n,
                             size_t ahead, const float *scale, const float *shift, float *r,
                             size_t r_step) {
    pn_vf a[4], b[4];
    PN_UNROLL for (int i = 0; i < nb; i++) {
        a[i] = pn_load(scale + i * PN_LANES);
        b[i] = pn_load(shift + i * PN_LANES);
    }
    for (int p = 0; p < n; p++, x += x_step, r += r_step) {
        if (ahead) PN_PREFETCH(x + ahead, nb, 0);
        PN_UNROLL for (int i = 0; i < nb; i++) {
            pn_vf v = pn_widen_lanes(x + i * PN_LANES, lanes);
            pn_store(r + i * PN_LANES, pn_relu(a[i] * v + b[i]));
        }
    }
}
PN_INLINE void pn_relu_pixels(const int C, const pn_stored *x, size_t x_step, int n, size_t ahead,
                              const float *scale, const float *shift, float *r, size_t r_step) {
    int c = 0;
    for (; c + 4 * PN_LANES <= C; c += 4 * PN_LANES)
        pn_relu_strip(4, PN_LANES, x + c, x_step, n, ahead, scale + c, shift + c, r + c, r_step);
    for (; c + PN_LANES <= C; c += PN_LANES)
        pn_relu_strip(1, PN_LANES, x + c, x_step, n, ahead, scale + c, shift + c, r + c, r_step);
    if (c < C)
        pn_relu_strip(1, C - c, x + c, x_step, n, ahead, scale + c, shift + c, r + c, r_step);
}

/* g = weight * a * dy + b * z + q of n packed pixels (see pn_norm_dz); without z: no b, q. */
PN_INLINE void pn_dz_pixels(const int K, float weight, const pn_stored *dy, const pn_stored *z,
                            int n, size_t ahead, const float *a, const float *b, const float *q,
                            float *g, size_t g_step) {
    for (int k = 0; k < K; k += PN_LANES) {
        const int lanes = pn_lanes(K, k);
        const pn_vf av = pn_load(a + k) * pn_splat(weight), bv = pn_load(b + k),
                    qv = pn_load(q + k);
        for (int p = 0; p < n; p++) {
            const size_t at = (size_t)p * K + k;
            if (ahead) __builtin_prefetch(dy + at + ahead);
            pn_vf v = av * pn_widen_lanes(dy + at, lanes);
            if (z) {
                if (ahead) __builtin_prefetch(z + at + ahead);
                v += bv * pn_widen_lanes(z + at, lanes) + qv;
            }
            pn_store(g + p * g_step + k, v);
        }
    }
}

/* ---- the products ---------------------------------------------------------------------------- */

/* Packs a matrix of I rows of J columns, element (i,j) at src[i*si + j*sj], into strips of two
 * vectors of columns as long as both are full, then of one; zeros above J. */
static inline size_t pn_packed(int I, int J) { return (size_t)I * pn_padded(J); }
static inline void pn_pack(int I, int J, const float *src, size_t si, size_t sj, float *packed) {
    const int Jp = pn_padded(J);
    for (int j0 = 0, width; j0 < Jp; j0 += width) {
        width = J - j0 >= 2 * PN_LANES ? 2 * PN_LANES : PN_LANES;
        for (int i = 0; i < I; i++)
            for (int j = j0; j < j0 + width; j++) *packed++ = j < J ? src[i * si + j * sj] : 0;
    }
}

/* acc[p][b] = sum over c < C of in[p][c] * w[c][b], w a strip of nb vectors; C is even. Asks for
 * C / 2 lines from `next` on the way, or for nothing (NULL). */
PN_INLINE void pn_product(const int px, const int nb, const int C, const float *in, size_t in_step,
                          const float *w, const char *next, pn_vf acc[PN_BLOCK][2]) {
    PN_UNROLL for (int p = 0; p < px; p++) PN_UNROLL for (int b = 0; b < nb; b++) acc[p][b] =
        (pn_vf){0};
    for (int c = 0; c < C; c += 2) {
        if (next) __builtin_prefetch(next + c * (PN_LINE / 2));
        PN_UNROLL for (int i = 0; i < 2; i++, w += nb * PN_LANES) {
            pn_vf wv[2];
            PN_UNROLL for (int b = 0; b < nb; b++) wv[b] = pn_load(w + b * PN_LANES);
            PN_UNROLL for (int p = 0; p < px; p++) {
                const pn_vf v = pn_splat(in[p * in_step + c + i]);
                PN_UNROLL for (int b = 0; b < nb; b++) acc[p][b] += v * wv[b];
            }
        }
    }
}

/* dw[c][k] += sum over n pixels of r[p][c] * g[p][k]: oc rows, nb vectors. */
PN_INLINE void pn_outer_block(const int oc, const int nb, const float *r, size_t r_step,
                              const float *g, size_t g_step, int n, float *dw, size_t dw_step,
                              pn_prefetches *ahead) {
    pn_vf acc[16][2];
    const char *next = ahead ? pn_prefetches_take(ahead, n, r) : NULL;
    PN_UNROLL for (int c = 0; c < oc; c++) PN_UNROLL for (int b = 0; b < nb; b++) acc[c][b] =
        (pn_vf){0};
    for (int p = 0; p < n; p++, r += r_step, g += g_step) {
        pn_vf gv[2];
        if (ahead) __builtin_prefetch(next + p * PN_LINE);
        PN_UNROLL for (int b = 0; b < nb; b++) gv[b] = pn_load(g + b * PN_LANES);
        PN_UNROLL for (int c = 0; c < oc; c++) {
            const pn_vf v = pn_splat(r[c]);
            PN_UNROLL for (int b = 0; b < nb; b++) acc[c][b] += v * gv[b];
        }
    }
    PN_UNROLL for (int c = 0; c < oc; c++) PN_UNROLL for (int b = 0; b < nb; b++)
        pn_add_to(dw + c * dw_step + b * PN_LANES, acc[c][b]);
}
/* The same for all C rows and K columns; touches rows up to the next multiple of 16, and whole
 * vectors of columns. Asks for a line of `ahead` (or NULL) a block and pixel. */
PN_INLINE void pn_outer(const int C, const int K, const float *r, size_t r_step, const float *g,
                        size_t g_step, int n, float *dw, size_t dw_step, pn_prefetches *ahead) {
    int k = 0;
    for (; k + PN_LANES < K; k += 2 * PN_LANES)
        for (int c = 0; c < C; c += PN_OUTER)
            pn_outer_block(PN_OUTER, 2, r + c, r_step, g + k, g_step, n, dw + c * dw_step + k,
                           dw_step, ahead);
    if (k < K)
        for (int c = 0; c < C; c += 2 * PN_OUTER)
            pn_outer_block(2 * PN_OUTER, 1, r + c, r_step, g + k, g_step, n, dw + c * dw_step + k,
                           dw_step, ahead);
}
PN_INLINE int pn_outer_rows(int C) { return (C + 15) / 16 * 16; }

/* ---- after: z and its statistics, dx and its sums -------------------------------------------- */

/* Stores the first n of a block's pixels (the rest is rubbish), adds them to the shifted sums.
 * Those stay in memory, so that the product has all registers to itself, and so that sums are of
 * sums. */
PN_INLINE void pn_z_block(const int px, int n, const int nb, int lanes, pn_vf acc[PN_BLOCK][2],
                          pn_stored *z, size_t z_step, float *partial, int Kp) {
    PN_UNROLL for (int b = 0; b < nb; b++) {
        const pn_vf pivot = pn_load(partial + b * PN_LANES);
        pn_vf sum = {0}, squares = {0};
        PN_UNROLL for (int p = 0; p < px; p++) {
            if (p >= n) continue;
            const pn_vf d = acc[p][b] - pivot;
            sum += d;
            squares += d * d;
            pn_narrow_lanes(z + p * z_step + b * PN_LANES, acc[p][b], lanes);
        }
        pn_add_to(partial + Kp + b * PN_LANES, sum);
        pn_add_to(partial + 2 * Kp + b * PN_LANES, squares);
    }
}
/* The same of a block of which fewer pixels are left than it has. Once for all sizes: whole blocks
 * are what takes the time, and every copy takes the compiler's. The caller hands over a copy, or
 * its accumulators would live in memory. */
PN_OUTLINE void pn_z_tail(int n, int nb, int lanes, pn_vf acc[PN_BLOCK][2], pn_stored *z,
                          size_t z_step, float *partial, int Kp) {
    if (nb == 2)
        pn_z_block(PN_WIDE, n, 2, lanes, acc, z, z_step, partial, Kp);
    else
        pn_z_block(PN_BLOCK, n, 1, lanes, acc, z, z_step, partial, Kp);
}
PN_INLINE void pn_z_strip(const int px, const int nb, int lanes, const int C, int Kp,
                          const float *in, const size_t in_step, int n, const float *w,
                          pn_stored *z, size_t z_step, size_t ahead, int first, float *partial,
                          pn_prefetches *next) {
    for (int p = 0; p < n; p += px, z += px * z_step) {
        pn_vf acc[PN_BLOCK][2];
        PN_UNROLL for (int i = 0; i < px; i++) PN_PREFETCH(z + i * z_step + ahead, nb, 1);
        const char *lines = NULL;
        if (next && nb > 1) lines = pn_prefetches_take(next, C / 2, in);
        if (next && nb == 1)
            pn_prefetches_lines(next, C / 2); /* the product has no load to spare */
        pn_product(px, nb, C, in + p * in_step, in_step, w, lines, acc);
        if (first && p == 0) {
            PN_UNROLL for (int b = 0; b < nb; b++) pn_store(partial + b * PN_LANES, acc[0][b]);
        }
        if (p + px <= n) {
            pn_z_block(px, px, nb, lanes, acc, z, z_step, partial, Kp);
        } else {
            pn_vf last[PN_BLOCK][2];
            PN_UNROLL for (int i = 0; i < px; i++) PN_UNROLL for (int b = 0; b < nb; b++)
                last[i][b] = acc[i][b];
            pn_z_tail(n - p, nb, lanes, last, z, z_step, partial, Kp);
        }
    }
}
/* z = W^T in for n pixels, z_step floats apart, and the sums in the chunk's partial of three rows
 * (see norm.h). `first`: these are the chunk's first pixels, and the first of them becomes the
 * pivot. `ahead`: floats to the pixels of z that the next call will write. `next`: what else it
 * will need, or NULL. */
PN_INLINE void pn_z_pixels(const int C, const int K, const float *in, const size_t in_step, int n,
                           const float *w, pn_stored *z, size_t z_step, size_t ahead, int first,
                           float *partial, pn_prefetches *next) {
    const int Kp = pn_padded(K);
    int k = 0;
    for (; k + 2 * PN_LANES <= K; k += 2 * PN_LANES)
        pn_z_strip(PN_WIDE, 2, PN_LANES, C, Kp, in, in_step, n, w + (size_t)k * C, z + k, z_step,
                   ahead, first, partial + k, next);
    for (; k + PN_LANES <= K; k += PN_LANES)
        pn_z_strip(PN_BLOCK, 1, PN_LANES, C, Kp, in, in_step, n, w + (size_t)k * C, z + k, z_step,
                   ahead, first, partial + k, next);
    if (k < K)
        pn_z_strip(PN_BLOCK, 1, K - k, C, Kp, in, in_step, n, w + (size_t)k * C, z + k, z_step,
                   ahead, first, partial + k, next);
}

/* A run of an input's pixels whose gradient is made. */
typedef struct pn_dx {
    pn_stored *dx;
    const pn_stored *x;
    const float *r; /* relu(v) of the same pixels, in a workspace */
    size_t ahead;   /* floats to the pixels that the next call will write */
    int add;
    const float *mean, *rstd; /* padded. NULL: no gamma, no beta, so xhat is r where r > 0 */
} pn_dx;

/* dx (+)= acc where relu is open, for the first n of a block's pixels, which starts at pixel p,
 * one vector from channel c; and the two sums of the BatchNorm below, Cp apart. Pixels are `step`
 * floats apart in x and dx, r_step in r. */
PN_INLINE void pn_dx_block(const pn_dx *d, const size_t step, const size_t r_step, size_t p, int c,
                           const int px, int n, int lanes, const int stride, const pn_vf *acc,
                           float *sums, const int Cp) {
    const float *r = d->r + p * r_step + c;
    pn_stored *dx = d->dx + p * step + c;
    pn_vf t[PN_BLOCK], s1 = {0}, s2 = {0};
    PN_UNROLL for (int i = 0; i < px; i++) {
        const pn_vf ri = pn_load(r + i * r_step);
        __builtin_prefetch(dx + i * step + d->ahead, 1);
        t[i] = pn_where_positive(ri, acc[i * stride]);
        if (i >= n) continue;
        s1 += t[i];
        if (!d->mean) s2 += t[i] * ri;
    }
    if (d->mean) {
        const pn_vf mean = pn_load(d->mean + c), rstd = pn_load(d->rstd + c);
        PN_UNROLL for (int i = 0; i < px; i++) {
            if (i >= n) continue;
            s2 += t[i] * (pn_widen_lanes(d->x + (p + i) * step + c, lanes) - mean) * rstd;
        }
    }
    pn_add_to(sums + c, s1);
    pn_add_to(sums + Cp + c, s2);
    if (d->add) {
        PN_UNROLL for (int i = 0; i < px; i++) {
            if (i < n) t[i] += pn_widen_lanes(dx + i * step, lanes);
        }
    }
    PN_UNROLL for (int i = 0; i < px; i++) {
        if (i < n) pn_narrow_lanes(dx + i * step, t[i], lanes);
    }
}

PN_OUTLINE void pn_dx_tail_of(const pn_dx *d, size_t step, size_t r_step, size_t p, int c, int n,
                              int lanes, const pn_vf *acc, float *sums, int Cp) {
    pn_dx_block(d, step, r_step, p, c, PN_BLOCK, n, lanes, 1, acc, sums, Cp);
}
/* The same of a block of px pixels of which n are left; out of line as pn_z_tail. */
PN_INLINE void pn_dx_tail(const pn_dx *d, size_t step, size_t r_step, size_t p, int c, const int px,
                          int n, int lanes, const int stride, const pn_vf *acc, float *sums,
                          int Cp) {
    pn_vf last[PN_BLOCK] = {{0}};
    PN_UNROLL for (int i = 0; i < px; i++) last[i] = acc[i * stride];
    pn_dx_tail_of(d, step, r_step, p, c, n, lanes, last, sums, Cp);
}

/* ---- the partials of a weight gradient ------------------------------------------------------- */

/* to[i][k] += the sum over the chunks of partials[chunk][i][k] in their order, for a share of the I
 * rows; to is packed, rows of the partials are `stride` floats. */
static inline void pn_add_partials(float *to, int I, int K, int share, int chunks,
                                   const float *partials, size_t partial_floats, size_t stride) {
    for (int i = I * share / PN_SHARES; i < I * (share + 1) / PN_SHARES; i++)
        for (int k = 0; k < K; k += PN_LANES) {
            const int lanes = pn_lanes(K, k);
            const float *from = partials + i * stride + k;
            pn_vf sum = pn_load(from);
            for (int chunk = 1; chunk < chunks; chunk++)
                sum += pn_load(from + chunk * partial_floats);
            float *p = to + (size_t)i * K + k;
            pn_store_lanes(p, pn_load_lanes(p, lanes) + sum, lanes);
        }
}

#endif
