"""A compressed network in one file: what comes back, and what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.engine.blueprint import Blueprint, PartBlueprint, blueprint
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.saved import load_compressed, read_blueprint, save_compressed
from tnbench.measure.counts import count_params

REGISTRY = Registry()


class Small(nn.Module):
    """Layers of many kinds; `again` is a second place of `body.0`."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.again = self.body[0]
        self.more = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.grouped = nn.Conv2d(width, width, 3, groups=2)
        self.wide = nn.Linear(width, 12)
        self.head = nn.Linear(12, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        out: Tensor = self.grouped(self.more(self.again(self.body(self.stem(pictures))))).mean((2, 3))
        return self.head(self.wide(out))  # type: ignore[no-any-return]


class Plain(nn.Sequential):
    """A network that can be narrowed."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.Flatten(), nn.LazyLinear(4))
        self(torch.zeros(1, 3, 6, 6))


def _compressed(
    model: nn.Module, method: str, rank: str, keep: tuple[str, ...] = ("stem", "head")
) -> tuple[nn.Module, Blueprint]:
    (atom,), (policy,) = parse_part("method", method), parse_part("rank", rank)
    bound = REGISTRY.bind("method", atom)
    conditions = Conditions(keep=keep, rebuild=lambda width: Plain(max(1, round(8 * width))))
    swapped = swap_layers(model, [bound], REGISTRY.bind("rank", policy), conditions)
    return swapped.model, blueprint(swapped)


def _drawn(seed: int = 0, kind: Any = Small) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = kind()
    return model


def _pictures() -> Tensor:
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(3))


def _trained(model: nn.Module) -> nn.Module:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(_pictures()).square().mean().backward()
    optimiser.step()
    return model.eval()


def _assert_same(one: nn.Module, other: nn.Module) -> None:
    """The same tensors; outputs may differ by rounding where these lie otherwise in memory."""
    _assert_same_state(one, other)
    assert torch.allclose(one(_pictures()), other(_pictures()), atol=1e-5)


def _assert_same_state(one: nn.Module, other: nn.Module) -> None:
    state = other.state_dict()
    assert one.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


LAYER_METHODS = [
    listing.name
    for listing in REGISTRY.listings("method")
    if REGISTRY.bind("method", parse_part("method", listing.name)[0]).scope == "layer" and listing.name != "dense"
]
CHEAP = {"cp": "cp[iters=4]"}


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_every_method_comes_back_as_it_was_saved(method: str, tmp_path: Path) -> None:
    model, plan = _compressed(_drawn(), CHEAP.get(method, method), "x2")
    _trained(model)
    save_compressed(model, plan, tmp_path / "small")
    loaded = load_compressed(tmp_path / "small", _drawn(1).eval(), registry=REGISTRY)
    _assert_same(loaded, model)
    assert count_params(loaded) == count_params(model)
    assert loaded.again is loaded.body[0]
    assert type(loaded.stem) is nn.Conv2d
    assert read_blueprint(tmp_path / "small") == plan


@pytest.mark.parametrize("method", ["tnet", "tnet[format=cp,iters=4]", "tnet[format=tt]"])
def test_what_layers_share_comes_back_shared_and_is_stored_once(method: str, tmp_path: Path) -> None:
    model, plan = _compressed(_drawn(), method, "x2")
    _trained(model)
    save_compressed(model, plan, tmp_path / "small")
    loaded = load_compressed(tmp_path / "small", _drawn(1).eval(), registry=REGISTRY)
    _assert_same(loaded, model)
    assert all(one is other for one, other in zip(loaded.more.factors, loaded.again.factors, strict=True))
    stored = load_file(tmp_path / "small")
    buffers = sum(buffer.numel() for buffer in model.buffers())
    assert sum(tensor.numel() for tensor in stored.values()) == count_params(model) + buffers


@pytest.mark.parametrize("method", ["filter_l1", "thin"])
def test_a_narrower_network_comes_back(method: str, tmp_path: Path) -> None:
    model, plan = _compressed(_drawn(0, Plain), method, "x2")
    assert plan.parts[0].layers == {}
    _trained(model)
    save_compressed(model, plan, tmp_path / "plain")
    rebuild = (lambda width: Plain(max(1, round(8 * width)))) if method == "thin" else None
    loaded = load_compressed(tmp_path / "plain", _drawn(1, Plain).eval(), registry=REGISTRY, rebuild=rebuild)
    _assert_same(loaded.eval(), model)
    assert count_params(loaded) < count_params(_drawn(1, Plain))


def test_a_narrower_network_that_is_drawn_needs_a_way_to_draw_it(tmp_path: Path) -> None:
    model, plan = _compressed(_drawn(0, Plain), "thin", "x2")
    save_compressed(model, plan, tmp_path / "plain")
    with pytest.raises(UsageError, match=r"thin cannot make its network again: .*; give rebuild="):
        load_compressed(tmp_path / "plain", _drawn(1, Plain), registry=REGISTRY)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_compressed(*_compressed(_drawn(), "tucker2", "x2"), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method", ["tt", "tnet"])
def test_dtypes_are_the_files(method: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model, plan = _compressed(_drawn(), method, "x2")
    save_compressed(model.to(dtype).eval(), plan, tmp_path / "small")
    loaded = load_compressed(tmp_path / "small", _drawn(1).eval(), registry=REGISTRY)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    assert loaded.body[1].num_batches_tracked.dtype == torch.int64
    assert count_params(loaded) == count_params(model)
    _assert_same_state(loaded, model)


def test_the_network_given_is_left_as_it_was_and_gives_its_modes(saved: Path) -> None:
    into = _drawn(1)
    into.body.eval()
    before = copy.deepcopy(into.state_dict())
    loaded = load_compressed(saved, into, registry=REGISTRY)
    assert all(torch.equal(tensor, before[name]) for name, tensor in into.state_dict().items())
    assert type(into.again) is nn.Conv2d
    assert loaded.training
    assert not any(module.training for module in loaded.body.modules())


def test_a_layer_alone_is_a_network(tmp_path: Path) -> None:
    model, plan = _compressed(nn.Linear(6, 5), "svd", "x1")
    save_compressed(model, plan, tmp_path / "layer")
    loaded = load_compressed(tmp_path / "layer", nn.Linear(6, 5), registry=REGISTRY)
    assert torch.equal(loaded(torch.ones(2, 6)), model(torch.ones(2, 6)))


def test_channels_last_memory_is_saved_by_value(tmp_path: Path) -> None:
    model, plan = _compressed(_drawn(), "tucker2", "x2")
    model.to(memory_format=torch.channels_last).eval()
    save_compressed(model, plan, tmp_path / "small")
    loaded = load_compressed(tmp_path / "small", _drawn(1).eval(), registry=REGISTRY)
    _assert_same(loaded, model)


def test_the_file_says_what_was_done(saved: Path) -> None:
    with safe_open(saved, "pt") as opened:
        about = json.loads(opened.metadata()["tnbench"])
    assert about["format"] == 1
    plan = about["blueprint"]
    assert plan["rank"] == "x2"
    assert plan["notes"] == {"stem": "first or last layer", "head": "first or last layer"}
    first, *_ = plan["parts"]
    assert first["name"] == "body.0"
    assert first["method"] == "tucker2"
    assert first["layers"] == {"body.0": [8, 8, 3, 3]}
    assert first["factors"] == [
        [first["ranks"][0], 8, 1, 1],
        [*first["ranks"][::-1], 3, 3],
        [8, first["ranks"][1], 1, 1],
    ]
    assert about["ties"]["again.0.weight"] == "body.0.0.weight"


def test_nothing_else_is_left_beside_the_file(saved: Path) -> None:
    assert list(saved.parent.iterdir()) == [saved]


def test_a_save_that_fails_leaves_the_file_before(saved: Path) -> None:
    before, (model, plan) = saved.read_bytes(), _compressed(_drawn(), "svd", "x2")
    broken = Blueprint(plan.rank, (PartBlueprint("x", object(), {}, (), ()),), {})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        save_compressed(model, broken, saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


class Renamed(Small):
    def __init__(self) -> None:
        super().__init__()
        self.moar = self.more
        del self.more


class Wider(Small):
    def __init__(self) -> None:
        super().__init__(12)


class Biased(Small):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Conv2d(8, 8, 3, padding=1)


class Unbiased(Small):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 10, bias=False)


class MoreClasses(Small):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 100)


class Without(Small):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Identity()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Renamed, "the network has no layer 'more'; the nearest is 'moar'"),
        (Wider, r"layer 'body.0': got a weight \(12, 12, 3, 3\), wanted \(8, 8, 3, 3\)"),
        (Without, "layer 'more': got a Identity without a weight, wanted"),
        (Biased, "the network has a tensor 'more.2.bias', the file has none"),
        (Unbiased, "the file has a tensor 'head.bias', the network has none"),
        (MoreClasses, r"tensor 'head.weight': got \(100, 12\), the file has \(10, 12\)"),
    ],
)
def test_another_architecture_is_refused(kind: Any, message: str, saved: Path) -> None:
    with pytest.raises(UsageError, match=message) as refusal:
        load_compressed(saved, _drawn(0, kind), registry=REGISTRY)
    assert str(refusal.value).startswith(f"{saved}: ")
    assert str(refusal.value).endswith("wanted the architecture that was compressed")


def test_weights_that_are_shared_in_the_file_alone_are_refused(tmp_path: Path) -> None:
    tied, untied = (nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)) for _ in range(2))
    tied[2].weight = tied[0].weight
    model, plan = _compressed(tied, "svd", "x2", keep=("0", "2"))
    save_compressed(model, plan, tmp_path / "tied")
    loaded = load_compressed(tmp_path / "tied", tied, registry=REGISTRY)
    assert loaded[2].weight is loaded[0].weight
    with pytest.raises(UsageError, match=r"the tensor '2.weight' is shared with others in the network or in the file"):
        load_compressed(tmp_path / "tied", untied, registry=REGISTRY)


def test_a_network_without_memory_is_refused(saved: Path) -> None:
    with pytest.raises(UsageError, match="is on the meta device"):
        load_compressed(saved, _drawn().to("meta"), registry=REGISTRY)


def _rewritten(saved: Path, metadata: dict[str, str] | None) -> Path:
    tensors = load_file(saved)
    save_file(tensors, saved, metadata=metadata)
    return saved


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"tnbench": "{}"}, {"tnbench": "3"}])
def test_another_safetensors_file_is_refused(metadata: dict[str, str] | None, saved: Path) -> None:
    with pytest.raises(TnbenchError, match="without an entry 'tnbench' in its metadata; wanted one that tnbench's"):
        load_compressed(_rewritten(saved, metadata), _drawn(), registry=REGISTRY)


def test_a_newer_format_is_refused_by_its_number(saved: Path) -> None:
    with pytest.raises(TnbenchError, match="of format 7, newer than this tnbench's 1; update tnbench"):
        load_compressed(_rewritten(saved, {"tnbench": '{"format": 7}'}), _drawn(), registry=REGISTRY)


def test_half_a_file_and_no_file_are_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:200])
    with pytest.raises(TnbenchError, match="not a whole safetensors file"):
        load_compressed(saved, _drawn(), registry=REGISTRY)
    saved.write_bytes(b"")
    with pytest.raises(TnbenchError, match="not a whole safetensors file"):
        read_blueprint(saved)
    with pytest.raises(TnbenchError, match="absent: cannot read it"):
        load_compressed(saved.parent / "absent", _drawn(), registry=REGISTRY)


def test_a_method_that_is_not_known_here_is_named(saved: Path) -> None:
    with safe_open(saved, "pt") as opened:
        text = opened.metadata()["tnbench"].replace('"tucker2"', '"tuckerx"')
    with pytest.raises(UsageError, match="no method is named 'tuckerx'; the nearest is"):
        load_compressed(_rewritten(saved, {"tnbench": text}), _drawn(), registry=REGISTRY)
