/* update.h -- from the passes of a step to new weights: their gradients, clipping and SGD over what
 * the step's architectures touched. A step of one pass adds to the parameters' gradient range; of
 * several the sum is exact (units.h).
 *
 * Weights that no architecture of a step uses are left alone altogether (no decay, no momentum),
 * as PyTorch leaves a parameter without gradient: a search step costs what its samples cost, not
 * what the space costs. */
#ifndef PN_UPDATE_H
#define PN_UPDATE_H

#include "kernels/api.h"
#include "kernels/kernels.h"
#include "runtime/loss_scale.h"
#include "runtime/parameters.h"
#include "runtime/program.h"
#include "runtime/units.h"

PN_API_BEGIN

/* Passes of a step that run at once are of several flights, each a stream beside the step's own.
 * What one knows of the samples so far, the others do not: so some run backward that would be
 * skipped if there were one flight, and count for nothing all the same (pn_share). */
enum { PN_FLIGHTS = PN_STREAMS - 1 };

typedef struct pn_update_state {
    pn_importance weights[PN_FLIGHTS];
    float scale; /* 1, or 1 / S; NaN: the gradients of several units have no sum */
    double norm; /* of the last gradient before clipping; NaN or infinite: nothing was applied */
} pn_update_state;

typedef struct pn_update {
    const pn_kernels *kernels;
    pn_parameters *parameters;
    pn_units units;        /* none: its kernels are NULL */
    pn_loss_scale loss;    /* S of the steps to come, of backends that store fp16 */
    const float *gradient; /* what apply takes */
    pn_arena *arena;       /* where that lies, if in one */
    bool *touched;         /* by the pass of this step, per parameter */
    pn_range *ranges;      /* the same as stretches of the flat ranges */
    int range_count;
    pn_update_state *device; /* in memory of the device: what the kernels write */
    pn_update_state start;   /* what a step begins with, to upload from */
    pn_update_state state;   /* the same as of the last pn_update_read */
    void *scratch;
    pn_launch launch;
} pn_update;

/* Allocates for the worst case. The parameters must have their memory. units: of steps of several,
 * whose parameters have no gradient; NULL: a step is one pass. PN_EMEM. */
pn_status pn_update_create(pn_update *u, const pn_kernels *kernels, pn_parameters *parameters,
                           const pn_unit_counts *units);
void pn_update_destroy(pn_update *u);

/* A new step: clears the gradient where the last step touched it, and the weights. */
pn_status pn_update_begin(pn_update *u);

/* Between a sample's forward and its backward, of one shard: finds out whether it can matter, by
 * what was in this flight so far; without several, in 0. Then run backward with scale =
 * pn_update_scale(u, flight). Of the one pass of a step it also says what is touched. */
pn_status pn_update_sample(pn_update *u, int flight, const pn_program *program,
                           const pn_result *result, double temperature, double skip_below);

/* 1, or S, or 0 if the sample at hand in the flight cannot matter, in memory of the device. Of a
 * unit that is weighed later: S; NULL if that is 1. */
const float *pn_update_scale(const pn_update *u, int flight);
const float *pn_update_full_scale(const pn_update *u);

/* After the backward pass of unit (k, d), where S is not 1: pn_units_scale by 1 / S. */
pn_status pn_update_unscale(pn_update *u, int k, int d);

/* After all units, before apply: pn_units_room, and pn_units_sum. The arena is then the sum's. */
pn_status pn_update_room(pn_update *u, pn_arena *arena);
pn_status pn_update_sum(pn_update *u, const pn_result *found, double temperature,
                        double skip_below);

/* Clips, steps. */
pn_status pn_update_apply(pn_update *u, pn_sgd sgd);

/* Bytes of values, momenta and all gradients; and without those of units that others run. */
size_t pn_update_bytes(const pn_update *u);
size_t pn_update_bytes_here(const pn_update *u);

/* Waits, and gets u->state. */
pn_status pn_update_read(pn_update *u);

/* After pn_update_read of a step that was applied: pn_loss_scale_judge of its norm, which becomes 0
 * if the step was skipped. */
bool pn_update_skipped(pn_update *u);

/* Weights elsewhere, for samples of the same step whose program is bound to them; the parameters'
 * own, and their momentum, stay as they are. value, velocity and along: as large as a range of the
 * parameters, in memory of the device. Both wait, leave in u->state.norm the length of what they
 * went along, and end like pn_update_begin: the gradient so far is gone.
 *
 * ahead: value = where pn_update_apply would take the weights, but without clipping; velocity is
 * overwritten. If the norm is not finite, value = the weights.
 * aside: value = weights + step / |along| * along, over what the samples since the last of these
 * calls touched; the rest of value stays. With |along| = 0 it is the weights. */
pn_status pn_update_ahead(pn_update *u, pn_sgd sgd, float *value, float *velocity);
pn_status pn_update_aside(pn_update *u, const float *along, float step, float *value);

PN_API_END

#endif
