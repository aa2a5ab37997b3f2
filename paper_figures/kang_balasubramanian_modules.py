"""Do coupled sheets fall into modules?  Kang & Balasubramanian 2019: spacings of stacked lattices, and why they fit."""

import math
from collections.abc import Callable, Hashable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from entorhinal.analysis import fourier_lattices, orientation_difference
from entorhinal.benchmarks.attractor_modules import NAME as FOLLOWED
from entorhinal.benchmarks.attractor_paths import LONG_PATHS
from entorhinal.benchmarks.commensurate_scan import NAME as SCANNED
from entorhinal.families.continuous_attractor.kang_balasubramanian import KangBalasubramanian
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, panel_rows, within

__all__ = ["FIGURE", "claims", "compute", "draw"]

SYSTEM = KangBalasubramanian.preset("paper")
RUNS = (("coupled", 0), ("coupled", 1), ("uncoupled", 0))
BORDER = 1.3  # neighbouring networks whose spacings differ by more are in two modules; uncoupled, 1.25 at most
PAIR_SIDE, PAIR_SPREAD, PAIR_MEAN = 128, 6.0, 9.0  # neurons, neurons, mean inhibition distance of two networks
PAIR_RATIOS = (1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.2)
COMMENSURATE = (1.0, math.sqrt(3), 2.0)
ROOT_7_OVER_2, TURN_7_DEG, ALIGNED_DEG = math.sqrt(7) / 2, 19.1, 8.0
CITATION = "Kang & Balasubramanian 2019"
COLOURS = {"coupled": "#0072B2", "uncoupled": "#D55E00"}
GREY = "#888888"

FIGURE = Figure(
    id="kang_balasubramanian_modules",
    title="Modules from coupled attractor sheets",
    caption=(
        "Twelve sheets of 160 × 160 neurons whose inhibition distance l grows smoothly, the paper's standard system, "
        "settled from noise. (a) Spacing of the lattice on each sheet, from its Fourier transform, with excitation "
        "from each sheet to the one before (blue, two starts) and without (orange). (b) The two sheets at the first "
        "border between modules, dorsal (magenta) and ventral (green); white where both are active. (c) Ratio of "
        "spacings and difference of orientations of neighbouring sheets; crosses: lattices that fit, (1, 0°), "
        "(√3, 30°), (2, 0°) and (√7/2, 19°). (d) Two sheets alone, coupling spread 6 neurons: ratio of spacings "
        "against the ratio of inhibition distances, which it would follow without coupling (grey); dotted: 1, √3, 2. "
        "(e) The default system of six sheets along walks of 20 s: spacing of each in metres, coupled and not; filled: "
        "its states form a torus. (f) Pairs at five spreads of the coupling, four starts and twelve ratios of "
        "inhibition distances from 1.2 to 2.05, by strength of the coupling; crosses as in c."
    ),
    models=("continuous_attractor/kang_balasubramanian-v1",),
)


def measure(panel: str, run: str, model: KangBalasubramanian, sheets: torch.Tensor) -> pd.DataFrame:
    """Spacing and orientation of the lattice on each sheet ``(h, n, n)``."""
    found = fourier_lattices(sheets, 1.0)
    distance = model.inhibition_distance
    return pd.DataFrame(
        {
            "panel": panel,
            "run": run,
            "seed": model.config.seed,
            "network": np.arange(1, len(sheets) + 1),
            "inhibition_neurons": distance.numpy(),
            "inhibition_ratio": float(distance[-1] / distance[0]),
            "spacing_neurons": found.spacing_m.numpy(),
            "orientation_rad": found.orientation_rad.numpy(),
        }
    )


