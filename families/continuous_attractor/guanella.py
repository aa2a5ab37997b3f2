"""A small sheet on a twisted torus, whose weights velocity shifts (Guanella, Kiper & Verschure 2007).

A few dozen neurons excite their neighbours and inhibit all others, so that one bump of activity forms. The sheet is
closed to a torus with a twist: leaving it at the top is entering at the bottom half a side away. Seen from the plane,
the copies of the bump therefore stand on a triangular lattice. Velocity does not excite neurons; it shifts all weights,
and the bump goes along.

    B_i = Σ_j w_ij A_j                                                                                            (1)
    A_i ← [(1 − τ) B_i + τ B_i / Σ_j A_j]₊        once a step                                                     (2)
    w_ij = I exp(−d(x_i − x_j − α R Δ)² / σ²) − T                                                                 (3)
    d(x) = min_k |x − s_k|,   s = (0, 0), (±1, 0), (±1/2, √3/2), (±1/2, −√3/2)                                    (4)

x is a place on the sheet in sides (the sheet is 1 wide and √3/2 high), Δ the animal's displacement in the step, R a
rotation by β. The bump moves by α R Δ a step, so the spacing is 1/α and the orientation −β. There is one scale, and the
triangular lattice is put in by hand.

Weights depend on x_i − x_j alone. Two sheets, the upper one moved sideways by half a side, make a plain torus, on which
(1) is a circular convolution.

Citation: A. Guanella, D. Kiper and P. Verschure, International Journal of Neural Systems 17, 231-240 (2007).
"""

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor

from entorhinal.families.continuous_attractor.lattice import lattice_displacement
from entorhinal.families.continuous_attractor.sheet import LatticeSheet
from entorhinal.families.model import Card, Config

__all__ = ["Guanella", "GuanellaConfig", "twisted_distance"]

HEIGHT = math.sqrt(3) / 2
COPIES = ((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.5, HEIGHT), (-0.5, HEIGHT), (0.5, -HEIGHT), (-0.5, -HEIGHT))
LINEAR_SHIFT = 0.4  # sides a step; from half a row of the lattice, 0.43, on a shift is mistaken for another
SETTLING_STEPS = 500


def twisted_distance(offset: Tensor) -> Tensor:
    """Distance ``(...)`` on the twisted torus of offsets ``(..., 2)`` in sides, each at most one sheet long. (4)"""
    copies = torch.tensor(COPIES, dtype=torch.float64).to(offset)
    return (offset[..., None, :] - copies).norm(dim=-1).amin(-1)


class GuanellaConfig(Config):
    columns: int = Field(10, ge=4, multiple_of=2, description="neurons along x, 1 side; even, for the twist by half")
    rows: int = Field(9, ge=4, description="neurons along y, √3/2 sides")
    peak: float = Field(0.3, gt=0, description="I, the strongest weight before T is taken off")
    width_sides: float = Field(0.24, gt=0, lt=0.5, description="σ")
    inhibition: float = Field(0.05, gt=0, description="T, taken off all weights")
    normalisation: float = Field(0.8, ge=0, le=1, description="τ, the share of input that is divided by activity")
    gain_per_m: float = Field(3.0, gt=0, description="α, sides that the bump moves for a metre; the spacing is 1/α")
    bias_rad: float = Field(0.0, description="β, by which displacement is turned")
    step_ms: float = Field(20.0, gt=0, description="longest step; displacement is spread over the steps")
    seed: int = Field(0, ge=0, description="of the noise from which the bump forms")

    @model_validator(mode="after")
    def _resolved(self) -> "GuanellaConfig":
        pitch = max(1 / self.columns, HEIGHT / self.rows)
        if pitch > 0.6 * self.width_sides:
            raise ValueError(
                f"columns {self.columns} and rows {self.rows} are too few for a bump of width_sides "
                f"{self.width_sides:g}; give at least {2 * math.ceil(0.5 / (0.6 * self.width_sides))} and "
                f"{math.ceil(HEIGHT / (0.6 * self.width_sides))}"
            )
        if self.inhibition >= self.peak:
            raise ValueError(f"inhibition {self.inhibition:g} leaves no excitation; give less than peak {self.peak:g}")
        return self


