#!/usr/bin/env python3
"""What a trained network says of pictures, as arrays.

    predict.py WEIGHTS PICTURE...      Debian: python3-pil, python3-numpy

Pictures are scaled to the size of the network's images. (`parsec-nas predict` scales in its own
way, so the probabilities differ a little.)
"""

import sys

import numpy as np
from PIL import Image

import parsec_nas as pn

weights, *paths = sys.argv[1:]
with pn.Classifier(weights) as network:
    height, width, channels = network.image
    images = np.empty((len(paths), height, width, channels), np.uint8)
    for image, path in zip(images, paths):
        picture = Image.open(path).convert("RGB" if channels == 3 else "L")
        image[:] = np.asarray(picture.resize((width, height))).reshape(image.shape)
    for path, best in zip(paths, network.classify(images, top=3)):
        print(path + ": " + ", ".join(f"{name} {p:.1%}" for name, p in best))
