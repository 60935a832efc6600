/* pointwise.c -- conv1x1 and reduce: products of relu(v(x)) with a matrix, pixel by pixel, on one
 * grid of pixels (conv1x1) or on two (reduce, the factorized reduce: even pixels, odd pixels).
 *
 * conv1x1 prepares a cell's inputs, a third of a training step: bound by memory at 16 channels
 * (five tensors for 2 * 64 * 16 operations a pixel), by arithmetic above. reduce reads half of its
 * input's lines for an output of an eighth the size: bound by memory.
 *
 * A tile is a run of output pixels of one image. Its r (all parts and grids side by side) and,
 * backward, its g = dz stay in L1 or L2 while the products run over them and ask for what the next
 * tile reads. An image is done for all jobs that share dx before the next one, so that x and dx are
 * read from cache by all but the first.
 *
 * A partial holds s1 and s2 of each part, then dw of each grid; how work is cut: frame.h. */
#include "kernels/host/matrix.h"

/* Pixels of a tile. 48 and 64 are up to 30 % slower at 16 and 32 channels, a little faster
 * above. */
enum { TILE = 32 };

/* A job in the terms of this file, its sizes, and its own places in scratch. */
typedef struct prepared {
    pn_prepared frame;
    int N, H, W, parts; /* of the job; an image of conv1x1 is one row */
    const pn_input *in;
    const pn_output *out;
    const float *w; /* (grids,C,K/grids) */
    float *dw;
    int grids, stride;     /* 1 and 1, or 2 and 2 */
    int P, Q, C, Kg;       /* output size; channels of all parts; outputs of one grid */
    size_t r_step, g_step; /* floats from pixel to pixel */
    float *scale[PN_PARTS], *shift[PN_PARTS], *mean[PN_PARTS], *rstd[PN_PARTS];
    float *a, *b, *q;
    float *packed;                  /* each grid's W */
    float *transposed[2][PN_PARTS]; /* W transposed, for a grid's outputs and a part's channels */
    size_t sums[PN_PARTS];          /* backward: where a part's s1, s2 are in a partial */
    size_t dw_at, dw_floats;        /* and the gradient of a grid's weights, its size */
} prepared;

static prepared sizes(const pn_conv *job, int grids) {
    prepared s = {.N = job->N,
                  .H = job->H,
                  .W = job->W,
                  .parts = job->parts,
                  .in = job->in,
                  .out = &job->out,
                  .w = job->w,
                  .dw = job->dw,
                  .grids = grids,
                  .stride = grids,
                  .Kg = job->out.K / grids};
    if (s.stride == 1) { /* pixels have no neighbours */
        s.W *= s.H;
        s.H = 1;
    }
    s.P = pn_out_size(s.H, s.stride);
    s.Q = pn_out_size(s.W, s.stride);
    for (int i = 0; i < s.parts; i++) s.C += s.in[i].C;
    s.r_step = pn_padded(s.C * s.grids) + PN_STEP_PAD;
    s.g_step = pn_padded(s.out->K) + PN_STEP_PAD;
    return s;
}

/* A thread's workspace: the r and g of a tile, forward sums of each grid. */
typedef struct space {
    float *r, *g;
} space;
static inline space carve_space(pn_carver *c, const prepared *s, int backward) {
    space w = {.r = pn_carve(c, (TILE + PN_BLOCK) * s->r_step)};
    w.g = pn_carve(c, backward ? (TILE + PN_BLOCK) * s->g_step
                               : (size_t)s->grids * PN_FWD_ROWS * pn_padded(s->Kg));
    return w;
}

