"""What did a run find?  One immutable JSON file per model, task and seed, with all one needs to trust or redo it."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from entorhinal import INTERFACE_VERSION, __version__
from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.errors import InputError, unknown
from entorhinal.families.registry import get_class

__all__ = [
    "CHECKPOINTS",
    "RELEASES",
    "SHIPPED",
    "Metric",
    "Record",
    "checkpoint",
    "checkpoint_config",
    "config_hash",
    "find_record",
    "load_records",
    "provenance",
    "read_records",
]

SHIPPED = Path(__file__).parent / "results"
"""The records that come with the project."""

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""The trained networks that come with the project: ``<name>.safetensors``, ``.json`` and ``.history.csv`` each."""

RELEASES = Path(__file__).parent / "releases"
"""Tables that were frozen, a folder a version: see `entorhinal.benchmarks.release`."""

SCHEMA: Literal[1] = 1
"""The version of the fields of a record."""

Direction = Literal["higher", "lower", "none"]


class Metric(BaseModel):
    """One number, or the reason why there is none.

    direction: which way is better, "none" where neither is. n: how many units or trials it is taken over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None
    unit: str = ""
    direction: Direction = "none"
    n: int = 0
    reason: str = ""

    @field_validator("value", mode="before")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value


class Record(BaseModel):
    """The result of one task on one model with one seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA
    run_id: str
    status: Literal["ok", "failed", "not applicable"]
    error: str = Field("", description="why it failed or does not apply")
    model: str
    distribution: str = Field(description="the package that provides the model, with its version")
    interface_version: int = INTERFACE_VERSION
    config: dict[str, Any]
    config_hash: str = Field(description="of the config without its seed, so that seeds of one condition share it")
    weights_sha256: str
    task: str
    seed: int = Field(description="base seed; all others are derived from it by name")
    recording: str = Field("sargolini", description="the recorded path that the task used")
    metrics: tuple[Metric, ...] = ()
    artifact_sha256: str = Field("", description="of the arrays beside this file, <run_id>.safetensors; empty if none")
    commit: str = ""
    dirty: bool = False
    software: dict[str, str] = {}
    hardware: str = ""
    threads: int = 0
    population_size: int = 1
    precision: str = "float32"
    seconds: float = 0.0
    created: str = ""
    digest: str = Field("", description="SHA-256 of all else in the file, so that an edit shows; older ones have none")

    @property
    def replicate(self) -> tuple[str, Any]:
        """Which of the models of one condition this is: its weights, and its config's seed if it has one."""
        return self.weights_sha256, self.config.get("seed")

    @property
    def key(self) -> tuple[Any, ...]:
        """What was run: model, config, replicate, task, base seed, recording."""
        return self.model, self.config_hash, self.replicate, self.task, self.seed, self.recording

    @property
    def key_without_weights(self) -> tuple[Any, ...]:
        """The key that the run would have had if its model could not have been made."""
        return self.model_copy(update={"weights_sha256": ""}).key

    def value(self, name: str) -> float:
        """The value of a metric, NaN where it has none; LookupError if there is no such metric."""
        for metric in self.metrics:
            if metric.name == name:
                return math.nan if metric.value is None else metric.value
        raise LookupError(f"record {self.run_id} has no metric {name!r}")

    @property
    def reasons(self) -> dict[str, str]:
        """Why each metric without a value has none."""
        return {metric.name: metric.reason for metric in self.metrics if metric.value is None}

    def write(self, folder: Path, arrays: dict[str, Tensor] | None = None) -> tuple[Self, Path]:
        """Write ``<run_id>.json``, and ``arrays`` beside it; returns the record as written and its path.

        A record is never changed: a run id that is already there raises `InputError`.
        """
        path = folder / f"{self.run_id}.json"
        if path.exists():
            raise InputError(f"record {str(path)!r} is already there and records are never changed; use another folder")
        record = self
        if arrays:
            content = save_tensors({name: array.detach().cpu().contiguous() for name, array in arrays.items()})
            write_atomically(path.with_suffix(".safetensors"), content)
            record = self.model_copy(update={"artifact_sha256": sha256(content).hexdigest()})
        record = record.model_copy(update={"digest": _digest(json.loads(record.model_dump_json()))})
        write_atomically(path, (record.model_dump_json(indent=1) + "\n").encode())
        return record, path

    @classmethod
    def read(cls, path: Path) -> Self:
        """A record from its file; a missing, truncated, edited or foreign one raises `InputError` that names it."""
        try:
            text = path.read_text()
            content = json.loads(text)
        except OSError:
            raise InputError(f"record {str(path)!r}: no such file") from None
        except ValueError as error:
            raise InputError(
                f"record {str(path)!r} is truncated or not a record: {error}; delete it and run again"
            ) from None
        version = content.get("schema_version") if isinstance(content, dict) else None
        if isinstance(version, int) and version != SCHEMA:
            way_out = "upgrade entorhinal" if version > SCHEMA else "run the task again"
            raise InputError(f"record {str(path)!r} has schema version {version}, and {SCHEMA} is read; {way_out}")
        try:
            record = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(
                f"record {str(path)!r} is not a record: {where or 'all of it'}: {first['msg']}; delete it and run again"
            ) from None
        if record.digest and record.digest != _digest(content):
            raise InputError(
                f"record {str(path)!r} was edited after it was written; restore it, or delete it and run again"
            )
        return record

    def arrays(self, folder: Path) -> dict[str, Tensor]:
        """The arrays written beside the record in ``folder``; missing or changed ones raise `InputError`."""
        path = folder / f"{self.run_id}.safetensors"
        content = path.read_bytes() if path.is_file() else b""
        if sha256(content).hexdigest() != self.artifact_sha256:
            raise InputError(f"arrays {str(path)!r}: missing, truncated or not those of the record; run the task again")
        return load_tensors(content)


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 of a record's JSON without its ``digest``, however it is laid out."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    return sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def config_hash(model: str, config: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that name a condition: the model id and its config without the seed."""
    condition = {key: value for key, value in config.items() if key != "seed"}
    return sha256(json.dumps([model, condition], sort_keys=True).encode()).hexdigest()[:12]


