"""Nested modules of Poisson units: how fine can a code be?  (Mathis, Herz & Stemmler 2012)

Module m has period λ_m = λ_1 / r^(m-1) and n units with bell-shaped fields, the same in every module up to scale. Units
fire independently, a Poisson count of mean p f in the time of a read-out. The Fisher information of a position on a
line is the sum over units,

    J = p Σ_i f_i'(x)² / f_i(x) = Σ_m J_φ / λ_m²,                                                                (1)

with J_φ that of the phase in one module (`ring`), and no unbiased reader errs by less than J^-1/2 (Cramér–Rao). With M
modules J grows as r^2M; in a place code, one module of period λ_1 with all N units, J grows at most as N², with fields
as narrow as still tile the line.

The bound is a promise about the neighbourhood of the true position. Maximum likelihood keeps it while every module is
read without doubt within the period of the next larger one. With few spikes, or too large a ratio r, it picks a wrong
period of a finer module, and errors are far above the bound: threshold noise.
"""

import math

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.coding_theory.decoding import decode_waves
from entorhinal.families.coding_theory.phase_modules import FieldsConfig, PhaseModules
from entorhinal.families.coding_theory.ring import ring_information, ring_waves, spike_counts
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Representation

__all__ = ["Nested", "NestedConfig", "cramer_rao", "decode_spikes", "narrowest_sharpness", "nested_periods"]


class NestedConfig(FieldsConfig):
    """A geometric progression of periods, one field for all, and the spikes of a read-out."""

    largest_period_m: float = Field(1.6, gt=0, description="lattice spacing of the first module")
    ratio: float = Field(2.0, gt=1, description="of successive periods")
    modules: int = Field(4, ge=1)
    peak_count: float = Field(1.0, gt=0, description="spikes of a unit at its peak in the time of a read-out, a step")
    fano_factor: float = Field(1.0, gt=0, description="variance over mean of the counts; 1 is Poisson")


class Nested(PhaseModules):
    """Nested modules in the plane, spiking where a generator is given; N = modules * phases_per_axis²."""

    Config = NestedConfig
    card = Card(
        id="coding_theory/nested-v1",
        title="Nested modules of Poisson units",
        citation="""@article{mathis2012optimal,
  author = {Mathis, Alexander and Herz, Andreas V. M. and Stemmler, Martin},
  title = {Optimal Population Codes for Space: Grid Cells Outperform Place Cells},
  journal = {Neural Computation},
  volume = {24},
  number = {9},
  pages = {2280--2317},
  year = {2012},
  doi = {10.1162/NECO_a_00319}
}""",
        stochastic=True,
        lattice="given",
        supervision="none",
        deviations=(
            "the paper is about one dimension: its statements are shown there, with von Mises fields, and the "
            "population in the plane has three-cosine fields and reads each lattice coordinate by itself",
            "a place code is a ring of the same units, so that it has no ends",
            "rates are counts over the peak count, in steps of the walk; phases integrate displacement without noise",
            "positions beyond the cell of the largest lattice around 0 are read as their copies in it",
            "a Fano factor other than 1 scales the Poisson counts",
        ),
        provenance={
            "largest_period_m": "our choice: a box of 1 m lies within its cell",
            "ratio": "our choice",
            "modules": "our choice: 1.6, 0.8, 0.4 and 0.2 m",
            "phases_per_axis": "our choice",
            "sharpness": "our choice, as in coding_theory/residue; fields of 0.11 spacings s.d.",
            "orientation_rad": "our choice",
            "peak_count": "our choice",
            "fano_factor": "the paper's units are Poisson",
        },
    )

    def __init__(self, config: NestedConfig) -> None:
        super().__init__(
            config,
            period_m=tuple(nested_periods(config.largest_period_m, config.ratio, config.modules)),
            phases_per_axis=config.phases_per_axis,
            sharpness=config.sharpness,
            orientation_rad=config.orientation_rad,
        )

    @property
    def range_m(self) -> float:
        """Length of each lattice coordinate, around 0, within which positions are decoded: the largest period."""
        return self.config.largest_period_m

    def with_spikes(self, rates: Tensor, dt_s: float, generator: torch.Generator) -> Tensor:
        counts = spike_counts(self.config.peak_count * rates, self.config.fano_factor, generator)
        return counts / self.config.peak_count

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` by maximum likelihood over `range_m`; NaN where the units are silent."""
        return self.decode_within(representation, self.range_m / 2)


def nested_periods(largest: float, ratio: float, modules: int) -> list[float]:
    """λ_1 / r^(m-1) for M modules, largest first."""
    if not (largest > 0 and ratio > 1 and modules >= 1):
        raise InputError(f"largest={largest}, ratio={ratio}, modules={modules}; give a period above 0, a ratio above 1")
    return [largest / ratio**step for step in range(modules)]


def cramer_rao(
    periods: list[float], units: int, sharpness: float, peak_count: float, fano_factor: float = 1.0
) -> float:
    """Equation (1)'s bound on a line, J^-1/2, with ``units`` in each module, in the unit of the periods."""
    information = ring_information(units, sharpness, peak_count, fano_factor)
    return 1 / math.sqrt(sum(information / period**2 for period in periods))


def decode_spikes(
    position: Tensor,
    periods: list[float],
    units: int,
    sharpness: float,
    peak_count: float,
    generator: torch.Generator,
    fano_factor: float = 1.0,
) -> Tensor:
    """Positions ``(S,)`` read by maximum likelihood from the spikes drawn there, over the largest period around 0."""
    phase = position[:, None] / torch.tensor(periods, dtype=torch.float64)
    waves = ring_waves(phase, units, sharpness, peak_count, generator, fano_factor)
    return decode_waves(waves, periods, -periods[0] / 2, periods[0] / 2)


def narrowest_sharpness(units: int) -> float:
    """The sharpest fields with which ``units`` still tile a ring: the place code of the most information."""
    return ((units - 2) / 2) ** 2
