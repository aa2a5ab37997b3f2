"""A sheet of inhibitory neurons whose bumps are pushed around by velocity (Burak & Fiete 2009).

Every neuron inhibits those around it at some distance, so that activity breaks up into a triangular lattice of bumps.
Each neuron prefers one of four directions, and its outgoing weights are shifted that way. When the animal moves, the
neurons that prefer its direction fire more and pull the whole lattice along. The displacement of the lattice is the
integral of velocity, and each neuron fires whenever a bump passes: it is a grid cell.

    τ ds_i/dt + s_i = [g Σ_j W0(x_i − x_j − l e_j) s_j + 1 + α e_i·v]₊
    W0(x) = a exp(−γ|x|²) − exp(−β|x|²),   β = 3/λ²

x is a place on the sheet in neurons, e the unit vector of a neuron's preferred direction, v the animal's velocity. The
sheet is a torus. The weights fix the scale of the lattice; that it is triangular emerges.

Shifting every neuron by l e along its own direction only permutes the sheet, since neurons of one direction keep their
distances, and the four directions go round each 2×2 block in a circle and so never land on each other. The recurrent
input is therefore one circular convolution of the permuted sheet with W0: two real Fourier transforms a step, exactly.
W0 is smooth, so that only waves longer than a few neurons pass; columns of the transform below 1e-15 are left out.

Citation: Y. Burak and I. R. Fiete, PLoS Computational Biology 5, e1000291 (2009).
"""

import math
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from scipy.fft import next_fast_len
from torch import Tensor

from entorhinal.families.continuous_attractor.lattice import uniform
from entorhinal.families.continuous_attractor.sheet import CRYSTAL, LatticeSheet, preferred_directions
from entorhinal.families.model import Card, Config

__all__ = ["BurakFiete", "BurakFieteConfig", "rate_step", "recurrent_input"]

SETTLING_MS = (1000.0, 500.0, 1000.0, 1000.0)  # with the envelope; without; each healing drive; rest
HEALING_DRIVE, HEALING_DEGREES = 0.08, (54.0, 72.0, 45.0) * 2  # αv and directions of the drives that heal defects
ATTEMPTS = 8  # noise fields tried until one settles without defects
NEGLIGIBLE = 1e-15  # of the largest part of a transform
REACH = 25.0  # βr² beyond which weights are nothing: exp(−25) = 1e-11


class BurakFieteConfig(Config):
    neurons_per_side: int = Field(128, ge=16, multiple_of=2, description="n; the sheet is an n × n torus")
    net_wavelength_neurons: float = Field(13.0, gt=0, description="λ; bumps are about 1.6 λ apart")
    gamma_over_beta: float = Field(1.05, gt=1, description="γ/β")
    excitation: float = Field(1.0, gt=0, description="a; 1 leaves inhibition alone, more excites neighbours")
    weight_gain: float = Field(10.0, gt=0, description="g, a factor on all weights")
    shift_neurons: int = Field(2, ge=1, description="l, the shift of outgoing weights")
    time_constant_ms: float = Field(10.0, gt=0, description="τ")
    step_ms: float = Field(0.5, gt=0, description="longest step of the dynamics; velocity is held in between")
    velocity_gain_s_m: float = Field(0.10315, gt=0, description="α")
    linear_drive: float = Field(0.2, gt=0, le=1, description="αv up to which the lattice's speed is linear in v")
    seed: int = Field(0, ge=0, description="of the noise from which the lattice forms")

    @model_validator(mode="after")
    def _resolved(self) -> "BurakFieteConfig":
        if self.neurons_per_side < 3 * self.net_wavelength_neurons:
            raise ValueError(
                f"neurons_per_side {self.neurons_per_side} holds no lattice of net_wavelength_neurons "
                f"{self.net_wavelength_neurons:g}; give at least {math.ceil(1.5 * self.net_wavelength_neurons) * 2}"
            )
        if self.step_ms > 0.2 * self.time_constant_ms:
            raise ValueError(
                f"step_ms {self.step_ms:g} is too coarse; give at most a fifth of time_constant_ms "
                f"{self.time_constant_ms:g}"
            )
        return self


