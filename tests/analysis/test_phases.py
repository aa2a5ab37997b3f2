"""Phases are found within 1 % of the period, and clumps are told from uniform phases."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.analysis import decode_phases, lattices, phase_uniformity, phases


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def basis(spacing_m: float, orientation_rad: float) -> Tensor:
    angle = orientation_rad + torch.tensor([0, math.pi / 3], dtype=torch.float64)
    return spacing_m * torch.stack([angle.cos(), angle.sin()], -1)


def uniform(n: int, seed: int) -> Tensor:
    return torch.rand(n, 2, generator=generator(seed), dtype=torch.float64)


def apart(first: Tensor, second: Tensor) -> float:
    """Largest distance on the cell's torus, in spacings at most."""
    gap = first - second
    return float((gap - gap.round()).norm(dim=-1).amax())


@pytest.mark.parametrize("kind", ["cosines", "bumps"])
@pytest.mark.parametrize("spacing_m", [0.3, 0.5, 0.8])
def test_phases_of_perfect_grids(grid_maps, kind: str, spacing_m: float) -> None:
    true, angle = uniform(12, 1), torch.full((12,), 0.3, dtype=torch.float64)
    lattice = basis(spacing_m, 0.3)
    maps = grid_maps(spacing_m, angle, true @ lattice, kind)
    found = phases(maps, lattice, 0.04)
    assert found.shape == (12, 2)
    assert ((found >= 0) & (found < 1)).all()
    assert apart(found, true) < 0.01


@settings(max_examples=15)
@given(
    orientation_rad=st.floats(0, 6),
    scale=st.floats(0.1, 10),
    gain=st.floats(1e-3, 1e3),
    offset=st.floats(-10, 10),
    seed=st.integers(0, 1000),
)
def test_phases_ignore_rotation_scale_gain_offset_and_holes(
    grid_maps, orientation_rad: float, scale: float, gain: float, offset: float, seed: int
) -> None:
    true, lattice = uniform(5, seed), basis(0.6, orientation_rad)
    maps = grid_maps(0.6, torch.full((5,), orientation_rad, dtype=torch.float64), true @ lattice)
    holes = torch.rand(5, 50, 50, generator=generator(seed + 1)) < 0.3
    maps = (gain * maps + offset).masked_fill(holes, math.nan)
    assert apart(phases(maps, scale * lattice, scale * 0.04), true) < 1e-3


def test_phases_of_their_own_lattices_and_another_origin(grid_maps) -> None:
    true, lattice = uniform(4, 3), basis(0.5, 0.2)
    maps = grid_maps(0.5, torch.full((4,), 0.2, dtype=torch.float64), true @ lattice)
    assert apart(phases(maps, lattice.expand(4, 2, 2), 0.04), true) < 1e-6
    assert apart(phases(maps, lattices(maps, 0.04), 0.04), true) < 0.02
    origin = 0.3 * lattice[0] + 0.6 * lattice[1]
    moved = phases(maps, lattice, 0.04, origin_m=(float(origin[0]), float(origin[1])))
    assert apart(moved + torch.tensor([0.3, 0.6]), true) < 1e-6


def test_phases_are_those_of_the_largest_cross_correlation(grid_maps) -> None:
    """Against a naive search over the cell, on noisy maps of many periods."""
    lattice = basis(0.35, 0.4)
    maps = grid_maps(0.35, torch.full((3,), 0.4, dtype=torch.float64), uniform(3, 5) @ lattice)
    maps = maps + 0.5 * torch.randn(maps.shape, generator=generator(6), dtype=torch.float64)
    axis = torch.arange(50, dtype=torch.float64) / 50
    cells = torch.cartesian_prod(axis, axis)
    angle = torch.full((len(cells),), 0.4, dtype=torch.float64)
    templates = grid_maps(0.35, angle, cells @ lattice)
    templates = templates - templates.mean((1, 2), keepdim=True)
    match = torch.einsum("nhw,mhw->nm", maps - maps.mean((1, 2), keepdim=True), templates)
    assert apart(phases(maps, lattice, 0.04), cells[match.argmax(1)]) < 0.03


