/* arena.c -- reserve by mmap without access, commit by mprotect. */
#include "runtime/arena.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

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

enum { HUGE_PAGE = 2 << 20 };

static size_t up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

/* The first number in a file, or `otherwise`; "max" in a control group is not a number. */
static size_t number_in(const char *path, const char *format, size_t otherwise) {
    FILE *f = fopen(path, "re");
    if (!f) return otherwise;
    char line[256];
    size_t value = otherwise, found;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, format, &found) == 1) {
            value = found;
            break;
        }
    fclose(f);
    return value;
}

size_t pn_memory_available(void) {
    size_t kib = number_in("/proc/meminfo", "MemAvailable: %zu kB", SIZE_MAX >> 10);
    size_t limit = number_in("/sys/fs/cgroup/memory.max", "%zu", SIZE_MAX);
    size_t used = number_in("/sys/fs/cgroup/memory.current", "%zu", 0);
    size_t group = limit == SIZE_MAX ? SIZE_MAX : limit > used ? limit - used : 0;
    return kib << 10 < group ? kib << 10 : group;
}

bool pn_arena_checks(void) {
#if defined(PN_ASAN) || !defined(__OPTIMIZE__)
    return true;
#else
    return false;
#endif
}

pn_status pn_arena_create(pn_arena *arena, size_t reserve, size_t limit) {
    *arena = (pn_arena){.limit = limit};
    reserve = up(reserve ? reserve : 1, HUGE_PAGE);
    char *map = mmap(NULL, reserve + HUGE_PAGE, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return pn_fail(
            PN_EMEM,
            "arena: %.1f MiB of address space refused (%s), want a higher limit or a smaller batch",
            (double)reserve / (1 << 20), strerror(errno));
    /* What lies around the aligned part goes back, so that base..base+reserved is all there is. */
    char *base = map + (up((size_t)map, HUGE_PAGE) - (size_t)map);
    if (base > map) munmap(map, (size_t)(base - map));
    size_t tail = (size_t)(map + reserve + HUGE_PAGE - (base + reserve));
    if (tail) munmap(base + reserve, tail);
    arena->base = base;
    arena->reserved = reserve;
    arena->checked = pn_arena_checks();
    return PN_OK;
}

void pn_arena_destroy(pn_arena *arena) {
    if (arena->base) {
        UNPOISON(arena->base, arena->committed);
        munmap(arena->base, arena->reserved);
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
        size_t want = up(bytes, HUGE_PAGE), more = want - arena->committed;
        size_t available = pn_memory_available();
        if (more > available)
            return pn_fail(PN_EMEM,
                           "arena: %.1f MiB more are needed, %.1f MiB are available; a smaller "
                           "batch would fit",
                           (double)more / mib, (double)available / mib);
        char *from = arena->base + arena->committed;
        if (mprotect(from, more, PROT_READ | PROT_WRITE))
            return pn_fail(PN_EMEM, "arena: %.1f MiB more refused (%s); a smaller batch would fit",
                           (double)more / mib, strerror(errno));
        (void)madvise(from, more,
                      MADV_HUGEPAGE); /* worth about 3 % of a step; no loss if refused */
        if (arena->checked) POISON(from, more);
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
