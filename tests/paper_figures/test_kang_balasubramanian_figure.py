"""The figure of coupled sheets, on smaller ones: its claims hold, fail on their controls, and follow the data."""

from collections.abc import Iterator
from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from entorhinal.paper_figures import kang_balasubramanian_modules as module
from entorhinal.paper_figures.figure import Claim, Data

stored = module.stored  # the fixture below replaces it


def followed() -> pd.DataFrame:
    """What is stored of two systems of four sheets: two modules that fit, and spacings that grow."""
    fit = (0.33, 0.332, 0.572, 0.571), (0.1, 0.1, 0.1 + np.pi / 6, 0.1 + np.pi / 6)
    grown = (0.2, 0.25, 0.31, 0.39), (0.1, 0.5, 0.9, 0.3)
    tables = [
        pd.DataFrame({"run": run, "network": range(1, 5), "spacing_m": spacing_m, "orientation_rad": orientation_rad})
        for run, (spacing_m, orientation_rad) in (("coupled", fit), ("uncoupled", grown))
    ]
    sheets = pd.concat(tables).assign(panel="e", is_torus=1.0, rolled_is_torus=0.0, error_m=0.02, apart_m=0.01)
    return pd.concat((sheets, scanned()))


def scanned() -> pd.DataFrame:
    """Pairs at two couplings, one of which goes from one lattice to √7/2, and without: spacings as the inhibition."""
    rows = []
    for coupling in (0.0, 0.8, 2.6):
        for seed in (0, 1):
            for ratio in (1.2, 1.24, 1.28, 1.32, 1.4, 1.8):
                found = ratio, 12.0
                if coupling:
                    met = (1.32, 19.0) if coupling < 1 else (1.38, 25.0)
                    found = (1.73, 30.0) if ratio > 1.5 else met if ratio > 1.26 + 0.01 * coupling else (1.02, 0.0)
                rows.append((coupling, 8.0, ratio, seed, *found))
    columns = ["coupling", "spread_neurons", "inhibition_ratio", "seed", "ratio", "difference_deg"]
    return pd.DataFrame(rows, columns=columns).assign(panel="f")


@pytest.fixture(scope="module")
def computed() -> Iterator[Data]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SYSTEM", {})
        patch.setattr(module, "RUNS", (("coupled", 0), ("uncoupled", 0)))
        patch.setattr(module, "PAIR_RATIOS", (1.3, 1.4, 1.7))
        patch.setattr(module, "stored", followed)
        seen: list[tuple[int, int]] = []
        yield module.compute(lambda done, total: seen.append((done, total)))
        assert seen == sorted(seen)
        assert seen[-1][0] == seen[-1][1]


def with_spacings(data: Data, *spacings: float) -> Data:
    """Data in which the coupled sheets have these spacings."""
    table = data.table.copy()
    coupled = (table["panel"] == "a") & (table["run"] == "coupled")
    table.loc[coupled, "spacing_neurons"] = np.array(spacings)
    return replace(data, table=table)


@pytest.mark.parametrize("claim", module.claims, ids=lambda claim: claim.id)
def test_claim_holds_and_fails_on_its_control(claim: Claim, computed: Data) -> None:
    if claim.id == "kang_ratio":  # small sheets bend their largest lattices: a known system instead
        computed = with_spacings(computed, 10, 10.2, 10, 17.4, 17.4, 17.6)
    before = computed.table.copy()
    assert claim.judge("f", computed).verdict == "holds"
    control = claim.control(computed)
    assert claim.judge("f", control).verdict == "fails"
    assert computed.table.equals(before)
    assert list(control.table.columns) == list(before.columns)
    empty = replace(computed, table=computed.table.iloc[:0])
    assert claim.judge("f", empty).verdict == "not run"


def test_modules_of_known_systems(computed: Data) -> None:
    assert module.module_ratios(with_spacings(computed, 10, 11, 10, 20, 22, 21)) == pytest.approx([2.1])
    assert module.module_ratios(with_spacings(computed, 10, 14, 14, 20, 20, 20)) == pytest.approx([1.4, 10 / 7])
    assert module.module_ratios(with_spacings(computed, 10, 12, 14, 16, 18, 20)) == []


def test_lattices_that_fit_are_told(computed: Data) -> None:
    rows = computed.table["panel"] == "e"

    def unfit(**columns: object) -> float:
        table = computed.table.copy()
        for column, values in columns.items():
            table.loc[rows & (table["run"] == "coupled"), column] = values
        return module._unfit(replace(computed, table=table))

    assert unfit(spacing_m=(1, 1, 2, 2), orientation_rad=0.2) == pytest.approx(0, abs=1e-9)
    assert unfit(spacing_m=(1, 1, 2.3, 2.3), orientation_rad=0.2) == pytest.approx(0.3)
    assert unfit(spacing_m=(1, 1, 7**0.5, 7**0.5), orientation_rad=(0, 0, 0, np.arctan2(3**0.5 / 2, 2.5))) < 1e-9
    assert unfit(spacing_m=(2, 2, 7**0.5, 7**0.5), orientation_rad=(0, 0, 0, np.arctan2(3**0.5 / 2, 2.5))) > 0.4


def test_without_the_stored_table_claims_on_it_are_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(module, "LONG_PATHS", tmp_path)
    data = Data(stored())
    for claim in module.claims[-5:]:
        assert claim.judge("f", data).verdict == claim.judge("f", claim.control(data)).verdict == "not run"


def test_drawn(computed: Data) -> None:
    canvas = module.draw(computed)
    canvas.draw_without_rendering()
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)
