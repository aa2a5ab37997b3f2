"""A sheet of neurons that only inhibit one another, all equally up to a distance (Couey et al. 2013).

Stellate cells of layer II reach each other through interneurons alone. Is inhibition without any structure but a range
enough? Every neuron inhibits all neurons within a disc with one strength, and all are driven alike. Bumps of activity
then keep one range away from each other: a triangular lattice. As in Burak & Fiete's sheet each neuron prefers one of
four directions, its disc is moved that way, and velocity drives the neurons of its direction.

    τ ds_i/dt + s_i = [1 + α e_i·v + Σ_j W(x_i − x_j − l e_j) s_j]₊                                               (1)
    W(x) = −W₀ where |x| < R, 0 elsewhere                                                                         (2)

x is a place on the sheet in neurons, e the unit vector of a neuron's preferred direction, v the animal's velocity. The
sheet is a torus. The range fixes the scale of the lattice; that it is triangular emerges.

Moving every neuron by l e along its own direction only permutes the sheet, so that the recurrent input is one circular
convolution of the permuted sheet with (2): two real Fourier transforms a step, exactly.

Citation: J. J. Couey et al., Nature Neuroscience 16, 318-324 (2013).
"""

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor

from entorhinal.families.continuous_attractor.sheet import LatticeSheet, preferred_directions
from entorhinal.families.model import Card, Config

__all__ = ["Couey", "CoueyConfig"]


class CoueyConfig(Config):
    columns: int = Field(56, ge=8, multiple_of=2, description="neurons along x; the sheet is a torus")
    rows: int = Field(44, ge=8, multiple_of=2, description="neurons along y")
    inhibition: float = Field(0.02, gt=0, description="W₀, the strength of every connection")
    radius_neurons: float = Field(15.0, gt=0, description="R, the range of inhibition; bumps are about 1.4 R apart")
    shift_neurons: int = Field(2, ge=1, description="l, the shift of outgoing weights")
    time_constant_ms: float = Field(10.0, gt=0, description="τ")
    step_ms: float = Field(1.0, gt=0, description="longest step of the dynamics; velocity is held in between")
    settling_ms: float = Field(2000.0, gt=0, description="time that the lattice gets to form")
    velocity_gain_s_m: float = Field(0.15, gt=0, description="α")
    linear_drive: float = Field(0.15, gt=0, le=1, description="αv up to which the lattice's speed is linear in v")
    seed: int = Field(0, ge=0, description="of the noise from which the lattice forms")

    @model_validator(mode="after")
    def _resolved(self) -> "CoueyConfig":
        least = 2 * math.ceil(self.radius_neurons + 0.5)
        for name in ("columns", "rows"):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} {getattr(self, name)} holds no lattice of radius_neurons {self.radius_neurons:g}: a "
                    f"neuron would inhibit itself round the torus; give at least {least}"
                )
        if self.step_ms > 0.2 * self.time_constant_ms:
            raise ValueError(
                f"step_ms {self.step_ms:g} is too coarse; give at most a fifth of time_constant_ms "
                f"{self.time_constant_ms:g}"
            )
        return self


def rate_step(sheet: Tensor, drive: Tensor, source: Tensor, spectrum: Tensor, rate: float) -> None:
    """One step of equation (1), in place; rate = dt/τ."""
    moved = sheet.flatten(1).index_select(1, source).view_as(sheet)
    recurrent = torch.fft.irfft2(torch.fft.rfft2(moved) * spectrum, s=sheet.shape[1:])
    sheet.lerp_(recurrent.add_(drive).relu_(), rate)


