"""How fast is a training step of supervised/sorscher and nayebi, and how far is it from what the device could do?

    python -m entorhinal.benchmarks.bench_sorscher [--precision tf32 bf16] [--device cuda]

A step is the harness's (gradients, clipping, NaN stop, Adam), on CUDA in one graph; "with data" makes a new batch on
the device for every step. The floor is counted from operations and bytes, against a product in that precision and a
copy, both measured in the same run. Reference: the harness's own ``vmap(grad(loss))``. On a CPU sizes are small.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from entorhinal.benchmarks.bench import AutogradNayebi, AutogradSorscher, Rates, milliseconds, training_step
from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.benchmarks.training import matmul_precision
from entorhinal.families.supervised.nayebi import Nayebi
from entorhinal.families.supervised.sorscher import PlaceNetwork, Sorscher
from entorhinal.families.supervised.walks import BLOCK

Precision = Literal["float32", "tf32", "bf16"]
Size = tuple[int, int, int]

SIZES: dict[str, tuple[Size, ...]] = {"cuda": ((1, 4096, 200), (4, 512, 2000)), "cpu": ((1, 128, 10), (2, 64, 20))}
"""Networks, units and trajectories in a batch: the authors' programs, and four networks of a small preset."""

KINDS: dict[type[PlaceNetwork], tuple[type[PlaceNetwork], int, int]] = {
    Sorscher: (AutogradSorscher, 1, 1),
    Nayebi: (AutogradNayebi, 3, 5),
}
"""The same without gradients of its own; products with N×N weights in a step of the walk; how many such weights."""


def rates(precision: Precision, device: torch.device) -> Rates:
    """Of a large product rounded to ``precision`` and a large copy, read and written."""
    side, count = (8192, 2**28) if device.type == "cuda" else (512, 2**22)
    dtype = torch.bfloat16 if precision == "bf16" and device.type == "cuda" else torch.float32
    square = torch.randn(side, side, device=device, dtype=dtype)
    source = torch.randn(count, device=device)
    target = torch.empty_like(source)
    with matmul_precision(precision):
        product_ms = milliseconds(lambda: square @ square, device)
    return Rates(2e3 * side**3 / product_ms, 8e3 * count / milliseconds(lambda: target.copy_(source), device))


def floor_ms(
    networks: int, units: int, batch: int, found: Rates, *, products: int = 1, weights: int = 1, places: int = 512,
    steps: int = 20,
) -> float:  # fmt: skip
    """The least time for a step: its products, and what the optimiser must move (four numbers read, three written)."""
    operations = 6 * batch * (steps * units * (products * units + places) + units * places)
    moved_bytes = 28 * units * (weights * units + 2 * places + 2)
    return networks * (found.floor_ms(operations, 0) + found.floor_ms(0, moved_bytes))


def step_ms(
    kind: type[PlaceNetwork], size: Size, precision: Precision, device: torch.device, *, fresh: bool = False
) -> float:
    """Milliseconds of a training step; with fresh, a mean over whole blocks of batches, their making included."""
    networks, units, batch = size
    with matmul_precision(precision):
        members = [kind.make(units=units, batch=batch, seed=k) for k in range(networks)]
        step = training_step(members, device, fresh=fresh)
        found = _mean_ms(step, 2 * BLOCK, device) if fresh else milliseconds(step, device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return found


def _mean_ms(step: Callable[[], None], steps: int, device: torch.device) -> float:
    for _ in range(3):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begun) / steps


def report(precisions: Sequence[Precision] = ("tf32", "bf16", "float32"), device: str = "auto") -> None:
    """Print the time of a step by size and precision, beside its floor and the harness's differentiation."""
    where = choose_device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    print(f"512 place cells, T 20, {name}")
    columns = ("precision", "networks", "units", "batch", "ms a step", "with data", "floor, ms", "over its floor")
    print(f"{'model':19}", *columns, "vmap(grad), ms", sep="  ")
    for precision in precisions if where.type == "cuda" else precisions[:1]:
        found = rates(precision, where)
        for (kind, (plain, products, weights)), size in itertools.product(KINDS.items(), SIZES[where.type]):
            ours, fresh = (step_ms(kind, size, precision, where, fresh=fresh) for fresh in (False, True))
            floor = floor_ms(*size, found, products=products, weights=weights)
            print(
                f"{kind.card.id.removesuffix('-v1'):19}  {precision:9}  {size[0]:8}  {size[1]:5}  {size[2]:5}  "
                f"{ours:9.3f}  {fresh:9.3f}  {floor:9.3f}  {ours / floor:12.2f} ×  "
                f"{step_ms(plain, size, precision, where):14.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", default=["tf32", "bf16", "float32"])
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    report(given.precision, given.device)


if __name__ == "__main__":
    main()