static void lay_out(prepared *to, const pn_conv *job, int grids, int backward, pn_carver *c) {
    prepared s = sizes(job, grids);
    pn_carver workspace = {0};
    carve_space(&workspace, &s, backward);
    size_t partial = backward ? 0 : (size_t)PN_FWD_ROWS * pn_padded(s.out->K);
    s.packed = pn_carve(c, s.grids * pn_packed(s.C, s.Kg));
    for (int i = 0; i < s.parts; i++) {
        const int Cp = pn_padded(s.in[i].C);
        s.scale[i] = pn_carve(c, Cp);
        s.shift[i] = pn_carve(c, Cp);
        if (!backward) continue;
        s.mean[i] = pn_carve(c, Cp);
        s.rstd[i] = pn_carve(c, Cp);
        for (int f = 0; f < s.grids; f++)
            s.transposed[f][i] = pn_carve(c, pn_packed(s.Kg, s.in[i].C));
        s.sums[i] = partial;
        partial += (size_t)PN_BWD_ROWS * Cp;
    }
    if (backward) {
        s.a = pn_carve(c, pn_padded(s.out->K));
        s.b = pn_carve(c, pn_padded(s.out->K));
        s.q = pn_carve(c, pn_padded(s.out->K));
        s.dw_at = partial;
        s.dw_floats = (size_t)pn_outer_rows(s.C) * pn_padded(s.Kg);
        partial += s.grids * s.dw_floats;
    }
    s.frame = (pn_prepared){.N = s.N,
                            .shares_dx = job->shares_dx,
                            .space_floats = workspace.used,
                            .partial_floats = partial};
    *to = s;
}

