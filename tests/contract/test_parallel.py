"""Every registered parallel plug-in keeps the contract, and the contract can be broken."""

import dataclasses
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.distributed.crew import alone
from tnbench.testing.parallel import check_parallel

REGISTRY = Registry()


def forms(name):
    """The plug-in as cases may name it: with 2 where it counts, bare where it does not."""
    bare, counted = parse_part("parallel", name)[0], parse_part("parallel", f"{name}:2")[0]
    bound = REGISTRY.bind("parallel", bare)
    return bound, counted.count if bound.module.refuses(None, bound.options, "cpu") else None


@pytest.mark.parametrize("name", [listing.name for listing in REGISTRY.listings("parallel")])
def test_keeps_the_contract(name):
    bound, count = forms(name)
    check_parallel(bound.module, count=count, options=bound.options)


@pytest.mark.parametrize("name", [listing.name for listing in REGISTRY.listings("parallel")])
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


def test_a_sound_plugin_passes(cleared):
    check_parallel(plugin(), count=None)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (plugin(refusal="no such thing"), "refuses: got the reason 'no such thing'"),
        (plugin(results=lambda results: []), "launch: got no result"),
        (plugin(change(rank=1)), r"got \(rank, world\) \[\(1, 1\)\], wanted \[\(0, 1\)\]"),
        (plugin(change(world=2)), r"got \(rank, world\) \[\(0, 2\)\]"),
        (plugin(change(threads=99)), "rank 0 says 99 threads"),
        (plugin(results=lambda views: [view._replace(device="cuda") for view in views]), "rank 0 is on cuda"),
        (plugin(results=lambda views: [early(view) for view in views]), "barrier: a rank left it"),
        (plugin(change(wrap=doubled)), r"wrap: rank 0 has the gradient \[0.0, 2.0, 4.0\]"),
        (plugin(change(wrap=lambda model: nn.Linear(3, 1, bias=False))), "wanted it trained in place"),
        (plugin(swallow=True), r"errors: got \[None\]"),
        (plugin(results=leave_a_process), "left behind: child processes"),
        (plugin(results=leave_a_variable), "left behind: environment variables"),
    ],
)
def test_a_broken_plugin_is_caught(broken, says, cleared):
    with pytest.raises(AssertionError, match=says):
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
