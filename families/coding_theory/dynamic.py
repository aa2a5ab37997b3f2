"""How many neurons for each module, when the animal moves?  (Mosheiff, Agmon, Moriel & Burak 2017)

On each axis the animal diffuses, ⟨x²⟩ = 2 D t, and m_i Poisson units of module i give information about x at a rate

    J_i = m_i a / λ_i²,     G_i = J_1 + ... + J_i,     λ_1 > λ_2 > ...                                            (1)

A reader that forgets exponentially, with the best time constant, follows x with a steady error (the Kalman–Bucy
filter's) of variance

    Δ_i² = √(2 D / G_i),     τ_i = 1 / √(2 D G_i),                                                               (2)

because a longer memory lags behind and a shorter one has too few spikes. An animal at rest for a time T would give
Δ_i² = 1 / (G_i T). The next module is read without doubt if Δ_i is a small part of its period, the same at every step,

    Δ_i = λ_{i+1} / z.                                                                                           (3)

With (2), G_i ∝ λ_{i+1}^-4, and so m_i ∝ λ_i² (λ_{i+1}^-4 − λ_i^-4): for a fixed ratio of periods, m_i ∝ λ_i^-2, the
first module a little larger. At rest G_i ∝ λ_{i+1}^-2 and all modules but the first are of one size. N neurons fix z.
`allocation` is (3); `least_error_allocation` minimises the expected squared error itself,

    Δ_M² + Σ_{i<M} erfc(λ_{i+1} / √8 Δ_i) λ_{i+1}²,                                                              (4)

where a misread module costs about one period.
"""

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy.optimize import minimize
from scipy.special import erfc, softmax
from torch import Tensor

from entorhinal.families.coding_theory.phase_modules import PhaseModules, least_phases_per_axis
from entorhinal.families.coding_theory.ring import spike_counts
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Config, Representation

__all__ = ["Dynamic", "DynamicConfig", "allocation", "expected_error", "least_error_allocation", "steady_variance"]


class DynamicConfig(Config):
    """A geometric progression of periods, and how many units to share out."""

    smallest_period_m: float = Field(0.30, gt=0, description="lattice spacing of the finest module")
    ratio: float = Field(1.42, gt=1, description="of successive periods")
    modules: int = Field(4, ge=1)
    units: int = Field(500, ge=1, description="shared out by equation (3); each module's part is rounded to a square")
    sharpness: float = Field(3.0, gt=0, description="of the fields; their s.d. is about 0.195 spacing / √sharpness")
    orientation_rad: float = Field(0.0, description="direction of the lattice axis a1, the same in all modules")
    peak_rate_hz: float = Field(15.0, gt=0, description="of a unit, where spikes are drawn")
    fano_factor: float = Field(1.0, gt=0, description="variance over mean of the counts; 1 is Poisson")

    @property
    def period_m(self) -> tuple[float, ...]:
        """Largest first."""
        return tuple(self.smallest_period_m * self.ratio**step for step in reversed(range(self.modules)))

    @property
    def phases_per_axis(self) -> tuple[int, ...]:
        return tuple(round(math.sqrt(size)) for size in allocation(self.period_m, self.units, ratio=self.ratio))

    @model_validator(mode="after")
    def _tiled(self) -> Self:
        if (side := min(self.phases_per_axis)) < (least := least_phases_per_axis(self.sharpness)):
            raise ValueError(
                f"the smallest module gets {side}² of {self.units} units, and fields of sharpness {self.sharpness:g} "
                f"need {least}² or more to be read; give more units or fewer modules"
            )
        return self


