#!/usr/bin/env python3
"""Draws pictures of circles, crosses, squares and triangles: a folder for each, PNG files in it."""

import argparse
import pathlib
import random
import struct
import zlib

EDGE = 32
SHAPES = {  # whether a point is inside, measured in radii from the middle
    "circle": lambda x, y: x * x + y * y < 0.8,
    "cross": lambda x, y: min(abs(x), abs(y)) < 0.25 and max(abs(x), abs(y)) < 1,
    "square": lambda x, y: max(abs(x), abs(y)) < 0.75,
    "triangle": lambda x, y: y < 0.7 and abs(x) < (y + 1) / 1.7,
}


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows):
    """Rows of bytes, three for each pixel, as a PNG file."""
    header = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) +
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) +
            chunk(b"IEND", b""))


def picture(draw, inside):
    """Rows of one shape anywhere, of any size and colour, before another colour, with noise."""
    radius = draw.uniform(6, 12)
    x0, y0 = (draw.uniform(radius, EDGE - radius) for _ in "xy")
    back = [draw.randrange(256) for _ in "rgb"]
    front = [(c + draw.randrange(90, 166)) % 256 for c in back]
    rows = []
    for y in range(EDGE):
        row = bytearray()
        for x in range(EDGE):
            colour = front if inside((x - x0) / radius, (y - y0) / radius) else back
            row += bytes(min(255, max(0, c + draw.randrange(-20, 21))) for c in colour)
        rows.append(bytes(row))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=150, help="pictures of each shape")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=pathlib.Path, help="the last one, also as a PPM file")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    for name, inside in SHAPES.items():
        (options.folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(options.count):
            file = options.folder / name / f"{i:04d}.png"
            rows = picture(draw, inside)
            file.write_bytes(png(rows))
    if options.sample:
        options.sample.write_bytes(b"P6\n%d %d\n255\n" % (EDGE, EDGE) + b"".join(rows))
    print(f"{options.folder}: {options.count} pictures of each of {', '.join(SHAPES)}")


if __name__ == "__main__":
    main()
