/* conv.cu -- refuses until it has kernels. */
#include "kernels/cuda/op.h"

extern "C" size_t PN_GPU_NAME(pn_conv_fwd_scratch)(const pn_conv *, int) { return 0; }
extern "C" size_t PN_GPU_NAME(pn_conv_bwd_scratch)(const pn_conv *, int) { return 0; }

extern "C" pn_status PN_GPU_NAME(pn_conv_fwd)(const pn_conv *jobs, int count, const pn_launch *l) {
    PN_TRY(pn_check_conv("conv_fwd", jobs, count, 0, l));
    return pn_fail(PN_EDEVICE, "conv_fwd: no kernel of this backend yet");
}

extern "C" pn_status PN_GPU_NAME(pn_conv_bwd)(const pn_conv *jobs, int count, const pn_launch *l) {
    PN_TRY(pn_check_conv("conv_bwd", jobs, count, 1, l));
    return pn_fail(PN_EDEVICE, "conv_bwd: no kernel of this backend yet");
}
