"""What did each network of a folder learn?  One row a network, for the comparisons of ``ssl/`` and of trained models of
``function_optimization``.

    python -m entorhinal.benchmarks.ssl_measures FOLDER ... --out FILE.csv [--maps FILE.safetensors] [--part 0/4]

Walks. Velocity networks (`ssl/sic` and its kin): 2,048 walks of 300 steps like those they learned from, from the
origin, in an open plane. Others: 2,048 common walks (`World.walk`) of 64 steps in a box, from anywhere in it if they
were told positions in training, else from its middle. Box: twice the card's training extent and at most 4 m, 4 m for
models made for no box; the training extent for models that were told positions. What leaves it is left out.

Maps: 64² bins of the box, smoothed by 3 cm. Fields are measured in its middle, of the training extent, with 80² bins.
Active: peak rate above 0.02 (units of codes of unit norm have a root mean square of 0.09 for 128). Grid unit: scores
above all of 200 noise maps, as in `gridness-v2`. Band unit: no grid unit, a band score above 0.6, and
bands that come again (`band_repeats` above 0.3).

score_median, score_mean, score_p90; grid_fraction, band_fraction    of active units
spacing_median_m, ellipticity_median      of grid units; an ellipticity of 1 is no shear
module_count, independent_modules         of grid units, as in `modules-v1`; empty where the box cannot tell
spatial_information                       bits a spike (Skaggs), median over active units
split_half                                correlation of maps of even and odd walks, median over active units
field_width_m                             half-width of the autocorrelogram's peak, median over active units
separation                                smallest over median code distance, 0.3 to 3 m, mean over 20 origins, of
                                          velocity networks, which walk in strides of 0.1 m
path_error_m                              distance of the place decoded at the end of a walk from where it is, median
                                          over walks, of models that integrate paths and decode
loss_*                                    the last of the training history

``--maps`` keeps, of the networks whose seed is a multiple of ten, the maps of six units from best to worst score.
"""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from entorhinal.analysis import (
    RateMapAccumulator,
    above_null,
    band_repeats,
    band_scores,
    code_distances,
    code_separation,
    field_widths,
    independence,
    modules,
    scores_and_lattices,
    spatial_information,
)
from entorhinal.analysis.nulls import NULL_MAPS
from entorhinal.benchmarks.measures import IDENTITY, command
from entorhinal.benchmarks.places import lattice_m, walk_lattice
from entorhinal.benchmarks.rollout import rollout
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.map_run import map_correlations
from entorhinal.families.model import Decoder, Model, PathIntegrator, Representation
from entorhinal.families.world import Arena, Trajectories, World
from entorhinal.ssl.velocity_network import VelocityNetwork

__all__ = ["MEASURES", "SHIPPED", "chosen", "kept_maps", "measure", "measured", "walks_of"]

SHIPPED = Path(__file__).parent / "sweeps"
"""Sweeps of the project, as TOML, with the measures of their networks as CSV and maps beside them."""

MEASURES = (
    "active_units",
    "score_median",
    "score_mean",
    "score_p90",
    "grid_fraction",
    "band_fraction",
    "spacing_median_m",
    "ellipticity_median",
    "module_count",
    "independent_modules",
    "spatial_information",
    "split_half",
    "field_width_m",
    "separation",
    "path_error_m",
)
WALKS, IID_STEPS, STEPS = 2048, 300, 64
SIDE_M, SCALE, BINS, FIELD_BINS, SMOOTHING_M, ACTIVE = 4.0, 2, 64, 80, 0.03, 0.02
BAND, REPEAT = 0.6, 0.3
PITCH_M, STRIDE_M, HALF, ORIGIN_HALF, ORIGINS, NEAREST_M, FARTHEST_M = 0.02, 0.1, 160, 10, 20, 0.3, 3.0
KEPT_MAPS, LEAST_ACTIVE = 6, 64


def walks_of(model: Model, *, walks: int = WALKS) -> tuple[Trajectories, float, float]:
    """Walks on which a model is measured, and the sides in metres of the box of its maps and of that of its fields."""
    extent_m = model.card.training_extent_m
    inner_m = extent_m or SIDE_M
    told = model.card.supervision in ("input", "target")
    side_m = inner_m if told else min(SCALE * inner_m, SIDE_M)
    seed = derive(0, "ssl measures", "walks")
    if isinstance(model, VelocityNetwork):
        plane = World(Arena.square(side_m, walls=False))
        return plane.iid_steps(walks, IID_STEPS, seed=seed, max_step_m=model.config.max_step_m), side_m, inner_m
    start_m = None if told else torch.zeros(walks, 2)
    return World(Arena.square(side_m)).walk(walks, STEPS, seed=seed, start_m=start_m), side_m, min(inner_m, side_m)


