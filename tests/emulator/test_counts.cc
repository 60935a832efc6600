/* test_counts.cc -- kernels whose requests, cycles, sectors and multiply-adds one can count by
 * hand (kernels/emulator/counts.h). */
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>

extern "C" {
#include <cmocka.h>
}

#include "kernels/cuda/gpu.h"
#include "kernels/emulator/counts.h"

namespace {

enum { THREADS = 64, WARPS = THREADS / 32 };

/* Every lane stores a quad `step` floats from its neighbour's, and reads it again twice. */
__global__ void quads(int step, float *out) {
    GPU_DYNAMIC(float, s);
    const int t = (int)threadIdx.x;
    gpu_store4(s + (size_t)(t * step), make_float4(1, 2, 3, 4));
    __syncthreads();
    for (int i = 0; i < 2; i++) {
        const float4 v = gpu_load4(s + (size_t)(t * step));
        if (v.x != 1) gpu_store4(out, v);
    }
}

/* The first `lanes` threads read a quad of x each, `step` floats apart, all of them twice. */
__global__ void sectors(const float *x, int step, int lanes, float *out) {
    const int t = (int)threadIdx.x;
    float sum = 0;
    for (int i = 0; i < 2 && t < lanes; i++)
        sum = fmaf(gpu_read4(x + (size_t)(t * step)).x, 2.F, sum);
    if (t == 0) out[0] = sum;
}

/* The last of the blocks to come reads x and does as many multiply-adds as there are blocks. */
__global__ void ticket(const float *x, unsigned *tickets, float *out) {
    GPU_SHARED(bool, last);
    float sum = fmaf(1, 2, 3);
    if (threadIdx.x == 0) last = atomicAdd(tickets, 1U) == gridDim.x - 1;
    __syncthreads();
    if (!last) return;
    for (unsigned i = 0; i < gridDim.x; i++)
        sum = fmaf(2, gpu_load4(x + 4 * (size_t)threadIdx.x).x, sum);
    if (threadIdx.x == 0) out[0] = sum;
}

/* Shared words of one float, `step` apart. */
__global__ void words(int step) {
    GPU_DYNAMIC(float, s);
    *(volatile float *)(s + (size_t)threadIdx.x * (unsigned)step) = 1;
}

alignas(64) float ones[32];

/* Two products, of words `step` floats from group to group of four lanes; two pairs of floats. */
__global__ void fragments(int step, float *out) {
    GPU_DYNAMIC(float, s);
    const unsigned lane = threadIdx.x % 32;
    gpu_store2(s + (size_t)2 * threadIdx.x, make_float2(1, 1));
    __syncthreads();
    gpu_mma_a a = {};
    gpu_mma_b b = {};
    for (unsigned &v : a.high)
        v = __float_as_uint(gpu_load1(s + lane / 4 * (unsigned)step + lane % 4));
    for (unsigned &v : b.high) v = __float_as_uint(gpu_read1(ones + lane));
    float4 sum = make_float4(0, 0, 0, 0);
    for (int i = 0; i < 2; i++) gpu_mma(sum, a, b);
    gpu_mma_end();
    if (sum.x == -1) gpu_store4(out, sum);
}

alignas(64) float memory[16 * THREADS], output[4];

template <class... P, class... A>
pn_counts count(pn_counted *launch, unsigned blocks, unsigned stride, void (*kernel)(P...),
                A... arguments) {
    const gpu_grid grid = {blocks, THREADS, 16384, nullptr};
    pn_count_launches(launch, stride);
    assert_int_equal(gpu_launch("kernel", grid, kernel, arguments...), PN_OK);
    pn_count_launches(nullptr, 1);
    return pn_launch_counts(launch);
}

float *const out = output;
const float *const in = memory;

void test_conflicts(void **) {
    /* Floats from lane to lane, and cycles of eight lanes: without a conflict 1. */
    static const struct {
        int step;
        double cycles;
    } rows[] = {{4, 1}, {0, 1}, {8, 2}, {12, 1}, {16, 4}, {32, 8}, {36, 1}};
    for (const auto &row : rows) {
        pn_counted launch;
        const pn_counts c = count(&launch, 1, 1, quads, row.step, out);
        assert_true(c.runs == 2);
        assert_true(c.shared == 3 * WARPS);
        assert_true(c.shared_least == 3 * WARPS * 4);
        assert_true(c.shared_cycles == 3 * WARPS * 4 * row.cycles);
        assert_true(c.chain_near == 2); /* nobody waits for a store */
        assert_true(c.global == 0 && c.fma == 0);
    }
    /* Besides, each warp reads the arguments, which the emulator keeps in memory. */
    pn_counted launch;
    const double rest = count(&launch, 1, 1, words, 1).narrow_cycles - WARPS;
    assert_true(count(&launch, 1, 1, words, 2).narrow_cycles == 2 * WARPS + rest);
    assert_true(count(&launch, 1, 1, words, 32).narrow_cycles == 32 * WARPS + rest);
    assert_true(count(&launch, 1, 1, words, 33).narrow_cycles == WARPS + rest);
}

void test_sectors(void **) {
    pn_counted launch;
    pn_counts c = count(&launch, 1, 1, sectors, in, 4, THREADS, out);
    assert_true(c.global == 2 * WARPS && c.global_cycles == 2 * WARPS * 4);
    assert_true(c.read == THREADS / 2); /* two quads a sector, read for the first time once */
    assert_true(c.chain_far == 1 && c.chain_near == 1);
    assert_true(c.fma == 2 * WARPS && c.chain_fma == 2);
    assert_true(c.narrow_written == 1);
    c = count(&launch, 1, 1, sectors, in, 16, THREADS, out);
    assert_true(c.read == THREADS && c.global_cycles == 2 * WARPS * 8);
    c = count(&launch, 1, 1, sectors, in, 4, 9, out); /* nine lanes: two of the four turns */
    assert_true(c.read == 5 && c.global == 2 && c.global_cycles == 2 * 2 && c.fma == 2);
}

void test_fragments(void **) {
    static const struct {
        int step;
        double cycles; /* of a request of 4 bytes a lane */
    } rows[] = {{4, 1}, {12, 1}, {0, 1}, {8, 2}, {32, 8}};
    for (float &v : ones) v = 1;
    for (const auto &row : rows) {
        pn_counted launch;
        const pn_counts c = count(&launch, 1, 1, fragments, row.step, out);
        assert_true(c.mma == 2 * 3 * WARPS && c.chain_mma == 2 * 3);
        assert_true(c.shared == 5 * WARPS && c.shared_least == (4 + 2) * WARPS);
        assert_true(c.shared_cycles == (4 * row.cycles + 2) * WARPS);
        assert_true(c.global == 2 * WARPS && c.global_cycles == 2 * WARPS && c.read == 4);
        /* The first warp reads once from L2 and once from L1, the second twice from L1. */
        assert_true(c.chain_near == 4. / 4 + 2. / 4 && c.chain_far == 1);
    }
}

void test_blocks(void **) {
    enum { BLOCKS = 10 };
    for (unsigned stride = 1; stride <= 4; stride += 3) { /* of 4: blocks 0, 4, 8, 9 */
        unsigned tickets = 0;
        pn_counted launch;
        const pn_counts c = count(&launch, BLOCKS, stride, ticket, in, &tickets, out);
        assert_int_equal(launch.blocks, BLOCKS);
        assert_int_equal(launch.counted, stride == 1 ? BLOCKS : 4);
        assert_true(c.fma == BLOCKS * WARPS + BLOCKS * WARPS); /* every block, and the last one */
        assert_true(c.global == BLOCKS * WARPS && c.read == THREADS / 2);
        double most = 0;
        for (int i = 0; i < launch.intervals; i++) {
            assert_true(launch.interval[i].tail || launch.interval[i].most.fma == 0);
            most += launch.interval[i].most.fma;
        }
        assert_true(most == BLOCKS * WARPS);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {cmocka_unit_test(test_conflicts), cmocka_unit_test(test_sectors),
                                cmocka_unit_test(test_fragments), cmocka_unit_test(test_blocks)};
    return cmocka_run_group_tests_name("counts", tests, nullptr, nullptr);
}
