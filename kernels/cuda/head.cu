/* head.cu -- global average pool, linear, softmax cross-entropy.
 *
 * Small beside the rest of a network. Bound by memory: forward reads x once; backward writes dx
 * once, and reads x only for a ReLU or for the sums of a norm. An image is a tile: its pooled
 * vector, its logits and its probabilities stay in one block (9 KB of shared memory forward at 256
 * channels, 12 KB backward). Probabilities are made in double from float32 logits, as on the host.
 *
 * Channels are taken 1024 at a time through all parts, a quad to each column of threads. Backward
 * leaves the gradient of the logits in scratch. dw = pooled^T dlogits, 4x4 of them a thread: the
 * last block of a set of 16 makes the set's share, the last of all adds the shares; N C classes
 * multiply-adds by one block become 16 C classes. Where dw is large (ImageNet's 768 channels to
 * 1000 classes), shares would take 3 MB each: then the last block makes all of it, in some 0.4 ms
 * (by count, not measured). */
#include "kernels/cuda/places.h"

namespace {

constexpr int CHUNK = MAX_CHANNELS; /* channels at a time: a quad for every thread */

__host__ __device__ inline int channels_of(const pn_head &s) {
    int C = 0;
    for (int i = 0; i < s.parts; i++) C += s.in[i].C;
    return C;
}

/* Floats of a row of the logits' gradients: whole quads. */
__host__ __device__ inline int row_of(const pn_head &s) { return (int)up4((size_t)s.classes); }

struct head_forward : one_round {
    using Job = pn_head;
    using Cut = whole;
    static bool shares_dx(const pn_head *, int) { return false; }
    static whole cut(const pn_head *s, int) { return whole_of(s->N); }
    static size_t partial_floats(const pn_head &, whole) {
        return sizeof(pn_result) / sizeof(float) + 2; /* 8 */
    }
};

/* What a set of blocks makes of its images: dw and db, in whole quads of classes, then the sums. */
__host__ __device__ inline size_t weights_of(const pn_head &s) {
    return (size_t)(channels_of(s) + 1) * row_of(s);
}
__host__ __device__ inline size_t share_of(const pn_head &s) {
    return weights_of(s) + 2 * (size_t)channels_of(s);
}
constexpr size_t MOST_SHARE = 1 << 16; /* 256 KB; larger ones are made by the last block alone */

/* A partial: the gradients of the logits of the block's images; the sums, (2,channels) a chunk. */
struct head_backward {
    using Job = pn_head;
    using Cut = whole;
    static bool shares_dx(const pn_head *jobs, int j) { return jobs[j].shares_dx; }
    static whole cut(const pn_head *s, int) { return {s->N, min_of(s->N, MAX_BLOCKS)}; }
    static constexpr bool SETS = true;
    static bool wants_sets(const pn_head *jobs, int count, size_t) {
        bool all = true;
        for (int j = 0; j < count; j++) all &= share_of(jobs[j]) <= MOST_SHARE;
        return all;
    }
    static size_t set_floats(const pn_head &s) { return share_of(s); }
    static __host__ __device__ size_t sums_at(const pn_head &s) {
        return (size_t)div_up(s.N, min_of(s.N, MAX_BLOCKS)) * row_of(s);
    }
    static size_t partial_floats(const pn_head &s, whole) {
        return sums_at(s) + 2 * (size_t)channels_of(s);
    }
};

/* ---- over all threads of a block ------------------------------------------------------------- */

/* op of every thread's v, in a fixed order; synchronises. */
template <class T, class Combine>
__device__ inline T fold(T *room, T v, Combine combine) {
    room[threadIdx.x] = v;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half)
            room[threadIdx.x] = combine(room[threadIdx.x], room[threadIdx.x + half]);
    }
    __syncthreads();
    const T all = room[0];
    __syncthreads();
    return all;
}

__device__ inline double add_up(double *room, double v) {
    return fold(room, v, [](double a, double b) { return a + b; });
}

struct best {
    float logit;
    int k;
};

/* What folds take of shared memory. */
struct folds {
    double doubles[THREADS];
    best bests[THREADS];
};

