/* run.h -- the steps of generated code, run here by the same kernels (code/). */
#ifndef PN_EXPORT_RUN_H
#define PN_EXPORT_RUN_H

#include "search/export/pack.h"
#include "search/export/quantize.h"

/* Runs step i in an arena that holds what the steps before it left (the first: the image, in NHWC
 * order). */
void pn_run_float(const pn_layers *layers, const pn_steps *steps, const pn_packed *packed,
                  float *arena, int i) __attribute__((nonnull));

/* The same in whole numbers; the last writes logits. `pooled`: as many ints as the last step has
 * channels. */
void pn_run_int8(const pn_layers *layers, const pn_quantized *quantized, int8_t *arena, int *pooled,
                 float *logits, int i) __attribute__((nonnull));

/* First element of an activation in an arena of numbers of so many bytes. */
static inline size_t pn_view_at(const pn_view *view, size_t number) {
    return view->bytes / number + (size_t)view->channel;
}

#endif
