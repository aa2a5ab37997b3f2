"""How exact is each measure?  Synthetic populations with known answers, and how often a null unit is called a grid.

    python -m entorhinal.benchmarks.validation [--out docs/validation.md]
    python -m entorhinal.benchmarks.validation --nulls 1000 [--out docs/validation.md]

The first prints a row for each measure and population: what is known, what was found, what is allowed. The second
prints false positives on null populations, each rate with its binomial interval. With ``--out``, either replaces its
own section of the file. Exit status 1 if a row fails.

A measure is added as a function of `PARTS` that returns rows, a test of false positives as one of `FALSE_POSITIVES`.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from entorhinal.analysis import (
    above_null,
    fourier_lattices,
    grid_scores,
    lattices,
    rate_maps,
    scores_and_lattices,
    smooth_maps,
    square_scores,
)
from entorhinal.benchmarks import synthetic
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.synthetic import BIN_M, NULLS, SIDE_M, Grids, breaking_maps, grids
from entorhinal.families.world import Arena, World

__all__ = ["FALSE_POSITIVES", "PARTS", "NullRow", "Row", "turn_rad", "write_section"]

SPACINGS_M = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
UNITS = 40
"""Units a spacing."""

UNDEFINED = {"constant", "one visited bin", "hexagon, 90 % unvisited"}
"""Which of `breaking_maps` have no score: no variance, no lag, too few bins shared at the lags of a ring."""

SIZES = (8, 16, 32)
"""Units of null populations, in turn."""

RATE = 0.01
"""False positives of "grid unit" allowed."""


@dataclass(frozen=True)
class Row:
    """One measure on one population: it holds when low <= found <= high.

    measure, population, known: what is measured, on what, and the answer that is known; found: the judged number, of
    which statistic says what it is, in unit; median: of the same errors over units, where there are some.
    """

    measure: str
    population: str
    known: str
    statistic: str
    found: float
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    median: float = math.nan

    @property
    def holds(self) -> bool:
        return self.low <= self.found <= self.high

    @property
    def allowed(self) -> str:
        if self.low == self.high:
            return f"{self.low:g}"
        parts = [f"≥ {self.low:g}"] * math.isfinite(self.low) + [f"≤ {self.high:g}"] * math.isfinite(self.high)
        return " and ".join(parts) + f" {self.unit}".rstrip()


@dataclass(frozen=True)
class NullRow:
    """How many of ``units`` null units (or populations), of one kind, were taken for what they are not."""

    verdict: str
    kind: str
    populations: int
    positives: int
    units: int
    allowed: float

    @property
    def rate(self) -> float:
        return self.positives / max(1, self.units)

    @property
    def interval(self) -> tuple[float, float]:
        """Exact binomial 95 % interval (Clopper & Pearson 1934)."""
        from scipy.stats import binomtest

        found = binomtest(self.positives, max(1, self.units)).proportion_ci()
        return float(found.low), float(found.high)


def turn_rad(found: Tensor, known: Tensor) -> Tensor:
    """Difference of orientations, which repeat every 60 degrees."""
    sixth = math.pi / 3
    return ((found - known + sixth / 2) % sixth - sixth / 2).abs()


def regular_grids(seed: int = 0, **options: float) -> Grids:
    """`UNITS` grid cells of each of `SPACINGS_M`, orientations and phases at random."""
    generator = torch.Generator().manual_seed(derive(seed, "validation", "grids"))
    spacing_m = torch.tensor(SPACINGS_M, dtype=torch.float64).repeat_interleave(UNITS)
    angle = torch.rand(len(spacing_m), generator=generator, dtype=torch.float64) * math.pi / 3
    return grids(spacing_m, angle, generator, **options)  # type: ignore[arg-type]


STRICT, LOOSE = (1.0, 1.0, 3.0), (3.0, 2.0, 10.0)
"""Errors allowed in spacing (%), orientation (degrees) and ellipticity (%): in clean maps, and in noise."""


def lattice_rows() -> list[Row]:
    """Spacing, orientation and ellipticity by the autocorrelogram and by the Fourier transform."""
    plain, walked = regular_grids(), _walked()
    populations: list[tuple[str, Grids, Tensor, tuple[float, float, float]]] = [
        ("three cosines", plain, plain.maps(), STRICT),
        ("a fifth of the bins unvisited", plain, _holed(plain.maps()), STRICT),
        (f"10 min of walks, {100 * walked.isnan()[0].double().mean():.0f} % unvisited", plain, walked, STRICT),
        ("white noise of the map's variance, smoothed by a bin", plain, _noisy(plain.maps()), LOOSE),
    ]
    for name, known in (
        ("sharp fields", regular_grids(sharpness=4.0)),
        ("sheared by 0.15", regular_grids(shear=0.15)),
        ("stretched by 1.2", regular_grids(stretch=1.2, stretch_rad=0.4)),
    ):
        populations.append((name, known, known.maps(), STRICT))
    rows = []
    for population, known, maps, allowed in populations:
        for kind, measure in (("autocorrelogram", lattices), ("Fourier", fourier_lattices)):
            found = measure(maps, BIN_M)
            spacing = 100 * (found.spacing_m / known.spacing_m - 1).abs()
            turn = turn_rad(found.orientation_rad, known.orientation_rad).rad2deg()
            shape = 100 * (found.ellipticity / known.ellipticity - 1).abs()
            for name, truth, unit, high, errors in (
                ("spacing", "0.3–0.8 m", "%", allowed[0], spacing),
                ("orientation", "0–60°", "°", allowed[1], turn),
                ("ellipticity", f"{known.ellipticity[0]:.3g}", "%", allowed[2], shape),
            ):
                rows.append(
                    Row(
                        measure=f"{name} ({kind})",
                        population=population,
                        known=truth,
                        statistic="largest error",
                        found=float(errors.max()),
                        unit=unit,
                        high=high,
                        median=float(errors.median()),
                    )
                )
    return rows


def _holed(maps: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(derive(0, "validation", "holes"))
    return maps.where(torch.rand(maps.shape, generator=generator) > 0.2, torch.nan)


def _noisy(maps: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(derive(0, "validation", "noise"))
    noise = torch.randn(maps.shape, generator=generator, dtype=torch.float64)
    return smooth_maps(maps + maps.std((1, 2), keepdim=True) * noise, 1.0)


def _walked() -> Tensor:
    """Maps of the same cells from ten minutes of the common walk: unvisited bins, and bins sampled unevenly."""
    walk = World(Arena.square(SIDE_M)).walk(10, 3_000, seed=derive(0, "validation", "walk"))
    position_m = walk.position_m.double().flatten(0, 1)
    return rate_maps(regular_grids().rates_at(position_m), position_m, walk.arena.extent_m, synthetic.BINS).values


def score_rows() -> list[Row]:
    """The grid score's range: grids high and above their null, holes and shapes, maps that break scorers."""
    plain, stretched = regular_grids().maps(), regular_grids(stretch=1.2, stretch_rad=0.4).maps()
    scores = grid_scores(plain)
    generator = torch.Generator().manual_seed(derive(0, "validation", "null"))
    _, above = above_null(plain[::5], scores[::5], generator=generator)
    maps = breaking_maps()
    defined = grid_scores(torch.stack(list(maps.values()))).isfinite().tolist()
    wanted = sum(one == (name not in UNDEFINED) for name, one in zip(maps, defined, strict=True))
    holed = (grid_scores(_holed(plain)) - scores).abs()
    corrected, squares = grid_scores(stretched, ellipse_corrected=True), square_scores(plain)
    score, name = "grid score", "three cosines"
    return [
        Row(score, name, "grids", "lowest", float(scores.min()), low=1.3, median=float(scores.median())),
        Row(score, name, "grids", "NaN", float(scores.isnan().sum()), low=0, high=0),
        Row(score, name, "grids", "part above its null", float(above.double().mean()), low=1, high=1),
        Row(
            score,
            "a fifth of the bins unvisited",
            "as complete maps",
            "largest difference",
            float(holed.max()),
            high=0.05,
            median=float(holed.median()),
        ),
        Row(score, "ten maps that break scorers", "a score, or NaN", "maps as known", wanted, low=10, high=10),
        Row(
            "grid score, ellipse-corrected",
            "stretched by 1.2",
            "grids",
            "lowest",
            float(corrected.min()),
            low=1.3,
            median=float(corrected.median()),
        ),
        Row(
            "square score",
            name,
            "no squares",
            "highest",
            float(squares.max()),
            high=1.0,
            median=float(squares.median()),
        ),
    ]


