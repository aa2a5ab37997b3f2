"""The figure of peak selection: its claims hold, fail on their controls, and follow the data."""

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import pytest

from entorhinal.paper_figures import peak_selection_modules as module
from entorhinal.paper_figures.figure import Claim, Data


@pytest.fixture(scope="module")
def computed() -> Data:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NEURONS", 3000)
        patch.setattr(module, "LENGTHS", (2500, 3000, 3500))
        patch.setattr(module, "NOISE_SEEDS", (0, 1, 2))
        return module.compute(lambda done, total: None)


@pytest.mark.parametrize("claim", module.claims, ids=lambda claim: claim.id)
def test_claim_holds_and_fails_on_its_control(claim: Claim, computed: Data) -> None:
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


def test_drawn(computed: Data) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LENGTHS", (2500, 3000, 3500))
        canvas = module.draw(computed)
    canvas.draw_without_rendering()
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)