class Couey(LatticeSheet):
    """Rates s ``(B, T, rows · columns)``, rows along y, and state s ``(B, rows, columns)``. Free of noise."""

    Config = CoueyConfig
    card = Card(
        id="continuous_attractor/couey-v1",
        title="Sheet of inhibitory neurons",
        citation="""@article{couey2013,
  title = {Recurrent Inhibitory Circuitry as a Mechanism for Grid Formation},
  author = {Couey, Jonathan J. and Witoelar, Aree and Zhang, Sheng-Jia and Zheng, Kang and Ye, Jing and Dunn, Benjamin
    and Czajkowski, Rafal and Moser, May-Britt and Moser, Edvard I. and Roudi, Yasser and Witter, Menno P.},
  journal = {Nature Neuroscience},
  volume = {16},
  number = {3},
  pages = {318--324},
  year = {2013},
  doi = {10.1038/nn.3310}
}""",
        lattice="scale given",
        supervision="none",
        deviations=(
            "the unit of velocity under α = 0.15 is taken to be m/s: the lattice then moves 69 neurons for a metre and "
            "its spacing in space is about 0.3 m",
            "the lattice's speed is linear up to αv = 0.15, 1 m/s; beyond 0.2 it slips, and from 0.4 on it stands "
            "still along the axes of the sheet",
            "over the recorded rat's 73 m its own decoder stays within 6 cm; half of the common walk's steps are "
            "beyond the linear range, and on it there is neither a map nor a torus to find",
            "the sheet holds six bumps, and the torus makes their lattice slightly elliptic: grid scores are 0.9 to "
            "1.0, where a regular one has 1.4",
            "rates without spikes and without noise; the external drive is 1",
        ),
        provenance={
            "columns": "paper",
            "rows": "paper",
            "inhibition": "paper",
            "radius_neurons": "paper",
            "shift_neurons": "paper",
            "time_constant_ms": "paper: a tenth of the way a millisecond",
            "step_ms": "paper",
            "settling_ms": "paper",
            "velocity_gain_s_m": "paper; its unit is assumed",
            "linear_drive": "recomputed: the lattice's speed stays within 10 % of a line up to here",
            "seed": "chosen here",
        },
    )
    remedy = "raise inhibition (0.02 with the paper's other values), or change rows and columns"

    def __init__(self, config: CoueyConfig) -> None:
        super().__init__(config)
        size = config.rows, config.columns
        direction = preferred_directions(*size)
        row, column = torch.meshgrid(*map(torch.arange, size), indexing="ij")
        toward_x, toward_y = (config.shift_neurons * direction).long()
        landing = (row + toward_y) % config.rows * config.columns + (column + toward_x) % config.columns
        y, x = torch.meshgrid(*(torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in size), indexing="ij")
        weights = -config.inhibition * (x.hypot(y) < config.radius_neurons).double()  # (2)
        self.direction: Tensor
        self.source: Tensor
        self.spectrum: Tensor
        self._buffer("direction", direction.flatten(1))  # e, (2, N)
        self._buffer("source", landing.flatten().argsort())  # the neuron that lands here when moved, (N,)
        self._buffer("spectrum", torch.fft.rfft2(weights))

    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float) -> Tensor:
        steps = math.ceil(ms / self.config.step_ms - 1e-6)
        rate = ms / steps / self.config.time_constant_ms
        spectrum = self.spectrum.to(sheet.device, sheet.dtype.to_complex())
        push = self.config.velocity_gain_s_m * velocity_m_s @ self.direction.to(sheet)
        drive = 1 + push.view_as(sheet)
        return self._loop(rate_step, sheet, (drive,), (self.source, spectrum), rate, steps)

    def settle(self) -> Tensor:
        c = self.config
        noise = 1e-3 * torch.rand(1, c.rows, c.columns, generator=torch.Generator().manual_seed(c.seed))
        return self.advance(noise, torch.zeros(1, 2), c.settling_ms)[0]

    def connectivity(self) -> Tensor:
        """Weights onto the neuron in the middle of the sheet, ``(1, N)``."""
        size = self.config.rows, self.config.columns
        kernel = torch.fft.irfft2(self.spectrum, s=size).roll((size[0] // 2, size[1] // 2), (0, 1))
        return torch.zeros_like(kernel).flatten().index_copy(0, self.source, kernel.flatten())[None]
