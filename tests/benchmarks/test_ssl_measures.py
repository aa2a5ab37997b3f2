"""Measures of networks: known populations, what is chosen from a scan, and the command."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from entorhinal.benchmarks import ssl_measures
from entorhinal.benchmarks.ssl_measures import MEASURES, chosen, measure, walks_of
from entorhinal.families import make
from entorhinal.families.checkpoint import save
from entorhinal.families.registry import get_class

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def test_an_ideal_grid_has_its_modules_and_no_bands() -> None:
    spacing = {"spacing_m": (0.6, 0.9), "orientation_rad": (0.1, 0.4), "units_per_module": 12}
    found, maps = measure(make("controls/ideal_grid", **spacing), device=CPU, walks=150, null_maps=5)
    assert set(found) == set(MEASURES)
    assert found["active_units"] == 24
    assert found["module_count"] == found["independent_modules"] == 2
    assert found["grid_fraction"] == 1
    assert found["band_fraction"] == 0
    assert found["ellipticity_median"] == pytest.approx(1, abs=0.03)
    assert found["score_median"] > 1.2
    assert found["split_half"] > 0.9
    assert maps.shape == (6, 64, 64)


def test_the_box_is_that_of_the_card_and_walks_are_those_of_the_model() -> None:
    paths, side_m, inner_m = walks_of(make("ssl/sic"), walks=5)
    assert (side_m, inner_m, paths.steps) == (4.0, 2.0, 300)
    assert float(paths.displacement_m.abs().max()) <= 0.15
    assert (paths.start_m == 0).all()
    paths, side_m, inner_m = walks_of(make("ssl/distance_preserving_recurrent"), walks=50)
    assert (side_m, inner_m) == (2.2, 2.2)
    assert float(paths.start_m.std()) > 0.3
    paths, side_m, inner_m = walks_of(make("controls/ideal_grid"), walks=5)
    assert (side_m, inner_m) == (4.0, 4.0)


def test_a_velocity_network_is_measured_and_one_code_everywhere_has_no_separation(monkeypatch) -> None:
    monkeypatch.setattr(ssl_measures, "HALF", 30)
    monkeypatch.setattr(ssl_measures, "FARTHEST_M", 0.4)
    model = make("ssl/sic", units=8, hidden=4)
    with torch.no_grad():
        found, _ = measure(model, device=CPU, walks=20, null_maps=2)
        assert 0 <= found["separation"] <= 1
        model.matrix[4].weight.zero_()
        model.matrix[4].bias.copy_(torch.eye(8).flatten())
        frozen, _ = measure(model, device=CPU, walks=20, null_maps=2)
    assert frozen["grid_fraction"] == 0 or frozen["grid_fraction"] != frozen["grid_fraction"]
    assert not frozen["separation"] > 0


def test_the_end_of_a_path_is_decoded_where_the_model_can() -> None:
    phases, _ = measure(make("coding_theory/residue"), device=CPU, walks=30, null_maps=1)
    assert phases["path_error_m"] < 0.05
    still, _ = measure(_Still(make("coding_theory/residue").config), device=CPU, walks=30, null_maps=1)
    assert still["path_error_m"] > 0.3
    assert math.isnan(measure(make("controls/place_cells"), device=CPU, walks=30, null_maps=1)[0]["path_error_m"])


class _Still(get_class("coding_theory/residue")):
    """Always decodes the place where all walks began."""

    def decode(self, representation):
        return torch.zeros(*representation.rates.shape[:2], 2)


def test_the_setting_chosen_has_the_highest_score_of_those_with_enough_units() -> None:
    table = pd.DataFrame(
        {
            "active_units": [100, 64, 3, 100],
            "score_median": [0.2, 0.5, 1.3, None],
            "setting": [json.dumps({"lr": lr}) for lr in (1, 2, 3, 4)],
        }
    )
    assert chosen(table) == {"lr": 2}
    assert chosen(table[table["active_units"] < 64]) == {"lr": 3}


def test_the_command_writes_a_row_for_each_checkpoint_of_its_part(tmp_path) -> None:
    small = {"spacing_m": (0.8,), "orientation_rad": (0.2,)}
    for units in (6, 7, 8):
        model = make("controls/ideal_grid", **small, units_per_module=units)
        save(model, tmp_path / f"net{units}", provenance={"training": {"losses": {"total": 0.25}}})
    out, maps = tmp_path / "measures.csv", tmp_path / "measures.maps.safetensors"
    options = ["--part", "0/2", "--walks", "20", "--null-maps", "1", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "entorhinal.benchmarks.ssl_measures", str(tmp_path), "--out", str(out), "--maps",
         str(maps), *options],
        cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(out)
    assert list(table["network"]) == ["net6", "net8"]
    assert list(table["loss_total"]) == [0.25, 0.25]
    assert json.loads(table["setting"][0])["units_per_module"] == 6
    assert set(ssl_measures.load_file(maps)) == {"net6", "net8"}
