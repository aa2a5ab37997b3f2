"""Decoding paths with templates, on populations whose position is known."""

import math

import pytest
import torch
from torch import Tensor

from entorhinal.analysis import decode_positions, path_error, rate_maps

EXTENT = ((-0.5, 0.5), (-0.5, 0.5))


def places(position_m: Tensor, units: int = 80) -> Tensor:
    """Gaussian place cells at random centres: (..., 2) -> (..., units)."""
    centre_m = torch.rand(units, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    return torch.exp(-(position_m[..., None, :] - centre_m).square().sum(-1) / (2 * 0.12**2))


def stripes(position_m: Tensor) -> Tensor:
    """A code of period 0.25 m along both axes, which repeats four times in the box: (..., 2) -> (..., 16)."""
    phase = torch.arange(8, dtype=torch.float64) / 8
    return torch.cos(2 * math.pi * (position_m[..., None] / 0.25 - phase)).flatten(-2)


def walk(batch: int, steps: int, seed: int, step_m: float = 0.02) -> tuple[Tensor, Tensor, Tensor]:
    """Start, displacement and position of a random walk reflected at the walls."""
    generator = torch.Generator().manual_seed(seed)
    free = torch.randn(batch, steps + 1, 2, generator=generator, dtype=torch.float64) * step_m
    folded = torch.remainder(free.cumsum(1) + 0.5, 2.0)
    inside = torch.where(folded > 1, 2 - folded, folded) - 0.5
    return inside[:, 0], inside.diff(dim=1), inside[:, 1:]


@pytest.fixture(scope="module")
def dense() -> Tensor:
    return torch.rand(200_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5


def test_a_unique_code_is_localised_within_a_fraction_of_a_bin(dense) -> None:
    templates = rate_maps(places(dense), dense, EXTENT, bins=50)
    _, steps, position = walk(3, 400, 2)
    found = path_error(decode_positions(places(position), templates), position, steps)
    assert found.median_m < 0.005
    assert found.p95_m < 0.02


def test_a_periodic_code_is_lost_globally_and_kept_by_tracking(dense) -> None:
    templates = rate_maps(stripes(dense), dense, EXTENT, bins=50)
    start, steps, position = walk(4, 600, 3)
    rates = stripes(position)
    lost = path_error(decode_positions(rates, templates), position, steps)
    kept = path_error(decode_positions(rates, templates, window_m=0.08, start_m=start), position, steps)
    assert lost.median_m > 0.2
    assert kept.median_m < 0.01
    offset = (decode_positions(rates, templates) - position) / 0.25
    assert (offset - offset.round()).abs().median() < 0.05, "the global decoder errs by whole periods only"


def test_decoding_ignores_gain_and_offset_of_units(dense) -> None:
    gain, offset = torch.rand(80, dtype=torch.float64) + 0.5, torch.randn(80, dtype=torch.float64)
    _, _, position = walk(2, 100, 4)
    plain = decode_positions(places(position), rate_maps(places(dense), dense, EXTENT))
    scaled = decode_positions(places(position) * gain + offset, rate_maps(places(dense) * gain + offset, dense, EXTENT))
    torch.testing.assert_close(plain, scaled, atol=1e-6, rtol=0)


def test_one_dimension() -> None:
    track = torch.linspace(-0.5, 0.5, 20_001, dtype=torch.float64)[:, None]
    centre = torch.linspace(-0.5, 0.5, 30, dtype=torch.float64)
    tuning = lambda x: torch.exp(-(x - centre).square() / (2 * 0.05**2))  # noqa: E731
    templates = rate_maps(tuning(track), track, ((-0.5, 0.5),), bins=50)
    position = torch.linspace(-0.45, 0.45, 200, dtype=torch.float64)[None, :, None]
    found = decode_positions(tuning(position), templates)
    assert found.shape == (1, 200, 1)
    assert (found - position).abs().max() < 0.01


def test_unvisited_bins_silent_units_and_nan_rates(dense) -> None:
    seen = dense[dense[:, 0] < 0.2]
    silent = lambda p: torch.cat((places(p), torch.zeros(*p.shape[:-1], 1, dtype=p.dtype)), -1)  # noqa: E731
    templates = rate_maps(silent(seen), seen, EXTENT)
    position = torch.tensor([[[0.1, 0.1], [-0.3, 0.4], [0.0, 0.0]]], dtype=torch.float64)
    rates = silent(position)
    rates[0, 2] = math.nan
    found = decode_positions(rates, templates)
    assert (found[0, :2] - position[0, :2]).norm(dim=-1).max() < 0.01
    assert found[0, 2].isnan().all()


def test_path_error_in_closed_form() -> None:
    steps = torch.zeros(2, 5, 2, dtype=torch.float64)
    steps[..., 0] = 0.1
    position = steps.cumsum(1)
    decoded = position + 0.3 * torch.stack((torch.zeros(2, 5), steps[..., 0].cumsum(1)), -1)
    found = path_error(decoded, position, steps)
    assert found.slope == pytest.approx(0.3)
    assert found.median_m == pytest.approx(0.3 * 0.3)
    assert found.mean_m == pytest.approx(0.3 * 0.3)
    assert found.distance_m[0, -1].item() == pytest.approx(0.5)
    nothing = path_error(torch.full_like(position, math.nan), position, steps)
    assert math.isnan(nothing.median_m)


def test_bad_input_is_named(dense) -> None:
    templates = rate_maps(places(dense), dense, EXTENT)
    with pytest.raises(ValueError, match="3 units and templates 80"):
        decode_positions(torch.zeros(1, 2, 3), templates)
    with pytest.raises(ValueError, match="give a positive window and the start"):
        decode_positions(torch.zeros(1, 2, 80), templates, window_m=0.1)
    with pytest.raises(ValueError, match="same shape"):
        path_error(torch.zeros(1, 2, 2), torch.zeros(1, 3, 2), torch.zeros(1, 3, 2))
