"""Periods along a line of neurons: are there steps, or one smooth change?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entorhinal.analysis.tensors import Array, as_tensor

__all__ = ["Plateau", "local_displacements", "local_periods", "plateaus", "sheet_periods"]

PADDING = 16
"""Windows are padded to so many times their length before the transform."""


@dataclass(frozen=True)
class Plateau:
    """A stretch over which the period stays while what should set it changes.

    Attributes:
        first, last: samples of the stretch, both within it.
        period: its median period.
    """

    first: int
    last: int
    period: float


def _windows(pattern: Tensor, window: int, stride: int) -> Tensor:
    if pattern.shape[-1] < window:
        raise ValueError(f"the pattern has {pattern.shape[-1]} neurons; a window of {window} needs as many")
    parts = pattern.unfold(-1, window, stride)
    return (parts - parts.mean(-1, keepdim=True)) * torch.hann_window(window, dtype=parts.dtype, device=parts.device)


def local_periods(
    pattern: Array, *, window: int = 192, stride: int = 16, shortest: float = 10.0, longest: float = 120.0
) -> tuple[Tensor, Tensor]:
    """Period of the strongest wave in each window along a line.

    Args:
        pattern: (..., N) rates along the line.
        window, stride: neurons.
        shortest, longest: periods sought, in neurons.

    Returns:
        Centres (W,) of the windows, from 0 at the first neuron, and periods (..., W), in neurons. A Hann window;
        the spectrum's peak is interpolated by a parabola.

    Raises:
        ValueError: fewer neurons than a window, periods out of order.
    """
    if not 2 < shortest < longest <= window:
        raise ValueError(f"shortest {shortest:g} and longest {longest:g} must rise, between 2 and the window {window}")
    rates = as_tensor(pattern, "pattern", "..., N")
    parts = _windows(rates, window, stride)
    power = torch.fft.rfft(parts, n=PADDING * window).abs().clamp_min(1e-300).log()
    low, high = math.ceil(PADDING * window / longest), math.floor(PADDING * window / shortest)
    best = power[..., low : high + 1].argmax(-1, keepdim=True) + low
    before, at, after = (power.gather(-1, best + step)[..., 0] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    offset = (0.5 * (before - after) / bend.where(bend < 0, torch.inf)).clamp(-0.5, 0.5)
    centres = torch.arange(parts.shape[-2], dtype=torch.float64) * stride + (window - 1) / 2
    return centres, PADDING * window / (best[..., 0] + offset)


def sheet_periods(
    sheet: Array, *, window: int = 96, stride: int = 8, shortest: float = 8.0, longest: float = 60.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Period of the waves of a sheet that is periodic along its rows, in windows along its columns.

    Args:
        sheet: (H, W) rates.
        window, stride: rows.
        shortest, longest: periods sought, in neurons.

    Returns:
        Centres (V,) of the windows, from 0 at the first row; periods (V,) of the ring of the spectrum with most power
        (mean wave number from 0.8 to 1.25 of its peak), in neurons; and how hexagonal that ring is (V,): the size of
        its sixfold part less that of its twofold part, over its power. 1 is a triangular lattice; stripes, squares and
        waves of all directions have 0. A Hann window along the columns.

    Raises:
        ValueError: fewer rows than a window, periods out of order.
    """
    if not 2 < shortest < longest <= window:
        raise ValueError(f"shortest {shortest:g} and longest {longest:g} must rise, between 2 and the window {window}")
    rates = as_tensor(sheet, "sheet", "H, W")
    if len(rates) < window:
        raise ValueError(f"the sheet has {len(rates)} rows; a window of {window} needs as many")
    parts = rates.unfold(0, window, stride).mT  # (V, window, W)
    taper = torch.hann_window(window, dtype=rates.dtype)[:, None]
    parts = (parts - (taper * parts).mean((1, 2), keepdim=True) / taper.mean()) * taper
    power = torch.fft.fft2(parts, s=(PADDING * window, rates.shape[1])).abs().square()
    ky, kx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in power.shape[1:])
    radius, angle = ky[:, None].hypot(kx), torch.atan2(ky[:, None].expand(power.shape[1:]), kx.expand(power.shape[1:]))
    sought = (radius > 1 / longest) & (radius < 1 / shortest)
    bins = (radius * 2 * window).round().long()[sought]
    rings = torch.zeros(len(power), int(bins.max()) + 2, dtype=power.dtype).index_add_(1, bins, power[:, sought])
    peak = (rings / (torch.arange(rings.shape[1]) + 0.5).sqrt()).argmax(1)[:, None, None] / (2 * window)
    ring = power * ((radius > 0.8 * peak) & (radius < 1.25 * peak))
    total = ring.sum((1, 2))
    sixfold, twofold = ((ring * torch.exp(order * 1j * angle)).sum((1, 2)).abs() / total for order in (6, 2))
    centres = torch.arange(len(power), dtype=torch.float64) * stride + (window - 1) / 2
    return centres, total / (ring * radius).sum((1, 2)), sixfold - twofold


