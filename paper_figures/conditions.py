"""Whose records does a figure compare?  Every model as it ships, with its records as one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from entorhinal.benchmarks.records import Record, checkpoint_config, config_hash
from entorhinal.benchmarks.tables import tidy
from entorhinal.families.registry import get_class
from entorhinal.paper_figures.figure import Data

__all__ = ["CONDITIONS", "MODELS", "Condition", "metric_table", "record_of", "value_of"]


@dataclass(frozen=True)
class Condition:
    """A model in its default config, or as the shipped checkpoint of that name; name: in figures and their tables."""

    name: str
    model: str
    checkpoint: str = ""

    @cached_property
    def config_hash(self) -> str:
        config = checkpoint_config(self.checkpoint) if self.checkpoint else {}
        return config_hash(self.model, get_class(self.model).Config.parse(self.model, config).model_dump(mode="json"))


CONDITIONS = (
    Condition("ideal grid", "controls/ideal_grid-v1"),
    Condition("residue", "coding_theory/residue-v1"),
    Condition("Burak & Fiete", "continuous_attractor/burak_fiete-v1"),
    Condition("Dordek", "function_optimization/dordek-v1"),
    Condition("Sorscher", "supervised/sorscher-v1", "sorscher"),
    Condition("Sorscher (Gaussian)", "supervised/sorscher-v1", "sorscher_gaussian"),
    Condition("SIC", "ssl/sic-v1", "sic"),
    Condition("place cells", "controls/place_cells-v1"),
    Condition("shuffled", "controls/shuffled-v1"),
    Condition("lowpass noise", "controls/lowpass_noise-v1"),
    Condition("random RNN", "controls/random_rnn-v1"),
)
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
