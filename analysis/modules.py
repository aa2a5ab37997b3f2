"""Modules: groups of grid units that share a lattice, and whether their spacings are discrete at all.

Units are nodes of a similarity graph over (log spacing, orientation modulo 60 degrees, log ellipticity). Its Louvain
communities (Blondel et al. 2008), joined where their spacings are within a ratio of 1.2, are candidates. Any graph cut
finds communities in a continuum too, so a gap statistic against smooth populations decides whether there are several.
"""

from dataclasses import dataclass
from math import ceil, isfinite, log, pi

import networkx as nx
import torch
from torch import Tensor

from entorhinal.analysis.lattices import Lattices, common_basis, orientation_difference
from entorhinal.analysis.tensors import Array, as_tensor, chunk_size

LEAST_UNITS = 5
"""A module has at least this many grid units."""

LEAST_RATIO = 1.2
"""The spacings of two modules differ by more than this ratio."""

ALPHA = 0.03
"""Spacings are discrete where a smooth population shows such gaps with less than this probability."""

WIDTHS = (log(LEAST_RATIO) / 2, 7.5 * pi / 180, 0.2)
"""Widths of the similarity in log spacing, orientation (rad) and log ellipticity."""

NEIGHBOURS = 64
"""Edges a unit keeps in the graph, to its most similar units."""

MOST_MODULES = 8
"""The gap statistic cuts spacings into at most this many groups."""

RESOLUTION = 1e-3
"""Log spacings that differ by less are the same: no gap is sharper than this."""

RANKS = 128
"""The gap statistic looks at no more order statistics than this."""


@dataclass(frozen=True)
class Modules:
    """K modules of N units, by rising spacing.

    Attributes:
        labels: (N,) int64, 0 ... K-1; -1 for units that are in no module.
        spacing_m: (K,) median spacing of the module's units.
        orientation_rad: (K,) in [0, pi/3), their circular mean modulo 60 degrees.
        basis_m: (K, 2, 2) two lattice vectors 60 degrees apart as rows: the medians of the units' own.
        ratios: (K-1,) of consecutive spacings, larger over smaller.
        ratio_intervals: (K-1, 2) 95 % percentile intervals, units resampled within modules. The units of one network
            are not replicates: an interval says how well this network's ratio is known, not how others vary.
        p_value: of the gap statistic; small where spacings come in groups. NaN with fewer than 2 ``least_units``.
        discrete: whether there are several modules; always true with K above 1.
    """

    labels: Tensor
    spacing_m: Tensor
    orientation_rad: Tensor
    basis_m: Tensor
    ratios: Tensor
    ratio_intervals: Tensor
    p_value: float
    discrete: bool

    @property
    def count(self) -> int:
        """K."""
        return len(self.spacing_m)

    @property
    def sizes(self) -> Tensor:
        """(K,) units of each."""
        return torch.bincount(self.labels[self.labels >= 0], minlength=self.count)


