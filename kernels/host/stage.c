/* stage.c -- ReLU, depthwise RxR, pointwise; forward and backward in one pass over an image each.
 *
 * One thread takes whole images. What lies between input and output of the stage stays in L1:
 * a ring of rows of r = relu(v(x)) with zero columns at the sides, and tiles of a few rows of
 * u (and of g = dz; and a second ring for du). Backward recomputes u, so that forward stores
 * nothing but z, and finishes a row of dx as soon as the last row of du that reaches it exists.
 * Bound by memory at 16 channels, by arithmetic from 32 on.
 *
 * A partial holds s1, s2, ddw, dpw; how work is cut: frame.h. */
#include "kernels/host/matrix.h"

enum { MAX_R = 5 };

/* A job, its sizes, and its own places in scratch. */
typedef struct prepared {
    pn_prepared frame;
    const pn_stage *job;
    int C, Cp, R, D, S, pad, P, Q;
    int T;                     /* rows of a tile */
    int kind;                  /* which of the literal filters, see FILTERS */
    int r_rows, r_width;       /* the ring of r: rows, pixels in a row */
    int du_rows, du_width;     /* the ring of du; at stride 2 every second pixel of a row is 0 */
    float *dw, *dw_flipped;    /* (R*R,Cp): as it is, and in reverse order */
    float *pw, *pw_transposed; /* packed W, W transposed */
    float *scale, *shift, *mean, *rstd, *a, *b, *q; /* of the loads, see norm.h */
} prepared;

/* A thread's workspace. */
typedef struct space {
    float *r, *u, *g, *du;
    pn_prefetches ahead;
} space;

/* About 32 to 64 pixels in a tile, and whole blocks of them if a few more rows make it so. */
static int tile_rows(int P, int Q) {
    int fewest = (27 + Q) / Q;
    for (int T = fewest; T * Q <= 64; T++)
        if (T * Q % PN_BLOCK == 0) return pn_min(T, P);
    return pn_min(fewest, P);
}

static prepared sizes(const pn_stage *job) {
    prepared s = {.job = job, .C = job->in.C, .R = job->R, .D = job->dilation, .S = job->stride};
    s.Cp = pn_padded(s.C);
    s.pad = s.D * (s.R - 1) / 2;
    s.P = pn_out_size(job->H, s.S);
    s.Q = pn_out_size(job->W, s.S);
    s.T = tile_rows(s.P, s.Q);
    s.kind = (s.R == 5) * 4 + (s.D == 2) * 2 + (s.S == 2);
    const int blocks = (s.Q + PN_BLOCK - 1) / PN_BLOCK * PN_BLOCK;
    s.r_rows = (s.T - 1) * s.S + 2 * s.pad + 1;
    s.r_width = (blocks - 1) * s.S + 2 * s.pad + 1;
    s.du_rows = s.T + 2 * s.pad / s.S;
    const int columns = (job->W + PN_BLOCK - 1) / PN_BLOCK * PN_BLOCK; /* of a row of dx */
    s.du_width = 2 * s.pad + (columns > blocks * s.S ? columns : blocks * s.S);
    return s;
}

static space carve_space(pn_carver *c, const prepared *s, int backward) {
    const size_t Cp = s->Cp, tile = ((size_t)s->T * s->Q + PN_BLOCK) * Cp;
    space w = {.r = pn_carve(c, (size_t)s->r_rows * s->r_width * Cp), .u = pn_carve(c, tile)};
    if (!backward) return w;
    w.g = pn_carve(c, tile);
    w.du = pn_carve(c, (size_t)s->du_rows * s->du_width * Cp);
    return w;
}

