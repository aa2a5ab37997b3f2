"""What sheets pushed by velocity share: a settled pattern, the walk to a start, and the guards around both."""

import json
import logging
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from entorhinal.families.errors import InputError
from entorhinal.families.model import Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["DrivenSheet"]

logger = logging.getLogger("entorhinal")

WALK_SHARE, WALK_STEP_MS, REST_MS = 0.7, 20.0, 60.0  # of the straight walk to a start
ACTIVITY_LIMIT = 1e3  # the input to a neuron is of order 1


class DrivenSheet(Model):
    """A sheet ``(B, ...)`` with a settled pattern; its config has ``velocity_gain_s_m`` (α) and ``linear_drive``."""

    CACHE_VERSION: ClassVar[int] = 1
    blow_up_advice: ClassVar[str] = "lower step_ms or the weights"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._warned = False

    @abstractmethod
    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float) -> Tensor:
        """The sheet ``(B, ...)`` after ``ms`` at velocities ``(B, D)``."""

    @property
    @abstractmethod
    def settled(self) -> Tensor:
        """The pattern at rest at the origin, ``(...)``."""

    def recorded(self, sheet: Tensor) -> Tensor:
        """Rates ``(B, N)`` of the units of a sheet ``(B, ...)``: all of them, unless a model says otherwise."""
        return sheet.flatten(1)

    @property
    def fastest_m_s(self) -> float:
        """The speed up to which the pattern follows linearly."""
        fastest: float = self.config.linear_drive / self.config.velocity_gain_s_m
        return fastest

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        sheet = self.initial_state(trajectories.start_m) if state is None else state
        velocity_m_s = trajectories.displacement_m / trajectories.dt_s  # (B, T, D)
        self._warn_if_fast(velocity_m_s)
        rates = []
        for velocity in velocity_m_s.unbind(1):
            sheet = self.advance(sheet, velocity, 1e3 * trajectories.dt_s)
            rates.append(self.recorded(sheet))
        return Representation(torch.stack(rates, 1), self._sane(sheet))

    def initial_state(self, start_m: Tensor) -> Tensor:
        """The settled sheet walked straight from the origin to each of ``start_m (B, D)``, then at rest: ``(B, ...)``.

        Every trial walks in steps of its own, so that it does not depend on the others in the batch.
        """
        settled = self.settled.to(start_m)
        sheet = settled.expand(len(start_m), *settled.shape)
        longest_m = WALK_SHARE * self.fastest_m_s * 1e-3 * WALK_STEP_MS
        steps = (start_m.norm(dim=-1) / longest_m).ceil()
        velocity_m_s = start_m / (1e-3 * WALK_STEP_MS * steps.clamp(min=1))[:, None]
        for step in range(int(steps.max()) if len(steps) else 0):
            walked = self.advance(sheet, velocity_m_s, WALK_STEP_MS)
            sheet = torch.where((step < steps).view(-1, *[1] * settled.ndim), walked, sheet)
        return self.advance(sheet, torch.zeros_like(start_m), REST_MS)

    def _key(self, what: str, *irrelevant: str) -> str:
        config = self.config.model_dump(mode="json", exclude=set(irrelevant))
        return json.dumps([self.card.id, self.CACHE_VERSION, what, config], sort_keys=True)

    def _sane(self, sheet: Tensor) -> Tensor:
        if not bool((sheet.abs() < ACTIVITY_LIMIT).all()):  # NaN included
            raise InputError(
                f"{self.card.id}: activity blows up (rates above {ACTIVITY_LIMIT:g} or not finite); "
                f"{self.blow_up_advice}"
            )
        return sheet

    def _warn_if_fast(self, velocity_m_s: Tensor) -> None:
        if self._warned or not velocity_m_s.numel():
            return
        fastest_m_s = float(velocity_m_s.norm(dim=-1).max())
        if fastest_m_s > self.fastest_m_s:
            self._warned = True
            logger.warning(
                "%s: a speed of %.2f m/s is outside its linear range, 0 to %.2f m/s (αv ≤ %g); the path will be "
                "underestimated; lower velocity_gain_s_m",
                self.card.id, fastest_m_s, self.fastest_m_s, self.config.linear_drive,
            )  # fmt: skip
