#!/usr/bin/python3
"""Golden files: what the search network computes, according to PyTorch in float64.

    make_golden.py              writes the .json files beside this script
    make_golden.py compare DIR  checks what `parsec-nas trace --out DIR` wrote

The tests only read the files; PyTorch (Debian: python3-torch) is needed to make them anew.

A file holds settings and cases. A case holds the genotype, the logits (N, classes), "loss" (mean
cross-entropy), "log_likelihood" (its negative sum), "correct", and for every tensor that the
genotype uses the pair [norm, projection] of the gradient of the mean loss: its Euclidean norm,
and its dot product with the direction uniform(NAME + ".direction", i), i counting as for weights.
The second number sees what the first cannot, a layout or a sign. Of a cell input that no term
reads, the preprocessing's gradient is 0.

Inputs are not stored. They follow from a tensor's name, in the same few lines of C and Python:

    hash       = 32-bit FNV-1a of the name's bytes
    bits(i)    = mix(hash + i), modulo 2^32;  mix is lowbias32 (below)
    uniform(i) = (bits(i) as a signed number >> 8) * 2^-23, exact in float32, in [-1, 1)
    image      = uniform * 1.7f           name "input", i counts (N, C, H, W)
    label      = bits mod classes         name "labels", i counts images
    weight     = uniform * (1 / sqrtf(product of all sizes of its shape but the first))
    vector     = uniform * 0.25f, and 1 is added for stem.bn.weight

i counts a weight's elements in PyTorch's order (O, I, kh, kw). Every step is rounded to float32,
and no two roundings merge into one, so that contraction to FMA changes nothing.
"""

import argparse
import json
import os
import struct
import sys

import numpy
import torch
import torch.nn.functional as F

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "bench", "peers"))
import torch_network as net  # noqa: E402

# What the float32 engine is held to. A gradient as a whole is for finding layouts and signs: where
# float32 decides a ReLU or a maximum otherwise, single elements are far off (PyTorch's own float32:
# 6e-3 at 8 cells, C=16, 32x32).
LOGITS, LOSS, GRADIENT_NORM, GRADIENT = 5e-5, 5e-5, 2e-2, 1e-1


def bits(name, count):
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    x = numpy.arange(count, dtype=numpy.uint32) + numpy.uint32(seed)
    x ^= x >> 16
    x *= numpy.uint32(0x7FEB352D)
    x ^= x >> 15
    x *= numpy.uint32(0x846CA68B)
    return x ^ x >> 16


def uniform(name, count):
    return (bits(name, count).view(numpy.int32) >> 8).astype(numpy.float32) * numpy.float32(2**-23)


def make_weight(name, shape):
    u = uniform(name, int(numpy.prod(shape)))
    if len(shape) == 1:
        return u * numpy.float32(0.25) + numpy.float32(name == "stem.bn.weight")
    scale = numpy.float32(1) / numpy.sqrt(numpy.float32(numpy.prod(shape[1:])))
    return (u * scale).reshape(shape)


def make_batch(settings):
    shape = [settings[key] for key in ("batch", "image_channels", "height", "width")]
    images = (uniform("input", int(numpy.prod(shape))) * numpy.float32(1.7)).reshape(shape)
    labels = (bits("labels", shape[0]) % settings["classes"]).astype(numpy.int64)
    return images, labels


def run(genotype, settings, images, labels, source, dtype=torch.float64):
    """Forward and backward; source(name, shape) gives a weight as float32 array."""
    weights = {}

    def weight(name, shape):
        if name not in weights:
            weights[name] = torch.tensor(source(name, shape), dtype=dtype, requires_grad=True)
        return weights[name]

    logits = net.forward(weight, genotype, settings["layers"], settings["channels"],
                         settings["classes"], torch.tensor(images, dtype=dtype))
    labels = torch.tensor(labels)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return {"logits": logits.detach().double().numpy(), "loss": loss.item(),
            "log_likelihood": -loss.item() * len(labels),
            "correct": int((logits.argmax(dim=1) == labels).sum()),
            "gradients": {name: (torch.zeros_like(w) if w.grad is None else w.grad).double().numpy()
                          for name, w in weights.items()}}


