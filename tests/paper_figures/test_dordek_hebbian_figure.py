"""Claims on Hebbian learning hold on a small run, fail on their controls and follow the data."""

from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")

import pytest

from entorhinal.paper_figures import dordek_hebbian as figure
from entorhinal.paper_figures.figure import Claim, Data

BY_ID = pytest.mark.parametrize("claim", figure.claims, ids=lambda claim: claim.id)


@pytest.fixture(scope="module")
def data() -> Iterator[Data]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "NETWORKS", 3)
        patch.setattr(figure, "STEPS", 500)
        yield figure.compute(lambda done, total: None)


@BY_ID
def test_verdicts_and_controls(claim: Claim, data: Data) -> None:
    assert claim.judge("f", data).verdict == "holds"
    assert claim.judge("f", claim.control(data)).verdict == "fails"
    assert claim.judge("f", Data(data.table.iloc[:0])).verdict == "not run"


@BY_ID
def test_claims_follow_the_data(claim: Claim, data: Data) -> None:
    table = data.table.copy()
    table[["grid_score", "wavenumber_sigma"]] *= 0.5
    assert claim.statistic(Data(table)) == pytest.approx(0.5 * claim.statistic(data))


def test_it_draws(data: Data) -> None:
    canvas = figure.draw(data)
    canvas.draw_without_rendering()
    assert len(canvas.get_axes()) == 14
