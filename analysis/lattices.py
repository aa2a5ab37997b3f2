"""Lattices: spacing, orientation and shape of a grid map, from its autocorrelogram or its Fourier transform."""

from dataclasses import dataclass, fields
from itertools import combinations
from math import isfinite, pi

import torch
from torch import Tensor

from entorhinal.analysis.maps import autocorrelograms
from entorhinal.analysis.tensors import Array, as_tensor, in_chunks, standardized

CANDIDATES = 8
"""How many peaks of a half plane, the nearest and highest, may be among the three that make the lattice."""

CLOSURE = 0.2
"""Three peaks are one lattice's when the first plus the third miss the second by less than this part of the spacing."""

LEAST_TURN = 32 * pi / 180
"""Neighbouring axes of a lattice are at least this far apart."""

LEAST_CURVATURE = 0.02
"""A peak's flattest direction curves at least this much as its sharpest, or it is a ridge (stripes)."""


@dataclass(frozen=True)
class Lattices:
    """Lattices of N maps; NaN where a map has no six inner peaks.

    Attributes:
        spacing_m: (N,) distance in metres between neighbouring fields, mean over the three axes. It is *not* the
            wavelength of the cosines: three plane waves with k = 2 pi / period make fields 2 / sqrt(3) periods apart.
        orientation_rad: (N,) in [0, pi/3): the angle from the x axis, counter-clockwise, of the first lattice axis.
            For a sheared lattice, whose axes are not 60 degrees apart, the circular mean of its three axes' angles
            modulo 60 degrees; for a regular one the two are the same. 0 and pi/3 are one orientation.
        ellipticity: (N,) long over short axis of the ellipse through the six inner peaks; 1 is a circle.
        basis_m: (N, 2, 2) two lattice vectors at about 60 degrees, as rows (x, y) in metres: the first two axes
            counter-clockwise from x.
    """

    spacing_m: Tensor
    orientation_rad: Tensor
    ellipticity: Tensor
    basis_m: Tensor

    def __getitem__(self, units: Tensor | slice) -> "Lattices":
        """The lattices of some units."""
        return Lattices(*(getattr(self, field.name)[units] for field in fields(self)))


def lattices(maps: Array, bin_m: float) -> Lattices:
    """Lattice of every map, from the six inner peaks of its autocorrelogram.

    The autocorrelogram is smoothed by one bin (binomial); its local maxima (3 x 3) are the peaks, placed between bins
    by a quadratic surface through their nine values. An autocorrelogram equals itself turned by 180 degrees, so three
    peaks make six. Peaks rank by their distance over their height (a ripple near the centre is low, a field beyond the
    first six is far). Of the first eight, the best three that close a lattice (first + third = second within 20 % of
    the spacing, at least 32 degrees between neighbours) are taken, and the lattice is the least-squares fit to them.

    Spacing is the distance between neighbouring fields (Hafting et al. 2005), not the wavelength 2 pi / k of the
    plane waves, which is smaller by sqrt(3) / 2.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.
        bin_m: side of a bin, in metres.

    Returns:
        Lattices; NaN where there are no six such peaks.

    Raises:
        ValueError: wrong number of dimensions, bin_m not above 0.
    """
    maps, bin_m = as_tensor(maps, "maps", "N, H, W"), checked_bin(bin_m)
    peaks = in_chunks(lambda chunk: correlogram_peaks(autocorrelograms(chunk)), maps, copies=32)
    return lattices_from_peaks(peaks * bin_m)


