"""Reading the lattice of bumps on a periodic sheet of neurons: its waves, its order, and how far it has moved."""

import math

import torch
from torch import Tensor

__all__ = ["lattice_displacement", "lattice_waves"]


def lattice_waves(sheet: Tensor) -> tuple[Tensor, float]:
    """The three strongest waves of a sheet ``(rows, columns)``, in cycles a side ``(3, 2)`` as (x, y), and its order.

    Order is the share of the pattern's power that lies on the lattice these waves span: 1 for a triangular lattice
    without defects; 0 if activity is uniform or the waves are not three, well apart and of about one length.
    """
    sheet = sheet.detach().double().cpu()
    y, x = torch.meshgrid(*(torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in sheet.shape), indexing="ij")
    power = torch.fft.fft2(sheet - sheet.mean()).abs().square().flatten()
    grid = torch.stack((x, y), -1).flatten(0, 1)  # (N, 2)
    half = (grid[:, 0] > 0) | ((grid[:, 0] == 0) & (grid[:, 1] > 0))  # a wave and its reverse are one
    waves = grid[(power * half).topk(3).indices]
    per_neuron = waves / torch.tensor(sheet.shape[::-1])
    length = per_neuron.norm(dim=-1)
    cosine = (per_neuron @ per_neuron.T / (length[:, None] * length)).abs().triu(1).max()
    triangular = cosine < math.cos(math.radians(45)) and length.max() < 1.3 * length.min()
    if not triangular or sheet.std() < 1e-2 * sheet.mean().abs():
        return waves, 0.0
    whole = torch.linalg.solve(waves[:2].T, grid.T)  # every wave as a sum of the first two
    on_lattice = ((whole - whole.round()).abs() < 1e-6).all(0)
    return waves, float(power[on_lattice].sum() / power.sum())


def lattice_displacement(sheets: Tensor, settled: Tensor) -> Tensor:
    """How far the lattice has moved since the first sample, in neurons: ``(B, T, rows, columns)`` -> ``(B, T, 2)``.

    The phases of the three waves of the ``settled`` sheet ``(rows, columns)`` are unwrapped from one sample to the next
    (which must be closer than half a wave), and the displacement is the one that fits all three best. NaN from where on
    the lattice is lost, that is, where a wave falls below a thousandth of its settled strength.
    """
    wave = 2 * math.pi * lattice_waves(settled)[0] / torch.tensor(settled.shape[::-1])  # (3, 2), radians per neuron
    row, column = (torch.arange(n, dtype=torch.float64) for n in settled.shape)
    angle = (wave[:, 1, None, None] * row[:, None] + wave[:, 0, None, None] * column).flatten(1)  # (3, N)
    parts = torch.stack((angle.cos(), -angle.sin()), -1).to(sheets)  # (3, N, 2)
    phasor = torch.view_as_complex(torch.einsum("btn,wnc->btwc", sheets.flatten(2), parts).double().contiguous())
    reference = torch.view_as_complex(torch.einsum("n,wnc->wc", settled.flatten().to(sheets), parts).double())
    turn = torch.zeros_like(phasor.real)
    turn[:, 1:] = (phasor[:, 1:] * phasor[:, :-1].conj()).angle()
    turn = turn.masked_fill(~(phasor.abs() > 1e-3 * reference.abs()), math.nan)
    return (-turn @ torch.linalg.pinv(wave).T.to(turn)).cumsum(1).to(sheets.dtype)
