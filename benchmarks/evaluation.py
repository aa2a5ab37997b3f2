"""How is a model scored?  `evaluate` runs tasks on a model and returns one record a task and seed."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entorhinal.benchmarks.conditions import Condition, has_seed
from entorhinal.benchmarks.records import Record, config_hash, distribution, hardware, now, provenance
from entorhinal.benchmarks.tasks import SUITES, get_task
from entorhinal.benchmarks.tasks.task import Progress, Recording, Task
from entorhinal.families.checkpoint import load, weights_sha256
from entorhinal.families.errors import InputError
from entorhinal.families.model import Card, Fittable, Model
from entorhinal.families.registry import entries, get_class
from entorhinal.families.world import Arena, World

__all__ = ["choose_device", "evaluate", "evaluate_all", "prepare"]


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
    if _is_id(model):
        ready = get_class(str(model)).make(**_seeded(str(model), seed, values))
    else:
        if values:
            raise InputError(f"a model or checkpoint has its own config; leave out {', '.join(values)}")
        ready = model if isinstance(model, Model) else load(str(model))
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
    keep_going: bool = False,
) -> list[Record]:
    """Score a model: one `Record` for each task and seed.

    model: an id, the path of a checkpoint, or a `Model`. Given an id whose config has a ``seed``, every seed makes
        another model: the replicate is the model, never the unit.
    seeds: base seeds, or how many (0, 1, ...).
    out: folder to write records to. What is there already is read, not computed again, except failed runs.
    config: config keywords for an id.
    recording: the recorded path that tasks use, if not the standard one.
    progress: opens a progress bar for one run, by its description.
    keep_going: a task that refuses its input leaves a failed record, too.

    A run that raises becomes a record with status ``failed``, and so does each task of a model that cannot be made;
    bad input raises `InputError` at once.
    """
    chosen = [get_task(name) for name in tasks]
    bases = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not bases or not chosen:
        raise InputError("evaluate: give at least one task and one seed")
    where = choose_device(device)
    folder = None if out is None else Path(out)
    path = recording or Recording()
    records = []
    for seed in bases:
        try:
            ready = prepare(model, seed=seed, device=where, config=config)
        except Exception as error:
            if isinstance(error, InputError) or not _is_id(model):
                raise
            records += [_not_made(str(model), config or {}, task, seed, where, path, folder, error) for task in chosen]
            continue
        for task in chosen:
            records.append(_run(ready, task, seed, where, path, folder, progress or _silent, keep_going))
    return records


def evaluate_all(
    conditions: Sequence[Condition],
    tasks: Sequence[str],
    *,
    seeds: int = 1,
    device: str = "auto",
    progress: Callable[[str], AbstractContextManager[Progress]] | None = None,
    **options: Any,
) -> tuple[list[Record], dict[str, str]]:
    """`evaluate` each condition, and go on where one fails.

    seeds: base seeds 0, 1, ... of models with a seed; deterministic models and trained networks are run once.
    options: ``out`` and ``recording`` of `evaluate`.

    Returns the records, and why a condition has none, by its name (a plugin that cannot be imported, say).
    """
    choose_device(device)
    for task in tasks:
        get_task(task)
    records: list[Record] = []
    left_out = {}
    for number, condition in enumerate(conditions, 1):

        def numbered(text: str, number: int = number) -> AbstractContextManager[Progress]:
            return (progress or _silent)(f"{number}/{len(conditions)} {text}")

        try:
            records += evaluate(
                condition.source,
                tasks,
                seeds=condition.replicates(seeds),
                device=device,
                config=condition.config,
                progress=numbered,
                keep_going=True,
                **options,
            )
        except InputError as error:
            left_out[condition.name] = str(error)
    return records, left_out


def _is_id(model: str | Path | Model) -> bool:
    return not isinstance(model, Model) and Path(model).suffix not in (".safetensors", ".json")


@contextmanager
def _silent(description: str) -> Any:
    yield lambda done, total: None


def _seeded(model: str, seed: int | None, config: dict[str, Any]) -> dict[str, Any]:
    """The config with ``seed`` in it, where the model has one and the config does not say which."""
    return ({"seed": seed} if seed is not None and has_seed(model) else {}) | config


def _run(
    model: Model,
    task: Task,
    seed: int,
    device: torch.device,
    recording: Recording,
    folder: Path | None,
    progress: Callable[[str], AbstractContextManager[Progress]],
    keep_going: bool,
) -> Record:
    card = model.card
    fields = _fields(card, model.config.model_dump(mode="json"), weights_sha256(model), task, seed, device, recording)
    if folder is not None and (path := folder / f"{fields['run_id']}.json").exists():
        return Record.read(path)
    if card.id not in entries():
        fields["distribution"] = distribution(type(model).__module__)
    arrays: dict[str, Tensor] = {}
    reason = task.why_not(model)
    if reason is None and task.id.rpartition("-v")[0] not in card.tasks:
        reason = "the model's card does not list this task"
    if reason is not None:
        record = Record(status="not applicable", error=reason, **fields)
    else:
        begun = time.perf_counter()
        try:
            with progress(f"{card.id} · {task.id} · seed {seed}") as report:
                result = task.run(model, seed=seed, device=device, recording=recording, progress=report)
        except Exception as error:
            if isinstance(error, InputError) and not keep_going:
                raise
            record = _failed(fields, error)
        else:
            arrays = result.arrays
            seconds = round(time.perf_counter() - begun, 3)
            record = Record(status="ok", metrics=tuple(result.metrics), seconds=seconds, **fields)
    return record if folder is None else record.write(folder, arrays)[0]


def _not_made(
    model: str,
    config: dict[str, Any],
    task: Task,
    seed: int,
    device: torch.device,
    recording: Recording,
    folder: Path | None,
    error: Exception,
) -> Record:
    """The record of a task whose model could not be made: it has no weights."""
    cls = get_class(model)
    values = cls.Config.parse(model, _seeded(model, seed, config)).model_dump(mode="json")
    record = _failed(_fields(cls.card, values, "", task, seed, device, recording), error)
    return record if folder is None else record.write(folder)[0]


def _failed(fields: dict[str, Any], error: Exception) -> Record:
    run_id = f"{fields['run_id']}.failed.{time.time_ns()}"
    return Record(status="failed", error=f"{type(error).__name__}: {error}", **fields | {"run_id": run_id})


def _fields(
    card: Card,
    config: dict[str, Any],
    weights: str,
    task: Task,
    seed: int,
    device: torch.device,
    recording: Recording,
) -> dict[str, Any]:
    """All of a record that is known before its task is run."""
    condition = config_hash(card.id, config)
    slug = f"{card.id.replace('/', '.')}.{task.id}"
    other = "" if recording == Recording() else f"/{recording.name}"
    replicate = sha256(f"{config.get('seed')}/{weights}/{seed}{other}".encode()).hexdigest()
    entry = entries().get(card.id)
    return {
        "run_id": f"{slug}.{condition[:6]}.{replicate[:6]}",
        "model": card.id,
        "distribution": distribution(entry.provider) if entry else "",
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