def modules(
    lattices: Lattices,
    scores: Array | None = None,
    *,
    least_score: float | Array = 0.3,
    least_units: int = LEAST_UNITS,
    least_ratio: float = LEAST_RATIO,
    alpha: float = ALPHA,
    draws: int = 500,
    seed: int = 0,
) -> Modules:
    """Modules of a population from its units' lattices.

    1. Grid units (a lattice, and a score above ``least_score``) are joined by edges exp(-d²/2), d the distance in
       (log spacing, orientation, log ellipticity) over `WIDTHS`. Louvain communities of that graph, nearest first, are
       joined until all consecutive spacings differ by more than ``least_ratio``: modules differ in spacing, and
       orientation alone does not part them. Those of fewer than ``least_units`` are no modules.
    2. Several modules stand only if the spacings are `discreteness`-tested at ``alpha``; otherwise all grid units are
       one candidate.
    3. A single candidate is a module if its units share a spacing: their mean absolute deviation in log spacing is that
       of a Gaussian of at most half of log ``least_ratio`` (9 %). A broad continuum is no module: K = 0.

    Labels do not depend on the order of units.

    Args:
        lattices: of N units, NaN where there is none.
        scores: (N,) grid scores; None takes every unit with a lattice.
        least_score: a score, or one a unit (N,), such as the highest score of its noise maps. 0.3 is the field's habit.
        least_units, least_ratio, alpha: see above.
        draws: smooth populations, and bootstrap samples.
        seed: of those and of the communities.

    Returns:
        Modules.

    Raises:
        ValueError: shapes that do not fit, least_units below 2, least_ratio not above 1, alpha outside (0, 1).
    """
    if least_units < 2 or not (isfinite(least_ratio) and least_ratio > 1) or not 0 < alpha < 1 or draws < 1:
        raise ValueError(
            f"least_units is {least_units}, least_ratio {least_ratio}, alpha {alpha} and draws {draws}; give 2 units "
            "or more, a ratio above 1, a probability between 0 and 1, 1 draw or more"
        )
    grid = grid_units(lattices, scores, least_score)
    features = torch.stack([lattices.spacing_m.log(), lattices.orientation_rad, lattices.ellipticity.log()], -1)
    features = features[grid].double().cpu()
    order = _lexicographic(features)
    sorted_features = features[order]
    groups = _joined(_communities(sorted_features, seed), sorted_features[:, 0], log(least_ratio))
    groups = [group for group in groups if len(group) >= least_units]
    p_value = float("nan")
    if len(features) >= 2 * least_units:
        p_value = discreteness(sorted_features[:, 0].exp(), least_units=least_units, draws=draws, seed=seed)
    if len(groups) > 1 and not p_value < alpha:
        groups = [torch.arange(len(features))]
    if len(groups) == 1:
        values = sorted_features[groups[0], 0]
        spread = (pi / 2) ** 0.5 * (values - values.median()).abs().mean()
        groups = groups if len(values) >= least_units and spread <= log(least_ratio) / 2 else []
    labels = torch.full((len(grid),), -1)
    where = grid.cpu().nonzero()[:, 0][order]
    for label, group in enumerate(groups):
        labels[where[group]] = label
    return _described(lattices, labels.to(grid.device), len(groups), p_value, draws, seed)


