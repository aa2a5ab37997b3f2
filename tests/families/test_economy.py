"""The economy of grid scales: closed forms against searches, the posterior against brute force."""

import math

import numpy as np
import pytest
import torch

from entorhinal.families.coding_theory.economy import (
    Economy,
    Lattice,
    posterior_width,
    probabilistic_cost,
    probabilistic_optimum,
    refinement,
    winner_take_all_cost,
    winner_take_all_optimum,
    winner_take_all_ratio,
)
from entorhinal.families.coding_theory.phase_modules import field_sharpness
from entorhinal.families.errors import InputError
from entorhinal.families.model import PathIntegrator
from entorhinal.families.world import Arena, Trajectories


@pytest.mark.parametrize(("dimensions", "wanted"), [(1, math.e), (2, math.sqrt(math.e)), (3, math.e ** (1 / 3))])
def test_winner_take_all_in_closed_form_by_search_and_on_a_grid(dimensions: int, wanted: float) -> None:
    assert winner_take_all_ratio(dimensions) == pytest.approx(wanted)
    assert winner_take_all_optimum(dimensions).ratio == pytest.approx(wanted, rel=1e-6)
    ratios = np.linspace(1.05, 4, 30_000)
    best = ratios[np.argmin([winner_take_all_cost(float(r), dimensions) for r in ratios])]
    assert best == pytest.approx(wanted, abs=2e-4)


@pytest.mark.parametrize(
    ("lattice", "ratio", "period_per_width"),
    [("line", 2.283, 9.03), ("triangular", 1.433, 5.18), ("square", 1.409, 4.82)],
)
def test_probabilistic_optimum(lattice: Lattice, ratio: float, period_per_width: float) -> None:
    best = probabilistic_optimum(lattice)
    assert best.ratio == pytest.approx(ratio, abs=5e-4)
    assert best.period_per_width == pytest.approx(period_per_width, abs=5e-3)


@pytest.mark.parametrize("lattice", ["line", "triangular", "square"])
def test_probabilistic_optimum_is_the_best_of_a_grid_in_period_and_width(lattice: Lattice) -> None:
    best = probabilistic_optimum(lattice)
    widths, periods = np.linspace(3.5, 12, 18), np.linspace(2, 8, 40)
    dimensions = 1 if lattice == "line" else 2
    cell = math.sqrt(3) / 2 if lattice == "triangular" else 1
    costs = [
        cell * q**dimensions / -math.log(min(posterior_width(float(p), float(q), lattice) for p in periods))
        for q in widths
    ]
    assert min(costs) == pytest.approx(best.cost, rel=0.01)
    assert min(costs) >= best.cost
    assert widths[int(np.argmin(costs))] == pytest.approx(best.period_per_width, abs=0.5)
    assert probabilistic_cost(best.period_per_width, lattice) == pytest.approx(best.cost)


@pytest.mark.parametrize(("period", "period_per_width"), [(4.0, 9.0), (2.0, 5.0), (1.0, 4.0), (8.0, 6.0)])
def test_posterior_width_against_numerical_integration(period: float, period_per_width: float) -> None:
    width = period / period_per_width
    axis = np.linspace(-9, 9, 1201)
    x, y = np.meshgrid(axis, axis)
    prior = np.exp(-(x**2 + y**2) / 2)
    for lattice, a2 in (("triangular", (0.5, math.sqrt(3) / 2)), ("square", (0.0, 1.0))):
        # each position feels only the nearest peaks, so peaks are summed over the window and a margin
        likelihood = np.zeros_like(x)
        reach = math.ceil(12 / period) + 1
        a = np.array([[1.0, 0.0], a2]) * period
        if lattice == "square":
            line = sum(np.exp(-((axis - k * period) ** 2) / (2 * width**2)) for k in range(-reach, reach + 1))
            likelihood = np.outer(line, line)
        else:
            for j in range(-2 * reach, 2 * reach + 1):
                row = np.exp(-((axis - j * a[1, 1]) ** 2) / (2 * width**2))
                shift = j * a[1, 0] % period
                along = sum(
                    np.exp(-((axis - shift - k * period) ** 2) / (2 * width**2)) for k in range(-reach - 1, reach + 1)
                )
                likelihood += np.outer(row, along)
        posterior = prior * likelihood
        wanted = math.sqrt((posterior * (x**2 + y**2)).sum() / posterior.sum() / 2)
        assert posterior_width(period, period_per_width, lattice) == pytest.approx(wanted, rel=1e-5)  # type: ignore[arg-type]
    line_posterior = np.exp(-(axis**2) / 2) * line
    wanted = math.sqrt((line_posterior * axis**2).sum() / line_posterior.sum())
    assert posterior_width(period, period_per_width, "line") == pytest.approx(wanted, rel=1e-5)


