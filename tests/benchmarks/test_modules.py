"""The task counts ideal modules, calls harmonics one torus, and finds no modules in noise."""

from collections.abc import Iterator

import pytest
import torch

from entorhinal.benchmarks import evaluate
from entorhinal.benchmarks.tasks import get_task, modules
from entorhinal.families import make

TASK = "modules"
GRID = {"spacing_m": (0.5, 0.71), "orientation_rad": (0.2, 0.4), "units_per_module": 8}
HARMONIC = {"spacing_m": (0.5, 1.0), "orientation_rad": (0.2, 0.2), "units_per_module": 8}
IDEAL = make("controls/ideal_grid", **GRID)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for name, value in {"BINS": 40, "TRIALS": 24, "STEPS": 1500, "UNITS": 20, "NULL_MAPS": 6}.items():
        patch.setattr(modules, name, value)
    yield
    patch.undo()


def test_ideal_modules_are_discrete_and_independent(tmp_path) -> None:
    (record,) = evaluate("controls/ideal_grid", ["modules"], config=GRID, out=tmp_path, device="cpu")
    assert record.value("side_m") == 4
    assert record.value("active_units") == record.value("grid_units") == 16
    assert record.value("module_count") == record.value("independent_modules") == 2
    assert record.value("discreteness_p") < 0.03
    assert record.value("module_fraction") == record.value("split_half_stability") == 1
    assert record.value("spacing_m_1") == pytest.approx(0.5, rel=0.01)
    assert record.value("spacing_m_2") == pytest.approx(0.71, rel=0.01)
    assert record.value("ratio_1") == pytest.approx(1.42, rel=0.01)
    assert record.value("ratio_1_low") <= record.value("ratio_1") <= record.value("ratio_1_high")
    assert record.value("coherence_min") > 0.8
    assert record.value("cross_prediction_max") < 0.5
    empty = record.reasons
    assert empty.pop("harmonic_index") == "no module predicts another"
    assert empty.pop("mixture_modules", "scikit-learn is not installed") == "scikit-learn is not installed"
    assert set(empty.values()) == {"only 2 modules"}
    arrays = record.arrays(tmp_path)
    assert arrays["labels"].tolist() == [0] * 8 + [1] * 8
    assert arrays["phase"].shape == (16, 2)
    assert arrays["resultant"].shape == (2, 2)


def test_harmonics_are_two_modules_of_one_torus(score) -> None:
    record = score("controls/ideal_grid", **HARMONIC)
    assert record.value("module_count") == 2
    assert record.value("independent_modules") == 1
    assert record.value("harmonic_index") == 4
    assert record.value("cross_prediction_max") > 0.9


def test_noise_has_no_modules(score) -> None:
    """Its tables end at 2.2 m, so the task falls back to that box."""
    record = score("controls/lowpass_noise", **GRID)
    assert record.value("side_m") == 2.2
    assert record.value("active_units") == 16
    assert record.value("module_count") == record.value("independent_modules") == 0
    assert record.value("module_fraction") == 0
    assert "ratio_1" in record.reasons


def test_a_silent_population_has_reasons(score, grid) -> None:
    class Silent(grid):
        def rates(self, place):
            return torch.zeros(*place.shape[:2], 5)

    record = score(Silent.make())
    assert record.value("active_units") == 0
    for name in ("module_count", "independent_modules", "spacing_m_1", "split_half_stability"):
        assert record.reasons[name] == "no active units"


def test_no_answer_anywhere_has_its_reason(score, grid) -> None:
    class Absent(grid):
        def rates(self, place):
            return torch.full((*place.shape[:2], 5), torch.nan)

    empty = score(Absent.make()).reasons
    assert {"active_units", "module_count", "independent_modules"} <= set(empty)
    assert set(empty.values()) == {"the model has no answer outside its extent"}


def test_the_same_seed_gives_the_same_numbers(score, grid) -> None:
    one, two = (score(grid.make()).metrics for _ in range(2))
    assert one == two


def test_models_on_a_line_are_not_asked(grid) -> None:
    class Line(grid):
        card = IDEAL.card.model_copy(update={"dimensions": 1})

    (record,) = evaluate(Line.make(), ["modules"], device="cpu")
    assert record.status == "not applicable"


def test_progress_runs_to_its_end(grid) -> None:
    steps: list[tuple[int, int]] = []
    get_task("modules").run(
        grid.make(),
        seed=0,
        device=torch.device("cpu"),
        recording=None,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == sorted(steps)
    assert steps[-1] == (1000, 1000)
