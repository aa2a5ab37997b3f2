"""Grid cells as actionable representations (Dorrell, Latham, Behrens & Whittington 2023).

An action, a step Δ, must change the code in the same way wherever the animal is: g(x + Δ) = T(Δ) g(x). Linear maps T
that multiply as steps add make g a mixture of plane waves, of a number that the units bound,

    g(x) = W [1, cos ω₁·x, sin ω₁·x, ..., cos ω_M·x, sin ω_M·x],   D units, 2M + 1 <= D                          (1)

whose phases ω·x an action turns by ω·Δ: the path is integrated exactly. Weights W and frequencies ω are such that codes
of different places differ, rates are not negative, and no unit is much more active in one room than in another:

    minimise   a mean_{x,x′} exp(−‖ĝ(x) − ĝ(x′)‖²/2σ²) χ(x, x′)  +  λ_pos mean max(0, −g̃)  +  λ_norm mean (ρ − 1)²  (2)
    χ(x, x′) = 1 − exp(−‖x − x′‖²/2l²)                                                                           (3)

over places x of a room, normally distributed about its centre with a width of 1. ĝ are rates scaled such that each
unit's squares sum to 1 over the places drawn; g̃ are scaled to a root mean square of 0.33 over this and other rooms,
normally distributed about it, and ρ is the sum of a unit's squares in another room over that in this one. λ_pos is a
multiplier: its logarithm climbs while mean negativity is above a target, and falls below (the authors' GECO).
Several modules of hexagonal lattices emerge; without λ_pos they do not.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.model import Card, Config, Model, Recipe, Representation, State
from entorhinal.families.world import Trajectories, World

__all__ = ["BLOCK", "Actionable", "ActionableConfig"]

BLOCK = 64  # batches made at once
_RATE_SCALE = 0.327
"""Root mean square of g̃: the authors' 16/√2400 for 16 rooms of 150 places."""
_CLIMB = 2e-3
"""Change of log λ_pos a unit of its parameter, which Adam moves by about lr a step: 2e-4 a step."""


class ActionableConfig(Config):
    units: int = Field(25, ge=3, description="D; there are (D − 1) // 2 plane waves")
    unit_m: float = Field(0.1, gt=0, description="metres in the unit of x, that of the room's width")
    separation_weight: float = Field(25.0, ge=0, description="a")
    separation_variance: float = Field(0.4, gt=0, description="σ², of distances of codes")
    neighbourhood: float = Field(0.5, gt=0, description="l, within which places may look alike")
    negativity_weight: float = Field(0.1, ge=0, description="λ_pos at the start; 0 lets rates be negative")
    log_negativity: float = Field(-9.0, description="target of the logarithm of mean negativity")
    norm_weight: float = Field(0.005, ge=0, description="λ_norm")
    places: int = Field(150, ge=2, description="places drawn in a room")
    rooms: int = Field(15, ge=1, description="other rooms")
    room_spread: float = Field(5.0, gt=0, description="standard deviation of the other rooms' centres")
    largest_start: float = Field(2.0, gt=0, description="frequencies ω begin uniform between 0 and this, in each axis")
    lr: float = Field(0.1, gt=0, description="of Adam, at first; both its decay rates are 0.9")
    steps: int = Field(75_000, ge=1)
    seed: int = Field(0, ge=0)


