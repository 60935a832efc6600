/* test_emulator.cc -- one broken kernel for every fault that the emulator says it finds, beside its
 * correct twin, which must pass in every order.
 *
 * Built three times: plain, with the address and undefined sanitizers, and for hooks.cc. A row says
 * what catches its fault:
 *   SAYS   every build, in every order: PN_EDEVICE, with these words
 *   RACE   the build with hooks, in every order, the same; and if it is seen in the results too
 *          (ORDER), the plain build in one of the orders at least
 *   WRONG  every build: the results, in every order
 *   DIES   the build with sanitizers: the process ends */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "kernels/cuda/gpu.h"
#include "kernels/emulator/fiber.h"

namespace {

const unsigned FULL = 0xffffffffu;
const int N = 128; /* threads of most blocks */

/* ---- barriers -------------------------------------------------------------------------------- */

template <bool BROKEN>
__global__ void rotate(const float *x, float *y, int by) { /* read after write */
    GPU_SHARED(float, s, [N]);
    const int t = (int)threadIdx.x;
    s[t] = x[t];
    if (!BROKEN) __syncthreads();
    y[t] = s[(t + by + N) % N];
}

template <bool BROKEN>
__global__ void steps(float *y) { /* write after read */
    GPU_DYNAMIC(float, s);
    const int t = (int)threadIdx.x;
    float sum = 0;
    for (int i = 0; i < 3; i++) {
        s[t] = (float)(t + i);
        __syncthreads();
        sum += s[(t + 1) % N];
        if (!BROKEN) __syncthreads();
    }
    y[t] = sum;
}

template <bool BROKEN>
__global__ void in_warp(float *y) {
    GPU_SHARED(float, s, [N]);
    const int t = (int)threadIdx.x;
    s[t] = (float)t;
    if (!BROKEN) __syncwarp();
    y[t] = s[t ^ 1];
}

template <bool BROKEN>
__global__ void across_warps(float *y) { /* __syncwarp is not enough */
    GPU_SHARED(float, s, [N]);
    const int t = (int)threadIdx.x;
    s[t] = (float)t;
    __syncwarp();
    if (!BROKEN) __syncthreads();
    y[t] = s[(t + 32) % N];
}

template <bool BROKEN>
__global__ void shuffle_orders_nothing(float *y) {
    GPU_SHARED(float, s, [N]);
    const int t = (int)threadIdx.x;
    s[t] = (float)t;
    const int v = __shfl_xor_sync(FULL, t, 1);
    if (!BROKEN) __syncwarp();
    y[t] = s[v];
}

template <bool BROKEN>
__global__ void halves(float *y) { /* of a warp, each with its mask */
    GPU_SHARED(float, s, [N]);
    const int t = (int)threadIdx.x;
    const unsigned mask = t % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
    s[t] = (float)t;
    __syncwarp(mask);
    y[t] = s[BROKEN ? t ^ 16 : t ^ 8];
}

template <bool BROKEN>
__global__ void bytes_of_a_word(float *y) { /* neighbours in a word are no race */
    GPU_SHARED(char, s, [N]);
    const int t = (int)threadIdx.x;
    s[t] = (char)t;
    if (!BROKEN) __syncthreads();
    y[t] = s[t ^ 1];
}

template <bool BROKEN>
__global__ void part_of_a_block(float *y) {
    const int t = (int)threadIdx.x;
    if (!BROKEN || t < 32) __syncthreads();
    y[t] = (float)t;
}

template <bool BROKEN>
__global__ void one_leaves(float *y) {
    const int t = (int)threadIdx.x;
    y[t] = (float)t;
    if (BROKEN && t == 77) return;
    __syncthreads();
}

template <bool BROKEN>
__global__ void two_barriers(float *y) {
    const int t = (int)threadIdx.x;
    if (BROKEN && t % 2) {
        __syncthreads();
        y[t] = (float)t;
    } else {
        y[t] = (float)t;
        __syncthreads();
    }
}

template <bool BROKEN>
__global__ void barrier_or_warp(float *y) {
    const int t = (int)threadIdx.x;
    if (BROKEN && t % 32 == 5)
        __syncthreads();
    else
        y[t] = (float)__shfl_sync(FULL, t, t % 32);
    if (!BROKEN || t % 32 != 5) __syncthreads();
}

/* ---- warps ----------------------------------------------------------------------------------- */

template <bool BROKEN>
__global__ void lane_gone(float *y) {
    const int t = (int)threadIdx.x;
    y[t] = (float)t;
    if (BROKEN && t % 32 == 31) return;
    y[t] = (float)__shfl_sync(FULL, t, t % 32);
}

template <bool BROKEN>
__global__ void two_operations(float *y) {
    const int t = (int)threadIdx.x;
    if (BROKEN && t % 2)
        y[t] = (float)__shfl_xor_sync(FULL, t, 0);
    else
        y[t] = (float)__shfl_down_sync(FULL, t, 0u);
}

const unsigned ONE = 0x3f800000;
const gpu_mma_a ones_a = {{ONE, ONE, ONE, ONE}, {0, 0, 0, 0}};
const gpu_mma_b ones_b = {{ONE, ONE}, {0, 0}};

template <bool BROKEN>
__global__ void product_of_31(float *y) {
    const int t = (int)threadIdx.x;
    float4 sum = make_float4(-8, 0, 0, 0);
    y[t] = (float)t;
    if (BROKEN && t % 32 == 9) return;
    gpu_mma(sum, ones_a, ones_b);
    gpu_mma_end();
    y[t] = (float)t + sum.x;
}

template <bool BROKEN>
__global__ void two_products(float *y) {
    const int t = (int)threadIdx.x;
    float4 sum = make_float4(0, -8, 0, 0);
    if (BROKEN && t % 32 < 4)
        gpu_mma(sum, ones_a, ones_b);
    else
        gpu_mma(sum, ones_a, ones_b);
    gpu_mma_end();
    y[t] = (float)t + sum.y;
}

/* More than are put aside at once. */
template <bool BROKEN>
__global__ void one_product_less(float *y) {
    const int t = (int)threadIdx.x;
    float4 sum = make_float4(-8 * 11, 0, 0, 0);
    for (int i = 0; i < (BROKEN && t % 32 == 20 ? 10 : 11); i++) gpu_mma(sum, ones_a, ones_b);
    gpu_mma_end();
    y[t] = (float)t + sum.x;
}

template <bool BROKEN>
__global__ void product_and_barrier(float *y) {
    const int t = (int)threadIdx.x;
    float4 sum = make_float4(0, 0, -8, 0);
    gpu_mma(sum, ones_a, ones_b);
    if (!BROKEN) gpu_mma_end();
    __syncthreads();
    y[t] = (float)t + sum.z;
}

template <bool BROKEN>
__global__ void product_and_shuffle(float *y) {
    const int t = (int)threadIdx.x;
    float4 sum = make_float4(0, 0, -8, 0);
    gpu_mma(sum, ones_a, ones_b);
    if (!BROKEN) gpu_mma_end();
    y[t] = __shfl_sync(FULL, (float)t + sum.z, t);
}

template <bool BROKEN>
__global__ void product_and_end(float *y) {
    const int t = (int)threadIdx.x;
    float4 sum = make_float4(0, 0, -8, 0);
    gpu_mma(sum, ones_a, ones_b);
    if (!BROKEN) gpu_mma_end();
    y[t] = (float)t + sum.z;
}

template <bool BROKEN>
__global__ void two_masks(float *y) {
    const int t = (int)threadIdx.x;
    y[t] = (float)__shfl_sync(BROKEN && t % 32 == 3 ? 0x0000ffffu : FULL, t, t % 32);
}

template <bool BROKEN>
__global__ void not_in_mask(float *y) {
    const int t = (int)threadIdx.x;
    y[t] = (float)__shfl_sync(BROKEN ? 0x7fffffffu : FULL, t, t % 32);
}

template <bool BROKEN>
__global__ void reads_outside_mask(float *y) {
    const int t = (int)threadIdx.x;
    y[t] = (float)t;
    if (t % 32 < 16) y[t] = (float)__shfl_xor_sync(0xffffu, t, BROKEN ? 16 : 0);
}

template <bool BROKEN>
__global__ void short_warp(float *y) { /* 40 threads: the second has 8 */
    const int t = (int)threadIdx.x;
    y[t] = (float)__shfl_sync(BROKEN || t < 32 ? FULL : 0xffu, t, t % 32);
}

/* ---- memory ---------------------------------------------------------------------------------- */

template <bool BROKEN>
__global__ void sixteen_bytes(const float *x, float *y) {
    const int t = (int)threadIdx.x;
    if (t < 8) gpu_store4(y + 4 * t, gpu_load4(x + 4 * t + (BROKEN && t == 3)));
}

template <bool BROKEN>
__global__ void store_misaligned(float *y) {
    const int t = (int)threadIdx.x;
    if (t < 8) gpu_store4(y + 4 * t + (BROKEN ? 1 : 0), make_float4(1, 2, 3, 4));
}

template <bool BROKEN>
__global__ void nobody_wrote(float *y) {
    GPU_SHARED(float, s, [N]);
    const int t = (int)threadIdx.x;
    if (!BROKEN || t < N - 1) s[t] = (float)t;
    __syncthreads();
    y[t] = s[t];
}

template <bool BROKEN>
__global__ void nobody_wrote_this_block(float *y) { /* but the one before it did */
    GPU_DYNAMIC(float, s);
    const int t = (int)threadIdx.x;
    if (!BROKEN || blockIdx.x % 2 == 0) s[t] = (float)t;
    __syncthreads();
    y[blockIdx.x * N + t] = s[t];
}

template <bool BROKEN>
__global__ void outside_static(float *y) {
    GPU_SHARED(float, before, [N]);
    GPU_SHARED(float, s, [N]);
    const int t = (int)threadIdx.x;
    before[t] = s[t] = (float)t;
    __syncthreads();
    y[t] = *(s + t + (BROKEN && t == N - 1)) + 0 * before[t];
}

template <bool BROKEN>
__global__ void outside_dynamic(float *y) {
    GPU_DYNAMIC(float, s);
    const int t = (int)threadIdx.x;
    s[t + (BROKEN && t == N - 1)] = (float)t;
    __syncthreads();
    y[t] = s[t];
}

template <bool BROKEN>
__global__ void outside_global(float *y) {
    y[threadIdx.x + (BROKEN && threadIdx.x == N - 1)] = (float)threadIdx.x;
}

template <bool BROKEN>
__global__ void shift(float *y, int by) {
    const int t = (int)threadIdx.x;
    y[t] = (float)(t + 0 * (1 << (BROKEN ? by : by - 32)));
}

template <bool BROKEN>
__global__ void much_shared(float *y) {
    GPU_SHARED(float, s, [BROKEN ? 8192 : 2048]);
    GPU_SHARED(float, more, [BROKEN ? 8192 : 2048]);
    const int t = (int)threadIdx.x;
    s[t] = more[t] = (float)t;
    y[t] = s[t];
}

/* ---- counting, and blocks -------------------------------------------------------------------- */

template <bool BROKEN>
__global__ void count(unsigned *sum) {
    if (BROKEN)
        *sum += 1;
    else
        atomicAdd(sum, 1u);
}

enum part { RIGHT, NO_FENCE, NO_BARRIER, NO_READER_FENCE, NO_TICKET };

template <part BROKEN>
__global__ void ticket(float *partials, unsigned *counter, float *y) {
    GPU_SHARED(bool, last);
    const unsigned b = blockIdx.x, t = threadIdx.x;
    partials[b * N + t] = (float)(b + 1);
    if (BROKEN != NO_FENCE) __threadfence();
    if (BROKEN != NO_BARRIER) __syncthreads();
    if (t == 0) {
        last = BROKEN == NO_TICKET ? b == gridDim.x - 1 : atomicAdd(counter, 1u) == gridDim.x - 1;
        if (last && BROKEN != NO_TICKET) *counter = 0;
    }
    __syncthreads();
    if (!last) return;
    if (BROKEN != NO_READER_FENCE) __threadfence();
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; i++) sum += partials[i * N + t];
    y[t] = sum;
}

