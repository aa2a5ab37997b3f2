"""Do modules come from a smooth gradient and one fixed scale?  Khona, Chandra & Fiete 2025: periods along a line."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis.scales import local_periods, plateaus, sheet_periods
from entorhinal.families.continuous_attractor.peak_selection import PeakSelection
from entorhinal.families.continuous_attractor.peak_selection_sheet import PHASE_RAD, PeakSelectionSheet
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, panel_rows

__all__ = ["FIGURE", "claims", "compute", "draw"]

NEURONS = 5000
LENGTHS = (3000, 5000, 8000)
NOISE, NOISE_SEEDS = 0.2, (0, 1, 2, 3, 4)
KERNELS: dict[str, dict[str, object]] = {
    "diffuse": {},
    "localized": {"fixed_kernel": "localized", "fixed_range_neurons": 84.0, "fixed_weight": 0.8},
    "none": {"fixed_weight": 0.0},
}
SHEET = {
    "rows": 448,
    "columns": 160,
    "smallest_width_neurons": 10.0,
    "largest_width_neurons": 30.0,
    "fixed_range_neurons": 60.0,
    "ring_width_neurons": 2.0,
    "edge_neurons": 40,
    "seed": 1,
}
SHEETS: dict[str, dict[str, object]] = {"ring": {}, "none": {"fixed_weight": 0.0}}
WINDOW, HEXAGONAL = 96, 0.5
PHASES = {"diffuse": -math.pi / 2, "localized": 0.0, "ring": PHASE_RAD}
CITATION = "Khona, Chandra & Fiete 2025"
COLOURS = {"diffuse": "#0072B2", "localized": "#D55E00", "ring": "#009E73", "none": "#888888"}

FIGURE = Figure(
    id="peak_selection_modules",
    title="Modules from a smooth gradient and one fixed scale",
    caption=(
        "A line of neurons whose inhibition widens smoothly from 15 to 45 neurons. (a) Period of the pattern in "
        "windows of 192 neurons, without a fixed-scale interaction (grey), with a diffuse one of range 135 (blue) and "
        "with a localized one of range 84 (orange); dashed: d / (m + φ/2π). A module is a stretch in which "
        "d log(period) / d log(width) is below 1/2. (b) Ratios of neighbouring modules' periods against "
        "(m + 1 + φ/2π) / (m + φ/2π), m from the measured period. (c) The periods of (a), diffuse, on lines of three "
        "lengths. (d) The same line with every weight multiplied by 1 + 0.2 z, z normal, five draws (light blue), and "
        "without the fixed-scale interaction (grey). Black: without noise. (e) Period of the waves along a sheet of "
        "448 × 160 neurons, inhibition from 10 to 30 neurons wide, with a ring of excitation at 60 neurons (green) and "
        "without (grey), in windows of 96 rows; dashed: d / (m + 1/8). (f) The sheet with the ring at rest."
    ),
    models=("continuous_attractor/peak_selection-v1", "continuous_attractor/peak_selection_sheet-v1"),
)


def measure(panel: str, kernel: str, **config: object) -> pd.DataFrame:
    """Periods along a settled line, each with the module it belongs to (−1: none)."""
    model = PeakSelection.make(**KERNELS[kernel] | config)
    centres, period = local_periods(model.settle())
    width = model.width(centres)
    c = model.config
    table = pd.DataFrame(
        {
            "panel": panel,
            "kernel": kernel,
            "neurons": c.neurons,
            "seed": c.seed,
            "weight_noise": c.weight_noise,
            "fixed_range_neurons": c.fixed_range_neurons,
            "place": centres.numpy() / (c.neurons - 1),
            "width_neurons": width.numpy(),
            "period_neurons": period.numpy(),
        }
    )
    return in_modules(table)


def measure_sheet(kernel: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Periods along a settled sheet, as `measure` has them, and the sheet."""
    model = PeakSelectionSheet.make(**SHEET | SHEETS[kernel])
    sheet, c = model.settle(), model.config
    centres, period, hexagonal = sheet_periods(sheet, window=WINDOW)
    width = model.width(centres)
    table = pd.DataFrame(
        {
            "panel": "e",
            "kernel": kernel,
            "neurons": c.rows,
            "seed": c.seed,
            "weight_noise": 0.0,
            "fixed_range_neurons": c.fixed_range_neurons,
            "place": centres.numpy() / (c.rows - 1),
            "width_neurons": width.numpy(),
            "period_neurons": period.numpy(),
            "hexagonal": hexagonal.numpy(),
        }
    )
    return in_modules(table), sheet.numpy()


