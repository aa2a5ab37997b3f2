"""Known answers of statistics over seeds: how often intervals hold what they should, and false discoveries."""

import math

import torch

from entorhinal.analysis import estimate, false_discoveries, paired_difference, probability_of_improvement
from entorhinal.benchmarks.validation.rows import Row, seeded, within

SEEDS, EXPERIMENTS, FAMILIES, TESTS, TRUE_NULLS = 10, 1000, 1000, 100, 80
"""Seeds of an experiment; experiments; families of tests, tests of each, and those in which nothing is there."""


def statistics_rows() -> list[Row]:
    """Coverage of 95 % intervals with ten normal seeds, the chance of improvement, false discoveries."""
    generator = seeded("statistics")
    values = torch.randn(EXPERIMENTS, SEEDS, generator=generator, dtype=torch.float64)
    better = 1 + torch.randn(EXPERIMENTS, SEEDS, generator=generator, dtype=torch.float64)
    shared = 10 * torch.randn(EXPERIMENTS, SEEDS, generator=generator, dtype=torch.float64)
    found = {
        "mean": ([estimate(row, seed=i) for i, row in enumerate(values)], 0.0),
        "interquartile mean": ([estimate(row, "iqm", seed=i) for i, row in enumerate(values)], 0.0),
        "paired difference": (
            [
                paired_difference(s + b, s + v, seed=i)
                for i, (s, b, v) in enumerate(zip(shared, better, values, strict=True))
            ],
            1.0,
        ),
        "probability of improvement": (
            [probability_of_improvement(b, v, seed=i) for i, (b, v) in enumerate(zip(better, values, strict=True))],
            0.5 * (1 + math.erf(0.5)),
        ),
    }
    rows = []
    for name, (estimates, known) in found.items():
        held = sum(each.low <= known <= each.high for each in estimates) / len(estimates)
        population = f"{EXPERIMENTS:,} times {SEEDS} normal seeds"
        rows.append(Row(f"95 % interval, {name}", population, f"{known:.3g}", "part that holds it", held, low=0.88))
    mean = sum(each.value for each in estimates) / len(estimates)
    rows.append(within("probability of improvement", population, f"{known:.3g}", abs(mean - known), 0.02))
    uniform = torch.rand(FAMILIES, TESTS, generator=generator, dtype=torch.float64)
    shifted = torch.special.ndtr(torch.special.ndtri(uniform) - 3)
    something = torch.arange(TESTS) >= TRUE_NULLS
    p_values = torch.where(something, shifted, uniform)
    wrong = 0.0
    for row in p_values:
        called = torch.as_tensor(false_discoveries(row))
        wrong += float((called & ~something).sum() / called.sum().clamp_min(1)) / FAMILIES
    known = 0.05 * TRUE_NULLS / TESTS
    population = f"{FAMILIES:,} families of {TESTS} tests, {TRUE_NULLS} of nothing"
    rows.append(
        within("false discoveries", population, f"{100 * known:g} % of those called", 100 * abs(wrong - known), 1, "%")
    )
    return rows
