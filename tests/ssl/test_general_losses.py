"""VICReg's and SimCLR's losses against loops and against codes for which they are known."""

import math

import pytest
import torch
from torch import Tensor

from entorhinal.ssl.simclr_losses import nt_xent
from entorhinal.ssl.vicreg_losses import covariance, invariance, variance, vicreg

P, D = 6, 4


@pytest.fixture
def views() -> tuple[Tensor, Tensor]:
    first = torch.randn(2, 3, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return first, first + 0.3 * torch.randn(2, 3, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_vicreg_is_that_of_the_loops(views) -> None:
    rows = [view.reshape(P, D).tolist() for view in views]
    agree = sum((a - b) ** 2 for x, y in zip(*rows, strict=True) for a, b in zip(x, y, strict=True)) / (P * D)
    short, linked = 0.0, 0.0
    for view in rows:
        mean = [sum(row[j] for row in view) / P for j in range(D)]

        def covary(i: int, j: int, view=view, mean=mean) -> float:
            return sum((row[i] - mean[i]) * (row[j] - mean[j]) for row in view) / (P - 1)

        short += sum(max(0.0, 1 - math.sqrt(covary(j, j) + 1e-4)) for j in range(D)) / D
        linked += sum(covary(i, j) ** 2 for i in range(D) for j in range(D) if i != j) / D
    found = vicreg(*views, invariance_weight=2.0, variance_weight=3.0, covariance_weight=0.5)
    for name, value in {"invariance": agree, "variance": short, "covariance": linked}.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-9), name
    assert short > 0
    assert float(found["total"]) == pytest.approx(2 * agree + 3 * short + 0.5 * linked, rel=1e-9)


def test_vicreg_of_independent_units_of_unit_variance_is_zero() -> None:
    codes = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3) * (7 / 8) ** 0.5  # variance 1 with 8 - 1 samples
    assert float(covariance(codes)) < 1e-12
    assert float(variance(codes, epsilon=0.0)) < 1e-6
    assert float(variance(codes / 2, epsilon=0.0)) == pytest.approx(0.5)
    assert invariance(codes, codes) == 0
    same = torch.ones(8, 3)
    assert float(variance(same, epsilon=0.0)) == 1


def test_simclr_is_that_of_the_loops(views) -> None:
    rows = [row for view in views for row in view.reshape(P, D).tolist()]

    def cosine(i: int, j: int) -> float:
        return sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) / math.hypot(*rows[i]) / math.hypot(*rows[j])

    total = 0.0
    for i in range(2 * P):
        among = sum(math.exp(cosine(i, k) / 0.2) for k in range(2 * P) if k != i)
        total -= math.log(math.exp(cosine(i, (i + P) % (2 * P)) / 0.2) / among)
    assert float(nt_xent(*views, temperature=0.2)) == pytest.approx(total / (2 * P), rel=1e-9)


def test_simclr_of_orthogonal_pairs_and_of_one_code() -> None:
    eye = torch.eye(8, dtype=torch.float64)
    expected = math.log(math.exp(2.0) + 14) - 2  # one other view at cosine 1, 14 others at 0
    assert float(nt_xent(eye, 3 * eye, temperature=0.5)) == pytest.approx(expected)
    same = torch.ones(8, 3, dtype=torch.float64)
    assert float(nt_xent(same, same)) == pytest.approx(math.log(15))


@pytest.mark.parametrize("loss", [lambda a, b: vicreg(a, b)["total"], nt_xent], ids=["vicreg", "simclr"])
def test_gradients_are_those_of_finite_differences(loss, views) -> None:
    assert torch.autograd.gradcheck(loss, tuple(view.requires_grad_() for view in views))
