/* kernels/cuda/stage.cu -- ReLU, depthwise RxR, pointwise: the kernel this project is about.
 *
 * Moves, at stride 1 and 64 images, in bytes an element (counted by count_kernels, not timed):
 *   of memory: forward reads x and writes z, 8, for 2 (R R + C) operations; backward reads x, dy
 *   and z and writes dx, 16;
 *   of L2, which has what the tiles and slices of an image look at again, for the filters 3x3,
 *   5x5 (as 3x3 with dilation 2), 5x5 with dilation 2:
 *                            forward            backward           partials, written and read
 *     32x32, 16 channels     8.7, 9.3, 10.3     26.7, 29.3, 34.3   0.3
 *     16x16, 32 channels     8.7, 10.9, 11.9    40.6               1
 *     8x8, 64 channels       18.5, 21.5, 23.5   31.6, 33.1, 44.1   6 to 11
 *   Backward, dy and z are read by each of 2 to 4 slices. Shared memory and L1 take 69 reads of 16
 *   bytes for the backward of 4 elements (3x3, 16 channels): on a card with 15 bytes of memory a
 *   clock and multiprocessor these are the bound.
 *
 * Forward: a tile is a rectangle of outputs of one image. A chunk of channels at a time, the
 * inputs it needs come into shared memory as r = relu(v(x)), with zeros around the image; a thread
 * makes STRIP outputs of a column at once, so that a row of r is looked at once for all of them;
 * u stays in shared memory, and when all channels are there the tile times pw is z: on tensor
 * cores, where they are faster, pw takes the place of r, and z that of u, so that a thread gets the
 * quad whose moments it sums. Weights come into shared memory, where there is room, because all
 * threads then ask for them at once: a warp that reads them as it goes waits for L2 all the time,
 * since a block of a search looks at most of them once.
 *
 * Backward in one launch: a tile is a rectangle of *inputs* (the same for all jobs that share dx),
 * and the channels are cut into slices, each with blocks, tickets and partials of its own: what
 * depends on a channel c of the input alone (u, du, dx, ddw, a row of dpw) needs nothing of the
 * others but g = dz, of which every slice reads all channels (from L2). For a tile and a slice:
 *   r of the outputs that the tile owns, those at (p stride, q stride) inside it, in shared memory;
 *   u of these, from r, into the room of du;
 *   run by run of the outputs that the tile's dx depends on: g = dz; dpw += u^T g;
 *     du = g pw^T in place of u;
 *   ddw += du times shifted r, a row of taps to a thread, strips of outputs;
 *   dx = du through the filter backwards, where r > 0; the sums for the BatchNorm below.
 * Outputs at the edge of a tile are made by both neighbours; only one owns them.
 *
 * Two blocks a multiprocessor: 48 KB of shared memory, up to 128 registers a thread. The backward
 * needs all of them: 44 are the sums that a thread keeps from tile to tile (5x5), 36 those of a
 * strip and its taps. So what all threads agree on is in shared memory, and what a thread can
 * compute again is not kept. */
#include "kernels/cuda/mma.h"
#include "kernels/cuda/places.h"

