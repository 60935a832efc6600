/* conv.cu -- a dense convolution of r = relu(v(x)), or an average of it and a 1x1 convolution.
 *
 * Per output pixel 2 R*R*C K operations forward and twice that backward, on some tens of floats:
 * bound by arithmetic. What a window sees, its *patch* of R*R*C numbers (of an average C), is to
 * the matrix w what a pixel is to that of conv1x1: forward is pointwise.h's, which gathers patches
 * a chunk of their numbers at a time.
 *
 * Backward, blocks have one of two tasks; each task is cut into slices (places.h).
 * dw, after dx: a slice of the patches' numbers, over runs of output pixels: dw += patch^T g, in
 * registers where the slice of dw fits. C/8 slices make 72 numbers of a 3x3 patch each.
 * dx: a slice of channels, over runs of *input* pixels, each of which gathers through every tap the
 * g of the one output pixel, if any, that saw it there: so dx has one writer and no two windows
 * meet. With stride 2 a pixel is seen through a quarter of the taps, according to whether its row
 * and column are even: so runs are of pixels that agree in both, and leave out the other taps. An
 * average's g are summed over the taps first. Nothing of it depends on the window but the taps, so
 * jobs that share dx agree on runs and slices.
 *
 * Two blocks a multiprocessor, 48 KB each. */
#include "kernels/cuda/pointwise.h"

