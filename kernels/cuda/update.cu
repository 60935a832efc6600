/* kernels/cuda/update.cu -- importance weights, exact sums of gradients, and the step of the shared
 * weights.
 *
 * Bound by memory, and by launches where a sampled network is small. The norm reads the gradient
 * (4 bytes a float), the step reads gradient, value and velocity and writes the last two (20), a
 * tally reads a term and adds it (20), settling reads the sum and writes the gradient (12). The
 * terms of a tally are three operations on doubles, which small cards do at a 64th of their speed:
 * 0.05 ms a million there, beside some 10 ms that their passes took.
 *
 * Ranges come in memory of the host, but a captured launch must not depend on it later: they go by
 * value, RANGES of them in the parameters of a launch (which may be 4 KB), more in more launches.
 * They are cut into chunks of a quad for each thread, counted through all ranges; a block finds
 * the range of its chunk by bisection. Ends of a range that fill no quad are done float by float.
 *
 * Everything else is read where it is, in memory of the device: *factor, *scale, the norm. A step
 * is three launches: squares (a double for each block), their sum in order of blocks, which leaves
 * the factor that scales and clips, and the step itself. (A ticket would save the second. But it
 * has to be zero before the first, and scratch is what its caller left there.) */
#include "kernels/cuda/op.h"

