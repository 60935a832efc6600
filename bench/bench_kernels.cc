/* bench_kernels.cc -- every op, pass and reference shape, per instruction set.
 *
 *     build/bench/bench_kernels --benchmark_filter=avx512/stage --benchmark_repetitions=9
 *
 * A name is ISA/op/pass/shape, N images of HW x HW with C channels. Bytes are the least that must
 * move, whatever a kernel does: forward inputs and outputs once; backward the inputs and outputs
 * of the forward pass that the gradients need, and the gradients. */
#include <string>

#include "bench/bench.h"

namespace {

using bench::Memory;
using bench::Work;

enum Pass { kForward, kBackward };

/* BatchNorm with plausible numbers: mean 0, deviation 1 of inputs in -1..1. */
pn_norm norm_of(Memory &memory, int K) {
    pn_norm norm = {};
    norm.mode = PN_NORM_BATCH;
    norm.eps = 1e-5F;
    norm.momentum = 0.1F;
    norm.stats = memory.floats(4 * static_cast<size_t>(K), 0.5F, 1.5F);
    return norm;
}

pn_input input_of(Memory &memory, size_t pixels, int C, bool gradient) {
    pn_input in = {};
    in.x = memory.floats(pixels * C);
    in.dx = gradient ? memory.floats(pixels * C) : nullptr;
    in.C = C;
    in.norm = norm_of(memory, C);
    return in;
}

pn_output output_of(Memory &memory, size_t pixels, int K) {
    pn_output out = {};
    out.z = memory.floats(pixels * K);
    out.dy = memory.floats(pixels * K);
    out.coef = 1;
    out.K = K;
    out.norm = norm_of(memory, K);
    return out;
}

template <typename Job>
struct Calls {
    size_t (*scratch)(const Job *, int);
    pn_status (*run)(const Job *, int, const pn_launch *);
};
#define CALLS(kernels, op, pass)                                                           \
    ((pass) == kForward ? Calls<pn_##op>{(kernels)->op##_fwd_scratch, (kernels)->op##_fwd} \
                        : Calls<pn_##op>{(kernels)->op##_bwd_scratch, (kernels)->op##_bwd})

/* table: the job as the device reads it, where that is not the same. */
template <typename Job>
void time_job(benchmark::State &state, const pn_kernels *kernels, Memory &memory, Calls<Job> calls,
              const Job &job, Work work, const Job *table = nullptr) {
    pn_launch launch = {};
    launch.scratch_bytes = calls.scratch(&job, 1);
    launch.scratch = memory.take(launch.scratch_bytes);
    launch.table = table ? memory.copy(table, 1) : memory.copy(&job, 1);
    launch.stream = kernels->memory->stream();
    bench::measure(state, kernels, work, [&] { return calls.run(&job, 1, &launch); });
}

/* Tensors as floats to bytes. */
Work work_of(double floats, double flops) { return {4 * floats, flops}; }

/* ---- the ops --------------------------------------------------------------------------------- */

struct StageShape {
    int N, C, HW, R, dilation, stride;
};
void stage(benchmark::State &state, const pn_kernels *kernels, Pass pass, StageShape s) {
    Memory memory(kernels);
    const int PQ = pn_out_size(s.HW, s.stride);
    const size_t in = static_cast<size_t>(s.N) * s.HW * s.HW,
                 out = static_cast<size_t>(s.N) * PQ * PQ;
    const size_t taps = static_cast<size_t>(s.R) * s.R, C = s.C;
    pn_stage job = {};
    job.N = s.N;
    job.H = job.W = s.HW;
    job.R = s.R;
    job.dilation = s.dilation;
    job.stride = s.stride;
    job.in = input_of(memory, in, s.C, true);
    job.out = output_of(memory, out, s.C);
    job.dw = memory.floats(taps * C);
    job.pw = memory.floats(C * C);
    job.ddw = memory.floats(taps * C);
    job.dpw = memory.floats(C * C);
    const double a = static_cast<double>(in) * s.C, b = static_cast<double>(out) * s.C;
    const double dw = 2 * b * static_cast<double>(taps), pw = 2 * b * s.C;
    time_job(state, kernels, memory, CALLS(kernels, stage, pass), job,
             pass == kForward ? work_of(a + b, dw + pw) : work_of(2 * a + 2 * b, 3 * dw + 2 * pw));
}

struct PointwiseShape {
    int N, parts, C, HW, K; /* C of each part */
};
void conv1x1(benchmark::State &state, const pn_kernels *kernels, Pass pass, PointwiseShape s) {
    Memory memory(kernels);
    const size_t pixels = static_cast<size_t>(s.N) * s.HW * s.HW,
                 weights = static_cast<size_t>(s.parts) * s.C * s.K;
    pn_conv1x1 job = {};
    job.N = s.N;
    job.H = job.W = s.HW;
    job.parts = s.parts;
    for (int i = 0; i < s.parts; i++) job.in[i] = input_of(memory, pixels, s.C, true);
    job.out = output_of(memory, pixels, s.K);
    job.w = memory.floats(weights);
    job.dw = memory.floats(weights);
    const double a = static_cast<double>(pixels) * s.parts * s.C,
                 b = static_cast<double>(pixels) * s.K, product = 2 * a * s.K;
    time_job(state, kernels, memory, CALLS(kernels, conv1x1, pass), job,
             pass == kForward ? work_of(a + b, product) : work_of(2 * a + 2 * b, 2 * product));
}

struct ConvShape {
    int N, parts, C, HW, R, stride, pad, mean, K; /* C of each part */
};
void conv(benchmark::State &state, const pn_kernels *kernels, Pass pass, ConvShape s) {
    Memory memory(kernels);
    const int PQ = pn_conv_size(s.HW, s.R, s.stride, s.pad), taps = s.R * s.R;
    const size_t in = static_cast<size_t>(s.N) * s.HW * s.HW,
                 out = static_cast<size_t>(s.N) * PQ * PQ;
    const size_t weights = static_cast<size_t>(s.mean ? 1 : taps) * s.parts * s.C * s.K;
    pn_conv job = {};
    job.N = s.N;
    job.H = job.W = s.HW;
    job.parts = s.parts;
    job.R = s.R;
    job.stride = s.stride;
    job.pad = s.pad;
    job.mean = s.mean;
    for (int i = 0; i < s.parts; i++) job.in[i] = input_of(memory, in, s.C, true);
    job.out = output_of(memory, out, s.K);
    job.w = memory.floats(weights);
    job.dw = memory.floats(weights);
    const double a = static_cast<double>(in) * s.parts * s.C, b = static_cast<double>(out) * s.K,
                 sums = s.mean ? static_cast<double>(out) * taps * s.parts * s.C : 0,
                 product = 2 * static_cast<double>(out) * static_cast<double>(weights);
    time_job(state, kernels, memory, CALLS(kernels, conv, pass), job,
             pass == kForward ? work_of(a + b, product + sums)
                              : work_of(2 * a + 2 * b, 2 * product + 2 * sums));
}

void reduce(benchmark::State &state, const pn_kernels *kernels, Pass pass, PointwiseShape s) {
    Memory memory(kernels);
    const int PQ = pn_out_size(s.HW, 2);
    const size_t in = static_cast<size_t>(s.N) * s.HW * s.HW,
                 out = static_cast<size_t>(s.N) * PQ * PQ;
    const size_t weights = static_cast<size_t>(s.parts) * s.C * s.K;
    pn_reduce job = {};
    job.N = s.N;
    job.H = job.W = s.HW;
    job.parts = s.parts;
    for (int i = 0; i < s.parts; i++) job.in[i] = input_of(memory, in, s.C, true);
    job.out = output_of(memory, out, s.K);
    job.w = memory.floats(weights);
    job.dw = memory.floats(weights);
    const double a = static_cast<double>(in) * s.parts * s.C, b = static_cast<double>(out) * s.K;
    const double product = 2 * static_cast<double>(out) * s.parts * s.C * s.K;
    time_job(
        state, kernels, memory, CALLS(kernels, reduce, pass), job,
        pass == kForward ? work_of(a / 2 + b, product) : work_of(1.5 * a + 2 * b, 2 * product));
}

struct PoolShape {
    int N, C, HW, stride;
    pn_pool_kind kind;
};
void pool(benchmark::State &state, const pn_kernels *kernels, Pass pass, PoolShape s) {
    Memory memory(kernels);
    const int PQ = pn_out_size(s.HW, s.stride);
    const size_t in = static_cast<size_t>(s.N) * s.HW * s.HW,
                 out = static_cast<size_t>(s.N) * PQ * PQ;
    pn_pool job = {};
    job.N = s.N;
    job.H = job.W = s.HW;
    job.stride = s.stride;
    job.kind = s.kind;
    job.in = input_of(memory, in, s.C, true);
    job.out = output_of(memory, out, s.C);
    const double a = static_cast<double>(in) * s.C, b = static_cast<double>(out) * s.C;
    time_job(state, kernels, memory, CALLS(kernels, pool, pass), job,
             pass == kForward ? work_of(a + b, 0) : work_of(2 * a + 2 * b, 0));
}

struct TensorShape {
    int N, C, HW;
};
void node(benchmark::State &state, const pn_kernels *kernels, Pass pass, TensorShape s,
          bool restored) {
    Memory memory(kernels);
    const size_t pixels = static_cast<size_t>(s.N) * s.HW * s.HW;
    pn_term terms[2] = {};
    for (pn_term &term : terms) {
        term.in = input_of(memory, pixels, s.C, false);
        term.coef = 1;
    }
    pn_node job = {};
    job.N = s.N;
    job.H = job.W = s.HW;
    job.C = s.C;
    job.terms = 2;
    job.term = terms;
    job.h = memory.floats(pixels * s.C);
    job.dh = memory.floats(pixels * s.C);
    double tensors = 3;
    if (restored) { /* one tensor is the second term's z and the sum; backward puts z back */
        job.restore = 1;
        job.h = const_cast<float *>(terms[1].in.x);
        if (pass == kBackward) tensors = 4;
    }
    pn_node table = job;
    table.term = memory.copy(terms, 2);
    time_job(state, kernels, memory, CALLS(kernels, node, pass), job,
             work_of(tensors * static_cast<double>(pixels) * s.C, 0), &table);
}
void node_sum(benchmark::State &state, const pn_kernels *kernels, Pass pass, TensorShape s) {
    node(state, kernels, pass, s, false);
}
void node_restored(benchmark::State &state, const pn_kernels *kernels, Pass pass, TensorShape s) {
    node(state, kernels, pass, s, true);
}

struct StemShape {
    int N, C, HW, K, stride;
};
void stem(benchmark::State &state, const pn_kernels *kernels, Pass pass, StemShape s) {
    Memory memory(kernels);
    const size_t pixels = static_cast<size_t>(s.N) * s.HW * s.HW,
                 weights = static_cast<size_t>(9) * s.C * s.K;
    pn_stem job = {};
    job.N = s.N;
    job.H = job.W = s.HW;
    job.C = s.C;
    job.stride = s.stride;
    job.x = memory.floats(pixels * s.C);
    const int edge = pn_out_size(s.HW, s.stride);
    const size_t outputs = static_cast<size_t>(s.N) * edge * edge;
    job.out = output_of(memory, outputs, s.K);
    job.w = memory.floats(weights);
    job.dw = memory.floats(weights);
    const double a = static_cast<double>(pixels) * s.C, b = static_cast<double>(outputs) * s.K,
                 product = 18 * b * s.C;
    time_job(state, kernels, memory, CALLS(kernels, stem, pass), job,
             work_of(a + (pass == kForward ? b : 2 * b), product));
}

void head(benchmark::State &state, const pn_kernels *kernels, Pass pass, TensorShape s) {
    enum { kClasses = 10 };
    Memory memory(kernels);
    const size_t pixels = static_cast<size_t>(s.N) * s.HW * s.HW,
                 C = static_cast<size_t>(PN_PARTS) * s.C;
    const std::vector<int32_t> labels(s.N);
    pn_head job = {};
    job.N = s.N;
    job.H = job.W = s.HW;
    job.parts = PN_PARTS;
    job.classes = kClasses;
    job.loss_weight = 1;
    for (pn_input &in : job.in) {
        in = input_of(memory, pixels, s.C, true);
        in.norm = {};
    }
    job.labels = memory.copy(labels.data(), labels.size());
    job.w = memory.floats(C * kClasses);
    job.b = memory.floats(kClasses);
    job.dw = memory.floats(C * kClasses);
    job.db = memory.floats(kClasses);
    job.pooled = memory.floats(s.N * C);
    job.logits = memory.floats(static_cast<size_t>(s.N) * kClasses);
    job.result = static_cast<pn_result *>(memory.take(sizeof(pn_result)));
    time_job(state, kernels, memory, CALLS(kernels, head, pass), job,
             work_of(static_cast<double>(pixels) * static_cast<double>(C), 0));
}

void sgd(benchmark::State &state, const pn_kernels *kernels, size_t count) {
    Memory memory(kernels);
    const pn_range range = {0, count};
    float *value = memory.floats(count), *gradient = memory.floats(count, -1e-3F, 1e-3F),
          *velocity = memory.floats(count, 0, 0);
    const pn_sgd settings = {1e-6F, 0.9F, 3e-4F, 5};
    auto *norm = static_cast<double *>(memory.take(sizeof(double)));
    pn_launch launch = {};
    launch.stream = kernels->memory->stream();
    launch.scratch_bytes = kernels->sgd_scratch(&range, 1);
    launch.scratch = memory.take(launch.scratch_bytes);
    bench::measure(state, kernels, work_of(6 * static_cast<double>(count), 0), [&] {
        return kernels->sgd(&range, 1, value, gradient, velocity, nullptr, settings, norm, &launch);
    });
}

/* ---- the shapes ------------------------------------------------------------------------------ */

/* The three sizes of a network: channels double as the edge halves. */
const struct Network {
    const char *why;
    int N, C, HW, sizes;
} networks[] = {
    {"search", 64, 16, 32, 3},   {"quickstart", 64, 8, 28, 3},      {"evaluation", 32, 36, 32, 3},
    {"ImageNet", 16, 48, 28, 3}, {"ImageNet, last", 16, 384, 7, 1},
};

std::string tensor_name(int N, int C, int HW) {
    return "N:" + std::to_string(N) + "/C:" + std::to_string(C) + "/HW:" + std::to_string(HW);
}

template <typename Function, typename Shape>
void add(const pn_kernels *kernels, const char *op, const std::string &shape, Function function,
         const Shape &s) {
    for (Pass pass : {kForward, kBackward}) {
        const std::string name =
            bench::label(kernels) + "/" + op + (pass == kForward ? "/fwd/" : "/bwd/") + shape;
        benchmark::RegisterBenchmark(name.c_str(), function, kernels, pass, s)->UseRealTime();
    }
}

void add_size(const pn_kernels *kernels, int N, int C, int HW, bool first) {
    const std::string name = tensor_name(N, C, HW);
    for (int stride : {1, 2})
        for (int R : {3, 5})
            for (int dilation : {1, 2}) {
                if (stride == 2 && HW < 14) continue; /* the last cells have no reduction */
                add(kernels, "stage",
                    name + "/R:" + std::to_string(R) + "/dilation:" + std::to_string(dilation) +
                        "/stride:" + std::to_string(stride),
                    stage, StageShape{N, C, HW, R, dilation, stride});
            }
    if (first)
        add(kernels, "conv1x1", name + "/parts:1x" + std::to_string(3 * C), conv1x1,
            PointwiseShape{N, 1, 3 * C, HW, C});
    add(kernels, "conv1x1", name + "/parts:4x" + std::to_string(C), conv1x1,
        PointwiseShape{N, 4, C, HW, C});
    if (HW >= 14) {
        add(kernels, "conv1x1", tensor_name(N, 2 * C, HW) + "/parts:4x" + std::to_string(C),
            conv1x1, PointwiseShape{N, 4, C, HW, 2 * C});
        add(kernels, "reduce", tensor_name(N, 2 * C, HW) + "/parts:4x" + std::to_string(C), reduce,
            PointwiseShape{N, 4, C, HW, 2 * C});
        add(kernels, "reduce", tensor_name(N, 2 * C, HW) + "/parts:1x" + std::to_string(2 * C),
            reduce, PointwiseShape{N, 1, 2 * C, HW, 2 * C});
    }
    for (int stride : {1, 2}) {
        if (stride == 2 && HW < 14) continue;
        for (pn_pool_kind kind : {PN_POOL_MAX, PN_POOL_AVG})
            add(kernels, kind == PN_POOL_MAX ? "max_pool" : "avg_pool",
                name + "/stride:" + std::to_string(stride), pool,
                PoolShape{N, C, HW, stride, kind});
    }
    add(kernels, "node", name, node_sum, TensorShape{N, C, HW});
    add(kernels, "node", name + "/restored", node_restored, TensorShape{N, C, HW});
    if (first) add(kernels, "stem", tensor_name(N, 3 * C, HW), stem, StemShape{N, 3, HW, 3 * C, 1});
    if (HW <= 8) add(kernels, "head", name, head, TensorShape{N, C, HW});
}

/* What stands outside the cells of a network for evaluation: the stem's convolutions at 224x224 and
 * the auxiliary head of 36 channels on CIFAR. */
void add_outside(const pn_kernels *kernels) {
    const auto row = [&](ConvShape s) {
        add(kernels, "conv",
            tensor_name(s.N, s.K, s.HW) + "/parts:" + std::to_string(s.parts) + "x" +
                std::to_string(s.C) + "/R:" + std::to_string(s.R) +
                "/stride:" + std::to_string(s.stride) + (s.mean ? "/mean" : ""),
            conv, s);
    };
    add(kernels, "stem", tensor_name(32, 24, 224) + "/stride:2", stem,
        StemShape{32, 3, 224, 24, 2});
    row({32, 1, 24, 112, 3, 2, 1, 0, 48});
    row({32, 1, 48, 56, 3, 2, 1, 0, 48});
    row({32, 4, 144, 8, 5, 3, 0, 1, 128});
    row({32, 1, 128, 2, 2, 1, 0, 0, 768});
}

const bool registered = [] {
    for (const pn_kernels *kernels : bench::backends()) {
        for (const Network &net : networks)
            for (int i = 0; i < net.sizes; i++)
                add_size(kernels, net.N, net.C << i, net.HW >> i, i == 0 && net.sizes > 1);
        add_outside(kernels);
        for (size_t count : {size_t{1900000}, size_t{3300000}})
            benchmark::RegisterBenchmark(
                (bench::label(kernels) + "/sgd/floats:" + std::to_string(count)).c_str(), sgd,
                kernels, count)
                ->UseRealTime();
    }
    return true;
}();

}  // namespace