namespace {

/* ---- patches --------------------------------------------------------------------------------- */

template <>
constexpr bool has_corners<pn_conv> = true;

__host__ __device__ inline int edge_of(int H, const pn_conv &j) {
    return (H + 2 * j.pad - j.R) / j.stride + 1;
}

template <>
__host__ __device__ inline pointwise view_of<pn_conv>(const pn_conv &j) {
    const int K = j.out.K;
    pointwise s = {j.N, j.H,  j.W, edge_of(j.H, j), edge_of(j.W, j), j.parts, 0, K, K, j.in, &j.out,
                   j.w, j.dw, &j};
    for (int i = 0; i < s.parts; i++) s.C += s.in[i].C;
    if (!j.mean) s.C *= j.R * j.R;
    return s;
}

/* Channels of x. */
__host__ __device__ inline int channels_of(const pointwise &s) {
    return s.conv->mean ? s.C : s.C / (s.conv->R * s.conv->R);
}

/* The first pixel of every window of a run; inside: bit j, whether column j of it is in the image,
 * bit 5 + i, whether row i is. */
template <>
__device__ inline void fill_corners<pn_conv>(const pointwise &s, const run &r, corner *corners) {
    const int image = s.P * s.Q;
#pragma unroll 1
    for (int i = (int)threadIdx.x; i < r.pixels; i += THREADS) {
        const int at = r.rest + i, n = at / image, p = (at - n * image) / s.Q;
        const int h = p * s.conv->stride - s.conv->pad,
                  w = (at - n * image - p * s.Q) * s.conv->stride - s.conv->pad;
        int inside = 0;
        for (int tap = 0; tap < s.conv->R; tap++) {
            if (w + tap >= 0 && w + tap < s.W) inside |= 1 << tap;
            if (h + tap >= 0 && h + tap < s.H) inside |= 32 << tap;
        }
        corners[i] = {(n * s.H + h) * s.W + w, inside};
    }
}

/* Numbers c0 .. c0+C-1 of the patches of a run, [pixels][pitch]. */
template <>
__device__ inline void load_r<pn_conv>(const pointwise &s, const run &t, const corner *corners,
                                       int c0, int C, float *r, int pitch, int) {
    const columns k = columns_of(C);
    if (!k.active) return;
    const int c = c0 + 4 * k.quad, tap = c / channels_of(s),
              taps = s.conv->mean ? s.conv->R * s.conv->R : 1;
    const source from = source_of(s.in, c - tap * channels_of(s));
    const norm4 norm = load_norm(from.in->norm, from.in->C, from.quad);
    const pn_stored *x = from.in->x + 4 * from.quad + (size_t)t.image * s.H * s.W * from.in->C;
    const float share = s.conv->mean ? 1.0f / (float)taps : 1;
#pragma unroll 1
    for (int p = k.row; p < t.pixels; p += k.rows) {
        const corner at = corners[p];
        float4 sum = splat(0);
#pragma unroll 1
        for (int n = 0; n < taps; n++) {
            const int i = (tap + n) / s.conv->R, j = (tap + n) - i * s.conv->R,
                      both = 32 << i | 1 << j;
            if ((at.inside & both) != both) continue;
            const float4 v = gpu_read4(x + (ptrdiff_t)(at.pixel + i * s.W + j) * from.in->C);
            sum = sum + relu4(norm(v));
        }
        gpu_store4(r + p * pitch + 4 * k.quad, share * sum);
    }
}

/* ---- backward: how a group is cut ------------------------------------------------------------ */

constexpr int ROOM = BACKWARD_FLOATS; /* floats of shared memory */
constexpr int MOST_PIXELS = 256;      /* of a run of input pixels */

/* Of the first job of a group, but true of all: depends on N, H, W and the parts' C. */
struct conv_cut {
    int slices, blocks;   /* of both tasks; of a slice */
    int slice, dx_slices; /* dx: channels of a slice (the last may have less); how many */
    int pixels, tiles;    /* dx: of a run; how many */
};

/* Pixels whose row and column have these remainders of a division by 2. */
__host__ __device__ inline size_t pixels_of_phase(const pn_conv &j, int row, int column) {
    return (size_t)j.N * ((j.H - row + 1) / 2) * ((j.W - column + 1) / 2);
}
__host__ __device__ inline int tiles_of_phase(const pn_conv &j, int phase, int pixels) {
    return (int)((pixels_of_phase(j, phase / 2, phase % 2) + pixels - 1) / pixels);
}

/* A partial: dw of a slice, or the sums (2,slice). */
struct conv_backward : plain_sums {
    using Job = pn_conv;
    using Cut = conv_cut;
    static bool shares_dx(const pn_conv *jobs, int j) { return jobs[j].shares_dx; }
    static conv_cut cut(const pn_conv *group, int) {
        const pn_conv &first = *group;
        int C = 0;
        for (int i = 0; i < first.parts; i++) C += first.in[i].C;
        conv_cut cut = {0, 0, C, 1, 0, 0};
        if (C > ONE_SLICE) {
            cut.slice = div_up(C / 4, div_up(C, SLICE)) * 4;
            cut.dx_slices = div_up(C, cut.slice);
        }
        cut.slices = cut.dx_slices + min_of(div_up(C, 8), max_of(div_up(C, 32), 64));
        cut.pixels = min_of(PIXELS * rows_of(cut.slice), MOST_PIXELS);
        for (int phase = 0; phase < 4; phase++)
            cut.tiles += tiles_of_phase(first, phase, cut.pixels);
        cut.blocks = blocks_of_slice(cut.dx_slices, cut.tiles);
        return cut;
    }
    static size_t partial_floats(const pn_conv &job, const conv_cut &cut);
};

/* What a job makes of it. */
struct conv_step {
    int numbers, pixels, tiles; /* dw: numbers of a slice; output pixels of a run; runs */
    int outputs;                /* dx: K at a time */
};
__host__ __device__ inline conv_step step_of(const pointwise &s, const conv_cut &cut) {
    conv_step step;
    step.numbers = div_up(s.C / 4, cut.slices - cut.dx_slices) * 4;
    step.pixels = ROOM / (step.numbers + pitch_of(s.K) + 2); /* 2: a corner */
    step.tiles = tiles_of(s, step.pixels);
    const int most = (ROOM - 8 * cut.pixels) / (cut.pixels + cut.slice) & ~3;
    step.outputs = div_up(s.K / 4, div_up(s.K, most)) * 4;
    return step;
}

inline size_t conv_backward::partial_floats(const pn_conv &job, const conv_cut &cut) {
    const pointwise s = view_of(job);
    return max_of(step_of(s, cut).numbers * s.K, 2 * cut.slice);
}

/* What a block has to do for a job. It lies in shared memory: in registers, of which the sums need
 * most, there is no room for it. */
struct conv_work {
    pointwise s;
    conv_cut cut;
    conv_step step;
    int c0, C; /* first number of the slice; how many, 0 or less: it is empty */
    int block, blocks;
};
__device__ inline conv_work work_of(const pn_conv &job, const place<conv_backward> &at) {
    conv_work b = {view_of(job), at.cut, {0, 0, 0, 0}, 0, 0, at.block, at.blocks};
    const int weights = at.slice - at.cut.dx_slices; /* slice of the dw task; else negative */
    b.step = step_of(b.s, b.cut);
    b.c0 = weights < 0 ? at.slice * b.cut.slice : weights * b.step.numbers;
    b.C = weights < 0 ? min_of(b.cut.slice, channels_of(b.s) - b.c0)
                      : min_of(b.step.numbers, b.s.C - b.c0);
    return b;
}

/* ---- backward: dw ---------------------------------------------------------------------------- */

__device__ inline void weight_tiles(const conv_work &b, float *shared, float *partial) {
    const pointwise &s = b.s;
    const int pixels = b.step.pixels, pitch = pitch_of(s.K);
    float *const g = shared + pixels * b.step.numbers;
    corner *const corners = reinterpret_cast<corner *>(g + pixels * pitch);
    slice_sums<false> dw;
    dw.begin(b.C, s.K);
#pragma unroll 1
    for (int tile = b.block; tile < b.step.tiles; tile += b.blocks) {
        const run t = run_of(s, (size_t)tile * pixels, pixels);
        __syncthreads();
        fill_corners<pn_conv>(s, t, corners);
        load_g(s, t, g, pitch);
        __syncthreads();
        load_r<pn_conv>(s, t, corners, b.c0, b.C, shared, b.C, 0);
        __syncthreads();
        dw.add(shared, b.C, 0, s.K, g, pitch, t.pixels, partial, tile == b.block);
    }
    dw.end(shared, partial);
}

/* ---- backward: dx ---------------------------------------------------------------------------- */

/* A run of input pixels of one phase. */
struct phase_run {
    int row, column;                        /* 0 or 1: even or odd */
    int pixels, image, rest, height, width; /* as in run, of an image of that phase's pixels */
};
__device__ inline phase_run phase_run_of(const pn_conv &j, int tile, int pixels) {
    int phase = 0;
    for (; tile >= tiles_of_phase(j, phase, pixels); phase++)
        tile -= tiles_of_phase(j, phase, pixels);
    phase_run t = {phase / 2, phase % 2, pixels, 0, 0, 0, 0};
    t.height = (j.H - t.row + 1) / 2;
    t.width = (j.W - t.column + 1) / 2;
    const size_t first = (size_t)tile * pixels, all = pixels_of_phase(j, t.row, t.column);
    const size_t image = (size_t)t.height * t.width;
    t.image = (int)(first / image);
    t.rest = (int)(first % image);
    if (first + pixels > all) t.pixels = (int)(all - first);
    return t;
}

/* Where a pixel of it is: image (from the run's first on), row and column. */
struct pixel_at {
    int n, h, w, spare; /* 16 bytes */
};
__device__ inline void fill_pixels_at(const phase_run &t, pixel_at *pixels_at) {
    const int image = t.height * t.width;
#pragma unroll 1
    for (int p = (int)threadIdx.x; p < t.pixels; p += THREADS) {
        const int at = t.rest + p, n = at / image, h = (at - n * image) / t.width;
        const int w = at - n * image - h * t.width;
        pixels_at[p] = {n, 2 * h + t.row, 2 * w + t.column, 0};
    }
}

/* The output pixel of its image that sees a pixel through tap (i,j); -1: none. */
__device__ __forceinline__ int seen_by(const pointwise &s, pixel_at at, int i, int j) {
    const int h = at.h + s.conv->pad - i, w = at.w + s.conv->pad - j;
    if (h < 0 || w < 0) return -1;
    const int p = h / s.conv->stride, q = w / s.conv->stride;
    if (p * s.conv->stride != h || q * s.conv->stride != w || p >= s.P || q >= s.Q) return -1;
    return p * s.Q + q;
}

/* Does no window of stride 2 see these pixels through the tap? */
__device__ __forceinline__ bool out_of_phase(const pn_conv &j, const phase_run &t, int tap) {
    const int row = t.row + j.pad + tap / j.R, column = t.column + j.pad + tap % j.R;
    return (row | column) & 1;
}

/* g that a run's pixels get through taps first .. first+taps-1, channels k0 .. k0+K-1:
 * [pixels][pitch]. */
__device__ inline void gather_g(const pointwise &s, const phase_run &t, const pixel_at *pixels_at,
                                int first, int taps, int k0, int K, float *g, int pitch) {
    const columns k = columns_of(K);
    if (!k.active) return;
    const pn_output &out = *s.out;
    const bool batch = out.norm.mode == PN_NORM_BATCH;
    const line4 line = load_line(out, (float)s.N * (float)(s.P * s.Q), k0 / 4 + k.quad);
    const float share = s.conv->mean ? 1.0f / (float)taps : 1;
#pragma unroll 1
    for (int p = k.row; p < t.pixels; p += k.rows) {
        const pixel_at at = pixels_at[p];
        const float f = weight_of(out, t.image + at.n);
        float4 sum = splat(0);
#pragma unroll 1
        for (int tap = first; tap < first + taps; tap++) {
            const int pixel = seen_by(s, at, tap / s.conv->R, tap % s.conv->R);
            if (pixel < 0) continue;
            const size_t from =
                ((size_t)(t.image + at.n) * s.P * s.Q + pixel) * s.K + k0 + 4 * k.quad;
            sum = sum + fma4(f * gpu_read4(out.dy + from), line.a, line.c);
            if (batch) sum = fma4(gpu_read4(out.z + from), line.b, sum);
        }
        gpu_store4(g + p * pitch + 4 * k.quad, share * sum);
    }
}

__device__ inline void input_tiles(const conv_work &b, float *shared, float *partial) {
    const pointwise &s = b.s;
    const pn_conv &job = *s.conv;
    const int pitch = pitch_of(b.step.outputs), all = job.R * job.R, taps = job.mean ? 1 : all;
    pixel_at *const pixels_at = reinterpret_cast<pixel_at *>(shared);
    float *const g = shared + 4 * b.cut.pixels, *const w = g + b.cut.pixels * pitch;
    const columns k = columns_of(b.C);
    const source from = source_of(s.in, b.c0 + 4 * k.quad);
    const bool wanted = k.active && from.in->dx;
    sums4 sums = {splat(0), splat(0)};
#pragma unroll 1
    for (int tile = b.block; tile < b.cut.tiles; tile += b.blocks) {
        const phase_run t = phase_run_of(job, tile, b.cut.pixels);
        float4 da[PIXELS];
        int pixel[PIXELS];
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            da[i] = splat(0);
            pixel[i] = min_of(k.row + i * k.rows, t.pixels - 1) * pitch;
        }
        __syncthreads();
        fill_pixels_at(t, pixels_at);
        __syncthreads();
#pragma unroll 1
        for (int tap = 0; tap < taps; tap++) {
            if (!job.mean && job.stride == 2 && out_of_phase(job, t, tap)) continue;
#pragma unroll 1
            for (int k0 = 0; k0 < s.K; k0 += b.step.outputs) {
                const int K = min_of(b.step.outputs, s.K - k0);
                __syncthreads();
                gather_g(s, t, pixels_at, tap, job.mean ? all : 1, k0, K, g, pitch);
                load_transposed<1>(s, tap * channels_of(s) + b.c0, b.C, k0, K, w);
                __syncthreads();
                if (wanted && k.row < t.pixels)
                    accumulate(da, g, pixel, K, shared_weights{w + 4 * k.quad, b.C});
            }
        }
        if (!wanted) continue;
        const norm4 norm = load_norm(from.in->norm, from.in->C, from.quad);
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            const int p = k.row + i * k.rows;
            if (p >= t.pixels) continue;
            const pixel_at here = pixels_at[p];
            const size_t row = (size_t)(t.image + here.n) * s.H + here.h;
            const size_t to = (row * s.W + here.w) * from.in->C + 4 * from.quad;
            const float4 x = gpu_read4(from.in->x + to), d = where_positive(norm(x), da[i]);
            sums.add(d, x - norm.mean);
            pn_stored *const dx = from.in->dx + to;
            gpu_store4(dx, from.in->add ? gpu_load4(dx) + d : d);
        }
    }
    const float4 both[2] = {sums.s1, sums.s2};
    fold_columns(k, both, shared, partial);
}

