/* jobs.h -- inputs and outputs of jobs, with all arrays they need, ready for the pass of the set:
 * what the pass reads is data, what it writes by `=` and what it must leave alone is NaN. */
#ifndef PN_JOBS_H
#define PN_JOBS_H

#include "tests/support/set.h"

/* What an input or output is like; combined by |. Without PN_BATCH and PN_RUNNING: no norm. */
enum {
    PN_BATCH = 1,
    PN_RUNNING = 2,
    PN_AFFINE =
        4, /* gamma and beta, some gamma negative or 0, with gradients; running statistics */
    PN_FROZEN = 8, /* gamma and beta without gradients */
    PN_ADD = 16,   /* dx += */
    PN_NO_DX = 32,
    PN_FACTOR = 64,  /* dy comes with coef and a factor for each image */
    PN_OPEN = 128,   /* all x positive: without a norm, ReLU is the identity */
    PN_WEIGHT = 256, /* a term, or dy, comes with a weight; */
    PN_ZERO = 512,   /* with one that is 0; */
    PN_TINY = 1024,  /* with one that is 1e-30, of random numbers */
    PN_LEARNT = 2048 /* a term whose weight's gradient is wanted, whether it has a weight or not */
};

/* steps: most roundings in an element of dx. Keeps v of random numbers 1/1000 away from ReLU's
 * kink, so that float and double agree on which side they are. */
pn_input pn_set_input(pn_set *set, size_t pixels, int C, int like, int steps);

/* steps: most roundings in an element of z. */
pn_output pn_set_output(pn_set *set, int N, size_t image_pixels, int K, int like, int steps);

/* Factors of N images. */
float *pn_set_factor(pn_set *set, int N);

/* A weight, of either sign, as the bits say; NULL: none. */
float *pn_set_weight(pn_set *set, int like);

#endif
