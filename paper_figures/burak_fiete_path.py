"""How well does the sheet integrate a rat's path?  Burak & Fiete 2009: a recorded path, followed by the lattice."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from entorhinal.analysis import plots
from entorhinal.benchmarks.records import SHIPPED, find_record
from entorhinal.benchmarks.rollout import anchored, follow
from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.world import load_recording
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, within

__all__ = ["FIGURE", "claims", "compute", "draw"]

MODEL, PATH_TASK, MAP_TASK = "continuous_attractor/burak_fiete-v1", "path_integration-v1", "gridness-v2"
SECONDS = 60.0
CHUNK_BYTES = 2**23  # so that the progress bar moves
LIVE, WHOLE = "60 s, now", "600 s, record"
CITATION = "Burak & Fiete 2009"
TRUE, DECODED, GREY = "#222222", "#D55E00", "#888888"

FIGURE = Figure(
    id="burak_fiete_path",
    title="Path integration on a continuous attractor sheet",
    caption=(
        "(a) The first 60 s of a rat's path in a 1 m box (Sargolini et al. 2006) and the same path decoded from the "
        "movement of the lattice on the sheet, anchored at the first step (circle). The metre is calibrated on "
        "straight runs, not on this path. (b) Error against distance travelled: thick, the same minute; thin, the "
        "whole recording from the shipped record; dashed, the 15 cm that the paper reports after 260 m (from memory, "
        "not verified). (c) Rate map of the neuron of median grid score over the whole recording."
    ),
    models=(MODEL,),
    records=((MODEL, PATH_TASK), (MODEL, MAP_TASK)),
)


def compute(progress: Progress) -> Data:
    """Follow the first minute of the recorded path now, and read the whole of it from the shipped records."""
    recording = load_recording()
    path = recording.chunk(0, round(SECONDS / recording.dt_s))
    decoded_m = follow(BurakFiete.make(), path, choose=None, max_bytes=CHUNK_BYTES, progress=progress).decoded_m
    assert decoded_m is not None
    live = anchored(decoded_m, path)[0], path.position_m[0], path.distance_m[0]
    whole = find_record(MODEL, PATH_TASK).arrays(SHIPPED)
    recorded = tuple(whole[f"whole_{name}_m"] for name in ("decoded", "position", "distance"))
    maps = find_record(MODEL, MAP_TASK).arrays(SHIPPED)
    middle = len(maps["maps"]) // 2
    table = pd.concat((_rows(LIVE, *live), _rows(WHOLE, *recorded)), ignore_index=True)
    arrays = {"rate_map": maps["maps"][middle].float().numpy(), "score": maps["map_scores"][middle].numpy()}
    return Data(table, arrays | {"extent_m": np.array(recording.arena.extent_m)})


def _rows(run: str, decoded_m: Tensor, position_m: Tensor, distance_m: Tensor) -> pd.DataFrame:
    """A row a sample of one run: (T, 2), (T, 2), (T,)."""
    ours, true = decoded_m.double().cpu().numpy(), position_m.double().cpu().numpy()
    error_m = np.linalg.norm(ours - true, axis=1)
    columns = dict(zip(("x_m", "y_m", "decoded_x_m", "decoded_y_m"), (*true.T, *ours.T), strict=True))
    return pd.DataFrame({"run": run, "distance_m": distance_m.cpu().numpy()} | columns | {"error_m": error_m})


def _steps(data: Data, run: str) -> pd.DataFrame:
    table = data.table[data.table["run"] == run]
    if table.empty:
        raise LookupError(f"no path of {run}")
    return table


def _largest_error(run: str) -> Callable[[Data], float]:
    return lambda data: float(_steps(data, run)["error_m"].max())


def _gain(data: Data) -> float:
    """Slope of the decoded on the true displacement from the first step, both axes together."""
    table = _steps(data, LIVE)
    true, ours = (table[[f"{of}x_m", f"{of}y_m"]].to_numpy() for of in ("", "decoded_"))
    true, ours = true - true[0], ours - ours[0]
    return float((true * ours).sum() / np.square(true).sum())


def _random_walk(data: Data) -> Data:
    """A control: each decoded path is a walk with the rat's own steps, each turned by a random angle."""
    return replace(data, table=pd.concat([_turned(_steps(data, run)) for run in (LIVE, WHOLE)]))


def _turned(table: pd.DataFrame) -> pd.DataFrame:
    step = np.diff(table[["x_m", "y_m"]].to_numpy(), axis=0) @ np.array([1, 1j])
    step = step * np.exp(2j * np.pi * np.random.default_rng(0).random(len(step)))
    x, y = table["x_m"].to_numpy(), table["y_m"].to_numpy()
    walk = x[0] + 1j * y[0] + np.concatenate([[0], step.cumsum()])
    return table.assign(decoded_x_m=walk.real, decoded_y_m=walk.imag, error_m=np.abs(walk - x - 1j * y))


claims = (
    Claim(
        id="burak_fiete_path_error",
        statement=(
            "Path integration on a periodic sheet without noise: largest error over the first 60 s of a rat's path, m "
            "(≤ 0.15; only the first 9 m of the paper's 260 m)"
        ),
        paper="about 0.15 m after 260 m, 20 min (reported from memory, unverified)",
        citation=CITATION,
        statistic=_largest_error(LIVE),
        control=_random_walk,
        low=0.0,
        high=0.15,
    ),
    Claim(
        id="burak_fiete_whole_path_error",
        statement=(
            "The same over the whole recording, 600 s and 73 m, from the shipped record: largest error, m (≤ 0.15)"
        ),
        paper="about 0.15 m after 260 m, 20 min (reported from memory, unverified)",
        citation=CITATION,
        statistic=_largest_error(WHOLE),
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
    _draw_map(map_axes, data)
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
    table = _steps(data, LIVE)
    axes.plot(table["x_m"], table["y_m"], color=TRUE, lw=1.6, label="true")
    axes.plot(table["decoded_x_m"], table["decoded_y_m"], color=DECODED, lw=0.8, label="decoded")
    axes.plot(table["x_m"].iloc[0], table["y_m"].iloc[0], "o", ms=4, mfc="white", color=TRUE)
    _box(axes, data.arrays["extent_m"])
    axes.legend(loc="lower left", borderaxespad=0.3)


def _draw_error(axes: Axes, data: Data) -> None:
    for run, width, alpha in ((WHOLE, 0.7, 0.6), (LIVE, 1.4, 1.0)):
        table = _steps(data, run)
        axes.plot(table["distance_m"], 100 * table["error_m"], color=DECODED, lw=width, alpha=alpha, label=run)
    axes.axhline(15, color=GREY, lw=0.8, ls="--")
    end_m = data.table["distance_m"].max()
    axes.text(end_m, 14.6, "paper, after 260 m", color=GREY, fontsize=7, ha="right", va="top")
    axes.set(xlim=(0, end_m), ylim=(0, 16), xlabel="Distance travelled (m)", ylabel="Error (cm)")
    axes.set_yticks((0, 5, 10, 15))
    axes.set_box_aspect(1)
    axes.legend(loc="center right")


def _draw_map(axes: Axes, data: Data) -> None:
    extent_m = data.arrays["extent_m"]
    plots.rate_map(axes, data.arrays["rate_map"], bin_m=np.ptp(extent_m[0]) / data.arrays["rate_map"].shape[1])
    axes.set_title(f"grid score {float(data.arrays['score']):.2f}")
