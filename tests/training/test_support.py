"""Which training goes with which method: the table of docs/training.md, held against what the code says and does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import Atom
from tnbench.core.registry import Bound, Registry
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.parts import check_factors, expanded, factor_names, parts_of
from tnbench.engine.swapped import Swapped
from tnbench.training._manifolds import TRAIN, TUCKER, check_manifolds

REGISTRY = Registry()
PAGE = Path(__file__).parents[2] / "docs" / "training.md"
SERVED_BY_ALL = ("none", "bn", "finetune", "distill", "scratch", "warmup-scratch")


def network() -> nn.Sequential:
    """Layers of each kind that any method serves; it is never run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Conv2d(8, 8, side, padding=side // 2) for side in (3, 3, 1)), nn.Linear(16, 16))


def swapped_by(method: Bound) -> Swapped:
    rank = REGISTRY.bind("rank", Atom("full" if method.atom.name == "dense" else "x2"))
    return swap_layers(network(), [method], rank, Conditions())


def check_projections(swapped: Swapped) -> None:
    layers = network()
    for part in parts_of(swapped, seed=0):
        weights = [layers.get_submodule(name).weight.detach() for name in part.layers]
        near = part.project(weights)
        assert [one.shape for one in near] == [weight.shape for weight in weights]


CHECKS = {
    "iterative": lambda swapped: expanded(swapped, factor_names(swapped)),
    "admm": check_projections,
    "freeze": lambda swapped: check_factors(swapped, factor_names(swapped)),
    "riemannian": lambda swapped: check_manifolds("riemannian", parts_of(swapped, seed=0), (*TUCKER, *TRAIN)),
    "dlrt": lambda swapped: check_manifolds("dlrt", parts_of(swapped, seed=0), TUCKER),
}


def served(method: Bound) -> set[str]:
    """The trainings of CHECKS that go with the method."""
    if method.scope == "network":
        return set()
    swapped, found = swapped_by(method), set()
    for training, check in CHECKS.items():
        try:
            check(swapped)
            found.add(training)
        except NotApplicable:
            continue
    return found


def table() -> dict[str, dict[str, bool]]:
    """Method -> training -> whether the page says that they go together."""
    rows = [
        [cell.strip(" `") for cell in line.strip("|\n").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| ")
    ]
    (head,) = (row for row in rows if row[0] == "method")
    start = rows.index(head) + 1
    return {
        row[0]: dict(zip(head[1:], (cell == "yes" for cell in row[1:]), strict=True))
        for row in rows[start:]
        if len(row) == len(head) and not set(row[0]) <= set("- ")
    }


def test_the_page_has_every_training_and_every_method():
    methods = {listing.name for listing in REGISTRY.listings("method")}
    trainings = {listing.name for listing in REGISTRY.listings("training")}
    assert table().keys() == methods
    assert all(row.keys() == set(CHECKS) for row in table().values())
    assert trainings == {*CHECKS, *SERVED_BY_ALL}
    assert all(f"`{name}`" in PAGE.read_text() for name in trainings)


@pytest.mark.parametrize("method", [listing.name for listing in REGISTRY.listings("method")])
def test_the_pages_row_is_what_the_code_says(method):
    row = table()[method]
    assert {training for training, yes in row.items() if yes} == served(REGISTRY.bind("method", Atom(method)))


@pytest.mark.parametrize("training", ["finetune", "scratch", "iterative", "admm", "distill"])
@pytest.mark.parametrize("method", ["svd", "tucker2", "tt", "cp3[iters=2]"])
def test_the_main_methods_run_under_the_main_trainings(digits, method, training):
    only = f"{method.removesuffix(']')}{',' if '[' in method else '['}only=conv2]"
    model, tools = digits.run(only, training, limit_train=64)
    assert sum(len(fit.loss) for fit in tools.fits) == 3
    assert model is tools.decompositions[-1].model
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 1, 8, 8)).isfinite().all()


@pytest.mark.parametrize(
    ("method", "training", "said"),
    [
        ("tt[only=conv2]", "dlrt", "training dlrt keeps weights on a manifold, which is known for svd, tucker2, tuc"),
        ("magnitude", "riemannian", "known for svd, tucker2, tucker, tt, not for magnitude"),
        ("filter_l1", "admm", "filter_l1 makes a whole new network"),
    ],
)
def test_where_it_does_not_go_the_case_is_skipped_with_a_reason(digits, method, training, said):
    with pytest.raises(NotApplicable, match=said):
        digits.run(method, training)
