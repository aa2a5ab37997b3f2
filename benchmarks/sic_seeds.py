"""What did every seed of SIC learn?  A row a network: modules, joint code and losses, and ideal modules beside it.

    python -m entorhinal.benchmarks.sic_seeds CONDITION=FOLDER ... [--untrained CONDITION=FOLDER ...] [--device cuda]

A condition is a folder of checkpoints that `entorhinal train` made; ``--untrained`` judges the same configs before
training. `modules-v1` and `capacity-v1` judge as they do for any model. Besides:

- maps in walled boxes of 2 and 3 m, as `modules-v1` makes them in 4 m: the median score of the units that are in
  modules, and how far their spacing is from that in 4 m;
- code separation, as in `capacity-v1`, of `controls/ideal_grid` with its spacings, orientations and numbers of
  units;
- the four losses of `ssl/sic` on 8 batches of 16 walks, as the paper's walks are and with drift, of the network and of
  that ideal code beside a constant unit, whose share is the one of 16 with the lowest total.

Written to the folder after each network, in the place of any row of its condition and seed: ``networks.csv``,
``units.csv`` (of `modules-v1`) and ``rings.csv`` (code distance by distance, of `capacity-v1`). Minutes a network on
two cores, half a minute on a GPU.
"""

import argparse
import itertools
import json
import math
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from entorhinal.analysis import code_distances, code_separation, scores_and_lattices
from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.benchmarks.places import lattice_m
from entorhinal.benchmarks.records import hardware, provenance
from entorhinal.benchmarks.seeds import derive
from entorhinal.benchmarks.tasks.capacity import HALF, ORIGIN_HALF, ORIGINS, PITCH_M, Capacity
from entorhinal.benchmarks.tasks.map_run import run_maps
from entorhinal.benchmarks.tasks.modules import BINS, SMOOTHING_M, STEPS, TRIALS, UNITS, ModulesTask
from entorhinal.benchmarks.tasks.task import Recording, Result
from entorhinal.families.checkpoint import load, weights_sha256, write_atomically
from entorhinal.families.controls.ideal_grid import IdealGrid
from entorhinal.families.errors import InputError
from entorhinal.families.model import Model
from entorhinal.families.world import Arena, World
from entorhinal.ssl.architecture import rectified_unit
from entorhinal.ssl.augmentations import permuted_positions
from entorhinal.ssl.sic import SIC
from entorhinal.ssl.sic_losses import sic
from entorhinal.ssl.sic_modular import SICModular

__all__ = ["SEARCH", "SEEDS", "ideal_of", "ideal_separation", "judge", "losses"]

SEEDS = Path(__file__).parent / "sic_seeds"
"""What was found in the networks of the project."""

SEARCH = Path(__file__).parent / "sic_search"
"""Tables of the search that led to them, of docs/sic_search.md."""

SIDES_M = (2.0, 3.0)
BATCHES, WALKS, DRIFT_M, CONSTANTS = 8, 16, 0.15, torch.linspace(0, 1.5, 16)


@dataclass(frozen=True)
class Judged:
    """A network's row, and the rows of its units and of its rings of code distance."""

    network: dict[str, Any]
    units: pd.DataFrame
    rings: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Into the tables of a folder, in the place of this network's rows; the others stay."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in {"networks": pd.DataFrame([self.network]), "units": self.units, "rings": self.rings}.items():
            path = folder / f"{name}.csv"
            if path.exists():
                there = pd.read_csv(path)
                same = (there["condition"] == self.network["condition"]) & (there["seed"] == self.network["seed"])
                rows = pd.concat((there[~same], rows), ignore_index=True)
            rows = rows.sort_values(["condition", "seed"], kind="stable")
            write_atomically(path, rows.round(5).to_csv(index=False).encode())


def judge(path: Path, condition: str, *, trained: bool = True, device: str = "auto") -> Judged:
    """All of the above for one checkpoint, or for its config before training."""
    model: Any = load(path)
    if not isinstance(model, SIC):
        raise InputError(f"checkpoint {str(path)!r} is {model.card.id}; give networks of ssl/sic or a variant")
    if not trained:
        model = type(model)(model.config).eval()
    where = choose_device(device)
    named = {"condition": condition, "seed": model.config.seed}
    sha = weights_sha256(model)
    model = model.to(where)
    with torch.inference_mode():
        found = _task(ModulesTask(), model, where)
        code = _task(Capacity(), model, where)
        row: dict[str, Any] = named | {"trained": trained, "steps": _steps(path) if trained else 0}
        row |= {"weights_sha256": sha} | _scores(found) | _metrics(found, _MODULES)
        units = pd.DataFrame({name: value.tolist() for name, value in _unit_columns(found).items()})
        for side_m in SIDES_M:
            row |= _box(model, found, side_m, where)
        row |= _metrics(code, _CODE)
        ideal = ideal_of(units)
        row["ideal_code_separation"] = math.nan if ideal is None else ideal_separation(ideal.to(where))
        for name, drift_m in (("", 0.0), ("_drift", DRIFT_M)):
            row |= {f"{term}{name}": value for term, value in losses(model, None, drift_m).items()}
            if ideal is not None:
                row |= {f"ideal_{term}{name}": value for term, value in losses(model, ideal, drift_m).items()}
    said = provenance()
    row |= {"commit": said["commit"], "dirty": said["dirty"], "hardware": hardware(where)}
    rings = {name: code.arrays[f"ring_{name}"].tolist() for name in ("minimum", "median", "mean")}
    curves = pd.DataFrame({"distance_m": [PITCH_M * (k + 0.5) for k in range(len(rings["mean"]))]} | rings)
    return Judged(row, _named(units, named), _named(curves, named))


