import re

import pytest

from tnbench.core import errors, metrics
from tnbench.core.errors import TnbenchError, nearest, unknown
from tnbench.core.metrics import METRICS

UNIT_OF_SUFFIX = {"_s": "s", "_ms": "ms", "_bytes": "byte", "_per_s": "1/s", "_j": "J"}


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_every_metric_says_what_it_is(metric):
    assert METRICS[metric.name] is metric
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.better in ("higher", "lower", "neither")
    assert metric.unit
    assert "\n" not in metric.summary.strip()
    assert metric.summary


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_unit_in_a_name_is_the_unit(metric):
    suffix = re.search(r"_(per_s|s|ms|bytes|j)$", metric.name)
    if suffix:
        assert metric.unit == UNIT_OF_SUFFIX[suffix[0]]
    else:
        assert metric.unit not in UNIT_OF_SUFFIX.values() or metric.name == "throughput"


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_what_is_timed_varies_from_launch_to_launch(metric):
    assert metric.varies in ("launch", "seed", "never")
    timed = metric.unit in ("s", "ms", "1/s", "J") or metric.name.endswith(("_peak_bytes", "_share"))
    assert timed == (metric.varies == "launch") or metric.derived


def test_a_metric_is_declared_once():
    assert len(metrics._ALL) == len(METRICS)


def test_ratios_are_derived_and_no_ratio_of_flops_is_a_speedup():
    assert all(metric.derived for name, metric in METRICS.items() if "speedup" in name or "compression" in name)
    assert not [name for name, metric in METRICS.items() if "speedup" in name and "mac" in metric.summary]


def test_nearest_names():
    assert nearest("tuker2", ["tucker2", "tt"]) == "tucker2"
    assert nearest("zzz", ["tucker2", "tt"]) is None
    assert unknown("method", "tuker2", ["tucker2", "tt"]) == (
        "no method is named 'tuker2'; the nearest is 'tucker2' (known: tt, tucker2)"
    )
    assert unknown("method", "zzz", ["tt", "tt"]) == "no method is named 'zzz' (known: tt)"


@pytest.mark.parametrize("name", ["UsageError", "NotApplicable", "Diverged", "RankDied", "PluginError"])
def test_all_errors_are_tnbench_errors(name):
    assert issubclass(getattr(errors, name), TnbenchError)
