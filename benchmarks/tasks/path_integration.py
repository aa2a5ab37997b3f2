"""path_integration-v1: does the code stay where the animal is?

Two walks in a 1 m box: the recorded rat (Sargolini et al. 2006), its even minutes to calibrate and its odd minutes to
test, and the common walk (`World.walk`), five trials of a minute each to calibrate and five to test. Every trial begins
with the true start and gets displacements only. Templates are the rate maps of at most 256 random units over the
calibration trials (25 bins a side, so that five minutes of a rat visit nearly all, smoothed by 3 cm). Two tracks:

localisation  one global decoder: the bin whose template correlates best with the population, over the whole box.
integration   the same, but only within 15 cm of the last estimate, from the true start: follows a periodic code.

A third set of numbers, ``phase``, is of the Integration track proper, for codes with a lattice (`follow_phase`): units
that share a lattice in the templates (8 or more with a score above 0.3; each such group in turn, and the numbers are
means over groups) are folded into its unit cell, the phase is followed from sample to sample and unwrapped to a path,
anchored at the first sample alone. Reported: error in metres and in spacings; gain (2 × 2, fitted over 0.5 s) as mean
and as the ratio of its singular values; the error once the gain of the calibration trials is divided out; slips (the
error grows by a quarter of a spacing within 0.1 s) a metre; growth of the residual's variance along an axis, a second
and a metre walked; how much of the maps' variance the cell explains (a group whose median is below a half is left out:
its maps do not repeat). Beside them stands the error of a code that never moves.

More walks, where they say something new. ``own``: for models that were trained on other steps than the common walk's
(their root mean square differs by a fifth or more), independent draws of their training steps, folded at the walls, in
trials of 20 s. Its steps may exceed half a spacing; there phases follow the true path as a guide (`follow_phase`).
``wide`` and ``wide_own``: the common walk (20 s) and those steps (10 s) in a box of twice the training extent, where
that is above 1 m, 20 trials each to calibrate and to test, all from the origin, for the phase alone: a lattice of more
than half the box's side cannot be seen in it, and maps of a code that drifts blur with time.

Chance is the localisation of the same estimates dealt to other moments. For models with a decoder of their own, its
error too, anchored at the first step only, and along the whole recording (600 s) as one trial, kept once a second.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.analysis import RateMapAccumulator, RateMaps, decode_positions, path_error, scores_and_lattices
from entorhinal.analysis.integration import (
    CellMaps,
    IntegrationError,
    fold_maps,
    follow_phase,
    integration_error,
    lattice_groups,
)
from entorhinal.benchmarks.records import Direction
from entorhinal.benchmarks.rollout import anchored, follow
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, choose_units, noise_seed
from entorhinal.families.model import Decoder, Model, PathIntegrator, Trainable
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["PathIntegration"]

BINS, SMOOTHING_M, UNITS, SIDE_M, WINDOW_M, TRIALS, MINUTE = 25, 0.03, 256, 1.0, 0.15, 5, 3000
OWN_STEPS, UNLIKE, EXPLAINED = 1000, 0.2, 0.5
WIDE_TRIALS, WIDE_STEPS, WIDE_OWN_STEPS = 40, 1000, 500


class PathIntegration:
    """Errors in metres along the recorded rat and the common walk, by one decoder for all models."""

    id: ClassVar[str] = "path_integration-v1"
    title: ClassVar[str] = "Path integration on a recorded and a common walk"

    def why_not(self, model: Model) -> str | None:
        return None if isinstance(model, PathIntegrator) else "reads position: it is not a path integrator"

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        plane = model.card.dimensions == 2
        arena = Arena.square(SIDE_M) if plane else Arena.line(SIDE_M)
        world = World(arena, device=str(device))
        walks = {"walk": world.walk(2 * TRIALS, MINUTE, seed=derive(seed, "path_integration"))}
        result = Result()
        if plane:
            path = recording.load().to(device)
            walks["recorded"] = _minutes(path)
            if isinstance(model, Decoder):
                self._whole(model, path, seed, result, progress)
        reason = "one-dimensional model"
        if plane:
            steps_m, reason = _training_steps(model, walks["walk"], seed)
            if steps_m is not None:
                starts_m = world.starts(2 * TRIALS, world.generator(derive(seed, "path_integration", "own_starts")))
                own_seed = derive(seed, "path_integration", "own")
                walks["own"] = _folded(steps_m, arena, starts_m, OWN_STEPS, own_seed)
            if (extent_m := model.card.training_extent_m or 0) > SIDE_M:
                wide, origin = World(Arena.square(2 * extent_m), device=str(device)), torch.zeros(WIDE_TRIALS, 2)
                wide_seed = derive(seed, "path_integration", "wide")
                walks["wide"] = wide.walk(WIDE_TRIALS, WIDE_STEPS, seed=wide_seed, start_m=origin)
                if steps_m is not None:
                    walks["wide_own"] = _folded(steps_m, wide.arena, origin, WIDE_OWN_STEPS, wide_seed)
        if "own" not in walks:
            result.add("own_localisation_error_median_m", torch.nan, "m", "lower", reason=reason)
        total, done = sum(walk.steps for walk in walks.values()), 0
        for name, walk in walks.items():
            self._score(model, walk, name, seed, result, lambda d, t, s=done: progress(s + d, total))  # type: ignore[misc]
            done += walk.steps
        if not plane:
            reason = "one-dimensional model: there is no recording on a track"
            result.add("recorded_localisation_error_median_m", torch.nan, "m", "lower", reason=reason)
        return result

    def _whole(self, model: Model, path: Trajectories, seed: int, result: Result, progress: Progress) -> None:
        """The whole recording in one trial, read by the model's own decoder."""
        noise = noise_seed(model, seed, "path_integration", "whole")
        decoded_m = follow(model, path, choose=None, seed=noise, progress=progress).decoded_m
        assert decoded_m is not None
        decoded_m = anchored(decoded_m, path)
        error = path_error(decoded_m, path.position_m, path.displacement_m)
        n = error.error_m.numel()
        result.add("whole_own_decoder_error_median_m", error.median_m, "m", "lower", n)
        result.add("whole_own_decoder_error_largest_m", error.error_m.max(), "m", "lower", n)
        result.add("whole_own_decoder_error_end_m", error.error_m[0, -1], "m", "lower", 1)
        result.add("whole_distance_m", error.distance_m[0, -1], "m", "none", 1)
        every = slice(None, None, round(1 / path.dt_s))
        result.arrays |= {
            "whole_decoded_m": decoded_m[0, every].float(),
            "whole_position_m": path.position_m[0, every].float(),
            "whole_error_m": error.error_m[0, every].float(),
            "whole_distance_m": error.distance_m[0, every].float(),
        }

    def _score(
        self, model: Model, walk: Trajectories, name: str, seed: int, result: Result, progress: Progress
    ) -> None:
        """All trials run at once: even ones calibrate, odd ones test."""
        noise = noise_seed(model, seed, "path_integration", name)
        run = follow(model, walk, choose=lambda total: choose_units(total, UNITS, seed), seed=noise, progress=progress)
        accumulator = RateMapAccumulator(walk.arena.extent_m, BINS, SMOOTHING_M)
        templates = accumulator.add(run.rates[0::2], walk.position_m[0::2]).result()
        if walk.dimensions == 2:
            _add_phase(result, name, run.rates, walk, templates)
        if name.startswith("wide"):
            return
        test = walk.select(slice(1, None, 2))
        rates = run.rates[1::2]
        tracks = {
            "localisation": decode_positions(rates, templates),
            "integration": decode_positions(rates, templates, window_m=WINDOW_M, start_m=test.start_m),
        }
        if run.decoded_m is not None:
            tracks["own_decoder"] = anchored(run.decoded_m[1::2], test)
        for track, decoded_m in tracks.items():
            error = path_error(decoded_m, test.position_m, test.displacement_m)
            n = error.error_m.numel()
            result.add(f"{name}_{track}_error_median_m", error.median_m, "m", "lower", n)
            result.add(f"{name}_{track}_error_p95_m", error.p95_m, "m", "lower", n)
            result.add(f"{name}_{track}_error_end_m", error.error_m[:, -1].nanmean(), "m", "lower", test.batch)
            result.add(f"{name}_{track}_error_slope", error.slope, "m/m", "lower", n)
        generator = torch.Generator().manual_seed(derive(seed, "path_integration", "chance"))
        shuffled = torch.randperm(test.steps, generator=generator).to(rates.device)
        chance = path_error(tracks["localisation"][:, shuffled], test.position_m, test.displacement_m)
        result.add(f"{name}_chance_error_median_m", chance.median_m, "m", "none", chance.error_m.numel())
        result.add(f"{name}_distance_m", test.distance_m[:, -1].mean(), "m", "none", test.batch)


