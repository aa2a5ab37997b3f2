"""Non-negativity turns principal components of place-cell input into triangular lattices (Dordek et al. 2016).

Waves, spacings and angles are measured on the fitted maps, never taken from the theory that they are compared with.
The maps are periodic; grid scores and lattice spacings are of four copies side by side, so that edges cut no period.

Not claimed, as its statistic is unstable: in a box 27.2 σ1 wide (the paper's is 13.3 σ1) the deflated components
show no two clear scales. Split in two all the same, they gave ratios of 1.07, 1.13 and 1.36 for three choices of seed
and number of networks.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from scipy.ndimage import maximum_filter
from scipy.optimize import minimize_scalar
from torch import Tensor

from entorhinal.analysis import plots
from entorhinal.analysis.lattices import lattices
from entorhinal.analysis.scores import grid_scores
from entorhinal.families.codes import difference_of_gaussians_place_cells
from entorhinal.families.function_optimization.dordek import (
    PEAK_WAVENUMBER,
    SPACING,
    DordekConfig,
    place_input,
    solve,
)
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within

BINS, SIGMA_BINS = 100, 7.5
FITTING_SIGMA_BINS = 3.68
"""The ring k* of this place field passes between the waves (4, 1), (1, 4) and (3, −3), which lie 59° to 62° apart."""
SWEEP_BINS = (3.0, 4.0, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0, 9.0, 10.0)
OTHER_SIGMA_BINS = 5.0
NETWORKS = 10
DEFLATED = DordekConfig(networks=NETWORKS, components=24, seed=1)
WITH, WITHOUT = "non-negative", "unconstrained"

FIGURE = Figure(
    id="dordek_nonnegativity",
    title="Non-negative principal components of place cells are grids",
    caption=(
        "(a) Input of one place cell, a difference of Gaussians of width σ1 = 7.5 bins in a periodic box of 100² "
        "place cells. (b) Its Fourier transform for surrounds two and four times as wide; dots are waves that fit "
        "the box, the dashed line is k*. (c) Weights of one network's first four components when they may not be "
        "negative. (d, e) Power of first components, with and without the constraint, on the waves that the box "
        "allows; circle |k| = k*. (f) As (c) without the constraint (blue negative, red positive). (g) Grid scores"
        " of 40 units of ten networks each; bars are medians. (h) Spacing of first components against σ1 in the "
        "same box, ten networks a width; line 7.55 σ1. Open symbols have other than three waves: at these widths "
        "the best lattice that fits the square box is not triangular. (i) Distance between neighbouring fields of "
        "deflated components, ten networks; lines are the medians of the two scales into which they split. Both "
        "are periods of the box's own waves, 1/2 and 1/√8 of its side, so their ratio is √2 in this box."
    ),
    models=("function_optimization/dordek-v1",),
)


def compute(progress: Progress) -> Data:
    """About a minute on one free core. table: a row a component; arrays: maps (units, bins, bins) by set."""
    runs: list[tuple[str, DordekConfig]] = [
        (WITH, DordekConfig(networks=NETWORKS)),
        (WITHOUT, DordekConfig(networks=NETWORKS, nonnegative=False)),
        ("fitting box", DordekConfig(networks=NETWORKS, sigma_bins=FITTING_SIGMA_BINS, components=1)),
        ("deflated", DEFLATED),
        *(("width", DordekConfig(networks=NETWORKS, sigma_bins=sigma, components=1)) for sigma in SWEEP_BINS),
    ]
    tables: list[pd.DataFrame] = [_input_rows()]
    arrays: dict[str, np.ndarray] = {}
    for done, (name, config) in enumerate(runs):
        progress(done, len(runs))
        maps = solve(config)
        tables.append(measured(name, maps, config.sigma_bins, config.components))
        if name != "width":
            arrays[name] = maps.float().numpy()
    progress(len(runs), len(runs))
    return Data(pd.concat(tables, ignore_index=True), arrays)


def _input_rows() -> pd.DataFrame:
    """Where r̂ is largest, by numerical maximisation of its closed form, for two surrounds; in 1/σ1."""
    rows = []
    for surround in (2.0, 4.0):
        found = minimize_scalar(
            lambda k, s=surround: -_transform(k, s), bounds=(0.05, 3.0), method="bounded", options={"xatol": 1e-9}
        )
        rows.append({"set": "input", "surround": surround, "wavenumber_sigma": float(found.x)})
    return pd.DataFrame(rows)


def _transform(k: float | np.ndarray, surround: float) -> float | np.ndarray:
    return np.exp(-(k**2) / 2) - np.exp(-((surround * k) ** 2) / 2)


def measured(name: str, maps: Tensor, sigma_bins: float, components: int) -> pd.DataFrame:
    """One row a unit, of networks of so many components; lengths in bins."""
    tiled = torch.nn.functional.avg_pool2d(maps.tile(1, 2, 2)[:, None], 2)[:, 0]
    table = pd.DataFrame([_waves(x) for x in maps])
    table["spacing_bins"] = lattices(tiled, 2.0).spacing_m.numpy()
    table["grid_score"] = grid_scores(tiled).numpy()
    table["neighbour_bins"] = [_neighbour(x) for x in maps]
    unit = np.arange(len(maps))
    table["network"], table["component"] = unit // components, unit % components + 1
    table["sigma_bins"] = sigma_bins
    table["wavenumber_sigma"] = table.pop("wavenumber") * sigma_bins
    table.insert(0, "set", name)
    return table


def _waves(x: Tensor) -> dict[str, float]:
    """Its strong waves, those of at least half the power of the strongest: number, mean |k|, angles between them.

    angle_deg is the gap between neighbouring directions (of 180°) that is farthest from 60°; equality the power of the
    third strongest wave over the strongest.
    """
    power, wave = _half_plane(x)
    order = np.argsort(-power)
    strong = order[power[order] >= 0.5 * power[order[0]]]
    direction = np.sort(np.degrees(np.arctan2(wave[strong, 1], wave[strong, 0])) % 180)
    gaps = np.diff(np.append(direction, direction[0] + 180))
    return {
        "waves": len(strong),
        "angle_deg": float(gaps[np.argmax(np.abs(gaps - 60))]),
        "equality": float(power[order[2]] / power[order[0]]),
        "wavenumber": float(np.average(np.hypot(*wave[strong].T), weights=power[strong])),
    }


def _half_plane(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Power and wave vector (kx, ky, rad/bin) of one of each pair ±k."""
    n = x.shape[-1]
    power = torch.fft.fft2(x - x.mean()).abs().square().numpy()
    k = np.fft.fftfreq(n, 1 / n)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    half = (ky > 0) | ((ky == 0) & (kx > 0))
    return power[half], 2 * math.pi / n * np.stack((kx[half], ky[half]), -1)


