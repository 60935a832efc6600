/* kernels.h -- the whole kernel library: what every op computes.
 *
 * Letters mean the same everywhere:
 *   N images   H W input height, width   P Q output height, width
 *   C channels in   K channels out       R edge of a square filter (R x R taps)
 *   x input    z output before BatchNorm   v a tensor as its consumers see it (below)
 *   dX gradient of the loss with respect to X
 * Tensors are NHWC, packed, 64-byte aligned, in memory of the device. Channel counts are multiples
 * of 4 (the stem's input has 1 or 3, the classifier any number of classes); N, H and W are anything
 * from 1 up. Outputs never overlap inputs, unless an op says it may.
 *
 * Storage. x, dx, z, dy, h and dh of jobs, the tensors between the ops, have the element type of
 * the backend (pn_storage). All else is float32: the stem's image, weights and their gradients,
 * statistics, factors, what a head pools. So is all arithmetic: a load widens, and a store rounds
 * to the nearest, of two the even one, NaN to NaN; fp16 has numbers below 2^-14, whole multiples of
 * 2^-24, and from 65520 on infinity. Sums (statistics, s1, s2, gradients of weights)
 * are of what is not yet rounded. `+=` to a dx rounds once for each job that adds.
 *
 * Products of matrices (the pointwise convolution of stage, conv1x1, reduce, conv) are as accurate
 * as the backend says (pn_products): as float32 has them, or of operands rounded to tf32, off by
 * 2^-11 of themselves, or to fp16 where that is stored, by 2^-25 if that is more. Sums: float32.
 *
 * Calls. An op takes an array of *jobs*, all independent of each other, and runs them in one
 * launch. A call checks its arguments before it touches data, allocates nothing, queues its
 * work on launch->stream (the host backend has none: it is done on return) and waits for
 * nothing. `=` overwrites, `+=` adds to what is there. The same call on the same input gives
 * the same bits, on the host for any number of threads: no floating-point atomics; partial
 * sums have fixed places in `scratch` and are added in a fixed order.
 *
 * Deferred BatchNorm. A producer stores z as it is, and in its epilogue the mean and
 * 1/sqrt(variance + eps) of every channel over the batch. Every consumer's load applies them:
 *     v = gamma * (z - mean) * rstd + beta             (v = z where there is no norm)
 * Backward, the buffer `dx` of an input is the gradient with respect to v. Whoever adds to it
 * also adds, per channel, to the two sums that the BatchNorm below needs,
 *     s1 = sum over n,p,q of dv,      s2 = sum of dv * xhat,      xhat = (z - mean) * rstd,
 * and the producer's backward turns the gradient round while it loads it (n = N*P*Q):
 *     dz = gamma * rstd * (dv - s1/n - xhat * s2/n)    with batch statistics
 *     dz = gamma * rstd * dv                           with running statistics
 *     dgamma += s2,   dbeta += s1
 * (Ioffe and Szegedy 2015, section 3, regrouped.) Variance is the biased one (divided by n);
 * the running variance takes the unbiased one, n/(n-1), as PyTorch does (of a single pixel: 0).
 * The sums are made for a norm with batch statistics, or with dgamma or dbeta; else left alone.
 *
 * Shared gradients. Several jobs of one call may add to the same dx: such jobs must be
 * neighbours in the array and share all of their inputs' dx; contributions are added in job
 * order, of which the first alone may have add = 0. Each but the first says so by `shares_dx` = 1:
 * "I share dx with the job before me". What a call does, and the scratch it wants, follows from
 * that value and never from comparing addresses, which are not known when scratch is asked for; a
 * backward call whose addresses say something else is refused. Forward does not read it. Weight
 * gradients are always `+=`, and two jobs of one call must not share them.
 *
 * Limits. A job has PN_MAX_PIXELS pixels at most (N*H*W), a tensor PN_MAX_WIDTH channels at most, a
 * call PN_MAX_CALL jobs (and see below): so no size that an op computes for its scratch overflows
 * 64 bits.
 *
 * The meaning of every op is its twin in kernels/reference/, in plain double-precision loops. */
