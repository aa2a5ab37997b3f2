"""A leaky network trained to say where it is, with noise and a cost of activity (Cueva & Wei 2018).

    x_t = x_{t−1} + (Δt/τ) (−x_{t−1} + W u_{t−1} + W_in (speed_t, direction_t) + b + ξ_t),   u = tanh x     (1)
    ŷ_t = W_out u_t                                                                               (2)
    L = ⟨(ŷ − y)²⟩ + λ_FR ⟨u²⟩ + λ_L2 (⟨W_in²⟩ + ⟨W_out²⟩)                                        (3)

y is the position in metres. ξ is Gaussian, of its own for every unit, step and trial. Among the units there were
grid-like, band-like and border ones; in a square box the grids were square, in others hexagonal, and without noise
and cost of activity they were not found. u are the would-be grid cells.

The paper's animal starts at the origin with x = 0. Here it starts anywhere, with x_0 = W_0 y_0, which is 0 there too.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.model import Batch, Card, Config, Model, Recipe, Representation, State
from entorhinal.families.supervised.leaky import leaky_walk, leaky_walk_backward_
from entorhinal.families.supervised.walks import batch_generator, batches_of_walks, check_box, check_plane
from entorhinal.families.world import Trajectories, World

__all__ = ["BLOCK", "CuevaWei", "CuevaWeiConfig"]

BLOCK = 8
"""Batches made by one walk; they are large."""


class CuevaWeiConfig(Config):
    units: int = Field(100, ge=1, description="recurrent units")
    step_fraction: float = Field(0.1, gt=0, le=1, description="Δt/τ")
    direction: Literal["angle", "cosine_sine"] = Field("angle", description="how the direction of movement is told")
    noise: float = Field(0.3, ge=0, description="standard deviation of ξ in training")
    activity_cost: float = Field(0.3, ge=0, description="λ_FR")
    weight_cost: float = Field(0.5, ge=0, description="λ_L2")
    side_m: float = Field(2.2, gt=0, description="side of the square box")
    steps_per_trajectory: int = Field(500, ge=1)
    batch: int = Field(200, ge=1, description="trajectories in a batch")
    lr: float = Field(1e-3, gt=0, description="of Adam")
    schedule: Literal["constant", "cosine"] = Field("constant", description="of lr")
    clip_norm: float = Field(1.0, gt=0)
    steps: int = Field(50_000, ge=1, description="optimiser steps")
    seed: int = Field(0, ge=0, lt=2**63, description="initial weights")


class CuevaWei(Model):
    """Rates u ``(B, T, units)`` in (−1, 1) and state x ``(B, units)``; integrates paths."""

    noise: Tensor
    activity_cost: Tensor
    weight_cost: Tensor

    Config = CuevaWeiConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {
            "direction": "cosine_sine",
            "steps_per_trajectory": 100,
            "schedule": "cosine",
            "steps": 12_000,
        },
    }
    card = Card(
        id="supervised/cueva_wei-v1",
        title="Leaky recurrent network trained on positions",
        citation="""@inproceedings{cueva2018,
  title = {Emergence of grid-like representations by training recurrent neural networks to perform
           spatial localization},
  author = {Cueva, Christopher J. and Wei, Xue-Xin},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}""",
        training_extent_m=2.2,
        stochastic=True,
        noisy_state=True,
        lattice="emerged",
        supervision="target",
        deviations=(
            "The animal starts anywhere, and the network is given the start by x_0 = W_0 y_0; in the paper it starts "
            "at the origin with x = 0, as it does here.",
            "Adam with a clipped gradient; the paper has Hessian-free optimisation.",
            "Walks are the common ones, in a box of 2.2 m; the paper has a walk of its own in boxes of three shapes.",
            "The direction is that of the displacement, and 0 in steps of no length.",
        ),
        provenance={
            "units": "the paper",
            "step_fraction": "the paper",
            "direction": "the paper has speed and direction; cosine and sine, without a jump at π, are ours",
            "noise": "ours; the paper states no variance",
            "activity_cost": "reported, unverified",
            "weight_cost": "ours; the paper states no value",
            "side_m": "ours, as for all supervised models",
            "steps_per_trajectory": "the paper; 100 in the small preset, ours",
            "batch": "ours, as the optimiser is",
            "lr": "ours, as the optimiser is",
            "schedule": "ours, as the optimiser is",
            "clip_norm": "ours, as the optimiser is",
            "steps": "ours, as the optimiser is",
            "seed": "ours; normal weights of variance 1/fan-in",
        },
    )

    def __init__(self, config: CuevaWeiConfig | None = None) -> None:
        super().__init__(config)
        n, inputs = self.config.units, 2 if self.config.direction == "angle" else 3
        generator = torch.Generator().manual_seed(self.config.seed)

        def normal(rows: int, columns: int) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.randn(rows, columns, generator=generator) / columns**0.5)

        self.start = normal(n, 2)  # W_0
        self.input = normal(n, inputs)  # W_in
        self.recurrent = normal(n, n)  # W
        self.bias = torch.nn.Parameter(torch.zeros(n))  # b
        self.readout = normal(2, n)  # W_out
        for name in ("noise", "activity_cost", "weight_cost"):
            self.register_buffer(name, torch.tensor(getattr(self.config, name)))

    def movement(self, displacement_m: Tensor, dt_s: float) -> Tensor:
        """Speed in m/s and direction, of ``displacement_m (..., 2)``: ``(..., 2)``, or ``(..., 3)`` as cosine, sine."""
        speed = displacement_m.norm(dim=-1) / dt_s
        angle = torch.atan2(displacement_m[..., 1], displacement_m[..., 0])
        told = (angle,) if self.config.direction == "angle" else (angle.cos(), angle.sin())
        return torch.stack((speed, *told), -1)

    def place_code(self, position_m: Tensor) -> Tensor:
        """The target at ``position_m (..., 2)``: the position."""
        return position_m

    def initial_state(self, start_m: Tensor) -> Tensor:
        return start_m @ self.start.to(start_m).T

    def _unroll(self, x: Tensor, movement: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Eq. (1): x ``(B, N)``, movement ``(B, T, 2 or 3)``, ξ ``(B, T, N)`` or None -> u ``(B, T, N)`` and x."""
        fraction = self.config.step_fraction
        drive = movement @ self.input.to(x).T + self.bias.to(x)
        drive = fraction * (drive if noise is None else drive + noise)
        recurrent, rates, u = fraction * self.recurrent.to(x).T, [], torch.tanh(x)
        for drive_t in drive.unbind(1):
            x = torch.addmm(drive_t + (1 - fraction) * x, u, recurrent)
            u = torch.tanh(x)
            rates.append(u)
        return torch.stack(rates, 1), x

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        """Eq. (1); with a generator, with the noise of the training."""
        check_plane(self.card.id, trajectories.arena)
        x = self.initial_state(trajectories.start_m) if state is None else state
        movement = self.movement(trajectories.displacement_m, trajectories.dt_s)
        noise = None
        if generator is not None:
            shape = trajectories.steps, trajectories.batch, self.config.units  # a step after the other, as chunks come
            drawn = torch.randn(shape, generator=generator, device=generator.device, dtype=x.dtype)
            noise = self.noise.to(x) * drawn.to(x.device).transpose(0, 1)
        return Representation(*self._unroll(x, movement, noise))

    def decode(self, representation: Representation) -> Tensor:
        """Eq. (2), ``(B, T, 2)``."""
        return representation.rates @ self.readout.to(representation.rates).T

    def connectivity(self) -> Tensor:
        return self.recurrent.detach()

    def recipe(self) -> Recipe:
        c = self.config
        return Recipe(
            optimizer="adam", lr=c.lr, schedule=c.schedule, clip_norm=c.clip_norm, steps=c.steps, batch=c.batch
        )

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[Batch]:
        """Walks as ``start_m (B, 2)``, ``movement (B, T, 2 or 3)``, ``position_m (B, T, 2)``; ``noise (B, T, N)``."""
        c = self.config
        check_box(self.card.id, world.arena, c.side_m, "positions fill")
        walks = batches_of_walks(
            world, seed, first, batch=c.batch, steps_per_trajectory=c.steps_per_trajectory, block=BLOCK
        )
        return self._with_noise(walks, world, seed, first)

    def _with_noise(self, walks: Iterator[dict[str, Tensor]], world: World, seed: int, first: int) -> Iterator[Batch]:
        """Noise of standard deviation 1; batch k has that of a generator of its own."""
        shape = self.config.batch, self.config.steps_per_trajectory, self.config.units
        for k, walk in enumerate(walks, first):
            generator = batch_generator(world, seed, k)
            noise = torch.randn(shape, generator=generator, device=world.device, dtype=world.dtype)
            movement = self.movement(walk.pop("displacement_m"), world.dt_s)
            yield walk | {"movement": movement, "noise": noise}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. (3)."""
        start = self.initial_state(batch["start_m"])
        rates, _ = self._unroll(start, batch["movement"], self.noise * batch["noise"])
        error = (rates @ self.readout.T - batch["position_m"]).square().mean()
        activity = self.activity_cost * rates.square().mean()
        weights = self.weight_cost * (self.input.square().mean() + self.readout.square().mean())
        total = error + activity + weights
        return {"total": total, "error_m2": error, "activity_cost": activity, "weight_cost": weights}

    def population_gradients(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What autograd finds for `loss`, for S networks at once; rows are B trajectories, a step after the other."""
        movement, position_m, noise = (
            batch[name].transpose(0, 1).flatten(0, 1) for name in ("movement", "position_m", "noise")
        )
        (trajectories, steps, _), n, fraction = batch["movement"].shape, self.config.units, self.config.step_fraction
        activity_cost, weight_cost = buffers["activity_cost"], buffers["weight_cost"]
        w, w_in, w_out = (params[name] for name in ("recurrent", "input", "readout"))
        networks, rows = len(w), len(movement)

        x0 = batch["start_m"] @ params["start"].mT
        drive = torch.baddbmm(params["bias"][:, None], movement.expand(networks, -1, -1), w_in.mT)
        drive = drive.add_(buffers["noise"][:, None, None] * noise).mul_(fraction)
        u = leaky_walk(x0, drive.view(networks, steps, trajectories, n), w, fraction)
        rates = u[:, 1:].flatten(1, 2)
        missed_m = rates @ w_out.mT - position_m
        error, activity = missed_m.square().mean((1, 2)), activity_cost * rates.square().mean((1, 2))
        weights = weight_cost * (w_in.square().mean((1, 2)) + w_out.square().mean((1, 2)))

        by_missed = missed_m / rows
        by_rates = torch.baddbmm((2 * activity_cost / (rows * n))[:, None, None] * rates, by_missed, w_out)
        by_x0 = leaky_walk_backward_(by_rates.view(networks, steps, trajectories, n), u, w, fraction)
        by_drive = by_rates.mul_(fraction)

        cost = (2 * weight_cost)[:, None, None]
        grads = {
            "start": by_x0.mT @ batch["start_m"],
            "input": by_drive.mT @ movement + cost / w_in[0].numel() * w_in,
            "recurrent": by_drive.mT @ u[:, :-1].flatten(1, 2),
            "bias": by_drive.sum(1),
            "readout": by_missed.mT @ rates + cost / w_out[0].numel() * w_out,
        }
        total = error + activity + weights
        return grads, {"total": total, "error_m2": error, "activity_cost": activity, "weight_cost": weights}