def distances(got, want):
    """Largest difference of a logit, of the loss, and over the tensors of a gradient's norm and
    of a gradient itself, the last two relative to the wanted gradient's norm."""
    size = numpy.linalg.norm
    norm, whole = {}, {}
    for name in sorted(set(got["gradients"]) | set(want["gradients"])):
        # Weights that nothing reads may be left out.
        a, b = (side["gradients"].get(name, numpy.zeros(1)) for side in (got, want))
        scale = size(b) or 1.0
        norm[name] = abs(size(a) - size(b)) / scale
        whole[name] = size(a - b) / scale
    return (abs(got["logits"] - want["logits"]).max(), abs(got["loss"] - want["loss"]),
            max(norm.items(), key=lambda item: item[1]),
            max(whole.items(), key=lambda item: item[1]))


def settings(layers, channels, classes, batch, height, width, image_channels):
    return dict(layers=layers, channels=channels, classes=classes, batch=batch, height=height,
                width=width, image_channels=image_channels)


SIZES = {
    # Two reductions in a row.
    "small": settings(3, 4, 10, 2, 8, 8, 3),
    # One image channel, 12 -> 6 -> 3.
    "grey": settings(5, 8, 7, 3, 12, 12, 1),
    # Depth and width of a real search.
    "search": settings(8, 16, 10, 4, 16, 16, 3),
    # Every reduction meets an odd edge: 15 x 13 -> 8 x 7 -> 4 x 4.
    "odd": settings(4, 12, 10, 3, 15, 13, 3),
}

M3, A3, SK, S3, S5, D3, D5 = net.OPS
GENOTYPES = {
    **net.PUBLISHED,
    "every op": (
        [(M3, 0), (A3, 1), (SK, 2), (S3, 0), (S5, 1), (D3, 3), (D5, 4), (SK, 1)],
        [(S5, 0), (D5, 1), (D3, 0), (SK, 1), (M3, 1), (A3, 3), (S3, 4), (A3, 0)]),
    "both terms the same": (
        [(S3, 0), (S3, 0), (SK, 1), (SK, 1), (M3, 2), (M3, 2), (D5, 3), (D5, 3)],
        [(SK, 0), (SK, 0), (S5, 1), (S5, 1), (D3, 2), (D3, 2), (A3, 1), (A3, 1)]),
    "one input, two ops": (
        [(S3, 1), (S5, 1), (D3, 0), (D5, 0), (A3, 2), (SK, 2), (M3, 1), (A3, 1)],
        [(M3, 0), (A3, 0), (S3, 1), (D3, 1), (SK, 0), (S5, 0), (SK, 3), (D5, 3)]),
    "skips": (
        [(SK, 0), (SK, 1), (SK, 2), (SK, 1), (SK, 3), (S3, 0), (SK, 4), (SK, 0)],
        [(SK, 0), (SK, 1), (SK, 1), (SK, 2), (SK, 0), (SK, 3), (SK, 4), (D3, 1)]),
    "pools": (
        [(M3, 0), (A3, 1), (A3, 2), (M3, 0), (M3, 3), (A3, 2), (M3, 1), (A3, 4)],
        [(A3, 0), (M3, 1), (M3, 2), (A3, 1), (A3, 3), (M3, 0), (M3, 4), (A3, 2)]),
    "first input unread": (  # so are two nodes but by the concatenation
        [(S5, 1), (A3, 1), (D3, 1), (S3, 1), (M3, 3), (SK, 3), (S3, 1), (D5, 3)],
        [(SK, 1), (D5, 1), (M3, 1), (S3, 1), (A3, 1), (S5, 3), (D3, 1), (SK, 3)]),
    "random 1": net.parse(net.random_genotype(1)),
    "random 2": net.parse(net.random_genotype(2)),
}


def digits(v):
    """Nine significant digits, as many as tell all float32 apart."""
    return float(f"{v:.9g}")


