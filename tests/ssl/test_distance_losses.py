"""The distance-preserving losses against loops over pairs, and codes for which they are known."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from entorhinal.ssl.distance_losses import activity, distance_mismatch, distance_preserving

WIDTH, SCALE, WEIGHT = 1.2, 0.8, 0.54


@pytest.fixture
def states() -> Tensor:
    return torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def position() -> Tensor:
    return 2 * torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def naive(states: Tensor, position: Tensor) -> float:
    g, r = states.reshape(12, 5).tolist(), position.reshape(12, 2).tolist()
    return sum(
        (math.dist(g[i], g[j]) - SCALE * math.dist(r[i], r[j])) ** 2
        * math.exp(-(math.dist(r[i], r[j]) ** 2) / (2 * WIDTH**2))
        for i, j in itertools.permutations(range(12), 2)
    ) / (12 * 11)  # fmt: skip


def test_the_terms_are_those_of_the_loops(states, position) -> None:
    found = distance_preserving(states, position, envelope_width=WIDTH, scale=SCALE, weight=WEIGHT)
    assert float(found["mismatch"]) == pytest.approx(naive(states, position), rel=1e-9)
    assert float(found["activity"]) == pytest.approx(sum(states.flatten().tolist()) / 60, rel=1e-12)
    total = WEIGHT * naive(states, position) - (1 - WEIGHT) * float(found["activity"])
    assert float(found["total"]) == pytest.approx(total, rel=1e-9)
    assert found["activity"] == activity(states)


def test_gradients_are_those_of_finite_differences(states, position) -> None:
    def loss(values: Tensor) -> Tensor:
        return distance_preserving(values, position, envelope_width=WIDTH, scale=SCALE, weight=WEIGHT)["total"]

    assert torch.autograd.gradcheck(loss, states.requires_grad_())


def test_what_preserves_distances_has_no_mismatch_whatever_the_unit(position) -> None:
    plane = torch.cat((position, torch.zeros_like(position)), -1)
    assert float(distance_mismatch(0.8 * plane, position, envelope_width=1.2, scale=0.8)) < 1e-12
    stretched = distance_mismatch(3 * plane, position, envelope_width=1.2, scale=1.0)
    assert float(stretched) > 0.1
    larger = distance_mismatch(3 * plane, 10 * position, envelope_width=12.0, scale=0.1)
    torch.testing.assert_close(larger, stretched)


def test_states_that_are_alike_have_a_gradient(position) -> None:
    states = torch.ones(3, 4, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance_mismatch(states, position, envelope_width=1.0, scale=1.0), states)
    assert gradient.isfinite().all()
