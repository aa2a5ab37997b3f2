"""Grid maps with every field moved to a random place: the firing statistics of a grid without its lattice.

The maps of `controls/ideal_grid` are tabulated over the box, each is cut into its fields, and each field is put down
elsewhere. Rolling or flipping a map would keep its autocorrelogram, and so is no null.
"""

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.analysis.nulls import moved_fields
from entorhinal.families.codes import interpolate_maps
from entorhinal.families.controls.ideal_grid import IdealGrid, IdealGridConfig, tabulate
from entorhinal.families.model import Card, Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["Shuffled", "ShuffledConfig"]


class ShuffledConfig(IdealGridConfig):
    extent_m: float = Field(2.2, gt=0, description="side of the square that the tables cover")
    bin_m: float = Field(0.02, gt=0, description="side of a bin of the tables")


class Shuffled(Model):
    """Rates ``(B, T, modules * units_per_module)`` in [0, 1]; reads position; NaN outside ``extent_m``."""

    maps: Tensor

    Config = ShuffledConfig
    card = Card(
        id="controls/shuffled-v1",
        title="Grid fields moved at random",
        citation=IdealGrid.card.citation,
        training_extent_m=2.2,
        lattice="none",
        supervision="input",
        tasks=("gridness", "cost"),
        provenance=IdealGrid.card.provenance
        | {"extent_m": "the box of Banino et al. 2018 and Sorscher et al. 2019", "bin_m": "chosen here"},
    )

    def __init__(self, config: ShuffledConfig) -> None:
        super().__init__(config)
        grid = IdealGrid(IdealGridConfig(**config.model_dump(include=set(IdealGridConfig.model_fields))))
        generator = torch.Generator().manual_seed(config.seed)
        maps = moved_fields(tabulate(grid, config.extent_m, config.bin_m), generator=generator)
        self.register_buffer("maps", maps.float())

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        half_m = self.config.extent_m / 2
        extent_m = ((-half_m, half_m), (-half_m, half_m))
        return Representation(interpolate_maps(self.maps, trajectories.position_m, extent_m))
