"""The figure of nested lesions: its claims fail on their controls, follow the data, and are judged as they come."""

from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import pytest
import torch

from entorhinal.families.coding_theory.nested_decoder import NestedDecoder
from entorhinal.paper_figures import nested_decoder_lesions as figure
from entorhinal.paper_figures.figure import Claim, Data


@pytest.fixture(scope="module")
def computed() -> Data:
    """Fewer codes, read from so few spikes that few trials show large errors."""
    patch = pytest.MonkeyPatch()
    patch.setattr(figure, "TRIALS", 4)
    patch.setattr(figure, "LARGE_SHARE", 1 / 50)
    patch.setattr(figure, "MODULES", (3, 7, 12))
    seen: list[tuple[int, int]] = []
    data = figure.compute(lambda done, total: seen.append((done, total)))
    patch.undo()
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    return data


@pytest.mark.parametrize("claim", figure.claims, ids=lambda claim: claim.id)
def test_claims_fail_on_their_controls(claim: Claim, computed: Data) -> None:
    before = computed.table.copy()
    assert claim.judge("f", computed).verdict in ("holds", "fails")
    control = claim.control(computed)
    assert claim.judge("f", control).verdict == "fails"
    assert list(control.table.columns) == list(before.columns)
    assert computed.table.equals(before)
    assert claim.judge("f", replace(computed, table=before.iloc[:0])).verdict == "not run"


def ideal(computed: Data) -> Data:
    """What the paper says, in the form of the data."""
    table = computed.table.copy()
    lesion, middle = table["panel"] == "lesion", table["silenced"].str.startswith("middle")
    table.loc[lesion, "large_share"] = 0.002
    table.loc[lesion & middle, "large_share"] = 0.1
    table.loc[lesion, "median_m"] = 0.02
    table.loc[lesion & (table["silenced"] == "smallest"), "median_m"] = 0.03
    table.loc[~lesion, "large_share"] = (table.loc[~lesion, "ratio"] - 1.45).abs()
    return replace(computed, table=table)


@pytest.mark.parametrize("claim", figure.claims, ids=lambda claim: claim.id)
def test_claims_hold_where_the_paper_is_right(claim: Claim, computed: Data) -> None:
    data = ideal(computed)
    assert claim.judge("f", data).verdict == "holds"
    assert claim.judge("f", claim.control(data)).verdict == "fails"


def test_a_lesion_is_as_if_the_module_were_not_there() -> None:
    model = NestedDecoder.make(phases_per_axis=6)
    place_m, counts = figure.read(model, 20.0, 1 / 6, torch.Generator().manual_seed(0))
    without = figure.errors_m(model, "likely", place_m, counts, 0)
    smaller = NestedDecoder.make(phases_per_axis=6, modules=4, smallest_period_m=model.period_m[1])
    torch.testing.assert_close(without, figure.errors_m(smaller, "likely", place_m, counts[:, 36:]))


def test_draw(computed: Data, tmp_path: Path) -> None:
    canvas = figure.draw(computed)
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in canvas.axes)
    canvas.savefig(tmp_path / "figure.png")
