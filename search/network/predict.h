/* predict.h -- what a network with given weights says of a set of images. BatchNorm takes its
 * running statistics, so that an image's logits depend on that image alone. */
#ifndef PN_PREDICT_H
#define PN_PREDICT_H

#include "kernels/api.h"
#include "runtime/batches.h"
#include "search/network/predictor.h"

PN_API_BEGIN

typedef struct pn_predictions {
    int images, classes;
    double loss; /* mean cross-entropy, nats */
    int64_t correct;
    int64_t *confusion; /* (classes,classes): label, then largest logit (the first of equals) */
    float *logits;      /* (images,classes), in the order of the data set */
} pn_predictions;

/* Runs an evaluation network whose weights are on the device over a data set, or over the half that
 * `seed` splits off as a training's batches do (batches.h), in batches of N, with a program and an
 * arena of the caller's (what they held is lost). To be freed.
 * PN_EARG if the network has another number of classes or another kind of images than the data;
 * PN_EDIVERGED if a logit is not finite. */
pn_status pn_predict(const pn_kernels *kernels, pn_network *network, const pn_arch *arch,
                     pn_program *program, pn_arena *arena, int N, const pn_data *data, pn_half half,
                     uint64_t seed, pn_predictions *out);
void pn_predictions_free(pn_predictions *predictions);

double pn_predictions_accuracy(const pn_predictions *predictions); /* 0..1 */

/* Cross-entropy (nats) of one image's logits and its label; *best: the class of the largest logit,
 * the first of equals. */
double pn_cross_entropy(const float *logits, int classes, int label, int *best);

PN_API_END

#endif
