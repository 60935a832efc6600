/* reduce.cu -- factorized reduce: two 1x1 convolutions of stride 2 on grids one pixel apart.
 *
 * Per output pixel: forward reads 2 C floats of the 4 C in its two by two pixels and writes K,
 * 2 C K operations; backward reads 2 C + 2 K and writes all 4 C (only adds to 2 C where it adds),
 * 4 C K operations. Bound by memory. See pointwise.h. */
#include "kernels/cuda/pointwise.h"

namespace {
inline const reduce_job *read(const pn_conv *jobs) { return static_cast<const reduce_job *>(jobs); }
}  // namespace

extern "C" size_t PN_GPU_NAME(pn_reduce_fwd_scratch)(const pn_reduce *jobs, int count) {
    if (pn_check_reduce_shapes("reduce_fwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    if (check_widths("reduce_fwd_scratch", read(jobs), count)) return PN_NO_SCRATCH;
    return size_of<pointwise_forward<reduce_job>>(read(jobs), count).bytes;
}

extern "C" size_t PN_GPU_NAME(pn_reduce_bwd_scratch)(const pn_reduce *jobs, int count) {
    if (pn_check_reduce_shapes("reduce_bwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    if (check_widths("reduce_bwd_scratch", read(jobs), count)) return PN_NO_SCRATCH;
    return sliced_size<pointwise_backward<reduce_job>>(read(jobs), count).bytes;
}

extern "C" pn_status PN_GPU_NAME(pn_reduce_fwd)(const pn_reduce *jobs, int count,
                                                const pn_launch *l) {
    PN_TRY(pn_check_reduce("reduce_fwd", jobs, count, 0, l));
    return run_forward("reduce_fwd", read(jobs), count, l);
}

extern "C" pn_status PN_GPU_NAME(pn_reduce_bwd)(const pn_reduce *jobs, int count,
                                                const pn_launch *l) {
    PN_TRY(pn_check_reduce("reduce_bwd", jobs, count, 1, l));
    return run_backward("reduce_bwd", read(jobs), count, l);
}
