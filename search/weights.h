/* weights.h -- tensors of a network in safetensors files: checkpoints, weights that travel.
 *
 * Names and shapes are the outside's (network.h), so that any framework reads what is written. */
#ifndef PN_WEIGHTS_H
#define PN_WEIGHTS_H

#include "runtime/parameters.h"
#include "runtime/safetensors.h"

/* Arrays to be written; owns the copies of all data and names. Zero is an empty one. */
typedef struct pn_tensors {
    pn_array *list;
    int count, capacity;
} pn_tensors;

/* Appends, of one of the host's three ranges (p->value, ...), the tensors whose flag is set (used
 * NULL: all) and whose role is among `roles` (bits 1 << pn_role), as PREFIX + name. */
pn_status pn_tensors_add(pn_tensors *tensors, const pn_parameters *p, const float *range,
                         const char *prefix, const bool *used, unsigned roles);
/* Appends a copy of one array. */
pn_status pn_tensors_add_array(pn_tensors *tensors, pn_array array);
void pn_tensors_free(pn_tensors *tensors);

enum { PN_ALL_ROLES = 1 << PN_ROLE_WEIGHT | 1 << PN_ROLE_AUXILIARY | 1 << PN_ROLE_STATE };

/* The other way: fills a range of the host's from a file. PN_EINPUT with the name of the first
 * tensor that is missing, or of another shape. */
pn_status pn_weights_get(const pn_safetensors *file, const pn_parameters *p, float *range,
                         const char *prefix, const bool *used, unsigned roles);

#endif
