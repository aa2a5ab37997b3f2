"""Grid cells as a Lie group's representation of motion (Gao, Xie, Wei, Zhu & Wu 2021).

The code v(x) of 16 blocks of 12 units rotates as the animal moves, each block by itself, and place cells read it:

    v(x + Δ) = M(Δ) v(x),   M(Δ) = exp(‖Δ‖ B(θ)) ≈ 1 + ‖Δ‖ B + ‖Δ‖² B²/2,   B antisymmetric, block diagonal       (1)
    <v(x), u(x′)> = exp(−‖x − x′‖²/2σ²)                                                                          (2)
    ‖B(θ) v_k(x)‖ = ‖B(θ′) v_k(x)‖ for all directions θ, θ′ and blocks k: the embedding is conformal              (3)

    minimise  w_kernel E(<v(x), u(x′)> − kernel)² + w_motion E‖M(Δ) v(x) − v(x + Δ)‖²
              + w_isometry Σ_k E(‖B(θ) v_k‖ − ‖B(θ′) v_k‖)² + w_u Σ u²                                           (4)

Codes v and u are tables over 40² places; after each step the blocks of v are scaled to norm 1/√16, so that ‖v‖ = 1, and
negative weights u become 0. Blocks become hexagonal lattices of several scales.

The model is told where a walk starts; from there on eq. (1) integrates it, each block kept at its norm.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from entorhinal.families.function_optimization.code_table import check_box, code_at, places, rates_at
from entorhinal.families.model import Card, Config, Model, Recipe, Representation, State
from entorhinal.families.world import Trajectories, World

__all__ = ["BLOCK", "LieGroup", "LieGroupConfig"]

BLOCK = 16  # batches made at once


class LieGroupConfig(Config):
    blocks: int = Field(16, ge=1)
    block_units: int = Field(12, ge=2)
    bins: int = Field(40, ge=4, description="of the tables, along each side of the box")
    side_m: float = Field(1.0, gt=0, description="of the square box")
    kernel_width_m: float = Field(0.07, gt=0, description="σ, of place fields")
    directions: int = Field(144, ge=3, description="values of θ, each with a matrix B of its own")
    order: int = Field(2, ge=1, description="at which the series of the exponential ends")
    kernel_weight: float = Field(1.05, ge=0, description="w_kernel")
    motion_weight: float = Field(0.5, ge=0, description="w_motion")
    isometry_weight: float = Field(0.5, ge=0, description="w_isometry")
    read_out_weight: float = Field(4e-5, ge=0, description="w_u")
    step_range_m: float = Field(0.075, gt=0, description="longest step of the motion")
    pair_width_m: float = Field(0.48, gt=0, description="of the normal distribution of distances in the kernel")
    batch: int = Field(9072, ge=1, description="pairs, and steps, in a batch; a multiple of directions")
    lr: float = Field(3e-3, gt=0, description="of Adam")
    steps: int = Field(8000, ge=1)
    seed: int = Field(0, ge=0)

    @field_validator("kernel_width_m")
    @classmethod
    def _above_a_bin(cls, kernel_width_m: float, info: ValidationInfo) -> float:
        bin_m = info.data.get("side_m", 0.0) / info.data.get("bins", 1)
        if kernel_width_m <= bin_m:
            raise ValueError(f"not above a bin, {bin_m:g} m: fields would fall between places; give more, or more bins")
        return kernel_width_m

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


class LieGroup(Model):
    """Rates and state v, ``(B, T, blocks * block_units)`` and ``(B, ...)``, of either sign; integrates paths."""

    kernel_width_m: Tensor
    kernel_weight: Tensor
    motion_weight: Tensor
    isometry_weight: Tensor
    read_out_weight: Tensor
    rows: Tensor
    columns: Tensor

    Config = LieGroupConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"blocks": 4, "block_units": 8, "bins": 20, "directions": 18, "batch": 720, "steps": 1500, "lr": 1e-2}
    }
    card = Card(
        id="function_optimization/lie_group-v1",
        title="Lie group of rotations of a code of position",
        citation="""@inproceedings{gao2021path,
  title = {On Path Integration of Grid Cells: Group Representation and Isotropic Scaling},
  author = {Gao, Ruiqi and Xie, Jianwen and Wei, Xue-Xin and Zhu, Song-Chun and Wu, Ying Nian},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {34},
  year = {2021}
}""",
        training_extent_m=1.0,
        lattice="scale given",
        supervision="input",
        deviations=(
            "A batch has 9,072 pairs, the authors' 90,000, and as many steps in each direction.",
            "The rate is constant; the authors halve theirs at step 6,000.",
            "Distances of the kernel's pairs are no longer than the box's side; the authors' draw again those that "
            "fit nowhere.",
            "Walks are integrated with the nearest of the directions, and blocks are scaled to their norm at every "
            "step, which the truncated exponential does not keep.",
        ),
        provenance={
            "blocks": "paper",
            "block_units": "paper",
            "bins": "paper",
            "side_m": "paper",
            "kernel_width_m": "paper",
            "directions": "authors' program",
            "order": "paper",
            "kernel_weight": "authors' program",
            "motion_weight": "authors' program",
            "isometry_weight": "authors' program, where 16 times the mean over blocks is our sum",
            "read_out_weight": "authors' program: 1.2 over 30,000, by which its other terms are multiplied",
            "step_range_m": "authors' program: 3 bins",
            "pair_width_m": "authors' program",
            "batch": "ours: a tenth of the authors'",
            "lr": "authors' program",
            "steps": "authors' program",
            "seed": "ours",
        },
    )

    def __init__(self, config: LieGroupConfig | None = None) -> None:
        super().__init__(config)
        c, random = self.config, torch.Generator().manual_seed(self.config.seed)
        shape = (c.bins**2, c.blocks * c.block_units)
        self.table = torch.nn.Parameter(self.normed(torch.randn(shape, generator=random)))  # v
        self.read_out = torch.nn.Parameter(1e-3 * torch.randn(shape, generator=random).abs())  # u
        rows, columns = torch.triu_indices(c.block_units, c.block_units, 1)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        start = 1e-3 * torch.randn(c.directions, c.blocks, len(rows), generator=random)
        self.upper = torch.nn.Parameter(start)  # of B, above its diagonal
        for name in ("kernel_width_m", "kernel_weight", "motion_weight", "isometry_weight", "read_out_weight"):
            self.register_buffer(name, torch.tensor(getattr(c, name)))

    def normed(self, code: Tensor) -> Tensor:
        """``(..., units)`` with every block scaled to norm 1/√blocks."""
        c = self.config
        blocks = code.unflatten(-1, (c.blocks, c.block_units))
        return (torch.nn.functional.normalize(blocks, dim=-1) / c.blocks**0.5).flatten(-2)

    def generators(self) -> Tensor:
        """B, ``(directions, blocks, block_units, block_units)``."""
        n = self.config.block_units
        flat = self.upper.new_zeros(1).expand(*self.upper.shape[:-1], n * n)
        flat = flat.index_add(-1, self.rows * n + self.columns, self.upper)
        flat = flat.index_add(-1, self.columns * n + self.rows, -self.upper)
        return flat.unflatten(-1, (n, n))

    def moved(self, code: Tensor, generators: Tensor, length_m: Tensor) -> tuple[Tensor, Tensor]:
        """M v and B v, for v ``(..., n, blocks, block_units)``, B ``(..., blocks, block_units, block_units)``.

        length_m: ``(..., n)``, of steps, all in the direction of their B.
        """
        turned = code.transpose(-3, -2) @ generators.mT  # (..., blocks, n, block_units)
        first, length = turned, length_m[..., None, :, None]
        moved = code.transpose(-3, -2)
        for power in range(1, self.config.order + 1):
            moved = moved + length**power / math.factorial(power) * turned
            turned = turned @ generators.mT
        return moved.transpose(-3, -2), first.transpose(-3, -2)

    def initial_state(self, start_m: Tensor) -> Tensor:
        """v where a walk starts, ``(B, units)``; NaN outside the box."""
        return rates_at(self.table, start_m[:, None], self.config.side_m)[:, 0]

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        c = self.config
        code = self.initial_state(trajectories.start_m) if state is None else state
        step_m = trajectories.displacement_m
        length_m, angle = step_m.norm(dim=-1), torch.atan2(step_m[..., 1], step_m[..., 0])
        direction = (angle * (c.directions / (2 * math.pi))).round().long() % c.directions
        generators, rates = self.generators().to(code), []
        for t in range(trajectories.steps):
            blocks = code.unflatten(-1, (c.blocks, c.block_units))[:, None]
            moved = self.moved(blocks, generators[direction[:, t]], length_m[:, t, None])[0][:, 0]
            code = self.normed(moved.flatten(-2))
            rates.append(code)
        return Representation(torch.stack(rates, 1), code)

    def decode(self, representation: Representation) -> Tensor:
        """The place whose code is most like the rates, ``(B, T, 2)`` in metres; NaN where rates are."""
        c, rates = self.config, representation.rates
        best = torch.stack([(trial @ self.table.detach().T.to(trial)).argmax(-1) for trial in rates])
        at = torch.stack((best % c.bins, best // c.bins), -1).to(rates)
        place_m = ((at + 0.5) / c.bins - 0.5) * c.side_m
        return place_m.masked_fill(~rates.isfinite().all(-1, keepdim=True), math.nan)

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of eq. (4), without their weights, and their ``total``."""
        c = self.config
        here_m, there_m = places(batch["pair_place"], batch["pair"], c.side_m)
        kernel = torch.exp(batch["pair"].square().sum(-1) / (-2 * self.kernel_width_m.square()))
        read = (code_at(self.table, here_m, c.side_m) * code_at(self.read_out, there_m, c.side_m)).sum(-1)
        kernel_error = (read - kernel).square().mean()

        step_m = c.step_range_m * batch["step"]
        start_m, end_m = places(batch["step_place"], step_m, c.side_m)
        start, end = (
            code_at(self.table, at_m, c.side_m).unflatten(-1, (c.blocks, c.block_units)) for at_m in (start_m, end_m)
        )
        generators = self.generators()
        moved, first = self.moved(start, generators, step_m.norm(dim=-1))
        motion = (moved - end).square().sum((-2, -1)).mean()

        other = start.transpose(-3, -2) @ generators.index_select(0, batch["other"]).mT
        speed, other_speed = (
            velocity.square().sum(-1).add(1e-12).sqrt() for velocity in (first, other.transpose(-3, -2))
        )
        isometry = (speed - other_speed).square().sum(-1).mean()
        read_out = self.read_out.square().sum()
        total = self.kernel_weight * kernel_error + self.motion_weight * motion
        total = total + self.isometry_weight * isometry + self.read_out_weight * read_out
        return {"total": total, "kernel": kernel_error, "motion": motion, "isometry": isometry, "read_out": read_out}

    def constrain(self, params: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Blocks of v of norm 1/√blocks at every place of the table; u >= 0."""
        return {"table": self.normed(params["table"]), "read_out": params["read_out"].clamp_min(0)}

    def recipe(self) -> Recipe:
        c = self.config
        return Recipe(optimizer="adam", lr=c.lr, steps=c.steps, batch=c.batch)

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Batches; block b of `BLOCK` batches has the seed ``seed + b``."""
        check_box(self.card.id, world, self.config.side_m)
        return self._batches(world, seed, first)

    def _batches(self, world: World, seed: int, first: int) -> Iterator[dict[str, Tensor]]:
        """``pair (batch, 2)`` in metres, ``step (directions, n, 2)`` in the unit disk, where, and ``other`` directions.

        Lengths of pairs are normal, cut off at the side of the box; every direction has one other, by a turn.
        """
        c = self.config
        shape = (c.directions, c.batch // c.directions)
        make: dict[str, Any] = {"device": world.device, "dtype": world.dtype}
        angle = torch.arange(c.directions, **make) * (2 * math.pi / c.directions)
        cut = math.erf(c.side_m / (math.sqrt(2) * c.pair_width_m))
        block, skipped = divmod(first, BLOCK)
        while True:
            generator = world.generator((seed + block) % 2**63)
            uniform = torch.rand(BLOCK, c.batch, 7, generator=generator, **make)
            turn = torch.randint(1, c.directions, (BLOCK, 1), generator=generator, device=world.device)
            other = (torch.arange(c.directions, device=world.device) + turn) % c.directions
            length = uniform[..., 0].sqrt().view(BLOCK, *shape)
            step = length[..., None] * torch.stack((angle.cos(), angle.sin()), -1)[:, None]
            pair_m = math.sqrt(2) * c.pair_width_m * torch.erfinv(cut * uniform[..., 1])
            pair_angle = 2 * math.pi * uniform[..., 2]
            pair = pair_m[..., None] * torch.stack((pair_angle.cos(), pair_angle.sin()), -1)
            for k in range(skipped, BLOCK):
                yield {
                    "step": step[k],
                    "step_place": uniform[k, :, 3:5].view(*shape, 2),
                    "other": other[k],
                    "pair": pair[k],
                    "pair_place": uniform[k, :, 5:7],
                }
            block, skipped = block + 1, 0
