"""The figures of ssl/'s sweeps: claims hold on networks made to, fail on their controls, and may be not run."""

import matplotlib

matplotlib.use("Agg")

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from entorhinal.benchmarks.ssl_measures import MEASURES, SHIPPED, measured
from entorhinal.benchmarks.sweep import Sweep
from entorhinal.families.registry import get_class
from entorhinal.paper_figures import distance_preserving_sigma, ssl_ablations, ssl_models, ssl_networks
from entorhinal.paper_figures.figure import Data

FIGURES = (ssl_ablations, distance_preserving_sigma, ssl_models)
MODULES = pytest.mark.parametrize("module", FIGURES, ids=lambda module: module.FIGURE.id)
PLAIN = dict.fromkeys(MEASURES, 0.5) | {"module_count": 1.0, "grid_fraction": 0.01, "ellipticity_median": 1.02}
GRIDS = {"score_mean": 1.145, "grid_fraction": 0.8}


def as_claimed(name: str) -> dict[str, Any]:
    """Measures of a condition for which every claim holds."""
    wanted: dict[str, dict[str, Any]] = {
        "SIC": GRIDS | {"module_count": 3, "independent_modules": 3, "field_width_m": 0.12},
        ssl_ablations.NO_CONFORMAL: {"module_count": 3, "ellipticity_median": 1.2},
        ssl_ablations.UNPERMUTED: {"spatial_information": 0.02},
        ssl_ablations.LONE: {"spatial_information": 0.02},
        distance_preserving_sigma.FORWARD: GRIDS | {"band_fraction": 0.01},
        distance_preserving_sigma.RECURRENT: GRIDS | {"band_fraction": 0.2},
        "feed-forward, σ 1.5": GRIDS,
        "feed-forward, σ 1": {"score_mean": 0.03},
        "feed-forward, σ 2.5": {"score_mean": 0.16},
        ssl_networks.THREE_MODULES: GRIDS | {"module_count": 3, "independent_modules": 3, "score_mean": 1.4},
        ssl_networks.ONE_TORUS: GRIDS | {"module_count": 1, "independent_modules": 1},
        ssl_networks.NOISE: {"score_mean": 0.1, "grid_fraction": 0.01},
    }
    widths = {"field_width_m": 0.3 * ssl_ablations.WIDTHS[name]} if name in ssl_ablations.WIDTHS else {}
    return PLAIN | wanted.get(name, {}) | widths


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
        verdict = claim.judge("f", data).verdict
        if verdict != "not run":
            assert claim.judge("f", claim.control(data)).verdict == "fails", claim.id


@MODULES
def test_figures_draw_with_all_networks_and_with_none(module) -> None:
    for data in (made(module), Data(made(module).table.iloc[:0])):
        canvas = module.draw(data)
        canvas.draw_without_rendering()
        assert len(canvas.get_axes()) >= 6


@pytest.mark.parametrize("module", [ssl_ablations, distance_preserving_sigma], ids=lambda module: module.FIGURE.id)
def test_every_condition_is_one_setting_of_its_sweep_and_no_setting_is_left_out(module) -> None:
    sweeps = {condition.sweep for condition in module.CONDITIONS}
    found: dict[str, int] = dict.fromkeys((condition.name for condition in module.CONDITIONS), 0)
    networks = 0
    for name in sweeps:
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


def test_every_sweep_of_the_project_can_run() -> None:
    plans = sorted(SHIPPED.glob("*.toml"))
    assert len(plans) >= 8
    for path in plans:
        Sweep.read(path)


def test_controls_are_what_they_are_called() -> None:
    data = ssl_networks.networks(ssl_networks.CONTROLS)
    assert ssl_networks.median_of(data, ssl_networks.THREE_MODULES, "independent_modules") == 3
    assert ssl_networks.median_of(data, ssl_networks.ONE_TORUS, "independent_modules") == 1
    assert ssl_networks.median_of(data, ssl_networks.NOISE, "grid_fraction") < 0.05
    assert measured("nothing").empty
