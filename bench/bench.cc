/* bench.cc -- ceilings, and main() of every benchmark program. */
#include "bench/bench.h"

#include <cmath>
#include <cstdio>
#include <map>
#include <string>

namespace bench {

double flop_rate(const pn_kernels *kernels) {
    static std::map<const pn_kernels *, double> known;
    double &rate = known[kernels];
    if (rate == 0) rate = kernels->flop_rate();
    return rate;
}

double copy_rate(const pn_kernels *kernels, double bytes) {
    static std::map<std::pair<const pn_kernels *, int>, double> known;
    const int power = static_cast<int>(std::lround(std::log2(bytes)));
    double &rate = known[{kernels, power}];
    if (rate == 0) rate = kernels->copy_rate(static_cast<size_t>(1) << power);
    return rate;
}

std::vector<const pn_kernels *> backends() {
    std::vector<const pn_kernels *> all;
    const char *const only = std::getenv("PN_BENCH_DEVICE");
    for (const char *name : {"cpu:avx512", "cpu:avx2", "cpu:base", "cuda"}) {
        const pn_kernels *kernels;
        if (pn_backend_open(only ? only : name, &kernels) == PN_OK) all.push_back(kernels);
        if (only) break;
    }
    return all;
}

std::string label(const pn_kernels *kernels) {
    const std::string name = kernels->name;
    return name.rfind("host-", 0) == 0 ? name.substr(5) : name;
}

int run(int argc, char **argv) {
    if (backends().empty()) { /* the one that was asked for */
        std::fprintf(stderr, "%s\n", pn_error());
        return 5;
    }
    for (const pn_kernels *kernels : backends()) {
        char text[120];
        std::snprintf(text, sizeof text,
                      "%.0f GFLOP/s, copy %.0f GB/s in 1 MiB, %.0f in 8 MiB, %.0f in 256 MiB",
                      flop_rate(kernels) / 1e9, copy_rate(kernels, 0x1p20) / 1e9,
                      copy_rate(kernels, 0x1p23) / 1e9, copy_rate(kernels, 0x1p28) / 1e9);
        benchmark::AddCustomContext(kernels->name, text);
    }
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

}  // namespace bench

int main(int argc, char **argv) {
    benchmark::SetDefaultTimeUnit(benchmark::kMicrosecond);
    return bench::run(argc, argv);
}
