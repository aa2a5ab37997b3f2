"""Attractor tests: what happens to a code that is pushed, left at rest, or put in another arena.

A continuous attractor pulls perturbed activity back onto its manifold (`relaxation` of `manifold_distance`), stays
where it is when velocity is zero (`rest_drift`), and keeps the phase differences of its cells in every arena
(`pair_stability`; Yoon et al. 2013).
"""

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from entorhinal.analysis.tensors import Array, as_tensor, chunk_size

RATES, LEAST_FALL, NEAREST = 200, 0.05, 4
"""Candidate rates of decay; a fall smaller than this part of the start is none; members whose tangents are tried."""


@dataclass(frozen=True)
class Relaxation:
    """Fit d(t) = start (remaining + (1 - remaining) exp(-rate t)) to P traces of a distance.

    Attributes:
        rate_per_s: (P,) exponential rate; NaN where the distance does not fall.
        half_life_s: (P,) ln 2 / rate, in which the part that decays halves; NaN where the rate is.
        remaining: (P,) what stays, as a part of the fitted start; 0 if all decays, 1 and more if nothing does.
        start: (P,) fitted distance at t = 0.
        fit: (P,) share of the trace's variance over time that the fit explains.
    """

    rate_per_s: Tensor
    half_life_s: Tensor
    remaining: Tensor
    start: Tensor
    fit: Tensor


@dataclass(frozen=True)
class RestDrift:
    """Movement of B codes while velocity is zero.

    Attributes:
        velocity_m_s: (B, D) net displacement over time.
        speed_m_s: (B,) its size. Diffusion alone gives about root of (D variance_m2_s / duration).
        variance_m2_s: (B,) growth of variance along each axis once that velocity is taken out.
    """

    velocity_m_s: Tensor
    speed_m_s: Tensor
    variance_m2_s: Tensor


@dataclass(frozen=True)
class PairStability:
    """Phase differences of all pairs of N cells, in one arena against another.

    Attributes:
        value: mean over pairs of the cosine of the change of their phase difference, mean over both lattice vectors; 1
            if none changes.
        shuffled: the same with the cells of the second arena dealt anew, mean over shuffles: 0, and above where the
            phases of the population are not uniform.
        p_value: part of the shuffles, and the data, that reach ``value``.
        pairs: how many.
    """

    value: float
    shuffled: float
    p_value: float
    pairs: int


