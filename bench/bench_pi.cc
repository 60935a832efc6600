/* bench_pi.cc -- what a step does on every process, for each of its samples, whoever computes them:
 * draw it, its log p, and its share of pi's gradient.
 *
 *     build/bench/bench_pi
 *
 * `once` makes the tables of the distribution once a step, as the search does, `anew` in each call.
 * The time is of a step of K samples of the whole space with distinct inputs; items are samples, by
 * CPU time. */
#include <string>

#include "bench/bench.h"

extern "C" {
#include "runtime/rng.h"
#include "search/methods/prior.h"
}

namespace {

enum { kMostSamples = 256 };
const uint64_t kSeed = 1;

pn_prior some_prior() {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    pn_prior_init(&prior, &space, true);
    for (int i = 0; i < prior.count; i++)
        prior.logit[i] = 2 * pn_uniform(kSeed, PN_STREAM_TEST, 0, static_cast<uint64_t>(i));
    return prior;
}

void once(const pn_prior &prior, uint64_t step, uint64_t samples, double *gradient) {
    static pn_tables tables; /* large */
    static pn_arch arch[kMostSamples];
    double log_p = 0;
    pn_tables_make(&prior, &tables);
    for (uint64_t k = 0; k < samples; k++) {
        pn_tables_sample(&tables, kSeed, step, k, &arch[k]);
        log_p += pn_tables_log_p(&tables, &arch[k]);
    }
    benchmark::DoNotOptimize(log_p);
    for (uint64_t k = 0; k < samples; k++)
        pn_tables_gradient(&tables, &arch[k], 1.0 / static_cast<double>(k + 1), gradient);
}

void anew(const pn_prior &prior, uint64_t step, uint64_t samples, double *gradient) {
    for (uint64_t k = 0; k < samples; k++) {
        pn_arch arch;
        pn_prior_sample(&prior, kSeed, step, k, &arch);
        benchmark::DoNotOptimize(pn_prior_log_p(&prior, &arch));
        pn_prior_gradient(&prior, &arch, 1.0 / static_cast<double>(k + 1), gradient);
    }
}

template <typename Way>
void step_of(benchmark::State &state, Way way) {
    const pn_prior prior = some_prior();
    const auto samples = static_cast<uint64_t>(state.range(0));
    double gradient[PN_MAX_LOGITS] = {};
    uint64_t step = 0;
    for (auto _ : state) way(prior, step++, samples, gradient);
    benchmark::DoNotOptimize(gradient);
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

const bool registered = [] {
    const auto add = [](const char *name, auto way) {
        benchmark::RegisterBenchmark(name, [way](benchmark::State &state) { step_of(state, way); })
            ->ArgName("K")
            ->Arg(4)
            ->Arg(16)
            ->Arg(64)
            ->Arg(kMostSamples)
            ->Unit(benchmark::kMicrosecond);
    };
    add("pi/once", once);
    add("pi/anew", anew);
    return true;
}();

}  // namespace
