"""Sheets of neurons: how does a pattern of activity move and turn on the sheet, whatever pattern it is?"""

import math

import torch
from torch import Tensor

from entorhinal.analysis.tensors import Array, as_tensor

__all__ = ["rigid_motion", "round_window", "sixfold_orientation"]

PADDED = 256  # neurons a side of the transform from which an orientation is read


def round_window(rows: int, columns: int, part: float = 0.22) -> Tensor:
    """Weights ``(rows, columns)`` of a round window in the middle of a sheet, flat, with soft edges.

    part: radius at which the weight has fallen to 1/e, as a part of the shorter side.
    """
    y, x = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in (rows, columns))
    return torch.exp(-((y[:, None].hypot(x) / (part * min(rows, columns))) ** 4))


def rigid_motion(sheets: Array, window: Array) -> Tensor:
    """Movement and turn of a pattern from each sample to the next, by least squares: ``(T, H, W)`` -> ``(T - 1, 3)``.

    The change of activity between two samples is fitted by a shift (x, y), in neurons, and a turn about the middle of
    the sheet, in radians, of the mean of the two (Lucas & Kanade 1981, with rotation). Samples must be so close that
    the pattern moves by less than a quarter of its period. window ``(H, W)`` weights the neurons; keep it off the edges
    of the sheet. NaN where the pattern in the window does not show its motion: uniform activity, or stripes.
    """
    sheets, window = as_tensor(sheets, "sheets", "T, H, W"), as_tensor(window, "window", "H, W")
    between, change = (sheets[1:] + sheets[:-1]) / 2, sheets[1:] - sheets[:-1]
    slope_x, slope_y = ((between.roll(-1, axis) - between.roll(1, axis)) / 2 for axis in (-1, -2))
    y, x = (torch.arange(n).to(sheets) - (n - 1) / 2 for n in sheets.shape[-2:])
    turning = x * slope_y - y[:, None] * slope_x
    slopes = torch.stack((slope_x, slope_y, turning), -1).flatten(1, 2)  # (T - 1, N, 3)
    weighted = slopes * window.to(sheets).flatten()[:, None]
    normal = weighted.mT @ slopes
    wanted = -(weighted.mT @ change.flatten(1)[..., None])[..., 0]
    seen = torch.linalg.cond(normal) < 1e8
    eye = torch.eye(3).to(sheets)
    moved = torch.linalg.solve(torch.where(seen[:, None, None], normal, eye), wanted)
    return torch.where(seen[:, None], moved, torch.nan)


def sixfold_orientation(sheets: Array, window: Array) -> Tensor:
    """Orientation of a triangular pattern, in radians modulo 60°, centred on 0: ``(T, H, W)`` -> ``(T,)``.

    The phase of the sixfold part of the windowed sheet's power around the ring of its strongest waves (from 0.7 to 1.4
    of their frequency), over six: the direction of a wave. It looks at every sample by itself, so that errors do not
    add up. NaN where the pattern is uniform.
    """
    sheets, window = as_tensor(sheets, "sheets", "T, H, W"), as_tensor(window, "window", "H, W").to(sheets)
    mean = (sheets * window).sum((-2, -1), keepdim=True) / window.sum()
    power = torch.fft.fft2((sheets - mean) * window, s=(PADDED, PADDED)).abs().square()
    cycles = torch.fft.fftfreq(PADDED, dtype=power.dtype, device=power.device)
    radius = cycles[:, None].hypot(cycles)
    bins = (radius * PADDED).round().long().flatten()
    radial = torch.zeros(int(bins.max()) + 1).to(power).index_add(0, bins, power.mean(0).flatten())
    peak = float(radial.argmax()) / PADDED
    ring = (radius > 0.7 * peak) & (radius < 1.4 * peak)
    angle = torch.atan2(cycles[:, None].expand_as(radius), cycles.expand_as(radius))
    sixfold = (power * ring * torch.exp(6j * angle)).sum((-2, -1))
    seen = sixfold.abs() > 1e-12 * window.sum() ** 2 * sheets.square().mean((-2, -1))
    return torch.where(seen, sixfold.angle() / 6, math.nan)
