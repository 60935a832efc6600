/* weights.h -- tensors of a network in safetensors files: checkpoints, weights that travel.
 *
 * Names and shapes are the outside's (network.h), so that any framework reads what is written. */
#ifndef PN_WEIGHTS_H
#define PN_WEIGHTS_H

#include "kernels/api.h"
#include "runtime/safetensors.h"
#include "search/network/genotype.h"
#include "search/network/images.h"
#include "search/network/network.h"

PN_API_BEGIN

/* Arrays to be written; owns the copies of all data and names. Zero is an empty one. */
typedef struct pn_tensors {
    pn_array *list;
    struct pn_owned *owned; /* the same names and data, to be freed */
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

/* Values and momenta, all of them: what a checkpoint holds of the parameters. */
pn_status pn_tensors_add_state(pn_tensors *tensors, const pn_parameters *p);
pn_status pn_weights_get_state(const pn_safetensors *file, const pn_parameters *p);

/* ---- weights that travel --------------------------------------------------------------------- */

/* An evaluation network's weights as PyTorch's state_dict has them. Names and shapes are those of
 * the public DARTS code, running statistics and num_batches_tracked included, no key missing and
 * none left over: load_state_dict(strict=True) takes the file. Metadata describe the network. */

/* What the metadata say. */
typedef struct pn_weights_about {
    bool known; /* the file carries them: it is one of ours */
    char genotype[PN_GENOTYPE_BYTES];
    pn_network_spec spec;
    pn_images images; /* of the same sizes as spec */
} pn_weights_about;

/* Writes the host's values to a file in a place, or, with a NULL place, to a path. `images`: what
 * images it was trained on, or NULL: nobody knows. `batches`: training steps that the running
 * statistics have seen. `auxiliary`: with the auxiliary head's, if the network has one. */
pn_status pn_weights_save(const pn_place *place, const char *name, const pn_network *network,
                          const pn_arch *arch, const pn_images *images, int64_t batches,
                          bool auxiliary);

/* PN_EINPUT if the metadata are there and wrong. */
pn_status pn_weights_describe(const pn_safetensors *file, pn_weights_about *about);
void pn_weights_about_free(pn_weights_about *about); /* an empty one is allowed */

/* Whether a file without metadata is of a network whose pools have a BatchNorm: it holds the scale
 * of one. */
bool pn_weights_pool_norm(const pn_safetensors *file, const pn_arch *arch, int layers);

/* PN_EINPUT unless the file holds every tensor of this network, in its shape: to be asked before
 * pn_parameters_allocate, since metadata of a few bytes can describe a network of gigabytes. */
pn_status pn_weights_backed(const pn_safetensors *file, const pn_network *network);

/* Fills the host's values of a network without auxiliary head. PN_EINPUT names the first tensor
 * that is missing, differs in shape, or belongs to no network of this genotype; an auxiliary head's
 * and num_batches_tracked may be there or not. */
pn_status pn_weights_load(const pn_safetensors *file, const pn_network *network);

PN_API_END

#endif
