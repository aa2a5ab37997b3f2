"""When does distance preservation make grid cells?  Scores against σ, feed-forward and recurrent (Pettersen et al.
2024)."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within
from entorhinal.paper_figures.ssl_networks import (
    CONTROLS,
    NOISE,
    THREE_MODULES,
    Condition,
    median_of,
    networks,
    stand_in,
)

CITATION = "Pettersen et al. 2024"
SIGMAS = (1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5)
DEFAULT = 1.2
KINDS = {"feed-forward": "distance_preserving", "recurrent": "distance_preserving_recurrent"}


def _name(kind: str, sigma: float) -> str:
    return f"{kind}, σ {sigma:g}"


CONDITIONS = tuple(
    Condition(_name(kind, sigma), name, f"ssl/{name}-v1", {} if sigma == DEFAULT else {"envelope_width": sigma})
    for kind, name in KINDS.items()
    for sigma in SIGMAS
)
FORWARD, RECURRENT = (_name(kind, DEFAULT) for kind in KINDS)
PANELS = {"score_mean": "mean grid score", "grid_fraction": "grid units", "band_fraction": "band units"}

FIGURE = Figure(
    id="distance_preserving_sigma",
    title="Distance preservation against σ",
    caption=(
        "Networks taught to preserve distances to neighbours (σ, in units of which the box is 4π wide), feed-forward "
        "and recurrent; a dot a network, lines medians over seeds. Left: mean grid score of active units in the "
        "training box, and (crosses) the paper's. Middle: units above all of 200 noise maps. Right: units that vary "
        "along one direction, in bands that come again. Below: maps of one network a σ, the best and the median unit."
    ),
    models=tuple(f"ssl/{name}-v1" for name in KINDS.values()),
)
PAPER = {1.0: 0.03, 1.5: 1.145, 2.5: 0.16}
"""Mean scores that the paper gives, by its own scorer."""

claims = (
    Claim(
        id="distance_grids_at_1_5",
        statement="At a σ of 1.5 the feed-forward network's mean grid score is 1.145 (± 10 %)",
        paper="1.145",
        citation=CITATION,
        statistic=lambda data: median_of(data, _name("feed-forward", 1.5), "score_mean"),
        control=stand_in(_name("feed-forward", 1.5), NOISE),
        **within(1.145),
    ),
    Claim(
        id="distance_no_grids_at_1",
        statement="At 1.0 there are no grids: a mean score of at most 0.3",
        paper="0.03",
        citation=CITATION,
        statistic=lambda data: median_of(data, _name("feed-forward", 1.0), "score_mean"),
        control=stand_in(_name("feed-forward", 1.0), THREE_MODULES),
        high=0.3,
    ),
    Claim(
        id="distance_no_grids_at_2_5",
        statement="Nor at 2.5",
        paper="0.16",
        citation=CITATION,
        statistic=lambda data: median_of(data, _name("feed-forward", 2.5), "score_mean"),
        control=stand_in(_name("feed-forward", 2.5), THREE_MODULES),
        high=0.3,
    ),
    Claim(
        id="distance_forward_grids",
        statement="At its default of 1.2 at least half of the feed-forward network's units are grids: no path "
        "integration is needed",
        paper="grid cells (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, FORWARD, "grid_fraction"),
        control=stand_in(FORWARD, NOISE),
        low=0.5,
    ),
    Claim(
        id="distance_recurrent_grids",
        statement="So is at least a quarter of the recurrent network's",
        paper="grid cells (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, RECURRENT, "grid_fraction"),
        control=stand_in(RECURRENT, NOISE),
        low=0.25,
    ),
    Claim(
        id="distance_recurrent_bands",
        statement="The recurrent network has band cells, which the feed-forward one has not: 5 % of its units more",
        paper="band cells (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, RECURRENT, "band_fraction") - median_of(data, FORWARD, "band_fraction"),
        control=stand_in(RECURRENT, FORWARD),
        low=0.05,
    ),
)


def compute(progress: Progress) -> Data:
    """Read what the sweeps measured."""
    found = networks((*CONDITIONS, *CONTROLS))
    progress(1, 1)
    return found


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 130 / 25.4), layout="constrained")
    top, bottom = canvas.subfigures(2, 1, height_ratios=(1, 1.3))  # type: ignore[misc]
    for ax, (measure, label) in zip(top.subplots(1, 3), PANELS.items(), strict=True):
        for kind, colour in zip(KINDS, (plots.BLUE, plots.ORANGE), strict=True):
            values = [
                data.table[data.table["condition"] == _name(kind, sigma)][measure].astype(float) for sigma in SIGMAS
            ]
            for sigma, each in zip(SIGMAS, values, strict=True):
                ax.scatter(np.full(len(each), sigma), each, s=5, color=colour, linewidths=0, alpha=0.6)
            if any(len(each) for each in values):
                ax.plot(SIGMAS, [each.median() for each in values], color=colour, linewidth=1, label=kind)
        if measure == "score_mean":
            ax.scatter(*zip(*PAPER.items(), strict=True), marker="x", color="black", s=14, label="paper")
        ax.set(xlabel="σ", ylabel=label)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=6)
    shown = [kind for kind in KINDS if any(_name(kind, sigma) in data.arrays for sigma in SIGMAS)] or ["feed-forward"]
    grid = bottom.subplots(2 * len(shown), len(SIGMAS))
    for i, kind in enumerate(shown):
        for column, sigma in enumerate(SIGMAS):
            maps = data.arrays.get(_name(kind, sigma), np.empty((0,)))
            for j in range(2):
                ax = grid[2 * i + j, column]
                if len(maps):
                    plots.rate_map(ax, maps[(0, len(maps) // 2)[j]], bin_m=2.2 / 64, scale_bar=False)
                else:
                    ax.set(xticks=[], yticks=[])
                if column == 0 and j == 0:
                    ax.set_ylabel(kind, fontsize=6)
                if i == j == 0:
                    ax.set_title(f"{sigma:g}", fontsize=6)
    return canvas
