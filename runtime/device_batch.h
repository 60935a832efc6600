/* device_batch.h -- the batch at hand, where the kernels can read it: a block on the device and one
 * of the host to upload from, so that the next batch may be made while this one is on its way. */
#ifndef PN_DEVICE_BATCH_H
#define PN_DEVICE_BATCH_H

#include "kernels/api.h"
#include "kernels/memory.h"
#include "runtime/batches.h"

PN_API_BEGIN

typedef struct pn_device_batch {
    const pn_memory *memory;
    size_t image_floats;
    int N;
    char *staging, *device; /* images, then labels; NULL where kernels work in the host's memory */
    int64_t mark;           /* of the last upload */
    pn_batch batch;         /* in memory of the device */
} pn_device_batch;

/* For batches of up to N images of image_floats numbers. PN_EMEM. */
pn_status pn_device_batch_create(pn_device_batch *batch, const pn_memory *memory, int N,
                                 size_t image_floats);
void pn_device_batch_destroy(pn_device_batch *batch);

/* Queues the upload of a batch of the host, which may then be changed, unless the memory is plain:
 * then to->batch is that batch. Waits if the last upload is still on its way. */
pn_status pn_device_batch_upload(pn_device_batch *to, const pn_batch *batch);

PN_API_END

#endif
