"""Which networks of ``supervised/`` do figures compare?  The measures of the sweep `no_free_lunch`."""

import json
from collections.abc import Callable

import pandas as pd

from entorhinal.benchmarks.measures import IDENTITY
from entorhinal.benchmarks.ssl_measures import kept_maps, measured
from entorhinal.benchmarks.supervised_measures import MEASURES
from entorhinal.families.supervised.schaeffer import SchaefferConfig
from entorhinal.paper_figures.figure import Data

__all__ = ["ACCURATE_M", "GRIDS", "SWEEP", "accurate", "changed", "highest", "networks", "rows_of"]

SWEEP = "no_free_lunch"
GRIDS = 0.05
"""Share of grid units from which a network counts as one with grids; of noise, 1 % are."""
ACCURATE_M = 0.1
"""Error of the decoded position below which a network has learned to integrate paths, as in the paper."""
CHOICES = ("target", "place_width_m", "surround_amplitude", "activation", "cell", "weight_decay")
PLAIN = {"activation": "relu", "cell": "rnn"}


def networks() -> Data:
    """A row a network, with what was chosen for it; maps (best, median unit) of the networks of seed 0, by name."""
    table = measured(SWEEP)
    default = SchaefferConfig().model_dump()
    settings = [default | json.loads(setting) for setting in table["setting"]]
    chosen = pd.DataFrame([{name: setting[name] for name in CHOICES} for setting in settings], columns=list(CHOICES))
    table = pd.concat([table.reset_index(drop=True).drop(columns=list(CHOICES), errors="ignore"), chosen], axis=1)
    maps = {name: values.float().numpy() for name, values in kept_maps(SWEEP).items()}
    return Data(table.reindex(columns=["network", *IDENTITY, *CHOICES, *MEASURES]), maps)


def rows_of(data: Data, **chosen: object) -> pd.DataFrame:
    """Networks of these choices; LookupError if there are none."""
    table = data.table
    for name, value in chosen.items():
        table = table[table[name].isin(value) if isinstance(value, tuple) else table[name] == value]
    if table.empty:
        raise LookupError(f"no networks with {chosen}")
    return table


def accurate(rows: pd.DataFrame) -> pd.Series:
    """Which networks learned to integrate paths."""
    return rows["path_error_m"] < ACCURATE_M


def highest(rows: pd.DataFrame, measure: str = "grid_fraction") -> float:
    """Of the medians over the seeds of a setting, the highest."""
    medians = rows.fillna({measure: 0.0}).groupby(list(CHOICES))[measure].median()
    return float(medians.max())


def changed(column: str, change: Callable[[pd.Series], pd.Series]) -> Callable[[Data], Data]:
    """A control: data in which the numbers of a column are others."""
    return lambda data: Data(data.table.assign(**{column: change(data.table[column].astype(float))}), data.arrays)
