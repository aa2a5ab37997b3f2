"""What is a model?  The one abstract method, the optional powers, the config and the card.

A model turns trajectories into the rates of N units. That is all it must do. What more it can do (integrate paths, be
fitted, decode, show its weights) it declares by having the methods of a protocol below; nothing is inherited.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor

from entorhinal.families.errors import InputError, unknown
from entorhinal.families.world import Trajectories, World

__all__ = [
    "Batch",
    "Card",
    "Config",
    "Connected",
    "Decoder",
    "Fittable",
    "Model",
    "PathIntegrator",
    "PopulationTrainable",
    "Recipe",
    "Representation",
    "State",
    "Trainable",
    "misdeclared_powers",
]

State = Any
"""A pytree (dicts, lists, tuples) of tensors, each leaf ``(B, ...)``."""

Batch = Any
"""A pytree of tensors: all that one evaluation of a loss needs, its random numbers included."""


@dataclass(frozen=True)
class Representation:
    """What N units do along a batch of trajectories.

    rates: ``(B, T, N)`` after each step, in the dtype and on the device of the trajectories; NaN where the model has no
        answer (outside the extent of a table).
    state: whatever the model needs to go on from the last step, a pytree with leaves ``(B, ...)``; None if nothing.
    """

    rates: Tensor
    state: State = None


class Config(BaseModel):
    """A model's numbers, frozen, with units in field names. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, owner: str, values: dict[str, Any]) -> Self:
        """Build from keywords, with one clear line for the first thing wrong."""
        for key in values:
            if key not in cls.model_fields:
                raise unknown(f"config key of {owner}", key, cls.model_fields)
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "config"
            raise InputError(f"{owner}: {field} = {first['input']!r}: {first['msg']}") from None


