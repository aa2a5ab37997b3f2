"""How fine is a nested code, and when is the bound kept?  Mathis, Herz & Stemmler 2012: information and error."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.families.coding_theory.nested import cramer_rao, decode_spikes, narrowest_sharpness, nested_periods
from entorhinal.paper_figures.figure import (
    Claim,
    Data,
    Figure,
    Progress,
    exchanged,
    exponential_over_power,
    panel_rows,
    within,
)

__all__ = ["FIGURE", "claims", "compute", "draw"]

UNITS, SHARPNESS = 20, 3.0  # of a module
SIZES = (1, 2, 3, 4, 5, 6)  # modules, against a place code of as many units
RATIO, MODULES = 2.0, 4
MANY = 20.0  # spikes at the peak, for panel a
COUNTS = tuple(np.geomspace(0.2, 50, 9))
RATIOS = (1.5, 2.0, 3.0, 5.0)
FEW = 2.0  # spikes at the peak, for panel c
SWEEP = tuple(np.geomspace(1.2, 12, 14))
SAMPLES = 4000
CITATION = "Mathis, Herz & Stemmler 2012"
NESTED, PLACE = "nested", "place"
COLOURS = {NESTED: "#0072B2", PLACE: "#D55E00"}
SHADES = dict(zip(RATIOS, ("#9ecae1", "#6baed6", "#2171b5", "#08306b"), strict=True))

FIGURE = Figure(
    id="nested_fisher",
    title="The resolution of nested modules",
    caption=(
        "Units fire independently (Poisson), read by maximum likelihood; errors are root-mean-square, in units of the "
        "largest period, of 4,000 positions. (a) Error (symbols) and Cramér–Rao bound (lines) against the number of "
        "units: modules of 20 units with a ratio of 2 between periods, and a place code of as many units, its fields "
        "as narrow as still tile the range; 20 spikes at the peak. (b) Error over the bound of four modules against "
        "the spikes of a unit at its peak, for ratios of 1.5, 2, 3 and 5. (c) Error and bound of four modules "
        "against the ratio, with two spikes at the peak: past a threshold finer modules are misread."
    ),
    models=("coding_theory/nested-v1",),
)


def _row(
    panel: str, code: str, modules: int, ratio: float, count: float, generator: torch.Generator
) -> dict[str, object]:
    periods = nested_periods(1.0, ratio, modules) if code == NESTED else [1.0]
    units = UNITS if code == NESTED else UNITS * modules
    sharpness = SHARPNESS if code == NESTED else narrowest_sharpness(units)
    position = torch.rand(SAMPLES, generator=generator, dtype=torch.float64) - 0.5
    found = decode_spikes(position, periods, units, sharpness, count, generator)
    error = (found - position).nan_to_num(nan=0.5)
    error = error - error.round()  # the largest period is a ring
    return {
        "panel": panel,
        "code": code,
        "modules": modules,
        "units": UNITS * modules,
        "ratio": ratio,
        "peak_count": count,
        "bound": cramer_rao(periods, units, sharpness, count),
        "rms": float(error.square().mean().sqrt()),
    }


def compute(progress: Progress) -> Data:
    """A row a code, size, ratio and count: the bound and the measured error, in units of the largest period."""
    generator = torch.Generator().manual_seed(0)
    settings = [("a", code, modules, RATIO, MANY) for code in (NESTED, PLACE) for modules in SIZES]
    settings += [("b", NESTED, MODULES, ratio, count) for ratio in RATIOS for count in COUNTS]
    settings += [("c", NESTED, MODULES, ratio, FEW) for ratio in SWEEP]
    rows = []
    for done, setting in enumerate(settings, 1):
        rows.append(_row(*setting, generator))
        progress(done, len(settings))
    return Data(pd.DataFrame(rows))


def _bound_ratio(data: Data) -> float:
    """Bound of the nested code over that of the place code, at the largest size."""
    nested, place = (
        panel_rows(data, "a", code=code).sort_values("units")["bound"].iloc[-1] for code in (NESTED, PLACE)
    )
    return float(nested / place)


def _exponential_over_power(data: Data) -> float:
    """Residual of a power law over that of an exponential, both fitted to the nested code's information by its size."""
    rows = panel_rows(data, "a", code=NESTED)
    size, information = rows["modules"].to_numpy(float), -2 * np.log(rows["bound"].to_numpy(float))
    return exponential_over_power(size, information)


def _error_over_bound(data: Data, ratio: float) -> pd.Series:
    """By the peak count, rising."""
    rows = panel_rows(data, "b", ratio=ratio).sort_values("peak_count")
    return pd.Series((rows["rms"] / rows["bound"]).to_numpy(float), rows["peak_count"].to_numpy(float))


def _many_spikes(data: Data) -> float:
    return float(_error_over_bound(data, RATIO).iloc[-1])


def _few_spikes(data: Data) -> float:
    return float(_error_over_bound(data, RATIO).iloc[0])


def _threshold(data: Data, ratio: float) -> float:
    """Spikes from which on the error stays within 1.5 times the bound."""
    curve = _error_over_bound(data, ratio)
    above = curve[curve > 1.5]
    return float(above.index.max()) if len(above) else float(curve.index.min())


def _threshold_ratio(data: Data) -> float:
    return _threshold(data, RATIOS[-1]) / _threshold(data, RATIOS[0])


