"""Path integration by phase: a periodic code followed through its own unit cell, step by step, and how far it strays.

Maps of one module are folded into the lattice's unit cell (`fold_maps`); the cell then reads a phase from the rates at
every sample, and phases are unwrapped to a path in metres (`follow_phase`). The path is anchored at its first sample
only. `integration_error` compares it with the true one: gain, error, slips and the growth of variance.
"""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from entorhinal.analysis.lattices import Lattices, checked_basis, common_basis, orientation_difference, quadratic_peak
from entorhinal.analysis.maps import RateMaps
from entorhinal.analysis.tensors import Array, as_tensor, chunk_size

SLIP_SPACINGS, SLIP_S = 0.25, 0.1
"""A slip is an error that grows by more than this part of the spacing within this time, gain apart."""


@dataclass(frozen=True)
class CellMaps:
    """Maps of N units in the unit cell of one lattice.

    Attributes:
        values: (N, G, G) rates at phases (i / G, j / G) along the first and second lattice vector.
        phase: (N, 2) in cycles, in [0, 1): where in the cell the unit's fundamental waves peak.
        explained: (N,) share of the map's variance over space that the cell explains, adjusted for the number of waves;
            1 for a perfect lattice, about 0 for maps that do not repeat with this one. NaN for constant maps.
        basis_m: (2, 2) lattice vectors as rows (x, y), in metres.
    """

    values: Tensor
    phase: Tensor
    explained: Tensor
    basis_m: Tensor


@dataclass(frozen=True)
class PhasePath:
    """A path followed by phase.

    Attributes:
        phase: (B, T, 2) in cycles, in [0, 1), along the lattice vectors; NaN where the units are silent or NaN.
        path_m: (B, T, 2) in metres since the first sample that has a phase; NaN where ``phase`` is.
        match: (B, T) cosine of the population with the best of the cell's samples; near 1 on the map (above 0.98).
    """

    phase: Tensor
    path_m: Tensor
    match: Tensor


@dataclass(frozen=True)
class IntegrationError:
    """How B followed paths stray from the true ones.

    Attributes:
        error_m, error_spacings: (B, T) distance between the two since the first sample, in metres and in spacings.
        residual_m: (B, T, 2) what is left of the path once the fitted gain is taken from it.
        gain: (2, 2) least-squares ``decoded = gain @ true`` of displacements over a window.
        mean_gain: root of the determinant of ``gain``.
        anisotropy: its larger over its smaller singular value; 1 if all directions are integrated alike.
        rotation_rad: its rotation, counter-clockwise.
        slips: (B,) how many slips.
        distance_m: (B,) distance walked.
        variance_m2_s, variance_m2_m: (B,) growth of the residual's variance along each axis, a second and a metre
            walked (twice the diffusion coefficient); the trials give its error.
    """

    error_m: Tensor
    error_spacings: Tensor
    residual_m: Tensor
    gain: Tensor
    mean_gain: float
    anisotropy: float
    rotation_rad: float
    slips: Tensor
    distance_m: Tensor
    variance_m2_s: Tensor
    variance_m2_m: Tensor

    @property
    def slips_per_m(self) -> float:
        return float(self.slips.sum() / self.distance_m.sum())


