"""SIC in a larger world: walks that drift, and repeats that cost.  A variant of ours, beside the faithful `ssl/sic`.

    L = L_SIC + r λ_hard ⟨exp(−‖g−g′‖²/2σ_h²)⟩_{far, beyond r_h}                                    (1)
    v_t = w_t + r u,   w_t ~ U(−a, a)²,   |u| ~ U(0, u_max) in any direction, one a batch           (2)

Walks of the paper stay within 1.2 m, so a code that repeats beyond that costs nothing. Drift (2) makes far pairs, and a
second separation (1), narrower than the paper's, hardly sees pairs that do not repeat. r rises from 0 to 1 between
``ramp_start`` and ``ramp_start + ramp_steps``. With ``start_modules`` above 0 the network starts as that many ideal
modules (`entorhinal.ssl.modular_start`), a diagnostic: a loss that keeps modules might find them, one that merges them
cannot. What came of it is in docs/sic_search.md.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from entorhinal.families.world import World
from entorhinal.ssl.losses import hard_separation
from entorhinal.ssl.modular_start import modular_start_
from entorhinal.ssl.sic import BLOCK, SIC, SICConfig

__all__ = ["SICFar", "SICFarConfig"]


class SICFarConfig(SICConfig):
    input_gain: float = Field(16.0, gt=0, description="factor on the initial weights of the MLP's first layer")
    steps: int = Field(24_000, ge=1)
    hard_weight: float = Field(10.0, ge=0, description="λ_hard")
    hard_width: float = Field(0.2, gt=0, description="σ_h")
    hard_from_m: float = Field(0.3, ge=0, description="r_h")
    drift_m: float = Field(0.15, ge=0, description="u_max, metres a step")
    ramp_start: int = Field(2000, ge=0)
    ramp_steps: int = Field(6000, ge=1)
    start_modules: int = Field(0, ge=0, description="ideal modules at the start; 0: random weights")
    start_spacing_m: float = Field(0.35, gt=0, description="of the finest")
    start_ratio: float = Field(1.4, gt=1, description="of consecutive spacings")
    start_threshold: float = Field(-0.9, description="θ of the modules' fields")

    @model_validator(mode="after")
    def _hard_pairs_are_far(self) -> Self:
        if self.hard_from_m < self.near_m:
            raise ValueError(
                f"hard_from_m={self.hard_from_m:g} is below near_m={self.near_m:g}; hard pairs are far ones"
            )
        return self


class SICFar(SIC):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``."""

    hard_weight: Tensor
    hard_width: Tensor
    hard_from_m: Tensor

    Config = SICFarConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    card = SIC.card.model_copy(
        update={
            "id": "ssl/sic_far-v1",
            "title": "SIC with drifting walks and hard far pairs (a variant of ours)",
            "deviations": (
                *SIC.card.deviations,
                "walks drift, a second separation punishes repeats beyond r_h, and the network may start with modules: "
                "none of it is the paper's",
            ),
            "provenance": SIC.card.provenance
            | {
                name: "ours (docs/sic_search.md)"
                for name in SICFarConfig.model_fields
                if name not in SICConfig.model_fields or name in ("input_gain", "steps")
            },
        }
    )
    config: SICFarConfig

    def __init__(self, config: SICFarConfig) -> None:
        super().__init__(config)
        for name in ("hard_weight", "hard_width", "hard_from_m", "start_spacing_m", "start_ratio", "start_threshold"):
            self.register_buffer(name, torch.tensor(getattr(config, name)))
        self.register_buffer("start_modules", torch.tensor(config.start_modules))
        if config.start_modules:
            modular_start_(
                self.matrix,
                self.initial.data,
                config.start_spacing_m * config.start_ratio ** torch.arange(config.start_modules),
                threshold=config.start_threshold,
                max_step_m=1.1 * config.max_step_m + config.drift_m,
                generator=torch.Generator().manual_seed(config.seed),
            )

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches of `SIC` with (2) added to their velocities, and ``hard_ramp``, r, 0-d."""
        c = self.config
        for step, batch in enumerate(super().training_data(world, seed, first), first):
            if step == first or step % BLOCK == 0:
                generator = world.generator((seed + step // BLOCK + 2**40) % 2**63)
                drawn = torch.rand(BLOCK, 2, generator=generator, dtype=world.dtype, device=generator.device)
            ramp = min(max((step - c.ramp_start) / c.ramp_steps, 0.0), 1.0)
            speed, turn = drawn[step % BLOCK]
            direction = torch.stack(((2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()))
            drift_m = ramp * c.drift_m * speed * direction
            yield batch | {"velocity_m": batch["velocity_m"] + drift_m, "hard_ramp": speed.new_tensor(ramp)}

    def terms(self, states: Tensor, position_m: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Eq. (1): the terms of `SIC`, ``hard``, and their weighted ``total``, each 0-d."""
        terms = super().terms(states, position_m, batch)
        hard = hard_separation(states, position_m, near_m=self.near_m, from_m=self.hard_from_m, width=self.hard_width)
        total = terms.pop("total") + self.hard_weight * batch["hard_ramp"] * hard
        return {"total": total, **terms, "hard": hard}
