"""Non-negative principal components of place-cell input (Dordek, Soudry, Meir & Derdikman 2016).

A grid unit reads one place cell per bin of a periodic box through weights x. Hebbian learning with a bounded norm turns
x towards the first principal component of its input, which maximises the variance of its drive:

    maximise  E(x) = ‖r * x‖² = <x, A x>   over ‖x‖ = 1, and over x >= 0 if weights are excitatory          (1)
    r = G(σ1) − G(2 σ1)    place input, a centre and a surround of equal volume, hence r̂(0) = 0             (2)
    r̂(k) = exp(−σ1²k²/2) − exp(−2 σ1²k²)   largest at   k* = √(2/3 ln 4)/σ1 = 0.961/σ1                      (3)

A is a circulant, so its eigenvectors are plane waves and those of the ring |k| = k* win. All waves on the ring are
equally good, and without the sign constraint any mixture will do. A non-negative x needs a mean, which r ignores,
so norm spent on it is lost: two equal waves at 90° keep 1/5 of ‖x‖², a single one 1/3, three at 60° keep 2/5. The
result is a triangular lattice of spacing 4π/(√3 k*) = 7.55 σ1. Shown and scored are the weights x over the place cells'
centres, as in the paper.

FISTA for (1), with A scaled to largest eigenvalue 1 and P(z) = max(z, 0)/‖max(z, 0)‖:

    x_{n+1} = P(y_n + (2/L) A y_n)      L = 4
    y_n = x_n + (t_{n−1} − 1)/t_n (x_n − x_{n−1})      t_{n+1} = (1 + √(1 + 4 t_n²))/2                    (4)

Further units of one network are deflated. The components found so far have the orthonormal basis Q, and the next one
maximises (1) with A replaced by Π A Π, Π = 1 − QQᵀ (projection deflation, Mackey 2008): the variance that nobody reads
yet. Subtracting λ x xᵀ, as for eigenvectors, would be wrong here. A constrained component is no eigenvector, and the
difference is no longer positive. Components themselves cannot be orthogonal, as non-negative orthogonal maps do not
overlap anywhere.
"""

import logging
import math
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from entorhinal.families import codes
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Config, Model, Representation, State
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["PEAK_WAVENUMBER", "SPACING", "Dordek", "DordekConfig", "check_plane", "place_input"]

logger = logging.getLogger("entorhinal")

PEAK_WAVENUMBER = math.sqrt(2 / 3 * math.log(4))
"""k* σ1, eq. (3)."""
SPACING = 4 * math.pi / (math.sqrt(3) * PEAK_WAVENUMBER)
"""Spacing of the lattice in σ1."""
LIPSCHITZ = 4.0
"""L of eq. (4)."""


class DordekConfig(Config):
    nonnegative: bool = Field(True, description="weights are excitatory; False gives plain principal components")
    bins: int = Field(100, ge=8, le=1000, description="place cells along each side of the periodic box")
    sigma_bins: float = Field(7.5, gt=1, description="σ1, width of a place field's centre, in bins")
    components: int = Field(4, ge=1, description="deflated units of one network")
    networks: int = Field(8, ge=1, description="networks with initial weights of their own; units = their product")
    extent_m: float = Field(0.8, gt=0, description="side of the periodic box in metres")
    iterations: int = Field(2000, ge=1, description="most steps of FISTA a component")
    tolerance: float = Field(1e-5, ge=0, description="stop when no map (of norm 1) moves further in a step")
    seed: int = Field(0, ge=0, description="initial weights, or the basis of each degenerate eigenspace")

    @field_validator("sigma_bins")
    @classmethod
    def _a_period_fits(cls, sigma_bins: float, info: ValidationInfo) -> float:
        bins = info.data.get("bins", math.inf)
        if SPACING * sigma_bins > bins:
            raise ValueError(f"one period, {SPACING:.2f} sigma_bins, exceeds the box; give <= {bins / SPACING:.4g}")
        return sigma_bins

    @field_validator("components")
    @classmethod
    def _rank(cls, components: int, info: ValidationInfo) -> int:
        if components > info.data.get("bins", math.inf) ** 2 // 4:
            raise ValueError("more components than a quarter of the place cells; give fewer")
        return components


