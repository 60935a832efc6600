/* stem.c -- 3x3 convolution of the image itself, stride 1 or 2, 1 or 3 channels to K.
 *
 * The three rows of a filter lie in L1 with a zero pixel on either side, so a window's row is 3*C
 * floats in a run. Forward: 8 pixels by one vector of K in registers, a broadcast pixel value
 * times a vector of weights for each of the 9*C taps. Weight gradient: 9 taps by one vector of K
 * in registers, over the pixels of a row. */
#include "kernels/host/period.h"

enum { ROWS = 3, PIXELS = 8, TAPS = 9 };

typedef struct prepared {
    pn_prepared frame;
    const pn_stem *job;
} prepared;

typedef struct stem_work {
    float *x[ROWS];              /* (W+2, C): an input row between two pixels of zeros */
    float *w;                    /* forward: (9*C, K padded) */
    int pixels;                  /* of a period */
    float *pivot, *sum, *square; /* forward: a period of K */
    float *z;                    /* forward, if z is stored as bf16: a row of it as floats */
    float *a, *b, *q, *g;        /* backward: a period of K; g (Q, K) and a vector more */
} stem_work;

static int height_of(const pn_stem *job) { return pn_out_size(job->H, job->stride); }
static int width_of(const pn_stem *job) { return pn_out_size(job->W, job->stride); }

static size_t carve(stem_work *w, const pn_stem *job, int backward_pass, pn_carver from) {
    const size_t row = (size_t)width_of(job) * job->out.K;
    w->pixels = pn_period(job->out.K, width_of(job));
    const size_t period = (size_t)w->pixels * job->out.K;
    for (int i = 0; i < ROWS; i++) w->x[i] = pn_carve(&from, ((size_t)job->W + 2) * job->C);
    if (backward_pass) {
        w->a = pn_carve(&from, period);
        w->b = pn_carve(&from, period);
        w->q = pn_carve(&from, period);
        w->g = pn_carve(&from, row + PN_LANES);
    } else {
        w->w = pn_carve(&from, (size_t)TAPS * job->C * pn_padded(job->out.K));
        w->pivot = pn_carve(&from, period);
        w->sum = pn_carve(&from, period);
        w->square = pn_carve(&from, period);
        if (PN_NARROW) w->z = pn_carve(&from, row);
    }
    return from.used;
}

/* The input rows of output row p. */
static void fill_rows(const stem_work *w, const pn_stem *job, int n, int p) {
    const size_t C = (size_t)job->C, row = job->W * C;
    for (int i = 0; i < ROWS; i++) {
        const int h = p * job->stride + i - 1;
        memset(w->x[i], 0, (row + 2 * C) * sizeof(float));
        if (h >= 0 && h < job->H)
            memcpy(w->x[i] + C, job->x + ((size_t)n * job->H + h) * row, row * sizeof(float));
    }
}

/* z of `pixels` neighbours, whose windows are `step` floats apart: the vector of channels at k.
 * pixels, C and step are literals. */
PN_INLINE void convolve_block(const float *const x[ROWS], int pixels, int C, int step,
                              const float *w, int padded, float *z, int K, int k) {
    pn_vf acc[PIXELS];
    PN_UNROLL
    for (int i = 0; i < pixels; i++) acc[i] = (pn_vf){0};
    for (int row = 0; row < ROWS; row++)
        for (int t = 0; t < 3 * C; t++, w += padded) {
            const pn_vf weight = pn_load(w + k);
            PN_UNROLL
            for (int i = 0; i < pixels; i++) acc[i] += x[row][i * step + t] * weight;
        }
    const int left = K - k;
    PN_UNROLL
    for (int i = 0; i < pixels; i++) {
        float *to = z + (size_t)i * K + k;
        if (left >= PN_LANES)
            pn_store(to, acc[i]);
        else
            pn_store_part(to, acc[i], left);
    }
}

