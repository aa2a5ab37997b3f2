"""Peak selection: its weights, the periods its transform predicts, its drift, and what it must not read."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from entorhinal.analysis import torus
from entorhinal.analysis.scales import local_displacements, local_periods, plateaus
from entorhinal.families.continuous_attractor.peak_selection import PeakSelection
from entorhinal.families.errors import InputError
from entorhinal.families.model import Connected, PathIntegrator, Trainable
from entorhinal.families.world import Arena, World

OPEN_WORLD = World(Arena.line(1.0, walls=False))


@pytest.fixture(scope="module")
def model() -> PeakSelection:
    return PeakSelection.make()


def naive_weights(model: PeakSelection) -> np.ndarray:
    """W(x_i − x_j − l e_j; σ half-way), pair by pair."""
    c = model.config
    weights = np.zeros((c.neurons, c.neurons))
    for i in range(c.neurons):
        for j in range(c.neurons):
            distance = abs(i - j - c.shift_neurons * (1 if j % 2 == 0 else -1))
            width = c.smallest_width_neurons * (c.largest_width_neurons / c.smallest_width_neurons) ** (
                (i + j) / 2 / (c.neurons - 1)
            )
            weights[i, j] = -c.graded_weight / width * min(max(width + 0.5 - distance, 0), 1)
            if c.fixed_kernel == "diffuse":
                d = c.fixed_range_neurons
                weights[i, j] -= c.fixed_weight / d * min(max(d + 0.5 - distance, 0), 1)
            else:
                s = c.localized_width_neurons
                bump = math.exp(-((distance - c.fixed_range_neurons) ** 2) / (2 * s**2)) / math.sqrt(2 * math.pi) / s
                weights[i, j] += c.fixed_weight * bump * (distance < c.fixed_range_neurons + 4 * s)
    return weights


@pytest.mark.parametrize("kernel", ["diffuse", "localized"])
def test_a_step_is_the_naive_sum(kernel: str) -> None:
    model = PeakSelection.make(
        neurons=171, smallest_width_neurons=6, largest_width_neurons=17, fixed_range_neurons=30.0, fixed_kernel=kernel,
        localized_width_neurons=2.0, fixed_weight=0.8, edge_neurons=20,
    )  # fmt: skip
    c = model.config
    line = np.random.default_rng(0).random(171)
    place = np.arange(171)
    envelope = np.sin(np.minimum(np.minimum(place, 170 - place) / 20, 1) * np.pi / 2) ** 2
    drive = envelope * (1 + c.velocity_gain_s_m * 0.7 * (1 - 2 * (place % 2)))
    wanted = line + c.step_ms / c.time_constant_ms * (np.maximum(naive_weights(model) @ line + drive, 0) - line)
    found = model.advance(torch.from_numpy(line)[None], torch.tensor([[0.7]], dtype=torch.float64), c.step_ms)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=0, atol=1e-5)
    row = model.connectivity()
    assert row.shape == (1, 171)
    np.testing.assert_allclose(row[0].numpy(), naive_weights(model)[85], rtol=0, atol=2e-4)


def test_weights_at_rest_are_symmetric() -> None:
    """Up to the shift, which neighbours have in opposite directions."""
    model = PeakSelection.make(neurons=600)
    place = torch.arange(600.0)
    weights = model.kernel((place[:, None] - place).abs(), model.width((place[:, None] + place) / 2))
    assert torch.equal(weights, weights.T)


@pytest.mark.parametrize("kernel", ["diffuse", "localized"])
def test_transform_is_that_of_the_kernel(kernel: str) -> None:
    model = PeakSelection.make(fixed_kernel=kernel)
    distance = torch.arange(-200.0, 201.0, dtype=torch.float64)
    width = torch.tensor(30.0, dtype=torch.float64)
    wave_number = torch.linspace(0.02, 0.4, 50, dtype=torch.float64)
    wanted = (model.kernel(distance.abs(), width) * (wave_number[:, None] * distance).cos()).sum(1)
    assert (model.transform(wave_number, width) - wanted).abs().max() < 0.05


def predicted(model: PeakSelection, width: torch.Tensor) -> torch.Tensor:
    """Period at the highest peak of the transform, for each width."""
    wave_number = torch.linspace(0.05, 0.6, 4000, dtype=torch.float64)
    return 2 * math.pi / wave_number[model.transform(wave_number, width[:, None]).argmax(1)]


@pytest.mark.parametrize("weight", [0.0, 4.0])
def test_period_is_that_of_the_most_unstable_wave(model: PeakSelection, weight: float) -> None:
    line = model if weight else PeakSelection.make(fixed_weight=0.0)
    centres, period = local_periods(line.settled)
    wanted = predicted(line, line.width(centres))
    assert ((period / wanted).log().abs() < 0.06).double().mean() > 0.8  # but for the jumps, and the fading input
    found = plateaus(period, line.width(centres))
    assert len(found) == (4 if weight else 0)
    if weight:
        assert [run.period for run in found] == pytest.approx(line.module_periods(22, 60)[::-1], rel=0.02)


def test_periods_of_the_law() -> None:
    diffuse, localized = PeakSelection.make(), PeakSelection.make(fixed_kernel="localized", fixed_range_neurons=84.0)
    assert localized.module_periods(20, 84) == pytest.approx([84, 42, 28, 21])
    assert diffuse.module_periods(23, 80) == pytest.approx([135 / 1.75, 135 / 2.75, 36, 135 / 4.75, 135 / 5.75])


def test_nothing_forms_below_the_instability() -> None:
    weak = PeakSelection.make(graded_weight=2.0, fixed_weight=0.0, neurons=1500)
    assert weak.transform(torch.linspace(0.01, 1, 500), 30.0).max() < 1
    with pytest.raises(InputError, match="settles to uniform activity; raise graded_weight"):
        weak.initial_state(torch.zeros(1, 1))


def test_drift_follows_velocity_in_every_module(model: PeakSelection) -> None:
    velocity_m_s = model.fastest_m_s * torch.tensor([[0.0], [0.3], [-0.3], [0.9]])
    sheet = model.advance(model.settled.expand(4, -1), velocity_m_s, 100.0)
    sheets = [sheet]
    for _ in range(20):
        sheets.append(model.advance(sheets[-1], velocity_m_s, 10.0))
    centres, moved = local_displacements(torch.stack(sheets, 1), model.settled)
    drift = moved[:, -1] / 0.2
    inside = (centres > 200) & (centres < 2500)
    assert drift[0, inside].abs().median() < 1.0
    gain = drift[1:, inside] / velocity_m_s[1:]
    assert (gain > 0).all()
    assert (gain.median(1).values / gain.median() - 1).abs().max() < 0.1
    assert float(gain.median()) == pytest.approx(79, rel=0.1)  # neurons per metre


def test_starts_share_one_map_and_a_round_trip_comes_back(model: PeakSelection) -> None:
    start_m = torch.tensor([[0.0], [0.12]])
    there = model.initial_state(start_m)
    paths = OPEN_WORLD.sweeps([math.pi], [0.6], 10)  # 0.12 m to the left
    back = model.represent(paths, there[1:]).state
    back = model.advance(back, torch.zeros(1, 1), 100.0)
    sheets = torch.stack((there[0], back[0]))
    _, moved = local_displacements(torch.stack((sheets[0], there[1])), model.settled)
    assert moved[1].abs().median() > 4
    assert (sheets[0] - sheets[1]).norm() < 0.25 * sheets[0].norm()
    assert (sheets[0] - there[1]).norm() > 0.8 * sheets[0].norm()


def test_powers_chunks_and_leaks(model: PeakSelection) -> None:
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Connected)
    assert not isinstance(model, Trainable)
    assert not model.state_dict()
    paths = OPEN_WORLD.walk(2, 6, seed=1, speed_m_s=0.3, start_m=torch.tensor([[0.0], [0.02]]))
    whole = model.represent(paths)
    assert whole.rates.shape == (2, 6, 3000)
    first = model.represent(paths.chunk(0, 2))
    rest = model.represent(replace(paths.chunk(2, 6), start_m=torch.full((2, 1), 9.0)), first.state)
    torch.testing.assert_close(torch.cat((first.rates, rest.rates), 1), whole.rates, rtol=0, atol=1e-5)
    blind = replace(paths, position_m=paths.position_m + math.nan, heading_rad=paths.heading_rad + math.nan)
    assert torch.equal(model.represent(blind).rates, whole.rates)


def test_a_module_is_a_ring(model: PeakSelection) -> None:
    paths = OPEN_WORLD.sweeps([0.0], [1.0], 150)
    with torch.no_grad():
        rates = model.represent(paths, model.settled[None]).rates[0]
    found = torus(rates[:, 2000:2600:15], points=100, rolls=2)
    loops = found.lengths[1]
    assert loops[0] > 3 * loops[1]
    assert not found.is_torus


def test_too_fast_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = PeakSelection.make(neurons=600)
    paths = OPEN_WORLD.sweeps([0.0], [3.0], 1)
    with caplog.at_level(logging.WARNING, logger="entorhinal"):
        for _ in range(2):
            model.represent(paths, torch.zeros(1, 600))
    (message,) = [record.getMessage() for record in caplog.records if "linear range" in record.getMessage()]
    assert "3.00 m/s is outside its linear range, 0 to 1.40 m/s" in message


def test_blow_up_is_named() -> None:
    model = PeakSelection.make(fixed_kernel="localized", fixed_weight=9.0, neurons=1000, step_ms=0.3)
    with pytest.raises(InputError, match=r"activity blows up .* lower fixed_weight"):
        model.settle()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neurons": 500}, "neurons 500 hold no pattern of interactions that reach 135; give at least 540"),
        ({"step_ms": 2.0}, "step_ms 2 is too coarse .* give at most 0.588"),
        ({"largest_width_neurons": 10.0}, "exchange them"),
        ({"edge_neurons": 2000}, "edge_neurons 2000 leave less than half"),
        ({"fixed_kernel": "round"}, "fixed_kernel"),
        ({"sigma": 2}, "config key"),
    ],
)
def test_bad_config(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        PeakSelection.make(**values)
    assert "\n" not in str(caught.value)
