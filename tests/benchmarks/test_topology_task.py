"""The task finds a module and calls it a torus, and says no, or why not, of what is none."""

import math
from collections.abc import Iterator

import pytest

from entorhinal.analysis import topology as measure
from entorhinal.benchmarks import evaluate
from entorhinal.benchmarks.tasks import topology

pytest.importorskip("gudhi")
pytest.importorskip("ripser")

TASK = "topology"
GRID = {"spacing_m": (0.3, 0.55), "orientation_rad": (0.1, 0.35), "units_per_module": 24}


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for name, value in {
        "NULL_MAPS": 5,
        "TRIALS": 5,
        "STEPS": 400,
        "POINTS": 300,
        "ROLLS": 4,
        "PROBE_TRIALS": 24,
    }.items():
        patch.setattr(topology, name, value)
    for name, value in {"NULL_MOMENTS": 2000, "NULL_POINTS": 250, "CAVITY_ROLLS": 2}.items():
        patch.setattr(measure, name, value)
    yield
    patch.undo()


def test_a_module_of_an_ideal_grid_is_a_torus(tmp_path) -> None:
    (record,) = evaluate("controls/ideal_grid", ["topology"], config=GRID, device="cpu", out=tmp_path)
    assert (record.status, record.error) == ("ok", "")
    assert record.value("grid_units") > 40
    assert record.value("units") == 24
    assert record.value("spacing_m") == pytest.approx(0.3, rel=0.03)
    assert record.value("side_m") == pytest.approx(3.5 * record.value("spacing_m"))
    assert [record.value(name) for name in ("is_torus", "betti_0", "betti_1", "betti_2")] == [1, 1, 2, 1]
    assert record.value("loop_2_over_null") > 2
    assert record.value("cavity_over_null") > 2
    assert min(record.value("phase_agreement_1"), record.value("phase_agreement_2")) > 0.85
    assert record.value("windings") == 1
    arrays = record.arrays(tmp_path)
    assert arrays["units"].max() < 24
    assert arrays["points"].shape == (300, 6)
    assert arrays["null_lengths"].shape == (4, 3)
    assert arrays["coordinates"].shape == arrays["position_m"].shape == (300, 2)


def test_place_cells_are_no_torus(score) -> None:
    record = score("controls/place_cells", units=64, width_m=0.3)
    assert record.value("is_torus") == 0
    assert record.value("betti_1") < 2
    assert record.value("units") > 60
    assert set(record.reasons) == {"spacing_m", "periods", "phase_agreement_1", "phase_agreement_2", "windings"}
    assert all("no module" in reason for reason in record.reasons.values())


def test_few_units_are_not_judged(score) -> None:
    record = score("controls/place_cells", units=10)
    assert math.isnan(record.value("is_torus"))
    assert {m.reason for m in record.metrics if m.name == "betti_1"} == {"10 units; a torus needs 20"}


def test_a_table_too_small_for_its_lattice_is_not_judged(score, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "PERIODS", 9.0)
    monkeypatch.setattr("entorhinal.families.controls.shuffled.Shuffled.change", lambda self, maps, generator: maps)
    record = score("controls/shuffled", spacing_m=(0.5,), orientation_rad=(0.1,), units_per_module=24)
    assert record.value("units") == 24
    assert math.isnan(record.value("betti_1"))
    assert {m.reason for m in record.metrics if m.name == "betti_1"} == {"the model has no answer in part of the box"}
