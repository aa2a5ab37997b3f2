"""The continuous attractor sheet with spikes (Burak & Fiete 2009): neurons fire at random and pass on what they fire.

What was the rate f of `burak_fiete` (or, with ``periodic`` off, of `burak_fiete_aperiodic`) is now the intensity of a
renewal process; s is the sum of its spikes, each of which decays with τ:

    f_i = [g Σ_j W0(x_i − x_j − l e_j) s_j + A (1 + α e_i·v)]₊
    τ ds_i/dt + s_i = Σ_spikes δ(t − t_spike) / r

r is the rate at f = 1, so that the mean of s is that of the rate model. Of a Poisson process of rate m r f every m-th
event is a spike: intervals in the neuron's own time ∫ m r f dt are Gamma(m), their coefficient of variation is 1/√m.
A neuron fires at most once a step; what is left over of a step counts in the next.

Without a generator there are no spikes and the rates are those of the sheet.

Citation: Y. Burak and I. R. Fiete, PLoS Computational Biology 5, e1000291 (2009).
"""

import torch
from pydantic import Field
from torch import Tensor

from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete, BurakFieteConfig, recurrent_input
from entorhinal.families.continuous_attractor.burak_fiete_aperiodic import BurakFieteAperiodic
from entorhinal.families.continuous_attractor.stepping import BLOCK, StepLoop
from entorhinal.families.model import Model, Representation, State
from entorhinal.families.world import Trajectories

__all__ = ["BurakFieteSpiking", "BurakFieteSpikingConfig"]


class BurakFieteSpikingConfig(BurakFieteConfig):
    periodic: bool = Field(True, description="a torus; otherwise the sheet of burak_fiete_aperiodic")
    spikes_per_ms: float = Field(1.0, gt=0, description="r, a neuron's rate at f = 1")
    decimation: int = Field(1, ge=1, description="m; 1 is Poisson, intervals vary by 1/√m of their mean")