#ifndef PN_KERNELS_H
#define PN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/memory.h"

PN_API_BEGIN

#define PN_MAX_PIXELS INT32_MAX
#define PN_MAX_WIDTH 16384
#define PN_MAX_CALL 8192
#define PN_MAX_TERMS 65536    /* of a node */
#define PN_MAX_CLASSES 131072 /* of a head */

/* What a scratch function says of jobs that the op refuses whatever their addresses; pn_error() has
 * the sentence. */
#define PN_NO_SCRATCH SIZE_MAX

/* Where a launch finds what is not in its jobs. An op refuses scratch that is smaller than what
 * its scratch function says of these jobs.
 *
 * A device reads a call from its *table*. The host makes it, by op_fwd_table or op_bwd_table of
 * the same jobs, in its own memory, and copies it to the device (by a copy: kernels may read it
 * before those in front of them have ended). The jobs are at its beginning, a node's with the
 * addresses that their terms have there; behind them is what the backend wants to know of them,
 * and counters, which a call leaves as it found them. So one table serves the same call again and
 * again. Calls that may run at once, on two streams, want a table and scratch each. */
typedef struct pn_launch {
    void *scratch; /* 64-aligned */
    size_t scratch_bytes;
    void *table; /* 64-aligned, in memory of the device: the jobs, as op_table made it of them;
                    the host backend reads `jobs` instead */
    const float *gate; /* backward only: NULL, or a float of the device; 0 there = do nothing */
    pn_stream stream;
} pn_launch;

typedef enum pn_norm_mode {
    PN_NORM_NONE,   /* no BatchNorm: all pointers NULL */
    PN_NORM_BATCH,  /* the producer computes mean and rstd from this batch */
    PN_NORM_RUNNING /* the producer copies them from the running statistics (inference) */
} pn_norm_mode;

/* The element types of stored tensors; of what accuracy products of matrices are. */
typedef enum pn_storage { PN_STORED_FLOAT32, PN_STORED_BF16, PN_STORED_FP16 } pn_storage;
typedef enum pn_products { PN_PRODUCTS_FLOAT32, PN_PRODUCTS_TF32 } pn_products;

/* A stored tensor's elements, which only a backend's own files look into: they say which type they
 * are compiled for. */
#ifndef PN_STORED
#define PN_STORED void
#endif
typedef PN_STORED pn_stored;

/* BatchNorm of one tensor with K channels. */
typedef struct pn_norm {
    pn_norm_mode mode;
    float eps;
    float momentum;      /* running = (1 - momentum) * running + momentum * batch */
    float *stats;        /* (4,K): mean, rstd [producer's fwd, =], s1, s2 [consumers' bwd] */
    const float *gamma;  /* (K) or NULL: 1 */
    const float *beta;   /* (K) or NULL: 0 */
    float *dgamma;       /* (K) += or NULL */
    float *dbeta;        /* (K) += or NULL */
    float *running_mean; /* (K) or NULL; BATCH updates them, RUNNING reads them */
    float *running_var;  /* (K) or NULL */
} pn_norm;

/* One tensor that an op reads, (N,H,W,C). */
typedef struct pn_input {
    const pn_stored *x;
    pn_stored *dx; /* gradient with respect to v; NULL: not wanted (then no sums either) */
    int C;
    int add;      /* 0: dx =, s1 =, s2 =    1: dx +=, s1 +=, s2 += */
    pn_norm norm; /* of x */
} pn_input;

/* The tensor that an op makes, (N,P,Q,K). */
typedef struct pn_output {
    pn_stored *z;
    const pn_stored *dy; /* the gradient with respect to v is coef * weight * factor[n] * dy: so */
    const float *factor; /* that the terms of a node share the node's gradient instead of copying */
    const float
        *weight; /* it (coef is 1 where there is nothing to weigh). factor (N), or NULL: 1; */
    float coef;  /* weight one number, or NULL: 1 */
    int K;
    pn_norm norm; /* of z */
} pn_output;

