/* kernels/cuda/pointwise.h -- what conv1x1 and reduce are: products of r = relu(v(x)) with a
 * matrix, pixel by pixel, on one grid of pixels (conv1x1) or on two (reduce). And the forward pass
 * of conv, whose matrix has a row for each number that a window sees (conv.cu).
 *
 * Pixels are counted through all images, so that a tile of them crosses rows and images and no
 * shape leaves a block half empty. x is the concatenation of the parts: a thread that loads owns a
 * quad of one part's channels (and one grid), with its norm in registers.
 *
 * Forward is bound by memory at the few channels of a search (C 64 to K 16: 6 operations a byte).
 * A tile is 4 pixels (2 where that makes too few tiles for a big card) of every thread's quad of
 * K. Their r comes through shared memory a chunk of channels at a time, while the sums wait in
 * registers: 48 KB whatever C is. Read x once, write z once. Two blocks a multiprocessor. Where
 * tensor cores are faster (gpu.h), they make the sums, of up to 40 tiles of 16 pixels by 8 k of a
 * grid; z then comes through shared memory, in the place of r.
 *
 * Backward reads dy, z and x once, writes dx once, at C of up to 128. More channels are cut into
 * *slices* of about 64, each with blocks, tickets and partials of its own: a block then keeps the
 * sums of its slice of dw in registers, and partials stay small. Every slice needs all of g = dz,
 * which is therefore read once more per slice (from L2, mostly). A slice and a tile of pixels
 * depend on the input alone, so that jobs that share dx agree on them; a job with a large K takes a
 * tile in several steps. A step: x into registers (each thread the pixels and the quad whose dx it
 * will make), r and g into shared memory; dw += r^T g; then da = g w^T with w transposed in shared
 * memory, masked by the x in registers. Of one grid, on tensor cores, w comes through L1, and da
 * through shared memory, in the place of r.
 *
 * Grids that have no whole number of quads (K/2 = 2, 6, 10 ...) are taken in pairs of channels:
 * `PAIRS`, an even K/2 in general; slower, and no network of ours has it. */
#ifndef PN_GPU_POINTWISE_H
#define PN_GPU_POINTWISE_H

#include "kernels/cuda/mma.h"
#include "kernels/cuda/places.h"

