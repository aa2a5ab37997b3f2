"""Tuning curves shared by all families: place cells, head direction, hexagonal modules, and tables of maps."""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

__all__ = [
    "difference_of_gaussians_place_cells",
    "difference_of_softmaxes_place_cells",
    "gaussian_place_cells",
    "head_direction_cells",
    "hexagonal_tuning",
    "hexagonal_waves",
    "interpolate_maps",
    "softmax_place_cells",
    "square_distance",
]


def square_distance(position_m: Tensor, centre_m: Tensor, period_m: tuple[float, ...] | None = None) -> Tensor:
    """Squared distances (m²) of ``position_m (..., D)`` to ``centre_m (N, D)``, ``(..., N)``; on a torus if given."""
    offset = position_m[..., None, :] - centre_m
    if period_m is not None:
        period = torch.tensor(period_m, dtype=offset.dtype, device=offset.device)
        offset = offset - period * torch.round(offset / period)
    return offset.square().sum(-1)


def gaussian_place_cells(
    position_m: Tensor, centre_m: Tensor, width_m: float, period_m: tuple[float, ...] | None = None
) -> Tensor:
    """Gaussian place fields of peak 1: ``position_m (..., D)``, ``centre_m (N, D)`` -> rates ``(..., N)``."""
    return torch.exp(square_distance(position_m, centre_m, period_m) / (-2 * width_m**2))


def difference_of_gaussians_place_cells(
    position_m: Tensor,
    centre_m: Tensor,
    width_m: float,
    period_m: tuple[float, ...] | None = None,
    surround_ratio: float = 2.0,
) -> Tensor:
    """Place fields with a surround whose volume cancels the centre's: ``(..., D)``, ``(N, D)`` -> ``(..., N)``.

    G(σ) − G(surround_ratio σ) with each Gaussian of unit volume, scaled to a peak of 1 (Dordek et al. 2016).
    """
    square = square_distance(position_m, centre_m, period_m)
    weight = surround_ratio ** -position_m.shape[-1]
    centre, surround = torch.exp(-square / (2 * width_m**2)), torch.exp(-square / (2 * (surround_ratio * width_m) ** 2))
    return (centre - weight * surround) / (1 - weight)


def softmax_place_cells(position_m: Tensor, centre_m: Tensor, width_m: float | Tensor) -> Tensor:
    """Gaussian fields normalised over the cells: ``(..., D)``, ``(N, D)``, width a number or 0-d -> ``(..., N)``.

    p_i = softmax_i(−|x − c_i|²/2σ²), positive and of sum 1 over the cells (Banino et al. 2018; Sorscher et al. 2019).
    """
    return torch.softmax(square_distance(position_m, centre_m) / (-2 * width_m**2), -1)


def difference_of_softmaxes_place_cells(
    position_m: Tensor, centre_m: Tensor, width_m: float | Tensor, surround_variance_ratio: float | Tensor = 2.0
) -> Tensor:
    """Fields with a surround, as probabilities: ``(..., D)``, ``(N, D)``, others numbers or 0-d -> ``(..., N)``.

    δ_i = softmax_i(−|x − c_i|²/2σ²) − softmax_i(−|x − c_i|²/2sσ²), then p_i = (δ_i − min δ)/Σ_j (δ_j − min δ), with s
    the ratio of the two variances, not widths (Sorscher et al. 2019; the name is of Schaeffer et al. 2022). The shift
    puts the cells in the surround at 0 and all far ones above it. So far from all centres that the two softmaxes are
    one, p is uniform.
    """
    drive = square_distance(position_m, centre_m) / (-2 * width_m**2)
    difference = torch.softmax(drive, -1) - torch.softmax(drive / surround_variance_ratio, -1)
    shifted = difference - difference.amin(-1, keepdim=True) + torch.finfo(drive.dtype).tiny
    return shifted / shifted.sum(-1, keepdim=True)


def head_direction_cells(heading_rad: Tensor, preferred_rad: Tensor, concentration: float) -> Tensor:
    """von Mises head-direction tuning of peak 1: ``heading_rad (...)``, ``preferred_rad (N,)`` -> ``(..., N)``."""
    return torch.exp(concentration * (torch.cos(heading_rad[..., None] - preferred_rad) - 1))


def hexagonal_waves(spacing_m: Tensor, orientation_rad: Tensor) -> Tensor:
    """The three wave vectors (rad/m) of triangular lattices: ``(N,)``, ``(N,)`` -> ``(N, 3, 2)``.

    Spacing is the distance between neighbouring fields and orientation the direction of one lattice axis. The waves are
    perpendicular to the lattice axes and of length 4π/(√3 spacing); they sum to 0.
    """
    angle = orientation_rad[:, None] + torch.arange(3, dtype=spacing_m.dtype, device=spacing_m.device) * (
        2 * math.pi / 3
    )
    angle = angle + math.pi / 2
    length = 4 * math.pi / (math.sqrt(3) * spacing_m)
    return length[:, None, None] * torch.stack((angle.cos(), angle.sin()), -1)


def hexagonal_tuning(
    position_m: Tensor, wave_rad_m: Tensor, centre_m: Tensor, sharpness: float | None = None
) -> Tensor:
    """Three-cosine fields: ``position_m (..., 2)``, waves ``(N, 3, 2)``, one field centre ``(N, 2)`` -> ``(..., N)``.

    The sum of three cosines lies in [−1.5, 3]. With ``sharpness`` None, it is rescaled to [0, 1]; otherwise the tuning
    is von-Mises-like, exp(sharpness (sum − 3) / 3), with peak 1.
    """
    phase = torch.einsum("...d,nkd->...nk", position_m, wave_rad_m) - torch.einsum("nd,nkd->nk", centre_m, wave_rad_m)
    waves = phase.cos().sum(-1)
    return (waves + 1.5) / 4.5 if sharpness is None else torch.exp(sharpness * (waves - 3) / 3)


def interpolate_maps(
    maps: Tensor, position_m: Tensor, extent_m: tuple[tuple[float, float], ...], *, periodic: bool = False
) -> Tensor:
    """Read tables of rates bilinearly: maps ``(N, H, W)`` over ``extent_m``, ``position_m (B, T, 2)`` -> ``(B, T, N)``.

    Values sit at bin centres, rows along y. Periodic tables wrap; others hold their edge values for the half bin at the
    border and give NaN outside the extent.
    """
    (x0, x1), (y0, y1) = extent_m
    height, width = maps.shape[-2:]
    size = torch.tensor([x1 - x0, y1 - y0], dtype=position_m.dtype, device=position_m.device)
    unit = (position_m - torch.tensor([x0, y0], dtype=position_m.dtype, device=position_m.device)) / size
    table = maps.to(position_m)[None]
    bins = torch.tensor([width, height], dtype=position_m.dtype, device=position_m.device)
    if periodic:
        table = torch.nn.functional.pad(table, (1, 1, 1, 1), mode="circular")
        where = (torch.remainder(unit, 1) * bins + 1) / (bins + 2)
    else:
        where = unit
    # grid_sample wants (1, N, H, W) and a grid (1, B, T, 2) in [-1, 1]
    rates = grid_sample(table, (2 * where - 1)[None].flatten(1, 2)[:, None], padding_mode="border", align_corners=False)
    rates = rates[0, :, 0].T.unflatten(0, position_m.shape[:2])
    if not periodic:
        outside = ((unit < -1e-6) | (unit > 1 + 1e-6)).any(-1)
        rates = rates.masked_fill(outside[..., None], math.nan)
    return rates
