"""The motion of a pattern: moved and turned by hand, and what cannot be seen."""

import math

import pytest
import torch

from entorhinal.analysis.sheets import rigid_motion, round_window, sixfold_orientation

SIDE = 60


def pattern(shift: tuple[float, float], turn: float, waves: int = 3) -> torch.Tensor:
    """A sum of plane waves of 10 neurons' length, turned about the middle, then moved."""
    y, x = torch.meshgrid(*(torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2,) * 2, indexing="ij")
    x, y = x - shift[0], y - shift[1]
    x, y = math.cos(turn) * x + math.sin(turn) * y, -math.sin(turn) * x + math.cos(turn) * y
    angle = [
        2 * math.pi / 10 * (x * math.cos(a) + y * math.sin(a)) for a in (0.2 + math.pi / 3 * k for k in range(waves))
    ]
    return torch.stack(angle).cos().sum(0)


@pytest.mark.parametrize(("shift", "turn"), [((0.3, -0.2), 0.0), ((0.0, 0.0), 0.01), ((-0.4, 0.1), -0.008)])
def test_a_pattern_moved_by_hand(shift: tuple[float, float], turn: float) -> None:
    sheets = torch.stack([pattern((k * shift[0], k * shift[1]), k * turn) for k in range(6)])
    found = rigid_motion(sheets, round_window(SIDE, SIDE))
    # a turn about the moved middle of the pattern is one about the sheet's middle and a shift
    middle = torch.arange(5, dtype=torch.float64)[:, None] * torch.tensor(shift) + 0.5 * torch.tensor(shift)
    wanted = torch.tensor(shift) + turn * torch.stack((middle[:, 1], -middle[:, 0]), -1)
    torch.testing.assert_close(found[:, :2], wanted.double(), rtol=0.05, atol=0.005)
    torch.testing.assert_close(found[:, 2], torch.full((5,), turn, dtype=torch.float64), rtol=0.06, atol=2e-5)


def test_what_cannot_be_seen() -> None:
    """A uniform sheet shows nothing; stripes do not show how they move along themselves."""
    window = round_window(SIDE, SIDE)
    assert rigid_motion(torch.ones(3, SIDE, SIDE), window).isnan().all()
    stripes = torch.stack([pattern((0.1 * k, 0.0), 0.0, waves=1) for k in range(3)])
    assert rigid_motion(stripes, window).isnan().all()


@pytest.mark.parametrize("degrees", [0.0, 7.0, 20.0, 55.0])
def test_orientation_of_a_pattern_turned_by_hand(degrees: float) -> None:
    """Wherever it is, and modulo 60°."""
    sheets = torch.stack([pattern((2.3 * k, -1.1 * k), math.radians(degrees)) for k in range(3)])
    found = sixfold_orientation(sheets, round_window(SIDE, SIDE)).rad2deg()
    wanted = math.degrees(0.2) + degrees
    assert ((found - wanted + 30) % 60 - 30).abs().max() < 0.5
    assert sixfold_orientation(torch.ones(2, SIDE, SIDE), round_window(SIDE, SIDE)).isnan().all()


def test_single_and_scaled() -> None:
    """In float32, and whatever the unit of activity."""
    sheets = torch.stack([pattern((0.2 * k, 0.0), 0.0) for k in range(3)])
    window = round_window(SIDE, SIDE)
    first, scaled = rigid_motion(sheets, window), rigid_motion(1e-3 * sheets.float(), window)
    torch.testing.assert_close(first, scaled.double(), rtol=0, atol=1e-4)


def test_window_is_round_and_off_the_edges() -> None:
    window = round_window(44, 56)
    assert window.shape == (44, 56)
    assert window[0].max() < 1e-6
    assert window.max() > 0.99
    assert window[22, 18] == pytest.approx(float(window[12, 28]), rel=0.5)
