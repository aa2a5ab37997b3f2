"""Independence: can one module's phase be predicted from another's?

Two modules multiply the range of a code only if their phases come in all combinations. A network whose lattices are all
harmonics of one base lattice has several spacings, but one torus: the phase on the base says all the others.
"""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from entorhinal.analysis.lattices import checked_bin
from entorhinal.analysis.modules import Modules
from entorhinal.analysis.phases import decode_phases, phases, wave_phases
from entorhinal.analysis.tensors import Array, as_tensor, chunk_size, standardized

PREDICTED = 0.9
"""Mean resultant above which a phase counts as predicted."""

FAR = 0.75
"""A neighbour is beyond the period if it is farther away than this part of the spacing: the nearest repeats of a
lattice are one spacing away, sheared ones a little less."""

COHERENT = 0.6
"""Part of its units' variance that a module's phase must explain to count as a torus."""

NEAR = 0.07
"""Neighbours on a torus are at most this far apart, in spacings of the finer of both modules: perfect harmonics then
predict with a resultant of about 0.97."""

LEAST_PAIRED = 0.5
"""Part of the places that need such a neighbour, or the box is too small to tell."""

PLACES = 1024
"""Places tested; all visited bins are references."""


@dataclass(frozen=True)
class Independence:
    """Predictions between K modules.

    Attributes:
        resultant: (K, K) mean resultant with which row a predicts the phase of column b: the mean over places and the
            three waves of cos(predicted - true phase). 1: a's phase says b's. About 0: it says nothing. The diagonal is
            what neighbours say of the phase by which they were chosen: the ceiling of the others. NaN where too few
            places of the box repeat the phase of a.
        coherence: (K,) the control: part of the variance of a module's units that its phase explains beyond its period.
            Units that keep their spacing but not one lattice have no torus, and no phase to be independent.
        predicted: (K, K) bool, resultant above ``PREDICTED``; false on the diagonal.
        index: (K, K) int64, where a predicts b: how many phases of a go with one of b, the ratio of the areas of their
            cells (3, 4, 7 ... for the superlattices of a triangular lattice); 0 elsewhere.
        coherent: (K,) bool, coherence above ``COHERENT``.
        groups: (K,) int64, modules linked by predictions share a number; -1 for modules that are not coherent.
        decided: whether all pairs of coherent modules, and every module itself, could be tested in this box.
    """

    resultant: Tensor
    coherence: Tensor
    predicted: Tensor
    index: Tensor
    coherent: Tensor
    groups: Tensor
    decided: bool

    @property
    def count(self) -> int:
        """Independent modules: groups of coherent modules of which none predicts one of another group."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0


def independence(maps: Array, modules: Modules, bin_m: float, *, seed: int = 0) -> Independence:
    """Which modules' phases follow from another's, from rate maps alone.

    The phase of each module at each visited bin is read from its units' activity there (`phases`, then
    `decode_phases`). The neighbours of a place x on a's torus are all bins y with nearly its phase in a, beyond a
    period of both a and b from x in space (nearer ones would be alike in b whatever a says); b's phase at y is the
    prediction of b's phase at x. The single nearest neighbour will not do on a raster of bins: in clean maps it lies at
    one and the same displacement from every place. No match of lattice constants enters: at realistic accuracy many
    unrelated lattices have small integer combinations that nearly agree.

    If one module's lattice holds another's (a superlattice, index 3, 4, 7 ...), the coarse one predicts the fine one
    and not the reverse. Modules that are harmonics of a common base which no unit has are *not* found: neither says the
    other's phase, though their joint code repeats.

    The phase of a module has two dimensions, so that it explains much of any five units: ``coherence`` tells a torus
    from units of unlike lattices with about eight units or more, and below only warns.

    Maps average over visits, so a code that drifts is tested on what of it is stable. In a box of few periods the test
    is weak: with only the six nearest repeats, 3 % of unrelated pairs of regular lattices agree by chance.

    Args:
        maps: (N, H, W), NaN where unvisited; square bins.
        modules: of the same units, from the lattices of these maps.
        bin_m: side of a bin, in metres.
        seed: of the choice of places.

    Returns:
        Independence.

    Raises:
        ValueError: shapes that do not fit, bin_m not above 0.
    """
    maps, bin_m = as_tensor(maps, "maps", "N, H, W"), checked_bin(bin_m)
    if len(maps) != len(modules.labels):
        raise ValueError(f"maps has {len(maps)} units and modules {len(modules.labels)}; give the maps of its units")
    count, (height, width) = modules.count, maps.shape[-2:]
    labels = modules.labels.to(maps.device)
    units = [maps[labels == label] for label in range(count)]
    cell = maps.new_empty(count, height * width, 2)
    for k, own in enumerate(units):
        cell[k] = decode_phases(own.flatten(1).T, phases(own, modules.basis_m[k], bin_m))
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    where_m = bin_m * torch.stack([column, row], -1).flatten(0, 1).to(maps)
    visited = cell.isfinite().all(-1).all(0)
    where_m = where_m[visited]
    torus = [_waves(phase[visited]) for phase in cell]
    generator = torch.Generator().manual_seed(seed)
    tested = torch.randperm(len(where_m), generator=generator)[:PLACES].sort().values.to(maps.device)
    spacing = modules.spacing_m.tolist()
    resultant = maps.new_full((count, count), torch.nan)
    coherence = maps.new_full((count,), torch.nan)
    for a in range(count):
        for b in range(count):
            resultant[a, b] = _agreement(torus[a], torus[b] / 3**0.5, where_m, tested, spacing[a], spacing[b])
        activity = standardized(units[a])[0].flatten(1).T[visited]
        activity = activity / activity.square().sum(1).mean().sqrt()
        coherence[a] = _agreement(torus[a], activity, where_m, tested, spacing[a], spacing[a])
    off_diagonal = ~torch.eye(count, dtype=torch.bool, device=maps.device)
    coherent = coherence > COHERENT
    predicted = (resultant > PREDICTED) & off_diagonal & coherent & coherent[:, None]
    area = torch.linalg.det(modules.basis_m.to(maps)).abs()
    index = (area[:, None] / area).round().long().clamp_min(1).where(predicted, 0)
    pairs = coherent & coherent[:, None] & off_diagonal
    decided = bool(coherence.isfinite().all() and resultant[pairs].isfinite().all())
    return Independence(resultant, coherence, predicted, index, coherent, _groups(predicted, coherent), decided)


def _waves(phase: Tensor) -> Tensor:
    """Phases (P, 2) as points (P, 6): cosine and sine of the three waves."""
    angle = 2 * pi * wave_phases(phase)
    return torch.cat([angle.cos(), angle.sin()], -1)


def _agreement(
    torus: Tensor, values: Tensor, where_m: Tensor, tested: Tensor, first_m: float, second_m: float
) -> Tensor:
    """Mean product of ``values`` (P, C) at the places (P, 2) and at their neighbours on the ``torus`` (P, 6).

    first_m is the spacing of the torus, second_m that of what is predicted.
    """
    near = 2 * pi * 2**0.5 * NEAR * min(first_m, second_m) / first_m  # three waves' chords, 2 pi sqrt(2) a spacing
    far_m = FAR * max(first_m, second_m)
    total, weight, paired = torus.new_zeros(()), torus.new_zeros(()), torus.new_zeros(())
    for part in tested.split(chunk_size(40 * len(where_m), torus.device)):
        apart_m = torch.cdist(where_m[part], where_m)
        neighbour = (2 * (3 - torus[part] @ torus.T) <= near**2) & (apart_m > far_m)
        total = total + (values[part] @ values.T).where(neighbour, 0).sum()
        weight, paired = weight + neighbour.sum(), paired + neighbour.any(1).sum()
    enough = paired >= max(1.0, LEAST_PAIRED * len(tested))
    return (total / weight.clamp_min(1)).where(enough, torch.nan)


def _groups(linked: Tensor, member: Tensor) -> Tensor:
    """Connected groups of members (K,), numbered from 0 in order; -1 for others."""
    reach = (linked | linked.T | torch.eye(len(linked), dtype=torch.bool, device=linked.device)).double()
    for _ in range(len(linked)):
        reach = ((reach @ reach) > 0).double()
    groups = torch.full((len(linked),), -1, device=linked.device)
    for k in range(len(linked)):
        if member[k] and groups[k] < 0:
            groups[(reach[k] > 0) & member] = int(groups.max()) + 1
    return groups
