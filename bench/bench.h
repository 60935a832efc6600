/* bench.h -- what the benchmark programs share: memory full of random numbers, the ceilings of the
 * machine, and a loop that reports a time against its limit. */
#ifndef PN_BENCH_H
#define PN_BENCH_H

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "kernels/kernels.h"

namespace bench {

/* Arrays for one benchmark: aligned as the arena aligns, freed together. */
class Memory {
   public:
    float *floats(size_t n, float low = -1, float high = 1) {
        auto *p = static_cast<float *>(take(n * sizeof(float)));
        std::uniform_real_distribution<float> any(low, high);
        for (size_t i = 0; i < n; i++) p[i] = any(random_);
        return p;
    }
    void *take(size_t bytes) {
        void *p = std::aligned_alloc(4096, (bytes + 4096) / 4096 * 4096);
        if (!p) std::abort();
        blocks_.emplace_back(p, &std::free);
        return p;
    }

   private:
    std::vector<std::unique_ptr<void, void (*)(void *)>> blocks_;
    std::mt19937 random_{1};
};

/* Measured once per backend and, for copies, per power of two. */
double flop_rate(const pn_kernels *kernels);
double copy_rate(const pn_kernels *kernels, double bytes);

/* The instruction sets of this machine, best first. */
std::vector<const pn_kernels *> backends();

/* What one call must do at least: each tensor read or written once, and the arithmetic. */
struct Work {
    double bytes, flops;
};

/* Runs and times `call`, and reports bytes and operations as rates and `limit_%`: what the larger
 * of bytes / copy rate (between arrays of these bytes together) and flops / flop rate is of the
 * time. The same buffers are used again and again, so what fits a cache is read from it, as is the
 * copy that it is held against. */
template <typename Call>
void measure(benchmark::State &state, const pn_kernels *kernels, Work work, Call call) {
    const double limit =
        std::max(work.bytes / copy_rate(kernels, work.bytes), work.flops / flop_rate(kernels));
    if (call() != PN_OK) {
        state.SkipWithError(pn_error());
        return;
    }
    for (auto _ : state) {
        if (call() != PN_OK) state.SkipWithError(pn_error());
    }
    using benchmark::Counter;
    state.counters["bytes/s"] = Counter(work.bytes, Counter::kIsIterationInvariantRate);
    state.counters["flop/s"] = Counter(work.flops, Counter::kIsIterationInvariantRate);
    state.counters["limit_%"] = Counter(100 * limit, Counter::kIsIterationInvariantRate);
}

/* --benchmark_... and nothing else; names the machine's ceilings in the report. */
int run(int argc, char **argv);

}  // namespace bench

#endif