def manifold_distance(states: Array, cloud: Array, tangents: Array | None = None, *, skip_self: bool = False) -> Tensor:
    """Distance of each state to a manifold that a cloud samples.

    Args:
        states: (M, N).
        cloud: (K, N). It cannot resolve less than its own spacing: that is the distance of its members with
            ``skip_self``.
        tangents: (K, N, D) vectors along the manifold at each member, of any length: the distance is then to the
            tangent plane of the nearest members, the best of four, and the resolution is that of curvature.
        skip_self: leave out of the cloud the member with the state's own index (M = K).

    Returns:
        (M,) Euclidean, in the units of the states.

    Raises:
        ValueError: shapes that do not fit, an empty cloud.
    """
    values, members = as_tensor(states, "states", "M, N"), as_tensor(cloud, "cloud", "K, N")
    if values.shape[1] != members.shape[1] or len(members) < 1 + skip_self:
        raise ValueError(f"states is {tuple(values.shape)} and cloud {tuple(members.shape)}; give the same N, enough K")
    if skip_self and len(values) != len(members):
        raise ValueError(f"skip_self needs one state a member, not {len(values)} for {len(members)}")
    planes = None
    if tangents is not None:
        along = as_tensor(tangents, "tangents", "K, N, D", like=members)
        if along.shape[:2] != members.shape:
            raise ValueError(f"tangents is {tuple(along.shape)} and cloud {tuple(members.shape)}; give (K, N, D)")
        left, size, _ = torch.linalg.svd(along.nan_to_num(0), full_matrices=False)
        planes = left * (size > 1e-9 * size.amax(-1, keepdim=True).clamp_min(1e-300))[:, None]
    nearest = 1 if planes is None else min(NEAREST, len(members) - skip_self)
    bytes_each = 8 * (len(members) + (0 if planes is None else nearest * planes[0].numel()))
    found = []
    for rows in torch.arange(len(values), device=values.device).split(chunk_size(bytes_each, values.device)):
        distance = torch.cdist(values[rows], members, compute_mode="donot_use_mm_for_euclid_dist")
        if skip_self:
            distance[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        closest, which = distance.topk(nearest, largest=False)
        if planes is not None:
            apart = values[rows, None] - members[which]  # (m, k, N)
            flat = planes[which]  # (m, k, N, D)
            apart = apart - (flat @ (flat.mT @ apart[..., None]))[..., 0]
            closest = apart.norm(dim=-1)
        found.append(closest.amin(1))
    return torch.cat(found) if found else values.new_empty(0)


def relaxation(distance: Array, dt_s: float) -> Relaxation:
    """Exponential decay of distances to what remains, by least squares.

    For each of 200 rates, from a tenth of one over the duration to four over ``dt_s``, the other two numbers are
    linear; the best rate is then refined between its neighbours. A remaining part below 0 is set to 0.

    Args:
        distance: (P, T) of P perturbations, the first sample at t = 0.
        dt_s: seconds a sample.

    Returns:
        Relaxation; NaN for traces with NaN.

    Raises:
        ValueError: less than four samples, dt_s not above 0.
    """
    traces = as_tensor(distance, "distance", "P, T")
    steps = traces.shape[1]
    if steps < 4 or not dt_s > 0:
        raise ValueError(f"distance has {steps} samples of {dt_s} s; give at least 4, and seconds above 0")
    known = traces.isfinite().all(1)
    values = traces.where(known[:, None], 0)
    time_s = dt_s * torch.arange(steps, dtype=values.dtype, device=values.device)
    low, high = log(0.1 / (dt_s * (steps - 1))), log(4 / dt_s)
    candidates = torch.linspace(low, high, RATES, dtype=values.dtype, device=values.device).expand(len(values), -1)
    width = (high - low) / (RATES - 1)
    for _ in range(3):
        loss, stays, falls = _exponentials(values, candidates.exp(), time_s)
        best = loss.argmin(1, keepdim=True)
        found, rest, part = (each.gather(1, best)[:, 0] for each in (candidates, stays, falls))
        unexplained = loss.gather(1, best)[:, 0]
        fine = torch.linspace(-width, width, 41, dtype=values.dtype, device=values.device)
        candidates, width = found[:, None] + fine, width / 20
    start = rest + part
    total = (values - values.mean(1, keepdim=True)).square().sum(1)
    decays = known & (part > LEAST_FALL * start)
    rate = found.exp().where(decays, torch.nan)
    return Relaxation(
        rate_per_s=rate,
        half_life_s=log(2) / rate,
        remaining=(rest / start.where(start > 0, torch.nan)).where(known, torch.nan),
        start=start.where(known, torch.nan),
        fit=(1 - unexplained / total.where(total > 0, torch.nan)).where(known, torch.nan),
    )


def _exponentials(values: Tensor, rates: Tensor, time_s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least squares of rest + part exp(-rate t), rest at least 0: squared error, rest and part, (P, C) each."""
    wave = torch.exp(-rates[..., None] * time_s)  # (P, C, T)
    mean_wave, mean = wave.mean(-1), values.mean(1, keepdim=True)
    cross = torch.einsum("pct,pt->pc", wave, values) / len(time_s)
    power = wave.square().mean(-1)
    part = (cross - mean_wave * mean) / (power - mean_wave.square()).clamp_min(1e-12)
    rest = mean - part * mean_wave
    alone = cross / power
    part, rest = torch.where(rest < 0, alone, part), rest.clamp_min(0)
    error = (values[:, None] - rest[..., None] - part[..., None] * wave).square().sum(-1)
    return error, rest, part


def rest_drift(path_m: Array, dt_s: float) -> RestDrift:
    """How codes move while velocity is zero: net velocity, and diffusion around it, for a drifting Brownian motion.

    Both are the unbiased estimates of maximum likelihood: total displacement over time, and the variance of the steps
    around it over ``dt_s``. An error that the decoder makes anew at each sample adds twice its variance over ``dt_s``.

    Args:
        path_m: (B, T, D) decoded path in metres, every sample known (a trial with NaN gives NaN).
        dt_s: seconds a sample.

    Raises:
        ValueError: less than eight samples, dt_s not above 0.
    """
    path = as_tensor(path_m, "path_m", "B, T, D")
    if path.shape[1] < 8 or not dt_s > 0:
        raise ValueError(f"path_m has {path.shape[1]} samples of {dt_s} s; give at least 8, and seconds above 0")
    time_s = dt_s * torch.arange(path.shape[1], dtype=path.dtype, device=path.device)
    velocity = (path[:, -1] - path[:, 0]) / time_s[-1]
    around = path.diff(dim=1) - (dt_s * velocity)[:, None]
    variance = around.square().mean(-1).sum(1) / (around.shape[1] - 1) / dt_s
    known = path.isfinite().all(-1).all(-1)
    return RestDrift(velocity, velocity.norm(dim=-1), variance.where(known, torch.nan))


def pair_stability(
    phase: Array, other_phase: Array, *, generator: torch.Generator, shuffles: int = 200
) -> PairStability:
    """Do pairs of cells keep their phase differences from one arena to the other?

    With d_n the change of cell n's phase, the mean of cos(d_i - d_j) over all pairs is (N² R² - N) / (N (N - 1)), R the
    length of the mean of exp(i d_n): a common shift of all cells changes nothing, and no pair need be formed.

    Args:
        phase, other_phase: (N, 2) in cycles, of the same cells in both arenas, along the same lattice vectors (as
            `aligned_basis` gives them). Cells with NaN in either are left out.
        generator: of the shuffles, on the phases' device.

    Raises:
        ValueError: shapes that differ, less than three cells with phases, no shuffles.
    """
    first = as_tensor(phase, "phase", "N, 2")
    second = as_tensor(other_phase, "other_phase", "N, 2", like=first)
    if first.shape != second.shape:
        raise ValueError(f"phase is {tuple(first.shape)} and other_phase {tuple(second.shape)}; give the same cells")
    known = (first + second).isfinite().all(1)
    first, second, n = first[known], second[known], int(known.sum())
    if n < 3 or shuffles < 1:
        raise ValueError(f"{n} cells have phases in both arenas and shuffles is {shuffles}; give 3 cells, 1 shuffle")

    def stability(dealt: Tensor) -> Tensor:
        """(S, N, 2) -> (S,)."""
        wave = torch.polar(torch.ones_like(dealt), 2 * pi * (first - dealt))
        return ((wave.sum(1).abs().square() - n) / (n * (n - 1))).mean(-1)

    value = stability(second[None])[0]
    order = torch.rand(shuffles, n, generator=generator, dtype=first.dtype, device=first.device).argsort(1)
    null = stability(second[order])
    return PairStability(
        value=float(value),
        shuffled=float(null.mean()),
        p_value=(1 + int((null >= value - 1e-12).sum())) / (1 + shuffles),
        pairs=n * (n - 1) // 2,
    )
