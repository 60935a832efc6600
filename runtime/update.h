/* update.h -- from the samples of a step to new weights: importance weights online, one gradient
 * buffer, clipping and SGD over what the step's architectures touched.
 *
 * Weights that no architecture of a step uses are left alone altogether (no decay, no momentum),
 * as PyTorch leaves a parameter without gradient: a search step costs what its samples cost, not
 * what the space costs. */
#ifndef PN_UPDATE_H
#define PN_UPDATE_H

#include "kernels/api.h"
#include "kernels/kernels.h"
#include "runtime/parameters.h"
#include "runtime/program.h"

PN_API_BEGIN

typedef struct pn_update_state {
    pn_importance weights;
    double norm; /* of the last gradient before clipping; NaN or infinite: nothing was applied */
} pn_update_state;

typedef struct pn_update {
    const pn_kernels *kernels;
    pn_parameters *parameters;
    bool *touched;    /* by the samples of this step, per parameter */
    pn_range *ranges; /* the same as stretches of the flat ranges */
    int range_count;
    pn_update_state *device; /* in memory of the device: what the kernels write */
    pn_update_state state;   /* the same as of the last pn_update_read */
    void *scratch;
    pn_launch launch;
} pn_update;

/* Allocates for the worst case. The parameters must have their memory. PN_EMEM. */
pn_status pn_update_create(pn_update *u, const pn_kernels *kernels, pn_parameters *parameters);
void pn_update_destroy(pn_update *u);

/* A new step: clears the gradient where the last step touched it, and the weights. */
pn_status pn_update_begin(pn_update *u);

/* Between a sample's forward and its backward: takes its log-likelihood into the online weights
 * and rescales the gradient gathered so far. Then run backward with scale = pn_update_scale(u). */
pn_status pn_update_sample(pn_update *u, const pn_program *program, const pn_result *result,
                           double temperature, double skip_below);

/* The weight of the sample at hand, in memory of the device. */
const float *pn_update_scale(const pn_update *u);

/* Divides by the sum of weights, clips, steps. */
pn_status pn_update_apply(pn_update *u, pn_sgd sgd);

/* Waits, and gets u->state. */
pn_status pn_update_read(pn_update *u);

PN_API_END

#endif
