"""Place cells: Gaussian fields scattered over the box. A good map of space without a grid.

f_i(x) = exp(−|x − c_i|² / 2σ²), centres c_i uniform over the box.
"""

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.codes import gaussian_place_cells
from entorhinal.families.model import Card, Config, Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["PlaceCells", "PlaceCellsConfig"]


class PlaceCellsConfig(Config):
    units: int = Field(256, ge=1)
    width_m: float = Field(0.12, gt=0, description="standard deviation of a field")
    extent_m: float = Field(2.2, gt=0, description="side of the square that the centres fill")
    seed: int = Field(0, ge=0)


class PlaceCells(Model):
    """Rates ``(B, T, units)`` in [0, 1]; reads position."""

    centre_m: Tensor

    Config = PlaceCellsConfig
    card = Card(
        id="controls/place_cells-v1",
        title="Gaussian place cells",
        citation="""@article{okeefe1971,
  title = {The hippocampus as a spatial map. Preliminary evidence from unit activity in the freely-moving rat},
  author = {O'Keefe, John and Dostrovsky, Jonathan},
  journal = {Brain Research},
  volume = {34},
  pages = {171--175},
  year = {1971}
}""",
        training_extent_m=2.2,
        lattice="none",
        supervision="input",
        tasks=("gridness", "generalization", "modules", "topology", "capacity", "isometry", "robustness", "cost"),
        provenance={
            "units": "chosen here: enough to cover the box several times over",
            "width_m": "the place-cell width of Sorscher et al. 2019",
            "extent_m": "the box of Banino et al. 2018 and Sorscher et al. 2019",
            "seed": "chosen here",
        },
    )

    def __init__(self, config: PlaceCellsConfig) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(config.seed)
        centre_m = config.extent_m * (torch.rand(config.units, 2, generator=generator) - 0.5)
        self.register_buffer("centre_m", centre_m)

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        position_m = trajectories.position_m
        return Representation(gaussian_place_cells(position_m, self.centre_m.to(position_m), self.config.width_m))
