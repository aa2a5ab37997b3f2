"""The figure of peak selection: its claims hold, fail on their controls, and follow the data."""

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest

from entorhinal.paper_figures import peak_selection_modules as module
from entorhinal.paper_figures.figure import Claim, Data


@pytest.fixture(scope="module")
def computed() -> Data:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NEURONS", 3000)
        patch.setattr(module, "LENGTHS", (2500, 3000, 3500))
        patch.setattr(module, "NOISE_SEEDS", (0, 1, 2))
        patch.setattr(module, "SHEET", {})
        patch.setattr(module, "WINDOW", 72)
        return module.compute(lambda done, total: None)


def with_smooth_sheet(data: Data) -> Data:
    """Data whose sheet without a ring has waves 1.22 times as long as inhibition is wide."""
    chosen = data.table["panel"].eq("e") & data.table["kernel"].eq("none")
    rows = data.table[chosen]
    smooth = module.in_modules(rows.assign(period_neurons=1.22 * rows["width_neurons"]))
    return replace(data, table=pd.concat((data.table[~chosen], smooth), ignore_index=True))


@pytest.mark.parametrize("claim", module.claims, ids=lambda claim: claim.id)
def test_claim_holds_and_fails_on_its_control(claim: Claim, computed: Data) -> None:
    if claim.id == "peak_selection_sheet_smooth":  # a small sheet has too few bumps to be smooth: a known one instead
        computed = with_smooth_sheet(computed)
    before = computed.table.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LENGTHS", (2500, 3000, 3500))
        assert claim.judge("f", computed).verdict == "holds"
        control = claim.control(computed)
        assert claim.judge("f", control).verdict == "fails"
    assert computed.table.equals(before)
    assert list(control.table.columns) == list(before.columns)
    empty = replace(computed, table=computed.table.iloc[:0])
    assert claim.judge("f", empty).verdict == "not run"


def test_modules_of_a_sheet_without_any_fail_their_claims(computed: Data) -> None:
    smooth = replace(computed, table=computed.table.assign(module=-1))
    verdicts = {claim.id: claim.judge("f", smooth).verdict for claim in module.claims if "sheet" in claim.id}
    assert verdicts.pop("peak_selection_sheet_smooth") == "holds"
    assert set(verdicts.values()) == {"fails"}


def test_drawn(computed: Data) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LENGTHS", (2500, 3000, 3500))
        canvas = module.draw(computed)
    canvas.draw_without_rendering()
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)
