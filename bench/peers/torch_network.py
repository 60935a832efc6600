"""The search network of PARSEC in plain PyTorch: cells as in DARTS' NetworkCIFAR.

It is what our network is compared with: by tests/golden/make_golden.py in float64, by
bench/peers/torch_step.py in time. Nothing here is clever on purpose. Weights are asked for by
name, so that the names and shapes below are the list of what a genotype uses.

Images are NCHW. BatchNorm takes its statistics from the batch (eps 1e-5) and has scale and shift
in the stem alone. Where our definitions go beyond DARTS: a factorized reduce of an image with an
odd edge reads zeros outside of it, and two terms of a node with the same input and the same op
share their weights, so that the term counts twice.
"""

import random
import re

import torch
import torch.nn.functional as F

OPS = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5",
       "dil_conv_3x3", "dil_conv_5x5")
NODES = 4

M3, A3, SK, S3, S5, D3, D5 = OPS
PUBLISHED = {
    "DARTS_V1": (
        [(S3, 1), (S3, 0), (SK, 0), (S3, 1), (SK, 0), (S3, 1), (S3, 0), (SK, 2)],
        [(M3, 0), (M3, 1), (SK, 2), (M3, 0), (M3, 0), (SK, 2), (SK, 2), (A3, 0)]),
    "DARTS_V2": (
        [(S3, 0), (S3, 1), (S3, 0), (S3, 1), (S3, 1), (SK, 0), (SK, 0), (D3, 2)],
        [(M3, 0), (M3, 1), (SK, 2), (M3, 1), (M3, 0), (SK, 2), (SK, 2), (M3, 1)]),
    "PDARTS": (
        [(SK, 0), (D3, 1), (SK, 0), (S3, 1), (S3, 1), (S3, 3), (S3, 0), (D5, 4)],
        [(A3, 0), (S5, 1), (S3, 0), (D5, 2), (M3, 0), (D3, 1), (D3, 1), (D5, 3)]),
    "PC_DARTS_cifar": (
        [(S3, 1), (SK, 0), (S3, 0), (D3, 1), (S5, 0), (S3, 1), (A3, 0), (D3, 1)],
        [(S5, 1), (M3, 0), (S5, 1), (S5, 2), (S3, 0), (S3, 3), (S3, 1), (S3, 2)]),
}


def parse(text):
    """Genotype text in DARTS notation -> (normal, reduce), each a list of 8 (op, input)."""
    pairs = [(op, int(source)) for op, source in
             re.findall(r"""['"](\w+)['"]\s*,\s*(\d+)""", text)]
    if len(pairs) != 4 * NODES:
        raise ValueError(f"{len(pairs)} terms, not {4 * NODES}, in the genotype {text}")
    for i, (op, source) in enumerate(pairs):
        if op not in OPS or source > 1 + i % (2 * NODES) // 2:
            raise ValueError(f"term {i} of the genotype is {op} on input {source}")
    return pairs[:2 * NODES], pairs[2 * NODES:]


def text(normal, reduce):
    """The inverse of parse, as Python prints a namedtuple."""
    return (f"Genotype(normal={normal}, normal_concat=[2, 3, 4, 5], "
            f"reduce={reduce}, reduce_concat=[2, 3, 4, 5])")


def random_genotype(seed):
    """Uniform over inputs and ops, all terms independent."""
    rng = random.Random(seed)
    cells = [[(rng.choice(OPS), rng.randrange(2 + slot // 2)) for slot in range(2 * NODES)]
             for _ in range(2)]
    return text(*cells)


def norm(x):
    return F.batch_norm(x, None, None, training=True, eps=1e-5)


def factorized_reduce(weight, name, x, K):
    x = F.relu(x)
    C, H, W = x.shape[1:]
    shifted = F.pad(x[:, :, 1:, 1:], (0, W % 2, 0, H % 2)) if H % 2 or W % 2 else x[:, :, 1:, 1:]
    return norm(torch.cat([
        F.conv2d(x, weight(f"{name}.weight_1", (K // 2, C, 1, 1)), stride=2),
        F.conv2d(shifted, weight(f"{name}.weight_2", (K // 2, C, 1, 1)), stride=2)], dim=1))


def stage(weight, name, number, x, size, dilation, stride):
    """ReLU, depthwise, pointwise, BatchNorm: half of a sep_conv, the whole of a dil_conv."""
    C = x.shape[1]
    x = F.conv2d(F.relu(x), weight(f"{name}.dw{number}.weight", (C, 1, size, size)), stride=stride,
                 padding=dilation * (size - 1) // 2, dilation=dilation, groups=C)
    return norm(F.conv2d(x, weight(f"{name}.pw{number}.weight", (C, C, 1, 1))))


def term(weight, name, op, x, stride):
    name = f"{name}.{op}"
    if op == "max_pool_3x3":
        return norm(F.max_pool2d(x, 3, stride, padding=1))
    if op == "avg_pool_3x3":
        return norm(F.avg_pool2d(x, 3, stride, padding=1, count_include_pad=False))
    if op == "skip_connect":
        return x if stride == 1 else factorized_reduce(weight, name, x, x.shape[1])
    size = int(op[-1])
    if op.startswith("dil_conv"):
        return stage(weight, name, 1, x, size, 2, stride)
    return stage(weight, name, 2, stage(weight, name, 1, x, size, 1, stride), size, 1, 1)


def cell(weight, name, s0, s1, terms, C, reduction, after_reduction):
    if after_reduction:
        s0 = factorized_reduce(weight, f"{name}.preprocess0", s0, C)
    else:
        s0 = norm(F.conv2d(F.relu(s0), weight(f"{name}.preprocess0.weight",
                                              (C, s0.shape[1], 1, 1))))
    s1 = norm(F.conv2d(F.relu(s1), weight(f"{name}.preprocess1.weight", (C, s1.shape[1], 1, 1))))
    states = [s0, s1]
    for node in range(NODES):
        states.append(sum(
            term(weight, f"{name}.nodes.{node}.input.{source}", op, states[source],
                 2 if reduction and source < 2 else 1)
            for op, source in terms[2 * node:2 * node + 2]))
    return torch.cat(states[2:], dim=1)


def forward(weight, genotype, layers, channels, classes, images):
    """Logits of `images`. weight(name, shape) gives the tensor of that name."""
    normal, reduce = parse(genotype)
    C = channels
    x = F.conv2d(images, weight("stem.conv.weight", (3 * C, images.shape[1], 3, 3)), padding=1)
    s0 = s1 = F.batch_norm(x, None, None, weight("stem.bn.weight", (3 * C,)),
                           weight("stem.bn.bias", (3 * C,)), training=True, eps=1e-5)
    after_reduction = False
    for i in range(layers):
        reduction = i in (layers // 3, 2 * layers // 3)
        if reduction:
            C *= 2
        s0, s1 = s1, cell(weight, f"cells.{i}", s0, s1, reduce if reduction else normal, C,
                          reduction, after_reduction)
        after_reduction = reduction
    pooled = s1.mean(dim=(2, 3))
    return F.linear(pooled, weight("classifier.weight", (classes, pooled.shape[1])),
                    weight("classifier.bias", (classes,)))
