"""Grid cells by conformal isometry (Xu, Gao, Zhang, Wei & Wu 2025, and their papers since 2022).

A code v(x) of unit norm, none of whose rates is negative, is moved by what the animal does, and keeps distances in
space up to a factor s, over the short distances within which a code on a sphere can:

    minimise  E ‖v(x + Δ) − F(v(x), Δ)‖² + λ E (‖v(x + Δ) − v(x)‖ − s‖Δ‖)²     over v >= 0, ‖v‖ = 1, and F     (1)
    linear    F(v, Δ) = v + ‖Δ‖ B(θ) v                                                                        (2)
    ReLU      F(v, Δ) = ReLU(A v + ‖Δ‖ B(θ) v + b)                                                            (3)

with θ the direction of Δ, one of 18. The code is a table, one vector of 24 rates for each of 40² places; after each
step negative rates become 0 and every vector is scaled to norm 1. Steps of the first term are up to 0.075 m long,
pairs of the second up to 1.25/s, at which codes are 1.25 apart. (√2 is the farthest that codes can be.) Hexagonal
lattices emerge, for on a hexagonal torus the distance of codes departs least from s‖Δ‖. Nothing but s sets a scale, so
the spacing is a constant over s. Units of three waves, 3/2 + Σ cos(k·x + φ) but for a factor, of all phases, have

    ‖v(x + Δ) − v(x)‖² = k²‖Δ‖²/5   for small Δ, hence   k = √5 s and the spacing is 4π/(√3 k) = 3.24/s       (4)
"""

import logging
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from entorhinal.families.function_optimization.code_table import check_box, code_at, places, rates_at
from entorhinal.families.model import Card, Config, Model, Recipe, Representation, State
from entorhinal.families.world import Trajectories, World

__all__ = ["BLOCK", "SPACING", "Conformal", "ConformalConfig"]

logger = logging.getLogger("entorhinal")

BLOCK = 64  # batches made at once
SPACING = 4 * math.pi / math.sqrt(15)
"""Spacing of the lattice times s, eq. (4)."""


class ConformalConfig(Config):
    transformation: Literal["linear", "relu"] = Field("linear", description="F, eq. (2) or (3)")
    units: int = Field(24, ge=2, description="of the one module")
    bins: int = Field(40, ge=4, description="of the table, along each side of the box")
    side_m: float = Field(1.0, gt=0, description="of the square box")
    directions: int = Field(18, ge=3, description="values of θ, each with a matrix B of its own")
    scale_per_m: float = Field(10.0, gt=0, description="s, distance of codes per metre")
    isometry_weight: float = Field(4 / 3, ge=0, description="λ")
    step_range_m: float = Field(0.075, gt=0, description="longest step of the transformation")
    isometry_range: float = Field(1.25, gt=0, description="longest distance that is to be kept, in distance of codes")
    batch: int = Field(3996, ge=1, description="steps, and pairs, in a batch; a multiple of directions")
    lr: float = Field(3e-3, gt=0, description="of Adam")
    clip_norm: float = Field(1 / 3000, gt=0, description="largest norm of the gradient")
    warmup_steps: int = Field(3000, ge=0, description="of the rate, before it falls as half a cosine")
    steps: int = Field(20_000, ge=1)
    seed: int = Field(0, ge=0)

    @field_validator("batch")
    @classmethod
    def _whole_directions(cls, batch: int, info: ValidationInfo) -> int:
        directions = info.data.get("directions", 1)
        if batch % directions:
            raise ValueError(f"not a multiple of directions; give {directions * max(1, round(batch / directions))}")
        return batch

    @field_validator("step_range_m")
    @classmethod
    def _inside(cls, step_range_m: float, info: ValidationInfo) -> float:
        if step_range_m > info.data.get("side_m", math.inf):
            raise ValueError(f"longer than the box; give <= {info.data['side_m']:g}")
        return step_range_m

    @field_validator("isometry_range")
    @classmethod
    def _above_a_bin(cls, isometry_range: float, info: ValidationInfo) -> float:
        least, most = (info.data.get("scale_per_m", 1) * length_m for length_m in _limits_m(info))
        if not least < isometry_range <= most:
            raise ValueError(
                f"over scale_per_m it must be longer than a bin and no longer than the box: between {least:.3g} and "
                f"{most:.3g}; change scale_per_m or bins"
            )
        return isometry_range


