"""What do sheets pushed by velocity share?  Settling once, walking to a start, calibration, warnings."""

import json
import logging
import math
from abc import abstractmethod
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from entorhinal.families.cache import cached_tensors
from entorhinal.families.continuous_attractor.lattice import lattice_displacement, lattice_waves
from entorhinal.families.errors import InputError
from entorhinal.families.model import Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["AttractorSheet", "LatticeSheet", "preferred_directions"]

logger = logging.getLogger("entorhinal")

UNIFORM = 1e-2  # the least spread over the sheet, in means, that is a pattern
CRYSTAL = 0.9  # the order that a lattice without defects exceeds
CALIBRATION_SHARES = (0.1, 0.25, 0.5, 1.0)  # of the linear range
WALK_SHARE, WALK_STEP_MS, REST_MS = 0.5, 20.0, 100.0  # of the straight walk to a start


def preferred_directions(rows: int, columns: int) -> Tensor:
    """Unit vectors ``(2, rows, columns)`` as (x, y): the four directions go round every 2 × 2 block in a circle."""
    block = torch.tensor([[[1, 0], [0, -1]], [[0, 1], [-1, 0]]], dtype=torch.float64)
    return block.repeat(1, rows // 2, columns // 2)


class AttractorSheet(Model):
    """Activity ``(B, rows, columns)`` that settles from noise and is then moved by velocity; no noise afterwards.

    A subclass gives `advance`, `settle` and `fastest_m_s`. Rates are ``(B, T, N)``, the sheet row by row.
    """

    cache_version: ClassVar[int] = 1
    """Of settling and calibration together."""

    activity_limit: ClassVar[float] = 1e3
    """Activity above it has blown up."""

    remedy: ClassVar[str]
    """What to change where activity blows up or no pattern forms."""

    def __init__(self, config: object) -> None:
        super().__init__(config)  # type: ignore[arg-type]
        self._warned = False

    def _buffer(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor, persistent=False)  # the config says all

    @abstractmethod
    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float) -> Tensor:
        """The sheet ``(B, rows, columns)`` after ``ms`` at velocities ``(B, 2)``."""

    @abstractmethod
    def settle(self) -> Tensor:
        """What forms from noise on the CPU, ``(rows, columns)``."""

    @property
    @abstractmethod
    def fastest_m_s(self) -> float:
        """The speed up to which the pattern follows linearly."""

    def rates_of(self, sheet: Tensor) -> Tensor:
        """Rates ``(..., rows, columns)`` of sheets; here activity is the rate."""
        return sheet

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        sheet = self.initial_state(trajectories.start_m) if state is None else state
        velocity_m_s = trajectories.displacement_m / trajectories.dt_s  # (B, T, 2)
        self._warn_if_fast(velocity_m_s)
        rates = []
        for velocity in velocity_m_s.unbind(1):
            sheet = self.advance(sheet, velocity, 1e3 * trajectories.dt_s)
            rates.append(self.rates_of(sheet))
        return Representation(torch.stack(rates, 1).flatten(2), self._sane(sheet))

    def initial_state(self, start_m: Tensor) -> Tensor:
        """The settled sheet walked straight from the origin to each of ``start_m (B, 2)``, then at rest.

        Every trial walks in steps of its own, so that it does not depend on the others in the batch.
        """
        sheet = self.settled.to(start_m).expand(len(start_m), -1, -1)
        longest_m = WALK_SHARE * self.fastest_m_s * 1e-3 * WALK_STEP_MS
        steps = (start_m.norm(dim=-1) / longest_m).ceil()
        velocity_m_s = start_m / (1e-3 * WALK_STEP_MS * steps.clamp(min=1))[:, None]
        for step in range(int(steps.max()) if len(steps) else 0):
            walked = self.advance(sheet, velocity_m_s, WALK_STEP_MS)
            sheet = torch.where((step < steps)[:, None, None], walked, sheet)
        return self.advance(sheet, torch.zeros_like(start_m), REST_MS)

    @cached_property
    def settled(self) -> Tensor:
        """The sheet at rest at the origin, ``(rows, columns)``, computed once a config on the CPU and kept on disk."""

        def compute() -> dict[str, Tensor]:
            with torch.no_grad():
                return {"sheet": self._sane(type(self)(self.config).settle())}

        sheet = cached_tensors(self._key("settled"), compute)["sheet"]
        if problem := self.problem(sheet):
            raise InputError(f"{self.card.id}: the sheet settles to {problem}; {self.remedy}")
        return sheet

    def problem(self, sheet: Tensor) -> str:
        """What is wrong with a settled sheet ``(rows, columns)``; empty if nothing."""
        rates = self.rates_of(sheet)
        return "uniform activity" if not rates.std() > UNIFORM * rates.mean().abs() else ""

    def _key(self, what: str) -> str:
        config = self.config.model_dump(mode="json")
        return json.dumps([self.card.id, self.cache_version, what, config], sort_keys=True)

    def _sane(self, sheet: Tensor) -> Tensor:
        if not bool((sheet.abs() < self.activity_limit).all()):  # NaN included
            raise InputError(
                f"{self.card.id}: activity blows up (above {self.activity_limit:g} or not finite); {self.remedy}"
            )
        return sheet

    def _warn_if_fast(self, velocity_m_s: Tensor) -> None:
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
    """A periodic sheet with a triangular lattice on it, whose movement is read as the path."""

    def displacement(self, rates: Tensor) -> Tensor:
        """How far the lattice has moved since the first sample: ``(B, T, rows, columns)`` -> ``(B, T, 2)``."""
        return lattice_displacement(rates, self.settled)

    def problem(self, sheet: Tensor) -> str:
        order = lattice_waves(sheet)[1]
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
            drift = type(self)(self.config).drift_s(velocity_m_s)
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
        self._sane(sheets[-1])
        return self.displacement(torch.stack(sheets, 1))[:, -1] / (0.02 * (len(sheets) - 1))

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` since the first step, from the displacement of the lattice."""
        return self.displacement(representation.rates.unflatten(-1, self.settled.shape)) / self.moved_per_m
