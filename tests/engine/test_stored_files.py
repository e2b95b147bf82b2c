"""Pictures in files look like a tensor, are evaluated as torchvision's recipes do, and a bad file is named."""

import numpy as np
import pytest
import torch
from PIL import Image
from stored_pictures import write_pictures
from torchvision.transforms import v2

from tnbench.core.errors import TnbenchError
from tnbench.engine.files import Files
from tnbench.engine.resized_crop import drawn_parts


@pytest.fixture
def files(tmp_path):
    return write_pictures(tmp_path, 6)


def test_they_look_like_a_tensor(files):
    assert files.shape == (6, 3, 8, 8)
    assert len(files) == 6
    some = files[torch.tensor([4, 0, 4])]
    assert some.dtype == torch.uint8
    assert some[:, 0, 3, 3].tolist() == [4, 0, 4]
    assert files[torch.arange(0)].shape == (0, 3, 8, 8)
    assert files.to(torch.device("cpu")) is files


def test_a_subset_is_unread_and_numbered_anew(files):
    (files.folder / "0001.png").unlink()
    subset = files.subset(torch.tensor([5, 1, 2]))
    assert len(subset) == 3
    assert subset[torch.tensor([2, 0])][:, 0, 0, 0].tolist() == [2, 5]


def test_the_view_is_that_of_torchvisions_recipe(files):
    usual = v2.Compose([v2.Resize(10, antialias=True), v2.CenterCrop(8), v2.PILToTensor()])
    with Image.open(files.folder / "0003.png") as picture:
        assert torch.equal(files[torch.tensor([3])][0], usual(picture))


def test_random_parts_are_those_drawn_for_the_pictures_size(files):
    ((top, left, height, width),) = drawn_parts(
        torch.tensor([3]), torch.tensor([16]), torch.tensor([20]), 0.3, seed=1, epoch=2
    ).tolist()
    with Image.open(files.folder / "0003.png") as picture:
        part = picture.crop((left, top, left + width, top + height)).resize((8, 8), Image.Resampling.BILINEAR)
    wanted = torch.from_numpy(np.array(part)).permute(2, 0, 1)
    assert torch.equal(files.read_parts(torch.tensor([0, 3]), 0.3, seed=1, epoch=2)[1], wanted)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_mode_becomes_colour(tmp_path, mode):
    Image.new("RGB", (9, 9), (200, 200, 200)).convert(mode).save(tmp_path / "one.tiff")
    files = Files(tmp_path, np.array([b"one.tiff"]), side=8, short=8)
    (picture,) = files[torch.tensor([0])]
    assert picture.shape == (3, 8, 8)
    assert torch.equal(picture[0], picture[1])


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:60], lambda whole: b"no picture"])
def test_a_damaged_file_is_named(files, damage):
    file = files.folder / "0002.png"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(TnbenchError, match=rf"{file} cannot be read as a picture \(.*\); put an undamaged file in its"):
        files[torch.tensor([1, 2])]


def test_an_absent_file_is_named(files):
    (files.folder / "0002.png").unlink()
    with pytest.raises(TnbenchError, match=r"0002.png cannot be read as a picture \(.*No such file"):
        files[torch.tensor([2])]