def _neighbour(x: Tensor) -> float:
    """Distance in bins from the centre of the periodic autocorrelogram to the nearest peak above 0.1; NaN if none."""
    power = torch.fft.rfft2(x - x.mean()).abs().square()
    correlogram = torch.fft.fftshift(torch.fft.irfft2(power, s=x.shape)).numpy()
    correlogram /= correlogram.max()
    centre = x.shape[-1] // 2
    peaks = (correlogram == maximum_filter(correlogram, 3, mode="wrap")) & (correlogram > 0.1)
    distance = np.hypot(*(np.argwhere(peaks) - centre).T)
    distance = distance[distance > 0]
    return float(distance.min()) if len(distance) else math.nan


def _rows(data: Data, name: str, column: str) -> pd.Series:
    found = data.table.loc[data.table["set"] == name, column].dropna()
    if not len(found):
        raise LookupError(f"no {column} of set {name!r}")
    return found


def _median(name: str, column: str, scale: float = 1.0) -> Callable[[Data], float]:
    return lambda data: float(_rows(data, name, column).median()) / scale


def two_scales(distance: np.ndarray) -> tuple[float, float]:
    """Medians of the two groups of least scatter in log distance, the larger first."""
    if len(distance) < 2:
        raise LookupError("two scales need two components")
    ordered = np.sort(np.log(distance))
    scatter = [ordered[:i].var() * i + ordered[i:].var() * (len(ordered) - i) for i in range(1, len(ordered))]
    cut = int(np.argmin(scatter)) + 1
    return float(np.exp(np.median(ordered[cut:]))), float(np.exp(np.median(ordered[:cut])))


