"""Each claim fails on its control, follows the data, and the figure draws."""

from collections.abc import Iterator
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from entorhinal.families.function_optimization.dordek import DordekConfig
from entorhinal.paper_figures import dordek_nonnegativity as figure
from entorhinal.paper_figures.figure import Claim, Data

mpl.use("Agg")
by_id = pytest.mark.parametrize("claim", figure.claims, ids=lambda claim: claim.id)

FAILS = {"dordek_equal_waves", "dordek_60_degrees"}
"""The waves of the paper's box allow no three equal ones at 60°; the claims say so."""


@pytest.fixture(scope="module")
def data() -> Iterator[Data]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "DEFLATED", DordekConfig(networks=2, components=20, seed=1))
        patch.setattr(figure, "SWEEP_BINS", (figure.OTHER_SIGMA_BINS,))
        seen: list[tuple[int, int]] = []
        yield figure.compute(lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]


@by_id
def test_verdicts(claim: Claim, data: Data) -> None:
    assert claim.judge(figure.FIGURE.id, data).verdict == ("fails" if claim.id in FAILS else "holds")


@by_id
def test_claims_fail_on_their_controls(claim: Claim, data: Data) -> None:
    assert claim.judge(figure.FIGURE.id, claim.control(data)).verdict == "fails"


@by_id
def test_claims_follow_the_data_and_want_it(claim: Claim, data: Data) -> None:
    numbers = data.table.select_dtypes("number").columns.difference(["surround", "component", "network", "sigma_bins"])
    other = replace(data, table=data.table.copy())
    if claim.id.startswith("dordek_scale_ratio"):
        median = other.table.groupby("set")["neighbour_bins"].transform("median")
        other.table.loc[other.table["neighbour_bins"] < 0.9 * median, "neighbour_bins"] *= 0.5
        other.table.loc[other.table["neighbour_bins"] >= 0.9 * median, "neighbour_bins"] **= 1.2
    else:
        other.table[numbers] = 1.3 * other.table[numbers] - 0.1
    assert claim.statistic(other) != pytest.approx(claim.statistic(data), rel=1e-3)
    if claim.id != "dordek_input_peak":
        assert claim.judge("f", replace(data, table=data.table.iloc[:2])).verdict == "not run"


def test_two_scales_finds_two_groups() -> None:
    assert figure.two_scales(np.array([50, 51, 35, 50, 34, 35, 49])) == pytest.approx((50, 35))


def test_it_draws(data: Data, tmp_path: object) -> None:
    canvas = figure.draw(data)
    assert len(canvas.axes) == 15
    canvas.savefig(f"{tmp_path}/f.png", dpi=40)
