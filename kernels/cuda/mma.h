/* kernels/cuda/mma.h -- products of matrices of floats on tensor cores, in float32's accuracy
 * (3xTF32) or in that of tf32, for a block of THREADS: what matrix.h does where a card is slow at
 * them.
 *
 * tf32 has 10 bits behind the point. A float v is split into high = v rounded to tf32, and low =
 * v - high, of 12 bits, the last of which is lost: so v is off by u = 2^-23 |v| at most. Of (a b) =
 * high high + high low + low high + low low the last, 2^-22 |a b| at most, is left out. So a
 * product is off by 2^-21 |a b| at most, that is 8 of float32's roundings, and whole numbers up to
 * 2^11 are exact (Ootomo, Yokota: Recovering single precision accuracy from Tensor Cores, IJHPCA
 * 2022). A sum of 8 products and what was there before is then rounded once, toward 0.
 *
 * With PN_PRECISION there is one product instead of three: each operand is off by 2^-11 of itself,
 * a product by 2^-10 + 2^-22, and whole numbers up to 2^11 are exact again; tf32 is that. bf16 has
 * it too: what is multiplied was rounded 8 times as coarsely when stored. Products of bf16 would
 * round it so once more, for r and g have been through a norm since, and u through a sum of taps.
 *
 * What stores fp16 makes products of halves, which have 10 bits behind the point as well: the same
 * errors, but that an operand below 2^-14 is off by up to 2^-25, and one from 65520 on is infinite,
 * as where such numbers are stored: the loss scale (runtime/loss_scale.h) is there for both. (It is
 * 2^16 in a search of batches of 32 of 14x14; of shards of two images, whose last cells have one
 * pixel and so hardly a variance, no scale is small enough in the end.)
 *
 * cvt.rna.tf32.f32 rounds as `split` does; two integer instructions are not slower anywhere. A NaN
 * stays one, in `low`; of a single product `to_tf32` sees to that, since the NaN of all ones, which
 * cards make, would be rounded to -0.
 *
 * Fragments (PTX ISA, mma.m16n8k8, .tf32), lane 4 g + t of a warp:
 *   a, 16 x 8     (g,t)  (g+8,t)  (g,t+4)  (g+8,t+4)     row, slot
 *   b, 8 x 8      (t,g)  (t+4,g)                         slot, column
 *   sum, 16 x 8   (g,2t) (g,2t+1) (g+8,2t) (g+8,2t+1)    row, column
 * Which of the numbers that are summed over is in which slot does not matter, if a and b agree. So
 * mma.m16n8k8, .f16, where a lane has the slots 2t and 2t+1 of a row (of a column) as one register,
 * serves for the same text.
 *
 * Shared memory: a tile has rows of a pitch of 4 times an odd number (pitch_of). Lanes that read
 * (row g, column t) are then in 32 different banks. Lanes that read (row t, column g) would not be:
 * but with rows 2t in the slots t, and 2t+1 in the slots t+4, they are. */
#ifndef PN_GPU_MMA_H
#define PN_GPU_MMA_H

#include "kernels/cuda/matrix.h"

