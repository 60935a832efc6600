#!/usr/bin/env python3
"""A small network trained on NumPy arrays, from Python's own loop.

    train.py [WEIGHTS]      where the weights go: shapes.safetensors

The images are drawn here: discs, squares and crosses in noise, 16x16, one channel.
"""

import math
import sys

import numpy as np

import parsec_nas as pn

NAMES = ["cross", "disc", "square"]
EPOCHS, BATCH, RATE = 6, 32, 0.05


def draw(count, seed):
    """uint8 images (count, 16, 16, 1) and their classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(NAMES), count)
    images = random.integers(0, 100, (count, 16, 16, 1), dtype=np.uint8)
    rows, columns = np.mgrid[0:16, 0:16]
    for image, label in zip(images, labels):
        y, x = np.abs(rows - random.integers(5, 11)), np.abs(columns - random.integers(5, 11))
        size = random.integers(3, 5)
        inside = [np.minimum(y, x) < 1, y * y + x * x <= size * size, np.maximum(y, x) < size]
        image[inside[label] & (np.maximum(y, x) <= size), 0] = random.integers(120, 256)
    return images, labels


images, labels = draw(512, seed=1)
test_images, test_labels = draw(200, seed=2)

with pn.Trainer("DARTS_V2", image=(16, 16, 1), classes=len(NAMES), layers=3, channels=8,
                batch=BATCH, seed=1, mean=[0.3], std=[0.25], names=NAMES) as trainer:
    steps = len(images) // BATCH
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(images))
        rate = RATE * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
        losses = []
        for step in range(steps):
            batch = order[step * BATCH:(step + 1) * BATCH]
            loss, _ = trainer.step(images[batch], labels[batch], rate)
            losses.append(loss)
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}")
    loss, accuracy = trainer.evaluate(test_images, test_labels)
    print(f"images not seen before: loss {loss:.3f}, accuracy {accuracy:.1%}")
    path = sys.argv[1] if len(sys.argv) > 1 else "shapes.safetensors"
    trainer.save(path)

with pn.Classifier(path) as network:
    for guess, label in zip(network.classify(test_images[:3]), test_labels):
        print(f"{NAMES[label]}: taken for {guess[0][0]}, probability {guess[0][1]:.2f}")