def compute(progress: Progress) -> Data:
    """Settle three systems and ten pairs; the table has a row for each sheet."""
    tables, arrays = [], {}
    weight, steps = 10, 10 * len(RUNS) + len(PAIR_RATIOS)  # a system counts as ten pairs
    for done, (run, seed) in enumerate(RUNS):
        model = KangBalasubramanian.make(**SYSTEM | {"seed": seed} | ({} if run == "coupled" else {"coupling": 0.0}))
        sheets = model.settle(lambda part, whole, d=done: progress(weight * d + weight * part // whole, steps))  # type: ignore[misc]
        tables.append(measure("a", run, model, sheets))
        if (run, seed) == RUNS[0]:
            arrays["sheets"] = sheets.numpy()
    for done, ratio in enumerate(PAIR_RATIOS, 1):
        small = 2 * PAIR_MEAN / (1 + ratio)
        model = KangBalasubramanian.make(
            networks=2,
            neurons_per_side=PAIR_SIDE,
            smallest_inhibition_neurons=small,
            largest_inhibition_neurons=ratio * small,
            coupling_spread_neurons=PAIR_SPREAD,
        )
        tables.append(measure("d", "pair", model, model.settle()))
        progress(weight * len(RUNS) + done, steps)
    return Data(pd.concat((*tables, stored()), ignore_index=True), arrays)


def neighbours(rows: pd.DataFrame) -> pd.DataFrame:
    """Ratio of spacings and difference of orientations of each network and the one before, in every system."""
    found = []
    for (run, seed), system in rows.groupby(["run", "seed"]):
        spacing = system["spacing_neurons"].to_numpy()
        angle = torch.tensor(system["orientation_rad"].to_numpy())
        found.append(
            pd.DataFrame(
                {
                    "run": run,
                    "seed": seed,
                    "network": system["network"].to_numpy()[1:],
                    "ratio": spacing[1:] / spacing[:-1],
                    "difference_deg": orientation_difference(angle[1:], angle[:-1]).rad2deg().numpy(),
                }
            )
        )
    return pd.concat(found, ignore_index=True)


def module_ratios(data: Data) -> list[float]:
    """Ratios of the median spacings of neighbouring modules, in every coupled system."""
    found: list[float] = []
    for _, system in panel_rows(data, "a", run="coupled").groupby("seed"):
        spacing = system["spacing_neurons"].to_numpy()
        module = np.cumsum(np.append(0, spacing[1:] / spacing[:-1] >= BORDER))
        medians = np.array([np.median(spacing[module == index]) for index in range(module[-1] + 1)])
        found += (medians[1:] / medians[:-1]).tolist()
    return found


def _border_share(data: Data) -> float:
    """Share of the change in log spacing that lies at borders of modules; the least of the coupled systems."""
    shares = []
    for _, pairs in neighbours(panel_rows(data, "a", run="coupled")).groupby("seed"):
        step = np.log(pairs["ratio"])
        shares.append(step[pairs["ratio"] >= BORDER].sum() / step.sum())
    return float(min(shares))


def _mean_ratio(data: Data) -> float:
    return float(np.mean(module_ratios(data) or [1.0]))


def _mean_difference(data: Data) -> float:
    pairs = neighbours(panel_rows(data, "a", run="coupled"))
    return float(pairs["difference_deg"][pairs["ratio"] >= BORDER].mean()) if len(module_ratios(data)) else 0.0


def _proportion(data: Data) -> float:
    """S.d. of spacing over inhibition distance, as a part of its mean, without coupling."""
    rows = panel_rows(data, "a", run="uncoupled")
    part = rows["spacing_neurons"] / rows["inhibition_neurons"]
    return float(part.std() / part.mean())


def pairs_of(data: Data) -> pd.DataFrame:
    """Ratio of spacings of each pair of panel d, by the ratio of inhibition distances."""
    rows = panel_rows(data, "d")
    spacing = rows.pivot(index="inhibition_ratio", columns="network", values="spacing_neurons")
    return pd.DataFrame({"inhibition_ratio": spacing.index, "ratio": (spacing[2] / spacing[1]).to_numpy()})


def _locked(data: Data) -> float:
    """Share of pairs whose ratio is within 5 % of a commensurate one."""
    ratio = pairs_of(data)["ratio"].to_numpy()
    return float((np.abs(ratio[:, None] / np.array(COMMENSURATE) - 1).min(1) <= 0.05).mean())


def _follows(data: Data) -> Data:
    """A control: lattices as they are without coupling, proportional to the inhibition distance."""
    return replace(data, table=data.table.assign(spacing_neurons=2.27 * data.table["inhibition_neurons"]))


def stored() -> pd.DataFrame:
    """Panel e, the lattice in metres and the torus of each sheet, and panel f, pairs over couplings; of the shipped
    files those that are there."""
    tables = [pd.DataFrame({"panel": [], "run": []})]
    for panel, name in (("e", FOLLOWED), ("f", SCANNED)):
        if (path := LONG_PATHS / f"{name}.csv").is_file():
            tables.append(pd.read_csv(path).assign(panel=panel))
    return pd.concat(tables, ignore_index=True)


def _one_spacing(data: Data) -> float:
    """Largest relative difference of the spacings in metres within a module, coupled."""
    spacing = panel_rows(data, "e", run="coupled").sort_values("network")["spacing_m"].to_numpy()
    parts = np.split(spacing, np.nonzero(spacing[1:] / spacing[:-1] >= BORDER)[0] + 1)
    return max(float(part.max() / part.min() - 1) for part in parts)


def _unfit(data: Data) -> float:
    """How far a lattice vector of the last sheet is from the lattice of the first, in spacings of that; the farther of
    two. 0.58 is the most."""
    rows = panel_rows(data, "e", run="coupled").sort_values("network")
    (fine, turn), (coarse, turned) = rows[["spacing_m", "orientation_rad"]].to_numpy()[[0, -1]]
    whole = np.arange(-9, 10)
    lattice = fine * (whole[:, None] + whole * np.exp(1j * np.pi / 3)).ravel() * np.exp(1j * turn)
    vectors = coarse * np.exp(1j * (turned + np.array([0, np.pi / 3])))
    return float(np.abs(vectors[:, None] - lattice).min(1).max() / fine)


def _tori(column: str) -> Callable[[Data], float]:
    return lambda data: float(panel_rows(data, "e", run="coupled")[column].mean())


def _root_7(data: Data) -> float:
    """Share of starts, inhibition distances 1.28 to 1.4 apart, whose lattices fit as √7/2 and 19.1°; the largest over
    couplings."""
    rows = panel_rows(data, "f")
    rows = rows[(rows["coupling"] > 0) & rows["inhibition_ratio"].between(1.28, 1.4)]
    fits = (np.abs(rows["ratio"] / ROOT_7_OVER_2 - 1) <= 0.03) & (np.abs(rows["difference_deg"] - TURN_7_DEG) <= 4)
    return float(fits.groupby([rows["spread_neurons"], rows["coupling"]]).mean().max())


def borders(data: Data) -> pd.Series:
    """By coupling, the ratio of the first two lattices that are turned, after three pairs or more that were not, as the
    ratio of inhibition distances grows; median over the starts that have one."""
    rows = panel_rows(data, "f")
    found: dict[Hashable, list[float]] = {}
    for (spread, strength, _), pairs in rows[rows["coupling"] > 0].groupby(["spread_neurons", "coupling", "seed"]):
        pairs = pairs.sort_values("inhibition_ratio")
        turned = np.nonzero(pairs["difference_deg"].to_numpy() > ALIGNED_DEG)[0]
        if len(turned) and turned[0] >= 3:
            found.setdefault((spread, strength), []).append(float(pairs["ratio"].iloc[turned[0]]))
    return pd.Series({coupling: np.median(ratios) for coupling, ratios in found.items()}, dtype=float)


def _about_1_4(data: Data) -> float:
    """The border's ratio nearest to 1.4; 0 without borders."""
    ratio = borders(data).to_numpy()
    return float(ratio[np.abs(ratio - 1.4).argmin()]) if len(ratio) else 0.0


def _alone(data: Data) -> Data:
    """A control: pairs as they are without coupling, at the same inhibition distances."""
    table = data.table.copy()
    scanned = table[table["panel"] == "f"]
    if not scanned.empty:
        key = ["inhibition_ratio", "seed"]
        alone = scanned[scanned["coupling"] == 0].set_index(key)[["ratio", "difference_deg"]]
        table.loc[scanned.index, ["ratio", "difference_deg"]] = alone.loc[scanned[key].apply(tuple, axis=1)].to_numpy()
    return replace(data, table=table)


def _rolled(data: Data) -> Data:
    """A control: every unit rolled in time by itself."""
    table = data.table
    return replace(data, table=table.assign(is_torus=table["rolled_is_torus"]) if "is_torus" in table else table)


claims = (
    Claim(
        id="kang_modules",
        statement=(
            "Coupled sheets form discrete modules: share of the change in log spacing that lies between neighbours "
            "1.3 times apart or more (≥ 0.5; least of two starts)"
        ),
        paper="three modules",
        citation=CITATION,
        statistic=_border_share,
        control=exchanged("run", "coupled", "uncoupled"),
        low=0.5,
    ),
    Claim(
        id="kang_ratio",
        statement="Ratio of neighbouring modules' spacings, mean of two starts (paper ± 3 s.d.)",
        paper="1.74 ± 0.02 (√3 = 1.73)",
        citation=CITATION,
        statistic=_mean_ratio,
        control=exchanged("run", "coupled", "uncoupled"),
        low=1.68,
        high=1.80,
    ),
    Claim(
        id="kang_orientation",
        statement="Difference of orientation at borders of modules, in degrees (within 10 %)",
        paper="29.5 ± 0.4",
        citation=CITATION,
        statistic=_mean_difference,
        control=exchanged("run", "coupled", "uncoupled"),
        low=26.6,
        high=30.0,
    ),
    Claim(
        id="kang_smooth",
        statement=(
            "Without coupling the spacing is proportional to the inhibition distance: s.d. of their ratio over its "
            "mean (≤ 0.05)"
        ),
        paper="proportional (no number)",
        citation=CITATION,
        statistic=_proportion,
        control=exchanged("run", "coupled", "uncoupled"),
        low=0.0,
        high=0.05,
    ),
    Claim(
        id="kang_commensurate",
        statement=(
            "Two sheets lock into commensurate lattices as the ratio of inhibition distances grows from 1.2 to 2.2: "
            "share of pairs within 5 % of 1, √3 or 2 (≥ 0.75)"
        ),
        paper="regions of constant ratio (no number)",
        citation=CITATION,
        statistic=_locked,
        control=_follows,
        low=0.75,
    ),
    Claim(
        id="kang_one_spacing",
        statement=(
            "Along walks, coupled sheets of one module have one spacing in metres, though not on the sheet: largest "
            "relative difference (≤ 0.03)"
        ),
        paper="one scale a module (no number)",
        citation=CITATION,
        statistic=_one_spacing,
        control=exchanged("run", "coupled", "uncoupled"),
        high=0.03,
    ),
    Claim(
        id="kang_code_repeats",
        statement=(
            "The lattice of the last sheet is part of that of the first, so that all sheets together repeat with the "
            "largest spacing: distance of its vectors from the finer lattice, in finer spacings (≤ 0.1)"
        ),
        paper="follows from √3 and 30° (not stated)",
        citation=CITATION,
        statistic=_unfit,
        control=exchanged("run", "coupled", "uncoupled"),
        high=0.1,
    ),
    Claim(
        id="kang_tori",
        statement="The states of every coupled sheet form a torus: share of the sheets with Betti numbers (1, 2, 1)",
        paper="each sheet is a continuous attractor with a lattice (no number)",
        citation=CITATION,
        statistic=_tori("is_torus"),
        control=_rolled,
        low=1.0,
    ),
    Claim(
        id="kang_root_7",
        statement=(
            "Other couplings of two sheets give √7/2 at 19.1°: share of starts, inhibition distances 1.28 to 1.4 "
            "apart, within 3 % and 4° of it; the largest over 15 couplings (≥ 2/3)"
        ),
        paper="√7/2 ≈ 1.3 among the ratios that arise",
        citation=CITATION,
        statistic=_root_7,
        control=_alone,
        low=2 / 3,
    ),
    Claim(
        id="kang_about_1_4",
        statement=(
            "With some coupling two sheets leave their common lattice for a ratio of about 1.4 (within 5 %): the "
            "nearest over 15 couplings"
        ),
        paper="constant ratios in the range 1.3 to 1.8",
        citation=CITATION,
        statistic=_about_1_4,
        control=_alone,
        **within(1.4, 0.05),
    ),
)


def draw(data: Data) -> Canvas:
    """Six panels, 180 mm wide: spacings, the sheets at a border, neighbours; pairs, sheets in metres, couplings."""
    canvas = Canvas(figsize=(180 / 25.4, 122 / 25.4), layout="constrained")
    spacings, border, plane, locking, metres, couplings = canvas.subplots(2, 3).flatten()
    for (run, _), rows in panel_rows(data, "a").groupby(["run", "seed"]):
        spacings.plot(rows["network"], rows["spacing_neurons"], "o-", ms=3, lw=0.8, color=COLOURS[str(run)])
    spacings.set(xlabel="Network z", ylabel="Spacing (neurons)", yscale="log", box_aspect=1)
    spacings.set_yticks((10, 20, 30), labels=("10", "20", "30"))
    spacings.minorticks_off()
    _draw_border(border, data)
    pairs = neighbours(panel_rows(data, "a"))
    plane.scatter(pairs["ratio"], pairs["difference_deg"], s=12, c=[COLOURS[run] for run in pairs["run"]])
    plane.plot((1, math.sqrt(3), 2, math.sqrt(7) / 2), (0, 30, 0, 19.1), "+", color="black", ms=7, mew=0.8, zorder=0)
    plane.set(xlabel="Ratio of spacings", ylabel="Difference (°)", ylim=(-2, 32), xlim=(0.9, 2.1), box_aspect=1)
    found = pairs_of(data)
    span = (1.0, 2.3)
    locking.plot(span, span, color=GREY, lw=0.8)
    for ratio in COMMENSURATE:
        locking.axhline(ratio, color="black", lw=0.6, ls=":")
    locking.plot(found["inhibition_ratio"], found["ratio"], "o", ms=3.5, color=COLOURS["coupled"])
    locking.set(xlabel="l(2) / l(1)", ylabel="Ratio of spacings", box_aspect=1)
    _draw_metres(metres, data)
    _draw_couplings(couplings, data)
    for letter, axes in zip("abcdef", (spacings, border, plane, locking, metres, couplings), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    return canvas


def _draw_border(axes: Axes, data: Data) -> None:
    pairs = neighbours(panel_rows(data, "a", run=RUNS[0][0]))
    pairs = pairs[pairs["seed"] == RUNS[0][1]]
    at_border = pairs[pairs["ratio"] >= BORDER]
    ventral = int((at_border if len(at_border) else pairs)["network"].iloc[0])
    dorsal, below = (data.arrays["sheets"][z - 1] / data.arrays["sheets"][z - 1].max() for z in (ventral - 1, ventral))
    n = len(dorsal)
    axes.imshow(np.stack((dorsal, below, dorsal), -1), origin="lower", extent=(0, n, 0, n), rasterized=True)
    axes.set(xlabel="Neuron", xticks=(0, n // 2, n), yticks=(0, n // 2, n), title=f"z = {ventral - 1}, {ventral}")


def _draw_metres(axes: Axes, data: Data) -> None:
    rows = data.table[data.table["panel"] == "e"]
    for run, color in COLOURS.items():
        part = rows[rows["run"] == run]
        if len(part):
            axes.plot(part["network"], part["spacing_m"], "-", lw=0.8, color=color)
            for torus, fill in ((1.0, color), (0.0, "white")):
                chosen = part[part["is_torus"] == torus]
                axes.plot(chosen["network"], chosen["spacing_m"], "o", ms=4, color=color, mfc=fill)
    axes.set(xlabel="Network z", ylabel="Spacing (m)", ylim=(0, None), box_aspect=1)
    _say_if_empty(axes, rows)


def _draw_couplings(axes: Axes, data: Data) -> None:
    rows = data.table[data.table["panel"] == "f"]
    if len(rows):
        for strength, color in ((0.0, GREY), (0.3, "#56B4E9"), (0.8, "#0072B2"), (2.6, "#222222")):
            part = rows[np.isclose(rows["coupling"], strength)]
            axes.plot(part["ratio"], part["difference_deg"], ".", ms=2.5, color=color, label=f"{strength:g}")
        legend = axes.legend(fontsize=6, markerscale=2, title="coupling", title_fontsize=6, loc="center left")
        legend.set_bbox_to_anchor((1, 0.5))
    axes.plot((1, math.sqrt(3), 2, ROOT_7_OVER_2), (0, 30, 0, TURN_7_DEG), "+", color="black", ms=8, mew=0.8)
    axes.set(xlabel="Ratio of spacings", ylabel="Difference (°)", ylim=(-2, 32), xlim=(0.9, 2.2), box_aspect=1)
    _say_if_empty(axes, rows)


def _say_if_empty(axes: Axes, rows: pd.DataFrame) -> None:
    if rows.empty:
        axes.annotate("not run", (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=7, color=GREY)
