"""How often do intervals over seeds hold the truth?  Seeds drawn from known distributions, as a CSV file and a table.

    python -m entorhinal.benchmarks.coverage [--out FOLDER] [--page docs/validation.md]

For 3, 5 and 10 seeds of normal, skewed and bounded scores, 800 experiments each, a row says which part of the nominally
95 % intervals of `entorhinal.analysis.statistics` hold the distribution's own value, how many lie wholly below it and
wholly above it, and how wide they are. Takes about three minutes of a core.

normal    N(1, 1) against N(0, 1)
skewed    log-normal with σ = 1 against one with σ = 1/2, both of unit scale; the first is e times as large
bounded   Beta(2, 1/2), which piles up below 1, against a uniform score

The true interquartile mean is that of the distribution between its quartiles. Pairs share their seed: a Gaussian copula
with a correlation of 0.7. For the probability of improvement the seeds of the two are unpaired.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from scipy import stats
from scipy.integrate import quad

from entorhinal.analysis import estimate, paired_difference, probability_of_improvement
from entorhinal.analysis.statistics import Estimate
from entorhinal.benchmarks.records import provenance
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.validation import markdown, write_section
from entorhinal.families.checkpoint import write_atomically

__all__ = ["COVERAGE", "PAIRS", "STATISTICS", "cases", "coverage_row", "coverage_table"]

COVERAGE = Path(__file__).parent / "validation" / "coverage.csv"
SEEDS, EXPERIMENTS, CORRELATION = (3, 5, 10), 800, 0.7

PAIRS: dict[str, tuple[Any, Any]] = {
    "normal": (stats.norm(1), stats.norm(0)),
    "skewed": (stats.lognorm(1, scale=math.e), stats.lognorm(0.5)),
    "bounded": (stats.beta(2, 0.5), stats.uniform()),
}
"""Scores of two models, frozen distributions of scipy."""


@dataclass(frozen=True)
class Statistic:
    """truth: from two distributions. estimate: from (S,) seeds of each. paired: whether seed s of both is one seed."""

    truth: Callable[[Any, Any], float]
    estimate: Callable[[np.ndarray, np.ndarray], Estimate]
    paired: bool = False


STATISTICS = {
    "mean": Statistic(lambda first, second: float(first.mean()), lambda a, b: estimate(a)),
    "interquartile mean": Statistic(
        lambda first, second: 2 * quad(first.ppf, 0.25, 0.75)[0], lambda a, b: estimate(a, "iqm")
    ),
    "paired difference": Statistic(
        lambda first, second: float(first.mean() - second.mean()), paired_difference, paired=True
    ),
    "probability of improvement": Statistic(
        lambda first, second: quad(lambda u: second.cdf(first.ppf(u)), 0, 1)[0], probability_of_improvement
    ),
}


def cases() -> Iterator[tuple[str, str, int]]:
    """Statistic, scores, seeds: what the table has a row of."""
    return ((statistic, scores, seeds) for statistic in STATISTICS for scores in PAIRS for seeds in SEEDS)


def coverage_row(statistic: str, scores: str, seeds: int, experiments: int = EXPERIMENTS) -> dict[str, Any]:
    """One row: the truth, which part of the intervals hold it, miss it from below and above, and their median width."""
    chosen, (first, second) = STATISTICS[statistic], PAIRS[scores]
    rng = np.random.default_rng(derive(0, "coverage", statistic, scores, str(seeds)))
    one, other = rng.standard_normal((2, experiments, seeds))
    if chosen.paired:
        other = CORRELATION * one + math.sqrt(1 - CORRELATION**2) * other
    a, b = first.ppf(stats.norm.cdf(one)), second.ppf(stats.norm.cdf(other))
    truth = chosen.truth(first, second)
    found = [chosen.estimate(x, y) for x, y in zip(a, b, strict=True)]
    low, high = np.array([(each.low, each.high) for each in found]).T
    return {
        "statistic": statistic,
        "scores": scores,
        "seeds": seeds,
        "experiments": experiments,
        "truth": truth,
        "covered": float(((low <= truth) & (truth <= high)).mean()),
        "below": float((high < truth).mean()),
        "above": float((low > truth).mean()),
        "median_width": float(np.median(high - low)),
    }


def coverage_table(rows: pd.DataFrame) -> str:
    """Covered parts in per cent as Markdown: a line a statistic and kind of scores, a column a number of seeds."""
    seeds = sorted(set(rows["seeds"]))
    wide = rows.pivot_table(index=["statistic", "scores"], columns="seeds", values="covered", sort=False)
    head = ("statistic", "scores", *(f"{n} seeds" for n in seeds))
    return markdown(head, ((*key, *(f"{100 * wide.loc[key, n]:.0f} %" for n in seeds)) for key in wide.index))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=COVERAGE.parent, help="folder for coverage.csv and coverage.json")
    parser.add_argument("--page", type=Path, help="a Markdown file with the section, such as docs/validation.md")
    arguments = parser.parse_args()
    begun, code, todo = time.perf_counter(), provenance(), list(cases())
    rows = pd.DataFrame(coverage_row(*case) for case in track(todo, "simulating", console=Console(stderr=True)))
    said = {"experiments": EXPERIMENTS, "seconds": round(time.perf_counter() - begun, 1)} | code
    write_atomically(arguments.out / COVERAGE.name, rows.round(4).to_csv(index=False).encode())
    write_atomically(arguments.out / "coverage.json", (json.dumps(said, indent=1) + "\n").encode())
    print(text := coverage_table(rows))
    if arguments.page:
        write_section(arguments.page, "coverage", text)


if __name__ == "__main__":
    main()