def fold_maps(maps: RateMaps, basis_m: Array, *, cells: int = 24, harmonics: int = 2) -> CellMaps:
    """Maps of one module folded into its unit cell.

    Each map is fitted, over the bins that all units have, by the waves exp(2 pi i (h u + k v)) with |h|, |k| up to
    ``harmonics``, where (u, v) is the phase of the bin's centre; all periods in the box count alike.

    Args:
        maps: of N units of one module, in a plane.
        basis_m: (2, 2) its lattice vectors as rows, in metres (as in `Lattices`).
        cells: G, samples of the cell along each vector.
        harmonics: the finest waves kept; 2 leaves details of a quarter of a spacing.

    Returns:
        CellMaps.

    Raises:
        ValueError: a basis of no area, maps of a line, too few complete bins for the waves.
    """
    values = as_tensor(maps.values, "maps.values", "N, H, W")
    basis = checked_basis(basis_m, values)
    if maps.dimensions != 2:
        raise ValueError("maps are of a line; a unit cell needs maps of a plane")
    complete = values.isfinite().all(0).flatten()
    waves = _waves(harmonics, values)
    if int(complete.sum()) < 2 * (1 + 2 * len(waves)):
        raise ValueError(
            f"maps have {int(complete.sum())} complete bins for {1 + 2 * len(waves)} waves; calibrate on longer walks"
        )
    phase = (maps.centers_m().to(values).flatten(0, 1) @ torch.linalg.inv(basis))[complete]
    design = _design(phase, waves)  # (M, K)
    table = values.flatten(1)[:, complete].T  # (M, N)
    centre = table.mean(0)
    normal = design.T @ design + 1e-6 * len(design) * torch.eye(design.shape[1], dtype=values.dtype).to(values)
    weights = torch.linalg.solve(normal, design.T @ (table - centre))  # (K, N)
    left = (table - centre - design @ weights).square().sum(0)
    total = (table - centre).square().sum(0)
    varies = total > len(table) * (1e-9 * table.abs().amax().clamp_min(torch.finfo(values.dtype).tiny)) ** 2
    freedom = (len(table) - 1) / (len(table) - design.shape[1])
    axis = torch.arange(cells, dtype=values.dtype, device=values.device) / cells
    folded = _design(torch.cartesian_prod(axis, axis), waves) @ weights + centre
    first = [int((waves == torch.tensor(wave).to(waves)).all(-1).nonzero()) for wave in ((1, 0), (0, 1))]
    cosine, sine = (weights[1 + start : 1 + start + len(waves)][first] for start in (0, len(waves)))  # (2, N)
    return CellMaps(
        values=folded.T.reshape(-1, cells, cells),
        phase=(torch.atan2(sine, cosine).T / (2 * pi)) % 1,
        explained=(1 - freedom * left / total.where(varies, 1)).where(varies, torch.nan),
        basis_m=basis,
    )


def _waves(harmonics: int, like: Tensor) -> Tensor:
    """Integer pairs (h, k), one of each and its reverse, the constant left out: (P, 2)."""
    if harmonics < 1:
        raise ValueError(f"harmonics is {harmonics}; give 1 or more")
    axis = torch.arange(-harmonics, harmonics + 1, dtype=like.dtype, device=like.device)
    pairs = torch.cartesian_prod(axis, axis)
    return pairs[(pairs[:, 0] > 0) | ((pairs[:, 0] == 0) & (pairs[:, 1] > 0))]


def _design(phase: Tensor, waves: Tensor) -> Tensor:
    """Constant, cosines and sines at phases (M, 2) in cycles: (M, 1 + 2 P)."""
    angle = 2 * pi * phase @ waves.T
    return torch.cat([torch.ones_like(angle[:, :1]), angle.cos(), angle.sin()], 1)


