"""robustness-v1: how much noise and loss does the code stand?

World: the common walk (`World.walk`, 20 ms steps) in a 1 m box, 64 trials of 10 s from random places (8 trials for
models of more than 4,096 units, so that a sheet of 128² neurons takes a minute). Even trials calibrate the decoder
(`decode_positions`, 25 bins a side, smoothed by 3 cm) and odd trials test it, ten times a second. Units: at most 256,
drawn at random by the seed. While models walk, only noise that moves their state is on: what is disturbed is what a
reader sees of them, or their weights. The decoder was calibrated on the undisturbed model.

noise     Gaussian noise on every rate, standard deviation in multiples of the unit's own: the decoder standardises
          units, and noise of one size would be that of the quietest.
dropout   that fraction of the units, drawn at random, is lost, and the decoder goes by the others: what a silent unit
          would say to it depends on what the rate 0 means in each model. Mean error of 5 draws.
weights   Gaussian noise on every parameter, standard deviation in multiples of the root mean square of its tensor; the
          test trials are walked again. Empty for models without parameters.
module    one module's units are lost (`entorhinal.analysis.modules`); the worst and the mean module. Empty where the
          maps show fewer than two.

For each level the median error in metres of two tracks, as in `path_integration-v1`: error_m of localisation in the
whole box, and followed_error_m of the search within 15 cm of the last estimate from the true start, which a code with
periods shorter than the box needs. For noise and weights, too, the median grid score and spacing of the test trials'
maps, over the units that have a lattice and score at least 0.3 undisturbed, so that a lattice lost is not hidden by
units that had none. What dropout leaves keeps its maps.

<kind>_tolerance  level at which error_m, by linear interpolation between levels, is half of chance; the highest level
                  where none reaches it, empty where it is so undisturbed. Chance: the estimates of level 0 dealt to
                  other moments. <kind>_followed_tolerance is the same of followed_error_m.
<kind>_doubling   level at which error_m is twice that of level 0, the highest where none reaches it. It comes early
                  for a model that starts with a small error, so it compares levels of one model, not models.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.analysis import (
    Lattices,
    RateMapAccumulator,
    RateMaps,
    decode_positions,
    modules,
    scores_and_lattices,
)
from entorhinal.analysis.robustness import kept_units, modulation, tolerance, with_noise
from entorhinal.benchmarks.records import Direction
from entorhinal.benchmarks.rollout import count_units, follow
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, choose_units, in_the_plane, noise_seed
from entorhinal.families.model import Model
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["Robustness"]

SIDE_M, BINS, SMOOTHING_M, WINDOW_M, UNITS = 1.0, 25, 0.03, 0.15, 256
TRIALS, TRIALS_LARGE, LARGE, STEPS, DECODE_EVERY = 64, 8, 4096, 500, 5
NOISE, DROPOUT, WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0), (0.1, 0.25, 0.5, 0.75, 0.9), (0.01, 0.03, 0.1)
DROPOUT_DRAWS, GRID_SCORE = 5, 0.3


class Robustness:
    """Localisation error and grid score under noise, dropout, perturbed weights and silenced modules."""

    id: ClassVar[str] = "robustness-v1"
    title: ClassVar[str] = "Noise and loss that the code stands"

    def why_not(self, model: Model) -> str | None:
        return in_the_plane(model)

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        walk = World(Arena.square(SIDE_M)).walk(TRIALS, STEPS, seed=derive(seed, "robustness", "walk")).to(device)
        walk = walk.select(slice(0, TRIALS_LARGE if count_units(model, walk) > LARGE else TRIALS))
        total = 2 * STEPS
        run = follow(
            model,
            walk,
            choose=lambda units: choose_units(units, UNITS, seed),
            seed=noise_seed(model, seed, "robustness"),
            progress=lambda done, _: progress(done, total),
        )
        rates = run.rates.where(run.rates.isfinite(), torch.nan)
        reader = _Reader(_maps(rates[0::2], walk.position_m[0::2]), walk.select(slice(1, None, 2)))
        clean = rates[1::2]
        result = Result()
        if not reader.templates.values.isfinite().all(0).any():
            result.add("undisturbed_error_m", math.nan, "m", "lower", reason="the model has no answer in the box")
            return result
        base = reader.read(clean)
        order = torch.randperm(base.decoded_m.shape[0], generator=_generator(seed, "chance")).to(device)
        chance_m = float((base.decoded_m[order] - base.position_m).norm(dim=-1).nanmedian())
        assert base.found is not None
        lattice = (base.score >= GRID_SCORE) & base.found.spacing_m.isfinite()
        _add_errors(result, base, "undisturbed")
        result.add("chance_error_m", chance_m, "m", "none", base.n)
        _add_maps(result, base, lattice, "undisturbed")
        spread = modulation(clean)

        def add(kind: str, levels: tuple[float, ...], read: Callable[[float], "_Read"], maps: bool) -> None:
            reads = [base, *(read(level) for level in levels)]
            for level, found in zip(levels, reads[1:], strict=True):
                name = f"{kind}_{level:g}"
                _add_errors(result, found, name)
                if maps:
                    _add_maps(result, found, lattice, name)
            for name, track, limit in (
                ("tolerance", "error_m", chance_m / 2),
                ("followed_tolerance", "followed_m", chance_m / 2),
                ("doubling", "error_m", 2 * base.error_m),
            ):
                errors = [getattr(found, track) for found in reads]
                lost = not errors[0] < limit
                level = min(tolerance((0.0, *levels), errors, math.nan if lost else limit), levels[-1])  # NaN stays NaN
                ranks: Direction = "none" if name == "doubling" else "higher"
                result.add(f"{kind}_{name}", level, "", ranks, base.n, "half of chance or worse undisturbed")

        def noisy(level: float) -> "_Read":
            return reader.read(with_noise(clean, level * spread, generator=_generator(seed, f"noise {level:g}")))

        def thinned(level: float) -> "_Read":
            generator = _generator(seed, f"dropout {level:g}")
            draws = [kept_units(clean.shape[-1], level, generator=generator).to(device) for _ in range(DROPOUT_DRAWS)]
            return _mean([reader.read(clean, kept) for kept in draws])

        def reweighted(level: float) -> "_Read":
            perturbed = _with_weight_noise(model, level, _generator(seed, f"weights {level:g}"))
            found = follow(
                perturbed,
                reader.walk,
                choose=lambda units: choose_units(units, UNITS, seed),
                seed=noise_seed(model, seed, "robustness", f"weights {level:g}"),
            ).rates
            return reader.read(found.where(found.isfinite(), torch.nan))

        add("noise", NOISE, noisy, maps=True)
        add("dropout", DROPOUT, thinned, maps=False)
        if any(True for _ in model.parameters()):
            add("weights", WEIGHTS, reweighted, maps=True)
        else:
            result.add("weights_tolerance", math.nan, "", "higher", reason="the model has no parameters to perturb")
        progress(STEPS + STEPS // 2, total)
        self._lose_modules(result, reader, clean, base, lattice)
        progress(total, total)
        return result

    def _lose_modules(self, result: Result, reader: "_Reader", clean: Tensor, base: "_Read", lattice: Tensor) -> None:
        assert base.found is not None
        parts = modules(base.found, base.score, least_score=GRID_SCORE)
        few = "fewer than two modules" if parts.count < 2 else ""
        errors = [] if few else [reader.read(clean, parts.labels != module).error_m for module in range(parts.count)]
        result.add("modules", parts.count, n=int(lattice.sum()))
        worst, mean = (max(errors), sum(errors) / parts.count) if not few else (math.nan, math.nan)
        result.add("module_lost_worst_error_m", worst, "m", "lower", parts.count, few)
        result.add("module_lost_mean_error_m", mean, "m", "lower", parts.count, few)


@dataclass(frozen=True)
class _Read:
    """What a reader makes of rates: decoded and true places (S, 2), median errors, maps' scores (U,) and lattices."""

    decoded_m: Tensor
    position_m: Tensor
    error_m: float
    followed_m: float
    score: Tensor
    found: Lattices | None

    @property
    def n(self) -> int:
        return len(self.decoded_m)


