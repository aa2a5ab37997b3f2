"""A rectified network trained to predict place cells (Sorscher, Mel, Ganguli & Ocko 2019; Sorscher et al. 2023).

The network knows the place code where it starts, then only how far it moves, and must give the place code all along:

    h_0 = W_0 p(x_0)      h_t = [W h_{t−1} + W_in Δx_t]₊      p̂_t = softmax(W_out h_t)      (1)
    L = −⟨Σ_i p_i(x_t) log p̂_{t,i}⟩ + λ‖W‖²      mean over trajectories and steps            (2)

Nothing has a bias, Δx is in metres a step, and the units h are the would-be grid cells. The shape of the place cells p
decides all. With a centre and a surround (a difference of softmaxes) the spectrum of their covariance peaks on a ring,
whose radius sets the period, and rectification makes hexagons of it. With Gaussian place cells there is no ring, and
networks learn to integrate paths without grids (Schaeffer et al. 2022): the period is put in with the surround. The
position decoded is the mean centre of the three most active predicted cells.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.codes import difference_of_softmaxes_place_cells, softmax_place_cells, square_distance
from entorhinal.families.controls.lowpass_noise import LowpassNoise
from entorhinal.families.errors import InputError
from entorhinal.families.memory import check_fits
from entorhinal.families.model import Batch, Card, Config, Model, Recipe, Representation, State
from entorhinal.families.supervised.kernels import Precision, rectified_population_gradients
from entorhinal.families.supervised.walks import batches_of_walks, check_box, check_place_cells, check_plane
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["PlaceNetwork", "Sorscher", "SorscherConfig"]

_LATTICE, _REACH = 50, 4
"""Places a side at which covering is checked, and the σ that a place cell reaches."""
_PRECISIONS: dict[str, Precision] = {"highest": "float32", "high": "tf32", "medium": "bf16"}


class SorscherConfig(Config):
    units: int = Field(4096, ge=1, description="recurrent units")
    place_cells: int = Field(512, ge=3, description="predicted place cells")
    place_width_m: float = Field(0.12, gt=0, description="σ of a place field's centre")
    surround_variance_ratio: float = Field(2.0, gt=1, description="σ² of the surround in σ² of the centre")
    target: Literal["dog", "gaussian"] = Field("dog", description="place code: difference of softmaxes, or one softmax")
    weight_decay: float = Field(1e-4, ge=0, description="λ, on the recurrent weights alone")
    side_m: float = Field(2.2, gt=0, description="side of the square box that the place cells fill")
    steps_per_trajectory: int = Field(20, ge=1)
    batch: int = Field(200, ge=1, description="trajectories in a batch")
    lr: float = Field(1e-4, gt=0, description="of Adam")
    schedule: Literal["constant", "cosine"] = Field(  # the default is not written: older conditions keep their hash
        "constant", description="of lr", exclude_if=lambda value: value == "constant"
    )
    steps: int = Field(100_000, ge=1, description="optimiser steps")
    centre_seed: int = Field(0, ge=0, lt=2**63, description="where the place cells are; shared by a population")
    seed: int = Field(0, ge=0, lt=2**63, description="initial weights")


class PlaceNetwork(Model):
    """What networks share that know the place code at their start, then displacements, and predict it all along.

    Config is `SorscherConfig` or a subclass of it. A subclass adds its weights, W among
    them, and what is abstract here. Rates ``(B, T, units)``; integrates paths.
    """

    place_width_m: Tensor
    surround_variance_ratio: Tensor
    weight_decay: Tensor
    centre_m: Tensor
    recurrent: torch.nn.Parameter
    """W: what the penalty falls on."""

    def __init__(self, config: SorscherConfig | None = None) -> None:
        super().__init__(config)
        each = 4 * 2 * self.config.units  # weights to and from a place cell, at the least
        check_fits(self.card.id, "place_cells", self.config.place_cells, each, torch.device("cpu"), "; give fewer")
        low, high = Arena.square(self.config.side_m).bounds_m(torch.empty(0))
        random = torch.Generator().manual_seed(self.config.centre_seed)
        centres = torch.rand(self.config.place_cells, 2, generator=random)
        self.register_buffer("centre_m", low + (high - low) * centres)  # each axis by its own extent
        for name in ("place_width_m", "surround_variance_ratio", "weight_decay"):
            self.register_buffer(name, torch.tensor(getattr(self.config, name)))

    def place_code(self, position_m: Tensor) -> Tensor:
        """p at ``position_m (..., 2)``, the target: ``(..., place_cells)``, non-negative and of sum 1."""
        centre_m, width_m = self.centre_m.to(position_m), self.place_width_m.to(position_m)
        if self.config.target == "gaussian":
            return softmax_place_cells(position_m, centre_m, width_m)
        ratio = self.surround_variance_ratio.to(position_m)
        return difference_of_softmaxes_place_cells(position_m, centre_m, width_m, ratio)

    @abstractmethod
    def initial_state(self, start_m: Tensor) -> Tensor:
        """The state at ``start_m (B, 2)``, ``(B, ...)``."""

    @abstractmethod
    def _unroll(self, hidden: Tensor, displacement_m: Tensor) -> tuple[Tensor, Tensor]:
        """Rates ``(B, T, units)`` along ``displacement_m (B, T, 2)``, and the state at the end."""

    @abstractmethod
    def predicted_logits(self, rates: Tensor) -> Tensor:
        """log p̂ up to a constant, from ``rates (..., units)``: ``(..., place_cells)``."""

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        check_plane(self.card.id, trajectories.arena)
        hidden = self.initial_state(trajectories.start_m) if state is None else state
        return Representation(*self._unroll(hidden, trajectories.displacement_m))

    def decode(self, representation: Representation) -> Tensor:
        """Mean centre of the three most active predicted cells, ``(B, T, 2)``."""
        active = self.predicted_logits(representation.rates).topk(3).indices
        return self.centre_m.to(representation.rates)[active].mean(-2)

    def recipe(self) -> Recipe:
        c = self.config
        return Recipe(optimizer="adam", lr=c.lr, schedule=c.schedule, steps=c.steps, batch=c.batch)

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[Batch]:
        """Walks as ``start_m (B, 2)``, ``displacement_m (B, T, 2)``, ``position_m (B, T, 2)``."""
        check_box(self.card.id, world.arena, self.config.side_m)
        self._check_places(world)
        batch, steps = self.config.batch, self.config.steps_per_trajectory
        return batches_of_walks(world, seed, first, batch=batch, steps_per_trajectory=steps)

    def _check_places(self, world: World) -> None:
        """Refuse place cells that leave most of the arena uncovered, or of which memory cannot hold so many."""
        c, at = self.config, (torch.arange(_LATTICE) + 0.5) / _LATTICE - 0.5
        walk = c.batch, c.steps_per_trajectory
        check_place_cells(self.card.id, c.place_cells, weights=2 * c.units, world=world, walk=walk)
        place_m = c.side_m * torch.stack(torch.meshgrid(at, at, indexing="ij"), -1)
        near = square_distance(place_m, self.centre_m.to(place_m)).amin(-1) <= (_REACH * c.place_width_m) ** 2
        if (covered := float(near.double().mean())) < 0.5:
            raise InputError(
                f"{self.card.id}: {c.place_cells} place cells of place_width_m={c.place_width_m:g} reach {covered:.0%} "
                f"of the arena (within {_REACH} σ); give more place_cells or a larger place_width_m"
            )

    def _cross_entropy(self, logits: Tensor, position_m: Tensor) -> Tensor:
        """In nats, a mean: logits ``(B, T, place_cells)``, position_m ``(B, T, 2)`` -> 0-d."""
        return -(self.place_code(position_m) * torch.log_softmax(logits, -1)).sum(-1).mean()

    def _by_hand(
        self,
        gradients: Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]],
        params: dict[str, Tensor],
        buffers: dict[str, Tensor],
        batch: Batch,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Gradients of the loss and its terms by a function of `entorhinal.families.supervised.kernels`."""
        precision = _PRECISIONS[torch.get_float32_matmul_precision()]
        return gradients(params, buffers, batch, surround=self.config.target == "dog", precision=precision)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. (2)."""
        rates, _ = self._unroll(self.initial_state(batch["start_m"]), batch["displacement_m"])
        cross_entropy = self._cross_entropy(self.predicted_logits(rates), batch["position_m"])
        weight_penalty = self.weight_decay * self.recurrent.square().sum()
        terms = {"cross_entropy": cross_entropy, "weight_penalty": weight_penalty}
        return {"total": cross_entropy + weight_penalty, **terms}


class Sorscher(PlaceNetwork):
    """Rates ``(B, T, units)`` and state h ``(B, units)``, eq. (1); integrates paths."""

    Config = SorscherConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"units": 512, "lr": 1e-3, "weight_decay": 1e-5, "steps": 20_000},
        "small_gaussian": {"units": 512, "lr": 1e-3, "weight_decay": 1e-5, "steps": 20_000, "target": "gaussian"},
        "gaussian": {"target": "gaussian"},
    }
    card = Card(
        id="supervised/sorscher-v1",
        title="Recurrent network trained on place cells",
        citation="""@inproceedings{sorscher2019,
  title = {A unified theory for the origin of grid cells through the lens of pattern formation},
  author = {Sorscher, Ben and Mel, Gabriel C. and Ganguli, Surya and Ocko, Samuel A.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {32},
  year = {2019}
}
@article{sorscher2023,
  title = {A unified theory for the computational and mechanistic origins of grid cells},
  author = {Sorscher, Ben and Mel, Gabriel C. and Ocko, Samuel A. and Giocomo, Lisa M. and Ganguli, Surya},
  journal = {Neuron},
  volume = {111},
  number = {1},
  pages = {121--137},
  year = {2023}
}
"""
        + LowpassNoise.card.citation,
        training_extent_m=2.2,
        lattice="emerged",
        supervision="target",
        settings_tried=28,
        tuned_on="grid units",
        deviations=(
            "Walks stop at the walls and turn along the wall ahead; in the authors' program they turn along the "
            "nearest wall and may step outside by a little.",
            "Where the difference of softmaxes is 0/0 in the authors' program, far from all centres, it is uniform.",
        ),
        provenance={
            "units": "authors' program",
            "place_cells": "authors' program",
            "place_width_m": "authors' program",
            "surround_variance_ratio": "authors' program, where it multiplies σ²",
            "target": "authors' program; the Gaussian alternative is in their paper and in Schaeffer et al. 2022",
            "weight_decay": "authors' program; 1e-5 in the small presets, ours: with 512 units, lr 1e-3 and batches of "
            "100, 1e-4 emptied W in 250 steps, and 1,500 taught it under 1 % of the 0.09 nats there are to learn",
            "side_m": "authors' program, after Banino et al. 2018",
            "steps_per_trajectory": "authors' program",
            "batch": "authors' program",
            "lr": "authors' program; the small presets, ours, keep lr x steps at the 20 of the sweeps of Schaeffer et "
            "al. 2022 (1,024 units, 1e-4, 200,000 steps)",
            "schedule": "authors' program, whose rate is constant; cosine is ours",
            "steps": "authors' program: 100 epochs of 1,000 batches",
            "centre_seed": "ours",
            "seed": "ours; uniform weights with the bounds of torch.nn.RNN and torch.nn.Linear, as in authors' program",
        },
    )

    def __init__(self, config: SorscherConfig | None = None) -> None:
        super().__init__(config)
        n, places = self.config.units, self.config.place_cells
        generator = torch.Generator().manual_seed(self.config.seed)

        def uniform(rows: int, columns: int, fan: int) -> torch.nn.Parameter:
            return torch.nn.Parameter((2 * torch.rand(rows, columns, generator=generator) - 1) / fan**0.5)

        self.start = uniform(n, places, places)  # W_0
        self.input = uniform(n, 2, n)  # W_in
        self.recurrent = uniform(n, n, n)  # W
        self.readout = uniform(places, n, n)  # W_out

    def predicted_logits(self, rates: Tensor) -> Tensor:
        return rates @ self.readout.to(rates).T

    def initial_state(self, start_m: Tensor) -> Tensor:
        return self.place_code(start_m) @ self.start.to(start_m).T  # not rectified

    def _unroll(self, hidden: Tensor, displacement_m: Tensor) -> tuple[Tensor, Tensor]:
        recurrent, rates = self.recurrent.to(hidden).T, []
        drive = displacement_m @ self.input.to(hidden).T  # (B, T, N)
        for drive_t in drive.unbind(1):
            hidden = torch.addmm(drive_t, hidden, recurrent).relu()
            rates.append(hidden)
        return torch.stack(rates, 1), hidden

    def connectivity(self) -> Tensor:
        return self.recurrent.detach()

    def population_gradients(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What autograd finds for `loss`, for S networks at once."""
        return self._by_hand(rectified_population_gradients, params, buffers, batch)
