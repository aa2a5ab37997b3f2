"""What do other attractor sheets do?  A bump on a twisted torus (Guanella et al. 2007), inhibition alone (Couey et al.
2013), and a round sheet that loses the path (Fuhs & Touretzky 2006), measured as Burak & Fiete's sheet is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from entorhinal.analysis import RateMapAccumulator, grid_scores, scores_and_lattices
from entorhinal.analysis.sheets import rigid_motion, round_window, sixfold_orientation
from entorhinal.benchmarks.records import SHIPPED, load_records
from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.continuous_attractor.couey import Couey
from entorhinal.families.continuous_attractor.fuhs_touretzky import FuhsTouretzky
from entorhinal.families.continuous_attractor.guanella import Guanella, unrolled
from entorhinal.families.model import Model
from entorhinal.families.world import Arena, Trajectories, World
from entorhinal.paper_figures.barcodes import TASK as TOPOLOGY
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, panel_rows, within

__all__ = ["FIGURE", "claims", "compute", "draw"]

BURAK, GUANELLA, COUEY, FUHS = "Burak & Fiete", "Guanella", "Couey", "Fuhs & Touretzky"
IDS = {
    GUANELLA: "continuous_attractor/guanella-v1",
    COUEY: "continuous_attractor/couey-v1",
    FUHS: "continuous_attractor/fuhs_touretzky-v1",
    BURAK: "continuous_attractor/burak_fiete-v1",
}
EDGES, SPIKES, PEAKS = "Burak & Fiete, with edges", "Burak & Fiete, with spikes", "Peak selection on a sheet"
JUDGED = IDS | {
    EDGES: "continuous_attractor/burak_fiete_aperiodic-v1",
    SPIKES: "continuous_attractor/burak_fiete_spiking-v1",
    PEAKS: "continuous_attractor/peak_selection_sheet-v1",
}
"""Models whose states' topology is judged; the periodic sheet's without spikes is also drawn in `barcodes`."""
GAINS_PER_M = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0)
FORMULA_TO_PER_M = 2.5  # α up to which the paper's formula is judged; from 4.4 on it is negative
PERIODS, MAP_TRIALS, MAP_STEPS, MAP_BINS = 3.5, 16, 1000, 50
WALK_STEPS, WALK_SPEED_M_S, SEEDS = 1000, 0.24, (0, 1, 2)
CHUNK_STEPS, EVERY = 50, 10
FOLLOWED, TURNED_DEG, SCORE = 0.95, 10.0, 1.0
COLOURS = {BURAK: "#0072B2", COUEY: "#009E73", FUHS: "#D55E00"}
GREY = "#888888"

FIGURE = Figure(
    id="attractor_sheets",
    title="Three other attractor sheets",
    caption=(
        "(a–c) Settled activity: Guanella's bump, with the copies that the twist makes (the sheet twice, the upper one "
        "moved by half its width); Couey's sheet, all of whose connections inhibit; Fuhs & Touretzky's round sheet. "
        "(d) Guanella: grid spacing of all neurons, from rate maps, against gain (points); 1/α (line); the formula "
        "quoted from the paper (dashed). (e) A walk of 20 s in a 1 m box at 0.3 m/s and the same walk from the "
        "movement of the pattern in the middle of the sheet, with the scale and the orientation that fit best "
        f"({FUHS}: three patterns from different noise). (f) How far the pattern has turned on the sheet, along the "
        "same walk (Couey's sheet, as periodic as Burak & Fiete's, has bumps too wide for it). Movement and turn are "
        "measured in one way for all, by least squares from sample to sample, and added up; dots: orientation from the "
        "spectrum of single sheets. Whose states form a torus is judged on the shipped records that `barcodes` draws."
    ),
    models=tuple(JUDGED.values()),
    records=tuple((id, TOPOLOGY) for id in JUDGED.values()),
)


def guanella_spacing(gain_per_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid spacing and score of every neuron (N,), from maps of a box of 3.5 periods."""
    model = Guanella.make(gain_per_m=gain_per_m)
    world = World(Arena.square(PERIODS / gain_per_m))
    walk = world.walk(MAP_TRIALS, MAP_STEPS, seed=0, start_m=torch.zeros(MAP_TRIALS, 2))
    bin_m = PERIODS / gain_per_m / MAP_BINS
    accumulator = RateMapAccumulator(walk.arena.extent_m, MAP_BINS, 1.5 * bin_m)
    maps = accumulator.add(model.represent(walk).rates, walk.position_m).result()
    score, found = scores_and_lattices(maps.values, maps.bin_m)
    return found.spacing_m.numpy(), score.numpy()