def recurrent_input(sheet: Tensor, source: Tensor, spectrum: Tensor) -> Tensor:
    """g Σ_j W0(x_i − x_j − l e_j) s_j of sheets ``(B, n, n)``, by transforms of side m; m = n on a torus.

    source ``(m²,)`` is the neuron that lands at each place when shifted (n² where none does), and spectrum ``(m, k)``
    the first columns of W0's transform, times g/m².
    """
    n, side = sheet.shape[-1], len(spectrum)
    flat = sheet.flatten(1)
    if side > n:
        flat = torch.nn.functional.pad(flat, (0, 1))
    shifted = flat.index_select(1, source).unflatten(1, (side, side))
    waves = torch.fft.rfft(shifted)[..., : spectrum.shape[1]]
    waves = torch.fft.fft(waves, dim=1).mul_(spectrum)
    rows = torch.fft.ifft(waves, dim=1, norm="forward")[:, :n]
    return torch.fft.irfft(rows, n=side, norm="forward")[..., :n]


def rate_step(sheet: Tensor, drive: Tensor, source: Tensor, spectrum: Tensor, rate: float) -> None:
    """One step of the dynamics, in place; rate = dt/τ."""
    sheet.lerp_(recurrent_input(sheet, source, spectrum).add_(drive).relu_(), rate)


