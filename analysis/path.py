"""Path integration: one decoder for every population, and the error of what it reads along the way.

Templates are the rate maps of the population on calibration walks. The decoder standardises each unit over the box and
takes the bin whose population vector has the largest cosine with the one at hand. Two tracks: *localisation* searches
the whole box; *integration* searches only near the last estimate, and so follows a periodic code from cell to cell.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from entorhinal.analysis.maps import RateMaps
from entorhinal.analysis.tensors import Array, as_tensor, chunk_size


@dataclass(frozen=True)
class PathError:
    """Error of decoded paths.

    Attributes:
        error_m: (B, T) distance between decoded and true position, NaN where nothing was decoded.
        distance_m: (B, T) path length from the start to the end of each step.
        median_m, mean_m, p95_m: of all errors that are not NaN.
        slope: least-squares growth of the error with distance, metres a metre.
    """

    error_m: Tensor
    distance_m: Tensor
    median_m: float
    mean_m: float
    p95_m: float
    slope: float


def decode_positions(
    rates: Array, templates: RateMaps, *, window_m: float | None = None, start_m: Array | None = None
) -> Tensor:
    """Positions read from a population's rates by its templates.

    Args:
        rates: (B, T, N), any unit of rate.
        templates: rate maps (N, H, W) of the same units. Bins that any unit lacks, and units that do not vary, are left
            out.
        window_m: None searches all bins at every step (localisation). Otherwise only the bins within this distance of
            the last estimate (integration); a step without any keeps the last estimate.
        start_m: (B, D), where integration begins; needed with ``window_m``.

    Returns:
        (B, T, D) in metres: the best bin's centre, moved within the bin to the vertex of the parabola through its
        neighbours along each axis. NaN where all rates are.

    Raises:
        ValueError: shapes that do not fit, templates without a complete bin, ``window_m`` without ``start_m``.
    """
    values = as_tensor(rates, "rates", "B, T, N")
    maps = templates.values.to(values)
    if maps.shape[0] != values.shape[2]:
        raise ValueError(f"rates has {values.shape[2]} units and templates {maps.shape[0]}; give the same units")
    if window_m is not None and (start_m is None or not window_m > 0):
        raise ValueError(
            f"window_m is {window_m!r} and start_m {start_m!r}; give a positive window and the start (B, D)"
        )
    complete = maps.isfinite().all(0).flatten()  # (H * W,)
    if not complete.any():
        raise ValueError("templates has no bin in which every unit has a rate; calibrate on longer walks")
    table = maps.flatten(1)[:, complete]
    mean, spread = table.mean(1, keepdim=True), table.std(1, correction=0, keepdim=True)
    gain = torch.where(spread > 1e-9 * table.abs().amax(), 1 / spread, 0)
    table = _unit((table - mean) * gain, 0)  # (N, M)
    centre_m = templates.centers_m().to(values).flatten(0, 1)  # (H * W, D)
    found = torch.empty(*values.shape[:2], centre_m.shape[1], dtype=values.dtype, device=values.device)
    last_m = None if window_m is None else torch.as_tensor(start_m).to(values)
    for steps in torch.arange(values.shape[1]).split(chunk_size(24 * len(values) * len(complete), values.device)):
        span = slice(int(steps[0]), int(steps[-1]) + 1)
        population = _unit((values[:, span] - mean[:, 0]) * gain[:, 0], -1)
        match = torch.full((*population.shape[:2], len(complete)), -torch.inf, dtype=values.dtype, device=values.device)
        match[..., complete] = population @ table
        if last_m is None:
            best = match.argmax(-1)
        else:
            best, last_m = _track(match, centre_m, last_m, float(window_m or 0))
        found[:, span] = centre_m[best] + templates.bin_m * _vertex(match, best, maps.shape[1:], centre_m.shape[1])
    return found.where(values.isfinite().any(-1, keepdim=True), torch.nan)


def _unit(vectors: Tensor, dim: int) -> Tensor:
    length = vectors.norm(dim=dim, keepdim=True)
    return (vectors / length.where(length > 0, 1)).nan_to_num(0)


def _track(match: Tensor, centre_m: Tensor, last_m: Tensor, window_m: float) -> tuple[Tensor, Tensor]:
    """Best bin near the last one at every step: match (B, T, M), last_m (B, D) -> bins (B, T), last_m (B, D)."""
    best = torch.empty(match.shape[:2], dtype=torch.long, device=match.device)
    for t in range(match.shape[1]):
        near = torch.cdist(last_m, centre_m) <= window_m
        value, here = match[:, t].where(near, -torch.inf).max(-1)
        stay = torch.cdist(last_m, centre_m).argmin(-1)
        best[:, t] = torch.where(value.isfinite(), here, stay)
        last_m = torch.where(value.isfinite()[:, None], centre_m[here], last_m)
    return best, last_m


def _vertex(match: Tensor, best: Tensor, shape: torch.Size, dimensions: int) -> Tensor:
    """Offset of the peak from the best bin along x (and y), in bins within ±1/2: (B, T, D)."""
    height, width = shape
    row, column = best // width, best % width
    here = match.gather(-1, best[..., None])[..., 0]
    offsets = []
    for step, place, size in ((1, column, width), (width, row, height))[:dimensions]:
        inner = (place > 0) & (place < size - 1)
        before, after = (
            match.gather(-1, (best + side * step).clamp(0, match.shape[-1] - 1)[..., None])[..., 0] for side in (-1, 1)
        )
        bend = before + after - 2 * here
        usable = inner & before.isfinite() & after.isfinite() & (bend < 0)
        offsets.append(torch.where(usable, 0.5 * (before - after) / bend.where(usable, 1), 0).clamp(-0.5, 0.5))
    return torch.stack(offsets, -1)


def path_error(decoded_m: Array, position_m: Array, displacement_m: Array) -> PathError:
    """Error of decoded paths against the true ones, and its growth with the distance walked.

    Args:
        decoded_m: (B, T, D) in metres, NaN where nothing was decoded.
        position_m: (B, T, D) true positions after each step.
        displacement_m: (B, T, D) true steps, for the distance walked.

    Raises:
        ValueError: shapes that differ.
    """
    decoded = as_tensor(decoded_m, "decoded_m", "B, T, D")
    position = as_tensor(position_m, "position_m", "B, T, D", like=decoded)
    steps = as_tensor(displacement_m, "displacement_m", "B, T, D", like=decoded)
    if not decoded.shape == position.shape == steps.shape:
        raise ValueError(
            f"decoded_m is {tuple(decoded.shape)}, position_m {tuple(position.shape)} and displacement_m "
            f"{tuple(steps.shape)}; give the same shape (B, T, D)"
        )
    error_m, distance_m = (decoded - position).norm(dim=-1), steps.norm(dim=-1).cumsum(1)
    known = error_m.isfinite()
    errors, distances = error_m[known].double(), distance_m[known].double()
    if not len(errors):
        return PathError(error_m, distance_m, *[float("nan")] * 4)
    around = distances - distances.mean()
    slope = (around * errors).sum() / around.square().sum()
    ordered = errors.sort().values
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    return PathError(error_m, distance_m, float(errors.median()), float(errors.mean()), float(p95), float(slope))
