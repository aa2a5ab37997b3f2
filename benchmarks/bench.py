"""What do training and analysis cost?  Ratios between ways of doing one thing, in one run, each beside its floor.

    make bench                                   # or: python -m entorhinal.benchmarks.bench [--device cuda]

A floor is what the least number of operations and bytes would take at the rates of a large product and a large copy,
measured in the same run: no version can be much faster. Times are medians; machines are shared, so read the ratios. On
a CUDA device `bench_supervised` and `bench_sic` follow, at the sizes of the papers; `bench_analysis` has the measures,
`bench_attractors` the sheets, `bench_decoding` the maximum-likelihood decoder of the phase codes.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.benchmarks.optimizers import Optimizer
from entorhinal.benchmarks.training import _Folder, _Run
from entorhinal.families.model import Model, Recipe
from entorhinal.families.supervised.sorscher import Sorscher
from entorhinal.families.world import Arena, World
from entorhinal.ssl.sic import SIC
from entorhinal.ssl.sic_losses import sic as sic_loss

M = TypeVar("M", bound=Model)

SIZES = {"units": 64, "hidden": 64, "steps_per_trajectory": 24, "trajectories": 40, "steps": 1000}
SORSCHER = {"units": 256, "place_cells": 256, "batch": 50, "steps": 1000, "weight_decay": 0.0}
ROUNDS, SECONDS = 5, 0.4


@dataclass(frozen=True)
class Row:
    """One thing done two ways: milliseconds of each, and the floor in milliseconds."""

    what: str
    ours_ms: float
    against: str
    other_ms: float
    floor_ms: float


@dataclass(frozen=True)
class Rates:
    """Operations and bytes a second that this device reaches."""

    operations: float
    bytes: float

    def floor_ms(self, operations: float, moved_bytes: float) -> float:
        return 1e3 * max(operations / self.operations, moved_bytes / self.bytes)


def by_autograd(kind: type[M]) -> type[M]:
    """A model without gradients of its own: the harness differentiates its loss."""
    return type(f"Autograd{kind.__name__}", (kind,), {"population_gradients": None})


class NaiveSIC(SIC):
    """As the equations are written: the perceptron runs on every step of every trajectory."""

    population_gradients = None  # type: ignore[assignment]

    def loss(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        step_m = batch["velocity_m"][batch["order"]]
        initial = torch.relu(self.initial) / torch.relu(self.initial).norm()
        matrices = self.matrix(step_m).unflatten(-1, (self.config.units,) * 2)  # (B, T, N, N)
        state, states = initial.expand(len(step_m), -1), []
        for t in range(step_m.shape[1]):
            state = torch.relu((matrices[:, t] @ state[..., None])[..., 0])
            state = state / state.norm(dim=-1, keepdim=True)
            states.append(state)
        weights = {
            name: getattr(self, f"{name}_weight") for name in ("separation", "invariance", "capacity", "conformal")
        }
        return sic_loss(
            torch.stack(states, 1),
            initial,
            step_m.cumsum(1),
            step_m,
            near_m=self.near_m,
            separation_width=self.separation_width,
            weights=weights,
        )


def milliseconds(function: Callable[[], object], device: torch.device) -> float:
    """Median over rounds of the mean time of a call."""

    def run(repeats: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(repeats):
            function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - begun) / repeats

    run(2)
    repeats = max(1, round(SECONDS / ROUNDS / run(1)))
    return 1e3 * statistics.median(run(repeats) for _ in range(ROUNDS))


def rates(device: torch.device) -> Rates:
    """Of a large product in float32 and a large copy, read and written."""
    side = 8192 if device.type == "cuda" else 1024
    square = torch.randn(side, side, device=device)
    source = torch.randn(2**28 if device.type == "cuda" else 2**24, device=device)
    target = torch.empty_like(source)
    product_ms = milliseconds(lambda: square @ square, device)
    copy_ms = milliseconds(lambda: target.copy_(source), device)
    return Rates(2e3 * side**3 / product_ms, 8e3 * source.numel() / copy_ms)


def training_step(members: Sequence[Model], device: torch.device, *, fresh: bool = False) -> Callable[[], None]:
    """One step of the harness: gradients, clipping, optimiser; on CUDA, a captured graph.

    fresh: make a new batch for every step, as training does; else sixteen are made before and used in turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        first: Any = members[0]
        world = World(Arena.square(first.card.training_extent_m), device=str(device))
        files = _Folder(Path(folder), [str(k) for k in range(len(members))])
        run = _Run(members, world, 0, torch.float32, device, files)
        data = run.data(0)
        batches = list(islice(data, 16))
    count = run.recipe.accumulation
    step = run._captured(batches[:count])
    turn = data if fresh else cycle(batches)
    return lambda: step(list(islice(turn, count)))