def _limits_m(info: ValidationInfo) -> tuple[float, float]:
    side_m, bins = info.data.get("side_m", math.inf), info.data.get("bins", math.inf)
    return (0.0 if math.isinf(bins) else side_m / bins), side_m


class Conformal(Model):
    """Rates v ``(B, T, units)`` on the unit sphere, of the position alone; NaN outside the box."""

    scale_per_m: Tensor
    isometry_weight: Tensor

    Config = ConformalConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "relu": {"transformation": "relu", "isometry_weight": 4.0},
        "tiny": {"batch": 720, "lr": 1e-2, "warmup_steps": 200, "steps": 3000},
    }
    card = Card(
        id="function_optimization/conformal-v1",
        title="Conformal isometry of a code of position",
        citation="""@inproceedings{xu2025conformal,
  title = {On Conformal Isometry of Grid Cells: Learning Distance-Preserving Position Embedding},
  author = {Xu, Dehong and Gao, Ruiqi and Zhang, Wen-Hao and Wei, Xue-Xin and Wu, Ying Nian},
  booktitle = {International Conference on Learning Representations},
  eprint = {2405.16865},
  year = {2025}
}""",
        training_extent_m=1.0,
        lattice="scale given",
        supervision="input",
        tasks=("gridness", "generalization", "modules", "topology", "capacity", "isometry", "robustness", "cost"),
        deviations=(
            "Every direction has the same number of steps in a batch of 3,996; the authors' 4,000 choose theirs.",
            "The rate falls as half a cosine after its warm-up; the authors' is level to step 6,000, then falls "
            "linearly.",
            "The table is read with its border values in the outermost half bin, where the authors' falls to 0.",
            "The start is already in the constraints.",
        ),
        provenance={
            "transformation": "paper: both",
            "units": "paper",
            "bins": "paper",
            "side_m": "paper",
            "directions": "authors' program",
            "scale_per_m": "paper",
            "isometry_weight": "authors' program: 4,000 × 10 over 30,000, as its first loss is a mean times 30,000 "
            "and its second a sum over the batch; with ReLU 4,000 × 30 over 30,000 (preset relu)",
            "step_range_m": "authors' program: 3 bins",
            "isometry_range": "authors' program: 10, 5 and 3 bins for s of 5, 10 and 15, hence 1.25, 1.25 and 1.125",
            "batch": "paper: 4,000",
            "lr": "authors' program",
            "clip_norm": "authors' program: 10, of a loss 30,000 times ours",
            "warmup_steps": "authors' program",
            "steps": "paper",
            "seed": "ours",
        },
    )

    def __init__(self, config: ConformalConfig | None = None) -> None:
        super().__init__(config)
        c, random = self.config, torch.Generator().manual_seed(self.config.seed)
        self.table = torch.nn.Parameter(unit(torch.randn(c.bins**2, c.units, generator=random)))
        self.motion = torch.nn.Parameter(1e-3 * torch.randn(c.directions, c.units, c.units, generator=random))  # B
        if c.transformation == "relu":
            self.recurrent = torch.nn.Parameter(2e-3 * torch.rand(c.units, c.units, generator=random) - 1e-3)  # A
            self.bias = torch.nn.Parameter(torch.zeros(()))
        for name in ("scale_per_m", "isometry_weight"):
            self.register_buffer(name, torch.tensor(getattr(c, name)))
        if 2 * SPACING / c.scale_per_m > c.side_m:
            logger.warning(
                "%s: side_m=%g is less than two periods, which are about %.2f m each at scale_per_m=%g; lattices are "
                "not well told in it",
                self.card.id,
                c.side_m,
                SPACING / c.scale_per_m,
                c.scale_per_m,
            )

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        return Representation(rates_at(self.table, trajectories.position_m, self.config.side_m))

    def code(self, position_m: Tensor) -> Tensor:
        """v at ``position_m (..., 2)``, ``(..., units)``."""
        return code_at(self.table, position_m, self.config.side_m)

    def moved(self, code: Tensor, length_m: Tensor) -> Tensor:
        """F for codes ``(directions, n, units)`` and lengths ``(directions, n)`` of steps in each direction."""
        change = length_m[..., None] * (code @ self.motion.mT)
        if self.config.transformation == "linear":
            return code + change
        return torch.relu(code @ self.recurrent.T + change + self.bias)

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Both terms of eq. (1), the second without its weight, and their ``total``."""
        c = self.config
        step_m = c.step_range_m * batch["step"]
        start_m, end_m = places(batch["step_place"], step_m, c.side_m)
        error = self.moved(self.code(start_m), step_m.norm(dim=-1)) - self.code(end_m)
        transformation = error.square().sum(-1).mean()

        offset_m = c.isometry_range / self.scale_per_m * batch["pair"]
        start_m, end_m = places(batch["pair_place"], offset_m, c.side_m)
        apart = (self.code(end_m) - self.code(start_m)).square().sum(-1).add(1e-12).sqrt()
        isometry = (apart - self.scale_per_m * offset_m.norm(dim=-1)).square().mean()
        total = transformation + self.isometry_weight * isometry
        return {"total": total, "transformation": transformation, "isometry": isometry}

    def constrain(self, params: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """v >= 0 and ‖v‖ = 1 at every place of the table."""
        return {"table": unit(params["table"])}

    def recipe(self) -> Recipe:
        c = self.config
        return Recipe(
            optimizer="adam",
            lr=c.lr,
            steps=c.steps,
            batch=c.batch,
            schedule="cosine",
            warmup_steps=c.warmup_steps,
            clip_norm=c.clip_norm,
            eps=1e-12,  # below gradients so clipped
        )

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches; block b of `BLOCK` batches has the seed ``seed + b``."""
        check_box(self.card.id, world, self.config.side_m)
        return self._batches(world, seed, first)

    def _batches(self, world: World, seed: int, first: int) -> Iterator[dict[str, Tensor]]:
        """Steps ``step (directions, n, 2)`` and pairs ``pair (batch, 2)`` in the unit disk, and where in [0, 1]²."""
        c = self.config
        shape = (c.directions, c.batch // c.directions)
        make: dict[str, Any] = {"device": world.device, "dtype": world.dtype}
        angle = torch.arange(c.directions, **make) * (2 * math.pi / c.directions)
        block, skipped = divmod(first, BLOCK)
        while True:
            generator = world.generator((seed + block) % 2**63)
            uniform = torch.rand(BLOCK, c.batch, 7, generator=generator, **make)
            length, pair_length = uniform[..., 0].sqrt().view(BLOCK, *shape), uniform[..., 1].sqrt()
            step = length[..., None] * torch.stack((angle.cos(), angle.sin()), -1)[:, None]
            pair_angle = 2 * math.pi * uniform[..., 2]
            pair = pair_length[..., None] * torch.stack((pair_angle.cos(), pair_angle.sin()), -1)
            for k in range(skipped, BLOCK):
                yield {
                    "step": step[k],
                    "step_place": uniform[k, :, 3:5].view(*shape, 2),
                    "pair": pair[k],
                    "pair_place": uniform[k, :, 5:7],
                }
            block, skipped = block + 1, 0


def unit(codes: Tensor) -> Tensor:
    """Norm(max(0, v)) along the last axis; 0 where nothing is positive."""
    return torch.nn.functional.normalize(codes.clamp_min(0), dim=-1)
