"""Distillation: the teacher is the baseline and stays it, and the loss is Hinton's."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tnbench.core.protocols import Augmentation, Normalisation, Recipe
from tnbench.distributed.crew import alone
from tnbench.engine.loop import fit
from tnbench.training import distill


def networks() -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3)) for _ in range(2)]
    return layers[0], layers[1]


def test_the_loss_weighs_labels_against_the_softened_scores_of_the_teacher():
    teacher, _ = networks()
    guide = distill.Distill(teacher, temperature=2.0, weight=0.25)
    inputs, scores = torch.randn(5, 16), torch.randn(5, 3)
    loss = guide.loss(teacher, inputs, scores, torch.zeros(5), torch.tensor(3.0))
    wanted = (teacher(inputs) / 2).softmax(1)
    divergence = (wanted * (wanted.log() - (scores / 2).log_softmax(1))).sum(1).mean()
    assert float(loss) == pytest.approx(float(0.75 * 3 + 0.25 * 4 * divergence), rel=1e-5)


def test_the_teacher_is_unchanged_by_training():
    teacher, student = networks()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    untrained = {name: value.clone() for name, value in student.state_dict().items()}
    guide = distill.Distill(teacher, temperature=4.0, weight=0.5)
    generator = torch.Generator().manual_seed(1)
    fit(
        student,
        torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8, generator=generator),
        torch.arange(20) % 3,
        normalisation=Normalisation((0.5,), (0.5,)),
        augmentation=Augmentation(),
        recipe=Recipe(epochs=2, lr=0.1, batch_size=10, momentum=0.9, weight_decay=5e-4, seed=3),
        crew=alone("cpu"),
        dtype=torch.float32,
        guide=guide,
    )
    assert all(torch.equal(value, before[name]) for name, value in guide.teacher.state_dict().items())
    assert not any(parameter.grad is not None for parameter in guide.teacher.parameters())
    assert not torch.equal(student.state_dict()["1.weight"], untrained["1.weight"])


def test_the_teacher_of_a_case_is_its_baseline(digits, monkeypatch):
    guides: list[distill.Distill] = []
    monkeypatch.setattr(distill, "Distill", lambda *given: guides.append(distill_class(*given)) or guides[-1])
    _, tools = digits.run("svd[only=conv2]", "distill")
    (guide,) = guides
    expected = digits.dense().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in guide.teacher.state_dict().items())
    _, plain = digits.run("svd[only=conv2]", "finetune")
    assert tools.fits[0].loss != plain.fits[0].loss


distill_class = distill.Distill


def test_a_student_that_only_follows_comes_nearer_to_its_teacher():
    teacher, student = networks()
    guide = distill.Distill(teacher, temperature=1.0, weight=1.0)
    inputs = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(student.parameters(), lr=0.5)

    def apart() -> float:
        with torch.no_grad():
            return float(functional.mse_loss(student.eval()(inputs).softmax(1), teacher(inputs).softmax(1)))

    before = apart()
    for _ in range(40):
        optimiser.zero_grad()
        guide.loss(student, inputs, student.train()(inputs), torch.zeros(64), torch.zeros(())).backward()
        optimiser.step()
    assert apart() < before / 4
