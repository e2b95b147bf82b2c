"""Every registered parallel plug-in keeps the contract, and the contract can be broken."""

import copy
import dataclasses
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.distributed.crew import alone
from tnbench.distributed.mesh import bind_mesh
from tnbench.testing.parallel import check_parallel, check_views, look_around

REGISTRY = Registry()


def forms(name):
    """The plug-in as cases may name it: with 2 where it counts, bare where it does not."""
    bare, counted = parse_part("parallel", name)[0], parse_part("parallel", f"{name}:2")[0]
    bound = REGISTRY.bind("parallel", bare)
    return bound, counted.count if bound.module.refuses(None, bound.options, "cpu") else None


NAMES = [listing.name for listing in REGISTRY.listings("parallel")]
SPREADING = [name for name in NAMES if hasattr(forms(name)[0].module, "spread")]
LAUNCHED = [name for name in NAMES if name not in SPREADING or name == "ddp"]
"""Those that spread are launched by one function, so that one of them is enough; the others have ranks that stay."""
MESHES = [f"ddp[bn=sync]:2*{name}:2" for name in ("rank_tp", "bottleneck_tp", "spatial")]


@pytest.mark.parametrize("name", LAUNCHED)
def test_keeps_the_contract(name):
    bound, count = forms(name)
    reason = bound.module.refuses(count, bound.options, "cpu") or ""
    if "without a calibration" in reason:
        pytest.skip(reason)  # what it needs is measured, and takes minutes
    check_parallel(bound.module, count=count, options=bound.options)


def look_around_as(crew, *, text):
    parts = [REGISTRY.bind("parallel", atom) for atom in parse_part("parallel", text)]
    bound = parts[0] if len(parts) == 1 else bind_mesh(parts)
    return look_around(bound.module.spread(dataclasses.replace(crew, notes=[]), None, bound.options))


@pytest.mark.parametrize("name", SPREADING)
def test_ranks_keep_the_contract(name, two_ranks):
    check_views(two_ranks.run(partial(look_around_as, text=f"{name}:2")))


@pytest.mark.parametrize("text", ["ddp[bn=sync,zero=true]:2", "ddp[compress=powersgd]:2", "fsdp[bn=sync]:2"])
def test_options_keep_the_contract(text, two_ranks):
    check_views(two_ranks.run(partial(look_around_as, text=text)))


@pytest.mark.parametrize("text", MESHES)
def test_meshes_keep_the_contract(text, four_ranks):
    check_views(four_ranks.run(partial(look_around_as, text=text)))


@pytest.mark.parametrize("name", NAMES)
def test_refusals_are_sentences_that_name_what_is_wanted(name):
    bound, count = forms(name)
    reason = bound.module.refuses(None if count else 2, bound.options, "cpu")
    assert f"got {name}" in reason
    assert "wanted" in reason


def plugin(change=lambda crew: crew, results=lambda results: results, refusal=None, swallow=False):
    """A plug-in of one process that breaks the contract as told."""

    def launch(entry, count, options, device, plugin_files):
        try:
            return results([entry(change(alone(device)))])
        except NotApplicable:
            if swallow:
                return [None]
            raise

    return SimpleNamespace(refuses=lambda count, options, device: refusal, launch=launch)


def leave_a_process(results):
    STARTED.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    return results


def leave_a_variable(results):
    os.environ["TNBENCH_LEFT"] = "1"
    return results


STARTED: list[subprocess.Popen] = []


@pytest.fixture
def cleared():
    yield
    os.environ.pop("TNBENCH_LEFT", None)
    for process in STARTED:
        process.communicate()
    STARTED.clear()


def change(**fields):
    return lambda crew: dataclasses.replace(crew, **fields)


def doubled(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: 2 * gradient)
    return model


def early(view):
    return view._replace(after_barrier=view.before_barrier - 1)


def lacking(model):
    return {name: value for name, value in model.state_dict().items() if "bias" not in name}


def in_halves(model):
    """Each half of the batch is normalised by itself."""
    return HalfByHalf(model)


class HalfByHalf(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return torch.cat([self.model(half) for half in x.tensor_split(2)])


def wordless(view):
    return [view._replace(rank=rank, world=2) for rank in (0, 1)]


def test_a_sound_plugin_passes(cleared):
    check_parallel(plugin(), count=None)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (plugin(refusal="no such thing"), "refuses: got the reason 'no such thing'"),
        (plugin(results=lambda results: []), "launch: got no result"),
        (plugin(change(rank=1, share=(0, 1))), r"got \(rank, world\) \[\(1, 1\)\], wanted \[\(0, 1\)\]"),
        (plugin(change(world=2)), r"got \(rank, world\) \[\(0, 2\)\]"),
        (plugin(change(threads=99)), "rank 0 says 99 threads"),
        (plugin(results=lambda views: [view._replace(device="cuda") for view in views]), "rank 0 is on cuda"),
        (plugin(results=lambda views: [early(view) for view in views]), "barrier: a rank left it"),
        (plugin(change(wrap=doubled)), r"wrap: rank 0 gathers the weight [\d.]+\w+ that differs by 1.0e\+00 of the"),
        (plugin(change(wrap=in_halves)), "wanted at most 1e-10, or a note that says what is done in BatchNorm"),
        (plugin(change(wrap=lambda model: copy.deepcopy(model))), "wanted it trained in place"),
        (plugin(change(gather=lacking)), "gather: lacks 0.bias, 3.2.bias, 7.bias, wanted every weight under its name"),
        (plugin(results=lambda views: wordless(views[0])), "rank 0 of 2 counted no word in a step"),
        (plugin(swallow=True), r"errors: got \[None\]"),
        (plugin(results=leave_a_process), "left behind: child processes"),
        (plugin(results=leave_a_variable), "left behind: environment variables"),
    ],
)
def test_a_broken_plugin_is_caught(broken, says, cleared):
    with pytest.raises(AssertionError, match=says):
        check_parallel(broken, count=None)


def test_what_cannot_be_equal_may_say_so(cleared):
    def noting(crew):
        crew.notes.append("BatchNorm normalises half by half")
        return dataclasses.replace(crew, wrap=in_halves)

    check_parallel(plugin(noting), count=None)


def test_a_plugin_that_trains_nothing_must_refuse_to(cleared):
    broken = plugin()
    broken.TRAINS = False
    with pytest.raises(AssertionError, match=r"launch: got \[View.* where TRAINS is false, wanted NotApplicable"):
        check_parallel(broken, count=None)


def test_an_error_of_another_type_is_caught():
    def launch(entry, count, options, device, plugin_files):
        try:
            return [entry(alone(device))]
        except NotApplicable as error:
            raise RuntimeError(str(error)) from error

    broken = SimpleNamespace(refuses=lambda count, options, device: None, launch=launch)
    with pytest.raises(AssertionError, match=r"got RuntimeError.*, wanted NotApplicable\("):
        check_parallel(broken, count=None)


def test_threads_left_changed_are_caught():
    before = torch.get_num_threads()

    def launch(entry, count, options, device, plugin_files):
        torch.set_num_threads(before + 1)
        return [entry(alone(device))]

    broken = SimpleNamespace(refuses=lambda count, options, device: None, launch=launch)
    try:
        with pytest.raises(AssertionError, match="torch's threads"):
            check_parallel(broken, count=None)
    finally:
        torch.set_num_threads(before)
