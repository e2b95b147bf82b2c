import dataclasses
import subprocess
import sys
from collections import Counter

import pytest
from sweep_plugins import write_plugin

from tnbench.core.baseline import Baseline
from tnbench.core.errors import UsageError
from tnbench.core.record import BAD_STATUSES, Record
from tnbench.core.settings import Limits, Settings, baseline_key, record_key
from tnbench.store.checkpoints import checkpoint_path
from tnbench.sweep import device as device_module
from tnbench.sweep.plan import Request, make_plan

SVD = "svd/x4/cnn8/digits/finetune/single#0"
SCRATCH = "svd/x4/cnn8/digits/scratch/single#0"
SUITE = """
summary = "Mine."
[settings]
epochs = 2
[limits]
timeout_s = 100
[[product]]
method = ["dense", "svd", "tt"]
rank = ["x4", "x8"]
model = "cnn8"
dataset = "digits"
training = "finetune"
seeds = 2
[[exclude]]
select = "method=tt rank=x8"
reason = "known to be slow"
"""


@pytest.fixture
def plan(world):
    """A plan of single cases in the world as it is now."""

    def make(*cases, registry=None, **more):
        request = Request(cases=cases or (SVD,), data_root=world.data, results=world.results, **more)
        return make_plan(request, registry or world.registry(), world.store())

    return make


@pytest.fixture
def entry(plan):
    """The only entry of a plan of one case."""

    def make(*args, **more):
        (only,) = plan(*args, **more).entries
        return only

    return make


@pytest.fixture
def ran(world, entry):
    """Record the case as if it had been run now."""

    def record(status="ok", case=SVD, reason="", **more):
        planned = entry(case, **more)
        world.store().append(
            Record(
                planned.case.id,
                planned.key,
                status,
                reason,
                settings=planned.job.settings.as_json(),
                limits=dataclasses.asdict(planned.job.limits),
                provenance={"identity": planned.identity},
            )
        )
        return planned

    return record


