"""Which choices of a modeller give grids, and which a network that knows its place? (Schaeffer, Khona & Fiete 2022)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within
from entorhinal.paper_figures.schaeffer_networks import (
    ACCURATE_M,
    GRIDS,
    PLAIN,
    accurate,
    changed,
    highest,
    networks,
    rows_of,
)

CITATION = "Schaeffer et al. 2022"
SURROUND = {"target": "dos", **PLAIN}
COLOURS = {"dos": plots.BLUE, "dog": "#7a5195", "gaussian": plots.ORANGE, "cartesian": "#4c9f70"}
SHOWN = 8

FIGURE = Figure(
    id="no_free_lunch",
    title="Which choices give grids",
    caption=(
        "Small networks (256 units, 9,000 steps; their number in brackets) that learn to integrate paths, on targets, "
        "widths, non-linearities and cells of a modeller's choice. (a) Share of grid units, above all of 100 noise "
        "maps of their own spectrum, of every network by choice (widths together); bars medians, crosses the same "
        "share of noise. (b) Best grid score beside the error of the decoded position at the end of unseen walks; "
        "grey, the best of one noise map of each unit; dashed, the 0.8 and 10 cm of the paper. (c) Share of grid "
        "units against the width of place fields (rectified, plain cells). (d) Best unit of networks of seed 0, "
        "score order; titles name the choices. Networks so small can show which choices help and which do not, not "
        "how far the best of them go."
    ),
    models=("supervised/schaeffer-v1",),
)


def _grids_of_accurate(data: Data) -> float:
    rows = rows_of(data)
    rows = rows[accurate(rows)]
    if rows.empty:
        raise LookupError("no network decodes")
    return float((rows["grid_fraction"] >= GRIDS).mean())


def _widths_with_grids(data: Data) -> float:
    rows = rows_of(data, **SURROUND).fillna({"grid_fraction": 0.0})
    medians = rows.groupby(["place_width_m", "weight_decay"])["grid_fraction"].median()
    return float((medians.groupby("place_width_m").max() >= GRIDS).mean())


def _noise(data: Data) -> Data:
    """Noise in the place of units."""
    return Data(data.table.assign(grid_fraction=data.table["null_fraction"]), data.arrays)


_all_grids = changed("grid_fraction", lambda values: values.fillna(0) + 0.5)

claims = (
    Claim(
        id="nfl_most_networks_decode",
        statement="Most networks learn to integrate paths: at least half decode to better than 10 cm at the end of "
        "unseen walks",
        paper="most (of over 11,000)",
        citation=CITATION,
        statistic=lambda data: float(accurate(rows_of(data)).mean()),
        control=changed("path_error_m", lambda values: values + ACCURATE_M),
        low=0.5,
    ),
    Claim(
        id="nfl_few_networks_have_grids",
        statement="Few of those have grids: at most one in ten has 5 % or more grid units, in a sweep that favours the "
        "choices that give them (a third of it is rectified on dos)",
        paper="below 10 %",
        citation=CITATION,
        statistic=_grids_of_accurate,
        control=_all_grids,
        high=0.1,
    ),
    Claim(
        id="nfl_cartesian_no_grids",
        statement="Targets of Cartesian coordinates give none: at most 5 % grid units, the highest median of a setting",
        paper="none",
        citation=CITATION,
        statistic=lambda data: highest(rows_of(data, target="cartesian")),
        control=_all_grids,
        high=GRIDS,
    ),
    Claim(
        id="nfl_gaussian_no_grids",
        statement="Nor do Gaussian ones at five widths: at most 5 % grid units, the highest median of a setting",
        paper="none",
        citation=CITATION,
        statistic=lambda data: highest(rows_of(data, target="gaussian")),
        control=_all_grids,
        high=GRIDS,
    ),
    Claim(
        id="nfl_gaussian_best_score",
        statement="On Gaussian targets the mean of the networks' best scores is 0.28",
        paper="0.28 (661 networks)",
        citation=CITATION,
        statistic=lambda data: float(rows_of(data, target="gaussian")["score_best"].mean()),
        control=changed("score_best", lambda values: values + 0.5),
        **within(0.28),
    ),
    Claim(
        id="nfl_true_dog_no_grids",
        statement="Nor do true differences of Gaussians of equal peaks: at most 5 % grid units, the highest median of "
        "a setting",
        paper="grids need softmaxes",
        citation=CITATION,
        statistic=lambda data: highest(rows_of(data, target="dog", surround_amplitude=1.0)),
        control=_all_grids,
        high=GRIDS,
    ),
    Claim(
        id="nfl_dos_grids",
        statement="Differences of softmaxes with rectification do: the best of seven widths has a median of 5 % grid "
        "units or more",
        paper="grids at special widths",
        citation=CITATION,
        statistic=lambda data: highest(rows_of(data, **SURROUND)),
        control=_noise,
        low=GRIDS,
    ),
    Claim(
        id="nfl_narrow_widths",
        statement="but at few widths: at one to three of seven between 8 and 24 cm is the median 5 % or more, at "
        "either of two weight decays",
        paper="12 cm, not 11 or 13",
        citation=CITATION,
        statistic=_widths_with_grids,
        control=_all_grids,
        low=0.9 / 7,
        high=3.1 / 7,
    ),
    Claim(
        id="nfl_needs_rectification",
        statement="Other non-linearities give none with the same targets: at most 5 % grid units for tanh, sigmoid and "
        "linear units, the highest median of a setting",
        paper="grids with rectification",
        citation=CITATION,
        statistic=lambda data: highest(rows_of(data, target="dos", activation=("tanh", "sigmoid", "linear"))),
        control=_all_grids,
        high=GRIDS,
    ),
    Claim(
        id="nfl_noise_is_no_grid",
        statement="Of noise of the units' own spectra at most 2 % pass as grid units, in the median network (1 % "
        "expected)",
        paper="the null of every gridness plot",
        citation=CITATION,
        statistic=lambda data: float(rows_of(data)["null_fraction"].median()),
        control=changed("null_fraction", lambda values: values + GRIDS),
        high=0.02,
    ),
)


def compute(progress: Progress) -> Data:
    """Read what the sweep measured."""
    found = networks()
    progress(1, 1)
    return found


def _label(row: pd.Series) -> str:
    surround = f" α {row['surround_amplitude']:g}" if row["target"] == "dog" else ""
    return f"{row['target']}{surround}, {row['activation']}, {row['cell']}"


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 165 / 25.4), layout="constrained")
    table = data.table
    if table.empty:
        ax = canvas.subplots()
        ax.set_axis_off()
        ax.text(0.5, 0.5, "not run: benchmarks/sweeps says how", ha="center")
        return canvas
    parts: Any = canvas.subfigures(2, 1, height_ratios=(2.6, 1))
    top, bottom = parts
    axes = top.subplots(2, 2)
    for ax, letter in zip(axes.ravel()[[0, 2, 3]], "abc", strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    axes[0, 1].set_axis_off()
    grid = axes[0, 0].get_gridspec()
    axes[0, 0].set_subplotspec(grid[0, :])
    _draw_choices(axes[0, 0], table)
    ax = axes[1, 0]
    ax.scatter(table["path_error_m"], table["null_best"], s=4, color="0.75", linewidths=0, label="noise")
    for target, colour in COLOURS.items():
        rows = table[table["target"] == target]
        ax.scatter(rows["path_error_m"], rows["score_best"], s=6, color=colour, linewidths=0, label=target)
    ax.axhline(0.8, color="black", linestyle="--", linewidth=0.6)
    ax.axvline(ACCURATE_M, color="black", linestyle="--", linewidth=0.6)
    ax.set(xscale="log", xlabel="error of the decoded position (m)", ylabel="best grid score")
    ax.legend(fontsize=5)
    ax = axes[1, 1]
    plain = table[(table["activation"] == "relu") & (table["cell"] == "rnn") & (table["target"] != "cartesian")]
    for (kind, amplitude), rows in plain.groupby(["target", "surround_amplitude"]):
        target = str(kind)
        name = f"dog α {amplitude:g}" if target == "dog" else target
        ax.scatter(rows["place_width_m"], rows["grid_fraction"], s=6, color=COLOURS[target], linewidths=0)
        median = rows.groupby("place_width_m")["grid_fraction"].median()
        style = ":" if amplitude != 1 else "-"
        ax.plot(median.index, median, color=COLOURS[target], linewidth=0.8, linestyle=style, label=name)
    ax.axhline(GRIDS, color="black", linestyle="--", linewidth=0.6)
    ax.set(xlabel="width σ of place fields (m)", ylabel="grid units")
    ax.legend(fontsize=5)
    _draw_maps(bottom, data)
    return canvas


def _draw_choices(ax: Any, table: pd.DataFrame) -> None:
    labels = table.apply(_label, axis=1)
    names = list(dict.fromkeys(labels))
    jitter = np.random.default_rng(0)
    for x, name in enumerate(names):
        rows = table[labels == name]
        colour = COLOURS[rows["target"].iloc[0]]
        at = x + jitter.uniform(-0.25, 0.25, len(rows))
        ax.scatter(at, rows["grid_fraction"].fillna(0), s=6, color=colour, linewidths=0)
        ax.scatter(at, rows["null_fraction"], s=6, color="0.6", marker="x", linewidths=0.4)
        ax.hlines(rows["grid_fraction"].fillna(0).median(), x - 0.35, x + 0.35, color="black", linewidth=1)
    counts = [f"{name} ({(labels == name).sum()})" for name in names]
    ax.set_xticks(range(len(names)), counts, rotation=30, ha="right", rotation_mode="anchor", fontsize=5)
    ax.axhline(GRIDS, color="black", linestyle="--", linewidth=0.6)
    ax.set(ylabel="grid units")


def _draw_maps(canvas: Any, data: Data) -> None:
    table = data.table[data.table["network"].isin(data.arrays.keys())]
    best = (
        table.sort_values("score_best", ascending=False).groupby(["target", "activation", "cell"], sort=False).head(1)
    )
    rows: list[Any] = [row for _, row in best.iterrows()][:SHOWN]
    for ax, row in zip(canvas.subplots(1, SHOWN), rows + [None] * (SHOWN - len(rows)), strict=True):
        if row is None or not len(data.arrays[row["network"]]):
            ax.set_axis_off()
            continue
        rates = data.arrays[row["network"]][0]
        plots.rate_map(ax, rates, bin_m=2.2 / rates.shape[-1], scale_bar=False)
        ax.set_title(f"{row['target']}\n{row['activation']}, {row['cell']}\n{row['score_best']:.2f}", fontsize=5)
    canvas.suptitle("d", x=0.01, ha="left", fontweight="bold")
