/* pool.c -- 3x3 max and average pooling.
 *
 * A window is separable: first along a row, once per input row, then down three rows. The first
 * of equals in row order is the first row whose own maximum is the window's, and in it the first
 * column; so the backward pass is separable too: a window's gradient goes to one of three rows,
 * and in the row to one of three columns, 6 compare-and-adds instead of 9. The last three rows
 * of everything lie in rings in L1, and each tensor passes memory once: that is the bound.
 *
 * Padding is NaN for the maximum (it loses every comparison, equality included) and 0 for the
 * average, whose divisor counts the pixels inside the image. */
#include "kernels/host/flat.h"
#include "kernels/host/vector.h"

enum { RING = 3 };

/* "In" rows have the pixels of an input row, "out" rows of an output row. */
typedef struct pool_work {
    int pixels;           /* of a period, in and out */
    float *scale, *shift; /* period */
    float *v;             /* in row, a pixel of padding on either side; also g and dv */
    float *nowhere;       /* out row: stands for the rows outside the image */
    float *along[RING];   /* out rows: maximum or sum of three neighbours in an input row */
    float *inverse[RING]; /* out rows: 1 / pixels inside the image, of 1, 2, 3 rows inside */
    float *sum1, *sum2;   /* period: sums of z (forward) or dv (backward) */
    float *centre;        /* period: pivot of z (forward) or mean of x (backward) */
    float *a, *b, *q;     /* backward, period: what turns dy into g */
    float *spread[RING];  /* backward, out rows with padding: the gradient of `along` */
    float *column[RING];  /* the same: which of the three neighbours is the maximum */
} pool_work;

static size_t carve(pool_work *w, const pn_pool *job, int backward, float *base) {
    const int Q = pn_out_size(job->W, job->stride);
    const size_t C = (size_t)job->in.C, in = job->W * C, out = Q * C;
    w->pixels = pn_period(job->in.C, Q);
    const size_t period = w->pixels * C;
    pn_carver from = {base, 0};
    w->scale = pn_carve(&from, period);
    w->shift = pn_carve(&from, period);
    w->sum1 = pn_carve(&from, period);
    w->sum2 = pn_carve(&from, period);
    w->centre = pn_carve(&from, period);
    w->v = pn_carve(&from, in + 2 * C);
    w->nowhere = pn_carve(&from, out);
    for (int i = 0; i < RING; i++) {
        w->along[i] = pn_carve(&from, out);
        w->inverse[i] = pn_carve(&from, out);
    }
    if (!backward) return from.used;
    w->a = pn_carve(&from, period);
    w->b = pn_carve(&from, period);
    w->q = pn_carve(&from, period);
    for (int i = 0; i < RING; i++) {
        w->spread[i] = pn_carve(&from, out + 2 * C);
        w->column[i] = pn_carve(&from, out + 2 * C);
    }
    return from.used;
}

static void fill(float *row, float value, size_t n) {
    for (size_t i = 0; i < n; i++) row[i] = value;
}

static void prepare(pool_work *w, const pn_pool *job) {
    const int C = job->in.C, W = job->W, H = job->H, stride = job->stride;
    const int Q = pn_out_size(W, stride);
    const float padding = job->kind == PN_POOL_MAX ? NAN : 0;
    pn_norm_load(&job->in.norm, C, C, w->scale, w->shift);
    pn_repeat(w->scale, C, w->pixels);
    pn_repeat(w->shift, C, w->pixels);
    fill(w->sum1, 0, (size_t)w->pixels * C);
    fill(w->sum2, 0, (size_t)w->pixels * C);
    fill(w->v, padding, (size_t)C);
    fill(w->v + (size_t)(W + 1) * C, padding, (size_t)C);
    fill(w->nowhere, padding, (size_t)Q * C);
    if (job->kind == PN_POOL_MAX) return;
    for (int rows = 1; rows <= RING && rows <= H; rows++)
        for (int q = 0; q < Q; q++) {
            const int x = q * stride, columns = 1 + (x > 0) + (x + 1 < W);
            fill(w->inverse[rows - 1] + (size_t)q * C, 1 / (float)(rows * columns), (size_t)C);
        }
}

/* What compares, and what may run over single pixels, is written with vectors: of such loops the
 * compilers make branches or scalar code, each in other places. `lanes` is PN_LANES, or less at
 * the end of a run. */
PN_INLINE pn_vf get(const float *from, size_t lanes) {
    return lanes == PN_LANES ? pn_load(from) : pn_load_part(from, (int)lanes);
}

