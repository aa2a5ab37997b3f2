"""Known answers of paths: planted drift, gain, slips and decay, and places read from a population."""

import math

import torch
from torch import Tensor

from entorhinal.analysis import (
    decode_positions,
    fold_maps,
    follow_phase,
    integration_error,
    manifold_distance,
    pair_stability,
    path_error,
    rate_maps,
    relaxation,
    rest_drift,
)
from entorhinal.analysis.integration import CellMaps, IntegrationError
from entorhinal.benchmarks.synthetic import Grids, grids
from entorhinal.benchmarks.validation.rows import Row, part_right, seeded, within
from entorhinal.families.codes import gaussian_place_cells
from entorhinal.families.world import Arena, World

EXTENT_M = ((-0.5, 0.5), (-0.5, 0.5))
SPACING_M, UNITS, DT_S, SPEED_M_S = 0.3, 40, 0.02, 0.75
WALKS, STEPS = 48, 1500
GROWTH_M2_S = 4e-5
"""Planted growth of variance."""

SLIPS = (0, 1, 2, 3, 0, 1, 2, 3)
"""Planted slips, by trial."""


def _walks(batch: int, steps: int, generator: torch.Generator) -> Tensor:
    """Steps (batch, steps, 2) of walks of one speed with slowly turning headings, in the open."""
    turn = 0.3 * torch.randn(batch, steps, generator=generator, dtype=torch.float64)
    heading = turn.cumsum(1) + 2 * math.pi * torch.rand(batch, 1, generator=generator, dtype=torch.float64)
    return SPEED_M_S * DT_S * torch.stack((heading.cos(), heading.sin()), -1)


def _module(generator: torch.Generator) -> tuple[Grids, CellMaps]:
    """Grid cells of one lattice, and their folded maps in a 1 m box."""
    known = grids(torch.full((UNITS,), SPACING_M), torch.full((UNITS,), 0.2), generator)
    seen = torch.rand(40_000, 2, generator=generator, dtype=torch.float64) - 0.5
    return known, fold_maps(rate_maps(known.rates_at(seen), seen, EXTENT_M, bins=40), known.basis_m[0])


