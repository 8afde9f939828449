"""Intervals, tests and corrections give textbook values, and intervals hold the truth as often as they claim."""

import numpy as np
import pytest

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.statistics import (
    agreeing,
    bootstrap,
    holm,
    mcnemar,
    paired,
    per_object,
    wilson,
)

# Heights of crossed minus self-fertilised maize, in eighths of an inch (Darwin 1876; Fisher 1935).
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)


def test_median_and_mean_are_those_of_numpy():
    values = np.random.default_rng(0).lognormal(size=54)
    assert bootstrap(values).value == np.median(values)
    assert bootstrap(values, statistic="mean").value == pytest.approx(values.mean())
    assert bootstrap(values).count == 54


def test_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).normal(10.0, 2.0, size=400)
    found = bootstrap(values, statistic="mean", draws=8000)
    half = 1.96 * values.std() / 20.0
    # 8000 draws leave about 2 % of the half width in a percentile.
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.06 * half)


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_interval_holds_the_truth_as_often_as_it_claims(statistic):
    rng = np.random.default_rng(2)
    truth = 1.0 if statistic == "median" else np.exp(0.125)
    runs = [bootstrap(rng.lognormal(0.0, 0.5, size=36), statistic=statistic, draws=400) for _ in range(400)]
    share = np.mean([run.low <= truth <= run.high for run in runs])
    # Percentile intervals of 36 skewed values hold a little less than they say; +-0.03 is 3 sigmas of 400 runs.
    assert 0.90 <= share <= 0.98


def test_same_seed_and_any_order_give_the_same_interval():
    values = np.random.default_rng(3).normal(size=30)
    assert bootstrap(values, seed=5) == bootstrap(values[::-1], seed=5)
    assert bootstrap(values, statistic="mean", seed=5) != bootstrap(values, statistic="mean", seed=6)


def test_one_object_has_no_interval_and_none_has_no_value():
    assert bootstrap([3.0]).value == 3.0 and np.isnan(bootstrap([3.0]).low)
    assert np.isnan(bootstrap([]).value) and bootstrap([]).count == 0


@pytest.mark.parametrize("values", [[1.0, np.nan], [np.inf], [[1.0, 2.0]]])
def test_values_that_are_not_finite_or_not_flat_are_refused(values):
    with pytest.raises(InputError, match="finite") as refused:
        bootstrap(values)
    assert refused.value.code == ErrorCode.USAGE


def test_cases_of_one_object_count_once():
    names, means = per_object(["mug", "can", "mug", "mug"], [1.0, 5.0, 2.0, 3.0])
    assert names == ("can", "mug")
    assert means.tolist() == [5.0, 2.0]


def test_signed_rank_test_of_darwins_maize():
    found = paired(np.zeros(15), MAIZE)
    assert found.p_value == pytest.approx(0.041259765625, abs=1e-12)
    assert found.difference.value == 24.0
    assert (found.better, found.worse) == pytest.approx((2 / 15, 13 / 15))


def test_paired_comparison_turns_with_its_arguments():
    rng = np.random.default_rng(4)
    a, b = rng.normal(3, 1, 40), rng.normal(2.5, 1, 40)
    forth, back = paired(a, b), paired(b, a)
    assert forth.p_value == pytest.approx(back.p_value)
    assert forth.difference.value == pytest.approx(-back.difference.value)
    assert (forth.better, forth.worse) == (back.worse, back.better)


def test_pairing_finds_what_unpaired_intervals_hide():
    rng = np.random.default_rng(5)
    difficulty = rng.lognormal(1.0, 0.8, size=36)
    first, second = difficulty, difficulty * rng.normal(0.9, 0.03, size=36)
    a, b, found = bootstrap(first), bootstrap(second), paired(first, second)
    assert b.high > a.low
    assert found.p_value < 1e-6 and found.difference.high < 0


def test_rounding_is_no_difference():
    a = np.linspace(1, 2, 20)
    found = paired(a, a * (1 + 1e-12))
    assert (found.p_value, found.better, found.worse) == (1.0, 0.0, 0.0)
    assert agreeing([1.0, 0.0, 1.0], [1.0 + 1e-12, 0.0, 1.001]).tolist() == [True, True, False]


def test_objects_without_change_count_against_a_difference():
    changed = np.array([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])
    alone = paired(np.zeros(6), changed)
    among = paired(np.zeros(30), np.concatenate([changed, np.zeros(24)]))
    assert alone.p_value == pytest.approx(2 / 2**6)
    assert among.better == pytest.approx(0.2) and among.difference.value == 0.0


def test_pairs_of_different_lengths_are_refused():
    for comparison in (paired, mcnemar):
        with pytest.raises(InputError, match="got 2 and 3"):
            comparison([1, 0], [1, 0, 1])


def test_nothing_to_compare_has_no_p_value():
    found = paired([], [])
    assert found.count == 0 and np.isnan(found.p_value)


def test_holm_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_tests_that_were_not_made_and_stops_at_one():
    assert holm([0.02, np.nan, 0.9]) == pytest.approx([0.04, np.nan, 0.9], nan_ok=True)
    assert holm([0.8, 0.7]).max() == 1.0


# Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_of_the_published_table(successes, count, low, high):
    found = wilson(successes, count)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.value == pytest.approx(successes / count)


def test_wilson_interval_at_the_ends():
    assert wilson(0, 10).low == 0.0 and wilson(10, 10).high == 1.0
    assert wilson(10, 10).low == pytest.approx(1 - wilson(0, 10).high)
    assert np.isnan(wilson(0, 0).value)


def test_more_successes_than_trials_are_refused():
    with pytest.raises(InputError, match="11 successes of 10"):
        wilson(11, 10)


def test_mcnemar_of_a_published_table():
    # Airway responsiveness of 21 children (Bentur et al. 2009; Fagerland et al. 2013, table 2): 1 against 7, p = 0.070.
    first = [True] * 1 + [False] * 7 + [True] * 1 + [False] * 12
    second = [False] * 1 + [True] * 7 + [True] * 1 + [False] * 12
    found = mcnemar(first, second)
    assert (found.first_only, found.second_only) == (1, 7)
    assert found.p_value == pytest.approx(18 / 256)


def test_mcnemar_without_disagreement():
    assert mcnemar([True, False], [True, False]).p_value == 1.0
