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
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar

from entorhinal.families.errors import InputError

__all__ = [
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


def probabilistic_optimum(lattice: Lattice) -> Optimum:
    """The cheapest λ/σ on ``lattice`` and the scale ratio that goes with it."""
    found = minimize_scalar(
        lambda q: probabilistic_cost(q, lattice), bounds=(3.0, 20.0), method="bounded", options={"xatol": 1e-6}
    )
    return Optimum(refinement(found.x, lattice)[0], float(found.x), float(found.fun))