/* One fence, by the thread that takes the ticket, serves the whole block: fences add up. */
template <bool BROKEN>
__global__ void one_fence(float *partials, unsigned *counter, float *y) {
    GPU_SHARED(bool, last);
    const unsigned b = blockIdx.x, t = threadIdx.x;
    partials[b * N + t] = (float)(b + 1);
    if (!BROKEN) __syncthreads();
    if (t == 0) {
        __threadfence();
        last = atomicAdd(counter, 1u) == gridDim.x - 1;
        __threadfence();
        if (last) *counter = 0;
    }
    __syncthreads();
    if (!last) return;
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; i++) sum += partials[i * N + t];
    y[t] = sum;
}

template <bool BROKEN>
__global__ void blocks_apart(float *y) {
    y[BROKEN ? threadIdx.x : blockIdx.x * N + threadIdx.x] = (float)threadIdx.x;
}

template <bool BROKEN>
__global__ void spin(volatile int *flag, float *y) {
    while (BROKEN && !*flag) {
    }
    y[threadIdx.x] = (float)threadIdx.x;
}

/* ---- how each is called: false if the results are not what they should be -------------------- */

typedef pn_status (*runner)(bool *right);

bool same(const float *y, int count) { /* y[i] = i % N */
    for (int i = 0; i < count; i++)
        if (!(y[i] == (float)(i % N))) return false;
    return true;
}