namespace {

constexpr int RANGES = 160;       /* of a launch */
constexpr int MOST_BLOCKS = 1024; /* of a launch; they go round the chunks */

struct range_list {
    size_t first[RANGES], count[RANGES]; /* none empty */
    unsigned chunk[RANGES + 1];          /* the first of each range; the number of all */
    int ranges;
};

/* Quads that a range touches. */
__host__ __device__ inline size_t quads_of(size_t first, size_t count) {
    return (first + count - 1) / 4 - first / 4 + 1;
}

/* The next RANGES of the ranges that are not empty; `next` is what comes behind them. */
range_list list_from(const pn_range *ranges, int count, int *next) {
    range_list list;
    list.ranges = 0;
    list.chunk[0] = 0;
    for (; *next < count && list.ranges < RANGES; ++*next) {
        const pn_range r = ranges[*next];
        if (r.count == 0) continue;
        const int i = list.ranges++;
        list.first[i] = r.first;
        list.count[i] = r.count;
        list.chunk[i + 1] =
            list.chunk[i] + (unsigned)((quads_of(r.first, r.count) + THREADS - 1) / THREADS);
    }
    return list;
}

unsigned blocks_of(const range_list &list) {
    const unsigned chunks = list.chunk[list.ranges];
    return chunks < MOST_BLOCKS ? chunks : MOST_BLOCKS;
}

/* Calls whole(i, r) where the floats i to i + 3 of range r are this thread's, part(i, r) where i
 * is. */
template <class Whole, class Part>
__device__ __forceinline__ void each_place(const range_list &list, Whole whole, Part part) {
    const unsigned chunks = list.chunk[list.ranges];
    for (unsigned chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        int r = 0;
        for (int end = list.ranges; r + 1 < end;) { /* chunk[r] <= chunk < chunk[end] */
            const int middle = (r + end) / 2;
            if (chunk < list.chunk[middle])
                end = middle;
            else
                r = middle;
        }
        const size_t first = list.first[r], end = first + list.count[r];
        const size_t i = 4 * (first / 4 + (size_t)(chunk - list.chunk[r]) * THREADS + threadIdx.x);
        if (i >= first && i + 4 <= end) {
            whole(i, r);
            continue;
        }
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (i + k >= first && i + k < end) part(i + k, r);
    }
}

/* The same, wherever they are. */
template <class Whole, class Part>
__device__ __forceinline__ void each_float(const range_list &list, Whole whole, Part part) {
    each_place(
        list, [&](size_t i, int) { whole(i); }, [&](size_t i, int) { part(i); });
}

/* ---- importance weights ---------------------------------------------------------------------- */

/* The maximum, or NaN if one is: fmax would hide a failed sample. */
__device__ inline double max_or_nan(double a, double b) { return a != a || a > b ? a : b; }

__global__ void __launch_bounds__(32)
    weigh_kernel(const pn_result *result, double temperature, double skip_below, pn_importance *w) {
    gpu_wait_for_launches();
    if (threadIdx.x != 0) return;
    const double l = result->log_likelihood / temperature, max = max_or_nan(w->max, l);
    const double weight = exp(l - max);
    w->max = max;
    w->scale = weight != weight ? NAN : weight < skip_below ? 0 : w->full;
}

__device__ inline double likelihood(const pn_result *found, int k, int shards, double temperature) {
    double l = 0;
    for (int d = 0; d < shards; d++) l += found[(size_t)k * shards + d].log_likelihood;
    return l / temperature;
}

__global__ void __launch_bounds__(32)
    share_kernel(const pn_result *found, int samples, int shards, double temperature,
                 double skip_below, pn_share *share) {
    gpu_wait_for_launches();
    if (threadIdx.x != 0) return;
    double max = -INFINITY, sum = 0;
    for (int k = 0; k < samples; k++)
        max = max_or_nan(max, likelihood(found, k, shards, temperature));
    for (int k = 0; k < samples; k++) {
        share[k].weight = exp(likelihood(found, k, shards, temperature) - max);
        sum += share[k].weight;
    }
    for (int k = 0; k < samples; k++) {
        const double e = share[k].weight;
        share[k].weight = e < skip_below ? 0 : e / sum / shards;
        share[k].skipped = e < skip_below;
    }
}

/* ---- exact sums ------------------------------------------------------------------------------ */

/* Ranges, and where each begins when they are packed, in units of PN_PACK floats. */
struct packed_list {
    range_list list;
    unsigned from[RANGES];
};

/* As list_from. *before: the packed floats of all ranges before `next`. */
packed_list packed_from(const pn_range *ranges, int count, int *next, size_t *before) {
    packed_list packed;
    int at = *next, i = 0;
    packed.list = list_from(ranges, count, next);
    for (; at < *next; at++) {
        if (ranges[at].count == 0) continue;
        packed.from[i++] = (unsigned)(*before / PN_PACK);
        *before += pn_aligned_floats(ranges[at].count);
    }
    return packed;
}

__device__ __forceinline__ int64_t quanta(float term, double weight, bool *bad) {
    if (fabsf(term) < PN_TERM_LIMIT) return (int64_t)rint(weight * term);
    *bad = true;
    return 0;
}

/* Two numbers of a sum, 16 bytes at once: nvcc takes those of a struct one by one. */
struct two_sums {
    int64_t x, y;
};

__device__ __forceinline__ int64_t joined(int low, int high) {
    return (int64_t)((uint64_t)(uint32_t)high << 32 | (uint32_t)low);
}
__device__ __forceinline__ two_sums load2(const int64_t *sum) {
    const int4 v = *reinterpret_cast<const int4 *>(sum);
    return {joined(v.x, v.y), joined(v.z, v.w)};
}
__device__ __forceinline__ void store2(int64_t *sum, two_sums v) {
    *reinterpret_cast<int4 *>(sum) =
        make_int4((int)v.x, (int)(v.x >> 32), (int)v.y, (int)(v.y >> 32));
}

/* Four terms; a packed range that begins inside of a quad of the sum lies otherwise. */
__device__ __forceinline__ float4 terms_at(const float *terms, size_t at) {
    if (at % 4 == 0) return gpu_read4(terms + at);
    return make_float4(terms[at], terms[at + 1], terms[at + 2], terms[at + 3]);
}

__global__ void __launch_bounds__(THREADS, 4)
    tally_kernel(const packed_list packed, const float *terms, const pn_share *share, int64_t *sum,
                 float *scale) {
    gpu_wait_for_launches();
    const double weight = share->weight / PN_QUANTUM;
    bool bad = weight != weight;
    const auto place = [&](size_t i, int r) {
        return (size_t)packed.from[r] * PN_PACK + (i - packed.list.first[r]);
    };
    if (weight != 0 && !bad)
        each_place(
            packed.list,
            [&](size_t i, int r) {
                const float4 t = terms_at(terms, place(i, r));
                two_sums a = load2(sum + i), b = load2(sum + i + 2);
                a.x += quanta(t.x, weight, &bad);
                a.y += quanta(t.y, weight, &bad);
                b.x += quanta(t.z, weight, &bad);
                b.y += quanta(t.w, weight, &bad);
                store2(sum + i, a);
                store2(sum + i + 2, b);
            },
            [&](size_t i, int r) { sum[i] += quanta(terms[place(i, r)], weight, &bad); });
    if (bad) atomicExch(reinterpret_cast<unsigned *>(scale), 0x7fc00000u); /* NaN, by whoever */
}

__device__ __forceinline__ float as_float(int64_t sum) { return (float)sum * (float)PN_QUANTUM; }

__global__ void __launch_bounds__(THREADS, 4)
    settle_kernel(const range_list list, const int64_t *sum, float keep, const float *scale,
                  float *to) {
    gpu_wait_for_launches();
    if (*scale != *scale) return;
    each_float(
        list,
        [=](size_t i) {
            const two_sums a = load2(sum + i), b = load2(sum + i + 2);
            const float4 s =
                make_float4(as_float(a.x), as_float(a.y), as_float(b.x), as_float(b.y));
            gpu_store4(to + i, keep == 0 ? s : fma4(keep, gpu_load4(to + i), s));
        },
        [=](size_t i) {
            to[i] = keep == 0 ? as_float(sum[i]) : fmaf(keep, to[i], as_float(sum[i]));
        });
}

/* ---- the step -------------------------------------------------------------------------------- */

/* The sum over the block's threads, in a fixed order; for all of them. */
__device__ inline double sum_of_block(double v) {
    GPU_SHARED(double, room, [THREADS]);
    __syncthreads();
    room[threadIdx.x] = v;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
        __syncthreads();
    }
    return room[0];
}

