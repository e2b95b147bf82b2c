"""Kernels with the decaying spectra of trained ones."""

import torch
from torch import Tensor


def trained_like(*shape: int, seed: int = 0) -> Tensor:
    """A float64 kernel whose channel and spatial modes decay like 1/n."""
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(*shape, generator=generator, dtype=torch.float64)
    for mode, side in enumerate(shape):
        basis = torch.linalg.qr(torch.randn(side, side, generator=generator, dtype=torch.float64)).Q
        decaying = basis / torch.arange(1, side + 1)
        kernel = torch.tensordot(decaying, kernel, dims=([1], [mode])).movedim(0, mode)
    return kernel


def error(kernel: Tensor, approximation: Tensor) -> float:
    """||W - W~|| / ||W||."""
    return float(torch.dist(kernel, approximation) / kernel.norm())