template <void (*KERNEL)(float *), int THREADS = N, int BLOCKS = 1>
pn_status call(bool *right) {
    std::unique_ptr<float[]> y(new float[THREADS * BLOCKS]());
    const pn_status s =
        gpu_launch("kernel", {BLOCKS, THREADS, N * sizeof(float), nullptr}, KERNEL, y.get());
    *right = same(y.get(), THREADS * BLOCKS);
    return s;
}

template <bool BROKEN, int BY>
pn_status call_rotate(bool *right) {
    float x[N], y[N];
    for (int i = 0; i < N; i++) x[(i + BY + N) % N] = (float)i;
    const pn_status s = gpu_launch("rotate", {1, N, 0, nullptr}, rotate<BROKEN>,
                                   static_cast<const float *>(x), y, BY);
    *right = same(y, N);
    return s;
}

template <void (*KERNEL)(float *), int FACTOR, int STEP, int REST>
pn_status call_partner(bool *right) { /* y[t] = FACTOR * partner + REST */
    float y[N];
    const pn_status s = gpu_launch("kernel", {1, N, N * sizeof(float), nullptr}, KERNEL, y);
    *right = true;
    for (int t = 0; t < N; t++) {
        const int partner = STEP < 0 ? t ^ -STEP : (t + STEP) % N;
        *right &= y[t] == (float)(FACTOR * partner + REST);
    }
    return s;
}