PN_INLINE void put(float *to, pn_vf v, size_t lanes) {
    if (lanes == PN_LANES)
        pn_store(to, v);
    else
        pn_store_part(to, v, (int)lanes);
}

PN_INLINE pn_vf when(pn_vi condition, pn_vf v) { return (pn_vf)(condition & (pn_vi)v); }

PN_INLINE pn_vf choose(pn_vi condition, pn_vf yes, pn_vf no) {
    return (pn_vf)((condition & (pn_vi)yes) | (~condition & (pn_vi)no));
}

/* Along a row: runs of `width` floats, one per output pixel; at stride 1 the row is one run. */
typedef struct runs {
    int count;
    size_t width, step;
} runs;

static runs runs_of(const pn_pool *job) {
    const size_t C = (size_t)job->in.C;
    const int Q = pn_out_size(job->W, job->stride);
    return job->stride == 1 ? (runs){1, Q * C, 0} : (runs){Q, C, C};
}

/* `column` (NULL: not wanted) says which of the three is the maximum: 0, 1 or 2. */
PN_INLINE void max_of_three(float *out, float *column, const float *v, size_t C, size_t lanes) {
    const pn_vf left = get(v, lanes), middle = get(v + C, lanes), right = get(v + 2 * C, lanes);
    const pn_vi first = left >= middle;
    const pn_vf best = choose(first, left, middle);
    const pn_vi third = right > best;
    put(out, choose(third, right, best), lanes);
    if (column)
        put(column, choose(third, pn_splat(2), choose(first, pn_splat(0), pn_splat(1))), lanes);
}

PN_PASS max_along(float *out, float *column, const float *v, const pn_pool *job) {
    const runs r = runs_of(job);
    const size_t C = (size_t)job->in.C;
    for (int k = 0; k < r.count; k++, v += 2 * r.step, out += r.step) {
        float *where = column ? column + k * r.step : NULL;
        size_t i = 0;
        for (; i + PN_LANES <= r.width; i += PN_LANES)
            max_of_three(out + i, where ? where + i : NULL, v + i, C, PN_LANES);
        if (i < r.width) max_of_three(out + i, where ? where + i : NULL, v + i, C, r.width - i);
    }
}

PN_INLINE void sum_of_three(float *out, const float *v, size_t C, size_t lanes) {
    put(out, get(v, lanes) + get(v + C, lanes) + get(v + 2 * C, lanes), lanes);
}

PN_PASS sum_along(float *out, const float *v, const pn_pool *job) {
    const runs r = runs_of(job);
    const size_t C = (size_t)job->in.C;
    for (int k = 0; k < r.count; k++, v += 2 * r.step, out += r.step) {
        size_t i = 0;
        for (; i + PN_LANES <= r.width; i += PN_LANES) sum_of_three(out + i, v + i, C, PN_LANES);
        if (i < r.width) sum_of_three(out + i, v + i, C, r.width - i);
    }
}

/* The three rows of an output row's window: `above` and `below` may be outside the image. */
typedef struct window {
    const float *above, *middle, *below;
    int rows; /* inside */
} window;

static window window_at(const pool_work *w, int y, int H) {
    return (window){y > 0 ? w->along[(y - 1) % RING] : w->nowhere, w->along[y % RING],
                    y + 1 < H ? w->along[(y + 1) % RING] : w->nowhere, 1 + (y > 0) + (y + 1 < H)};
}

PN_PASS max_down(float *z, window at, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float best = at.above[i] >= at.middle[i] ? at.above[i] : at.middle[i];
        z[i] = at.below[i] > best ? at.below[i] : best;
    }
}

PN_PASS mean_down(float *z, window at, const float *inverse, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) z[i] = (at.above[i] + at.middle[i] + at.below[i]) * inverse[i];
}

