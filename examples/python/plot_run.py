#!/usr/bin/env python3
"""The curves of a run as a picture, without a plotting library.

    plot_run.py RUN > run.svg      RUN: the directory of a search, or of a seed of a training

Needs neither NumPy nor the library: it reads the run's files.
"""

import math
import sys

import parsec_nas as pn

WIDTH, HEIGHT, MARGIN = 640, 180, 40


def curve(title, steps, values, top):
    """One panel, its upper edge at `top`; missing values are gaps."""
    there = [(x, y) for x, y in zip(steps, values) if not math.isnan(y)]
    if not there:
        return ""
    low, high = min(y for _, y in there), max(y for _, y in there)
    across = (WIDTH - 2 * MARGIN) / max(1, steps[-1] - steps[0])
    up = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    points = " ".join(f"{MARGIN + (x - steps[0]) * across:.1f},"
                      f"{top + HEIGHT - MARGIN - (y - low) * up:.1f}" for x, y in there)
    return (f'<text x="{MARGIN}" y="{top + 24}">{title}: {there[0][1]:.4g} to {there[-1][1]:.4g}, '
            f'between {low:.4g} and {high:.4g}</text>\n'
            f'<polyline points="{points}" fill="none" stroke="#0072b2"/>\n')


metrics = pn.read_run(sys.argv[1], tables="lists")["metrics"]
steps = metrics["step" if "step" in metrics else "epoch"]
wanted = ("entropy", "train_loss", "val_loss", "loss", "train_accuracy", "accuracy")
names = [name for name in wanted if name in metrics]
print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * len(names)}" '
      'font-family="sans-serif" font-size="13">')
for i, name in enumerate(names):
    print(curve(name.replace("_", " "), steps, metrics[name], i * HEIGHT), end="")
print("</svg>")
