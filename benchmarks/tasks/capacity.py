"""capacity-v1: how far does the code tell places apart, how finely, and how many?

World: an open plane, free of noise. The model walks from the origin (`benchmarks.places`) to every place of a square
lattice of 2 cm that reaches 4.2 m each way, along x and then along y, at 1 m/s: one table of codes, of which 20 places
within 0.2 m of the origin, drawn by the seed, are in turn the origin of displacements of up to 4 m. Models that read
position read it there. Where units times places would exceed 2²⁷ (a sheet of 128² neurons) the lattice is smaller, and
reach_m says what is left of the 4 m. Units: at most 256, drawn at random by the seed.

The stride is 2 cm, or 10 cm for models whose two walks to a place then differ less by a quarter; these two walks, one
straight and one along x, along y past the place and back, go to 64 places (16 for models of more than 4,096 units).

Noise is Gaussian and independent, its standard deviation the units' root-mean-square modulation over the central 1 m
box: a unit's signal-to-noise ratio is 1. Without a scale of their own for noise, models are compared so, and by unit.

min_over_median        smallest over median code distance, 0.3 to 4 m, mean over origins;
code_separation        the same, but empty unless path_coherence >= 0.9 and half_rise_m <= 0.15: a code that is not one
                       of place, or is flat near the origin, separates nothing.
path_coherence         mean resultant of the centred codes that the two walks reach; 0.71 by chance. With means left in,
                       an untrained network's positive rates have 0.97; 0.95 so is about 0.88 here for codes like SIC's.
path_coherence_1m      the same for as many places of the central 1 m box: a network trained in a box may know its place
                       there and be lost in the plane.
path_disagreement      distance between the codes of the two walks over that between places; 1 by chance.
half_rise_m            radius at which the mean code distance reaches half of its median.
joint_range_m          smallest displacement beyond the origin's neighbourhood whose code distance is below the noise
                       floor, at which 5 % are mistaken; reach_m where there is none (repeat_fraction: of origins that
                       have one). Median over origins. As empty as code_separation if the code is not one of place.
resolution_m           Cramér–Rao bound per axis, median over places in the 1 m box: the model walks there straight and
                       derivatives are half the difference of single steps of 2 cm to both sides;
resolution_poisson_m   the same for spike counts, one a unit on average over a background of a
                       hundredth; empty for codes with negative rates.
capacity_bits          log2(joint_range_m / resolution_m), per axis, and divided by units. Bounded by reach_m.
participation_ratio    effective dimension of the codes in the 1 m box.
decodable_places       exp of the information that noisy codes have of the places of a 10 cm lattice over all that was
                       walked; their number is n. 1,024 responses, and decoded_fraction of them are decoded right.

Ideal grids beside it: controls/ideal_grid, with three modules, and with spacing_m=(0.6,), orientation_rad=(0.1,), one
torus, which returns to the same code after 0.6 m.

Where more than a tenth of the rates over the plane are not finite, what is measured there is empty and the reason says
why (tables end, or rates overflowed). Kept beside the record: rings of code distance (minimum, median and mean, each
averaged over origins) and the place of each origin's nearest code.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.analysis.capacity import (
    capacity_bits,
    code_distances,
    code_separation,
    decodable_places,
    gaussian_information,
    half_rise_m,
    joint_range_m,
    noise_floor,
    participation_ratio,
    path_coherence,
    poisson_information,
    radial_curves,
    resolution_m,
)
from entorhinal.analysis.robustness import modulation
from entorhinal.benchmarks.places import (
    best_stride_m,
    disagreement,
    lattice_m,
    slopes,
    walk_lattice,
    walk_straight,
    walk_twice,
)
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, choose_units, one_code_a_place
from entorhinal.families.model import Model

__all__ = ["Capacity"]

PITCH_M, HALF, STRIDE_PITCHES, ORIGINS, ORIGIN_HALF, HOME_HALF = 0.02, 210, 5, 20, 10, 25
UNITS, LARGEST, TWICE, TWICE_LARGEST, MISSING = 256, 2**27, 64, 2**18, 0.1
NOISE, ERROR, EVERY, DRAWS = 1.0, 0.05, 5, 1024
COHERENT, STEEP_M, BACKGROUND = 0.9, 0.15, 0.01


class Capacity:
    """Code separation, joint range, resolution, bits and decodable places of the states at places of the plane."""

    id: ClassVar[str] = "capacity-v1"
    title: ClassVar[str] = "Range, resolution and capacity of the code of place"

    def why_not(self, model: Model) -> str | None:
        return one_code_a_place(model)

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        generator = torch.Generator().manual_seed(derive(seed, "capacity"))
        total = walk_straight(model, torch.zeros(1, 2, device=device), PITCH_M).rates.shape[1]
        units = choose_units(total, UNITS, seed).to(device)
        half = _half(total)
        reach_m = PITCH_M * (half - ORIGIN_HALF)
        twice = min(TWICE, TWICE_LARGEST // total)
        anywhere = (2 * torch.rand(twice, 2, generator=generator) - 1).to(device)
        stride_m, both = best_stride_m(model, reach_m * anywhere)
        near = walk_twice(model, PITCH_M * HOME_HALF * anywhere, stride_m, units)
        codes = walk_lattice(model, half, PITCH_M, stride_m, device=device, units=units, progress=progress)
        plane = _Plane(codes, half, both[..., units], noise_sd=NOISE * _signal(_home(codes, half)))

        result = Result()
        result.add("units", len(units), n=total)
        result.add("stride_m", stride_m, "m")
        result.add("reach_m", reach_m, "m")
        result.add("noise_sd", plane.noise_sd, reason="no finite rates")
        range_m, lost = _add_range(result, plane, generator)
        _add_resolution(result, model, stride_m, units, plane, range_m, lost, twice)
        near_coherence = path_coherence(near.where(near.isfinite(), math.nan))
        result.add("path_coherence_1m", near_coherence, "", "higher", twice, "one code everywhere or none")
        ratio = participation_ratio(_home(codes, half))
        result.add("participation_ratio", ratio, "", "higher", (2 * HOME_HALF + 1) ** 2, "one code everywhere")
        _add_places(result, plane, lost, generator)
        return result


@dataclass(frozen=True)
class _Plane:
    """codes (2 half + 1, 2 half + 1, U); both (2, P, U) of two walks to P places; standard deviation of the noise."""

    codes: Tensor
    half: int
    both: Tensor
    noise_sd: float

    @property
    def empty(self) -> str:
        """Why there is nothing to measure over the plane, if so."""
        finite = float(self.codes.isfinite().double().mean())
        if 1 - finite <= MISSING:
            return ""
        return (
            "the rates grow without bound" if self.codes.isinf().any() else "the model has no answer outside its extent"
        )


def _half(total: int) -> int:
    """Lattice places from the origin to the side: whole strides, and units times places at most `LARGEST`."""
    side = math.isqrt(LARGEST // total)
    return max(STRIDE_PITCHES * 6, min(HALF, (side - 1) // 2 // STRIDE_PITCHES * STRIDE_PITCHES))


def _home(codes: Tensor, half: int) -> Tensor:
    """Codes in the central 1 m box, ``(places, U)``, NaN where not finite."""
    home = slice(half - HOME_HALF, half + HOME_HALF + 1)
    values = codes[home, home].flatten(0, 1)
    return values.where(values.isfinite(), torch.nan)


def _signal(codes: Tensor) -> float:
    """Root mean square over units of their modulation, codes ``(places, U)``; 0 for one code everywhere."""
    return float(modulation(codes).square().nanmean().sqrt())


def _add_range(result: Result, plane: _Plane, generator: torch.Generator) -> tuple[float, str]:
    """Code separation and joint range; the range in metres, NaN where there is none, and why."""
    half, codes = plane.half, plane.codes
    middle = slice(half - ORIGIN_HALF, half + ORIGIN_HALF + 1)
    lattice = lattice_m(half, PITCH_M, codes.device)
    chosen = torch.randperm((2 * ORIGIN_HALF + 1) ** 2, generator=generator)[:ORIGINS].to(codes.device)
    start_m, starts = lattice[middle, middle].flatten(0, 1)[chosen], codes[middle, middle].flatten(0, 1)[chosen]
    place_m, reach_m = lattice.flatten(0, 1), PITCH_M * (half - ORIGIN_HALF)
    distance = code_distances(starts, codes.flatten(0, 1))
    distance = distance.where(distance.isfinite(), torch.nan)
    floor = noise_floor(plane.noise_sd, ERROR) if math.isfinite(plane.noise_sd) else math.nan
    found: dict[str, list[Tensor]] = {}
    for origin_m, apart in zip(start_m, distance, strict=True):
        offset_m = place_m - origin_m
        separation = code_separation(apart[None], offset_m, most_m=reach_m + 1e-6)
        rings = radial_curves(apart[None], offset_m, PITCH_M, most_m=reach_m + 1e-6)
        for name, value in {
            "ratio": separation.ratio,
            "nearest_m": separation.nearest_m,
            "rise_m": half_rise_m(rings, separation.median),
            "range_m": joint_range_m(rings, floor),
            "minimum": rings.minimum,
            "median": rings.median,
            "mean": rings.mean,
        }.items():
            found.setdefault(name, []).append(value)
    of = {name: torch.cat(values) for name, values in found.items()}

    none, n = plane.empty, ORIGINS
    coherence, apart = path_coherence(plane.both), disagreement(plane.both)
    ratio, rise_m = (math.nan if none else float(of[name].nanmean()) for name in ("ratio", "rise_m"))
    flat = "one code everywhere"
    lost = none or ("" if coherence >= COHERENT else f"not a code of place: path_coherence is {coherence:.2f}")
    slow = lost or ("" if rise_m <= STEEP_M else f"flat near the origin: half_rise_m is {rise_m:.2f}")
    range_m = math.nan if lost else min(float(of["range_m"].median()), reach_m)
    result.add("code_separation", math.nan if slow else ratio, "", "higher", n, slow or flat)
    result.add("min_over_median", ratio, "", "higher", n, none or flat)
    result.add("path_coherence", math.nan if none else coherence, "", "higher", plane.both.shape[1], none or flat)
    result.add("path_disagreement", math.nan if none else apart, "", "lower", plane.both.shape[1], none or flat)
    result.add("half_rise_m", rise_m, "m", "lower", n, none or "the code never rises to half of its plateau")
    result.add("joint_range_m", range_m, "m", "higher", n, lost or flat)
    repeats = math.nan if lost else float(of["range_m"].isfinite().double().mean())
    result.add("repeat_fraction", repeats, "", "lower", n, lost)
    result.arrays = {"nearest_m": of["nearest_m"].float(), "origin_m": start_m.float()}
    result.arrays |= {f"ring_{name}": of[name].nanmean(0).float() for name in ("minimum", "median", "mean")}
    return range_m, lost


def _add_resolution(
    result: Result, model: Model, stride_m: float, units: Tensor, plane: _Plane, range_m: float, lost: str, count: int
) -> None:
    """Cramér–Rao bounds at places of the 1 m box, and the bits that they and the range make."""
    side = math.isqrt(4 * count)
    axis = (torch.arange(side, device=units.device) + 0.5) / side - 0.5
    place_m = PITCH_M * 2 * HOME_HALF * torch.cartesian_prod(axis, axis)
    reached = walk_straight(model, place_m, stride_m)
    slope, rates = slopes(model, reached, PITCH_M, units).double(), reached.rates[:, units].double()
    known = slope.isfinite().all(-1).all(-1) & rates.isfinite().all(-1)
    slope, rates, n = slope[known], rates[known], int(known.sum())
    none = "no noise to compare with: one code everywhere" if n else "no finite rates"
    gaussian_m = poisson_m = math.nan
    if n and plane.noise_sd > 0:
        gaussian_m = float(resolution_m(gaussian_information(slope, plane.noise_sd)).median())
    negative = "the rates are negative in places: no spike counts"
    if n and bool((rates >= 0).all()) and float(rates.mean()) > 0:
        poisson_m = float(
            resolution_m(
                poisson_information(slope, rates + BACKGROUND * rates.mean(), 1 / float(rates.mean()))
            ).median()
        )
    bits = float(capacity_bits(range_m, gaussian_m))
    result.add("resolution_m", gaussian_m, "m", "lower", n, none)
    result.add("resolution_poisson_m", poisson_m, "m", "lower", n, negative if n else none)
    result.add("capacity_bits", bits, "bit", "higher", n, lost or none)
    result.add("capacity_bits_per_unit", bits / len(units), "bit", "higher", n, lost or none)


def _add_places(result: Result, plane: _Plane, lost: str, generator: torch.Generator) -> None:
    first = plane.half % EVERY
    places = plane.codes[first::EVERY, first::EVERY].flatten(0, 1)
    if lost or not plane.noise_sd > 0:
        reason = lost or "one code everywhere"
        result.add("decodable_places", math.nan, "", "higher", len(places), reason)
        result.add("decoded_fraction", math.nan, "", "higher", DRAWS, reason)
        return
    found = decodable_places(places, plane.noise_sd, generator=generator, draws=DRAWS)
    result.add("decodable_places", found.places, "", "higher", found.total)
    result.add("decoded_fraction", found.correct, "", "higher", DRAWS)
