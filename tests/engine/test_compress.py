import copy
import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom
from tnbench.core.registry import Registry
from tnbench.engine.candidates import compressible_layers, first_and_last
from tnbench.engine.compress import compress, compress_network
from tnbench.engine.conditions import Conditions
from tnbench.measure.counts import count_params

REGISTRY = Registry()


class Small(nn.Module):
    """Five layers, the second of which stands in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.again = self.body[0]
        self.grouped = nn.Conv2d(16, 16, 3, groups=4)
        self.wide = nn.Linear(16, 40)
        self.head = nn.Linear(40, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        out: Tensor = self.head(self.wide(self.grouped(self.again(self.body(self.stem(pictures)))).mean((2, 3))))
        return out


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    return Small()


def notes(model: nn.Module, **given: object) -> dict[str, str]:
    return {layer.name: layer.note for layer in compress(model, "svd", "x2", registry=REGISTRY, **given).summary.layers}  # type: ignore[arg-type]


def test_names_are_the_models(small: Small) -> None:
    assert list(compressible_layers(small)) == ["stem", "body.0", "grouped", "wide", "head"]
    assert first_and_last(small) == ("stem", "head")
    assert first_and_last(nn.Linear(2, 2)) == ("",)
    assert first_and_last(nn.ReLU()) == ()


@pytest.mark.parametrize("method", ["svd", "tucker2", "tt", "cp[iters=5]"])
def test_copy_runs_and_summary_agrees_with_it(small: Small, method: str) -> None:
    model, summary = compress(small, method, "x2", registry=REGISTRY)
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    assert summary.network_dense == count_params(small)
    assert summary.network == count_params(model)
    saved = summary.params_layers_dense - summary.params_layers
    assert count_params(small) - count_params(model) == saved
    assert 2 * summary.params_layers <= summary.params_layers_dense
    assert [layer.name for layer in summary.compressed] == ["body.0", "grouped", "wide"]


def test_a_layer_in_two_places_is_swapped_in_both(small: Small) -> None:
    model = compress(small, "svd", "x2", registry=REGISTRY).model
    assert model.again is model.body[0]
    assert isinstance(model.again, nn.Sequential)


def test_the_model_given_is_left_as_it_was(small: Small) -> None:
    before, generator = copy.deepcopy(small.state_dict()), torch.get_rng_state()
    compress(small, "cp[iters=2]", "x2", registry=REGISTRY)
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.state_dict().items())
    assert type(small.again) is nn.Conv2d
    assert torch.equal(generator, torch.get_rng_state())


def test_mode_and_dtype_are_kept(small: Small) -> None:
    small.double().body.eval()
    model = compress(small, "tt", "x2", registry=REGISTRY).model
    assert model.training
    assert not any(module.training for module in model.body.modules())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


def test_why_layers_stay_dense(small: Small) -> None:
    assert notes(small) == {
        "stem": "first or last layer",
        "body.0": "",
        "grouped": "",
        "wide": "",
        "head": "first or last layer",
    }
    assert notes(small, skip="w*")["wide"] == "skipped as asked"
    assert notes(small, only=["head"])["head"] == ""
    assert notes(small, only=["head"])["stem"] == "not among the layers asked for"


def test_overall_error_is_that_of_all_compressed_weights_together(small: Small) -> None:
    model, summary = compress(small, "svd", "x3", skip="grouped", registry=REGISTRY)
    first, second = (part.weight.detach() for part in model.body[0])
    weight = small.body[0].weight.detach()
    error = torch.dist(weight, torch.einsum("rihw,or->oihw", first, second[:, :, 0, 0]))
    (conv, linear) = summary.compressed
    assert conv.error == pytest.approx(float(error / weight.norm()), rel=1e-5)
    together = (conv.error * conv.norm) ** 2 + (linear.error * linear.norm) ** 2
    assert summary.weight_error == pytest.approx((together / (conv.norm**2 + linear.norm**2)) ** 0.5)


def test_summary_prints_as_a_table(small: Small) -> None:
    printed = str(compress(small, "tucker2", "x2", skip="grouped", registry=REGISTRY).summary).splitlines()
    assert printed[0].split() == ["layer", "kind", "weight", "rank", "dense", "weights", "ratio", "error"]
    assert printed[1] == "stem     conv    16x3x3x3   dense    432      432                 first or last layer"
    assert printed[2].split()[:7] == ["body.0", "conv", "16x16x3x3", "9,9", "2,304", "1,017", "x2.27"]
    assert printed[-1].startswith("network: 4,482 -> ")
    assert "the 2 compressed layers: x2." in printed[-1]


def test_summary_becomes_json(small: Small) -> None:
    layers = compress(small, "tt", "x2", registry=REGISTRY).summary.layers
    plain = json.loads(json.dumps([dataclasses.asdict(layer) for layer in layers]))
    assert plain[1]["ranks"] == list(layers[1].ranks)
    assert plain[0]["error"] is None


def test_ranks_shown_are_those_of_the_factors(small: Small) -> None:
    model, summary = compress(small, "tt", "f0.3", only="body.0", registry=REGISTRY)
    assert summary.layers[1].ranks == tuple(part.out_channels for part in model.body[0][:-1]) == (4, 12, 4)


def test_dense_copies_every_layer(small: Small) -> None:
    model, summary = compress(small.eval(), "dense", "full", registry=REGISTRY)
    pictures = torch.randn(2, 3, 8, 8)
    assert torch.equal(model(pictures), small(pictures))
    assert summary.network == summary.network_dense
    assert summary.weight_error == 0
    alone, _ = compress(nn.Sequential(nn.Linear(3, 2)), "dense", "full", registry=REGISTRY)
    assert count_params(alone) == 8


@pytest.mark.parametrize(("method", "rank"), [("dense", "x4"), ("svd", "full")])
def test_full_goes_with_dense_alone(small: Small, method: str, rank: str) -> None:
    with pytest.raises(NotApplicable, match=f"method {method} with rank {rank}: full is dense's rank"):
        compress(small, method, rank, registry=REGISTRY)


def test_rescaled_layers_have_the_norm_of_their_weight(small: Small) -> None:
    method, policy = REGISTRY.bind("method", Atom("tucker2")), REGISTRY.bind("rank", Atom("x4"))
    plain, rescaled = (
        compress_network(small, [method], policy, Conditions(only=["body.0"], scratch=scratch))
        for scratch in (False, True)
    )
    norms = [
        float(method.module.dense(tuple(part.weight.detach() for part in made.model.body[0])).norm())
        for made in (plain, rescaled)
    ]
    wanted = float(small.body[0].weight.detach().norm())
    assert norms[0] < 0.95 * wanted
    assert norms[1] == pytest.approx(wanted, rel=1e-5)


def test_zero_and_deficient_weights_are_served(small: Small) -> None:
    nn.init.zeros_(small.body[0].weight)
    nn.init.ones_(small.wide.weight)
    for method in ("svd", "tucker2", "tt", "cp"):
        zero, deficient = compress(small, method, "x2", skip="grouped", registry=REGISTRY).summary.compressed
        assert zero.error == 0
        assert deficient.error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_layer(small: Small, value: float) -> None:
    with torch.no_grad():
        small.wide.weight[0, 0] = value
    with pytest.raises(NotApplicable, match="layer 'wide' has weights that are not finite"):
        compress(small, "svd", "x2", registry=REGISTRY)
    assert compress(small, "svd", "x2", skip="wide", registry=REGISTRY).summary.layers[3].note == "skipped as asked"


def test_a_refusal_while_factorising_names_the_layer(small: Small) -> None:
    nn.init.zeros_(small.body[0].weight)
    with pytest.raises(NotApplicable, match=r"layer 'body\.0': TensorLy's parafac met"):
        compress(small, "cp[solver=tensorly]", "x2", registry=REGISTRY)


def test_nothing_to_compress_is_told_with_every_reason() -> None:
    with pytest.raises(NotApplicable) as refusal:
        compress(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), "svd", "x2", registry=REGISTRY)
    assert str(refusal.value) == ("svd at x2 compresses no layer ('0': first or last layer; '1': first or last layer)")
    with pytest.raises(NotApplicable, match="the network has none"):
        compress(nn.ReLU(), "svd", "x2", registry=REGISTRY)


def test_a_model_that_is_one_layer_is_replaced_itself() -> None:
    model, summary = compress(nn.Linear(16, 16), "svd", "x2", only="*", registry=REGISTRY)
    assert isinstance(model, nn.Sequential)
    assert "(itself)" in str(summary)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "tuker2"}, "the nearest is 'tucker2'"),
        ({"gauge": "balance"}, "no gauge is named 'balance'; the nearest is 'balanced'"),
        ({"in_shape": 28}, r"in_shape: got 28, wanted the sides of one picture"),
        ({"in_shape": (3, -1, 5)}, r"in_shape: got \(3, -1, 5\)"),
        ({"in_shape": (1, 8, 8)}, r"in_shape \(1, 8, 8\): the network does not take it"),
        ({"rank": "x2+x4"}, "got the mixture 'x2.x4', wanted one rank; only methods can be mixed"),
        ({"method": "svd[rank=4]"}, "no option is named 'rank'"),
        ({"rank": "x0"}, "got 'x0', wanted x and a number from 1 up"),
        ({"skip": "boby.0"}, "skip: no layer's name matches 'boby.0'; the nearest is 'body.0'"),
        ({"only": "zzz"}, "only: no layer's name matches 'zzz'; layers: stem, body.0"),
    ],
)
def test_requests_that_mean_nothing(small: Small, given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compress(small, registry=REGISTRY, **given)  # type: ignore[arg-type]


class Odd(nn.Module):
    """One layer that no picture reaches, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.two.weight = self.one.weight
        self.aux, self.wide, self.head = nn.Linear(64, 64), nn.Linear(16, 40), nn.Linear(40, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.wide(self.two(self.one(self.stem(x)))))
        return out


