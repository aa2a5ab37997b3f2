"""How fast is maximum likelihood over a long range?  Seconds and memory of `decode_waves`, beside brute force.

    python -m entorhinal.benchmarks.bench_decoding

100,000 noisy states of 8 modules of 20 Poisson units over a range of 1,000,000 resolvable positions; it may take a
minute and 4 GB on two cores. Brute force, the same matrix product over every resolvable position, is timed on a few
states, and the positions of these are compared.
"""

import resource
import sys
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from entorhinal.families.coding_theory.decoding import decode_waves, log_likelihood
from entorhinal.families.coding_theory.residue import coprime_periods
from entorhinal.families.coding_theory.ring import ring_waves

__all__ = ["report"]

STATES, MODULES, UNITS, RANGE = 100_000, 8, 20, 1_000_000
SHARPNESS, PEAK_COUNT = 3.0, 3.0
BRUTE_FORCE_STATES = 40
LIMIT_S, LIMIT_GB = 60, 4


def brute_force(waves: Tensor, periods: list[int], span: int, block: int = 2**17) -> tuple[Tensor, Tensor]:
    """The most likely of all integer positions below ``span``, and its log-likelihood, in float64."""
    best, position = torch.full_like(waves[:, 0].real, -torch.inf), torch.zeros_like(waves[:, 0].real)
    rows = torch.cat((waves.real, waves.imag), -1)
    for candidates in torch.arange(span, dtype=torch.float64).split(block):
        turn = 2 * torch.pi * candidates / torch.tensor(periods, dtype=torch.float64)[:, None]
        value, index = (rows @ torch.cat((turn.cos(), turn.sin()))).max(-1)
        position = candidates[index].where(value > best, position)
        best = torch.maximum(best, value)
    return position, best


def report() -> None:
    """Print the seconds, the most memory this process has held, and how often brute force finds something better."""
    generator = torch.Generator().manual_seed(0)
    periods = coprime_periods(MODULES, 31)
    position = RANGE * torch.rand(STATES, generator=generator, dtype=torch.float64)
    phase = position[:, None] / torch.tensor(periods)
    waves = torch.cat([ring_waves(part, UNITS, SHARPNESS, PEAK_COUNT, generator) for part in phase.split(10_000)])
    begun = time.perf_counter()
    found = decode_waves(waves, periods, 0, RANGE)
    seconds = time.perf_counter() - begun
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    some = waves[:BRUTE_FORCE_STATES]
    begun = time.perf_counter()
    _, value = brute_force(some, periods, RANGE)
    brute_s = (time.perf_counter() - begun) * STATES / len(some)
    better = int((value > log_likelihood(some, found[: len(some)], periods) + 1e-9).sum())
    gross = float(((found - position).abs() > max(periods) / 2).double().mean())
    table = Table("decoding, 100,000 states", "", "may be", box=None)
    table.add_row(f"seconds, {torch.get_num_threads()} thread(s)", f"{seconds:.3g}", f"{LIMIT_S} on two cores")
    table.add_row("most memory of the process, GB", f"{peak_gb:.2g}", f"{LIMIT_GB}")
    table.add_row(f"brute force, seconds (from {len(some)} states)", f"{brute_s:.3g}", "")
    table.add_row(f"of these {len(some)}, brute force finds a better position for", f"{better}", "0")
    table.add_row("errors larger than half a period", f"{gross:.1%}", "")
    Console().print(table)


if __name__ == "__main__":
    report()
