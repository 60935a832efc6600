/* emulator.h -- the words of kernels/cuda/gpu.h for a CPU: the .cu files, compiled by a C++
 * compiler and run by kernels/emulator/emulator.cc.
 *
 *   g++ -std=c++17 -O2 -Wall -Wextra -Wno-unknown-pragmas -I. -x c++ -c kernels/cuda/x.cu
 *   (clang++: the same, with -Wno-pass-failed) and link with emulator.cc, check.c, status.c
 *
 * The threads of a block run one after another on one OS thread. A thread runs until it waits at
 * a barrier or in a warp's operation; then it keeps its stack and the next one runs (a fiber per
 * thread that waits; threads that never wait share one). Blocks are shared out among OS threads. A
 * launch has run when gpu_launch returns, unless streams are late (streams.h).
 *
 * What ends a launch with PN_EDEVICE and a sentence that names block, thread and source line: a
 * barrier that not all threads reach, or not the same one; a warp's operation that lanes in its
 * mask do not join, or with other masks, or from which a lane reads that is not there; products of
 * tensor cores that nobody has waited for; 16 bytes at once from an address that is no multiple of
 * 16; more shared memory than a card has. Shared memory is filled with NaN (0xff) before each
 * block. An AddressSanitizer build sees what is out of bounds, and with kernels compiled for
 * hooks.cc, every race (see there).
 *
 * Environment (read once):
 *   PN_EMULATOR_ORDER    forward (default), reverse, or a number: the seed of a random order
 *   PN_EMULATOR_THREADS  OS threads that run blocks; default: all cores. With 1, launches that come
 *                        from several OS threads run at once, as on several streams
 *   PN_EMULATOR_CARD     75: a card without tensor cores for floats; 80 (default): one with them,
 *                        where kernels take those products that gpu_prefers_mma() speaks of
 *   PN_EMULATOR_STREAMS  a seed: what is queued runs when the host waits for it, and streams in a
 *                        random order (streams.h); 0 (default): at once
 *   PN_EMULATOR_TIMEOUT  seconds of processor time after which a launch is given up; 0 (default):
 *                        never
 *
 * fmaf is a * b + c with the rounding of the machine it is compiled for: fused only where that has
 * an instruction for it. There is no atomicAdd on float: this library has no use for it. */
#ifndef PN_EMULATOR_H
#define PN_EMULATOR_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/precision.h"

#include "kernels/halves.h" /* behind it: which type the tensors of jobs have */

#ifdef PN_GPU_SIZES
#define PN_GPU sized /* for what an op asks of a card alone: no kernel is compiled, none runs */
#else
#define PN_GPU emulated
#endif

#if defined(__SANITIZE_THREAD__)
#define PN_EMULATOR_HOOKS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PN_EMULATOR_HOOKS 1
#endif
#endif

/* ---- words of the language ------------------------------------------------------------------- */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}

/* ---- where we are ---------------------------------------------------------------------------- */

struct pn_emulator_thread {
    dim3 index;
};
struct pn_emulator_block {
    dim3 index, threads, blocks;
};
/* __thread and not thread_local: no call behind each use. A fiber never changes its OS thread. */
extern __thread const pn_emulator_thread *pn_emulator_self; /* NULL: not in a kernel */
extern __thread pn_emulator_block pn_emulator_at;

#define threadIdx (pn_emulator_self->index)
#define blockIdx (pn_emulator_at.index)
#define blockDim (pn_emulator_at.threads)
#define gridDim (pn_emulator_at.blocks)

/* The line that calls, as default arguments of what it calls. */
#define PN_EMULATOR_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* ---- shared memory --------------------------------------------------------------------------- */

/* The block's memory for one declaration, which gets its number on first use. */
void *pn_emulator_shared(int *number, size_t bytes, const char *file, int line);
void *pn_emulator_dynamic(void);

