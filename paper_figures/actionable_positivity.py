"""Actionable codes of places are modules of hexagonal lattices if rates are not negative (Dorrell et al. 2023)."""

from matplotlib.figure import Figure as Canvas

from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress
from entorhinal.paper_figures.function_networks import draw_networks
from entorhinal.paper_figures.ssl_networks import CONTROLS, NOISE, ONE_TORUS, Condition, median_of, networks, stand_in

MODEL, CITATION = "function_optimization/actionable-v1", "Dorrell et al. 2023"
WITH, WITHOUT = "non-negative", "of either sign"
CONDITIONS = (
    Condition(WITH, "actionable", MODEL),
    Condition(WITHOUT, "actionable", MODEL, {"negativity_weight": 0.0}),
)
PANELS = {
    "score_median": "median grid score",
    "grid_fraction": "grid units",
    "module_count": "modules",
    "spacing_median_m": "spacing (m)",
}
SIDE_M = 2.2

FIGURE = Figure(
    id="actionable_positivity",
    title="Actionable codes with and without non-negativity",
    caption=(
        "Codes of 25 units, mixtures of 12 plane waves that actions turn, trained to tell places apart; rates held "
        "from being negative, or free: a dot a network, bars medians, n networks. (a) Grid score of units in a 2.2 m "
        "box (22 widths of the room). (b) Share of units above all of 200 noise maps. (c) Modules. (d) Spacing of grid "
        "units. (e) Maps of one network each, units from best to worst score."
    ),
    models=(MODEL,),
)

claims = (
    Claim(
        id="actionable_grids",
        statement="Non-negative units are hexagonal: at least half are grid units",
        paper="hexagonal modules (shown)",
        citation=CITATION,
        statistic=lambda data: median_of(data, WITH, "grid_fraction"),
        control=stand_in(WITH, NOISE),
        low=0.5,
    ),
    Claim(
        id="actionable_modules",
        statement="in several modules: their median number is 2 or more",
        paper="multiple modules",
        citation=CITATION,
        statistic=lambda data: median_of(data, WITH, "module_count"),
        control=stand_in(WITH, ONE_TORUS),
        low=1.75,
    ),
    Claim(
        id="actionable_positivity_needed",
        statement="Units of either sign are not: at most 10 % are grid units",
        paper="no hexagons",
        citation=CITATION,
        statistic=lambda data: median_of(data, WITHOUT, "grid_fraction"),
        control=stand_in(WITHOUT, ONE_TORUS),
        high=0.1,
    ),
)


def compute(progress: Progress) -> Data:
    """Read what the sweep measured."""
    found = networks((*CONDITIONS, *CONTROLS))
    progress(1, 1)
    return found


def draw(data: Data) -> Canvas:
    return draw_networks(data, [condition.name for condition in CONDITIONS], PANELS, SIDE_M)
