/* stem.cu -- 3x3 convolution of the image, stride 1 or 2: a product of patches with a matrix.
 *
 * Per pixel of stride 1, at 3 channels to K = 48: forward reads 12 bytes and writes 192, backward
 * reads 12 and 384 (dy, z); 2592 operations each, 12 and 6 a byte: bound by memory on cards with 20
 * to 35.
 *
 * A tile is a run of output pixels through all images. Their patches, 27 (or 9) numbers and the
 * zeros that make it whole quads, lie in shared memory, [pixels][28] (or [12]); neighbours overlap,
 * so what a patch reads comes from L1. Forward: z = patch w, 4 pixels and a quad of K a thread, w
 * through L1. Backward: dw += patch^T dz (outer4), sums in registers up to K = 144; no dx. 28 KB at
 * most forward, 21 KB backward at K = 48. Two blocks a multiprocessor or more. */
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/places.h"

namespace {

constexpr int FORWARD_PIXELS = 256; /* of a tile, at most */
constexpr int BACKWARD_PIXELS = 64;

/* Numbers of a patch, and floats from patch to patch: 4 times an odd number. */
__host__ __device__ inline int taps_of(const pn_stem &s) { return 9 * s.C; }
__host__ __device__ inline int patch_of(const pn_stem &s) { return (9 * s.C + 3) & ~3; }

/* Output pixels of an image. */
__host__ __device__ inline int image_of(const pn_stem &s) {
    return div_up(s.H, s.stride) * div_up(s.W, s.stride);
}

__host__ __device__ inline int rows_of(const pn_stem &s) { return THREADS / (s.out.K / 4); }

__host__ __device__ inline int forward_pixels(const pn_stem &s) {
    return min_of(PIXELS * rows_of(s), FORWARD_PIXELS);
}
__host__ __device__ inline int backward_pixels(const pn_stem &s) {
    const int fit = (int)(DYNAMIC / sizeof(float)) / (patch_of(s) + pitch_of(s.out.K));
    const int rows = rows_of(s);
    /* Whole rounds of the threads that load dz. */
    return min_of(rows < BACKWARD_PIXELS ? BACKWARD_PIXELS / rows * rows : BACKWARD_PIXELS, fit);
}
__host__ __device__ inline int tiles_of(const pn_stem &s, int pixels) {
    return (int)(((size_t)s.N * image_of(s) + pixels - 1) / pixels);
}

struct stem_forward : one_round {
    using Job = pn_stem;
    using Cut = whole;
    static bool shares_dx(const pn_stem *, int) { return false; }
    static whole cut(const pn_stem *s, int) { return whole_of(tiles_of(*s, forward_pixels(*s))); }
    static size_t partial_floats(const pn_stem &s, whole) {
        return moments_floats(s.out.norm, s.out.K);
    }
};

struct stem_backward : plain_sums {
    using Job = pn_stem;
    using Cut = whole;
    static bool shares_dx(const pn_stem *, int) { return false; }
    static whole cut(const pn_stem *s, int) { return whole_of(tiles_of(*s, backward_pixels(*s))); }
    static size_t partial_floats(const pn_stem &s, whole) { return (size_t)patch_of(s) * s.out.K; }
};

/* A run of output pixels through all images. */
struct run {
    size_t first;
    int pixels, image, rest; /* of the first: its image, its pixel in there */
};
__device__ inline run run_of(const pn_stem &s, int tile, int pixels) {
    const size_t image = (size_t)image_of(s), first = (size_t)tile * pixels, all = s.N * image;
    run r = {first, pixels, (int)(first / image), (int)(first % image)};
    if (first + pixels > all) r.pixels = (int)(all - first);
    return r;
}

/* The patches of a run, [pixels][patch_of]. A thread makes a row of three by C of a patch. */
template <int C>
__device__ inline void load_patches(const pn_stem &s, const run &r, float *patches) {
    constexpr int TAPS = 9 * C, PATCH = (TAPS + 3) & ~3;
    const int Q = div_up(s.W, s.stride), image = image_of(s);
#pragma unroll 1
    for (int i = (int)threadIdx.x; i < 3 * r.pixels; i += THREADS) {
        const int p = i / 3, row = i - 3 * p, at = r.rest + p, n = at / image;
        const int y = (at - n * image) / Q, left = (at - n * image - y * Q) * s.stride - 1;
        const int h = y * s.stride + row - 1;
        const bool there = h >= 0 && h < s.H;
        const float *x = s.x + (((size_t)r.image + n) * s.H + (there ? h : 0)) * s.W * C;
        float *to = patches + p * PATCH + row * 3 * C;
#pragma unroll
        for (int j = 0; j < 3; j++) {
            const int v = left + j;
            const bool inside = there && v >= 0 && v < s.W;
#pragma unroll
            for (int c = 0; c < C; c++) to[j * C + c] = inside ? __ldg(x + (size_t)v * C + c) : 0;
        }
        if (row == 2)
#pragma unroll
            for (int t = TAPS; t < PATCH; t++) patches[p * PATCH + t] = 0;
    }
}
__device__ inline void load_patches(const pn_stem &s, const run &r, float *patches) {
    if (s.C == 1)
        load_patches<1>(s, r, patches);
    else
        load_patches<3>(s, r, patches);
}

/* Rows of w, zeros after the last. */
struct tap_weights {
    const float *column;
    int row, taps;
    __device__ __forceinline__ float4 operator()(int t) const {
        return t < taps ? gpu_read4(column + (size_t)t * row) : splat(0);
    }
};

__global__ __launch_bounds__(THREADS, 2) void stem_fwd_kernel(const call_of<stem_forward> call) {
    GPU_DYNAMIC(float, patches);
    const place<stem_forward> p = find_place(call);
    const pn_stem &s = call.jobs[p.first];
    const int K = s.out.K, pixels = forward_pixels(s), patch = patch_of(s);
    const columns k = columns_of(K);
    const tap_weights w = {s.w + 4 * k.quad, K, taps_of(s)};
    int at[PIXELS], seen = 0;
#pragma unroll
    for (int i = 0; i < PIXELS; i++) at[i] = min_of(k.row + i * k.rows, pixels - 1) * patch;
    moments m = no_moments();
    for (int tile = p.block; tile < p.tiles; tile += p.blocks) {
        const run r = run_of(s, tile, pixels);
        __syncthreads();
        load_patches(s, r, patches);
        __syncthreads();
        seen += r.pixels;
        if (!k.active || k.row >= r.pixels) continue;
        float4 z[PIXELS];
#pragma unroll
        for (int i = 0; i < PIXELS; i++) z[i] = splat(0);
        accumulate(z, patches, at, patch, w);
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            const int pixel = k.row + i * k.rows;
            if (pixel >= r.pixels) continue;
            gpu_store4(s.out.z + (r.first + pixel) * K + 4 * k.quad, z[i]);
            m.add(z[i]);
        }
    }

