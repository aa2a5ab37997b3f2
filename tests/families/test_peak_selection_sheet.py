"""Peak selection on a sheet: its sums, its transform, its modules, their drift, and what is wrong input to it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import j0 as bessel

from entorhinal.analysis.scales import plateaus, sheet_periods
from entorhinal.families.continuous_attractor.peak_selection_sheet import PeakSelectionSheet
from entorhinal.families.errors import InputError
from entorhinal.families.model import PathIntegrator, Trainable
from entorhinal.families.world import Arena, World

OPEN_WORLD = World(Arena.square(1.0, walls=False))
SMALL = {
    "rows": 40, "columns": 24, "smallest_width_neurons": 3.0, "largest_width_neurons": 5.0, "fixed_range_neurons": 15.0,
    "edge_neurons": 6, "recorded_units": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> PeakSelectionSheet:
    return PeakSelectionSheet.make()


@pytest.mark.parametrize("shift", [1, 2])
def test_a_step_is_the_naive_sum(shift: int) -> None:
    model = PeakSelectionSheet.make(**SMALL, shift_neurons=shift)
    c, rows, columns = model.config, 40, 24
    sheet = np.random.default_rng(0).random((rows, columns))
    sheet[:3] = sheet[-3:] = 0  # nothing is sent over the ends
    velocity = np.array([0.3, -0.7])
    direction = model.direction.numpy().reshape(2, rows, columns)
    recurrent = np.zeros((rows, columns))
    place = np.arange(rows)
    for row in range(3, rows - 3):
        for column in range(columns):
            dx, dy = shift * direction[:, row, column]
            width = 3 * (5 / 3) ** ((place + row + dy) / 2 / (rows - 1))[:, None]
            for turn in (-1, 0, 1):
                r = np.hypot(np.arange(columns) - column - dx + turn * columns, place[:, None] - row - dy)
                disk = -c.graded_weight / (np.pi * width**2) * (width + 0.5 - r).clip(0, 1)
                ring = np.exp(-((r - 15) ** 2) / (2 * 1.5**2)) / (2 * np.pi * 15 * 1.5 * np.sqrt(2 * np.pi))
                recurrent += (disk + c.fixed_weight * ring) * sheet[row, column]
    edge = np.minimum(place, place[::-1]) / 6
    envelope = np.sin(edge.clip(max=1) * np.pi / 2)[:, None] ** 2
    drive = envelope * (1 + c.velocity_gain_s_m * np.tensordot(velocity, direction, 1))
    wanted = sheet + 0.1 * (np.maximum(recurrent + drive, 0) - sheet)
    found = model.advance(torch.from_numpy(sheet)[None], torch.from_numpy(velocity)[None], 1.0)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=0, atol=1e-5)
    assert model.recorded(found).shape == (1, 20)


def test_the_transform_is_that_of_the_kernel(model: PeakSelectionSheet) -> None:
    """By the integral over the plane; the disk's edge, which falls over a neuron, is that of half a neuron on."""
    for number in (0.25, 0.42):
        weight = [
            quad(
                lambda r, k=number: 2 * math.pi * r * bessel(k * r)
                * float(model.kernel(torch.tensor(r, dtype=torch.float64), torch.tensor(12.0))),
                low, high, limit=200,
            )[0]
            for low, high in ((0, 11.5), (11.5, 12.5), (12.5, 36), (36, 54))
        ]  # fmt: skip
        assert float(model.transform(torch.tensor([number]), 12.0)) == pytest.approx(sum(weight), rel=0.03)


def test_peaks_of_the_ring_are_at_the_periods_of_the_law(model: PeakSelectionSheet) -> None:
    wave = torch.linspace(0.2, 0.75, 20_000, dtype=torch.float64)
    alone = PeakSelectionSheet.make(graded_weight=1e-9, ring_width_neurons=0.1)
    values = alone.transform(wave, 10.0)
    peaks = wave[1:-1][(values[1:-1] > values[:-2]) & (values[1:-1] > values[2:])]
    found = (2 * math.pi / peaks).tolist()
    assert found == pytest.approx(model.module_periods(8.4, 31.4), rel=0.005)


def test_modules_are_those_of_the_law_and_hexagonal(model: PeakSelectionSheet) -> None:
    centres, period, hexagonal = sheet_periods(model.settled, window=72)
    modules = plateaus(period, model.width(centres))
    assert [module.period for module in modules] == pytest.approx(model.module_periods(10, 25)[::-1], rel=0.05)
    assert min(hexagonal[module.first : module.last + 1].median() for module in modules) > 0.5


def test_every_module_follows_velocity(model: PeakSelectionSheet) -> None:
    """A push moves the lattice of every module, and the same push back returns it."""
    velocity_m_s = torch.tensor([[0.5, 0.0]])
    settled = model.settled[None]
    there = model.advance(settled, velocity_m_s, 300.0)
    back = model.advance(there, -velocity_m_s, 300.0)
    for first, last in ((30, 80), (100, 145), (175, 225)):
        apart, left = ((sheet - settled)[:, first:last].norm() / settled.norm() for sheet in (there, back))
        assert apart > 0.2
        assert left < 0.5 * apart


def test_powers_chunks_and_leaks() -> None:
    model = PeakSelectionSheet.make(rows=128, columns=64, largest_width_neurons=14.0, recorded_units=10)
    assert isinstance(model, PathIntegrator)
    assert not isinstance(model, Trainable)
    assert not model.state_dict()
    paths = OPEN_WORLD.walk(2, 5, seed=1, speed_m_s=0.2, start_m=torch.tensor([[0.0, 0.0], [0.02, 0.01]]))
    whole = model.represent(paths)
    assert whole.rates.shape == (2, 5, 10)
    assert whole.state.shape == (2, 128, 64)
    first = model.represent(paths.chunk(0, 2))
    rest = model.represent(replace(paths.chunk(2, 5), start_m=torch.full((2, 2), 9.0)), first.state)
    torch.testing.assert_close(torch.cat((first.rates, rest.rates), 1), whole.rates, rtol=0, atol=1e-5)
    blind = replace(paths, position_m=paths.position_m + math.nan, heading_rad=paths.heading_rad + math.nan)
    assert torch.equal(model.represent(blind).rates, whole.rates)


def test_units_are_distinct_and_where_the_input_is_full(model: PeakSelectionSheet) -> None:
    assert len(set(model.units.tolist())) == 256
    row = model.units // 96
    assert row.min() >= 24
    assert row.max() < 256 - 24


def test_too_strong_and_too_weak_are_named() -> None:
    with pytest.raises(InputError, match=r"activity blows up .* lower fixed_weight"):
        PeakSelectionSheet.make(**SMALL, fixed_weight=1e4).settle()
    with pytest.raises(InputError, match=r"settles to uniform activity; raise graded_weight"):
        PeakSelectionSheet.make(**SMALL | {"fixed_weight": 0.0, "graded_weight": 0.5}).initial_state(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 255}, "rows"),
        ({"rows": 64}, "edge_neurons 24 leave less than half of rows 64"),
        ({"columns": 64}, "columns 64 hold no lattice of largest_width_neurons 20; give at least 80"),
        ({"step_ms": 3.0}, "step_ms 3 is too coarse for time_constant_ms 10; give at most 1.2"),
        ({"largest_width_neurons": 5.0}, "exchange them"),
        ({"recorded_units": 30_000}, "recorded_units 30000: the sheet has 19968"),
        ({"ring": 2}, "config key"),
    ],
)
def test_bad_config(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        PeakSelectionSheet.make(**values)
    assert "\n" not in str(caught.value)