def store_baseline(world, **changes):
    """A trained baseline of SVD's, with its checkpoint."""
    values = {
        "model": "cnn8",
        "dataset": "digits",
        "seed": 0,
        "key": baseline_key("cnn8", "digits", 0, Settings(device="cpu")),
        "digest": "f" * 64,
        "origin": "trained",
        "data_digest": "d1",
        "versions": {"model": 1, "dataset": 1},
        **changes,
    }
    path = checkpoint_path(world.results, values["digest"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    baseline = Baseline(**values)
    world.store().append_baseline(baseline)
    return baseline


def import_baseline(world, digest="a" * 64, **more):
    return store_baseline(world, seed=None, key="", origin="imported", digest=digest, **more)


# -------------------------------------------------------------------------------------------------- what is asked


def test_a_suite_in_its_order_with_exclusions_skipped(world, write_suite):
    request = Request(suite=str(write_suite(SUITE)), data_root=world.data, results=world.results)
    plan = make_plan(request, world.registry(), world.store())
    assert (plan.name, plan.summary, plan.limits) == ("mine", "Mine.", Limits(100))
    assert plan.settings == Settings(device="cpu", epochs=2)
    assert Counter(entry.action for entry in plan.entries) == {"run": 8, "skip": 2}
    assert [f"{entry.case.method} {entry.case.rank}" for entry in plan.entries[:5]] == [
        *("dense full", "svd x4", "svd x8", "tt x4", "tt x8"),
    ]
    skipped = plan.entries[4]
    assert (skipped.why, skipped.job) == ("known to be slow", None)
    assert (skipped.record.status, skipped.record.reason) == ("skipped", "known to be slow")
    assert [node.label for node in plan.baselines] == ["baseline cnn8 on digits#0", "baseline cnn8 on digits#1"]
    assert not world.results.exists()


def test_selection_seeds_overrides_and_timeout(world, write_suite):
    request = Request(
        suite=str(write_suite(SUITE)),
        select="method=svd rank=x4",
        seeds=3,
        overrides={"epochs": 5},
        timeout_s=7.0,
        data_root=world.data,
        results=world.results,
    )
    plan = make_plan(request, world.registry(), world.store())
    assert [entry.case.id for entry in plan.entries] == [f"{SVD[:-1]}{seed}" for seed in range(3)]
    assert (plan.settings.epochs, plan.limits) == (5, Limits(7.0))
    job = plan.entries[0].job
    assert (job.settings, job.limits, job.data_root, job.results) == (
        plan.settings,
        plan.limits,
        world.data,
        world.results,
    )
    assert job.key == plan.entries[0].key == record_key(job.case, plan.settings)
    assert job.plugin_files == world.registry().plugin_files


def test_cases_of_a_suite_run_under_its_settings_and_exclusions(world, write_suite):
    cases = ("tt/x8/cnn8/digits/finetune/single#0", "cp/x2/cnn8/digits/scratch/single#9")
    request = Request(suite=str(write_suite(SUITE)), cases=cases, data_root=world.data, results=world.results)
    plan = make_plan(request, world.registry(), world.store())
    assert [(entry.case.id, entry.action) for entry in plan.entries] == list(zip(cases, ("skip", "run"), strict=True))
    assert plan.settings.epochs == 2


def test_a_case_named_twice_stands_once(plan):
    assert len(plan(SVD, SVD).entries) == 1


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("tt/x4/cnn8/digits+mnist/scratch/single", "dataset digits+mnist: mixtures (+) are not served"),
        ("dense/x4/cnn8/digits/scratch/single", "method dense with rank x4: dense goes with rank full"),
        ("tt/full/cnn8/digits/scratch/single", "method tt with rank full: dense goes with rank full"),
    ],
)
def test_what_is_not_served_is_skipped_with_a_reason(entry, case, why):
    found = entry(case)
    assert found.action == "skip"
    assert why in found.why
    assert found.record.status == "skipped"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"cases": ("svt/x4/cnn8/digits/scratch/single",)}, "no method is named 'svt'; the nearest is 'svd'"),
        ({"cases": ("svd/x0/cnn8/digits/scratch/single",)}, "rank: got 'x0'"),
        ({"cases": ("svd/x4/cnn8",)}, "case: got 'svd/x4/cnn8' with 3 parts, wanted 6"),
        ({"cases": ("svd/x4/cnn8/digits/scratch/ddp",)}, "parallel: got 'ddp' without a count"),
        ({"cases": (SVD,), "select": "method=tt"}, "--select: method=tt leaves no case; on method there are: svd"),
        ({"cases": (SVD,), "overrides": {"epochs": -1}}, "settings: got epochs = -1"),
        ({"cases": (SVD,), "overrides": {"epoch": 1}}, "no setting is named 'epoch'; the nearest is 'epochs'"),
        ({"cases": (SVD,), "overrides": {"device": "gpu"}}, "device: got 'gpu', wanted auto, cpu, cuda or cuda:N"),
        ({"cases": (SVD,), "overrides": {"device": "cdua"}}, "the nearest is 'cuda'"),
        ({"cases": (SVD,), "timeout_s": 0.0}, "limits: got timeout_s = 0"),
        ({"cases": (SVD,), "rerun": ("fialed",)}, "--rerun: no status is named 'fialed'; the nearest is 'failed'"),
        ({"cases": (SVD,), "seeds": 2}, "--seeds: it is for the products of a suite"),
        ({"suite": "quick", "seeds": 0}, "--seeds: got 0, wanted a number from 1 on"),
        ({"suite": "quik"}, "no suite is named 'quik'; the nearest is 'quick'"),
        ({}, "got neither a suite nor a case"),
    ],
)
def test_a_wrong_request_is_refused_and_nothing_written(world, more, said):
    with pytest.raises(UsageError) as error:
        make_plan(Request(data_root=world.data, results=world.results, **more), world.registry(), world.store())
    assert said in str(error.value)
    assert not world.results.exists()


def test_absent_data_are_a_wrong_request(world, plan):
    (world.data / "digits").unlink()
    with pytest.raises(UsageError, match="digits: no file"):
        plan()


@pytest.mark.parametrize("part", ["scratch[warmpu=1]", "scratch[warmup=a]"])
def test_wrong_options_are_a_wrong_request(plan, part):
    with pytest.raises(UsageError, match="training scratch"):
        plan(SCRATCH.replace("scratch", part))


def test_options_are_those_of_the_canonical_text(plan):
    (entry,) = plan(SCRATCH.replace("scratch", "scratch[warmup=2]")).entries
    assert entry.case.training == "scratch[warmup=2]"


# -------------------------------------------------------------------------------------------------- the device


def test_devices_are_those_of_this_machine(plan, monkeypatch):
    monkeypatch.setattr(device_module, "_gpus", lambda: 2)
    assert plan(overrides={"device": "auto"}).settings.device == "cuda"
    assert plan(overrides={"device": "cuda:1"}).settings.device == "cuda:1"
    with pytest.raises(UsageError, match="device: got 'cuda:2', this machine has cpu, cuda:0, cuda:1; choose one"):
        plan(overrides={"device": "cuda:2"})
    monkeypatch.setattr(device_module, "_gpus", lambda: 0)
    assert plan(overrides={"device": "auto"}).settings.device == "cpu"
    with pytest.raises(UsageError, match="device: got 'cuda', this machine has cpu; choose one"):
        plan(overrides={"device": "cuda"})


# ------------------------------------------------------------------------------------------- which records stand


