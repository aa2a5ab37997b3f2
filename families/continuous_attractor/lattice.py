"""Reading the lattice of bumps on a sheet of neurons: its waves, its order, its spacing, and how far it has moved.

A periodic sheet holds whole waves. On one that fades at its edges the lattice is read through a window that fades with
it, and its waves are of any length.
"""

import math

import torch
from torch import Tensor

__all__ = ["lattice_displacement", "lattice_spacing", "lattice_waves", "uniform"]

FINER, HARMONICS = 4, 3  # of the windowed transform; multiples of the waves that the order of a window counts


def lattice_waves(sheet: Tensor, window: Tensor | None = None) -> tuple[Tensor, float]:
    """The three strongest waves of a periodic sheet ``(n, n)``, in cycles a side ``(3, 2)`` as (x, y), and its order.

    Order is the share of the pattern's power that lies on the lattice these waves span: 1 for a triangular lattice
    without defects; 0 if activity is uniform or the waves are not three, well apart and of about one length.

    window: ``(n, n)``, how strong the lattice is from place to place, smooth and nothing at the edges: the sheet need
    not be periodic. Waves are then the peaks of the windowed transform, and order is the share of the variance that
    they and their harmonics explain, all as strong as the window.
    """
    sheet = sheet.detach().double().cpu()
    if window is not None:
        return _windowed_waves(sheet, window.detach().double().cpu())
    y, x = torch.meshgrid(*(torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in sheet.shape), indexing="ij")
    power = torch.fft.fft2(sheet - sheet.mean()).abs().square().flatten()
    grid = torch.stack((x, y), -1).flatten(0, 1)  # (N, 2)
    half = (grid[:, 0] > 0) | ((grid[:, 0] == 0) & (grid[:, 1] > 0))  # a wave and its reverse are one
    waves = grid[(power * half).topk(3).indices]
    if not _triangular(waves / torch.tensor(sheet.shape[::-1])) or uniform(sheet):
        return waves, 0.0
    whole = torch.linalg.solve(waves[:2].T, grid.T)  # every wave as a sum of the first two
    on_lattice = ((whole - whole.round()).abs() < 1e-6).all(0)
    return waves, float(power[on_lattice].sum() / power.sum())


def uniform(sheet: Tensor) -> bool:
    """Is activity the same everywhere, to a hundredth?"""
    return bool(sheet.std() < 1e-2 * sheet.mean().abs())


def _triangular(waves: Tensor) -> bool:
    """Are three waves ``(3, 2)`` well apart and of about one length?"""
    length = waves.norm(dim=-1)
    cosine = (waves @ waves.T / (length[:, None] * length)).abs().triu(1).max()
    return bool(cosine < math.cos(math.radians(45)) and length.max() < 1.3 * length.min())


def _windowed_waves(sheet: Tensor, window: Tensor) -> tuple[Tensor, float]:
    """`lattice_waves` of a sheet seen through a window, both in float64."""
    n, m = sheet.shape[-1], FINER * sheet.shape[-1]
    weight = window / window.sum()
    place = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
    width = (weight * (place[:, None] ** 2 + place**2)).sum().div(2).sqrt()
    pattern = sheet - (weight * sheet).sum()
    power = torch.fft.fft2(window * pattern, s=(m, m)).abs().square()
    ring = torch.nn.functional.pad(power[None], (1, 1, 1, 1), mode="circular")
    peaks = power == torch.nn.functional.max_pool2d(ring, 3, 1)[0]
    cycles = torch.fft.fftfreq(m, 1 / n, dtype=torch.float64)
    y, x = torch.meshgrid(cycles, cycles, indexing="ij")
    half = (x > 0) | ((x == 0) & (y > 0))
    beyond_mean = torch.hypot(x, y) > 3 * n / (2 * math.pi * width)
    found = (power * (peaks & half & beyond_mean)).flatten().topk(3)
    if not found.values.min() > 0:
        return torch.stack((x, y), -1).flatten(0, 1)[found.indices], 0.0
    row, column = found.indices // m, found.indices % m
    log = power.clamp_min(1e-300).log()

    def offset(before: Tensor, after: Tensor) -> Tensor:
        """Of the top of the parabola through a peak and its neighbours: exact where the window is Gaussian."""
        return (before - after) / (2 * (before - 2 * log[row, column] + after).clamp_max(-1e-12))

    dx = offset(log[row, (column - 1) % m], log[row, (column + 1) % m])
    dy = offset(log[(row - 1) % m, column], log[(row + 1) % m, column])
    waves = torch.stack((x[row, column] + dx / FINER, y[row, column] + dy / FINER), -1)
    contrast = (weight * pattern.square()).sum().sqrt()
    if not _triangular(waves) or contrast < 1e-2 * (weight * sheet).sum().abs():
        return waves, 0.0
    return waves, _explained(sheet, window, waves)


