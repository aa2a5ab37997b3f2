"""What the judge of SIC's seeds says of codes whose answer is known, and of a small network."""

import itertools
import math

import pandas as pd
import pytest
import torch

from entorhinal.benchmarks import sic_seeds, train
from entorhinal.benchmarks.tasks import capacity, modules
from entorhinal.families import Arena, World
from entorhinal.families.checkpoint import save
from entorhinal.families.controls.ideal_grid import IdealGrid
from entorhinal.families.errors import InputError
from entorhinal.ssl.sic import SIC

SMALL = {"units": 8, "hidden": 5, "steps_per_trajectory": 6, "trajectories": 4, "near_m": 0.1, "steps": 2}


def units_of(module: list[int], spacing_m: list[float], orientation_rad: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"module": module, "spacing_m": spacing_m, "orientation_rad": orientation_rad})


def test_the_ideal_has_the_modules_and_not_the_other_units() -> None:
    turn = math.pi / 3
    ideal = sic_seeds.ideal_of(
        units_of([0, 0, 1, 1, 1, -1], [0.5, 0.5, 0.9, 0.9, 0.9, 2.0], [0.01, turn - 0.01, 0.3, 0.3 + turn, 0.3, 1.0])
    )
    assert ideal is not None
    assert ideal.config.spacing_m == (0.5, 0.9)
    assert ideal.config.units == (2, 3)
    assert ideal.config.orientation_rad == pytest.approx((0.0, 0.3), abs=1e-5)
    assert sic_seeds.ideal_of(units_of([-1], [0.5], [0.0])) is None


def test_a_torus_repeats_and_three_modules_do_not(monkeypatch) -> None:
    monkeypatch.setattr(sic_seeds, "HALF", 80)
    monkeypatch.setattr(sic_seeds, "ORIGINS", 3)
    one = IdealGrid.make(spacing_m=(0.6,), orientation_rad=(0.1,))
    three = IdealGrid.make(spacing_m=(0.4, 0.6, 0.9), orientation_rad=(0.1, 0.4, 0.7))
    assert sic_seeds.ideal_separation(one) < 0.05
    assert sic_seeds.ideal_separation(three) > 0.3


def test_losses_are_the_means_of_the_models_own(monkeypatch) -> None:
    monkeypatch.setattr(sic_seeds, "BATCHES", 2)
    monkeypatch.setattr(sic_seeds, "WALKS", 5)
    model = SIC.make(**SMALL)
    found = sic_seeds.losses(model, None, 0.0)
    as_long = SIC.make(**SMALL | {"steps_per_trajectory": 60, "trajectories": 5})
    seed = sic_seeds.derive(0, "sic_seeds", "losses") % 2**62
    batches = itertools.islice(as_long.training_data(World(Arena.square(2.0, walls=False)), seed, 2), 2)
    own = [model.loss(batch) for batch in batches]
    for name, value in found.items():
        assert value == pytest.approx(torch.stack([terms[name] for terms in own]).mean().item(), rel=1e-5), name


def test_an_ideal_code_is_one_of_place(monkeypatch) -> None:
    monkeypatch.setattr(sic_seeds, "BATCHES", 2)
    monkeypatch.setattr(sic_seeds, "WALKS", 8)
    model = SIC.make(**SMALL)
    coarse = sic_seeds.losses(model, IdealGrid.make(units_per_module=(16, 8, 8), spacing_m=(6.0, 9.0, 12.0)), 0.0)
    fine = sic_seeds.losses(model, IdealGrid.make(units_per_module=(16, 8, 8)), 0.0)
    assert coarse["invariance"] < 1e-3 < fine["invariance"]  # near places have one code, and near is little of 6 m
    assert coarse["separation"] > 2 * fine["separation"]
    assert -1 < fine["capacity"] < -0.3


def test_a_network_is_judged(tmp_path, monkeypatch) -> None:
    (path,) = train("ssl/sic", config=SMALL, out=tmp_path)
    for module in (modules, sic_seeds):
        monkeypatch.setattr(module, "TRIALS", 4)
        monkeypatch.setattr(module, "STEPS", 40)
    monkeypatch.setattr(capacity, "HALF", 40)
    monkeypatch.setattr(sic_seeds, "BATCHES", 1)
    found = sic_seeds.judge(path, "tiny", device="cpu")
    assert found.network["condition"] == "tiny"
    assert found.network["trained"]
    assert found.network["module_count"] == 0
    assert math.isnan(found.network["ideal_code_separation"])
    assert math.isfinite(found.network["total"])
    assert found.network["steps"] == SMALL["steps"]
    assert set(found.units["condition"]) == {"tiny"}
    assert found.rings["distance_m"].is_monotonic_increasing
    before = sic_seeds.judge(path, "tiny", trained=False, device="cpu")
    assert before.network["total"] != found.network["total"]
    assert before.network["steps"] == 0
    other = sic_seeds.Judged(
        before.network | {"condition": "other"}, *(t.assign(condition="other") for t in (before.units, before.rings))
    )
    for each in (found, before, other):
        each.write(tmp_path / "tables")
    networks = pd.read_csv(tmp_path / "tables" / "networks.csv")
    assert list(networks["condition"]) == ["other", "tiny"]  # a network judged again is there once
    assert not networks["trained"].any()
    assert len(pd.read_csv(tmp_path / "tables" / "rings.csv")) == 2 * len(found.rings)


def test_steps_are_those_that_were_taken(tmp_path) -> None:
    (cut,) = train("ssl/sic", config=SMALL | {"steps": 5000}, out=tmp_path / "cut", at_most_seconds=1e-9)
    assert sic_seeds._steps(cut) == 1
    assert sic_seeds._steps(save(SIC.make(**SMALL), tmp_path / "unsaid")) == SMALL["steps"]


def test_what_is_no_condition_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["sic_seeds", str(tmp_path)])
    with pytest.raises(InputError, match="give NAME=FOLDER"):
        sic_seeds.main()
    (path,) = train("ssl/sic", config=SMALL, out=tmp_path)
    monkeypatch.setattr(sic_seeds, "load", lambda path: IdealGrid.make())
    with pytest.raises(InputError, match="controls/ideal_grid-v1; give networks of ssl/sic"):
        sic_seeds.judge(path, "x", device="cpu")
