/* bench.cc -- ceilings, and main() of every benchmark program. */
#include "bench/bench.h"

#include <cstdlib>
#include <map>
#include <string>

namespace bench {

pn_ceilings &ceilings(const pn_kernels *kernels) {
    static std::map<const pn_kernels *, pn_ceilings> known;
    pn_ceilings &c = known[kernels];
    c.kernels = kernels;
    return c;
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
        pn_ceilings &c = ceilings(kernels);
        const auto add = [&](const char *what, double rate) {
            benchmark::AddCustomContext(std::string(kernels->name) + what, std::to_string(rate));
        };
        add(" flop/s", pn_flop_ceiling(&c));
        add(" copy 1 MiB, bytes/s", pn_copy_ceiling(&c, 0x1p20));
        add(" copy 8 MiB, bytes/s", pn_copy_ceiling(&c, 0x1p23));
        add(" copy 256 MiB, bytes/s", pn_copy_ceiling(&c, 0x1p28));
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
