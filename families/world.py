"""What world does a model live in?  Arenas, trajectories, and the sampling of both in batches.

Every trajectory is a batch of shape ``(B, T, D)`` with D = 1 (a line) or 2 (a plane), in metres and seconds. A model
that integrates paths may read ``start_m``, ``displacement_m``, ``dt_s`` and ``arena``; positions are for scoring, and
for the models that say that they read them.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from entorhinal.families.errors import InputError
from entorhinal.families.walk_kernel import has_walk_kernel, walk_in_a_box

__all__ = [
    "Arena",
    "Trajectories",
    "World",
    "load_recording",
    "recorded_trajectory",
]


logger = logging.getLogger("entorhinal")


@dataclass(frozen=True)
class Arena:
    """A box (D = 2) or a track (D = 1), centred on 0.

    extent_m: ``((x0, x1), (y0, y1))``, or ``((x0, x1),)`` in one dimension, in metres.
    periodic: leaving on one side is entering on the other.
    walls:    the animal cannot leave. Neither walls nor periodic: an open plane, whose extent is the part scored.
    """

    extent_m: tuple[tuple[float, float], ...]
    periodic: bool = False
    walls: bool = True

    def __post_init__(self) -> None:
        if len(self.extent_m) not in (1, 2):
            raise InputError(f"arena: extent_m has {len(self.extent_m)} axes; give 1 or 2, such as ((-1, 1), (-1, 1))")
        for low, high in self.extent_m:
            if not (math.isfinite(low) and math.isfinite(high) and high > low):
                raise InputError(
                    f"arena: extent_m ({low}, {high}) is not an interval; give (low, high) with low < high"
                )
            if abs(low + high) > 1e-6 * (high - low):
                raise InputError(
                    f"arena: extent_m ({low}, {high}) is not centred on 0; shift positions by {-(low + high) / 2:g} m"
                )
        if self.periodic and self.walls:
            raise InputError("arena: periodic and walls exclude each other; pass walls=False for a periodic arena")

    @classmethod
    def square(cls, side_m: float = 2.2, *, periodic: bool = False, walls: bool | None = None) -> Self:
        """A square box of side ``side_m`` metres; walled unless periodic."""
        if not side_m > 0:
            raise InputError(f"arena: side_m is {side_m}; give a positive length in metres")
        half = side_m / 2
        return cls(((-half, half), (-half, half)), periodic, (not periodic) if walls is None else walls)

    @classmethod
    def line(cls, length_m: float = 2.2, *, periodic: bool = False, walls: bool | None = None) -> Self:
        """A track of length ``length_m`` metres; walled unless periodic."""
        if not length_m > 0:
            raise InputError(f"arena: length_m is {length_m}; give a positive length in metres")
        return cls(((-length_m / 2, length_m / 2),), periodic, (not periodic) if walls is None else walls)

    @property
    def dimensions(self) -> int:
        return len(self.extent_m)

    @property
    def size_m(self) -> tuple[float, ...]:
        return tuple(high - low for low, high in self.extent_m)

    def bounds_m(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper corner, each ``(D,)``, on the device and in the dtype of ``like``."""
        corners = torch.tensor(self.extent_m, dtype=like.dtype, device=like.device)
        return corners[:, 0], corners[:, 1]

    def contains(self, position_m: Tensor) -> Tensor:
        """Which of ``position_m (..., D)`` lie inside, ``(...)``; a micrometre outside still counts as inside."""
        low, high = self.bounds_m(position_m)
        return ((position_m >= low - 1e-6) & (position_m <= high + 1e-6)).all(-1)

    def wrap(self, position_m: Tensor) -> Tensor:
        """Positions ``(..., D)`` brought back into a periodic arena; unchanged elsewhere."""
        if not self.periodic:
            return position_m
        low, high = self.bounds_m(position_m)
        return low + torch.remainder(position_m - low, high - low)


