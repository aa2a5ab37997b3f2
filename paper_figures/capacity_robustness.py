"""How much does a code hold, and how much noise does it stand?  Every model, from the shipped records."""

from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.analysis.capacity import noise_floor
from entorhinal.benchmarks.records import SHIPPED, load_records
from entorhinal.benchmarks.tasks.capacity import ERROR, PITCH_M
from entorhinal.paper_figures.conditions import (
    COLOURS,
    CONDITIONS,
    MODELS,
    Condition,
    metric_table,
    middle,
    record_of,
    seed_values,
    value_of,
)
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged

CAPACITY, ROBUSTNESS, ISOMETRY = TASKS = ("capacity-v1", "robustness-v1", "isometry-v1")
IDEAL, RESIDUE, SHEET, SIC, PLACE = "ideal grid", "residue", "Burak & Fiete", "SIC", "place cells"
CURVES = (IDEAL, RESIDUE, SIC)
NEAREST_M = 0.3
NOISE = ("undisturbed", "noise_0.5", "noise_1", "noise_2", "noise_4", "noise_8")
SHOWN = {
    "bits": (CAPACITY, "capacity_bits"),
    "noise": (ROBUSTNESS, "noise_followed_tolerance"),
    "separation": (CAPACITY, "code_separation"),
    "metric": (ISOMETRY, "metric_cv"),
}
"""What the panels show one number of a model of."""
CURVE_COLOURS = dict(zip(CURVES, (plots.BLUE, "#56b4e9", plots.GREEN), strict=True))
HIGHEST = 8.0  # noise tried

FIGURE = Figure(
    id="capacity_robustness",
    title="Capacity against robustness",
    caption=(
        "(a) Bits of place an axis, log2(joint range / resolution), against the noise on every rate (in multiples of "
        "its own modulation) at which the error of a reader that follows the code is half of chance. Arrows: the range "
        "is at least as long as was walked (4 m; 0.6 m for sheets), so the bits are a lower bound; dotted: highest "
        "noise tried. Numbers name the models as in d, colours their families. (b) Code distance against distance "
        "in units of its plateau: median (thick) and nearest place (thin); dotted: the noise floor. (c) What is empty "
        "and why, by number. (d) Smallest over median code distance between places 0.3 to 4 m apart; open: of codes "
        "that are not ones of place (their paths disagree, or they are flat near the origin), where it is no "
        "separation; dashed: the three ideal modules. (e) Median error of that reader against the noise, over that of "
        "chance. (f) Variation of the code's metric over the box, filled, and of units with unrelated phases, open: 0 "
        "is one speed everywhere. Every model that has a shipped record; medians over seeds in a, one symbol a seed in "
        "d and f."
    ),
    models=MODELS,
    records=tuple((model, task) for model in MODELS for task in TASKS),
)


def _of_reach(data: Data, condition: str) -> float:
    """Joint range over the longest displacement walked."""
    return value_of(data, condition, CAPACITY, "joint_range_m") / value_of(data, condition, CAPACITY, "reach_m")


def _ratio(data: Data, task: str, metric: str, condition: str, other: str) -> float:
    return value_of(data, condition, task, metric) / value_of(data, other, task, metric)


def _resolution(data: Data, condition: str) -> float:
    """Resolution in metres that a single unit would have."""
    units = value_of(data, condition, CAPACITY, "units")
    return value_of(data, condition, CAPACITY, "resolution_m") * float(np.sqrt(units))


def _tolerance(data: Data, condition: str) -> float:
    """Noise at which localisation in the whole box is half of chance; 0 where it is no better without noise."""
    return float(np.nan_to_num(value_of(data, condition, ROBUSTNESS, "noise_tolerance")))


