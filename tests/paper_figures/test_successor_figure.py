"""Claims on rooms of successor representations: judged small as in full, failing on their controls."""

from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")

import pytest

from entorhinal.paper_figures import successor_rooms as figure
from entorhinal.paper_figures.figure import Claim, Data

BY_ID = pytest.mark.parametrize("claim", figure.claims, ids=lambda claim: claim.id)
FAILS = {"successor_nonnegative"}
"""Factors of the successor representation are place fields, not grids."""


@pytest.fixture(scope="module")
def data() -> Iterator[Data]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"BINS": 20, "SEEDS": 2, "ITERATIONS": 60}.items():
            patch.setattr(figure, name, value)
        seen: list[tuple[int, int]] = []
        yield figure.compute(lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]


@BY_ID
def test_verdicts_and_controls(claim: Claim, data: Data) -> None:
    assert claim.judge("f", data).verdict == ("fails" if claim.id in FAILS else "holds")
    assert claim.judge("f", claim.control(data)).verdict == "fails"
    assert claim.judge("f", Data(data.table.iloc[:0])).verdict == "not run"


@BY_ID
def test_claims_follow_the_data(claim: Claim, data: Data) -> None:
    table = data.table.copy()
    for column in ("grid_score", "one_wave", "halves", "ratio", "between"):
        table[column] = 0.5 * table[column] + 0.01
    assert claim.statistic(Data(table)) != pytest.approx(claim.statistic(data), rel=1e-3)


def test_it_draws(data: Data) -> None:
    canvas = figure.draw(data)
    canvas.draw_without_rendering()
    assert len(canvas.get_axes()) == 5 * 15 + 3
