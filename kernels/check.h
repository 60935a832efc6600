/* kernels/check.h -- what a call must satisfy before a backend touches data (see kernels.h). Both
 * backends refuse the same calls with the same sentences; `op` is the name that stands in them,
 * "stage_fwd". The jobs are read on the host. */
#ifndef PN_CHECK_CALL_H
#define PN_CHECK_CALL_H

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Shapes alone: all that the size of scratch depends on. */
pn_status pn_check_stem_shapes(const char *op, const pn_stem *jobs, int count);
pn_status pn_check_stage_shapes(const char *op, const pn_stage *jobs, int count);
pn_status pn_check_conv1x1_shapes(const char *op, const pn_conv1x1 *jobs, int count);
pn_status pn_check_reduce_shapes(const char *op, const pn_reduce *jobs, int count);
pn_status pn_check_conv_shapes(const char *op, const pn_conv *jobs, int count);

/* Does job j share a dx with the job before? */
int pn_stage_shares_dx(const pn_stage *jobs, int j);
int pn_conv_shares_dx(const pn_conv *jobs, int j);
int pn_pool_shares_dx(const pn_pool *jobs, int j);
int pn_node_shares_dx(const pn_node *jobs, int j);
int pn_head_shares_dx(const pn_head *jobs, int j);

/* Everything: the call, shapes, pointers, and jobs that share dx. */
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

#ifdef __cplusplus
}
#endif

#endif