namespace {

constexpr int STRIP = 4; /* outputs of a column that a thread makes at once */
constexpr int FLOATS = (int)(DYNAMIC / sizeof(float)); /* of shared memory */

__host__ __device__ inline int pad_of(const pn_stage &s) { return s.dilation * (s.R - 1) / 2; }

/* Inputs that a run of n outputs looks at. */
__host__ __device__ inline int span_of(const pn_stage &s, int n) {
    return (n - 1) * s.stride + (s.R - 1) * s.dilation + 1;
}

/* A rectangle of pixels of one image: rows h .. h+rows-1, columns w .. w+columns-1. May reach
 * beyond the image. */
struct rectangle {
    int n, h, w, rows, columns;
};

/* r = relu(v(x)) of a rectangle, C channels from c0 on, into [rows][wide][C]; 0 outside the image.
 * Of the `wide` pixels of a row those beyond the rectangle are left alone. */
__device__ inline void load_r(const pn_stage &s, const rectangle &t, int c0, int C, int wide,
                              float *r) {
    const columns k = columns_of(C);
    if (!k.active) return;
    const pn_input &in = s.in;
    const norm4 norm = load_norm(in.norm, in.C, c0 / 4 + k.quad);
    const pn_stored *x = in.x + (size_t)t.n * s.H * s.W * in.C + c0 + 4 * k.quad;
    const int pixels = t.rows * t.columns;
    const quotient rows = quotient_by(t.columns);
#pragma unroll 2
    for (int p = k.row; p < pixels; p += k.rows) {
        const int row = rows.of(p), h = t.h + row, w = t.w + p - row * t.columns;
        const bool inside = h >= 0 && h < s.H && w >= 0 && w < s.W;
        float4 v = splat(0);
        if (inside) v = relu4(norm(gpu_read4(x + (size_t)(h * s.W + w) * in.C)));
        gpu_store4(r + (p + row * (wide - t.columns)) * C + 4 * k.quad, v);
    }
}

/* (R,R) rows of C taps into shared memory: asked for all at once, where each thread would wait for
 * those of a column. */
template <int R>
__device__ inline void stage_taps(const float *w, int w_row, int C, float *to) {
    const columns k = columns_of(C);
    if (!k.active) return;
    for (int tap = k.row; tap < R * R; tap += k.rows)
        gpu_store4(to + tap * C + 4 * k.quad, gpu_read4(w + tap * w_row + 4 * k.quad));
}

/* STRIP outputs, one below the other: u[l] = sum_ij w[i][j] r[l stride + i dilation][j dilation],
 * with w flipped if BACK. r: the first one's upper left input, rows of `row` floats,
 * pixels of C. w: (R,R) rows of w_row floats, of shared memory if there was room. */
template <int R, int D, int S, bool BACK>
__device__ __forceinline__ void filter(float4 (&u)[STRIP], const float *r, int row, int C,
                                       const float *w, int w_row) {
#pragma unroll
    for (int l = 0; l < STRIP; l++) u[l] = splat(0);
#pragma unroll 1
    for (int j = 0; j < R; j++, r += D * C) {
        float4 taps[R];
        /* They walk: multiples of the rows would take a register each. */
        const float *tap = w + (BACK ? R - 1 - j : j) * w_row, *at = r;
#pragma unroll
        for (int i = 0; i < R; i++, tap += R * w_row) taps[BACK ? R - 1 - i : i] = gpu_load4(tap);
#pragma unroll
        for (int h = 0; h < (STRIP - 1) * S + (R - 1) * D + 1; h++, at += row) {
            const float4 v = gpu_load4(at);
#pragma unroll
            for (int l = 0; l < STRIP; l++)
                if ((h - l * S) % D == 0 && h >= l * S && (h - l * S) / D < R)
                    u[l] = fma4(taps[(h - l * S) / D < R && h >= l * S ? (h - l * S) / D : 0], v,
                                u[l]);
        }
    }
}

/* The strips of a rectangle of rows x columns: number `item` is STRIP rows of a column from `top`
 * on. The last strip of a column begins earlier, that nobody looks beyond the rectangle: its rows
 * before `first` are of the strip above. Of less than STRIP rows it reaches beyond (room_for). */
struct strip {
    int column, top, first;
};
__device__ __forceinline__ strip strip_of(int item, int rows, int columns, quotient by_columns) {
    const int which = by_columns.of(item), first = which * STRIP;
    return {item - which * columns, max_of(min_of(first, rows - STRIP), 0), first};
}
__host__ __device__ inline int room_for(int rows) { return max_of(rows, STRIP); }

/* done(p, q, u) for outputs (p, q) of rows x columns whose inputs begin at r. */
template <int R, int D, int S, class Done>
__device__ inline void filter_all(const columns &k, const float *r, int row, int C, int rows,
                                  int columns, const float *w, int w_row, Done done) {
    if (!k.active) return;
    const int items = div_up(rows, STRIP) * columns;
    const quotient by_columns = quotient_by(columns);
#pragma unroll 1
    for (int item = k.row; item < items; item += k.rows) {
        const strip at = strip_of(item, rows, columns, by_columns);
        float4 u[STRIP];
        filter<R, D, S, false>(u, r + at.top * S * row + at.column * S * C + 4 * k.quad, row, C,
                               w + 4 * k.quad, w_row);
#pragma unroll
        for (int l = 0; l < STRIP; l++)
            if (at.top + l >= at.first && at.top + l < rows) done(at.top + l, at.column, u[l]);
    }
}

/* Calls f(R, dilation, stride) with compile-time numbers. */
template <int V>
struct constant {
    static constexpr int value = V;
};
template <int R, class F>
__device__ __forceinline__ void by_filter(int dilation, int stride, F f) {
    if (dilation == 1 && stride == 1) f(constant<R>(), constant<1>(), constant<1>());
    if (dilation == 1 && stride == 2) f(constant<R>(), constant<1>(), constant<2>());
    if (dilation == 2 && stride == 1) f(constant<R>(), constant<2>(), constant<1>());
    if (dilation == 2 && stride == 2) f(constant<R>(), constant<2>(), constant<2>());
}

/* ---- forward --------------------------------------------------------------------------------- */

/* How a job is cut into tiles. */
struct forward_cut : whole {
    int rows, columns, down, across; /* of a tile; tiles of an image */
    int chunk;                       /* channels of r at a time */
};

__host__ __device__ inline bool forward_fits(const pn_stage &s, int rows, int columns, int chunk) {
    const int C = s.in.C, r = span_of(s, room_for(rows)) * span_of(s, columns) * min_of(chunk, C);
    const int w = inner_mma<1>::most_pixels(C) ? MMA_SLOTS * weights_pitch(C) : 0;
    return rows * columns * pitch_of(C) + max_of(r, w) <= FLOATS;
}

/* The largest tile, of 8 rows (16 of narrow images) by 32 columns at most, that leaves room for 8
 * channels of r: a wide rectangle has little around it, and 8 channels are a sector of memory. Of
 * half of it, where else half of the blocks had none. */
inline forward_cut forward_cut_of(const pn_stage &s) {
    const int P = div_up(s.H, s.stride), Q = div_up(s.W, s.stride), C = s.in.C;
    forward_cut c = {{0, 0}, min_of(P, Q <= 16 ? 16 : 8), div_up(Q, div_up(Q, 32)), 0, 0, 8};
    while (c.rows > 2 && !forward_fits(s, c.rows, c.columns, c.chunk)) c.rows = (c.rows + 1) / 2;
    while (c.columns > 1 && !forward_fits(s, c.rows, c.columns, c.chunk))
        c.columns = (c.columns + 1) / 2;
    if (!forward_fits(s, c.rows, c.columns, c.chunk)) c.rows = 1;
    if (!forward_fits(s, c.rows, c.columns, c.chunk)) c.chunk = 4;
    while (c.rows >= 2 * STRIP &&
           2 * s.N * div_up(P, c.rows) * div_up(Q, c.columns) <= wanted().halves)
        c.rows = div_up(c.rows, 2);
    while (c.chunk < C && c.chunk < 64 && forward_fits(s, c.rows, c.columns, 2 * c.chunk))
        c.chunk *= 2;
    c.down = div_up(P, c.rows);
    c.across = div_up(Q, c.columns);
    static_cast<whole &>(c) = whole_of(s.N * c.down * c.across);
    return c;
}

struct stage_forward : one_round {
    using Job = pn_stage;
    using Cut = forward_cut;
    static bool shares_dx(const pn_stage *, int) { return false; }
    static forward_cut cut(const pn_stage *s, int) { return forward_cut_of(*s); }
    static size_t partial_floats(const pn_stage &s, const forward_cut &) {
        return moments_floats(s.out.norm, s.out.K);
    }
};

/* u of a rectangle of outputs, into [pixels][pitch]. */
template <int R>
__device__ inline void fill_u(const pn_stage &s, const rectangle &t, int chunk, float *u,
                              float *r) {
    const int C = s.in.C, pitch = pitch_of(C), pad = pad_of(s);
    const rectangle seen = {t.n, t.h * s.stride - pad, t.w * s.stride - pad,
                            span_of(s, room_for(t.rows)), span_of(s, t.columns)};
    for (int c0 = 0; c0 < C; c0 += chunk) {
        const int wide = min_of(chunk, C - c0);
        float *const taps = r + seen.rows * seen.columns * wide;
        const bool room = taps + R * R * wide <= u + FLOATS;
        if (room) stage_taps<R>(s.dw + c0, C, wide, taps);
        load_r(s, seen, c0, wide, seen.columns, r);
        __syncthreads();
        const float *const w = room ? taps : s.dw + c0;
        by_filter<R>(s.dilation, s.stride, [&](auto E, auto D, auto S) {
            const columns k = columns_of(wide);
            filter_all<decltype(E)::value, decltype(D)::value, decltype(S)::value>(
                k, r, seen.columns * wide, wide, t.rows, t.columns, w, room ? wide : C,
                [&](int p, int q, float4 v) {
                    gpu_store4(u + (p * t.columns + q) * pitch + c0 + 4 * k.quad, v);
                });
        });
        __syncthreads();
    }
}

/* The tile in shared memory, with the pixels of the tiles before it. */
struct forward_tile {
    int number, pixels;
    rectangle at;
};

/* By one thread. */
__device__ inline void next_tile(forward_tile &t, const pn_stage &s, const forward_cut &cut,
                                 int step) {
    t.pixels += t.at.rows * t.at.columns;
    t.number += step;
    t.at.n = t.number / (cut.down * cut.across);
    t.at.h = t.number / cut.across % cut.down * cut.rows;
    t.at.w = t.number % cut.across * cut.columns;
    t.at.rows = min_of(cut.rows, div_up(s.H, s.stride) - t.at.h);
    t.at.columns = min_of(cut.columns, div_up(s.W, s.stride) - t.at.w);
}

__global__ void __launch_bounds__(THREADS, 2)
    stage_forward_kernel(const call_of<stage_forward> call) {
    GPU_DYNAMIC(float, shared);
    GPU_SHARED(place<stage_forward>, p); /* not in registers: the loops need them */
    GPU_SHARED(pn_stage, s);
    GPU_SHARED(forward_tile, t);
    find_place(call, &p);
    if (threadIdx.x == 0) {
        s = call.jobs[p.first];
        t = {p.block - p.blocks, 0, {0, 0, 0, 0, 0}};
    }
    const forward_cut &cut = p.cut;
    moments m = no_moments();
#pragma unroll 1
    for (;;) {
        __syncthreads();
        if (threadIdx.x == 0) next_tile(t, s, cut, p.blocks);
        __syncthreads();
        if (t.number >= p.tiles) break;
        const int C = s.in.C, pitch = pitch_of(C);
        float *const r = shared + cut.rows * cut.columns * pitch;
        if (s.R == 3)
            fill_u<3>(s, t.at, cut.chunk, shared, r);
        else
            fill_u<5>(s, t.at, cut.chunk, shared, r);
        const columns k = columns_of(C);
        const int P = div_up(s.H, s.stride), Q = div_up(s.W, s.stride), wide = t.at.columns;
        pn_stored *const z =
            s.out.z + (((size_t)t.at.n * P + t.at.h) * Q + t.at.w) * C + 4 * k.quad;
        const quotient rows = quotient_by(wide);
        const auto done = [&](int pixel, float4 v) {
            const int row = rows.of(pixel);
            gpu_store4(z + (size_t)(row * Q + pixel - row * wide) * C, v);
            m.add(v);
        };
        if (gpu_prefers_mma() && inner_mma<1>::most_pixels(C))
            multiply_in_place(k, shared, pitch, t.at.rows * wide, C, s.pw, r,
                              FLOATS - cut.rows * cut.columns * pitch, done);
        else
            multiply(k, shared, pitch, t.at.rows * wide, C, s.pw, C, done);
    }
    const int C = s.in.C;
    const pn_norm &norm = s.out.norm;
    if (norm.mode == PN_NORM_RUNNING && p.block == 0) copy_statistics(norm, C);
    if (norm.mode != PN_NORM_BATCH) return;
    store_moments(columns_of(C), m, t.pixels, shared, partial_of(call, p, p.first));
    if (!last_of_slice(call, p)) return;
    const leftover all = what_remains(call, p, p.first);
    finish_statistics(norm, C, all.first, all.step, all.count);
}

/* ---- backward: how a group is cut ------------------------------------------------------------ */

constexpr int SLICES = 64; /* most channels of a slice */
constexpr int RUN = 256;   /* most outputs of a run */

/* By the input's shape and the largest padding of the group's filters. */
struct backward_cut {
    int rows, columns, down, across; /* of a tile of inputs; tiles of an image */
    int slice, slices;               /* channels of a slice (the last may have less); how many */
    int run;                         /* outputs whose g is in shared memory at a time */
    int taps;                        /* floats for those of a filter; 0: they stay outside */
    int tiles, blocks;               /* of a slice */
};

/* Pixels from row to row of a tile of C channels in shared memory: of 4, 8 and 16 channels so many
 * that the eight threads that are served at once find neighbours in a column in banks of their own,
 * as they do neighbours in a row. (Of others it would take more room than it is worth.) */
__host__ __device__ inline int row_of(int columns, int C) {
    if (C != 4 && C != 8 && C != 16) return columns;
    const int apart = 32 / C;
    return (columns + apart - 2) / apart * apart + 1;
}

/* What r and du of a tile take: floats. */
inline int backward_floats(int rows, int columns, int slice, int pad) {
    const int seen = max_of(rows, 2 * STRIP - 1) + 2 * pad, need = room_for(rows) + 2 * pad;
    return (seen + need) * row_of(columns + 2 * pad, slice) * slice;
}

/* How the channels of such tiles are cut: as many to a slice as have room beside a run of 64
 * outputs, and threads for their products with those of z; then as long a run as is left room for.
 * False: not even 4 channels fit beside a run of 32. */
inline bool slice_tile(backward_cut &c, int H, int W, int C, int pad) {
    const int pixel = pitch_of(C) + 1; /* of a run: g, and a place in a table */
    const int longest = 2304 / pixel, all = FLOATS - 3 * C; /* 3: line4 of each */
    const int room = all - max_of(min_of(32, longest), 4) * pixel;
    const int more = all - max_of(min_of(64, longest), 4) * pixel;
    const int most = min_of(min_of(C, SLICES), max_of(4 * (THREADS / (C / 4)), 4));
    const auto floats = [&] { return backward_floats(c.rows, c.columns, c.slice, pad); };
    c.slice = min_of(C, 8);
    if (floats() > room) c.slice = 4;
    if (floats() > room) return false;
    /* Without the gaps of row_of, then with them. */
    const int first = c.slice, channel = backward_floats(c.rows, c.columns, 1, pad);
    c.slice = max_of(min_of(more / channel & ~3, most), first);
    while (c.slice > first && floats() > more) c.slice -= 4;
    if (c.slice == 12 && C > 12) c.slice = 8; /* without conflicts, and runs are longer */
    c.slices = div_up(C, c.slice);
    c.slice = div_up(C / 4, c.slices) * 4;
    while (c.slice > 4 && floats() > room) c.slice -= 4;
    c.slices = div_up(C, c.slice);
    const int left = all - floats();
    c.run = max_of(min_of(RUN, left / pixel), 1);
    /* The taps, where that takes no more runs. */
    const int outputs = min_of(c.rows + 2 * pad, H) * min_of(c.columns + 2 * pad, W);
    c.taps = (pad > 1 ? 25 : 9) * c.slice;
    const int beside = min_of(RUN, max_of(left - c.taps, 0) / pixel);
    if (beside > 0 && div_up(outputs, beside) == div_up(outputs, c.run))
        c.run = beside;
    else
        c.taps = 0;
    c.down = div_up(H, c.rows);
    c.across = div_up(W, c.columns);
    return true;
}

/* Cycles of the data path (emulator/counts.h) of an image that depend on how it is cut: for g, that
 * each slice loads, stores and multiplies by u; for du; for r; and those that all wait, at a run's
 * four barriers and a tile's. By the loads in mma.h; a guess on other cards. */
inline double cut_cycles(const backward_cut &c, int H, int W, int C, int pad) {
    const int outputs = min_of(c.rows + 2 * pad, H) * min_of(c.columns + 2 * pad, W);
    const int across = div_up(c.slice, MMA_COLUMNS);
    const int g = outputs * (3 * C + div_up(C, MMA_ROWS) * (16 + 8 * across)) / 32;
    const int du = outputs * across * div_up(C, MMA_SLOTS) * 10 / 32;
    const int r = (c.rows + 2 * pad) * (c.columns + 2 * pad) * c.slice * 3 / 32;
    const int waits = 300 * div_up(outputs, c.run) + 600;
    return (double)(c.down * c.across) * c.slices * (g + du + r + waits);
}

/* Whole images, or bands of 8 rows, with 8 channels, and room for a run of 32 outputs; or halves of
 * that, whose borders are made more than once, where so many more channels fit that it pays. */
inline backward_cut backward_cut_of(int N, int H, int W, int C, int pad) {
    backward_cut c, best;
    c.rows = H <= 16 ? H : div_up(H, div_up(H, 8));
    c.columns = div_up(W, div_up(W, 32));
    while (!slice_tile(c, H, W, C, pad)) {
        int &longer = c.rows > c.columns ? c.rows : c.columns;
        longer = (longer + 1) / 2;
    }
    best = c;
    double least = cut_cycles(c, H, W, C, pad);
    for (const int columns = c.columns; wanted().cost && best.slices > 1 && c.rows >= STRIP;
         c.rows /= 2)
        for (c.columns = columns; c.columns >= STRIP; c.columns /= 2) {
            if (!slice_tile(c, H, W, C, pad)) continue;
            const double cycles = cut_cycles(c, H, W, C, pad);
            if (cycles >= least) continue;
            least = cycles;
            best = c;
        }
    best.tiles = N * best.down * best.across;
    /* As many as all have the same number of tiles, or one less. */
    best.blocks = div_up(best.tiles, div_up(best.tiles, blocks_of_slice(best.slices, best.tiles)));
    return best;
}

/* A partial: rows of dpw, ddw, s1 and s2 of a slice's channels. */
struct stage_backward : plain_sums {
    using Job = pn_stage;
    using Cut = backward_cut;
    static bool shares_dx(const pn_stage *jobs, int j) { return jobs[j].shares_dx; }
    static backward_cut cut(const pn_stage *group, int jobs) {
        int pad = 0;
        for (int j = 0; j < jobs; j++) pad = max_of(pad, pad_of(group[j]));
        return backward_cut_of(group->N, group->H, group->W, group->in.C, pad);
    }
    static size_t partial_floats(const pn_stage &s, const backward_cut &cut) {
        return (size_t)cut.slice * (s.out.K + s.R * s.R + 2);
    }
};
using sliced = place<stage_backward>;

/* ---- backward: a tile ------------------------------------------------------------------------ */

/* A tile and what is in shared memory. There itself: what was the same for all tiles in registers
 * would take them from the loops. */
struct work {
    int c0, C;       /* channels of the slice */
    rectangle dx;    /* the tile of inputs */
    rectangle own;   /* outputs: those it owns, */
    rectangle need;  /* those its dx depends on, also beyond the edges of the image, */
    rectangle there; /* and of these the ones inside */
    rectangle seen;  /* inputs that the own ones look at */
    int du, g;       /* floats before them; r comes first */
    bool sums;       /* are wanted by the norm of x */
    float *partial;
    int job, tile;
    bool first;             /* of the block's tiles */
    int at;                 /* ints before those that say where du of the outputs of the run is */
    int seen_row, need_row; /* pixels from row to row of r, of du */
    int run;                /* outputs of a run: in runs of equal length */
    const float *taps;      /* of the slice; and floats from one to the next */
    int taps_row;
};

__host__ __device__ inline int floor_div(int a, int b) {
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

/* By one thread each. */
__device__ inline void begin_job(work &t, const pn_stage &s, const sliced &at, float *partial) {
    t.c0 = at.slice * at.cut.slice;
    t.C = min_of(at.cut.slice, s.in.C - t.c0);
    t.tile = at.block - at.blocks; /* before the first one */
    t.sums = wants_sums(s.in.norm);
    t.partial = partial;
}

__device__ inline void next_tile(work &t, const pn_stage &s, const sliced &at) {
    const backward_cut &cut = at.cut;
    const int tile = t.tile += at.blocks;
    const int S = s.stride, pad = pad_of(s), P = div_up(s.H, S), Q = div_up(s.W, S);
    t.first = tile == at.block;
    rectangle &dx = t.dx, &own = t.own, &need = t.need, &there = t.there;
    dx = {tile / (cut.down * cut.across), tile / cut.across % cut.down * cut.rows,
          tile % cut.across * cut.columns, 0, 0};
    dx.rows = min_of(cut.rows, s.H - dx.h);
    dx.columns = min_of(cut.columns, s.W - dx.w);
    own = {dx.n, div_up(dx.h, S), div_up(dx.w, S), 0, 0};
    own.rows = div_up(dx.h + dx.rows, S) - own.h;
    own.columns = div_up(dx.w + dx.columns, S) - own.w;
    need = {dx.n, -floor_div(pad - dx.h, S), -floor_div(pad - dx.w, S), 0, 0};
    need.rows = floor_div(dx.h + dx.rows - 1 + pad, S) + 1 - need.h;
    need.columns = floor_div(dx.w + dx.columns - 1 + pad, S) + 1 - need.w;
    there = {dx.n, max_of(need.h, 0), max_of(need.w, 0), 0, 0};
    there.rows = min_of(need.h + need.rows, P) - there.h;
    there.columns = min_of(need.w + need.columns, Q) - there.w;
    t.seen = {dx.n, own.h * S - pad, own.w * S - pad, 0, 0};
    t.seen.rows = own.rows > 0 ? span_of(s, room_for(own.rows)) : 0;
    t.seen.columns = own.columns > 0 ? span_of(s, own.columns) : 0;
    /* A tile of one row or column may own nothing at stride 2; its mask is still needed. */
    const int bottom = max_of(t.seen.h + t.seen.rows, dx.h + dx.rows);
    const int right = max_of(t.seen.w + t.seen.columns, dx.w + dx.columns);
    t.seen.h = min_of(t.seen.h, dx.h);
    t.seen.w = min_of(t.seen.w, dx.w);
    t.seen.rows = bottom - t.seen.h;
    t.seen.columns = right - t.seen.w;
    if (S == 1) need.rows = room_for(dx.rows) + 2 * pad; /* filter() goes backwards over them */
    t.seen_row = row_of(t.seen.columns, t.C);
    t.need_row = row_of(need.columns, t.C);
    t.du = t.seen.rows * t.seen_row * t.C;
    t.g = t.du + need.rows * t.need_row * t.C;
    t.at = t.g + cut.run * pitch_of(s.out.K);
    const int outputs = max_of(there.rows * there.columns, 1);
    t.run = div_up(outputs, div_up(outputs, cut.run));
}

/* u of the own outputs into the room of du, which is 0 elsewhere. */
template <int R>
__device__ inline void fill_own_u(const pn_stage &s, const work &t, float *shared) {
    const int C = t.C;
    const int floats = t.need.rows * t.need_row * C;
    for (int i = 4 * (int)threadIdx.x; i < floats; i += 4 * THREADS)
        gpu_store4(shared + t.du + i, splat(0));
    __syncthreads();
    if (t.own.rows <= 0 || t.own.columns <= 0) return;
    const columns k = columns_of(C);
    const int down = t.own.h - t.need.h, right = t.own.w - t.need.w, pad = pad_of(s);
    const float *const r = shared + ((t.own.h * s.stride - pad - t.seen.h) * t.seen_row +
                                     t.own.w * s.stride - pad - t.seen.w) *
                                        C;
    float *const u = shared + t.du + (down * t.need_row + right) * C + 4 * k.quad;
    by_filter<R>(s.dilation, s.stride, [&](auto E, auto D, auto S) {
        filter_all<decltype(E)::value, decltype(D)::value, decltype(S)::value>(
            k, r, t.seen_row * C, C, t.own.rows, t.own.columns, t.taps, t.taps_row,
            [&](int p, int q, float4 v) { gpu_store4(u + (p * t.need_row + q) * C, v); });
    });
}

/* Where line4 of the job's z is, a quad after another: behind all else. */
__device__ __forceinline__ float *line_at(int K, int quad, float *shared) {
    return shared + FLOATS - 3 * K + 12 * quad;
}
__device__ inline void store_lines(const pn_stage &s, float *shared) {
    const float pixels = (float)s.N * (float)div_up(s.H, s.stride) * (float)div_up(s.W, s.stride);
    for (int quad = (int)threadIdx.x; 4 * quad < s.out.K; quad += THREADS) {
        const line4 line = load_line(s.out, pixels, quad);
        float *const to = line_at(s.out.K, quad, shared);
        gpu_store4(to, line.a);
        gpu_store4(to + 4, line.b);
        gpu_store4(to + 8, line.c);
    }
}
__device__ __forceinline__ line4 line_of(int K, int quad, float *shared) {
    const float *const at = line_at(K, quad, shared);
    return {gpu_load4(at), gpu_load4(at + 4), gpu_load4(at + 8)};
}

/* The taps of the slice, before those lines, if the cut has room for them. */
template <int R>
__device__ inline void begin_taps(const pn_stage &s, const backward_cut &cut, work &t,
                                  float *shared) {
    float *const to = shared + FLOATS - 3 * s.out.K - cut.taps;
    if (cut.taps) stage_taps<R>(s.dw + t.c0, s.in.C, t.C, to);
    if (threadIdx.x != 0) return;
    t.taps = cut.taps ? to : s.dw + t.c0;
    t.taps_row = cut.taps ? t.C : s.in.C;
}

/* g = dz of a run of the outputs that are there, from number `first` on, and where their du is. */
__device__ inline void load_run(const pn_stage &s, const work &t, int first, int pixels,
                                float *shared) {
    const int C = t.C;
    const pn_output &out = s.out;
    const int P = div_up(s.H, s.stride), Q = div_up(s.W, s.stride), pitch = pitch_of(out.K);
    const int wide = t.there.columns;
    const quotient rows = quotient_by(wide);
    const columns k = columns_of(out.K);
    int *const at = reinterpret_cast<int *>(shared + t.at);
    const int down = t.there.h - t.need.h, right = t.there.w - t.need.w;
    for (int i = (int)threadIdx.x; i < pixels; i += THREADS) {
        const int row = rows.of(first + i), column = first + i - row * wide;
        at[i] = t.du + ((row + down) * t.need_row + column + right) * C;
    }
    if (!k.active) return;
    const line4 line = line_of(out.K, k.quad, shared);
    const float f = weight_of(out, t.there.n);
    const bool reads_z = out.norm.mode == PN_NORM_BATCH;
    const size_t base = (((size_t)t.there.n * P + t.there.h) * Q + t.there.w) * out.K + 4 * k.quad;
    const pn_stored *const dy = out.dy + base, *const z = reads_z ? out.z + base : nullptr;
    float *const g = shared + t.g + 4 * k.quad;
#pragma unroll 2
    for (int i = k.row; i < pixels; i += k.rows) {
        const int row = rows.of(first + i), column = first + i - row * wide;
        const size_t from = (size_t)(row * Q + column) * out.K;
        float4 v = fma4(line.a, f * gpu_read4(dy + from), line.c);
        if (z) v = fma4(line.b, gpu_read4(z + from), v);
        gpu_store4(g + i * pitch, v);
    }
}

/* dpw: as outer4, in fewer registers, and with the pixels of u where the table says; or on tensor
 * cores, where that is faster. */
struct products {
    float4 sum[4];
    outer_mma mma; /* else, packed: quad of u, of g, this thread's number among who share both */

    __device__ inline void begin(int C, int K) {
        if (gpu_prefers_mma()) {
            mma.begin(C, K);
        } else {
            outer4 whole;
            whole.begin(C, K);
            mma.packed = 0; /* not used then */
            if (whole.segments)
                mma.packed = (unsigned)whole.segment << 16 | (unsigned)(whole.item / (K / 4)) << 8 |
                             (unsigned)(whole.item % (K / 4));
        }
        clear();
    }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < 4; i++) sum[i] = splat(0);
    }

