/* cases.h -- calls of single ops, to be timed: an op, a pass and a shape, with all memory that it
 * takes. bench/bench_kernels.cc and `parsec-nas bench` time the same ones, under the same names. */
#ifndef PN_CASES_H
#define PN_CASES_H

#include "kernels/work.h"

#ifdef __cplusplus
extern "C" {
#endif

/* PN_CASE_STEM, ..., and the update of weights. */
typedef enum pn_case_op {
#define PN_CASE(FAMILY, op, with) PN_CASE_##FAMILY,
    PN_OPS(PN_CASE, )
#undef PN_CASE
        PN_CASE_SGD
} pn_case_op;

/* What an op does not have is 0. */
typedef struct pn_op_case {
    pn_case_op op;
    int backward;
    int N, HW, C; /* images, edge of the input, channels of each part of it */
    int parts, K, R, dilation, stride, pad, mean;
    int restore; /* node */
    int terms;   /* node: 0: two, as in a sampled cell; else so many, each with a weight that is
                  * learnt, as in a supernet */
    pn_pool_kind pool;
    size_t floats; /* sgd */
} pn_op_case;

/* "stage/fwd/N:64/C:16/HW:32/R:3/dilation:1/stride:1". C in a name is what comes out. */
enum { PN_CASE_NAME = 96 };
void pn_case_name(const pn_op_case *c, char name[PN_CASE_NAME]);

/* Whether a name stands for it: that of its op ("stage", "max_pool"), or of an op of the search
 * space: "sep_conv_3x3" (one of its two stages), "dil_conv_5x5", "max_pool_3x3"; "skip_connect",
 * which has an op only where it reduces. */
int pn_case_is(const pn_op_case *c, const char *name);

/* The i-th name that pn_case_is knows; NULL behind the last. */
const char *pn_case_known(int i);

/* Either pass of each op that a network runs on N images of HW x HW, in cells of C channels;
 * `first`: of its first cells, with the stem. Those of stride 2 want 14 pixels. Gives their
 * number. */
enum { PN_MOST_CASES = 64 };
int pn_cases_of(int N, int C, int HW, int first, pn_op_case list[PN_MOST_CASES]);

/* A case with its memory: random tensors, BatchNorm of plausible numbers. */
enum { PN_CASE_TERMS = 35, PN_CASE_BLOCKS = 2 * PN_CASE_TERMS + 8 };
typedef struct pn_op_call {
    pn_op_case of;
    const pn_kernels *kernels;
    pn_work work;
    union {
#define PN_JOB(FAMILY, op, with) pn_##op op;
        PN_OPS(PN_JOB, )
#undef PN_JOB
    } job;
    pn_term term[PN_CASE_TERMS];
    pn_range range;
    float *value, *gradient, *velocity; /* sgd */
    double *norm;
    pn_launch launch;
    void *block[PN_CASE_BLOCKS];
    int blocks;
    unsigned random;
} pn_op_call;

/* PN_EARG for a shape that the device does not take, or more terms than PN_CASE_TERMS; PN_EMEM.
 * Destroy it after a failure too. */
pn_status pn_op_call_create(pn_op_call *call, const pn_kernels *kernels, const pn_op_case *of);
void pn_op_call_destroy(pn_op_call *call);

/* Queues it once. */
pn_status pn_op_call_run(const pn_op_call *call);

#ifdef __cplusplus
}
#endif

#endif
