"""Plausible records, true to the schema, made without running anything."""

import random

from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.core.settings import Settings, record_key

DENSE = {"params": 40_000, "macs": 900_000, "forward_ms": 0.5}
IDENTITY = {
    "data": "d1g1t5",
    "plugins": {
        axis: {"name": axis, "version": 1, "source": "tnbench"} for axis in ("model", "dataset", "training", "parallel")
    },
    "device_model": "Ordinary CPU @ 2.0GHz",
    "torch": "2.12.0",
}


def record(
    case,
    *,
    status="ok",
    reason="",
    settings=None,
    metrics=None,
    samples=None,
    identity=None,
    provenance=None,
    notes=(),
    layers=(),
):
    parsed, chosen = Case.parse(case), Settings(device="cpu").changed(settings or {})
    return Record(
        case=parsed.id,
        key=record_key(parsed, chosen),
        status=status,
        reason=reason,
        metrics=metrics or {},
        samples=samples or {},
        layers=list(layers),
        notes=list(notes),
        settings=chosen.as_json(),
        provenance={
            "started": "2026-01-02T03:04:05+00:00",
            "host": "node1",
            "os": "Linux",
            "python": "3.12.1",
            "versions": {"tnbench": "0.1.0", "torch": "2.12.0"},
            "cpu": "Ordinary CPU @ 2.0GHz",
            "cores": 2,
            "threads": 1,
            "git_commit": None,
            "git_dirty": None,
            "oversubscribed": False,
            "baseline": {"digest": "b" * 64, "origin": "trained", "source": ""},
            "identity": {**IDENTITY, **(identity or {})},
            "suite": "quick",
            "attempt": 1,
            "log": "logs/case.log",
            "command": f"tnbench run --case '{parsed.id}'",
            **(provenance or {}),
        },
    )


def measured(case, *, top1=None, compression=1.0, latency=1.0, **more):
    """An ok record of a network `compression` times smaller; `latency` is the ratio to the dense one's."""
    noise = random.Random(case)
    milliseconds = [DENSE["forward_ms"] * latency * (1 + 0.03 * noise.random()) for _ in range(20)]
    params = round(DENSE["params"] / compression)
    macs = round(DENSE["macs"] / compression**0.8)
    metrics = {
        "params": params,
        "params_dense": DENSE["params"],
        "macs": macs,
        "macs_dense": DENSE["macs"],
        "flops": 2 * macs,
        "flops_dense": 2 * DENSE["macs"],
        "model_bytes": 4 * params,
        "train_s": 0.6 * latency,
        "train_pictures_per_s": 5000 / latency,
        "baseline_s": 2.0,
        "decompose_s": 0.02,
        "end_to_end_s": 2.02 + 0.6 * latency,
        "processes": 1,
        "threads": 1,
        "weight_error": 1 - compression**-0.5,
    }
    if top1 is not None:
        metrics |= {"top1": top1, "top1_before": top1 / 2, "correct": round(3.6 * top1), "test_pictures": 360}
        metrics |= {"top1_train": (top1 + 100) / 2, "ece": 0.3 * (100 - top1), "test_nll": 0.05 * (100 - top1)}
    samples = {"forward_ms": milliseconds, "throughput": [128 / (9 * value) * 1e3 for value in milliseconds]}
    if top1 is not None:
        samples["top1_by_class"] = [max(0.0, 100 - (100 - top1) * digit / 4.5) for digit in range(10)]
    samples |= more.pop("samples", {})
    return record(case, metrics={**metrics, **more.pop("metrics", {})}, samples=samples, **more)


_LOSS_AT = {"svd": 3.0, "tucker2": 0.8, "cp": 2.0, "tt": 1.4}


def sweep(model="cnn8", dataset="digits", training="finetune", ranks=(2, 4, 8, 16, 32), seeds=3, **more):
    """Dense and four methods over ranks and seeds, as suite `quick` has them."""
    records = []
    for seed in range(seeds):
        noise = random.Random(f"{model}{dataset}{training}{seed}")
        tail = f"{model}/{dataset}/{training}/single#{seed}"
        records.append(measured(f"dense/full/{tail}", top1=99.4 + 0.2 * noise.random(), **more))
        for method, loss in _LOSS_AT.items():
            for rank in ranks:
                lost = loss * (rank / 4) ** 1.3 * (0.8 + 0.4 * noise.random())
                records.append(
                    measured(
                        f"{method}/x{rank}/{tail}",
                        top1=max(10.0, 99.4 - lost),
                        compression=rank * (0.93 + 0.1 * noise.random()),
                        latency=(0.9 if method == "tucker2" else 1.2) + 1 / rank,
                        **more,
                    )
                )
    return records