PN_INLINE void convolve_pixels(const stem_work *work, const pn_stem *job, int pixels, int C,
                               int step, int q, float *z) {
    const int K = job->out.K, padded = pn_padded(K);
    const float *const x[ROWS] = {work->x[0] + q * step, work->x[1] + q * step,
                                  work->x[2] + q * step};
    for (int k = 0; k < K; k += PN_LANES)
        convolve_block(x, pixels, C, step, work->w, padded, z + (size_t)q * K, K, k);
}

PN_INLINE void convolve_row(const stem_work *work, const pn_stem *job, int C, int step, float *z) {
    const int Q = width_of(job);
    int q = 0;
    for (; q + PIXELS <= Q; q += PIXELS) convolve_pixels(work, job, PIXELS, C, step, q, z);
    for (; q < Q; q++) convolve_pixels(work, job, 1, C, step, q, z);
}

/* Calls X with the job's channels and the distance of its windows, as literals. */
#define BY_WINDOWS(job, X)                       \
    do {                                         \
        if ((job)->C == 1 && (job)->stride == 1) \
            X(1, 1);                             \
        else if ((job)->C == 1)                  \
            X(1, 2);                             \
        else if ((job)->stride == 1)             \
            X(3, 3);                             \
        else                                     \
            X(3, 6);                             \
    } while (0)

static void forward(const void *self, int first, int end, float *workspace, float *partial) {
    const pn_stem *job = ((const prepared *)self)->job;
    const int K = job->out.K, padded = pn_padded(K), P = height_of(job);
    const size_t row = (size_t)width_of(job) * K;
    const int statistics = job->out.norm.mode == PN_NORM_BATCH;
    stem_work w;
    carve(&w, job, 0, pn_workspace(workspace));
    for (int t = 0; t < TAPS * job->C; t++) {
        memset(w.w + (size_t)t * padded, 0, (size_t)padded * sizeof *w.w);
        memcpy(w.w + (size_t)t * padded, job->w + (size_t)t * K, (size_t)K * sizeof *w.w);
    }
    const size_t period = (size_t)w.pixels * K;
    memset(w.sum, 0, period * sizeof *w.sum);
    memset(w.square, 0, period * sizeof *w.square);

    for (int n = first; n < end; n++)
        for (int p = 0; p < P; p++) {
            pn_stored *const to = job->out.z + ((size_t)n * P + p) * row;
            float *const z = PN_NARROW ? w.z : (float *)(void *)to;
            fill_rows(&w, job, n, p);
#define CONVOLVE(C, step) convolve_row(&w, job, C, step, z)
            BY_WINDOWS(job, CONVOLVE);
#undef CONVOLVE
            if (PN_NARROW) pn_narrow_all(to, z, row);
            if (!statistics) continue;
            if (n == first && p == 0) {
                memcpy(w.pivot, z, (size_t)K * sizeof *z);
                pn_repeat(w.pivot, K, w.pixels);
            }
            pn_period_stats(z, w.pivot, w.sum, w.square, period, row);
        }
    if (!statistics) return;
    memcpy(partial, w.pivot, (size_t)K * sizeof *partial);
    pn_fold(partial + padded, w.sum, K, w.pixels);
    pn_fold(partial + 2 * padded, w.square, K, w.pixels);
}

/* dw of nine taps, one vector of channels, over a row; the taps are nine floats in a run of one
 * input row (C = 3) or three of each row (C = 1). C and step are literals. Lanes beyond K gather
 * rubbish from the pixel after, and stay in the padding of dw. */
PN_INLINE void weights_block(const float *const x[ROWS], int C, int step, const float *g, int K,
                             int Q, float *dw, int padded) {
    pn_vf acc[TAPS];
    PN_UNROLL
    for (int t = 0; t < TAPS; t++) acc[t] = (pn_vf){0};
    for (int q = 0; q < Q; q++) {
        const pn_vf gradient = pn_load(g + (size_t)q * K);
        PN_UNROLL
        for (int t = 0; t < TAPS; t++)
            acc[t] += (C == 3 ? x[0][q * step + t] : x[t / 3][q * step + t % 3]) * gradient;
    }
    PN_UNROLL
    for (int t = 0; t < TAPS; t++) {
        float *to = dw + (size_t)t * padded;
        pn_store(to, pn_load(to) + acc[t]);
    }
}

