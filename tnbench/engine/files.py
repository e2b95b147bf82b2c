"""Pictures in files, decoded when asked for, which look like a tensor to who indexes them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from tnbench.core.errors import TnbenchError
from tnbench.engine.resized_crop import drawn_parts

CHANNELS = 3


@dataclass(frozen=True, eq=False)
class Files:
    """Colour pictures in the files `names` (N,) under `folder`; `side` and `short` are in pixels.

    They are evaluated as ImageNet's are: the shorter side resized to `short` (bilinear, antialiased), and the
    `side` x `side` square in the centre. `names` are bytes in one array, which worker processes share.
    """

    folder: Path
    names: np.ndarray[Any, np.dtype[np.bytes_]]
    side: int
    short: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W), as of a tensor."""
        return (len(self.names), CHANNELS, self.side, self.side)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """The pictures at `indices` (n,), as they are evaluated: uint8 (n, 3, side, side).

        Raises TnbenchError naming the first file that is no picture.
        """
        return torch.cat([self._no_picture(), *(self._centre(self._decoded(int(index))) for index in indices)])

    def read_parts(self, indices: Tensor, least: float, *, seed: int, epoch: int) -> Tensor:
        """Of each picture a random part of at least the share `least` of its area, resized: (n, 3, side, side)."""
        found = [self._no_picture()]
        for index in indices.cpu():
            picture = self._decoded(int(index))
            width, height = (torch.tensor([length]) for length in picture.size)
            (part,) = drawn_parts(index[None], height, width, least, seed=seed, epoch=epoch).tolist()
            found.append(_tensor(transforms.resized_crop(picture, *part, [self.side, self.side], antialias=True)))
        return torch.cat(found)

    def subset(self, indices: Tensor) -> Files:
        """The pictures at `indices`, unread."""
        return replace(self, names=self.names[indices.numpy()])

    def to(self, device: torch.device) -> Files:
        """These files: pictures go to a device as they are read."""
        return self

    def _no_picture(self) -> Tensor:
        return torch.empty(0, *self.shape[1:], dtype=torch.uint8)

    def _decoded(self, index: int) -> Image.Image:
        path = self.folder / os.fsdecode(self.names[index])
        try:
            with Image.open(path) as picture:
                return picture.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            why = f"{path} cannot be read as a picture ({error})"
            raise TnbenchError(f"{why}; put an undamaged file in its place") from None

    def _centre(self, picture: Image.Image) -> Tensor:
        return _tensor(transforms.center_crop(transforms.resize(picture, [self.short], antialias=True), [self.side]))


def _tensor(picture: Image.Image) -> Tensor:
    """(1, 3, H, W), uint8."""
    tensor: Tensor = transforms.pil_to_tensor(picture)
    return tensor[None]
