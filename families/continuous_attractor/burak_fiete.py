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

import json
import logging
import math
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from scipy.fft import next_fast_len
from torch import Tensor

from entorhinal.families.cache import cached_tensors
from entorhinal.families.continuous_attractor.lattice import lattice_displacement, lattice_waves, uniform
from entorhinal.families.continuous_attractor.stepping import StepLoop
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Config, Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["BurakFiete", "BurakFieteConfig", "rate_step", "recurrent_input"]

logger = logging.getLogger("entorhinal")

CACHE_VERSION = 1  # of settling and calibration together
SETTLING_MS = (1000.0, 500.0, 1000.0, 1000.0)  # with the envelope; without; each healing drive; rest
HEALING_DRIVE, HEALING_DEGREES = 0.08, (54.0, 72.0, 45.0) * 2  # αv and directions of the drives that heal defects
ATTEMPTS = 8  # noise fields tried until one settles without defects
CRYSTAL = 0.9  # order that a lattice without defects exceeds; defects leave 0.8 or less, bumps held by neurons 0.94
CALIBRATION_SHARES = (0.1, 0.25, 0.5, 1.0)  # of the linear range
WALK_SHARE, WALK_STEP_MS, REST_MS = 0.5, 20.0, 100.0  # of the straight walk to a start
ACTIVITY_LIMIT = 1e3  # the input to a neuron is of order 1
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


