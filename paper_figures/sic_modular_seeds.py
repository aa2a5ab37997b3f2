"""Do several independent modules live in one SIC network?  Ten seeds of the variant begun as modules."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.benchmarks.sic_seeds import SEEDS
from entorhinal.benchmarks.ssl_measures import BINS, SIDE_M, kept_maps
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, panel_rows

__all__ = ["FIGURE", "claims", "compute", "draw"]

VARIANT, FAITHFUL, PAPER, UNTRAINED = "sic_modular", "sic", "sic_paper", "sic_untrained"
CITATION = "Schaeffer et al. 2023"
SIDES = ("2m", "3m")
COLOURS = {VARIANT: "#0072B2", FAITHFUL: "#D55E00", PAPER: "#000000"}
MARKERS = {VARIANT: "o", FAITHFUL: "o", PAPER: "D"}
SHIFTS = {VARIANT: 0.0, FAITHFUL: 0.25, PAPER: 0.5}  # of a seed's place, so that none hides another
NAMES = {VARIANT: "begun as modules", FAITHFUL: "faithful", PAPER: "paper's schedule, 25 min"}
TRAINING_M = 1.2
DRAWS, DRAW_SEED = 400, 0

FIGURE = Figure(
    id="sic_modular_seeds",
    title="Independent modules of SIC networks, seed by seed",
    caption=(
        "Ten networks of ssl/sic_modular, begun as three modules that are held apart for 60 % of training (blue), and "
        "networks of ssl/sic (orange), by one recipe committed before; every seed is shown. Black diamonds, and "
        "black lines in (c): networks of ssl/sic by the paper's own schedule (preset paper), each cut after 25 minutes "
        "on one H200; the rate of seed 50 fell too early (docs/sic_search.md). (a) Spacing of each module; area: "
        "units. Filled: the network has at least two independent modules. (b) Smallest over median code distance "
        "within 4 m, and (grey) of ideal grid modules with the same spacings, orientations and numbers of units. (c) "
        "Distance of the code against distance in space, mean (thick) and nearest place (thin), median and range of "
        "the networks; grey: how far training walks of the paper reach; dashed: the 0.55 below which the paper's "
        "curve does not fall. (d) Spacing and (e) orientation of all grid units of the blue networks, with the 95 % "
        "range of a smooth population of the same size (grey): a Gaussian of their logarithm, and uniform. (f) Median "
        "score of the units in modules in boxes of 2, 3 and 4 m. (g) Maps of six units of each network by the paper's "
        "schedule, a row a seed, from the best to the worst by grid score, in a 4 m box."
    ),
    models=("ssl/sic_modular-v1", "ssl/sic-v1", "controls/ideal_grid-v1"),
)


def compute(progress: Progress) -> Data:
    """The tables that `entorhinal.benchmarks.sic_seeds` left, below one another; column panel says which.

    And of networks by the paper's schedule the maps that `entorhinal.benchmarks.ssl_measures` kept.
    """
    tables = [pd.read_csv(SEEDS / f"{name}.csv").assign(panel=name) for name in ("networks", "units", "rings")]
    progress(1, 1)
    maps = {name: values.float().numpy() for name, values in kept_maps(PAPER, SEEDS).items()}
    return Data(pd.concat(tables, ignore_index=True), maps)


def networks(data: Data, condition: str = VARIANT) -> pd.DataFrame:
    """A row a network."""
    return panel_rows(data, "networks", condition=condition)


def several(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Which networks have two or more independent modules with at least half of the active units."""
    return (rows["independent_modules"] >= 2) & (rows["module_fraction"] >= 0.5)


def _independent(condition: str) -> Callable[[Data], float]:
    return lambda data: float(several(networks(data, condition)).mean())


def _hexagonal(data: Data) -> float:
    rows = networks(data)
    return float(((rows["median_score"] > 0.5) & (rows["median_grid_score"] > 0.8)).mean())


def _periodic(data: Data) -> float:
    rows = networks(data)
    holds = rows["median_grid_score"] > 0.5
    for side in SIDES:
        holds &= (rows[f"median_score_{side}"] > 0.5) & (rows[f"spacing_change_{side}"] <= 0.1)
    return float(holds.mean())


def _as_ideal(data: Data) -> float:
    rows = networks(data)
    return float((rows["code_separation"] >= 0.8 * rows["ideal_code_separation"]).mean())


def _separation_of_three(data: Data) -> float:
    rows = networks(data)
    three = rows[rows["independent_modules"] >= 3]["code_separation"]
    if three.empty:
        raise LookupError("no network has three independent modules")
    return float(three.min())


def _lowest_mean(data: Data) -> float:
    """Lowest mean code distance from 0.3 to 3.5 m, median over networks."""
    rows = panel_rows(data, "rings", condition=VARIANT)
    rows = rows[rows["distance_m"].between(0.3, 3.5)]
    return float(rows.groupby("seed")["mean"].min().median())


