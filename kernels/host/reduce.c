/* reduce.c -- factorized reduce: ReLU, then two 1x1 convolutions with stride 2, one on the even
 * pixels and one on the odd ones, each making half of the channels.
 *
 * Reads half of its input's lines for an output of an eighth the size: bound by memory. How it is
 * done: pointwise.h. */
#include "kernels/host/pointwise.h"

static void lay_out(void *to, const void *jobs, int j, int backward, pn_carver *c) {
    const pn_reduce *job = (const pn_reduce *)jobs + j;
    pn_pointwise s = {.N = job->N,
                      .H = job->H,
                      .W = job->W,
                      .parts = job->parts,
                      .in = job->in,
                      .out = &job->out,
                      .w = job->w,
                      .dw = job->dw,
                      .shares_dx = job->shares_dx,
                      .grids = 2,
                      .stride = 2};
    pn_pointwise_lay_out(&s, backward, c);
    *(pn_pointwise *)to = s;
}

PN_POINTWISE_OP(reduce, lay_out)