/* stage: ReLU, depthwise RxR, pointwise.  R 3 or 5, dilation 1 or 2, stride 1 or 2; padding
 * dilation*(R-1)/2, so P = ceil(H / stride), Q = ceil(W / stride).  K = C.
 *   r = relu(v(in)), 0 outside the image
 *   u[n,p,q,c] = sum_{i,j} dw[i,j,c] * r[n, p*stride + i*dilation - pad,
 *                                           q*stride + j*dilation - pad, c]
 *   z[n,p,q,k] = sum_c pw[c,k] * u[n,p,q,c]
 * A separable convolution is two stages, a dilated one is one. Backward: relu's derivative at 0 is
 * 0; recomputes u. */
typedef struct pn_stage {
    int N, H, W, R, dilation, stride, shares_dx;
    pn_input in;
    pn_output out;
    const float *dw;  /* (R,R,C) */
    const float *pw;  /* (C,K) */
    float *ddw, *dpw; /* += */
} pn_stage;

#define PN_PARTS 4 /* most tensors that one input concatenates */

/* The job of conv1x1, reduce and conv, each a convolution of r = relu(v(x)), 0 outside the image.
 * x is the concatenation along channels of `parts` tensors of the same N,H,W, each read where it
 * is; C is the sum over the parts.
 *
 * conv1x1: P = H, Q = W, w (C,K).
 *   z[n,p,q,k] = sum_c w[c,k] * r[n,p,q,c]
 *
 * reduce: factorized reduce. P = ceil(H/2), Q = ceil(W/2), w (2,C,K/2); K/2 channels from each of
 * two grids, the second of which leaves the image at odd sizes:
 *   z[n,p,q,k]       = sum_c w[0,c,k] * r[n, 2p,   2q,   c]        k < K/2
 *   z[n,p,q,K/2 + k] = sum_c w[1,c,k] * r[n, 2p+1, 2q+1, c]
 *
 * conv: a dense RxR convolution, for what stands outside the cells: the later convolutions of the
 * ImageNet stem (R 3, stride 2, pad 1), the auxiliary head (R 2, pad 0).
 * P = (H + 2*pad - R) / stride + 1, Q likewise, at least 1; R 1 to 5, stride 1 to 3, pad < R;
 * w (R,R,C,K).
 *   z[n,p,q,k] = sum_{i,j,c} w[i,j,c,k] * r[n, p*stride + i - pad, q*stride + j - pad, c]
 * mean = 1 (with pad 0): all taps have the filter w[c,k] / R^2, w (C,K): an average pool and a 1x1
 * convolution behind it. */
typedef struct pn_conv {
    int N, H, W, parts, shares_dx;
    int R, stride, pad, mean; /* conv alone reads them */
    pn_input in[PN_PARTS];
    pn_output out;
    const float *w;
    float *dw; /* += */
} pn_conv, pn_conv1x1, pn_reduce;

typedef enum pn_pool_kind { PN_POOL_MAX, PN_POOL_AVG } pn_pool_kind;

/* pool: 3x3, padding 1, stride 1 or 2, no ReLU. K = C. Padding never wins a maximum and is not
 * counted in an average. Of equal inputs the first in row order gets the maximum's gradient. */
typedef struct pn_pool {
    int N, H, W, stride, shares_dx;
    pn_pool_kind kind;
    pn_input in;
    pn_output out;
} pn_pool;

/* A weighted term of a node: t = coef * weight * factor[n] * v(in). factor (N) or NULL: 1. A weight
 * that is learnt is a number of the device, and so is its gradient. */
typedef struct pn_term {
    pn_input in;
    float coef;
    const float *factor;
    const float *weight; /* one number, or NULL: 1 */
    float *dweight;      /* one number, or NULL: not wanted */
} pn_term;

