"""cost-v1: what does it cost to run the model?

One second of the common walk (50 steps of 20 ms in a 1 m box), for one trial and for eight together, after a warm-up;
the median of three runs. Times are of the hardware in the record and compare only within it; sizes compare anywhere.
"""

import statistics
import time
from typing import ClassVar

import torch
from torch.utils._pytree import tree_leaves

from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.task import Progress, Recording, Result, noise_seed
from entorhinal.families.model import Model
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["Cost"]

_STEPS, _REPEATS, _BATCHES = 50, 3, (1, 8)


class Cost:
    """Milliseconds a step, units, parameters, bytes held, bytes of state a trial, peak bytes (CUDA only)."""

    id: ClassVar[str] = "cost-v1"
    title: ClassVar[str] = "Evaluation cost"

    def why_not(self, model: Model) -> str | None:
        return None

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        arena = Arena.square(1.0) if model.card.dimensions == 2 else Arena.line(1.0)
        world = World(arena, device=str(device))
        result = Result()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        for i, batch in enumerate(_BATCHES):
            walk = world.walk(batch, _STEPS, seed=derive(seed, "cost", str(batch)), speed_m_s=0.2)
            noise = noise_seed(model, seed, "cost", str(batch))
            generator = None if noise is None else torch.Generator(device).manual_seed(noise)
            representation = model.represent(walk.chunk(0, 2), generator=generator)
            ms = statistics.median(_milliseconds(model, walk, device, generator) for _ in range(_REPEATS)) / _STEPS
            name = "step_ms" if batch == 1 else f"step_ms_{batch}_trials"
            result.add(name, ms, "ms", "lower", n=_REPEATS)
            progress(i + 1, len(_BATCHES))
        tensors = [*model.parameters(), *model.buffers()]
        state_bytes = sum(leaf[:1].nbytes for leaf in tree_leaves(representation.state) if leaf is not None)
        result.add("units", representation.rates.shape[-1])
        result.add("parameters", sum(p.numel() for p in model.parameters() if p.requires_grad), direction="lower")
        result.add("held_bytes", sum(t.nbytes for t in tensors), "B", "lower")
        result.add("state_bytes", state_bytes, "B", "lower")
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else float("nan")
        result.add("peak_bytes", peak, "B", "lower", reason="measured on CUDA devices only")
        return result


@torch.inference_mode()
def _milliseconds(model: Model, walk: Trajectories, device: torch.device, generator: torch.Generator | None) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    model.represent(walk, generator=generator)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - begun)
