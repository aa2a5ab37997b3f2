"""When does a lattice form, and what do gains do to it?  Burak & Fiete 2009: weights, velocity gain, low speeds."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.continuous_attractor.lattice import lattice_spacing, lattice_waves, uniform
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, panel_rows

__all__ = ["FIGURE", "claims", "compute", "draw"]

SIDE, FORMING_MS = 64, 2000.0  # of panel a
WEIGHT_GAINS = (1.0, 2.0, 4.0, 8.0, 16.0)
GAMMA_OVER_BETA = (1.01, 1.02, 1.05, 1.10, 1.20)
VELOCITY_GAINS_S_M = (0.02, 0.05, 0.10315, 0.2, 0.4)
SPEED_M_S = 0.4  # of panel b: αv from 0.008 to 0.16
SPEEDS_M_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SLOW_M_S, RUN_S = 0.02, 4.0  # from here up the lattice must follow; seconds of each run of panel c
HEADINGS_DEG = (20.0, 140.0, 260.0)
CITATION = "Burak & Fiete 2009"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"

FIGURE = Figure(
    id="burak_fiete_gain",
    title="Gains of a continuous attractor sheet: forming, spacing, low speeds",
    caption=(
        "(a) What forms from small noise on a 64 × 64 periodic sheet in 2 s, over the gain of the weights and γ/β: a "
        "pattern (filled) or uniform activity (empty). Line: where the uniform state becomes unstable by the transform "
        "of the weights, g max Ŵ = 1. (b) Spacing of the lattice in space, from straight runs at 0.4 m/s in three "
        "directions, against the velocity gain α; line: the power of the claim. (c) Movement of the lattice a metre at "
        "low speeds over that at 0.5 m/s, three directions, four seconds each; dashed: the claim's bound."
    ),
    models=("continuous_attractor/burak_fiete-v1",),
)


def compute(progress: Progress) -> Data:
    """25 small sheets form; the sheet runs at five gains and at six speeds. A row a point."""
    rows: list[dict[str, object]] = []
    total = len(GAMMA_OVER_BETA) + 2
    for done, ratio in enumerate(GAMMA_OVER_BETA):
        rows += [
            {"panel": "a", "gamma_over_beta": ratio, "weight_gain": gain} | formed(gain, ratio) for gain in WEIGHT_GAINS
        ]
        progress(done + 1, total)
    sheet = BurakFiete.make()
    settled = sheet.settled
    spacing = settled.shape[0] * lattice_spacing(lattice_waves(settled)[0])
    heading = torch.tensor(HEADINGS_DEG).deg2rad()
    unit = torch.stack((heading.cos(), heading.sin()), -1)
    for alpha in VELOCITY_GAINS_S_M:
        drift = BurakFiete.make(velocity_gain_s_m=alpha).drift_s(SPEED_M_S * unit)
        for degrees, along in zip(HEADINGS_DEG, (drift * unit).sum(-1).tolist(), strict=True):
            spacing_m = spacing * SPEED_M_S / along if along > 0 else math.nan
            rows.append({"panel": "b", "velocity_gain_s_m": alpha, "heading_deg": degrees, "spacing_m": spacing_m})
    progress(total - 1, total)
    speed = torch.tensor(SPEEDS_M_S)
    drift = sheet.drift_s((speed[:, None, None] * unit).flatten(0, 1), seconds=RUN_S)
    along = (drift.unflatten(0, (len(SPEEDS_M_S), -1)) * unit).sum(-1) / speed[:, None]
    for i, v in enumerate(SPEEDS_M_S):
        for j, degrees in enumerate(HEADINGS_DEG):
            rows.append({"panel": "c", "speed_m_s": v, "heading_deg": degrees, "neurons_per_m": float(along[i, j])})
    progress(total, total)
    return Data(pd.DataFrame(rows))


@torch.no_grad()
def formed(gain: float, ratio: float) -> dict[str, float]:
    """Does a pattern form, and g max Ŵ of the weights."""
    model = BurakFiete.make(neurons_per_side=SIDE, weight_gain=gain, gamma_over_beta=ratio)
    sheet = 1e-3 * torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    sheet = model.advance(sheet, torch.zeros(1, 2), FORMING_MS)[0]
    return {"formed": float(not uniform(sheet)), "instability": instability(gain, ratio)}


def instability(gain: float, ratio: float) -> float:
    """g max Ŵ over waves, of weights on a plane: Ŵ(k) = (π/γ) exp(−k²/4γ) − (π/β) exp(−k²/4β)."""
    beta = 3 / BurakFiete.Config().net_wavelength_neurons ** 2
    gamma, k_squared = ratio * beta, np.linspace(0, 4, 4001) ** 2
    waves = math.pi * (np.exp(-k_squared / (4 * gamma)) / gamma - np.exp(-k_squared / (4 * beta)) / beta)
    return float(gain * waves.max())


def _agreement(data: Data) -> float:
    """Share of settings where a pattern forms just if the uniform state is unstable."""
    rows = panel_rows(data, "a")
    return float(((rows["formed"] > 0.5) == (rows["instability"] > 1)).mean())


def _power(data: Data) -> float:
    rows = panel_rows(data, "b").dropna(subset=["spacing_m"])
    return float(np.polyfit(np.log(rows["velocity_gain_s_m"]), np.log(rows["spacing_m"]), 1)[0])


def _slowest(data: Data) -> float:
    """Smallest movement a metre, of speeds from `SLOW_M_S` up, over the mean at the highest speed."""
    rows = panel_rows(data, "c")
    fastest = rows[rows["speed_m_s"] == rows["speed_m_s"].max()]["neurons_per_m"].mean()
    return float((rows[rows["speed_m_s"] >= SLOW_M_S - 1e-9]["neurons_per_m"] / fastest).min())


def _always(data: Data) -> Data:
    """A control: a pattern forms at every gain."""
    return replace(data, table=data.table.assign(formed=1.0))


def _unmoved(data: Data) -> Data:
    """A control: one spacing at every gain."""
    return replace(data, table=data.table.assign(spacing_m=0.4))


def _pinned(data: Data) -> Data:
    """A control: a lattice that the first 5 cm/s do not move."""
    table = data.table
    share = (1 - 0.05 / table["speed_m_s"]).clip(lower=0)
    return replace(data, table=table.assign(neurons_per_m=table["neurons_per_m"] * share))


claims = (
    Claim(
        id="burak_fiete_instability",
        statement=(
            "A pattern forms just where the uniform state is unstable to waves: share of 25 settings of weight gain "
            "and γ/β that agree (≥ 0.95)"
        ),
        paper="linear instability of the uniform state (no number)",
        citation=CITATION,
        statistic=_agreement,
        control=_always,
        low=0.95,
    ),
    Claim(
        id="burak_fiete_spacing_gain",
        statement="The spacing of grid cells is inverse to the velocity gain α: power, from straight runs (−1 ± 10 %)",
        paper="−1",
        citation=CITATION,
        statistic=_power,
        control=_unmoved,
        low=-1.1,
        high=-0.9,
    ),
    Claim(
        id="burak_fiete_low_speed",
        statement=(
            "The lattice is not pinned: movement a metre from 2 cm/s up, over that at 0.5 m/s, smallest of three "
            "directions (≥ 0.9)"
        ),
        paper="follows all speeds of the animal (no number)",
        citation=CITATION,
        statistic=_slowest,
        control=_pinned,
        low=0.9,
    ),
)


def draw(data: Data) -> Canvas:
    """Three panels, 180 mm wide: forming, spacing, low speeds."""
    canvas = Canvas(figsize=(180 / 25.4, 56 / 25.4), layout="constrained")
    forming, spacing, slow = canvas.subplots(1, 3)
    _draw_forming(forming, data)
    _draw_spacing(spacing, data)
    _draw_slow(slow, data)
    for letter, axes in zip("abc", (forming, spacing, slow), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
        axes.set_box_aspect(1)
    return canvas


def _draw_forming(axes: Axes, data: Data) -> None:
    rows = panel_rows(data, "a")
    for found, face in ((1.0, BLUE), (0.0, "white")):
        those = rows[rows["formed"] == found]
        axes.plot(those["gamma_over_beta"] - 1, those["weight_gain"], "o", ms=4, mfc=face, mec=BLUE, mew=0.8)
    ratios = np.geomspace(0.009, 0.22, 40)
    axes.plot(ratios, [1 / instability(1.0, 1 + ratio) for ratio in ratios], color="black", lw=0.8)
    axes.set(xscale="log", yscale="log", xlabel="γ/β − 1", ylabel="Weight gain g", ylim=(0.8, 20))
    axes.set_xticks(np.array(GAMMA_OVER_BETA) - 1, [f"{ratio - 1:.2f}" for ratio in GAMMA_OVER_BETA], minor=False)
    axes.set_yticks(WEIGHT_GAINS, [f"{gain:g}" for gain in WEIGHT_GAINS])
    axes.minorticks_off()


def _draw_spacing(axes: Axes, data: Data) -> None:
    rows = panel_rows(data, "b").dropna(subset=["spacing_m"])
    axes.plot(rows["velocity_gain_s_m"], rows["spacing_m"], "o", ms=3.5, mfc="none", mew=0.8, color=BLUE)
    alpha, power = np.array(VELOCITY_GAINS_S_M), _power(data)
    middle = np.exp(np.log(rows["spacing_m"]).mean()) / np.exp(np.log(rows["velocity_gain_s_m"]).mean()) ** power
    axes.plot(alpha, middle * alpha**power, color="black", lw=0.8, label=f"power {power:.3f}")
    axes.set(xscale="log", yscale="log", xlabel="Velocity gain α (s/m)", ylabel="Spacing (m)")
    axes.set_xticks(alpha, [f"{each:.2g}" for each in alpha])
    axes.set_yticks((0.1, 0.2, 0.5, 1, 2), ["0.1", "0.2", "0.5", "1", "2"])
    axes.minorticks_off()
    axes.legend(loc="upper right")


def _draw_slow(axes: Axes, data: Data) -> None:
    rows = panel_rows(data, "c")
    fastest = rows[rows["speed_m_s"] == rows["speed_m_s"].max()]["neurons_per_m"].mean()
    for (heading, group), marker in zip(rows.groupby("heading_deg"), "o^s", strict=False):
        axes.plot(
            group["speed_m_s"], group["neurons_per_m"] / fastest, marker + "-", ms=3, lw=0.7, mfc="none", mew=0.8,
            color=ORANGE, label=f"{heading:.0f}°",
        )  # fmt: skip
    axes.axhline(0.9, color=GREY, lw=0.8, ls="--")
    axes.set(xscale="log", xlabel="Speed (m/s)", ylabel="Movement a metre, relative", ylim=(0, 1.3))
    axes.set_xticks(SPEEDS_M_S, [f"{each:g}" for each in SPEEDS_M_S])
    axes.minorticks_off()
    axes.legend(loc="lower right")
