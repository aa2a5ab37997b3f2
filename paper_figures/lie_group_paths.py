"""Blocks of a code that rotate with the animal are lattices of several scales and integrate paths (Gao et al. 2021)."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress
from entorhinal.paper_figures.function_networks import draw_maps, draw_measures
from entorhinal.paper_figures.ssl_networks import CONTROLS, NOISE, ONE_TORUS, Condition, median_of, networks, stand_in

MODEL, CITATION = "function_optimization/lie_group-v1", "Gao et al. 2021"
SECOND, SIXTH = "second order", "sixth order"
CONDITIONS = (
    Condition(SECOND, "lie_group", MODEL),
    Condition(SIXTH, "lie_group", MODEL, {"order": 6}),
)
PANELS = {
    "score_median": "median grid score",
    "grid_fraction": "grid units",
    "module_count": "modules",
    "path_error_m": "path error (m)",
}
SIDE_M = 1.0

FIGURE = Figure(
    id="lie_group_paths",
    title="A Lie group of rotations as a code of position",
    caption=(
        "Networks of 16 blocks of 12 units, each rotated by the animal's motion, by a matrix exponential to second "
        "order, as in the paper, or to sixth; a dot a network, bars medians, n networks. (a) Grid score of units in "
        "the 1 m box. (b) Share of units above all of 200 noise maps. (c) Modules. (d) Distance of the decoded from "
        "the true place after 64 steps, about 1.3 m of path, median over 2,048 walks. (e) Maps of one network each, "
        "units from best to worst score."
    ),
    models=(MODEL,),
)

claims = (
    Claim(
        id="lie_group_grids",
        statement="Units become hexagonal: at least half are grid units",
        paper="hexagonal (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, SECOND, "grid_fraction"),
        control=stand_in(SECOND, NOISE),
        low=0.5,
    ),
    Claim(
        id="lie_group_scales",
        statement="of several scales: the median number of modules is 2 or more",
        paper="several scales (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, SECOND, "module_count"),
        control=stand_in(SECOND, ONE_TORUS),
        low=1.75,
    ),
    Claim(
        id="lie_group_path",
        statement="The code integrates paths: after 64 steps the decoded place is at most 0.05 m, two bins, off",
        paper="accurate over long distances",
        citation=CITATION,
        statistic=lambda data: median_of(data, SECOND, "path_error_m"),
        control=lambda data: Data(data.table.assign(path_error_m=0.4), data.arrays),  # decoded where walks began
        high=0.05,
    ),
)


def compute(progress: Progress) -> Data:
    """Read what the sweep measured."""
    found = networks((*CONDITIONS, *CONTROLS))
    progress(1, 1)
    return found


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 130 / 25.4), layout="constrained")
    top, bottom = canvas.subfigures(2, 1)  # type: ignore[misc]
    names = [condition.name for condition in CONDITIONS]
    draw_measures(top, data, names, PANELS)
    draw_maps(bottom, data, names, SIDE_M, "e")
    return canvas
