/* conv1x1.c -- ReLU and 1x1 convolution of up to four tensors side by side, which are read
 * where they are: the preprocessing of a cell's inputs, a third of a training step.
 *
 * Bound by memory at 16 channels (five tensors for 2 * 64 * 16 operations a pixel), by
 * arithmetic above. How it is done: pointwise.h. */
#include "kernels/host/pointwise.h"

static void lay_out(void *to, const void *jobs, int j, int backward, pn_carver *c) {
    const pn_conv1x1 *job = (const pn_conv1x1 *)jobs + j;
    pn_pointwise s = {.N = job->N,
                      .H = job->H,
                      .W = job->W,
                      .parts = job->parts,
                      .in = job->in,
                      .out = &job->out,
                      .w = job->w,
                      .dw = job->dw,
                      .shares_dx = job->shares_dx,
                      .grids = 1,
                      .stride = 1};
    pn_pointwise_lay_out(&s, backward, c);
    *(pn_pointwise *)to = s;
}

PN_POINTWISE_OP(conv1x1, lay_out)
