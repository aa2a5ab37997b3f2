"""Rows of the validation tables: known answers and false positives, and their places in a Markdown file."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from entorhinal.benchmarks.seeds import derive

__all__ = [
    "NullRow",
    "Row",
    "markdown",
    "measure_table",
    "null_table",
    "part_right",
    "seeded",
    "within",
    "write_section",
]


def seeded(*names: str, seed: int = 0) -> torch.Generator:
    """The generator of what ``names`` say, for one seed of the whole table."""
    return torch.Generator().manual_seed(derive(seed, "validation", *names))


@dataclass(frozen=True)
class Row:
    """One measure on one population: it holds when low <= found <= high.

    measure, population, known: what is measured, on what, and the answer that is known; found: the judged number, of
    which statistic says what it is, in unit; median: of the same errors over units, where there are some.
    """

    measure: str
    population: str
    known: str
    statistic: str
    found: float
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    median: float = math.nan

    @property
    def holds(self) -> bool:
        return self.low <= self.found <= self.high

    @property
    def allowed(self) -> str:
        if self.low == self.high:
            return f"{self.low:g}"
        parts = [f"≥ {self.low:g}"] * math.isfinite(self.low) + [f"≤ {self.high:g}"] * math.isfinite(self.high)
        return " and ".join(parts) + f" {self.unit}".rstrip()


@dataclass(frozen=True)
class NullRow:
    """How many of those judged, null units or whole populations, of one kind, were taken for what they are not."""

    verdict: str
    kind: str
    populations: int
    positives: int
    judged: int
    allowed: float

    @property
    def rate(self) -> float:
        return self.positives / max(1, self.judged)

    @property
    def interval(self) -> tuple[float, float]:
        """Exact binomial 95 % interval (Clopper & Pearson 1934)."""
        from scipy.stats import binomtest

        found = binomtest(self.positives, max(1, self.judged)).proportion_ci()
        return float(found.low), float(found.high)


def within(measure: str, population: str, known: str, errors: Tensor | float, high: float, unit: str = "") -> Row:
    """A row of errors, of which the largest is at most ``high``; NaN among them does not hold."""
    errors = torch.as_tensor(errors, dtype=torch.float64).flatten()
    median = float(errors.median()) if len(errors) > 1 else math.nan
    statistic = "largest error" if len(errors) > 1 else "error"
    return Row(measure, population, known, statistic, float(errors.max()), unit, high=high, median=median)


def part_right(measure: str, population: str, known: str, right: Sequence[bool] | Tensor, low: float = 1.0) -> Row:
    """A row of yes and no, of which a part of at least ``low`` is yes."""
    answers = torch.as_tensor(right, dtype=torch.float64).flatten()
    high = 1.0 if low == 1 else math.inf
    part = float(answers.mean())
    return Row(measure, population, known, f"part right of {len(answers):,}", part, low=low, high=high)


def markdown(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    rows = [head, tuple("---" for _ in head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def measure_table(rows: Iterable[Row]) -> str:
    """Rows as Markdown."""

    def line(row: Row) -> tuple[str, ...]:
        median = "" if math.isnan(row.median) else f"{row.median:.2g}"
        found = f"{row.found:.3g} {row.unit}".rstrip()
        verdict = "holds" if row.holds else "**fails**"
        return row.measure, row.population, row.known, row.statistic, found, median, row.allowed, verdict

    return markdown(
        ("measure", "population", "known", "statistic", "found", "median", "allowed", "verdict"), map(line, rows)
    )


def null_table(rows: Iterable[NullRow]) -> str:
    """Rates of false positives as Markdown; a rate is above what is allowed where its whole interval is."""

    def line(row: NullRow) -> tuple[str, ...]:
        low, high = row.interval
        verdict = "**above**" if low > row.allowed else "within" if row.rate <= row.allowed else "not told apart"
        rate, interval = f"{100 * row.rate:.2f} %", f"{100 * low:.2f}–{100 * high:.2f} %"
        counts = (f"{n:,}" for n in (row.populations, row.judged, row.positives))
        return row.verdict, row.kind, *counts, rate, interval, f"{100 * row.allowed:g} %", verdict

    head = ("verdict", "kind of null", "populations", "judged", "positives", "rate", "95 % interval", "allowed", "")
    return markdown(head, map(line, rows))


def write_section(path: Path, name: str, text: str) -> None:
    """Put ``text`` between the comments ``<!-- name -->`` and ``<!-- end name -->`` of a Markdown file.

    Raises:
        ValueError: the file lacks them.
    """
    page = path.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(
            f"{path} has no section {name!r}; put the lines {begin.strip()!r} and {end!r} where it belongs"
        )
    before, rest = page.split(begin)
    path.write_text(before + begin + text.strip() + "\n" + end + rest.split(end)[1])