def _explained(sheet: Tensor, window: Tensor, waves: Tensor) -> float:
    """Share of a sheet's variance around the window's own shape that a lattice under the window explains."""
    n = len(sheet)
    first = waves[0]
    second = waves[1] if waves[1] @ first > 0 else -waves[1]  # 60° apart
    whole = range(-HARMONICS, HARMONICS + 1)
    pairs = [(i, j) for i in whole for j in whole if abs(i + j) <= HARMONICS and (i, j) > (0, 0)]
    sums = torch.tensor(pairs, dtype=torch.float64) @ torch.stack((first, second))
    place = torch.arange(n, dtype=torch.float64)
    angle = (2 * math.pi / n) * (sums[:, 1, None, None] * place[:, None] + sums[:, 0, None, None] * place).flatten(1)
    parts = torch.cat((torch.ones(1, n * n, dtype=torch.float64), angle.cos(), angle.sin())) * window.flatten()
    target = sheet.flatten()

    def left(basis: Tensor) -> Tensor:
        return (target - torch.linalg.solve(basis @ basis.T, basis @ target) @ basis).square().sum()

    return 1 - float(left(parts) / left(parts[:1]))


def lattice_spacing(waves: Tensor) -> float:
    """Distance between neighbouring bumps, as a part of the side, from three waves ``(3, 2)`` in cycles a side."""
    return 2 / math.sqrt(3) / float(waves.norm(dim=-1).mean())


def lattice_displacement(sheets: Tensor, settled: Tensor, window: Tensor | None = None) -> Tensor:
    """How far the lattice has moved since the first sample, in neurons: sheets ``(B, T, n, n)`` -> ``(B, T, 2)``.

    The phases of the three waves of the ``settled`` sheet ``(n, n)`` are unwrapped from one sample to the next (which
    must be closer than half a wave), and the displacement is the one that fits all three best. NaN from where on the
    lattice is lost, that is, where a wave falls below a thousandth of its settled strength. window: see
    `lattice_waves`; only what it shows is followed.
    """
    wave = 2 * math.pi * lattice_waves(settled, window)[0] / torch.tensor(settled.shape[::-1])  # (3, 2), rad per neuron
    row, column = (torch.arange(n, dtype=torch.float64) for n in settled.shape)
    angle = (wave[:, 1, None, None] * row[:, None] + wave[:, 0, None, None] * column).flatten(1)  # (3, N)
    parts = torch.stack((angle.cos(), -angle.sin()), -1).to(sheets)  # (3, N, 2)
    if window is not None:
        parts = parts * window.flatten()[:, None].to(parts)
    phasor = torch.view_as_complex(torch.einsum("btn,wnc->btwc", sheets.flatten(2), parts).double().contiguous())
    reference = torch.view_as_complex(torch.einsum("n,wnc->wc", settled.flatten().to(sheets), parts).double())
    turn = torch.zeros_like(phasor.real)
    turn[:, 1:] = (phasor[:, 1:] * phasor[:, :-1].conj()).angle()
    turn = turn.masked_fill(~(phasor.abs() > 1e-3 * reference.abs()), math.nan)
    return (-turn @ torch.linalg.pinv(wave).T.to(turn)).cumsum(1).to(sheets.dtype)
