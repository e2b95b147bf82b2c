import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from peak_bytes import PeakBytes
from torch import Tensor

from tnbench.linalg import tt, with_tensorly
from tnbench.linalg.blockwise import blocks, gram
from tnbench.linalg.tt_matrix import contract, tt_matrix

MODES = st.integers(2, 4).flatmap(
    lambda d: st.tuples(*(st.lists(st.integers(1, 4), min_size=d, max_size=d).map(tuple) for _ in range(2)))
)


def sizes_of(rows: tuple[int, ...], columns: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(m * n for m, n in zip(rows, columns, strict=True))


def planted(rows: tuple[int, ...], columns: tuple[int, ...], ranks: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    bonds = (1, *ranks, 1)
    return contract(
        [
            torch.randn(bonds[j], m, n, bonds[j + 1], generator=generator, dtype=torch.float64)
            for j, (m, n) in enumerate(zip(rows, columns, strict=True))
        ]
    )


@settings(max_examples=30, deadline=None)
@given(MODES, st.floats(0.0, 1.0), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_shapes_dtype_and_error(
    modes: tuple[tuple[int, ...], tuple[int, ...]], part: float, dtype: torch.dtype
) -> None:
    rows, columns = modes
    sizes = sizes_of(rows, columns)
    ranks = tt.useful_ranks(sizes, [max(1, round(part * rank)) for rank in tt.largest_ranks(sizes)])
    matrix = planted(rows, columns, tt.largest_ranks(sizes)).to(dtype)
    before = matrix.clone()
    cores = tt_matrix(matrix, rows, columns, ranks)
    assert torch.equal(matrix, before)
    assert [tuple(core.shape) for core in cores] == list(zip((1, *ranks), rows, columns, (*ranks, 1), strict=True))
    assert {core.dtype for core in cores} == {dtype}
    if ranks == tt.largest_ranks(sizes):
        limit = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.03}[dtype]
        assert error(matrix.double(), contract([core.double() for core in cores])) < limit


@pytest.mark.parametrize("ranks", [(3, 5), (8, 9), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_tensorly(ranks: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = trained_like(24, 60).to(dtype)
    ours, theirs = (
        error(matrix, contract(solve(matrix, (2, 3, 4), (5, 4, 3), ranks)))
        for solve in (tt_matrix, with_tensorly.tt_matrix)
    )
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_both_find_a_planted_train() -> None:
    matrix = planted((4, 3, 5), (3, 4, 2), (3, 2))
    for solve in (tt_matrix, with_tensorly.tt_matrix):
        assert error(matrix, contract(solve(matrix, (4, 3, 5), (3, 4, 2), (3, 2)))) < 1e-12


def test_zeros_and_equal_rows() -> None:
    assert not contract(tt_matrix(torch.zeros(6, 8), (2, 3), (2, 4), (3,))).any()
    same = torch.ones(6, 8, dtype=torch.float64)
    assert error(same, contract(tt_matrix(same, (2, 3), (2, 4), (3,)))) < 1e-12


@pytest.mark.parametrize("ranks", [(4, 4, 4), (12, 30, 12)])
def test_tensors_take_at_most_three_times_the_matrix(ranks: tuple[int, int, int]) -> None:
    matrix = torch.randn(4096, 2048, generator=torch.Generator().manual_seed(0))
    with PeakBytes() as peak:
        cores = tt_matrix(matrix, (8, 8, 8, 8), (8, 8, 8, 4), ranks)
    assert [core.shape[3] for core in cores] == [*ranks, 1]
    matrices = peak.most / (matrix.numel() * matrix.element_size())
    assert matrices <= 3


def test_gram_sums_in_float64_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tnbench.linalg.blockwise._ENTRIES", 1000)
    matrix = trained_like(300, 70).float()
    assert len(list(blocks(70, 300))) > 20
    wanted = matrix.double() @ matrix.double().T
    assert torch.allclose(gram(matrix), wanted, rtol=0, atol=1e-15 * float(wanted.abs().max()) * 100)
    assert gram(matrix).dtype == torch.float64
