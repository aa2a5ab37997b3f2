"""Coupled sheets: their sums, their lattices and modules, their drift, and what they must not read."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import j0

from entorhinal.analysis import fourier_lattices, orientation_difference
from entorhinal.families.continuous_attractor.kang_balasubramanian import KangBalasubramanian
from entorhinal.families.errors import InputError
from entorhinal.families.model import PathIntegrator, Trainable
from entorhinal.families.world import Arena, World

OPEN_WORLD = World(Arena.square(1.0, walls=False))
TINY = {"networks": 2, "neurons_per_side": 80, "largest_inhibition_neurons": 4.5, "recorded_per_network": 5}


@pytest.fixture(scope="module")
def model() -> KangBalasubramanian:
    return KangBalasubramanian.make()


def naive_input(model: KangBalasubramanian, sheets: np.ndarray) -> np.ndarray:
    """Both sums of equation (1), neuron by neuron, on sheets (h, n, n)."""
    c, (h, n, _) = model.config, sheets.shape
    direction = model.direction.numpy().reshape(2, n, n)
    place = np.arange(n)
    result = np.zeros(sheets.shape)

    def distance(row: float, column: float) -> np.ndarray:
        dx, dy = ((place - middle + n / 2) % n - n / 2 for middle in (column, row))
        return np.hypot(dx[None, :], dy[:, None])

    for z in range(h):
        far = float(model.inhibition_distance[z])
        for row in range(n):
            for column in range(n):
                dx, dy = c.shift_neurons * direction[:, row, column]
                r = distance(row + dy, column + dx)
                inhibition = -c.inhibition / far**2 * (1 - np.cos(np.pi * r / far)) / 2 * (r < 2 * far)
                result[z] += inhibition * sheets[z, row, column]
                r, d = distance(row, column), c.coupling_spread_neurons
                if z:
                    excitation = c.coupling / d**2 * (1 + np.cos(np.pi * r / d)) / 2 * (r < d)
                    result[z - 1] += excitation * sheets[z, row, column]
    return result


@pytest.mark.parametrize("shift", [1, 2])
def test_a_step_is_the_naive_sum(shift: int) -> None:
    model = KangBalasubramanian.make(
        networks=3, neurons_per_side=20, smallest_inhibition_neurons=2.0, largest_inhibition_neurons=2.5,
        coupling_spread_neurons=3.0, shift_neurons=shift, recorded_per_network=4,
    )  # fmt: skip
    c = model.config
    sheets = np.random.default_rng(0).random((3, 20, 20))
    velocity = np.array([0.3, -0.7])
    middle = np.arange(20) - 9.5
    rho = np.hypot(middle[:, None], middle) / 10
    envelope = np.exp(-c.input_falloff * rho**2) * (rho < 1)
    push = c.velocity_gain_s_m * np.tensordot(velocity, model.direction.numpy().reshape(2, 20, 20), 1)
    target = np.maximum(naive_input(model, sheets) + envelope * (1 + push), 0)
    wanted = sheets + c.step_ms / c.time_constant_ms * (target - sheets)
    found = model.advance(torch.from_numpy(sheets)[None], torch.from_numpy(velocity)[None], c.step_ms)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=0, atol=1e-9)
    assert model.recorded(found).shape == (1, 12)


def test_inhibition_distances() -> None:
    paper = KangBalasubramanian.make(**KangBalasubramanian.preset("paper"))
    distance = paper.inhibition_distance
    assert distance[[0, -1]].tolist() == pytest.approx([4, 15])
    assert (1 / distance).diff().tolist() == pytest.approx([(1 / 15 - 1 / 4) / 11] * 11)
    even = KangBalasubramanian.make(inhibition_exponent=0.0).inhibition_distance
    assert (even[1:] / even[:-1]).tolist() == pytest.approx([2.5**0.2] * 5)


def test_inhibition_is_the_same_in_all() -> None:
    """The integral of (4) is −2π w_mag for every l."""
    model = KangBalasubramanian.make()
    radius = torch.linspace(0, 30, 30_001, dtype=torch.float64)
    whole = torch.trapezoid(2 * math.pi * radius * model.inhibition_kernel(radius), radius)
    assert whole.tolist() == pytest.approx([-2 * math.pi * 2.4] * 6, rel=1e-4)


def most_unstable(far: float) -> float:
    """Wave number at which the Hankel transform of (4) is greatest."""
    numbers = np.linspace(2.0, 5.0, 301) / far
    kernel = [
        quad(lambda r, k=k: -r * j0(k * r) * (1 - math.cos(math.pi * r / far)), 0, 2 * far)[0] for k in numbers
    ]  # up to a factor
    return float(numbers[int(np.argmax(kernel))])


def test_spacing_without_coupling_is_that_of_the_most_unstable_wave() -> None:
    assert most_unstable(4.0) * 4 == pytest.approx(most_unstable(7.0) * 7, rel=0.01)
    alone = KangBalasubramanian.make(coupling=0.0)
    spacing = fourier_lattices(alone.settled, 1.0).spacing_m
    predicted = 2 / math.sqrt(3) * 2 * math.pi / most_unstable(1.0) * alone.inhibition_distance
    assert (spacing / predicted - 1).abs().max() < 0.05
    assert (spacing[1:] / spacing[:-1]).max() < 1.3


def test_coupled_sheets_share_lattices_or_jump_by_30_degrees(model: KangBalasubramanian) -> None:
    found = fourier_lattices(model.settled, 1.0)
    ratio = found.spacing_m[1:] / found.spacing_m[:-1]
    turned = orientation_difference(found.orientation_rad[1:], found.orientation_rad[:-1]).rad2deg()
    border = ratio > 1.3
    assert int(border.sum()) == 1
    assert ratio[border].item() == pytest.approx(math.sqrt(3), rel=0.12)
    assert turned[border].item() == pytest.approx(30, abs=3)
    assert turned[~border].max() < 2


def test_every_lattice_follows_velocity(model: KangBalasubramanian) -> None:
    """A push there and back returns every sheet; one way moves it."""
    velocity_m_s = 0.5 * model.fastest_m_s * torch.tensor([[1.0, 0.0]])
    rest = torch.zeros(1, 2)
    settled = model.settled[None]
    there = model.advance(model.advance(settled, velocity_m_s, 300.0), rest, 50.0)
    back = model.advance(model.advance(there, -velocity_m_s, 300.0), rest, 50.0)

    def difference(sheets: torch.Tensor) -> torch.Tensor:
        return (sheets - settled).flatten(2).norm(dim=-1) / settled.flatten(2).norm(dim=-1)

    assert difference(there).min() > 0.5
    assert difference(back).max() < 0.35


def test_powers_chunks_and_leaks() -> None:
    model = KangBalasubramanian.make(**TINY)
    assert isinstance(model, PathIntegrator)
    assert not isinstance(model, Trainable)
    assert not model.state_dict()
    start_m = torch.tensor([[0.0, 0.0], [0.02, 0.01]])
    paths = OPEN_WORLD.walk(2, 5, seed=1, speed_m_s=0.2, start_m=start_m)
    whole = model.represent(paths)
    assert whole.rates.shape == (2, 5, 10)
    assert whole.state.shape == (2, 2, 80, 80)
    first = model.represent(paths.chunk(0, 2))
    rest = model.represent(replace(paths.chunk(2, 5), start_m=torch.full((2, 2), 9.0)), first.state)
    torch.testing.assert_close(torch.cat((first.rates, rest.rates), 1), whole.rates, rtol=0, atol=1e-5)
    blind = replace(paths, position_m=paths.position_m + math.nan, heading_rad=paths.heading_rad + math.nan)
    assert torch.equal(model.represent(blind).rates, whole.rates)


def test_units_are_distinct_and_near_the_middle(model: KangBalasubramanian) -> None:
    units = model.units.view(6, 32)
    assert all(len(set(row.tolist())) == 32 for row in units)
    assert (units // 96**2 == torch.arange(6)[:, None]).all()
    row, column = units % 96**2 // 96 - 47.5, units % 96 - 47.5
    assert (row**2 + column**2).sqrt().max() < 24


def test_too_fast_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = KangBalasubramanian.make(**TINY)
    paths = OPEN_WORLD.sweeps([0.0], [1.0], 1)
    with caplog.at_level(logging.WARNING, logger="entorhinal"):
        for _ in range(2):
            model.represent(paths, torch.zeros(1, 2, 80, 80))
    (message,) = [record.getMessage() for record in caplog.records if "linear range" in record.getMessage()]
    assert "1.00 m/s is outside its linear range, 0 to 0.67 m/s" in message


def test_blow_up_and_uniform_activity_are_named() -> None:
    strong = KangBalasubramanian.make(**TINY, coupling=1e5)
    with pytest.raises(InputError, match=r"activity blows up .* lower coupling"):
        strong.settle()
    weak = KangBalasubramanian.make(**TINY | {"input_falloff": 0.0, "inhibition": 0.1, "coupling": 0.0})
    with pytest.raises(InputError, match=r"the sheet settles to no lattice in network 1 of 2; raise inhibition"):
        weak.initial_state(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neurons_per_side": 97}, "neurons_per_side"),
        ({"neurons_per_side": 64}, "holds no lattice of largest_inhibition_neurons 10; give at least 80"),
        ({"step_ms": 3.0}, "step_ms 3 is too coarse for time_constant_ms 10; give at most 1.2"),
        ({"largest_inhibition_neurons": 3.0}, "exchange them"),
        ({"recorded_per_network": 4000}, "recorded_per_network 4000: a sheet's middle has"),
        ({"umag": 2}, "config key"),
    ],
)
def test_bad_config(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        KangBalasubramanian.make(**values)
    assert "\n" not in str(caught.value)
