"""Which maps do networks trained on places have?  Cueva & Wei 2018, Banino et al. 2018, Sorscher et al. 2019."""

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import (
    RateMapAccumulator,
    above_null,
    band_repeats,
    band_scores,
    grid_scores,
    plots,
    scores_and_lattices,
)
from entorhinal.benchmarks.records import checkpoint
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.ssl_measures import BAND, REPEAT, kept_maps
from entorhinal.benchmarks.tasks.map_run import active_units
from entorhinal.benchmarks.tasks.task import choose_units
from entorhinal.families import Arena, World, load
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within
from entorhinal.paper_figures.ssl_networks import networks, strip
from entorhinal.paper_figures.supervised_networks import (
    BANINO,
    BANINO_FULL,
    BF16,
    CHANCE,
    CONDITIONS,
    CUEVA_WEI,
    CUEVA_WEI_FULL,
    FLOAT32,
    FULL,
    GAUSSIAN,
    MEASURES,
    NAYEBI_FULL,
    NO_COST,
    NO_DROPOUT,
    NO_DROPOUT_FULL,
    NO_NOISE,
    NO_NOISE_NO_COST,
    SORSCHER,
    TF32,
    farthest_ratio,
    measured_of,
    median_or_missing,
    ratio_to_most,
    shipped,
    together,
    with_value,
)

BINS, SMOOTHING_M, UNITS, NULL_MAPS, SHOWN = 44, 0.03, 256, 100, 6
WALKS, TRIALS = 10, 1000
LEAST, ALIKE = 0.05, 1.5

FIGURE = Figure(
    id="supervised_maps",
    title="Maps of networks trained on places",
    caption=(
        f"Maps on {WALKS * TRIALS:,} unseen walks of each network's training length in the 2.2 m box. (a) Units of one "
        "network each, the best by grid score first, the score above each; of networks without a shipped checkpoint, "
        "the maps that were kept. (b) Share of active units that score above all of 100 noise maps of their own "
        "radially averaged spectrum, a strict 99th percentile: a dot a network, bars medians. (c) Highest grid score "
        "of a network. (d) Share of units of the shipped networks that are no grids and have bands that come again. "
        "In a square box the grids of Cueva & Wei were square, which this score counts against. Of Sorscher, float32, "
        "tf32 and bf16 have 512 units and differ in how products are rounded; 4,096 units without tf32 are in bf16. "
        "T 500 and rate 1e-5: the papers' walks and schedule; the others have shorter walks and learn faster."
    ),
    models=("supervised/sorscher-v1", "supervised/cueva_wei-v1", "supervised/banino-v1", "supervised/nayebi-v1"),
)


def _share(
    id: str, condition: str, statement: str, paper: str, citation: str, *, control: float, **bounds: float
) -> Claim:
    """A claim on the share of grid units, the median of a condition's networks."""
    return Claim(
        id=id,
        statement=statement,
        paper=paper,
        citation=citation,
        statistic=lambda data: median_or_missing(data, condition, "grid_fraction"),
        control=with_value(condition, "grid_fraction", control),
        **bounds,
    )


def _grids(id: str, condition: str, statement: str, paper: str, citation: str, low: float) -> Claim:
    """At least ``low`` of the units are grids, not by chance."""
    return _share(id, condition, statement, paper, citation, control=CHANCE, low=low)


def _at_full_size(model: str, condition: str, paper: str, citation: str) -> Claim:
    statement = (
        "At the paper's size, 4,096 units trained for 100,000 steps, at least one unit in ten of "
        f"supervised/{model} is a grid: above all of 100 noise maps, median of three seeds"
    )
    return _grids(f"{model}_full_grid_units", condition, statement, paper, citation, 0.1)


def _quarter(id: str, condition: str, statement: str) -> Claim:
    paper = "129 of 512 linear units, 25.2 % (reported, unverified)"
    return _share(id, condition, statement, paper, "Banino et al. 2018", control=CHANCE, **within(129 / 512))


def _none_without_dropout(id: str, condition: str, statement: str) -> Claim:
    paper = "no grids without dropout"
    return _share(id, condition, statement, paper, "Banino et al. 2018", control=129 / 512, high=LEAST)


