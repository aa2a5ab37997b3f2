"""Allocation for a moving animal: closed forms, the search against a grid, the filter equation, and bad input."""

import math

import numpy as np
import pytest
import torch

from entorhinal.families.coding_theory.dynamic import (
    Dynamic,
    allocation,
    expected_error,
    least_error_allocation,
    steady_variance,
)
from entorhinal.families.errors import InputError
from entorhinal.families.model import Decoder, PathIntegrator
from entorhinal.families.world import Arena, World

PERIODS = (1.5, 1.0, 2 / 3, 4 / 9)


def test_allocation_in_closed_form() -> None:
    size = allocation(PERIODS, 100, ratio=1.5)
    assert size.sum() == pytest.approx(100)
    np.testing.assert_allclose(size[2:] / size[1:-1], 1.5**2)
    assert size[0] / size[1] == pytest.approx(1.5**-2 / (1 - 1.5**-4))
    rest = allocation(PERIODS, 100, ratio=1.5, moving=False)
    np.testing.assert_allclose(rest[2:] / rest[1:-1], 1.0)


@pytest.mark.parametrize("moving", [True, False])
def test_allocation_makes_the_relative_error_equal(moving: bool) -> None:
    size = allocation(PERIODS, 100, ratio=1.5, moving=moving)
    total = np.cumsum(size / np.square(PERIODS))
    spread = np.sqrt(steady_variance(total, 0.1)) if moving else total**-0.5
    relative = spread / (*PERIODS[1:], PERIODS[-1] / 1.5)
    np.testing.assert_allclose(relative, relative[0])


def test_least_error_allocation_is_the_best_of_a_grid() -> None:
    periods, information, diffusion = (1.0, 0.5), 20.0, 0.05
    size = least_error_allocation(periods, 100, information, diffusion)
    grid = [
        expected_error(np.array([part, 100 - part]), periods, information, diffusion)
        for part in np.arange(0.5, 100, 0.5)
    ]
    found = expected_error(size, periods, information, diffusion)
    assert found <= min(grid)
    assert found == pytest.approx(min(grid), rel=1e-3)
    assert size.sum() == pytest.approx(100)


def test_steady_variance_is_the_end_of_the_filter_equation() -> None:
    """dP/dt = 2 D − G P², in small steps from a large P."""
    information, diffusion, variance = 300.0, 0.02, 1.0
    for _ in range(20_000):
        variance += 1e-4 * (2 * diffusion - information * variance**2)
    assert steady_variance(np.array(information), diffusion) == pytest.approx(variance, rel=1e-4)


def test_modules_shrink_with_spacing_in_the_population() -> None:
    model = Dynamic.make()
    assert model.phases_per_axis == (7, 8, 11, 16)
    assert model.period_m == pytest.approx((0.859, 0.605, 0.426, 0.3), abs=1e-3)
    walk = World(Arena.square(0.5), dtype=torch.float64).walk(3, 60, seed=1)
    out = model.represent(walk)
    assert out.rates.shape == (3, 60, 49 + 64 + 121 + 256)
    assert model.phases(out.rates).shape == (3, 60, 2, 4)
    assert (model.decode(out) - walk.position_m).abs().max() < 2e-3
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Decoder)


def test_a_generator_draws_spikes_at_the_rate() -> None:
    walk = World(Arena.square(0.5)).walk(20, 200, seed=1)
    model = Dynamic.make(peak_rate_hz=25.0)
    clean, spikes = model.represent(walk), model.represent(walk, generator=torch.Generator().manual_seed(0))
    peak_count = 25.0 * walk.dt_s
    counts = spikes.rates * peak_count
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    assert spikes.rates.mean() == pytest.approx(float(clean.rates.mean()), rel=0.01)
    assert (spikes.rates - clean.rates).square().sum() / clean.rates.sum() == pytest.approx(1 / peak_count, rel=0.03)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"units": 100}, "the smallest module gets 3² of 100 units"),
        ({"units": 0}, "units"),
        ({"ratio": 1.0}, "ratio"),
        ({"fano_factor": 0.0}, "fano_factor"),
        ({"peak_rate_hz": -5.0}, "peak_rate_hz"),
        ({"sharpness": 30.0}, "need 13² or more"),
    ],
)
def test_bad_config_is_one_clear_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Dynamic.make(**values)
    assert "\n" not in str(caught.value)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="the largest first"):
        allocation((0.3, 0.6), 10, ratio=2.0)
    with pytest.raises(InputError, match="diffusion is 0"):
        steady_variance(np.ones(1), 0.0)
    assert math.isfinite(expected_error(np.ones(2), (2.0, 1.0), 1.0, 0.1, rest_s=1.0))
