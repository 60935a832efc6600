#!/usr/bin/python3
"""Golden files: what search and evaluation network compute, according to PyTorch in float64.

    make_golden.py              writes the .json files beside this script
    make_golden.py compare DIR  checks what `parsec-nas trace --out DIR` wrote

The tests only read the files; PyTorch (Debian: python3-torch) is needed to make them anew.

A file holds settings and cases. A case holds the genotype, the logits (N, classes), "loss" (mean
cross-entropy), "log_likelihood" (its negative sum), "correct", and for every tensor that the
genotype uses the pair [norm, projection] of the gradient of the mean loss: its Euclidean norm,
and its dot product with the direction uniform(NAME + ".direction", i), i counting as for weights.
The second number sees what the first cannot, a layout or a sign. Of a cell input that no term
reads, the preprocessing's gradient is 0.

A file of the evaluation network ("network": "eval") is of its training mode, and has more in a
case: "smoothing" of the labels, the "cutout" edge, whether there is "drop_path", and "pool_norm" if
the pools have a BatchNorm;
"logits_auxiliary" and "loss_auxiliary" of the auxiliary head, if the settings have it, and then the
gradient is that of loss + 0.4 loss_auxiliary; "statistics", such pairs of the running statistics
after forward passes over three batches ("input", "input.1", "input.2") of every BatchNorm that the
loss depends on; and "logits_inference" of the first batch with these statistics.

A file of the supernet ("network": "supernet") has, instead of a genotype, "mixture": the weights
(kinds, edges, ops without `none`) of all terms, flat, in float32; "alpha": the gradient of the mean
loss with respect to logits (kinds, edges, 1 + ops, `none` first) whose softmax the weights are;
"chosen" (kinds, edges), or nothing where all ops are there; and whether there is "drop_path".

A file of steps ("network": "steps") has methods of search that learn logits, three steps of each
from given logits, weights and momenta. "options" are those of the search, all others its usual
ones; "logits" has the logits (kinds, edges, 1 + ops) after each step, "gradient" what Adam got in
each, without its decay; "moved" the pair of all weights' way from the first ones after each step,
"gradients" such pairs of each tensor after the last. "exact", of the second order: what its finite
difference stands for, the whole derivative with respect to the logits, of the first step.

snas.json (run_snas) is of the first steps of a search by SNAS: for each the loss, the gradient of
the logits before its clip and the logits after the step, flat, and after the last one such pairs
of all weights. Noise, initial logits and drop-path are the program's own, from Philox; batches have
the names "input", "input.1", "input.2".

Inputs are not stored. They follow from a tensor's name, in the same few lines of C and Python:

    hash       = 32-bit FNV-1a of the name's bytes
    bits(i)    = mix(hash + i), modulo 2^32;  mix is lowbias32 (below)
    uniform(i) = (bits(i) as a signed number >> 8) * 2^-23, exact in float32, in [-1, 1)
    image      = uniform * 1.7f           name "input", i counts (N, C, H, W)
    label      = bits mod classes         name "labels", i counts images
    weight     = uniform * (1 / sqrtf(product of all sizes of its shape but the first))
    vector     = uniform * 0.25f, and 1 is added for BatchNorm's scale and running variance
    momentum   = uniform * 2^-6, of its weight's name and ".momentum"
    logit      = 2 uniform, name "alpha.1" or another of that kind
    of a step  = names "train.STEP", "validation.STEP", and those and ".labels"
    drop-path  = bits mod 5 ? 1 / 0.8f : 0   name "drop_path.LAYER.NODE.SLOT", of the supernet
                 "drop_path.LAYER.EDGE", i counts images
    cutout     = zeros in a square about row bits(2n) mod H, column bits(2n+1) mod W of image n,
                 name "cutout"; of an edge e, rows row - e/2 .. row + e/2 - 1 inside the image

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
LOGITS, LOSS, GRADIENT_NORM, GRADIENT, STATISTICS = 5e-5, 5e-5, 2e-2, 1e-1, 5e-5


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
        about_one = name.endswith((".weight", ".running_var"))
        return u * numpy.float32(0.25) + numpy.float32(about_one)
    scale = numpy.float32(1) / numpy.sqrt(numpy.float32(numpy.prod(shape[1:])))
    return (u * scale).reshape(shape)


def make_batch(settings, name="input"):
    shape = [settings[key] for key in ("batch", "image_channels", "height", "width")]
    images = (uniform(name, int(numpy.prod(shape))) * numpy.float32(1.7)).reshape(shape)
    labels = (bits("labels", shape[0]) % settings["classes"]).astype(numpy.int64)
    cut_out(images, settings.get("cutout", 0))
    return images, labels


def cut_out(images, edge):
    N, _, H, W = images.shape
    centres = bits("cutout", 2 * N)
    for n in range(N):
        top, left = int(centres[2 * n] % H) - edge // 2, int(centres[2 * n + 1] % W) - edge // 2
        images[n, :, max(top, 0):max(top + edge, 0), max(left, 0):max(left + edge, 0)] = 0


def make_drop_path(settings):
    shape = (settings["layers"], net.NODES, 2, settings["batch"])
    factors = numpy.empty(shape, numpy.float32)
    for place in numpy.ndindex(shape[:3]):
        kept = bits("drop_path.{}.{}.{}".format(*place), shape[3]) % 5 > 0
        factors[place] = kept / numpy.float32(0.8)
    return factors


def make_edge_drop_path(settings):
    shape = (settings["layers"], len(net.edges()), settings["batch"])
    factors = numpy.empty(shape, numpy.float32)
    for place in numpy.ndindex(shape[:2]):
        kept = bits("drop_path.{}.{}".format(*place), shape[2]) % 5 > 0
        factors[place] = kept / numpy.float32(0.8)
    return factors


def run(genotype, settings, images, labels, source, dtype=torch.float64, drop_path=None):
    """Forward and, in training mode, backward; source(name, shape) gives a weight as float32
    array, or as one of the tensors that this has returned before."""
    weights = {}
    training = settings.get("mode", "training") == "training"

    def weight(name, shape):
        if name not in weights:
            w = torch.as_tensor(source(name, shape)).to(dtype).clone()
            weights[name] = w.requires_grad_(not net.is_statistic(name))
        return weights[name]

    sizes = settings["layers"], settings["channels"], settings["classes"]
    images, labels = torch.tensor(images, dtype=dtype), torch.tensor(labels)
    if settings.get("network") == "eval":
        logits, auxiliary = net.evaluation(
            weight, genotype, *sizes, images, imagenet=settings["stem"] == "imagenet",
            auxiliary=settings["auxiliary"], training=training,
            pool_norm=settings.get("pool_norm", False),
            drop_path=None if drop_path is None else torch.tensor(drop_path, dtype=dtype))
    else:
        logits, auxiliary = net.forward(weight, genotype, *sizes, images), None
    smoothing = settings.get("smoothing", 0)
    total = loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    found = {"logits": logits.detach().double().numpy(), "loss": loss.item(),
             "log_likelihood": -F.cross_entropy(logits, labels).item() * len(labels),
             "correct": int((logits.argmax(dim=1) == labels).sum())}
    if auxiliary is not None:
        extra = F.cross_entropy(auxiliary, labels, label_smoothing=smoothing)
        total = loss + settings["auxiliary_weight"] * extra
        found["logits_auxiliary"] = auxiliary.detach().double().numpy()
        found["loss_auxiliary"] = extra.item()
    if training:
        total.backward()
    learnt = {name: w for name, w in weights.items() if not net.is_statistic(name)}
    found["gradients"] = {
        name: (torch.zeros_like(w) if w.grad is None else w.grad).double().numpy()
        for name, w in learnt.items()}
    found["read"] = {name for name, w in learnt.items() if w.grad is not None}
    found["weights"] = {name: w.detach() for name, w in weights.items()}
    return found


def distances(got, want):
    """Largest difference of a logit, of a loss, and over the tensors of a gradient's norm and
    of a gradient itself, the last two relative to the wanted gradient's norm."""
    size = numpy.linalg.norm
    norm, whole = {"none": 0.0}, {"none": 0.0}
    for name in sorted(set(got["gradients"]) | set(want["gradients"])):
        # Weights that nothing reads may be left out.
        a, b = (side["gradients"].get(name, numpy.zeros(1)) for side in (got, want))
        scale = size(b) or 1.0
        norm[name] = abs(size(a) - size(b)) / scale
        whole[name] = size(a - b) / scale
    return (max(abs(got[key] - want[key]).max() for key in ("logits", "logits_auxiliary")
                if key in want),
            max(abs(got[key] - want[key]) for key in ("loss", "loss_auxiliary") if key in want),
            max(norm.items(), key=lambda item: item[1]),
            max(whole.items(), key=lambda item: item[1]))


