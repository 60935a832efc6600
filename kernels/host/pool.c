/* pool.c -- 3x3 max and average pooling.
 *
 * A pass takes one vector of channels along a row. Each column of a window is made once and stays
 * in registers while it serves its three neighbours; what belongs to the channels stays there as
 * well. So a pixel costs a dozen vector operations, and each tensor passes memory once: that is
 * the bound.
 *
 * Forward, and the average's backward pass, go down the rows of a window first (at most three)
 * and then along. The maximum's backward pass goes along first: the first of equals in row order is
 * the first row whose own maximum is the window's, and in it the first column. So a window's
 * gradient goes to one of three rows (`spread`), by their maxima (`along`), and then to one of
 * three columns: 6 compare-and-adds instead of 9. The last three rows of both lie in rings in L1.
 *
 * Outside the image there is NaN for the maximum (it loses every comparison, equality included)
 * and nothing for the average, whose divisor counts the pixels inside. */
#include "kernels/host/period.h"

enum { RING = 3 };

typedef struct prepared {
    pn_prepared frame;
    const pn_pool *job;
    int partial_row; /* floats of a row of a partial */
} prepared;

/* A thread's workspace. A pixel there has Cp floats, whole vectors. */
typedef struct pool_work {
    int Cp, P, Q;
    float *scale, *shift; /* of the load of x */
    float *inverse[RING]; /* a float per column of windows: 1 / pixels, of 1, 2, 3 rows inside */
    float *a, *b, *q;     /* backward: what turns dy into g */
    float *mean, *rstd;   /* backward: of x, for its sums */
    float *nowhere;       /* backward, maximum, a row of windows: stands for a row outside */
    float *along[RING];   /* the same: maximum of three neighbours in an input row */
    float *spread[RING];  /* the same: its gradient */
} pool_work;

static size_t carve(pool_work *w, const pn_pool *job, int backward, pn_carver from) {
    w->Cp = pn_padded(job->in.C);
    w->P = pn_out_size(job->H, job->stride);
    w->Q = pn_out_size(job->W, job->stride);
    const size_t Q = (size_t)w->Q, Cp = (size_t)w->Cp;
    w->scale = pn_carve(&from, Cp);
    w->shift = pn_carve(&from, Cp);
    for (int i = 0; i < RING; i++) w->inverse[i] = pn_carve(&from, Q);
    if (!backward) return from.used;
    w->a = pn_carve(&from, Cp);
    w->b = pn_carve(&from, Cp);
    w->q = pn_carve(&from, Cp);
    w->mean = pn_carve(&from, Cp);
    w->rstd = pn_carve(&from, Cp);
    w->nowhere = pn_carve(&from, Q * Cp);
    for (int i = 0; i < RING; i++) {
        w->along[i] = pn_carve(&from, Q * Cp);
        w->spread[i] = pn_carve(&from, Q * Cp);
    }
    return from.used;
}

static void prepare(const pool_work *w, const pn_pool *job) {
    const int W = job->W;
    pn_norm_scale_shift(&job->in.norm, job->in.C, w->Cp, w->scale, w->shift);
    for (int rows = 1; rows <= RING; rows++)
        for (int q = 0; q < w->Q; q++) {
            const int x = q * job->stride, columns = 1 + (x > 0) + (x + 1 < W);
            w->inverse[rows - 1][q] = 1 / (float)(rows * columns);
        }
}

/* Rows that meet in one row of the other tensor, those inside the image: 1 to 3. */
typedef struct row_range {
    int first, count;
} row_range;

/* The input rows of window row p. */
static row_range rows_of_window(const pn_pool *job, int p) {
    const int y = p * job->stride, first = y > 0 ? y - 1 : 0;
    return (row_range){first, (y + 2 < job->H ? y + 2 : job->H) - first};
}

/* Calls X with literals for all that shapes a loop: stride, whole vectors (or `lanes`), rows. */
#define BY_LANES(X, lanes, ...)       \
    do {                              \
        if ((lanes) == PN_LANES)      \
            X(PN_LANES, __VA_ARGS__); \
        else                          \
            X(lanes, __VA_ARGS__);    \
    } while (0)
#define BY_STRIDE(X, stride, lanes, ...)        \
    do {                                        \
        if ((stride) == 1)                      \
            BY_LANES(X, lanes, 1, __VA_ARGS__); \
        else                                    \
            BY_LANES(X, lanes, 2, __VA_ARGS__); \
    } while (0)
