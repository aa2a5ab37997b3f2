"""Grid scores of every model on one recorded path, each unit beside the noise that shares its spectrum."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import plots
from entorhinal.analysis.nulls import NULL_MAPS
from entorhinal.benchmarks.evaluation import prepare
from entorhinal.benchmarks.records import SHIPPED, checkpoint_config, find_record
from entorhinal.benchmarks.tasks import get_task
from entorhinal.benchmarks.tasks.task import Recording
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress

LIVE = (
    "controls/ideal_grid-v1",
    "coding_theory/residue-v1",
    "function_optimization/dordek-v1",
    "controls/lowpass_noise-v1",
    "controls/shuffled-v1",
    "controls/place_cells-v1",
    "controls/random_rnn-v1",
)
RECORDED = "continuous_attractor/burak_fiete-v1"
TRAINED = {"supervised/sorscher-v1": "sorscher", "ssl/sic-v1": "sic"}
"""Shipped checkpoints, by model."""
MODELS = (*LIVE[:2], RECORDED, LIVE[2], *TRAINED, *LIVE[3:])
TASK = "gridness-v2"
CPU = torch.device("cpu")

FIGURE = Figure(
    id="gridness",
    title="Grid scores against their nulls",
    caption="Rate maps on the recorded rat's path (600 s, 1 m box) and the grid score of every active unit, by model. "
    "Filled: units; open: one noise map of each unit's radially averaged spectrum; bar: the median over units of the "
    f"highest of {NULL_MAPS} such scores, above which a grid unit scores. Burak–Fiete and the trained networks are "
    "from their shipped records, all others are computed now. The trained networks learned in boxes of 2 m and more; "
    "their lattices have hardly a period in this one, and their own figures show them there. Blank: rates too large to "
    "keep; Sorscher's network, taught on walks of 20 steps, grows without bound over 30,000.",
    models=MODELS,
    records=tuple((model, TASK) for model in (RECORDED, *TRAINED)),
)
"""Everything but the 128² sheet and the trained networks, whose 600 s take too long for a figure, is scored afresh."""


def _median(data: Data, model: str, column: str = "score") -> float:
    rows = data.table[(data.table["model"] == model)]
    if rows.empty:
        raise LookupError(model)
    return float(rows[column].median())


def _grid_fraction(data: Data, model: str) -> float:
    rows = data.table[data.table["model"] == model]
    if rows.empty:
        raise LookupError(model)
    return float((rows["score"] > rows["threshold"]).mean())


def _as(model: str, control: str) -> Callable[[Data], Data]:
    """Data in which ``model`` has the units of ``control``."""

    def swap(data: Data) -> Data:
        rows = data.table[data.table["model"] == control].assign(model=model)
        return Data(pd.concat([data.table[data.table["model"] != model], rows], ignore_index=True), data.arrays)

    return swap


claims = (
    Claim(
        id="burak_fiete_grid_units",
        statement="Units of the periodic attractor sheet fire in grids along a recorded rat's path: at least 9 in 10 "
        "score above all of their noise maps",
        paper="grid fields (shown, not scored)",
        citation="Burak & Fiete 2009",
        statistic=lambda data: _grid_fraction(data, RECORDED),
        control=_as(RECORDED, "controls/lowpass_noise-v1"),
        low=0.9,
    ),
    Claim(
        id="dordek_grid_units",
        statement="Non-negative components of place-cell input are grids: at least half score above their noise",
        paper="hexagonal (median gridness above that of unconstrained components)",
        citation="Dordek et al. 2016",
        statistic=lambda data: _grid_fraction(data, "function_optimization/dordek-v1"),
        control=_as("function_optimization/dordek-v1", "controls/place_cells-v1"),
        low=0.5,
    ),
    Claim(
        id="noise_is_no_grid",
        statement="Thresholded low-pass noise reaches high grid scores by chance, but not above its own null: "
        "at most 5 % of its units",
        paper="noise yields spurious grid scores",
        citation="Schaeffer et al. 2022",
        statistic=lambda data: _grid_fraction(data, "controls/lowpass_noise-v1"),
        control=_as("controls/lowpass_noise-v1", "controls/ideal_grid-v1"),
        high=0.05,
    ),
)


def compute(progress: Progress, live: tuple[str, ...] = LIVE) -> Data:
    """Score the models of ``live`` now and read the records of the others."""
    task = get_task(TASK)
    tables, arrays = [], {}
    for i, model in enumerate(MODELS):
        if model in live:
            ready = prepare(model, device=CPU)
            found = task.run(ready, seed=0, device=CPU, recording=Recording(), progress=lambda done, total: None).arrays
        else:
            config = checkpoint_config(TRAINED[model]) if model in TRAINED else None
            found = find_record(model, TASK, config=config).arrays(SHIPPED)
        tables.append(
            pd.DataFrame(
                {
                    "model": model,
                    "score": found["scores"].numpy(),
                    "threshold": found["thresholds"].numpy(),
                    "null_score": found["null_scores"].numpy(),
                    "spacing_m": found["spacing_m"].numpy(),
                }
            )
        )
        scored = max(1, int(found["map_scores"].isfinite().sum()))  # kept maps run from the best to those without score
        shown = [0, scored // 2]
        arrays[model] = found["maps"][shown].float().numpy()
        arrays[f"{model} scores"] = found["map_scores"][shown].numpy()
        progress(i + 1, len(MODELS))
    return Data(pd.concat(tables, ignore_index=True), arrays)


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 105 / 25.4), layout="constrained")
    grid = canvas.add_gridspec(3, len(MODELS), height_ratios=(1, 1, 2.4))
    for column, model in enumerate(MODELS):
        for row in range(2):
            ax = canvas.add_subplot(grid[row, column])
            score = data.arrays[f"{model} scores"][row]
            plots.rate_map(ax, data.arrays[model][row], bin_m=0.02, scale_bar=False)
            ax.set_title(f"{score:.2f}", fontsize=7, pad=2)
            if column == 0:
                ax.set_ylabel(("best", "median")[row])
    ax = canvas.add_subplot(grid[2, :])
    rng = np.random.default_rng(0)
    for x, model in enumerate(MODELS):
        rows = data.table[data.table["model"] == model]
        jitter = rng.uniform(-0.14, 0.14, len(rows))
        ax.scatter(x - 0.18 + jitter, rows["score"], s=4, color="#0072b2", linewidths=0, alpha=0.5)
        ax.scatter(x + 0.18 + jitter, rows["null_score"], s=4, facecolors="none", edgecolors="#999999", linewidths=0.4)
        ax.hlines(rows["threshold"].median(), x - 0.38, x + 0.38, color="#d55e00")
    names = [model.split("/")[1].removesuffix("-v1").replace("_", " ") for model in MODELS]
    ax.set_xticks(range(len(MODELS)), names)
    ax.set_xlim(-0.5, len(MODELS) - 0.5)
    ax.set_ylabel("grid score")
    ax.axhline(0, color="#cccccc", linewidth=0.5, zorder=0)
    for label, colour, fill in (("unit", "#0072b2", True), ("its noise", "#999999", False)):
        ax.scatter([], [], s=8, facecolors=colour if fill else "none", edgecolors=colour, label=label)
    ax.plot([], [], color="#d55e00", label=f"highest of {NULL_MAPS} noise maps (median)")
    ax.legend(loc="lower left", ncols=3)
    return canvas
