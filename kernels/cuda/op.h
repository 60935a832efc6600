/* kernels/cuda/op.h -- what every op of this backend is made of: quads of channels, the two ends of
 * deferred BatchNorm, and sums over blocks in a fixed order. Which block does what is in places.h.
 *
 * A thread owns a quad of channels for good (columns), so that what it sums per channel stays in
 * its registers from the first tile to the last. */
#ifndef PN_GPU_OP_H
#define PN_GPU_OP_H

#include "kernels/cuda/gpu.h"

#include "kernels/check.h"
#include "kernels/cuts.h"

namespace {

constexpr int THREADS = 256;          /* of every block */
constexpr int MAX_BLOCKS = PN_BLOCKS; /* of a group, unless PARSEC_CUTS says another number */
constexpr int MAX_CHANNELS = 1024;    /* of a tensor: 256 quads */
constexpr size_t SHARED = 48 << 10;   /* bytes a block may have on every card, two blocks of it on
                                       the smallest (sm_86: 100 KB a multiprocessor) */
constexpr size_t STATIC = 576;        /* of it for GPU_SHARED, where there is dynamic memory, too */
constexpr size_t DYNAMIC = SHARED - STATIC;

__host__ __device__ inline int div_up(int a, int b) { return (a + b - 1) / b; }
__host__ __device__ inline int min_of(int a, int b) { return a < b ? a : b; }
__host__ __device__ inline int max_of(int a, int b) { return a > b ? a : b; }
__host__ __device__ inline size_t up4(size_t floats) { return (floats + 3) & ~(size_t)3; }

/* a / b for the one b of many a, 0 <= a < 2^22: in 4 instructions of sm_90, where a division of
 * integers takes 23. (a + 1/2) / b is 1/(2 b) from a whole number at least, and off by less. */
struct quotient {
    float inverse;
    __device__ __forceinline__ int of(int a) const { return (int)(((float)a + 0.5F) * inverse); }
};
__device__ __forceinline__ quotient quotient_by(int b) { return {1 / (float)b}; }

/* ---- four channels --------------------------------------------------------------------------- */

__device__ __forceinline__ float4 splat(float a) { return make_float4(a, a, a, a); }
__device__ __forceinline__ float4 operator+(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ __forceinline__ float4 operator-(float4 a, float4 b) {
    return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
}
__device__ __forceinline__ float4 operator*(float4 a, float4 b) {
    return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
__device__ __forceinline__ float4 operator*(float a, float4 b) {
    return make_float4(a * b.x, a * b.y, a * b.z, a * b.w);
}
__device__ __forceinline__ float4 fma4(float4 a, float4 b, float4 c) {
    return make_float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z),
                       fmaf(a.w, b.w, c.w));
}
__device__ __forceinline__ float4 fma4(float a, float4 b, float4 c) {
    return make_float4(fmaf(a, b.x, c.x), fmaf(a, b.y, c.y), fmaf(a, b.z, c.z), fmaf(a, b.w, c.w));
}
/* v > 0 ? v : 0, also for NaN, as the host has it. */
__device__ __forceinline__ float4 relu4(float4 v) {
    return make_float4(v.x > 0 ? v.x : 0, v.y > 0 ? v.y : 0, v.z > 0 ? v.z : 0, v.w > 0 ? v.w : 0);
}
__device__ __forceinline__ float4 where_positive(float4 condition, float4 v) {
    return make_float4(condition.x > 0 ? v.x : 0, condition.y > 0 ? v.y : 0,
                       condition.z > 0 ? v.z : 0, condition.w > 0 ? v.w : 0);
}

inline pn_status check_width(const char *op, int job, int C) {
    if (C <= MAX_CHANNELS) return PN_OK;
    return pn_fail(PN_EARG, "%s: job %d: %d channels, want %d at most on this device", op, job, C,
                   MAX_CHANNELS);
}

/* ---- the last block -------------------------------------------------------------------------- */

/* Adding up takes one multiprocessor while the others wait, and 128 loads one after another take
 * some 10 us (by count): so as many neighbouring threads as there are, 1 to 32, share an item and
 * each adds every n-th partial. All threads of the block call what is below. */
__device__ inline int sharers_of(int items) {
    int n = 1;
    while (n < 32 && 2 * n * items <= THREADS) n *= 2;
    return n;
}
/* The sum over n neighbouring threads (a power of two), for each of them; the whole warp calls. */
__device__ __forceinline__ float fold_sharers(float v, int n) {
    for (int i = n / 2; i; i /= 2) v += __shfl_xor_sync(0xffffffffu, v, i);
    return v;
}
__device__ __forceinline__ float4 fold_sharers(float4 v, int n) {
    return make_float4(fold_sharers(v.x, n), fold_sharers(v.y, n), fold_sharers(v.z, n),
                       fold_sharers(v.w, n));
}

/* done(i, sum) for quad i of `count`, sum over the blocks of partials[block][4i ..]: in a fixed
 * order. 16-byte aligned. */
template <class Done>
__device__ inline void sum_partials4(const float *partials, size_t partial_floats, int blocks,
                                     int count, Done done) {
    const int n = sharers_of(count), share = (int)threadIdx.x % n;
#pragma unroll 1
    for (int first = 0; first < count; first += THREADS / n) {
        const int i = first + (int)threadIdx.x / n;
        float4 sum = splat(0);
        if (i < count)
#pragma unroll 8
            for (int b = share; b < blocks; b += n)
                sum = sum + gpu_load4(partials + b * partial_floats + 4 * (size_t)i);
        sum = fold_sharers(sum, n);
        if (share == 0 && i < count) done(i, sum);
    }
}

/* to[i] += the sum over the blocks of partials[block][i], for count floats, a multiple of 4. */
__device__ inline void add_partials(float *to, const float *partials, size_t partial_floats,
                                    int blocks, int count) {
    sum_partials4(partials, partial_floats, blocks, count / 4, [&](int i, float4 sum) {
        float *const quad = to + 4 * (size_t)i;
        gpu_store4(quad, gpu_load4(quad) + sum);
    });
}

/* ---- threads and channels -------------------------------------------------------------------- */

/* Thread t owns quad t % quads of C channels and is number `row` of the `rows` threads that do;
 * the few threads beyond rows * quads own none. */
struct columns {
    int quads, quad, row, rows;
    bool active;
};
__device__ inline columns columns_of(int C) {
    columns c;
    c.quads = C / 4;
    c.rows = THREADS / c.quads;
    c.quad = (int)threadIdx.x % c.quads;
    c.row = (int)threadIdx.x / c.quads;
    c.active = c.row < c.rows;
    return c;
}

/* Floats from row to row of C channels in shared memory: 4 times an odd number, so that a quad of
 * eight neighbours covers all banks. */
__host__ __device__ inline int pitch_of(int C) { return C % 8 == 0 ? C + 4 : C; }

constexpr int FOLD = 1536; /* floats: a quad of every thread, in such rows (of 8 channels) */

/* Folds COUNT sums of every channel over the rows of threads: partial[i*C + c] = sum over the rows
 * of v[i]; 16-byte aligned. `room`: COUNT * FOLD floats of shared memory that nobody uses any more.
 * Synchronises before it writes there, and not behind its reads. */
template <int COUNT>
__device__ inline void fold_columns(const columns &c, const float4 (&v)[COUNT], float *room,
                                    float *partial) {
    const int pitch = pitch_of(4 * c.quads), items = COUNT * c.quads;
    __syncthreads();
    if (c.active)
#pragma unroll
        for (int i = 0; i < COUNT; i++)
            gpu_store4(room + (i * c.rows + c.row) * pitch + 4 * c.quad, v[i]);
    __syncthreads();
    const int n = sharers_of(items), share = (int)threadIdx.x % n;
#pragma unroll 1
    for (int first = 0; first < items; first += THREADS / n) {
        const int item = first + (int)threadIdx.x / n, j = min_of(item, items - 1);
        const int i = j / c.quads; /* which of the sums */
        const float *column = room + (i * c.rows + share) * pitch + 4 * (j - i * c.quads);
        float4 sum = splat(0);
#pragma unroll 2
        for (int r = share; r < c.rows; r += n, column += n * pitch) sum = sum + gpu_load4(column);
        sum = fold_sharers(sum, n);
        if (share == 0 && item == j) gpu_store4(partial + 4 * j, sum);
    }
}

/* The quad of a part that begins at channel c of a concatenation. */
struct source {
    const pn_input *in;
    int quad;
};
__device__ __forceinline__ source source_of(const pn_input *parts, int c) {
    for (; c >= parts->C; parts++) c -= parts->C;
    return {parts, c / 4};
}

/* ---- BatchNorm: what a consumer's load applies ----------------------------------------------- */

/* v = (x - mean) * scale + shift, for one quad. */
struct norm4 {
    float4 mean, scale, shift;
    __device__ __forceinline__ float4 operator()(float4 x) const {
        return fma4(x - mean, scale, shift);
    }
};

__device__ inline norm4 load_norm(const pn_norm &n, int C, int quad) {
    norm4 a = {splat(0), splat(1), splat(0)};
    if (n.mode == PN_NORM_NONE) return a;
    a.mean = gpu_load4(n.stats + 4 * quad);
    a.scale = gpu_load4(n.stats + C + 4 * quad); /* rstd */
    if (n.gamma) a.scale = a.scale * gpu_read4(n.gamma + 4 * quad);
    if (n.beta) a.shift = gpu_read4(n.beta + 4 * quad);
    return a;
}

/* ---- BatchNorm: a producer's statistics ------------------------------------------------------ */

/* What one thread knows of the z it made: sums about a pivot, its own first z, so that their
 * difference loses nothing however far the mean is from 0. */
struct moments {
    float4 pivot, sum, square;
    int count;
    __device__ __forceinline__ void add(float4 z) {
        if (count++ == 0) pivot = z;
        const float4 d = z - pivot;
        sum = sum + d;
        square = fma4(d, d, square);
    }
};
__device__ __forceinline__ moments no_moments() { return {splat(0), splat(0), splat(0), 0}; }

/* A partial of statistics: pivot, sum, square of K channels, and the count of pixels. */
__host__ __device__ inline size_t moments_floats(const pn_norm &n, int K) {
    return n.mode == PN_NORM_BATCH ? 3 * (size_t)K + 4 : 0;
}

/* Moves sums about `from` to sums about `to`: with d = from - to,
 * sum (z - to) = sum + n d,  sum (z - to)^2 = square + 2 d sum + n d^2. */
__device__ __forceinline__ void move_pivot(float from, float to, float n, float *sum,
                                           float *square) {
    const float d = from - to;
    *square += d * (2 * *sum + n * d);
    *sum += n * d;
}

/* The block's moments into its partial. All threads, each with those of its columns; room as for
 * fold_columns with COUNT 2, and K floats more behind it. Row 0 must have seen a pixel. */
__device__ inline void store_moments(const columns &c, moments m, int pixels, float *room,
                                     float *partial) {
    const int K = 4 * c.quads;
    float *pivots = room + 2 * FOLD;
    __syncthreads();
    if (c.row == 0) {
        gpu_store4(pivots + 4 * c.quad, m.pivot);
        gpu_store4(partial + 4 * c.quad, m.pivot);
        if (c.quad == 0) partial[3 * K] = (float)pixels;
    }
    __syncthreads();
    if (c.active && m.count > 0) {
        const float4 to = gpu_load4(pivots + 4 * c.quad);
        const float n = (float)m.count;
        move_pivot(m.pivot.x, to.x, n, &m.sum.x, &m.square.x);
        move_pivot(m.pivot.y, to.y, n, &m.sum.y, &m.square.y);
        move_pivot(m.pivot.z, to.z, n, &m.sum.z, &m.square.z);
        move_pivot(m.pivot.w, to.w, n, &m.sum.w, &m.square.w);
    }
    const float4 v[2] = {m.sum, m.square};
    fold_columns(c, v, room, partial + K);
}

/* By the last block: mean, 1/sqrt(variance + eps), running statistics (kernels.h). */
__device__ inline void finish_statistics(const pn_norm &n, int K, const float *partials,
                                         size_t partial_floats, int blocks) {
    const int sharers = sharers_of(K), share = (int)threadIdx.x % sharers;
#pragma unroll 1
    for (int first = 0; first < K; first += THREADS / sharers) {
        const int k = first + (int)threadIdx.x / sharers;
        float pivot = 0, count = 0, sum = 0, square = 0;
        if (k < K) {
            pivot = partials[k];
#pragma unroll 4
            for (int b = share; b < blocks; b += sharers) {
                const float *partial = partials + b * partial_floats;
                float s = partial[K + k], q = partial[2 * K + k];
                move_pivot(partial[k], pivot, partial[3 * K], &s, &q);
                count += partial[3 * K];
                sum += s;
                square += q;
            }
        }
        count = fold_sharers(count, sharers);
        sum = fold_sharers(sum, sharers);
        square = fold_sharers(square, sharers);
        if (share != 0 || k >= K) continue;
        const float shift = sum / count, mean = pivot + shift;
        const float m2 = fmaxf(square - sum * shift, 0), variance = m2 / count;
        n.stats[k] = mean;
        n.stats[K + k] = 1 / sqrtf(variance + n.eps);
        if (!n.running_mean) continue;
        const float unbiased = count > 1 ? m2 / (count - 1) : variance;
        n.running_mean[k] += n.momentum * (mean - n.running_mean[k]);
        n.running_var[k] += n.momentum * (unbiased - n.running_var[k]);
    }
}

/* In inference: the running statistics, by one block. */
__device__ inline void copy_statistics(const pn_norm &n, int K) {
    for (int k = (int)threadIdx.x; k < K; k += THREADS) {
        n.stats[k] = n.running_mean[k];
        n.stats[K + k] = 1 / sqrtf(n.running_var[k] + n.eps);
    }
}

/* ---- BatchNorm: a producer's backward -------------------------------------------------------- */

/* dz from dy and z for one quad, once weight_of is known (as `f`):
 * dz = scale * (f dy - s1/n - xhat s2/n), or scale * f dy. */
struct dz4 {
    float4 mean, rstd, scale, s1, s2; /* sums already divided by n */
    bool batch;                       /* batch statistics: z is read */
    __device__ __forceinline__ float4 operator()(float f, float4 dy, float4 z) const {
        const float4 dv = f * dy;
        if (!batch) return scale * dv;
        const float4 xhat = (z - mean) * rstd;
        return scale * (dv - s1 - xhat * s2);
    }
};

/* Divides: times the inverse, what is a multiple of it would not come out whole. */
__device__ __forceinline__ float4 over4(float4 a, float b) {
    return make_float4(a.x / b, a.y / b, a.z / b, a.w / b);
}

/* pixels: N * P * Q. */
__device__ inline dz4 load_dz(const pn_output &out, double pixels, int quad) {
    const pn_norm &n = out.norm;
    dz4 t = {splat(0), splat(1), splat(1), splat(0), splat(0), false};
    if (n.mode == PN_NORM_NONE) return t;
    const int K = out.K;
    t.rstd = gpu_load4(n.stats + K + 4 * quad);
    t.scale = n.gamma ? t.rstd * gpu_read4(n.gamma + 4 * quad) : t.rstd;
    if (n.mode != PN_NORM_BATCH) return t;
    const float count = (float)pixels;
    t.batch = true;
    t.mean = gpu_load4(n.stats + 4 * quad);
    t.s1 = over4(gpu_load4(n.stats + 2 * K + 4 * quad), count);
    t.s2 = over4(gpu_load4(n.stats + 3 * K + 4 * quad), count);
    return t;
}

/* dz = f * a * dy + b * z + c: dz4 in fewer registers. (The mean is in c.) */
struct line4 {
    float4 a, b, c;
};
__device__ inline line4 load_line(const pn_output &out, float pixels, int quad) {
    const dz4 t = load_dz(out, pixels, quad);
    const float4 slope = t.scale * t.rstd * t.s2;
    return {t.scale, splat(0) - slope, slope * t.mean - t.scale * t.s1};
}

/* What dy is multiplied by: coef * weight, and times factor[n] of an image. */
__device__ __forceinline__ float weight_of(const pn_output &out) {
    return out.weight ? out.coef * *out.weight : out.coef;
}
__device__ __forceinline__ float weight_of(const pn_output &out, int n) {
    return out.factor ? weight_of(out) * out.factor[n] : weight_of(out);
}

/* dgamma += s2, dbeta += s1, by one block. */
__device__ inline void add_norm_parameters(const pn_norm &n, int K) {
    if (n.mode == PN_NORM_NONE) return;
    for (int k = (int)threadIdx.x; k < K; k += THREADS) {
        if (n.dgamma) n.dgamma[k] += n.stats[3 * K + k];
        if (n.dbeta) n.dbeta[k] += n.stats[2 * K + k];
    }
}

/* ---- BatchNorm: the sums a consumer's backward makes for it ---------------------------------- */

__host__ __device__ inline bool wants_sums(const pn_norm &n) {
    return n.mode == PN_NORM_BATCH || (n.mode == PN_NORM_RUNNING && (n.dgamma || n.dbeta));
}

/* Of one thread and its quad: dv and dv * (x - mean); rstd comes in at the end. */
struct sums4 {
    float4 s1, s2;
    __device__ __forceinline__ void add(float4 dv, float4 x_less_mean) {
        s1 = s1 + dv;
        s2 = fma4(dv, x_less_mean, s2);
    }
};

/* By the last block: s1 (+)=, s2 (+)= of C channels from c0 on, from partials of (2,C). */
__device__ inline void finish_sums(const pn_input &in, int c0, int C, const float *partials,
                                   size_t partial_floats, int blocks) {
    float *const stats = in.norm.stats + c0;
    sum_partials4(partials, partial_floats, blocks, C / 2, [&](int i, float4 sum) {
        const int which = 4 * i >= C, c = 4 * i - which * C;
        float *const to = stats + (2 + which) * in.C + c;
        if (which) sum = sum * gpu_load4(stats + in.C + c); /* (4,C): row 1 is rstd */
        gpu_store4(to, in.add ? gpu_load4(to) + sum : sum);
    });
}

}  // namespace