namespace {

constexpr int MMA_ROWS = 16, MMA_COLUMNS = 8, MMA_SLOTS = 8;
constexpr int WARPS = THREADS / 32;

__device__ __forceinline__ int lane_group() { return (int)threadIdx.x % 32 / 4; } /* g */
__device__ __forceinline__ int lane_place() { return (int)threadIdx.x % 4; }      /* t */

__device__ __forceinline__ void split(float v, unsigned &high, unsigned &low) {
    high = (__float_as_uint(v) + 0x1000u) & 0xffffe000u;
    low = __float_as_uint(fmaf(-1.F, __uint_as_float(high), v));
}

/* The 13 lowest bits are left to the tensor cores, which do not look at them. */
__device__ __forceinline__ unsigned to_tf32(float v) {
    const unsigned bits = __float_as_uint(v);
    return v == v ? bits + 0x1000u : bits;
}

__device__ __forceinline__ void take(float v, unsigned &high, unsigned &low) {
#if PN_GPU_EXACT
    split(v, high, low);
#else
    high = gpu_mma_halves() ? __float_as_uint(v) : to_tf32(v); /* gpu_mma rounds to halves */
    low = 0;                                                   /* which nobody reads */
#endif
}

/* at(i, half): row g + 8 i, slot t + 4 half. */
template <class At>
__device__ __forceinline__ gpu_mma_a load_a(At at) {
    gpu_mma_a a;
#pragma unroll
    for (int i = 0; i < 4; i++) take(at(i % 2, i / 2), a.high[i], a.low[i]);
    return a;
}
/* at(half): slot t + 4 half, column g. */
template <class At>
__device__ __forceinline__ gpu_mma_b load_b(At at) {
    gpu_mma_b b;
#pragma unroll
    for (int i = 0; i < 2; i++) take(at(i), b.high[i], b.low[i]);
    return b;
}

/* ---- sums over pixels ------------------------------------------------------------------------ */

/* dw[c][k] = sum over the block's tiles and their pixels of x[p][c] g[p][k], as outer4. A warp has
 * up to 4 tiles of 16 k by 8 c, neighbours, so that one and the same of g serves several; where
 * that leaves warps over, several share these and take different pixels. The sums are kept by the
 * caller, from begin to end. */
struct outer_mma {
    unsigned packed; /* of this warp: its first tile's row and column, tiles, segment, segments */

    __device__ __forceinline__ int row() const { return (int)(packed & 0xff); }
    __device__ __forceinline__ int column() const { return (int)(packed >> 8 & 0xff); }
    __device__ __forceinline__ int tiles() const { return (int)(packed >> 16 & 0xf); }
    __device__ __forceinline__ int segment() const { return (int)(packed >> 20 & 0xf); }
    __device__ __forceinline__ int segments() const { return (int)(packed >> 24); }

    /* Do the sums find room in the warps? Then C K is 4096 at most. Else they wait in the block's
     * partial from one add to the next (add_or_wait), in L2. */
    __host__ __device__ static inline int tiles_of(int C, int K) {
        return div_up(K, MMA_ROWS) * div_up(C, MMA_COLUMNS);
    }
    __host__ __device__ static inline bool fits(int C, int K) {
        return tiles_of(C, K) <= 4 * WARPS;
    }

    __device__ inline void begin(int C, int K) {
        const int all = tiles_of(C, K), each = div_up(all, div_up(all, 4));
        const int groups = min_of(div_up(all, each), WARPS), warp = (int)threadIdx.x / 32;
        share(C, all, warp % groups * each, each, warp / groups, WARPS / groups);
    }

    /* `each` tiles of all those of C, from `first` on. */
    __device__ __forceinline__ void share(int C, int all, int first, int each, int segment,
                                          int segments) {
        const int columns = div_up(C, MMA_COLUMNS);
        const int count = segment < segments ? min_of(each, all - first) : 0;
        packed = (unsigned)(first / columns | first % columns << 8 | count << 16 | segment << 20 |
                            segments << 24);
    }

    /* sum[i] += tile i of this warp's. x(p): the C numbers of pixel p; g: rows of `pitch`. */
    template <class X>
    __device__ __forceinline__ void add(float4 (&sum)[4], int C, int K, X x, const float *g,
                                        int pitch, int pixels) const {
        const int columns = div_up(C, MMA_COLUMNS), step = MMA_SLOTS * segments();
        if (tiles() == 0) return;
#pragma unroll 1
        for (int p = MMA_SLOTS * segment(); p < pixels; p += step) {
            /* Of the pixels in the slots t and t + 4; those that are not there count 0. */
            const int at = p + 2 * lane_place(), last = pixels - 1;
            const float *const of[2] = {x(min_of(at, last)), x(min_of(at + 1, last))};
            const float *const g0 = g + min_of(at, last) * pitch;
            const float *const g1 = g + min_of(at + 1, last) * pitch;
            int m = row(), n = column();
            gpu_mma_a a;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if (i >= tiles()) break;
                if (i == 0 || n == 0)
                    a = load_a([&](int below, int half) {
                        const int k = min_of(m * MMA_ROWS + lane_group() + 8 * below, K - 1);
                        const float v = gpu_load1((half ? g1 : g0) + k);
                        return at + half < pixels ? v : 0.F;
                    });
                const int c = min_of(n * MMA_COLUMNS + lane_group(), C - 1);
                gpu_mma(sum[i], a, load_b([&](int half) { return gpu_load1(of[half] + c); }));
                if (++n == columns) n = 0, m++;
            }
        }
        gpu_mma_end();
    }

