/* bench_step.cc -- what a user waits for: a training step of one architecture, and a whole step of
 * the search, with batches made and weights updated.
 *
 *     build/bench/bench_step --benchmark_filter=avx512
 *
 * 8 cells, C = 16, batch 64 of 32x32x3 (synthetic images). `train` is forward, backward, clip and
 * SGD of one fixed architecture, `forward` the first of these; `parsec` is a step of K = 4
 * architectures drawn anew each time: K times forward and backward on one batch, K times forward
 * on the other, and both updates. `compile/train` and `compile/forward` are the host's part before
 * each of these passes: from an architecture drawn anew to jobs that are bound, and on a card
 * uploaded. */
#include <string>

#include "bench/bench.h"

extern "C" {
#include "search/methods/model.h"
#include "search/methods/parsec.h"
#include "search/network/genotype.h"
}

namespace {

enum { kSamples = 4, kRandom = 8 };
const uint64_t kSeed = 1;

/* The network of the reference step. Weights move, so each benchmark has its own. */
struct Subject {
    pn_data data = {};
    pn_model model = {};
    pn_evaluator evaluator = {};
    pn_status status;

    explicit Subject(const pn_kernels *kernels) {
        const pn_space space = pn_space_darts();
        pn_model_settings settings = pn_model_defaults();
        settings.seed = kSeed;
        status = pn_data_open("synthetic:1280x32x32x3", PN_TRAIN, &data);
        if (status == PN_OK)
            status = pn_model_create(&model, kernels, &space, &settings, &data, kSamples);
        if (status == PN_OK) evaluator = pn_model_evaluator(&model);
    }
    ~Subject() {
        pn_model_destroy(&model);
        pn_data_free(&data);
    }
    Subject(const Subject &) = delete;
    Subject &operator=(const Subject &) = delete;
};

pn_arch random_arch(uint64_t index) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    pn_arch arch = {};
    pn_prior_init(&prior, &space, true);
    pn_prior_sample(&prior, kSeed, 0, index, &arch);
    return arch;
}

template <typename Step>
void repeat(benchmark::State &state, Subject &subject, Step step) {
    pn_status status = subject.status;
    if (status == PN_OK) status = step(int64_t{0});
    int64_t i = 1;
    for (auto _ : state) {
        if (status == PN_OK) status = step(i++);
        if (status != PN_OK) {
            state.SkipWithError(pn_error());
            break;
        }
    }
    state.counters["arena_MiB"] =
        static_cast<double>(pn_flights_high_water(&subject.model.flights)) / 0x1p20;
}

void train(benchmark::State &state, const pn_kernels *kernels, pn_arch arch) {
    Subject s(kernels);
    pn_evaluation out;
    double norm;
    repeat(state, s, [&](int64_t i) {
        PN_TRY(s.evaluator.begin(s.evaluator.self, i));
        PN_TRY(s.evaluator.train(s.evaluator.self, 0, &arch));
        PN_TRY(s.evaluator.update(s.evaluator.self, 0.025));
        return s.evaluator.finish(s.evaluator.self, 1, &out, &norm);
    });
}

void forward(benchmark::State &state, const pn_kernels *kernels, pn_arch arch) {
    Subject s(kernels);
    pn_evaluation out;
    double norm;
    repeat(state, s, [&](int64_t i) {
        PN_TRY(s.evaluator.begin(s.evaluator.self, i));
        PN_TRY(s.evaluator.validate(s.evaluator.self, 0, &arch));
        return s.evaluator.finish(s.evaluator.self, 1, &out, &norm);
    });
}

void parsec(benchmark::State &state, const pn_kernels *kernels) {
    Subject s(kernels);
    const pn_space space = pn_space_darts();
    const int64_t endless = int64_t{1} << 40;
    pn_search_settings settings = pn_rule_practical(endless, s.model.settings.N);
    settings.samples = kSamples;
    settings.warmup = 0;
    settings.seed = kSeed;
    pn_search search;
    static pn_step_report report; /* large */
    if (s.status == PN_OK) s.status = pn_search_init(&search, &space, &settings);
    repeat(state, s, [&](int64_t) { return pn_search_step(&search, &s.evaluator, &report); });
}

void compile(benchmark::State &state, const pn_kernels *kernels, bool training) {
    Subject s(kernels);
    enum { kArchitectures = 64 };
    pn_arch archs[kArchitectures];
    for (int i = 0; i < kArchitectures; i++) archs[i] = random_arch(i);
    pn_model &m = s.model;
    repeat(state, s, [&](int64_t i) {
        pn_build how = {};
        how.N = m.settings.N;
        how.training = training;
        how.result = m.found;
        pn_flight &flight = m.flights.flight[0];
        PN_TRY(pn_network_build(&m.network, &archs[i % kArchitectures], flight.program, &how));
        PN_TRY(pn_program_compile(flight.program, &m.size));
        const pn_batch &batch = m.device_batch[0].batch;
        return pn_program_bind(flight.program, &flight.arena, &m.network.parameters, batch.x,
                               batch.labels, nullptr);
    });
}

const bool registered = [] {
    for (const pn_kernels *kernels : bench::backends()) {
        for (const char *name : {"DARTS_V2", "PDARTS", "PC_DARTS_cifar"}) {
            pn_arch arch;
            if (pn_genotype_open(name, &arch) != PN_OK) continue;
            bench::add(kernels, std::string("forward/") + name, forward, arch);
            bench::add(kernels, std::string("train/") + name, train, arch);
        }
        for (int i = 0; i < kRandom; i++)
            bench::add(kernels, "train/random:" + std::to_string(i), train, random_arch(i));
        bench::add(kernels, "parsec/K:4", parsec);
        bench::add(kernels, "compile/train", compile, true);
        bench::add(kernels, "compile/forward", compile, false);
    }
    return true;
}();

}  // namespace
