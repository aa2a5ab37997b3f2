"""What is a task?  It runs a model in a fixed world, hands the rates to the analysis and names the numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from entorhinal.benchmarks.records import Direction, Metric
from entorhinal.benchmarks.seeds import derive
from entorhinal.families.model import Model

__all__ = ["Progress", "Result", "Task", "choose_units", "in_arena"]

Progress = Callable[[int, int], None]
"""``progress(done, total)``: called as the run goes on."""


@dataclass
class Result:
    """metrics: the numbers; arrays: small tensors worth keeping beside the record (maps, scores of each unit)."""

    metrics: list[Metric] = field(default_factory=list)
    arrays: dict[str, Tensor] = field(default_factory=dict)

    def add(
        self,
        name: str,
        value: float | Tensor,
        unit: str = "",
        direction: Direction = "none",
        n: int = 0,
        reason: str = "",
    ) -> None:
        """Append a metric; a value that is not finite becomes empty, with ``reason``."""
        number = float(value)
        why = "" if number == number and abs(number) != float("inf") else (reason or "not defined here")
        self.metrics.append(Metric(name=name, value=number, unit=unit, direction=direction, n=n, reason=why))


class Task(Protocol):
    """A versioned benchmark. The model is handed over on its device, fitted and in evaluation mode."""

    id: ClassVar[str]
    title: ClassVar[str]

    def why_not(self, model: Model) -> str | None:
        """Why the task does not apply to the model; None if it does."""

    def run(self, model: Model, *, seed: int, device: torch.device, progress: Progress) -> Result:
        """Score the model; every random number derives from ``seed``."""


def choose_units(total: int, at_most: int, seed: int) -> Tensor:
    """At most ``at_most`` of ``total`` unit indices, drawn without replacement and sorted, ``(units,)``."""
    if total <= at_most:
        return torch.arange(total)
    generator = torch.Generator().manual_seed(derive(seed, "units"))
    return torch.randperm(total, generator=generator)[:at_most].sort().values


def in_arena(model: Model, side_m: float) -> str | None:
    """Why a model cannot be scored in a square of ``side_m``: it has one dimension, or a smaller table."""
    if model.card.dimensions != 2:
        return "one-dimensional model in a two-dimensional arena"
    return None
