/* stem.c -- 3x3 convolution of the image itself, stride 1 or 2, 1 or 3 channels to K.
 *
 * The three rows of a filter lie in L1 with a zero pixel on either side, so a window's row is 3*C
 * floats in a run. Forward: 8 pixels by one vector of K in registers, a broadcast pixel value
 * times a vector of weights for each of the 9*C taps. Weight gradient: 9 taps by one vector of K
 * in registers, over the pixels of a row. */
#include "kernels/host/flat.h"
#include "kernels/host/vector.h"

enum { ROWS = 3, PIXELS = 8, TAPS = 9 };

typedef struct stem_work {
    float *x[ROWS];              /* (W+2, C): an input row between two pixels of zeros */
    float *w;                    /* forward: (9*C, K padded) */
    int pixels;                  /* of a period */
    float *pivot, *sum, *square; /* forward: a period of K */
    float *a, *b, *q, *g;        /* backward: a period of K; g (Q, K) and a vector more */
} stem_work;

static int height_of(const pn_stem *job) { return pn_out_size(job->H, job->stride); }
static int width_of(const pn_stem *job) { return pn_out_size(job->W, job->stride); }

static size_t carve(stem_work *w, const pn_stem *job, int backward_pass, float *base) {
    const size_t row = (size_t)width_of(job) * job->out.K;
    w->pixels = pn_period(job->out.K, width_of(job));
    const size_t period = (size_t)w->pixels * job->out.K;
    pn_carver from = {base, 0};
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

static void forward(const pn_stem *job, int chunk, float *base, float *slot, int slot_row) {
    const int K = job->out.K, padded = pn_padded(K), P = height_of(job);
    const size_t row = (size_t)width_of(job) * K;
    const int first = pn_chunk_first(job->N, chunk), last = pn_chunk_first(job->N, chunk + 1);
    const int statistics = job->out.norm.mode == PN_NORM_BATCH;
    stem_work w;
    carve(&w, job, 0, base);
    for (int t = 0; t < TAPS * job->C; t++) {
        memset(w.w + (size_t)t * padded, 0, (size_t)padded * sizeof *w.w);
        memcpy(w.w + (size_t)t * padded, job->w + (size_t)t * K, (size_t)K * sizeof *w.w);
    }
    const size_t period = (size_t)w.pixels * K;
    memset(w.sum, 0, period * sizeof *w.sum);
    memset(w.square, 0, period * sizeof *w.square);

    for (int n = first; n < last; n++)
        for (int p = 0; p < P; p++) {
            float *z = job->out.z + ((size_t)n * P + p) * row;
            fill_rows(&w, job, n, p);
#define CONVOLVE(C, step) convolve_row(&w, job, C, step, z)
            BY_WINDOWS(job, CONVOLVE);
#undef CONVOLVE
            if (!statistics) continue;
            if (n == first && p == 0) {
                memcpy(w.pivot, z, (size_t)K * sizeof *z);
                pn_repeat(w.pivot, K, w.pixels);
            }
            pn_flat_stats(z, w.pivot, w.sum, w.square, period, row);
        }
    if (!statistics) return;
    memcpy(slot, w.pivot, (size_t)K * sizeof *slot);
    pn_fold(slot + slot_row, w.sum, K, w.pixels);
    pn_fold(slot + 2 * slot_row, w.square, K, w.pixels);
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

static void backward(const pn_stem *job, int chunk, float *base, float *dw) {
    const int K = job->out.K, padded = pn_padded(K), P = height_of(job);
    const size_t row = (size_t)width_of(job) * K;
    const int last = pn_chunk_first(job->N, chunk + 1);
    const int turn = job->out.norm.mode == PN_NORM_BATCH;
    stem_work w;
    carve(&w, job, 1, base);
    pn_norm_dz(&job->out.norm, K, K, (double)job->N * P * width_of(job), w.a, w.b, w.q);
    pn_repeat(w.a, K, w.pixels);
    pn_repeat(w.b, K, w.pixels);
    pn_repeat(w.q, K, w.pixels);
    memset(w.g + row, 0, PN_LANES * sizeof *w.g);
    memset(dw, 0, (size_t)TAPS * job->C * padded * sizeof *dw);

    for (int n = pn_chunk_first(job->N, chunk); n < last; n++) {
        const float factor = job->out.coef * (job->out.factor ? job->out.factor[n] : 1);
        for (int p = 0; p < P; p++) {
            const size_t at = ((size_t)n * P + p) * row;
            pn_flat_dz(w.g, job->out.dy + at, factor, turn ? job->out.z + at : NULL, w.a, w.b, w.q,
                       (size_t)w.pixels * K, row);
            fill_rows(&w, job, n, p);
#define WEIGHTS(C, step) weights_row(&w, job, C, step, dw)
            BY_WINDOWS(job, WEIGHTS);
#undef WEIGHTS
        }
    }
}

/* How scratch is used: a workspace per thread, which begins with the slot of the chunk at hand;
 * then a slot per job and chunk. */
typedef struct layout {
    size_t work, slot; /* floats */
    int slot_row;
} layout;

static layout layout_of(const pn_stem *jobs, int count, int backward_pass) {
    layout l = {0, 0, 0};
    for (int j = 0; j < count; j++) {
        stem_work w;
        const size_t work = carve(&w, &jobs[j], backward_pass, NULL);
        if (work > l.work) l.work = work;
        const size_t row = pn_align16((size_t)pn_padded(jobs[j].out.K));
        const size_t slot = row * (backward_pass ? (size_t)TAPS * jobs[j].C : PN_FWD_ROWS);
        if (slot > l.slot) l.slot = slot;
        if ((int)row > l.slot_row) l.slot_row = (int)row;
    }
    if (!backward_pass) l.slot = (size_t)l.slot_row * PN_FWD_ROWS;
    l.work = pn_apart(l.slot + l.work);
    return l;
}

static size_t scratch_of(const pn_stem *jobs, int count, int backward_pass) {
    const layout l = layout_of(jobs, count, backward_pass);
    return (PN_WORKERS * l.work + (size_t)count * PN_CHUNKS * l.slot) * sizeof(float);
}

size_t PN_NAME(pn_stem_fwd_scratch)(const pn_stem *jobs, int count) {
    if (pn_check_stem_shapes("stem_fwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    return scratch_of(jobs, count, 0);
}

size_t PN_NAME(pn_stem_bwd_scratch)(const pn_stem *jobs, int count) {
    if (pn_check_stem_shapes("stem_bwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    return scratch_of(jobs, count, 1);
}

pn_status PN_NAME(pn_stem_fwd)(const pn_stem *jobs, int count, const pn_launch *launch) {
    PN_TRY(pn_check_stem("stem_fwd", jobs, count, 0, launch));
    PN_TRY(pn_check_room("stem_fwd", launch, scratch_of(jobs, count, 0)));
    const layout l = layout_of(jobs, count, 0);
    float *const work = launch->scratch, *const slots = work + PN_WORKERS * l.work;
    pn_shares shares = {0};
    pn_fence(work, l.work);
#pragma omp parallel num_threads(pn_threads())
    {
        float *const mine = work + omp_get_thread_num() * l.work;
        PN_EACH_UNIT (unit, &shares, PN_CHUNKS * count) {
            const int j = unit % count, chunk = unit / count;
            if (chunk >= pn_chunks(jobs[j].N)) continue;
            forward(&jobs[j], chunk, mine + l.slot, mine, l.slot_row);
            memcpy(slots + ((size_t)j * PN_CHUNKS + chunk) * l.slot, mine, l.slot * sizeof *mine);
        }
#pragma omp barrier
#pragma omp for
        for (int j = 0; j < count; j++)
            pn_norm_finish_fwd(&jobs[j].out.norm, jobs[j].out.K, jobs[j].N,
                               (long)height_of(&jobs[j]) * width_of(&jobs[j]),
                               slots + (size_t)j * PN_CHUNKS * l.slot, l.slot, l.slot_row);
    }
    pn_unfence(work, l.work);
    return PN_OK;
}

/* dw += the slots of all chunks, for one tap. */
static void finish_tap(const pn_stem *job, int t, const float *slots, size_t slot_floats) {
    const int K = job->out.K;
    for (int k = 0; k < K; k++) {
        double sum = 0;
        for (int chunk = 0; chunk < pn_chunks(job->N); chunk++)
            sum += slots[chunk * slot_floats + (size_t)t * pn_padded(K) + k];
        job->dw[(size_t)t * K + k] += (float)sum;
    }
}

pn_status PN_NAME(pn_stem_bwd)(const pn_stem *jobs, int count, const pn_launch *launch) {
    PN_TRY(pn_check_stem("stem_bwd", jobs, count, 1, launch));
    PN_TRY(pn_check_room("stem_bwd", launch, scratch_of(jobs, count, 1)));
    if (launch->gate && *launch->gate == 0) return PN_OK;
    const layout l = layout_of(jobs, count, 1);
    float *const work = launch->scratch, *const slots = work + PN_WORKERS * l.work;
    pn_shares shares = {0};
    pn_fence(work, l.work);
#pragma omp parallel num_threads(pn_threads())
    {
        float *const mine = work + omp_get_thread_num() * l.work;
        PN_EACH_UNIT (unit, &shares, PN_CHUNKS * count) {
            const int j = unit % count, chunk = unit / count;
            if (chunk >= pn_chunks(jobs[j].N)) continue;
            backward(&jobs[j], chunk, mine + l.slot, mine);
            memcpy(slots + ((size_t)j * PN_CHUNKS + chunk) * l.slot, mine, l.slot * sizeof *mine);
        }
#pragma omp barrier
        for (int j = 0; j < count; j++) {
#pragma omp for
            for (int t = 0; t < TAPS * jobs[j].C; t++)
                finish_tap(&jobs[j], t, slots + (size_t)j * PN_CHUNKS * l.slot, l.slot);
        }
#pragma omp single
        for (int j = 0; j < count; j++) pn_norm_parameters(&jobs[j].out.norm, jobs[j].out.K);
    }
    pn_unfence(work, l.work);
    return PN_OK;
}
