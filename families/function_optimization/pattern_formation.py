"""Pattern formation in networks that predict place cells (Sorscher, Mel, Ocko, Giocomo & Ganguli 2019, 2023).

Hidden units g are read linearly to place cells p. With the best read-out, learning climbs the variance of place cells
that the maps g explain, so every map follows, from noise, the spatial covariance Σ of the targets:

    dg/dt = Σ g − λ g,   Σ(x, x′) = Σ_i p_i(x) p_i(x′),   λ such that ‖g‖ stays                                (1)

On a torus Σ is a convolution, waves are its modes, and the one of most power wins. For targets with a surround,
p = G(σ²) − G(s σ²) of equal volumes,

    Σ̂(k) = (exp(−σ²k²/2) − exp(−s σ²k²/2))²   is largest on a ring   k*² = 2 ln s / ((s − 1) σ²)                (2)

and without a surround at k = 0: no pattern. On the ring all waves are equal. What chooses is the non-linearity. To
lowest order, keeping rates from being negative adds a cubic term c g³/3 to what is climbed, whose gradient c g² drives

    dg/dt = Σ (g + c g²/(1 + g²)) − λ g                                                                      (3)

and couples waves that sum to 0. Three of equal length do so at 60°: hexagons, of spacing 4π/(√3 k*). (Unless the term
saturates, as here, maps shrink to single peaks.)
"""

import logging
import math
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from entorhinal.families import codes
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Config, Model, Representation, State
from entorhinal.families.world import Trajectories, World

__all__ = ["PatternFormation", "PatternFormationConfig", "formed", "peak_wavenumber", "spectrum"]

logger = logging.getLogger("entorhinal")


class PatternFormationConfig(Config):
    target: Literal["dog", "gaussian"] = Field("dog", description="place cells with a surround, or without")
    constraint: Literal["none", "cubic", "nonnegative"] = Field(
        "nonnegative", description="none, eq. (1); the cubic term of eq. (3); or max(0, g) after each step"
    )
    bins: int = Field(80, ge=8, le=1000, description="along each side of the periodic box")
    side_m: float = Field(4.4, gt=0, description="of the box")
    place_width_m: float = Field(0.12, gt=0, description="σ")
    surround_variance_ratio: float = Field(2.0, gt=1, description="s")
    cubic: float = Field(0.3, ge=0, description="c, for maps of root mean square 1 and a largest Σ̂ of 1")
    units: int = Field(32, ge=1, description="maps, each from noise of its own")
    iterations: int = Field(1000, ge=1, description="steps of eq. (1)")
    seed: int = Field(0, ge=0, description="of the noise")

    @field_validator("place_width_m")
    @classmethod
    def _above_a_bin(cls, place_width_m: float, info: ValidationInfo) -> float:
        bin_m = info.data.get("side_m", 0.0) / info.data.get("bins", 1)
        if place_width_m <= bin_m:
            raise ValueError(
                f"not above a bin, {bin_m:.3g} m: fields would fall between places; give more, or more bins"
            )
        return place_width_m

    @property
    def spacing_m(self) -> float:
        """Of hexagons on the ring; infinite if there is none."""
        peak = peak_wavenumber(self)
        return 4 * math.pi / (math.sqrt(3) * peak) if peak else math.inf


def peak_wavenumber(config: PatternFormationConfig) -> float:
    """k* of eq. (2) in rad/m; 0 without a surround."""
    ratio = config.surround_variance_ratio
    return math.sqrt(2 * math.log(ratio) / (ratio - 1)) / config.place_width_m if config.target == "dog" else 0.0


