/* bench.h -- what the benchmark programs share: memory full of random numbers, the ceilings of the
 * machine, and a loop that reports a time against its limit. */
#ifndef PN_BENCH_H
#define PN_BENCH_H

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace bench {

/* Blocks of a backend's memory for one benchmark, freed together. */
class Memory {
   public:
    explicit Memory(const pn_kernels *kernels) : memory_(kernels->memory) {}
    ~Memory() {
        for (void *block : blocks_) memory_->release(block);
    }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    float *floats(size_t n, float low = -1, float high = 1) {
        std::vector<float> all(n);
        std::uniform_real_distribution<float> any(low, high);
        for (float &f : all) f = any(random_);
        return copy(all.data(), n);
    }
    template <typename T>
    T *copy(const T *from, size_t n) {
        void *block = take(n * sizeof(T));
        int64_t mark;
        if (memory_->upload(block, from, n * sizeof(T)) || memory_->mark(&mark) ||
            memory_->wait(mark))
            std::abort();
        return static_cast<T *>(block);
    }
    void *take(size_t bytes) {
        void *block;
        if (memory_->allocate(bytes, &block) != PN_OK) std::abort();
        blocks_.push_back(block);
        return block;
    }

   private:
    const pn_memory *memory_;
    std::vector<void *> blocks_;
    std::mt19937 random_{1};
};

/* Measured once per backend and, for copies, per power of two. */
double flop_rate(const pn_kernels *kernels);
double copy_rate(const pn_kernels *kernels, double bytes);

/* The instruction sets of this machine, best first, and its card; or the one backend that the
 * environment variable PN_BENCH_DEVICE names. Their names in those of benchmarks. */
std::vector<const pn_kernels *> backends();
std::string label(const pn_kernels *kernels);

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
    /* A device only queues the calls: so many are timed that waiting for the last one of them does
     * not count. */
    const pn_memory *memory = kernels->memory;
    const int batch = memory->plain ? 1 : 64;
    while (state.KeepRunningBatch(batch)) {
        int64_t mark;
        for (int i = 0; i < batch; i++)
            if (call() != PN_OK) state.SkipWithError(pn_error());
        if (memory->mark(&mark) || memory->wait(mark)) state.SkipWithError(pn_error());
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