@dataclass(frozen=True)
class _Reader:
    """The decoder calibrated on the undisturbed model, and the walk of the test trials."""

    templates: RateMaps
    walk: Trajectories

    def read(self, rates: Tensor, kept: Tensor | None = None) -> _Read:
        """rates ``(B, T, U)`` of the test trials, all steps; of the units kept ``(U,)``, if any are lost, no maps."""
        templates, seen = self.templates, rates[:, ::DECODE_EVERY]
        if kept is not None and not kept.any():
            seen = torch.full_like(seen, math.nan)
        elif kept is not None:
            values = templates.values[kept]
            templates, seen = (
                RateMaps(values, templates.occupancy, templates.bin_m, templates.extent_m),
                seen[..., kept],
            )
        position_m = self.walk.position_m[:, ::DECODE_EVERY]
        decoded_m = decode_positions(seen, templates)
        followed_m = decode_positions(seen, templates, window_m=WINDOW_M, start_m=position_m[:, 0])
        score, found = decoded_m.new_empty(0), None
        if kept is None:
            maps = _maps(rates, self.walk.position_m)
            score, found = scores_and_lattices(maps.values, maps.bin_m)
        # places that cannot be read are errors
        error_m, lost_m = (
            float((places - position_m).norm(dim=-1).nan_to_num(math.inf).median())
            for places in (decoded_m, followed_m)
        )
        return _Read(decoded_m.flatten(0, 1), position_m.flatten(0, 1), error_m, lost_m, score, found)


def _mean(reads: list[_Read]) -> _Read:
    """The first of several, with their mean errors."""
    error_m, followed_m = (sum(getattr(read, of) for read in reads) / len(reads) for of in ("error_m", "followed_m"))
    return replace(reads[0], error_m=error_m, followed_m=followed_m)


def _maps(rates: Tensor, position_m: Tensor) -> RateMaps:
    extent_m = Arena.square(SIDE_M).extent_m
    return RateMapAccumulator(extent_m, BINS, SMOOTHING_M).add(rates, position_m).result()


def _add_errors(result: Result, read: _Read, name: str) -> None:
    result.add(f"{name}_error_m", read.error_m, "m", "lower", read.n, "nothing can be decoded")
    result.add(f"{name}_followed_error_m", read.followed_m, "m", "lower", read.n, "nothing can be decoded")


def _add_maps(result: Result, read: _Read, lattice: Tensor, name: str) -> None:
    n, none = int(lattice.sum()), f"no unit has a lattice that scores {GRID_SCORE} undisturbed"
    result.add(f"{name}_grid_score", read.score[lattice].nanmedian(), "", "higher", n, none)
    assert read.found is not None
    spacing_m = read.found.spacing_m[lattice].nanmedian()
    result.add(f"{name}_spacing_m", spacing_m, "m", "none", n, "no lattice" if n else none)


def _with_weight_noise(model: Model, level: float, generator: torch.Generator) -> Model:
    """A copy with Gaussian noise on all parameters, of ``level`` times each tensor's root mean square."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            size = parameter.square().mean().sqrt()
            parameter.add_(level * size * torch.randn(parameter.shape, generator=generator).to(parameter))
    return copied


def _generator(seed: int, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "robustness", name))
