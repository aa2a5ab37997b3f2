"""Variance, invariance and covariance regularisation (Bardes, Ponce & LeCun, ICLR 2022), on pairs of any codes.

    L = λ s(Z, Z′) + μ [v(Z) + v(Z′)] + ν [c(Z) + c(Z′)]                                          (1)

Row i of Z and of Z′, both ``(..., D)``, are two views of one thing. All losses are 0-d tensors, differentiable, and
fit for `torch.func.vmap`.
"""

import torch
from torch import Tensor

__all__ = ["covariance", "invariance", "variance", "vicreg"]


def invariance(first: Tensor, second: Tensor) -> Tensor:
    """s: mean over pairs and dimensions of (z − z′)². The paper's equation sums over dimensions; its program does not,
    and its λ is for the mean."""
    return (first - second).square().mean()


def variance(codes: Tensor, *, target: float = 1.0, epsilon: float = 1e-4) -> Tensor:
    """v: how far each dimension's standard deviation √(Var + ε) falls short of ``target``, mean over dimensions."""
    return torch.relu(target - (codes.flatten(0, -2).var(0) + epsilon).sqrt()).mean()


def covariance(codes: Tensor) -> Tensor:
    """c: sum of the squared covariances of different dimensions, over their number D."""
    rows = codes.flatten(0, -2)
    centred = rows - rows.mean(0)
    squares = (centred.T @ centred / (len(rows) - 1)).square()
    return (squares.sum() - squares.diagonal().sum()) / squares.shape[0]


def vicreg(
    first: Tensor,
    second: Tensor,
    *,
    invariance_weight: Tensor | float = 25.0,
    variance_weight: Tensor | float = 25.0,
    covariance_weight: Tensor | float = 1.0,
) -> dict[str, Tensor]:
    """All three terms, those of both views added, and their weighted sum ``total``, Eq. (1)."""
    terms = {
        "invariance": invariance(first, second),
        "variance": variance(first) + variance(second),
        "covariance": covariance(first) + covariance(second),
    }
    total = (
        invariance_weight * terms["invariance"]
        + variance_weight * terms["variance"]
        + covariance_weight * terms["covariance"]
    )
    return {"total": total, **terms}