def spread(case, step_ms, *, processes=1, threads=1, **more):
    """A record with timed steps: `step_ms` is the median of every rank, with a little noise."""
    noise = random.Random(case)
    steps = [[step_ms * (0.97 + 0.06 * noise.random()) for _ in range(30)] for _ in range(processes)]
    found = measured(
        case,
        top1=90.0,
        compression=1.0 if case.startswith("dense") else 4.0,
        metrics={"processes": processes, "threads": threads, "epoch_s": 1.0, "step_ms": step_ms},
        **more,
    )
    found.samples["step_ms"] = steps
    return found


def scaling():
    """Suite `scaling`: two methods, each on one core, on two threads and on two processes (one of them slower)."""
    times = {"dense/full": (240.0, 150.0, 230.0), "tucker2/x4": (60.0, 45.0, 66.0)}
    return [
        spread(f"{name}/resnet20/cifar10/finetune/{parallel}#0", step, processes=processes, threads=threads)
        for name, steps in times.items()
        for (parallel, processes, threads), step in zip(
            (("threads:1", 1, 1), ("threads:2", 1, 2), ("ddp:2", 2, 1)), steps, strict=True
        )
    ]


def over_ranks(case, step_ms, *, processes=1, threads=1, share=0.25, optimiser=0.1, **more):
    """As `spread`, with what the launch over ranks measures: `share` of a step goes with nothing sent."""
    found = spread(case, step_ms, processes=processes, threads=threads, **more)
    steps = found.samples["step_ms"]
    samples, metrics = found.samples, found.metrics
    samples |= {
        "fixed_step_ms": steps,
        "infer_ms": [[step / 4 for step in rank] for rank in steps],
    }
    metrics |= {
        "fixed_step_ms": step_ms,
        "infer_ms": step_ms / 4,
        "forward_phase_ms": step_ms * (0.9 - optimiser) / 3,
        "backward_phase_ms": step_ms * (0.9 - optimiser) * 2 / 3,
        "optimiser_phase_ms": step_ms * optimiser,
        "core_share": 99.0,
        "words_step": 40_000 * (processes > 1),
        "words_infer": 0,
        "predicted_step_ms": step_ms / 1.25,
        "predicted_words_step": 40_000 * (processes > 1),
    }
    if processes > 1:
        samples["muted_step_ms"] = [[(1 - share) * step for step in rank] for rank in steps]
        samples |= {"decompose_alone_s": [[0.8] * 6] * 2, "decompose_spread_s": [[0.5] * 6] * 2}
        metrics |= {"muted_step_ms": (1 - share) * step_ms, "decompose_alone_s": 0.8, "decompose_spread_s": 0.5}
    return found


def strong(seeds=3, most=4, **more):
    """Dense and Tucker-2 on one to four cores, by threads and by processes, at a fixed global batch."""
    return [
        over_ranks(
            f"{name}/resnet20/cifar10/finetune/{way}:{count}#{seed}",
            step
            / count**0.8
            * (1.15 if way == "ddp" else 1.0)
            * (1 + 0.03 * random.Random(f"{name}{way}{count}{seed}").random()),
            processes=count if way == "ddp" else 1,
            threads=count if way == "threads" else 1,
            **more,
        )
        for seed in range(seeds)
        for name, step in (("dense/full", 240.0), ("tucker2/x4", 60.0))
        for way, count in (("threads", 1), ("threads", 2), ("threads", 4), ("ddp", 2), ("ddp", 4))
        if count <= most
    ]


def weak(seeds=3):
    """Dense with a batch for each rank: two ranks take a tenth longer than one."""
    return [
        over_ranks(
            f"dense/full/resnet20/cifar10/finetune/{parallel}#{seed}",
            step,
            processes=processes,
            threads=threads,
            settings={"batch_per_rank": True},
        )
        for seed in range(seeds)
        for parallel, processes, threads, step in (
            ("threads:1", 1, 1, 100.0),
            ("threads:2", 1, 2, 105.0),
            ("ddp:2", 2, 1, 110.0),
        )
    ]


def troubled():
    """One record of every other status."""
    tail = "cnn8/digits/finetune/single#0"
    return [
        record(f"tt/x1000000/{tail}", status="skipped", reason="layer conv2 cannot reach x1000000; the most is x85"),
        record(f"cp[iters=9,solver=als]/x4/{tail}", status="failed", reason="ValueError: got [/red] & <b>bold</b>"),
        record(f"cp/x3/{tail}", status="timeout", reason="took longer than 10 s"),
        record(f"svd/x3/{tail}", status="diverged", reason="loss is nan in epoch 1"),
        record(f"tucker2/x3/{tail}", status="crashed", reason="rank 1 ended by signal 9"),
        record(f"tt/x3/{tail}", status="oom", reason="out of memory"),
        record(f"tt/x5/{tail}", status="interrupted", reason="stopped by the keyboard"),
    ]
