/* head.c -- global average pool, linear classifier, softmax cross-entropy.
 *
 * Small beside the rest of a network: bound by the one read of its input (and, backward, the one
 * write of dx). An image's probabilities are made in double from its float32 logits, and images
 * are added up in their order by one thread, so results have the same bits on any number. */
#include <limits.h>

#include "kernels/host/period.h"

typedef struct image_result {
    double log_likelihood, loss;
    int64_t correct;
} image_result;

typedef struct prepared {
    pn_prepared frame;
    const pn_head *job;
    int partial_row;       /* floats of a row of a partial */
    image_result *results; /* forward, of all images */
    float *dlogits;        /* backward: (N, classes) */
} prepared;

typedef struct part_work {
    float *scale, *shift; /* a tile */
    float *mean, *d, *dv; /* backward, a tile: d = gradient of the pool's mean / pixels */
    float *s1, *s2;       /* backward, a tile */
} part_work;

typedef struct head_work {
    part_work part[PN_PARTS];
    float *dw; /* backward: a row of w */
} head_work;

/* Backward, a part is read and written in tiles of one period (period.h). */
static int tile_pixels(const pn_head *job, const pn_input *in) {
    const long pixels = (long)job->H * job->W;
    return pn_period(in->C, pixels < INT_MAX ? (int)pixels : INT_MAX);
}

static size_t carve(head_work *w, const pn_head *job, int backward_pass, pn_carver from) {
    for (int i = 0; i < job->parts; i++) {
        const size_t tile = (size_t)tile_pixels(job, &job->in[i]) * job->in[i].C;
        w->part[i].scale = pn_carve(&from, tile);
        w->part[i].shift = pn_carve(&from, tile);
        if (!backward_pass) continue;
        w->part[i].mean = pn_carve(&from, tile);
        w->part[i].d = pn_carve(&from, tile);
        w->part[i].dv = pn_carve(&from, tile);
        w->part[i].s1 = pn_carve(&from, tile);
        w->part[i].s2 = pn_carve(&from, tile);
    }
    if (backward_pass) w->dw = pn_carve(&from, (size_t)job->classes);
    return from.used;
}

static int channels(const pn_head *job) {
    int C = 0;
    for (int i = 0; i < job->parts; i++) C += job->in[i].C;
    return C;
}

static void prepare_load(const part_work *w, const pn_head *job, const pn_input *in) {
    pn_norm_scale_shift(&in->norm, in->C, in->C, w->scale, w->shift);
    pn_repeat(w->scale, in->C, tile_pixels(job, in));
    pn_repeat(w->shift, in->C, tile_pixels(job, in));
}

static void pool_tile(float *sum, const pn_stored *x, const float *scale, const float *shift,
                      int relu, int C, size_t n) {
    for (size_t i = 0; i < n; i += (size_t)C)
#pragma omp simd
        for (int c = 0; c < C; c++) {
            float v = scale[c] * pn_widen_one(x[i + c]) + shift[c];
            sum[c] += relu && !(v > 0) ? 0 : v;
        }
}

/* log(sum of exp(logits)), so that no exponential overflows; NaN if a logit is. */
static double log_sum_exp(const float *logits, int classes) {
    double max = logits[0], sum = 0;
    for (int k = 1; k < classes; k++)
        if (logits[k] > max) max = logits[k];
    for (int k = 0; k < classes; k++) sum += exp(logits[k] - max);
    return max + log(sum);
}

static image_result result_of(const pn_head *job, int n) {
    const float *logits = job->logits + (size_t)n * job->classes;
    const double lse = log_sum_exp(logits, job->classes);
    const int label = job->labels[n];
    double sum = 0; /* of all log-probabilities */
    int best = 0;
    for (int k = 0; k < job->classes; k++) {
        sum += logits[k] - lse;
        if (logits[k] > logits[best]) best = k;
    }
    const double log_p = logits[label] - lse, smooth = job->smoothing;
    return (image_result){log_p, -(1 - smooth) * log_p - smooth / job->classes * sum,
                          best == label};
}

