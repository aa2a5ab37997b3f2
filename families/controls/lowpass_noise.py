"""Filtered, thresholded noise at the spectrum of grid cells: what a grid score finds where there is no lattice.

For every map of `controls/ideal_grid`, Gaussian noise with that map's radially averaged power spectrum, so with its
scale but with no preferred direction, rectified at its mean. Schaeffer, Khona & Fiete (2022) ask for this null beside
every grid score.
"""

import torch
from torch import Tensor

from entorhinal.analysis.nulls import spectrum_noise
from entorhinal.families.codes import interpolate_maps
from entorhinal.families.controls.ideal_grid import IdealGrid, IdealGridConfig, tabulate
from entorhinal.families.controls.shuffled import ShuffledConfig
from entorhinal.families.model import Card, Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["LowpassNoise", "LowpassNoiseConfig"]


class LowpassNoiseConfig(ShuffledConfig):
    """The fields of `ShuffledConfig`: which grid gives the spectra, and over which box the tables go."""


class LowpassNoise(Model):
    """Rates ``(B, T, modules * units_per_module)``, not negative; reads position; NaN outside ``extent_m``."""

    maps: Tensor

    Config = LowpassNoiseConfig
    card = Card(
        id="controls/lowpass_noise-v1",
        title="Thresholded noise at a grid's spectrum",
        citation="""@inproceedings{schaeffer2022,
  title = {No free lunch from deep learning in neuroscience: A case study through models of the entorhinal-hippocampal
           circuit},
  author = {Schaeffer, Rylan and Khona, Mikail and Fiete, Ila R.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {35},
  year = {2022}
}""",
        training_extent_m=2.2,
        lattice="none",
        supervision="input",
        tasks=("gridness", "cost"),
        provenance=IdealGrid.card.provenance
        | {"extent_m": "the box of Banino et al. 2018 and Sorscher et al. 2019", "bin_m": "chosen here"},
    )

    def __init__(self, config: LowpassNoiseConfig) -> None:
        super().__init__(config)
        grid = IdealGrid(IdealGridConfig(**config.model_dump(include=set(IdealGridConfig.model_fields))))
        generator = torch.Generator().manual_seed(config.seed)
        noise = spectrum_noise(tabulate(grid, config.extent_m, config.bin_m), generator=generator, keep_values=False)
        noise = noise - noise.mean((1, 2), keepdim=True)
        self.register_buffer("maps", torch.relu(noise).float())

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        half_m = self.config.extent_m / 2
        extent_m = ((-half_m, half_m), (-half_m, half_m))
        return Representation(interpolate_maps(self.maps, trajectories.position_m, extent_m))
