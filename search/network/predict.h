/* judge.h -- what a network with given weights says of a set of images: BatchNorm takes its running
 * statistics, so that an image's logits depend on that image alone. */
#ifndef PN_JUDGE_H
#define PN_JUDGE_H

#include "runtime/batches.h"
#include "search/network/network.h"

typedef struct pn_judgement {
    int images, classes;
    double loss; /* mean cross-entropy, nats */
    int64_t correct;
    int64_t *confusion; /* (classes,classes): label, then largest logit (the first of equals) */
    float *logits;      /* (images,classes), in the order of the data set */
} pn_judgement;

/* Runs an evaluation network whose weights are on the device over a part of a data set, in batches
 * of N, with a program and an arena of the caller's (what they held is lost). To be freed.
 * PN_EARG if the network has another number of classes or another kind of images than the data;
 * PN_EDIVERGED if a logit is not finite. */
pn_status pn_judge(const pn_kernels *kernels, pn_network *network, const pn_arch *arch,
                   pn_program *program, pn_arena *arena, int N, const pn_data *data, pn_part part,
                   pn_judgement *out);
void pn_judgement_free(pn_judgement *judgement);

double pn_judgement_accuracy(const pn_judgement *judgement); /* 0..1 */

/* Bytes of the arena that pn_judge commits. */
pn_status pn_judge_bytes(const pn_network *network, const pn_arch *arch, pn_program *program,
                         const pn_memory *memory, int N, size_t *bytes);

#endif