def pattern_motion(model: Model, path: Trajectories, settled: Tensor, report: Callable[[int], None]) -> np.ndarray:
    """How patterns move since the first step of one path: ``(S, rows, columns)`` of settled sheets -> ``(S, T, 4)``.

    Shift along x and y in neurons and turn in radians, added up from sample to sample; and orientation in radians, from
    every tenth sheet by itself.
    """
    paths, state = path.select([0] * len(settled)), settled
    window = round_window(*settled.shape[1:])
    last: Tensor | None = None
    motion, orientation = [], []
    for first in range(0, path.steps, CHUNK_STEPS):
        found = model.represent(paths.chunk(first, min(first + CHUNK_STEPS, path.steps)), state)
        state, sheets = found.state, found.rates.unflatten(-1, settled.shape[1:])
        joined = sheets if last is None else torch.cat((last, sheets), 1)
        motion.append(torch.stack([rigid_motion(one, window) for one in joined]))
        orientation.append(torch.stack([sixfold_orientation(one[::EVERY], window) for one in sheets]))
        last = sheets[:, -1:]
        report(min(first + CHUNK_STEPS, path.steps))
    moved = np.pad(torch.cat(motion, 1).cumsum(1).numpy(), ((0, 0), (1, 0), (0, 0)))
    angle = np.unwrap(torch.cat(orientation, 1).numpy(), period=np.pi / 3, axis=1)
    every = np.full(moved.shape[:2], np.nan)
    every[:, ::EVERY] = angle - angle[:, :1]
    return np.concatenate((moved, every[..., None]), -1)


def fitted(moved: np.ndarray, true_m: np.ndarray) -> np.ndarray:
    """Movement on the sheet ``(T, 2)`` as a path in metres ``(T, 2)``: by the scale and the turn that fit best."""
    z, path = moved @ np.array([1, 1j]), true_m @ np.array([1, 1j])
    fit = z * (np.conj(z) @ path) / max(float((np.conj(z) @ z).real), 1e-30)
    return np.stack((fit.real, fit.imag), -1)


def _walk_rows(name: str, seed: int, motion: np.ndarray, path: Trajectories) -> pd.DataFrame:
    true_m = (path.position_m - path.position_m[:, :1])[0].double().numpy()
    x_m, y_m = fitted(motion[:, :2], true_m).T
    columns = {"time_s": path.dt_s * np.arange(path.steps), "true_x_m": true_m[:, 0], "true_y_m": true_m[:, 1]}
    columns |= {"x_m": x_m, "y_m": y_m, "turn_deg": np.rad2deg(motion[:, 2])}
    columns |= {"orientation_deg": np.rad2deg(motion[:, 3])}
    return pd.DataFrame({"panel": "walk", "model": name, "seed": seed, **columns})


def _topology() -> pd.DataFrame:
    """Betti numbers and the verdict of the shipped records, a row a model that has one."""
    rows = []
    names = {id: name for name, id in JUDGED.items()}
    for record in load_records(SHIPPED):
        if record.task == TOPOLOGY and record.model in names and record.status == "ok":
            betti = {f"betti_{k}": record.value(f"betti_{k}") for k in range(3)}
            rows.append(
                {"model": names[record.model], "seed": record.seed, "is_torus": record.value("is_torus"), **betti}
            )
    return pd.DataFrame(rows, columns=["model", "seed", "is_torus", "betti_0", "betti_1", "betti_2"]).assign(
        panel="topology"
    )