def sic_rows(device: torch.device, rates: Rates) -> list[Row]:
    """The shipped gradients against autograd, against the equations as written, and eight networks against one."""
    t, b, n, h = (SIZES[name] for name in ("steps_per_trajectory", "trajectories", "units", "hidden"))
    states, parameters = t * b, n**2 * (h + 1) + h * (h + 4) + n
    # perceptron three times over (forward, by input, by weight), matrix-vector products likewise, pairs twice
    operations = 6 * t * h * (h + n**2) + 6 * states * n**2 + 4 * states**2 * n
    floor_ms = rates.floor_ms(operations, 4 * 9 * parameters)

    def time_of(kind: type[SIC], networks: int = 1) -> float:
        return milliseconds(training_step([kind.make(**SIZES, seed=k) for k in range(networks)], device), device)

    ours = time_of(SIC)
    eight = time_of(SIC, 8)
    return [
        Row("SIC, one step", ours, "autograd of the same loss", time_of(by_autograd(SIC)), floor_ms),
        Row("SIC, one step", ours, "perceptron on all B·T velocities", time_of(NaiveSIC), floor_ms),
        Row("SIC, eight networks side by side", eight, "eight, one after another", 8 * ours, 8 * floor_ms),
    ]


def sorscher_rows(device: torch.device, rates: Rates) -> list[Row]:
    """A step of the harness against the loop that one would write."""
    model = Sorscher.make(**SORSCHER)
    n, p, b = (SORSCHER[name] for name in ("units", "place_cells", "batch"))
    samples = b * model.config.steps_per_trajectory
    operations = 6 * samples * (n * n + n * p) + 6 * b * n * p
    floor_ms = rates.floor_ms(operations, 4 * 9 * (n * n + 2 * n * p))
    ours, autograd = (
        milliseconds(training_step([kind.make(**SORSCHER)], device), device)
        for kind in (Sorscher, by_autograd(Sorscher))
    )
    model = model.to(device)
    batches = list(islice(model.training_data(World(Arena.square(2.2), device=str(device)), 0), 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    turn = iter(range(10**9))

    def plain() -> None:
        optimizer.zero_grad()
        model.loss(batches[next(turn) % 16])["total"].backward()
        optimizer.step()

    return [
        Row("Sorscher, one step", ours, "autograd of the same loss", autograd, floor_ms),
        Row("Sorscher, one step", ours, "torch.optim.Adam and backward()", milliseconds(plain, device), floor_ms),
    ]


def optimizer_rows(device: torch.device, rates: Rates) -> list[Row]:
    """Adam for 12 networks on flat storage against torch.optim.Adam on their parameters."""
    networks, parameters = 12, 2**18 if device.type == "cpu" else 2**22
    flat, gradient = (torch.randn(networks, parameters, device=device) for _ in range(2))
    ours = Optimizer([Recipe(lr=1e-4, steps=10**6, batch=1)] * networks, flat)
    scale = torch.ones(networks, device=device)
    own = [torch.nn.Parameter(row.clone()) for row in flat]
    for parameter, row in zip(own, gradient, strict=True):
        parameter.grad = row.clone()
    theirs = torch.optim.Adam(own, lr=1e-4)
    return [
        Row(
            "Adam, 12 networks",
            milliseconds(lambda: ours.step(gradient, scale), device),
            "torch.optim.Adam",
            milliseconds(theirs.step, device),
            rates.floor_ms(0, 28 * networks * parameters),
        )
    ]


def show(rows: Sequence[Row]) -> None:
    """Print the rows."""
    table = Table("what", "ms", "against", "ms", "ratio", "floor, ms", "over its floor", box=None)
    for row in rows:
        numbers = (row.ours_ms, row.other_ms, row.other_ms / row.ours_ms, row.floor_ms, row.ours_ms / row.floor_ms)
        ours, other, ratio, floor, over = (f"{number:.3g}" for number in numbers)
        table.add_row(row.what, ours, row.against, other, f"{ratio} ×", floor, f"{over} ×")
    Console().print(table)


def main() -> None:
    from entorhinal.benchmarks import bench_analysis, bench_attractors, bench_decoding

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    device = choose_device(parser.parse_args().device)
    console = Console()
    found = rates(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    console.print(f"{name}: {found.operations / 1e9:,.0f} GFLOP/s in float32, {found.bytes / 1e9:,.0f} GB/s copied")
    rows: list[Row] = []
    parts = (sic_rows, sorscher_rows, optimizer_rows, bench_analysis.map_rows, bench_attractors.sheet_rows)
    for part in track(parts, "measuring", console=Console(stderr=True)):
        rows += part(device, found)
    show(rows)
    bench_analysis.report()
    bench_decoding.report()
    if device.type == "cuda":
        from entorhinal.benchmarks import bench_sic, bench_supervised

        bench_supervised.report()
        bench_sic.report()


if __name__ == "__main__":
    main()