def measure(
    model: Model, *, device: torch.device, walks: int = WALKS, null_maps: int = NULL_MAPS
) -> tuple[dict[str, float], Tensor]:
    """`MEASURES` of a model on its device, NaN where there is none, and maps ``(6, 64, 64)`` from best to worst."""
    paths, side_m, inner_m = walks_of(model, walks=walks)
    box, inner = Arena.square(side_m).extent_m, Arena.square(inner_m).extent_m
    halves = slice(None), slice(0, None, 2), slice(1, None, 2)
    accumulators = [RateMapAccumulator(box, BINS, SMOOTHING_M) for _ in halves]
    fields = RateMapAccumulator(inner, FIELD_BINS, SMOOTHING_M)
    for chunk, found in rollout(model, paths.to(device)):
        for accumulator, trials in zip(accumulators, halves, strict=True):
            accumulator.add(found.rates[trials], chunk.position_m[trials])
        fields.add(found.rates, chunk.position_m)
    path_error_m = math.nan
    if isinstance(model, PathIntegrator) and isinstance(model, Decoder):
        with torch.no_grad():
            decoded_m = model.decode(Representation(found.rates[:, -1:], found.state))
        path_error_m = float((decoded_m - chunk.position_m[:, -1:]).norm(dim=-1).nanmedian())
    whole, even, odd = (accumulator.result() for accumulator in accumulators)
    close = fields.result()

    active = whole.values.flatten(1).nan_to_num(0).amax(1) > ACTIVE
    maps = whole.values[active]
    score, lattice = scores_and_lattices(maps, whole.bin_m)
    generator = torch.Generator(maps.device).manual_seed(derive(0, "ssl measures", "null"))
    _, is_grid = above_null(maps, score, null_maps, generator=generator)
    drawn = derive(0, "ssl measures", "modules") % 2**32
    grouped = modules(lattice, is_grid, least_score=0.5, seed=drawn)
    linked = independence(maps, grouped, whole.bin_m, seed=drawn)
    units = len(maps)
    is_band = (band_scores(maps) > BAND) & (band_repeats(maps) > REPEAT) & ~is_grid
    row: dict[str, float | Tensor] = {
        "active_units": units,
        "score_median": score.nanmedian(),
        "score_mean": score.nanmean(),
        "score_p90": score.nanquantile(0.9) if units else math.nan,
        "grid_fraction": is_grid.double().mean(),
        "band_fraction": is_band.double().mean(),
        "spacing_median_m": lattice.spacing_m[is_grid].nanmedian(),
        "ellipticity_median": lattice.ellipticity[is_grid].nanmedian(),
        "module_count": grouped.count,
        "independent_modules": linked.count if linked.decided else math.nan,
        "spatial_information": spatial_information(close.values[active], close.occupancy).nanmedian(),
        "split_half": map_correlations(even.values[active], odd.values[active]).nanmedian(),
        "field_width_m": field_widths(close.values[active], close.bin_m).nanmedian(),
        "separation": _separation(model, device) if isinstance(model, VelocityNetwork) else math.nan,
        "path_error_m": path_error_m,
    }
    best = score.nan_to_num(-math.inf).argsort(descending=True, stable=True)
    shown = best[torch.linspace(0, max(units - 1, 0), min(units, KEPT_MAPS)).long()]
    return {name: float(value) for name, value in row.items()}, maps[shown]


def _separation(model: Model, device: torch.device) -> float:
    codes = walk_lattice(model, HALF, PITCH_M, STRIDE_M, device=device)
    place_m = lattice_m(HALF, PITCH_M, device)
    middle = slice(HALF - ORIGIN_HALF, HALF + ORIGIN_HALF + 1)
    generator = torch.Generator().manual_seed(derive(0, "ssl measures", "origins"))
    chosen = torch.randperm((2 * ORIGIN_HALF + 1) ** 2, generator=generator)[:ORIGINS].to(device)
    origin_m, origins = (values[middle, middle].flatten(0, 1)[chosen] for values in (place_m, codes))
    apart = code_distances(origins, codes.flatten(0, 1))
    offset_m = place_m.flatten(0, 1) - origin_m[:, None]
    return code_separation(apart, offset_m, least_m=NEAREST_M, most_m=FARTHEST_M).mean


def measured(name: str, folder: Path = SHIPPED) -> pd.DataFrame:
    """The measures of a sweep's networks, a row each, with its setting as JSON; no rows where it was not run."""
    path = folder / f"{name}.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["network", *IDENTITY, *MEASURES])


def kept_maps(name: str, folder: Path = SHIPPED) -> dict[str, Tensor]:
    """Maps ``(6, 64, 64)`` by network, of one seed in ten; none where the sweep was not run."""
    path = folder / f"{name}.maps.safetensors"
    return load_file(path) if path.is_file() else {}


def chosen(table: pd.DataFrame) -> dict[str, Any]:
    """The setting, from a scan's CSV, of the highest median score of networks with 64 active units or more.

    Of all, if none has so many.
    """
    many = table[table["active_units"] >= LEAST_ACTIVE]
    rows = table if many.empty else many
    best = rows.sort_values("score_median", ascending=False, na_position="last", kind="stable").iloc[0]
    setting: dict[str, Any] = json.loads(best["setting"])
    return setting


if __name__ == "__main__":
    command(__doc__, measure, MEASURES, walks=WALKS, null_maps=NULL_MAPS)
