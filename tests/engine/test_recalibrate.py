"""New statistics are those of PyTorch's cumulative average, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from tnbench.core.protocols import Augmentation, Normalisation
from tnbench.engine.evaluate import normalise
from tnbench.engine.recalibrate import recalibrate

UNIT = Normalisation((0.5,), (0.25,))
CPU = torch.device("cpu")
PICTURES = torch.randint(0, 256, (60, 2, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, bias=False),
            nn.BatchNorm2d(3, momentum=0.3),
            nn.ReLU(),
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
        ).double()


def renewed(model: nn.Module, seed: int = 0, batch_size: int = 20, limit: int = 60) -> nn.Module:
    recalibrate(model, PICTURES, UNIT, device=CPU, dtype=torch.float64, batch_size=batch_size, seed=seed, limit=limit)
    return model


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in model.state_dict().items() if "running" in key}


def test_statistics_are_those_of_pytorchs_update() -> None:
    """In batches of one and the same picture the draw does not matter."""
    same, model = PICTURES[:1].expand(60, -1, -1, -1), network()
    twin = copy.deepcopy(model)
    recalibrate(model, same, UNIT, device=CPU, dtype=torch.float64, batch_size=20, seed=0)
    update_bn([normalise(same[:20], UNIT, torch.float64)] * 3, twin)
    for key, tensor in statistics(model).items():
        assert torch.allclose(tensor, twin.state_dict()[key], rtol=1e-12, atol=0), key


def test_the_first_mean_is_that_of_all_pictures() -> None:
    model = renewed(nn.Sequential(nn.BatchNorm2d(2)).double())
    values = normalise(PICTURES, UNIT, torch.float64)
    assert torch.allclose(model[0].running_mean, values.mean((0, 2, 3)))
    assert torch.allclose(model[0].running_var, values.var((0, 2, 3)), rtol=1e-2)


def test_uneven_batches_differ_by_one_picture_at_most() -> None:
    sizes: list[int] = []
    model = nn.Sequential(nn.BatchNorm2d(2)).double()
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    renewed(model, batch_size=25, limit=59)
    assert sizes == [20, 20, 19]


def test_a_scale_that_batchnorm_would_have_undone_is_undone() -> None:
    model, pictures = network().eval(), normalise(PICTURES, UNIT, torch.float64)
    model[1].eps = model[4].eps = 1e-12
    wanted = renewed(model)(pictures)
    with torch.no_grad():
        model[0].weight.mul_(100)
        model[3].weight.mul_(0.1)
        model[3].bias.mul_(0.1)
    assert (model(pictures) - wanted).abs().max() > 1
    assert torch.allclose(renewed(model)(pictures), wanted, rtol=0, atol=1e-8)


def test_weights_modes_and_momentum_are_left_and_no_gradient_is_computed() -> None:
    model = network().eval()
    model[1].train()
    weights = {key: tensor.clone() for key, tensor in model.named_parameters()}
    assert recalibrate(model, PICTURES, UNIT, device=CPU, dtype=torch.float64, batch_size=7, seed=0) == 2
    assert all(torch.equal(tensor, weights[key]) for key, tensor in model.named_parameters())
    assert [module.training for module in model] == [False, True, False, False, False]
    assert (model[1].momentum, model[4].momentum) == (0.3, 0.1)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_was_there_before_does_not_matter() -> None:
    once, twice = renewed(network()), renewed(renewed(network(), seed=1))
    assert all(torch.equal(tensor, statistics(twice)[key]) for key, tensor in statistics(once).items())


def test_the_seed_draws_the_pictures_where_there_are_more_than_the_limit() -> None:
    one, again, other = (statistics(renewed(network(), seed=seed, limit=20)) for seed in (0, 0, 1))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_dropout_is_off() -> None:
    plain, noisy = nn.Sequential(nn.BatchNorm2d(2)), nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(2))
    renewed(plain.double()), renewed(noisy.double())
    assert torch.equal(plain[0].running_var, noisy[1].running_var)


@pytest.mark.parametrize("model", [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(2, track_running_stats=False)])
def test_a_network_without_statistics_is_not_even_run(model: nn.Module) -> None:
    model.register_forward_pre_hook(lambda module, inputs: pytest.fail("it ran"))
    assert recalibrate(model, PICTURES, UNIT, device=CPU, dtype=torch.float32, batch_size=7, seed=0) == 0


def test_statistics_are_put_in_order_even_if_the_network_fails() -> None:
    class Failing(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no memory")

    model = Failing(nn.BatchNorm2d(2, momentum=0.3)).eval()
    with pytest.raises(RuntimeError, match="no memory"):
        renewed(model)
    assert model[0].momentum == 0.3
    assert not model[0].training


def test_pictures_are_augmented_as_in_training() -> None:
    """Black borders lower the mean of bright pictures, and BatchNorm has to expect them."""
    model = nn.Sequential(nn.BatchNorm2d(1))
    bright = torch.full((64, 1, 8, 8), 255, dtype=torch.uint8)
    given = {"device": torch.device("cpu"), "dtype": torch.float32, "batch_size": 16, "seed": 0}
    recalibrate(model, bright, Normalisation((0.0,), (1.0,)), **given)  # type: ignore[arg-type]
    assert float(model[0].running_mean) == 1
    recalibrate(model, bright, Normalisation((0.0,), (1.0,)), augmentation=Augmentation(crop=2), **given)  # type: ignore[arg-type]
    assert 0.5 < float(model[0].running_mean) < 0.95