__device__ __forceinline__ double square(float g, float scale) {
    const double scaled = g * scale;
    return scaled * scaled;
}

/* The sum of four squares in float, where it is far from both ends of a float's range: off by 4
 * roundings of itself and at most 4 * 2^-150, less than u^2 of it. Small cards add doubles at a
 * 64th of their speed: so most of the norm would be spent in those. */
__device__ __forceinline__ double squares(float4 g, float scale) {
    const float4 s = scale * g;
    const float sum = fmaf(s.x, s.x, fmaf(s.y, s.y, fmaf(s.z, s.z, s.w * s.w)));
    if (sum > 0x1p-100f && sum < 0x1p+100f) return sum;
    return square(g.x, scale) + square(g.y, scale) + square(g.z, scale) + square(g.w, scale);
}

/* In scratch. */
struct step_state {
    float factor; /* of the gradient: scale and clipping; NaN: no step */
};
constexpr size_t STATE_BYTES = 64; /* the squares, a double for each block, come behind it */

/* A double for each block. */
__global__ void __launch_bounds__(THREADS, 4)
    squares_kernel(const range_list list, const float *gradient, const float *scale, double *sums) {
    gpu_wait_for_launches();
    const float factor = scale ? *scale : 1;
    double sum = 0;
    each_float(
        list, [&](size_t i) { sum += squares(gpu_read4(gradient + i), factor); },
        [&](size_t i) { sum += square(gradient[i], factor); });
    sum = sum_of_block(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(THREADS)
    norm_kernel(const double *sums, unsigned count, const float *scale, float clip,
                step_state *state, double *norm_out) {
    gpu_wait_for_launches();
    const float factor = scale ? *scale : 1;
    double total = 0;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) total += sums[i];
    total = sum_of_block(total);
    if (threadIdx.x != 0) return;
    const double norm = sqrt(total), limit = clip > 0 ? clip / (norm + 1e-6) : 1;
    *norm_out = norm;
    if (!state) return;
    state->factor = limit < 1 ? factor * (float)limit : factor;
    if (!(norm <= 0x1.fffffffffffffp1023)) state->factor = NAN;
}

/* Of a network without parameters. */
__global__ void __launch_bounds__(32) no_norm_kernel(double *norm_out) {
    gpu_wait_for_launches();
    if (threadIdx.x == 0) *norm_out = 0;
}

__device__ __forceinline__ float step_of(float value, float gradient, float *velocity, float factor,
                                         pn_sgd s) {
    const float g = gradient * factor + s.decay * value;
    *velocity = s.momentum * *velocity + g;
    return value - s.rate * (s.nesterov ? fmaf(s.momentum, *velocity, g) : *velocity);
}

__global__ void __launch_bounds__(THREADS, 4)
    step_kernel(const range_list list, float *value, const float *gradient, float *velocity,
                pn_sgd s, const step_state *state) {
    gpu_wait_for_launches();
    const float factor = state->factor;
    if (factor != factor) return;
    each_float(
        list,
        [=](size_t i) {
            const float4 g = gpu_read4(gradient + i), w = gpu_load4(value + i);
            float4 v = gpu_load4(velocity + i);
            const float4 next =
                make_float4(step_of(w.x, g.x, &v.x, factor, s), step_of(w.y, g.y, &v.y, factor, s),
                            step_of(w.z, g.z, &v.z, factor, s), step_of(w.w, g.w, &v.w, factor, s));
            gpu_store4(velocity + i, v);
            gpu_store4(value + i, next);
        },
        [=](size_t i) {
            float v = velocity[i];
            value[i] = step_of(value[i], gradient[i], &v, factor, s);
            velocity[i] = v;
        });
}

/* value = from + step / *length * along; value may be from. */
__global__ void __launch_bounds__(THREADS, 4)
    move_kernel(const range_list list, float *value, const float *from, const float *along,
                const double *length, float step) {
    gpu_wait_for_launches();
    const double over = length ? *length : 1;
    const float by = over == 0 ? 0 : (float)(step / over);
    each_float(
        list,
        [=](size_t i) {
            gpu_store4(value + i, fma4(by, gpu_read4(along + i), gpu_load4(from + i)));
        },
        [=](size_t i) { value[i] = fmaf(by, along[i], from[i]); });
}

__global__ void __launch_bounds__(THREADS, 4)
    scale_kernel(const range_list list, float *value, float by) {
    gpu_wait_for_launches();
    each_float(
        list, [=](size_t i) { gpu_store4(value + i, by * gpu_load4(value + i)); },
        [=](size_t i) { value[i] *= by; });
}

pn_stream stream_of(const pn_launch *l) { return l ? l->stream : nullptr; }

/* Blocks of all launches: squares. */
unsigned count_squares(const pn_range *ranges, int count) {
    unsigned squares = 0;
    for (int next = 0; next < count;) squares += blocks_of(list_from(ranges, count, &next));
    return squares;
}

}  // namespace