namespace {

/* ---- a job ----------------------------------------------------------------------------------- */

/* The three ops have one struct, and each its own kernels. */
struct conv1x1_job : pn_conv {};
struct reduce_job : pn_conv {};
static_assert(sizeof(conv1x1_job) == sizeof(pn_conv) && sizeof(reduce_job) == sizeof(pn_conv),
              "a job is read as what the op calls it");

/* Grids of an op, which is also its stride; grid f reads the pixels (2p+f, 2q+f). */
template <class Job>
constexpr int grids_of = 1;
template <>
constexpr int grids_of<reduce_job> = 2;

/* Does an op need to be told where its pixels lie in the input? */
template <class Job>
constexpr bool has_corners = grids_of<Job> > 1;

struct pointwise {
    int N, H, W, P, Q, parts, C, K, Kg; /* C of all parts, of conv of a patch; Kg of one grid */
    const pn_input *in;
    const pn_output *out;
    const float *w; /* (grids,C,Kg) */
    float *dw;
    const pn_conv *conv; /* conv: the job itself, which tells its windows; else NULL */
};

template <class Job>
__host__ __device__ inline pointwise view_of(const Job &j) {
    pointwise s = {j.N, j.H, j.W, 0, 0, j.parts, 0, j.out.K, 0, j.in, &j.out, j.w, j.dw, nullptr};
    s.P = div_up(s.H, grids_of<Job>);
    s.Q = div_up(s.W, grids_of<Job>);
    s.Kg = s.K / grids_of<Job>;
    for (int i = 0; i < s.parts; i++) s.C += s.in[i].C;
    return s;
}

/* Rows of threads that have a quad each of `channels`. */
__host__ __device__ inline int rows_of(int channels) { return max_of(THREADS / (channels / 4), 1); }

__host__ __device__ inline int tiles_of(const pointwise &s, int pixels) {
    return (int)(((size_t)s.N * s.P * s.Q + pixels - 1) / pixels);
}

/* A run of output pixels, some of which may not be there. */
struct run {
    size_t first;
    int pixels;      /* 0 or less: nothing */
    int image, rest; /* of the first: its image, its pixel in there */
};
__device__ inline run run_of(const pointwise &s, size_t first, int pixels) {
    const size_t image = (size_t)s.P * s.Q, all = s.N * image;
    run r = {first, pixels, (int)(first / image), (int)(first % image)};
    if (first + pixels > all) r.pixels = (int)(all - first);
    return r;
}

/* The image of pixel p of a run. */
__device__ __forceinline__ int image_of(const pointwise &s, const run &r, int p) {
    return r.image + (r.rest + p) / (s.P * s.Q);
}

/* Where the pixels of a run lie in the input: a table in shared memory, since it takes two
 * divisions a pixel. Each entry is, for reduce, of the two by two pixels that begin at (2p, 2q). */
struct corner {
    int pixel;  /* its first pixel, from the first pixel of the run's first image */
    int inside; /* bit 0: there is a pixel to the right; bit 1: below */
};
template <class Job>
__device__ inline void fill_corners(const pointwise &s, const run &r, corner *corners) {
    if (!has_corners<Job>) return;
    const int image = s.P * s.Q;
#pragma unroll 1
    for (int p = (int)threadIdx.x; p < r.pixels; p += THREADS) {
        const int at = r.rest + p, n = at / image, h = (at - n * image) / s.Q;
        const int w = at - n * image - h * s.Q;
        corners[p] = {(n * s.H + 2 * h) * s.W + 2 * w,
                      (2 * w + 1 < s.W ? 1 : 0) | (2 * h + 1 < s.H ? 2 : 0)};
    }
}

/* Where grid f finds pixel p of a run. */
struct spot {
    size_t pixel; /* through all images */
    bool inside;
};
template <int GRIDS>
__device__ __forceinline__ spot spot_of(const pointwise &s, const run &r, const corner *corners,
                                        int p, int f) {
    if (GRIDS == 1) return {r.first + p, true};
    const corner c = corners[p];
    return {(size_t)r.image * s.H * s.W + c.pixel + f * (s.W + 1), f == 0 || c.inside == 3};
}
/* The pixel beside it that no grid reads and grid f clears: right of (2p,2q), or below. */
__device__ __forceinline__ spot idle_of(const pointwise &s, const run &r, const corner *corners,
                                        int p, int f) {
    const corner c = corners[p];
    return {(size_t)r.image * s.H * s.W + c.pixel + (f ? s.W : 1), (c.inside >> f & 1) != 0};
}

/* ---- forward --------------------------------------------------------------------------------- */

constexpr int FORWARD_FLOATS = (int)(DYNAMIC / sizeof(float)); /* of shared memory */
constexpr int PLANE_GAP = 16; /* floats between the grids' planes: half the banks */

/* How a job is cut; K and the number of pixels alone decide. */
struct forward_cut : whole {
    int each;   /* pixels of a thread */
    int pixels; /* of a tile */
    int chunk;  /* channels at a time, */
    int part;   /* or where their weights are in shared memory, too */
};

template <class Job>
inline forward_cut forward_cut_of(const pointwise &s) {
    constexpr int GRIDS = grids_of<Job>;
    const int rows = rows_of(s.K);
    forward_cut cut = {{0, 0}, PIXELS, 0, 0, 0};
    if (tiles_of(s, PIXELS * rows) < wanted().halves) cut.each = PIXELS / 2;
    cut.pixels = min_of(cut.each * rows, 512);
    const int room = FORWARD_FLOATS - (has_corners<Job> ? 2 * cut.pixels : 0);
    const int pitch = (room / GRIDS - PLANE_GAP) / cut.pixels;
    const int most = max_of(min_of(pitch - 4, MAX_CHANNELS / GRIDS) & ~3, 4);
    const int chunks = div_up(s.C, most);
    cut.chunk = div_up(s.C / 4, chunks) * 4;
    /* In whole slots of a product (mma.h), for which rows of r have 4 floats more at most. */
    const int fit = (room / GRIDS - PLANE_GAP - 4 * cut.pixels) /
                    (cut.pixels + weights_pitch(s.Kg)) / MMA_SLOTS;
    const int parts = div_up(s.C, max_of(min_of(fit * MMA_SLOTS, MAX_CHANNELS / GRIDS), MMA_SLOTS));
    cut.part = div_up(s.C, parts * MMA_SLOTS) * MMA_SLOTS;
    static_cast<whole &>(cut) = whole_of(tiles_of(s, cut.pixels));
    return cut;
}

template <class Job_>
struct pointwise_forward : one_round {
    using Job = Job_;
    using Cut = forward_cut;
    static bool shares_dx(const Job *, int) { return false; }
    static forward_cut cut(const Job *job, int) { return forward_cut_of<Job>(view_of(*job)); }
    static size_t partial_floats(const Job &job, const forward_cut &) {
        return moments_floats(job.out.norm, job.out.K);
    }
};

/* r of a run into planes [grid][pixel][pitch], channels c0 .. c0+C-1 of the concatenation. */
template <class Job>
__device__ inline void load_r(const pointwise &s, const run &t, const corner *corners, int c0,
                              int C, float *r, int pitch, int plane) {
    constexpr int GRIDS = grids_of<Job>;
    const columns k = columns_of(GRIDS * C);
    if (!k.active) return;
    const int f = GRIDS == 1 ? 0 : k.quad / (C / 4), quad = k.quad - f * (C / 4);
    const source from = source_of(s.in, c0 + 4 * quad);
    const norm4 norm = load_norm(from.in->norm, from.in->C, from.quad);
    const pn_stored *x = from.in->x + 4 * from.quad;
    float *to = r + f * plane + 4 * quad;
#pragma unroll 4
    for (int p = k.row; p < t.pixels; p += k.rows) {
        const spot at = spot_of<GRIDS>(s, t, corners, p, f);
        const float4 v = at.inside ? relu4(norm(gpu_read4(x + at.pixel * from.in->C))) : splat(0);
        gpu_store4(to + p * pitch, v);
    }
}

/* A quad's weights where grids end in the middle of a quad: two pairs of columns, each of its own
 * grid; `low` and `high` point to the pair's column in row 0. */
struct paired_weights {
    const float *low, *high;
    int row;
    __device__ __forceinline__ float4 operator()(int c) const {
        const float *l = low + (size_t)c * row, *h = high + (size_t)c * row;
        return make_float4(__ldg(l), __ldg(l + 1), __ldg(h), __ldg(h + 1));
    }
};
struct quad_weights {
    const float *column;
    int row;
    __device__ __forceinline__ float4 operator()(int c) const {
        return gpu_read4(column + (size_t)c * row);
    }
};

template <int EACH>
__device__ __forceinline__ void accumulate_pairs(float4 (&z)[EACH], const float *r, int low,
                                                 int high, const int (&at)[EACH], int C,
                                                 paired_weights w) {
    for (int c = 0; c < C; c++) {
        const float4 row = w(c);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const float a = r[low + at[i] + c], b = r[high + at[i] + c];
            z[i] = fma4(make_float4(a, a, b, b), row, z[i]);
        }
    }
}

