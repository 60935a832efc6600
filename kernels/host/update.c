/* update.c -- importance weights, exact sums of gradients, and the step of the shared weights.
 *
 * Flat ranges are cut into blocks of BLOCK floats; a block is the unit of work. Its sum of
 * squares is a partial, added in the order of the blocks: the norm has the same bits for any number
 * of threads. Bound by memory: the gradient is read twice, value and velocity read and written. */
#include <math.h>

#include "kernels/host/period.h"

enum { BLOCK = 8192 };

static size_t blocks_of(pn_range range) { return (range.count + BLOCK - 1) / BLOCK; }

static size_t count_blocks(const pn_range *ranges, int count) {
    size_t blocks = 0;
    for (int i = 0; i < count; i++) blocks += blocks_of(ranges[i]);
    return blocks;
}

/* The stretch of floats that is block b of the ranges. */
static pn_range block_at(const pn_range *ranges, size_t b) {
    while (b >= blocks_of(*ranges)) b -= blocks_of(*ranges++);
    const size_t left = ranges->count - b * BLOCK;
    return (pn_range){ranges->first + b * BLOCK, left < BLOCK ? left : BLOCK};
}

/* The maximum, or NaN if one is: fmax would hide a failed sample. */
static double max_or_nan(double a, double b) { return isnan(a) || a > b ? a : b; }

pn_status PN_NAME(pn_weigh)(const pn_result *result, double temperature, double skip_below,
                            pn_importance *w, const pn_launch *launch) {
    (void)launch;
    if (!result || !w) return pn_fail(PN_EARG, "weigh: result or weights is NULL");
    if (!(temperature > 0) || !(skip_below >= 0))
        return pn_fail(PN_EARG, "weigh: temperature %g, skip_below %g, want > 0 and >= 0",
                       temperature, skip_below);
    const double l = result->log_likelihood / temperature;
    w->max = max_or_nan(w->max, l);
    const double weight = exp(l - w->max);
    w->scale = isnan(weight) ? NAN : weight < skip_below ? 0 : w->full;
    return PN_OK;
}

static double likelihood(const pn_result *found, int k, int shards, double temperature) {
    double l = 0;
    for (int d = 0; d < shards; d++) l += found[(ptrdiff_t)k * shards + d].log_likelihood;
    return l / temperature;
}

pn_status PN_NAME(pn_share)(const pn_result *found, int samples, int shards, double temperature,
                            double skip_below, pn_share *share, const pn_launch *launch) {
    (void)launch;
    PN_TRY(pn_check_share(found, samples, shards, temperature, skip_below, share));
    double max = -INFINITY, sum = 0;
    for (int k = 0; k < samples; k++)
        max = max_or_nan(max, likelihood(found, k, shards, temperature));
    for (int k = 0; k < samples; k++)
        sum += share[k].weight = exp(likelihood(found, k, shards, temperature) - max);
    for (int k = 0; k < samples; k++) {
        const double e = share[k].weight;
        share[k] = (pn_share){e < skip_below ? 0 : e / sum / shards, e < skip_below};
    }
    return PN_OK;
}

/* Floats before block b of packed ranges. */
static size_t packed_before(const pn_range *ranges, size_t b) {
    size_t before = 0;
    for (; b >= blocks_of(*ranges); ranges++) {
        b -= blocks_of(*ranges);
        before += pn_aligned_floats(ranges->count);
    }
    return before + b * BLOCK;
}

/* weight: in quanta. 1 if a term cannot be added. */
static int tally_block(int64_t *sum, const float *packed, double weight, size_t n) {
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        const float term = packed[i];
        const int too_large = !(fabsf(term) < PN_TERM_LIMIT);
        bad |= too_large;
        sum[i] += too_large ? 0 : (int64_t)rint(weight * term);
    }
    return bad;
}

pn_status PN_NAME(pn_tally)(const pn_range *ranges, int count, const float *packed,
                            const pn_share *share, int64_t *sum, float *scale,
                            const pn_launch *launch) {
    (void)launch;
    PN_TRY(pn_check_tally(ranges, count, packed, share, sum, scale));
    const double weight = share->weight / PN_QUANTUM;
    const size_t blocks = weight != 0 && !isnan(weight) ? count_blocks(ranges, count) : 0;
    int bad = isnan(weight);
#pragma omp parallel for num_threads(pn_threads()) reduction(| : bad)
    for (size_t b = 0; b < blocks; b++) {
        const pn_range r = block_at(ranges, b);
        bad |= tally_block(sum + r.first, packed + packed_before(ranges, b), weight, r.count);
    }
    if (bad) *scale = NAN;
    return PN_OK;
}

static void settle_block(float *to, const int64_t *sum, float keep, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = (keep == 0 ? 0 : keep * to[i]) + (float)sum[i] * (float)PN_QUANTUM;
}

pn_status PN_NAME(pn_settle)(const pn_range *ranges, int count, const int64_t *sum, float keep,
                             const float *scale, float *to, const pn_launch *launch) {
    (void)launch;
    PN_TRY(pn_check_settle(ranges, count, sum, scale, to));
    if (isnan(*scale)) return PN_OK;
    const size_t blocks = count_blocks(ranges, count);
#pragma omp parallel for num_threads(pn_threads())
    for (size_t b = 0; b < blocks; b++) {
        const pn_range r = block_at(ranges, b);
        settle_block(to + r.first, sum + r.first, keep, r.count);
    }
    return PN_OK;
}

static double square_block(const float *gradient, float scale, size_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        const double g = gradient[i] * scale;
        sum += g * g;
    }
    return sum;
}

