"""Records what Pillow makes of images of 96×96 pixels when it scales them to 32×32: tests/golden/stl10.safetensors.

    python tools/record_stl10.py tests/golden/stl10.safetensors

It needs Pillow and nothing else. torchvision's Resize(32) calls the same function on such images.
"""

import json
import random
import struct
import sys

from PIL import Image, __version__

BEFORE, AFTER = 96, 32


def noise(x, y, c, draw=random.Random(1)):
    return draw.randrange(256)


def extremes(x, y, c, draw=random.Random(2)):
    """Black and white only, so that sums come near both ends and near every half."""
    return draw.choice([0, 255])


def slopes(x, y, c):
    """Smooth, other in every direction and channel."""
    return (2 * x + [1, 0, 3][c] * y + x * y // 16) % 256


def edges(x, y, c):
    """White along the border, where fewer pixels are averaged, and black inside."""
    return 255 if min(x, y, BEFORE - 1 - x, BEFORE - 1 - y) < 1 + c else 0


def main(path):
    before, after = bytearray(), bytearray()
    pictures = [noise, extremes, slopes, edges]
    for value in pictures:
        pixels = bytes(value(x, y, c) for y in range(BEFORE) for x in range(BEFORE) for c in range(3))
        image = Image.frombytes("RGB", (BEFORE, BEFORE), pixels)
        before += pixels
        after += image.resize((AFTER, AFTER), Image.Resampling.BILINEAR).tobytes()
    tensors = {"in_u8": (BEFORE, before), "out_u8": (AFTER, after)}
    header, start = {"__metadata__": {"pillow": __version__}}, 0
    for name, (side, values) in tensors.items():
        end = start + len(values)
        header[name] = {"dtype": "U8", "shape": [len(pictures), side, side, 3], "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + before + after)


main(sys.argv[1])
