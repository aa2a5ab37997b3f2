"""Capacity: how far a code is told apart, how finely, and how many places it holds.

A code is the vector of N rates at a place. Over distance, *code separation* and the *joint range* say whether it comes
back; up close, the Cramér–Rao bound says how well a place is known at given noise; the two together are bits, and a
decoder among many places counts those that it can tell apart.

Noise is independent and Gaussian, of one standard deviation for all units, unless said otherwise.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entorhinal.analysis.tensors import Array, as_tensor, chunk_size

LEAST_M, MOST_M = 0.3, 4.0
"""Displacements over which codes are to stay apart, in metres."""


@dataclass(frozen=True)
class CodeSeparation:
    """How far the codes of O origins stay from those of all places around.

    Attributes:
        ratio: (O,) smallest over median code distance; 0 is a code that repeats, 1 one with all places equally far.
        minimum: (O,) smallest code distance.
        median: (O,) median code distance, the plateau.
        nearest_m: (O, D) displacement of the smallest, in metres.
        places: (O,) displacements that counted.
    """

    ratio: Tensor
    minimum: Tensor
    median: Tensor
    nearest_m: Tensor
    places: Tensor

    @property
    def mean(self) -> float:
        """Mean ratio over origins: the code separation of a population. NaN if no origin has one."""
        return float(self.ratio.nanmean())


@dataclass(frozen=True)
class RadialCurves:
    """Code distance by distance in space, in R rings; NaN where a ring has no place.

    Attributes:
        radius_m: (R,) middle of each ring, from 0 on; the rings are one bin wide.
        minimum, median, mean: (O, R) over the ring. The mean hides repeats: one torus dips little in it.
        nearest_m: (O, R) length of the displacement that has the ring's minimum.
    """

    radius_m: Tensor
    minimum: Tensor
    median: Tensor
    mean: Tensor
    nearest_m: Tensor


@dataclass(frozen=True)
class DecodablePlaces:
    """What a decoder that knows the codes and the noise can tell of K equally likely places.

    Attributes:
        places: effective number, exp of the information between place and response; between 1 and K.
        bits: that information.
        correct: fraction of responses for which the most likely place is the true one.
        total: K.
    """

    places: float
    bits: float
    correct: float
    total: int


def code_distances(origins: Array, codes: Array) -> Tensor:
    """Euclidean distance of codes to those of some origins, in chunks of bounded memory.

    Args:
        origins: (O, N).
        codes: (M, N), the same for all origins, or (O, M, N).

    Returns:
        (O, M), float64. NaN where a rate is. Codes too many to be held can come in parts: join the parts' distances.

    Raises:
        ValueError: shapes that do not fit.
    """
    start = as_tensor(origins, "origins", "O, N")
    codes = torch.as_tensor(codes).detach()
    shared = codes.ndim == 2
    if (codes.ndim != 3 and not shared) or codes.shape[-1] != start.shape[1] or codes.is_complex():
        raise ValueError(f"codes has shape {tuple(codes.shape)}; give real (M, N) or (O, M, N), N = {start.shape[1]}")
    if not shared and len(codes) != len(start):
        raise ValueError(f"codes has {len(codes)} origins and origins {len(start)}; give the same")
    found = torch.empty(len(start), codes.shape[-2], dtype=start.dtype, device=start.device)
    size = chunk_size(24 * codes.shape[-1] * (1 if shared else len(start)), start.device)
    exact = "donot_use_mm_for_euclid_dist"  # differences, not ‖a‖² + ‖b‖² − 2ab: a repeat is exactly 0
    for first in range(0, codes.shape[-2], size):
        span = slice(first, first + size)
        part = codes[..., span, :].to(start)
        found[:, span] = torch.cdist(start if shared else start[:, None], part, compute_mode=exact).view(len(start), -1)
    return found


def code_separation(
    distance: Array, displacement_m: Array, *, least_m: float = LEAST_M, most_m: float = MOST_M
) -> CodeSeparation:
    """Smallest over median code distance among displacements of ``least_m`` to ``most_m`` metres.

    Sample the plane at 2 cm: the dips of a grid code are narrow, and a coarser lattice misses their bottoms. Ideal
    grids give 0.01 for one torus, 0.05 to 0.29 for two modules and 0.2 to 0.5 for three, by their orientations. It
    means something only where the code is one of place: see `path_coherence` and `half_rise_m`.

    Args:
        distance: (O, M) from `code_distances`; NaN is left out.
        displacement_m: (M, D), the same for all origins, or (O, M, D), from the origin to each place.
        least_m: shortest displacement that counts.
        most_m: longest.

    Returns:
        CodeSeparation; NaN for an origin with no such displacement or with one code for all places.

    Raises:
        ValueError: shapes that do not fit, a range that is empty.
    """
    values, offset, length = _checked(distance, displacement_m)
    if not 0 <= least_m < most_m:
        raise ValueError(f"least_m is {least_m!r} and most_m {most_m!r}; give 0 <= least_m < most_m, in metres")
    slack = 1e-9 * most_m
    counts = (length >= least_m - slack) & (length <= most_m + slack) & values.isfinite()
    places = counts.sum(1)
    if values.shape[1] == 0:
        nothing = values.new_full((len(values),), torch.nan)
        return CodeSeparation(nothing, nothing, nothing, nothing[:, None].expand(-1, offset.shape[-1]), places)
    smallest, where = values.where(counts, torch.inf).min(1)
    median = values.where(counts, torch.nan).nanmedian(1).values
    known = places > 0
    nearest = offset.expand(len(values), -1, -1)[torch.arange(len(values), device=values.device), where]
    return CodeSeparation(
        ratio=(smallest / median).where(known & (median > 0), torch.nan),
        minimum=smallest.where(known, torch.nan),
        median=median,
        nearest_m=nearest.where(known[:, None], torch.nan),
        places=places,
    )


def radial_curves(
    distance: Array, displacement_m: Array, bin_m: float = 0.02, *, most_m: float = MOST_M
) -> RadialCurves:
    """Minimum, median and mean of the code distance over rings of displacements.

    Args:
        distance: (O, M) from `code_distances`; NaN is left out.
        displacement_m: (M, D), or (O, M, D).
        bin_m: width of a ring; ring k holds displacements of (k - 1/2) to (k + 1/2) bins.
        most_m: longest displacement that counts.

    Returns:
        RadialCurves with R rings, up to that of ``most_m``.

    Raises:
        ValueError: shapes that do not fit, bin_m or most_m not above 0.
    """
    values, _, length = _checked(distance, displacement_m)
    if not (math.isfinite(bin_m) and math.isfinite(most_m) and 0 < bin_m <= most_m):
        raise ValueError(f"bin_m is {bin_m!r} and most_m {most_m!r}; give 0 < bin_m <= most_m, in metres")
    length = length.expand_as(values)
    known = values.isfinite() & (length <= most_m * (1 + 1e-9))  # False for NaN
    rings = math.floor(most_m / bin_m + 0.5) + 1
    ring = (length / bin_m + 0.5).floor().nan_to_num(rings).long().where(known, rings)  # the last one is thrown away
    order = values.nan_to_num(torch.inf).argsort(1)
    order = order.gather(1, ring.gather(1, order).argsort(dim=1, stable=True))  # by ring, then by distance
    count = values.new_zeros(len(values), rings + 1).scatter_add(1, ring, torch.ones_like(values))
    total = torch.zeros_like(count).scatter_add(1, ring, values.where(known, 0))
    first = count.cumsum(1) - count
    has = count[:, :rings] > 0

    def of(what: Tensor, rank: Tensor) -> Tensor:
        if not values.shape[1]:
            return torch.full_like(count[:, :rings], torch.nan)
        place = order.gather(1, rank.long().clamp(0, values.shape[1] - 1)[:, :rings])
        return what.gather(1, place).where(has, torch.nan)

    return RadialCurves(
        radius_m=bin_m * torch.arange(rings, dtype=values.dtype, device=values.device),
        minimum=of(values, first),
        median=of(values, first + ((count - 1) / 2).floor()),
        mean=(total / count.clamp_min(1))[:, :rings].where(has, torch.nan),
        nearest_m=of(length, first),
    )


def half_rise_m(curves: RadialCurves, plateau: Array) -> Tensor:
    """The smallest radius at which the mean code distance reaches half of the plateau.

    Args:
        curves: of O origins.
        plateau: (O,) such as `CodeSeparation.median`.

    Returns:
        (O,) in metres; inf where it never does.
    """
    level = as_tensor(plateau, "plateau", "O", like=curves.mean)
    reached = curves.mean >= level[:, None] / 2  # False for NaN
    first = reached.to(torch.uint8).argmax(1)
    return curves.radius_m[first].where(reached.any(1), torch.inf)


def noise_floor(noise_sd: float, error: float = 0.05) -> float:
    """The code distance at which one of two places is mistaken for the other with probability ``error``.

    The best choice between two codes a distance d apart errs with probability Φ(-d / 2σ).

    Raises:
        ValueError: noise below 0, an error not between 0 and 1/2.
    """
    if not (math.isfinite(noise_sd) and noise_sd >= 0 and 0 < error < 0.5):
        raise ValueError(f"noise_sd is {noise_sd!r} and error {error!r}; give noise of 0 or more, 0 < error < 0.5")
    return -2 * noise_sd * float(torch.special.ndtri(torch.tensor(error, dtype=torch.float64)))


def joint_range_m(curves: RadialCurves, floor: float) -> Tensor:
    """The smallest displacement, beyond the origin's own neighbourhood, whose code distance is below the noise floor.

    The neighbourhood ends with the first ring that lies wholly above the floor: up to there a small distance is
    resolution, after it ambiguity. A repeat counts from its near edge, which lies before the period by as far as the
    neighbourhood reaches.

    Args:
        curves: of O origins, rings at most as wide as a repeat (2 cm for grids).
        floor: code distance, from `noise_floor`.

    Returns:
        (O,) in metres, of the most similar place of the first such ring. 0 where no ring lies above the floor, inf
        where no place beyond one falls below it: the code is unambiguous as far as it was sampled.
    """
    above, below = curves.minimum > floor, curves.minimum < floor  # both False for NaN
    repeats = below & (above.cumsum(1) > 0)
    found = curves.nearest_m.where(repeats, torch.inf).amin(1)
    return found.where(above.any(1), 0)


def path_coherence(codes: Array) -> float:
    """How alike the codes of a place are that were reached by several paths.

    The mean resultant of the codes over the paths, averaged over places, after each unit's mean is removed and each
    code has length 1: 1 is a code of place alone, and codes of different places dealt to one another give 1/√P. With
    the means left in, any positive rates would be coherent, an untrained network's above 0.95.

    Args:
        codes: (P, M, N), P paths to each of M places; places with a NaN are left out.

    Returns:
        Between 0 and 1; NaN without two places that differ.

    Raises:
        ValueError: wrong number of dimensions, fewer than two paths.
    """
    values = as_tensor(codes, "codes", "P, M, N")
    if len(values) < 2:
        raise ValueError(f"codes has {len(values)} path; give two or more to every place")
    values = values[:, values.isfinite().all(-1).all(0)]
    values = values - values.mean((0, 1))
    length = values.norm(dim=-1, keepdim=True)
    unit = values / length.where(length > 1e-9 * length.amax() if length.numel() else length > 0, torch.nan)
    return float(unit.mean(0).norm(dim=-1).nanmean())


def gaussian_information(jacobian: Array, noise_sd: float | Array) -> Tensor:
    """Fisher information on place of rates with independent Gaussian noise, Σ_n ∂f_n ∂f_nᵀ / σ_n².

    Args:
        jacobian: (..., N, D) derivative of the rates along each axis, per metre.
        noise_sd: in the unit of the rates, one for all units or (N,).

    Returns:
        (..., D, D), 1/m².

    Raises:
        ValueError: noise not above 0.
    """
    slopes = as_tensor(jacobian, "jacobian", "..., N, D")
    noise = torch.as_tensor(noise_sd, dtype=slopes.dtype, device=slopes.device)
    if not bool((noise > 0).all()):
        raise ValueError(f"noise_sd is {noise_sd!r}; give a standard deviation above 0: without noise, no bound")
    scaled = slopes / noise.expand(slopes.shape[-2])[:, None]
    return scaled.mT @ scaled


def poisson_information(jacobian: Array, rates: Array, seconds: float = 1.0) -> Tensor:
    """Fisher information on place of Poisson spike counts, T Σ_n ∂f_n ∂f_nᵀ / f_n (Dayan & Abbott 2001, chapter 3).

    Args:
        jacobian: (..., N, D) derivative of the rates along each axis, spikes a second and metre.
        rates: (..., N) spikes a second, 0 or more. A silent unit tells nothing.
        seconds: T, for which spikes are counted.

    Returns:
        (..., D, D), 1/m².

    Raises:
        ValueError: negative rates, seconds not above 0.
    """
    slopes, rate = as_tensor(jacobian, "jacobian", "..., N, D"), as_tensor(rates, "rates", "..., N")
    if bool((rate < 0).any()):
        raise ValueError(f"rates is {float(rate.nan_to_num(0).min()):g} somewhere; spikes need rates of 0 or more")
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds is {seconds!r}; give a time above 0")
    weight = torch.where(rate > 0, seconds / rate.where(rate > 0, 1), 0).where(~rate.isnan(), torch.nan)
    return slopes.mT @ (weight[..., None] * slopes)


def resolution_m(information: Array) -> Tensor:
    """The Cramér–Rao bound: the smallest root-mean-square error per axis of an unbiased estimate of place.

    Args:
        information: (..., D, D), 1/m².

    Returns:
        (...), metres: the root of trace(inverse) / D. inf where a direction is not told at all, NaN where information
        is.
    """
    values = as_tensor(information, "information", "..., D, D")
    known = values.isfinite().all(-1).all(-1)
    eigenvalues = torch.linalg.eigvalsh(values.where(known[..., None, None], 1))
    least = eigenvalues.amax(-1, keepdim=True) * 1e3 * torch.finfo(values.dtype).eps
    usable = eigenvalues > least.clamp_min(torch.finfo(values.dtype).tiny)
    variance = torch.where(usable, 1 / eigenvalues.where(usable, 1), torch.inf).mean(-1)
    return variance.sqrt().where(known, torch.nan)


def capacity_bits(range_m: Array | float, resolution_m: Array | float) -> Tensor:
    """Bits per axis: log2 of how many steps of the resolution fit the range. Never below 0."""
    length, step = (torch.as_tensor(x, dtype=torch.float64) for x in (range_m, resolution_m))
    return torch.log2(length / step).clamp_min(0)


def participation_ratio(states: Array) -> Tensor:
    """Effective dimension of a cloud of states, (Σ λ)² / Σ λ² of its covariance (Gao et al. 2017).

    Args:
        states: (..., M, N), M states of N units; states with a NaN are left out of a single cloud (M, N).

    Returns:
        (...), between 1 and min(M - 1, N); NaN for a cloud of one point.
    """
    values = as_tensor(states, "states", "..., M, N")
    if values.ndim == 2:
        values = values[values.isfinite().all(-1)]
    centred = values - values.mean(-2, keepdim=True)
    centred = centred / centred.abs().amax((-2, -1), keepdim=True) if centred.numel() else centred
    gram = centred.mT @ centred if centred.shape[-1] <= centred.shape[-2] else centred @ centred.mT
    return gram.diagonal(dim1=-2, dim2=-1).sum(-1).square() / gram.square().sum((-2, -1))


def decodable_places(
    codes: Array, noise_sd: float, *, generator: torch.Generator, draws: int = 1024
) -> DecodablePlaces:
    """How many of K places can be told apart: exp of the information that a noisy response has of its place.

    Places are equally likely and the decoder is the best there is, the posterior under the noise. Responses are drawn;
    the entropy of each one's posterior is exact, so the information has no bias. K codes far apart give K, codes all
    alike 1, a code that repeats r times K / r.

    Args:
        codes: (K, N); places with a NaN are left out.
        noise_sd: of every unit, in the unit of the rates.
        generator: source of the draws, on the CPU.
        draws: responses, spread evenly over the places.

    Raises:
        ValueError: no place, noise not above 0, draws below 1.
    """
    values = as_tensor(codes, "codes", "K, N")
    values = values[values.isfinite().all(-1)]
    total = len(values)
    if not (total and noise_sd > 0 and draws >= 1):
        raise ValueError(
            f"codes has {total} complete places, noise_sd is {noise_sd!r} and draws {draws!r}; "
            "give a place or more, noise above 0 and a draw or more"
        )
    scaled = (values - values.mean(0)) / noise_sd
    square = scaled.square().sum(-1)
    chosen = torch.cat([torch.randperm(total, generator=generator) for _ in range(-(-draws // total))])[:draws]
    entropy, correct = 0.0, 0
    for part in chosen.to(values.device).split(chunk_size(48 * total, values.device)):
        noise = torch.randn(len(part), values.shape[1], generator=generator, dtype=torch.float64).to(values)
        logits = (scaled[part] + noise) @ scaled.T - square / 2
        posterior = torch.log_softmax(logits, -1)
        entropy -= float((posterior.exp() * posterior).sum())
        correct += int((posterior.argmax(-1) == part).sum())
    information = max(0.0, math.log(total) - entropy / draws)
    return DecodablePlaces(math.exp(information), information / math.log(2), correct / draws, total)


def _checked(distance: Array, displacement_m: Array) -> tuple[Tensor, Tensor, Tensor]:
    """distance (O, M), displacements (1 or O, M, D) and their lengths (1 or O, M)."""
    values = as_tensor(distance, "distance", "O, M")
    offset = torch.as_tensor(displacement_m)
    offset = as_tensor(offset[None] if offset.ndim == 2 else offset, "displacement_m", "O, M, D", like=values)
    if offset.shape[1] != values.shape[1] or len(offset) not in (1, len(values)):
        raise ValueError(
            f"displacement_m has shape {tuple(offset.shape)} beside distance {tuple(values.shape)}; "
            f"give ({values.shape[1]}, D) or (O, M, D)"
        )
    return values, offset, offset.norm(dim=-1)
