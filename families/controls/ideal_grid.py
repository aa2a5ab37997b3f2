"""Ideal grid modules: three-cosine fields read from a perfectly integrated position. The ceiling of every grid score.

Module m has spacing λ_m and orientation θ_m; its unit i fires with
f_i(x) = (3/2 + Σ_k cos(q_mk · (x − c_i))) / 4.5, q_mk the three wave vectors of a triangular lattice, c_i its phase.
One spacing makes the single-torus case.
"""

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from entorhinal.families.codes import hexagonal_tuning, hexagonal_waves
from entorhinal.families.model import Card, Config, Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["IdealGrid", "IdealGridConfig"]


class IdealGridConfig(Config):
    spacing_m: tuple[float, ...] = Field(
        (0.30, 0.426, 0.605), min_length=1, description="field distance of each module"
    )
    orientation_rad: tuple[float, ...] = Field((0.10, 0.35, 0.20), min_length=1, description="of one axis, per module")
    units_per_module: int | tuple[int, ...] = Field(64, description="of all modules, or of each")
    seed: int = Field(0, ge=0, description="of the phases")

    @model_validator(mode="after")
    def _one_orientation_a_module(self) -> "IdealGridConfig":
        if len(self.spacing_m) != len(self.orientation_rad):
            raise ValueError(
                f"{len(self.spacing_m)} spacings but {len(self.orientation_rad)} orientations; one a module"
            )
        if min(self.spacing_m) <= 0:
            raise ValueError("every spacing_m must be positive")
        if len(self.units) != len(self.spacing_m):
            raise ValueError(f"{len(self.spacing_m)} spacings but {len(self.units)} units_per_module; one a module")
        return self

    @field_validator("units_per_module")
    @classmethod
    def _no_empty_module(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if min(value if isinstance(value, tuple) else (value,)) < 1:
            raise ValueError("give every module at least 1 unit")
        return value

    @property
    def units(self) -> tuple[int, ...]:
        """Of each module."""
        given = self.units_per_module
        return given if isinstance(given, tuple) else (given,) * len(self.spacing_m)


class IdealGrid(Model):
    """Rates ``(B, T, N)`` in [0, 1], modules in order; state: the position, ``(B, 2)``."""

    wave_rad_m: Tensor
    centre_m: Tensor

    Config = IdealGridConfig
    card = Card(
        id="controls/ideal_grid-v1",
        title="Ideal grid modules",
        citation="""@article{stensola2012,
  title = {The entorhinal grid map is discretized},
  author = {Stensola, Hanne and Stensola, Tor and Solstad, Trygve and Fr{\\o}land, Kristian and Moser, May-Britt
            and Moser, Edvard I.},
  journal = {Nature},
  volume = {492},
  pages = {72--78},
  year = {2012},
  doi = {10.1038/nature11649}
}""",
        lattice="given",
        supervision="none",
        provenance={
            "spacing_m": "chosen here so that the smallest arena in use, 1 m, holds several fields; ratio 1.42 between "
            "modules, the mean reported by Stensola et al. 2012",
            "orientation_rad": "chosen here: off the walls, different between modules",
            "units_per_module": "chosen here",
            "seed": "chosen here",
        },
    )

    def __init__(self, config: IdealGridConfig) -> None:
        super().__init__(config)
        spacing_m, orientation_rad = (
            torch.tensor(values, dtype=torch.float64).repeat_interleave(torch.tensor(config.units))
            for values in (config.spacing_m, config.orientation_rad)
        )
        generator = torch.Generator().manual_seed(config.seed)
        phase = torch.rand(len(spacing_m), 2, generator=generator, dtype=torch.float64)
        axes = torch.stack((orientation_rad, orientation_rad + torch.pi / 3), -1)
        basis_m = spacing_m[:, None, None] * torch.stack((axes.cos(), axes.sin()), -1)
        self.register_buffer("wave_rad_m", hexagonal_waves(spacing_m, orientation_rad))
        self.register_buffer("centre_m", torch.einsum("np,npd->nd", phase, basis_m))

    def initial_state(self, start_m: Tensor) -> Tensor:
        return start_m.double()

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        before_m = self.initial_state(trajectories.start_m) if state is None else state
        position_m = before_m[:, None] + trajectories.displacement_m.double().cumsum(1)
        rates = self.rates_at(position_m.to(trajectories.start_m.dtype))
        return Representation(rates, position_m[:, -1])

    def rates_at(self, position_m: Tensor) -> Tensor:
        """The tuning itself: ``position_m (..., 2)`` -> rates ``(..., N)``."""
        return hexagonal_tuning(position_m, self.wave_rad_m.to(position_m), self.centre_m.to(position_m))
