"""How well does the sheet integrate a rat's path?  Burak & Fiete 2009: a recorded path, followed by the lattice."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import rate_maps
from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.model import Representation
from entorhinal.families.world import Trajectories, load_recording
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within

__all__ = ["FIGURE", "claims", "compute", "draw", "follow"]

SECONDS = 60.0
CHUNK_STEPS = 100  # 6.5 MB of rates
BINS = 40
CITATION = "Burak & Fiete 2009"
TRUE, DECODED, GREY = "#222222", "#D55E00", "#888888"

FIGURE = Figure(
    id="burak_fiete_path",
    title="Path integration on a continuous attractor sheet",
    caption=(
        "(a) The first 60 s of a rat's path in a 1 m box (Sargolini et al. 2006) and the same path decoded from the "
        "movement of the lattice on the sheet, anchored at the first step (circle). The metre is calibrated on "
        "straight runs, not on this path. (b) Error against distance travelled; dashed: the 15 cm that the paper "
        "reports after 260 m (from memory, not verified). (c) Rate of the neuron in the middle of the sheet along this "
        "path; white: not visited."
    ),
    models=("continuous_attractor/burak_fiete-v1",),
)


def follow(
    trajectories: Trajectories,
    chunk_steps: int,
    progress: Progress,
    *,
    model: BurakFiete | None = None,
    unit: int | None = None,
) -> pd.DataFrame:
    """Walk the first trial of ``trajectories``, decode it, and return one row a step: a path of any length.

    Only ``chunk_steps`` of rates are held at a time. Each chunk is decoded together with the last sample of the one
    before, so that the phase of the lattice is followed across the seam. Runs where the trajectories are (CPU or GPU).
    unit: the neuron whose rate is kept; without it the one in the middle of the sheet.

    Columns: time_s, distance_m, x_m, y_m, decoded_x_m, decoded_y_m (anchored at the first step), error_m, rate.
    """
    path = trajectories.select([0])
    model = (BurakFiete.make() if model is None else model).to(path.start_m.device)
    n = model.config.neurons_per_side
    unit = n * n // 2 + n // 2 if unit is None else unit
    decoded, rates = [path.position_m.new_zeros(1, 0, 2)], []
    state, last, reached = None, None, torch.zeros_like(path.start_m)
    with torch.no_grad():
        for first in range(0, path.steps, chunk_steps):
            found = model.represent(path.chunk(first, min(first + chunk_steps, path.steps)), state)
            state = found.state
            seam = found.rates if last is None else torch.cat((last, found.rates), 1)
            since = model.decode(Representation(seam)) + reached[:, None]
            decoded.append(since if last is None else since[:, 1:])
            rates.append(found.rates[0, :, unit].clone())
            last, reached = found.rates[:, -1:].clone(), since[:, -1]
            progress(min(first + chunk_steps, path.steps), path.steps)
    true = path.position_m[0].double().cpu().numpy()
    ours = torch.cat(decoded, 1)[0].double().cpu().numpy()
    ours = ours - ours[0] + true[0]
    return pd.DataFrame(
        {
            "time_s": path.dt_s * np.arange(1, path.steps + 1),
            "distance_m": path.distance_m[0].cpu().numpy(),
            "x_m": true[:, 0],
            "y_m": true[:, 1],
            "decoded_x_m": ours[:, 0],
            "decoded_y_m": ours[:, 1],
            "error_m": np.linalg.norm(ours - true, axis=1),
            "rate": torch.cat(rates).cpu().numpy(),
        }
    )


def compute(progress: Progress) -> Data:
    """Follow the first minute of the recorded path; the table has a row a step.

    The whole recording is ``follow(load_recording(), 1000, progress)``, best with the trajectories on a GPU.
    """
    recording = load_recording()
    path = recording.chunk(0, round(SECONDS / recording.dt_s))
    table = follow(path, CHUNK_STEPS, progress)
    maps = rate_maps(
        table[["rate"]].to_numpy().copy(), table[["x_m", "y_m"]].to_numpy().copy(), recording.arena.extent_m, bins=BINS
    )
    return Data(table, {"rate_map": maps.values[0].numpy(), "extent_m": np.array(recording.arena.extent_m)})


def _steps(data: Data) -> pd.DataFrame:
    if data.table.empty:
        raise LookupError("no path")
    return data.table


def _largest_error(data: Data) -> float:
    return float(_steps(data)["error_m"].max())


def _gain(data: Data) -> float:
    """Slope of the decoded on the true displacement from the first step, both axes together."""
    table = _steps(data)
    true, ours = (table[[f"{of}x_m", f"{of}y_m"]].to_numpy() for of in ("", "decoded_"))
    true, ours = true - true[0], ours - ours[0]
    return float((true * ours).sum() / np.square(true).sum())


def _random_walk(data: Data) -> Data:
    """A control: the decoded path is a walk with the rat's own steps, each turned by a random angle."""
    table = data.table
    step = np.diff(table[["x_m", "y_m"]].to_numpy(), axis=0) @ np.array([1, 1j])
    step = step * np.exp(2j * np.pi * np.random.default_rng(0).random(len(step)))
    x, y = table["x_m"].to_numpy(), table["y_m"].to_numpy()
    walk = x[0] + 1j * y[0] + np.concatenate([[0], step.cumsum()])
    error_m = np.abs(walk - x - 1j * y)
    return replace(data, table=table.assign(decoded_x_m=walk.real, decoded_y_m=walk.imag, error_m=error_m))


