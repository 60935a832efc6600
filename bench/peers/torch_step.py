#!/usr/bin/python3
"""The time and memory of a training step beside PyTorch's, on the same genotypes.

    bench/peers/torch_step.py [--genotypes random:8 | NAME | TEXT ...] [--isa avx2]
    bench/peers/torch_step.py --parsec 4
    bench/peers/torch_step.py --network eval [--genotypes DARTS_V2 ...]
    bench/peers/torch_step.py --device cuda --in-process --graph --amp

PyTorch (Debian: python3-torch, with libopenblas0-pthread and libjemalloc2 for its best) gets what
makes it fast: float32 through oneDNN, jemalloc on huge pages that gives nothing back, denormals
flushed, and for every genotype the faster of the contiguous and the channels_last layout. Each
measurement is a process of its own; ours and PyTorch's alternate, so that a busy machine slows
both. A step is forward, backward, clip_grad_norm_(5) and SGD (momentum 0.9, decay 3e-4). Its time
is the median of --repeat steps after two for warming up. Peak memory is the process's largest
resident size, for PyTorch with the C library's allocator if that takes less.

With --network eval it is the network that trains a cell from scratch: 20 cells, 36 channels, batch
32, auxiliary head, without drop-path; DARTS_V2, PDARTS, PC_DARTS_cifar and one random cell if none
are named.

With --parsec K it times a whole step of the search instead: K architectures drawn anew, each
forward and backward on one batch with its importance weight (online, so that PyTorch too needs the
memory of one), forward on another batch, clip, SGD, and Adam on the distribution's logits. Ours is
build/bench/bench_step with its own random architectures; both report the mean over --repeat steps.

With --in-process PyTorch is measured in this process, which on a card saves the seconds that each
process begins with, and needs no numpy. Both layouts eagerly, in float32; with --graph both as a
CUDA graph, which is the peer for whoever is bound by launches; with --amp also TF32, and autocast
to bfloat16 in channels_last, eagerly and as graphs. Twice each, ours in between, better time of the
two. --precision has ours in others, too: float32 stands beside PyTorch's, tf32 beside its TF32,
bf16 beside its bfloat16; what is not measured beside the float32 of ours, which is not comparable
in accuracy.
"""

import argparse
import contextlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import torch_network as net

MIB = 1024 * 1024


def set_up_torch(job):
    """The batch, the weights by name, and the function that makes a weight when it is asked for."""
    import torch

    torch.set_num_threads(job["threads"])
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True  # on a card; float32 there as here
    tf32 = job.get("tf32", False)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    device = job["device"]
    layout = torch.channels_last if job["channels_last"] else torch.contiguous_format
    if "images" in job:
        import numpy

        images = torch.from_numpy(numpy.load(job["images"]))
        labels = torch.from_numpy(numpy.load(job["labels"])).to(device)
    else:
        images = torch.randn(job["batch"], 3, job["image"], job["image"])
        labels = torch.randint(10, (job["batch"],)).to(device)
    images = images.to(device, memory_format=layout)
    weights = {}

    def weight(name, shape):
        if name not in weights:
            w = torch.randn(shape) * 0.1 if len(shape) > 1 else torch.ones(shape)
            if name.endswith("running_mean"):
                w.zero_()
            w = w.to(device)
            if len(shape) == 4:
                w = w.to(memory_format=layout)
            weights[name] = w.requires_grad_(not net.is_statistic(name))
        return weights[name]

    return images, labels, weights, weight


def graphed(function):
    """What replays the work that `function` gives to a card, after a few runs that prepare it."""
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def measure_torch(job):
    """forward_ms, step_ms, peak_bytes of a training step."""
    import torch
    import torch.nn.functional as F

    images, labels, weights, weight = set_up_torch(job)

    graph = job.get("graph", False)

    def precision():
        if not job.get("bf16", False):
            return contextlib.nullcontext()
        return torch.autocast(job["device"], dtype=torch.bfloat16, cache_enabled=not graph)

    def loss():
        with precision():
            return loss_of_network()

    def loss_of_network():
        sizes = (job["genotype"], job["layers"], job["channels"], 10, images)
        if job["network"] == "search":
            return F.cross_entropy(net.forward(weight, *sizes), labels)
        logits, auxiliary = net.evaluation(weight, *sizes, auxiliary=True)
        return F.cross_entropy(logits, labels) + 0.4 * F.cross_entropy(auxiliary, labels)

    def forward():
        with torch.no_grad():
            loss()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(used, 5.0)
        optimizer.step()

    loss()  # names the weights
    used = [w for w in weights.values() if w.requires_grad]
    optimizer = torch.optim.SGD(used, lr=0.025, momentum=0.9, weight_decay=3e-4)
    step_ms = median_ms(graphed(step) if graph else step, job)
    forward_ms = median_ms(graphed(forward) if graph else forward, job)
    if job["device"] == "cuda":
        peak = torch.cuda.max_memory_allocated()
        return {"forward_ms": forward_ms, "step_ms": step_ms, "peak_bytes": peak}
    with open("/proc/self/status", encoding="ascii") as status:
        peak = int(re.search(r"VmHWM:\s*(\d+) kB", status.read()).group(1)) * 1024
    return {"forward_ms": forward_ms, "step_ms": step_ms, "peak_bytes": peak}


