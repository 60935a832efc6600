/* kernels/cuda/pool.cu -- 3x3 maximum and average, padding 1, stride 1 or 2.
 *
 * Bound by memory. At stride 1 forward reads x and writes z, 8 bytes an element; backward reads x
 * (an average: only for the sums), dy and z and writes dx, 16 bytes, 20 where it adds to dx. The
 * 25 (forward) to 70 (backward) instructions an element take half of that time on an H100, less on
 * smaller cards (counted, not timed). Two blocks a multiprocessor: what is in flight makes
 * up for warps.
 *
 * A window is separable: three neighbours along a row, then three rows. A thread owns a column of
 * outputs (and a quad of channels) and walks down a segment of rows, so that a row of three is
 * looked at once for all of the windows it is in; its neighbours' columns come from L1. Forward, a
 * tile is a band of output rows.
 *
 * Backward: the first of equals in row order is in the first row whose own maximum is the window's,
 * and in it the first column. So a thread that walks down gives each window's gradient to one of
 * three rows (of an average: to all three, in equal shares) and lays the sum of each row, its
 * "spread", into shared memory, with a byte a channel that says which of the three neighbours the
 * row's maximum is. After a barrier every input pixel gathers from the spread of three columns:
 * 3 reads instead of 9, every dx written once, nothing scattered. A tile is a rectangle of input
 * pixels whose spread fits in ROOM bytes. */
#include "kernels/cuda/places.h"

