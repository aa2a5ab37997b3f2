"""Noise and loss of stated sizes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entorhinal.analysis.robustness import kept_units, modulation, tolerance, with_noise


def test_noise_has_its_size_and_no_bias() -> None:
    rates = torch.ones(20_000, 3)
    sizes = torch.tensor([0.0, 0.5, 2.0])
    noisy = with_noise(rates, sizes, generator=torch.Generator().manual_seed(0))
    assert torch.equal(noisy[:, 0], rates[:, 0].double())
    torch.testing.assert_close(noisy.std(0), sizes.double(), rtol=0.02, atol=0)
    torch.testing.assert_close(noisy.mean(0), torch.ones(3, dtype=torch.float64), rtol=0, atol=0.05)
    assert torch.corrcoef(noisy[:, 1:].T)[0, 1].abs() < 0.03
    again = with_noise(rates, sizes, generator=torch.Generator().manual_seed(0))
    assert torch.equal(noisy, again)
    with pytest.raises(ValueError, match="noise_sd is -1"):
        with_noise(rates, -1.0, generator=torch.Generator())


def test_modulation_is_of_each_unit() -> None:
    wave = torch.linspace(0, 2 * math.pi, 1001, dtype=torch.float64)[:-1]
    rates = torch.stack((wave.sin(), 3 * wave.cos() + 7, torch.ones_like(wave)), -1)
    rates[4, 2] = math.nan
    torch.testing.assert_close(
        modulation(rates.unflatten(0, (10, 100))), torch.tensor([0.5**0.5, 4.5**0.5, 0]).double()
    )


@given(st.integers(1, 50), st.floats(0, 1), st.integers(0, 9))
def test_dropout_keeps_an_exact_number(units, dropout, seed) -> None:
    kept = kept_units(units, dropout, generator=torch.Generator().manual_seed(seed))
    assert kept.shape == (units,)
    assert int(kept.sum()) == units - round(dropout * units)


def test_dropout_is_drawn_evenly() -> None:
    generator = torch.Generator().manual_seed(0)
    times = sum(kept_units(10, 0.3, generator=generator).double() for _ in range(2000)) / 2000
    torch.testing.assert_close(times, torch.full((10,), 0.7, dtype=torch.float64), rtol=0, atol=0.05)
    with pytest.raises(ValueError, match=r"dropout is 1\.5"):
        kept_units(10, 1.5, generator=generator)


def test_tolerance_interpolates() -> None:
    assert tolerance((0, 1, 2), (1, 1.5, 3.5), 2) == pytest.approx(1.25)
    assert tolerance((0, 1, 2), (1, 2, 3), 2) == 1
    assert tolerance((0, 1), (5, 6), 2) == 0, "there already"
    assert math.isinf(tolerance((0, 1), (1, 1), 2))
    assert tolerance((0, 1, 2), (1, math.nan, 3), 2) == 1
    assert tolerance((0, 1), (1, math.inf), 2) == 1
    assert math.isnan(tolerance((0, 1), (math.nan, math.nan), 2))
    assert math.isnan(tolerance((0, 1), (1, 2), math.nan))
    with pytest.raises(ValueError, match="levels is"):
        tolerance((1, 0), (1, 2), 3)
