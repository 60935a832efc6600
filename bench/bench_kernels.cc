/* bench_kernels.cc -- every op, pass and reference shape, per instruction set.
 *
 *     build/bench/bench_kernels --benchmark_filter=avx512/stage --benchmark_repetitions=9
 *
 * A name is ISA/op/pass/shape, N images of HW x HW with C channels. What a call does, and its bytes
 * and operations, are those of kernels/cases and kernels/work.h. */
#include <string>

#include "bench/bench.h"
#include "kernels/cases/cases.h"

namespace {

void time_call(benchmark::State &state, const pn_kernels *kernels, const pn_op_case &of) {
    pn_op_call call;
    if (pn_op_call_create(&call, kernels, &of) == PN_OK)
        bench::measure(state, kernels, call.work, [&] { return pn_op_call_run(&call); });
    else
        state.SkipWithError(pn_error());
    pn_op_call_destroy(&call);
}

void add(const pn_kernels *kernels, const pn_op_case &of) {
    char name[PN_CASE_NAME];
    pn_case_name(&of, name);
    benchmark::RegisterBenchmark((bench::label(kernels) + "/" + name).c_str(), time_call, kernels,
                                 of)
        ->UseRealTime();
}

/* The three sizes of a network: channels double as the edge halves. */
const struct Network {
    const char *why;
    int N, C, HW, sizes;
} networks[] = {
    {"search", 64, 16, 32, 3},   {"quickstart", 64, 8, 28, 3},      {"evaluation", 32, 36, 32, 3},
    {"ImageNet", 16, 48, 28, 3}, {"ImageNet, last", 16, 384, 7, 1},
};

/* What stands outside the cells of a network for evaluation: the stem's convolutions at 224x224 and
 * the auxiliary head of 36 channels on CIFAR. */
void add_outside(const pn_kernels *kernels) {
    const auto row = [&](pn_case_op op, int N, int parts, int C, int HW, int R, int stride, int pad,
                         int mean, int K) {
        pn_op_case of = {};
        of.op = op;
        of.N = N;
        of.parts = parts;
        of.C = C;
        of.HW = HW;
        of.R = R;
        of.stride = stride;
        of.pad = pad;
        of.mean = mean;
        of.K = K;
        add(kernels, of);
        of.backward = 1;
        add(kernels, of);
    };
    row(PN_CASE_STEM, 32, 0, 3, 224, 0, 2, 0, 0, 24);
    row(PN_CASE_CONV, 32, 1, 24, 112, 3, 2, 1, 0, 48);
    row(PN_CASE_CONV, 32, 1, 48, 56, 3, 2, 1, 0, 48);
    row(PN_CASE_CONV, 32, 4, 144, 8, 5, 3, 0, 1, 128);
    row(PN_CASE_CONV, 32, 1, 128, 2, 2, 1, 0, 0, 768);
}

/* The nodes of a supernet: seven ops on each of 2 to 5 inputs, their weights learnt. */
void add_mixed(const pn_kernels *kernels) {
    for (int i = 0; i < networks[0].sizes; i++)
        for (int terms = 14; terms <= PN_CASE_TERMS; terms += 7) {
            pn_op_case of = {};
            of.op = PN_CASE_NODE;
            of.N = networks[0].N;
            of.C = networks[0].C << i;
            of.HW = networks[0].HW >> i;
            of.terms = terms;
            add(kernels, of);
            of.backward = 1;
            add(kernels, of);
        }
}

const bool registered = [] {
    pn_op_case list[PN_MOST_CASES];
    for (const pn_kernels *kernels : bench::backends()) {
        for (const Network &net : networks)
            for (int i = 0; i < net.sizes; i++) {
                const int count =
                    pn_cases_of(net.N, net.C << i, net.HW >> i, i == 0 && net.sizes > 1, list);
                for (int c = 0; c < count; c++) add(kernels, list[c]);
            }
        add_outside(kernels);
        add_mixed(kernels);
        for (size_t count : {size_t{1900000}, size_t{3300000}}) {
            pn_op_case of = {};
            of.op = PN_CASE_SGD;
            of.floats = count;
            add(kernels, of);
        }
    }
    return true;
}();

}  // namespace
