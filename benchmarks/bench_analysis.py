"""How fast is the analysis?  Rows of `make bench`, each thing against what it replaces.

The target for maps is 0.5 ms a map on two cores, and 4,096 maps in 2 s on a large GPU. Public scorers take 5 ms
(spatial-maps) and 85 ms (opexebo) of a core a map, for the score alone (docs/validation.md).
"""

import argparse

import torch

from entorhinal.analysis import fourier_lattices, grid_scores, lattices, scores_and_lattices
from entorhinal.benchmarks.bench import Rates, Row, milliseconds, rates, show
from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.benchmarks.synthetic import BIN_M, BINS, grids

__all__ = ["map_rows"]

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    device = choose_device(parser.parse_args().device)
    show(map_rows(device, rates(device)))


if __name__ == "__main__":
    main()
