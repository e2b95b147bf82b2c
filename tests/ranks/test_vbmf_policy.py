from typing import Any

import pytest
import torch
from rank_probes import Probe, Scratch, candidate

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom
from tnbench.core.protocols import KeepDense
from tnbench.core.registry import Registry
from tnbench.methods import svd, tt, tucker2
from tnbench.ranks import vbmf


def noisy(method: Any, ranks: tuple[int, ...], *shape: int) -> torch.Tensor:
    """A weight of these ranks under noise of a twentieth of it."""
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(*shape, generator=generator, dtype=torch.float64)
    exact = method.dense(method.factorise(kernel, ranks, seed=0, options=method.Options()))
    noise = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return exact + 0.05 * exact.std() * noise


@pytest.mark.parametrize(("method", "ranks"), [(svd, (6,)), (tucker2, (5, 7)), (tt, (4, 9, 6))])
def test_planted_ranks_are_found(method: Any, ranks: tuple[int, ...]) -> None:
    shape = (48, 40, 3, 3)
    probe = Probe(method, {"conv": noisy(method, ranks, *shape)})
    assert vbmf.choose("vbmf", vbmf.Options(), [candidate(method, shape)], probe) == [ranks]


def test_weakened_ranks_lie_between_the_largest_and_those_found() -> None:
    probe = Probe(tucker2, {"conv": noisy(tucker2, (5, 7), 48, 40, 3, 3)})
    layer = candidate(tucker2, (48, 40, 3, 3))
    assert vbmf.choose("vbmf", vbmf.Options(weaken=0.8), [layer], probe) == [(12, 16)]
    assert vbmf.choose("vbmf", vbmf.Options(weaken=0.8, multiple=8), [layer], probe) == [(8, 16)]


def test_noise_alone_has_rank_one_never_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {"noise": torch.randn(32, 32, 3, 3, generator=generator), "zero": torch.zeros(32, 32, 3, 3)}
    layers = [candidate(tucker2, (32, 32, 3, 3), name) for name in weights]
    assert vbmf.choose("vbmf", vbmf.Options(), layers, Probe(tucker2, weights)) == [(1, 1), (1, 1)]


def test_ranks_that_save_no_weights_stay_dense() -> None:
    kernel = noisy(svd, (1,), 2, 2)
    (choice,) = vbmf.choose("vbmf", vbmf.Options(), [candidate(svd, (2, 2))], Probe(svd, {"conv": kernel}))
    assert choice == KeepDense("rank 1 would take 4 weights, dense takes 4")


def test_from_scratch_the_reason_comes_through() -> None:
    with pytest.raises(NotApplicable, match="training starts from scratch"):
        vbmf.choose("vbmf", vbmf.Options(), [candidate(svd, (9, 9))], Scratch())


def test_options_are_read_and_checked() -> None:
    bound = Registry().bind("rank", Atom("vbmf", options=(("weaken", "0.8"),)))
    assert bound.options == vbmf.Options(weaken=0.8)
    with pytest.raises(UsageError, match=r"rank vbmf: got weaken = 1\.2, wanted a number above 0 and up to 1"):
        vbmf.Options(weaken=1.2)
