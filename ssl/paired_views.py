"""Two views of one place: what general losses of self-supervised learning need of `ssl/sic`'s data.

Losses such as VICReg's and SimCLR's are functions of P pairs of codes. Images have crops; here, the two views of a pair
are two states of one batch, of different trajectories, at nearly one place: an anchor, any state of the batch, and one
drawn from all states of other trajectories that are nearer to it than σ_x, which are the pairs of SIC's invariance. An
anchor that has none within σ_x (1 % of them) gets the nearest. The choice is ours. No (B·T)² matrix is made, and
networks see the same pairs, as pairs are part of the batch.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.world import World
from entorhinal.ssl.augmentations import permuted_positions
from entorhinal.ssl.kernels import Slopes, Unrolled, population_gradients
from entorhinal.ssl.velocity_network import VelocityNetwork, VelocityNetworkConfig, kernel_precision

__all__ = ["PairedViews", "PairedViewsConfig", "draw_pairs"]

_SEED = 2**41  # sets the pairs' seeds apart from the walks'


class PairedViewsConfig(VelocityNetworkConfig):
    pairs: int = Field(512, ge=2, description="P, drawn from each batch")


class PairedViews(VelocityNetwork):
    """A velocity network with a loss of pairs of codes, `pair_terms`."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"units": 32, "hidden": 32, "steps_per_trajectory": 16, "trajectories": 16, "near_m": 0.1, "pairs": 64}
    }

    config: PairedViewsConfig

    @abstractmethod
    def pair_terms(self, first: Tensor, second: Tensor, numbers: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms by name, ``total`` among them, of codes ``(P, units)``; numbers: the model's buffers."""

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches of `VelocityNetwork` with ``anchor`` and ``partner (P,)``, indices of states, b·T + t."""
        c = self.config
        for step, batch in enumerate(super().training_data(world, seed, first), first):
            generator = world.generator((seed + _SEED + step) % 2**63)
            position_m = permuted_positions(batch["velocity_m"], batch["order"])
            anchor, partner = draw_pairs(position_m, c.near_m, c.pairs, generator=generator)
            yield batch | {"anchor": anchor, "partner": partner}

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of `pair_terms` of the batch's pairs."""
        states = self.unrolled(batch)[0].flatten(0, 1)
        return self.pair_terms(states[batch["anchor"]], states[batch["partner"]], dict(self.named_buffers()))

    def population_gradients(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What autograd finds for `loss`, for S networks at once (`entorhinal.ssl.kernels`)."""

        def total(first: Tensor, second: Tensor, numbers: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            terms = self.pair_terms(first, second, numbers)
            return terms["total"], terms

        by_codes = torch.func.vmap(torch.func.grad_and_value(total, argnums=(0, 1), has_aux=True))

        def slopes(found: Unrolled) -> Slopes:
            states = found.states.flatten(1, 2)
            (first, second), (_, terms) = by_codes(states[:, batch["anchor"]], states[:, batch["partner"]], buffers)
            gradient = torch.zeros_like(states)
            gradient.index_add_(1, batch["anchor"], first).index_add_(1, batch["partner"], second)
            return Slopes(gradient.view(1, *found.states.shape), terms)

        return population_gradients(
            params, batch, slopes, activation=self.config.activation, precision=kernel_precision()
        )


def draw_pairs(position_m: Tensor, near_m: float, pairs: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Anchors and partners, int64 ``(pairs,)`` each, as indices b·T + t of states at position_m ``(B, T, 2)``."""
    place_m, steps, device = position_m.flatten(0, 1), position_m.shape[1], position_m.device
    anchor = torch.randint(len(place_m), (pairs,), generator=generator, device=device)
    key = torch.rand(pairs, len(place_m), generator=generator, device=device)
    squared_m2 = (place_m[anchor, None] - place_m).square().sum(-1)  # (pairs, B·T)
    own = anchor[:, None] // steps == torch.arange(len(place_m), device=device) // steps
    squared_m2 = squared_m2.masked_fill(own, torch.inf)
    near = squared_m2 < near_m**2
    drawn, nearest = key.masked_fill(~near, -1).argmax(-1), squared_m2.argmin(-1)
    return anchor, torch.where(near.any(-1), drawn, nearest)
