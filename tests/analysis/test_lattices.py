"""Lattices of populations whose lattice is known."""

import math

import pytest
import torch
from torch import Tensor

from entorhinal.analysis import (
    Lattices,
    fourier_lattices,
    grid_scores,
    lattices,
    rate_maps,
    scores_and_lattices,
    smooth_maps,
)

SIXTH = math.pi / 3


def turn_deg(found: Tensor, true: Tensor) -> Tensor:
    """Difference of orientations, which repeat every 60 degrees."""
    return (((found - true + SIXTH / 2) % SIXTH) - SIXTH / 2).abs().rad2deg()


def population(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    angle = torch.rand(count, generator=g, dtype=torch.float64) * SIXTH
    return angle, torch.rand(count, 2, generator=g, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("measure", [lattices, fourier_lattices])
@pytest.mark.parametrize("kind", ["cosines", "bumps"])
@pytest.mark.parametrize("spacing_m", [0.3, 0.4, 0.55, 0.7, 0.8])
def test_accuracy_on_perfect_maps(grid_maps, spacing_m: float, kind: str, measure) -> None:
    angle, phase = population(24)
    found = measure(grid_maps(spacing_m, angle, phase, kind), 0.04)
    assert (found.spacing_m / spacing_m - 1).abs().max() < 0.01
    assert turn_deg(found.orientation_rad, angle).max() < 1
    assert found.ellipticity.max() < 1.03


@pytest.mark.parametrize("measure", [lattices, fourier_lattices])
@pytest.mark.parametrize("spacing_m", [0.3, 0.5, 0.8])
def test_accuracy_on_a_finite_walk(rates_of, spacing_m: float, measure) -> None:
    angle, phase = population(12, seed=1)
    g = torch.Generator().manual_seed(0)
    walk = (0.015 * torch.randn(20_000, 2, generator=g, dtype=torch.float64)).cumsum(0)
    walk = ((walk + 1) % 4 - 2).abs() - 1  # a random walk that walls reflect
    rates = rates_of(walk, torch.full_like(angle, spacing_m), angle, phase, "bumps")
    maps = rate_maps(rates, walk, ((-1, 1), (-1, 1)))
    assert maps.values.isnan().any()
    found = measure(maps.values, maps.bin_m)
    assert (found.spacing_m / spacing_m - 1).abs().max() < (0.01 if measure is lattices else 0.04)
    assert turn_deg(found.orientation_rad, angle).max() < (1 if measure is lattices else 2)


def test_noise_as_strong_as_the_map_does_not_change_the_lattice_found(grid_maps) -> None:
    angle, phase = population(24, seed=2)
    maps = grid_maps(0.7, angle, phase)
    noise = torch.randn(maps.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = lattices(maps + maps.std() * noise, 0.04)
    assert (found.spacing_m / 0.7 - 1).abs().max() < 0.03


def test_basis_orientation_and_period_say_the_same(grid_maps) -> None:
    angle, phase = population(8, seed=3)
    found = lattices(grid_maps(0.5, angle, phase), 0.04)
    lengths = found.basis_m.norm(dim=-1)
    assert (lengths / 0.5 - 1).abs().max() < 0.01
    first, second = (torch.atan2(found.basis_m[:, i, 1], found.basis_m[:, i, 0]) for i in (0, 1))
    assert (second - first - SIXTH).abs().max().rad2deg() < 2
    assert turn_deg(first, found.orientation_rad).max() < 1
    assert ((found.orientation_rad >= 0) & (found.orientation_rad < SIXTH)).all()
    y, x = torch.meshgrid(*[torch.arange(50, dtype=torch.float64) * 0.04] * 2, indexing="ij")
    wave = [
        (2 * math.pi / 0.5 * (x * math.cos(a) + y * math.sin(a))).cos() for a in (0.2, 0.2 + SIXTH, 0.2 + 2 * SIXTH)
    ]
    spacing = lattices(sum(wave)[None], 0.04).spacing_m.item()
    assert spacing == pytest.approx(0.5 * 2 / math.sqrt(3), rel=0.01)  # fields are not a wavelength apart


@pytest.mark.parametrize("measure", [lattices, fourier_lattices])
def test_a_stretched_lattice_is_an_ellipse(measure) -> None:
    y, x = torch.meshgrid(*[torch.arange(60, dtype=torch.float64)] * 2, indexing="ij")
    angle = torch.tensor([0.4, 0.4 + SIXTH, 0.4 + 2 * SIXTH])[:, None, None]
    for stretch in (1.0, 1.15, 1.3):
        image = (0.7 * ((x / stretch) * angle.cos() + y * angle.sin())).cos().sum(0)
        assert measure(image[None], 1.0).ellipticity.item() == pytest.approx(stretch, rel=0.02)


@pytest.mark.parametrize("measure", [lattices, fourier_lattices])
def test_turning_scaling_and_shifting(grid_maps, measure) -> None:
    angle, phase = population(6, seed=4)
    maps = grid_maps(0.5, angle, phase)
    found = measure(maps, 0.04)
    turned = measure(maps.rot90(1, (1, 2)), 0.04)  # 90 degrees is 30 more than one axis to the next
    assert turn_deg(turned.orientation_rad, found.orientation_rad + math.pi / 2).max() < 0.01
    for same in (maps + 1e6, maps * 1e-9, maps.numpy()):
        torch.testing.assert_close(measure(same, 0.04).spacing_m, found.spacing_m, rtol=1e-6, atol=0)
    torch.testing.assert_close(measure(maps, 0.08).spacing_m, 2 * found.spacing_m)
    torch.testing.assert_close(found[torch.tensor([2])].basis_m, measure(maps[2:3], 0.04).basis_m)


@pytest.mark.parametrize("measure", [lattices, fourier_lattices])
def test_maps_without_six_peaks_are_nan(measure) -> None:
    y, x = torch.meshgrid(*[torch.arange(50, dtype=torch.float64)] * 2, indexing="ij")
    empty = torch.full_like(x, torch.nan)
    one = empty.clone()
    one[7, 7] = 2.0
    maps = torch.stack([torch.full_like(x, 0.1), empty, one, (0.6 * x).cos(), (0.4 * x + 0.3 * y).cos()])
    found: Lattices = measure(maps, 0.04)
    assert found.spacing_m[:3].isnan().all()
    if measure is lattices:
        field = torch.exp(-((x - 20) ** 2 + (y - 30) ** 2) / 20)
        assert found.spacing_m.isnan().all()  # stripes: ridges are no peaks
        assert measure(field[None], 0.04).basis_m.isnan().all()
    assert measure(maps[:0], 0.04).spacing_m.shape == (0,)
    assert measure(torch.rand(2, 3, 3), 0.04).spacing_m.isnan().all()


def test_both_from_one_autocorrelogram_equal_each_alone(grid_maps) -> None:
    maps = torch.cat([grid_maps(0.6, *population(40)), smooth_maps(torch.rand(10, 50, 50), 2)])
    scores, found = scores_and_lattices(maps, 0.04)
    torch.testing.assert_close(scores, grid_scores(maps))
    torch.testing.assert_close(found.basis_m, lattices(maps, 0.04).basis_m, equal_nan=True)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="bin_m is 0"):
        lattices(torch.zeros(1, 9, 9), 0)
    with pytest.raises(ValueError, match="maps has shape"):
        fourier_lattices(torch.zeros(9, 9), 0.1)
    with pytest.raises(ValueError, match="variant"):
        scores_and_lattices(torch.zeros(1, 9, 9), 0.1, "other")
