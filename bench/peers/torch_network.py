"""PARSEC's search network and DARTS' evaluation network in plain PyTorch.

They are what our networks are compared with: by tests/golden/make_golden.py in float64, by
bench/peers/torch_step.py in time. Nothing here is clever on purpose. Weights are asked for by
name, so that the names and shapes below are the list of what a genotype uses.

Images are NCHW. `forward` is the search network: cells as in DARTS' NetworkCIFAR, BatchNorm takes
its statistics from the batch (eps 1e-5) and has scale and shift in the stem alone. `evaluation` is
the network of one genotype, NetworkCIFAR or NetworkImageNet, with the public code's names: all
BatchNorms have scale, shift and running statistics, pools have no BatchNorm unless `pool_norm` asks
for one, which has the name that it has in the public code of SNAS. Where our definitions go beyond
DARTS: a factorized reduce of an image with an odd edge reads zeros outside of it, and in
the search network two terms of a node with the same input and the same op share their weights, so
that the term counts twice.
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


def two_grids(x, even, odd):
    """A factorized reduce before its BatchNorm."""
    x = F.relu(x)
    H, W = x.shape[2:]
    shifted = F.pad(x[:, :, 1:, 1:], (0, W % 2, 0, H % 2)) if H % 2 or W % 2 else x[:, :, 1:, 1:]
    return torch.cat([F.conv2d(x, even, stride=2), F.conv2d(shifted, odd, stride=2)], dim=1)


def factorized_reduce(weight, name, x, K):
    shape = (K // 2, x.shape[1], 1, 1)
    return norm(two_grids(x, weight(f"{name}.weight_1", shape), weight(f"{name}.weight_2", shape)))


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


def skeleton(weight, layers, channels, classes, images, make_cell):
    """Logits of `images`: stem, cells, classifier. make_cell(layer, s0, s1, C, reduction,
    after_reduction) is a cell."""
    C = channels
    x = F.conv2d(images, weight("stem.conv.weight", (3 * C, images.shape[1], 3, 3)), padding=1)
    s0 = s1 = F.batch_norm(x, None, None, weight("stem.bn.weight", (3 * C,)),
                           weight("stem.bn.bias", (3 * C,)), training=True, eps=1e-5)
    after_reduction = False
    for i in range(layers):
        reduction = i in (layers // 3, 2 * layers // 3)
        if reduction:
            C *= 2
        s0, s1 = s1, make_cell(i, s0, s1, C, reduction, after_reduction)
        after_reduction = reduction
    pooled = s1.mean(dim=(2, 3))
    return F.linear(pooled, weight("classifier.weight", (classes, pooled.shape[1])),
                    weight("classifier.bias", (classes,)))


def forward(weight, genotype, layers, channels, classes, images):
    """Logits of `images`. weight(name, shape) gives the tensor of that name."""
    normal, reduce = parse(genotype)

    def make_cell(layer, s0, s1, C, reduction, after_reduction):
        return cell(weight, f"cells.{layer}", s0, s1, reduce if reduction else normal, C,
                    reduction, after_reduction)
    return skeleton(weight, layers, channels, classes, images, make_cell)


def edges():
    """(node, input) of every edge of a cell, in the order of DARTS' alphas."""
    return [(node, source) for node in range(NODES) for source in range(2 + node)]


def mixed_cell(weight, name, s0, s1, mixture, C, reduction, after_reduction, drop_path, chosen):
    """A cell of the supernet: all ops on all edges, or the chosen one of each (-1: none)."""
    if after_reduction:
        s0 = factorized_reduce(weight, f"{name}.preprocess0", s0, C)
    else:
        s0 = norm(F.conv2d(F.relu(s0), weight(f"{name}.preprocess0.weight",
                                              (C, s0.shape[1], 1, 1))))
    s1 = norm(F.conv2d(F.relu(s1), weight(f"{name}.preprocess1.weight", (C, s1.shape[1], 1, 1))))
    states = [s0, s1]
    # The sum of nothing is zeros.
    sums = [torch.zeros_like(s0[:, :, ::2, ::2] if reduction else s0)] * NODES
    for edge, (node, source) in enumerate(edges()):
        if edge and source == 0:
            states.append(sums[node - 1])
        for number, op in enumerate(OPS):
            if chosen is not None and chosen[edge] != number:
                continue
            h = mixture[edge, number] * term(weight, f"{name}.nodes.{node}.input.{source}", op,
                                             states[source], 2 if reduction and source < 2 else 1)
            if drop_path is not None:
                h = h * drop_path[edge][:, None, None, None]
            sums[node] = sums[node] + h
    return torch.cat([*states[2:], sums[-1]], dim=1)


def supernet(weight, mixture, layers, channels, classes, images, drop_path=None, chosen=None):
    """Logits of the supernet: mixture (2, 14, 7) weighs the ops of a kind's edges; drop_path None
    or (layers, 14, N); chosen None or (2, 14)."""
    def make_cell(layer, s0, s1, C, reduction, after_reduction):
        kind = int(reduction)
        return mixed_cell(weight, f"cells.{layer}", s0, s1, mixture[kind], C, reduction,
                          after_reduction, None if drop_path is None else drop_path[layer],
                          None if chosen is None else chosen[kind])
    return skeleton(weight, layers, channels, classes, images, make_cell)