def follow_phase(rates: Array, cell: CellMaps, *, guide_m: Array | None = None) -> PhasePath:
    """Phase of a module at every sample, and the path it makes.

    The phase is the place of the unit cell whose vector of rates, each unit standardised over the cell, has the largest
    cosine with the one at hand, refined by the quadratic surface through its neighbours. From one sample to the next
    the path takes the shortest way between the two phases, so that half a spacing is the longest step it can follow.

    Args:
        rates: (B, T, N) of the module's units, in the order of ``cell``.
        cell: from `fold_maps`. Units that do not vary over it are left out.
        guide_m: (B, T, 2) true positions, in metres. Given these, the *difference* between phase and true path takes
            the shortest way, so that steps may be longer than half a spacing; what then looks like a gain of 1 may be
            that guide, so a code that stands still must be told by its error.

    Returns:
        PhasePath.

    Raises:
        ValueError: shapes that do not fit.
    """
    values = as_tensor(rates, "rates", "B, T, N")
    table = cell.values.to(values)
    if table.shape[0] != values.shape[2]:
        raise ValueError(f"rates has {values.shape[2]} units and cell {table.shape[0]}; give the same units")
    cells, table = table.shape[1], table.flatten(1)
    mean, spread = table.mean(1), table.std(1, correction=0)
    scale = torch.where(spread > 1e-9 * table.abs().amax(), 1 / spread, 0)
    table = _unit((table - mean[:, None]) * scale[:, None], 0)  # (N, G²)
    near = torch.tensor([-1, 0, 1], device=values.device)
    cycles, match = torch.empty_like(values[..., :2]), torch.empty_like(values[..., 0])
    for span in torch.arange(values.shape[1], device=values.device).split(
        chunk_size(24 * len(values) * table.shape[1], values.device)
    ):
        population = _unit((values[:, span] - mean) * scale, -1)
        cosine = population @ table  # (B, t, G²)
        match[:, span], best = cosine.max(-1)
        i, j = best // cells, best % cells
        around = ((i[..., None, None] + near[:, None]) % cells) * cells + (j[..., None, None] + near) % cells
        shift, is_peak = quadratic_peak(cosine.gather(-1, around.flatten(-2)).unflatten(-1, (3, 3)))
        shift = shift.flip(-1).where(is_peak[..., None], 0)  # rows count along the first vector
        cycles[:, span] = (torch.stack([i, j], -1) + shift) / cells
    known = values.isfinite().all(-1) & (match > 0)
    cycles, match = cycles.where(known[..., None], torch.nan), match.where(known, torch.nan)
    basis = cell.basis_m.to(values)
    if guide_m is None:
        return PhasePath(cycles % 1, _unwrapped(cycles, known, basis), match)
    guide = as_tensor(guide_m, "guide_m", "B, T, 2", like=values)
    if guide.shape != cycles.shape:
        raise ValueError(f"guide_m is {tuple(guide.shape)}; give true positions of shape {tuple(cycles.shape)}")
    apart = _unwrapped(cycles - guide @ torch.linalg.inv(basis), known, basis)
    start = guide.gather(1, known.to(torch.uint8).argmax(1)[:, None, None].expand(-1, -1, 2))
    return PhasePath(cycles % 1, apart + guide - start, match)


def _unit(vectors: Tensor, dim: int) -> Tensor:
    length = vectors.norm(dim=dim, keepdim=True)
    return (vectors / length.where(length > 0, 1)).nan_to_num(0)


def _unwrapped(cycles: Tensor, known: Tensor, basis: Tensor) -> Tensor:
    """Path (B, T, 2) in metres through phases (B, T, 2), from the first known one; the shortest way each step."""
    steps = torch.arange(cycles.shape[1], device=cycles.device).expand(known.shape)
    last = torch.where(known, steps, -1).cummax(1).values  # the last known sample, or the first one to come
    last = torch.where(last < 0, known.to(torch.uint8).argmax(1, keepdim=True), last)
    filled = cycles.gather(1, last[..., None].expand_as(cycles)).nan_to_num(0)
    path = torch.zeros_like(cycles)
    path[:, 1:] = shortest(filled.diff(dim=1), basis).cumsum(1)
    return (path @ basis).where(known[..., None], torch.nan)


def shortest(cycles: Tensor, basis_m: Tensor) -> Tensor:
    """Displacements (..., 2) in cycles of a lattice, each replaced by the shortest one of the same phase."""
    whole = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], dtype=cycles.dtype, device=cycles.device)] * 2)
    image = (cycles - cycles.round())[..., None, :] + whole  # (..., 9, 2)
    best = (image @ basis_m).square().sum(-1).argmin(-1)
    return image.gather(-2, best[..., None, None].expand(*best.shape, 1, 2))[..., 0, :]