static void lay_out(void *to, const void *jobs, int j, int backward, pn_carver *c) {
    prepared s = sizes((const pn_stage *)jobs + j);
    const size_t taps = (size_t)s.R * s.R;
    pn_carver workspace = {0};
    carve_space(&workspace, &s, backward);
    s.dw = pn_carve(c, taps * s.Cp);
    s.pw = pn_carve(c, pn_packed(s.C, s.C));
    s.scale = pn_carve(c, s.Cp);
    s.shift = pn_carve(c, s.Cp);
    if (backward) {
        float **const more[] = {&s.mean, &s.rstd, &s.a, &s.b, &s.q};
        for (size_t k = 0; k < sizeof more / sizeof *more; k++) *more[k] = pn_carve(c, s.Cp);
        s.dw_flipped = pn_carve(c, taps * s.Cp);
        s.pw_transposed = pn_carve(c, pn_packed(s.C, s.C));
    }
    const size_t rows = backward ? PN_BWD_ROWS + taps + pn_outer_rows(s.C) /* s1, s2, ddw, dpw */
                                 : PN_FWD_ROWS;
    s.frame = (pn_prepared){.N = s.job->N,
                            .shares_dx = s.job->shares_dx,
                            .space_floats = workspace.used,
                            .partial_floats = rows * s.Cp};
    *(prepared *)to = s;
}

/* What all chunks of a job need: coefficients of the loads, weights in the form for the kernels. */
static void prepare(const void *self, int backward) {
    const prepared *s = self;
    const int C = s->C, Cp = s->Cp, taps = s->R * s->R;
    pn_norm_scale_shift(&s->job->in.norm, C, Cp, s->scale, s->shift);
    if (backward) {
        pn_norm_mean_rstd(&s->job->in.norm, C, Cp, s->mean, s->rstd);
        pn_norm_dz(&s->job->out.norm, C, Cp, (double)s->job->N * s->P * s->Q, s->a, s->b, s->q);
    }
    for (int t = 0; t < taps; t++)
        for (int c = 0; c < Cp; c++) {
            const float w = c < C ? s->job->dw[t * C + c] : 0;
            s->dw[t * Cp + c] = w;
            if (backward) s->dw_flipped[(taps - 1 - t) * Cp + c] = w;
        }
    pn_pack(C, C, s->job->pw, C, 1, s->pw);
    if (backward) pn_pack(C, C, s->job->pw, 1, C, s->pw_transposed);
}

/* ---- kernels, on a row or a tile ------------------------------------------------------------- */

/* A block of depthwise outputs, one vector of channels: for every row of the filter its weights
 * are kept, and each column of input is read once; with gap 2 only the columns of pad's parity,
 * where all others are 0. Rows outside the image are NULL. `at`: floats from a row's start to the
 * block's first input and channel. */
PN_INLINE void depthwise_block(const int R, const int D, const int S, const int gap, const int Cp,
                               const float *const *rows, size_t at, const float *w,
                               pn_vf acc[PN_BLOCK]) {
    PN_UNROLL for (int p = 0; p < PN_BLOCK; p++) acc[p] = (pn_vf){0};
    for (int i = 0; i < R; i++) {
        if (!rows[i]) continue;
        const float *row = rows[i] + at;
        pn_vf tap[MAX_R];
        PN_UNROLL for (int j = 0; j < R; j++) tap[j] = pn_load(w + (i * R + j) * Cp);
        PN_UNROLL for (int column = 0; column <= (PN_BLOCK - 1) * S + (R - 1) * D; column++) {
            if ((column - D * (R - 1) / 2) % gap) continue;
            const pn_vf v = pn_keep(pn_load(row + column * Cp));
            PN_UNROLL for (int j = 0; j < R; j++) {
                const int from = column - j * D;
                if (from >= 0 && from % S == 0 && from / S < PN_BLOCK) acc[from / S] += tap[j] * v;
            }
        }
    }
}

/* A row of u. Writes whole blocks: rubbish behind the row, which the next row overwrites. */
PN_INLINE void u_row_of(const int R, const int D, const int S, const int Cp, int Q,
                        const float *const *rows, const float *w, float *u, pn_prefetches *ahead) {
    for (int c = 0; c < Cp; c += PN_LANES)
        for (int q = 0; q < Q; q += PN_BLOCK) {
            pn_vf acc[PN_BLOCK];
            pn_prefetches_lines(ahead, PN_BLOCK * S * S);
            depthwise_block(R, D, S, 1, Cp, rows, (size_t)q * S * Cp + c, w + c, acc);
            PN_UNROLL for (int p = 0; p < PN_BLOCK; p++)
                pn_store(u + (size_t)(q + p) * Cp + c, acc[p]);
        }
}

/* A row of dx: the depthwise convolution of du with the filter flipped. Blocks begin at even
 * pixels, so that at stride 2 every second column of a block is known to be 0. */
