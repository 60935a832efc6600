/* memory.c -- the host's memory: address space by mmap without access, opened by mprotect; copies
 * are copies. */
#include "kernels/memory.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };
static const double mib = 1 << 20;

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

/* What the system calls available, or less if a control group says so. */
static size_t available(void) {
    size_t kib = number_in("/proc/meminfo", "MemAvailable: %zu kB", SIZE_MAX >> 10);
    size_t limit = number_in("/sys/fs/cgroup/memory.max", "%zu", SIZE_MAX);
    size_t used = number_in("/sys/fs/cgroup/memory.current", "%zu", 0);
    size_t group = limit == SIZE_MAX ? SIZE_MAX : limit > used ? limit - used : 0;
    return kib << 10 < group ? kib << 10 : group;
}

/* Large blocks lie on huge pages, as the arena does. */
static pn_status allocate(size_t bytes, void **block) {
    const size_t unit = bytes < HUGE_PAGE ? 256 : HUGE_PAGE;
    *block = bytes < SIZE_MAX / 2 ? aligned_alloc(unit, (bytes + unit) / unit * unit) : NULL;
    if (!*block) return pn_fail(PN_EMEM, "memory: %.1f MiB refused", (double)bytes / mib);
    if (unit == HUGE_PAGE) (void)madvise(*block, bytes, MADV_HUGEPAGE);
    memset(*block, 0, bytes);
    return PN_OK;
}

static pn_status reserve(size_t bytes, void **out) {
    char *map = mmap(NULL, bytes + HUGE_PAGE, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return pn_fail(
            PN_EMEM,
            "arena: %.1f MiB of address space refused (%s), want a higher limit or a smaller batch",
            (double)bytes / mib, strerror(errno));
    /* What lies around the aligned part goes back, so that base..base+bytes is all there is. */
    char *base = map + (HUGE_PAGE - (size_t)map % HUGE_PAGE) % HUGE_PAGE;
    if (base > map) munmap(map, (size_t)(base - map));
    size_t tail = (size_t)(map + bytes + HUGE_PAGE - (base + bytes));
    if (tail) munmap(base + bytes, tail);
    *out = base;
    return PN_OK;
}

static pn_status commit(void **base, size_t from, size_t to) {
    char *begin = (char *)*base + from;
    if (mprotect(begin, to - from, PROT_READ | PROT_WRITE))
        return pn_fail(PN_EMEM, "arena: %.1f MiB more refused (%s); a smaller batch would fit",
                       (double)(to - from) / mib, strerror(errno));
    (void)madvise(begin, to - from,
                  MADV_HUGEPAGE); /* worth about 3 % of a step; no loss if refused */
    return PN_OK;
}

static void unreserve(void *base, size_t bytes, size_t committed) {
    (void)committed;
    munmap(base, bytes);
}

static pn_status copy(void *to, const void *from, size_t bytes) {
    if (to != from) memcpy(to, from, bytes);
    return PN_OK;
}

static pn_status clear(void *to, size_t bytes) {
    memset(to, 0, bytes);
    return PN_OK;
}

static pn_status mark(int64_t *out) {
    *out = 0;
    return PN_OK;
}

static pn_status wait(int64_t at) {
    (void)at;
    return PN_OK;
}

static pn_stream stream(void) { return NULL; }

const pn_memory pn_host_memory = {
    .plain = 1,
    .allocate = allocate,
    .release = free,
    .stage = allocate,
    .unstage = free,
    .unit = HUGE_PAGE,
    .reserve = reserve,
    .commit = commit,
    .unreserve = unreserve,
    .available = available,
    .upload = copy,
    .download = copy,
    .copy = copy,
    .clear = clear,
    .mark = mark,
    .wait = wait,
    .stream = stream,
};
