"""The figures of SIC networks begun as modules: claims fail on their controls and follow the data."""

import json
from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from entorhinal.benchmarks.sic_seeds import SEARCH
from entorhinal.paper_figures import sic_modular_maps, sic_modular_seeds, sic_search
from entorhinal.paper_figures.figure import Claim, Data

BETTER = {
    "sic_modular_independent": {"independent_modules": 2.0, "module_fraction": 0.9},
    "sic_modular_three": {"independent_modules": 3.0},
    "sic_modular_loss": {"total": -0.2015},
    "sic_paper_independent": {"independent_modules": 2.0, "module_fraction": 0.9},
}


@pytest.fixture(scope="module")
def seeds() -> Data:
    """As found, with the first faithful network as the one that the paper's schedule trained."""
    found = sic_modular_seeds.compute(lambda done, total: None)
    table = found.table[found.table["condition"] != "sic_paper"]
    one = table[(table["condition"] == "sic") & (table["seed"] == 50)].assign(condition="sic_paper")
    return replace(found, table=pd.concat((table, one), ignore_index=True))


@pytest.mark.parametrize("claim", sic_modular_seeds.claims, ids=lambda claim: claim.id)
def test_claims_of_seeds_follow_the_data(claim: Claim, seeds: Data) -> None:
    before = seeds.table.copy()
    assert claim.judge("f", claim.control(seeds)).verdict == "fails"
    table = seeds.table.copy()
    condition = "sic_paper" if claim.id.startswith("sic_paper") else "sic_modular"
    chosen = (table["panel"] == "networks") & (table["condition"] == condition)
    for column, value in BETTER.get(claim.id, {}).items():
        table.loc[chosen, column] = value
    assert claim.judge("f", replace(seeds, table=table)).verdict == "holds"
    assert claim.judge("f", replace(seeds, table=before.iloc[:0])).verdict == "not run"
    assert seeds.table.equals(before)


def drawn(data: Data) -> tuple[list[str], int]:
    """Names in the legend, and how many maps there are."""
    canvas = sic_modular_seeds.draw(data)
    canvas.draw_without_rendering()
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)
    names = [text.get_text() for ax in canvas.axes if (found := ax.get_legend()) for text in found.get_texts()]
    return names, sum(len(ax.images) for ax in canvas.axes)


def test_seeds_are_drawn_with_the_papers_schedule_where_it_was_run(seeds: Data) -> None:
    names = list(sic_modular_seeds.NAMES.values())
    assert drawn(seeds) == (names, 6 * len(seeds.arrays))
    without = replace(seeds, table=seeds.table[seeds.table["condition"] != "sic_paper"], arrays={})
    assert drawn(without) == (names[:2], 0)
    for claim in sic_modular_seeds.claims:
        assert (claim.judge("f", without).verdict == "not run") == claim.id.startswith("sic_paper")


@pytest.fixture
def maps() -> Data:
    generator = np.random.default_rng(0)
    row = {"panel": "module", "units": 9, "median_score": 1.2, "betti": "(1, 2, 1)", "betti_rolled": "(1, 0, 0)"}
    rows = [row | {"module": k, "spacing_m": 0.6 + 0.3 * k, "phase_p": 0.4} for k in range(2)]
    arrays = {}
    for k in range(2):
        arrays |= {
            f"maps {k}": generator.random((sic_modular_maps.SHOWN, 64, 64)),
            f"scores {k}": np.linspace(1.3, 0.9, sic_modular_maps.SHOWN),
            f"power {k}": generator.random((256, 256)),
            f"phases {k}": generator.random((9, 2)),
            f"threshold {k}": np.full(3, 0.1),
        } | {f"bars {d} {k}": np.array([[0.1, 0.9], [0.1, 0.3]]) for d in range(3)}
    return Data(pd.DataFrame(rows), arrays)


@pytest.mark.parametrize("claim", sic_modular_maps.claims, ids=lambda claim: claim.id)
def test_claims_of_maps_follow_the_data(claim: Claim, maps: Data) -> None:
    assert claim.judge("f", maps).verdict == "holds"
    assert claim.judge("f", claim.control(maps)).verdict == "fails"
    assert claim.judge("f", replace(maps, table=maps.table.iloc[:0])).verdict == "not run"


def test_maps_are_drawn(maps: Data) -> None:
    sic_modular_maps.draw(maps).draw_without_rendering()


def test_power_of_a_wave_is_at_its_frequency() -> None:
    import torch

    x_m = torch.arange(64) * 4 / 64
    wave = torch.cos(2 * torch.pi * x_m / 0.5).expand(1, 64, 64).double()
    power = sic_modular_maps._power(wave)
    row, column = divmod(int(power.argmax()), 256)
    assert row == 128
    assert abs(column - 128) == pytest.approx(256 * (4 / 64) / 0.5, abs=1)


def test_the_search_is_of_all_its_tables_and_its_claim_follows_them() -> None:
    found = sic_search.compute(lambda done, total: None)
    assert set(found.table["setting"]) == {path.name[0] for path in SEARCH.glob("*.csv")} <= set(sic_search.NAMES)
    assert len(found.table) == sum(len(pd.read_csv(path)) for path in SEARCH.glob("*.csv"))
    (claim,) = sic_search.claims
    assert claim.judge("f", claim.control(found)).verdict == "fails"
    better = replace(found, table=found.table.assign(code_separation=0.3))
    assert claim.judge("f", better).verdict == "holds"
    assert claim.judge("f", replace(found, table=found.table.iloc[:0])).verdict == "not run"
    sic_search.draw(found).draw_without_rendering()


def test_tables_of_the_standard_measures_join_the_search(tmp_path, monkeypatch) -> None:
    noise = [{"state_noise": 0.0, "steps": 9}, {"state_noise": 0.1, "steps": 9}]
    for name, settings in (("p_few", [{"units": 48}]), ("q_cap", [{"capacity_weight": 0.15}]), ("s_noise", noise)):
        rows = [{"seed": 0, "independent_modules": 2, "score_median": 0.7, "separation": 0.3}] * len(settings)
        table = pd.DataFrame(rows).assign(setting=[json.dumps(setting) for setting in settings])
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    monkeypatch.setattr(sic_search, "SEARCH", tmp_path)
    found = sic_search.compute(lambda done, total: None)
    assert found.table["setting"].tolist() == ["p", "q", "s", "s"]
    assert found.table["faithful"].tolist() == [True, False, True, False]
    assert found.table["code_separation"].tolist() == [0.3] * 4
    assert sic_search.claims[0].judge("f", found).ours == 1.0
    canvas = sic_search.draw(found)
    assert [label.get_text()[-1] for label in canvas.axes[2].get_xticklabels()] == ["p", "q", "s"]
