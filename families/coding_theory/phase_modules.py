"""Modules of hexagonal fields that keep phases of position: what the populations of this family share.

In lattice coordinates, x = u a1 + v a2 with a1, a2 the unit basis of a triangular lattice, module m keeps only

    phase_m = (u, v) / λ_m  mod 1,                                                                               (1)

and integrates displacement by itself, in float64: float32 drifts over 30,000 steps. Its units tile the phases with
three-cosine fields,

    f = exp(sharpness (Σ_k cos(w_k · z) − 3) / 3),                                                               (2)

where w_k are the hexagonal waves of a unit lattice and z the distance of the phase from the preferred one in that
lattice. Near its peak a field is a Gaussian of standard deviation √(2 / sharpness) / |w|, with |w| = 4π/√3
(`field_sharpness` inverts this). A module is read by its population vector in each lattice coordinate, and position
from all of them by maximum likelihood within a stated range.
"""

import math
from typing import Self

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor

from entorhinal.families.codes import hexagonal_tuning, hexagonal_waves
from entorhinal.families.coding_theory.decoding import decode_waves
from entorhinal.families.model import Config, Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["FieldsConfig", "PhaseModules", "field_sharpness", "least_phases_per_axis"]


def field_sharpness(width: float) -> float:
    """The sharpness of fields whose standard deviation at the peak is ``width`` spacings."""
    return 2 / (width * 4 * math.pi / math.sqrt(3)) ** 2


def least_phases_per_axis(sharpness: float) -> int:
    """Fewer preferred phases than these on an axis, or on a ring, leave gaps between fields: population vectors are
    then biased by more than 0.002 cycles."""
    return max(3, math.ceil(2 + 2 * math.sqrt(sharpness)))


class FieldsConfig(Config):
    """Fields that are the same in all modules, and the regular grid of phases that they tile without gaps."""

    phases_per_axis: int = Field(8, ge=3, description="a module has this number squared of units")
    sharpness: float = Field(3.0, gt=0, description="of the fields; their s.d. is about 0.195 spacing / √sharpness")
    orientation_rad: float = Field(0.0, description="direction of the lattice axis a1, the same in all modules")

    @model_validator(mode="after")
    def _tiled(self) -> Self:
        if self.phases_per_axis < (least := least_phases_per_axis(self.sharpness)):
            raise ValueError(
                f"fields of sharpness {self.sharpness:g} need phases_per_axis of {least} or more to be read"
            )
        return self


class PhaseModules(Model):
    """Rates ``(B, T, N)`` in (0, 1]; state: phases in cycles, ``(B, M, 2)`` float64.

    phases_per_axis: one number, or one a module (`sides` has them all); a module has the square of it in units.
    """

    def __init__(
        self,
        config: BaseModel,
        *,
        period_m: tuple[float, ...],
        phases_per_axis: int | tuple[int, ...],
        sharpness: float,
        orientation_rad: float,
    ) -> None:
        super().__init__(config)
        self.period_m = period_m
        self.phases_per_axis = phases_per_axis
        self.sides = (phases_per_axis,) * len(period_m) if isinstance(phases_per_axis, int) else phases_per_axis
        self.sharpness = sharpness
        self.orientation_rad = orientation_rad

    def initial_state(self, start_m: Tensor) -> State:
        """Phases in cycles, ``(B, M, 2)`` float64, of every module at ``start_m (B, 2)``."""
        return torch.remainder(self._coordinates(start_m)[:, None] / self._periods(start_m), 1)

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        start = self.initial_state(trajectories.start_m) if state is None else state
        path_m = self._coordinates(trajectories.displacement_m).cumsum(1)  # (B, T, 2), displacement so far
        phase = torch.remainder(start[:, None] + path_m[:, :, None] / self._periods(path_m), 1)  # (B, T, M, 2)
        seen = phase if generator is None else self.with_phase_noise(phase, generator)
        rates = self._tuning(seen.to(trajectories.displacement_m.dtype))  # (B, T, N)
        if generator is not None:
            rates = self.with_spikes(rates, trajectories.dt_s, generator)
        return Representation(rates, phase[:, -1].clone())

    def with_phase_noise(self, phase: Tensor, generator: torch.Generator) -> Tensor:
        """What the units see of the phases ``(..., M, 2)``; here, all."""
        return phase

    def with_spikes(self, rates: Tensor, dt_s: float, generator: torch.Generator) -> Tensor:
        """What a reader sees in a step of the rates ``(..., N)``; here, all."""
        return rates

    def decode_within(self, representation: Representation, reach_m: float) -> Tensor:
        """Position ``(B, T, 2)`` by maximum likelihood where both lattice coordinates are at most ``reach_m``; NaN
        where the units are silent."""
        found = decode_waves(self.waves(representation.rates), self.period_m, -reach_m, reach_m)
        return (found @ self._basis(found)).to(representation.rates)

    def waves(self, rates: Tensor) -> Tensor:
        """Population vectors ``(..., 2, M)`` complex128 of the rates ``(..., N)``, one for each lattice coordinate."""
        found = []
        parts = rates.double().split([side**2 for side in self.sides], -1)
        for module, part in enumerate(parts):
            turn = 2 * math.pi * self._preferred(part, module)
            found.append(torch.complex(part @ turn.cos(), part @ turn.sin()))
        waves, total = torch.stack(found, -1), rates.sum(-1)[..., None, None]
        return waves.where(waves.abs() > 1e-6 * total, 0 * total)  # NaN stays NaN

    def phases(self, rates: Tensor) -> Tensor:
        """Phases in cycles by population vector: ``(..., N)`` -> ``(..., 2, M)`` float64, NaN for silent modules."""
        waves = self.waves(rates)
        return (waves.angle() / (2 * math.pi)).where(waves != 0, math.nan)

    def _tuning(self, phase: Tensor) -> Tensor:
        """Rates ``(..., N)`` at phases ``(..., M, 2)``, in the lattice of unit spacing."""
        basis, rates = self._basis(phase), []
        for module in range(len(self.period_m)):
            preferred = self._preferred(phase, module)
            angle = preferred.new_full(preferred.shape[:1], self.orientation_rad)
            waves = hexagonal_waves(torch.ones_like(angle), angle)
            position = phase[..., module, :] @ basis
            rates.append(hexagonal_tuning(position, waves, preferred @ basis, self.sharpness))
        return torch.cat(rates, -1)

    def _preferred(self, like: Tensor, module: int = 0) -> Tensor:
        """Preferred phases ``(n², 2)`` of a module, a regular grid over the unit cell."""
        side = self.sides[module]
        axis = torch.arange(side, dtype=like.dtype, device=like.device)
        return torch.cartesian_prod(axis, axis) / side

    def _basis(self, like: Tensor) -> Tensor:
        """Rows a1 and a2, ``(2, 2)``: unit vectors 60 degrees apart."""
        angle = self.orientation_rad + torch.tensor([0.0, math.pi / 3], dtype=torch.float64, device=like.device)
        return torch.stack((angle.cos(), angle.sin()), -1).to(like.dtype)

    def _coordinates(self, position_m: Tensor) -> Tensor:
        """Lattice coordinates (u, v) in metres of ``position_m (..., 2)``, float64."""
        return position_m.double() @ torch.linalg.inv(self._basis(position_m.double()))

    def _periods(self, like: Tensor) -> Tensor:
        """Periods ``(M, 1)`` in metres, float64."""
        return torch.tensor(self.period_m, dtype=torch.float64, device=like.device)[:, None]
