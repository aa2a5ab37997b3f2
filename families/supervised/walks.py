"""What do networks that are trained on places learn from?  Walks in the box of their place cells, a batch at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from entorhinal.families.errors import InputError
from entorhinal.families.memory import check_fits
from entorhinal.families.world import Arena, World

__all__ = ["BLOCK", "batch_generator", "batches_of_walks", "check_box", "check_place_cells", "check_plane"]

BLOCK = 64
"""Batches made by one walk, as a walk takes the same time for many trajectories as for few."""
_KEPT = 3
"""Tensors of the shape of a batch's predictions that a step holds at least: logits, targets, a gradient."""
_APART = 0x1E3779B97F4A7C15  # odd and large: the seeds of batches are scattered


def batches_of_walks(
    world: World, seed: int, first: int, *, batch: int, steps_per_trajectory: int, block: int = BLOCK
) -> Iterator[dict[str, Tensor]]:
    """``start_m (B, 2)``, ``displacement_m (B, T, 2)``, ``position_m (B, T, 2)`` without end, from batch ``first`` on.

    B = batch and T = steps_per_trajectory. Batches ``b * block`` and on are one walk of seed ``seed + b``.
    """
    b, skipped = divmod(first, block)
    while True:
        walk = world.walk(block * batch, steps_per_trajectory, seed=(seed + b) % 2**63)
        for k in range(skipped, block):
            part = slice(k * batch, (k + 1) * batch)
            yield {name: getattr(walk, name)[part] for name in ("start_m", "displacement_m", "position_m")}
        b, skipped = b + 1, 0


def batch_generator(world: World, seed: int, k: int) -> torch.Generator:
    """A generator for what batch ``k`` needs besides its walks, with a seed far from those of walks and of others."""
    return world.generator((seed + _APART * (k + 1)) % 2**63)


def check_plane(owner: str, arena: Arena) -> None:
    """Raise `InputError` for an arena of one dimension."""
    if arena.dimensions != 2:
        raise InputError(f"{owner}: the arena has 1 dimension; give a plane, such as Arena.square(2.2)")


def check_box(owner: str, arena: Arena, side_m: float, filled: str = "place cells fill") -> None:
    """Raise `InputError` for an arena other than the square of side ``side_m`` that the targets fill."""
    check_plane(owner, arena)
    if any(abs(size_m - side_m) > 1e-6 for size_m in arena.size_m):
        raise InputError(
            f"{owner}: {filled} a square of side_m={side_m:g}, but the arena measures "
            f"{' x '.join(f'{size_m:g}' for size_m in arena.size_m)} m; make them the same"
        )


def check_place_cells(owner: str, place_cells: int, *, weights: int, world: World, walk: tuple[int, int]) -> None:
    """Raise `InputError` that says how many place cells fit, if memory cannot hold so many in training.

    A place cell has ``weights`` to and from it, with their gradients and two moments; ``walk`` is a batch's
    trajectories and steps.
    """
    trajectories, steps = walk
    each = torch.empty((), dtype=world.dtype).element_size() * (_KEPT * trajectories * steps + 4 * weights)
    advice = f", with {trajectories} trajectories of {steps} steps a batch; give fewer, or a smaller batch"
    check_fits(owner, "place_cells", place_cells, each, torch.device(world.device), advice)
