"""Modules of hexagonal fields that integrate displacement as phases: what every phase code of this family shares.

In lattice coordinates, x = u a1 + v a2 with a1, a2 the unit basis of a triangular lattice, a module of period λ keeps

    phase = (u, v) / λ  mod 1,

and its units tile the phases. The rate is exp(sharpness (Σ_k cos(w_k · z) − 3) / 3), where w_k are the hexagonal waves
of a unit lattice and z the distance of the phase from the preferred one in that lattice. Near its peak the field is a
Gaussian of standard deviation √(2 / sharpness) / |w|, with |w| = 4π/√3 (`field_sharpness` inverts this).

Each module adds its own displacement and hears nothing from the others. Phases are float64: float32 drifts over 30,000
steps. Phases are read back by population vector.
"""

import math

import torch
from pydantic import BaseModel
from torch import Tensor

from entorhinal.families.codes import hexagonal_tuning, hexagonal_waves
from entorhinal.families.model import Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["PhaseModules", "field_sharpness", "least_phases_per_axis"]


def field_sharpness(width: float) -> float:
    """The sharpness of fields whose standard deviation at the peak is ``width`` spacings."""
    return 2 / (width * 4 * math.pi / math.sqrt(3)) ** 2


def least_phases_per_axis(sharpness: float) -> int:
    """Fewer preferred phases than these on an axis leave gaps between fields: population vectors are then biased by
    more than 0.002 cycles."""
    return max(3, math.ceil(2 + 2 * math.sqrt(sharpness)))


class PhaseModules(Model):
    """Rates ``(B, T, modules * phases_per_axis²)`` in (0, 1]; state: phases in cycles, ``(B, modules, 2)`` float64."""

    def __init__(
        self,
        config: BaseModel,
        *,
        period_m: tuple[float, ...],
        phases_per_axis: int,
        sharpness: float,
        orientation_rad: float,
    ) -> None:
        super().__init__(config)
        self.period_m = period_m
        self.phases_per_axis = phases_per_axis
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
        phase = torch.remainder(start[:, None] + path_m[:, :, None] / self._periods(path_m), 1)  # (B,T,M,2)
        rates = self._tuning(phase.to(trajectories.displacement_m.dtype)).flatten(2)  # (B, T, M * n²)
        return Representation(rates, phase[:, -1].clone())

    def phases(self, rates: Tensor) -> Tensor:
        """Phases in cycles by population vector: ``(..., N)`` -> ``(..., 2, M)`` float64, NaN for silent units."""
        rates = rates.double().unflatten(-1, (len(self.period_m), -1))
        turn = 2 * math.pi * self._preferred(rates)
        sine, cosine = rates @ turn.sin(), rates @ turn.cos()  # (..., M, 2)
        phase = torch.atan2(sine, cosine) / (2 * math.pi)
        return phase.where(torch.hypot(sine, cosine) > 1e-6 * rates.sum(-1, keepdim=True), math.nan).mT

    def _tuning(self, phase: Tensor) -> Tensor:
        """Rates ``(..., M, n²)`` at phases ``(..., M, 2)``, in the lattice of unit spacing."""
        preferred = self._preferred(phase)
        angle = preferred.new_full(preferred.shape[:1], self.orientation_rad)
        basis = self._basis(phase)
        waves = hexagonal_waves(torch.ones_like(angle), angle)
        return hexagonal_tuning(phase @ basis, waves, preferred @ basis, self.sharpness)

    def _preferred(self, like: Tensor) -> Tensor:
        """Preferred phases ``(n², 2)``, a regular grid over the unit cell, the same in all modules."""
        axis = torch.arange(self.phases_per_axis, dtype=like.dtype, device=like.device)
        return torch.cartesian_prod(axis, axis) / self.phases_per_axis

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
