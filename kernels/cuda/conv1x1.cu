/* conv1x1.cu -- z = W^T relu(v(x)), x a concatenation of up to four tensors, each read where it is.
 *
 * Per pixel: forward reads C floats and writes K, 2 C K operations; backward reads C + 2 K and
 * writes C (reads 2 C where it adds), 4 C K operations. Bound by memory up to about C = K = 64 on
 * cards with 20 to 35 operations a byte. See pointwise.h. */
#include "kernels/cuda/pointwise.h"

namespace {
inline const conv1x1_job *read(const pn_conv *jobs) {
    return static_cast<const conv1x1_job *>(jobs);
}
}  // namespace

extern "C" size_t PN_GPU_NAME(pn_conv1x1_fwd_scratch)(const pn_conv1x1 *jobs, int count) {
    if (pn_check_conv1x1_shapes("conv1x1_fwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    if (check_widths("conv1x1_fwd_scratch", read(jobs), count)) return PN_NO_SCRATCH;
    return size_of<pointwise_forward<conv1x1_job>>(read(jobs), count).bytes;
}

extern "C" size_t PN_GPU_NAME(pn_conv1x1_bwd_scratch)(const pn_conv1x1 *jobs, int count) {
    if (pn_check_conv1x1_shapes("conv1x1_bwd_scratch", jobs, count)) return PN_NO_SCRATCH;
    if (check_widths("conv1x1_bwd_scratch", read(jobs), count)) return PN_NO_SCRATCH;
    return sliced_size<pointwise_backward<conv1x1_job>>(read(jobs), count).bytes;
}

extern "C" pn_status PN_GPU_NAME(pn_conv1x1_fwd)(const pn_conv1x1 *jobs, int count,
                                                 const pn_launch *l) {
    PN_TRY(pn_check_conv1x1("conv1x1_fwd", jobs, count, 0, l));
    return run_forward("conv1x1_fwd", read(jobs), count, l);
}

extern "C" pn_status PN_GPU_NAME(pn_conv1x1_bwd)(const pn_conv1x1 *jobs, int count,
                                                 const pn_launch *l) {
    PN_TRY(pn_check_conv1x1("conv1x1_bwd", jobs, count, 1, l));
    return run_backward("conv1x1_bwd", read(jobs), count, l);
}