    /* u: of the first output's quad, `at` floats before those of the others. */
    __device__ __forceinline__ void gather(const float *u, const int *at, const float *g, int pitch,
                                           int from, int step, int pixels) {
        for (int p = from; p < pixels; p += step) {
            const float4 x = gpu_load4(u + at[p]), y = gpu_load4(g + p * pitch);
            sum[0] = fma4(x.x, y, sum[0]);
            sum[1] = fma4(x.y, y, sum[1]);
            sum[2] = fma4(x.z, y, sum[2]);
            sum[3] = fma4(x.w, y, sum[3]);
        }
    }

    /* dpw[c][k] += sum over a run of u[c] g[k]. */
    __device__ inline void add(const work &t, int K, int pixels, const float *shared, bool first) {
        const int *const at = reinterpret_cast<const int *>(shared + t.at);
        const float *const g = shared + t.g;
        const int quads = K / 4, items = t.C / 4 * quads, pitch = pitch_of(K);
        if (gpu_prefers_mma()) {
            mma.add_or_wait(
                sum, t.C, K, [&](int p) { return shared + at[p]; }, g, pitch, pixels, t.partial,
                first);
            return;
        }
        const unsigned packed = mma.packed;
        if (items <= THREADS) {
            const int segments = THREADS / items, segment = (int)(packed >> 16);
            if (segment < segments)
                gather(shared + 4 * (packed >> 8 & 255), at, g + 4 * (packed & 255), pitch, segment,
                       segments, pixels);
            return;
        }
        for (int which = (int)threadIdx.x; which < items; which += THREADS) {
            const int row = which / quads, quad = which - row * quads;
            clear();
            gather(shared + 4 * row, at, g + 4 * quad, pitch, 0, 1, pixels);
            float *to = t.partial + (size_t)(4 * row) * K + 4 * quad;
#pragma unroll
            for (int i = 0; i < 4; i++, to += K)
                gpu_store4(to, first ? sum[i] : gpu_load4(to) + sum[i]);
        }
    }