static void forward(const pn_pool *job, int chunk, float *base, float *slot, int slot_row) {
    const int C = job->in.C, H = job->H, W = job->W, stride = job->stride;
    const int P = pn_out_size(H, stride), Q = pn_out_size(W, stride);
    const size_t in = (size_t)W * C, out = (size_t)Q * C;
    const int first = pn_chunk_first(job->N, chunk), last = pn_chunk_first(job->N, chunk + 1);
    const int statistics = job->out.norm.mode == PN_NORM_BATCH;
    pool_work w;
    carve(&w, job, 0, base);
    prepare(&w, job);
    const size_t period = (size_t)w.pixels * C;

    for (int n = first; n < last; n++) {
        const float *x = job->in.x + (size_t)n * H * in;
        float *z = job->out.z + (size_t)n * P * out;
        int ready = 0; /* rows of x in the ring */
        for (int p = 0; p < P; p++, z += out) {
            for (; ready < H && ready < p * stride + 2; ready++) {
                pn_flat_load(w.v + C, x + ready * in, w.scale, w.shift, period, in);
                if (job->kind == PN_POOL_MAX)
                    max_along(w.along[ready % RING], NULL, w.v, job);
                else
                    sum_along(w.along[ready % RING], w.v, job);
            }
            const window at = window_at(&w, p * stride, H);
            if (job->kind == PN_POOL_MAX)
                max_down(z, at, out);
            else
                mean_down(z, at, w.inverse[at.rows - 1], out);
            if (!statistics) continue;
            if (n == first && p == 0) {
                memcpy(w.centre, z, (size_t)C * sizeof *z);
                pn_repeat(w.centre, C, w.pixels);
            }
            pn_flat_stats(z, w.centre, w.sum1, w.sum2, period, out);
        }
    }
    if (!statistics) return;
    memcpy(slot, w.centre, (size_t)C * sizeof *slot);
    pn_fold(slot + slot_row, w.sum1, C, w.pixels);
    pn_fold(slot + 2 * slot_row, w.sum2, C, w.pixels);
}

/* The rows of gradients that a window's gradient goes to. The row below meets its first window
 * here, so it is overwritten; so is the middle row if it is `fresh`. A row outside the image
 * takes its share too: its place in the ring is overwritten before it is used. */
typedef struct target {
    float *above, *middle, *below;
    int fresh;
} target;

PN_INLINE void spread_one(target to, window at, const float *g, size_t i, size_t lanes) {
    const pn_vf gradient = get(g + i, lanes), upper = get(at.above + i, lanes);
    const pn_vf middle = get(at.middle + i, lanes);
    const pn_vi first = upper >= middle;
    const pn_vi third = get(at.below + i, lanes) > choose(first, upper, middle);
    const pn_vf was = to.fresh ? (pn_vf){0} : get(to.middle + i, lanes);
    put(to.above + i, get(to.above + i, lanes) + when(~third & first, gradient), lanes);
    put(to.middle + i, was + when(~third & ~first, gradient), lanes);
    put(to.below + i, when(third, gradient), lanes);
}

/* Gives each window's gradient to the row that holds its maximum. */
PN_PASS spread_max(target to, window at, const float *g, size_t n) {
    size_t i = 0;
    for (; i + PN_LANES <= n; i += PN_LANES) spread_one(to, at, g, i, PN_LANES);
    if (i < n) spread_one(to, at, g, i, n - i);
}

PN_PASS spread_mean(target to, const float *inverse, const float *g, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float share = g[i] * inverse[i];
        to.above[i] += share;
        to.middle[i] = (to.fresh ? 0 : to.middle[i]) + share;
        to.below[i] = share;
    }
}

/* The gradient that a pixel gets as number `which` of a window along the row; of an average
 * (column NULL) each of the three gets the same. */
PN_INLINE pn_vf share(const float *spread, const float *column, size_t at, float which,
                      size_t lanes) {
    const pn_vf gradient = get(spread + at, lanes);
    return column ? when(get(column + at, lanes) == which, gradient) : gradient;
}

PN_INLINE void gather_one(float *dv, const float *spread, const float *column, size_t at, size_t C,
                          int stride, int odd, size_t lanes) {
    if (stride == 1)
        put(dv,
            share(spread, column, at, 2, lanes) + share(spread, column, at + C, 1, lanes) +
                share(spread, column, at + 2 * C, 0, lanes),
            lanes);
    else if (odd)
        put(dv, share(spread, column, at, 2, lanes) + share(spread, column, at + C, 0, lanes),
            lanes);
    else
        put(dv, share(spread, column, at, 1, lanes), lanes);
}

PN_INLINE void gather_run(float *dv, const float *spread, const float *column, size_t at, size_t C,
                          int stride, int odd, size_t n) {
    size_t i = 0;
    for (; i + PN_LANES <= n; i += PN_LANES)
        gather_one(dv + i, spread, column, at + i, C, stride, odd, PN_LANES);
    if (i < n) gather_one(dv + i, spread, column, at + i, C, stride, odd, n - i);
}