/* node: h = sum of its terms, all (N,H,W,C); 0 without terms.  Forward may run in place: h may be
 * one of the terms' x.  Backward, given dh, for every term:
 *   with norm: s1 (+)= sum of dt, s2 (+)= sum of dt * xhat,  dt = coef * weight * factor[n] * dh
 *   in.dx not NULL: dx (+)= dt.   in.dx NULL: nothing is written, the producer of the term
 *   reads dh itself through its pn_output.dy, coef, weight and factor; the sums are still made if
 *   the term has a norm of mode PN_NORM_BATCH, or one with dgamma or dbeta.
 *   dweight not NULL: dweight = sum over n,h,w,c of coef * factor[n] * dh * v(in), which is never
 *   divided by the weight, and so is right where that is 0.
 * Two terms of one node may share dx only if they are neighbours (first add = 0 or 1, then 1); no
 * two terms of a call share dweight.
 *
 * restore = 1, in training: one tensor serves as the last term's z and as h. Forward runs in place
 * of that term (its x is h); backward finds the sum in h and puts z back there, from the sum and
 * the other terms,
 *   z = mean + (h - sum of the other terms) / (coef * rstd)
 * so that a node keeps one tensor less for its backward pass. The last term then has coef not 0,
 * no weight, no factor, no in.dx, and a norm of mode PN_NORM_BATCH without gamma and beta. */
typedef struct pn_node {
    int N, H, W, C, terms, restore, shares_dx;
    const pn_term *term; /* in memory of whoever reads the job: on a device part of its table;
                            NULL without terms */
    pn_stored *h;
    const pn_stored *dh;
} pn_node;

/* stem: 3x3 convolution, padding 1, stride 1 or 2, of the image itself: C = 1 or 3, no ReLU, no dx.
 *   z[n,p,q,k] = sum_{i,j,c} w[i,j,c,k] * x[n, p*stride + i - 1, q*stride + j - 1, c] */
typedef struct pn_stem {
    int N, H, W, C, stride;
    const float *x;
    pn_output out;
    const float *w; /* (3,3,C,K) */
    float *dw;      /* += */
} pn_stem;

/* What a head found in its batch, in memory of the device. */
typedef struct pn_result {
    double log_likelihood; /* sum over the batch of log p(label) */
    double loss;           /* mean over the batch of the (smoothed) cross-entropy */
    int64_t correct;       /* images whose largest logit (the first of equals) is the label's */
} pn_result;

/* head: global average pool, linear, softmax cross-entropy.
 *   pooled[n,c] = mean over h,w of v(x)[n,h,w,c]   (of relu(v) if relu)
 *   logits[n,k] = sum_c pooled[n,c] * w[c,k] + b[k]
 *   target = (1 - smoothing) * one-hot(label) + smoothing / classes
 *   loss   = -1/N sum_n sum_k target[k] * log softmax(logits[n])[k]
 * Forward writes pooled, logits, *result. Backward computes the gradient of
 *   (*scale) * loss_weight * loss          (scale NULL: 1)
 * from pooled and logits: dx of every part, dw +=, db +=. A network may have two heads (an
 * auxiliary one with its own loss_weight). Labels must lie in 0..classes-1: the caller's duty. */
typedef struct pn_head {
    int N, H, W, parts, relu, classes, shares_dx;
    float smoothing, loss_weight;
    pn_input in[PN_PARTS];
    const int32_t *labels; /* (N) */
    const float *w, *b;    /* (C,classes), (classes) */
    float *dw, *db;        /* += */
    float *pooled;         /* (N,C) */
    float *logits;         /* (N,classes) */
    pn_result *result;
    const float *scale;
} pn_head;

/* Whether the sample at hand can matter. In memory of the device; max = -INFINITY before the first
 * sample of a step. */
typedef struct pn_importance {
    double max;  /* running maximum m of the log-likelihoods divided by the temperature */
    float scale; /* full; 0 if the backward is skipped */
    float full;  /* by what a loss that counts is multiplied: 1, or more for gradients in fp16 */
} pn_importance;