/* z and its moments for the tiles of this block. */
template <class Job, int EACH, bool PAIRS>
__device__ inline void forward_tiles(const pointwise &s, const place<pointwise_forward<Job>> &p,
                                     const call_of<pointwise_forward<Job>> &call, float *shared) {
    constexpr int GRIDS = grids_of<Job>;
    const forward_cut &cut = p.cut;
    const int pitch = pitch_of(cut.chunk), plane = cut.pixels * pitch + PLANE_GAP;
    const columns k = columns_of(s.K);
    const int low = PAIRS && 4 * k.quad >= s.Kg, high = PAIRS && 4 * k.quad + 2 >= s.Kg;
    const int f = GRIDS > 1 && 4 * k.quad >= s.Kg;
    int at[EACH], seen = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++)
        at[i] = min_of(k.row + i * k.rows, cut.pixels - 1) * pitch + (PAIRS ? 0 : f * plane);
    moments m = no_moments();
    corner *const corners = reinterpret_cast<corner *>(shared + GRIDS * plane);

    for (int tile = p.block; tile < p.tiles; tile += p.blocks) {
        const run t = run_of(s, (size_t)tile * cut.pixels, cut.pixels);
        float4 z[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) z[i] = splat(0);
        fill_corners<Job>(s, t, corners);
        for (int c = 0; c < s.C; c += cut.chunk) {
            const int C = min_of(cut.chunk, s.C - c);
            __syncthreads();
            load_r<Job>(s, t, corners, c, C, shared, pitch, plane);
            __syncthreads();
            if (!k.active || k.row >= t.pixels) continue;
            if (PAIRS) {
                const size_t row = (size_t)c * s.Kg;
                const float *w = s.w + row + 4 * k.quad, *next = s.w + row + 4 * k.quad + 2;
                const size_t grid = (size_t)s.C * s.Kg - s.Kg;
                accumulate_pairs(z, shared, low * plane, high * plane, at, C,
                                 {w + low * grid, next + high * grid, s.Kg});
            } else {
                const float *w = s.w + ((size_t)f * s.C + c) * s.Kg + 4 * k.quad - f * s.Kg;
                accumulate(z, shared, at, C, quad_weights{w, s.Kg});
            }
        }
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int pixel = k.row + i * k.rows;
            if (!k.active || pixel >= t.pixels) continue;
            gpu_store4(s.out->z + (t.first + pixel) * s.K + 4 * k.quad, z[i]);
            m.add(z[i]);
        }
        seen += t.pixels;
    }
    if (s.out->norm.mode != PN_NORM_BATCH) return;
    store_moments(k, m, seen, shared, partial_of(call, p, p.first));
}

/* The same on tensor cores. z goes through shared memory, that a thread owns a quad of channels. */
template <class Job>
__device__ inline void forward_tiles_mma(const pointwise &s, const place<pointwise_forward<Job>> &p,
                                         const call_of<pointwise_forward<Job>> &call,
                                         float *shared) {
    const forward_cut &cut = p.cut;
    constexpr int GRIDS = grids_of<Job>;
    const int pitch = pitch_of(cut.part), z_pitch = pitch_of(s.K);
    const int plane = cut.pixels * pitch + PLANE_GAP, w_plane = cut.part * weights_pitch(s.Kg);
    const columns k = columns_of(s.K);
    float *const w = shared + GRIDS * plane;
    corner *const corners = reinterpret_cast<corner *>(w + GRIDS * w_plane);
    moments m = no_moments();
    int seen = 0;
#pragma unroll 1
    for (int tile = p.block; tile < p.tiles; tile += p.blocks) {
        const run t = run_of(s, (size_t)tile * cut.pixels, cut.pixels);
        inner_mma<GRIDS> z;
        float4 sum[z.MOST];
#pragma unroll
        for (int i = 0; i < z.MOST; i++) sum[i] = splat(0);
        z.begin(t.pixels, s.Kg);
        __syncthreads();
        fill_corners<Job>(s, t, corners);
#pragma unroll 1
        for (int c = 0; c < s.C; c += cut.part) {
            const int C = min_of(cut.part, s.C - c);
            __syncthreads();
#pragma unroll
            for (int f = 0; f < GRIDS; f++)
                stage_weights(s.w + ((size_t)f * s.C + c) * s.Kg, C, s.Kg, w + f * w_plane);
            load_r<Job>(s, t, corners, c, C, shared, pitch, plane);
            __syncthreads();
            z.add(sum, shared, pitch, plane, t.pixels, C, w, w_plane, s.Kg);
        }
        __syncthreads();
        z.put(sum, t.pixels, s.Kg, shared, z_pitch);
        __syncthreads();
        if (k.active)
            for (int pixel = k.row; pixel < t.pixels; pixel += k.rows) {
                const float4 v = gpu_load4(shared + pixel * z_pitch + 4 * k.quad);
                gpu_store4(s.out->z + (t.first + pixel) * s.K + 4 * k.quad, v);
                m.add(v);
            }
        seen += t.pixels;
    }
    if (s.out->norm.mode != PN_NORM_BATCH) return;
    store_moments(k, m, seen, shared, partial_of(call, p, p.first));
}