template <bool BROKEN>
pn_status call_sixteen(bool *right) {
    alignas(16) float x[33], y[32];
    for (int i = 0; i < 33; i++) x[i] = (float)i;
    const pn_status s = gpu_launch("sixteen_bytes", {1, N, 0, nullptr}, sixteen_bytes<BROKEN>,
                                   static_cast<const float *>(x), static_cast<float *>(y));
    *right = same(y, 32);
    return s;
}

template <bool BROKEN>
pn_status call_store(bool *right) {
    alignas(16) float y[36];
    const pn_status s = gpu_launch("store_misaligned", {1, N, 0, nullptr}, store_misaligned<BROKEN>,
                                   static_cast<float *>(y));
    *right = y[0] == 1 && y[31] == 4;
    return s;
}

template <bool BROKEN>
pn_status call_shift(bool *right) {
    float y[N];
    const pn_status s =
        gpu_launch("shift", {1, N, 0, nullptr}, shift<BROKEN>, static_cast<float *>(y), 33);
    *right = same(y, N);
    return s;
}

template <bool BROKEN>
pn_status call_count(bool *right) {
    unsigned sum = 0;
    const pn_status s = gpu_launch("count", {1, N, 0, nullptr}, count<BROKEN>, &sum);
    *right = sum == N;
    return s;
}

template <void (*KERNEL)(float *, unsigned *, float *)>
pn_status call_ticket(bool *right) {
    const unsigned blocks = 20;
    std::vector<float> partials(blocks * N), y(N);
    unsigned counter = 0;
    pn_status s = PN_OK;
    *right = true;
    for (int i = 0; i < 2 && s == PN_OK; i++) { /* twice: the counter is 0 again */
        s = gpu_launch("ticket", {blocks, N, 0, nullptr}, KERNEL, partials.data(), &counter,
                       y.data());
        *right &= counter == 0;
        for (int t = 0; t < N; t++) *right &= y[t] == (float)blocks * (float)(blocks + 1) / 2;
    }
    return s;
}

template <unsigned THREADS, size_t SHARED>
pn_status call_size(bool *right) {
    float y[1024];
    *right = true;
    return gpu_launch("size", {1, THREADS, SHARED, nullptr}, outside_global<false>,
                      static_cast<float *>(y));
}

template <bool BROKEN>
pn_status call_spin(bool *right) {
    static int flag = 0;
    float y[N];
    const pn_status s = gpu_launch("spin", {1, N, 0, nullptr}, spin<BROKEN>,
                                   static_cast<volatile int *>(&flag), static_cast<float *>(y));
    *right = same(y, N);
    return s;
}

/* ---- the table ------------------------------------------------------------------------------- */

