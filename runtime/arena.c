/* arena.c -- see arena.h. */
#include "runtime/arena.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define PN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PN_ASAN 1
#endif
#endif

#ifdef PN_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) memset(p, 0xff, n)
#define UNPOISON(p, n) (void)0
#endif

static size_t up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

bool pn_arena_checks(const pn_memory *memory) {
#if defined(PN_ASAN) || !defined(__OPTIMIZE__)
    return memory->plain;
#else
    (void)memory;
    return false;
#endif
}

pn_status pn_arena_create(pn_arena *arena, const pn_memory *memory, size_t reserve, size_t limit) {
    *arena = (pn_arena){.memory = memory, .limit = limit, .checked = pn_arena_checks(memory)};
    void *base;
    reserve = up(reserve ? reserve : 1, memory->unit);
    PN_TRY(memory->reserve(reserve, &base));
    arena->base = base;
    arena->reserved = reserve;
    return PN_OK;
}

void pn_arena_destroy(pn_arena *arena) {
    if (arena->base) {
        if (arena->checked) UNPOISON(arena->base, arena->committed);
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
        if (arena->checked) POISON(arena->base + arena->committed, more);
        arena->committed = want;
    }
    if (bytes > arena->high_water) arena->high_water = bytes;
    return PN_OK;
}

void pn_arena_born(pn_arena *arena, size_t offset, size_t bytes) {
    if (!arena->checked) return;
    UNPOISON(arena->base + offset, bytes);
    memset(arena->base + offset, 0xff, bytes); /* every float a NaN */
    POISON(arena->base + offset + bytes, PN_GUARD);
}

pn_status pn_arena_died(pn_arena *arena, size_t offset, size_t bytes) {
    if (!arena->checked) return PN_OK;
    POISON(arena->base + offset, bytes);
#ifndef PN_ASAN
    const unsigned char *guard = (const unsigned char *)arena->base + offset + bytes;
    for (int i = 0; i < PN_GUARD; i++)
        if (guard[i] != 0xff)
            return pn_fail(PN_EDEVICE, "arena: byte %d after the %zu bytes at %zu was overwritten",
                           i, bytes, offset);
#endif
    return PN_OK;
}
