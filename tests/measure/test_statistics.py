import numpy as np
import pytest

from tnbench.measure.statistics import change_of_medians, excess, holm, mean_interval, median_interval, ratio_interval


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


def noise(generator, n, size=0.04):
    return np.exp(size * generator.standard_normal(n))


def test_a_clear_rise_is_beyond_its_tolerance_by_as_little_chance_as_can_be_told():
    generator = np.random.default_rng(1)
    found = excess(2 * noise(generator, 6), noise(generator, 6), 0.3)
    assert found.p == 1 / 20_001
    assert 0.3 < found.bound < found.change < 1.2


def test_what_stays_within_its_tolerance_is_not_beyond_it():
    generator = np.random.default_rng(2)
    found = excess(1.05 * noise(generator, 12), noise(generator, 12), 0.2)
    assert found.bound < found.change < 0.2
    assert found.p > 0.99


def test_a_change_that_equals_the_tolerance_is_tolerated():
    assert excess([105.0] * 6, [100.0] * 6, 0.05) == (0.05, 0.05, 1.0)
    assert excess([99.5] * 6, [100.0] * 6, -0.5, rising=False, relative=False) == (-0.5, -0.5, 1.0)


def test_a_fall_is_bounded_from_above():
    then, now = [90.0, 90.1, 90.2, 90.3, 90.4, 90.5], [88.0, 88.2, 88.4, 88.6, 88.8, 89.0]
    found = excess(now, then, -0.5, rising=False, relative=False)
    assert found.change == pytest.approx(88.5 - 90.25)
    assert found.change < found.bound < -0.5
    assert found.p < 0.001
    assert excess(now, then, 0.5, relative=False).p > 0.999


@pytest.mark.parametrize("relative", [True, False])
def test_excess_is_that_of_plain_resampling(relative):
    generator = np.random.default_rng(5)
    now, then = generator.normal(11, 1, size=6), generator.normal(10, 1, size=9)
    draws = [np.median(generator.choice(side, size=(40_000, len(side))), axis=1) for side in (now, then)]
    changes = draws[0] / draws[1] - 1 if relative else draws[0] - draws[1]
    tolerance = 0.02 if relative else 0.2
    found = excess(now, then, tolerance, relative=relative, resamples=40_000)
    assert found.change == pytest.approx(change_of_medians(now, then, relative=relative))
    assert found.bound == pytest.approx(np.quantile(changes, 0.05), abs=0.01 if relative else 0.1)
    assert found.p == pytest.approx(np.mean(changes <= tolerance), abs=0.015)
    assert 0.02 < found.p < 0.5


def test_excess_repeats_bit_for_bit():
    generator = np.random.default_rng(6)
    now, then = noise(generator, 8), noise(generator, 8)
    assert excess(now, then, 0.01) == excess(now, then, 0.01)
    assert excess(now, then, 0.01, seed=1) != excess(now, then, 0.01)


def test_excess_wants_six_samples_and_something_to_take_a_share_of():
    with pytest.raises(ValueError, match="got 6 and 5 samples, wanted at least 6"):
        excess([1.0] * 5, [1.0] * 6, 0.1)
    with pytest.raises(ValueError, match="wanted numbers above 0"):
        excess([1.0] * 6, [0.0] + [1.0] * 5, 0.1)
    assert excess([1.0] * 6, [0.0] * 6, 0.5, relative=False).change == 1.0


def test_holm_multiplies_the_smallest_by_all_and_the_next_by_one_less():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_holm_rejects_what_its_steps_reject():
    generator = np.random.default_rng(7)
    for _ in range(50):
        values = generator.random(9) ** 3
        rejected = set()
        for step, index in enumerate(np.argsort(values)):
            if values[index] > 0.05 / (len(values) - step):
                break
            rejected.add(int(index))
        assert {index for index, p in enumerate(holm(values)) if p <= 0.05} == rejected
