from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry
from tnbench.stages.importing import check_finite, check_keys, import_baseline, read_state
from tnbench.store.records import Store


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
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


def test_the_first_mismatching_keys_are_named() -> None:
    wanted = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict()
    got = {name: value for name, value in wanted.items() if "num_batches" not in name}
    check_keys(wanted, got, Path("c.th"), "m")
    got["0.weight"] = torch.ones(4, 2)
    got["more"] = got.pop("1.bias")
    with pytest.raises(UsageError) as error:
        check_keys(wanted, got, Path("c.th"), "m")
    assert str(error.value) == (
        "checkpoint c.th is no m: missing: 1.bias; not wanted: more; of another shape: 0.weight is (4, 2), not (3, 2); "
        "check --model and --dataset"
    )


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UsageError, match=r"c\.th: b is not finite; its training diverged"):
        check_finite({"a": torch.ones(2), "b": torch.tensor([1.0, torch.nan])}, Path("c.th"))


def test_another_architectures_checkpoint_is_refused_and_nothing_written(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "c.th")
    with pytest.raises(UsageError, match=r"is no cnn8: missing: "):
        import_baseline(
            tmp_path / "c.th",
            model="cnn8",
            dataset="digits",
            normalisation=None,
            data_root=tmp_path,
            results=tmp_path / "results",
            registry=Registry(),
        )
    assert not (tmp_path / "results").exists()


def test_made_up_labels_take_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "c.th")
    with pytest.raises(UsageError, match=r"synthetic has made-up labels"):
        import_baseline(
            tmp_path / "c.th",
            model="resnet8",
            dataset="synthetic",
            normalisation=None,
            data_root=tmp_path,
            results=tmp_path / "results",
            registry=Registry(),
        )
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "model", "params", "correct"),
    [
        ("resnet20-12fca82f.th", "resnet20", 269_722, 9_173),
        ("resnet32-d509ac18.th", "resnet32", 464_154, 9_263),
    ],
)
def test_published_checkpoints_classify_what_was_published(
    tmp_path: Path, cifar10: Path, checkpoints: Path, file: str, model: str, params: int, correct: int
) -> None:
    baseline = import_baseline(
        checkpoints / "akamaster-pytorch_resnet_cifar10" / file,
        model=model,
        dataset="cifar10",
        normalisation="imagenet",
        data_root=cifar10,
        results=tmp_path,
        registry=Registry(),
    )
    assert baseline.metrics == {"top1": correct / 100, "correct": correct, "test_pictures": 10_000}
    assert Store(tmp_path).baselines() == [baseline]
