"""The task tells a lattice that holds in larger boxes from one that stretches, turns, is lost, or is not there."""

import math
from collections.abc import Iterator

import pytest
import torch

from entorhinal.benchmarks import evaluate
from entorhinal.benchmarks.records import Record
from entorhinal.benchmarks.tasks import generalization, get_task
from entorhinal.families import make
from entorhinal.families.codes import hexagonal_tuning, hexagonal_waves

TASK = "generalization"
GRID = {"spacing_m": (0.5, 0.6), "orientation_rad": (0.2, 0.4), "units_per_module": 4}
IDEAL = make("controls/ideal_grid", **GRID)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    small = {"BINS": {1: 30, 2: 50, 4: 60}, "TRIALS": 16, "STEPS": 1200, "UNITS": 12, "NULL_MAPS": 5, "KEPT_MAPS": 3}
    for name, value in small.items():
        patch.setattr(generalization, name, value)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def ideal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("ideal")
    (record,) = evaluate("controls/ideal_grid", ["generalization"], config=GRID, out=folder, device="cpu")
    return record, record.arrays(folder)


def test_an_ideal_grid_holds_everywhere(ideal) -> None:
    record, _ = ideal
    assert (record.status, record.error) == ("ok", "")
    for scale in (1, 2, 4):
        assert record.value(f"side_m_{scale}x") == scale
        assert record.value(f"visited_fraction_{scale}x") > 0.7
        assert record.value(f"active_units_{scale}x") == 8
        assert record.value(f"grid_fraction_{scale}x") == 1
        assert record.value(f"grid_score_median_{scale}x") > 1
        assert record.value(f"spacing_median_m_{scale}x") == pytest.approx(0.55, abs=0.07)
        assert record.value(f"split_half_correlation_{scale}x") > 0.9
        if scale < 4:  # there eight units of two modules repeat
            assert record.value(f"localisation_error_median_m_{scale}x") < 0.03 * scale
        assert record.value(f"chance_error_median_m_{scale}x") > 0.3 * scale
    for scale in (2, 4):
        assert record.value(f"spacing_shift_{scale}x") < 0.03
        assert record.value(f"spacing_ratio_{scale}x") == pytest.approx(1, abs=0.03)
        assert record.value(f"orientation_shift_deg_{scale}x") < 1
    assert not record.reasons


def test_the_same_units_are_kept_in_every_box(ideal) -> None:
    _, arrays = ideal
    for name in ("score", "threshold", "spacing_m", "orientation_rad", "split_half"):
        assert arrays[name].shape == (3, 8)
        assert arrays[name].isfinite().all()
    assert [arrays[f"maps_{scale}x"].shape for scale in (1, 2, 4)] == [(3, 30, 30), (3, 50, 50), (3, 60, 60)]
    kept = arrays["score"][0, arrays["map_units"]]
    assert torch.equal(kept, kept.sort(descending=True).values)
    assert kept[0] == arrays["score"][0].max()


def test_the_same_seed_gives_the_same_numbers(score, ideal) -> None:
    assert score("controls/ideal_grid", **GRID).metrics == ideal[0].metrics
    assert score("controls/ideal_grid", seed=1, **GRID).metrics != ideal[0].metrics


def test_a_lattice_that_stretches_and_turns_with_the_box_is_seen(score, grid) -> None:
    class Elastic(grid):
        def place(self, trajectories, before_m):
            self.side_m = trajectories.arena.size_m[0]
            return super().place(trajectories, before_m)

        def rates(self, place_m):
            spacing_m, orientation_rad = torch.tensor([0.5, 0.6]), torch.tensor([0.2, 0.4])
            turned_rad = orientation_rad + math.log2(self.side_m) * math.radians(8)
            waves = hexagonal_waves(spacing_m * self.side_m**0.5, turned_rad)
            return hexagonal_tuning(place_m, waves, torch.zeros(2, 2))

    record = score(Elastic.make())
    for scale in (2, 4):
        assert record.value(f"spacing_ratio_{scale}x") == pytest.approx(scale**0.5, rel=0.05)
        assert record.value(f"spacing_shift_{scale}x") == pytest.approx(scale**0.5 - 1, rel=0.2)
        assert record.value(f"orientation_shift_deg_{scale}x") == pytest.approx(8 * math.log2(scale), abs=2)
        assert record.value(f"split_half_correlation_{scale}x") > 0.9


