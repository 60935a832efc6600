/* node.c -- the weighted sum of normalised terms.
 *
 * Bound by memory: each term is read once and h written once, tile by tile, a tile being one
 * period (flat.h). It is small on purpose: with 4 KB of one tensor after another the prefetches
 * of the next tile come in bursts, and the backward pass takes twice as long. Two terms, the only
 * case of a sampled cell, are summed in registers; other counts in a tile of L1. */
#include <limits.h>

#include "kernels/host/flat.h"

static int tile_pixels(const pn_node *job) {
    const long pixels = (long)job->H * job->W;
    return pn_period(job->C, pixels < INT_MAX ? (int)pixels : INT_MAX);
}

typedef struct term_work {
    float *scale, *shift;  /* of the load; of a term that is put back, of the way back */
    float *mean, *s1, *s2; /* backward */
} term_work;

/* Arrays of one tile. Those of a term follow each other, so that no table of terms is needed. */
static int term_arrays(int backward_pass) { return backward_pass ? 5 : 2; }
static term_work carve_term(float *base, size_t tile, int t, int backward_pass) {
    const size_t step = pn_align16(tile);
    float *at = base + (size_t)t * term_arrays(backward_pass) * step;
    return (term_work){at, at + step, at + 2 * step, at + 3 * step, at + 4 * step};
}

static float factor_of(const pn_term *term, int n) {
    return term->coef * (term->factor ? term->factor[n] : 1);
}

/* h may be one of the terms: each element is read before it is written. */
static void sum_two(float *h, const float *x0, const float *x1, float f0, float f1, term_work a,
                    term_work b, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        h[i] = f0 * (a.scale[i] * x0[i] + a.shift[i]) + f1 * (b.scale[i] * x1[i] + b.shift[i]);
}

static void add_term(float *sum, const float *x, float f, term_work a, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) sum[i] += f * (a.scale[i] * x[i] + a.shift[i]);
}

static void forward(const pn_node *job, int chunk, float *base) {
    const int C = job->C, pixels = tile_pixels(job);
    const size_t tile = (size_t)pixels * C, image = (size_t)job->H * job->W * C;
    float *const sum = base, *const terms = base + pn_align16(tile);
    for (int t = 0; t < job->terms; t++) {
        const term_work w = carve_term(terms, tile, t, 0);
        pn_norm_load(&job->term[t].in.norm, C, C, w.scale, w.shift);
        pn_repeat(w.scale, C, pixels);
        pn_repeat(w.shift, C, pixels);
    }
    const pn_term *term = job->term;
    const int last = pn_chunk_first(job->N, chunk + 1);
    for (int n = pn_chunk_first(job->N, chunk); n < last; n++)
        for (size_t i = 0; i < image; i += tile) {
            const size_t at = n * image + i, size = image - i < tile ? image - i : tile;
            for (int t = 0; t < job->terms; t++) pn_prefetch(term[t].in.x + at + size, size);
            pn_prefetch_write(job->h + at + size, size);
            if (job->terms == 2) {
                sum_two(job->h + at, term[0].in.x + at, term[1].in.x + at, factor_of(&term[0], n),
                        factor_of(&term[1], n), carve_term(terms, tile, 0, 0),
                        carve_term(terms, tile, 1, 0), size);
                continue;
            }
            memset(sum, 0, size * sizeof *sum);
            for (int t = 0; t < job->terms; t++)
                add_term(sum, term[t].in.x + at, factor_of(&term[t], n),
                         carve_term(terms, tile, t, 0), size);
            memcpy(job->h + at, sum, size * sizeof *sum);
        }
}

static void give(float *dx, const float *dh, float f, int add, size_t n) {
    if (!add) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) dx[i] = f * dh[i];
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) dx[i] += f * dh[i];
}

static void add_sums(const float *dh, float f, const float *x, term_work w, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float dt = f * dh[i];
        w.s1[i] += dt;
        w.s2[i] += dt * (x[i] - w.mean[i]);
    }
}

