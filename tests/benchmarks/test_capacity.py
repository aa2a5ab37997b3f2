"""The task finds the range of ideal codes, and says why there is none for others."""

import math
from collections.abc import Iterator

import pytest
import torch

from entorhinal.benchmarks.tasks import capacity, get_task
from entorhinal.families import make

TASK = "capacity"
IDEAL = make("controls/ideal_grid")


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for name, value in {"HALF": 45, "ORIGINS": 4, "TWICE": 16, "DRAWS": 256, "UNITS": 96}.items():
        patch.setattr(capacity, name, value)
    yield
    patch.undo()


def test_one_torus_repeats_at_its_period(score) -> None:
    record = score("controls/ideal_grid", spacing_m=(0.6,), orientation_rad=(0.1,), units_per_module=96)
    assert record.value("reach_m") == pytest.approx(0.7)
    assert record.value("stride_m") == 0.02
    assert record.value("code_separation") == record.value("min_over_median") < 0.03
    assert record.value("path_coherence") == pytest.approx(1, abs=1e-6)
    assert record.value("joint_range_m") == pytest.approx(0.6, abs=0.06)
    assert record.value("repeat_fraction") == 1
    bits = math.log2(record.value("joint_range_m") / record.value("resolution_m"))
    assert record.value("capacity_bits") == pytest.approx(bits)
    assert record.value("capacity_bits_per_unit") == pytest.approx(bits / 96)
    assert record.value("decodable_places") < 361 / 2
    assert not record.reasons


def test_several_modules_reach_farther_and_hold_more(score) -> None:
    record = score("controls/ideal_grid", spacing_m=(0.45, 0.75, 1.2), orientation_rad=(0.1, 0.4, 0.25))
    assert record.value("code_separation") > 0.2
    assert record.value("joint_range_m") == pytest.approx(0.7), "all that was walked"
    assert record.value("repeat_fraction") == 0
    assert record.value("decodable_places") > 0.9 * 361


def test_resolution_goes_with_the_root_of_the_units(score) -> None:
    few, many = (
        score("controls/ideal_grid", spacing_m=(0.6,), orientation_rad=(0.1,), units_per_module=units)
        for units in (16, 64)
    )
    assert few.value("resolution_m") / many.value("resolution_m") == pytest.approx(2, rel=0.2)


def test_an_untrained_network_is_no_code_of_place(score) -> None:
    record = score("controls/random_rnn")
    why = record.reasons
    for name in ("code_separation", "joint_range_m", "capacity_bits", "decodable_places"):
        assert "not a code of place" in why[name]
    assert record.value("min_over_median") is not None
    assert record.value("path_coherence_1m") < 0.9


def test_tables_end(score) -> None:
    record = score("controls/shuffled", extent_m=1.2)
    why = record.reasons
    for name in ("code_separation", "min_over_median", "path_coherence", "joint_range_m", "decodable_places"):
        assert why[name] == "the model has no answer outside its extent"
    assert record.value("resolution_m") > 0
    assert record.value("participation_ratio") > 1


def test_a_code_that_is_flat_near_the_origin_is_not_counted(score, grid) -> None:
    class Broad(grid):
        def rates(self, place_m):
            return torch.cat((place_m + 3, 3 - place_m), -1)

    record = score(Broad.make())
    assert "flat near the origin" in record.reasons["code_separation"]
    assert record.value("min_over_median") == pytest.approx(0.3 / 0.54, rel=0.1)


def test_one_code_everywhere_and_overflow_have_reasons(score, grid) -> None:
    class Silent(grid):
        def rates(self, place_m):
            return torch.zeros(*place_m.shape[:-1], 5)

    class Exploding(grid):
        def rates(self, place_m):
            return IDEAL.rates_at(place_m) * 10 ** (80 * place_m.abs().amax(-1, keepdim=True))

    silent, exploding = score(Silent.make()), score(Exploding.make()).reasons
    assert "code_separation" in silent.reasons
    assert "resolution_m" in silent.reasons
    assert exploding["code_separation"] == exploding["decodable_places"] == "the rates grow without bound"


def test_large_models_walk_less() -> None:
    assert capacity._half(256) == 45
    assert capacity._half(16_384) == 40
    assert capacity._half(10**6) == 30


def test_the_same_seed_gives_the_same_numbers_and_progress_ends(score) -> None:
    small = {"spacing_m": (0.6,), "orientation_rad": (0.1,), "units_per_module": 12}
    steps: list[tuple[int, int]] = []
    again = get_task("capacity").run(
        make("controls/ideal_grid", **small),
        seed=0,
        device=torch.device("cpu"),
        recording=None,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert tuple(again.metrics) == tuple(score("controls/ideal_grid", **small).metrics)
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
