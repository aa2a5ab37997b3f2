"""The continuous attractor sheet: its convolution, its lattice, its drift, and what it must not read."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from entorhinal.families.cache import cached_tensors
from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.continuous_attractor.lattice import lattice_displacement, lattice_waves
from entorhinal.families.errors import InputError
from entorhinal.families.model import Connected, Decoder, PathIntegrator, Representation
from entorhinal.families.world import Arena, World

SIDE = 64
OPEN_WORLD = World(Arena.square(1.0, walls=False))


@pytest.fixture(scope="session")
def model() -> BurakFiete:
    return BurakFiete.make(neurons_per_side=SIDE, gamma_over_beta=1.02)  # wide bumps, little held by neurons


def naive_input(model: BurakFiete, sheet: np.ndarray) -> np.ndarray:
    """g Σ_j W0(x_i − x_j − l e_j) s_j, neuron by neuron."""
    c, n = model.config, len(sheet)
    beta = 3 / c.net_wavelength_neurons**2
    direction = model.direction.numpy().reshape(2, n, n)
    place = np.arange(n)
    result = np.zeros((n, n))
    for row in range(n):
        for column in range(n):
            dx = (place[None, :] - column - c.shift_neurons * direction[0, row, column] + n / 2) % n - n / 2
            dy = (place[:, None] - row - c.shift_neurons * direction[1, row, column] + n / 2) % n - n / 2
            square = dx**2 + dy**2
            kernel = c.excitation * np.exp(-c.gamma_over_beta * beta * square) - np.exp(-beta * square)
            result += c.weight_gain * kernel * sheet[row, column]
    return result


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_step_is_the_naive_convolution(shift: int) -> None:
    model = BurakFiete.make(neurons_per_side=20, net_wavelength_neurons=6.0, shift_neurons=shift)
    c = model.config
    sheet = np.random.default_rng(0).random((20, 20))
    velocity = np.array([0.3, -0.7])
    drive = 1 + c.velocity_gain_s_m * np.tensordot(velocity, model.direction.numpy().reshape(2, 20, 20), 1)
    rate = c.step_ms / c.time_constant_ms
    wanted = sheet + rate * (np.maximum(naive_input(model, sheet) + drive, 0) - sheet)
    found = model.advance(torch.from_numpy(sheet)[None], torch.from_numpy(velocity)[None], c.step_ms)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=0, atol=1e-9)
    row = model.connectivity()
    assert row.shape == (1, 400)
    np.testing.assert_allclose(
        float(row[0] @ torch.from_numpy(sheet).flatten()), naive_input(model, sheet)[10, 10], rtol=0, atol=1e-9
    )


def test_each_block_holds_the_four_directions(model: BurakFiete) -> None:
    direction = model.direction.view(2, SIDE, SIDE)
    block = {tuple(v) for v in direction[:, 2:4, 4:6].flatten(1).T.tolist()}
    assert block == {(1, 0), (-1, 0), (0, 1), (0, -1)}


def test_powers(model: BurakFiete) -> None:
    for power in (PathIntegrator, Decoder, Connected):
        assert isinstance(model, power)
    assert not model.state_dict()


def test_lattice_forms_with_the_gain_and_not_without(model: BurakFiete) -> None:
    waves, order = lattice_waves(model.settled)
    assert order > 0.9
    assert abs(round(float(torch.linalg.det(waves[:2])))) in (11, 12, 13)
    weak = BurakFiete.make(neurons_per_side=SIDE, gamma_over_beta=1.02, weight_gain=1.0)
    sheet = weak.settle()
    assert lattice_waves(sheet)[1] == 0
    assert sheet.std() < 1e-2 * sheet.mean()
    with pytest.raises(InputError, match="the sheet settles to uniform activity; raise weight_gain"):
        weak.initial_state(torch.zeros(1, 2))


def test_drift_follows_velocity_linearly(model: BurakFiete) -> None:
    heading = torch.tensor([0.0, 1.0, 2.5, 4.0])
    unit = torch.stack((heading.cos(), heading.sin()), -1)
    speed = model.fastest_m_s * torch.tensor([0.25, 1.0])
    drift = model.drift_s((speed[:, None, None] * unit).flatten(0, 1), seconds=0.2).unflatten(0, (2, 4))
    gain = (drift * unit).sum(-1) / speed[:, None]  # neurons per metre
    assert (gain / gain.mean() - 1).abs().max() < 0.1
    across = drift[..., 0] * unit[:, 1] - drift[..., 1] * unit[:, 0]
    assert (across / drift.norm(dim=-1)).abs().max() < 0.05
    per_drive = model.moved_per_m / model.config.velocity_gain_s_m / 1e3
    assert per_drive == pytest.approx(0.42, rel=0.1)  # neurons/ms per unit αv, as on the large sheet


def test_path_is_decoded(model: BurakFiete) -> None:
    paths = OPEN_WORLD.walk(2, 100, seed=3, speed_m_s=0.3)
    found = model.represent(paths)
    assert found.rates.shape == (2, 100, SIDE**2)
    decoded = model.decode(found)
    error = (decoded - decoded[:, :1]) - (paths.position_m - paths.position_m[:, :1])
    assert error.norm(dim=-1).max() < 0.02


def test_starts_share_one_map(model: BurakFiete) -> None:
    """The lattice at a start is the settled one moved by that start."""
    start_m = torch.tensor([[0.0, 0.0], [0.07, 0.03], [-0.05, 0.06]])
    sheets = torch.stack((model.initial_state(0 * start_m), model.initial_state(start_m)), 1)
    moved_m = lattice_displacement(sheets, model.settled)[:, 1] / model.moved_per_m
    assert (moved_m - start_m).norm(dim=-1).max() < 0.01


def test_chunks_batch_and_leaks(model: BurakFiete) -> None:
    paths = OPEN_WORLD.walk(3, 12, seed=1, speed_m_s=0.3, start_m=torch.tensor([[0.0, 0.0], [0.4, 0.1], [0.1, -0.2]]))
    whole = model.represent(paths)
    first = model.represent(paths.chunk(0, 5))
    kept = first.state.clone()
    rest = model.represent(replace(paths.chunk(5, 12), start_m=torch.full((3, 2), 9.0)), first.state)
    assert torch.equal(first.state, kept)
    torch.testing.assert_close(torch.cat((first.rates, rest.rates), 1), whole.rates, rtol=0, atol=1e-5)
    for trial in range(3):
        alone = model.represent(paths.select([trial])).rates[0]
        torch.testing.assert_close(alone, whole.rates[trial], rtol=0, atol=1e-5)
    blind = replace(paths, position_m=paths.position_m + math.nan, heading_rad=paths.heading_rad + math.nan)
    assert torch.equal(model.represent(blind).rates, whole.rates)


def test_double_precision_agrees(model: BurakFiete) -> None:
    paths = OPEN_WORLD.walk(1, 5, seed=2, speed_m_s=0.3)
    doubled = World(OPEN_WORLD.arena, dtype=torch.float64)
    fine = model.represent(
        type(paths).from_displacements(
            *(x.double() for x in (paths.start_m, paths.displacement_m)), paths.dt_s, doubled.arena
        )
    )
    assert fine.rates.dtype == fine.state.dtype == torch.float64
    torch.testing.assert_close(fine.rates.float(), model.represent(paths).rates, rtol=0, atol=1e-3)


def test_decode_loses_a_dead_sheet(model: BurakFiete) -> None:
    rates = model.settled.flatten().expand(1, 4, -1).clone()
    rates[:, 2:] = 0
    decoded = model.decode(Representation(rates))
    assert decoded[:, :2].abs().max() < 1e-6
    assert decoded[:, 2:].isnan().all()


def test_too_fast_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = BurakFiete.make(neurons_per_side=SIDE, gamma_over_beta=1.02, velocity_gain_s_m=0.5)
    paths = OPEN_WORLD.sweeps([0.0], [1.0], 1)
    state = torch.zeros(1, SIDE, SIDE)
    with caplog.at_level(logging.WARNING, logger="entorhinal"):
        model.represent(paths, state)
        model.represent(paths, state)
    assert [record.getMessage() for record in caplog.records if "linear range" in record.getMessage()] == [
        "continuous_attractor/burak_fiete-v1: a speed of 1.00 m/s is outside its linear range, 0 to 0.40 m/s; "
        "the path will be wrong; lower the gain of velocity"
    ]


def test_blow_up_is_named() -> None:
    model = BurakFiete.make(neurons_per_side=40, excitation=3.0)
    paths = OPEN_WORLD.sweeps([0.0], [0.1], 10)
    with pytest.raises(InputError, match="activity blows up"):
        model.represent(paths, torch.full((1, 40, 40), 0.1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neurons_per_side": 127}, "neurons_per_side"),
        ({"neurons_per_side": 32}, "holds no lattice"),
        ({"step_ms": 5.0}, "too coarse"),
        ({"gamma_over_beta": 1.0}, "gamma_over_beta"),
        ({"shift": 2}, "did you mean"),
    ],
)
def test_bad_config(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        BurakFiete.make(**values)
    assert "\n" not in str(caught.value)


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTORHINAL_CACHE", str(tmp_path / "deep" / "cache"))
    calls: list[int] = []

    def compute() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"x": torch.arange(3.0)}

    for _ in range(2):
        assert torch.equal(cached_tensors("key", compute)["x"], torch.arange(3.0))
    assert len(calls) == 1
    (file,) = (tmp_path / "deep" / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert torch.equal(cached_tensors("key", compute)["x"], torch.arange(3.0))
    assert len(calls) == 2
    assert torch.equal(cached_tensors("key", compute)["x"], torch.arange(3.0))
    assert len(calls) == 2
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENTORHINAL_CACHE", str(tmp_path / "file"))
    assert torch.equal(cached_tensors("key", compute)["x"], torch.arange(3.0))
