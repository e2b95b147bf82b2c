"""Guides cross to other processes and do there what they do in one."""

import torch


def test_frozen_factors_and_a_teacher_on_two_ranks(digits):
    model, tools = digits.run("svd[only=conv2]", "freeze+distill", parallel="ddp:2", epochs=2)
    (fit,) = tools.fits
    assert fit.processes == 2
    assert fit.told["trains"] == [["conv2.0.weight"], ["conv2.1.weight"]]
    start, end = tools.decompositions[0].swapped.factors["conv2"], model.conv2
    assert not any(torch.equal(factor, layer.weight) for factor, layer in zip(start, end, strict=True))
