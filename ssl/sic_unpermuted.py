"""SIC without its augmentation: trajectories of their own instead of permutations of one.  An ablation of `ssl/sic`.

A batch is B sequences of T velocities, each used in the order in which it was drawn. Trajectories then meet only by
chance, and their ends differ. The network, the losses and all else are those of the paper. W(v) is needed for B·T
velocities, not for T, so that B is smaller by default; the control for that is `ssl/sic` with as few trajectories.
With B = 1 there is one path, which has only itself to agree with.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.world import World
from entorhinal.ssl.architecture import rectified_unit, unroll
from entorhinal.ssl.augmentations import check_pairs
from entorhinal.ssl.data import uniform_velocities
from entorhinal.ssl.sic import SIC, SICConfig
from entorhinal.ssl.velocity_network import BLOCK

__all__ = ["SICUnpermuted", "SICUnpermutedConfig"]


class SICUnpermutedConfig(SICConfig):
    trajectories: int = Field(32, ge=1, description="B, sequences of a batch")


class SICUnpermuted(SIC):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``."""

    Config = SICUnpermutedConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    card = SIC.card.model_copy(
        update={
            "id": "ssl/sic_unpermuted-v1",
            "title": "SIC without permutations (an ablation)",
            "settings_tried": 1,
            "tuned_on": "",
            "gpu_hours": None,
            "deviations": (*SIC.card.deviations, "every trajectory has velocities of its own: the paper's ablation"),
            "provenance": SIC.card.provenance | {"trajectories": "chosen here: each needs W(v) for its own velocities"},
        }
    )

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches of ``velocity_m (B, T, 2)`` and the one ``order (1, T)``, as drawn, of all."""
        c, block = self.config, first // BLOCK
        order = torch.arange(c.steps_per_trajectory, device=world.device)[None]
        while True:
            generator = world.generator((seed + block) % 2**63)
            velocity_m = uniform_velocities(
                BLOCK * c.trajectories, c.steps_per_trajectory, c.max_step_m, generator=generator, dtype=world.dtype
            ).unflatten(0, (BLOCK, -1))
            if block == first // BLOCK:
                check_pairs(velocity_m[0].cumsum(1), c.near_m)
            for k in range(first % BLOCK, BLOCK):
                yield {"velocity_m": velocity_m[k], "order": order}
            block, first = block + 1, 0

    def unrolled(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        step_m = batch["velocity_m"]
        matrices = self.matrix(step_m.flatten(0, 1)).unflatten(-1, (self.config.units,) * 2)
        own = torch.arange(len(matrices), device=matrices.device).view(step_m.shape[:2])
        return unroll(matrices, own, rectified_unit(self.initial)), step_m
