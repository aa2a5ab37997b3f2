"""Known answers of states: the Betti numbers of surfaces whose states are sampled, and their toroidal coordinates."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from entorhinal.analysis import phase_agreement, toroidal_coordinates, torus
from entorhinal.benchmarks.synthetic import (
    BETTI,
    circle_states,
    grids,
    plane_states,
    sphere_states,
    square_torus_states,
    torus_states,
)
from entorhinal.benchmarks.validation.rows import Row, part_right, seeded

MOMENTS, UNITS, PLANE_UNITS, POINTS, ROLLS, SEEDS = 3000, 40, 80, 300, 2, 2
"""States, units (more place cells), points of the homology, rolls of its null, and runs of each surface."""

BROAD, NARROW = 1.0, 3.0
"""Sharpness of the fields of tori."""

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


def topology_rows() -> list[Row]:
    """Betti numbers of five surfaces and of noise, the verdict torus, and coordinates on the torus."""
    rows = []
    verdicts: dict[str, list[bool]] = {"broad fields": [], "narrow fields": [], "the others": []}
    for name, (surface, sample) in SURFACES.items():
        known = BETTI.get(surface, (1, 0, 0))
        runs = [torus(sample(seeded("topology", name, str(k))), points=POINTS, rolls=ROLLS) for k in range(SEEDS)]
        found = [tuple(run.betti.tolist()) for run in runs]
        wrong = sorted({str(one) for one in found if one != known})
        row = part_right("Betti numbers", f"{name}, {POINTS} points", f"{surface} {known}", [b == known for b in found])
        rows.append(replace(row, statistic=row.statistic + ", else " * bool(wrong) + " and ".join(wrong)))
        group = next((key for key in verdicts if name.startswith(key)), "the others")
        verdicts[group] += [run.is_torus for run in runs]
    for group, said in verdicts.items():
        wanted = group != "the others"
        truth = "a torus" if wanted else "no torus"
        rows.append(part_right("torus or not", group, truth, [one == wanted for one in said]))
    return [*rows, _coordinate_row()]


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
