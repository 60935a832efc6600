/* ---- vectors --------------------------------------------------------------------------------- */

/* LANES numbers at a time where the compiler has vectors (gcc, clang), one elsewhere. A number x is
 * q * scale, q a signed char in -127..127; sums are ints. */
#ifdef __clang__
#define INLINE static inline __attribute__((always_inline, unused))
#define SHARED static __attribute__((noinline, unused))
#elif defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline, unused))
#define SHARED static __attribute__((noinline, noclone, unused))
#else
#define INLINE static inline
#define SHARED static
#endif
#if (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 9)) && !defined(NAME_SCALAR)
#ifdef __AVX2__
#define LANES 8
#else
#define LANES 4
#endif
typedef signed char bytes __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef int vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
INLINE vector widen(const signed char *x) {
    return __builtin_convertvector(*(const bytes *)x, vector);
}
#else
#define LANES 1
typedef int vector;
INLINE vector widen(const signed char *x) { return *x; }
#endif
INLINE vector load(const int *x) { return *(const vector *)x; }
INLINE void store(int *x, vector v) { *(vector *)x = v; }

enum { PANEL = 16, NARROW = 8, TILE = 4, HIGHEST = 127 };

/* (sum * m + addend * m2) / 2^shift, rounded, in -127..127. */
INLINE signed char narrow(int sum, int m, int addend, int m2, int shift) {
    const long long wide =
        ((long long)sum * m + (long long)addend * m2 + (1LL << (shift - 1))) >> shift;
    return (signed char)(wide > HIGHEST ? HIGHEST : wide < -HIGHEST ? -HIGHEST : wide);
}

/* ---- what all convolutions end in ------------------------------------------------------------ */

/* out = narrow(x * w + bias [, addend]) for `pixels` pixels of C numbers each and `width` outputs,
 * of which the first `valid` are written. w: (C,width). */
INLINE void tile(int pixels, int width, const signed char *x, int C, int x_step,
                 const signed char *w, const int *bias, const int *m, const signed char *add,
                 int add_step, int add_m, signed char *out, int out_step, int shift, int valid) {
    vector sum[TILE][PANEL / LANES];
    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < width / LANES; v++) sum[p][v] = load(bias + v * LANES);
    for (int c = 0; c < C; c++, w += width)
        for (int v = 0; v < width / LANES; v++) {
            const vector weight = widen(w + v * LANES);
            for (int p = 0; p < pixels; p++) sum[p][v] += x[p * x_step + c] * weight;
        }
    for (int p = 0; p < pixels; p++) {
        int all[PANEL];
        for (int v = 0; v < width / LANES; v++) store(all + v * LANES, sum[p][v]);
        for (int k = 0; k < valid; k++)
            out[p * out_step + k] =
                narrow(all[k], m[k], add ? add[p * add_step + k] : 0, add_m, shift);
    }
}

/* out (pixels,K) = x (pixels,C) * w + bias [+ add]. The weights are (C,width) for every panel of 16
 * outputs, or of 8 where no more are left; what is too much is 0. `m` has a multiplier for each
 * output. `add` may be `out`. */
SHARED void matrix(const signed char *x, int pixels, int C, int x_step, const signed char *w,
                   const int *bias, const int *m, int K, const signed char *add, int add_step,
                   int add_m, signed char *out, int out_step, int shift) {
    for (int k = 0; k < K;) {
        const int left = K - k, width = left > NARROW ? PANEL : NARROW;
        const int valid = left < width ? left : width;
        for (int p = 0; p < pixels;) {
            const int n = pixels - p >= TILE ? TILE : 1;
#define TILE_OF(n, width)                                                                     \
    tile(n, width, x + p * x_step, C, x_step, w, bias + k, m + k,                             \
         add ? add + p * add_step + k : 0, add_step, add_m, out + p * out_step + k, out_step, \
         shift, valid)
            if (n == TILE && width == PANEL)
                TILE_OF(TILE, PANEL);
            else if (n == TILE)
                TILE_OF(TILE, NARROW);
            else if (width == PANEL)
                TILE_OF(1, PANEL);
            else
                TILE_OF(1, NARROW);
#undef TILE_OF
            p += n;
        }
        w += width * C;
        k += width;
    }
}