def measure_torch_parsec(job):
    """step_ms, the mean over job["repeat"] steps of the search."""
    import torch
    import torch.nn.functional as F

    images, labels, weights, weight = set_up_torch(job)
    K = job["samples"]

    def log_likelihood(text, x, y):
        logits = net.forward(weight, text, job["layers"], job["channels"], 10, x)
        return -F.cross_entropy(logits, y, reduction="sum")

    steps = [[net.random_genotype(1000 + K * i + k) for k in range(K)]
             for i in range(1 + job["repeat"])]
    for text in sum(steps, []):  # names the weights, untimed
        with torch.no_grad():
            log_likelihood(text, images[:2], labels[:2])
    optimizer = torch.optim.SGD(weights.values(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    pi = torch.zeros(168, requires_grad=True, device=job["device"])
    adam = torch.optim.Adam([pi], lr=1e-3, betas=(0.5, 0.999))

    def step(texts):
        optimizer.zero_grad(set_to_none=True)
        largest, total = -float("inf"), 0.0
        for text in texts:
            value = log_likelihood(text, images, labels)
            now = value.item()
            if now > largest:
                shrink = math.exp(largest - now)
                for w in weights.values():
                    if w.grad is not None:
                        w.grad.mul_(shrink)
                total, largest = total * shrink, now
            total += math.exp(now - largest)
            (-value * math.exp(now - largest)).backward()
        used = [w for w in weights.values() if w.grad is not None]
        for w in used:
            w.grad.div_(total)
        torch.nn.utils.clip_grad_norm_(used, 5.0)
        optimizer.step()
        with torch.no_grad():
            values = torch.stack([log_likelihood(text, images, labels) for text in texts])
        adam.zero_grad()
        (torch.softmax(values / 16, 0).sum() * torch.log_softmax(pi, 0)[0]).backward()
        adam.step()

    step(steps[0])
    start = time.perf_counter()
    for texts in steps[1:]:
        step(texts)
    wait(job)
    return {"step_ms": 1e3 * (time.perf_counter() - start) / job["repeat"]}


def measure(job):
    return (measure_torch_parsec if "samples" in job else measure_torch)(job)


def wait(job):
    """A card is given work and does it later."""
    if job["device"] == "cuda":
        import torch

        torch.cuda.synchronize()


def median_ms(function, job):
    times = []
    for i in range(2 + job["repeat"]):
        wait(job)
        start = time.perf_counter()
        function()
        wait(job)
        if i >= 2:
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def of_ours(environment):
    """With the libraries that came with a packed program (tools/gpu-pack)."""
    packed = os.environ.get("PN_LIBRARIES")
    return dict(environment, LD_LIBRARY_PATH=packed) if packed else environment


def run(command, environment):
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def plain_environment(arguments):
    """Of ours and of the plain PyTorch."""
    plain = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "LD_PRELOAD", "MALLOC_CONF"):
        plain.pop(name, None)  # an unsuitable OpenBLAS kernel would slow PyTorch down
    return plain


def tuned_environment(plain):
    """Of the tuned PyTorch."""
    present = []
    for library in ("libjemalloc.so.2", "libopenblas.so.0"):
        tried = subprocess.run(["true"], env=dict(plain, LD_PRELOAD=library), check=False,
                               stderr=subprocess.PIPE, text=True)
        if tried.stderr:
            print(f"{library} is not installed, PyTorch runs without it", file=sys.stderr)
        else:
            present.append(library)
    tuned = dict(plain, LD_PRELOAD=" ".join(present),
                 MALLOC_CONF="thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1")
    return tuned


def genotypes(specs, seed):
    for spec in specs:
        if spec.startswith("random:"):
            for i in range(int(spec[len("random:"):])):
                yield f"random {seed + i}", net.random_genotype(seed + i)
        elif spec in net.PUBLISHED:
            yield spec, net.text(*net.PUBLISHED[spec])
        else:
            net.parse(spec)
            yield "given", spec


def save_batch(arguments, images, labels):
    import numpy

    rng = numpy.random.default_rng(0)
    shape = (arguments.batch, 3, arguments.image, arguments.image)
    numpy.save(images, rng.standard_normal(shape, dtype=numpy.float32))
    numpy.save(labels, rng.integers(0, 10, arguments.batch))


def device_of_ours(arguments):
    if arguments.isa:
        return f"cpu:{arguments.isa}"
    return arguments.our_device or arguments.device


def trace(arguments, text, batch, out, environment, precision="float32"):
    """What `parsec-nas trace` says of a genotype."""
    run([arguments.binary, "trace", "--device", device_of_ours(arguments), "--network",
         arguments.network, *(["--auxiliary"] if arguments.network == "eval" else []),
         "--genotype", text, "--layers", str(arguments.layers), "--channels",
         str(arguments.channels), *batch, "--out", out, "--repeat", str(arguments.repeat),
         *([] if precision == "float32" else ["--precision", precision])],
        of_ours(environment))
    with open(os.path.join(out, "trace.json"), encoding="utf-8") as file:
        found = json.load(file)
    if arguments.device == "cuda":  # what lies on the card, to the byte
        found["peak_bytes"] = found["arena_bytes"] + found["parameter_bytes"]
    return found


def modes(arguments):
    """What PyTorch is measured with in this process: a name, and its part of the job."""
    yield "eager", {"channels_last": False}
    yield "eager, channels last", {"channels_last": True}
    if arguments.graph:
        yield "graph", {"channels_last": False, "graph": True}
        yield "graph, channels last", {"channels_last": True, "graph": True}
    if arguments.amp:
        for how, graph in [("eager", False)] + [("graph", True)] * arguments.graph:
            last = {"channels_last": True, "graph": graph}
            yield f"TF32, {how}", dict(last, tf32=True)
            yield f"bf16, {how}", dict(last, tf32=True, bf16=True)


def rival(part, precisions):
    """Which of ours a mode of PyTorch stands beside."""
    wanted = "bf16" if part.get("bf16") else "tf32" if part.get("tf32") else "float32"
    return wanted if wanted in precisions else precisions[0]


def measure_here(job):
    """As `measure`, but of a card's memory from now on; None and a sentence if PyTorch cannot."""
    try:
        if job["device"] == "cuda":
            import torch

            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return measure(job)
    except RuntimeError as error:  # out of memory, an op that no graph or precision has
        print(f"PyTorch: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return None


def compare_in_process(arguments, directory):
    plain = plain_environment(arguments)
    size = arguments.image
    batch = ["--data", f"synthetic:{arguments.batch + 10}x{size}x{size}x3", "--batch",
             str(arguments.batch)]
    out = os.path.join(directory, "out")
    print(f"{arguments.network} network, {arguments.layers} cells, C={arguments.channels}, batch "
          f"{arguments.batch}, {size}x{size}: ms of a step and of a forward pass, MiB; PyTorch / "
          "ours")
    ratios = {}
    row = "{:16} {:22} {:>9} {:>9} {:>9} {:>6}"
    print(row.format("genotype", "mode", "step", "forward", "memory", "ratio"))
    for name, text in genotypes(arguments.genotypes, arguments.seed):
        job = {"network": arguments.network, "genotype": text, "layers": arguments.layers,
               "channels": arguments.channels, "batch": arguments.batch, "image": size,
               "threads": arguments.threads, "device": arguments.device,
               "repeat": arguments.repeat}
        mine = {precision: [] for precision in arguments.precision}
        theirs = {mode: [] for mode, _ in modes(arguments)}
        for _ in range(2):
            for precision, found in mine.items():
                found.append(trace(arguments, text, batch, out, plain, precision))
            for mode, part in modes(arguments):
                found = measure_here(dict(job, **part))
                if found:
                    theirs[mode].append(found)
        ours = {precision: min(found, key=lambda one: one["step_ms"])
                for precision, found in mine.items()}
        for precision, best in ours.items():
            print(row.format(name, f"ours, {precision}", f"{best['step_ms']:.3f}",
                             f"{best['forward_ms']:.3f}", f"{best['peak_bytes'] / MIB:.0f}", ""))
        bests = []
        for mode, part in modes(arguments):
            if not theirs[mode]:
                print(row.format(name, mode, "-", "-", "-", "-"), flush=True)
                continue
            their_best = min(theirs[mode], key=lambda one: one["step_ms"])
            ratio = their_best["step_ms"] / ours[rival(part, arguments.precision)]["step_ms"]
            ratios.setdefault(mode, []).append(ratio)
            bests.append(their_best["step_ms"])
            print(row.format(name, mode, f"{their_best['step_ms']:.3f}",
                             f"{their_best['forward_ms']:.3f}",
                             f"{their_best['peak_bytes'] / MIB:.0f}", f"{ratio:.2f}"), flush=True)
        if bests:
            ratios.setdefault("best to best", []).append(
                min(bests) / min(best["step_ms"] for best in ours.values()))
    print("geometric mean of PyTorch / ours: " + ", ".join(
        f"{mode} {statistics.geometric_mean(of):.2f}" for mode, of in ratios.items()))


def compare(arguments, directory):
    at = {name: os.path.join(directory, name) for name in ("x.npy", "y.npy", "out")}
    save_batch(arguments, at["x.npy"], at["y.npy"])
    plain = plain_environment(arguments)
    tuned = tuned_environment(plain)

    def ours(text):
        return trace(arguments, text, ["--input", at["x.npy"], "--labels", at["y.npy"]], at["out"],
                     plain)

    def theirs(text, channels_last, environment, repeat):
        job = {"network": arguments.network, "genotype": text, "layers": arguments.layers,
               "channels": arguments.channels, "images": at["x.npy"], "labels": at["y.npy"],
               "threads": arguments.threads, "channels_last": channels_last, "repeat": repeat,
               "device": arguments.device}
        return json.loads(run([sys.executable, __file__, "--measure", json.dumps(job)],
                              environment))

    print(f"{arguments.layers} cells, C={arguments.channels}, batch {arguments.batch}, "
          f"{arguments.image}x{arguments.image}, {arguments.threads} threads; times in ms, "
          "peak memory in MiB: resident, or on the card\n")
    row = "{:16} {:>9} {:>9} {:>8} {:>6}  {:>8} {:>8} {:>6}  {:>8} {:>8} {:>6}"
    print(row.format("genotype", "step cont.", "ch. last", "ours", "ratio", "forward", "ours",
                     "ratio", "memory", "ours", "ratio"))
    rows = []
    for name, text in genotypes(arguments.genotypes, arguments.seed):
        contiguous = theirs(text, False, tuned, arguments.repeat)
        first = ours(text)
        last = theirs(text, True, tuned, arguments.repeat)
        second = ours(text)
        best_last = last["step_ms"] < contiguous["step_ms"]
        small = theirs(text, best_last, plain, 1)
        best = last if best_last else contiguous
        values = {
            "step": best["step_ms"], "step_ours": (first["step_ms"] + second["step_ms"]) / 2,
            "forward": min(last["forward_ms"], contiguous["forward_ms"]),
            "forward_ours": (first["forward_ms"] + second["forward_ms"]) / 2,
            "memory": min(best["peak_bytes"], small["peak_bytes"]) / MIB,
            "memory_ours": max(first["peak_bytes"], second["peak_bytes"]) / MIB}
        rows.append(values)
        print_row(row, name, f"{contiguous['step_ms']:.1f}", f"{last['step_ms']:.1f}", values)
    mean = {key: statistics.mean(r[key] for r in rows) for key in rows[0]}
    print_row(row, "mean", f"{mean['step']:.1f}", "(best)", mean)
    geometric = [statistics.geometric_mean(r[key] / r[key + "_ours"] for r in rows)
                 for key in ("step", "forward", "memory")]
    print("\ngeometric mean of PyTorch / ours: step {:.2f}, forward {:.2f}, memory {:.2f}; "
          "a step is {:.1f} ms an image, ours {:.1f}".format(
              *geometric, mean["step"] / arguments.batch, mean["step_ours"] / arguments.batch))


def compare_parsec(arguments, directory):
    at = {name: os.path.join(directory, name) for name in ("x.npy", "y.npy", "out.json")}
    plain = plain_environment(arguments)
    if not arguments.in_process:
        tuned = tuned_environment(plain)
        save_batch(arguments, at["x.npy"], at["y.npy"])
    bench = os.path.join(os.path.dirname(arguments.binary), "bench", "bench_step")

    label = "cuda" if device_of_ours(arguments) == "cuda" else arguments.isa or ".*"

    def ours():
        run([bench, f"--benchmark_filter=^{label}/parsec",
             f"--benchmark_out={at['out.json']}"], of_ours(plain))
        with open(at["out.json"], encoding="utf-8") as file:
            return json.load(file)["benchmarks"][0]["real_time"]

    def theirs(channels_last):
        job = {"layers": arguments.layers, "channels": arguments.channels, "batch": arguments.batch,
               "image": arguments.image, "threads": arguments.threads,
               "samples": arguments.parsec, "channels_last": channels_last,
               "repeat": arguments.repeat, "device": arguments.device}
        if arguments.in_process:
            return measure(job)["step_ms"]
        job.update(images=at["x.npy"], labels=at["y.npy"])
        return json.loads(run([sys.executable, __file__, "--measure", json.dumps(job)],
                              tuned))["step_ms"]

    rounds = []
    for i in range(3):
        rounds.append((theirs(False), ours(), theirs(True), ours()))
        contiguous, first, last, second = rounds[-1]
        print(f"round {i + 1}: PyTorch {contiguous:.0f} ms contiguous, {last:.0f} channels_last; "
              f"ours {first:.0f}, {second:.0f}", flush=True)
    medians = [statistics.median(column) for column in zip(*rounds)]
    best, mine = min(medians[0], medians[2]), (medians[1] + medians[3]) / 2
    print(f"step of the search, K = {arguments.parsec}: PyTorch {best:.0f} ms, ours {mine:.0f} ms, "
          f"ratio {best / mine:.2f}")


def print_row(row, name, contiguous, last, v):
    print(row.format(
        name, contiguous, last, f"{v['step_ours']:.1f}", f"{v['step'] / v['step_ours']:.2f}",
        f"{v['forward']:.1f}", f"{v['forward_ours']:.1f}",
        f"{v['forward'] / v['forward_ours']:.2f}", f"{v['memory']:.0f}",
        f"{v['memory_ours']:.0f}", f"{v['memory'] / v['memory_ours']:.2f}"), flush=True)


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--network", default="search", choices=["search", "eval"],
                        help="of a search, or the one that trains a cell from scratch (search)")
    parser.add_argument("--genotypes", nargs="+", metavar="G",
                        help="random:COUNT, a published name, or genotype text (random:8)")
    parser.add_argument("--seed", type=int, default=1, help="of the first random genotype (1)")
    parser.add_argument("--layers", type=int, help="cells (8; eval 20)")
    parser.add_argument("--channels", type=int, help="of the first cells (16; eval 36)")
    parser.add_argument("--batch", type=int, help="images (64; eval 32)")
    parser.add_argument("--image", type=int, default=32, help="edge of the images (32)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"],
                        help="where both run; PyTorch's and ours must know it (cpu)")
    parser.add_argument("--our-device", metavar="D", help="where ours runs, if elsewhere")
    parser.add_argument("--in-process", action="store_true",
                        help="measure PyTorch in this process, without numpy")
    parser.add_argument("--graph", action="store_true",
                        help="with --in-process: also CUDA graphs")
    parser.add_argument("--amp", action="store_true",
                        help="with --in-process: also TF32 and bfloat16")
    parser.add_argument("--precision", nargs="+", default=["float32"], metavar="P",
                        choices=["float32", "tf32", "bf16"],
                        help="with --in-process: of ours (float32)")
    parser.add_argument("--isa", help="instruction set of ours: avx512, avx2, base (the best)")
    parser.add_argument("--parsec", type=int, metavar="K", choices=[4],
                        help="time a step of the search instead; bench_step has K = 4")
    parser.add_argument("--repeat", type=int, default=11, help="timed steps (11)")
    parser.add_argument("--binary", default=os.path.join(root, "build", "parsec-nas"))
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    if (arguments.graph or arguments.amp) and not arguments.in_process:
        parser.error("--graph and --amp go with --in-process")
    if arguments.precision != ["float32"] and not arguments.in_process:
        parser.error("--precision goes with --in-process")
    if arguments.graph and arguments.device != "cuda":
        parser.error("--graph: CUDA graphs go with --device cuda")
    evaluation = arguments.network == "eval"
    arguments.layers = arguments.layers or (20 if evaluation else 8)
    arguments.channels = arguments.channels or (36 if evaluation else 16)
    arguments.batch = arguments.batch or (32 if evaluation else 64)
    arguments.genotypes = arguments.genotypes or (
        ["DARTS_V2", "PDARTS", "PC_DARTS_cifar", "random:1"] if evaluation else ["random:8"])
    if not os.access(arguments.binary, os.X_OK):
        parser.error(f"--binary {arguments.binary} is no program; build it first")
    if arguments.parsec and (arguments.layers, arguments.channels, arguments.batch,
                             arguments.image) != (8, 16, 64, 32):
        parser.error("--parsec: bench_step is of 8 layers, 16 channels, batch 64, image 32 only")
    with tempfile.TemporaryDirectory() as directory:
        (compare_parsec if arguments.parsec else
         compare_in_process if arguments.in_process else compare)(arguments, directory)


if __name__ == "__main__":
    main()