def _ratio(data: Data) -> float:
    large, small = two_scales(_rows(data, "deflated", "neighbour_bins").to_numpy())
    return large / small


def _swap(data: Data) -> Data:
    """The control of most claims: constrained and unconstrained components change names."""
    names = {WITH: WITHOUT, WITHOUT: WITH}
    return replace(data, table=data.table.assign(set=data.table["set"].replace(names)))


def _in_place_of(name: str) -> Callable[[Data], Data]:
    """The unconstrained components under the name ``name``."""

    def control(data: Data) -> Data:
        table = data.table[data.table["set"] != name]
        return replace(data, table=table.assign(set=table["set"].replace({WITHOUT: name})))

    return control


def _other_width(data: Data) -> Data:
    """Components for another σ1, measured in the σ1 of the model."""
    table = data.table[data.table["set"] != WITH]
    taken = (table["set"] == "width") & (table["sigma_bins"] == OTHER_SIGMA_BINS)
    wavenumber = table["wavenumber_sigma"].where(~taken, table["wavenumber_sigma"] * SIGMA_BINS / OTHER_SIGMA_BINS)
    return replace(data, table=table.assign(set=table["set"].where(~taken, WITH), wavenumber_sigma=wavenumber))


def _other_surround(data: Data) -> Data:
    return replace(data, table=data.table.assign(surround=6.0 - data.table["surround"]))


def _undeflated(data: Data) -> Data:
    table = data.table
    return replace(data, table=table[(table["set"] != "deflated") | (table["component"] == 1)])


def _input_peak(data: Data) -> float:
    table = data.table
    return float(table.loc[(table["set"] == "input") & (table["surround"] == 2), "wavenumber_sigma"].iloc[0])


_PAPER = "Dordek et al. 2016"
claims = (
    Claim(
        "dordek_three_waves",
        "With non-negativity a component has three waves (mean number of waves with at least half the highest power)",
        "3",
        _PAPER,
        lambda data: float(_rows(data, WITH, "waves").mean()),
        _swap,
        **within(3),
    ),
    Claim(
        "dordek_equal_waves",
        "The three waves are equally strong (median power of the third over that of the first)",
        "1",
        _PAPER,
        _median(WITH, "equality"),
        _swap,
        **within(1),
    ),
    Claim(
        "dordek_equal_waves_fitting_box",
        "The three waves are equally strong in a box that allows 60°, 27.2 σ1 wide (median, third over first)",
        "1",
        _PAPER,
        _median("fitting box", "equality"),
        _in_place_of("fitting box"),
        **within(1),
    ),
    Claim(
        "dordek_60_degrees",
        "The waves are 60° apart in the paper's box (median of the angle that is farthest from 60°)",
        "60°",
        _PAPER,
        _median(WITH, "angle_deg"),
        _swap,
        **within(60),
    ),
    Claim(
        "dordek_60_degrees_fitting_box",
        "The waves are 60° apart in a box that allows it, 27.2 σ1 wide (median of the angle farthest from 60°)",
        "60°",
        _PAPER,
        _median("fitting box", "angle_deg"),
        _in_place_of("fitting box"),
        **within(60),
    ),
    Claim(
        "dordek_spacing",
        "The lattice spacing is 7.55 σ1 (median, in σ1)",
        "7.55",
        _PAPER,
        _median(WITH, "spacing_bins", SIGMA_BINS),
        _other_width,
        **within(7.55),
    ),
    Claim(
        "dordek_input_peak",
        "The place input is strongest at k* = 0.961/σ1 (maximum of its closed form, in 1/σ1)",
        "0.961",
        _PAPER,
        _input_peak,
        _other_surround,
        **within(0.961),
    ),
    Claim(
        "dordek_wavenumber",
        "The waves of the components have |k| = k* = 0.961/σ1 (median, in 1/σ1)",
        "0.961",
        _PAPER,
        _median(WITH, "wavenumber_sigma"),
        _other_width,
        **within(0.961),
    ),
    Claim(
        "dordek_no_hexagon",
        "Without non-negativity components are not hexagonal (median grid score is negative)",
        "square lattice",
        _PAPER,
        _median(WITHOUT, "grid_score"),
        _swap,
        high=0.0,
    ),
    Claim(
        "dordek_scale_ratio",
        "The first two scales of deflated components are about 1.4 apart (ratio of neighbour distances, both of which "
        "are set by the box)",
        "1.4",
        _PAPER,
        _ratio,
        _undeflated,
        **within(1.4),
    ),
)


BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 135 / 25.4))
    halves = canvas.add_gridspec(2, 1, height_ratios=(1.75, 1))
    upper, lower = (canvas.add_subfigure(halves[i]) for i in range(2))
    mosaic: list[Any] = [["a", "b", "c1", "c2", "c3", "c4"], ["d", "e", "f1", "f2", "f3", "f4"]]
    axes: dict[str, Axes] = {
        **upper.subplot_mosaic(mosaic, width_ratios=(1.2, 1.2, 0.8, 0.8, 0.8, 0.8)),
        **lower.subplot_mosaic([["g", "h", "i"]], width_ratios=(0.7, 1, 1.3)),
    }
    _draw_input(axes["a"], axes["b"])
    for letter, name, colours in (("c", WITH, "viridis"), ("f", WITHOUT, "RdBu_r")):
        top = np.abs(data.arrays[name][:4]).max()
        for i in range(4):
            ax = axes[f"{letter}{i + 1}"]
            low = 0 if name == WITH else -top
            plots.rate_map(ax, data.arrays[name][i], bin_m=1, scale_bar=False, cmap=colours, limits=(low, top))
            ax.set_xlabel(f"component {i + 1}")
            _bare(ax)
        axes[f"{letter}1"].set_ylabel(name)
    _draw_power(axes["d"], data.arrays[WITH][0], WITH)
    _draw_power(axes["e"], data.arrays[WITHOUT][0], WITHOUT)
    _draw_scores(axes["g"], data)
    _draw_widths(axes["h"], data)
    _draw_scales(axes["i"], data)
    for key in ("a", "b", "c1", "d", "e", "f1", "g", "h", "i"):
        axes[key].set_title(key[0], loc="left", fontweight="bold", fontsize=9)
    return canvas


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)


