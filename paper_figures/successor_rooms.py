"""Eigenvectors of the successor representation, their positive parts, and its factors (Stachenfeld et al. 2017)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from scipy.fft import dctn

from entorhinal.analysis import autocorrelograms, grid_scores, plots
from entorhinal.families.function_optimization.successor import (
    ENVIRONMENTS,
    SuccessorConfig,
    eigenvectors,
    environment,
    solve,
    successor_product,
    transitions,
)
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, panel_rows, within

BINS, SEEDS, ITERATIONS, DISCOUNT, OTHER_DISCOUNT, DOOR = 30, 10, 200, 0.99, 0.9, 4
BASES = ("eigenvectors", "thresholded", "nonnegative")
MODEL, CITATION = "function_optimization/successor-v1", "Stachenfeld et al. 2017"

FIGURE = Figure(
    id="successor_rooms",
    title="A basis of the successor representation, by room",
    caption=(
        "A random walk on graphs of 30² places. (a) Five units of each basis in each room, seed 0: eigenvectors of the "
        "transition matrix (blue negative, red positive), their positive parts, and non-negative factors of the "
        "successor representation. (b) Grid scores of the 32 units of ten seeds in the open square; bars medians. (c) "
        "Power of each eigenvector in one product of cosines (and its mirror image), with that of factors. (d) "
        "Correlation of the autocorrelograms of a map's two halves, eigenvectors of ten seeds."
    ),
    models=(MODEL,),
)


def compute(progress: Progress) -> Data:
    """About 30 s on one free core. table: a row a unit (panels b, c, d), an eigenvalue or a room; arrays: maps."""
    rows: list[pd.DataFrame] = [_values(), _rooms()]
    arrays: dict[str, np.ndarray] = {}
    jobs = [(room, basis, seed) for room in ENVIRONMENTS for basis in BASES for seed in range(SEEDS)]
    jobs = [job for job in jobs if job[1] != "nonnegative" or job[0] == "square" or job[2] == 0]
    for done, (room, basis, seed) in enumerate(jobs):
        progress(done, len(jobs))
        config: dict[str, Any] = {"environment": room, "basis": basis, "seed": seed, "iterations": ITERATIONS}
        maps, inside = solve(SuccessorConfig(bins=BINS, discount=DISCOUNT, door_bins=DOOR, **config))
        shown = maps.masked_fill(~inside, torch.nan)
        if seed == 0:
            arrays[f"{room} {basis}"] = shown[[0, 3, 8, 15, 24]].numpy()
        rows.append(_units(shown, room, basis, seed))
    progress(len(jobs), len(jobs))
    return Data(pd.concat(rows, ignore_index=True), arrays)


def _units(maps: torch.Tensor, room: str, basis: str, seed: int) -> pd.DataFrame:
    table = pd.DataFrame({"grid_score": grid_scores(maps).numpy(), "unit": np.arange(len(maps))})
    if room == "square":
        power = dctn((maps - maps.mean((1, 2), keepdim=True)).numpy(), axes=(1, 2), norm="ortho") ** 2
        both = power + np.where(np.eye(BINS, dtype=bool), 0, power.swapaxes(1, 2))
        table["one_wave"] = both.max((1, 2)) / power.sum((1, 2))
    half = BINS // 2
    table["halves"] = [_likeness(a, b) for a, b in zip(maps[:, :, :half], maps[:, :, half:], strict=True)]
    return table.assign(panel="units", room=room, basis=basis, seed=seed)


def _likeness(first: torch.Tensor, second: torch.Tensor) -> float:
    """Correlation of the autocorrelograms of two maps, over lags that both have."""
    one, other = autocorrelograms(torch.stack((first, second))).flatten(1).numpy()
    both = np.isfinite(one) & np.isfinite(other)
    return float(np.corrcoef(one[both], other[both])[0, 1]) if both.sum() > 2 else np.nan


def _values() -> pd.DataFrame:
    """v·Mv/v·v times 1 − γμ, for M of γ and for another one."""
    graph = environment("square", BINS, DOOR)
    value, vector = eigenvectors(graph, 16, 0)
    found = {}
    for name, discount in (("ratio", DISCOUNT), ("other_ratio", OTHER_DISCOUNT)):
        moved = successor_product(transitions(graph), discount)(vector)
        found[name] = (vector * moved).sum(0) / np.square(vector).sum(0) * (1 - DISCOUNT * value)
    return pd.DataFrame(found).assign(panel="values", mu=value)


def _rooms() -> pd.DataFrame:
    """Share of the first eigenvector's variance between the two halves of the box, best of its two halvings."""
    rows = []
    for room in ("two_rooms", "square"):
        for seed in range(SEEDS):
            graph = environment(room, BINS, DOOR)
            first = eigenvectors(graph, 1, seed)[1].reshape(BINS, BINS)
            between = [np.square(f.reshape(2, -1).mean(1) - f.mean()).mean() for f in (first, first.T)]
            rows.append({"panel": "rooms", "room": room, "seed": seed, "between": max(between) / first.var()})
    return pd.DataFrame(rows)