/* dv of an input row from the gradient of its maxima (or sums) along the row. `spread` and
 * `column` begin with a pixel of padding, of gradient 0. At stride 2 an even pixel is the middle
 * of one window, an odd one the right of one and the left of the next. */
PN_INLINE void gather(float *dv, const float *spread, const float *column, const pn_pool *job) {
    const size_t C = (size_t)job->in.C;
    if (job->stride == 1) {
        gather_run(dv, spread, column, 0, C, 1, 0, job->W * C);
        return;
    }
    for (int x = 0; x < job->W; x++)
        if (x % 2)
            gather_run(dv + x * C, spread, column, (x / 2 + 1) * C, C, 2, 1, C);
        else
            gather_run(dv + x * C, spread, column, (x / 2 + 1) * C, C, 2, 0, C);
}

PN_PASS gather_max(float *dv, const float *spread, const float *column, const pn_pool *job) {
    gather(dv, spread, column, job);
}

PN_PASS gather_mean(float *dv, const float *spread, const pn_pool *job) {
    gather(dv, spread, NULL, job);
}

/* The next row of dx (and of x, if the sums want it and nobody else has asked) is asked for. */
PN_PASS give(float *dx, const float *dv, int add, const float *x, size_t period, size_t n) {
    PN_EACH_PERIOD(at, m) {
        pn_prefetch_write(dx + n + at, m);
        if (x) pn_prefetch(x + n + at, m);
        if (add) {
#pragma omp simd
            for (size_t i = 0; i < m; i++) dx[at + i] += dv[at + i];
        } else
            memcpy(dx + at, dv + at, m * sizeof *dx);
    }
}

static void prepare_backward(pool_work *w, const pn_pool *job, int sums) {
    const int C = job->in.C, P = pn_out_size(job->H, job->stride);
    const int Q = pn_out_size(job->W, job->stride);
    const size_t spread = (size_t)(Q + 2) * C;
    prepare(w, job);
    pn_norm_turn(&job->out.norm, C, C, (double)job->N * P * Q, w->a, w->b, w->q);
    pn_repeat(w->a, C, w->pixels);
    pn_repeat(w->b, C, w->pixels);
    pn_repeat(w->q, C, w->pixels);
    for (int i = 0; i < RING; i++) {
        fill(w->spread[i], 0, spread);
        fill(w->column[i], 0, spread);
    }
    if (!sums) return;
    memcpy(w->centre, job->in.norm.stats, (size_t)C * sizeof *w->centre);
    pn_repeat(w->centre, C, w->pixels);
}

static void backward(const pn_pool *job, int chunk, float *base, float *slot, int slot_row) {
    const int C = job->in.C, H = job->H, W = job->W, stride = job->stride;
    const int P = pn_out_size(H, stride), Q = pn_out_size(W, stride);
    const int is_max = job->kind == PN_POOL_MAX, sums = pn_norm_wants_sums(&job->in.norm);
    const int turn = job->out.norm.mode == PN_NORM_BATCH;
    const size_t in = (size_t)W * C, out = (size_t)Q * C;
    const int last = pn_chunk_first(job->N, chunk + 1);
    pool_work w;
    carve(&w, job, 1, base);
    prepare_backward(&w, job, sums);
    const size_t period = (size_t)w.pixels * C;
    float *const row = w.v + C; /* v, g and dv take turns */

    for (int n = pn_chunk_first(job->N, chunk); n < last; n++) {
        const float *x = job->in.x + (size_t)n * H * in;
        float *dx = job->in.dx + (size_t)n * H * in;
        const float factor = job->out.coef * (job->out.factor ? job->out.factor[n] : 1);
        int ready = 0, done = 0; /* rows in the ring, rows whose dx is complete */
        for (int p = 0; p < P; p++) {
            const int y = p * stride;
            for (; ready < H && ready < y + 2; ready++) {
                if (!is_max) continue;
                pn_flat_load(w.v + C, x + ready * in, w.scale, w.shift, period, in);
                max_along(w.along[ready % RING], w.column[ready % RING] + C, w.v, job);
            }
            const size_t z = ((size_t)n * P + p) * out;
            pn_flat_turn(row, job->out.dy + z, factor, turn ? job->out.z + z : NULL, w.a, w.b, w.q,
                         period, out);
            const target to = {w.spread[(y + RING - 1) % RING] + C, w.spread[y % RING] + C,
                               w.spread[(y + 1) % RING] + C, p == 0 || stride == 2};
            const window at = window_at(&w, y, H);
            if (is_max)
                spread_max(to, at, row, out);
            else
                spread_mean(to, w.inverse[at.rows - 1], row, out);
            const int complete = p + 1 < P ? y + stride - 1 : H;
            for (; done < complete; done++) {
                const float *spread = w.spread[done % RING];
                if (is_max)
                    gather_max(row, spread, w.column[done % RING], job);
                else
                    gather_mean(row, spread, job);
                give(dx + done * in, row, job->in.add, sums && !is_max ? x + done * in : NULL,
                     period, in);
                if (sums) pn_flat_sums(row, x + done * in, w.centre, w.sum1, w.sum2, period, in);
            }
        }
    }
    if (sums) pn_fold_sums(slot, slot_row, w.sum1, w.sum2, job->in.norm.stats + C, C, w.pixels);
}