/* The same for all taps of a row of output. */
PN_INLINE void weights_row(const stem_work *w, const pn_stem *job, int C, int step, float *dw) {
    const int K = job->out.K, padded = pn_padded(K), Q = width_of(job);
    for (int k = 0; k < K; k += PN_LANES) {
        if (C == 1) {
            const float *const x[ROWS] = {w->x[0], w->x[1], w->x[2]};
            weights_block(x, 1, step, w->g + k, K, Q, dw + k, padded);
            continue;
        }
        for (int i = 0; i < ROWS; i++) {
            const float *const x[ROWS] = {w->x[i]};
            weights_block(x, 3, step, w->g + k, K, Q, dw + (size_t)i * TAPS * padded + k, padded);
        }
    }
}

static void backward(const void *self, int first, int end, float *workspace, float *dw) {
    const pn_stem *job = ((const prepared *)self)->job;
    const int K = job->out.K, P = height_of(job);
    const size_t row = (size_t)width_of(job) * K;
    const int through_norm = job->out.norm.mode == PN_NORM_BATCH;
    stem_work w;
    carve(&w, job, 1, pn_workspace(workspace));
    pn_norm_dz(&job->out.norm, K, K, (double)job->N * P * width_of(job), w.a, w.b, w.q);
    pn_repeat(w.a, K, w.pixels);
    pn_repeat(w.b, K, w.pixels);
    pn_repeat(w.q, K, w.pixels);
    memset(w.g + row, 0, PN_LANES * sizeof *w.g);

    for (int n = first; n < end; n++) {
        const float factor = pn_output_scale(&job->out, n);
        for (int p = 0; p < P; p++) {
            const size_t at = ((size_t)n * P + p) * row;
            pn_period_dz(w.g, job->out.dy + at, factor, through_norm ? job->out.z + at : NULL, w.a,
                         w.b, w.q, (size_t)w.pixels * K, row);
            fill_rows(&w, job, n, p);
#define WEIGHTS(C, step) weights_row(&w, job, C, step, dw)
            BY_WINDOWS(job, WEIGHTS);
#undef WEIGHTS
        }
    }
}

/* ---- the frame ------------------------------------------------------------------------------- */

static void lay_out(void *to, const void *jobs, int j, int backward, pn_carver *scratch) {
    const pn_stem *job = (const pn_stem *)jobs + j;
    const size_t rows = backward ? (size_t)TAPS * job->C : PN_FWD_ROWS;
    stem_work w;
    (void)scratch; /* all is in the workspace: it is little, and soon made */
    *(prepared *)to = (prepared){.frame = {.N = job->N,
                                           .space_floats = carve(&w, job, backward, (pn_carver){0}),
                                           .partial_floats = rows * pn_padded(job->out.K)},
                                 .job = job};
}

static void finish_forward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    const pn_stem *job = s->job;
    (void)share, (void)workspace;
    pn_norm_finish_fwd(&job->out.norm, job->out.K, job->N, (long)height_of(job) * width_of(job),
                       s->frame.partials, s->frame.partial_step, pn_padded(job->out.K));
}

/* dw += the partials of all chunks, for a share of the taps. */
static void finish_backward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    const pn_stem *job = s->job;
    const int K = job->out.K, taps = TAPS * job->C;
    (void)workspace;
    for (int t = taps * share / PN_SHARES; t < taps * (share + 1) / PN_SHARES; t++)
        for (int k = 0; k < K; k++) {
            const float *partial = s->frame.partials + (size_t)t * pn_padded(K) + k;
            double sum = 0;
            for (int chunk = 0; chunk < pn_chunks(job->N); chunk++)
                sum += partial[chunk * s->frame.partial_step];
            job->dw[(size_t)t * K + k] += (float)sum;
        }
    if (!share) pn_norm_parameters(&job->out.norm, K);
}

static const pn_host_op stem = {.bytes = sizeof(prepared),
                                .lay_out = lay_out,
                                .run = {forward, backward},
                                .shares = {1, PN_SHARES},
                                .finish = {finish_forward, finish_backward}};
PN_HOST_OP(stem, stem)
