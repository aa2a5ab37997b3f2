"""Figures of trained models of function_optimization: claims hold on networks made to, and fail on their controls."""

import matplotlib

matplotlib.use("Agg")

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from entorhinal.benchmarks.ssl_measures import MEASURES, SHIPPED
from entorhinal.benchmarks.sweep import Sweep
from entorhinal.families.registry import get_class
from entorhinal.paper_figures import actionable_positivity, conformal_isometry, lie_group_paths, ssl_networks
from entorhinal.paper_figures.figure import Data
from entorhinal.paper_figures.function_networks import counted

FIGURES = (conformal_isometry, lie_group_paths, actionable_positivity)
MODULES = pytest.mark.parametrize("module", FIGURES, ids=lambda module: module.FIGURE.id)
PLAIN = dict.fromkeys(MEASURES, 0.5) | {"module_count": 1.0, "grid_fraction": 0.01}
GRIDS = {"score_mean": 1.4, "grid_fraction": 0.95, "module_count": 3, "path_error_m": 0.02}


def as_claimed(name: str) -> dict[str, Any]:
    """Measures of a condition for which every claim holds."""
    wanted: dict[str, dict[str, Any]] = {
        conformal_isometry.LINEAR: GRIDS | {"score_mean": 1.7},
        conformal_isometry.RELU: GRIDS | {"score_mean": 1.17},
        conformal_isometry.SMALL: GRIDS,
        conformal_isometry.SMALL_RELU: GRIDS,
        lie_group_paths.AS_IS: GRIDS,
        actionable_positivity.WITH: GRIDS,
        ssl_networks.ONE_TORUS: {"grid_fraction": 1.0, "module_count": 1},
    }
    scale = conformal_isometry.SCALES.get(name)
    return PLAIN | wanted.get(name, {}) | ({"spacing_median_m": 3 / scale} if scale else {})


def made(module) -> Data:
    rows = [
        {"condition": condition.name, "model": condition.model, "seed": seed, **as_claimed(condition.name)}
        for condition in (*module.CONDITIONS, *ssl_networks.CONTROLS)
        for seed in range(3)
    ]
    maps = {condition.name: np.random.default_rng(0).random((6, 64, 64)) for condition in module.CONDITIONS[1:]}
    return Data(pd.DataFrame(rows), maps)


@MODULES
def test_claims_hold_fail_on_their_controls_and_know_when_nothing_was_run(module) -> None:
    data = made(module)
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
def test_figures_draw_with_all_networks_and_with_none_and_say_how_many(module) -> None:
    for data in (made(module), Data(made(module).table.iloc[:0])):
        canvas = module.draw(data)
        canvas.draw_without_rendering()
        labels = [label.get_text() for label in canvas.get_axes()[0].get_xticklabels()]
        assert labels == [f"{c.name} (n = {3 if len(data.table) else 0})" for c in module.CONDITIONS]
    assert set(counted(made(module)).table["condition"].str.extract(r"\(n = (\d+)\)")[0]) == {"3"}


@MODULES
def test_every_condition_is_one_setting_of_its_sweep_and_no_setting_is_left_out(module) -> None:
    found: dict[str, int] = dict.fromkeys((condition.name for condition in module.CONDITIONS), 0)
    networks = 0
    for name in {condition.sweep for condition in module.CONDITIONS}:
        plan = Sweep.read(SHIPPED / f"{name}.toml")
        default = get_class(plan.model).Config().model_dump(mode="json")
        for network in plan.networks():
            setting = {k: v for k, v in network.config.items() if k != "seed" and v != default[k]}
            row = pd.Series({"model": get_class(plan.model).card.id, "setting": json.dumps(setting)})
            names = [c.name for c in module.CONDITIONS if c.sweep == name and c.has(row)]
            assert len(names) == 1, (setting, names)
            found[names[0]] += 1
            networks += 1
    assert min(found.values()) >= 3
    assert sum(found.values()) == networks
    assert found[module.CONDITIONS[0].name] >= 10


def test_a_scale_without_grids_makes_the_claim_on_spacing_fail() -> None:
    data = made(conformal_isometry)
    claim = next(claim for claim in conformal_isometry.claims if claim.id == "conformal_spacing")
    none = data.table["condition"] == conformal_isometry.SMALL
    lost = Data(data.table.assign(spacing_median_m=data.table["spacing_median_m"].where(~none)))
    assert claim.judge("f", lost).verdict == "fails"
