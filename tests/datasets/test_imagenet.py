"""ImageNet's folders by wnid get the standard indices, all of them or some, with or without a training half."""

import csv
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.datasets import imagenet
from tnbench.datasets._devkit import ARCHIVE
from tnbench.testing.datasets import check_dataset

OPTIONS = imagenet.Options(side=12)
GOLDFISH, TOILET_TISSUE = "n01443537", "n15075141"


def write(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 20, 3), 7, dtype=np.uint8)).save(folder / name)


@pytest.fixture
def root(tmp_path):
    for wnid in (TOILET_TISSUE, GOLDFISH):
        write(tmp_path / "imagenet" / "val" / wnid, "a.JPEG")
    return tmp_path


def load(root, options=OPTIONS):
    return imagenet.load("imagenet", options, root)


def test_the_standard_index_is_the_place_among_the_thousand():
    wnids = list(imagenet.labels())
    assert len(set(wnids)) == imagenet.CLASSES
    assert wnids == sorted(wnids)
    assert (imagenet.labels()[GOLDFISH], imagenet.labels()[TOILET_TISSUE]) == (1, 999)


def test_some_of_the_classes_without_a_training_half_are_enough_to_evaluate(root):
    check_dataset(imagenet, "imagenet", root, options=OPTIONS)
    pictures = load(root)
    assert pictures.test_labels.tolist() == [1, 999]
    assert pictures.classes == 1000
    assert len(pictures.train) == len(pictures.train_labels) == 0
    assert pictures.in_shape == (3, 12, 12)


def test_a_training_half_is_read_where_there_is_one(root):
    before = load(root).digest
    write(root / "imagenet" / "train" / GOLDFISH, "b.JPEG")
    pictures = load(root)
    assert pictures.train_labels.tolist() == [1]
    assert pictures.digest != before
    assert [half.name for half in imagenet.wanted("imagenet", OPTIONS, root)] == ["train/", "val/"]


def test_another_folder_is_an_option(root):
    (root / "imagenet").rename(root / "sample")
    assert load(root, imagenet.Options(bare=("sample",))).test_labels.tolist() == [1, 999]
    with pytest.raises(UsageError, match=rf"2 of 2 folders are not under.*\n  {root}/imagenet/train\n"):
        load(root)


def test_a_folder_that_is_no_wnid_is_named(root):
    write(root / "imagenet" / "val" / "goldfish", "a.JPEG")
    with pytest.raises(UsageError, match=r"val/goldfish is no wnid of ImageNet's 1,000 classes; rename it or move"):
        load(root)


def test_it_cannot_be_fetched_and_the_error_says_what_goes_where(tmp_path):
    with pytest.raises(NotApplicable, match=r"(?s)registered researchers only.*imagenet/train/WNID/\*.JPEG"):
        imagenet.fetch("imagenet", OPTIONS, tmp_path)


def pack_devkit(folder, truth, synsets=None):
    """A development kit with two leaves, whose own numbers are not in the order of wnids, and an inner node."""
    rows = [(1, TOILET_TISSUE, 0), (2, GOLDFISH, 0), (3, "n00001740", 2)]
    kind = [("ILSVRC2012_ID", object), ("WNID", object), ("num_children", object)]
    table = io.BytesIO()
    savemat(table, {"synsets": np.array(rows, dtype=kind)})
    content = table.getvalue() if synsets is None else synsets
    files = {"meta.mat": content, "ILSVRC2012_validation_ground_truth.txt": truth.encode()}
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def flat(tmp_path):
    for number in (1, 2, 3):
        write(tmp_path / "imagenet" / "val", f"ILSVRC2012_val_{number:08}.JPEG")
    return tmp_path


@pytest.mark.parametrize("unpacked", [False, True])
def test_a_flat_validation_half_is_labelled_by_the_development_kit(flat, unpacked):
    pack_devkit(flat / "imagenet", "2\n1\n2\n")
    if unpacked:
        with tarfile.open(flat / "imagenet" / ARCHIVE) as archive:
            archive.extractall(flat / "imagenet", filter="data")
        (flat / "imagenet" / ARCHIVE).unlink()
    assert load(flat).test_labels.tolist() == [1, 999, 1]


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ("2\n1\n", r"ground_truth.txt in .* has 2 lines, wanted one for each of the 3 validation pictures"),
        ("2\n1\n3\n", "ground_truth.txt in .* has the line 3, wanted a class number"),
        ("2\n1\nfish\n", "has the line .*'fish', wanted a class number"),
    ],
)
def test_labels_that_do_not_fit_the_pictures_are_told(flat, truth, says):
    pack_devkit(flat / "imagenet", truth)
    with pytest.raises(UsageError, match=says):
        load(flat)


def test_a_number_beyond_the_labels_is_told(flat):
    (flat / "imagenet" / "val" / "ILSVRC2012_val_00000003.JPEG").rename(
        flat / "imagenet" / "val" / "ILSVRC2012_val_00000004.JPEG"
    )
    pack_devkit(flat / "imagenet", "2\n1\n2\n")
    with pytest.raises(UsageError, match=r"val_00000004.JPEG has no number from 1 to 3; move it away"):
        load(flat)


@pytest.mark.parametrize("synsets", [b"no matrices", b""])
def test_a_damaged_table_of_classes_is_named(flat, synsets):
    pack_devkit(flat / "imagenet", "2\n1\n2\n", synsets)
    with pytest.raises(UsageError, match=r"imagenet: meta.mat of the development kit in \S*imagenet is damaged \("):
        load(flat)


def test_what_lies_beside_flat_pictures_is_none_of_them(flat):
    pack_devkit(flat / "imagenet", "2\n1\n2\n")
    for junk in ("ILSVRC2012_val_00000001.JPEG.part", "ILSVRC2012_val_list.txt", "._ILSVRC2012_val_00000001.JPEG"):
        (flat / "imagenet" / "val" / junk).write_text("junk")
    assert load(flat).test_labels.tolist() == [1, 999, 1]


def test_a_flat_half_without_the_kit_says_where_it_goes(flat):
    with pytest.raises(UsageError, match=rf"come from \S*imagenet/{ARCHIVE}, which cannot be read .*; put it there"):
        load(flat)
    (flat / "imagenet" / ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(UsageError, match="which cannot be read"):
        load(flat)


def test_an_empty_validation_half_is_told(tmp_path):
    (tmp_path / "imagenet" / "val").mkdir(parents=True)
    with pytest.raises(UsageError, match="has neither folders by wnid nor pictures named ILSVRC2012_val_00000001"):
        load(tmp_path)


def test_the_sample_that_lies_beside_published_checkpoints():
    root = Path(os.environ.get("TNBENCH_CHECKPOINTS", "nowhere")).parent
    if not (root / "imagenet-sample" / "val").is_dir():
        pytest.skip("no imagenet-sample beside TNBENCH_CHECKPOINTS")
    pictures = load(root, imagenet.Options(bare=("imagenet-sample",)))
    assert pictures.test_labels.tolist() == list(range(0, 1000, 10))
    assert pictures.test[torch.tensor([0, 99])].shape == (2, 3, 224, 224)
    with (root / "imagenet-sample" / "classes.csv").open() as file:
        assert {row["wnid"]: int(row["index"]) for row in csv.DictReader(file)} == imagenet.labels()
