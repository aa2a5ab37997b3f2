"""The validation figure, on fewer units: its claims hold, and fail on their controls."""

from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")

import pytest

from entorhinal.paper_figures import validation
from entorhinal.paper_figures.figure import Data


@pytest.fixture(scope="module")
def computed() -> Iterator[Data]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "UNITS", 15)
        patch.setattr(validation, "NULL_UNITS", 4)
        patch.setattr(validation, "NULL_MAPS", 10)
        seen: list[tuple[int, int]] = []
        yield validation.compute(lambda done, total: seen.append((done, total)))
        assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("claim", validation.claims, ids=lambda claim: claim.id)
def test_claims_hold_and_fail_on_their_controls(claim, computed) -> None:
    if claim.id != "validation_null":  # ten noise maps call 1 in 11 a grid unit
        assert claim.judge("validation", computed).verdict == "holds"
    assert claim.judge("validation", claim.control(computed)).verdict == "fails"
    empty = Data(computed.table[computed.table["kind"] == "none"], computed.arrays)
    assert claim.judge("validation", empty).verdict == "not run"


def test_it_draws(computed) -> None:
    canvas = validation.draw(computed)
    canvas.draw_without_rendering()
    assert len(canvas.get_axes()) == 8
