"""modules-v1: how many modules are there, and how many of them are independent?

World: a walled square box, 64 trials of the common walk (`World.walk`, 20 ms steps) for 40 s, all from the origin, as
in `generalization-v2`. Its side is the largest that the model is asked to answer for: twice the card's training
extent, at most 4 m (the box of Schaeffer et al. 2023); 4 m for models made for no box in particular. A model that has
no answer there (more than a tenth of the rates is NaN, as for tables) is run once more in a box of its training extent.
side_m says which it was. Walks are sampled on the CPU. Of noise, only such as moves the state
is on.

Maps: 64² bins, smoothed by a Gaussian of 3 cm. Units: at most 128, drawn at random by the seed. Active: a range
of at least 1 % of the largest. Grid units score above all of 100 noise maps (a 99th percentile: Schaeffer et al. 2023),
not the 200 of `generalization-v2`: here they are candidates, which must still form a module.

module_count           modules of grid units (`analysis.modules`): at least 5 units each, spacings more than a ratio of
                       1.2 apart. More than one only where the gap statistic refuses a smooth population at 3 %; a broad
                       continuum of spacings is none.
discreteness_p         that p-value. Needs 10 grid units.
mixture_modules        components of a Gaussian mixture of log spacing by BIC: a check. It presumes modules, so it
                       counts several in a continuum too. Needs scikit-learn.
independent_modules    groups of modules of which none predicts the phase of one of another group beyond its period
                       (`analysis.independence`). Modules whose units have no common torus there are
                       not counted. Empty where the box holds too few periods to tell.
coherence_min          that control: the least part of its units' variance that a module's phase explains beyond its
                       period; at least 0.6 of a torus. Perfect maps: above 0.95.
cross_prediction_max   the largest with which one predicts another; above 0.9 it is a harmonic.
harmonic_index         phases of the coarser module for each phase of the finer one, smallest of all harmonic pairs.
module_fraction        active units that are in modules.
spacing_m_1 ... _5     of each module, smallest first.
ratio_1 ... _4         of spacings k + 1 and k; ratio_k_low and _high: 95 % interval, units resampled within modules.
split_half_stability   how well modules are found again from the even and from the odd trials: Jaccard index of the
                       units with the best match, the worse of both halves, mean over modules. Grid units are those
                       of the whole.
phases_uniform_part    modules whose phases (`analysis.phases`) pass as uniform at 5 % (`phase_uniformity`);
phase_p_min            the smallest of those p-values, times the number of modules. Low power at 5 units.

Kept beside the record: units, label (−1: none), score, threshold, spacing, orientation and phase of each (NaN where it
has none), and the resultants between modules.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.analysis import (
    Lattices,
    Modules,
    above_null,
    independence,
    lattices,
    mixture_modules,
    module_overlaps,
    modules,
    phase_uniformity,
    phases,
    scores_and_lattices,
)
from entorhinal.analysis.modules import LEAST_UNITS
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.map_run import MapRun, active_units, run_maps
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, in_the_plane
from entorhinal.families.model import Model
from entorhinal.families.world import Arena, World

__all__ = ["ModulesTask"]

SIDE_M, SCALE, BINS, SMOOTHING_M, TRIALS, STEPS, UNITS, NULL_MAPS = 4.0, 2, 64, 0.03, 64, 2000, 128, 100
LISTED, UNIFORM = 5, 0.05


class ModulesTask:
    """Modules of grid units: their number, spacings, ratios, independence, stability and phases."""

    id: ClassVar[str] = "modules-v1"
    title: ClassVar[str] = "Discrete and independent modules"

    def why_not(self, model: Model) -> str | None:
        return in_the_plane(model)

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        def report(part: float) -> None:
            progress(round(1000 * part), 1000)

        run, side_m = _run(model, seed, device, progress=lambda part: report(part / 2))
        maps, bin_m = run.whole.values, run.whole.bin_m
        active = (not run.none) & active_units(maps)
        score, found = scores_and_lattices(maps[active], bin_m)
        generator = torch.Generator(maps.device).manual_seed(derive(seed, "modules", "null"))
        threshold, is_grid = above_null(
            maps[active], score, NULL_MAPS, generator=generator, report=lambda part: report(0.5 + 0.4 * part)
        )
        drawn = derive(seed, "modules", "draws") % 2**32

        def of(lattice: Lattices) -> Modules:
            return modules(lattice, is_grid, least_score=0.5, seed=drawn)

        whole = of(found)
        halves = [
            module_overlaps(whole.labels, of(lattices(half.values[active], bin_m)).labels)
            for half in (run.even, run.odd)
        ]
        linked = independence(maps[active], whole, bin_m, seed=drawn)
        phase = maps.new_full((len(score), 2), torch.nan)
        uniform_p = []
        for label in range(whole.count):
            own = whole.labels == label
            phase[own] = phases(maps[active][own], whole.basis_m[label], bin_m)
            uniform_p.append(phase_uniformity(phase[own], seed=drawn).p_value)

        n, grids, count = int(active.sum()), int(is_grid.sum()), whole.count
        no_grids = run.none or ("no active units" if not n else "no grid units" if not grids else "")
        no_modules = no_grids or f"no modules among {grids} grid units"
        single = no_modules if not count else "one module only"
        result = Result()
        result.add("side_m", side_m, "m")
        result.add("active_units", torch.nan if run.none else n, n=len(active), reason=run.none)
        result.add("grid_units", torch.nan if run.none else grids, n=n, reason=run.none)
        result.add("module_count", torch.nan if no_grids and not n else count, "", "none", grids, no_grids)
        few = no_grids or "fewer than 10 grid units"
        result.add("discreteness_p", whole.p_value, "", "none", grids, few)
        mixture, why = _mixture(found.spacing_m[is_grid], drawn)
        result.add("mixture_modules", mixture, "", "none", grids, few if grids < 2 * LEAST_UNITS else why)
        undecided = no_modules if not count else "the box holds too few periods of a module to tell"
        independent = linked.count if linked.decided and n else math.nan
        result.add("independent_modules", independent, "", "higher", count, undecided if n else no_grids)
        result.add("coherence_min", _extreme(linked.coherence, -1), "", "higher", count, undecided)
        off_diagonal = ~torch.eye(count, dtype=torch.bool, device=maps.device)
        crossed = _extreme(linked.resultant[off_diagonal], 1)
        result.add("cross_prediction_max", crossed, "", "lower", count, single if count < 2 else undecided)
        index = linked.index[linked.predicted]
        no_harmonic = single if count < 2 else "no module predicts another"
        result.add("harmonic_index", index.min() if len(index) else math.nan, "", "none", len(index), no_harmonic)
        in_modules = int((whole.labels >= 0).sum())
        result.add("module_fraction", in_modules / n if n else math.nan, "", "none", n, no_grids)
        for k in range(LISTED):
            sizes = int(whole.sizes[k]) if k < count else 0
            spacing_m = whole.spacing_m[k] if k < count else math.nan
            result.add(f"spacing_m_{k + 1}", spacing_m, "m", "none", sizes, no_modules if not count else _only(count))
        for k in range(LISTED - 1):
            there = k < count - 1
            values = (whole.ratios[k], *whole.ratio_intervals[k]) if there else (math.nan,) * 3
            pair = int(whole.sizes[k : k + 2].sum()) if there else 0
            for name, value in zip(("", "_low", "_high"), values, strict=True):
                result.add(f"ratio_{k + 1}{name}", value, "", "none", pair, no_modules if not count else _only(count))
        stable = torch.minimum(*halves).mean() if count else math.nan
        result.add("split_half_stability", stable, "", "higher", count, no_modules)
        passed = sum(p > UNIFORM for p in uniform_p) / count if count else math.nan
        result.add("phases_uniform_part", passed, "", "none", count, no_modules)
        smallest = min(1.0, count * min(uniform_p)) if count else math.nan
        result.add("phase_p_min", smallest, "", "none", count, no_modules)
        result.arrays = {
            "units": run.units[active],
            "labels": whole.labels,
            "score": score.float(),
            "threshold": threshold.float(),
            "spacing_m": found.spacing_m.float(),
            "orientation_rad": found.orientation_rad.float(),
            "phase": phase.float(),
            "resultant": linked.resultant.float(),
        }
        report(1)
        return result


def _run(model: Model, seed: int, device: torch.device, progress: Callable[[float], None]) -> tuple[MapRun, float]:
    """The model in the largest box that it answers for, and the side of that box."""
    extent_m = model.card.training_extent_m
    sides_m = [SIDE_M] if extent_m is None else [min(SCALE * extent_m, SIDE_M), extent_m]
    for i, side_m in enumerate(sides_m):
        walk = World(Arena.square(side_m)).walk(
            TRIALS, STEPS, seed=derive(seed, "modules", f"box {i}"), start_m=torch.zeros(TRIALS, 2)
        )
        run = run_maps(
            model,
            walk.to(device),
            bins=BINS,
            smoothing_m=SMOOTHING_M,
            at_most=UNITS,
            every=STEPS,
            seed=seed,
            report=partial(_part, progress, i, len(sides_m)),
        )
        if not run.none:
            break
    return run, side_m


def _part(progress: Callable[[float], None], done: int, total: int, part: float) -> None:
    progress((done + part) / total)


def _mixture(spacing_m: Tensor, seed: int) -> tuple[float, str]:
    """The mixture's count, and why there is none."""
    if len(spacing_m) < 2 * LEAST_UNITS:
        return math.nan, ""
    try:
        return mixture_modules(spacing_m, seed=seed), ""
    except ImportError:
        return math.nan, "scikit-learn is not installed"


def _extreme(values: Tensor, sign: int) -> float:
    """Largest (sign 1) or smallest (-1) finite value, NaN without any."""
    values = values[values.isfinite()]
    return sign * float((sign * values).max()) if len(values) else math.nan


def _only(count: int) -> str:
    return f"only {count} module{'s' if count > 1 else ''}"