static void forward(const void *self, int first, int end, float *workspace, float *partial) {
    const prepared *s = self;
    const pn_head *job = s->job;
    const int C = channels(job), classes = job->classes;
    const size_t pixels = (size_t)job->H * job->W;
    head_work w;
    (void)partial;
    carve(&w, job, 0, pn_workspace(workspace));
    for (int i = 0; i < job->parts; i++) prepare_load(&w.part[i], job, &job->in[i]);
    for (int n = first; n < end; n++) {
        float *pooled = job->pooled + (size_t)n * C, *to = pooled;
        memset(pooled, 0, (size_t)C * sizeof *pooled);
        for (int i = 0; i < job->parts; to += job->in[i++].C) {
            const size_t image = pixels * job->in[i].C;
            pool_tile(to, job->in[i].x + n * image, w.part[i].scale, w.part[i].shift, job->relu,
                      job->in[i].C, image);
        }
        for (int c = 0; c < C; c++) pooled[c] /= (float)pixels;

        float *logits = job->logits + (size_t)n * classes;
        memcpy(logits, job->b, (size_t)classes * sizeof *logits);
        for (int c = 0; c < C; c++)
#pragma omp simd
            for (int k = 0; k < classes; k++)
                logits[k] += pooled[c] * job->w[(size_t)c * classes + k];
        s->results[n] = result_of(job, n);
    }
}

static void finish_forward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    const pn_head *job = s->job;
    (void)share, (void)workspace;
    pn_result sum = {0, 0, 0};
    for (int n = 0; n < job->N; n++) {
        sum.log_likelihood += s->results[n].log_likelihood;
        sum.loss += s->results[n].loss;
        sum.correct += s->results[n].correct;
    }
    sum.loss /= job->N;
    *job->result = sum;
}

static void gradient_of_logits(const pn_head *job, int n, float *dlogits) {
    const float *logits = job->logits + (size_t)n * job->classes;
    const double lse = log_sum_exp(logits, job->classes), smooth = job->smoothing;
    const double factor = (job->scale ? *job->scale : 1.0) * job->loss_weight / job->N;
    for (int k = 0; k < job->classes; k++) {
        const double target = (k == job->labels[n] ? 1 - smooth : 0) + smooth / job->classes;
        dlogits[k] = (float)(factor * (exp(logits[k] - lse) - target));
    }
}

/* dx and the sums of one image of a part; w.d holds the gradient for v > 0. */
static void add_dx(const pn_head *job, const pn_input *in, int n, part_work w) {
    const size_t tile = (size_t)tile_pixels(job, in) * in->C;
    const size_t image = (size_t)job->H * job->W * in->C;
    const int sums = pn_norm_wants_sums(&in->norm);
    for (size_t i = 0; i < image; i += tile) {
        const size_t at = n * image + i, size = image - i < tile ? image - i : tile;
        const pn_stored *x = in->x + at;
        const float *dv = w.d;
        pn_stored *dx = in->dx + at;
        if (job->relu) {
#pragma omp simd
            for (size_t k = 0; k < size; k++)
                w.dv[k] = w.scale[k] * pn_widen_one(x[k]) + w.shift[k] > 0 ? w.d[k] : 0;
            dv = w.dv;
        }
        if (in->add) {
#pragma omp simd
            for (size_t k = 0; k < size; k++) dx[k] = pn_narrow_one(pn_widen_one(dx[k]) + dv[k]);
        } else
            pn_narrow_all(dx, dv, size);
        if (sums) pn_period_sums(dv, x, w.mean, w.s1, w.s2, tile, size);
    }
}