template <class Job, bool PAIRS>
__global__ __launch_bounds__(THREADS, PAIRS ? 1 : 2) void forward_kernel(
    const call_of<pointwise_forward<Job>> call) {
    GPU_DYNAMIC(float, shared);
    GPU_SHARED(place<pointwise_forward<Job>>, p); /* in registers, conv would spill on sm_86 */
    GPU_SHARED(pointwise, s);
    find_place(call, &p);
    if (threadIdx.x == 0) s = view_of(call.jobs[p.first]);
    __syncthreads();
    if (!PAIRS && gpu_prefers_mma() && p.cut.pixels <= inner_mma<grids_of<Job>>::most_pixels(s.Kg))
        forward_tiles_mma<Job>(s, p, call, shared);
    else if (p.cut.each == PIXELS)
        forward_tiles<Job, PIXELS, PAIRS>(s, p, call, shared);
    else
        forward_tiles<Job, PIXELS / 2, PAIRS>(s, p, call, shared);

    const pn_norm &norm = s.out->norm;
    if (norm.mode == PN_NORM_RUNNING && p.block == 0) copy_statistics(norm, s.K);
    if (norm.mode != PN_NORM_BATCH || !last_of_slice(call, p)) return;
    const leftover all = what_remains(call, p, p.first);
    finish_statistics(norm, s.K, all.first, all.step, all.count);
}

/* ---- backward: how a group is cut ------------------------------------------------------------ */

constexpr int BACKWARD_FLOATS = (int)(DYNAMIC / sizeof(float)); /* of shared memory at most */
constexpr int WEIGHT_FLOATS = 4096; /* of it for w, if w is that large */
constexpr int SLICE = 72;           /* channels of a slice, grids counted, at most, */
constexpr int ONE_SLICE = 128;      /* but so many make a single one */

/* Two tables of corners, floats of a pixel. */
template <int GRIDS>
constexpr int CORNER_FLOATS = GRIDS == 1 ? 0 : 4;

/* Of the first job of a group, but true of all: depends on N, H, W and the parts' C. */
struct backward_cut {
    int slice, slices; /* channels of a slice (the last may have less); how many */
    int pixels, tiles; /* of a tile; how many */
    int blocks;        /* of a slice */
};

template <class Job>
inline backward_cut backward_cut_of(const pointwise &s) {
    constexpr int GRIDS = grids_of<Job>;
    backward_cut cut = {s.C, 1, 0, 0, 0};
    if (GRIDS * s.C > ONE_SLICE) {
        cut.slice = div_up(s.C / 4, div_up(GRIDS * s.C, SLICE)) * 4;
        cut.slices = div_up(s.C, cut.slice);
    }
    /* Room for a K like the first part's C, which is the usual one. */
    const int usual = min_of(s.in[0].C * GRIDS, MAX_CHANNELS);
    const int fit = (BACKWARD_FLOATS - WEIGHT_FLOATS) /
                    (GRIDS * cut.slice + pitch_of(usual) + CORNER_FLOATS<GRIDS>);
    cut.pixels = max_of(min_of(PIXELS * rows_of(GRIDS * cut.slice), fit), 1);
    cut.tiles = tiles_of(s, cut.pixels);
    cut.blocks = blocks_of_slice(cut.slices, cut.tiles);
    return cut;
}

/* What a job of the group makes of it. */
struct backward_step {
    int pixels; /* at a time */
    int rows;   /* of w transposed, a multiple of 4, at a time; of one grid */
    int all;    /* rows of w transposed */
    int floats; /* of shared memory */
};

__host__ __device__ inline int up4_of(int n) { return (n + 3) & ~3; }

template <class Job>
__host__ __device__ inline backward_step backward_step_of(const pointwise &s,
                                                          const backward_cut &cut) {
    const int channels = grids_of<Job> * cut.slice, room = BACKWARD_FLOATS;
    const int pixel = channels + pitch_of(s.K) + CORNER_FLOATS<grids_of<Job>>;
    backward_step step = {cut.pixels, 0, up4_of(s.Kg), 0};
    const int fit = (room - min_of(channels * step.all, WEIGHT_FLOATS)) / pixel;
    if (step.pixels > fit) step.pixels = div_up(cut.pixels, div_up(cut.pixels, fit));
    const int rows = (room - step.pixels * pixel) / channels & ~3;
    step.rows = div_up(step.all / 4, div_up(step.all, rows)) * 4;
    step.floats = max_of(step.pixels * pixel + step.rows * channels, 4096);
    return step;
}

/* On tensor cores (of one grid) w is read through L1, and rows of r have gaps (mma.h). */
__host__ __device__ inline int mma_floats(int pixels, const backward_cut &cut, int K) {
    return pixels * (pitch_of(cut.slice) + pitch_of(K));
}

/* A partial: dw (slice,K), then the sums (2,grids,slice). */
template <class Job_>
struct pointwise_backward : plain_sums {
    using Job = Job_;
    using Cut = backward_cut;
    static bool shares_dx(const Job *jobs, int j) { return jobs[j].shares_dx; }
    static backward_cut cut(const Job *group, int) { return backward_cut_of<Job>(view_of(*group)); }
    static size_t partial_floats(const Job &job, const backward_cut &cut) {
        return (size_t)cut.slice * job.out.K + 2 * (size_t)grids_of<Job> * cut.slice;
    }
};

/* ---- backward: the weights' gradient --------------------------------------------------------- */

/* dw[c][k] of a slice, k through both grids, as outer4 in matrix.h; but column k finds its r in
 * the plane of its grid. */
template <bool PAIRS>
struct slice_sums {
    int quads, row, items, segments, item, segment;
    float4 sum[4];

