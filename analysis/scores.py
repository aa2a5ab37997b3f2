"""Grid scores: how hexagonal, or how square, an autocorrelogram is."""

from math import pi

import torch
from torch import Tensor
from torch.nn.functional import pad

from entorhinal.analysis.lattices import Lattices, checked_bin, correlogram_peaks, lattices_from_peaks, peak_ellipses
from entorhinal.analysis.maps import autocorrelograms
from entorhinal.analysis.tensors import Array, as_tensor, in_chunks

ANGLE_STEP_DEG = 3
"""Autocorrelograms are resampled at this step, so rotations by 30, 45, 60 and 90 degrees move whole samples."""

NARROWEST_RING = 1.5
"""An expanding ring's outer radius is at least this many times its inner radius."""

LONGEST_ELLIPSE = 2.0
"""Autocorrelograms stretched by more than this are not corrected (Brandon et al. 2011)."""

VARIANTS = ("sargolini", "banino")


def sample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear samples of images (N, H, W) at columns x and rows y, (P,) or (N, P) -> (N, P).

    NaN pixels lend no weight; a sample with less than half of its weight is NaN, as are samples outside.
    """
    height, width = images.shape[-2:]
    flat, x, y = images.flatten(1), torch.atleast_2d(x), torch.atleast_2d(y)
    left, low = x.floor().clamp(0, width - 2 if width > 1 else 0), y.floor().clamp(0, height - 2 if height > 1 else 0)
    across, up = x - left, y - low
    inside = (across >= 0) & (across <= 1) & (up >= 0) & (up <= 1)
    corner = torch.stack([left + low * width + step for step in (0, 1, width, width + 1)])
    corner = corner.long().clamp_max(flat.shape[1] - 1)  # (4, 1 or N, P)
    share = torch.stack([(1 - across) * (1 - up), across * (1 - up), (1 - across) * up, across * up])

    def pixel(i: int) -> Tensor:
        return flat[:, corner[i, 0]] if len(x) == 1 else flat.gather(1, corner[i])

    total = pixel(0).mul_(share[0])
    for i in range(1, 4):
        total.addcmul_(pixel(i), share[i])
    unit, place = total.isfinite().logical_not_().nonzero(as_tuple=True)  # those few again, without the NaN pixels
    row = unit if len(x) > 1 else torch.zeros_like(unit)
    pixels, shares = flat[unit, corner[:, row, place]], share[:, row, place]
    here = pixels.isfinite()
    weight = (shares * here).sum(0)
    again = (shares * pixels.where(here, 0)).sum(0) / weight
    total[unit, place] = again.where(weight >= 0.5, torch.nan)
    return total.where(inside, torch.nan)


def polar(correlograms: Tensor, shape: Tensor | None = None) -> Tensor:
    """Autocorrelograms (N, 2H-1, 2W-1) on half circles: (N, R, 60), radius r = 1 ... R = min(H, W) - 1 bins.

    An autocorrelogram equals itself turned by 180 degrees, so half of each circle, at 3 degree steps, says all.
    With ``shape`` (N, 2, 2) the point u of the polar grid is read at the lag shape @ u.
    """
    height, width = ((n + 1) // 2 for n in correlograms.shape[-2:])
    radius = torch.arange(1, min(height, width), dtype=correlograms.dtype, device=correlograms.device)
    angle = torch.arange(0, 180, ANGLE_STEP_DEG, dtype=radius.dtype, device=radius.device) * (pi / 180)
    points = torch.stack([radius[:, None] * angle.cos(), radius[:, None] * angle.sin()]).flatten(1)  # (2, R * 60)
    if shape is not None:
        points = shape @ points  # (N, 2, R * 60)
    x, y = points.unbind(-2)
    return sample(correlograms, x + (width - 1), y + (height - 1)).unflatten(1, (len(radius), len(angle)))


def central_edge(rings: Tensor) -> Tensor:
    """Where the central peak ends: (N, R, 60) -> (N,) radius in bins, 0 where it never does.

    It ends where the mean over the circle first falls to zero or first stops falling, whichever comes first.
    """
    profile = rings.nanmean(-1)
    ends = (profile[:, :-1] <= 0) | (profile[:, :-1] <= profile[:, 1:])
    return torch.where(ends.any(-1), ends.to(torch.uint8).argmax(-1) + 1, 0)


def turned_correlations(rings: Tensor, inner: Tensor, degrees: tuple[int, ...]) -> list[Tensor]:
    """Pearson correlation of every ring with itself turned.

    Args:
        rings: (N, R, 60) from `polar`.
        inner: (N,) first radius of the ring, in bins.
        degrees: angles, multiples of 3.

    Returns:
        For each angle (N, R), by last radius of the ring. Samples weigh by their radius (the area they stand for). NaN
        where the ring lacks half of its sample pairs or does not vary.
    """
    present = rings.isfinite()
    complete = bool(present.all())  # as nearly always: then all sums but one are the same at every angle
    mask, values = present.to(rings.dtype), rings if complete else rings.where(present, 0)
    squares = values.square()
    radius = torch.arange(1, rings.shape[1] + 1, dtype=rings.dtype, device=rings.device)
    before = (inner - 1).clamp_min(0)[:, None]

    def within(circles: Tensor) -> Tensor:
        """Sums over the ring, by last radius, from sums over circles (..., R)."""
        sums = pad((circles * radius).cumsum(-1), (1, 0)).expand(len(rings), -1)
        return sums[:, 1:] - sums.gather(1, before)

    area = within(torch.full_like(radius, rings.shape[2]))
    weight = area
    sum_1 = sum_2 = within(values.sum(-1))
    squares_1 = squares_2 = within(squares.sum(-1))
    found = []
    for angle in degrees:
        turn = angle // ANGLE_STEP_DEG
        if not complete:
            turned_mask = mask.roll(turn, -1)
            weight = within(torch.linalg.vecdot(mask, turned_mask))
            sum_1, sum_2 = (within(torch.linalg.vecdot(values, m)) for m in (turned_mask, mask.roll(-turn, -1)))
            squares_1, squares_2 = (
                within(torch.linalg.vecdot(squares, m)) for m in (turned_mask, mask.roll(-turn, -1))
            )
        count = weight.clamp_min(1)
        variance_1, variance_2 = squares_1 - sum_1.square() / count, squares_2 - sum_2.square() / count
        covariance = within(torch.linalg.vecdot(values, values.roll(turn, -1))) - sum_1 * sum_2 / count
        least = count * torch.finfo(rings.dtype).eps ** 0.6
        defined = (area > 0) & (weight >= 0.5 * area) & (variance_1 > least) & (variance_2 > least)
        scale = (variance_1 * variance_2).where(defined, 1).sqrt()
        found.append((covariance / scale).where(defined, torch.nan))
    return found


def best_ring(rings: Tensor, variant: str) -> Tensor:
    """Score, first and last radius in bins of each map's best ring: (N, R, 60) -> (N, 3), NaN where there is none."""
    if rings.shape[1] < 2:  # a line has no rings
        return rings.new_full((len(rings), 3), torch.nan)
    last = torch.arange(1, rings.shape[1] + 1, device=rings.device)
    inner = central_edge(rings)
    if variant == "banino":
        half = rings.shape[1] + 1  # the map's shorter side, in bins
        inner = torch.full_like(inner, max(1, round(0.2 * half)))
        outers = {min(round((0.4 + 0.6 * step / 9) * half), half - 1) for step in range(10)}
        allowed = torch.isin(last, torch.tensor(sorted(outers), device=last.device)).expand(len(rings), -1)
    else:
        allowed = (last >= NARROWEST_RING * inner[:, None]) & (inner[:, None] > 0)
    if variant == "square":
        c45, c90 = turned_correlations(rings, inner, (45, 90))
        scores = c90 - c45
    else:
        c30, c60, c90 = turned_correlations(rings, inner, (30, 60, 90))
        scores = c60 - (torch.maximum(c30, c90) if variant == "sargolini" else (2 * c30 + c90) / 3)
    scores = scores.where(allowed & scores.isfinite(), -torch.inf)
    best, index = pad(scores, (1, 0), value=-torch.inf).max(-1)
    found = torch.stack([best, inner.to(best.dtype), index.to(best.dtype)], -1)
    return found.where(best.isfinite()[:, None], torch.nan)