#define GPU_SHARED(type, name, ...)                                                          \
    struct name##_shared_ {                                                                  \
        type array __VA_ARGS__;                                                              \
    };                                                                                       \
    static int name##_number_;                                                               \
    auto &name =                                                                             \
        static_cast<name##_shared_ *>(                                                       \
            pn_emulator_shared(&name##_number_, sizeof(name##_shared_), __FILE__, __LINE__)) \
            ->array

#define GPU_DYNAMIC(type, name) type *const name = static_cast<type *>(pn_emulator_dynamic())

/* ---- 4 and 16 bytes at once ------------------------------------------------------------------ */

[[noreturn]] void pn_emulator_misaligned(const void *p, unsigned bytes, const char *file, int line);

#ifdef PN_EMULATOR_HOOKS /* reported as one access, whatever the compiler makes of it */
float4 pn_hooked_load4(const float *p, const char *file, int line);
void pn_hooked_store4(float *p, const float4 &v, const char *file, int line);
uint2 pn_hooked_load_halves(const uint16_t *p, const char *file, int line);
void pn_hooked_store_halves(uint16_t *p, const uint2 &v, const char *file, int line);
float pn_hooked_load1(const float *p, const char *file, int line);
void pn_hooked_store2(float *p, const float2 &v, const char *file, int line);
#define pn_emulator_load1 pn_hooked_load1
#define pn_emulator_store2 pn_hooked_store2
#define pn_emulator_load_halves pn_hooked_load_halves
#define pn_emulator_store_halves pn_hooked_store_halves
#define pn_emulator_load4 pn_hooked_load4
#define pn_emulator_store4 pn_hooked_store4
#else
static inline float4 pn_emulator_load4(const float *p, const char *, int) {
    return *reinterpret_cast<const float4 *>(p);
}
static inline void pn_emulator_store4(float *p, const float4 &v, const char *, int) {
    *reinterpret_cast<float4 *>(p) = v;
}
static inline uint2 pn_emulator_load_halves(const uint16_t *p, const char *, int) {
    return *reinterpret_cast<const uint2 *>(p);
}
static inline void pn_emulator_store_halves(uint16_t *p, const uint2 &v, const char *, int) {
    *reinterpret_cast<uint2 *>(p) = v;
}
static inline float pn_emulator_load1(const float *p, const char *, int) { return *p; }
static inline void pn_emulator_store2(float *p, const float2 &v, const char *, int) {
    *reinterpret_cast<float2 *>(p) = v;
}
#endif

static __forceinline__ float4 gpu_load4(const float *p, PN_EMULATOR_SITE) {
    if (reinterpret_cast<uintptr_t>(p) % 16) pn_emulator_misaligned(p, 16, file, line);
    return pn_emulator_load4(p, file, line);
}
static __forceinline__ float4 gpu_read4(const float *p, PN_EMULATOR_SITE) {
    return gpu_load4(p, file, line);
}
static __forceinline__ void gpu_store4(float *p, float4 v, PN_EMULATOR_SITE) {
    if (reinterpret_cast<uintptr_t>(p) % 16) pn_emulator_misaligned(p, 16, file, line);
    pn_emulator_store4(p, v, file, line);
}
/* The same of halves, 8 bytes: of bf16; or of fp16, as long as there is a pn_emulator_stores that
 * says so, which comes and goes between launches. So both are one text, compiled once. */
extern pn_storage pn_emulator_halves;
struct pn_emulator_stores {
    explicit pn_emulator_stores(pn_storage storage) { pn_emulator_halves = storage; }
    ~pn_emulator_stores() { pn_emulator_halves = PN_STORED_BF16; }
    pn_emulator_stores(const pn_emulator_stores &) = delete;
    pn_emulator_stores &operator=(const pn_emulator_stores &) = delete;
};
static __forceinline__ float2 gpu_widen2(unsigned both) {
    return make_float2(pn_half_widen(pn_emulator_halves, (uint16_t)both),
                       pn_half_widen(pn_emulator_halves, (uint16_t)(both >> 16)));
}
static __forceinline__ unsigned gpu_narrow(float low, float high) {
    return pn_half_narrow(pn_emulator_halves, low) |
           (unsigned)pn_half_narrow(pn_emulator_halves, high) << 16;
}
static __forceinline__ float4 gpu_load4(const uint16_t *p, PN_EMULATOR_SITE) {
    if (reinterpret_cast<uintptr_t>(p) % 8) pn_emulator_misaligned(p, 8, file, line);
    const uint2 v = pn_emulator_load_halves(p, file, line);
    const float2 low = gpu_widen2(v.x), high = gpu_widen2(v.y);
    return make_float4(low.x, low.y, high.x, high.y);
}
static __forceinline__ float4 gpu_read4(const uint16_t *p, PN_EMULATOR_SITE) {
    return gpu_load4(p, file, line);
}
static __forceinline__ void gpu_store4(uint16_t *p, float4 v, PN_EMULATOR_SITE) {
    if (reinterpret_cast<uintptr_t>(p) % 8) pn_emulator_misaligned(p, 8, file, line);
    pn_emulator_store_halves(p, make_uint2(gpu_narrow(v.x, v.y), gpu_narrow(v.z, v.w)), file, line);
}
static __forceinline__ float gpu_load1(const float *p, PN_EMULATOR_SITE) {
    return pn_emulator_load1(p, file, line);
}
static __forceinline__ float gpu_read1(const float *p, PN_EMULATOR_SITE) {
    return pn_emulator_load1(p, file, line);
}
static __forceinline__ void gpu_store2(float *p, float2 v, PN_EMULATOR_SITE) {
    if (reinterpret_cast<uintptr_t>(p) % 8) pn_emulator_misaligned(p, 8, file, line);
    pn_emulator_store2(p, v, file, line);
}
template <class T>
static __forceinline__ T __ldg(const T *p) {
    return *p;
}

/* ---- barriers and fences --------------------------------------------------------------------- */

enum { PN_EMULATOR_COUNT, PN_EMULATOR_AND, PN_EMULATOR_OR }; /* what a barrier gives back */
int pn_emulator_barrier(int kind, int value, const char *file, int line);

static inline void __syncthreads(PN_EMULATOR_SITE) {
    pn_emulator_barrier(PN_EMULATOR_COUNT, 0, file, line);
}
static inline int __syncthreads_count(int value, PN_EMULATOR_SITE) {
    return pn_emulator_barrier(PN_EMULATOR_COUNT, value, file, line);
}
static inline int __syncthreads_and(int value, PN_EMULATOR_SITE) {
    return pn_emulator_barrier(PN_EMULATOR_AND, value, file, line);
}
static inline int __syncthreads_or(int value, PN_EMULATOR_SITE) {
    return pn_emulator_barrier(PN_EMULATOR_OR, value, file, line);
}

void pn_hooked_fence(void);
static inline void __threadfence() {
#ifdef PN_EMULATOR_HOOKS
    pn_hooked_fence();
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}
static inline void __threadfence_block() {}

/* ---- operations of a warp -------------------------------------------------------------------- */

enum {
    PN_EMULATOR_SYNC,
    PN_EMULATOR_SHFL,
    PN_EMULATOR_SHFL_XOR,
    PN_EMULATOR_SHFL_DOWN,
    PN_EMULATOR_SHFL_UP,
    PN_EMULATOR_BALLOT,
    PN_EMULATOR_MMA
};
uint64_t pn_emulator_warp(int kind, unsigned mask, uint64_t value, int arg, int width,
                          const char *file, int line);

template <class T>
static inline T pn_emulator_shuffle(int kind, unsigned mask, T value, int arg, int width,
                                    const char *file, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = pn_emulator_warp(kind, mask, bits, arg, width, file, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, PN_EMULATOR_SITE) {
    pn_emulator_warp(PN_EMULATOR_SYNC, mask, 0, 0, 32, file, line);
}
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, PN_EMULATOR_SITE) {
    return pn_emulator_shuffle(PN_EMULATOR_SHFL, mask, value, lane, width, file, line);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                                PN_EMULATOR_SITE) {
    return pn_emulator_shuffle(PN_EMULATOR_SHFL_XOR, mask, value, lanes, width, file, line);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                                 PN_EMULATOR_SITE) {
    return pn_emulator_shuffle(PN_EMULATOR_SHFL_DOWN, mask, value, (int)by, width, file, line);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                               PN_EMULATOR_SITE) {
    return pn_emulator_shuffle(PN_EMULATOR_SHFL_UP, mask, value, (int)by, width, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int value, PN_EMULATOR_SITE) {
    return (unsigned)pn_emulator_warp(PN_EMULATOR_BALLOT, mask, value != 0, 0, 32, file, line);
}
static inline int __any_sync(unsigned mask, int value, PN_EMULATOR_SITE) {
    return __ballot_sync(mask, value, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int value, PN_EMULATOR_SITE) {
    return __ballot_sync(mask, value, file, line) == mask;
}

/* ---- atomics --------------------------------------------------------------------------------- */

#define PN_EMULATOR_ATOMICS(T) \
    T atomicAdd(T *p, T v);    \
    T atomicExch(T *p, T v);   \
    T atomicMax(T *p, T v);    \
    T atomicCAS(T *p, T old, T v);
PN_EMULATOR_ATOMICS(int)
PN_EMULATOR_ATOMICS(unsigned)
#undef PN_EMULATOR_ATOMICS
float atomicAdd(float *, float) = delete;
double atomicAdd(double *, double) = delete;

/* ---- arithmetic ------------------------------------------------------------------------------ */

float pn_hooked_fma(float a, float b, float c);
static inline float pn_emulator_fma(float a, float b, float c) {
#if defined(PN_EMULATOR_HOOKS)
    return pn_hooked_fma(a, b, c);
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c; /* the library's fmaf without that instruction takes 50 times as long */
#endif
}
#define fmaf(a, b, c) pn_emulator_fma(a, b, c)
static inline float rsqrtf(float a) { return 1 / sqrtf(a); }

static inline unsigned __float_as_uint(float a) {
    unsigned b;
    memcpy(&b, &a, sizeof b);
    return b;
}
static inline int __float_as_int(float a) { return (int)__float_as_uint(a); }
static inline float __uint_as_float(unsigned a) {
    float b;
    memcpy(&b, &a, sizeof b);
    return b;
}
static inline float __int_as_float(int a) { return __uint_as_float((unsigned)a); }

/* ---- tensor cores ---------------------------------------------------------------------------- */

extern int pn_emulator_card; /* PN_EMULATOR_CARD; for tests, between launches, to change */
static inline bool gpu_mma_halves() { return PN_NARROW && pn_emulator_halves == PN_STORED_FP16; }
static inline bool gpu_prefers_mma() { return pn_emulator_card >= 80 || gpu_mma_halves(); }
static inline int gpu_arch() { return pn_emulator_card; }

struct gpu_mma_a {
    unsigned high[4], low[4];
};
struct gpu_mma_b {
    unsigned high[2], low[2];
};
/* What the lanes bring is put aside; the warp comes together at gpu_mma_end, or sooner if there is
 * no more room. A lane that waits elsewhere, or ends, with products put aside ends the launch.
 * `low` is looked at if they are exact. */
enum pn_emulator_products { PN_EMULATOR_EXACT, PN_EMULATOR_TF32, PN_EMULATOR_HALVES };
void pn_emulator_mma(pn_emulator_products products, float4 *sum, const gpu_mma_a &a,
                     const gpu_mma_b &b, const char *file, int line);
void pn_emulator_mma_end(const char *file, int line);
void pn_hooked_mma(unsigned instructions);
static inline void gpu_mma(float4 &sum, const gpu_mma_a &a, const gpu_mma_b &b, PN_EMULATOR_SITE) {
#ifdef PN_EMULATOR_HOOKS
    pn_hooked_mma(PN_GPU_EXACT ? 3 : 1);
#endif
    pn_emulator_mma(PN_GPU_EXACT       ? PN_EMULATOR_EXACT
                    : gpu_mma_halves() ? PN_EMULATOR_HALVES
                                       : PN_EMULATOR_TF32,
                    &sum, a, b, file, line);
}
static inline void gpu_mma_end(PN_EMULATOR_SITE) { pn_emulator_mma_end(file, line); }

/* A launch has run before the next one of its stream begins. */
static inline void gpu_wait_for_launches() {}

/* ---- launches -------------------------------------------------------------------------------- */

struct gpu_grid {
    unsigned blocks, threads;
    size_t shared; /* bytes of dynamic shared memory */
    pn_stream stream;
};

#ifdef PN_GPU_SIZES

template <class... P, class... A>
inline pn_status gpu_launch(const char *what, gpu_grid, void (*)(P...), A...) {
    return pn_fail(PN_EDEVICE, "%s: this build has no kernels for a card", what);
}

#else

extern "C" long pn_launches_emulated(void); /* kernels launched so far */
extern "C" void pn_count_launch_emulated(void);

/* Runs call(kernel) for every thread of the grid. */
pn_status pn_emulator_run(const char *what, gpu_grid g, void (*call)(const void *kernel),
                          const void *kernel);

/* The same, now or later (streams.h); `kernel`, of so many bytes, is copied. */
pn_status pn_emulator_launch(const char *what, gpu_grid g, void (*call)(const void *kernel),
                             const void *kernel, size_t bytes);

template <class... P, class... A>
inline pn_status gpu_launch(const char *what, gpu_grid g, void (*kernel)(P...), A... a) {
    if (g.blocks == 0) return PN_OK;
    const auto bound = [=] { kernel(a...); };
    pn_count_launch_emulated();
    return pn_emulator_launch(
        what, g, [](const void *k) { (*static_cast<decltype(bound) *>(k))(); }, &bound,
        sizeof bound);
}

#endif

/* In which order threads run, and blocks begin. With PN_EMULATOR_RANDOM every wait draws anew, the
 * same for the same seed, launch and block. */
enum { PN_EMULATOR_FORWARD, PN_EMULATOR_REVERSE, PN_EMULATOR_RANDOM };
extern "C" void pn_emulator_order(int kind, uint64_t seed);

#endif
