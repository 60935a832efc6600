/* rng.h -- random numbers without a state: Philox4x32-10 (Salmon et al., SC 2011).
 *
 * A number is a function of (seed, stream, step, index). Nothing of a generator needs saving
 * for a run to continue, and threads may draw in any order. */
#ifndef PN_RNG_H
#define PN_RNG_H

#include <stdint.h>

#include "kernels/api.h"

PN_API_BEGIN

/* What a stream of numbers is for. New streams go to the end: the value is part of the key. */
typedef enum pn_stream_id {
    PN_STREAM_INIT,      /* initial weights */
    PN_STREAM_SPLIT,     /* which half an image belongs to */
    PN_STREAM_SHUFFLE,   /* order of the training half */
    PN_STREAM_SHUFFLE2,  /* order of the validation half */
    PN_STREAM_AUGMENT,   /* crop and flip */
    PN_STREAM_SAMPLE,    /* architectures */
    PN_STREAM_SYNTHETIC, /* images of the built-in data set */
    PN_STREAM_DROP_PATH,
    PN_STREAM_TEST,
    PN_STREAM_GUMBEL /* logits of a mixture, and its noise */
} pn_stream_id;

/* Four independent 32-bit words for counter (step, index) under key (seed, stream). The index is
 * below 2^47 (pn_permute uses the indices from there to 2^48, which is the end). */
typedef struct pn_random4 {
    uint32_t v[4];
} pn_random4;
pn_random4 pn_random(uint64_t seed, pn_stream_id stream, uint64_t step, uint64_t index);

/* A double in [0, 1) with 53 random bits, made of the first two words. */
double pn_uniform(uint64_t seed, pn_stream_id stream, uint64_t step, uint64_t index);

/* A whole number in 0..n-1 (n > 0), without bias worth speaking of (64-bit multiply-shift). */
uint32_t pn_random_below(uint64_t seed, pn_stream_id stream, uint64_t step, uint64_t index,
                         uint32_t n);

/* Item i of a random permutation of 0..n-1, in O(1) memory: a Feistel network over the next
 * power of four (64 at least), walked until it lands below n. `which` names the permutation (an
 * epoch). */
uint32_t pn_permute(uint64_t seed, pn_stream_id stream, uint64_t which, uint32_t n, uint32_t i);

PN_API_END

#endif