def statistics_of(found):
    """The running statistics of what the loss depends on."""
    return {name: w.double().numpy() for name, w in found["weights"].items()
            if net.is_statistic(name) and name.rpartition(".")[0] + ".weight" in found["read"]}


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


def evaluation(stem, auxiliary, *sizes):
    return dict(settings(*sizes), network="eval", stem=stem, auxiliary=auxiliary,
                auxiliary_weight=0.4)


EVALUATION_SIZES = {
    # Two reductions in a row; the auxiliary head sits on the last cell.
    "eval_small": evaluation("cifar", True, 3, 4, 10, 8, 32, 32, 3),
    # 38 x 34 -> 19 x 17 -> 10 x 9.
    "eval_odd": evaluation("cifar", True, 5, 8, 7, 6, 38, 34, 1),
    # 224 -> 112 -> 56 -> 28 in the stem, 14, 7 in the reductions.
    "eval_imagenet": evaluation("imagenet", True, 3, 8, 10, 4, 224, 224, 3),
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

# With what a case of the evaluation network trains.
EVALUATION_CASES = {
    "DARTS_V2": {},
    "PDARTS": dict(smoothing=0.1, drop_path=True),
    "both terms the same": dict(drop_path=True, cutout=16),
    "every op": dict(drop_path=True, smoothing=0.1, cutout=10),
    "random 1": dict(cutout=12),
}
# In the two smaller sizes. Of the second genotype some pools stand beside one like themselves.
POOL_NORM_CASES = {
    "one input, two ops": dict(pool_norm=True, drop_path=True),
    "both terms the same": dict(pool_norm=True, drop_path=True, smoothing=0.1),
}


# One op on each edge, or none; node 1 of the normal cell has none at all.
CHOSEN = [[(5 * i + 3) % 8 - 1 for i in range(14)], [(3 * i + 1) % 8 - 1 for i in range(14)]]
CHOSEN[0][2:5] = [-1, -1, -1]
SUPERNET_SIZES = {"supernet_small": dict(SIZES["small"], network="supernet")}
# Names of logits where no ReLU and no maximum of float32 decides otherwise: in so small a network
# each one counts for up to 3e-4 of alpha's gradient.
SUPERNET_CASES = {
    "equal weights": {},
    "random weights": dict(alpha="alpha.1"),
    "drop-path": dict(alpha="alpha.3", drop_path=True),
    "one op an edge": dict(chosen=CHOSEN),
}


def method_case(method, alpha, **options):
    return {"method": method, "alpha": alpha,
            "options": {"steps": 3, "seed": 7, "rate-alpha": 0.02, **options}}


STEP_SIZES = {"steps": dict(settings(3, 4, 10, 4, 16, 16, 3), network="steps")}
STEP_CASES = {
    "DARTS": method_case("darts", "alpha.1"),
    "DARTS, second order": method_case("darts", "alpha.1", order=2),
    "GDAS": method_case("gdas", "alpha.1"),
}


def digits(v):
    """Nine significant digits, as many as tell all float32 apart."""
    return float(f"{v:.9g}")


def pairs(tensors):
    return {name: [digits(numpy.linalg.norm(g)),
                   digits(g.ravel() @ uniform(name + ".direction", g.size).astype(float))]
            for name, g in tensors.items()}


def table(array):
    return [[digits(v) for v in row] for row in array]


def search_case(genotype, s, _options, dtype):
    images, labels = make_batch(s)
    found = run(genotype, s, images, labels, make_weight, dtype)
    return found, {}


def evaluation_case(genotype, s, options, dtype):
    """Three training passes, the first of which has its gradients kept, and one of inference."""
    s = dict(s, **options)
    drop_path = make_drop_path(s) if options.get("drop_path") else None
    images, labels = make_batch(s)
    found = now = run(genotype, s, images, labels, make_weight, dtype, drop_path)
    for name in ("input.1", "input.2"):
        now = run(genotype, s, make_batch(s, name)[0], labels,
                  lambda name, _: now["weights"][name], dtype, drop_path)
    inference = run(genotype, dict(s, mode="inference"), images, labels,
                    lambda name, _: now["weights"][name], dtype)
    return found, {"smoothing": options.get("smoothing", 0), "cutout": options.get("cutout", 0),
                   "drop_path": options.get("drop_path", False),
                   **({"pool_norm": True} if options.get("pool_norm") else {}),
                   "logits_auxiliary": table(found["logits_auxiliary"]),
                   "loss_auxiliary": found["loss_auxiliary"],
                   "logits_inference": table(inference["logits"]),
                   "statistics": pairs(statistics_of(now))}


def run_supernet(s, options, dtype):
    """The supernet with weights that are the softmax of logits 2 uniform(NAME, i), or equal."""
    learnt = {}

    def weight(name, shape):
        if name not in learnt:
            learnt[name] = torch.as_tensor(make_weight(name, shape)).to(dtype).requires_grad_()
        return learnt[name]

    shape = (2, len(net.edges()), 1 + len(net.OPS))
    name = options.get("alpha", "equal")
    logits = uniform(name, int(numpy.prod(shape))).astype(float).reshape(shape) * 2
    logits *= name != "equal"
    whole = torch.softmax(torch.tensor(logits), dim=-1)
    # In float32 first, as a device has them; the softmax' slope is taken at these.
    mixture = whole[..., 1:].float().to(dtype).requires_grad_()
    images, labels = make_batch(s)
    labels = torch.tensor(labels)
    drop_path = make_edge_drop_path(s) if options.get("drop_path") else None
    chosen = options.get("chosen")
    one = torch.ones_like(mixture, requires_grad=True)
    factor = mixture if chosen is None else one
    out = net.supernet(weight, factor, s["layers"], s["channels"], s["classes"],
                       torch.tensor(images, dtype=dtype),
                       None if drop_path is None else torch.tensor(drop_path, dtype=dtype), chosen)
    loss = F.cross_entropy(out, labels)
    loss.backward()
    slope = factor.grad.double().numpy()
    w = mixture.detach().double().numpy()
    w = numpy.concatenate([1 - w.sum(axis=-1, keepdims=True), w], axis=-1)
    g = numpy.concatenate([numpy.zeros(shape[:2] + (1,)), slope], axis=-1)
    alpha = w * (g - (w * g).sum(axis=-1, keepdims=True))
    return {"logits": out.detach().double().numpy(), "loss": loss.item(),
            "log_likelihood": -loss.item() * len(labels),
            "correct": int((out.argmax(dim=1) == labels).sum()),
            "mixture": mixture.detach().double().numpy(), "alpha": alpha,
            "gradients": {name: (torch.zeros_like(w) if w.grad is None else w.grad).double().numpy()
                          for name, w in learnt.items()}}


def uniform_philox(seed, stream, step, count, first=0):
    """pn_uniform of runtime/rng.h for indices first .. first + count - 1."""
    index = numpy.arange(first, first + count, dtype=numpy.uint64)
    low, mask = numpy.uint64(32), numpy.uint64(0xFFFFFFFF)
    c = [index & mask, index >> low | numpy.uint64(stream << 16),
         numpy.full(count, step & 0xFFFFFFFF, numpy.uint64),
         numpy.full(count, step >> 32, numpy.uint64)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = c[0] * numpy.uint64(0xD2511F53), c[2] * numpy.uint64(0xCD9E8D57)
        c = [p1 >> low ^ c[1] ^ numpy.uint64(key[0]), p1 & mask,
             p0 >> low ^ c[3] ^ numpy.uint64(key[1]), p0 & mask]
        key = [key[0] + 0x9E3779B9 & 0xFFFFFFFF, key[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return ((c[0] << low | c[1]) >> numpy.uint64(11)).astype(float) * 2.0**-53


GUMBEL = 9  # the stream's number


class Search:
    """Weights and logits of a search, and the optimizers of the public code."""

    def __init__(self, s, case, dtype):
        self.s, self.case, self.dtype = s, case, dtype
        self.weights = {}
        self.shape = (2, len(net.edges()), 1 + len(net.OPS))
        alpha = uniform(case["alpha"], int(numpy.prod(self.shape))).astype(float) * 2
        self.alpha = torch.tensor(alpha.reshape(self.shape), requires_grad=True)  # always float64
        with torch.no_grad():
            self.loss("train.0", self.weights, torch.softmax(self.alpha, dim=-1))  # makes them
        self.first = {name: w.detach().clone() for name, w in self.weights.items()}
        gdas = case["method"] == "gdas"
        self.momentum, self.decay = 0.9, 5e-4 if gdas else 3e-4
        self.sgd = torch.optim.SGD(list(self.weights.values()), lr=1, momentum=self.momentum,
                                   weight_decay=self.decay, nesterov=gdas)
        for name, w in self.weights.items():
            m = uniform(name + ".momentum", w.numel()).reshape(w.shape) * numpy.float32(2**-6)
            self.sgd.state[w]["momentum_buffer"] = torch.tensor(m).to(dtype)
        self.adam = torch.optim.Adam([self.alpha], lr=case["options"]["rate-alpha"],
                                     betas=(0.5, 0.999), weight_decay=1e-3)

    def loss(self, batch, weights, mixture, chosen=None):
        """Of the supernet; mixture (2, 14, 8), `none` first, in double."""
        def weight(name, shape):
            if name not in weights:  # the first time
                w = torch.as_tensor(make_weight(name, shape)).to(self.dtype)
                weights[name] = w.requires_grad_()
            return weights[name]
        s = self.s
        shape = [s[key] for key in ("batch", "image_channels", "height", "width")]
        images = (uniform(batch, int(numpy.prod(shape))) * numpy.float32(1.7)).reshape(shape)
        labels = (bits(batch + ".labels", shape[0]) % s["classes"]).astype(numpy.int64)
        out = net.supernet(weight, mixture[..., 1:].to(self.dtype), s["layers"], s["channels"],
                           s["classes"], torch.tensor(images, dtype=self.dtype), None, chosen)
        return F.cross_entropy(out, torch.tensor(labels))

    def mixture(self):
        return torch.softmax(self.alpha, dim=-1)

    def learn_weights(self, loss, rate):
        for group in self.sgd.param_groups:
            group["lr"] = rate
        self.sgd.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.weights.values()))
        torch.nn.utils.clip_grad_norm_([w for w in self.weights.values() if w.grad is not None], 5)
        self.sgd.step()

    def learn_logits(self, gradient):
        self.alpha.grad = gradient.detach().clone()
        self.adam.step()

    def second_order(self, train, validation, rate, epsilon):
        """DARTS' gradient of the logits, and the derivative that it stands for."""
        names = list(self.weights)
        w = [self.weights[name] for name in names]

        def of(batch, values, create_graph=False):
            found = self.loss(batch, dict(zip(names, values)), self.mixture())
            return found, torch.autograd.grad(found, [*values, self.alpha],
                                              create_graph=create_graph)
        _, slope = of(train, w, create_graph=True)
        ahead = [v - rate * (self.momentum * self.sgd.state[v]["momentum_buffer"] + g
                             + self.decay * v) for v, g in zip(w, slope)]
        whole = self.loss(validation, dict(zip(names, ahead)), self.mixture())
        exact, = torch.autograd.grad(whole, [self.alpha])
        _, found = of(validation, [v.detach().requires_grad_() for v in ahead])
        along, gradient = found[:-1], found[-1]
        e = epsilon / torch.sqrt(sum((g.double()**2).sum() for g in along)).item()
        beside = [of(train, [(v + sign * e * g).detach().requires_grad_()
                             for v, g in zip(w, along)])[1][-1] for sign in (1, -1)]
        return gradient - rate * (beside[0] - beside[1]) / (2 * e), exact

    def gumbel_choice(self, step, number, tau):
        """GDAS: the softmax of what is drawn, as a weight of 1 with that one's gradient."""
        count = int(numpy.prod(self.shape))
        u = uniform_philox(self.case["options"]["seed"], GUMBEL, 1 + step, count, number * count)
        noise = torch.tensor(-numpy.log(-numpy.log(u))).reshape(self.shape)
        p = torch.softmax((torch.log_softmax(self.alpha, dim=-1) + noise) / tau, dim=-1)
        index = p.argmax(dim=-1, keepdim=True)
        hard = torch.zeros_like(p).scatter_(-1, index, 1.0)
        return hard - p.detach() + p, (index[..., 0] - 1).tolist()

    def step(self, step, steps):
        """The gradient of the logits, before their decay; and of the second order the exact one."""
        options, exact = self.case["options"], None
        rate = 0.001 + (0.025 - 0.001) * (1 + numpy.cos(numpy.pi * step / steps)) / 2
        train, validation = f"train.{step}", f"validation.{step}"
        if self.case["method"] == "gdas":
            tau = 10 + step / (steps - 1) * (0.1 - 10)
            self.learn_weights(self.loss(train, self.weights, *self.gumbel_choice(step, 0, tau)),
                               rate)
            found = self.loss(validation, self.weights, *self.gumbel_choice(step, 1, tau))
            gradient, = torch.autograd.grad(found, [self.alpha])
            self.learn_logits(gradient)
            return gradient, exact
        if options.get("order") == 2:
            gradient, exact = self.second_order(train, validation, rate, 0.01)
        else:
            gradient, = torch.autograd.grad(
                self.loss(validation, self.weights, self.mixture()), [self.alpha])
        self.learn_logits(gradient)
        self.learn_weights(self.loss(train, self.weights, self.mixture().detach()), rate)
        return gradient, exact


def take_steps(s, case, dtype):
    search, steps = Search(s, case, dtype), case["options"]["steps"]
    found = {"logits": [], "gradient": [], "moved": []}
    for step in range(steps):
        gradient, exact = search.step(step, steps)
        if step == 0 and exact is not None:
            found["exact"] = exact.numpy().ravel()
        moved = {name: (w.detach() - search.first[name]).double().numpy()
                 for name, w in search.weights.items()}
        found["logits"].append(search.alpha.detach().numpy().ravel().copy())
        found["gradient"].append(gradient.numpy().ravel())
        found["moved"].append(moved)
    return found


def pair_of_all(tensors):
    """As one tensor."""
    norm, along = numpy.array(list(pairs(tensors).values())).T
    return [digits(numpy.linalg.norm(norm)), digits(along.sum())]


def write_steps(size, s, cases):
    def off(a, b):
        return numpy.linalg.norm(numpy.subtract(a, b)) / numpy.linalg.norm(b)
    written = []
    for name, case in cases.items():
        want, got = (take_steps(s, case, dtype) for dtype in (torch.float64, torch.float32))
        print(f"  {name}: float32 differs relatively by",
              " ".join(f"{off(a, b):.1e}" for a, b in zip(got["gradient"], want["gradient"])),
              "in the logits' gradients,",
              " ".join(f"{distances_of(a, b):.1e}" for a, b in zip(got["moved"], want["moved"])),
              "in a tensor's way")
        more = {}
        if "exact" in want:
            finite = off(want["gradient"][0], want["exact"])
            print(f"    the finite difference is off by {finite:.1e}")
            more = {"exact": [digits(v) for v in want["exact"]]}
        written.append({"name": name, "method": case["method"], "alpha": case["alpha"],
                        "options": case["options"], **more,
                        "logits": table(want["logits"]), "gradient": table(want["gradient"]),
                        "moved": [pair_of_all(m) for m in want["moved"]],
                        "gradients": pairs(want["moved"][-1])})
    path = os.path.join(here, size + ".json")
    with open(path, "w", encoding="ascii") as file:
        file.write('{"made_by": "make_golden.py, which says what the numbers mean",\n'
                   f'"settings": {json.dumps(s)},\n"cases": [\n'
                   + ",\n".join(map(line_by_line, written)) + "\n]}\n")
    print(f"{size}.json: {len(written)} methods, {os.path.getsize(path)} bytes")


def distances_of(got, want):
    """The largest relative difference of a tensor."""
    return max(numpy.linalg.norm(got[name] - w) / (numpy.linalg.norm(w) or 1)
               for name, w in want.items())


# ---- SNAS, step by step ----

INIT_MEAN, INIT_DEVIATION, DROP_PATH = 1.0, 1e-2, 7
SNAS = dict(settings(3, 4, 10, 8, 8, 8, 3), seed=3, steps=30, taken=3, tau=1.0, tau_end=0.03,
            drop_path=0.3, resource=0.01, rate=0.025, rate_end=0.001, momentum=0.9, decay=3e-4,
            clip=5.0, rate_alpha=3e-4, decay_alpha=1e-3)


def initial_logits(s, count):
    u = uniform_philox(s["seed"], GUMBEL, 0, 2 * count)
    normal = numpy.sqrt(-2 * numpy.log(1 - u[::2])) * numpy.cos(2 * numpy.pi * u[1::2])
    return INIT_MEAN + INIT_DEVIATION * normal


def gumbel(s, step, count):
    u = uniform_philox(s["seed"], GUMBEL, 1 + step, count)
    return -numpy.log(-numpy.log(u))


def dropped(s, step):
    keep, E, N = 1 - s["drop_path"], len(net.edges()), s["batch"]
    u = numpy.concatenate([uniform_philox(s["seed"], DROP_PATH, step, N, place << 32)
                           for place in range(s["layers"] * E)])
    return ((u < keep) * numpy.float32(1 / keep)).astype(numpy.float32).reshape(-1, E, N)


def op_costs(C, pixels, stride):
    """Size, flops and memory access of every op, `none` first, as the public code of SNAS counts
    them."""
    def conv(size, inputs, extra):
        return [size, size * pixels, pixels * (inputs + (extra if stride == 2 else 0)) * C + size]
    pool = [0, 9 * pixels * C, (5 if stride == 2 else 2) * pixels * C]
    skip = ([0, 0, 2 * C * pixels] if stride == 1
            else [C * C, C * C * pixels, pixels * 2 * (4 * C + C // 2) + C * C])
    return [[0, 0, 0], pool, pool, skip] + [
        conv(2 * C * k * k + 2 * C * C, 8, 3) for k in (3, 5)] + [
        conv(C * k * k + C * C, 4, 3) for k in (3, 5)]


def resource(s, Z):
    """The logarithmic form, the mean over the cells of either kind."""
    reductions = {s["layers"] // 3, 2 * s["layers"] // 3}
    count = [s["layers"] - len(reductions), len(reductions)]
    C, edge, total = s["channels"], s["height"], 0
    for layer in range(s["layers"]):
        kind = int(layer in reductions)
        C, edge = C << kind, edge >> kind
        for e, (_, source) in enumerate(net.edges()):
            costs = torch.tensor(op_costs(C, edge * edge, 2 if kind and source < 2 else 1),
                                 dtype=Z.dtype)
            sums = Z[kind, e] @ costs
            total = total + torch.log(torch.clamp(sums, min=1)).sum() / 3 / count[kind]
    return total


def run_snas(s, dtype=torch.float64):
    """SGD on the weights and Adam on the logits, by one loss of one batch."""
    weights, moments = {}, {}
    shape = (2, len(net.edges()), 1 + len(net.OPS))
    count = int(numpy.prod(shape))
    alpha = torch.tensor(initial_logits(s, count)).requires_grad_()
    adam = torch.optim.Adam([alpha], s["rate_alpha"], (0.5, 0.999), 1e-8, s["decay_alpha"])

    def weight(name, size):
        if name not in weights:
            weights[name] = torch.as_tensor(make_weight(name, size)).to(dtype).requires_grad_()
        return weights[name]

    taken = []
    for step in range(s["taken"]):
        tau = s["tau"] + step / (s["steps"] - 1) * (s["tau_end"] - s["tau"])
        rate = s["rate_end"] + (s["rate"] - s["rate_end"]) * (
            1 + numpy.cos(numpy.pi * step / s["steps"])) / 2
        images, labels = make_batch(s, "input" + (f".{step}" if step else ""))
        Z = torch.softmax((alpha + torch.tensor(gumbel(s, step, count))).reshape(shape) / tau, -1)
        out = net.supernet(weight, Z[..., 1:].to(dtype), s["layers"], s["channels"], s["classes"],
                           torch.tensor(images, dtype=dtype),
                           torch.tensor(dropped(s, step), dtype=dtype))
        loss = F.cross_entropy(out, torch.tensor(labels))
        adam.zero_grad()
        for w in weights.values():
            w.grad = None
        (loss + s["resource"] * resource(s, Z)).backward()
        gradient = alpha.grad.clone()
        torch.nn.utils.clip_grad_norm_([alpha], 10.0)
        torch.nn.utils.clip_grad_norm_(list(weights.values()), s["clip"])
        adam.step()
        with torch.no_grad():
            for name, w in weights.items():
                g = torch.zeros_like(w) if w.grad is None else w.grad
                moments[name] = s["momentum"] * moments.get(name, 0) + g + s["decay"] * w
                w -= rate * moments[name]
        taken.append({"loss": loss.item(), "gradient": gradient.tolist(),
                      "logits": alpha.detach().clone().tolist()})
    return taken, {name: w.detach().double().numpy() for name, w in weights.items()}


def write_snas():
    want, got = run_snas(SNAS), run_snas(SNAS, torch.float32)
    for a, b in zip(got[0], want[0]):
        off = {key: numpy.linalg.norm(numpy.subtract(a[key], b[key]))
               for key in ("gradient", "logits")}
        print(f"snas.json: float32 differs by {abs(a['loss'] - b['loss']):.1e} in the loss, "
              f"{off['gradient'] / numpy.linalg.norm(b['gradient']):.1e} in the gradient, "
              f"{off['logits']:.1e} in the logits")
    steps = [{key: [digits(v) for v in value] if isinstance(value, list) else value
              for key, value in step.items()} for step in want[0]]
    with open(os.path.join(here, "snas.json"), "w", encoding="ascii") as file:
        file.write('{"made_by": "make_golden.py, which says what the numbers mean",\n'
                   f'"settings": {json.dumps(SNAS)},\n"steps": [\n'
                   + ",\n".join(json.dumps(step) for step in steps) + '\n],\n"weights": {\n'
                   + ",\n".join(f'"{name}": {json.dumps(pair)}'
                                for name, pair in pairs(want[1]).items()) + "}}\n")


def write_supernet(size, s, cases):
    written = []
    for name, options in cases.items():
        want, got = (run_supernet(s, options, dtype) for dtype in (torch.float64, torch.float32))
        d = distances(got, want)
        off = (numpy.linalg.norm(got["alpha"] - want["alpha"]) / numpy.linalg.norm(want["alpha"]))
        print(f"  {name}: float32 differs by {d[0]:.1e} in a logit, {d[1]:.1e} in the loss, "
              f"relatively {d[2][1]:.1e} in a gradient's norm, {d[3][1]:.1e} in a gradient, "
              f"{off:.1e} in alpha's")
        written.append({"name": name, "drop_path": options.get("drop_path", False),
                        "mixture": [digits(v) for v in want["mixture"].ravel()],
                        "alpha": [digits(v) for v in want["alpha"].ravel()],
                        **({"chosen": options["chosen"]} if "chosen" in options else {}),
                        "logits": table(want["logits"]), "loss": want["loss"],
                        "log_likelihood": want["log_likelihood"], "correct": want["correct"],
                        "gradients": pairs(want["gradients"])})
    path = os.path.join(here, size + ".json")
    with open(path, "w", encoding="ascii") as file:
        file.write('{"made_by": "make_golden.py, which says what the numbers mean",\n'
                   f'"settings": {json.dumps(s)},\n"cases": [\n'
                   + ",\n".join(map(line_by_line, written)) + "\n]}\n")
    print(f"{size}.json: {len(written)} mixtures, {os.path.getsize(path)} bytes")


def write_golden(size, s, make_case, cases):
    """cases: [(name of a genotype, options)]"""
    written, worst = [], numpy.zeros(4)
    for name, options in cases:
        genotype = net.text(*GENOTYPES[name])
        want, more = make_case(genotype, s, options, torch.float64)
        # PyTorch's own float32 shows how much of the bounds rounding takes.
        got, rounded = make_case(genotype, s, options, torch.float32)
        d = distances(got, want)
        worst = numpy.maximum(worst, [d[0], d[1], d[2][1], d[3][1]])
        show_rounding(name, rounded, more)
        written.append({"name": name, "genotype": genotype, "logits": table(want["logits"]),
                        "loss": want["loss"], "log_likelihood": want["log_likelihood"],
                        "correct": want["correct"], **more, "gradients": pairs(want["gradients"])})
    path = os.path.join(here, size + ".json")
    with open(path, "w", encoding="ascii") as file:
        file.write('{"made_by": "make_golden.py, which says what the numbers mean",\n'
                   f'"settings": {json.dumps(s)},\n"cases": [\n'
                   + ",\n".join(map(line_by_line, written)) + "\n]}\n")
    print(f"{size}.json: {len(written)} genotypes, {os.path.getsize(path)} bytes; float32 differs "
          "by {:.1e} in a logit, {:.1e} in the loss, relatively {:.1e} in a gradient's norm, "
          "{:.1e} in a gradient".format(*worst))


def show_rounding(name, got, want):
    if not want:
        return
    a, b = (numpy.array(side["logits_inference"]) for side in (got, want))
    off = max(abs(got["statistics"][key][0] - norm) / norm
              for key, (norm, _) in want["statistics"].items())
    print(f"  {name}: inference's logits reach {abs(b).max():.1f} and differ by "
          f"{abs(a - b).max():.1e}, running statistics relatively by {off:.1e}")


def line_by_line(case):
    """JSON with one tensor on a line: a difference between two versions can be read."""
    lists = {key: case.pop(key) for key in ("statistics", "gradients") if key in case}
    return json.dumps(case)[:-1] + "".join(
        f', "{key}": {{\n'
        + ",\n".join(f'"{name}": {json.dumps(pair)}' for name, pair in tensors.items()) + "}"
        for key, tensors in lists.items()) + "}"


def read_safetensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(size)), file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if name.endswith(".num_batches_tracked"):
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: {name} is {entry['dtype']}, expected F32")
        first, last = entry["data_offsets"]
        tensors[name] = numpy.frombuffer(data[first:last], "<f4").reshape(entry["shape"]).copy()
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

    evaluation = trace.get("network") == "eval"
    drop_path = numpy.load(at("drop_path.npy")) if os.path.exists(at("drop_path.npy")) else None
    want = run(trace["genotype"], trace, images, labels, source, drop_path=drop_path)
    got = {"logits": numpy.load(at("logits.npy")), "loss": trace["loss"], "gradients": {}}
    if want["read"]:
        got["gradients"] = read_safetensors(at("gradients.safetensors"))
    if "loss_auxiliary" in want:
        got["logits_auxiliary"] = numpy.load(at("logits_auxiliary.npy"))
        got["loss_auxiliary"] = trace["loss_auxiliary"]
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
    if evaluation and want["read"]:
        running = read_safetensors(at("running.safetensors"))
        off = max((numpy.linalg.norm(running[name] - w) / numpy.linalg.norm(w), name)
                  for name, w in statistics_of(want).items())
        print(f"statistics      differ relatively by {off[0]:.2e} in {off[1]}"
              f"   (allowed {STATISTICS:.0e})")
        ok = ok and off[0] <= STATISTICS
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
    write_snas()
    for size, s in SIZES.items():
        write_golden(size, s, search_case, [(name, {}) for name in GENOTYPES])
    for size, s in EVALUATION_SIZES.items():
        cases = [*EVALUATION_CASES.items()]
        if s["stem"] == "cifar":
            cases += POOL_NORM_CASES.items()
        write_golden(size, s, evaluation_case, cases)
    for size, s in SUPERNET_SIZES.items():
        write_supernet(size, s, SUPERNET_CASES)
    for size, s in STEP_SIZES.items():
        write_steps(size, s, STEP_CASES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
