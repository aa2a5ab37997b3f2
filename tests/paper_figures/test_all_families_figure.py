"""Marks follow their thresholds and give their reasons; claims fail on their controls and follow the records."""

import math
from dataclasses import replace
from itertools import pairwise

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text

from entorhinal.benchmarks.records import Metric, Record
from entorhinal.families.registry import get_class
from entorhinal.paper_figures import all_families as module
from entorhinal.paper_figures.conditions import CONDITIONS
from entorhinal.paper_figures.figure import Data
from entorhinal.paper_figures.render import STYLE

PATH, WIDE = {module.CHANCE: 0.5}, {module.WIDE: 0.5, module.WIDE_SHIFT: 0.1}
BY_NAME = {condition.name: condition for condition in CONDITIONS}


def silent(done: int, total: int) -> None:
    pass


def write(folder, name: str, task: str, *, seed: int = 0, why: str = "", **values: float) -> None:
    condition = BY_NAME[name]
    config = get_class(condition.model).Config.parse(condition.model, condition.config).model_dump(mode="json")
    Record(
        run_id=f"{name}.{task}.{seed}",
        status="not applicable" if why and not values else "ok",
        error=why,
        model=condition.model,
        distribution="entorhinal",
        config=config,
        config_hash=condition.config_hash,
        weights_sha256="",
        task=task,
        seed=seed,
        metrics=tuple(Metric(name=key, value=value, reason=why) for key, value in values.items()),
    ).write(folder)


def marks(folder) -> dict[tuple[str, str], tuple[str, str]]:
    table = module.compute(silent, folder).table
    rows = table[table["property"].notna()]
    return {(row.condition, row.property): (row.mark, row.reason) for row in rows.itertuples()}


@pytest.mark.parametrize(
    ("mark", "task", "yes", "no"),
    [
        ("hexagonal", "gridness-v2", {"grid_fraction": 0.5}, {"grid_fraction": 0.49}),
        ("hexagonal", "generalization-v2", {"grid_fraction_1x": 0.5}, {"grid_fraction_1x": 0.4}),
        ("hexagonal", "generalization-v2", {"grid_fraction_2x": 0.5}, {"grid_fraction_2x": 0.4}),
        ("discrete modules", "modules-v1", {"module_count": 2}, {"module_count": 1}),
        ("independent modules", "modules-v1", {"independent_modules": 2}, {"independent_modules": 1}),
        ("torus", "topology-v3", {"is_torus": 1}, {"is_torus": 0}),
        ("integrates paths", "path_integration-v1", PATH | {module.ERROR: 0.1}, PATH | {module.ERROR: 0.11}),
        ("generalises", "generalization-v2", WIDE, WIDE | {module.WIDE_SHIFT: 0.11}),
        ("generalises", "generalization-v2", WIDE, WIDE | {module.WIDE: 0.49}),
    ],
)  # fmt: skip
def test_marks_turn_at_their_thresholds(mark, task, yes, no, tmp_path) -> None:
    write(tmp_path, "residue", task, **yes)
    write(tmp_path, "nested", task, **no)
    found = marks(tmp_path)
    assert (found["residue", mark][0], found["nested", mark][0]) == ("yes", "no")
    assert found["economy", mark] == ("empty", "not run")


def test_an_empty_mark_is_no_no_and_has_its_reason(tmp_path) -> None:
    write(tmp_path, "place cells", "path_integration-v1", why="reads position: it is not a path integrator")
    write(tmp_path, "residue", "topology-v3", why="8 units; a torus needs 20", is_torus=math.nan)
    write(tmp_path, "residue", "modules-v1", module_count=3.0)
    write(
        tmp_path,
        "nested",
        "generalization-v2",
        why="no grid units in both boxes",
        **{module.WIDE: 0.0, module.WIDE_SHIFT: math.nan},
    )
    write(
        tmp_path,
        "economy",
        "generalization-v2",
        why="the model has no answer outside",
        **{module.WIDE: math.nan, module.WIDE_SHIFT: math.nan},
    )
    found = marks(tmp_path)
    assert found["place cells", "integrates paths"] == ("empty", "reads position")
    assert found["residue", "torus"] == ("empty", "8 units; a torus needs 20")
    assert found["residue", "independent modules"] == ("empty", "not measured")
    assert found["nested", "generalises"][0] == "no", "without grid units there is nothing to shift"
    assert found["economy", "generalises"] == ("empty", "the model has no answer outside")


