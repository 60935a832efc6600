/* rng.c -- Philox4x32-10 after Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as
 * 1, 2, 3" (SC 2011).
 *
 * The key is the seed. The 128-bit counter holds the rest, each in bits of its own, so that no
 * two uses ever meet: 48 bits of index, 16 of stream, 64 of step. Philox is a bijection of the
 * counter, hence different counters of one seed give different blocks. */
#include "runtime/rng.h"

#include <assert.h>

enum { ROUNDS = 10, FEISTEL_ROUNDS = 8 };

/* Numbers of a permutation's round functions have this bit in their index (and the round at bit
 * 40), so that one stream can serve both pn_permute and direct draws. */
#define PERMUTATION ((uint64_t)1 << 47)

static pn_random4 philox4x32(pn_random4 counter, uint32_t key0, uint32_t key1) {
    uint32_t *c = counter.v;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53 * c[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57 * c[2];
        c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ key0;
        c[1] = (uint32_t)p1;
        c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ key1;
        c[3] = (uint32_t)p0;
        key0 += 0x9E3779B9; /* the golden ratio, and sqrt(3) - 1, as Weyl sequences */
        key1 += 0xBB67AE85;
    }
    return counter;
}

pn_random4 pn_random(uint64_t seed, pn_stream_id stream, uint64_t step, uint64_t index) {
    assert(index >> 48 == 0 && (uint32_t)stream >> 16 == 0);
    pn_random4 counter = {{(uint32_t)index, (uint32_t)(index >> 32) | (uint32_t)stream << 16,
                           (uint32_t)step, (uint32_t)(step >> 32)}};
    return philox4x32(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
}

static uint64_t random64(uint64_t seed, pn_stream_id stream, uint64_t step, uint64_t index) {
    pn_random4 r = pn_random(seed, stream, step, index);
    return (uint64_t)r.v[0] << 32 | r.v[1];
}

double pn_uniform(uint64_t seed, pn_stream_id stream, uint64_t step, uint64_t index) {
    return (double)(random64(seed, stream, step, index) >> 11) * 0x1p-53;
}

uint32_t pn_random_below(uint64_t seed, pn_stream_id stream, uint64_t step, uint64_t index,
                         uint32_t n) {
    assert(n > 0);
    return (uint32_t)((unsigned __int128)random64(seed, stream, step, index) * n >> 64);
}

uint32_t pn_permute(uint64_t seed, pn_stream_id stream, uint64_t which, uint32_t n, uint32_t i) {
    assert(i < n);
    int bits = 3; /* of one half: smaller networks are visibly uneven, however many rounds */
    while ((uint64_t)1 << 2 * bits < n) bits++;
    const uint32_t mask = (uint32_t)(((uint64_t)1 << bits) - 1);
    do { /* the walk stays on the cycle of i, which comes back below n at i itself at the latest */
        uint32_t left = i >> bits, right = i & mask;
        for (int round = 0; round < FEISTEL_ROUNDS; round++) {
            uint64_t index = PERMUTATION | (uint64_t)round << 40 | right;
            uint32_t next = left ^ (pn_random(seed, stream, which, index).v[0] & mask);
            left = right;
            right = next;
        }
        i = left << bits | right;
    } while (i >= n);
    return i;
}
