"""Spare modules correct errors: a residue code over a small part of its range.  (Sreenivasan & Fiete 2011)

The code is that of `residue`. Its phases are noisy, in each module independently,

    φ_m = x / λ_m + σ ξ_m  mod 1,     ξ_m of unit variance,                                                      (1)

and positions are known to lie in a range R far below the largest one, the lcm of the periods. K modules would name
R; the others are spare, and maximum likelihood over R uses them all. An error is then of one of two kinds. Near the
true position it is

    ε = σ / √(Σ_m λ_m^-2),                                                                                       (2)

no matter how long the range. A gross error, as large as the range, needs another position whose phases happen to lie
as near to the noisy ones. In a code of M modules there are about R / λ such rivals, each as near as that with a
probability that falls exponentially with M. R may thus grow exponentially with M, at a rate below that of the largest
range and depending on σ, and ε / R falls exponentially. A place code of equal size, which is one module of period R
with all the units, can only narrow its fields: its squared error, in units of R², falls as a power of its size.
"""

import math
from collections.abc import Sequence
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from entorhinal.families.coding_theory.decoding import decode_waves, phase_waves
from entorhinal.families.coding_theory.residue import Residue, ResidueConfig, unambiguous_range
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Representation

__all__ = ["ErrorCorrecting", "ErrorCorrectingConfig", "decode_noisy_phases", "local_error", "noisy_phases"]


class ErrorCorrectingConfig(ResidueConfig):
    """More modules than the range needs, and the noise that they are there for."""

    periods: tuple[int, ...] = Field(
        (31, 37, 43, 53, 61), description="lattice spacings, pairwise coprime, / resolution_m"
    )
    phases_per_axis: int = Field(7, ge=3, description="a module has this number squared of units")
    noise_cycles: float = Field(0.02, gt=0, description="s.d. of the noise of each phase coordinate, at every step")
    range_m: float = Field(20.0, gt=0, description="length of each lattice coordinate, around 0, that is decoded")

    @model_validator(mode="after")
    def _spare(self) -> Self:
        longest_m = unambiguous_range(self.periods) * self.resolution_m
        if self.range_m > longest_m:
            raise ValueError(f"range_m {self.range_m:g} exceeds {longest_m:g} m, where the code repeats; give less")
        return self


class ErrorCorrecting(Residue):
    """A residue code with spare modules, noisy where a generator is given; N = modules * phases_per_axis²."""

    Config = ErrorCorrectingConfig
    card = Card(
        id="coding_theory/error_correcting-v1",
        title="Error-correcting residue code",
        citation="""@article{sreenivasan2011grid,
  author = {Sreenivasan, Sameet and Fiete, Ila},
  title = {Grid cells generate an analog error-correcting code for singularly precise neural computation},
  journal = {Nature Neuroscience},
  volume = {14},
  number = {10},
  pages = {1330--1337},
  year = {2011},
  doi = {10.1038/nn.2901}
}""",
        stochastic=True,
        lattice="given",
        supervision="none",
        deviations=(
            "all modules share one orientation, and each lattice coordinate is decoded by itself",
            "noise is drawn for every step anew and is not integrated: phases do not drift",
            "the likelihood is that of von Mises noise, in form equal to the Gaussian one where noise is small",
            "periods are coprime integers in units of the resolution, as the residue code's, though maximum likelihood "
            "does not need it",
            "found: gross errors, and so the noise threshold, decide which code is better. With 160 units over 10 m "
            "the grid code has 1.18 times the place code's error at 0.7 spikes of a unit (a claim that fails), and "
            "0.07 times at 1.5",
        ),
        provenance={
            "periods": "0.3 to 0.6 m, as in rat medial entorhinal cortex; our choice of primes in centimetres",
            "resolution_m": "our choice",
            "phases_per_axis": "our choice",
            "sharpness": "our choice, as in coding_theory/residue; fields of 0.11 spacings s.d.",
            "orientation_rad": "our choice",
            "noise_cycles": "our choice",
            "range_m": "our choice; the largest range is 1,594 km, and 20 m need two of the five modules",
        },
    )

    @property
    def range_m(self) -> float:
        """Length of each lattice coordinate, around 0, within which positions are decoded."""
        return self.config.range_m

    def with_phase_noise(self, phase: Tensor, generator: torch.Generator) -> Tensor:
        """Equation (1), for both lattice coordinates of every module at every step."""
        noise = torch.randn(phase.shape, generator=generator, dtype=phase.dtype, device=phase.device)
        return phase + self.config.noise_cycles * noise

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` by maximum likelihood over the range; NaN where the units are silent."""
        return self.decode_within(representation, self.range_m / 2)


def noisy_phases(position: Tensor, periods: Sequence[int], noise_cycles: float, generator: torch.Generator) -> Tensor:
    """Equation (1) in one dimension: positions ``(...)``, in the unit of the periods -> phases ``(..., M)``."""
    if not noise_cycles > 0:
        raise InputError(f"noise_cycles is {noise_cycles}; give a standard deviation above 0")
    phase = position.double()[..., None] / torch.tensor(periods, dtype=torch.float64)
    return phase + noise_cycles * torch.randn(phase.shape, generator=generator, dtype=torch.float64)


def decode_noisy_phases(phase: Tensor, periods: Sequence[int], span: float) -> Tensor:
    """Positions in [0, span] from phases ``(..., M)``. A range in which the code repeats is refused."""
    if span > (longest := unambiguous_range(periods)):
        raise InputError(f"a range of {span:g} exceeds {longest}, where the code repeats; give less, or more periods")
    return decode_waves(phase_waves(phase), periods, 0.0, span)


def local_error(periods: Sequence[int], noise_cycles: float) -> float:
    """Equation (2), in the unit of the periods."""
    return noise_cycles / math.sqrt(sum(period**-2 for period in periods))