enum how { SAYS, RACE, RACE_ORDER, WRONG, DIES };

const struct row {
    const char *why;
    runner broken, twin;
    how caught;
    const char *words[2]; /* in the sentence */
} rows[] = {
    {"missing barrier, read after write, of a later thread",
     call_rotate<true, 1>,
     call_rotate<false, 1>,
     RACE_ORDER,
     {"race: ", "shared memory at"}},
    {"missing barrier, read after write, of an earlier thread",
     call_rotate<true, -1>,
     call_rotate<false, -1>,
     RACE_ORDER,
     {"race: ", "shared memory at"}},
    {"missing barrier, write after read",
     call_partner<steps<true>, 3, 1, 3>,
     call_partner<steps<false>, 3, 1, 3>,
     RACE_ORDER,
     {"race: ", "shared memory at"}},
    {"missing __syncwarp",
     call_partner<in_warp<true>, 1, -1, 0>,
     call_partner<in_warp<false>, 1, -1, 0>,
     RACE_ORDER,
     {"race: ", "shared memory at"}},
    {"__syncwarp where a barrier is needed",
     call_partner<across_warps<true>, 1, 32, 0>,
     call_partner<across_warps<false>, 1, 32, 0>,
     RACE_ORDER,
     {"race: ", "shared memory at"}},
    {"a shuffle in place of __syncwarp",
     call_partner<shuffle_orders_nothing<true>, 1, -1, 0>,
     call_partner<shuffle_orders_nothing<false>, 1, -1, 0>,
     RACE,
     {"race: ", "shared memory at"}},
    {"__syncwarp of the other half",
     call_partner<halves<true>, 1, -16, 0>,
     call_partner<halves<false>, 1, -8, 0>,
     RACE_ORDER,
     {"race: ", "shared memory at"}},
    {"bytes of one word",
     call_partner<bytes_of_a_word<true>, 1, -1, 0>,
     call_partner<bytes_of_a_word<false>, 1, -1, 0>,
     RACE_ORDER,
     {"race: ", "shared memory at"}},
    {"barrier reached by a part of the block",
     call<part_of_a_block<true>>,
     call<part_of_a_block<false>>,
     SAYS,
     {"at the barrier", "test_emulator.cc:"}},
    {"barrier after one thread has left",
     call<one_leaves<true>>,
     call<one_leaves<false>>,
     SAYS,
     {"at the barrier", "thread 77"}},
    {"two barriers",
     call<two_barriers<true>>,
     call<two_barriers<false>>,
     SAYS,
     {"waits at the barrier", ", and thread"}},
    {"a lane at a barrier, its warp in a shuffle",
     call<barrier_or_warp<true>>,
     call<barrier_or_warp<false>>,
     SAYS,
     {"waits for ever at", ", and thread"}},
    {"a lane of the mask has left",
     call<lane_gone<true>>,
     call<lane_gone<false>>,
     SAYS,
     {"__shfl_sync", "ends|has ended"}},
    {"two operations in one warp",
     call<two_operations<true>>,
     call<two_operations<false>>,
     SAYS,
     {"__shfl_xor_sync", "__shfl_down_sync"}},
    {"a product without one lane",
     call<product_of_31<true>>,
     call<product_of_31<false>>,
     SAYS,
     {"mma.sync", "ends|has ended"}},
    {"two products in one warp",
     call<two_products<true>>,
     call<two_products<false>>,
     SAYS,
     {"mma.sync with mask ffffffff", "test_emulator.cc:"}},
    {"one product less in a lane",
     call<one_product_less<true>>,
     call<one_product_less<false>>,
     SAYS,
     {"products of mma.sync", "and thread"}},
    {"a product that nobody waits for, and a barrier",
     call<product_and_barrier<true>>,
     call<product_and_barrier<false>>,
     SAYS,
     {"comes to a barrier, and nobody has waited for its mma.sync", "test_emulator.cc:"}},
    {"a product that nobody waits for, and a shuffle",
     call<product_and_shuffle<true>>,
     call<product_and_shuffle<false>>,
     SAYS,
     {"__shfl_sync, and nobody has waited for its mma.sync", "test_emulator.cc:"}},
    {"a product that nobody waits for, and the end",
     call<product_and_end<true>>,
     call<product_and_end<false>>,
     SAYS,
     {"ends, and nobody has waited for its mma.sync", "test_emulator.cc:"}},
    {"two masks in one warp",
     call<two_masks<true>>,
     call<two_masks<false>>,
     SAYS,
     {"0000ffff", "ffffffff|has ended"}},
    {"a lane that is not in its mask",
     call<not_in_mask<true>>,
     call<not_in_mask<false>>,
     SAYS,
     {"with mask 7fffffff, in which it is not|with mask 7fffffff, and|ends", ""}},
    {"shuffle from a lane that is not in the mask",
     call<reads_outside_mask<true>>,
     call<reads_outside_mask<false>>,
     SAYS,
     {"reads from lane", "not in its mask 0000ffff"}},
    {"full mask in a short warp",
     call<short_warp<true>, 40>,
     call<short_warp<false>, 40>,
     SAYS,
     {"thread 40 does not exist", ""}},
    {"16 bytes read from a multiple of 4",
     call_sixteen<true>,
     call_sixteen<false>,
     SAYS,
     {"block 0, thread 3: 16 bytes at", "test_emulator.cc:"}},
    {"16 bytes written to a multiple of 4",
     call_store<true>,
     call_store<false>,
     SAYS,
     {"16 bytes at", "test_emulator.cc:"}},
    {"shared memory that nobody wrote",
     call<nobody_wrote<true>>,
     call<nobody_wrote<false>>,
     WRONG,
     {"", ""}},
    {"shared memory of the block before",
     call<nobody_wrote_this_block<true>, N, 4>,
     call<nobody_wrote_this_block<false>, N, 4>,
     WRONG,
     {"", ""}},
    {"outside a shared array",
     call<outside_static<true>>,
     call<outside_static<false>>,
     DIES,
     {"", ""}},
    {"outside dynamic shared memory",
     call<outside_dynamic<true>>,
     call<outside_dynamic<false>>,
     DIES,
     {"", ""}},
    {"outside an array of the device",
     call<outside_global<true>>,
     call<outside_global<false>>,
     DIES,
     {"", ""}},
    {"shift by 33", call_shift<true>, call_shift<false>, DIES, {"", ""}},
    {"64 KiB of shared arrays",
     call<much_shared<true>>,
     call<much_shared<false>>,
     SAYS,
     {"65536 bytes of shared memory", "test_emulator.cc:"}},
    {"more dynamic shared memory than a card has",
     call_size<128, (227 << 10) + 1>,
     call_size<128, 227 << 10>,
     SAYS,
     {"size: 1 blocks of 128 threads and 232449 bytes: invalid argument", ""}},
    {"more threads than a block can have",
     call_size<1025, 0>,
     call_size<1024, 0>,
     SAYS,
     {"invalid configuration argument", ""}},
    {"no threads", call_size<0, 0>, call_size<1, 0>, SAYS, {"invalid configuration argument", ""}},
    {"plain += by many threads",
     call_count<true>,
     call_count<false>,
     RACE,
     {"race: ", "global memory at"}},
    {"ticket without the writers' fence",
     call_ticket<ticket<NO_FENCE>>,
     call_ticket<ticket<RIGHT>>,
     RACE,
     {"race: ", "of another block"}},
    {"ticket without the barrier before it",
     call_ticket<ticket<NO_BARRIER>>,
     call_ticket<ticket<RIGHT>>,
     RACE,
     {"race: ", "of another block"}},
    {"ticket without the reader's fence",
     call_ticket<ticket<NO_READER_FENCE>>,
     call_ticket<ticket<RIGHT>>,
     RACE,
     {"race: ", "of another block"}},
    {"last block by its number",
     call_ticket<ticket<NO_TICKET>>,
     call_ticket<ticket<RIGHT>>,
     RACE,
     {"race: ", "of another block"}},
    {"one fence for the block, without the barrier",
     call_ticket<one_fence<true>>,
     call_ticket<one_fence<false>>,
     RACE,
     {"race: ", "of another block"}},
    {"two blocks write one place",
     call<blocks_apart<true>, N, 3>,
     call<blocks_apart<false>, N, 3>,
     RACE,
     {"race: ", "of another block"}},
    {"a thread that waits for ever",
     call_spin<true>,
     call_spin<false>,
     SAYS,
     {"spin: block 0, thread", "still runs after 0.5 s of processor time"}},
};

