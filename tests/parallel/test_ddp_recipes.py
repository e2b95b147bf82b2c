"""Recipes over two processes: each trains as in one, and a killed training goes on to the same bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tnbench.core.protocols import Augmentation, Crew, Guide, Normalisation, Recipe
from tnbench.engine.checkpoint import Checkpoint
from tnbench.engine.loop import RankFit, Watched, fit
from tnbench.parallel import ddp, single

PLAIN = Recipe(epochs=2, lr=0.1, batch_size=16, momentum=0.9, weight_decay=1e-2, seed=3)
PICTURES = 53

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "ema": {"ema": 0.8},
    "clip": {"clip": 0.05},
    "kernel": {"decay_on": "kernel"},
    "adamw": {"optimiser": "adamw", "lr": 0.01},
    "smooth": {"label_smoothing": 0.2, "schedule": "cosine"},
    "layout": {"channels_last": True},
}


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        chain = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.Conv2d(3, 4, 3))
        return nn.Sequential(chain, nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def train(crew: Crew, recipe: Mapping[str, Any], **more: Any) -> RankFit:
    drawn = torch.Generator().manual_seed(2)
    pictures = torch.randint(0, 256, (PICTURES, 2, 8, 8), generator=drawn, dtype=torch.uint8)
    labels = torch.randint(0, 3, (PICTURES,), generator=drawn)
    return fit(
        network(),
        pictures,
        labels,
        normalisation=Normalisation((0.5, 0.4), (0.2, 0.3)),
        augmentation=Augmentation(crop=1, flip=True),
        recipe=dataclasses.replace(PLAIN, **recipe),
        crew=crew,
        dtype=torch.float64,
        kernels={"0": (2, 3, 3)},
        watched=Watched(pictures, labels),
        **more,
    )


class Dies(Guide):
    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        if epoch == 1:
            raise KeyError("killed")
        return False


def work(crew: Crew, file: Path) -> dict[str, Any]:
    """All recipes in one launch, since launching takes seconds; then one that is killed and goes on."""
    found: dict[str, Any] = {name: train(crew, recipe) for name, recipe in RECIPES.items()}
    checkpoint = Checkpoint(file, "start")
    try:
        train(crew, {"ema": 0.8}, checkpoint=checkpoint, guide=Dies())
    except KeyError:
        crew.barrier()
    return {**found, "resumed": train(crew, {"ema": 0.8}, checkpoint=checkpoint), "notes": list(crew.notes)}


def test_two_processes_train_as_one_does_and_go_on_after_a_kill(tmp_path: Path) -> None:
    """In one test, so that the two processes are launched once."""
    shared = ddp.launch(partial(work, file=tmp_path / "shared.pt"), 2, ddp.Options(threads=1), "cpu", ())
    alone = single.launch(partial(work, file=tmp_path / "alone.pt"), None, None, "cpu", ())[0]
    for name in RECIPES:
        check_same(shared[0][name], alone[name], name)
    assert shared[1]["ema"].curve == [], "rank 0 alone looks at pictures after an epoch"
    resumed, whole = shared[0]["resumed"], shared[0]["ema"]
    assert resumed.loss == whole.loss
    assert all(torch.equal(value, resumed.state[name]) for name, value in whole.state.items())
    assert [len(rank["resumed"].epoch_s) for rank in shared] == [2, 2]
    assert any("resumed after epoch 1 of 2" in note for note in shared[0]["notes"])


def check_same(got: RankFit, wanted: RankFit, name: str) -> None:
    assert got.loss == pytest.approx(wanted.loss, rel=1e-9), name
    for key, weights in wanted.state.items():
        torch.testing.assert_close(got.state[key], weights, rtol=1e-7, atol=1e-9, msg=f"{key} with {name}")
    assert got.curve == wanted.curve
    assert len(got.curve) == 2
