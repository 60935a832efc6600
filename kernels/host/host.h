/* kernels/host/host.h -- what the files of the host backend share beyond the contract: names per
 * instruction set, the fixed division of work, and BatchNorm's two ends.
 *
 * Each op is compiled once per instruction set and element type (PN_ISA base, avx2, avx512; with
 * PN_NARROW=1 base_bf16, ...; PN_LANES floats in a vector); host.c chooses a table at start. So
 * nothing here may be a global symbol but through PN_NAME(). */
#ifndef PN_HOST_H
#define PN_HOST_H

#ifdef PN_ISA
#ifndef PN_NARROW
#define PN_NARROW 0
#endif
#if PN_NARROW /* bf16 */
#define PN_STORED uint16_t
#else
#define PN_STORED float
#endif
#endif

#include "kernels/check.h"

#ifdef PN_ISA
#define PN_PASTE2(a, b) a##_##b
#define PN_PASTE(a, b) PN_PASTE2(a, b)
#define PN_NAME(name) PN_PASTE(name, PN_ISA) /* pn_stage_fwd -> pn_stage_fwd_avx2 */
#endif

/* The functions of one op, or of all, for one instruction set. The files that define them see
 * these declarations as well, so that a table of host.c cannot disagree with them. */
#define PN_DECLARE_OP(FAMILY, op, isa)                                                      \
    size_t pn_##op##_fwd_scratch_##isa(const pn_##op *jobs, int count);                     \
    size_t pn_##op##_bwd_scratch_##isa(const pn_##op *jobs, int count);                     \
    size_t pn_##op##_fwd_table_##isa(const pn_##op *jobs, int count, void *table);          \
    size_t pn_##op##_bwd_table_##isa(const pn_##op *jobs, int count, void *table);          \
    pn_status pn_##op##_fwd_##isa(const pn_##op *jobs, int count, const pn_launch *launch); \
    pn_status pn_##op##_bwd_##isa(const pn_##op *jobs, int count, const pn_launch *launch);
#define PN_DECLARE_ALL(isa)                                                                        \
    PN_OPS(PN_DECLARE_OP, isa)                                                                     \
    pn_status pn_weigh_##isa(const pn_result *result, double temperature, double skip_below,       \
                             pn_importance *w, const pn_launch *launch);                           \
    pn_status pn_share_##isa(const pn_result *found, int samples, int shards, double temperature,  \
                             double skip_below, pn_share *share, const pn_launch *launch);         \
    pn_status pn_tally_##isa(const pn_range *ranges, int count, const float *packed,               \
                             const pn_share *share, int64_t *sum, float *scale,                    \
                             const pn_launch *launch);                                             \
    pn_status pn_settle_##isa(const pn_range *ranges, int count, const int64_t *sum, float keep,   \
                              const float *scale, float *to, const pn_launch *launch);             \
    size_t pn_sgd_scratch_##isa(const pn_range *ranges, int count);                                \
    pn_status pn_sgd_##isa(const pn_range *ranges, int count, float *value, const float *gradient, \
                           float *velocity, const float *scale, pn_sgd s, double *norm_out,        \
                           const pn_launch *launch);                                               \
    pn_status pn_length_##isa(const pn_range *ranges, int count, const float *gradient,            \
                              const float *scale, double *length, const pn_launch *launch);        \
    pn_status pn_move_##isa(const pn_range *ranges, int count, float *value, const float *from,    \
                            const float *along, const double *length, float step,                  \
                            const pn_launch *launch);                                              \
    pn_status pn_scale_##isa(const pn_range *ranges, int count, float *value, float by,            \
                             const pn_launch *launch);                                             \
    double pn_flop_rate_##isa(void);                                                               \
    double pn_copy_rate_##isa(size_t bytes);
#ifdef PN_ISA
#define PN_DECLARE_ISA(isa) PN_DECLARE_ALL(isa)
PN_DECLARE_ISA(PN_ISA)
#endif

/* The batch is cut into at most PN_CHUNKS runs of images. A chunk is the unit of work, and each
 * has a partial of its own for every sum: so the bits of a result depend on N, never on the number
 * of threads. */
enum { PN_CHUNKS = 16 };

static inline int pn_chunks(int N) { return N < PN_CHUNKS ? N : PN_CHUNKS; }
/* First image of a chunk; of chunk + 1: one past the last. */
static inline int pn_chunk_first(int N, int chunk) { return (int)((long)N * chunk / pn_chunks(N)); }

static inline size_t pn_align64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

#endif
