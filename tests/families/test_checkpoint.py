"""Checkpoints come back as they were, and broken ones are named."""

import json

import pytest
import torch

from entorhinal.families import World, load, make, save
from entorhinal.families.checkpoint import write_atomically
from entorhinal.families.errors import InputError


@pytest.fixture
def saved(tmp_path):
    model = make("controls/random_rnn", units=16, seed=4)
    return model, save(model, tmp_path / "net", provenance={"note": "untrained"})


def test_round_trip(saved) -> None:
    model, path = saved
    twin = load(path)
    assert twin.config == model.config
    walk = World().walk(2, 20, seed=0)
    assert torch.equal(model.represent(walk).rates, twin.represent(walk).rates)
    assert json.loads(path.with_suffix(".json").read_text())["provenance"] == {"note": "untrained"}
    assert load(path.with_suffix(".json")).config == model.config


def test_half_precision_is_half_the_size_and_nearly_the_same(saved, tmp_path) -> None:
    model, path = saved
    half = save(model, tmp_path / "half", dtype=torch.float16)
    assert half.stat().st_size < 0.6 * path.stat().st_size
    twin = load(half)
    assert twin.recurrent.dtype == torch.float32
    torch.testing.assert_close(twin.recurrent, model.recurrent, atol=1e-3, rtol=1e-3)


def test_ids_load_too() -> None:
    assert load("controls/place_cells").card.id == "controls/place_cells-v1"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no tensors", "net.safetensors.*no such file"),
        ("no json", "net.json.*no such file"),
        ("truncated", "truncated or exchanged"),
        ("json cut", "not a checkpoint's description"),
        ("format", "format 99"),
        (
            "config",
            "does not fit controls/random_rnn-v1 as net.json has it: units = 17, but the weights have 16; restore",
        ),
        ("model", r"does not fit controls/place_cells-v1 as net.json has it: size mismatch for centre_m"),
    ],
)
def test_broken_checkpoints_are_named(saved, damage: str, message: str) -> None:
    _, path = saved
    description = path.with_suffix(".json")
    content = json.loads(description.read_text())
    if damage == "no tensors":
        path.unlink()
    elif damage == "no json":
        description.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "json cut":
        description.write_text(description.read_text()[:30])
    elif damage == "format":
        description.write_text(json.dumps(content | {"format": 99}))
    elif damage == "model":
        description.write_text(json.dumps(content | {"model": "controls/place_cells-v1", "config": {}}))
    else:
        content["config"]["units"] = 17
        description.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load(path)


def test_writing_is_all_or_nothing(tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def broken(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("entorhinal.families.checkpoint.os.fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