def compute(progress: Progress) -> Data:
    """Maps of Guanella's sheet at nine gains, settled sheets, and one walk followed on three kinds of sheet."""
    costs = (len(GAINS_PER_M), 4, 12, 24)  # relative
    total = 1000 * sum(costs)

    def part(k: int) -> Callable[[float], None]:
        return lambda share: progress(round(1000 * (sum(costs[:k]) + share * costs[k])), total)

    tables = []
    for i, gain in enumerate(GAINS_PER_M):
        spacing_m, score = guanella_spacing(gain)
        columns = {"gain_per_m": gain, "spacing_m": spacing_m, "grid_score": score}
        tables.append(pd.DataFrame({"panel": "spacing", "model": GUANELLA, "neuron": np.arange(len(score)), **columns}))
        part(0)((i + 1) / len(GAINS_PER_M))

    guanella, couey, burak = Guanella.make(), Couey.make(), BurakFiete.make()
    round_sheets = [FuhsTouretzky.make(seed=seed) for seed in SEEDS]
    arrays = {
        "guanella": unrolled(guanella.settled).numpy(),
        "couey": couey.settled.numpy(),
        "weak": Couey.make(inhibition=couey.config.inhibition / 4).settle().numpy(),
        "fuhs": round_sheets[0].rates_of(round_sheets[0].settled).numpy(),
    }
    path = World(Arena.square(1.0)).walk(1, WALK_STEPS, seed=0, speed_m_s=WALK_SPEED_M_S, start_m=torch.zeros(1, 2))
    for k, (name, model, settled) in enumerate(
        (
            (COUEY, couey, couey.settled[None]),
            (FUHS, round_sheets[0], torch.stack([sheet.settled for sheet in round_sheets])),
            (BURAK, burak, burak.settled[None]),
        ),
        start=1,
    ):
        report = part(k)
        motion = pattern_motion(model, path, settled, lambda step, report=report: report(step / WALK_STEPS))  # type: ignore[misc]
        tables += [_walk_rows(name, SEEDS[i], one, path) for i, one in enumerate(motion)]
    return Data(pd.concat((*tables, _topology()), ignore_index=True), arrays)


def _spacing(data: Data) -> pd.Series:
    """Median spacing of the neurons by gain."""
    return panel_rows(data, "spacing").groupby("gain_per_m")["spacing_m"].median()


def formula_m(gain_per_m: np.ndarray) -> np.ndarray:
    """The paper's spacing, taken to be in metres with α in sides for a metre."""
    return 1.02 - 0.48 * np.log2(gain_per_m)


def _formula_deviation(data: Data) -> float:
    spacing = _spacing(data).loc[: FORMULA_TO_PER_M + 1e-9]
    return float(np.abs(spacing / formula_m(spacing.index.to_numpy()) - 1).max())


def _log_slope(data: Data) -> float:
    spacing = _spacing(data)
    return float(np.polyfit(np.log(spacing.index), np.log(spacing), 1)[0])


def _spread(data: Data) -> float:
    """Standard deviation of spacing over neurons, over its mean; the largest over gains."""
    by_gain = panel_rows(data, "spacing").groupby("gain_per_m")["spacing_m"]
    return float((by_gain.std() / by_gain.mean()).max())


def _sheet_score(data: Data) -> float:
    """Grid score of Couey's sheet laid side by side, as it is a torus; 0 where activity is uniform."""
    if "couey" not in data.arrays:
        raise LookupError("no sheet")
    sheet = data.arrays["couey"]
    if sheet.std() < 1e-2 * sheet.mean():
        return 0.0
    side = 2 * min(sheet.shape)
    return float(grid_scores(np.tile(sheet, (2, 2))[None, :side, :side])[0])


def _followed(model: str) -> Callable[[Data], float]:
    """Part of the true displacement, squared, that the fitted one explains; the median over patterns."""

    def statistic(data: Data) -> float:
        parts = []
        for _, rows in panel_rows(data, "walk", model=model).groupby("seed"):
            true, found = rows[["true_x_m", "true_y_m"]].to_numpy(), rows[["x_m", "y_m"]].to_numpy()
            parts.append(1 - np.square(found - true).sum() / np.square(true).sum())
        return float(np.median(parts))

    return statistic


def _turned(model: str, column: str) -> Callable[[Data], float]:
    """Range of the pattern's orientation along the walk, in degrees; the median over patterns."""
    return lambda data: float(
        panel_rows(data, "walk", model=model).groupby("seed")[column].agg(lambda turn: turn.max() - turn.min()).median()
    )


def _is_torus(model: str) -> Callable[[Data], float]:
    return lambda data: float(panel_rows(data, "topology", model=model)["is_torus"].median())


def _torus_claim(id: str, model: str, citation: str, *, paper: str, aside: str = "") -> Claim:
    """That the states of a model form a torus; its control has the record of Fuhs & Touretzky's, which do not."""
    return Claim(
        id=id,
        statement=f"{model}: the states form a torus{aside}: Betti numbers (1, 2, 1), from the shipped record",
        paper=paper,
        citation=citation,
        statistic=_is_torus(model),
        control=exchanged("model", model, FUHS),
        low=1.0,
    )


def _changed_spacing(change: Callable[[pd.DataFrame], pd.Series]) -> Callable[[Data], Data]:
    """A control: neurons with another spacing."""
    return lambda data: replace(data, table=data.table.assign(spacing_m=change(data.table)))