    __device__ inline void begin(int C, int K) {
        quads = K / 4;
        row = K;
        items = (C / 4) * quads;
        segments = items <= THREADS ? THREADS / items : 0;
        item = (int)threadIdx.x % items;
        segment = (int)threadIdx.x / items;
        clear();
    }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < 4; i++) sum[i] = splat(0);
    }

    /* r [plane][pixels][pitch]; Kg columns see each plane. */
    __device__ __forceinline__ void gather(const float *r, int pitch, int plane, int Kg,
                                           const float *g, int g_pitch, int which, int from,
                                           int step, int pixels) {
        const int k = 4 * (which % quads);
        const float *low = r + 4 * (which / quads) + (k >= Kg ? plane : 0);
        const float *high = r + 4 * (which / quads) + (k + 2 >= Kg ? plane : 0);
        g += k;
#pragma unroll 2
        for (int p = from; p < pixels; p += step) {
            const float4 x = gpu_load4(low + p * pitch), y = gpu_load4(g + p * g_pitch);
            if (PAIRS) {
                const float4 h = gpu_load4(high + p * pitch);
                sum[0] = fma4(make_float4(x.x, x.x, h.x, h.x), y, sum[0]);
                sum[1] = fma4(make_float4(x.y, x.y, h.y, h.y), y, sum[1]);
                sum[2] = fma4(make_float4(x.z, x.z, h.z, h.z), y, sum[2]);
                sum[3] = fma4(make_float4(x.w, x.w, h.w, h.w), y, sum[3]);
            } else {
                sum[0] = fma4(x.x, y, sum[0]);
                sum[1] = fma4(x.y, y, sum[1]);
                sum[2] = fma4(x.z, y, sum[2]);
                sum[3] = fma4(x.w, y, sum[3]);
            }
        }
    }

    __device__ __forceinline__ float *item_at(float *partial, int which) const {
        return partial + (size_t)(4 * (which / quads)) * row + 4 * (which % quads);
    }

    __device__ inline void add(const float *r, int pitch, int plane, int Kg, const float *g,
                               int g_pitch, int pixels, float *partial, bool first) {
        if (segments) {
            if (segment < segments)
                gather(r, pitch, plane, Kg, g, g_pitch, item, segment, segments, pixels);
            return;
        }
        for (int which = (int)threadIdx.x; which < items; which += THREADS) {
            clear();
            gather(r, pitch, plane, Kg, g, g_pitch, which, 0, 1, pixels);
            float *to = item_at(partial, which);
#pragma unroll
            for (int i = 0; i < 4; i++)
                gpu_store4(to + (size_t)i * row,
                           first ? sum[i] : gpu_load4(to + (size_t)i * row) + sum[i]);
        }
    }

    /* room: 4096 floats that nobody uses any more. */
    __device__ inline void end(float *room, float *partial) {
        if (!segments) return;
        const int floats = 16 * items;
        __syncthreads();
        if (segment < segments)
#pragma unroll
            for (int i = 0; i < 4; i++)
                gpu_store4(item_at(room + (size_t)segment * floats, item) + i * row, sum[i]);
        __syncthreads();
        fold_segments(room, segments, floats, partial);
    }
};

/* ---- backward: a block ----------------------------------------------------------------------- */

/* g = dz of a run, [pixels][pitch]. */
__device__ inline void load_g(const pointwise &s, const run &t, float *g, int pitch) {
    const columns k = columns_of(s.K);
    if (!k.active) return;
    const pn_output &out = *s.out;
    const dz4 dz = load_dz(out, (double)s.N * s.P * s.Q, k.quad);
    const size_t from = t.first * s.K + 4 * k.quad;
#pragma unroll 2
    for (int p = k.row; p < t.pixels; p += k.rows) {
        const size_t at = from + (size_t)p * s.K;
        const float4 dy = gpu_read4(out.dy + at);
        const float4 z = dz.batch ? gpu_read4(out.z + at) : splat(0);
        const float f = out.factor ? weight_of(out, image_of(s, t, p)) : weight_of(out);
        gpu_store4(g + p * pitch + 4 * k.quad, dz(f, dy, z));
    }
}

/* x of the pixels of a run whose dx this thread makes, 0 outside; and r, rows of `pitch`. */
template <int GRIDS>
__device__ __forceinline__ void load_x(const pointwise &s, const run &t, const corner *corners,
                                       const columns &k, int f, const source &from,
                                       float4 (&v)[PIXELS]) {
    const pn_stored *const x = from.in->x + 4 * from.quad;
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        const int p = k.row + i * k.rows;
        v[i] = splat(0);
        if (!k.active || p >= t.pixels) continue;
        const spot here = spot_of<GRIDS>(s, t, corners, p, f);
        if (here.inside) v[i] = gpu_read4(x + here.pixel * from.in->C);
    }
}
template <int GRIDS>
__device__ __forceinline__ void store_r(const pointwise &s, const run &t, const corner *corners,
                                        const columns &k, int f, const source &from,
                                        const float4 (&v)[PIXELS], float *r, int pitch) {
    const norm4 norm = load_norm(from.in->norm, from.in->C, from.quad);
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        const int p = k.row + i * k.rows;
        if (!k.active || p >= t.pixels) continue;
        const bool inside = spot_of<GRIDS>(s, t, corners, p, f).inside;
        gpu_store4(r + p * pitch, inside ? relu4(norm(v[i])) : splat(0));
    }
}

/* Rows k0 .. k0+rows-1 of w transposed, for channels c0 .. c0+C-1 of every grid:
 * to[grid][row][c] = w[grid][c][base + row - grid's first], 0 for the other grid's columns. */