def test_one_box_without_an_answer_leaves_the_others(tmp_path) -> None:
    write(tmp_path, "shuffled", "gridness-v2", grid_fraction=0.01)
    write(tmp_path, "shuffled", "generalization-v2", why="no answer", grid_fraction_2x=math.nan)
    assert marks(tmp_path)["shuffled", "hexagonal"] == ("no", "")


def test_marks_are_of_the_median_seed_and_of_none_where_one_is_empty(tmp_path) -> None:
    for seed, count in enumerate((1.0, 2.0, 3.0)):
        write(tmp_path, "ideal grid", "modules-v1", seed=seed, module_count=count)
    assert marks(tmp_path)["ideal grid", "discrete modules"] == ("yes", "")
    write(tmp_path, "ideal grid", "modules-v1", seed=3, why="torn", module_count=math.nan)
    assert marks(tmp_path)["ideal grid", "discrete modules"] == ("empty", "torn")


def test_marks_of_cards(tmp_path) -> None:
    found = marks(tmp_path)
    assert [found[name, "needs position"][0] for name in ("Burak & Fiete", "SIC", "Dordek", "Sorscher")] == [
        "no", "partly", "yes", "yes",
    ]  # fmt: skip
    assert {name for name in BY_NAME if found[name, "needs a read-out"][0] == "yes"} == {
        "Cueva & Wei", "Cueva & Wei (full)", "Banino", "Banino (full)", "Sorscher", "Sorscher (Gaussian)", "Nayebi",
        "Schaeffer", "pattern formation", "Lie group",
    }  # fmt: skip
    assert [found[name, "put in"][0] for name in ("residue", "Couey", "SIC", "SIC (modular)", "random RNN")] == [
        "lattice", "scale", "nothing *", "lattice *", "no lattice",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> Data:
    return module.compute(silent)


def test_claims_hold_or_fail_on_the_shipped_records_and_fail_on_their_controls(shipped) -> None:
    for claim in module.claims:
        assert claim.judge("f", shipped).verdict in ("holds", "fails")
        assert claim.judge("f", claim.control(shipped)).verdict == "fails", claim.id


def with_mark(data: Data, condition: str, name: str, mark: str = "yes") -> Data:
    here = (data.table["condition"] == condition) & (data.table["property"] == name)
    return replace(data, table=data.table.assign(mark=data.table["mark"].mask(here, mark)))


def with_ratio(data: Data, condition: str, ratio: float) -> Data:
    here = (data.table["condition"] == condition) & data.table["metric"].isin(module.RATIOS)
    return replace(data, table=data.table.assign(value=data.table["value"].mask(here, ratio)))


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("independent_modules_are_put_in", lambda data: with_mark(data, "Peak selection", "independent modules", "no")),
        ("no_control_without_a_lattice_is_hexagonal", lambda data: with_mark(data, "place cells", "hexagonal")),
        ("economy_ratio_in_maps", lambda data: with_ratio(data, "economy", 1.64)),
        ("nested_decoder_ratio_in_maps", lambda data: with_ratio(data, "nested decoder", 1.2)),
    ],
)
def test_changed_data_change_their_claim_alone(id, change, shipped) -> None:
    changed = change(shipped)
    differ = [c.id for c in module.claims if c.judge("f", shipped).verdict != c.judge("f", changed).verdict]
    assert differ == [id]
    assert id in {claim.id for claim in module.claims}


def test_the_figure_shows_every_model_and_reason_and_labels_keep_their_distance(shipped) -> None:
    with plt.style.context(STYLE):
        canvas = module.draw(shipped)
        canvas.draw_without_rendering()
    table, trade, error, ratios = canvas.axes
    assert [label.get_text().rpartition("  ")[0] for label in table.get_yticklabels()] == list(BY_NAME)
    assert "reads position" in table.get_xlabel()
    for ax in (trade, error):
        boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
        assert len(boxes) > 10
        assert all(above.y0 - below.y0 > 0.7 * below.height for below, above in pairwise(boxes))
    assert "nested decoder" in " ".join(label.get_text() for label in ratios.get_yticklabels())


def test_without_records_nothing_was_run(tmp_path) -> None:
    data = module.compute(silent, tmp_path)
    assert {claim.judge("f", data).verdict for claim in module.claims} == {"not run"}
    assert {claim.judge("f", claim.control(data)).verdict for claim in module.claims} == {"not run"}
    module.draw(data).draw_without_rendering()


def test_the_csv_holds_what_is_drawn(shipped) -> None:
    table = shipped.table
    assert isinstance(table, pd.DataFrame)
    assert table["property"].notna().sum() == len(CONDITIONS) * len(module.PROPERTIES)
    assert set(table["metric"].dropna()) <= module.METRICS
