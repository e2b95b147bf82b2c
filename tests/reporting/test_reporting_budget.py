import pytest

from tnbench.core.case import Case
from tnbench.reporting.budget import budget_gap, is_equal

METRICS = {"params_dense": 1000.0, "params_layers_dense": 800.0, "params_nonzero": 390.0}


def case(rank: str) -> Case:
    return Case("svd", rank, "cnn8", "digits", "none", "single")


@pytest.mark.parametrize(
    ("rank", "budget"), [("net-x2.5", 400.0), ("x4", 1000 - 800 * 0.75), ("x4[multiple=8]", 400.0), ("net-x4", 250.0)]
)
def test_gap_is_relative_to_what_the_rank_aims_at(rank: str, budget: float) -> None:
    assert budget_gap(case(rank), METRICS) == pytest.approx(100 * (390 / budget - 1))


@pytest.mark.parametrize("rank", ["k16", "e0.9", "vbmf", "full", "acc-d1", "flops-x2"])
def test_other_ranks_aim_at_no_parameters(rank: str) -> None:
    assert budget_gap(case(rank), METRICS) is None


def test_a_record_without_counts_has_no_gap() -> None:
    assert budget_gap(case("x4"), {}) is None


def test_equal_is_from_two_per_cent_below_to_the_budget() -> None:
    assert [is_equal(gap) for gap in (-2.1, -2.0, -0.5, 0.0, 0.1)] == [False, True, True, True, False]