def score_correlograms(correlograms: Tensor, variant: str, ellipse_corrected: bool = False) -> Tensor:
    """`best_ring` of autocorrelograms (N, 2H-1, 2W-1) -> (N, 3)."""
    shape = None
    if ellipse_corrected:
        ratio, long_axis = peak_ellipses(correlogram_peaks(correlograms))
        correct = (ratio <= LONGEST_ELLIPSE)[:, None, None]  # False for NaN, no ellipse
        stretch = (ratio - 1)[:, None, None] * long_axis[:, :, None] * long_axis[:, None, :]
        shape = torch.eye(2, dtype=ratio.dtype, device=ratio.device) + stretch.where(correct, 0)
    return best_ring(polar(correlograms, shape), variant)


def grid_scores(maps: Array, variant: str = "sargolini", *, ellipse_corrected: bool = False) -> Tensor:
    """Hexagonal grid score of every map: how much better its autocorrelogram matches itself turned by 60° than by 30°.

    The autocorrelogram (`autocorrelograms`) is resampled bilinearly on circles of radius
    1, 2, ... min(H, W) - 1 bins, every 3°. A ring is compared with itself turned by Pearson correlation, samples
    weighing by their radius; a ring counts when at least half of its sample pairs are defined. Because an
    autocorrelogram equals itself turned by 180°, c120 = c60 and c150 = c30, so three turns are computed.

    - ``"sargolini"`` (Sargolini et al. 2006): min(c60, c120) - max(c30, c90, c150). Rings start where the central peak
      ends (the circle on which the mean correlation first reaches 0 or stops falling) and expand bin by bin from 1.5
      times that radius to the edge of the correlogram; the best ring is the score.
    - ``"banino"`` (Banino et al. 2018): mean(c60, c120) - mean(c30, c90, c150). Rings run from 0.2 to 0.4 ... 1.0 (ten
      steps) of the shorter side of the map, to the nearest bin; the best ring is the score.

    The two are not comparable, and neither is comparable with another set of rings. A perfect hexagon (three cosines,
    spacing 0.5 m, orientation 10°, a field at the centre, 2 m box, 50² bins) scores 1.413
    and 1.392.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.
        variant: ``"sargolini"`` or ``"banino"``.
        ellipse_corrected: compress each autocorrelogram along the long axis of the ellipse through its six inner peaks
            until that is a circle (Brandon et al. 2011); left as it is where there are no six peaks, or where the
            ellipse is more than twice as long as wide.

    Returns:
        (N,) in [-2, 2], on the maps' device; NaN for constant or empty maps and where no ring is defined.

    Raises:
        ValueError: wrong number of dimensions, unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; give one of {', '.join(map(repr, VARIANTS))}")
    return best_rings(maps, variant, ellipse_corrected=ellipse_corrected)[:, 0]


def square_scores(maps: Array) -> Tensor:
    """Square score of every map, c90 - c45, over the rings of ``grid_scores(variant="sargolini")``.

    A square lattice scores above 1, a hexagon about 0.2.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.

    Returns:
        (N,) in [-2, 2]; NaN as in `grid_scores`.

    Raises:
        ValueError: wrong number of dimensions.
    """
    return best_rings(maps, "square")[:, 0]


def best_rings(maps: Array, variant: str = "sargolini", *, ellipse_corrected: bool = False) -> Tensor:
    """Score and ring of every map, for figures.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.
        variant: ``"sargolini"``, ``"banino"`` or ``"square"``.
        ellipse_corrected: as in `grid_scores`.

    Returns:
        (N, 3): score, first and last radius of the best ring in bins; NaN where there is none.

    Raises:
        ValueError: wrong number of dimensions, unknown variant.
    """
    if variant not in (*VARIANTS, "square"):
        raise ValueError(f"variant is {variant!r}; give one of {', '.join(map(repr, (*VARIANTS, 'square')))}")

    def measure(chunk: Tensor) -> Tensor:
        return score_correlograms(autocorrelograms(chunk), variant, ellipse_corrected)

    return in_chunks(measure, as_tensor(maps, "maps", "N, H, W"), copies=32)


def scores_and_lattices(maps: Array, bin_m: float, variant: str = "sargolini") -> tuple[Tensor, Lattices]:
    """`grid_scores` and `lattices` from one autocorrelogram, which is the larger part of the work of either.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.
        bin_m: side of a bin, in metres.
        variant: as in `grid_scores`.

    Returns:
        Scores (N,) and Lattices, equal to those of the two functions.

    Raises:
        ValueError: wrong number of dimensions, unknown variant, bin_m not above 0.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; give one of {', '.join(map(repr, VARIANTS))}")

    def measure(chunk: Tensor) -> Tensor:
        correlograms = autocorrelograms(chunk)
        return torch.cat(
            [score_correlograms(correlograms, variant)[:, :1], correlogram_peaks(correlograms).flatten(1)], 1
        )

    found = in_chunks(measure, as_tensor(maps, "maps", "N, H, W"), copies=32)
    return found[:, 0], lattices_from_peaks(found[:, 1:].unflatten(1, (3, 2)) * checked_bin(bin_m))
