"""The figures that rest on records of all models, on small made-up records: claims hold, fail on their controls, follow
a changed record and say "not run" where there is none."""

import math
import shutil

import matplotlib

matplotlib.use("Agg")

import pytest
import torch

from entorhinal.benchmarks.records import CHECKPOINTS, SHIPPED, Metric, Record, checkpoint_config, load_records
from entorhinal.families.controls.ideal_grid import IdealGrid
from entorhinal.families.registry import BUILT_IN, get_class
from entorhinal.paper_figures import barcodes, capacity_robustness
from entorhinal.paper_figures.conditions import CONDITIONS, Condition, metric_table, record_of
from entorhinal.paper_figures.figure import Data

BY_NAME = {condition.name: condition for condition in CONDITIONS}
TORI = ("ideal grid", "residue", "Burak & Fiete", "SIC")
FIGURES = pytest.mark.parametrize("module", [barcodes, capacity_robustness], ids=lambda module: module.FIGURE.id)


def silent(done: int, total: int) -> None:
    pass


def write(folder, condition: Condition, task: str, values: dict, arrays=None, *, seed: int = 0, status: str = "ok"):
    config = checkpoint_config(condition.checkpoint) if condition.checkpoint else {}
    config = get_class(condition.model).Config.parse(condition.model, config).model_dump(mode="json")
    if "seed" in config and not condition.checkpoint:
        config["seed"] = seed
    record = Record(
        run_id=f"{condition.name}.{task}.{seed}",
        status=status,
        error="" if status == "ok" else "why not",
        model=condition.model,
        distribution="entorhinal",
        config=config,
        config_hash=condition.config_hash,
        weights_sha256="",
        task=task,
        seed=seed,
        metrics=tuple(
            Metric(name=name, value=value, reason="" if math.isfinite(value) else "a reason: with details")
            for name, value in values.items()
        ),
    )
    record.write(folder, arrays)


def write_topology(folder, name: str, *, is_torus: bool, turn: float = 1.0) -> None:
    """Bars of a torus or of a plane, and points on the torus of an ideal module; turn: of its coordinates by place."""
    model, unit, generator = IdealGrid.make(), 70, torch.Generator().manual_seed(0)
    place_m = 2 * torch.rand(40, 2, generator=generator, dtype=torch.float64) - 1
    coordinates = turn * (place_m @ model.wave_rad_m[unit, 1:].T)
    long = 5.0 if is_torus else 0.5
    arrays = {
        "bars_0": torch.tensor([[0, 9.0], [0, 0.2], [0, 0.1]]),
        "bars_1": torch.tensor([[0.2, 0.2 + long], [0.2, 0.1 + long], [0.2, 0.4]]),
        "bars_2": torch.tensor([[2.0, 2 + long]]) if is_torus else torch.empty(0, 2),
        "null_lengths": torch.rand(20, 3, generator=generator),
        "coordinates": (coordinates % (2 * math.pi)).float(),
        "position_m": place_m.float(),
        "units": torch.tensor([unit]),
    }
    betti = (1, 2, 1) if is_torus else (1, 0, 0)
    values = {"is_torus": float(is_torus)} | {f"betti_{i}": float(number) for i, number in enumerate(betti)}
    write(folder, BY_NAME[name], "topology-v3", values, arrays)


def write_capacity(folder, name: str, *, joint_range_m: float, separation: float, resolution_m=0.01, seed=0) -> None:
    values = {
        "units": 100.0,
        "reach_m": 4.0,
        "noise_sd": 0.1,
        "joint_range_m": joint_range_m,
        "code_separation": separation,
        "min_over_median": 0.1,
        "resolution_m": resolution_m,
        "capacity_bits": math.log2(joint_range_m / resolution_m),
    }
    distance = torch.linspace(0, 4, 201)
    arrays = {"ring_median": 1 - (-distance / 0.1).exp(), "ring_minimum": (3 * distance).sin().abs() * 0.9}
    write(folder, BY_NAME[name], "capacity-v1", values, arrays, seed=seed)


