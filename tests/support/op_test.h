/* op_test.h -- the test of an op: what all ops have in common. A test_OP.c says the rest: how a job
 * is made of a row, rows with their reasons, what was computed by hand, and what is refused.
 *
 * A row is one call, and reads as text:
 *
 *     {"parts with different norms",
 *      "N3 5x5 C8,8,12,4 K12 also=-,batch,running+affine,batch+affine out=batch"},
 *     {"jobs that share dx", "N3 4x4 C8,12 K8 in=add+batch & K8 | N3 4x4 C8 K8 & K12"},
 *
 *     N3  8x9        images; height and width
 *     C16            channels; C8,8,12,4 those of each part of a concatenation
 *     K32            channels out; of a head classes
 *     R5 s2 d2 p1    filter, stride, dilation, padding
 *     in=  out=      what all inputs, and what the output is like, joined by +: batch, running,
 *                    affine, frozen; an input add, no-dx, open; an output factor, weight; a term
 *                    weight, zero, tiny, learnt (jobs.h)
 *     also=          what each part or term is like beside that, separated by commas; - is nothing
 *     mean           an average, not a filter or a maximum
 *     relu  scaled  smoothing=0.1  weight=0.4               a head's (kernels.h, rows.h)
 *     coef=1,-2  in-place=2  restore  again=2  factors      a node's
 *
 *     job | job      several jobs of one call
 *     job & job      the second shares the inputs of the first, and adds to the same dx. It has N,
 *                    HxW, C, in= and also= from the first, and does not say them
 *
 * The words that an op takes, their least and most, and what a job has that does not say one, are
 * the op's `keys`. A row that is wrong fails the test, and the message says where. Random rows are
 * written the same way: one that fails can be put into the table. */
#ifndef PN_OP_TEST_H
#define PN_OP_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"

typedef struct pn_case {
    const char *why, *row;
} pn_case;

typedef struct pn_op_test {
    pn_subject subject;
    const pn_key *keys; /* ended by one without a word */
    const pn_case *cases;
    int count;

    /* In place of pn_check, or NULL: where a row is more calls than one. */
    int (*check)(const pn_subject *subject, const char *why, const pn_row rows[PN_MAX_JOBS],
                 uint64_t seed);

    /* Random row i of `rolls`; `dice`, a set without arrays, begins with the state `seed`. */
    void (*roll)(pn_set *dice, int i, pn_row rows[PN_MAX_JOBS]);
    uint64_t seed;
    int rolls;

    const char *linear[3]; /* rows where the op is linear: <dy, z> = <dx, x> = <dw, w> */
    const char *shape;     /* a row whose scratch is to depend on its shape alone */
    const char *good;      /* a row; two such jobs are accepted, and refused with each flaw, */
    const pn_flaw *flaws;  /* the op's own and those that follow from where things are */
    int flaw_count;
} pn_op_test;

/* The tests that all ops have, then `others`. For main to return. */
int pn_op_main(const pn_op_test *op, const struct CMUnitTest *others, int count);

/* Jobs of a row; a row that is wrong fails the test. Returns their number. */
int pn_op_jobs(const pn_op_test *op, pn_set *set, const char *row, void *jobs);

/* Inputs of a job: new ones, or those of the job before. Returns all their channels. steps: most
 * roundings in an element of dx. */
int pn_op_inputs(pn_set *set, const pn_row *r, pn_input *in, const pn_input *before, int steps);

/* Of conv1x1 (stride 1) and reduce (stride 2), which have one struct: the words of a row, and a job
 * of it, behind the one whose inputs it may share. */
extern const pn_key pn_pointwise_keys[];
void pn_make_pointwise(pn_set *set, const pn_row *r, pn_conv *job, int stride);

/* Dice: N to `images`, H and W to `size`; an input or output of any norm; parts with up to
 * 4 * `most` channels, of which any may want no dx; and a whole row of conv1x1 or reduce, two
 * thirds with others that share its inputs. */
void pn_roll_size(pn_set *dice, pn_row *r, int images, int size);
int pn_roll_input(pn_set *dice);
int pn_roll_output(pn_set *dice);
void pn_roll_parts(pn_set *dice, pn_row *r, int most);
void pn_roll_pointwise(pn_set *dice, int i, pn_row rows[PN_MAX_JOBS]);

/* Where things are in the jobs of ops that work on a concatenation. */
#define PN_PLACES_OF_PARTS(job)                                                                    \
    .in = offsetof(job, in), .parts = offsetof(job, parts), .shares_dx = offsetof(job, shares_dx), \
    .out = offsetof(job, out), .weights[0].value = offsetof(job, w),                               \
    .weights[0].gradient = offsetof(job, dw)

#endif