def _cost_of_modules(data: Data) -> float:
    """How much higher the faithful loss on the paper's walks is than that of the faithful networks, on average."""
    return float(networks(data)["total"].mean() - networks(data, FAITHFUL)["total"].mean())


def _median(column: str, condition: str) -> Callable[[Data], float]:
    return lambda data: float(networks(data, condition)[column].median())


def _instead(other: str, of: str = VARIANT) -> Callable[[Data], Data]:
    """A control: the networks of ``other`` in place of those ``of`` a condition."""

    def control(data: Data) -> Data:
        table = data.table[data.table["condition"] != of]
        taken = table[table["condition"] == other].assign(condition=of)
        return replace(data, table=pd.concat((table, taken), ignore_index=True))

    return control


def _changed(column: str, factor: float, plus: float = 0.0) -> Callable[[Data], Data]:
    return lambda data: replace(data, table=data.table.assign(**{column: factor * data.table[column] + plus}))


claims = (
    Claim(
        id="sic_modular_independent",
        statement="Begun as modules, at least 8 of 10 networks have two or more independent modules with at least half "
        "of the active units",
        paper="several discrete modules (from random weights)",
        citation=CITATION,
        statistic=_independent(VARIANT),
        control=_instead(FAITHFUL),
        low=0.8,
    ),
    Claim(
        id="sic_modular_three",
        statement="Typically they have three: the median is at least 3",
        paper="typically three",
        citation=CITATION,
        statistic=_median("independent_modules", VARIANT),
        control=_instead(FAITHFUL),
        low=3,
    ),
    Claim(
        id="sic_modular_hexagonal",
        statement="In at least 8 of 10 the median score in a 4 m box is above 0.5 over active and 0.8 over grid units",
        paper="grid cells (shown, not scored)",
        citation=CITATION,
        statistic=_hexagonal,
        control=_instead(UNTRAINED),
        low=0.8,
    ),
    Claim(
        id="sic_modular_periodic",
        statement="In at least 8 of 10 the lattices are the same in boxes of 2, 3 and 4 m: a median score above 0.5 in "
        "each, spacings within a tenth",
        paper="lattices go on in 3 and 4 m boxes",
        citation=CITATION,
        statistic=_periodic,
        control=_changed("spacing_change_2m", 1.0, 0.2),
        low=0.8,
    ),
    Claim(
        id="sic_modular_as_ideal",
        statement="In at least 8 of 10 code separation within 4 m is at least 0.8 of that of ideal modules with the "
        "same spacings, orientations and numbers of units",
        paper="–",
        citation=CITATION,
        statistic=_as_ideal,
        control=_changed("code_separation", 0.5),
        low=0.8,
    ),
    Claim(
        id="sic_modular_separation",
        statement="Where there are three independent modules, code separation is at least 0.25",
        paper="no repeats over metres",
        citation=CITATION,
        statistic=_separation_of_three,
        control=_changed("code_separation", 0.5),
        low=0.25,
    ),
    Claim(
        id="sic_modular_distance",
        statement="The mean distance of the code stays above 0.55 from 0.3 to 3.5 m (lowest, median over networks)",
        paper="dips no lower than about 0.55",
        citation=CITATION,
        statistic=_lowest_mean,
        control=_changed("mean", 0.5),
        low=0.55,
    ),
    Claim(
        id="sic_modular_loss",
        statement="On the paper's walks modules cost nothing: the faithful loss of these networks is at most 0.001 "
        "above that of the faithful ones, on average",
        paper="modules minimise it",
        citation=CITATION,
        statistic=_cost_of_modules,
        control=_instead(UNTRAINED),
        high=0.001,
    ),
    Claim(
        id="sic_paper_hexagonal",
        statement="By the paper's own schedule, as far as 25 minutes of one H200 reach, the median score over active "
        "units in a 4 m box is above 0.5 (median over networks)",
        paper="grid cells (shown, not scored)",
        citation=CITATION,
        statistic=_median("median_score", PAPER),
        control=_instead(UNTRAINED, PAPER),
        low=0.5,
    ),
    Claim(
        id="sic_paper_independent",
        statement="By the paper's own schedule, as far as 25 minutes of one H200 reach, the network has two or more "
        "independent modules with at least half of the active units (share of networks)",
        paper="several discrete modules",
        citation=CITATION,
        statistic=_independent(PAPER),
        control=_instead(FAITHFUL, PAPER),
        low=1,
    ),
)