def in_modules(table: pd.DataFrame) -> pd.DataFrame:
    """With the module of each window (−1: none) and its median period."""
    period, width = (table[column].to_numpy(copy=True) for column in ("period_neurons", "width_neurons"))
    module, typical = np.full(len(table), -1), np.full(len(table), np.nan)
    for index, found in enumerate(plateaus(period, width)):
        module[found.first : found.last + 1] = index
        typical[found.first : found.last + 1] = found.period
    return table.assign(module=module, module_period_neurons=typical)


def compute(progress: Progress) -> Data:
    """Settle sixteen lines and two sheets; the table has a row for each window."""
    runs = [
        *(("a", kernel, NEURONS, 0.0, 0) for kernel in KERNELS),
        *(("c", "diffuse", neurons, 0.0, 0) for neurons in LENGTHS),
        *(("d", kernel, NEURONS, NOISE, seed) for kernel in ("diffuse", "none") for seed in NOISE_SEEDS),
    ]
    tables = []
    for panel, kernel, neurons, noise, seed in runs:
        tables.append(measure(panel, kernel, neurons=neurons, weight_noise=noise, seed=seed))
        progress(len(tables), len(runs) + len(SHEETS))
    arrays = {}
    for kernel in SHEETS:
        table, arrays[kernel] = measure_sheet(kernel)
        tables.append(table)
        progress(len(tables), len(runs) + len(SHEETS))
    return Data(pd.concat(tables, ignore_index=True), arrays)


def modules_of(rows: pd.DataFrame) -> pd.Series:
    """Period of each module by its number, the longest first."""
    inside = rows[rows["module"] >= 0]
    return inside.groupby("module")["module_period_neurons"].first().sort_values(ascending=False)


LINES, SHEET_ALONE = ("diffuse", "localized"), ("ring",)


def periods_of(data: Data, kernel: str) -> pd.DataFrame:
    """Rows of a kernel of lines in panel a, or of sheets in panel e."""
    return panel_rows(data, "a" if kernel in LINES else "e", kernel=kernel)


def orders(data: Data, kernel: str) -> np.ndarray:
    """d/λ − φ/2π of every module of a kernel: whole numbers m by the law."""
    rows = periods_of(data, kernel)
    reach = rows["fixed_range_neurons"].iloc[0]
    return reach / modules_of(rows).to_numpy() - PHASES[kernel] / (2 * math.pi)


def ratios(data: Data, kernels: tuple[str, ...]) -> pd.DataFrame:
    """Ratio of each pair of neighbouring modules and what the law says, for each kernel."""
    found = []
    for kernel in kernels:
        period = modules_of(periods_of(data, kernel)).to_numpy()
        order = np.round(orders(data, kernel))[:-1] + PHASES[kernel] / (2 * math.pi)
        found.append(pd.DataFrame({"kernel": kernel, "ours": period[:-1] / period[1:], "law": (order + 1) / order}))
    return pd.concat(found, ignore_index=True)


def _ratio_error(kernels: tuple[str, ...], least: int) -> Callable[[Data], float]:
    """Largest relative deviation from the law; infinite where there are fewer than ``least`` pairs."""

    def statistic(data: Data) -> float:
        pairs = ratios(data, kernels)
        return float((pairs["ours"] / pairs["law"] - 1).abs().max()) if len(pairs) >= least else math.inf

    return statistic


