"""Pictures in files, made for tests: number i is a dark gradient with a red channel of i."""

import os

import numpy as np
from PIL import Image

from tnbench.engine.files import Files


def write_pictures(folder, n, size=(20, 16)):
    """`n` PNG files of `size` (width, height) under `folder`, as stored pictures of 8x8 evaluated at 10."""
    width, height = size
    names = []
    for number in range(n):
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        pixels[..., 0], pixels[..., 1] = number, np.linspace(0, 255, width).astype(np.uint8)
        names.append(f"{number:04}.png")
        Image.fromarray(pixels).save(folder / names[-1])
    return Files(folder, np.array([os.fsencode(name) for name in names]), side=8, short=10)
