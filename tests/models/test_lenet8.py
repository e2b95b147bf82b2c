import pytest
import torch

from tnbench.core.errors import NotApplicable
from tnbench.measure.counts import count_params
from tnbench.models import lenet8


def test_has_lenet5s_proportions() -> None:
    model = lenet8.build("lenet8", None, (1, 8, 8), 10)
    assert count_params(model) == 200 + 9_050 + 400_500 + 5_010
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert lenet8.keep_dense(model) == ("conv1", "fc2")


def test_takes_8_by_8_pixels() -> None:
    with pytest.raises(NotApplicable, match="lenet8 takes pictures of 8x8 pixels, got 28x28; digits has them"):
        lenet8.build("lenet8", None, (1, 28, 28), 10)
