"""How many neurons for each module when the animal moves?  Mosheiff et al. 2017: allocation, and what it is worth."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from entorhinal.families.coding_theory.decoding import decode_waves
from entorhinal.families.coding_theory.dynamic import allocation, least_error_allocation, steady_variance
from entorhinal.families.coding_theory.ring import ring_information, ring_waves
from entorhinal.paper_figures.figure import Claim, Data, Figure, Progress, exchanged, panel_rows, within

__all__ = ["FIGURE", "claims", "compute", "draw"]

RATIO, SMALLEST_M, MODULES = 1.5, 0.3, 5
PERIODS_M = tuple(SMALLEST_M * RATIO**step for step in reversed(range(MODULES)))
UNITS = 1000
SHARPNESS = 3.0
FEW, MANY = "few spikes", "many spikes"
SETTINGS = {FEW: (1.0, 0.05), MANY: (15.0, 0.002)}
"""Rate of a unit at its peak (Hz) and diffusion (m²/s). In the first, chosen before the first run, the memory of a
module holds about one spike, and the theory, which is linear, failed. In the second, added by the rule that twice the
memory of the smallest module of panel b holds ten spikes, it has what it assumes. Both are judged and published."""
REST_S = 0.1  # read-out time of an animal at rest
DT_S, TRIALS, BURN_IN, STEPS, EVERY = 0.001, 50, 800, 600, 4
SINGLE_UNITS = (30, 100, 300)  # of one module of the smallest period
MEMORIES = tuple(np.geomspace(1 / 8, 8, 7))  # over the best one
EQUAL, RELATIVE, LEAST = "equal", "equal relative error", "least error"
REST = "at rest"
TRACKED = ((FEW, EQUAL), (FEW, RELATIVE), (FEW, LEAST), (MANY, EQUAL), (MANY, RELATIVE))
CITATION = "Mosheiff et al. 2017"
COLOURS = {EQUAL: "#666666", RELATIVE: "#0072B2", LEAST: "#009E73", REST: "#D55E00"}

FIGURE = Figure(
    id="dynamic_allocation",
    title="Module sizes for a moving animal",
    caption=(
        "(a) Neurons of each module when 1,000 are shared out: equal relative error at every step for an animal that "
        "diffuses (blue, falling) or rests (orange), and least expected squared error while it diffuses (green; units "
        "of 1 Hz at the peak, 0.05 m²/s). (b) Squared error of following the animal with one module (0.3 m) of 30, 100 "
        "and 300 Poisson units against the time constant of an exponential memory, both over the best of the filter "
        "theory. Filled: many spikes (15 Hz, 0.002 m²/s); open: few (1 Hz, 0.05 m²/s: about one in a memory). (c) "
        "Error of following the animal with all five modules, read in stages from coarse to fine, over that of equal "
        "modules, root-mean-square; grey: ten groups of trials. Where spikes are many the third allocation is left "
        "out: it gives the coarse modules less than one unit."
    ),
    models=("coding_theory/dynamic-v1",),
)


def _per_unit(setting: str) -> float:
    """a: information rate of a unit at a period of 1 m."""
    return ring_information(1, SHARPNESS, SETTINGS[setting][0])


def _walk(diffusion: float, generator: torch.Generator, half_m: float) -> Tensor:
    """Brownian positions ``(B, T)`` within walls."""
    start = (2 * torch.rand(TRIALS, 1, generator=generator, dtype=torch.float64) - 1) * half_m
    step = torch.randn(TRIALS, BURN_IN + STEPS, generator=generator, dtype=torch.float64)
    free = start + math.sqrt(2 * diffusion * DT_S) * step.cumsum(1)
    folded = torch.remainder(free + half_m, 4 * half_m)
    return torch.minimum(folded, 4 * half_m - folded) - half_m


def _remembered(waves: Tensor, memory_s: float) -> Tensor:
    """Sum over past spikes ``(B, T)``, forgotten exponentially, at every ``EVERY``th step after the burn-in."""
    keep, now, found = math.exp(-DT_S / memory_s), torch.zeros_like(waves[:, 0]), []
    for step, new in enumerate(waves.unbind(1)):
        now = keep * now + new
        if step >= BURN_IN and (step - BURN_IN) % EVERY == 0:
            found.append(now)
    return torch.stack(found, 1)


def _spikes(position_m: Tensor, period_m: float, units: int, peak_hz: float, generator: torch.Generator) -> Tensor:
    phase = position_m / period_m
    return torch.stack([ring_waves(row, units, SHARPNESS, peak_hz * DT_S, generator) for row in phase])


def single_module_rows(setting: str, generator: torch.Generator) -> list[dict[str, object]]:
    """Squared error of one module by the time constant of the memory, over the filter's."""
    rows: list[dict[str, object]] = []
    period_m, (peak_hz, diffusion) = PERIODS_M[-1], SETTINGS[setting]
    for units in SINGLE_UNITS:
        rate = _per_unit(setting) * units / period_m**2
        expected = float(steady_variance(np.asarray(rate), diffusion))
        position_m = _walk(diffusion, generator, 1.0)
        waves = _spikes(position_m, period_m, units, peak_hz, generator)
        truth = position_m[:, BURN_IN::EVERY] / period_m
        for memory in MEMORIES:
            found = _remembered(waves, memory / math.sqrt(2 * diffusion * rate)).angle() / (2 * math.pi)
            error = found - truth
            square = float((error - error.round()).square().mean()) * period_m**2
            row = {"setting": setting, "units": units, "memory": float(memory)}
            rows.append({"panel": "b", **row, "variance": square, "expected": expected})
    return rows


