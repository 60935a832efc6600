/* kernels/cuda/node.cu -- the weighted sum of normalised terms.
 *
 * Bound by memory: forward reads every term and writes h, 12 bytes an element of a node with two;
 * backward reads dh and, for a term with a norm, its x, and writes the dx that are wanted. Putting
 * back a term's z adds a write of h: 16 bytes with two terms and no dx. Some 10 operations an
 * element and term.
 *
 * A tile is a stretch of pixels, of which a thread takes a few at once, so that as many loads of
 * each tensor are on their way. Two terms, the only case of a sampled cell, are done in one pass
 * with all constants in registers. Of any other number, forward goes through all for a few pixels
 * of h; backward makes a pass for GROUP terms (with factors, for each), which reads what the passes
 * before it wrote (its own pixels only: no barrier): dh is read once for that many. Every element
 * is read and written by one thread: h may be one of the terms, and terms may share dx. Two blocks
 * a multiprocessor. */
#include "kernels/cuda/places.h"

namespace {

/* Pixels of a thread at once. */
constexpr int FORWARD = 4, BACKWARD = 2;

/* How the pixels of all images are cut: by shape alone, for jobs that share dx are cut alike. A
 * tile has STEP pixels for each thread, or fewer, to leave every block a tile. */
template <int STEP>
__host__ __device__ inline int tile_pixels(const pn_node &job) {
    const int rows = THREADS / (job.C / 4);
    const size_t pixels = (size_t)job.N * job.H * job.W;
    int step = STEP;
    while (step > 1 && pixels < (size_t)MAX_BLOCKS * rows * step) step /= 2;
    return rows * step;
}

template <int STEP>
__host__ __device__ inline int count_tiles(const pn_node &job) {
    const size_t tile = tile_pixels<STEP>(job);
    return (int)(((size_t)job.N * job.H * job.W + tile - 1) / tile);
}

struct node_forward : one_round {
    using Job = pn_node;
    using Cut = whole;
    static bool shares_dx(const pn_node *, int) { return false; }
    static whole cut(const pn_node *job, int) { return whole_of(count_tiles<FORWARD>(*job)); }
    static size_t partial_floats(const pn_node &, whole) { return 0; }
};

struct node_backward : one_round {
    using Job = pn_node;
    using Cut = whole;
    static bool shares_dx(const pn_node *jobs, int j) { return jobs[j].shares_dx; }
    static whole cut(const pn_node *job, int) { return whole_of(count_tiles<BACKWARD>(*job)); }
    static size_t partial_floats(const pn_node &job, whole) {
        return (size_t)job.terms * 2 * job.C; /* s1, s2 of every term, wanted or not */
    }
};

/* ---- what a thread knows of a term, for its quad --------------------------------------------- */

/* The weight of a term; with its coef. */
__device__ __forceinline__ float weight_of(const pn_term &t) { return t.weight ? *t.weight : 1; }
__device__ __forceinline__ float weighed_coef(const pn_term &t) {
    return t.weight ? t.coef * *t.weight : t.coef;
}

/* t = coef * factor[n] * v, v = (x - mean) * scale + shift; the weight is in coef. */
struct term4 {
    const pn_stored *x; /* at the quad in pixel 0 */
    const float *factor;
    float coef;
    norm4 v;
};

__device__ inline term4 load_term(const pn_term &t, int C, int quad) {
    return {t.in.x + 4 * quad, t.factor, weighed_coef(t), load_norm(t.in.norm, C, quad)};
}

/* Where a thread's pixels are: STEP of them, `rows` apart, from `first` on; those from `end` on are
 * not there. */
struct stretch {
    unsigned first, end, rows, image; /* pixels; of an image */
    int C;