def test_layers_with_one_weight_stay_dense() -> None:
    layers = {layer.name: layer.note for layer in compress(Odd(), "svd", "x2", registry=REGISTRY).summary.layers}
    assert (layers["one"], layers["two"]) == ("its weight is that of 'two' too", "its weight is that of 'one' too")


def test_a_layer_that_is_never_called_costs_no_operations() -> None:
    _, summary = compress(Odd(), "svd", "flops-x1.2", in_shape=(8,), registry=REGISTRY)
    assert summary.network < summary.network_dense
    with pytest.raises(NotApplicable, match=r"layer 'aux': no calibration picture reaches it"):
        compress(Odd(), "svd[aware=true]", "x2", calibration=torch.randn(9, 8), registry=REGISTRY)


def test_calibration_pictures_may_be_bfloat16_but_must_be_finite(small: Small) -> None:
    pictures = torch.randn(40, 3, 8, 8)
    given = {"only": "body.0", "registry": REGISTRY}
    assert compress(small.bfloat16(), "svd[aware=true]", "x2", calibration=pictures.bfloat16(), **given).summary
    pictures[0, 0, 0, 0] = float("inf")
    with pytest.raises(NotApplicable, match="what reaches it on calibration pictures is not finite"):
        compress(small.float(), "svd[aware=true]", "x2", calibration=pictures, **given)


