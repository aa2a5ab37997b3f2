"""topology-v3: do the states of a module lie on a torus?  (Gardner et al. 2022)

The module. A first walk (16 trials of the common walk for 20 s from the origin, in a box of the card's training extent,
1 m where the card has none; if no module of 20 units is found there, 64 trials in a box of twice that) gives maps of at
most 256 units drawn at random by the seed: 50² bins a training extent, smoothed by 3 cm. A grid unit scores
(`sargolini`) above all of 100 noise maps of its own (`above_null`), not 200: it is a candidate for a module. The
module is the largest of `entorhinal.analysis.modules`.

The states. A second walk, 15 trials of 20 s from the origin in a box of 3.5 of the module's spacings, every 20 ms:
15,000 moments, all of which are used, as the choice of the most active ones would favour some phases of a code without
noise. `torus` thins them to 600 points. Without a module all active units are judged together, in the box of the
training extent: a map of the plane that is no torus must be called none. Walks, moments and rolls come from the seed.
Of noise, only such as moves the state is on.

is_torus               1 where the Betti numbers are 1, 2, 1.
betti_0, _1, _2        components, loops and cavities that stand out, the latter two born early (`betti_numbers`).
loop_1_over_null, loop_2_over_null, cavity_over_null
                       length of the longest and second longest loop's bar, and of the longest cavity's, over the 99th
                       percentile of the longest in the null (units rolled in time, each by itself: 100 times for loops,
                       20 for cavities). What counts has a ratio of 2 at least.
phase_agreement_1, _2  how well each toroidal coordinate follows the phase of the true position on the module's lattice,
                       up to whole combinations: 1 is exactly, 0 not at all (`phase_agreement`). The lattice is that of
                       the module's mean autocorrelogram along the second walk. A code that drifts loses it.
windings               how often the coordinates cover the lattice's unit cell: 1 on a torus that is the lattice's own.

Where more than a tenth of the rates are NaN (tables outside their extent) or a module sees fewer than 3 periods, all is
empty. Kept beside the record: all bars, the longest of every roll, the points with their coordinates and places, and
the module's units.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.analysis import (
    Lattices,
    RateMapAccumulator,
    RateMaps,
    above_null,
    autocorrelograms,
    modules,
    phase_agreement,
    scores_and_lattices,
    toroidal_coordinates,
    torus,
    why_no_torus,
)
from entorhinal.analysis.lattices import correlogram_peaks, lattices_from_peaks
from entorhinal.analysis.topology import LEAST_UNITS
from entorhinal.benchmarks.records import Direction
from entorhinal.benchmarks.rollout import rollout
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.map_run import active_units
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, choose_units, in_the_plane, noise_seed
from entorhinal.families.model import Model
from entorhinal.families.world import Arena, World

__all__ = ["Topology"]

SIDE_M, UNITS, BINS, SMOOTHING_M, NULL_MAPS = 1.0, 256, 50, 0.03, 100
PROBE_TRIALS, TRIALS, STEPS, PERIODS = 16, 15, 1000, 3.5
POINTS, ROLLS, MISSING = 600, 100, 0.1
NUMBERS: tuple[tuple[str, Direction], ...] = (
    ("is_torus", "higher"),
    ("betti_0", "none"),
    ("betti_1", "none"),
    ("betti_2", "none"),
    ("loop_1_over_null", "none"),
    ("loop_2_over_null", "none"),
    ("cavity_over_null", "none"),
    ("phase_agreement_1", "higher"),
    ("phase_agreement_2", "higher"),
    ("windings", "none"),
)


@dataclass(frozen=True)
class _Walk:
    """Along a walk: the chosen units (U,), their maps (U, H, W), rates (B, T, U) and places (B, T, 2)."""

    units: Tensor
    maps: RateMaps
    rates: Tensor
    position_m: Tensor


class Topology:
    """Betti numbers of a module's states, their bars against a null, and the toroidal coordinates against the place."""

    id: ClassVar[str] = "topology-v3"
    title: ClassVar[str] = "Torus of a module's states"

    def why_not(self, model: Model) -> str | None:
        return in_the_plane(model)

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        def part(first: float, last: float) -> Callable[[int, int], None]:
            return lambda done, total: progress(round(1000 * (first + (last - first) * done / total)), 1000)

        extent_m = model.card.training_extent_m or SIDE_M
        chosen = module = torch.empty(0, dtype=torch.long)
        grids, spacing_m = 0, math.nan
        for scale in (1, 2):
            side_m, name = scale * extent_m, f"probe {scale}x"
            report = part(0.1 * scale - 0.1, 0.1 * scale)
            probe = _walk(model, side_m, scale * BINS, scale**2 * PROBE_TRIALS, seed, name, device, report)
            active, is_grid, found = _grid_units(probe.maps, derive(seed, "topology", "null", name))
            parts = modules(found, is_grid, least_score=0.5, seed=derive(seed, "topology", "modules") % 2**32)
            members = parts.labels == int(parts.sizes.argmax()) if parts.count else is_grid[:0]
            members = members.nonzero()[:, 0]
            if scale == 1 or len(members) >= LEAST_UNITS:
                chosen, grids = active, int(is_grid.sum())
                module, spacing_m = members, float(found.spacing_m[members].median()) if len(members) else math.nan
            if len(members) >= LEAST_UNITS:
                break
        result = Result()
        has_module = len(module) >= LEAST_UNITS
        units = module if has_module else chosen
        side_m = PERIODS * spacing_m if has_module else extent_m
        result.add("grid_units", grids, n=len(chosen))
        result.add("units", len(units), n=len(probe.units))
        result.add("side_m", side_m, "m")
        none = "no module: all units are judged together"
        result.add("spacing_m", spacing_m if has_module else math.nan, "m", "none", len(module), none)
        result.add("periods", PERIODS if has_module else math.nan, "", "none", len(module), none)

        walk = _walk(model, side_m, round(20 * PERIODS), TRIALS, seed, "states", device, part(0.2, 0.4))
        rates = walk.rates[..., units.to(walk.rates.device)].cpu()
        result.arrays["units"] = walk.units[units]
        missing = float((~rates.isfinite().all(-1)).double().mean())
        why = why_no_torus(len(units), PERIODS if has_module else None)
        if not why and missing > MISSING:
            why = "the model has no answer in part of the box"
        if why:
            for number, direction in NUMBERS:
                result.add(number, math.nan, "", direction, len(units), why)
            return result
        _add_topology(result, rates, walk, units, has_module, seed, part(0.4, 1))
        return result


