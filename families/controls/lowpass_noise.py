"""Filtered, thresholded noise at the spectrum of grid cells: what a grid score finds where there is no lattice.

For every map of `controls/ideal_grid`, Gaussian noise with that map's radially averaged power spectrum, so with its
scale but with no preferred direction, rectified at its mean. Schaeffer, Khona & Fiete (2022) ask for this null beside
every grid score.
"""

import torch
from torch import Tensor

from entorhinal.analysis.nulls import spectrum_noise
from entorhinal.families.controls.tabulated import TABULATED_PROVENANCE, Tabulated
from entorhinal.families.model import Card

__all__ = ["LowpassNoise"]


class LowpassNoise(Tabulated):
    """Rates ``(B, T, modules * units_per_module)``, not negative."""

    card = Card(
        id="controls/lowpass_noise-v1",
        title="Thresholded noise at a grid's spectrum",
        citation="""@inproceedings{schaeffer2022,
  title = {No Free Lunch from Deep Learning in Neuroscience: A Case Study through Models of the
           Entorhinal-Hippocampal Circuit},
  author = {Schaeffer, Rylan and Khona, Mikail and Fiete, Ila Rani},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {35},
  year = {2022}
}""",
        training_extent_m=2.2,
        lattice="none",
        supervision="input",
        tasks=("gridness", "generalization", "modules", "topology", "capacity", "isometry", "robustness", "cost"),
        provenance=TABULATED_PROVENANCE,
    )

    def change(self, maps: Tensor, generator: torch.Generator) -> Tensor:
        noise = spectrum_noise(maps, generator=generator, keep_values=False)
        return torch.relu(noise - noise.mean((1, 2), keepdim=True))
