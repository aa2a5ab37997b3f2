"""Spatial information, field widths and band scores against closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entorhinal.analysis import band_repeats, band_scores, field_widths, spatial_information


def plane(side_m: float, bins: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    axis = side_m * ((torch.arange(bins, dtype=torch.float64) + 0.5) / bins - 0.5)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y, side_m / bins


def waves(x, y, k: float, angles: list[float]) -> torch.Tensor:
    return sum((k * (x * math.cos(a) + y * math.sin(a))).cos() for a in angles)[None]  # type: ignore[index]


def test_information_of_one_place_among_many_and_of_none() -> None:
    maps = torch.zeros(3, 4, 8)
    maps[0, 1, 2], maps[1] = 5.0, 2.0
    occupancy = torch.ones(4, 8)
    found = spatial_information(maps, occupancy)
    assert float(found[0]) == pytest.approx(5)  # log2 of 32
    assert float(found[1]) == pytest.approx(0, abs=1e-12)
    assert found[2].isnan()
    half = torch.full((1, 2, 2), torch.nan)
    half[0, 0], half[0, 1, 0] = torch.tensor([3.0, 0.0]), 0.0
    assert float(spatial_information(half, torch.tensor([[2.0, 1.0], [1.0, 9.0]]))[0]) == pytest.approx(1)
    assert spatial_information(-maps[:1], occupancy).isnan().all()
    with pytest.raises(ValueError, match=r"occupancy has shape \(3, 3\)"):
        spatial_information(maps, torch.ones(3, 3))


@given(st.floats(0.1, 10), st.integers(0, 99))
@settings(max_examples=20)
def test_information_does_not_depend_on_the_unit_of_rate_or_time(factor: float, seed: int) -> None:
    maps = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    occupancy = maps[1] + 0.1
    torch.testing.assert_close(
        spatial_information(factor * maps, occupancy), spatial_information(maps, factor * occupancy)
    )


@pytest.mark.parametrize("sd_m", [0.1, 0.2])
def test_width_of_a_gaussian_field(sd_m: float) -> None:
    x, y, bin_m = plane(6.0, 120)
    found = field_widths(torch.exp(-(x**2 + y**2) / (2 * sd_m**2))[None], bin_m)
    assert float(found) == pytest.approx(2 * math.sqrt(math.log(2)) * sd_m, rel=0.05)


def test_width_of_three_cosines() -> None:
    x, y, bin_m = plane(4.0, 160)
    k = 4 * math.pi / math.sqrt(3) / 0.5
    found = field_widths(waves(x, y, k, [0.2 + i * math.pi / 3 for i in range(3)]), bin_m)
    assert float(found) == pytest.approx(1.5211 / k, rel=0.05)  # J0(1.5211) = 1/2
    assert field_widths(torch.ones(1, 9, 9), 0.1).isnan().all()


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_bands_of_any_direction_score_one(angle: float) -> None:
    x, y, _ = plane(4.0, 64)
    band = waves(x, y, 9.0, [angle])
    assert float(band_scores(band)) > 0.999
    assert float(band_repeats(band)) > 0.9
    band[0, :20, 30:] = torch.nan
    assert float(band_scores(band.relu())) > 0.95


def test_what_is_no_band_scores_low() -> None:
    x, y, _ = plane(4.0, 64)
    hexagon = waves(x, y, 15.0, [0.2 + i * math.pi / 3 for i in range(3)])
    square = waves(x, y, 15.0, [0.2, 0.2 + math.pi / 2])
    field = torch.exp(-(x**2 + y**2) / 0.1)[None]
    assert float(band_scores(torch.cat((hexagon, square, field))).max()) < 0.05
    stretched = torch.exp(-(x**2 + 4 * y**2) / 0.3)[None]
    assert float(band_scores(stretched)) == pytest.approx(0.6, abs=0.02)
    assert band_scores(torch.ones(1, 8, 8)).isnan().all()


def test_a_ramp_and_one_band_do_not_come_again() -> None:
    x, _, _ = plane(4.0, 64)
    maps = torch.stack((x, x.relu(), torch.exp(-(x**2)), torch.ones_like(x)))
    assert float(band_scores(maps[:3]).min()) > 0.99
    assert not (band_repeats(maps) > 0.3).any()
