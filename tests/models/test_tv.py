"""Networks of torchvision: by name, for pictures that fit, with the weights that torchvision publishes."""

from pathlib import Path

import pytest
import torch
from torch import nn

import tnbench
from tnbench.core.errors import NotApplicable, TnbenchError, UsageError
from tnbench.models import tv

PHOTOGRAPH = (3, 224, 224)


def build(inner, in_shape=PHOTOGRAPH, classes=10):
    return tv.build("tv", tv.Options((inner,)), in_shape, classes)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(
        UsageError, match=r"model tv\[resnte50\]: no torchvision classifier .* the nearest is 'resnet50'"
    ):
        tv.Options(("resnte50",))


@pytest.mark.parametrize("bare", [(), ("resnet18", "v2")])
def test_one_name_is_wanted(bare):
    with pytest.raises(UsageError, match=rf"got {len(bare)} names in brackets, wanted one, such as 'tv\[resnet18\]'"):
        tv.Options(bare)


def test_only_classifiers_have_names():
    assert {"resnet50", "squeezenet1_0", "vgg16_bn", "vit_b_16"} <= set(tv.classifiers())
    assert not {"fcn_resnet50", "fasterrcnn_resnet50_fpn", "raft_small", "r3d_18"} & set(tv.classifiers())


@pytest.mark.parametrize(
    ("inner", "in_shape", "said"),
    [
        ("resnet18", (1, 224, 224), r"tv\[resnet18\] takes pictures of 3 channels, got 1; cifar10 and imagenet have"),
        ("alexnet", (3, 62, 224), r"tv\[alexnet\] takes sides of at least 63 pixels, got 62x224; imagenet has them"),
        ("inception_v3", (3, 74, 75), r"tv\[inception_v3\] takes sides of at least 75 pixels, got 74x75"),
        ("maxvit_t", (3, 256, 256), r"tv\[maxvit_t\] does not take pictures of 3x256x256: "),
    ],
)
def test_pictures_that_do_not_fit_are_refused(inner, in_shape, said):
    with pytest.raises(NotApplicable, match=said):
        build(inner, in_shape)


@pytest.mark.parametrize("inner", ["googlenet", "mnasnet0_5", "shufflenet_v2_x0_5"])
def test_in_train_mode_scores_are_one_tensor(inner):
    assert build(inner, (3, 64, 64)).train()(torch.randn(2, 3, 64, 64)).shape == (2, 10)


def test_googlenet_takes_imagenets_normalisation_as_its_published_weights_do():
    assert build("googlenet", (3, 64, 64)).transform_input


def test_weights_without_a_version_number_are_read():
    """As those of our store are; torchvision's MNASNet alone refuses them."""
    model = build("mnasnet0_5", (3, 32, 32))
    model.load_state_dict(dict(build("mnasnet0_5", (3, 32, 32)).state_dict()))


def test_first_and_last_stay_dense():
    assert tuple(tv.keep_dense(build("squeezenet1_1", (3, 64, 64)))) == ("features.0", "classifier.1")


def test_layers_of_attention_that_torchvision_reads_past_their_forward_stay_dense():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.attention, self.last = nn.Linear(4, 4), nn.MultiheadAttention(4, 2), nn.Linear(4, 4)

    assert tuple(tv.keep_dense(Attending())) == ("first", "last", "attention.out_proj")


def test_names_of_published_files_become_those_of_the_network():
    old = {
        "features.denseblock1.denselayer2.norm.1.weight": 1,
        "features.denseblock1.denselayer2.conv.2.weight": 2,
        "features.conv0.weight": 3,
        "AuxLogits.fc.weight": 4,
        "aux1.conv.bn.bias": 5,
    }
    assert tv.from_published(old) == {
        "features.denseblock1.denselayer2.norm1.weight": 1,
        "features.denseblock1.denselayer2.conv2.weight": 2,
        "features.conv0.weight": 3,
    }


def test_it_is_compressed_like_any_other():
    network = build("squeezenet1_1", (3, 64, 64))
    compressed, summary = tnbench.compress(network, "tucker2", "x4")
    assert summary.network < 0.4 * summary.network_dense
    assert compressed.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 10)


def test_weights_of_another_name_get_the_nearest():
    with pytest.raises(
        UsageError, match=r"no weights of tv\[resnet50\] .* 'IMAGENET1K_V3'; the nearest is 'IMAGENET1K_V"
    ):
        tv.fetch_weights(tv.Options(("resnet50",)), "IMAGENET1K_V3")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(
    ("inner", "file", "seen_as"),
    [
        ("resnet18", "resnet18-f37072fd.pth", ("imagenet", 224, 256)),
        ("efficientnet_v2_l", "efficientnet_v2_l-59c71312.pth", ("half", 480, 480)),
        ("resnet50", "resnet50-11ad3fa6.pth", ("imagenet", 224, 232)),
    ],
)
def test_weights_are_downloaded_once_and_checked(cache, monkeypatch, inner, file, seen_as):
    asked = []

    def download(url, to, hash_prefix, progress):
        asked.append((url, hash_prefix))
        Path(to).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert tv.fetch_weights(tv.Options((inner,)), "DEFAULT") == (cache / file, *seen_as)
    digest = file.removesuffix(".pth").rpartition("-")[2]
    assert asked == [(f"https://download.pytorch.org/models/{file}", digest)]


def test_without_a_network_the_file_to_fetch_is_named(cache, monkeypatch):
    def download(*args, **given):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(TnbenchError) as error:
        tv.fetch_weights(tv.Options(("resnet18",)), "IMAGENET1K_V1")
    assert str(error.value) == (
        "the weights of tv[resnet18] could not be downloaded: no route to host\n"
        "where there is a network, fetch https://download.pytorch.org/models/resnet18-f37072fd.pth by hand, then give "
        "the file: tnbench baseline import resnet18-f37072fd.pth --model 'tv[resnet18]' --dataset NAME"
    )
