#!/usr/bin/python3
"""The supernet of DARTS beside PyTorch's, and beside one architecture: time and memory of a pass.

    bench/peers/torch_supernet.py [--rounds 3] [--isa avx2]

A pass is forward and backward on a batch, with the gradients of the weights and of the mixture, and
without an update: 8 cells, 16 channels, batch 64 of 32x32x3, 2 threads, float32. PyTorch's network
is torch_network.supernet: on every edge the sum of all ops, each behind its BatchNorm, times the
softmax of logits. It gets what torch_step.py gives it, and both layouts; from the second round on
it keeps the one that was faster. Ours is build/bench/bench_methods, which also times eight
architectures drawn at random and, once, a whole step of each method. Every measurement of PyTorch
is a process of its own, and ours stand between them, so that a busy machine slows both; times are
medians over the rounds. Its memory is the largest resident size, with the C library's allocator if
that takes less; ours is that, and the arena, as planned and as used.

Takes more than eight minutes of two cores, and up to 13 GiB for PyTorch. Prints tables for PERF.md.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time

import torch_network as net
import torch_step as peer

LAYERS, CHANNELS, BATCH, IMAGE = 8, 16, 64, 32  # of bench_methods

# Passes of the published searches on CIFAR-10 in steps of 64 images, and what they are (the heads
# of search/methods/method_*.c name the sources). A forward pass is a third.
PUBLISHED = {
    "parsec": (100 * 25000 / 64, "100 epochs of a half, ours: none is published"),
    "random": (100 * 25000 / 64 + 3 * (1000 * 10 + 10 * 390) / 3,
               "100 epochs of a half, three rounds of 1,000 cells"),
    "darts/order:1": (50 * 25000 / 64, "50 epochs of a half"),
    "darts/order:2": (50 * 25000 / 64, "50 epochs of a half"),
    "gdas": (250 * 25000 / 64, "250 epochs of a half"),
    "snas": (150 * 50000 / 64, "150 epochs of all"),
}


def measure(job):
    """pass_ms, peak_bytes of PyTorch's supernet in this process."""
    import torch
    import torch.nn.functional as F

    images, labels, weights, weight = peer.set_up_torch(job)
    logits = (1e-3 * torch.randn(2, len(net.edges()), 1 + len(net.OPS))).requires_grad_()

    def one_pass():
        for w in (logits, *weights.values()):
            w.grad = None
        mixture = torch.softmax(logits, dim=-1)[..., 1:]
        out = net.supernet(weight, mixture, LAYERS, CHANNELS, 10, images)
        F.cross_entropy(out, labels).backward()

    times = []
    for _ in range(1 + job["repeat"]):  # the first makes the weights, and warms up
        start = time.perf_counter()
        one_pass()
        times.append(1e3 * (time.perf_counter() - start))
    if not (torch.isfinite(logits.grad).all() and logits.grad.abs().sum() > 0):
        sys.exit("PyTorch: the mixture has no gradient")
    with open("/proc/self/status", encoding="ascii") as status:
        peak = int(re.search(r"VmHWM:\s*(\d+) kB", status.read()).group(1)) * 1024
    return {"pass_ms": statistics.median(times[1:]), "peak_bytes": peak}


def plain_name(name):
    """Without what Google Benchmark says of its timing."""
    return re.sub(r"/(min_time:|real_time).*", "", name)


class Side:
    """Both sides, as commands."""

    def __init__(self, arguments, directory):
        self.o = arguments
        self.out = os.path.join(directory, "out.json")
        self.plain = peer.plain_environment(arguments)
        self.tuned = peer.tuned_environment(self.plain)
        self.bench = os.path.join(arguments.build, "bench", "bench_methods")
        listed = [plain_name(name) for name in
                  peer.run([self.bench, "--benchmark_list_tests"], self.plain).split()]
        first = arguments.isa or listed[0].partition("/")[0]
        self.label = first if f"{first}/pass/supernet" in listed else None
        if not self.label:
            sys.exit(f"--isa {first}, want one of "
                     + ", ".join(sorted({name.partition("/")[0] for name in listed})))

    def theirs(self, channels_last, environment, repeat):
        job = {"threads": self.o.threads, "channels_last": channels_last, "repeat": repeat,
               "device": "cpu", "batch": BATCH, "image": IMAGE}
        return json.loads(peer.run([sys.executable, __file__, "--measure", json.dumps(job)],
                                   environment))

    def ours(self, what):
        """Benchmarks whose name behind the instruction set begins so: {rest: its numbers}."""
        peer.run([self.bench, f"--benchmark_filter=^{self.label}/{what}",
                  f"--benchmark_out={self.out}"], self.plain)
        with open(self.out, encoding="utf-8") as file:
            rows = json.load(file)["benchmarks"]
        failed = [row for row in rows if row.get("error_occurred")]
        if failed or not rows:
            sys.exit(f"{self.bench}: {failed[0]['error_message'] if failed else 'no ' + what}")
        return {plain_name(row["name"]).partition("/")[2]: row for row in rows}


