"""How far do Burak & Fiete's sheets stray?  Paths too long for `make figures`, kept as a CSV file a condition.

    python -m entorhinal.benchmarks.attractor_paths [--only NAME ...] [--out FOLDER]

The periodic and the aperiodic sheet follow about 260 m in 20 minutes (`World.walk`, 2 m box) without noise, and the
first five minutes of it with Poisson spikes; in ``recorded_...`` they follow the first minute of a rat's path
(Sargolini et al. 2006). ``<name>.csv`` has a row a second: true and decoded position and the distance walked;
``<name>.json`` says what was run. A minute of a path takes 10 to 20 s on one quiet core.
"""

import argparse
import json
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from entorhinal.benchmarks.records import provenance
from entorhinal.benchmarks.rollout import anchored, follow
from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.errors import unknown
from entorhinal.families.registry import make
from entorhinal.families.world import Arena, Trajectories, World, load_recording

__all__ = ["CONDITIONS", "LONG_PATHS", "Condition", "run"]

LONG_PATHS = Path(__file__).parent / "paths"
"""The paths that come with the project."""

SECONDS, NOISY_SECONDS, RECORDED_SECONDS, SIDE_M, SPEED_M_S, NOISE_SEED = 1200.0, 300.0, 60.0, 2.0, 0.173, 0
STEP_MS = 1.0  # twice the models' own, which halves the time


@dataclass(frozen=True)
class Condition:
    """One sheet on the simulated or the recorded path, its first ``seconds``; ``noise_seed`` makes spikes, if any."""

    name: str
    model: str
    seconds: float
    config: dict[str, Any] = field(default_factory=dict)
    noise_seed: int | None = None
    recorded: bool = False

    def path(self) -> Trajectories:
        """One trial, the simulated one from the origin."""
        path = load_recording() if self.recorded else _simulated()
        return path.chunk(0, round(self.seconds / path.dt_s))


@cache
def _simulated() -> Trajectories:
    """The whole simulated path."""
    world = World(Arena.square(SIDE_M))
    return world.walk(1, round(SECONDS / world.dt_s), seed=0, speed_m_s=SPEED_M_S, start_m=torch.zeros(1, 2))


def _conditions() -> tuple[Condition, ...]:
    """Periodic and aperiodic, without and with spikes, on both paths."""
    family, found = "continuous_attractor", []
    for prefix, quiet_s, noisy_s in (("", SECONDS, NOISY_SECONDS), ("recorded_", RECORDED_SECONDS, RECORDED_SECONDS)):
        recorded, spiking = bool(prefix), f"{family}/burak_fiete_spiking-v1"
        found += [
            Condition(f"{prefix}periodic", f"{family}/burak_fiete-v1", quiet_s, recorded=recorded),
            Condition(f"{prefix}aperiodic", f"{family}/burak_fiete_aperiodic-v1", quiet_s, recorded=recorded),
            Condition(f"{prefix}periodic_spikes", spiking, noisy_s, {}, NOISE_SEED, recorded),
            Condition(f"{prefix}aperiodic_spikes", spiking, noisy_s, {"periodic": False}, NOISE_SEED, recorded),
        ]
    return tuple(found)


CONDITIONS = _conditions()


def run(condition: Condition) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A row a second, and what was run."""
    code, begun = provenance(), time.perf_counter()
    path = condition.path()
    model = make(condition.model, step_ms=STEP_MS, **condition.config)
    decoded_m = follow(model, path, choose=None, seed=condition.noise_seed, max_bytes=2**25).decoded_m
    assert decoded_m is not None
    every = round(1 / path.dt_s)
    kept = slice(every - 1, None, every)
    true_m, ours_m = path.position_m[0, kept].numpy(), anchored(decoded_m, path)[0, kept].numpy()
    columns = dict(zip(("x_m", "y_m", "decoded_x_m", "decoded_y_m"), (*true_m.T, *ours_m.T), strict=True))
    distance_m = path.distance_m[0, kept].numpy()
    table = pd.DataFrame({"time_s": range(1, len(true_m) + 1), "distance_m": distance_m} | columns)
    said = {
        "condition": condition.name,
        "model": condition.model,
        "config": model.config.model_dump(mode="json"),
        "noise_seed": condition.noise_seed,
        "seconds": time.perf_counter() - begun,
    }
    return table.round(5), said | code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[condition.name for condition in CONDITIONS])
    parser.add_argument("--out", type=Path, default=LONG_PATHS)
    options = parser.parse_args()
    known = {condition.name: condition for condition in CONDITIONS}
    for name in options.only:
        if name not in known:
            raise unknown("condition", name, known)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in track(options.only, "following", console=Console(stderr=True)):
        table, said = run(known[name])
        write_atomically(options.out / f"{name}.csv", table.to_csv(index=False).encode())
        write_atomically(options.out / f"{name}.json", (json.dumps(said, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
