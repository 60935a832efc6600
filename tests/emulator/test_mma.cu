/* test_mma.cu -- kernels/cuda/mma.h against sums in double: who has what of a matrix, how a float
 * is split, and the two products of a block. Built for the emulator, for it once more with
 * PN_PRECISION=tf32 and with fp16, and by nvcc for a card, of float32 and fp16: there it says
 * whether the emulator does what a card does. */
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "kernels/cuda/mma.h"

#ifdef __CUDACC__
#include "kernels/backend_parts.h"
#endif

namespace {

/* Numbers of the tests' own: splitmix64 (Steele, Lea, Flood 2014). */
uint64_t state = 2026;
double draw() { /* 0 to 1 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

struct numbers {
    std::vector<float> host;
    void *there = nullptr;

    explicit numbers(size_t count, float value = 0) : host(count, value) {
        assert_int_equal(PN_GPU_PASTE(pn_memory, PN_GPU).allocate(count * sizeof(float), &there),
                         PN_OK);
    }
    numbers(const numbers &) = delete;
    numbers &operator=(const numbers &) = delete;
    ~numbers() { PN_GPU_PASTE(pn_memory, PN_GPU).release(there); }

    /* Whole numbers up to `most`, or any, of magnitudes from 2^-8 to 1. */
    void fill(int most) {
        for (float &v : host)
            v = most ? (float)(int)((2 * draw() - 1) * (most + 1))
                     : (float)((2 * draw() - 1) * exp2(-8 * draw()));
    }
    float *on_card() {
        assert_int_equal(
            PN_GPU_PASTE(pn_memory, PN_GPU).upload(there, host.data(), host.size() * sizeof(float)),
            PN_OK);
        return static_cast<float *>(there);
    }
    void fetch() {
        assert_int_equal(PN_GPU_PASTE(pn_memory, PN_GPU)
                             .download(host.data(), there, host.size() * sizeof(float)),
                         PN_OK);
    }
};

template <class... P, class... A>
void run(const char *what, unsigned threads, size_t floats, void (*kernel)(P...), A... a) {
    const gpu_grid grid = {1, threads, floats * sizeof(float),
                           PN_GPU_PASTE(pn_memory, PN_GPU).stream()};
    const pn_status s = gpu_launch(what, grid, kernel, a...);
    if (s != PN_OK) fail_msg("%s", pn_error());
}

/* ---- one product ----------------------------------------------------------------------------- */

__global__ void has_mma(float *answer) {
    if (threadIdx.x == 0) *answer = gpu_prefers_mma();
}

/* sum (16,8) += a (16,8) b (8,8). */
__global__ void product(const float *a, const float *b, float *sum) {
    const int g = lane_group(), t = lane_place();
    float *const low = sum + g * 8 + 2 * t, *const high = low + 64;
    float4 s = make_float4(low[0], low[1], high[0], high[1]);
    gpu_mma(s, load_a([&](int i, int half) { return a[(g + 8 * i) * 8 + t + 4 * half]; }),
            load_b([&](int half) { return b[(t + 4 * half) * 8 + g]; }));
    gpu_mma_end();
    low[0] = s.x;
    low[1] = s.y;
    high[0] = s.z;
    high[1] = s.w;
}

__global__ void split_all(const float *v, float *high, float *low) {
    unsigned h, l;
    split(v[threadIdx.x], h, l);
    high[threadIdx.x] = __uint_as_float(h);
    low[threadIdx.x] = __uint_as_float(l);
}

/* What a product in three parts and a sum of `count` of them, eight at a time, may be off, for
 * products of this magnitude in all (mma.h): 8 roundings of float32 a product, and two, since they
 * are toward 0, for each of the three sums of eight. Of one part two roundings to tf32 a product,
 * and one sum; of halves likewise, but each is 2^-25 if that is more, and operands are up to 1. */
double bound(int count, double magnitude) {
    const double product = PN_GPU_EXACT ? 8 * 0x1p-24 : 0x1p-10 + 0x1p-22;
    const int sums = (PN_GPU_EXACT ? 3 : 1) * ((count + 7) / 8);
    const double least = PN_NARROW ? count * 0x1p-24 : 0;
    return ((product + 2 * sums * 0x1p-24) * magnitude + least) * (1 + 0x1p-10);
}

void test_product(void **) {
    for (int round = 0; round < 20; round++) {
        const int most = round < 10 ? 1 << round : 0;
        numbers a(128), b(64), sum(128);
        a.fill(most);
        b.fill(most);
        sum.fill(most);
        const std::vector<float> before = sum.host;
        run("product", 32, 0, product, static_cast<const float *>(a.on_card()),
            static_cast<const float *>(b.on_card()), sum.on_card());
        sum.fetch();
        for (int m = 0; m < 16; m++)
            for (int n = 0; n < 8; n++) {
                double want = before[m * 8 + n], magnitude = fabs(want);
                for (int k = 0; k < 8; k++) {
                    const double term = (double)a.host[m * 8 + k] * (double)b.host[k * 8 + n];
                    want += term;
                    magnitude += fabs(term);
                }
                const double off = fabs(sum.host[m * 8 + n] - want);
                assert_true(off <= (most ? 0 : bound(8, magnitude)));
            }
    }
}

void test_no_number(void **) {
    float ones, more_ones; /* NaN as cards make it; and the other one */
    const unsigned bits[] = {0x7fffffffu, 0xffffffffu};
    memcpy(&ones, bits, sizeof ones);
    memcpy(&more_ones, bits + 1, sizeof more_ones);
    const float odd[] = {
        std::numeric_limits<float>::quiet_NaN(), -NAN, INFINITY, -INFINITY, ones, more_ones};
    for (const float v : odd) {
        numbers a(128, 1), b(64, 1), sum(128);
        a.host[3 * 8 + 5] = v;
        b.host[2 * 8 + 1] = v;
        run("product", 32, 0, product, static_cast<const float *>(a.on_card()),
            static_cast<const float *>(b.on_card()), sum.on_card());
        sum.fetch();
        for (int i = 0; i < 128; i++)
            assert_true(i / 8 == 3 || i % 8 == 1 ? !std::isfinite(sum.host[i]) : sum.host[i] == 8);
    }
}

void test_split(void **) {
    const float ulp = 0x1p-10F; /* of tf32 */
    /* In the middle away from zero; what is less or more to the next. */
    const struct {
        float v, high;
    } rows[] = {{0, 0},
                {1, 1},
                {-3, -3},
                {1 + ulp, 1 + ulp},
                {1 + ulp / 2, 1 + ulp},
                {-1 - ulp / 2, -1 - ulp},
                {1 + ulp * .4999F, 1},
                {1 + ulp * 1.5001F, 1 + 2 * ulp},
                {2 - ulp / 4, 2}, /* a carry into the exponent */
                {0x1p-130F, 0x1p-130F},
                {2047, 2047}};
    const size_t count = sizeof rows / sizeof *rows;
    numbers v(256), high(256), low(256);
    v.fill(0);
    for (size_t i = 0; i < count; i++) v.host[i] = rows[i].v;
    run("split_all", 256, 0, split_all, static_cast<const float *>(v.on_card()), high.on_card(),
        low.on_card());
    high.fetch();
    low.fetch();
    for (size_t i = 0; i < 256; i++) {
        if (i < count) assert_true(high.host[i] == rows[i].high);
        assert_true((double)high.host[i] + (double)low.host[i] == (double)v.host[i]);
        assert_true(fabsf(low.host[i]) <= ulp / 2 * fabsf(v.host[i]));
    }
}

/* ---- products of a block --------------------------------------------------------------------- */

/* dw (C,K) = x^T g, da (pixels,C) = g w^T, from x (pixels,C), g (pixels,K), w (C,K). */
template <int N>
__global__ void block_products(const float *x, const float *g, const float *w, float *dw, float *da,
                               int C, int K, int pixels) {
    GPU_DYNAMIC(float, shared);
    const int x_pitch = pitch_of(C), g_pitch = pitch_of(K);
    float *const xs = shared, *const gs = xs + pixels * x_pitch,
                 *const room = gs + pixels * g_pitch;
    for (int i = (int)threadIdx.x; i < pixels * C; i += THREADS) xs[i / C * x_pitch + i % C] = x[i];
    for (int i = (int)threadIdx.x; i < pixels * K; i += THREADS) gs[i / K * g_pitch + i % K] = g[i];
    __syncthreads();
    {
        float4 sum[4] = {splat(0), splat(0), splat(0), splat(0)};
        outer_mma outer;
        outer.begin(C, K);
        for (int half = 0; half < 2; half++) { /* two tiles of an odd number of pixels */
            const int first = half * (pixels / 2), count = half ? pixels - first : pixels / 2;
            if (count > 0)
                outer.add_or_wait(
                    sum, C, K, [&](int p) { return xs + (first + p) * x_pitch; },
                    gs + first * g_pitch, g_pitch, count, dw, half == (pixels < 2));
        }
        outer.end(sum, C, K, room, dw);
    }
    multiply_rows<N>(gs, g_pitch, pixels, K, w, K, C,
                     [&](int p, int c, float2 v) { gpu_store2(da + (size_t)p * C + c, v); });
}

/* z (pixels,K) = x w, in place: x and w (C,K) of C = K, with room for so many rows of w; else
 * `chunk` of them at a time, of each grid: x (GRIDS,pixels,C), w (GRIDS,C,K), z
 * (pixels,GRIDS,K). */
template <int GRIDS>
__global__ void block_inner(const float *x, const float *w, float *z, int C, int K, int pixels,
                            int chunk, int rows) {
    GPU_DYNAMIC(float, shared);
    if (chunk == 0) {
        const columns k = columns_of(K);
        const int pitch = pitch_of(C);
        for (int i = (int)threadIdx.x; i < pixels * C; i += THREADS)
            shared[i / C * pitch + i % C] = x[i];
        __syncthreads();
        multiply_in_place(k, shared, pitch, pixels, C, w, shared + pixels * pitch,
                          rows * weights_pitch(C),
                          [&](int p, float4 v) { gpu_store4(z + (size_t)p * C + 4 * k.quad, v); });
        return;
    }
    const int most = inner_mma<GRIDS>::most_pixels(K), pitch = pitch_of(chunk);
    const int z_pitch = pitch_of(GRIDS * K), plane = min_of(most, pixels) * pitch + 16;
    const int w_plane = chunk * weights_pitch(K);
    float *const ws = shared + GRIDS * plane;
    for (int first = 0; first < pixels; first += most) {
        const int count = min_of(most, pixels - first);
        inner_mma<GRIDS> product;
        float4 sum[product.MOST] = {splat(0), splat(0), splat(0), splat(0), splat(0)};
        product.begin(count, K);
        for (int c = 0; c < C; c += chunk) {
            const int part = min_of(chunk, C - c);
            __syncthreads();
            for (int i = (int)threadIdx.x; i < GRIDS * count * part; i += THREADS) {
                const int f = i / (count * part), p = i / part % count;
                shared[f * plane + p * pitch + i % part] =
                    x[(size_t)(f * pixels + first + p) * C + c + i % part];
            }
            for (int f = 0; f < GRIDS; f++)
                stage_weights(w + (size_t)(f * C + c) * K, part, K, ws + f * w_plane);
            __syncthreads();
            product.add(sum, shared, pitch, plane, count, part, ws, w_plane, K);
        }
        __syncthreads();
        product.put(sum, count, K, shared, z_pitch);
        __syncthreads();
        for (int i = (int)threadIdx.x; i < GRIDS * count * K; i += THREADS)
            z[(size_t)GRIDS * first * K + i] = shared[i / (GRIDS * K) * z_pitch + i % (GRIDS * K)];
    }
}

struct shape {
    const char *why;
    int C, K, pixels;
} const shapes[] = {
    {"one pixel, four channels", 4, 4, 1},
    {"a tile of 16 by 8, eight pixels", 8, 16, 8},
    {"the stage's slice in the first cells", 8, 16, 160},
    {"its last run, no whole number of slots", 8, 16, 61},
    {"channels that end in the middle of a tile", 36, 36, 56},
    {"all sums a warp has", 64, 64, 40},
    {"long and narrow", 4, 256, 17},
    {"wide and flat", 256, 4, 9},
    {"as many tiles as the warps have room for", 320, 320, 21},
    {"a tile more than there is room for, several times", 16, 36, 300},
    {"conv1x1's slice of 72", 72, 36, 56},
    {"more sums than there is room for", 128, 64, 11},
    {"the same, and no whole number of tiles", 76, 76, 56},
};

/* Whole numbers exactly, others within the bound; the same bits in every order. */
template <int GRIDS>
void test_inner(const shape *s, int chunk, int rows, int most) {
    const size_t C = (size_t)s->C, K = chunk ? (size_t)s->K : C, pixels = (size_t)s->pixels;
    const int wide = chunk ? chunk : s->C;
    const size_t floats = GRIDS * (pixels * (size_t)(pitch_of(wide) + pitch_of((int)K)) +
                                   (size_t)(max_of(chunk, rows) * weights_pitch((int)K)) + 16);
    numbers x(GRIDS * pixels * C), w(GRIDS * C * K), z(pixels * GRIDS * K, NAN);
    x.fill(most);
    w.fill(most);
    std::vector<float> first;
    for (int again = 0; again < 3; again++) {
#ifndef __CUDACC__
        pn_emulator_order(again, (uint64_t)chunk);
#endif
        run("block_inner", THREADS, floats, block_inner<GRIDS>,
            static_cast<const float *>(x.on_card()), static_cast<const float *>(w.on_card()),
            z.on_card(), s->C, (int)K, s->pixels, chunk, rows);
        z.fetch();
        if (!again) first = z.host;
        assert_memory_equal(first.data(), z.host.data(), z.host.size() * sizeof(float));
        z.host.assign(z.host.size(), NAN);
    }
    const int parts = chunk ? div_up(s->C, chunk) : 1; /* each may leave slots of a sum empty */
    for (size_t p = 0; p < pixels; p++)
        for (size_t k = 0; k < GRIDS * K; k++) {
            const float *const row = &x.host[(k / K * pixels + p) * C];
            double want = 0, magnitude = 0;
            for (size_t c = 0; c < C; c++) {
                const double term = (double)row[c] * (double)w.host[(k / K * C + c) * K + k % K];
                want += term;
                magnitude += fabs(term);
            }
            const double may = bound(s->C + 7 * parts, magnitude);
            assert_true(fabs(first[p * GRIDS * K + k] - want) <= (most ? 0 : may));
        }
}

void test_block(void **state_of) {
    const shape *const s = static_cast<const shape *>(*state_of);
    const size_t C = (size_t)s->C, K = (size_t)s->K, pixels = (size_t)s->pixels;
    const size_t floats = pixels * (size_t)(pitch_of(s->C) + pitch_of(s->K)) + 4096;
    for (int round = 0; round < 4; round++) {
        const int most = round % 2 ? 0 : 60;
        numbers x(pixels * C), g(pixels * K), w(C * K), dw(C * K, NAN), da(pixels * C, NAN);
        x.fill(most);
        g.fill(most);
        w.fill(most);
        std::vector<float> first[2];
        for (int again = 0; again < 3; again++) {
#ifndef __CUDACC__
            pn_emulator_order(again, (uint64_t)round);
#endif
            run("block_products", THREADS, floats,
                round < 2 ? block_products<1> : block_products<2>,
                static_cast<const float *>(x.on_card()), static_cast<const float *>(g.on_card()),
                static_cast<const float *>(w.on_card()), dw.on_card(), da.on_card(), s->C, s->K,
                s->pixels);
            dw.fetch();
            da.fetch();
            if (!again) first[0] = dw.host, first[1] = da.host;
            assert_memory_equal(first[0].data(), dw.host.data(), dw.host.size() * sizeof(float));
            assert_memory_equal(first[1].data(), da.host.data(), da.host.size() * sizeof(float));
            dw.host.assign(dw.host.size(), NAN);
            da.host.assign(da.host.size(), NAN);
        }
        const int chunk = round < 2 ? min_of(s->C, 72) : 12;
        test_inner<1>(s, chunk, 0, most);
        if (inner_mma<2>::most_pixels(s->K) > 0) test_inner<2>(s, chunk, 0, most);
        if (inner_mma<1>::most_pixels(s->C) > 0)
            test_inner<1>(s, 0, round < 2 ? min_of(div_up(s->C, 8) * 8, 72) : 8, most);
        for (size_t c = 0; c < C; c++)
            for (size_t k = 0; k < K; k++) {
                double want = 0, magnitude = 0;
                for (size_t p = 0; p < pixels; p++) {
                    const double term = (double)x.host[p * C + c] * (double)g.host[p * K + k];
                    want += term;
                    magnitude += fabs(term);
                }
                /* Two tiles, whose last slots are not all taken; the segments, added up. */
                const double may = bound(s->pixels + 14, magnitude) + WARPS * 0x1p-24 * magnitude;
                assert_true(fabs(first[0][c * K + k] - want) <= (most ? 0 : may));
            }
        for (size_t p = 0; p < pixels; p++)
            for (size_t c = 0; c < C; c++) {
                double want = 0, magnitude = 0;
                for (size_t k = 0; k < K; k++) {
                    const double term = (double)g.host[p * K + k] * (double)w.host[c * K + k];
                    want += term;
                    magnitude += fabs(term);
                }
                const double may = bound(s->K, magnitude);
                assert_true(fabs(first[1][p * C + c] - want) <= (most ? 0 : may));
            }
    }
}

bool can_run() {
#ifdef __CUDACC__
    if (!pn_cuda_kernels(0, PN_NARROW ? PN_PRECISION_FP16 : PN_PRECISION_FLOAT32)) {
        print_message("[  SKIPPED ] %s\n", pn_error());
        return false;
    }
#else
    pn_emulator_card = PN_NARROW ? 75 : 80;
    if (PN_NARROW) pn_emulator_halves = PN_STORED_FP16;
#endif
    numbers answer(1);
    run("has_mma", 32, 0, has_mma, answer.on_card());
    answer.fetch();
    if (answer.host[0] == 0)
        print_message("[  SKIPPED ] this card is not asked for products of matrices\n");
    return answer.host[0] != 0;
}

}  // namespace

int main() {
    if (!can_run()) return 77;
    std::vector<CMUnitTest> tests = {cmocka_unit_test(test_product),
                                     cmocka_unit_test(test_no_number),
                                     cmocka_unit_test(test_split)};
    for (const shape &s : shapes)
        tests.push_back({s.why, test_block, nullptr, nullptr, const_cast<shape *>(&s)});
    return _cmocka_run_group_tests("mma", tests.data(), tests.size(), nullptr, nullptr);
}