def _median(column: str, basis: str, room: str = "square") -> Callable[[Data], float]:
    return lambda data: float(panel_rows(data, "units", room=room, basis=basis)[column].median())


def _raised(data: Data) -> float:
    return _median("grid_score", "nonnegative")(data) - _median("grid_score", "eigenvectors")(data)


def _bent(data: Data) -> float:
    return _median("halves", "eigenvectors", "trapezoid")(data) - _median("halves", "eigenvectors")(data)


claims = (
    Claim(
        "successor_values",
        "Eigenvalues of the successor representation are 1/(1 − γμ) (mean ratio of the two)",
        "1/(1 − γμ)",
        CITATION,
        lambda data: float(panel_rows(data, "values")["ratio"].mean()),
        lambda data: Data(data.table.assign(ratio=data.table["other_ratio"]), data.arrays),
        **within(1, 1e-6),
    ),
    Claim(
        "successor_cosines",
        "In an open square eigenvectors are products of cosines: 90 % of their power is in one and its mirror image",
        "separable",
        CITATION,
        _median("one_wave", "eigenvectors"),
        exchanged("basis", "eigenvectors", "nonnegative"),
        low=0.9,
    ),
    Claim(
        "successor_weak_grids",
        "They are weakly hexagonal at best: the median grid score of their positive parts is at most 0.3",
        "grid-like (shown)",
        CITATION,
        _median("grid_score", "thresholded"),
        lambda data: Data(data.table.assign(grid_score=1.4), data.arrays),  # ideal grids
        high=0.3,
    ),
    Claim(
        "successor_nonnegative",
        "Non-negativity raises gridness: the median score of factors is 0.2 or more above that of eigenvectors",
        "more grid-like",
        CITATION,
        _raised,
        exchanged("basis", "eigenvectors", "nonnegative"),
        low=0.2,
    ),
    Claim(
        "successor_rooms",
        "Of two rooms joined by a door the first eigenvector tells which: 90 % of its variance is between them",
        "boundaries part eigenvectors",
        CITATION,
        lambda data: float(panel_rows(data, "rooms", room="two_rooms")["between"].median()),
        exchanged("room", "two_rooms", "square"),
        low=0.9,
    ),
    Claim(
        "successor_trapezoid",
        "A trapezoid bends them: autocorrelograms of its two halves are less alike than a square's, by 0.05 or more",
        "less alike",
        CITATION,
        _bent,
        exchanged("room", "trapezoid", "square"),
        high=-0.05,
    ),
)


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 175 / 25.4), layout="constrained")
    top, bottom = canvas.subfigures(2, 1, height_ratios=(2.4, 1))  # type: ignore[misc]
    grid = top.subplots(len(ENVIRONMENTS), 5 * len(BASES))
    for row, room in zip(grid, ENVIRONMENTS, strict=True):
        for i, basis in enumerate(BASES):
            for ax, rates in zip(row[5 * i : 5 * i + 5], data.arrays[f"{room} {basis}"], strict=True):
                top_rate = float(np.nanmax(np.abs(rates)))
                signed: dict[str, Any] = {"cmap": "RdBu_r", "limits": (-top_rate, top_rate)}
                plots.rate_map(ax, rates, bin_m=1, scale_bar=False, **(signed if basis == "eigenvectors" else {}))
                ax.set(xticks=[], yticks=[])
            if room == ENVIRONMENTS[0]:
                row[5 * i + 2].set_title(basis, fontsize=7)
        row[0].set_ylabel(room.replace("_", " "), fontsize=6)
    top.suptitle("a", x=0.01, ha="left", fontweight="bold")
    scores, waves, halves = bottom.subplots(1, 3)
    square = panel_rows(data, "units", room="square")
    _strip(scores, [square[square["basis"] == basis]["grid_score"] for basis in BASES], BASES, "grid score")
    _strip(waves, [square[square["basis"] == basis]["one_wave"] for basis in BASES], BASES, "power in one wave")
    plain = panel_rows(data, "units", basis="eigenvectors")
    names = [room.replace("_", " ") for room in ENVIRONMENTS]
    _strip(halves, [plain[plain["room"] == room]["halves"] for room in ENVIRONMENTS], names, "likeness of halves")
    for ax, letter in zip((scores, waves, halves), "bcd", strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    return canvas


def _strip(ax: Axes, groups: list[pd.Series], names: Any, label: str) -> None:
    spread = np.random.default_rng(0)
    for x, values in enumerate(groups):
        ax.scatter(x + spread.uniform(-0.2, 0.2, len(values)), values, s=2, color=plots.BLUE, linewidths=0, alpha=0.5)
        ax.hlines(values.median(), x - 0.35, x + 0.35, color=plots.ORANGE, linewidth=1.2)
    labels = [f"{name} (n = {len(values)})" for name, values in zip(names, groups, strict=True)]
    ax.set_xticks(range(len(names)), labels, rotation=30, ha="right", rotation_mode="anchor", fontsize=5)
    ax.set(ylabel=label)
