"""The four losses of Schaeffer et al. 2023 (their Section 3), on the states of any network.

Pairs are pairs of different states among all B·T of a batch, near when their positions are less than σ_x apart. Each
loss is a mean over its pairs or steps: as sums, capacity would vanish beside 6·10⁷ pairs. All are 0-d tensors,
differentiable with respect to the states, and fit for `torch.func.vmap`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["capacity", "conformal_isometry", "hard_separation", "invariance", "separation", "sic"]

_SMALLEST_SQUARE = 1e-16


def separation(states: Tensor, position_m: Tensor, *, near_m: Tensor | float, width: Tensor | float) -> Tensor:
    """Mean over far pairs of exp(−‖g − g′‖² / 2σ_g²).

    states ``(..., N)``, position_m ``(..., 2)`` with the same leading axes; near_m is σ_x, ``width`` is σ_g.
    """
    square, near, other = _pairs(states, position_m, near_m)
    return _mean(torch.exp(square / (-2 * width**2)), ~near & other)


def hard_separation(
    states: Tensor, position_m: Tensor, *, near_m: Tensor | float, from_m: Tensor | float, width: Tensor | float
) -> Tensor:
    """Mean over far pairs of exp(−‖g − g′‖² / 2σ_h²), counted as 0 up to ``from_m`` apart. Ours, not the paper's.

    With a ``width`` σ_h well below σ_g it sees repeats of the code and little else. Shapes as in `separation`.
    """
    square, near, other = _pairs(states, position_m, near_m)
    x = position_m.flatten(0, -2)
    beyond = (x[:, None] - x).square().sum(-1) > from_m**2
    return _mean(torch.exp(square / (-2 * width**2)) * beyond, ~near & other)


def invariance(states: Tensor, position_m: Tensor, *, near_m: Tensor | float) -> Tensor:
    """Mean over near pairs of ‖g − g′‖². Shapes as in `separation`."""
    square, near, other = _pairs(states, position_m, near_m)
    return _mean(square, near & other)


def capacity(states: Tensor) -> Tensor:
    """−‖mean of g‖² over all states ``(..., N)``: the population is to use all its units."""
    return -states.flatten(0, -2).mean(0).square().sum()


def conformal_isometry(
    states: Tensor, initial: Tensor, step_m: Tensor, *, min_step_m: float = 1e-3, max_step_m: float = 0.1
) -> Tensor:
    """Variance over small steps of ‖g_t − g_{t−1}‖ / ‖v_t‖; 0 where no step is small.

    states ``(B, T, N)`` after each step, initial ``(N,)`` before the first, step_m ``(B, T, 2)``. Small means
    min_step_m < ‖v‖ < max_step_m: the ratio diverges as ‖v‖ → 0.
    """
    before = torch.cat((initial.expand(len(states), 1, -1), states[:, :-1]), 1)
    square = (states - before).square().sum(-1)
    moved = square > _SMALLEST_SQUARE
    length = torch.where(moved, torch.where(moved, square, 1).sqrt(), 0)  # the gradient at 0 is 0, not NaN
    length_m = step_m.norm(dim=-1)
    small = (length_m > min_step_m) & (length_m < max_step_m)
    ratio = length / torch.where(small, length_m, 1)
    return _mean((ratio - _mean(ratio, small)).square(), small)


def sic(
    states: Tensor,
    initial: Tensor,
    position_m: Tensor,
    step_m: Tensor,
    *,
    near_m: Tensor | float,
    separation_width: Tensor | float,
    weights: Mapping[str, Tensor | float],
    min_step_m: float = 1e-3,
    max_step_m: float = 0.1,
) -> dict[str, Tensor]:
    """All four terms and their weighted sum ``total``.

    states ``(B, T, N)``, initial ``(N,)``, position_m and step_m ``(B, T, 2)`` in metres; weights has a number for each
    of ``separation``, ``invariance``, ``capacity``, ``conformal``.
    """
    square, near, other = _pairs(states, position_m, near_m)
    terms = {
        "separation": _mean(torch.exp(square / (-2 * separation_width**2)), ~near & other),
        "invariance": _mean(square, near & other),
        "capacity": capacity(states),
        "conformal": conformal_isometry(states, initial, step_m, min_step_m=min_step_m, max_step_m=max_step_m),
    }
    total = sum((weights[name] * term for name, term in terms.items()), torch.zeros_like(terms["capacity"]))
    return {"total": total, **terms}


def _pairs(states: Tensor, position_m: Tensor, near_m: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Squared distances ``(M, M)`` of all states, which pairs are near, and which are of different states."""
    g, x = states.flatten(0, -2), position_m.flatten(0, -2)
    norm = g.square().sum(-1)
    square = (norm[:, None] + norm - 2 * g @ g.T).clamp_min(0)
    near = (x[:, None] - x).square().sum(-1) < near_m**2
    return square, near, ~torch.eye(len(g), dtype=torch.bool, device=g.device)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of the values that are chosen; 0 if none is."""
    return torch.where(where, values, 0).sum() / where.sum().clamp_min(1)
