"""Checkpoints in the forms that people publish them in, and files that are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tnbench.core.errors import UsageError
from tnbench.stages.state_file import read_state


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_published_forms_of_a_checkpoint_are_read(
    tmp_path: Path, state: dict[str, torch.Tensor], wrapper: str | None, prefix: str
) -> None:
    named = {f"{prefix}{name}": value for name, value in state.items()}
    torch.save({wrapper: named, "epoch": 3} if wrapper else named, tmp_path / "c.th")
    read = read_state(tmp_path / "c.th")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_safetensors_are_read(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, tmp_path / "c.safetensors")
    assert read_state(tmp_path / "c.safetensors").keys() == state.keys()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"no file .*c\.th; give the path of a"),
        (b"not a checkpoint", r"c\.th cannot be read as weights"),
        (b"", r"c\.th cannot be read as weights"),
        (b"hi", r"c\.th cannot be read as weights \(KeyError\); wanted a state dict, saved by"),
        ([1, 2], r"got list, wanted a mapping of names to tensors"),
        ({"epoch": 3}, r"got a mapping with the keys \['epoch'\], wanted"),
    ],
)
def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path, content: object, said: str) -> None:
    file = tmp_path / "c.th"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(UsageError, match=said):
        read_state(file)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "evil"),))

    torch.save({"state_dict": Evil()}, tmp_path / "c.th")
    with pytest.raises(UsageError, match="cannot be read as weights"):
        read_state(tmp_path / "c.th")
    assert not (tmp_path / "evil").exists()


def test_a_whole_pickled_network_is_refused_with_the_way_round(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3), tmp_path / "c.pt")
    with pytest.raises(UsageError) as error:
        read_state(tmp_path / "c.pt")
    assert str(error.value).endswith(
        "c.pt cannot be read as weights: it holds more than tensors (torch.nn.modules.linear.Linear), such as a whole "
        "pickled network, and reading that would run its code; where you trust it, load it and save model.state_dict() "
        "alone"
    )