def _add_phase(result: Result, name: str, rates: Tensor, walk: Trajectories, templates: RateMaps) -> None:
    """The Integration track: rates (B, T, units) of all trials, even ones calibrate the gain, odd ones test."""
    scores, found = scores_and_lattices(templates.values, templates.bin_m)
    errors: list[IntegrationError] = []
    calibrated: list[IntegrationError] = []
    cells: list[CellMaps] = []
    for units, basis_m in lattice_groups(found, scores):
        cell = fold_maps(replace(templates, values=templates.values[units]), basis_m)
        if not cell.explained.nanmedian() > EXPLAINED:
            continue
        guide_m = walk.position_m if name.endswith("own") else None
        path_m = follow_phase(rates[..., units], cell, guide_m=guide_m).path_m

        def error(
            first: int, gain: Tensor | None = None, path_m: Tensor = path_m, basis_m: Tensor = basis_m
        ) -> IntegrationError:
            trials = slice(first, None, 2)
            return integration_error(
                path_m[trials], walk.displacement_m[trials], basis_m=basis_m, dt_s=walk.dt_s, gain=gain
            )

        errors.append(error(1))
        calibrated.append(error(1, error(0).gain))
        cells.append(cell)
    none = "no 8 units share a lattice in this box"
    n = sum(len(cell.phase) for cell in cells)

    def add(what: str, each: list[float], unit: str = "", direction: Direction = "none") -> None:
        value = sum(each) / len(each) if each else torch.nan
        result.add(f"{name}_phase_{what}", value, unit, direction, n, none)

    result.add(f"{name}_phase_lattices", len(cells), n=n)
    add("explained", [float(cell.explained.nanmedian()) for cell in cells], "", "higher")
    add("error_median_m", [float(e.error_m.nanmedian()) for e in errors], "m", "lower")
    add("error_median_spacings", [float(e.error_spacings.nanmedian()) for e in errors], "", "lower")
    add("error_end_spacings", [float(e.error_spacings[:, -1].nanmean()) for e in errors], "", "lower")
    add("error_calibrated_median_m", [float(e.error_m.nanmedian()) for e in calibrated], "m", "lower")
    add("gain", [e.mean_gain for e in errors])
    add("gain_anisotropy", [e.anisotropy for e in errors], "", "lower")
    add("slips_per_m", [e.slips_per_m for e in errors], "1/m", "lower")
    add("variance_m2_s", [float(e.variance_m2_s.nanmean()) for e in errors], "m²/s", "lower")
    add("variance_m2_m", [float(e.variance_m2_m.nanmean()) for e in errors], "m²/m", "lower")
    true_m = (walk.position_m - walk.position_m[:, :1])[1::2].norm(dim=-1)
    result.add(f"{name}_still_error_median_m", true_m.median(), "m", "none", true_m.numel())


