"""How is a model scored?  `evaluate` runs tasks on a model and returns one record a task and seed."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entorhinal.benchmarks.records import Record, config_hash, distribution, hardware, now, provenance
from entorhinal.benchmarks.tasks import SUITES, get_task
from entorhinal.benchmarks.tasks.task import Progress, Recording, Task
from entorhinal.families.checkpoint import load, weights_sha256
from entorhinal.families.errors import InputError
from entorhinal.families.model import Fittable, Model
from entorhinal.families.registry import entries, get_class
from entorhinal.families.world import Arena, World

__all__ = ["choose_device", "evaluate", "prepare"]


def choose_device(device: str = "auto") -> torch.device:
    """``auto`` is a CUDA device if there is one, else the CPU; a device that is not there raises `InputError`."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used: {first}; give 'auto', 'cpu' or 'cuda'") from None
    return chosen


def prepare(
    model: str | Path | Model,
    *,
    device: torch.device,
    seed: int | None = None,
    config: dict[str, Any] | None = None,
) -> Model:
    """A model ready to be scored: made or loaded, seeded, fitted, on its device and in evaluation mode.

    model: an id, a checkpoint's path, or a model. seed replaces the ``seed`` of an id's config where it has one.
    """
    values = dict(config or {})
    if isinstance(model, Model) or Path(model).suffix in (".safetensors", ".json"):
        if values:
            raise InputError(f"a model or checkpoint has its own config; leave out {', '.join(values)}")
        ready = model if isinstance(model, Model) else load(model)
    else:
        cls = get_class(str(model))
        if seed is not None and "seed" in cls.Config.model_fields:
            values = {"seed": seed} | values
        ready = cls.make(**values)
    if isinstance(ready, Fittable):
        ready.fit(World(Arena.square(ready.card.training_extent_m or 2.2)))
    return ready.to(device).eval()


def evaluate(
    model: str | Path | Model,
    tasks: Iterable[str] = SUITES["core"],
    *,
    seeds: int | Sequence[int] = (0,),
    device: str = "auto",
    out: str | Path | None = None,
    config: dict[str, Any] | None = None,
    recording: Recording | None = None,
    progress: Callable[[str], AbstractContextManager[Progress]] | None = None,
) -> list[Record]:
    """Score a model: one `Record` for each task and seed.

    model: an id, the path of a checkpoint, or a `Model`. Given an id whose config has a ``seed``, every seed makes
        another model: the replicate is the model, never the unit.
    seeds: base seeds, or how many (0, 1, ...).
    out: folder to write records to. What is there already is read, not computed again, except failed runs.
    config: config keywords for an id.
    recording: the recorded path that tasks use, if not the standard one.
    progress: opens a progress bar for one run, by its description.

    A run that raises becomes a record with status ``failed``; bad input raises `InputError` at once.
    """
    chosen = [get_task(name) for name in tasks]
    bases = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not bases or not chosen:
        raise InputError("evaluate: give at least one task and one seed")
    where = choose_device(device)
    folder = None if out is None else Path(out)
    records = []
    for seed in bases:
        ready = prepare(model, seed=seed, device=where, config=config)
        for task in chosen:
            with (progress or _silent)(f"{ready.card.id} · {task.id} · seed {seed}") as report:
                records.append(_run(ready, task, seed, where, recording or Recording(), folder, report))
    return records


@contextmanager
def _silent(description: str) -> Any:
    yield lambda done, total: None


def _run(
    model: Model,
    task: Task,
    seed: int,
    device: torch.device,
    recording: Recording,
    folder: Path | None,
    progress: Progress,
) -> Record:
    card, config = model.card, model.config.model_dump(mode="json")
    weights, condition = weights_sha256(model), config_hash(card.id, config)
    slug = f"{card.id.replace('/', '.')}.{task.id}"
    other = "" if recording == Recording() else f"/{recording.name}"
    replicate = sha256(f"{config.get('seed')}/{weights}/{seed}{other}".encode()).hexdigest()
    run_id = f"{slug}.{condition[:6]}.{replicate[:6]}"
    if folder is not None and (path := folder / f"{run_id}.json").exists():
        return Record.read(path)
    entry = entries().get(card.id)
    fields: dict[str, Any] = {
        "run_id": run_id,
        "model": card.id,
        "distribution": distribution(entry.provider if entry else type(model).__module__),
        "config": config,
        "config_hash": condition,
        "weights_sha256": weights,
        "task": task.id,
        "seed": seed,
        "recording": recording.name,
        "hardware": hardware(device),
        "precision": "float32",
        "created": now(),
        **provenance(),
    }
    arrays: dict[str, Tensor] = {}
    reason = task.why_not(model)
    if reason is None and task.id.rpartition("-v")[0] not in card.tasks:
        reason = "the model's card does not list this task"
    if reason is not None:
        record = Record(status="not applicable", error=reason, **fields)
    else:
        begun = time.perf_counter()
        try:
            result = task.run(model, seed=seed, device=device, recording=recording, progress=progress)
        except InputError:
            raise
        except Exception as error:
            fields["run_id"] = f"{run_id}.failed.{time.time_ns()}"
            record = Record(status="failed", error=f"{type(error).__name__}: {error}", **fields)
        else:
            arrays = result.arrays
            seconds = round(time.perf_counter() - begun, 3)
            record = Record(status="ok", metrics=tuple(result.metrics), seconds=seconds, **fields)
    return record if folder is None else record.write(folder, arrays)[0]