def write_golden():
    for size, s in SIZES.items():
        images, labels = make_batch(s)
        cases, worst = [], numpy.zeros(4)
        for name, cells in GENOTYPES.items():
            genotype = net.text(*cells)
            want = run(genotype, s, images, labels, make_weight)
            # PyTorch's own float32 shows how much of the bounds rounding takes.
            got = run(genotype, s, images, labels, make_weight, torch.float32)
            d = distances(got, want)
            worst = numpy.maximum(worst, [d[0], d[1], d[2][1], d[3][1]])
            gradients = {
                tensor: [digits(numpy.linalg.norm(g)),
                         digits(g.ravel() @ uniform(tensor + ".direction", g.size).astype(float))]
                for tensor, g in want["gradients"].items()}
            cases.append({"name": name, "genotype": genotype,
                          "logits": [[digits(v) for v in row] for row in want["logits"]],
                          "loss": want["loss"], "log_likelihood": want["log_likelihood"],
                          "correct": want["correct"], "gradients": gradients})
        path = os.path.join(here, size + ".json")
        with open(path, "w", encoding="ascii") as file:
            file.write('{"made_by": "make_golden.py, which says what the numbers mean",\n'
                       f'"settings": {json.dumps(s)},\n"cases": [\n'
                       + ",\n".join(map(line_by_line, cases)) + "\n]}\n")
        print(f"{size}.json: {len(cases)} genotypes, {os.path.getsize(path)} bytes; float32 differs "
              "by {:.1e} in a logit, {:.1e} in the loss, relatively {:.1e} in a gradient's norm, "
              "{:.1e} in a gradient".format(*worst))


def line_by_line(case):
    """JSON with one gradient on a line: a difference between two versions can be read."""
    gradients = case.pop("gradients")
    return (json.dumps(case)[:-1] + ', "gradients": {\n'
            + ",\n".join(f'"{name}": {json.dumps(pair)}' for name, pair in gradients.items())
            + "}}")


def read_safetensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(size)), file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: {name} is {entry['dtype']}, expected F32")
        first, last = entry["data_offsets"]
        tensors[name] = numpy.frombuffer(data[first:last], "<f4").reshape(entry["shape"])
    return tensors


def compare(directory):
    def at(name):
        return os.path.join(directory, name)

    with open(at("trace.json"), encoding="utf-8") as file:
        trace = json.load(file)
    images, labels = numpy.load(at("input.npy")), numpy.load(at("labels.npy"))
    weights = read_safetensors(at("weights.safetensors"))

    def source(name, shape):
        if name not in weights:
            raise ValueError(f"weights.safetensors lacks {name}")
        if weights[name].shape != shape:
            raise ValueError(f"{name} has shape {weights[name].shape}, expected {shape}")
        return weights[name]

    want = run(trace["genotype"], trace, images, labels, source)
    got = {"logits": numpy.load(at("logits.npy")), "loss": trace["loss"],
           "gradients": read_safetensors(at("gradients.safetensors"))}
    logits, loss, norm, whole = distances(got, want)
    likelihood = abs(trace["log_likelihood"] - want["log_likelihood"])
    print(f"logits          differ by at most {logits:.2e}   (allowed {LOGITS:.0e})")
    print(f"loss            {trace['loss']:.8f} differs by {loss:.2e}   (allowed {LOSS:.0e})")
    print(f"log-likelihood  {trace['log_likelihood']:.6f} differs by {likelihood:.2e}"
          f"   (allowed {LOSS * len(labels):.0e})")
    print(f"correct         {trace['correct']}, PyTorch {want['correct']}")
    print(f"gradient norm   differs relatively by {norm[1]:.2e} in {norm[0]}"
          f"   (allowed {GRADIENT_NORM:.0e})")
    print(f"gradient        differs relatively by {whole[1]:.2e} in {whole[0]}"
          f"   (allowed {GRADIENT:.0e})")
    ok = (logits <= LOGITS and loss <= LOSS and likelihood <= LOSS * len(labels)
          and norm[1] <= GRADIENT_NORM and whole[1] <= GRADIENT
          and trace["correct"] == want["correct"])
    print("equal within the bounds" if ok else "NOT equal within the bounds")
    return 0 if ok else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("compare", help="check what trace wrote").add_argument("directory")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the files come out equal wherever they are made
    if arguments.command == "compare":
        try:
            return compare(arguments.directory)
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f"{arguments.directory}: {error}")
    write_golden()
    return 0


if __name__ == "__main__":
    sys.exit(main())