def spectrum(config: PatternFormationConfig) -> Tensor:
    """Σ̂ of eq. (2) at the half plane of real transforms, ``(bins, bins // 2 + 1)``, float64, largest value 1."""
    wave = 2 * math.pi * torch.fft.fftfreq(config.bins, config.side_m / config.bins, dtype=torch.float64)
    square = config.place_width_m**2 * (wave[:, None].square() + wave[: config.bins // 2 + 1].square())
    field = torch.exp(-square / 2)
    if config.target == "dog":
        field = field - torch.exp(-config.surround_variance_ratio * square / 2)
    return field.square() / field.square().max()


def formed(config: PatternFormationConfig, start: Tensor) -> Tensor:
    """Maps ``(units, bins, bins)`` that noise ``start`` becomes: eq. (1) or (3) by steps of unit length, ‖g‖ kept.

    The norm is kept by scaling to a root mean square of 1, which is what λ does.
    """
    gain = spectrum(config)

    def unit(maps: Tensor) -> Tensor:
        return maps / maps.square().mean((-2, -1), keepdim=True).sqrt().clamp_min(1e-300)

    maps = unit(start)
    for _ in range(config.iterations):
        drive = maps
        if config.constraint == "cubic":
            drive = maps + config.cubic * maps.square() / (1 + maps.square())
        moved = maps + torch.fft.irfft2(torch.fft.rfft2(drive) * gain, s=maps.shape[-2:])
        maps = unit(moved.clamp_min(0) if config.constraint == "nonnegative" else moved)
    return maps


@lru_cache(maxsize=8)
def solve(config: PatternFormationConfig) -> Tensor:
    """All maps ``(units, bins, bins)``, float64. Not to be written to."""
    random = torch.Generator().manual_seed(config.seed)
    start = torch.randn(config.units, config.bins, config.bins, generator=random, dtype=torch.float64)
    if config.constraint == "nonnegative":
        start = start.clamp_min(0)
    with torch.no_grad():
        return formed(config, start)


class PatternFormation(Model):
    """Rates g ``(B, T, units)`` of the position alone, in a box that goes on periodically."""

    Config = PatternFormationConfig
    card: ClassVar[Card] = Card(
        id="function_optimization/pattern_formation-v1",
        title="Pattern formation on place-cell targets",
        citation="""@article{sorscher2023unified,
  title = {A unified theory for the computational and mechanistic origins of grid cells},
  author = {Sorscher, Ben and Mel, Gabriel C. and Ocko, Samuel A. and Giocomo, Lisa M. and Ganguli, Surya},
  journal = {Neuron},
  volume = {111},
  number = {1},
  pages = {121--137},
  year = {2023},
  doi = {10.1016/j.neuron.2022.10.003}
}""",
        training_extent_m=4.4,
        lattice="scale given",
        supervision="input",
        tasks=("gridness", "generalization", "modules", "topology", "capacity", "isometry", "robustness", "cost"),
        deviations=(
            "The box is periodic, so that the covariance is a convolution; the networks' is not.",
            "Every map climbs alone, as those of the leading eigenspace do; the networks' share one read-out.",
            "Targets are differences of Gaussians; the networks' are normalised over the cells, too.",
        ),
        provenance={
            "target": "paper",
            "constraint": "paper",
            "bins": "ours",
            "side_m": "ours: twice that of the paper's networks, so that the box's own waves do not decide",
            "place_width_m": "paper, of its networks",
            "surround_variance_ratio": "paper, of its networks",
            "cubic": "ours",
            "units": "ours",
            "iterations": "ours",
            "seed": "ours",
        },
    )
    maps: Tensor
    fitted: Tensor

    def __init__(self, config: PatternFormationConfig | None = None) -> None:
        super().__init__(config)
        c = self.config
        self.register_buffer("maps", torch.zeros(c.units, c.bins, c.bins))
        self.register_buffer("fitted", torch.tensor(False))
        if math.isfinite(c.spacing_m) and 2 * c.spacing_m > c.side_m:
            logger.warning(
                "%s: side_m=%g is less than two periods of %.2f m; the box, not the targets, sets the lattice",
                self.card.id,
                c.side_m,
                c.spacing_m,
            )

    def fit(self, world: World) -> None:
        """Compute the maps. They depend on the config alone: the box is the model's own, and ``world`` only a plane."""
        self._plane(world.arena.dimensions)
        self._fit()

    def _fit(self) -> None:
        if not self.fitted:
            self.maps.copy_(solve(self.config))
            self.fitted.fill_(True)

    def _plane(self, dimensions: int) -> None:
        if dimensions != 2:
            raise InputError(f"{self.card.id}: the arena has 1 dimension; give a plane, such as Arena.square(4.4)")

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        self._plane(trajectories.dimensions)
        self._fit()
        half_m = self.config.side_m / 2
        box = ((-half_m, half_m), (-half_m, half_m))
        return Representation(codes.interpolate_maps(self.maps, trajectories.position_m, box, periodic=True))