/* What all chunks of a job need: coefficients of the loads, weights in packed form. */
static void prepare(const void *self, int backward) {
    const prepared *s = self;
    const size_t matrix = (size_t)s->C * s->Kg;
    for (int i = 0, above = 0; i < s->parts; above += s->in[i++].C) {
        const int C = s->in[i].C, Cp = pn_padded(C);
        pn_norm_scale_shift(&s->in[i].norm, C, Cp, s->scale[i], s->shift[i]);
        if (!backward) continue;
        pn_norm_mean_rstd(&s->in[i].norm, C, Cp, s->mean[i], s->rstd[i]);
        if (!s->in[i].dx) continue;
        for (int f = 0; f < s->grids; f++)
            pn_pack(s->Kg, C, s->w + f * matrix + (size_t)above * s->Kg, 1, s->Kg,
                    s->transposed[f][i]);
    }
    const int K = s->out->K;
    if (backward)
        pn_norm_dz(&s->out->norm, K, pn_padded(K), (double)s->N * s->P * s->Q, s->a, s->b, s->q);
    else
        for (int f = 0; f < s->grids; f++)
            pn_pack(s->C, s->Kg, s->w + f * matrix, s->Kg, 1,
                    s->packed + f * pn_packed(s->C, s->Kg));
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* A run of output pixels in one row, within a tile. */
typedef struct span {
    int p, q, n; /* first pixel; how many */
    int at;      /* its place in the tile */
} span;
/* The run that follows in a tile of n pixels from pixel `first`; none: n = 0. */
static inline span next_run(const prepared *s, int first, int n, span before) {
    const int at = before.at + before.n, pixel = first + at;
    span run = {.p = s->P > 1 ? pixel / s->Q : 0, .at = at};
    run.q = pixel - run.p * s->Q;
    run.n = pn_min(s->Q - run.q, n - at);
    return run;
}
/* How many of a run's pixels a grid has: at odd sizes the second grid lacks the last row and
 * column. */
static inline int run_inside(const prepared *s, span run, int grid) {
    if (run.p * s->stride + grid >= s->H) return 0;
    return pn_min(run.n, (s->W - grid + s->stride - 1) / s->stride - run.q);
}
/* Where it starts, in floats from the start of the tensor. */
static inline size_t run_start(const prepared *s, int image, span run, int grid, int C) {
    const size_t row = (size_t)image * s->H + run.p * s->stride + grid;
    return (row * s->W + run.q * s->stride + grid) * C;
}

/* Calls X with literal sizes where they are the usual ones, so that products need no address
 * arithmetic: with the distance of pixels in r; with the outputs of a grid, and that in g. */
#define IF_STEP(s, n, X) \
    if ((s)->r_step == (n) + PN_STEP_PAD) X((n) + PN_STEP_PAD)
#define BY_INPUTS(s, X)          \
    do {                         \
        IF_STEP(s, 64, X);       \
        else IF_STEP(s, 128, X); \
        else IF_STEP(s, 256, X); \
        else X((s)->r_step);     \
    } while (0)
#define IF_OUTPUTS(s, K, G, X) \
    if ((s)->Kg == (K) && (s)->grids == (G)) X(K, (K) * (G) + PN_STEP_PAD)
#define BY_OUTPUTS(s, X)              \
    do {                              \
        IF_OUTPUTS(s, 16, 1, X);      \
        else IF_OUTPUTS(s, 32, 1, X); \
        else IF_OUTPUTS(s, 64, 1, X); \
        else IF_OUTPUTS(s, 16, 2, X); \
        else IF_OUTPUTS(s, 32, 2, X); \
        else X((s)->Kg, (s)->g_step); \
    } while (0)

/* r of a tile: [pixel][grid][part]. A part's last vector overlaps the next part, written later. */
static inline void make_r(const prepared *s, int image, int first, int n, float *r) {
    const size_t more = s->stride == 1 ? 0 : TILE; /* else the products ask for the next tile */
    int above = 0;
    for (int f = 0; f < s->grids; f++)
        for (int i = 0; i < s->parts; above += s->in[i++].C) {
            const int C = s->in[i].C;
            const size_t step = (size_t)s->stride * C;
            for (span run = next_run(s, first, n, (span){0}); run.n;
                 run = next_run(s, first, n, run)) {
                const int inside = run_inside(s, run, f);
                float *to = r + run.at * s->r_step + above;
                if (inside > 0)
                    pn_relu_pixels(C, s->in[i].x + run_start(s, image, run, f, C), step, inside,
                                   more * step, s->scale[i], s->shift[i], to, s->r_step);
                for (int p = inside; p < run.n; p++)
                    memset(to + p * s->r_step, 0, pn_padded(C) * sizeof *to);
            }
        }
}

/* The parts of x that the next tile reads, n pixels from pixel `first`. With two grids they are
 * scattered, and make_r asks for them. */
static inline void prefetch_tile(const prepared *s, int image, int first, int n,
                                 pn_prefetches *ahead) {
    for (int i = 0; i < s->parts && s->stride == 1; i++)
        pn_prefetches_add(ahead, s->in[i].x + ((size_t)image * s->W + first) * s->in[i].C,
                          (size_t)n * s->in[i].C);
}

/* dx of one part for a run of one grid: n pixels, du = W g on the way. */
PN_INLINE void pn_dx_strip(const int px, const int nb, int lanes, const int Kg, int c, int Cp,
                           int n, const float *g, const size_t g_step, const float *w,
                           const pn_dx *d, size_t step, size_t r_step, float *sums,
                           pn_prefetches *ahead) {
    for (int p = 0; p < n; p += px) {
        pn_vf acc[PN_BLOCK][2];
        pn_prefetches_lines(ahead, px * nb / 2);
        pn_product(px, nb, Kg, g + p * g_step, g_step, w, NULL, acc);
        PN_UNROLL for (int b = 0; b < nb; b++) {
            const int k = c + b * PN_LANES;
            if (p + px <= n)
                pn_dx_block(d, step, r_step, p, k, px, px, lanes, 2, &acc[0][b], sums, Cp);
            else
                pn_dx_tail(d, step, r_step, p, k, px, n - p, lanes, 2, &acc[0][b], sums, Cp);
        }
    }
}
PN_INLINE void pn_dx_run(const int Kg, int C, int n, const float *g, const size_t g_step,
                         const float *w, const pn_dx *d, size_t step, size_t r_step, float *sums,
                         pn_prefetches *ahead) {
    const int Cp = pn_padded(C);
    int c = 0;
    for (; c + 2 * PN_LANES <= C; c += 2 * PN_LANES)
        pn_dx_strip(PN_WIDE, 2, PN_LANES, Kg, c, Cp, n, g, g_step, w + (size_t)c * Kg, d, step,
                    r_step, sums, ahead);
    for (; c + PN_LANES <= C; c += PN_LANES)
        pn_dx_strip(PN_BLOCK, 1, PN_LANES, Kg, c, Cp, n, g, g_step, w + (size_t)c * Kg, d, step,
                    r_step, sums, ahead);
    if (c < C)
        pn_dx_strip(PN_BLOCK, 1, C - c, Kg, c, Cp, n, g, g_step, w + (size_t)c * Kg, d, step,
                    r_step, sums, ahead);
}

/* The pixels of dx that no grid reads. */
static inline void clear_dx(const prepared *s, int image, span run, int C, pn_stored *dx) {
    for (int h = run.p * s->stride; h < pn_min(s->H, (run.p + 1) * s->stride); h++) {
        const int from = run.q * s->stride, to = pn_min(s->W, (run.q + run.n) * s->stride);
        memset(dx + (((size_t)image * s->H + h) * s->W + from) * C, 0,
               (size_t)(to - from) * C * sizeof *dx);
    }
}

/* dx of all parts for a tile, from its g and r. */
static inline void make_dx(const prepared *s, int image, int first, int n, const space *w,
                           float *partial, pn_prefetches *ahead) {
    int above = 0;
    for (int i = 0; i < s->parts; above += s->in[i++].C) {
        const pn_input *in = &s->in[i];
        const int affine = in->norm.mode != PN_NORM_NONE && (in->norm.gamma || in->norm.beta);
        const size_t step = (size_t)s->stride * in->C;
        if (!in->dx) continue;
        for (span run = next_run(s, first, n, (span){0}); run.n; run = next_run(s, first, n, run)) {
            if (s->grids > 1 && !in->add) clear_dx(s, image, run, in->C, in->dx);
            for (int f = 0; f < s->grids; f++) {
                const int inside = run_inside(s, run, f);
                if (inside <= 0) continue;
                const size_t at = run_start(s, image, run, f, in->C);
                const pn_dx d = {.dx = in->dx + at,
                                 .x = in->x + at,
                                 .r = w->r + run.at * s->r_step + f * s->C + above,
                                 .ahead = TILE * step,
                                 .add = in->add,
                                 .mean = affine ? s->mean[i] : NULL,
                                 .rstd = s->rstd[i]};
                const float *g = w->g + run.at * s->g_step + f * s->Kg;
/* Four parts of as many channels as there are outputs: all distances are literal. */
#define DX(outputs, g_step)                                                                        \
    do {                                                                                           \
        if ((size_t)(g_step) == (size_t)(outputs) + PN_STEP_PAD && in->C == (outputs) &&           \
            s->r_step == (size_t)4 * (outputs) + PN_STEP_PAD)                                      \
            pn_dx_run(outputs, outputs, inside, g, g_step, s->transposed[f][i], &d, outputs,       \
                      4 * (outputs) + PN_STEP_PAD, partial + s->sums[i], ahead);                   \
        else                                                                                       \
            pn_dx_run(outputs, in->C, inside, g, g_step, s->transposed[f][i], &d, step, s->r_step, \
                      partial + s->sums[i], ahead);                                                \
    } while (0)
                BY_OUTPUTS(s, DX);
#undef DX
            }
        }
    }
}

/* ---- a chunk --------------------------------------------------------------------------------- */

static void forward(const void *self, int from, int end, float *workspace, float *partial) {
    const prepared *s = self;
    pn_carver c = pn_workspace(workspace);
    const space w = carve_space(&c, s, 0);
    const int K = s->out->K, Kgp = pn_padded(s->Kg), pixels = s->P * s->Q;
    memset(w.g, 0, (size_t)s->grids * PN_FWD_ROWS * Kgp * sizeof *w.g);
    for (int image = from; image < end; image++)
        for (int first = 0; first < pixels; first += TILE) {
            const int n = pn_min(TILE, pixels - first);
            pn_stored *z = s->out->z + ((size_t)image * pixels + first) * K;
            pn_prefetches ahead = {0};
            prefetch_tile(s, image, first + n, n, &ahead);
            make_r(s, image, first, n, w.r);
            for (int f = 0; f < s->grids; f++) {
                const float *weights = s->packed + f * pn_packed(s->C, s->Kg);
                float *sums = w.g + (size_t)f * PN_FWD_ROWS * Kgp;
#define Z(step)                                                                                    \
    pn_z_pixels(s->C, s->Kg, w.r + f * s->C, step, n, weights, z + f * s->Kg, K, (size_t)TILE * K, \
                image == from && first == 0, sums, &ahead)
                BY_INPUTS(s, Z);
#undef Z
            }
        }
    for (int row = 0; row < PN_FWD_ROWS; row++)
        for (int k = 0; k < K; k++)
            partial[row * pn_padded(K) + k] =
                w.g[((size_t)k / s->Kg * PN_FWD_ROWS + row) * Kgp + k % s->Kg];
}

/* Of one image: see by_image in frame.h. */
static void backward(const void *self, int image, int end, float *workspace, float *partial) {
    const prepared *s = self;
    (void)end;
    pn_carver c = pn_workspace(workspace);
    const space w = carve_space(&c, s, 1);
    const pn_output *out = s->out;
    const int K = out->K, pixels = s->P * s->Q;
    const float weight = pn_output_scale(out, image);
    for (int first = 0; first < pixels; first += TILE) {
        const int n = pn_min(TILE, pixels - first);
        const size_t at = ((size_t)image * pixels + first) * K;
        pn_dz_pixels(K, weight, out->dy + at, out->norm.mode == PN_NORM_BATCH ? out->z + at : NULL,
                     n, 0, s->a, s->b, s->q, w.g, s->g_step);
        pn_prefetches ahead = {0};
        pn_prefetches_add(&ahead, out->dy + at + (size_t)n * K, (size_t)n * K);
        if (out->norm.mode == PN_NORM_BATCH)
            pn_prefetches_add(&ahead, out->z + at + (size_t)n * K, (size_t)n * K);
        prefetch_tile(s, image, first + n, n, &ahead);
        make_r(s, image, first, n, w.r);
        for (int f = 0; f < s->grids; f++) {
            float *dw = partial + s->dw_at + f * s->dw_floats;
#define DW(outputs, g_step)                                                            \
    pn_outer(s->C, outputs, w.r + f * s->C, s->r_step, w.g + f * s->Kg, g_step, n, dw, \
             pn_padded(outputs), &ahead)
            BY_OUTPUTS(s, DW);
#undef DW
        }
        make_dx(s, image, first, n, &w, partial, &ahead);
    }
}

/* ---- when all chunks are done ---------------------------------------------------------------- */

static void finish_forward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    (void)share, (void)workspace;
    pn_norm_finish_fwd(&s->out->norm, s->out->K, s->N, (long)s->P * s->Q, s->frame.partials,
                       s->frame.partial_step, pn_padded(s->out->K));
}

