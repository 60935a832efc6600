/* kernels/check.h -- what a call must satisfy before a backend touches data (see kernels.h). Both
 * backends refuse the same calls with the same sentences; `op` is the name that stands in them,
 * "stage_fwd". The jobs are read on the host. */
#ifndef PN_CHECK_CALL_H
#define PN_CHECK_CALL_H

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Shapes and `shares_dx` alone: all that the size of scratch depends on. */
pn_status pn_check_stem_shapes(const char *op, const pn_stem *jobs, int count);
pn_status pn_check_stage_shapes(const char *op, const pn_stage *jobs, int count);
pn_status pn_check_conv1x1_shapes(const char *op, const pn_conv1x1 *jobs, int count);
pn_status pn_check_reduce_shapes(const char *op, const pn_reduce *jobs, int count);
pn_status pn_check_conv_shapes(const char *op, const pn_conv *jobs, int count);
pn_status pn_check_pool_shapes(const char *op, const pn_pool *jobs, int count);
pn_status pn_check_node_shapes(const char *op, const pn_node *jobs, int count);
pn_status pn_check_head_shapes(const char *op, const pn_head *jobs, int count);

/* Is there as much scratch as the op's layout of these jobs takes? For an op to ask when it has
 * checked the call, before it writes to scratch. */
pn_status pn_check_room(const char *op, const pn_launch *l, size_t bytes);

/* All but the size of scratch: shapes, the launch, pointers, and that the jobs that share dx are
 * those that say so. */
pn_status pn_check_stem(const char *op, const pn_stem *jobs, int count, int backward,
                        const pn_launch *l);
pn_status pn_check_stage(const char *op, const pn_stage *jobs, int count, int backward,
                         const pn_launch *l);
pn_status pn_check_conv1x1(const char *op, const pn_conv1x1 *jobs, int count, int backward,
                           const pn_launch *l);
pn_status pn_check_reduce(const char *op, const pn_reduce *jobs, int count, int backward,
                          const pn_launch *l);
pn_status pn_check_conv(const char *op, const pn_conv *jobs, int count, int backward,
                        const pn_launch *l);
pn_status pn_check_pool(const char *op, const pn_pool *jobs, int count, int backward,
                        const pn_launch *l);
pn_status pn_check_node(const char *op, const pn_node *jobs, int count, int backward,
                        const pn_launch *l);
pn_status pn_check_head(const char *op, const pn_head *jobs, int count, int backward,
                        const pn_launch *l);
pn_status pn_check_ranges(const char *op, const pn_range *ranges, int count);
pn_status pn_check_scale(const pn_range *ranges, int count, const float *value);
pn_status pn_check_sgd(pn_sgd s);
pn_status pn_check_tally(const pn_range *ranges, int count, const float *packed,
                         const pn_share *share, const int64_t *sum, const float *scale);
pn_status pn_check_settle(const pn_range *ranges, int count, const int64_t *sum, const float *scale,
                          const float *to);
pn_status pn_check_share(const pn_result *found, int samples, int shards, double temperature,
                         double skip_below, const pn_share *share);

#ifdef __cplusplus
}
#endif

#endif
