"""Which networks of ``ssl/`` do figures compare?  The measures of the project's sweeps, by condition."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from entorhinal.analysis import plots
from entorhinal.benchmarks.ssl_measures import MEASURES, kept_maps, measured
from entorhinal.paper_figures.figure import Data

__all__ = ["CONTROLS", "NOISE", "ONE_TORUS", "THREE_MODULES", "Condition", "median_of", "networks", "stand_in", "strip"]

IGNORED = frozenset({"steps"})
"""What of a setting is not part of the condition."""


@dataclass(frozen=True)
class Condition:
    """Networks of one sweep. setting: what of the config differs from the model's default; None is any.

    ignored: what of a setting is not part of the condition.
    """

    name: str
    sweep: str
    model: str
    setting: dict[str, Any] | None = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    def has(self, row: pd.Series) -> bool:
        found = {
            name: value for name, value in json.loads(row["setting"]).items() if name not in IGNORED | self.ignored
        }
        return row["model"] == self.model and (self.setting is None or found == self.setting)


THREE_MODULES, ONE_TORUS, NOISE = "three ideal modules", "one ideal module", "low-pass noise"
CONTROLS = (
    Condition(THREE_MODULES, "controls", "controls/ideal_grid-v1"),
    Condition(
        ONE_TORUS, "controls", "controls/ideal_grid-v1",
        {"spacing_m": [1.2], "orientation_rad": [0.1], "units_per_module": 128},
    ),
    Condition(NOISE, "controls", "controls/lowpass_noise-v1"),
)  # fmt: skip


def networks(conditions: Sequence[Condition], measures: Sequence[str] = MEASURES) -> Data:
    """A row a network, with its condition; and the maps that were kept of one network of each, by condition."""
    tables, arrays = [], {}
    for condition in conditions:
        table = measured(condition.sweep)
        rows = table[np.array([condition.has(row) for _, row in table.iterrows()], dtype=bool)]
        tables.append(rows.assign(condition=condition.name))
        maps = kept_maps(condition.sweep)
        shown = [name for name in rows.sort_values("seed")["network"] if name in maps]
        if shown:
            arrays[condition.name] = maps[shown[0]].float().numpy()
    columns = ["condition", "network", "model", "seed", "setting", *measures]
    found = [table for table in tables if not table.empty]
    whole = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)
    return Data(whole.reindex(columns=columns), arrays)


def median_of(data: Data, condition: str, measure: str) -> float:
    """Median over a condition's networks, NaN if none has that measure; LookupError if there are none."""
    rows = data.table[data.table["condition"] == condition]
    if rows.empty:
        raise LookupError(f"no networks: {condition}")
    return float(rows[measure].astype(float).median())


def stand_in(condition: str, other: str) -> Callable[[Data], Data]:
    """A control: data in which the networks of ``other`` stand for those of a condition."""

    def swap(data: Data) -> Data:
        rest = data.table[data.table["condition"] != condition]
        rows = data.table[data.table["condition"] == other].assign(condition=condition)
        return Data(pd.concat((rest, rows), ignore_index=True), data.arrays)

    return swap


def strip(ax: Axes, data: Data, conditions: Sequence[str], measure: str, label: str) -> None:
    """Every network as a dot, by condition, with the median as a bar."""
    jitter = np.random.default_rng(0)
    for x, condition in enumerate(conditions):
        values = data.table[data.table["condition"] == condition][measure].astype(float).dropna()
        ax.scatter(x + jitter.uniform(-0.2, 0.2, len(values)), values, s=5, color=plots.BLUE, linewidths=0, alpha=0.7)
        if len(values):
            ax.hlines(values.median(), x - 0.35, x + 0.35, color=plots.ORANGE, linewidth=1.2)
    ax.set_xticks(range(len(conditions)), conditions, rotation=60, ha="right", rotation_mode="anchor", fontsize=5)
    ax.set(ylabel=label, xlim=(-0.6, len(conditions) - 0.4))
    if not data.table["condition"].isin(conditions).any():
        ax.text(0.5, 0.5, "not run", ha="center", va="center", transform=ax.transAxes)