def _weak(data: Data) -> Data:
    """A control: a quarter of the inhibition."""
    return replace(data, arrays={**data.arrays, "couey": data.arrays["weak"]})


claims = (
    Claim(
        id="guanella_one_scale",
        statement="Guanella: all neurons share one scale, at every gain: spread of spacings over the mean (≤ 0.05)",
        paper="one spacing for all cells of a network (no number)",
        citation="Guanella et al. 2007",
        statistic=_spread,
        control=_changed_spacing(lambda table: table["spacing_m"] * np.where(table["neuron"] % 2 == 0, 1.42, 1.0)),
        high=0.05,
    ),
    Claim(
        id="guanella_spacing_falls_with_gain",
        statement="Guanella: spacing falls with gain, as 1/α: slope of its logarithm on that of the gain",
        paper="spacing is controlled by the gain and falls with it (as 1/α: equation)",
        citation="Guanella et al. 2007",
        statistic=_log_slope,
        control=_changed_spacing(lambda table: table["spacing_m"] * table["gain_per_m"]),
        **within(-1.0),
    ),
    Claim(
        id="guanella_spacing_formula",
        statement=(
            "Guanella: spacing is 1.02 − 0.48 log₂ α for α from 1 to 2.5, in metres and sides per metre: largest "
            "relative deviation (≤ 0.1)"
        ),
        paper="about 1.02 − 0.48 log₂ α (quoted by Zilli 2012; its units and range are not verified)",
        citation="Guanella et al. 2007",
        statistic=_formula_deviation,
        control=_changed_spacing(lambda table: 2 * table["spacing_m"]),
        high=0.1,
    ),
    Claim(
        id="couey_lattice",
        statement="Couey: inhibition of one strength is enough for a triangular lattice: grid score of the sheet (≥ 1)",
        paper="a triangular lattice (no number)",
        citation="Couey et al. 2013",
        statistic=_sheet_score,
        control=_weak,
        low=SCORE,
    ),
    Claim(
        id="couey_follows_path",
        statement=f"Couey: the lattice follows a walk: explained part of the displacement, squared (≥ {FOLLOWED})",
        paper="grid cells by path integration (no number)",
        citation="Couey et al. 2013",
        statistic=_followed(COUEY),
        control=exchanged("model", COUEY, FUHS),
        low=FOLLOWED,
    ),
    Claim(
        id="burak_fiete_follows_same_path",
        statement=f"Burak & Fiete, by the same measure: explained part of the displacement (≥ {FOLLOWED})",
        paper="accurate path integration",
        citation="Burak & Fiete 2009",
        statistic=_followed(BURAK),
        control=exchanged("model", BURAK, FUHS),
        low=FOLLOWED,
    ),
    Claim(
        id="fuhs_touretzky_loses_path",
        statement=(
            "Fuhs & Touretzky (negative control): the pattern does not follow the walk: explained part of the "
            f"displacement, median of three patterns (< {FOLLOWED})"
        ),
        paper="path integration fails (reported by Burak & Fiete 2006)",
        citation="Fuhs & Touretzky 2006",
        statistic=_followed(FUHS),
        control=exchanged("model", FUHS, BURAK),
        high=FOLLOWED,
    ),
    Claim(
        id="fuhs_touretzky_turns",
        statement=(
            "Fuhs & Touretzky: the pattern turns on the sheet: range of its orientation along the walk, degrees, "
            f"median of three patterns (≥ {TURNED_DEG:g}: over three periods half a period)"
        ),
        paper="the pattern rotates (reported by Burak & Fiete 2006)",
        citation="Fuhs & Touretzky 2006",
        statistic=_turned(FUHS, "turn_deg"),
        control=exchanged("model", FUHS, BURAK),
        low=TURNED_DEG,
    ),
    Claim(
        id="fuhs_touretzky_turns_by_spectrum",
        statement=(
            "The same, from the sixfold part of every sheet's spectrum by itself, so that errors do not add up: "
            f"degrees (≥ {TURNED_DEG:g})"
        ),
        paper="the pattern rotates (reported by Burak & Fiete 2006)",
        citation="Fuhs & Touretzky 2006",
        statistic=_turned(FUHS, "orientation_deg"),
        control=exchanged("model", FUHS, BURAK),
        low=TURNED_DEG,
    ),
    _torus_claim("guanella_is_torus", GUANELLA, "Guanella et al. 2007", paper="a twisted torus by construction"),
    _torus_claim("couey_is_torus", COUEY, "Couey et al. 2013", paper="a periodic sheet"),
    _torus_claim("burak_fiete_sheet_is_torus", BURAK, "Burak & Fiete 2009", paper="a periodic sheet"),
    _torus_claim(
        "burak_fiete_aperiodic_is_torus",
        EDGES,
        "Burak & Fiete 2009",
        paper="the same lattice, which flows over the edges (no number)",
        aside=", as phases of the lattice are all that moves",
    ),
    _torus_claim(
        "burak_fiete_spiking_is_torus",
        SPIKES,
        "Burak & Fiete 2009",
        paper="a periodic sheet whose lattice stands spikes (no number)",
        aside=" in spite of them",
    ),
    _torus_claim(
        "peak_selection_sheet_is_torus",
        PEAKS,
        "Khona, Chandra & Fiete 2025",
        paper="modules that move as one (no number)",
        aside=", those of the module judged",
    ),
    Claim(
        id="fuhs_touretzky_is_no_torus",
        statement="Fuhs & Touretzky: the states form no torus, from the shipped record (1 if they do)",
        paper="none: the pattern keeps no phase",
        citation="Fuhs & Touretzky 2006",
        statistic=_is_torus(FUHS),
        control=exchanged("model", FUHS, GUANELLA),
        high=0.0,
    ),
)


