"""Range, resolution and capacity, on codes for which they are known in closed form."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.analysis.capacity import (
    capacity_bits,
    code_distances,
    code_separation,
    decodable_places,
    gaussian_information,
    half_rise_m,
    joint_range_m,
    noise_floor,
    participation_ratio,
    path_coherence,
    poisson_information,
    radial_curves,
    resolution_m,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def circle(x: Tensor, period_m: float) -> Tensor:
    """A phase code on a line: (..., 1) -> (..., 2); codes d apart are 2 |sin(π d / period)| apart."""
    phase = 2 * math.pi * x / period_m
    return torch.cat((phase.cos(), phase.sin()), -1)


def hexagonal(x: Tensor, spacing_m: float, angle: float) -> Tensor:
    """An ideal module, all phases at once: three waves, (..., 2) -> (..., 6)."""
    turn = angle + math.pi / 2 + torch.arange(3, dtype=torch.float64) * math.pi / 3
    wave = 4 * math.pi / (math.sqrt(3) * spacing_m) * torch.stack((turn.cos(), turn.sin()))
    return torch.cat(((x @ wave).cos(), (x @ wave).sin()), -1)


def line(most_m: float, step_m: float = 0.01) -> Tensor:
    count = round(most_m / step_m)
    return step_m * torch.arange(-count, count + 1, dtype=torch.float64)[:, None]


def plane(most_m: float, step_m: float = 0.02) -> Tensor:
    axis = line(most_m, step_m)[:, 0]
    return torch.cartesian_prod(axis, axis)


def distances(code, displacement_m: Tensor) -> Tensor:
    """From three origins: (3, M)."""
    origin_m = torch.tensor([0.0, 0.113, -0.417], dtype=torch.float64)[:, None].expand(-1, displacement_m.shape[1])
    return code_distances(code(origin_m), code(origin_m[:, None] + displacement_m))


def test_distances_of_a_phase_code() -> None:
    place = line(2)
    found = distances(lambda x: circle(x, 0.7), place)
    expected = 2 * (math.pi * place[:, 0] / 0.7).sin().abs()
    torch.testing.assert_close(found, expected.expand(3, -1), atol=1e-12, rtol=0)


def test_distances_are_the_same_in_parts_for_shared_codes_and_where_rates_are_missing(monkeypatch) -> None:
    origins, codes = torch.randn(3, 5, generator=generator()), torch.randn(40, 5, generator=generator(1))
    codes[7, 2] = math.nan
    naive = torch.stack([(codes.double() - origin.double()).square().sum(-1).sqrt() for origin in origins])
    found = code_distances(origins, codes)
    torch.testing.assert_close(found, naive, equal_nan=True)
    assert found[:, 7].isnan().all()
    monkeypatch.setattr("entorhinal.analysis.capacity.chunk_size", lambda *_: 7)
    torch.testing.assert_close(code_distances(origins, codes), found, equal_nan=True, rtol=0, atol=0)
    own = codes.expand(3, -1, -1).numpy()
    torch.testing.assert_close(code_distances(origins.numpy(), own), found, equal_nan=True)


def test_one_torus_returns_at_exactly_its_period_and_separates_nothing() -> None:
    place = line(3)
    found = distances(lambda x: circle(x, 0.6), place)
    separation = code_separation(found, place, most_m=3)
    assert separation.mean < 1e-12
    assert separation.nearest_m.abs().remainder(0.6).sub(0.3).abs() == pytest.approx(0.3 * torch.ones(3, 1))
    curves = radial_curves(found, place, most_m=3)
    torch.testing.assert_close(joint_range_m(curves, 0.05), torch.full((3,), 0.6, dtype=torch.float64))


def test_the_range_of_two_commensurate_modules_is_their_least_common_multiple() -> None:
    place = line(4)
    found = distances(lambda x: torch.cat((circle(x, 0.3), circle(x, 0.4)), -1), place)
    curves = radial_curves(found, place)
    torch.testing.assert_close(joint_range_m(curves, 0.1), torch.full((3,), 1.2, dtype=torch.float64))
    # d is a multiple of 0.3 m: only the second module tells, by 2 |sin(π d / 0.4)|, at least √2
    at = (place[:, 0] - 0.3).abs().argmin()
    torch.testing.assert_close(found[:, at], torch.full((3,), math.sqrt(2), dtype=torch.float64))
    assert joint_range_m(curves, 1.5)[0] == pytest.approx(0.3, abs=0.05)


def test_a_code_that_never_returns_has_no_range_and_a_flat_one_has_none_at_all() -> None:
    place = line(4)
    straight = radial_curves(distances(lambda x: x, place), place)
    assert joint_range_m(straight, 0.5).isinf().all()
    assert (joint_range_m(straight, 9.0) == 0).all()
    flat = distances(torch.ones_like, place)
    assert code_separation(flat, place).ratio.isnan().all()
    assert math.isnan(code_separation(flat, place).mean)


def test_separation_of_ideal_modules_on_the_plane() -> None:
    """One torus comes back; more modules stay apart, and more so."""
    place = plane(4.0)

    def separation(*modules: tuple[float, float]) -> float:
        def code(x):
            return torch.cat([hexagonal(x, *module) for module in modules], -1)

        apart = code_distances(code(torch.zeros(1, 2, dtype=torch.float64)), code(place))
        return code_separation(apart, place).mean

    one = separation((0.6, 0.1))
    two = separation((0.45, 0.1), (0.75, 0.4))
    three = separation((0.45, 0.1), (0.75, 0.4), (1.2, 0.25))
    assert one < 0.02
    assert 0.05 < two < 0.29
    assert 0.2 < three < 0.5


def test_separation_over_a_known_distance() -> None:
    """Codes on a line, farther the farther: the smallest distance over the median one is 0.3 over 2.15."""
    place = line(4)
    found = code_separation(distances(lambda x: x, place), place)
    assert found.places.tolist() == [742] * 3
    torch.testing.assert_close(found.minimum, torch.full((3,), 0.3, dtype=torch.float64))
    assert found.median == pytest.approx(2.15 * torch.ones(3), abs=0.011)


@settings(max_examples=20)
@given(turn=st.floats(0, 6), gain=st.floats(0.01, 100), offset=st.floats(-10, 10), seed=st.integers(0, 99))
def test_separation_ignores_rotation_gain_offset_and_unit_order(turn, gain, offset, seed) -> None:
    place = plane(1.2, 0.1)
    codes = torch.cat((hexagonal(place, 0.5, 0.1), hexagonal(place, 0.7, 0.4)), -1)
    middle = len(codes) // 2
    plain = code_separation(code_distances(codes[middle][None], codes), place)
    order = torch.randperm(codes.shape[1], generator=generator(seed))
    other = gain * codes[:, order] + offset
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64)
    moved = code_separation(code_distances(other[middle][None], other), place @ rotation.T)
    torch.testing.assert_close(moved.ratio, plain.ratio, atol=1e-7, rtol=1e-7)
    assert 0 <= plain.ratio <= 1


def test_rings_match_a_naive_loop() -> None:
    apart = torch.rand(2, 500, generator=generator(), dtype=torch.float64)
    apart[0, :20] = math.nan
    place = torch.randn(500, 2, generator=generator(1), dtype=torch.float64)
    found = radial_curves(apart, place, 0.1, most_m=1.5)
    length = place.norm(dim=-1)
    assert found.radius_m.tolist() == pytest.approx([0.1 * k for k in range(16)])
    for k in range(16):
        for origin in range(2):
            inside = ((length / 0.1 + 0.5).floor() == k) & (length <= 1.5) & apart[origin].isfinite()
            values = apart[origin, inside]
            got = [getattr(found, name)[origin, k] for name in ("minimum", "median", "mean", "nearest_m")]
            if not len(values):
                assert all(value.isnan() for value in got)
                continue
            expected = [values.min(), values.median(), values.mean(), length[inside][values.argmin()]]
            torch.testing.assert_close(torch.stack(got), torch.stack(expected))


def test_half_rise_of_a_ramp() -> None:
    place = line(4)
    ramp = (place[:, 0].abs() / 0.4).clamp_max(1)[None]
    curves = radial_curves(ramp, place, 0.01)
    assert half_rise_m(curves, torch.ones(1)).item() == pytest.approx(0.2)
    assert half_rise_m(curves, torch.full((1,), 3.0)).isinf().all()


def test_the_noise_floor_is_where_one_in_twenty_is_mistaken() -> None:
    floor = noise_floor(0.7)
    first, second = torch.zeros(8), torch.full((8,), floor / math.sqrt(8))
    seen = first + 0.7 * torch.randn(40_000, 8, generator=generator())
    mistaken = ((seen - second).norm(dim=-1) < (seen - first).norm(dim=-1)).double().mean()
    assert mistaken == pytest.approx(0.05, abs=0.006)
    assert noise_floor(0.0) == 0


def test_coherence_of_paths() -> None:
    codes = torch.rand(300, 40, generator=generator(), dtype=torch.float64)
    other = torch.rand(300, 40, generator=generator(1), dtype=torch.float64)
    assert path_coherence(torch.stack((codes, codes))) == pytest.approx(1)
    assert path_coherence(torch.stack((codes, other))) == pytest.approx(1 / math.sqrt(2), abs=0.02)
    assert path_coherence(torch.stack((codes + 100, other + 100))) == pytest.approx(1 / math.sqrt(2), abs=0.02)
    assert path_coherence(torch.stack((codes, 2 * codes.mean(0) - codes))) < 0.01
    with_gap = codes.clone()
    with_gap[3, 1] = math.nan
    assert path_coherence(torch.stack((codes, with_gap))) == pytest.approx(1)
    assert math.isnan(path_coherence(torch.ones(2, 5, 3)))


def test_information_of_a_sheet_of_gaussian_fields() -> None:
    """Density ρ, width w, peak A: Gaussian noise gives π ρ A² / 2σ², Poisson counts 2 π ρ A T, in every direction."""
    step, width, peak = 0.05, 0.1, 5.0
    centre = plane(1.0, step)
    place = torch.rand(10, 2, generator=generator(), dtype=torch.float64) * 0.2
    offset = place[:, None] - centre
    rates = peak * torch.exp(-offset.square().sum(-1) / (2 * width**2))
    jacobian = -offset / width**2 * rates[..., None]
    eye = torch.eye(2, dtype=torch.float64).expand(10, -1, -1)
    gaussian = math.pi * peak**2 / (2 * step**2 * 0.3**2)
    torch.testing.assert_close(gaussian_information(jacobian, 0.3), gaussian * eye, rtol=1e-3, atol=1e-3 * gaussian)
    each = torch.full((len(centre),), 0.3, dtype=torch.float64)
    torch.testing.assert_close(
        gaussian_information(jacobian, each), gaussian_information(jacobian, 0.3), rtol=1e-6, atol=0
    )
    poisson = 2 * math.pi * peak * 0.5 / step**2
    torch.testing.assert_close(poisson_information(jacobian, rates, 0.5), poisson * eye, rtol=2e-3, atol=2e-3 * poisson)
    torch.testing.assert_close(
        resolution_m(gaussian_information(jacobian, 0.3)),
        torch.full((10,), gaussian**-0.5, dtype=torch.float64),
        rtol=1e-3,
        atol=0,
    )


def test_the_bound_is_met_by_an_efficient_estimator() -> None:
    """Linear codes: least squares is efficient, and its error is the bound."""
    jacobian = torch.randn(30, 2, generator=generator(), dtype=torch.float64)
    noise = 0.4 * torch.randn(30, 20_000, generator=generator(1), dtype=torch.float64)
    error = torch.linalg.lstsq(jacobian, noise).solution
    assert error.square().mean().sqrt() == pytest.approx(
        float(resolution_m(gaussian_information(jacobian, 0.4))), rel=0.02
    )


def test_resolution_of_what_is_not_told() -> None:
    stripes = torch.diag(torch.tensor([4.0, 0.0], dtype=torch.float64))
    uneven = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    missing = torch.full((2, 2), math.nan, dtype=torch.float64)
    found = resolution_m(torch.stack((stripes, uneven, torch.zeros_like(uneven), missing)))
    assert found[0].isinf()
    assert found[1] == pytest.approx(math.sqrt((1 / 4 + 1) / 2))
    assert found[2].isinf()
    assert found[3].isnan()
    assert poisson_information(torch.ones(1, 2), torch.zeros(1)).abs().max() == 0, "a silent unit tells nothing"


def test_bits() -> None:
    assert capacity_bits(torch.tensor([8.0, 1.0, 0.1]), 0.5).tolist() == [4, 1, 0]
    assert capacity_bits(2.0, math.inf) == 0


@settings(max_examples=20)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=6), st.integers(0, 99), st.floats(1e-3, 1e3))
def test_participation_ratio_of_known_covariances(spread, seed, gain) -> None:
    """Σλ² over squares, whatever the rotation, the gain and the offset, and for more units than states."""
    spread = torch.tensor(spread, dtype=torch.float64)
    states = torch.randn(50, len(spread), generator=generator(seed), dtype=torch.float64)
    states = torch.linalg.qr(states - states.mean(0)).Q * spread.sqrt()
    expected = spread.sum() ** 2 / spread.square().sum()
    rotation = torch.linalg.qr(torch.randn(60, len(spread), generator=generator(seed + 1), dtype=torch.float64)).Q
    for cloud in (states, gain * states + 3, states @ rotation.T):
        torch.testing.assert_close(participation_ratio(cloud), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        participation_ratio(torch.stack((states, 2 * states))), expected.expand(2), rtol=1e-6, atol=0
    )


def test_participation_ratio_of_clouds_without_extent() -> None:
    assert participation_ratio(torch.ones(4, 3)).isnan()
    gap = torch.tensor([[0.0, 0.0], [1.0, 1.0], [math.nan, 5.0]])
    assert participation_ratio(gap) == pytest.approx(1)


def test_places_that_are_far_apart_all_count_and_alike_ones_do_not() -> None:
    codes = 30 * torch.eye(20, dtype=torch.float64)
    found = decodable_places(codes, 1.0, generator=generator())
    assert found.places == pytest.approx(20)
    assert (found.correct, found.total) == (1, 20)
    alike = decodable_places(torch.ones(20, 5), 1.0, generator=generator())
    assert alike.places == pytest.approx(1)
    assert alike.correct < 0.2
    assert decodable_places(codes.repeat(4, 1), 1.0, generator=generator()).places == pytest.approx(20)


@pytest.mark.parametrize("apart", [0.5, 1.5, 3.0])
def test_two_codes_are_the_binary_channel_with_gaussian_noise(apart: float) -> None:
    """Information of a sign seen through Gaussian noise, by integration, and errors Φ(-d / 2σ)."""
    seen = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    density = torch.exp(-(seen - apart / 2).square() / 2) / math.sqrt(2 * math.pi)
    known = 1 - torch.trapezoid(density * torch.log2(1 + torch.exp(-apart * seen)), seen)
    codes = torch.tensor([[0.0, 0.0], [0.6, 0.8]], dtype=torch.float64) * apart * 2
    found = decodable_places(codes, 2.0, generator=generator(), draws=40_000)
    assert found.bits == pytest.approx(float(known), abs=0.01)
    assert found.places == pytest.approx(2**found.bits)
    assert 1 - found.correct == pytest.approx(float(torch.special.ndtr(torch.tensor(-apart / 2))), abs=0.01)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="codes has shape"):
        code_distances(torch.zeros(2, 3), torch.zeros(4, 5))
    with pytest.raises(ValueError, match="codes has 3 origins"):
        code_distances(torch.zeros(2, 3), torch.zeros(3, 5, 3))
    with pytest.raises(ValueError, match="displacement_m has shape"):
        code_separation(torch.zeros(2, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="least_m is 5"):
        code_separation(torch.zeros(2, 3), torch.zeros(3, 2), least_m=5)
    with pytest.raises(ValueError, match="bin_m is 0"):
        radial_curves(torch.zeros(2, 3), torch.zeros(3, 2), 0)
    with pytest.raises(ValueError, match="noise_sd is 0"):
        gaussian_information(torch.zeros(3, 2), 0.0)
    with pytest.raises(ValueError, match="rates is -1"):
        poisson_information(torch.zeros(3, 2), -torch.ones(3))
    with pytest.raises(ValueError, match="give two or more"):
        path_coherence(torch.zeros(1, 3, 2))
    with pytest.raises(ValueError, match=r"error 0\.6"):
        noise_floor(1.0, 0.6)
    with pytest.raises(ValueError, match="0 complete places"):
        decodable_places(torch.full((2, 2), math.nan), 1.0, generator=generator())
    assert code_separation(torch.zeros(2, 0), torch.zeros(0, 2)).ratio.isnan().all()