/* The largest of an image's logits, the first of equals. */
__device__ inline best best_of(best *room, const float *logits, int classes) {
    best own = {-INFINITY, classes};
    for (int k = (int)threadIdx.x; k < classes; k += THREADS)
        if (logits[k] > own.logit || own.k == classes) own = {logits[k], k};
    return fold(room, own, [](best a, best b) {
        const bool second = b.logit > a.logit || (b.logit == a.logit && b.k < a.k);
        return second ? b : a;
    });
}

/* log of the sum of exp(logits); NaN if one of them is. */
__device__ inline double log_sum_exp(double *room, const float *logits, int classes, double max) {
    double sum = 0;
    for (int k = (int)threadIdx.x; k < classes; k += THREADS) sum += exp(logits[k] - max);
    return max + log(add_up(room, sum));
}

/* ---- forward --------------------------------------------------------------------------------- */

/* Means over an image of up to CHUNK channels from c0 on; room: 1024 floats. */
__device__ inline void pool(const pn_head &s, int n, int c0, int C, float *room, float *pooled) {
    const int image = s.H * s.W;
    const columns k = columns_of(C);
    float4 sum = splat(0);
    if (k.active) {
        const source from = source_of(s.in, c0 + 4 * k.quad);
        const norm4 norm = load_norm(from.in->norm, from.in->C, from.quad);
        const pn_stored *x = from.in->x + (size_t)n * image * from.in->C + 4 * from.quad;
#pragma unroll 8
        for (int p = k.row; p < image; p += k.rows) {
            const float4 v = norm(gpu_read4(x + (size_t)p * from.in->C));
            sum = sum + (s.relu ? relu4(v) : v);
        }
        gpu_store4(room + k.row * C + 4 * k.quad, sum);
    }
    __syncthreads();
    for (int c = (int)threadIdx.x; c < C; c += THREADS) {
        float all = 0;
        for (int r = 0; r < k.rows; r++) all += room[r * C + c];
        pooled[c0 + c] = all / (float)image;
    }
    __syncthreads();
}

/* Where there are few classes, several threads share one and take different channels. */
__device__ inline void classify(const pn_head &s, int C, const float *pooled, float *room,
                                float *logits) {
    const int classes = s.classes, shares = max_of(THREADS / classes, 1);
    for (int first = 0; first < classes; first += THREADS) {
        const int here = min_of(classes - first, THREADS);
        const int k = first + (int)threadIdx.x % here, share = (int)threadIdx.x / here;
        float sum = 0;
        if (share < shares)
#pragma unroll 8
            for (int c = share; c < C; c += shares)
                sum = fmaf(pooled[c], __ldg(s.w + (size_t)c * classes + k), sum);
        room[threadIdx.x] = sum;
        __syncthreads();
        if ((int)threadIdx.x < here) {
            float all = s.b[k];
            for (int i = 0; i < shares; i++) all += room[i * here + threadIdx.x];
            logits[k] = all;
        }
        __syncthreads();
    }
}

struct image_result {
    double log_likelihood, loss;
    int64_t correct;
};
static_assert(sizeof(image_result) == 6 * sizeof(float), "fits a partial");

__device__ inline image_result result_of(const pn_head &s, const float *logits, int label,
                                         folds *room) {
    const best top = best_of(room->bests, logits, s.classes);
    const double lse = log_sum_exp(room->doubles, logits, s.classes, top.logit);
    const double log_p = logits[label] - lse, smooth = s.smoothing;
    double all = 0; /* all log-probabilities */
    if (smooth > 0) {
        for (int k = (int)threadIdx.x; k < s.classes; k += THREADS) all += logits[k] - lse;
        all = add_up(room->doubles, all);
    }
    return {log_p, -(1 - smooth) * log_p - smooth / s.classes * all, top.k == label};
}

