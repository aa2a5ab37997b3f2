"""What is a task?  It runs a model in a fixed world, hands the rates to the analysis and names the numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from entorhinal.benchmarks.records import Direction, Metric
from entorhinal.benchmarks.seeds import derive
from entorhinal.families.model import Model
from entorhinal.families.world import Trajectories, load_recording

__all__ = ["Progress", "Recording", "Result", "Task", "choose_units", "in_the_plane"]

Progress = Callable[[int, int], None]
"""``progress(done, total)``: called as the run goes on."""


@dataclass(frozen=True)
class Recording:
    """The recorded path that tasks use: ``sargolini``, or an ``.npz`` file as `load_recording` reads it.

    gaps: ``bridge`` or ``refuse`` them. Records of another recording are not comparable and carry its name.
    """

    source: str = "sargolini"
    gaps: str = "bridge"

    @property
    def name(self) -> str:
        """``sargolini``, or the file's name with its SHA-256."""
        path = Path(self.source)
        if self.source == "sargolini" or not path.is_file():
            return self.source
        return f"{path.name} {sha256(path.read_bytes()).hexdigest()[:12]}"

    def load(self) -> Trajectories:
        return load_recording(self.source, gaps=self.gaps)


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

    def run(self, model: Model, *, seed: int, device: torch.device, recording: Recording, progress: Progress) -> Result:
        """Score the model; every random number derives from ``seed``."""


def choose_units(total: int, at_most: int, seed: int) -> Tensor:
    """At most ``at_most`` of ``total`` unit indices, drawn without replacement and sorted, ``(units,)``."""
    if total <= at_most:
        return torch.arange(total)
    generator = torch.Generator().manual_seed(derive(seed, "units"))
    return torch.randperm(total, generator=generator)[:at_most].sort().values


def noise_seed(model: Model, seed: int, *names: str) -> int | None:
    """The seed of the noise that moves a model's state, by name; None for all others, which run free of noise."""
    return derive(seed, "noise", *names) if model.card.noisy_state else None


def in_the_plane(model: Model) -> str | None:
    """Why a model cannot be scored in a box, if so."""
    return None if model.card.dimensions == 2 else "one-dimensional model in a two-dimensional arena"


def one_code_a_place(model: Model) -> str | None:
    """Why there is no one code for a place of the plane, if so."""
    noisy = "its noise moves its state: there is no one code for a place" if model.card.noisy_state else None
    return in_the_plane(model) or noisy
