/* work.c -- see work.h. */
#include "kernels/work.h"

#include <math.h>

/* ---- what ops have in common ----------------------------------------------------------------- */

static double pixels(int N, int H, int W) { return (double)N * H * W; }

static double norm_params(const pn_norm *norm, int K) {
    return (norm->gamma ? K : 0.0) + (norm->beta ? K : 0.0);
}

/* Elements of a pass over inputs of so many pixels, and an output of so many. `share`: the part of
 * an input that is read; its gradient is written as a whole. */
static double elements(const pn_input *in, int parts, double in_pixels, double share,
                       const pn_output *out, double out_pixels, int backward) {
    double sum = 0;
    for (int i = 0; i < parts; i++) {
        const double all = in_pixels * in[i].C;
        sum += share * all;
        if (backward && in[i].dx) sum += in[i].add ? 2 * all : all;
    }
    const double made = out_pixels * out->K;
    if (!backward) return sum + made;
    return sum + made + (out->norm.mode == PN_NORM_BATCH ? made : 0);
}

static int channels(const pn_input *in, int parts) {
    int C = 0;
    for (int i = 0; i < parts; i++) C += in[i].C;
    return C;
}

/* ---- the ops --------------------------------------------------------------------------------- */

pn_work pn_stem_work(const pn_stem *job, int backward, pn_storage storage) {
    const int P = pn_out_size(job->H, job->stride), Q = pn_out_size(job->W, job->stride);
    const double image = pixels(job->N, job->H, job->W) * job->C, out = pixels(job->N, P, Q);
    const double made = elements(NULL, 0, 0, 0, &job->out, out, backward);
    const double weights = 9.0 * job->C * job->out.K;
    return (pn_work){.bytes = sizeof(float) * image + (double)pn_element_bytes(storage) * made,
                     .flops = 2 * out * weights,
                     .params = weights + norm_params(&job->out.norm, job->out.K)};
}

pn_work pn_stage_work(const pn_stage *job, int backward, pn_storage storage) {
    const int P = pn_out_size(job->H, job->stride), Q = pn_out_size(job->W, job->stride);
    const double in = pixels(job->N, job->H, job->W), out = pixels(job->N, P, Q), C = job->in.C;
    const double depthwise = (double)job->R * job->R * C, pointwise = C * job->out.K;
    /* Backward computes the depthwise result again, and two gradients of either. */
    const double products = backward ? 3 * depthwise + 2 * pointwise : depthwise + pointwise;
    return (pn_work){.bytes = (double)pn_element_bytes(storage) *
                              elements(&job->in, 1, in, 1, &job->out, out, backward),
                     .flops = 2 * out * products,
                     .params = depthwise + pointwise + norm_params(&job->out.norm, job->out.K)};
}

pn_work pn_conv1x1_work(const pn_conv1x1 *job, int backward, pn_storage storage) {
    const double all = pixels(job->N, job->H, job->W);
    const double weights = (double)channels(job->in, job->parts) * job->out.K;
    return (pn_work){.bytes = (double)pn_element_bytes(storage) *
                              elements(job->in, job->parts, all, 1, &job->out, all, backward),
                     .flops = (backward ? 4 : 2) * all * weights,
                     .params = weights + norm_params(&job->out.norm, job->out.K)};
}

/* Two grids of every second pixel: half of the input. */
pn_work pn_reduce_work(const pn_reduce *job, int backward, pn_storage storage) {
    const double in = pixels(job->N, job->H, job->W),
                 out = pixels(job->N, pn_out_size(job->H, 2), pn_out_size(job->W, 2));
    const double weights = (double)channels(job->in, job->parts) * job->out.K;
    return (pn_work){.bytes = (double)pn_element_bytes(storage) *
                              elements(job->in, job->parts, in, 0.5, &job->out, out, backward),
                     .flops = (backward ? 4 : 2) * out * weights,
                     .params = weights + norm_params(&job->out.norm, job->out.K)};
}

pn_work pn_conv_work(const pn_conv *job, int backward, pn_storage storage) {
    const int taps = job->R * job->R, C = channels(job->in, job->parts);
    const double in = pixels(job->N, job->H, job->W),
                 out = pixels(job->N, pn_conv_size(job->H, job->R, job->stride, job->pad),
                              pn_conv_size(job->W, job->R, job->stride, job->pad));
    const double weights = (double)(job->mean ? 1 : taps) * C * job->out.K;
    const double sums = job->mean ? out * taps * C : 0;
    return (pn_work){.bytes = (double)pn_element_bytes(storage) *
                              elements(job->in, job->parts, in, 1, &job->out, out, backward),
                     .flops = (backward ? 2 : 1) * (2 * out * weights + sums),
                     .params = weights + norm_params(&job->out.norm, job->out.K)};
}

pn_work pn_pool_work(const pn_pool *job, int backward, pn_storage storage) {
    const double in = pixels(job->N, job->H, job->W),
                 out = pixels(job->N, pn_out_size(job->H, job->stride),
                              pn_out_size(job->W, job->stride));
    return (pn_work){.bytes = (double)pn_element_bytes(storage) *
                              elements(&job->in, 1, in, 1, &job->out, out, backward),
                     .params = norm_params(&job->out.norm, job->out.K)};
}

/* Terms and sum forward. Backward the sum's gradient, each term that has a norm below it, and what
 * is written: gradients, or the term that is put back from the sum. */
pn_work pn_node_work(const pn_node *job, int backward, pn_storage storage) {
    double tensors = backward ? 1 : 1 + (double)job->terms;
    for (int i = 0; backward && i < job->terms; i++) {
        const pn_input *in = &job->term[i].in;
        if (in->norm.mode == PN_NORM_BATCH) tensors++;
        if (in->dx) tensors += in->add ? 2 : 1;
    }
    if (backward && job->restore) tensors++;
    return (pn_work){.bytes = (double)pn_element_bytes(storage) * tensors *
                              pixels(job->N, job->H, job->W) * job->C};
}

pn_work pn_head_work(const pn_head *job, int backward, pn_storage storage) {
    const double C = channels(job->in, job->parts), x = pixels(job->N, job->H, job->W) * C;
    const double tensors = backward && job->relu ? 2 : 1;
    return (pn_work){.bytes = (double)pn_element_bytes(storage) * tensors * x,
                     .flops = (backward ? 4.0 : 2.0) * job->N * C * job->classes,
                     .params = (C + 1) * job->classes};
}

/* The gradient twice: its norm is needed first. */
pn_work pn_sgd_work(size_t count) { return (pn_work){.bytes = 24.0 * (double)count}; }

/* ---- the limit ------------------------------------------------------------------------------- */

double pn_flop_ceiling(pn_ceilings *c) {
    if (c->flop_rate == 0) c->flop_rate = c->kernels->flop_rate();
    return c->flop_rate;
}

double pn_copy_ceiling(pn_ceilings *c, double bytes) {
    long power = bytes > 1 ? lround(log2(bytes)) : 0;
    if (power > PN_COPY_SIZES - 1) power = PN_COPY_SIZES - 1;
    double *rate = &c->copy_rate[power];
    if (*rate == 0) *rate = c->kernels->copy_rate((size_t)1 << power);
    return *rate;
}

double pn_least_seconds(pn_ceilings *c, pn_work work) {
    const double flop_rate = pn_flop_ceiling(c);
    if (flop_rate <= 0) return 0;
    const double copy_rate = pn_copy_ceiling(c, work.bytes);
    if (copy_rate <= 0) return 0;
    return fmax(work.bytes / copy_rate, work.flops / flop_rate);
}