__global__ __launch_bounds__(THREADS, 3) void head_fwd_kernel(const call_of<head_forward> call) {
    GPU_DYNAMIC(folds, shared);
    float *const room = reinterpret_cast<float *>(shared + 1), *const pooled = room + CHUNK;
    const assignment p = find_place(call);
    const pn_head &s = call.jobs[p.first];
    const int C = channels_of(s);
    image_result sum = {0, 0, 0};
    for (int n = p.block; n < s.N; n += p.blocks) {
        for (int c = 0; c < C; c += CHUNK) pool(s, n, c, min_of(CHUNK, C - c), room, pooled);
        for (int c = (int)threadIdx.x; c < C; c += THREADS) s.pooled[(size_t)n * C + c] = pooled[c];
        float *logits = s.logits + (size_t)n * s.classes;
        classify(s, C, pooled, room, logits);
        const image_result one = result_of(s, logits, s.labels[n], shared);
        sum.log_likelihood += one.log_likelihood;
        sum.loss += one.loss;
        sum.correct += one.correct;
    }
    if (threadIdx.x == 0) *reinterpret_cast<image_result *>(partial_of(call, p, p.first)) = sum;
    if (!last_of_slice(call, p)) return;
    const leftover all = what_remains(call, p, p.first);
    const bool has_one = (int)threadIdx.x < all.count; /* at most PN_MOST_BLOCKS of them */
    const float *const at = all.first + (has_one ? threadIdx.x * all.step : 0);
    const image_result part =
        has_one ? *reinterpret_cast<const image_result *>(at) : image_result{0, 0, 0};
    const double log_likelihood = add_up(shared->doubles, part.log_likelihood);
    const double loss = add_up(shared->doubles, part.loss);
    const double correct = add_up(shared->doubles, (double)part.correct);
    if (threadIdx.x == 0) *s.result = {log_likelihood, loss / s.N, (int64_t)correct};
}

/* ---- backward -------------------------------------------------------------------------------- */

/* The gradients of an image's logits, zeros up to a whole quad. */
__device__ inline void logit_gradients(const pn_head &s, int n, folds *room, float *dlogits) {
    const float *logits = s.logits + (size_t)n * s.classes;
    const best top = best_of(room->bests, logits, s.classes);
    const double lse = log_sum_exp(room->doubles, logits, s.classes, top.logit),
                 smooth = s.smoothing;
    const double factor = (s.scale ? (double)*s.scale : 1.0) * s.loss_weight / s.N;
    for (int k = (int)threadIdx.x; k < row_of(s); k += THREADS) {
        const double target = (k == s.labels[n] ? 1 - smooth : 0) + smooth / s.classes;
        dlogits[k] = k < s.classes ? (float)(factor * (exp(logits[k] - lse) - target)) : 0;
    }
    __syncthreads();
}

/* d[c] = w[c0+c] dlogits / pixels: groups of 1 to 32 threads of a warp share a channel. */
__device__ inline void mean_gradients(const pn_head &s, const float *dlogits, int c0, int C,
                                      float *d) {
    const float pixels = (float)s.H * (float)s.W;
    int lanes = 1;
    while (lanes < 32 && 4 * lanes < s.classes) lanes *= 2;
    const int lane = (int)threadIdx.x % lanes;
    for (int first = 0; first < C; first += THREADS / lanes) {
        const int c = first + (int)threadIdx.x / lanes;
        const float *w = s.w + (size_t)(c0 + (c < C ? c : 0)) * s.classes;
        float sum = 0;
#pragma unroll 4
        for (int k = lane; k < s.classes; k += lanes) sum = fmaf(dlogits[k], __ldg(w + k), sum);
        for (int i = lanes / 2; i; i /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, i);
        if (lane == 0 && c < C) d[c] = sum / pixels;
    }
    __syncthreads();
}

/* dx of an image for the thread's quad; d: the gradient of each of its pixels where v > 0. */
__device__ inline void spread(const pn_head &s, const columns &k, const source &from, int n,
                              float4 d, sums4 &sums) {
    const pn_input &in = *from.in;
    const int image = s.H * s.W, C = in.C;
    const norm4 norm = load_norm(in.norm, C, from.quad);
    const bool reads = s.relu || wants_sums(in.norm), add = in.add;
    const size_t start = (size_t)n * image * C + 4 * from.quad;
#pragma unroll 4
    for (int p = k.row; p < image; p += k.rows) {
        const size_t at = start + (size_t)p * C;
        float4 dv = d;
        if (reads) {
            const float4 x = gpu_read4(in.x + at);
            if (s.relu) dv = where_positive(norm(x), d);
            sums.add(dv, x - norm.mean);
        }
        gpu_store4(in.dx + at, add ? gpu_load4(in.dx + at) + dv : dv);
    }
}

