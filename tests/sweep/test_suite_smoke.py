"""The smallest suites of real pictures, in part: the whole ones take minutes."""

from pathlib import Path

import pytest

from tnbench.core.registry import Registry
from tnbench.store.records import Store
from tnbench.sweep.executors.inline import InlineExecutor
from tnbench.sweep.plan import Request, make_plan
from tnbench.sweep.runner import run_plan

pytestmark = pytest.mark.slow


class Silent:
    def planned(self, plan):
        pass

    def started(self, label, done, total, eta_s):
        pass

    def finished(self, record):
        pass

    def closed(self):
        pass


def run_part(suite, select, data_root: Path, results: Path):
    request = Request(
        suite=suite, select=select, data_root=data_root, results=results, overrides={"device": "cpu"}, timeout_s=250
    )
    registry, store = Registry(), Store(results)
    plan = make_plan(request, registry, store)
    return run_plan(plan, store=store, registry=registry, executor=InlineExecutor(), listener=Silent()).records


def test_a_part_of_mnist_smoke(mnist, tmp_path):
    records = run_part("mnist-smoke", "method=dense,tucker2 training=scratch", mnist, tmp_path)
    assert [record.status for record in records] == ["ok", "ok"], records
    for record in records:
        assert record.metrics["top1"] > 60
        assert len(record.samples["top1_by_class"]) == 10
        assert record.samples["top1_curve"] == [record.metrics["top1"]]
    dense, tucker2 = (record.metrics for record in records)
    assert tucker2["params"] < dense["params"] / 3


def test_a_part_of_cifar_smoke(cifar10, tmp_path):
    (record,) = run_part("cifar-smoke", "method=tucker2 training=scratch", cifar10, tmp_path)
    assert record.status == "ok", record.reason
    assert record.metrics["test_pictures"] == 10_000
    assert record.metrics["test_nll"] < 5
