"""Each null destroys the hexagon and nothing else."""

import math

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from entorhinal.analysis import grid_scores, nulls
from entorhinal.analysis.nulls import (
    _peaks,
    _radial_power,
    above_null,
    moved_fields,
    null_grid_scores,
    spectrum_noise,
    time_shifted_maps,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hexagons(count: int, spacing_bins: float = 15.0, size: int = 50, sharpness: float = 4.0) -> Tensor:
    """Maps (count, size, size) of triangular lattices at random phases and orientations."""
    angle = torch.rand(count, 1, generator=generator(1), dtype=torch.float64) * math.pi / 3
    angle = angle + torch.arange(3) * math.pi / 3
    wave = 4 * math.pi / (math.sqrt(3) * spacing_bins) * torch.stack((angle.cos(), angle.sin()), -1)
    where = torch.stack(torch.meshgrid(*[torch.arange(size, dtype=torch.float64)] * 2, indexing="xy"), -1)
    phase = torch.rand(count, 2, generator=generator(2), dtype=torch.float64) * 50
    waves = torch.einsum("nkd,nhwd->nkhw", wave, where - phase[:, None, None]).cos().sum(1)
    return torch.exp(sharpness * (waves - 3) / 3)


def test_spectrum_noise_keeps_values_and_holes() -> None:
    maps = hexagons(3) * 3 + 5
    maps[:, :10, :7] = math.nan
    noise = spectrum_noise(maps, generator=generator())
    assert torch.equal(noise.isnan(), maps.isnan())
    torch.testing.assert_close(*(m.nan_to_num(-1).flatten(1).sort(1).values for m in (noise, maps)))
    gaussian = spectrum_noise(maps, generator=generator(), keep_values=False)
    assert torch.equal(gaussian.isnan(), maps.isnan())
    torch.testing.assert_close(gaussian.nanmean((1, 2)), maps.nanmean((1, 2)))
    variance = lambda m: (m - m.nanmean((1, 2), keepdim=True)).square().nanmean((1, 2))  # noqa: E731
    torch.testing.assert_close(variance(gaussian), variance(maps))


@pytest.mark.parametrize("keep_values", [True, False])
@pytest.mark.parametrize("spacing_bins", [8.0, 15.0])
def test_spectrum_noise_keeps_the_scale(keep_values: bool, spacing_bins: float) -> None:
    """The radial spectrum of many noise maps peaks where the map's does."""
    maps = hexagons(1, spacing_bins, sharpness=1.0).repeat(200, 1, 1)
    noise = spectrum_noise(maps, generator=generator(), keep_values=keep_values)
    own, found = (_radial_power(m - m.mean((1, 2), keepdim=True)).mean(0)[0] for m in (maps, noise))
    assert abs(int(own.argmax()) - int(found.argmax())) <= 1


def test_spectrum_noise_has_no_direction() -> None:
    """The mean power of noise is the same along and across a lattice's waves; the map's own is not."""
    maps = hexagons(1).repeat(400, 1, 1)
    mean_power = torch.fft.fft2(spectrum_noise(maps, generator=generator(), keep_values=False)).abs().square().mean(0)
    own_power = torch.fft.fft2(maps[0] - maps[0].mean()).abs().square()
    frequency = torch.fft.fftfreq(50, dtype=torch.float64)
    length = torch.hypot(frequency[:, None], frequency[None]) * 50
    ring = length.round() == 4  # a lattice of 15 bins has waves of 50 / (15 √3/2) = 3.8 cycles a box
    spread = lambda power: float(power[ring].std() / power[ring].mean())  # noqa: E731
    assert spread(mean_power) < 0.35
    assert spread(own_power) > 1


def test_hexagons_stand_out_of_their_noise_and_noise_does_not() -> None:
    maps = hexagons(12)
    null = null_grid_scores(maps, 100, generator=generator())
    assert null.shape == (12, 100)
    assert (grid_scores(maps) > null.amax(1)).all()
    fresh = null_grid_scores(maps, 40, generator=generator(9))
    exceed = (fresh > null.amax(1)[:, None]).double().mean()
    assert exceed < 0.03


def test_rectified_noise_is_called_a_grid_at_most_one_time_in_a_hundred() -> None:
    gaussian = spectrum_noise(hexagons(1).repeat(60, 1, 1), generator=generator(4), keep_values=False)
    rectified = torch.relu(gaussian - gaussian.mean((1, 2), keepdim=True))
    _, is_above = above_null(rectified, grid_scores(rectified), generator=generator(5))
    assert is_above.sum() <= 3


def test_units_that_their_noise_reaches_are_done_and_the_verdict_is_that_of_all(monkeypatch) -> None:
    """Stopping early changes no verdict: a unit is above its null exactly if its score is above the noise it met."""
    noise = torch.randn(8, 50, 50, generator=generator(), dtype=torch.float64)
    maps = torch.cat((hexagons(8), noise, torch.ones_like(noise[:1])))
    tried, done = [], []
    scores = grid_scores(maps)
    monkeypatch.setattr(nulls, "grid_scores", lambda maps, *a: tried.append(len(maps)) or grid_scores(maps, *a))
    threshold, is_above = above_null(maps, scores, 20, generator=generator(1), report=done.append)
    assert torch.equal(is_above, scores > threshold)
    assert is_above[:8].all()
    assert int(is_above[8:].sum()) <= 2
    assert not is_above[-1]
    assert len(tried) == 20
    assert tried[0] == 16, "a constant map has no score and needs no noise"
    assert tried[-1] < 16
    assert done == sorted(done)
    assert done[-1] == 1


def test_stopping_early_draws_the_noise_of_those_left() -> None:
    maps = hexagons(3)
    threshold, _ = above_null(maps, torch.full((3,), 3.0), 4, generator=generator(2))
    assert torch.equal(threshold, null_grid_scores(maps, 4, generator=generator(2)).amax(1))
    assert above_null(maps[:0], torch.empty(0), generator=generator())[1].shape == (0,)
    with pytest.raises(ValueError, match="scores has 2 values for 3 maps"):
        above_null(maps, torch.zeros(2), generator=generator())
    with pytest.raises(ValueError, match="count is 0"):
        above_null(maps, torch.zeros(3), 0, generator=generator())


def test_moved_fields_keep_mass_and_lose_the_lattice() -> None:
    maps = hexagons(40) + 0.2
    moved = moved_fields(maps, generator=generator())
    torch.testing.assert_close(moved.mean((1, 2)), maps.mean((1, 2)))
    torch.testing.assert_close(moved.amin((1, 2)), maps.amin((1, 2)), atol=0.05, rtol=0)
    assert grid_scores(moved).nanmedian() < grid_scores(maps).nanmedian() - 0.8


def test_basins_are_those_of_a_naive_ascent() -> None:
    maps = torch.rand(2, 9, 11, generator=generator(), dtype=torch.float64)
    found = _peaks(maps)
    for n in range(2):
        for start in range(99):
            here = start
            while True:
                i, j = divmod(here, 11)
                around = [
                    (a, b) for a in range(max(i - 1, 0), min(i + 2, 9)) for b in range(max(j - 1, 0), min(j + 2, 11))
                ]
                best = max(around, key=lambda at: float(maps[n][at]))
                if best == (i, j):
                    break
                here = best[0] * 11 + best[1]
            assert found[n, start] == here
    assert len(found[0].unique()) == int((maps[0].numpy() == ndimage.maximum_filter(maps[0].numpy(), 3)).sum())


def test_a_single_field_moves_whole() -> None:
    where = torch.stack(torch.meshgrid(*[torch.arange(40, dtype=torch.float64)] * 2, indexing="xy"), -1)
    field = torch.exp(-(where - 20).square().sum(-1) / 18)[None]
    moved = moved_fields(field, generator=generator(3))
    torch.testing.assert_close(moved.flatten().sort().values, field.flatten().sort().values)
    assert not torch.equal(moved, field)


def test_shifted_activity_loses_its_place() -> None:
    steps = torch.randn(6000, 2, generator=generator(), dtype=torch.float64) * 0.02
    folded = torch.remainder(steps.cumsum(0) + 0.5, 2.0)
    position = torch.where(folded > 1, 2 - folded, folded) - 0.5
    rates = torch.exp(-(position - 0.1).square().sum(-1, keepdim=True) / 0.02)
    extent = ((-0.5, 0.5), (-0.5, 0.5))
    maps = time_shifted_maps(rates, position, extent, dt_s=0.02, shifts=20, generator=generator(), bins=10)
    assert maps.shape == (20, 1, 10, 10)
    assert maps.nan_to_num(0).amax((2, 3)).median() < 0.9
    torch.testing.assert_close(rates.mean(), rates.roll(1234, 0).mean())
    with pytest.raises(ValueError, match="shift by 20 s or more"):
        time_shifted_maps(rates, position, extent, dt_s=0.02, shifts=1, generator=generator(), shortest_s=5.0)
    with pytest.raises(ValueError, match="more than twice"):
        time_shifted_maps(rates[:1500], position[:1500], extent, dt_s=0.02, shifts=1, generator=generator())


def test_constant_and_empty_maps_stay_as_they_are() -> None:
    constant = torch.full((1, 20, 20), 3.0, dtype=torch.float64)
    torch.testing.assert_close(spectrum_noise(constant, generator=generator()), constant)
    torch.testing.assert_close(moved_fields(constant, generator=generator()), constant)
    empty = torch.full((1, 20, 20), math.nan, dtype=torch.float64)
    assert spectrum_noise(empty, generator=generator()).isnan().all()
    assert moved_fields(empty, generator=generator()).isnan().all()
