"""The twisted torus: its distance, its convolution, the bump and its spacing."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entorhinal.families.continuous_attractor.guanella import HEIGHT, Guanella, twisted_distance
from entorhinal.families.errors import InputError
from entorhinal.families.model import Connected, Decoder, PathIntegrator
from entorhinal.families.world import Arena, World

OPEN_WORLD = World(Arena.square(1.0, walls=False))


@pytest.fixture(scope="module")
def model() -> Guanella:
    return Guanella.make()


@given(st.floats(-1, 1), st.floats(-HEIGHT, HEIGHT))
def test_distance_is_the_nearest_of_all_images(x: float, y: float) -> None:
    """Seven copies are enough: the same as the nearest point of a large piece of the triangular lattice."""
    images = [(a + b / 2, b * HEIGHT) for a in range(-5, 6) for b in range(-5, 6)]
    wanted = min(math.hypot(x - u, y - v) for u, v in images)
    assert float(twisted_distance(torch.tensor([x, y], dtype=torch.float64))) == pytest.approx(wanted, abs=1e-12)


def naive_weights(model: Guanella, shift: np.ndarray) -> np.ndarray:
    """(3), pair by pair."""
    c = model.config
    images = [(a + b / 2, b * HEIGHT) for a in range(-4, 5) for b in range(-4, 5)]
    places = [((i + 0.5) / c.columns, HEIGHT * (k + 0.5) / c.rows) for k in range(c.rows) for i in range(c.columns)]
    weights = np.zeros((len(places), len(places)))
    for target, (x, y) in enumerate(places):
        for source, (u, v) in enumerate(places):
            d2 = min((x - u - shift[0] - a) ** 2 + (y - v - shift[1] - b) ** 2 for a, b in images)
            weights[target, source] = c.peak * math.exp(-d2 / c.width_sides**2) - c.inhibition
    return weights


def test_a_step_is_the_naive_sum(model: Guanella) -> None:
    c = model.config
    sheet = np.random.default_rng(0).random((c.rows, c.columns))
    displacement_m = np.array([0.05, -0.08])
    received = naive_weights(model, c.gain_per_m * displacement_m) @ sheet.ravel()
    wanted = np.maximum((1 - c.normalisation) * received + c.normalisation * received / sheet.sum(), 0)
    velocity = torch.from_numpy(displacement_m / (1e-3 * c.step_ms))[None]
    found = model.advance(torch.from_numpy(sheet)[None], velocity, c.step_ms)
    np.testing.assert_allclose(found[0].numpy().ravel(), wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.connectivity().numpy(), naive_weights(model, np.zeros(2)), rtol=0, atol=1e-12)


def test_powers(model: Guanella) -> None:
    for power in (PathIntegrator, Decoder, Connected):
        assert isinstance(model, power)
    assert not model.state_dict()


@pytest.mark.parametrize("gain", [1.0, 3.0, 7.0])
def test_the_bump_moves_by_the_gain(gain: float) -> None:
    """In sides for a metre, in all directions, from a tenth of the linear range up."""
    model = Guanella.make(gain_per_m=gain)
    heading = torch.arange(6) * 1.05
    unit = torch.stack((heading.cos(), heading.sin()), -1)
    for share in (0.1, 0.9):
        drift = model.drift_s(share * model.fastest_m_s * unit)
        torch.testing.assert_close(drift, gain * share * model.fastest_m_s * unit, rtol=0, atol=0.02 * gain)
    assert model.moved_per_m == pytest.approx(gain, rel=0.01)


def test_the_bump_returns_after_a_period(model: Guanella) -> None:
    """A walk of 1/α along x, or along 60°, ends where it began; half of that does not."""
    period_m = 1 / model.config.gain_per_m
    rest = model.initial_state(torch.zeros(1, 2))[0]
    for degrees in (0, 60, 120):
        along = torch.tensor([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]])
        there, halfway = (model.initial_state(share * period_m * along)[0] for share in (1.0, 0.5))
        assert (there - rest).abs().max() < 0.05 * rest.max()
        assert (halfway - rest).abs().max() > 0.5 * rest.max()


def test_at_rest_the_bump_sticks_to_a_neuron(model: Guanella) -> None:
    """What the card says: a bump between neurons slides by less than half the diagonal between them, then stays."""
    sheets = [model.initial_state(torch.tensor([[0.013, 0.02]]))]
    for _ in range(2):
        sheets.append(model.advance(sheets[-1], torch.zeros(1, 2), 10_000.0))
    moved = model.displacement(torch.stack(sheets, 1))[0]
    assert 1e-3 < moved[1].norm() < 0.5 * model.pitch.norm()
    assert (moved[2] - moved[1]).norm() < 1e-4


def test_bias_turns_the_movement() -> None:
    model = Guanella.make(bias_rad=0.3)
    drift = model.drift_s(torch.tensor([[1.0, 0.0]]))[0]
    assert math.atan2(float(drift[1]), float(drift[0])) == pytest.approx(0.3, abs=0.02)


def test_path_is_decoded_and_does_not_depend_on_the_step(model: Guanella) -> None:
    paths = OPEN_WORLD.walk(3, 300, seed=3, speed_m_s=0.5)
    for dt_s in (0.02, 0.05):
        walked = replace(paths, dt_s=dt_s)
        decoded = model.decode(model.represent(walked))
        error = (decoded - decoded[:, :1]) - (paths.position_m - paths.position_m[:, :1])
        assert error.norm(dim=-1).max() < 0.06 / model.config.gain_per_m


def test_starts_share_one_map(model: Guanella) -> None:
    paths = OPEN_WORLD.walk(2, 20, seed=3, speed_m_s=0.5, start_m=torch.tensor([[0.3, -0.2], [-0.4, 0.1]]))
    direct = model.represent(paths).rates[:, -1]
    again = model.initial_state(paths.position_m[:, -1]).flatten(1)
    assert (direct - again).abs().max() < 0.1 * again.max()


def test_double_precision_and_gains_that_kill_or_blow_up() -> None:
    model = Guanella.make()
    sheet = model.settled[None]
    fine = model.advance(sheet.double(), torch.tensor([[0.5, 0.2]], dtype=torch.float64), 20.0)
    assert fine.dtype == torch.float64
    torch.testing.assert_close(fine.float(), model.advance(sheet, torch.tensor([[0.5, 0.2]]), 20.0), atol=1e-5, rtol=0)
    for values in ({"peak": 3.0}, {"peak": 0.06, "normalisation": 0.0}):
        with pytest.raises(InputError, match=r"guanella-v1: (activity blows up|the sheet settles).*lower peak"):
            Guanella.make(**values).initial_state(torch.zeros(1, 2))


def test_too_fast_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = Guanella.make()
    paths = OPEN_WORLD.sweeps([0.0], [9.0], 1)
    with caplog.at_level(logging.WARNING, logger="entorhinal"):
        model.represent(paths)
        model.represent(paths)
    assert [record.getMessage() for record in caplog.records if "linear range" in record.getMessage()] == [
        "continuous_attractor/guanella-v1: a speed of 9.00 m/s is outside its linear range, 0 to 6.67 m/s; the path "
        "will be wrong; lower the gain of velocity"
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"columns": 9}, "columns"),
        ({"columns": 4}, "columns 4 and rows 9 are too few for a bump of width_sides 0.24; give at least 8 and 7"),
        ({"rows": 4}, "too few"),
        ({"inhibition": 0.4}, "leaves no excitation"),
        ({"normalisation": 1.2}, "normalisation"),
        ({"gain": 3}, "did you mean"),
    ],
)
def test_bad_config(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Guanella.make(**values)
    assert "\n" not in str(caught.value)
