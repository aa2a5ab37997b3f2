"""Periods along a line: found where they are known, steps told from smooth change, motion followed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entorhinal.analysis.scales import local_displacements, local_periods, plateaus


def chirp(period: torch.Tensor) -> torch.Tensor:
    """A rectified wave of the given local period at every neuron."""
    return torch.relu(torch.cos(2 * math.pi * (1 / period).cumsum(-1)))


@given(st.floats(15, 60), st.floats(0, 1))
def test_period_of_a_wave(period: float, phase: float) -> None:
    place = torch.arange(700, dtype=torch.float64)
    wave = torch.relu(torch.cos(2 * math.pi * (place / period + phase)))
    centres, found = local_periods(torch.stack((wave, 3 * wave)))
    assert found.shape == (2, len(centres))
    assert (found / period - 1).abs().max() < 0.01
    assert centres[0] == 95.5


def test_steps_are_plateaus_and_a_gradient_is_not() -> None:
    scale = 15 * 3 ** torch.linspace(0, 1, 4000, dtype=torch.float64)
    steps = torch.bucketize(scale, torch.tensor([20.0, 29.0], dtype=torch.float64))
    stepped = torch.tensor([24.0, 36.0, 50.0], dtype=torch.float64)[steps]
    for period, wanted in ((stepped, [24.0, 36.0, 50.0]), (1.4 * scale, [])):
        centres, found = local_periods(chirp(period))
        runs = plateaus(found, scale[centres.long()])
        assert [run.period for run in runs] == pytest.approx(wanted, rel=0.01)
        for run in runs:
            inside = found[run.first : run.last + 1]
            assert inside.max() / inside.min() < 1.5


def test_plateaus_of_the_exact_periods() -> None:
    """A slope of 0.4 is a plateau, of 0.6 none."""
    scale = torch.linspace(1, 3, 100, dtype=torch.float64)
    (whole,) = plateaus(scale**0.4, scale)
    assert (whole.first, whole.last) == (0, 99)
    assert plateaus(scale**0.6, scale) == []
    assert plateaus(torch.full((5,), 7.0), torch.linspace(1, 1.04, 5)) == []  # too short to tell


@given(st.floats(-8, 8))
def test_displacement_of_a_moving_wave(step: float) -> None:
    place = torch.arange(600, dtype=torch.float64) - step * torch.arange(5, dtype=torch.float64)[:, None]
    moving = torch.relu(torch.cos(2 * math.pi * place / 30))
    centres, moved = local_displacements(moving, moving[0])
    assert moved.shape == (5, len(centres))
    assert (moved - step * torch.arange(5)[:, None]).abs().max() < 0.15


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="window of 192"):
        local_periods(torch.zeros(100))
    with pytest.raises(ValueError, match="shortest 50 and longest 20"):
        local_periods(torch.zeros(500), shortest=50, longest=20)
    with pytest.raises(ValueError, match="same shape"):
        plateaus(torch.ones(3), torch.ones(4))
    with pytest.raises(ValueError, match="must rise"):
        plateaus(torch.ones(3), torch.ones(3))