/* All a block does for a job: dlogits of its images, their dx, sums. room: 3 * 1024 floats. */
__device__ inline void backward_images(const pn_head &s, const assignment &p, float *room,
                                       folds *fold_room, float *partial) {
    const int row = row_of(s), all = channels_of(s);
    for (int n = p.block, i = 0; n < s.N; n += p.blocks, i++)
        logit_gradients(s, n, fold_room, partial + (size_t)i * row);
    for (int c0 = 0; c0 < all; c0 += CHUNK) {
        const int C = min_of(CHUNK, all - c0);
        const columns k = columns_of(C);
        const source from = source_of(s.in, c0 + 4 * k.quad);
        sums4 sums = {splat(0), splat(0)};
        for (int n = p.block, i = 0; n < s.N; n += p.blocks, i++) {
            mean_gradients(s, partial + (size_t)i * row, c0, C, room);
            if (k.active && from.in->dx) spread(s, k, from, n, gpu_load4(room + 4 * k.quad), sums);
            __syncthreads();
        }
        const float4 both[2] = {sums.s1, sums.s2};
        fold_columns(k, both, room, partial + head_backward::sums_at(s) + 2 * (size_t)c0);
        __syncthreads();
    }
}

/* done(c, k, sum) for 4x4 of dw, and with c = C for 4 of db, which is a channel that is always 1:
 * sum = pooled^T dlogits over the images of blocks first .. end-1, in their order. Images n to
 * n + blocks - 1 lie a partial apart. */
template <class Done>
__device__ inline void weight_gradients(const pn_head &s, const float *partials,
                                        size_t partial_floats, int blocks, int first, int end,
                                        Done done) {
    const int C = channels_of(s), row = row_of(s), quads = row / 4, items = (C / 4 + 1) * quads;
    for (int item = (int)threadIdx.x; item < items; item += THREADS) {
        const int c = 4 * (item / quads), k = 4 * (item % quads);
        float4 sum[4] = {splat(0), splat(0), splat(0), splat(0)};
        for (int n = 0; n < s.N; n += blocks) {
            const float *pooled = s.pooled + (size_t)n * C + c;
            const float *dlogits = partials + (size_t)(n / blocks) * row + k;
            const int here = min_of(end, s.N - n);
#pragma unroll 4
            for (int b = first; b < here; b++) {
                const float4 a = c < C ? gpu_read4(pooled + (size_t)b * C) : splat(1);
                const float4 g = gpu_load4(dlogits + b * partial_floats);
                sum[0] = fma4(a.x, g, sum[0]);
                sum[1] = fma4(a.y, g, sum[1]);
                sum[2] = fma4(a.z, g, sum[2]);
                sum[3] = fma4(a.w, g, sum[3]);
            }
        }
        done(c, k, sum);
    }
}

/* Row c of dw, or with c = C that of db, += a quad. */
__device__ inline void add_to_row(const pn_head &s, int c, int k, float4 sum) {
    float *to = (c < channels_of(s) ? s.dw + (size_t)c * s.classes : s.db) + k;
    to[0] += sum.x;
    if (k + 1 < s.classes) to[1] += sum.y;
    if (k + 2 < s.classes) to[2] += sum.z;
    if (k + 3 < s.classes) to[3] += sum.w;
}

/* By the last block of a set: its share. */
__device__ inline void make_share(const pn_head &s, const float *partials, size_t partial_floats,
                                  int blocks, int first, int end, float *share) {
    const int C = channels_of(s), row = row_of(s);
    weight_gradients(s, partials, partial_floats, blocks, first, end,
                     [=](int c, int k, const float4(&sum)[4]) {
#pragma unroll
                         for (int i = 0; i < 4; i++)
                             if (i == 0 || c < C)
                                 gpu_store4(share + (size_t)(c + i) * row + k, sum[i]);
                     });
    share += weights_of(s);
    sum_partials4(partials + first * partial_floats + head_backward::sums_at(s), partial_floats,
                  end - first, C / 2, [=](int i, float4 sum) { gpu_store4(share + 4 * i, sum); });
}

