"""What did the search for several modules in one SIC network find?  Every network of its tables, by setting."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.benchmarks.sic_seeds import SEARCH
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress

__all__ = ["FIGURE", "claims", "compute", "draw"]

NAMES = {
    "a": "modules at the start",
    "b": "random, input gain",
    "c": "drift 0.05 m, hard pairs",
    "d": "drift 0.15 m, hard pairs",
    "e": "longer, drift 0.06 m, hard pairs",
    "f": "ideal start, drift, hard pairs",
    "g": "ideal start",
    "h": "random, held, drift",
    "i": "random, held",
    "j": "random, held, late drift",
    "k": "held",
    "l": "held, drift 0.05 m",
    "m": "held, drift 0.15 m",
    "n": "the same, longer",
    "o": "the same, constant units",
    "p": "fewer units",
    "q": "falling capacity",
    "r": "growing walks",
    "s": "noise in the states",
}
UNTESTED = "abcde"  # independence of modules was not measured
STANDARD = "pqrs"  # measured by `entorhinal.benchmarks.ssl_measures`
SEPARATED = 0.25

FIGURE = Figure(
    id="sic_search",
    title="The search for several modules in one SIC network, setting by setting",
    caption=(
        "A dot a network of the tables of docs/sic_search.md, in their order; bars: medians; orange: the loss "
        "and walks of the paper, whatever the start. (a) Independent modules (open: independence was not measured, "
        "all that were found). (b) Smallest over median code distance within 3 m (from o on 4 m); dotted: 0.25. (c) "
        "Median grid score of active units in a 4 m box, not kept of o. held: modules may not couple for the first "
        "part of training."
    ),
    models=("ssl/sic_modular-v1", "ssl/sic-v1"),
)


def compute(progress: Progress) -> Data:
    """The search's tables, below one another, in columns of one name."""
    tables = []
    for path in sorted(SEARCH.glob("*.csv")):
        table, letter = pd.read_csv(path), path.name[0]
        if letter in STANDARD:
            changed = [json.loads(setting) for setting in table["setting"]]
            table["faithful"] = [letter == "p" or own.get("state_noise") == 0 for own in changed]
            table["code_separation"] = table["separation"]
        else:
            table["faithful"] = (table["drift_m"] == 0) & (table["hard_weight"] == 0)
            table = table.rename(columns={"separation_to_3_m": "code_separation"})
        if letter in UNTESTED:
            table["independent_modules"] = table["modules"]
        tables.append(table.assign(setting=letter))
    whole = pd.concat(tables, ignore_index=True)
    whole["independent_modules"] = whole["independent_modules"].fillna(0)
    columns = ["setting", "faithful", "seed", "independent_modules", "code_separation", "score_median"]
    progress(1, 1)
    return Data(whole[columns])


def _separated(data: Data) -> float:
    """Share of the networks of the paper's loss and walks whose code does not repeat."""
    rows = data.table[data.table["faithful"]]
    if rows.empty:
        raise LookupError("no network of the paper's loss and walks")
    return float((rows["code_separation"] >= SEPARATED).mean())


claims = (
    Claim(
        id="sic_faithful_separation",
        statement="With the paper's loss and walks, begun at random or as modules, coupled from the start or held "
        f"apart for a while, at least half of the networks have a code separation of {SEPARATED} within 3 m",
        paper="no repeats over metres",
        citation="Schaeffer et al. 2023",
        statistic=_separated,
        control=lambda data: replace(data, table=data.table.assign(code_separation=0.05)),
        low=0.5,
    ),
)


def draw(data: Data) -> Canvas:
    canvas, axes = plt.subplots(3, 1, figsize=(120 / 25.4, 150 / 25.4), sharex=True)
    jitter = np.random.default_rng(0)
    there = [letter for letter in NAMES if letter in set(data.table["setting"])]
    panels = {
        "independent_modules": "independent modules",
        "code_separation": "code separation",
        "score_median": "median grid score",
    }
    for ax, (column, label), letter in zip(axes, panels.items(), "abc", strict=True):
        for x, setting in enumerate(there):
            rows = data.table[data.table["setting"] == setting].dropna(subset=column)
            at = x + jitter.uniform(-0.25, 0.25, len(rows))
            colours = np.where(rows["faithful"], plots.ORANGE, plots.BLUE)
            open_ = column == "independent_modules" and setting in UNTESTED
            faces = "none" if open_ else colours
            ax.scatter(at, rows[column], s=8, facecolors=faces, edgecolors=colours, linewidths=0.5, alpha=0.8)
            ax.hlines(rows[column].median(), x - 0.35, x + 0.35, color="black", linewidth=1)
        ax.set_ylabel(label)
        ax.set_title(letter, loc="left", fontweight="bold")
    axes[1].axhline(SEPARATED, color="black", linestyle=":", linewidth=0.6)
    labels = [f"{NAMES[letter]}  {letter}" for letter in there]
    axes[2].set_xticks(range(len(there)), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=6)
    return canvas
