/* bench_methods.cc -- the methods of a search side by side: the passes that they are made of, and a
 * whole step of each.
 *
 *     build/bench/bench_methods --benchmark_filter=avx512/pass
 *
 * 8 cells, C = 16, batch 64 of 32x32x3 (synthetic images). `pass` is forward and backward on one
 * batch, without an update: of eight architectures drawn at random (`sampled:I`), and of all ops on
 * every edge, with the gradients of their weights (`supernet`). `step` is a step of a method with
 * its usual settings, everything included: batches, passes, both updates.
 *
 * planned_MiB and used_MiB are the arena's. peak_MiB is the largest resident size of this process
 * so far: filter one benchmark to have its own. */
#include <sys/resource.h>

#include <cstdio>
#include <string>
#include <vector>

#include "bench/bench.h"

extern "C" {
#include "search/methods/method.h"
#include "search/methods/prior.h"
}

namespace {

enum { kRandom = 8 };
const uint64_t kSeed = 1;

/* A search by a method, whose steps do not end. */
struct Search {
    pn_settings settings = pn_settings_defaults();
    const pn_method *method;
    pn_space space = pn_space_darts();
    pn_data data = {};
    pn_model model = {};
    pn_evaluator evaluator = {};
    std::vector<std::max_align_t> state;
    pn_status status;

    Search(const pn_kernels *kernels, const char *name, int order) : method(pn_method_find(name)) {
        status = open(kernels, order);
    }
    ~Search() {
        pn_model_destroy(&model);
        pn_data_free(&data);
    }
    Search(const Search &) = delete;
    Search &operator=(const Search &) = delete;

    void *self() { return state.data(); }

    pn_status open(const pn_kernels *kernels, int order) {
        std::snprintf(settings.method, sizeof settings.method, "%s", method->name);
        settings.steps = int64_t{1} << 40;
        if (order) settings.order = order;
        PN_TRY(pn_data_open("synthetic:1280x32x32x3", PN_TRAIN, &data));
        PN_TRY(pn_settings_resolve(&settings, &data));
        const pn_model_settings of_model = pn_settings_model(&settings, &data, 0);
        PN_TRY(pn_model_create(&model, kernels, &space, &of_model, &data,
                               static_cast<int>(settings.samples)));
        evaluator = pn_model_evaluator(&model);
        state.resize(method->bytes / sizeof(std::max_align_t) + 1);
        return method->begin(self(), &space, &settings);
    }
};

double peak_bytes() {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : 1024.0 * static_cast<double>(usage.ru_maxrss);
}

template <typename Call>
void repeat(benchmark::State &state, Search &search, Call call) {
    if (search.status == PN_OK) search.status = call();
    for (auto _ : state) {
        if (search.status == PN_OK) search.status = call();
        if (search.status != PN_OK) {
            state.SkipWithError(pn_error());
            break;
        }
    }
    state.counters["planned_MiB"] = static_cast<double>(search.model.size.arena_bytes) / 0x1p20;
    state.counters["used_MiB"] =
        static_cast<double>(pn_flights_high_water(&search.model.flights)) / 0x1p20;
    state.counters["peak_MiB"] = peak_bytes() / 0x1p20;
}

void sampled(benchmark::State &state, const pn_kernels *kernels, int index) {
    Search s(kernels, "random", 0);
    pn_prior prior;
    pn_arch arch = {};
    pn_evaluation out;
    double norm;
    if (s.status == PN_OK) s.status = pn_prior_init(&prior, &s.space, true);
    if (s.status == PN_OK) pn_prior_sample(&prior, kSeed, 0, static_cast<uint64_t>(index), &arch);
    repeat(state, s, [&] {
        const pn_evaluator &e = s.evaluator;
        PN_TRY(e.begin(e.self, 0)); /* the batch is that of the pass before */
        PN_TRY(e.train(e.self, 0, &arch));
        return e.finish(e.self, 1, &out, &norm);
    });
}

void supernet(benchmark::State &state, const pn_kernels *kernels) {
    Search s(kernels, "darts", 1);
    std::vector<double> weight, of_weight;
    pn_evaluation out;
    if (s.status == PN_OK) {
        weight.resize(static_cast<size_t>(s.method->columns(s.self())));
        of_weight.resize(weight.size());
        s.method->probabilities(s.self(), weight.data());
    }
    repeat(state, s, [&] {
        const pn_evaluator &e = s.evaluator;
        PN_TRY(e.begin(e.self, 0));
        PN_TRY(e.mix(e.self, PN_STEP_TRAIN, weight.data(), nullptr));
        return e.mixed(e.self, PN_STEP_TRAIN, &out, of_weight.data());
    });
}

void step(benchmark::State &state, const pn_kernels *kernels, const char *method, int order) {
    Search s(kernels, method, order);
    static pn_step_report report; /* large */
    repeat(state, s, [&] { return s.method->step(s.self(), &s.evaluator, &report); });
}

const bool registered = [] {
    for (const pn_kernels *kernels : bench::backends()) {
        for (int i = 0; i < kRandom; i++)
            bench::add(kernels, "pass/sampled:" + std::to_string(i), sampled, i);
        bench::add(kernels, "pass/supernet", supernet);
        for (int i = 0; pn_method_at(i); i++) {
            const char *name = pn_method_at(i)->name;
            const bool darts = !std::string(name).compare("darts");
            for (int order = darts ? 1 : 0; order <= (darts ? 2 : 0); order++)
                bench::add(
                    kernels,
                    std::string("step/") + name + (order ? "/order:" + std::to_string(order) : ""),
                    step, name, order);
        }
    }
    return true;
}();

}  // namespace