#if defined(PN_EMULATOR_HOOKS)
const bool hooks = true, sanitized = false;
#elif defined(PN_FIBER_ASAN)
const bool hooks = false, sanitized = true;
#else
const bool hooks = false, sanitized = false;
#endif

struct order {
    int kind;
    uint64_t seed;
} const orders[] = {{PN_EMULATOR_FORWARD, 0}, {PN_EMULATOR_REVERSE, 0}, {PN_EMULATOR_RANDOM, 1},
                    {PN_EMULATOR_RANDOM, 2},  {PN_EMULATOR_RANDOM, 3},  {PN_EMULATOR_RANDOM, 4}};

/* Is one of the alternatives, separated by |, in the sentence? */
bool has(const char *sentence, const char *alternatives) {
    const std::string all(alternatives);
    for (size_t from = 0;;) {
        const size_t to = all.find('|', from);
        if (strstr(sentence, all.substr(from, to - from).c_str())) return true;
        if (to == std::string::npos) return false;
        from = to + 1;
    }
}

/* Runs in a child; was it ended by a sanitizer, which says so on stderr? */
bool dies(runner run) {
    int out[2];
    assert_int_equal(pipe(out), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        bool right;
        run(&right);
        _exit(0);
    }
    close(out[1]);
    std::string text;
    char part[4096];
    for (ssize_t n; (n = read(out[0], part, sizeof part)) > 0;) text.append(part, (size_t)n);
    close(out[0]);
    int status = 0;
    waitpid(child, &status, 0);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
           (text.find("AddressSanitizer") != std::string::npos ||
            text.find("runtime error") != std::string::npos);
}

