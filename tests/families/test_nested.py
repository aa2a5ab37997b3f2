"""Nested modules: the bound against naive sums and measured errors, where they part, spikes, and what is refused."""

import math

import pytest
import torch

from entorhinal.families.coding_theory.nested import (
    Nested,
    cramer_rao,
    decode_spikes,
    narrowest_sharpness,
    nested_periods,
)
from entorhinal.families.coding_theory.ring import ring_tuning
from entorhinal.families.errors import InputError
from entorhinal.families.model import Decoder, PathIntegrator
from entorhinal.families.world import Arena, World


def relative_error(ratio: float, modules: int, count: float, fano: float = 1.0, samples: int = 2000) -> float:
    """Measured error over the bound."""
    generator = torch.Generator().manual_seed(4)
    periods = nested_periods(1.0, ratio, modules)
    position = torch.rand(samples, generator=generator, dtype=torch.float64) - 0.5
    error = decode_spikes(position, periods, 20, 3.0, count, generator, fano).nan_to_num(nan=0.5) - position
    error = error - error.round()
    return float(error.square().mean().sqrt()) / cramer_rao(periods, 20, 3.0, count, fano)


def test_bound_is_the_sum_over_units() -> None:
    periods, units, sharpness, count = nested_periods(2.0, 1.7, 3), 16, 2.0, 4.0
    position = torch.tensor([0.123], dtype=torch.float64, requires_grad=True)
    information = 0.0
    for period in periods:
        for unit in range(units):
            rate = count * ring_tuning(position / period, units, sharpness)[0, unit]
            (slope,) = torch.autograd.grad(rate, position)
            information += float(slope.square() / rate.detach())
    assert cramer_rao(periods, units, sharpness, count) == pytest.approx(information**-0.5, rel=1e-3)
    assert cramer_rao(periods, units, sharpness, count, 4.0) == pytest.approx(2 * information**-0.5, rel=1e-3)


def test_maximum_likelihood_reaches_the_bound_with_many_spikes_and_not_with_few() -> None:
    assert relative_error(2.0, 4, 40.0) == pytest.approx(1.0, abs=0.06)
    assert relative_error(2.0, 4, 40.0, fano=2.0) == pytest.approx(1.0, abs=0.08)
    assert relative_error(2.0, 4, 0.3) > 3
    assert relative_error(6.0, 4, 2.0) > 10


def test_a_module_more_multiplies_the_bound_by_the_ratio_and_a_place_code_gains_less() -> None:
    bounds = [cramer_rao(nested_periods(1.0, 3.0, modules), 20, 3.0, 1.0) for modules in (4, 5)]
    assert bounds[0] / bounds[1] == pytest.approx(3.0, rel=0.01)
    place = [cramer_rao([1.0], units, narrowest_sharpness(units), 1.0) for units in (80, 160)]
    assert place[0] / place[1] == pytest.approx(2.0, rel=0.03)
    with pytest.raises(InputError, match="leave gaps"):
        ring_tuning(torch.zeros(1), 80, 1.01 * narrowest_sharpness(80))


def test_a_generator_draws_spikes_of_the_stated_mean_and_variance() -> None:
    walk = World(Arena.square(1.0)).walk(20, 100, seed=1)
    model = Nested.make(peak_count=3.0, fano_factor=2.0)
    clean, spikes = model.represent(walk), model.represent(walk, generator=torch.Generator().manual_seed(0))
    error = spikes.rates - clean.rates
    assert error.mean().abs() < 0.002
    assert error.square().sum() / clean.rates.sum() == pytest.approx(2.0 / 3.0, rel=0.03)
    assert torch.equal(clean.state, spikes.state)
    counts = spikes.rates * 3 / 2
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)


def test_decodes_in_the_plane_within_the_largest_cell() -> None:
    model = Nested.make()
    walk = World(Arena.square(1.0), dtype=torch.float64).walk(4, 100, seed=1)
    assert (model.decode(model.represent(walk)) - walk.position_m).abs().max() < 1e-4
    assert model.range_m == 1.6
    noisy = model.represent(walk, generator=torch.Generator().manual_seed(0))
    assert 1e-3 < (model.decode(noisy) - walk.position_m).norm(dim=-1).median() < 0.03
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Decoder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fano_factor": 0.0}, "fano_factor"),
        ({"fano_factor": -1.0}, "fano_factor"),
        ({"peak_count": 0.0}, "peak_count"),
        ({"ratio": 1.0}, "ratio"),
        ({"sharpness": 20.0}, "phases_per_axis of 11"),
        ({"largest_period_m": -1.0}, "largest_period_m"),
        ({"modules": 0}, "modules"),
    ],
)
def test_bad_config_is_one_clear_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Nested.make(**values)
    assert "\n" not in str(caught.value)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="a ratio above 1"):
        nested_periods(1.0, 0.9, 3)
    with pytest.raises(InputError, match="fano_factor 0"):
        cramer_rao([1.0], 20, 3.0, 1.0, 0.0)
    assert math.isfinite(cramer_rao([1.0], 20, 3.0, 1e-3))