extern "C" pn_status PN_GPU_NAME(pn_weigh)(const pn_result *result, double temperature,
                                           double skip_below, pn_importance *w,
                                           const pn_launch *l) {
    if (!result || !w) return pn_fail(PN_EARG, "weigh: result or weights is NULL");
    if (!(temperature > 0) || !(skip_below >= 0))
        return pn_fail(PN_EARG, "weigh: temperature %g, skip_below %g, want > 0 and >= 0",
                       temperature, skip_below);
    return gpu_launch("weigh", {1, 32, 0, stream_of(l)}, weigh_kernel, result, temperature,
                      skip_below, w);
}

extern "C" pn_status PN_GPU_NAME(pn_share)(const pn_result *found, int samples, int shards,
                                           double temperature, double skip_below, pn_share *share,
                                           const pn_launch *l) {
    PN_TRY(pn_check_share(found, samples, shards, temperature, skip_below, share));
    return gpu_launch("share", {1, 32, 0, stream_of(l)}, share_kernel, found, samples, shards,
                      temperature, skip_below, share);
}

extern "C" pn_status PN_GPU_NAME(pn_tally)(const pn_range *ranges, int count, const float *packed,
                                           const pn_share *share, int64_t *sum, float *scale,
                                           const pn_launch *l) {
    PN_TRY(pn_check_tally(ranges, count, packed, share, sum, scale));
    size_t before = 0;
    for (int next = 0; next < count;) {
        const packed_list list = packed_from(ranges, count, &next, &before);
        PN_TRY(gpu_launch("tally", {blocks_of(list.list), THREADS, 0, stream_of(l)}, tally_kernel,
                          list, packed, share, sum, scale));
    }
    return PN_OK;
}

extern "C" pn_status PN_GPU_NAME(pn_settle)(const pn_range *ranges, int count, const int64_t *sum,
                                            float keep, const float *scale, float *to,
                                            const pn_launch *l) {
    PN_TRY(pn_check_settle(ranges, count, sum, scale, to));
    for (int next = 0; next < count;) {
        const range_list list = list_from(ranges, count, &next);
        PN_TRY(gpu_launch("settle", {blocks_of(list), THREADS, 0, stream_of(l)}, settle_kernel,
                          list, sum, keep, scale, to));
    }
    return PN_OK;
}

extern "C" size_t PN_GPU_NAME(pn_sgd_scratch)(const pn_range *ranges, int count) {
    return (STATE_BYTES + count_squares(ranges, count) * sizeof(double) + 63) & ~(size_t)63;
}

