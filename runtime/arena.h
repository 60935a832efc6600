/* arena.h -- one block of memory for the activations, their gradients and scratch of a step.
 *
 * Address space for the largest program is reserved once; memory is committed for the largest
 * program that really came. Committed memory is kept between programs: giving pages back and
 * faulting them in again would cost more than a small step. */
#ifndef PN_ARENA_H
#define PN_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/api.h"
#include "kernels/memory.h"

PN_API_BEGIN

typedef struct pn_arena {
    const pn_memory *memory;
    char *base;        /* of that memory, aligned to 2 MiB */
    size_t reserved;   /* bytes of address space */
    size_t committed;  /* bytes that may be touched */
    size_t high_water; /* most bytes any program has asked for */
    size_t limit;      /* most bytes that may be committed; 0 = none */
    bool checked;      /* dead memory is poisoned; see pn_arena_born */
} pn_arena;

/* Whether arenas of this memory are checked: it is the host's, in a debug build or one with
 * AddressSanitizer. */
bool pn_arena_checks(const pn_memory *memory);

/* Reserves address space of `memory`. limit: a promise of the user (--memory), 0 = none.
 * PN_EMEM. */
pn_status pn_arena_create(pn_arena *arena, const pn_memory *memory, size_t reserve, size_t limit);
void pn_arena_destroy(pn_arena *arena);

/* Makes base[0..bytes) usable. What is there stays, unless memory->moves. PN_EMEM names what is
 * needed and what there is. */
pn_status pn_arena_commit(pn_arena *arena, size_t bytes);

/* In a checked arena (debug builds, and builds with AddressSanitizer) every buffer has a guard of
 * PN_GUARD bytes behind it, and memory that no buffer owns is poisoned. Born fills
 * base[offset..offset+bytes) with NaN and opens it; died closes it and its guard. So a use before
 * the first write shows as NaN, a use after death or past the end faults under ASan, and without
 * ASan a write past the end is found at death: PN_EDEVICE. Elsewhere both do nothing. */
enum { PN_GUARD = 64 };
void pn_arena_born(pn_arena *arena, size_t offset, size_t bytes);
pn_status pn_arena_died(pn_arena *arena, size_t offset, size_t bytes);

PN_API_END

#endif
