"""Which self-supervised losses make grid cells?  Maps of every model of ``ssl/``, and one table of all."""

import math
from collections.abc import Callable

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress
from entorhinal.paper_figures.ssl_networks import CONTROLS, Condition, median_of, networks, stand_in

SIC, MODULAR, UNPERMUTED, VICREG, SIMCLR = "SIC", "SIC, modules given", "SIC, no permutations", "VICReg", "SimCLR"
FORWARD, RECURRENT = "distance preservation", "distance preservation, recurrent"
CONDITIONS = (
    Condition(SIC, "sic_ablations", "ssl/sic-v1"),
    Condition(MODULAR, "sic_modular", "ssl/sic_modular-v1"),
    Condition(UNPERMUTED, "sic_unpermuted", "ssl/sic_unpermuted-v1"),
    Condition(VICREG, "vicreg", "ssl/vicreg-v1", None),
    Condition(SIMCLR, "simclr", "ssl/simclr-v1", None),
    Condition(FORWARD, "distance_preserving", "ssl/distance_preserving-v1"),
    Condition(RECURRENT, "distance_preserving_recurrent", "ssl/distance_preserving_recurrent-v1"),
)
COLUMNS = {
    "active_units": "active",
    "score_median": "score",
    "grid_fraction": "grids",
    "band_fraction": "bands",
    "spacing_median_m": "spacing (m)",
    "ellipticity_median": "ellipticity",
    "module_count": "modules",
    "independent_modules": "independent",
    "spatial_information": "bits",
    "split_half": "split-half r",
    "separation": "separation",
}
SHADED = ("grid_fraction", "band_fraction", "split_half", "separation")
SHOWN = 6

FIGURE = Figure(
    id="ssl_models",
    title="Models of self-supervised learning",
    caption=(
        "Every model of ssl/. Top: maps of one network each, units from best to worst score, in a 4 m box (distance "
        "preservation: in its 2.2 m box). Below: medians over networks (n) of each; grids: share of active units above "
        "all of 200 noise maps. VICReg and SimCLR are general losses on SIC's network and data, each with the best of "
        "twelve settings. The feed-forward network reads its position; SIC with modules given begins with three."
    ),
    models=tuple(dict.fromkeys(condition.model for condition in (*CONDITIONS, *CONTROLS))),
)


def _more_grids_than(other: str) -> Callable[[Data], float]:
    return lambda data: median_of(data, SIC, "grid_fraction") - median_of(data, other, "grid_fraction")


claims = tuple(
    Claim(
        id=f"sic_more_grids_than_{name}",
        statement=f"On the same network and data, {other} makes fewer grid units than separation, invariance and "
        "capacity: at least a tenth of the active units fewer",
        paper="not said; asked here",
        citation=citation,
        statistic=_more_grids_than(other),
        control=stand_in(other, SIC),
        low=0.1,
    )
    for name, other, citation in (("vicreg", VICREG, "Bardes et al. 2022"), ("simclr", SIMCLR, "Chen et al. 2020"))
)


def compute(progress: Progress) -> Data:
    """Read what the sweeps measured."""
    found = networks((*CONDITIONS, *CONTROLS))
    progress(1, 1)
    return found


def draw(data: Data) -> Canvas:
    height_mm = 80 + 20 * max(1, sum(condition.name in data.arrays for condition in CONDITIONS))
    canvas = plt.figure(figsize=(180 / 25.4, height_mm / 25.4), layout="constrained")
    top, bottom = canvas.subfigures(2, 1, height_ratios=(height_mm - 80, 80))  # type: ignore[misc]
    shown = [condition.name for condition in CONDITIONS if condition.name in data.arrays]
    for line, name in zip(top.subplots(max(1, len(shown)), SHOWN, squeeze=False), shown or [""], strict=True):
        maps = data.arrays.get(name, np.empty((0,)))
        for column, ax in enumerate(line):
            if column < len(maps):
                plots.rate_map(ax, maps[column], bin_m=1 / 64, scale_bar=False)
            else:
                ax.set_axis_off()
        line[0].set_ylabel(name.replace(", ", ",\n"), fontsize=5, rotation=0, ha="right", va="center")
    names = [condition.name for condition in (*CONDITIONS, *CONTROLS)]
    counts = [int((data.table["condition"] == name).sum()) for name in names]
    values = [
        [median_of(data, name, measure) if n else math.nan for measure in COLUMNS]
        for name, n in zip(names, counts, strict=True)
    ]
    text = [["–" if math.isnan(value) else f"{value:.3g}" for value in row] for row in values]
    shade = np.array([[v if m in SHADED else math.nan for m, v in zip(COLUMNS, row, strict=True)] for row in values])
    rows = [f"{name} ({n or 'not run'})" for name, n in zip(names, counts, strict=True)]
    plots.heat_map(bottom.subplots(), shade, text, rows=rows, columns=list(COLUMNS.values()))
    return canvas
