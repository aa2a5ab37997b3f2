"""Which networks trained on places do figures compare?  Shipped ones, and the measures of the project's sweeps."""

import math
from collections.abc import Callable, Sequence

import pandas as pd

from entorhinal.benchmarks.records import CHECKPOINTS
from entorhinal.paper_figures.figure import Data
from entorhinal.paper_figures.ssl_networks import Condition, median_of

__all__ = [
    "BANINO",
    "BANINO_FULL",
    "BF16",
    "CHANCE",
    "CONDITIONS",
    "CUEVA_WEI",
    "CUEVA_WEI_FULL",
    "FLOAT32",
    "FULL",
    "FULL_TF32",
    "GAUSSIAN",
    "MEASURES",
    "NAYEBI",
    "NAYEBI_FULL",
    "NO_COST",
    "NO_DROPOUT",
    "NO_DROPOUT_FULL",
    "NO_NOISE",
    "NO_NOISE_NO_COST",
    "SORSCHER",
    "TF32",
    "farthest_ratio",
    "measured_of",
    "median_or_missing",
    "ratio_to_most",
    "shipped",
    "together",
    "with_value",
]

SORSCHER, GAUSSIAN = "Sorscher", "Sorscher, Gaussian"
CUEVA_WEI, NO_NOISE, NO_COST = "Cueva & Wei", "Cueva & Wei, no noise", "Cueva & Wei, no cost"
NO_NOISE_NO_COST = "Cueva & Wei, neither"
BANINO, NO_DROPOUT = "Banino", "Banino, no dropout"
CUEVA_WEI_FULL, NEITHER_FULL = "Cueva & Wei, T 500", "Cueva & Wei, T 500, neither"
BANINO_FULL, NO_DROPOUT_FULL = "Banino, rate 1e-5", "Banino, rate 1e-5, no dropout"
NAYEBI = "Nayebi"
FULL, NAYEBI_FULL = "Sorscher, 4,096 units", "Nayebi, 4,096 units"
FULL_TF32 = "Sorscher, 4,096 units, tf32"
FLOAT32, TF32, BF16 = "Sorscher, float32", "Sorscher, tf32", "Sorscher, bf16"

CHANCE = 0.01
"""Share of units that are above all of 100 maps of noise, if they are noise."""

MEASURES = ("active_units", "score_mean", "score_best", "grid_fraction", "null_fraction", "spacing_m", "path_error_m")
"""Of the sweeps' measures, those that the figures show."""

_SMALL = frozenset(
    {"batch", "clip_value", "direction", "lr", "schedule", "steps_per_trajectory"}
)  # set by the small presets
_CUEVA_WEI, _BANINO, _NAYEBI = "supervised/cueva_wei-v1", "supervised/banino-v1", "supervised/nayebi-v1"
_SORSCHER = "supervised/sorscher-v1"
CONDITIONS = (
    Condition(SORSCHER, "sorscher", _SORSCHER, {"units": 512, "weight_decay": 3e-4}, _SMALL),
    Condition(
        GAUSSIAN, "sorscher_gaussian", _SORSCHER, {"units": 512, "target": "gaussian", "weight_decay": 7e-5}, _SMALL
    ),
    Condition(CUEVA_WEI, "cueva_wei", _CUEVA_WEI, {}, _SMALL),
    Condition(NO_NOISE, "cueva_wei", _CUEVA_WEI, {"noise": 0.0}, _SMALL),
    Condition(NO_COST, "cueva_wei", _CUEVA_WEI, {"activity_cost": 0.0}, _SMALL),
    Condition(NO_NOISE_NO_COST, "cueva_wei", _CUEVA_WEI, {"activity_cost": 0.0, "noise": 0.0}, _SMALL),
    Condition(BANINO, "banino", _BANINO, {}, _SMALL),
    Condition(NO_DROPOUT, "banino", _BANINO, {"dropout": 0.0}, _SMALL),
    Condition(CUEVA_WEI_FULL, "cueva_wei_full", _CUEVA_WEI),
    Condition(NEITHER_FULL, "cueva_wei_full", _CUEVA_WEI, {"activity_cost": 0.0, "noise": 0.0}),
    Condition(BANINO_FULL, "banino_full", _BANINO),
    Condition(NO_DROPOUT_FULL, "banino_full", _BANINO, {"dropout": 0.0}),
    Condition(NAYEBI, "nayebi", _NAYEBI, {"units": 256, "place_cells": 256, "weight_decay": 1e-5}, _SMALL),
    Condition(FULL, "sorscher_full", _SORSCHER),
    Condition(NAYEBI_FULL, "nayebi_full", _NAYEBI),
    Condition(FULL_TF32, "sorscher_full_tf32", _SORSCHER),
    *(
        Condition(name, f"sorscher_{precision}", _SORSCHER, {"units": 512, "weight_decay": 3e-4}, _SMALL)
        for name, precision in ((FLOAT32, "float32"), (TF32, "tf32"), (BF16, "bf16"))
    ),
)

_CHECKPOINTS = {
    SORSCHER: "sorscher",
    GAUSSIAN: "sorscher_gaussian",
    CUEVA_WEI: "cueva_wei",
    BANINO: "banino",
    CUEVA_WEI_FULL: "cueva_wei_full",
    BANINO_FULL: "banino_full",
    NAYEBI: "nayebi",
}


def shipped() -> dict[str, str]:
    """Names of the checkpoints that there are, by condition."""
    return {name: stem for name, stem in _CHECKPOINTS.items() if (CHECKPOINTS / f"{stem}.safetensors").is_file()}


def together(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Tables one below the other, those without rows left out, with at least these columns."""
    found = [table for table in tables if len(table)]
    whole = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return whole.reindex(columns=[*whole.columns, *(name for name in columns if name not in whole)])


def median_or_missing(data: Data, condition: str, measure: str) -> float:
    """Median over a condition's networks; LookupError if there are none, or none has that measure."""
    found = median_of(data, condition, measure)
    if pd.isna(found):
        raise LookupError(f"not measured: {measure} of {condition}")
    return found


def ratio_to_most(data: Data, condition: str, others: tuple[str, ...], measure: str) -> float:
    """A share of units over the largest of the same in ``others``, none of which counts as less than `CHANCE`."""
    most = max(median_or_missing(data, other, measure) for other in others)
    return median_or_missing(data, condition, measure) / max(most, CHANCE)


def farthest_ratio(data: Data, conditions: Sequence[str], reference: str, measure: str) -> float:
    """A share of units over that of a reference, of the condition where it is farthest from 1; `CHANCE` at least."""
    wanted, *found = (max(median_or_missing(data, name, measure), CHANCE) for name in (reference, *conditions))
    return max((value / wanted for value in found), key=lambda ratio: abs(math.log(ratio)))


def measured_of(data: Data, measure: str) -> list[str]:
    """Names of the conditions whose networks have a measure."""
    there = set(data.table.dropna(subset=measure)["condition"])
    return [condition.name for condition in CONDITIONS if condition.name in there]


def with_value(condition: str, measure: str, value: float) -> Callable[[Data], Data]:
    """A control: data in which a condition's networks all have this value."""

    def changed(data: Data) -> Data:
        values = data.table[measure].mask(data.table["condition"] == condition, value)
        return Data(data.table.assign(**{measure: values}), data.arrays)

    return changed