def fourier_lattices(maps: Array, bin_m: float) -> Lattices:
    """Lattice of every map, from the three strongest peaks of its Fourier spectrum.

    The map, mean removed and unvisited bins set to the mean, is tapered (Hann) and transformed on a fourfold finer
    grid of wave vectors; peaks are placed between its points by a quadratic surface through the logarithm of the power.
    The three wave vectors must close as in `lattices`; the lattice is their dual, so spacing is
    again the distance between neighbouring fields: 2 / sqrt(3) times 2 pi / k.

    As accurate as `lattices` on complete maps (1 %), less so where unvisited bins or few periods blur the spectrum (4 %
    and 2 degrees at 2.5 periods a side with a tenth of the bins unvisited).

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.
        bin_m: side of a bin, in metres.

    Returns:
        Lattices; NaN where there are no three such peaks.

    Raises:
        ValueError: wrong number of dimensions, bin_m not above 0.
    """
    maps, bin_m = as_tensor(maps, "maps", "N, H, W"), checked_bin(bin_m)
    size = [4 * n for n in maps.shape[-2:]]

    def peaks(chunk: Tensor) -> Tensor:
        values, _ = standardized(chunk)
        for axis, n in ((-2, maps.shape[-2]), (-1, maps.shape[-1])):
            taper = torch.hann_window(n + 2, periodic=False, dtype=values.dtype, device=values.device)[1:-1]
            values = values * (taper[:, None] if axis == -2 else taper)
        power = torch.fft.fftshift(torch.fft.fft2(values, s=size), (-2, -1)).abs().square()
        floor = 1e-6 * power.amax((-2, -1), keepdim=True)
        logarithm = torch.log(power.clamp_min(floor).where(floor > 0, torch.nan))[..., 1:, 1:]
        return inner_peaks(logarithm[:, logarithm.shape[1] // 2 - 1 :], strongest=True)

    cycles = in_chunks(peaks, maps, copies=160) / (bin_m * maps.new_tensor([size[1], size[0]]))  # per metre
    defined = cycles.isfinite().all(-1).all(-1)[:, None, None]
    # the dual of two wave vectors: lattice vectors along which one wave turns once and the other not at all
    dual = torch.linalg.inv(cycles[:, :2].where(defined, torch.eye(2, dtype=cycles.dtype, device=cycles.device)))
    axes = torch.cat([dual.mT, dual.sum(-1)[:, None]], 1)  # the dual pair is 120 degrees apart: their sum lies between
    return lattices_from_peaks(sorted_axes(axes.where(defined, torch.nan))[0])


def orientation_difference(first_rad: Tensor, second_rad: Tensor) -> Tensor:
    """Angle between lattice orientations, which repeat every 60 degrees: in [0, pi/6], broadcast."""
    sixth = pi / 3
    return ((first_rad - second_rad + sixth / 2) % sixth - sixth / 2).abs()


def aligned_basis(basis_m: Array, reference_m: Array) -> Tensor:
    """The same lattices in the vectors nearest to those of a reference, whose axes they may name in another order.

    Args:
        basis_m: (N, 2, 2) lattice vectors as rows, at about 60 degrees.
        reference_m: (2, 2).

    Returns:
        (N, 2, 2); the spacing may differ from the reference's.
    """
    basis = as_tensor(basis_m, "basis_m", "N, 2, 2")
    reference = checked_basis(reference_m, basis)
    axes = torch.cat([basis, basis[:, 1:] - basis[:, :1]], 1)
    axes = torch.cat([axes, -axes], 1)  # (N, 6, 2)
    direction = axes / axes.norm(dim=-1, keepdim=True)
    nearest = (direction @ (reference / reference.norm(dim=-1, keepdim=True)).T).nan_to_num(-1).argmax(1)  # (N, 2)
    return axes.gather(1, nearest[..., None].expand(-1, -1, 2))


def common_basis(basis_m: Array, reference_m: Array, *, middle: str = "linear") -> Tensor:
    """The lattice that units share: the median of their bases, each named as the reference is (`aligned_basis`).

    Args:
        basis_m: (N, 2, 2) lattice vectors as rows, at about 60 degrees.
        reference_m: (2, 2), near to all of them.
        middle: of an even number of units, the mean of the middle two (``"linear"``) or the ``"lower"`` one.

    Returns:
        (2, 2).
    """
    return aligned_basis(basis_m, reference_m).quantile(0.5, dim=0, interpolation=middle)


def lattices_from_peaks(peaks: Tensor) -> Lattices:
    """Lattices from three peaks (N, 3, 2) of one half plane, sorted by angle, first + third = second, in metres."""
    angle = torch.atan2(peaks[..., 1], peaks[..., 0])
    orientation = torch.atan2((6 * angle).sin().sum(-1), (6 * angle).cos().sum(-1)) / 6 % (pi / 3)
    return Lattices(
        spacing_m=peaks.norm(dim=-1).mean(-1),
        orientation_rad=orientation.where(orientation != pi / 3, 0),  # a tiny negative angle rounds up to pi/3
        ellipticity=peak_ellipses(peaks)[0],
        basis_m=peaks[:, :2],
    )


def peak_ellipses(peaks: Tensor) -> tuple[Tensor, Tensor]:
    """Ellipse a x² + 2 b xy + c y² = 1 through three peaks and their mirror images.

    Args:
        peaks: (N, 3, 2).

    Returns:
        ratio (N,) of long to short axis and unit vector (N, 2) along the long axis; NaN where there is no ellipse.
    """
    known = peaks.isfinite().all(-1).all(-1)
    x, y = peaks.unbind(-1)
    rows = torch.stack([x * x, 2 * x * y, y * y], -1) / peaks.square().sum(-1).mean(-1)[:, None, None]
    eye = torch.eye(3, dtype=peaks.dtype, device=peaks.device)
    solution, info = torch.linalg.solve_ex(rows.where(known[:, None, None], eye), torch.ones_like(peaks[:, :, :1]))
    a, b, c = solution[..., 0].unbind(-1)
    half_gap = torch.hypot((a - c) / 2, b)
    large, small = (a + c) / 2 + half_gap, (a + c) / 2 - half_gap
    known = known & (info == 0) & (small > 0)
    direction = torch.atan2(2 * b, a - c) / 2 + pi / 2
    axis = torch.stack([direction.cos(), direction.sin()], -1)
    return (large / small.where(known, 1)).where(known, torch.nan).sqrt(), axis.where(known[:, None], torch.nan)


def sorted_axes(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (N, K, 2) turned into the half plane of angles [0, pi) and sorted by angle, NaN last; and that order."""
    x, y = vectors.unbind(-1)
    vectors = vectors * torch.where((y < 0) | ((y == 0) & (x < 0)), -1, 1)[..., None]
    angle = torch.atan2(vectors[..., 1], vectors[..., 0])
    order = angle.nan_to_num(nan=9).argsort(-1)
    return vectors.gather(1, order[..., None].expand_as(vectors)), order


def correlogram_peaks(correlograms: Tensor) -> Tensor:
    """`inner_peaks` of autocorrelograms (N, 2H-1, 2W-1) smoothed by the binomial 1 4 6 4 1 (a width of one bin)."""
    smooth = correlograms[:, max((correlograms.shape[-2] - 1) // 2 - 3, 0) :]  # the half that `inner_peaks` reads
    for axis in (-2, -1):
        for _ in range(4):
            size = smooth.shape[axis] - 1
            if size < 1:
                break
            smooth = smooth.narrow(axis, 0, size) + smooth.narrow(axis, 1, size)
    return inner_peaks(smooth)


def inner_peaks(half: Tensor, *, strongest: bool = False) -> Tensor:
    """Three peaks that make the lattice of images symmetric about their centre.

    Args:
        half: (N, H+1, 2W-1), the rows of the image from the one before its centre, which is at [1, W-1].
        strongest: rank peaks by value alone, not by distance over value.

    Returns:
        (N, 3, 2) as (x, y) in bins from the centre, angles in [0, pi) and rising, first + third = second; NaN if none.
    """
    height, width = half.shape[-2] - 1, (half.shape[-1] + 1) // 2
    if min(height, width) < 4:
        return half.new_full((len(half), 3, 2), torch.nan)
    across = torch.maximum(torch.maximum(half[:, :, :-2], half[:, :, 2:]), half[:, :, 1:-1])
    summit = torch.maximum(torch.maximum(across[:, :-2], across[:, 2:]), across[:, 1:-1])  # NaN beside NaN
    y = torch.arange(height - 1, dtype=half.dtype, device=half.device)[:, None]
    x = torch.arange(2 - width, width - 1, dtype=half.dtype, device=half.device)
    distance = torch.hypot(y, x)
    value = half[:, 1:-1, 1:-1]
    peak = (value == summit) & (((y > 0) | (x > 0)) & (distance > 1.5))
    rank = -value if strongest else distance / value
    rank = rank.masked_fill_(~peak if strongest else ~(peak & (value > 0)), torch.inf).flatten(1)
    rank, place = rank.topk(min(CANDIDATES, rank.shape[1]), largest=False)
    row, column = place // (2 * width - 3), place % (2 * width - 3)

    corner = (row * (2 * width - 1) + column)[..., None]
    offsets = torch.tensor([i * (2 * width - 1) + j for i in range(3) for j in range(3)], device=half.device)
    patch = half.flatten(1).gather(1, (corner + offsets).flatten(1)).reshape(*rank.shape, 3, 3)
    shift, is_peak = quadratic_peak(patch)
    found = torch.stack([column - (width - 2) + shift[..., 0], row + shift[..., 1]], -1)
    found, order = sorted_axes(found.where((rank.isfinite() & is_peak)[..., None], torch.nan))
    return _closed_triple(found, rank.gather(1, order))


def _closed_triple(peaks: Tensor, cost: Tensor) -> Tensor:
    """The cheapest three of K sorted peaks (N, K, 2) that close a lattice, moved to close exactly: (N, 3, 2) or NaN."""
    triples = torch.tensor(list(combinations(range(peaks.shape[1]), 3)), device=peaks.device)
    chosen = peaks[:, triples]  # (N, C, 3, 2)
    gap = chosen[:, :, 0] + chosen[:, :, 2] - chosen[:, :, 1]
    length = peaks.norm(dim=-1)[:, triples].mean(-1)
    angle = torch.atan2(peaks[..., 1], peaks[..., 0])[:, triples]
    turn = (angle.roll(-1, -1) - angle) % pi
    closes = (gap.norm(dim=-1) <= CLOSURE * length) & (turn >= LEAST_TURN).all(-1)
    best, index = cost[:, triples].sum(-1).where(closes, torch.inf).min(-1)
    index = index[:, None, None]
    third = gap.gather(1, index.expand(-1, -1, 2))[:, 0] / 3
    three = chosen.gather(1, index[..., None].expand(-1, -1, 3, 2))[:, 0]
    three = three - torch.stack([third, -third, third], 1)
    return three.where((best < torch.inf)[:, None, None], torch.nan)


def quadratic_peak(patch: Tensor) -> tuple[Tensor, Tensor]:
    """Summit (..., 2) as (x, y) of the least-squares quadratic through 3 x 3 values, and whether it is a peak."""
    dx = (patch[..., 2] - patch[..., 0]).sum(-1) / 6
    dy = (patch[..., 2, :] - patch[..., 0, :]).sum(-1) / 6
    dxx = (patch[..., 0] - 2 * patch[..., 1] + patch[..., 2]).sum(-1) / 3
    dyy = (patch[..., 0, :] - 2 * patch[..., 1, :] + patch[..., 2, :]).sum(-1) / 3
    dxy = (patch[..., 0, 0] + patch[..., 2, 2] - patch[..., 0, 2] - patch[..., 2, 0]) / 4
    determinant = dxx * dyy - dxy.square()
    # the flat curvature over the sharp one is at least q where determinant / trace² is at least q / (1 + q)²
    least = LEAST_CURVATURE / (1 + LEAST_CURVATURE) ** 2
    is_peak = (dxx + dyy < 0) & (determinant >= least * (dxx + dyy).square())
    safe = determinant.where(is_peak, 1)
    shift = torch.stack([(dxy * dy - dyy * dx) / safe, (dxy * dx - dxx * dy) / safe], -1)
    return shift.clamp(-1, 1), is_peak


def checked_bin(bin_m: float) -> float:
    """bin_m, or ValueError unless it is finite and above 0."""
    if not (isfinite(bin_m) and bin_m > 0):
        raise ValueError(f"bin_m is {bin_m!r}; give the side of a bin in metres, above 0")
    return float(bin_m)


def checked_basis(basis_m: Array, like: Tensor) -> Tensor:
    """(2, 2) lattice vectors, or ValueError unless finite and not parallel."""
    basis = as_tensor(basis_m, "basis_m", "2, 2", like=like).to(like)
    if basis.shape != (2, 2) or not basis.isfinite().all() or torch.linalg.det(basis).abs() < 1e-9:
        raise ValueError(f"basis_m is {basis.tolist()}; give two lattice vectors as rows, in metres")
    return basis
