"""Rate maps and their autocorrelograms.

A map is (H, W): H counts y, W counts x, and row 0 is the lowest y (``imshow(origin="lower")`` shows it as the arena
lies). Bins are squares. Unvisited bins are NaN, never 0. A linear track has H = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite, pi

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from entorhinal.analysis.tensors import Array, as_tensor, chunk_size, in_chunks, standardized

Extent = Sequence[Sequence[float]]
"""((x0, x1), (y0, y1)) in metres, or ((x0, x1),) for a line."""

MIN_SHARED_BINS = 20
"""Lags at which fewer bins than this overlap have no correlation."""


@dataclass(frozen=True)
class RateMaps:
    """Mean rate of N units in every bin of an arena.

    Attributes:
        values: (N, H, W) mean rate, NaN where the unit was never sampled; H is y, W is x, row 0 is the lowest y.
        occupancy: (H, W) number of samples in each bin.
        bin_m: side of a bin, in metres.
        extent_m: ((x0, x1), (y0, y1)), or ((x0, x1),) for a line; None means centred on 0.
    """

    values: Tensor
    occupancy: Tensor
    bin_m: float
    extent_m: tuple[tuple[float, float], ...] | None = None

    @property
    def dimensions(self) -> int:
        """1 for a line, 2 for a plane."""
        return len(self.extent_m) if self.extent_m else (1 if self.values.shape[-2] == 1 else 2)

    def centers_m(self) -> Tensor:
        """Positions of the bins' centres, (H, W, D) in metres."""
        sides = [self.values.shape[-1], self.values.shape[-2]][: self.dimensions]
        lows = [low for low, _ in self.extent_m] if self.extent_m else [-0.5 * n * self.bin_m for n in sides]
        axes = [
            low + self.bin_m * (torch.arange(n, dtype=self.values.dtype, device=self.values.device) + 0.5)
            for low, n in zip(lows, sides, strict=True)
        ]
        if self.dimensions == 1:
            return axes[0][None, :, None]
        return torch.stack(torch.meshgrid(axes[0], axes[1], indexing="xy"), -1)