/* What a sample's gradient counts in the sum over a step's samples. */
typedef struct pn_share {
    double weight;   /* w_k / shards, for each of its shards; 0 if w_k is too small to matter */
    int64_t skipped; /* 1: it is */
} pn_share;

/* A stretch of the flat parameter ranges, in floats. */
typedef struct pn_range {
    size_t first, count;
} pn_range;

/* Ranges are packed one after another, each from a multiple of so many floats on. */
enum { PN_PACK = 16 };

static inline size_t pn_aligned_floats(size_t floats) {
    return (floats + PN_PACK - 1) & ~(size_t)(PN_PACK - 1);
}

/* Sums in fixed point have whole multiples of 2^-40, and terms below 2^22: with weights that are 1
 * together no sum leaves 64 bits. */
#define PN_QUANTUM 0x1p-40
#define PN_TERM_LIMIT 0x1p22F

/* Step size and its company. */
typedef struct pn_sgd {
    float rate, momentum, decay;
    float clip;   /* largest global norm of the gradient; 0 = no limit */
    int nesterov; /* 1: Nesterov's momentum, as PyTorch has it; 0: the usual one */
} pn_sgd;

/* The ops, each as X(FAMILY, op, with): declarations, tables of backends, families of a program and
 * tests with hooks all follow from this list. `with` is passed on. */
#define PN_OPS(X, with)       \
    X(STEM, stem, with)       \
    X(CONV1X1, conv1x1, with) \
    X(REDUCE, reduce, with)   \
    X(CONV, conv, with)       \
    X(STAGE, stage, with)     \
    X(POOL, pool, with)       \
    X(NODE, node, with)       \
    X(HEAD, head, with)

/* A backend. Sizes of scratch and tables depend on shapes only (pointers in jobs may still be NULL)
 * and not on the number of threads. All calls of one program come from one thread. On a card, calls
 * may run on several streams at once if they share neither scratch nor table nor what they write.
 *
 * op_table: writes the table of a call at `table`, 64-aligned memory of the host, or nothing if it
 * is NULL; gives its bytes, PN_NO_SCRATCH as the scratch function would. */
