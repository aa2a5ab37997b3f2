"""A release holds what it says, finds every change, and is refused where it would not be whole."""

import json
import re
import shutil
import sys
from pathlib import Path

import bibtexparser
import pytest
import torch

from entorhinal.benchmarks import release
from entorhinal.benchmarks.citations import cite
from entorhinal.benchmarks.conditions import choose
from entorhinal.benchmarks.records import RELEASES, SHIPPED, Metric, Record, config_hash, read_records
from entorhinal.benchmarks.release import differences, find_release, freeze, problems, released_records, unrecorded
from entorhinal.benchmarks.tables import TABLES
from entorhinal.benchmarks.tasks import TASKS
from entorhinal.families import make
from entorhinal.families.errors import InputError

CONDITIONS = choose(["controls/ideal_grid", "coding_theory/residue"])
COLUMNS = [column for columns in TABLES.values() for column in columns]
COMMIT = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _clean(monkeypatch) -> None:
    monkeypatch.setattr(release, "provenance", lambda: {"commit": COMMIT, "dirty": False, "software": {"torch": "2"}})


def write(folder: Path, model: str, task: str, *, value: float = 1.0, arrays: bool = False, **fields) -> Path:
    config = make(model).config.model_dump(mode="json")
    metrics = tuple(Metric(name=column.metric, value=value) for column in COLUMNS if column.task == task)
    record = Record(
        **{
            "run_id": f"{model}.{task}".replace("/", "."),
            "status": "ok",
            "model": model,
            "distribution": "entorhinal 0.1.0",
            "config": config,
            "config_hash": config_hash(model, config),
            "weights_sha256": "0" * 64,
            "task": task,
            "seed": 0,
            "metrics": metrics,
            "commit": COMMIT,
        }
        | fields
    )
    return record.write(folder, {"maps": torch.ones(3)} if arrays else None)[1]


def write_all(folder: Path, **fields) -> Path:
    for condition in CONDITIONS:
        for task in TASKS:
            write(folder, condition.model, task, arrays=task.startswith("gridness"), **fields)
    return folder


@pytest.fixture
def results(tmp_path) -> Path:
    return write_all(tmp_path / "results")


@pytest.fixture
def frozen(results, tmp_path) -> Path:
    return freeze("1.0", results, tmp_path / "releases", CONDITIONS)


def again(results: Path, tmp_path: Path, version: str = "1.1") -> list[str]:
    return problems(version, results, tmp_path / "releases", CONDITIONS)


def test_a_release_is_what_it_was_frozen_as(frozen, results) -> None:
    assert differences(frozen, results) == []
    manifest = json.loads((frozen / "manifest.json").read_text())
    assert (manifest["release"], manifest["commit"], manifest["tasks"]) == ("1.0", COMMIT, list(TASKS))
    assert manifest["models"] == {condition.model: "entorhinal 0.1.0" for condition in CONDITIONS}
    assert len(manifest["records"]) == 2 * len(TASKS)
    assert set(manifest["files"]) == {
        "references.bib", *(f"{name}.{format}" for name in TABLES for format in ("md", "csv", "tex"))
    }  # fmt: skip
    assert "controls/ideal_grid-v1" in (frozen / "codes.md").read_text()
    assert not list(frozen.glob("*.safetensors")), "records are not copied"
    assert len(released_records(frozen, results)) == 2 * len(TASKS)


def test_later_records_change_nothing(frozen, results) -> None:
    write(results, "controls/ideal_grid-v1", "cost-v1", run_id="later", seed=1, weights_sha256="1" * 64, value=9.0)
    assert differences(frozen, results) == []
    assert "later" not in {record.run_id for record in released_records(frozen, results)}


def edit(results: Path, frozen: Path) -> str:
    path = results / "controls.ideal_grid-v1.cost-v1.json"
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 0.5'))
    return f"record {path.name} was changed"


def lose(results: Path, frozen: Path) -> str:
    (results / "coding_theory.residue-v1.topology-v3.json").unlink()
    return "record coding_theory.residue-v1.topology-v3.json is missing"


def edit_arrays(results: Path, frozen: Path) -> str:
    (results / "coding_theory.residue-v1.gridness-v2.safetensors").write_bytes(b"x")
    return "record coding_theory.residue-v1.gridness-v2.safetensors was changed"


