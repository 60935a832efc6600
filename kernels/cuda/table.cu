/* table.cu -- the ops of this backend as the rest of the program calls them, in a table for each
 * precision. What a precision does not compile once more is that of float32. */
#include "kernels/cuda/op.h"

#include "kernels/backend_parts.h"

#define PN_GPU_TEXT2(a) #a
#define PN_GPU_TEXT(a) PN_GPU_TEXT2(a)
#define OP(FAMILY, op, name)                          \
    t.op##_fwd_scratch = name(pn_##op##_fwd_scratch); \
    t.op##_bwd_scratch = name(pn_##op##_bwd_scratch); \
    t.op##_fwd_table = name(pn_##op##_fwd_table);     \
    t.op##_bwd_table = name(pn_##op##_bwd_table);     \
    t.op##_fwd = name(pn_##op##_fwd);                 \
    t.op##_bwd = name(pn_##op##_bwd);

#ifdef PN_ALL_PRECISIONS /* else float32 alone */
/* The ops with products of matrices. */
#define PRODUCT_OPS(X, with)  \
    X(CONV1X1, conv1x1, with) \
    X(REDUCE, reduce, with)   \
    X(CONV, conv, with)       \
    X(STAGE, stage, with)
#define OF_TF32(name) PN_GPU_NAME_AT(name, tf32)
#define OF_BF16(name) PN_GPU_NAME_AT(name, bf16)
#define OF_FP16(name) PN_GPU_NAME_AT(name, fp16)
extern "C" {
PRODUCT_OPS(PN_GPU_OP, OF_TF32)
PN_OPS(PN_GPU_OP, OF_BF16)
#ifdef __CUDACC__
PN_OPS(PN_GPU_OP, OF_FP16)
#endif
}
#endif

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
    t.memory = &PN_GPU_PASTE(pn_memory, PN_GPU);
#endif
    PN_OPS(OP, PN_GPU_NAME)
    t.weigh = PN_GPU_NAME(pn_weigh);
    t.share = PN_GPU_NAME(pn_share);
    t.tally = PN_GPU_NAME(pn_tally);
    t.settle = PN_GPU_NAME(pn_settle);
    t.sgd_scratch = PN_GPU_NAME(pn_sgd_scratch);
    t.sgd = PN_GPU_NAME(pn_sgd);
    t.length = PN_GPU_NAME(pn_length);
    t.move = PN_GPU_NAME(pn_move);
    t.scale = PN_GPU_NAME(pn_scale);
    t.flop_rate = PN_GPU_NAME(pn_flop_rate);
    t.copy_rate = PN_GPU_NAME(pn_copy_rate);
    return t;
}

#ifdef PN_ALL_PRECISIONS
#ifndef __CUDACC__ /* the emulator learns at each load which halves they are: the ops of bf16 */
#define HALVES_OP(FAMILY, op, with)                                                       \
    pn_status op##_fwd_of_fp16(const pn_##op *jobs, int count, const pn_launch *launch) { \
        const pn_emulator_stores as(PN_STORED_FP16);                                      \
        return OF_BF16(pn_##op##_fwd)(jobs, count, launch);                               \
    }                                                                                     \
    pn_status op##_bwd_of_fp16(const pn_##op *jobs, int count, const pn_launch *launch) { \
        const pn_emulator_stores as(PN_STORED_FP16);                                      \
        return OF_BF16(pn_##op##_bwd)(jobs, count, launch);                               \
    }
namespace {
PN_OPS(HALVES_OP, )
}  // namespace
#endif

static pn_kernels make_table_of_tf32() {
    pn_kernels t = make_table();
    t.name = PN_GPU_TEXT(PN_GPU) "-tf32";
    t.products = PN_PRODUCTS_TF32;
    PRODUCT_OPS(OP, OF_TF32)
    return t;
}

static pn_kernels make_table_of_bf16() {
    pn_kernels t = make_table();
    t.name = PN_GPU_TEXT(PN_GPU) PN_BF16_SUFFIX;
    t.storage = PN_STORED_BF16;
    t.products = PN_PRODUCTS_TF32;
    PN_OPS(OP, OF_BF16)
    return t;
}

static pn_kernels make_table_of_fp16() {
    pn_kernels t = make_table_of_bf16();
    t.name = PN_GPU_TEXT(PN_GPU) PN_FP16_SUFFIX;
    t.storage = PN_STORED_FP16;
#ifdef __CUDACC__
    PN_OPS(OP, OF_FP16)
#else
#define HALVES(FAMILY, op, with) t.op##_fwd = op##_fwd_of_fp16, t.op##_bwd = op##_bwd_of_fp16;
    PN_OPS(HALVES, )
#endif
    return t;
}
#endif

extern "C" const pn_kernels *PN_GPU_NAME(pn_kernels)(pn_precision precision) {
    static const pn_kernels table = make_table();
    if (precision == PN_PRECISION_FLOAT32) return &table;
#ifdef PN_ALL_PRECISIONS
    static const pn_kernels table_of_tf32 = make_table_of_tf32();
    static const pn_kernels table_of_bf16 = make_table_of_bf16();
    static const pn_kernels table_of_fp16 = make_table_of_fp16();
    if (precision == PN_PRECISION_TF32) return &table_of_tf32;
    if (precision == PN_PRECISION_BF16) return &table_of_bf16;
    if (precision == PN_PRECISION_FP16) return &table_of_fp16;
#endif
    (void)pn_fail(PN_EDEVICE, "this build has the kernels of a card for float32 alone");
    return nullptr;
}