    __device__ __forceinline__ unsigned pixel(int i) const { return first + i * rows; }
    __device__ __forceinline__ bool has(int i) const { return pixel(i) < end; }
    __device__ __forceinline__ size_t at(int i) const { return (size_t)pixel(i) * C; }
};

/* done(stretch) for every stretch of pixels of this thread. */
template <int STEP, class Done>
__device__ __forceinline__ void each_stretch(const pn_node &job, const assignment &p,
                                             const columns &c, Done done) {
    if (!c.active) return;
#pragma unroll 1
    for (int t = p.block; t < p.tiles; t += p.blocks) {
        /* read again each time: registers are short */
        const unsigned image = (unsigned)job.H * job.W, pixels = job.N * image, rows = c.rows;
        const unsigned tile = tile_pixels<STEP>(job);
        const int C = job.C;
        const unsigned first = t * tile;
        done(stretch{first + c.row, first + tile < pixels ? first + tile : pixels, rows, image, C});
    }
}

/* Of what this launch may write in other places than it reads here: plain loads. */
template <int STEP>
__device__ __forceinline__ void load_all(float4 (&v)[STEP], const pn_stored *x, const stretch &s) {
#pragma unroll
    for (int i = 0; i < STEP; i++) v[i] = s.has(i) ? gpu_load4(x + s.at(i)) : splat(0);
}
/* coef * factor[n] of every pixel. */
template <int STEP>
__device__ __forceinline__ void weigh_all(float (&f)[STEP], float coef, const float *factor,
                                          const stretch &s) {
#pragma unroll
    for (int i = 0; i < STEP; i++)
        f[i] = factor && s.has(i) ? coef * factor[s.pixel(i) / s.image] : coef;
}
template <int STEP>
__device__ __forceinline__ void store_all(pn_stored *to, const float4 (&v)[STEP],
                                          const stretch &s) {
#pragma unroll
    for (int i = 0; i < STEP; i++)
        if (s.has(i)) gpu_store4(to + s.at(i), v[i]);
}

/* ---- forward --------------------------------------------------------------------------------- */

__device__ inline void sum_two(const pn_node &job, const assignment &p, const columns &c) {
    const int quad = c.active ? c.quad : 0;
    const term4 a = load_term(job.term[0], job.C, quad), b = load_term(job.term[1], job.C, quad);
    pn_stored *const h = job.h + 4 * quad;
    each_stretch<FORWARD>(job, p, c, [=](const stretch &s) {
        float fa[FORWARD], fb[FORWARD];
        float4 va[FORWARD], vb[FORWARD];
        weigh_all(fa, a.coef, a.factor, s);
        weigh_all(fb, b.coef, b.factor, s);
        load_all(va, a.x, s);
        load_all(vb, b.x, s);
#pragma unroll
        for (int i = 0; i < FORWARD; i++) va[i] = fma4(fa[i], a.v(va[i]), fb[i] * b.v(vb[i]));
        store_all(h, va, s);
    });
}

__device__ inline void sum_all(const pn_node &job, const assignment &p, const columns &c) {
    each_stretch<FORWARD>(job, p, c, [&](const stretch &s) {
        float4 sum[FORWARD] = {splat(0), splat(0), splat(0), splat(0)};
#pragma unroll 1
        for (int t = 0; t < job.terms; t++) {
            const term4 a = load_term(job.term[t], job.C, c.quad);
            float f[FORWARD];
            float4 v[FORWARD];
            weigh_all(f, a.coef, a.factor, s);
            load_all(v, a.x, s);
#pragma unroll
            for (int i = 0; i < FORWARD; i++) sum[i] = fma4(f[i], a.v(v[i]), sum[i]);
        }
        store_all(job.h + 4 * c.quad, sum, s);
    });
}

__global__ void __launch_bounds__(THREADS, 2)
    node_forward_kernel(const call_of<node_forward> call) {
    const assignment p = find_place(call);
    const pn_node &job = call.jobs[p.first];
    const columns c = columns_of(job.C);
    if (job.terms == 2)
        sum_two(job, p, c);
    else
        sum_all(job, p, c);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* For the norm, or for the weight's own gradient: they are gathered without the weight. */
__host__ __device__ inline bool wants_sums(const pn_term &t) {
    return t.dweight || wants_sums(t.in.norm);
}

/* Two terms without weights, and no others: the path of sampled cells. */
__host__ __device__ inline bool are_plain_two(const pn_node &job) {
    return job.terms == 2 && !job.term[0].weight && !job.term[1].weight;
}

/* What the backward pass of a term needs beside its x, for one quad. */
struct backward4 {
    pn_stored *dx; /* at the quad in pixel 0; NULL: none */
    int add;
    bool wants;  /* the sums */
    float4 mean; /* of x, 0 without a norm */
    sums4 sums;
};
__device__ inline backward4 load_backward(const pn_term &t, int quad) {
    return {t.in.dx ? t.in.dx + 4 * quad : nullptr,
            t.in.add,
            wants_sums(t),
            t.in.norm.mode != PN_NORM_NONE ? gpu_load4(t.in.norm.stats + 4 * quad) : splat(0),
            {splat(0), splat(0)}};
}

/* A term's share of a stretch: dx (+)= weight * dt and the sums, dt = f * dh; x less its mean. */
template <bool WEIGHED>
__device__ __forceinline__ void pass_on(backward4 *t, float weight, const float (&f)[BACKWARD],
                                        const float4 (&dh)[BACKWARD], const float4 (&x)[BACKWARD],
                                        const stretch &s) {
#pragma unroll
    for (int i = 0; i < BACKWARD; i++) {
        const float4 dt = f[i] * dh[i];
        if (t->dx && s.has(i)) {
            pn_stored *const to = t->dx + s.at(i);
            const float4 share = WEIGHED ? weight * dt : dt;
            gpu_store4(to, t->add ? gpu_load4(to) + share : share);
        }
        if (t->wants) t->sums.add(dt, x[i]); /* 0 beyond the end */
    }
}

/* The way back through the last term's norm and coefficient: z - mean = (h - others) * back. */
__device__ inline float4 load_back(const pn_term &last, int C, int quad) {
    const float4 scale = last.coef * gpu_load4(last.in.norm.stats + C + 4 * quad);
    return make_float4(1 / scale.x, 1 / scale.y, 1 / scale.z, 1 / scale.w);
}

/* Both terms in one pass: dh, the first x and h are read once. The pointers are read from the job
 * each time: there are no registers left to keep them in. */
template <bool RESTORE>
__device__ inline void backward_two(const pn_node &job, const assignment &p, const columns &c,
                                    backward4 *first, backward4 *second) {
    const int quad = c.active ? c.quad : 0;
    float4 scale = splat(1), shift = splat(0), back = splat(1);
    if (RESTORE) {
        const norm4 norm = load_norm(job.term[0].in.norm, job.C, quad);
        scale = norm.scale;
        shift = norm.shift;
        back = load_back(job.term[1], job.C, quad);
        second->dx = nullptr; /* as kernels.h has it: known to the compiler, too */
        second->wants = true;
    }
    const bool reads0 = RESTORE || first->wants, reads1 = RESTORE || second->wants;
    each_stretch<BACKWARD>(job, p, c, [&](const stretch &s) {
        float f0[BACKWARD], f1[BACKWARD];
        float4 d[BACKWARD], v0[BACKWARD], v1[BACKWARD];
        weigh_all(f0, job.term[0].coef, job.term[0].factor, s);
        weigh_all(f1, job.term[1].coef, RESTORE ? nullptr : job.term[1].factor, s);
        load_all(d, job.dh + 4 * quad, s);
        if (reads0) load_all(v0, job.term[0].in.x + 4 * quad, s);
        if (reads1) load_all(v1, job.term[1].in.x + 4 * quad, s); /* with restore: the sum */
#pragma unroll
        for (int i = 0; i < BACKWARD; i++) {
            v0[i] = v0[i] - first->mean;
            if (!RESTORE) {
                v1[i] = v1[i] - second->mean;
                continue;
            }
            v1[i] = (v1[i] - f0[i] * fma4(v0[i], scale, shift)) * back;
            if (s.has(i)) gpu_store4(job.h + 4 * quad + s.at(i), v1[i] + second->mean);
        }
        pass_on<false>(first, 1, f0, d, v0, s);
        pass_on<false>(second, 1, f1, d, v1, s);
    });
}

/* Puts the last term's z back into h. */
__device__ inline void restore_last(const pn_node &job, const assignment &p, const columns &c) {
    each_stretch<BACKWARD>(job, p, c, [&](const stretch &s) {
        const pn_term &last = job.term[job.terms - 1];
        float4 rest[BACKWARD];
        load_all(rest, job.h + 4 * c.quad, s);
#pragma unroll 1
        for (int t = 0; t + 1 < job.terms; t++) {
            const term4 a = load_term(job.term[t], job.C, c.quad);
            float f[BACKWARD];
            float4 v[BACKWARD];
            weigh_all(f, a.coef, a.factor, s);
            load_all(v, a.x, s);
#pragma unroll
            for (int i = 0; i < BACKWARD; i++) rest[i] = rest[i] - f[i] * a.v(v[i]);
        }
        const float4 mean = gpu_load4(last.in.norm.stats + 4 * c.quad),
                     back = load_back(last, job.C, c.quad);
#pragma unroll
        for (int i = 0; i < BACKWARD; i++) rest[i] = fma4(rest[i], back, mean);
        store_all(job.h + 4 * c.quad, rest, s);
    });
}

__device__ inline void backward_one(const pn_node &job, const assignment &p, const columns &c,
                                    const pn_term &term, backward4 *t) {
    const pn_stored *const dh = job.dh + 4 * c.quad;
    const float weight = weight_of(term);
    each_stretch<BACKWARD>(job, p, c, [&](const stretch &s) {
        float f[BACKWARD];
        float4 d[BACKWARD], v[BACKWARD];
        weigh_all(f, term.coef, term.factor, s);
        load_all(d, dh, s);
        if (t->wants) load_all(v, term.in.x + 4 * c.quad, s);
#pragma unroll
        for (int i = 0; i < BACKWARD; i++) v[i] = v[i] - t->mean;
        pass_on<true>(t, weight, f, d, v, s);
    });
}

/* What the backward pass of up to GROUP terms without factors needs, for one quad: all sums are of
 * dh alone, without the terms' coef, so that the first is one for all. */
constexpr int GROUP = 4;
struct group4 {
    const pn_term *term;
    unsigned wants, writes; /* the sums, dx: a bit for each term */
    float4 mean[GROUP], s1, s2[GROUP];
};
__device__ inline int group_of(const pn_node &job, int first) {
    int count = 0;
    while (count < GROUP && first + count < job.terms && !job.term[first + count].factor) count++;
    return count;
}
__device__ inline group4 load_group(const pn_term *term, int count, int quad) {
    group4 g;
    g.term = term;
    g.wants = g.writes = 0;
    g.s1 = splat(0);
#pragma unroll
    for (int t = 0; t < GROUP; t++) {
        g.mean[t] = g.s2[t] = splat(0);
        if (t >= count) continue;
        g.wants |= (unsigned)wants_sums(term[t]) << t;
        g.writes |= (unsigned)(term[t].in.dx != nullptr) << t;
        if (term[t].in.norm.mode != PN_NORM_NONE)
            g.mean[t] = gpu_load4(term[t].in.norm.stats + 4 * quad);
    }
    return g;
}

__device__ inline void backward_group(const pn_node &job, const assignment &p, const columns &c,
                                      group4 *g) {
    const int quad = c.active ? c.quad : 0;
    each_stretch<BACKWARD>(job, p, c, [&](const stretch &s) {
#pragma unroll 1
        for (int i = 0; i < BACKWARD && s.has(i);
             i++) { /* GROUP + 1 loads on their way are enough */
            const size_t at = s.at(i) + 4 * quad;
            float4 v[GROUP];
            const float4 d = gpu_load4(job.dh + at);
#pragma unroll
            for (int t = 0; t < GROUP; t++)
                v[t] = g->wants >> t & 1 ? gpu_load4(g->term[t].in.x + at) : splat(0);
            g->s1 = g->s1 + d;
#pragma unroll
            for (int t = 0; t < GROUP; t++) {
                g->s2[t] = fma4(d, v[t] - g->mean[t], g->s2[t]);
                if (!(g->writes >> t & 1)) continue;
                pn_stored *const dx = g->term[t].in.dx + at;
                const float4 dt = weighed_coef(g->term[t]) * d;
                gpu_store4(dx, g->term[t].in.add ? gpu_load4(dx) + dt : dt);
            }
        }
    });
}

/* The sums of a term into the block's partial. */
__device__ inline void keep_sums(const columns &c, const backward4 &t, float *room,
                                 float *partial) {
    if (!t.wants) return;
    const float4 v[2] = {t.sums.s1, t.sums.s2};
    fold_columns(c, v, room, partial);
}

/* ---- by the last block ----------------------------------------------------------------------- */

/* A term's share of a quad of channels: its norm's sums, and what they add to dweight
 * (v = gamma * xhat + beta). s1, s2 come without weight and rstd. */
__device__ inline float finish_quad(const pn_term &t, int C, int c, float4 s1, float4 s2) {
    const pn_norm &n = t.in.norm;
    const float weight = weight_of(t);
    if (n.mode != PN_NORM_NONE) s2 = s2 * gpu_load4(n.stats + C + c);
    if (wants_sums(n)) {
        float *const to = n.stats + 2 * C + c;
        gpu_store4(to, t.in.add ? gpu_load4(to) + weight * s1 : weight * s1);
        gpu_store4(to + C, t.in.add ? gpu_load4(to + C) + weight * s2 : weight * s2);
    }
    if (!t.dweight) return 0;
    float4 share = s2;
    if (n.mode != PN_NORM_NONE && n.gamma) share = share * gpu_read4(n.gamma + c);
    if (n.mode != PN_NORM_NONE && n.beta) share = fma4(gpu_read4(n.beta + c), s1, share);
    return share.x + share.y + share.z + share.w;
}

/* All terms of a job, from the sums over the blocks, (terms,2,C): a warp for each term, and for the
 * terms behind it that share its norm's sums, one after another. */
__device__ inline void finish_terms(const pn_node &job, const float *sums) {
    const int C = job.C, lane = (int)threadIdx.x % 32;
#pragma unroll 1
    for (int first = (int)threadIdx.x / 32; first < job.terms; first += THREADS / 32) {
        if (first > 0 && job.term[first].in.norm.stats &&
            job.term[first].in.norm.stats == job.term[first - 1].in.norm.stats)
            continue;
        int t = first;
#pragma unroll 1
        do {
            const pn_term &term = job.term[t];
            const float *const of = sums + (size_t)t * 2 * C;
            float share = 0;
            if (wants_sums(term))
                for (int c = 4 * lane; c < C; c += 128)
                    share += finish_quad(term, C, c, gpu_load4(of + c), gpu_load4(of + C + c));
            share = fold_sharers(share, 32);
            if (term.dweight && lane == 0) *term.dweight = share;
            t++;
        } while (t < job.terms && job.term[t].in.norm.stats &&
                 job.term[t].in.norm.stats == job.term[first].in.norm.stats);
    }
}

constexpr size_t ROOM = 2 * FOLD * sizeof(float);

__global__ void __launch_bounds__(THREADS, 2)
    node_backward_kernel(const call_of<node_backward> call) {
    GPU_DYNAMIC(float, room);
    GPU_SHARED(assignment, p); /* not in registers: they are short */
    const assignment found = find_place(call);
    if (gate_closed(call)) return;
    if (threadIdx.x == 0) p = found;
    __syncthreads();
    bool any = false;
    for (int j = p.first; j < p.end; j++) {
        const pn_node &job = call.jobs[j];
        const columns c = columns_of(job.C);
        const int quad = c.active ? c.quad : 0;
        const auto sums_at = [&](int t) { return partial_of(call, p, j) + t * 2 * job.C; };
        if (are_plain_two(job)) {
            backward4 first = load_backward(job.term[0], quad),
                      second = load_backward(job.term[1], quad);
            if (job.restore)
                backward_two<true>(job, p, c, &first, &second);
            else
                backward_two<false>(job, p, c, &first, &second);
            keep_sums(c, first, room, sums_at(0));
            keep_sums(c, second, room, sums_at(1));
            any |= first.wants || second.wants;
            continue;
        }
        if (job.restore) restore_last(job, p, c);
        for (int first = 0; first < job.terms;) {
            const int many = group_of(job, first);
            if (many == 0) {
                backward4 term = load_backward(job.term[first], quad);
                if (term.dx || term.wants) backward_one(job, p, c, job.term[first], &term);
                keep_sums(c, term, room, sums_at(first));
                any |= term.wants;
                first++;
                continue;
            }
            group4 g = load_group(job.term + first, many, quad);
            if (g.wants || g.writes) backward_group(job, p, c, &g);
#pragma unroll
            for (int t = 0; t < GROUP; t++) {
                if (!(g.wants >> t & 1)) continue;
                const float coef = g.term[t].coef;
                const float4 v[2] = {coef * g.s1, coef * g.s2[t]};
                fold_columns(c, v, room, sums_at(first + t));
            }
            any |= g.wants != 0;
            first += many;
        }
    }
    if (!any || !last_of_slice(call, p)) return;
    for (int j = p.first; j < p.end; j++) {
        const pn_node &job = call.jobs[j];
        const partials_at at = call.partials[j];
        float *const partials = partials_of(call, p, j);
        if (are_plain_two(job) && !job.term[0].dweight && !job.term[1].dweight) {
            for (int t = 0; t < 2; t++)
                if (wants_sums(job.term[t].in.norm))
                    finish_sums(job.term[t].in, 0, job.C, partials + t * 2 * job.C, at.floats,
                                p.blocks);
            continue;
        }
        /* Of all terms at once, into the place of the first block. */
        sum_partials4(partials, at.floats, p.blocks, (int)(at.floats / 4),
                      [&](int i, float4 sum) { gpu_store4(partials + 4 * (size_t)i, sum); });
        __syncthreads();
        finish_terms(job, partials);
        __syncthreads(); /* the next job may add to the same sums */
    }
}

pn_status check_widths(const char *op, const pn_node *jobs, int count) {
    for (int j = 0; j < count; j++) PN_TRY(check_width(op, j, jobs[j].C));
    return PN_OK;
}

pn_status launch_forward(const checked_call<node_forward> &call) {
    return call.launch(node_forward_kernel, 0);
}

pn_status launch_backward(const checked_call<node_backward> &call) {
    return call.launch(node_backward_kernel, ROOM);
}

}  // namespace

PN_CUDA_OP(node, node_forward, node_backward)
