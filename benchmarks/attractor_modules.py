"""What do coupled sheets say of place?  The lattice of each in metres and the torus of its states, kept as a CSV file.

    python -m entorhinal.benchmarks.attractor_modules [--device DEVICE] [--out FOLDER]

Kang & Balasubramanian's sheets, coupled and not, follow 15 walks of 20 s from the origin at rat-like speed (mean
0.2 m/s, 2 m box). Of each sheet:

spacing_m, orientation_rad  its lattice in space: the lattice on the sheet, and the linear map that best takes its
                            displacement (`lattice_displacement`) to that of the animal;
error_m                     median distance of the place that it says from the true one;
apart_m                     median distance of that place from the one that the sheet before it says;
is_torus, betti_0 ... _2    topology of the recorded units' rates (`entorhinal.analysis.torus`, 600 points of 15,000
                            moments, 100 rolls);
rolled_is_torus             the same after every unit is rolled in time by itself: a control, which must be none.

The walks take a minute or two on a GPU, half an hour on one core; the topology of a sheet two minutes of one core, and
there are 24. Set OMP_NUM_THREADS to 1: sheets are judged side by side.
"""

import argparse
import json
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from entorhinal.analysis import fourier_lattices, torus
from entorhinal.benchmarks.attractor_paths import LONG_PATHS
from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.benchmarks.records import provenance
from entorhinal.benchmarks.seeds import derive
from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.continuous_attractor.kang_balasubramanian import KangBalasubramanian
from entorhinal.families.continuous_attractor.lattice import lattice_displacement
from entorhinal.families.world import Arena, Trajectories, World

__all__ = ["NAME", "RUNS", "follow_sheets", "measure", "run"]

NAME = "kang_balasubramanian_modules"
RUNS: dict[str, dict[str, Any]] = {"coupled": {}, "uncoupled": {"coupling": 0.0}}
TRIALS, STEPS, SIDE_M, SPEED_M_S = 15, 1000, 2.0, 0.2
CHUNK_STEPS, POINTS, ROLLS, PERIODS = 25, 600, 100, 3.5


def follow_sheets(model: KangBalasubramanian, walk: Trajectories) -> tuple[Tensor, Tensor]:
    """Displacement of every network's lattice in neurons ``(h, B, T, 2)``, and the recorded rates ``(B, T, N)``."""
    state = model.initial_state(walk.start_m)
    sheets, window = [state], model.envelope.cpu()
    rates: list[Tensor] = []
    moved: list[Tensor] = []
    for t in range(walk.steps):
        found = model.represent(walk.chunk(t, t + 1), sheets[-1])
        sheets.append(found.state)
        rates.append(found.rates)
        if len(sheets) > CHUNK_STEPS or t == walk.steps - 1:
            path = torch.stack(sheets, 1).unbind(2)
            each = [lattice_displacement(*pair, window)[:, 1:] for pair in zip(path, model.settled, strict=True)]
            moved.append(torch.stack(each) + (moved[-1][:, :, -1:] if moved else 0))
            sheets = sheets[-1:]
    return torch.cat(moved, 2), torch.cat(rates, 1)


def measure(model: KangBalasubramanian, moved: Tensor, position_m: Tensor) -> pd.DataFrame:
    """A row a network: its lattice in space and how well it knows the place.

    moved: in neurons ``(h, B, T, 2)``. position_m: ``(B, T, 2)`` of walks from the origin.
    """
    on_sheet = fourier_lattices(model.settled, 1.0).basis_m.double()
    true_m, said_m, basis_m = position_m.double().cpu(), [], []
    for displacement, basis in zip(moved.double().cpu(), on_sheet, strict=True):
        metres = torch.linalg.lstsq(displacement.flatten(0, 1), true_m.flatten(0, 1)).solution  # of a neuron, (2, 2)
        said_m.append(displacement @ metres)
        basis_m.append(basis @ metres)
    first = torch.stack(basis_m)[:, 0]
    places_m = torch.stack(said_m)
    apart = (places_m[1:] - places_m[:-1]).norm(dim=-1).flatten(1).median(1).values
    return pd.DataFrame(
        {
            "network": range(1, len(moved) + 1),
            "spacing_neurons": on_sheet.norm(dim=-1).mean(-1).numpy(),
            "spacing_m": torch.stack(basis_m).norm(dim=-1).mean(-1).numpy(),
            "orientation_rad": torch.atan2(first[:, 1], first[:, 0]).numpy() % (torch.pi / 3),
            "error_m": (places_m - true_m).norm(dim=-1).flatten(1).median(1).values.numpy(),
            "apart_m": [float("nan"), *apart.tolist()],
        }
    )


def topology(rates: Tensor, seed: int) -> tuple[float, ...]:
    """Of rates ``(B, T, N)``: whether they are a torus, and the Betti numbers."""
    found = torus(
        rates,
        periods=PERIODS,
        points=POINTS,
        moments=rates.shape[0] * rates.shape[1],
        rolls=ROLLS,
        generator=torch.Generator().manual_seed(derive(seed, "attractor_modules", "null")),
    )
    return float(found.is_torus), *found.betti.double().tolist()


def _rolled(rates: Tensor, seed: int) -> Tensor:
    """Rates ``(B, T, N)``, trials end to end, every unit rolled in time by itself."""
    joined = rates.flatten(0, 1)
    shift = torch.randint(len(joined), joined.shape[1:], generator=torch.Generator().manual_seed(seed))
    place = (torch.arange(len(joined))[:, None] + shift) % len(joined)
    return joined.gather(0, place).unflatten(0, rates.shape[:2])


def run(
    name: str, device: torch.device, pool: Executor, *, trials: int = TRIALS, steps: int = STEPS
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A row a network of one system, and what was run."""
    begun, code = time.perf_counter(), provenance()
    model = KangBalasubramanian.make(**RUNS[name]).to(device)
    start_m, seed = torch.zeros(trials, 2), derive(0, "attractor_modules", "walk")
    walk = World(Arena.square(SIDE_M)).walk(trials, steps, seed=seed, speed_m_s=SPEED_M_S, start_m=start_m)
    with torch.inference_mode():
        moved, rates = follow_sheets(model, walk.to(device))
    table = measure(model, moved, walk.position_m)
    sheets = list(rates.cpu().unflatten(-1, (model.config.networks, -1)).unbind(2))
    rolled = [_rolled(sheet, derive(z, "attractor_modules", "rolled")) for z, sheet in enumerate(sheets)]
    found = list(pool.map(topology, sheets + rolled, 2 * list(range(len(sheets)))))
    columns = ["is_torus", "betti_0", "betti_1", "betti_2"]
    table[columns] = found[: len(sheets)]
    table["rolled_is_torus"] = [is_torus for is_torus, *_ in found[len(sheets) :]]
    said = {"run": name, "config": model.config.model_dump(mode="json"), "seconds": time.perf_counter() - begun}
    return table.assign(run=name), said | code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=LONG_PATHS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = choose_device(options.device)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        systems = track(RUNS, "following", console=Console(stderr=True))
        tables, said = zip(*(run(name, device, pool) for name in systems), strict=True)
    text: str = pd.concat(tables, ignore_index=True).round(5).to_csv(index=False)
    write_atomically(options.out / f"{NAME}.csv", text.encode())
    write_atomically(options.out / f"{NAME}.json", (json.dumps(said, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