def _too_far_apart(data: Data) -> float:
    """Measured error at the largest ratio over the least measured error."""
    rows = panel_rows(data, "c").sort_values("ratio")
    return float(rows["rms"].iloc[-1] / rows["rms"].min())


def _bound_as_error(data: Data) -> Data:
    """A control: a reader that always keeps the bound."""
    return replace(data, table=data.table.assign(rms=data.table["bound"]))


def _counts_reversed(data: Data) -> Data:
    """A control: the errors of few spikes passed off as those of many."""
    table = data.table.copy()
    for ratio in RATIOS:
        rows = panel_rows(data, "b", ratio=ratio).sort_values("peak_count")
        table.loc[rows.index, ["rms", "bound"]] = rows[["rms", "bound"]].to_numpy()[::-1]
    return replace(data, table=table)


claims = (
    Claim(
        id="nested_below_place",
        statement="The Cramér–Rao bound of the nested code is below that of a place code of equal size (120 units; "
        "ratio < 1)",
        paper="below",
        citation=CITATION,
        statistic=_bound_ratio,
        control=exchanged("code", NESTED, PLACE),
        low=0.0,
        high=1.0,
    ),
    Claim(
        id="nested_information_exponential",
        statement="The nested code's Fisher information grows exponentially with its size, not as a power law "
        "(residual of the power law / of the exponential ≥ 2)",
        paper="exponentially",
        citation=CITATION,
        statistic=_exponential_over_power,
        control=exchanged("code", NESTED, PLACE),
        low=2.0,
    ),
    Claim(
        id="nested_bound_reached",
        statement="With many spikes maximum likelihood reaches the bound "
        "(error / bound, ratio 2, 50 spikes at the peak)",
        paper="1",
        citation=CITATION,
        statistic=_many_spikes,
        control=_counts_reversed,
        **within(1.0),
    ),
    Claim(
        id="nested_threshold_noise",
        statement="With few spikes it does not (error / bound, ratio 2, 0.2 spikes at the peak, ≥ 2)",
        paper="far above 1",
        citation=CITATION,
        statistic=_few_spikes,
        control=_bound_as_error,
        low=2.0,
    ),
    Claim(
        id="nested_threshold_by_ratio",
        statement="The wider the scales are apart, the more spikes are needed to keep the bound "
        "(spikes for a ratio of 5 / of 1.5, ≥ 2)",
        paper="more",
        citation=CITATION,
        statistic=_threshold_ratio,
        control=exchanged("ratio", RATIOS[0], RATIOS[-1]),
        low=2.0,
    ),
    Claim(
        id="nested_best_ratio",
        statement="At a given number of spikes the error has a least ratio, past which it rises though the bound falls "
        "(error at ratio 12 / least error ≥ 2)",
        paper="rises",
        citation=CITATION,
        statistic=_too_far_apart,
        control=_bound_as_error,
        low=2.0,
    ),
)


def draw(data: Data) -> Canvas:
    """Three panels, 180 mm wide: error against size, error over bound against spikes, error against ratio."""
    canvas = Canvas(figsize=(180 / 25.4, 68 / 25.4), layout="constrained")
    size_axes, count_axes, ratio_axes = canvas.subplots(1, 3)
    _draw_sizes(size_axes, data)
    _draw_counts(count_axes, data)
    _draw_ratios(ratio_axes, data)
    for letter, axes in zip("abc", (size_axes, count_axes, ratio_axes), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    canvas.draw_without_rendering()  # fixes text sizes while the style holds
    return canvas


def _draw_sizes(axes: Axes, data: Data) -> None:
    for code, marker in ((PLACE, "s"), (NESTED, "o")):
        rows = panel_rows(data, "a", code=code)
        axes.plot(rows["units"], rows["bound"], lw=1, color=COLOURS[code], label=f"{code}, bound")
        axes.plot(rows["units"], rows["rms"], marker, ms=4, mfc="white", color=COLOURS[code], label=f"{code}, error")
    axes.set(yscale="log", xlabel="Number of units", ylabel="Error / largest period", xticks=rows["units"])
    axes.legend(loc="lower left", borderaxespad=0.2)


def _draw_counts(axes: Axes, data: Data) -> None:
    for ratio in RATIOS:
        curve = _error_over_bound(data, ratio)
        axes.plot(curve.index, curve, "o-", ms=3.5, lw=1, color=SHADES[ratio], label=f"{ratio:g}")
    axes.axhline(1, color="#666666", lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log", xlabel="Spikes at the peak", ylabel="Error / bound")
    axes.legend(loc="upper right", borderaxespad=0.2, title="ratio", title_fontsize=7, alignment="left")


def _draw_ratios(axes: Axes, data: Data) -> None:
    rows = panel_rows(data, "c").sort_values("ratio")
    axes.plot(rows["ratio"], rows["bound"], lw=1, color="#666666", label="bound")
    axes.plot(rows["ratio"], rows["rms"], "o-", ms=3.5, lw=1, color=COLOURS[NESTED], label="error")
    axes.set(xscale="log", yscale="log", xlabel="Ratio of successive periods", ylabel="Error / largest period")
    axes.set_xticks([1.5, 2, 3, 5, 10], ["1.5", "2", "3", "5", "10"])
    axes.set_xticks([], minor=True)
    axes.legend(loc="lower left", borderaxespad=0.2)