def load_records(folder: str | Path = SHIPPED) -> list[Record]:
    """All records under ``folder``, sorted by run id. A failed run gives way to one that succeeded, or failed later.

    A file that is no sound record, or two with one run id, raise `InputError`.
    """
    records, left_out = read_records(folder)
    if left_out:
        more = f" ({len(left_out) - 1} more like it)" if len(left_out) > 1 else ""
        raise InputError(left_out[0] + more)
    return records


def read_records(folder: str | Path = SHIPPED) -> tuple[list[Record], list[str]]:
    """`load_records`, and what was left out: one line for each file that is no sound record, with its path and why.

    Of several files with one run id none is read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"records: no folder {str(root)!r}; 'entorhinal run MODEL --out {root}' makes it")
    left_out: list[str] = []
    found: dict[str, dict[Path, Record]] = {}
    for path in sorted(root.glob("**/*.json")):
        try:
            record = Record.read(path)
        except InputError as error:
            left_out.append(str(error))
        else:
            found.setdefault(record.run_id, {})[path] = record
    for run_id, same in found.items():
        if len(same) > 1:
            paths = " and ".join(repr(str(path)) for path in same)
            left_out.append(f"records {paths} have one run id, {run_id!r}; delete all but one")
    records = [record for same in found.values() if len(same) == 1 for record in same.values()]
    done = {key for record in records if record.status != "failed" for key in (record.key, record.key_without_weights)}
    last = {record.key: record for record in records if record.status == "failed" and record.key not in done}
    return [record for record in records if record.status != "failed" or last.get(record.key) is record], left_out


def find_record(
    model: str, task: str, folder: str | Path = SHIPPED, *, seed: int = 0, config: dict[str, Any] | None = None
) -> Record:
    """The successful record of a model; `InputError` says which command makes a missing one.

    config: what differs from the default. The config's own seed does not count.
    """
    values = get_class(model).Config.parse(model, config or {}).model_dump(mode="json")
    wanted = model, config_hash(model, values), task, seed, "ok"
    for record in load_records(folder):
        if (record.model, record.config_hash, record.task, record.seed, record.status) == wanted:
            return record
    raise InputError(
        f"no record of {model} on {task} in {str(folder)!r}; "
        f"'entorhinal run {model} --tasks {task} --out {folder}' makes it"
    )


def checkpoint_config(name: str) -> dict[str, Any]:
    """The config of a trained network that comes with the project."""
    config: dict[str, Any] = json.loads(checkpoint(name).with_suffix(".json").read_text())["config"]
    return config


def checkpoint(name: str) -> Path:
    """The path of a trained network that comes with the project; an unknown one raises `InputError`."""
    path = CHECKPOINTS / f"{name}.safetensors"
    if not path.is_file():
        raise unknown("shipped checkpoint", name, [found.stem for found in CHECKPOINTS.glob("*.safetensors")])
    return path


@cache
def provenance() -> dict[str, Any]:
    """Fields of a record that say where it was made: commit, dirty, software, hardware, threads."""
    commit, dirty = _commit()
    names = ("torch", "numpy", "scipy")
    return {
        "commit": commit,
        "dirty": dirty,
        "software": {"python": platform.python_version(), "entorhinal": __version__} | {n: version(n) for n in names},
        "threads": torch.get_num_threads(),
    }


def distribution(provider: str) -> str:
    """A package's name with its version, or the provider as it is where it is no package."""
    if provider == "entorhinal":
        return f"entorhinal {__version__}"
    try:
        return f"{provider} {version(provider)}"
    except PackageNotFoundError:
        return provider


def hardware(device: torch.device) -> str:
    """The device's name, without the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit() -> tuple[str, bool]:
    """The commit and whether the tree differs from it; ``ENTORHINAL_COMMIT`` where git is absent."""
    root = Path(__file__).resolve().parents[1]
    given = os.environ.get("ENTORHINAL_COMMIT", "")
    if given:
        return given.removesuffix("-dirty"), given.endswith("-dirty")
    if not (root / ".git").exists():
        return "", False

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "", False


def by_condition(records: Iterable[Record]) -> dict[tuple[str, str, str], list[Record]]:
    """Records of one condition and task together: (model, config hash, task) -> its seeds."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.model, record.config_hash, record.task), []).append(record)
    return groups
