/* poison.h -- memory that nobody may touch for a while, in builds that look: with AddressSanitizer
 * a touch ends the program; in a debug build the memory is filled with NaN and looked at again.
 * Elsewhere nothing is done. */
#ifndef PN_POISON_H
#define PN_POISON_H

#include <stddef.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define PN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PN_ASAN 1
#endif
#endif

#ifndef PN_POISONS /* a build may ask for it: coverage does */
#if defined(PN_ASAN) || !defined(__OPTIMIZE__)
#define PN_POISONS 1
#else
#define PN_POISONS 0
#endif
#endif

#ifdef PN_ASAN
#include <sanitizer/asan_interface.h>
#define PN_POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define PN_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define PN_POISON(p, n) memset(p, 0xff, n)
#define PN_UNPOISON(p, n) (void)0
#endif

/* The first byte of poisoned memory that was written to, or -1. */
static inline long pn_poison_lost(const void *memory, size_t bytes) {
#ifdef PN_ASAN
    (void)memory; /* it would have ended the program */
    (void)bytes;
#else
    const unsigned char *at = (const unsigned char *)memory;
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != 0xff) return (long)i;
#endif
    return -1;
}

#endif
