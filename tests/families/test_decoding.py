"""The shared decoder against brute force: the same position, whatever the code, the noise and the chunks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.families.coding_theory.decoding import decode_waves, log_likelihood, phase_waves
from entorhinal.families.coding_theory.ring import ring_information, ring_tuning, ring_waves, spike_counts
from entorhinal.families.errors import InputError


def brute_force(waves: Tensor, periods: tuple[float, ...], low: float, high: float) -> tuple[Tensor, float, Tensor]:
    """The best of a grid, 60 points in the shortest period: positions, the step, values."""
    points = 2 + math.ceil((high - low) * 60 / min(periods))
    position = torch.linspace(low, high, points, dtype=torch.float64)
    value = log_likelihood(waves[:, None], position.expand(len(waves), -1), periods)
    return position[value.argmax(-1)], float((high - low) / (points - 1)), value.amax(-1)


CODES = {
    "residue": ((7, 11, 13, 17), 3000.0),
    "nested": ((2000.0, 700.0, 260.0, 90.0, 31.0), 2000.0),
    "one period": ((50.0,), 49.0),
    "shorter than a period": ((31.0, 44.0), 11.0),
}


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("code", CODES)
def test_equals_brute_force(code: str, noise: float) -> None:
    periods, span = CODES[code]
    generator = torch.Generator().manual_seed(3)
    position = span * (torch.rand(200, generator=generator, dtype=torch.float64) - 0.4)
    phase = position[:, None] / torch.tensor(periods)
    phase = phase + noise * torch.randn(phase.shape, generator=generator, dtype=torch.float64)
    weight = 0.2 + torch.rand(phase.shape, generator=generator, dtype=torch.float64)
    waves = weight * phase_waves(phase)
    wanted, step, value = brute_force(waves, periods, -0.4 * span, 0.6 * span)
    found = decode_waves(waves, periods, -0.4 * span, 0.6 * span)
    reached = log_likelihood(waves, found, periods)
    assert (found >= -0.4 * span).all()
    assert (found <= 0.6 * span).all()
    assert (reached >= value - 1e-9).all()
    assert (reached - value).max() < 0.02 * len(periods)
    unrivalled = (found - wanted).abs() <= step  # elsewhere two peaks are equal within the grid's error
    assert unrivalled.double().mean() > 0.97


@given(
    st.lists(st.floats(2.0, 90.0), min_size=1, max_size=5),
    st.floats(0.5, 400.0),
    st.integers(0, 10**6),
    st.integers(4, 12),
)
@settings(max_examples=40)
def test_no_grid_point_is_more_likely(periods: list[float], span: float, seed: int, points: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(2, 8, len(periods), generator=generator, dtype=torch.float64)
    waves = torch.complex(draw[0], draw[1])
    found = decode_waves(waves, periods, 1.0, 1.0 + span, points_per_period=points)
    _, _, value = brute_force(waves, tuple(periods), 1.0, 1.0 + span)
    assert (log_likelihood(waves, found, periods) >= value - 1e-6).all()


def test_chunks_shapes_and_scale_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    waves = phase_waves(torch.rand(3, 50, 4, generator=generator, dtype=torch.float64))
    periods = (31, 44, 63, 25)
    found = decode_waves(waves, periods, 0, 9000)
    assert found.shape == (3, 50)
    assert found.dtype == torch.float64
    torch.testing.assert_close(decode_waves(waves, periods, 0, 9000, max_elements=4000), found)
    torch.testing.assert_close(decode_waves(1e6 * waves, periods, 0, 9000), found)
    torch.testing.assert_close(decode_waves(waves.flatten(0, 1)[7:8], periods, 0, 9000), found.flatten()[7:8])


def test_an_end_of_the_range_is_found() -> None:
    waves = phase_waves(torch.tensor([[0.1], [0.9]]))
    torch.testing.assert_close(decode_waves(waves, (10.0,), 2.0, 8.0), torch.tensor([2.0, 8.0], dtype=torch.float64))
    assert decode_waves(waves, (10.0,), 3.0, 3.0).tolist() == [3.0, 3.0]


def test_silence_and_nan_say_nothing() -> None:
    waves = phase_waves(torch.zeros(4, 2))
    waves[1] = 0
    waves[2, 0] = math.nan
    waves[3, 0] = 0  # one silent module leaves the other
    found = decode_waves(waves, (5.0, 7.0), -2.0, 2.0)
    assert found.isnan().tolist() == [False, True, True, False]
    assert decode_waves(waves[1:3], (5.0, 7.0), -2.0, 2.0).isnan().all()
    assert decode_waves(waves[:0], (5.0, 7.0), -2.0, 2.0).shape == (0,)


def test_waves_of_spikes_are_the_poisson_likelihood() -> None:
    """Σ_i (k_i log f_i − f_i), summed unit by unit, differs from Re z exp(−2πi φ) by a constant."""
    units, sharpness, peak = 20, 3.0, 5.0
    generator = torch.Generator().manual_seed(1)
    wave = ring_waves(torch.tensor([0.37]), units, sharpness, peak, generator)
    generator = torch.Generator().manual_seed(1)
    counts = spike_counts(peak * ring_tuning(torch.tensor([0.37]).double(), units, sharpness), 1.0, generator)
    phase = torch.linspace(0, 1, 101, dtype=torch.float64)
    rate = peak * ring_tuning(phase, units, sharpness)
    naive = (counts * rate.log() - rate).sum(-1)
    difference = naive - log_likelihood(wave[:, None].expand(101, 1), phase, (1.0,))
    assert difference.max() - difference.min() < 1e-6


def test_information_is_that_of_the_spikes() -> None:
    units, sharpness, peak, fano = 20, 3.0, 5.0, 1.7
    phase = torch.linspace(0, 1, 2001, dtype=torch.float64).requires_grad_(True)
    rate = peak * ring_tuning(phase, units, sharpness)
    slope = torch.stack([torch.autograd.grad(rate[:, i].sum(), phase, retain_graph=True)[0] for i in range(units)], -1)
    naive = (slope.square() / (fano * rate)).sum(-1).detach()
    assert naive.mean() == pytest.approx(ring_information(units, sharpness, peak, fano), rel=1e-3)
    assert naive.std() < 1e-3 * naive.mean()  # the units tile the ring


def test_counts_have_the_mean_and_the_fano_factor() -> None:
    counts = spike_counts(torch.full((200_000,), 3.0), 2.0, torch.Generator().manual_seed(0))
    assert counts.mean() == pytest.approx(3.0, rel=0.02)
    assert counts.var() == pytest.approx(6.0, rel=0.03)


def test_bad_arguments() -> None:
    waves = phase_waves(torch.zeros(1, 2))
    generator = torch.Generator()
    with pytest.raises(InputError, match="low <= high"):
        decode_waves(waves, (4.0, 5.0), 3, 1)
    with pytest.raises(InputError, match="finite"):
        decode_waves(waves, (4.0, 5.0), 0, math.inf)
    with pytest.raises(InputError, match="one positive number"):
        decode_waves(waves, (4.0, 0.0), 0, 1)
    with pytest.raises(InputError, match="2 modules and 1 periods"):
        decode_waves(waves, (4.0,), 0, 1)
    with pytest.raises(InputError, match="points_per_period is 2"):
        decode_waves(waves, (4.0, 5.0), 0, 1, points_per_period=2)
    with pytest.raises(InputError, match="fano_factor is 0"):
        spike_counts(torch.ones(1), 0.0, generator)
    with pytest.raises(InputError, match="peak_count is -1"):
        ring_waves(torch.zeros(1), 20, 3.0, -1.0, generator)
    with pytest.raises(InputError, match="leave gaps; give 12 or more"):
        ring_tuning(torch.zeros(1), 11, 25.0)
    with pytest.raises(InputError, match="sharpness is 0"):
        ring_tuning(torch.zeros(1), 11, 0.0)
