"""How exact is each measure?  Synthetic populations with known answers, and how often a null is taken for a finding.

    python -m entorhinal.benchmarks.validation [--out docs/validation.md]
    python -m entorhinal.benchmarks.validation --nulls 1000 [--only module] [--out docs/validation.md]

The first prints a row for each measure and population: what is known, what was found, what is allowed. The second
prints false positives on null populations, each rate with its binomial interval, for all verdicts or one. With
``--out``, either replaces its own sections of the file. Exit status 1 if a row fails.

A measure is added as a function of `PARTS` that returns rows, a test of false positives as one of `FALSE_POSITIVES`.
"""

from collections.abc import Callable, Iterable

from entorhinal.benchmarks.synthetic import CONTINUA, NULLS
from entorhinal.benchmarks.validation.codes import capacity_rows, isometry_rows, robustness_rows
from entorhinal.benchmarks.validation.maps import UNDEFINED, grid_unit_rows, lattice_rows, score_rows
from entorhinal.benchmarks.validation.modules import independence_rows, module_rows, phase_rows, several_module_rows
from entorhinal.benchmarks.validation.paths import attractor_rows, integration_rows, localisation_rows
from entorhinal.benchmarks.validation.rows import NullRow, Row, markdown, write_section
from entorhinal.benchmarks.validation.seeds import statistics_rows
from entorhinal.benchmarks.validation.states import NO_TORI, TORI, topology_rows, torus_verdict_rows

__all__ = ["FALSE_POSITIVES", "PARTS", "UNDEFINED", "NullRow", "Row", "markdown", "write_section"]

PARTS: tuple[Callable[[], list[Row]], ...] = (
    lattice_rows,
    score_rows,
    module_rows,
    independence_rows,
    phase_rows,
    topology_rows,
    integration_rows,
    localisation_rows,
    attractor_rows,
    capacity_rows,
    isometry_rows,
    robustness_rows,
    statistics_rows,
)
"""What `python -m entorhinal.benchmarks.validation` runs, in the order of the table."""

FALSE_POSITIVES: dict[str, tuple[Callable[[int], Iterable[NullRow]], int]] = {
    "grid unit": (grid_unit_rows, len(NULLS)),
    "module": (several_module_rows, len(CONTINUA)),
    "torus": (torus_verdict_rows, len(NO_TORI) + len(TORI)),
}
"""What ``--nulls N`` runs on N null populations, by verdict, and how many rows that gives."""
