from dataclasses import replace

import pytest

from tnbench.core.protocols import Fit
from tnbench.measure.energy import Energy
from tnbench.stages.fits import energy_metrics, fit_metrics, fit_samples

FIT = Fit(loss=[2.0, 1.0], epoch_s=[3.0, 5.0], step_s=[[0.1, 0.2]], peak_bytes=7, processes=1, threads=1)


def test_pictures_per_second_are_those_of_all_epochs_and_fits():
    assert fit_metrics([FIT, FIT], 1000)["train_pictures_per_s"] == 4 * 1000 / 16


def test_the_share_of_waiting_is_of_all_training_and_absent_where_nobody_looked():
    waiting = replace(FIT, wait_s=[0.5, 1.5])
    assert fit_metrics([waiting], 1000)["wait_share"] == 25.0
    assert "wait_share" not in fit_metrics([FIT], 1000)


def test_no_epoch_has_no_pace():
    none = replace(FIT, loss=[], epoch_s=[], step_s=[[]])
    assert fit_metrics([none], 1000) == {"train_s": 0, "train_peak_bytes": 7, "processes": 1, "threads": 1}
    assert fit_metrics([], 1000) == fit_samples([]) == {}


def test_the_curve_is_kept_where_it_was_asked_for():
    curved = [replace(FIT, curve=[50.0, 60.0]), replace(FIT, curve=[70.0, 80.0])]
    assert fit_samples(curved)["top1_curve"] == [70.0, 80.0], "the first fit may be a dense network's"
    assert "top1_curve" not in fit_samples([curved[0], replace(FIT, loss=[], epoch_s=[], step_s=[[]])])
    assert "top1_curve" not in fit_samples([FIT])


def test_an_epoch_and_a_step_are_those_of_the_last_fit_that_had_any():
    dense = replace(FIT, epoch_s=[30.0, 50.0], step_s=[[1.0, 2.0]], peak_bytes=9)
    last, none = replace(FIT, loss=[0.5, 0.4]), replace(FIT, loss=[], epoch_s=[], step_s=[[]])
    for fits in ([dense, last], [dense, last, none]):
        metrics, samples = fit_metrics(fits, 1000), fit_samples(fits)
        assert (metrics["epoch_s"], metrics["step_ms"], metrics["train_loss"]) == (4.0, pytest.approx(150.0), 0.4)
        assert (samples["epoch_s"], samples["step_ms"]) == ([3.0, 5.0], [[100.0, 200.0]])
        assert (metrics["train_s"], metrics["train_peak_bytes"]) == (88.0, 9)
        assert samples["loss"] == [2.0, 1.0, 0.5, 0.4]


@pytest.mark.parametrize(
    ("joules", "metrics"), [([2.0, 3.0], {"train_energy_j": 5.0}), ([2.0, None], {}), ([None], {}), ([], {})]
)
def test_energy_is_that_of_all_fits_or_of_none(joules, metrics):
    energies = [Energy(each) for each in joules]
    assert energy_metrics(energies, [FIT]) == metrics
    assert energy_metrics(energies, [FIT, replace(FIT, resumed=True)]) == {}, "the counter saw the last attempt alone"
