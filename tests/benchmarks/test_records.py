"""Records are complete, immutable, and say what is wrong with a broken one."""

import json

import pytest
import torch

from entorhinal.benchmarks.records import (
    Metric,
    Record,
    config_hash,
    find_record,
    load_records,
    provenance,
    read_records,
)
from entorhinal.benchmarks.seeds import derive
from entorhinal.families.errors import InputError


def record(**changes) -> Record:
    config = {"spacing_m": [0.3], "seed": 0}
    fields = {
        "run_id": "a.b-v1.x",
        "status": "ok",
        "model": "controls/ideal_grid-v1",
        "distribution": "entorhinal",
        "config": config,
        "config_hash": config_hash("controls/ideal_grid-v1", config),
        "weights_sha256": "0" * 64,
        "task": "gridness-v2",
        "seed": 0,
        "metrics": (Metric(name="grid_score_median", value=1.25, unit="", direction="higher", n=7),),
    }
    return Record(**(fields | changes))


def test_round_trip_with_arrays(tmp_path) -> None:
    arrays = {"scores": torch.tensor([1.0, 2.0])}
    written, path = record().write(tmp_path, arrays)
    assert Record.read(path) == written
    assert torch.equal(written.arrays(tmp_path)["scores"], arrays["scores"])
    assert load_records(tmp_path) == [written]
    assert json.loads(path.read_text())["metrics"][0]["value"] == 1.25


def test_records_are_never_overwritten(tmp_path) -> None:
    record().write(tmp_path)
    with pytest.raises(InputError, match="records are never changed"):
        record(seed=1).write(tmp_path)


def test_a_number_that_is_not_finite_is_empty() -> None:
    assert Metric(name="x", value=float("nan"), reason="no units").value is None
    assert Metric(name="x", value=float("inf")).value is None
    empty = record(metrics=(Metric(name="x", value=float("nan"), reason="no units"), Metric(name="y", value=0.0)))
    assert empty.value("x") != empty.value("x")
    assert empty.reasons == {"x": "no units"}
    with pytest.raises(LookupError, match="no metric 'z'"):
        empty.value("z")


@pytest.mark.parametrize("damage", ["truncated", "foreign", "no text", "unknown key", "missing"])
def test_broken_records_are_named(tmp_path, damage: str) -> None:
    _, path = record().write(tmp_path)
    text = path.read_text()
    if damage == "truncated":
        path.write_text(text[: len(text) // 2])
    elif damage == "foreign":
        path.write_text("[]")
    elif damage == "no text":
        path.write_bytes(b"\xff\xfe{}")
    elif damage == "unknown key":
        path.write_text(json.dumps(json.loads(text) | {"extra": 1}))
    else:
        path.unlink()
    with pytest.raises(InputError, match=r"a\.b-v1\.x\.json"):
        Record.read(path)


def test_other_schemas_are_refused_by_name(tmp_path) -> None:
    _, path = record().write(tmp_path)
    content = json.loads(path.read_text())
    for version, way_out in ((0, "run the task again"), (2, "upgrade entorhinal")):
        path.write_text(json.dumps(content | {"schema_version": version, "unheard_of": 1}))
        with pytest.raises(InputError, match=f"has schema version {version}, and 1 is read; {way_out}"):
            Record.read(path)


def test_an_edited_record_is_found_and_a_new_layout_is_none(tmp_path) -> None:
    written, path = record().write(tmp_path)
    text = path.read_text()
    path.write_text(json.dumps(dict(sorted(json.loads(text).items()))))
    assert Record.read(path) == written
    path.write_text(text.replace("1.25", "1.35"))
    with pytest.raises(InputError, match=r"a\.b-v1\.x\.json' was edited after it was written"):
        Record.read(path)
    path.write_text(text.replace(written.digest, ""))
    assert Record.read(path).digest == "", "records made before there were digests are read"


def test_unsound_files_are_left_out_by_name_and_two_with_one_run_id_too(tmp_path) -> None:
    good, _ = record(run_id="good").write(tmp_path)
    record(run_id="twice").write(tmp_path)
    record(run_id="twice", seed=1).write(tmp_path / "copy")
    (tmp_path / "foreign.json").write_text('{"name": "other"}')
    records, left_out = read_records(tmp_path)
    assert records == [good]
    assert len(left_out) == 2
    assert "foreign.json" in left_out[0]
    assert "twice.json" in left_out[1]
    assert "copy" in left_out[1]
    assert "have one run id, 'twice'; delete all but one" in left_out[1]
    with pytest.raises(InputError, match=r"foreign\.json.*1 more like it"):
        load_records(tmp_path)


def test_changed_or_missing_arrays_are_found(tmp_path) -> None:
    written, path = record().write(tmp_path, {"scores": torch.zeros(3)})
    file = path.with_suffix(".safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(InputError, match="not those of the record"):
        written.arrays(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match="missing"):
        written.arrays(tmp_path)


def test_a_success_replaces_an_earlier_failure(tmp_path) -> None:
    record(run_id="a.failed.1", status="failed", error="out of memory", metrics=()).write(tmp_path)
    record(run_id="b.failed.1", status="failed", error="again", metrics=(), seed=3).write(tmp_path)
    record().write(tmp_path)
    assert {r.run_id for r in load_records(tmp_path)} == {"a.b-v1.x", "b.failed.1"}


def test_missing_records_say_which_command_makes_them(tmp_path) -> None:
    with pytest.raises(InputError, match="entorhinal run controls/ideal_grid-v1 --tasks gridness-v2"):
        find_record("controls/ideal_grid-v1", "gridness-v2", tmp_path)
    with pytest.raises(InputError, match="no folder"):
        load_records(tmp_path / "none")


def test_config_hash_leaves_the_seed_out() -> None:
    same = {config_hash("m", {"a": 1, "seed": seed}) for seed in range(3)}
    assert len(same) == 1
    assert config_hash("m", {"a": 2, "seed": 0}) not in same
    assert config_hash("n", {"a": 1, "seed": 0}) not in same


def test_provenance_names_the_commit(monkeypatch) -> None:
    monkeypatch.setenv("ENTORHINAL_COMMIT", "abc123-dirty")
    provenance.cache_clear()
    try:
        found = provenance()
    finally:
        provenance.cache_clear()
    assert (found["commit"], found["dirty"]) == ("abc123", True)
    assert {"torch", "python", "entorhinal"} <= set(found["software"])


def test_seeds_are_derived_by_name() -> None:
    names = [derive(0, "a"), derive(0, "b"), derive(1, "a"), derive(0, "a", "b"), derive(0, "ab")]
    assert len(set(names)) == len(names)
    assert derive(0, "a") == names[0] == 7606779636460171844
    assert all(0 <= seed < 2**63 for seed in names)
