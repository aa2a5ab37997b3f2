"""Phases: where in the unit cell of its module's lattice a unit fires, and whether the phases fill the cell evenly.

A lattice with basis vectors a1, a2 (rows, about 60 degrees apart) has three shortest wave vectors: the duals k1 and k2
(k_i · a_j = 1 if i = j, else 0) and k1 + k2. A point u1 a1 + u2 a2 has the phases u1, u2 and u1 + u2 of the waves.
"""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from entorhinal.analysis.lattices import Lattices, checked_bin
from entorhinal.analysis.tensors import Array, as_tensor, chunk_size, standardized

HARMONICS = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, 0), (0, 2), (2, 2))
"""Waves fitted to a map, as multiples of k1 and k2: the three shortest, then the two next shells of the dual lattice,
which take up the sharpness of fields and so keep it from leaking into the first three where a box cuts periods."""

RASTER = 16
"""Phases a side of the cell among which decoding begins."""


def phases(
    maps: Array, lattice: Lattices | Array, bin_m: float, *, origin_m: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Offset of every unit's fields in the unit cell, by the map's complex amplitudes at the lattice's wave vectors.

    A mean, the lattice's three shortest waves and their next six harmonics are fitted to the visited bins by least
    squares, as projections would leak where the box cuts periods. The offset maximises the cross-correlation of the map
    with the lattice of the three shortest waves: it maximises the sum over waves of amplitude times cos(phase error).

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.
        lattice: one basis (2, 2) for all units, rows in metres, less than 90 degrees apart (a row of
            `Modules.basis_m`); or one a unit, (N, 2, 2) or `Lattices`. Phases compare only within one basis.
        bin_m: side of a bin, in metres.
        origin_m: the point of phase (0, 0), in metres from the maps' centre.

    Returns:
        (N, 2) in [0, 1): the fields lie at origin + (u1 + i) a1 + (u2 + j) a2, i and j whole. NaN where the map is
        constant, the basis is NaN, or fewer bins are visited than waves are fitted.

    Raises:
        ValueError: shapes that do not fit, bin_m not above 0, a basis that is not one.
    """
    maps, bin_m = as_tensor(maps, "maps", "N, H, W"), checked_bin(bin_m)
    dual = dual_basis(lattice, maps)
    if len(dual) not in (1, len(maps)):
        raise ValueError(f"lattice has {len(dual)} bases and maps {len(maps)} units; give one, or one a unit")
    height, width = maps.shape[-2:]
    x = bin_m * (torch.arange(width, dtype=maps.dtype, device=maps.device) - (width - 1) / 2) - origin_m[0]
    y = bin_m * (torch.arange(height, dtype=maps.dtype, device=maps.device) - (height - 1) / 2) - origin_m[1]
    where_m = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)  # (P, 2)
    multiples = maps.new_tensor(HARMONICS)
    columns = 1 + 2 * len(HARMONICS)
    size = chunk_size(3 * columns * height * width * maps.element_size(), maps.device)
    found = [maps.new_empty(0, 2)]
    for first in range(0, len(maps), size):
        values, mask = (part.flatten(1) for part in standardized(maps[first : first + size]))
        waves = multiples @ (dual if len(dual) == 1 else dual[first : first + size])  # (1 or C, 9, 2) cycles a metre
        angle = 2 * pi * (where_m @ waves.mT).nan_to_num(0)  # (1 or C, P, 9)
        design = torch.cat([torch.ones_like(angle[..., :1]), angle.cos(), angle.sin()], -1)
        gram = design.mT @ (mask[..., None] * design)
        ridge = 1e-9 * mask.sum(1)[:, None, None] * torch.eye(columns, dtype=maps.dtype, device=maps.device)
        known = (mask.sum(1) >= columns) & values.any(1) & waves.isfinite().all(-1).all(-1)
        gram = (gram + ridge).where(known[:, None, None], torch.eye(columns, dtype=maps.dtype, device=maps.device))
        fit = torch.linalg.solve(gram, design.mT @ values[..., None])[..., 0]
        amplitude = torch.complex(fit[:, 1:4], fit[:, 1 + len(HARMONICS) : 4 + len(HARMONICS)])
        found.append(cell_phases(amplitude).where(known[:, None], torch.nan))
    return torch.cat(found)


def decode_phases(rates: Array, unit_phases: Array) -> Tensor:
    """Phase of a module at every moment or place, read from its units' activity.

    Each unit's rate, standardised over all samples, is compared with the sum of the three waves at its own phase. The
    phase is the least-squares one over units: the best of a raster of the cell, refined by Gauss-Newton steps. Unlike a
    population vector, uneven phases of the units do not bias it.

    Args:
        rates: (..., N), any unit of rate. Samples in which a unit of known phase is NaN have no phase.
        unit_phases: (N, 2) from `phases`; units of NaN are left out.

    Returns:
        (..., 2) in [0, 1), NaN where it cannot be read.

    Raises:
        ValueError: shapes that do not fit.
    """
    rates = as_tensor(rates, "rates", "..., N")
    offsets = as_tensor(unit_phases, "unit_phases", "N, 2", like=rates)
    if rates.ndim < 1 or offsets.shape != (rates.shape[-1], 2):
        raise ValueError(
            f"rates has shape {tuple(rates.shape)} and unit_phases {tuple(offsets.shape)}; give (..., N) and (N, 2)"
        )
    known = offsets.isfinite().all(-1)
    if not known.any():
        return rates.new_full((*rates.shape[:-1], 2), torch.nan)
    samples = rates[..., known].reshape(-1, int(known.sum()))
    complete = samples.isfinite().all(-1)
    values, _ = standardized(samples.where(complete[:, None], torch.nan).T[:, None])
    values, offsets = values[:, 0].T, offsets[known]
    size = chunk_size(48 * len(offsets) + 16 * RASTER**2, rates.device)
    cell = torch.cat([_matched(part, offsets) for part in values.split(size)]) if len(values) else values[:, :2]
    read = complete & values.any(-1)
    return cell.where(read[:, None], torch.nan).reshape(*rates.shape[:-1], 2)


def _matched(values: Tensor, offsets: Tensor) -> Tensor:
    """Least-squares phases (M, 2) of standardised activity (M, N) of units at ``offsets`` (N, 2)."""
    amplitude = 1.5**-0.5  # gives the sum of three cosines variance 1
    axis = torch.arange(RASTER, dtype=values.dtype, device=values.device) / RASTER
    raster = torch.cartesian_prod(axis, axis)

    def angles(cell: Tensor) -> Tensor:  # (M, 2) -> (M, N, 3)
        return 2 * pi * wave_phases(cell[:, None] - offsets)

    templates = amplitude * angles(raster).cos().sum(-1)
    cell = raster[(values @ templates.T - templates.square().sum(1) / 2).argmax(1)]
    for _ in range(4):
        angle = angles(cell)
        slope = -2 * pi * amplitude * angle.sin()  # by each wave's phase
        slope = slope[..., :2] + slope[..., 2:]
        error = values - amplitude * angle.cos().sum(-1)
        gram = slope.mT @ slope
        ridge = 1e-3 * gram.diagonal(dim1=-2, dim2=-1).sum(-1) + torch.finfo(gram.dtype).tiny
        gram = gram + ridge[:, None, None] * torch.eye(2, dtype=gram.dtype, device=gram.device)
        step = torch.linalg.solve(gram, (slope.mT @ error[..., None]))[..., 0]
        cell = cell + step.clamp(-0.5 / RASTER, 0.5 / RASTER)
    return _in_cell(cell)


def wave_phases(cell: Tensor) -> Tensor:
    """Phases of the three waves at points of the cell: (..., 2) -> (..., 3), in turns."""
    return torch.cat([cell, cell.sum(-1, keepdim=True)], -1)


def cell_phases(amplitude: Tensor) -> Tensor:
    """The point (..., 2) of the cell that three waves of complex ``amplitude`` (..., 3) agree on best."""
    weight, phase = amplitude.abs(), amplitude.angle() / (2 * pi)
    first, second, third = phase.unbind(-1)
    starts = [(first, second), (first, third - first), (third - second, second)]  # one wave left out of each
    cell = torch.stack([torch.stack(pair, -1) for pair in starts], -2)  # (..., 3 starts, 2)
    agreement = (weight[..., None, :] * (2 * pi * (wave_phases(cell) - phase[..., None, :])).cos()).sum(-1)
    best = agreement.argmax(-1)[..., None, None].expand(*cell.shape[:-2], 1, 2)
    cell = cell.gather(-2, best)[..., 0, :]
    w1, w2, w3 = weight.unbind(-1)
    determinant = (w1 * w2 + w1 * w3 + w2 * w3).clamp_min(torch.finfo(weight.dtype).tiny)
    for _ in range(3):  # Gauss-Newton; the waves' errors are small at the best start
        error = phase - wave_phases(cell)
        e1, e2, e3 = (weight * (error - error.round())).unbind(-1)
        right_1, right_2 = e1 + e3, e2 + e3
        step = torch.stack([(w2 + w3) * right_1 - w3 * right_2, (w1 + w3) * right_2 - w3 * right_1], -1)
        cell = cell + step / determinant[..., None]
    return _in_cell(cell)


def _in_cell(cell: Tensor) -> Tensor:
    cell = cell - cell.floor()
    return cell.where(cell < 1, 0)  # a tiny negative phase rounds up to 1


def dual_basis(lattice: Lattices | Array, like: Tensor) -> Tensor:
    """Wave vectors k1, k2 as rows, (1 or N, 2, 2) in cycles a metre, NaN where the basis is."""
    basis = lattice.basis_m if isinstance(lattice, Lattices) else lattice
    basis = as_tensor(basis, "lattice", "..., 2, 2", like=like)
    basis = basis[None] if basis.ndim == 2 else basis
    if basis.ndim != 3 or basis.shape[1:] != (2, 2):
        raise ValueError(f"lattice has shape {tuple(basis.shape)}; give a basis (2, 2), or one a unit (N, 2, 2)")
    known = basis.isfinite().all(-1).all(-1)
    filled = basis.where(known[:, None, None], torch.eye(2, dtype=basis.dtype, device=basis.device))
    area, dot = torch.linalg.det(filled), (filled[:, 0] * filled[:, 1]).sum(-1)
    if (area == 0).any() or (known & (dot <= 0)).any():
        raise ValueError(f"lattice has basis vectors that are parallel or 90 degrees or more apart: {basis.tolist()}")
    return torch.linalg.inv(filled).mT.where(known[:, None, None], torch.nan)


@dataclass(frozen=True)
class PhaseUniformity:
    """Do N phases fill the unit cell as independent uniform draws would?

    Attributes:
        nearest: mean distance to the nearest other phase, in spacings, on the torus of a regular triangular lattice.
        nearest_expected: its mean over uniform draws. Clumped phases are nearer, evenly tiled ones farther apart.
        nearest_p: part of uniform draws with a mean distance at most as large (small: clumped).
        resultant: (3,) mean resultant length of the phases of the three waves.
        rayleigh_p: (3,) of the Rayleigh test on each wave (small: one phase is preferred).
        p_value: of all four tests together (four times the smallest, at most 1). Small means not uniform.
    """

    nearest: float
    nearest_expected: float
    nearest_p: float
    resultant: Tensor
    rayleigh_p: Tensor
    p_value: float


def phase_uniformity(unit_phases: Array, *, draws: int = 500, seed: int = 0) -> PhaseUniformity:
    """Tests of uniform phases: nearest neighbours against uniform draws, and Rayleigh's along the three waves.

    The Rayleigh tests see one clump, nearest neighbours also several. P-values of Rayleigh's test are by the
    approximation of Zar (1999, eq. 27.4), good from five samples on.

    Args:
        unit_phases: (N, 2) from `phases` in one basis; NaN rows are left out.
        draws: sets of N uniform phases.
        seed: of the draws.

    Returns:
        PhaseUniformity; all NaN with fewer than 5 phases.

    Raises:
        ValueError: wrong shape, draws below 1.
    """
    cell = as_tensor(unit_phases, "unit_phases", "N, 2")
    if cell.shape[1] != 2:
        raise ValueError(f"unit_phases has shape {tuple(cell.shape)}; give (N, 2)")
    if draws < 1:
        raise ValueError(f"draws is {draws}; give a number of uniform draws, 1 or more")
    cell = cell[cell.isfinite().all(1)]
    n = len(cell)
    if n < 5:
        none, empty = float("nan"), cell.new_full((3,), torch.nan)
        return PhaseUniformity(none, none, none, empty, empty, none)
    generator = torch.Generator(cell.device).manual_seed(seed)
    null = torch.empty(draws, dtype=cell.dtype, device=cell.device)
    for part in torch.arange(draws, device=cell.device).split(chunk_size(80 * n * n, cell.device)):
        uniform = torch.rand(len(part), n, 2, generator=generator, dtype=cell.dtype, device=cell.device)
        null[part] = _mean_nearest(uniform)
    nearest = _mean_nearest(cell[None])[0]
    total = torch.polar(cell.new_ones(n, 3), 2 * pi * wave_phases(cell)).sum(0).abs()
    rayleigh = ((1 + 4 * n + 4 * (n**2 - total.square())).clamp_min(0).sqrt() - (1 + 2 * n)).exp().clamp_max(1)
    nearest_p = (1 + float((null <= nearest).sum())) / (1 + draws)
    p_value = min(1.0, 4 * min(nearest_p, float(rayleigh.min())))
    return PhaseUniformity(float(nearest), float(null.mean()), nearest_p, total / n, rayleigh, p_value)


def _mean_nearest(cell: Tensor) -> Tensor:
    """Mean distance to the nearest other phase on the regular torus of spacing 1: (S, N, 2) -> (S,)."""
    gap = cell[:, :, None] - cell[:, None]
    gap = gap - gap.round()
    nearest = torch.full(gap.shape[:-1], torch.inf, dtype=cell.dtype, device=cell.device)
    for i, j in ((0, 0), (1, -1), (-1, 1), (1, 0), (-1, 0), (0, 1), (0, -1)):  # the cell is no square
        u, v = gap[..., 0] + i, gap[..., 1] + j
        nearest = nearest.minimum(u * u + v * v + u * v)
    itself = torch.eye(cell.shape[1], dtype=torch.bool, device=cell.device)
    return nearest.masked_fill(itself, torch.inf).amin(-1).sqrt().mean(-1)
