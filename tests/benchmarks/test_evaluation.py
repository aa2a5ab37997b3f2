"""`evaluate` writes records that can be trusted, and the tasks find what is known of the controls."""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from entorhinal.benchmarks import evaluate, leaderboard, load_records
from entorhinal.benchmarks.conditions import choose
from entorhinal.benchmarks.evaluation import choose_device, evaluate_all, prepare
from entorhinal.benchmarks.records import checkpoint
from entorhinal.benchmarks.tables import TABLES
from entorhinal.benchmarks.tasks import TASKS, get_task, suite
from entorhinal.benchmarks.tasks.path_integration import _minutes
from entorhinal.benchmarks.tasks.task import Recording, noise_seed
from entorhinal.families import make, save
from entorhinal.families.errors import InputError
from entorhinal.families.model import Model, Representation
from entorhinal.families.registry import get_class, list_models
from entorhinal.families.world import load_recording

IDEAL = make("controls/ideal_grid", spacing_m=(0.3, 0.4), orientation_rad=(0.1, 0.3), units_per_module=10)
STEP_M = 0.005


class Drifting(type(IDEAL)):  # type: ignore[misc]
    """`IDEAL` whose place makes a step of ``STEP_M`` along each axis, at random, in every step where noise is given."""

    card = IDEAL.card.model_copy(update={"stochastic": True, "noisy_state": True})

    @classmethod
    def make(cls) -> "Drifting":
        return cls(IDEAL.config)

    def represent(self, trajectories, state=None, *, generator=None) -> Representation:
        if generator is not None:
            shape = trajectories.displacement_m.shape
            noise = STEP_M * torch.randn(shape, generator=generator)
            displacement_m = trajectories.displacement_m + noise
            trajectories = dataclasses.replace(trajectories, displacement_m=displacement_m)
        return super().represent(trajectories, state)


@pytest.fixture(scope="module")
def ideal(tmp_path_factory):
    """Records of a small ideal grid, and the folder they lie in."""
    folder = tmp_path_factory.mktemp("ideal")
    config = {"spacing_m": (0.3, 0.4), "orientation_rad": (0.1, 0.3), "units_per_module": 10}
    return evaluate(
        "controls/ideal_grid", ("gridness", "path_integration", "cost"), config=config, out=folder, device="cpu"
    ), folder


def test_an_ideal_grid_scores_like_one(ideal) -> None:
    gridness, path, cost = ideal[0]
    assert [r.status for r in ideal[0]] == ["ok"] * 3
    assert gridness.value("grid_score_median") > 1.0
    assert gridness.value("grid_fraction") == 1.0
    assert gridness.value("spacing_median_m") == pytest.approx(0.35, abs=0.06)
    assert gridness.value("active_units") == 20
    assert path.value("walk_localisation_error_median_m") < 0.02
    assert path.value("recorded_integration_error_median_m") < 0.04
    assert path.value("recorded_chance_error_median_m") > 0.2
    assert path.value("walk_distance_m") > 40
    assert cost.value("units") == 20
    assert cost.value("step_ms") > 0
    assert math.isnan(cost.value("peak_bytes"))
    assert next(m for m in cost.metrics if m.name == "peak_bytes").reason == "measured on CUDA devices only"


def test_records_say_where_they_come_from(ideal) -> None:
    record = ideal[0][0]
    assert record.model == "controls/ideal_grid-v1"
    assert record.config["spacing_m"] == [0.3, 0.4]
    assert record.software["torch"] == torch.__version__.split("+")[0] or record.software["torch"] == torch.__version__
    assert len(record.weights_sha256) == 64
    assert record.seconds > 0
    assert record.created


