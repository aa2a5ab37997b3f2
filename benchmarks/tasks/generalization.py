"""generalization-v2: does the code hold in boxes larger than the one the model was made for?

World: walled square boxes of 1, 2 and 4 times the side of the card's training extent (1 m where the card has none). In
each, 64 trials of the common walk (`World.walk`, 20 ms steps) for 40 s, all from the origin: twice as long as the walk
needs to spread over 8.8 m, and as long in every box, so that a code that drifts with time drifts alike in all three and
what differs is the place. Walks are sampled on the CPU and so are the same on every device. Of a model's noise, only
such as moves its state is on.

Maps: 50², 100² and 100² bins, all smoothed by the Gaussian of `gridness-v2`, 3 cm. It does not grow with the bin (at
most 8.8 cm, for a model made for 2.2 m), which blurs by its own width: smoothing by one such bin hides lattices of
30 cm, which 3 cm leave. Spacings below about three bins cannot be seen. Units: at most 64, drawn at random by the seed,
the same in all boxes. Active, in one box: the map's range is at least 1 % of the largest in the population.

grid_fraction          active units whose `sargolini` score is above all of 200 noise maps of the unit's radially
                       averaged spectrum and its values on the same visited bins, as in `gridness-v2`; 1
                       exchangeable noise unit in 201 does. A unit that a noise map reaches is decided, and gets no
                       more of them.
split_half_correlation maps of even against odd trials over the bins that both visit: 1 where the map holds (fields of
                       few bins fall short of it, 0.8 for 30 cm on bins of 8.8 cm, as trials sample a bin unevenly).
localisation_error     one global decoder (`decode_positions`) with the maps of the even trials as templates, tested on
                       the odd trials once a second. Its precision goes with the bin, and chance (the same estimates
                       dealt to other moments) grows with the box.
spacing_shift          |spacing / spacing at 1× − 1|, median over the units that are grid units in both boxes;
spacing_ratio          the same with its sign: 2 is a lattice stretched with the box;
orientation_shift      difference of the orientations modulo 60°, so at most 30° (15° on average by chance). Orientation
                       and spacing are of units still grid units: read them beside grid_fraction and their n.

Where more than a tenth of a box's rates are NaN, all its numbers are empty: the model has no answer there (tables
outside their extent), or its rates overflowed, and the reason says which. A smaller part is left out of the maps.
Models that read position have no path to lose and are scored on their maps all the same; tables mark them. Supervised
models (card: supervision ``target``) had targets in the first box only: what they do in the others is by construction
not what they were taught.

Kept beside the record: for each box (rows: 1×, 2×, 4×) and unit, score, spacing and orientation, split-half correlation
(NaN where inactive) and threshold, the highest noise score met (a grid unit's score is above it); and the maps of six
units, from best to worst at 1×, the same ones in every box.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.analysis import (
    RateMaps,
    above_null,
    decode_positions,
    orientation_difference,
    scores_and_lattices,
)
from entorhinal.analysis.nulls import NULL_MAPS
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.map_run import MapRun, active_units, map_correlations, run_maps
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, in_the_plane
from entorhinal.families.model import Model
from entorhinal.families.world import Arena, World

__all__ = ["Generalization"]

BINS = {1: 50, 2: 100, 4: 100}
"""Bins a side, by scale."""

SIDE_M, TRIALS, STEPS, SMOOTHING_M, UNITS = 1.0, 64, 2000, 0.03, 64
DECODE_EVERY, KEPT_MAPS = 50, 6


@dataclass(frozen=True)
class _Box:
    """Measures of the U units in one box, NaN where inactive; none: why there are none at all, if so."""

    maps: Tensor
    active: Tensor
    score: Tensor
    threshold: Tensor
    is_grid: Tensor
    spacing_m: Tensor
    orientation_rad: Tensor
    split_half: Tensor
    error_m: Tensor
    chance_m: Tensor
    visited: float
    none: str


class Generalization:
    """Grid units, their lattices and the decoded place in boxes of 1, 2 and 4 times the training extent."""

    id: ClassVar[str] = "generalization-v2"
    title: ClassVar[str] = "Maps, lattice and place in larger boxes"

    def why_not(self, model: Model) -> str | None:
        return in_the_plane(model)

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        result, boxes = Result(), {}
        for i, scale in enumerate(BINS):
            side_m = scale * (model.card.training_extent_m or SIDE_M)
            walk_seed = derive(seed, "generalization", f"{scale}x")
            walk = World(Arena.square(side_m)).walk(TRIALS, STEPS, seed=walk_seed, start_m=torch.zeros(TRIALS, 2))

            def report(part: float, i: int = i) -> None:
                progress(round(1000 * (i + part)), 1000 * len(BINS))

            run = run_maps(
                model,
                walk.to(device),
                bins=BINS[scale],
                smoothing_m=SMOOTHING_M,
                at_most=UNITS,
                every=DECODE_EVERY,
                seed=seed,
                report=lambda part: report(part / 2),
            )
            boxes[scale] = _measure(run, scale, seed, lambda part: report(0.5 + part / 2))
            _add(result, boxes[scale], scale, side_m)
            if scale != 1:
                _add_shifts(result, boxes[1], boxes[scale], scale)
        result.arrays = {"units": run.units} | {
            name: torch.stack([getattr(box, name) for box in boxes.values()]).float()
            for name in ("score", "threshold", "spacing_m", "orientation_rad", "split_half")
        }
        box = next((box for box in boxes.values() if box.active.any()), boxes[1])
        best = box.score.where(box.active, -math.inf).nan_to_num(-math.inf).argsort(descending=True, stable=True)
        n = int(box.active.sum())
        kept = best[torch.linspace(0, max(n - 1, 0), min(n, KEPT_MAPS)).long()]
        result.arrays["map_units"] = run.units[kept]
        result.arrays |= {f"maps_{scale}x": box.maps[kept].half() for scale, box in boxes.items()}
        return result


def _measure(run: MapRun, scale: int, seed: int, report: Callable[[float], None]) -> _Box:
    maps = run.whole.values
    answers = not run.none
    active = answers & active_units(maps)
    score, found = scores_and_lattices(maps[active], run.whole.bin_m)
    generator = torch.Generator(maps.device).manual_seed(derive(seed, "generalization", "null", f"{scale}x"))
    threshold, is_grid = above_null(maps[active], score, NULL_MAPS, generator=generator, report=report)
    error_m, chance_m = _localise(run, active, derive(seed, "generalization", "chance", f"{scale}x"))

    def of_all(values: Tensor) -> Tensor:
        return values.new_full(active.shape, False if values.dtype == torch.bool else torch.nan).masked_scatter(
            active, values
        )

    return _Box(
        maps=maps.where(torch.tensor(answers, device=maps.device), torch.nan),
        active=active,
        score=of_all(score),
        threshold=of_all(threshold),
        is_grid=of_all(is_grid),
        spacing_m=of_all(found.spacing_m),
        orientation_rad=of_all(found.orientation_rad),
        split_half=of_all(map_correlations(run.even.values[active], run.odd.values[active])),
        error_m=error_m,
        chance_m=chance_m,
        visited=float((run.whole.occupancy > 0).double().mean()),
        none=run.none,
    )


def _localise(run: MapRun, active: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Errors of the decoded places of the odd trials, and by chance; empty where nothing can be decoded."""
    values = run.even.values[active]
    if not len(values) or not values.isfinite().all(0).any():
        return values.new_empty(0), values.new_empty(0)
    templates = RateMaps(values, run.even.occupancy, run.even.bin_m, run.even.extent_m)
    decoded_m = decode_positions(run.rates[..., active], templates).flatten(0, 1)
    shuffled = torch.randperm(len(decoded_m), generator=torch.Generator().manual_seed(seed)).to(decoded_m.device)
    position_m = run.position_m.flatten(0, 1)
    return (decoded_m - position_m).norm(dim=-1), (decoded_m[shuffled] - position_m).norm(dim=-1)


