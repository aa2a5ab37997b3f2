"""Robustness: populations with noise and with units lost, and how much of either a measure stands."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from entorhinal.analysis.tensors import Array, as_tensor


def modulation(rates: Array) -> Tensor:
    """Standard deviation of each unit's rate over samples, ``(..., N)`` -> ``(N,)``, in its own unit; NaN left out.

    The size of the units' signals: noise is stated in multiples of it, or of its root mean square over the population.
    """
    values = as_tensor(rates, "rates", "..., N")
    values = values.reshape(-1, values.shape[-1])
    return (values - values.nanmean(0)).square().nanmean(0).sqrt()


def with_noise(rates: Array, noise_sd: float | Array, *, generator: torch.Generator) -> Tensor:
    """Rates ``(..., N)`` with independent Gaussian noise of standard deviation ``noise_sd``, in their own unit.

    Rates may become negative: cutting them off at 0 would shift the means of quiet units.

    Args:
        rates: (..., N).
        noise_sd: 0 or more, one for all units or (N,).
        generator: source of the noise, on the CPU.

    Raises:
        ValueError: noise below 0.
    """
    values = as_tensor(rates, "rates", "..., N")
    size = torch.as_tensor(noise_sd).to(values)
    if not bool((size.isfinite() & (size >= 0)).all()):
        raise ValueError(f"noise_sd is {noise_sd!r}; give a standard deviation of 0 or more")
    noise = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    return values + size * noise.to(values)


def kept_units(units: int, dropout: float, *, generator: torch.Generator) -> Tensor:
    """Which of ``units`` are left when a fraction ``dropout`` of them, in whole units, falls silent: ``(units,)``.

    Raises:
        ValueError: a fraction not between 0 and 1.
    """
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout is {dropout!r}; give a fraction of the units, 0 to 1")
    order = torch.randperm(units, generator=generator)
    return torch.ones(units, dtype=torch.bool).index_fill(0, order[: round(dropout * units)], False)


def tolerance(levels: Sequence[float], values: Sequence[float], limit: float) -> float:
    """The level at which a measure first reaches ``limit``, by linear interpolation between levels.

    Args:
        levels: (L,) rising.
        values: (L,) the measure at each level, such as an error; levels whose value is NaN are left out.
        limit: value to be reached from below.

    Returns:
        The level: the first one if it is there already, inf if no level reaches it, NaN if limit or all values are.

    Raises:
        ValueError: unequal lengths, levels that do not rise.
    """
    if len(levels) != len(values) or any(b <= a for a, b in pairwise(levels)):
        raise ValueError(f"levels is {list(levels)} and values {list(values)}; give as many values as rising levels")
    known = [(level, value) for level, value in zip(levels, values, strict=True) if not math.isnan(value)]
    if math.isnan(limit) or not known:
        return math.nan
    before: tuple[float, float] | None = None
    for level, value in known:
        if value >= limit:
            if before is None or math.isinf(value):
                return level
            return before[0] + (level - before[0]) * (limit - before[1]) / (value - before[1])
        before = level, value
    return math.inf
