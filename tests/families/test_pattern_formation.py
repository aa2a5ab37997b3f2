"""Pattern formation against its spectrum in closed form, power iteration, and bad input."""

import logging
import math

import pytest
import torch

from entorhinal.families import make
from entorhinal.families.errors import InputError
from entorhinal.families.function_optimization import pattern_formation
from entorhinal.families.function_optimization.pattern_formation import (
    PatternFormationConfig,
    formed,
    peak_wavenumber,
    spectrum,
)
from entorhinal.families.world import Arena, World

ID = "function_optimization/pattern_formation"
SMALL = {"bins": 24, "side_m": 2.0, "units": 3, "iterations": 50}


def noise(bins: int, units: int = 2) -> torch.Tensor:
    return torch.randn(units, bins, bins, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("target", ["dog", "gaussian"])
def test_spectrum_is_that_of_the_covariance_of_place_cells_on_a_torus(target: str) -> None:
    config = PatternFormationConfig(target=target, bins=20, side_m=1.0, place_width_m=0.08)
    axis = torch.arange(20, dtype=torch.float64) / 20
    image = torch.arange(-4, 5, dtype=torch.float64)

    def gaussian(variance: float) -> torch.Tensor:
        along = torch.exp(-(axis[:, None] + image).square() / (2 * variance)).sum(1) / math.sqrt(variance)
        return along[:, None] * along

    field = gaussian(0.08**2) - (gaussian(2 * 0.08**2) if target == "dog" else 0)
    power = torch.fft.rfft2(field).abs().square()
    torch.testing.assert_close(spectrum(config), power / power.max(), atol=1e-9, rtol=0)


def test_power_is_largest_at_the_predicted_wavenumber() -> None:
    for ratio in (1.5, 2.0, 4.0):
        config = PatternFormationConfig(bins=400, side_m=40.0, place_width_m=0.3, surround_variance_ratio=ratio)
        best = int(spectrum(config)[0].argmax())
        assert 2 * math.pi * best / 40 == pytest.approx(peak_wavenumber(config), abs=2 * math.pi / 40)
    assert peak_wavenumber(PatternFormationConfig(target="gaussian")) == 0
    assert PatternFormationConfig().spacing_m == pytest.approx(0.739, abs=0.001)


def test_without_a_constraint_it_is_power_iteration() -> None:
    config = PatternFormationConfig(constraint="none", iterations=30, bins=16, side_m=1.5)
    start = noise(16)
    gain = spectrum(config)
    exact = torch.fft.irfft2(torch.fft.rfft2(start) * (1 + gain) ** 30, s=(16, 16))
    exact = exact / exact.square().mean((1, 2), keepdim=True).sqrt()
    torch.testing.assert_close(formed(config, start), exact)


@pytest.mark.parametrize("constraint", ["none", "cubic", "nonnegative"])
def test_norm_is_kept_and_rates_are_negative_only_where_they_may_be(constraint: str) -> None:
    maps = formed(PatternFormationConfig(constraint=constraint, **SMALL), noise(24))
    torch.testing.assert_close(maps.square().mean((1, 2)), torch.ones(2, dtype=torch.float64))
    assert (maps >= 0).all() == (constraint == "nonnegative")


def test_non_negative_steps_climb_the_variance_they_explain() -> None:
    config = PatternFormationConfig(iterations=1, **{k: v for k, v in SMALL.items() if k != "iterations"})
    gain = spectrum(config)
    maps, explained = noise(24).clamp_min(0), []
    for _ in range(40):
        maps = formed(config, maps)
        explained.append((torch.fft.irfft2(torch.fft.rfft2(maps) * gain, s=(24, 24)) * maps).mean((1, 2)))
    assert (torch.stack(explained).diff(dim=0) >= -1e-9).all()


def test_a_small_quadratic_term_prefers_three_waves_to_one() -> None:
    at = torch.arange(24, dtype=torch.float64) * 2 * math.pi / 24
    y, x = torch.meshgrid(at, at, indexing="ij")
    one = math.sqrt(2) * torch.cos(3 * x)
    three = (torch.cos(3 * x) + torch.cos(3 * y) + torch.cos(3 * (x + y))) * math.sqrt(2 / 3)
    for wave in (one, three):
        assert float(wave.square().mean()) == pytest.approx(1)
    assert float((one**3).mean()) == pytest.approx(0, abs=1e-12)
    assert float((three**3).mean()) == pytest.approx(1.5 * (2 / 3) ** 1.5)


def test_positions_wrap_and_a_second_fit_changes_nothing() -> None:
    model = make(ID, **SMALL)
    model.fit(World(Arena.square(2.0)))
    before = model.maps.clone()
    model.fit(World(Arena.square(1.0)))
    assert torch.equal(model.maps, before)
    walk = World(Arena.square(2.0), dtype=torch.float64).walk(5, 4, seed=0)
    moved = walk.from_positions(torch.cat((walk.start_m[:, None], walk.position_m), 1) + 2.0, 0.02, Arena.square(6.0))
    torch.testing.assert_close(model.represent(walk).rates, model.represent(moved).rates)
    torch.testing.assert_close(before.double(), pattern_formation.solve(model.config), atol=1e-5, rtol=1e-5)


def test_a_box_smaller_than_two_periods_is_warned_of(caplog) -> None:
    with caplog.at_level(logging.WARNING, "entorhinal"):
        make(ID)
        make(ID, target="gaussian", side_m=1.0)
        assert not caplog.records
        make(ID, side_m=1.4)
    assert "side_m=1.4 is less than two periods of 0.74 m" in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"place_width_m": 0.05}, "place_width_m = 0.05: .*not above a bin, 0.055 m"),
        ({"surround_variance_ratio": 1.0}, "surround_variance_ratio = 1.0"),
        ({"target": "cartesian"}, "target = 'cartesian'"),
    ],
)
def test_bad_config_is_named(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(ID, **values)


def test_a_line_is_refused() -> None:
    with pytest.raises(InputError, match="pattern_formation-v1: the arena has 1 dimension"):
        make(ID, **SMALL).represent(World(Arena.line(1.0)).walk(1, 2, seed=0))
