"""What do tasks on maps share?  The model's maps along a walk and of its halves, and which units are active.

Active: the map's range is at least 1 % of the largest in the population. Grid unit: its `sargolini` score is above all
of a number of noise maps of its own (`entorhinal.analysis.above_null`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from entorhinal.analysis import RateMapAccumulator, RateMaps
from entorhinal.analysis.tensors import standardized
from entorhinal.benchmarks.rollout import rollout
from entorhinal.benchmarks.tasks.task import choose_units, noise_seed
from entorhinal.families.model import Model
from entorhinal.families.world import Trajectories

__all__ = ["ACTIVE", "MISSING", "MapRun", "active_units", "map_correlations", "run_maps"]

ACTIVE, MISSING = 0.01, 0.1


@dataclass(frozen=True)
class MapRun:
    """A model along a walk.

    units: (U,) which were kept. whole, even, odd: maps (U, H, W) of all, of the even and of the odd trials. rates:
    (B/2, M, U) of the odd ones and position_m (B/2, M, 2) where they were, every so often. missing: which part of the
    rates was not finite; infinite: whether any was ±inf.
    """

    units: Tensor
    whole: RateMaps
    even: RateMaps
    odd: RateMaps
    rates: Tensor
    position_m: Tensor
    missing: float
    infinite: bool

    @property
    def none(self) -> str:
        """Why there are no maps to speak of: more than a tenth of the rates is missing; empty if there are."""
        if self.missing <= MISSING:
            return ""
        return "the rates grow without bound" if self.infinite else "the model has no answer outside its extent"


def run_maps(
    model: Model,
    walk: Trajectories,
    *,
    bins: int,
    smoothing_m: float,
    at_most: int,
    every: int,
    seed: int,
    report: Callable[[float], None],
) -> MapRun:
    """The model along the walk, reduced as it goes to maps of ``at_most`` units and a sample in ``every`` steps."""
    halves = slice(None), slice(0, None, 2), slice(1, None, 2)
    accumulators = [RateMapAccumulator(walk.arena.extent_m, bins, smoothing_m) for _ in halves]
    units: Tensor | None = None
    samples: list[Tensor] = []
    done = missing = infinite = 0
    for chunk, representation in rollout(
        model, walk, seed=noise_seed(model, seed, "maps"), progress=lambda step, steps: report(step / steps)
    ):
        if units is None:
            units = choose_units(representation.rates.shape[-1], at_most, seed).to(walk.start_m.device)
        rates = representation.rates[..., units]
        missing += int((~rates.isfinite()).sum())
        infinite += int(rates.isinf().sum())
        rates = rates.where(rates.isfinite(), torch.nan)
        for accumulator, trials in zip(accumulators, halves, strict=True):
            accumulator.add(rates[trials], chunk.position_m[trials])
        samples.append(rates[1::2, -done % every :: every].clone())
        done += chunk.steps
    assert units is not None
    whole, even, odd = (accumulator.result() for accumulator in accumulators)
    return MapRun(
        units,
        whole,
        even,
        odd,
        rates=torch.cat(samples, 1),
        position_m=walk.position_m[1::2, ::every],
        missing=missing / max(1, walk.batch * walk.steps * len(units)),
        infinite=infinite > 0,
    )


def active_units(maps: Tensor) -> Tensor:
    """Which maps (U, H, W) range over at least `ACTIVE` of the largest range: (U,) bool."""
    spread = maps.flatten(1).nan_to_num(-torch.inf).amax(1) - maps.flatten(1).nan_to_num(torch.inf).amin(1)
    return spread > ACTIVE * spread.max().clamp_min(torch.finfo(maps.dtype).tiny)


def map_correlations(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation of maps ``(N, H, W)`` with others, over the bins that both have: ``(N,)``."""
    shared = first.isfinite() & second.isfinite()
    (a, mask), (b, _) = (standardized(maps.where(shared, torch.nan)) for maps in (first, second))
    return (a * b).sum((1, 2)) / mask.sum((1, 2))
