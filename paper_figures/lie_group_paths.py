"""Blocks of a code that rotate with the animal are lattices of several scales and integrate paths (Gao et al. 2021)."""

from typing import Any

from matplotlib.figure import Figure as Canvas

from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress
from entorhinal.paper_figures.function_networks import draw_networks
from entorhinal.paper_figures.ssl_networks import CONTROLS, NOISE, ONE_TORUS, Condition, median_of, networks, stand_in

MODEL, CITATION = "function_optimization/lie_group-v1", "Gao et al. 2021"
AS_IS = "as in the paper"
VARIANTS: dict[str, dict[str, Any]] = {
    "sixth order": {"order": 6},
    "steps half as long": {"step_range_m": 0.0375},
    "rate of 0.01": {"lr": 0.01},
    "no isometry": {"isometry_weight": 0.0},
}
CONDITIONS = (
    Condition(AS_IS, "lie_group", MODEL),
    *(Condition(name, "lie_group_variants", MODEL, setting) for name, setting in VARIANTS.items()),
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
        "Networks of 16 blocks of 12 units, each rotated by the animal's motion, as in the paper and in four "
        "variants: the matrix exponential to sixth order, not second; training on steps half as long; a rate of 0.01; "
        "no isometry. A dot a network, bars medians, n networks. (a) Grid score of units in the 1 m box. (b) Share of "
        "units above all of 200 noise maps. (c) Modules. (d) Distance of the decoded from the true place after 64 "
        "steps, about 1.3 m of path, median over 2,048 walks. (e) Maps of one network each, units from best to worst."
    ),
    models=(MODEL,),
)

claims = (
    Claim(
        id="lie_group_grids",
        statement="Units become hexagonal: at least half are grid units",
        paper="hexagonal (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, AS_IS, "grid_fraction"),
        control=stand_in(AS_IS, NOISE),
        low=0.5,
    ),
    Claim(
        id="lie_group_scales",
        statement="of several scales: the median number of modules is 2 or more",
        paper="several scales (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, AS_IS, "module_count"),
        control=stand_in(AS_IS, ONE_TORUS),
        low=1.75,
    ),
    Claim(
        id="lie_group_path",
        statement="The code integrates paths: after 64 steps the decoded place is at most 0.05 m, two bins, off",
        paper="accurate over long distances",
        citation=CITATION,
        statistic=lambda data: median_of(data, AS_IS, "path_error_m"),
        control=lambda data: Data(data.table.assign(path_error_m=0.4), data.arrays),  # decoded where walks began
        high=0.05,
    ),
)


def compute(progress: Progress) -> Data:
    """Read what the sweeps measured."""
    found = networks((*CONDITIONS, *CONTROLS))
    progress(1, 1)
    return found


def draw(data: Data) -> Canvas:
    return draw_networks(data, [condition.name for condition in CONDITIONS], PANELS, SIDE_M)
