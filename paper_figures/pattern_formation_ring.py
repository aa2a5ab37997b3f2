"""The ring in the spectrum of place-cell targets sets the scale of what learns them (Sorscher et al. 2019, 2023)."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import RateMapAccumulator, grid_scores, plots
from entorhinal.benchmarks.records import checkpoint
from entorhinal.benchmarks.tasks.map_run import active_units
from entorhinal.families import Arena, World, load
from entorhinal.families.function_optimization.pattern_formation import (
    PatternFormationConfig,
    peak_wavenumber,
    solve,
    spectrum,
)
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, panel_rows, within
from entorhinal.paper_figures.schaeffer_networks import accurate, networks

MODEL, CITATION = "function_optimization/pattern_formation-v1", "Sorscher et al. 2023"
UNITS, BINS, ITERATIONS, WALKS = 32, 80, 1000, 4000
NONE, CUBIC, NONNEGATIVE, GAUSSIAN = "unconstrained", "quadratic drive", "non-negative", "non-negative, Gaussian"
SETS: dict[str, dict[str, str]] = {
    NONE: {"constraint": "none"},
    CUBIC: {"constraint": "cubic"},
    NONNEGATIVE: {},
    GAUSSIAN: {"target": "gaussian"},
}
WIDTHS_M = (0.1, 0.15, 0.2)
NETWORKS = {"network, surround": "sorscher", "network, Gaussian": "sorscher_gaussian"}
SURROUND, PLAIN = NETWORKS
SWEEP = {
    ("dos", 1.0): "DoS",
    ("dog", 0.5): "DoG, equal volumes",
    ("dog", 1.0): "DoG, equal peaks",
    ("gaussian", 1.0): "Gaussian",
    ("cartesian", 1.0): "Cartesian",
}
"""Targets of the sweep of supervised/schaeffer, by target and α."""
RING, NEAR, PADDING = 0.15, 0.2, 3
K_STAR = peak_wavenumber(PatternFormationConfig(place_width_m=1.0))
"""k* in 1/σ, of targets with a surround."""

FIGURE = Figure(
    id="pattern_formation_ring",
    title="Pattern formation on the spectrum of place-cell targets",
    caption=(
        "(a) Spectrum of the covariance of place cells (σ = 0.12 m) with a surround and without; dashed, k*. (b) Maps "
        "that noise becomes in a periodic 4.4 m box: without a constraint, with a saturating quadratic drive only, not "
        "negative, and not negative for Gaussian place cells; 32 units each. (c) Their grid scores, bars medians. (d) "
        "Wavenumber of the most power of each map, and of active units of two trained networks of supervised/sorscher "
        "(one each; targets with a surround, and Gaussian), over k* of the targets with a surround. (e) The same of "
        "126 small networks of supervised/schaeffer, 42 settings with three seeds each, on differences of softmaxes "
        "(DoS) or Gaussians (DoG), Gaussians and Cartesian coordinates: wavenumber of the largest peak of the mean "
        "spectrum of a network's active units, over k* of targets with a surround of the same σ (of 0.12 m for "
        "Cartesian ones). A point is a network that decodes to 10 cm (how many of those trained, in brackets; all "
        "widths, non-linearities and cells), at 0 and open if the spectrum of its maps has no ring; bars, medians of "
        "the others; crosses, the targets by the same measure, where they have a ring. Band, 20 % around k*."
    ),
    models=(MODEL, "supervised/sorscher-v1", "supervised/schaeffer-v1"),
)


def compute(progress: Progress) -> Data:
    """About 40 s on one free core. table: a row a map, or a network of the sweep; arrays: maps by set."""
    runs = [(name, PatternFormationConfig(**_small(), **values)) for name, values in SETS.items()]
    runs += [("width", PatternFormationConfig(**_small(), place_width_m=width)) for width in WIDTHS_M]
    rows, arrays = [], {}
    for done, (name, config) in enumerate(runs):
        progress(done, len(runs) + len(NETWORKS))
        maps = solve(config)
        tiled = torch.nn.functional.avg_pool2d(maps.tile(1, 2, 2)[:, None], 2)[:, 0]  # of two boxes, as it goes on
        table = pd.DataFrame({"grid_score": grid_scores(tiled).numpy(), "wavenumber": _peaks(maps, config.side_m)})
        table["ring_share"] = _ring_share(maps, config.side_m, K_STAR / config.place_width_m)
        rows.append(table.assign(panel="maps", set=name, width_m=config.place_width_m))
        if name != "width":
            arrays[name] = maps[:4].numpy()
    for done, (name, file) in enumerate(NETWORKS.items()):
        progress(len(runs) + done, len(runs) + len(NETWORKS))
        maps, width_m, side_m = _network(file)
        table = pd.DataFrame({"wavenumber": _peaks(_windowed(maps), PADDING * side_m)})
        rows.append(table.assign(panel="maps", set=name, width_m=width_m))
        arrays[name] = maps[:4].numpy()
    progress(len(runs) + len(NETWORKS), len(runs) + len(NETWORKS))
    whole = pd.concat([*rows, _sweep()], ignore_index=True)
    unit = whole["width_m"] / K_STAR
    ratios = {"ratio": whole["wavenumber"] * unit, "target_ratio": whole["target_wavenumber"] * unit}
    return Data(whole.assign(**ratios), arrays)


def _small() -> dict[str, int]:
    return {"units": UNITS, "bins": BINS, "iterations": ITERATIONS}


def _network(file: str) -> tuple[torch.Tensor, float, float]:
    """Maps of a trained network's active units on walks like its own, σ and the side of its box."""
    model = load(checkpoint(file))
    side_m = model.config.side_m
    walk = World(Arena.square(side_m)).walk(WALKS, model.config.steps_per_trajectory, seed=77)
    accumulator = RateMapAccumulator(walk.arena.extent_m, 50, 0.03)
    with torch.inference_mode():
        for part in range(0, WALKS, 500):
            some = walk.select(slice(part, part + 500))
            accumulator.add(model.represent(some).rates, some.position_m)
    maps = accumulator.result().values
    return maps[active_units(maps)].double().nan_to_num(0), model.config.place_width_m, side_m


