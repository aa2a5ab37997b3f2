"""Every figure keeps the form, and every claim on records fails on its control and follows its record."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from entorhinal.benchmarks import load_records
from entorhinal.benchmarks.records import SHIPPED
from entorhinal.families.errors import InputError
from entorhinal.families.registry import list_models
from entorhinal.paper_figures import FIGURES, gridness, leaderboard, load_figure
from entorhinal.paper_figures.figure import Claim, Data, Figure, within
from entorhinal.paper_figures.render import claims_markdown, read_claims, render


def silent(done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("id", FIGURES)
def test_every_figure_keeps_the_form(id: str) -> None:
    module = load_figure(id)
    assert isinstance(module.FIGURE, Figure)
    assert module.FIGURE.id == id
    assert len(module.FIGURE.caption) > 60
    assert set(module.FIGURE.models) <= set(list_models())
    assert module.claims
    for claim in module.claims:
        assert math.isfinite(claim.low) or math.isfinite(claim.high), f"{claim.id} can only hold"


def test_claim_ids_are_unique() -> None:
    ids = [claim.id for id in FIGURES for claim in load_figure(id).claims]
    assert len(set(ids)) == len(ids)


def test_unknown_figure_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'gridness'"):
        load_figure("gridnes")


@pytest.fixture(scope="module")
def shipped() -> dict[str, Data]:
    """Data of the two figures that rest on records, from the shipped ones alone."""
    return {"gridness": gridness.compute(silent, live=()), "leaderboard": leaderboard.compute(silent)}


@pytest.mark.parametrize("module", [gridness, leaderboard], ids=lambda module: module.FIGURE.id)
def test_claims_on_records_hold_or_fail_and_fail_on_their_controls(module, shipped) -> None:
    data = shipped[module.FIGURE.id]
    for claim in module.claims:
        assert claim.judge("f", data).verdict in ("holds", "fails")
        assert claim.judge("f", claim.control(data)).verdict == "fails", claim.id
        empty = Data(data.table[data.table["model"] == "none"], data.arrays)
        assert claim.judge("f", empty).verdict == "not run"


@pytest.mark.parametrize("module", [gridness, leaderboard], ids=lambda module: module.FIGURE.id)
def test_figures_draw(module, shipped) -> None:
    canvas = module.draw(shipped[module.FIGURE.id])
    canvas.draw_without_rendering()
    assert canvas.get_axes()


def test_a_changed_record_changes_the_claim(tmp_path, monkeypatch) -> None:
    """The sheet's record is copied with its units' scores lowered; its claim, which held, fails."""
    for record in load_records():
        if record.task != gridness.TASK or not record.artifact_sha256:  # none where the task does not apply
            continue
        arrays = record.arrays(SHIPPED)
        if record.model == gridness.RECORDED:
            arrays["scores"] = arrays["scores"] - 2
        record.model_copy(update={"artifact_sha256": ""}).write(tmp_path, arrays)
    (claim,) = (claim for claim in gridness.claims if claim.id == "burak_fiete_grid_units")
    before = claim.judge("f", gridness.compute(silent, live=()))
    monkeypatch.setattr(gridness, "SHIPPED", tmp_path)
    monkeypatch.setattr(gridness, "find_record", lambda *key, **config: find_in(tmp_path, *key, **config))
    after = claim.judge("f", gridness.compute(silent, live=()))
    assert (before.verdict, after.verdict) == ("holds", "fails")


def find_in(folder, model: str, task: str, config=None):
    from entorhinal.benchmarks.records import find_record

    return find_record(model, task, folder, config=config)


def test_a_missing_record_says_which_command_makes_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gridness, "find_record", lambda *key, **config: find_in(tmp_path, *key, **config))
    with pytest.raises(InputError, match=r"entorhinal run .* --tasks gridness-v2 --out .*makes it"):
        gridness.compute(silent, live=())


def test_live_scores_equal_the_shipped_ones(shipped) -> None:
    """The records are those of this code: one model, scored again here."""
    model = "function_optimization/dordek-v1"
    live = gridness.compute(silent, live=(model,)).table.query("model == @model")
    recorded = shipped["gridness"].table.query("model == @model")
    np.testing.assert_allclose(live["score"], recorded["score"], atol=0.02)


def test_judging() -> None:
    def claim(**bounds) -> Claim:
        return Claim("c", "s", "p", "cite", lambda data: data.table["x"].iloc[0], lambda data: data, **bounds)

    one = Data(pd.DataFrame({"x": [1.05]}))
    assert claim(**within(1.0)).judge("f", one).verdict == "holds"
    assert claim(**within(1.0, 0.01)).judge("f", one).verdict == "fails"
    assert claim(low=2.0).judge("f", one).verdict == "fails"
    missing = claim(low=0.0).judge("f", Data(pd.DataFrame({"y": [1]})))
    assert missing.verdict == "not run"
    assert math.isnan(missing.ours)
    nothing = claim(low=0.0).judge("f", Data(pd.DataFrame({"x": [math.nan]})))
    assert nothing.verdict == "fails", "a statistic that is NaN is no success"
    assert within(-2.0) == {"low": -2.2, "high": -1.8}


def test_rendering_keeps_the_claims_of_other_figures(tmp_path, monkeypatch) -> None:
    from contextlib import contextmanager

    @contextmanager
    def bar(description: str):
        yield silent

    first = render(["economy_ratio"], tmp_path, progress=bar)
    render(["leaderboard"], tmp_path, progress=bar)
    assert {v.figure for v in read_claims(tmp_path)} == {"economy_ratio", "leaderboard"}
    again = render(["economy_ratio"], tmp_path, progress=bar)
    assert [replace(v) for v in again] == first
    kept = read_claims(tmp_path)
    assert len(kept) == len({v.id for v in kept})
    assert claims_markdown(kept) == (tmp_path / "claims.md").read_text()
    rows = json.loads((tmp_path / "claims.json").read_text())
    assert set(rows[0]) == {"id", "figure", "statement", "paper", "ours", "verdict", "citation"}
    assert (tmp_path / "economy_ratio.csv").read_text().count("\n") > 10
    caption = load_figure("economy_ratio").FIGURE.caption
    assert Image.open(tmp_path / "economy_ratio.png").info["Description"] == caption
    (tmp_path / "claims.json").write_text("[")
    with pytest.raises(InputError, match="delete it and draw again"):
        read_claims(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        render(["economy_ratio"], tmp_path / "file" / "below", progress=bar)
