"""How is a model asked for its state at a place?  It walks there from the origin, free of noise.

Models that integrate paths begin in the middle of the arena and are given nothing but steps; models that read position
read it at the end of the same walks. All walks go at 1 m/s, whatever their stride, in a plane without walls.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from entorhinal.families.model import Model, PathIntegrator, State
from entorhinal.families.world import Arena, Trajectories

__all__ = [
    "STRIDES_M",
    "Reached",
    "best_stride_m",
    "disagreement",
    "lattice_m",
    "slopes",
    "walk_lattice",
    "walk_straight",
    "walk_twice",
]

STRIDES_M = (0.02, 0.1)
"""Strides tried. A rat's walk and networks trained on one make about 2 cm in 20 ms; networks trained on independent
steps make some 0.1 m, and lose their way in many short ones."""

SPEED_M_S = 1.0
PAST_M = 0.3
PLANE = Arena.square(20.0, walls=False)
WALKERS = 512  # that walk at once


@dataclass(frozen=True)
class Reached:
    """Rates ``(P, units)`` at P places ``(P, 2)``, and the state there, leaves ``(P, ...)``."""

    rates: Tensor
    state: State
    place_m: Tensor


def walk_straight(model: Model, place_m: Tensor, stride_m: float, units: Tensor | None = None) -> Reached:
    """Straight from the origin to each of ``place_m (P, 2)``, in equal steps of at most ``stride_m``, at least one."""
    return _walk(model, (place_m,), stride_m, units)


def walk_twice(model: Model, place_m: Tensor, stride_m: float, units: Tensor | None = None) -> Tensor:
    """Rates ``(2, P, units)`` at the end of the straight walk, and of one along x, along y past the place, and back.

    The second arrives from the other side, so that a code of where the animal is going does not pass for one of place.
    """
    side = torch.where(place_m[:, 1:] < 0, -1.0, 1.0).to(place_m)
    along_x, along_y, past = (place_m.new_tensor(axis) for axis in ([1.0, 0.0], [0.0, 1.0], [0.0, PAST_M]))
    bent = (place_m * along_x, place_m * along_y + side * past, -side * past)
    return torch.stack([_walk(model, legs, stride_m, units).rates for legs in ((place_m,), bent)])


def best_stride_m(model: Model, place_m: Tensor) -> tuple[float, Tensor]:
    """The stride for which the two walks to each place agree, and their rates ``(2, P, N)``.

    It is the shorter one unless the codes of its two walks differ by more than a tenth of how codes of different places
    do, and those of the longer stride by a quarter less than that.
    """
    rates = walk_twice(model, place_m, STRIDES_M[0])
    short = disagreement(rates)
    if short > 0.1:
        longer = walk_twice(model, place_m, STRIDES_M[1])
        if disagreement(longer) < 0.75 * short:
            return STRIDES_M[1], longer
    return STRIDES_M[0], rates


def disagreement(rates: Tensor) -> float:
    """Median distance between the codes of two walks ``(2, P, N)`` to a place, over that to other places."""
    apart, dealt = ((rates[0] - rates[1].roll(shift, 0)).norm(dim=-1).nanmedian() for shift in (0, 1))
    return float(apart / dealt)


def lattice_m(half: int, pitch_m: float, device: torch.device | str = "cpu") -> Tensor:
    """A square lattice of places around the origin, ``(2 half + 1, 2 half + 1, 2)``, rows along y."""
    axis_m = pitch_m * torch.arange(-half, half + 1, device=device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(axis_m, axis_m, indexing="xy"), -1)


def walk_lattice(
    model: Model,
    half: int,
    pitch_m: float,
    stride_m: float,
    *,
    device: torch.device,
    units: Tensor | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Rates at the places of `lattice_m` ``(2 half + 1, 2 half + 1, units)``, one step of walking for each place.

    A comb: from the origin along x, and from every place on the way along y. Where a stride is several pitches long, as
    many walkers go each way, and their first steps of 1, 2, ... pitches put them between each other. The origin itself
    is reached by a step of length 0.

    half: a whole number of strides, which are a whole number of pitches.
    """
    factor = round(stride_m / pitch_m)
    if half % factor or abs(factor * pitch_m - stride_m) > 1e-9:
        raise ValueError(f"half is {half}, stride_m {stride_m} and pitch_m {pitch_m}; give whole numbers of both")
    origin = walk_straight(model, torch.zeros(1, 2, device=device), stride_m)
    spine = [(torch.zeros(1, dtype=torch.long, device=device), origin)]
    spine += _teeth(model, origin, 0, half, pitch_m, factor)
    chosen = slice(None) if units is None else units
    side = 2 * half + 1
    table = origin.rates.new_full((side, side, origin.rates[:, chosen].shape[1]), torch.nan)
    size = max(1, WALKERS // (2 * factor))
    for done, (column, reached) in enumerate(spine):
        table[half, column + half] = reached.rates[:, chosen]
        for first in range(0, len(column), size):
            part = slice(first, first + size)
            start = _taken(reached, part)
            columns = column[part].repeat_interleave(2 * factor) + half
            for row, there in _teeth(model, start, 1, half, pitch_m, factor):
                table[row + half, columns] = there.rates[:, chosen]
        progress(done + 1, len(spine))
    return table


def slopes(model: Model, reached: Reached, step_m: float, units: Tensor | None = None) -> Tensor:
    """Derivative of the rates along x and y ``(P, units, 2)``, per metre.

    From the state at each place, one step of ``step_m`` each way and the difference of what they lead to: what the walk
    has made of the state is the same in both.
    """
    found = []
    for axis in (0, 1):
        step = step_m * torch.eye(2, device=reached.place_m.device)[axis].expand_as(reached.place_m)
        ahead, behind = (_step(model, reached, sign * step, step_m).rates for sign in (1, -1))
        found.append((ahead - behind) / (2 * step_m))
    found_all = torch.stack(found, -1)
    return found_all if units is None else found_all[:, units]


def _teeth(
    model: Model, start: Reached, axis: int, half: int, pitch_m: float, factor: int
) -> Iterator[tuple[Tensor, Reached]]:
    """Walks along an axis both ways from P starts, as index along it and what is reached, ``(P * 2 factor,)`` each.

    Between them they come by every index from 1 to half, and from -1 to -half.
    """
    first = torch.arange(1, factor + 1, device=start.place_m.device)
    index = torch.cat((first, -first)).repeat(len(start.place_m))
    direction_m = pitch_m * torch.eye(2, device=start.place_m.device)[axis]

    def repeat(leaf: Tensor) -> Tensor:
        return leaf.repeat_interleave(2 * factor, 0)

    reached, steps = Reached(start.rates, _each(start.state, repeat), repeat(start.place_m)), index
    for _ in range(half // factor):
        reached = _step(model, reached, steps[:, None] * direction_m, factor * pitch_m)
        yield index, reached
        steps = factor * index.sign()
        index = index + steps


def _walk(model: Model, legs: tuple[Tensor, ...], stride_m: float, units: Tensor | None) -> Reached:
    """From the origin along legs ``(P, 2)``, each in equal steps of at most ``stride_m``, and all P at their own."""
    place_m = torch.zeros_like(legs[0])
    state = model.initial_state(place_m) if isinstance(model, PathIntegrator) else None
    rates: Tensor | None = None
    for leg_m in legs:
        strides = (leg_m.norm(dim=-1) / stride_m - 1e-6).ceil().clamp_min(1)
        for k in range(int(strides.max())):
            left = (k < strides).nonzero()[:, 0]
            there = _step(
                model, _taken(Reached(place_m, state, place_m), left), (leg_m / strides[:, None])[left], stride_m
            )
            if rates is None:
                rates = there.rates.new_zeros(len(place_m), there.rates.shape[1])
            rates[left] = there.rates
            place_m = place_m.index_copy(0, left, there.place_m)
            state = _put(state, left, there.state)
    assert rates is not None
    return Reached(rates if units is None else rates[:, units], state, place_m)


@torch.no_grad()
def _step(model: Model, reached: Reached, step_m: Tensor, stride_m: float) -> Reached:
    """One step ``(P, 2)`` of every walker, in the time that one of ``stride_m`` takes."""
    path = Trajectories.from_displacements(reached.place_m, step_m[:, None], stride_m / SPEED_M_S, PLANE)
    there = model.represent(path, reached.state)
    return Reached(there.rates[:, 0], there.state, path.position_m[:, 0])


def _each(state: State, change: Callable[[Tensor], Tensor]) -> Any:
    """A state with its tensors changed."""
    return tree_map(lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf, state)


def _taken(reached: Reached, index: Tensor | slice) -> Reached:
    """Some of the walkers."""
    state = _each(reached.state, lambda leaf: leaf[index])
    return Reached(reached.rates[index], state, reached.place_m[index])


def _put(state: State, index: Tensor, new: State) -> State:
    """The state with that of some walkers replaced."""
    if state is None:
        return None
    return tree_map(lambda old, leaf: old.index_copy(0, index, leaf) if isinstance(old, Tensor) else leaf, state, new)
