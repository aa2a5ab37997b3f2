"""Do networks trained on place cells have grids?  With a surround and without (Sorscher et al. 2019; Schaeffer et al.
2022)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import RateMapAccumulator, null_grid_scores, plots, scores_and_lattices
from entorhinal.benchmarks.records import checkpoint
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.map_run import active_units
from entorhinal.benchmarks.tasks.task import choose_units
from entorhinal.families import Arena, World, load
from entorhinal.families.model import Decoder
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within

MODEL = "supervised/sorscher-v1"
DOG, GAUSSIAN = "difference of softmaxes", "Gaussian"
NETWORKS = {DOG: "sorscher", GAUSSIAN: "sorscher_gaussian"}
BINS, SMOOTHING_M, UNITS, NULL_MAPS, SHOWN = 50, 0.03, 256, 100, 6
MORE_NULL_MAPS = 900  # of units whose score is in the top tenth of the first
WALKS, TRIALS = 20, 1000

FIGURE = Figure(
    id="sorscher_maps",
    title="Networks trained on place cells",
    caption=(
        f"Maps on {WALKS * TRIALS:,} unseen walks of the length and kind of the training walks (20 steps, random "
        "starts, 2.2 m box). (a) Units from best to worst of the network trained on place cells with a surround, grid "
        "score above each; below, the same for Gaussian place cells. (b) Grid scores of the active units and, "
        "outlined, of one noise map of each unit's radially averaged spectrum. (c) Spacing of the grid units and "
        "(dashed) the period of the ring in the targets' spectrum. (d) Error of the decoded position along the walk."
    ),
    models=(MODEL,),
)


def _units(data: Data, target: str) -> pd.DataFrame:
    rows = data.table[(data.table["target"] == target) & (data.table["kind"] == "unit")]
    if rows.empty:
        raise LookupError(target)
    return rows


def _grids(data: Data, target: str) -> pd.DataFrame:
    rows = _units(data, target)
    return rows[rows["score"] > rows["threshold"]]


def _grid_fraction(data: Data, target: str) -> float:
    return len(_grids(data, target)) / len(_units(data, target))


def _exceeding(data: Data) -> float:
    rows = _units(data, DOG)
    return float((rows["score"] > rows["percentile_99"]).mean())


def _spread(data: Data) -> float:
    spacing_m = _grids(data, DOG)["spacing_m"].dropna()
    if len(spacing_m) < 5:
        raise LookupError("fewer than five grid units")
    low, middle, high = np.quantile(spacing_m, (0.25, 0.5, 0.75))
    return float((high - low) / middle)


def _spacing(data: Data) -> float:
    spacing_m = _grids(data, DOG)["spacing_m"].dropna()
    if len(spacing_m) < 5:
        raise LookupError("fewer than five grid units")
    return float(spacing_m.median())


def _error(data: Data, target: str) -> float:
    rows = data.table[(data.table["target"] == target) & (data.table["kind"] == "error")]
    if rows.empty:
        raise LookupError(target)
    return float(rows["error_m"].iloc[-1])


def _swap(target: str, other: str) -> Callable[[Data], Data]:
    def control(data: Data) -> Data:
        rest = data.table[~data.table["target"].isin((target, other))]
        return Data(pd.concat((rest, data.table[data.table["target"] == other].assign(target=target))), data.arrays)

    return control


def _changed(column: str, change: Callable[[pd.Series], pd.Series]) -> Callable[[Data], Data]:
    return lambda data: Data(data.table.assign(**{column: change(data.table[column])}), data.arrays)


def ring_spacing_m(width_m: float, variance_ratio: float) -> float:
    """Field spacing of hexagons on the ring where G(σ²) − G(sσ²) has most power: k*²σ² = 2 ln s / (s − 1)."""
    k = math.sqrt(2 * math.log(variance_ratio) / (variance_ratio - 1)) / width_m
    return 4 * math.pi / (math.sqrt(3) * k)


claims = (
    Claim(
        id="sorscher_grid_units",
        statement="Trained on place cells with a surround, at least one unit in ten is a grid: above all 100 noise "
        "maps of its own spectrum",
        paper="hexagonal grids (shown)",
        citation="Sorscher et al. 2019",
        statistic=lambda data: _grid_fraction(data, DOG),
        control=_swap(DOG, "noise"),
        low=0.1,
    ),
    Claim(
        id="sorscher_99th_percentile",
        statement=f"At least one unit in ten exceeds the 99th percentile of its noise, estimated from "
        f"{NULL_MAPS + MORE_NULL_MAPS:,} maps",
        paper="hexagonal grids (shown)",
        citation="Sorscher et al. 2019",
        statistic=_exceeding,
        control=_swap(DOG, "noise"),
        low=0.1,
    ),
    Claim(
        id="gaussian_targets_no_grids",
        statement="Trained on Gaussian place cells, units are no grids: at most 5 % above all their noise maps (1 % by "
        "chance)",
        paper="grids only for special targets",
        citation="Schaeffer et al. 2022",
        statistic=lambda data: _grid_fraction(data, GAUSSIAN),
        control=_changed("threshold", lambda threshold: threshold - 3),
        high=0.05,
    ),
    Claim(
        id="sorscher_one_period",
        statement="There is one period only: the quartiles of the grid units' spacing are at most 15 % of it apart",
        paper="a single grid module",
        citation="Schaeffer et al. 2022",
        statistic=_spread,
        control=_changed("spacing_m", lambda spacing: spacing * np.where(np.arange(len(spacing)) % 2, 1.0, 1.42)),
        high=0.15,
    ),
    Claim(
        id="sorscher_spacing_of_the_ring",
        statement="The spacing is that of the ring of the targets' spectrum, 4π/(√3 k*) with k*²σ² = 2 ln 2: "
        f"{ring_spacing_m(0.12, 2):.2f} m",
        paper=f"{ring_spacing_m(0.12, 2):.2f} m",
        citation="Sorscher et al. 2019",
        statistic=_spacing,
        control=_changed("spacing_m", lambda spacing: spacing * 1.42),
        **within(ring_spacing_m(0.12, 2)),
    ),
    Claim(
        id="gaussian_targets_integrate",
        statement="Gaussian targets teach path integration without grids: the median error at the end of unseen walks "
        "is below the width of a place field, 12 cm",
        paper="path integration does not need grids",
        citation="Schaeffer et al. 2022",
        statistic=lambda data: _error(data, GAUSSIAN),
        control=_changed("error_m", lambda error: error + 0.12),
        high=0.12,
    ),
)


def _percentile_99(
    maps: torch.Tensor, scores: torch.Tensor, null: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Of each unit's noise scores ``null (N, maps)``, and of more maps where its score is in their highest tenth."""
    found = null.quantile(0.99, dim=1)
    high = scores > null.quantile(0.9, dim=1)
    if high.any():
        more = null_grid_scores(maps[high], MORE_NULL_MAPS, generator=generator).nan_to_num(-torch.inf)
        found[high] = torch.cat((null[high], more), 1).quantile(0.99, dim=1)
    return found


