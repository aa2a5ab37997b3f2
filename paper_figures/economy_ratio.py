"""How far apart should grid scales be?  Wei, Prentice & Balasubramanian 2015: the cheapest scale ratio."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.families.coding_theory.economy import (
    Lattice,
    Optimum,
    probabilistic_cost,
    probabilistic_optimum,
    refinement,
    winner_take_all_cost,
    winner_take_all_optimum,
)
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within

__all__ = ["FIGURE", "claims", "compute", "draw"]

RAT_RATIO = 1.42  # Stensola et al. 2012, mean over modules of rats
CITATION = "Wei, Prentice & Balasubramanian 2015"
WINNER_RATIOS = np.geomspace(1.08, 7.0, 100)
LAMBDA_PER_SIGMA: dict[Lattice, np.ndarray] = {
    "line": np.geomspace(3.2, 60.0, 60),
    "triangular": np.geomspace(2.7, 22.0, 60),
    "square": np.geomspace(2.7, 22.0, 60),
}
COLOURS = {"winner-take-all": "#666666", "line": "#CC79A7", "triangular": "#0072B2", "square": "#E69F00"}

FIGURE = Figure(
    id="economy_ratio",
    title="The cheapest ratio of grid scales",
    caption=(
        "(a, b) Neurons needed for a given gain in resolution, relative to the cheapest code, against the ratio of "
        "successive scales, in one (a) and two dimensions (b). Grey: winner-take-all readout, r^D / ln r. Colour: "
        "probabilistic readout; every λ/σ gives one ratio and one cost. Dots: optima. Dashed: the mean ratio measured "
        "in rats, 1.42 (Stensola et al. 2012). (c) Neurons against λ/σ, the period over the width of the likelihood "
        "peaks, for the probabilistic readout. Two-dimensional codes are relative to the triangular optimum, the line "
        "to its own. (d) Best scale ratio against the field/period ratio σ/λ (for winner-take-all, where the two are "
        "inverse, the field's diameter over λ). Thick: codes that cost at most 10 % more than the best of their kind. "
        "Dashed: 1.42."
    ),
)


def compute(progress: Progress) -> Data:
    """Cost curves and optima: a row a point, with ``optimum`` true for the cheapest of each code."""
    rows: list[dict[str, object]] = []
    total = 2 + len(LAMBDA_PER_SIGMA)
    for dimensions in (1, 2):
        best = winner_take_all_optimum(dimensions)
        rows.append(_row("winner-take-all", "none", dimensions, best, True))
        for ratio in WINNER_RATIOS:
            cost = winner_take_all_cost(float(ratio), dimensions)
            rows.append(_row("winner-take-all", "none", dimensions, Optimum(float(ratio), float(ratio), cost), False))
        progress(dimensions, total)
    for done, (lattice, sharpness) in enumerate(LAMBDA_PER_SIGMA.items(), 3):
        dimensions = 1 if lattice == "line" else 2
        best = probabilistic_optimum(lattice)
        rows.append(
            {**_row("probabilistic", lattice, dimensions, best, True), "elasticity": _elasticity(best, lattice)}
        )
        for q in sharpness:
            point = Optimum(refinement(float(q), lattice)[0], float(q), probabilistic_cost(float(q), lattice))
            rows.append(_row("probabilistic", lattice, dimensions, point, False))
        progress(done, total)
    return Data(pd.DataFrame(rows))


def _row(readout: str, lattice: str, dimensions: int, point: Optimum, optimum: bool) -> dict[str, object]:
    return {
        "readout": readout,
        "lattice": lattice,
        "dimensions": dimensions,
        "optimum": optimum,
        "ratio": point.ratio,
        "lambda_per_sigma": point.period_per_width,
        "cost": point.cost,
    }


def _rows(data: Data, readout: str, lattice: str, dimensions: int) -> pd.DataFrame:
    table = data.table
    found = table[(table["readout"] == readout) & (table["lattice"] == lattice) & (table["dimensions"] == dimensions)]
    if found.empty:
        raise LookupError(f"no rows for {readout}, {lattice}, {dimensions} dimensions")
    return found


def _optimum(column: str, readout: str, lattice: str, dimensions: int) -> Callable[[Data], float]:
    def statistic(data: Data) -> float:
        rows = _rows(data, readout, lattice, dimensions)
        return float(rows.loc[rows["optimum"], column].iloc[0])

    return statistic


def _triangular_over_square(data: Data) -> float:
    triangular = _optimum("cost", "probabilistic", "triangular", 2)(data)
    return triangular / _optimum("cost", "probabilistic", "square", 2)(data)


def _elasticity(point: Optimum, lattice: Lattice) -> float:
    """d ln r / d ln(λ/σ) around a code, by central difference."""
    step = 1e-3
    low, high = (refinement(point.period_per_width * math.exp(sign * step), lattice)[0] for sign in (-1, 1))
    return math.log(high / low) / (2 * step)


def _first_order(data: Data) -> float:
    """Elasticity over D ln r at the optimum, of the lattice where it is furthest from 1."""
    values = []
    for code in ("line", "triangular", "square"):
        ratio = _optimum("ratio", *_CODES[code])(data)
        values.append(_optimum("elasticity", *_CODES[code])(data) / (_CODES[code][2] * math.log(ratio)))
    return max(values, key=lambda value: abs(value - 1))


def _excess(column: str, low: float, high: float, relative: bool) -> Callable[[Data], float]:
    """How much more than the best the triangular code costs, at most, for ``column`` between two values."""

    def statistic(data: Data) -> float:
        rows = _rows(data, *_CODES["triangular"])
        best = rows[rows["optimum"]].iloc[0]
        scale = best[column] if relative else 1.0
        curve = rows.sort_values(column)
        asked = np.linspace(low * scale, high * scale, 101)
        return float(np.interp(asked, curve[column], curve["cost"]).max() / best["cost"] - 1)

    return statistic


_CODES = {
    "winner 1D": ("winner-take-all", "none", 1),
    "winner 2D": ("winner-take-all", "none", 2),
    "line": ("probabilistic", "line", 1),
    "triangular": ("probabilistic", "triangular", 2),
    "square": ("probabilistic", "square", 2),
}


def _exchanged(one: str, other: str) -> Callable[[Data], Data]:
    """A control: two codes under each other's name."""

    def control(data: Data) -> Data:
        table = data.table.copy()
        keys = ["readout", "lattice", "dimensions"]
        index = {code: _rows(data, *_CODES[code]).index for code in (one, other)}
        table.loc[index[one], keys] = _CODES[other]
        table.loc[index[other], keys] = _CODES[one]
        return replace(data, table=table)

    return control