def draw(data: Data) -> Canvas:
    """Six panels, 180 mm wide: three sheets; spacing, walk, turn."""
    canvas = Canvas(figsize=(180 / 25.4, 118 / 25.4), layout="constrained")
    axes = canvas.subplots(2, 3, height_ratios=(1, 1.15)).flatten()
    for ax, name, title in zip(axes[:3], ("guanella", "couey", "fuhs"), (GUANELLA, COUEY, FUHS), strict=True):
        ax.imshow(data.arrays[name], origin="lower", cmap="viridis", interpolation="nearest")
        ax.set(xticks=[], yticks=[], title=title)
    axes[0].axhline(data.arrays["guanella"].shape[0] / 2 - 0.5, color="white", lw=0.8, ls=":")
    _draw_spacing(axes[3], data)
    _draw_walk(axes[4], data)
    _draw_turn(axes[5], data)
    for letter, ax in zip("abcdef", axes, strict=True):
        ax.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    return canvas


def _draw_spacing(ax: Axes, data: Data) -> None:
    spacing = _spacing(data)
    gain = np.linspace(spacing.index.min(), spacing.index.max(), 200)
    ax.plot(gain, 1 / gain, color="black", lw=1, label="1/α")
    ax.plot(gain, formula_m(gain), color=GREY, ls="--", lw=1, label="1.02 − 0.48 log₂ α")
    ax.plot(spacing.index, spacing, "o", ms=4, color=COLOURS[BURAK], label="found")
    ax.set(xlabel="Gain α (sides per m)", ylabel="Grid spacing (m)", ylim=(0, None))
    ax.set_box_aspect(1)
    ax.legend()


def _draw_walk(ax: Axes, data: Data) -> None:
    rows = panel_rows(data, "walk")
    first = rows[(rows["model"] == BURAK) & (rows["seed"] == SEEDS[0])]
    ax.plot(first["true_x_m"], first["true_y_m"], color="#222222", lw=1.8, label="true")
    for (name, seed), part in rows.groupby(["model", "seed"], sort=False):
        label = name if seed == SEEDS[0] else None
        ax.plot(part["x_m"], part["y_m"], color=COLOURS[str(name)], lw=0.8, label=label)
    ax.set(xlabel="x (m)", ylabel="y (m)", aspect="equal")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2, columnspacing=1)


def _draw_turn(ax: Axes, data: Data) -> None:
    rows = panel_rows(data, "walk")
    for (name, _), part in rows[rows["model"] != COUEY].groupby(["model", "seed"], sort=False):
        ax.plot(part["time_s"], part["turn_deg"], color=COLOURS[str(name)], lw=0.8)
        ax.plot(part["time_s"][::EVERY], part["orientation_deg"][::EVERY], ".", ms=2, color=COLOURS[str(name)])
    ax.axhspan(-TURNED_DEG / 2, TURNED_DEG / 2, color=GREY, alpha=0.15, lw=0)
    ax.set(xlabel="Time (s)", ylabel="Turn of the pattern (°)")
    ax.set_box_aspect(1)
