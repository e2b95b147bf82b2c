"""Networks of timm: by name where it is installed, and a reason where it is not."""

import sys

import pytest

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.models import timm as plugin


@pytest.fixture
def installed():
    return pytest.importorskip("timm", reason="timm is not installed: pip install 'tnbench[timm]'")


def build(inner, in_shape, classes=10):
    return plugin.build("timm", plugin.Options((inner,)), in_shape, classes)


def test_where_timm_is_not_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"model timm needs the package timm, .* pip install 'tnbench\[timm\]'"):
        plugin.Options(("resnet18",))


def test_one_name_is_wanted():
    with pytest.raises(UsageError, match=r"got 0 names in brackets, wanted one, such as 'timm\[resnet18\]'"):
        plugin.Options()


def test_a_misspelt_name_gets_the_nearest(installed):
    with pytest.raises(UsageError, match=r"model timm\[resnte18\]: .* among its [\d,]+; the nearest is 'resnet18'"):
        plugin.Options(("resnte18",))


@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_channels(installed, channels):
    model = build("test_resnet", (channels, 32, 32), 7)
    assert next(model.parameters()).shape[1] == channels
    assert tuple(plugin.keep_dense(model)) == ("conv1.0", "fc")


@pytest.mark.parametrize(
    ("inner", "side", "said"),
    [
        (
            "test_resnet",
            7,
            r"timm\[test_resnet\] is made for photographs and takes sides of at least 8 pixels, got 7x7",
        ),
        ("vit_tiny_patch16_224", 64, r"timm\[vit_tiny_patch16_224\] does not take pictures of 3x64x64: .*64"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(installed, inner, side, said):
    with pytest.raises(NotApplicable, match=said):
        build(inner, (3, side, side))
