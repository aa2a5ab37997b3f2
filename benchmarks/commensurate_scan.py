"""Which ratios of spacings do two coupled sheets take?  Kang & Balasubramanian's pairs over couplings, as a CSV file.

    python -m entorhinal.benchmarks.commensurate_scan [--out FOLDER]

Two networks of 128 × 128 neurons, the mean of whose inhibition distances is 9 neurons, settle from noise: for every
spread and strength of the coupling (and without), twelve ratios of inhibition distances and four starts. A row has the
ratio of the spacings of the two lattices and the difference of their orientations. A pair takes 2 to 3 s of one core,
and there are 768; pairs are settled side by side (set OMP_NUM_THREADS to 1).
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import track

from entorhinal.analysis import fourier_lattices, orientation_difference
from entorhinal.benchmarks.attractor_paths import LONG_PATHS
from entorhinal.benchmarks.records import provenance
from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.continuous_attractor.kang_balasubramanian import KangBalasubramanian

__all__ = ["NAME", "PAIRS", "Pair", "settled_pair"]

NAME = "kang_balasubramanian_pairs"
SIDE, MEAN = 128, 9.0  # neurons; of the two inhibition distances
SPREADS, STRENGTHS, SEEDS = (4.0, 6.0, 8.0, 12.0, 16.0), (0.3, 0.8, 2.6), (20, 21, 22, 23)
RATIOS = (1.2, 1.24, 1.28, 1.32, 1.36, 1.4, 1.44, 1.48, 1.6, 1.75, 1.9, 2.05)

Pair = tuple[float, float, float, int]
"""Spread in neurons and strength of the coupling, ratio of inhibition distances, seed."""

PAIRS: list[Pair] = [
    (spread, strength, ratio, seed)
    for spread, strength in [(SPREADS[0], 0.0), *((d, u) for d in SPREADS for u in STRENGTHS)]
    for ratio in RATIOS
    for seed in SEEDS
]


def settled_pair(pair: Pair, side: int = SIDE) -> dict[str, float]:
    """One row: the pair, the ratio of its lattices' spacings and the difference of their orientations."""
    spread, strength, ratio, seed = pair
    small = 2 * MEAN / (1 + ratio)
    model = KangBalasubramanian.make(
        networks=2,
        neurons_per_side=side,
        smallest_inhibition_neurons=small,
        largest_inhibition_neurons=ratio * small,
        coupling=strength,
        coupling_spread_neurons=spread,
        seed=seed,
    )
    found = fourier_lattices(model.settle(), 1.0)
    turn = orientation_difference(found.orientation_rad[1:], found.orientation_rad[:1]).rad2deg()
    return {
        "spread_neurons": spread,
        "coupling": strength,
        "inhibition_ratio": ratio,
        "seed": seed,
        "ratio": float(found.spacing_m[1] / found.spacing_m[0]),
        "difference_deg": float(turn),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=LONG_PATHS)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    begun, code = time.perf_counter(), provenance()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        found = pool.map(settled_pair, PAIRS, chunksize=4)
        rows = list(track(found, "settling", total=len(PAIRS), console=Console(stderr=True)))
    text: str = pd.DataFrame(rows).round(4).to_csv(index=False)
    write_atomically(out / f"{NAME}.csv", text.encode())
    said = {"pairs": len(PAIRS), "seconds": time.perf_counter() - begun} | code
    write_atomically(out / f"{NAME}.json", (json.dumps(said, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
