"""Named normalisations, and what normalising does to pixels."""

import pytest
import torch

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Normalisation
from tnbench.engine.evaluate import normalise
from tnbench.engine.normalisation import NORMALISATIONS, named_normalisation


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_every_name_has_as_many_means_as_positive_deviations(name):
    normalisation = named_normalisation(name)
    assert len(normalisation.mean) == len(normalisation.std)
    assert min(normalisation.std) > 0


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UsageError, match="no normalisation is named 'imagnet'; the nearest is 'imagenet'"):
        named_normalisation("imagnet")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_channel_gets_its_own_mean_and_deviation(dtype):
    batch = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    result = normalise(batch, Normalisation((0.5, 0.1, 0.0), (0.5, 0.1, 2.0)), dtype)
    assert result.dtype == dtype
    assert torch.allclose(result.flatten(), torch.tensor([-1.0, 1.0, 0.5], dtype=dtype))
    assert batch.flatten().tolist() == [0, 51, 255], "the pictures are left as they were"


def test_one_mean_serves_every_channel():
    batch = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    assert torch.equal(normalise(batch, Normalisation((0.0,), (1.0,)), torch.float32), torch.ones(2, 3, 4, 4))


def test_the_wrong_number_of_channels_is_refused():
    with pytest.raises(UsageError, match="got 3 channels for pictures with 1"):
        normalise(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), named_normalisation("imagenet"), torch.float32)
