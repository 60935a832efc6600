/* device_batch.c -- see device_batch.h. */
#include "runtime/device_batch.h"

#include <string.h>

static size_t labels_at(const pn_device_batch *f) {
    return ((size_t)f->N * f->image_floats * sizeof(float) + 63) & ~(size_t)63;
}

pn_status pn_device_batch_create(pn_device_batch *f, const pn_memory *memory, int N,
                                 size_t image_floats) {
    *f = (pn_device_batch){.memory = memory, .N = N, .image_floats = image_floats};
    if (memory->plain) return PN_OK;
    const size_t bytes = labels_at(f) + (size_t)N * sizeof(int32_t);
    void *block;
    PN_TRY(memory->stage(bytes, &block));
    f->staging = block;
    pn_status s = memory->allocate(bytes, &block);
    if (s == PN_OK)
        f->device = block;
    else
        pn_device_batch_destroy(f);
    return s;
}

void pn_device_batch_destroy(pn_device_batch *f) {
    if (f->memory && !f->memory->plain) {
        f->memory->release(f->device);
        f->memory->unstage(f->staging);
    }
    *f = (pn_device_batch){0};
}

pn_status pn_device_batch_upload(pn_device_batch *f, const pn_batch *batch) {
    f->batch = *batch;
    if (f->memory->plain) return PN_OK;
    if (batch->n > f->N)
        return pn_fail(PN_EARG, "batch: %d images, want %d at most", batch->n, f->N);
    const size_t labels = labels_at(f);
    PN_TRY(f->memory->wait(f->mark));
    memcpy(f->staging, batch->x, (size_t)batch->n * f->image_floats * sizeof(float));
    memcpy(f->staging + labels, batch->labels, (size_t)batch->n * sizeof(int32_t));
    PN_TRY(f->memory->upload(f->device, f->staging, labels + (size_t)batch->n * sizeof(int32_t)));
    PN_TRY(f->memory->mark(&f->mark));
    f->batch.x = (const float *)(const void *)f->device;
    f->batch.labels = (const int32_t *)(const void *)(f->device + labels);
    return PN_OK;
}
