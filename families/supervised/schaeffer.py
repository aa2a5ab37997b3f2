"""One network, many choices: cells, non-linearities, targets and widths (Schaeffer, Khona & Fiete 2022).

Which of the choices that a modeller makes give grids, and which a network that knows its place? The network knows the
code of its start, then displacements alone (`entorhinal.families.supervised.cells`), and must give it all along:

    cartesian   p = x                                     mean squared error
    gaussian    p_i = softmax_i(−d_i²/2σ²)                cross entropy, as for all below      d_i = |x − c_i|
    dos         difference of softmaxes of σ² and sσ²     `difference_of_softmaxes_place_cells`, as supervised/sorscher
    dog         δ_i = exp(−d_i²/2σ²) − α exp(−d_i²/2sσ²)  shifted to a least value of 0 and divided by their sum

Dos and dog differ in what normalises each Gaussian: all cells, or nothing. At α = 1, the authors' true difference of
Gaussians, centre and surround cancel in the middle of a field and the spectrum of p is largest at 0. At α = 1/s their
volumes cancel, and it is largest on the ring k*² = 2 ln s / ((s − 1) σ²), as that of dos (`ring_spacing_m`).
"""

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.codes import square_distance
from entorhinal.families.controls.lowpass_noise import LowpassNoise
from entorhinal.families.model import Batch, Card, Representation
from entorhinal.families.supervised.cells import Activation, CellName, ThreeLayerNetwork
from entorhinal.families.supervised.sorscher import SorscherConfig
from entorhinal.families.world import World

__all__ = ["Schaeffer", "SchaefferConfig", "ring_spacing_m"]


class SchaefferConfig(SorscherConfig):
    units: int = Field(1024, ge=1, description="recurrent units, and units of the dense layer")
    target: Literal["cartesian", "gaussian", "dog", "dos"] = Field("dos", description="p")  # type: ignore[assignment]
    cell: CellName = Field("rnn", description="rnn has no dense layer and no biases; the others have")
    activation: Activation = Field("relu", description="f")
    surround_amplitude: float = Field(1.0, ge=0, description="α of dog")


def ring_spacing_m(config: SorscherConfig) -> float:
    """Spacing of hexagons on the ring of the target's spectrum, 4π/(√3 k*) in metres; infinite if there is no ring.

    With w = 1 for softmaxes, αs for dog and 0 without a surround, a field's transform exp(−σ²k²/2) − w exp(−sσ²k²/2)
    has an extremum at k*² = 2 ln(ws)/((s − 1)σ²), a ring if it is larger there than at k = 0.
    """
    s = config.surround_variance_ratio
    weight = float(config.target in ("dos", "dog"))
    if isinstance(config, SchaefferConfig) and config.target == "dog":
        weight = config.surround_amplitude * s
    if weight * s <= 1:
        return math.inf
    square = 2 * math.log(weight * s) / (s - 1)  # (k* σ)²
    if abs(math.exp(-square / 2) - weight * math.exp(-s * square / 2)) <= abs(1 - weight):
        return math.inf
    return 4 * math.pi / math.sqrt(3) * config.place_width_m / math.sqrt(square)


