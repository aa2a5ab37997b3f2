"""What has each model, what does its code hold and stand, and in which ratios are its periods?  From shipped records.

Thresholds and claims were written with most of these records at hand: they say what is in the tables, and predict it
for the models whose records come later.
"""

import math
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from entorhinal.analysis import plots
from entorhinal.benchmarks.records import SHIPPED, load_records
from entorhinal.families.registry import get_class
from entorhinal.paper_figures import capacity_robustness, gridness
from entorhinal.paper_figures.conditions import (
    COLOURS,
    CONDITIONS,
    MODELS,
    Condition,
    metric_table,
    middle,
    seed_values,
    value_of,
)
from entorhinal.paper_figures.economy_ratio import RAT_RATIO
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, within

GRIDNESS, LARGER, MODULES, TORUS, PATH = (
    gridness.TASK,
    "generalization-v2",
    "modules-v1",
    "topology-v3",
    "path_integration-v1",
)
TASKS = (GRIDNESS, LARGER, MODULES, TORUS, PATH, capacity_robustness.CAPACITY, capacity_robustness.ROBUSTNESS)
HEXAGONAL, INTEGRATES, SHIFT = 0.5, 0.2, 0.1
"""Part of the units that must be grid units; path error over chance, and change of spacing, at most."""
BOXES = ((GRIDNESS, "grid_fraction"), (LARGER, "grid_fraction_1x"), (LARGER, "grid_fraction_2x"))
ERROR, CHANCE = "walk_integration_error_median_m", "walk_chance_error_median_m"
WIDE, WIDE_SHIFT = "grid_fraction_4x", "spacing_shift_4x"
RATIOS = tuple(f"ratio_{k}" for k in range(1, 5))
METRICS = {
    *(metric for _, metric in BOXES), ERROR, CHANCE, WIDE, WIDE_SHIFT, *RATIOS, "module_count", "independent_modules",
    "is_torus", "capacity_bits", "joint_range_m", "reach_m", "noise_followed_tolerance", "",
}  # fmt: skip
"""All that is kept of the records; "" is a run without metrics, with its reason."""

READ_OUT = (
    "supervised/cueva_wei-v1",
    "supervised/banino-v1",
    "supervised/sorscher-v1",
    "supervised/nayebi-v1",
    "supervised/schaeffer-v1",
    "function_optimization/pattern_formation-v1",
    "function_optimization/lie_group-v1",
)
"""Models in which units are what a linear read-out of positions, of place cells or of a place kernel needs."""

THEORIES = {
    "rats, 1.42": (RAT_RATIO, "-", "black"),
    "economy, 1.43": (1.433, "--", "#0072b2"),
    "nested decoder, 3/2": (1.5, ":", plots.ORANGE),
    "winner-take-all, √e": (math.sqrt(math.e), "-.", plots.GREEN),
}
"""Ratios of neighbouring periods in the plane: Stensola et al. 2012; Wei et al. 2015, recomputed by
`coding_theory/economy`; Stemmler et al. 2015; Wei et al. 2015."""
GAP = 0.05  # between numbers beside a panel, of its height
PEAK_SELECTION = tuple((m + 1) / m for m in range(1, 6))

Mark = tuple[str, str]
"""yes, partly, no, or empty with the reason; in the last column what was put in."""


def _value(table: pd.DataFrame, condition: str, task: str, metric: str) -> tuple[float, str]:
    """Median over seeds of a metric; NaN and the reason where one seed has none."""
    rows = table[(table["condition"] == condition) & (table["task"] == task)]
    here = rows[rows["metric"] == metric]
    if rows.empty:
        return math.nan, "not run"
    value = float(here["value"].astype(float).median(skipna=False)) if len(here) else math.nan
    reasons = [why for why in (rows if here.empty else here)["reason"].dropna() if why]
    return value, "" if math.isfinite(value) else (reasons or ["not measured"])[0].partition(":")[0]


def _judged(test: Callable[..., bool], *found: tuple[float, str]) -> Mark:
    """The test of values, or the reason of the first that is missing."""
    for value, why in found:
        if not math.isfinite(value):
            return "empty", why
    return ("yes" if test(*(value for value, _ in found)) else "no"), ""


def grid_fraction(table: pd.DataFrame, condition: str) -> tuple[float, str]:
    """The largest part of grid units in three boxes, or why there is none in any."""
    found = [_value(table, condition, task, metric) for task, metric in BOXES]
    return max((each for each in found if math.isfinite(each[0])), default=found[0])


