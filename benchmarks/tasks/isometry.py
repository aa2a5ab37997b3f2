"""isometry-v1: does the code move at one speed, wherever the animal is and whichever way it goes?

World: an open plane, free of noise. The model walks from the origin straight to the 16² places of a lattice over the
central 1 m box (8² for models of more than 4,096 units), in strides of 2 or 10 cm chosen as in `capacity-v1`.
From its state there it takes single steps of 2 cm to both sides along x and along y, and half the difference of the
rates a metre is the Jacobian J (not the derivative itself: waves of 0.3 m look 4 % slower). Models that read position
read it there. Units: at most 256, drawn at random by the seed.

speed_per_m         root of the mean scale of G = JᵀJ (half its trace) by unit, in units of their root-mean-square
                    modulation over the same places: how many modulations a typical unit changes in a metre.
metric_cv           standard deviation over places of the scale of G, over its mean; 0 is one speed everywhere. A
                    population of N units with random phases has about 1 / √N by chance.
anisotropy_median   large over small eigenvalue of G at a place, median over places; 1 is one speed in all directions.
anisotropy_of_mean  the same of G averaged over the box: what all places share, as in a sheared code.
null_cv             metric_cv after each unit's part of the scale is shifted in space by itself (rolled over the
                    lattice), mean of 20 draws: what as many units with unrelated phases have. Read metric_cv beside it.

Kept beside the record: scale and anisotropy at each place.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.analysis.isometry import isometry, metric_tensor
from entorhinal.analysis.robustness import modulation
from entorhinal.benchmarks.places import best_stride_m, slopes, walk_straight
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, choose_units, one_code_a_place
from entorhinal.families.model import Model

__all__ = ["IsometryTask"]

SIDE_M, SIDE, SIDE_LARGE, STEP_M, UNITS, NULLS = 1.0, 16, 8, 0.02, 256, 20
LARGE, TWICE = 4096, {False: 64, True: 16}


class IsometryTask:
    """Scale, variation and anisotropy of the metric that the code lays over the box."""

    id: ClassVar[str] = "isometry-v1"
    title: ClassVar[str] = "Metric of the code over the box"

    def why_not(self, model: Model) -> str | None:
        return one_code_a_place(model)

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        generator = torch.Generator().manual_seed(derive(seed, "isometry"))
        total = walk_straight(model, torch.zeros(1, 2, device=device), STEP_M).rates.shape[1]
        units = choose_units(total, UNITS, seed).to(device)
        large = total > LARGE
        there_m = SIDE_M * (torch.rand(TWICE[large], 2, generator=generator) - 0.5)
        stride_m, _ = best_stride_m(model, there_m.to(device))
        progress(1, 3)
        side = SIDE_LARGE if large else SIDE
        axis_m = SIDE_M * ((torch.arange(side, device=device) + 0.5) / side - 0.5)
        place_m = torch.stack(torch.meshgrid(axis_m, axis_m, indexing="xy"), -1).flatten(0, 1)
        reached = walk_straight(model, place_m, stride_m)
        progress(2, 3)
        jacobian = slopes(model, reached, STEP_M, units).double()
        rates = reached.rates[:, units].double()
        jacobian, rates = (values.where(values.isfinite(), math.nan) for values in (jacobian, rates))

        found = isometry(metric_tensor(jacobian))
        signal = float(modulation(rates).square().nanmean().sqrt())
        unit_scale = (jacobian.square().sum(-1) / 2).unflatten(0, (side, side))  # (rows, columns, units)
        none = "one code everywhere" if found.places else "no finite rates"
        n = found.places
        result = Result()
        result.add("stride_m", stride_m, "m")
        speed = math.sqrt(found.mean / len(units)) / signal if n and signal > 0 else math.nan
        result.add("speed_per_m", speed, "1/m", "none", n, none)
        result.add("metric_cv", found.cv, "", "lower", n, none)
        result.add("null_cv", _null_cv(unit_scale, generator), "", "none", n, none)
        stands = none if not n or not found.mean > 0 else "the code stands still along one direction"
        result.add("anisotropy_median", found.anisotropy_median, "", "lower", n, stands)
        result.add("anisotropy_of_mean", found.anisotropy_of_mean, "", "lower", n, stands)
        result.arrays = {
            "scale": found.scale.unflatten(0, (side, side)).float(),
            "anisotropy": found.anisotropy.unflatten(0, (side, side)).float(),
        }
        progress(3, 3)
        return result


def _null_cv(unit_scale: Tensor, generator: torch.Generator) -> float:
    """Mean coefficient of variation after every unit's map ``(H, W, units)`` is rolled by itself."""
    height, width, units = unit_scale.shape
    row, column = torch.arange(height)[:, None, None], torch.arange(width)[None, :, None]
    found = []
    for _ in range(NULLS):
        down, across = (torch.randint(size, (units,), generator=generator) for size in (height, width))
        place = ((row + down) % height * width + (column + across) % width).flatten(0, 1)
        scale = unit_scale.flatten(0, 1).gather(0, place.to(unit_scale.device)).sum(-1)
        scale = scale[scale.isfinite()]
        found.append(float(scale.std(correction=0) / scale.mean()) if len(scale) else math.nan)
    return sum(found) / len(found)