def place_input(bins: int, sigma_bins: float) -> Tensor:
    """r̂ of eq. (3) at the half plane of real transforms, ``(bins, bins // 2 + 1)``, float64."""
    wave = 2 * math.pi * torch.fft.fftfreq(bins, dtype=torch.float64)
    square = wave[:, None].square() + wave[: bins // 2 + 1].square()
    return torch.exp(-square * sigma_bins**2 / 2) - torch.exp(-2 * square * sigma_bins**2)


def covariance(maps: Tensor, sigma_bins: float) -> Tensor:
    """A x for maps ``(..., bins, bins)``: twice the convolution with r, scaled to largest eigenvalue 1."""
    power = place_input(maps.shape[-1], sigma_bins).square().to(maps)
    return torch.fft.irfft2(torch.fft.rfft2(maps) * (power / power.max()), s=maps.shape[-2:])


def fista(
    operator: Callable[[Tensor], Tensor], start: Tensor, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Eq. (4) from ``start (S, bins, bins)``: unit non-negative maps, and the variance E after each step ``(n, S)``.

    A map whose variance fell loses its momentum (O'Donoghue & Candès 2015), as the problem is not convex.
    """
    x = previous = _feasible(start)
    image = previous_image = operator(x)
    t, history = x.new_ones(len(x), 1, 1), [_variance(x, image)]
    for _ in range(iterations):
        t_next = (1 + (1 + 4 * t.square()).sqrt()) / 2
        momentum = (t - 1) / t_next
        y, y_image = x + momentum * (x - previous), image + momentum * (image - previous_image)
        previous, previous_image, x = x, image, _feasible(y + 2 / LIPSCHITZ * y_image)
        image = operator(x)
        history.append(_variance(x, image))
        t = torch.where((history[-1] < history[-2])[:, None, None], 1.0, t_next)
        if (x - previous).flatten(1).norm(dim=1).max() <= tolerance:
            break
    return x, torch.stack(history)


def _feasible(z: Tensor) -> Tensor:
    positive = z.clamp(min=0)
    return positive / positive.flatten(1).norm(dim=1).clamp(min=1e-300)[:, None, None]


def _variance(x: Tensor, image: Tensor) -> Tensor:
    return (x * image).sum((-2, -1))


def deflated(sigma_bins: float, found: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Π A Π, for the components ``found``, each ``(S, bins, bins)``."""
    if not found:
        return lambda x: covariance(x, sigma_bins)
    basis = torch.linalg.qr(torch.stack(found, -1).flatten(1, 2)).Q  # (S, bins², components so far)

    def project(x: Tensor) -> Tensor:
        flat = x.flatten(1).unsqueeze(-1)
        return (flat - basis @ (basis.mT @ flat)).view_as(x)

    return lambda x: project(covariance(project(x), sigma_bins))


def nonnegative_components(config: DordekConfig) -> Tensor:
    """Non-negative components ``(networks, components, bins, bins)``, float64; networks are solved side by side."""
    random = torch.Generator().manual_seed(config.seed)
    found: list[Tensor] = []
    for _ in range(config.components):
        start = torch.randn(config.networks, config.bins, config.bins, generator=random, dtype=torch.float64)
        operator = deflated(config.sigma_bins, found)
        found.append(fista(operator, start, config.iterations, config.tolerance)[0])
    return torch.stack(found, 1)


def principal_components(config: DordekConfig) -> Tensor:
    """Plain components ``(networks, components, bins, bins)``, float64: eigenvectors of A by falling eigenvalue.

    All waves of one |k| share an eigenvalue, and no basis of their space is better than another. Each network gets a
    random orthonormal one, as it would from data: white noise, filtered to the shell and orthonormalised.
    """
    n, random = config.bins, torch.Generator().manual_seed(config.seed)
    index = (n * torch.fft.fftfreq(n, dtype=torch.float64)).round().long()
    shell = index[:, None].square() + index[: n // 2 + 1].square()
    gains = place_input(n, config.sigma_bins)
    power = {int(m): float(g) for m, g in zip(shell.flatten(), gains.flatten(), strict=True)}
    found = torch.zeros(config.networks, n * n, 0, dtype=torch.float64)
    for chosen in sorted(power, key=lambda s: -power[s]):
        missing = config.components - found.shape[-1]
        if missing <= 0:
            break
        waves = int((index[:, None].square() + index.square() == chosen).sum())
        noise = torch.randn(config.networks, min(waves, missing), n, n, generator=random, dtype=torch.float64)
        filtered = torch.fft.irfft2(torch.fft.rfft2(noise) * (shell == chosen), s=(n, n))
        found = torch.cat((found, torch.linalg.qr(filtered.flatten(2).mT).Q), -1)
    return found.mT.unflatten(-1, (n, n))


@lru_cache(maxsize=4)
def solve(config: DordekConfig) -> Tensor:
    """All units' maps ``(networks * components, bins, bins)``, those of a network together. Not to be written to."""
    with torch.no_grad():
        return (nonnegative_components if config.nonnegative else principal_components)(config).flatten(0, 1)


class Dordek(Model):
    """Weights at the animal's place, ``(B, T, units)``, in a box that goes on periodically."""

    Config: ClassVar[type[Config]] = DordekConfig
    card: ClassVar[Card] = Card(
        id="function_optimization/dordek-v1",
        title="Non-negative principal components of place-cell input",
        citation="""@article{dordek2016extracting,
  title   = {Extracting grid cell characteristics from place cell inputs using non-negative principal component
             analysis},
  author  = {Dordek, Yedidyah and Soudry, Daniel and Meir, Ron and Derdikman, Dori},
  journal = {eLife},
  volume  = {5},
  pages   = {e10094},
  year    = {2016},
  doi     = {10.7554/eLife.10094}
}""",
        training_extent_m=0.8,
        lattice="scale given",
        supervision="input",
        tasks=("gridness", "generalization", "modules", "topology", "capacity", "isometry", "robustness", "cost"),
        deviations=(
            "One place cell a bin and A by FFT, as in the paper's FISTA; no walk is learned from, and fit ignores it.",
            "Rates are the weights over place-cell centres, as the paper shows them, read at the animal's position and "
            "scaled to root mean square 1 over the box; the linear output r * x would be negative in places.",
            "Deflation projects on the complement of the span of earlier components; the authors' program projects on "
            "one after another, which differs as components overlap, and divides the step by the component's number.",
            "A is scaled to largest eigenvalue 1 before the step 2/L (in the authors' units it is 0.22), and momentum "
            "restarts when the variance falls: fewer steps, the same fixed points.",
            "Without non-negativity the degenerate eigenspaces get random bases, not the outcome of a learning rule.",
        ),
        provenance={
            "nonnegative": "paper",
            "bins": "paper and authors' program: 100² periodic box",
            "sigma_bins": "paper and authors' program: 7.5, with a surround twice as wide",
            "components": "ours: four, all of the first scale (the second one appears from about the eleventh on)",
            "networks": "ours: eight, so that there are 32 units for statistics",
            "extent_m": "ours: bins of 8 mm put 7.55 σ1 at 0.453 m, and two periods into a 1 m arena",
            "iterations": "authors' program: 2000 at most",
            "tolerance": "ours: variances are then converged to about 1e-8",
            "seed": "ours",
        },
    )
    maps: Tensor
    fitted: Tensor

    def __init__(self, config: DordekConfig | None = None) -> None:
        super().__init__(config)
        units = self.config.networks * self.config.components
        self.register_buffer("maps", torch.zeros(units, self.config.bins, self.config.bins))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, world: World) -> None:
        """Compute the maps. They depend on the config alone: the box is the model's own, and ``world`` only a plane."""
        check_plane(self, world.arena)
        self._fit()

    def _fit(self) -> None:
        if not self.fitted:
            self.maps.copy_(self.solved())
            self.fitted.fill_(True)

    def solved(self) -> Tensor:
        """Weights of all units over the place cells, each of norm 1, ``(units, bins, bins)``."""
        return solve(self.config)

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        """Weights at the animal's place, ``(B, T, N)``; an unfitted model is fitted first."""
        check_plane(self, trajectories.arena)
        self._fit()
        half_m = self.config.extent_m / 2
        box = ((-half_m, half_m), (-half_m, half_m))
        rates = codes.interpolate_maps(self.maps, trajectories.position_m, box, periodic=True)
        return Representation(self.config.bins * rates)


def check_plane(model: Model, arena: Arena) -> None:
    """`InputError` for a line; a warning for a plane in which two periods of the lattice do not fit."""
    if arena.dimensions != 2:
        raise InputError(f"{model.card.id}: the arena has 1 dimension; give a plane, such as Arena.square(1.0)")
    period_m = SPACING * model.config.sigma_bins * model.config.extent_m / model.config.bins
    if min(arena.size_m) < 2 * period_m:
        _warn(
            f"{model.card.id}: the arena, {min(arena.size_m):g} m wide, is smaller than two periods of {period_m:.2f} "
            "m; lattices are not well told in it"
        )


@lru_cache
def _warn(message: str) -> None:
    """Once: the path comes in chunks."""
    logger.warning(message)
