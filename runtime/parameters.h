/* parameters.h -- the shared weights: enumerated once, in a fixed order, with names.
 *
 * They exist twice where kernels do not work in the host's memory: what the kernels read and write
 * (`device`), and what the host reads and writes (value, gradient, momentum); push and pull carry
 * all three ranges across. On the host both are one.
 *
 * Values, gradient and momentum are three equal ranges of floats in one block, so that zeroing,
 * the update and a checkpoint each are one pass over a stretch; where gradients are gathered
 * elsewhere (units.h) there are two. Inside the ranges a tensor has
 * the layout its kernel reads (kernels.h); names and shapes as the outside sees them are
 * PyTorch's, and pn_parameters_get/_set translate. */
#ifndef PN_PARAMETERS_H
#define PN_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/kernels.h"
#include "kernels/memory.h"

PN_API_BEGIN

/* How the outside's (O,I,kh,kw), row-major, lies inside. */
typedef enum pn_layout {
    PN_LAYOUT_SAME,  /* vectors */
    PN_LAYOUT_CONV,  /* (O,I,kh,kw) -> (kh,kw,I,O): depthwise (C,1,R,R), pointwise, stem */
    PN_LAYOUT_LINEAR /* (O,I) -> (I,O) */
} pn_layout;

typedef enum pn_init {
    PN_INIT_UNIFORM, /* U(-b, b), b = 1/sqrt(fan_in): PyTorch's default for conv and linear */
    PN_INIT_ONE,
    PN_INIT_ZERO
} pn_init;

typedef enum pn_role {
    PN_ROLE_WEIGHT,    /* learnt, counted */
    PN_ROLE_AUXILIARY, /* learnt, counted apart: the auxiliary head */
    PN_ROLE_STATE      /* not learnt: running statistics; has no gradient worth reading */
} pn_role;

typedef struct pn_parameter {
    char name[80];
    int rank, shape[4]; /* the outside's */
    size_t count;       /* product of the shape */
    size_t offset;      /* floats from the start of each range */
    int fan_in;
    pn_layout layout;
    pn_init init;
    pn_role role;
} pn_parameter;

typedef struct pn_parameters {
    pn_parameter *list;
    int count, capacity;
    size_t floats;    /* length of one range */
    bool no_gradient; /* there is no such range: gradient is NULL. Set before allocating */
    float *block;     /* values, gradient, momentum; NULL until pn_parameters_allocate */
    size_t block_bytes;
    float *value, *gradient, *momentum;
    const pn_memory *memory;
    struct {
        float *block, *value, *gradient, *momentum;
    } device;
} pn_parameters;

/* Appends a tensor and gives back its index. `adjacent`: it must follow the one before without a
 * gap (the two halves of a factorized reduce); otherwise it begins at a multiple of 16 floats.
 * PN_EARG for an edge below 1, and where pn_parameters_bytes would overflow. */
pn_status pn_parameters_add(pn_parameters *p, const char *name, pn_layout layout, pn_init init,
                            pn_role role, int fan_in, bool adjacent, int rank, const int *shape,
                            int *index);

/* Allocates the ranges, zero-filled, when all tensors are known. PN_EMEM. */
pn_status pn_parameters_allocate(pn_parameters *p, const pn_memory *memory);
void pn_parameters_destroy(pn_parameters *p);

/* The host's ranges to the device; the device's to the host, waiting for them. */
pn_status pn_parameters_push(const pn_parameters *p);
pn_status pn_parameters_pull(const pn_parameters *p);

/* Fills all values from the seed; gradient and momentum become 0. The draw of an element depends
 * on seed, tensor index and element only. On the host: push follows. */
void pn_parameters_init(pn_parameters *p, uint64_t seed);

/* Copies tensor `index` out of or into a range (p->value, ->gradient, ->momentum) in the
 * outside's layout; `out`/`in` hold list[index].count floats. */
void pn_parameters_get(const pn_parameters *p, const float *range, int index, float *out);
void pn_parameters_set(const pn_parameters *p, float *range, int index, const float *in);

/* Index of a name, or -1. */
int pn_parameters_find(const pn_parameters *p, const char *name);

/* Bytes of one range, and of the ranges together. */
size_t pn_parameters_range_bytes(const pn_parameters *p);
size_t pn_parameters_bytes(const pn_parameters *p);

/* The tensors wanted[index] as stretches of a range: neighbours become one, with the few floats of
 * padding between. Gives their number; at most p->count. */
int pn_parameters_ranges(const pn_parameters *p, const bool *wanted, pn_range *ranges);

PN_API_END

#endif