#define BY_ROWS(X, stride, lanes, rows)     \
    do {                                    \
        if ((rows) == 3)                    \
            BY_STRIDE(X, stride, lanes, 3); \
        else if ((rows) == 2)               \
            BY_STRIDE(X, stride, lanes, 2); \
        else                                \
            BY_STRIDE(X, stride, lanes, 1); \
    } while (0)

/* ---- forward --------------------------------------------------------------------------------- */

PN_INLINE pn_vf v_at(const pn_stored *x, int lanes, pn_vf scale, pn_vf shift) {
    return scale * pn_widen_lanes(x, lanes) + shift;
}

/* A column of a window: the maximum of v, or the sum of x (the norm is applied to the mean). */
PN_INLINE pn_vf column_of(const int is_max, const int rows, int lanes, const pn_stored *x,
                          size_t row, pn_vf scale, pn_vf shift) {
    if (is_max) {
        pn_vf column = v_at(x, lanes, scale, shift);
        PN_UNROLL for (int k = 1; k < rows; k++) column =
            pn_max(v_at(x + k * row, lanes, scale, shift), column);
        return column;
    }
    pn_vf column = pn_widen_lanes(x, lanes);
    PN_UNROLL for (int k = 1; k < rows; k++) column += pn_widen_lanes(x + k * row, lanes);
    return column;
}

/* One vector of channels, the c-th, of a row of z; adds it to the sums of a partial, or none. */
PN_INLINE void forward_strip(const int is_max, const int stride, const int rows, int lanes,
                             const pn_pool *job, const pool_work *w, int c, const pn_stored *x,
                             pn_stored *z, float *partial, int partial_row, int first) {
    const size_t C = (size_t)job->in.C, row = job->W * C;
    const int W = job->W, Q = w->Q;
    const pn_vf scale = pn_load(w->scale + c), shift = pn_load(w->shift + c);
    const pn_vf nothing = pn_splat(is_max ? NAN : 0);
    const float *const inverse = w->inverse[rows - 1];
    pn_vf pivot = pn_load(partial + c), sum = {0}, squares = {0};
    pn_vf left = nothing, right = nothing;
    x += c;
    z += c;
    if (stride == 1) right = column_of(is_max, rows, lanes, x, row, scale, shift);
    for (int q = 0; q < Q; q++) {
        const pn_stored *const next = x + (size_t)(q * stride + 1) * C;
        const pn_vf middle =
            stride == 1 ? right : column_of(is_max, rows, lanes, next - C, row, scale, shift);
        right = nothing;
        if (q * stride + 1 < W) right = column_of(is_max, rows, lanes, next, row, scale, shift);
        /* What is new to the next row of windows. */
        PN_UNROLL for (int k = rows; k < rows + stride; k++) {
            __builtin_prefetch(next - C + k * row);
            if (stride == 2) __builtin_prefetch(next + k * row);
        }
        pn_vf v;
        if (is_max)
            v = pn_max(right, pn_max(left, middle));
        else
            v = scale * ((left + middle + right) * pn_splat(inverse[q])) + shift;
        left = stride == 1 ? middle : right;
        pn_stored *const to = z + q * C;
        __builtin_prefetch(to + Q * C, 1);
        pn_narrow_lanes(to, v, lanes);
        if (first && q == 0) pivot = v;
        const pn_vf d = v - pivot;
        sum += d;
        squares += d * d;
    }
    if (first) pn_store(partial + c, pivot);
    pn_add_to(partial + partial_row + c, sum);
    pn_add_to(partial + 2 * partial_row + c, squares);
}

PN_PASS forward_row(const pn_pool *job, const pool_work *w, int rows, const pn_stored *x,
                    pn_stored *z, float *partial, int partial_row, int first) {
    for (int c = 0; c < job->in.C; c += PN_LANES) {
        const int lanes = pn_lanes(job->in.C, c);
#define MAXIMUM(L, S, R) forward_strip(1, S, R, L, job, w, c, x, z, partial, partial_row, first)
#define AVERAGE(L, S, R) forward_strip(0, S, R, L, job, w, c, x, z, partial, partial_row, first)
        if (job->kind == PN_POOL_MAX)
            BY_ROWS(MAXIMUM, job->stride, lanes, rows);
        else
            BY_ROWS(AVERAGE, job->stride, lanes, rows);
#undef MAXIMUM
#undef AVERAGE
    }
}

