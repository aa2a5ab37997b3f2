"""How measures look. Every function takes a matplotlib ``ax``, draws one thing on it and returns it."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import NullFormatter, ScalarFormatter

from entorhinal.analysis.tensors import Array

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#999999"
"""Colours that the colour-blind tell apart (Okabe & Ito)."""

COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9")
"""Of modules, in turn."""

HEXAGONAL = np.array([[1, 0], [0.5, np.sqrt(0.75)]])
SPACING_TICKS_M = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.4, 2.0, 3.0, 4.0)


def _numpy(values: Array) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def rate_map(
    ax: Axes,
    map_: Array,
    *,
    bin_m: float,
    scale_bar: bool = True,
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
) -> Axes:
    """One rate map (H, W), lowest y at the bottom, unvisited bins white, with a bar of a quarter of the width.

    limits: rates of the first and last colour; the map's own range if None.
    """
    image = _numpy(map_)
    height_m, width_m = (n * bin_m for n in image.shape)
    norm = None if limits is None else Normalize(*limits)
    ax.imshow(image, origin="lower", extent=(0, width_m, 0, height_m), cmap=cmap, norm=norm, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if scale_bar:
        length_m = float(f"{width_m / 4:.1g}")
        y = -0.05 * height_m
        ax.plot([0, length_m], [y, y], color="black", linewidth=1.5, clip_on=False, solid_capstyle="butt")
        ax.text(length_m / 2, y - 0.03 * height_m, f"{length_m:g} m", ha="center", va="top", fontsize=6)
    ax.set(xlim=(0, width_m), ylim=(0, height_m))  # as large with a bar as without
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


def module_scatter(ax: Axes, spacing_m: Array, orientation_rad: Array, labels: Array) -> Axes:
    """Units by spacing and orientation, (N,) each, coloured by module; units without one (label -1) grey and open."""
    spacing, angle, label = _numpy(spacing_m), np.rad2deg(_numpy(orientation_rad)) % 60, _numpy(labels)
    ax.scatter(spacing[label < 0], angle[label < 0], s=6, facecolors="none", edgecolors=GREY, linewidths=0.5)
    for k in np.unique(label[label >= 0]):
        here = label == k
        name = f"{np.nanmedian(spacing[here]):.2f} m ({here.sum()})"
        ax.scatter(spacing[here], angle[here], s=6, color=COLOURS[int(k) % len(COLOURS)], linewidths=0, label=name)
    ax.set(xlabel="spacing (m)", ylabel="orientation (°)", xscale="log", ylim=(0, 60), yticks=(0, 20, 40, 60))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    low, high = np.nanmin(spacing, initial=np.inf), np.nanmax(spacing, initial=0)
    ax.set_xticks([tick for tick in SPACING_TICKS_M if 0.8 * low <= tick <= 1.25 * high])
    return ax


def phase_tile(ax: Axes, phases: Array, *, basis_m: Array | None = None, color: str = BLUE) -> Axes:
    """Phases (N, 2), in units of the two lattice vectors, in the unit cell around 0.

    basis_m: (2, 2), lattice vectors as rows; unit vectors at 60 degrees if None.
    """
    basis = HEXAGONAL if basis_m is None else _numpy(basis_m)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]]) @ basis
    phase = _numpy(phases)
    ax.plot(*corners.T, color="black", linewidth=0.6)
    x, y = ((phase - np.round(phase)) @ basis).T
    ax.scatter(x, y, s=6, color=color, linewidths=0)
    ax.set(aspect="equal", xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def error_curve(ax: Axes, distance_m: Array, error_m: Array, *, label: str = "", color: str = BLUE) -> Axes:
    """Error against distance walked, (B, T) each: the median over trials and, from three on, its interquartile band."""
    distance, error = np.atleast_2d(_numpy(distance_m)), np.atleast_2d(_numpy(error_m))
    shared = np.linspace(distance[:, 0].max(), distance[:, -1].min(), 200) if len(error) > 1 else distance[0]
    each = np.array([np.interp(shared, d, e) for d, e in zip(distance, error, strict=True)])
    defined = ~np.isnan(each).all(0)
    shared, (low, middle, high) = shared[defined], np.nanquantile(each[:, defined], (0.25, 0.5, 0.75), axis=0)
    if len(error) > 2:
        ax.fill_between(shared, low, high, color=color, alpha=0.2, linewidth=0)
    ax.plot(shared, middle, color=color, linewidth=1.5, label=label or None)
    ax.set(xlabel="distance walked (m)", ylabel="error (m)", xlim=(0, None), ylim=(0, None))
    return ax


def capacity_curve(
    ax: Axes, distance_m: Array, typical: Array, least: Array, *, label: str = "", color: str = BLUE
) -> Axes:
    """Distance between codes against distance in space, (K,) each: typical over directions thick, least thin."""
    distance = _numpy(distance_m)
    ax.plot(distance, _numpy(typical), color=color, linewidth=1.5, label=label or None)
    ax.plot(distance, _numpy(least), color=color, linewidth=0.6)
    highest = max(np.nanmax(np.asarray(line.get_ydata(), float)) for line in ax.lines)
    ax.set(xlabel="distance (m)", ylabel="distance between codes", xlim=(0, distance.max()), ylim=(0, 1.05 * highest))
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


def margin_labels(ax: Axes, points: Sequence[tuple[float, float, str, str]], *, gap: float = 0.04) -> Axes:
    """Points (x, y, text, colour), each with its text in the right margin and a line to it.

    Texts are in the order of y, ``gap`` of the height apart or less, and smaller, where there are too many. Limits that
    were set stay as they are.
    """
    ordered = sorted(points, key=lambda point: point[1])
    for x, y, _, color in ordered:
        ax.plot(x, y, "o", color=color, markersize=3)
    if not ordered:
        return ax
    ax.margins(y=0.08)
    ax.autoscale_view()
    ax.set_ylim(ax.get_ylim())
    xy = np.array([point[:2] for point in ordered], float)
    height = (ax.transData + ax.transAxes.inverted()).transform(xy)[:, 1]
    shrink = min(1, 1 / (gap * len(ordered)))  # many labels are smaller ones
    gap *= shrink
    for i in range(1, len(height)):
        height[i] = max(height[i], height[i - 1] + gap)
    height[-1] = min(height[-1], 1)
    for i in reversed(range(len(height) - 1)):
        height[i] = min(height[i], height[i + 1] - gap)
    for (x, y, text, color), place in zip(ordered, height, strict=True):
        ax.annotate(
            text, (x, y), (1.03, place), textcoords="axes fraction", color=color, fontsize=6 * shrink, va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.3, "shrinkA": 1, "shrinkB": 2},
        )  # fmt: skip
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


def barcode(ax: Axes, barcodes: Sequence[Array], *, threshold: Array | None = None, longest: int = 30) -> Axes:
    """The longest bars (K, 2), birth to death, of each homology dimension, the longest on top of its block.

    threshold: length for each dimension that chance reaches, drawn in grey from each bar's birth. The bar of the whole
    cloud ends at the last death of the other dimensions.
    """
    bars = [_numpy(each)[:longest] for each in barcodes]
    last = max((float(each[:, 1].max()) for each in bars[1:] if len(each)), default=None)
    base = 0
    for dimension, (each, color) in enumerate(zip(bars, (BLUE, ORANGE, GREEN), strict=False)):
        height = base - np.arange(len(each))
        death = each[:, 1] if last is None else np.minimum(each[:, 1], last)
        if threshold is not None:
            chance = np.minimum(each[:, 0] + float(_numpy(threshold)[dimension]), each[:, 1])
            ax.hlines(height, each[:, 0], chance, color=GREY, linewidth=2.5, alpha=0.5)
        ax.hlines(height, each[:, 0], death, color=color, linewidth=1.2)
        ax.text(-0.02, base, f"$H_{dimension}$", color=color, ha="right", va="top", transform=ax.get_yaxis_transform())
        base -= len(each) + 2
    ax.set(xlabel="distance", yticks=[], xlim=(0, last))
    return ax


def torus_3d(ax: Axes, coordinates: Array, rates: Array, *, cmap: str = "viridis") -> Axes:
    """Rates (M,) of one unit, or any value, at toroidal coordinates (M, 2) in radians: dots on a torus.

    ax: of projection ``"3d"``.
    """
    around, across = _numpy(coordinates).T
    radius = 1 + 0.4 * np.cos(across)
    x, y, z = radius * np.cos(around), radius * np.sin(around), 0.4 * np.sin(across)
    ax.scatter(x, y, zs=z, c=_numpy(rates), cmap=cmap, s=4, linewidths=0)
    ax.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), zlim=(-1.4, 1.4))
    ax.set_axis_off()
    return ax