claims = (
    Claim(
        id="burak_fiete_path_error",
        statement=(
            "Path integration on a periodic sheet without noise: largest error over the first 60 s of a rat's path, m "
            "(≤ 0.15; only the first 9 m of the paper's 260 m)"
        ),
        paper="about 0.15 m after 260 m, 20 min (reported from memory, unverified)",
        citation=CITATION,
        statistic=_largest_error,
        control=_random_walk,
        low=0.0,
        high=0.15,
    ),
    Claim(
        id="burak_fiete_path_gain",
        statement="The lattice moves with one gain, measured on straight runs: slope of decoded on true displacement",
        paper="1",
        citation=CITATION,
        statistic=_gain,
        control=_random_walk,
        **within(1.0),
    ),
)


def draw(data: Data) -> Canvas:
    """Three panels, 180 mm wide: paths, error, rate map."""
    canvas = Canvas(figsize=(180 / 25.4, 56 / 25.4), layout="constrained")
    path_axes, error_axes, map_axes = canvas.subplots(1, 3, width_ratios=(1, 1, 1))
    _draw_path(path_axes, data)
    _draw_error(error_axes, data)
    _draw_map(canvas, map_axes, data)
    for letter, axes in zip("abc", (path_axes, error_axes, map_axes), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    return canvas


def _box(axes: Axes, extent_m: np.ndarray) -> None:
    (x0, x1), (y0, y1) = extent_m
    axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal", xlabel="x (m)", ylabel="y (m)")
    axes.set(xticks=(x0, 0, x1), yticks=(y0, 0, y1))
    for spine in axes.spines.values():
        spine.set_visible(True)


def _draw_path(axes: Axes, data: Data) -> None:
    table = data.table
    axes.plot(table["x_m"], table["y_m"], color=TRUE, lw=1.6, label="true")
    axes.plot(table["decoded_x_m"], table["decoded_y_m"], color=DECODED, lw=0.8, label="decoded")
    axes.plot(table["x_m"].iloc[0], table["y_m"].iloc[0], "o", ms=4, mfc="white", color=TRUE)
    _box(axes, data.arrays["extent_m"])
    axes.legend(loc="lower left", borderaxespad=0.3, handlelength=1.4)


def _draw_error(axes: Axes, data: Data) -> None:
    table = data.table
    axes.plot(table["distance_m"], 100 * table["error_m"], color=DECODED, lw=1)
    axes.axhline(15, color=GREY, lw=0.8, ls="--")
    axes.text(table["distance_m"].max(), 14.6, "paper, after 260 m", color=GREY, fontsize=7, ha="right", va="top")
    axes.set(xlim=(0, table["distance_m"].max()), ylim=(0, 16), xlabel="Distance travelled (m)", ylabel="Error (cm)")
    axes.set_yticks((0, 5, 10, 15))
    axes.set_box_aspect(1)


def _draw_map(canvas: Canvas, axes: Axes, data: Data) -> None:
    extent_m = data.arrays["extent_m"]
    image = axes.imshow(data.arrays["rate_map"], origin="lower", extent=tuple(extent_m.ravel()), cmap="viridis")
    _box(axes, extent_m)
    canvas.colorbar(image, ax=axes, label="Rate (a.u.)", shrink=0.75)