template <int GRIDS>
__device__ inline void load_transposed(const pointwise &s, int c0, int C, int k0, int rows,
                                       float *to) {
    const int one = C * (rows / 4);
#pragma unroll 1
    for (int i = (int)threadIdx.x; i < GRIDS * one; i += THREADS) {
        const int f = GRIDS == 1 ? 0 : i / one, c = (i - f * one) % C;
        const int quad = (i - f * one) / C, first = GRIDS == 1 ? 0 : (f * s.Kg) & ~3;
        const int k = first + k0 + 4 * quad - f * s.Kg; /* column of the grid; may be -2 */
        const float *row = s.w + ((size_t)f * s.C + c0 + c) * s.Kg;
        float4 v;
        if (s.Kg % 4 == 0 || GRIDS == 1) {
            v = gpu_read4(row + k);
        } else {
            v.x = k >= 0 ? row[k] : 0;
            v.y = k >= 0 ? row[k + 1] : 0;
            v.z = k + 2 < s.Kg ? row[k + 2] : 0;
            v.w = k + 2 < s.Kg ? row[k + 3] : 0;
        }
        float *at = to + (size_t)(f * rows + 4 * quad) * C + c;
        at[0] = v.x;
        at[C] = v.y;
        at[2 * C] = v.z;
        at[3 * C] = v.w;
    }
}

struct shared_weights {
    const float *column;
    int row;
    __device__ __forceinline__ float4 operator()(int k) const {
        return gpu_load4(column + k * row);
    }
};

/* dx of the pixels of a run that this thread makes, from x and the gradient behind relu, and their
 * sums. Of two grids that do not add, pixels that neither reads get zeros. */
template <int GRIDS>
__device__ __forceinline__ void store_dx(const pointwise &s, const run &t, const corner *corners,
                                         const columns &k, int f, const source &from,
                                         const float4 (&v)[PIXELS], const float4 (&da)[PIXELS],
                                         sums4 &sums) {
    pn_stored *const dx = from.in->dx + 4 * from.quad;
    const bool add = from.in->add;
    const norm4 norm = load_norm(from.in->norm, from.in->C, from.quad);
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        const int p = k.row + i * k.rows;
        if (p >= t.pixels) continue;
        const spot here = spot_of<GRIDS>(s, t, corners, p, f);
        if (here.inside) {
            pn_stored *to = dx + here.pixel * from.in->C;
            const float4 d = where_positive(norm(v[i]), da[i]);
            sums.add(d, v[i] - norm.mean);
            gpu_store4(to, add ? gpu_load4(to) + d : d);
        }
        if (GRIDS == 1 || add) continue;
        const spot idle = idle_of(s, t, corners, p, f);
        if (idle.inside) gpu_store4(dx + idle.pixel * from.in->C, splat(0));
    }
}

/* All that the block does for a job: dx of its tiles and slice, sums into the partial. The
 * pointer to that is in shared memory: seldom used, it would take registers from the loops. */
template <class Job, bool PAIRS>
__device__ inline void backward_tiles(const pointwise &s, const place<pointwise_backward<Job>> &at,
                                      float *shared, float *const &partial) {
    constexpr int GRIDS = grids_of<Job>;
    GPU_SHARED(backward_step, shared_step);
    if (GRIDS == 1 && threadIdx.x == 0) shared_step = backward_step_of<Job>(s, at.cut);
    __syncthreads();
    const backward_step own_step = backward_step_of<Job>(s, at.cut);
    const backward_step &step = GRIDS == 1 ? shared_step : own_step;
    /* The first channel is worked out again each time, and `step` is in shared memory: that the
     * loops keep 128 registers on every card. */
    const int kept = at.slice * at.cut.slice;
    const auto c0 = [&] { return GRIDS == 1 ? at.slice * at.cut.slice : kept; };
    const int C = min_of(at.cut.slice, s.C - c0());
    const int plane = step.pixels * C, pitch = pitch_of(s.K);
    float *const r = shared, *const g = r + GRIDS * plane, *const w = g + step.pixels * pitch;
    corner *corners = reinterpret_cast<corner *>(w + step.rows * GRIDS * C);
    int swap = step.pixels;

    const columns k = columns_of(GRIDS * C);
    const int f = GRIDS == 1 ? 0 : k.quad / (C / 4), quad = k.quad - f * (C / 4);
    const source from = source_of(s.in, c0() + 4 * quad);
    const bool wanted = k.active && from.in->dx;
    bool any_dx = false;
#pragma unroll 1
    for (int c = c0(); c < c0() + C; c += 4) any_dx |= source_of(s.in, c).in->dx != nullptr;

    slice_sums<PAIRS> dw;
    dw.begin(C, s.K);
    sums4 sums = {splat(0), splat(0)};
    for (int tile = at.block; tile < at.tiles; tile += at.blocks)
        for (int begin = 0; begin < at.cut.pixels; begin += step.pixels) {
            const run t = run_of(s, (size_t)tile * at.cut.pixels + begin,
                                 min_of(step.pixels, at.cut.pixels - begin));
            if (t.pixels <= 0) break;
            /* Two tables: dx of the step before may still be under way in other threads. */
            corners += swap, swap = -swap;
            fill_corners<Job>(s, t, corners);
            __syncthreads();
            float4 v[PIXELS];
            load_x<GRIDS>(s, t, corners, k, f, from, v);
            load_g(s, t, g, pitch);
            /* store_r, in so many words: a call of it spills 16 bytes on sm_120. */
            const norm4 norm = load_norm(from.in->norm, from.in->C, from.quad);
#pragma unroll
            for (int i = 0; i < PIXELS; i++) {
                const int p = k.row + i * k.rows;
                if (!k.active || p >= t.pixels) continue;
                const bool inside = spot_of<GRIDS>(s, t, corners, p, f).inside;
                gpu_store4(r + f * plane + p * C + 4 * quad, inside ? relu4(norm(v[i])) : splat(0));
            }
            const bool first = tile == at.block && begin == 0;
            if (any_dx && first && step.rows == step.all)
                load_transposed<GRIDS>(s, c0(), C, 0, step.all, w);
            __syncthreads();
            dw.add(r, C, plane, s.Kg, g, pitch, t.pixels, partial, first);
            if (!any_dx) continue;

            float4 da[PIXELS];
            int pixel[PIXELS];
#pragma unroll
            for (int i = 0; i < PIXELS; i++) {
                da[i] = splat(0);
                pixel[i] = min_of(k.row + i * k.rows, t.pixels - 1) * pitch;
            }
            for (int k0 = 0; k0 < step.all; k0 += step.rows) {
                const int rows = min_of(step.rows, step.all - k0);
                if (step.rows < step.all) {
                    __syncthreads();
                    load_transposed<GRIDS>(s, c0(), C, k0, rows, w);
                    __syncthreads();
                }
                if (!wanted || k.row >= t.pixels) continue;
                const int base = GRIDS == 1 ? 0 : (f * s.Kg) & ~3;
                accumulate(da, g + base + k0, pixel, rows,
                           shared_weights{w + f * rows * C + 4 * quad, C});
            }
            if (!wanted) continue;
            store_dx<GRIDS>(s, t, corners, k, f, from, v, da, sums);
        }
    dw.end(shared, partial);
    const float4 both[2] = {sums.s1, sums.s2};
    fold_columns(k, both, shared, partial + (size_t)C * s.K);
    __syncthreads(); /* not needed, but without it two grids spill 176 bytes on sm_120 */
}