    template <class X>
    __device__ __forceinline__ void add_or_wait(float4 (&sum)[4], int C, int K, X x, const float *g,
                                                int pitch, int pixels, float *partial, bool first) {
        if (fits(C, K)) {
            add(sum, C, K, x, g, pitch, pixels);
            return;
        }
        const int all = tiles_of(C, K);
#pragma unroll 1
        for (int tile = (int)threadIdx.x / 32 * 4; tile < all; tile += 4 * WARPS) {
            share(C, all, tile, 4, 0, 1);
#pragma unroll
            for (int i = 0; i < 4; i++) sum[i] = splat(0);
            add(sum, C, K, x, g, pitch, pixels);
            put(sum, C, K,
                [&](int at, float v) { partial[at] = first ? v : gpu_load1(partial + at) + v; });
        }
    }

    /* store(at, v) for all sums of this thread, `at` being c * K + k. */
    template <class Store>
    __device__ __forceinline__ void put(const float4 (&sum)[4], int C, int K, Store store) const {
        int m = row(), n = column();
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int k = m * MMA_ROWS + lane_group(), c = n * MMA_COLUMNS + 2 * lane_place();
            const int at = c * K + k;
            if (i < tiles() && c < C) {
                if (k < K) store(at, sum[i].x), store(at + K, sum[i].y);
                if (k + 8 < K) store(at + 8, sum[i].z), store(at + K + 8, sum[i].w);
            }
            if (++n == div_up(C, MMA_COLUMNS)) n = 0, m++;
        }
    }

    /* The block's sums into its partial, C * K floats. room: 4096 floats of shared memory that
     * nobody uses any more; synchronises. */
    __device__ inline void end(const float4 (&sum)[4], int C, int K, float *room,
                               float *partial) const {
        if (!fits(C, K)) return;
        float *const to = room + segment() * C * K;
        __syncthreads();
        put(sum, C, K, [&](int at, float v) { to[at] = v; });
        __syncthreads();
        fold_segments(room, segments(), C * K, partial);
    }
};

/* ---- sums over channels ---------------------------------------------------------------------- */

/* store(p, c, {out[p][c], out[p][c+1]}) of out[p][c] = sum_k g[p][k] w[c][k], for all pixels p and
 * even c < C, each by one thread. g: rows of `pitch`, in shared memory; w: rows of `w_row`; C and K
 * multiples of 4. A warp makes 32 pixels by 8 N channels at a time. All threads of the block; store
 * must not synchronise. */