def _read_in_stages(waves: list[Tensor], rates: np.ndarray, diffusion: float) -> Tensor:
    """Positions by stages: with each module, all up to it are read with one memory, near what is known so far."""
    known_m = torch.zeros_like(waves[0].real[:, BURN_IN::EVERY])
    for stage, total in enumerate(np.cumsum(rates), 1):
        memory_s = 1 / math.sqrt(2 * diffusion * total)
        period = torch.tensor(PERIODS_M[:stage], dtype=torch.float64)
        heard = torch.stack([_remembered(wave, memory_s) for wave in waves[:stage]], -1)
        heard = heard * torch.polar(torch.ones(()).double(), -2 * math.pi * known_m[..., None] / period)
        reach_m = PERIODS_M[stage - 1] / 2
        known_m = known_m + decode_waves(heard, period, -reach_m, reach_m).nan_to_num(nan=0.0)
    return known_m


def tracking_rows(setting: str, rule: str, sizes: np.ndarray, generator: torch.Generator) -> list[dict[str, object]]:
    """Errors of following the animal with all modules, ten groups of trials."""
    peak_hz, diffusion = SETTINGS[setting]
    position_m = _walk(diffusion, generator, 0.45 * PERIODS_M[0])
    waves = [_spikes(position_m, *pair, peak_hz, generator) for pair in zip(PERIODS_M, map(round, sizes), strict=True)]
    rates = _per_unit(setting) * sizes / np.square(PERIODS_M)
    error = _read_in_stages(waves, rates, diffusion) - position_m[:, BURN_IN::EVERY]
    return [
        {"panel": "c", "setting": setting, "rule": rule, "group": group, "rms_m": float(part.square().mean().sqrt())}
        for group, part in enumerate(error.chunk(10))
    ]


def compute(progress: Progress) -> Data:
    """A row a module and rule, a memory, or a group of trials."""
    generator = torch.Generator().manual_seed(0)
    information = _per_unit(FEW), SETTINGS[FEW][1]
    rules = {
        EQUAL: np.full(MODULES, UNITS / MODULES),
        RELATIVE: allocation(PERIODS_M, UNITS, ratio=RATIO),
        LEAST: least_error_allocation(PERIODS_M, UNITS, *information),
        REST: allocation(PERIODS_M, UNITS, ratio=RATIO, moving=False),
        f"{LEAST}, {REST}": least_error_allocation(PERIODS_M, UNITS, *information, rest_s=REST_S),
    }
    rows: list[dict[str, object]] = [
        {"panel": "a", "rule": rule, "period_m": period_m, "units": float(size)}
        for rule, sizes in rules.items()
        for period_m, size in zip(PERIODS_M, sizes, strict=True)
    ]
    total = len(SETTINGS) + len(TRACKED)
    for done, setting in enumerate(SETTINGS, 1):
        rows += single_module_rows(setting, generator)
        progress(done, total)
    for done, (setting, rule) in enumerate(TRACKED, len(SETTINGS) + 1):
        rows += tracking_rows(setting, rule, rules[rule], generator)
        progress(done, total)
    return Data(pd.DataFrame(rows))


