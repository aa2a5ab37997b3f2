"""The coding-theory figures: claims follow the data and fail on their controls; what failed when run still fails."""

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from entorhinal.paper_figures import (
    dynamic_allocation,
    economy_ratio,
    error_correcting_range,
    nested_fisher,
    residue_range,
)
from entorhinal.paper_figures.figure import Claim, Data

MODULES = (residue_range, economy_ratio, error_correcting_range, nested_fisher, dynamic_allocation)
CASES = [pytest.param(module, claim, id=claim.id) for module in MODULES for claim in module.claims]
FAIL = {
    "error_correcting_below_place",
    "dynamic_steady_error_few_spikes",
    "dynamic_memory_few_spikes",
    "dynamic_gain_few_spikes",
}
"""Judged as failing in full. A small run decides all but `UNDECIDED`, which need its size."""
UNDECIDED = {
    "error_correcting_exponential",
    "error_correcting_below_place",
    "dynamic_memory_few_spikes",
    "dynamic_gain_few_spikes",
}


@pytest.fixture(scope="module")
def computed() -> dict[str, Data]:
    patch = pytest.MonkeyPatch()
    patch.setattr(residue_range, "SAMPLES", 12)
    patch.setattr(residue_range, "NOISE_CYCLES", (0.001, 0.03))
    patch.setattr(error_correcting_range, "SAMPLES", 2000)
    patch.setattr(error_correcting_range, "FEW_SAMPLES", 60)
    patch.setattr(error_correcting_range, "NOISE_CYCLES", (0.001, 0.003, 0.01, 0.03))
    patch.setattr(error_correcting_range, "RANGES", (1e2, 4e3, error_correcting_range.LONGEST))
    patch.setattr(nested_fisher, "SAMPLES", 600)
    patch.setattr(dynamic_allocation, "TRIALS", 20)
    patch.setattr(dynamic_allocation, "STEPS", 300)
    seen: list[tuple[int, int]] = []
    data = {module.FIGURE.id: module.compute(lambda done, total: seen.append((done, total))) for module in MODULES}
    patch.undo()
    assert all(done <= total for done, total in seen)
    return data


@pytest.mark.parametrize(("module", "claim"), CASES)
def test_claim_is_judged_and_fails_on_its_control(module: ModuleType, claim: Claim, computed: dict[str, Data]) -> None:
    data = computed[module.FIGURE.id]
    before = data.table.copy()
    if claim.id not in UNDECIDED:
        assert claim.judge(module.FIGURE.id, data).verdict == ("fails" if claim.id in FAIL else "holds")
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


def test_an_exponential_and_a_power_law_are_told_apart(computed: dict[str, Data]) -> None:
    data = computed["error_correcting_range"]
    claim = error_correcting_range.claims[0]
    table = data.table
    for law, wanted in ((lambda m: np.exp(-0.7 * m), "holds"), (lambda m: m**-3.0, "fails")):
        noise = np.exp(0.02 * np.random.default_rng(0).standard_normal(len(table)))
        made = replace(data, table=table.assign(rms=law(table["modules"].to_numpy(float)) * noise))
        assert claim.judge("error_correcting_range", made).verdict == wanted


def test_walks_diffuse_and_stay_within_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic_allocation, "TRIALS", 4000)
    monkeypatch.setattr(dynamic_allocation, "BURN_IN", 50)
    monkeypatch.setattr(dynamic_allocation, "STEPS", 50)
    free = dynamic_allocation._walk(0.05, torch.Generator().manual_seed(0), 1e6)
    moved = free[:, -1] - free[:, 0]
    assert moved.square().mean() == pytest.approx(2 * 0.05 * 99 * dynamic_allocation.DT_S, rel=0.06)
    near = dynamic_allocation._walk(0.05, torch.Generator().manual_seed(0), 0.05)
    assert near.abs().max() <= 0.05
    assert (near[:, 1:] - near[:, :-1]).abs().max() < 0.07


@pytest.mark.parametrize("module", MODULES)
def test_draw(module: ModuleType, computed: dict[str, Data], tmp_path: Path) -> None:
    canvas = module.draw(computed[module.FIGURE.id])
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in canvas.axes)
    for suffix in ("pdf", "png"):
        canvas.savefig(tmp_path / f"figure.{suffix}")
