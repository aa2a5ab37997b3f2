"""How fast is the analysis?  Rows of `make bench`: each thing against what it replaces; seconds of slow measures.

    python -m entorhinal.benchmarks.bench_analysis [--device cuda]

The target for maps is 0.5 ms a map on two cores, and 4,096 maps in 2 s on a large GPU. Two public scorers are timed
beside ours, for the score alone, in an environment made for it (`public_scorers`); without one a line says why.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from entorhinal.analysis import fourier_lattices, grid_scores, lattices, scores_and_lattices
from entorhinal.benchmarks.bench import Rates, Row, milliseconds, rates, show
from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.benchmarks.public_scorers import UNAVAILABLE, our_scores, public_scores, ranked_maps
from entorhinal.benchmarks.public_scorers import milliseconds as scorer_milliseconds
from entorhinal.benchmarks.synthetic import BIN_M, BINS, grids

__all__ = ["AnalysisRow", "map_rows", "report", "topology_rows"]

MAPS = 4096
"""On a GPU; a CPU scores an eighth of them, and the times are of all."""


def map_rows(device: torch.device, rates: Rates) -> list[Row]:
    """From map to score and lattice, `MAPS` maps of 50² bins, against the two measures one after the other.

    The floor is the operations of the autocorrelogram's transforms: three forward and five inverse of twice the side.
    """
    count = MAPS if device.type == "cuda" else MAPS // 8
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand(2, count, generator=generator, dtype=torch.float64)
    maps = grids(0.3 + 0.5 * draw[0], draw[1], generator).maps().to(device)
    side = 2 * BINS
    floor_ms = rates.floor_ms(MAPS * 8 * 2.5 * side**2 * 2 * torch.tensor(side).log2().item(), MAPS * 8 * BINS**2)

    def time_of(function: object) -> float:
        return milliseconds(lambda: function(maps), device) * MAPS / count  # type: ignore[operator]

    both = time_of(lambda m: scores_and_lattices(m, BIN_M))
    score, lattice = time_of(grid_scores), time_of(lambda m: lattices(m, BIN_M))
    name = f"{MAPS:,} maps, score and lattice"
    return [
        Row(name, both, "score, then lattice", score + lattice, floor_ms),
        Row(name, both, "Fourier lattice alone", time_of(lambda m: fourier_lattices(m, BIN_M)), floor_ms),
    ]


@dataclass(frozen=True)
class AnalysisRow:
    """One measure: seconds it takes, and seconds it may take on two cores."""

    what: str
    seconds: float
    limit_s: float


def seconds(function: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def topology_rows() -> list[AnalysisRow]:
    """The steps of `torus` on a module of 64 ideal grid cells in a box of 3.5 spacings: 15,000 moments, 600 points."""
    from entorhinal.analysis import topology
    from entorhinal.families import make
    from entorhinal.families.world import Arena, World

    model = make("controls/ideal_grid", spacing_m=(0.4,), orientation_rad=(0.2,))
    walk = World(Arena.square(1.4)).walk(15, 1000, seed=0, start_m=torch.zeros(15, 2))
    states = model.represent(walk).rates.flatten(0, 1).double()
    found: list[torch.Tensor] = []
    generator = torch.Generator().manual_seed(0)

    def rolls() -> None:
        for _ in range(100):
            rolled = topology.time_rolled(states, generator)[:: len(states) // topology.NULL_MOMENTS]
            topology.barcodes(topology.point_cloud(rolled, topology.NULL_POINTS)[3], 1)

    return [
        AnalysisRow(
            "points, 600 of 15,000 moments", seconds(lambda: found.append(topology.point_cloud(states, 600)[3])), 30
        ),
        AnalysisRow("homology to cavities, 600 points", seconds(lambda: topology.barcodes(found[0])), 30),
        AnalysisRow("null of 100 rolls to loops, 400 points", seconds(rolls), 180),
    ]


def report() -> None:
    """Print the seconds of slow measures, and the public scorers beside ours."""
    console = Console()
    table = Table("analysis", "s", "may take, s", box=None)
    for row in topology_rows():
        table.add_row(row.what, f"{row.seconds:.3g}", f"{row.limit_s:.3g}")
    console.print(table)
    _, maps = ranked_maps()
    with tempfile.TemporaryDirectory() as folder:
        try:
            theirs = public_scores(maps, Path(folder))
        except UNAVAILABLE as error:
            console.print(f"public scorers are not timed: {error}", markup=False, highlight=False)
            return
    ours = our_scores(maps)
    table = Table("grid score", "ms of a core a map", "over ours", box=None)
    for one in (ours, *theirs):
        took = scorer_milliseconds(one)
        table.add_row(f"{one.name} {one.version}".strip(), f"{took:.3g}", f"{took / scorer_milliseconds(ours):.3g} ×")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    device = choose_device(parser.parse_args().device)
    show(map_rows(device, rates(device)))
    report()


if __name__ == "__main__":
    main()