def test_a_code_that_loses_its_place_in_larger_boxes_has_no_map_there(score, grid) -> None:
    class Lost(grid):
        """Slips along x with the distance walked outside the first box."""

        def place(self, trajectories, before_m):
            outside = (trajectories.position_m.abs() > 0.5).any(-1, keepdim=True)
            slip = 0.3 * outside * trajectories.displacement_m.norm(dim=-1, keepdim=True)
            return super().place(trajectories, before_m) + torch.cat((slip, torch.zeros_like(slip)), -1).cumsum(1)

    record = score(Lost.make())
    assert record.value("split_half_correlation_1x") > 0.9
    assert record.value("grid_fraction_1x") == 1
    for scale in (2, 4):
        assert record.value(f"split_half_correlation_{scale}x") < 0.5
        error, chance = (record.value(f"{name}_error_median_m_{scale}x") for name in ("localisation", "chance"))
        assert error > 0.5 * chance


def test_an_untrained_network_is_no_grid(score) -> None:
    record = score("controls/random_rnn", units=96)
    assert record.status == "ok"
    assert record.value("active_units_1x") > 4
    for scale in (1, 2, 4):
        assert record.value(f"grid_fraction_{scale}x") < 0.4  # 1 noise unit in 6 is above five noise maps
        assert record.value(f"split_half_correlation_{scale}x") < 0.9


def test_tables_have_no_answer_in_larger_boxes(score) -> None:
    record = score("controls/lowpass_noise", **GRID)
    empty = record.reasons
    assert record.value("active_units_1x") == 8
    assert record.value("localisation_error_median_m_1x") < 0.1
    for scale in (2, 4):
        for name in ("grid_fraction", "active_units", "split_half_correlation", "localisation_error_median_m"):
            assert empty[f"{name}_{scale}x"] == "the model has no answer outside its extent"
        assert empty[f"spacing_shift_{scale}x"] == "the model has no answer outside its extent"


def test_a_few_missing_rates_are_left_out(score, grid) -> None:
    class Holed(grid):
        def place(self, trajectories, before_m):
            self.side_m = trajectories.arena.size_m[0]
            return super().place(trajectories, before_m)

        def rates(self, place_m):
            hole = (place_m > 0.4 * self.side_m).all(-1, keepdim=True)
            return IDEAL.rates_at(place_m).where(~hole, torch.nan)

    record = score(Holed.make())
    assert not record.reasons
    assert record.value("grid_fraction_4x") == 1


def test_a_silent_population_has_reasons_and_no_crash(score, grid) -> None:
    class Silent(grid):
        def rates(self, place_m):
            return torch.zeros(*place_m.shape[:2], 5)

    record = score(Silent.make())
    assert record.status == "ok"
    assert record.value("active_units_4x") == 0
    assert record.reasons["grid_fraction_4x"] == record.reasons["localisation_error_median_m_4x"] == "no active units"
    assert record.reasons["spacing_shift_4x"] == "no grid units in both boxes"


def test_rates_that_overflow_are_called_so(score, grid) -> None:
    class Exploding(grid):
        def rates(self, place_m):
            return IDEAL.rates_at(place_m) * 10 ** (60 * place_m.abs().amax(-1, keepdim=True))

    record = score(Exploding.make())
    assert record.value("active_units_1x") > 0
    assert record.reasons["grid_fraction_4x"] == "the rates grow without bound"


def test_models_on_a_line_are_not_asked(score, grid) -> None:
    class Line(grid):
        card = IDEAL.card.model_copy(update={"dimensions": 1})

    record = score(Line.make())
    assert (record.status, record.error) == ("not applicable", "one-dimensional model in a two-dimensional arena")


def test_progress_runs_to_its_end(grid) -> None:
    steps: list[tuple[int, int]] = []
    get_task("generalization").run(
        grid.make(),
        seed=0,
        device=torch.device("cpu"),
        recording=None,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == sorted(steps)
    assert steps[-1] == (3000, 3000)


@pytest.mark.gpu
def test_numbers_agree_on_cpu_and_gpu() -> None:
    cpu, gpu = (
        evaluate("controls/ideal_grid", ["generalization"], config=GRID, device=device)[0] for device in ("cpu", "cuda")
    )
    for name in ("grid_score_median_4x", "spacing_median_m_4x", "split_half_correlation_4x"):
        assert cpu.value(name) == pytest.approx(gpu.value(name), abs=1e-3)