/* to = from, [0 where it is negative,] C numbers. */
INLINE void copy(signed char *to, const signed char *from, int C, int relu) {
    const signed char least = relu ? 0 : -HIGHEST;
    for (int c = 0; c < C; c++) to[c] = from[c] < least ? least : from[c];
}

/* ---- convolutions ---------------------------------------------------------------------------- */

/* [ReLU,] R x R convolution of all channels. `chunk` pixels at a time are gathered in `rows`
 * (chunk,R,R,C). Pixel (p,q) is in the middle of (p*stride + moved, q*stride + moved). */
SHARED void convolution(const signed char *x, int x_step, int H, int W, int C, int relu, int R,
                        int stride, int moved, const signed char *w, const int *bias, const int *m,
                        int K, const signed char *add, int add_step, int add_m, signed char *out,
                        int out_step, int shift, signed char *rows, int chunk) {
    const int P = (H + stride - 1) / stride, Q = (W + stride - 1) / stride, length = R * R * C;
    for (int first = 0; first < P * Q; first += chunk) {
        const int n = P * Q - first < chunk ? P * Q - first : chunk;
        signed char *to = rows;
        for (int i = 0; i < n; i++) {
            const int p = (first + i) / Q, q = (first + i) % Q;
            for (int tap = 0; tap < R * R; tap++, to += C) {
                const int h = p * stride + moved + tap / R - R / 2;
                const int v = q * stride + moved + tap % R - R / 2;
                if (h >= 0 && h < H && v >= 0 && v < W)
                    copy(to, x + (h * W + v) * x_step, C, relu);
                else
                    for (int c = 0; c < C; c++) to[c] = 0;
            }
        }
        matrix(rows, n, length, length, w, bias, m, K, add ? add + first * add_step : 0, add_step,
               add_m, out + first * out_step, out_step, shift);
    }
}

/* A row of the depthwise convolution. m: a multiplier for each channel. */
INLINE void depthwise(int R, int stride, int dilation, const signed char *const *row, int C,
                      const signed char *w, const int *m, int shift, signed char *out, int Q) {
    for (int q = 0; q < Q; q++)
        for (int c = 0; c < C; c += LANES) {
            vector sum = widen(row[0] + q * stride * C + c) * widen(w + c);
            for (int tap = 1; tap < R * R; tap++)
                sum += widen(row[tap / R] + (q * stride + tap % R * dilation) * C + c) *
                       widen(w + tap * C + c);
            int all[LANES];
            store(all, sum);
            for (int i = 0; i < LANES; i++)
                out[q * C + c + i] = narrow(all[i], m[c + i], 0, 0, shift);
        }
}

/* ReLU, depthwise R x R convolution, 1x1 convolution. C is rounded up to 8 inside: `ring` has the
 * last (R-1)*dilation + 1 rows of the image and a row of zeros, (W + 2*pad, C) each, and `rows` has
 * `chunk` rows of the result of the depthwise one. dw: (R,R,C) */
