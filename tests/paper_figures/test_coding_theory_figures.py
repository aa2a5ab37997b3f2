"""The coding-theory figures: every claim holds on the data, fails on its control, and follows the data."""

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

from pathlib import Path
from types import ModuleType

import pytest

from entorhinal.paper_figures import economy_ratio, residue_range
from entorhinal.paper_figures.figure import Claim, Data

MODULES = (residue_range, economy_ratio)
CASES = [pytest.param(module, claim, id=claim.id) for module in MODULES for claim in module.claims]


@pytest.fixture(scope="module")
def computed() -> dict[str, Data]:
    patch = pytest.MonkeyPatch()
    patch.setattr(residue_range, "SAMPLES", 12)
    patch.setattr(residue_range, "NOISE_CYCLES", (0.001, 0.03))
    seen: list[tuple[int, int]] = []
    data = {module.FIGURE.id: module.compute(lambda done, total: seen.append((done, total))) for module in MODULES}
    patch.undo()
    assert all(done <= total for done, total in seen)
    return data


@pytest.mark.parametrize(("module", "claim"), CASES)
def test_claim_holds_and_fails_on_its_control(module: ModuleType, claim: Claim, computed: dict[str, Data]) -> None:
    data = computed[module.FIGURE.id]
    before = data.table.copy()
    assert claim.judge(module.FIGURE.id, data).verdict == "holds"
    assert claim.judge(module.FIGURE.id, claim.control(data)).verdict == "fails"
    assert data.table.equals(before)
    assert list(claim.control(data).table.columns) == list(data.table.columns)


@pytest.mark.parametrize(("module", "claim"), CASES)
def test_claim_without_data_is_not_run(module: ModuleType, claim: Claim, computed: dict[str, Data]) -> None:
    empty = replace(computed[module.FIGURE.id], table=computed[module.FIGURE.id].table.iloc[:0])
    assert claim.judge(module.FIGURE.id, empty).verdict == "not run"


def test_equal_periods_fail_every_claim_about_range(computed: dict[str, Data]) -> None:
    data = residue_range._impostor("a", "equal periods")(computed["residue_range"])
    verdicts = {claim.id: claim.judge("residue_range", data).verdict for claim in residue_range.claims}
    assert verdicts["residue_range_is_lcm"] == "fails"
    assert verdicts["residue_range_exponential"] == "fails"
    assert verdicts["residue_range_over_period"] == "fails"


def test_a_perturbed_table_changes_the_claim(computed: dict[str, Data]) -> None:
    data = computed["residue_range"]
    table = data.table.copy()
    table.loc[table.index[table["code"] == "residue"][3], "range"] -= 1
    claim = residue_range.claims[0]
    assert claim.judge("residue_range", replace(data, table=table)).verdict == "fails"


def test_measured_ranges() -> None:
    assert residue_range.decoded_range([6, 10, 15]) == 30
    assert residue_range.counted_range([6, 10, 15]) == 30
    assert residue_range.decoded_range([7, 7]) == 7


@pytest.mark.parametrize("module", MODULES)
def test_draw(module: ModuleType, computed: dict[str, Data], tmp_path: Path) -> None:
    canvas = module.draw(computed[module.FIGURE.id])
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in canvas.axes)
    for suffix in ("pdf", "png"):
        canvas.savefig(tmp_path / f"figure.{suffix}")
