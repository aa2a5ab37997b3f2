"""Known answers of modules: their number, independence and phases, and how often a continuum is called modules."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from entorhinal.analysis import (
    decode_phases,
    independence,
    lattices,
    mixture_modules,
    module_overlaps,
    modules,
    phase_uniformity,
    phases,
    scores_and_lattices,
)
from entorhinal.benchmarks import synthetic
from entorhinal.benchmarks.synthetic import BIN_M, BINS, CONTINUA, SIDE_M, Grids, bin_centres_m, grids, harmonic_modules
from entorhinal.benchmarks.validation.maps import holed, noisy
from entorhinal.benchmarks.validation.rows import NullRow, Row, part_right, seeded, within

WIDE_M, WIDE_BINS = 4.0, (64, 100)
"""Side and bins a side of the box of five modules, and of pairs of modules, which need many periods."""

SEEDS, WIDE_SEEDS, PAIR_SEEDS = 20, 2, 4
"""Populations of 1, 2 and 3 modules, of five, and pairs of modules of each kind."""

RATIO = 1.42
INDICES = (3, 4, 7)
"""Of harmonics."""

RATIOS = {"1.3": 1.3, "1.42": 1.42, "the golden ratio": (1 + math.sqrt(5)) / 2}
"""Of the spacings of pairs that are not commensurate."""

PHASE_SETS, PHASES = 200, 30
"""Sets of phases tested for uniformity and phases in each."""

SIZES = (12, 30, 60, 100)
"""Units of null populations, in turn."""

RATE = 0.05
"""Smooth populations that may be called modules."""


def module_rows() -> list[Row]:
    """Modules counted from maps, every unit's module, ratios and their intervals."""
    rows: list[Row] = []
    counts: list[bool] = []
    inside: list[Tensor] = []
    overlap: list[Tensor] = []
    for count, smallest_m, seeds, side_m, bins in (
        *((k, 0.3, SEEDS, SIDE_M, BINS) for k in (1, 2, 3)),
        *((5, 0.25, WIDE_SEEDS, WIDE_M, bins) for bins in WIDE_BINS),
    ):
        right: list[bool] = []
        labels, ratios = [], []
        for seed in range(seeds):
            known = synthetic.modules(count, seeded("modules", str(count), str(seed)), smallest_m=smallest_m)
            maps = known.maps(side_m, bins)
            scores, found = scores_and_lattices(maps, side_m / bins)
            groups = modules(found, scores, seed=seed)
            right.append(groups.count == count)
            labels.append(groups.labels == known.label)
            medians = torch.stack([known.spacing_m[known.label == k].median() for k in range(count)])
            planted = medians[1:] / medians[:-1]
            ratios.append(100 * (groups.ratios / planted - 1).abs() if right[-1] else planted * torch.nan)
            if count < 5:
                counts.append(mixture_modules(found.spacing_m, seed=seed) == count)
                inside += [(low <= RATIO) & (high >= RATIO) for low, high in groups.ratio_intervals]
            if count == 3:
                scores, found = scores_and_lattices(noisy(maps), BIN_M)
                overlap.append(module_overlaps(known.label, modules(found, scores, seed=seed).labels))
        plural = "s" * (count > 1)
        population = f"{count} module{plural} of 20 units, 5 % jitter, {bins}² bins of {side_m:g} m"
        rows.append(part_right("module count", population, str(count), right))
        rows.append(part_right("each unit's module", population, str(count), torch.cat(labels), low=0.99))
        if count > 1:
            rows.append(within("module ratio", population, "of the units' medians", torch.cat(ratios), 2, "%"))
    population = "1, 2 and 3 modules of 20 units, 5 % jitter"
    rows += [
        part_right("95 % interval of the module ratio", population, f"{RATIO}", torch.stack(inside), low=0.85),
        part_right("module count (mixture)", population, "1, 2 and 3", counts, low=0.9),
    ]
    found_again, population = torch.cat(overlap), "3 modules, white noise of the map's variance, smoothed by a bin"
    least, median = float(found_again.min()), float(found_again.median())
    rows.append(Row("overlap of modules", population, "the same units", "lowest", least, low=0.9, median=median))
    return rows


def independence_rows() -> list[Row]:
    """Harmonics found with their index, incommensurate modules called independent; the lattices are measured."""
    rows = []
    for index in INDICES:
        right = []
        for seed in range(PAIR_SEEDS):
            known = harmonic_modules(index, seeded("harmonic", str(index), str(seed)), orientation_rad=0.2 * seed)
            links, count = _linked(known)
            right.append(links == [[0, 0], [index, 0]] and count == 1)
        population = f"two modules on one torus, {WIDE_M:g} m box"
        rows.append(part_right("independence", population, f"harmonic of index {index}", right))
    for name, ratio in RATIOS.items():
        right = []
        for seed in range(PAIR_SEEDS):
            generator = seeded("incommensurate", name, str(seed))
            links, count = _linked(synthetic.modules(2, generator, smallest_m=0.4, ratio=ratio, jitter=0.01))
            right.append(links == [[0, 0], [0, 0]] and count == 2)
        population = f"two modules of ratio {name}, {WIDE_M:g} m box"
        rows.append(part_right("independence", population, "independent", right))
    return rows


