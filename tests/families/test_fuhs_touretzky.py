"""The round sheet: its convolutions, its pattern, and that it is a bad integrator."""

import logging

import numpy as np
import pytest
import torch

from entorhinal.families.continuous_attractor.fuhs_touretzky import FuhsTouretzky
from entorhinal.families.continuous_attractor.sheet import preferred_directions
from entorhinal.families.errors import InputError
from entorhinal.families.model import Connected, Decoder, PathIntegrator
from entorhinal.families.world import Arena, World

OPEN_WORLD = World(Arena.square(1.0, walls=False))


@pytest.fixture(scope="module")
def model() -> FuhsTouretzky:
    return FuhsTouretzky.make()


def dense_weights(model: FuhsTouretzky) -> np.ndarray:
    """(2) and (3), pair by pair, (N, N), targets first."""
    c, n = model.config, model.config.neurons_per_side
    place = np.arange(n) - (n - 1) / 2
    y, x = (axis.ravel() for axis in np.meshgrid(place, place, indexing="ij"))
    e = preferred_directions(n, n).flatten(1).numpy()
    dx, dy = x[:, None] - x, y[:, None] - y
    ring = c.frequency * np.hypot(dx, dy)
    behind = c.frequency * np.hypot(dx + c.shift_neurons * e[0], dy + c.shift_neurons * e[1])
    symmetric = c.symmetric * np.exp(-ring / 4) * np.cos(2 * np.pi * ring / 7) / 2
    fading = np.exp(-((np.hypot(x, y) / c.fadeout_neurons) ** 4))
    return fading * (symmetric - c.asymmetric * np.exp(-((behind / 1.5) ** 2)) / 2)


@pytest.mark.parametrize("side", [32, 34, 36])
def test_a_step_is_the_dense_product(side: int) -> None:
    """Sides whose half is even and odd, and whose offsets just fit or do not fit a power of two."""
    model = FuhsTouretzky.make(neurons_per_side=side, shift_neurons=1.3, fadeout_neurons=9.0)
    weights = dense_weights(model)
    place = np.arange(side) - (side - 1) / 2
    inside = (np.hypot(place[:, None], place) < side / 2).ravel()
    voltage = 2 * np.random.default_rng(0).random((side, side)) - 0.5
    velocity = np.array([0.3, -0.2])
    e = preferred_directions(side, side).flatten(1).numpy()
    angle = np.arctan2(velocity[1], velocity[0]) - np.arctan2(e[1], e[0])
    drive = 0.5 + 2 * np.hypot(*velocity) * (np.exp(-(np.sin(angle / 2) ** 2) / 0.245**2) - 0.25)
    rate = inside * np.sqrt(np.maximum(voltage.ravel(), 0))
    wanted = voltage.ravel() + 0.1 * (weights @ rate + drive - voltage.ravel())
    found = model.advance(torch.from_numpy(voltage)[None], torch.from_numpy(velocity)[None], 1.0)
    np.testing.assert_allclose(found[0].numpy().ravel(), wanted, rtol=0, atol=1e-8)
    middle = (side // 4 * 2) * side + side // 4 * 2
    np.testing.assert_allclose(model.connectivity()[0].numpy(), inside * weights[middle], rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.rates_of(torch.from_numpy(voltage)).numpy().ravel(), rate, rtol=0, atol=1e-12)


def test_powers(model: FuhsTouretzky) -> None:
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Connected)
    assert not isinstance(model, Decoder)
    assert not model.state_dict()


def test_more_neurons_only_listen(model: FuhsTouretzky) -> None:
    """The reason for 62² rather than 162² neurons: those that are added change nothing in the middle."""
    larger = FuhsTouretzky.make(neurons_per_side=82)
    sheet = torch.zeros(1, 82, 82)
    sheet[0, 10:72, 10:72] = model.settled
    velocity = torch.tensor([[0.5, 0.3]])
    small, large = model.advance(model.settled[None], velocity, 40.0), larger.advance(sheet, velocity, 40.0)
    torch.testing.assert_close(large[0, 21:61, 21:61], small[0, 11:51, 11:51], rtol=0, atol=1e-4)


def test_at_rest_the_pattern_stays(model: FuhsTouretzky) -> None:
    rest = model.advance(model.settled[None], torch.zeros(1, 2), 200.0)[0]
    assert (rest - model.settled).abs().max() < 0.02 * model.settled.abs().max()


def test_another_start_does_not_move_the_pattern_alike(model: FuhsTouretzky) -> None:
    """What one walk does to the pattern depends on the noise it grew from: no map of space."""
    paths = OPEN_WORLD.sweeps([0.0, 1.0], [0.4], 60)
    change = []
    for seed in (0, 1):
        sheet = FuhsTouretzky.make(seed=seed)
        start = sheet.settled.expand(2, -1, -1)
        end = sheet.represent(paths, start).rates[:, -1]
        change.append((end - sheet.rates_of(start).flatten(1)).norm(dim=-1))
    assert ((change[0] - change[1]).abs() / (change[0] + change[1])).max() > 0.1


def test_a_uniform_sheet_and_a_blow_up_are_named() -> None:
    with pytest.raises(InputError, match="the sheet settles to uniform activity"):
        FuhsTouretzky.make(symmetric=1e-3, asymmetric=0.0).initial_state(torch.zeros(1, 2))
    with pytest.raises(InputError, match=r"activity blows up .* lower symmetric"):
        FuhsTouretzky.make(symmetric=100.0).initial_state(torch.zeros(1, 2))


def test_too_fast_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = FuhsTouretzky.make()
    paths = OPEN_WORLD.sweeps([0.0], [1.5], 1)
    state = model.settled[None]
    with caplog.at_level(logging.WARNING, logger="entorhinal"):
        model.represent(paths, state)
        model.represent(paths, state)
    assert sum("1.50 m/s is outside its linear range, 0 to 1.00 m/s" in r.getMessage() for r in caplog.records) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neurons_per_side": 61}, "neurons_per_side"),
        ({"neurons_per_side": 20}, "neurons_per_side 20 holds no lattice at frequency 0.67; give at least 32"),
        ({"step_ms": 3.0}, "too coarse"),
        ({"omega": 0.5}, "config key"),
    ],
)
def test_bad_config(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        FuhsTouretzky.make(**values)
    assert "\n" not in str(caught.value)
