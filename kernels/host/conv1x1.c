/* conv1x1.c -- ReLU and 1x1 convolution of up to four tensors side by side, which are read
 * where they are: the preprocessing of a cell's inputs, a third of a training step.
 *
 * Bound by memory at 16 channels (five tensors for 2 * 64 * 16 operations a pixel), by
 * arithmetic above. How it is done: pointwise.h. */
#include "kernels/host/pointwise.h"

static pn_pointwise view(const void *jobs, int i) {
    const pn_conv1x1 *j = (const pn_conv1x1 *)jobs + i;
    return (pn_pointwise){.N = j->N,
                          .H = j->H,
                          .W = j->W,
                          .parts = j->parts,
                          .in = j->in,
                          .out = &j->out,
                          .w = j->w,
                          .dw = j->dw,
                          .shares_dx = j->shares_dx,
                          .grids = 1,
                          .stride = 1};
}

size_t PN_NAME(pn_conv1x1_fwd_scratch)(const pn_conv1x1 *jobs, int count) {
    if (pn_check_conv1x1_shapes("conv1x1_fwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    return pn_pointwise_scratch(view, jobs, count, 0);
}
size_t PN_NAME(pn_conv1x1_bwd_scratch)(const pn_conv1x1 *jobs, int count) {
    if (pn_check_conv1x1_shapes("conv1x1_bwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    return pn_pointwise_scratch(view, jobs, count, 1);
}
pn_status PN_NAME(pn_conv1x1_fwd)(const pn_conv1x1 *jobs, int count, const pn_launch *l) {
    PN_TRY(pn_check_conv1x1("conv1x1_fwd", jobs, count, 0, l));
    return pn_pointwise_fwd("conv1x1_fwd", view, jobs, count, l);
}
pn_status PN_NAME(pn_conv1x1_bwd)(const pn_conv1x1 *jobs, int count, const pn_launch *l) {
    PN_TRY(pn_check_conv1x1("conv1x1_bwd", jobs, count, 1, l));
    return pn_pointwise_bwd("conv1x1_bwd", view, jobs, count, l);
}
