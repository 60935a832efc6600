/* steps.h -- the layers of a network (layers.h, BatchNorm folded) fused into the few calls that
 * generated code makes for an image, and a place in one arena for whatever they make.
 *
 * A depthwise convolution and the 1x1 convolution behind it are one step; so are the mean and the
 * classifier. A sum is the end of the step that makes its later term. Parts of a concatenation are
 * made where the whole lies, and a term of a sum where the sum will be, so neither takes a step. */
#ifndef PN_STEPS_H
#define PN_STEPS_H

#include "search/export/layers.h"

typedef enum pn_step_kind {
    PN_STEP_CONVOLUTION, /* dense */
    PN_STEP_STAGE,       /* ReLU, depthwise, 1x1; scratch: ring, rows */
    PN_STEP_POOL,
    PN_STEP_ADD,   /* of two that are there */
    PN_STEP_LINEAR /* mean over all pixels, linear */
} pn_step_kind;

typedef struct pn_step {
    pn_step_kind kind;
    int layer, second; /* the layer; the 1x1 convolution of a stage, the linear one, or -1 */
    int x, out;        /* activations: what it reads, and where it writes */
    int made;          /* the activation whose value that is, then: `out`, or a sum's */
    int add, add_from; /* added to the result: an activation, from that channel on; or -1 */
    int shift;         /* convolution: 1 if the image is moved by a pixel up and left */
    int chunk;         /* pixels, in a stage rows, that are worked on at a time */
    size_t scratch[2]; /* numbers of each: gathered pixels or pooled ones; ring, rows */
    size_t offset[2];  /* bytes from the arena's start */
} pn_step;

/* Where an activation is: pixel i begins at offset + i*step numbers, in all `pixels` of them. */
typedef struct pn_view {
    int root;     /* the activation that all of the place belongs to */
    int channel;  /* of the root, from which it has its own */
    int step;     /* numbers a pixel of the root */
    size_t bytes; /* the root's: where it lies in the arena (once planned) */
} pn_view;

typedef struct pn_steps {
    pn_step *step;
    pn_view *view; /* of each activation */
    int count;
    size_t arena_bytes;
} pn_steps;

enum { PN_PANEL = 16, PN_NARROW_PANEL = 8 }; /* outputs whose weights lie together (code/) */

/* Numbers of K outputs, the last panel filled up. */
static inline int pn_in_panels(int K) {
    const int rest = K % PN_PANEL;
    return K - rest + (!rest ? 0 : rest > PN_NARROW_PANEL ? PN_PANEL : PN_NARROW_PANEL);
}

/* Channels of a depthwise convolution, filled up. */
static inline int pn_in_lanes(int C) {
    return (C + PN_NARROW_PANEL - 1) / PN_NARROW_PANEL * PN_NARROW_PANEL;
}

/* `number`: bytes of one number of an activation, and of one in scratch. `whole`: a stage works on
 * all of its rows at once, so that its scratch holds what the depthwise convolution made. PN_EARG
 * for layers whose BatchNorm is not folded. */
pn_status pn_steps_create(const pn_layers *layers, size_t number, bool whole, pn_steps *steps);
void pn_steps_destroy(pn_steps *steps); /* an empty one is allowed */

#endif
