/* plan.c -- greedy by size into the lowest gap, as XNNPACK's memory planner does (its
 * memory-planner.c gave the idea). Buffers that run in place are first joined to chains: one
 * block with the life of all of them. */
#include "runtime/plan.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static size_t rounded(size_t bytes) { return (bytes + PN_ALIGN - 1) & ~(size_t)(PN_ALIGN - 1); }

static pn_status check(const pn_buffer *buffers, int count) {
    size_t all = 0;
    for (int i = 0; i < count; i++) {
        const pn_buffer *b = &buffers[i];
        if (b->bytes > SIZE_MAX - PN_ALIGN - all)
            return pn_fail(PN_EARG, "plan: buffers of more bytes together than can be counted");
        all += b->bytes + PN_ALIGN;
        if (b->first < 0 || b->last < b->first)
            return pn_fail(PN_EARG,
                           "plan: buffer %d lives from launch %d to %d, want 0 <= first <= last", i,
                           b->first, b->last);
        if (b->in_place_of < 0) continue;
        if (b->in_place_of >= i || buffers[b->in_place_of].last != b->first ||
            buffers[b->in_place_of].bytes < b->bytes)
            return pn_fail(PN_EARG, "plan: buffer %d cannot take the place of buffer %d", i,
                           b->in_place_of);
        if (buffers[b->in_place_of].in_place_of >= 0 && buffers[b->in_place_of].first == b->first)
            return pn_fail(PN_EARG, "plan: buffer %d is the third in one place at launch %d", i,
                           b->first);
        for (int j = b->in_place_of + 1; j < i; j++)
            if (buffers[j].in_place_of == b->in_place_of)
                return pn_fail(PN_EARG, "plan: buffers %d and %d both take the place of buffer %d",
                               j, i, b->in_place_of);
    }
    return PN_OK;
}

/* Sorts order[0..n) by falling size, equal sizes by rising index: a bottom-up merge sort, because
 * qsort leaves the order of equals to the C library. */
static void sort_by_size(const pn_buffer *buffers, int *order, int *spare, int n) {
    for (int width = 1; width < n; width *= 2) {
        for (int lo = 0; lo < n; lo += 2 * width) {
            int mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
            for (int i = lo, a = lo, b = mid; i < hi; i++) {
                bool left =
                    a < mid && (b >= hi || buffers[order[a]].bytes >= buffers[order[b]].bytes);
                spare[i] = left ? order[a++] : order[b++];
            }
        }
        for (int i = 0; i < n; i++) order[i] = spare[i];
    }
}

/* The lowest offset where no placed buffer that lives then is in the way. Whether one does goes
 * either way about as often, so no branch hangs on it; and from one round to the next, where `at`
 * is waited for, there is only a maximum. */
static size_t lowest_gap(const pn_placed *placed, int count, const pn_buffer *b) {
    const size_t need = rounded(b->bytes);
    size_t at = 0;
    for (int p = 0; p < count && placed[p].offset < at + need; p++) {
        const pn_placed *other = &placed[p];
        const size_t meets = (other->first <= b->last) & (b->first <= other->last);
        const size_t end = other->end & -meets; /* 0: it does not */
        at = end > at ? end : at;
    }
    return at;
}

/* By rising offset. */
static void insert(pn_placed *placed, int count, const pn_buffer *b) {
    int low = 0, high = count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (placed[middle].offset > b->offset)
            high = middle;
        else
            low = middle + 1;
    }
    memmove(placed + low + 1, placed + low, (size_t)(count - low) * sizeof *placed);
    placed[low] = (pn_placed){b->offset, b->offset + rounded(b->bytes), b->first, b->last};
}

pn_status pn_plan(pn_buffer *buffers, int count, const pn_plan_room *room, size_t *total) {
    PN_TRY(check(buffers, count));
    int *const order = room->order;
    int n = 0;

    /* A chain is planned as its head, whose life is stretched for the time being. */
    for (int i = count - 1; i >= 0; i--)
        if (buffers[i].in_place_of >= 0) buffers[buffers[i].in_place_of].last = buffers[i].last;
    for (int i = 0; i < count; i++)
        if (buffers[i].in_place_of < 0) order[n++] = i;
    sort_by_size(buffers, order, order + count, n);

    *total = 0;
    for (int k = 0; k < n; k++) {
        pn_buffer *b = &buffers[order[k]];
        b->offset = lowest_gap(room->placed, k, b);
        if (b->offset + b->bytes > *total) *total = b->offset + b->bytes;
        insert(room->placed, k, b);
    }

    for (int i = 0; i < count; i++)
        if (buffers[i].in_place_of >= 0) {
            buffers[i].offset = buffers[buffers[i].in_place_of].offset;
            buffers[buffers[i].in_place_of].last = buffers[i].first; /* the stretched life back */
        }
    return PN_OK;
}

size_t pn_plan_floor(const pn_buffer *buffers, int count) {
    size_t floor = 0;
    for (int i = 0; i < count; i++) { /* the peak begins where some buffer begins */
        size_t alive = 0;
        int t = buffers[i].first;
        for (int j = 0; j < count; j++) {
            const pn_buffer *b = &buffers[j];
            if (b->first > t || t > b->last) continue;
            if (b->in_place_of >= 0 && b->first == t) continue; /* its place is counted already */
            alive += b->bytes;
        }
        if (alive > floor) floor = alive;
    }
    return floor;
}
