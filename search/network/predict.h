/* predict.h -- what a network with given weights says of a set of images. BatchNorm takes its
 * running statistics, so that an image's logits depend on that image alone. */
#ifndef PN_PREDICT_H
#define PN_PREDICT_H

#include "kernels/api.h"
#include "runtime/batches.h"
#include "runtime/device_batch.h"
#include "search/network/network.h"

PN_API_BEGIN

struct pn_group;

/* An evaluation network ready to be run on batches: with weights that are on the device, and a
 * program and an arena of the caller's, which are its own until it is closed. */
typedef struct pn_inference {
    const pn_kernels *kernels;
    pn_network *network;
    const pn_arch *arch;
    pn_program *program;
    pn_arena *arena;
    pn_device_batch batch;
    pn_result *found; /* in memory of the device */
    int n;            /* images a batch that the program is for; 0: for none yet */
} pn_inference;

/* *inference has its first five members; for batches of up to N images. PN_EMEM; close it after a
 * failure too. */
pn_status pn_inference_open(pn_inference *inference, int N);
void pn_inference_close(pn_inference *inference);

/* Logits (n,classes) of one batch, finite or not. */
pn_status pn_inference_run(pn_inference *inference, const pn_batch *batch, float *logits);

typedef struct pn_predictions {
    int images, classes;
    double loss; /* mean cross-entropy, nats */
    int64_t correct;
    int64_t *confusion; /* (classes,classes): label, then largest logit (the first of equals) */
    float *logits;      /* (images,classes), in the order of the data set */
} pn_predictions;

/* Runs an evaluation network whose weights are on the device over a data set, or over the half that
 * `seed` splits off as a training's batches do (batches.h), in batches of N, with a program and an
 * arena of the caller's (what they held is lost). To be freed. Of a group of processes
 * (runtime/group.h) each runs its share of the batches, and all get the whole; NULL: one.
 * PN_EARG if the network has another number of classes or another kind of images than the data;
 * PN_EDIVERGED if a logit is not finite. */
pn_status pn_predict(const pn_kernels *kernels, pn_network *network, const pn_arch *arch,
                     pn_program *program, pn_arena *arena, int N, const pn_data *data, pn_half half,
                     uint64_t seed, struct pn_group *group, pn_predictions *out);
void pn_predictions_free(pn_predictions *predictions);

double pn_predictions_accuracy(const pn_predictions *predictions); /* 0..1 */

/* Cross-entropy (nats) of one image's logits and its label; *best: the class of the largest logit,
 * the first of equals. */
double pn_cross_entropy(const float *logits, int classes, int label, int *best);

/* Bytes of the arena that pn_predict commits. */
pn_status pn_predict_bytes(const pn_network *network, const pn_arch *arch, pn_program *program,
                           const pn_memory *memory, int N, size_t *bytes);

PN_API_END

#endif