def _sizes(data: Data, rule: str) -> pd.DataFrame:
    return panel_rows(data, "a", rule=rule).sort_values("period_m")


def _exponent(data: Data) -> float:
    rows = _sizes(data, RELATIVE)
    return float(np.polyfit(np.log(rows["period_m"]), np.log(rows["units"]), 1)[0])


def _least_step(data: Data) -> float:
    """The smallest ratio of a module's size to the next coarser one's."""
    size = _sizes(data, LEAST)["units"].to_numpy(float)
    return float((size[:-1] / size[1:]).min())


def _worst_variance(setting: str) -> Callable[[Data], float]:
    """Squared error over expected at the best memory, of the module where it is furthest from 1."""

    def statistic(data: Data) -> float:
        rows = panel_rows(data, "b", setting=setting, memory=1.0)
        ratio = (rows["variance"] / rows["expected"]).to_numpy(float)
        return float(ratio[np.argmax(np.abs(np.log(ratio)))])

    return statistic


def _best_memory(setting: str) -> Callable[[Data], float]:
    """The memory of least error over the expected one, geometric mean over modules."""

    def statistic(data: Data) -> float:
        rows = panel_rows(data, "b", setting=setting)
        best = rows.loc[rows.groupby("units")["variance"].idxmin(), "memory"]
        return float(np.exp(np.log(best).mean()))

    return statistic


def _gain(setting: str, rule: str) -> Callable[[Data], float]:
    """Error of equal modules over that of another allocation."""

    def statistic(data: Data) -> float:
        equal, other = (
            panel_rows(data, "c", setting=setting, rule=name)["rms_m"].pow(2).mean() for name in (EQUAL, rule)
        )
        return math.sqrt(equal / other)

    return statistic


def _no_gain(data: Data) -> Data:
    """A control: every allocation follows the animal as equal modules do."""
    table = data.table.copy()
    for setting, rule in TRACKED:
        there = table["panel"].eq("c") & table["setting"].eq(setting) & table["rule"].eq(rule)
        table.loc[there, "rms_m"] = panel_rows(data, "c", setting=setting, rule=EQUAL)["rms_m"].to_numpy()
    return replace(data, table=table)


def _long_memory(data: Data) -> Data:
    """A control: every memory is said to be eight times shorter than it is."""
    kept = data.table[data.table["panel"].ne("b") | data.table["memory"].ge(1)]
    return replace(data, table=kept.assign(memory=kept["memory"] / MEMORIES[-1]))


claims = (
    Claim(
        id="dynamic_exponent",
        statement="With equal relative error at every step the size of a module falls with its spacing to the power −2",
        paper="sharply; −2 is our derivation",
        citation=CITATION,
        statistic=_exponent,
        control=exchanged("rule", RELATIVE, REST),
        **within(-2.0),
    ),
    Claim(
        id="dynamic_sizes_fall",
        statement="Where the expected squared error is least, every module is larger than the next coarser one "
        "(smallest ratio > 1)",
        paper="falls sharply",
        citation=CITATION,
        statistic=_least_step,
        control=exchanged("rule", LEAST, f"{LEAST}, {REST}"),
        low=1.0,
    ),
    *(
        Claim(
            id=f"dynamic_steady_error_{setting.replace(' ', '_')}",
            statement=f"The squared error of following a diffusing animal is √(2 D / J), {setting} (measured over it)",
            paper="1",
            citation=CITATION,
            statistic=_worst_variance(setting),
            control=_long_memory,
            **within(1.0, 0.15),
        )
        for setting in SETTINGS
    ),
    *(
        Claim(
            id=f"dynamic_memory_{setting.replace(' ', '_')}",
            statement=f"The best memory lasts 1 / √(2 D J), {setting} (measured / expected)",
            paper="1",
            citation=CITATION,
            statistic=_best_memory(setting),
            control=_long_memory,
            low=0.7,
            high=1.4,
        )
        for setting in SETTINGS
    ),
    *(
        Claim(
            id=f"dynamic_gain_{setting.replace(' ', '_')}",
            statement=f"Modules that shrink with their spacing follow the animal better than equal ones, {setting} "
            f"(error of equal / of {rule}, ≥ 1.1, 1,000 units)",
            paper="better",
            citation=CITATION,
            statistic=_gain(setting, rule),
            control=_no_gain,
            low=1.1,
        )
        for setting, rule in ((FEW, LEAST), (MANY, RELATIVE))
    ),
)