static void forward(const void *self, int from, int end, float *workspace, float *partial) {
    const prepared *s = self;
    const pn_pool *job = s->job;
    pool_work w;
    carve(&w, job, 0, pn_workspace(workspace));
    const size_t C = (size_t)job->in.C, in = job->W * C, out = w.Q * C;
    prepare(&w, job);
    for (int n = from; n < end; n++)
        for (int p = 0; p < w.P; p++) {
            const row_range rows = rows_of_window(job, p);
            forward_row(job, &w, rows.count, job->in.x + ((size_t)n * job->H + rows.first) * in,
                        job->out.z + ((size_t)n * w.P + p) * out, partial, s->partial_row,
                        n == from && p == 0);
        }
}

/* ---- backward -------------------------------------------------------------------------------- */

static void prepare_backward(const pool_work *w, const pn_pool *job) {
    const int C = job->in.C;
    const size_t row = (size_t)w->Q * w->Cp;
    prepare(w, job);
    pn_norm_dz(&job->out.norm, C, w->Cp, (double)job->N * w->P * w->Q, w->a, w->b, w->q);
    pn_norm_mean_rstd(&job->in.norm, C, w->Cp, w->mean, w->rstd);
    for (size_t i = 0; i < row; i++) w->nowhere[i] = NAN;
    for (int i = 0; i < RING; i++) memset(w->spread[i], 0, row * sizeof *w->spread[i]);
}

/* A row of dx, one vector of channels, and the two sums over it, which lie in a partial. */
typedef struct dx_row {
    pn_stored *dx;
    const pn_stored *x; /* NULL: no sums */
    size_t row;         /* floats; the next row is asked for */
    int add;
    pn_vf mean, s1, s2;
} dx_row;

PN_INLINE dx_row dx_row_at(const pn_pool *job, const pool_work *w, int n, int h, int c) {
    const size_t row = (size_t)job->W * job->in.C, at = ((size_t)n * job->H + h) * row + c;
    const int sums = pn_norm_wants_sums(&job->in.norm);
    return (dx_row){job->in.dx + at,
                    sums ? job->in.x + at : NULL,
                    row,
                    job->in.add,
                    pn_load(w->mean + c),
                    {0},
                    {0}};
}

PN_INLINE void add_to_dx(dx_row *to, size_t at, pn_vf dv, int lanes) {
    pn_stored *const dx = to->dx + at;
    __builtin_prefetch(dx + to->row, 1);
    if (to->x) {
        __builtin_prefetch(to->x + at + to->row);
        to->s1 += dv;
        to->s2 += dv * (pn_widen_lanes(to->x + at, lanes) - to->mean);
    }
    if (to->add) dv += pn_widen_lanes(dx, lanes);
    pn_narrow_lanes(dx, dv, lanes);
}

PN_INLINE void add_sums(const dx_row *from, const pool_work *w, float *partial, int partial_row,
                        int c) {
    pn_add_to(partial + c, from->s1);
    pn_add_to(partial + partial_row + c, from->s2 * pn_load(w->rstd + c));
}

/* The rows of windows that input row h is in. */
static row_range windows_of_row(const pn_pool *job, const pool_work *w, int h) {
    const int first = job->stride == 1 ? (h > 0 ? h - 1 : 0) : h / 2;
    const int last = job->stride == 1 ? h + 1 : (h + 1) / 2;
    return (row_range){first, (last < w->P ? last + 1 : w->P) - first};
}

/* What an average's backward pass reads: rows of dy and z (NULL where b and q are 0), and what
 * each weighs, 1 / rows of the window. */
typedef struct gradient_rows {
    const pn_stored *dy, *z;
    size_t row;
    float factor, weight[RING];
} gradient_rows;

typedef struct dz_coefficients {
    pn_vf a, b, q, weight[RING]; /* a, q: times the factor; times all weights */
} dz_coefficients;

/* The gradient that a column of windows has for each of its pixels in the row. */
PN_INLINE pn_vf share_of(const int rows, int lanes, const gradient_rows *s,
                         const dz_coefficients *t, size_t at, float inverse) {
    pn_vf dy = {0}, z = {0};
    PN_UNROLL for (int k = 0; k < rows; k++) dy +=
        t->weight[k] * pn_widen_lanes(s->dy + at + k * s->row, lanes);
    __builtin_prefetch(s->dy + at + rows * s->row);
    if (!s->z) return t->a * dy * pn_splat(inverse);
    PN_UNROLL for (int k = 0; k < rows; k++) z +=
        t->weight[k] * pn_widen_lanes(s->z + at + k * s->row, lanes);
    __builtin_prefetch(s->z + at + rows * s->row);
    return (t->a * dy + t->b * z + t->q) * pn_splat(inverse);
}