class Recipe(Config):
    """How a model is trained; the harness does it. One optimiser step averages ``accumulation`` batches.

    lr, weight_decay, clip_norm and clip_value may differ between the networks of a population; nothing else may.
    """

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    lr: float = Field(gt=0)
    steps: int = Field(ge=1, description="optimiser steps")
    batch: int = Field(ge=1, description="trajectories in a batch; for the reader, as `training_data` makes them")
    schedule: Literal["constant", "cosine", "plateau"] = Field("constant", description="of lr, after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="lr grows linearly over these")
    plateau_factor: float = Field(0.1, gt=0, lt=1, description="lr shrinks to this fraction of itself ...")
    plateau_patience_steps: int = Field(10_000, ge=1, description="... once the total has not fallen for so long")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of a network's gradient")
    clip_value: float | None = Field(None, gt=0, description="largest magnitude of each of its entries")
    accumulation: int = Field(1, ge=1, description="batches averaged in one step")
    weight_decay: float = Field(0.0, ge=0, description="decoupled (AdamW) or added to the gradient (the others)")
    betas: tuple[float, float] = Field((0.9, 0.999), description="of Adam and AdamW")
    rms_decay: float = Field(0.99, ge=0, lt=1, description="of RMSProp")
    momentum: float = Field(0.0, ge=0, lt=1, description="of RMSProp and SGD")
    eps: float = Field(1e-8, gt=0)


class Card(BaseModel):
    """What a reader must know about a model before believing its row in a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9_]+/[a-z0-9_]+-v[1-9][0-9]*$", description="family/name-vN")
    title: str
    citation: str = Field(description="BibTeX of the source, one entry or more")
    dimensions: Literal[1, 2] = 2
    training_extent_m: float | None = Field(None, description="side of the box it was made for; None if anywhere")
    stochastic: bool = Field(False, description="a generator changes its rates")
    noisy_state: bool = Field(
        False, description="its noise moves its state; tasks give it a generator, and noise of reading alone none"
    )
    reads_heading: bool = Field(False, description="its rates depend on heading_rad")
    lattice: Literal["given", "scale given", "emerged", "none"] = Field(
        description="what was put in: the lattice itself, only its scale, neither (it emerged), or there is none"
    )
    supervision: Literal["none", "pairs", "input", "target"] = Field(
        description="its need of known positions: none, to choose pairs, as input, as training target"
    )
    tasks: tuple[str, ...] = Field(
        (
            "gridness",
            "path_integration",
            "attractor",
            "generalization",
            "modules",
            "topology",
            "capacity",
            "isometry",
            "robustness",
            "cost",
        ),
        description="tasks that make sense for it",
    )
    deviations: tuple[str, ...] = Field((), description="where it departs from the paper")
    settings_tried: int | None = Field(
        1, ge=1, description="configs compared before this one was settled, itself included; None if not counted"
    )
    tuned_on: str = Field("", description="what they were compared by; empty if by nothing")
    gpu_hours: float | None = Field(None, ge=0, description="of training them all, about; None if not counted")
    provenance: dict[str, str] = Field(default_factory=dict, description="where each default of the config comes from")
    interface_version: int = Field(1, ge=1, description="of this interface, for which the model is written")
    expected_failures: dict[str, str] = Field(
        default_factory=dict, description="checks of check_model that must fail, each with its reason"
    )

    @field_validator("citation")
    @classmethod
    def _looks_like_bibtex(cls, text: str) -> str:
        if not text.lstrip().startswith("@"):
            raise ValueError("citation must be BibTeX, beginning with '@article{key,' or alike")
        return text

    @property
    def family(self) -> str:
        return self.id.partition("/")[0]


class Model(torch.nn.Module, ABC):
    """A model of grid cells: `represent`, a frozen `Config` and a `Card`.

    A subclass sets ``Config`` and ``card``, builds its tensors in ``__init__(config)`` and writes `represent`. It is a
    PyTorch module, so its buffers and parameters move between devices and are saved without a word more.
    """

    Config: ClassVar[type[Config]]
    card: ClassVar[Card]
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Named sets of config values, such as ``tiny``."""

    def __init__(self, config: BaseModel | None = None) -> None:
        super().__init__()
        self.config: Any = self.Config() if config is None else config

    @classmethod
    def make(cls, **values: Any) -> Self:
        """Build from config keywords; a wrong one raises `InputError` with the nearest right name."""
        return cls(cls.Config.parse(cls.card.id, values))

    @classmethod
    def preset(cls, name: str) -> dict[str, Any]:
        """The config values of a preset; an unknown one raises `InputError` with the nearest right name."""
        if name not in cls.presets:
            raise unknown(f"preset of {cls.card.id}", name, cls.presets)
        return dict(cls.presets[name])

    @abstractmethod
    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        """Rates of the N units after each step of ``trajectories`` (B trials, T steps): `Representation` (B, T, N).

        state: where an earlier chunk of the same trials ended. Given one, ``start_m`` is not read. Without one, the
            trial begins at ``start_m``.
        generator: the source of all randomness. Without it the model is free of noise.
        """


@runtime_checkable
class PathIntegrator(Protocol):
    """Knows where it is from start, displacement, dt and arena alone; positions and headings change nothing."""

    def initial_state(self, start_m: Tensor) -> State:
        """The state at ``start_m (B, D)``, a pytree with leaves ``(B, ...)``."""


@runtime_checkable
class Trainable(Protocol):
    """Learns by gradient descent on its `loss`, which the harness does, for many networks side by side.

    Numbers that differ between the networks of a population are 0-d buffers named as their config fields (a Python
    float would silently be shared), or fields of the `Recipe`. A model may also have ``constrain(params, batch) ->
    params``: applied to the parameters (a dict by name) after each step with that step's batch, pure (clamps, unit
    norms); what it does not return stays as it is.
    """

    def recipe(self) -> Recipe:
        """Optimiser, rates, steps."""

    def training_data(self, world: World, seed: int, first: int = 0) -> Iterator[Batch]:
        """Batches without end, on the device and in the dtype of ``world``; all of the same shapes.

        Batch k is a function of ``seed`` and k alone, and the first one given is batch ``first``: a resumed run goes on
        where it stopped.
        """

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Terms by name, each 0-d, among them ``total``, which is minimised. Pure, and fit for `torch.func.vmap`."""


@runtime_checkable
class PopulationTrainable(Trainable, Protocol):
    """Brings gradients of its own for S networks at once, faster than the harness's ``vmap(grad(loss))``."""

    def population_gradients(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Gradients of the total, by parameter, ``(S, ...)`` each, and the terms, ``(S,)`` each.

        params: by name, ``(S, ...)``. buffers: 0-d ones as ``(S,)``, all others as they are (one for all networks).
        """


@runtime_checkable
class Fittable(Protocol):
    """Is made by a computation on a world other than gradient training (an eigenproblem, say); `fit` twice is once."""

    def fit(self, world: World) -> None:
        """Compute the model's buffers for ``world``."""


@runtime_checkable
class Decoder(Protocol):
    """Reads position back from its own rates."""

    def decode(self, representation: Representation) -> Tensor:
        """Estimated position ``(B, T, D)`` in metres, NaN where undecodable.

        A decoder that follows a periodic phase gives the path up to a constant; scores anchor it at the first step.
        """


@runtime_checkable
class Connected(Protocol):
    """Has recurrent weights to show."""

    def connectivity(self) -> Tensor:
        """Weights ``(N, N)``, row = target, column = source; of one representative target (1, N) where N is large."""


_POWERS: dict[type, tuple[str, ...]] = {
    PathIntegrator: ("initial_state",),
    Trainable: ("recipe", "training_data", "loss"),
    PopulationTrainable: ("population_gradients",),
    Fittable: ("fit",),
    Decoder: ("decode",),
    Connected: ("connectivity",),
}


def misdeclared_powers(cls: type[Model]) -> list[str]:
    """What is wrong with the powers that a class declares by its methods: incomplete ones, other parameters."""
    wrong = []
    for power, names in _POWERS.items():
        found = [name for name in names if hasattr(cls, name)]
        if found and len(found) < len(names):
            missing = ", ".join(f"{name}()" for name in names if name not in found)
            wrong.append(f"has {found[0]}(), but not {missing}: add what {power.__name__} lacks, or rename it")
        for name in found:
            wanted = inspect.signature(getattr(power, name))
            try:
                inspect.signature(getattr(cls, name)).bind(*wanted.parameters)
            except (TypeError, ValueError):
                shown = ", ".join(list(wanted.parameters)[1:])
                wrong.append(f"{name} must be a method that takes ({shown}), as {power.__name__} has it; or rename it")
    return wrong
