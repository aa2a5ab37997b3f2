"""Measures of networks trained on place cells: known spectra, and the whole way from a sweep's file to its figure."""

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from entorhinal.benchmarks.supervised_measures import MEASURES, measure, ring_m
from entorhinal.families import make
from entorhinal.families.codes import hexagonal_tuning, hexagonal_waves
from entorhinal.families.errors import InputError
from entorhinal.paper_figures import no_free_lunch, schaeffer_networks, spacing_width

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SWEEP = """
model = "supervised/schaeffer"
seeds = 1
[set]
units = 16
place_cells = 30
batch = 8
steps = 3
steps_per_trajectory = 5
schedule = "cosine"
[[list]]
target = "dos"
[[list]]
target = "dos"
place_width_m = 0.2
[[list]]
target = "cartesian"
activation = "tanh"
[[list]]
target = "dog"
cell = "lstm"
"""


@pytest.mark.parametrize("spacing_m", [0.4, 0.6, 0.9])
def test_the_ring_of_hexagons_is_their_spacing(spacing_m: float) -> None:
    at = (torch.arange(44, dtype=torch.float64) + 0.5) * 0.05 - 1.1
    place_m = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)
    angles = torch.linspace(0, 1, 6, dtype=torch.float64)
    waves = hexagonal_waves(torch.full_like(angles, spacing_m), angles)
    phase = torch.rand(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    maps = hexagonal_tuning(place_m, waves, phase).movedim(-1, 0)
    assert ring_m(maps, 0.05) == pytest.approx(spacing_m, rel=0.04)


def test_ramps_and_no_maps_have_no_ring() -> None:
    ramp = torch.linspace(0, 1, 44, dtype=torch.float64).expand(3, 44, 44)
    assert math.isnan(ring_m(ramp, 0.05))
    assert math.isnan(ring_m(ramp[:0], 0.05))


def test_a_network_of_place_cells_decodes_and_its_targets_have_their_ring() -> None:
    model = make("supervised/schaeffer", units=256, place_cells=256)
    with torch.no_grad():  # h stays the place code of the start, and is read as such
        for weights in (model.start, model.recurrent, model.readout):
            weights.copy_(torch.eye(256))
        model.input.zero_()
    found, maps = measure(model, device=CPU, walks=400, null_maps=3)
    assert set(found) == set(MEASURES)
    assert found["target_ring_m"] == pytest.approx(found["predicted_ring_m"], rel=0.05)
    assert found["path_error_m"] < 0.4 < found["long_error_m"]
    assert maps.shape == (2, 44, 44)
    silent, maps = measure(_silenced(), device=CPU, walks=50, null_maps=2)
    assert silent["active_units"] == 0
    assert math.isnan(silent["score_best"])
    assert maps.shape == (0, 44, 44)
    with pytest.raises(InputError, match="not a network that was trained to predict place cells"):
        measure(make("controls/place_cells"), device=CPU, walks=5)


def _silenced():
    model = make("supervised/nayebi", units=8, place_cells=30)
    with torch.no_grad():
        model.dense.zero_()
    return model


def test_from_a_sweep_to_its_figures_by_the_command_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    out, maps = tmp_path / "no_free_lunch.csv", tmp_path / "no_free_lunch.maps.safetensors"
    for command in (
        ["cli", "sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "run"), "--device", "cpu"],
        ["supervised_measures", str(tmp_path / "run"), "--out", str(out), "--maps", str(maps), "--walks", "200",
         "--null-maps", "2", "--device", "cpu"],
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", f"entorhinal.benchmarks.{command[0]}", *command[1:]],
            cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    table = pd.read_csv(out)
    assert len(table) == len(load_file(maps)) == 4
    monkeypatch.setattr(schaeffer_networks, "measured", lambda name: pd.read_csv(tmp_path / f"{name}.csv"))
    monkeypatch.setattr(schaeffer_networks, "kept_maps", lambda name: load_file(tmp_path / f"{name}.maps.safetensors"))
    data = schaeffer_networks.networks()
    assert sorted(data.table["cell"]) == ["lstm", "rnn", "rnn", "rnn"]
    assert sorted(data.table["place_width_m"]) == [0.12, 0.12, 0.12, 0.2]
    for module in (no_free_lunch, spacing_width):
        verdicts = {claim.judge("f", data).verdict for claim in module.claims}
        assert verdicts <= {"holds", "fails", "not run"}
        module.draw(data).draw_without_rendering()


@pytest.mark.parametrize(
    "asked",
    [
        {"id": "supervised/cueva_wei", "units": 20, "batch": 4, "steps_per_trajectory": 6},
        {"id": "supervised/banino", "units": 30, "cells": 30, "place_width_m": 0.3, "steps_per_trajectory": 6},
    ],
    ids=lambda asked: asked["id"],
)
def test_all_networks_trained_on_places_are_measured(asked: dict) -> None:
    found, maps = measure(make(**asked), device=CPU, walks=300, null_maps=3)
    assert set(found) == set(MEASURES)
    assert maps.shape == (2, 44, 44)
    for name in ("score_best", "null_mean", "path_error_m", "linear_error_m", "long_error_m"):
        assert math.isfinite(found[name]), name
    assert math.isnan(found["predicted_ring_m"])
    assert 0 < found["path_error_m"] < 3  # untrained, in a box of 2.2 m