PN_INLINE void average_strip(const int stride, const int rows, int lanes, const pn_pool *job,
                             const pool_work *w, int c, gradient_rows s, dx_row *to) {
    const size_t C = (size_t)job->in.C;
    const int W = job->W, Q = w->Q;
    const float *inverse = w->inverse[0];
    dz_coefficients t = {
        pn_load(w->a + c) * pn_splat(s.factor), pn_load(w->b + c), pn_load(w->q + c), {{0}}};
    float weights = 0;
    PN_UNROLL for (int k = 0; k < rows; k++) {
        t.weight[k] = pn_splat(s.weight[k]);
        weights += s.weight[k];
    }
    t.q *= pn_splat(weights);
    if (s.z) s.z += c;
    s.dy += c;
    pn_vf left = {0}, middle = share_of(rows, lanes, &s, &t, 0, inverse[0]);
    for (int q = 0; q < Q; q++) {
        pn_vf right = {0};
        if (q + 1 < Q) right = share_of(rows, lanes, &s, &t, (q + 1) * C, inverse[q + 1]);
        if (stride == 1)
            add_to_dx(to, q * C, left + middle + right, lanes);
        else {
            add_to_dx(to, 2 * q * C, middle, lanes);
            if (2 * q + 1 < W) add_to_dx(to, (2 * q + 1) * C, middle + right, lanes);
        }
        left = middle;
        middle = right;
    }
}

/* Along an input row: the maximum of every window's three columns. */
PN_INLINE void along_strip(const int stride, int lanes, const pn_pool *job, const pool_work *w,
                           int c, const pn_stored *x, float *along) {
    const size_t C = (size_t)job->in.C, Cp = w->Cp;
    const int W = job->W, Q = w->Q;
    const pn_vf scale = pn_load(w->scale + c), shift = pn_load(w->shift + c);
    pn_vf left = pn_splat(NAN), right = left;
    x += c;
    along += c;
    if (stride == 1) right = v_at(x, lanes, scale, shift);
    for (int q = 0; q < Q; q++) {
        const pn_stored *const next = x + (size_t)(q * stride + 1) * C;
        const pn_vf middle = stride == 1 ? right : v_at(next - C, lanes, scale, shift);
        right = pn_splat(NAN);
        if (q * stride + 1 < W) right = v_at(next, lanes, scale, shift);
        pn_store(along + q * Cp, pn_max(right, pn_max(left, middle)));
        __builtin_prefetch(next + W * C);
        if (stride == 2) __builtin_prefetch(next - C + W * C);
        left = stride == 1 ? middle : right;
    }
}

/* The rows of gradients that a window's gradient goes to. The row below meets its first window
 * here, so it is overwritten; so is the middle row if it is `fresh`. A row outside the image
 * never wins; its place in the ring is overwritten before it is used. */
typedef struct target {
    const float *max_above, *max_middle, *max_below;
    float *above, *middle, *below;
    int fresh;
} target;

/* Gives each window's gradient to the row that holds its maximum. */
PN_INLINE void spread_strip(int lanes, const pn_pool *job, const pool_work *w, int c,
                            gradient_rows s, target to) {
    const size_t C = (size_t)job->in.C, Cp = w->Cp;
    const int Q = w->Q;
    const pn_vf a = pn_load(w->a + c) * pn_splat(s.factor), b = pn_load(w->b + c),
                shift = pn_load(w->q + c);
    for (int q = 0; q < Q; q++) {
        const size_t at = q * C + c, i = q * Cp + c;
        const pn_vf dy = pn_widen_lanes(s.dy + at, lanes);
        pn_vf g = a * dy;
        __builtin_prefetch(s.dy + at + s.row);
        if (s.z) {
            g = a * dy + (b * pn_widen_lanes(s.z + at, lanes) + shift);
            __builtin_prefetch(s.z + at + s.row);
        }
        const pn_vf above = pn_load(to.max_above + i), middle = pn_load(to.max_middle + i);
        const pn_vi first = above >= middle;
        const pn_vi third = pn_load(to.max_below + i) > pn_max(above, middle);
        const pn_vf was = to.fresh ? (pn_vf){0} : pn_load(to.middle + i);
        pn_store(to.above + i, pn_load(to.above + i) + pn_when(~third & first, g));
        pn_store(to.middle + i, was + pn_when(~third & ~first, g));
        pn_store(to.below + i, pn_when(third, g));
    }
}

