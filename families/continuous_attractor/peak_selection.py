"""Discrete modules from smooth gradients: a local scale that grows, and one that does not (Khona et al. 2025).

A line of inhibitory neurons breaks up into bumps whose period follows the width of inhibition. That width grows
smoothly along the line, and the period with it. One more interaction, of the same range d everywhere, changes this:
its Fourier transform has many peaks, at the periods d / (m + φ/2π). The smooth interaction, whose transform has one
broad peak, only selects one of them, the same over a stretch of the line, and then jumps to the next.

    τ ds_i/dt + s_i = [Σ_j W(x_i − x_j − l e_j; σ) s_j + A(x_i) (1 + α e_i v)]₊                                    (1)
    W(x; σ) = Wg(x; σ) + Wf(x),     Wg(x; σ) = −a/σ for |x| < σ, else 0                                            (2)
    diffuse:     Wf(x) = −b/d for |x| < d, else 0                                                     φ = −π/2     (3)
    localized:   Wf(x) = b (2π ε²)^(−1/2) exp(−(|x| − d)² / 2ε²)                                      φ = 0        (4)
    λ_m = d / (m + φ/2π),     r_m = λ_m / λ_(m+1) = (m + 1 + φ/2π) / (m + φ/2π)                                    (5)

x is a place on the line in neurons, e = ±1 the direction that a neuron prefers (neighbours alternate), v the animal's
velocity. σ grows from σ_min to σ_max; between two neurons it is that half-way between them, so that the weights at rest
are symmetric and the pattern does not drift. The input A fades at both ends. Uniform activity is unstable to waves of
wave number k at which the transform

    Ŵ(k; σ) = −2a sin(kσ)/(kσ) + Ŵf(k),     Ŵf = −2b sin(kd)/(kd) or 2b cos(kd) exp(−ε²k²/2)                       (6)

exceeds 1, and the period that forms is that of its highest peak.

Citation: M. Khona, S. Chandra and I. Fiete, Nature 640, 155-164 (2025).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from entorhinal.families.continuous_attractor.sheet import AttractorSheet
from entorhinal.families.model import Card, Config

__all__ = ["PeakSelection", "PeakSelectionConfig"]

SETTLING_TIMES = 100  # of τ
ROWS = 128  # neurons whose weights are one block


class PeakSelectionConfig(Config):
    neurons: int = Field(3000, ge=64, description="N, along the line")
    smallest_width_neurons: float = Field(15.0, ge=4, description="σ_min, at the dorsal end")
    largest_width_neurons: float = Field(45.0, ge=4, description="σ_max, at the ventral end")
    graded_weight: float = Field(4.0, gt=0, description="a")
    fixed_kernel: Literal["diffuse", "localized"] = Field("diffuse", description="equation (3) or (4)")
    fixed_weight: float = Field(4.0, ge=0, description="b; 0 leaves the smooth gradient alone")
    fixed_range_neurons: float = Field(135.0, gt=0, description="d")
    localized_width_neurons: float = Field(4.77, gt=0, description="ε, of a localized kernel")
    weight_noise: float = Field(0.0, ge=0, le=1, description="s.d. of every weight, as a part of it")
    edge_neurons: int = Field(100, ge=1, description="over which the input rises at both ends")
    shift_neurons: int = Field(2, ge=1, description="l, the shift of outgoing weights")
    time_constant_ms: float = Field(10.0, gt=0, description="τ")
    step_ms: float = Field(0.5, gt=0, description="longest step of the dynamics; velocity is held in between")
    velocity_gain_s_m: float = Field(0.05, gt=0, description="α")
    linear_drive: float = Field(0.07, gt=0, le=1, description="αv up to which the pattern's speed is linear in v")
    seed: int = Field(0, ge=0, description="of the noise from which the pattern forms, and of weight noise")

    @model_validator(mode="after")
    def _resolved(self) -> "PeakSelectionConfig":
        if self.largest_width_neurons < self.smallest_width_neurons:
            raise ValueError(
                f"largest_width_neurons {self.largest_width_neurons:g} is below smallest_width_neurons "
                f"{self.smallest_width_neurons:g}; exchange them"
            )
        longest = max(self.largest_width_neurons, self.fixed_range_neurons)
        if self.neurons < 4 * longest:
            raise ValueError(
                f"neurons {self.neurons} hold no pattern of interactions that reach {longest:g}; give at least "
                f"{math.ceil(4 * longest)}"
            )
        if 2 * self.edge_neurons > self.neurons / 2:
            raise ValueError(f"edge_neurons {self.edge_neurons} leave less than half of neurons {self.neurons}")
        limit_ms = self.time_constant_ms / (1 + 2 * (self.graded_weight + self.fixed_weight))
        if self.step_ms > limit_ms:
            raise ValueError(
                f"step_ms {self.step_ms:g} is too coarse for time_constant_ms {self.time_constant_ms:g} and these "
                f"weights; give at most {limit_ms:.3g}"
            )
        return self


def rate_step(line: Tensor, drive: Tensor, weights: Tensor, rate: float) -> None:
    """One step of lines ``(B, N)``, in place; rate = dt/τ."""
    blocks, sources, _ = weights.shape
    reach, beyond = (sources - ROWS) // 2, blocks * ROWS - line.shape[-1]
    windows = F.pad(line, (reach, reach + beyond)).unfold(-1, sources, ROWS)
    recurrent = torch.bmm(windows.transpose(0, 1), weights).transpose(0, 1).flatten(1)[:, : line.shape[-1]]
    line.lerp_(torch.relu(recurrent + drive), rate)


class PeakSelection(AttractorSheet):
    """Rates and state are the line, s ``(B, T, N)`` and ``(B, N)``. Free of noise once made."""

    Config = PeakSelectionConfig
    card = Card(
        id="continuous_attractor/peak_selection-v1",
        title="Peak selection along a line",
        citation="""@article{khona2025,
  title = {Global Modules Robustly Emerge from Local Interactions and Smooth Gradients},
  author = {Khona, Mikail and Chandra, Sarthak and Fiete, Ila},
  journal = {Nature},
  volume = {640},
  pages = {155--164},
  year = {2025},
  doi = {10.1038/s41586-024-08541-3}
}""",
        dimensions=1,
        lattice="scale given",
        supervision="none",
        tasks=("path_integration", "cost"),
        settings_tried=None,
        deviations=(
            "one dimension; in two it is `peak_selection_sheet`",
            "strengths of the two interactions are our own, with each normalised by its width so that the transform "
            "has the same height all along the line; uniform activity is unstable from a = 2.31 on",
            "σ grows geometrically, so that modules have similar lengths; any smooth gradient would do",
            "σ between two neurons is that half-way: with that of the target alone the pattern drifts at rest, by 2 to "
            "5 neurons/s (found at τ = 30 ms)",
            "τ is 10 ms instead of 30 in the paper's units of time, and the step 0.5 ms: this scales speeds only",
            "neighbours prefer opposite directions, with shifted outgoing weights as in Burak & Fiete 2009; the shift "
            "and the gain are our own",
            "found: the law of periods holds within 2 % for both kernels; no module without the fixed scale; 20 % of "
            "weight noise moves borders of modules and changes periods by 2 % s.d. (3 to 4 % on the smooth gradient), "
            "single stretches by up to 8 %; the states of each module form one loop (Betti numbers 1, 1)",
        ),
        provenance={
            "neurons": "paper (3,000 to 8,000)",
            "smallest_width_neurons": "paper",
            "largest_width_neurons": "paper",
            "graded_weight": "our choice, above the 2.31 from which the pattern forms",
            "fixed_kernel": "paper has both; our choice of default, four modules instead of three",
            "fixed_weight": "our choice; localized kernels need less, about 0.4 to 0.8",
            "fixed_range_neurons": "paper (135 diffuse, 84 localized)",
            "localized_width_neurons": "paper",
            "weight_noise": "our choice; the paper's test has 0.2",
            "edge_neurons": "our choice",
            "shift_neurons": "our choice, as in Burak & Fiete 2009",
            "time_constant_ms": "our choice, as in Burak & Fiete 2009; the paper's 30 is in units of its own",
            "step_ms": "our choice",
            "velocity_gain_s_m": "our choice; periods are then 0.3 to 0.7 m",
            "linear_drive": "recomputed: the pattern's speed stays within some tenth of a line up to here",
            "seed": "chosen here",
        },
    )
    not_of_settling = ("velocity_gain_s_m", "linear_drive")
    walk_share, rest_ms = 0.7, 60.0
    remedy = "raise graded_weight (it must exceed 2.31)"
    calming = "lower fixed_weight: localized excitation must stay below the inhibition, graded_weight"

    def __init__(self, config: PeakSelectionConfig) -> None:
        super().__init__(config)
        c = config
        longest = max(c.largest_width_neurons, c.fixed_range_neurons + 4 * self._spread) + 1
        self.reach = math.ceil(longest) + c.shift_neurons
        self.blocks = math.ceil(c.neurons / ROWS)
        target = torch.arange(self.blocks * ROWS).view(self.blocks, 1, ROWS)
        sources = torch.arange(ROWS + 2 * self.reach) - self.reach
        source = (torch.arange(self.blocks) * ROWS).view(-1, 1, 1) + sources[:, None]
        distance = target - source - c.shift_neurons * _direction(source)
        weights = self.kernel(distance.abs().double(), self.width((target + source) / 2))
        weights = weights * ((source >= 0) & (source < c.neurons) & (target < c.neurons))
        if c.weight_noise:
            generator = torch.Generator().manual_seed(c.seed + 1)
            noise = torch.randn(weights.mT.shape, generator=generator).mT  # a neuron's inputs in a row
            weights = weights * (1 + c.weight_noise * noise)
        place = torch.arange(c.neurons)
        edge = torch.minimum(place, place.flip(0)) / c.edge_neurons
        self.direction: Tensor
        self.envelope: Tensor
        self.weights: Tensor
        for name, tensor in {
            "direction": _direction(place).float(),  # e, (N,)
            "envelope": (edge.clamp(max=1) * math.pi / 2).sin().square(),  # A, (N,)
            "weights": weights.float(),  # of ROWS neurons and `reach` on each side onto ROWS, (blocks, sources, ROWS)
        }.items():
            self.register_buffer(name, tensor, persistent=False)  # the config says all

    @property
    def _spread(self) -> float:
        return self.config.localized_width_neurons if self.config.fixed_kernel == "localized" else 0.0

    def width(self, place: Tensor) -> Tensor:
        """σ at places on the line, in neurons."""
        low, high = self.config.smallest_width_neurons, self.config.largest_width_neurons
        return low * (high / low) ** (place.double() / (self.config.neurons - 1)).clamp(0, 1)

    def kernel(self, distance: Tensor, width: Tensor) -> Tensor:
        """Equations (2) to (4) at distances |x| and widths σ in neurons; a box's edge falls over one neuron."""
        c = self.config
        graded = -c.graded_weight / width * _box(distance, width)
        if c.fixed_kernel == "diffuse":
            return graded - c.fixed_weight / c.fixed_range_neurons * _box(
                distance, torch.as_tensor(c.fixed_range_neurons)
            )
        spread = c.localized_width_neurons
        bump = torch.exp(-((distance - c.fixed_range_neurons) ** 2) / (2 * spread**2))
        return graded + c.fixed_weight / (spread * math.sqrt(2 * math.pi)) * bump

    def transform(self, wave_number: Tensor, width: Tensor | float) -> Tensor:
        """Equation (6): Ŵ at wave numbers k in radians a neuron and widths σ; uniform activity is unstable above 1."""
        c = self.config
        graded = -2 * c.graded_weight * torch.sinc(wave_number * width / math.pi)
        phase = wave_number * c.fixed_range_neurons
        if c.fixed_kernel == "diffuse":
            return graded - 2 * c.fixed_weight * torch.sinc(phase / math.pi)
        damping = torch.exp(-((c.localized_width_neurons * wave_number) ** 2) / 2)
        return graded + 2 * c.fixed_weight * phase.cos() * damping

    @property
    def phase_rad(self) -> float:
        """φ of equation (5)."""
        return -math.pi / 2 if self.config.fixed_kernel == "diffuse" else 0.0

    def module_periods(self, shortest: float, longest: float) -> list[float]:
        """Equation (5): all λ_m from ``shortest`` to ``longest`` neurons, the longest first."""
        offset, reach = self.phase_rad / (2 * math.pi), self.config.fixed_range_neurons
        first, last = math.ceil(reach / longest - offset), math.floor(reach / shortest - offset)
        return [reach / (m + offset) for m in range(first, last + 1)]

    def advance(self, sheet: Tensor, velocity_m_s: Tensor, ms: float) -> Tensor:
        """The line ``(B, N)`` after ``ms`` at velocities ``(B, 1)``."""
        steps = math.ceil(ms / self.config.step_ms - 1e-6)
        rate = ms / steps / self.config.time_constant_ms
        weights, envelope, direction = (x.to(sheet) for x in (self.weights, self.envelope, self.direction))
        drive = envelope * (1 + self.config.velocity_gain_s_m * velocity_m_s * direction)
        return self._loop(rate_step, sheet, (drive,), (weights,), rate, steps)

    def problem(self, sheet: Tensor) -> str:
        inside = sheet[self.config.edge_neurons : -self.config.edge_neurons]
        return "uniform activity" if inside.std() < 0.1 * inside.mean() else ""

    @torch.no_grad()
    def settle(self) -> Tensor:
        """What forms from small noise, ``(N,)``."""
        noise = torch.rand(1, self.config.neurons, generator=torch.Generator().manual_seed(self.config.seed))
        return self.sane(
            self.advance(1e-3 * noise, torch.zeros(1, 1), SETTLING_TIMES * self.config.time_constant_ms)[0]
        )

    def connectivity(self) -> Tensor:
        """Weights onto the neuron in the middle of the line, ``(1, N)``."""
        middle = self.config.neurons // 2
        block, row = divmod(middle, ROWS)
        source = block * ROWS - self.reach + torch.arange(self.weights.shape[1])
        inside = (source >= 0) & (source < self.config.neurons)
        found = self.weights.new_zeros(self.config.neurons)
        found[source[inside]] = self.weights[block, inside, row]
        return found[None]


def _direction(place: Tensor) -> Tensor:
    return 1 - 2 * (place % 2)


def _box(distance: Tensor, width: Tensor) -> Tensor:
    return (width + 0.5 - distance).clamp(0, 1)