class Evaluation:
    """The evaluation network of a genotype on one batch of images.

    weight(name, shape) gives the tensor of that name, running statistics too: those want no
    gradient, and are updated in place (momentum 0.1) where `training`. drop_path: None, or what
    each term that is not the identity is multiplied by, (layers, nodes, 2, N).
    """

    def __init__(self, weight, genotype, training, drop_path=None, pool_norm=False):
        self.weight, self.training, self.drop_path = weight, training, drop_path
        self.pool_norm = pool_norm
        self.normal, self.reduce = parse(genotype)

    def norm(self, name, x):
        shape = (x.shape[1],)
        mean, var, scale, shift = (self.weight(f"{name}.{part}", shape) for part in
                                   ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, scale, shift, self.training, momentum=0.1, eps=1e-5)

    def conv(self, name, x, K, size, **how):
        shape = (K, x.shape[1] // how.get("groups", 1), size, size)
        return F.conv2d(x, self.weight(f"{name}.weight", shape), **how)

    def relu_conv_norm(self, name, x, K):
        return self.norm(f"{name}.op.2", self.conv(f"{name}.op.1", F.relu(x), K, 1))

    def factorized_reduce(self, name, x, K):
        shape = (K // 2, x.shape[1], 1, 1)
        return self.norm(f"{name}.bn", two_grids(x, self.weight(f"{name}.conv_1.weight", shape),
                                                 self.weight(f"{name}.conv_2.weight", shape)))

    def stage(self, name, first, x, size, dilation, stride):
        """ReLU, depthwise, pointwise, BatchNorm: numbers first .. first + 3 of the sequence."""
        C = x.shape[1]
        x = self.conv(f"{name}.op.{first + 1}", F.relu(x), C, size, stride=stride,
                      padding=dilation * (size - 1) // 2, dilation=dilation, groups=C)
        return self.norm(f"{name}.op.{first + 3}", self.conv(f"{name}.op.{first + 2}", x, C, 1))

    def pool(self, op, x, stride):
        if op == "max_pool_3x3":
            return F.max_pool2d(x, 3, stride, padding=1)
        return F.avg_pool2d(x, 3, stride, padding=1, count_include_pad=False)

    def term(self, name, op, x, stride):
        if op in ("max_pool_3x3", "avg_pool_3x3"):
            x = self.pool(op, x, stride)
            return self.norm(f"{name}.op.1", x) if self.pool_norm else x
        if op == "skip_connect":
            return x if stride == 1 else self.factorized_reduce(name, x, x.shape[1])
        size = int(op[-1])
        if op.startswith("dil_conv"):
            return self.stage(name, 0, x, size, 2, stride)
        return self.stage(name, 4, self.stage(name, 0, x, size, 1, stride), size, 1, 1)

    def cell(self, number, s0, s1, C, reduction, after_reduction):
        name = f"cells.{number}"
        preprocess0 = self.factorized_reduce if after_reduction else self.relu_conv_norm
        states = [preprocess0(f"{name}.preprocess0", s0, C),
                  self.relu_conv_norm(f"{name}.preprocess1", s1, C)]
        terms = self.reduce if reduction else self.normal
        for node in range(NODES):
            total = 0
            for slot in range(2):
                op, source = terms[2 * node + slot]
                stride = 2 if reduction and source < 2 else 1
                h = self.term(f"{name}._ops.{2 * node + slot}", op, states[source], stride)
                if self.drop_path is not None and (op != "skip_connect" or stride == 2):
                    h = h * self.drop_path[number, node, slot][:, None, None, None]
                total = total + h
            states.append(total)
        return torch.cat(states[2:], dim=1)

    def stem(self, images, C, imagenet):
        """The first cell's two inputs."""
        if not imagenet:
            x = self.norm("stem.1", self.conv("stem.0", images, 3 * C, 3, padding=1))
            return x, x
        x = self.norm("stem0.1", self.conv("stem0.0", images, C // 2, 3, stride=2, padding=1))
        s0 = self.norm("stem0.4", self.conv("stem0.3", F.relu(x), C, 3, stride=2, padding=1))
        return s0, self.norm("stem1.2", self.conv("stem1.1", F.relu(s0), C, 3, stride=2, padding=1))

    def classifier(self, name, x, classes):
        x = x.mean(dim=(2, 3))
        return F.linear(x, self.weight(f"{name}.weight", (classes, x.shape[1])),
                        self.weight(f"{name}.bias", (classes,)))

    def auxiliary(self, x, classes, imagenet):
        name = "auxiliary_head.features"
        x = F.avg_pool2d(F.relu(x), 5, 2 if imagenet else 3, count_include_pad=False)
        x = F.relu(self.norm(f"{name}.3", self.conv(f"{name}.2", x, 128, 1)))
        x = self.conv(f"{name}.5", x, 768, 2)
        if not imagenet:  # the public code has that one commented out
            x = self.norm(f"{name}.6", x)
        return self.classifier("auxiliary_head.classifier", F.relu(x), classes)


def evaluation(weight, genotype, layers, channels, classes, images, *, imagenet=False,
               auxiliary=False, training=True, drop_path=None, pool_norm=False):
    """Logits, and those of the auxiliary head or None. See Evaluation."""
    net = Evaluation(weight, genotype, training, drop_path, pool_norm)
    C, after_reduction, auxiliary_logits = channels, imagenet, None
    s0, s1 = net.stem(images, C, imagenet)
    for i in range(layers):
        reduction = i in (layers // 3, 2 * layers // 3)
        if reduction:
            C *= 2
        s0, s1 = s1, net.cell(i, s0, s1, C, reduction, after_reduction)
        after_reduction = reduction
        if auxiliary and i == 2 * layers // 3:
            auxiliary_logits = net.auxiliary(s1, classes, imagenet)
    return net.classifier("classifier", s1, classes), auxiliary_logits


def is_statistic(name):
    """Of the tensors that `evaluation` asks for: not learnt."""
    return name.endswith((".running_mean", ".running_var"))
