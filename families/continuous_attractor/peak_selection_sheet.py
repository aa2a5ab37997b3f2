"""Peak selection on a sheet: hexagonal modules from a smooth gradient and a ring of fixed range (Khona et al. 2025).

The companion of `peak_selection` in two dimensions. A sheet of inhibitory neurons breaks up into a triangular lattice
whose scale follows the width of inhibition, and that width grows smoothly along the sheet. Excitation at one distance,
the same everywhere, has a transform with many peaks, those of the Bessel function J0; inhibition only selects one, the
same over a stretch of the sheet.

    τ ds_i/dt + s_i = [Σ_j W(x_i − x_j − l e_j; σ) s_j + A(y_i) (1 + α e_i·v)]₊                                    (1)
    W(r; σ) = −a/(πσ²) for r < σ, else 0;  + b/(2πd) (2π ε²)^(−1/2) exp(−(r − d)² / 2ε²)                            (2)
    Ŵ(k; σ) = −2a J1(kσ)/(kσ) + b J0(kd) exp(−ε²k²/2)                                                              (3)
    λ_m = d / (m + φ/2π),  φ = π/4,     r_m = (m + 1 + φ/2π) / (m + φ/2π)                                           (4)

x = (x, y) is a place on the sheet in neurons, e the direction that a neuron prefers (each 2×2 block has all four), v
the animal's velocity. The sheet is periodic along x; along y its input A fades at both ends, and σ grows from σ_min to
σ_max. Between two neurons σ is that of half-way, so that the weights at rest are symmetric. Maxima of J0 lie near
kd = 2π(m + 1/8), hence φ = π/4; λ = 2π/k is the period of the waves, and the spacing of bumps is 2λ/√3. Weights depend
on the distance along x alone, and so the recurrent input is a product of matrices for each wave along x, exactly.

Citation: M. Khona, S. Chandra and I. Fiete, Nature 640, 155-164 (2025).
"""

import math

import torch
from pydantic import Field, model_validator
from scipy.special import j0, j1
from torch import Tensor

from entorhinal.families.continuous_attractor.peak_selection import PeakSelection
from entorhinal.families.continuous_attractor.sheet import AttractorSheet, preferred_directions
from entorhinal.families.model import Card, Config

__all__ = ["PeakSelectionSheet", "PeakSelectionSheetConfig"]

SETTLING_TIMES = 150  # of τ
PHASE_RAD = math.pi / 4  # φ


class PeakSelectionSheetConfig(Config):
    rows: int = Field(256, ge=32, multiple_of=2, description="neurons along y, the way on which inhibition widens")
    columns: int = Field(96, ge=16, multiple_of=2, description="neurons along x, round which the sheet closes")
    recorded_units: int = Field(256, ge=1, description="units, drawn from where the input does not fade")
    smallest_width_neurons: float = Field(7.5, ge=3, description="σ_min")
    largest_width_neurons: float = Field(20.0, ge=3, description="σ_max")
    graded_weight: float = Field(14.0, gt=0, description="a")
    fixed_weight: float = Field(6.0, ge=0, description="b; 0 leaves the smooth gradient alone")
    fixed_range_neurons: float = Field(45.0, gt=0, description="d")
    ring_width_neurons: float = Field(1.5, gt=0, description="ε")
    edge_neurons: int = Field(24, ge=1, description="over which the input rises at both ends")
    shift_neurons: int = Field(1, ge=1, description="l, the shift of outgoing weights")
    time_constant_ms: float = Field(10.0, gt=0, description="τ")
    step_ms: float = Field(1.0, gt=0, description="longest step of the dynamics; velocity is held in between")
    velocity_gain_s_m: float = Field(0.2, gt=0, description="α")
    linear_drive: float = Field(0.2, gt=0, le=1, description="αv up to which the lattices follow")
    seed: int = Field(0, ge=0, description="of the noise from which the lattices form, and of the units recorded")

    @model_validator(mode="after")
    def _resolved(self) -> "PeakSelectionSheetConfig":
        small, large = self.smallest_width_neurons, self.largest_width_neurons
        if large < small:
            raise ValueError(
                f"largest_width_neurons {large:g} is below smallest_width_neurons {small:g}; exchange them"
            )
        if self.columns < 4 * large:
            raise ValueError(
                f"columns {self.columns} hold no lattice of largest_width_neurons {large:g}; give at least "
                f"{2 * math.ceil(2 * large)}"
            )
        if self.rows < 4 * self.edge_neurons:
            raise ValueError(f"edge_neurons {self.edge_neurons} leave less than half of rows {self.rows}")
        if self.step_ms > 0.12 * self.time_constant_ms:
            raise ValueError(
                f"step_ms {self.step_ms:g} is too coarse for time_constant_ms {self.time_constant_ms:g}; give at most "
                f"{0.12 * self.time_constant_ms:g}"
            )
        if self.recorded_units > (available := (self.rows - 2 * self.edge_neurons) * self.columns):
            raise ValueError(f"recorded_units {self.recorded_units}: the sheet has {available} where input is full")
        return self


