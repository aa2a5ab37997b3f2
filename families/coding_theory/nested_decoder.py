"""Reading a path from coarse to fine: population vectors over nested modules.  (Stemmler, Mathis & Herz 2015)

Periods fall in a geometric progression, λ_i = λ_1 / r^(i-1). Fields are exp(κ Σ_k cos(w_k · z) / 3), so the log-
likelihood of a module's counts n_j, tiled evenly by preferred phases c_j, rests on three population vectors alone,

    log p(n | φ) = (κ/3) Σ_k Re(P_k e^{-i w_k · φ}) + const,    P_k = Σ_j n_j e^{i w_k · c_j},               (0)

and the most likely phase φ_i is where it is largest. It gives the position up to a step of the module's lattice. The
coarsest module says where the animal is in its own cell around the origin. Each finer module then gives the candidate
nearest to what is known so far,

    x_i = x̂_{i-1} + [φ_i λ_i − x̂_{i-1}]_i,                                                             (1)
    x̂_i = x̂_{i-1} + w_i (x_i − x̂_{i-1}),     w_i = λ_i^-2 / Σ_{j≤i} λ_j^-2,                            (2)

where [.]_i is the shortest of the vectors that are equal up to a step of lattice i. The weights are those that are best
for equal phase noise in all modules. A silent module is left out.

Phase noise ε cycles leaves x̂_i with an error of about ε λ_i √(1 − r^-2). The next module is misread when that error and
its own exceed half of its period λ_i / r; together they are ε λ_i for every r. With a fixed number of spikes shared by
the M modules between λ_1 and λ_M = λ_1 / R, ε² grows as M, and the risk of a large error is least where

    M r²,     M = 1 + ln R / ln r,                                                                     (3)

is least: r = √e for long ranges, 1.53 for R = 10. (3) is our approximation, in one dimension and with Gaussian noise;
what Poisson spikes do is measured by `paper_figures/nested_decoder_lesions`.
"""

import math

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.coding_theory.phase_modules import FieldsConfig, PhaseModules
from entorhinal.families.coding_theory.ring import spike_counts
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Representation

__all__ = ["NestedDecoder", "NestedDecoderConfig", "expected_best_ratio", "module_spikes"]


class NestedDecoderConfig(FieldsConfig):
    """A geometric progression of periods, and the fields of every module."""

    smallest_period_m: float = Field(0.30, gt=0, description="lattice spacing of the finest module")
    ratio: float = Field(1.5, gt=1, description="of successive periods")
    modules: int = Field(5, ge=1, description="the largest period is smallest_period_m ratio^(modules - 1)")


