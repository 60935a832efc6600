/* node.c -- the weighted sum of normalised terms.
 *
 * Bound by memory: each tensor is read or written once. Two terms, the only case of a sampled
 * cell, are summed in registers, a period (period.h) at a time. Of any other number, forward goes
 * through all terms for two vectors of h, and backward takes GROUP terms at once: dh, a tile of
 * which stays in L1, is loaded once for as many.
 *
 * All but that take blocks of two vectors; blocks that are a period apart have the same channels,
 * so that their coefficients and sums stay in registers through a tile. Up to 32 channels (AVX-512)
 * each period is one block and a tile one stream.
 *
 * The sums are gathered without the weights: as they are, they make the weights' own gradients;
 * times its weight, a term's are those of the BatchNorm below it. */
#include <limits.h>

#include "kernels/host/period.h"

typedef struct prepared {
    pn_prepared frame;
    const pn_node *job;
    int partial_row; /* floats of a row of a partial */
} prepared;

enum { BLOCK = 2 * PN_LANES, TILE = 2048, AHEAD = 256 }; /* floats; four tensors' tiles fit L1 */

/* Pixels after which the channels of a block come again; floats of a tile: whole periods. */
static int period_pixels(int C) {
    int pixels = 1;
    while (pixels * C % BLOCK) pixels *= 2; /* C is a multiple of 4, BLOCK a power of two */
    return pixels;
}
static size_t tile_floats(size_t period) { return period < TILE ? TILE / period * period : period; }

/* Pixels for which what belongs to channels is repeated. */
static int repeated_pixels(const pn_node *job, int backward_pass) {
    const long pixels = (long)job->H * job->W;
    if (backward_pass || job->terms != 2) return period_pixels(job->C);
    return pn_period(job->C, pixels < INT_MAX ? (int)pixels : INT_MAX);
}

typedef struct term_work {
    float *scale, *shift;  /* of the load; of a term that is put back, of the way back */
    float *times;          /* forward, not of two terms: the scale times all that weighs the term */
    float *mean, *s1, *s2; /* backward */
} term_work;

/* Arrays of one tile (backward: of one period). Those of a term follow each other, so that no table
 * of terms is needed. */
static int term_arrays(const pn_node *job, int backward_pass) {
    return backward_pass ? 5 : job->terms == 2 ? 2 : 3;
}
static term_work carve_term(float *base, size_t tile, int t, int arrays) {
    const size_t step = pn_align16(tile);
    float *at = base + (size_t)t * (size_t)arrays * step;
    return (term_work){at, at + step, at + 2 * step, at + 2 * step, at + 3 * step, at + 4 * step};
}

/* coef * factor[n]; and all that weighs a term in image n. */
static float factor_of(const pn_term *term, int n) {
    return term->coef * (term->factor ? term->factor[n] : 1);
}
static float weight_of(const pn_term *term, int n) {
    return factor_of(term, n) * (term->weight ? *term->weight : 1);
}

/* ---- forward --------------------------------------------------------------------------------- */

/* h may be one of the terms: each element is read before it is written. */
static void sum_two(pn_stored *h, const pn_stored *x0, const pn_stored *x1, float f0, float f1,
                    term_work a, term_work b, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        h[i] = pn_narrow_one(f0 * (a.scale[i] * pn_widen_one(x0[i]) + a.shift[i]) +
                             f1 * (b.scale[i] * pn_widen_one(x1[i]) + b.shift[i]));
}

static void forward_two(const pn_node *job, int first, int end, float *terms, size_t tile) {
    const size_t image = (size_t)job->H * job->W * job->C;
    const pn_term *term = job->term;
    for (int n = first; n < end; n++)
        for (size_t i = 0; i < image; i += tile) {
            const size_t at = n * image + i, size = image - i < tile ? image - i : tile;
            for (int t = 0; t < 2; t++) pn_prefetch(term[t].in.x + at + size, size);
            pn_prefetch_write(job->h + at + size, size);
            sum_two(job->h + at, term[0].in.x + at, term[1].in.x + at, weight_of(&term[0], n),
                    weight_of(&term[1], n), carve_term(terms, tile, 0, 2),
                    carve_term(terms, tile, 1, 2), size);
        }
}