def rate_step(sheet: Tensor, drive: Tensor, source: Tensor, weights: Tensor, rate: float) -> None:
    """One step of sheets ``(B, rows, columns)``, in place; rate = dt/τ."""
    shifted = sheet.flatten(1).index_select(1, source).view(sheet.shape)
    waves = torch.view_as_real(torch.fft.rfft(shifted).permute(2, 1, 0).contiguous())  # (K, rows, B, 2)
    sums = torch.bmm(weights, waves.flatten(2)).view(waves.shape)
    recurrent = torch.fft.irfft(torch.view_as_complex(sums).permute(2, 1, 0), n=sheet.shape[-1])
    sheet.lerp_(recurrent.add_(drive).relu_(), rate)


class PeakSelectionSheet(AttractorSheet):
    """Rates of the recorded units ``(B, T, units)``, by row; the state is the sheet, ``(B, rows, columns)``."""

    Config = PeakSelectionSheetConfig
    card = Card(
        id="continuous_attractor/peak_selection_sheet-v1",
        title="Peak selection on a sheet",
        citation=PeakSelection.card.citation,
        lattice="scale given",
        supervision="none",
        settings_tried=None,
        deviations=(
            "the paper's own kernel of the sheet could not be settled from what we have of it: a disk whose radius "
            "grows and a ring of fixed radius are the line's local and localized interactions, turned round",
            "strengths are our own, each normalised by its area so that the transform has the same height everywhere",
            "σ grows geometrically along one side of the sheet; round the other the sheet closes",
            "τ is 10 ms, and speeds, shift and gain are our own; four preferred directions as in Burak & Fiete 2009",
            "found, 448 × 160 neurons with d = 60: three hexagonal modules, periods within 2.5 % of the law, ratios "
            "1.32 and 1.44 (law 1.32 and 1.47); none without the ring. At borders bumps are misshapen. The modules of "
            "the default move at 18 to 26 neurons a metre, the coarsest along y more slowly, at 13",
            "found: at rest the default drifts at 3 cm/s (attractor-v1), so over the minutes of the recorded rat its "
            "maps smear (2 % grid units), which on fast walks of 40 s they do not (74 % in two modules of ratio 1.53)",
        ),
        provenance={
            "rows": "our choice: room for three modules",
            "columns": "our choice: about as wide as the ring",
            "recorded_units": "our choice",
            "smallest_width_neurons": "our choice, half of the line's (paper: 15)",
            "largest_width_neurons": "our choice, with which three modules fit",
            "graded_weight": "our choice, above the 7.6 from which a lattice forms without the ring",
            "fixed_weight": "our choice; with half of it borders are less sharp",
            "fixed_range_neurons": "our choice; modules of waves of 21.2, 14.4 and 10.9 neurons",
            "ring_width_neurons": "our choice",
            "edge_neurons": "our choice",
            "shift_neurons": "our choice, as in Kang & Balasubramanian 2019",
            "time_constant_ms": "our choice, as in Burak & Fiete 2009",
            "step_ms": "our choice",
            "velocity_gain_s_m": "our choice",
            "linear_drive": "our choice, as in Burak & Fiete 2009",
            "seed": "chosen here",
        },
    )
    not_of_settling = ("velocity_gain_s_m", "linear_drive", "recorded_units")
    walk_share, rest_ms = 0.7, 60.0
    remedy = "raise graded_weight (it must exceed 7.6)"
    calming = "lower fixed_weight: excitation on the ring must stay below the inhibition, graded_weight"

    def __init__(self, config: PeakSelectionSheetConfig) -> None:
        super().__init__(config)
        c = config
        place = torch.arange(c.rows)
        row, column = torch.meshgrid(place, torch.arange(c.columns), indexing="ij")
        direction = preferred_directions(c.rows, c.columns)
        toward_x, toward_y = direction.long()
        landing = (row + c.shift_neurons * toward_y) % c.rows * c.columns + (
            column + c.shift_neurons * toward_x
        ) % c.columns
        edge = torch.minimum(place, place.flip(0)) / c.edge_neurons
        inside = (edge >= 1).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(c.seed)
        chosen = torch.randperm(len(inside) * c.columns, generator=generator)[: c.recorded_units].sort().values
        self.direction: Tensor
        self.source: Tensor
        self.envelope: Tensor
        self.units: Tensor
        self.weights: Tensor
        for name, tensor in {
            "direction": direction.flatten(1).float(),  # e, (2, N)
            "source": landing.flatten().argsort(),  # the neuron that lands here when shifted, (N,)
            "envelope": (edge.clamp(max=1) * math.pi / 2).sin().square(),  # A, (rows,)
            "units": int(inside[0]) * c.columns + chosen,
            "weights": self._row_weights(),  # for each wave along x, of every row onto every row
        }.items():
            self.register_buffer(name, tensor, persistent=False)  # the config says all

    def _row_weights(self) -> Tensor:
        """Transform of the weights along x, real as they are even, ``(columns/2 + 1, rows, rows)``."""
        c = self.config
        row = torch.arange(c.rows, dtype=torch.float32)
        reach = max(c.largest_width_neurons, c.fixed_range_neurons + 5 * c.ring_width_neurons)
        round_ = c.columns * torch.arange(-math.ceil(reach / c.columns), math.ceil(reach / c.columns) + 1)
        x = (torch.arange(c.columns) + round_[:, None]).float()  # all distances round the sheet, (turns, columns)
        found = []
        for target in row:
            width = self.width((row + target) / 2).float()[:, None, None]
            distance = torch.hypot(x, (row - target)[:, None, None])  # (rows, turns, columns)
            found.append(torch.fft.rfft(self.kernel(distance, width).sum(1)).real)
        return torch.stack(found).permute(2, 0, 1).contiguous()

    def width(self, row: Tensor) -> Tensor:
        """σ at rows of the sheet, in neurons."""
        low, high = self.config.smallest_width_neurons, self.config.largest_width_neurons
        return low * (high / low) ** (row.double() / (self.config.rows - 1)).clamp(0, 1)

    def kernel(self, distance: Tensor, width: Tensor) -> Tensor:
        """Equation (2) at distances r and widths σ in neurons; the disk's edge falls over one neuron."""
        c = self.config
        disk = -c.graded_weight / (math.pi * width**2) * (width + 0.5 - distance).clamp(0, 1)
        ring = torch.exp(-((distance - c.fixed_range_neurons) ** 2) / (2 * c.ring_width_neurons**2))
        area = 2 * math.pi * c.fixed_range_neurons * c.ring_width_neurons * math.sqrt(2 * math.pi)
        return disk + c.fixed_weight / area * ring

    def transform(self, wave_number: Tensor, width: float) -> Tensor:
        """Equation (3) at wave numbers k > 0 in radians a neuron; uniform activity is unstable above 1."""
        c, k = self.config, wave_number.double().numpy()
        disk = -2 * c.graded_weight * j1(k * width) / (k * width)
        damping = torch.exp(-((c.ring_width_neurons * wave_number.double()) ** 2) / 2)
        return torch.from_numpy(disk) + c.fixed_weight * torch.from_numpy(j0(k * c.fixed_range_neurons)) * damping

    def module_periods(self, shortest: float, longest: float) -> list[float]:
        """Equation (4): all λ_m from ``shortest`` to ``longest`` neurons, the longest first."""
        offset, reach = PHASE_RAD / (2 * math.pi), self.config.fixed_range_neurons
        first, last = math.ceil(reach / longest - offset), math.floor(reach / shortest - offset)
        return [reach / (m + offset) for m in range(first, last + 1)]

    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float) -> Tensor:
        """The sheet ``(B, rows, columns)`` after ``ms`` at velocities ``(B, 2)``."""
        steps = math.ceil(ms / self.config.step_ms - 1e-6)
        rate = ms / steps / self.config.time_constant_ms
        push = self.config.velocity_gain_s_m * velocity_m_s.to(sheet) @ self.direction.to(sheet)
        drive = self.envelope.to(sheet)[:, None] * (1 + push.view(-1, *sheet.shape[1:]))
        weights = self.weights.to(sheet)
        return self._loop(rate_step, sheet, (drive,), (self.source, weights), rate, steps)

    def recorded(self, sheet: Tensor) -> Tensor:
        """Rates of the recorded units ``(B, units)``."""
        return sheet.flatten(1)[:, self.units]

    def problem(self, sheet: Tensor) -> str:
        inside = sheet[self.config.edge_neurons : -self.config.edge_neurons]
        return "uniform activity" if inside.std() < 0.3 * inside.mean() else ""

    @torch.no_grad()
    def settle(self) -> Tensor:
        """What forms from small noise on the CPU, ``(rows, columns)``."""
        c = self.config
        noise = torch.rand(1, c.rows, c.columns, generator=torch.Generator().manual_seed(c.seed))
        return self.sane(self.advance(1e-2 * noise, torch.zeros(1, 2), SETTLING_TIMES * c.time_constant_ms)[0])
