"""The losses against loops over all pairs, and their gradients against finite differences of those."""

import itertools
import math

import pytest
import torch

from entorhinal.ssl.sic_losses import capacity, conformal_isometry, invariance, separation, sic

B, T, N = 3, 4, 5
NEAR_M, WIDTH = 0.12, 0.4


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    velocity_m = 0.1 * torch.randn(T, 2, generator=generator, dtype=torch.float64)
    order = torch.rand(B, T, generator=generator).argsort(1)
    states = torch.rand(B, T, N, generator=generator, dtype=torch.float64)
    step_m = velocity_m[order]
    initial = torch.rand(N, generator=generator, dtype=torch.float64)
    return {"states": states, "step_m": step_m, "position_m": step_m.cumsum(1), "initial": initial}


def pairs(batch) -> list[tuple[float, float]]:
    """(distance of positions, squared distance of states) of every pair of two different states."""
    g, x = batch["states"].reshape(-1, N), batch["position_m"].reshape(-1, 2)
    return [
        (math.dist(x[i], x[j]), sum((float(a) - float(b)) ** 2 for a, b in zip(g[i], g[j], strict=True)))
        for i, j in itertools.permutations(range(B * T), 2)
    ]


def naive(batch) -> dict[str, float]:
    far = [math.exp(-square / (2 * WIDTH**2)) for distance_m, square in pairs(batch) if distance_m >= NEAR_M]
    near = [square for distance_m, square in pairs(batch) if distance_m < NEAR_M]
    mean = batch["states"].reshape(-1, N).mean(0)
    ratios = []
    for b in range(B):
        before = batch["initial"]
        for t in range(T):
            length_m = float(batch["step_m"][b, t].norm())
            if 1e-3 < length_m < 0.1:
                ratios.append(float((batch["states"][b, t] - before).norm()) / length_m)
            before = batch["states"][b, t]
    centre = sum(ratios) / len(ratios)
    assert near
    assert far
    assert 2 < len(ratios) < B * T
    return {
        "separation": sum(far) / len(far),
        "invariance": sum(near) / len(near),
        "capacity": -float((mean * mean).sum()),
        "conformal": sum((r - centre) ** 2 for r in ratios) / len(ratios),
    }


def terms(batch) -> dict[str, torch.Tensor]:
    weights = {"separation": 1.0, "invariance": 0.1, "capacity": 0.5, "conformal": 0.01}
    return sic(**batch, near_m=NEAR_M, separation_width=WIDTH, weights=weights)


def test_every_term_is_that_of_the_loops(batch) -> None:
    expected, found = naive(batch), terms(batch)
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-12), name
    total = expected["separation"] + 0.1 * expected["invariance"] + 0.5 * expected["capacity"]
    assert float(found["total"]) == pytest.approx(total + 0.01 * expected["conformal"], rel=1e-12)


def test_each_loss_by_itself_is_its_term(batch) -> None:
    found = terms(batch)
    g, x = batch["states"], batch["position_m"]
    assert separation(g, x, near_m=NEAR_M, width=WIDTH) == found["separation"]
    assert invariance(g, x, near_m=NEAR_M) == found["invariance"]
    assert capacity(g) == found["capacity"]
    assert conformal_isometry(g, batch["initial"], batch["step_m"]) == found["conformal"]


def test_gradients_are_those_of_finite_differences(batch) -> None:
    states = batch["states"].requires_grad_()
    for name, value in terms(batch).items():
        (gradient,) = torch.autograd.grad(value, states, retain_graph=True)
        for index in ((0, 0, 0), (1, 2, 3), (2, 3, 4)):
            moved = []
            for sign in (1, -1):
                other = states.detach().clone()
                other[index] += sign * 1e-6
                moved.append(float(terms(batch | {"states": other})[name]))
            assert float(gradient[index]) == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-5, abs=1e-9), name


def test_empty_sets_of_pairs_and_steps_are_zero(batch) -> None:
    apart = torch.arange(B * T * 2.0).view(B, T, 2)
    assert invariance(batch["states"], apart, near_m=1e-9) == 0
    assert separation(batch["states"], apart, near_m=1e9, width=WIDTH) == 0
    assert conformal_isometry(batch["states"], batch["initial"], batch["step_m"], min_step_m=9, max_step_m=10) == 0


def test_a_code_that_does_not_move_has_a_gradient(batch) -> None:
    states = batch["initial"].expand(B, T, N).clone().requires_grad_()
    value = conformal_isometry(states, batch["initial"], batch["step_m"])
    (gradient,) = torch.autograd.grad(value, states)
    assert value == 0
    assert gradient.isfinite().all()


def test_what_each_loss_wants() -> None:
    """One place code a position has no invariance loss and the least separation; the same state everywhere the most."""
    position_m = torch.arange(4.0)[None, :, None].expand(2, 4, 2)
    different = torch.eye(4).expand(2, 4, 4)
    same = torch.ones(2, 4, 4) / 2
    assert invariance(different, position_m, near_m=0.1) == 0
    assert float(separation(different, position_m, near_m=0.1, width=0.4)) == pytest.approx(math.exp(-2 / 0.32))
    assert float(separation(same, position_m, near_m=0.1, width=0.4)) == 1
    assert float(capacity(same)) == -1
    assert float(capacity(different)) == pytest.approx(-0.25)