typedef struct pn_kernels {
    const char *name;        /* "host-avx512", ... */
    pn_storage storage;      /* of the tensors between ops */
    pn_products products;    /* of matrices */
    const pn_memory *memory; /* where all pointers in jobs and calls point to */

#define PN_OP(FAMILY, op, with)                                                \
    size_t (*op##_fwd_scratch)(const pn_##op *jobs, int count);                \
    size_t (*op##_bwd_scratch)(const pn_##op *jobs, int count);                \
    size_t (*op##_fwd_table)(const pn_##op *jobs, int count, void *table);     \
    size_t (*op##_bwd_table)(const pn_##op *jobs, int count, void *table);     \
    pn_status (*op##_fwd)(const pn_##op *jobs, int count, const pn_launch *l); \
    pn_status (*op##_bwd)(const pn_##op *jobs, int count, const pn_launch *l);
    PN_OPS(PN_OP, )
#undef PN_OP

    /* weigh: takes result->log_likelihood / temperature as the next sample's l_k, updates *w.
     * A sample with exp(l_k - m) < skip_below gets scale 0: whatever comes, its share is 0. An l_k
     * that is NaN makes max and scale NaN, so that the caller sees it. */
    pn_status (*weigh)(const pn_result *result, double temperature, double skip_below,
                       pn_importance *w, const pn_launch *l);

    /* share: of a step whose sample k found[k * shards + d] is of. With l_k the sum over its shards
     * divided by the temperature, m the largest and e_k = exp(l_k - m):
     *   w_k = e_k / sum of all e,  share[k].weight = e_k < skip_below ? 0 : w_k / shards
     * NaN where an l_k is. */
    pn_status (*share)(const pn_result *found, int samples, int shards, double temperature,
                       double skip_below, pn_share *share, const pn_launch *l);

    /* tally: adds to a sum in fixed point, over all ranges (packed: above),
     *   sum += weight * packed / PN_QUANTUM, as a double, rounded to the nearest whole number, of
     *   two the even one.
     * Whole numbers do not care in what order they are added: nor do the bits of a sum. Nothing is
     * done if the weight is 0. A term of PN_TERM_LIMIT or more, or NaN, is not added, nor is one of
     * a weight that is NaN: *scale becomes NaN.
     * settle: to = keep * to + sum * PN_QUANTUM, the sum rounded to float first; keep 0: to is only
     * written. Nothing is done if *scale is NaN. */
    pn_status (*tally)(const pn_range *ranges, int count, const float *packed,
                       const pn_share *share, int64_t *sum, float *scale, const pn_launch *l);
    pn_status (*settle)(const pn_range *ranges, int count, const int64_t *sum, float keep,
                        const float *scale, float *to, const pn_launch *l);

    /* sgd: with g = gradient * (*scale) (scale NULL: 1), norm = sqrt(sum of g^2) over all ranges,
     * g *= min(1, clip / (norm + 1e-6)) as PyTorch's clip_grad_norm_, g += decay * value, then
     *   velocity = momentum * velocity + g;  value -= rate * velocity (nesterov: rate * (g +
     *   momentum * velocity)); *norm_out = norm, before clipping (the caller looks for NaN there).
     * With a norm that is not finite nothing is changed. Scratch: sgd_scratch(). */
    size_t (*sgd_scratch)(const pn_range *ranges, int count);
    pn_status (*sgd)(const pn_range *ranges, int count, float *value, const float *gradient,
                     float *velocity, const float *scale, pn_sgd s, double *norm_out,
                     const pn_launch *l);

    /* length: *length = sgd's norm, by itself. Scratch: sgd_scratch().
     * move: value = from + step / *length * along over all ranges (length NULL: 1; where it is 0,
     * value = from); value may be from. So a gradient becomes a step of a given length, and none of
     * it passes through the host. */
    pn_status (*length)(const pn_range *ranges, int count, const float *gradient,
                        const float *scale, double *length, const pn_launch *l);
    pn_status (*move)(const pn_range *ranges, int count, float *value, const float *from,
                      const float *along, const double *length, float step, const pn_launch *l);

    /* scale: value *= by over all ranges. */
    pn_status (*scale)(const pn_range *ranges, int count, float *value, float by,
                       const pn_launch *l);

    /* Ceilings, measured when called (a fraction of a second) with all threads of the device:
     * float32 operations a second of multiply-adds on registers, counted as two; and bytes read
     * plus bytes written a second by a copy between two arrays that have `bytes` together (so it
     * tells one level of the memory from another). 0 if there is no memory for it. */
    double (*flop_rate)(void);
    double (*copy_rate)(size_t bytes);
} pn_kernels;

/* The host backend, for the best instruction set of this machine, or for the one called `isa`:
 * "avx512", "avx2", "base"; NULL or "" = best. "avx2-bf16", ..., and "bf16" for the best: the one
 * that stores bf16. NULL and a sentence if this machine lacks it. */
#define PN_BF16_SUFFIX "-bf16"
#define PN_FP16_SUFFIX "-fp16"
const pn_kernels *pn_host_kernels(const char *isa);

static inline size_t pn_element_bytes(pn_storage storage) {
    return storage == PN_STORED_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
}

/* Of positive numbers. */
static inline int pn_too_many_pixels(int N, int H, int W) {
    return (int64_t)N * H > PN_MAX_PIXELS || (int64_t)N * H * W > PN_MAX_PIXELS;
}

/* Output edge of an op with "same" padding: ceil(H / stride). */
static inline int pn_out_size(int H, int stride) { return (H + stride - 1) / stride; }

/* Output edge of conv; 0 where the window does not fit. */
static inline int pn_conv_size(int H, int R, int stride, int pad) {
    return H + 2 * pad < R ? 0 : (H + 2 * pad - R) / stride + 1;
}

PN_API_END

#endif
