"""LSTM cells and a linear layer with dropout, trained on place and head-direction cells (Banino et al. 2018).

    i, f, o = σ(W_· (v_t, cos φ̇_t, sin φ̇_t) + U_· h_{t−1} + b_·)      c̃ = tanh(W_c (...) + U_c h_{t−1} + b_c)
    c_t = f ⊙ c_{t−1} + i ⊙ c̃       h_t = o ⊙ tanh c_t                                            (1)
    g_t = D(W_g h_t)       p̂_t = softmax(W_p g_t + b_p)       d̂_t = softmax(W_d g_t + b_d)         (2)
    L = −⟨Σ_i p_i(x_t) log p̂_{t,i} + Σ_j d_j(φ_t) log d̂_{t,j}⟩                                    (3)

v is the speed, φ̇ the turn of a step, D the dropout of half of the linear units. h_0 and c_0 are linear in the place
code p(x_0) and the head-direction code d(φ_0). The units of the linear layer g are the would-be grid cells: the paper
counts 129 of 512, and none without dropout.

A path integrator is told where it starts and not where it heads: φ_0 is the direction of the first displacement (along
x if it has no length), so that the first turn is 0, and d(φ_0) joins the state in the first step.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.codes import softmax_place_cells
from entorhinal.families.memory import check_fits
from entorhinal.families.model import Batch, Card, Config, Model, Recipe, Representation, State
from entorhinal.families.supervised.kernels import place_cell_cross_entropy, place_code
from entorhinal.families.supervised.lstm import lstm_step_, lstm_step_backward_
from entorhinal.families.supervised.walks import (
    batch_generator,
    batches_of_walks,
    check_box,
    check_place_cells,
    check_plane,
)
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["Banino", "BaninoConfig", "movements"]


class BaninoConfig(Config):
    cells: int = Field(128, ge=1, description="LSTM cells")
    units: int = Field(512, ge=1, description="linear units")
    dropout: float = Field(0.5, ge=0, lt=1, description="fraction of linear units left out in training")
    place_cells: int = Field(256, ge=3, description="predicted place cells")
    place_width_m: float = Field(0.01, gt=0, description="σ of a place field")
    head_direction_cells: int = Field(12, ge=3, description="predicted head-direction cells")
    concentration: float = Field(20.0, gt=0, description="κ of a head-direction cell")
    side_m: float = Field(2.2, gt=0, description="side of the square box that the place cells fill")
    steps_per_trajectory: int = Field(100, ge=1)
    batch: int = Field(10, ge=1, description="trajectories in a batch")
    lr: float = Field(1e-5, gt=0, description="of RMSProp")
    momentum: float = Field(0.9, ge=0, lt=1, description="of RMSProp")
    clip_value: float = Field(1e-5, gt=0, description="largest magnitude of an entry of the gradient")
    schedule: Literal["constant", "cosine"] = Field("constant", description="of lr")
    steps: int = Field(300_000, ge=1, description="optimiser steps")
    centre_seed: int = Field(0, ge=0, lt=2**63, description="where the cells predicted are; shared by a population")
    seed: int = Field(0, ge=0, lt=2**63, description="initial weights")


class Banino(Model):
    """Rates g ``(B, T, units)`` without dropout; state: hidden, cell ``(B, cells)``, heading ``(B, 2)``.

    heading is the unit vector of the last displacement, and 0 before the first step. Integrates paths.
    """

    dropout: Tensor
    place_width_m: Tensor
    concentration: Tensor
    centre_m: Tensor
    preferred_rad: Tensor

    Config = BaninoConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"batch": 100, "lr": 1e-3, "clip_value": 1e-3, "schedule": "cosine", "steps": 6_000},
    }
    card = Card(
        id="supervised/banino-v1",
        title="LSTM with a linear layer trained on place and head-direction cells",
        citation="""@article{banino2018,
  title = {Vector-based navigation using grid-like representations in artificial agents},
  author = {Banino, Andrea and Barry, Caswell and Uria, Benigno and Blundell, Charles and Lillicrap, Timothy and
            Mirowski, Piotr and others},
  journal = {Nature},
  volume = {557},
  pages = {429--433},
  year = {2018}
}""",
        training_extent_m=2.2,
        lattice="emerged",
        supervision="target",
        settings_tried=5,
        tuned_on="loss",
        deviations=(
            "Rates are the linear layer's without dropout; the authors drew their maps with dropout on.",
            "The initial heading is the direction of the first displacement, and turns are those of displacements; the "
            "authors' animal has a heading of its own.",
            "There is no weight decay: the authors' entered no loss in their program.",
            "Weights are uniform within 1/√(fan-in) and the forget gates' bias is 1 at first.",
            "RMSProp divides by the root of the mean square plus 1e-5 and starts that mean at 0; the authors' program "
            "has 1e-10 under the root and starts it at 1.",
            "Position is decoded as the mean of the place cells' centres, weighted by their predicted probabilities.",
        ),
        provenance={
            "cells": "the paper",
            "units": "the paper; 256 in the authors' program",
            "dropout": "the paper",
            "place_cells": "the paper",
            "place_width_m": "the paper",
            "head_direction_cells": "the paper",
            "concentration": "the paper",
            "side_m": "the paper",
            "steps_per_trajectory": "the paper",
            "batch": "the paper; 100 in the small preset, ours",
            "lr": "the paper; 1e-3 in the small preset, ours, as its clip_value: of five pairs the one with the lowest "
            "loss of one network after 300 steps",
            "momentum": "the paper",
            "clip_value": "the paper; 1e-3 in the small preset, ours",
            "schedule": "the paper, whose rate is constant; cosine is ours",
            "steps": "reported, unverified; 6,000 in the small preset, ours",
            "centre_seed": "ours",
            "seed": "ours",
        },
    )

    def __init__(self, config: BaninoConfig | None = None) -> None:
        super().__init__(config)
        c, generator = self.config, torch.Generator().manual_seed(self.config.seed)
        n = c.cells
        each = 4 * (2 * n + c.units)  # weights to and from a place cell
        check_fits(self.card.id, "place_cells", c.place_cells, each, torch.device("cpu"), "; give fewer")

        def uniform(rows: int, columns: int) -> torch.nn.Parameter:
            return torch.nn.Parameter((2 * torch.rand(rows, columns, generator=generator) - 1) / columns**0.5)

        self.start_place = uniform(2 * n, c.place_cells)  # of h_0, then of c_0
        self.start_heading = uniform(2 * n, c.head_direction_cells)
        self.input = uniform(4 * n, 3)  # gates in the order i, f, o, c̃
        self.recurrent = uniform(4 * n, n)
        self.bias = torch.nn.Parameter(torch.zeros(4 * n))
        with torch.no_grad():
            self.bias[n : 2 * n] = 1
        self.linear = uniform(c.units, n)  # W_g
        self.place_readout = uniform(c.place_cells, c.units)
        self.place_bias = torch.nn.Parameter(torch.zeros(c.place_cells))
        self.heading_readout = uniform(c.head_direction_cells, c.units)
        self.heading_bias = torch.nn.Parameter(torch.zeros(c.head_direction_cells))
        low, high = Arena.square(c.side_m).bounds_m(torch.empty(0))
        draw = torch.Generator().manual_seed(c.centre_seed)
        self.register_buffer("centre_m", low + (high - low) * torch.rand(c.place_cells, 2, generator=draw))
        preferred_rad = math.pi * (2 * torch.rand(c.head_direction_cells, generator=draw) - 1)
        self.register_buffer("preferred_rad", preferred_rad)
        for name in ("dropout", "place_width_m", "concentration"):
            self.register_buffer(name, torch.tensor(getattr(c, name)))

    def place_code(self, position_m: Tensor) -> Tensor:
        """p at ``position_m (..., 2)``: ``(..., place_cells)``, of sum 1."""
        return softmax_place_cells(position_m, self.centre_m.to(position_m), self.place_width_m.to(position_m))

    def heading_code(self, heading: Tensor) -> Tensor:
        """d of unit vectors ``heading (..., 2)``: softmax_j(κ cos(φ − μ_j)), ``(..., head_direction_cells)``."""
        preferred = self.preferred_rad.to(heading)
        cosine = heading @ torch.stack((preferred.cos(), preferred.sin()))
        return torch.softmax(self.concentration.to(heading) * cosine, -1)

    def initial_state(self, start_m: Tensor) -> dict[str, Tensor]:
        hidden, cell = (self.place_code(start_m) @ self.start_place.to(start_m).T).chunk(2, -1)
        return {"hidden": hidden, "cell": cell, "heading": torch.zeros_like(start_m)}

    def _unroll(self, state: dict[str, Tensor], movement: Tensor, heading: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. (1): movement ``(B, T, 3)``, heading ``(B, T, 2)`` after each step -> h ``(B, T, cells)`` and state."""
        hidden, cell, n = state["hidden"], state["cell"], self.config.cells
        begins = (state["heading"] == 0).all(-1, keepdim=True).to(hidden)
        start = begins * (self.heading_code(heading[:, 0]) @ self.start_heading.to(hidden).T)
        hidden, cell = hidden + start[:, :n], cell + start[:, n:]
        drive = movement @ self.input.to(hidden).T + self.bias.to(hidden)
        recurrent, found = self.recurrent.to(hidden).T, []
        for drive_t in drive.unbind(1):
            gates = torch.addmm(drive_t, hidden, recurrent)
            entry, forget, exit_ = torch.sigmoid(gates[:, : 3 * n]).chunk(3, -1)
            cell = torch.addcmul(forget * cell, entry, torch.tanh(gates[:, 3 * n :]))
            hidden = exit_ * torch.tanh(cell)
            found.append(hidden)
        return torch.stack(found, 1), {"hidden": hidden, "cell": cell, "heading": heading[:, -1]}

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        """Eqs. (1) and (2), without dropout."""
        check_plane(self.card.id, trajectories.arena)
        begun = self.initial_state(trajectories.start_m) if state is None else state
        movement, heading = movements(trajectories.displacement_m, begun["heading"], trajectories.dt_s)
        hidden, end = self._unroll(begun, movement, heading)
        return Representation(hidden @ self.linear.to(hidden).T, end)

    def predicted_logits(self, rates: Tensor) -> tuple[Tensor, Tensor]:
        """log p̂ and log d̂ up to constants, from ``rates (..., units)``."""
        place = rates @ self.place_readout.to(rates).T + self.place_bias.to(rates)
        return place, rates @ self.heading_readout.to(rates).T + self.heading_bias.to(rates)

    def decode(self, representation: Representation) -> Tensor:
        """Mean centre of the place cells, weighted by p̂, ``(B, T, 2)``."""
        place, _ = self.predicted_logits(representation.rates)
        return torch.softmax(place, -1) @ self.centre_m.to(place)

    def recipe(self) -> Recipe:
        c = self.config
        return Recipe(
            optimizer="rmsprop",
            lr=c.lr,
            momentum=c.momentum,
            rms_decay=0.9,
            eps=1e-5,
            clip_value=c.clip_value,
            schedule=c.schedule,
            steps=c.steps,
            batch=c.batch,
        )

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[Batch]:
        """Walks as ``start_m (B, 2)``, ``movement (B, T, 3)``, ``heading (B, T, 2)``, ``position_m (B, T, 2)``.

        ``uniform (B, T, units)`` in [0, 1): a unit is kept where it is at least the dropout.
        """
        c = self.config
        check_box(self.card.id, world.arena, c.side_m)
        walk = c.batch, c.steps_per_trajectory
        check_place_cells(self.card.id, c.place_cells, weights=2 * c.cells + c.units, world=world, walk=walk)
        walks = batches_of_walks(world, seed, first, batch=c.batch, steps_per_trajectory=c.steps_per_trajectory)
        return self._with_masks(walks, world, seed, first)

    def _with_masks(self, walks: Iterator[dict[str, Tensor]], world: World, seed: int, first: int) -> Iterator[Batch]:
        shape = self.config.batch, self.config.steps_per_trajectory, self.config.units
        for k, walk in enumerate(walks, first):
            generator = batch_generator(world, seed, k)
            uniform = torch.rand(shape, generator=generator, device=world.device, dtype=world.dtype)
            unknown = torch.zeros_like(walk["start_m"])
            movement, heading = movements(walk.pop("displacement_m"), unknown, world.dt_s)
            yield walk | {"movement": movement, "heading": heading, "uniform": uniform}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. (3), with dropout."""
        hidden, _ = self._unroll(self.initial_state(batch["start_m"]), batch["movement"], batch["heading"])
        kept = (batch["uniform"] >= self.dropout).to(hidden) / (1 - self.dropout)
        place, heading = self.predicted_logits(kept * (hidden @ self.linear.T))
        of_place = _cross_entropy(self.place_code(batch["position_m"]), place)
        of_heading = _cross_entropy(self.heading_code(batch["heading"]), heading)
        return {"total": of_place + of_heading, "place": of_place, "head_direction": of_heading}

    def population_gradients(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What autograd finds for `loss`, for S networks at once; rows are B trajectories, a step after the other."""
        movement, heading, position_m, uniform = (
            batch[name].transpose(0, 1).flatten(0, 1) for name in ("movement", "heading", "position_m", "uniform")
        )
        (trajectories, steps, _), n, networks = batch["movement"].shape, self.config.cells, len(params["bias"])
        places = buffers["centre_m"], buffers["place_width_m"]
        cosine = heading @ torch.stack((buffers["preferred_rad"].cos(), buffers["preferred_rad"].sin()))
        heading_code = torch.softmax(buffers["concentration"][:, None, None] * cosine, -1)  # (S, T·B, directions)

        codes = {"place": place_code(batch["start_m"], *places), "heading": heading_code[:, :trajectories]}
        begun = torch.cat(list(codes.values()), -1) @ torch.cat([params[f"start_{name}"] for name in codes], -1).mT
        hidden, cell = cosine.new_empty(2, networks, steps + 1, trajectories, n)
        hidden[:, 0], cell[:, 0] = begun[..., :n], begun[..., n:]
        drive = torch.baddbmm(params["bias"][:, None], movement.expand(networks, -1, -1), params["input"].mT)
        gates = drive.view(networks, steps, trajectories, 4 * n)
        for t in range(steps):
            gates[:, t].baddbmm_(hidden[:, t], params["recurrent"].mT)
            lstm_step_(gates[:, t], cell[:, t], cell[:, t + 1], hidden[:, t + 1])
        seen, dropout = hidden[:, 1:].flatten(1, 2), buffers["dropout"][:, None, None]  # h of all rows
        kept = (uniform >= dropout).to(seen) / (1 - dropout)
        rates = (seen @ params["linear"].mT).mul_(kept)
        place_logits, heading_logits = (
            torch.baddbmm(params[f"{name}_bias"][:, None], rates, params[f"{name}_readout"].mT)
            for name in ("place", "heading")
        )
        by_place, of_place = place_cell_cross_entropy(place_logits, position_m, *places)
        predicted = torch.log_softmax(heading_logits, -1)
        of_heading = -(heading_code * predicted).sum(-1).mean(-1)
        by_heading = (predicted.exp() - heading_code) / len(heading)

        by_rates = torch.baddbmm(by_place @ params["place_readout"], by_heading, params["heading_readout"]).mul_(kept)
        by_hidden = (by_rates @ params["linear"]).view(networks, steps, trajectories, n)
        by_cell = torch.zeros_like(by_hidden[:, 0])
        for t in reversed(range(steps)):
            lstm_step_backward_(gates[:, t], cell[:, t], cell[:, t + 1], by_hidden[:, t], by_cell)
            if t:
                by_hidden[:, t - 1].baddbmm_(gates[:, t], params["recurrent"])
        by_begun = torch.cat((gates[:, 0] @ params["recurrent"], by_cell), -1)
        by_gates = gates.flatten(1, 2)  # gates are the gradients by what drives them now

        grads = {
            "input": by_gates.mT @ movement,
            "recurrent": by_gates.mT @ hidden[:, :-1].flatten(1, 2),
            "bias": by_gates.sum(1),
            "linear": by_rates.mT @ seen,
            "place_readout": by_place.mT @ rates,
            "place_bias": by_place.sum(1),
            "heading_readout": by_heading.mT @ rates,
            "heading_bias": by_heading.sum(1),
        }
        grads |= {f"start_{name}": by_begun.mT @ code for name, code in codes.items()}
        return grads, {"total": of_place + of_heading, "place": of_place, "head_direction": of_heading}