/* t = times * x, and the shifts of all terms, weighed, in one. */
static void weigh_terms(const pn_node *job, int n, float *terms, float *shift, size_t period) {
    const int C = job->C;
    memset(shift, 0, (size_t)C * sizeof *shift);
    for (int t = 0; t < job->terms; t++) {
        const term_work w = carve_term(terms, period, t, 3);
        const float f = weight_of(&job->term[t], n);
        for (int c = 0; c < C; c++) {
            w.times[c] = f * w.scale[c];
            shift[c] += f * w.shift[c];
        }
        pn_repeat(w.times, C, (int)(period / (size_t)C));
    }
    pn_repeat(shift, C, (int)(period / (size_t)C));
}

/* `vectors` of h, `lanes` floats of each, of all terms: h may be one of them. */
PN_INLINE void sum_vectors(const pn_node *job, const int vectors, int lanes, const float *times,
                           size_t step, const float *shift, size_t at) {
    pn_vf sum[2];
    PN_UNROLL for (int v = 0; v < vectors; v++) sum[v] = pn_load(shift + v * PN_LANES);
    for (int t = 0; t < job->terms; t++, times += step) {
        const pn_stored *x = job->term[t].in.x + at;
        PN_UNROLL for (int v = 0; v < vectors; v++) {
            __builtin_prefetch(x + v * PN_LANES + AHEAD);
            sum[v] += pn_load(times + v * PN_LANES) * pn_widen_lanes(x + v * PN_LANES, lanes);
        }
    }
    PN_UNROLL for (int v = 0; v < vectors; v++)
        pn_narrow_lanes(job->h + at + v * PN_LANES, sum[v], lanes);
}

static void forward_all(const pn_node *job, int first, int end, float *terms, float *shift,
                        size_t period) {
    const size_t image = (size_t)job->H * job->W * job->C, step = 3 * pn_align16(period);
    const float *times = carve_term(terms, period, 0, 3).times;
    int by_image = 0;
    for (int t = 0; t < job->terms; t++) by_image |= job->term[t].factor != NULL;
    for (int n = first; n < end; n++) {
        if (n == first || by_image) weigh_terms(job, n, terms, shift, period);
        size_t i = 0, c = 0; /* c: i within a period */
        for (; i + BLOCK <= image; i += BLOCK, c = c + BLOCK < period ? c + BLOCK : 0)
            sum_vectors(job, 2, PN_LANES, times + c, step, shift + c, n * image + i);
        for (; i < image; i += PN_LANES, c += PN_LANES)
            sum_vectors(job, 1, pn_min((int)(image - i), PN_LANES), times + c, step, shift + c,
                        n * image + i);
    }
}

