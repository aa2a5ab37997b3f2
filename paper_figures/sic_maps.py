"""What does self-supervised learning of space learn?  Maps of one network in a 2 m and a 4 m box, and how far its code
tells places apart (Schaeffer et al. 2023)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from entorhinal.analysis import RateMapAccumulator, null_grid_scores, plots, scores_and_lattices
from entorhinal.benchmarks.records import checkpoint
from entorhinal.benchmarks.rollout import rollout
from entorhinal.benchmarks.seeds import derive
from entorhinal.families import Arena, Model, World, load
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress

MODEL, CITATION = "ssl/sic-v1", "Schaeffer et al. 2023"
TRAINED, UNTRAINED, ONE_TORUS = "trained", "untrained", "one torus"
SIDES_M, BINS, SMOOTHING_M = (2.0, 4.0), {2.0: 50, 4.0: 64}, 0.03
TRIALS, STEPS, NULL_MAPS, SHOWN = 256, 300, 100, 6
PLANE_M, CELL_M, FARTHEST_M, RING_M, NEAREST_M = 7.2, 0.05, 3.5, 0.05, 0.3

FIGURE = Figure(
    id="sic_maps",
    title="Self-supervised learning of space",
    caption=(
        "One network trained by separation, invariance and capacity. (a) Rate maps of units from best to worst (grid "
        "score above each) in a 2 m box and, below, of the same units in a 4 m box, on walks from the origin of "
        f"{STEPS} independent steps (five times as long as those it learned from, whose steps these are). (b) Grid "
        "scores in the 4 m box against noise of each unit's radially averaged spectrum. (c) Distance of the code from "
        "that of the origin against distance in space: mean over places (thick) and nearest place (thin), trained, "
        "untrained, and for one torus of ideal grid units; dashed: the 0.55 below which the paper's curve does not "
        "fall; grey: how far the states of the training walks spread (95 %)."
    ),
    models=(MODEL, "controls/ideal_grid-v1"),
)


def _rows(data: Data, network: str, kind: str) -> pd.DataFrame:
    rows = data.table[(data.table["network"] == network) & (data.table["kind"] == kind)]
    if rows.empty:
        raise LookupError(f"{network} {kind}")
    return rows


def _median_score(data: Data, side_m: float) -> float:
    rows = _rows(data, TRAINED, "unit")
    return float(rows[rows["side_m"] == side_m]["score"].median())


def _grid_fraction(data: Data, side_m: float) -> float:
    rows = _rows(data, TRAINED, "unit")
    rows = rows[rows["side_m"] == side_m]
    return float((rows["score"] > rows["threshold"]).mean())


def _plateau(data: Data, column: str) -> pd.Series:
    rows = _rows(data, TRAINED, "distance")
    return rows[rows["distance_m"] >= NEAREST_M][column]


def _rise(data: Data) -> float:
    """Where the mean distance of the code first exceeds half of its plateau, in metres."""
    rows = _rows(data, TRAINED, "distance")
    half = 0.5 * float(_plateau(data, "mean").median())
    return float(rows[rows["mean"] >= half]["distance_m"].iloc[0])


def _as_trained(other: str) -> Callable[[Data], Data]:
    """Data in which the rows of ``other`` stand for the trained network."""

    def swap(data: Data) -> Data:
        rest = data.table[~data.table["network"].isin((TRAINED, other))]
        return Data(pd.concat((rest, data.table[data.table["network"] == other].assign(network=TRAINED))), data.arrays)

    return swap


claims = (
    Claim(
        id="sic_units_are_grids_2m",
        statement="Units of a network trained by separation, invariance and capacity are hexagonal in a 2 m box: the "
        "median score of its active units is above 0.5",
        paper="grid cells (shown, not scored)",
        citation=CITATION,
        statistic=lambda data: _median_score(data, 2.0),
        control=_as_trained(UNTRAINED),
        low=0.5,
    ),
    Claim(
        id="sic_lattice_goes_on_4m",
        statement="The lattice goes on in a 4 m box, beyond the training walks: median score above 0.5",
        paper="goes on in 3 and 4 m boxes",
        citation=CITATION,
        statistic=lambda data: _median_score(data, 4.0),
        control=_as_trained(UNTRAINED),
        low=0.5,
    ),
    Claim(
        id="sic_units_beat_their_noise_4m",
        statement="In the 4 m box at least half of the active units score above all 100 noise maps of their spectrum",
        paper="grid cells (shown, not scored)",
        citation=CITATION,
        statistic=lambda data: _grid_fraction(data, 4.0),
        control=_as_trained(UNTRAINED),
        low=0.5,
    ),
    Claim(
        id="sic_plateau",
        statement="The code's distance from the origin's, averaged over directions, keeps to a plateau of about 0.8 "
        "(0.72 to 0.88) from 0.3 to 3.5 m",
        paper="about 0.8",
        citation=CITATION,
        statistic=lambda data: float(_plateau(data, "mean").median()),
        control=_as_trained(UNTRAINED),
        low=0.72,
        high=0.88,
    ),
    Claim(
        id="sic_rise",
        statement="It rises to half of the plateau within 0.15 m (three σ_x)",
        paper="within a distance of the scale of σ_x (0.05 m)",
        citation=CITATION,
        statistic=_rise,
        control=lambda data: Data(
            data.table.assign(distance_m=data.table["distance_m"] * 4), data.arrays
        ),  # the same code, four times as wide
        high=0.15,
    ),
    Claim(
        id="sic_mean_does_not_dip",
        statement="Averaged over directions it does not fall below 0.55 from 0.3 to 3.5 m",
        paper="dips no lower than about 0.55",
        citation=CITATION,
        statistic=lambda data: float(_plateau(data, "mean").min()),
        control=_as_trained(UNTRAINED),
        low=0.55,
    ),
    Claim(
        id="sic_code_does_not_repeat",
        statement="No single place from 0.3 to 3.5 m has a code nearer than 0.55 to that of the origin: the code does "
        "not repeat",
        paper="several modules whose joint code does not repeat over metres",
        citation=CITATION,
        statistic=lambda data: float(_plateau(data, "nearest").min()),
        control=_as_trained(ONE_TORUS),
        low=0.55,
    ),
)


def compute(progress: Progress) -> Data:
    """Run the shipped network, its untrained self and one ideal torus along the same walks."""
    trained = load(checkpoint("sic"))
    untrained = type(trained)(trained.config)
    walks = World(Arena.square(PLANE_M, walls=False)).iid_steps(
        TRIALS, STEPS, seed=derive(0, "sic_maps"), max_step_m=trained.config.max_step_m
    )
    tables, arrays = [], {}
    networks = {TRAINED: trained, UNTRAINED: untrained}
    for i, (name, model) in enumerate(networks.items()):
        accumulators = {side_m: RateMapAccumulator(_box(side_m), BINS[side_m], SMOOTHING_M) for side_m in SIDES_M}
        plane = RateMapAccumulator(_box(PLANE_M), round(PLANE_M / CELL_M))

        def report(done: int, total: int, i: int = i) -> None:
            progress(i * total + done, 3 * total)

        for chunk, found in rollout(model, walks, max_bytes=2**24, progress=report):
            for accumulator in (*accumulators.values(), plane):
                accumulator.add(found.rates, chunk.position_m)
        maps = {side_m: accumulator.result() for side_m, accumulator in accumulators.items()}
        active = maps[4.0].values.flatten(1).nan_to_num(0).amax(1) > 0.02
        for side_m, found_maps in maps.items():
            table, scores = _score(found_maps.values[active], found_maps.bin_m, side_m, name)
            tables.append(table)
            if name == TRAINED:
                if side_m == SIDES_M[0]:
                    order = scores.nan_to_num(-torch.inf).argsort(descending=True)
                    shown = order[torch.linspace(0, len(order) - 1, SHOWN).long()]
                arrays[f"maps {side_m:g}"] = found_maps.values[active][shown].float().numpy()
                arrays[f"scores {side_m:g}"] = scores[shown].numpy()
        tables.append(_distances(plane.result().values, name))
    config = trained.config
    arrays["spread_m"] = np.array(_training_spread_m(trained))
    tables.append(_distances(_one_torus(config.units), ONE_TORUS))
    progress(1, 1)
    return Data(pd.concat(tables, ignore_index=True), arrays)


def _box(side_m: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return Arena.square(side_m).extent_m  # type: ignore[return-value]


def _score(maps: Tensor, bin_m: float, side_m: float, network: str) -> tuple[pd.DataFrame, Tensor]:
    scores, lattices = scores_and_lattices(maps, bin_m)
    generator = torch.Generator().manual_seed(derive(0, "sic_maps", "null"))
    null = null_grid_scores(maps, NULL_MAPS, generator=generator).nan_to_num(-torch.inf)
    table = pd.DataFrame(
        {
            "network": network,
            "kind": "unit",
            "side_m": side_m,
            "score": scores.numpy(),
            "threshold": null.amax(1).numpy(),
            "null_score": null[:, 0].numpy(),
            "spacing_m": lattices.spacing_m.numpy(),
            "orientation_rad": lattices.orientation_rad.numpy(),
        }
    )
    return table, scores


def _distances(maps: Tensor, network: str) -> pd.DataFrame:
    """Mean code of each cell of the plane, ``(N, H, W)``, against that of the cells around the origin, by distance."""
    side = maps.shape[-1]
    axis_m = CELL_M * (torch.arange(side, dtype=maps.dtype) + 0.5 - side / 2)
    distance_m = torch.hypot(*torch.meshgrid(axis_m, axis_m, indexing="ij")).flatten()
    codes = maps.flatten(1).T
    origin = codes[distance_m < CELL_M].nanmean(0)
    apart = (codes - origin).norm(dim=1)
    rows = []
    for ring in range(round(FARTHEST_M / RING_M)):
        inside = (distance_m >= ring * RING_M) & (distance_m < (ring + 1) * RING_M) & apart.isfinite()
        if inside.any():
            values = apart[inside]
            rows.append(((ring + 0.5) * RING_M, float(values.mean()), float(values.min()), int(inside.sum())))
    table = pd.DataFrame(rows, columns=["distance_m", "mean", "nearest", "cells"])
    return table.assign(network=network, kind="distance")


def _one_torus(units: int) -> Tensor:
    """Unit-norm codes of one module of ideal grid units (spacing 1.2 m) over the plane, ``(N, H, W)``."""
    from entorhinal.families.controls.ideal_grid import IdealGrid

    grid = IdealGrid.make(spacing_m=(1.2,), orientation_rad=(0.1,), units_per_module=units)
    side = round(PLANE_M / CELL_M)
    axis_m = CELL_M * (torch.arange(side, dtype=torch.float64) + 0.5 - side / 2)
    y_m, x_m = torch.meshgrid(axis_m, axis_m, indexing="ij")
    rates = grid.rates_at(torch.stack((x_m, y_m), -1)).movedim(-1, 0)
    return rates / rates.norm(dim=0)


def _training_spread_m(model: Model) -> float:
    """Distance within which 95 % of the states of training walks stay."""
    batch = next(model.training_data(World(Arena.square(PLANE_M, walls=False)), 0))  # type: ignore[operator]
    position_m = batch["velocity_m"][batch["order"]].cumsum(1)
    return float(position_m.norm(dim=-1).quantile(0.95))


def draw(data: Data) -> Canvas:
    canvas = plt.figure(figsize=(180 / 25.4, 120 / 25.4), layout="constrained")
    parts: Any = canvas.subfigures(2, 1, height_ratios=(1.5, 1))
    top, bottom = parts
    for side_m, line in zip(SIDES_M, top.subplots(2, SHOWN), strict=True):
        scores = data.arrays[f"scores {side_m:g}"]
        for ax, map_, score in zip(line, data.arrays[f"maps {side_m:g}"], scores, strict=True):
            plots.rate_map(ax, map_, bin_m=side_m / BINS[side_m], scale_bar=False)
            ax.set_title(f"{score:.2f}", fontsize=7, pad=2)
        line[0].set_ylabel(f"{side_m:g} m box")
    top.suptitle("a", x=0.01, ha="left", fontweight="bold")
    left, right = bottom.subplots(1, 2, width_ratios=(1, 2))
    units = _rows(data, TRAINED, "unit")
    units = units[units["side_m"] == SIDES_M[-1]]
    plots.score_histogram(left, units["score"].to_numpy(), units["null_score"].to_numpy())
    left.axvline(units["threshold"].median(), color=plots.ORANGE, linewidth=1, label="highest of 100 noise maps")
    left.legend(fontsize=6)
    left.set_title("b", loc="left", fontweight="bold")
    for network, colour in ((TRAINED, plots.BLUE), (UNTRAINED, plots.GREY), (ONE_TORUS, plots.GREEN)):
        rows = _rows(data, network, "distance")
        curves = (rows[name].to_numpy() for name in ("distance_m", "mean", "nearest"))
        plots.capacity_curve(right, *curves, label=network, color=colour)
    right.axhline(0.55, color="black", linewidth=0.6, linestyle="--")
    right.axvspan(0, float(data.arrays["spread_m"]), color="#eeeeee", zorder=0)
    right.set(xlabel="distance from the origin (m)", ylabel="‖g(0) − g(x)‖", xlim=(0, FARTHEST_M))
    right.legend(fontsize=6, loc="center", bbox_to_anchor=(0.17, 0.34))
    right.set_title("c", loc="left", fontweight="bold")
    return canvas
