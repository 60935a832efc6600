"""Cells as text: the two notations of search/network/genotype.h, and the number of parameters."""

import itertools
import re

SHORT = {"max_pool_3x3": "mp", "avg_pool_3x3": "ap", "skip_connect": "sk", "sep_conv_3x3": "s3",
         "sep_conv_5x5": "s5", "dil_conv_3x3": "d3", "dil_conv_5x5": "d5", "none": "no"}
STAGES = {"mp": (0, 0), "ap": (0, 0), "sk": (0, 0), "s3": (2, 3), "s5": (2, 5), "d3": (1, 3),
          "d5": (1, 5), "no": (0, 0)}  # stages, and the edge of the depthwise convolution


def short(genotype):
    """DARTS' notation in the short one: op@input, inputs as they are there; two terms a node, or
    one for every edge."""
    kinds = []
    for kind in ("normal", "reduce"):
        found = re.search(rf"\b{kind}=\[(.*?)\]", genotype)
        terms = re.findall(r"\('(\w+)', (\d)\)", found.group(1)) if found else []
        if len(terms) not in (8, 14):
            raise ValueError(f"no genotype of DARTS' space: {genotype[:60]}")
        words = iter([f"{SHORT[op]}@{source}" for op, source in terms])
        slots = [2] * 4 if len(terms) == 8 else [2, 3, 4, 5]
        kinds.append(f"{kind} " + " | ".join(" ".join(itertools.islice(words, n)) for n in slots))
    return " ".join(kinds)


def parameters(cell, layers, channels):
    """Parameters of a cell's ops in the search network. All other parameters of the network are the
    same for all cells, so the order is that of `parsec-nas plan`. Equal terms of a node share."""
    kinds = [kind.split("|") for kind in cell.replace("normal", "").split("reduce")]
    total = 0
    for layer in range(layers):
        reduction = layer in (layers // 3, 2 * layers // 3)
        if reduction:
            channels *= 2
        for node in kinds[reduction]:
            for term in set(node.split()):
                op, source = term.split("@")
                stages, edge = STAGES[op]
                total += stages * (edge * edge * channels + channels * channels)
                if op == "sk" and reduction and int(source) < 2:  # a factorized reduce
                    total += channels * channels
    return total