/* And then to the column. At stride 2 an even pixel is the middle of one window, an odd one the
 * right of one and the left of the next. */
PN_INLINE void gather_strip(const int stride, int lanes, const pn_pool *job, const pool_work *w,
                            int c, const pn_stored *x, const float *spread, dx_row *to) {
    const size_t C = (size_t)job->in.C, Cp = w->Cp;
    const int W = job->W, Q = w->Q;
    const pn_vf scale = pn_load(w->scale + c), shift = pn_load(w->shift + c);
    pn_vf left = pn_splat(NAN), right = left;
    pn_vf before = {0}, here = {0}; /* what the pixels at q - 1 and q have got */
    x += c;
    spread += c;
    if (stride == 1) right = v_at(x, lanes, scale, shift);
    for (int q = 0; q < Q; q++) {
        const pn_stored *const next = x + (size_t)(q * stride + 1) * C;
        const pn_vf middle = stride == 1 ? right : v_at(next - C, lanes, scale, shift);
        right = pn_splat(NAN);
        if (q * stride + 1 < W) right = v_at(next, lanes, scale, shift);
        const pn_vf g = pn_load(spread + q * Cp);
        const pn_vi first = left >= middle, third = right > pn_max(left, middle);
        before += pn_when(~third & first, g);
        here += pn_when(~third & ~first, g);
        if (q > 0) add_to_dx(to, (q * stride - 1) * C, before, lanes);
        if (stride == 1)
            before = here;
        else
            add_to_dx(to, 2 * q * C, here, lanes);
        here = pn_when(third, g);
        if (stride == 2) {
            before = here;
            here = (pn_vf){0};
        }
        left = stride == 1 ? middle : right;
    }
    if (stride == 1 || W % 2 == 0) add_to_dx(to, (W - 1) * C, before, lanes);
}

PN_PASS average_row(const pn_pool *job, const pool_work *w, int rows, const gradient_rows *s, int n,
                    int h, float *partial, int partial_row) {
    for (int c = 0; c < job->in.C; c += PN_LANES) {
        const int lanes = pn_lanes(job->in.C, c);
        dx_row to = dx_row_at(job, w, n, h, c);
#define AVERAGE(L, S, R) average_strip(S, R, L, job, w, c, *s, &to)
        BY_ROWS(AVERAGE, job->stride, lanes, rows);
#undef AVERAGE
        add_sums(&to, w, partial, partial_row, c);
    }
}

static void average_image(const pn_pool *job, const pool_work *w, int n, const gradient_rows *image,
                          float *partial, int partial_row) {
    for (int h = 0; h < job->H; h++) {
        const row_range windows = windows_of_row(job, w, h);
        gradient_rows s = *image;
        s.dy += windows.first * s.row;
        if (s.z) s.z += windows.first * s.row;
        for (int k = 0; k < windows.count; k++)
            s.weight[k] = 1 / (float)rows_of_window(job, windows.first + k).count;
        average_row(job, w, windows.count, &s, n, h, partial, partial_row);
    }
}

static void along_row(const pn_pool *job, const pool_work *w, const pn_stored *x, float *along) {
    for (int c = 0; c < job->in.C; c += PN_LANES) {
#define ALONG(L, S, ...) along_strip(S, L, job, w, c, x, along)
        BY_STRIDE(ALONG, job->stride, pn_lanes(job->in.C, c), );
#undef ALONG
    }
}

static void spread_row(const pn_pool *job, const pool_work *w, const gradient_rows *s,
                       const target *to) {
    for (int c = 0; c < job->in.C; c += PN_LANES) {
#define SPREAD(L, ...) spread_strip(L, job, w, c, *s, *to)
        BY_LANES(SPREAD, pn_lanes(job->in.C, c), );
#undef SPREAD
    }
}

