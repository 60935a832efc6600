/* predictor.h -- an evaluation network that stands ready for batches of images: its program is built
 * when another number of images comes, not for each batch. BatchNorm takes its running statistics,
 * so that an image's logits depend on that image alone. */
#ifndef PN_PREDICTOR_H
#define PN_PREDICTOR_H

#include "kernels/api.h"
#include "runtime/device_batch.h"
#include "search/network/network.h"

PN_API_BEGIN

/* Network, architecture, program and arena are the caller's, and outlive it. */
typedef struct pn_predictor {
    const pn_kernels *kernels;
    pn_network *network;
    const pn_arch *arch;
    pn_program *program;
    pn_arena *arena;
    pn_device_batch batch;
    pn_result *found; /* in memory of the device */
    int N;            /* most images a batch */
    int built;        /* images that the program is for; 0: none */
    pn_batch bound;   /* what it was bound to; zero: nothing */
} pn_predictor;

/* For batches of up to N images. The weights are on the device. PN_EMEM. */
pn_status pn_predictor_create(pn_predictor *predictor, const pn_kernels *kernels,
                              pn_network *network, const pn_arch *arch, pn_program *program,
                              pn_arena *arena, int N);
void pn_predictor_destroy(pn_predictor *predictor); /* zero is allowed */

/* Overwrites logits (n,classes) by those of a batch of the host's; its labels, which may be any
 * class, change nothing. What the arena held is lost. */
pn_status pn_predictor_run(pn_predictor *predictor, const pn_batch *batch, float *logits);

/* To be called when another program has used the arena. */
void pn_predictor_forget(pn_predictor *predictor);

/* Bytes of the arena that batches of N commit. */
pn_status pn_predict_bytes(const pn_network *network, const pn_arch *arch, pn_program *program,
                           const pn_memory *memory, int N, size_t *bytes);

PN_API_END

#endif