def test_what_is_there_is_not_computed_again(ideal, monkeypatch) -> None:
    records, folder = ideal

    def never(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("entorhinal.benchmarks.tasks.gridness.Gridness.run", never)
    again = evaluate("controls/ideal_grid", ["gridness"], config=records[0].config, out=folder, device="cpu")
    assert again == [records[0]]


def test_the_same_seed_gives_the_same_numbers(ideal) -> None:
    config = {k: v for k, v in ideal[0][0].config.items() if k != "seed"}
    again = evaluate("controls/ideal_grid", ["path_integration"], config=config, device="cpu")
    assert again[0].metrics == ideal[0][1].metrics


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("task", [id for id in TASKS if id not in ("capacity-v1", "isometry-v1")])
def test_noise_is_given_to_models_whose_state_it_moves_and_to_no_others(task: str, noisy: bool) -> None:
    class Seen(type(IDEAL)):
        card = IDEAL.card.model_copy(update={"stochastic": True, "noisy_state": noisy})

        def represent(self, trajectories, state=None, *, generator=None) -> Representation:
            if trajectories.steps == 1 and trajectories.batch == 1:  # units are counted without noise
                return super().represent(trajectories, state)
            raise RuntimeError("no noise" if generator is None else "noise")

    (record,) = evaluate(Seen(IDEAL.config), [task], device="cpu")
    assert record.error == f"RuntimeError: {'noise' if noisy else 'no noise'}"


def test_noise_has_a_seed_of_its_own_everywhere() -> None:
    noisy = Drifting.make()
    assert noise_seed(make("coding_theory/nested"), 0, "gridness") is None  # its noise is of reading alone
    seeds = {noise_seed(noisy, base, *names) for base in (0, 1) for names in (("a",), ("b",), ("a", "b"))}
    assert len(seeds) == 6


def test_noise_that_moves_the_state_is_scored_and_again_the_same() -> None:
    models = (IDEAL, Drifting.make(), Drifting.make())
    quiet, noisy, again = (evaluate(model, ["attractor"], device="cpu")[0] for model in models)
    assert noisy.status == "ok"
    assert noisy.metrics == again.metrics
    assert noisy.value("rest_variance_m2_s") == pytest.approx(STEP_M**2 / 0.02, rel=0.2)  # along an axis
    assert quiet.value("rest_variance_m2_s") == pytest.approx(0, abs=1e-6)


def test_a_noisy_code_has_no_one_state_at_a_place() -> None:
    for record in evaluate(Drifting.make(), ["capacity", "isometry"], device="cpu"):
        assert record.status == "not applicable"
        assert "no one code for a place" in record.error


def test_scrambled_units_are_lost(ideal) -> None:
    """A code whose units forget the path is at chance: the task can fail."""

    class Drunk(Model):
        Config = type(make("controls/ideal_grid").config)
        card = make("controls/ideal_grid").card

        def initial_state(self, start_m):
            return start_m

        def represent(self, trajectories, state=None, *, generator=None):
            before = trajectories.start_m if state is None else state
            drift = before[:, None] + 1.5 * trajectories.displacement_m.cumsum(1)
            rates = make("controls/ideal_grid").rates_at(drift)
            return Representation(rates, drift[:, -1])

    (record,) = evaluate(Drunk.make(), ["path_integration"], device="cpu")
    assert record.value("walk_localisation_error_median_m") > 0.2


def test_seeds_make_other_models_where_the_config_has_a_seed() -> None:
    records = evaluate("controls/random_rnn", ["cost"], seeds=2, config={"units": 8}, device="cpu")
    assert [r.seed for r in records] == [0, 1]
    assert len({record.replicate for record in records}) == len({record.run_id for record in records}) == 2
    assert records[0].config_hash == records[1].config_hash


def test_seeds_count_even_where_there_are_no_weights(tmp_path) -> None:
    records = evaluate("continuous_attractor/guanella", ["cost"], seeds=2, out=tmp_path, device="cpu")
    assert records[0].weights_sha256 == records[1].weights_sha256
    assert len({record.run_id for record in records}) == len(load_records(tmp_path)) == 2


def test_models_that_read_position_are_not_asked_to_integrate() -> None:
    (record,) = evaluate("controls/place_cells", ["path_integration"], device="cpu")
    assert (record.status, record.error) == ("not applicable", "reads position: it is not a path integrator")


def test_tasks_that_the_card_does_not_list_are_not_run() -> None:
    class Shy(Model):
        Config = type(make("controls/ideal_grid").config)
        card = make("controls/ideal_grid").card.model_copy(update={"tasks": ("gridness",)})

        def represent(self, trajectories, state=None, *, generator=None):
            raise AssertionError("was run")

    (record,) = evaluate(Shy.make(), ["cost"], device="cpu")
    assert (record.status, record.error) == ("not applicable", "the model's card does not list this task")


def test_a_run_that_raises_is_a_record(tmp_path) -> None:
    class Broken(Model):
        Config = type(make("controls/ideal_grid").config)
        card = make("controls/ideal_grid").card

        def represent(self, trajectories, state=None, *, generator=None):
            raise RuntimeError("the sheet tore")

    (record,) = evaluate(Broken.make(), ["cost"], out=tmp_path, device="cpu")
    assert (record.status, record.error) == ("failed", "RuntimeError: the sheet tore")
    assert load_records(tmp_path) == [record]
    (again,) = evaluate(Broken.make(), ["cost"], out=tmp_path, device="cpu")
    assert load_records(tmp_path) == [again], "a failed run is tried again, and the last one counts"
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_model_that_cannot_be_made_is_a_record_until_it_can(tmp_path, monkeypatch) -> None:
    def torn(self, config=None):
        raise MemoryError("no room for the sheet")

    kind = get_class("controls/random_rnn")
    with monkeypatch.context() as patch:
        patch.setattr(kind, "__init__", torn)
        made = evaluate("controls/random_rnn", ["cost"], seeds=2, out=tmp_path, config={"units": 8}, device="cpu")
    assert [record.error for record in made] == ["MemoryError: no room for the sheet"] * 2
    assert {record.config["seed"] for record in load_records(tmp_path)} == {0, 1}
    (first,) = evaluate("controls/random_rnn", ["cost"], out=tmp_path, config={"units": 8}, device="cpu")
    assert load_records(tmp_path) == sorted([first, made[1]], key=lambda record: record.run_id)


def test_a_task_that_refuses_its_input_stops_or_is_a_record(monkeypatch) -> None:
    def refuse(self, model, **how):
        raise InputError("topology needs the extra 'topology'")

    monkeypatch.setattr("entorhinal.benchmarks.tasks.cost.Cost.run", refuse)
    with pytest.raises(InputError, match="needs the extra"):
        evaluate("controls/ideal_grid", ["cost"], device="cpu")
    (condition,) = choose(["controls/ideal_grid"])
    (record,), left_out = evaluate_all([condition], ["cost"], device="cpu")
    assert (record.status, left_out) == ("failed", {})
    assert "needs the extra" in record.error
    with pytest.raises(InputError, match="device 'tpu9'"):
        evaluate_all([condition], ["cost"], device="tpu9")


def test_conditions_are_chosen_by_name_family_and_all() -> None:
    assert [each.name for each in choose(["controls/ideal_grid", "controls"])] == [
        "ideal_grid", "lowpass_noise", "place_cells", "random_rnn", "shuffled",
    ]  # fmt: skip
    everything = choose(["all"])
    assert {each.model for each in everything} == set(list_models())
    assert len({each.name for each in everything}) == len(everything)
    by_name = {each.name: each for each in everything}
    assert by_name["dordek_signed"].config == {"nonnegative": False}
    assert by_name["sorscher_gaussian"].source == checkpoint("sorscher_gaussian")
    runs = {name: by_name[name].replicates(10) for name in ("sorscher", "residue", "dordek")}
    assert runs == {"sorscher": 1, "residue": 1, "dordek": 10}
    assert not by_name["sic"].untrained
    assert replace(by_name["sic"], checkpoint="").untrained
    assert not by_name["dordek"].untrained
    with pytest.raises(InputError, match="unknown model or family 'control'; did you mean 'controls'"):
        choose(["control"])


def test_a_silent_population_has_reasons_and_no_crash() -> None:
    class Silent(Model):
        Config = type(make("controls/ideal_grid").config)
        card = make("controls/ideal_grid").card

        def represent(self, trajectories, state=None, *, generator=None):
            return Representation(torch.zeros(trajectories.batch, trajectories.steps, 5))

    (record,) = evaluate(Silent.make(), ["gridness"], device="cpu")
    assert record.status == "ok"
    assert record.reasons["grid_score_median"] == "no active units"


def test_another_recording_is_named_and_not_ranked_beside_the_standard_one(tmp_path) -> None:
    time_s = np.arange(0, 130, 0.02)
    angle = time_s * 0.7
    turn = 0.4 * np.stack((np.cos(angle) * np.cos(0.13 * angle), np.sin(1.3 * angle)), -1)
    np.savez(tmp_path / "mine.npz", t=time_s, pos=turn + 0.5)
    path = Recording(str(tmp_path / "mine.npz"), "refuse")
    config = {"units_per_module": 4}
    mine, standard = (
        evaluate("controls/ideal_grid", ["gridness"], config=config, recording=r, out=tmp_path / "r", device="cpu")[0]
        for r in (path, None)
    )
    assert mine.recording.startswith("mine.npz ")
    assert standard.recording == "sargolini"
    assert mine.run_id != standard.run_id
    leaderboard([mine])
    with pytest.raises(InputError, match="several recordings"):
        leaderboard([mine, standard])


def test_checkpoints_are_scored(tmp_path) -> None:
    path = save(make("controls/random_rnn", units=8), tmp_path / "net")
    (record,) = evaluate(path, ["cost"], device="cpu")
    assert record.value("units") == 8
    with pytest.raises(InputError, match="has its own config"):
        evaluate(path, ["cost"], config={"units": 9}, device="cpu")


def test_bad_requests() -> None:
    with pytest.raises(InputError, match="did you mean 'gridness-v2'"):
        evaluate("controls/ideal_grid", ["gridnes"])
    assert suite("open-field") == suite("open-field-v1")
    assert set(suite("open-field-v1")) == {column.task for columns in TABLES.values() for column in columns}
    with pytest.raises(InputError, match="at least one task and one seed"):
        evaluate("controls/ideal_grid", [])
    with pytest.raises(InputError, match="unknown suite 'cor'; did you mean 'core'"):
        suite("cor")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device 'cuda' cannot be used"):
            choose_device("cuda")
    with pytest.raises(InputError, match="device 'tpu9'"):
        choose_device("tpu9")
    assert all(get_task(id).id == id for id in TASKS)


def test_the_recording_is_cut_into_minutes() -> None:
    minutes = _minutes(load_recording())
    assert (minutes.batch, minutes.steps) == (10, 2998)
    assert torch.equal(minutes.start_m[1:], minutes.position_m[:-1, -1])


@pytest.mark.gpu
def test_scores_agree_on_cpu_and_gpu() -> None:
    config = {"units_per_module": 8}
    cpu, gpu = (evaluate("controls/ideal_grid", ["gridness"], config=config, device=d)[0] for d in ("cpu", "cuda"))
    assert cpu.value("grid_score_median") == pytest.approx(gpu.value("grid_score_median"), abs=1e-3)


def test_prepare_fits_and_seeds() -> None:
    assert prepare("controls/random_rnn", seed=3, device=torch.device("cpu")).config.seed == 3
    assert prepare("controls/random_rnn", seed=3, device=torch.device("cpu"), config={"units": 4}).config.units == 4
