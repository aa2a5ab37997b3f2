"""Distance preservation in a network that integrates paths (Pettersen et al. 2024).

The feed-forward network of `ssl/distance_preserving` gives the code where a walk starts; from there on the network is
told its velocities v, in units of which the box is 4π wide, and nothing else,

    g_0 = Norm(ReLU(MLP(r_0))),   g_t = Norm(ReLU(W g_{t−1} + W_v v_t + b)),   W = 1 at the start    (1)

and the loss is the same, over all pairs of the states of a batch. The paper finds grid cells, and band cells beside
them.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.model import Card, Representation, State
from entorhinal.families.world import Trajectories, World
from entorhinal.ssl.architecture import rectified_unit
from entorhinal.ssl.distance_preserving import (
    BLOCK,
    CITATION,
    PROVENANCE,
    DistancePreserving,
    DistancePreservingConfig,
    linear,
)

__all__ = ["DistancePreservingRecurrent", "DistancePreservingRecurrentConfig"]


class DistancePreservingRecurrentConfig(DistancePreservingConfig):
    steps: int = Field(50_000, ge=1)
    steps_per_trajectory: int = Field(9, ge=1, description="after the start, so that a walk has one state more")
    step_scale: float = Field(0.15, gt=0, description="scale of the Rayleigh-distributed steps; the box is 4π")
    turning_rad: float = Field(0.28, ge=0, description="standard deviation of a step's turn")


class DistancePreservingRecurrent(DistancePreserving):
    """Rates and state g, ``(B, T, units)`` and ``(B, units)``, on the unit sphere; integrates paths."""

    Config = DistancePreservingRecurrentConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"tiny": {"units": 64, "batch": 16, "lr": 3e-3, "steps": 3000}}
    card = Card(
        id="ssl/distance_preserving_recurrent-v1",
        title="Distance preservation, recurrent",
        citation=CITATION,
        training_extent_m=2.2,
        lattice="emerged",
        supervision="target",
        deviations=(
            "The paper's box of ±2π without a unit is one of 2.2 m.",
            "At walls our walks slow down and turn along them; the authors' reverse.",
        ),
        provenance=PROVENANCE
        | {
            "steps": "authors' program",
            "steps_per_trajectory": "authors' program: 10 places a walk",
            "step_scale": "authors' program",
            "turning_rad": "authors' program: von Mises of concentration 4π, of which it is the width",
        },
    )

    def __init__(self, config: DistancePreservingRecurrentConfig) -> None:
        super().__init__(config)
        self.recurrent = torch.nn.Parameter(torch.eye(config.units))  # W
        self.velocity = linear(2, config.units, torch.Generator().manual_seed(config.seed + 2**32))  # W_v, b

    def initial_state(self, start_m: Tensor) -> Tensor:
        return self.code_of(start_m)

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        code = self.initial_state(trajectories.start_m) if state is None else state
        rates = self.unrolled(code, trajectories.displacement_m)
        return Representation(rates, rates[:, -1])

    def unrolled(self, code: Tensor, displacement_m: Tensor) -> Tensor:
        """Eq. (1): code ``(B, units)`` before the first of displacement_m ``(B, T, 2)`` -> ``(B, T, units)``."""
        dtype, recurrent = code.dtype, self.recurrent.T
        drive = self.velocity(self.scaled(displacement_m).to(recurrent.dtype)).to(dtype)
        rates = []
        for drive_t in drive.unbind(1):
            code = rectified_unit(code @ recurrent.to(dtype) + drive_t)
            rates.append(code)
        return torch.stack(rates, 1)

    def _batches(self, world: World, seed: int, first: int) -> Iterator[dict[str, Tensor]]:
        """``start_m (B, 2)``, ``displacement_m (B, T, 2)``, ``position_m (B, T, 2)``, a walk of its own each."""
        c = self.config
        block, skipped = divmod(first, BLOCK)
        while True:
            walk = world.walk(
                BLOCK * c.batch,
                c.steps_per_trajectory,
                seed=(seed + block) % 2**63,
                speed_m_s=c.step_scale / float(self.scaled(torch.ones(()))) / world.dt_s,
                turning_rad_s=c.turning_rad / world.dt_s,
            )
            for k in range(skipped, BLOCK):
                part = slice(k * c.batch, (k + 1) * c.batch)
                yield {name: getattr(walk, name)[part] for name in ("start_m", "displacement_m", "position_m")}
            block, skipped = block + 1, 0

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        start = self.code_of(batch["start_m"])
        states = torch.cat((start[:, None], self.unrolled(start, batch["displacement_m"])), 1)
        return self.terms(states, torch.cat((batch["start_m"][:, None], batch["position_m"]), 1))
