"""Controls made from the maps of ideal grids: tabulated over a box, changed, and read back at the animal's position."""

from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.codes import interpolate_maps
from entorhinal.families.controls.ideal_grid import IdealGrid, IdealGridConfig
from entorhinal.families.model import Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["TABULATED_PROVENANCE", "Tabulated", "TabulatedConfig"]

TABULATED_PROVENANCE = IdealGrid.card.provenance | {
    "extent_m": "the box of Banino et al. 2018 and Sorscher et al. 2019",
    "bin_m": "chosen here",
}


class TabulatedConfig(IdealGridConfig):
    extent_m: float = Field(2.2, gt=0, description="side of the square that the tables cover")
    bin_m: float = Field(0.02, gt=0, description="side of a bin of the tables")


class Tabulated(Model):
    """Rates ``(B, T, modules * units_per_module)``; reads position; NaN outside ``extent_m``."""

    maps: Tensor

    Config = TabulatedConfig

    def __init__(self, config: TabulatedConfig) -> None:
        super().__init__(config)
        grid = IdealGrid(IdealGridConfig(**config.model_dump(include=set(IdealGridConfig.model_fields))))
        generator = torch.Generator().manual_seed(config.seed)
        maps = self.change(_tabulate(grid, config.extent_m, config.bin_m), generator)
        self.register_buffer("maps", maps.float())

    @abstractmethod
    def change(self, maps: Tensor, generator: torch.Generator) -> Tensor:
        """What becomes of the grids' maps ``(N, H, W)``."""

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        half_m = self.config.extent_m / 2
        extent_m = ((-half_m, half_m), (-half_m, half_m))
        return Representation(interpolate_maps(self.maps, trajectories.position_m, extent_m))


def _tabulate(grid: IdealGrid, extent_m: float, bin_m: float) -> Tensor:
    """The grid's maps ``(N, H, W)`` at the centres of bins over a square of side ``extent_m``, rows along y."""
    bins = round(extent_m / bin_m)
    axis_m = extent_m * ((torch.arange(bins, dtype=torch.float64) + 0.5) / bins - 0.5)
    y_m, x_m = torch.meshgrid(axis_m, axis_m, indexing="ij")
    return grid.rates_at(torch.stack((x_m, y_m), -1)).movedim(-1, 0)
