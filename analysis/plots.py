"""How measures look. Every function takes a matplotlib ``ax``, draws one thing on it and returns it."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from entorhinal.analysis.tensors import Array

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#999999"
"""Colours that the colour-blind tell apart (Okabe & Ito)."""


def _numpy(values: Array) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def rate_map(ax: Axes, map_: Array, *, bin_m: float, scale_bar: bool = True, cmap: str = "viridis") -> Axes:
    """One rate map (H, W), lowest y at the bottom, unvisited bins white, with a bar of a quarter of the width."""
    image = _numpy(map_)
    height_m, width_m = (n * bin_m for n in image.shape)
    ax.imshow(image, origin="lower", extent=(0, width_m, 0, height_m), cmap=cmap, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if scale_bar:
        length_m = float(f"{width_m / 4:.1g}")
        y = -0.05 * height_m
        ax.plot([0, length_m], [y, y], color="black", linewidth=1.5, clip_on=False, solid_capstyle="butt")
        ax.text(length_m / 2, y - 0.03 * height_m, f"{length_m:g} m", ha="center", va="top", fontsize=6)
    return ax


def autocorrelogram(
    ax: Axes,
    correlogram: Array,
    *,
    bin_m: float,
    ring_m: tuple[float, float] | None = None,
    basis_m: Array | None = None,
) -> Axes:
    """One autocorrelogram (2H-1, 2W-1) over lags in metres, with the ring scored and the lattice (2, 2) found."""
    image = _numpy(correlogram)
    half_y, half_x = (0.5 * n * bin_m for n in image.shape)
    ax.imshow(image, origin="lower", extent=(-half_x, half_x, -half_y, half_y), cmap="RdBu_r", norm=Normalize(-1, 1))
    angle = np.linspace(0, 2 * np.pi, 200)
    for radius in ring_m or ():
        ax.plot(radius * np.cos(angle), radius * np.sin(angle), color="black", linewidth=0.6, linestyle="--")
    if basis_m is not None:
        first, second = _numpy(basis_m)
        six = np.array([first, second, second - first, -first, -second, first - second])
        ax.plot(*six.T, "o", markersize=3, markerfacecolor="none", markeredgecolor="black", markeredgewidth=0.6)
    ax.set(xlabel="lag in x (m)", ylabel="lag in y (m)", xlim=(-half_x, half_x), ylim=(-half_y, half_y))
    return ax


def error_curve(ax: Axes, distance_m: Array, error_m: Array, *, label: str = "", color: str = BLUE) -> Axes:
    """Error against distance walked, (B, T) each: every trial thin, the median over trials thick."""
    distance, error = np.atleast_2d(_numpy(distance_m)), np.atleast_2d(_numpy(error_m))
    for one_distance, one_error in zip(distance, error, strict=True):
        ax.plot(one_distance, one_error, color=color, linewidth=0.5, alpha=0.4 if len(error) > 1 else 1)
    if len(error) > 1:
        shared = np.linspace(0, distance[:, -1].min(), 200)
        each = [np.interp(shared, d, e) for d, e in zip(distance, error, strict=True)]
        ax.plot(shared, np.nanmedian(each, 0), color=color, linewidth=1.5)
    ax.plot([], [], color=color, label=label or None)
    ax.set(xlabel="distance walked (m)", ylabel="error (m)", xlim=(0, None), ylim=(0, None))
    return ax


def score_histogram(ax: Axes, scores: Array, null_scores: Array, *, threshold: float | None = None) -> Axes:
    """Grid scores of units, filled, over those of their null, outlined; the null's threshold as a line."""
    values, null = (_numpy(a)[np.isfinite(_numpy(a))] for a in (scores, null_scores))
    edges = np.linspace(-2, 2, 41).tolist()
    ax.hist(null, edges, density=True, histtype="step", color=GREY, label="null")
    ax.hist(values, edges, density=True, color=BLUE, alpha=0.7, label="units")
    if threshold is not None:
        ax.axvline(threshold, color=ORANGE, linewidth=1, label="99 % of null")
    ax.set(xlabel="grid score", ylabel="density")
    return ax


def heat_map(
    ax: Axes, shade: Array, text: Sequence[Sequence[str]], *, rows: Sequence[str], columns: Sequence[str]
) -> Axes:
    """A table: shade (R, C) in [0, 1], NaN grey, with the text of each cell, rows and columns named."""
    image = _numpy(shade)
    ax.imshow(np.ones((*image.shape, 3)) * 0.93, aspect="auto")
    ax.imshow(image, cmap="Blues", norm=Normalize(0, 1.25), aspect="auto")
    for i, line in enumerate(text):
        for j, cell in enumerate(line):
            dark = np.isfinite(image[i, j]) and image[i, j] > 0.75
            ax.text(j, i, cell, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.set_xticks(range(len(columns)), columns, rotation=30, ha="left", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    ax.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    ax.set_yticks(np.arange(-0.5, len(rows)), minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    ax.tick_params(which="minor", length=0, top=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