void test_row(void **state) {
    const row *r = static_cast<const row *>(*state);
    int wrong = 0;
    for (const order &o : orders) {
        bool right = false;
        pn_emulator_order(o.kind, o.seed);
        if (r->twin(&right) != PN_OK) fail_msg("twin, order %d: %s", o.kind, pn_error());
        if (!right) fail_msg("twin, order %d: wrong", o.kind);

        if (r->caught == DIES) {
            if (sanitized) assert_true(dies(r->broken));
            continue;
        }
        right = false;
        const pn_status s = r->broken(&right);
        wrong += !right;
        if (r->caught == SAYS || (hooks && (r->caught == RACE || r->caught == RACE_ORDER))) {
            assert_int_equal(s, PN_EDEVICE);
            for (const char *words : r->words)
                if (!has(pn_error(), words)) fail_msg("\"%s\" without \"%s\"", pn_error(), words);
            if (getenv("PN_SHOW")) printf("    %s\n", pn_error());
        } else if (s != PN_OK) {
            fail_msg("order %d: %s", o.kind, pn_error());
        }
        if (r->caught == WRONG) assert_false(right);
    }
    if (!hooks && r->caught == RACE_ORDER) assert_true(wrong > 0);
}

/* ---- what has no fault ----------------------------------------------------------------------- */

__global__ void sums(const float *x, float *y) { /* by shuffles: butterflies, then down */
    GPU_SHARED(float, parts, [8]);
    const unsigned t = threadIdx.x;
    float v = x[blockIdx.x * blockDim.x + t];
    for (int k = 16; k > 0; k /= 2) v += __shfl_xor_sync(FULL, v, k);
    if (t % 32 == 0) parts[t / 32] = v;
    __syncthreads();
    if (t < 32) {
        v = t < 8 ? parts[t] : 0;
        for (unsigned k = 4; k > 0; k /= 2) v += __shfl_down_sync(FULL, v, k);
        if (t == 0) y[blockIdx.x] = v;
    }
}

void test_sums(void **) {
    std::vector<float> x(256 * 50), y(50);
    for (size_t i = 0; i < x.size(); i++) x[i] = (float)(i % 7);
    for (const order &o : orders) {
        pn_emulator_order(o.kind, o.seed);
        assert_int_equal(gpu_launch("sums", {50, 256, 0, nullptr}, sums,
                                    static_cast<const float *>(x.data()), y.data()),
                         PN_OK);
        for (size_t b = 0; b < 50; b++) {
            float want = 0;
            for (size_t i = 0; i < 256; i++) want += x[b * 256 + i];
            assert_true(y[b] == want);
        }
    }
}

