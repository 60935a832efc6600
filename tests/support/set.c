/* set.c -- arrays between guards, their doubles, and random numbers of the tests' own. */
#include "tests/support/set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/halves.h"
#include "tests/support/reach.h"

/* Two NaNs that arithmetic does not make. */
static const uint32_t guard_bits = 0x7fc0dead, poison_bits = 0x7fc0beef;
enum { GUARD_BYTES = 256 }; /* a multiple of the alignment; wider than any vector store */

/* Anywhere, and any number of bytes: scratch is asked for in bytes. */
static void put(char *at, size_t bytes, uint32_t bits) {
    size_t i = 0;
    for (; i + sizeof bits <= bytes; i += sizeof bits) memcpy(at + i, &bits, sizeof bits);
    memcpy(at + i, &bits, bytes - i);
}

static bool holds(const char *at, size_t bytes, uint32_t bits) {
    for (size_t i = 0; i < bytes; i += sizeof bits)
        if (memcmp(at + i, &bits, sizeof bits) != 0) return false;
    return true;
}

static void put_guards(char *memory, size_t bytes) {
    put(memory - GUARD_BYTES, GUARD_BYTES, guard_bits);
    put(memory + bytes, GUARD_BYTES, guard_bits);
}

static void *allocate(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory) {
        fputs("tests: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *pn_guarded(size_t bytes) {
    char *memory = (char *)pn_reach(bytes + (size_t)2 * GUARD_BYTES) + GUARD_BYTES;
    put(memory, bytes, poison_bits);
    put_guards(memory, bytes);
    return memory;
}

bool pn_guards_hold(const void *memory, size_t bytes) {
    return holds((const char *)memory - GUARD_BYTES, GUARD_BYTES, guard_bits) &&
           holds((const char *)memory + bytes, GUARD_BYTES, guard_bits);
}

void pn_unguard(void *memory) {
    if (memory) pn_unreach((char *)memory - GUARD_BYTES);
}

void pn_set_begin(pn_set *set, uint64_t seed, bool whole, bool backward) {
    *set = (pn_set){.state = seed, .whole = whole, .exact = whole, .backward = backward};
}

void pn_set_end(pn_set *set) {
    for (int i = 0; i < set->count; i++) {
        pn_unguard(set->member[i].f);
        free(set->member[i].start);
        free(set->member[i].d);
        free(set->member[i].m);
        free(set->member[i].tolerance);
    }
    set->count = 0;
}

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014): not the library's own generator, which is
 * itself under test. */