claims = (
    Claim(
        id="economy_winner_1d",
        statement="Winner-take-all readout in one dimension: the cheapest scale ratio is e",
        paper="e = 2.718",
        citation=CITATION,
        statistic=_optimum("ratio", *_CODES["winner 1D"]),
        control=_exchanged("winner 1D", "winner 2D"),
        **within(math.e, 1e-4),
    ),
    Claim(
        id="economy_winner_2d",
        statement="Winner-take-all readout in two dimensions: the cheapest scale ratio is √e",
        paper="√e = 1.649",
        citation=CITATION,
        statistic=_optimum("ratio", *_CODES["winner 2D"]),
        control=_exchanged("winner 1D", "winner 2D"),
        **within(math.sqrt(math.e), 1e-4),
    ),
    Claim(
        id="economy_probabilistic_1d",
        statement="Probabilistic readout in one dimension: the cheapest scale ratio is about 2.3",
        paper="2.3 (reported, unverified)",
        citation=CITATION,
        statistic=_optimum("ratio", *_CODES["line"]),
        control=_exchanged("line", "triangular"),
        **within(2.3),
    ),
    Claim(
        id="economy_probabilistic_2d",
        statement="Probabilistic readout in two dimensions, triangular lattice: the cheapest scale ratio is about 1.44",
        paper="1.44 (reported, unverified)",
        citation=CITATION,
        statistic=_optimum("ratio", *_CODES["triangular"]),
        control=_exchanged("line", "triangular"),
        **within(1.44),
    ),
    Claim(
        id="economy_realistic_range",
        statement="For realistic neurons in two dimensions the scale ratio lies between 1.4 and 1.7",
        paper="1.4 to 1.7",
        citation=CITATION,
        statistic=_optimum("ratio", *_CODES["triangular"]),
        control=_exchanged("line", "triangular"),
        low=1.4,
        high=1.7,
    ),
    Claim(
        id="economy_rat_ratio",
        statement="The probabilistic optimum in two dimensions is the ratio measured in rats",
        paper="1.42 (reported, unverified)",
        citation="Stensola et al. 2012",
        statistic=_optimum("ratio", *_CODES["triangular"]),
        control=_exchanged("winner 2D", "triangular"),
        **within(RAT_RATIO),
    ),
    Claim(
        id="economy_lambda_sigma_1d",
        statement="Probabilistic readout in one dimension: the cheapest λ/σ is about 9",
        paper="9.03 (an earlier recomputation by this project; the paper's value unverified)",
        citation=CITATION,
        statistic=_optimum("lambda_per_sigma", *_CODES["line"]),
        control=_exchanged("line", "triangular"),
        **within(9.03),
    ),
    Claim(
        id="economy_lambda_sigma_2d",
        statement="Probabilistic readout in two dimensions, triangular lattice: the cheapest λ/σ is about 5.2",
        paper="5.18 (an earlier recomputation by this project; the paper's value unverified)",
        citation=CITATION,
        statistic=_optimum("lambda_per_sigma", *_CODES["triangular"]),
        control=_exchanged("line", "triangular"),
        **within(5.18),
    ),
    Claim(
        id="economy_triangular_lattice",
        statement="The triangular lattice needs fewer neurons than the square one (ratio of the cheapest costs < 1)",
        paper="triangular is best",
        citation=CITATION,
        statistic=_triangular_over_square,
        control=_exchanged("triangular", "square"),
        low=0.0,
        high=1.0,
    ),
    Claim(
        id="economy_first_order",
        statement="The numerical optimum obeys the formula: the scale ratio follows λ/σ with an elasticity of D ln r "
        "(measured / formula, the worst of three lattices)",
        paper="1 (where N / ln R is least; derived by this project)",
        citation=CITATION,
        statistic=_first_order,
        control=_exchanged("line", "triangular"),
        **within(1.0, 0.01),
    ),
    Claim(
        id="economy_shallow_ratio",
        statement="The optimum is shallow: scale ratios from 1.4 to 1.7 cost at most 10 % more neurons (excess)",
        paper="shallow (reported, unverified; the 10 % are ours)",
        citation=CITATION,
        statistic=_excess("ratio", 1.4, 1.7, relative=False),
        control=_exchanged("line", "triangular"),
        low=0.0,
        high=0.1,
    ),
    Claim(
        id="economy_shallow_field",
        statement="The field/period ratio matters little: 20 % off the best λ/σ costs at most 10 % more (excess)",
        paper="shallow (reported, unverified; the 20 % and 10 % are ours)",
        citation=CITATION,
        statistic=_excess("lambda_per_sigma", 0.8, 1.2, relative=True),
        control=_exchanged("winner 2D", "triangular"),
        low=0.0,
        high=0.1,
    ),
)


