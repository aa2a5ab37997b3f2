"""Self-supervised learning of space by Separation, Invariance and Capacity (Schaeffer et al. 2023).

A network that is told only its velocities learns a code of place from three wishes: states at far places are to differ
(separation), states at near places to agree whatever the path (invariance), and the population to use all its units
(capacity); a fourth asks that small steps move the code at one speed (conformal isometry).

    g_t = Norm(ReLU(W(v_t) g_{t−1})),   W(v) = MLP(v)
    L   = λ_sep ⟨exp(−‖g−g′‖²/2σ_g²)⟩_{far} + λ_inv ⟨‖g−g′‖²⟩_{near} − λ_cap ‖⟨g⟩‖² + λ_con Var[‖Δg‖/‖v‖]

over all pairs of the B·T states of B random permutations of one sequence of T velocities; σ_x parts far from near.
Known positions serve only to choose pairs, and those are sums of the network's own velocities.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.model import Card, Config, Model, Recipe, Representation, State
from entorhinal.families.world import Trajectories, World
from entorhinal.ssl.architecture import rectified_unit, unroll, velocity_to_matrix
from entorhinal.ssl.augmentations import check_pairs, permutations, permuted_positions
from entorhinal.ssl.data import uniform_velocities
from entorhinal.ssl.kernels import Precision, sic_population_gradients
from entorhinal.ssl.losses import sic

__all__ = ["SIC", "SICConfig"]

BLOCK = 64  # batches made at once
_PRECISIONS: dict[str, Precision] = {"highest": "float32", "high": "tf32", "medium": "bf16"}
_STRAIGHT_STEP_M = 0.1  # steps of the walk from the origin to where a trial starts


class SICConfig(Config):
    units: int = Field(128, ge=2, description="N")
    hidden: int = Field(256, ge=1, description="width of the MLP")
    activation: Literal["relu", "gelu", "tanh"] = "tanh"
    input_gain: float = Field(8.0, gt=0, description="factor on the initial weights of the MLP's first layer")
    steps_per_trajectory: int = Field(60, ge=2, description="T")
    trajectories: int = Field(130, ge=2, description="B, permutations of one sequence")
    max_step_m: float = Field(0.15, gt=0, description="velocities are uniform in ±this along each axis")
    near_m: float = Field(0.05, gt=0, description="σ_x")
    separation_width: float = Field(0.4, gt=0, description="σ_g")
    separation_weight: float = Field(1.0, ge=0, description="λ_sep")
    invariance_weight: float = Field(0.1, ge=0, description="λ_inv")
    capacity_weight: float = Field(0.5, ge=0, description="λ_cap")
    conformal_weight: float = Field(0.001, ge=0, description="λ_con")
    conformal_min_step_m: float = Field(0.001, gt=0)
    conformal_max_step_m: float = Field(0.1, gt=0)
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = Field(2e-4, gt=0)
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    warmup_steps: int = Field(500, ge=0)
    clip_norm: float = Field(0.1, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    accumulation: int = Field(1, ge=1)
    steps: int = Field(36_000, ge=1)
    seed: int = Field(0, ge=0)


class SIC(Model):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``."""

    near_m: Tensor
    separation_width: Tensor
    separation_weight: Tensor
    invariance_weight: Tensor
    capacity_weight: Tensor
    conformal_weight: Tensor

    Config = SICConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {
            "units": 32,
            "hidden": 32,
            "activation": "relu",
            "input_gain": 1.0,
            "steps_per_trajectory": 16,
            "trajectories": 16,
            "near_m": 0.1,
            "lr": 3e-3,
            "warmup_steps": 200,
            "steps": 12_000,
        },
        "paper": {
            "optimizer": "adamw",
            "lr": 2e-5,
            "schedule": "plateau",
            "warmup_steps": 0,
            "weight_decay": 0.01,
            "accumulation": 2,
            "steps": 2_000_000,
        },
    }
    card = Card(
        id="ssl/sic-v1",
        title="Separation, invariance, capacity (self-supervised)",
        citation="""@inproceedings{schaeffer2023,
  title = {Self-Supervised Learning of Representations for Space Generates Multi-Modular Grid Cells},
  author = {Schaeffer, Rylan and Khona, Mikail and Ma, Tzuhsuan and Eyzaguirre, Cristobal and Koyejo, Sanmi and
    Fiete, Ila Rani},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {36},
  year = {2023}
}""",
        training_extent_m=2.0,  # no walls, but 95 % of the states lie within 0.92 m of the origin
        lattice="emerged",
        supervision="pairs",
        deviations=(
            "Adam with a warm-up and cosine decay at 2e-4 instead of AdamW at 2e-5 on a plateau schedule (preset "
            "'paper'): the paper's 2,000,000 steps become 36,000",
            "every loss is a mean, and a pair is of two different states: the paper does not state either",
            "the conformal term takes steps of 1 mm to 0.1 m (the paper: below σ_x)",
        ),
        provenance={
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
            "separation_width": "Schaeffer et al. 2023",
            "separation_weight": "Schaeffer et al. 2023",
            "invariance_weight": "Schaeffer et al. 2023",
            "capacity_weight": "Schaeffer et al. 2023",
            "conformal_weight": "not stated in the paper; the smallest that trained here",
            "conformal_min_step_m": "chosen here: the ratio diverges for short steps",
            "conformal_max_step_m": "chosen here; the paper has steps below σ_x",
            "optimizer": "chosen here; the paper has AdamW",
            "lr": "chosen here with the activation; the paper has 2e-5",
            "schedule": "chosen here; the paper has a plateau schedule",
            "warmup_steps": "chosen here",
            "clip_norm": "Schaeffer et al. 2023",
            "weight_decay": "chosen here",
            "accumulation": "chosen here; the paper has 2",
            "steps": "chosen here; the paper has 2,000,000",
            "seed": "chosen here",
        },
    )

    def __init__(self, config: SICConfig) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(config.seed)
        self.matrix = velocity_to_matrix(
            config.units, config.hidden, config.activation, generator, input_gain=config.input_gain
        )
        self.initial = torch.nn.Parameter(torch.rand(config.units, generator=generator))
        for name in ("near_m", "separation_width"):
            self.register_buffer(name, torch.tensor(getattr(config, name)))
        for name in ("separation", "invariance", "capacity", "conformal"):
            self.register_buffer(f"{name}_weight", torch.tensor(getattr(config, f"{name}_weight")))

    def recipe(self) -> Recipe:
        c = self.config
        shared = {name: getattr(c, name) for name in Recipe.model_fields if name in type(c).model_fields}
        return Recipe(batch=c.trajectories, **shared)

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
        """States ``(B, T, units)`` along a batch's trajectories, and where they are, ``(B, T, 2)`` in metres."""
        velocity_m, order = batch["velocity_m"], batch["order"]
        matrices = self.matrix(velocity_m).unflatten(-1, (self.config.units,) * 2)
        return unroll(matrices, order, rectified_unit(self.initial)), permuted_positions(velocity_m, order)

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The four terms and their weighted ``total``, each 0-d."""
        return self.terms(*self.unrolled(batch), batch)

    def terms(self, states: Tensor, position_m: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` of states ``(B, T, units)`` at position_m ``(B, T, 2)``."""
        return sic(
            states,
            rectified_unit(self.initial),
            position_m,
            batch["velocity_m"][batch["order"]],
            near_m=self.near_m,
            separation_width=self.separation_width,
            weights={
                "separation": self.separation_weight,
                "invariance": self.invariance_weight,
                "capacity": self.capacity_weight,
                "conformal": self.conformal_weight,
            },
            min_step_m=self.config.conformal_min_step_m,
            max_step_m=self.config.conformal_max_step_m,
        )

    def population_gradients(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What autograd finds for `loss`, for S networks at once (`entorhinal.ssl.kernels`)."""
        return sic_population_gradients(
            params,
            buffers,
            batch,
            activation=self.config.activation,
            conformal_min_step_m=self.config.conformal_min_step_m,
            conformal_max_step_m=self.config.conformal_max_step_m,
            precision=_PRECISIONS[torch.get_float32_matmul_precision()],
        )

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
