/* flat.h -- rows of pixels as flat arrays of floats, and what the ops that use them share.
 *
 * An op without a product over channels need not know where one pixel ends: numbers per channel
 * are repeated along a row, sums are kept per position of the row and folded over its pixels at
 * the end. So every loop is plain and long, the compiler makes vectors of it, no channel count
 * needs a tail of its own, and each float32 sum has one term per row only. */
#ifndef PN_FLAT_H
#define PN_FLAT_H

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/host/host.h"
#include "kernels/host/norm.h"
#include "kernels/poison.h"

enum { PN_PERIOD = 256 }; /* floats, if a pixel has fewer */

static inline int pn_threads(void) {
    return omp_get_max_threads() < PN_WORKERS ? omp_get_max_threads() : PN_WORKERS;
}

static inline size_t pn_align16(size_t floats) { return (floats + 15) & ~(size_t)15; }

/* Cuts arrays out of scratch. Without a base it only counts, so that a scratch function and the
 * op that uses the scratch are the same lines. */
typedef struct pn_carver {
    float *base;
    size_t used; /* floats */
} pn_carver;

static inline float *pn_carve(pn_carver *from, size_t floats) {
    float *array = from->base ? from->base + from->used : NULL;
    from->used += pn_align16(floats);
    return array;
}

/* Units of work for the threads of a region, each given once. A thread takes those of its own share
 * first and in order, so that from call to call it meets the same images, some of them still in its
 * cache; then what others have not begun, so that a thread that is held up keeps nobody waiting.
 * Against giving the next unit to whoever asks: ops of 32 and 64 channels 1.1 to 1.8 times as
 * fast. */
typedef struct pn_shares {
    struct {
        int taken;
        char apart[60]; /* a cache line each */
    } of[PN_WORKERS];
} pn_shares;

static inline int pn_next_unit(pn_shares *shares, int units) {
    const int threads = omp_get_num_threads(), me = omp_get_thread_num();
    for (int k = 0; k < threads; k++) {
        const int t = (me + k) % threads;
        const int first = (int)((long)units * t / threads);
        const int end = (int)((long)units * (t + 1) / threads);
        const int unit = first + __atomic_fetch_add(&shares->of[t].taken, 1, __ATOMIC_RELAXED);
        if (unit < end) return unit;
    }
    return -1;
}
/* Within a parallel region; all units are done behind the barrier that has to follow. */
#define PN_EACH_UNIT(unit, shares, units) for (int unit; (unit = pn_next_unit(shares, units)) >= 0;)

/* The size of a thread's workspace in scratch, so that the next thread's begins far enough behind
 * it: a core fetches ahead of what its thread walks through, and what it fetches of a neighbour's
 * workspace the neighbour has to fetch back. Side by side, two threads took as long for a stage of
 * 16 channels as one; from 32 KiB on more makes no difference. For the same reason the sums
 * of a chunk, if they are few, are gathered in the workspace and copied to the chunk's slot. */
enum { PN_APART = 8192 };
static inline size_t pn_apart(size_t floats) { return pn_align16(floats) + PN_APART; }

/* That room, behind each of the workspaces, is shut while an op runs: an overrun of a workspace
 * into the next one changes a neighbour's numbers now and then, and no guard around scratch sees
 * it. */
static inline void pn_fence(float *spaces, size_t space_floats) {
    for (int t = 1; PN_POISONS && t <= PN_WORKERS; t++)
        PN_POISON(spaces + t * space_floats - PN_APART, PN_APART * sizeof *spaces);
}
static inline void pn_unfence(float *spaces, size_t space_floats) {
    for (int t = 1; PN_POISONS && t <= PN_WORKERS; t++) {
        float *fence = spaces + t * space_floats - PN_APART;
        PN_UNPOISON(fence, PN_APART * sizeof *spaces);
        assert(pn_poison_lost(fence, PN_APART * sizeof *spaces) < 0);
    }
}

