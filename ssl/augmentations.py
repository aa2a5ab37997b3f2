"""How are views of one trajectory made?  By permuting its velocities (Schaeffer et al. 2023).

All permutations of one sequence start and end at the same places and meet often in between, so a code must agree with
itself wherever different paths lead to one place.
"""

import torch
from torch import Tensor

from entorhinal.families.errors import InputError

__all__ = ["check_pairs", "permutations", "permuted_positions"]

_SAME_PLACE_M = 1e-6  # sums of the same velocities in other orders differ by rounding


def permutations(batches: int, trajectories: int, steps: int, *, generator: torch.Generator) -> Tensor:
    """Random orders of ``steps`` velocities: int64 ``(batches, trajectories, steps)``, each row a permutation."""
    keys = torch.rand(batches, trajectories, steps, generator=generator, device=generator.device)
    return keys.argsort(-1)


def permuted_positions(velocity_m: Tensor, order: Tensor) -> Tensor:
    """Where each step leads, from the origin: velocity ``(T, 2)``, order ``(B, T)`` -> ``(B, T, 2)`` in metres."""
    return velocity_m[order].cumsum(1)


def check_pairs(position_m: Tensor, near_m: float) -> None:
    """Raise `InputError` unless trajectories ``(B, T, 2)`` have pairs nearer and pairs farther than ``near_m``.

    Pairs at one place, where permutations meet, do not count. At most 1,024 states are looked at.
    """
    states = position_m.flatten(0, 1)
    states = states[:: -(-len(states) // 1024)]
    distance_m = torch.cdist(states, states, compute_mode="donot_use_mm_for_euclid_dist")
    distance_m = distance_m[distance_m > _SAME_PLACE_M]
    near = distance_m < near_m
    if near.all():
        raise InputError(
            f"training data: near_m={near_m:g} makes every pair near (the farthest are {float(distance_m.max()):.3g} m "
            "apart); take a smaller near_m, or larger steps (max_step_m)"
        )
    if not near.any():
        raise InputError(
            f"training data: near_m={near_m:g} makes every pair far (the closest are {float(distance_m.min()):.3g} m "
            "apart); take a larger near_m, or smaller steps (max_step_m)"
        )