def integration_error(
    path_m: Array,
    displacement_m: Array,
    *,
    basis_m: Array,
    dt_s: float,
    gain: Array | None = None,
    window_s: float = 0.5,
) -> IntegrationError:
    """Error of followed paths, anchored at their first sample only.

    Args:
        path_m: (B, T, 2) in metres, from `follow_phase`; NaN where unknown.
        displacement_m: (B, T, 2) true steps, each before its sample.
        basis_m: (2, 2) lattice vectors as rows; they give the spacing, the mean of the three axes.
        dt_s: seconds a step.
        gain: (2, 2) measured on *other* walks: the path is divided by it first, and the gain found is what remains.
        window_s: gain is fitted to displacements over this time, and variance grows over this time and longer, up to a
            quarter of the trial. Shorter ones are ruled by errors of the decoder, which come and go with the place.

    Raises:
        ValueError: shapes that differ, trials shorter than four windows, a gain that is not invertible.
    """
    path = as_tensor(path_m, "path_m", "B, T, 2")
    steps = as_tensor(displacement_m, "displacement_m", "B, T, 2", like=path)
    basis = checked_basis(basis_m, path)
    window = max(1, round(window_s / dt_s))
    if path.shape != steps.shape or path.shape[-1] != 2:
        raise ValueError(f"path_m is {tuple(path.shape)} and displacement_m {tuple(steps.shape)}; give (B, T, 2) twice")
    if path.shape[1] <= 4 * window:
        raise ValueError(f"trials last {path.shape[1] * dt_s:g} s; give more than four windows of {window_s:g} s")
    if gain is not None:
        matrix = as_tensor(gain, "gain", "2, 2", like=path)
        if not (matrix.isfinite().all() and torch.linalg.det(matrix).abs() > 1e-6):
            raise ValueError(f"gain is {matrix.tolist()}; give an invertible matrix, or None")
        path = path @ torch.linalg.inv(matrix).T
    true = steps.cumsum(1) - steps[:, :1]
    distance = steps.norm(dim=-1).cumsum(1)
    spacing = float(torch.cat([basis, basis[:1] - basis[1:]]).norm(dim=-1).mean())

    moved, meant = path[:, window:] - path[:, :-window], true[:, window:] - true[:, :-window]
    both = moved.isfinite().all(-1)
    moved, meant = moved[both], meant[both]
    found = path.new_full((2, 2), torch.nan)
    if len(moved) > 1 and torch.linalg.matrix_rank(meant.T @ meant) == 2:
        found = torch.linalg.solve(meant.T @ meant, meant.T @ moved).T
    size = torch.linalg.svdvals(found) if found.isfinite().all() else found[0]

    residual = path - true @ found.T
    slip = max(1, round(SLIP_S / dt_s))
    jumped = (residual[:, slip:] - residual[:, :-slip]).norm(dim=-1) > SLIP_SPACINGS * spacing
    slips = jumped[:, 0].long() + (jumped[:, 1:] & ~jumped[:, :-1]).sum(1)
    error_m = (path - true).norm(dim=-1)
    time_s = dt_s * torch.arange(path.shape[1], dtype=path.dtype, device=path.device).expand(error_m.shape)
    return IntegrationError(
        error_m=error_m,
        error_spacings=error_m / spacing,
        residual_m=residual,
        gain=found,
        mean_gain=float((size[0] * size[1]).sqrt()),
        anisotropy=float(size[0] / size[1]),
        rotation_rad=float(torch.atan2(found[1, 0] - found[0, 1], found[0, 0] + found[1, 1])),
        slips=slips,
        distance_m=distance[:, -1],
        variance_m2_s=variance_growth(residual, time_s, shortest=window),
        variance_m2_m=variance_growth(residual, distance, shortest=window),
    )