def _order_error(kernels: tuple[str, ...]) -> Callable[[Data], float]:
    def statistic(data: Data) -> float:
        found = np.concatenate([orders(data, kernel) for kernel in kernels])
        return float(np.abs(found - np.round(found)).max()) if len(found) else math.inf

    return statistic


def _hexagonal(data: Data) -> float:
    """How hexagonal a module is, median over its windows; the least of the sheet's modules, 0 without any."""
    rows = panel_rows(data, "e", kernel="ring")
    modules = rows[rows["module"] >= 0].groupby("module")["hexagonal"].median()
    return float(modules.min()) if len(modules) else 0.0


def _stripes(data: Data) -> Data:
    """A control: as little hexagonal as the sheet is much."""
    return replace(data, table=data.table.assign(hexagonal=1 - data.table["hexagonal"]))


def _counts(data: Data) -> pd.Series:
    rows = panel_rows(data, "c")
    return rows[rows["module"] >= 0].groupby("neurons")["module"].nunique().reindex(LENGTHS, fill_value=0)


def _count_range(data: Data) -> float:
    counts = _counts(data)
    return float(counts.max() - counts.min()) if counts.min() > 1 else math.inf


def _variability(data: Data, kernel: str) -> float:
    """S.d. of the period over draws of the noise, over its mean: its average in each module of the noise-free line.

    The largest of the modules' averages.
    """
    module = panel_rows(data, "a", kernel="diffuse")["module"].to_numpy()
    draws = panel_rows(data, "d", kernel=kernel).groupby("seed")["period_neurons"]
    periods = np.stack([draw.to_numpy() for _, draw in draws])
    part = periods.std(0, ddof=1) / periods.mean(0)
    return float(max(part[module == index].mean() for index in range(module.max() + 1)))


def _noise_variability(data: Data) -> float:
    return _variability(data, "diffuse")


def _noise_against_smooth(data: Data) -> float:
    return _variability(data, "diffuse") / _variability(data, "none")


def _smooth_count(panel: str) -> Callable[[Data], float]:
    return lambda data: float(len(modules_of(panel_rows(data, panel, kernel="none"))))


def _even_ratios(data: Data) -> Data:
    """A control: modules as many and as different, whose periods form a geometric series."""
    table = data.table.copy()
    for kernel in LINES:
        chosen = (table["panel"] == "a") & (table["kernel"] == kernel) & (table["module"] >= 0)
        found = modules_of(table[chosen])
        period = np.geomspace(found.min(), found.max(), len(found))
        table.loc[chosen, "module_period_neurons"] = period[table.loc[chosen, "module"].to_numpy()]
    return replace(data, table=table)


def _even_ratios_by_1_2(data: Data) -> Data:
    """A control: modules of the sheet whose periods have the ratio 1.2."""
    table = data.table.copy()
    chosen = (table["panel"] == "e") & (table["kernel"] == "ring") & (table["module"] >= 0)
    table.loc[chosen, "module_period_neurons"] = 15 * 1.2 ** table.loc[chosen, "module"].astype(float)
    return replace(data, table=table)


def _other_phase(data: Data) -> Data:
    """A control: periods of a kernel whose phase is a quarter of a turn away."""
    reach, period = data.table["fixed_range_neurons"], data.table["module_period_neurons"]
    return replace(data, table=data.table.assign(module_period_neurons=1 / (1 / period + 0.25 / reach)))


def _fixed_size(data: Data) -> Data:
    """A control: modules of a fixed number of neurons, so that longer lines have more."""
    table = data.table
    module = np.floor(table["place"] * table["neurons"] / 1000).astype(int)
    return replace(data, table=table.assign(module=module.where(table["panel"] == "c", table["module"])))