claims = (
    _grids(
        "sorscher_seeds_grid_units",
        SORSCHER,
        "Trained on place cells with a surround, 512 units, at least one unit in ten is a grid: above all of "
        "100 noise maps, median of ten seeds of the setting of the shipped network",
        "hexagonal grids (shown)",
        "Sorscher et al. 2019",
        0.1,
    ),
    _share(
        "gaussian_seeds_no_grids",
        GAUSSIAN,
        "Trained on Gaussian place cells, units are no grids: at most 5 %, median of ten seeds of the "
        "setting of the shipped network",
        "grids only for special targets",
        "Schaeffer et al. 2022",
        control=0.1,
        high=LEAST,
    ),
    _grids(
        "cueva_wei_grid_units",
        CUEVA_WEI,
        f"Trained with noise and a cost of activity, at least {LEAST:.0%} of units are grids ({CHANCE:.0%} "
        "by chance): above all of 100 noise maps, median of ten seeds",
        "grid-like units emerge (shown), square ones in a square box",
        "Cueva & Wei 2018",
        LEAST,
    ),
    Claim(
        id="cueva_wei_band_units",
        statement=f"At least {LEAST:.0%} of the units of one network, of seed 0, are no grids and have bands that come "
        "again",
        paper="band-like units emerge (shown)",
        citation="Cueva & Wei 2018",
        statistic=lambda data: median_or_missing(data, CUEVA_WEI, "band_fraction"),
        control=with_value(CUEVA_WEI, "band_fraction", 0.0),
        low=LEAST,
    ),
    Claim(
        id="cueva_wei_needs_noise_and_cost",
        statement="Noise and the cost of activity are needed: with both there are at least twice as many grid units as "
        "without one of them or both",
        paper="grids only with noise and cost of activity",
        citation="Cueva & Wei 2018",
        statistic=lambda data: ratio_to_most(data, CUEVA_WEI, (NO_NOISE, NO_COST, NO_NOISE_NO_COST), "grid_fraction"),
        control=with_value(CUEVA_WEI, "grid_fraction", CHANCE),
        low=2.0,
    ),
    _quarter(
        "banino_grid_share",
        BANINO,
        "With dropout a quarter of the linear units are grids: 25.2 %, within 10 % of it, median of ten "
        "seeds. Here above all of 100 noise maps with dropout off; in the paper above shuffled maps with dropout on",
    ),
    _grids(
        "banino_grid_units",
        BANINO,
        f"With dropout at least {LEAST:.0%} of the linear units are grids",
        "grid-like units emerge (shown)",
        "Banino et al. 2018",
        LEAST,
    ),
    _none_without_dropout(
        "banino_no_dropout_no_grids", NO_DROPOUT, f"Without dropout there are none: less than {LEAST:.0%}"
    ),
    _grids(
        "cueva_wei_full_grid_units",
        CUEVA_WEI_FULL,
        "On the paper's walks of 500 steps, told speed and angle, trained with noise and a cost of activity for 50,000 "
        f"steps, at least {LEAST:.0%} of units are grids: above all of 100 noise maps, median of ten seeds",
        "grid-like units emerge (shown), square ones in a square box",
        "Cueva & Wei 2018",
        LEAST,
    ),
    _quarter(
        "banino_full_grid_share",
        BANINO_FULL,
        "By the paper's schedule (batches of 10, rate 1e-5, gradients clipped at 1e-5, 300,000 steps or as "
        "far as 24 minutes reach) a quarter of the linear units are grids: 25.2 %, within 10 % of it, median of three "
        "seeds",
    ),
    _none_without_dropout(
        "banino_full_no_dropout_no_grids",
        NO_DROPOUT_FULL,
        f"By the paper's schedule, but without dropout, there are none: less than {LEAST:.0%}",
    ),
    _at_full_size("sorscher", FULL, "hexagonal grids (shown)", "Sorscher et al. 2019"),
    _at_full_size("nayebi", NAYEBI_FULL, "grid-like units (shown)", "Nayebi et al. 2021"),
    Claim(
        id="sorscher_precision",
        statement="Rounding products to tf32 or bf16 changes little: the share of grid units of supervised/sorscher "
        f"(512 units) is within a factor of {ALIKE} of that in float32, medians of ten seeds",
        paper="–",
        citation="Sorscher et al. 2019",
        statistic=lambda data: farthest_ratio(data, (TF32, BF16), FLOAT32, "grid_fraction"),
        control=with_value(BF16, "grid_fraction", CHANCE),
        low=1 / ALIKE,
        high=ALIKE,
    ),
)