def draw(data: Data) -> Canvas:
    strips = max(1, len(data.arrays))
    canvas = plt.figure(figsize=(180 / 25.4, (110 + 30 * strips) / 25.4))
    above, below = canvas.subfigures(2, 1, height_ratios=(110, 30 * strips))  # type: ignore[misc]
    axes = above.subplots(2, 3)
    _spacings(axes[0, 0], data)
    _separations(axes[0, 1], data)
    _distances(axes[0, 2], data)
    units = panel_rows(data, "units", condition=VARIANT)
    units = units[units["score"] > units["threshold"]]
    spacing = np.log(units["spacing_m"].dropna().to_numpy())
    generator = np.random.default_rng(DRAW_SEED)
    smooth = np.exp(generator.normal(spacing.mean(), spacing.std(), (DRAWS, len(spacing))))
    _histogram(axes[1, 0], np.exp(spacing), smooth, np.linspace(0.3, 1.8, 31), "spacing of grid units (m)")
    degrees = np.rad2deg(units["orientation_rad"].dropna().to_numpy()) % 60
    even = generator.uniform(0, 60, (DRAWS, len(degrees)))
    _histogram(axes[1, 1], degrees, even, np.linspace(0, 60, 31), "orientation (°)")
    _boxes(axes[1, 2], data)
    for ax, letter in zip(axes.flat, "abcdef", strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    axes = below.subplots(strips, 6, squeeze=False)
    axes[0, 0].set_title("g", loc="left", fontweight="bold")
    for row, name in zip(axes, sorted(data.arrays), strict=False):
        label = name.replace("seed", "seed ")
        row[0].text(-0.08, 0.5, label, transform=row[0].transAxes, rotation=90, ha="right", va="center", fontsize=7)
        for ax, shown in zip(row, data.arrays[name], strict=False):
            plots.rate_map(ax, shown, bin_m=SIDE_M / BINS, scale_bar=ax is axes[-1, 0])
    for ax in axes.flat:
        ax.set_axis_off()
    return canvas


def _trained(data: Data) -> list[tuple[str, pd.DataFrame]]:
    """The networks of each condition that has been run."""
    there = set(data.table["condition"])
    return [(condition, networks(data, condition)) for condition in NAMES if condition in there]


def _spacings(ax: Axes, data: Data) -> None:
    for condition, rows in _trained(data):
        units = panel_rows(data, "units", condition=condition)
        modules = units[units["module"] >= 0].groupby(["seed", "module"])["spacing_m"].agg(["median", "size"])
        good = set(rows[several(rows)]["seed"])
        for seed, module in modules.reset_index("module").iterrows():
            face = COLOURS[condition] if seed in good else "none"
            ax.scatter(
                float(str(seed)) + SHIFTS[condition], module["median"], s=module["size"], lw=0.8, alpha=0.8,
                marker=MARKERS[condition], edgecolor=COLOURS[condition], facecolor=face,
            )  # fmt: skip
    ax.set(xlabel="seed", ylabel="spacing of modules (m)", ylim=(0, None))


def _separations(ax: Axes, data: Data) -> None:
    for condition, rows in _trained(data):
        place = rows["seed"] + SHIFTS[condition]
        ax.plot(place, rows["ideal_code_separation"], "_", color="#888888", ms=7)
        ax.plot(
            place, rows["min_over_median"], MARKERS[condition], ms=3.5, color=COLOURS[condition], label=NAMES[condition]
        )
    ax.axhline(0.25, color="#888888", lw=0.6, ls=":")
    ax.set(xlabel="seed", ylabel="code separation", ylim=(0, 0.75))
    ax.legend(loc="upper right")


def _distances(ax: Axes, data: Data) -> None:
    for condition, _ in _trained(data):
        rows = panel_rows(data, "rings", condition=condition)
        for column, width in (("mean", 1.4), ("minimum", 0.6)):
            curves = rows.pivot(index="distance_m", columns="seed", values=column)
            ax.plot(curves.index, curves.median(axis=1), lw=width, color=COLOURS[condition])
            ax.fill_between(
                curves.index, curves.min(axis=1), curves.max(axis=1), color=COLOURS[condition], alpha=0.12, lw=0
            )
    ax.axvspan(0, TRAINING_M, color="#dddddd", lw=0, zorder=-1)
    ax.axhline(0.55, color="k", lw=0.6, ls="--")
    ax.set(xlabel="distance in space (m)", ylabel="distance of the code", xlim=(0, 4), ylim=(0, None))


def _histogram(ax: Axes, values: np.ndarray, null: np.ndarray, edges: np.ndarray, label: str) -> None:
    counts = np.stack([np.histogram(draw, edges)[0] for draw in null])
    low, high = np.percentile(counts, (2.5, 97.5), axis=0)
    ax.fill_between(edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color="#cccccc", lw=0)
    ax.hist(values, edges.tolist(), histtype="step", color=COLOURS[VARIANT])
    ax.set(xlabel=label, ylabel="units")


def _boxes(ax: Axes, data: Data) -> None:
    for condition, rows in _trained(data):
        columns = [f"median_score_{side}" for side in SIDES] + ["median_grid_score"]
        ax.plot(
            (2, 3, 4), rows[columns].to_numpy().T, MARKERS[condition], ls="-", ms=2.5, lw=0.6,
            color=COLOURS[condition], alpha=0.7,
        )  # fmt: skip
    ax.set(xlabel="side of the box (m)", ylabel="median score of grid units", xticks=(2, 3, 4), ylim=(0, None))