def unrolled(sheet: Tensor) -> Tensor:
    """Two sheets ``(..., 2 rows, columns)``, the upper one moved by half a side: a plain torus."""
    return torch.cat((sheet, sheet.roll(sheet.shape[-1] // 2, -1)), -2)


def activity_step(sheet: Tensor, spectrum: Tensor, normalisation: float) -> None:
    """One step of sheets ``(B, rows, columns)``, in place."""
    twice = unrolled(sheet)
    received = torch.fft.irfft2(torch.fft.rfft2(twice) * spectrum, s=twice.shape[-2:])[:, : sheet.shape[-2]] / 2  # (1)
    total = sheet.sum((-2, -1), keepdim=True)
    sheet.copy_(torch.relu((1 - normalisation) * received + normalisation * received / total))  # (2)


class Guanella(LatticeSheet):
    """Rates A ``(B, T, rows · columns)``, row by row (rows along y), and state A ``(B, rows, columns)``. Free of noise.

    Distances on the sheet are in sides.
    """

    Config = GuanellaConfig
    card = Card(
        id="continuous_attractor/guanella-v1",
        title="Bump on a twisted torus",
        citation="""@article{guanella2007,
  title = {A Model of Grid Cells Based on a Twisted Torus Topology},
  author = {Guanella, Alexis and Kiper, Daniel and Verschure, Paul},
  journal = {International Journal of Neural Systems},
  volume = {17},
  number = {4},
  pages = {231--240},
  year = {2007},
  doi = {10.1142/S0129065707001093}
}""",
        lattice="given",
        supervision="none",
        deviations=(
            "the gain is per metre of displacement, so that the spacing does not change with the step; Zilli's program "
            "(2012) has α = 30 for velocities in metres per millisecond at 20 ms, that is 1.5 per metre",
            "the spacing found is 1/α to 1 %; the paper's 1.02 − 0.48 log2 α (quoted from Zilli's program, unverified) "
            "stays within 11 % of that from α = 1 to 2.6 and is negative from 4.4 on",
            "the bump sticks to the neurons: at rest it slides to the nearest place that it can hold, by up to a "
            "centimetre or two within seconds, and below about 1 cm/s it does not follow",
            "a neuron's weights go to the side to which the animal moves",
            "settles for 500 steps",
        ),
        provenance={
            "columns": "paper, as in Zilli 2012",
            "rows": "paper, as in Zilli 2012",
            "peak": "paper, as in Zilli 2012",
            "width_sides": "paper, as in Zilli 2012",
            "inhibition": "paper, as in Zilli 2012",
            "normalisation": "paper, as in Zilli 2012",
            "gain_per_m": "chosen here: three periods in the 1 m box of the recorded rat",
            "bias_rad": "paper: no bias",
            "step_ms": "Zilli 2012",
            "seed": "chosen here",
        },
    )
    remedy = "lower peak or inhibition, or raise normalisation (0.3, 0.05 and 0.8 in the paper)"

    def __init__(self, config: GuanellaConfig) -> None:
        super().__init__(config)
        size = 2 * config.rows, config.columns
        y, x = torch.meshgrid(*(torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in size), indexing="ij")
        self.offset: Tensor
        self._buffer("offset", torch.stack((x, y), -1) * self.pitch)  # on two sheets, (2 rows, columns, 2)

    @property
    def pitch(self) -> Tensor:
        """Between neighbours along x and y, in sides: ``(2,)``."""
        return torch.tensor([1 / self.config.columns, HEIGHT / self.config.rows], dtype=torch.float64)

    @property
    def fastest_m_s(self) -> float:
        return LINEAR_SHIFT / self.config.gain_per_m / (1e-3 * self.config.step_ms)

    def kernel(self, shift: Tensor) -> Tensor:
        """Weights ``(B, 2 rows, columns)`` by offset of target from source on two sheets, for shifts ``(B, 2)``. (3)"""
        c = self.config
        distance = twisted_distance(self._wrapped(self.offset.to(shift) - shift[:, None, None]))
        return c.peak * torch.exp(-((distance / c.width_sides) ** 2)) - c.inhibition

    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float) -> Tensor:
        c = self.config
        steps = math.ceil(ms / c.step_ms - 1e-6)
        cos, sin = math.cos(c.bias_rad), math.sin(c.bias_rad)
        turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64).to(velocity_m_s)
        spectrum = torch.fft.rfft2(self.kernel(c.gain_per_m * 1e-3 * ms / steps * velocity_m_s @ turn.mT))
        return self._loop(activity_step, sheet, (spectrum,), (), c.normalisation, steps)

    def settle(self) -> Tensor:
        c = self.config
        generator = torch.Generator().manual_seed(c.seed)
        noise = torch.rand(1, c.rows, c.columns, generator=generator) / math.sqrt(c.rows * c.columns)
        return self.advance(noise, torch.zeros(1, 2), SETTLING_STEPS * c.step_ms)[0]

    def problem(self, sheet: Tensor) -> str:
        return super().problem(unrolled(sheet))

    def displacement(self, rates: Tensor) -> Tensor:
        moved = lattice_displacement(unrolled(rates), unrolled(self.settled))
        return moved * self.pitch.to(moved)

    def connectivity(self) -> Tensor:
        """Weights ``(N, N)`` at rest."""
        c = self.config
        kernel = self.kernel(self.offset.new_zeros(1, 2))[0]
        row, column = torch.meshgrid(torch.arange(c.rows), torch.arange(c.columns), indexing="ij")
        row, column = row.flatten(), column.flatten()
        return kernel[(row[:, None] - row) % (2 * c.rows), (column[:, None] - column) % c.columns]

    def _wrapped(self, offset: Tensor) -> Tensor:
        """Offsets brought back into the plain torus of two sheets, at most half of it either way."""
        size = torch.tensor([1.0, 2 * HEIGHT], dtype=torch.float64).to(offset)
        return offset - size * (offset / size).round()
