"""Mixtures of trainings: the first one runs, the others take part in each of its fits."""

from __future__ import annotations

import json

import pytest
import torch
from training_cases import case_of, job_of

from tnbench.core.case import Case
from tnbench.core.errors import NotApplicable
from tnbench.core.registry import Registry
from tnbench.core.settings import Settings
from tnbench.stages.case import run_case
from tnbench.sweep.baselines import Baselines
from tnbench.sweep.names import check_case, why_meaningless


def losses(digits, training):
    return [loss for fit in digits.run("svd[only=conv2]", training)[1].fits for loss in fit.loss]


def test_finetuning_with_a_teacher_is_distillation(digits):
    distilled = losses(digits, "finetune+distill[weight=0.9]")
    assert distilled == losses(digits, "distill[weight=0.9]") != losses(digits, "finetune")


def test_a_companion_takes_part_in_every_fit(digits):
    alone, both = losses(digits, "iterative"), losses(digits, "iterative+distill")
    assert len(alone) == len(both) == 3
    assert all(one != other for one, other in zip(alone, both, strict=True))


def test_a_penalty_is_not_weighed_with_the_teacher(digits):
    """The driving training's own part of the loss comes on top of the mixture of labels and teacher."""
    settings = {"epochs": 2, "batch_size": 128}
    one = {
        training: digits.run("svd[only=conv2]", training, **settings)[1].fits[0].loss[0]
        for training in ("admm[rho=8]", "admm[rho=16]", "admm[rho=8]+distill", "admm[rho=16]+distill")
    }
    alone = one["admm[rho=16]"] - one["admm[rho=8]"]
    assert one["admm[rho=16]+distill"] - one["admm[rho=8]+distill"] == pytest.approx(alone, rel=1e-4)
    assert alone > 1


def test_three_go_together(digits):
    _, tools = digits.run("tucker2[only=conv2]", "iterative+distill+freeze")
    assert [fit.told["trains"] for fit in tools.fits] == [[[f"conv2.{place}.weight"]] for place in range(3)]


def test_factors_take_turns_over_the_fits_of_networks_that_have_some(digits):
    _, tools = digits.run("svd[only=conv2]", "admm+freeze", epochs=4)
    dense, factorised = ([["conv2.0.weight"], ["conv2.1.weight"]] if number else [[], []] for number in range(2))
    assert [fit.told["trains"] for fit in tools.fits] == [dense, factorised]
    with pytest.raises(NotApplicable, match="layer 'conv2' has 2: got 1 epoch for them, wanted at least 2"):
        digits.run("svd[only=conv2]", "admm+freeze", epochs=3)


@pytest.mark.parametrize("training", ["admm+distill", "dlrt[tau=0.3]"])
def test_a_record_has_phases_and_paths(digits, training):
    record = run_case(job_of(digits.results, case_of("tucker2[only=conv2]", training), digits.baseline))
    assert record.status == "ok"
    assert json.loads(json.dumps(record.as_json(), allow_nan=False)) == record.as_json()
    kinds = [kind for kind, _ in record.samples["phases"]]
    assert kinds.count("decompose") == len(record.samples["rank_path"]) == 2
    for kind, metric in (("decompose", "decompose_s"), ("train", "train_s")):
        seconds = [took for what, took in record.samples["phases"] if what == kind]
        assert sum(seconds) == pytest.approx(record.metrics[metric])
    told = record.samples["ranks" if training.startswith("dlrt") else "distance"]
    assert len(told) == (3 if training.startswith("dlrt") else 2)
    assert 0 < sum(record.samples["guide_s"]) < record.metrics["train_s"]


@pytest.mark.parametrize("training", ["admm+distill", "dlrt[tau=0.3]", "riemannian", "freeze"])
def test_the_same_seed_gives_the_same_bits(digits, training):
    first, again = (digits.run("tucker2[only=conv2]", training)[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_a_mixture_needs_what_any_of_it_needs(digits):
    baselines = Baselines.__new__(Baselines)
    baselines._registry, baselines._needed = Registry(), {}
    case = Case.parse(case_of("svd", "scratch"))
    assert not baselines.needed(case)
    assert baselines.needed(Case.parse(case_of("svd", "scratch+distill")))
    _, tools = digits.run("svd[only=conv2]", "scratch+distill")
    assert len(tools.fits[0].loss) == 3


def test_a_mixture_of_trainings_is_served():
    case = Case.parse(case_of("svd", "admm+distill"))
    check_case(case, Registry())
    assert why_meaningless(case) == ""
    assert Settings().epochs == 1