@dataclass(frozen=True)
class Trajectories:
    """A batch of paths through an arena.

    start_m ``(B, D)``, displacement_m ``(B, T, D)`` of each step, position_m ``(B, T, D)`` after each step, heading_rad
    ``(B, T)`` the direction of each step, all of one floating dtype and device; dt_s seconds a step.
    """

    start_m: Tensor
    displacement_m: Tensor
    position_m: Tensor
    heading_rad: Tensor
    dt_s: float
    arena: Arena

    def __post_init__(self) -> None:
        b, d = self.start_m.shape if self.start_m.ndim == 2 else (-1, -1)
        steps = self.displacement_m.shape[1] if self.displacement_m.ndim == 3 else -1
        wanted = {
            "start_m": (self.start_m, (b, self.arena.dimensions)),
            "displacement_m": (self.displacement_m, (b, steps, d)),
            "position_m": (self.position_m, (b, steps, d)),
            "heading_rad": (self.heading_rad, (b, steps)),
        }
        for name, (tensor, shape) in wanted.items():
            if tuple(tensor.shape) != shape:
                raise InputError(
                    f"trajectories: {name} has shape {tuple(tensor.shape)}, expected {shape}, "
                    "from start_m (B, D) and displacement_m (B, T, D)"
                )
            if not tensor.is_floating_point():
                raise InputError(f"trajectories: {name} is {tensor.dtype}; convert it to a floating dtype")
        if not (math.isfinite(self.dt_s) and self.dt_s > 0):
            raise InputError(f"trajectories: dt_s is {self.dt_s}; give a positive number of seconds")

    @classmethod
    def from_displacements(cls, start_m: Tensor, displacement_m: Tensor, dt_s: float, arena: Arena) -> Self:
        """The path from ``start_m (B, D)`` along ``displacement_m (B, T, D)``; positions wrap in a periodic arena."""
        position_m = arena.wrap(start_m[:, None] + displacement_m.cumsum(1))
        return cls(start_m, displacement_m, position_m, _direction(displacement_m), dt_s, arena)._finite()

    @classmethod
    def from_positions(cls, position_m: Tensor, dt_s: float, arena: Arena) -> Self:
        """The path through ``position_m (B, T+1, D)``, whose first entry is the start."""
        if position_m.ndim != 3 or position_m.shape[1] < 2:
            raise InputError(
                f"trajectories: position_m has shape {tuple(position_m.shape)}; give (B, T+1, D) with T >= 1"
            )
        displacement_m = position_m.diff(dim=1)
        return cls(
            position_m[:, 0], displacement_m, position_m[:, 1:], _direction(displacement_m), dt_s, arena
        )._finite()

    def _finite(self) -> Self:
        for name in ("start_m", "displacement_m", "position_m"):
            bad = ~torch.isfinite(getattr(self, name))
            if bad.any():
                first = tuple(bad.nonzero()[0].tolist())
                raise InputError(
                    f"trajectories: {name} is not finite at index {first} ({int(bad.sum())} such values); "
                    "remove or bridge the gaps first (recorded_trajectory(..., gaps='bridge'))"
                )
        return self

    @property
    def batch(self) -> int:
        return self.start_m.shape[0]

    @property
    def steps(self) -> int:
        return self.displacement_m.shape[1]

    @property
    def dimensions(self) -> int:
        return self.arena.dimensions

    @property
    def duration_s(self) -> float:
        return self.steps * self.dt_s

    @property
    def distance_m(self) -> Tensor:
        """Path length after each step, ``(B, T)``."""
        return self.displacement_m.norm(dim=-1).cumsum(1)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        moved = {
            name: getattr(self, name).to(device=device, dtype=dtype)
            for name in ("start_m", "displacement_m", "position_m", "heading_rad")
        }
        return replace(self, **moved)

    def chunk(self, first: int, last: int) -> Self:
        """Steps ``first`` to ``last`` (exclusive); it starts where step ``first`` starts."""
        start_m = self.start_m if first == 0 else self.position_m[:, first - 1]
        part = slice(first, last)
        return replace(
            self,
            start_m=start_m,
            displacement_m=self.displacement_m[:, part],
            position_m=self.position_m[:, part],
            heading_rad=self.heading_rad[:, part],
        )

    def select(self, trials: slice | Sequence[int] | Tensor) -> Self:
        """The chosen trials of the batch."""
        index = trials if isinstance(trials, slice) else torch.as_tensor(trials, device=self.start_m.device)
        return replace(
            self,
            start_m=self.start_m[index],
            displacement_m=self.displacement_m[index],
            position_m=self.position_m[index],
            heading_rad=self.heading_rad[index],
        )


