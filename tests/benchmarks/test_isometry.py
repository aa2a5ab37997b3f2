"""The task tells a code of one speed from a stretched one and from one whose speed varies."""

import math

import pytest
import torch

from entorhinal.families import make

TASK = "isometry"
IDEAL = make("controls/ideal_grid", spacing_m=(0.6,), orientation_rad=(0.1,), units_per_module=200)


def test_an_ideal_module_is_isometric_but_for_its_number_of_units(score) -> None:
    record = score(IDEAL)
    assert record.value("metric_cv") < 0.08
    assert record.value("metric_cv") == pytest.approx(record.value("null_cv"), rel=0.5)
    assert record.value("anisotropy_of_mean") < 1.02
    assert record.value("anisotropy_median") < 1.3
    # three cosines change by k √(3/4) a metre and have the modulation √(3/2); differences over 4 cm see a little less
    wave = 4 * math.pi / (math.sqrt(3) * 0.6)
    lost = math.sin(wave * 0.02) / (wave * 0.02)
    assert record.value("speed_per_m") == pytest.approx(wave * math.sqrt(0.5) * lost, rel=0.03)
    few = score("controls/ideal_grid", spacing_m=(0.6,), orientation_rad=(0.1,), units_per_module=12)
    assert few.value("metric_cv") > 2 * record.value("metric_cv")


def test_stretched_and_warped_codes_are_seen(score, grid) -> None:
    class Stretched(grid):
        def rates(self, place_m):
            return IDEAL.rates_at(place_m * place_m.new_tensor([1.0, 1.5]))

    class Warped(grid):
        def rates(self, place_m):
            return IDEAL.rates_at(place_m * (1 + place_m.norm(dim=-1, keepdim=True)))

    stretched, warped = score(Stretched.make()), score(Warped.make())
    assert stretched.value("anisotropy_of_mean") == pytest.approx(2.25, rel=0.05)
    assert stretched.value("metric_cv") < 0.1
    axis = (torch.arange(16) + 0.5) / 16 - 0.5
    radius = torch.cartesian_prod(axis, axis).norm(dim=-1)
    scale = (1 + 2 * radius).square() + (1 + radius).square()  # along the radius and across it
    assert warped.value("metric_cv") == pytest.approx(float(scale.std() / scale.mean()), rel=0.15)
    assert warped.value("metric_cv") > 2 * warped.value("null_cv")


def test_gain_and_offset_change_nothing(score, grid) -> None:
    class Louder(grid):
        def rates(self, place_m):
            return 7 * IDEAL.rates_at(place_m) + 3

    plain, louder = score(grid.make()), score(Louder.make())
    for name in ("speed_per_m", "metric_cv", "null_cv", "anisotropy_median", "anisotropy_of_mean"):
        assert louder.value(name) == pytest.approx(plain.value(name), rel=1e-3)


def test_codes_without_a_metric_have_reasons(score, grid) -> None:
    class Silent(grid):
        def rates(self, place_m):
            return torch.zeros(*place_m.shape[:-1], 5)

    class Stripes(grid):
        def rates(self, place_m):
            return IDEAL.rates_at(place_m * place_m.new_tensor([1.0, 0.0]))

    class Missing(grid):
        def rates(self, place_m):
            return torch.full((*place_m.shape[:-1], 5), math.nan)

    assert score(Silent.make()).reasons["metric_cv"] == "one code everywhere"
    assert score(Stripes.make()).reasons["anisotropy_median"] == "the code stands still along one direction"
    assert score(Missing.make()).reasons["metric_cv"] == "no finite rates"