def _draw_input(picture: Axes, curve: Axes) -> None:
    along = torch.arange(BINS, dtype=torch.float64) - BINS // 2
    place = torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)
    field = difference_of_gaussians_place_cells(place, torch.zeros(1, 2, dtype=torch.float64), SIGMA_BINS)[..., 0]
    picture.imshow(field.numpy(), origin="lower", cmap="RdBu_r", vmin=-1, vmax=1)
    picture.plot((12, 32), (8, 8), color="black", lw=1.5)
    picture.text(22, 11, "20 bins", ha="center", va="bottom")
    picture.set_title("place input $r$")
    _bare(picture)
    k = np.linspace(0, 4, 400)
    for surround, style in ((2.0, "-"), (4.0, ":")):
        curve.plot(k, _transform(k, surround), color=BLUE, ls=style, lw=1, label=f"{surround:g} σ$_1$")
    allowed = 2 * math.pi / BINS * SIGMA_BINS * np.arange(BINS // 2 + 1)
    curve.plot(allowed[allowed < 4], place_input(BINS, SIGMA_BINS)[0].numpy()[allowed < 4], ".", color=BLUE, ms=4)
    curve.axvline(PEAK_WAVENUMBER, color=ORANGE, ls="--", lw=0.8)
    curve.text(PEAK_WAVENUMBER + 0.08, 0.03, "$k^*$", color=ORANGE)
    curve.set(xlabel="$k\\,σ_1$", ylabel="$\\hat{r}(k)$", xlim=(0, 4), ylim=(0, None))
    curve.legend(frameon=False, loc="upper right", title="surround")


def _draw_power(ax: Axes, x: np.ndarray, title: str) -> None:
    n, shown = len(x), 5
    power = np.abs(np.fft.fftshift(np.fft.fft2(x - x.mean()))) ** 2
    share = (power / power.sum())[n // 2 - shown : n // 2 + shown + 1, n // 2 - shown : n // 2 + shown + 1]
    edge = 2 * math.pi / n * SIGMA_BINS * (shown + 0.5)
    ax.imshow(share, origin="lower", extent=(-edge, edge, -edge, edge), cmap="Greys", vmin=0, vmax=share.max())
    angle = np.linspace(0, 2 * math.pi, 200)
    ax.plot(PEAK_WAVENUMBER * np.cos(angle), PEAK_WAVENUMBER * np.sin(angle), color=ORANGE, lw=0.8)
    ax.text(0.03, 0.03, f"black: {share.max():.0%} of power", transform=ax.transAxes, fontsize=7)
    ax.set(title=title, xlabel="$k_x σ_1$", ylabel="$k_y σ_1$", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    ax.spines[:].set_visible(True)


def _draw_scores(ax: Axes, data: Data) -> None:
    spread = np.random.default_rng(0)
    for x, (name, colour) in enumerate(((WITH, BLUE), (WITHOUT, ORANGE))):
        score = _rows(data, name, "grid_score").to_numpy()
        ax.plot(x + spread.uniform(-0.18, 0.18, len(score)), score, "o", color=colour, ms=2.5, alpha=0.7, mew=0)
        ax.plot((x - 0.28, x + 0.28), [np.median(score)] * 2, color="black", lw=1.2)
    ax.axhline(0, color=GREY, lw=0.5)
    ax.set(xticks=(0, 1), xticklabels=("non-\nnegative", "uncon-\nstrained"), ylabel="grid score", xlim=(-0.5, 1.5))


def _draw_widths(ax: Axes, data: Data) -> None:
    width = data.table[data.table["set"] == "width"]
    sigma = np.array([0, 11])
    ax.plot(sigma, SPACING * sigma, color=GREY, lw=0.8, label=f"{SPACING:.2f} σ$_1$")
    first = data.table[(data.table["set"] == WITH) & (data.table["component"] == 1)]
    both = pd.concat((width, first))
    for triangular, face, label in ((True, BLUE, "three waves"), (False, "none", "other lattices")):
        some = both[(both["waves"] == 3) == triangular]
        ax.plot(some["sigma_bins"], some["spacing_bins"], "o", mfc=face, mec=BLUE, mew=0.7, ms=3.5, label=label)
    ax.set(xlabel="σ$_1$ (bins)", ylabel="lattice spacing (bins)", xlim=(2, 11), ylim=(0, 90))
    ax.legend(frameon=False, loc="lower right")


def _draw_scales(ax: Axes, data: Data) -> None:
    deflated = data.table[data.table["set"] == "deflated"].dropna(subset="neighbour_bins")
    distance = deflated["neighbour_bins"].to_numpy()
    for scale, colour in zip(two_scales(distance), (BLUE, ORANGE), strict=True):
        ax.axhline(scale, color=colour, lw=0.8)
        ax.text(25.2, scale, f"{scale:.1f}", color=colour, va="center")
    shift = (deflated["network"] - 1.5) * 0.15
    ax.plot(deflated["component"] + shift, distance, "o", color="black", ms=2.5, mew=0, alpha=0.6)
    ax.set(xlabel="component, in order of deflation", ylabel="neighbour distance (bins)", xlim=(0, 25), ylim=(20, 80))
    ax.set_yscale("log")
    ax.set_yticks((20, 30, 40, 50, 60, 80), labels=("20", "30", "40", "50", "60", "80"))
    ax.minorticks_off()
