"""Random numbers from a counter: each depends on its key and its index alone, on every device and in every batch.

The mixing function is SplitMix64's finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
OOPSLA 2014). 64-bit words are kept in int64 tensors, whose products and sums wrap around as unsigned ones do.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = (1 << 64) - 1


def key(*words: int) -> int:
    """One 64-bit word that stands for several whole numbers in their order, such as (seed, epoch)."""
    state = 0
    for word in words:
        state = _mixed_int((state + _STEP + word) & _WORD)
    return state


def draw(stream: int, index: Tensor, below: int) -> Tensor:
    """A whole number in [0, `below`) for each of `index` (int64, any shape), all independent between streams.

    `stream` is a `key`. `below` is at most 2**31; the numbers are uniform to within `below` / 2**31.
    """
    state = index * _signed(_STEP) + _signed(stream)
    state = (state ^ _shifted(state, 30)) * _signed(_FIRST)
    state = (state ^ _shifted(state, 27)) * _signed(_SECOND)
    return _shifted(state ^ _shifted(state, 31), 33).remainder(below)


def permutation(stream: int, n: int) -> Tensor:
    """A random order of the n numbers from 0 on: int64 (n,) on the CPU, without touching torch's global generator."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(stream))


def _mixed_int(state: int) -> int:
    state = ((state ^ (state >> 30)) * _FIRST) & _WORD
    state = ((state ^ (state >> 27)) * _SECOND) & _WORD
    return state ^ (state >> 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """`state` >> `bits`, filled with zeros as for unsigned words."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    """The int64 that has the bits of an unsigned 64-bit `word`."""
    return word - (1 << 64) if word >> 63 else word
