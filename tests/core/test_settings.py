import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.record import Record
from tnbench.core.settings import (
    Limits,
    Settings,
    baseline_key,
    changed_limits,
    completed,
    digest_of,
    record_key,
)

CASE = Case.parse("tt/x4/cnn8/digits/finetune/single")
OTHER = {
    "device": "cuda",
    "dtype": "float64",
    "tf32": True,
    "deterministic": False,
    "epochs": 9,
    "baseline_epochs": 9,
    "batch_size": 9,
    "lr": 0.9,
    "baseline_lr": 0.9,
    "momentum": 0.5,
    "weight_decay": 0.5,
    "limit_train": 9,
    "gauge": "raw",
    "schedule": "cosine",
    "optimiser": "adamw",
    "label_smoothing": 0.1,
    "ema": 0.9,
    "decay_on": "kernel",
    "clip": 1.0,
    "amp": True,
    "channels_last": True,
    "compile": True,
    "tune": 4,
    "curve": True,
    "batch_per_rank": True,
}

FIRST = list(OTHER)[:13]


def test_every_setting_enters_the_key():
    assert OTHER.keys() == {field.name for field in dataclasses.fields(Settings)}
    keys = {record_key(CASE, Settings().changed({name: value})) for name, value in OTHER.items()}
    assert len(keys | {record_key(CASE, Settings())}) == len(OTHER) + 1


def test_a_baseline_does_not_depend_on_what_only_cases_have():
    def same(name):
        changed = Settings().changed({name: OTHER[name]})
        return baseline_key("cnn8", "digits", 0, changed) == baseline_key("cnn8", "digits", 0, Settings())

    assert [name for name in OTHER if same(name)] == [
        *("epochs", "lr", "gauge", "decay_on", "tune", "curve", "batch_per_rank")
    ]


def test_settings_that_came_later_leave_older_keys_and_records_as_they_were():
    """The key of a release without them, and a record of it, which still stand for the same case."""
    first = {name: value for name, value in Settings().as_json().items() if name in FIRST}
    assert record_key(CASE, Settings()) == digest_of({"case": CASE.id, "settings": first, "baseline": None})
    assert Settings().in_key() == first
    assert completed(first) == Settings().as_json()
    assert completed({**first, "ema": 0.5})["ema"] == 0.5
    old = Record(CASE.id, "k", "ok", settings=first).as_json()
    assert Record.from_json(old).settings == Settings().as_json()
    assert Record.from_json({**old, "settings": {}}).settings == {}


def test_case_seed_and_imported_baseline_enter_the_key():
    seeded = dataclasses.replace(CASE, seed=1)
    keys = {record_key(CASE, Settings()), record_key(seeded, Settings()), record_key(CASE, Settings(), "a" * 64)}
    assert len(keys) == 3
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_two_gpus_measure_the_same_and_one_key_serves_both():
    first, second = Settings(device="cuda"), Settings(device="cuda:1")
    assert record_key(CASE, first) == record_key(CASE, second)
    assert second.as_json()["device"] == second.device_type == "cuda"


def test_the_same_number_gives_the_same_key():
    assert Settings().changed({"lr": 1}).as_json() == Settings(lr=1.0).as_json()
    assert json.dumps(Settings().changed({"momentum": 0}).as_json()) == json.dumps(Settings(momentum=0.0).as_json())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epoch": 1}, "settings: no setting is named 'epoch'; the nearest is 'epochs'"),
        ({"epochs": -1}, "settings: got epochs = -1, wanted a whole number from 0 on"),
        ({"epochs": 1.5}, "settings: got epochs = 1.5, wanted int"),
        ({"epochs": True}, "settings: got epochs = True, wanted int"),
        ({"tf32": 1}, "settings: got tf32 = 1, wanted bool"),
        ({"lr": "fast"}, "settings: got lr = 'fast', wanted int or float"),
        ({"lr": 0}, "settings: got lr = 0.0, wanted a number above 0"),
        ({"lr": math.nan}, "settings: got lr = nan, wanted a number above 0"),
        ({"baseline_lr": math.inf}, "settings: got baseline_lr = inf, wanted a number above 0"),
        ({"momentum": 1.0}, "settings: got momentum = 1.0, wanted at least 0 and below 1"),
        ({"weight_decay": -1}, "settings: got weight_decay = -1.0, wanted at least 0"),
        ({"batch_size": 0}, "settings: got batch_size = 0, wanted a whole number from 1 on"),
        ({"limit_train": 0}, "settings: got limit_train = 0, wanted a whole number from 1 on"),
        ({"limit_train": "all"}, "settings: got limit_train = 'all', wanted int or nothing"),
        ({"dtype": "float16"}, "settings: no dtype is named 'float16'; the nearest is 'float"),
        ({"schedule": "cosin"}, "settings: no schedule is named 'cosin'; the nearest is 'cosine'"),
        ({"optimiser": "adam"}, "settings: no optimiser is named 'adam'; the nearest is 'adamw'"),
        ({"decay_on": "kernels"}, "settings: no decay_on is named 'kernels'; the nearest is 'kernel'"),
        ({"label_smoothing": 1.0}, "settings: got label_smoothing = 1.0, wanted at least 0 and below 1"),
        ({"ema": 1}, "settings: got ema = 1.0, wanted at least 0 and below 1"),
        ({"clip": -0.5}, "settings: got clip = -0.5, wanted at least 0"),
        ({"amp": 1}, "settings: got amp = 1, wanted bool"),
        ({"amp": True, "dtype": "float64"}, "settings: got amp with dtype float64; bfloat16 goes with float32"),
        ({"tune": -1}, "settings: got tune = -1, wanted a whole number from 0 on"),
        ({"tune": 1}, "settings: got tune = 1, which leaves no choice; wanted 0 (off) or at least 2 learning rates"),
        ({"decay_on": "kernel", "optimiser": "adamw"}, "wanted optimiser sgd, or decay_on = 'factors'"),
    ],
)
def test_what_settings_refuse(values, said):
    with pytest.raises(UsageError) as error:
        Settings().changed(values)
    assert said in str(error.value)


def test_limit_train_may_be_taken_away():
    assert Settings(limit_train=5).changed({"limit_train": None}).limit_train is None


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_what_limits_refuse(seconds):
    with pytest.raises(UsageError, match=f"limits: got timeout_s = {seconds:g}, wanted seconds above 0"):
        Limits(seconds)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_checkpoints_may_come_at_any_interval_that_is_one(seconds):
    assert Limits(checkpoint_s=0).checkpoint_s == 0
    with pytest.raises(UsageError, match=f"limits: got checkpoint_s = {seconds:g}, wanted seconds from 0 on"):
        Limits(checkpoint_s=seconds)


def test_given_limits_replace_a_suite_s_own():
    suite = Limits(60.0, 5.0)
    assert changed_limits(suite, None, None) == suite
    assert changed_limits(suite, 30.0, None) == Limits(30.0, 5.0)
    assert changed_limits(suite, None, 0.0) == Limits(60.0, 0.0)


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_a_digest_does_not_depend_on_order(values):
    assert digest_of(values) == digest_of(dict(reversed(values.items())))