def _sweep() -> pd.DataFrame:
    """The ring of every network's maps; whether its targets have one, by formula, and whether it learned them."""
    table = networks().table
    return pd.DataFrame(
        {
            "panel": "sweep",
            "set": [SWEEP[kind] for kind in zip(table["target"], table["surround_amplitude"], strict=True)],
            "targets": table["predicted_ring_m"].notna().map({True: "ring", False: "no ring"}),
            "width_m": table["place_width_m"],
            "wavenumber": _wavenumber(table["ring_m"]),
            "target_wavenumber": _wavenumber(table["target_ring_m"]),
            "seed": table["seed"],
            "decodes": accurate(table),
        }
    )


def _wavenumber(spacing_m: pd.Series) -> pd.Series:
    """Of the waves of hexagons."""
    return 4 * math.pi / math.sqrt(3) / spacing_m


def _windowed(maps: torch.Tensor) -> torch.Tensor:
    """Maps of a box that does not go on, faded out towards its walls and set in one of three times its side."""
    hann = torch.hann_window(maps.shape[-1], periodic=False, dtype=maps.dtype)
    faded = (maps - maps.mean((1, 2), keepdim=True)) * hann[:, None] * hann
    return torch.nn.functional.pad(faded, (0, (PADDING - 1) * maps.shape[-1]) * 2)


