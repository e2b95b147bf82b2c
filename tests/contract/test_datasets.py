"""Every registered data set keeps the contract, and the contract can be broken."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tnbench.core.errors import UsageError
from tnbench.core.grammar import Atom
from tnbench.core.protocols import Normalisation, Pictures, Wanted
from tnbench.core.registry import Registry
from tnbench.testing.datasets import check_dataset, check_dataset_absent, check_digest_without_torch

REGISTRY = Registry()
NAMES = [listing.name for listing in REGISTRY.listings("dataset")]


@pytest.fixture(params=NAMES)
def bound(request):
    return REGISTRY.bind("dataset", Atom(request.param))


@pytest.fixture
def root(bound, tmp_path):
    """A data root with what the data set wants; where that is nothing, any folder will do."""
    name = bound.atom.name
    if not bound.module.wanted(name, bound.options, tmp_path):
        return tmp_path
    if "TNBENCH_DATA" not in os.environ:
        pytest.skip(f"TNBENCH_DATA is not set: no real {name} here")
    root = Path(os.environ["TNBENCH_DATA"])
    if any(file.found is None for file in bound.module.wanted(name, bound.options, root)):
        pytest.skip(f"TNBENCH_DATA={root} has no {name}")
    return root


def test_keeps_the_contract(bound, root):
    check_dataset(bound.module, bound.atom.name, root, options=bound.options)


def test_keeps_the_contract_without_its_files(bound):
    check_dataset_absent(bound.module, bound.atom.name, options=bound.options)


def test_plans_without_torch(bound, root):
    check_digest_without_torch(bound.module, bound.atom.name, root)


class Sound:
    """A sound plug-in over one file of one picture's pixels, whose parts the broken ones replace."""

    VERSION = 1
    changes: dict = {}  # noqa: RUF012
    loads = 0

    def load(self, name, options, root):
        self.digest(name, options, root)
        pixels = torch.tensor(list((root / "toy").read_bytes()), dtype=torch.uint8).view(1, 1, 2, 2)
        labels = torch.tensor([1])
        sound = Pictures(pixels, labels, pixels, labels, 2, "d1", Normalisation((0.5,), (0.5,)))
        return replace(sound, **{part: change(getattr(sound, part)) for part, change in self.changes.items()})

    def digest(self, name, options, root):
        (file,) = self.wanted(name, options, root)
        if file.found is None:
            raise UsageError(f"{file.paths[0]} is not there; tnbench data fetch {name}")
        return "d1"

    def wanted(self, name, options, root):
        file = root / "toy"
        return [Wanted("toy", (file,), file if file.exists() else None)]


def changed(**changes):
    return type("Changed", (Sound,), {"changes": changes})


class ForgetsTheFile(Sound):
    def wanted(self, name, options, root):
        return [Wanted("toy", (root / "toy",), None)]

    def digest(self, name, options, root):
        return "d1"


class DigestsTwice(Sound):
    calls = 0

    def digest(self, name, options, root):
        self.calls += 1
        return f"d{self.calls}"


class LoadsAtRandom(Sound):
    def load(self, name, options, root):
        self.loads += 1
        pictures = super().load(name, options, root)
        return replace(pictures, train=pictures.train + self.loads)


class WritesIntoTheRoot(Sound):
    def load(self, name, options, root):
        (root / "cache").write_text("left behind")
        return super().load(name, options, root)


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy").write_bytes(bytes([1, 2, 3, 4]))
    return tmp_path


def test_a_sound_plugin_passes(toy):
    check_dataset(Sound(), "toy", toy)
    check_dataset_absent(Sound(), "toy")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (changed(train=torch.Tensor.float), "train: got pictures of torch.float32, wanted torch.uint8"),
        (changed(test=lambda pictures: pictures[0]), r"test: got pictures of shape \(1, 2, 2\), wanted \(N, C, H, W\)"),
        (changed(test=lambda pictures: pictures[..., :1]), r"test: got pictures of \(1, 2, 1\), wanted \(1, 2, 2\)"),
        (changed(train_labels=torch.Tensor.int), "train: got labels of torch.int32"),
        (changed(test_labels=lambda labels: labels.repeat(2)), r"test: got \(2,\) labels for 1 pictures"),
        (changed(test_labels=lambda labels: labels + 1), "test: got labels from 2 to 2 for 2 classes"),
        (changed(normalisation=lambda own: Normalisation((0.5,) * 3, (0.5,) * 3)), "wanted one or 1 of each"),
        (changed(normalisation=lambda own: Normalisation((0.5,), (0.0,))), "standard deviation of 0.0"),
        (changed(digest=lambda own: "other"), "digest: got 'd1', and 'other' from load"),
        (ForgetsTheFile, "wanted: got no toy, though load found everything"),
        (LoadsAtRandom, "got another train at the second call"),
        (DigestsTwice, "digest: got"),
        (WritesIntoTheRoot, "the data root: got changes"),
    ],
)
def test_a_broken_plugin_is_caught(broken, says, toy):
    with pytest.raises(AssertionError, match=says):
        check_dataset(broken(), "toy", toy)


class FindsAnything(Sound):
    def wanted(self, name, options, root):
        return [Wanted("toy", (root / "toy",), root / "toy")]


class MakesItsOwn(Sound):
    def digest(self, name, options, root):
        (root / "toy").write_bytes(bytes(4))
        return "d1"


class SaysLittle(Sound):
    def digest(self, name, options, root):
        raise UsageError("no files; tnbench data fetch toy")


class SaysNoCommand(Sound):
    def digest(self, name, options, root):
        raise UsageError(str(root / "toy"))


class WritesAndRefuses(Sound):
    def digest(self, name, options, root):
        (root / "log").write_text("left behind")
        return super().digest(name, options, root)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (FindsAnything, "wanted: got toy in an empty folder"),
        (MakesItsOwn, "load: found its files in an empty folder"),
        (SaysLittle, "load: got the error 'no files.*wanted it to say '/.*toy'"),
        (SaysNoCommand, "wanted it to say 'tnbench data fetch toy'"),
        (WritesAndRefuses, "the data root: got files"),
    ],
)
def test_a_plugin_that_is_broken_without_its_files_is_caught(broken, says):
    with pytest.raises(AssertionError, match=says):
        check_dataset_absent(broken(), "toy")


PRETEND_TORCH = "sys.modules.setdefault('torch', sys)"
"""As good as importing torch to the check, and two seconds quicker."""


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (f"import sys\ndef digest(name, options, root): {PRETEND_TORCH}; return 'd1'", "digest: imports torch"),
        ("import os\ndef digest(name, options, root): return f'd{os.getpid()}'", "digest: got 'd.*' in this process"),
        ("def digest(name, options, root): raise OSError('gone')", "failed in a process of its own"),
    ],
)
def test_a_digest_that_is_broken_in_another_process_is_caught(source, says, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(f'KIND = "dataset"\n{source}\n')
    plugin = Registry([file]).bind("dataset", Atom("broken")).module
    with pytest.raises(AssertionError, match=says):
        check_digest_without_torch(plugin, "broken", tmp_path)