def integration_rows() -> list[Row]:
    """Paths of a phase that is followed through the decoder: true ones, and with planted errors."""
    generator = seeded("integration")
    known, cell = _module(generator)
    basis_m = known.basis_m[0]

    def measured(moved: Tensor, steps: Tensor, gain: Tensor | None = None) -> IntegrationError:
        path = follow_phase(known.rates_at(moved.cumsum(1)), cell).path_m
        return integration_error(path, steps, basis_m=basis_m, dt_s=DT_S, gain=gain)

    steps = _walks(WALKS, STEPS, generator)
    few = steps[: len(SLIPS)]
    true = measured(few, few)
    population, trials = f"a module of {SPACING_M:g} m, {STEPS * DT_S:g} s walks", str(len(SLIPS))
    rows = [
        within("path error", population, "the path", 100 * true.error_spacings.amax(1), 5.0, "% of the spacing"),
        part_right("slips", f"{population}, {trials} trials", "none", true.slips == 0),
    ]
    noise = torch.randn(steps.shape, generator=generator, dtype=torch.float64)
    drift = measured(steps + math.sqrt(GROWTH_M2_S * DT_S) * noise, steps)
    population = f"{WALKS} walks with planted diffusion"
    for name, unit, found, planted in (
        ("time", "s", drift.variance_m2_s, GROWTH_M2_S),
        ("distance", "m", drift.variance_m2_m, GROWTH_M2_S / SPEED_M_S),
    ):
        error = 100 * abs(float(found.mean()) / planted - 1)
        rows.append(within(f"growth of variance by {name}", population, f"{planted:.3g} m²/{unit}", error, 10, "%"))
    turn = torch.tensor([[math.cos(0.1), -math.sin(0.1)], [math.sin(0.1), math.cos(0.1)]], dtype=torch.float64)
    gain = turn @ torch.diag(torch.tensor([0.9, 0.75], dtype=torch.float64))
    other = _walks(len(SLIPS), STEPS, generator)
    bent = measured(few @ gain.T, few)
    straight = measured(other @ gain.T, other, gain=bent.gain)
    population, size = "planted gain of 0.9 by 0.75, turned by 0.1", math.sqrt(0.9 * 0.75)
    off = (straight.gain - torch.eye(2, dtype=torch.float64)).abs()
    rows += [
        within("gain", population, f"{size:.3g}", 100 * abs(bent.mean_gain / size - 1), 1, "%"),
        within("anisotropy of gain", population, "1.2", 100 * abs(bent.anisotropy / 1.2 - 1), 2, "%"),
        within("rotation", population, "0.1 rad", math.degrees(abs(bent.rotation_rad - 0.1)), 1, "°"),
        within("gain once calibrated", f"{population}, other walks", "the identity", 100 * off, 1, "%"),
    ]
    slip, jumps = basis_m[0] / 8, torch.zeros_like(few)  # a whole spacing within eight samples
    for trial, count in enumerate(SLIPS):
        for k in range(1, count + 1):
            jumps[trial, STEPS * k // 4 : STEPS * k // 4 + 8] = slip
    slipped = measured(few + jumps, few).slips
    rows.append(
        part_right("slips", f"{trials} trials of 0 to 3 planted slips", "as planted", slipped == torch.tensor(SLIPS))
    )
    still = measured(torch.zeros_like(few), few)
    rows.append(within("gain", "a code that stands still", "0", abs(still.mean_gain), 0.01))
    return rows


def localisation_rows() -> list[Row]:
    """Places read from all of a 1 m box, and from the neighbourhood of the last one."""
    generator = seeded("localisation")
    centre_m = torch.rand(80, 2, generator=generator, dtype=torch.float64) - 0.5
    module, _ = _module(generator)
    walk = World(Arena.square(1.0)).walk(8, 500, seed=generator.initial_seed())
    position_m, steps_m = walk.position_m.double(), walk.displacement_m.double()
    seen = torch.rand(40_000, 2, generator=generator, dtype=torch.float64) - 0.5
    bins, bin_m = 25, 0.04

    def cells(where_m: Tensor) -> Tensor:
        return gaussian_place_cells(where_m, centre_m, 0.12)

    rows = []
    for code, rates, window_m in (("80 place cells", cells, None), ("one module, tracked", module.rates_at, 0.15)):
        templates = rate_maps(rates(seen), seen, EXTENT_M, bins=bins)
        start_m = None if window_m is None else walk.start_m.double()
        read = decode_positions(rates(position_m), templates, window_m=window_m, start_m=start_m)
        error = path_error(read, position_m, steps_m)
        population = f"{code}, {bins}² bins of 1 m"
        for name, value, high in (("median", error.median_m, 0.25), ("95th percentile", error.p95_m, 1.0)):
            rows.append(Row("place", population, "where it is", f"{name} error", value / bin_m, "bins", high=high))
    return rows


def attractor_rows() -> list[Row]:
    """Half-lives of known decays, drift at rest, and phases of pairs."""
    generator = seeded("attractors")
    time_s = DT_S * torch.arange(101, dtype=torch.float64)
    half_life_s = torch.logspace(-1.5, 0.3, 40, dtype=torch.float64)
    trace = 0.2 + 0.8 * torch.exp(-math.log(2) * time_s / half_life_s[:, None])
    noisy = 0.2 + 0.8 * torch.exp(-5 * time_s) + 0.02 * torch.randn(200, 101, generator=generator, dtype=torch.float64)
    angle = 2 * math.pi * torch.arange(2000, dtype=torch.float64) / 2000
    ring = torch.stack((angle.cos(), angle.sin()), 1)
    states = (1 + 0.5 * torch.exp(-4 * time_s))[None, :, None] * ring[5::400, None]
    distance = manifold_distance(states.flatten(0, 1), ring).unflatten(0, (-1, len(time_s)))
    exact, fitted, pulled = (relaxation(each, DT_S) for each in (trace, noisy, distance))
    rows = [
        within(
            "half-life",
            "exponentials to a fifth",
            "0.03–2 s",
            100 * (exact.half_life_s / half_life_s - 1).abs(),
            1,
            "%",
        ),
        within(
            "half-life",
            "the same, 2 % noise",
            f"{math.log(2) / 5:.3g} s",
            100 * abs(float(fitted.half_life_s.median()) * 5 / math.log(2) - 1),
            2,
            "%",
        ),
        within("decay to a ring", "a rate of 4 /s", "4 /s", 100 * (pulled.rate_per_s / 4 - 1).abs(), 1, "%"),
    ]
    growth, velocity = 2e-4, torch.tensor([0.02, 0.01], dtype=torch.float64)
    steps = torch.randn(400, 200, 2, generator=generator, dtype=torch.float64)
    rest = rest_drift((math.sqrt(growth * DT_S) * steps + DT_S * velocity).cumsum(1), DT_S)
    off = 100 * (rest.velocity_m_s.mean(0) - velocity).norm() / velocity.norm()
    population = "400 trials of diffusion and drift"
    error = 100 * abs(float(rest.variance_m2_s.mean()) / growth - 1)
    rows += [
        within("growth of variance at rest", population, f"{growth:g} m²/s", error, 3, "%"),
        within("velocity at rest", population, f"{float(velocity.norm()):.3g} m/s", float(off), 10, "%"),
    ]
    first, second = torch.rand(2, 500, 2, generator=generator, dtype=torch.float64)
    blur = 0.1 * torch.randn(500, 2, generator=generator, dtype=torch.float64)
    for name, known, other in (
        ("a common shift", 1.0, (first + torch.tensor([0.3, 0.8])) % 1),
        ("phase noise of 0.1 cycles", math.exp(-((2 * math.pi * 0.1) ** 2)), first + blur),
        ("phases anew", 0.0, second),
    ):
        found = pair_stability(first, other, generator=generator, shuffles=20).value
        rows.append(within("stability of pairs", f"500 cells, {name}", f"{known:.3g}", abs(found - known), 0.05))
    return rows