def compute(progress: Progress) -> Data:
    """Score the two shipped networks on unseen walks."""
    tables, arrays = [], {}
    for i, (target, name) in enumerate(NETWORKS.items()):
        model = load(checkpoint(name))
        assert isinstance(model, Decoder)
        world = World(Arena.square(2.2))
        accumulator = RateMapAccumulator(world.arena.extent_m, BINS, SMOOTHING_M)
        units: torch.Tensor | None = None
        errors = []
        for k in range(WALKS):
            walk = world.walk(TRIALS, 20, seed=derive(k, "sorscher_maps"))
            with torch.inference_mode():
                found = model.represent(walk)
                errors.append((model.decode(found) - walk.position_m).norm(dim=-1))
            units = choose_units(found.rates.shape[-1], UNITS, 0) if units is None else units
            accumulator.add(found.rates[..., units], walk.position_m)
            progress(i * (WALKS + 10) + k, 2 * (WALKS + 10))
        maps = accumulator.result()
        active = maps.values[active_units(maps.values)]
        scores, lattices = scores_and_lattices(active, maps.bin_m)
        generator = torch.Generator().manual_seed(derive(0, "sorscher_maps", "null"))
        null = null_grid_scores(active, NULL_MAPS, generator=generator).nan_to_num(-torch.inf)
        rows = {"score": scores, "threshold": null.amax(1), "null_score": null[:, 0], "spacing_m": lattices.spacing_m}
        rows["percentile_99"] = _percentile_99(active, scores, null, generator)
        table = pd.DataFrame({column: values.numpy() for column, values in rows.items()})
        tables.append(table.assign(target=target, kind="unit"))
        if target == DOG:  # noise in the place of units: what the first claim must refuse
            tables.append(table.assign(target="noise", kind="unit", score=table["null_score"]))
        error_m = torch.cat(errors).median(0).values.numpy()
        tables.append(pd.DataFrame({"step": range(1, 21), "error_m": error_m}).assign(target=target, kind="error"))
        best = scores.nan_to_num(-torch.inf).argsort(descending=True)
        shown = best[torch.linspace(0, int(scores.isfinite().sum()) - 1, SHOWN).long()]
        arrays[f"maps {target}"] = active[shown].float().numpy()
        arrays[f"scores {target}"] = scores[shown].numpy()
    progress(1, 1)
    return Data(pd.concat(tables, ignore_index=True), arrays)


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 120 / 25.4), layout="constrained")
    parts: Any = canvas.subfigures(2, 1, height_ratios=(1.5, 1))
    top, bottom = parts
    for target, label, line in zip(NETWORKS, ("surround", "Gaussian"), top.subplots(2, SHOWN), strict=True):
        scores = data.arrays[f"scores {target}"]
        for ax, map_, score in zip(line, data.arrays[f"maps {target}"], scores, strict=True):
            plots.rate_map(ax, map_, bin_m=2.2 / BINS, scale_bar=False)
            ax.set_title(f"{score:.2f}", fontsize=7, pad=2)
        line[0].set_ylabel(f"{label}, 2.2 m")
    top.suptitle("a", x=0.01, ha="left", fontweight="bold")
    axes = bottom.subplots(1, 3)
    for ax, letter in zip(axes, "bcd", strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    ax = axes[0]
    edges = np.linspace(-1.5, 2, 36).tolist()
    for target, colour in ((DOG, plots.BLUE), (GAUSSIAN, plots.ORANGE)):
        rows = _units(data, target)
        ax.hist(rows["score"], edges, density=True, color=colour, alpha=0.6, label=target)
        ax.hist(rows["null_score"], edges, density=True, histtype="step", color=colour, linewidth=0.6)
    ax.set(xlabel="grid score", ylabel="density")
    ax.legend(fontsize=5, loc="upper right")
    ax = axes[1]
    ax.hist(_grids(data, DOG)["spacing_m"].dropna(), np.linspace(0.2, 1.6, 43).tolist(), color=plots.BLUE)
    ax.axvline(ring_spacing_m(0.12, 2), color="black", linestyle="--", linewidth=0.8, label="ring of the targets")
    ax.set(xlabel="spacing of grid units (m)", ylabel="units")
    ax.legend(fontsize=5)
    ax = axes[2]
    for target, colour in ((DOG, plots.BLUE), (GAUSSIAN, plots.ORANGE)):
        rows = data.table[(data.table["target"] == target) & (data.table["kind"] == "error")]
        ax.plot(rows["step"], rows["error_m"], color=colour, label=target)
    ax.axhline(0.12, color="black", linestyle="--", linewidth=0.6)
    ax.set(xlabel="step of the walk", ylabel="median error (m)", ylim=(0, None))
    return canvas