template <int N, class Store>
__device__ inline void multiply_rows(const float *g, int pitch, int pixels, int K, const float *w,
                                     int w_row, int C, Store store) {
    constexpr int M = 2;
    const int across = div_up(C, N * MMA_COLUMNS);
    const int units = div_up(pixels, M * MMA_ROWS) * across;
#pragma unroll 1
    for (int unit = (int)threadIdx.x / 32; unit < units; unit += WARPS) {
        const int p0 = unit / across * M * MMA_ROWS + lane_group();
        const int c0 = unit % across * N * MMA_COLUMNS;
        float4 sum[M][N];
#pragma unroll
        for (int i = 0; i < M * N; i++) sum[i / N][i % N] = splat(0);
        int row[2 * M], column[N]; /* and no pointers, which are two registers each */
#pragma unroll
        for (int i = 0; i < 2 * M; i++)
            row[i] = min_of(p0 + 8 * i, pixels - 1) * pitch + lane_place();
#pragma unroll
        for (int n = 0; n < N; n++)
            column[n] = min_of(c0 + n * MMA_COLUMNS + lane_group(), C - 1) * w_row + lane_place();
#pragma unroll 1
        for (int k = 0; k < K; k += MMA_SLOTS) {
            const bool whole = k + 4 < K; /* else the slots from 4 on are none: 0 times 0 */
            gpu_mma_b b[N];
#pragma unroll
            for (int n = 0; n < N; n++)
                b[n] = load_b([&](int half) {
                    return half && !whole ? 0.F : gpu_read1(w + column[n] + k + 4 * half);
                });
#pragma unroll
            for (int m = 0; m < M; m++) {
                const gpu_mma_a a = load_a([&](int i, int half) {
                    return half && !whole ? 0.F : gpu_load1(g + row[2 * m + i] + k + 4 * half);
                });
#pragma unroll
                for (int n = 0; n < N; n++) gpu_mma(sum[m][n], a, b[n]);
            }
        }
        gpu_mma_end();
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int n = 0; n < N; n++) {
                const int p = p0 + m * MMA_ROWS, c = c0 + n * MMA_COLUMNS + 2 * lane_place();
                if (c >= C) continue;
                if (p < pixels) store(p, c, make_float2(sum[m][n].x, sum[m][n].y));
                if (p + 8 < pixels) store(p + 8, c, make_float2(sum[m][n].z, sum[m][n].w));
            }
    }
}

/* Floats from row to row of w in shared memory: lanes that read (row t, column g) are then in 32
 * different banks. */
__host__ __device__ inline int weights_pitch(int K) { return (div_up(K, 8) | 1) * 8; }

/* Rows of K of w into shared memory: asked for all at once, where each warp for itself would wait
 * for a few at a time. */
__device__ inline void stage_weights(const float *w, int rows, int K, float *to) {
    const columns k = columns_of(K);
    if (!k.active) return;
    const int pitch = weights_pitch(K);
#pragma unroll 4
    for (int c = k.row; c < rows; c += k.rows)
        gpu_store4(to + c * pitch + 4 * k.quad, gpu_read4(w + (size_t)c * K + 4 * k.quad));
}

/* z[p][k] = sum_c a[p][c] w[c][k] of a few pixels, where the sums wait in registers, and c may come
 * a part at a time. A warp has up to 5 tiles of 16 pixels by 8 k, neighbours, so that one and the
 * same of a serves several. Of two grids each has K columns, and an a and a w of its own. */
template <int GRIDS>
struct inner_mma {
    static constexpr int MOST = 5;
    unsigned packed; /* of this warp: its first tile's row and column, tiles */

    __device__ __forceinline__ int row() const { return (int)(packed & 0xff); }
    __device__ __forceinline__ int column() const { return (int)(packed >> 8 & 0xff); }
    __device__ __forceinline__ int tiles() const { return (int)(packed >> 16); }

    __host__ __device__ static inline int columns_of(int K) {
        return GRIDS * div_up(K, MMA_COLUMNS);
    }
    /* The most pixels, a multiple of 16; 0: K is too large. */
    __host__ __device__ static inline int most_pixels(int K) {
        return MOST * WARPS / columns_of(K) * MMA_ROWS;
    }

    __device__ __forceinline__ void begin(int pixels, int K) {
        const int columns = columns_of(K), all = div_up(pixels, MMA_ROWS) * columns;
        const int each = div_up(all, WARPS), first = (int)threadIdx.x / 32 * each;
        const int row = first / columns, tiles = max_of(min_of(each, all - first), 0);
        packed = (unsigned)(row | (first - row * columns) << 8 | tiles << 16);
    }

