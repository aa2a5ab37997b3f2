"""The leaderboard as a heat map: every metric of every model, coloured within its column."""

import math
from collections.abc import Callable
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.benchmarks.records import SHIPPED, load_records
from entorhinal.benchmarks.tables import COLUMNS, leaderboard
from entorhinal.families.registry import BUILT_IN
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress

FIGURE = Figure(
    id="leaderboard",
    title="Leaderboard",
    caption="All models on all tasks, from the shipped records. Colour ranks within a column and a group, darker is "
    "better (grey: no better direction, nothing to compare with, or empty). Models are grouped by what was put in and "
    "ranked only within a group.",
    models=tuple(BUILT_IN),
    records=tuple((model, task) for model in BUILT_IN for task in dict.fromkeys(column.task for column in COLUMNS)),
)


def _row(data: Data, model: str, column: str) -> float:
    rows = data.table[(data.table["model"] == model) & (data.table["config"] == "default")]
    if rows.empty:
        raise LookupError(model)
    return float(rows[column].iloc[0])


def _swap(model: str, other: str) -> Callable[[Data], Data]:
    def control(data: Data) -> Data:
        rows = data.table[data.table["model"] == other].assign(model=model)
        return Data(pd.concat([data.table[data.table["model"] != model], rows], ignore_index=True))

    return control


claims = (
    Claim(
        id="residue_localises",
        statement="A residue code with exact phases knows where it is all over the box: median error of the common "
        "decoder below two bins (4 cm) on the common walk",
        paper="range far beyond the largest period",
        citation="Fiete et al. 2008",
        statistic=lambda data: _row(data, "coding_theory/residue-v1", "error, walk (m)"),
        control=_swap("coding_theory/residue-v1", "controls/random_rnn-v1"),
        high=0.04,
    ),
    Claim(
        id="one_module_is_ambiguous",
        statement="One periodic module alone does not localise over many periods: the global decoder's median error on "
        "the attractor sheet is above half of the tracked one's tenfold",
        paper="a single module repeats",
        citation="Burak & Fiete 2009",
        statistic=lambda data: (
            _row(data, "continuous_attractor/burak_fiete-v1", "error, walk (m)")
            / _row(data, "continuous_attractor/burak_fiete-v1", "tracked, walk (m)")
        ),
        control=_swap("continuous_attractor/burak_fiete-v1", "controls/ideal_grid-v1"),
        low=5.0,
    ),
)


def compute(progress: Progress) -> Data:
    frame = leaderboard(load_records(SHIPPED))
    progress(1, 1)
    return Data(frame)


def draw(data: Data) -> Canvas:
    frame = data.table
    values = np.array([[row[column.heading] for column in COLUMNS] for _, row in frame.iterrows()], float)
    shade = np.full_like(values, math.nan)
    for j, column in enumerate(COLUMNS):
        if column.better != "none":
            within = frame.groupby("what was put in")[column.heading]
            rank = within.rank(pct=True, ascending=column.better == "higher")
            shade[:, j] = rank.where(within.transform("count") > 1).to_numpy()
    text = [
        [
            f"{value:.{column.digits}f}" if math.isfinite(value) else "–"
            for value, column in zip(row, COLUMNS, strict=True)
        ]
        for row in values
    ]
    labels = [
        model.removesuffix("-v1") + ("" if config == "default" else "\n" + fill(f"({config})", 48))
        for model, config in zip(frame["model"], frame["config"], strict=True)
    ]
    canvas, ax = plt.subplots(figsize=(210 / 25.4, (18 + 9 * len(frame)) / 25.4), layout="constrained")
    plots.heat_map(ax, shade, text, rows=labels, columns=[column.heading for column in COLUMNS])
    groups = frame["what was put in"].tolist()
    for i, group in enumerate(groups):
        if i and group != groups[i - 1]:
            ax.axhline(i - 0.5, color="black", linewidth=0.8)
    for group in dict.fromkeys(groups):
        middle = np.mean([i for i, other in enumerate(groups) if other == group])
        ax.annotate(
            group, (1.01, middle), xycoords=("axes fraction", "data"), va="center", fontsize=7, annotation_clip=False
        )
    return canvas
