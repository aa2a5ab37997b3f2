"""The figures of supervised/'s sweep: claims hold on networks made to, fail on their controls, and may be not run."""

import matplotlib

matplotlib.use("Agg")

import json

import numpy as np
import pandas as pd
import pytest

from entorhinal.benchmarks.ssl_measures import SHIPPED
from entorhinal.benchmarks.supervised_measures import MEASURES
from entorhinal.benchmarks.sweep import Sweep
from entorhinal.families.supervised.schaeffer import SchaefferConfig, ring_spacing_m
from entorhinal.paper_figures import no_free_lunch, schaeffer_networks, spacing_width
from entorhinal.paper_figures.figure import Data

MODULES = pytest.mark.parametrize("module", [no_free_lunch, spacing_width], ids=lambda module: module.FIGURE.id)
PLAIN = dict.fromkeys(MEASURES, 0.5) | {
    "grid_fraction": 0.01,
    "null_fraction": 0.01,
    "score_best": 0.28,
    "path_error_m": 0.05,
}


def shipped_sweep(tmp_path, monkeypatch) -> Data:
    """A made CSV of the sweep's own networks, read as the figures read it."""
    rows = []
    for network in Sweep.read(SHIPPED / "no_free_lunch.toml").networks():
        config = SchaefferConfig(**network.config)
        grids = config.target == "dos" and config.activation == "relu" and config.cell == "rnn"
        ring = ring_spacing_m(config)
        own = {"ring_m": ring, "target_ring_m": ring, "predicted_ring_m": ring, "spacing_m": ring} if grids else {}
        if grids and config.place_width_m == 0.12:
            own |= {"grid_fraction": 0.3, "score_best": 1.2}
        setting = {key: value for key, value in network.config.items() if key != "seed"}
        identity = {"network": network.name, "model": "supervised/schaeffer-v1", "seed": config.seed}
        rows.append(identity | {"setting": json.dumps(setting)} | PLAIN | own)
    pd.DataFrame(rows).to_csv(tmp_path / "no_free_lunch.csv", index=False)
    monkeypatch.setattr(schaeffer_networks, "measured", lambda name: pd.read_csv(tmp_path / f"{name}.csv"))
    maps = np.random.default_rng(0).random((2, 44, 44))
    return Data(schaeffer_networks.networks().table, {row["network"]: maps for row in rows if row["seed"] == 0})


@MODULES
def test_claims_hold_fail_on_their_controls_and_know_when_nothing_was_run(module, tmp_path, monkeypatch) -> None:
    data = shipped_sweep(tmp_path, monkeypatch)
    assert len(data.table) == 126
    for claim in module.claims:
        assert claim.judge("f", data).verdict == "holds", claim.id
        assert claim.judge("f", claim.control(data)).verdict == "fails", claim.id
        assert claim.judge("f", Data(data.table.iloc[:0])).verdict == "not run", claim.id


@MODULES
def test_on_what_is_shipped_claims_are_judged_and_fail_on_their_controls(module) -> None:
    data = module.compute(lambda done, total: None)
    for claim in module.claims:
        if claim.judge("f", data).verdict != "not run":
            assert claim.judge("f", claim.control(data)).verdict == "fails", claim.id


@MODULES
def test_figures_draw_with_all_networks_and_with_none(module, tmp_path, monkeypatch) -> None:
    data = shipped_sweep(tmp_path, monkeypatch)
    for shown in (data, Data(data.table.iloc[:0])):
        canvas = module.draw(shown)
        canvas.draw_without_rendering()
        if shown.table.empty:
            assert any("not run" in text.get_text() for ax in canvas.get_axes() for text in ax.texts)


def test_a_third_of_a_claim_is_told_from_the_whole(tmp_path, monkeypatch) -> None:
    """Grids at every width are too many for the claim of few widths, at none too few."""
    data = shipped_sweep(tmp_path, monkeypatch)
    claim = next(claim for claim in no_free_lunch.claims if claim.id == "nfl_narrow_widths")
    none = Data(data.table.assign(grid_fraction=0.0))
    assert claim.judge("f", none).verdict == "fails"
    assert claim.judge("f", data).ours == pytest.approx(1 / 7)