namespace {

__device__ __forceinline__ float4 max4(float4 a, float4 b) {
    return make_float4(fmaxf(a.x, b.x), fmaxf(a.y, b.y), fmaxf(a.z, b.z), fmaxf(a.w, b.w));
}

/* 1 / pixels of a window, `rows` by `columns` of them inside the image, 1 to 3 each. */
__device__ __forceinline__ float one_of(int n) { return n == 3 ? 1 / 3.0f : n == 2 ? 0.5f : 1; }
__device__ __forceinline__ float share_of(int rows, int columns) {
    return one_of(rows) * one_of(columns);
}

/* Three neighbours in a row: the middle one and, in floats from it, the ones beside it. Those
 * outside the image stand for the middle one (0), which never wins against itself. */
struct three {
    int left, right;
    __device__ __forceinline__ bool has_left() const { return left != 0; }
    __device__ __forceinline__ bool has_right() const { return right != 0; }
    __device__ __forceinline__ int inside() const { return 1 + has_left() + has_right(); }
};
__device__ __forceinline__ three three_at(int w, int W, int C) {
    return {w > 0 ? -C : 0, w + 1 < W ? C : 0};
}

/* v = scale * x + shift: norm4 in two thirds of its registers. (The mean times the scale is rounded
 * as x was when it was stored.) */
struct affine4 {
    float4 scale, shift;
    __device__ __forceinline__ float4 operator()(float4 x) const { return fma4(x, scale, shift); }
};
__device__ inline affine4 load_affine(const pn_norm &n, int C, int quad) {
    const norm4 a = load_norm(n, C, quad);
    return {a.scale, a.shift - a.mean * a.scale};
}

/* ---- forward --------------------------------------------------------------------------------- */

/* Rows of output in a tile: as many as leave two tiles to a block, 4 at least. */
inline int band_of(int N, int P) {
    const int bands = min_of(div_up(P, 4), max_of(div_up(2 * wanted().blocks, max_of(N, 1)), 1));
    return div_up(P, max_of(bands, 1));
}

struct bands_cut : whole {
    int band, bands; /* rows of a tile; tiles in an image */
};

struct pool_forward : one_round {
    using Job = pn_pool;
    using Cut = bands_cut;
    static bool shares_dx(const pn_pool *, int) { return false; }
    static bands_cut cut(const pn_pool *group, int) {
        const pn_pool &job = *group;
        const int P = div_up(job.H, job.stride), band = band_of(job.N, P), bands = div_up(P, band);
        return {whole_of(job.N * bands), band, bands};
    }
    static size_t partial_floats(const pn_pool &job, const bands_cut &) {
        return moments_floats(job.out.norm, job.out.K);
    }
};

struct taps {
    float4 left, middle, right;
};
__device__ __forceinline__ taps load_taps(const pn_stored *middle, three t) {
    return {gpu_read4(middle + t.left), gpu_read4(middle), gpu_read4(middle + t.right)};
}

/* The maximum or the sum of three neighbours. */
template <bool MAX>
__device__ __forceinline__ float4 along(const taps &x, three t, affine4 norm) {
    const float4 l = norm(x.left), m = norm(x.middle), r = norm(x.right);
    if (MAX) return max4(max4(l, m), r);
    return (t.has_left() ? l : splat(0)) + m + (t.has_right() ? r : splat(0));
}

/* Outputs `first` to `end` of a column. x: the middle of the windows in row 0 of the image; z: the
 * column's output in row 0. Each row is asked for before the one above it is looked at. */
template <bool MAX>
__device__ inline void pool_column(const pn_stored *x, pn_stored *z, int x_row, int z_row, three t,
                                   affine4 norm, int stride, int first, int end, int H,
                                   moments *m) {
    float4 above = splat(0), middle = splat(0), below = splat(0);
    const int last = (end - 1) * stride + 1; /* may be H */
    int h = max_of(first * stride - 1, 0);
    taps next = load_taps(x + h * x_row, t);
#pragma unroll 2
    for (; h <= last; h++) {
        const int y = h - 1; /* the middle of a window, if it is one of an output */
        above = middle;
        middle = below;
        const taps now = next;
        if (h + 1 < H && h < last) next = load_taps(x + (h + 1) * x_row, t);
        if (h < H) below = along<MAX>(now, t, norm);
        if (y < first * stride || (y & (stride - 1))) continue;
        const bool up = y > 0, down = h < H;
        float4 v;
        if (MAX) {
            v = max4(max4(up ? above : middle, middle), below); /* the last row: middle again */
        } else {
            v = (up ? above : splat(0)) + middle + (down ? below : splat(0));
            v = share_of(1 + up + down, t.inside()) * v;
        }
        gpu_store4(z + (y >> (stride - 1)) * z_row, v);
        m->add(v);
    }
}

/* The block's tiles of a job; gives back the pixels of output in them. */
template <bool MAX>
__device__ inline int pool_tiles(const pn_pool &job, const place<pool_forward> &p, const columns &c,
                                 moments *m) {
    const int C = job.in.C, stride = job.stride;
    const int P = div_up(job.H, stride), Q = div_up(job.W, stride);
    const int band = p.cut.band, bands = p.cut.bands;
    /* Rows of threads that a row of output leaves over take segments of the band. */
    const int height = div_up(band, min_of(max_of(c.rows / Q, 1), band));
    const affine4 norm = load_affine(job.in.norm, C, c.active ? c.quad : 0);
    int pixels = 0;
#pragma unroll 1
    for (int tile = p.block; tile < p.tiles; tile += p.blocks) {
        const int n = tile / bands, from = tile % bands * band, to = min_of(from + band, P);
        const int items = c.active ? div_up(to - from, height) * Q : 0;
#pragma unroll 1
        for (int item = c.row; item < items; item += c.rows) {
            const int q = item % Q, first = from + item / Q * height, w = q * stride;
            const int x_row = job.W * C, z_row = Q * C;
            const pn_stored *const x = job.in.x + (size_t)n * job.H * x_row + w * C + 4 * c.quad;
            pn_stored *const z = job.out.z + (size_t)n * P * z_row + q * C + 4 * c.quad;
            pool_column<MAX>(x, z, x_row, z_row, three_at(w, job.W, C), norm, stride, first,
                             min_of(first + height, to), job.H, m);
        }
        pixels += (to - from) * Q;
    }
    return pixels;
}

constexpr size_t FORWARD_BYTES = (2 * FOLD + MAX_CHANNELS) * sizeof(float); /* store_moments */

__global__ void __launch_bounds__(THREADS, 2)
    pool_forward_kernel(const call_of<pool_forward> call) {
    GPU_DYNAMIC(float, room);
    GPU_SHARED(place<pool_forward>, p); /* not in registers: the loops need them */
    const place<pool_forward> found = find_place(call);
    if (threadIdx.x == 0) p = found;
    __syncthreads();
    const pn_pool &job = call.jobs[p.first];
    const pn_norm &norm = job.out.norm;
    const columns c = columns_of(job.in.C);
    moments m = no_moments();
    const int pixels = job.kind == PN_POOL_MAX ? pool_tiles<true>(job, p, c, &m)
                                               : pool_tiles<false>(job, p, c, &m);

    if (norm.mode == PN_NORM_RUNNING && p.block == 0) copy_statistics(norm, job.out.K);
    if (norm.mode != PN_NORM_BATCH) return;
    store_moments(c, m, pixels, room, partial_of(call, p, p.first));
    if (!last_of_slice(call, p)) return;
    const leftover all = what_remains(call, p, p.first);
    finish_statistics(norm, job.out.K, all.first, all.step, all.count);
}

/* ---- backward -------------------------------------------------------------------------------- */

constexpr int ROOM = 20 << 10; /* bytes of spread: 4 for a channel of a pixel, 1 for its winner */

/* How an image is cut into tiles: by shape alone, for jobs that share dx are cut alike. */
struct tiles_cut : whole {
    int rows, columns, down, across; /* of a tile; tiles in an image */
};

/* Most columns of a tile of `rows`; two more, of outputs, reach in from beside it. */
inline int columns_in_room(int rows, int W, int C) {
    const int columns = ROOM / (5 * C * rows);
    return columns >= W ? W : columns - 2;
}

inline tiles_cut cut_of(int N, int H, int W, int C) {
    int rows = N * div_up(H, 8) >= wanted().blocks ? 8 : 4;
    while (rows > 1 && columns_in_room(rows, W, C) < min_of(W, 8)) rows /= 2;
    tiles_cut t;
    t.rows = min_of(rows, H);
    t.down = div_up(H, rows);
    t.across = div_up(W, columns_in_room(rows, W, C));
    t.columns = div_up(W, t.across);
    t.across = div_up(W, t.columns);
    static_cast<whole &>(t) = whole_of(N * t.down * t.across);
    return t;
}

struct pool_backward : one_round {
    using Job = pn_pool;
    using Cut = tiles_cut;
    static bool shares_dx(const pn_pool *jobs, int j) { return jobs[j].shares_dx; }
    static tiles_cut cut(const pn_pool *first, int) {
        return cut_of(first->N, first->H, first->W, first->in.C);
    }
    static size_t partial_floats(const pn_pool &job, const tiles_cut &) {
        return job.in.norm.mode == PN_NORM_NONE ? 0 : 2 * (size_t)job.in.C;
    }
};

/* A tile: input rows h0 to h1, columns w0 to w1, and the columns q0 to q1 of the outputs whose
 * windows reach into it. In shared memory, [rows][q1 - q0][C]. */
struct rectangle {
    int n, h0, h1, w0, w1, q0, q1;
    float *spread;
    unsigned *winner; /* a byte a channel: bit 0, 1 or 2 = the left, middle or right one */
};

__device__ inline rectangle rectangle_at(const pn_pool &job, const tiles_cut &t, int tile,
                                         float *room) {
    const int H = job.H, W = job.W, C = job.in.C, stride = job.stride, Q = div_up(W, stride);
    rectangle r;
    r.n = tile / (t.down * t.across);
    r.h0 = tile / t.across % t.down * t.rows;
    r.h1 = min_of(r.h0 + t.rows, H);
    r.w0 = tile % t.across * t.columns;
    r.w1 = min_of(r.w0 + t.columns, W);
    r.q0 = div_up(max_of(r.w0 - 1, 0), stride);
    r.q1 = min_of(r.w1 / stride, Q - 1) + 1;
    r.spread = room;
    r.winner = reinterpret_cast<unsigned *>(room + t.rows * (r.q1 - r.q0) * C);
    return r;
}

/* Whose v is the largest shows in x already, times the sign of v's slope: both 0 and equal where
 * gamma is 0. */
__device__ __forceinline__ float sign_of(float a) { return a > 0 ? 1 : a < 0 ? -1 : 0; }
__device__ inline float4 load_sign(const pn_norm &n, int quad) {
    if (n.mode == PN_NORM_NONE || !n.gamma) return splat(1);
    const float4 a = gpu_read4(n.gamma + 4 * quad);
    return make_float4(sign_of(a.x), sign_of(a.y), sign_of(a.z), sign_of(a.w));
}

/* One channel of a row of three: its maximum and the bit of the first that has it. */
__device__ __forceinline__ float first_of_three(float l, float m, float r, three t, unsigned *bit) {
    const bool left = t.has_left() && l >= m;
    const float best = left ? l : m;
    const bool right = t.has_right() && r > best;
    *bit = right ? 4 : left ? 1 : 2;
    return right ? r : best;
}

__device__ __forceinline__ float4 winner_along(const pn_stored *middle, three t, float4 sign,
                                               unsigned *winner) {
    const taps at = load_taps(middle, t);
    const float4 l = sign * at.left, m = sign * at.middle, r = sign * at.right;
    unsigned x, y, z, w;
    const float4 best =
        make_float4(first_of_three(l.x, m.x, r.x, t, &x), first_of_three(l.y, m.y, r.y, t, &y),
                    first_of_three(l.z, m.z, r.z, t, &z), first_of_three(l.w, m.w, r.w, t, &w));
    *winner = x | y << 8 | z << 16 | w << 24;
    return best;
}

/* One channel of three rows: g goes to the first of them that has the window's maximum. */
__device__ __forceinline__ void add_to_winner(float g, float above, float middle, float below,
                                              bool up, bool down, float *to_above, float *to_middle,
                                              float *to_below) {
    const bool first = up && above >= middle, third = down && below > (first ? above : middle);
    *to_above += first && !third ? g : 0;
    *to_middle += first || third ? 0 : g;
    *to_below = third ? g : 0;
}

/* What a walk down a column of outputs needs; pointers at the column's quad in row 0. */
struct column {
    const pn_stored *x;      /* the middle of the windows */
    const pn_stored *dy, *z; /* z NULL: not read */
    int x_row, out_row;
    three t;
    float *spread; /* of the tile's first row */
    unsigned *winner;
    int spread_row, winner_row; /* in floats, in words */
};

/* The spread of input rows `first` to `end`, from h0 on. A row enters as the lowest of a window, is
 * its middle and its highest one, and has then met all windows it is in. */
template <bool MAX>
__device__ inline void spread_column(const column &at, float4 sign, const line4 &line, float f,
                                     int stride, int first, int end, int h0, int H) {
    float4 above = splat(0), middle = splat(0), below = splat(0);
    float4 to_above = splat(0), to_middle = splat(0), to_below = splat(0);
#pragma unroll 1
    for (int h = max_of(first - 2, 0); h < end + 2; h++) {
        const int y = h - 1; /* the middle of a window, if it is one of an output */
        const bool gives = h >= max_of(first, 1) && y < H && (y & (stride - 1)) == 0;
        float4 g = splat(0);
        if (gives) {
            const int p = (y >> (stride - 1)) * at.out_row;
            g = fma4(line.a, f * gpu_read4(at.dy + p), line.c);
            if (at.z) g = fma4(line.b, gpu_read4(at.z + p), g);
        }
        above = middle;
        middle = below;
        to_above = to_middle;
        to_middle = to_below;
        to_below = splat(0);
        if (MAX && h < H) {
            unsigned winner;
            below = winner_along(at.x + h * at.x_row, at.t, sign, &winner);
            if (h >= first && h < end) at.winner[(h - h0) * at.winner_row] = winner;
        }
        if (MAX && gives) {
            const bool up = y > 0, down = h < H;
            add_to_winner(g.x, above.x, middle.x, below.x, up, down, &to_above.x, &to_middle.x,
                          &to_below.x);
            add_to_winner(g.y, above.y, middle.y, below.y, up, down, &to_above.y, &to_middle.y,
                          &to_below.y);
            add_to_winner(g.z, above.z, middle.z, below.z, up, down, &to_above.z, &to_middle.z,
                          &to_below.z);
            add_to_winner(g.w, above.w, middle.w, below.w, up, down, &to_above.w, &to_middle.w,
                          &to_below.w);
        } else if (gives) {
            to_below = share_of(1 + (y > 0) + (h < H), at.t.inside()) * g;
            to_above = to_above + to_below;
            to_middle = to_middle + to_below;
        }
        if (h - 2 >= first) gpu_store4(at.spread + (h - 2 - h0) * at.spread_row, to_above);
    }
}

/* The gradient of a pixel as the left, middle or right one (`bit`) of the windows of a column. */
template <bool MAX>
__device__ __forceinline__ float4 take(const float *spread, const unsigned *winner, unsigned bit) {
    float4 g = gpu_load4(spread);
    if (!MAX) return g;
    const unsigned won = *winner / bit;
    g.x = won & 1 ? g.x : 0;
    g.y = won & 1u << 8 ? g.y : 0;
    g.z = won & 1u << 16 ? g.z : 0;
    g.w = won & 1u << 24 ? g.w : 0;
    return g;
}

/* dv of the pixel in row h, column w, for a quad: its share of the windows whose middle is to the
 * left of it, on it, to the right of it, as their right one, middle one, left one. */
template <bool MAX>
__device__ __forceinline__ float4 gather(const rectangle &r, int h, int w, int quad, int C, int Q,
                                         int stride) {
    float4 dv = splat(0);
#pragma unroll
    for (int k = 0; k < 3; k++) {
        const int middle = w + k - 1, q = middle >> (stride - 1); /* stride is 1 or 2 */
        if (middle < 0 || (middle & (stride - 1)) || q >= Q) continue;
        const int at = ((h - r.h0) * (r.q1 - r.q0) + q - r.q0) * (C / 4) + quad;
        dv = dv + take<MAX>(r.spread + 4 * at, r.winner + at, 4 >> k);
    }
    return dv;
}

/* The first half of a tile: the spread of all of its rows. */
template <bool MAX>
__device__ inline void spread_tile(const pn_pool &job, const columns &c, const rectangle &r) {
    if (!c.active) return;
    const int H = job.H, W = job.W, C = job.in.C, stride = job.stride, P = div_up(H, stride),
              Q = div_up(W, stride);
    const int wide = r.q1 - r.q0, high = r.h1 - r.h0;
    /* Rows of threads that the columns leave over take segments of the rows. */
    const int height = div_up(high, min_of(max_of(c.rows / wide, 1), high));
    const int items = div_up(high, height) * wide;
    const float4 sign = load_sign(job.in.norm, c.quad);
    const line4 line = load_line(job.out, (float)job.N * (float)P * (float)Q, c.quad);
    const float f = weight_of(job.out, r.n);
    const bool reads_z = job.out.norm.mode == PN_NORM_BATCH;
#pragma unroll 1
    for (int item = c.row; item < items; item += c.rows) {
        const int q = r.q0 + item % wide, first = r.h0 + item / wide * height;
        const size_t in = (size_t)r.n * H * W * C + (q * stride * C + 4 * c.quad),
                     out = (size_t)r.n * P * Q * C + (q * C + 4 * c.quad);
        const column at = {job.in.x + in,
                           job.out.dy + out,
                           reads_z ? job.out.z + out : nullptr,
                           W * C,
                           Q * C,
                           three_at(q * stride, W, C),
                           r.spread + (q - r.q0) * C + 4 * c.quad,
                           r.winner + (q - r.q0) * c.quads + c.quad,
                           wide * C,
                           wide * c.quads};
        spread_column<MAX>(at, sign, line, f, stride, first, min_of(first + height, r.h1), r.h0, H);
    }
}

/* The second half: dx, and the sums of this thread's quad. */
template <bool MAX>
__device__ inline void gather_tile(const pn_pool &job, const columns &c, const rectangle &r,
                                   sums4 *s) {
    if (!c.active) return;
    const int W = job.W, C = job.in.C, stride = job.stride, Q = div_up(W, stride);
    const int add = job.in.add;
    const bool sums = wants_sums(job.in.norm);
    const float4 mean = sums ? gpu_load4(job.in.norm.stats + 4 * c.quad) : splat(0);
    const size_t image = (size_t)r.n * job.H * W * C + 4 * c.quad;
    const pn_stored *const x = job.in.x + image;
    pn_stored *const dx = job.in.dx + image;
    const int width = r.w1 - r.w0, pixels = (r.h1 - r.h0) * width;
#pragma unroll 2
    for (int pixel = c.row; pixel < pixels; pixel += c.rows) {
        const int h = r.h0 + pixel / width, w = r.w0 + pixel % width, at = (h * W + w) * C;
        const float4 v = sums ? gpu_read4(x + at) : splat(0);
        const float4 was = add ? gpu_load4(dx + at) : splat(0);
        const float4 dv = gather<MAX>(r, h, w, c.quad, C, Q, stride);
        gpu_store4(dx + at, add ? was + dv : dv);
        s->add(dv, v - mean);
    }
}

template <bool MAX>
__device__ inline void spread_and_gather(const pn_pool &job, const place<pool_backward> &p,
                                         const columns &c, float *room, sums4 *s) {
#pragma unroll 1
    for (int tile = p.block; tile < p.tiles; tile += p.blocks) {
        const rectangle r = rectangle_at(job, p.cut, tile, room);
        spread_tile<MAX>(job, c, r);
        __syncthreads();
        gather_tile<MAX>(job, c, r, s);
        __syncthreads();
    }
}

__global__ void __launch_bounds__(THREADS, 2)
    pool_backward_kernel(const call_of<pool_backward> call) {
    GPU_DYNAMIC(float, room);
    GPU_SHARED(place<pool_backward>, p);
    const place<pool_backward> found = find_place(call);
    if (gate_closed(call)) return;
    if (threadIdx.x == 0) p = found;
    __syncthreads();
    bool any = false;
    for (int j = p.first; j < p.end; j++) {
        const pn_pool &job = call.jobs[j];
        if (p.block == 0) add_norm_parameters(job.out.norm, job.out.K);
        if (!job.in.dx) continue;
        const columns c = columns_of(job.in.C);
        sums4 s = {splat(0), splat(0)};
        if (job.kind == PN_POOL_MAX)
            spread_and_gather<true>(job, p, c, room, &s);
        else
            spread_and_gather<false>(job, p, c, room, &s);
        if (!wants_sums(job.in.norm)) continue;
        any = true;
        const float4 v[2] = {s.s1, s.s2};
        fold_columns(c, v, room, partial_of(call, p, j));
        __syncthreads();
    }
    if (!any || !last_of_slice(call, p)) return;
    for (int j = p.first; j < p.end; j++) {
        const pn_input &in = call.jobs[j].in;
        const leftover all = what_remains(call, p, j);
        if (in.dx && wants_sums(in.norm)) finish_sums(in, 0, in.C, all.first, all.step, all.count);
    }
}

pn_status check_widths(const char *op, const pn_pool *jobs, int count) {
    for (int j = 0; j < count; j++) PN_TRY(check_width(op, j, jobs[j].in.C));
    return PN_OK;
}

pn_status launch_forward(const checked_call<pool_forward> &call) {
    return call.launch(pool_forward_kernel, FORWARD_BYTES);
}

pn_status launch_backward(const checked_call<pool_backward> &call) {
    return call.launch(pool_backward_kernel, ROOM);
}

}  // namespace

PN_CUDA_OP(pool, pool_forward, pool_backward)
