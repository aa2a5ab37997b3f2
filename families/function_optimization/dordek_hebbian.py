"""Non-negative principal components by Hebbian learning (Dordek, Soudry, Meir & Derdikman 2016).

The objective of `function_optimization/dordek`, climbed by what a synapse can do. Place cells r, differences of
Gaussians of mean 0, are presented one place at a time, and the weights w_i of unit i follow Sanger's rule,

    y_i = w_i · r      Δw_i = η y_i (r − Σ_{j <= i} y_j w_j)      w_i ← max(0, w_i)                              (1)

in which j = i bounds the norm (Oja's rule) and j < i leaves a unit what earlier ones have not learned. Without the last
step, weights of either sign become the principal components (Sanger 1989). A step takes the mean over some places. As
all place cells have one field, r at a place is that field moved there: drives of all places, and the sum of y r over
those presented, are convolutions.
"""

from functools import lru_cache
from typing import ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from entorhinal.families.function_optimization.dordek import SPACING, Dordek, place_input
from entorhinal.families.model import Card, Config

__all__ = ["DordekHebbian", "DordekHebbianConfig", "learned"]


class DordekHebbianConfig(Config):
    nonnegative: bool = Field(True, description="weights are excitatory; False lets them have either sign")
    bins: int = Field(50, ge=8, le=500, description="place cells along each side of the periodic box")
    sigma_bins: float = Field(3.75, gt=1, description="width of a place field's centre, in bins")
    components: int = Field(2, ge=1, description="units of one network, in the order of Sanger's rule")
    networks: int = Field(4, ge=1, description="networks with initial weights and places of their own")
    extent_m: float = Field(0.8, gt=0, description="side of the periodic box in metres")
    rate: float = Field(0.1, gt=0, le=1, description="η, where the strongest wave of r has a variance of 1")
    presentations: int = Field(100, ge=1, description="places in a step")
    steps: int = Field(1000, ge=1)
    seed: int = Field(0, ge=0, description="of initial weights and places")

    @field_validator("sigma_bins")
    @classmethod
    def _a_period_fits(cls, sigma_bins: float, info: ValidationInfo) -> float:
        bins = info.data.get("bins", float("inf"))
        if SPACING * sigma_bins > bins:
            raise ValueError(f"one period, {SPACING:.2f} sigma_bins, exceeds the box; give <= {bins / SPACING:.4g}")
        return sigma_bins


def learned(config: DordekHebbianConfig) -> Tensor:
    """Weights after learning, ``(networks, components, bins, bins)``, float64."""
    c, random = config, torch.Generator().manual_seed(config.seed)
    field = place_input(c.bins, c.sigma_bins)
    field = c.bins * field / field.max()  # the strongest wave of w · r then has a variance of 1 for ‖w‖ = 1

    def convolved(maps: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(maps) * field, s=(c.bins, c.bins))

    shape = (c.networks, c.components, c.bins, c.bins)
    weights = torch.randn(shape, generator=random, dtype=torch.float64) / c.bins
    for _ in range(c.steps):
        if c.nonnegative:
            weights = weights.clamp_min(0)
        place = torch.randint(c.bins**2, (c.networks, c.presentations), generator=random)
        times = torch.zeros(c.networks, c.bins**2, dtype=torch.float64)
        times.scatter_add_(1, place, torch.ones_like(place, dtype=torch.float64))
        drive = convolved(weights) * times.view(c.networks, 1, c.bins, c.bins).sqrt()  # y, as often as it was seen
        both = torch.einsum("nixy,njxy->nij", drive, drive).tril() / c.presentations  # mean y_i y_j, j <= i
        seen = drive * times.view(c.networks, 1, c.bins, c.bins).sqrt() / c.presentations
        weights = weights + c.rate * (convolved(seen) - torch.einsum("nij,njxy->nixy", both, weights))
    return weights.clamp_min(0) if c.nonnegative else weights


@lru_cache(maxsize=4)
def solve(config: DordekHebbianConfig) -> Tensor:
    """All units' maps ``(networks * components, bins, bins)`` of norm 1, those of a network together."""
    with torch.no_grad():
        maps = learned(config).flatten(0, 1)
        return maps / maps.flatten(1).norm(dim=1).clamp_min(1e-300)[:, None, None]


class DordekHebbian(Dordek):
    """As `Dordek`, with learned weights."""

    Config = DordekHebbianConfig
    card: ClassVar[Card] = Card(
        id="function_optimization/dordek_hebbian-v1",
        title="Hebbian learning of non-negative components of place-cell input",
        citation=Dordek.card.citation,
        training_extent_m=0.8,
        lattice="scale given",
        supervision="input",
        tasks=Dordek.card.tasks,
        deviations=(
            "Places are presented at random, not along a walk; their order matters to no mean.",
            "Weights start at a norm of 1 and the rate is constant.",
            "Rates are the weights over place-cell centres, scaled to root mean square 1 over the box.",
        ),
        provenance={
            "nonnegative": "paper",
            "bins": "ours: half the paper's resolution",
            "sigma_bins": "paper: 7.5 at twice the resolution",
            "components": "ours",
            "networks": "ours",
            "extent_m": "as in function_optimization/dordek",
            "rate": "ours",
            "presentations": "ours",
            "steps": "ours",
            "seed": "ours",
        },
    )

    def solved(self) -> Tensor:
        return solve(self.config)
