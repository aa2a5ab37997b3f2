"""Which position made these phases?  Maximum likelihood over a long range, exact and fast.

Every code of this family says of a position x, module by module, how far it lies within a period λ_m. For von Mises
tuning and Poisson spikes, as for von Mises noise of the phase itself, all that a module m says is one complex number,
its wave z_m (a population vector), and the log-likelihood is, up to a constant,

    L(x) = Re Σ_m z_m exp(−2πi x/λ_m).                                                                           (1)

`decode_waves` goes from coarse to fine. L'' is nowhere larger than C = Σ_m |z_m| (2π/λ_m)². At the maximum x* inside
the range L' = 0, so a coarse candidate within s/2 of it has

    L(candidate) ≥ L(x*) − C s²/8.                                                                               (2)

With candidates s apart, those that fall short of the best value known by more than C s²/8 cannot lead to x*, and only
the others, a handful where the noise is low, are refined. What is found is therefore the maximum over the whole range,
not only over a grid: brute force on a fine grid finds the same. The coarse part is a matrix product in float32.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from entorhinal.families.errors import InputError

__all__ = ["decode_waves", "log_likelihood", "phase_waves"]

GROUP = 32
"""Candidates whose largest value is kept in the coarse part; the others of a group are looked at again if need be."""
ROWS, COLUMNS = 64, 128 * GROUP
"""States and candidates of one product: so few that its result stays in the cache."""
STEPS = 7
"""Of Newton, or of bisection where that would leave the interval."""
TOLERANCE = 1e-5
"""Of the sum of |z_m|: more than the float32 product is off."""


def phase_waves(phase: Tensor) -> Tensor:
    """Waves of equal weight, complex128, of phases in cycles; for phase noise equal in all modules."""
    turn = 2 * math.pi * phase.double()
    return torch.complex(turn.cos(), turn.sin())


def log_likelihood(waves: Tensor, position: Tensor, periods: Sequence[float] | Tensor) -> Tensor:
    """Equation (1): waves ``(..., M)`` complex, position ``(...)`` -> ``(...)`` float64."""
    return _terms(waves, position, _periods(periods, waves.device)).real.sum(-1)


def decode_waves(
    waves: Tensor,
    periods: Sequence[float] | Tensor,
    low: float,
    high: float,
    *,
    points_per_period: int = 8,
    max_elements: int = 2**24,
) -> Tensor:
    """The position in [low, high] that makes equation (1) largest: waves ``(..., M)`` complex -> ``(...)`` float64.

    periods: of the M modules, in the unit of ``low`` and ``high``. points_per_period: coarse candidates in the shortest
    of them; fewer make the coarse part cheaper, and leave more to refine. max_elements: of the largest array, about.
    States that are not finite, or silent in all modules, give NaN. Where two positions are equally likely, either is
    given.
    """
    period = _periods(periods, waves.device)
    if waves.shape[-1] != len(period):
        raise InputError(f"decode_waves: waves of {waves.shape[-1]} modules and {len(period)} periods; give one each")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"decode_waves: low={low}, high={high}; give finite numbers with low <= high")
    if points_per_period < 4:
        raise InputError(f"decode_waves: points_per_period is {points_per_period}; give 4 or more")
    states = waves.reshape(-1, len(period)).to(torch.complex128)
    weight = states.abs().sum(-1)
    known = weight.isfinite() & (weight > 0)
    intervals = max(1, math.ceil((high - low) * points_per_period / float(period.min())))
    grid = _Grid(period, low, high, intervals)
    found = torch.full_like(weight, math.nan)
    scaled = states[known] / weight[known, None]
    chunk = max(1, min(4096, max_elements // grid.groups))
    parts = [_decoded(part, grid, max_elements) for part in scaled.split(chunk)]
    found[known] = torch.cat(parts) if parts else found[:0]
    return found.reshape(waves.shape[:-1])


class _Grid:
    """Coarse candidates from low to high, both included, in blocks; a group is spread over its block."""

    def __init__(self, period: Tensor, low: float, high: float, intervals: int) -> None:
        self.period, self.low, self.high = period, low, high
        self.last, self.step = intervals, (high - low) / intervals
        blocks = -(-(intervals + 1) // COLUMNS)
        self.blocks, self.groups = blocks, blocks * (COLUMNS // GROUP)

    def position(self, group: Tensor) -> Tensor:
        """Positions ``(..., GROUP)`` of the members of groups; those beyond the end stand at the end."""
        offset = torch.arange(GROUP, device=group.device) * (COLUMNS // GROUP)
        block, within = group // (COLUMNS // GROUP), group % (COLUMNS // GROUP)
        index = (block * COLUMNS + within)[..., None] + offset
        return self.low + self.step * index.clamp(max=self.last).double()

    def waves(self, block: int) -> Tensor:
        """cos and sin of the candidates of a block, ``(2M, COLUMNS)`` float32."""
        index = torch.arange(block * COLUMNS, (block + 1) * COLUMNS, device=self.period.device, dtype=torch.float64)
        turn = 2 * math.pi * (self.low + self.step * index.clamp(max=self.last)) / self.period[:, None]
        return torch.cat((turn.cos(), turn.sin())).float()


def _decoded(states: Tensor, grid: _Grid, max_elements: int) -> Tensor:
    """Positions ``(S,)`` of states ``(S, M)`` whose weights sum to 1."""
    rows = torch.cat((states.real, states.imag), -1).float()
    top = rows.new_empty(len(rows), grid.groups)  # the best value in each group
    width = COLUMNS // GROUP
    for block in range(grid.blocks):
        columns, here = grid.waves(block), slice(block * width, (block + 1) * width)
        for first in range(0, len(rows), ROWS):
            values = rows[first : first + ROWS] @ columns
            top[first : first + ROWS, here] = values.view(-1, GROUP, width).amax(1)
    every = torch.arange(len(states), device=states.device)
    position, best = _refined(states, every, top.argmax(-1), torch.full_like(states.real[:, 0], -math.inf), grid)
    slack = (states.abs() * (2 * math.pi / grid.period) ** 2).sum(-1) * grid.step**2 / 8 + TOLERANCE
    state, group = (top >= (best - slack)[:, None]).nonzero(as_tuple=True)
    chunk = max(1, max_elements // (8 * GROUP * len(grid.period)))
    for part in torch.arange(len(state), device=state.device).split(chunk):
        index, bound = state[part], (best - slack)[state[part]]
        found, value = _refined(states, index, group[part], bound, grid)
        highest = best.scatter_reduce(0, index, value, "amax")
        winner = value >= highest[index]
        better = winner & (value > best[index])
        position = position.index_put((index[better],), found[better])
        best = highest
    return position


def _refined(states: Tensor, index: Tensor, group: Tensor, bound: Tensor, grid: _Grid) -> tuple[Tensor, Tensor]:
    """For each state ``index`` and ``group`` ``(P,)``, the best position near those members that reach ``bound``."""
    candidate = grid.position(group)  # (P, GROUP)
    value = log_likelihood(states[index][:, None], candidate, grid.period)
    kept = (value >= bound[:, None]) & (bound > -math.inf)[:, None]
    kept |= torch.nn.functional.one_hot(value.argmax(-1), GROUP).bool()
    pair, member = kept.nonzero(as_tuple=True)
    position, wave, wave_number = candidate[pair, member], states[index[pair]], 2 * math.pi / grid.period
    left, right = ((position + side * grid.step / 2).clamp(grid.low, grid.high) for side in (-1, 1))
    for _ in range(STEPS):
        terms = _terms(wave, position, grid.period)
        slope, bend = (terms.imag * wave_number).sum(-1), (terms.real * wave_number**2).sum(-1)
        left, right = left.where(slope < 0, position), right.where(slope > 0, position)
        newton = position + slope / bend
        safe = (bend > 0) & (newton >= left) & (newton <= right)
        position = newton.where(safe, (left + right) / 2)
    position = position.clamp(grid.low, grid.high)
    refined = log_likelihood(wave, position, grid.period)
    best = torch.full_like(bound, -math.inf).scatter_reduce(0, pair, refined, "amax")
    winner = refined >= best[pair]
    return torch.empty_like(bound).index_put((pair[winner],), position[winner]), best


def _terms(waves: Tensor, position: Tensor, period: Tensor) -> Tensor:
    turn = 2 * math.pi * position[..., None] / period
    return waves * torch.complex(turn.cos(), -turn.sin())


def _periods(periods: Sequence[float] | Tensor, device: torch.device) -> Tensor:
    period = torch.as_tensor(periods, dtype=torch.float64, device=device)
    if period.ndim != 1 or len(period) == 0 or not bool((period > 0).all() & period.isfinite().all()):
        raise InputError(f"periods are {period.tolist()}; give one positive number a module")
    return period
