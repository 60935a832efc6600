/* kernels/cuda/gpu.h -- the language the .cu files are written in: CUDA C, with a few words of our
 * own where a CPU must be able to run the same text.
 *
 * Each .cu file is compiled twice: by nvcc for the card, and by g++ for the emulator of
 * kernels/emulator, which runs every thread of a block as a fiber and finds races, divergent
 * barriers and reads of what nobody wrote. A build that has neither compiles it for PN_GPU_SIZES:
 * how much scratch a card would need, and no kernel.
 *
 * So a kernel file includes this header and no other of CUDA's, has no <<<>>>, no inline assembly
 * and no cooperative groups. What it may use as it is:
 * __global__, __device__, __host__, __forceinline__, __launch_bounds__, __restrict__, threadIdx.x,
 * blockIdx.x, blockDim.x, gridDim.x, __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync,
 * __shfl_down_sync, __threadfence, atomicAdd and atomicExch on unsigned, __ldg, fmaf, rint, float2,
 * float4, int2, int4, make_float2, make_float4, make_int4, __float_as_uint, __uint_as_float,
 * #pragma unroll, templates, lambdas. */
#ifndef PN_GPU_H
#define PN_GPU_H

#include "kernels/precision.h"

#ifdef __CUDACC__

#include <cuda_runtime.h>

#include <cmath>
#include <cstddef>

#define PN_GPU cuda /* the suffix of this backend's functions */

/* An array shared by the threads of a block: GPU_SHARED(float, sums, [8][64]); its contents are
 * undefined at first (the emulator fills it with NaN). */
#define GPU_SHARED(type, name, ...) __shared__ __align__(16) type name __VA_ARGS__

/* The block's dynamic shared memory, of as many bytes as the launch says; 16-byte aligned. */
#define GPU_DYNAMIC(type, name)                          \
    extern __shared__ __align__(16) char gpu_dynamic_[]; \
    type *const name = reinterpret_cast<type *>(gpu_dynamic_)

/* 16 bytes at once, 8, 4; p must be aligned to them. gpu_read*: of what the kernel never writes. */
__device__ __forceinline__ float4 gpu_load4(const float *p) {
    return *reinterpret_cast<const float4 *>(p);
}
__device__ __forceinline__ float4 gpu_read4(const float *p) {
    return __ldg(reinterpret_cast<const float4 *>(p));
}
__device__ __forceinline__ void gpu_store4(float *p, float4 v) {
    *reinterpret_cast<float4 *>(p) = v;
}

/* The same of 4 numbers of bf16 or fp16, in 8 bytes: loads widen, stores round to the nearest, of
 * two the even one, NaN to NaN. */
#if PN_NARROW == PN_NARROW_FP16
__device__ __forceinline__ float2 gpu_widen2(unsigned both) {
    float2 v;
    asm("{.reg .f16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
        : "=f"(v.x), "=f"(v.y)
        : "r"(both));
    return v;
}
__device__ __forceinline__ float4 gpu_widen(uint2 v) {
    const float2 low = gpu_widen2(v.x), high = gpu_widen2(v.y);
    return make_float4(low.x, low.y, high.x, high.y);
}
__device__ __forceinline__ unsigned gpu_narrow(float low, float high) {
    unsigned both;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#else
    asm("{.reg .f16 low, high; cvt.rn.f16.f32 low, %1; cvt.rn.f16.f32 high, %2;"
        " mov.b32 %0, {low, high};}"
        : "=r"(both)
        : "f"(low), "f"(high));
#endif
    return both;
}
#else
__device__ __forceinline__ float4 gpu_widen(uint2 v) {
    return make_float4(__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u),
                       __uint_as_float(v.y << 16), __uint_as_float(v.y & 0xffff0000u));
}
__device__ __forceinline__ unsigned gpu_narrow(float low, float high) {
    unsigned both;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#else
    const unsigned l = __float_as_uint(low), h = __float_as_uint(high);
    const unsigned l_up = low == low ? l + 0x7fffu + (l >> 16 & 1) : 0xffffffffu;
    const unsigned h_up = high == high ? h + 0x7fffu + (h >> 16 & 1) : 0xffffffffu;
    both = l_up >> 16 | (h_up & 0xffff0000u);
#endif
    return both;
}
#endif
__device__ __forceinline__ float4 gpu_load4(const uint16_t *p) {
    return gpu_widen(*reinterpret_cast<const uint2 *>(p));
}
__device__ __forceinline__ float4 gpu_read4(const uint16_t *p) {
    return gpu_widen(__ldg(reinterpret_cast<const uint2 *>(p)));
}
__device__ __forceinline__ void gpu_store4(uint16_t *p, float4 v) {
    *reinterpret_cast<uint2 *>(p) = make_uint2(gpu_narrow(v.x, v.y), gpu_narrow(v.z, v.w));
}

