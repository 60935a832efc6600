/* batches.h -- training batches, made by one thread while the step before runs.
 *
 * A batch is a function of (seed, part, step) alone: a run that continues asks for its step
 * and gets the bits it would have got. Streams draw from one set of images: a search has two,
 * one for the half that trains the weights and one for the half that trains the prior.
 *
 * Each stream has two buffers: the one handed out, and the one that its next step is made in. */
#ifndef PN_BATCHES_H
#define PN_BATCHES_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/status.h"
#include "runtime/data.h"

PN_API_BEGIN

enum { PN_MAX_BATCH_STREAMS = 2, PN_CROP_PADDING = 4 };

/* Which images. The halves are a seeded split: disjoint, together everything; of an odd number
 * the second has one more. */
typedef enum pn_half { PN_HALF_BOTH, PN_HALF_FIRST, PN_HALF_SECOND } pn_half;

/* What a byte of channel c becomes: (byte / 255 - mean[c]) / std[c]. */
enum { PN_PIXEL_LEVELS = 256 };
void pn_normalise(int C, const float *mean, const float *std,
                  float value[PN_MAX_IMAGE_CHANNELS][PN_PIXEL_LEVELS]);

typedef struct pn_batch_stream {
    pn_half half;
    int N;         /* images a batch, 1 .. images of the half */
    bool in_order; /* false: a new order every epoch, floor(images / N) batches, the rest left out;
                    * true: the same order, the last batch short: for evaluation */
    bool augment;  /* random crop after padding the image by 4 black pixels, and horizontal flip */
    int cutout;    /* edge of a square set to the mean, at a random place, cut at the border
                    * (DeVries and Taylor 2017); 0 = none */
} pn_batch_stream;

typedef struct pn_batch {
    int n;                 /* N, or less for the last one in order */
    const float *x;        /* (n,H,W,C), normalised, 64-byte aligned */
    const int32_t *labels; /* (n) */
} pn_batch;

typedef struct pn_batches pn_batches;

/* Allocates all there will be, and starts the thread. `data` must outlive it, unchanged. */
pn_status pn_batches_create(const pn_data *data, const pn_batch_stream *streams, int count,
                            uint64_t seed, pn_batches **out);
void pn_batches_free(pn_batches *batches); /* stops the thread and waits for it; NULL is allowed */

/* The batch of `step`, waiting for it if need be, and starts on step + 1. It is valid until
 * the next take from the same stream. Steps may be taken in any order; a step that is not the
 * one after the last costs a wait. In order: steps 0 .. steps_per_epoch - 1. One thread takes. */
pn_status pn_batches_take(pn_batches *batches, int stream, int64_t step, pn_batch *batch);

int64_t pn_batches_steps_per_epoch(const pn_batches *batches, int stream);
int pn_batches_images(const pn_batches *batches, int stream); /* images of the part */
size_t pn_batches_bytes(const pn_batches *batches);           /* of all buffers */

/* Cutout: zeros in rows centre_h - edge/2 .. centre_h - edge/2 + edge - 1 of an image (H,W,C), and
 * columns alike, as far as they lie inside. */
void pn_cut_out(int H, int W, int C, int edge, int centre_h, int centre_w, float *x);

PN_API_END

#endif
