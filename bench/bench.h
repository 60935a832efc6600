/* bench.h -- what the benchmark programs share: the backends, the ceilings of the machine, and a
 * loop that reports a time against its limit. */
#ifndef PN_BENCH_H
#define PN_BENCH_H

#include <benchmark/benchmark.h>

#include <chrono>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/work.h"

namespace bench {

/* Measured once per backend and, for copies, per power of two. */
pn_ceilings &ceilings(const pn_kernels *kernels);

/* The instruction sets of this machine, best first, and its card; or the one backend that the
 * environment variable PN_BENCH_DEVICE names. Their names in those of benchmarks. */
std::vector<const pn_kernels *> backends();
std::string label(const pn_kernels *kernels);

/* Runs and times `call`, and reports bytes and operations as rates, and what its limit (work.h) is
 * of the time, as a fraction. The same buffers are used again and again, so what fits a cache is
 * read from it, as is the copy that it is held against. */
template <typename Call>
void measure(benchmark::State &state, const pn_kernels *kernels, pn_work work, Call call) {
    const double limit = pn_least_seconds(&ceilings(kernels), work);
    if (call() != PN_OK) {
        state.SkipWithError(pn_error());
        return;
    }
    /* A device only queues the calls: so many are timed that waiting for the last one of them does
     * not count. */
    const pn_memory *memory = kernels->memory;
    const int batch = memory->plain ? 1 : 64;
    const auto start = std::chrono::steady_clock::now();
    while (state.KeepRunningBatch(batch)) {
        int64_t mark;
        for (int i = 0; i < batch; i++)
            if (call() != PN_OK) state.SkipWithError(pn_error());
        if (memory->mark(&mark) || memory->wait(mark)) state.SkipWithError(pn_error());
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    using benchmark::Counter;
    state.counters["bytes/s"] = Counter(work.bytes, Counter::kIsIterationInvariantRate);
    state.counters["flop/s"] = Counter(work.flops, Counter::kIsIterationInvariantRate);
    state.counters["of_limit"] = limit * static_cast<double>(state.iterations()) / seconds.count();
}

/* A benchmark of this backend whose calls take milliseconds: they are timed for a second. */
template <typename Function, typename... Arguments>
void add(const pn_kernels *kernels, const std::string &what, Function function,
         Arguments... arguments) {
    benchmark::RegisterBenchmark((label(kernels) + "/" + what).c_str(), function, kernels,
                                 arguments...)
        ->UseRealTime()
        ->MinTime(1)
        ->Unit(benchmark::kMillisecond);
}

/* --benchmark_... and nothing else; names the machine's ceilings in the report. */
int run(int argc, char **argv);

}  // namespace bench

#endif
