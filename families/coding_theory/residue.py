"""Position as remainders: a few short periods name a huge range.  (Fiete, Burak & Brookings 2008)

Module m keeps only the phase (u, v) / λ_m mod 1 of the lattice coordinates, a residue of each (`phase_modules` has
the units, and how they integrate). If the periods λ_m are pairwise coprime integers in units of the resolution, the
Chinese remainder theorem gives u and v back from their residues, uniquely over the lcm of the periods. Adding a
displacement is carry-free: each module adds (Δu, Δv) / λ_m to its own phase and hears nothing from the others.

Decoding takes phases by population vector, then position by the remainder theorem (`decode_crt`) or by maximum
likelihood over a stated range (`decode_maximum_likelihood`).
"""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from pydantic import Field, field_validator
from torch import Tensor

from entorhinal.families.coding_theory.decoding import decode_waves, phase_waves
from entorhinal.families.coding_theory.phase_modules import FieldsConfig, PhaseModules
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Representation

__all__ = [
    "Residue",
    "ResidueConfig",
    "coprime_periods",
    "crt",
    "decode_crt",
    "decode_maximum_likelihood",
    "range_growth",
    "residues",
    "unambiguous_range",
]


class ResidueConfig(FieldsConfig):
    """Periods are integers in units of ``resolution_m``; the unit of everything else is in its name."""

    periods: tuple[int, ...] = Field((31, 44, 63), description="lattice spacings, pairwise coprime, / resolution_m")
    resolution_m: float = Field(0.01, gt=0, description="the integer unit of position")

    @field_validator("periods")
    @classmethod
    def _decodable(cls, periods: tuple[int, ...]) -> tuple[int, ...]:
        _checked(periods)
        for a, b in combinations(periods, 2):
            if math.gcd(a, b) > 1:
                raise ValueError(f"{a} and {b} share the factor {math.gcd(a, b)}; periods must be pairwise coprime")
        if math.lcm(*periods) * max(periods) >= 2**53:
            raise ValueError("the range exceeds what float64 can decode exactly; give fewer or shorter periods")
        return periods


