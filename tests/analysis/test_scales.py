"""Periods along a line: found where they are known, steps told from smooth change, motion followed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entorhinal.analysis.scales import local_displacements, local_periods, plateaus, sheet_periods


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


def lattice(period: float, turn_deg: float, *, columns: int = 120, waves: int = 3) -> torch.Tensor:
    """Waves of one period, 180° / ``waves`` apart, on a sheet of 200 rows; ``columns`` should hold whole waves."""
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(float(columns)), indexing="ij")
    angle = (turn_deg + 180 / waves * torch.arange(waves)).deg2rad()
    along = x[..., None] * angle.cos() + y[..., None] * angle.sin()
    return torch.cos(2 * math.pi * along / period).sum(-1)


@pytest.mark.parametrize(("period", "turn_deg", "columns"), [(12, 0, 120), (15, 0, 120), (20, 0, 120), (15, 30, 121)])
def test_period_of_a_lattice_on_a_sheet(period: float, turn_deg: float, columns: int) -> None:
    centres, found, hexagonal = sheet_periods(lattice(period, turn_deg, columns=columns))
    assert centres.tolist() == [47.5 + 8 * k for k in range(14)]
    assert (found / period - 1).abs().max() < 0.02
    assert hexagonal.min() > 0.85


def test_stripes_squares_and_noise_are_not_hexagonal() -> None:
    noise = torch.rand(200, 120, generator=torch.Generator().manual_seed(0))
    for sheet in (lattice(15, 0, waves=1), lattice(15, 0, waves=2), noise):
        assert sheet_periods(sheet)[2].max() < 0.4


def test_two_scales_of_a_sheet_are_found_where_they_are() -> None:
    sheet = torch.cat((lattice(12, 0), lattice(20, 0)))
    centres, found, _ = sheet_periods(sheet)
    assert (found[centres < 140] / 12 - 1).abs().max() < 0.05
    assert (found[centres > 260] / 20 - 1).abs().max() < 0.05


def test_bad_sheets_are_refused() -> None:
    with pytest.raises(ValueError, match="window of 96"):
        sheet_periods(torch.rand(50, 60))
    with pytest.raises(ValueError, match="must rise"):
        sheet_periods(torch.rand(200, 60), shortest=70.0)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="window of 192"):
        local_periods(torch.zeros(100))
    with pytest.raises(ValueError, match="shortest 50 and longest 20"):
        local_periods(torch.zeros(500), shortest=50, longest=20)
    with pytest.raises(ValueError, match="same shape"):
        plateaus(torch.ones(3), torch.ones(4))
    with pytest.raises(ValueError, match="must rise"):
        plateaus(torch.ones(3), torch.ones(3))
