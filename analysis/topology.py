"""Topology: do the states of a population lie on a torus?  (Gardner et al. 2022, Nature 602:123-128.)

States are cleaned and compared as in that paper, and thinned in another way (see `covering`); persistent homology of
what is left gives bars, and bars that chance also makes are told by rolling every unit in time by itself, which keeps
all units and unties them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log2, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entorhinal.analysis.tensors import Array, as_tensor, chunk_size

COEFFICIENTS = 47
"""Homology is computed over the integers modulo this prime, as Gardner et al. do."""

COMPONENTS = 6
"""Principal components kept."""

AVERAGED_PART, METRIC_PART = 1 / 150, 2 / 3
"""Neighbours, as a part of all points, that are averaged (100 of 15,000) and that the metric sees (800 of 1,200)."""

NULL_MOMENTS, NULL_POINTS = 3000, 400
"""A roll of the null is thinned from so many moments to so many points."""

ROUNDING = 1e-12
"""Cosine distances that differ by less are the same."""

LEAST_UNITS, LEAST_PERIODS = 20, 3.0
"""Fewer units, or periods per axis of the box, say nothing about a torus."""

CAVITY_ROLLS = 20
"""Rolls whose homology is computed up to cavities, which takes twenty times as long as up to loops."""

PROMINENCE = 2.0
"""Bars that count are at least so many times longer than the next, and than the null's 99th percentile."""

EARLY = 3.0
"""Loops and cavities that count die at so many times their birth, or later."""

LANDMARKS = 20
"""A state gets its toroidal coordinates from so many nearest points."""

CYCLE_PART = 0.99
"""A loop's coordinate is read from the edges that exist at this part of its bar, as Gardner et al. do."""


@dataclass(frozen=True)
class Embedding:
    """Rates to principal components of z-scores.

    Attributes:
        mean, scale: (N,), of every unit; scale is infinite for units that do not vary.
        axes: (N, C), orthonormal columns.
    """

    mean: Tensor
    scale: Tensor
    axes: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """(..., N) -> (..., C)."""
        return ((states - self.mean) / self.scale) @ self.axes


