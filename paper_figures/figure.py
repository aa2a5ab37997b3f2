"""What is a figure, and what is a claim?

A figure file holds ``FIGURE``, ``claims``, ``compute`` and ``draw``. `compute` does the work and returns `Data`: the
tidy table that becomes the CSV, and arrays for pictures. `draw` only shows it. A claim is a statistic of the data, the
interval in which it holds, and a control: data of the same form on which the claim must fail.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

__all__ = [
    "Claim",
    "Data",
    "Figure",
    "FigureModule",
    "Progress",
    "Verdict",
    "exchanged",
    "exponential_over_power",
    "panel_rows",
    "within",
]

Progress = Callable[[int, int], None]
"""``progress(done, total)``: called as the computation goes on."""


@dataclass(frozen=True)
class Data:
    """What a figure shows. table: a row an observation, the CSV beside the picture; arrays: maps and paths by name."""

    table: pd.DataFrame
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """id (also the file name), title, caption, the models whose papers it cites, and the records it needs.

    records: pairs (model id, task name); the figure is drawn from those that exist and says which are missing.
    """

    id: str
    title: str
    caption: str
    models: tuple[str, ...] = ()
    records: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """One row of the claims table. ours is NaN where the claim was not run."""

    id: str
    figure: str
    statement: str
    paper: str
    ours: float
    verdict: Literal["holds", "fails", "not run"]
    citation: str


@dataclass(frozen=True)
class Claim:
    """A published sentence made into a number.

    paper:     the value as the paper states it, with its unit.
    statistic: that number, from the figure's data. Raising LookupError means that the data are not there: "not run".
    low, high: it holds when low <= statistic <= high; fixed before the run (10 % around the paper's value unless the
               paper gives an error: see `within`).
    control:   from the figure's data, data of the same form on which the claim must fail (a test runs it).
    citation:  author and year.
    """

    id: str
    statement: str
    paper: str
    citation: str
    statistic: Callable[[Data], float]
    control: Callable[[Data], Data]
    low: float = -math.inf
    high: float = math.inf

    def judge(self, figure: str, data: Data) -> Verdict:
        try:
            ours = float(self.statistic(data))
        except LookupError:
            ours = math.nan
            verdict: Literal["holds", "fails", "not run"] = "not run"
        else:
            verdict = "holds" if self.low <= ours <= self.high else "fails"
        return Verdict(self.id, figure, self.statement, self.paper, ours, verdict, self.citation)


def within(value: float, tolerance: float = 0.1) -> dict[str, float]:
    """The interval of ``tolerance`` (a fraction) around a published value: ``Claim(..., **within(1.42))``."""
    margin = abs(value) * tolerance
    return {"low": value - margin, "high": value + margin}


def panel_rows(data: Data, panel: str, **where: object) -> pd.DataFrame:
    """Rows of a panel whose columns have these values (numbers to rounding); LookupError if there are none."""
    found = data.table[data.table["panel"] == panel]
    for column, value in where.items():
        same = np.isclose(found[column], value) if isinstance(value, float) else found[column] == value
        found = found[same]
    if found.empty:
        raise LookupError(f"no rows of panel {panel} with {where}")
    return found


def exchanged(column: str, one: object, other: object) -> Callable[[Data], Data]:
    """A control: data in which two values of a column have each other's rows."""

    def exchange(data: Data) -> Data:
        values = data.table[column].replace({one: other, other: one})
        return replace(data, table=data.table.assign(**{column: values}))

    return exchange


def exponential_over_power(size: np.ndarray, logarithm: np.ndarray) -> float:
    """How much better an exponential fits than a power law: residual of the second, over that of the first.

    size: (S,) of a code. logarithm: (S,) of what grows or falls with it.
    """

    def residual(x: np.ndarray) -> float:
        return float(np.square(logarithm - np.polyval(np.polyfit(x, logarithm, 1), x)).sum())

    return residual(np.log(size)) / max(residual(size), 1e-12)


class FigureModule(Protocol):
    """What every file of this room provides."""

    FIGURE: Figure
    claims: tuple[Claim, ...]

    def compute(self, progress: Progress) -> Data:
        """All the work; returns the data that the figure shows and the claims are judged on."""

    def draw(self, data: Data) -> Canvas:
        """A matplotlib figure of the data, no computation."""
