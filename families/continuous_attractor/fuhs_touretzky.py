"""A round sheet with rings of excitation and inhibition, whose bumps lose the path (Fuhs & Touretzky 2006).

The first attractor model of grid cells, and here the negative control. Every neuron excites its neighbours, inhibits a
ring around them, excites the next ring, ever more weakly; bumps of activity form a triangular pattern. Each neuron also
inhibits those behind it, so that driving the neurons of one direction pushes the pattern that way. The sheet ends: its
neurons reach out less the farther they are from the middle. Nothing holds the pattern's orientation, the edge holds its
place, and so it turns, sticks and slips (Burak & Fiete 2006 saw it turn): one movement is not always the same path.

    τ dV_i/dt = −V_i + Σ_j W_ij f_j + 1/2 + 2 |v| [exp(−sin²((φ − θ_i)/2) / κ²) − 1/4],     f_i = m_i √[V_i]₊      (1)
    W_ij = γ_j [a Φ(ω|x_i − x_j|) − b Ψ(ω|x_i − x_j + l e_j|)]                                                    (2)
    Φ(z) = exp(−z/4) cos(2π z/7) / 2,     Ψ(z) = exp(−(z/1.5)²) / 2,     γ_j = exp(−(|x_j|/σ)⁴)                   (3)

x is a place on the sheet in neurons from its middle, e the unit vector of a neuron's preferred direction θ, v the
animal's velocity with direction φ, and m is 1 inside the circle that fits the sheet, 0 outside.

Directions go round 2 × 2 blocks, so weights depend on the two neurons' places in their blocks and on the offset between
blocks: sixteen convolutions of quarter sheets, done with real Fourier transforms of more than twice their size, which
is exact.

Citation: M. C. Fuhs and D. S. Touretzky, Journal of Neuroscience 26, 4266-4276 (2006).
"""

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from entorhinal.families.continuous_attractor.sheet import AttractorSheet, preferred_directions
from entorhinal.families.model import Card, Config

__all__ = ["FuhsTouretzky", "FuhsTouretzkyConfig"]

PERIOD, DECAY, WIDTH, TUNING = 7.0, 4.0, 1.5, 0.245  # of Φ; of Φ; of Ψ; κ


class FuhsTouretzkyConfig(Config):
    neurons_per_side: int = Field(62, ge=8, multiple_of=2, description="n; the sheet is the circle in an n × n square")
    frequency: float = Field(0.67, gt=0, description="ω, per neuron; rings are 7/ω apart")
    symmetric: float = Field(1.0, gt=0, description="a, strength of the rings")
    asymmetric: float = Field(1.5, ge=0, description="b, strength of the inhibition behind")
    shift_neurons: float = Field(0.75 / 0.67, ge=0, description="l, how far behind")
    fadeout_neurons: float = Field(13.375, gt=0, description="σ, distance from the middle at which output has faded")
    time_constant_ms: float = Field(10.0, gt=0, description="τ")
    step_ms: float = Field(1.0, gt=0, description="longest step of the dynamics; velocity is held in between")
    settling_ms: float = Field(1000.0, gt=0, description="time that the pattern gets to form")
    velocity_gain_s_m: float = Field(1.0, gt=0, description="the paper's speed per m/s; its speeds go from 0 to 1")
    seed: int = Field(0, ge=0, description="of the noise from which the pattern forms")

    @model_validator(mode="after")
    def _resolved(self) -> "FuhsTouretzkyConfig":
        if self.neurons_per_side < 3 * PERIOD / self.frequency:
            raise ValueError(
                f"neurons_per_side {self.neurons_per_side} holds no lattice at frequency {self.frequency:g}; give at "
                f"least {2 * math.ceil(1.5 * PERIOD / self.frequency)}"
            )
        if self.step_ms > 0.2 * self.time_constant_ms:
            raise ValueError(
                f"step_ms {self.step_ms:g} is too coarse; give at most a fifth of time_constant_ms "
                f"{self.time_constant_ms:g}"
            )
        return self


