/* ---- vectors --------------------------------------------------------------------------------- */

/* LANES numbers at a time where the compiler has vectors (gcc, clang), one elsewhere. */
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
#if defined(__GNUC__) && !defined(NAME_SCALAR)
#ifdef __AVX__
#define LANES 8
#else
#define LANES 4
#endif
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int mask __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
INLINE vector larger(vector a, vector b) {
    const mask m = a > b;
    return (vector)(((mask)a & m) | ((mask)b & ~m));
}
INLINE vector all(float x) { return x - (vector){0}; }
#else
#define LANES 1
typedef float vector;
INLINE vector larger(vector a, vector b) { return a > b ? a : b; }
INLINE vector all(float x) { return x; }
#endif
INLINE vector load(const float *x) { return *(const vector *)x; }
INLINE void store(float *x, vector v) { *(vector *)x = v; }

enum { PANEL = 16, NARROW = 8, TILE = 6 };

/* ---- what all convolutions end in ------------------------------------------------------------ */

/* out = x * w + bias [+ add] for `pixels` pixels of C numbers each and `width` outputs, of which
 * the first `valid` are written. w: (C,width). */
INLINE void tile(int pixels, int width, const float *x, int C, int x_step, const float *w,
                 const float *bias, const float *add, int add_step, float *out, int out_step,
                 int valid) {
    vector sum[TILE][PANEL / LANES];
    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < width / LANES; v++) sum[p][v] = load(bias + v * LANES);
    for (int c = 0; c < C; c++, w += width)
        for (int v = 0; v < width / LANES; v++) {
            const vector weight = load(w + v * LANES);
            for (int p = 0; p < pixels; p++) sum[p][v] += x[p * x_step + c] * weight;
        }
    for (int p = 0; p < pixels; p++) {
        float *to = out + p * out_step;
        if (valid == width) {
            for (int v = 0; v < width / LANES; v++) {
                if (add) sum[p][v] += load(add + p * add_step + v * LANES);
                store(to + v * LANES, sum[p][v]);
            }
        } else {
            float some[PANEL];
            for (int v = 0; v < width / LANES; v++) store(some + v * LANES, sum[p][v]);
            for (int k = 0; k < valid; k++) to[k] = some[k] + (add ? add[p * add_step + k] : 0);
        }
    }
}

/* The same for any number of pixels. */
INLINE void panel(int width, const float *x, int pixels, int C, int x_step, const float *w,
                  const float *bias, const float *add, int add_step, float *out, int out_step,
                  int valid) {
    while (pixels > 0) {
        const int n = pixels >= 10 || pixels == TILE ? TILE : pixels >= 4 ? 4 : 1;
#define TILE_OF(n) tile(n, width, x, C, x_step, w, bias, add, add_step, out, out_step, valid)
        if (n == TILE)
            TILE_OF(TILE);
        else if (n == 4)
            TILE_OF(4);
        else
            TILE_OF(1);
#undef TILE_OF
        x += n * x_step;
        out += n * out_step;
        if (add) add += n * add_step;
        pixels -= n;
    }
}

/* out (pixels,K) = x (pixels,C) * w + bias [+ add]. The weights are (C,width) for every panel of 16
 * outputs, or of 8 where no more are left; what is too much is 0. `add` may be `out`. */
SHARED void matrix(const float *x, int pixels, int C, int x_step, const float *w, const float *bias,
                   int K, const float *add, int add_step, float *out, int out_step) {
    for (int k = 0; k < K;) {
        const int left = K - k, width = left > NARROW ? PANEL : NARROW;
        const int valid = left < width ? left : width;
        if (width == PANEL)
            panel(PANEL, x, pixels, C, x_step, w, bias + k, add ? add + k : 0, add_step, out + k,
                  out_step, valid);
        else
            panel(NARROW, x, pixels, C, x_step, w, bias + k, add ? add + k : 0, add_step, out + k,
                  out_step, valid);
        w += width * C;
        k += width;
    }
}

/* to = from, [0 where it is negative,] C numbers. */
INLINE void copy(float *to, const float *from, int C, int relu) {
    int c = 0;
    for (; c + LANES <= C; c += LANES) {
        vector v = load(from + c);
        if (relu) v = larger(v, all(0));
        store(to + c, v);
    }
    for (; c < C; c++) to[c] = relu && !(from[c] > 0) ? 0 : from[c];
}

/* ---- convolutions ---------------------------------------------------------------------------- */

/* [ReLU,] R x R convolution of all channels. `chunk` pixels at a time are gathered in `rows`
 * (chunk,R,R,C). Pixel (p,q) is in the middle of (p*stride + shift, q*stride + shift). */
SHARED void convolution(const float *x, int x_step, int H, int W, int C, int relu, int R,
                        int stride, int shift, const float *w, const float *bias, int K,
                        const float *add, int add_step, float *out, int out_step, float *rows,
                        int chunk) {
    const int P = (H + stride - 1) / stride, Q = (W + stride - 1) / stride, length = R * R * C;
    for (int first = 0; first < P * Q; first += chunk) {
        const int n = P * Q - first < chunk ? P * Q - first : chunk;
        float *to = rows;
        for (int i = 0; i < n; i++) {
            const int p = (first + i) / Q, q = (first + i) % Q;
            for (int tap = 0; tap < R * R; tap++, to += C) {
                const int h = p * stride + shift + tap / R - R / 2;
                const int v = q * stride + shift + tap % R - R / 2;
                if (h >= 0 && h < H && v >= 0 && v < W)
                    copy(to, x + (h * W + v) * x_step, C, relu);
                else
                    for (int c = 0; c < C; c++) to[c] = 0;
            }
        }
        matrix(rows, n, length, length, w, bias, K, add ? add + first * add_step : 0, add_step,
               out + first * out_step, out_step);
    }
}

