"""How did the shipped networks learn?  Every term of every loss, from the histories beside the checkpoints."""

from itertools import islice

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.benchmarks.records import checkpoint
from entorhinal.benchmarks.training import read_history
from entorhinal.families import Arena, Model, World, load
from entorhinal.families.supervised.sorscher import Sorscher
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress

RUNS = {"sic": "ssl/sic", "sorscher": "supervised/sorscher", "sorscher_gaussian": "supervised/sorscher, Gaussian"}
FIGURE = Figure(
    id="training_curves",
    title="Training curves",
    caption=(
        "The losses of the shipped networks against optimiser steps, each point a mean over 4 to 45 steps. Left: "
        "SIC, its four terms, unweighted; the conformal one in grey, to the right. Others: Sorscher, cross entropy "
        "above the targets' own entropy, which no network can go below, for both targets."
    ),
    models=("ssl/sic-v1", "supervised/sorscher-v1"),
)


def _term(data: Data, run: str, term: str) -> np.ndarray:
    rows = data.table[(data.table["run"] == run) & (data.table["term"] == term)]
    if rows.empty:
        raise LookupError(f"{run} {term}")
    return rows.sort_values("step")["value"].to_numpy()


def _learned(data: Data, run: str) -> float:
    """Part of the excess over the targets' entropy at the first point that is gone at the last tenth."""
    excess = _term(data, run, "excess")
    return float(1 - excess[-len(excess) // 10 :].mean() / excess[0])


def _nothing_learned(data: Data) -> Data:
    """Data in which Sorscher's excess stays where it began."""
    table = data.table.copy()
    chosen = (table["run"] == "sorscher") & (table["term"] == "excess")
    table.loc[chosen, "value"] = _term(data, "sorscher", "excess")[0]
    return Data(table, data.arrays)


claims = (
    Claim(
        id="sorscher_learns_its_targets",
        statement="The recurrent network learns place cells with a surround: at least three quarters of its excess "
        "over the targets' entropy is gone",
        paper="trains to path integrate",
        citation="Sorscher et al. 2019",
        statistic=lambda data: _learned(data, "sorscher"),
        control=_nothing_learned,
        low=0.75,
    ),
)


def compute(progress: Progress) -> Data:
    tables = []
    for i, run in enumerate(RUNS):
        path = checkpoint(run)
        history = read_history(path.with_suffix(".history.csv"))
        terms = [name for name in history if name not in ("step", "network", "seconds", "lr")]
        table = history.melt("step", terms, "term", "value").assign(run=run)
        if "cross_entropy" in terms:
            floor = _entropy(load(path))
            excess = table[table["term"] == "cross_entropy"].assign(term="excess")
            table = pd.concat((table, excess.assign(value=excess["value"] - floor)))
        tables.append(table)
        progress(i + 1, len(RUNS))
    return Data(pd.concat(tables, ignore_index=True))


def _entropy(model: Model) -> float:
    """Mean entropy of a Sorscher network's targets over the box, in nats: the least its cross entropy can be."""
    assert isinstance(model, Sorscher)
    world = World(Arena.square(model.config.side_m))
    total = 0.0
    batches = list(islice(model.training_data(world, 12345), 4))
    for batch in batches:
        p = model.place_code(batch["position_m"])
        total += float(-(p * p.clamp_min(1e-30).log()).sum(-1).mean())
    return total / len(batches)


def draw(data: Data) -> Canvas:
    canvas, axes = plt.subplots(1, 3, figsize=(180 / 25.4, 60 / 25.4), layout="constrained")
    colours = {"separation": plots.BLUE, "invariance": plots.ORANGE, "capacity": plots.GREEN, "total": "black"}
    table = data.table
    for term, colour in colours.items():
        rows = table[(table["run"] == "sic") & (table["term"] == term)]
        axes[0].plot(rows["step"], rows["value"], color=colour, linewidth=1, label=term)
    twin = axes[0].twinx()
    rows = table[(table["run"] == "sic") & (table["term"] == "conformal")]
    twin.plot(rows["step"], rows["value"], color=plots.GREY, linewidth=0.6, label="conformal")
    twin.set(yscale="log", ylabel="conformal (1/m²)")
    axes[0].set(title=RUNS["sic"], xlabel="step", ylabel="loss")
    axes[0].legend(fontsize=6)
    for ax, run in zip(axes[1:], list(RUNS)[1:], strict=True):
        rows = table[(table["run"] == run) & (table["term"] == "excess")]
        ax.plot(rows["step"], rows["value"], color=plots.BLUE, linewidth=1)
        ax.set(title=RUNS[run], xlabel="step", ylabel="excess cross entropy (nats)", ylim=(0, None))
    return canvas
