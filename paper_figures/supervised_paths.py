"""How well do networks trained on places know where they are, in their arena and beyond it?  (Sorscher et al. 2019;
Banino et al. 2018; Cueva & Wei 2018.)"""

from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.benchmarks.records import checkpoint
from entorhinal.benchmarks.seeds import derive
from entorhinal.families import Arena, World, load
from entorhinal.families.model import Decoder
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress
from entorhinal.paper_figures.ssl_networks import networks, strip
from entorhinal.paper_figures.supervised_networks import (
    BANINO,
    BANINO_FULL,
    CONDITIONS,
    CUEVA_WEI,
    MEASURES,
    SORSCHER,
    measured_of,
    median_or_missing,
    shipped,
    together,
    with_value,
)

INSIDE, BEYOND = "in the arena", "beyond it"
STEPS, TRIALS, LEAST_TRIALS = 200, 1000, 20
BANINO_ERROR_M = 0.16

FIGURE = Figure(
    id="supervised_paths",
    title="Path integration of networks trained on places",
    caption=(
        f"Distance of the position decoded from where the animal is, median over {TRIALS:,} unseen walks, of one "
        f"shipped network each. (a) In the box of the training, along walks of {STEPS} steps (dots: the steps of the "
        "training). (b) In a box twice as wide, while outside of the box of the training, by distance from it (dashed: "
        "as far as the nearest place inside). There are no targets there: these errors are by construction. (c) At the "
        "end of walks of the training's length, all networks of the sweeps (dashed: Banino et al. 2018)."
    ),
    models=("supervised/sorscher-v1", "supervised/cueva_wei-v1", "supervised/banino-v1"),
)


def _at_the_end(data: Data, condition: str) -> float:
    """Median error in the arena after as many steps as a training walk has."""
    rows = data.table[(data.table["condition"] == condition) & (data.table["where"] == INSIDE)]
    rows = rows[rows["step"] == rows["training_steps"]]
    if rows.empty:
        raise LookupError(condition)
    return float(rows["error_m"].iloc[0])


def _far(data: Data, condition: str) -> float:
    """Error farthest outside of the arena, over that at the end of training walks in it."""
    rows = data.table[(data.table["condition"] == condition) & (data.table["where"] == BEYOND)].dropna(subset="error_m")
    if rows.empty:
        raise LookupError(condition)
    return float(rows["error_m"].iloc[-1]) / _at_the_end(data, condition)


def _confined(name: str, condition: str) -> Claim:
    return Claim(
        id=f"{name}_confined",
        statement=f"Beyond the arena of its targets the network of {condition} is lost, by construction: farthest "
        "outside its error is at least three times that at the end of walks of the training",
        paper="by construction",
        citation="by construction",
        statistic=lambda data: _far(data, condition),
        control=with_value(condition, "error_m", 0.1),
        low=3.0,
    )


def _as_banino(id: str, condition: str, statement: str) -> Claim:
    return Claim(
        id=id,
        statement=statement,
        paper=f"{BANINO_ERROR_M} m after 15 s, 0.91 m untrained (reported, unverified)",
        citation="Banino et al. 2018",
        statistic=lambda data: median_or_missing(data, condition, "path_error_m"),
        control=with_value(condition, "path_error_m", 0.91),
        high=1.1 * BANINO_ERROR_M,
    )


claims = (
    Claim(
        id="cueva_wei_integrates",
        statement="The network knows where it is: at the end of walks of the training's length the median error is "
        "below 0.22 m, a tenth of the box",
        paper="accurate (shown)",
        citation="Cueva & Wei 2018",
        statistic=lambda data: median_or_missing(data, CUEVA_WEI, "path_error_m"),
        control=with_value(CUEVA_WEI, "path_error_m", 0.84),
        high=0.22,
    ),
    _as_banino(
        "banino_integrates",
        BANINO,
        "The network knows where it is: at the end of walks of 100 steps the median error is at most that of the paper "
        "and a tenth",
    ),
    _as_banino(
        "banino_full_integrates",
        BANINO_FULL,
        "Trained by the paper's schedule the network knows where it is: at the end of walks of 100 steps the median "
        "error is at most that of the paper and a tenth (written after the run, with the bound of the other claim)",
    ),
    _confined("sorscher", SORSCHER),
    _confined("banino", BANINO),
)