/* Asks for a stretch of memory ahead of its use: an op walks through several tensors a row at a
 * time, too short a run for the hardware to see far enough. Beyond the end it does no harm. */
static inline void pn_prefetch(const float *at, size_t floats) {
    for (size_t i = 0; i < floats; i += 16) __builtin_prefetch(at + i);
}

static inline void pn_prefetch_write(const float *at, size_t floats) {
    for (size_t i = 0; i < floats; i += 16) __builtin_prefetch(at + i, 1);
}

/* Numbers per channel are repeated over a period of this many pixels, not over a whole row: a
 * dozen rows of 2 KB would not leave room in L1 for the data. */
static inline int pn_period(int C, int pixels) {
    const int most = C < PN_PERIOD ? PN_PERIOD / C : 1;
    return most < pixels ? most : pixels;
}

/* Copies the first pixel of an array to all others. */
static inline void pn_repeat(float *array, int C, int pixels) {
    for (int i = 1; i < pixels; i++)
        memcpy(array + (size_t)i * C, array, (size_t)C * sizeof *array);
}

/* to[c] = sum over the pixels of an array. */
static inline void pn_fold(float *to, const float *array, int C, int pixels) {
    memcpy(to, array, (size_t)C * sizeof *to);
    for (int i = 1; i < pixels; i++)
        for (int c = 0; c < C; c++) to[c] += array[(size_t)i * C + c];
}

/* A pass over a row of n floats; what belongs to channels has `period` floats. It stays a
 * function of its own: with a dozen of them in the loop over rows gcc runs out of registers and
 * reloads pointers inside the loops. */
#define PN_PASS static __attribute__((noinline, unused)) void
#define PN_EACH_PERIOD(at, m) \
    for (size_t at = 0, m; at < n && (m = n - at < period ? n - at : period, 1); at += period)

/* Adds a row of z to the shifted sums of a forward slot (see norm.h). */
PN_PASS pn_flat_stats(const float *z, const float *pivot, float *sum, float *square, size_t period,
                      size_t n) {
    PN_EACH_PERIOD(at, m) {
#pragma omp simd
        for (size_t i = 0; i < m; i++) {
            float d = z[at + i] - pivot[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
}

/* g = the gradient with respect to z (see pn_norm_dz); z NULL where b and q are 0. The next
 * rows of dy and z are asked for. */
PN_PASS pn_flat_dz(float *g, const float *dy, float factor, const float *z, const float *a,
                   const float *b, const float *q, size_t period, size_t n) {
    PN_EACH_PERIOD(at, m) {
        pn_prefetch(dy + n + at, m);
        if (z) {
            pn_prefetch(z + n + at, m);
#pragma omp simd
            for (size_t i = 0; i < m; i++)
                g[at + i] = a[i] * (factor * dy[at + i]) + b[i] * z[at + i] + q[i];
        } else {
#pragma omp simd
            for (size_t i = 0; i < m; i++) g[at + i] = a[i] * (factor * dy[at + i]);
        }
    }
}

/* Adds a row of dv to the two sums of a backward slot; the second still lacks the factor rstd. */
PN_PASS pn_flat_sums(const float *dv, const float *x, const float *mean, float *s1, float *s2,
                     size_t period, size_t n) {
    PN_EACH_PERIOD(at, m) {
#pragma omp simd
        for (size_t i = 0; i < m; i++) {
            float d = dv[at + i];
            s1[i] += d;
            s2[i] += d * (x[at + i] - mean[i]);
        }
    }
}

/* Folds the two sums of a row's positions into a backward slot of rows of `stride` floats. */
static inline void pn_fold_sums(float *slot, int stride, const float *s1, const float *s2,
                                const float *rstd, int C, int pixels) {
    pn_fold(slot, s1, C, pixels);
    pn_fold(slot + stride, s2, C, pixels);
    for (int c = 0; c < C; c++) slot[stride + c] *= rstd[c];
}

#endif
