"""The leaderboard shows means, intervals over seeds, reasons for empty cells, and refuses what is stale."""

import json
import math

import pandas as pd
import pytest

from entorhinal.benchmarks.records import Metric, Record, config_hash
from entorhinal.benchmarks.tables import (
    FORMATS,
    TABLES,
    columns_of,
    leaderboard,
    render,
    stale,
    tidy,
    tried,
)
from entorhinal.families import make
from entorhinal.families.errors import InputError

ALL = [column for columns in TABLES.values() for column in columns]
VALUES = {column.metric: 1.0 + i / 10 for i, column in enumerate(ALL)}


def records(model: str, *, score: float = 1.0, seeds: int = 1, same_weights: bool = False, **config) -> list[Record]:
    made = []
    for seed in range(seeds):
        full = make(model, **config).config.model_dump(mode="json")
        for task in dict.fromkeys(column.task for column in ALL):
            metrics = [
                Metric(name=c.metric, value=score + seed if c.metric == "grid_score_median" else VALUES[c.metric])
                for c in ALL
                if c.task == task
            ]
            made.append(
                Record(
                    run_id=f"{model}.{task}.{seed}".replace("/", "."),
                    status="ok",
                    model=model,
                    distribution="entorhinal",
                    config=full,
                    config_hash=config_hash(model, full),
                    weights_sha256=str(0 if same_weights else seed) * 64,
                    task=task,
                    seed=seed,
                    metrics=metrics,
                    commit="abc",
                )
            )
    return made


def test_means_and_intervals_are_over_seeds() -> None:
    frame = leaderboard(records("controls/random_rnn-v1", score=1.0, seeds=5))
    row = frame.iloc[0]
    assert row["seeds"] == "5"
    assert row["grid score"] == pytest.approx(3.0)
    low, high = row["grid score interval"]
    assert 1.0 <= low < 3.0 < high <= 5.0


def test_deterministic_models_have_no_interval() -> None:
    frame = leaderboard(records("controls/ideal_grid-v1", seeds=3, same_weights=True))
    assert frame["seeds"].iloc[0] == "1"
    assert frame["grid score interval"].iloc[0] is None
    frame = leaderboard(records("coding_theory/residue-v1"))
    assert frame["seeds"].iloc[0] == "deterministic"
    assert "deterministic" in render(frame, "md")
    assert frame["grid score interval"].iloc[0] is None


def test_rank_is_within_what_was_put_in() -> None:
    frame = leaderboard(
        records("controls/random_rnn-v1", score=1.9)
        + records("controls/ideal_grid-v1", score=0.1)
        + records("controls/place_cells-v1", score=1.95)
        + records("controls/ideal_grid-v1", score=0.2, spacing_m=(0.4,), orientation_rad=(0.0,))
    )
    assert frame["what was put in"].tolist() == ["lattice given"] * 2 + ["no lattice"] * 2
    assert frame["grid score"].tolist() == [0.2, 0.1, 1.95, 1.9]
    assert frame["rank"].tolist() == [1, 2, 1, 2]
    assert frame["family"].tolist() == ["controls"] * 4
    assert frame["config"].tolist()[0] == "spacing_m=[0.4], orientation_rad=[0.0]"
    assert frame["needs"].tolist()[2:] == ["reads position", "nothing"]


def test_empty_cells_carry_their_reason() -> None:
    made = records("controls/place_cells-v1")
    path = made[1].model_copy(update={"status": "not applicable", "error": "reads position", "metrics": ()})
    frame = leaderboard([made[0], path])
    assert math.isnan(frame["error, rat (m)"].iloc[0])
    assert frame["error, rat (m) note"].iloc[0] == "not applicable: reads position"
    assert frame["ms a step note"].iloc[0] == "not run"
    text = render(frame, "md")
    assert "not applicable: reads position" in text
    assert "– (a)" in text


def test_what_was_tried_before_stands_beside_the_scores() -> None:
    found = leaderboard([*records("ssl/vicreg-v1"), *records("controls/ideal_grid-v1")]).set_index("model")
    assert found.loc["ssl/vicreg-v1", ["settings_tried", "tuned_on"]].tolist() == [12, "grid scores"]
    assert found.loc["controls/ideal_grid-v1", ["settings_tried", "tuned_on"]].tolist() == [1, ""]
    assert "12, by grid scores" in render(found.reset_index())
    assert tried(None, "", None) == tried(math.nan, "", math.nan) == "not counted"
    assert tried(16, "loss", 0.3) == "16, by loss (0.3 GPU h)"