namespace {

/* Queues the squares of all ranges, and their norm; for a step its state, too. */
pn_status launch_squares(const char *name, const pn_range *ranges, int count, const float *gradient,
                         const float *scale, float clip, double *norm_out, bool step,
                         const pn_launch *l) {
    const unsigned all = count_squares(ranges, count);
    step_state *const state = static_cast<step_state *>(l->scratch);
    double *const sums = reinterpret_cast<double *>(static_cast<char *>(l->scratch) + STATE_BYTES);
    unsigned before = 0;
    for (int next = 0; before < all;) {
        const range_list list = list_from(ranges, count, &next);
        const unsigned blocks = blocks_of(list);
        PN_TRY(gpu_launch(name, {blocks, THREADS, 0, l->stream}, squares_kernel, list, gradient,
                          scale, sums + before));
        before += blocks;
    }
    return gpu_launch(name, {1, THREADS, 0, l->stream}, norm_kernel,
                      static_cast<const double *>(sums), all, scale, clip, step ? state : nullptr,
                      norm_out);
}

pn_status check_scratch(const char *op, const pn_range *ranges, int count, const pn_launch *l) {
    if (!l || !l->scratch)
        return pn_fail(PN_EARG, "%s: no scratch, want what sgd_scratch asks for", op);
    return pn_check_room(op, l, PN_GPU_NAME(pn_sgd_scratch)(ranges, count));
}

}  // namespace

extern "C" pn_status PN_GPU_NAME(pn_sgd)(const pn_range *ranges, int count, float *value,
                                         const float *gradient, float *velocity, const float *scale,
                                         pn_sgd s, double *norm_out, const pn_launch *l) {
    PN_TRY(pn_check_ranges("sgd", ranges, count));
    if (!norm_out || (count > 0 && (!value || !gradient || !velocity)))
        return pn_fail(PN_EARG, "sgd: value, gradient, velocity or norm_out is NULL");
    PN_TRY(pn_check_sgd(s));
    if (count_squares(ranges, count) == 0)
        return gpu_launch("sgd", {1, 32, 0, stream_of(l)}, no_norm_kernel, norm_out);
    PN_TRY(check_scratch("sgd", ranges, count, l));
    PN_TRY(
        launch_squares("sgd, the norm", ranges, count, gradient, scale, s.clip, norm_out, true, l));
    const step_state *const state = static_cast<const step_state *>(l->scratch);
    for (int next = 0; next < count;) {
        const range_list list = list_from(ranges, count, &next);
        PN_TRY(gpu_launch("sgd, the step", {blocks_of(list), THREADS, 0, l->stream}, step_kernel,
                          list, value, gradient, velocity, s, state));
    }
    return PN_OK;
}

extern "C" pn_status PN_GPU_NAME(pn_length)(const pn_range *ranges, int count,
                                            const float *gradient, const float *scale,
                                            double *length, const pn_launch *l) {
    PN_TRY(pn_check_ranges("length", ranges, count));
    if (!length || (count > 0 && !gradient))
        return pn_fail(PN_EARG, "length: gradient or length is NULL");
    if (count_squares(ranges, count) == 0)
        return gpu_launch("length", {1, 32, 0, stream_of(l)}, no_norm_kernel, length);
    PN_TRY(check_scratch("length", ranges, count, l));
    return launch_squares("length", ranges, count, gradient, scale, 0, length, false, l);
}

extern "C" pn_status PN_GPU_NAME(pn_move)(const pn_range *ranges, int count, float *value,
                                          const float *from, const float *along,
                                          const double *length, float step, const pn_launch *l) {
    PN_TRY(pn_check_ranges("move", ranges, count));
    if (count > 0 && (!value || !from || !along))
        return pn_fail(PN_EARG, "move: value, from or along is NULL");
    for (int next = 0; next < count;) {
        const range_list list = list_from(ranges, count, &next);
        PN_TRY(gpu_launch("move", {blocks_of(list), THREADS, 0, stream_of(l)}, move_kernel, list,
                          value, from, along, length, step));
    }
    return PN_OK;
}

extern "C" pn_status PN_GPU_NAME(pn_scale)(const pn_range *ranges, int count, float *value,
                                           float by, const pn_launch *l) {
    PN_TRY(pn_check_scale(ranges, count, value));
    for (int next = 0; next < count;) {
        const range_list list = list_from(ranges, count, &next);
        PN_TRY(gpu_launch("scale", {blocks_of(list), THREADS, 0, stream_of(l)}, scale_kernel, list,
                          value, by));
    }
    return PN_OK;
}