def _direction(displacement_m: Tensor) -> Tensor:
    """Direction of each step in radians, ``(B, T)``; on a line 0 or π. A step of length 0 keeps the last direction."""
    if displacement_m.shape[-1] == 1:
        angle = torch.where(displacement_m[..., 0] < 0, math.pi, 0.0).to(displacement_m.dtype)
    else:
        angle = torch.atan2(displacement_m[..., 1], displacement_m[..., 0])
    steps = torch.arange(angle.shape[1], device=angle.device).expand_as(angle)
    moved = torch.where((displacement_m != 0).any(-1), steps, 0).cummax(1).values
    return angle.gather(1, moved)


@dataclass(frozen=True)
class World:
    """Samples batches of trajectories in one arena, on one device, every trial a pure function of the seed.

    arena, dt_s as in `Trajectories`. device is where the tensors are made, dtype their precision.
    """

    arena: Arena = field(default_factory=Arena.square)
    dt_s: float = 0.02
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    def generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    def starts(self, batch: int, generator: torch.Generator) -> Tensor:
        """``(batch, D)`` positions, uniform over the arena."""
        low, high = self.arena.bounds_m(torch.empty(0, device=self.device, dtype=self.dtype))
        return low + (high - low) * self._uniform(batch, self.arena.dimensions, generator=generator)

    def walk(
        self,
        batch: int,
        steps: int,
        *,
        seed: int,
        speed_m_s: float = 0.13 * 2 * math.pi,
        turning_rad_s: float = 11.52,
        wall_zone_m: float = 0.03,
        start_m: Tensor | None = None,
    ) -> Trajectories:
        """A rat-like walk: Rayleigh speeds, diffusing heading, slowing down and turning along walls.

        At every step the speed is drawn from a Rayleigh distribution of scale ``speed_m_s`` and the heading turns by a
        normal angle of ``turning_rad_s * dt_s``. Within ``wall_zone_m`` of a wall and heading into it, the animal moves
        at a quarter of its speed and turns until it runs along the wall. Defaults: Banino et al. 2018; Sorscher et al.
        2019. Returns `Trajectories` with B = batch, T = steps. In one dimension the heading flips at the walls.
        """
        _positive(batch=batch, steps=steps, speed_m_s=speed_m_s)
        generator = self.generator(seed)
        arena, d = self.arena, self.arena.dimensions
        position = self.starts(batch, generator) if start_m is None else start_m.to(self.device, self.dtype)
        uniform = self._uniform(batch, steps, generator=generator)
        stride_m = speed_m_s * self.dt_s * torch.sqrt(-2 * torch.log1p(-uniform))
        turn = turning_rad_s * self.dt_s * self._normal(batch, steps, generator=generator)
        heading = 2 * math.pi * self._uniform(batch, generator=generator)
        if arena.walls and d == 2 and has_walk_kernel(position):
            displacement = walk_in_a_box(position, heading, stride_m, turn, *arena.bounds_m(position), wall_zone_m)
        else:
            displacement = _walked(arena, position, heading, stride_m, turn, wall_zone_m)
        return Trajectories.from_displacements(position, displacement, self.dt_s, arena)

    def iid_steps(self, batch: int, steps: int, *, seed: int, max_step_m: float = 0.15) -> Trajectories:
        """Independent uniform steps in ``[-max_step_m, max_step_m]^D`` from the origin (Schaeffer et al. 2023).

        Meant for an arena without walls; with walls a step that would leave is refused, as no such walk exists.
        """
        _positive(batch=batch, steps=steps, max_step_m=max_step_m)
        if self.arena.walls:
            raise InputError("iid_steps: independent steps leave any walled arena; use Arena.square(..., walls=False)")
        generator = self.generator(seed)
        displacement = max_step_m * (2 * self._uniform(batch, steps, self.arena.dimensions, generator=generator) - 1)
        start = torch.zeros(batch, self.arena.dimensions, device=self.device, dtype=self.dtype)
        return Trajectories.from_displacements(start, displacement, self.dt_s, self.arena)

    def sweeps(self, heading_rad: Sequence[float], speed_m_s: Sequence[float], steps: int) -> Trajectories:
        """Straight runs from the origin at constant velocity, one trial for each pair of heading and speed.

        B = len(heading_rad) * len(speed_m_s), headings outermost; they may leave the arena, so it must not have walls.
        """
        _positive(steps=steps)
        if self.arena.walls:
            raise InputError("sweeps: straight runs leave any walled arena; use Arena.square(..., walls=False)")
        heading, speed = torch.meshgrid(
            torch.as_tensor(heading_rad, device=self.device, dtype=self.dtype),
            torch.as_tensor(speed_m_s, device=self.device, dtype=self.dtype),
            indexing="ij",
        )
        velocity = (speed[..., None] * torch.stack((heading.cos(), heading.sin()), -1)).reshape(-1, 2)
        displacement = (velocity * self.dt_s)[:, None, : self.arena.dimensions].repeat(1, steps, 1)
        return Trajectories.from_displacements(
            torch.zeros_like(displacement[:, 0]), displacement, self.dt_s, self.arena
        )

    def _uniform(self, *shape: int, generator: torch.Generator) -> Tensor:
        return torch.rand(*shape, generator=generator, device=self.device, dtype=self.dtype)

    def _normal(self, *shape: int, generator: torch.Generator) -> Tensor:
        return torch.randn(*shape, generator=generator, device=self.device, dtype=self.dtype)