class RateMapAccumulator:
    """Rate maps from rates that come in chunks and are never held together.

    Args:
        extent_m: ((x0, x1), (y0, y1)) in metres, or ((x0, x1),) for a line, which gives maps (N, 1, W).
        bins: number of bins along the longest side; bins are squares of side longest / bins, and a shorter side gets as
            many as cover it.
        smoothing_m: standard deviation in metres of the Gaussian that smooths the result; 0 for none.

    Raises:
        ValueError: an extent that is not one or two increasing finite pairs, bins < 1, smoothing_m < 0.
    """

    def __init__(self, extent_m: Extent, bins: int = 50, smoothing_m: float = 0.0) -> None:
        self.extent_m = _checked_extent(extent_m)
        if isinstance(bins, bool) or int(bins) != bins or bins < 1:
            raise ValueError(f"bins is {bins!r}; give a whole number of bins, 1 or more, for the longest side")
        if not (isfinite(smoothing_m) and smoothing_m >= 0):
            raise ValueError(f"smoothing_m is {smoothing_m!r}; give a width in metres, 0 (none) or more")
        sides = [high - low for low, high in self.extent_m]
        self.bin_m = max(sides) / int(bins)
        self.smoothing_m = float(smoothing_m)
        self._columns, self._rows, *_ = [max(1, ceil(side / self.bin_m - 1e-6)) for side in sides] + [1]
        self._sums: Tensor | None = None  # (H*W, N)
        self._visits: Tensor | None = None  # (H*W,) samples inside the extent
        self._missing: Tensor | None = None  # (H*W, N) of those, the NaN ones of each unit; made when the first is met

    def add(self, rates: Array, position_m: Array) -> "RateMapAccumulator":
        """Add samples. Positions outside the extent or NaN are left out, and so is, for its unit alone, a NaN rate.

        Args:
            rates: (..., N), any unit of rate.
            position_m: (..., D) in metres, the same leading shape; D is 2, or 1 for a line.

        Returns:
            The accumulator itself.

        Raises:
            ValueError: shapes that do not fit each other, the extent, or the rates added before.
        """
        rates = torch.as_tensor(rates).detach()
        if rates.ndim < 1 or rates.is_complex():
            raise ValueError(f"rates has shape {tuple(rates.shape)}; give real numbers of shape (..., N)")
        position = as_tensor(position_m, "position_m", "..., D", like=rates)
        dimensions, units = len(self.extent_m), rates.shape[-1]
        if position.shape[-1:] != (dimensions,) or position.shape[:-1] != rates.shape[:-1]:
            raise ValueError(
                f"position_m has shape {tuple(position.shape)} beside rates {tuple(rates.shape)}; "
                f"give (..., {dimensions}) with the same leading shape, as extent_m has {dimensions} axes"
            )
        if self._sums is None:
            self._sums = position.new_zeros(self._rows * self._columns, units)
            self._visits = position.new_zeros(self._rows * self._columns)
        if self._sums.shape[1] != units:
            raise ValueError(f"rates has {units} units after {self._sums.shape[1]}; use one accumulator a population")
        rates, position = rates.reshape(-1, units), position.reshape(-1, dimensions)
        step = chunk_size(24 * max(units, 1), rates.device)
        for some_rates, some_positions in zip(rates.split(step), position.split(step), strict=True):
            self._add(some_rates.to(self._sums.dtype), some_positions)
        return self

    def _add(self, rates: Tensor, position: Tensor) -> None:
        """One chunk: rates (M, N), position (M, D)."""
        assert self._sums is not None
        assert self._visits is not None
        low, high = position.new_tensor(self.extent_m).T
        inside = ((position >= low) & (position <= high)).all(-1)  # False for NaN
        last = torch.tensor([self._columns - 1, self._rows - 1][: len(self.extent_m)], device=position.device)
        cell = ((position - low) / self.bin_m).nan_to_num(0).long().clamp_min(0).minimum(last)
        index = cell[:, 0] if cell.shape[1] == 1 else cell[:, 0] + self._columns * cell[:, 1]
        index, rates = index[inside], rates[inside]
        self._visits.index_add_(0, index, torch.ones_like(index, dtype=self._visits.dtype))
        absent = rates.isnan()
        if absent.any():
            if self._missing is None:
                self._missing = torch.zeros_like(self._sums)
            self._missing.index_add_(0, index, absent.to(rates.dtype))
            rates = rates.where(~absent, 0)
        self._sums.index_add_(0, index, rates)

    def result(self) -> RateMaps:
        """The maps of all samples so far; more may be added afterwards.

        Raises:
            ValueError: nothing was added yet.
        """
        if self._sums is None or self._visits is None:
            raise ValueError("no samples were added; call add(rates, position_m) before result()")
        counts = self._visits[:, None] if self._missing is None else self._visits[:, None] - self._missing
        shape = (self._rows, self._columns)
        values = (self._sums / counts.where(counts > 0, torch.nan)).T.reshape(-1, *shape)
        if self.smoothing_m > 0:
            values = smooth_maps(values, self.smoothing_m / self.bin_m)
        return RateMaps(values.contiguous(), self._visits.reshape(shape).clone(), self.bin_m, self.extent_m)


def rate_maps(rates: Array, position_m: Array, extent_m: Extent, bins: int = 50, smoothing_m: float = 0.0) -> RateMaps:
    """Mean rate in every bin of the arena, for all units at once.

    Args:
        rates: (..., N), any unit of rate. A NaN rate is left out for its unit alone.
        position_m: (..., D) in metres, the same leading shape. Positions outside the extent are left out.
        extent_m: ((x0, x1), (y0, y1)) in metres, or ((x0, x1),) for a line (D = 1), which gives maps (N, 1, W).
        bins: number of bins along the longest side; bins are squares of side longest / bins, and a shorter side gets as
            many as cover it.
        smoothing_m: standard deviation in metres of the Gaussian that smooths the map (`smooth_maps`); 0: none.

    Returns:
        RateMaps with values (N, H, W): H is y, W is x, row 0 is the lowest y; NaN where a unit was never sampled.

    Raises:
        ValueError: shapes that do not fit, a bad extent, bins < 1, smoothing_m < 0.
    """
    return RateMapAccumulator(extent_m, bins, smoothing_m).add(rates, position_m).result()


def smooth_maps(maps: Array, sigma_bins: float) -> Tensor:
    """Gaussian smoothing that ignores NaN: each visited bin becomes the weighted mean of the visited bins around it.

    Unvisited bins neither lend weight nor get a value (normalised convolution, Knutsson & Westin 1993), so a constant
    map stays constant up to walls and holes.

    Args:
        maps: (N, H, W), NaN where unvisited.
        sigma_bins: standard deviation of the Gaussian, in bins.

    Returns:
        (N, H, W), NaN where ``maps`` is.

    Raises:
        ValueError: wrong number of dimensions, sigma_bins < 0.
    """
    maps = as_tensor(maps, "maps", "N, H, W")
    if not (isfinite(sigma_bins) and sigma_bins >= 0):
        raise ValueError(f"sigma_bins is {sigma_bins!r}; give a width in bins, 0 (none) or more")
    if sigma_bins == 0:
        return maps.clone()
    kernels = []
    for size in maps.shape[-2:]:
        place = torch.arange(size, dtype=maps.dtype, device=maps.device)
        kernels.append((-0.5 * ((place[:, None] - place) / sigma_bins) ** 2).exp())
    visited = maps.isfinite()
    total = kernels[0] @ maps.where(visited, 0) @ kernels[1]
    weight = kernels[0] @ visited.to(maps.dtype) @ kernels[1]
    return total.where(visited, torch.nan) / weight.where(visited, 1)