class BurakFiete(Model):
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

    def __init__(self, config: BurakFieteConfig) -> None:
        super().__init__(config)
        n = config.neurons_per_side
        place = torch.arange(n)
        row, column = torch.meshgrid(place, place, indexing="ij")
        toward_x, toward_y = (
            torch.tensor(block).repeat(n // 2, n // 2) for block in ([[1, 0], [0, -1]], [[0, 1], [-1, 0]])
        )
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
        self._buffer("direction", torch.stack((toward_x, toward_y)).flatten(1).double())  # e, (2, N)
        self._buffer("landing", landing)  # where each neuron is when shifted, (N,)
        self._buffer("source", torch.full((side**2,), n * n).index_copy_(0, landing, torch.arange(n * n)))
        self._buffer("spectrum", config.weight_gain / side**2 * spectrum[:, :columns])
        middle = place - (n - 1) / 2
        self._buffer("fading", torch.exp(-4 * (middle[:, None] ** 2 + middle**2) / (n / 2) ** 2))  # A, (n, n)
        self._loop, self._warned = StepLoop(), False

    def _buffer(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor, persistent=False)  # the config says all

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

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        sheet = self.initial_state(trajectories.start_m) if state is None else state
        velocity_m_s = trajectories.displacement_m / trajectories.dt_s  # (B, T, 2)
        self.warn_if_fast(velocity_m_s)
        sheets = []
        for velocity in velocity_m_s.unbind(1):
            sheet = self.advance(sheet, velocity, 1e3 * trajectories.dt_s)
            sheets.append(sheet)
        return Representation(torch.stack(sheets, 1).flatten(2), self.sane(sheet))

    def initial_state(self, start_m: Tensor) -> Tensor:
        """The settled sheet walked straight from the origin to each of ``start_m (B, 2)``, then at rest: ``(B, n, n)``.

        Every trial walks in steps of its own, so that it does not depend on the others in the batch.
        """
        sheet = self.settled.to(start_m).expand(len(start_m), -1, -1)
        longest_m = WALK_SHARE * self.fastest_m_s * 1e-3 * WALK_STEP_MS
        steps = (start_m.norm(dim=-1) / longest_m).ceil()
        velocity_m_s = start_m / (1e-3 * WALK_STEP_MS * steps.clamp(min=1))[:, None]
        for step in range(int(steps.max()) if len(steps) else 0):
            walked = self.advance(sheet, velocity_m_s, WALK_STEP_MS)
            sheet = torch.where((step < steps)[:, None, None], walked, sheet)
        return self.advance(sheet, torch.zeros_like(start_m), REST_MS)

    @property
    def fastest_m_s(self) -> float:
        """The speed up to which the lattice follows linearly."""
        return self.config.linear_drive / self.config.velocity_gain_s_m

    @cached_property
    def settled(self) -> Tensor:
        """The lattice at rest at the origin, ``(n, n)``, computed once a config, on the CPU, and kept on disk."""
        sheet = cached_tensors(
            self._key("settled", "velocity_gain_s_m", "linear_drive"),
            lambda: {"sheet": type(self)(self.config).settle()},
        )["sheet"]
        if (order := self.order(sheet)) < CRYSTAL:
            found = "uniform activity" if uniform(sheet) else f"a pattern with defects or stripes (order {order:.2f})"
            raise InputError(
                f"{self.card.id}: no triangular lattice forms, the sheet settles to {found}; raise weight_gain "
                "(10 with the paper's other values), use a larger sheet or another seed"
            )
        return sheet

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

    @cached_property
    def neurons_per_m(self) -> float:
        """How far the lattice moves for a metre: mean over six headings and four speeds of the linear range."""

        def measure() -> dict[str, Tensor]:
            heading = (10 + 60 * torch.arange(6)).deg2rad()
            speed = self.fastest_m_s * torch.tensor(CALIBRATION_SHARES)
            unit = torch.stack((heading.cos(), heading.sin()), -1)
            velocity_m_s = (speed[:, None, None] * unit).flatten(0, 1)
            drift = self.drift_neurons_s(velocity_m_s.to(self.source.device)).cpu()
            return {"neurons_per_m": ((drift * velocity_m_s).sum(-1) / velocity_m_s.square().sum(-1)).mean()[None]}

        return float(cached_tensors(self._key("calibrated"), measure)["neurons_per_m"])

    @torch.no_grad()
    def drift_neurons_s(self, velocity_m_s: Tensor, seconds: float = 0.4) -> Tensor:
        """Velocity of the lattice on the sheet ``(B, 2)`` at constant velocities ``(B, 2)``, after 0.2 s of run-up."""
        sheet = self.settled.to(velocity_m_s).expand(len(velocity_m_s), -1, -1)
        sheet = self.advance(sheet, velocity_m_s, 200.0)
        sheets = [sheet]
        for _ in range(round(seconds / 0.01)):
            sheets.append(self.advance(sheets[-1], velocity_m_s, 10.0))
        self.sane(sheets[-1])
        return self.displacement(torch.stack(sheets, 1))[:, -1] / seconds

    def order(self, sheet: Tensor) -> float:
        """How far a sheet ``(n, n)`` is a triangular lattice (`lattice_waves`)."""
        return lattice_waves(sheet, self.envelope)[1]

    def displacement(self, sheets: Tensor) -> Tensor:
        """Of the lattice since the first sample, in neurons: sheets ``(B, T, n, n)`` -> ``(B, T, 2)``."""
        return lattice_displacement(sheets, self.settled, self.envelope)

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` since the first step, from the displacement of the lattice."""
        sheets = representation.rates.unflatten(-1, self.settled.shape)
        return self.displacement(sheets) / self.neurons_per_m

    def connectivity(self) -> Tensor:
        """Weights onto the neuron in the middle of the sheet, ``(1, N)``."""
        n, side = self.config.neurons_per_side, len(self.spectrum)
        spectrum = torch.nn.functional.pad(self.spectrum, (0, side // 2 + 1 - self.spectrum.shape[1]))
        kernel = torch.fft.irfft2(spectrum + 0j, s=(side, side), norm="forward")
        return kernel.roll((n // 2, n // 2), (0, 1)).flatten()[self.landing][None]

    def _key(self, what: str, *irrelevant: str) -> str:
        config = self.config.model_dump(mode="json", exclude=set(irrelevant))
        return json.dumps([self.card.id, CACHE_VERSION, what, config], sort_keys=True)

    def sane(self, sheet: Tensor) -> Tensor:
        """The sheet; `InputError` where activity is out of all bounds."""
        if not bool((sheet.abs() < ACTIVITY_LIMIT).all()):  # NaN included
            c = self.config
            raise InputError(
                f"{self.card.id}: activity blows up (rates above {ACTIVITY_LIMIT:g} or not finite); lower excitation "
                f"{c.excitation:g}, weight_gain {c.weight_gain:g} or step_ms {c.step_ms:g}"
            )
        return sheet

    def warn_if_fast(self, velocity_m_s: Tensor) -> None:
        """Say once that a speed is beyond the linear range."""
        if self._warned or not velocity_m_s.numel():
            return
        fastest_m_s = float(velocity_m_s.norm(dim=-1).max())
        if fastest_m_s > self.fastest_m_s:
            self._warned = True
            logger.warning(
                "%s: a speed of %.2f m/s is outside its linear range, 0 to %.2f m/s (αv ≤ %g); the path will be "
                "underestimated; lower velocity_gain_s_m",
                self.card.id, fastest_m_s, self.fastest_m_s, self.config.linear_drive,
            )  # fmt: skip