def _walked(
    arena: Arena, position: Tensor, heading: Tensor, stride_m: Tensor, turn: Tensor, wall_zone_m: float
) -> Tensor:
    """Displacements ``(B, T, D)`` from position ``(B, D)`` and heading ``(B,)``; stride_m and turn are ``(B, T)``."""
    d, dtype, (low, high) = arena.dimensions, position.dtype, arena.bounds_m(position)
    displacement = position.new_empty(*stride_m.shape, d)
    for t in range(stride_m.shape[1]):
        direction = torch.stack((heading.cos(), heading.sin()), -1)[:, :d]
        if d == 1:
            direction = torch.where(direction < 0, -1.0, 1.0).to(dtype)
        step = stride_m[:, t, None] * direction
        heading = heading + turn[:, t]
        if arena.walls:
            # outward normal of the wall that is near and ahead, per axis: -1, 0 or +1
            ahead = ((position > high - wall_zone_m) & (direction > 0)).to(dtype)
            ahead = ahead - ((position < low + wall_zone_m) & (direction < 0)).to(dtype)
            facing = ahead.abs().sum(-1) > 0
            step = torch.where(facing[:, None], 0.25 * step, step)
            heading = torch.where(facing, _along_wall(direction, ahead) + turn[:, t], heading)
            step = torch.clamp(position + step, low, high) - position
        displacement[:, t] = step
        position = arena.wrap(position + step)
    return displacement


def _along_wall(direction: Tensor, ahead: Tensor) -> Tensor:
    """Heading ``(B,)`` along the wall whose outward normal is ``ahead (B, D)``, on the side of ``direction (B, D)``.

    In a corner (two walls ahead), and on a line, the animal turns back.
    """
    along = torch.where(ahead != 0, 0.0, direction)
    along = torch.where((along == 0).all(-1, keepdim=True), -direction, along)
    if along.shape[-1] == 1:
        return torch.where(along[:, 0] < 0, math.pi, 0.0).to(direction.dtype)
    return torch.atan2(along[:, 1], along[:, 0])


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"world: {name} is {value}; give a positive number")


