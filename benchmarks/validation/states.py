"""Known answers of states: the Betti numbers of surfaces whose states are sampled, and their toroidal coordinates; and
how often what is no torus is called one, and a torus none."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from entorhinal.analysis import phase_agreement, toroidal_coordinates, torus
from entorhinal.analysis.topology import time_rolled
from entorhinal.benchmarks.synthetic import (
    BETTI,
    circle_states,
    grids,
    plane_states,
    sphere_states,
    square_torus_states,
    torus_states,
)
from entorhinal.benchmarks.validation.rows import NullRow, Row, part_right, seeded

MOMENTS, UNITS, PLANE_UNITS, POINTS, ROLLS = 3000, 40, 80, 300, 2
"""States, units (more place cells), points of the homology and rolls of its null."""

RUNS = {POINTS: 2, 600: 1, 1200: 1}
"""Runs of each surface with so many points; with the most, which take minutes, only of those in `HEADLINE`."""

HEADLINE = ("broad fields", "narrow fields")

BROAD, NARROW, NOISE = 1.0, 3.0, 0.5
"""Sharpness of the fields of tori; white noise, in deviations of the rates."""

Sample = Callable[[torch.Generator], Tensor]

SURFACES: dict[str, tuple[str, Sample]] = {
    "broad fields": ("torus", lambda g: torus_states(MOMENTS, UNITS, g, sharpness=BROAD)),
    "broad fields on a square": ("square torus", lambda g: square_torus_states(MOMENTS, UNITS, g, sharpness=BROAD)),
    "narrow fields": ("torus", lambda g: torus_states(MOMENTS, UNITS, g, sharpness=NARROW)),
    "narrow fields on a square": ("square torus", lambda g: square_torus_states(MOMENTS, UNITS, g, sharpness=NARROW)),
    "place cells": ("plane", lambda g: plane_states(MOMENTS, PLANE_UNITS, g)),
    "cells tuned to a heading": ("circle", lambda g: circle_states(MOMENTS, UNITS, g)),
    "cells tuned to directions in space": ("sphere", lambda g: sphere_states(MOMENTS, UNITS, g)),
    "white noise": ("noise", lambda g: torch.rand(MOMENTS, UNITS, generator=g, dtype=torch.float64)),
}
"""Populations, and the surfaces on which their states lie."""


NullSample = Callable[[int, torch.Generator], Tensor]

NO_TORI: dict[str, NullSample] = {
    "place cells": lambda n, g: plane_states(MOMENTS, n, g),
    "cells tuned to a heading": lambda n, g: circle_states(MOMENTS, n, g),
    "cells tuned to directions in space": lambda n, g: sphere_states(MOMENTS, n, g),
    "white noise": lambda n, g: torch.rand(MOMENTS, n, generator=g, dtype=torch.float64),
    "narrow fields, every unit rolled in time": lambda n, g: time_rolled(
        torus_states(MOMENTS, n, g, sharpness=NARROW), g
    ),
}
"""Populations of n units whose states lie on no torus."""

TORI: dict[str, NullSample] = {
    "broad fields": lambda n, g: torus_states(MOMENTS, n, g, sharpness=BROAD),
    "narrow fields": lambda n, g: torus_states(MOMENTS, n, g, sharpness=NARROW),
    "narrow fields in noise": lambda n, g: _noisy(torus_states(MOMENTS, n, g, sharpness=NARROW), g),
    "broad fields on a square": lambda n, g: square_torus_states(MOMENTS, n, g, sharpness=BROAD),
    "narrow fields on a square": lambda n, g: square_torus_states(MOMENTS, n, g, sharpness=NARROW),
    "narrow fields on a square in noise": lambda n, g: _noisy(square_torus_states(MOMENTS, n, g, sharpness=NARROW), g),
}
"""Populations of n units whose states lie on a torus."""

SIZES, RATE = (20, 40, 80, 160), 0.05
"""Units of the populations, in turn, and the part of them that may be taken for what they are not."""


def topology_rows() -> list[Row]:
    """Betti numbers of five surfaces and of noise, the verdict torus, and coordinates on the torus."""
    rows = []
    verdicts: dict[str, list[bool]] = {"broad fields": [], "narrow fields": [], "the others": []}
    for points, runs in RUNS.items():
        for name in HEADLINE if points > 600 else SURFACES:
            surface, sample = SURFACES[name]
            known = BETTI.get(surface, (1, 0, 0))
            tried = [torus(sample(seeded("topology", name, str(k))), points=points, rolls=ROLLS) for k in range(runs)]
            found = [tuple(run.betti.tolist()) for run in tried]
            wrong = sorted({str(one) for one in found if one != known})
            population = f"{name}, {points:,} points"
            row = part_right("Betti numbers", population, f"{surface} {known}", [one == known for one in found])
            rows.append(replace(row, statistic=row.statistic + ", else " * bool(wrong) + " and ".join(wrong)))
            group = next((key for key in verdicts if name.startswith(key)), "the others")
            verdicts[group] += [run.is_torus for run in tried]
    for group, said in verdicts.items():
        wanted = group != "the others"
        truth = "a torus" if wanted else "no torus"
        rows.append(part_right("torus or not", group, truth, [one == wanted for one in said]))
    return [*rows, _coordinate_row()]


def torus_verdict_rows(populations: int, seed: int = 0) -> Iterable[NullRow]:
    """How often no torus is called one, and a torus none: kinds of either, populations of `SIZES` units in turn."""
    each = max(1, populations // (len(NO_TORI) + len(TORI)))
    for verdict, kinds in (("a torus", NO_TORI), ("no torus", TORI)):
        for kind, sample in kinds.items():
            generator = seeded("torus verdict", verdict, kind, seed=seed)
            wrong = 0
            for k in range(each):
                states = sample(SIZES[k % len(SIZES)], generator)
                wrong += torus(states, points=POINTS, rolls=ROLLS).is_torus == (verdict == "a torus")
            yield NullRow(verdict, kind, each, wrong, each, RATE)


def _noisy(states: Tensor, generator: torch.Generator) -> Tensor:
    return states + NOISE * states.std() * torch.randn(states.shape, generator=generator, dtype=states.dtype)


def _coordinate_row() -> Row:
    generator = seeded("topology", "coordinates")
    module = grids(torch.full((UNITS,), 0.6), torch.full((UNITS,), 0.2), generator)
    where_m = 4 * torch.rand(MOMENTS, 2, generator=generator, dtype=torch.float64)
    states = module.rates_at(where_m)
    found = torus(states, points=POINTS, rolls=1)
    phase = 2 * math.pi * where_m @ torch.linalg.inv(module.basis_m[0])
    agreement, winding = phase_agreement(toroidal_coordinates(found, states), phase)
    once = abs(abs(float(torch.linalg.det(winding.double()))) - 1) < 1e-9
    value = float(agreement.min()) if once else math.nan
    return Row("toroidal coordinates", "torus of three cosines", "its phases, once around", "agreement", value, low=0.9)
