"""Following a phase, on walks whose gain, anisotropy, diffusion and slips are known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.analysis import rate_maps, scores_and_lattices
from entorhinal.analysis.integration import (
    fold_maps,
    follow_phase,
    integration_error,
    lattice_groups,
    shortest,
    variance_growth,
)
from entorhinal.analysis.lattices import aligned_basis, common_basis

EXTENT = ((-0.5, 0.5), (-0.5, 0.5))
DT_S = 0.02
SPACING_M = 0.3


def basis(spacing_m: float = SPACING_M, orientation_rad: float = 0.2) -> Tensor:
    angle = orientation_rad + torch.tensor([0, math.pi / 3], dtype=torch.float64)
    return spacing_m * torch.stack((angle.cos(), angle.sin()), -1)


def walk(batch: int, steps: int, seed: int, speed_m: float = 0.015) -> Tensor:
    """Steps (B, T, 2) of walks with slowly turning headings, in the open."""
    generator = torch.Generator().manual_seed(seed)
    turn = 0.3 * torch.randn(batch, steps, generator=generator, dtype=torch.float64)
    heading = turn.cumsum(1) + 2 * math.pi * torch.rand(batch, 1, generator=generator, dtype=torch.float64)
    return speed_m * torch.stack((heading.cos(), heading.sin()), -1)


@pytest.fixture(scope="module")
def module(rates_of):
    """Rates at any place of 40 units of one module, and its folded maps."""
    generator = torch.Generator().manual_seed(0)
    phase_m = torch.rand(40, 2, generator=generator, dtype=torch.float64) @ basis()
    spacing = torch.full((40,), SPACING_M, dtype=torch.float64)
    tuning = lambda x: rates_of(x, spacing, torch.full_like(spacing, 0.2), phase_m, "cosines")  # noqa: E731
    seen = torch.rand(40_000, 2, generator=generator, dtype=torch.float64) - 0.5
    return tuning, fold_maps(rate_maps(tuning(seen), seen, EXTENT, bins=40), basis()), phase_m


def test_folded_maps_are_the_tuning_in_the_cell(module) -> None:
    tuning, cell, phase_m = module
    axis = torch.arange(24, dtype=torch.float64) / 24
    exact = tuning(torch.cartesian_prod(axis, axis) @ basis()).T.reshape(-1, 24, 24)
    assert cell.explained.min() > 0.98
    assert (cell.values - exact).abs().max() < 0.06, "bins of 2.5 cm blur a little"
    off = cell.phase - phase_m @ torch.linalg.inv(basis())
    assert (off - off.round()).abs().max() < 0.01


def test_maps_of_another_lattice_are_not_explained(rates_of) -> None:
    generator = torch.Generator().manual_seed(1)
    seen = torch.rand(40_000, 2, generator=generator, dtype=torch.float64) - 0.5
    phase_m, spacing = torch.rand(10, 2, generator=generator, dtype=torch.float64), torch.full((10,), 0.43).double()
    rates = rates_of(seen, spacing, torch.full_like(spacing, 0.55), phase_m, "cosines")
    assert fold_maps(rate_maps(rates, seen, EXTENT, bins=40), basis()).explained.max() < 0.35
    flat = torch.cat((rates, torch.ones(len(rates), 1, dtype=rates.dtype)), 1)
    assert fold_maps(rate_maps(flat, seen, EXTENT, bins=40), basis()).explained[-1].isnan()


def test_a_true_path_is_followed_across_many_cells(module) -> None:
    tuning, cell, _ = module
    steps = walk(4, 1500, 2)
    position = steps.cumsum(1)
    path = follow_phase(tuning(position), cell)
    found = integration_error(path.path_m, steps, basis_m=basis(), dt_s=DT_S)
    assert position.norm(dim=-1).max() > 3 * SPACING_M
    assert found.error_m.max() < 0.01
    assert found.error_spacings.max() == pytest.approx(float(found.error_m.max()) / SPACING_M)
    assert found.slips.sum() == 0
    assert found.mean_gain == pytest.approx(1, abs=5e-3)
    assert found.anisotropy == pytest.approx(1, abs=5e-3)
    assert path.match.min() > 0.98


def test_gain_anisotropy_and_rotation_are_recovered_and_calibrated_away(module) -> None:
    tuning, cell, _ = module
    turn = torch.tensor([[math.cos(0.1), -math.sin(0.1)], [math.sin(0.1), math.cos(0.1)]], dtype=torch.float64)
    gain = turn @ torch.diag(torch.tensor([0.9, 0.75], dtype=torch.float64))
    calibration, test = (walk(4, 1500, seed) for seed in (3, 4))
    paths = [follow_phase(tuning((steps @ gain.T).cumsum(1)), cell).path_m for steps in (calibration, test)]
    first = integration_error(paths[0], calibration, basis_m=basis(), dt_s=DT_S)
    torch.testing.assert_close(first.gain, gain, atol=5e-3, rtol=0)
    assert first.mean_gain == pytest.approx(math.sqrt(0.9 * 0.75), abs=5e-3)
    assert first.anisotropy == pytest.approx(0.9 / 0.75, abs=0.01)
    assert first.rotation_rad == pytest.approx(0.1, abs=5e-3)
    raw = integration_error(paths[1], test, basis_m=basis(), dt_s=DT_S)
    calibrated = integration_error(paths[1], test, basis_m=basis(), dt_s=DT_S, gain=first.gain)
    assert raw.error_m.median() > 0.05
    assert calibrated.error_m.median() < 0.02
    torch.testing.assert_close(calibrated.gain, torch.eye(2, dtype=torch.float64), atol=5e-3, rtol=0)


def test_diffusion_is_recovered_within_its_statistical_interval(module) -> None:
    """A phase that diffuses beside the path: 2 D of each axis, by time and by distance, through the decoder."""
    tuning, cell, _ = module
    steps, growth = walk(48, 1500, 5), 4e-5  # m²/s
    noise = torch.randn(steps.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    path = follow_phase(tuning((steps + math.sqrt(growth * DT_S) * noise).cumsum(1)), cell)
    found = integration_error(path.path_m, steps, basis_m=basis(), dt_s=DT_S)
    speed_m_s = 0.015 / DT_S
    for measured, planted in ((found.variance_m2_s, growth), (found.variance_m2_m, growth / speed_m_s)):
        standard_error = float(measured.std()) / math.sqrt(len(measured))
        assert standard_error < 0.1 * planted
        assert abs(float(measured.mean()) - planted) < 2.5 * standard_error


def test_variance_growth_ignores_errors_made_anew_and_covers_as_it_says() -> None:
    """Of many experiments of 20 walks, about 95 % have an interval (t) that holds the planted growth."""
    generator = torch.Generator().manual_seed(7)
    steps = torch.randn(100 * 20, 600, 2, generator=generator, dtype=torch.float64)
    blur = torch.randn(steps.shape, generator=generator, dtype=torch.float64)
    time_s = (DT_S * torch.arange(600, dtype=torch.float64)).expand(2000, -1)
    growth = variance_growth(math.sqrt(3e-4 * DT_S) * steps.cumsum(1) + 0.01 * blur, time_s).reshape(100, 20)
    assert float(growth.mean()) == pytest.approx(3e-4, rel=0.05)
    half = 2.093 * growth.std(1) / math.sqrt(20)
    assert 0.87 <= ((growth.mean(1) - 3e-4).abs() < half).double().mean() <= 1


def test_slips_are_counted_one_by_one(module) -> None:
    tuning, cell, _ = module
    steps = walk(3, 2000, 8)
    planted = torch.zeros_like(steps)
    slip = basis()[0] / 8  # a whole spacing within eight samples
    for trial, starts in enumerate(((), (500,), (300, 900, 1500))):
        for start in starts:
            planted[trial, start : start + 8] = slip
    found = integration_error(
        follow_phase(tuning((steps + planted).cumsum(1)), cell).path_m, steps, basis_m=basis(), dt_s=DT_S
    )
    assert found.slips.tolist() == [0, 1, 3]
    assert found.slips_per_m == pytest.approx(4 / (3 * 30), rel=1e-6)
    ends = found.error_spacings[:, -1]
    torch.testing.assert_close(ends, torch.tensor([0.0, 1, 3]).double(), atol=0.05, rtol=0)


def test_a_code_that_stands_still_has_no_gain(module) -> None:
    tuning, cell, _ = module
    steps = walk(3, 1000, 9)
    still = tuning(torch.zeros_like(steps) + 0.1)
    found = integration_error(follow_phase(still, cell).path_m, steps, basis_m=basis(), dt_s=DT_S)
    true = steps.cumsum(1) - steps[:, :1]
    torch.testing.assert_close(found.error_m, true.norm(dim=-1))
    assert found.mean_gain == pytest.approx(0, abs=1e-9)


def test_noise_is_not_followed(module) -> None:
    _, cell, _ = module
    steps = walk(3, 1000, 10)
    noise = torch.rand(3, 1000, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = integration_error(follow_phase(noise, cell).path_m, steps, basis_m=basis(), dt_s=DT_S)
    assert found.slips_per_m > 1
    assert abs(found.mean_gain) < 0.5 or math.isnan(found.mean_gain)


def test_steps_beyond_half_a_spacing_need_the_guide(module) -> None:
    tuning, cell, _ = module
    generator = torch.Generator().manual_seed(11)
    steps = 0.3 * (torch.rand(4, 600, 2, generator=generator, dtype=torch.float64) - 0.5) * 2
    position = steps.cumsum(1)
    rates = tuning(0.97 * position)
    blind, led = (
        integration_error(follow_phase(rates, cell, guide_m=guide).path_m, steps, basis_m=basis(), dt_s=DT_S)
        for guide in (None, position)
    )
    assert blind.error_spacings[:, -1].mean() > 2
    assert led.mean_gain == pytest.approx(0.97, abs=0.01)
    assert led.slips.sum() == 0


def test_the_guide_changes_nothing_for_small_steps(module) -> None:
    tuning, cell, _ = module
    position = walk(2, 500, 12).cumsum(1)
    blind, led = (follow_phase(tuning(0.8 * position), cell, guide_m=guide).path_m for guide in (None, position))
    torch.testing.assert_close(blind, led)


def test_gaps_are_bridged_and_stay_empty(module) -> None:
    tuning, cell, _ = module
    steps = walk(2, 600, 13)
    rates = tuning(steps.cumsum(1))
    rates[0, :3] = math.nan
    rates[1, 100:103, 5] = math.nan
    path = follow_phase(rates, cell)
    assert path.path_m[0, :3].isnan().all()
    assert path.path_m[1, 100:103].isnan().all()
    whole = follow_phase(tuning(steps.cumsum(1)), cell).path_m
    torch.testing.assert_close(path.path_m[1, 103:], whole[1, 103:])
    torch.testing.assert_close(path.path_m[0, 3:], whole[0, 3:] - whole[0, 3])


@settings(max_examples=20)
@given(gain=st.floats(0.1, 10), offset=st.floats(-5, 5), seed=st.integers(0, 1000))
def test_units_order_gain_and_offset_do_not_matter(module, gain, offset, seed) -> None:
    tuning, _, _ = module
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    seen = torch.rand(5000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    position = walk(1, 60, seed).cumsum(1)
    paths = []
    for change in (lambda r: r, lambda r: gain * r[..., order] + offset):
        folded = fold_maps(rate_maps(change(tuning(seen)), seen, EXTENT, bins=25), basis())
        paths.append(follow_phase(change(tuning(position)), folded).path_m)
    torch.testing.assert_close(paths[0], paths[1], atol=1e-6, rtol=0)


@settings(max_examples=50)
@given(st.floats(-4, 4), st.floats(-4, 4), st.floats(0.2, 1.0), st.floats(0, math.pi / 3))
def test_the_shortest_way_is_the_shortest_of_all_images(u, v, spacing_m, orientation_rad) -> None:
    lattice = basis(spacing_m, orientation_rad)
    cycles = torch.tensor([u, v], dtype=torch.float64)
    found = shortest(cycles, lattice)
    images = cycles + torch.cartesian_prod(*[torch.arange(-6.0, 7.0, dtype=torch.float64)] * 2)
    assert float((found @ lattice).norm()) == pytest.approx(float((images @ lattice).norm(dim=-1).min()), abs=1e-9)
    assert ((found - cycles) - (found - cycles).round()).abs().max() < 1e-9


def test_lattices_are_named_alike() -> None:
    reference = basis(0.3, 0.02)
    turned = basis(0.42, 0.02 - 0.04 + math.pi / 3)  # its first axis is 60 degrees further
    found = aligned_basis(torch.stack((turned, reference)), reference)
    torch.testing.assert_close(found[1], reference)
    torch.testing.assert_close(found[0], basis(0.42, -0.02))


@settings(max_examples=30)
@given(seed=st.integers(0, 999), turn=st.floats(0, math.pi / 3), count=st.integers(2, 9))
def test_a_common_basis_is_the_median_whatever_the_names_of_the_axes(seed, turn, count) -> None:
    generator = torch.Generator().manual_seed(seed)
    known = basis(0.4, turn)
    own = known + 0.01 * torch.randn(count, 2, 2, generator=generator, dtype=torch.float64)
    one, two = own.unbind(1)
    around = torch.stack([one, two, two - one, -one, -two, one - two], 1)
    name = torch.randint(6, (count,), generator=generator)
    units = torch.arange(count)
    renamed = torch.stack([around[units, name], around[units, (name + 1) % 6]], 1)
    torch.testing.assert_close(common_basis(renamed, known), own.quantile(0.5, dim=0))
    torch.testing.assert_close(common_basis(renamed, known, middle="lower"), own.median(0).values)


def test_bad_input_is_named(module) -> None:
    tuning, cell, _ = module
    maps = rate_maps(tuning(torch.rand(2000, 2).double() - 0.5), torch.rand(2000, 2) - 0.5, EXTENT, bins=20)
    with pytest.raises(ValueError, match="give two lattice vectors"):
        fold_maps(maps, torch.zeros(2, 2))
    few = torch.full((30, 2), 0.01)
    with pytest.raises(ValueError, match="1 complete bins for 25 waves"):
        fold_maps(rate_maps(tuning(few.double()), few, EXTENT, bins=20), basis())
    with pytest.raises(ValueError, match="3 units and cell 40"):
        follow_phase(torch.zeros(1, 2, 3), cell)
    with pytest.raises(ValueError, match="guide_m is"):
        follow_phase(torch.zeros(1, 2, 40), cell, guide_m=torch.zeros(1, 3, 2))
    with pytest.raises(ValueError, match="four windows"):
        integration_error(torch.zeros(1, 20, 2), torch.zeros(1, 20, 2), basis_m=basis(), dt_s=DT_S)
    with pytest.raises(ValueError, match="invertible"):
        integration_error(
            torch.zeros(1, 400, 2), torch.zeros(1, 400, 2), basis_m=basis(), dt_s=DT_S, gain=torch.zeros(2, 2)
        )
    with pytest.raises(ValueError, match="8 times the shortest lag"):
        variance_growth(torch.zeros(1, 6, 2), torch.zeros(1, 6))


def test_groups_are_the_lattices_that_were_put_in(rates_of) -> None:
    generator = torch.Generator().manual_seed(20)
    seen = torch.rand(40_000, 2, generator=generator, dtype=torch.float64) - 0.5
    spacing = torch.tensor([0.3] * 12 + [0.42] * 20).double()
    angle = torch.tensor([0.01] * 12 + [0.6] * 20).double()
    rates = rates_of(seen, spacing, angle, torch.rand(32, 2, generator=generator, dtype=torch.float64), "cosines")
    maps = rate_maps(
        torch.cat((rates, torch.rand(len(rates), 30, generator=generator).double()), 1), seen, EXTENT, bins=40
    )
    scores, found = scores_and_lattices(maps.values, maps.bin_m)
    groups = lattice_groups(found, scores)
    assert [units.tolist() for units, _ in groups] == [list(range(12, 32)), list(range(12))]
    for (_, measured), planted in zip(groups, (basis(0.42, 0.6), basis(0.3, 0.01)), strict=True):
        torch.testing.assert_close(aligned_basis(measured[None], planted)[0], planted, atol=0.006, rtol=0)
    noise = torch.rand(64, 40, 40, generator=generator, dtype=torch.float64)
    scores, found = scores_and_lattices(noise, 0.025)
    assert lattice_groups(found, scores) == []
    with pytest.raises(ValueError, match="give the same units"):
        lattice_groups(found, scores[:3])