PN_INLINE void dx_row_of(const int R, const int D, const int S, const int C, int W,
                         const float *const *rows, const float *w, const pn_dx *d, float *sums,
                         pn_prefetches *ahead) {
    const int Cp = pn_padded(C);
    for (int c = 0; c < Cp; c += PN_LANES) {
        const int lanes = pn_lanes(C, c);
        for (int q = 0; q < W; q += PN_BLOCK) {
            pn_vf acc[PN_BLOCK];
            pn_prefetches_lines(ahead, PN_BLOCK);
            depthwise_block(R, D, 1, S, Cp, rows, (size_t)q * Cp + c, w + c, acc);
            if (q + PN_BLOCK <= W)
                pn_dx_block(d, C, Cp, q, c, PN_BLOCK, PN_BLOCK, lanes, 1, acc, sums, Cp);
            else
                pn_dx_tail(d, C, Cp, q, c, PN_BLOCK, W - q, lanes, 1, acc, sums, Cp);
        }
    }
}

/* ddw += du times r, a row of the filter at a time, with two sums per tap, for even and odd pixels,
 * to hide the latency. */
PN_INLINE void ddw_row_of(const int R, const int D, const int S, const int Cp, int Q,
                          const float *const *rows, const float *du, float *ddw) {
    for (int c = 0; c < Cp; c += PN_LANES)
        for (int i = 0; i < R; i++) {
            if (!rows[i]) continue;
            pn_vf acc[MAX_R][2];
            PN_UNROLL for (int j = 0; j < R; j++) acc[j][0] = acc[j][1] = (pn_vf){0};
            for (int q = 0; q < Q; q += PN_BLOCK) { /* du is 0 behind the row */
                const float *row = rows[i] + (size_t)q * S * Cp + c;
                const float *g = du + (size_t)q * S * Cp + c;
                pn_vf gv[PN_BLOCK];
                PN_UNROLL for (int p = 0; p < PN_BLOCK; p++) gv[p] =
                    PN_LANES == 16 ? pn_keep(pn_load(g + p * S * Cp)) : pn_load(g + p * S * Cp);
                PN_UNROLL for (int column = 0; column <= (PN_BLOCK - 1) * S + (R - 1) * D;
                               column++) {
                    const pn_vf v = pn_keep(pn_load(row + column * Cp));
                    PN_UNROLL for (int j = 0; j < R; j++) {
                        const int from = column - j * D;
                        if (from >= 0 && from % S == 0 && from / S < PN_BLOCK)
                            acc[j][from / S % 2] += gv[from / S] * v;
                    }
                }
            }
            PN_UNROLL for (int j = 0; j < R; j++)
                pn_add_to(ddw + (i * R + j) * Cp + c, acc[j][0] + acc[j][1]);
        }
}

/* A row of du = W g, into the ring. */
PN_INLINE void du_strip(const int px, const int nb, const int C, const int S, int Q, const float *g,
                        const float *w, float *du, pn_prefetches *ahead) {
    const int Cp = pn_padded(C);
    for (int q = 0; q < Q; q += px) {
        pn_vf acc[PN_BLOCK][2];
        pn_prefetches_lines(ahead, px * nb);
        pn_product(px, nb, C, g + (size_t)q * Cp, Cp, w, NULL, acc);
        PN_UNROLL for (int p = 0; p < px; p++) PN_UNROLL for (int b = 0; b < nb; b++) if (q + p < Q)
            pn_store(du + (size_t)(q + p) * S * Cp + b * PN_LANES, acc[p][b]);
    }
}
PN_INLINE void du_row_of(const int C, const int S, int Q, const float *g, const float *w, float *du,
                         pn_prefetches *ahead) {
    int c = 0;
    for (; c + 2 * PN_LANES <= C; c += 2 * PN_LANES)
        du_strip(PN_WIDE, 2, C, S, Q, g, w + (size_t)c * C, du + c, ahead);
    for (; c < C; c += PN_LANES)
        du_strip(PN_BLOCK, 1, C, S, Q, g, w + (size_t)c * C, du + c, ahead);
}

/* ---- the literal sizes ----------------------------------------------------------------------- */

