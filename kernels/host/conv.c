/* conv.c -- a dense convolution of relu(v(x)), x up to four tensors side by side, which are read
 * where they are; or an average pool of the same and a 1x1 convolution.
 *
 * Bound by arithmetic. What a window sees is gathered as one row of floats, its *patch* (of an
 * average: the average), for a tile of output pixels that stays in L1: with K outputs that is a
 * load and a store for K multiply-adds. All else are the products of matrix.h, with R*R*C rows of
 * weights.
 *
 * Backward, W g is the gradient of a patch. Windows overlap, so patches are added up in a ring of R
 * rows of the input, as many as a row of windows sees. Before the next row of windows is added, the
 * rows above it are complete, and go through relu's mask to dx and the sums.
 *
 * A partial holds s1 and s2 of each part, then dw; how work is cut: frame.h. */
#include "kernels/host/matrix.h"

/* Output pixels of a tile, which may be of several rows and images. */
enum { TILE = 16 };

/* A job, its sizes, and its own places in scratch. */
typedef struct prepared {
    pn_prepared frame;
    const pn_conv *job;
    int P, Q, C, K;                    /* output size; channels of all parts; outputs */
    int depth;                         /* floats of a patch: R*R*C, of an average C */
    float share;                       /* of a tap in the average; else 1 */
    size_t patch_step, x_step, g_step; /* floats from pixel to pixel: of patches, of r, of g */
    size_t row;                        /* floats of a row of the ring */
    int wants_dx;
    float *scale[PN_PARTS], *shift[PN_PARTS], *mean[PN_PARTS], *rstd[PN_PARTS];
    float *a, *b, *q;
    float *weights;               /* packed: W; backward: W transposed */
    size_t sums[PN_PARTS], dw_at; /* backward: where a part's s1, s2, and dw are in a partial */
} prepared;

/* A thread's workspace. */
typedef struct space {
    float *patches, *r;       /* of a tile; r: of single pixels of the input */
    float *g, *dpatches, *du; /* backward; du: the ring */
} space;

static space carve_space(pn_carver *c, const prepared *s, int backward) {
    const size_t pixels = TILE + PN_BLOCK;
    space w = {.patches = pn_carve(c, pixels * s->patch_step),
               .r = pn_carve(c, pixels * s->x_step)};
    if (!backward) return w;
    w.g = pn_carve(c, pixels * s->g_step);
    w.dpatches = pn_carve(c, pixels * s->patch_step);
    w.du = pn_carve(c, s->job->R * s->row + (size_t)PN_BLOCK * s->C + PN_LANES);
    return w;
}

static prepared sizes(const pn_conv *job) {
    prepared s = {.job = job,
                  .P = pn_conv_size(job->H, job->R, job->stride, job->pad),
                  .Q = pn_conv_size(job->W, job->R, job->stride, job->pad),
                  .K = job->out.K,
                  .share = job->mean ? 1.0F / (float)(job->R * job->R) : 1};
    for (int i = 0; i < job->parts; i++) {
        s.C += job->in[i].C;
        s.wants_dx |= job->in[i].dx != NULL;
    }
    s.depth = job->mean ? s.C : job->R * job->R * s.C;
    s.patch_step = pn_padded(s.depth) + PN_STEP_PAD;
    s.x_step = pn_padded(s.C) + PN_STEP_PAD;
    s.g_step = pn_padded(s.K) + PN_STEP_PAD;
    s.row = pn_align16((size_t)job->W * s.C);
    return s;
}

static void lay_out(void *to, const void *jobs, int j, int backward, pn_carver *c) {
    prepared s = sizes((const pn_conv *)jobs + j);
    pn_carver workspace = {0};
    carve_space(&workspace, &s, backward);
    const int Kp = pn_padded(s.K);
    size_t partial = backward ? 0 : (size_t)PN_FWD_ROWS * Kp;
    for (int i = 0; i < s.job->parts; i++) {
        const int Cp = pn_padded(s.job->in[i].C);
        s.scale[i] = pn_carve(c, Cp);
        s.shift[i] = pn_carve(c, Cp);
        if (!backward) continue;
        s.mean[i] = pn_carve(c, Cp);
        s.rstd[i] = pn_carve(c, Cp);
        s.sums[i] = partial;
        partial += (size_t)PN_BWD_ROWS * Cp;
    }
    if (backward) {
        s.a = pn_carve(c, Kp);
        s.b = pn_carve(c, Kp);
        s.q = pn_carve(c, Kp);
        s.dw_at = partial;
        partial += (size_t)pn_outer_rows(s.depth) * Kp;
    }
    s.weights = pn_carve(c, backward ? pn_packed(s.K, s.depth) : pn_packed(s.depth, s.K));
    s.frame = (pn_prepared){.N = s.job->N,
                            .shares_dx = s.job->shares_dx,
                            .space_floats = workspace.used,
                            .partial_floats = partial};
    *(prepared *)to = s;
}

