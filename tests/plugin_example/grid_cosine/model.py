"""Product of two cosines along x and y: a square lattice, written as a plugin's author would write a first model."""

import math

import torch

from entorhinal.families import Card, Config, Model, Representation


class GridCosineConfig(Config):
    spacing_m: float = 0.4
    units: int = 16


class GridCosine(Model):
    Config = GridCosineConfig
    card = Card(
        id="example/grid_cosine-v1",
        title="Square lattice",
        citation="@misc{example, title = {An example}, author = {The entorhinal developers}, year = {2026}}",
        lattice="given",
        supervision="none",
        provenance={"spacing_m": "chosen here", "units": "chosen here"},
    )

    def initial_state(self, start_m):
        return start_m.double()

    def represent(self, trajectories, state=None, *, generator=None):
        before_m = self.initial_state(trajectories.start_m) if state is None else state
        position_m = before_m[:, None] + trajectories.displacement_m.double().cumsum(1)  # (B, T, 2)
        phase = torch.linspace(0, 2 * math.pi, self.config.units + 1, device=position_m.device)[:-1]
        angle = 2 * math.pi * position_m[..., None] / self.config.spacing_m + phase  # (B, T, 2, N)
        rates = ((1 + angle.cos()) / 2).prod(-2)
        return Representation(rates.to(trajectories.start_m.dtype), position_m[:, -1])
