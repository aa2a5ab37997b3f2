"""How are settings compared?  A TOML file says what varies; networks that may train side by side do.

    model = "ssl/sic"
    preset = "tiny"              # optional
    seeds = 3                    # how many, or a list
    population = 12              # at most so many networks side by side
    precision = "tf32"           # optional, as is data_seed
    minutes = 25                 # optional: of training, after which networks side by side end where they are
    tasks = ["generalization"]   # optional: score each network, too

    [set]                        # for all
    steps = 2000

    [grid]                       # every combination ...
    lr = [2e-4, 5e-4]
    conformal_weight = [0.001, 0.01]

    # ... or [random] with samples = 20, seed = 0, and for each key a list to choose from or {low, high, log = true},
    # ... or [[list]] tables, one for each setting.

Every network is named by the hash of its model and whole config, so a rerun, of this file or of a longer one, trains
only what is missing. ``sweep.csv`` has a row for each network, those that failed included.
"""

import json
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from entorhinal.benchmarks.evaluation import evaluate
from entorhinal.benchmarks.population import may_differ, recipe_of
from entorhinal.benchmarks.tasks import get_task
from entorhinal.benchmarks.training import Stopped, TrainingProgress, network_names, train
from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.errors import InputError, unknown
from entorhinal.families.registry import get_class

__all__ = ["Network", "Sweep", "run_sweep"]


@dataclass(frozen=True)
class Network:
    """One network of a sweep: its whole config, what of it varies in the sweep, and its name."""

    name: str
    config: dict[str, Any]
    varied: dict[str, Any]

    @property
    def shown(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.varied.items())


class _Range(BaseModel):
    """Numbers between low and high, evenly or evenly in the logarithm."""

    model_config = ConfigDict(extra="forbid")
    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        if self.log:
            return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        return float(rng.uniform(self.low, self.high))


