"""SIC whose units begin as modules that are held apart, in a world that drifts.  A variant of ours, beside `ssl/sic`.

Loss and network are the faithful ones; what differs is where training starts, what it may change for a while, and how
far walks go.

1. The units begin as K ideal hexagonal modules (`entorhinal.ssl.modular_start`), which share only their mean activity,
   and C units that are driven by it and by nothing else, so that no module has to become the mean code.
2. For ``held_steps`` they go on so: after every step, weights between modules are one constant, those from modules to
   constant units another, and those from constant units nothing (P). Then W is free.
3. Every batch of walks drifts, as the paper's stay within 1.2 m and a code that repeats beyond costs nothing there,

    v_t = w_t + r u,   w_t ~ U(−a, a)²,   |u| ~ U(0, u_max) in any direction, one a batch              (1)

Optionally a second, narrower separation of far pairs is added, which hardly sees pairs that do not repeat,

    L = L_SIC + r λ_hard ⟨exp(−‖g−g′‖²/2σ_h²)⟩_{far, beyond r_h}                                    (2)

r rises from 0 to 1 between ``ramp_start`` and ``ramp_start + ramp_steps``. The number of modules and their hexagonal
lattices are put in, then; that they stay independent once they may couple, and their scales, are not.
What was tried on the way, and what each part does, is in docs/sic_search.md.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from entorhinal.families.world import World
from entorhinal.ssl.modular_start import modular_start_
from entorhinal.ssl.sic import SIC, SICConfig
from entorhinal.ssl.sic_losses import hard_separation
from entorhinal.ssl.velocity_network import BLOCK

__all__ = ["SICModular", "SICModularConfig"]


class SICModularConfig(SICConfig):
    input_gain: float = Field(16.0, gt=0, description="as in ssl/sic; has no effect on an ideal start")
    steps: int = Field(30_000, ge=1)
    modules: int = Field(3, ge=1, description="K groups of units")
    ideal_start: bool = Field(True, description="ideal modules at the start; else random weights")
    start_spacing_m: float = Field(0.7, gt=0, description="of the finest")
    start_ratio: float = Field(1.4, gt=1, description="of consecutive spacings")
    start_threshold: float = Field(-0.9, description="θ of the modules' fields")
    constants: int = Field(2, ge=0, description="C, units driven by the mean activity of the modules, the last ones")
    start_constant_share: float = Field(0.3, gt=0, lt=1, description="of the squared norm, that they begin with")
    held_steps: int = Field(18_000, ge=0, description="steps for which the modules share only their mean activity")
    drift_m: float = Field(0.15, ge=0, description="u_max, metres a step")
    hard_weight: float = Field(0.0, ge=0, description="λ_hard")
    hard_width: float = Field(0.2, gt=0, description="σ_h")
    hard_from_m: float = Field(0.3, ge=0, description="r_h")
    ramp_start: int = Field(2000, ge=0)
    ramp_steps: int = Field(5000, ge=1)

    @model_validator(mode="after")
    def _hard_pairs_are_far(self) -> Self:
        if self.hard_from_m < self.near_m:
            raise ValueError(
                f"hard_from_m={self.hard_from_m:g} is below near_m={self.near_m:g}; hard pairs are far ones"
            )
        return self


class SICModular(SIC):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``."""

    hard_weight: Tensor
    hard_width: Tensor
    hard_from_m: Tensor

    Config = SICModularConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    card = SIC.card.model_copy(
        update={
            "id": "ssl/sic_modular-v1",
            "title": "SIC begun as modules held apart, with drifting walks (a variant of ours)",
            "lattice": "given",
            "settings_tried": 128,
            "tuned_on": "modules and separation",
            "gpu_hours": 0.75,
            "deviations": (
                *SIC.card.deviations,
                "units begin as three hexagonal modules and two constant units, weights between them are one constant "
                "for the first 18,000 steps, and walks drift: none of it is the paper's",
            ),
            "provenance": SIC.card.provenance
            | {
                name: "ours (docs/sic_search.md)"
                for name in SICModularConfig.model_fields
                if name not in SICConfig.model_fields or name in ("input_gain", "steps")
            },
        }
    )
    config: SICModularConfig

    def __init__(self, config: SICModularConfig) -> None:
        super().__init__(config)
        for name in (
            "hard_weight", "hard_width", "hard_from_m",
            "start_spacing_m", "start_ratio", "start_threshold", "start_constant_share",
        ):  # fmt: skip
            self.register_buffer(name, torch.tensor(getattr(config, name)))
        if config.ideal_start:
            modular_start_(
                self.matrix,
                self.initial.data,
                config.start_spacing_m * config.start_ratio ** torch.arange(config.modules),
                threshold=config.start_threshold,
                max_step_m=1.1 * config.max_step_m + config.drift_m,
                generator=torch.Generator().manual_seed(config.seed),
                constants=config.constants,
                constant_share=config.start_constant_share,
            )

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches of `SIC` with (1) added to their velocities; ``hard_ramp``, r, and ``held``, 1 or 0; 0-d both."""
        c = self.config
        for step, batch in enumerate(super().training_data(world, seed, first), first):
            if step == first or step % BLOCK == 0:
                generator = world.generator((seed + step // BLOCK + 2**40) % 2**63)
                drawn = torch.rand(BLOCK, 2, generator=generator, dtype=world.dtype, device=generator.device)
            ramp = min(max((step - c.ramp_start) / c.ramp_steps, 0.0), 1.0)
            speed, turn = drawn[step % BLOCK]
            direction = torch.stack(((2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()))
            yield batch | {
                "velocity_m": batch["velocity_m"] + ramp * c.drift_m * speed * direction,
                "hard_ramp": speed.new_tensor(ramp),
                "held": speed.new_tensor(step < c.held_steps),
            }

    def terms(self, states: Tensor, step_m: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Eq. (2): the terms of `SIC`, ``hard``, and their weighted ``total``, each 0-d."""
        terms = super().terms(states, step_m, batch)
        hard = hard_separation(
            states, step_m.cumsum(1), near_m=self.near_m, from_m=self.hard_from_m, width=self.hard_width
        )
        total = terms.pop("total") + self.hard_weight * batch["hard_ramp"] * hard
        return {"total": total, **terms, "hard": hard}

    def constrain(self, params: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """(P), the same at all velocities."""
        weight, bias = params["matrix.4.weight"], params["matrix.4.bias"]
        c = self.config
        units = torch.arange(c.units, device=bias.device)
        module = (units // ((c.units - c.constants) // c.modules)).clamp(max=c.modules - 1)
        constant = units >= c.units - c.constants
        between = ((module[:, None] != module) & ~constant[:, None] & ~constant).flatten()  # (N²,)
        onto = (constant[:, None] & ~constant).flatten()
        off = constant.expand(c.units, -1).flatten()
        set_to = (bias * between).sum() / between.sum().clamp(min=1) * between
        set_to = set_to + (bias * onto).sum() / onto.sum().clamp(min=1) * onto
        held = (between | onto | off) & (batch["held"] > 0)
        return {
            "matrix.4.weight": torch.where(held[:, None], 0, weight),
            "matrix.4.bias": torch.where(held, set_to, bias),
        }
