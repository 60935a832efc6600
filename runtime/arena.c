/* arena.c -- see arena.h. */
#include "runtime/arena.h"

#include <stdint.h>

#include "kernels/poison.h"

static size_t up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

bool pn_arena_checks(const pn_memory *memory) { return PN_POISONS && memory->plain; }

pn_status pn_arena_create(pn_arena *arena, const pn_memory *memory, size_t reserve, size_t limit) {
    *arena = (pn_arena){.memory = memory, .limit = limit, .checked = pn_arena_checks(memory)};
    void *base;
    if (reserve > SIZE_MAX / 2)
        return pn_fail(PN_EMEM, "arena: %zu bytes of address space, want half of all at most",
                       reserve);
    reserve = up(reserve ? reserve : 1, memory->unit);
    PN_TRY(memory->reserve(reserve, &base));
    arena->base = base;
    arena->reserved = reserve;
    return PN_OK;
}

void pn_arena_destroy(pn_arena *arena) {
    if (arena->base) {
        if (arena->checked) PN_UNPOISON(arena->base, arena->committed);
        arena->memory->unreserve(arena->base, arena->reserved, arena->committed);
    }
    *arena = (pn_arena){0};
}

pn_status pn_arena_commit(pn_arena *arena, size_t bytes) {
    const double mib = 1 << 20;
    if (bytes > arena->reserved)
        return pn_fail(PN_EMEM, "arena: %zu bytes wanted, %zu reserved", bytes, arena->reserved);
    if (arena->limit && bytes > arena->limit)
        return pn_fail(PN_EMEM,
                       "arena: this architecture needs %.1f MiB, the limit is %.1f MiB; a smaller "
                       "batch would fit",
                       (double)bytes / mib, (double)arena->limit / mib);
    if (bytes > arena->committed) {
        size_t want = up(bytes, arena->memory->unit), more = want - arena->committed;
        size_t available = arena->memory->available();
        if (more > available)
            return pn_fail(PN_EMEM,
                           "arena: %.1f MiB more are needed, %.1f MiB are available; a smaller "
                           "batch would fit",
                           (double)more / mib, (double)available / mib);
        void *base = arena->base;
        PN_TRY(arena->memory->commit(&base, arena->committed, want));
        arena->base = base;
        if (arena->checked) PN_POISON(arena->base + arena->committed, more);
        arena->committed = want;
    }
    if (bytes > arena->high_water) arena->high_water = bytes;
    return PN_OK;
}

void pn_arena_born(pn_arena *arena, size_t offset, size_t bytes) {
    if (!arena->checked) return;
    PN_UNPOISON(arena->base + offset, bytes);
    memset(arena->base + offset, 0xff, bytes); /* every float a NaN */
    PN_POISON(arena->base + offset + bytes, PN_GUARD);
}

pn_status pn_arena_died(pn_arena *arena, size_t offset, size_t bytes) {
    if (!arena->checked) return PN_OK;
    PN_POISON(arena->base + offset, bytes);
    const long lost = pn_poison_lost(arena->base + offset + bytes, PN_GUARD);
    if (lost < 0) return PN_OK;
    return pn_fail(PN_EDEVICE, "arena: byte %ld after the %zu bytes at %zu was overwritten", lost,
                   bytes, offset);
}