def write_robustness(folder, name: str, tolerance: float) -> None:
    levels = {f"{level}_followed_error_m": 0.05 * i for i, level in enumerate(capacity_robustness.NOISE)}
    values = {"chance_error_m": 0.6, "noise_tolerance": tolerance, "noise_followed_tolerance": 5.0}
    write(folder, BY_NAME[name], "robustness-v1", values | levels)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("records")
    for name in TORI:
        write_topology(tmp_path, name, is_torus=True)
        write_capacity(
            tmp_path, name, joint_range_m=1.2 if name == "SIC" else 4.0, separation=0.3 - 0.2 * (name == "SIC")
        )
        write_robustness(tmp_path, name, math.nan if name == "Burak & Fiete" else 4.0)
        write(tmp_path, BY_NAME[name], "isometry-v1", {"metric_cv": 0.1, "null_cv": 0.3})
    for name in ("place cells", "shuffled"):
        write_topology(tmp_path, name, is_torus=False)
    write_capacity(tmp_path, "place cells", joint_range_m=1.0, separation=math.nan, resolution_m=0.05)
    write(tmp_path, BY_NAME["lowpass noise"], "isometry-v1", {"metric_cv": 0.3, "null_cv": 0.3})
    write(tmp_path, BY_NAME["Dordek"], "topology-v3", {"is_torus": math.nan})
    write(tmp_path, BY_NAME["random RNN"], "capacity-v1", {}, status="not applicable")
    return tmp_path


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "records")


@FIGURES
def test_claims_hold_and_fail_on_their_controls(module, folder) -> None:
    data = module.compute(silent, folder)
    for claim in module.claims:
        assert claim.judge("f", data).verdict == "holds", claim.id
        assert claim.judge("f", claim.control(data)).verdict == "fails", claim.id


@FIGURES
def test_without_records_nothing_was_run_and_the_figure_says_so(module, tmp_path) -> None:
    data = module.compute(silent, tmp_path)
    assert {claim.judge("f", data).verdict for claim in module.claims} == {"not run"}
    assert {claim.judge("f", claim.control(data)).verdict for claim in module.claims} == {"not run"}
    canvas = module.draw(data)
    canvas.draw_without_rendering()
    assert "not run" in texts(canvas)


@FIGURES
def test_figures_draw_and_give_reasons(module, folder) -> None:
    canvas = module.draw(module.compute(silent, folder))
    canvas.draw_without_rendering()
    assert len(canvas.get_axes()) == (3 + 3 + 2 if module is barcodes else 6 + 1)  # bars, torus, reasons; colour bar
    seen = texts(canvas)
    assert "a reason" in seen
    assert "not run" in seen
    assert ("why not" in seen) == (module is capacity_robustness)


def texts(canvas) -> str:
    return " ".join(text.get_text() for ax in canvas.get_axes() for text in ax.texts).replace("\n", " ")


def test_every_model_of_the_plane_is_a_condition() -> None:
    """Trained ones as shipped, others as they are made; names, and what they are made of, are unique."""
    plane = {id for id in BUILT_IN if get_class(id).card.dimensions == 2}
    assert {condition.model for condition in CONDITIONS} == plane
    assert {condition.checkpoint for condition in CONDITIONS} - {""} == {
        path.stem for path in CHECKPOINTS.glob("*.json")
    }
    assert len(BY_NAME) == len({condition.config_hash for condition in CONDITIONS}) == len(CONDITIONS)


@pytest.mark.parametrize(("task", "module"), [("topology-v3", barcodes), ("capacity-v1", capacity_robustness)])
def test_every_model_with_a_shipped_record_is_drawn(task, module) -> None:
    measured = {record.model for record in load_records(SHIPPED) if (record.task, record.status) == (task, "ok")}
    data = module.compute(silent)
    assert {BY_NAME[name].model for name in data.table["condition"].dropna()} >= measured
    canvas = module.draw(data)
    canvas.draw_without_rendering()
    labels = [label.get_text() for ax in canvas.get_axes() for label in (ax.title, *ax.get_yticklabels())]
    seen = f"{' '.join(labels)} {texts(canvas)}"
    for condition in CONDITIONS:
        if record_of(load_records(SHIPPED), condition, task) is not None:
            assert condition.name in seen