def _add(result: Result, box: _Box, scale: int, side_m: float) -> None:
    n, grids = int(box.active.sum()), int(box.is_grid.sum())
    no_units = box.none or "no active units"
    no_grids = no_units if not n else "no grid units"
    fraction = grids / n if n else torch.nan
    decoded = int(box.error_m.isfinite().sum())
    result.add(f"side_m_{scale}x", side_m, "m")
    result.add(f"visited_fraction_{scale}x", box.visited)
    result.add(f"active_units_{scale}x", torch.nan if box.none else n, n=len(box.active), reason=box.none)
    result.add(f"grid_score_median_{scale}x", box.score.nanmedian(), "", "higher", n, no_units)
    result.add(f"grid_fraction_{scale}x", fraction, "", "higher", n, no_units)
    result.add(f"spacing_median_m_{scale}x", box.spacing_m[box.is_grid].nanmedian(), "m", "none", grids, no_grids)
    result.add(f"split_half_correlation_{scale}x", box.split_half.nanmedian(), "", "higher", n, no_units)
    result.add(f"localisation_error_median_m_{scale}x", box.error_m.nanmedian(), "m", "lower", decoded, no_units)
    result.add(f"chance_error_median_m_{scale}x", box.chance_m.nanmedian(), "m", "none", decoded, no_units)


def _add_shifts(result: Result, small: _Box, large: _Box, scale: int) -> None:
    """How the lattice of the units that are grid units in both boxes differs."""
    both = small.is_grid & large.is_grid & (small.spacing_m + large.spacing_m).isfinite()
    ratio = (large.spacing_m / small.spacing_m)[both]
    turn = orientation_difference(large.orientation_rad, small.orientation_rad)[both]
    n, none = int(both.sum()), small.none or large.none or "no grid units in both boxes"
    result.add(f"spacing_shift_{scale}x", (ratio - 1).abs().nanmedian(), "", "lower", n, none)
    result.add(f"spacing_ratio_{scale}x", ratio.nanmedian(), "", "none", n, none)
    result.add(f"orientation_shift_deg_{scale}x", turn.nanmedian().rad2deg(), "°", "lower", n, none)
