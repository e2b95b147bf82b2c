import numpy as np
import pytest

from tnbench.measure.statistics import mean_interval, median_interval, ratio_interval


def test_six_samples_bound_the_median_by_the_extremes():
    assert median_interval([5, 1, 3, 2, 4, 6]) == (3.5, 1.0, 6.0, 6)


def test_five_samples_give_no_interval():
    assert median_interval([5, 1, 3, 2, 4]) == (3.0, None, None, 5)


@pytest.mark.parametrize(("n", "j"), [(8, 1), (9, 2), (11, 2), (12, 3), (20, 6), (30, 10), (50, 18)])
def test_order_statistics_are_those_of_the_sign_test_table(n, j):
    assert median_interval(range(1, n + 1))[1:3] == (j, n + 1 - j)


def test_median_interval_covers_as_promised_on_a_skewed_distribution():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        _, low, high, _ = median_interval(generator.exponential(size=9))
        hits += low <= np.log(2) <= high
    assert hits / 400 >= 0.93


def test_more_confidence_widens():
    narrow, wide = median_interval(range(30), 0.9), median_interval(range(30), 0.99)
    assert wide.low < narrow.low
    assert narrow.high < wide.high


def test_mean_of_three_uses_students_quantile():
    mean, low, high, n = mean_interval([98.0, 99.0, 100.0])
    half = 4.302652729911275 / np.sqrt(3)
    assert (mean, n) == (99.0, 3)
    assert (low, high) == (pytest.approx(99 - half), pytest.approx(99 + half))


def test_one_sample_has_a_mean_and_no_interval():
    assert mean_interval([42.0]) == (42.0, None, None, 1)


def test_equal_samples_give_an_interval_of_no_width():
    assert mean_interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0, 3)


def test_ratio_is_of_medians_and_repeats_bit_for_bit():
    slow, fast = [10.0, 11.0, 12.0, 13.0, 14.0, 90.0], [5.0, 5.5, 6.0, 6.5, 7.0, 7.5]
    first = ratio_interval(slow, fast)
    assert first.value == pytest.approx(12.5 / 6.25)
    assert first.low < first.value < first.high
    assert ratio_interval(slow, fast) == first
    assert ratio_interval(slow, fast, seed=1) != first


@pytest.mark.parametrize("n", [6, 7, 40])
def test_the_interval_is_that_of_plain_resampling(n):
    generator = np.random.default_rng(5)
    above, below = generator.exponential(size=n) + 3, generator.normal(10, 1, size=n + 1)
    medians = [np.median(generator.choice(side, size=(20_000, len(side))), axis=1) for side in (above, below)]
    plain = np.quantile(medians[0] / medians[1], [0.025, 0.975])
    assert ratio_interval(above, below, resamples=20_000)[1:3] == pytest.approx(tuple(plain), rel=0.02)


def test_ratio_of_constant_times_is_exact():
    assert ratio_interval([4.0] * 7, [2.0] * 6) == (2.0, 2.0, 2.0, 6)


def test_ratio_of_few_samples_has_no_interval():
    assert ratio_interval([4.0] * 5, [2.0] * 30) == (2.0, None, None, 5)


@pytest.mark.parametrize("statistic", [median_interval, mean_interval, lambda samples: ratio_interval(samples, [1.0])])
def test_no_samples_are_refused(statistic):
    with pytest.raises(ValueError, match="at least one number"):
        statistic([])


def test_ratio_to_nothing_is_refused():
    with pytest.raises(ValueError, match="wanted one above 0"):
        ratio_interval([1.0], [0.0])
