"""The nested readout: exact within its range, most likely phases, silent modules left out, and what it refuses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from entorhinal.families.coding_theory.nested_decoder import NestedDecoder, expected_best_ratio, module_spikes
from entorhinal.families.errors import InputError
from entorhinal.families.model import Decoder, PathIntegrator, Representation
from entorhinal.families.world import Arena, Trajectories


def rates_at(model: NestedDecoder, position_m: Tensor) -> Tensor:
    """(S, N) at positions (S, 2)."""
    still = Trajectories.from_displacements(
        position_m, torch.zeros_like(position_m)[:, None], 1.0, Arena.square(100.0, walls=False)
    )
    return model.represent(still).rates[:, 0]


def disc(radius_m: float, samples: int = 400) -> Tensor:
    random = torch.Generator().manual_seed(3)
    angle = 2 * math.pi * torch.rand(samples, generator=random, dtype=torch.float64)
    radius = radius_m * torch.rand(samples, generator=random, dtype=torch.float64).sqrt()
    return radius[:, None] * torch.stack((angle.cos(), angle.sin()), -1)


@pytest.mark.parametrize("orientation_rad", [0.0, 0.3])
def test_every_place_within_half_the_largest_period_is_decoded_as_itself(orientation_rad: float) -> None:
    model = NestedDecoder.make(orientation_rad=orientation_rad)
    assert model.range_m == pytest.approx(0.30 * 1.5**4 / 2)
    place = disc(0.999 * model.range_m)
    decoded = model.decode(Representation(rates_at(model, place)[None]))[0]
    torch.testing.assert_close(decoded, place, rtol=0, atol=1e-5)
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Decoder)


def test_beyond_the_range_a_place_is_read_as_its_copy_in_the_cell_around_the_origin() -> None:
    model = NestedDecoder.make(ratio=2.0, modules=3)  # nested lattices: all share the largest one's copies
    place = disc(0.9 * model.range_m)
    step = torch.tensor([max(model.period_m), 0.0], dtype=torch.float64)
    torch.testing.assert_close(model.position_m(model.phases(rates_at(model, place + step))), place, rtol=0, atol=1e-5)


def test_phases_are_the_most_likely_ones() -> None:
    model = NestedDecoder.make(modules=1, smallest_period_m=1.0)
    counts = module_spikes(rates_at(model, disc(0.4, 60)), 6.0, torch.Generator().manual_seed(0), 1)
    axis = torch.arange(120, dtype=torch.float64) / 120
    grid = torch.cartesian_prod(axis, axis)
    log_rates = rates_at(model, grid @ model._basis(grid)).log()
    likely = (counts @ log_rates.T).max(-1)
    found = model.phases(counts)[..., 0]
    ours = (counts * rates_at(model, found @ model._basis(found)).log()).sum(-1)
    heard = counts.sum(-1) > 0
    assert heard.sum() > 50
    assert (ours - likely.values)[heard].min() > -1e-3  # no place of a fine grid is likelier
    by_axes = super(NestedDecoder, model).phases(counts)[..., 0]
    worse = (counts * rates_at(model, by_axes @ model._basis(by_axes)).log()).sum(-1) - ours
    assert worse[heard].max() < 1e-3
    assert worse[heard].min() < -0.1


@given(st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=60)
def test_the_nearest_copy_is_the_nearest_of_many(u: float, v: float) -> None:
    model = NestedDecoder.make(orientation_rad=0.2)
    turns = torch.tensor([u, v], dtype=torch.float64)
    axis = torch.arange(-5.0, 6.0, dtype=torch.float64)
    copies = (turns + torch.cartesian_prod(axis, axis)) @ model._basis(turns)
    assert model._nearest(turns).norm() == pytest.approx(float(copies.norm(dim=-1).min()), abs=1e-12)


@pytest.mark.parametrize("module", range(5))
def test_a_silent_module_is_left_out(module: int) -> None:
    model = NestedDecoder.make()
    place = disc(0.4)
    rates = rates_at(model, place).unflatten(-1, (5, -1)).clone()
    rates[:, module] = 0
    torch.testing.assert_close(model.position_m(model.phases(rates.flatten(-2))), place, rtol=0, atol=1e-5)
    rates[:] = 0
    assert model.position_m(model.phases(rates.flatten(-2))).isnan().all()


def test_weights_are_those_of_equal_phase_noise() -> None:
    model = NestedDecoder.make(modules=3)
    phase = model.phases(rates_at(model, torch.zeros(1, 2, dtype=torch.float64)))
    weight = torch.tensor(model.period_m, dtype=torch.float64) ** -2
    for module, period in enumerate(model.period_m):
        moved = phase.clone()
        moved[:, 0, module] += 0.01
        share = model.position_m(moved)[0, 0] / (0.01 * period)
        assert float(share) == pytest.approx(float(weight[module] / weight.sum()), abs=1e-3)


def test_more_spikes_less_error() -> None:
    model, place = NestedDecoder.make(), disc(0.25)
    errors = []
    for spikes in (20.0, 80.0, 320.0):
        counts = module_spikes(rates_at(model, place), spikes, torch.Generator().manual_seed(0), 5)
        assert counts.unflatten(-1, (5, -1)).sum(-1).mean(0).numpy() == pytest.approx(spikes, rel=0.05)
        errors.append(float((model.position_m(model.phases(counts)) - place).norm(dim=-1).median()))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize("refinement", [3.0, 10.0, 1e6])
def test_expected_best_ratio_is_the_least_of_its_formula(refinement: float) -> None:
    found = minimize_scalar(
        lambda x: math.log(1 + math.log(refinement) / x) + 2 * x, bounds=(0.01, 3), method="bounded"
    )
    assert expected_best_ratio(refinement) == pytest.approx(math.exp(found.x), rel=1e-4)
    assert expected_best_ratio(1e30) == pytest.approx(math.sqrt(math.e), rel=0.01)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ratio": 1.0}, "ratio"),
        ({"modules": 0}, "modules"),
        ({"smallest_period_m": 0.0}, "smallest_period_m"),
        ({"sharpness": 20.0}, "phases_per_axis of 11"),
        ({"phases_per_axis": 2}, "phases_per_axis"),
        ({"ratios": 1.5}, "did you mean 'ratio'"),
    ],
)
def test_bad_config_is_one_clear_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        NestedDecoder.make(**values)
    assert "\n" not in str(caught.value)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="spikes_per_module is 0"):
        module_spikes(torch.ones(3, 10), 0.0, torch.Generator(), 5)
    with pytest.raises(InputError, match="refinement is 1"):
        expected_best_ratio(1.0)
