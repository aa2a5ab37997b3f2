"""How does a table stay what it was when it was cited?  Releases: tables frozen with the hashes of their records.

    python -m entorhinal.benchmarks.release VERSION [--dry-run]
    entorhinal table --release VERSION --verify

``benchmarks/releases/VERSION/`` holds every table as Markdown, CSV and LaTeX, ``references.bib``, ``manifest.json``:
code version and commit, the versions of tasks and models, the SHA-256 of every record, of the arrays kept beside it and
of every file of the release. The records themselves stay where they are, and are never changed.

A release is refused, with all reasons, where the checkout or a record is not of a clean commit, where a file is no
sound record, where a model that ships lacks a task of `SUITE` or has a failed run of it, and where a score differs from
that of an earlier release of the same versions: it needs a new version of its model or task. Times of ``cost`` are of a
machine and may differ. A trained model of which no network ships is in it if there are records of one; else its
manifest names the model.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from entorhinal import __version__
from entorhinal.benchmarks.citations import bibliography
from entorhinal.benchmarks.conditions import Condition, shipped
from entorhinal.benchmarks.records import RELEASES, SHIPPED, Record, by_condition, now, provenance, read_records
from entorhinal.benchmarks.tables import TABLES, leaderboard, render, stale
from entorhinal.benchmarks.tasks import suite
from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.errors import InputError
from entorhinal.families.registry import BUILT_IN

__all__ = ["SUITE", "differences", "find_release", "freeze", "problems", "released_records", "unrecorded"]

SUITE = "open-field-v1"
FORMATS = ("md", "csv", "tex")
MANIFEST = "manifest.json"
TIMED = "cost"


def problems(
    version: str, folder: Path = SHIPPED, releases: Path = RELEASES, conditions: Sequence[Condition] | None = None
) -> list[str]:
    """Why ``version`` cannot be frozen from the records in ``folder``, a line each; empty if it can.

    conditions: that must be in it; all built-in models as they ship, if None.
    """
    found = []
    if not re.fullmatch(r"\d+(\.\d+)+", version):
        found.append(f"version {version!r} is not of the form 1.0")
    if (releases / version).exists():
        found.append(f"release {version} is there already and releases are never changed; choose another version")
    code = provenance()
    if code["dirty"] or not code["commit"]:
        found.append("the checkout is not a clean commit; commit, then freeze")
    records, left_out = read_records(folder)
    found += left_out
    for record in records:
        if record.dirty or not record.commit:
            found.append(f"record {record.run_id} is not of a clean commit; delete it and run again")
        if why := stale(record):
            found.append(f"record {record.run_id} is stale: {why}; delete it and run the task again")
        if record.status == "failed":
            found.append(f"record {record.run_id} is of a failed run ({record.error}); run it again")
        if _arrays(record, folder) not in ("", record.artifact_sha256):
            found.append(f"record {record.run_id}: its arrays are not those that were written; restore them")
    found += _partial(records, shipped(BUILT_IN) if conditions is None else conditions)
    for other in sorted(releases.glob(f"*/{MANIFEST}")):
        found += _changed_scores(_read(other), _scores(records))
    return found


def _partial(records: Sequence[Record], conditions: Sequence[Condition]) -> list[str]:
    """Rows that lack a task: a line a model and config."""
    names = {(each.model, each.config_hash): each for each in conditions if not each.untrained}
    groups = by_condition(records)
    done: dict[tuple[str, str], set[str]] = {key: set() for key in names}
    for model, condition, task in groups:
        done.setdefault((model, condition), set()).add(task)
    lines = []
    for (model, condition), tasks in done.items():
        if missing := [task for task in suite(SUITE) if task not in tasks]:
            name = names[model, condition].name if (model, condition) in names else condition
            lines.append(f"{model} ({name}) has no record of {', '.join(missing)}; run them first")
    return lines


def freeze(
    version: str, folder: Path = SHIPPED, releases: Path = RELEASES, conditions: Sequence[Condition] | None = None
) -> Path:
    """Write the release and return its folder; `InputError` with all `problems` if there are any."""
    if why := problems(version, folder, releases, conditions):
        raise InputError("\n".join(why))
    records, _ = read_records(folder)
    files = _tables(records)
    manifest = {
        "release": version,
        "created": now(),
        "entorhinal": __version__,
        **{key: value for key, value in provenance().items() if key in ("commit", "software")},
        "tasks": list(suite(SUITE)),
        "models": {record.model: record.distribution for record in records},
        "not in it": unrecorded(records, conditions),
        "records": {
            record.run_id: {"sha256": _sha256(folder / f"{record.run_id}.json"), "arrays": _arrays(record, folder)}
            for record in records
        },
        "scores": _scores(records),
        "files": {name: sha256(text.encode()).hexdigest() for name, text in files.items()},
    }
    for name, text in files.items():
        write_atomically(releases / version / name, text.encode())
    write_atomically(
        releases / version / MANIFEST, (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    )
    return releases / version


def unrecorded(records: Sequence[Record], conditions: Sequence[Condition] | None = None) -> list[str]:
    """Trained models of which neither a network nor a record is there; of the built-in ones, if conditions is None."""
    recorded = {record.model for record in records}
    chosen = shipped(BUILT_IN) if conditions is None else conditions
    return [each.model for each in chosen if each.untrained and each.model not in recorded]


def differences(release: Path, folder: Path = SHIPPED) -> list[str]:
    """How a release and the records in ``folder`` differ from what was frozen, a line each; empty if nowhere.

    Tables are made anew from the records, unless those are not what they were.
    """
    manifest = _read(release / MANIFEST)
    found = []
    for run_id, wanted in manifest["records"].items():
        hashes = {f"{run_id}.json": wanted["sha256"]}
        if wanted["arrays"]:
            hashes[f"{run_id}.safetensors"] = wanted["arrays"]
        for name, hash_ in hashes.items():
            if not (folder / name).is_file():
                found.append(f"record {name} is missing")
            elif _sha256(folder / name) != hash_:
                found.append(f"record {name} was changed")
    sound = not found
    for name, hash_ in manifest["files"].items():
        if not (release / name).is_file():
            found.append(f"file {name} is missing")
        elif _sha256(release / name) != hash_:
            found.append(f"file {name} was changed")
    if not sound:
        return [*found, "tables were not made anew, as records differ"]
    try:
        files = _tables([Record.read(folder / f"{run_id}.json") for run_id in sorted(manifest["records"])])
    except InputError as error:
        way_out = f"check out {manifest['commit'][:12]}, which froze it"
        return [*found, f"entorhinal {__version__} cannot make the tables anew: {error}; {way_out}"]
    for name, hash_ in manifest["files"].items():
        if sha256(files.get(name, "").encode()).hexdigest() != hash_:
            found.append(f"{name} comes out otherwise{_first_difference(release / name, files.get(name, ''))}")
    return found


def released_records(release: Path, folder: Path = SHIPPED) -> list[Record]:
    """The records of a release; a missing or changed one raises `InputError`."""
    records = []
    for run_id, wanted in _read(release / MANIFEST)["records"].items():
        path = folder / f"{run_id}.json"
        records.append(Record.read(path))
        if _sha256(path) != wanted["sha256"]:
            raise InputError(f"record {str(path)!r} is not that of release {release.name}; restore it")
    return records


def find_release(name: str) -> Path:
    """The folder of a release, by its version or its path."""
    for folder in (RELEASES / name, Path(name)):
        if (folder / MANIFEST).is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in RELEASES.glob(f"*/{MANIFEST}"))) or "none"
    raise InputError(f"no release {name!r}; there are: {known}")


def _tables(records: Sequence[Record]) -> dict[str, str]:
    """Every file of a release but its manifest, by name."""
    files: dict[str, str] = {}
    for name, columns in TABLES.items():
        frame = leaderboard(records, columns)
        files |= {f"{name}.{format}": render(frame, format, columns) for format in FORMATS}
    return files | {"references.bib": bibliography(dict.fromkeys(record.model for record in records))}


def _scores(records: Sequence[Record]) -> dict[str, str]:
    """SHA-256 of the metrics by what was run, weights aside: the same versions must score the same in all releases."""
    return {
        json.dumps([r.model, r.config_hash, r.config.get("seed"), r.task, r.seed, r.recording]): sha256(
            json.dumps([metric.model_dump(mode="json") for metric in r.metrics], sort_keys=True).encode()
        ).hexdigest()
        for r in records
        if not r.task.startswith(f"{TIMED}-v")
    }


def _changed_scores(earlier: dict[str, Any], scores: dict[str, str]) -> list[str]:
    """A line for each run whose scores an earlier release has otherwise."""
    lines = []
    for key, was in earlier["scores"].items():
        if scores.get(key, was) != was:
            model, condition, _, task, seed, _ = json.loads(key)
            lines.append(
                f"{model} ({condition}) scores otherwise on {task}, seed {seed}, than in release {earlier['release']}; "
                "a changed score is a new version of the model or the task"
            )
    return lines


def _read(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        for key in ("release", "commit", "records", "scores", "files"):
            manifest[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"manifest {str(path)!r} cannot be read ({error}); restore it") from None
    return manifest


def _arrays(record: Record, folder: Path) -> str:
    """SHA-256 of the arrays beside a record; "" where there are none, or none were kept."""
    path = folder / f"{record.run_id}.safetensors"
    return _sha256(path) if path.is_file() else ""


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _first_difference(path: Path, text: str) -> str:
    """``, line 3: 'was' is now 'is'``; the difference alone, without what both begin with."""
    frozen = path.read_text().splitlines() if path.is_file() else []
    for number, (was, is_) in enumerate(zip(frozen, text.splitlines(), strict=False), 1):
        if was != is_:
            same = next((i for i, (a, b) in enumerate(zip(was, is_, strict=False)) if a != b), 0)
            start = max(0, same - 20)
            return f", line {number}: {was[start : same + 20]!r} is now {is_[start : same + 20]!r}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="of the release, such as 1.0")
    parser.add_argument("--dry-run", action="store_true", help="say what is in the way, and write nothing")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    if without := unrecorded(read_records(SHIPPED)[0]):
        said = f"not in it, without a network or a record: {', '.join(without)}"
        console.print(said, soft_wrap=True, highlight=False)
    if why := problems(arguments.version):
        for line in why:
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        console.print(f"release {arguments.version}: refused for {len(why)} reasons")
        sys.exit(1)
    console.print("nothing is in the way" if arguments.dry_run else f"wrote {freeze(arguments.version)}")


if __name__ == "__main__":
    main()