def _walk(
    model: Model,
    side_m: float,
    bins: int,
    trials: int,
    seed: int,
    name: str,
    device: torch.device,
    progress: Progress,
) -> _Walk:
    """The model along the common walk from the origin."""
    world = World(Arena.square(side_m))
    path = world.walk(trials, STEPS, seed=derive(seed, "topology", name), start_m=torch.zeros(trials, 2)).to(device)
    accumulator = RateMapAccumulator(path.arena.extent_m, bins, SMOOTHING_M)
    units: Tensor | None = None
    samples: list[Tensor] = []
    noise = noise_seed(model, seed, "topology", name)
    for chunk, representation in rollout(model, path, seed=noise, progress=progress):
        if units is None:
            units = choose_units(representation.rates.shape[-1], UNITS, seed).to(device)
        rates = representation.rates[..., units]
        rates = rates.where(rates.isfinite(), torch.nan)
        accumulator.add(rates, chunk.position_m)
        samples.append(rates.clone())
    assert units is not None
    return _Walk(units, accumulator.result(), torch.cat(samples, 1), path.position_m)


def _grid_units(maps: RateMaps, seed: int) -> tuple[Tensor, Tensor, Lattices]:
    """Of units' maps: indices of the active ones (A,), which of all are grid units (U,), and all lattices."""
    active = active_units(maps.values)
    score, found = scores_and_lattices(maps.values, maps.bin_m)
    generator = torch.Generator(maps.values.device).manual_seed(seed)
    known = active & found.spacing_m.isfinite()
    _, is_grid = above_null(maps.values, score.where(known, torch.nan), NULL_MAPS, generator=generator)
    return active.nonzero()[:, 0], is_grid, found


def _add_topology(
    result: Result, rates: Tensor, walk: _Walk, units: Tensor, has_module: bool, seed: int, progress: Progress
) -> None:
    generator = torch.Generator().manual_seed(derive(seed, "topology", "rolls"))
    found = torus(
        rates,
        periods=PERIODS if has_module else None,
        points=POINTS,
        moments=rates.shape[0] * rates.shape[1],
        rolls=ROLLS,
        generator=generator,
        progress=progress,
    )
    _, loops, cavities = (length / limit for length, limit in zip(found.lengths, found.threshold, strict=True))
    loops, cavities = (torch.cat([length, length.new_zeros(2)]) for length in (loops, cavities))
    values = [float(found.is_torus), *found.betti.tolist(), *loops[:2].tolist(), float(cavities[0])]
    coordinates = toroidal_coordinates(found, rates).flatten(0, 1)
    position_m = walk.position_m.flatten(0, 1).double().cpu()
    agreement, windings, why = [math.nan] * 2, math.nan, "no module: there is no lattice to follow"
    if has_module:
        correlogram = autocorrelograms(walk.maps.values[units.to(walk.maps.values.device)]).nanmean(0, keepdim=True)
        basis_m = lattices_from_peaks(correlogram_peaks(correlogram) * walk.maps.bin_m).basis_m[0].cpu()
        why = "the module's mean autocorrelogram has no lattice"
        if basis_m.isfinite().all():
            known = coordinates.isfinite().all(1)
            phases = 2 * math.pi * torch.linalg.solve(basis_m.mT, position_m.mT).mT
            each, winding = phase_agreement(coordinates[known], phases[known])
            agreement, windings = each.tolist(), float(torch.linalg.det(winding.double()).abs().round())
    for (name, direction), value in zip(NUMBERS, [*values, *agreement, windings], strict=True):
        result.add(name, value, "", direction, len(units), why)
    result.arrays |= {f"bars_{dimension}": bars.float() for dimension, bars in enumerate(found.barcodes)}
    result.arrays |= {
        "null_lengths": found.null_lengths.float(),
        "points": found.points.float(),
        "coordinates": coordinates[found.moments].float(),
        "position_m": position_m[found.moments].float(),
    }
