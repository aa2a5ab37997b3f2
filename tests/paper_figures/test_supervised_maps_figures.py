"""The figures of networks trained on places: claims hold on data made to, fail on controls, and may be not run."""

import matplotlib

matplotlib.use("Agg")

import json

import numpy as np
import pandas as pd
import pytest

from entorhinal.benchmarks.ssl_measures import SHIPPED
from entorhinal.benchmarks.sweep import Sweep
from entorhinal.families.registry import get_class
from entorhinal.paper_figures import supervised_maps, supervised_networks, supervised_paths
from entorhinal.paper_figures.figure import Data
from entorhinal.paper_figures.supervised_networks import (
    BANINO,
    BANINO_FULL,
    BF16,
    CONDITIONS,
    CUEVA_WEI,
    CUEVA_WEI_FULL,
    FLOAT32,
    FULL,
    NAYEBI_FULL,
    NO_DROPOUT,
    NO_DROPOUT_FULL,
    SORSCHER,
    TF32,
)

MODULES = pytest.mark.parametrize("module", [supervised_maps, supervised_paths], ids=lambda module: module.FIGURE.id)


def as_claimed() -> Data:
    """Data for which every claim holds."""
    share = {CUEVA_WEI: 0.1, BANINO: 0.25, NO_DROPOUT: 0.0, FULL: 0.2, NAYEBI_FULL: 0.2}
    share |= {CUEVA_WEI_FULL: 0.1, BANINO_FULL: 0.25, NO_DROPOUT_FULL: 0.0}
    share |= {FLOAT32: 0.06, TF32: 0.05, BF16: 0.07, SORSCHER: 0.15}
    measures = dict.fromkeys(supervised_networks.MEASURES, 0.5) | {"path_error_m": 0.1}
    rows = [
        {"condition": c.name, "seed": seed} | measures | {"grid_fraction": share.get(c.name, 0.01)}
        for c in CONDITIONS
        for seed in range(3)
    ]
    for condition in (SORSCHER, CUEVA_WEI, BANINO):
        rows.append({"condition": condition, "band_fraction": 0.2})
        along = {"condition": condition, "where": supervised_paths.INSIDE, "training_steps": 2}
        rows += [along | {"step": step, "error_m": 0.05 * step} for step in (1, 2, 3)]
        away = {"condition": condition, "where": supervised_paths.BEYOND}
        rows += [away | {"away_m": away_m, "error_m": away_m} for away_m in (0.3, 0.9)]
    maps = np.random.default_rng(0).random((6, 44, 44))
    return Data(pd.DataFrame(rows), {f"maps {SORSCHER}": maps, f"scores {SORSCHER}": np.linspace(1, 0, 6)})


@MODULES
def test_claims_hold_fail_on_their_controls_and_know_when_nothing_was_run(module) -> None:
    data = as_claimed()
    for claim in module.claims:
        assert claim.judge("f", data).verdict == "holds", claim.id
        assert claim.judge("f", claim.control(data)).verdict == "fails", claim.id
        assert claim.judge("f", Data(data.table.iloc[:0])).verdict == "not run", claim.id


def test_a_fair_share_without_noise_breaks_the_claim_that_it_is_needed() -> None:
    claim = next(c for c in supervised_maps.claims if c.id == "cueva_wei_needs_noise_and_cost")
    data = as_claimed()
    for condition in (supervised_networks.NO_NOISE, supervised_networks.NO_COST):
        changed = supervised_networks.with_value(condition, "grid_fraction", 0.08)(data)
        assert claim.judge("f", changed).ours == pytest.approx(0.1 / 0.08)


def test_only_measured_conditions_have_a_place() -> None:
    data = as_claimed()
    table = data.table[(data.table["condition"] != SORSCHER) | data.table["band_fraction"].notna()]
    found = supervised_networks.measured_of(Data(table), "grid_fraction")
    assert found == [c.name for c in CONDITIONS if c.name != SORSCHER]


def test_the_precision_that_is_farthest_off_is_judged() -> None:
    claim = next(c for c in supervised_maps.claims if c.id == "sorscher_precision")
    data = as_claimed()
    assert claim.judge("f", data).ours == pytest.approx(0.05 / 0.06)
    for share, verdict in ((0.085, "holds"), (0.095, "fails"), (0.01, "fails")):
        changed = supervised_networks.with_value(BF16, "grid_fraction", share)(data)
        assert claim.judge("f", changed).ours == pytest.approx(share / 0.06)
        assert claim.judge("f", changed).verdict == verdict


@MODULES
def test_on_what_is_shipped_claims_are_judged_and_the_figure_draws(module, monkeypatch) -> None:
    if module is supervised_maps:
        monkeypatch.setattr(module, "WALKS", 2)
        monkeypatch.setattr(module, "UNITS", 20)
        monkeypatch.setattr(module, "NULL_MAPS", 5)
    monkeypatch.setattr(module, "TRIALS", 200)
    data = module.compute(lambda done, total: None)
    verdicts = [claim.judge("f", data).verdict for claim in module.claims]
    for claim, verdict in zip(module.claims, verdicts, strict=True):
        if verdict != "not run":
            assert claim.judge("f", claim.control(data)).verdict == "fails", claim.id
    if module is supervised_paths:
        assert dict(zip([claim.id for claim in module.claims], verdicts, strict=True))["sorscher_confined"] == "holds"
    else:
        assert data.arrays[f"maps {SORSCHER}"].shape == (6, 44, 44)
    for shown in (data, as_claimed(), Data(as_claimed().table.iloc[:0])):
        module.draw(shown).draw_without_rendering()


def test_every_condition_is_one_setting_of_its_sweep_and_no_setting_is_left_out() -> None:
    ten = ("cueva_wei", "banino", "nayebi", "sorscher", "sorscher_gaussian")
    ten += ("sorscher_float32", "sorscher_tf32", "sorscher_bf16", "cueva_wei_full")
    three = ("sorscher_full", "sorscher_full_tf32", "nayebi_full", "banino_full")
    for sweep, seeds in ((name, count) for names, count in ((ten, 10), (three, 3)) for name in names):
        plan = Sweep.read(SHIPPED / f"{sweep}.toml")
        cls = get_class(plan.model)
        default = cls.Config()
        found = {condition.name: 0 for condition in CONDITIONS if condition.sweep == sweep}
        for network in plan.networks():
            config = cls.Config(**network.config).model_dump(mode="json")
            setting = {k: v for k, v in config.items() if k != "seed" and v != getattr(default, k)}
            row = pd.Series({"model": cls.card.id, "setting": json.dumps(setting)})
            names = [c.name for c in CONDITIONS if c.sweep == sweep and c.has(row)]
            assert len(names) == 1, (setting, names)
            found[names[0]] += 1
        assert set(found.values()) == {seeds}