/* Calls X with a literal number of channels where there is one. */
#define BY_CHANNELS(C, X, ...)  \
    do {                        \
        if ((C) == 8)           \
            X(8, __VA_ARGS__);  \
        else if ((C) == 16)     \
            X(16, __VA_ARGS__); \
        else if ((C) == 32)     \
            X(32, __VA_ARGS__); \
        else if ((C) == 64)     \
            X(64, __VA_ARGS__); \
        else                    \
            X(C, __VA_ARGS__);  \
    } while (0)

/* Every filter: kind, R, dilation, stride, and what else X takes. */
/* clang-format off */
#define FILTERS(X, ...)                                           \
    X(0, 3, 1, 1, __VA_ARGS__) X(1, 3, 1, 2, __VA_ARGS__)         \
    X(2, 3, 2, 1, __VA_ARGS__) X(3, 3, 2, 2, __VA_ARGS__)         \
    X(4, 5, 1, 1, __VA_ARGS__) X(5, 5, 1, 2, __VA_ARGS__)         \
    X(6, 5, 2, 1, __VA_ARGS__) X(7, 5, 2, 2, __VA_ARGS__)
/* clang-format on */

/* A function for every filter, which ROW makes for every number of channels, and one that calls
 * the job's. All of them in one function take the compiler twice as long. */
#define FILTER_FUNCTION(kind, R, D, S, name, declared, ROW) \
    PN_OUTLINE void name##_##kind declared { BY_CHANNELS(s->C, ROW, R, D, S); }
#define FILTER_CASE(kind, R, D, S, name, given) \
    case kind:                                  \
        name##_##kind given;                    \
        break;
#define BY_FILTER(name, declared, given, ROW)                  \
    FILTERS(FILTER_FUNCTION, name, declared, ROW)              \
    static void name declared {                                \
        switch (s->kind) { FILTERS(FILTER_CASE, name, given) } \
    }

#define U_ROW(C, R, D, S) u_row_of(R, D, S, pn_padded(C), s->Q, rows, s->dw, u, ahead)
BY_FILTER(u_row, (const prepared *s, const float *const *rows, float *u, pn_prefetches *ahead),
          (s, rows, u, ahead), U_ROW)

#define DX_ROW(C, R, D, S) dx_row_of(R, D, S, C, s->job->W, rows, s->dw_flipped, d, sums, ahead)
BY_FILTER(dx_row,
          (const prepared *s, const float *const *rows, const pn_dx *d, float *sums,
           pn_prefetches *ahead),
          (s, rows, d, sums, ahead), DX_ROW)

#define DDW_ROW(C, R, D, S) ddw_row_of(R, D, S, pn_padded(C), s->Q, rows, du, ddw)
BY_FILTER(ddw_row, (const prepared *s, const float *const *rows, const float *du, float *ddw),
          (s, rows, du, ddw), DDW_ROW)

static void r_row(const prepared *s, const pn_stored *x, float *r) {
#define CASE_OF(C, ...) pn_relu_pixels(C, x, C, s->job->W, 0, s->scale, s->shift, r, pn_padded(C))
    BY_CHANNELS(s->C, CASE_OF, );
#undef CASE_OF
}

static void z_tile(const prepared *s, const float *u, int n, pn_stored *z, int first,
                   float *partial) {
    const size_t ahead = (size_t)n * s->C;
#define CASE_OF(C, ...) \
    pn_z_pixels(C, C, u, pn_padded(C), n, s->pw, z, C, ahead, first, partial, NULL)
    BY_CHANNELS(s->C, CASE_OF, );
#undef CASE_OF
}

static void g_tile(const prepared *s, float weight, size_t at, int n, float *g) {
    const pn_output *out = &s->job->out;
    const pn_stored *dy = out->dy + at, *z = out->norm.mode == PN_NORM_BATCH ? out->z + at : NULL;
#define CASE_OF(C, ...) pn_dz_pixels(C, weight, dy, z, n, 0, s->a, s->b, s->q, g, pn_padded(C))
    BY_CHANNELS(s->C, CASE_OF, );
#undef CASE_OF
}