def _hexagonal(table: pd.DataFrame, condition: Condition) -> Mark:
    return _judged(lambda part: part >= HEXAGONAL, grid_fraction(table, condition.name))


def _at_least(task: str, metric: str, least: float) -> Callable[[pd.DataFrame, Condition], Mark]:
    return lambda table, condition: _judged(lambda x: x >= least, _value(table, condition.name, task, metric))


def _integrates(table: pd.DataFrame, condition: Condition) -> Mark:
    error, chance = (_value(table, condition.name, PATH, metric) for metric in (ERROR, CHANCE))
    return _judged(lambda x, by_chance: x <= INTEGRATES * by_chance, error, chance)


def _generalises(table: pd.DataFrame, condition: Condition) -> Mark:
    part = _value(table, condition.name, LARGER, WIDE)
    if part[0] < HEXAGONAL:
        return "no", ""
    return _judged(lambda _, shift: shift <= SHIFT, part, _value(table, condition.name, LARGER, WIDE_SHIFT))


def _needs_position(table: pd.DataFrame, condition: Condition) -> Mark:
    return {"none": "no", "pairs": "partly"}.get(get_class(condition.model).card.supervision, "yes"), ""


def _needs_read_out(table: pd.DataFrame, condition: Condition) -> Mark:
    return "yes" if condition.model in READ_OUT else "no", ""


def _put_in(table: pd.DataFrame, condition: Condition) -> Mark:
    card, trained = get_class(condition.model).card, condition.checkpoint or condition.untrained
    put_in = {"given": "lattice", "scale given": "scale", "emerged": "nothing", "none": "no lattice"}[card.lattice]
    return put_in + (" *" if trained else ""), ""


PROPERTIES: dict[str, Callable[[pd.DataFrame, Condition], Mark]] = {
    "hexagonal": _hexagonal,
    "discrete modules": _at_least(MODULES, "module_count", 2),
    "independent modules": _at_least(MODULES, "independent_modules", 2),
    "torus": _at_least(TORUS, "is_torus", 1),
    "integrates paths": _integrates,
    "generalises": _generalises,
    "needs position": _needs_position,
    "needs a read-out": _needs_read_out,
    "put in": _put_in,
}

FIGURE = Figure(
    id="all_families",
    title="Grid-cell models of all families",
    caption=(
        "Every model of the plane as it ships, by number; colours are families. (a) Filled: yes; half: partly; "
        "open: no; letters: not measured, for the reason below. Hexagonal: at least half of the active units "
        "score above all noise maps of their own spectrum, on a rat's path, in the model's own box or in one "
        "twice as wide. Discrete modules: at least two; independent: two or more of which none predicts another's "
        "phase. Torus: Betti numbers (1, 2, 1). Integrates paths: followed from the start, the median error over "
        "a minute of the common walk is at most a fifth of chance. Generalises: in a box four times as wide as "
        "the model's own half of the units are hexagonal and their spacing has changed by at most 10 %. Needs "
        "position: as input or target; half: to choose pairs only. Needs a read-out: the theory prescribes what "
        "is read from the units. Put in: the lattice, its scale or nothing; *: trained by gradients. Medians over "
        "seeds. (b) Bits of place an axis against the noise stood, as in `capacity_robustness`; arrows: a lower "
        "bound. (c) Part of grid units, the largest as in a, against the path error in a; dashed: the two "
        "thresholds. (d) Ratios of neighbouring periods in maps of models with several modules, beside theory and "
        "rats (Stensola et al. 2012); triangles: 2, 3/2, 4/3, ..., peak selection without phase."
    ),
    models=MODELS,
    records=tuple((model, task) for model in MODELS for task in TASKS),
)


def _models_with(data: Data, mark: str, chosen: Callable[[Condition], bool]) -> float:
    """How many of the chosen conditions have a mark; LookupError if it was measured in none."""
    names = {condition.name for condition in CONDITIONS if chosen(condition)}
    marks = data.table[(data.table["property"] == mark) & data.table["condition"].isin(names)]["mark"]
    if marks.isin(["yes", "no"]).sum() == 0:
        raise LookupError(mark)
    return float((marks == "yes").sum())


def _with_mark_of(condition: str, other: str, mark: str) -> Callable[[Data], Data]:
    """Data in which a condition has another's mark."""

    def control(data: Data) -> Data:
        table, here = data.table.copy(), data.table["property"] == mark
        given = table.loc[here & (table["condition"] == other), "mark"]
        if len(given):
            table.loc[here & (table["condition"] == condition), "mark"] = given.iloc[0]
        return Data(table)

    return control