/* What a block without a run adds. */
__device__ inline void clear(float *partial, int floats) {
    for (int i = 4 * (int)threadIdx.x; i < floats; i += 4 * THREADS)
        gpu_store4(partial + i, splat(0));
}

/* ---- backward: a block ----------------------------------------------------------------------- */

__global__ __launch_bounds__(THREADS, 2) void conv_bwd_kernel(const call_of<conv_backward> call) {
    const place<conv_backward> at = find_place(call);
    if (gate_closed(call)) return;
    GPU_DYNAMIC(float, shared);
    GPU_SHARED(conv_work, work);
    const bool inputs = at.slice < at.cut.dx_slices;
#pragma unroll 1
    for (int j = at.first; j < at.end; j++) {
        float *const partial = partial_of(call, at, j);
        __syncthreads();
        if (threadIdx.x == 0) work = work_of(call.jobs[j], at);
        __syncthreads();
        if (inputs)
            input_tiles(work, shared, partial);
        else if (work.C > 0 && work.block < work.step.tiles)
            weight_tiles(work, shared, partial);
        else if (work.C > 0 && at.tickets > 1) /* its set is added up in any case */
            clear(partial, work.C * work.s.K);
    }
    if (!last_of_slice(call, at)) return;
#pragma unroll 1
    for (int j = at.first; j < at.end; j++) {
        if (threadIdx.x == 0) work = work_of(call.jobs[j], at);
        __syncthreads();
        const int wrote = inputs ? work.blocks : min_of(work.blocks, work.step.tiles);
        const leftover all = what_remains(call, at, j, wrote);
        if (inputs)
            finish_slice_sums<1>(work.s, work.c0, work.C, all.first, all.step, all.count);
        else if (work.C > 0)
            finish_weights<1>(work.s, work.c0, work.C, all.first, all.step, all.count);
        if (at.slice == 0) add_norm_parameters(work.s.out->norm, work.s.K);
        __syncthreads(); /* the next job adds to the same sums */
    }
}

/* Not the template of pointwise.h: the backward pass has a kernel of its own. */
pn_status launch_backward(const checked_call<conv_backward> &call) {
    return call.launch(conv_bwd_kernel, ROOM * sizeof(float));
}

}  // namespace

PN_CUDA_OP(conv, pointwise_forward<pn_conv>, conv_backward)
