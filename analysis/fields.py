"""Fields: how much a unit's rate says of the place, how wide its fields are, and whether they are bands."""

from math import log

import torch
from torch import Tensor

from entorhinal.analysis.lattices import checked_bin
from entorhinal.analysis.maps import autocorrelograms
from entorhinal.analysis.scores import sample
from entorhinal.analysis.tensors import Array, as_tensor, in_chunks


def spatial_information(maps: Array, occupancy: Array) -> Tensor:
    """Information of a spike about the place, Σ p r log2 r with r = λ/λ̄ (Skaggs et al. 1993), in bits a spike.

    0 for a constant map; log2 of the number of places for a unit that is active in one of equally visited places.

    Args:
        maps: (N, H, W) rates λ, not negative, NaN where unvisited.
        occupancy: (H, W) time or samples in each bin, which gives p.

    Returns:
        (N,); NaN for silent units and for maps with negative rates.

    Raises:
        ValueError: shapes that do not fit.
    """
    maps = as_tensor(maps, "maps", "N, H, W")
    occupancy = as_tensor(occupancy, "occupancy", "H, W", like=maps).to(maps)
    if occupancy.shape != maps.shape[1:]:
        raise ValueError(f"occupancy has shape {tuple(occupancy.shape)} and maps {tuple(maps.shape)}; give (H, W)")
    visited = maps.isfinite()
    share = occupancy * visited
    share = share / share.sum((1, 2), keepdim=True)
    rate = maps.where(visited, 0)
    ratio = rate / (share * rate).sum((1, 2), keepdim=True)
    bits = (share * torch.special.xlogy(ratio, ratio)).sum((1, 2)) / log(2)
    return bits.where((rate >= 0).all(2).all(1), torch.nan)


def field_widths(maps: Array, bin_m: float) -> Tensor:
    """Half-width at half maximum of the central peak of every map's autocorrelogram, in metres.

    The correlogram is averaged over rings one bin wide; between rings it is taken as linear. A lone Gaussian field of
    standard deviation s in a large box has 1.665 s; three cosines of wave number k have 1.521 / k.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.
        bin_m: side of a bin, in metres.

    Returns:
        (N,); NaN where the correlation does not fall to a half inside the map's shorter side.

    Raises:
        ValueError: wrong number of dimensions, bin_m not above 0.
    """
    maps, bin_m = as_tensor(maps, "maps", "N, H, W"), checked_bin(bin_m)
    height, width = maps.shape[-2:]
    lag_y = torch.arange(1 - height, height, device=maps.device)
    lag_x = torch.arange(1 - width, width, device=maps.device)
    ring = torch.hypot(lag_y[:, None].to(maps), lag_x.to(maps)).round().long().flatten()
    rings = min(height, width)

    def profile(chunk: Tensor) -> Tensor:
        values = autocorrelograms(chunk).flatten(1)
        known = values.isfinite().to(values)
        total, count = (
            values.new_zeros(len(values), int(ring.max()) + 1).index_add_(1, ring, part)
            for part in (values.nan_to_num(0), known)
        )
        return (total / count)[:, :rings]

    curve = in_chunks(profile, maps, copies=32)
    if rings < 2:
        return curve.new_full((len(curve),), torch.nan)
    below = curve < 0.5
    first = below.to(torch.int8).argmax(1).clamp_min(1)[:, None]
    before, after = curve.gather(1, first - 1)[:, 0], curve.gather(1, first)[:, 0]
    found = bin_m * (first[:, 0] - 1 + (before - 0.5) / (before - after))
    return found.where(below.any(1), torch.nan)


def band_scores(maps: Array) -> Tensor:
    """How much of a map varies along one direction only: 1 for parallel bands, 0 for hexagons, squares, round fields.

    (λ1 − λ2) / (λ1 + λ2) of the mean outer product of the map's gradient, so 0.6 means that it is twice as steep
    across as along. Gradients are central differences where all four neighbours were visited.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.

    Returns:
        (N,) in [0, 1]; NaN for constant or empty maps.

    Raises:
        ValueError: wrong number of dimensions.
    """
    xx, yy, xy = _gradient_products(as_tensor(maps, "maps", "N, H, W"))
    return torch.hypot(xx - yy, 2 * xy) / (xx + yy)


def band_repeats(maps: Array) -> Tensor:
    """Whether bands come again: the highest correlation of a map with itself moved across its bands (`band_scores`),
    beyond the first lag at which that is not above 0 and up to three quarters of the shorter side.

    1 for regular bands; a ramp, or one band, has none.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.

    Returns:
        (N,) in [-1, 1]; NaN where the correlation stays above 0, and for constant or empty maps.

    Raises:
        ValueError: wrong number of dimensions.
    """
    maps = as_tensor(maps, "maps", "N, H, W")
    height, width = maps.shape[-2:]
    xx, yy, xy = _gradient_products(maps)
    angle = torch.atan2(2 * xy, xx - yy) / 2  # across the bands
    lag = torch.arange(1, 3 * min(height, width) // 4, dtype=maps.dtype, device=maps.device)

    def across(chunk: Tensor) -> Tensor:
        images, turn = chunk[:, :-1].unflatten(1, (height, width)), chunk[:, -1:]
        return sample(autocorrelograms(images), width - 1 + lag * turn.cos(), height - 1 + lag * turn.sin())

    curve = in_chunks(across, torch.cat((maps.flatten(1), angle[:, None]), 1), copies=32)
    beyond = (curve <= 0).cummax(1).values
    highest = curve.where(beyond, -torch.inf).nan_to_num(-torch.inf).amax(1)
    return highest.where(highest.isfinite(), torch.nan)


def _gradient_products(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the squares of the gradient along x and along y, and of their product, (N,) each."""
    dx = (maps[:, 1:-1, 2:] - maps[:, 1:-1, :-2]) / 2
    dy = (maps[:, 2:, 1:-1] - maps[:, :-2, 1:-1]) / 2
    known = dx.isfinite() & dy.isfinite()
    dx, dy = dx.where(known, 0), dy.where(known, 0)
    return (dx * dx).sum((1, 2)), (dy * dy).sum((1, 2)), (dx * dy).sum((1, 2))
