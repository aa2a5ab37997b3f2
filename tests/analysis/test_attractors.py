"""Decay, rest and pair phases, on traces and cells whose numbers are known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entorhinal.analysis.attractors import manifold_distance, pair_stability, relaxation, rest_drift

DT_S = 0.02
TIME_S = DT_S * torch.arange(101, dtype=torch.float64)


@settings(max_examples=40)
@given(
    half_life_s=st.floats(0.01, 3.0), remaining=st.floats(0, 0.8), start=st.floats(0.01, 100), slower=st.floats(1, 1.5)
)
def test_an_exponential_is_fitted_exactly(half_life_s, remaining, start, slower) -> None:
    half = torch.tensor([half_life_s, slower * half_life_s], dtype=torch.float64)
    trace = start * (remaining + (1 - remaining) * torch.exp(-math.log(2) * TIME_S / half[:, None]))
    found = relaxation(trace, DT_S)
    torch.testing.assert_close(found.half_life_s, half, rtol=0.01, atol=0)
    torch.testing.assert_close(found.rate_per_s, math.log(2) / half, rtol=0.01, atol=0)
    assert (found.remaining - remaining).abs().max() < 0.01
    assert (found.start / start - 1).abs().max() < 0.01
    assert found.fit.min() > 0.9999


def test_what_does_not_fall_has_no_half_life() -> None:
    flat, rising = torch.full_like(TIME_S, 2.0), 1 + TIME_S
    noise = 1 + 0.01 * torch.randn(101, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = relaxation(torch.stack((flat, rising, noise, flat * math.nan)), DT_S)
    assert found.half_life_s.isnan().all()
    assert found.remaining[0] == pytest.approx(1)
    assert found.remaining[1] > 1
    assert found.remaining[2] == pytest.approx(1, abs=0.03)
    assert found.remaining[3].isnan()


def test_a_noisy_decay_is_fitted_within_its_noise() -> None:
    noise = 0.02 * torch.randn(200, 101, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = relaxation(0.2 + 0.8 * torch.exp(-TIME_S / 0.2) + noise, DT_S)
    assert float(found.rate_per_s.median()) == pytest.approx(5.0, rel=0.02)
    assert float(found.remaining.mean()) == pytest.approx(0.2, abs=0.01)


def test_distance_to_a_cloud_is_the_naive_one() -> None:
    generator = torch.Generator().manual_seed(2)
    states, cloud = (torch.randn(k, 7, generator=generator, dtype=torch.float64) for k in (30, 50))
    naive = torch.stack([(cloud - state).norm(dim=1).min() for state in states])
    torch.testing.assert_close(manifold_distance(states, cloud), naive)
    own = torch.stack([(cloud[torch.arange(50) != k] - cloud[k]).norm(dim=1).min() for k in range(50)])
    torch.testing.assert_close(manifold_distance(cloud, cloud, skip_self=True), own)
    assert manifold_distance(cloud, cloud).max() == 0


def test_a_ring_attractor_pulls_back_at_its_own_rate() -> None:
    """Radius relaxes at rate 4, angle stays: the distance to the ring decays so, to the spacing of the cloud."""
    angle = 2 * math.pi * torch.arange(2000, dtype=torch.float64) / 2000
    ring = torch.stack((angle.cos(), angle.sin()), 1)
    radius = 1 + 0.5 * torch.exp(-4 * TIME_S)
    states = radius[None, :, None] * ring[5::400, None]
    distance = manifold_distance(states.flatten(0, 1), ring).unflatten(0, (-1, len(TIME_S)))
    found = relaxation(distance, DT_S)
    torch.testing.assert_close(found.rate_per_s, torch.full((5,), 4.0).double(), rtol=0.01, atol=0)
    assert found.remaining.max() < 0.01


def test_tangents_let_a_coarse_cloud_resolve_a_torus() -> None:
    """40 points of a ring, states off it by h at places between: the plane's distance is h up to curvature."""
    angle = 2 * math.pi * torch.arange(40, dtype=torch.float64) / 40
    ring, along = (torch.stack(pair, 1) for pair in ((angle.cos(), angle.sin()), (-angle.sin(), angle.cos())))
    ring, along = (torch.nn.functional.pad(each, (0, 1)) for each in (ring, along))  # in three dimensions
    between = angle + math.pi / 40
    states = torch.stack((between.cos(), between.sin(), torch.full_like(between, 0.01)), 1)
    plain, planes = manifold_distance(states, ring), manifold_distance(states, ring, 7 * along[..., None])
    assert plain.min() > 0.07
    torch.testing.assert_close(planes, torch.full((40,), math.hypot(0.01, 1 - math.cos(math.pi / 40))).double())
    own = manifold_distance(ring, ring, along[..., None], skip_self=True)
    torch.testing.assert_close(own, torch.full((40,), 1 - math.cos(math.pi / 20)).double())
    torch.testing.assert_close(manifold_distance(states, ring, 0 * along[..., None]), plain)


