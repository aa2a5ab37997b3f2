"""Grid cells by distance preservation alone, without path integration (Pettersen et al. 2024).

A feed-forward network reads the position r, in units of which the box is 4π wide, and codes it on the unit sphere,

    g(r) = Norm(ReLU(MLP(r))),   MLP: R² → 64 → 128 → 256                                          (1)

such that distances between codes equal those in space for neighbours (σ), while units are as active as may be: the loss
is Eq. (1) of `entorhinal.ssl.distance_losses`. Nothing is periodic in it, and no lattice or scale of one is put in but
through σ and ρ. Known positions are its input, so it cannot be asked to integrate paths; the recurrent version
(`ssl/distance_preserving_recurrent`) can.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Config, Model, Recipe, Representation, State
from entorhinal.families.world import Trajectories, World
from entorhinal.ssl.architecture import rectified_unit
from entorhinal.ssl.distance_losses import distance_preserving

__all__ = ["DistancePreserving", "DistancePreservingConfig"]

BLOCK = 64  # batches made at once
_SIDE = 4 * math.pi  # of the box, in the units of σ and ρ


class DistancePreservingConfig(Config):
    units: int = Field(256, ge=2, description="N")
    hidden: tuple[int, int] = Field((64, 128), description="widths of the MLP's hidden layers")
    side_m: float = Field(2.2, gt=0, description="side of the square box that is 4π wide in the units of σ")
    envelope_width: float = Field(1.2, gt=0, description="σ, of pairs whose distance is to be kept; the box is 4π")
    distance_scale: float = Field(1.0, gt=0, description="ρ, distance of codes per distance in space")
    distance_weight: float = Field(0.54, ge=0, le=1, description="α, of distances; 1 − α of activity")
    batch: int = Field(64, ge=2, description="places, or trajectories, in a batch")
    lr: float = Field(1e-3, gt=0, description="of Adam")
    steps: int = Field(100_000, ge=1)
    seed: int = Field(0, ge=0)


CITATION = """@article{pettersen2024,
  title = {Self-Supervised Grid Cells Without Path Integration},
  author = {Pettersen, Markus and Sch{\\o}yen, Vemund Sigmundson and Malthe-S{\\o}renssen, Anders and
    Lepper{\\o}d, Mikkel Elle},
  journal = {bioRxiv},
  doi = {10.1101/2024.05.30.596577},
  year = {2024}
}"""

PROVENANCE = {
    "units": "Pettersen et al. 2024",
    "hidden": "Pettersen et al. 2024",
    "side_m": "ours: the paper's box has no unit; this is the box of the other trained models",
    "envelope_width": "Pettersen et al. 2024",
    "distance_scale": "Pettersen et al. 2024",
    "distance_weight": "Pettersen et al. 2024",
    "batch": "Pettersen et al. 2024",
    "lr": "Pettersen et al. 2024",
    "steps": "Pettersen et al. 2024",
    "seed": "ours; weights as in PyTorch, as in the authors' program",
}


class DistancePreserving(Model):
    """Rates g ``(B, T, units)`` on the unit sphere, of the position alone."""

    envelope_width: Tensor
    distance_scale: Tensor
    distance_weight: Tensor

    Config = DistancePreservingConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"tiny": {"units": 64, "lr": 3e-3, "steps": 6000}}
    card = Card(
        id="ssl/distance_preserving-v1",
        title="Distance preservation, feed-forward",
        citation=CITATION,
        training_extent_m=2.2,
        lattice="emerged",
        supervision="input",
        deviations=("The paper's box of ±2π without a unit is one of 2.2 m.",),
        provenance=PROVENANCE,
    )

    def __init__(self, config: DistancePreservingConfig) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(config.seed)
        widths = (2, *config.hidden, config.units)
        layers: list[torch.nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [linear(inputs, outputs, generator), torch.nn.ReLU()]
        self.code = torch.nn.Sequential(*layers[:-1])
        for name in ("envelope_width", "distance_scale", "distance_weight"):
            self.register_buffer(name, torch.tensor(getattr(config, name)))

    def scaled(self, length_m: Tensor) -> Tensor:
        """Metres in the units of which the box is 4π wide."""
        return length_m * (_SIDE / self.config.side_m)

    def code_of(self, position_m: Tensor) -> Tensor:
        """Eq. (1): position_m ``(..., 2)`` -> ``(..., units)``."""
        own = next(self.code.parameters()).dtype
        return rectified_unit(self.code(self.scaled(position_m).to(own))).to(position_m.dtype)

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        return Representation(self.code_of(trajectories.position_m))

    def recipe(self) -> Recipe:
        return Recipe(optimizer="adam", lr=self.config.lr, steps=self.config.steps, batch=self.config.batch)

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches; block b of `BLOCK` batches has the seed ``seed + b``."""
        self.check_world(world)
        return self._batches(world, seed, first)

    def _batches(self, world: World, seed: int, first: int) -> Iterator[dict[str, Tensor]]:
        """``position_m (B, 2)``, uniform in the box."""
        block, skipped = divmod(first, BLOCK)
        while True:
            places_m = world.starts(BLOCK * self.config.batch, world.generator((seed + block) % 2**63))
            for position_m in places_m.view(BLOCK, -1, 2)[skipped:]:
                yield {"position_m": position_m}
            block, skipped = block + 1, 0

    def check_world(self, world: World) -> None:
        """`InputError` unless the arena is the square that the units of σ belong to."""
        if world.arena.dimensions != 2 or any(abs(size - self.config.side_m) > 1e-6 for size in world.arena.size_m):
            raise InputError(
                f"{self.card.id}: the box is a square of side_m={self.config.side_m:g}, but the arena measures "
                f"{' x '.join(f'{size:g}' for size in world.arena.size_m)} m; make them the same"
            )

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mismatch of distances, activity and their weighted ``total``, each 0-d."""
        return self.terms(self.code_of(batch["position_m"]), batch["position_m"])

    def terms(self, states: Tensor, position_m: Tensor) -> dict[str, Tensor]:
        """`loss` of states ``(..., units)`` at position_m ``(..., 2)``."""
        return distance_preserving(
            states,
            self.scaled(position_m),
            envelope_width=self.envelope_width,
            scale=self.distance_scale,
            weight=self.distance_weight,
        )


def linear(inputs: int, outputs: int, generator: torch.Generator) -> torch.nn.Linear:
    """A layer as PyTorch initialises it (uniform ±1/√inputs), from ``generator``."""
    layer = torch.nn.utils.skip_init(torch.nn.Linear, inputs, outputs)
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) / inputs**0.5)
    return layer
