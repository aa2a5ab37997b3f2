"""Hebbian learning of place-cell input finds the lattices of its non-negative components (Dordek et al. 2016)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.families.function_optimization.dordek import PEAK_WAVENUMBER
from entorhinal.families.function_optimization.dordek_hebbian import DordekHebbianConfig, solve
from entorhinal.paper_figures.dordek_nonnegativity import measured
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, within

NETWORKS, STEPS = 10, 2000
WITH, WITHOUT = "non-negative", "of either sign"
CITATION = "Dordek et al. 2016"

FIGURE = Figure(
    id="dordek_hebbian",
    title="Hebbian learning of place-cell input",
    caption=(
        "Ten networks of two units each learn from place cells presented at random, by Sanger's rule, with weights "
        "that may not be negative (top) or may (bottom; blue negative, red positive). (a) Units 1 and 2 of three "
        "networks. (b) Grid scores of first units, and (c) their mean wavenumber in 1/σ1; bars medians, dashed k* = "
        "0.961/σ1."
    ),
    models=("function_optimization/dordek_hebbian-v1",),
)


def compute(progress: Progress) -> Data:
    """About 40 s on one free core. table: a row a unit; arrays: maps by set."""
    tables, arrays = [], {}
    for done, name in enumerate((WITH, WITHOUT)):
        progress(done, 2)
        config = DordekHebbianConfig(nonnegative=name == WITH, networks=NETWORKS, steps=STEPS)
        maps = solve(config)
        tables.append(measured(name, maps, config.sigma_bins, config.components))
        arrays[name] = maps[:6].numpy()
    progress(2, 2)
    return Data(pd.concat(tables, ignore_index=True), arrays)


def _first(data: Data, name: str, column: str) -> pd.Series:
    found = data.table[(data.table["set"] == name) & (data.table["component"] == 1)][column].dropna()
    if found.empty:
        raise LookupError(f"no {column} of set {name!r}")
    return found


def _median(name: str, column: str) -> Callable[[Data], float]:
    return lambda data: float(_first(data, name, column).median())


claims = (
    Claim(
        "hebbian_hexagons",
        "Hebbian learning with weights that are not negative makes hexagons (median grid score of first units, 0.8 or "
        "more)",
        "hexagonal",
        CITATION,
        _median(WITH, "grid_score"),
        exchanged("set", WITH, WITHOUT),
        low=0.8,
    ),
    Claim(
        "hebbian_no_hexagons",
        "With weights of either sign it does not (at most 0)",
        "square lattice",
        CITATION,
        _median(WITHOUT, "grid_score"),
        exchanged("set", WITH, WITHOUT),
        high=0.0,
    ),
    Claim(
        "hebbian_scale",
        "Its waves have |k| = k* = 0.961/σ1, as those of the optimum have (median, in 1/σ1)",
        "0.961",
        CITATION,
        _median(WITH, "wavenumber_sigma"),
        lambda data: Data(data.table.assign(wavenumber_sigma=0.5 * data.table["wavenumber_sigma"]), data.arrays),
        **within(0.961),
    ),
)


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 75 / 25.4), layout="constrained")
    left, right = canvas.subfigures(1, 2, width_ratios=(1.8, 1))  # type: ignore[misc]
    grid = left.subplots(2, 6)
    for row, name, colours in zip(grid, (WITH, WITHOUT), ("viridis", "RdBu_r"), strict=True):
        top = float(np.abs(data.arrays[name]).max())
        for ax, weights in zip(row, data.arrays[name], strict=True):
            limits = (0 if name == WITH else -top, top)
            plots.rate_map(ax, weights, bin_m=1, scale_bar=False, cmap=colours, limits=limits)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=6)
    left.suptitle("a", x=0.01, ha="left", fontweight="bold")
    spread = np.random.default_rng(0)
    for ax, letter, column, label in zip(
        right.subplots(1, 2), "bc", ("grid_score", "wavenumber_sigma"), ("grid score", "k σ$_1$"), strict=True
    ):
        for x, name in enumerate((WITH, WITHOUT)):
            values = _first(data, name, column)
            ax.scatter(x + spread.uniform(-0.2, 0.2, len(values)), values, s=6, color=plots.BLUE, linewidths=0)
            ax.hlines(values.median(), x - 0.35, x + 0.35, color=plots.ORANGE, linewidth=1.2)
        ax.set_xticks((0, 1), (f"{WITH} (n = {NETWORKS})", f"{WITHOUT} (n = {NETWORKS})"), rotation=30, ha="right")
        ax.tick_params(axis="x", labelsize=5)
        ax.set(ylabel=label, xlim=(-0.6, 1.6))
        ax.set_title(letter, loc="left", fontweight="bold")
    ax.axhline(PEAK_WAVENUMBER, color="black", ls="--", lw=0.6)
    return canvas