def _errors(condition: str, name: str) -> pd.DataFrame:
    """Median errors of a shipped network along walks in its arena, and by distance from it beyond."""
    model = load(checkpoint(name))
    assert isinstance(model, Decoder)
    side_m, trained = model.config.side_m, model.config.steps_per_trajectory
    inside = World(Arena.square(side_m)).walk(TRIALS, STEPS, seed=derive(0, "supervised_paths"))
    wide = World(Arena.square(2 * side_m))
    start_m = side_m * (wide.starts(TRIALS, wide.generator(derive(1, "supervised_paths"))) / (2 * side_m))
    outside = wide.walk(TRIALS, STEPS, seed=derive(2, "supervised_paths"), start_m=start_m)
    with torch.inference_mode():
        along_m = (model.decode(model.represent(inside)) - inside.position_m).norm(dim=-1).median(0).values
        error_m = (model.decode(model.represent(outside)) - outside.position_m).norm(dim=-1)
    away_m = (outside.position_m.abs().amax(-1) - side_m / 2).flatten()
    edges = np.linspace(0, side_m / 2, 9)
    beyond = []
    for low, high in pairwise(edges):
        found = error_m.flatten()[(away_m > low) & (away_m <= high)]
        if len(found) >= LEAST_TRIALS:
            beyond.append({"away_m": (low + high) / 2, "error_m": float(found.median()), "where": BEYOND})
    rows = [{"step": k + 1, "error_m": float(value), "where": INSIDE} for k, value in enumerate(along_m)]
    return pd.DataFrame(rows + beyond).assign(condition=condition, network=name, training_steps=trained)


def compute(progress: Progress) -> Data:
    """Walk the shipped networks, and read what the sweeps measured."""
    there = shipped()
    tables = [networks(CONDITIONS, MEASURES).table]
    for k, (condition, name) in enumerate(there.items()):
        tables.append(_errors(condition, name))
        progress(k + 1, len(there))
    columns = ("condition", "where", "step", "training_steps", "away_m", "error_m", *MEASURES)
    return Data(together(tables, columns))


def draw(data: Data) -> Canvas:
    canvas, axes = plt.subplots(1, 3, figsize=(180 / 25.4, 80 / 25.4), width_ratios=(4, 4, 6), layout="constrained")
    for ax, letter in zip(axes, "abc", strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    walked = data.table[data.table["where"].isin((INSIDE, BEYOND))]
    for k, (condition, rows) in enumerate(walked.groupby("condition", sort=False)):
        colour = f"C{k}"
        along, beyond = rows[rows["where"] == INSIDE], rows[rows["where"] == BEYOND]
        axes[0].plot(along["step"], along["error_m"], color=colour, label=str(condition), linewidth=1)
        end = along[along["step"] == along["training_steps"]]
        axes[0].plot(end["step"], end["error_m"], "o", color=colour, markersize=3)
        axes[1].plot(beyond["away_m"], beyond["error_m"], color=colour, linewidth=1)
    axes[0].set(xlabel="step of the walk", ylabel="median error (m)", title=INSIDE, ylim=(0, None))
    axes[1].set(xlabel="distance from the arena (m)", ylabel="median error (m)", title=BEYOND, ylim=(0, None))
    axes[1].plot([0, 1.1], [0, 1.1], color="black", linestyle="--", linewidth=0.6)
    if len(walked):
        axes[0].legend(fontsize=5)
    strip(axes[2], data, measured_of(data, "path_error_m"), "path_error_m", "median error at the end (m)")
    axes[2].axhline(BANINO_ERROR_M, color=plots.BLUE, linestyle="--", linewidth=0.6)
    return canvas