__global__ void words(int *bad) {
    const int t = (int)threadIdx.x, lane = t % 32;
    int n = 0;
    n += __shfl_sync(FULL, t, 3, 8) != t / 8 * 8 + 3;
    n += __shfl_down_sync(FULL, t, 4u, 8) != (lane % 8 < 4 ? t + 4 : t);
    n += __shfl_up_sync(FULL, t, 1u) != (lane ? t - 1 : t);
    n += __shfl_xor_sync(FULL, (double)t, 31) != (double)(t ^ 31);
    n += __ballot_sync(FULL, lane % 2) != 0xaaaaaaaau;
    n += !__any_sync(FULL, lane == 7) || __all_sync(FULL, lane == 7);
    n += __syncthreads_count(t < 10) != 10 || !__syncthreads_or(t == 5) || __syncthreads_and(t);
    n += gridDim.x != 3 || blockDim.x != 64 || threadIdx.y != 0 || blockIdx.z != 0;
    n += __uint_as_float(__float_as_uint(1.5f)) != 1.5f || __int_as_float(0x3f800000) != 1;
    n += fmaf(2, 3, 4) != 10 || rsqrtf(4) != .5f;
    const unsigned one = 1;
    n += __ldg(&one) != 1;
    if (n) atomicAdd(bad, n);
}

void test_words(void **) {
    for (const order &o : orders) {
        int bad = 0;
        pn_emulator_order(o.kind, o.seed);
        assert_int_equal(gpu_launch("words", {3, 64, 0, nullptr}, words, &bad), PN_OK);
        assert_int_equal(bad, 0);
    }
}

__global__ void atomics(unsigned *a, int *b) {
    const unsigned t = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&a[0], 1u);
    atomicMax(&b[0], (int)t - 100);
    if (atomicCAS(&a[1], 0u, t + 1) == 0) atomicAdd(&a[2], 1u);
    atomicExch(&b[1], 7);
}

void test_atomics(void **) {
    unsigned a[3] = {0, 0, 0};
    int b[2] = {-1000, 0};
    assert_int_equal(gpu_launch("atomics", {40, 96, 0, nullptr}, atomics,
                                static_cast<unsigned *>(a), static_cast<int *>(b)),
                     PN_OK);
    assert_int_equal(a[0], 3840);
    assert_int_equal(a[2], 1);
    assert_int_equal(b[0], 3739);
    assert_int_equal(b[1], 7);
}

__global__ void places(unsigned *order, unsigned *next) {
    order[atomicAdd(next, 1u)] = threadIdx.x;
}

/* The orders are what they are called; a seed gives the same one in the same launch of a
 * process. */
void test_orders(void **) {
    unsigned forward[N], reverse[N], random[N], next = 0;
    pn_emulator_order(PN_EMULATOR_FORWARD, 0);
    gpu_launch("places", {1, N, 0, nullptr}, places, static_cast<unsigned *>(forward), &next);
    next = 0;
    pn_emulator_order(PN_EMULATOR_REVERSE, 0);
    gpu_launch("places", {1, N, 0, nullptr}, places, static_cast<unsigned *>(reverse), &next);
    next = 0;
    pn_emulator_order(PN_EMULATOR_RANDOM, 5);
    gpu_launch("places", {1, N, 0, nullptr}, places, static_cast<unsigned *>(random), &next);
    int kept = 0;
    unsigned long sum = 0;
    for (unsigned t = 0; t < N; t++) {
        assert_int_equal(forward[t], t);
        assert_int_equal(reverse[t], N - 1 - t);
        kept += random[t] == t;
        sum += random[t];
    }
    assert_int_equal(sum, N * (N - 1) / 2);
    assert_true(kept < N / 8);
}

void test_launches(void **) {
    const long before = pn_launches_emulated();
    bool right;
    assert_int_equal(call<blocks_apart<false>>(&right), PN_OK);
    float *none = nullptr;
    assert_int_equal(gpu_launch("nothing", {0, 64, 0, nullptr}, blocks_apart<true>, none), PN_OK);
    assert_int_equal(pn_launches_emulated(), before + 1);
}

}  // namespace

int main() {
    setenv("PN_EMULATOR_TIMEOUT", "0.5", 1);
    std::vector<CMUnitTest> tests;
    for (const row &r : rows)
        tests.push_back({r.why, test_row, nullptr, nullptr, const_cast<row *>(&r)});
    tests.push_back({"sums by shuffles", test_sums, nullptr, nullptr, nullptr});
    tests.push_back({"every word", test_words, nullptr, nullptr, nullptr});
    tests.push_back({"atomics", test_atomics, nullptr, nullptr, nullptr});
    tests.push_back({"orders", test_orders, nullptr, nullptr, nullptr});
    tests.push_back({"counted launches", test_launches, nullptr, nullptr, nullptr});
    return _cmocka_run_group_tests("emulator", tests.data(), tests.size(), nullptr, nullptr);
}
