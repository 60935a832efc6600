/* layers.h -- an evaluation network as a flat list of layers, for who writes it down for others.
 *
 * No cell, no genotype: every layer names the activations that it reads and the one that it makes,
 * and stands behind those that make what it reads. What nothing reads is not there: neither a cell
 * that the next two do not use, nor the auxiliary head. Weights are copies, in PyTorch's order.
 * A node of more than two terms is a row of sums; one that is empty, or one of its inputs as it is,
 * is a 1x1 convolution with 0, or 1, on its diagonal.
 *
 * BatchNorm is folded into the convolution before it (in double precision, rounded once), where it
 * is asked for:
 *     w' = w * gamma / sqrt(var + eps),   bias = beta - mean * gamma / sqrt(var + eps)
 * (behind a pool such a 1x1 convolution, its factors on the diagonal, stands in its place,)
 * else it is a layer of its own. */
#ifndef PN_LAYERS_H
#define PN_LAYERS_H

#include "search/network/network.h"

typedef enum pn_layer_kind {
    PN_LAYER_CONV,       /* [ReLU,] convolution [, bias]: of r = relu ? max(x, 0) : x, 0 outside */
    PN_LAYER_BATCH_NORM, /* gamma * (x - mean) / sqrt(var + eps) + beta */
    PN_LAYER_MAX_POOL,   /* R x R; padding never wins */
    PN_LAYER_AVERAGE_POOL, /* R x R; padding is not counted */
    PN_LAYER_ADD,          /* of two; both may be the same */
    PN_LAYER_CONCAT,       /* along channels */
    PN_LAYER_SHIFT,        /* y[h,w] = x[h+1,w+1], 0 outside: H' = 2*ceil(H/2) - 1, W' likewise. So
                            * a 1x1 convolution of stride 2 behind it has the size of one on x */
    PN_LAYER_MEAN,         /* over all pixels: (C,H,W) to (C,1,1) */
    PN_LAYER_LINEAR        /* weight * x + bias */
} pn_layer_kind;

/* An array of float32 that one image makes. */
typedef struct pn_activation {
    int C, H, W;
    int producer; /* index of a layer; -1: the image */
    int last;     /* the last layer that reads it; of the logits the number of layers */
} pn_activation;

enum { PN_LAYER_INPUTS = PN_PARTS };

/* What a layer has not is 0 or NULL. A pool and a convolution have
 * P = floor((H + 2*pad - (dilation*(R-1) + 1)) / stride) + 1, Q likewise. */
typedef struct pn_layer {
    pn_layer_kind kind;
    int inputs, input[PN_LAYER_INPUTS], output; /* indices of activations */
    int groups, R, stride, dilation, pad;
    bool relu; /* of the input, before anything else */
    float eps;
    const float *weight;                    /* conv (O, C/groups, R, R); linear (O, C) */
    const float *bias;                      /* (O) */
    const float *gamma, *beta, *mean, *var; /* (C) */
    char name[80]; /* "cells.3._ops.2.op.1": of its tensors in PyTorch, or made alike; unique */
} pn_layer;

typedef struct pn_layers {
    pn_layer *layer;
    int count;
    pn_activation *activation; /* [0]: the image, normalised */
    int activations, logits;   /* logits: (classes,1,1) */
    float *weights;            /* all of them; the layers point into it */
    size_t floats;
} pn_layers;

/* Lists the layers of an evaluation network whose weights are on the host (pn_weights_load).
 * PN_EARG for a search network. */
pn_status pn_layers_create(const pn_network *network, const pn_arch *arch, bool fold,
                           pn_layers *layers);
void pn_layers_destroy(pn_layers *layers); /* an empty one is allowed */

#endif