/* A row of the depthwise convolution, pixels q to q + tile of LANES channels. */
INLINE void taps(int tile, int R, int stride, int dilation, const float *const *row, int at, int C,
                 const float *w, float *out) {
    vector sum[8];
    for (int t = 0; t < tile; t++) sum[t] = all(0);
    for (int i = 0; i < R; i++)
        for (int j = 0; j < R; j++) {
            const vector weight = load(w + (i * R + j) * C);
            for (int t = 0; t < tile; t++)
                sum[t] += load(row[i] + at + (t * stride + j * dilation) * C) * weight;
        }
    for (int t = 0; t < tile; t++) store(out + t * C, sum[t]);
}

/* (The last tile may begin inside the one before.) */
INLINE void depthwise(int R, int stride, int dilation, const float *const *row, int C,
                      const float *w, float *out, int Q) {
    const int tile = Q >= 8 ? 8 : Q >= 4 ? 4 : 1;
    for (int c = 0; c < C; c += LANES)
        for (int q = 0; q < Q; q += tile) {
            const int from = q + tile <= Q ? q : Q - tile, at = from * stride * C + c;
            float *to = out + from * C + c;
            if (tile == 8)
                taps(8, R, stride, dilation, row, at, C, w + c, to);
            else if (tile == 4)
                taps(4, R, stride, dilation, row, at, C, w + c, to);
            else
                taps(1, R, stride, dilation, row, at, C, w + c, to);
        }
}

/* ReLU, depthwise R x R convolution, 1x1 convolution. C is rounded up to 8 inside: `ring` has the
 * last (R-1)*dilation + 1 rows of the image and a row of zeros, (W + 2*pad, C) each, and `rows` has
 * `chunk` rows of the result of the depthwise one. dw: (R,R,C) */
INLINE void stage(int R, int stride, int dilation, const float *x, int x_step, int H, int W,
                  int channels, const float *dw, const float *w, const float *bias, int K,
                  const float *add, int add_step, float *out, int out_step, float *ring,
                  float *rows, int chunk) {
    const int P = (H + stride - 1) / stride, Q = (W + stride - 1) / stride;
    const int C = (channels + 7) / 8 * 8, pad = dilation * (R / 2), length = (W + 2 * pad) * C;
    const int kept = (R - 1) * dilation + 1;
    float *zeros = ring + kept * length;
    for (int i = 0; i < (kept + 1) * length; i++) ring[i] = 0;
    int next = 0; /* row of the image to be copied */
    for (int first = 0; first < P; first += chunk) {
        const int n = P - first < chunk ? P - first : chunk;
        for (int p = first; p < first + n; p++) {
            const float *row[5];
            for (; next < H && next <= p * stride - pad + kept - 1; next++) {
                float *to = ring + next % kept * length + pad * C;
                for (int v = 0; v < W; v++)
                    copy(to + v * C, x + (next * W + v) * x_step, channels, 1);
            }
            for (int i = 0; i < R; i++) {
                const int h = p * stride - pad + i * dilation;
                row[i] = h >= 0 && h < H ? ring + h % kept * length : zeros;
            }
            depthwise(R, stride, dilation, row, C, dw, rows + (p - first) * Q * C, Q);
        }
        matrix(rows, n * Q, channels, C, w, bias, K, add ? add + first * Q * add_step : 0, add_step,
               out + first * Q * out_step, out_step);
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* 3x3 pool, padding 1. */
SHARED void pool(int average, const float *x, int x_step, int H, int W, int C, int stride,
                 const float *add, int add_step, float *out, int out_step) {
    for (int p = 0; p * stride < H; p++)
        for (int q = 0; q * stride < W; q++) {
            const int top = p * stride > 0 ? p * stride - 1 : 0;
            const int left = q * stride > 0 ? q * stride - 1 : 0;
            const int bottom = p * stride + 2 < H ? p * stride + 2 : H;
            const int right = q * stride + 2 < W ? q * stride + 2 : W;
            const float share = average ? 1.0F / (float)((bottom - top) * (right - left)) : 1;
            int c = 0;
            for (; c + LANES <= C; c += LANES) {
                vector v = all(0);
                if (!average) v = load(x + (top * W + left) * x_step + c);
                for (int h = top; h < bottom; h++)
                    for (int i = left; i < right; i++) {
                        const vector one = load(x + (h * W + i) * x_step + c);
                        if (average)
                            v += one;
                        else
                            v = larger(v, one);
                    }
                v *= share;
                if (add) v += load(add + c);
                store(out + c, v);
            }
            for (; c < C; c++) {
                float v = average ? 0 : x[(top * W + left) * x_step + c];
                for (int h = top; h < bottom; h++)
                    for (int i = left; i < right; i++) {
                        const float one = x[(h * W + i) * x_step + c];
                        v = average ? v + one : one > v ? one : v;
                    }
                out[c] = v * share + (add ? add[c] : 0);
            }
            if (add) add += add_step;
            out += out_step;
        }
}

/* out = a + b */
SHARED void add_two(const float *a, int a_step, const float *b, int b_step, int pixels, int C,
                    float *out, int out_step) {
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++) out[p * out_step + c] = a[p * a_step + c] + b[p * b_step + c];
}

/* The mean over all pixels. */
SHARED void mean(const float *x, int x_step, int pixels, int C, float *out) {
    for (int c = 0; c < C; c++) out[c] = 0;
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++) out[c] += x[p * x_step + c];
    for (int c = 0; c < C; c++) out[c] /= (float)pixels;
}
