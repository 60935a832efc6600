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
    for (const char *isa : {"avx512", "avx2", "base"})
        if (const pn_kernels *kernels = pn_host_kernels(isa)) all.push_back(kernels);
    return all;
}

int run(int argc, char **argv) {
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
