"""Stages that pretend: the case's rank tells what is to happen (x1 works, others end badly)."""

import os
import signal
import time

from tnbench.core.baseline import Baseline
from tnbench.core.errors import Diverged, NotApplicable
from tnbench.core.record import Record
from tnbench.core.settings import baseline_key


def train(job):
    case = job.case
    key = baseline_key(case.model, case.dataset, case.seed, job.settings)
    with (job.results / "trained").open("a") as file:
        print(case.seed, file=file)
    if case.seed == 9:
        raise Diverged("epoch 1: the loss is nan")
    if case.seed == 8:
        time.sleep(3600)
    took = float("nan") if case.seed == 7 else 1.0
    return Baseline(case.model, case.dataset, case.seed, key, "f" * 64, "trained", "d1", {"train_s": took})


def run(job):
    print(f"running {job.case}")
    rank = job.case.rank
    if rank == "x2":
        raise NotApplicable("x2 cannot be reached")
    if rank == "x3":
        raise ValueError("no such thing")
    if rank == "x4":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == "x5":
        time.sleep(3600)
    if rank == "x6":
        raise KeyboardInterrupt
    if rank == "x8":
        time.sleep(0.3)
    metrics = {"top1": float("nan") if rank == "x7" else 90.0}
    notes = [] if job.baseline is None else [f"from {job.baseline.digest[:4]}"]
    return Record(
        job.case.id,
        job.key,
        "ok",
        "",
        metrics,
        notes=notes,
        settings=job.settings.as_json(),
        limits={"timeout_s": job.limits.timeout_s},
        provenance={"host": "here"},
    )
