#!/usr/bin/python3
"""Loads weights that parsec-nas exported into PyTorch, and shows that both compute the same.

    parsec-nas export DIR/seed-1 --safetensors w.safetensors
    parsec-nas eval w.safetensors --data D --logits l.npy
    examples/load_in_pytorch.py w.safetensors l.npy D/test_batch.bin

The file has the names and shapes of the public DARTS code: with that at hand,
    network.load_state_dict(read("w.safetensors")[1], strict=True)
is all it takes. Here the network is torch_network.evaluation, which asks for every tensor by its
public name; what it asked for, and a num_batches_tracked beside each running_mean, must be all that
the file holds. The third file is CIFAR-10's. Exits with 1 if the keys or the logits (by more than
1e-4) differ.
"""

import argparse
import json
import os
import struct
import sys

import numpy
import torch

# Installed it lies beside this file, in the sources with what else is compared with PyTorch.
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench/peers"))
import torch_network as net  # noqa: E402

TYPES = {"F32": numpy.float32, "I64": numpy.int64}
MEAN, STD = (.4914, .4822, .4465), (.2470, .2435, .2616)


def read(path):
    """Metadata and tensors of a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    meta = header.pop("__metadata__")
    return meta, {name: torch.from_numpy(numpy.frombuffer(
        data[slice(*a["data_offsets"])], TYPES[a["dtype"]]).reshape(a["shape"]).copy())
        for name, a in header.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("weights")
    p.add_argument("logits")
    p.add_argument("images")
    p.add_argument("--count", type=int, default=500, help="images to compare [500]")
    o = p.parse_args()
    meta, tensors = read(o.weights)
    network, asked = json.loads(meta["network"]), set()

    def weight(name, shape):
        asked.add(name)
        assert tensors[name].shape == tuple(shape), f"{name} is {tensors[name].shape}, not {shape}"
        return tensors[name]

    raw = numpy.fromfile(o.images, numpy.uint8).reshape(-1, 3073)[:o.count]
    images = torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32) / numpy.float32(255))
    mean, std = (torch.tensor(x)[:, None, None] for x in (MEAN, STD))
    with torch.no_grad():
        logits, _ = net.evaluation(weight, meta["genotype"], network["layers"], network["channels"],
                                   network["classes"], (images - mean) / std, training=False,
                                   imagenet=network["stem"] == "imagenet",
                                   auxiliary=network["auxiliary"],
                                   pool_norm=network.get("pool_norm", False))
    asked |= {name.replace("running_mean", "num_batches_tracked")
              for name in asked if name.endswith("running_mean")}
    difference = (logits - torch.from_numpy(numpy.load(o.logits)[:o.count])).abs().max().item()
    print(f"{len(tensors)} tensors, {len(set(tensors) - asked)} left over, "
          f"{len(asked - set(tensors))} missing; largest difference of a logit {difference:.1e} "
          f"of {logits.abs().max().item():.1f}")
    sys.exit(set(tensors) != asked or not difference < 1e-4)


if __name__ == "__main__":
    main()