@dataclass(frozen=True)
class Topology:
    """What persistent homology finds in the states of a population.

    Attributes:
        betti: (3,) components, loops and cavities; (1, 2, 1) is a torus. See `betti_numbers`.
        is_torus: betti is (1, 2, 1).
        barcodes: for homology dimensions 0, 1 and 2 the bars (K, 2), birth and death, the longest first. Bars that
            never die end at the largest distance.
        threshold: (3,) 99th percentile over rolls of the longest bar (dimension 0: of the longest but the first).
        null_lengths: (rolls, 3) those bars; NaN for cavities that were not computed.
        moments: (P,) which of the B T states are the points.
        points: (P, C) their directions in principal components, `averaged`.
        distance: (P, P) between them.
        embedding: from rates to principal components.
    """

    betti: Tensor
    is_torus: bool
    barcodes: tuple[Tensor, Tensor, Tensor]
    threshold: Tensor
    null_lengths: Tensor
    moments: Tensor
    points: Tensor
    distance: Tensor
    embedding: Embedding

    @property
    def lengths(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lengths (K,) of the bars of each dimension, the longest first."""
        return tuple(bars[:, 1] - bars[:, 0] for bars in self.barcodes)  # type: ignore[return-value]


def why_no_torus(units: int, periods: float | None) -> str:
    """Why a population of ``units`` that sees ``periods`` per axis of its box cannot be judged; empty if it can."""
    if units < LEAST_UNITS:
        return f"{units} units; a torus needs {LEAST_UNITS}"
    if periods is not None and not periods >= LEAST_PERIODS:
        return f"{periods:.3g} periods per axis; a torus needs {LEAST_PERIODS:g}"
    return ""


def most_active(states: Tensor, count: int) -> Tensor:
    """Indices, in order of time, of the ``count`` finite states (M, N) with the largest sum over units."""
    activity = states.sum(1)
    activity = activity.where(activity.isfinite(), -torch.inf)
    count = min(count, int(activity.isfinite().sum()))
    return activity.topk(count).indices.sort().values


def embed(states: Tensor, components: int = COMPONENTS) -> Embedding:
    """z-scores and the leading principal components of states (M, N)."""
    mean, scale = states.mean(0), states.std(0, correction=0)
    scale = scale.where(scale > 1e-9 * scale.max(), torch.inf)
    scores = (states - mean) / scale
    _, axes = torch.linalg.eigh(scores.mT @ scores)  # rising
    return Embedding(mean, scale, axes[:, -components:].flip(1))


def widths(near: Tensor) -> Tensor:
    """Width σ of every point's neighbourhood: Σ exp(−d / σ) over its k distances (M, k) is log₂ k; by bisection."""
    target = log2(near.shape[1] + 1)
    low, width = near.new_zeros(len(near)), near.mean(1)
    high = torch.full_like(width, torch.inf)
    for _ in range(30):
        wide = (-near / width[:, None]).exp_().sum(1) > target
        low, high = low.where(wide, width), high.where(~wide, width)
        width = ((low + high) / 2).where(high.isfinite(), 2 * width)
    return width.clamp_min(torch.finfo(near.dtype).tiny)


def averaged(points: Tensor, neighbours: int) -> Tensor:
    """Mean direction (M, C) of every point (M, C) and its nearest ``neighbours`` others in cosine distance.

    Directions are unit vectors, their mean is not: it is the longer the denser the cloud is around it, and of length 1
    where all are the same. Others as far as the last neighbour, up to rounding, are averaged too.
    """
    unit = torch.nn.functional.normalize(points)
    found = []
    for chunk in unit.split(chunk_size(3 * len(unit) * unit.element_size(), unit.device)):
        gap = 1 - chunk @ unit.mT
        reach = gap.topk(neighbours + 1, largest=False).values[:, -1:]  # itself is among them
        near = (gap <= reach + ROUNDING).to(gap)
        found.append(near @ unit / near.sum(1, keepdim=True))
    return torch.cat(found)


def covering(points: Tensor, count: int) -> Tensor:
    """``count`` of the points (M, C) that cover the whole cloud, as indices: each the farthest from those before it.

    The first is the longest, which is where the cloud is densest (`averaged`); distance is that of directions, and of
    points equally far, up to rounding, the earliest is taken. Gardner et al. (2022) take the densest point and lower
    the density around it, again and again. That leaves out places where states are sparse, and clouds of narrow fields
    get holes: loops that are none of the torus, and no closed surface around its cavity.
    """
    unit = torch.nn.functional.normalize(points)
    taken = torch.empty(count, dtype=torch.long, device=points.device)
    far, gap = points.norm(dim=1), torch.full_like(points[:, 0], torch.inf)
    for step in range(count):
        best = (far >= far.max() - ROUNDING).byte().argmax()
        taken[step] = best
        gap = torch.minimum(gap, 1 - unit @ unit[best])
        gap[best] = -torch.inf
        far = gap
    return taken


def fuzzy_distances(points: Tensor, neighbours: int) -> Tensor:
    """−log of the joined memberships of points (P, C) in each other's neighbourhoods: (P, P), infinite outside both."""
    unit = torch.nn.functional.normalize(points)
    gap = (1 - unit @ unit.mT).clamp_min_(0)
    gap.fill_diagonal_(torch.inf)
    near = gap.topk(neighbours, largest=False).values
    mine = (-gap / widths(near)[:, None]).exp() * (gap <= near[:, -1:] + ROUNDING)
    distance = -torch.log(mine + mine.mT - mine * mine.mT)
    distance = (distance + distance.mT) / 2
    return distance.clamp_min(0).fill_diagonal_(0)


def barcodes(distance: Tensor, dimension: int = 2) -> tuple[Tensor, ...]:
    """Bars of the Vietoris-Rips complex of points with distances (P, P), for homology 0 to ``dimension``.

    Returns:
        For each (K, 2): birth and death, the longest first; bars that never die end at the largest finite distance.
    """
    persistence = _library("gudhi.sklearn").RipsPersistence
    sparse = _library("scipy.sparse")
    lower = np.tril(distance.cpu().numpy(), -1)
    row, column = np.nonzero(np.isfinite(lower) & np.tri(len(lower), k=-1, dtype=bool))
    edges = sparse.coo_matrix((lower[row, column], (row, column)), shape=lower.shape)
    rips = persistence(list(range(dimension + 1)), input_type="distance coo_matrix", homology_coeff_field=COEFFICIENTS)
    last = edges.data.max(initial=0)
    found = []
    for bars in rips.fit_transform([edges])[0]:
        bars = np.minimum(bars.reshape(-1, 2), last)
        found.append(torch.from_numpy(bars[np.argsort(bars[:, 0] - bars[:, 1], kind="stable")].astype(np.float64)))
    return tuple(found)


def betti_numbers(bars: tuple[Tensor, ...], threshold: Tensor) -> Tensor:
    """How many bars of each dimension stand out: (3,) from bars (K, 2), the longest first, and thresholds (3,).

    The k longest stand out when the k-th is at least `PROMINENCE` times as long as the next and as the threshold; of
    several such k the one with the largest drop, and without one none does: chance bars of curved clouds are longer
    than those of structureless ones. Of the loops and cavities that stand out, those count that are born early, at a
    third of their death or before: death over birth does not depend on the scale, and is what sets features of a cloud
    apart from noise (Bobrowski, Kahle & Skraba 2017). Those of tori, circles and spheres are there as soon as
    neighbours are joined; those that a curved sheet closes across a gap come late, however long they are. The bar of
    the whole cloud, which never dies, is always a component.
    """
    found = []
    for dimension, each in enumerate(bars):
        length = (each[:, 1] - each[:, 0])[1 if dimension == 0 else 0 :].to(threshold)
        floor = threshold[dimension].clamp_min(torch.finfo(threshold.dtype).tiny)
        after = torch.cat([length[1:], length.new_zeros(1)]).clamp_min(floor)[: len(length)]
        drop, place = (length / after).max(0) if len(length) else (length.new_zeros(()), torch.tensor(0))
        count = int(place) + 1 if drop >= PROMINENCE else 0
        if dimension > 0:
            birth, death = each[:count].mT
            count = int((death >= EARLY * birth).sum())
        found.append((dimension == 0) + count)
    return torch.tensor(found)


def time_rolled(states: Tensor, generator: torch.Generator) -> Tensor:
    """States (M, N), in order of time, with every unit rolled by a random time of its own."""
    shift = torch.randint(len(states), (states.shape[1],), generator=generator, device=generator.device)
    time = torch.arange(len(states), device=states.device)
    return states.gather(0, (time[:, None] - shift.to(states.device)) % len(states))


def torus(
    states: Array,
    *,
    periods: float | None = None,
    points: int = 600,
    moments: int = 15_000,
    rolls: int = 100,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Topology:
    """Whether the states of a population lie on a torus (Gardner et al. 2022).

    The most active moments are kept, rates become z-scores and these six principal components; their directions are
    `averaged`, `covering` chooses the points among them and `fuzzy_distances` measures between them; `barcodes` has
    their homology. The null: the same for units that are rolled in time, each by itself, from 3,000 moments to 400
    points (the paper thins both alike; fewer points make longer chance bars). A roll in space would only change the
    phases and keep the torus.

    Unlike the paper, which thins by density and judges by eye and by the null, points cover the whole cloud, and bars
    must also stand out by a factor of two and be born early (`betti_numbers`): the cosine metric on six components
    bends an open sheet (place cells) until its edges nearly meet, which makes long loops and cavities that are born
    late. A no is weak evidence: a torus of fields much narrower than the spacing is missed where units are few or noisy
    (docs/validation.md).

    Args:
        states: (T, N) or (B, T, N) rates in order of time, B trials end to end; moments with a NaN are left out.
        periods: how many spacings of the lattice the box holds along an axis; None where there is no lattice.
        points: P, kept of the moments.
        moments: most active ones from which points are chosen. A code without noise has more even states without this
            choice: give it no more moments than this.
        rolls: of the null; loops in all of them, cavities in the first 20.
        generator: source of the rolls; seed 0 without.
        progress: called with the rolls done and their number.

    Raises:
        ValueError: fewer than 20 units or 3 periods, where a torus cannot be told (`why_no_torus`); too few moments or
            rolls; no variation.
        ImportError: the extra ``topology`` is not installed.
    """
    values = as_tensor(states, "states", "..., T, N")
    if values.ndim not in (2, 3):
        raise ValueError(f"states has shape {tuple(values.shape)}; give a time series (T, N) or (B, T, N)")
    values = values.flatten(0, -2)
    if why := why_no_torus(values.shape[1], periods):
        raise ValueError(f"states: {why}")
    if rolls < 1:
        raise ValueError(f"rolls is {rolls}; give 1 or more (100 for a 99th percentile)")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    chosen = most_active(values, moments)
    if not 4 * LANDMARKS <= points <= len(chosen):
        raise ValueError(
            f"points is {points} of {len(chosen)} finite moments; give {4 * LANDMARKS} to as many as those"
        )
    embedding, taken, cloud, distance = point_cloud(values[chosen], points)
    found = barcodes(distance)

    finite = values[values.isfinite().all(1)]
    null = values.new_full((rolls, 3), torch.nan)
    for roll in range(rolls):
        rolled = time_rolled(finite, generator)
        kept = most_active(rolled, moments)
        kept = kept[:: -(-len(kept) // NULL_MOMENTS)]
        _, _, _, between = point_cloud(rolled[kept], min(points, NULL_POINTS, len(kept)))
        for dimension, bars in enumerate(barcodes(between, 2 if roll < CAVITY_ROLLS else 1)):
            length = (bars[:, 1] - bars[:, 0])[1 if dimension == 0 else 0 :]
            null[roll, dimension] = length[0] if len(length) else 0
        if progress is not None:
            progress(roll + 1, rolls)
    threshold = null.nanquantile(0.99, 0)
    betti = betti_numbers(found, threshold)
    barred = (found[0], found[1], found[2])
    is_torus = betti.tolist() == [1, 2, 1]
    return Topology(betti, is_torus, barred, threshold, null, chosen[taken], cloud, distance, embedding)


def point_cloud(states: Tensor, points: int) -> tuple[Embedding, Tensor, Tensor, Tensor]:
    """Embedding of states (M, N), which of them are points, their `averaged` directions (P, C), distances (P, P)."""
    embedding = embed(states)
    scores = embedding(states)
    if not scores.abs().amax() > 0:
        raise ValueError("states do not vary; give rates that follow the path")
    directions = averaged(scores, round(AVERAGED_PART * len(scores)))
    taken = covering(directions, points)
    return embedding, taken, directions[taken], fuzzy_distances(directions[taken], round(METRIC_PART * points))


def circular_coordinates(distance: Tensor, loops: int = 2) -> Tensor:
    """Angles (P, loops) in radians of points around the longest loops of their Rips complex, from distances (P, P).

    The loop's cocycle modulo 47, lifted to integers, is a step z of -23 to 23 along each edge i to j; the angle f turns
    by it as nearly as can be: Σ (f_j - f_i - z_ij)² over the edges is least (de Silva, Morozov & Vejdemo-Johansson
    2011). Which loop is first, where angle 0 is and which way it turns are arbitrary; so is the basis of a torus.

    Raises:
        ValueError: fewer loops than asked for.
    """
    rips, linalg, sparse = _library("ripser").ripser, _library("scipy.sparse.linalg"), _library("scipy.sparse")
    between = distance.cpu().double().numpy()
    last = float(between[np.isfinite(between)].max())
    answer = rips(between, maxdim=1, coeff=COEFFICIENTS, do_cocycles=True, distance_matrix=True, thresh=last)
    bars = np.minimum(answer["dgms"][1], last)
    if len(bars) < loops:
        raise ValueError(f"distance has {len(bars)} loops; {loops} coordinates need as many")
    longest = np.argsort(bars[:, 0] - bars[:, 1], kind="stable")[:loops]
    angles = []
    for loop in longest:
        birth, death = bars[loop]
        start, end = np.nonzero(np.triu(between <= birth + CYCLE_PART * (death - birth), 1))
        step = np.zeros_like(between)
        i, j, value = answer["cocycles"][1][loop].T
        value = np.where(value > COEFFICIENTS // 2, value - COEFFICIENTS, value)
        step[i, j], step[j, i] = value, -value
        edges = np.arange(len(start))
        difference = sparse.csr_matrix(
            (np.repeat([1.0, -1.0], len(edges)), (np.tile(edges, 2), np.concatenate([end, start]))),
            shape=(len(edges), len(between)),
        )
        turns = linalg.lsqr(difference, step[start, end], atol=1e-8, btol=1e-8)[0]
        angles.append(2 * pi * (turns % 1))
    return torch.from_numpy(np.stack(angles, -1)).to(distance)


def toroidal_coordinates(topology: Topology, states: Array) -> Tensor:
    """Where states (..., N) lie on the torus of a `Topology`: (..., 2) angles in [0, 2 pi).

    The angles of the points (`circular_coordinates` of the two longest loops) are averaged, as unit vectors, over the
    20 points nearest to the state, weighted by their membership in its neighbourhood.
    """
    values = as_tensor(states, "states", "..., N")
    points = torch.nn.functional.normalize(topology.points)
    angle = circular_coordinates(topology.distance)
    vectors = torch.cat([angle.cos(), angle.sin()], -1)  # (P, 4)
    flat = values.flatten(0, -2) if values.ndim > 1 else values[None]
    found = []
    for chunk in flat.split(chunk_size(4 * len(points) * flat.element_size(), flat.device)):
        gap = (1 - torch.nn.functional.normalize(topology.embedding(chunk)) @ points.mT).clamp_min(0)
        near, index = gap.topk(LANDMARKS, largest=False)
        weight = (-near / widths(near)[:, None]).exp()
        mean = torch.einsum("mk,mkc->mc", weight, vectors[index])
        found.append(torch.atan2(mean[:, 2:], mean[:, :2]) % (2 * pi))
    return torch.cat(found).reshape(*values.shape[:-1], 2)


def phase_agreement(coordinates: Array, phases: Array) -> tuple[Tensor, Tensor]:
    """How well toroidal coordinates follow the phases of a lattice.

    A torus has many bases, so each coordinate is compared with all m φ₁ + n φ₂, m and n from -3 to 3 and not both 0.

    Args:
        coordinates: (M, 2) in radians.
        phases: (M, 2) in radians, along the lattice's two axes.

    Returns:
        agreement (2,): |mean of exp i(θ - mφ₁ - nφ₂)| for the best m and n, 1 where θ is that phase; winding (2, 2):
        those m and n, as rows. The coordinates go once around the torus when their determinant is 1 or -1.

    Raises:
        ValueError: shapes that differ.
    """
    angle, phase = as_tensor(coordinates, "coordinates", "M, 2"), as_tensor(phases, "phases", "M, 2")
    if angle.shape != phase.shape or angle.shape[1] != 2:
        raise ValueError(
            f"coordinates is {tuple(angle.shape)} and phases {tuple(phase.shape)}; give the same shape (M, 2)"
        )
    numbers = torch.arange(-3.0, 4, dtype=phase.dtype, device=phase.device)
    winding = torch.cartesian_prod(numbers, numbers)
    winding = winding[winding.abs().sum(1) > 0]
    off = angle[:, :, None] - (phase @ winding.mT)[:, None]
    agreement, best = torch.hypot(off.cos().mean(0), off.sin().mean(0)).max(-1)
    return agreement, winding[best].long()


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{error}; topology needs its extra: pip install 'entorhinal[topology]'") from error
