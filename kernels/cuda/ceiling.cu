/* kernels/cuda/ceiling.cu -- what the card can do at best: the two numbers that every kernel is
 * held against. The emulator has no such numbers: 0.
 *
 * The only kernel file that calls CUDA's API: it measures, so it allocates, waits and looks at the
 * clock (events). Best of a few rounds: a ceiling, so that disturbed rounds do not count. */
#include "kernels/cuda/op.h"

#ifdef __CUDACC__

namespace {

constexpr int ROUNDS = 9;

/* ---- multiply-adds on registers -------------------------------------------------------------- */

constexpr int SUMS = 16;    /* of a thread: independent, as many as hide their latency */
constexpr int TIMES = 1024; /* multiply-adds of each, in a thread */
constexpr int RESIDENT = 4; /* blocks of a multiprocessor */
constexpr int WAVES = 16;   /* of resident blocks, in a launch */

__global__ void __launch_bounds__(THREADS, RESIDENT)
    multiply_add_kernel(float factor, float summand, float *sink) {
    gpu_wait_for_launches();
    float sum[SUMS];
#pragma unroll
    for (int i = 0; i < SUMS; i++) sum[i] = (float)(threadIdx.x + i);
#pragma unroll 4
    for (int t = 0; t < TIMES; t++)
#pragma unroll
        for (int i = 0; i < SUMS; i++) sum[i] = fmaf(sum[i], factor, summand);
    float total = 0;
#pragma unroll
    for (int i = 0; i < SUMS; i++) total += sum[i];
    if (total == -1) *sink = total; /* never; but the compiler does not know */
}

/* ---- a copy ---------------------------------------------------------------------------------- */

constexpr int LOADS = 4; /* of a thread, on their way at once */

__global__ void __launch_bounds__(THREADS, 4)
    copy_kernel(float *to, const float *from, size_t quads, int repeat) {
    gpu_wait_for_launches();
    const size_t step = (size_t)gridDim.x * THREADS;
    for (int r = 0; r < repeat; r++) {
        /* Each time another share, for L1 may still hold the last one. */
        const unsigned share = (blockIdx.x + 37u * r) % gridDim.x;
        size_t i = (size_t)share * THREADS + threadIdx.x;
        for (; i + (LOADS - 1) * step < quads; i += LOADS * step) {
            float4 v[LOADS];
#pragma unroll
            for (int k = 0; k < LOADS; k++) v[k] = gpu_load4(from + 4 * (i + k * step));
#pragma unroll
            for (int k = 0; k < LOADS; k++) gpu_store4(to + 4 * (i + k * step), v[k]);
        }
        for (; i < quads; i += step) gpu_store4(to + 4 * i, gpu_load4(from + 4 * i));
    }
}

/* Numbers whose bits differ from one to the next, as those of real data: a bus that carries zeros
 * takes less power, and a card that takes less power runs faster. splitmix32's last steps. */
__global__ void __launch_bounds__(THREADS, 4) scatter_kernel(float *to, size_t quads) {
    gpu_wait_for_launches();
    const size_t step = (size_t)gridDim.x * THREADS;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < quads; i += step) {
        float v[4];
#pragma unroll
        for (unsigned k = 0; k < 4; k++) {
            unsigned bits = (unsigned)(4 * i + k) * 0x9e3779b9u;
            bits = (bits ^ bits >> 16) * 0x21f0aaadu;
            bits = (bits ^ bits >> 15) * 0x735a2d97u;
            v[k] = (float)(bits ^ bits >> 15) * 0x1p-32f;
        }
        gpu_store4(to + 4 * i, make_float4(v[0], v[1], v[2], v[3]));
    }
}

/* ---- measuring ------------------------------------------------------------------------------- */

int multiprocessors() {
    int device = 0, count = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess)
        return 0;
    return count;
}

/* The least seconds that work() takes on the device; 0 if something fails. */
template <class Work>
double least_seconds(Work work) {
    cudaEvent_t start, stop;
    if (cudaEventCreate(&start) != cudaSuccess) return 0;
    if (cudaEventCreate(&stop) != cudaSuccess) {
        cudaEventDestroy(start);
        return 0;
    }
    double best = 0;
    for (int round = 0; round <= ROUNDS; round++) { /* the first one warms up */
        float ms = 0;
        cudaEventRecord(start);
        const pn_status status = work();
        cudaEventRecord(stop);
        if (status != PN_OK || cudaEventSynchronize(stop) != cudaSuccess ||
            cudaEventElapsedTime(&ms, start, stop) != cudaSuccess) {
            best = 0;
            break;
        }
        if (round > 0 && ms > 0 && (best == 0 || ms < best)) best = ms;
    }
    cudaEventDestroy(start);
    cudaEventDestroy(stop);
    return 1e-3 * best;
}

}  // namespace

extern "C" double PN_GPU_NAME(pn_flop_rate)(void) {
    const unsigned blocks = (unsigned)(multiprocessors() * RESIDENT * WAVES);
    float *sink = nullptr;
    if (blocks == 0 || cudaMalloc(&sink, sizeof *sink) != cudaSuccess) return 0;
    const double seconds = least_seconds([=] {
        return gpu_launch("flop_rate", {blocks, THREADS, 0, nullptr}, multiply_add_kernel, 0.5f,
                          1.0f, sink);
    });
    cudaFree(sink);
    return seconds > 0 ? 2.0 * SUMS * TIMES * THREADS * blocks / seconds : 0;
}

extern "C" double PN_GPU_NAME(pn_copy_rate)(size_t bytes) {
    const size_t quads = bytes / 2 / sizeof(float4) + 1;
    const size_t size = quads * sizeof(float4);              /* of one array */
    const int repeat = (int)((256u << 20) / (2 * size)) + 1; /* copies in a launch */
    const size_t most = (quads + THREADS - 1) / THREADS;
    const size_t wave = (size_t)multiprocessors() * 8;
    const unsigned blocks = (unsigned)(most < wave ? most : wave);
    float *from = nullptr, *to = nullptr;
    double rate = 0;
    if (blocks > 0 && cudaMalloc(&from, size) == cudaSuccess &&
        cudaMalloc(&to, size) == cudaSuccess &&
        gpu_launch("copy_rate", {blocks, THREADS, 0, nullptr}, scatter_kernel, from, quads) ==
            PN_OK) {
        const double seconds = least_seconds([=] {
            return gpu_launch("copy_rate", {blocks, THREADS, 0, nullptr}, copy_kernel, to,
                              static_cast<const float *>(from), quads, repeat);
        });
        if (seconds > 0) rate = 2.0 * size * repeat / seconds;
    }
    cudaFree(from);
    cudaFree(to);
    cudaGetLastError(); /* no memory is an answer, not a failure of the next launch */
    return rate;
}

#else

extern "C" double PN_GPU_NAME(pn_flop_rate)(void) { return 0; }
extern "C" double PN_GPU_NAME(pn_copy_rate)(size_t) { return 0; }

#endif
