from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Normalisation, Pictures, Published
from tnbench.core.registry import Registry
from tnbench.engine.files import Files
from tnbench.models import tv
from tnbench.stages.importing import check_finite, check_keys, check_sizes, fetch_published, import_baseline
from tnbench.store.checkpoints import load_state
from tnbench.store.records import Store


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


PLUGIN = '''"""One linear layer, whose published files call it fc."""
from torch import nn

KIND = "model"
VERSION = 1


def build(name, options, in_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def keep_dense(model):
    return ()


def from_published(state):
    return {key.replace("fc", "1"): value for key, value in state.items() if not key.startswith("aux")}
'''


def test_a_model_may_read_published_files_in_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(PLUGIN)
    torch.save({"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10), "aux": torch.ones(1)}, tmp_path / "c.pt")
    baseline = import_baseline(
        tmp_path / "c.pt",
        model="flat",
        dataset="digits",
        normalisation=None,
        data_root=tmp_path,
        results=tmp_path / "results",
        registry=Registry([tmp_path / "flat.py"]),
    )
    assert load_state(tmp_path / "results", baseline.digest).keys() == {"1.weight", "1.bias"}


def test_weights_are_fetched_by_the_models_own_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(options: tv.Options, weights: str) -> Published:
        return Published(Path(f"{options.bare[0]}-{weights}.pth"), "half", 224, 256)

    monkeypatch.setattr(tv, "fetch_weights", fetched)
    assert fetch_published("tv[resnet18]", "DEFAULT", Registry()).file == Path("resnet18-DEFAULT.pth")


def evaluated_at(side: int, short: int) -> Pictures:
    files = Files(Path("val"), np.array([b"a.png"]), side, short)
    labels = torch.zeros(1, dtype=torch.int64)
    return Pictures(files, labels, files, labels, 1000, "digest", Normalisation((0.5,), (0.5,)))


def test_weights_for_pictures_of_another_size_are_refused() -> None:
    published = Published(Path("resnet50-11ad3fa6.pth"), "imagenet", 224, 232)
    check_sizes(published, evaluated_at(224, 232), "imagenet[short=232]")
    with pytest.raises(UsageError) as error:
        check_sizes(published, evaluated_at(224, 256), "imagenet")
    assert str(error.value) == (
        "--weights: resnet50-11ad3fa6.pth is for the centre of 224 pixels of pictures whose shorter side has 232, and "
        "imagenet is evaluated at 224 of 256; give the data set the options side=224,short=232, or take FILE "
        "resnet50-11ad3fa6.pth to evaluate it as it is"
    )


def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(UsageError, match=r"--weights: cnn8 has none to download; give a FILE, or take .* tv\[NAME\]"):
        fetch_published("cnn8", "DEFAULT", Registry())


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
