"""The figures of the sheets' gains and noise, on small sheets and the shipped long paths: claims, controls, drawing."""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest

from entorhinal.benchmarks import attractor_paths
from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete
from entorhinal.families.errors import InputError
from entorhinal.families.registry import get_class
from entorhinal.paper_figures import burak_fiete_gain, burak_fiete_noise
from entorhinal.paper_figures.figure import Claim, Data

MODULES = (burak_fiete_gain, burak_fiete_noise)
CASES = [pytest.param(module, claim, id=claim.id) for module in MODULES for claim in module.claims]


class Small(BurakFiete):
    @classmethod
    def make(cls, **values: object) -> BurakFiete:
        return BurakFiete.make(**{"neurons_per_side": 64, "gamma_over_beta": 1.02, **values})


@pytest.fixture(scope="module")
def computed() -> Iterator[dict[str, Data]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(burak_fiete_gain, "BurakFiete", Small)
        patch.setattr(burak_fiete_gain, "SIDE", 40)
        patch.setattr(burak_fiete_gain, "GAMMA_OVER_BETA", (1.02, 1.2))
        patch.setattr(burak_fiete_gain, "VELOCITY_GAINS_S_M", (0.1, 0.3))
        patch.setattr(burak_fiete_gain, "SPEEDS_M_S", (0.02, 0.2))
        patch.setattr(burak_fiete_gain, "RUN_S", 0.4)
        patch.setattr(burak_fiete_noise, "SIDES", (40, 64))
        patch.setattr(burak_fiete_noise, "TRIALS", 8)
        patch.setattr(burak_fiete_noise, "SECONDS", 1.2)
        seen: list[tuple[int, int]] = []
        yield {module.FIGURE.id: module.compute(lambda done, total: seen.append((done, total))) for module in MODULES}
        assert all(done <= total for done, total in seen)


@pytest.mark.parametrize(("module", "claim"), CASES)
def test_claim_is_judged_and_fails_on_its_control(module: ModuleType, claim: Claim, computed: dict[str, Data]) -> None:
    data = computed[module.FIGURE.id]
    before = data.table.copy()
    assert claim.judge(module.FIGURE.id, data).verdict in ("holds", "fails")
    control = claim.control(data)
    assert claim.judge(module.FIGURE.id, control).verdict == "fails"
    assert data.table.equals(before)
    assert list(control.table.columns) == list(data.table.columns)
    empty = replace(data, table=data.table.iloc[:0])
    assert claim.judge(module.FIGURE.id, empty).verdict == "not run"


@pytest.mark.parametrize("module", MODULES)
def test_drawn(module: ModuleType, computed: dict[str, Data]) -> None:
    canvas = module.draw(computed[module.FIGURE.id])
    canvas.draw_without_rendering()
    assert canvas.get_size_inches()[0] == pytest.approx(180 / 25.4)


def test_a_perturbed_table_changes_the_claims(computed: dict[str, Data]) -> None:
    """The numbers that the claims read, set to what a good and a bad sheet would give."""
    claims = {claim.id: claim for module in MODULES for claim in module.claims}
    table = computed["burak_fiete_noise"].table
    for error_m, verdict in ((0.1, "holds"), (0.3, "fails")):
        data = Data(table.assign(error_m=error_m))
        assert claims["burak_fiete_long_path_error"].judge("f", data).verdict == verdict
    table = computed["burak_fiete_gain"].table
    for share, verdict in ((1.0, "holds"), (0.5, "fails")):
        moved = table["neurons_per_m"].where(table["speed_m_s"] > 0.1, share * 48).where(table["speed_m_s"] < 0.1, 48)
        data = Data(table.assign(neurons_per_m=moved))
        assert claims["burak_fiete_low_speed"].judge("f", data).verdict == verdict


def test_instability_is_that_of_the_sheet() -> None:
    """The transform on the plane is that of the weights on the sheet; growth starts where it passes 1."""
    for ratio in (1.05, 1.2):
        model = BurakFiete.make(gamma_over_beta=ratio, weight_gain=3.0)
        discrete = float(model.spectrum.max()) * len(model.spectrum) ** 2
        assert burak_fiete_gain.instability(3.0, ratio) == pytest.approx(discrete, rel=0.01)


@pytest.mark.parametrize("condition", attractor_paths.CONDITIONS, ids=lambda condition: condition.name)
def test_shipped_paths_are_of_the_models_of_today(condition: attractor_paths.Condition) -> None:
    said = json.loads((attractor_paths.LONG_PATHS / f"{condition.name}.json").read_text())
    values = {"step_ms": attractor_paths.STEP_MS} | condition.config
    assert said["config"] == get_class(condition.model).Config(**values).model_dump(mode="json")
    assert (said["model"], said["noise_seed"], said["dirty"]) == (condition.model, condition.noise_seed, False)
    table = pd.read_csv(attractor_paths.LONG_PATHS / f"{condition.name}.csv")
    assert table["time_s"].tolist() == list(range(1, round(condition.seconds) + 1))
    if condition.recorded:
        path = condition.path()
        every = round(1 / path.dt_s)
        true_m = path.position_m[0, every - 1 :: every].numpy()
        assert abs(table[["x_m", "y_m"]].to_numpy() - true_m).max() < 1e-4


def test_a_path_is_followed() -> None:
    small = {"neurons_per_side": 64, "gamma_over_beta": 1.02}
    condition = attractor_paths.Condition("small", "continuous_attractor/burak_fiete_spiking-v1", 2.0, small, 0, True)
    table, said = attractor_paths.run(condition)
    error_m = ((table["decoded_x_m"] - table["x_m"]) ** 2 + (table["decoded_y_m"] - table["y_m"]) ** 2) ** 0.5
    assert len(table) == 2
    assert 1e-4 < error_m.max() < 0.1
    assert said["config"]["step_ms"] == attractor_paths.STEP_MS


def test_an_unknown_condition_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("sys.argv", ["attractor_paths", "--only", "periodc", "--out", str(tmp_path)])
    with pytest.raises(InputError, match="did you mean 'periodic'"):
        attractor_paths.main()
