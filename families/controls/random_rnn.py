"""An untrained recurrent network: what a rectified network with random weights makes of velocity and a start.

h_t = [W h_{t−1} + W_in Δx_t]₊, h_0 = [W_0 p(start)]₊, W and W_in and W_0 Gaussian, p a place code. The architecture is
that of Sorscher et al. 2019 before its first training step.
"""

import math

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.codes import gaussian_place_cells
from entorhinal.families.model import Card, Config, Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["RandomRNN", "RandomRNNConfig"]


class RandomRNNConfig(Config):
    units: int = Field(256, ge=1)
    gain: float = Field(
        math.sqrt(2), gt=0, description="W ~ N(0, gain²/units); √2 keeps rectified activity of one size"
    )
    input_gain_per_m: float = Field(
        10.0, gt=0, description="W_in ~ N(0, input_gain²), for displacements in metres a step"
    )
    place_cells: int = Field(512, ge=1)
    place_width_m: float = Field(0.12, gt=0)
    extent_m: float = Field(2.2, gt=0, description="side of the square that the place cells fill")
    seed: int = Field(0, ge=0)


class RandomRNN(Model):
    """Rates ``(B, T, units)`` and state h ``(B, units)``."""

    recurrent: Tensor
    input: Tensor
    start: Tensor
    centre_m: Tensor

    Config = RandomRNNConfig
    card = Card(
        id="controls/random_rnn-v1",
        title="Untrained recurrent network",
        citation="""@inproceedings{sorscher2019,
  title = {A unified theory for the origin of grid cells through the lens of pattern formation},
  author = {Sorscher, Ben and Mel, Gabriel C. and Ganguli, Surya and Ocko, Samuel A.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {32},
  year = {2019}
}""",
        training_extent_m=2.2,
        lattice="none",
        supervision="none",
        provenance={
            "units": "chosen here",
            "gain": "He et al. 2015, for rectified units",
            "input_gain_per_m": "chosen here: a usual step of 1 to 2 cm changes the input by about a tenth",
            "place_cells": "Sorscher et al. 2019",
            "place_width_m": "Sorscher et al. 2019",
            "extent_m": "Sorscher et al. 2019",
            "seed": "chosen here",
        },
    )

    def __init__(self, config: RandomRNNConfig) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(config.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        n, places = config.units, config.place_cells
        self.register_buffer("recurrent", config.gain / math.sqrt(n) * normal(n, n))
        self.register_buffer("input", config.input_gain_per_m * normal(n, 2))
        self.register_buffer("start", normal(n, places) / math.sqrt(places))
        self.register_buffer("centre_m", config.extent_m * (torch.rand(places, 2, generator=generator) - 0.5))

    def initial_state(self, start_m: Tensor) -> Tensor:
        places = gaussian_place_cells(start_m, self.centre_m.to(start_m), self.config.place_width_m)
        return torch.relu(places @ self.start.to(start_m).T)

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        hidden = self.initial_state(trajectories.start_m) if state is None else state
        drive = trajectories.displacement_m @ self.input.to(hidden).T  # (B, T, N)
        recurrent, rates = self.recurrent.to(hidden).T, []
        for t in range(trajectories.steps):
            hidden = torch.relu(hidden @ recurrent + drive[:, t])
            rates.append(hidden)
        return Representation(torch.stack(rates, 1), hidden)

    def connectivity(self) -> Tensor:
        return self.recurrent
