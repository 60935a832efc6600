/* reach.c -- see reach.h. Page-locked memory takes the driver a fraction of a millisecond a block,
 * and tests take hundreds of thousands: they are cut from large ones. */
#include "tests/support/reach.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/backend.h"

enum { ALIGNMENT = 64, MOST_POOLS = 64 };
static const size_t pool_bytes = (size_t)64 << 20;

static struct { char *begin, *end; } pool[MOST_POOLS];
static int pools;
static char *at;  /* in the last pool: what is free begins here */
static long live; /* blocks; when there is none, the last pool is free again */

const pn_kernels *pn_only_backend(void) {
    const char *name = getenv("PN_TEST_BACKEND");
    const pn_kernels *k;
    if (!name) return NULL;
    if (pn_backend_open(name, &k) != PN_OK) fail_msg("PN_TEST_BACKEND: %s", pn_error());
    return k;
}

static const pn_memory *memory_apart(void) {
    const pn_kernels *k = pn_only_backend();
    return k && !k->memory->plain ? k->memory : NULL;
}

static void out_of_memory(void) {
    fputs("tests: out of memory\n", stderr);
    abort();
}

static void add_pool(const pn_memory *memory, size_t bytes) {
    void *block = NULL;
    if (bytes < pool_bytes) bytes = pool_bytes;
    if (pools == MOST_POOLS || memory->stage(bytes, &block) != PN_OK) out_of_memory();
    pool[pools].begin = at = block;
    pool[pools].end = at + bytes;
    pools++;
}

void *pn_reach(size_t bytes) {
    const pn_memory *memory = memory_apart();
    void *block = NULL;
    if (!memory) {
        if (posix_memalign(&block, ALIGNMENT, bytes ? bytes : 1)) out_of_memory();
        return block;
    }
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!pools || bytes > (size_t)(pool[pools - 1].end - at)) add_pool(memory, bytes);
    block = at;
    at += bytes;
    live++;
    return block;
}

void pn_unreach(void *memory) {
    if (!memory) return;
    if (!memory_apart())
        free(memory);
    else if (--live == 0)
        at = pool[pools - 1].begin;
}

/* Where Linux puts programs, heaps, libraries and stacks on x86-64. Two ints beside each other, or
 * a float, make no such word, nor does a small int with what was left in the padding behind it.
 * Elsewhere nothing is found. */
bool pn_out_of_reach(size_t word) {
    const uint64_t high = (uint64_t)word >> 40;
    if (!memory_apart() || high < 0x50 || high > 0x7f || (uint32_t)word < 1 << 16) return false;
    for (int i = 0; i < pools; i++)
        if (word >= (size_t)pool[i].begin && word < (size_t)pool[i].end) return false;
    return true;
}

pn_status pn_finish(const pn_kernels *k) {
    int64_t mark;
    PN_TRY(k->memory->mark(&mark));
    return k->memory->wait(mark);
}