static void finish_backward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    (void)workspace;
    for (int f = 0; f < s->grids; f++)
        pn_add_partials(s->dw + f * (size_t)s->C * s->Kg, s->C, s->Kg, share, pn_chunks(s->N),
                        s->frame.partials + s->dw_at + f * s->dw_floats, s->frame.partial_step,
                        pn_padded(s->Kg));
    if (!share) pn_norm_parameters(&s->out->norm, s->out->K);
}

static void finish_inputs(const void *self) {
    const prepared *s = self;
    for (int i = 0; i < s->parts; i++)
        if (s->in[i].dx)
            pn_norm_finish_bwd(&s->in[i].norm, s->in[i].C, s->in[i].add, s->N,
                               s->frame.partials + s->sums[i], s->frame.partial_step,
                               pn_padded(s->in[i].C));
}

static void lay_out_conv1x1(void *to, const void *jobs, int j, int backward, pn_carver *c) {
    lay_out(to, (const pn_conv *)jobs + j, 1, backward, c);
}
static void lay_out_reduce(void *to, const void *jobs, int j, int backward, pn_carver *c) {
    lay_out(to, (const pn_conv *)jobs + j, 2, backward, c);
}

#define POINTWISE_OP(op)                                                       \
    static const pn_host_op op = {.bytes = sizeof(prepared),                   \
                                  .lay_out = lay_out_##op,                     \
                                  .prepare = prepare,                          \
                                  .run = {forward, backward},                  \
                                  .by_image = 1,                               \
                                  .shares = {1, PN_SHARES},                    \
                                  .finish = {finish_forward, finish_backward}, \
                                  .finish_inputs = finish_inputs};             \
    PN_HOST_OP(op, op)
POINTWISE_OP(conv1x1)
POINTWISE_OP(reduce)