def sampled(rows):
    return statistics.mean(row["real_time"] for name, row in rows.items() if "sampled" in name)


def compare(side, arguments):
    theirs, ours, best = {False: [], True: []}, [], None
    for i in range(arguments.rounds):
        for last in (False, True) if best is None else (best,):
            theirs[last].append(side.theirs(last, side.tuned, arguments.repeat))
            ours.append(side.ours("pass/"))
        if best is None:
            best = theirs[True][0]["pass_ms"] < theirs[False][0]["pass_ms"]
        print(f"round {i + 1}: PyTorch {theirs[best][-1]['pass_ms']:.0f} ms, ours "
              f"{ours[-1]['pass/supernet']['real_time']:.0f} ms", file=sys.stderr, flush=True)
    small = side.theirs(best, side.plain, 1)
    alone = side.ours("pass/supernet")["pass/supernet"]
    steps = side.ours("step/")
    return theirs, best, ours, small, alone, steps


def show(arguments, theirs, best, ours, small, alone, steps):
    def median(rows, key):
        return statistics.median(row[key] for row in rows)

    mine = statistics.median(rows["pass/supernet"]["real_time"] for rows in ours)
    one = statistics.median(sampled(rows) for rows in ours)
    layouts = [f"{median(theirs[last], 'pass_ms'):,.0f}" for last in (False, True)]
    peak = min(small["peak_bytes"], *(row["peak_bytes"] for row in theirs[best])) / peer.MIB
    print(f"A pass of the supernet, {LAYERS} cells, C={CHANNELS}, batch {BATCH} of "
          f"{IMAGE}x{IMAGE}x3, {arguments.threads} threads, {arguments.rounds} rounds:\n")
    print("| | PyTorch contiguous | ch. last | ours | ratio |\n| --- | --- | --- | --- | --- |")
    print(f"| forward and backward, ms | {layouts[0]} | {layouts[1]} | {mine:,.0f} | "
          f"{median(theirs[best], 'pass_ms') / mine:.2f} |")
    print(f"| peak memory, MiB | {peak:,.0f} | | {alone['peak_MiB']:,.0f} | "
          f"{peak / alone['peak_MiB']:.2f} |")
    print(f"| arena, MiB: planned, used | | | {alone['planned_MiB']:,.1f}, "
          f"{alone['used_MiB']:,.1f} | |")
    print(f"\nOne architecture takes {one:.1f} ms (mean of 8), the supernet {mine / one:.2f} "
          "times that.\n")
    print("| `--method` | a step, ms | in passes of the supernet | arena used, MiB | published "
          "budget | hours |\n| --- | --- | --- | --- | --- | --- |")
    for name, row in steps.items():
        method = name.removeprefix("step/")
        count, what = PUBLISHED[method]
        print(f"| `{method.replace('/order:', ' --order ')}` | {row['real_time']:,.0f} | "
              f"{row['real_time'] / mine:.2f} | {row['used_MiB']:,.0f} | {count:,.0f} steps: "
              f"{what} | {count * row['real_time'] / 3.6e6:.1f} |")


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=2, help="timed passes of PyTorch (2)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", help="instruction set of ours: avx512, avx2, base (the best)")
    parser.add_argument("--build", default=os.path.join(root, "build"))
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    if arguments.rounds < 1 or arguments.repeat < 1:
        parser.error("--rounds, --repeat: want at least 1")
    if not os.access(os.path.join(arguments.build, "bench", "bench_methods"), os.X_OK):
        parser.error(f"--build {arguments.build} has no bench/bench_methods; build it first")
    with tempfile.TemporaryDirectory() as directory:
        show(arguments, *compare(Side(arguments, directory), arguments))


if __name__ == "__main__":
    main()
