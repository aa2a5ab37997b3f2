"""The inhibitory sheet: its convolution, its lattice, its drift."""

import logging

import numpy as np
import pytest
import torch

from entorhinal.families.continuous_attractor.couey import Couey
from entorhinal.families.continuous_attractor.lattice import lattice_displacement, lattice_waves
from entorhinal.families.errors import InputError
from entorhinal.families.model import Connected, Decoder, PathIntegrator
from entorhinal.families.world import Arena, World

OPEN_WORLD = World(Arena.square(1.0, walls=False))


@pytest.fixture(scope="module")
def model() -> Couey:
    return Couey.make()


def dense_weights(model: Couey) -> np.ndarray:
    """(2), pair by pair, (N, N), targets first."""
    c = model.config
    direction = model.direction.numpy()
    row, column = np.divmod(np.arange(c.rows * c.columns), c.columns)
    dx = column[:, None] - column - c.shift_neurons * direction[0]
    dy = row[:, None] - row - c.shift_neurons * direction[1]
    dx, dy = (dx + c.columns / 2) % c.columns - c.columns / 2, (dy + c.rows / 2) % c.rows - c.rows / 2
    return -c.inhibition * (np.hypot(dx, dy) < c.radius_neurons)


@pytest.mark.parametrize("shift", [1, 2])
def test_a_step_is_the_dense_product(shift: int) -> None:
    model = Couey.make(rows=18, columns=22, radius_neurons=6.0, shift_neurons=shift)
    c, weights = model.config, dense_weights(model)
    assert set(np.unique(weights)) == {-c.inhibition, 0.0}, "every connection inhibits, all with one strength"
    sheet = np.random.default_rng(0).random((18, 22))
    velocity = np.array([0.3, -0.7])
    drive = 1 + c.velocity_gain_s_m * velocity @ model.direction.numpy()
    wanted = sheet.ravel() + 0.1 * (np.maximum(weights @ sheet.ravel() + drive, 0) - sheet.ravel())
    found = model.advance(torch.from_numpy(sheet)[None], torch.from_numpy(velocity)[None], c.step_ms)
    np.testing.assert_allclose(found[0].numpy().ravel(), wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.connectivity()[0].numpy(), weights[9 * 22 + 11], rtol=0, atol=1e-12)


def test_powers(model: Couey) -> None:
    for power in (PathIntegrator, Decoder, Connected):
        assert isinstance(model, power)
    assert not model.state_dict()


@pytest.mark.parametrize("seed", [0, 1])
def test_pure_inhibition_makes_a_triangular_lattice(seed: int) -> None:
    model = Couey.make(seed=seed)
    waves, order = lattice_waves(model.settled)
    assert order > 0.98
    assert abs(round(float(torch.linalg.det(waves[:2])))) == 6
    assert (model.connectivity() <= 1e-9).all()


def test_weak_inhibition_makes_none() -> None:
    weak = Couey.make(inhibition=0.005)
    with pytest.raises(InputError, match="settles to uniform activity; raise inhibition"):
        weak.initial_state(torch.zeros(1, 2))
    mean = 1 / (1 + 0.005 * float((weak.connectivity() < -1e-9).sum()))  # the uniform state, in closed form
    torch.testing.assert_close(weak.settle(), torch.full((44, 56), mean), rtol=1e-3, atol=0)


def test_a_lattice_moved_by_hand_is_read(model: Couey) -> None:
    """On a sheet that is no square."""
    moved = torch.stack([model.settled.roll((k, -2 * k), (0, 1)) for k in range(5)])[None]
    found = lattice_displacement(moved, model.settled)[0]
    steps = torch.arange(5.0)
    torch.testing.assert_close(found, torch.stack((-2 * steps, steps), -1), atol=1e-3, rtol=0)


def test_drift_follows_velocity(model: Couey) -> None:
    heading = torch.tensor([0.0, 1.0, 2.5, 4.0])
    unit = torch.stack((heading.cos(), heading.sin()), -1)
    speed = model.fastest_m_s * torch.tensor([0.25, 1.0])
    drift = model.drift_s((speed[:, None, None] * unit).flatten(0, 1)).unflatten(0, (2, 4))
    gain = (drift * unit).sum(-1) / speed[:, None]
    assert (gain / gain.mean() - 1).abs().max() < 0.15
    assert model.moved_per_m == pytest.approx(69.3, rel=0.03)
    slipping = model.drift_s(2 * model.fastest_m_s * unit[:1])
    assert slipping.norm() < 0.8 * 2 * model.fastest_m_s * model.moved_per_m, "beyond the range it does not follow"


def test_path_is_decoded(model: Couey) -> None:
    paths = OPEN_WORLD.walk(2, 200, seed=3, speed_m_s=0.25)
    decoded = model.decode(model.represent(paths))
    error = (decoded - decoded[:, :1]) - (paths.position_m - paths.position_m[:, :1])
    assert error.norm(dim=-1).max() < 0.04
    assert error.norm(dim=-1).max() < 0.2 * (paths.position_m - paths.position_m[:, :1]).norm(dim=-1).max()


def test_too_fast_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = Couey.make()
    paths = OPEN_WORLD.sweeps([0.0], [1.5], 1)
    with caplog.at_level(logging.WARNING, logger="entorhinal"):
        model.represent(paths)
        model.represent(paths)
    assert sum("1.50 m/s is outside its linear range, 0 to 1.00 m/s" in r.getMessage() for r in caplog.records) == 1


def test_blow_up_is_named() -> None:
    paths = OPEN_WORLD.sweeps([0.0], [0.1], 1)
    with pytest.raises(InputError, match="couey-v1: activity blows up"):
        Couey.make().represent(paths, torch.full((1, 44, 56), -1e6))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"columns": 57}, "columns"),
        ({"rows": 20}, "rows 20 holds no lattice of radius_neurons 15: .*give at least 32"),
        ({"step_ms": 5.0}, "too coarse"),
        ({"inhibition": 0}, "inhibition"),
        ({"radius": 2}, "did you mean"),
    ],
)
def test_bad_config(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Couey.make(**values)
    assert "\n" not in str(caught.value)
