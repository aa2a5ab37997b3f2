"""gridness-v2: are the units' maps hexagonal lattices?

World: the recorded rat (Sargolini et al. 2006), 600 s in a 1 m box, sampled every 20 ms. Maps: 50² bins of 2 cm,
smoothed by a Gaussian of 3 cm. Units: at most 256, drawn at random by the seed. Active: the map's range is at least 1 %
of the largest in the population. Score: `sargolini`. Null of a unit: 200 noise maps of its radially averaged spectrum
and its values on the same visited bins; a grid unit scores above all of them, as 1 exchangeable noise unit in 201 does.
Every unit gets all of them, grid unit or not, as null_score_highest_median is over all. The false-discovery rate
controls the units as a family (Benjamini & Hochberg at 5 %).
"""

from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.analysis import (
    RateMapAccumulator,
    grid_scores,
    null_grid_scores,
    scores_and_lattices,
    square_scores,
)
from entorhinal.analysis.nulls import NULL_MAPS
from entorhinal.benchmarks.rollout import rollout
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.map_run import active_units
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, choose_units, in_the_plane, noise_seed
from entorhinal.families.model import Model
from entorhinal.families.world import Trajectories

__all__ = ["Gridness"]

BINS, SMOOTHING_M, UNITS = 50, 0.03, 256
KEPT_MAPS = 12


class Gridness:
    """Scores of every unit against its own null; spacing and orientation of the grid units."""

    id: ClassVar[str] = "gridness-v2"
    title: ClassVar[str] = "Hexagonal maps on a recorded rat's path"

    def why_not(self, model: Model) -> str | None:
        return in_the_plane(model)

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        path = recording.load().to(device)
        maps, bin_m = _maps(model, path, seed, lambda done, total: progress(done, 2 * total))
        active = active_units(maps)
        maps = maps[active]
        scores, found = scores_and_lattices(maps, bin_m)
        generator = torch.Generator(maps.device).manual_seed(derive(seed, "gridness", "null"))
        null = null_grid_scores(maps, NULL_MAPS, generator=generator)
        threshold = null.nan_to_num(-torch.inf).amax(1)
        is_grid = scores > threshold
        p_value = (1 + (~(null < scores[:, None])).sum(1)) / (1 + NULL_MAPS)  # a unit without a score is no discovery
        spacing_m, orientation_rad = found.spacing_m[is_grid], found.orientation_rad[is_grid]
        progress(1, 1)

        n, grids = len(maps), int(is_grid.sum())
        none = "no grid units" if n else "no active units"
        result = Result()
        result.add("active_units", n, n=len(active))
        result.add("grid_score_median", scores.nanmedian(), "", "higher", n, none)
        result.add("grid_score_p90", scores.nanquantile(0.9) if n else torch.nan, "", "higher", n, none)
        result.add("banino_score_median", grid_scores(maps, variant="banino").nanmedian(), "", "higher", n, none)
        result.add("square_score_median", square_scores(maps).nanmedian(), "", "none", n, none)
        result.add("null_score_highest_median", threshold.nanmedian(), "", "none", n, none)
        result.add("grid_fraction", grids / n if n else torch.nan, "", "higher", n, none)
        result.add("discovered_fraction", _discovered(p_value) if n else torch.nan, "", "higher", n, none)
        result.add("spacing_median_m", spacing_m.nanmedian(), "m", "none", grids, none)
        result.add("orientation_median_deg", orientation_rad.nanmedian().rad2deg(), "°", "none", grids, none)
        best = scores.nan_to_num(-torch.inf).argsort(descending=True)
        kept = best[torch.linspace(0, max(n - 1, 0), min(n, KEPT_MAPS)).long()]
        result.arrays = {
            "scores": scores.float(),
            "thresholds": threshold.float(),
            "null_scores": null[:, 0].float(),
            "spacing_m": found.spacing_m.float(),
            "maps": maps[kept].half(),
            "map_scores": scores[kept].float(),
        }
        return result


def _maps(model: Model, path: Trajectories, seed: int, progress: Progress) -> tuple[Tensor, float]:
    """Rate maps ``(units, H, W)`` of the chosen units over the whole path, and the side of a bin in metres."""
    accumulator = RateMapAccumulator(path.arena.extent_m, BINS, SMOOTHING_M)
    units: Tensor | None = None
    for chunk, representation in rollout(model, path, seed=noise_seed(model, seed, "gridness"), progress=progress):
        if units is None:
            units = choose_units(representation.rates.shape[-1], UNITS, seed).to(path.start_m.device)
        accumulator.add(representation.rates[..., units], chunk.position_m)
    found = accumulator.result()
    return found.values, found.bin_m


def _discovered(p_value: Tensor) -> float:
    """Fraction of units that stay below a false-discovery rate of 5 %."""
    from scipy.stats import false_discovery_control

    return float((false_discovery_control(p_value.cpu().numpy()) < 0.05).mean())
