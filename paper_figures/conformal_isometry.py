"""A code that keeps distances is hexagonal, at a spacing that its scale sets (Xu et al. 2025)."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.families.function_optimization.conformal import SPACING
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within
from entorhinal.paper_figures.function_networks import draw_maps, draw_measures
from entorhinal.paper_figures.ssl_networks import CONTROLS, NOISE, Condition, median_of, networks, stand_in

MODEL, CITATION = "function_optimization/conformal-v1", "Xu et al. 2025"
LINEAR, RELU = "linear", "ReLU"
SMALL, SMALL_RELU = "linear, small", "ReLU, small"
THROUGH_RELU = {"transformation": "relu", "isometry_weight": 4.0}
FEWER = {"batch": 720, "lr": 1e-2, "warmup_steps": 200}
"""What is small: batches of 720, and 3,000 steps."""
SCALES = {f"small, s = {scale:g}/m": scale for scale in (7.0, 8.5, 12.0, 15.0)} | {SMALL: 10.0}
CONDITIONS = (
    Condition(LINEAR, "conformal_full", MODEL),
    Condition(RELU, "conformal_full", MODEL, THROUGH_RELU),
    Condition(SMALL, "conformal", MODEL, FEWER),
    Condition(SMALL_RELU, "conformal_relu", MODEL, FEWER | THROUGH_RELU),
    *(
        Condition(name, "conformal_scales", MODEL, FEWER | {"scale_per_m": scale})
        for name, scale in SCALES.items()
        if name != SMALL
    ),
)
PANELS = {"score_mean": "mean grid score", "grid_fraction": "grid units", "ellipticity_median": "ellipticity"}
SIDE_M = 1.0

FIGURE = Figure(
    id="conformal_isometry",
    title="Conformal isometry of a code of position",
    caption=(
        "Networks of 24 units whose codes keep distances up to a factor s, in a 1 m box, of the paper's size (batches "
        "of 4,000, 20,000 steps) and small (720, 3,000): a dot a network, bars medians, n networks. (a) Mean grid "
        "score; crosses, the paper's, by its own scorer. (b) Share of units above all of 200 noise maps. (c) "
        "Ellipticity of grid units' lattices. (d) Spacing against s, small networks; line, three waves: 4π/√15 s. (e) "
        "Maps of one network each, units from best to worst score."
    ),
    models=(MODEL,),
)
PAPER = {LINEAR: 1.70, RELU: 1.17}
"""Mean grid scores that the paper gives, by its own scorer."""


def _slope(data: Data) -> float:
    """Slope of log spacing on log s, over the medians of the conditions; NaN if one of them has no grid unit."""
    spacing_m = [median_of(data, name, "spacing_median_m") for name in SCALES]
    if not np.isfinite(spacing_m).all():
        return float("nan")
    return float(np.polyfit(np.log(list(SCALES.values())), np.log(spacing_m), 1)[0])


claims = (
    Claim(
        id="conformal_linear_score",
        statement="With linear motion the mean grid score is 1.70 (± 10 %)",
        paper="1.70",
        citation=CITATION,
        statistic=lambda data: median_of(data, LINEAR, "score_mean"),
        control=stand_in(LINEAR, NOISE),
        **within(1.70),
    ),
    Claim(
        id="conformal_relu_score",
        statement="With a ReLU it is 1.17 (± 10 %)",
        paper="1.17",
        citation=CITATION,
        statistic=lambda data: median_of(data, RELU, "score_mean"),
        control=stand_in(RELU, NOISE),
        **within(1.17),
    ),
    Claim(
        id="conformal_linear_grids",
        statement="With linear motion units are hexagonal: at least 90 % are grid units",
        paper="hexagonal (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, LINEAR, "grid_fraction"),
        control=stand_in(LINEAR, NOISE),
        low=0.9,
    ),
    Claim(
        id="conformal_relu_grids",
        statement="With a ReLU most are: at least half",
        paper="hexagonal (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, RELU, "grid_fraction"),
        control=stand_in(RELU, NOISE),
        low=0.5,
    ),
    Claim(
        id="conformal_small_grids",
        statement="Small networks suffice: with linear motion at least 90 % of units are grid units",
        paper="hexagonal (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, SMALL, "grid_fraction"),
        control=stand_in(SMALL, NOISE),
        low=0.9,
    ),
    Claim(
        id="conformal_small_relu_grids",
        statement="and with a ReLU at least half",
        paper="hexagonal (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, SMALL_RELU, "grid_fraction"),
        control=stand_in(SMALL_RELU, NOISE),
        low=0.5,
    ),
    Claim(
        id="conformal_spacing",
        statement="Spacing is inverse to s: the slope of its logarithm on that of s, 7 to 15 per metre, is −1 (± 10 %)",
        paper="s sets the spacing",
        citation=CITATION,
        statistic=_slope,
        control=lambda data: Data(data.table.assign(spacing_median_m=0.3), data.arrays),
        **within(-1.0),
    ),
)


def compute(progress: Progress) -> Data:
    """Read what the sweeps measured."""
    found = networks((*CONDITIONS, *CONTROLS))
    progress(1, 1)
    return found


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 210 / 25.4), layout="constrained")
    top, middle, bottom = canvas.subfigures(3, 1, height_ratios=(1, 0.8, 1.8))  # type: ignore[misc]
    names = [condition.name for condition in CONDITIONS]
    draw_measures(top, data, names, PANELS)
    first = top.get_axes()[0]
    first.scatter([names.index(name) for name in PAPER], list(PAPER.values()), marker="x", color="black", s=14)
    _draw_spacing(middle.subplots(), data)
    draw_maps(bottom, data, names, SIDE_M, "e")
    return canvas


def _draw_spacing(ax: Axes, data: Data) -> None:
    for name, scale in SCALES.items():
        spacing_m = data.table[data.table["condition"] == name]["spacing_median_m"].astype(float).dropna()
        ax.scatter(np.full(len(spacing_m), scale), spacing_m, s=8, color=plots.BLUE, linewidths=0, alpha=0.7)
    line = np.linspace(6.5, 16, 50)
    ax.plot(line, SPACING / line, color="black", linewidth=0.8, label="three waves")
    ax.set(xlabel="s (1/m)", ylabel="spacing (m)", xscale="log", yscale="log")
    ax.set_xticks((7, 10, 15), labels=("7", "10", "15"))
    ax.set_yticks((0.2, 0.3, 0.4, 0.5), labels=("0.2", "0.3", "0.4", "0.5"))
    ax.minorticks_off()
    ax.legend(frameon=False)
    ax.set_title("d", loc="left", fontweight="bold")
