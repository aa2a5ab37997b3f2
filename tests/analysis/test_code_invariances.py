"""What every measure of codes, paths and states keeps, and how it changes, whatever the population."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.analysis import (
    capacity_bits,
    code_distances,
    code_separation,
    decodable_places,
    decode_phases,
    gaussian_information,
    half_rise_m,
    independence,
    integration_error,
    isometry,
    joint_range_m,
    lattices,
    manifold_distance,
    metric_tensor_of_maps,
    modulation,
    pair_stability,
    path_coherence,
    phase_agreement,
    phase_uniformity,
    poisson_information,
    radial_curves,
    relaxation,
    resolution_m,
    rest_drift,
    tolerance,
    with_noise,
)
from entorhinal.analysis import topology as parts
from entorhinal.analysis.integration import variance_growth
from entorhinal.analysis.modules import _described
from entorhinal.benchmarks.synthetic import grids, torus_states

SEEDS = st.integers(0, 999)
GAINS = st.floats(1e-3, 1e3)
OFFSETS = st.floats(-100, 100)
TURNS = st.floats(0, 6)
SCALES = st.floats(0.1, 10)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def order_of(seed: int, count: int) -> Tensor:
    return torch.randperm(count, generator=generator(seed))


def rotation(angle: float) -> Tensor:
    """Turns rows (x, y) counter-clockwise."""
    return torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64)


def close(found: Tensor | float, expected: Tensor | float, error: float = 1e-7) -> None:
    one, other = (torch.as_tensor(x, dtype=torch.float64) for x in (found, expected))
    torch.testing.assert_close(one, other, rtol=error, atol=error, equal_nan=True)


# capacity


@settings(max_examples=15)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS, turn=TURNS, scale=SCALES)
def test_ranges_follow_space_and_distances_the_gain(seed, gain, offset, turn, scale) -> None:
    codes, place_m = draw(seed, 150, 6), draw(seed + 1, 150, 2)
    codes[3, 2] = torch.nan
    changed = gain * codes[:, order_of(seed, 6)] + offset
    distance, other = (code_distances(each[:2], each) for each in (codes, changed))
    assert distance[:, 3].isnan().all()
    close(other / gain, distance, 1e-6 * max(1, abs(offset) / gain))
    moved_m = scale * place_m @ rotation(turn)
    # the ratio of distances does not see the gain, lengths do not see the rates
    one = code_separation(distance, place_m, least_m=0.5, most_m=3)
    two = code_separation(gain * distance, moved_m, least_m=0.5 * scale, most_m=3 * scale)
    close(two.ratio, one.ratio)
    close(two.median, gain * one.median)
    close(two.nearest_m, scale * one.nearest_m @ rotation(turn))
    curves = radial_curves(distance, place_m, 0.313, most_m=3)
    grown = radial_curves(gain * distance, moved_m, 0.313 * scale, most_m=3 * scale)
    close(half_rise_m(grown, gain * one.median), scale * half_rise_m(curves, one.median))
    close(joint_range_m(grown, gain * 2), scale * joint_range_m(curves, 2))
    close(capacity_bits(scale * 7.0, scale * 0.3), capacity_bits(7.0, 0.3))


@settings(max_examples=15)
@given(seed=SEEDS, gain=GAINS, turn=TURNS, scale=SCALES)
def test_information_keeps_under_the_order_of_units_and_turns_with_space(seed, gain, turn, scale) -> None:
    jacobian, rates = draw(seed, 5, 8, 2), draw(seed + 1, 5, 8).square()
    order, turned = order_of(seed, 8), rotation(turn)
    for plain, other in (
        (gaussian_information(jacobian, 0.2), gaussian_information(gain * jacobian[:, order], gain * 0.2)),
        (poisson_information(jacobian, rates), poisson_information(jacobian[:, order], rates[:, order])),
        # rates and slopes that grow alike count as so many seconds
        (poisson_information(jacobian, rates, gain), poisson_information(gain * jacobian, gain * rates)),
    ):
        close(other, plain)
    plain = resolution_m(gaussian_information(jacobian, 0.2))
    close(resolution_m(gaussian_information(jacobian @ turned / scale, 0.2)), scale * plain)
    jacobian[2, 3, 0] = torch.nan
    assert resolution_m(gaussian_information(jacobian, 0.2)).isnan().tolist() == [False, False, True, False, False]


@settings(max_examples=15)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS)
def test_decodable_places_and_coherence_ignore_gain_offset_and_order(seed, gain, offset) -> None:
    codes = draw(seed, 40, 5)
    plain = decodable_places(codes, 0.3, generator=generator(0), draws=200)
    other = decodable_places(gain * codes + offset, gain * 0.3, generator=generator(0), draws=200)
    close(other.places, plain.places, 1e-5)
    holed = torch.cat((codes, torch.full((3, 5), torch.nan, dtype=torch.float64)))
    close(decodable_places(holed, 0.3, generator=generator(0), draws=200).places, plain.places)
    dealt = decodable_places(codes[:, order_of(seed, 5)], 0.3, generator=generator(0), draws=4000)
    assert dealt.places == pytest.approx(
        decodable_places(codes, 0.3, generator=generator(0), draws=4000).places, rel=0.1
    )
    paths = codes + 0.5 * draw(seed + 1, 3, 40, 5)
    close(path_coherence(gain * paths[:, :, order_of(seed, 5)] + offset), path_coherence(paths), 1e-5)
    close(path_coherence(paths[order_of(seed, 3)][:, order_of(seed, 40)]), path_coherence(paths))
    gone = paths.clone()
    gone[1, 7, 2] = torch.nan
    close(path_coherence(gone), path_coherence(torch.cat((paths[:, :7], paths[:, 8:]), 1)))


# isometry


@settings(max_examples=15)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS, scale=SCALES)
def test_isometry_of_maps_follows_space_and_leaves_holes_out(seed, gain, offset, scale) -> None:
    maps = draw(seed, 6, 9, 11)
    maps[2, 4, 5] = torch.nan
    plain = isometry(metric_tensor_of_maps(maps, 0.05))
    assert plain.places == 7 * 9 - 4
    changed = gain * maps[order_of(seed, 6)] + offset
    for other, factor in (
        (isometry(metric_tensor_of_maps(changed, 0.05 * scale)), (gain / scale) ** 2),
        (isometry(metric_tensor_of_maps(maps.rot90(1, (1, 2)), 0.05)), 1),
        (isometry(metric_tensor_of_maps(maps.flip(2), 0.05)), 1),
    ):
        assert other.places == plain.places
        close(other.mean / factor, plain.mean, 1e-5)
        for name in ("cv", "anisotropy_median", "anisotropy_of_mean"):
            close(getattr(other, name), getattr(plain, name), 1e-4)


# robustness


@settings(max_examples=15)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS)
def test_noise_and_modulation_follow_the_gain(seed, gain, offset) -> None:
    rates = draw(seed, 30, 4)
    rates[5, 1] = torch.nan
    changed, order = gain * rates + offset, order_of(seed, 4)
    close(modulation(changed), gain * modulation(rates), 1e-6 * max(1, gain))
    close(modulation(rates[order_of(seed, 30)][:, order]), modulation(rates)[order])
    noisy, other = (
        with_noise(each, size * modulation(rates), generator=generator(seed))
        for each, size in ((rates, 0.3), (changed, gain * 0.3))
    )
    close(other, gain * noisy + offset, 1e-6 * max(1, gain))


@settings(max_examples=30)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS, scale=SCALES)
def test_tolerance_follows_its_levels_and_not_the_unit_of_the_measure(seed, gain, offset, scale) -> None:
    levels, values = [0.0, 1.0, 2.5, 4.0], draw(seed, 4).cumsum(0).tolist()
    plain = tolerance(levels, values, 0.5)
    other = tolerance([scale * level for level in levels], [gain * v + offset for v in values], gain * 0.5 + offset)
    assert other == pytest.approx(scale * plain, abs=1e-4 * scale)


# phases and integration


@settings(max_examples=10)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS)
def test_a_read_phase_ignores_gain_offset_and_order_and_moves_with_the_units(seed, gain, offset) -> None:
    rates = torus_states(60, 25, generator(seed))
    unit_phases = torch.rand(25, 2, generator=generator(seed + 1), dtype=torch.float64)
    order, shift = order_of(seed, 25), torch.rand(2, generator=generator(seed + 2), dtype=torch.float64)
    plain = decode_phases(rates, unit_phases)

    def apart(found: Tensor, by: Tensor | float = 0.0) -> Tensor:
        return ((found - plain - by + 0.5) % 1 - 0.5).abs().amax(-1)

    # these phases are not the units' own, so that some samples have two answers that are as good
    assert apart(decode_phases(gain * rates[:, order] + offset, unit_phases[order])).median() < 1e-6
    holed = rates.clone()
    holed[4, 3] = torch.nan
    assert decode_phases(holed, unit_phases).isnan().any(-1).nonzero()[:, 0].tolist() == [4]
    one, two = (phase_uniformity(each, draws=50) for each in (unit_phases, (unit_phases[order] + shift) % 1))
    close(two.nearest, one.nearest)
    close(two.resultant, one.resultant)
    close(two.p_value, one.p_value, 1e-6)
    # a turn by 60 degrees takes (u, v) to (-v, u + v): another name for the same lattice
    sixth = torch.stack([-unit_phases[:, 1], unit_phases.sum(1)], -1) % 1
    three = phase_uniformity(sixth, draws=50)
    close(three.nearest, one.nearest)
    close(three.resultant.sort().values, one.resultant.sort().values)


@settings(max_examples=10)
@given(seed=SEEDS, turn=TURNS, scale=SCALES)
def test_errors_of_paths_turn_and_grow_with_space(seed, turn, scale) -> None:
    steps = 0.02 * draw(seed, 3, 400, 2)
    path = 0.9 * steps.cumsum(1) + 0.004 * draw(seed + 1, 3, 400, 2).cumsum(1)
    path[1, 30:40] = torch.nan
    basis = 0.4 * torch.tensor([[1, 0], [0.5, 0.75**0.5]], dtype=torch.float64)
    change = scale * rotation(turn)
    plain = integration_error(path, steps, basis_m=basis, dt_s=0.02)
    other = integration_error(path @ change, steps @ change, basis_m=basis @ change, dt_s=0.02)
    close(other.error_m, scale * plain.error_m)
    close(other.error_spacings, plain.error_spacings)
    close(other.gain, rotation(turn).T @ plain.gain @ rotation(turn), 1e-6)
    for name in ("mean_gain", "anisotropy", "rotation_rad"):
        close(getattr(other, name), getattr(plain, name), 1e-5)
    assert other.slips.tolist() == plain.slips.tolist()
    close(other.variance_m2_s, scale**2 * plain.variance_m2_s, 1e-6)
    close(other.variance_m2_m, scale * plain.variance_m2_m, 1e-6)
    trials = order_of(seed, 3)
    close(integration_error(path[trials], steps[trials], basis_m=basis, dt_s=0.02).gain, plain.gain, 1e-6)
    time_s = 0.02 * torch.arange(400, dtype=torch.float64).expand(3, -1)
    residual = plain.residual_m
    close(
        variance_growth(scale * residual @ rotation(turn) + 5, 3 * time_s),
        scale**2 / 3 * variance_growth(residual, time_s),
        1e-5,
    )


# attractors


@settings(max_examples=15)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS)
def test_distances_to_a_manifold_ignore_rotation_and_order(seed, gain, offset) -> None:
    states, cloud, tangents = draw(seed, 12, 6), draw(seed + 1, 20, 6), draw(seed + 2, 20, 6, 2)
    turn = torch.linalg.qr(draw(seed + 3, 6, 6)).Q  # of all units, their order and sign among them
    members = order_of(seed, 20)
    for along in (None, tangents):
        plain = manifold_distance(states, cloud, along)
        turned = None if along is None else (turn.T @ along)[members]
        other = manifold_distance(gain * states @ turn + offset, (gain * cloud @ turn + offset)[members], turned)
        close(other / gain, plain, 1e-6 * max(1, abs(offset) / gain))
    close(manifold_distance(cloud[:5], cloud), torch.zeros(5))


@settings(max_examples=15)
@given(seed=SEEDS, gain=GAINS, turn=TURNS, scale=SCALES, slower=st.floats(0.1, 10))
def test_decay_and_drift_follow_their_units(seed, gain, turn, scale, slower) -> None:
    time_s = 0.02 * torch.arange(60, dtype=torch.float64)
    trace = 1 + torch.exp(-3 * time_s) + 0.01 * draw(seed, 4, 60)
    plain, other = relaxation(trace, 0.02), relaxation(gain * trace, 0.02 * slower)
    close(other.half_life_s / slower, plain.half_life_s, 1e-4)
    close(other.remaining, plain.remaining, 1e-4)
    close(other.start / gain, plain.start, 1e-4)
    holed = trace.clone()
    holed[2, 9] = torch.nan
    assert relaxation(holed, 0.02).remaining.isnan().tolist() == [False, False, True, False]
    path = 0.01 * draw(seed + 1, 3, 50, 2).cumsum(1)
    still, moved = rest_drift(path, 0.02), rest_drift(scale * path @ rotation(turn) + 7, 0.02 * slower)
    close(moved.velocity_m_s, scale / slower * still.velocity_m_s @ rotation(turn))
    close(moved.speed_m_s, scale / slower * still.speed_m_s)
    close(moved.variance_m2_s, scale**2 / slower * still.variance_m2_s)


@settings(max_examples=20)
@given(seed=SEEDS)
def test_pairs_do_not_see_a_common_shift_or_cells_without_phase(seed) -> None:
    first = torch.rand(15, 2, generator=generator(seed), dtype=torch.float64)
    second = (first + 0.1 * draw(seed + 1, 15, 2)) % 1
    shift = draw(seed + 2, 2, 1, 2)
    plain = pair_stability(first, second, generator=generator(0), shuffles=20)
    moved = pair_stability((first + shift[0]) % 1, (second + shift[1]) % 1, generator=generator(0), shuffles=20)
    gone = torch.full((2, 2), torch.nan, dtype=torch.float64)
    more = pair_stability(torch.cat((first, gone)), torch.cat((second, gone)), generator=generator(0), shuffles=20)
    swapped = pair_stability(second, first, generator=generator(0), shuffles=20)
    for other in (moved, more):
        close([other.value, other.shuffled, other.p_value, other.pairs], [*vars(plain).values()])
    close(swapped.value, plain.value)


# independence


@settings(max_examples=3)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS, scale=SCALES)
def test_independence_ignores_gain_offset_order_and_scale(seed, gain, offset, scale) -> None:
    spacing_m = torch.tensor([0.42] * 8 + [0.6] * 8, dtype=torch.float64)
    maps = grids(spacing_m, torch.full((16,), 0.2), generator(seed)).maps()
    maps[:, 10:13, 20:24] = torch.nan
    parted = _described(lattices(maps, 0.04), torch.tensor([0] * 8 + [1] * 8), 2, 0.0, 10, 0)
    order = order_of(seed, 16)
    moved = replace(
        parted,
        labels=parted.labels[order],
        spacing_m=scale * parted.spacing_m,
        basis_m=scale * parted.basis_m,
    )
    plain, other = independence(maps, parted, 0.04), independence(gain * maps[order] + offset, moved, 0.04 * scale)
    close(other.resultant, plain.resultant, 1e-3)
    close(other.coherence, plain.coherence, 1e-3)
    assert other.groups.tolist() == plain.groups.tolist()
    assert other.index.equal(plain.index)


# topology


@settings(max_examples=8)
@given(seed=SEEDS, gain=GAINS, offset=OFFSETS)
def test_points_ignore_the_order_gain_and_offset_of_units_and_the_order_of_moments(seed, gain, offset) -> None:
    states = torus_states(400, 25, generator(seed))
    each = gain * (0.5 + torch.rand(25, generator=generator(seed + 1), dtype=torch.float64))
    changed = (each * states + offset)[:, order_of(seed, 25)]
    _, taken, _, distance = parts.point_cloud(states, 60)
    _, other_taken, _, other = parts.point_cloud(changed, 60)
    assert other_taken.equal(taken)
    torch.testing.assert_close(other, distance, rtol=1e-4, atol=1e-4)
    _, _, _, other = parts.point_cloud(states[order_of(seed + 2, 400)], 60)  # of some moments the average is one
    torch.testing.assert_close(other, distance, rtol=1e-4, atol=1e-4)
    active = parts.most_active(gain * states + offset, 100)
    assert active.equal(parts.most_active(states, 100))
    holed = torch.cat((states, torch.full((3, 25), torch.nan, dtype=torch.float64)))
    assert parts.most_active(holed, 400).equal(torch.arange(400))


@settings(max_examples=30)
@given(seed=SEEDS, gain=GAINS)
def test_betti_numbers_do_not_see_the_unit_of_distance(seed, gain) -> None:
    def bars(k: int) -> Tensor:
        length = draw(seed + k, 6).square().exp().sort(descending=True).values
        birth = draw(seed + 5, 6).square()
        return torch.stack([birth, birth + length], -1)

    found, limit = tuple(bars(k) for k in range(3)), draw(seed + 9, 3).square().exp()
    other = tuple(gain * each for each in found)
    assert parts.betti_numbers(other, gain * limit).equal(parts.betti_numbers(found, limit))


@settings(max_examples=20)
@given(seed=SEEDS, shear=st.integers(-1, 1), mirrored=st.booleans())
def test_agreement_does_not_see_the_basis_or_the_origin_of_phases(seed, shear, mirrored) -> None:
    phases = 2 * math.pi * torch.rand(300, 2, generator=generator(seed), dtype=torch.float64)
    coordinates = phases + 0.3 * draw(seed + 1, 300, 2)
    change = torch.tensor([[1, shear], [0, -1 if mirrored else 1]], dtype=torch.float64)
    plain, winding = phase_agreement(coordinates, phases)
    other, turned = phase_agreement(coordinates @ change.T + draw(seed + 2, 2), phases)
    assert abs(float(torch.linalg.det(turned.double()))) == abs(float(torch.linalg.det(winding.double()))) == 1
    if shear == 0:
        close(other, plain)
    moments = order_of(seed, 300)
    close(phase_agreement(coordinates[moments], phases[moments])[0], plain)
    close(phase_agreement(coordinates, phases @ change.T)[0], plain)
