"""The metric of a code, on maps whose metric is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.analysis import smooth_maps
from entorhinal.analysis.isometry import isometry, metric_tensor, metric_tensor_of_maps

BIN_M, SIDE = 0.02, 50


def places(side: int = SIDE, bin_m: float = BIN_M) -> Tensor:
    axis = bin_m * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)


def module(place_m: Tensor, units: int, spacing_m: float = 0.5, seed: int | None = None) -> Tensor:
    """Maps (units, H, W) of a hexagonal module, phases on a lattice of the unit cell, or at random with a seed."""
    turn = 0.2 + torch.arange(3, dtype=torch.float64) * math.pi / 3
    wave = 4 * math.pi / (math.sqrt(3) * spacing_m) * torch.stack((turn.cos(), turn.sin()))
    wave[:, 1] = wave[:, 0] + wave[:, 2]  # exactly closed
    side = math.isqrt(units)
    axis = torch.arange(side, dtype=torch.float64) / side
    phase = torch.cartesian_prod(axis, axis)
    if seed is not None:
        phase = torch.rand(units, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shift = 2 * math.pi * torch.stack((phase[:, 0], phase.sum(1), phase[:, 1]), -1)  # waves 0, 0 + 2 and 2
    return (place_m @ wave)[None].sub(shift[:, None, None]).cos().sum(-1)


def test_the_metric_of_a_linear_map_is_exact() -> None:
    slope = torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]], dtype=torch.float64)
    maps = torch.einsum("hwd,nd->nhw", places(), slope)
    found = metric_tensor_of_maps(maps, BIN_M)
    torch.testing.assert_close(found[1:-1, 1:-1], (slope.T @ slope).expand(SIDE - 2, SIDE - 2, 2, 2))
    torch.testing.assert_close(metric_tensor(slope), slope.T @ slope)
    assert found[0].isnan().all()
    assert found[:, -1].isnan().all()
    report = isometry(found)
    assert report.cv == pytest.approx(0, abs=1e-9)
    assert report.mean == pytest.approx(float(slope.square().sum() / 2))
    assert report.places == (SIDE - 2) ** 2


def test_a_hexagonal_module_with_uniform_phases_is_isometric() -> None:
    """Its scale is (3/4) k² for each unit, less the central difference's (sin kb / kb)²: to a per cent."""
    units = 36
    found = isometry(metric_tensor_of_maps(module(places(), units), BIN_M))
    assert found.cv < 1e-9
    assert found.anisotropy_median == pytest.approx(1, abs=1e-2)
    wave = 4 * math.pi / (math.sqrt(3) * 0.5)
    lost = (math.sin(wave * BIN_M) / (wave * BIN_M)) ** 2
    assert found.mean == pytest.approx(0.75 * units * wave**2 * lost, rel=0.01)


def test_random_phases_approach_isometry_as_units_grow() -> None:
    few, many = (
        sum(isometry(metric_tensor_of_maps(module(places(), units, seed=s), BIN_M)).cv for s in range(4)) / 4
        for units in (25, 400)
    )
    assert few > 0.05
    assert many == pytest.approx(few / 4, rel=0.4)


def test_a_stretched_map_has_the_square_of_its_stretch() -> None:
    stretched = places() / torch.tensor([1.0, 1.5])
    found = isometry(metric_tensor_of_maps(module(stretched, 36), BIN_M))
    assert found.anisotropy_of_mean == pytest.approx(1.5**2, rel=0.02)
    assert found.anisotropy_median == pytest.approx(1.5**2, rel=0.02)


def test_a_warped_map_is_not_isometric() -> None:
    """Space squeezed towards one side: the scale varies, and no tensor is round."""
    place = places()
    warped = torch.stack((place[..., 0] * (1 + place[..., 0]), place[..., 1]), -1)
    found = isometry(metric_tensor_of_maps(module(warped, 36), BIN_M))
    assert found.cv > 0.3
    assert found.anisotropy_median > 1.2


def test_smoothing_lowers_the_scale_as_stated() -> None:
    maps = module(places(80), 36)
    middle = slice(25, 55)  # away from the border
    plain, smooth = (
        isometry(metric_tensor_of_maps(values, BIN_M)[middle, middle]).mean
        for values in (maps, smooth_maps(maps, 0.03 / BIN_M))
    )
    wave = 4 * math.pi / (math.sqrt(3) * 0.5)
    assert smooth / plain == pytest.approx(math.exp(-((wave * 0.03) ** 2)), rel=0.03)


@settings(max_examples=15)
@given(st.floats(0.01, 100), st.floats(-5, 5), st.integers(0, 99))
def test_gain_squares_and_offsets_and_order_do_nothing(gain, offset, seed) -> None:
    maps = module(places(20), 9, seed=1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    plain = isometry(metric_tensor_of_maps(maps, BIN_M))
    other = isometry(metric_tensor_of_maps(gain * maps[order] + offset, BIN_M))
    assert other.mean == pytest.approx(gain**2 * plain.mean, rel=1e-6)
    for name in ("cv", "anisotropy_median", "anisotropy_of_mean"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name), rel=1e-6)


@settings(max_examples=15)
@given(st.floats(0, 6))
def test_rotation_changes_no_number(turn) -> None:
    jacobian = torch.randn(30, 8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64)
    plain, other = isometry(metric_tensor(jacobian)), isometry(metric_tensor(jacobian @ rotation))
    for name in ("mean", "cv", "anisotropy_median", "anisotropy_of_mean"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name), rel=1e-9)


def test_missing_bins_and_codes_that_stand_still() -> None:
    maps = module(places(20), 36)
    maps[3, 10, 10] = math.nan
    found = metric_tensor_of_maps(maps, BIN_M)
    missing = found.isnan().all(-1).all(-1)[1:-1, 1:-1]
    assert int(missing.sum()) == 4, "the four neighbours; the bin itself has all of its own"
    assert isometry(found).cv < 1e-9
    stripes = module(places(20), 9)[:, :1].expand(-1, 20, -1)  # the same along y
    still = isometry(metric_tensor_of_maps(stripes, BIN_M))
    assert math.isinf(still.anisotropy_median)
    nothing = isometry(torch.zeros(5, 2, 2))
    assert math.isnan(nothing.cv)
    assert math.isnan(nothing.anisotropy_median)
    assert isometry(torch.full((5, 2, 2), math.nan)).places == 0
    assert metric_tensor_of_maps(torch.ones(3, 2, 9), BIN_M).isnan().all()


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="bin_m is 0"):
        metric_tensor_of_maps(torch.ones(1, 5, 5), 0)
    with pytest.raises(ValueError, match="metric has shape"):
        isometry(torch.ones(4, 2, 3))