static void du_row(const prepared *s, const float *g, float *du, pn_prefetches *ahead) {
#define CASE_OF(C, ...) du_row_of(C, s->S, s->Q, g, s->pw_transposed, du, ahead)
    BY_CHANNELS(s->C, CASE_OF, );
#undef CASE_OF
}

static void dpw_tile(const prepared *s, const float *u, const float *g, int n, float *dpw,
                     pn_prefetches *ahead) {
#define CASE_OF(C, ...) \
    pn_outer(C, C, u, pn_padded(C), g, pn_padded(C), n, dpw, pn_padded(C), ahead)
    BY_CHANNELS(s->C, CASE_OF, );
#undef CASE_OF
}

/* ---- images ---------------------------------------------------------------------------------- */

static float *r_ring(const prepared *s, const space *w, int row) {
    return w->r + (size_t)(row % s->r_rows) * s->r_width * s->Cp;
}
static float *du_ring(const prepared *s, const space *w, int row) {
    return w->du + (size_t)(row % s->du_rows) * s->du_width * s->Cp;
}

/* The rows of r that output row p reads. */
static void r_rows(const prepared *s, const space *w, int p, const float **rows) {
    for (int i = 0; i < s->R; i++) {
        const int h = p * s->S + i * s->D - s->pad;
        rows[i] = h >= 0 && h < s->job->H ? r_ring(s, w, h) : NULL;
    }
}
/* The rows of du that input row h reads; is there any? */
static int du_rows(const prepared *s, const space *w, int h, const float **rows) {
    int any = 0;
    for (int i = 0; i < s->R; i++) {
        const int up = h + i * s->D - s->pad;
        rows[i] = up >= 0 && up % s->S == 0 && up / s->S < s->P ? du_ring(s, w, up / s->S) : NULL;
        any |= rows[i] != NULL;
    }
    return any;
}

/* Fills the ring up to the last row that the tile at y needs; gives one past it. */
static int fill_r(const prepared *s, const space *w, const pn_stored *x, int y, int rows,
                  int filled) {
    const int to = pn_min(s->job->H, (y + rows - 1) * s->S + s->pad + 1);
    for (; filled < to; filled++)
        r_row(s, x + (size_t)filled * s->job->W * s->C,
              r_ring(s, w, filled) + (size_t)s->pad * s->Cp);
    return filled;
}

static void forward(const void *self, int from, int end, float *workspace, float *partial) {
    const prepared *s = self;
    const pn_stage *job = s->job;
    pn_carver c = pn_workspace(workspace);
    space w = carve_space(&c, s, 0);
    memset(w.r, 0, (size_t)s->r_rows * s->r_width * s->Cp * sizeof *w.r);
    const size_t in_row = (size_t)job->W * s->C;
    for (int n = from; n < end; n++) {
        const pn_stored *x = job->in.x + (size_t)n * job->H * job->W * s->C;
        pn_stored *z = job->out.z + (size_t)n * s->P * s->Q * s->C;
        for (int y = 0, filled = 0; y < s->P; y += s->T) {
            const int rows = pn_min(s->T, s->P - y);
            filled = fill_r(s, &w, x, y, rows, filled);
            w.ahead.count = w.ahead.now = 0;
            pn_prefetches_add(&w.ahead, x + filled * in_row, rows * s->S * in_row);
            for (int i = 0; i < rows; i++) {
                const float *in[MAX_R] = {NULL};
                r_rows(s, &w, y + i, in);
                u_row(s, in, w.u + (size_t)i * s->Q * s->Cp, &w.ahead);
            }
            z_tile(s, w.u, rows * s->Q, z + (size_t)y * s->Q * s->C, n == from && y == 0, partial);
        }
    }
}

