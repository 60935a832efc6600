/* plan.h -- give every buffer of a step its place in one block of memory.
 *
 * A step is a list of launches run in order. A buffer lives from the launch that first writes it
 * to the launch that last touches it, both counted in. Two buffers that live at one launch never
 * share a byte, but for one that takes the place of another: an op that may run in place.
 * Pure arithmetic: sizes and times go in, offsets come out; no pointer, no device. */
#ifndef PN_PLAN_H
#define PN_PLAN_H

#include <stddef.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

enum { PN_ALIGN = 64 }; /* bytes: a cache line, and the widest vector */

typedef struct pn_buffer {
    size_t bytes;
    int first, last; /* launches */
    int in_place_of; /* -1, or an earlier buffer of at least these bytes with last == our first */
    size_t offset;   /* out: a multiple of PN_ALIGN */
} pn_buffer;

/* A buffer that has its place, while others are sought. */
typedef struct pn_placed {
    size_t offset, end;
    int first, last;
} pn_placed;

/* What planning works with. */
typedef struct pn_plan_room {
    int *order;        /* two for each buffer */
    pn_placed *placed; /* one for each buffer */
} pn_plan_room;

/* Sets every offset, and *total: the largest offset + bytes. Largest first, each into the lowest
 * gap that holds it; equal sizes keep their order, so the same input gives the same plan on any
 * machine. PN_EARG if a buffer ends before it begins, or cannot be where in_place_of says, or if
 * all buffers together, PN_ALIGN bytes behind each, have more bytes than a size_t counts (so that
 * no sum of theirs overflows here or in the caller). */
pn_status pn_plan(pn_buffer *buffers, int count, const pn_plan_room *room, size_t *total);

/* The most bytes alive at any one launch: no plan needs less. In-place pairs count once. */
size_t pn_plan_floor(const pn_buffer *buffers, int count);

PN_API_END

#endif
