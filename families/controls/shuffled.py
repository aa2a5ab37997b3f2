"""Grid maps with every field moved to a random place: the firing statistics of a grid without its lattice.

The maps of `controls/ideal_grid` are tabulated over the box, each is cut into its fields, and each field is put down
elsewhere. Rolling or flipping a map would keep its autocorrelogram, and so is no null.
"""

import torch
from torch import Tensor

from entorhinal.analysis.nulls import moved_fields
from entorhinal.families.controls.ideal_grid import IdealGrid
from entorhinal.families.controls.tabulated import TABULATED_PROVENANCE, Tabulated
from entorhinal.families.model import Card

__all__ = ["Shuffled"]


class Shuffled(Tabulated):
    """Rates ``(B, T, modules * units_per_module)``; fields that meet add up."""

    card = Card(
        id="controls/shuffled-v1",
        title="Grid fields moved at random",
        citation=IdealGrid.card.citation,
        training_extent_m=2.2,
        lattice="none",
        supervision="input",
        tasks=("gridness", "generalization", "modules", "topology", "capacity", "isometry", "robustness", "cost"),
        provenance=TABULATED_PROVENANCE,
    )

    def change(self, maps: Tensor, generator: torch.Generator) -> Tensor:
        return moved_fields(maps, generator=generator)
