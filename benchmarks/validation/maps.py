"""Known answers of maps: spacing, orientation, shape and score, and how often a null unit is called a grid unit."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from entorhinal.analysis import (
    above_null,
    fourier_lattices,
    grid_scores,
    lattices,
    orientation_difference,
    rate_maps,
    scores_and_lattices,
    smooth_maps,
    square_scores,
)
from entorhinal.benchmarks import synthetic
from entorhinal.benchmarks.synthetic import BIN_M, NULLS, SIDE_M, Grids, breaking_maps, grids
from entorhinal.benchmarks.validation.rows import NullRow, Row, seeded
from entorhinal.families.world import Arena, World

SPACINGS_M = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
UNITS = 40
"""Units a spacing."""

UNDEFINED = {"constant", "one visited bin", "hexagon, 90 % unvisited"}
"""Which of `breaking_maps` have no score: no variance, no lag, too few bins shared at the lags of a ring."""

SIZES = (8, 16, 32)
"""Units of null populations, in turn."""

RATE = 0.01
"""False positives of "grid unit" allowed."""


def regular_grids(seed: int = 0, **options: float) -> Grids:
    """`UNITS` grid cells of each of `SPACINGS_M`, orientations and phases at random."""
    generator = seeded("grids", seed=seed)
    spacing_m = torch.tensor(SPACINGS_M, dtype=torch.float64).repeat_interleave(UNITS)
    angle = torch.rand(len(spacing_m), generator=generator, dtype=torch.float64) * math.pi / 3
    return grids(spacing_m, angle, generator, **options)  # type: ignore[arg-type]


STRICT, LOOSE = (1.0, 1.0, 3.0), (3.0, 2.0, 10.0)
"""Errors allowed in spacing (%), orientation (degrees) and ellipticity (%): in clean maps, and in noise."""


def lattice_rows() -> list[Row]:
    """Spacing, orientation and ellipticity by the autocorrelogram and by the Fourier transform."""
    plain, walked = regular_grids(), _walked()
    populations: list[tuple[str, Grids, Tensor, tuple[float, float, float]]] = [
        ("three cosines", plain, plain.maps(), STRICT),
        ("a fifth of the bins unvisited", plain, holed(plain.maps()), STRICT),
        (f"10 min of walks, {100 * walked.isnan()[0].double().mean():.0f} % unvisited", plain, walked, STRICT),
        ("white noise of the map's variance, smoothed by a bin", plain, noisy(plain.maps()), LOOSE),
    ]
    for name, known in (
        ("sharp fields", regular_grids(sharpness=4.0)),
        ("sheared by 0.15", regular_grids(shear=0.15)),
        ("stretched by 1.2", regular_grids(stretch=1.2, stretch_rad=0.4)),
    ):
        populations.append((name, known, known.maps(), STRICT))
    rows = []
    for population, known, maps, allowed in populations:
        for kind, measure in (("autocorrelogram", lattices), ("Fourier", fourier_lattices)):
            found = measure(maps, BIN_M)
            spacing = 100 * (found.spacing_m / known.spacing_m - 1).abs()
            turn = orientation_difference(found.orientation_rad, known.orientation_rad).rad2deg()
            shape = 100 * (found.ellipticity / known.ellipticity - 1).abs()
            for name, truth, unit, high, errors in (
                ("spacing", "0.3–0.8 m", "%", allowed[0], spacing),
                ("orientation", "0–60°", "°", allowed[1], turn),
                ("ellipticity", f"{known.ellipticity[0]:.3g}", "%", allowed[2], shape),
            ):
                rows.append(
                    Row(
                        measure=f"{name} ({kind})",
                        population=population,
                        known=truth,
                        statistic="largest error",
                        found=float(errors.max()),
                        unit=unit,
                        high=high,
                        median=float(errors.median()),
                    )
                )
    return rows


def holed(maps: Tensor) -> Tensor:
    generator = seeded("holes")
    return maps.where(torch.rand(maps.shape, generator=generator) > 0.2, torch.nan)


def noisy(maps: Tensor) -> Tensor:
    generator = seeded("noise")
    noise = torch.randn(maps.shape, generator=generator, dtype=torch.float64)
    return smooth_maps(maps + maps.std((1, 2), keepdim=True) * noise, 1.0)


def _walked() -> Tensor:
    """Maps of the same cells from ten minutes of the common walk: unvisited bins, and bins sampled unevenly."""
    walk = World(Arena.square(SIDE_M)).walk(10, 3_000, seed=seeded("walk").initial_seed())
    position_m = walk.position_m.double().flatten(0, 1)
    return rate_maps(regular_grids().rates_at(position_m), position_m, walk.arena.extent_m, synthetic.BINS).values


def score_rows() -> list[Row]:
    """The grid score's range: grids high and above their null, holes and shapes, maps that break scorers."""
    plain, stretched = regular_grids().maps(), regular_grids(stretch=1.2, stretch_rad=0.4).maps()
    scores = grid_scores(plain)
    generator = seeded("null")
    _, above = above_null(plain[::5], scores[::5], generator=generator)
    maps = breaking_maps()
    defined = grid_scores(torch.stack(list(maps.values()))).isfinite().tolist()
    wanted = sum(one == (name not in UNDEFINED) for name, one in zip(maps, defined, strict=True))
    change = (grid_scores(holed(plain)) - scores).abs()
    corrected, squares = grid_scores(stretched, ellipse_corrected=True), square_scores(plain)
    score, name = "grid score", "three cosines"
    return [
        Row(score, name, "grids", "lowest", float(scores.min()), low=1.3, median=float(scores.median())),
        Row(score, name, "grids", "NaN", float(scores.isnan().sum()), low=0, high=0),
        Row(score, name, "grids", "part above its null", float(above.double().mean()), low=1, high=1),
        Row(
            score,
            "a fifth of the bins unvisited",
            "as complete maps",
            "largest difference",
            float(change.max()),
            high=0.05,
            median=float(change.median()),
        ),
        Row(score, "ten maps that break scorers", "a score, or NaN", "maps as known", wanted, low=10, high=10),
        Row(
            "grid score, ellipse-corrected",
            "stretched by 1.2",
            "grids",
            "lowest",
            float(corrected.min()),
            low=1.3,
            median=float(corrected.median()),
        ),
        Row(
            "square score",
            name,
            "no squares",
            "highest",
            float(squares.max()),
            high=1.0,
            median=float(squares.median()),
        ),
    ]


def grid_unit_rows(populations: int, seed: int = 0) -> Iterable[NullRow]:
    """False positives of "grid unit" (`above_null`) over kinds of null units, populations in turn."""
    each = max(1, populations // len(NULLS))
    for kind, make in NULLS.items():
        generator = seeded("nulls", kind, seed=seed)
        units = sum(SIZES[i % len(SIZES)] for i in range(each))
        positives = 0
        for some in torch.arange(units).split(512):
            maps = make(len(some), generator)
            scores, _ = scores_and_lattices(maps, BIN_M)
            positives += int(above_null(maps, scores, generator=generator)[1].sum())
        yield NullRow("grid unit", kind, each, positives, units, RATE)