claims = (
    Claim(
        id="three_modules_do_not_repeat",
        statement="The joint code of three ideal modules does not repeat within the 4 m walked, ten times the spacing "
        "of its middle one: joint range over reach is 1",
        paper="range far beyond the largest period",
        citation="Fiete et al. 2008",
        statistic=lambda data: _of_reach(data, IDEAL),
        control=exchanged("condition", IDEAL, SIC),
        low=0.999,
    ),
    Claim(
        id="residue_does_not_repeat",
        statement="Nor does the residue code with periods of 31, 44 and 63 cm and one orientation: joint range over "
        "reach is 1",
        paper="range far beyond the largest period",
        citation="Fiete et al. 2008",
        statistic=lambda data: _of_reach(data, RESIDUE),
        control=exchanged("condition", RESIDUE, SIC),
        low=0.999,
    ),
    Claim(
        id="sic_code_repeats",
        statement="The code of the shipped self-supervised network, which lives on one lattice, repeats: joint range "
        "below 2 m",
        paper="one lattice repeats at its period; for this network, several modules that do not over metres",
        citation="Fiete et al. 2008, Schaeffer et al. 2023",
        statistic=lambda data: value_of(data, SIC, CAPACITY, "joint_range_m"),
        control=exchanged("condition", SIC, IDEAL),
        high=2.0,
    ),
    Claim(
        id="residue_separates_places",
        statement="Code words of the residue code are as well separated as those of three ideal modules: code "
        "separation at least 0.8 of theirs",
        paper="well separated code words, as an error-correcting code needs",
        citation="Sreenivasan & Fiete 2011",
        statistic=lambda data: _ratio(data, CAPACITY, "code_separation", RESIDUE, IDEAL),
        control=exchanged("condition", RESIDUE, SIC),
        low=0.8,
    ),
    Claim(
        id="grids_resolve_finer_than_places",
        statement="At equal noise and number of units three ideal modules (0.30 to 0.61 m) resolve place more finely "
        "than place cells of 0.12 m: their resolution is finer by a factor above 1",
        paper="grid codes are finer than place codes of as many neurons",
        citation="Mathis et al. 2012",
        statistic=lambda data: _resolution(data, PLACE) / _resolution(data, IDEAL),
        control=exchanged("condition", IDEAL, PLACE),
        low=1.0,
    ),
    Claim(
        id="modules_localise_through_noise",
        statement="Three ideal modules localise in a 1 m box through noise as large as the signal of every unit: noise "
        "tolerance at least 1",
        paper="a grid code is robust to noise",
        citation="Sreenivasan & Fiete 2011",
        statistic=lambda data: _tolerance(data, IDEAL),
        control=exchanged("condition", IDEAL, SHEET),
        low=1.0,
    ),
    Claim(
        id="residue_localises_through_noise",
        statement="So does the residue code: noise tolerance at least 1",
        paper="a grid code is robust to noise",
        citation="Sreenivasan & Fiete 2011",
        statistic=lambda data: _tolerance(data, RESIDUE),
        control=exchanged("condition", RESIDUE, SHEET),
        low=1.0,
    ),
    Claim(
        id="sic_is_isometric",
        statement="A network trained for conformal isometry moves at nearly one speed everywhere: its metric varies at "
        "most 0.8 times as much as that of units with unrelated phases",
        paper="a conformal isometry (a term of the loss)",
        citation="Schaeffer et al. 2023",
        statistic=lambda data: value_of(data, SIC, ISOMETRY, "metric_cv") / value_of(data, SIC, ISOMETRY, "null_cv"),
        control=exchanged("condition", SIC, "lowpass noise"),
        high=0.8,
    ),
)


def compute(progress: Progress, folder: Path = SHIPPED) -> Data:
    """Metrics of every condition and the curves of three, from the records in ``folder``."""
    records = load_records(folder)
    tables = [metric_table(records, TASKS)]
    for condition in CONDITIONS:
        record = record_of(records, condition, CAPACITY) if condition.name in CURVES else None
        if record is not None and record.artifact_sha256:
            found = {name: record.arrays(folder)[f"ring_{name}"].double().numpy() for name in ("median", "minimum")}
            distance_m = PITCH_M * np.arange(len(found["median"]))
            plateau = np.nanmedian(found["median"][distance_m >= NEAREST_M])
            floor = noise_floor(record.value("noise_sd"), ERROR) / plateau
            curve = pd.DataFrame({"distance_m": distance_m, "value": found["median"] / plateau, "floor": floor})
            curve = curve.assign(least=found["minimum"] / plateau, metric="ring")
            tables.append(curve.assign(condition=condition.name, task=CAPACITY, model=condition.model))
    progress(1, 1)
    return Data(pd.concat(tables, ignore_index=True))


def draw(data: Data) -> Canvas:
    known = set(data.table["condition"])
    shown = [condition for condition in CONDITIONS if condition.name in known]
    canvas = plt.figure(figsize=(180 / 25.4, (75 + 4.2 * max(len(shown), 8)) / 25.4), layout="constrained")
    (above,), (below,) = canvas.subfigures(2, 1, squeeze=False, height_ratios=(68, 4.2 * max(len(shown), 8) + 10))
    bits, curves, empty = above.subplots(1, 3, width_ratios=(1.5, 1, 1))
    separation, noise, isometry = below.subplots(1, 3, width_ratios=(1, 1, 1), sharey=True)
    trade(bits, data, shown)
    _curves(curves, data)
    _empty(empty, data, shown)
    _separation(separation, data, shown)
    _noise(noise, data, shown)
    _isometry(isometry, data, shown)
    for letter, ax in zip("abcdef", (bits, curves, empty, separation, noise, isometry), strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    return canvas


def trade(ax: Axes, data: Data, shown: list[Condition], *, gap: float = 0.04) -> None:
    """Bits of place against the noise stood, models by number; arrows where the bits are a lower bound.

    gap: between the numbers, of the height of the axes.
    """
    metrics = (SHOWN["noise"][1], SHOWN["bits"][1], "joint_range_m", "reach_m")
    points = []
    for number, condition in enumerate(shown, 1):
        noise, bits, range_m, reach_m = middle(seed_values(data, condition.name, *metrics))
        if np.isfinite(noise + bits):
            bound = " ↑" if range_m >= 0.999 * reach_m else ""
            points.append((noise, bits, f"{number}{bound}", COLOURS[condition.family]))
    ax.axvline(HIGHEST, color=plots.GREY, linewidth=0.6, linestyle=":")
    ax.set(xlabel="noise stood (modulations)", ylabel="bits of place an axis", xlim=(0, HIGHEST + 0.4))
    plots.margin_labels(ax, points, gap=gap)


def _names(ax: Axes, shown: list[Condition]) -> None:
    ax.set_yticks(range(len(shown)), [f"{condition.name}  {number}" for number, condition in enumerate(shown, 1)])
    ax.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0, labelsize=6)
    for label, condition in zip(ax.get_yticklabels(), shown, strict=True):
        label.set_color(COLOURS[condition.family])


