"""The sheet with edges and the sheet with spikes: their sums, lattices, intervals, and what is wrong input to them."""

import logging
import math

import numpy as np
import pytest
import torch

from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.continuous_attractor.burak_fiete_aperiodic import BurakFieteAperiodic
from entorhinal.families.continuous_attractor.burak_fiete_spiking import BurakFieteSpiking
from entorhinal.families.continuous_attractor.lattice import lattice_displacement, lattice_spacing, lattice_waves
from entorhinal.families.errors import InputError
from entorhinal.families.world import Arena, World

OPEN_WORLD = World(Arena.square(1.0, walls=False))
SMALL = {"neurons_per_side": 80, "gamma_over_beta": 1.02}
FREE = {"neurons_per_side": 16, "net_wavelength_neurons": 5.0, "weight_gain": 1e-9, "spikes_per_ms": 0.1}


@pytest.fixture(scope="session")
def faded() -> BurakFieteAperiodic:
    return BurakFieteAperiodic.make(**SMALL)


@pytest.fixture(scope="session")
def spiking() -> BurakFieteSpiking:
    return BurakFieteSpiking.make(neurons_per_side=64, gamma_over_beta=1.02)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_step_on_the_sheet_with_edges_is_the_naive_sum(shift: int) -> None:
    n = 20
    model = BurakFieteAperiodic.make(neurons_per_side=n, net_wavelength_neurons=3.3, shift_neurons=shift)
    c, sheet, velocity = model.config, np.random.default_rng(0).random((n, n)), np.array([0.3, -0.7])
    beta = 3 / c.net_wavelength_neurons**2
    direction = model.direction.numpy().reshape(2, n, n)
    y, x = np.mgrid[:n, :n]
    recurrent = np.zeros((n, n))
    for row in range(n):
        for column in range(n):
            dx = x - column - shift * direction[0, row, column]
            dy = y - row - shift * direction[1, row, column]
            kernel = np.exp(-c.gamma_over_beta * beta * (dx**2 + dy**2)) - np.exp(-beta * (dx**2 + dy**2))
            recurrent += c.weight_gain * kernel * sheet[row, column]
    envelope = np.exp(-4 * ((x - 9.5) ** 2 + (y - 9.5) ** 2) / 10**2)
    drive = envelope * (1 + c.velocity_gain_s_m * np.tensordot(velocity, direction, 1))
    wanted = sheet + c.step_ms / c.time_constant_ms * (np.maximum(recurrent + drive, 0) - sheet)
    found = model.advance(torch.from_numpy(sheet)[None], torch.from_numpy(velocity)[None], c.step_ms)
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=0, atol=1e-9)
    total = float(model.connectivity()[0] @ torch.from_numpy(sheet).flatten())
    assert total == pytest.approx(recurrent[10, 10], abs=1e-9)


