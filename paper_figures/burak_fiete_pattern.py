"""Does a triangular lattice form, and does it follow velocity?  Burak & Fiete 2009: the sheet at rest and in motion."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import grid_scores
from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.continuous_attractor.lattice import lattice_waves
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress

__all__ = ["FIGURE", "claims", "compute", "draw"]

GAMMA_OVER_BETA = (1.02, 1.05, 1.10)
SHOWN = 1.05  # γ/β of panels a, b and d
GAINS = (1.0, 10.0)
LINEAR_DRIVES = (0.02, 0.04, 0.06, 0.08, 0.10, 0.12, 0.14, 0.16, 0.18, 0.20)
BEYOND_DRIVES = (0.25, 0.30, 0.40, 0.50, 0.60)
HEADINGS_DEG = (20.0, 140.0, 260.0)
SCORE_THRESHOLD = 1.0  # a perfect triangular map scores 1.4 to 1.5, a square one is below 0
CITATION = "Burak & Fiete 2009"
COLOURS = {1.0: "#D55E00", 10.0: "#0072B2"}
GREY = "#888888"

FIGURE = Figure(
    id="burak_fiete_pattern",
    title="The lattice on a continuous attractor sheet and its response to velocity",
    caption=(
        "(a) Activity of the 128 × 128 periodic sheet (γ/β = 1.05) after settling from noise. (b) The same with "
        "weights taken as printed (gain 1): activity is uniform. The authors' program multiplies the recurrent input "
        "by dt, not by dt/τ, which is a gain of τ = 10 ms. (c) Grid score of the settled sheet; dashed: threshold of "
        "the claim; 0 where activity is uniform. Narrow bumps (large γ/β) score lower on a lattice that is as regular. "
        "(d) Speed of the lattice against the velocity input αv in three directions (points), and the line through the "
        "origin fitted up to αv = 0.2 (shaded)."
    ),
    models=("continuous_attractor/burak_fiete-v1",),
)


def score(sheet: np.ndarray) -> float:
    """Grid score of one sheet ``(n, n)``; 0 where activity is uniform, to rounding."""
    if sheet.std() < 1e-2 * sheet.mean():
        return 0.0
    return float(grid_scores(sheet[None])[0])


def drift(model: BurakFiete) -> pd.DataFrame:
    """Speed of the lattice along each of three headings, for velocity inputs up to and beyond the linear range."""
    drives = np.array(LINEAR_DRIVES + BEYOND_DRIVES)
    heading, drive = (a.ravel() for a in np.meshgrid(np.deg2rad(HEADINGS_DEG), drives, indexing="ij"))
    unit = np.stack((np.cos(heading), np.sin(heading)), -1)
    velocity_m_s = drive[:, None] * unit / model.config.velocity_gain_s_m
    found = model.drift_s(torch.tensor(velocity_m_s, dtype=torch.float32)).numpy()
    along = (found * unit).sum(-1) / 1e3
    columns = {"heading_deg": np.rad2deg(heading).round(), "alpha_v": drive, "drift_neurons_ms": along}
    return pd.DataFrame({"panel": "d", **columns})


def compute(progress: Progress) -> Data:
    """Settle six sheets and push one of them; the table has a row for each point of panels c and d."""
    rows: list[dict[str, object]] = []
    sheets: dict[str, np.ndarray] = {}
    total = len(GAINS) * len(GAMMA_OVER_BETA) + 1
    for gain in GAINS:
        for ratio in GAMMA_OVER_BETA:
            sheet = BurakFiete.make(weight_gain=gain, gamma_over_beta=ratio).settle()
            waves, order = lattice_waves(sheet)
            bumps = abs(float(torch.linalg.det(waves[:2]))) if order else np.nan
            spacing = sheet.shape[0] * (2 / 3**0.5 / bumps) ** 0.5
            rows.append(
                {
                    "panel": "c",
                    "weight_gain": gain,
                    "gamma_over_beta": ratio,
                    "grid_score": score(sheet.numpy()),
                    "order": order,
                    "bumps": bumps,
                    "spacing_neurons": spacing,
                }
            )
            if ratio == SHOWN:
                sheets["settled" if gain == 10 else "trap"] = sheet.numpy()
            progress(len(rows), total)
    table = pd.concat([pd.DataFrame(rows), drift(BurakFiete.make(gamma_over_beta=SHOWN))], ignore_index=True)
    progress(total, total)
    return Data(table, sheets)


def _settled_score(data: Data) -> float:
    return score(data.arrays["settled"])


def _linear(data: Data) -> pd.DataFrame:
    table = data.table
    rows = table[(table["panel"] == "d") & (table["alpha_v"] <= max(LINEAR_DRIVES) + 1e-9)]
    if rows.empty:
        raise LookupError("no speeds of the lattice")
    return rows


def _slope(data: Data) -> float:
    """Neurons/ms per unit αv: least squares through the origin over the linear range."""
    rows = _linear(data)
    return float((rows["alpha_v"] * rows["drift_neurons_ms"]).sum() / np.square(rows["alpha_v"]).sum())


def _largest_deviation(data: Data) -> float:
    """Largest relative distance of a point from the fitted line, up to αv = 0.2."""
    rows = _linear(data)
    return float((rows["drift_neurons_ms"] / (_slope(data) * rows["alpha_v"]) - 1).abs().max())


def _uniform(data: Data) -> Data:
    """A control: the sheet whose weights are taken as printed."""
    return replace(data, arrays={**data.arrays, "settled": data.arrays["trap"]})


def _saturating(data: Data) -> Data:
    """A control: a lattice whose speed saturates, tanh with half the linear range as its scale."""
    table = data.table
    saturated = 0.1 * _slope(data) * np.tanh(table["alpha_v"] / 0.1)
    return replace(data, table=table.assign(drift_neurons_ms=saturated))


claims = (
    Claim(
        id="burak_fiete_lattice",
        statement="The sheet settles to a triangular lattice: grid score of its activity (≥ 1)",
        paper="triangular lattice (no number)",
        citation=CITATION,
        statistic=_settled_score,
        control=_uniform,
        low=SCORE_THRESHOLD,
    ),
    Claim(
        id="burak_fiete_linear",
        statement=(
            "The lattice's speed is linear in velocity up to αv = 0.2, in three directions: largest relative "
            "deviation from a line through the origin (≤ 0.1)"
        ),
        paper="linear over the animal's speeds (no number)",
        citation=CITATION,
        statistic=_largest_deviation,
        control=_saturating,
        low=0.0,
        high=0.1,
    ),
)


def draw(data: Data) -> Canvas:
    """Four panels, 180 mm wide: the lattice, the uniform sheet, grid scores, speed of the lattice."""
    canvas = Canvas(figsize=(180 / 25.4, 50 / 25.4), layout="constrained")
    settled, trap, scores, speed = canvas.subplots(1, 4, width_ratios=(1, 1, 1, 1.25))
    top = float(data.arrays["settled"].max())
    for axes, name, gain in ((settled, "settled", 10), (trap, "trap", 1)):
        n = len(data.arrays[name])
        image = axes.imshow(
            data.arrays[name], origin="lower", extent=(0, n, 0, n), vmin=0, vmax=top, cmap="viridis", rasterized=True
        )
        axes.set(xlabel="Neuron", xticks=(0, n // 2, n), yticks=(0, n // 2, n))
        axes.set_title(f"gain {gain}")
    settled.set_ylabel("Neuron")
    trap.tick_params(labelleft=False)
    canvas.colorbar(image, ax=[settled, trap], label="Activity s", location="right", shrink=0.62, aspect=14, pad=0.02)
    _draw_scores(scores, data)
    _draw_speed(speed, data)
    for letter, axes in zip("abcd", (settled, trap, scores, speed), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    return canvas


def _draw_scores(axes: Axes, data: Data) -> None:
    table = data.table
    for gain, marker in zip(GAINS, "so", strict=True):
        rows = table[(table["panel"] == "c") & (table["weight_gain"] == gain)]
        colour = COLOURS[gain]
        axes.plot(
            rows["gamma_over_beta"], rows["grid_score"], marker + "-", ms=4, lw=1, color=colour, label=f"gain {gain:g}"
        )
    axes.axhline(SCORE_THRESHOLD, color=GREY, lw=0.8, ls="--")
    axes.set(xlabel="γ/β", ylabel="Grid score", xticks=GAMMA_OVER_BETA, xlim=(1.0, 1.12), ylim=(-0.1, 2.2))
    axes.legend(loc="upper left", borderaxespad=0.1, handlelength=1.2)
    axes.set_box_aspect(1)


def _draw_speed(axes: Axes, data: Data) -> None:
    table = data.table[data.table["panel"] == "d"]
    slope, rows = _slope(data), _linear(data)
    residual = rows["drift_neurons_ms"] - slope * rows["alpha_v"]
    r_squared = 1 - np.square(residual).sum() / np.square(rows["drift_neurons_ms"]).sum()
    end = table["alpha_v"].max()
    axes.axvspan(0, max(LINEAR_DRIVES), color="#EEEEEE", lw=0, zorder=0)
    axes.plot((0, end), (0, slope * end), color="black", lw=0.8, zorder=1)
    for (heading, group), marker in zip(table.groupby("heading_deg"), "o^s", strict=False):
        axes.plot(
            group["alpha_v"], group["drift_neurons_ms"], marker, ms=3, mfc="none", mew=0.8, color=COLOURS[10.0],
            label=f"{heading:.0f}°",
        )  # fmt: skip
    axes.text(0.03, 0.97, f"{slope:.3f} αv\nR² = {r_squared:.5f}", transform=axes.transAxes, va="top", fontsize=7)
    axes.set(xlabel="Velocity input αv", ylabel="Speed (neurons/ms)", xlim=(0, None), ylim=(0, None))
    axes.legend(loc="lower right", borderaxespad=0.2, handlelength=1, handletextpad=0.3, labelspacing=0.2)
    axes.set_box_aspect(0.8)
