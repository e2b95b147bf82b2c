"""Cases whose training recomputes BatchNorm's statistics."""

from pathlib import Path

import pytest

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.stages.baseline import run_baseline
from tnbench.stages.case import run_case

SETTINGS = Settings(device="cpu", baseline_epochs=2, limit_train=512)


def job_of(results: Path, case: str, baseline: Baseline | None = None) -> Job:
    parsed = Case.parse(case)
    return Job(parsed, record_key(parsed, SETTINGS), SETTINGS, Limits(), Path("nowhere"), results, baseline=baseline)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def test_new_statistics_mend_part_of_what_truncation_broke(results: Path) -> None:
    baseline = run_baseline(job_of(results, "dense/full/cnn8/digits/bn/single#0"))
    record = run_case(job_of(results, "svd/x4/cnn8/digits/bn/single#0", baseline))
    assert record.status == "ok"
    assert record.metrics["top1"] > record.metrics["top1_before"]
    assert "train_s" not in record.metrics
    parts = [record.metrics[name] for name in ("baseline_s", "decompose_s", "recalibrate_s")]
    assert min(parts) > 0
    assert record.metrics["end_to_end_s"] == pytest.approx(sum(parts))
    assert [kind for kind, _ in record.samples["phases"]] == ["decompose", "recalibrate"]
    assert not [note for note in record.notes if "BatchNorm" in note]