def _training_steps(model: Model, walk: Trajectories, seed: int) -> tuple[Tensor | None, str]:
    """Displacements (M, 2) of a batch of the model's training, or why there are none."""
    if not isinstance(model, Trainable):
        return None, "not trained: it has no steps of its own"
    world = World(Arena.square(model.card.training_extent_m or SIDE_M), device=str(walk.start_m.device))
    batch = next(iter(model.training_data(world, derive(seed, "path_integration", "training"))))
    for key in ("displacement_m", "velocity_m"):
        if isinstance(batch, dict) and key in batch and batch[key].shape[-1] == 2:
            steps_m = batch[key].reshape(-1, 2)
            own, common = (float(steps.square().mean().sqrt()) for steps in (steps_m, walk.displacement_m))
            if abs(own / common - 1) < UNLIKE:
                return None, "trained on steps of the common walk's size"
            return steps_m, ""
    return None, "its training batches do not show their steps"


def _folded(steps_m: Tensor, arena: Arena, start_m: Tensor, steps: int, seed: int) -> Trajectories:
    """Walks of independent draws from given steps, folded back at the walls."""
    generator = torch.Generator(steps_m.device).manual_seed(seed)
    low, high = arena.bounds_m(steps_m)
    start = start_m.to(steps_m)[:, None] - low
    chosen = torch.randint(len(steps_m), (len(start), steps), generator=generator, device=steps_m.device)
    free = torch.cat((start, start + steps_m[chosen].cumsum(1)), 1) % (2 * (high - low))
    position_m = low + torch.where(free > high - low, 2 * (high - low) - free, free)
    return Trajectories.from_positions(position_m, World.dt_s, arena)


def _minutes(recording: Trajectories) -> Trajectories:
    """A recording cut into trials of about a minute, equally long."""
    trials = max(2, round(recording.duration_s / 60))
    steps = recording.steps // trials
    through_m = torch.cat((recording.start_m[:, None], recording.position_m), 1)[0]
    position_m = torch.stack([through_m[i * steps : (i + 1) * steps + 1] for i in range(trials)])
    return Trajectories.from_positions(position_m, recording.dt_s, recording.arena)