    const pn_norm &norm = s.out.norm;
    if (norm.mode == PN_NORM_RUNNING && p.block == 0) copy_statistics(norm, K);
    if (norm.mode != PN_NORM_BATCH) return;
    store_moments(k, m, seen, patches, partial_of(call, p, p.first));
    if (!last_of_slice(call, p)) return;
    const leftover all = what_remains(call, p, p.first);
    finish_statistics(norm, K, all.first, all.step, all.count);
}

/* dz of a run, [pixels][pitch]. */
__device__ inline void load_gradient(const pn_stem &s, const run &r, float *g, int pitch) {
    const int K = s.out.K, image = image_of(s);
    const columns k = columns_of(K);
    if (!k.active) return;
    const dz4 dz = load_dz(s.out, (double)s.N * image, k.quad);
#pragma unroll 4
    for (int p = k.row; p < r.pixels; p += k.rows) {
        const size_t at = (r.first + p) * K + 4 * k.quad;
        const float4 dy = gpu_read4(s.out.dy + at);
        const float4 z = dz.batch ? gpu_read4(s.out.z + at) : splat(0);
        const float f =
            s.out.factor ? weight_of(s.out, r.image + (r.rest + p) / image) : weight_of(s.out);
        gpu_store4(g + p * pitch + 4 * k.quad, dz(f, dy, z));
    }
}

__global__ __launch_bounds__(THREADS, 2) void stem_bwd_kernel(const call_of<stem_backward> call) {
    const place<stem_backward> p = find_place(call);
    if (gate_closed(call)) return;
    GPU_DYNAMIC(float, patches);
    const pn_stem &s = call.jobs[p.first];
    const int K = s.out.K, pixels = backward_pixels(s), patch = patch_of(s), pitch = pitch_of(K);
    float *const g = patches + pixels * patch, *const partial = partial_of(call, p, p.first);
    outer4 dw;
    dw.begin(patch, K);
    for (int tile = p.block; tile < p.tiles; tile += p.blocks) {
        const run r = run_of(s, tile, pixels);
        __syncthreads();
        load_gradient(s, r, g, pitch);
        load_patches(s, r, patches);
        __syncthreads();
        dw.add(patches, patch, g, pitch, r.pixels, partial, tile == p.block);
    }
    dw.end(patches, partial);
    if (!last_of_slice(call, p)) return;
    const leftover all = what_remains(call, p, p.first);
    add_partials(s.dw, all.first, all.step, all.count, taps_of(s) * K);
    add_norm_parameters(s.out.norm, K);
}

pn_status check_widths(const char *op, const pn_stem *jobs, int count) {
    for (int j = 0; j < count; j++) PN_TRY(check_width(op, j, jobs[j].out.K));
    return PN_OK;
}

pn_status launch_forward(const checked_call<stem_forward> &call) {
    int floats = 2 * FOLD + MAX_CHANNELS; /* store_moments */
    for (int j = 0; j < call.count; j++) {
        const pn_stem &job = call.jobs[j];
        floats = max_of(floats, forward_pixels(job) * patch_of(job));
    }
    return call.launch(stem_fwd_kernel, floats * sizeof(float));
}

pn_status launch_backward(const checked_call<stem_backward> &call) {
    int floats = 4096; /* outer4::end */
    for (int j = 0; j < call.count; j++) {
        const pn_stem &job = call.jobs[j];
        floats = max_of(floats, backward_pixels(job) * (patch_of(job) + pitch_of(job.out.K)));
    }
    return call.launch(stem_bwd_kernel, floats * sizeof(float));
}

}  // namespace

PN_CUDA_OP(stem, stem_forward, stem_backward)