def autocorrelograms(maps: Array) -> Tensor:
    """Spatial autocorrelograms: the Pearson correlation of a map with itself at every lag.

    At each lag the correlation is over the bins visited in both copies, with the means and variances of just those
    bins, so a map that repeats exactly has correlation 1 at its period whatever the box. Sums come from the Fourier
    transforms of map, map squared and mask (Padfield 2012); the mean of each map is removed first. Lags that share
    fewer than 20 bins, or where either copy's variance is below 4e-10 of the map's, are NaN. Infinite bins count as
    unvisited.

    Args:
        maps: (N, H, W), NaN where unvisited.

    Returns:
        (N, 2H-1, 2W-1); lag (0, 0) is at [H-1, W-1], the row is the lag in y. All NaN for constant and empty maps.

    Raises:
        ValueError: wrong number of dimensions.
    """
    return in_chunks(_autocorrelograms, as_tensor(maps, "maps", "N, H, W"), copies=32)


def _autocorrelograms(maps: Tensor) -> Tensor:
    height, width = maps.shape[-2:]
    values, mask = standardized(maps)
    if (mask == mask[:1]).all():  # one occupancy for all: its sums are shared
        mask = mask[:1]
    rows, columns = (next_fast_len(2 * n - 1, real=True) for n in (height, width))

    def transform(x: Tensor) -> Tensor:
        return torch.fft.fft(torch.fft.rfft(x, n=columns), n=rows, dim=-2)

    def lags(product: Tensor, first: int) -> Tensor:
        """Inverse transform at lags in y from ``first``, in x from -(W-1), where the product puts both at 0."""
        half = torch.fft.ifft(product, dim=-2)[..., : height - first, :]
        return torch.fft.irfft(half, n=columns)[..., : 2 * width - 1]

    # a phase in the spectrum puts the first lag wanted at 0
    turn_y, turn_x = (
        torch.exp(-2j * pi / size * (first * torch.arange(size, device=maps.device) % size).to(maps.dtype))
        for size, first in ((rows, height - 1), (columns, width - 1))
    )
    turn_x = turn_x[: columns // 2 + 1]
    f_values, f_mask = transform(values), transform(mask)
    f_turned = f_mask.conj() * turn_x * turn_y[:, None]
    pairs = lags(f_mask * f_turned, 1 - height).round()
    least = pairs.clamp_min(1)
    sums = lags(f_values * f_turned, 1 - height).mul_(least.rsqrt())  # of the copy that is moved, over √pairs
    variances = lags(transform(values.square()) * f_turned, 1 - height).addcmul_(sums, sums, value=-1)
    covariance = lags(f_values.conj() * turn_x * f_values, 0)

    # the copy that stays is the one that moves, at the opposite lag
    there, here = slice(height - 1, None), slice(None, height)
    covariance = covariance.addcmul_(sums[:, there], sums[:, here].flip(-2, -1), value=-1)
    variance, other = variances[:, there], variances[:, here].flip(-2, -1)
    least = (least * torch.finfo(maps.dtype).eps ** 0.6)[:, there]
    undefined = (torch.minimum(variance, other) <= least) | (pairs[:, there] < MIN_SHARED_BINS)
    half = covariance.mul_(other.mul_(variance).rsqrt_()).clamp_(-1, 1).masked_fill_(undefined, torch.nan)
    half[:, 0, : width - 1] = half[:, 0, width:].flip(-1)  # exactly symmetric, rounding included
    return torch.cat([half[:, 1:].flip(-2, -1), half], -2)


def _checked_extent(extent_m: Extent) -> tuple[tuple[float, float], ...]:
    try:
        extent = tuple((float(low), float(high)) for low, high in extent_m)
        good = len(extent) in (1, 2) and all(isfinite(high - low) and low < high for low, high in extent)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"extent_m is {extent_m!r}; give ((x0, x1), (y0, y1)) in metres, or ((x0, x1),) for a line")
    return extent
