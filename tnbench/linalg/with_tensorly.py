"""The same decompositions by TensorLy, on the CPU in NumPy, whatever backend the process has chosen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from numpy.linalg import LinAlgError
from torch import Tensor

from tnbench.core.errors import NotApplicable


def low_rank(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """As `tnbench.linalg.low_rank.low_rank`, by `tensorly.tenalg.svd_interface`."""
    with _tensorly():
        from tensorly.tenalg import svd_interface

        left, values, right = svd_interface(_array(matrix), n_eigenvecs=rank)
    return _tensor(left, matrix), _tensor(values[:, None] * right, matrix)


def tt_svd(tensor: Tensor, ranks: Sequence[int]) -> tuple[Tensor, ...]:
    """As `tnbench.linalg.tt.tt_svd`, by `tensorly.decomposition.tensor_train`."""
    with _tensorly():
        from tensorly.decomposition import tensor_train

        cores = tensor_train(_array(tensor), [1, *ranks, 1])
    return tuple(_tensor(core, tensor) for core in cores)


def tt_matrix(matrix: Tensor, rows: Sequence[int], columns: Sequence[int], ranks: Sequence[int]) -> tuple[Tensor, ...]:
    """As `tnbench.linalg.tt_matrix.tt_matrix`, by `tensorly.decomposition.tensor_train_matrix`."""
    precise = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    with _tensorly():
        from tensorly.decomposition import tensor_train_matrix

        cores = tensor_train_matrix(_array(precise.reshape(*rows, *columns)), [1, *ranks, 1])
    return tuple(_tensor(core, matrix) for core in cores)


def tensor_ring(tensor: Tensor, ranks: Sequence[int]) -> tuple[Tensor, ...]:
    """As `tnbench.linalg.tensor_ring.ring_svd`, by `tensorly.decomposition.tensor_ring`.

    Ranks above those of the matrices at their bonds come back cut.
    """
    with _tensorly():
        from tensorly.decomposition import tensor_ring as solve

        cores = solve(_array(tensor), [*ranks, ranks[0]])
    return tuple(_tensor(core, tensor) for core in cores)


def tensor_ring_als(tensor: Tensor, ranks: Sequence[int], *, seed: int) -> tuple[Tensor, ...]:
    """As `tnbench.linalg.tensor_ring.ring_als` from random cores, by TensorLy's `tensor_ring_als` at its defaults."""
    with _tensorly():
        from tensorly.decomposition import tensor_ring_als as solve

        cores = solve(_array(tensor), [*ranks, ranks[0]], random_state=seed)
    return tuple(_tensor(core, tensor) for core in cores)


def hooi(tensor: Tensor, ranks: Sequence[int], modes: Sequence[int]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As `tnbench.linalg.tucker.hooi`, by `tensorly.decomposition.partial_tucker`.

    Its default tolerance stops well before convergence, so a tighter one is given; and it mixes up modes that are not
    in rising order.
    """
    rising = sorted(modes)
    wanted = [ranks[list(modes).index(mode)] for mode in rising]
    with _tensorly():
        from tensorly.decomposition import partial_tucker

        (core, factors), _ = partial_tucker(_array(tensor), wanted, modes=rising, tol=1e-6)
    return _tensor(core, tensor), tuple(_tensor(factors[rising.index(mode)], tensor) for mode in modes)


def cp(tensor: Tensor, rank: int, *, seed: int, max_sweeps: int = 100) -> tuple[Tensor, ...]:
    """Columns as `tnbench.linalg.cp.cp_als` gives them, for any number of modes, by `tensorly.decomposition.parafac`.

    Its defaults, at most 100 sweeps among them, are kept.
    Raises NotApplicable where it meets a singular system, as in kernels of zeros.
    """
    with _tensorly():
        from tensorly.decomposition import parafac

        try:
            weights, factors = parafac(_array(tensor), rank, n_iter_max=max_sweeps, random_state=seed)
        except LinAlgError as error:
            raise NotApplicable(f"TensorLy's parafac met a {error}; take cp's own solver als") from None
    columns = [_tensor(factor, tensor) for factor in factors]
    return columns[0] * _tensor(weights, tensor), *columns[1:]


@contextmanager
def _tensorly() -> Iterator[None]:
    """NumPy as TensorLy's backend in this thread alone, without warnings of ranks above a side and of zeros."""
    from tensorly.backend import BackendManager

    chosen = BackendManager.current_backend()
    BackendManager.set_backend("numpy", local_threadsafe=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        BackendManager.set_backend(chosen, local_threadsafe=True)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def _tensor(array: Any, like: Tensor) -> Tensor:
    return torch.as_tensor(array, dtype=like.dtype, device=like.device).contiguous()