def _cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    return -(target * torch.log_softmax(logits, -1)).sum(-1).mean()


def movements(displacement_m: Tensor, last: Tensor, dt_s: float) -> tuple[Tensor, Tensor]:
    """Speed in m/s, cosine and sine of the turn ``(B, T, 3)``, and heading ``(B, T, 2)``, a unit vector.

    last ``(B, 2)`` is the heading before the first step, 0 if unknown: then it is that of the first displacement. A
    step of no length keeps the heading, which is along x if there was none.
    """
    length_m = displacement_m.norm(dim=-1, keepdim=True)
    east = torch.zeros_like(last)
    east[:, 0] = 1
    unknown = (last == 0).all(-1, keepdim=True)
    direction = torch.cat((torch.where(unknown, east, last)[:, None], displacement_m / length_m), 1)  # 0/0 is not read
    moved = torch.nn.functional.pad(length_m[..., 0] > 0, (1, 0), value=True)
    steps = torch.arange(moved.shape[1], device=moved.device).expand_as(moved)
    heading = direction.gather(1, torch.where(moved, steps, 0).cummax(1).values[..., None].expand_as(direction))
    before, now = heading[:, :-1], heading[:, 1:]
    before = torch.cat((torch.where(unknown[:, None], now[:, :1], before[:, :1]), before[:, 1:]), 1)
    cosine = (before * now).sum(-1, keepdim=True)
    sine = before[..., :1] * now[..., 1:] - before[..., 1:] * now[..., :1]
    return torch.cat((length_m / dt_s, cosine, sine), -1), now