__device__ __forceinline__ float gpu_load1(const float *p) { return *p; }
__device__ __forceinline__ float gpu_read1(const float *p) { return __ldg(p); }
__device__ __forceinline__ void gpu_store2(float *p, float2 v) {
    *reinterpret_cast<float2 *>(p) = v;
}

/* The architecture that is compiled for, 90 for sm_90: where its registers are another matter. */
#ifdef __CUDA_ARCH__
__device__ constexpr int gpu_arch() { return __CUDA_ARCH__ / 10; }
#else
__device__ constexpr int gpu_arch() { return 0; }
#endif

/* Tensor cores (mma.h). Are products faster on them? By their data sheets a multiprocessor of sm_80
 * makes 512 products of tf32 a clock, one of sm_90 1024; of sm_86, 89 and 120 128, as many as of
 * floats: there one of tf32 for each of floats takes fewer loads, and three are slower. Those of
 * sm_75 make no products of tf32, but 512 of halves (of a GeForce 256), eight (four) times as many
 * as of floats; so what stores fp16, which is for them, multiplies halves, on any card.
 * PN_GPU_MMA_WISH: 1 or 0 all the same, to compare (tools/gpu-pack). */
#define PN_GPU_MMA_HALVES (PN_NARROW == PN_NARROW_FP16)
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < (PN_GPU_MMA_HALVES ? 750 : 800)
#define PN_GPU_MMA 0
#elif defined(PN_GPU_MMA_WISH)
#define PN_GPU_MMA PN_GPU_MMA_WISH
#elif !PN_GPU_EXACT || __CUDA_ARCH__ == 800 || __CUDA_ARCH__ / 100 == 9 || __CUDA_ARCH__ / 100 == 10
#define PN_GPU_MMA 1
#else
#define PN_GPU_MMA 0
#endif
__device__ constexpr bool gpu_prefers_mma() { return PN_GPU_MMA; }
__device__ constexpr bool gpu_mma_halves() { return PN_GPU_MMA_HALVES; }

/* sum += a b, 16 x 8 += 16 x 8 times 8 x 8, by a whole warp, of numbers that are a sum of two: as
 * low high + high low + high high, of whose operands the 13 lowest bits are not looked at; or where
 * less is enough, of the high ones alone; or of these rounded to halves. Who has what of them says
 * mma.h. */
struct gpu_mma_a {
    unsigned high[4], low[4];
};
struct gpu_mma_b {
    unsigned high[2], low[2];
};
__device__ __forceinline__ void gpu_mma_part(float4 &sum, const unsigned (&a)[4],
                                             const unsigned (&b)[2]) {
#if PN_GPU_MMA && PN_GPU_MMA_HALVES
    const auto pair = [](unsigned first, unsigned second) {
        return gpu_narrow(__uint_as_float(first), __uint_as_float(second));
    };
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(sum.x), "+f"(sum.y), "+f"(sum.z), "+f"(sum.w)
        : "r"(pair(a[0], a[2])), "r"(pair(a[1], a[3])), "r"(pair(b[0], b[1])));
