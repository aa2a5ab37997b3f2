"""Codes tabulated on a square lattice: v(x) for all x of a box, as what a model learns.

A table ``(bins², units)`` has the code at the centres of bins, row after row along x; between them it is bilinear.
"""

from torch import Tensor

from entorhinal.families import codes
from entorhinal.families.errors import InputError
from entorhinal.families.world import World

__all__ = ["check_box", "code_at", "maps_of", "places", "rates_at"]


def code_at(table: Tensor, position_m: Tensor, side_m: float) -> Tensor:
    """The code at ``position_m (..., 2)`` in a box of ``side_m``, ``(..., units)``, bilinear, for training.

    The half bin at the border, and what is outside, has the value of the border.
    """
    bins = round(len(table) ** 0.5)
    at = ((position_m / side_m + 0.5) * bins - 0.5).clamp(0, bins - 1)
    low = at.floor().clamp_max(bins - 2)
    (x, y), (column, row) = (at - low).unbind(-1), low.long().unbind(-1)
    corners = []
    for up, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (y if up else 1 - y) * (x if right else 1 - x)
        bin = ((row + up) * bins + column + right).flatten()
        corners.append(share[..., None] * table.index_select(0, bin).unflatten(0, share.shape))
    return corners[0] + corners[1] + corners[2] + corners[3]


def places(uniform: Tensor, displacement_m: Tensor, side_m: float) -> tuple[Tensor, Tensor]:
    """Starts and ends, both uniform where both are in the box: numbers in [0, 1] and steps, ``(..., 2)`` each."""
    low = (-side_m / 2 - displacement_m).clamp_min(-side_m / 2)
    high = (side_m / 2 - displacement_m).clamp_max(side_m / 2)
    start_m = low + (high - low) * uniform
    return start_m, start_m + displacement_m


def maps_of(table: Tensor) -> Tensor:
    """``(bins², units)`` -> ``(units, bins, bins)``, rows along y."""
    return table.mT.unflatten(-1, (round(len(table) ** 0.5),) * 2)


def rates_at(table: Tensor, position_m: Tensor, side_m: float) -> Tensor:
    """The code at ``position_m (B, T, 2)``, ``(B, T, units)``; NaN outside the box."""
    half_m = side_m / 2
    return codes.interpolate_maps(maps_of(table), position_m, ((-half_m, half_m), (-half_m, half_m)))


def check_box(owner: str, world: World, side_m: float) -> None:
    """`InputError` unless the arena is the square box that the table covers."""
    if world.arena.dimensions != 2 or any(abs(size - side_m) > 1e-6 for size in world.arena.size_m):
        raise InputError(
            f"{owner}: the table covers a square of side_m={side_m:g}, but the arena measures "
            f"{' x '.join(f'{size:g}' for size in world.arena.size_m)} m; make them the same"
        )
