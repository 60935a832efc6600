/* head.c -- global average pool, linear classifier, softmax cross-entropy.
 *
 * Small beside the rest of a network: bound by the one read of its input (and, backward, the one
 * write of dx). An image's probabilities are made in double from its float32 logits, and images
 * are added up in their order by one thread, so results have the same bits on any number. */
#include <assert.h>
#include <limits.h>

#include "kernels/host/flat.h"

typedef struct image_result {
    double log_likelihood, loss;
    int64_t correct;
} image_result;

typedef struct part_work {
    float *scale, *shift; /* a tile */
    float *mean, *d, *dv; /* backward, a tile: d = gradient of the pool's mean / pixels */
    float *s1, *s2;       /* backward, a tile */
} part_work;

typedef struct head_work {
    part_work part[PN_PARTS];
    float *dw; /* backward: a row of w */
} head_work;

/* Backward, a part is read and written in tiles of one period (flat.h). */
static int tile_pixels(const pn_head *job, const pn_input *in) {
    const long pixels = (long)job->H * job->W;
    return pn_period(in->C, pixels < INT_MAX ? (int)pixels : INT_MAX);
}

static size_t carve(head_work *w, const pn_head *job, int backward_pass, float *base) {
    pn_carver from = {base, 0};
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

static void pool_tile(float *sum, const float *x, const float *scale, const float *shift, int relu,
                      int C, size_t n) {
    for (size_t i = 0; i < n; i += (size_t)C)
#pragma omp simd
        for (int c = 0; c < C; c++) {
            float v = scale[c] * x[i + c] + shift[c];
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

static image_result judge(const pn_head *job, int n) {
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

static void forward(const pn_head *job, int chunk, float *base, image_result *results) {
    const int C = channels(job), classes = job->classes;
    const size_t pixels = (size_t)job->H * job->W;
    const int last = pn_chunk_first(job->N, chunk + 1);
    head_work w;
    assert(base);
    carve(&w, job, 0, base);
    for (int i = 0; i < job->parts; i++) prepare_load(&w.part[i], job, &job->in[i]);
    for (int n = pn_chunk_first(job->N, chunk); n < last; n++) {
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
        results[n] = judge(job, n);
    }
}

static void finish_forward(const pn_head *job, const image_result *results) {
    pn_result sum = {0, 0, 0};
    for (int n = 0; n < job->N; n++) {
        sum.log_likelihood += results[n].log_likelihood;
        sum.loss += results[n].loss;
        sum.correct += results[n].correct;
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
static void give(const pn_head *job, const pn_input *in, int n, part_work w) {
    const size_t tile = (size_t)tile_pixels(job, in) * in->C;
    const size_t image = (size_t)job->H * job->W * in->C;
    const int sums = pn_norm_wants_sums(&in->norm);
    for (size_t i = 0; i < image; i += tile) {
        const size_t at = n * image + i, size = image - i < tile ? image - i : tile;
        const float *x = in->x + at, *dv = w.d;
        float *dx = in->dx + at;
        if (job->relu) {
#pragma omp simd
            for (size_t k = 0; k < size; k++)
                w.dv[k] = w.scale[k] * x[k] + w.shift[k] > 0 ? w.d[k] : 0;
            dv = w.dv;
        }
        if (in->add) {
#pragma omp simd
            for (size_t k = 0; k < size; k++) dx[k] += dv[k];
        } else
            memcpy(dx, dv, size * sizeof *dx);
        if (sums) pn_flat_sums(dv, x, w.mean, w.s1, w.s2, tile, size);
    }
}

static void backward(const pn_head *job, int chunk, float *base, float *dlogits, float *slot,
                     int slot_row) {
    const int classes = job->classes;
    const float pixels = (float)job->H * (float)job->W;
    const int first = pn_chunk_first(job->N, chunk), last = pn_chunk_first(job->N, chunk + 1);
    head_work w;
    assert(base);
    carve(&w, job, 1, base);
    for (int n = first; n < last; n++) gradient_of_logits(job, n, dlogits + (size_t)n * classes);

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
        for (int n = first; n < last; n++) {
            const float *dl = dlogits + (size_t)n * classes;
            for (int c = 0; c < C; c++) {
                float sum = 0;
                for (int k = 0; k < classes; k++) sum += dl[k] * weights[(size_t)c * classes + k];
                part.d[c] = sum / pixels;
            }
            pn_repeat(part.d, C, tile);
            give(job, in, n, part);
        }
        if (sums)
            pn_fold_sums(slot + (size_t)i * PN_BWD_ROWS * slot_row, slot_row, part.s1, part.s2,
                         in->norm.stats + C, C, tile);
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

/* How scratch is used: a workspace per thread; per job what its images leave to the second step
 * (results or dlogits); backward a slot per job and chunk. */
typedef struct layout {
    size_t work, images, slot; /* floats */
    int slot_row;
} layout;

static layout layout_of(const pn_head *jobs, int count, int backward_pass) {
    layout l = {0, 0, 0, 0};
    for (int j = 0; j < count; j++) {
        head_work w;
        const size_t work = carve(&w, &jobs[j], backward_pass, NULL);
        const size_t images =
            pn_align16(backward_pass ? (size_t)jobs[j].N * jobs[j].classes
                                     : jobs[j].N * sizeof(image_result) / sizeof(float));
        if (work > l.work) l.work = work;
        if (images > l.images) l.images = images;
        for (int i = 0; i < jobs[j].parts; i++) {
            const int row = (int)pn_align16((size_t)jobs[j].in[i].C);
            if (row > l.slot_row) l.slot_row = row;
        }
    }
    l.work = pn_apart(l.work);
    if (backward_pass) l.slot = (size_t)PN_PARTS * PN_BWD_ROWS * l.slot_row;
    return l;
}

static size_t scratch_of(const pn_head *jobs, int count, int backward_pass) {
    const layout l = layout_of(jobs, count, backward_pass);
    return (PN_WORKERS * l.work + (size_t)count * (l.images + PN_CHUNKS * l.slot)) * sizeof(float);
}

size_t PN_NAME(pn_head_fwd_scratch)(const pn_head *jobs, int count) {
    if (pn_check_head_shapes("head_fwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    return scratch_of(jobs, count, 0);
}

size_t PN_NAME(pn_head_bwd_scratch)(const pn_head *jobs, int count) {
    if (pn_check_head_shapes("head_bwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    return scratch_of(jobs, count, 1);
}

pn_status PN_NAME(pn_head_fwd)(const pn_head *jobs, int count, const pn_launch *launch) {
    PN_TRY(pn_check_head("head_fwd", jobs, count, 0, launch));
    PN_TRY(pn_check_room("head_fwd", launch, scratch_of(jobs, count, 0)));
    const layout l = layout_of(jobs, count, 0);
    float *const work = launch->scratch, *const images = work + PN_WORKERS * l.work;
    pn_shares shares = {0};
    pn_fence(work, l.work);
#pragma omp parallel num_threads(pn_threads())
    {
        PN_EACH_UNIT (unit, &shares, PN_CHUNKS * count) {
            const int j = unit % count, chunk = unit / count;
            if (chunk < pn_chunks(jobs[j].N))
                forward(&jobs[j], chunk, work + omp_get_thread_num() * l.work,
                        (image_result *)(images + j * l.images));
        }
#pragma omp barrier
#pragma omp for
        for (int j = 0; j < count; j++)
            finish_forward(&jobs[j], (const image_result *)(images + j * l.images));
    }
    pn_unfence(work, l.work);
    return PN_OK;
}

pn_status PN_NAME(pn_head_bwd)(const pn_head *jobs, int count, const pn_launch *launch) {
    PN_TRY(pn_check_head("head_bwd", jobs, count, 1, launch));
    PN_TRY(pn_check_room("head_bwd", launch, scratch_of(jobs, count, 1)));
    if (launch->gate && *launch->gate == 0) return PN_OK;
    const layout l = layout_of(jobs, count, 1);
    float *const work = launch->scratch, *const images = work + PN_WORKERS * l.work;
    float *const slots = images + count * l.images;
    pn_shares shares = {0};
    pn_fence(work, l.work);
#pragma omp parallel num_threads(pn_threads())
    {
        float *const mine = work + omp_get_thread_num() * l.work;
        /* A unit is a chunk of all jobs that share a dx: one thread, in the order of the jobs. */
        PN_EACH_UNIT (unit, &shares, PN_CHUNKS * count) {
            const int chunk = unit / count;
            int j = unit % count;
            if (chunk >= pn_chunks(jobs[j].N) || jobs[j].shares_dx) continue;
            do {
                backward(&jobs[j], chunk, mine, images + j * l.images,
                         slots + ((size_t)j * PN_CHUNKS + chunk) * l.slot, l.slot_row);
                j++;
            } while (j < count && jobs[j].shares_dx);
        }
#pragma omp barrier
        for (int j = 0; j < count; j++) {
            head_work w;
            carve(&w, &jobs[j], 1, mine);
#pragma omp for
            for (int c = 0; c <= channels(&jobs[j]); c++)
                finish_weights(&jobs[j], c, images + j * l.images, w.dw);
        }
#pragma omp single
        for (int j = 0; j < count; j++)
            for (int i = 0; i < jobs[j].parts; i++)
                if (jobs[j].in[i].dx)
                    pn_norm_finish_bwd(&jobs[j].in[i].norm, jobs[j].in[i].C, jobs[j].in[i].add,
                                       jobs[j].N,
                                       slots + (size_t)j * PN_CHUNKS * l.slot +
                                           (size_t)i * PN_BWD_ROWS * l.slot_row,
                                       l.slot, l.slot_row);
    }
    pn_unfence(work, l.work);
    return PN_OK;
}
