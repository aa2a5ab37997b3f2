"""What does each part of self-supervised learning of space do?  Its losses and its permutations left out, one by one
(Schaeffer et al. 2023)."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress
from entorhinal.paper_figures.ssl_networks import (
    CONTROLS,
    ONE_TORUS,
    THREE_MODULES,
    Condition,
    median_of,
    networks,
    stand_in,
    strip,
)

SIC, CITATION = "SIC", "Schaeffer et al. 2023"
NO_CAPACITY, NO_SEPARATION, NO_INVARIANCE, NO_CONFORMAL = (
    "no capacity",
    "no separation",
    "no invariance",
    "no conformal isometry",
)
FEW, UNPERMUTED, LONE = "32 permutations", "no permutations", "one trajectory"
WIDTHS = {"σ_g 0.1": 0.1, "σ_g 0.2": 0.2, "σ_g 0.3": 0.3, SIC: 0.4}
SMALLEST = "σ_g 0.1"
CONDITIONS = (
    Condition(SIC, "sic_ablations", "ssl/sic-v1"),
    *(
        Condition(name, "sic_ablations", "ssl/sic-v1", {"separation_width": width})
        for name, width in WIDTHS.items()
        if name != SIC
    ),
    Condition(NO_CAPACITY, "sic_ablations", "ssl/sic-v1", {"capacity_weight": 0.0}),
    Condition(NO_SEPARATION, "sic_ablations", "ssl/sic-v1", {"separation_weight": 0.0}),
    Condition(NO_INVARIANCE, "sic_ablations", "ssl/sic-v1", {"invariance_weight": 0.0}),
    Condition(NO_CONFORMAL, "sic_ablations", "ssl/sic-v1", {"conformal_weight": 0.0}),
    Condition(FEW, "sic_few_trajectories", "ssl/sic-v1", {"trajectories": 32}),
    Condition(UNPERMUTED, "sic_unpermuted", "ssl/sic_unpermuted-v1"),
    Condition(LONE, "sic_unpermuted", "ssl/sic_unpermuted-v1", {"trajectories": 1}),
)
PANELS = {
    "grid_fraction": "grid units",
    "module_count": "modules",
    "spatial_information": "information (bits)",
    "field_width_m": "field half-width (m)",
    "ellipticity_median": "ellipticity of grid units",
    "separation": "code separation to 3 m",
}

FIGURE = Figure(
    id="ssl_ablations",
    title="Ablations of self-supervised learning of space",
    caption=(
        "Networks of separation, invariance and capacity with one part left out or changed, ten seeds each (12,000 "
        "steps): a dot a network, bars medians. (a) Share of active units that score above all of 200 noise maps in a "
        "4 m box. (b) Modules. (c) Spatial information. (d) Half-width of the autocorrelogram's central peak. (e) "
        "Ellipticity of grid units' lattices. (f) Smallest over median code distance within 3 m. (g) Maps in the 4 m "
        "box of one network each, units from best to worst score, white: no active unit or not run."
    ),
    models=("ssl/sic-v1", "ssl/sic_unpermuted-v1", "controls/ideal_grid-v1"),
)


def _slope(data: Data) -> float:
    """Slope of log field width on log σ_g, over the medians of the conditions."""
    width_m = [median_of(data, name, "field_width_m") for name in WIDTHS]
    return float(np.polyfit(np.log(list(WIDTHS.values())), np.log(width_m), 1)[0])


def _ratio(data: Data, condition: str, reference: str, measure: str) -> float:
    return median_of(data, condition, measure) / median_of(data, reference, measure)


def _one_width(data: Data) -> Data:
    """Data in which fields are as wide at every σ_g."""
    return Data(data.table.assign(field_width_m=0.1), data.arrays)


claims = (
    Claim(
        id="sic_no_capacity_one_module",
        statement="Without capacity there is one module: the median over seeds of their number is 1",
        paper="one module",
        citation=CITATION,
        statistic=lambda data: median_of(data, NO_CAPACITY, "module_count"),
        control=stand_in(NO_CAPACITY, THREE_MODULES),
        low=0.75,
        high=1.25,
    ),
    Claim(
        id="sic_with_capacity_several_modules",
        statement="With it there are several independent ones: their median number is 2 or more",
        paper="typically three modules",
        citation=CITATION,
        statistic=lambda data: median_of(data, SIC, "independent_modules"),
        control=stand_in(SIC, ONE_TORUS),
        low=1.75,
    ),
    Claim(
        id="sic_small_width_no_grids",
        statement="With a σ_g of 0.1 units are place-like, not grids: at most 5 % are grid units",
        paper="place-like fields",
        citation=CITATION,
        statistic=lambda data: median_of(data, SMALLEST, "grid_fraction"),
        control=stand_in(SMALLEST, THREE_MODULES),
        high=0.05,
    ),
    Claim(
        id="sic_field_width_follows",
        statement="The width of fields follows σ_g: the slope of its logarithm on that of σ_g, 0.1 to 0.4, is between "
        "0.5 and 1.5",
        paper="width follows σ_g",
        citation=CITATION,
        statistic=_slope,
        control=_one_width,
        low=0.5,
        high=1.5,
    ),
    Claim(
        id="sic_unpermuted_no_tuning",
        statement="Without permutations units have no spatial tuning: their information is at most a quarter of that "
        "with as many permuted trajectories (32)",
        paper="no spatial tuning",
        citation=CITATION,
        statistic=lambda data: _ratio(data, UNPERMUTED, FEW, "spatial_information"),
        control=stand_in(UNPERMUTED, FEW),
        high=0.25,
    ),
    Claim(
        id="sic_one_trajectory_no_tuning",
        statement="Nor have they with a single trajectory a batch",
        paper="no spatial tuning",
        citation=CITATION,
        statistic=lambda data: _ratio(data, LONE, FEW, "spatial_information"),
        control=stand_in(LONE, FEW),
        high=0.25,
    ),
    Claim(
        id="sic_no_invariance_no_grids",
        statement="Without invariance there are no grids: at most 5 % of units",
        paper="no grids",
        citation=CITATION,
        statistic=lambda data: median_of(data, NO_INVARIANCE, "grid_fraction"),
        control=stand_in(NO_INVARIANCE, THREE_MODULES),
        high=0.05,
    ),
    Claim(
        id="sic_no_separation_no_grids",
        statement="Without separation there are no grids: at most 5 % of units",
        paper="no grids",
        citation=CITATION,
        statistic=lambda data: median_of(data, NO_SEPARATION, "grid_fraction"),
        control=stand_in(NO_SEPARATION, THREE_MODULES),
        high=0.05,
    ),
    Claim(
        id="sic_no_conformal_several_modules",
        statement="Without conformal isometry there still are several modules: their median number is 2 or more",
        paper="several modules",
        citation=CITATION,
        statistic=lambda data: median_of(data, NO_CONFORMAL, "module_count"),
        control=stand_in(NO_CONFORMAL, ONE_TORUS),
        low=1.75,
    ),
    Claim(
        id="sic_no_conformal_sheared",
        statement="but sheared: their lattices' ellipticity is at least 5 % above that with conformal isometry",
        paper="sheared",
        citation=CITATION,
        statistic=lambda data: _ratio(data, NO_CONFORMAL, SIC, "ellipticity_median"),
        control=stand_in(NO_CONFORMAL, SIC),
        low=1.05,
    ),
)


def compute(progress: Progress) -> Data:
    """Read what the sweeps measured."""
    found = networks((*CONDITIONS, *CONTROLS))
    progress(1, 1)
    return found


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 195 / 25.4), layout="constrained")
    top, bottom = canvas.subfigures(2, 1, height_ratios=(1.6, 1))  # type: ignore[misc]
    names = [condition.name for condition in CONDITIONS]
    for ax, letter, (measure, label) in zip(top.subplots(2, 3).ravel(), "abcdef", PANELS.items(), strict=True):
        strip(ax, data, names, measure, label)
        ax.set_title(letter, loc="left", fontweight="bold")
    shown = [name for name in names if name in data.arrays]
    grid = bottom.subplots(4, max(1, len(shown)), squeeze=False)
    for column, name in enumerate(shown):
        for row in range(4):
            maps = data.arrays[name]
            if row < len(maps):
                plots.rate_map(grid[row, column], maps[row], bin_m=4 / 64, scale_bar=False)
            else:
                grid[row, column].set_axis_off()
        grid[0, column].set_title(name.replace(" ", "\n"), fontsize=5)
    if not shown:
        for ax in grid.ravel():
            ax.set_axis_off()
        grid[0, 0].text(0.5, 0.5, "no networks yet: benchmarks/sweeps says how they are trained", ha="center")
    bottom.suptitle("g", x=0.01, ha="left", fontweight="bold")
    return canvas
