"""SIC whose states are noisy while it learns: a variant for the search of docs/sic_search.md, not for tables.

    g_t = Norm(ReLU(W(v_t) g_{t−1} + σ_n ξ_t)),   ξ_t ~ N(0, I), of each trajectory and step

States that noise drives apart cost invariance. The network is evaluated without noise. All else is `ssl/sic`, but that
the harness differentiates the loss, as the kernels know no noise, and that a batch has fewer trajectories for it. It is
no built-in model; it is found by

    ENTORHINAL_MODELS=search/sic_noise=entorhinal.benchmarks.sic_noise:SICNoise
"""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.world import World
from entorhinal.ssl.architecture import rectified_unit
from entorhinal.ssl.sic import SIC, SICConfig
from entorhinal.ssl.velocity_network import VelocityNetwork

__all__ = ["SICNoise", "SICNoiseConfig"]


class SICNoiseConfig(SICConfig):
    trajectories: int = Field(32, ge=2, description="B, permutations of one sequence")
    state_noise: float = Field(0.02, ge=0, description="σ_n, beside states of norm 1")


class SICNoise(VelocityNetwork):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``."""

    state_noise: Tensor

    Config = SICNoiseConfig
    card = SIC.card.model_copy(
        update={
            "id": "search/sic_noise-v1",
            "title": "SIC with noisy states (a variant of ours)",
            "deviations": (*SIC.card.deviations, "states are noisy in training; 32 trajectories a batch"),
            "provenance": SIC.card.provenance | {"trajectories": "ours", "state_noise": "ours"},
        }
    )
    config: SICNoiseConfig

    def __init__(self, config: SICNoiseConfig) -> None:
        weights = ("separation_weight", "invariance_weight", "capacity_weight", "conformal_weight")
        super().__init__(config, ("near_m", "separation_width", "state_noise", *weights))

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches of `SIC` with ``noise``, ξ ``(B, T, N)``."""
        c = self.config
        for step, batch in enumerate(super().training_data(world, seed, first), first):
            generator = world.generator((seed + step + 2**41) % 2**63)
            shape = c.trajectories, c.steps_per_trajectory, c.units
            noise = torch.randn(shape, generator=generator, dtype=world.dtype, device=generator.device)
            yield batch | {"noise": noise}

    loss, terms = SIC.loss, SIC.terms  # the faithful ones, of states with noise; not the kernels' gradients

    def unrolled(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        order, velocity_m = batch["order"], batch["velocity_m"]
        matrices = self.matrix(velocity_m).unflatten(-1, (self.config.units,) * 2)[order]  # (B, T, N, N)
        state, states = rectified_unit(self.initial).expand(len(order), -1), []
        for t in range(order.shape[1]):
            drive = (matrices[:, t] @ state[..., None])[..., 0]
            state = rectified_unit(drive + self.state_noise * batch["noise"][:, t])
            states.append(state)
        return torch.stack(states, 1), velocity_m[order]