@pytest.mark.parametrize(
    ("method", "rank"),
    [
        ("cp[aware=true,iters=3]", "net-x1.3"),
        ("cp[aware=true,iters=3]", "flops-x1.3"),
        ("tucker2[aware=true]", "x2[by=spectrum]"),
        ("tucker2[aware=true]", "net-x1.3"),
    ],
)
def test_policies_that_factorise_give_the_solver_its_pictures(small: Small, method: str, rank: str) -> None:
    given = {"skip": "grouped", "in_shape": (3, 8, 8), "registry": REGISTRY}
    assert compress(small, method, rank, calibration=torch.randn(40, 3, 8, 8), **given).summary.compressed
    with pytest.raises(NotApplicable, match="needs calibration pictures"):
        compress(small, method, rank, **given)


def test_a_layer_that_rank_one_would_enlarge_stays_dense_under_one_budget() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(16, 1))
    summary = compress(model, "cp[only=*,iters=3]", "net-x1.5", registry=REGISTRY).summary
    assert summary.layers[-1].params == 16
    assert summary.network <= summary.network_dense / 1.5


def test_orthogonal_factors_of_a_linear_layer_whose_convolutions_have_no_such_gauge(small: Small) -> None:
    model = compress(small, "tucker", "x2", only="wide", gauge="orthogonal", registry=REGISTRY).model
    first, second = (part.weight for part in model.wide)
    grams = (first @ first.T, second.T @ second)
    assert sum(torch.allclose(gram, torch.eye(len(gram)), atol=1e-5) for gram in grams) == 1
