"""Coupled sheets along walks: a known movement gives back their lattices in metres, and files hold what was run."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import torch

from entorhinal.analysis import fourier_lattices
from entorhinal.benchmarks import attractor_modules
from entorhinal.families.continuous_attractor.kang_balasubramanian import KangBalasubramanian
from entorhinal.families.world import Arena, World

TINY = {"networks": 2, "neurons_per_side": 80, "largest_inhibition_neurons": 4.5, "recorded_per_network": 20}


@pytest.fixture(scope="module")
def model() -> KangBalasubramanian:
    return KangBalasubramanian.make(**TINY)


def test_a_known_movement_gives_the_lattice_in_metres(model: KangBalasubramanian) -> None:
    """Lattices that move by 20 and 40 neurons a metre, the second turned by 10° on its sheet."""
    walk = World(Arena.square(1.0)).walk(3, 50, seed=0, start_m=torch.zeros(3, 2))
    cos, sin = math.cos(math.radians(10)), math.sin(math.radians(10))
    turn = torch.tensor([[cos, sin], [-sin, cos]])
    moved = torch.stack((20 * walk.position_m, 40 * walk.position_m @ turn))
    table = attractor_modules.measure(model, moved, walk.position_m)
    on_sheet = fourier_lattices(model.settled, 1.0)
    assert table["spacing_m"].tolist() == pytest.approx(
        (on_sheet.spacing_m / torch.tensor([20, 40])).tolist(), rel=0.01
    )
    turned = (table["orientation_rad"] - on_sheet.orientation_rad.numpy() + math.pi / 6) % (math.pi / 3) - math.pi / 6
    assert turned.tolist() == pytest.approx([0, -math.radians(10)], abs=0.02)
    assert table["error_m"].max() < 1e-5
    assert table["apart_m"][1] < 1e-5


def test_chunks_of_a_walk_add_up(model: KangBalasubramanian, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = World(Arena.square(1.0)).walk(2, 7, seed=0, speed_m_s=0.3, start_m=torch.zeros(2, 2))
    whole, rates = attractor_modules.follow_sheets(model, walk)
    assert (whole.shape, rates.shape) == ((2, 2, 7, 2), (2, 7, 40))
    monkeypatch.setattr(attractor_modules, "CHUNK_STEPS", 3)
    parts, again = attractor_modules.follow_sheets(model, walk)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-4)
    assert torch.equal(rates, again)
    along = (whole[:, :, -1] * walk.position_m[:, -1]).sum(-1)
    assert (along > 0).all()  # every lattice goes the animal's way


def test_rolled_rates_are_the_same_rates_at_other_times() -> None:
    rates = torch.rand(2, 5, 3)
    rolled = attractor_modules._rolled(rates, 1)
    assert torch.equal(rolled.flatten(0, 1).sort(0).values, rates.flatten(0, 1).sort(0).values)
    assert not torch.equal(rolled, rates)


def test_a_run_has_a_row_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attractor_modules, "RUNS", {"small": TINY})
    monkeypatch.setattr(attractor_modules, "topology", lambda rates, seed: (float(seed), 1.0, 2.0, float(len(rates))))
    with ThreadPoolExecutor() as pool:
        table, said = attractor_modules.run("small", torch.device("cpu"), pool, trials=2, steps=4)
    assert table["network"].tolist() == [1, 2]
    assert table["is_torus"].tolist() == table["rolled_is_torus"].tolist() == [0.0, 1.0]
    assert table["betti_2"].tolist() == [2.0, 2.0]
    assert set(table["run"]) == {"small"}
    assert isinstance(table, pd.DataFrame)
    assert said["config"]["networks"] == 2


SHIPPED = attractor_modules.LONG_PATHS / f"{attractor_modules.NAME}.json"


@pytest.mark.skipif(not SHIPPED.is_file(), reason="the table was not made yet")
def test_the_shipped_table_is_of_the_model_of_today() -> None:
    said = json.loads(SHIPPED.read_text())
    assert {one["run"]: one["config"] for one in said} == {
        name: KangBalasubramanian.make(**config).config.model_dump(mode="json")
        for name, config in attractor_modules.RUNS.items()
    }
    assert not any(one["dirty"] for one in said)
    table = pd.read_csv(SHIPPED.with_suffix(".csv"))
    networks = table.groupby("run")["network"].apply(list).to_dict()
    assert networks == {name: [1, 2, 3, 4, 5, 6] for name in attractor_modules.RUNS}