def edit_table(results: Path, frozen: Path) -> str:
    path = frozen / "leaderboard.md"
    path.write_text(path.read_text().replace("1.00", "1.41", 1))
    return "file leaderboard.md was changed"


def lose_table(results: Path, frozen: Path) -> str:
    (frozen / "codes.tex").unlink()
    return "file codes.tex is missing"


@pytest.mark.parametrize("change", [edit, lose, edit_arrays, edit_table, lose_table])
def test_every_change_is_found_and_named(change, frozen, results) -> None:
    named = change(results, frozen)
    found = differences(frozen, results)
    assert named in found
    assert len(found) == (2 if named.startswith("record") else 1)


def test_released_records_are_those_that_were_frozen(frozen, results) -> None:
    path = results / "controls.ideal_grid-v1.cost-v1.json"
    path.unlink()
    write(results, "controls/ideal_grid-v1", "cost-v1", value=3.0)
    with pytest.raises(InputError, match=r"cost-v1.json' is not that of release 1\.0"):
        released_records(frozen, results)


def test_other_code_that_makes_another_table_is_found(frozen, results, monkeypatch) -> None:
    monkeypatch.setattr(release, "render", lambda frame, format, columns: "| other |\n")
    found = differences(frozen, results)
    assert len(found) == 2 * 3
    assert found[0].startswith("leaderboard.md comes out otherwise, line 1: ")
    assert found[0].endswith("is now '| other |'")


def test_scores_that_changed_need_a_new_version(frozen, results, tmp_path) -> None:
    assert again(results, tmp_path) == []
    shutil.rmtree(results)
    write_all(results, value=2.0, weights_sha256="f" * 64)
    found = again(results, tmp_path)
    assert len(found) == 2 * (len(TASKS) - 1), "all but the times of cost"
    assert any(
        re.fullmatch(
            r"controls/ideal_grid-v1 \(\w{12}\) scores otherwise on gridness-v2, seed 0, than in release 1\.0; .*", line
        )
        for line in found
    )
    scores = json.loads((frozen / "manifest.json").read_text())["scores"]
    newer = {key.replace("-v1", "-v2"): "other" for key in scores}
    assert not release._changed_scores(
        {"release": "1.0", "scores": scores}, {**newer, **{k: v for k, v in scores.items()}}
    )
    assert not release._changed_scores({"release": "1.0", "scores": scores}, newer), "new versions may score otherwise"


def test_what_is_not_whole_is_refused_with_all_reasons(results, tmp_path, monkeypatch) -> None:
    (results / "coding_theory.residue-v1.topology-v3.json").unlink()
    (results / "coding_theory.residue-v1.cost-v1.json").unlink()
    for task, fields in (("capacity-v1", {"dirty": True}), ("isometry-v1", {"status": "failed", "error": "torn"})):
        (results / f"controls.ideal_grid-v1.{task}.json").unlink()
        write(results, "controls/ideal_grid-v1", task, **fields)
    (results / "half.json").write_text("{")
    (results / "controls.ideal_grid-v1.gridness-v2.safetensors").write_bytes(b"x")
    monkeypatch.setattr(release, "provenance", lambda: {"commit": COMMIT, "dirty": True})
    found = problems("1", results, tmp_path, CONDITIONS)
    for said in (
        "version '1' is not of the form 1.0",
        "the checkout is not a clean commit",
        "controls.ideal_grid-v1.capacity-v1 is not of a clean commit",
        "controls.ideal_grid-v1.isometry-v1 is of a failed run (torn)",
        "controls.ideal_grid-v1.gridness-v2: its arrays are not those that were written",
        "half.json' is truncated or not a record",
        "coding_theory/residue-v1 (residue) has no record of topology-v3, cost-v1",
    ):
        assert sum(said in line for line in found) == 1, said
    assert len(found) == 7
    with pytest.raises(InputError, match="no record of topology-v3, cost-v1"):
        freeze("1", results, tmp_path, CONDITIONS)
    assert not (tmp_path / "1").exists()