class BurakFiete(LatticeSheet):
    """Rates s ``(B, T, n²)``, the sheet row by row (rows along y), and state s ``(B, n, n)``. Free of noise."""

    periodic: ClassVar[bool] = True
    Config = BurakFieteConfig
    card = Card(
        id="continuous_attractor/burak_fiete-v1",
        title="Continuous attractor sheet",
        citation="""@article{burak2009,
  title = {Accurate Path Integration in Continuous Attractor Network Models of Grid Cells},
  author = {Burak, Yoram and Fiete, Ila R.},
  journal = {PLoS Computational Biology},
  volume = {5},
  number = {2},
  pages = {e1000291},
  year = {2009},
  doi = {10.1371/journal.pcbi.1000291}
}""",
        lattice="scale given",
        supervision="none",
        deviations=(
            "weights carry a factor g = 10 = τ in ms: the authors' program multiplies the recurrent input by dt, not "
            "dt/τ; without it the sheet stays uniform at γ/β = 1.02 and 1.05",
            "γ/β is 1.05 as printed; the authors' program has 1.02, under which the lattice moves 0.42 instead of 0.47 "
            "neurons/ms per unit αv",
            "periodic sheet only; rates without spikes and without noise",
            "a sheet that settles with defects is thrown away and another noise field is tried",
            "times and directions of settling are our own",
        ),
        provenance={
            "neurons_per_side": "paper",
            "net_wavelength_neurons": "paper",
            "gamma_over_beta": "paper, as printed",
            "excitation": "paper",
            "weight_gain": "recomputed: the authors' program in normalised form",
            "shift_neurons": "paper",
            "time_constant_ms": "paper",
            "step_ms": "paper",
            "velocity_gain_s_m": "paper",
            "linear_drive": "recomputed: the lattice's speed stays within a few per cent of a line up to here",
            "seed": "chosen here",
        },
    )
    cache_version = 2
    not_of_settling = ("velocity_gain_s_m", "linear_drive")
    remedy = "raise weight_gain (10 with the paper's other values), use a larger sheet or another seed"
    calming = "lower excitation (1 in the paper), weight_gain (10) or step_ms (0.5)"

    def __init__(self, config: BurakFieteConfig) -> None:
        super().__init__(config)
        n = config.neurons_per_side
        place = torch.arange(n)
        row, column = torch.meshgrid(place, place, indexing="ij")
        direction = preferred_directions(n, n)
        toward_x, toward_y = direction.long()
        shift, beta = config.shift_neurons, 3 / config.net_wavelength_neurons**2
        side = n if self.periodic else 2 * next_fast_len(math.ceil((n + shift + (REACH / beta) ** 0.5) / 2))
        landing = ((row + shift * toward_y) % side * side + (column + shift * toward_x) % side).flatten()
        away = torch.arange(side)
        distance = torch.minimum(away, side - away).double()
        square = distance[:, None] ** 2 + distance**2
        weights = config.excitation * torch.exp(-config.gamma_over_beta * beta * square) - torch.exp(-beta * square)
        spectrum = torch.fft.rfft2(weights).real
        columns = int((spectrum.abs().amax(0) > NEGLIGIBLE * spectrum.abs().max()).nonzero().max()) + 1
        self.direction: Tensor
        self.landing: Tensor
        self.source: Tensor
        self.spectrum: Tensor
        self.fading: Tensor
        self._buffer("direction", direction.flatten(1))  # e, (2, N)
        self._buffer("landing", landing)  # where each neuron is when shifted, (N,)
        self._buffer("source", torch.full((side**2,), n * n).index_copy_(0, landing, torch.arange(n * n)))
        self._buffer("spectrum", config.weight_gain / side**2 * spectrum[:, :columns])
        middle = place - (n - 1) / 2
        self._buffer("fading", torch.exp(-4 * (middle[:, None] ** 2 + middle**2) / (n / 2) ** 2))  # A, (n, n)

    @property
    def envelope(self) -> Tensor | None:
        """A of the feedforward input, ``(n, n)``; None where it is 1 everywhere."""
        return None if self.periodic else self.fading

    def drive(self, velocity_m_s: Tensor, envelope: Tensor | None = None) -> Tensor:
        """The feedforward input A (1 + α e·v) at velocities ``(B, 2)``: ``(B, n, n)``."""
        push = 1 + self.config.velocity_gain_s_m * velocity_m_s @ self.direction.to(velocity_m_s)
        drive = push.unflatten(1, self.fading.shape)
        return drive if envelope is None else envelope.to(drive) * drive

    def steps(self, ms: float) -> tuple[int, float]:
        """How many steps ``ms`` takes, and dt/τ of each."""
        steps = math.ceil(ms / self.config.step_ms - 1e-6)
        return steps, ms / steps / self.config.time_constant_ms

    def weights(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """source and spectrum as `recurrent_input` takes them, for sheets like this one."""
        return self.source, self.spectrum.to(like.device, like.dtype.to_complex())

    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float, envelope: Tensor | None = None) -> Tensor:
        """The sheet ``(B, n, n)`` after ``ms`` at velocities ``(B, 2)``; envelope, if given, in place of its own."""
        steps, rate = self.steps(ms)
        drive = self.drive(velocity_m_s, self.envelope if envelope is None else envelope).to(sheet)
        return self._loop(rate_step, sheet, (drive,), self.weights(sheet), rate, steps)

    @torch.no_grad()
    def settle(self) -> Tensor:
        """What forms from small noise on the CPU, ``(n, n)``: the first of 8 tries without defects, else the last."""
        n, (formed, freed, driven, rested) = self.config.neurons_per_side, SETTLING_MS
        generator = torch.Generator().manual_seed(self.config.seed)
        rest = torch.zeros(1, 2)
        for _ in range(ATTEMPTS):
            sheet = 1e-3 * torch.rand(1, n, n, generator=generator)
            sheet = self.advance(self.advance(sheet, rest, formed, self.fading), rest, freed)
            for degrees in HEALING_DEGREES:
                unit = torch.tensor([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]])
                sheet = self.advance(sheet, HEALING_DRIVE / self.config.velocity_gain_s_m * unit, driven)
            sheet = self.sane(self.advance(sheet, rest, rested))
            order = self.order(sheet[0])
            if order >= CRYSTAL or uniform(sheet[0]):
                break
        return sheet[0]

    def connectivity(self) -> Tensor:
        """Weights onto the neuron in the middle of the sheet, ``(1, N)``."""
        n, side = self.config.neurons_per_side, len(self.spectrum)
        spectrum = torch.nn.functional.pad(self.spectrum, (0, side // 2 + 1 - self.spectrum.shape[1]))
        kernel = torch.fft.irfft2(spectrum + 0j, s=(side, side), norm="forward")
        return kernel.roll((n // 2, n // 2), (0, 1)).flatten()[self.landing][None]
