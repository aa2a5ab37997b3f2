"""Nulls: what a score finds in maps or activity that share everything with the data but the structure in question.

None of them is a roll, a flip or a randomisation of 2-D Fourier phases: those keep the autocorrelogram, and with it the
hexagon.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from entorhinal.analysis.maps import Extent, rate_maps
from entorhinal.analysis.scores import grid_scores
from entorhinal.analysis.tensors import Array, as_tensor, standardized

NULL_MAPS = 200
"""Noise maps above all of which a grid unit scores; 100 let 1.5 % of null units pass, where 1 % is asked for."""

SHORTEST_SHIFT_S = 20.0
"""Activity shifted by less than this still follows the path."""


def spectrum_noise(maps: Array, *, generator: torch.Generator, keep_values: bool = True) -> Tensor:
    """Noise with each map's radially averaged power spectrum and unvisited bins.

    The power of a map (its mean removed, unvisited bins 0, zeros around it to twice the box) is averaged over all wave
    vectors of one length, which keeps its scale and forgets its directions; white noise is filtered with the root of
    that and cut to the box, so it does not repeat there.

    Args:
        maps: (N, H, W), NaN where unvisited.
        generator: source of the noise, on the maps' device.
        keep_values: give the noise the map's own values by rank, so that it is as sparse as the map. Gaussian noise is
            too lenient a null for rectified maps: 4 % instead of 1 % of rectified noise exceeds it. False leaves it
            Gaussian, of the map's mean and variance.

    Returns:
        (N, H, W), NaN where ``maps`` is; constant and empty maps stay as they are.
    """
    return _SpectrumNoise(as_tensor(maps, "maps", "N, H, W"), keep_values).draw(generator)


class _SpectrumNoise:
    """What all noise of the same maps shares: their spectra and their values in order."""

    def __init__(self, maps: Tensor, keep_values: bool) -> None:
        self.maps, self.keep_values = maps, keep_values
        values, self.mask = standardized(maps)
        height, width = values.shape[-2:]
        doubled = torch.nn.functional.pad(values, (0, width, 0, height))
        self.shape, self.gain = doubled.shape, _radial_power(doubled).sqrt()
        if keep_values:
            self.ordered = maps.nan_to_num(torch.inf).flatten(1).sort(1).values

    def __getitem__(self, units: Tensor) -> "_SpectrumNoise":
        """The noise of some of the maps."""
        some = copy.copy(self)
        some.maps, some.mask, some.gain = self.maps[units], self.mask[units], self.gain[units]
        some.shape = torch.Size((len(some.maps), *self.shape[1:]))
        if self.keep_values:
            some.ordered = self.ordered[units]
        return some

    def draw(self, generator: torch.Generator) -> Tensor:
        maps, mask, (height, width) = self.maps, self.mask, self.maps.shape[-2:]
        white = torch.randn(self.shape, generator=generator, dtype=maps.dtype, device=maps.device)
        noise = torch.fft.irfft2(torch.fft.rfft2(white) * self.gain, s=self.shape[-2:])
        noise = noise[:, :height, :width].where(mask > 0, torch.nan)
        if self.keep_values:
            order = noise.nan_to_num(torch.inf).flatten(1).argsort(1)
            return (
                torch.empty_like(self.ordered).scatter_(1, order, self.ordered).view_as(maps).where(mask > 0, torch.nan)
            )
        count = mask.sum((-2, -1), keepdim=True).clamp_min(1)
        mean = maps.nansum((-2, -1), keepdim=True) / count
        spread = (((maps - mean).nan_to_num(0) * mask).square().sum((-2, -1), keepdim=True) / count).sqrt()
        return (mean + spread * standardized(noise)[0]).where(mask > 0, torch.nan)


def _radial_power(values: Tensor) -> Tensor:
    """Power of maps (N, H, W) averaged over wave vectors of one length, laid out as `torch.fft.rfft2` lays them out.

    Lengths are binned at the step of the longer side's fundamental frequency.
    """
    height, width = values.shape[-2:]
    power = torch.fft.fft2(values).abs().square()
    frequency = [torch.fft.fftfreq(n, dtype=values.dtype, device=values.device) for n in (height, width)]
    length = torch.hypot(frequency[0][:, None], frequency[1][None, :])
    ring = (length * max(height, width)).round().long()
    rings = int(ring.max()) + 1
    total = values.new_zeros(len(values), rings).index_add_(1, ring.flatten(), power.flatten(1))
    count = torch.bincount(ring.flatten(), minlength=rings).clamp_min(1)
    return (total / count)[:, ring[:, : width // 2 + 1]]


def moved_fields(maps: Array, *, generator: torch.Generator) -> Tensor:
    """Every field of every map put down at a random place, around the box's edges if need be.

    A field is the basin of a local maximum: all bins from which steepest ascent leads there. Its excess over the map's
    minimum moves by a random whole number of bins, and excesses that meet add up, so a map without holes keeps its
    fields' shapes and its mean.

    Args:
        maps: (N, H, W), NaN where unvisited. What moves onto an unvisited bin is lost.
        generator: source of the moves, on the maps' device.

    Returns:
        (N, H, W), NaN where ``maps`` is.
    """
    maps = as_tensor(maps, "maps", "N, H, W")
    height, width = maps.shape[-2:]
    size = height * width
    low = maps.nan_to_num(torch.inf).amin((-2, -1), keepdim=True)
    excess = (maps - low).nan_to_num(0)
    peak = _peaks(excess)  # (N, H * W)
    move = torch.randint(size, (len(maps), size), generator=generator, device=maps.device).gather(1, peak)
    here = torch.arange(size, device=maps.device)
    row = (here // width + move // width) % height
    column = (here % width + move % width) % width
    moved = torch.zeros_like(excess).flatten(1).scatter_add_(1, row * width + column, excess.flatten(1))
    return (low + moved.unflatten(1, (height, width))).where(maps.isfinite(), torch.nan)


def _peaks(values: Tensor) -> Tensor:
    """For every bin of maps (N, H, W), the flat index (N, H * W) of the local maximum that steepest ascent reaches."""
    height, width = values.shape[-2:]
    padded = torch.nn.functional.pad(values, (1, 1, 1, 1), value=-torch.inf)
    index = torch.arange(height * width, device=values.device).reshape(height, width)
    around = torch.nn.functional.pad(index[None, None].float(), (1, 1, 1, 1))[0, 0].long()
    steps = [(0, 0), *((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)]

    def shifted(image: Tensor, i: int, j: int) -> Tensor:
        return image[..., 1 + i : 1 + i + height, 1 + j : 1 + j + width]

    highest = torch.stack([shifted(padded, i, j) for i, j in steps]).argmax(0)  # ties go to the bin itself
    to = torch.stack([shifted(around, i, j) for i, j in steps])
    root = to[
        highest, *torch.meshgrid(*[torch.arange(n, device=values.device) for n in (height, width)], indexing="ij")
    ]
    root = root.flatten(1)
    for _ in range((height * width).bit_length()):
        root = root.gather(1, root)  # follows paths of doubling length
    return root


def time_shifted_maps(
    rates: Array,
    position_m: Array,
    extent_m: Extent,
    *,
    dt_s: float,
    shifts: int,
    generator: torch.Generator,
    bins: int = 50,
    smoothing_m: float = 0.0,
    shortest_s: float = SHORTEST_SHIFT_S,
) -> Tensor:
    """Rate maps of activity shifted in time against the path, circularly, by at least ``shortest_s``.

    Args:
        rates: (T, N), any unit of rate, one sample every ``dt_s`` seconds.
        position_m: (T, D) in metres.
        extent_m, bins, smoothing_m: as in `rate_maps`.
        shifts: how many random shifts.
        generator: source of the shifts.

    Returns:
        (shifts, N, H, W).

    Raises:
        ValueError: ``shortest_s`` below 20 s, or a recording shorter than twice ``shortest_s``.
    """
    rates, position = as_tensor(rates, "rates", "T, N"), as_tensor(position_m, "position_m", "T, D")
    if shortest_s < SHORTEST_SHIFT_S:
        raise ValueError(
            f"shortest_s is {shortest_s}; shift by {SHORTEST_SHIFT_S:g} s or more, or activity keeps its place"
        )
    shortest = round(shortest_s / dt_s)
    if len(rates) <= 2 * shortest:
        raise ValueError(f"rates last {len(rates) * dt_s:g} s; shifts of {shortest_s:g} s need more than twice that")
    by = torch.randint(shortest, len(rates) - shortest + 1, (shifts,), generator=generator, device=generator.device)
    maps = [rate_maps(rates.roll(int(n), 0), position, extent_m, bins, smoothing_m).values for n in by]
    return torch.stack(maps)


def null_grid_scores(maps: Array, count: int, *, generator: torch.Generator, variant: str = "sargolini") -> Tensor:
    """Grid scores of ``count`` maps of `spectrum_noise` for each map: (N, H, W) -> (N, count).

    Of exchangeable noise units, 1 in ``count + 1`` scores above all of its row (an estimated 99th percentile of 100
    scores would let 2 in 100 pass). Memory is bounded by chunks.
    """
    maps = as_tensor(maps, "maps", "N, H, W")
    if count < 1:
        raise ValueError(f"count is {count}; give a number of noise maps, 1 or more")
    if not len(maps):
        return maps.new_empty(0, count)
    noise = _SpectrumNoise(maps, keep_values=True)
    return torch.stack([grid_scores(noise.draw(generator), variant) for _ in range(count)], 1)


def above_null(
    maps: Array,
    scores: Array,
    count: int = NULL_MAPS,
    *,
    generator: torch.Generator,
    variant: str = "sargolini",
    report: Callable[[float], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Which maps score above all of ``count`` maps of `spectrum_noise`, found by sequential stopping.

    A map that its noise reaches is decided and gets no more of it, so a map without structure costs about five noise
    maps, not ``count`` (Besag & Clifford 1991 with one exceedance). Of exchangeable noise units, 1 in ``count + 1`` is
    above all.

    Args:
        maps: (N, H, W), NaN where unvisited.
        scores: (N,) their scores of ``variant``; a map whose score is NaN is not above its null.
        count: noise maps, 1 or more.
        generator: source of the noise, on the maps' device.
        variant: as in `grid_scores`.
        report: called with the fraction done after each noise map.

    Returns:
        threshold (N,), the highest noise score met (-inf: none), and is_above (N,).

    Raises:
        ValueError: wrong number of dimensions, scores that are not one a map, count below 1.
    """
    maps = as_tensor(maps, "maps", "N, H, W")
    scores = as_tensor(scores, "scores", "N", like=maps)
    if len(scores) != len(maps):
        raise ValueError(f"scores has {len(scores)} values for {len(maps)} maps; give one a map")
    if count < 1:
        raise ValueError(f"count is {count}; give a number of noise maps, 1 or more")
    threshold = torch.full_like(scores, -torch.inf)
    left = scores.isfinite().nonzero()[:, 0]
    noise = _SpectrumNoise(maps[left], keep_values=True) if len(left) else None
    for i in range(count):
        if noise is None or not len(left):
            break
        null = grid_scores(noise.draw(generator), variant).nan_to_num(-torch.inf)
        threshold[left] = threshold[left].maximum(null)
        above = scores[left] > threshold[left]
        left, noise = left[above], noise[above]
        if report is not None:
            report((i + 1) / count)
    return threshold, torch.zeros_like(scores, dtype=torch.bool).index_fill(0, left, True)
