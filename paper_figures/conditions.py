"""Whose records does a figure compare?  Every model as it ships, with its records as one table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from entorhinal.benchmarks.records import CHECKPOINTS, Record, checkpoint_config, config_hash
from entorhinal.benchmarks.tables import tidy
from entorhinal.families.registry import BUILT_IN, get_class
from entorhinal.paper_figures.figure import Data

__all__ = ["CONDITIONS", "FAMILIES", "MODELS", "Condition", "metric_table", "record_of", "value_of"]

FAMILIES = ("coding_theory", "continuous_attractor", "function_optimization", "supervised", "ssl", "controls")
"""In the order of figures."""


@dataclass(frozen=True)
class Condition:
    """A model in its default config but for ``config``, or as the shipped checkpoint of that name.

    name: in figures and their tables.
    """

    name: str
    model: str
    checkpoint: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        return self.model.partition("/")[0]

    @cached_property
    def config_hash(self) -> str:
        config = checkpoint_config(self.checkpoint) if self.checkpoint else self.config
        return config_hash(self.model, get_class(self.model).Config.parse(self.model, config).model_dump(mode="json"))


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
    "sorscher": "Sorscher",
    "sorscher_gaussian": "Sorscher (Gaussian)",
    "cueva_wei": "Cueva & Wei",
    "banino": "Banino",
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
    """Every built-in model of the plane, family by family: its shipped checkpoints, or else its default config."""
    trained: dict[str, list[str]] = {}
    for path in sorted(CHECKPOINTS.glob("*.json")):
        trained.setdefault(json.loads(path.read_text())["model"], []).append(path.stem)
    found = []
    for model in sorted(BUILT_IN, key=lambda id: FAMILIES.index(id.partition("/")[0])):
        if get_class(model).card.dimensions == 2:
            short = model.partition("/")[2].rpartition("-v")[0]
            for checkpoint in trained.get(model, [""]):
                name = checkpoint or short
                found.append(Condition(NAMES.get(name, name.replace("_", " ")), model, checkpoint))
    signed = Condition("Dordek (signed)", "function_optimization/dordek-v1", config={"nonnegative": False})
    after = 1 + [condition.model for condition in found].index(signed.model)
    return (*found[:after], signed, *found[after:])


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