def voltage_step(voltage: Tensor, drive: Tensor, reach: Tensor, spectrum: Tensor, rate: float) -> None:
    """One step of equation (1) by quarters ``(B, 4, n/2, n/2)``, in place; rate = dt/τ."""
    half, size = voltage.shape[-1], (spectrum.shape[-2],) * 2
    sent = torch.fft.rfft2(reach * torch.relu(voltage).sqrt(), s=size)
    received = torch.fft.irfft2((spectrum * sent[:, None]).sum(2), s=size)[..., :half, :half]
    voltage.lerp_(received + drive, rate)


class FuhsTouretzky(AttractorSheet):
    """Rates f ``(B, T, n²)``, the square row by row (rows along y), and state V ``(B, n, n)``. Free of noise.

    Neurons outside the circle have rate 0. There is no decoder: the pattern does not say where the animal is.
    """

    Config = FuhsTouretzkyConfig
    card = Card(
        id="continuous_attractor/fuhs_touretzky-v1",
        title="Round sheet with rings (negative control)",
        citation="""@article{fuhs2006,
  title = {A Spin Glass Model of Path Integration in Rat Medial Entorhinal Cortex},
  author = {Fuhs, Mark C. and Touretzky, David S.},
  journal = {Journal of Neuroscience},
  volume = {26},
  number = {16},
  pages = {4266--4276},
  year = {2006},
  doi = {10.1523/JNEUROSCI.4353-05.2006}
}""",
        lattice="scale given",
        supervision="none",
        deviations=(
            "equations (1) to (3) are those of Zilli's program (2012): a damped cosine stands for the paper's sum of "
            "rings, and a Gaussian for its asymmetric part",
            "62² neurons (the paper has 61², Zilli 162²): output fades within 25 neurons of the middle, so that more "
            "neurons only listen and change nothing",
            "Zilli adds noise of 0.2 to V at every step; here there is none, and the path is lost all the same: along "
            "20 s of a walk the pattern's movement explains 0.28 of the displacement, and it turns by 15° (medians of "
            "three seeds; figure attractor_sheets)",
            "the paper's σ may be in units of 1/ω, 20 neurons; with that, or the paper's a and β, or twice the gain of "
            "velocity, the part explained was 0.2 to 0.7",
            "inhibition lies behind a neuron, as the paper says; in Zilli's program it lies ahead, which turns the "
            "sign of the movement",
            "the pattern that forms, its orientation and how it moves change with the seed",
        ),
        provenance={
            "neurons_per_side": "paper, made even",
            "frequency": "paper, as in Zilli 2012",
            "symmetric": "Zilli 2012 (0.5 in the paper)",
            "asymmetric": "paper, as in Zilli 2012",
            "shift_neurons": "Zilli 2012: β/ω with β = 0.75 (1.5 in the paper)",
            "fadeout_neurons": "paper, as in Zilli 2012",
            "time_constant_ms": "paper, as in Zilli 2012",
            "step_ms": "Zilli 2012 (0.5 in the paper)",
            "settling_ms": "chosen here",
            "velocity_gain_s_m": "Zilli 2012",
            "seed": "chosen here",
        },
    )
    remedy = "lower symmetric or asymmetric (1 and 1.5 with the other defaults), or step_ms"

    def __init__(self, config: FuhsTouretzkyConfig) -> None:
        super().__init__(config)
        n = config.neurons_per_side
        place = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
        radius = place[:, None].hypot(place)
        direction = preferred_directions(n, n)
        self.direction: Tensor
        self.inside: Tensor
        self.reach: Tensor
        self.spectrum: Tensor
        self._padded = 1 << (n - 2).bit_length()  # the power of two that holds all offsets of n/2 blocks
        self._buffer("direction", _quarters(direction[None])[0, :, :, 0, 0])  # e of each place in a block, (2, 4)
        self._buffer("inside", (radius < n / 2).double())  # m, (n, n)
        self._buffer("reach", self.inside * torch.exp(-((radius / config.fadeout_neurons) ** 4)))  # m γ, (n, n)
        self._buffer("spectrum", torch.fft.rfft2(self._kernels()))  # target, source: (4, 4, P, P/2 + 1)

    def _kernels(self) -> Tensor:
        """(2) without γ, by place in the block of target and source and by offset of their blocks: ``(4, 4, P, P)``."""
        c = self.config
        block = 2 * torch.fft.fftfreq(self._padded, 1 / self._padded, dtype=torch.float64)
        place = torch.tensor([0.0, 1.0], dtype=torch.float64)
        row, column = (axis.flatten() for axis in torch.meshgrid(place, place, indexing="ij"))
        y = block[:, None] + (row[:, None] - row)[..., None, None]
        x = block + (column[:, None] - column)[..., None, None]  # (4, 4, P, P)
        ring = c.frequency * x.hypot(y)
        ahead_x, ahead_y = c.shift_neurons * self.direction[..., None, None]
        behind = c.frequency * (x + ahead_x).hypot(y + ahead_y)
        rings = torch.exp(-ring / DECAY) * torch.cos(2 * math.pi * ring / PERIOD) / 2  # (3)
        return c.symmetric * rings - c.asymmetric * torch.exp(-((behind / WIDTH) ** 2)) / 2

    @property
    def fastest_m_s(self) -> float:
        return 1 / self.config.velocity_gain_s_m

    def rates_of(self, sheet: Tensor) -> Tensor:
        return self.inside.to(sheet) * torch.relu(sheet).sqrt()

    def drive(self, velocity_m_s: Tensor) -> Tensor:
        """Input to the four directions ``(B, 4)`` at velocities ``(B, 2)``, the last two terms of (1)."""
        speed = velocity_m_s.norm(dim=-1, keepdim=True)
        cosine = velocity_m_s @ self.direction.to(velocity_m_s) / speed.clamp(min=1e-12)
        tuning = torch.exp(-(1 - cosine) / 2 / TUNING**2) - 0.25  # sin² of half an angle
        return 0.5 + 2 * self.config.velocity_gain_s_m * speed * tuning

    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float) -> Tensor:
        steps = math.ceil(ms / self.config.step_ms - 1e-6)
        rate = ms / steps / self.config.time_constant_ms
        spectrum = self.spectrum.to(sheet.device, sheet.dtype.to_complex())
        drive = self.drive(velocity_m_s)[..., None, None]
        voltage, reach = _quarters(sheet[:, None])[:, 0], _quarters(self.reach.to(sheet)[None, None])[:, 0]
        voltage = self._loop(voltage_step, voltage, (drive,), (reach, spectrum), rate, steps)
        return pixel_shuffle(voltage, 2)[:, 0]

    def settle(self) -> Tensor:
        n = self.config.neurons_per_side
        noise = torch.rand(1, n, n, generator=torch.Generator().manual_seed(self.config.seed))
        return self.advance(noise, torch.zeros(1, 2), self.config.settling_ms)[0]

    def problem(self, sheet: Tensor) -> str:
        """Uniform is what does not vary where neurons send."""
        inner = sheet[self.reach.to(sheet) > 0.5]
        return "uniform activity" if not inner.std() > 0.05 * inner.mean().abs() else ""

    def connectivity(self) -> Tensor:
        """Weights onto the neuron in the middle of the sheet, ``(1, N)``."""
        half, size = self.config.neurons_per_side // 2, self._padded
        middle = torch.fft.irfft2(self.spectrum[0], s=(size, size))  # by offset of blocks from source to target
        offset = half // 2 - torch.arange(half)
        quarters = middle[:, offset[:, None] % size, offset % size]
        return (self.reach * pixel_shuffle(quarters[None], 2)[0, 0]).flatten()[None]


def _quarters(sheets: Tensor) -> Tensor:
    """``(B, C, n, n)`` to ``(B, C, 4, n/2, n/2)``: the neurons at each place of a block, row by row."""
    return pixel_unshuffle(sheets, 2).unflatten(1, (-1, 4))
