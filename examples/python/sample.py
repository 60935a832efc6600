#!/usr/bin/env python3
"""Architectures of a distribution: what they are, and what their networks cost.

    sample.py [RUN]      RUN: the directory of a search; without one, the uniform distribution

Needs no NumPy.
"""

import collections
import math
import sys

import parsec_nas as pn

with pn.Distribution(sys.argv[1] if len(sys.argv) > 1 else None) as distribution:
    about = distribution.describe()
    cells = distribution.sample(5, seed=1)
    top = distribution.top(3)

print(f"entropy {about['entropy']:.2f} nats; uniform {about['entropy_uniform']:.2f}")
print("\nfive draws: log-probability, parameters of the search network, cell")
for cell in cells:
    cost = pn.plan(genotype=cell["genotype"], layers=8, channels=16)
    print(f"{cell['log_p']:9.3f} {cost['params']:9,d}  {cell['short']}")

print("\nthe most probable: probability, operations of its normal cell")
for cell in top:
    nodes = pn.genotype(cell["genotype"])["normal"]
    ops = collections.Counter(op for node in nodes for op, _ in node)
    print(f"{math.exp(cell['log_p']):.2e}  " + ", ".join(f"{n} {op}" for op, n in ops.items()))