def discreteness(
    spacing_m: Array,
    *,
    least_units: int = LEAST_UNITS,
    most_groups: int = MOST_MODULES,
    draws: int = 500,
    seed: int = 0,
) -> float:
    """Probability that a smooth population has spacings as clustered as these: the gap statistic as a test.

    For k = 2 ... ``most_groups`` the sorted log spacings are cut into the k runs of ``least_units`` or more with the
    least sum D_k of absolute deviations from their medians (exactly, by dynamic programming). The statistic is the
    largest over k of log(D_1 / D_k), standardised by its mean and deviation over smooth populations: as many units,
    their extremes at the same spacings and all others jittered evenly between them, so uniform in log spacing. Of all
    log-concave densities the uniform one shows spurious clusters most readily (Tibshirani, Walther & Hastie 2001,
    theorem 1), so that a peaked continuum passes less often than ``p`` says.

    Args:
        spacing_m: (N,) spacings of grid units, in metres; NaN are left out.
        least_units: smallest run.
        most_groups: largest k.
        draws: smooth populations.
        seed: of them.

    Returns:
        p, at least 1 / (1 + draws); NaN with fewer than 2 ``least_units``, 1 if all spacings agree within 0.1 %.

    Raises:
        ValueError: wrong shape, spacings not above 0.
    """
    spacing = as_tensor(spacing_m, "spacing_m", "N").cpu()
    spacing = spacing[~spacing.isnan()]
    if not (spacing > 0).all():
        raise ValueError(f"spacing_m has {float(spacing.min())}; give spacings above 0 in metres")
    n = len(spacing)
    if n < 2 * least_units:
        return float("nan")
    values = spacing.log().sort().values
    low, high = values[0], values[-1]
    if high - low < RESOLUTION:
        return 1.0
    generator = torch.Generator().manual_seed(seed)
    inner = torch.rand(draws, n - 2, generator=generator, dtype=values.dtype)
    smooth = torch.cat([inner, inner.new_zeros(draws, 1), inner.new_ones(draws, 1)], 1).sort(1).values
    samples = torch.cat([values[None], low + (high - low) * smooth])
    if n > RANKS:
        samples = samples[:, torch.linspace(0, n - 1, RANKS).round().long()]
    ranks = samples.shape[1]
    shortest = max(1, ceil(least_units * ranks / n))
    size = chunk_size(48 * ranks**2, samples.device)
    gains = torch.cat([_gains(part, shortest, min(most_groups, ranks // shortest)) for part in samples.split(size)])
    null = gains[1:]
    standard = (gains - null.mean(0)) / null.std(0, correction=0).clamp_min(1e-12)
    best = standard.amax(1)
    return (1 + int((best[1:] >= best[0]).sum())) / (1 + draws)


def _gains(values: Tensor, shortest: int, most: int) -> Tensor:
    """log(D_1 / D_k) for k = 2 ... most of sorted values (S, M): (S, most - 1)."""
    size = values.shape[1]
    sums = torch.nn.functional.pad(values.cumsum(1), (1, 0))
    first, last = torch.arange(size)[:, None], torch.arange(size)[None]
    middle = ((first + last) // 2).clamp(0, size - 1)
    cost = sums[:, last + 1] - sums[:, middle + 1] - (sums[:, middle] - sums[:, first])
    cost = cost + values[:, middle] * (2 * middle - first - last)
    cost = cost.masked_fill(last - first + 1 < shortest, torch.inf)  # (S, first, last)
    best = cost[:, 0]  # of values[: last + 1] in one run
    totals = [best[:, -1]]
    for _ in range(most - 1):
        before = torch.nn.functional.pad(best[:, :-1], (1, 0), value=torch.inf)
        best = (before[:, :, None] + cost).amin(1)
        totals.append(best[:, -1])
    deviation = torch.stack(totals, 1) + RESOLUTION * size
    return deviation[:, :1].log() - deviation[:, 1:].log()


def mixture_modules(
    spacing_m: Array, *, least_units: int = LEAST_UNITS, most_groups: int = MOST_MODULES, seed: int = 0
) -> int:
    """How many Gaussian components of log spacing the Bayesian information criterion prefers: a check of `modules`.

    It presumes Gaussian modules, so a uniform continuum counts as several: it checks a number, not discreteness.
    Needs scikit-learn (the extra ``topology``).

    Args:
        spacing_m: (N,) spacings of grid units, in metres; NaN are left out.
        least_units: components lighter than this are not counted.
        most_groups: most components tried.
        seed: of the starts.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: wrong shape.
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise ImportError("mixture_modules needs scikit-learn: pip install 'entorhinal[topology]'") from error
    spacing = as_tensor(spacing_m, "spacing_m", "N").cpu()
    values = spacing[~spacing.isnan()].log().sort().values[:, None].numpy()
    if len(values) < least_units:
        return 0
    fits = [
        GaussianMixture(k, reg_covar=0.02**2, n_init=5, random_state=seed).fit(values)
        for k in range(1, min(most_groups, len(values) // least_units) + 1)
    ]
    best = min(fits, key=lambda fit: fit.bic(values))
    return int((best.weights_ * len(values) >= least_units - 0.5).sum())


def module_overlaps(labels: Array, other: Array) -> Tensor:
    """How well each module is found again in another labelling of the same units, such as from half of the data.

    Args:
        labels: (N,) as in `Modules`, -1 for none.
        other: (N,).

    Returns:
        (K,) for each module of ``labels`` the largest Jaccard index (shared units over units of either) with a module
        of ``other``: 1 is the same units, 0 none of them in any module.

    Raises:
        ValueError: shapes that differ.
    """
    here, there = (as_tensor(x, name, "N").long() for x, name in ((labels, "labels"), (other, "other")))
    there = there.to(here.device)
    if here.shape != there.shape:
        raise ValueError(f"labels has {len(here)} units and other {len(there)}; give labels of the same units")
    one, two = (
        (x[:, None] == torch.arange(int(x.max()) + 1 if len(x) else 0, device=x.device)).double() for x in (here, there)
    )
    shared = one.T @ two
    if not two.shape[1]:
        return shared.new_zeros(one.shape[1])
    return (shared / (one.sum(0)[:, None] + two.sum(0) - shared).clamp_min(1)).amax(1)


def grid_units(lattices: Lattices, scores: Array | None, least_score: float | Array) -> Tensor:
    """Which units have a lattice and a score above ``least_score``: (N,) bool."""
    known = lattices.spacing_m.isfinite() & lattices.orientation_rad.isfinite() & lattices.ellipticity.isfinite()
    if scores is None:
        return known
    scores = as_tensor(scores, "scores", "N", like=lattices.spacing_m)
    least = torch.as_tensor(least_score, dtype=scores.dtype, device=scores.device)
    if scores.shape != known.shape or least.shape not in ((), scores.shape):
        raise ValueError(
            f"lattices has {len(known)} units, scores {len(scores)} and least_score shape {tuple(least.shape)}; "
            "give one score a unit, and one threshold or one a unit"
        )
    return known & (scores > least)


def _lexicographic(features: Tensor) -> Tensor:
    """Order of rows by their first, then second, then third value."""
    order = torch.arange(len(features))
    for column in features.T.flip(0):
        order = order[column[order].argsort(stable=True)]
    return order


def _communities(features: Tensor, seed: int) -> list[Tensor]:
    """Louvain communities of the similarity graph of (N, 3) features, as sorted indices."""
    n = len(features)
    if n < 2:
        return [torch.arange(n)] if n else []
    squares = torch.zeros(n, n, dtype=features.dtype)
    for i, (column, width) in enumerate(zip(features.T, WIDTHS, strict=True)):
        gap = orientation_difference(column[:, None], column) if i == 1 else column[:, None] - column
        squares += (gap / width).square()
    similarity = (-squares / 2).exp().fill_diagonal_(0)
    value, near = similarity.topk(min(NEIGHBOURS, n - 1), dim=1)
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    here = torch.arange(n)[:, None].expand_as(near)
    strong = value > 1e-6
    pairs = torch.stack([here[strong], near[strong]], 1).sort(1).values.unique(dim=0)
    weights = similarity[pairs[:, 0], pairs[:, 1]]
    graph.add_weighted_edges_from(
        (int(i), int(j), float(w)) for (i, j), w in zip(pairs.tolist(), weights.tolist(), strict=True)
    )
    found = nx.community.louvain_communities(graph, weight="weight", seed=seed % 2**32)
    return sorted((torch.tensor(sorted(group)) for group in found), key=lambda group: int(group[0]))


def _joined(groups: list[Tensor], log_spacing: Tensor, least: float) -> list[Tensor]:
    """Groups by rising median, the nearest two joined until all medians are more than ``least`` apart."""
    while True:
        groups = sorted(groups, key=lambda group: (float(log_spacing[group].median()), int(group[0])))
        medians = torch.stack([log_spacing[group].median() for group in groups]) if groups else log_spacing[:0]
        gaps = medians.diff()
        if not len(gaps) or float(gaps.min()) > least:
            return groups
        i = int(gaps.argmin())
        groups = [*groups[:i], torch.cat(groups[i : i + 2]).sort().values, *groups[i + 2 :]]


def _described(lattices: Lattices, labels: Tensor, count: int, p_value: float, draws: int, seed: int) -> Modules:
    """Modules from labels: medians of lattices, ratios and their intervals."""
    spacing, orientation, basis, samples = [], [], [], []
    generator = torch.Generator().manual_seed(seed)
    for label in range(count):
        own = lattices[labels == label]
        values = own.spacing_m.sort().values
        turned = 6 * own.orientation_rad
        mean = torch.atan2(turned.sin().sum(), turned.cos().sum()) / 6 % (pi / 3)
        spacing.append(values.quantile(0.5))
        orientation.append(mean.where(mean != pi / 3, 0))
        axes = orientation[-1] + values.new_tensor([0, pi / 3])
        regular = spacing[-1] * torch.stack([axes.cos(), axes.sin()], -1)
        basis.append(common_basis(own.basis_m, regular))
        chosen = torch.randint(len(values), (draws, len(values)), generator=generator).to(values.device)
        samples.append(values[chosen].quantile(0.5, dim=1))
    if not count:
        none = lattices.spacing_m[:0]
        return Modules(labels, none, none, none.new_empty(0, 2, 2), none, none.new_empty(0, 2), p_value, False)
    spacing_m, drawn = torch.stack(spacing), torch.stack(samples)
    ratios = (drawn[1:] / drawn[:-1]).sort(1).values
    first, last = round(0.025 * (draws - 1)), round(0.975 * (draws - 1))
    return Modules(
        labels=labels,
        spacing_m=spacing_m,
        orientation_rad=torch.stack(orientation),
        basis_m=torch.stack(basis),
        ratios=spacing_m[1:] / spacing_m[:-1],
        ratio_intervals=ratios[:, [first, last]],
        p_value=p_value,
        discrete=count > 1,
    )
