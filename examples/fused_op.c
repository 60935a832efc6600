/* fused_op.c -- one fused kernel by itself, on every backend that is here: ReLU, a depthwise 3x3
 * and a pointwise convolution, and the statistics of the BatchNorm behind them, in one call. The
 * result is compared with plain loops. It needs kernels/ alone: no network, no arena. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/backend.h"

enum { N = 2, H = 9, W = 11, C = 32, R = 3, PIXELS = N * H * W, STATS = 4 * C /* pn_norm */ };

/* What the op reads, and what it should make. */
static float x[PIXELS * C], dw[R * R * C], pw[C * C];
static double want[PIXELS * C], want_stats[2 * C]; /* z; mean, 1 / deviation */

static void plain_loops(void) {
    for (int p = 0; p < PIXELS; p++) {
        const int n = p / (H * W), h = p / W % H, w = p % W;
        for (int c = 0; c < C; c++) {
            double u = 0;
            for (int i = 0; i < R * R; i++) {
                const int from_h = h + i / R - 1, from_w = w + i % R - 1;
                if (from_h < 0 || from_h >= H || from_w < 0 || from_w >= W) continue;
                const float v = x[((n * H + from_h) * W + from_w) * C + c];
                u += dw[i * C + c] * (v > 0 ? v : 0);
            }
            for (int k = 0; k < C; k++) want[p * C + k] += pw[c * C + k] * u;
        }
    }
    for (int k = 0; k < C; k++) {
        double sum = 0, squares = 0;
        for (int p = 0; p < PIXELS; p++) sum += want[p * C + k];
        for (int p = 0; p < PIXELS; p++) squares += pow(want[p * C + k] - sum / PIXELS, 2);
        want_stats[k] = sum / PIXELS;
        want_stats[C + k] = 1 / sqrt(squares / PIXELS + 1e-5);
    }
}

static void must(pn_status s) {
    if (s == PN_OK) return;
    fprintf(stderr, "fused_op: %s\n", pn_error());
    exit(1);
}

/* A block of the backend's memory that holds `from`, or zeros. */
static void *place(const pn_memory *m, const void *from, size_t bytes) {
    void *block;
    must(m->allocate(bytes, &block));
    if (from) must(m->upload(block, from, bytes));
    return block;
}

static void run(const pn_kernels *k, float *z, float *stats) {
    const pn_memory *m = k->memory;
    void *const input = place(m, x, sizeof x), *const depthwise = place(m, dw, sizeof dw),
                *const pointwise = place(m, pw, sizeof pw);
    const pn_stage job = {.N = N,
                          .H = H,
                          .W = W,
                          .R = R,
                          .dilation = 1,
                          .stride = 1,
                          .in = {.x = input, .C = C},
                          .out = {.z = place(m, NULL, sizeof x),
                                  .K = C,
                                  .norm = {.mode = PN_NORM_BATCH,
                                           .eps = 1e-5F,
                                           .stats = place(m, NULL, STATS * sizeof *stats)}},
                          .dw = depthwise,
                          .pw = pointwise};
    /* Scratch is the caller's, and so is the table of jobs in the device's memory. */
    const size_t scratch = k->stage_fwd_scratch(&job, 1);
    const size_t bytes = k->stage_fwd_table(&job, 1, NULL);
    void *const here = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!here) exit(1);
    k->stage_fwd_table(&job, 1, here);
    void *const table = place(m, here, bytes);
    const pn_launch launch = {.scratch = place(m, NULL, scratch),
                              .scratch_bytes = scratch,
                              .table = table,
                              .stream = m->stream()};

    must(k->stage_fwd(&job, 1, &launch));      /* is queued on the stream */
    must(m->download(z, job.out.z, sizeof x)); /* behind it, and waits */
    must(m->download(stats, job.out.norm.stats, STATS * sizeof *stats));

    void *const blocks[] = {input,     depthwise,          pointwise,     table,
                            job.out.z, job.out.norm.stats, launch.scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) m->release(blocks[i]);
    free(here);
}

static double distance(const float *found, const double *wanted, int count) {
    double largest = 0;
    for (int i = 0; i < count; i++) {
        const double d = fabs(found[i] - wanted[i]);
        if (!(d < INFINITY)) return INFINITY; /* NaN, too */
        if (d > largest) largest = d;
    }
    return largest;
}

int main(void) {
    static const char *const names[] = {"cpu", "emulated", "cuda"};
    static float z[PIXELS * C], stats[STATS];
    int tried = 0, wrong = 0;
    for (int i = 0; i < PIXELS * C; i++) x[i] = (float)(i * 37 % 101) / 50 - 1;
    for (int i = 0; i < R * R * C; i++) dw[i] = (float)(i * 29 % 67) / 33 - 1;
    for (int i = 0; i < C * C; i++) pw[i] = (float)(i * 31 % 89) / 44 - 1;
    plain_loops();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const pn_kernels *k;
        if (pn_backend_open(names[i], &k) != PN_OK) {
            printf("%-8s  not here: %s\n", names[i], pn_error());
            continue;
        }
        run(k, z, stats);
        const double d = distance(z, want, PIXELS * C);
        const double d_stats = distance(stats, want_stats, 2 * C);
        const int right = d < 1e-4 && d_stats < 1e-4;
        printf("%-8s  %s: %s by at most %.1e, statistics by %.1e\n", names[i], k->name,
               right ? "differs" : "WRONG, differs", d, d_stats);
        tried++;
        wrong += !right;
    }
    return wrong || !tried;
}