    __device__ inline void end(int C, int K, float *room, float *partial) {
        if (gpu_prefers_mma()) {
            mma.end(sum, C, K, room, partial);
            return;
        }
        outer4 whole;
        whole.begin(C, K);
#pragma unroll
        for (int i = 0; i < 4; i++) whole.sum[i] = sum[i];
        whole.end(room, partial);
    }
};

/* du of COUNT outputs, `apart` from each other, in place of u; from `end` on there are none. */
template <int COUNT>
__device__ __forceinline__ void make_some_du(int first, int apart, int end, int K, const float *w,
                                             const float *g, const int *at, float *du) {
    const int pitch = pitch_of(K);
    float4 sum[COUNT];
    const float *from[COUNT];
#pragma unroll
    for (int l = 0; l < COUNT; l++) {
        sum[l] = splat(0);
        from[l] = g + min_of(first + l * apart, end - 1) * pitch;
    }
#pragma unroll 1
    for (int i = 0; i < K; i += 4) {
        const float4 w0 = gpu_read4(w + i), w1 = gpu_read4(w + K + i),
                     w2 = gpu_read4(w + 2 * K + i), w3 = gpu_read4(w + 3 * K + i);
#pragma unroll
        for (int l = 0; l < COUNT; l++) {
            const float4 v = gpu_load4(from[l] + i);
            sum[l] = make_float4(dot4(v, w0, sum[l].x), dot4(v, w1, sum[l].y),
                                 dot4(v, w2, sum[l].z), dot4(v, w3, sum[l].w));
        }
    }
#pragma unroll
    for (int l = 0; l < COUNT; l++)
        if (first + l * apart < end) gpu_store4(du + at[first + l * apart], sum[l]);
}