#elif PN_GPU_MMA
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum.x), "+f"(sum.y), "+f"(sum.z), "+f"(sum.w)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
/* The sum may be looked at behind gpu_mma_end(), which a whole warp calls: the emulator does many
 * products at once. */
__device__ __forceinline__ void gpu_mma_end() {}
__device__ __forceinline__ void gpu_mma(float4 &sum, const gpu_mma_a &a, const gpu_mma_b &b) {
#if PN_GPU_EXACT
    gpu_mma_part(sum, a.low, b.high);
    gpu_mma_part(sum, a.high, b.low);
#endif
    gpu_mma_part(sum, a.high, b.high);
}

/* What every kernel says, before it reads anything that a launch before it may have written: wait
 * until those have ended. From sm_90 on a launch may come up while the one before it still runs
 * (programmatic dependent launch): so the gap between two, and finding its place in a table that
 * no launch writes, cost it nothing. The next one may follow when all blocks have come here. */
__device__ __forceinline__ void gpu_wait_for_launches() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
extern "C" unsigned pn_overlaps_cuda(void); /* 1: launches may come up so; else 0 (memory.cc) */
#ifndef PN_OVERLAPS /* 0: of kernels that are compiled for earlier cards alone, and do not wait */
#define PN_OVERLAPS pn_overlaps_cuda()
#endif

struct gpu_grid {
    unsigned blocks, threads;
    size_t shared; /* bytes of dynamic shared memory */
    pn_stream stream;
};

extern "C" long pn_launches_cuda(void); /* kernels launched so far */
extern "C" void pn_count_launch_cuda(void);

/* Launches kernel(a...). PN_EDEVICE names `what`. */
template <class... P, class... A>
inline pn_status gpu_launch(const char *what, gpu_grid g, void (*kernel)(P...), A... a) {
    if (g.blocks == 0) return PN_OK;
    cudaError_t e = cudaSuccess;
    if (g.shared > 48 * 1024)
        e = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, (int)g.shared);
    if (e == cudaSuccess) {
        cudaLaunchAttribute overlap = {};
        overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        overlap.val.programmaticStreamSerializationAllowed = 1;
        cudaLaunchConfig_t how = {};
        how.gridDim = dim3(g.blocks);
        how.blockDim = dim3(g.threads);
        how.dynamicSmemBytes = g.shared;
        how.stream = reinterpret_cast<cudaStream_t>(g.stream);
        how.attrs = &overlap;
        how.numAttrs = PN_OVERLAPS;
        e = cudaLaunchKernelEx(&how, kernel, a...);
        if (e != cudaSuccess) (void)cudaGetLastError(); /* else the next one has it, too */
    }
    pn_count_launch_cuda();
    if (e == cudaSuccess) return PN_OK;
    return pn_fail(PN_EDEVICE, "%s: %u blocks of %u threads and %zu bytes: %s", what, g.blocks,
                   g.threads, g.shared, cudaGetErrorString(e));
}

#else

#include "kernels/emulator/emulator.h" /* the same words, and PN_GPU = emulated, or sized */

#endif

/* pn_stage_fwd -> pn_stage_fwd_cuda, pn_stage_fwd_cuda_tf32 */
#define PN_GPU_PASTE2(a, b) a##_##b
#define PN_GPU_PASTE(a, b) PN_GPU_PASTE2(a, b)
#define PN_GPU_NAME_AT(name, precision) PN_GPU_PASTE(PN_GPU_PASTE(name, PN_GPU), precision)
#ifdef PN_PRECISION
#define PN_GPU_NAME(name) PN_GPU_NAME_AT(name, PN_PRECISION)
#else
#define PN_GPU_NAME(name) PN_GPU_PASTE(name, PN_GPU)
#endif

#endif
