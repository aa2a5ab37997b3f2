"""What do sheets pushed by velocity share?  Settling once, walking to a start, calibration, warnings."""

import json
import logging
import math
from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from entorhinal.families.cache import cached_tensors
from entorhinal.families.continuous_attractor.lattice import lattice_displacement, lattice_waves, uniform
from entorhinal.families.continuous_attractor.stepping import StepLoop
from entorhinal.families.errors import InputError
from entorhinal.families.model import Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["CRYSTAL", "AttractorSheet", "LatticeSheet", "preferred_directions"]

logger = logging.getLogger("entorhinal")

CRYSTAL = 0.9  # order that a lattice without defects exceeds; defects leave 0.8 or less, bumps held by neurons 0.94
CALIBRATION_SHARES = (0.1, 0.25, 0.5, 1.0)  # of the linear range
WALK_STEP_MS = 20.0  # of the straight walk to a start


def preferred_directions(rows: int, columns: int) -> Tensor:
    """Unit vectors ``(2, rows, columns)`` as (x, y): the four directions go round every 2 × 2 block in a circle."""
    block = torch.tensor([[[1, 0], [0, -1]], [[0, 1], [-1, 0]]], dtype=torch.float64)
    return block.repeat(1, rows // 2, columns // 2)


class AttractorSheet(Model):
    """Activity ``(B, ...)`` that settles from noise and is then moved by velocity; no noise afterwards.

    A subclass gives `advance` and `settle`. Rates are ``(B, T, N)``, a sheet row by row. Its config has
    ``velocity_gain_s_m`` (α) and ``linear_drive`` (αv up to which the pattern follows), or it gives `fastest_m_s`.
    """

    cache_version: ClassVar[int] = 1
    """Of settling and calibration together."""

    activity_limit: ClassVar[float] = 1e3
    """Activity above it has blown up."""

    remedy: ClassVar[str]
    """What to change where no pattern forms."""

    calming: ClassVar[str] = ""
    """What to change where activity blows up, if something else."""

    not_of_settling: ClassVar[tuple[str, ...]] = ()
    """Fields of the config that change nothing at rest."""

    walk_share: ClassVar[float] = 0.5
    """Speed of the straight walk to a start, of the linear range."""

    rest_ms: ClassVar[float] = 100.0
    """Rest after it."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._loop = StepLoop()
        self._warned = False

    def _buffer(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor, persistent=False)  # the config says all

    @abstractmethod
    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float) -> Tensor:
        """The sheet ``(B, ...)`` after ``ms`` at velocities ``(B, D)``."""

    @abstractmethod
    def settle(self) -> Tensor:
        """What forms from noise on the CPU, ``(...)``."""

    @property
    def fastest_m_s(self) -> float:
        """The speed up to which the pattern follows linearly."""
        fastest: float = self.config.linear_drive / self.config.velocity_gain_s_m
        return fastest

    def rates_of(self, sheet: Tensor) -> Tensor:
        """Rates of a sheet; here activity is the rate."""
        return sheet

    def recorded(self, sheet: Tensor) -> Tensor:
        """Rates ``(B, N)`` of the units of a sheet ``(B, ...)``: all of them, unless a model says otherwise."""
        return self.rates_of(sheet).flatten(1)

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        sheet = self.initial_state(trajectories.start_m) if state is None else state
        velocity_m_s = trajectories.displacement_m / trajectories.dt_s  # (B, T, D)
        self.warn_if_fast(velocity_m_s)
        rates = []
        for velocity in velocity_m_s.unbind(1):
            sheet = self.advance(sheet, velocity, 1e3 * trajectories.dt_s)
            rates.append(self.recorded(sheet))
        return Representation(torch.stack(rates, 1), self.sane(sheet))

    def initial_state(self, start_m: Tensor) -> Tensor:
        """The settled sheet walked straight from the origin to each of ``start_m (B, D)``, then at rest: ``(B, ...)``.

        Every trial walks in steps of its own, so that it does not depend on the others in the batch.
        """
        settled = self.settled.to(start_m)
        sheet = settled.expand(len(start_m), *settled.shape)
        longest_m = self.walk_share * self.fastest_m_s * 1e-3 * WALK_STEP_MS
        steps = (start_m.norm(dim=-1) / longest_m).ceil()
        velocity_m_s = start_m / (1e-3 * WALK_STEP_MS * steps.clamp(min=1))[:, None]
        for step in range(int(steps.max()) if len(steps) else 0):
            walked = self.advance(sheet, velocity_m_s, WALK_STEP_MS)
            sheet = torch.where((step < steps).view(-1, *[1] * settled.ndim), walked, sheet)
        return self.advance(sheet, torch.zeros_like(start_m), self.rest_ms)

    @cached_property
    def settled(self) -> Tensor:
        """The sheet at rest at the origin, ``(...)``, computed once a config on the CPU and kept on disk."""

        def compute() -> dict[str, Tensor]:
            with torch.no_grad():
                return {"sheet": self.sane(type(self)(self.config).settle())}

        sheet = cached_tensors(self._key("settled", *self.not_of_settling), compute)["sheet"]
        if problem := self.problem(sheet):
            raise InputError(f"{self.card.id}: the sheet settles to {problem}; {self.remedy}")
        return sheet

    def problem(self, sheet: Tensor) -> str:
        """What is wrong with a settled sheet ``(...)``; empty if nothing."""
        return "uniform activity" if uniform(self.rates_of(sheet)) else ""

    def _key(self, what: str, *irrelevant: str) -> str:
        config = self.config.model_dump(mode="json", exclude=set(irrelevant))
        return json.dumps([self.card.id, self.cache_version, what, config], sort_keys=True)

    def sane(self, sheet: Tensor) -> Tensor:
        """The sheet; `InputError` where activity is out of all bounds."""
        if not bool((sheet.abs() < self.activity_limit).all()):  # NaN included
            raise InputError(
                f"{self.card.id}: activity blows up (above {self.activity_limit:g} or not finite); "
                f"{self.calming or self.remedy}"
            )
        return sheet

    def warn_if_fast(self, velocity_m_s: Tensor) -> None:
        """Say once that a speed is beyond the linear range."""
        if self._warned or not velocity_m_s.numel():
            return
        fastest_m_s = float(velocity_m_s.norm(dim=-1).max())
        if fastest_m_s > self.fastest_m_s:
            self._warned = True
            logger.warning(
                "%s: a speed of %.2f m/s is outside its linear range, 0 to %.2f m/s; the path will be wrong; lower the "
                "gain of velocity",
                self.card.id, fastest_m_s, self.fastest_m_s,
            )  # fmt: skip


class LatticeSheet(AttractorSheet):
    """Activity ``(B, rows, columns)`` with a triangular lattice in it, whose movement is read as the path."""

    @property
    def envelope(self) -> Tensor | None:
        """How strong the lattice is from place to place, ``(rows, columns)``; None on a periodic sheet."""
        return None

    def order(self, sheet: Tensor) -> float:
        """How far a sheet ``(rows, columns)`` is a triangular lattice (`lattice_waves`)."""
        return lattice_waves(sheet, self.envelope)[1]

    def displacement(self, rates: Tensor) -> Tensor:
        """How far the lattice has moved since the first sample: ``(B, T, rows, columns)`` -> ``(B, T, 2)``."""
        return lattice_displacement(rates, self.settled, self.envelope)

    def problem(self, sheet: Tensor) -> str:
        order = self.order(sheet)
        if order >= CRYSTAL:
            return ""
        return super().problem(sheet) or f"a pattern with defects or stripes (order {order:.2f})"

    @cached_property
    def moved_per_m(self) -> float:
        """How far the lattice moves for a metre: mean over six headings and four speeds of the linear range."""

        def measure() -> dict[str, Tensor]:
            heading = (10 + 60 * torch.arange(6)).deg2rad()
            speed = self.fastest_m_s * torch.tensor(CALIBRATION_SHARES)
            unit = torch.stack((heading.cos(), heading.sin()), -1)
            velocity_m_s = (speed[:, None, None] * unit).flatten(0, 1)
            fresh: LatticeSheet = type(self)(self.config)
            drift = fresh.drift_s(velocity_m_s)
            return {"moved_per_m": ((drift * velocity_m_s).sum(-1) / velocity_m_s.square().sum(-1)).mean()[None]}

        return float(cached_tensors(self._key("calibrated"), measure)["moved_per_m"])

    @torch.no_grad()
    def drift_s(self, velocity_m_s: Tensor, seconds: float = 0.4) -> Tensor:
        """Movement of the lattice in a second ``(B, 2)`` at constant velocities ``(B, 2)``, after 0.2 s of run-up."""
        sheet = self.settled.to(velocity_m_s).expand(len(velocity_m_s), -1, -1)
        sheet = self.advance(sheet, velocity_m_s, 200.0)
        sheets = [sheet]
        for _ in range(math.ceil(seconds / 0.02)):
            sheets.append(self.advance(sheets[-1], velocity_m_s, 20.0))
        self.sane(sheets[-1])
        return self.displacement(torch.stack(sheets, 1))[:, -1] / (0.02 * (len(sheets) - 1))

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` since the first step, from the displacement of the lattice."""
        return self.displacement(representation.rates.unflatten(-1, self.settled.shape)) / self.moved_per_m