static void forward(const void *self, int first, int end, float *workspace, float *partial) {
    const pn_node *job = ((const prepared *)self)->job;
    (void)partial;
    const int C = job->C, pixels = repeated_pixels(job, 0), arrays = term_arrays(job, 0);
    const size_t tile = (size_t)pixels * C;
    float *const shift = workspace, *const terms = workspace + pn_align16(tile);
    for (int t = 0; t < job->terms; t++) {
        const term_work w = carve_term(terms, tile, t, arrays);
        pn_norm_scale_shift(&job->term[t].in.norm, C, C, w.scale, w.shift);
        if (job->terms != 2) continue;
        pn_repeat(w.scale, C, pixels);
        pn_repeat(w.shift, C, pixels);
    }
    if (job->terms == 2)
        forward_two(job, first, end, terms, tile);
    else
        forward_all(job, first, end, terms, shift, tile);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* Terms that are done at once where there are not two: as many as registers hold their sums. */
enum { MOST = 4, GROUP = PN_LANES == 16 ? MOST : 2 };

/* A term of a tile. */
typedef struct dx_sink {
    const pn_stored *x; /* NULL: nobody wants it */
    pn_stored *dx;      /* or NULL */
    int add, sums;
    float f, weight; /* of the sums; of dx */
    term_work w;
} dx_sink;

/* What stays in registers for a block. */
typedef struct block {
    pn_vf mean[MOST][2], s1[2], s2[MOST][2]; /* of a term, of a vector */
    pn_vf scale[2], shift[2], back[2]; /* restore: of the first term, its weight in them; of h */
} block;

/* Of the vectors of a block, those that begin a line of the cache: the others need no prefetch. */
PN_INLINE int begins_line(const int v) {
    return v * PN_LANES * (int)sizeof(pn_stored) % PN_LINE == 0;
}

/* `ahead`: where the next tile is asked for. */
PN_INLINE void add_block(const int terms, const int restore, int lanes, const dx_sink *to,
                         pn_stored *h, const pn_stored *dh, size_t at, size_t ahead, const int v,
                         block *k) {
    const int line = begins_line(v);
    const pn_vf g = pn_widen_lanes(dh + at, lanes);
    if (line) __builtin_prefetch(dh + ahead);
    pn_vf x[MOST] = {{0}};
    PN_UNROLL for (int t = 0; t < terms; t++) {
        if (!to[t].x) continue;
        x[t] = pn_widen_lanes(to[t].x + at, lanes);
        if (line) __builtin_prefetch(to[t].x + ahead);
    }
    if (restore) {
        x[1] = k->back[v] * (x[1] - (k->scale[v] * x[0] + k->shift[v])) + k->mean[1][v];
        pn_narrow_lanes(h + at, x[1], lanes);
    }
    k->s1[v] += g;
    PN_UNROLL for (int t = 0; t < terms; t++) {
        k->s2[t][v] += g * (x[t] - k->mean[t][v]);
        if (!to[t].dx) continue;
        pn_stored *const dx = to[t].dx + at;
        pn_vf dt = pn_splat(to[t].weight) * g;
        if (to[t].add) dt += pn_widen_lanes(dx, lanes);
        pn_narrow_lanes(dx, dt, lanes);
        if (line) __builtin_prefetch(to[t].dx + ahead, 1);
    }
}

/* The blocks of a tile that begin at `first` in a period. With restore, h is put back first: it is
 * the second term's x. */
PN_INLINE void add_blocks(const int terms, const int restore, const dx_sink *all, pn_stored *h,
                          const pn_stored *dh, size_t first, size_t period, size_t n) {
    dx_sink to[MOST]; /* a copy: no store can change it */
    block k = {0};
    PN_UNROLL for (int t = 0; t < terms; t++) to[t] = all[t];
    PN_UNROLL for (int v = 0; v < 2; v++) {
        const size_t c = first + v * PN_LANES;
        PN_UNROLL for (int t = 0; t < terms; t++) k.mean[t][v] = pn_load(to[t].w.mean + c);
        if (!restore) continue;
        k.scale[v] = pn_splat(to[0].weight) * pn_load(to[0].w.scale + c);
        k.shift[v] = pn_splat(to[0].weight) * pn_load(to[0].w.shift + c);
        k.back[v] = pn_load(to[1].w.scale + c);
    }
    /* The next tile is asked for line by line, whatever the order it will be read in: of lines that
     * are a period apart no prefetcher of the hardware makes a stream, and a core alone has too few
     * requests on the way. */
    size_t i = first, ahead = n + first * (n / period);
    for (; i + BLOCK <= n; i += period, ahead += BLOCK)
        PN_UNROLL for (int v = 0; v < 2; v++) add_block(
            terms, restore, PN_LANES, to, h, dh, i + v * PN_LANES, ahead + v * PN_LANES, v, &k);
    PN_UNROLL for (int v = 0; v < 2; v++) { /* what is left of the image */
        const size_t at = i + v * PN_LANES;
        if (at < n)
            add_block(terms, restore, pn_min((int)(n - at), PN_LANES), to, h, dh, at, ahead, v, &k);
    }
    PN_UNROLL for (int t = 0; t < terms; t++) {
        if (!to[t].sums) continue;
        PN_UNROLL for (int v = 0; v < 2; v++) {
            const size_t c = first + v * PN_LANES;
            pn_add_to(to[t].w.s1 + c, pn_splat(to[t].f) * k.s1[v]);
            pn_add_to(to[t].w.s2 + c, pn_splat(to[t].f) * k.s2[t][v]);
        }
    }
}

static void add_one(const dx_sink *to, const pn_stored *dh, size_t first, size_t period, size_t n) {
    add_blocks(1, 0, to, NULL, dh, first, period, n);
}
static void add_three(const dx_sink *to, const pn_stored *dh, size_t first, size_t period,
                      size_t n) {
    add_blocks(3, 0, to, NULL, dh, first, period, n);
}
static void add_four(const dx_sink *to, const pn_stored *dh, size_t first, size_t period,
                     size_t n) {
    add_blocks(4, 0, to, NULL, dh, first, period, n);
}
static void add_two(const dx_sink *to, const pn_stored *dh, size_t first, size_t period, size_t n) {
    add_blocks(2, 0, to, NULL, dh, first, period, n);
}
static void restore_and_add_two(const dx_sink *to, pn_stored *h, const pn_stored *dh, size_t first,
                                size_t period, size_t n) {
    add_blocks(2, 1, to, h, dh, first, period, n);
}

/* Where there are not two terms: the sum becomes z of the last term. Takes it out, ... */
static void take_sum(float *sum, const pn_stored *h, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) sum[i] = pn_widen_one(h[i]);
}
/* ... subtracts another one, ... */
static void subtract_term(float *sum, const pn_stored *x, float f, term_work a, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) sum[i] -= f * (a.scale[i] * pn_widen_one(x[i]) + a.shift[i]);
}
/* ... and goes back through the last one's norm and coefficient. */
static void restore_last(pn_stored *h, const float *sum, term_work last, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) h[i] = pn_narrow_one(last.scale[i] * sum[i] + last.mean[i]);
}