static void backward(const void *self, int first, int end, float *workspace, float *partial) {
    const prepared *s = self;
    const pn_head *job = s->job;
    const int classes = job->classes;
    const float pixels = (float)job->H * (float)job->W;
    head_work w;
    carve(&w, job, 1, pn_workspace(workspace));
    for (int n = first; n < end; n++) gradient_of_logits(job, n, s->dlogits + (size_t)n * classes);

    const float *weights = job->w;
    for (int i = 0; i < job->parts; weights += (size_t)job->in[i++].C * classes) {
        const pn_input *in = &job->in[i];
        const part_work part = w.part[i];
        const int C = in->C, tile = tile_pixels(job, in), sums = pn_norm_wants_sums(&in->norm);
        if (!in->dx) continue;
        prepare_load(&part, job, in);
        if (sums) {
            memcpy(part.mean, in->norm.stats, (size_t)C * sizeof *part.mean);
            pn_repeat(part.mean, C, tile);
            memset(part.s1, 0, (size_t)tile * C * sizeof *part.s1);
            memset(part.s2, 0, (size_t)tile * C * sizeof *part.s2);
        }
        for (int n = first; n < end; n++) {
            const float *dl = s->dlogits + (size_t)n * classes;
            for (int c = 0; c < C; c++) {
                float sum = 0;
                for (int k = 0; k < classes; k++) sum += dl[k] * weights[(size_t)c * classes + k];
                part.d[c] = sum / pixels;
            }
            pn_repeat(part.d, C, tile);
            add_dx(job, in, n, part);
        }
        if (sums)
            pn_fold_sums(partial + (size_t)i * PN_BWD_ROWS * s->partial_row, s->partial_row,
                         part.s1, part.s2, in->norm.stats + C, C, tile);
    }
}

/* dw of channel c (db for c = C) += the sum over the images, in their order. */
static void finish_weights(const pn_head *job, int c, const float *dlogits, float *sum) {
    const int C = channels(job), classes = job->classes;
    float *to = c < C ? job->dw + (size_t)c * classes : job->db;
    memset(sum, 0, (size_t)classes * sizeof *sum);
    for (int n = 0; n < job->N; n++) {
        const float pooled = c < C ? job->pooled[(size_t)n * C + c] : 1;
#pragma omp simd
        for (int k = 0; k < classes; k++) sum[k] += pooled * dlogits[(size_t)n * classes + k];
    }
    for (int k = 0; k < classes; k++) to[k] += sum[k];
}

static void finish_backward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    const int rows = channels(s->job) + 1;
    head_work w;
    carve(&w, s->job, 1, pn_workspace(workspace));
    for (int c = (int)((long)rows * share / PN_SHARES);
         c < (int)((long)rows * (share + 1) / PN_SHARES); c++)
        finish_weights(s->job, c, s->dlogits, w.dw);
}

/* ---- the frame ------------------------------------------------------------------------------- */

static void lay_out(void *to, const void *jobs, int j, int backward, pn_carver *scratch) {
    prepared s = {.job = (const pn_head *)jobs + j};
    const pn_head *job = s.job;
    head_work w;
    for (int i = 0; i < job->parts; i++) {
        const int row = (int)pn_align16((size_t)job->in[i].C);
        if (row > s.partial_row) s.partial_row = row;
    }
    if (backward)
        s.dlogits = pn_carve(scratch, (size_t)job->N * job->classes);
    else
        s.results =
            (image_result *)pn_carve(scratch, job->N * sizeof(image_result) / sizeof(float));
    s.frame = (pn_prepared){
        .N = job->N,
        .shares_dx = job->shares_dx,
        .space_floats = carve(&w, job, backward, (pn_carver){0}),
        .partial_floats = backward ? (size_t)job->parts * PN_BWD_ROWS * s.partial_row : 0};
    *(prepared *)to = s;
}

static void finish_inputs(const void *self) {
    const prepared *s = self;
    for (int i = 0; i < s->job->parts; i++) {
        const pn_input *in = &s->job->in[i];
        if (in->dx)
            pn_norm_finish_bwd(&in->norm, in->C, in->add, s->job->N,
                               s->frame.partials + (size_t)i * PN_BWD_ROWS * s->partial_row,
                               s->frame.partial_step, s->partial_row);
    }
}

static const pn_host_op head = {.bytes = sizeof(prepared),
                                .lay_out = lay_out,
                                .run = {forward, backward},
                                .shares = {1, PN_SHARES},
                                .finish = {finish_forward, finish_backward},
                                .finish_inputs = finish_inputs};
PN_HOST_OP(head, head)
