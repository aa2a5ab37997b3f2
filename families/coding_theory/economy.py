"""How should grid scales be spaced to spend the fewest neurons?  (Wei, Prentice & Balasubramanian 2015)

Modules i = 1, 2, ... have periods λ_i, field widths σ_i and scale ratio r = λ_i / λ_{i+1}. A module needs neurons in
proportion to the fields that tile its unit cell, c (λ/σ)^D, with c the cell's volume at unit period. Refining the
position by a factor R takes m = ln R / ln r modules, so all rests on the neurons per factor e of resolution.

Winner-take-all: module i says in which of its fields the animal is, and the next period must not be larger than that
field. Then λ_i/σ_i = r, and

    N / ln R = r^D / ln r,        least where D ln r = 1:  r = e^(1/D).

Probabilistic: module i turns what is known so far, a Gaussian of width δ_{i-1}, into the posterior

    p(x) ∝ exp(-|x|² / 2 δ_{i-1}²) Σ_g exp(-|x - λ_i g|² / 2 σ_i²),     g on the lattice of unit period,

whose standard deviation per axis is δ_i. At a given λ/σ the period is free: a small one sharpens the central peak, a
large one keeps the neighbouring peaks out of the prior. The best one gives ρ(λ/σ) = max δ_{i-1}/δ_i. When all modules
do the same, widths and periods shrink alike, r = ρ, and

    N / ln R = c q^D / ln ρ(q),   q = λ/σ,        least at a q found numerically.

The posterior is a mixture of Gaussians, so δ_i is a lattice sum and nothing is sampled. With δ_{i-1} = 1, peak g has
weight exp(-λ²|g|² / 2(1 + σ²)), mean λg / (1 + σ²) and variance σ² / (1 + σ²).

`Economy` is the population that the optimum prescribes in two dimensions: periods in the best ratio, fields as wide as
the best λ/σ says, and d c (λ/l)² neurons a module, with l the fields' diameter and d the coverage.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.optimize import minimize_scalar

from entorhinal.families.coding_theory.phase_modules import PhaseModules, field_sharpness, least_phases_per_axis
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Config

__all__ = [
    "Economy",
    "EconomyConfig",
    "Lattice",
    "Optimum",
    "posterior_width",
    "probabilistic_cost",
    "probabilistic_optimum",
    "refinement",
    "winner_take_all_cost",
    "winner_take_all_optimum",
    "winner_take_all_ratio",
]

Lattice = Literal["line", "triangular", "square"]
"""Where the fields of a module lie. On the square lattice the posterior is separable: a product of two lines."""

_BASIS: dict[str, np.ndarray] = {
    "line": np.array([[1.0]]),
    "triangular": np.array([[1.0, 0.0], [0.5, math.sqrt(3) / 2]]),
    "square": np.eye(2),
}
_PERIODS = np.geomspace(0.7, 12.0, 60)  # searched periods, in units of δ_{i-1}; the best ones lie between 3 and 5


@dataclass(frozen=True)
class Optimum:
    """The cheapest code: its scale ratio, λ/σ, and neurons per factor e of resolution."""

    ratio: float
    period_per_width: float
    cost: float


def winner_take_all_cost(ratio: float, dimensions: int) -> float:
    """r^D / ln r: neurons per factor e of resolution, up to a constant."""
    if not ratio > 1:
        raise InputError(f"winner_take_all_cost: ratio is {ratio}; give a scale ratio above 1")
    return ratio**dimensions / math.log(ratio)


def winner_take_all_ratio(dimensions: int) -> float:
    """The best scale ratio in closed form, e^(1/D)."""
    return math.exp(1 / dimensions)


def winner_take_all_optimum(dimensions: int) -> Optimum:
    """The best scale ratio by numerical search, for comparison with `winner_take_all_ratio`."""
    found = minimize_scalar(
        lambda log_ratio: winner_take_all_cost(math.exp(log_ratio), dimensions),
        bounds=(1e-3, 5.0),
        method="bounded",
        options={"xatol": 1e-10},
    )
    ratio = math.exp(found.x)
    return Optimum(ratio, ratio, float(found.fun))


def posterior_width(period: float, period_per_width: float, lattice: Lattice) -> float:
    """δ_i / δ_{i-1} for a module of ``period`` λ_i / δ_{i-1} and ``period_per_width`` λ_i / σ_i."""
    basis = _BASIS[lattice]
    width = period / period_per_width
    spread = 1 + width**2
    reach = 2 + math.ceil(10 * math.sqrt(spread) / period)  # peaks beyond 8 standard deviations have no weight
    steps = np.meshgrid(*(np.arange(-reach, reach + 1.0),) * len(basis))
    square = (np.stack([axis.ravel() for axis in steps], -1) @ basis * period) ** 2
    weight = np.exp(-square.sum(-1) / (2 * spread))
    between = (weight @ square).mean() / (weight.sum() * spread**2)
    return math.sqrt(width**2 / spread + between)


def refinement(period_per_width: float, lattice: Lattice) -> tuple[float, float]:
    """ρ(λ/σ), the largest δ_{i-1} / δ_i that a module can reach, and the period λ_i / δ_{i-1} that reaches it."""

    def log_width(log_period: float) -> float:
        return math.log(posterior_width(math.exp(log_period), period_per_width, lattice))

    logs = np.log(_PERIODS)
    best = int(np.clip(np.argmin([log_width(x) for x in logs]), 1, len(logs) - 2))
    found = minimize_scalar(
        log_width, bounds=(logs[best - 1], logs[best + 1]), method="bounded", options={"xatol": 1e-9}
    )
    return math.exp(-found.fun), math.exp(found.x)


def probabilistic_cost(period_per_width: float, lattice: Lattice) -> float:
    """c (λ/σ)^D / ln ρ(λ/σ): neurons per factor e of resolution, up to one constant for all lattices."""
    basis = _BASIS[lattice]
    cell = abs(float(np.linalg.det(basis)))
    return cell * period_per_width ** len(basis) / math.log(refinement(period_per_width, lattice)[0])


@cache
def probabilistic_optimum(lattice: Lattice) -> Optimum:
    """The cheapest λ/σ on ``lattice`` and the scale ratio that goes with it."""
    found = minimize_scalar(
        lambda q: probabilistic_cost(q, lattice), bounds=(3.0, 20.0), method="bounded", options={"xatol": 1e-6}
    )
    return Optimum(refinement(found.x, lattice)[0], float(found.x), float(found.fun))


class EconomyConfig(Config):
    """Which optimum, and what it leaves open."""

    readout: Literal["probabilistic", "winner-take-all"] = Field("probabilistic", description="whose optimum it is")
    smallest_period_m: float = Field(0.30, gt=0, description="lattice spacing of the finest module")
    modules: int = Field(3, ge=1, description="the largest period is smallest_period_m ratio^(modules - 1)")
    coverage: float = Field(20.0, gt=0, description="neurons whose centres lie in a square of a field's diameter")
    orientation_rad: float = Field(0.0, description="direction of the lattice axis a1, the same in all modules")

    @property
    def optimum(self) -> Optimum:
        probabilistic = self.readout == "probabilistic"
        return probabilistic_optimum("triangular") if probabilistic else winner_take_all_optimum(2)

    @property
    def field_width(self) -> float:
        """Standard deviation of a field in spacings: σ/λ, or a quarter of the diameter that the winner needs."""
        return 1 / self.optimum.period_per_width / (1 if self.readout == "probabilistic" else 4)

    @property
    def phases_per_axis(self) -> int:
        """√(d c (λ/l)²), rounded up; l is four standard deviations of a field."""
        cell = abs(float(np.linalg.det(_BASIS["triangular"])))
        return math.ceil(math.sqrt(self.coverage * cell) / (4 * self.field_width))

    @model_validator(mode="after")
    def _tiled(self) -> Self:
        least = least_phases_per_axis(field_sharpness(self.field_width))
        if self.phases_per_axis < least:
            raise ValueError(
                f"coverage {self.coverage:g} gives {self.phases_per_axis}² neurons a module, too few for fields of "
                f"{self.field_width:.3f} spacings: at least {least}² are needed; raise coverage"
            )
        return self


class Economy(PhaseModules):
    """The cheapest population in the plane, for either readout; N = modules * phases_per_axis²."""

    Config = EconomyConfig
    card = Card(
        id="coding_theory/economy-v1",
        title="Economical grid scales",
        citation="""@article{wei2015principle,
  author = {Wei, Xue-Xin and Prentice, Jason and Balasubramanian, Vijay},
  title = {A principle of economy predicts the functional architecture of grid cells},
  journal = {eLife},
  volume = {4},
  pages = {e08362},
  year = {2015},
  doi = {10.7554/eLife.08362}
}""",
        lattice="given",
        supervision="none",
        deviations=(
            "the paper gives the ratio of periods, the field/period ratio and how the neuron number scales; the shape "
            "of fields, where their centres lie, orientation and integration of displacement are ours",
            "the paper's σ is the width of a module's likelihood, in proportion to the field; here they are equal. For "
            "the winner-take-all readout the field's diameter is four standard deviations",
            "neurons a module are rounded up to a square number, on a regular grid of phases",
            "the posterior is that of a triangular lattice: ratio 1.433 at λ/σ 5.18, where the paper reports 1.44; a "
            "separable posterior gives 1.409 at 4.82. In one dimension we find 2.283 at 9.03 (paper 2.3); winner-take-"
            "all gives e and √e exactly",
            "noise-free, and without a decoder of its own: beyond the largest period the code is ambiguous",
        ),
        provenance={
            "readout": "both are the paper's; the default is the one that it finds closer to rats",
            "smallest_period_m": "our choice, as in controls/ideal_grid",
            "modules": "our choice, as in controls/ideal_grid",
            "coverage": "the paper leaves it open; our choice, enough for population vectors",
            "orientation_rad": "our choice",
        },
    )

    def __init__(self, config: EconomyConfig) -> None:
        ratio = config.optimum.ratio
        super().__init__(
            config,
            period_m=tuple(config.smallest_period_m * ratio**step for step in range(config.modules)),
            phases_per_axis=config.phases_per_axis,
            sharpness=field_sharpness(config.field_width),
            orientation_rad=config.orientation_rad,
        )
