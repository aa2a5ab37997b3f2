"""The figure of three other attractor sheets, in small: claims are judged, and fail on their controls."""

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.paper_figures import attractor_sheets
from entorhinal.paper_figures.figure import Claim, Data

CASES = [pytest.param(claim, id=claim.id) for claim in attractor_sheets.claims]
FAIL = {"couey_lattice"}
"""Judged as failing in full."""
TOPOLOGY = {claim.id for claim in attractor_sheets.claims if claim.id.endswith("_torus")}
"""Rest on shipped records, not on the computation."""


class Small(BurakFiete):
    @classmethod
    def make(cls, **values: object) -> BurakFiete:
        return BurakFiete.make(**{"neurons_per_side": 64, "gamma_over_beta": 1.02, **values})


@pytest.fixture(scope="module")
def computed() -> Data:
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attractor_sheets, "BurakFiete", Small)
        patch.setattr(attractor_sheets, "GAINS_PER_M", (1.0, 1.5, 2.5))
        patch.setattr(attractor_sheets, "MAP_STEPS", 500)
        patch.setattr(attractor_sheets, "WALK_STEPS", 300)
        data = attractor_sheets.compute(lambda done, total: seen.append((done, total)))
    assert all(done <= total for done, total in seen)
    assert seen == sorted(seen)
    return data


def recorded(data: Data, torus: float = 1.0) -> Data:
    """Data whose records say that Fuhs & Touretzky's states form no torus, and all others' do."""
    rows = {"panel": "topology", "model": list(attractor_sheets.JUDGED)}
    rows["is_torus"] = [0.0 if model == attractor_sheets.FUHS else torus for model in attractor_sheets.JUDGED]
    kept = data.table[data.table["panel"] != "topology"]
    return replace(data, table=pd.concat((kept, pd.DataFrame(rows))).reindex(columns=data.table.columns))


@pytest.mark.parametrize("claim", CASES)
def test_claim_is_judged_and_fails_on_its_control(claim: Claim, computed: Data) -> None:
    before = computed.table.copy()
    if claim.id in TOPOLOGY:
        assert claim.judge("f", recorded(computed, torus=0.0)).verdict == (
            "holds" if "no_torus" in claim.id else "fails"
        )
        computed = recorded(computed)
        before = computed.table.copy()
        assert claim.judge("f", computed).verdict == "holds"
    else:
        assert claim.judge("f", computed).verdict == ("fails" if claim.id in FAIL else "holds")
    control = claim.control(computed)
    assert claim.judge("f", control).verdict == "fails"
    assert computed.table.equals(before)
    assert list(control.table.columns) == list(computed.table.columns)
    assert control.arrays.keys() == computed.arrays.keys()


@pytest.mark.parametrize("claim", CASES)
def test_claim_without_data_is_not_run(claim: Claim, computed: Data) -> None:
    empty = replace(computed, table=computed.table.iloc[:0], arrays={})
    assert claim.judge("f", empty).verdict == "not run"


def test_drawn(computed: Data) -> None:
    canvas = attractor_sheets.draw(computed)
    canvas.draw_without_rendering()
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)


def test_a_turned_and_scaled_path_is_fitted_and_a_shuffled_one_is_not() -> None:
    true_m = np.random.default_rng(0).normal(size=(200, 2)).cumsum(0)
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    np.testing.assert_allclose(attractor_sheets.fitted(37.0 * true_m @ turn, true_m), true_m, atol=1e-9)
    other = np.random.default_rng(1).normal(size=(200, 2)).cumsum(0)
    left = np.square(attractor_sheets.fitted(other, true_m) - true_m).sum()
    assert left > 0.05 * np.square(true_m).sum()


def test_the_formula_is_negative_for_large_gains() -> None:
    assert attractor_sheets.formula_m(1.0) == pytest.approx(1.02)
    assert attractor_sheets.formula_m(2.0) == pytest.approx(0.54)
    assert attractor_sheets.formula_m(4.5) < 0
