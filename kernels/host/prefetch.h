/* kernels/host/prefetch.h -- asking for memory before it is needed: at once, or a little at a time.
 *
 * An op walks through several tensors a tile at a time: runs too short for the hardware to see
 * ahead. So a tile asks for what the next one reads. Asked for all at once, the requests wait for
 * one another, and the arithmetic behind them for a place in the queue; asked for between the
 * blocks of arithmetic, transfer and arithmetic overlap. It made backward passes of stages at 16
 * channels, with tensors in memory, 1.4 times as fast. What is still left when a tile ends is not
 * asked for; what lies beyond the end of a tensor does no harm. */
#ifndef PN_HOST_PREFETCH_H
#define PN_HOST_PREFETCH_H

#include <stddef.h>

#include "kernels/host/stored.h"

enum { PN_LINE = 64 /* bytes */, PN_STRETCHES = 6 };

/* Asks for a stretch of memory ahead of its use: an op walks through several tensors a row at a
 * time, too short a run for the hardware to see far enough. Beyond the end it does no harm. */
static inline void pn_prefetch(const pn_stored *at, size_t count) {
    for (size_t i = 0; i < count; i += PN_LINE / sizeof *at) __builtin_prefetch(at + i);
}

static inline void pn_prefetch_write(const pn_stored *at, size_t count) {
    for (size_t i = 0; i < count; i += PN_LINE / sizeof *at) __builtin_prefetch(at + i, 1);
}

/* Prefetches nb vectors, one line at a time; 0 to read, 1 to write. */
#define PN_PREFETCH(p, nb, write)                                                              \
    do {                                                                                       \
        PN_UNROLL for (int b_ = 0; b_ < (nb)*PN_LANES; b_ += PN_LINE / (int)sizeof(pn_stored)) \
            __builtin_prefetch((p) + b_, write);                                               \
    } while (0)

/* What is to be asked for, in this order. */
typedef struct pn_prefetches {
    const char *at[PN_STRETCHES], *end[PN_STRETCHES];
    int count, now;
} pn_prefetches;

PN_INLINE void pn_prefetches_add(pn_prefetches *a, const pn_stored *at, size_t count) {
    a->at[a->count] = (const char *)at;
    a->end[a->count++] = (const char *)(at + count);
}

/* The next `lines` lines, for a loop that asks for one at a time. When nothing is left, `near`: a
 * prefetch of a line in cache is free. */
PN_INLINE const char *pn_prefetches_take(pn_prefetches *a, int lines, const void *near) {
    if (a->now == a->count) return near;
    const char *at = a->at[a->now];
    a->at[a->now] = at + lines * PN_LINE;
    a->now += at + lines * PN_LINE >= a->end[a->now];
    return at;
}
/* Asks for the next `lines` lines at once. */
PN_INLINE void pn_prefetches_lines(pn_prefetches *a, const int lines) {
    if (a->now == a->count) return;
    const char *at = pn_prefetches_take(a, lines, NULL);
    PN_UNROLL for (int i = 0; i < lines; i++) __builtin_prefetch(at + i * PN_LINE);
}

#endif