def _put_in_is_not_a_lattice(condition: Condition) -> bool:
    return get_class(condition.model).card.lattice in ("scale given", "emerged")


def _ratio(data: Data, condition: str) -> float:
    """Mean ratio of neighbouring periods."""
    found = [value_of(data, condition, MODULES, ratio) for ratio in RATIOS]
    return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan


claims = (
    Claim(
        id="independent_modules_are_put_in",
        statement="No model here has several independent modules unless its lattices were put in: number of those "
        "that have",
        paper="several modules from one network, of which none was put in",
        citation="Schaeffer et al. 2023, Dorrell et al. 2023",
        statistic=lambda data: _models_with(data, "independent modules", _put_in_is_not_a_lattice),
        control=_with_mark_of("SIC", "ideal grid", "independent modules"),
        high=0.0,
    ),
    Claim(
        id="no_control_without_a_lattice_is_hexagonal",
        statement="None of the controls without a lattice is marked as hexagonal",
        paper="noise reaches high grid scores",
        citation="Schaeffer et al. 2022",
        statistic=lambda data: _models_with(
            data, "hexagonal", lambda each: get_class(each.model).card.lattice == "none"
        ),
        control=_with_mark_of("lowpass noise", "ideal grid", "hexagonal"),
        high=0.0,
    ),
    Claim(
        id="economy_ratio_in_maps",
        statement="Maps of the economical code have modules whose periods are in the ratio that it optimises: "
        "their mean",
        paper="1.44",
        citation="Wei et al. 2015",
        statistic=lambda data: _ratio(data, "economy"),
        control=exchanged("condition", "economy", "nested"),
        **within(1.44),
    ),
    Claim(
        id="nested_decoder_ratio_in_maps",
        statement="And so have those of the nested code that is read out by population vectors",
        paper="3/2",
        citation="Stemmler et al. 2015",
        statistic=lambda data: _ratio(data, "nested decoder"),
        control=exchanged("condition", "nested decoder", "nested"),
        **within(1.5),
    ),
)