def test_a_record_stands_while_nothing_changes(ran, entry):
    ran()
    found = entry()
    assert (found.action, found.why, found.job) == ("done", "ok", None)
    assert found.record.status == "ok"


@pytest.mark.parametrize("status", ["failed", "oom", "diverged", "crashed", "timeout", "skipped"])
def test_a_bad_end_stands_unless_it_is_to_be_rerun(ran, entry, status):
    ran(status, reason="for a reason")
    assert (entry().action, entry().why) == ("done", f"{status}: for a reason")
    assert entry(rerun=("ok",)).action == "done"
    again = entry(rerun=("ok", status))
    assert (again.action, again.why) == ("run", f"--rerun {status}: for a reason")
    assert again.job.attempt == 2


def test_an_interrupted_run_never_stands_nor_hides(ran, entry):
    ran("interrupted")
    assert (entry().action, entry().why) == ("run", "the last run was interrupted")
    ran("ok")
    ran("interrupted", fresh=True)
    assert entry().action == "done"


@pytest.mark.parametrize("status", BAD_STATUSES)
def test_a_good_record_stands_although_it_ended_badly_since(ran, entry, status):
    ran("ok")
    ran(status, fresh=True)
    assert (entry().action, entry().why) == ("done", "ok")
    assert entry(rerun=(status,)).action == "done"


def test_fresh_runs_all_again(ran, entry):
    ran()
    assert (entry(fresh=True).action, entry(fresh=True).why) == ("run", "--fresh runs everything again")


def test_a_timeout_stands_under_limits_up_to_its_own(ran, entry):
    ran("timeout", timeout_s=60.0)
    assert entry(timeout_s=60.0).action == entry(timeout_s=30.0).action == "done"
    assert entry(timeout_s=90.0).why == "it was ended at 60 s; the limit is 90 s now"


def test_raising_the_limit_reruns_only_what_it_ended(ran, entry):
    ran("ok", timeout_s=60.0)
    assert entry(timeout_s=90.0).action == "done"


def test_why_other_settings_do_not_stand(ran, entry):
    ran()
    ran(overrides={"epochs": 3, "lr": 0.5})
    found = entry(overrides={"epochs": 3})
    assert (found.action, found.why) == ("run", "settings differ: lr 0.5 → 0.02")
    assert entry(overrides={"epochs": 4}).why == "settings differ: epochs 1 → 4"
    assert entry(overrides={"epochs": 3, "lr": 1.0, "dtype": "float64"}).why == (
        "settings differ: dtype float32 → float64, lr 0.5 → 1.0"
    )


def test_why_another_version_does_not_stand(world, ran, entry):
    ran()
    write_plugin(world.package / "methods", "svd", '"The svd."\nVERSION = 2')
    found = entry()
    assert (found.action, found.why) == ("run", "plug-in svd: version 1 → 2")


def test_a_changed_source_is_noted_where_the_version_did_not(world, ran, entry):
    ran()
    write_plugin(world.package / "methods", "svd", '"The svd, told anew."\nVERSION = 1')
    found = entry()
    assert found.action == "done"
    assert found.why == "ok; the source of plug-in svd changed since, its version did not"


@pytest.mark.parametrize(("status", "action"), [("failed", "run"), ("crashed", "run"), ("diverged", "done")])
def test_a_failure_stands_no_longer_than_the_source_that_failed(world, ran, entry, status, action):
    ran(status, reason="on purpose")
    write_plugin(world.package / "methods", "svd", '"The svd, mended."\nVERSION = 1')
    assert entry().action == action
    assert f"{status}: on purpose; the source of plug-in svd changed since" in entry().why


def test_why_other_data_or_another_machine_do_not_stand(world, ran, entry):
    ran()
    (world.data / "digits").write_text("d2")
    assert entry().why == "the data's digest differs: d1 → d2"
    (world.data / "digits").write_text("d1")
    world.machine["device_model"] = "Another processor"
    assert entry().why == "the device differs: A processor → Another processor"
    world.machine.update(device_model="A processor", torch="2.16.0")
    assert entry().why == "torch differs: 2.15.0 → 2.16.0"
    world.machine["torch"] = "2.15.0"
    assert entry().action == "done"


def test_a_case_without_records_and_one_without_provenance(world, entry):
    assert entry().why == "no record yet"
    world.store().append(Record(SVD, entry().key, "ok"))
    assert entry().action == "run"
    assert "plug-in svd: version None → 1" in entry().why


def test_a_record_taken_back_does_not_stand(world, ran, entry):
    ran()
    store = world.store()
    store.drop(store.records(), "wrong")
    assert (entry().action, entry().why, entry().job.attempt) == ("run", "no record yet", 2)