/* By the last block: dw and db from the shares of `sets`; or from the images. */
__device__ inline void finish_weights(const pn_head &s, const float *shares, int sets) {
    const int quads = row_of(s) / 4;
    sum_partials4(shares, share_of(s), sets, (channels_of(s) + 1) * quads,
                  [&](int i, float4 sum) { add_to_row(s, i / quads, 4 * (i % quads), sum); });
}
__device__ inline void finish_weights(const pn_head &s, const leftover &all) {
    const int C = channels_of(s);
    weight_gradients(s, all.first, all.step, all.count, 0, all.count,
                     [&](int c, int k, const float4(&sum)[4]) {
#pragma unroll
                         for (int i = 0; i < 4; i++)
                             if (i == 0 || c < C) add_to_row(s, c + i, k, sum[i]);
                     });
}

/* s1, s2 of the parts that want them; partials: of the sums. */
__device__ inline void finish_part_sums(const pn_head &s, const float *partials,
                                        size_t partial_floats, int blocks) {
    const int all = channels_of(s);
    for (int c0 = 0; c0 < all; c0 += CHUNK) {
        const int quads = min_of(CHUNK, all - c0) / 4;
        sum_partials4(partials + 2 * (size_t)c0, partial_floats, blocks, 2 * quads,
                      [&](int i, float4 sum) {
                          const int which = i / quads;
                          const source from = source_of(s.in, c0 + 4 * (i - which * quads));
                          const pn_input &in = *from.in;
                          if (!in.dx || !wants_sums(in.norm)) return;
                          float *const stats = in.norm.stats + 4 * from.quad;
                          float *const to = stats + (2 + which) * in.C;
                          if (which) sum = sum * gpu_load4(stats + in.C);
                          gpu_store4(to, in.add ? gpu_load4(to) + sum : sum);
                      });
    }
}

__global__ __launch_bounds__(THREADS, 2) void head_bwd_kernel(const call_of<head_backward> call) {
    const assignment p = find_place(call);
    if (gate_closed(call)) return;
    GPU_DYNAMIC(folds, shared);
    float *const room = reinterpret_cast<float *>(shared + 1);
    for (int j = p.first; j < p.end; j++)
        backward_images(call.jobs[j], p, room, shared, partial_of(call, p, j));
    const bool last = last_of_slice(call, p, [&](int j, int first, int blocks) {
        const pn_head &s = call.jobs[j];
        const partials_at at = call.partials[j];
        make_share(s, partials_of(call, p, j), at.floats, p.blocks, first, first + blocks,
                   call.scratch + at.sets + first / SET * share_of(s));
    });
    if (!last) return;
    for (int j = p.first; j < p.end; j++) {
        const pn_head &s = call.jobs[j];
        const partials_at at = call.partials[j];
        if (p.tickets > 1) {
            const float *const shares = call.scratch + at.sets;
            finish_weights(s, shares, p.tickets - 1);
            finish_part_sums(s, shares + weights_of(s), share_of(s), p.tickets - 1);
        } else {
            const leftover all = {partials_of(call, p, j), at.floats, p.blocks};
            finish_weights(s, all);
            finish_part_sums(s, all.first + head_backward::sums_at(s), all.step, all.count);
        }
        __syncthreads(); /* the next job adds to the same sums */
    }
}

pn_status check_widths(const char *op, const pn_head *jobs, int count) {
    for (int j = 0; j < count; j++)
        for (int i = 0; i < jobs[j].parts; i++) PN_TRY(check_width(op, j, jobs[j].in[i].C));
    return PN_OK;
}

pn_status launch_forward(const checked_call<head_forward> &call) {
    int C = 0;
    for (int j = 0; j < call.count; j++) C = max_of(C, channels_of(call.jobs[j]));
    return call.launch(head_fwd_kernel, sizeof(folds) + (CHUNK + C) * sizeof(float));
}

pn_status launch_backward(const checked_call<head_backward> &call) {
    return call.launch(head_bwd_kernel, sizeof(folds) + 2 * FOLD * sizeof(float));
}

}  // namespace

PN_CUDA_OP(head, head_forward, head_backward)
