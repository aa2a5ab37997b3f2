"""example/grid_cosine-v1: a square lattice, to be replaced by a model of yours.

Say here what the idea is, its equations with their source, and where the code departs from it. As it stands, unit n
fires with the product of two cosines along x and y, r_n = Π_d (1 + cos(2π x_d / spacing + φ_n)) / 2.
"""

import math

import torch
from torch import Tensor

from entorhinal.families import Card, Config, Model, Representation


class ExampleGridCosineConfig(Config):
    spacing_m: float = 0.4
    units: int = 16


class ExampleGridCosine(Model):
    Config = ExampleGridCosineConfig
    card = Card(
        id="example/grid_cosine-v1",
        title="Square lattice",
        citation="@misc{example_grid_cosine, title = {example/grid_cosine-v1}, author = {Its authors}, year = {2026}}",
        lattice="given",
        supervision="none",
        provenance={"spacing_m": "chosen here", "units": "chosen here"},
        interface_version=1,
    )

    def initial_state(self, start_m: Tensor) -> Tensor:  # having this method says: I integrate paths
        return start_m.double()

    def represent(self, trajectories, state=None, *, generator=None) -> Representation:
        before_m = self.initial_state(trajectories.start_m) if state is None else state
        position_m = before_m[:, None] + trajectories.displacement_m.double().cumsum(1)  # (B, T, 2)
        phase = torch.linspace(0, 2 * math.pi, self.config.units + 1, device=position_m.device)[:-1]
        angle = 2 * math.pi * position_m[..., None] / self.config.spacing_m + phase  # (B, T, 2, N)
        rates = ((1 + angle.cos()) / 2).prod(-2)
        return Representation(rates.to(trajectories.start_m.dtype), position_m[:, -1])
