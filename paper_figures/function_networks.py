"""How do trained models of ``function_optimization`` look?  Measures of every network, and maps of one a condition."""

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure

from entorhinal.analysis import plots
from entorhinal.paper_figures.figure import Data
from entorhinal.paper_figures.ssl_networks import strip

__all__ = ["counted", "draw_maps", "draw_measures", "draw_networks"]


def counted(data: Data) -> Data:
    """Conditions named with the number of their networks."""
    count = data.table.groupby("condition")["condition"].transform("size")
    names = data.table["condition"] + " (n = " + count.astype(str) + ")"
    return Data(data.table.assign(condition=names), data.arrays)


def draw_measures(canvas: Canvas | SubFigure, data: Data, conditions: Sequence[str], panels: Mapping[str, str]) -> None:
    """A panel a measure (column: label), every network a dot, with the number of networks of each condition."""
    named = counted(data)
    number = data.table["condition"].value_counts()
    names = [f"{name} (n = {number.get(name, 0)})" for name in conditions]
    for ax, letter, (measure, label) in zip(canvas.subplots(1, len(panels)), "abcdefgh", panels.items(), strict=False):
        strip(ax, named, names, measure, label)
        ax.set_title(letter, loc="left", fontweight="bold")


def draw_networks(data: Data, conditions: Sequence[str], panels: Mapping[str, str], side_m: float) -> Canvas:
    """Measures above, and below the maps of the conditions that have some, as high as they need."""
    rows = sum(name in data.arrays for name in conditions)
    canvas = plt.figure(figsize=(180 / 25.4, (60 + 25 * rows) / 25.4), layout="constrained")
    if not rows:
        draw_measures(canvas, data, conditions, panels)
        canvas.text(0.5, 0.7, "not run: benchmarks/sweeps says how", ha="center")
        return canvas
    top, bottom = canvas.subfigures(2, 1, height_ratios=(60, 25 * rows))  # type: ignore[misc]
    draw_measures(top, data, conditions, panels)
    draw_maps(bottom, data, conditions, side_m, "abcdefgh"[len(panels)])
    return canvas


def draw_maps(canvas: SubFigure, data: Data, conditions: Sequence[str], side_m: float, letter: str) -> None:
    """Maps of one network a condition, a row each, from best to worst score; one scale bar for all."""
    shown = [name for name in conditions if name in data.arrays]
    grid = canvas.subplots(max(1, len(shown)), 6, squeeze=False)
    for ax in grid.ravel():
        ax.set_axis_off()
    for row, name in zip(grid, shown, strict=False):
        for ax, rates in zip(row, data.arrays[name], strict=False):
            last = ax is row[0] and name == shown[-1]
            plots.rate_map(ax, rates, bin_m=side_m / rates.shape[-1], scale_bar=last)
        row[0].text(-0.1, 0.5, name, ha="right", va="center", fontsize=6, transform=row[0].transAxes)
    canvas.suptitle(letter, x=0.01, ha="left", fontweight="bold")