/* How scratch is used: a workspace per thread, then a slot per job and chunk. */
typedef struct layout {
    size_t work, slot; /* floats */
    int slot_row;
} layout;

static layout layout_of(const pn_pool *jobs, int count, int backward_pass) {
    layout l = {0, 0, 0};
    for (int j = 0; j < count; j++) {
        pool_work w;
        size_t work = carve(&w, &jobs[j], backward_pass, NULL);
        if (work > l.work) l.work = work;
        int row = (int)pn_align16((size_t)jobs[j].in.C);
        if (row > l.slot_row) l.slot_row = row;
    }
    l.slot = (size_t)l.slot_row * (backward_pass ? PN_BWD_ROWS : PN_FWD_ROWS);
    return l;
}

static size_t scratch_of(const pn_pool *jobs, int count, int backward_pass) {
    const layout l = layout_of(jobs, count, backward_pass);
    return (PN_WORKERS * l.work + (size_t)count * PN_CHUNKS * l.slot) * sizeof(float);
}

size_t PN_NAME(pn_pool_fwd_scratch)(const pn_pool *jobs, int count) {
    return scratch_of(jobs, count, 0);
}

size_t PN_NAME(pn_pool_bwd_scratch)(const pn_pool *jobs, int count) {
    return scratch_of(jobs, count, 1);
}

pn_status PN_NAME(pn_pool_fwd)(const pn_pool *jobs, int count, const pn_launch *launch) {
    PN_TRY(pn_check_pool("pool_fwd", jobs, count, 0, launch));
    const layout l = layout_of(jobs, count, 0);
    float *const work = launch->scratch, *const slots = work + PN_WORKERS * l.work;
#pragma omp parallel num_threads(pn_threads())
    {
#pragma omp for schedule(dynamic)
        for (int unit = 0; unit < count * PN_CHUNKS; unit++) {
            const pn_pool *job = &jobs[unit / PN_CHUNKS];
            const int chunk = unit % PN_CHUNKS;
            if (chunk < pn_chunks(job->N))
                forward(job, chunk, work + omp_get_thread_num() * l.work, slots + unit * l.slot,
                        l.slot_row);
        }
#pragma omp for
        for (int j = 0; j < count; j++) {
            const pn_pool *job = &jobs[j];
            const long pixels =
                (long)pn_out_size(job->H, job->stride) * pn_out_size(job->W, job->stride);
            pn_norm_finish_fwd(&job->out.norm, job->in.C, job->N, pixels,
                               slots + (size_t)j * PN_CHUNKS * l.slot, l.slot, l.slot_row);
        }
    }
    return PN_OK;
}

pn_status PN_NAME(pn_pool_bwd)(const pn_pool *jobs, int count, const pn_launch *launch) {
    PN_TRY(pn_check_pool("pool_bwd", jobs, count, 1, launch));
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
            if (chunk >= pn_chunks(jobs[j].N) || !jobs[j].in.dx || pn_pool_shares_dx(jobs, j))
                continue;
            do {
                backward(&jobs[j], chunk, work + omp_get_thread_num() * l.work,
                         slots + ((size_t)j * PN_CHUNKS + chunk) * l.slot, l.slot_row);
                j++;
            } while (j < count && pn_pool_shares_dx(jobs, j));
        }
#pragma omp single
        for (int j = 0; j < count; j++) {
            const pn_pool *job = &jobs[j];
            if (job->in.dx)
                pn_norm_finish_bwd(&job->in.norm, job->in.C, job->in.add, job->N,
                                   slots + (size_t)j * PN_CHUNKS * l.slot, l.slot, l.slot_row);
            pn_norm_parameters(&job->out.norm, job->in.C);
        }
    }
    return PN_OK;
}