def draw(data: Data) -> Canvas:
    """Four panels, 180 mm wide: cost against ratio in one and two dimensions, cost against λ/σ, ratio against σ/λ."""
    canvas = Canvas(figsize=(180 / 25.4, 120 / 25.4), layout="constrained")
    (one, two), (widths, fields) = canvas.subplots(2, 2)
    _draw_costs(one, data, 1, {"winner-take-all": "none", "probabilistic": "line"})
    _draw_costs(two, data, 2, {"winner-take-all": "none", "triangular": "triangular", "square": "square"})
    _draw_widths(widths, data)
    _draw_fields(fields, data)
    titles = ("one dimension", "two dimensions", "probabilistic readout", "ratio and field")
    for letter, title, axes in zip("abcd", titles, (one, two, widths, fields), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
        axes.set_title(title)
    canvas.draw_without_rendering()  # fixes text sizes while the style holds
    return canvas


def _draw_costs(axes: Axes, data: Data, dimensions: int, lattices: dict[str, str]) -> None:
    for name, lattice in lattices.items():
        readout = "winner-take-all" if lattice == "none" else "probabilistic"
        rows = _rows(data, readout, lattice, dimensions)
        best = rows[rows["optimum"]].iloc[0]
        curve = rows[~rows["optimum"]].sort_values("ratio")
        colour = COLOURS[name if lattice == "none" else lattice]
        axes.plot(curve["ratio"], curve["cost"] / best["cost"], color=colour, lw=1.2)
        label = f"{name}, {best['ratio']:.3f}"
        axes.plot(best["ratio"], 1, "o", ms=4.5, color=colour, label=label, zorder=3)
    if dimensions == 2:
        axes.axvline(RAT_RATIO, color="black", lw=0.8, ls="--", label=f"rat, {RAT_RATIO}")
    axes.set(xlim=(1, 6), ylim=(0.97, 1.7)) if dimensions == 1 else axes.set(xlim=(1, 2.6), ylim=(0.95, 2.4))
    axes.set(xlabel="Ratio of successive scales", ylabel="Neurons / optimum")
    axes.legend(loc="upper right", borderaxespad=0.2, title="best ratio", title_fontsize=7, alignment="left")


def _draw_widths(axes: Axes, data: Data) -> None:
    scale = _optimum("cost", *_CODES["triangular"])(data)
    for name in ("triangular", "square"):
        rows = _rows(data, *_CODES[name])
        best = rows[rows["optimum"]].iloc[0]
        curve = rows[~rows["optimum"]].sort_values("lambda_per_sigma")
        axes.plot(curve["lambda_per_sigma"], curve["cost"] / scale, color=COLOURS[name], lw=1.2)
        label = f"{name}, {best['lambda_per_sigma']:.2f}"
        axes.plot(best["lambda_per_sigma"], best["cost"] / scale, "o", ms=4.5, color=COLOURS[name], label=label)
    line = _rows(data, *_CODES["line"])
    best = line[line["optimum"]].iloc[0]
    curve = line[~line["optimum"]].sort_values("lambda_per_sigma")
    axes.plot(curve["lambda_per_sigma"], curve["cost"] / best["cost"], color=COLOURS["line"], lw=1.2)
    label = f"line, {best['lambda_per_sigma']:.2f}"
    axes.plot(best["lambda_per_sigma"], 1, "o", ms=4.5, color=COLOURS["line"], label=label)
    axes.set(xlim=(2, 24), ylim=(0.97, 1.7), xlabel="Period / peak width, λ/σ", ylabel="Neurons / optimum")
    axes.legend(loc="upper right", borderaxespad=0.2, title="best λ/σ", title_fontsize=7, alignment="left")


def _draw_fields(axes: Axes, data: Data) -> None:
    for name, code in (
        ("winner-take-all", "winner 2D"),
        ("line", "line"),
        ("triangular", "triangular"),
        ("square", "square"),
    ):
        rows = _rows(data, *_CODES[code])
        best = rows[rows["optimum"]].iloc[0]
        curve = rows.sort_values("lambda_per_sigma")
        colour = COLOURS[name]
        axes.plot(1 / curve["lambda_per_sigma"], curve["ratio"], color=colour, lw=0.8)
        cheap = curve[curve["cost"] <= 1.1 * best["cost"]]
        label = name + (", 2D" if name == "winner-take-all" else "")
        axes.plot(1 / cheap["lambda_per_sigma"], cheap["ratio"], color=colour, lw=3, alpha=0.6, solid_capstyle="butt")
        axes.plot(1 / best["lambda_per_sigma"], best["ratio"], "o", ms=4.5, color=colour, label=label, zorder=3)
    axes.axhline(RAT_RATIO, color="black", lw=0.8, ls="--")
    axes.set(xscale="log", xlim=(0.01, 1), ylim=(1, 3), xlabel="Field / period, σ/λ", ylabel="Ratio of scales")
    axes.set_xticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    axes.minorticks_off()
    axes.legend(loc="upper left", borderaxespad=0.2)
