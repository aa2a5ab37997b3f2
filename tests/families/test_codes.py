"""Tuning curves against closed forms."""

import math

import numpy as np
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


def naive_softmax(at: list[float], centres: np.ndarray, variance: float) -> np.ndarray:
    weights = [math.exp(-((at[0] - x) ** 2 + (at[1] - y) ** 2) / (2 * variance)) for x, y in centres]
    return np.array(weights) / sum(weights)


def scattered(cells: int = 40, batch: tuple[int, ...] = (3, 5)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    at, centre = (2.2 * (torch.rand(*shape, 2, generator=generator).double() - 0.5) for shape in (batch, (cells,)))
    return at, centre


@pytest.mark.parametrize("width", [0.12, torch.tensor(0.12, dtype=torch.float64)])
def test_softmax_codes_are_their_sums_written_out(width: float | torch.Tensor) -> None:
    at, centre = scattered()
    single = codes.softmax_place_cells(at, centre, width)
    double = codes.difference_of_softmaxes_place_cells(at, centre, width, 2.5)
    for index in np.ndindex(3, 5):
        point = at[index].tolist()
        narrow = naive_softmax(point, centre.numpy(), 0.12**2)
        difference = narrow - naive_softmax(point, centre.numpy(), 2.5 * 0.12**2)
        shifted = difference + abs(difference.min())
        np.testing.assert_allclose(single[index], narrow, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(double[index], shifted / shifted.sum(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softmax_codes_are_probabilities_that_move_with_the_world(dtype: torch.dtype) -> None:
    at, centre = (tensor.to(dtype) for tensor in scattered(200))
    shift = torch.tensor([0.7, -1.3], dtype=dtype)
    for code in (codes.softmax_place_cells, codes.difference_of_softmaxes_place_cells):
        rates = code(at, centre, 0.12)
        assert rates.shape == (3, 5, 200)
        assert rates.dtype == dtype
        assert rates.min() >= 0
        torch.testing.assert_close(rates.sum(-1), torch.ones(3, 5, dtype=dtype))
        torch.testing.assert_close(code(at + shift, centre + shift, 0.12), rates, atol=1e-5, rtol=1e-3)


def test_difference_of_softmaxes_has_a_surround() -> None:
    axis = torch.linspace(-1.1, 1.1, 45, dtype=torch.float64)
    centre = torch.cartesian_prod(axis, axis)
    rates = codes.difference_of_softmaxes_place_cells(torch.zeros(1, 2).double(), centre, 0.12, 2.0)[0]
    distance = centre.norm(dim=1)
    assert distance[rates.argmax()] < 1e-9
    # on the open plane δ is least where exp(−r²/2σ²) = exp(−r²/2sσ²)/s², at r² = 4 s ln s/(s − 1) σ²
    trough = 0.12 * math.sqrt(4 * 2 * math.log(2))
    assert distance[rates.argmin()].item() == pytest.approx(trough, abs=0.05)
    assert rates[distance > 0.9].min() > 0


def test_difference_of_softmaxes_is_finite_far_from_all_centres() -> None:
    _, centre = scattered(16)
    rates = codes.difference_of_softmaxes_place_cells(torch.tensor([[30.0, 40.0]]), centre.float(), 0.05)
    torch.testing.assert_close(rates.sum(-1), torch.ones(1))
    assert (rates >= 0).all()


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