def test_limits_of_the_posterior() -> None:
    assert posterior_width(0.3, 3.0, "line") == pytest.approx(
        1, abs=0.01
    )  # fine fields alone leave the prior as it was
    width = 40 / 10
    alone = width / math.sqrt(1 + width**2)  # only the central peak is in reach
    assert posterior_width(40.0, 10.0, "triangular") == pytest.approx(alone, rel=1e-9)


def test_a_separable_posterior_refines_each_axis_as_a_line_does() -> None:
    assert refinement(6.0, "square") == pytest.approx(refinement(6.0, "line"), rel=1e-6)


def test_refinement_grows_with_sharper_peaks() -> None:
    gains = [refinement(q, "triangular")[0] for q in (3.0, 5.0, 8.0, 15.0)]
    assert gains == sorted(gains)
    assert gains[0] > 1


def test_a_ratio_of_one_is_refused() -> None:
    with pytest.raises(InputError, match="above 1"):
        winner_take_all_cost(1.0, 2)


@pytest.mark.parametrize(
    ("readout", "ratio", "width"), [("probabilistic", 1.43299, 1 / 5.18419), ("winner-take-all", 1.64872, 1 / 6.59489)]
)
def test_the_population_is_what_the_optimum_prescribes(readout: str, ratio: float, width: float) -> None:
    model = Economy.make(readout=readout, modules=4)
    assert np.allclose(np.divide(model.period_m[1:], model.period_m[:-1]), ratio, rtol=1e-5)
    assert model.period_m[0] == 0.30
    assert model.config.field_width == pytest.approx(width, rel=1e-5)
    neurons = 20 * math.sqrt(3) / 2 / (4 * width) ** 2  # d c (λ/l)²
    assert (model.phases_per_axis - 1) ** 2 < neurons <= model.phases_per_axis**2
    assert isinstance(model, PathIntegrator)


@pytest.mark.parametrize("readout", ["probabilistic", "winner-take-all"])
def test_fields_are_as_wide_as_prescribed_and_repeat_with_the_period(readout: str) -> None:
    model = Economy.make(readout=readout, modules=1, smallest_period_m=1.0)
    offset = torch.tensor([[0.0, 0.0], [0.02, 0.0], [0.0, 0.02], [1.0, 0.0], [0.5, math.sqrt(3) / 2]]).double()
    still = Trajectories.from_displacements(
        offset, torch.zeros_like(offset)[:, None], 1.0, Arena.square(10.0, walls=False)
    )
    rates = model.represent(still).rates[:, 0, 0]
    width = (0.02**2 / (-2 * rates[1:3].log())).sqrt()
    assert width.numpy() == pytest.approx(model.config.field_width, rel=0.01)
    assert rates[[0, 3, 4]].numpy() == pytest.approx(1.0)


def test_field_sharpness_is_that_of_a_gaussian_at_the_peak() -> None:
    assert field_sharpness(math.sqrt(2) / (4 * math.pi / math.sqrt(3))) == pytest.approx(1)
    assert field_sharpness(0.1) == pytest.approx(4 * field_sharpness(0.2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"coverage": 4.0}, "raise coverage"),
        ({"coverage": 0.0}, "coverage"),
        ({"modules": 0}, "modules"),
        ({"smallest_period_m": -0.3}, "smallest_period_m"),
        ({"readout": "loser"}, "readout"),
    ],
)
def test_bad_config_is_one_clear_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Economy.make(**values)
    assert "\n" not in str(caught.value)