def _follows_noise(data: Data) -> Data:
    """A control: periods that change by half as much as the weights, with the draw."""
    noise = 1 + NOISE / 2 * np.where(data.table["seed"] % 2, 1, -1)
    period = data.table["period_neurons"]
    return replace(
        data, table=data.table.assign(period_neurons=period.where(data.table["panel"] != "d", period * noise))
    )


def _exchanged_draws(data: Data) -> Data:
    """A control: the noisy lines without a fixed scale in place of those with one."""
    names = exchanged("kernel", "none", "diffuse")(data).table["kernel"]
    return replace(data, table=data.table.assign(kernel=names.where(data.table["panel"] == "d", data.table["kernel"])))


claims = (
    Claim(
        id="peak_selection_ratios",
        statement=(
            "Neighbouring modules' periods have the ratios (m + 1 + φ/2π) / (m + φ/2π), for a diffuse (φ = −π/2) and a "
            "localized (φ = 0) fixed interaction: largest relative deviation (≤ 0.05)"
        ),
        paper="the law",
        citation=CITATION,
        statistic=_ratio_error(LINES, 3),
        control=_even_ratios,
        low=0.0,
        high=0.05,
    ),
    Claim(
        id="peak_selection_periods",
        statement="Modules' periods are d / (m + φ/2π): largest distance of d/λ − φ/2π from a whole number (≤ 0.1)",
        paper="0, the law",
        citation=CITATION,
        statistic=_order_error(LINES),
        control=_other_phase,
        low=0.0,
        high=0.1,
    ),
    Claim(
        id="peak_selection_length",
        statement="The number of modules is the same on lines of 3,000, 5,000 and 8,000 neurons: its range (0)",
        paper="independent of length",
        citation=CITATION,
        statistic=_count_range,
        control=_fixed_size,
        low=0.0,
        high=0.0,
    ),
    Claim(
        id="peak_selection_noise",
        statement=(
            "With noise of 20 % on every weight, five draws: s.d. of the period over its mean, averaged within a "
            "module, the largest module's (≤ 0.05)"
        ),
        paper="< 5 %",
        citation=CITATION,
        statistic=_noise_variability,
        control=_follows_noise,
        low=0.0,
        high=0.05,
    ),
    Claim(
        id="peak_selection_noise_smooth",
        statement=(
            "It is smaller than without the fixed-scale interaction, under the same noise at the same places: ratio of "
            "the two (< 1)"
        ),
        paper="smaller (no number)",
        citation=CITATION,
        statistic=_noise_against_smooth,
        control=_exchanged_draws,
        high=1.0,
    ),
    Claim(
        id="peak_selection_smooth",
        statement="Without the fixed-scale interaction the period follows the gradient: number of modules (0)",
        paper="0",
        citation=CITATION,
        statistic=_smooth_count("a"),
        control=exchanged("kernel", "none", "diffuse"),
        low=0.0,
        high=0.0,
    ),
    Claim(
        id="peak_selection_sheet_ratios",
        statement=(
            "On a sheet with a ring of fixed range (φ = π/4) neighbouring modules' periods have the ratios "
            "(m + 1 + φ/2π) / (m + φ/2π): largest relative deviation, of two pairs or more (≤ 0.05)"
        ),
        paper="the law",
        citation=CITATION,
        statistic=_ratio_error(SHEET_ALONE, 2),
        control=_even_ratios_by_1_2,
        high=0.05,
    ),
    Claim(
        id="peak_selection_sheet_periods",
        statement="Their periods are d / (m + 1/8): largest distance of d/λ − 1/8 from a whole number (≤ 0.1)",
        paper="0, the law",
        citation=CITATION,
        statistic=_order_error(SHEET_ALONE),
        control=_other_phase,
        high=0.1,
    ),
    Claim(
        id="peak_selection_sheet_hexagonal",
        statement=(
            "Every module of the sheet is a triangular lattice: sixfold less twofold part of the ring of its spectrum, "
            f"the least of the modules (≥ {HEXAGONAL:g})"
        ),
        paper="grid cells (no number)",
        citation=CITATION,
        statistic=_hexagonal,
        control=_stripes,
        low=HEXAGONAL,
    ),
    Claim(
        id="peak_selection_sheet_smooth",
        statement="Without the ring the period of the sheet follows the gradient: number of modules (0)",
        paper="0",
        citation=CITATION,
        statistic=_smooth_count("e"),
        control=exchanged("kernel", "none", "ring"),
        low=0.0,
        high=0.0,
    ),
)