def _maps_of(name: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Of a shipped network: the best maps, their scores, and the share of band units in the active ones."""
    model = load(checkpoint(name))
    world = World(Arena.square(model.config.side_m))
    accumulator = RateMapAccumulator(world.arena.extent_m, BINS, SMOOTHING_M)
    units: torch.Tensor | None = None
    for k in range(WALKS):
        walk = world.walk(TRIALS, model.config.steps_per_trajectory, seed=derive(k, "supervised_maps"))
        with torch.inference_mode():
            rates = model.represent(walk).rates
        units = choose_units(rates.shape[-1], UNITS, 0) if units is None else units
        accumulator.add(rates[..., units], walk.position_m)
    maps = accumulator.result()
    active = maps.values[active_units(maps.values)]
    scores, _ = scores_and_lattices(active, maps.bin_m)
    generator = torch.Generator().manual_seed(derive(0, "supervised_maps", "null"))
    _, is_grid = above_null(active, scores, NULL_MAPS, generator=generator)
    is_band = (band_scores(active) > BAND) & (band_repeats(active) > REPEAT) & ~is_grid
    best = scores.nan_to_num(-torch.inf).argsort(descending=True)[:SHOWN]
    return active[best], scores[best], float(is_band.double().mean())


def compute(progress: Progress) -> Data:
    """Read what the sweeps measured, and map the shipped networks."""
    rows, arrays, there = [], {}, shipped()
    for k, (condition, name) in enumerate(there.items()):
        maps, scores, band_fraction = _maps_of(name)
        arrays[f"maps {condition}"], arrays[f"scores {condition}"] = maps.float().numpy(), scores.numpy()
        rows.append({"condition": condition, "network": name, "band_fraction": band_fraction})
        progress(k + 1, len(there) + 1)
    measures = networks(CONDITIONS, MEASURES)
    kept = {c.name: measures.arrays[c.name] for c in CONDITIONS if c.name in measures.arrays}
    if found := kept_maps("no_free_lunch"):
        kept["Schaeffer"] = np.stack([of_network[0].float().numpy() for of_network in found.values()])
    for condition, bins in kept.items():
        if condition not in there:
            found_scores = grid_scores(bins)
            best = found_scores.nan_to_num(-torch.inf).argsort(descending=True)[:SHOWN].numpy()
            arrays[f"maps {condition}"], arrays[f"scores {condition}"] = bins[best], found_scores.numpy()[best]
    progress(1, 1)
    return Data(together((measures.table, pd.DataFrame(rows)), ("condition", "band_fraction", *MEASURES)), arrays)


def _lines(maps: dict[str, int]) -> list[list[str]]:
    """Which networks share a line, from how many maps each has: those of a few maps, three to a line."""
    few = [name for name, count in maps.items() if count <= SHOWN // 3]
    return [[name] for name in maps if name not in few] + [few[k : k + 3] for k in range(0, len(few), 3)]


def draw(data: Data) -> Canvas:
    lines = _lines(
        {name.removeprefix("maps "): len(maps) for name, maps in data.arrays.items() if name.startswith("maps ")}
    )
    height = 30 * max(len(lines), 1)
    canvas = plt.figure(figsize=(180 / 25.4, (65 + height) / 25.4), layout="constrained")
    parts: Any = canvas.subfigures(2, 1, height_ratios=(height, 65))
    top, bottom = parts
    grid = top.subplots(max(len(lines), 1), SHOWN, squeeze=False)
    for ax in grid.ravel():
        ax.set_axis_off()
    for axes, names in zip(grid, lines, strict=False):
        for first, name in zip(range(0, SHOWN, SHOWN // 3), names, strict=False):
            maps, scores = data.arrays[f"maps {name}"], data.arrays[f"scores {name}"]
            for ax, map_, score in zip(axes[first:], maps, scores, strict=False):
                ax.set_axis_on()
                plots.rate_map(ax, map_, bin_m=2.2 / BINS, scale_bar=False)
                ax.set_title("no score" if np.isnan(score) else f"{score:.2f}", fontsize=7, pad=2)
            axes[first].set_ylabel(fill(name, 18), fontsize=6)
    top.suptitle("a", x=0.01, ha="left", fontweight="bold")
    axes = bottom.subplots(1, 3, width_ratios=(4, 4, 1.5))
    for ax, letter in zip(axes, "bcd", strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    conditions = measured_of(data, "grid_fraction")
    strip(axes[0], data, conditions, "grid_fraction", "grid units")
    axes[0].axhline(CHANCE, color="black", linestyle="--", linewidth=0.6)
    strip(axes[1], data, conditions, "score_best", "highest grid score")
    mapped = data.table.dropna(subset="band_fraction")["condition"].unique()
    strip(axes[2], data, list(mapped), "band_fraction", "band units")
    return canvas
