"""The normalised temperature-scaled cross entropy of SimCLR (Chen, Kornblith, Norouzi & Hinton, ICML 2020).

Of 2P codes, two views of P things, each is to pick out its other view by cosine similarity among the 2P − 1 others,

    ℓ(i, j) = −log [exp(z_i·z_j/τ) / Σ_{k≠i} exp(z_i·z_k/τ)]                                       (1)

The loss is the mean of ℓ over both directions of all pairs.
"""

import torch
from torch import Tensor

__all__ = ["nt_xent"]

_SMALLEST_NORM = 1e-8


def nt_xent(first: Tensor, second: Tensor, *, temperature: Tensor | float = 0.5) -> Tensor:
    """Eq. (1), 0-d: first and second ``(..., D)``, row by row two views of one thing; temperature is τ.

    Differentiable with respect to both, and fit for `torch.func.vmap`.
    """
    codes = torch.cat((first.flatten(0, -2), second.flatten(0, -2)))
    codes = codes / codes.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
    itself = torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    logits = (codes @ codes.T / temperature).masked_fill(itself, -torch.inf)
    other_view = (codes * codes.roll(len(codes) // 2, 0)).sum(-1) / temperature
    return (logits.logsumexp(-1) - other_view).mean()
