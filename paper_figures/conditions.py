"""Whose records does a figure compare?  Every model as it ships, with its records as one table."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from entorhinal.analysis import plots
from entorhinal.benchmarks.conditions import Condition, shipped
from entorhinal.benchmarks.records import Record
from entorhinal.benchmarks.tables import tidy
from entorhinal.families.registry import BUILT_IN, get_class
from entorhinal.paper_figures.figure import Data

__all__ = [
    "COLOURS",
    "CONDITIONS",
    "FAMILIES",
    "MODELS",
    "Condition",
    "metric_table",
    "middle",
    "record_of",
    "seed_values",
    "value_of",
]

FAMILIES = ("coding_theory", "continuous_attractor", "function_optimization", "supervised", "ssl", "controls")
"""In the order of figures."""

COLOURS = dict(zip(FAMILIES, ("#56b4e9", plots.ORANGE, "#e69f00", "#cc79a7", plots.GREEN, "#444444"), strict=True))

NAMES = {
    "burak_fiete": "Burak & Fiete",
    "burak_fiete_aperiodic": "B. & F. (edges)",
    "burak_fiete_spiking": "B. & F. (spikes)",
    "fuhs_touretzky": "Fuhs & Touretzky",
    "kang_balasubramanian": "Kang & Balas.",
    "guanella": "Guanella",
    "couey": "Couey",
    "peak_selection_sheet": "Peak selection",
    "dordek": "Dordek",
    "dordek_hebbian": "Dordek (Hebbian)",
    "dordek_signed": "Dordek (signed)",
    "lie_group": "Lie group",
    "sorscher": "Sorscher",
    "sorscher_gaussian": "Sorscher (Gaussian)",
    "cueva_wei": "Cueva & Wei",
    "cueva_wei_full": "Cueva & Wei (full)",
    "banino": "Banino",
    "banino_full": "Banino (full)",
    "nayebi": "Nayebi",
    "schaeffer": "Schaeffer",
    "sic": "SIC",
    "sic_modular": "SIC (modular)",
    "sic_unpermuted": "SIC (unpermuted)",
    "vicreg": "VICReg",
    "simclr": "SimCLR",
    "distance_preserving_recurrent": "distance pres. (rec.)",
    "random_rnn": "random RNN",
}
"""Of models and checkpoints whose own name does not say it."""


def _conditions() -> tuple[Condition, ...]:
    """Every built-in model of the plane as it ships, family by family."""
    plane = [id for id in BUILT_IN if get_class(id).card.dimensions == 2]
    ordered = sorted(plane, key=lambda id: FAMILIES.index(id.partition("/")[0]))
    return tuple(replace(each, name=NAMES.get(each.name, each.name.replace("_", " "))) for each in shipped(ordered))


CONDITIONS = _conditions()
MODELS = tuple(dict.fromkeys(condition.model for condition in CONDITIONS))
COLUMNS = ("condition", "model", "task", "seed", "status", "metric", "value", "unit", "direction", "n", "reason")


def metric_table(records: Sequence[Record], tasks: Sequence[str]) -> pd.DataFrame:
    """A row for each metric of the records of ``tasks`` that are of one of the conditions; a run without metrics has
    one row, with its reason. Empty where there are no such records."""
    names = {condition.config_hash: condition.name for condition in CONDITIONS}
    frame = tidy([record for record in records if record.task in tasks and record.config_hash in names])
    if not frame.empty:
        frame["condition"] = frame["config_hash"].map(names)
    return frame.reindex(columns=list(COLUMNS)).sort_values(["condition", "task", "seed"], kind="stable")


def record_of(records: Sequence[Record], condition: Condition, task: str) -> Record | None:
    """The successful record of the lowest base seed, if there is one."""
    wanted = condition.config_hash, task, "ok"
    found = [record for record in records if (record.config_hash, record.task, record.status) == wanted]
    return min(found, key=lambda record: record.seed, default=None)


def value_of(data: Data, condition: str, task: str, metric: str) -> float:
    """Median over the records of a condition; NaN if the metric is empty in one, LookupError if there are none."""
    table = data.table
    rows = table[(table["condition"] == condition) & (table["task"] == task) & (table["metric"] == metric)]
    if rows.empty:
        raise LookupError(f"{condition}, {task}: {metric}")
    return float(rows["value"].astype(float).median(skipna=False))


def seed_values(data: Data, condition: str, *metrics: str) -> np.ndarray:
    """Of a condition's seeds, in order: (seeds, metrics), NaN where empty or not run."""
    rows = data.table[(data.table["condition"] == condition) & data.table["metric"].isin(metrics)]
    wide = rows.pivot_table(index="seed", columns="metric", values="value", dropna=False, aggfunc="first")
    return wide.reindex(columns=list(metrics)).to_numpy(float)


def middle(values: np.ndarray) -> np.ndarray:
    """Median over seeds ``(seeds, metrics)`` -> ``(metrics,)``, NaN where there is none."""
    return np.array([np.median(known) if len(known := column[np.isfinite(column)]) else np.nan for column in values.T])