/* du = g pw^T of a run, in place of u: of as many outputs at once as there are for a thread, up to
 * 4, since they share the weights; and of as few threads as then are needed. */
__device__ inline void make_du(const pn_stage &s, const work &t, int pixels, float *shared) {
    const int K = s.out.K;
    const int *const at = reinterpret_cast<const int *>(shared + t.at);
    if (gpu_prefers_mma()) {
        multiply_rows<1>(shared + t.g, pitch_of(K), pixels, K, s.pw + (size_t)t.c0 * K, K, t.C,
                         [&](int p, int c, float2 v) { gpu_store2(shared + at[p] + c, v); });
        return;
    }
    const columns k = columns_of(t.C);
    if (!k.active) return;
    const float *const w = s.pw + (size_t)(t.c0 + 4 * k.quad) * K, *const g = shared + t.g;
    float *const du = shared + 4 * k.quad;
    const int span = div_up(pixels, div_up(pixels, 4 * k.rows));
    for (int begin = 0; begin < pixels; begin += span) {
        const int end = min_of(begin + span, pixels), first = begin + k.row;
        const int count = span > 2 * k.rows ? 4 : span > k.rows ? 2 : 1;
        const int apart = div_up(end - begin, count);
        if (k.row >= apart) continue;
        if (count == 4)
            make_some_du<4>(first, apart, end, K, w, g, at, du);
        else if (count == 2)
            make_some_du<2>(first, apart, end, K, w, g, at, du);
        else
            make_some_du<1>(first, apart, end, K, w, g, at, du);
    }
}