def triangles(n: int, spacing: float, turn_rad: float, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    """A triangular lattice of waves on an n × n sheet, moved by ``shift``."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64),) * 2, indexing="ij")
    size = 4 * math.pi / (math.sqrt(3) * spacing)
    angles = [turn_rad + k * math.pi / 3 for k in range(3)]
    return 1 + sum(
        torch.cos(size * ((x - shift[0]) * math.cos(a) + (y - shift[1]) * math.sin(a))) / 4.5 for a in angles
    )


def test_a_lattice_is_read_through_a_window(faded: BurakFieteAperiodic) -> None:
    window, n = faded.fading, 80
    settled = window * triangles(n, 18.3, 0.2)
    waves, order = lattice_waves(settled, window)
    assert order > 0.999
    assert lattice_spacing(waves) * n == pytest.approx(18.3, rel=0.01)
    angle = torch.atan2(waves[:, 1], waves[:, 0]).remainder(math.pi / 3)
    torch.testing.assert_close(angle, torch.full_like(angle, 0.2), rtol=0, atol=0.01)
    moves = [(0.0, 0.0), (3.0, -2.0), (7.0, 1.0), (11.0, 6.0)]
    sheets = torch.stack([window * triangles(n, 18.3, 0.2, move) for move in moves])[None]
    torch.testing.assert_close(
        lattice_displacement(sheets, settled, window)[0], torch.tensor(moves, dtype=torch.float64), rtol=0, atol=0.1
    )


def test_what_is_no_lattice_has_no_order(faded: BurakFieteAperiodic) -> None:
    window = faded.fading
    assert lattice_waves(window, window)[1] == 0
    noise = torch.rand(80, 80, generator=torch.Generator().manual_seed(0))
    assert lattice_waves(window * noise, window)[1] < 0.2
    x = torch.arange(80.0)
    assert lattice_waves(window * (1 + torch.cos(0.4 * x)), window)[1] < 0.2


def test_the_sheet_with_edges_settles_and_integrates(faded: BurakFieteAperiodic) -> None:
    assert faded.order(faded.settled) > 0.9
    assert faded.settled[0].max() < 0.01 * faded.settled.max()
    paths = OPEN_WORLD.walk(2, 60, seed=3, speed_m_s=0.3, start_m=torch.zeros(2, 2))
    decoded = faded.decode(faded.represent(paths))
    error = (decoded - decoded[:, :1]) - (paths.position_m - paths.position_m[:, :1])
    assert error.norm(dim=-1).max() < 0.05


def spikes_of(model: BurakFieteSpiking, steps: int) -> torch.Tensor:
    """Spikes ``(steps, N)`` of the resting sheet, from the jumps of its activity."""
    c = model.config
    sheet, wait = torch.zeros(1, c.neurons_per_side, c.neurons_per_side), model.first_wait[None]
    generator, found = torch.Generator().manual_seed(1), []
    for _ in range(steps):
        before = sheet
        sheet, wait = model.fire(sheet, wait, torch.zeros(1, 2), c.step_ms, generator)
        jump = sheet - (1 - c.step_ms / c.time_constant_ms) * before
        found.append(jump.flatten() * c.time_constant_ms * c.spikes_per_ms)
    return torch.stack(found)


@pytest.mark.parametrize("decimation", [1, 4])
def test_intervals_of_free_neurons(decimation: int) -> None:
    """f = 1 without weights: 0.1 spikes a ms, intervals that vary by 1/√m, none of it synchronous at the start."""
    spikes = spikes_of(BurakFieteSpiking.make(decimation=decimation, **FREE), 2000)
    torch.testing.assert_close(spikes, spikes.round(), rtol=0, atol=1e-3)
    assert spikes.round().unique().tolist() == [0, 1]
    assert spikes.mean() / 0.5 == pytest.approx(0.1, rel=0.02)
    assert spikes[:40].mean() / 0.5 == pytest.approx(0.1, rel=0.1)
    intervals = torch.cat([0.5 * train.nonzero()[:, 0].diff() for train in spikes.round().T])
    assert intervals.mean() == pytest.approx(10, rel=0.03)
    assert intervals.std() / intervals.mean() == pytest.approx(decimation**-0.5, rel=0.05)


@pytest.mark.parametrize("periodic", [True, False])
def test_steps_for_all_neurons_are_those_for_the_few_that_fire(periodic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two ways of `fire`, given intervals that are all 1."""
    model = BurakFieteSpiking.make(neurons_per_side=64 + 16 * (not periodic), decimation=1, periodic=periodic)
    sheet = model.sheet.settled.expand(2, *model.sheet.settled.shape).clone()
    wait = model.first_wait.expand_as(sheet).clone()
    velocity_m_s = torch.tensor([[0.0, 0.0], [0.3, -0.1]])
    unit = torch.full((1,), 1 - math.exp(-1))
    monkeypatch.setattr(torch, "rand", lambda shape, **options: unit.expand(shape))
    few = model.fire(sheet, wait, velocity_m_s, 20.0, torch.Generator())
    (steps, rate), state = model.sheet.steps(20.0), torch.stack((sheet, wait))
    drive = model.sheet.drive(velocity_m_s, model.sheet.envelope)
    model.fire_all(state, drive, torch.ones(steps, *sheet.shape), *model.sheet.weights(sheet), rate)
    assert (few[0] - sheet).abs().max() > 0.01
    torch.testing.assert_close(state, torch.stack(few), rtol=1e-4, atol=1e-4)


def test_without_a_generator_it_is_the_sheet(spiking: BurakFieteSpiking) -> None:
    sheet = BurakFiete.make(neurons_per_side=64, gamma_over_beta=1.02)
    paths = OPEN_WORLD.walk(2, 5, seed=3, speed_m_s=0.3, start_m=torch.zeros(2, 2))
    found = spiking.represent(paths)
    assert torch.equal(found.rates, sheet.represent(paths).rates)
    noisy = spiking.represent(paths, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(noisy.rates[0], noisy.rates[1])
    assert (noisy.rates - found.rates).abs().max() > 0.01
    assert not BurakFieteSpiking.make(**SMALL, periodic=False).sheet.periodic


def test_the_lattice_stands_spikes_and_regular_ones_disturb_less(spiking: BurakFieteSpiking) -> None:
    paths = OPEN_WORLD.sweeps([0.5] * 4, [0.2], 25)
    strays = []
    for decimation in (1, 16):
        model = BurakFieteSpiking.make(neurons_per_side=64, gamma_over_beta=1.02, decimation=decimation)
        found = model.represent(paths, generator=torch.Generator().manual_seed(0))
        assert min(model.sheet.order(sheet) for sheet in found.state["sheet"]) > 0.6
        decoded = model.decode(found)
        strays.append(((decoded - decoded[:, :1]) - (paths.position_m - paths.position_m[:, :1])).norm(dim=-1).max())
    assert strays[0] < 0.1
    assert strays[1] < strays[0]


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (BurakFieteAperiodic, {"neurons_per_side": 64}, "holds no lattice .* where the input fades .* at least 78"),
        (BurakFieteSpiking, {"neurons_per_side": 64, "periodic": False}, "burak_fiete_spiking-v1: .*at least 78"),
        (BurakFieteSpiking, {"neurons_per_side": 32}, "holds no lattice"),
        (BurakFieteSpiking, {"step_ms": 5.0}, "too coarse"),
        (BurakFieteSpiking, {"decimation": 0}, "decimation"),
        (BurakFieteAperiodic, {"spikes_per_ms": 1.0}, "unknown config key"),
    ],
)
def test_bad_config(model: type, values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        model.make(**values)
    assert "\n" not in str(caught.value)


def test_spikes_that_blow_up_are_named() -> None:
    model = BurakFieteSpiking.make(neurons_per_side=40, excitation=3.0)
    sheet = torch.full((1, 40, 40), 0.1)
    state = {"sheet": sheet, "wait": model.first_wait[None]}
    with pytest.raises(InputError, match="activity blows up"):
        model.represent(OPEN_WORLD.sweeps([0.0], [0.1], 10), state, generator=torch.Generator().manual_seed(0))


def test_too_fast_is_said_once_with_spikes_too(caplog: pytest.LogCaptureFixture) -> None:
    model = BurakFieteSpiking.make(neurons_per_side=40, velocity_gain_s_m=0.5)
    state = {"sheet": torch.zeros(1, 40, 40), "wait": model.first_wait[None]}
    with caplog.at_level(logging.WARNING, logger="entorhinal"):
        for _ in range(2):
            model.represent(OPEN_WORLD.sweeps([0.0], [1.0], 1), state, generator=torch.Generator().manual_seed(0))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "1.00 m/s is outside its linear range, 0 to 0.40 m/s" in said[0]
