"""What do all networks that are told only their velocities share?  Config, data and evaluation; each adds its loss.

    g_t = Norm(ReLU(W(v_t) g_{t−1})),   W(v) = MLP(v): R² → R^{N×N}

A batch is B random permutations of one sequence of T velocities (Schaeffer, Khona, Ma, Eyzaguirre, Koyejo & Fiete,
NeurIPS 2023).
"""

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.model import Config, Model, Recipe, Representation, State
from entorhinal.families.world import Trajectories, World
from entorhinal.ssl.architecture import rectified_unit, unroll, velocity_to_matrix
from entorhinal.ssl.augmentations import check_pairs, permutations, permuted_positions
from entorhinal.ssl.data import uniform_velocities
from entorhinal.ssl.kernels import Precision

__all__ = ["BLOCK", "PROVENANCE", "VelocityNetwork", "VelocityNetworkConfig", "kernel_precision"]

BLOCK = 64  # batches made at once
_PRECISIONS: dict[str, Precision] = {"highest": "float32", "high": "tf32", "medium": "bf16"}
_PATIENCE = 20  # of the plateau schedule, as a part of all steps; the paper states none
_STRAIGHT_STEP_M = 0.1  # steps of the walk from the origin to where a trial starts

PROVENANCE = {
    "units": "Schaeffer et al. 2023",
    "hidden": "not stated in the paper; chosen here",
    "activation": "not stated in the paper; of ReLU, GELU and tanh at lr 2e-4 and 5e-4, two seeds each, this "
    "with 2e-4 had the highest grid scores in a 4 m box",
    "input_gain": "not stated in the paper; with 1, as PyTorch has it, velocities of at most 0.15 m leave W(v) "
    "all but linear in v, and many seeds find no lattice; of 1, 4, 8 and 16, 8 gave hexagons in four of four",
    "steps_per_trajectory": "Schaeffer et al. 2023",
    "trajectories": "Schaeffer et al. 2023",
    "max_step_m": "Schaeffer et al. 2023",
    "near_m": "Schaeffer et al. 2023",
    "optimizer": "chosen here; the paper has AdamW",
    "lr": "chosen here with the activation; the paper has 2e-5",
    "schedule": "chosen here; the paper has a plateau schedule and does not state its patience",
    "warmup_steps": "chosen here",
    "clip_norm": "Schaeffer et al. 2023",
    "weight_decay": "chosen here",
    "accumulation": "chosen here; the paper has 2",
    "steps": "chosen here; the paper has 2,000,000",
    "seed": "chosen here",
}


class VelocityNetworkConfig(Config):
    units: int = Field(128, ge=2, description="N")
    hidden: int = Field(256, ge=1, description="width of the MLP")
    activation: Literal["relu", "gelu", "tanh"] = "tanh"
    input_gain: float = Field(8.0, gt=0, description="factor on the initial weights of the MLP's first layer")
    steps_per_trajectory: int = Field(60, ge=2, description="T")
    trajectories: int = Field(130, ge=2, description="B, permutations of one sequence")
    max_step_m: float = Field(0.15, gt=0, description="velocities are uniform in ±this along each axis")
    near_m: float = Field(0.05, gt=0, description="σ_x")
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = Field(2e-4, gt=0)
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    warmup_steps: int = Field(500, ge=0)
    clip_norm: float = Field(0.1, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    accumulation: int = Field(1, ge=1)
    steps: int = Field(36_000, ge=1)
    seed: int = Field(0, ge=0)


class VelocityNetwork(Model):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``. A subclass adds card and loss."""

    def __init__(self, config: VelocityNetworkConfig, numbers: tuple[str, ...]) -> None:
        """numbers: fields in which networks of one population may differ, besides those of the recipe."""
        super().__init__(config)
        generator = torch.Generator().manual_seed(config.seed)
        self.matrix = velocity_to_matrix(
            config.units, config.hidden, config.activation, generator, input_gain=config.input_gain
        )
        self.initial = torch.nn.Parameter(torch.rand(config.units, generator=generator))
        for name in numbers:
            self.register_buffer(name, torch.tensor(getattr(config, name)))

    def recipe(self) -> Recipe:
        c = self.config
        shared = {name: getattr(c, name) for name in Recipe.model_fields if name in type(c).model_fields}
        return Recipe(batch=c.trajectories, plateau_patience_steps=max(1, c.steps // _PATIENCE), **shared)

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches of ``velocity_m (T, 2)`` and the ``order (B, T)`` in which each trajectory uses them."""
        c, block = self.config, first // BLOCK
        while True:
            generator = world.generator((seed + block) % 2**63)
            velocity_m = uniform_velocities(
                BLOCK, c.steps_per_trajectory, c.max_step_m, generator=generator, dtype=world.dtype
            )
            order = permutations(BLOCK, c.trajectories, c.steps_per_trajectory, generator=generator)
            if block == first // BLOCK:
                check_pairs(permuted_positions(velocity_m[0], order[0]), c.near_m)
            for k in range(first % BLOCK, BLOCK):
                yield {"velocity_m": velocity_m[k], "order": order[k]}
            block, first = block + 1, 0

    def unrolled(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """States ``(B, T, units)`` along a batch's trajectories, and their steps ``(B, T, 2)`` in metres."""
        velocity_m, order = batch["velocity_m"], batch["order"]
        matrices = self.matrix(velocity_m).unflatten(-1, (self.config.units,) * 2)
        return unroll(matrices, order, rectified_unit(self.initial)), velocity_m[order]

    def initial_state(self, start_m: Tensor) -> Tensor:
        """g_0 is the code of the origin; other places are reached straight from there, in steps of 0.1 m at most."""
        state = rectified_unit(self.initial).to(start_m).expand(len(start_m), -1)
        strides = (start_m.norm(dim=-1) / _STRAIGHT_STEP_M).ceil()
        stride_m = start_m / strides.clamp_min(1)[:, None]
        for k in range(int(strides.max())):
            state = torch.where((k < strides)[:, None], self._step(state, stride_m), state)
        return state

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        code = self.initial_state(trajectories.start_m) if state is None else state
        rates = []
        for t in range(trajectories.steps):
            code = self._step(code, trajectories.displacement_m[:, t])
            rates.append(code)
        return Representation(torch.stack(rates, 1), code)

    def _step(self, state: Tensor, displacement_m: Tensor) -> Tensor:
        """One step of each trial: state ``(B, N)``, displacement_m ``(B, 2)`` -> ``(B, N)``."""
        matrix = self.matrix(displacement_m.to(self.initial.dtype)).unflatten(-1, (self.config.units,) * 2)
        return rectified_unit((matrix.to(state) @ state[..., None])[..., 0])


def kernel_precision() -> Precision:
    """The kernels' name for what products of float32 matrices are rounded to now."""
    return _PRECISIONS[torch.get_float32_matmul_precision()]