def variance_growth(residual_m: Array, along: Array, *, shortest: int = 1) -> Tensor:
    """Growth of variance of random walks along time or distance, by regression: (B,), m² an axis and unit of ``along``.

    Squared increments over 1, 2, 4, ... times ``shortest`` samples, up to a quarter of the trial, are regressed on the
    increments of ``along``, with an intercept (twice the variance of an error made anew at each sample, such as the
    decoder's) and weights 1 / lag², as their variance goes with lag². For Brownian motion it is 2 D, without bias.

    Args:
        residual_m: (B, T, D) in metres; samples with NaN are left out.
        along: (B, T) time or distance at each sample.
        shortest: the first lag, in samples.

    Raises:
        ValueError: shapes that do not fit, trials of less than eight times ``shortest``.
    """
    residual = as_tensor(residual_m, "residual_m", "B, T, D")
    where = as_tensor(along, "along", "B, T", like=residual)
    if residual.shape[:2] != where.shape:
        raise ValueError(
            f"residual_m is {tuple(residual.shape)} and along {tuple(where.shape)}; give (B, T, D), (B, T)"
        )
    longest = residual.shape[1] // 4
    lags = [shortest * 2**k for k in range(32) if shortest * 2**k <= longest]
    if len(lags) < 2:
        raise ValueError(f"trials have {residual.shape[1]} samples; give at least 8 times the shortest lag, {shortest}")
    sums = residual.new_zeros(5, len(residual))
    for lag in lags:
        square = (residual[:, lag:] - residual[:, :-lag]).square().mean(-1)
        gone = where[:, lag:] - where[:, :-lag]
        known = square.isfinite()
        y, x, one = square.where(known, 0), gone.where(known, 0), known.to(square.dtype)
        sums += torch.stack([one.sum(1), x.sum(1), y.sum(1), (x * x).sum(1), (x * y).sum(1)]) / lag**2
    count, sum_x, sum_y, sum_xx, sum_xy = sums
    spread = count * sum_xx - sum_x.square()
    defined = spread > 1e-9 * count * sum_xx
    return ((count * sum_xy - sum_x * sum_y) / spread.where(defined, 1)).where(defined, torch.nan)


def lattice_groups(
    found: Lattices,
    scores: Array,
    *,
    least_score: float = 0.3,
    at_least: int = 8,
    log_spacing: float = 0.1,
    turn_rad: float = pi / 36,
) -> list[tuple[Tensor, Tensor]]:
    """Groups of units that share a lattice, enough to follow one; `modules` is the measure of how many there are.

    Of the units that score above ``least_score``, the one with most others within ``log_spacing`` in log spacing and
    ``turn_rad`` in orientation takes them as its group; then the next of the rest.

    Args:
        found: lattices of N units.
        scores: (N,) grid scores.
        at_least: units of a group.

    Returns:
        For each group, the largest first, its units (n,) and its basis (2, 2), the median over them.

    Raises:
        ValueError: as many scores as lattices are needed.
    """
    score = as_tensor(scores, "scores", "N")
    if len(score) != len(found.spacing_m):
        raise ValueError(f"scores has {len(score)} units and found {len(found.spacing_m)}; give the same units")
    spacing, angle = found.spacing_m.log(), found.orientation_rad
    turn = orientation_difference(angle[:, None], angle)
    free = (score > least_score) & spacing.isfinite()
    alike = ((spacing[:, None] - spacing).abs() <= log_spacing) & (turn <= turn_rad)
    groups: list[tuple[Tensor, Tensor]] = []
    while True:
        near = alike & free & free[:, None]
        count = near.sum(1)
        if not len(count) or int(count.max()) < at_least:
            return groups
        centre = int(count.argmax())
        units = near[centre].nonzero()[:, 0]
        groups.append((units, common_basis(found.basis_m[units], found.basis_m[centre], middle="lower")))
        free = free & ~near[centre]