@pytest.mark.parametrize(
    ("id", "write_again"),
    [
        ("ideal_module_is_torus", lambda folder: write_topology(folder, "ideal grid", is_torus=False)),
        ("plane_and_shuffled_are_none", lambda folder: write_topology(folder, "shuffled", is_torus=True)),
        (
            "toroidal_coordinates_are_phases",
            lambda folder: write_topology(folder, "ideal grid", is_torus=True, turn=0.4),
        ),
        ("burak_fiete_is_torus", lambda folder: write_topology(folder, "Burak & Fiete", is_torus=False)),
        ("sic_module_is_torus", lambda folder: write_topology(folder, "SIC", is_torus=False)),
        ("residue_module_is_torus", lambda folder: write_topology(folder, "residue", is_torus=False)),
        (
            "three_modules_do_not_repeat",
            lambda folder: write_capacity(folder, "ideal grid", joint_range_m=3.0, separation=0.3),
        ),
        (
            "residue_does_not_repeat",
            lambda folder: write_capacity(folder, "residue", joint_range_m=3.0, separation=0.3),
        ),
        ("sic_code_repeats", lambda folder: write_capacity(folder, "SIC", joint_range_m=2.1, separation=0.3)),
        (
            "residue_separates_places",
            lambda folder: write_capacity(folder, "residue", joint_range_m=4.0, separation=0.2),
        ),
        (
            "grids_resolve_finer_than_places",
            lambda folder: write_capacity(folder, "ideal grid", joint_range_m=4, separation=0.3, resolution_m=0.06),
        ),
        ("modules_localise_through_noise", lambda folder: write_robustness(folder, "ideal grid", 0.5)),
        ("residue_localises_through_noise", lambda folder: write_robustness(folder, "residue", 0.5)),
        (
            "sic_is_isometric",
            lambda folder: write(folder, BY_NAME["SIC"], "isometry-v1", {"metric_cv": 0.3, "null_cv": 0.3}),
        ),
    ],
)
def test_a_changed_record_changes_its_claim_alone(id, write_again, folder, tmp_path) -> None:
    modules = (barcodes, capacity_robustness)
    (module,) = (module for module in modules if id in {claim.id for claim in module.claims})
    write_again(tmp_path / "again")
    shutil.copytree(tmp_path / "again", folder, dirs_exist_ok=True)
    data = module.compute(silent, folder)
    assert [claim.id for claim in module.claims if claim.judge("f", data).verdict != "holds"] == [id]


def test_every_claim_has_its_perturbation() -> None:
    (mark,) = test_a_changed_record_changes_its_claim_alone.pytestmark
    assert [case[0] for case in mark.args[1]] == [
        claim.id for module in (barcodes, capacity_robustness) for claim in module.claims
    ]


def test_seeds_of_a_condition_come_together(tmp_path) -> None:
    """Statistics are medians over seeds, an empty one leaves the claim without a value, and arrays are of seed 0."""
    for seed, range_m in enumerate((4.0, 1.0, 3.0)):
        write_capacity(tmp_path, "residue", joint_range_m=range_m, separation=0.3, seed=seed)
    data = capacity_robustness.compute(silent, tmp_path)
    assert capacity_robustness._of_reach(data, "residue") == 0.75
    records = load_records(tmp_path)
    assert record_of(records, BY_NAME["residue"], "capacity-v1").seed == 0
    assert set(metric_table(records, ("capacity-v1",))["seed"]) == {0, 1, 2}
    assert metric_table(records, ("topology-v3",)).empty
    write_capacity(tmp_path, "residue", joint_range_m=math.nan, separation=0.3, seed=3)
    (claim,) = (claim for claim in capacity_robustness.claims if claim.id == "residue_does_not_repeat")
    assert claim.judge("f", capacity_robustness.compute(silent, tmp_path)).verdict == "fails"


@FIGURES
def test_claims_on_the_shipped_records_fail_on_their_controls(module) -> None:
    data = module.compute(silent)
    verdicts = [
        (claim.judge("f", data).verdict, claim.judge("f", claim.control(data)).verdict) for claim in module.claims
    ]
    run = [control for ours, control in verdicts if "not run" not in (ours, control)]
    assert set(run) <= {"fails"}, dict(zip((claim.id for claim in module.claims), verdicts, strict=True))
    assert isinstance(data, Data)