static void restore_tile(const pn_node *job, int n, size_t at, float *terms, size_t period,
                         size_t size) {
    const int last = job->terms - 1;
    for (size_t i = 0; i < size; i += period) {
        const size_t m = size - i < period ? size - i : period;
        pn_stored *h = job->h + at + i;
        /* Floats are subtracted from where they are, bf16 from a copy behind the terms' arrays. */
        float *const sum =
            PN_NARROW ? carve_term(terms, period, job->terms, 5).scale : (float *)(void *)h;
        if (PN_NARROW) take_sum(sum, h, m);
        for (int t = 0; t < last; t++)
            subtract_term(sum, job->term[t].in.x + at + i, weight_of(&job->term[t], n),
                          carve_term(terms, period, t, 5), m);
        restore_last(h, sum, carve_term(terms, period, last, 5), m);
    }
}

/* Numbers per channel, repeated over a period. */
static void prepare_backward(const pn_node *job, float *terms, size_t period) {
    const int C = job->C, pixels = (int)(period / C), last = job->terms - 1;
    for (int t = 0; t < job->terms; t++) {
        const term_work w = carve_term(terms, period, t, 5);
        const pn_norm *norm = &job->term[t].in.norm;
        memset(w.s1, 0, period * sizeof *w.s1);
        memset(w.s2, 0, period * sizeof *w.s2);
        for (int c = 0; c < C; c++) w.mean[c] = norm->mode == PN_NORM_NONE ? 0 : norm->stats[c];
        pn_norm_scale_shift(norm, C, C, w.scale, w.shift);
        if (job->restore && t == last)
            for (int c = 0; c < C; c++) w.scale[c] = 1 / (job->term[t].coef * norm->stats[C + c]);
        pn_repeat(w.mean, C, pixels);
        pn_repeat(w.scale, C, pixels);
        pn_repeat(w.shift, C, pixels);
    }
}

static int wants_sums(const pn_term *term) {
    return term->dweight || pn_norm_wants_sums(&term->in.norm);
}

static dx_sink sink_of(const pn_node *job, int t, int n, size_t at, float *terms, size_t period) {
    const pn_input *in = &job->term[t].in;
    const int sums = wants_sums(&job->term[t]);
    return (dx_sink){.x = sums || job->restore ? in->x + at : NULL,
                     .dx = in->dx ? in->dx + at : NULL,
                     .add = in->add,
                     .sums = sums,
                     .f = factor_of(&job->term[t], n),
                     .weight = weight_of(&job->term[t], n),
                     .w = carve_term(terms, period, t, 5)};
}

static void add_group(const dx_sink *to, int count, const pn_stored *dh, size_t period,
                      size_t size) {
    for (size_t first = 0; first < period && first < size; first += BLOCK) {
        if (count == 1) add_one(to, dh, first, period, size);
        if (count == 2) add_two(to, dh, first, period, size);
        if (GROUP > 2 && count == 3) add_three(to, dh, first, period, size);
        if (GROUP > 2 && count == 4) add_four(to, dh, first, period, size);
    }
}

