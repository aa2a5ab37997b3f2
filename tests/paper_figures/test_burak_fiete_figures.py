"""The figures of the continuous attractor sheet, on a smaller sheet: claims hold, and fail on their controls."""

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import matplotlib

matplotlib.use("Agg")

import pytest
import torch

from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.world import Arena, World
from entorhinal.paper_figures import burak_fiete_path, burak_fiete_pattern
from entorhinal.paper_figures.figure import Claim, Data

MODULES = (burak_fiete_pattern, burak_fiete_path)
CASES = [pytest.param(module, claim, id=claim.id) for module in MODULES for claim in module.claims]


class Small(BurakFiete):
    @classmethod
    def make(cls, **values: object) -> BurakFiete:
        return BurakFiete.make(**{"neurons_per_side": 64, "gamma_over_beta": 1.02, **values})


@pytest.fixture(scope="module")
def computed() -> Iterator[dict[str, Data]]:
    with pytest.MonkeyPatch.context() as patch:
        recording = World(Arena.square(1.0)).walk(1, 400, seed=0, speed_m_s=0.3)
        patch.setattr(burak_fiete_path, "load_recording", lambda: recording)
        patch.setattr(burak_fiete_path, "SECONDS", 8.0)
        patch.setattr(burak_fiete_pattern, "GAMMA_OVER_BETA", (1.02,))
        patch.setattr(burak_fiete_pattern, "SHOWN", 1.02)
        patch.setattr(burak_fiete_pattern, "LINEAR_DRIVES", (0.02, 0.08, 0.14, 0.20))
        patch.setattr(burak_fiete_pattern, "BEYOND_DRIVES", (0.5,))
        patch.setattr(burak_fiete_pattern, "HEADINGS_DEG", (20.0, 140.0))
        seen: list[tuple[int, int]] = []
        threads = torch.get_num_threads()
        for module in MODULES:
            patch.setattr(module, "BurakFiete", Small)
        yield {module.FIGURE.id: module.compute(lambda done, total: seen.append((done, total))) for module in MODULES}
        assert torch.get_num_threads() == threads
        assert all(done <= total for done, total in seen)


@pytest.mark.parametrize(("module", "claim"), CASES)
def test_claim_holds_and_fails_on_its_control(module: ModuleType, claim: Claim, computed: dict[str, Data]) -> None:
    data = computed[module.FIGURE.id]
    before = data.table.copy()
    assert claim.judge(module.FIGURE.id, data).verdict == "holds"
    control = claim.control(data)
    assert claim.judge(module.FIGURE.id, control).verdict == "fails"
    assert data.table.equals(before)
    assert list(control.table.columns) == list(data.table.columns)
    assert control.arrays.keys() == data.arrays.keys()


@pytest.mark.parametrize(("module", "claim"), CASES)
def test_claim_without_data_is_not_run(module: ModuleType, claim: Claim, computed: dict[str, Data]) -> None:
    empty = replace(computed[module.FIGURE.id], table=computed[module.FIGURE.id].table.iloc[:0], arrays={})
    assert claim.judge(module.FIGURE.id, empty).verdict == "not run"


@pytest.mark.parametrize("module", MODULES)
def test_drawn(module: ModuleType, computed: dict[str, Data]) -> None:
    canvas = module.draw(computed[module.FIGURE.id])
    canvas.draw_without_rendering()
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)


def test_a_perturbed_path_changes_the_claim(computed: dict[str, Data]) -> None:
    data = computed["burak_fiete_path"]
    for claim, run in zip(burak_fiete_path.claims, (burak_fiete_path.LIVE, burak_fiete_path.WHOLE), strict=False):
        table = data.table.copy()
        table.loc[table.index[table["run"] == run][5], "error_m"] = 0.3
        assert claim.judge("burak_fiete_path", replace(data, table=table)).verdict == "fails"