# -------------------------------------------------------------------------------------------------- baselines


def test_a_training_that_needs_no_baseline_plans_none(plan):
    made = plan(SCRATCH)
    assert made.baselines == ()
    assert (made.entries[0].baseline, made.entries[0].job.baseline) == ("", None)


def test_one_node_for_all_cases_of_a_model_dataset_and_seed(plan):
    made = plan(SVD, "tt/x2/cnn8/digits/finetune/ddp:2#0", SVD.replace("#0", "#1"), overrides={"baseline_epochs": 3})
    zero, one = made.baselines
    assert [entry.baseline for entry in made.entries] == [zero.key, zero.key, one.key]
    assert zero.key == baseline_key("cnn8", "digits", 0, made.settings)
    assert zero.job.case.id == "dense/full/cnn8/digits/scratch/single#0"
    assert (zero.why, zero.versions) == ("no stored baseline yet", {"model": 1, "dataset": 1})


def test_a_stored_baseline_serves(world, plan):
    stored = store_baseline(world)
    made = plan(overrides={"epochs": 7})
    assert made.baselines == ()
    assert made.entries[0].job.baseline == stored
    assert plan(overrides={"baseline_epochs": 7}).baselines[0].why == "no stored baseline yet"


def test_why_a_stored_baseline_does_not_serve(world, plan):
    store_baseline(world)
    assert plan(fresh=True).baselines[0].why == "--fresh runs everything again"
    (world.data / "digits").write_text("d2")
    assert plan().baselines[0].why == "the data's digest differs: d1 → d2"
    (world.data / "digits").write_text("d1")
    write_plugin(world.package / "models", "cnn8", '"The cnn8."\nVERSION = 2')
    assert "plug-in versions differ" in plan().baselines[0].why
    write_plugin(world.package / "models", "cnn8", '"The cnn8."\nVERSION = 1')
    checkpoint_path(world.results, "f" * 64).unlink()
    assert "is gone" in plan().baselines[0].why


def test_no_baseline_is_planned_for_what_is_done(ran, plan):
    ran()
    assert plan().baselines == ()


def test_an_imported_baseline_serves_every_seed_and_setting_and_enters_the_key(world, plan, ran):
    ran()
    store_baseline(world)
    import_baseline(world, "b" * 64)
    newest = import_baseline(world)
    made = plan(SVD, SVD.replace("#0", "#5"), SCRATCH, overrides={"baseline_epochs": 77})
    assert made.baselines == ()
    assert [entry.job.baseline for entry in made.entries] == [newest, newest, None]
    assert made.entries[0].key == record_key(made.entries[0].case, made.settings, newest.identity)
    assert made.entries[2].key == record_key(made.entries[2].case, made.settings)
    assert (
        plan().entries[0].why
        == "the baseline differs: trained by tnbench → imported aaaaaaaa with normalisation 74234e98"
    )


def test_an_import_with_another_normalisation_is_another_baseline(world, plan, ran):
    first = import_baseline(world)
    ran()
    assert plan().entries[0].action == "done"
    again = import_baseline(world, normalisation={"mean": [0.5], "std": [0.5]})
    assert (again.digest, again.identity != first.identity) == (first.digest, True)
    assert plan().entries[0].why.startswith("the baseline differs: imported aaaaaaaa with normalisation 74234e98 → ")


def test_an_import_that_lost_its_checkpoint_is_told_before_anything_runs(world, plan):
    import_baseline(world)
    checkpoint_path(world.results, "a" * 64).unlink()
    with pytest.raises(UsageError, match=r"has lost its checkpoint .*; import it again: tnbench baseline import FILE"):
        plan()


# ---------------------------------------------------------------------------------------------- broken plug-ins


@pytest.mark.parametrize(("kind", "name"), [("dataset", "broken"), ("training", "broken"), ("rank", "broken")])
def test_a_broken_plugin_runs_so_that_its_cases_fail_one_by_one(world, plan, kind, name):
    file = write_plugin(world.root / "own", name, f'"Broken."\nKIND = "{kind}"\nimport no_such_module')
    parts = dict(zip(("method", "rank", "model", "dataset", "training"), SVD.split("/"), strict=False)) | {kind: name}
    made = plan("/".join([*parts.values(), "single#0"]), registry=world.registry(file))
    assert made.entries[0].action == "run"


# -------------------------------------------------------------------------------------------------- no torch


def test_planning_imports_no_torch(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from tnbench.core.registry import Registry\n"
        "from tnbench.store.records import Store\n"
        "from tnbench.sweep.plan import Request, make_plan\n"
        "root = Path(sys.argv[1])\n"
        "plan = make_plan(Request(suite='quick', data_root=root, results=root), Registry(), Store(root))\n"
        "assert plan.entries\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
