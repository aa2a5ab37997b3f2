"""The task finds what noise and loss a code stands, and when it had nothing to lose."""

import math
from collections.abc import Iterator

import pytest
import torch

from entorhinal.benchmarks.records import Record
from entorhinal.benchmarks.tasks import robustness
from entorhinal.families import make

TASK = "robustness"
IDEAL = make(
    "controls/ideal_grid", spacing_m=(0.3, 0.426, 0.605), orientation_rad=(0.1, 0.35, 0.2), units_per_module=12
)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for name, value in {"TRIALS": 24, "STEPS": 250, "DROPOUT_DRAWS": 2}.items():
        patch.setattr(robustness, name, value)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def ideal(score) -> Record:
    return score(IDEAL)


def test_an_ideal_code_worsens_with_noise_and_loss(ideal) -> None:
    assert ideal.value("undisturbed_error_m") < 0.02
    assert ideal.value("chance_error_m") > 0.4
    noise = [ideal.value(f"noise_{level:g}_error_m") for level in robustness.NOISE]
    assert ideal.value("undisturbed_error_m") < noise[0] < noise[1] < noise[2] < noise[3]
    assert noise[4] > 0.3
    lost = [ideal.value(f"dropout_{level:g}_error_m") for level in robustness.DROPOUT]
    assert lost[0] < 0.1 < lost[-1]
    assert 0 < ideal.value("noise_doubling") < ideal.value("noise_tolerance") < 8
    assert 0.25 < ideal.value("dropout_tolerance") <= 0.9
    scores = [ideal.value(f"{name}_grid_score") for name in ("undisturbed", "noise_1", "noise_4")]
    assert scores[0] > scores[1] > scores[2]
    assert ideal.value("undisturbed_spacing_m") == pytest.approx(0.426, abs=0.03)


def test_more_units_stand_more_noise(score, grid, ideal) -> None:
    class Few(grid):
        def rates(self, place_m):
            return IDEAL.rates_at(place_m)[..., ::2]

    few = score(Few.make())
    assert few.value("noise_tolerance") < ideal.value("noise_tolerance")


def test_noise_is_that_of_each_unit(score, grid, ideal) -> None:
    """Gains and offsets change nothing: a loud unit has loud noise."""

    class Uneven(grid):
        def rates(self, place_m):
            return IDEAL.rates_at(place_m) * torch.linspace(0.1, 10, 36) + 3

    uneven = score(Uneven.make())
    for name in ("noise_2", "dropout_0.5"):
        assert uneven.value(f"{name}_error_m") == pytest.approx(ideal.value(f"{name}_error_m"), rel=1e-2)


def test_modules_are_lost_one_by_one(score, ideal) -> None:
    assert ideal.value("modules") == 3
    assert ideal.value("module_lost_worst_error_m") >= ideal.value("module_lost_mean_error_m")
    two = score("controls/ideal_grid", spacing_m=(0.35, 0.5), orientation_rad=(0.1, 0.35), units_per_module=12)
    assert two.value("modules") == 2
    assert two.value("module_lost_worst_error_m") > 5 * two.value("undisturbed_error_m"), "what is left repeats"
    one = score("controls/ideal_grid", spacing_m=(0.4,), orientation_rad=(0.1,), units_per_module=12)
    assert one.value("modules") == 1
    assert one.reasons["module_lost_worst_error_m"] == "fewer than two modules"
    assert one.reasons["noise_tolerance"] == "half of chance or worse undisturbed"
    assert one.value("undisturbed_followed_error_m") < 0.05, "a periodic code can be followed"
    assert 0 < one.value("noise_followed_tolerance") < 8


def test_weights_are_perturbed_by_their_size_in_a_copy(score, grid, ideal) -> None:
    class Weighted(grid):
        def __init__(self, config):
            super().__init__(config)
            self.gain = torch.nn.Parameter(torch.eye(2))

        def rates(self, place_m):
            return IDEAL.rates_at(place_m @ self.gain.detach())

    model = Weighted.make()
    other = robustness._with_weight_noise(model, 0.1, torch.Generator().manual_seed(0))
    assert torch.equal(model.gain, torch.eye(2))
    change = (other.gain - model.gain).detach()
    assert 0 < change.norm() < 4 * 0.1 * math.sqrt(0.5) * 2
    record = score(model)
    errors = [record.value(f"weights_{level:g}_error_m") for level in robustness.WEIGHTS]
    assert record.value("undisturbed_error_m") < errors[-1]
    assert errors[0] < errors[-1]
    assert ideal.reasons["weights_tolerance"] == "the model has no parameters to perturb"


def test_codes_that_say_nothing_have_reasons(score, grid) -> None:
    class Silent(grid):
        def rates(self, place_m):
            return torch.zeros(*place_m.shape[:-1], 5)

    class Missing(grid):
        def rates(self, place_m):
            return torch.full((*place_m.shape[:-1], 5), math.nan)

    silent = score(Silent.make())
    assert silent.reasons["noise_tolerance"] == "half of chance or worse undisturbed"
    assert "no unit has a lattice" in silent.reasons["undisturbed_grid_score"]
    assert score(Missing.make()).reasons["undisturbed_error_m"] == "the model has no answer in the box"