PARTS: tuple[Callable[[], list[Row]], ...] = (lattice_rows, score_rows)
"""What `python -m entorhinal.benchmarks.validation` runs, in the order of the table."""


def grid_unit_rows(populations: int, seed: int = 0) -> Iterable[NullRow]:
    """False positives of "grid unit" (above all of 100 noise maps) over kinds of null units, populations in turn."""
    each = max(1, populations // len(NULLS))
    for kind, make in NULLS.items():
        generator = torch.Generator().manual_seed(derive(seed, "validation", "nulls", kind))
        units = sum(SIZES[i % len(SIZES)] for i in range(each))
        positives = 0
        for some in torch.arange(units).split(512):
            maps = make(len(some), generator)
            scores, _ = scores_and_lattices(maps, BIN_M)
            positives += int(above_null(maps, scores, generator=generator)[1].sum())
        yield NullRow("grid unit", kind, each, positives, units, RATE)


FALSE_POSITIVES: dict[str, Callable[[int], Iterable[NullRow]]] = {"grid unit": grid_unit_rows}
"""What ``--nulls N`` runs on N null populations, by verdict."""


def markdown(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    rows = [head, tuple("---" for _ in head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def measure_table(rows: Iterable[Row]) -> str:
    """Rows as Markdown."""

    def line(row: Row) -> tuple[str, ...]:
        median = "" if math.isnan(row.median) else f"{row.median:.2g}"
        found = f"{row.found:.3g} {row.unit}".rstrip()
        verdict = "holds" if row.holds else "**fails**"
        return row.measure, row.population, row.known, row.statistic, found, median, row.allowed, verdict

    return markdown(
        ("measure", "population", "known", "statistic", "found", "median", "allowed", "verdict"), map(line, rows)
    )


def null_table(rows: Iterable[NullRow]) -> str:
    """Rates of false positives as Markdown; a rate is above what is allowed where its whole interval is."""

    def line(row: NullRow) -> tuple[str, ...]:
        low, high = row.interval
        verdict = "**above**" if low > row.allowed else "within" if row.rate <= row.allowed else "not told apart"
        rate, interval = f"{100 * row.rate:.2f} %", f"{100 * low:.2f}–{100 * high:.2f} %"
        counts = (f"{n:,}" for n in (row.populations, row.units, row.positives))
        return row.verdict, row.kind, *counts, rate, interval, f"{100 * row.allowed:g} %", verdict

    head = ("verdict", "kind of null", "populations", "units", "positives", "rate", "95 % interval", "allowed", "")
    return markdown(head, map(line, rows))


def write_section(path: Path, name: str, text: str) -> None:
    """Put ``text`` between the comments ``<!-- name -->`` and ``<!-- end name -->`` of a Markdown file.

    Raises:
        ValueError: the file lacks them.
    """
    page = path.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(
            f"{path} has no section {name!r}; put the lines {begin.strip()!r} and {end!r} where it belongs"
        )
    before, rest = page.split(begin)
    path.write_text(before + begin + text.strip() + "\n" + end + rest.split(end)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a Markdown file with the sections, such as docs/validation.md")
    parser.add_argument("--nulls", type=int, help="populations of null units, for the rates of false positives")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    if arguments.nulls is None:
        rows = [row for part in track(PARTS, "measuring", console=console) for row in part()]
        name, text, failed = "measures", measure_table(rows), any(not row.holds for row in rows)
    else:
        found: list[NullRow] = []
        for verdict, part in FALSE_POSITIVES.items():
            expected = len(NULLS) if verdict == "grid unit" else None
            found += track(part(arguments.nulls), f"false positives: {verdict}", expected, console=console)
        name, text, failed = "nulls", null_table(found), False
    print(text)
    if arguments.out:
        write_section(arguments.out, name, text)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