def plateaus(
    period: Array, scale: Array, *, slope: float = 0.5, span: float = 0.03, least: float = 0.05
) -> list[Plateau]:
    """Stretches of a line in which the period stays while the scale that should set it changes.

    Where the period follows the scale, d log(period) / d log(scale) is 1. A plateau is a run of samples at which it is
    below ``slope``, over at least ``least`` in log(scale); a jump has a far higher one.

    Args:
        period: (W,) of the pattern.
        scale: (W,) rising.
        slope: that tells a plateau.
        span: log(scale) on each side over which the slope is taken.
        least: log(scale) that a plateau covers.

    Returns:
        The plateaus, in order. Empty where the period follows the scale.

    Raises:
        ValueError: shapes that differ, a scale that does not rise.
    """
    lengths, scales = as_tensor(period, "period", "W").log(), as_tensor(scale, "scale", "W").log()
    if lengths.shape != scales.shape:
        raise ValueError(f"period {tuple(lengths.shape)} and scale {tuple(scales.shape)} must have the same shape")
    if not (scales.diff() > 0).all():
        raise ValueError("scale must rise from sample to sample")
    after = torch.searchsorted(scales, scales + span).clamp(max=len(scales) - 1)
    before = (torch.searchsorted(scales, scales - span, right=True) - 1).clamp(min=0)
    flat = (lengths[after] - lengths[before]) < slope * (scales[after] - scales[before])
    found = []
    edges = torch.diff(flat.int(), prepend=torch.zeros(1, dtype=torch.int), append=torch.zeros(1, dtype=torch.int))
    starts, stops = (edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist()
    for first, stop in zip(starts, stops, strict=True):
        if scales[stop - 1] - scales[first] >= least:
            found.append(Plateau(first, stop - 1, float(lengths[first:stop].median().exp())))
    return found


def local_displacements(
    patterns: Array, settled: Array, *, window: int = 192, stride: int = 96, **sought: float
) -> tuple[Tensor, Tensor]:
    """How far each stretch of a pattern has moved along the line since the first sample.

    Args:
        patterns: (..., T, N); between samples it moves by less than half a period.
        settled: (N,) the pattern whose `local_periods` are followed.
        window, stride: neurons.
        sought: ``shortest`` and ``longest`` of `local_periods`.

    Returns:
        Centres (W,) and displacements (..., T, W) in neurons, from the unwrapped phase of the window's wave.

    Raises:
        ValueError: as `local_periods`.
    """
    rates = as_tensor(patterns, "patterns", "..., T, N")
    centres, period = local_periods(settled, window=window, stride=stride, **sought)
    angle = 2 * math.pi * torch.arange(window, dtype=torch.float64) / period[:, None]
    wave = (_windows(rates, window, stride) * torch.exp(-1j * angle)).sum(-1)  # (..., T, W)
    turn = torch.zeros_like(wave.real)
    turn[..., 1:, :] = (wave[..., 1:, :] * wave[..., :-1, :].conj()).angle()
    return centres, -turn.cumsum(-2) * period / (2 * math.pi)
