"""The Integration track of path_integration-v1: gains, slips and drift that were planted are found."""

import math

import pytest
import torch

from entorhinal.benchmarks.tasks import path_integration
from entorhinal.benchmarks.tasks.path_integration import _folded
from entorhinal.families import make
from entorhinal.families.model import Model, Recipe
from entorhinal.families.world import Arena

TASK = "path_integration"
GRID = {"spacing_m": (0.3, 0.42), "orientation_rad": (0.1, 0.4), "units_per_module": 24}
IDEAL = make("controls/ideal_grid", **GRID)


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    monkeypatch.setattr(path_integration, "MINUTE", 1500)
    monkeypatch.setattr(path_integration, "_minutes", lambda path: path.chunk(0, 3000).select([0, 0]))
    monkeypatch.setattr(path_integration, "OWN_STEPS", 500)
    monkeypatch.setattr(path_integration, "WIDE_STEPS", 600)


def test_a_perfect_integrator_with_two_modules(score, grid) -> None:
    record = score(grid.make())
    assert record.value("walk_phase_lattices") == 2
    assert record.value("walk_phase_explained") > 0.95
    assert record.value("walk_phase_error_median_m") < 0.015
    assert record.value("walk_phase_error_end_spacings") < 0.08
    assert record.value("walk_phase_slips_per_m") == 0
    assert record.value("walk_phase_gain") == pytest.approx(1, abs=0.03)
    assert record.value("walk_still_error_median_m") > 0.3
    assert record.reasons["own_localisation_error_median_m"] == "not trained: it has no steps of its own"


@pytest.fixture(scope="module")
def diffusing(grid) -> type[Model]:
    class Diffusing(grid):
        """The place diffuses beside the path, `growth_m2_s` (2 D) along each axis."""

        growth_m2_s = 1e-5

        def place(self, trajectories, before_m):
            source = torch.Generator().manual_seed(int(1e6 * before_m.abs().sum()))
            noise = torch.randn(trajectories.displacement_m.shape, generator=source)
            drift = math.sqrt(self.growth_m2_s * trajectories.dt_s) * noise
            return before_m[:, None] + (trajectories.displacement_m + drift).double().cumsum(1)

    return Diffusing


def test_a_slow_drift_is_found_where_maps_still_stand(score, grid, diffusing) -> None:
    record, perfect = score(diffusing.make()), score(grid.make())
    gap = record.value("walk_phase_variance_m2_s") - perfect.value("walk_phase_variance_m2_s")
    assert gap == pytest.approx(1e-5, rel=0.6)
    assert record.value("walk_phase_error_median_m") > perfect.value("walk_phase_error_median_m")


def test_a_code_that_forgets_the_path_has_no_phase(score, diffusing) -> None:
    class Drunk(diffusing):
        growth_m2_s = 0.05

    record = score(Drunk.make())
    assert record.value("walk_phase_lattices") == 0
    assert record.reasons["walk_phase_gain"] == "no 8 units share a lattice in this box"


def test_steps_of_the_models_own_training_are_walked(score, grid) -> None:
    class Trained(grid):
        card = IDEAL.card.model_copy(update={"training_extent_m": 1.2})
        largest_m = 0.15

        def recipe(self):
            return Recipe(lr=1e-3, steps=1, batch=1)

        def loss(self, batch):
            return {"total": batch["velocity_m"].sum()}

        def training_data(self, world, seed, first=0):
            while True:
                yield {"velocity_m": self.largest_m * (2 * torch.rand(200, 2) - 1)}

    record = score(Trained.make())
    assert record.value("own_localisation_error_median_m") < 0.02
    assert record.value("own_distance_m") > 0.08 * 500
    assert record.value("own_phase_gain") == pytest.approx(1, abs=0.03)
    assert record.value("wide_phase_lattices") + record.value("wide_own_phase_lattices") > 0
    assert not math.isnan(record.value("wide_still_error_median_m"))

    class Alike(Trained):
        largest_m = 0.028

    assert score(Alike.make()).reasons["own_localisation_error_median_m"].startswith("trained on steps of the common")


def test_folded_walks_stay_in_the_box_and_keep_their_steps() -> None:
    steps_m = 0.15 * (2 * torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) - 1)
    walk = _folded(steps_m, Arena.square(1.0), torch.zeros(3, 2), 400, 1)
    assert walk.position_m.abs().max() <= 0.5
    assert walk.start_m.abs().max() < 1e-6
    inside = walk.position_m.abs().amax(-1)[:, :-1] < 0.3
    lengths = walk.displacement_m[:, 1:].norm(dim=-1)[inside]
    nearest = (lengths[:, None] - steps_m.norm(dim=-1)).abs().min(1).values
    assert nearest.max() < 1e-5