def draw(data: Data) -> Canvas:
    """Three panels, 180 mm wide: sizes, memory of one module, error of all."""
    canvas = Canvas(figsize=(180 / 25.4, 68 / 25.4), layout="constrained")
    size_axes, memory_axes, error_axes = canvas.subplots(1, 3, width_ratios=(1.1, 1.1, 0.8))
    _draw_sizes(size_axes, data)
    _draw_memory(memory_axes, data)
    _draw_errors(error_axes, data)
    for letter, axes in zip("abc", (size_axes, memory_axes, error_axes), strict=True):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    canvas.draw_without_rendering()  # fixes text sizes while the style holds
    return canvas


def _draw_sizes(axes: Axes, data: Data) -> None:
    for rule, marker, label in ((RELATIVE, "o", "falling"), (LEAST, "^", "least error"), (REST, "s", "at rest")):
        rows = _sizes(data, rule)
        axes.plot(rows["period_m"], rows["units"], f"{marker}-", ms=4, lw=1, color=COLOURS[rule], label=label)
    axes.set(xscale="log", yscale="log", ylim=(20, 3000), xlabel="Period (m)", ylabel="Neurons in the module")
    axes.set_xticks(PERIODS_M, [f"{period:.2f}" for period in PERIODS_M])
    axes.set_xticks([], minor=True)
    axes.legend(loc="upper right", borderaxespad=0.2)


def _draw_memory(axes: Axes, data: Data) -> None:
    memory = np.geomspace(MEMORIES[0], MEMORIES[-1], 100)
    axes.plot(memory, (memory + 1 / memory) / 2, "--", lw=0.9, color="#666666", label="filter theory")
    for units, colour in zip(SINGLE_UNITS, ("#9ecae1", "#4292c6", "#08306b"), strict=True):
        for setting, face in ((FEW, "white"), (MANY, colour)):
            rows = panel_rows(data, "b", setting=setting, units=units)
            label = f"{units} units" if setting == MANY else None
            ratio = rows["variance"] / rows["expected"]
            axes.plot(rows["memory"], ratio, "o", ms=4, color=colour, mfc=face, label=label)
    axes.set(xscale="log", yscale="log", xlabel="Memory / best memory", ylabel="Squared error / least, theory")
    axes.set_xticks([0.125, 0.5, 1, 2, 8], ["1/8", "1/2", "1", "2", "8"])
    axes.set_xticks([], minor=True)
    axes.set_yticks([1, 2, 4], ["1", "2", "4"])
    axes.set_yticks([], minor=True)
    axes.legend(loc="upper center", borderaxespad=0.2)


def _draw_errors(axes: Axes, data: Data) -> None:
    names = {EQUAL: "equal", RELATIVE: "falling", LEAST: "least error"}
    places = [0, 1, 2, 3.5, 4.5]
    for place, (setting, rule) in zip(places, TRACKED, strict=True):
        scale = math.sqrt(panel_rows(data, "c", setting=setting, rule=EQUAL)["rms_m"].pow(2).mean())
        group = panel_rows(data, "c", setting=setting, rule=rule)["rms_m"].to_numpy(float) / scale
        axes.plot(np.linspace(place - 0.2, place + 0.2, len(group)), group, "o", ms=2.5, color="#bbbbbb")
        face = "white" if setting == FEW else COLOURS[rule]
        axes.plot(place, math.sqrt(np.square(group).mean()), "o", ms=6, color=COLOURS[rule], mfc=face)
    axes.axhline(1, color="#666666", lw=0.8, ls="--", zorder=0)
    axes.set_xticks(places, [names[rule] for _, rule in TRACKED], rotation=40, ha="right", rotation_mode="anchor")
    axes.set(xlim=(-0.6, 5.1), yscale="log", xlabel="Few spikes         Many spikes", ylabel="Error / of equal modules")
    axes.set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    axes.set_yticks([], minor=True)
