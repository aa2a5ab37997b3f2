"""What tests share: a small model that can be trained, grids whose place and rates can be changed, and their score."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from entorhinal.benchmarks import evaluate
from entorhinal.benchmarks.records import Record
from entorhinal.families.model import Card, Config, Model, Recipe, Representation
from entorhinal.families.world import Trajectories


class FollowerConfig(Config):
    units: int = 6
    target: float = 0.5
    penalty: float = 0.01
    lr: float = 1e-2
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    optimizer: str = "adam"
    schedule: str = "constant"
    warmup_steps: int = 0
    accumulation: int = 1
    momentum: float = 0.0
    plateau_patience_steps: int = 10_000
    steps: int = 40
    batch: int = 5
    seed: int = 0
    bad_step: int = -1
    """Batches from this one on hold a number that makes one term of networks with target > 1 infinite."""


class Follower(Model):
    """Learns tanh(w · x) = target; parameters of two shapes, numbers of its own as buffers."""

    target: Tensor
    penalty: Tensor
    scale: Tensor
    Config = FollowerConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"short": {"steps": 10}}
    card = Card(
        id="tests/follower-v1",
        title="Follower",
        citation="@article{f2026, title = {F}, author = {N, N.}, year = {2026}}",
        lattice="none",
        supervision="none",
        provenance=dict.fromkeys(FollowerConfig.model_fields, "for tests"),
    )

    def __init__(self, config: FollowerConfig) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(config.seed)
        self.weight = torch.nn.Parameter(torch.randn(2, config.units, generator=generator))
        self.bias = torch.nn.Parameter(torch.zeros(()))
        self.register_buffer("target", torch.tensor(config.target))
        self.register_buffer("penalty", torch.tensor(config.penalty))
        self.register_buffer("scale", torch.linspace(0.5, 1.5, config.units))

    def recipe(self) -> Recipe:
        return Recipe(**{k: getattr(self.config, k) for k in Recipe.model_fields if k in FollowerConfig.model_fields})

    def training_data(self, world, seed, first=0) -> Iterator[dict[str, Tensor]]:
        while True:
            x = torch.randn(
                self.config.batch, 2, generator=world.generator(seed + first), device=world.device, dtype=world.dtype
            )
            bad = float(0 <= self.config.bad_step <= first)
            yield {"x": x, "bad": torch.tensor(bad, device=world.device, dtype=world.dtype)}
            first += 1

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        miss = (torch.tanh(batch["x"] @ self.weight * self.scale + self.bias) - self.target).square().mean()
        size = self.weight.square().sum() / (1 - batch["bad"] * (self.target > 1))
        return {"total": miss + self.penalty * size, "miss": miss, "size": size}

    def represent(self, trajectories, state=None, *, generator=None) -> Representation:
        return Representation(torch.tanh(trajectories.position_m @ self.weight * self.scale))


@pytest.fixture
def follower() -> type[Follower]:
    return Follower


@pytest.fixture(scope="module")
def grid(request: pytest.FixtureRequest) -> type[Model]:
    """A path integrator with the rates of the module's ``IDEAL``; subclasses change where it is or what it fires."""
    ideal = request.module.IDEAL

    class Grid(Model):
        Config = type(ideal.config)
        card = ideal.card

        def initial_state(self, start_m: Tensor) -> Tensor:
            return start_m.double()

        def place(self, trajectories: Trajectories, before_m: Tensor) -> Tensor:
            return before_m[:, None] + trajectories.displacement_m.double().cumsum(1)

        def rates(self, place_m: Tensor) -> Tensor:
            return ideal.rates_at(place_m)

        def represent(self, trajectories, state=None, *, generator=None) -> Representation:
            place_m = self.place(trajectories, self.initial_state(trajectories.start_m) if state is None else state)
            return Representation(self.rates(place_m.float()), place_m[:, -1])

    return Grid


@pytest.fixture(scope="module")
def score(request: pytest.FixtureRequest) -> Callable[..., Record]:
    """``score(model, seed=0, **config)``: the record of the module's ``TASK``."""

    def scored(model: str | Model, seed: int = 0, **config: Any) -> Record:
        (record,) = evaluate(model, [request.module.TASK], config=config, seeds=[seed], device="cpu")
        assert record.status != "failed", record.error
        return record

    return scored