def _linked(known: Grids) -> tuple[list[list[int]], int]:
    """Indices of the links found between modules, and independent modules; none where the box does not decide it."""
    bins = WIDE_BINS[0]
    maps = known.maps(WIDE_M, bins)
    found = independence(maps, modules(lattices(maps, WIDE_M / bins)), WIDE_M / bins)
    return found.index.tolist(), found.count if found.decided else -1


def phase_rows() -> list[Row]:
    """Phases of units and of a module's activity, and tests of their uniformity."""
    generator = seeded("phases")
    spacing_m = torch.tensor((0.3, 0.5, 0.8), dtype=torch.float64).repeat_interleave(20)
    angle = torch.rand(len(spacing_m), generator=generator, dtype=torch.float64) * math.pi / 3
    plain, sharp = grids(spacing_m, angle, generator), grids(spacing_m, angle, generator, sharpness=4.0)
    rows = []
    for population, known, maps, high in (
        ("three cosines", plain, plain.maps(), 1.0),
        ("a fifth of the bins unvisited", plain, holed(plain.maps()), 1.0),
        ("sharp fields", sharp, sharp.maps(), 2.0),
        ("white noise of the map's variance, smoothed by a bin", plain, noisy(plain.maps()), 5.0),
    ):
        errors = _apart(phases(maps, known.basis_m, BIN_M), known)
        rows.append(within("phase of a unit", population, "0.3–0.8 m", errors, high, "% of the spacing"))
        if population == "three cosines":
            errors = _apart(phases(maps, lattices(maps, BIN_M), BIN_M), known)
            population += ", lattices measured"
            rows.append(within("phase of a unit", population, "0.3–0.8 m", errors, 2.0, "% of the spacing"))
    module = grids(torch.full((20,), 0.7), torch.full((20,), 0.5), generator)
    where_m = bin_centres_m().flatten(0, 1)
    read = decode_phases(module.rates_at(where_m), module.phase)
    gap = read - where_m @ torch.linalg.inv(module.basis_m[0])
    errors = 100 * ((gap - gap.round()) @ module.basis_m[0]).norm(dim=-1) / 0.7
    rows.append(
        within(
            "phase of a module",
            "20 units of 0.7 m, at the bins of a map",
            "where it is",
            errors,
            2.0,
            "% of the spacing",
        )
    )
    return rows + _uniformity_rows()


def _apart(found: Tensor, known: Grids) -> Tensor:
    """Distances of phases in the unit cell, in per cent of the spacing."""
    gap = found - known.phase
    gap_m = torch.einsum("nk,nkd->nd", gap - gap.round(), known.basis_m)
    return 100 * gap_m.norm(dim=-1) / known.spacing_m


def _uniformity_rows() -> list[Row]:
    measure = "phases not uniform, p < 0.05"
    generator = seeded("uniform phases")

    def phase_sets(count: int) -> Tensor:
        return torch.rand(count, PHASES, 2, generator=generator, dtype=torch.float64)

    def rejected(sets: Tensor) -> list[bool]:
        return [phase_uniformity(one % 1, seed=i).p_value < 0.05 for i, one in enumerate(sets)]

    few = max(1, PHASE_SETS // 4)
    spread = torch.randn(few, PHASES, 2, generator=generator, dtype=torch.float64)
    corners = torch.cartesian_prod(torch.tensor([0.0, 0.5]), torch.tensor([0.0, 0.5])).repeat(PHASES, 1)[:PHASES]
    wrongly = rejected(phase_sets(PHASE_SETS))
    dense = phase_uniformity(torch.rand(200, 2, generator=generator, dtype=torch.float64), draws=200)
    # the mean distance to the nearest of 199 others, cell area √3 / 2 (Clark & Evans 1954, with its finite correction)
    expected = 0.5 * math.sqrt(math.sqrt(0.75) / 199) * (1 - 3 / (8 * 199))
    return [
        Row(
            measure,
            f"{PHASES} uniform phases",
            "5 %",
            f"part of {len(wrongly)}",
            sum(wrongly) / len(wrongly),
            high=0.08,
        ),
        part_right(measure, "one clump, deviation 0.15 of the cell", "not uniform", rejected(0.4 + 0.15 * spread)),
        part_right(measure, "four clumps, deviation 0.03", "not uniform", rejected(corners + 0.03 * spread)),
        within(
            "nearest phase",
            "200 uniform phases",
            f"{expected:.3g} spacings",
            100 * abs(dense.nearest_expected / expected - 1),
            2.0,
            "%",
        ),
    ]


def several_module_rows(populations: int, seed: int = 0) -> Iterable[NullRow]:
    """How often smooth spacings are called discrete, over kinds of continua, populations of `SIZES` units in turn."""
    each = max(1, populations // len(CONTINUA))
    for kind, make in CONTINUA.items():
        generator = seeded("continua", kind, seed=seed)
        positives = 0
        for k in range(each):
            positives += modules(make(SIZES[k % len(SIZES)], generator).lattices, seed=k).discrete
        yield NullRow("several modules", kind, each, positives, each, RATE)