class Schaeffer(ThreeLayerNetwork):
    """Rates ``(B, T, units)`` of the would-be grid units; state ``(B, units)``, of lstm ``(B, 2 units)``."""

    surround_amplitude: Tensor

    Config = SchaefferConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {
            "units": 256,
            "place_cells": 256,
            "weight_decay": 3e-5,
            "batch": 500,
            "lr": 1e-3,
            "schedule": "cosine",
            "steps": 9_000,
        },
    }
    card = Card(
        id="supervised/schaeffer-v1",
        title="One network of many choices, trained on place cells or positions",
        citation=LowpassNoise.card.citation,
        training_extent_m=2.2,
        lattice="emerged",
        supervision="target",
        settings_tried=2,
        tuned_on="loss",
        deviations=(
            "surround_variance_ratio multiplies σ², as in Sorscher et al. 2019; in later sweeps of the authors it "
            "multiplies σ.",
            "No dropout; one optimiser; the radial target and fields of several places or widths are left out.",
            "The gated recurrent unit has one bias a gate.",
            "Walks stop at the walls, and the difference of softmaxes is uniform where it would be 0/0, as in "
            "supervised/sorscher.",
        ),
        provenance={
            "units": "authors' sweeps; the small preset is ours",
            "place_cells": "authors' sweeps: 128, 256 or 512",
            "place_width_m": "authors' sweeps: 0.08 to 0.40, 0.12 where one is held",
            "surround_variance_ratio": "authors' sweeps: 1.5 to 6, 2 where one is held",
            "target": "authors' sweeps; dos is their name for the target of Sorscher et al. 2019",
            "cell": "authors' sweeps",
            "activation": "authors' sweeps",
            "surround_amplitude": "authors' program: 1 in their true difference of Gaussians",
            "weight_decay": "authors' sweeps; 3e-5 in the small preset, ours",
            "side_m": "authors' sweeps",
            "steps_per_trajectory": "authors' sweeps: 20 to 40",
            "batch": "authors' sweeps: 200 where one is held; 500 in the small preset, ours",
            "lr": "authors' sweeps; the small preset is ours",
            "schedule": "authors' sweeps, whose rate is constant; cosine, in the small preset, is ours",
            "steps": "Sorscher et al. 2019; the authors' sweeps: 10,000 to 200,000; the small preset is ours",
            "centre_seed": "ours",
            "seed": "ours; weights after Glorot & Bengio 2010, as in the authors' sweeps",
        },
    )

    def __init__(self, config: SchaefferConfig | None = None) -> None:
        c = self.Config() if config is None else config
        code_size = 2 if c.target == "cartesian" else c.place_cells
        super().__init__(c, cell=c.cell, activation=c.activation, code_size=code_size)
        self.register_buffer("surround_amplitude", torch.tensor(c.surround_amplitude))

    def place_code(self, position_m: Tensor) -> Tensor:
        """p at ``position_m (..., 2)``: ``(..., place_cells)``, of sum 1; the position itself if cartesian."""
        if self.config.target == "cartesian":
            return position_m
        if self.config.target != "dog":
            return super().place_code(position_m)
        distance = square_distance(position_m, self.centre_m.to(position_m))
        drive = distance / (-2 * self.place_width_m.to(position_m) ** 2)
        surround = torch.exp(drive / self.surround_variance_ratio.to(position_m))
        difference = torch.exp(drive) - self.surround_amplitude.to(position_m) * surround
        shifted = difference - difference.amin(-1, keepdim=True) + torch.finfo(drive.dtype).tiny
        return shifted / shifted.sum(-1, keepdim=True)

    def _check_places(self, world: World) -> None:
        if self.config.target != "cartesian":
            super()._check_places(world)

    def decode(self, representation: Representation) -> Tensor:
        """The position predicted; with place cells the mean centre of the three most active, ``(B, T, 2)``."""
        if self.config.target == "cartesian":
            return self.predicted_logits(representation.rates)
        return super().decode(representation)

    def _cross_entropy(self, logits: Tensor, position_m: Tensor) -> Tensor:
        if self.config.target == "dog":
            return -(self.place_code(position_m) * torch.log_softmax(logits, -1)).sum(-1).mean()
        return super()._cross_entropy(logits, position_m)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        if self.config.target != "cartesian":
            return super().loss(batch)
        rates, _ = self._unroll(self.initial_state(batch["start_m"]), batch["displacement_m"])
        square_error = (self.predicted_logits(rates) - batch["position_m"]).square().mean()
        weight_penalty = self.weight_decay * self.recurrent.square().sum()
        return {"total": square_error + weight_penalty, "square_error": square_error, "weight_penalty": weight_penalty}