class Actionable(Model):
    """Rates g ``(B, T, units)``, which may be negative; the state is the phases ω·x, ``(B, M)``."""

    separation_weight: Tensor
    separation_variance: Tensor
    neighbourhood: Tensor
    negativity_weight: Tensor
    log_negativity: Tensor
    norm_weight: Tensor

    Config = ActionableConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"tiny": {"units": 13, "places": 60, "rooms": 5, "steps": 4000}}
    card = Card(
        id="function_optimization/actionable-v1",
        title="Actionable representations",
        citation="""@inproceedings{dorrell2023actionable,
  title = {Actionable Neural Representations: Grid Cells from Minimal Constraints},
  author = {Dorrell, William and Latham, Peter E. and Behrens, Timothy E. J. and Whittington, James C. R.},
  booktitle = {International Conference on Learning Representations},
  eprint = {2209.15563},
  year = {2023}
}""",
        training_extent_m=2.2,
        lattice="emerged",
        supervision="input",
        deviations=(
            "Rates are rescaled to a root mean square of 1 over the places of their room, as only their shape matters.",
            "The multiplier of negativity climbs by about 2e-4 a step in its logarithm with Adam, the authors' by 1e-4 "
            "times a moving mean of log(log negativity + 9).",
            "The norm in other rooms is that of scaled rates; the authors' program takes it of unscaled ones.",
            "Places are drawn anew at every step; the authors keep them for five.",
            "The rate falls as half a cosine, and the last network is kept, not the best of the run.",
        ),
        provenance={
            "units": "authors' program",
            "unit_m": "ours: periods of about 0.5 m",
            "separation_weight": "authors' program: 100 times a sum over 150² pairs, over 300²",
            "separation_variance": "authors' program",
            "neighbourhood": "authors' program",
            "negativity_weight": "authors' program",
            "log_negativity": "authors' program",
            "norm_weight": "authors' program",
            "places": "authors' program",
            "rooms": "authors' program",
            "room_spread": "authors' program",
            "largest_start": "authors' program",
            "lr": "authors' program",
            "steps": "authors' program",
            "seed": "ours",
        },
    )

    def __init__(self, config: ActionableConfig | None = None) -> None:
        super().__init__(config)
        c, random = self.config, torch.Generator().manual_seed(self.config.seed)
        waves = (c.units - 1) // 2
        self.weights = torch.nn.Parameter(torch.randn(c.units, 2 * waves + 1, generator=random))  # W
        self.frequency = torch.nn.Parameter(c.largest_start * torch.rand(waves, 2, generator=random))  # ω
        self.multiplier = torch.nn.Parameter(torch.zeros(()))  # log(λ_pos / negativity_weight) / _CLIMB
        for name in ("separation_weight", "separation_variance", "neighbourhood"):
            self.register_buffer(name, torch.tensor(getattr(c, name)))
        for name in ("negativity_weight", "log_negativity", "norm_weight"):
            self.register_buffer(name, torch.tensor(getattr(c, name)))

    def initial_state(self, start_m: Tensor) -> Tensor:
        """Phases ``(B, M)`` at ``start_m (B, 2)``."""
        return self.turn(start_m)

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        phase = self.initial_state(trajectories.start_m) if state is None else state
        phase = phase[:, None] + self.turn(trajectories.displacement_m.cumsum(1))
        rates = self.rates(phase) / self.rates_squared().sqrt().to(phase)
        return Representation(rates, torch.remainder(phase[:, -1], 2 * math.pi))

    def turn(self, displacement_m: Tensor) -> Tensor:
        """What a step turns the phases by: ``(..., 2)`` -> ``(..., M)``."""
        return (displacement_m / self.config.unit_m) @ self.frequency.T.to(displacement_m)

    def rates(self, phase: Tensor) -> Tensor:
        """Eq. (1): phases ``(..., M)`` -> ``(..., units)``."""
        features = torch.cat((torch.ones_like(phase[..., :1]), phase.cos(), phase.sin()), -1)
        return features @ self.weights.T.to(phase)

    def rates_squared(self) -> Tensor:
        """Mean square of each unit over the plane, ``(units,)``."""
        return self.weights[:, 0].square() + self.weights[:, 1:].square().sum(1) / 2

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The three terms of eq. (2) without their weights, what moves λ_pos, and the ``total``."""
        place, others = batch["place"], batch["place"] + batch["centre"][:, None]  # (P, 2), (R, P, 2)
        here, there = self.rates(place @ self.frequency.T), self.rates(others @ self.frequency.T)
        square = here.square().sum(0)  # (units,)
        code = here / square.sqrt()
        length = code.square().sum(-1)
        apart = length[:, None] + length - 2 * code @ code.T
        far = 1 - torch.exp((place[:, None] - place).square().sum(-1) / (-2 * self.neighbourhood.square()))
        separation = (torch.exp(apart / (-2 * self.separation_variance)) * far).mean()

        both = torch.cat((here[None], there)).flatten(0, 1)
        negativity = torch.relu(-both / both.square().mean(0).sqrt()).mean() * _RATE_SCALE
        weight = self.negativity_weight * torch.exp(_CLIMB * self.multiplier.detach())
        above = (negativity.detach() + 1e-12).log() - self.log_negativity
        norm = (there.square().sum(1) / square - 1).square().mean()
        total = self.separation_weight * separation + weight * negativity + self.norm_weight * norm
        return {
            "total": total - above * (self.multiplier - self.multiplier.detach()),
            "separation": separation,
            "negativity": negativity,
            "norm": norm,
        }

    def recipe(self) -> Recipe:
        c = self.config
        return Recipe(optimizer="adam", lr=c.lr, steps=c.steps, batch=c.places, schedule="cosine", betas=(0.9, 0.9))

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """``place (places, 2)`` about the room's centre and ``centre (rooms, 2)`` of others, in units of x."""
        c = self.config
        block, skipped = divmod(first, BLOCK)
        while True:
            generator = world.generator((seed + block) % 2**63)
            drawn = torch.randn(
                BLOCK, c.places + c.rooms, 2, generator=generator, device=world.device, dtype=world.dtype
            )
            for k in range(skipped, BLOCK):
                yield {"place": drawn[k, : c.places], "centre": c.room_spread * drawn[k, c.places :]}
            block, skipped = block + 1, 0