/* The same on tensor cores: of one grid. */
template <class Job>
__device__ inline void backward_tiles_mma(const pointwise &s,
                                          const place<pointwise_backward<Job>> &at, int pixels,
                                          float *shared, float *const &partial) {
    const auto c0 = [&] { return at.slice * at.cut.slice; };
    const int C = min_of(at.cut.slice, s.C - c0());
    const int wide = pitch_of(C), pitch = pitch_of(s.K);
    float *const r = shared, *const g = r + pixels * wide;
    const columns k = columns_of(C);
    const source from = source_of(s.in, c0() + 4 * k.quad);
    const bool wanted = k.active && from.in->dx;
    outer_mma dw;
    float4 dw_sums[4] = {splat(0), splat(0), splat(0), splat(0)};
    sums4 sums = {splat(0), splat(0)};
    dw.begin(C, s.K);
    for (int tile = at.block; tile < at.tiles; tile += at.blocks)
        for (int begin = 0; begin < at.cut.pixels; begin += pixels) {
            const run t = run_of(s, (size_t)tile * at.cut.pixels + begin,
                                 min_of(pixels, at.cut.pixels - begin));
            if (t.pixels <= 0) break;
            __syncthreads();
            float4 v[PIXELS];
            load_x<1>(s, t, nullptr, k, 0, from, v);
            load_g(s, t, g, pitch);
            store_r<1>(s, t, nullptr, k, 0, from, v, r + 4 * k.quad, wide);
            __syncthreads();
            dw.add_or_wait(
                dw_sums, C, s.K, [&](int p) { return r + p * wide; }, g, pitch, t.pixels, partial,
                tile == at.block && begin == 0);
            __syncthreads();
            /* In place of r; of parts without a dx, too. */
            multiply_rows<1>(g, pitch, t.pixels, s.K, s.w + (size_t)c0() * s.K, s.K, C,
                             [&](int p, int c, float2 d) { gpu_store2(r + p * wide + c, d); });
            __syncthreads();
            if (!wanted) continue;
            float4 da[PIXELS];
#pragma unroll
            for (int i = 0; i < PIXELS; i++)
                da[i] = gpu_load4(r + min_of(k.row + i * k.rows, t.pixels - 1) * wide + 4 * k.quad);
            store_dx<1>(s, t, nullptr, k, 0, from, v, da, sums);
        }
    dw.end(dw_sums, C, s.K, shared, partial);
    const float4 both[2] = {sums.s1, sums.s2};
    fold_columns(k, both, shared, partial + (size_t)C * s.K);
}

/* By the last block of a slice: dw += the partials. */
template <int GRIDS>
__device__ inline void finish_weights(const pointwise &s, int c0, int C, const float *partials,
                                      size_t partial_floats, int blocks) {
    const int quads = s.K / 4;
    sum_partials4(partials, partial_floats, blocks, C * quads, [&](int i, float4 sum) {
        const int c = c0 + i / quads, k = 4 * (i % quads);
        const int f = GRIDS > 1 && k >= s.Kg, next = GRIDS > 1 && k + 2 >= s.Kg;
        float *low = s.dw + ((size_t)f * s.C + c) * s.Kg + k - f * s.Kg;
        if (GRIDS == 1 || s.Kg % 4 == 0) {
            gpu_store4(low, gpu_load4(low) + sum);
            return;
        }
        float *high = s.dw + ((size_t)next * s.C + c) * s.Kg + k + 2 - next * s.Kg;
        low[0] += sum.x;
        low[1] += sum.y;
        high[0] += sum.z;
        high[1] += sum.w;
    });
}

