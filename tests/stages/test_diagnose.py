"""What a record says of each compressed layer alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tnbench.core.case import Case
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings
from tnbench.stages import tools as tools_stage
from tnbench.stages.case import run_case
from tnbench.stages.conditions import calibration_pictures
from tnbench.stages.prepare import prepare
from tnbench.stages.tools import CaseTools


def job_of(case: str, results: Path, **settings: object) -> Job:
    given = Settings(device="cpu", epochs=0).changed(settings)
    return Job(Case.parse(case), "", given, Limits(), Path("nowhere"), results)


def layers_of(case: str, results: Path, **settings: object) -> tuple[dict[str, Any], Job]:
    job = job_of(case, results, **settings)
    record = run_case(job)
    return {layer["name"]: layer for layer in record.layers}, job


def test_costs_are_those_of_the_layers(tmp_path: Path) -> None:
    layers, _ = layers_of("tucker2/x4/cnn8/digits/scratch/threads:1#0", tmp_path)
    assert layers["conv1"]["diagnosis"] == {}
    found = layers["conv4"]["diagnosis"]
    R1, R2 = layers["conv4"]["ranks"]
    assert found["macs_dense"] == 64 * 128 * 9 * 16
    assert found["macs"] == 16 * (64 * R1 + R1 * R2 * 9 + R2 * 128)
    assert found["bound"] in ("compute", "memory", "launches")
    assert min(found["time_ms"], found["time_ms_dense"], found["intensity"], found["peak_share"]) > 0
    numbers = layers["conv4"]["params"] + 16 * (64 + R1 + R1 + R2 + R2 + 128)
    assert found["intensity"] == pytest.approx(2 * found["macs"] / (4 * numbers))


def test_output_errors_are_on_calibration_pictures(tmp_path: Path) -> None:
    layers, job = layers_of("svd/x4/cnn8/digits/scratch/threads:1#0", tmp_path)
    prepared = prepare(job)
    dense, pictures = prepared.build().eval(), calibration_pictures(prepared, 256).pictures
    with torch.inference_mode():
        x = torch.relu(dense.bn1(dense.conv1(pictures)))
        y = dense.conv2(x)
    rank = layers["conv2"]["ranks"][0]
    U, s, V = torch.linalg.svd(dense.conv2.weight.detach().flatten(1))
    near = (U[:, :rank] * s[:rank]) @ V[:rank]
    near *= dense.conv2.weight.norm() / near.norm()  # as training from scratch rescales it
    with torch.inference_mode():
        wrong = torch.nn.functional.conv2d(x, near.view_as(dense.conv2.weight), padding=1)
    wanted = float(torch.dist(wrong, y) / y.norm())
    assert layers["conv2"]["diagnosis"]["output_error"] == pytest.approx(wanted, rel=1e-3)


def test_too_few_pictures_leave_output_errors_out(tmp_path: Path) -> None:
    layers, _ = layers_of("svd/x4/cnn8/digits/scratch/threads:1#0", tmp_path, limit_train=128)
    assert "output_error" not in layers["conv2"]["diagnosis"]
    assert layers["conv2"]["diagnosis"]["macs"] > 0


def test_of_several_decompositions_the_last_one_alone_is_diagnosed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[torch.nn.Module, torch.nn.Module]] = []
    diagnose = tools_stage.diagnose

    def counted(prepared: Any, dense: Any, compressed: Any, summary: Any) -> Any:
        given.append((dense, compressed))
        return diagnose(prepared, dense, compressed, summary)

    monkeypatch.setattr(tools_stage, "diagnose", counted)
    tools = CaseTools(prepare(job_of("svd/x4/cnn8/digits/scratch/threads:1#0", tmp_path)))
    dense = tools.fresh()
    first, last = tools.compress(dense), tools.compress(dense)
    untrained = last.conv2[0].weight.detach().clone()
    with torch.no_grad():
        for model in (dense, first, last):
            for parameter in model.parameters():
                parameter.zero_()
    layers = {layer["name"]: layer for layer in tools.layers()}
    ((before, after),) = given
    assert torch.equal(before.conv2.weight, tools.fresh().conv2.weight)
    assert torch.equal(after.conv2[0].weight, untrained)
    assert 0 < layers["conv2"]["diagnosis"]["output_error"] < 1


def test_cp_says_how_far_its_terms_cancel(tmp_path: Path) -> None:
    layers, _ = layers_of("cp[iters=10]/x4/cnn8/digits/scratch/threads:1#0", tmp_path)
    assert {"congruence", "cancellation", "sensitivity"} <= layers["conv2"]["diagnosis"].keys()
