/* kernels/host/frame.h -- the frame of a call: what every op does around its arithmetic.
 *
 * Jobs are *prepared* first: sizes, coefficients, packed weights. The unit of work is then a group
 * of jobs that share dx (forward: one job) times a chunk of the batch. A unit gathers the sums of
 * its chunk (statistics, gradients of weights) in the chunk's *partial* of each job. When all units
 * are done, the partials are added in the order of the chunks. So the bits of a result depend on N,
 * never on the number of threads.
 *
 * Scratch holds what is prepared, the partials, and a workspace per thread. How much of it there is
 * and how it is used come from the same lines: see pn_carver. */
#ifndef PN_HOST_FRAME_H
#define PN_HOST_FRAME_H

#include <assert.h>
#include <omp.h>
#include <stddef.h>

#include "kernels/host/host.h"

/* Threads of a parallel region: never more than there are workspaces in scratch. */
enum { PN_WORKERS = 16 };
static inline int pn_threads(void) {
    return omp_get_max_threads() < PN_WORKERS ? omp_get_max_threads() : PN_WORKERS;
}

static inline size_t pn_align16(size_t floats) { return (floats + 15) & ~(size_t)15; }

/* Cuts arrays out of scratch. Without a base it only counts, so that a scratch function and the
 * op that uses the scratch are the same lines. */
typedef struct pn_carver {
    float *base;
    size_t used; /* floats */
} pn_carver;

static inline float *pn_carve(pn_carver *from, size_t floats) {
    float *array = from->base ? from->base + from->used : NULL;
    from->used += pn_align16(floats);
    return array;
}

/* For the arrays of a workspace, which is there when an op runs. */
static inline pn_carver pn_workspace(float *workspace) {
    assert(workspace);
    return (pn_carver){.base = workspace};
}

/* What the frame knows of a prepared job: an op's own struct begins with it. */
typedef struct pn_prepared {
    /* The op says: */
    int N, shares_dx;      /* images; dx is the one of the job before */
    size_t space_floats;   /* of a workspace */
    size_t partial_floats; /* of a partial, 0 if there are no sums */
    /* The frame adds: */
    float *partials;     /* a partial per chunk, ... */
    size_t partial_step; /* ... so many floats apart */
    size_t local_at;     /* where the partial is gathered in a workspace, if it is a small one */
} pn_prepared;

/* An op: its arithmetic, in the functions that the frame calls. What belongs to forward comes
 * first, to backward second. */
typedef struct pn_host_op {
    size_t bytes; /* of its prepared job, at most PN_PREPARED_BYTES */
    /* Fills `prepared`, which is all zero, for jobs[j]: sizes, and arrays cut out of scratch. */
    void (*lay_out)(void *prepared, const void *jobs, int j, int backward, pn_carver *scratch);
    /* Fills those arrays; NULL: there is nothing that all chunks have in common. */
    void (*prepare)(const void *prepared, int backward);
    /* The images first .. end-1 of one chunk; adds to the partial, which begins as zeros. */
    void (*run[2])(const void *prepared, int first, int end, float *workspace, float *partial);
    /* Backward, `run` takes an image for all jobs of a group before the next image. */
    int by_image;
    /* What follows when all chunks are done, in so many shares; 0: nothing. finish may be NULL. */
    int shares[2];
    void (*finish[2])(const void *prepared, int share, float *workspace);
    /* The sums for the BatchNorms of the job's inputs. Called in the order of the jobs for those
     * that share dx: they share the norms, too. */
    void (*finish_inputs)(const void *prepared);
} pn_host_op;

enum { PN_PREPARED_BYTES = 1024, PN_SHARES = 8 };

/* Bytes of scratch of a call, and the call itself: jobs are checked before. */
size_t pn_frame_scratch(const pn_host_op *op, const void *jobs, int count, int backward);
pn_status pn_frame_run(const pn_host_op *op, const char *name, const void *jobs, int count,
                       int backward, const pn_launch *launch);

/* A table, which nobody reads here: the jobs alone. */
size_t pn_frame_table(const void *jobs, int count, size_t job_bytes, void *table);

/* The functions of an op, of kernels.h. */
#define PN_HOST_OP(op, frame)                                                                   \
    size_t PN_NAME(pn_##op##_fwd_scratch)(const pn_##op *jobs, int count) {                     \
        if (pn_check_##op##_shapes(#op "_fwd_scratch", jobs, count)) return PN_NO_SCRATCH;      \
        return pn_frame_scratch(&(frame), jobs, count, 0);                                      \
    }                                                                                           \
    size_t PN_NAME(pn_##op##_bwd_scratch)(const pn_##op *jobs, int count) {                     \
        if (pn_check_##op##_shapes(#op "_bwd_scratch", jobs, count)) return PN_NO_SCRATCH;      \
        return pn_frame_scratch(&(frame), jobs, count, 1);                                      \
    }                                                                                           \
    size_t PN_NAME(pn_##op##_fwd_table)(const pn_##op *jobs, int count, void *table) {          \
        if (pn_check_##op##_shapes(#op "_fwd_table", jobs, count)) return PN_NO_SCRATCH;        \
        return pn_frame_table(jobs, count, sizeof *jobs, table);                                \
    }                                                                                           \
    size_t PN_NAME(pn_##op##_bwd_table)(const pn_##op *jobs, int count, void *table) {          \
        if (pn_check_##op##_shapes(#op "_bwd_table", jobs, count)) return PN_NO_SCRATCH;        \
        return pn_frame_table(jobs, count, sizeof *jobs, table);                                \
    }                                                                                           \
    pn_status PN_NAME(pn_##op##_fwd)(const pn_##op *jobs, int count, const pn_launch *launch) { \
        PN_TRY(pn_check_##op(#op "_fwd", jobs, count, 0, launch));                              \
        return pn_frame_run(&(frame), #op "_fwd", jobs, count, 0, launch);                      \
    }                                                                                           \
    pn_status PN_NAME(pn_##op##_bwd)(const pn_##op *jobs, int count, const pn_launch *launch) { \
        PN_TRY(pn_check_##op(#op "_bwd", jobs, count, 1, launch));                              \
        return pn_frame_run(&(frame), #op "_bwd", jobs, count, 1, launch);                      \
    }

#endif