def compute(progress: Progress, folder: Path = SHIPPED) -> Data:
    """The metrics that are shown, a row each, and below them the marks, a row a condition and property."""
    table = metric_table(load_records(folder), TASKS)
    table = table[table["metric"].isin(METRICS)]
    marks = [
        (condition.name, condition.model, name, *judge(table, condition))
        for condition in CONDITIONS
        for name, judge in PROPERTIES.items()
    ]
    progress(1, 1)
    of_marks = pd.DataFrame(marks, columns=["condition", "model", "property", "mark", "reason"])
    return Data(pd.concat([table, of_marks], ignore_index=True).reindex(columns=[*table.columns, "property", "mark"]))


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(190 / 25.4, (42 + 4.3 * len(CONDITIONS)) / 25.4), layout="constrained")
    grid = canvas.add_gridspec(3, 2, width_ratios=(1.25, 1), height_ratios=(1.25, 1.25, 1))
    table, trade, error, ratios = (canvas.add_subplot(at) for at in (grid[:, 0], grid[0, 1], grid[1, 1], grid[2, 1]))
    _marks(table, data)
    capacity_robustness.trade(trade, data, list(CONDITIONS), gap=GAP)
    _gridness_and_error(error, data)
    _ratios(ratios, data)
    canvas.legend(handles=_legend(), loc="upper right", ncols=2, fontsize=6.5)
    for letter, ax in zip("abcd", (table, trade, error, ratios), strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    return canvas


def _legend() -> list[Line2D]:
    """Families by colour, then the marks."""
    families = [
        Line2D([], [], linestyle="none", marker="s", markersize=4, color=color, label=family.replace("_", " "))
        for family, color in COLOURS.items()
    ]
    marks = [
        Line2D([], [], linestyle="none", color="black", label=label, **_marker(mark))
        for label, mark in (("yes", "yes"), ("partly", "partly"), ("no", "no"))
    ]
    letters = Line2D([], [], linestyle="none", marker="$a$", color="#777777", markersize=4, label="not measured")
    return [*families, *marks, letters]


def _marker(mark: str) -> dict[str, Any]:
    style = {"yes": "full", "partly": "left", "no": "none"}[mark]
    size = 4 if mark == "no" else 5
    return {
        "marker": "o", "markersize": size, "fillstyle": style, "markerfacecoloralt": "white", "markeredgewidth": 0.6,
    }  # fmt: skip


def _marks(ax: Axes, data: Data) -> None:
    rows = data.table[data.table["property"].notna()]
    found = {(r.condition, r.property): (str(r.mark), str(r.reason)) for r in rows.itertuples()}
    reasons: dict[str, str] = {}
    for y, condition in enumerate(CONDITIONS):
        color = COLOURS[condition.family]
        for x, name in enumerate(PROPERTIES):
            mark, why = found[condition.name, name]
            if name == "put in":
                ax.text(x - 0.3, y, mark, color=color, fontsize=6, va="center")
            elif mark == "empty":
                letter = reasons.setdefault(why, chr(ord("a") + len(reasons)))
                ax.text(x, y, letter, color="#777777", fontsize=6, fontstyle="italic", ha="center", va="center")
            else:
                ax.plot(x, y, color=color, **_marker(mark))
    ax.set_yticks(range(len(CONDITIONS)), [f"{each.name}  {n}" for n, each in enumerate(CONDITIONS, 1)])
    for label, condition in zip(ax.get_yticklabels(), CONDITIONS, strict=True):
        label.set_color(COLOURS[condition.family])
    ax.set_xticks(range(len(PROPERTIES)), PROPERTIES, rotation=40, ha="left", rotation_mode="anchor")
    ax.tick_params(length=0, labelsize=6.5, top=True, bottom=False, labeltop=True, labelbottom=False)
    for y in range(len(CONDITIONS) - 1):
        edge = CONDITIONS[y].family != CONDITIONS[y + 1].family
        ax.axhline(y + 0.5, color="#555555" if edge else "#dddddd", linewidth=0.5, zorder=0)
    ax.axvline(5.5, color="#555555", linewidth=0.5)
    ax.set(xlim=(-0.6, len(PROPERTIES) + 0.3), ylim=(len(CONDITIONS) - 0.5, -0.5))
    for spine in ax.spines.values():
        spine.set_visible(False)
    said = "; ".join(f"{letter}: {why}" for why, letter in reasons.items()) or "nothing is empty"
    ax.set_xlabel(fill(said, 72), fontsize=6, loc="left")


def _gridness_and_error(ax: Axes, data: Data) -> None:
    points = []
    for number, condition in enumerate(CONDITIONS, 1):
        part, _ = grid_fraction(data.table, condition.name)
        error_m, _ = _value(data.table, condition.name, PATH, ERROR)
        if math.isfinite(part + error_m):
            points.append((error_m, part, str(number), COLOURS[condition.family]))
    chances = [_value(data.table, condition.name, PATH, CHANCE)[0] for condition in CONDITIONS]
    ax.axhline(HEXAGONAL, color=plots.GREY, linewidth=0.6, linestyle="--", zorder=0)
    if np.isfinite(chances).any():
        ax.axvline(INTEGRATES * np.nanmedian(chances), color=plots.GREY, linewidth=0.6, linestyle="--", zorder=0)
    ax.set(xscale="log", xlabel="path error (m)", ylabel="grid units (part)", ylim=(-0.05, 1.05), xlim=(1e-3, 1))
    plots.margin_labels(ax, points, gap=GAP)


def _ratios(ax: Axes, data: Data) -> None:
    for label, (ratio, style, color) in THEORIES.items():
        ax.axvline(ratio, color=color, linewidth=0.9, linestyle=style, label=label, zorder=0)
    rows: list[tuple[str, str]] = []
    for number, condition in enumerate(CONDITIONS, 1):
        values = seed_values(data, condition.name, *RATIOS)
        if len(values) and np.isfinite(middle(values)).any():
            color = COLOURS[condition.family]
            ax.plot(middle(values), [len(rows)] * len(RATIOS), "o", markersize=3, color=color, alpha=0.7)
            rows.append((f"{condition.name}  {number}", color))
    bottom = max(len(rows), 1)
    law = [bottom - 0.45] * len(PEAK_SELECTION)
    ax.plot(PEAK_SELECTION, law, "^", markersize=3, color="black", clip_on=False, label="peak selection")
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    for tick, (_, color) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_color(color)
    ax.tick_params(axis="y", length=0, labelsize=6)
    ax.set(xlabel="ratio of neighbouring periods", xlim=(1.1, 2.1), ylim=(bottom - 0.4, -0.6))
    ax.legend(fontsize=5.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