static void backward_image(const prepared *s, space *w, int n, float *partial) {
    const pn_stage *job = s->job;
    const int Cp = s->Cp;
    float *ddw = partial + (size_t)PN_BWD_ROWS * Cp, *dpw = ddw + (size_t)s->R * s->R * Cp;
    const size_t in_row = (size_t)job->W * s->C, out_row = (size_t)s->Q * s->C;
    const size_t image = n * job->H * in_row;
    const pn_norm *norm = &job->in.norm;
    const float weight = pn_output_scale(&job->out, n);
    const int affine = norm->mode != PN_NORM_NONE && (norm->gamma || norm->beta);

    for (int y = 0, filled = 0, done = 0; y < s->P; y += s->T) {
        const int rows = pn_min(s->T, s->P - y);
        filled = fill_r(s, w, job->in.x + image, y, rows, filled);
        const size_t at = ((size_t)n * s->P + y) * out_row, more = rows * out_row;
        g_tile(s, weight, at, rows * s->Q, w->g);
        w->ahead.count = w->ahead.now = 0;
        pn_prefetches_add(&w->ahead, job->out.dy + at + more, more);
        if (job->out.norm.mode == PN_NORM_BATCH)
            pn_prefetches_add(&w->ahead, job->out.z + at + more, more);
        pn_prefetches_add(&w->ahead, job->in.x + image + filled * in_row, rows * s->S * in_row);
        for (int i = 0; i < rows; i++) {
            const float *in[MAX_R] = {NULL};
            float *du = du_ring(s, w, y + i) + (size_t)s->pad * Cp;
            r_rows(s, w, y + i, in);
            u_row(s, in, w->u + (size_t)i * s->Q * Cp, &w->ahead);
            du_row(s, w->g + (size_t)i * s->Q * Cp, du, &w->ahead);
            ddw_row(s, in, du, ddw);
        }
        dpw_tile(s, w->u, w->g, rows * s->Q, dpw, &w->ahead);
        if (!job->in.dx) continue;
        const int to = y + rows == s->P ? job->H : (y + rows) * s->S - s->pad;
        for (; done < to; done++) {
            const float *in[MAX_R] = {NULL};
            if (!du_rows(s, w, done, in) && job->in.add) continue;
            const size_t row = image + done * in_row;
            const pn_dx d = {.dx = job->in.dx + row,
                             .x = job->in.x + row,
                             .r = r_ring(s, w, done) + (size_t)s->pad * Cp,
                             .ahead = s->T * s->S * in_row,
                             .add = job->in.add,
                             .mean = affine ? s->mean : NULL,
                             .rstd = s->rstd};
            dx_row(s, in, &d, partial, &w->ahead);
        }
    }
}

static void backward(const void *self, int from, int end, float *workspace, float *partial) {
    const prepared *s = self;
    pn_carver c = pn_workspace(workspace);
    space w = carve_space(&c, s, 1);
    memset(w.r, 0, (size_t)s->r_rows * s->r_width * s->Cp * sizeof *w.r);
    memset(w.du, 0, (size_t)s->du_rows * s->du_width * s->Cp * sizeof *w.du);
    for (int n = from; n < end; n++) backward_image(s, &w, n, partial);
}

/* ---- when all chunks are done ---------------------------------------------------------------- */

static void finish_forward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    (void)share, (void)workspace;
    pn_norm_finish_fwd(&s->job->out.norm, s->C, s->job->N, (long)s->P * s->Q, s->frame.partials,
                       s->frame.partial_step, s->Cp);
}

static void finish_backward(const void *self, int share, float *workspace) {
    const prepared *s = self;
    const int chunks = pn_chunks(s->job->N), taps = s->R * s->R;
    const float *ddw = s->frame.partials + (size_t)PN_BWD_ROWS * s->Cp;
    const float *dpw = ddw + (size_t)taps * s->Cp;
    (void)workspace;
    pn_add_partials(s->job->ddw, taps, s->C, share, chunks, ddw, s->frame.partial_step, s->Cp);
    pn_add_partials(s->job->dpw, s->C, s->C, share, chunks, dpw, s->frame.partial_step, s->Cp);
    if (!share) pn_norm_parameters(&s->job->out.norm, s->C);
}

static void finish_inputs(const void *self) {
    const prepared *s = self;
    const pn_input *in = &s->job->in;
    if (in->dx)
        pn_norm_finish_bwd(&in->norm, s->C, in->add, s->job->N, s->frame.partials,
                           s->frame.partial_step, s->Cp);
}

static const pn_host_op stage = {.bytes = sizeof(prepared),
                                 .lay_out = lay_out,
                                 .prepare = prepare,
                                 .run = {forward, backward},
                                 .shares = {1, PN_SHARES},
                                 .finish = {finish_forward, finish_backward},
                                 .finish_inputs = finish_inputs};
PN_HOST_OP(stage, stage)
