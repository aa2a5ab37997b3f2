"""The error-correcting code: spare modules help, noise is as stated, and what is refused."""

import math

import pytest
import torch

from entorhinal.families.coding_theory.error_correcting import (
    ErrorCorrecting,
    decode_noisy_phases,
    local_error,
    noisy_phases,
)
from entorhinal.families.errors import InputError
from entorhinal.families.model import Decoder, PathIntegrator
from entorhinal.families.world import Arena, World

PRIMES = (31, 61, 43, 53, 37, 47, 41, 59)


def decoded(modules: int, span: float, noise: float, samples: int = 2000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    position = span * torch.rand(samples, generator=generator, dtype=torch.float64)
    phase = noisy_phases(position, PRIMES[:modules], noise, generator)
    return decode_noisy_phases(phase, PRIMES[:modules], span) - position


def test_spare_modules_remove_gross_errors() -> None:
    gross = [float((decoded(modules, 1000, 0.06).abs() > 30).double().mean()) for modules in (2, 4, 8)]
    assert gross[0] > 0.4
    assert 0.02 < gross[1] < 0.5 * gross[0]
    assert gross[2] < 0.005


def test_errors_within_a_field_have_the_closed_form() -> None:
    error = decoded(8, 1000, 0.01)
    assert error.square().mean().sqrt() == pytest.approx(local_error(PRIMES, 0.01), rel=0.05)
    assert local_error((10,), 0.01) == pytest.approx(0.1)


def test_beyond_the_threshold_the_error_is_as_large_as_the_range() -> None:
    longest = math.prod(PRIMES[:3])
    assert decoded(3, longest, 0.05, 300).square().mean().sqrt() > 0.2 * longest
    assert decoded(3, longest / 1000, 0.005, 300).abs().max() < 5


def test_a_generator_moves_the_phases_by_the_noise_and_leaves_the_state() -> None:
    model = ErrorCorrecting.make(noise_cycles=0.03)
    walk = World(Arena.square(1.0), dtype=torch.float64).walk(4, 200, seed=1)
    clean, noisy = model.represent(walk), model.represent(walk, generator=torch.Generator().manual_seed(0))
    error = model.phases(noisy.rates) - model.phases(clean.rates)
    assert (error - error.round()).std() == pytest.approx(0.03, rel=0.05)
    assert torch.equal(clean.state, noisy.state)
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Decoder)


def test_decodes_in_the_plane_within_its_range_and_by_the_theorem_no_longer_under_noise() -> None:
    model = ErrorCorrecting.make()
    walk = World(Arena.square(4.0), dtype=torch.float64).walk(4, 50, seed=1)
    assert (model.decode(model.represent(walk)) - walk.position_m).abs().max() < 2e-3
    noisy = model.represent(walk, generator=torch.Generator().manual_seed(0))
    error = (model.decode(noisy) - walk.position_m).norm(dim=-1)
    assert (error < 0.05).double().mean() > 0.95
    by_theorem = super(ErrorCorrecting, model).decode(noisy)
    assert ((by_theorem - walk.position_m).norm(dim=-1) < 0.05).double().mean() < 0.05


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise_cycles": 0.0}, "noise_cycles"),
        ({"noise_cycles": -0.1}, "noise_cycles"),
        ({"range_m": 0.0}, "range_m"),
        ({"periods": (31, 44), "range_m": 14.0}, "exceeds 13.64 m, where the code repeats"),
        ({"periods": (30, 45)}, "share the factor 15"),
        ({"phases_per_axis": 5}, "phases_per_axis of 6"),
    ],
)
def test_bad_config_is_one_clear_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ErrorCorrecting.make(**values)
    assert "\n" not in str(caught.value)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="noise_cycles is 0"):
        noisy_phases(torch.zeros(1), (4, 5), 0.0, torch.Generator())
    with pytest.raises(InputError, match="exceeds 12, where the code repeats"):
        decode_noisy_phases(torch.zeros(1, 2), (4, 6), 13)