    /* sum[i] += tile i, for C channels, a multiple of 4. a: rows of `pitch`, of each grid `plane`
     * floats; w as stage_weights leaves it, of each grid w_plane floats. */
    __device__ __forceinline__ void add(float4 (&sum)[MOST], const float *a, int pitch, int plane,
                                        int pixels, int C, const float *w, int w_plane,
                                        int K) const {
        if (tiles() == 0) return;
        const int columns = columns_of(K);
        const int w_pitch = weights_pitch(K);
        a += lane_place();
        w += lane_place() * w_pitch;
#pragma unroll 1
        for (int c = 0; c < C; c += MMA_SLOTS) {
            const bool whole = c + 4 < C; /* else the slots from 4 on are none: 0 times 0 */
            int m = row(), n = column();
            gpu_mma_a x;
#pragma unroll
            for (int i = 0; i < MOST; i++) {
                if (i >= tiles()) break;
                const int f = GRIDS > 1 && n >= columns / 2, of_grid = n - f * (columns / 2);
                if (i == 0 || of_grid == 0)
                    x = load_a([&](int below, int half) {
                        const int p = min_of(m * MMA_ROWS + lane_group() + 8 * below, pixels - 1);
                        return half && !whole ? 0.F
                                              : gpu_load1(a + f * plane + p * pitch + c + 4 * half);
                    });
                const int k = min_of(of_grid * MMA_COLUMNS + lane_group(), K - 1);
                gpu_mma(sum[i], x, load_b([&](int half) {
                            return half && !whole
                                       ? 0.F
                                       : gpu_load1(w + f * w_plane + (c + 4 * half) * w_pitch + k);
                        }));
                if (++n == columns) n = 0, m++;
            }
        }
        gpu_mma_end();
    }

    /* The sums into rows of `pitch` in shared memory, a grid's K behind those of the other. */
    __device__ __forceinline__ void put(const float4 (&sum)[MOST], int pixels, int K, float *to,
                                        int pitch) const {
        const int columns = columns_of(K);
        int m = row(), n = column();
#pragma unroll
        for (int i = 0; i < MOST; i++) {
            const int f = GRIDS > 1 && n >= columns / 2;
            const int p = m * MMA_ROWS + lane_group();
            const int k = (n - f * (columns / 2)) * MMA_COLUMNS + 2 * lane_place();
            if (i < tiles() && k < K) {
                float *const at = to + p * pitch + f * K + k;
                if (p < pixels) gpu_store2(at, make_float2(sum[i].x, sum[i].y));
                if (p + 8 < pixels) gpu_store2(at + 8 * pitch, make_float2(sum[i].z, sum[i].w));
            }
            if (++n == columns) n = 0, m++;
        }
    }
};

/* As multiply of matrix.h, of a square matrix w, and z in the place of a. room: of `floats` in
 * shared memory, as many rows of w at a time as it holds, 8 at least. All threads of the block, who
 * are done with both; C as inner_mma has room for. */
template <class Done>
__device__ inline void multiply_in_place(const columns &k, float *a, int pitch, int pixels, int C,
                                         const float *w, float *room, int floats, Done done) {
    const int most = inner_mma<1>::most_pixels(C);
    const int rows = min_of(floats / weights_pitch(C) & ~7, C);
#pragma unroll 1
    for (int first = 0; first < pixels; first += most, a += most * pitch) {
        const int count = min_of(most, pixels - first);
        inner_mma<1> z;
        float4 sum[z.MOST];
#pragma unroll
        for (int i = 0; i < z.MOST; i++) sum[i] = splat(0);
        z.begin(count, C);
#pragma unroll 1
        for (int c = 0; c < C; c += rows) {
            const int some = min_of(rows, C - c);
            if (c > 0) __syncthreads();
            if (first == 0 || rows < C) {
                stage_weights(w + (size_t)c * C, some, C, room);
                __syncthreads();
            }
            z.add(sum, a + c, pitch, 0, count, some, room, 0, C);
        }
        __syncthreads();
        z.put(sum, count, C, a, pitch);
        __syncthreads();
        if (!k.active) continue;
        for (int p = k.row; p < count; p += k.rows)
            done(first + p, gpu_load4(a + p * pitch + 4 * k.quad));
    }
}

}  // namespace

#endif
