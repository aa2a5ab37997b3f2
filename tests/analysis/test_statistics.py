"""Statistics over seeds: closed forms, coverage as stated, and what happens with one seed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entorhinal.analysis.statistics import (
    estimate,
    false_discoveries,
    interquartile_mean,
    paired_difference,
    probability_of_improvement,
)


def test_the_interquartile_mean_in_closed_form() -> None:
    assert interquartile_mean(torch.arange(8.0)) == pytest.approx(3.5)
    assert interquartile_mean(torch.tensor([0.0, 1, 2, 1000])) == pytest.approx(1.5)
    assert interquartile_mean(torch.tensor([0.0, 1, 2])) == pytest.approx(1.0), "below 4 values nothing is cut"
    assert interquartile_mean(np.arange(8.0).reshape(2, 4)) == pytest.approx(3.5), "tasks are pooled"


def test_the_interval_of_the_mean_is_that_of_the_resampled_mean() -> None:
    """Of two seeds 0 and 1 the resampled mean is 0, 1/2, 1 with chances 1/4, 1/2, 1/4; so its 95 % interval is all."""
    found = estimate([0.0, 1.0])
    assert (found.value, found.low, found.high, found.n, found.reason) == (0.5, 0.0, 1.0, 2, "")
    half = estimate([0.0, 1.0], level=0.4)
    assert (half.low, half.high) == (0.5, 0.5)


def test_it_is_as_wide_as_the_normal_interval_of_many_seeds() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=400)
    found = estimate(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)
    assert found.low < values.mean() < found.high


@pytest.mark.parametrize(("statistic", "stated"), [("mean", 0.91), ("iqm", 0.93)])
def test_coverage_with_ten_normal_seeds_is_as_stated_and_not_95(statistic, stated, monkeypatch) -> None:
    monkeypatch.setattr("entorhinal.analysis.statistics.RESAMPLES", 999)
    values = np.random.default_rng(1).normal(size=(1000, 10))
    found = [estimate(row, statistic) for row in values]
    covered = np.mean([f.low <= 0 <= f.high for f in found])
    assert covered == pytest.approx(stated, abs=0.025)


def test_whole_seeds_are_resampled_not_tasks() -> None:
    """Tasks that only repeat their seed's value add nothing: the interval is as wide as that of one task."""
    values = np.random.default_rng(2).normal(size=10)
    one, many = estimate(values), estimate(np.repeat(values[:, None], 50, 1))
    assert (many.low, many.high) == pytest.approx((one.low, one.high))
    assert many.n == 10


def test_one_seed_and_deterministic_models_have_no_interval() -> None:
    one, fixed = estimate([2.5]), estimate([2.5, 2.5], deterministic=True)
    assert (one.value, one.n, one.reason) == (2.5, 1, "one seed")
    assert (fixed.value, fixed.n, fixed.reason) == (2.5, 2, "deterministic")
    assert all(math.isnan(bound) for bound in (one.low, one.high, fixed.low, fixed.high))
    agree = estimate([2.5, 2.5, 2.5])
    assert (agree.low, agree.high, agree.reason) == (2.5, 2.5, "")


def test_a_seed_without_a_value_leaves_no_estimate() -> None:
    found = estimate(torch.tensor([1.0, math.nan, 2.0]))
    assert math.isnan(found.value)
    assert found.reason == "1 of 3 seeds have no value"


def test_pairs_cancel_what_seeds_share() -> None:
    generator = np.random.default_rng(3)
    shared = generator.normal(0, 10, size=12)
    first, second = shared + 1 + generator.normal(0, 0.1, 12), shared + generator.normal(0, 0.1, 12)
    paired = paired_difference(first, second)
    assert paired.value == pytest.approx(1, abs=0.15)
    assert 0.8 < paired.low < paired.high < 1.2
    shuffled = paired_difference(first, second[generator.permutation(12)])
    assert shuffled.low < 0 < shuffled.high
    assert probability_of_improvement(first, second).low < 0.5, "unpaired, the seeds hide it"


def test_probability_of_improvement_in_closed_form() -> None:
    assert probability_of_improvement([1.0, 2, 3], [0.0, 2.5]).value == pytest.approx(4 / 6)
    assert probability_of_improvement([1.0, 1], [1.0, 1]).value == 0.5
    above = probability_of_improvement([5.0, 6, 7], [1.0, 2, 3])
    assert (above.value, above.low, above.high) == (1, 1, 1)
    tasks = probability_of_improvement([[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]])
    assert tasks.value == 0.5, "the mean over the tasks"
    assert probability_of_improvement([1.0], [0.0, 2.0]).reason == "one seed"


def test_seeds_of_one_kind_are_no_improvement() -> None:
    values = np.random.default_rng(4).normal(size=20)
    found = probability_of_improvement(values[:10], values[10:])
    assert found.low < 0.5 < found.high


def test_false_discoveries_by_hand() -> None:
    """Benjamini and Hochberg (1995), table 1: of 15 p-values 4 are rejected at 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719, 0.6528, 0.759]
    p.append(1.0)
    assert false_discoveries(p).tolist() == [True] * 4 + [False] * 11
    assert false_discoveries(torch.tensor([math.nan, 0.01])).tolist() == [False, True]
    assert false_discoveries([math.nan]).tolist() == [False]


@settings(max_examples=25)
@given(
    values=st.lists(st.integers(-1000, 1000), min_size=2, max_size=12),
    scale=st.sampled_from([0.5, 2.0, 16.0]),
    offset=st.integers(-64, 64),
)
def test_estimates_follow_scale_and_offset_and_hold_their_value(values, scale, offset) -> None:
    base = np.array(values, dtype=float)
    for statistic in ("mean", "iqm"):
        plain, moved = estimate(base, statistic), estimate(scale * base + offset, statistic)
        assert moved.value == pytest.approx(scale * plain.value + offset, abs=1e-6)
        bounds = [scale * bound + offset for bound in (plain.low, plain.high)]
        assert [moved.low, moved.high] == pytest.approx(bounds, abs=1e-6)
        assert base.min() <= plain.low <= plain.high <= base.max()


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="statistic is 'median'"):
        estimate([1.0], "median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="level is 95"):
        estimate([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="values has shape"):
        estimate([])
    with pytest.raises(ValueError, match="same seeds in the same order"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="give the same tasks"):
        probability_of_improvement([[1.0, 2.0]], [[1.0]])
    with pytest.raises(ValueError, match="give probabilities"):
        false_discoveries([1.5])