def _power(maps: torch.Tensor, side_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Power ``(units, modes)`` and |k| ``(modes,)`` in rad/m, without k = 0."""
    bins = maps.shape[-1]
    power = torch.fft.fft2(maps - maps.mean((1, 2), keepdim=True)).abs().square().flatten(1).numpy()
    wave = 2 * math.pi * np.fft.fftfreq(bins, side_m / bins)
    length = np.hypot(wave[:, None], wave).ravel()
    return power[:, length > 0], length[length > 0]


def _peaks(maps: torch.Tensor, side_m: float) -> np.ndarray:
    """Wavenumber of the ring, as wide as one wave of the box, that has the most power."""
    power, length = _power(maps, side_m)
    ring = np.rint(length * side_m / (2 * math.pi)).astype(int)
    total = np.stack([np.bincount(ring, unit) for unit in power])
    best = total[:, 1:].argmax(1) + 1
    return 2 * math.pi * best / side_m


def _ring_share(maps: torch.Tensor, side_m: float, peak: float) -> np.ndarray:
    """Share of a map's power within 15 % of a wavenumber."""
    power, length = _power(maps, side_m)
    near = np.abs(length / peak - 1) < RING
    return power[:, near].sum(1) / power.sum(1)


def _median(name: str, column: str) -> Callable[[Data], float]:
    return lambda data: float(panel_rows(data, "maps", set=name)[column].median())


def _slope(data: Data) -> float:
    """Slope of log wavenumber on log σ."""
    rows = panel_rows(data, "maps", set="width")
    return float(np.polyfit(np.log(rows["width_m"]), np.log(rows["wavenumber"]), 1)[0])


def _share(targets: str, meets: Callable[[pd.Series], pd.Series]) -> Callable[[Data], float]:
    """Share of networks that decode, by whether their targets have a ring, whose k over k* meets a condition."""
    return lambda data: float(meets(panel_rows(data, "sweep", decodes=True, targets=targets)["ratio"]).mean())


claims = (
    Claim(
        "pattern_ring",
        "Without a constraint 90 % of a map's power is within 15 % of the ring of the targets' spectrum",
        "on the ring",
        CITATION,
        _median(NONE, "ring_share"),
        exchanged("set", NONE, GAUSSIAN),
        low=0.9,
    ),
    Claim(
        "pattern_no_hexagons",
        "and maps are not hexagonal: their median grid score is at most 0",
        "not hexagonal",
        CITATION,
        _median(NONE, "grid_score"),
        exchanged("set", NONE, NONNEGATIVE),
        high=0.0,
    ),
    Claim(
        "pattern_cubic",
        "A term that couples three waves is enough for hexagons: the median grid score is 1 or more",
        "hexagonal",
        CITATION,
        _median(CUBIC, "grid_score"),
        exchanged("set", CUBIC, NONE),
        low=1.0,
    ),
    Claim(
        "pattern_nonnegative",
        "So is non-negativity: 1 or more",
        "hexagonal",
        CITATION,
        _median(NONNEGATIVE, "grid_score"),
        exchanged("set", NONNEGATIVE, NONE),
        low=1.0,
    ),
    Claim(
        "pattern_gaussian",
        "Targets without a surround have no ring: at most 10 % of a map's power is within 15 % of k*",
        "no pattern",
        CITATION,
        _median(GAUSSIAN, "ring_share"),
        exchanged("set", GAUSSIAN, NONNEGATIVE),
        high=0.1,
    ),
    Claim(
        "pattern_scale",
        "The scale is inverse to the width of place cells: the slope of log k on log σ, 0.1 to 0.2 m, is −1 (± 10 %)",
        "k* is inverse to σ",
        CITATION,
        _slope,
        lambda data: Data(data.table.assign(wavenumber=8.0), data.arrays),
        **within(-1),
    ),
    Claim(
        "pattern_network",
        "Units of a network trained on targets with a surround have most power at k* (median ratio, ± 10 %)",
        "the spectrum predicts the scale",
        CITATION,
        _median(SURROUND, "ratio"),
        exchanged("set", SURROUND, PLAIN),
        **within(1),
    ),
    Claim(
        "pattern_sweep_ring",
        "Of networks of all widths, non-linearities and cells that decode to 10 cm and whose targets have a ring, at "
        "least half have the ring of their maps within 20 % of k*",
        "the spectrum predicts the scale",
        CITATION,
        _share("ring", lambda ratio: (ratio - 1).abs() <= NEAR),
        exchanged("targets", "ring", "no ring"),
        low=0.5,
    ),
    Claim(
        "pattern_sweep_no_ring",
        "and of those whose targets have none (Gaussian, Cartesian) at least half have none, either",
        "no pattern",
        CITATION,
        _share("no ring", pd.Series.isna),
        exchanged("targets", "ring", "no ring"),
        low=0.5,
    ),
)


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 180 / 25.4), layout="constrained")
    top, middle, bottom = canvas.subfigures(3, 1, height_ratios=(0.9, 1.6, 1.3))  # type: ignore[misc]
    curve = top.subplots()
    for target, colour in (("dog", plots.BLUE), ("gaussian", plots.ORANGE)):
        config = PatternFormationConfig(target=target, bins=BINS)
        k = 2 * math.pi / config.side_m * np.arange(BINS // 2 + 1)
        name = {"dog": "with a surround", "gaussian": "without"}[target]
        curve.plot(k, spectrum(config)[0].numpy(), ".-", color=colour, ms=3, lw=0.8, label=name)
    curve.axvline(peak_wavenumber(PatternFormationConfig()), color="black", ls="--", lw=0.8)
    curve.set(xlabel="k (rad/m)", ylabel="power", xlim=(0, 40))
    curve.legend(frameon=False)
    grid = middle.subplots(4, len(SETS) + len(NETWORKS))
    for column, name in enumerate((*SETS, *NETWORKS)):
        for ax, rates in zip(grid[:, column], data.arrays[name], strict=True):
            plots.rate_map(ax, rates, bin_m=1, scale_bar=False)
            ax.set(xticks=[], yticks=[])
        grid[0, column].set_title(name, fontsize=6)
    middle.suptitle("b", x=0.01, ha="left", fontweight="bold")
    scores, peaks, sweep = bottom.subplots(1, 3, width_ratios=(len(SETS), len(SETS) + len(NETWORKS), len(SWEEP)))
    _strip(scores, _by_set(data, tuple(SETS), "grid_score"), "grid score")
    _strip(peaks, _by_set(data, (*SETS, *NETWORKS), "ratio"), "k over k*")
    _draw_sweep(sweep, data.table[data.table["panel"] == "sweep"])
    for ax in (peaks, sweep):
        ax.axhline(1, color="black", lw=0.5)
    for ax, letter in ((curve, "a"), (scores, "c"), (peaks, "d"), (sweep, "e")):
        ax.set_title(letter, loc="left", fontweight="bold")
    return canvas


def _by_set(data: Data, sets: tuple[str, ...], column: str) -> dict[str, pd.Series]:
    found = {name: panel_rows(data, "maps", set=name)[column].dropna() for name in sets}
    return {f"{name} (n = {len(values)})": values for name, values in found.items()}


def _strip(ax: Axes, groups: dict[str, pd.Series], label: str) -> None:
    spread = np.random.default_rng(0)
    for x, values in enumerate(groups.values()):
        ax.scatter(x + spread.uniform(-0.2, 0.2, len(values)), values, s=4, color=plots.BLUE, linewidths=0, alpha=0.6)
        ax.hlines(values.median(), x - 0.35, x + 0.35, color=plots.ORANGE, linewidth=1.2)
    ax.set_xticks(range(len(groups)), list(groups), rotation=25, ha="right", rotation_mode="anchor", fontsize=5)
    ax.set(ylabel=label)


def _draw_sweep(ax: Axes, rows: pd.DataFrame) -> None:
    if rows.empty:
        ax.text(0.5, 0.5, "not run: benchmarks/sweeps says how", ha="center", transform=ax.transAxes)
        return
    learned = rows[rows["decodes"].astype(bool)]
    by_kind = {kind: learned[learned["set"] == kind] for kind in SWEEP.values()}
    trained = rows["set"].value_counts()
    names = [f"{kind} ({len(some)} of {trained[kind]})" for kind, some in by_kind.items()]
    _strip(ax, dict(zip(names, (some["ratio"] for some in by_kind.values()), strict=True)), "k over k*")
    for x, some in enumerate(by_kind.values()):
        none = int(some["ratio"].isna().sum())
        ax.scatter(np.linspace(x - 0.3, x + 0.3, none), [0] * none, s=6, facecolors="none", edgecolors=plots.BLUE)
        ax.scatter([x] * len(some), some["target_ratio"], s=10, color="black", marker="x", linewidths=0.6)
    ax.axhspan(1 - NEAR, 1 + NEAR, color="0.9", zorder=0)
    ax.set(xlim=(-0.6, len(SWEEP) - 0.4), ylim=(-0.1, None))