/* The functions of this backend, as the table has them: files that define them see these too.
 * name(f): f as this pass, or another, has it. */
#define PN_GPU_OP(FAMILY, op, name)                                                         \
    size_t name(pn_##op##_fwd_scratch)(const pn_##op *jobs, int count);                     \
    size_t name(pn_##op##_bwd_scratch)(const pn_##op *jobs, int count);                     \
    size_t name(pn_##op##_fwd_table)(const pn_##op *jobs, int count, void *table);          \
    size_t name(pn_##op##_bwd_table)(const pn_##op *jobs, int count, void *table);          \
    pn_status name(pn_##op##_fwd)(const pn_##op *jobs, int count, const pn_launch *launch); \
    pn_status name(pn_##op##_bwd)(const pn_##op *jobs, int count, const pn_launch *launch);

extern "C" {
PN_OPS(PN_GPU_OP, PN_GPU_NAME)
pn_status PN_GPU_NAME(pn_weigh)(const pn_result *result, double temperature, double skip_below,
                                pn_importance *w, const pn_launch *launch);
pn_status PN_GPU_NAME(pn_share)(const pn_result *found, int samples, int shards, double temperature,
                                double skip_below, pn_share *share, const pn_launch *launch);
pn_status PN_GPU_NAME(pn_tally)(const pn_range *ranges, int count, const float *packed,
                                const pn_share *share, int64_t *sum, float *scale,
                                const pn_launch *launch);
pn_status PN_GPU_NAME(pn_settle)(const pn_range *ranges, int count, const int64_t *sum, float keep,
                                 const float *scale, float *to, const pn_launch *launch);
size_t PN_GPU_NAME(pn_sgd_scratch)(const pn_range *ranges, int count);
pn_status PN_GPU_NAME(pn_sgd)(const pn_range *ranges, int count, float *value,
                              const float *gradient, float *velocity, const float *scale, pn_sgd s,
                              double *norm_out, const pn_launch *launch);
pn_status PN_GPU_NAME(pn_length)(const pn_range *ranges, int count, const float *gradient,
                                 const float *scale, double *length, const pn_launch *launch);
pn_status PN_GPU_NAME(pn_move)(const pn_range *ranges, int count, float *value, const float *from,
                               const float *along, const double *length, float step,
                               const pn_launch *launch);
pn_status PN_GPU_NAME(pn_scale)(const pn_range *ranges, int count, float *value, float by,
                                const pn_launch *launch);
double PN_GPU_NAME(pn_flop_rate)(void);
double PN_GPU_NAME(pn_copy_rate)(size_t bytes);

extern pn_memory PN_GPU_PASTE(pn_memory, PN_GPU); /* memory.cc; the emulator has its own */
}

#endif