static void step_block(float *value, const float *gradient, float *velocity, float scale, pn_sgd s,
                       size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float g = gradient[i] * scale + s.decay * value[i];
        velocity[i] = s.momentum * velocity[i] + g;
        value[i] -= s.rate * velocity[i];
    }
}

static void nesterov_block(float *value, const float *gradient, float *velocity, float scale,
                           pn_sgd s, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float g = gradient[i] * scale + s.decay * value[i];
        velocity[i] = s.momentum * velocity[i] + g;
        value[i] -= s.rate * (g + s.momentum * velocity[i]);
    }
}

size_t PN_NAME(pn_sgd_scratch)(const pn_range *ranges, int count) {
    return pn_align64(count_blocks(ranges, count) * sizeof(double));
}

static pn_status check_scratch(const char *op, const pn_range *ranges, int count,
                               const pn_launch *launch) {
    if (count_blocks(ranges, count) == 0) return PN_OK;
    if (!launch || !launch->scratch)
        return pn_fail(PN_EARG, "%s: no scratch, want what sgd_scratch asks for", op);
    return pn_check_room(op, launch, PN_NAME(pn_sgd_scratch)(ranges, count));
}

/* All threads of a region call it; `squares` has a place for each block. */
static void square_blocks(const pn_range *ranges, size_t blocks, const float *gradient,
                          float factor, double *squares) {
#pragma omp for
    for (size_t b = 0; b < blocks; b++) {
        const pn_range r = block_at(ranges, b);
        squares[b] = square_block(gradient + r.first, factor, r.count);
    }
}

static double root_of_sum(const double *squares, size_t blocks) {
    double sum = 0;
    for (size_t b = 0; b < blocks; b++) sum += squares[b];
    return sqrt(sum);
}

pn_status PN_NAME(pn_sgd)(const pn_range *ranges, int count, float *value, const float *gradient,
                          float *velocity, const float *scale, pn_sgd s, double *norm_out,
                          const pn_launch *launch) {
    PN_TRY(pn_check_ranges("sgd", ranges, count));
    if (!norm_out || (count > 0 && (!value || !gradient || !velocity)))
        return pn_fail(PN_EARG, "sgd: value, gradient, velocity or norm_out is NULL");
    PN_TRY(pn_check_sgd(s));
    PN_TRY(check_scratch("sgd", ranges, count, launch));
    const size_t blocks = count_blocks(ranges, count);
    double *const squares = blocks > 0 ? launch->scratch : NULL;
    const float factor = scale ? *scale : 1;
    double norm = 0;
#pragma omp parallel num_threads(pn_threads())
    {
        square_blocks(ranges, blocks, gradient, factor, squares);
#pragma omp single
        norm = root_of_sum(squares, blocks);
        const double limit = s.clip > 0 ? s.clip / (norm + 1e-6) : 1;
        const float clipped = limit < 1 ? factor * (float)limit : factor;
        if (isfinite(norm)) {
#pragma omp for
            for (size_t b = 0; b < blocks; b++) {
                const pn_range r = block_at(ranges, b);
                (s.nesterov ? nesterov_block : step_block)(value + r.first, gradient + r.first,
                                                           velocity + r.first, clipped, s, r.count);
            }
        }
    }
    *norm_out = norm;
    return PN_OK;
}

pn_status PN_NAME(pn_length)(const pn_range *ranges, int count, const float *gradient,
                             const float *scale, double *length, const pn_launch *launch) {
    PN_TRY(pn_check_ranges("length", ranges, count));
    if (!length || (count > 0 && !gradient))
        return pn_fail(PN_EARG, "length: gradient or length is NULL");
    PN_TRY(check_scratch("length", ranges, count, launch));
    const size_t blocks = count_blocks(ranges, count);
    double *const squares = blocks > 0 ? launch->scratch : NULL;
#pragma omp parallel num_threads(pn_threads())
    square_blocks(ranges, blocks, gradient, scale ? *scale : 1, squares);
    *length = root_of_sum(squares, blocks);
    return PN_OK;
}

/* value may be from. */
static void move_block(float *value, const float *from, const float *along, float by, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) value[i] = from[i] + by * along[i];
}

pn_status PN_NAME(pn_move)(const pn_range *ranges, int count, float *value, const float *from,
                           const float *along, const double *length, float step,
                           const pn_launch *launch) {
    (void)launch;
    PN_TRY(pn_check_ranges("move", ranges, count));
    if (count > 0 && (!value || !from || !along))
        return pn_fail(PN_EARG, "move: value, from or along is NULL");
    const double over = length ? *length : 1;
    const float by = over == 0 ? 0 : (float)(step / over);
    const size_t blocks = count_blocks(ranges, count);
#pragma omp parallel for num_threads(pn_threads())
    for (size_t b = 0; b < blocks; b++) {
        const pn_range r = block_at(ranges, b);
        move_block(value + r.first, from + r.first, along + r.first, by, r.count);
    }
    return PN_OK;
}

static void scale_block(float *value, float by, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) value[i] *= by;
}

pn_status PN_NAME(pn_scale)(const pn_range *ranges, int count, float *value, float by,
                            const pn_launch *launch) {
    (void)launch;
    PN_TRY(pn_check_scale(ranges, count, value));
    const size_t blocks = count_blocks(ranges, count);
#pragma omp parallel for num_threads(pn_threads())
    for (size_t b = 0; b < blocks; b++) {
        const pn_range r = block_at(ranges, b);
        scale_block(value + r.first, by, r.count);
    }
    return PN_OK;
}