/* A tile of the sum becomes z of the last term: subtracts another term, ... */
static void take_term(float *h, const float *x, float f, term_work a, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) h[i] -= f * (a.scale[i] * x[i] + a.shift[i]);
}
/* ... and goes back through the last one's norm and coefficient. */
static void put_back(float *h, term_work last, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) h[i] = last.scale[i] * h[i] + last.mean[i];
}
/* Both at once where there are two terms. */
static void put_back_of_two(float *h, const float *x, float f, term_work a, term_work last,
                            size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        h[i] = last.scale[i] * (h[i] - f * (a.scale[i] * x[i] + a.shift[i])) + last.mean[i];
}

static void restore_tile(const pn_node *job, int n, size_t at, float *terms, size_t tile,
                         size_t size) {
    const int last = job->terms - 1;
    float *h = job->h + at;
    const term_work w = carve_term(terms, tile, last, 1);
    if (job->terms == 2) {
        put_back_of_two(h, job->term[0].in.x + at, factor_of(&job->term[0], n),
                        carve_term(terms, tile, 0, 1), w, size);
        return;
    }
    for (int t = 0; t < last; t++)
        take_term(h, job->term[t].in.x + at, factor_of(&job->term[t], n),
                  carve_term(terms, tile, t, 1), size);
    put_back(h, w, size);
}

static void prepare_restore(const pn_node *job, float *terms, size_t tile) {
    const int C = job->C, last = job->terms - 1, pixels = tile_pixels(job);
    for (int t = 0; t < last; t++) {
        const term_work w = carve_term(terms, tile, t, 1);
        pn_norm_load(&job->term[t].in.norm, C, C, w.scale, w.shift);
        pn_repeat(w.scale, C, pixels);
        pn_repeat(w.shift, C, pixels);
    }
    const term_work w = carve_term(terms, tile, last, 1);
    const float *rstd = job->term[last].in.norm.stats + C;
    for (int c = 0; c < C; c++) w.scale[c] = 1 / (job->term[last].coef * rstd[c]);
    pn_repeat(w.scale, C, pixels);
}

static void backward(const pn_node *job, int chunk, float *terms, float *slot, int slot_row) {
    const int C = job->C, pixels = tile_pixels(job);
    const size_t tile = (size_t)pixels * C, image = (size_t)job->H * job->W * C;
    if (job->restore) prepare_restore(job, terms, tile);
    for (int t = 0; t < job->terms; t++) {
        const pn_norm *norm = &job->term[t].in.norm;
        if (!pn_norm_wants_sums(norm)) continue;
        const term_work w = carve_term(terms, tile, t, 1);
        memcpy(w.mean, norm->stats, (size_t)C * sizeof *w.mean);
        pn_repeat(w.mean, C, pixels);
        memset(w.s1, 0, tile * sizeof *w.s1);
        memset(w.s2, 0, tile * sizeof *w.s2);
    }
    const int last = pn_chunk_first(job->N, chunk + 1);
    for (int n = pn_chunk_first(job->N, chunk); n < last; n++)
        for (size_t i = 0; i < image; i += tile) {
            const size_t at = n * image + i, size = image - i < tile ? image - i : tile;
            const float *dh = job->dh + at;
            pn_prefetch(dh + size, size);
            for (int t = 0; t < job->terms; t++) {
                const pn_term *term = &job->term[t];
                const float f = factor_of(term, n);
                const int rereads = job->restore || pn_norm_wants_sums(&term->in.norm);
                if (rereads) pn_prefetch(term->in.x + at + size, size);
                if (term->in.dx) pn_prefetch_write(term->in.dx + at + size, size);
                if (job->restore && t == 0) restore_tile(job, n, at, terms, tile, size);
                if (term->in.dx) give(term->in.dx + at, dh, f, term->in.add, size);
                if (pn_norm_wants_sums(&term->in.norm))
                    add_sums(dh, f, term->in.x + at, carve_term(terms, tile, t, 1), size);
            }
        }
    for (int t = 0; t < job->terms; t++) {
        const pn_norm *norm = &job->term[t].in.norm;
        if (!pn_norm_wants_sums(norm)) continue;
        const term_work w = carve_term(terms, tile, t, 1);
        pn_fold_sums(slot + (size_t)t * PN_BWD_ROWS * slot_row, slot_row, w.s1, w.s2,
                     norm->stats + C, C, pixels);
    }
}