/* ddw: of the `rows` threads of a quad, each sums the R taps of one filter row over its share of
 * the own outputs, and keeps them in registers. Threads of one filter row are neighbours. */
struct tap_sums {
    float4 sum[5];
};
struct tap_share {
    int row, share, shares; /* of the filter; of its threads, 12 at 16 channels, 1 at 64 */
    bool active;
};
template <int R>
__device__ inline tap_share tap_share_of(const columns &k) {
    const int shares = k.rows / R, row = shares > 0 ? k.row / shares : R;
    return {row, k.row - row * shares, shares, row < R};
}

/* Strips of outputs, neighbours as the filter's taps are (`unit` apart in r): so that of the
 * 4 + R - 1 inputs that a strip looks at each is loaded once. At stride 2 without dilation every
 * second of them is another output's first (M = 2). Threads next to each other have strips one
 * below the other. */
template <int R, int M>
__device__ __forceinline__ void add_strips(const work &t, const tap_share &k, int C, int D, int S,
                                           const float *r, const float *du, tap_sums &taps) {
    const int apart = S == 1 ? D : 1, down = t.own.rows; /* from output to output of a strip */
    const int strips = div_up(div_up(t.own.columns, apart), STRIP) * apart * down;
#pragma unroll 1
    for (int item = k.share; item < strips; item += k.shares) {
        const int across = item / down, p = item - across * down;
        const int q = across / apart * STRIP * apart + across % apart;
        const int outputs = min_of(div_up(t.own.columns - q, apart), STRIP);
        if (outputs <= 0) continue;
        const float *d_at = du + (p * t.need_row + q) * C;
        const float *at = r + (p * S * t.seen_row + q * S) * C;
        float4 d[STRIP];
#pragma unroll
        for (int l = 0; l < STRIP; l++, d_at += apart * C)
            d[l] = l < outputs ? gpu_load4(d_at) : splat(0);
        const int inputs = M * (outputs - 1) + R;
#pragma unroll
        for (int h = 0; h < M * (STRIP - 1) + R; h++, at += D * C) {
            if (h >= inputs) continue; /* not break: the sums would be looked up by number */
            const float4 v = gpu_load4(at);
#pragma unroll
            for (int l = 0; l < STRIP; l++)
                if (h >= M * l && h - M * l < R)
                    taps.sum[h >= M * l && h - M * l < R ? h - M * l : 0] =
                        fma4(d[l], v, taps.sum[h >= M * l && h - M * l < R ? h - M * l : 0]);
        }
    }
}