class NestedDecoder(PhaseModules):
    """Nested modules that integrate displacement, read from coarse to fine; N = modules * phases_per_axis²."""

    Config = NestedDecoderConfig
    card = Card(
        id="coding_theory/nested_decoder-v1",
        title="Nested modules, read from coarse to fine",
        citation="""@article{stemmler2015connecting,
  author = {Stemmler, Martin and Mathis, Alexander and Herz, Andreas V. M.},
  title = {Connecting multiple spatial scales to decode the population activity of grid cells},
  journal = {Science Advances},
  volume = {1},
  number = {11},
  pages = {e1500816},
  year = {2015},
  doi = {10.1126/science.1500816}
}""",
        lattice="given",
        supervision="none",
        deviations=(
            "the paper's are population vectors over nested scales, a ratio near 3/2 and what silencing does; fields, "
            "number of modules and weights are ours",
            "the phase is the most likely one for fields of three cosines, which rests on three population vectors; "
            "with von Mises fields in one dimension it is the angle of the population vector",
            "modules are combined with the weights that are best for equal phase noise",
            "the paper's claims on the ratio and on middle modules do not come out with this readout. With so many "
            "Poisson spikes that one place in 500 is misread, about 10 a module, the safest ratio is 2.15, not near "
            "3/2; a silenced middle module makes large errors 1.6 to 3.7 times as frequent, where five times was asked "
            "for. Seven in ten large errors of the intact code are made by its two coarsest modules, and a single "
            "module is off by a third of its period at one place in 1,000, whatever the ratio. Phases read along two "
            "lattice axes (2.15; 1.3 to 3.9) and, with them, broad fields (2.15; 1.5 to 3.9) change little. Silencing "
            "the smallest module adds no large errors, and the median error grows 1.51 times",
            "the rates are free of noise; spikes are drawn by a function, module_spikes",
            "positions beyond half the largest period are read as their copy in the cell around the origin",
        ),
        provenance={
            "smallest_period_m": "our choice, as in controls/ideal_grid",
            "ratio": "the paper's, near 3/2",
            "modules": "our choice: the cell of the largest lattice, 1.52 m, then covers a box of 1 m",
            "phases_per_axis": "our choice",
            "sharpness": "our choice, as in coding_theory/residue: fields of 0.11 spacings s.d.",
            "orientation_rad": "our choice",
        },
    )

    def __init__(self, config: NestedDecoderConfig) -> None:
        super().__init__(
            config,
            period_m=tuple(config.smallest_period_m * config.ratio**step for step in range(config.modules)),
            phases_per_axis=config.phases_per_axis,
            sharpness=config.sharpness,
            orientation_rad=config.orientation_rad,
        )

    @property
    def range_m(self) -> float:
        """Distance from the origin within which every position is decoded as itself: half the largest period."""
        return max(self.period_m) / 2

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` in the largest lattice's cell around the origin; NaN where all units are silent."""
        return self.position_m(self.phases(representation.rates)).to(representation.rates)

    def phases(self, rates: Tensor) -> Tensor:
        """The most likely phases in cycles, by (0): ``(..., N)`` -> ``(..., 2, M)`` float64, NaN for silent units."""
        rates = rates.double().unflatten(-1, (len(self.period_m), -1))
        waves = rates.new_tensor([[1, 0], [0, 1], [1, 1]])  # w_k in lattice coordinates, up to sign
        turn = 2 * math.pi * self._preferred(rates) @ waves.T
        cosine, sine = rates @ turn.cos(), rates @ turn.sin()  # (..., M, 3)
        length, total = torch.hypot(cosine, sine), rates.sum(-1, keepdim=True)
        heard = length.sum(-1, keepdim=True) > 1e-6 * total
        bound = (length + 1e-6 * total).where(heard, 1.0)  # no wave's slope changes faster than this
        inverse = torch.linalg.inv(torch.einsum("...k,kp,kq->...pq", bound, waves, waves))
        axis = torch.arange(6, dtype=rates.dtype, device=rates.device) / 6
        start = torch.cartesian_prod(axis, axis)
        angle = 2 * math.pi * start @ waves.T
        phase = start[(cosine @ angle.cos().T + sine @ angle.sin().T).argmax(-1)]
        for _ in range(12):  # each step climbs
            angle = 2 * math.pi * phase @ waves.T
            slope = (sine * angle.cos() - cosine * angle.sin()) @ waves
            phase = phase + torch.einsum("...pq,...q->...p", inverse, slope) / (2 * math.pi)
        return torch.remainder(phase, 1).where(heard, math.nan).mT

    def position_m(self, phase: Tensor) -> Tensor:
        """The nested readout: phases in cycles ``(..., 2, M)``, NaN for silent modules -> positions ``(..., 2)``."""
        phase = phase.double()
        inverse = torch.linalg.inv(self._basis(phase))
        known_m, precision = torch.zeros_like(phase[..., 0]), torch.zeros_like(phase[..., :1, 0])
        for module in sorted(range(len(self.period_m)), key=lambda module: -self.period_m[module]):
            period = self.period_m[module]
            step_m = period * self._nearest(phase[..., module] - known_m @ inverse / period)  # (1)
            heard = step_m.isfinite().all(-1, keepdim=True)
            precision = precision + heard * period**-2
            known_m = known_m + torch.where(heard, step_m * period**-2 / precision, 0)  # (2)
        return known_m.where(precision > 0, math.nan)

    def _nearest(self, turns: Tensor) -> Tensor:
        """The shortest vector of the unit lattice's coset ``turns (..., 2)`` in lattice coordinates: ``(..., 2)``."""
        low = turns - turns.floor()
        corners = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=turns.dtype, device=turns.device)
        vectors = (low[..., None, :] - corners) @ self._basis(turns)  # (..., 4, 2)
        shortest = vectors.square().sum(-1).argmin(-1)[..., None, None].expand(*turns.shape[:-1], 1, 2)
        return vectors.gather(-2, shortest).squeeze(-2)


def module_spikes(rates: Tensor, spikes_per_module: float, generator: torch.Generator, modules: int) -> Tensor:
    """Poisson counts of units whose ``rates (..., N)`` are scaled so that a module fires ``spikes_per_module`` on
    average over the places given; modules have N / modules units each."""
    if not spikes_per_module > 0:
        raise InputError(f"module_spikes: spikes_per_module is {spikes_per_module}; give a number above 0")
    by_module = rates.unflatten(-1, (modules, -1))
    mean = by_module.sum(-1).flatten(0, -2).mean(0)[:, None]
    return spike_counts(by_module * spikes_per_module / mean, 1.0, generator).flatten(-2)


def expected_best_ratio(refinement: float) -> float:
    """The ratio at which M r² of equation (3) is least, for λ_1 / λ_M = ``refinement``: ln r solves x² + ax = a/2."""
    if not refinement > 1:
        raise InputError(f"expected_best_ratio: refinement is {refinement}; give a number above 1")
    log = math.log(refinement)
    return math.exp((math.sqrt(log**2 + 2 * log) - log) / 2)