class Dynamic(PhaseModules):
    """Modules of unequal size, the finest the largest, in the plane; spiking where a generator is given."""

    Config = DynamicConfig
    card = Card(
        id="coding_theory/dynamic-v1",
        title="Modules allocated for a moving animal",
        citation="""@article{mosheiff2017efficient,
  author = {Mosheiff, Noga and Agmon, Haggai and Moriel, Avraham and Burak, Yoram},
  title = {An efficient coding theory for a dynamic trajectory predicts non-uniform allocation of entorhinal grid cells
    to modules},
  journal = {PLOS Computational Biology},
  volume = {13},
  number = {6},
  pages = {e1005597},
  year = {2017},
  doi = {10.1371/journal.pcbi.1005597}
}""",
        stochastic=True,
        lattice="given",
        supervision="none",
        deviations=(
            "the trajectory is Brownian, and memories are exponential with the Kalman–Bucy time constant of each "
            "module; the paper optimises the readout",
            "allocation makes the relative error equal at every step from one module to the next; a numerical optimum "
            "of the expected squared error is given beside it",
            "each axis is read by itself; module sizes are rounded to squares, on a regular grid of phases",
            "decode reads the rates of one step; leaky memories are part of the figure",
            "found: (2) and the gain from (3) hold where a memory holds about ten spikes. Where it holds one, the "
            "squared error is 1.7 times that of (2), equal modules follow the animal better, and the claims fail",
            "positions beyond the cell of the largest lattice around 0 are read as their copies in it",
        ),
        provenance={
            "smallest_period_m": "our choice, as in controls/ideal_grid",
            "ratio": "Stensola et al. 2012 (1.42; reported, unverified)",
            "modules": "four to five are known in rats (Stensola et al. 2012; reported, unverified)",
            "units": "our choice: 16², 11², 8² and 7² from the finest module to the coarsest",
            "sharpness": "our choice, as in coding_theory/residue; fields of 0.11 spacings s.d.",
            "orientation_rad": "our choice",
            "peak_rate_hz": "our choice",
            "fano_factor": "the paper's units are Poisson",
        },
    )

    def __init__(self, config: DynamicConfig) -> None:
        super().__init__(
            config,
            period_m=config.period_m,
            phases_per_axis=config.phases_per_axis,
            sharpness=config.sharpness,
            orientation_rad=config.orientation_rad,
        )

    @property
    def range_m(self) -> float:
        """Length of each lattice coordinate, around 0, within which positions are decoded: the largest period."""
        return self.period_m[0]

    def with_spikes(self, rates: Tensor, dt_s: float, generator: torch.Generator) -> Tensor:
        peak_count = self.config.peak_rate_hz * dt_s
        return spike_counts(peak_count * rates, self.config.fano_factor, generator) / peak_count

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` by maximum likelihood over `range_m`; NaN where the units are silent."""
        return self.decode_within(representation, self.range_m / 2)


def steady_variance(information_rate: np.ndarray, diffusion: float) -> np.ndarray:
    """Equation (2): the error's variance at information rates G, in the units of position; the limit of rest is 0."""
    if not diffusion > 0:
        raise InputError(f"diffusion is {diffusion}; give a number above 0, or moving=False for an animal at rest")
    return np.sqrt(2 * diffusion / information_rate)


def allocation(periods: Sequence[float], units: float, *, ratio: float, moving: bool = True) -> np.ndarray:
    """Units of each module, periods largest first, by equation (3); the finest is held to λ_M / ratio.

    Their sum is ``units``; parts are not rounded.
    """
    period = _falling(periods)
    power = 4 if moving else 2
    information = np.append(period[1:], period[-1] / ratio) ** -power  # G_i, up to a factor
    size = period**2 * np.diff(information, prepend=0.0)
    return units * size / size.sum()


def expected_error(
    sizes: np.ndarray, periods: Sequence[float], information: float, diffusion: float, *, rest_s: float | None = None
) -> float:
    """Equation (4), in squared units of position. information: a, the rate per unit at period 1. rest_s: at rest, T."""
    period = _falling(periods)
    total = np.cumsum(sizes * information / period**2)
    variance = steady_variance(total, diffusion) if rest_s is None else 1 / (total * rest_s)
    misread = erfc(period[1:] / np.sqrt(8 * variance[:-1]))
    return float(variance[-1] + (misread * period[1:] ** 2).sum())


def least_error_allocation(
    periods: Sequence[float], units: float, information: float, diffusion: float, *, rest_s: float | None = None
) -> np.ndarray:
    """Units of each module at which equation (4) is least, by numerical search from the equal allocation."""

    def cost(logits: np.ndarray) -> float:
        return math.log(expected_error(units * softmax(logits), periods, information, diffusion, rest_s=rest_s))

    start = np.zeros(len(_falling(periods)))
    found = minimize(cost, start, method="Nelder-Mead", options={"maxiter": 20_000, "xatol": 1e-6, "fatol": 1e-10})
    found = minimize(cost, found.x, method="BFGS")
    return units * softmax(found.x)


def _falling(periods: Sequence[float]) -> np.ndarray:
    period = np.asarray(periods, float)
    if period.ndim != 1 or len(period) == 0 or not (period > 0).all() or (np.diff(period) >= 0).any():
        raise InputError(f"periods are {period.tolist()}; give positive numbers, the largest first")
    return period