template <int R>
__device__ inline void add_taps(const pn_stage &s, const work &t, const float *shared,
                                tap_sums &taps) {
    const int C = t.C;
    const columns quads = columns_of(C);
    const tap_share k = tap_share_of<R>(quads);
    if (!k.active || t.own.columns <= 0) return;
    const int D = s.dilation, S = s.stride, pad = pad_of(s);
    const float *const r =
        shared + 4 * quads.quad +
        ((t.own.h * S - pad - t.seen.h + k.row * D) * t.seen_row + t.own.w * S - pad - t.seen.w) *
            C;
    const float *const du = shared + t.du + 4 * quads.quad +
                            ((t.own.h - t.need.h) * t.need_row + t.own.w - t.need.w) * C;
    if (S == 2 && D == 1)
        add_strips<R, 2>(t, k, C, D, S, r, du, taps);
    else
        add_strips<R, 1>(t, k, C, D, S, r, du, taps);
}

/* Stride 2: one input's dr, sum_ij dw[i][j] du[p][q] over 2 p + i dilation - pad = h, likewise q:
 * every other tap, or with dilation 2 all or none; from one to the next p is one less. */
template <int R>
__device__ __forceinline__ float4 input_dr(const pn_stage &s, const work &t, int C, int h, int w,
                                           const float *du, const float *dw) {
    const int y = h + pad_of(s), x = w + pad_of(s), step = s.dilation == 1 ? 2 : 1;
    float4 sum = splat(0);
    if (step == 1 && ((y | x) & 1)) return sum;
    const float *row = du + (((y >> 1) - t.need.h) * t.need_row + (x >> 1) - t.need.w) * C;
#pragma unroll 1
    for (int i = y & 1; i < R; i += step, row -= t.need_row * C) {
        const float *at = row;
#pragma unroll 1
        for (int j = x & 1; j < R; j += step, at -= C)
            sum = fma4(gpu_load4(dw + (i * R + j) * t.taps_row), gpu_load4(at), sum);
    }
    return sum;
}

/* dx of the tile and its sums. */
template <int R>
__device__ inline void make_dx(const pn_stage &s, const work &t, const float *shared, sums4 &sums) {
    const int C = t.C;
    const columns k = columns_of(C);
    if (!k.active) return;
    const pn_input &in = s.in;
    const float *const du = shared + t.du + 4 * k.quad, *const dw = t.taps + 4 * k.quad;
    const int strips = div_up(t.dx.rows, STRIP) * t.dx.columns;
    const quotient by_columns = quotient_by(t.dx.columns);
#pragma unroll 1
    for (int item = k.row; item < strips; item += k.rows) {
        const strip at = strip_of(item, t.dx.rows, t.dx.columns, by_columns);
        float4 dr[STRIP];
        if (s.stride == 1) { /* need begins `pad` above and left of dx, dilation or not */
            const int row = t.need_row * C;
            const float *from = du + at.top * row + at.column * C;
            if (s.dilation == 1)
                filter<R, 1, 1, true>(dr, from, row, C, dw, t.taps_row);
            else
                filter<R, 2, 1, true>(dr, from, row, C, dw, t.taps_row);
        } else {
#pragma unroll
            for (int l = 0; l < STRIP; l++)
                dr[l] = at.top + l >= at.first && at.top + l < t.dx.rows
                            ? input_dr<R>(s, t, C, t.dx.h + at.top + l, t.dx.w + at.column, du, dw)
                            : splat(0);
        }
        /* Not before: they would take the filter's registers. */
        const size_t base =
            (((size_t)t.dx.n * s.H + t.dx.h + at.top) * s.W + t.dx.w + at.column) * in.C + t.c0 +
            4 * k.quad;
        const float *const r =
            shared + 4 * k.quad +
            ((t.dx.h + at.top - t.seen.h) * t.seen_row + t.dx.w + at.column - t.seen.w) * C;
        const float4 mean = t.sums ? gpu_load4(in.norm.stats + t.c0 + 4 * k.quad) : splat(0);
#pragma unroll
        for (int l = 0; l < STRIP; l++) {
            const int h = at.top + l;
            if (h < at.first || h >= t.dx.rows) continue;
            const size_t to = base + (size_t)(l * s.W) * in.C;
            const float4 d = where_positive(gpu_load4(r + l * t.seen_row * C), dr[l]);
            if (t.sums) sums.add(d, gpu_read4(in.x + to) - mean);
            gpu_store4(in.dx + to, in.add ? gpu_load4(in.dx + to) + d : d);
        }
    }
}