INLINE void stage(int R, int stride, int dilation, const signed char *x, int x_step, int H, int W,
                  int channels, const signed char *dw, const int *dm, int dw_shift,
                  const signed char *w, const int *bias, const int *m, int K,
                  const signed char *add, int add_step, int add_m, signed char *out, int out_step,
                  int shift, signed char *ring, signed char *rows, int chunk) {
    const int P = (H + stride - 1) / stride, Q = (W + stride - 1) / stride;
    const int C = (channels + 7) / 8 * 8, pad = dilation * (R / 2), length = (W + 2 * pad) * C;
    const int kept = (R - 1) * dilation + 1;
    signed char *zeros = ring + kept * length;
    for (int i = 0; i < (kept + 1) * length; i++) ring[i] = 0;
    int next = 0; /* row of the image to be copied */
    for (int first = 0; first < P; first += chunk) {
        const int n = P - first < chunk ? P - first : chunk;
        for (int p = first; p < first + n; p++) {
            const signed char *row[5] = {zeros, zeros, zeros, zeros, zeros};
            for (; next < H && next <= p * stride - pad + kept - 1; next++) {
                signed char *to = ring + next % kept * length + pad * C;
                for (int v = 0; v < W; v++)
                    copy(to + v * C, x + (next * W + v) * x_step, channels, 1);
            }
            for (int i = 0; i < R; i++) {
                const int h = p * stride - pad + i * dilation;
                row[i] = h >= 0 && h < H ? ring + h % kept * length : zeros;
            }
            depthwise(R, stride, dilation, row, C, dw, dm, dw_shift, rows + (p - first) * Q * C, Q);
        }
        matrix(rows, n * Q, channels, C, w, bias, m, K, add ? add + first * Q * add_step : 0,
               add_step, add_m, out + first * Q * out_step, out_step, shift);
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* 3x3 pool, padding 1. */
SHARED void pool(int average, const signed char *x, int x_step, int H, int W, int C, int stride,
                 int m, const signed char *add, int add_step, int add_m, signed char *out,
                 int out_step, int shift) {
    for (int p = 0; p * stride < H; p++)
        for (int q = 0; q * stride < W; q++) {
            const int top = p * stride > 0 ? p * stride - 1 : 0;
            const int left = q * stride > 0 ? q * stride - 1 : 0;
            const int bottom = p * stride + 2 < H ? p * stride + 2 : H;
            const int right = q * stride + 2 < W ? q * stride + 2 : W;
            const int share = average ? m / ((bottom - top) * (right - left)) : m;
            for (int c = 0; c < C; c++) {
                int v = average ? 0 : -HIGHEST;
                for (int h = top; h < bottom; h++)
                    for (int i = left; i < right; i++) {
                        const int one = x[(h * W + i) * x_step + c];
                        v = average ? v + one : one > v ? one : v;
                    }
                out[c] = narrow(v, share, add ? add[c] : 0, add_m, shift);
            }
            if (add) add += add_step;
            out += out_step;
        }
}

/* out = a + b */
SHARED void add_two(const signed char *a, int a_step, int a_m, const signed char *b, int b_step,
                    int b_m, int pixels, int C, signed char *out, int out_step, int shift) {
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++)
            out[p * out_step + c] = narrow(a[p * a_step + c], a_m, b[p * b_step + c], b_m, shift);
}

/* logits = (the sum of w * the mean over all pixels, in units of 1 / factor) * scale + bias. */
SHARED void linear(const signed char *x, int x_step, int pixels, int C, int factor,
                   const signed char *w, int K, const float *scale, const float *bias, int *pooled,
                   float *logits) {
    for (int c = 0; c < C; c++) pooled[c] = 0;
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++) pooled[c] += x[p * x_step + c];
    for (int c = 0; c < C; c++) {
        const long long wide = (long long)pooled[c] * factor * 2;
        pooled[c] = (int)((wide + (wide < 0 ? -pixels : pixels)) / (2LL * pixels));
    }
    for (int k = 0; k < K;) {
        const int left = K - k, width = left > NARROW ? PANEL : NARROW;
        int sum[PANEL] = {0};
        for (int c = 0; c < C; c++, w += width)
            for (int i = 0; i < width; i++) sum[i] += pooled[c] * w[i];
        for (int i = 0; i < width && k + i < K; i++)
            logits[k + i] = (float)sum[i] * scale[k + i] + bias[k + i];
        k += width;
    }
}