class Residue(PhaseModules):
    """Modules of coprime periods that integrate displacement by themselves; N = modules * phases_per_axis²."""

    Config = ResidueConfig
    card = Card(
        id="coding_theory/residue-v1",
        title="Residue number code",
        citation="""@article{fiete2008grid,
  author = {Fiete, Ila R. and Burak, Yoram and Brookings, Ted},
  title = {What Grid Cells Convey about Rat Location},
  journal = {Journal of Neuroscience},
  volume = {28},
  number = {27},
  pages = {6858--6871},
  year = {2008},
  doi = {10.1523/JNEUROSCI.5684-07.2008}
}""",
        lattice="given",
        supervision="none",
        deviations=(
            "all modules share one orientation, so that the remainder theorem holds for each lattice coordinate",
            "fields are three-cosine bumps and position is continuous; a sub-resolution remainder is decoded too",
            "noise-free: decoding from noisy phases is a function, decode_maximum_likelihood, not part of the rates",
        ),
        provenance={
            "periods": "0.3 to 0.6 m, as in rat medial entorhinal cortex; ratios 1.42 and 1.43, near Stensola et al. "
            "2012 (1.42; reported, unverified), in coprime centimetres; our choice",
            "resolution_m": "our choice; 1 cm makes the range 859.32 m",
            "phases_per_axis": "our choice; population vectors are then exact to about 3e-6 cycles",
            "sharpness": "our choice; fields of 0.11 spacings s.d.",
            "orientation_rad": "our choice",
        },
    )

    def __init__(self, config: ResidueConfig) -> None:
        super().__init__(
            config,
            period_m=tuple(period * config.resolution_m for period in config.periods),
            phases_per_axis=config.phases_per_axis,
            sharpness=config.sharpness,
            orientation_rad=config.orientation_rad,
        )

    @property
    def range_m(self) -> float:
        """Length over which each lattice coordinate is unambiguous."""
        return unambiguous_range(self.config.periods) * self.config.resolution_m

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` by population vectors and the remainder theorem; NaN where the units are silent."""
        found = decode_crt(self.phases(representation.rates), self.config.periods) * self.config.resolution_m
        return (found @ self._basis(found)).to(representation.rates)

    def decode_maximum_likelihood(self, representation: Representation, reach_m: float) -> Tensor:
        """The same by maximum likelihood among positions within ``reach_m`` of the origin, ``(B, T, 2)``."""
        reach = 2 / math.sqrt(3) * reach_m  # the most that u or v can be
        units = reach / self.config.resolution_m
        _check_span(-units, units, self.config.periods)
        return self.decode_within(representation, reach)


def unambiguous_range(periods: Sequence[int]) -> int:
    """How many integer positions have residues of their own: the lcm of ``periods``, exact."""
    return math.lcm(*_checked(periods))


def range_growth(periods: Sequence[int]) -> list[int]:
    """Unambiguous range of the first 1, 2, ... modules. Coprime periods multiply, so its logarithm grows linearly."""
    return [unambiguous_range(periods[: count + 1]) for count in range(len(periods))]


def coprime_periods(modules: int, smallest: int) -> list[int]:
    """The first ``modules`` integers from ``smallest`` up, each coprime to all those taken before."""
    periods: list[int] = []
    candidate = smallest
    while len(periods) < modules:
        if all(math.gcd(candidate, period) == 1 for period in periods):
            periods.append(candidate)
        candidate += 1
    return _checked(periods)


def residues(position: int, periods: Sequence[int]) -> list[int]:
    """The code word of an integer position: its remainder in each module."""
    return [position % period for period in periods]


def crt(remainders: Sequence[int], periods: Sequence[int]) -> int:
    """The one position in [0, lcm) with these ``remainders``, exact at any size (Chinese remainder theorem).

    Periods need not be coprime; remainders that then contradict each other raise `InputError`.
    """
    _checked(periods)
    if len(remainders) != len(periods):
        raise InputError(f"crt: {len(remainders)} remainders for {len(periods)} periods; give one for each")
    position, span = 0, 1
    for remainder, period in zip(remainders, periods, strict=True):
        common = math.gcd(span, period)
        gap, uneven = divmod(remainder - position, common)
        if uneven:
            raise InputError(f"crt: no position has remainders {list(remainders)} for periods {list(periods)}")
        position += span * (gap * pow(span // common, -1, period // common) % (period // common))
        span *= period // common
    return position


def decode_crt(phase: Tensor, periods: Sequence[int]) -> Tensor:
    """Positions ``(...)`` in [-lcm/2, lcm/2), in units of resolution, from measured phases ``(..., M)`` in cycles.

    Residues φ_m λ_m share one sub-resolution remainder, estimated as a circular mean with weights 1/λ_m² (best for
    equal phase noise). What is left is rounded to integers and goes through the theorem; the remainder is then added
    back. Exact up to that remainder if each residue is off by less than 1/4 unit, |phase error| < 1 / 4λ_m. Beyond
    this the decoded position may be anywhere in the range. NaN phases give NaN.
    """
    span, count = unambiguous_range(periods), len(periods)
    lift = [crt([int(m == other) for other in range(count)], periods) for m in range(count)]  # refuses common factors
    if span * max(periods) >= 2**53:
        raise InputError(f"decode_crt: a range of {span} units is beyond float64; decode integers with crt")
    period = torch.tensor(periods, dtype=torch.float64, device=phase.device)
    weight = period**-2 / (period**-2).sum()
    residue = phase.double() * period
    turn = 2 * math.pi * residue
    rest = torch.atan2((weight * turn.sin()).sum(-1), (weight * turn.cos()).sum(-1)) / (2 * math.pi)
    whole = torch.round(residue - rest[..., None])
    integers = torch.remainder(whole, period).nan_to_num().long()
    position = torch.remainder((integers * torch.tensor(lift, device=phase.device) % span).sum(-1) + span // 2, span)
    return position - span // 2 + (weight * (residue - whole)).sum(-1)


def decode_maximum_likelihood(phase: Tensor, periods: Sequence[int], low: float, high: float) -> Tensor:
    """The position in [low, high], in units of resolution, most likely to give noisy phases ``(..., M)``: ``(...)``.

    Phase noise is taken as von Mises and equal in all modules, so the log-likelihood is Σ_m cos 2π(φ_m − x/λ_m), and
    `decode_waves` finds its maximum. Over the whole range this is hardly better than `decode_crt`; over a small part of
    it, it withstands far more noise. A search longer than the unambiguous range has no answer of its own and raises
    `InputError`.
    """
    _check_span(low, high, periods)
    return decode_waves(phase_waves(phase), periods, low, high)


def _check_span(low: float, high: float, periods: Sequence[int]) -> None:
    if high - low > (span := unambiguous_range(periods)):
        raise InputError(
            f"decode_maximum_likelihood: low={low}, high={high} span more than the unambiguous range of {span} units; "
            "search less, or give more periods"
        )


def _checked(periods: Sequence[int]) -> list[int]:
    if not periods or any(period < 2 for period in periods):
        raise InputError(f"periods are {list(periods)}; give integers of 2 or more")
    return list(periods)