/* How scratch is used: a workspace per thread, then (backward) a slot per job and chunk. */
typedef struct layout {
    size_t work, slot; /* floats */
    int slot_row;
} layout;

static layout layout_of(const pn_node *jobs, int count, int backward_pass) {
    layout l = {0, 0, 0};
    int terms = 0;
    for (int j = 0; j < count; j++) {
        const size_t tile = pn_align16((size_t)tile_pixels(&jobs[j]) * jobs[j].C);
        const size_t arrays = (size_t)jobs[j].terms * term_arrays(backward_pass) + !backward_pass;
        if (arrays * tile > l.work) l.work = arrays * tile;
        const int row = (int)pn_align16((size_t)jobs[j].C);
        if (row > l.slot_row) l.slot_row = row;
        if (jobs[j].terms > terms) terms = jobs[j].terms;
    }
    if (backward_pass) l.slot = (size_t)terms * PN_BWD_ROWS * l.slot_row;
    return l;
}

static size_t scratch_of(const pn_node *jobs, int count, int backward_pass) {
    const layout l = layout_of(jobs, count, backward_pass);
    return (PN_WORKERS * l.work + (size_t)count * PN_CHUNKS * l.slot) * sizeof(float);
}

size_t PN_NAME(pn_node_fwd_scratch)(const pn_node *jobs, int count) {
    return scratch_of(jobs, count, 0);
}

size_t PN_NAME(pn_node_bwd_scratch)(const pn_node *jobs, int count) {
    return scratch_of(jobs, count, 1);
}

pn_status PN_NAME(pn_node_fwd)(const pn_node *jobs, int count, const pn_launch *launch) {
    PN_TRY(pn_check_node("node_fwd", jobs, count, 0, launch));
    const layout l = layout_of(jobs, count, 0);
    float *const work = launch->scratch;
#pragma omp parallel for schedule(dynamic) num_threads(pn_threads())
    for (int unit = 0; unit < count * PN_CHUNKS; unit++) {
        const pn_node *job = &jobs[unit / PN_CHUNKS];
        const int chunk = unit % PN_CHUNKS;
        if (chunk < pn_chunks(job->N)) forward(job, chunk, work + omp_get_thread_num() * l.work);
    }
    return PN_OK;
}

pn_status PN_NAME(pn_node_bwd)(const pn_node *jobs, int count, const pn_launch *launch) {
    PN_TRY(pn_check_node("node_bwd", jobs, count, 1, launch));
    if (launch->gate && *launch->gate == 0) return PN_OK;
    const layout l = layout_of(jobs, count, 1);
    float *const work = launch->scratch, *const slots = work + PN_WORKERS * l.work;
#pragma omp parallel num_threads(pn_threads())
    {
        /* A unit is a chunk of all jobs that share a dx: one thread, in the order of the jobs. */
#pragma omp for schedule(dynamic)
        for (int unit = 0; unit < count * PN_CHUNKS; unit++) {
            const int chunk = unit % PN_CHUNKS;
            int j = unit / PN_CHUNKS;
            if (chunk >= pn_chunks(jobs[j].N) || pn_node_shares_dx(jobs, j)) continue;
            do {
                backward(&jobs[j], chunk, work + omp_get_thread_num() * l.work,
                         slots + ((size_t)j * PN_CHUNKS + chunk) * l.slot, l.slot_row);
                j++;
            } while (j < count && pn_node_shares_dx(jobs, j));
        }
#pragma omp single
        for (int j = 0; j < count; j++)
            for (int t = 0; t < jobs[j].terms; t++)
                pn_norm_finish_bwd(
                    &jobs[j].term[t].in.norm, jobs[j].C, jobs[j].term[t].in.add, jobs[j].N,
                    slots + (size_t)j * PN_CHUNKS * l.slot + (size_t)t * PN_BWD_ROWS * l.slot_row,
                    l.slot, l.slot_row);
    }
    return PN_OK;
}