def test_rest_drift_in_closed_form() -> None:
    velocity = torch.tensor([[0.03, -0.04], [0.0, 0.0]], dtype=torch.float64)
    found = rest_drift(velocity[:, None] * TIME_S[:, None], DT_S)
    torch.testing.assert_close(found.speed_m_s, torch.tensor([0.05, 0.0]).double())
    assert found.variance_m2_s.abs().max() < 1e-12


def test_diffusion_at_rest_is_recovered_within_its_interval_beside_a_drift() -> None:
    growth, drift = 2e-4, torch.tensor([0.02, 0.01], dtype=torch.float64)
    steps = torch.randn(400, 200, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = rest_drift((math.sqrt(growth * DT_S) * steps + DT_S * drift).cumsum(1), DT_S)
    error = float(found.variance_m2_s.std()) / 20
    assert error < 0.01 * growth
    assert abs(float(found.variance_m2_s.mean()) - growth) < 2.5 * error
    torch.testing.assert_close(found.velocity_m_s.mean(0), drift, atol=3.5 * math.sqrt(growth / 4 / 400), rtol=0)
    still = rest_drift(math.sqrt(growth * DT_S) * steps.cumsum(1), DT_S)
    rayleigh = math.sqrt(math.pi / 2 * growth / (199 * DT_S))
    assert float(still.speed_m_s.mean()) == pytest.approx(rayleigh, rel=0.1), "diffusion alone gives a speed"


def phases(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_common_shift_keeps_all_pairs_and_shuffled_pairs_are_lost() -> None:
    generator = torch.Generator().manual_seed(4)
    found = pair_stability(phases(40, 0), (phases(40, 0) + torch.tensor([0.3, 0.8])) % 1, generator=generator)
    assert found.value == pytest.approx(1)
    assert abs(found.shuffled) < 0.02
    assert found.p_value == pytest.approx(1 / 201)
    assert found.pairs == 780


def test_cells_that_remap_each_on_its_own_keep_nothing() -> None:
    found = pair_stability(phases(60, 1), phases(60, 2), generator=torch.Generator().manual_seed(5))
    assert abs(found.value) < 0.06
    assert found.p_value > 0.05


def test_one_phase_for_all_cells_is_no_evidence() -> None:
    alike = torch.zeros(30, 2).double()
    found = pair_stability(alike, alike, generator=torch.Generator().manual_seed(6))
    assert found.value == pytest.approx(1)
    assert found.shuffled == pytest.approx(1)
    assert found.p_value == 1


def test_phase_noise_lowers_it_as_it_must() -> None:
    """Normal noise of σ cycles on every cell: pairs keep exp(-(2πσ)²)."""
    noise = 0.1 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    found = pair_stability(
        phases(2000, 3), phases(2000, 3) + noise, generator=torch.Generator().manual_seed(8), shuffles=5
    )
    assert found.value == pytest.approx(math.exp(-((2 * math.pi * 0.1) ** 2)), abs=0.03)


@settings(max_examples=25)
@given(st.integers(3, 20), st.integers(0, 1000))
def test_it_is_the_mean_over_pairs(n, seed) -> None:
    first, second = phases(n, seed), phases(n, seed + 1)
    found = pair_stability(first, second, generator=torch.Generator().manual_seed(0), shuffles=2)
    pairs = [
        torch.cos(2 * math.pi * ((first[i] - first[j]) - (second[i] - second[j]))).mean()
        for i in range(n)
        for j in range(i)
    ]
    assert found.value == pytest.approx(float(torch.stack(pairs).mean()), abs=1e-9)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    dealt = pair_stability(first[order], second[order], generator=torch.Generator().manual_seed(0), shuffles=2)
    assert dealt.value == pytest.approx(found.value, abs=1e-9)


def test_cells_without_phase_are_left_out() -> None:
    gone = phases(20, 4)
    gone[3] = math.nan
    assert pair_stability(phases(20, 4), gone, generator=torch.Generator().manual_seed(0)).pairs == 171


def test_bad_input_is_named() -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="give the same N"):
        manifold_distance(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="tangents is"):
        manifold_distance(torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(3, 3, 1))
    with pytest.raises(ValueError, match="one state a member"):
        manifold_distance(torch.zeros(2, 3), torch.zeros(3, 3), skip_self=True)
    with pytest.raises(ValueError, match="give at least 4"):
        relaxation(torch.zeros(1, 3), DT_S)
    with pytest.raises(ValueError, match="at least 8"):
        rest_drift(torch.zeros(1, 4, 2), DT_S)
    with pytest.raises(ValueError, match="2 cells have phases"):
        pair_stability(torch.zeros(2, 2), torch.zeros(2, 2), generator=generator)
    with pytest.raises(ValueError, match="give the same cells"):
        pair_stability(torch.zeros(5, 2), torch.zeros(4, 2), generator=generator)
