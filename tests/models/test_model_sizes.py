"""Every network has exactly the parameters that the literature counts."""

import pytest

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.measure.counts import count_params

REGISTRY = Registry()
GREY, COLOUR, IMAGENET = (1, 28, 28), (3, 32, 32), (3, 224, 224)


def build(model, in_shape, classes, width=None):
    bound = REGISTRY.bind("model", parse_part("model", model)[0])
    given = bound.atom.name, bound.options, in_shape, classes
    return bound.module.build(*given) if width is None else bound.module.narrower(*given, width)


@pytest.mark.parametrize(
    ("model", "in_shape", "classes", "params"),
    [
        ("lenet300", GREY, 10, 266_610),
        ("lenet5", GREY, 10, 431_080),
        ("lenet5_1998", GREY, 10, 61_706),
        ("lenet_pytorch", GREY, 10, 21_840),
        ("mobilenetv2", COLOUR, 10, 2_296_922),
        ("resnet110", COLOUR, 10, 1_727_962),
        ("resnet18", COLOUR, 10, 11_173_962),
        ("resnet18", COLOUR, 100, 11_220_132),
        ("resnet9", COLOUR, 10, 6_573_120),
        ("resnet8_wide_stem", COLOUR, 100, 112_452),
        ("resnet20_wide_stem", COLOUR, 100, 306_884),
        ("resnet32_wide_stem", COLOUR, 100, 501_316),
        ("vgg16_bn", COLOUR, 10, 14_728_266),
        ("tv[squeezenet1_0]", IMAGENET, 1000, 1_248_424),
        ("tv[mobilenet_v3_small]", IMAGENET, 1000, 2_542_856),
        ("tv[mnasnet0_5]", IMAGENET, 1000, 2_218_512),
        ("tv[resnet18]", IMAGENET, 1000, 11_689_512),
    ],
)
def test_parameters_are_those_of_the_literature(model, in_shape, classes, params):
    assert count_params(build(model, in_shape, classes)) == params


@pytest.mark.parametrize("model", ["mobilenetv2", "resnet18", "resnet9", "resnet8_wide_stem", "vgg16_bn"])
def test_half_the_width_has_about_a_quarter_of_the_parameters(model):
    full, half = (count_params(build(model, COLOUR, 10, width)) for width in (1.0, 0.5))
    assert 0.24 < half / full < 0.28


@pytest.mark.parametrize(
    ("model", "in_shape", "said"),
    [
        ("resnet18", (3, 7, 32), "resnet18 halves pictures three times and takes sides of at least 8 pixels, got 7x32"),
        ("resnet9", (3, 32, 7), "resnet9 halves pictures three times and takes sides of at least 8 pixels, got 32x7"),
        ("mobilenetv2", (3, 4, 4), "mobilenetv2 halves pictures three times .* at least 8 pixels, got 4x4"),
        ("vgg16_bn", GREY, "vgg16_bn halves pictures five times and takes sides of at least 32 pixels, got 28x28"),
        ("resnet8_wide_stem", (3, 12, 13), "halves pictures twice, pools them by 4x4 .* at least 13 pixels, got 12x13"),
        ("lenet5_1998", (1, 30, 30), "takes pictures of 28x28 or 32x32 pixels, got 30x30; mnist and cifar10 have them"),
        ("lenet_pytorch", (1, 28, 32), "lenet_pytorch takes pictures of 28x28 pixels, got 28x32; mnist has them"),
        ("lenet300", COLOUR, "lenet300 takes pictures of 28x28 pixels, got 32x32; mnist has them"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(model, in_shape, said):
    with pytest.raises(NotApplicable, match=said):
        build(model, in_shape, 10)
