/* kernels/cuda/matrix.h -- the products of a 1x1 convolution, on a tile of pixels in shared
 * memory: z = a w, dw += a^T g.
 *
 * A tile is [pixels][pitch] floats. A thread makes 4 pixels of its quad of channels at once: 8
 * loads of 16 bytes for 64 multiply-adds. Its pixels lie `rows` apart, so that the threads of a
 * warp read neighbouring pixels, which pitch_of() puts into different banks; weights come through
 * L1, where a few rows serve all threads. */
#ifndef PN_GPU_MATRIX_H
#define PN_GPU_MATRIX_H

#include "kernels/cuda/op.h"

namespace {

constexpr int PIXELS = 4; /* of a thread at once */

/* done(p, z) for the pixels p of this thread's rows, z of its quad: z = sum_c a[p][c] w[c][...].
 * w: rows of `w_row` floats, 4 * columns.quads of them used. done must not synchronise. */
template <class Done>
__device__ inline void multiply(const columns &k, const float *a, int pitch, int pixels, int C,
                                const float *w, size_t w_row, Done done) {
    if (!k.active) return;
    const float *const column = w + 4 * k.quad;
    for (int first = k.row; first < pixels; first += PIXELS * k.rows) {
        float4 z[PIXELS];
        const float *x[PIXELS];
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            z[i] = splat(0);
            x[i] = a + min_of(first + i * k.rows, pixels - 1) * pitch;
        }
        for (int c = 0; c < C; c += 4) {
            const float *row = column + c * w_row;
            const float4 w0 = gpu_read4(row), w1 = gpu_read4(row + w_row),
                         w2 = gpu_read4(row + 2 * w_row), w3 = gpu_read4(row + 3 * w_row);
#pragma unroll
            for (int i = 0; i < PIXELS; i++) {
                const float4 v = gpu_load4(x[i] + c);
                z[i] = fma4(v.w, w3, fma4(v.z, w2, fma4(v.y, w1, fma4(v.x, w0, z[i]))));
            }
        }
#pragma unroll
        for (int i = 0; i < PIXELS; i++)
            if (first + i * k.rows < pixels) done(first + i * k.rows, z[i]);
    }
}

__device__ __forceinline__ float dot4(float4 a, float4 b, float sum) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

/* sums[i] += sum_c a[at[i] + c] weights(c), where weights(c) is row c of a quad of the matrix: for
 * products whose sums have to wait in registers while the tile is replaced. C a multiple of 4. */
template <int COUNT, class Weights>
__device__ __forceinline__ void accumulate(float4 (&sums)[COUNT], const float *a,
                                           const int (&at)[COUNT], int C, Weights weights) {
#pragma unroll 1 /* more of it would take the registers of other blocks */
    for (int c = 0; c < C; c += 4) {
        const float4 w0 = weights(c), w1 = weights(c + 1), w2 = weights(c + 2), w3 = weights(c + 3);
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const float4 v = gpu_load4(a + at[i] + c);
            sums[i] = fma4(v.w, w3, fma4(v.z, w2, fma4(v.y, w1, fma4(v.x, w0, sums[i]))));
        }
    }
}

/* partial[j] = the sum over the segments of room[segment][floats], in their order; synchronises. */
__device__ inline void fold_segments(const float *room, int segments, int floats, float *partial) {
    for (int j = (int)threadIdx.x; j < floats; j += THREADS) {
        float total = 0;
        for (int s = 0; s < segments; s++) total += room[s * floats + j];
        partial[j] = total;
    }
    __syncthreads();
}

/* dw[c][k] = sum over the block's tiles and their pixels of a[p][c] g[p][k], into its partial
 * of C * K floats. A thread owns 4x4 of them. Where that leaves threads over, several share a 4x4
 * and take different pixels; where it does not suffice, the sums wait in the partial from tile to
 * tile (in L2) instead of in registers. begin; add for every tile; end. */
struct outer4 {
    int C, K, items, segments, item, segment;
    float4 sum[4];

    __device__ inline void begin(int C_, int K_) {
        C = C_;
        K = K_;
        items = (C / 4) * (K / 4);
        segments = items <= THREADS ? THREADS / items : 0;
        item = (int)threadIdx.x % items;
        segment = (int)threadIdx.x / items;
        clear();
    }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < 4; i++) sum[i] = splat(0);
    }

    __device__ __forceinline__ void gather(const float *a, int a_pitch, const float *g, int g_pitch,
                                           int which, int from, int step, int pixels) {
        const float *pa = a + 4 * (which / (K / 4)), *pg = g + 4 * (which % (K / 4));
        for (int p = from; p < pixels; p += step) {
            const float4 x = gpu_load4(pa + p * a_pitch), y = gpu_load4(pg + p * g_pitch);
            sum[0] = fma4(x.x, y, sum[0]);
            sum[1] = fma4(x.y, y, sum[1]);
            sum[2] = fma4(x.z, y, sum[2]);
            sum[3] = fma4(x.w, y, sum[3]);
        }
    }

    __device__ __forceinline__ float *item_at(float *partial, int which) const {
        return partial + (size_t)(4 * (which / (K / 4))) * K + 4 * (which % (K / 4));
    }

    /* The tiles a [pixels][C] and g [pixels][K] must be complete (the caller synchronises). */
    __device__ inline void add(const float *a, int a_pitch, const float *g, int g_pitch, int pixels,
                               float *partial, bool first) {
        if (segments) {
            if (segment < segments) gather(a, a_pitch, g, g_pitch, item, segment, segments, pixels);
            return;
        }
        for (int which = (int)threadIdx.x; which < items; which += THREADS) {
            clear();
            gather(a, a_pitch, g, g_pitch, which, 0, 1, pixels);
            float *to = item_at(partial, which);
#pragma unroll
            for (int i = 0; i < 4; i++)
                gpu_store4(to + (size_t)i * K,
                           first ? sum[i] : gpu_load4(to + (size_t)i * K) + sum[i]);
        }
    }

    /* room: 4096 floats of shared memory that nobody uses any more; synchronises. */
    __device__ inline void end(float *room, float *partial) {
        if (!segments) return;
        __syncthreads();
        if (segment < segments)
#pragma unroll
            for (int i = 0; i < 4; i++)
                gpu_store4(item_at(room + (size_t)segment * C * K, item) + i * K, sum[i]);
        __syncthreads();
        fold_segments(room, segments, C * K, partial);
    }
};

}  // namespace

#endif
