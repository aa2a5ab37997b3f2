"""The losses of Pettersen, Schøyen, Malthe-Sørenssen & Lepperød 2024, on the states of any network.

    L = α ⟨(‖g − g′‖ − ρ‖r − r′‖)² exp(−‖r − r′‖²/2σ²)⟩ − (1 − α) ⟨g⟩                             (1)

The first mean is over pairs of different states, the second over states and units: nearby places are to be as far
apart in the code as in space, and units are to be active. All are 0-d tensors, differentiable with respect to the
states, and fit for `torch.func.vmap`. Lengths are in one unit, whichever it is.
"""

import torch
from torch import Tensor

__all__ = ["activity", "distance_mismatch", "distance_preserving"]


def distance_mismatch(
    states: Tensor, position: Tensor, *, envelope_width: Tensor | float, scale: Tensor | float
) -> Tensor:
    """Mean over pairs of (‖Δg‖ − ρ‖Δr‖)² exp(−‖Δr‖²/2σ²).

    states ``(..., N)``, position ``(..., D)`` with the same leading axes; envelope_width is σ, scale is ρ.
    """
    g, r = states.flatten(0, -2), position.flatten(0, -2)
    other = ~torch.eye(len(g), dtype=torch.bool, device=g.device)
    apart = (r[:, None] - r).square().sum(-1)
    mismatch = _lengths(_squares(g), other) - scale * _lengths(apart, other)
    weighted = mismatch.square() * torch.exp(apart / (-2 * envelope_width**2))
    return weighted.sum() / (len(g) * (len(g) - 1))


def activity(states: Tensor) -> Tensor:
    """Mean rate over all states and units: what (1) calls capacity, as states of unit norm have more of it the more
    units they share."""
    return states.mean()


def distance_preserving(
    states: Tensor,
    position: Tensor,
    *,
    envelope_width: Tensor | float,
    scale: Tensor | float,
    weight: Tensor | float,
) -> dict[str, Tensor]:
    """Both terms and their sum ``total``, Eq. (1); shapes as in `distance_mismatch`, weight is α."""
    mismatch = distance_mismatch(states, position, envelope_width=envelope_width, scale=scale)
    active = activity(states)
    return {"total": weight * mismatch - (1 - weight) * active, "mismatch": mismatch, "activity": active}


def _squares(g: Tensor) -> Tensor:
    """Squared distances ``(M, M)`` of all states, less their mean first: rounding is smaller without it."""
    g = g - g.mean(0)
    norm = g.square().sum(-1)
    return norm[:, None] + norm - 2 * g @ g.T


def _lengths(squares: Tensor, other: Tensor) -> Tensor:
    """Roots, and 0 where a state meets itself or another one like it, whose gradient is 0, not NaN."""
    apart = other & (squares > torch.finfo(squares.dtype).eps)
    return torch.where(apart, torch.where(apart, squares, 1).sqrt(), 0)