def _steps(path: Path) -> int:
    """For how many a checkpoint was trained: fewer than its config has, where time ended the run."""
    description = json.loads(path.with_suffix(".json").read_text())
    return int(description["provenance"].get("training", description["config"])["steps"])


_MODULES = ("active_units", "grid_units", "module_count", "independent_modules", "coherence_min", "discreteness_p",
            "cross_prediction_max", "module_fraction", "spacing_m_1", "spacing_m_2", "spacing_m_3", "spacing_m_4",
            "split_half_stability", "phases_uniform_part")  # fmt: skip
_CODE = ("code_separation", "min_over_median", "path_coherence", "half_rise_m", "joint_range_m", "repeat_fraction")


def _named(table: pd.DataFrame, named: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(named, index=table.index).join(table)


def _task(task: Any, model: Model, device: torch.device) -> Result:
    found: Result = task.run(model, seed=0, device=device, recording=Recording(), progress=lambda done, total: None)
    return found


def _metrics(result: Result, names: Iterable[str]) -> dict[str, float]:
    values = {metric.name: math.nan if metric.value is None else metric.value for metric in result.metrics}
    return {name: values[name] for name in names}


def _scores(result: Result) -> dict[str, float]:
    """Median score of the active and of the grid units."""
    score, threshold = result.arrays["score"], result.arrays["threshold"]
    grid = score > threshold
    return {"median_score": float(score.nanmedian()), "median_grid_score": float(score[grid].nanmedian())}


def _unit_columns(result: Result) -> dict[str, Tensor]:
    kept = ("units", "labels", "score", "threshold", "spacing_m", "orientation_rad")
    columns = {{"units": "unit", "labels": "module"}.get(name, name): result.arrays[name].cpu() for name in kept}
    phase = result.arrays["phase"].cpu()
    return columns | {"phase_1": phase[:, 0], "phase_2": phase[:, 1]}


def _box(model: Model, found: Result, side_m: float, device: torch.device) -> dict[str, float]:
    """Median score in another box of the units in modules, and the median change of their spacing from 4 m."""
    walk = World(Arena.square(side_m)).walk(
        TRIALS, STEPS, seed=derive(0, "sic_seeds", f"box {side_m:g}"), start_m=torch.zeros(TRIALS, 2)
    )
    run = run_maps(
        model, walk.to(device), bins=BINS, smoothing_m=SMOOTHING_M, at_most=UNITS, every=STEPS, seed=0,
        report=lambda part: None,
    )  # fmt: skip
    own = found.arrays["labels"] >= 0
    name = f"{side_m:g}m"
    if not own.any():
        return {f"median_score_{name}": math.nan, f"spacing_change_{name}": math.nan}
    place = {int(unit): k for k, unit in enumerate(run.units)}
    index = torch.tensor([place[int(unit)] for unit in found.arrays["units"][own]], device=device)
    score, lattice = scores_and_lattices(run.whole.values[index], run.whole.bin_m)
    change = (lattice.spacing_m / found.arrays["spacing_m"][own].to(lattice.spacing_m) - 1).abs()
    return {f"median_score_{name}": float(score.nanmedian()), f"spacing_change_{name}": float(change.nanmedian())}


def ideal_of(units: pd.DataFrame) -> IdealGrid | None:
    """`controls/ideal_grid` with the modules of ``units`` (columns module, spacing_m, orientation_rad), if any."""
    modules = units[units["module"] >= 0].groupby("module")
    if not len(modules):
        return None
    return IdealGrid.make(
        spacing_m=tuple(modules["spacing_m"].median()),
        orientation_rad=tuple(modules["orientation_rad"].apply(_mean_orientation)),
        units_per_module=tuple(modules.size()),
    )


def _mean_orientation(angle_rad: "pd.Series[float]") -> float:
    """Of lattices, which are the same after a sixth of a turn."""
    sixfold = torch.polar(torch.ones(len(angle_rad)), 6 * torch.tensor(angle_rad.to_numpy()).float())
    return float(sixfold.sum().angle()) / 6


def ideal_separation(ideal: IdealGrid) -> float:
    """Smallest over median code distance 0.3 to 4 m from 20 origins near the middle; no walks, as it errs on none."""
    lattice = lattice_m(HALF, PITCH_M, ideal.wave_rad_m.device).float()
    middle = slice(HALF - ORIGIN_HALF, HALF + ORIGIN_HALF + 1)
    origins_m = lattice[middle, middle].flatten(0, 1)
    generator = torch.Generator().manual_seed(derive(0, "sic_seeds", "origins"))
    origins_m = origins_m[torch.randperm(len(origins_m), generator=generator)[:ORIGINS].to(origins_m.device)]
    place_m = lattice.flatten(0, 1)
    codes, reach_m = ideal.rates_at(place_m), PITCH_M * (HALF - ORIGIN_HALF) + 1e-6
    found = [
        code_separation(code_distances(ideal.rates_at(origin_m)[None], codes), place_m - origin_m, most_m=reach_m).ratio
        for origin_m in origins_m
    ]
    return float(torch.cat(found).mean())


def losses(model: SIC, ideal: IdealGrid | None, drift_m: float) -> dict[str, float]:
    """The terms of `ssl/sic` on walks that drift by up to ``drift_m`` a step: of the model, or of an ideal code.

    The ideal code is that of the modules and a constant unit, on the unit sphere; of `CONSTANTS` (in units of the mean
    norm of the modules) the one with the lowest total.
    """
    device = model.initial.device
    small = {"units": 8, "hidden": 1, "ideal_start": False, "constants": 0, "ramp_start": 0, "ramp_steps": 1}
    walks = SICModular.make(**small, drift_m=drift_m, trajectories=WALKS)
    data = walks.training_data(World(Arena.square(2.0, walls=False)), derive(0, "sic_seeds", "losses") % 2**62, 2)
    found: list[list[dict[str, Tensor]]] = []
    for batch in itertools.islice(data, BATCHES):
        batch = {name: value.to(device) for name, value in batch.items()}
        if ideal is None:
            states, _ = model.unrolled(batch)
            found.append([_terms(model, states, rectified_unit(model.initial), batch)])
            continue
        rates = ideal.rates_at(permuted_positions(batch["velocity_m"], batch["order"]))
        start = ideal.rates_at(rates.new_zeros(2))
        shares = (CONSTANTS * float(rates.norm(dim=-1).mean())).tolist()
        found.append([_terms(model, _sphere(rates, level), _sphere(start, level), batch) for level in shares])
    means = [
        {name: torch.stack([terms[k][name] for terms in found]).mean().item() for name in found[0][0]}
        for k in range(len(found[0]))
    ]
    return min(means, key=lambda terms: terms["total"])


def _terms(model: SIC, states: Tensor, initial: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The four terms and their total, weighted as in the model, of any states ``(B, T, N)`` on a batch's walks."""
    step_m = batch["velocity_m"][batch["order"]]
    return sic(
        states, initial, step_m.cumsum(1), step_m, near_m=model.near_m, separation_width=model.separation_width,
        weights={n: getattr(model, f"{n}_weight") for n in ("separation", "invariance", "capacity", "conformal")},
        min_step_m=model.config.conformal_min_step_m, max_step_m=model.config.conformal_max_step_m,
    )  # fmt: skip


def _sphere(rates: Tensor, constant: float) -> Tensor:
    code = torch.cat((rates, torch.full_like(rates[..., :1], constant)), -1)
    return code / code.norm(dim=-1, keepdim=True)


def _checkpoints(conditions: Iterable[str], trained: bool) -> list[tuple[Path, str, bool]]:
    found = []
    for each in conditions:
        name, equals, folder = each.partition("=")
        paths = [p for p in sorted(Path(folder).glob("*.safetensors")) if p.with_suffix(".json").exists()]
        if not equals or not paths:
            raise InputError(f"{each!r}: give NAME=FOLDER, a folder that holds checkpoints")
        found += [(path, name, trained) for path in paths]
    return found


def _judge(device: str, job: tuple[Path, str, bool]) -> Judged:
    path, condition, trained = job
    return judge(path, condition, trained=trained, device=device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("conditions", nargs="*", metavar="CONDITION=FOLDER")
    parser.add_argument("--untrained", nargs="*", default=[], metavar="CONDITION=FOLDER")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--out", type=Path, default=SEEDS)
    options = parser.parse_args()
    jobs = _checkpoints(options.conditions, True) + _checkpoints(options.untrained, False)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        found = pool.map(partial(_judge, options.device), jobs)
        for judged in track(found, "judging", len(jobs), console=Console(stderr=True)):
            judged.write(options.out)


if __name__ == "__main__":
    main()