def draw(data: Data) -> Canvas:
    """Six panels, 180 mm wide: periods, ratios, lengths, noise; periods along a sheet, the sheet."""
    canvas = Canvas(figsize=(180 / 25.4, 110 / 25.4), layout="constrained")
    above, below = (figures[0] for figures in canvas.subfigures(2, 1, squeeze=False))
    panels = above.subplots(1, 4, width_ratios=(1.2, 0.9, 1, 1))
    along, picture = below.subplots(1, 2, width_ratios=(1, 2.2))
    for axes, kernels in ((panels[0], (*LINES, "none")), (along, ("ring", "none"))):
        for kernel in kernels:
            rows = (
                periods_of(data, kernel) if kernel in PHASES else panel_rows(data, "ae"[axes is along], kernel=kernel)
            )
            _steps(axes, rows, COLOURS[kernel], label=kernel)
            if kernel in PHASES:
                for order in np.round(orders(data, kernel)):
                    period = rows["fixed_range_neurons"].iloc[0] / (order + PHASES[kernel] / (2 * math.pi))
                    axes.axhline(period, color=COLOURS[kernel], lw=0.6, ls="--", zorder=0)
        axes.legend(loc="upper left", borderaxespad=0.2, handlelength=1)
    along.set(ylim=(10, 45), xlabel="Place along the sheet", ylabel="Period (neurons)")
    along.set_yticks((10, 15, 20, 30, 40), labels=("10", "15", "20", "30", "40"))
    picture.imshow(data.arrays["ring"].T, origin="lower", cmap="viridis", rasterized=True)
    picture.set(xlabel="Neuron along the sheet", ylabel="Neuron across")
    pairs = ratios(data, (*LINES, *SHEET_ALONE))
    panels[1].scatter(pairs["law"], pairs["ours"], s=16, c=[COLOURS[kernel] for kernel in pairs["kernel"]])
    span = (1.1, float(pairs["law"].max()) + 0.1)
    panels[1].plot(span, span, color="black", lw=0.7, zorder=0)
    panels[1].set(xlabel="Ratio, law", ylabel="Ratio, measured", box_aspect=1)
    for neurons, style in zip(LENGTHS, (":", "-", "--"), strict=True):
        _steps(panels[2], panel_rows(data, "c", neurons=neurons), COLOURS["diffuse"], label=f"{neurons:,}", ls=style)
    panels[2].legend(loc="upper left", borderaxespad=0.2, handlelength=1.6, title="neurons")
    for kernel, colour in (("none", "#CCCCCC"), ("diffuse", "#56B4E9")):
        for _, rows in panel_rows(data, "d", kernel=kernel).groupby("seed"):
            _steps(panels[3], rows, colour)
    _steps(panels[3], panel_rows(data, "a", kernel="diffuse"), "black")
    for axes in panels[2:]:
        axes.tick_params(labelleft=False)
    panels[0].set_ylabel("Period (neurons)")
    for letter, axes in zip("abcdef", (*panels, along, picture), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    return canvas


def _steps(axes: Axes, rows: pd.DataFrame, colour: str, label: str = "", ls: str = "-") -> None:
    axes.plot(rows["place"], rows["period_neurons"], color=colour, lw=1, ls=ls, label=label or None)
    axes.set(xlabel="Place along the line", xlim=(0, 1), ylim=(15, 85), yscale="log")
    axes.set_yticks((20, 30, 40, 60, 80), labels=("20", "30", "40", "60", "80"))
    axes.minorticks_off()
