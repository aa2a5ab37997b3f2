"""Recurrent cells, and the networks around them that predict place cells (Nayebi et al. 2021; Schaeffer et al. 2022).

With N units, drive x_t = W_in Δx_t + b and a non-linearity f, one step of each cell is

    rnn     h = f(x + W h)
    ugrnn   (a, c) = x + W h          g = σ(a + 1)       h = g h + (1 − g) f(c)              (Collins et al. 2017)
    gru     (z, r) = σ(x + W h)       h = z h + (1 − z) f(x_c + r W_c h)                      (Cho et al. 2014)
    lstm    (i, f̂, o) = σ(x + W h)    m = f̂ m + i f(x_g + W_g h)    h = o f(m)                (state h, m)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from entorhinal.families.supervised.kernels import cross_entropy_to_place_code
from entorhinal.families.supervised.sorscher import PlaceNetwork, SorscherConfig

__all__ = ["ACTIVATIONS", "CELLS", "Activation", "Cell", "CellName", "ThreeLayerNetwork", "affine", "glorot"]

Activation = Literal["relu", "tanh", "sigmoid", "linear"]
CellName = Literal["rnn", "ugrnn", "gru", "lstm"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda drive: drive,
}


@dataclass(frozen=True)
class Cell:
    """step: drive ``(B, gates N)``, state ``(B, states N)``, W ``(gates N, N)``, f -> state; h comes first in it."""

    step: Callable[[Tensor, Tensor, Tensor, Callable[[Tensor], Tensor]], Tensor]
    gates: int
    states: int = 1


def _rnn(drive: Tensor, state: Tensor, weights: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    return f(torch.addmm(drive, state, weights.T))


def _ugrnn(drive: Tensor, state: Tensor, weights: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    gate, candidate = torch.addmm(drive, state, weights.T).chunk(2, -1)
    return torch.lerp(f(candidate), state, torch.sigmoid(gate + 1))


def _gru(drive: Tensor, state: Tensor, weights: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    drive_z, drive_r, drive_c = drive.chunk(3, -1)
    z, r, c = (state @ weights.T).chunk(3, -1)
    candidate = f(drive_c + torch.sigmoid(drive_r + r) * c)
    return torch.lerp(candidate, state, torch.sigmoid(drive_z + z))


def _lstm(drive: Tensor, state: Tensor, weights: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    hidden, memory = state.chunk(2, -1)
    enter, keep, candidate, out = torch.addmm(drive, hidden, weights.T).chunk(4, -1)
    memory = torch.sigmoid(keep) * memory + torch.sigmoid(enter) * f(candidate)
    return torch.cat((torch.sigmoid(out) * f(memory), memory), -1)


CELLS = {"rnn": Cell(_rnn, 1), "ugrnn": Cell(_ugrnn, 2), "gru": Cell(_gru, 3), "lstm": Cell(_lstm, 4, states=2)}


def glorot(rows: int, columns: int, random: torch.Generator) -> torch.nn.Parameter:
    """Uniform weights ``(rows, columns)`` of variance 2/(rows + columns) (Glorot & Bengio 2010)."""
    bound = (6 / (rows + columns)) ** 0.5
    return torch.nn.Parameter(bound * (2 * torch.rand(rows, columns, generator=random) - 1))


def affine(value: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """value ``(..., K)``, weights ``(N, K)``, bias ``(N,)`` -> ``(..., N)``, as one product."""
    rows, weights = value.flatten(0, -2), weights.to(value).T
    product = rows @ weights if bias is None else torch.addmm(bias.to(value), rows, weights)
    return product.unflatten(0, value.shape[:-1])


class ThreeLayerNetwork(PlaceNetwork):
    """Recurrent cells, a dense layer of would-be grid units, and the prediction; with ``rnn``, two layers without bias.

    The rates are those of the dense layer; of the recurrent units with ``rnn``, which has none and is then the network
    of Sorscher et al. 2019 with the non-linearity f.
    """

    start_bias: torch.nn.Parameter | None
    input_bias: torch.nn.Parameter
    embed_bias: torch.nn.Parameter
    dense_bias: torch.nn.Parameter
    readout_bias: torch.nn.Parameter | None

    def __init__(self, config: SorscherConfig, *, cell: CellName, activation: Activation, code_size: int) -> None:
        super().__init__(config)
        kind, n = CELLS[cell], config.units
        self.cell, self.step, self.nonlinearity = cell, kind.step, ACTIVATIONS[activation]
        random = torch.Generator().manual_seed(config.seed)
        self.start = glorot(kind.states * n, code_size, random)  # W_0
        self.recurrent = glorot(kind.gates * n, n, random)  # W
        self.readout = glorot(code_size, n, random)  # W_out
        if cell == "rnn":
            self.input = glorot(n, 2, random)  # W_in
            self.start_bias = self.readout_bias = None
            return
        self.embed = glorot(n, 2, random)  # M
        self.input = glorot(kind.gates * n, n, random)
        self.dense = glorot(n, n, random)
        for name, size in (("start", kind.states * n), ("embed", n), ("input", kind.gates * n), ("dense", n)):
            self.register_parameter(f"{name}_bias", torch.nn.Parameter(torch.zeros(size)))
        self.readout_bias = torch.nn.Parameter(torch.zeros(code_size))
        if cell == "lstm":
            with torch.no_grad():
                self.input_bias[n : 2 * n] = 1  # memory is kept at first

    def initial_state(self, start_m: Tensor) -> Tensor:
        return affine(self.place_code(start_m), self.start, self.start_bias)

    def predicted_logits(self, rates: Tensor) -> Tensor:
        return affine(rates, self.readout, self.readout_bias)

    def _drive(self, displacement_m: Tensor) -> Tensor:
        """x of all steps, ``(B, T, gates N)``: both linear layers before the cells as one."""
        if self.cell == "rnn":
            return affine(displacement_m, self.input)
        bias = self.input_bias + self.input @ self.embed_bias
        return affine(displacement_m, self.input @ self.embed, bias)

    def _unroll(self, hidden: Tensor, displacement_m: Tensor) -> tuple[Tensor, Tensor]:
        f, weights, found = self.nonlinearity, self.recurrent.to(hidden), []
        for drive in self._drive(displacement_m.to(hidden)).unbind(1):
            hidden = self.step(drive, hidden, weights, f)
            found.append(hidden[..., : self.config.units])
        rates = torch.stack(found, 1)
        return (rates if self.cell == "rnn" else f(affine(rates, self.dense, self.dense_bias))), hidden

    def connectivity(self) -> Tensor:
        """W of the candidate: what units tell each other."""
        block = {"rnn": 0, "ugrnn": 1, "gru": 2, "lstm": 2}[self.cell]
        return self.recurrent.detach()[block * self.config.units :][: self.config.units]

    def _cross_entropy(self, logits: Tensor, position_m: Tensor) -> Tensor:
        ratio = None if self.config.target == "gaussian" else self.surround_variance_ratio
        return cross_entropy_to_place_code(
            logits.flatten(0, 1), position_m.flatten(0, 1), self.centre_m, self.place_width_m, ratio
        )