def test_a_failed_seed_empties_the_mean() -> None:
    made = records("controls/random_rnn-v1", seeds=2)
    failed = made[0].model_copy(update={"status": "failed", "error": "out of memory", "metrics": ()})
    frame = leaderboard([failed, *made[1:]])
    assert math.isnan(frame["grid score"].iloc[0])
    assert frame["grid score note"].iloc[0] == "failed: out of memory"
    assert math.isnan(frame["rank"].iloc[0])
    assert frame["failures"].iloc[0] == 1
    assert frame["distribution"].iloc[0] == "entorhinal"
    assert leaderboard(made)["failures"].iloc[0] == 0


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_every_model(format: str) -> None:
    frame = leaderboard(records("controls/random_rnn-v1", seeds=3) + records("controls/ideal_grid-v1"))
    text = render(frame, format)
    for model in ("random", "ideal"):
        assert model in text
    if format == "json":
        assert json.loads(text)[0]["model"] == "controls/ideal_grid-v1"
    if format == "csv":
        assert len(text.splitlines()) == 3
    if format == "tex":
        assert r"\toprule" in text
        assert r"random\_rnn" in text


def test_equal_scores_share_a_rank_and_lower_is_first_where_it_is_better() -> None:
    made = (
        records("controls/random_rnn-v1", score=1.0)
        + records("controls/place_cells-v1", score=1.0)
        + records("controls/shuffled-v1", score=0.5)
    )
    assert leaderboard(made)["rank"].tolist() == [1, 1, 3]
    lower = [column for column in ALL if column.better == "lower"][:1]
    slow = made[0].model_copy(
        update={
            "task": lower[0].task,
            "metrics": (Metric(name=lower[0].metric, value=99.0),),
            "model": "controls/shuffled-v1",
        }
    )
    others = [r for r in made if r.task == lower[0].task and r.model != slow.model]
    shuffled = next(r for r in made if r.task == lower[0].task and r.model == slow.model)
    found = leaderboard([*others, shuffled.model_copy(update={"metrics": slow.metrics})], lower)
    assert found["model"].tolist()[-1] == "controls/shuffled-v1"
    assert found["rank"].tolist() == [1, 1, 3]


def test_metrics_by_name_are_columns_and_those_that_no_record_has_are_named() -> None:
    made = records("controls/ideal_grid-v1")
    (column,) = columns_of(["spacing_median_m"], made)
    assert (column.task, column.metric, column.heading) == ("gridness-v2", "spacing_median_m", "spacing_median_m")
    assert leaderboard(made, [column])["spacing_median_m"].item() == VALUES["spacing_median_m"]
    with pytest.raises(InputError, match="unknown metric of these records 'spacing_median'; did you mean"):
        columns_of(["spacing_median"], made)
    with pytest.raises(InputError, match="known: none"):
        columns_of(["x"], [made[0].model_copy(update={"metrics": ()})])
    twice = [made[0], made[0].model_copy(update={"task": "cost-v1"})]
    with pytest.raises(InputError, match="give cost-v1:grid_score_median or gridness-v2:grid_score_median"):
        columns_of(["grid_score_median"], twice)
    assert columns_of(["cost-v1:grid_score_median"], twice)[0].task == "cost-v1"


@pytest.mark.parametrize("format", ["md", "tex", "html"])
def test_what_is_left_out_stands_below_the_table(format: str) -> None:
    frame = leaderboard(records("controls/ideal_grid-v1"))
    assert "Left out: record a.json is truncated" in render(frame, format, left_out=["record a.json is truncated"])


def test_unknown_format_and_no_records() -> None:
    with pytest.raises(InputError, match="unknown format 'markdown'"):
        render(leaderboard(records("controls/ideal_grid-v1")), "markdown")
    with pytest.raises(InputError, match="no records"):
        leaderboard([])


def test_stale_records_are_refused() -> None:
    good = records("controls/ideal_grid-v1")[0]
    assert stale(good) == ""
    for change, why in (
        ({"model": "controls/ideal_grid-v0"}, "not registered"),
        ({"task": "gridness-v0"}, "newer version"),
        ({"config": good.config | {"gone": 1}}, "unknown config key"),
        ({"config_hash": "0" * 12}, "other fields"),
    ):
        old = good.model_copy(update=change)
        assert why in stale(old)
        with pytest.raises(InputError, match="is stale"):
            leaderboard([old])


def test_seeds_are_those_of_the_tasks_shown() -> None:
    made = records("controls/random_rnn-v1", seeds=3)
    fewer = [record for record in made if record.task != "topology-v3" or record.seed == 0]
    assert leaderboard(fewer)["seeds"].tolist() == ["3"]
    assert leaderboard(fewer, TABLES["codes"])["seeds"].tolist() == ["1–3"]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_shows_its_own_columns(name: str) -> None:
    columns = TABLES[name]
    frame = leaderboard(records("controls/ideal_grid-v1"), columns)
    for column in columns:
        assert frame[column.heading].item() == VALUES[column.metric] or column.metric == "grid_score_median"
        assert column.heading in render(frame, "md", columns)


def test_tidy_has_a_row_for_everything() -> None:
    made = records("controls/random_rnn-v1", seeds=2)
    frame = tidy([*made, made[0].model_copy(update={"status": "failed", "error": "why", "metrics": ()})])
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == 2 * len(ALL) + 1
    assert frame[frame["status"] == "failed"]["reason"].tolist() == ["why"]