class BurakFieteSpiking(Model):
    """Rates s ``(B, T, n²)``; state: the sheet ``(B, n, n)`` and what is left to each neuron's next spike, likewise."""

    Config = BurakFieteSpikingConfig
    card = BurakFiete.card.model_copy(
        update={
            "id": "continuous_attractor/burak_fiete_spiking-v1",
            "title": "Continuous attractor sheet with spikes",
            "stochastic": True,
            "noisy_state": True,
            "deviations": (
                *BurakFiete.card.deviations[:2],
                "intervals are drawn in the neuron's own time, at most one spike a step; the paper draws each step",
                "settles, and reaches a start, without spikes",
                *BurakFiete.card.deviations[3:],
            ),
            "provenance": {
                **BurakFiete.card.provenance,
                "periodic": "paper has both",
                "spikes_per_ms": "reported from memory, unverified: the paper's f is a rate per ms with τ = 10 ms",
                "decimation": "paper has Poisson spikes and more regular ones (reported from memory, unverified)",
            },
        }
    )

    def __init__(self, config: BurakFieteSpikingConfig) -> None:
        super().__init__(config)
        shared = config.model_dump(exclude=set(type(config).model_fields) - set(BurakFieteConfig.model_fields))
        kind = BurakFiete if config.periodic else BurakFieteAperiodic
        self._loop = StepLoop()
        self.sheet = kind(kind.Config.parse(self.card.id, shared))
        self.first_wait: Tensor  # of a neuron met at a random moment, (n, n)
        generator = torch.Generator().manual_seed(config.seed)
        n, m = config.neurons_per_side, config.decimation
        events = torch.randint(1, m + 1, (n, n, 1), generator=generator) > torch.arange(m)
        waits = -torch.log1p(-torch.rand(n, n, m, generator=generator))
        self.register_buffer("first_wait", (events * waits).sum(-1), persistent=False)

    def initial_state(self, start_m: Tensor) -> dict[str, Tensor]:
        """The sheet as `BurakFiete.initial_state` has it, and the same wait for a spike in every trial."""
        sheet = self.sheet.initial_state(start_m)
        return {"sheet": sheet, "wait": self.first_wait.to(sheet).expand_as(sheet)}

    def represent(
        self, trajectories: Trajectories, state: State = None, *, generator: torch.Generator | None = None
    ) -> Representation:
        state = self.initial_state(trajectories.start_m) if state is None else state
        if generator is None:
            found = self.sheet.represent(trajectories, state["sheet"])
            return Representation(found.rates, {"sheet": found.state, "wait": state["wait"]})
        velocity_m_s = trajectories.displacement_m / trajectories.dt_s
        self.sheet.warn_if_fast(velocity_m_s)
        sheet, wait, sheets = state["sheet"], state["wait"], []
        for velocity in velocity_m_s.unbind(1):
            sheet, wait = self.fire(sheet, wait, velocity, 1e3 * trajectories.dt_s, generator)
            sheets.append(sheet)
        return Representation(torch.stack(sheets, 1).flatten(2), {"sheet": sheet, "wait": self.sheet.sane(wait)})

    def fire(
        self, sheet: Tensor, wait: Tensor, velocity_m_s: Tensor, ms: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Sheet and waits ``(B, n, n)`` after ``ms`` at velocities ``(B, 2)``, with spikes.

        On a CPU intervals are drawn for the few neurons that fire. Which they are a GPU would have to tell the host at
        each step, so there they are drawn for all, and steps are captured as in `StepLoop`.
        """
        (steps, rate), m = self.sheet.steps(ms), self.config.decimation
        drive, weights = self.sheet.drive(velocity_m_s, self.sheet.envelope).to(sheet), self.sheet.weights(sheet)
        if not sheet.is_cuda:
            return self._fire_few(sheet, wait, drive, weights, rate, steps, generator)
        state = torch.stack((sheet, wait))
        for done in range(0, steps, BLOCK):
            shape = (min(BLOCK, steps - done), *sheet.shape, m)
            intervals = torch.empty(shape, device=generator.device).exponential_(generator=generator).sum(-1)
            state = self._loop(self.fire_all, state, (drive, intervals.to(sheet)), weights, rate, 1)
        return state[0], state[1]

    def spent_and_height(self, rate: float) -> tuple[float, float]:
        """What a neuron at f = 1 uses up of its wait in a step of rate dt/τ, and how much a spike adds to s."""
        c = self.config
        ms = rate * c.time_constant_ms
        return c.decimation * c.spikes_per_ms * ms, 1 / (c.time_constant_ms * c.spikes_per_ms)

    def fire_all(
        self, state: Tensor, drive: Tensor, intervals: Tensor, source: Tensor, spectrum: Tensor, rate: float
    ) -> None:
        """A step for each of intervals ``(K, B, n, n)``, which neurons that fire wait next; overwrites state, stacked
        sheet and waits ``(2, B, n, n)``."""
        (sheet, wait), (spent, height) = state, self.spent_and_height(rate)
        for interval in intervals:
            wait.sub_(recurrent_input(sheet, source, spectrum).add_(drive).relu_(), alpha=spent)
            fires = wait <= 0
            wait.add_(interval * fires)
            sheet.mul_(1 - rate).add_(fires, alpha=height)

    def _fire_few(
        self,
        sheet: Tensor,
        wait: Tensor,
        drive: Tensor,
        weights: tuple[Tensor, Tensor],
        rate: float,
        steps: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        spent, height = self.spent_and_height(rate)
        sheet, wait = (each.clone(memory_format=torch.contiguous_format) for each in (sheet, wait))
        every_sheet, every_wait = sheet.view(-1), wait.view(-1)
        for _ in range(steps):
            wait.sub_(recurrent_input(sheet, *weights).add_(drive).relu_(), alpha=spent)
            fires = (every_wait <= 0).nonzero()[:, 0]
            shape = (len(fires), self.config.decimation)
            uniform = torch.rand(shape, generator=generator, device=generator.device, dtype=sheet.dtype)
            every_wait.index_add_(0, fires, torch.log1p(-uniform.to(sheet.device)).sum(-1), alpha=-1)
            sheet.mul_(1 - rate)
            every_sheet.index_add_(0, fires, sheet.new_full((len(fires),), height))
        return sheet, wait

    def decode(self, representation: Representation) -> Tensor:
        """Position ``(B, T, 2)`` since the first step, from the displacement of the lattice."""
        return self.sheet.decode(representation)

    def connectivity(self) -> Tensor:
        """Weights onto the neuron in the middle of the sheet, ``(1, N)``."""
        return self.sheet.connectivity()