static uint64_t random_bits(pn_set *set) {
    uint64_t z = set->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

double pn_set_real(pn_set *set, double lo, double hi) {
    return lo + (hi - lo) * (double)(random_bits(set) >> 11) * 0x1p-53;
}

int pn_set_whole(pn_set *set, int lo, int hi) {
    return lo + (int)(random_bits(set) % (uint64_t)(hi - lo + 1));
}

float *pn_set_poison(pn_set *set, const char *name, size_t count, int steps) {
    if (set->count == PN_MEMBERS) {
        fputs("tests: more arrays than PN_MEMBERS\n", stderr);
        abort();
    }
    pn_member *member = &set->member[set->count++];
    *member = (pn_member){.name = name, .count = count, .steps = steps};
    member->f = pn_guarded(count * sizeof *member->f);
    return member->f;
}

float *pn_set_data(pn_set *set, const char *name, size_t count, int whole, double real) {
    float *f = pn_set_poison(set, name, count, 0);
    for (size_t i = 0; i < count; i++)
        f[i] = set->whole ? (float)pn_set_whole(set, -whole, whole)
                          : (float)pn_set_real(set, -real, real);
    return f;
}

float *pn_set_result(pn_set *set, const char *name, size_t count, int steps, bool adds) {
    float *f = adds ? pn_set_data(set, name, count, 3, 1) : pn_set_poison(set, name, count, steps);
    pn_member *member = pn_set_find(set, f);
    member->steps = steps;
    member->must = member->multiplied = true;
    return f;
}

void *pn_set_stored(pn_set *set, void *f) {
    pn_member *member = pn_set_find(set, f);
    member->stored = true;
    member->coarse = 1;
    return f;
}

pn_member *pn_set_find(pn_set *set, const float *f) {
    for (int i = 0; i < set->count; i++)
        if (set->member[i].f == f) return &set->member[i];
    return NULL;
}

bool pn_set_has(const pn_set *set, const float *f) {
    for (int i = 0; i < set->count; i++)
        if (set->member[i].f == f) return true;
    return false;
}

static bool is_narrow(const pn_set *set, const pn_member *a) {
    return a->stored && set->storage != PN_STORED_FLOAT32;
}

void pn_set_freeze(pn_set *set) {
    for (int i = 0; i < set->count; i++) {
        pn_member *a = &set->member[i];
        for (size_t j = 0; j < a->count && is_narrow(set, a); j++)
            a->f[j] = pn_half_widen(set->storage, pn_half_narrow(set->storage, a->f[j]));
        if (!a->start) {
            a->start = allocate(a->count * sizeof *a->start);
            a->d = allocate(a->count * sizeof *a->d);
            a->m = allocate(a->count * sizeof *a->m);
        }
        memcpy(a->start, a->f, a->count * sizeof *a->f);
        for (size_t j = 0; j < a->count; j++) {
            const bool negative = a->minus >> (4 * j / a->count) & 1;
            a->d[j] = a->f[j];
            a->m[j] = negative ? -fabs(a->d[j]) : fabs(a->d[j]);
        }
        set->value[i] = (pn_twin){a->f, a->count, a->d};
        set->magnitude[i] = (pn_twin){a->f, a->count, a->m};
    }
}

pn_twins pn_set_values(const pn_set *set) { return (pn_twins){set->value, set->count}; }
pn_twins pn_set_magnitudes(const pn_set *set) { return (pn_twins){set->magnitude, set->count}; }

void pn_set_restore(pn_set *set) {
    for (int i = 0; i < set->count; i++) {
        pn_member *a = &set->member[i];
        memcpy(a->f, a->start, a->count * sizeof *a->f);
        if (is_narrow(set, a)) {
            uint16_t *halves = (uint16_t *)(void *)a->f;
            for (size_t j = 0; j < a->count; j++)
                halves[j] = pn_half_narrow(set->storage, a->start[j]);
            put((char *)(halves + a->count), a->count * sizeof *halves, guard_bits);
        }
        put_guards((char *)a->f, a->count * sizeof *a->f);
    }
    set->narrowed = set->storage != PN_STORED_FLOAT32;
}

void pn_set_widen(pn_set *set) {
    for (int i = 0; i < set->count && set->narrowed; i++) {
        const pn_member *a = &set->member[i];
        const uint16_t *halves = (const uint16_t *)(const void *)a->f;
        for (size_t j = a->count; a->stored && j-- > 0;)
            a->f[j] = pn_half_widen(set->storage, halves[j]);
    }
    set->narrowed = false;
}

const pn_member *pn_set_overrun(const pn_set *set) {
    for (int i = 0; i < set->count; i++) {
        const pn_member *a = &set->member[i];
        const size_t half = a->count * sizeof(uint16_t);
        if (!pn_guards_hold(a->f, a->count * sizeof(float))) return a;
        if (set->narrowed && a->stored && !holds((const char *)a->f + half, half, guard_bits))
            return a;
    }
    return NULL;
}

/* Is element j as at `start`? */
static bool as_begun(const pn_set *set, const pn_member *a, size_t j) {
    const void *now = &a->f[j], *then = &a->start[j]; /* bits: either may be a NaN */
    if (!set->narrowed || !a->stored) return memcmp(now, then, sizeof a->f[j]) == 0;
    return ((const uint16_t *)(const void *)a->f)[j] == pn_half_narrow(set->storage, a->start[j]);
}

const pn_member *pn_set_touched(const pn_set *set) {
    for (int i = 0; i < set->count; i++) {
        const pn_member *a = &set->member[i];
        for (size_t j = 0; j < a->count; j++)
            if (!as_begun(set, a, j)) return a;
    }
    return NULL;
}