def _separation(ax: Axes, data: Data, shown: list[Condition]) -> None:
    for y, condition in enumerate(shown):
        color = COLOURS[condition.family]
        for separation, ratio in seed_values(data, condition.name, SHOWN["separation"][1], "min_over_median"):
            fill_ = color if np.isfinite(separation) else "none"
            ax.plot(ratio, y, "o", markersize=4, markerfacecolor=fill_, markeredgecolor=color, markeredgewidth=0.8)
    ideal = seed_values(data, IDEAL, SHOWN["separation"][1])
    if np.isfinite(ideal).any():
        ax.axvline(np.nanmedian(ideal), color=plots.BLUE, linewidth=0.6, linestyle="--", zorder=0)
    _names(ax, shown)
    ax.set(xlabel="code separation", xlim=(0, None))


def _curves(ax: Axes, data: Data) -> None:
    for name, color in CURVE_COLOURS.items():
        rows = data.table[(data.table["condition"] == name) & (data.table["metric"] == "ring")]
        if rows.empty:
            continue
        typical, least = (rows[column].to_numpy(float) for column in ("value", "least"))
        plots.capacity_curve(ax, rows["distance_m"].to_numpy(float), typical, least, color=color)
        ax.axhline(rows["floor"].iloc[0], color=color, linewidth=0.6, linestyle=":")
    for name, color in CURVE_COLOURS.items():
        ax.plot([], [], color=color, label=name)
    ax.set(xlabel="distance (m)", ylabel="code distance / plateau")
    ax.legend(fontsize=6, loc="lower right", frameon=True, framealpha=0.85, edgecolor="none")


def _noise(ax: Axes, data: Data, shown: list[Condition]) -> None:
    """A row a condition, a column a level: error over chance, white where there is none."""
    part = np.full((max(len(shown), 1), len(NOISE)), np.nan)
    for y, condition in enumerate(shown):
        metrics = *(f"{level}_followed_error_m" for level in NOISE), "chance_error_m"
        *errors, chance = middle(seed_values(data, condition.name, *metrics))
        part[y] = np.array(errors) / chance
    image = ax.imshow(part, aspect="auto", cmap="viridis_r", norm=Normalize(0, 1), interpolation="nearest")
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.figure.colorbar(image, ax=ax, label="error / chance", orientation="horizontal", location="top", aspect=30)
    ax.set_xticks(range(len(NOISE)), [level.removeprefix("noise_").replace("undisturbed", "0") for level in NOISE])
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("noise (modulations)")


def _isometry(ax: Axes, data: Data, shown: list[Condition]) -> None:
    for y, condition in enumerate(shown):
        color = COLOURS[condition.family]
        for cv, null in seed_values(data, condition.name, SHOWN["metric"][1], "null_cv"):
            ax.plot([cv, null], [y, y], color=plots.GREY, linewidth=0.6, zorder=0)
            ax.plot(null, y, "o", markersize=4, markerfacecolor="white", markeredgecolor=color, markeredgewidth=0.8)
            ax.plot(cv, y, "o", markersize=4, color=color, clip_on=False)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="variation of the metric", xlim=(0, None))


def _empty(ax: Axes, data: Data, shown: list[Condition]) -> None:
    """For each reason, what it leaves empty, and of which conditions."""
    found: dict[tuple[str, str], list[str]] = {}
    for number, condition in enumerate(shown, 1):
        reasons: dict[str, list[str]] = {}
        for panel, (task, metric) in SHOWN.items():
            rows = data.table[(data.table["condition"] == condition.name) & (data.table["task"] == task)]
            here = rows[rows["metric"] == metric]
            if rows.empty:
                reasons.setdefault("not run", []).append(panel)
            elif here.empty or here["value"].isna().any():
                given = (rows if here.empty else here)["reason"].dropna()
                reasons.setdefault(next(iter(given), "empty").partition(":")[0], []).append(panel)
        for why, what in reasons.items():
            found.setdefault((", ".join(what), why), []).append(str(number))
    lines = [fill(f"{', '.join(numbers)}: no {what} ({why})", 48) for (what, why), numbers in found.items()]
    if missing := [condition.name for condition in CONDITIONS if condition not in shown]:
        lines.append(fill(f"not run: {', '.join(missing)}", 48))
    ax.set_axis_off()
    ax.annotate("\n".join(lines) or "nothing is empty", (0, 1), xycoords="axes fraction", va="top", fontsize=5)
