"""How far do the sheets stray, and what does noise do?  Burak & Fiete 2009: long paths, edges, spikes and size."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import diffusion_coefficient
from entorhinal.benchmarks.attractor_paths import CONDITIONS, LONG_PATHS
from entorhinal.families.continuous_attractor.burak_fiete_spiking import BurakFieteSpiking
from entorhinal.families.world import Arena, World
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, panel_rows

__all__ = ["FIGURE", "claims", "compute", "draw"]

SIDES = (40, 56, 64, 96, 128)  # each settles without defects
TRIALS, SECONDS, LAG_S, STEP_MS, NOISE_SEED = 16, 2.0, 0.25, 1.0, 0
HALF_SPACING_M = 0.21
CITATION = "Burak & Fiete 2009"
COLOURS = {"periodic": "#0072B2", "aperiodic": "#D55E00"}
GREY = "#888888"

FIGURE = Figure(
    id="burak_fiete_noise",
    title="Long paths and noise on continuous attractor sheets",
    caption=(
        "(a) Error along one path of 258 m in 20 minutes in a 2 m box, decoded from the lattice with the metre of "
        "straight runs: the sheet that closes on itself and the sheet with edges, without noise (lines) and, for the "
        "first five minutes, with Poisson spikes (dashed); 128² neurons, steps of 1 ms. Computed beforehand by "
        "`python -m entorhinal.benchmarks.attractor_paths`. Dotted: 15 cm, and half a spacing. (b) The same along the "
        "first minute of a rat's recorded path (Sargolini et al. 2006). (c) Diffusion of the lattice at "
        "rest with Poisson spikes on periodic sheets of n² neurons: mean and standard error over 16 trials of 2 s, and "
        "the fitted power of n²."
    ),
    models=("continuous_attractor/burak_fiete_aperiodic-v1", "continuous_attractor/burak_fiete_spiking-v1"),
)


def compute(progress: Progress) -> Data:
    """Read the long paths (rows of panels a and b) and let five sheets with spikes stand (panel c)."""
    tables = []
    for condition in CONDITIONS:
        path = LONG_PATHS / f"{condition.name}.csv"
        if path.is_file():
            table = pd.read_csv(path)
            error_m = np.hypot(table["decoded_x_m"] - table["x_m"], table["decoded_y_m"] - table["y_m"])
            sheet, _, noise = condition.name.removeprefix("recorded_").partition("_")
            panel = "b" if condition.recorded else "a"
            tables.append(table.assign(panel=panel, sheet=sheet, noise=noise or "none", error_m=error_m))
    rows = []
    for done, side in enumerate(SIDES):
        rows.append({"panel": "c", "neurons_per_side": side} | diffusion(side))
        progress(done + 1, len(SIDES))
    return Data(pd.concat([*tables, pd.DataFrame(rows)], ignore_index=True))


@torch.no_grad()
def diffusion(side: int) -> dict[str, float]:
    """Diffusion coefficient of the lattice at rest in neurons²/s: mean over trials and its standard error."""
    model = BurakFieteSpiking.make(neurons_per_side=side, step_ms=STEP_MS)
    generator = torch.Generator().manual_seed(NOISE_SEED)
    settled = model.sheet.settled.expand(TRIALS, -1, -1)
    state = {"sheet": settled, "wait": model.first_wait.expand_as(settled)}
    rest = World(Arena.square(1.0, walls=False)).sweeps([0.0] * TRIALS, [0.0], 1)
    sheets = []
    for _ in range(round(SECONDS / rest.dt_s)):
        found = model.represent(rest, state, generator=generator)
        state = found.state
        sheets.append(state["sheet"])
    path = model.sheet.displacement(torch.stack(sheets, 1))
    each = diffusion_coefficient(path[:, round(0.2 / rest.dt_s) :], rest.dt_s, LAG_S)
    return {"diffusion": float(each.mean()), "diffusion_error": float(each.std() / TRIALS**0.5)}


def _error_m(data: Data, sheet: str, noise: str = "none") -> pd.DataFrame:
    return panel_rows(data, "a", sheet=sheet, noise=noise)


def _largest_m(data: Data) -> float:
    return float(_error_m(data, "periodic")["error_m"].max())


def _worse(data: Data) -> float:
    """Root mean square error of the sheet with edges over that of the periodic one, over the whole path."""
    of = {sheet: np.sqrt(np.square(_error_m(data, sheet)["error_m"]).mean()) for sheet in COLOURS}
    return float(of["aperiodic"] / of["periodic"])


def _within_half_spacing_m(data: Data) -> float:
    """Distance walked until the error of the periodic sheet with spikes passes half a spacing, or to the end."""
    rows = _error_m(data, "periodic", "spikes")
    lost = rows["distance_m"][rows["error_m"] > HALF_SPACING_M]
    return float(lost.iloc[0] if len(lost) else rows["distance_m"].iloc[-1])


def _exponent(data: Data) -> float:
    """Slope of log diffusion on log number of neurons."""
    rows = panel_rows(data, "c")
    return float(np.polyfit(np.log(rows["neurons_per_side"] ** 2), np.log(rows["diffusion"].clip(lower=1e-12)), 1)[0])


def _still(data: Data) -> Data:
    """A control: what is decoded never moves."""
    table = data.table
    error_m = np.hypot(table["x_m"] - table["x_m"].iloc[0], table["y_m"] - table["y_m"].iloc[0])
    return replace(data, table=table.assign(error_m=error_m.where(table["panel"] == "a")))


def _alike(data: Data) -> Data:
    """A control: all sizes diffuse as the first does."""
    table = data.table
    first = table["diffusion"].dropna().iloc[0]
    return replace(data, table=table.assign(diffusion=table["diffusion"].where(table["diffusion"].isna(), first)))


claims = (
    Claim(
        id="burak_fiete_long_path_error",
        statement=(
            "Path integration on a periodic sheet without noise, 258 m in 20 min of a simulated path: largest error, m "
            "(≤ 0.15)"
        ),
        paper="about 0.15 m after 260 m, 20 min of a rat's path (reported from memory, unverified)",
        citation=CITATION,
        statistic=_largest_m,
        control=_still,
        low=0.0,
        high=0.15,
    ),
    Claim(
        id="burak_fiete_edges_worse",
        statement=(
            "A sheet with edges integrates worse than a periodic one without noise: ratio of root mean square errors "
            "over the same path (> 1)"
        ),
        paper="the aperiodic sheet is less accurate (no number here)",
        citation=CITATION,
        statistic=_worse,
        control=exchanged("sheet", "periodic", "aperiodic"),
        low=1.0,
    ),
    Claim(
        id="burak_fiete_spikes_distance",
        statement=(
            "With Poisson spikes the periodic sheet integrates over 10 to 100 m: distance until its error passes half "
            "a spacing, 21 cm (our criterion; one path of five minutes, 65 m, which caps it)"
        ),
        paper="10–100 m at most, 1–10 min, with spike variability",
        citation=CITATION,
        statistic=_within_half_spacing_m,
        control=_still,
        low=10.0,
        high=100.0,
    ),
    Claim(
        id="burak_fiete_diffusion_size",
        statement=(
            "Noise moves the lattice at rest less the more neurons there are: power of the diffusion coefficient on n² "
            "over five sizes (−1 ± 0.25)"
        ),
        paper="−1: diffusion falls as one over the number of neurons (reported from memory, unverified)",
        citation=CITATION,
        statistic=_exponent,
        control=_alike,
        low=-1.25,
        high=-0.75,
    ),
)


def draw(data: Data) -> Canvas:
    """Three panels, 180 mm wide: error along the long and the recorded path, diffusion against size."""
    canvas = Canvas(figsize=(180 / 25.4, 60 / 25.4), layout="constrained")
    long, recorded, size = canvas.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _draw_error(long, data, "a", 60, "Time (min)")
    _draw_error(recorded, data, "b", 1, "Time (s)")
    long.set_ylim(0, 1.3 * long.get_ylim()[1])
    long.legend(loc="upper left", borderaxespad=0.1, ncols=2)
    _draw_size(size, data)
    for letter, axes in zip("abc", (long, recorded, size), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    return canvas


def _draw_error(axes: Axes, data: Data, panel: str, unit_s: float, label: str) -> None:
    path = data.table[data.table["panel"] == panel]
    for sheet, colour in COLOURS.items():
        for noise, style, said in (("none", "-", ""), ("spikes", "--", ", spikes")):
            rows = path[(path["sheet"] == sheet) & (path["noise"] == noise)]
            axes.plot(
                rows["time_s"] / unit_s, 100 * rows["error_m"], style, color=colour, lw=0.9, label=f"{sheet}{said}"
            )
    for level_m in (0.15, HALF_SPACING_M):
        axes.axhline(100 * level_m, color=GREY, lw=0.8, ls=":")
    axes.set(xlabel=label, ylabel="Error (cm)", xlim=(0, None), ylim=(0, None))


def _draw_size(axes: Axes, data: Data) -> None:
    rows = panel_rows(data, "c")
    neurons = rows["neurons_per_side"] ** 2
    axes.errorbar(neurons, rows["diffusion"], rows["diffusion_error"], fmt="o", ms=3.5, lw=0.8, color="#222222")
    power = _exponent(data)
    middle = np.exp(np.log(neurons).mean()), np.exp(np.log(rows["diffusion"].clip(lower=1e-12)).mean())
    axes.plot(neurons, middle[1] * (neurons / middle[0]) ** power, color=GREY, lw=0.8, label=f"power {power:.2f}")
    axes.set(xscale="log", yscale="log", xlabel="Neurons", ylabel="Diffusion (neurons²/s)")
    axes.set_xticks(neurons, [f"{side:.0f}²" for side in rows["neurons_per_side"]])
    axes.set_yticks((0.1, 0.2, 0.5), ["0.1", "0.2", "0.5"])
    axes.minorticks_off()
    axes.legend(loc="upper right")