/* The tap sums of all threads into the partial, (R,R,C). */
template <int R>
__device__ inline void end_taps(const tap_sums &taps, int C, float *room, float *partial) {
    const columns quads = columns_of(C);
    const tap_share k = tap_share_of<R>(quads);
    __syncthreads();
    if (k.active)
#pragma unroll
        for (int j = 0; j < R; j++)
            gpu_store4(room + (size_t)((k.share * R + k.row) * R + j) * C + 4 * quads.quad,
                       taps.sum[j]);
    __syncthreads();
    for (int o = (int)threadIdx.x; o < R * R * C; o += THREADS) {
        float sum = 0;
        for (int n = 0; n < k.shares; n++) sum += room[(size_t)n * R * R * C + o];
        partial[o] = sum;
    }
    __syncthreads();
}

/* All that the block does for a job. */
template <int R>
__device__ inline void backward_tiles(const pn_stage &s, const sliced &at, work &t, float *shared) {
    products dpw;
    tap_sums taps;
    sums4 sums = {splat(0), splat(0)};
#pragma unroll
    for (int j = 0; j < R; j++) taps.sum[j] = splat(0);
    dpw.begin(t.C, s.out.K);
    store_lines(s, shared); /* read behind the next barrier, as the taps */
    begin_taps<R>(s, at.cut, t, shared);
#pragma unroll 1
    for (;;) {
        __syncthreads();
        if (threadIdx.x == 0) next_tile(t, s, at);
        __syncthreads();
        if (t.tile >= at.tiles) break;
        load_r(s, t.seen, t.c0, t.C, t.seen_row, shared);
        fill_own_u<R>(s, t, shared);
#pragma unroll 1
        for (int begin = 0; begin < t.there.rows * t.there.columns; begin += t.run) {
            const int pixels = min_of(t.run, t.there.rows * t.there.columns - begin);
            __syncthreads();
            load_run(s, t, begin, pixels, shared);
            __syncthreads();
            dpw.add(t, s.out.K, pixels, shared, t.first && begin == 0);
            __syncthreads();
            make_du(s, t, pixels, shared);
        }
        __syncthreads();
        add_taps<R>(s, t, shared, taps);
        if (s.in.dx) make_dx<R>(s, t, shared, sums);
    }
    const int C = t.C, K = s.out.K;
    float *const partial = t.partial;
    dpw.end(C, K, shared, partial);
    end_taps<R>(taps, C, shared, partial + (size_t)C * K);
    const float4 both[2] = {sums.s1, sums.s2};
    fold_columns(columns_of(C), both, shared, partial + (size_t)C * (K + R * R));
}

/* By the last block of a slice: the job's gradients from the partials. */
__device__ inline void finish_job(const pn_stage &s, const sliced &at, const leftover &all) {
    const float *partials = all.first;
    const size_t partial_floats = all.step;
    const int c0 = at.slice * at.cut.slice, C = min_of(at.cut.slice, s.in.C - c0), K = s.out.K;
    const int taps = s.R * s.R, quads = C / 4, blocks = all.count;
    sum_partials4(partials, partial_floats, blocks, quads * K, [&](int i, float4 sum) {
        float *to = s.dpw + (size_t)c0 * K + 4 * (size_t)i;
        gpu_store4(to, gpu_load4(to) + sum);
    });
    partials += (size_t)C * K;
    sum_partials4(partials, partial_floats, blocks, taps * quads, [&](int i, float4 sum) {
        float *to = s.ddw + (size_t)(i / quads) * s.in.C + c0 + 4 * (i % quads);
        gpu_store4(to, gpu_load4(to) + sum);
    });
    partials += (size_t)C * taps;
    if (at.slice == 0) add_norm_parameters(s.out.norm, K);
    if (!s.in.dx || !wants_sums(s.in.norm)) return;
    finish_sums(s.in, c0, C, partials, partial_floats, blocks);
}

__global__ void __launch_bounds__(THREADS, 2)
    stage_backward_kernel(const call_of<stage_backward> call) {
    GPU_DYNAMIC(float, shared);
    GPU_SHARED(sliced, at); /* not in registers: the loops need them */
    GPU_SHARED(work, t);
    GPU_SHARED(pn_stage, s);
    find_place(call, &at);
    if (gate_closed(call)) return;
    if (threadIdx.x == 0) {
        t.job = at.first - 1;
    }
#pragma unroll 1
    for (;;) {
        __syncthreads();
        if (threadIdx.x == 0 && ++t.job < at.end) {
            s = call.jobs[t.job];
            begin_job(t, s, at, partial_of(call, at, t.job));
        }
        __syncthreads();
        if (t.job == at.end) break;
        if (s.R == 3)
            backward_tiles<3>(s, at, t, shared);
        else
            backward_tiles<5>(s, at, t, shared);
    }
    if (!last_of_slice(call, at)) return;
    for (int j = at.first; j < at.end; j++) {
        finish_job(call.jobs[j], at, what_remains(call, at, j));
        __syncthreads(); /* the next job adds to the same sums */
    }
}

/* ---- host ------------------------------------------------------------------------------------ */

pn_status check_widths(const char *op, const pn_stage *jobs, int count) {
    for (int j = 0; j < count; j++) PN_TRY(check_width(op, j, jobs[j].in.C));
    return PN_OK;
}

pn_status launch_forward(const checked_call<stage_forward> &call) {
    return call.launch(stage_forward_kernel, FLOATS * sizeof(float));
}

pn_status launch_backward(const checked_call<stage_backward> &call) {
    return call.launch(stage_backward_kernel, FLOATS * sizeof(float));
}

}  // namespace

PN_CUDA_OP(stage, stage_forward, stage_backward)
