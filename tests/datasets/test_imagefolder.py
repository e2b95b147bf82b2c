"""Class folders of one's own: found, numbered by name, identified without reading a pixel, and told about when bad."""

import numpy as np
import pytest
import torch
from PIL import Image

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.datasets import imagefolder
from tnbench.testing.datasets import check_dataset, check_digest_without_torch

OPTIONS = imagefolder.Options(bare=("birds",), side=12)


def write(folder, value, name="one.png"):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 20, 3), value, dtype=np.uint8)).save(folder / name)


@pytest.fixture
def root(tmp_path):
    for half, shift in (("train", 0), ("val", 100)):
        for number, name in enumerate(("heron", "auk", "wren")):
            write(tmp_path / "birds" / half / name, shift + number)
    write(tmp_path / "birds" / "train" / "auk" / "deep", 9, "Two.PNG")
    (tmp_path / "birds" / "train" / "auk" / "notes.txt").write_text("no picture")
    (tmp_path / "birds" / "train" / ".cache").mkdir()
    (tmp_path / "birds" / "train" / "auk" / "._one.png").write_text("what a Mac leaves")
    write(tmp_path / "birds" / "train" / "auk" / ".thumbs", 200)
    return tmp_path


def test_it_keeps_the_contract(root):
    check_dataset(imagefolder, "imagefolder", root, options=OPTIONS)


def test_classes_are_numbered_by_name_and_pictures_read_as_needed(root):
    pictures = imagefolder.load("imagefolder", OPTIONS, root)
    assert pictures.in_shape == (3, 12, 12)
    assert pictures.classes == 3
    assert pictures.train_labels.tolist() == [0, 0, 1, 2]
    assert pictures.train[torch.arange(4)][:, 0, 0, 0].tolist() == [9, 1, 0, 2]
    assert pictures.test[torch.arange(3)][:, 0, 0, 0].tolist() == [101, 100, 102]
    assert pictures.augmentation.resized == 0.08
    assert pictures.test.short == 14


def test_the_test_half_may_be_called_test_and_lack_classes(root):
    (root / "birds" / "val").rename(root / "birds" / "test")
    (root / "birds" / "test" / "auk" / "one.png").unlink()
    (root / "birds" / "test" / "auk").rmdir()
    assert imagefolder.load("imagefolder", OPTIONS, root).test_labels.tolist() == [1, 2]


def test_the_digest_is_of_names_sizes_and_labels(root):
    before = imagefolder.digest("imagefolder", OPTIONS, root)
    file = root / "birds" / "val" / "wren" / "one.png"
    file.touch()
    assert imagefolder.digest("imagefolder", OPTIONS, root) == before
    file.write_bytes(file.read_bytes() + b" ")
    changed = imagefolder.digest("imagefolder", OPTIONS, root)
    file.rename(file.with_name("other.png"))
    assert len({before, changed, imagefolder.digest("imagefolder", OPTIONS, root)}) == 3


def test_the_digest_needs_no_torch(root):
    (root / "birds").rename(root / "imagefolder")
    check_digest_without_torch(imagefolder, "imagefolder", root)


def refused(root):
    with pytest.raises(UsageError) as caught:
        imagefolder.digest("imagefolder", OPTIONS, root)
    return str(caught.value)


def test_an_empty_class_folder_is_named(root):
    (root / "birds" / "train" / "gull").mkdir()
    assert f"the class folder {root / 'birds/train/gull'} has no pictures" in refused(root)


def test_a_class_that_is_never_trained_on_is_named(root):
    write(root / "birds" / "val" / "gull", 1)
    message = refused(root)
    assert f"the class folder {root / 'birds/val/gull'} is no class of {root / 'birds/train'}; rename it" in message


def test_a_half_without_class_folders_is_told(root):
    (root / "birds" / "val").rename(root / "val")
    write(root / "birds" / "val", 1)
    assert f"{root / 'birds/val'} has no class folders; wanted one folder of pictures for each class" in refused(root)


def test_an_absent_half_is_told_with_both_of_its_names(tmp_path):
    message = refused(tmp_path)
    assert "2 of 2 folders are not under the data root" in message
    assert f"{tmp_path}/birds/val or {tmp_path}/birds/test" in message


def test_ones_own_pictures_cannot_be_fetched(tmp_path):
    with pytest.raises(NotApplicable, match=r"pictures of your own.*put them into .*birds/train/CLASS/ and"):
        imagefolder.fetch("imagefolder", OPTIONS, tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bare": ("a", "b")}, "imagefolder: got the folders a, b, wanted the name of one"),
        ({"side": 0}, "got side=0, wanted pixels from 1 on"),
        ({"short": 100}, "got short=100, wanted at least side=224"),
        ({"resized": 1.5}, r"got resized=1.5, wanted a share from 0 \(none\) to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        imagefolder.Options(**options)