def recorded_trajectory(
    time_s: np.ndarray,
    position_m: np.ndarray,
    *,
    extent_m: tuple[tuple[float, float], ...],
    dt_s: float = 0.02,
    gaps: str = "refuse",
    max_gap_s: float = 1.0,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """One recorded path, resampled every ``dt_s`` and centred on 0: `Trajectories` with B = 1.

    time_s ``(M,)`` strictly increasing, position_m ``(M, D)``; extent_m is the recorded arena in the recording's own
    coordinates. A missing sample (NaN, or a time step over 1.5 times the median) is a gap: ``gaps="refuse"`` names the
    first one, ``gaps="bridge"`` interpolates linearly across gaps up to ``max_gap_s`` and refuses longer ones.
    """
    time_s, position_m = np.asarray(time_s, np.float64), np.asarray(position_m, np.float64)
    if gaps not in ("refuse", "bridge"):
        raise InputError(f"recorded trajectory: gaps is {gaps!r}; give 'refuse' or 'bridge'")
    if position_m.ndim != 2 or time_s.shape != position_m.shape[:1] or len(time_s) < 2:
        raise InputError(
            f"recorded trajectory: time_s is {time_s.shape} and position_m {position_m.shape}; give (M,) and (M, D)"
        )
    _positive(dt_s=dt_s, max_gap_s=max_gap_s)
    keep = np.isfinite(time_s) & np.isfinite(position_m).all(1)
    missing = int((~keep).sum())
    time_s, position_m = time_s[keep], position_m[keep]
    if len(time_s) < 2:
        raise InputError(f"recorded trajectory: {missing} of {missing + len(time_s)} samples are NaN; nothing is left")
    interval_s = np.diff(time_s)
    if (interval_s <= 0).any():
        raise InputError(
            f"recorded trajectory: time_s does not increase at sample {int((interval_s <= 0).argmax()) + 1}; sort it"
        )
    gap = interval_s > 1.5 * np.median(interval_s)
    first_s = time_s[:-1][gap][0] if gap.any() else time_s[0]
    found = f"recorded trajectory: {int(gap.sum())} gaps ({missing} NaN samples), the first at {first_s:g} s"
    if (gap.any() or missing) and gaps == "refuse":
        raise InputError(f"{found}; bridge them (gaps='bridge', or --bridge-gaps) or cut the recording")
    if interval_s.max() > max_gap_s:
        raise InputError(
            f"{found}, the longest {interval_s.max():g} s, over max_gap_s={max_gap_s:g}; cut the recording there"
        )
    if gap.any() or missing:
        logger.info("%s; bridged", found)
    low, high = np.array(extent_m, np.float64).T
    if len(extent_m) != position_m.shape[1] or (position_m < low).any() or (position_m > high).any():
        raise InputError(
            f"recorded trajectory: positions span {position_m.min(0).round(3).tolist()} to "
            f"{position_m.max(0).round(3).tolist()} m, which extent_m={extent_m} does not hold"
        )
    centre = (low + high) / 2
    samples_s = np.arange(time_s[0], time_s[-1] + 1e-9, dt_s)
    resampled = np.stack([np.interp(samples_s, time_s, axis) for axis in (position_m - centre).T], -1)
    half = tuple((float(a), float(b)) for a, b in zip(low - centre, high - centre, strict=True))
    return Trajectories.from_positions(torch.as_tensor(resampled[None], dtype=dtype, device=device), dt_s, Arena(half))


def load_recording(
    source: str | Path = "sargolini", *, gaps: str = "bridge", dt_s: float = 0.02, side_m: float | None = None
) -> Trajectories:
    """A recorded path from ``sargolini`` or from an ``.npz`` file with arrays ``t`` (M,) in s and ``pos`` (M, D) in m.

    ``sargolini`` is 600 s of a rat in a 1 m box (Sargolini et al. 2006, doi:10.1126/science.1125572), as the ratinabox
    package ships it. Its 60 gaps (0.36 s at most, 4.9 s in all) are bridged. For other files ``side_m`` gives the box
    ``[0, side_m]^D``; without it the box is the smallest that holds the path. Returns `Trajectories` with B = 1.
    """
    path = Path(source)
    if source == "sargolini":
        path, side_m = _shipped_recording(), 1.0
    if not path.is_file():
        raise InputError(f"recording {str(source)!r}: no such file; give 'sargolini' or a path to an .npz file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            time_s, position_m = arrays["t"], arrays["pos"]
    except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise InputError(
            f"recording {str(path)!r}: cannot read arrays 't' and 'pos' ({error}); save with np.savez"
        ) from None
    if position_m.ndim != 2:
        raise InputError(f"recording {str(path)!r}: pos has shape {position_m.shape}; give (M, D) in metres")
    if side_m is not None:
        extent_m = ((0.0, side_m),) * position_m.shape[1]
    else:
        extent_m = tuple(
            (float(a), float(b)) for a, b in zip(np.nanmin(position_m, 0), np.nanmax(position_m, 0), strict=True)
        )
    return recorded_trajectory(time_s, position_m, extent_m=extent_m, gaps=gaps, dt_s=dt_s)


def _shipped_recording() -> Path:
    from importlib.util import find_spec

    spec = find_spec("ratinabox")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the recording 'sargolini' is shipped by ratinabox; pip install 'entorhinal[ratinabox]'")
    return Path(next(iter(spec.submodule_search_locations))) / "data" / "sargolini.npz"