class Sweep(BaseModel):
    """What a sweep's file says."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    model: str
    preset: str = ""
    seeds: int | list[int] = Field(1)
    population: int = Field(12, ge=1)
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    data_seed: int = 0
    minutes: float | None = Field(None, gt=0)
    tasks: list[str] = []
    fixed: dict[str, Any] = Field({}, alias="set")
    grid: dict[str, list[Any]] = {}
    random: dict[str, Any] = {}
    listed: list[dict[str, Any]] = Field([], alias="list")

    @classmethod
    def read(cls, path: Path) -> "Sweep":
        """From a TOML file; whatever is wrong raises `InputError` naming file and field."""
        try:
            values = tomllib.loads(path.read_text())
        except OSError:
            raise InputError(f"sweep {str(path)!r}: no such file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"sweep {str(path)!r} is not TOML: {error}") from None
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in values:
            if key not in known:
                raise unknown(f"key of sweep {str(path)!r}:", key, known)
        try:
            plan = cls(**values)
            plan.networks()
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"sweep {str(path)!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except InputError as error:
            raise InputError(f"sweep {str(path)!r}: {error}") from None
        return plan

    def settings(self) -> list[dict[str, Any]]:
        """What varies, for each setting."""
        if sum(map(bool, (self.grid, self.random, self.listed))) > 1:
            raise InputError("give one of [grid], [random] and [[list]]")
        if self.listed:
            return self.listed
        if self.random:
            keys = {key: value for key, value in self.random.items() if key not in ("samples", "seed")}
            if not isinstance(self.random.get("samples"), int) or self.random["samples"] < 1:
                raise InputError("[random] needs samples, a whole number of settings to draw")
            rng = np.random.default_rng(self.random.get("seed", 0))
            return [{key: _draw(key, value, rng) for key, value in keys.items()} for _ in range(self.random["samples"])]
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]

    def networks(self) -> list[Network]:
        """All networks: every setting with every seed."""
        cls = get_class(self.model)
        base = (cls.preset(self.preset) if self.preset else {}) | self.fixed
        bases = list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
        for task in self.tasks:
            get_task(task)
        found: dict[str, Network] = {}
        for setting in self.settings():
            for seed in bases:
                made = cls.Config.parse(cls.card.id, base | setting | {"seed": seed})
                config = made.model_dump(mode="json")
                key = json.dumps([cls.card.id, config, self.data_seed, self.precision], sort_keys=True)
                name = sha256(key.encode()).hexdigest()[:12]
                found.setdefault(name, Network(name, config, setting | {"seed": seed}))
        if not found:
            raise InputError("there is nothing to run: no seeds, or an empty list in [grid]")
        recipe_of(cls.make(**next(iter(found.values())).config))
        return list(found.values())

    def populations(self, folder: Path) -> list[list[Network]]:
        """The networks still missing in ``folder``, in groups that may train side by side."""
        cls = get_class(self.model)
        groups: dict[str, list[Network]] = {}
        for network in self.networks():
            if not _outcome(folder, network):
                free = may_differ(cls.make(**network.config))
                shared = {key: value for key, value in network.config.items() if key not in free}
                groups.setdefault(json.dumps(shared, sort_keys=True), []).append(network)
        return [
            group[i : i + self.population] for group in groups.values() for i in range(0, len(group), self.population)
        ]


def _draw(key: str, value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, list) and value:
        return value[int(rng.integers(len(value)))]
    try:
        return _Range.model_validate(value).draw(rng)
    except ValidationError:
        raise InputError(
            f"[random] {key} = {value!r}: give a list, or {{low, high}} with log = true if wanted"
        ) from None


def _outcome(folder: Path, network: Network) -> str:
    """ok, stopped, or nothing yet."""
    if (folder / "networks" / f"{network.name}.json").exists():
        return "ok"
    return "stopped" if (folder / "networks" / f"{network.name}.stopped.json").exists() else ""


def run_sweep(
    plan: Sweep,
    folder: Path,
    *,
    device: str = "auto",
    progress: Callable[[str], AbstractContextManager[TrainingProgress]],
) -> pd.DataFrame:
    """Train what is missing, score it if the plan has tasks; returns, and writes to ``sweep.csv``, a row a network.

    A population that was interrupted goes on where it stopped. A network that stopped on a value that is not finite
    counts as done; delete ``networks/<name>.stopped.*`` to try it again.
    """
    networks = folder / "networks"
    groups = plan.populations(folder)
    for i, group in enumerate(groups):
        key = sha256("".join(network.name for network in group).encode()).hexdigest()[:12]
        run = folder / "running" / key
        description = f"population {i + 1} of {len(groups)} · {len(group)} networks"
        with progress(description) as report, suppress(Stopped):  # stopped: every network has its .stopped files
            train(
                plan.model,
                seeds=[0],
                config=[network.config for network in group],
                out=run,
                device=device,
                precision=plan.precision,
                data_seed=plan.data_seed,
                at_most_seconds=None if plan.minutes is None else 60 * plan.minutes,
                progress=report,
            )
        members = network_names([get_class(plan.model).make(**network.config) for network in group])
        networks.mkdir(parents=True, exist_ok=True)
        (run / "history.csv").replace(networks / f"{key}.history.csv")
        for network, member in zip(group, members, strict=True):
            for ending in (".safetensors", ".json"):  # the .json last: it says that the network is there
                for state in ("", ".stopped"):
                    if (made := run / f"{member}{state}{ending}").exists():
                        made.replace(networks / f"{network.name}{state}{ending}")
        for left in run.iterdir():
            left.unlink()
        run.rmdir()
    table = _table(plan, folder, device, progress)
    write_atomically(folder / "sweep.csv", table.to_csv(index=False).encode())
    return table


def _table(plan: Sweep, folder: Path, device: str, progress: Callable[[str], Any]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for network in plan.networks():
        status = _outcome(folder, network)
        path = folder / "networks" / f"{network.name}{'.stopped' * (status == 'stopped')}.json"
        trained = json.loads(path.read_text())["provenance"]["training"]
        row: dict[str, Any] = {"network": network.name, **network.varied, "status": status, "steps": trained["steps"]}
        row |= trained["losses"] | {"error": trained.get("stopped", "")}
        if plan.tasks and status == "ok":
            for record in evaluate(
                path,
                [get_task(task).id for task in plan.tasks],
                device=device,
                out=folder / "records",
                progress=progress,
            ):
                row |= {metric.name: metric.value for metric in record.metrics}
                if record.status != "ok":
                    row["error"] = record.error
        rows.append(row)
    return pd.DataFrame(rows)