/* What all chunks of a job need: coefficients of the loads, weights in packed form. */
static void prepare(const void *self, int backward) {
    const prepared *s = self;
    const pn_conv *job = s->job;
    for (int i = 0; i < job->parts; i++) {
        const int C = job->in[i].C, Cp = pn_padded(C);
        pn_norm_scale_shift(&job->in[i].norm, C, Cp, s->scale[i], s->shift[i]);
        if (backward) pn_norm_mean_rstd(&job->in[i].norm, C, Cp, s->mean[i], s->rstd[i]);
    }
    if (!backward) {
        pn_pack(s->depth, s->K, job->w, s->K, 1, s->weights);
        return;
    }
    pn_norm_dz(&job->out.norm, s->K, pn_padded(s->K), (double)job->N * s->P * s->Q, s->a, s->b,
               s->q);
    if (s->wants_dx) pn_pack(s->K, s->depth, job->w, 1, s->K, s->weights);
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* A run of output pixels in one row, within a tile. */
typedef struct run {
    int image, p, q, n; /* first pixel; how many */
    int at;             /* its place in the tile */
} run;

/* The run that follows in a tile of n pixels from pixel `first` of the tensor; none: n = 0. */
static run next_run(const prepared *s, long first, int n, run before) {
    const int at = before.at + before.n;
    const long pixel = first + at, row = pixel / s->Q;
    run next = {.image = (int)(row / s->P), .p = (int)(row % s->P), .at = at};
    next.q = (int)(pixel % s->Q);
    next.n = pn_min(s->Q - next.q, n - at);
    return next;
}
#define EACH_RUN(r, s, first, n) \
    for (run r = next_run(s, first, n, (run){0}); (r).n; r = next_run(s, first, n, r))

/* r of all parts at tap (i,j) of a run's windows, zeros outside the image. A part's last vector
 * overlaps what follows it, which is written later. */
static void gather_tap(const prepared *s, run a, int i, int j, float *to, size_t step) {
    const pn_conv *job = s->job;
    const int h = a.p * job->stride + i - job->pad, left = a.q * job->stride + j - job->pad;
    int from = 0, end = h < 0 || h >= job->H ? 0 : a.n;
    while (from < end && left + from * job->stride < 0) from++;
    while (end > from && left + (end - 1) * job->stride >= job->W) end--;
    for (int part = 0; part < job->parts; to += job->in[part++].C) {
        const int C = job->in[part].C;
        const size_t x_step = (size_t)job->stride * C;
        for (int p = 0; p < from; p++) memset(to + p * step, 0, pn_padded(C) * sizeof *to);
        for (int p = end; p < a.n; p++) memset(to + p * step, 0, pn_padded(C) * sizeof *to);
        if (from == end) continue;
        const long pixel = ((long)a.image * job->H + h) * job->W + left + from * job->stride;
        pn_relu_pixels(C, job->in[part].x + pixel * C, x_step, end - from, TILE * x_step,
                       s->scale[part], s->shift[part], to + from * step, step);
    }
}

/* The patches of n output pixels. */
static void gather(const prepared *s, long first, int n, const space *w) {
    const int R = s->job->R;
    EACH_RUN(a, s, first, n) {
        float *const to = w->patches + a.at * s->patch_step;
        for (int tap = 0; tap < R * R; tap++) {
            if (!s->job->mean) {
                gather_tap(s, a, tap / R, tap % R, to + (size_t)tap * s->C, s->patch_step);
                continue;
            }
            gather_tap(s, a, tap / R, tap % R, w->r, s->x_step);
            for (int p = 0; p < a.n; p++)
                for (int c = 0; c < s->C; c += PN_LANES) {
                    const pn_vf term = pn_load(w->r + p * s->x_step + c) * pn_splat(s->share);
                    float *sum = to + p * s->patch_step + c;
                    if (tap)
                        pn_add_to(sum, term);
                    else
                        pn_store(sum, term);
                }
        }
    }
}

/* The gradients of n patches, d = share * W g. */
PN_INLINE void dpatch_strip(const prepared *s, const int px, const int nb, int n, const space *w,
                            int d) {
    const float *weights = s->weights + (size_t)d * s->K;
    for (int p = 0; p < n; p += px) {
        pn_vf acc[PN_BLOCK][2];
        pn_product(px, nb, s->K, w->g + p * s->g_step, s->g_step, weights, NULL, acc);
        float *to = w->dpatches + p * s->patch_step + d;
        PN_UNROLL for (int i = 0; i < px; i++) PN_UNROLL for (int b = 0; b < nb; b++)
            pn_store(to + i * s->patch_step + b * PN_LANES, acc[i][b] * pn_splat(s->share));
    }
}
static void make_dpatches(const prepared *s, int n, const space *w) {
    int d = 0;
    for (; d + 2 * PN_LANES <= s->depth; d += 2 * PN_LANES) dpatch_strip(s, PN_WIDE, 2, n, w, d);
    for (; d < s->depth; d += PN_LANES) dpatch_strip(s, PN_BLOCK, 1, n, w, d);
}

/* ---- the ring -------------------------------------------------------------------------------- */

static float *ring_row(const prepared *s, const space *w, int h) {
    return w->du + (h % s->job->R) * s->row;
}

/* A complete row of the ring: through relu's mask to dx and the sums. Leaves zeros for another. */
static void finish_row(const prepared *s, int image, int h, const space *w, float *partial) {
    const pn_conv *job = s->job;
    float *du = ring_row(s, w, h);
    for (int part = 0, above = 0; part < job->parts; above += job->in[part++].C) {
        const pn_input *in = &job->in[part];
        const int affine = in->norm.mode != PN_NORM_NONE && (in->norm.gamma || in->norm.beta);
        const int C = in->C, Cp = pn_padded(C);
        for (int first = 0; first < job->W && in->dx; first += TILE) {
            const int n = pn_min(TILE, job->W - first);
            const size_t at = (((size_t)image * job->H + h) * job->W + first) * C;
            pn_relu_pixels(C, in->x + at, C, n, (size_t)TILE * C, s->scale[part], s->shift[part],
                           w->r, s->x_step);
            const pn_dx d = {.dx = in->dx + at,
                             .x = in->x + at,
                             .r = w->r,
                             .ahead = (size_t)TILE * C,
                             .add = in->add,
                             .mean = affine ? s->mean[part] : NULL,
                             .rstd = s->rstd[part]};
            for (int c = 0; c < C; c += PN_LANES)
                for (int p = 0; p < n; p += PN_BLOCK) {
                    const float *from = du + (size_t)(first + p) * s->C + above + c;
                    const int lanes = pn_lanes(C, c), left = pn_min(PN_BLOCK, n - p);
                    pn_vf acc[PN_BLOCK];
                    PN_UNROLL for (int i = 0; i < PN_BLOCK; i++) acc[i] =
                        pn_load(from + (size_t)i * s->C);
                    pn_dx_block(&d, C, s->x_step, p, c, PN_BLOCK, left, lanes, 1, acc,
                                partial + s->sums[part], Cp);
                }
        }
    }
    memset(du, 0, s->row * sizeof *du);
}

/* Which row of which image is the first that is not complete. */
typedef struct first_open_row {
    int image, h;
} first_open_row;

/* Completes the rows above row h of an image, and all of the images before. */
static void advance(const prepared *s, first_open_row *f, int image, int h, const space *w,
                    float *partial) {
    for (; f->image < image; *f = (first_open_row){f->image + 1, 0})
        for (; f->h < s->job->H; f->h++) finish_row(s, f->image, f->h, w, partial);
    for (; f->h < h; f->h++) finish_row(s, image, f->h, w, partial);
}

static void add_floats(float *to, const float *from, int n) {
#pragma omp simd
    for (int i = 0; i < n; i++) to[i] += from[i];
}

/* du += the gradients of n patches. The taps of a window's row are neighbours in du as they are in
 * the patch; of an average they are all the same. */
static void scatter(const prepared *s, first_open_row *f, long first, int n, const space *w,
                    float *partial) {
    const pn_conv *job = s->job;
    EACH_RUN(a, s, first, n) {
        const int top = a.p * job->stride - job->pad;
        advance(s, f, a.image, top, w, partial);
        for (int i = top < 0 ? -top : 0; i < pn_min(job->R, job->H - top); i++) {
            float *du = ring_row(s, w, top + i);
            for (int p = 0; p < a.n; p++) {
                const float *d = w->dpatches + (a.at + p) * s->patch_step;
                const int left = (a.q + p) * job->stride - job->pad;
                const int from = left < 0 ? -left : 0, end = pn_min(job->R, job->W - left);
                if (job->mean)
                    for (int j = from; j < end; j++) add_floats(du + (left + j) * s->C, d, s->C);
                else
                    add_floats(du + (left + from) * s->C, d + (i * job->R + from) * s->C,
                               (end - from) * s->C);
            }
        }
    }
}

/* ---- a chunk --------------------------------------------------------------------------------- */

/* The first pixel of an image of z. */
static long first_pixel(const prepared *s, int image) { return (long)image * s->P * s->Q; }

static void forward(const void *self, int image, int end_image, float *workspace, float *partial) {
    const prepared *s = self;
    pn_carver c = pn_workspace(workspace);
    const space w = carve_space(&c, s, 0);
    const long from = first_pixel(s, image), end = first_pixel(s, end_image);
    for (long first = from; first < end; first += TILE) {
        const int n = (int)(end - first < TILE ? end - first : TILE);
        gather(s, first, n, &w);
        pn_z_pixels(s->depth, s->K, w.patches, s->patch_step, n, s->weights,
                    s->job->out.z + (size_t)first * s->K, s->K, (size_t)TILE * s->K, first == from,
                    partial, NULL);
    }
}

/* g of n output pixels. */
static void make_g(const prepared *s, long first, int n, const space *w) {
    const pn_output *out = &s->job->out;
    EACH_RUN(a, s, first, n) {
        const size_t at = (size_t)(first + a.at) * s->K;
        const float weight = pn_output_scale(out, a.image);
        pn_dz_pixels(s->K, weight, out->dy + at,
                     out->norm.mode == PN_NORM_BATCH ? out->z + at : NULL, a.n, (size_t)TILE * s->K,
                     s->a, s->b, s->q, w->g + a.at * s->g_step, s->g_step);
    }
}

static void backward(const void *self, int image, int end_image, float *workspace, float *partial) {
    const prepared *s = self;
    pn_carver c = pn_workspace(workspace);
    const space w = carve_space(&c, s, 1);
    const long end = first_pixel(s, end_image);
    first_open_row f = {.image = image};
    memset(w.du, 0, s->job->R * s->row * sizeof *w.du);
    for (long first = first_pixel(s, image); first < end; first += TILE) {
        const int n = (int)(end - first < TILE ? end - first : TILE);
        make_g(s, first, n, &w);
        gather(s, first, n, &w);
        pn_outer(s->depth, s->K, w.patches, s->patch_step, w.g, s->g_step, n, partial + s->dw_at,
                 pn_padded(s->K), NULL);
        if (!s->wants_dx) continue;
        make_dpatches(s, n, &w);
        scatter(s, &f, first, n, &w, partial);
    }
    if (s->wants_dx) advance(s, &f, end_image, 0, &w, partial);
}

/* ---- when all chunks are done ---------------------------------------------------------------- */

static void finish_forward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    (void)share, (void)workspace;
    pn_norm_finish_fwd(&s->job->out.norm, s->K, s->job->N, (long)s->P * s->Q, s->frame.partials,
                       s->frame.partial_step, pn_padded(s->K));
}

static void finish_backward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    (void)workspace;
    pn_add_partials(s->job->dw, s->depth, s->K, share, pn_chunks(s->job->N),
                    s->frame.partials + s->dw_at, s->frame.partial_step, pn_padded(s->K));
    if (!share) pn_norm_parameters(&s->job->out.norm, s->K);
}

static void finish_inputs(const void *self) {
    const prepared *s = self;
    for (int i = 0; i < s->job->parts; i++) {
        const pn_input *in = &s->job->in[i];
        if (in->dx)
            pn_norm_finish_bwd(&in->norm, in->C, in->add, s->job->N, s->frame.partials + s->sums[i],
                               s->frame.partial_step, pn_padded(in->C));
    }
}

static const pn_host_op conv = {.bytes = sizeof(prepared),
                                .lay_out = lay_out,
                                .prepare = prepare,
                                .run = {forward, backward},
                                .shares = {1, PN_SHARES},
                                .finish = {finish_forward, finish_backward},
                                .finish_inputs = finish_inputs};
PN_HOST_OP(conv, conv)
