/* backend.c -- the twins as a backend: whole programs in double precision.
 *
 * A program bound to floats runs through this table on the doubles that stand for them. Gates and
 * scratch are the fast kernels' affair; weights and updates are not part of a program. */
#include "kernels/reference/backend.h"

static _Thread_local const pn_twins *doubles;

#define OP(FAMILY, op, with)                                                        \
    static size_t op##_scratch(const pn_##op *jobs, int count) {                    \
        (void)jobs;                                                                 \
        (void)count;                                                                \
        return 0;                                                                   \
    }                                                                               \
    static size_t op##_table(const pn_##op *jobs, int count, void *table) {         \
        (void)jobs;                                                                 \
        (void)count;                                                                \
        (void)table;                                                                \
        return 0;                                                                   \
    }                                                                               \
    static pn_status op##_fwd(const pn_##op *jobs, int count, const pn_launch *l) { \
        (void)l;                                                                    \
        for (int i = 0; i < count; i++) pn_##op##_fwd_ref(&jobs[i], doubles);       \
        return PN_OK;                                                               \
    }                                                                               \
    static pn_status op##_bwd(const pn_##op *jobs, int count, const pn_launch *l) { \
        (void)l;                                                                    \
        for (int i = 0; i < count; i++) pn_##op##_bwd_ref(&jobs[i], doubles);       \
        return PN_OK;                                                               \
    }
PN_OPS(OP, )

#define CALLS(FAMILY, op, with)                                                       \
    .op##_fwd_scratch = op##_scratch, .op##_bwd_scratch = op##_scratch,               \
    .op##_fwd_table = op##_table, .op##_bwd_table = op##_table, .op##_fwd = op##_fwd, \
    .op##_bwd = op##_bwd,

const pn_kernels *pn_reference_kernels(const pn_twins *twins) {
    static const pn_kernels table = {
        .name = "reference", .memory = &pn_host_memory, PN_OPS(CALLS, )};
    doubles = twins;
    return &table;
}