def test_no_phase_where_there_is_none(grid_maps) -> None:
    lattice = basis(0.5, 0.2)
    maps = grid_maps(0.5, torch.full((3,), 0.2, dtype=torch.float64), uniform(3, 3) @ lattice)
    maps[0] = 3.0
    maps[1] = math.nan
    found = phases(maps, lattice, 0.04)
    assert found[:2].isnan().all()
    assert found[2].isfinite().all()
    assert phases(maps, torch.full((2, 2), math.nan), 0.04).isnan().all()
    assert phases(maps[:0], lattice, 0.04).shape == (0, 2)


def test_bad_phase_input_is_named() -> None:
    maps = torch.rand(3, 20, 20)
    with pytest.raises(ValueError, match="one, or one a unit"):
        phases(maps, basis(0.5, 0).expand(2, 2, 2), 0.04)
    with pytest.raises(ValueError, match="90 degrees"):
        phases(maps, torch.eye(2), 0.04)
    with pytest.raises(ValueError, match="bin_m"):
        phases(maps, basis(0.5, 0), 0)
    with pytest.raises(ValueError, match="unit_phases"):
        decode_phases(torch.rand(10, 4), torch.rand(3, 2))


@pytest.mark.parametrize("clumped", [False, True])
def test_the_population_tells_its_phase(rates_of, clumped: bool) -> None:
    """Uneven phases do not bias the reading."""
    lattice, unit_phases = basis(0.7, 0.5), uniform(12, 8) * (0.5 if clumped else 1)
    where = 4 * uniform(500, 9) - 2
    rates = rates_of(where, torch.full((12,), 0.7), torch.full((12,), 0.5), unit_phases @ lattice, "cosines")
    found = decode_phases(3 * rates + 1, unit_phases)
    assert apart(found, where @ torch.linalg.inv(lattice)) < (0.05 if clumped else 0.02)
    rates[0, 0] = math.nan
    found = decode_phases(rates, unit_phases)
    assert found[0].isnan().all()
    assert found[1:].isfinite().all()


def test_uniform_phases_pass_as_often_as_they_should() -> None:
    p = [phase_uniformity(uniform(30, seed), draws=100, seed=seed) for seed in range(200)]
    assert sum(x.p_value < 0.05 for x in p) <= 16  # 8 %: 5 % of 200 plus two deviations
    assert sum(x.nearest_p < 0.2 for x in p) == pytest.approx(40, abs=17)
    rayleigh = torch.stack([x.rayleigh_p for x in p])
    assert ((rayleigh < 0.2).double().mean(0) - 0.2).abs().max() < 0.085


def test_clumps_are_no_uniform_phases() -> None:
    one = 0.4 + 0.15 * torch.randn(30, 2, generator=generator(0), dtype=torch.float64)
    found = phase_uniformity(one % 1)
    assert found.p_value < 0.01
    assert (found.rayleigh_p[:2] < 0.01).all()  # the third wave adds both spreads
    four = torch.cartesian_prod(torch.tensor([0, 0.5]), torch.tensor([0, 0.5])).repeat(8, 1)
    four = four.double() + 0.03 * torch.randn(32, 2, generator=generator(1), dtype=torch.float64)
    found = phase_uniformity(four % 1)
    assert (found.rayleigh_p > 0.05).all(), "no wave prefers a phase, so only neighbours tell"
    assert found.p_value < 0.01
    assert found.nearest < 0.7 * found.nearest_expected


def test_tiled_phases_are_farther_apart_than_uniform_ones() -> None:
    axis = torch.arange(6, dtype=torch.float64) / 6
    found = phase_uniformity(torch.cartesian_prod(axis, axis))
    assert found.nearest == pytest.approx(1 / 6)
    assert found.nearest_p > 0.99
    assert math.isnan(phase_uniformity(uniform(4, 0)).p_value)
