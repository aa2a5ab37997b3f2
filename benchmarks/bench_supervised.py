"""How fast is a training step of the supervised models, and how far is it from what the device could do?

    python -m entorhinal.benchmarks.bench_supervised [--precision tf32 bf16] [--device cuda]

A step is the harness's (gradients, clipping, NaN stop, optimiser), on CUDA in one graph; "with data" makes a new batch
on the device for every step. The floor is counted from operations and bytes, against a product in that precision and a
copy, both measured in the same run. Reference: the harness's own ``vmap(grad(loss))``. On a CPU sizes are small.
supervised/cueva_wei and banino are small networks on long walks: their steps wait for each other, far from the floor.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from entorhinal.benchmarks.bench import Rates, by_autograd, milliseconds, training_step
from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.benchmarks.training import matmul_precision
from entorhinal.families.model import Model
from entorhinal.families.supervised.banino import Banino, BaninoConfig
from entorhinal.families.supervised.cueva_wei import CuevaWei
from entorhinal.families.supervised.nayebi import Nayebi
from entorhinal.families.supervised.sorscher import PlaceNetwork, Sorscher
from entorhinal.families.supervised.walks import BLOCK

Precision = Literal["float32", "tf32", "bf16"]
Size = tuple[int, int, int]

SIZES: dict[str, tuple[Size, ...]] = {"cuda": ((1, 4096, 200), (4, 512, 2000)), "cpu": ((1, 128, 10), (2, 64, 20))}
"""Networks, units and trajectories in a batch: the authors' programs, and four networks of a small preset."""

KINDS: dict[type[PlaceNetwork], tuple[int, int]] = {Sorscher: (1, 1), Nayebi: (3, 5)}
"""Products with N×N weights in a step of the walk; how many such weights."""

SMALL: dict[type[Model], Callable[[Any], int]] = {
    Banino: lambda c: 6 * c.batch * c.steps_per_trajectory * (4 * c.cells * (c.cells + 3) + c.units * _read_by(c)),
    CuevaWei: lambda c: 6 * c.batch * c.steps_per_trajectory * c.units * (c.units + 4),
}
"""The operations of its products."""

NETWORKS = {"cuda": (1, 10), "cpu": (2,)}
SHORT: dict[str, dict[str, int]] = {"cuda": {}, "cpu": {"batch": 4, "steps_per_trajectory": 10}}
"""Changes of the papers' configs."""


def _read_by(config: BaninoConfig) -> int:
    return config.cells + config.place_cells + config.head_direction_cells


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
    kind: type[Model],
    networks: int,
    config: dict[str, int],
    precision: Precision,
    device: torch.device,
    *,
    fresh: bool = False,
) -> float:
    """Milliseconds of a training step; with fresh, a mean over whole blocks of batches, their making included."""
    with matmul_precision(precision):
        members = [kind.make(**config, seed=k) for k in range(networks)]
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
    print(f"512 place cells, T 20; banino and cueva_wei as their papers, on CUDA; {name}")
    columns = ("precision", "networks", "units", "batch", "ms a step", "with data", "floor, ms", "over its floor")
    print(f"{'model':20}", *columns, "vmap(grad), ms", sep="  ")
    for precision in precisions if where.type == "cuda" else precisions[:1]:
        found = rates(precision, where)
        for (kind, (products, weights)), size in itertools.product(KINDS.items(), SIZES[where.type]):
            networks, config = size[0], {"units": size[1], "batch": size[2]}
            floor = floor_ms(*size, found, products=products, weights=weights)
            _row(kind, networks, config, precision, where, floor)
        for small, operations in SMALL.items():
            asked: Any = small.Config(**SHORT[where.type])
            config = SHORT[where.type] | {"units": asked.units, "batch": asked.batch}
            for networks in NETWORKS[where.type]:
                floor = found.floor_ms(networks * operations(asked), 0)
                _row(small, networks, config, precision, where, floor)


def _row(
    kind: type[Model],
    networks: int,
    config: dict[str, int],
    precision: Precision,
    device: torch.device,
    floor: float,
) -> None:
    ours, fresh = (step_ms(kind, networks, config, precision, device, fresh=fresh) for fresh in (False, True))
    name, units, batch = kind.card.id.removesuffix("-v1"), config["units"], config["batch"]
    print(
        f"{name:20}  {precision:9}  {networks:8}  {units:5}  {batch:5}  "
        f"{ours:9.3f}  {fresh:9.3f}  {floor:9.3f}  {ours / floor:12.2f} ×  "
        f"{step_ms(by_autograd(kind), networks, config, precision, device):14.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", default=["tf32", "bf16", "float32"])
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    report(given.precision, given.device)


if __name__ == "__main__":
    main()
