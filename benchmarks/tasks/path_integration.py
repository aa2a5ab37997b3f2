"""path_integration-v1: does the code stay where the animal is?

Two walks in a 1 m box: the recorded rat (Sargolini et al. 2006), its even minutes to calibrate and its odd minutes to
test, and the common walk (`World.walk`), five trials of a minute each to calibrate and five to test. Every trial begins
with the true start and gets displacements only. Templates are the rate maps of at most 256 random units over the
calibration trials (25 bins a side, so that five minutes of a rat visit nearly all, smoothed by 3 cm). Two tracks:

localisation  one global decoder: the bin whose template correlates best with the population, over the whole box.
integration   the same, but only within 15 cm of the last estimate, from the true start: follows a periodic code.

Chance is the localisation of the same estimates dealt to other moments. For models with a decoder of their own, its
error too, anchored at the first step only, and along the whole recording (600 s) as one trial, kept once a second.
"""

from typing import ClassVar

import torch

from entorhinal.analysis import RateMapAccumulator, decode_positions, path_error
from entorhinal.benchmarks.rollout import anchored, follow
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, choose_units
from entorhinal.families.model import Decoder, Model, PathIntegrator
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["PathIntegration"]

BINS, SMOOTHING_M, UNITS, SIDE_M, WINDOW_M, TRIALS, MINUTE = 25, 0.03, 256, 1.0, 0.15, 5, 3000


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
                self._whole(model, path, result, progress)
        for i, (name, walk) in enumerate(walks.items()):
            done = i * walk.steps
            self._score(model, walk, name, seed, result, lambda d, t, s=done: progress(s + d, len(walks) * t))  # type: ignore[misc]
        if not plane:
            reason = "one-dimensional model: there is no recording on a track"
            result.add("recorded_localisation_error_median_m", torch.nan, "m", "lower", reason=reason)
        return result

    def _whole(self, model: Model, path: Trajectories, result: Result, progress: Progress) -> None:
        """The whole recording in one trial, read by the model's own decoder."""
        decoded_m = follow(model, path, choose=None, progress=progress).decoded_m
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
        run = follow(model, walk, choose=lambda total: choose_units(total, UNITS, seed), progress=progress)
        accumulator = RateMapAccumulator(walk.arena.extent_m, BINS, SMOOTHING_M)
        templates = accumulator.add(run.rates[0::2], walk.position_m[0::2]).result()
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


def _minutes(recording: Trajectories) -> Trajectories:
    """A recording cut into trials of about a minute, equally long."""
    trials = max(2, round(recording.duration_s / 60))
    steps = recording.steps // trials
    through_m = torch.cat((recording.start_m[:, None], recording.position_m), 1)[0]
    position_m = torch.stack([through_m[i * steps : (i + 1) * steps + 1] for i in range(trials)])
    return Trajectories.from_positions(position_m, recording.dt_s, recording.arena)