static void backward_tile(const pn_node *job, int n, size_t at, float *terms, size_t period,
                          size_t size) {
    const pn_stored *dh = job->dh + at;
    if (job->terms == 2) {
        const dx_sink to[2] = {sink_of(job, 0, n, at, terms, period),
                               sink_of(job, 1, n, at, terms, period)};
        for (size_t first = 0; first < period && first < size; first += BLOCK)
            if (job->restore)
                restore_and_add_two(to, job->h + at, dh, first, period, size);
            else
                add_two(to, dh, first, period, size);
        return;
    }
    if (job->restore) restore_tile(job, n, at, terms, period, size);
    dx_sink to[MOST];
    int count = 0;
    for (int t = 0; t < job->terms; t++) {
        to[count] = sink_of(job, t, n, at, terms, period);
        count += to[count].sums || to[count].dx;
        if (count < GROUP && t + 1 < job->terms) continue;
        add_group(to, count, dh, period, size);
        count = 0;
    }
}

static void backward(const void *self, int first, int end, float *terms, float *partial) {
    const prepared *s = self;
    const pn_node *job = s->job;
    const int C = job->C, pixels = period_pixels(C);
    const size_t period = (size_t)pixels * C, tile = tile_floats(period);
    const size_t image = (size_t)job->H * job->W * C;
    prepare_backward(job, terms, period);
    for (int n = first; n < end; n++)
        for (size_t i = 0; i < image; i += tile)
            backward_tile(job, n, n * image + i, terms, period,
                          image - i < tile ? image - i : tile);
    for (int t = 0; t < job->terms; t++) {
        const pn_norm *norm = &job->term[t].in.norm;
        if (!wants_sums(&job->term[t])) continue;
        const term_work w = carve_term(terms, period, t, 5);
        pn_fold_sums(partial + (size_t)t * PN_BWD_ROWS * s->partial_row, s->partial_row, w.s1, w.s2,
                     norm->mode == PN_NORM_NONE ? NULL : norm->stats + C, C, pixels);
    }
}

/* ---- the frame ------------------------------------------------------------------------------- */

static void lay_out(void *to, const void *jobs, int j, int backward, pn_carver *scratch) {
    const pn_node *job = (const pn_node *)jobs + j;
    const int row = (int)pn_align16((size_t)job->C);
    const int pixels = repeated_pixels(job, backward);
    const size_t sums = !backward || (PN_NARROW && job->restore); /* a tile of them */
    const size_t arrays = (size_t)job->terms * (size_t)term_arrays(job, backward) + sums;
    (void)scratch; /* all is in the workspace: it is little, and soon made */
    *(prepared *)to = (prepared){
        .frame = {.N = job->N,
                  .shares_dx = job->shares_dx,
                  .space_floats = arrays * pn_align16((size_t)pixels * job->C),
                  .partial_floats = backward ? (size_t)job->terms * PN_BWD_ROWS * row : 0},
        .job = job,
        .partial_row = row};
}

/* v = gamma * xhat + beta: so dweight is made of the two sums. */
static float gradient_of_weight(const prepared *s, const pn_norm *norm, const float *partials) {
    double sum = 0;
    for (int chunk = 0; chunk < pn_chunks(s->job->N); chunk++) {
        const float *s1 = partials + chunk * s->frame.partial_step, *s2 = s1 + s->partial_row;
        for (int c = 0; c < s->job->C; c++) {
            sum += (norm->gamma ? norm->gamma[c] : 1.0) * s2[c];
            if (norm->beta) sum += (double)norm->beta[c] * s1[c];
        }
    }
    return (float)sum;
}

static void finish_inputs(const void *self) {
    const prepared *s = self;
    for (int t = 0; t < s->job->terms; t++) {
        const pn_term *term = &s->job->term[t];
        const pn_input *in = &term->in;
        const float *partials = s->frame.partials + (size_t)t * PN_BWD_ROWS * s->partial_row;
        pn_norm_finish_weighted(&in->norm, s->job->C, in->add, s->job->N, partials,
                                s->frame.partial_step, s->partial_row,
                                term->weight ? *term->weight : 1);
        if (term->dweight) *term->dweight = gradient_of_weight(s, &in->norm, partials);
    }
}

static const pn_host_op node = {.bytes = sizeof(prepared),
                                .lay_out = lay_out,
                                .run = {forward, backward},
                                .shares = {0, 1},
                                .finish_inputs = finish_inputs};
PN_HOST_OP(node, node)
