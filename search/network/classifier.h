/* classifier.h -- a network for use: a file of weights in, logits of images out. The file says what
 * network it is of, what images that takes and what the classes are called (weights.h). */
#ifndef PN_CLASSIFIER_H
#define PN_CLASSIFIER_H

#include "kernels/api.h"
#include "search/network/predict.h"
#include "search/network/weights.h"

PN_API_BEGIN

/* What is known of a network otherwise: 0 and NULL where nothing is. */
typedef struct pn_classifier_asked {
    const char *genotype, *stem; /* a cell (pn_genotype_open); cifar or imagenet */
    int layers, channels;
    const pn_data *data; /* a set like that it was trained on: sizes, mean and deviation, names of
                          * the classes, each where the file does not say it */
} pn_classifier_asked;

/* Large, and it points into itself: it stays where it was opened. */
typedef struct pn_classifier {
    const pn_kernels *kernels;
    pn_images images; /* that it takes */
    pn_arch arch;
    pn_network network; /* with weights on the device, without auxiliary head */
    pn_program *program;
    pn_arena arena;
    int N; /* images at a time */

    /* Since the first call of pn_classify. */
    pn_inference inference;
    float *x; /* (N,H,W,C) */
    int32_t *labels;
    float value[PN_MAX_IMAGE_CHANNELS][PN_PIXEL_LEVELS]; /* see pn_normalise */
} pn_classifier;

/* Opens a file of weights, to classify N images at a time; asked: NULL, or what the file does not
 * say. Close it after a failure too. PN_EIO, PN_EINPUT: the file cannot be read, or is wrong;
 * PN_EARG: it does not say what network it is of, and nobody else does; PN_EMEM. */
pn_status pn_classifier_open(pn_classifier *classifier, const pn_kernels *kernels, const char *path,
                             const pn_classifier_asked *asked, int N);
void pn_classifier_close(pn_classifier *classifier); /* an empty one is allowed */

/* Logits (n,classes) of any number of images (n,H,W,C): floats that are normalised, or bytes, which
 * it normalises (PN_EARG if mean and deviation are not known). The logits of an image do not depend
 * on the others. PN_EDIVERGED if one is not finite. */
pn_status pn_classify(pn_classifier *classifier, const float *x, int n, float *logits);
pn_status pn_classify_bytes(pn_classifier *classifier, const uint8_t *x, int n, float *logits);

/* Softmax: what the logits of one image say of the probability of each class. */
void pn_probabilities(const float *logits, int classes, double *probability);

PN_API_END

#endif
