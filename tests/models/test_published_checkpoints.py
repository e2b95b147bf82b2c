"""Published checkpoints classify what was published: on some pictures, on all of a small sample."""

import csv
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR100
from torchvision.transforms import v2

from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.datasets import mnist as mnist_dataset
from tnbench.engine.normalisation import NORMALISATIONS
from tnbench.stages.importing import check_keys
from tnbench.stages.state_file import read_state


@pytest.fixture(scope="module")
def cifar100():
    root = Path(os.environ.get("TNBENCH_DATA", "nowhere"))
    if not (root / "cifar-100-python" / "test").is_file():
        pytest.skip("TNBENCH_DATA has no real CIFAR-100")
    test = CIFAR100(root, train=False)
    return torch.from_numpy(test.data[:200]).permute(0, 3, 1, 2), torch.tensor(test.targets[:200])


@pytest.fixture(scope="module")
def imagenet_sample(checkpoints):
    """Pictures (N, 3, 224, 224), their labels, 0 to 999: resized to 256, cropped from the centre."""
    folder = checkpoints.parent / "imagenet-sample"
    if not (folder / "classes.csv").is_file():
        pytest.skip(f"no ImageNet sample beside {checkpoints}")
    with (folder / "classes.csv").open() as file:
        labels = {row["wnid"]: int(row["index"]) for row in csv.DictReader(file)}
    files = sorted((folder / "val").rglob("*.jpeg"))
    shrink = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])
    pictures = torch.stack([shrink(Image.open(file).convert("RGB")) for file in files])
    return pictures, torch.tensor([labels[file.parent.name] for file in files])


def scores(model, file, pictures, normalisation, classes):
    """Of the network with the file's weights."""
    bound = Registry().bind("model", parse_part("model", model)[0])
    network = bound.module.build(bound.atom.name, bound.options, tuple(pictures.shape[1:]), classes)
    state = read_state(file)
    check_keys(network.state_dict(), state, file, model)
    network.load_state_dict(state)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (normalisation.mean, normalisation.std))
    with torch.no_grad():
        return torch.cat([network.eval()((part / 255 - mean) / std) for part in pictures.split(50)])


@pytest.mark.parametrize(("layers", "correct"), [(8, 141), (20, 141), (32, 146)])
def test_wide_stem_resnets_on_the_first_200_pictures_of_cifar100(checkpoints, cifar100, layers, correct):
    pictures, labels = cifar100
    file = checkpoints / "karanchahal-distiller" / f"resnet{layers}_cifar100.pth"
    found = scores(f"resnet{layers}_wide_stem", file, pictures, NORMALISATIONS["cifar100"], 100)
    assert int((found.argmax(1) == labels).sum()) == correct


def test_the_lenet_of_pytorch_on_mnist(checkpoints, mnist):
    pictures = mnist_dataset.load("mnist", None, mnist)
    file = checkpoints / "lenet-mnist" / "lenet_mnist_model.pth"
    found = scores("lenet_pytorch", file, pictures.test[:2000], NORMALISATIONS["none"], 10)
    assert int((found.argmax(1) == pictures.test_labels[:2000]).sum()) == 1930


@pytest.mark.slow
def test_squeezenet_on_a_sample_of_imagenet(checkpoints, imagenet_sample):
    pictures, labels = imagenet_sample
    file = checkpoints / "squeezenet-imagenet" / "squeezenet1_0_imagenet_deepcompression.pt"
    found = scores("tv[squeezenet1_0]", file, pictures, NORMALISATIONS["imagenet"], 1000)
    five = (found.topk(5).indices == labels[:, None]).any(1)
    assert (len(labels), int((found.argmax(1) == labels).sum()), int(five.sum())) == (100, 56, 83)
