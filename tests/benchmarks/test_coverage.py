"""Coverage of intervals over seeds: truths in closed form, and a table that follows its numbers."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from entorhinal.analysis.statistics import Estimate
from entorhinal.benchmarks import coverage
from entorhinal.benchmarks.coverage import COVERAGE, PAIRS, STATISTICS, cases, coverage_row, coverage_table

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"


@pytest.fixture(autouse=True)
def _few(monkeypatch) -> None:
    monkeypatch.setattr("entorhinal.analysis.statistics.RESAMPLES", 199)


@pytest.mark.parametrize(
    ("statistic", "scores", "truth"),
    [
        ("mean", "normal", 1.0),
        ("mean", "skewed", math.exp(1.5)),
        ("mean", "bounded", 0.8),
        ("interquartile mean", "normal", 1.0),
        ("paired difference", "normal", 1.0),
        ("paired difference", "skewed", math.exp(1.5) - math.exp(0.125)),
        ("paired difference", "bounded", 0.3),
        ("probability of improvement", "normal", 0.5 * (1 + math.erf(0.5))),
        ("probability of improvement", "skewed", 0.5 * (1 + math.erf(1 / math.sqrt(2.5)))),
        ("probability of improvement", "bounded", 0.8),  # above a uniform score as often as the mean says
    ],
)
def test_truths_are_those_in_closed_form(statistic, scores, truth) -> None:
    assert STATISTICS[statistic].truth(*PAIRS[scores]) == pytest.approx(truth, rel=1e-6)


def test_the_true_interquartile_mean_is_that_of_many_seeds() -> None:
    many = np.sort(PAIRS["skewed"][0].rvs(400_000, random_state=0))
    assert STATISTICS["interquartile mean"].truth(*PAIRS["skewed"]) == pytest.approx(
        many[100_000:-100_000].mean(), 0.01
    )


def test_pairs_share_their_seed_and_others_do_not(monkeypatch) -> None:
    seen = {}
    for name in ("paired difference", "probability of improvement"):
        samples: list[tuple[np.ndarray, np.ndarray]] = []

        def keep(a, b, samples=samples) -> Estimate:
            samples.append((a, b))
            return Estimate(0, -math.inf, math.inf, len(a))

        changed = coverage.Statistic(STATISTICS[name].truth, keep, STATISTICS[name].paired)
        monkeypatch.setitem(STATISTICS, name, changed)
        assert coverage_row(name, "normal", 10, 300)["covered"] == 1
        a, b = np.concatenate(samples, 1)
        seen[name] = np.corrcoef(a, b)[0, 1]
    assert seen["paired difference"] == pytest.approx(coverage.CORRELATION, abs=0.05)
    assert seen["probability of improvement"] == pytest.approx(0, abs=0.06)


def test_intervals_that_miss_are_counted_by_side(monkeypatch) -> None:
    for bounds, side in (((2, 3), "above"), ((-1, 0), "below")):
        wrong = coverage.Statistic(lambda first, second: 1.0, lambda a, b, at=bounds: Estimate(1, *at, len(a)))
        monkeypatch.setitem(STATISTICS, "mean", wrong)
        row = coverage_row("mean", "normal", 3, 5)
        assert (row["covered"], row[side], row["median_width"]) == (0, 1, 1)


def test_few_skewed_seeds_cover_less_than_many_normal_ones() -> None:
    assert coverage_row("mean", "skewed", 3, 150)["covered"] < coverage_row("mean", "normal", 10, 150)["covered"] - 0.1


def test_the_command_writes_all_rows_and_one_section(monkeypatch, tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- coverage -->\nold\n<!-- end coverage -->\nb\n")
    monkeypatch.setattr(coverage, "SEEDS", (3, 5))
    monkeypatch.setattr(coverage_row, "__defaults__", (4,))
    monkeypatch.setattr(sys, "argv", ["coverage", "--out", str(tmp_path), "--page", str(page)])
    coverage.main()
    rows = pd.read_csv(tmp_path / "coverage.csv")
    assert list(rows[["statistic", "scores", "seeds"]].itertuples(index=False, name=None)) == list(cases())
    np.testing.assert_allclose(rows[["covered", "below", "above"]].sum(axis=1), 1, atol=1e-3)
    assert page.read_text() == f"a\n<!-- coverage -->\n{coverage_table(rows)}\n<!-- end coverage -->\nb\n"
    assert json.loads((tmp_path / "coverage.json").read_text())["commit"]


def test_the_page_shows_the_shipped_rows_of_a_clean_commit() -> None:
    rows = pd.read_csv(COVERAGE)
    assert list(rows[["statistic", "scores", "seeds"]].itertuples(index=False, name=None)) == list(cases())
    assert coverage_table(rows) in PAGE.read_text()
    said = json.loads(COVERAGE.with_suffix(".json").read_text())
    assert said["commit"]
    assert not said["dirty"]
