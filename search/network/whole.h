/* whole.h -- a whole network with a random batch, run by a backend or by the twins in double. */
#ifndef PN_WHOLE_H
#define PN_WHOLE_H

#include "kernels/reference/backend.h"
#include "runtime/device_batch.h"
#include "search/network/network.h"

/* What float32 must reach, as for the golden files made with PyTorch. Where rounding decides a ReLU
 * or a maximum otherwise, single elements of a gradient differ; its norm hardly does. */
#define PN_LOGIT_BOUND 5e-5
#define PN_LOSS_BOUND 5e-5
#define PN_GRADIENT_BOUND 2e-2
#define PN_MIXTURE_BOUND 1e-4 /* of the gradient of a mixture's weights, as a vector */

/* And what bf16 must: every tensor between ops is off by up to 2^-8 of itself, 65,536 times as much
 * as by float32, and logits of some units by as many of them as there are cells. No image's
 * loss moves by more than twice what its logits do (the gradient of log softmax has a 1-norm of at
 * most 2). */
#define PN_LOGIT_BOUND_BF16 2e-1
#define PN_LOSS_BOUND_BF16 (2 * PN_LOGIT_BOUND_BF16)
#define PN_GRADIENT_BOUND_BF16 4e-1
#define PN_MIXTURE_BOUND_BF16 2e-1

/* Of tf32 an eighth of that: what is multiplied is rounded to 11 bits instead of to 8. An eighth as
 * many ReLUs are decided otherwise, too; each moves a gradient as far as one of bf16 does, and so
 * all of them together by the square root of that. */
#define PN_LOGIT_BOUND_TF32 (PN_LOGIT_BOUND_BF16 / 8)
#define PN_LOSS_BOUND_TF32 (PN_LOSS_BOUND_BF16 / 8)
#define PN_GRADIENT_BOUND_TF32 (PN_GRADIENT_BOUND_BF16 * .36)
#define PN_MIXTURE_BOUND_TF32 (PN_MIXTURE_BOUND_BF16 * .36)

/* Of fp16 a fourth: it rounds what is stored as tf32 does what is multiplied, and has both. Its
 * loss is scaled, so that few gradients are rounded to whole multiples of 2^-24. */
#define PN_LOGIT_BOUND_FP16 (PN_LOGIT_BOUND_BF16 / 4)
#define PN_LOSS_BOUND_FP16 (PN_LOSS_BOUND_BF16 / 4)
#define PN_GRADIENT_BOUND_FP16 (PN_GRADIENT_BOUND_BF16 * .5)
#define PN_MIXTURE_BOUND_FP16 (PN_MIXTURE_BOUND_BF16 * .5)
#define PN_WHOLE_SCALE 0x1p10F

#define PN_AUXILIARY_WEIGHT 0.4

typedef struct pn_whole_case {
    const char *why;
    pn_network_spec spec;
    int N;
    bool training, inference;
    bool auxiliary; /* with the auxiliary head, whose loss counts PN_AUXILIARY_WEIGHT */
    double keep;    /* drop-path: the probability that a term stays; 0: no drop-path */
} pn_whole_case;

/* What a supernet's edges are: see pn_mix. */
typedef struct pn_whole_mix {
    bool weighted;        /* false: without weights, whose gradients are wanted all the same */
    const int8_t *chosen; /* or NULL */
} pn_whole_mix;

/* Numbers that the host and the device have. */
typedef struct pn_whole_array {
    float *host, *placed; /* NULL: there are none */
    size_t count;
} pn_whole_array;

typedef struct pn_whole {
    pn_network network;
    pn_program *program;
    pn_program_size size;
    pn_arena arena;
    const pn_kernels *kernels;
    pn_device_batch device_batch;
    int heads;        /* 1, or with the auxiliary one 2 */
    pn_result *found; /* of each head, in memory of the device */
    pn_result result[2];
    float *scale; /* of the loss, in memory of the device, where gradients are fp16; or NULL */
    float *image;
    int32_t *labels;
    pn_whole_array factor;          /* of drop-path */
    pn_whole_array weight, dweight; /* of a mixture */
    float *logits;                  /* (heads,N,classes), copied after the forward pass */
    double *doubles;                /* of all that programs read and write, for the twins */
    pn_twin twin[6];
    pn_twins twins;
} pn_whole;

/* Initial weights, image (uniform in +-1.7), labels and what is dropped follow from the seed; in an
 * evaluation network also scales, shifts and running statistics are random. Gradients are zero. */
pn_status pn_whole_create(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                          const pn_kernels *k, uint64_t seed);
/* The same network, of which less is kept for backward: pn_program_recompute. */
pn_status pn_whole_create_recomputing(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                                      const pn_kernels *k, uint64_t seed);
void pn_whole_destroy(pn_whole *w);

/* A supernet with a mixture on its edges: its weights, random in 0..0.3, follow from the seed too.
 * With `keep` every edge is dropped alike. */
pn_status pn_whole_create_mixed(pn_whole *w, const pn_whole_case *c, const pn_whole_mix *mix,
                                const pn_kernels *k, uint64_t seed);

/* Forward, and backward if the case trains. */
pn_status pn_whole_run(pn_whole *w);

/* Creates and runs in double precision; the floats are addresses only. */
pn_status pn_whole_reference(pn_whole *w, const pn_whole_case *c, const pn_arch *arch,
                             uint64_t seed);
pn_status pn_whole_reference_mixed(pn_whole *w, const pn_whole_case *c, const pn_whole_mix *mix,
                                   uint64_t seed);
/* The passes of such a network once more, on the doubles as they are; no gradient is cleared. */
pn_status pn_whole_reference_run(pn_whole *w, bool backward);

/* Largest differences: of a logit, of a loss, and of a tensor's gradient norm, relative to it and
 * 1e-4 of the whole gradient's (pn_whole_floor); and of the gradient of a mixture's weights, as a
 * vector. */
typedef struct pn_whole_distance {
    double logit, loss, gradient, mixture;
} pn_whole_distance;
pn_whole_distance pn_whole_compare(const pn_whole *w, const pn_whole *reference);
pn_whole_distance pn_whole_bounds(const pn_kernels *k);
bool pn_whole_within(pn_whole_distance d, const pn_kernels *k);

/* How much of the whole gradient that is: of bf16 all of it, of fp16 .5, of tf32 .36. */
double pn_whole_floor(const pn_kernels *k);

/* Logits, loss, parameters, gradients and running statistics equal to the bit. */
bool pn_whole_same(const pn_whole *a, const pn_whole *b);

#endif