static void gather_row(const pn_pool *job, const pool_work *w, int n, int h, float *partial,
                       int partial_row) {
    const pn_stored *x = job->in.x + ((size_t)n * job->H + h) * job->W * job->in.C;
    for (int c = 0; c < job->in.C; c += PN_LANES) {
        dx_row to = dx_row_at(job, w, n, h, c);
#define GATHER(L, S, ...) gather_strip(S, L, job, w, c, x, w->spread[h % RING], &to)
        BY_STRIDE(GATHER, job->stride, pn_lanes(job->in.C, c), );
#undef GATHER
        add_sums(&to, w, partial, partial_row, c);
    }
}

static void max_image(const pn_pool *job, const pool_work *w, int n, const gradient_rows *image,
                      float *partial, int partial_row) {
    const int H = job->H, P = w->P;
    const size_t row = (size_t)job->W * job->in.C;
    const pn_stored *x = job->in.x + n * H * row;
    int ready = 0, done = 0; /* rows in the rings, rows whose dx is complete */
    for (int p = 0; p < P; p++) {
        const int y = p * job->stride;
        for (; ready < H && ready < y + 2; ready++)
            along_row(job, w, x + ready * row, w->along[ready % RING]);
        gradient_rows s = *image;
        s.dy += p * s.row;
        if (s.z) s.z += p * s.row;
        const int above = (y + RING - 1) % RING, middle = y % RING, below = (y + 1) % RING;
        const target to = {y > 0 ? w->along[above] : w->nowhere,
                           w->along[middle],
                           y + 1 < H ? w->along[below] : w->nowhere,
                           w->spread[above],
                           w->spread[middle],
                           w->spread[below],
                           p == 0 || job->stride == 2};
        spread_row(job, w, &s, &to);
        const int complete = p + 1 < P ? y + job->stride - 1 : H;
        for (; done < complete; done++) gather_row(job, w, n, done, partial, partial_row);
    }
}

static void backward(const void *self, int from, int end, float *workspace, float *partial) {
    const prepared *s = self;
    const pn_pool *job = s->job;
    const int through_norm = job->out.norm.mode == PN_NORM_BATCH;
    if (!job->in.dx) return;
    pool_work w;
    carve(&w, job, 1, pn_workspace(workspace));
    prepare_backward(&w, job);
    for (int n = from; n < end; n++) {
        const size_t row = (size_t)w.Q * job->in.C, at = n * w.P * row;
        const gradient_rows image = {job->out.dy + at,
                                     through_norm ? job->out.z + at : NULL,
                                     row,
                                     pn_output_scale(&job->out, n),
                                     {0}};
        if (job->kind == PN_POOL_MAX)
            max_image(job, &w, n, &image, partial, s->partial_row);
        else
            average_image(job, &w, n, &image, partial, s->partial_row);
    }
}

/* ---- the frame ------------------------------------------------------------------------------- */

static void lay_out(void *to, const void *jobs, int j, int backward, pn_carver *scratch) {
    const pn_pool *job = (const pn_pool *)jobs + j;
    const int row = (int)pn_align16((size_t)job->in.C);
    pool_work w;
    (void)scratch; /* all is in the workspace: it is little, and soon made */
    *(prepared *)to = (prepared){
        .frame = {.N = job->N,
                  .shares_dx = job->shares_dx,
                  .space_floats = carve(&w, job, backward, (pn_carver){0}),
                  .partial_floats = (size_t)row * (backward ? PN_BWD_ROWS : PN_FWD_ROWS)},
        .job = job,
        .partial_row = row};
}

static void finish_forward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    const pn_pool *job = s->job;
    (void)share, (void)workspace;
    pn_norm_finish_fwd(&job->out.norm, job->in.C, job->N,
                       (long)pn_out_size(job->H, job->stride) * pn_out_size(job->W, job->stride),
                       s->frame.partials, s->frame.partial_step, s->partial_row);
}

static void finish_backward(const void *self, int share, float *workspace) {
    const pn_pool *job = ((const prepared *)self)->job;
    (void)share, (void)workspace;
    pn_norm_parameters(&job->out.norm, job->in.C);
}

static void finish_inputs(const void *self) {
    const prepared *s = self;
    const pn_input *in = &s->job->in;
    if (in->dx)
        pn_norm_finish_bwd(&in->norm, in->C, in->add, s->job->N, s->frame.partials,
                           s->frame.partial_step, s->partial_row);
}

static const pn_host_op pool = {.bytes = sizeof(prepared),
                                .lay_out = lay_out,
                                .run = {forward, backward},
                                .shares = {1, 1},
                                .finish = {finish_forward, finish_backward},
                                .finish_inputs = finish_inputs};
PN_HOST_OP(pool, pool)