/* s1 and s2 of the slice's channels, where a part wants them. */
template <int GRIDS>
__device__ inline void finish_slice_sums(const pointwise &s, int c0, int C, const float *partials,
                                         size_t partial_floats, int blocks) {
    const int quads = C / 4, n = sharers_of(2 * quads), share = (int)threadIdx.x % n;
    for (int first = 0; first < 2 * quads; first += THREADS / n) {
        const int j = first + (int)threadIdx.x / n, which = j / quads, quad = j - which * quads;
        float4 sum = splat(0);
        if (which < 2)
#pragma unroll 4
            for (int b = share; b < blocks; b += n) {
                const float *at = partials + b * partial_floats + which * GRIDS * C + 4 * quad;
                sum = sum + gpu_load4(at);
                if (GRIDS > 1) sum = sum + gpu_load4(at + C);
            }
        sum = fold_sharers(sum, n);
        if (share || which >= 2) continue;
        const source from = source_of(s.in, c0 + 4 * quad);
        const pn_input &in = *from.in;
        if (!in.dx || !wants_sums(in.norm)) continue;
        float *const stats = in.norm.stats + 4 * from.quad, *const to = stats + (2 + which) * in.C;
        if (which) sum = sum * gpu_load4(stats + in.C);
        gpu_store4(to, in.add ? gpu_load4(to) + sum : sum);
    }
}

template <class Job, bool PAIRS>
__global__ __launch_bounds__(THREADS, PAIRS ? 1 : 2) void backward_kernel(
    const call_of<pointwise_backward<Job>> call) {
    constexpr int GRIDS = grids_of<Job>;
    GPU_DYNAMIC(float, shared);
    GPU_SHARED(float *, partial);
    GPU_SHARED(place<pointwise_backward<Job>>, kept);
    find_place(call, &kept);
    if (gate_closed(call)) return;
    __syncthreads();
    /* Of one grid in shared memory, of two in registers: so neither spills, on any card. */
    const place<pointwise_backward<Job>> own = kept;
    const place<pointwise_backward<Job>> &at = GRIDS == 1 ? kept : own;
    GPU_SHARED(pointwise, view);
    GPU_SHARED(int, job);
    if (threadIdx.x == 0) job = at.first - 1;
#pragma unroll 1
    for (;;) {
        __syncthreads(); /* all are done with the job before */
        if (threadIdx.x == 0 && ++job < at.end) {
            partial = partial_of(call, at, job);
            if (GRIDS == 1 && gpu_prefers_mma()) view = view_of(call.jobs[job]);
        }
        __syncthreads();
        if (job == at.end) break;
        if (GRIDS == 1 && gpu_prefers_mma()) {
            /* On sm_100 in shared memory, elsewhere in registers: so it spills on no card. */
            const pointwise copy = view;
            const pointwise &s = gpu_arch() >= 100 ? view : copy;
            const int pixels = backward_step_of<Job>(s, at.cut).pixels;
            if (mma_floats(pixels, at.cut, s.K) <= BACKWARD_FLOATS) {
                backward_tiles_mma<Job>(s, at, pixels, shared, partial);
                continue;
            }
        }
        backward_tiles<Job, PAIRS>(view_of(call.jobs[job]), at, shared, partial);
    }
    if (!last_of_slice(call, at)) return;
    for (int j = at.first; j < at.end; j++) {
        const pointwise s = view_of(call.jobs[j]);
        const leftover all = what_remains(call, at, j);
        const int c0 = at.slice * at.cut.slice, C = min_of(at.cut.slice, s.C - c0);
        finish_weights<GRIDS>(s, c0, C, all.first, all.step, all.count);
        finish_slice_sums<GRIDS>(s, c0, C, all.first + (size_t)C * s.K, all.step, all.count);
        if (at.slice == 0) add_norm_parameters(s.out->norm, s.K);
        __syncthreads(); /* the next job adds to the same sums */
    }
}

/* ---- host ------------------------------------------------------------------------------------ */

template <class Job>
inline pn_status check_widths(const char *op, const Job *jobs, int count) {
    for (int j = 0; j < count; j++) {
        for (int i = 0; i < jobs[j].parts; i++) PN_TRY(check_width(op, j, jobs[j].in[i].C));
        PN_TRY(check_width(op, j, jobs[j].out.K));
    }
    return PN_OK;
}

/* Is there a grid that is no whole number of quads? */
template <class Job>
inline bool has_pairs(const Job *jobs, int count) {
    for (int j = 0; j < count; j++)
        if (view_of(jobs[j]).Kg % 4) return true;
    return false;
}

template <class Job>
inline pn_status launch_forward(const checked_call<pointwise_forward<Job>> &call) {
    return call.launch(has_pairs(call.jobs, call.count) ? forward_kernel<Job, grids_of<Job> != 1>
                                                        : forward_kernel<Job, false>,
                       FORWARD_FLOATS * sizeof(float));
}

template <class Job>
inline pn_status launch_backward(const checked_call<pointwise_backward<Job>> &call) {
    int floats = 0;
    for (int first = 0, end; first < call.count; first = end) {
        end = group_end<pointwise_backward<Job>>(call.jobs, call.count, first);
        const backward_cut cut = backward_cut_of<Job>(view_of(call.jobs[first]));
        for (int j = first; j < end; j++) {
            const pointwise s = view_of(call.jobs[j]);
            const backward_step step = backward_step_of<Job>(s, cut);
            const int with_gaps = mma_floats(step.pixels, cut, s.K);
            floats = max_of(floats, step.floats);
            if (grids_of<Job> == 1 && with_gaps <= BACKWARD_FLOATS)
                floats = max_of(floats, with_gaps);
        }
    }
    return call.launch(has_pairs(call.jobs, call.count) ? backward_kernel<Job, grids_of<Job> != 1>
                                                        : backward_kernel<Job, false>,
                       floats * sizeof(float));
}

}  // namespace

#endif
