/* reduce.c -- factorized reduce: ReLU, then two 1x1 convolutions with stride 2, one on the even
 * pixels and one on the odd ones, each making half of the channels.
 *
 * Reads half of its input's lines for an output of an eighth the size: bound by memory. How it is
 * done: pointwise.h. */
#include "kernels/host/pointwise.h"

static pn_pointwise view(const void *jobs, int i) {
    const pn_reduce *j = (const pn_reduce *)jobs + i;
    return (pn_pointwise){.N = j->N,
                          .H = j->H,
                          .W = j->W,
                          .parts = j->parts,
                          .in = j->in,
                          .out = &j->out,
                          .w = j->w,
                          .dw = j->dw,
                          .shares_dx = j->shares_dx,
                          .grids = 2,
                          .stride = 2};
}

size_t PN_NAME(pn_reduce_fwd_scratch)(const pn_reduce *jobs, int count) {
    if (pn_check_reduce_shapes("reduce_fwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    return pn_pointwise_scratch(view, jobs, count, 0);
}
size_t PN_NAME(pn_reduce_bwd_scratch)(const pn_reduce *jobs, int count) {
    if (pn_check_reduce_shapes("reduce_bwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    return pn_pointwise_scratch(view, jobs, count, 1);
}
pn_status PN_NAME(pn_reduce_fwd)(const pn_reduce *jobs, int count, const pn_launch *l) {
    PN_TRY(pn_check_reduce("reduce_fwd", jobs, count, 0, l));
    return pn_pointwise_fwd("reduce_fwd", view, jobs, count, l);
}
pn_status PN_NAME(pn_reduce_bwd)(const pn_reduce *jobs, int count, const pn_launch *l) {
    PN_TRY(pn_check_reduce("reduce_bwd", jobs, count, 1, l));
    return pn_pointwise_bwd("reduce_bwd", view, jobs, count, l);
}