def test_a_model_that_ships_and_was_never_run_is_named_and_an_untrained_one_is_not(results, tmp_path) -> None:
    more = [*CONDITIONS, *choose(["controls/random_rnn", "ssl/vicreg"])]
    untrained = [each.model for each in more if each.untrained]
    (line,) = problems("1.0", results, tmp_path, more)
    assert line == f"controls/random_rnn-v1 (random_rnn) has no record of {', '.join(TASKS)}; run them first"
    path = freeze("1.0", results, tmp_path / "r", [each for each in more if each.model != "controls/random_rnn-v1"])
    assert json.loads((path / "manifest.json").read_text())["not in it"] == untrained


def test_a_trained_model_is_in_it_by_its_records_though_no_network_ships(results, tmp_path) -> None:
    name = "ssl/distance_preserving-v1"
    more = [*CONDITIONS, *choose([name])]
    first, *others = TASKS
    write(results, name, first)
    (line,) = problems("1.0", results, tmp_path, more)
    assert name in line
    assert f"has no record of {', '.join(others)}; run them first" in line
    for task in others:
        write(results, name, task)
    path = freeze("1.0", results, tmp_path / "r", more)
    manifest = json.loads((path / "manifest.json").read_text())
    assert not manifest["not in it"]
    assert name in manifest["models"]


def test_a_release_is_never_written_again(frozen, results, tmp_path) -> None:
    assert again(results, tmp_path, "1.0") == [
        "release 1.0 is there already and releases are never changed; choose another version"
    ]


def test_a_release_is_cited_with_its_hash(frozen, monkeypatch) -> None:
    monkeypatch.setattr("entorhinal.benchmarks.citations.RELEASES", frozen.parent)
    entry = bibtexparser.loads(cite(["1.0"])).entries[-1]
    assert (entry["ID"], entry["title"]) == ("entorhinal_1_0", "Records and tables of entorhinal, release 1.0")
    assert COMMIT in entry["howpublished"]
    assert release._sha256(frozen / "manifest.json") in entry["note"]


@pytest.mark.parametrize("manifest", sorted(RELEASES.glob("*/manifest.json")), ids=lambda path: path.parent.name)
def test_what_was_released_is_as_it_was(manifest: Path) -> None:
    assert differences(manifest.parent) == []


def test_every_built_in_model_has_records_of_every_task() -> None:
    """So that the next release can be frozen."""
    assert problems("99.0") == []
    assert unrecorded(read_records(SHIPPED)[0]) == []


def test_releases_are_found_by_version_and_path(frozen, monkeypatch) -> None:
    assert find_release(str(frozen)) == frozen
    monkeypatch.setattr(release, "RELEASES", frozen.parent / "none")
    with pytest.raises(InputError, match=r"no release '9\.9'; there are: none"):
        find_release("9.9")
    monkeypatch.setattr(release, "RELEASES", frozen.parent)
    assert find_release("1.0") == frozen
    (frozen / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        differences(frozen)


def test_the_commands_freeze_refuse_and_verify(results, tmp_path, monkeypatch, capsys) -> None:
    from entorhinal.benchmarks import cli

    def called(main, *words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["entorhinal", *words])
        try:
            main()
        except SystemExit as done:
            return int(done.code or 0)
        return 0

    monkeypatch.setattr(problems, "__defaults__", (results, tmp_path / "releases", CONDITIONS))
    monkeypatch.setattr(freeze, "__defaults__", (results, tmp_path / "releases", CONDITIONS))
    assert called(release.main, "1.0", "--dry-run") == 0
    assert not (tmp_path / "releases").exists()
    assert called(release.main, "1.0") == 0
    assert called(release.main, "1.0") == 1
    assert "refused for 1 reasons" in capsys.readouterr().err
    verify = ("table", str(results), "--release", str(tmp_path / "releases" / "1.0"))
    assert called(cli.main, *verify, "--verify") == 0
    assert "no differences" in capsys.readouterr().out
    assert called(cli.main, *verify, "--format", "md") == 0
    assert capsys.readouterr().out == (tmp_path / "releases" / "1.0" / "leaderboard.md").read_text()
    edit(results, tmp_path)
    assert called(cli.main, *verify, "--verify") == 1
    assert "ideal_grid-v1.cost-v1.json was changed" in capsys.readouterr().out
