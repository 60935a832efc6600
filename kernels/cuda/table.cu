/* table.cu -- the ops of this backend as the rest of the program calls them. */
#include "kernels/cuda/op.h"

#define PN_GPU_TEXT2(a) #a
#define PN_GPU_TEXT(a) PN_GPU_TEXT2(a)
#define OP(FAMILY, op, with)                                 \
    t.op##_fwd_scratch = PN_GPU_NAME(pn_##op##_fwd_scratch); \
    t.op##_bwd_scratch = PN_GPU_NAME(pn_##op##_bwd_scratch); \
    t.op##_fwd_table = PN_GPU_NAME(pn_##op##_fwd_table);     \
    t.op##_bwd_table = PN_GPU_NAME(pn_##op##_bwd_table);     \
    t.op##_fwd = PN_GPU_NAME(pn_##op##_fwd);                 \
    t.op##_bwd = PN_GPU_NAME(pn_##op##_bwd);

namespace {
__global__ void nothing() {}
}  // namespace

/* Whose attributes tell whether the binary has code for a card. */
extern "C" const void *PN_GPU_NAME(pn_a_kernel)(void) {
    return reinterpret_cast<const void *>(nothing);
}

static pn_kernels make_table() {
    pn_kernels t = {};
    t.name = PN_GPU_TEXT(PN_GPU);
#ifndef PN_GPU_SIZES /* backend.c gives them memory */
    t.memory = &PN_GPU_NAME(pn_memory);
#endif
    PN_OPS(OP, )
    t.weigh = PN_GPU_NAME(pn_weigh);
    t.share = PN_GPU_NAME(pn_share);
    t.tally = PN_GPU_NAME(pn_tally);
    t.settle = PN_GPU_NAME(pn_settle);
    t.sgd_scratch = PN_GPU_NAME(pn_sgd_scratch);
    t.sgd = PN_GPU_NAME(pn_sgd);
    t.length = PN_GPU_NAME(pn_length);
    t.move = PN_GPU_NAME(pn_move);
    t.flop_rate = PN_GPU_NAME(pn_flop_rate);
    t.copy_rate = PN_GPU_NAME(pn_copy_rate);
    return t;
}

extern "C" const pn_kernels *PN_GPU_NAME(pn_kernels)(void) {
    static const pn_kernels table = make_table();
    return &table;
}
