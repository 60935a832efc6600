/* ceiling.c -- what the machine can do at best: the two numbers that every kernel is held
 * against. */
#include <time.h>

#include "kernels/host/period.h"
#include "kernels/host/vector.h"
#include "kernels/memory.h"

/* Best of a few rounds: a ceiling, so that disturbed rounds do not count. */
enum { ROUNDS = 9 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if PN_LANES == 16 || defined(__aarch64__) /* 32 registers */
enum { SUMS = 24 };
#else
enum { SUMS = 12 };
#endif

/* Independent multiply-adds on registers, as many as hide their latency. */
static float multiply_add(long times, float factor, float summand) {
    pn_vf acc[SUMS];
    const pn_vf a = pn_splat(factor), b = pn_splat(summand);
    PN_UNROLL for (int i = 0; i < SUMS; i++) acc[i] = pn_splat((float)i);
    for (long t = 0; t < times; t++)
        PN_UNROLL for (int i = 0; i < SUMS; i++) acc[i] = acc[i] * a + b;
    pn_vf sum = {0};
    PN_UNROLL for (int i = 0; i < SUMS; i++) sum += acc[i];
    return sum[0];
}

double PN_NAME(pn_flop_rate)(void) {
    const long times = 400000;
    const int threads = pn_threads();
    volatile float factor = 0.5F, sink = 0;
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = now();
#pragma omp parallel num_threads(threads)
        {
            const float sum = multiply_add(times, factor, 1);
#pragma omp critical
            sink = sink + sum;
        }
        const double rate = 2.0 * SUMS * PN_LANES * (double)times * threads / (now() - start);
        if (rate > best) best = rate;
    }
    return best;
}

static void copy(float *to, const float *from, size_t floats) {
    for (size_t i = 0; i + 4 * PN_LANES <= floats; i += 4 * PN_LANES)
        PN_UNROLL for (int k = 0; k < 4; k++)
            pn_store(to + i + k * PN_LANES, pn_load(from + i + k * PN_LANES));
}

double PN_NAME(pn_copy_rate)(size_t bytes) {
    const int threads = pn_threads();
    /* A share of one array; whole steps of copy() and whole pages. */
    const size_t share = (bytes / 2 / threads / 4096 + 1) * 1024;
    const size_t size = 2 * share * threads * sizeof(float);
    const long repeat = (long)((64 << 20) / size) + 1;
    void *block;
    if (pn_host_memory.allocate(size, &block)) return 0;
    float *from = block, *to = from + share * threads;
    double best = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        double start = 0;
#pragma omp parallel num_threads(threads)
        {
            const size_t mine = share * omp_get_thread_num();
            if (round == 0) {
                memset(from + mine, 0, share * sizeof *from);
                memset(to + mine, 0, share * sizeof *to);
            }
#pragma omp barrier
#pragma omp master
            start = now();
            for (long r = 0; r < repeat; r++) {
                copy(to + mine, from + mine, share);
                __asm__ volatile("" ::: "memory"); /* each copy counts */
            }
        }
        const double rate = (double)size * (double)repeat / (now() - start);
        if (round > 0 && rate > best) best = rate;
    }
    pn_host_memory.release(block);
    return best;
}
