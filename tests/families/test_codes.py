"""Tuning curves against closed forms."""

import math

import pytest
import torch

from entorhinal.families import codes


def test_gaussian_place_cells_peak_and_width() -> None:
    centre = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    at = torch.tensor([[0.1, -0.2], [0.1 + 0.12, -0.2]], dtype=torch.float64)
    rates = codes.gaussian_place_cells(at, centre, 0.12)
    torch.testing.assert_close(rates[:, 0], torch.tensor([1.0, math.exp(-0.5)], dtype=torch.float64))


def test_periodic_distance_is_the_short_way_round() -> None:
    square = codes.square_distance(torch.tensor([[0.45]]), torch.tensor([[-0.45]]), (1.0,))
    assert square.item() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_difference_of_gaussians_has_peak_one_and_no_mean(dimensions: int) -> None:
    axis = torch.linspace(-2, 2, 401, dtype=torch.float64)
    at = torch.cartesian_prod(*[axis] * dimensions).reshape(-1, dimensions)
    centre = torch.zeros(1, dimensions, dtype=torch.float64)
    rates = codes.difference_of_gaussians_place_cells(at, centre, 0.1)
    assert rates.max().item() == pytest.approx(1)
    assert abs(rates.mean().item()) < 1e-6
    assert rates.min() < 0


def test_hexagonal_tuning_repeats_at_the_lattice_and_nowhere_nearer() -> None:
    spacing, orientation = torch.tensor([0.4], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    waves = codes.hexagonal_waves(spacing, orientation)
    torch.testing.assert_close(waves.sum(1), torch.zeros(1, 2, dtype=torch.float64), atol=1e-12, rtol=0)
    centre = torch.tensor([[0.05, 0.02]], dtype=torch.float64)
    angle = orientation + torch.arange(6) * math.pi / 3
    neighbours = centre + 0.4 * torch.stack((angle.cos(), angle.sin()), -1)
    for sharpness in (None, 4.0):
        torch.testing.assert_close(
            codes.hexagonal_tuning(torch.cat((centre, neighbours)), waves, centre, sharpness),
            torch.ones(7, 1, dtype=torch.float64),
        )
        ring = centre + 0.2 * torch.stack((angle.cos(), angle.sin()), -1)
        assert codes.hexagonal_tuning(ring, waves, centre, sharpness).max() < 0.5


def test_head_direction_cells() -> None:
    rates = codes.head_direction_cells(torch.tensor([0.0, math.pi]), torch.tensor([0.0]), 20.0)
    torch.testing.assert_close(rates[:, 0], torch.tensor([1.0, math.exp(-40.0)]))


def test_interpolation_is_exact_for_planes_and_nan_outside() -> None:
    extent = ((-1.0, 1.0), (-0.5, 0.5))
    x = torch.linspace(-0.95, 0.95, 20, dtype=torch.float64)
    y = torch.linspace(-0.45, 0.45, 10, dtype=torch.float64)
    table = (2 * x[None, :] - 3 * y[:, None])[None]
    at = torch.tensor([[[0.123, -0.321], [-0.9, 0.44], [1.01, 0.0], [0.0, -0.51]]], dtype=torch.float64)
    rates = codes.interpolate_maps(table, at, extent)
    torch.testing.assert_close(rates[0, :2, 0], 2 * at[0, :2, 0] - 3 * at[0, :2, 1])
    assert rates[0, 2:].isnan().all()


def test_periodic_interpolation_is_continuous_across_the_border() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.rand(3, 8, 8, generator=generator, dtype=torch.float64)
    extent = ((-0.5, 0.5), (-0.5, 0.5))
    at = torch.tensor([[[0.2, 0.5 - 1e-9], [0.2, -0.5 + 1e-9], [1.2, 0.5 - 1e-9]]], dtype=torch.float64)
    rates = codes.interpolate_maps(table, at, extent, periodic=True)[0]
    torch.testing.assert_close(rates[0], rates[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(rates[0], rates[2], atol=1e-6, rtol=0)
