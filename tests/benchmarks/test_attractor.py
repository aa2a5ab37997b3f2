"""attractor-v1 on codes whose decay, drift and pairs are known, and on controls at which it must say no."""

import math

import pytest
import torch

from entorhinal.benchmarks import evaluate
from entorhinal.benchmarks.tasks import attractor
from entorhinal.families import make
from entorhinal.families.model import Model, Representation

TASK = "attractor"
GRID = {"spacing_m": (0.3,), "orientation_rad": (0.2,), "units_per_module": 24}
IDEAL = make("controls/ideal_grid", **GRID)
HALF_LIFE_S = 0.1


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    for name, value in {"CLOUD": (96, 8), "PUSHED": (12, 3), "MAP_TRIALS": (14, 4)}.items():
        monkeypatch.setattr(attractor, name, value)


class Sheet(Model):
    """A grid with eight more units that follow the place with a half-life, and a bump that drifts when at rest."""

    Config = type(IDEAL.config)
    card = IDEAL.card
    half_life_s = HALF_LIFE_S
    drift_m_s = 0.0

    def target(self, place):
        return 4 * torch.cat((place, place.flip(-1), -place, place.abs()), -1)

    def initial_state(self, start_m):
        return {"place": start_m.double(), "extra": self.target(start_m.double())}

    def rates(self, place):
        return IDEAL.rates_at(place)

    def represent(self, trajectories, state=None, *, generator=None):
        state = self.initial_state(trajectories.start_m) if state is None else state
        place, extra, rates = state["place"], state["extra"], []
        keep = 0.5 ** (trajectories.dt_s / self.half_life_s)
        for t in range(trajectories.steps):
            move = trajectories.displacement_m[:, t].double()
            rests = (move == 0).all(-1, keepdim=True)
            place = place + move + rests * torch.tensor([self.drift_m_s * trajectories.dt_s, 0.0])
            extra = self.target(place) + keep * (extra - self.target(place))
            rates.append(torch.cat((self.rates(place), extra), -1))
        return Representation(torch.stack(rates, 1), {"place": place, "extra": extra})


def test_a_push_decays_with_the_half_life_of_the_model(score) -> None:
    record = score(Sheet.make())
    assert record.value("decay_half_life_s") == pytest.approx(HALF_LIFE_S, rel=0.1)
    assert record.value("decaying_fraction") > 0.5, "pushes of place past the walls leave the cloud"
    assert record.value("remaining_fraction") < 0.5
    assert record.value("remaining_fraction") < 1.5 * record.value("cloud_fraction"), "to the resolution of the cloud"
    assert record.value("shift_fraction") > record.value("remaining_fraction"), "place is pushed too, and stays so"
    assert record.value("spread_kept_fraction") == pytest.approx(1, abs=0.05)
    assert record.value("rest_speed_m_s") < 1e-4
    assert record.value("pair_stability") > 0.95
    assert abs(record.value("pair_stability_shuffled")) < 0.05


def test_a_push_that_stays_is_no_attractor(score) -> None:
    class Stuck(Sheet):
        half_life_s = 1e9

    record = score(Stuck.make())
    assert record.value("decaying_fraction") == 0
    assert record.value("remaining_fraction") == pytest.approx(1, abs=0.01)
    assert record.reasons["decay_half_life_s"] == "no perturbation decays"


def test_drift_at_rest_is_measured_in_metres(score) -> None:
    class Drifting(Sheet):
        drift_m_s = 0.05

    record = score(Drifting.make())
    assert record.value("rest_speed_m_s") == pytest.approx(0.05, rel=0.1)
    assert record.value("rest_variance_m2_s") < 1e-4
    assert record.value("rest_change_m_s") == pytest.approx(0.05, rel=0.5)


def test_cells_that_remap_between_boxes_lose_their_pairs(score) -> None:
    class Remapping(Sheet):
        """In the smaller box every unit's phase is another."""

        def represent(self, trajectories, state=None, *, generator=None):
            seed = 0 if trajectories.arena.size_m[0] > 0.9 else 5
            self.now = make("controls/ideal_grid", seed=seed, **GRID)
            return super().represent(trajectories, state)

        def rates(self, place):
            return self.now.rates_at(place)

    record = score(Remapping.make())
    assert abs(record.value("pair_stability")) < 0.15


def test_a_state_that_is_the_position_is_on_the_manifold_by_construction(score) -> None:
    record = score("controls/ideal_grid", **GRID)
    empty = record.reasons
    for name in ("decay_half_life_s", "remaining_fraction", "cloud_fraction", "shift_fraction", "decaying_fraction"):
        assert empty[name].startswith("on the manifold by construction")
    assert record.value("rest_speed_m_s") == pytest.approx(0, abs=1e-9)


def test_an_untrained_network_fades_and_has_no_lattice(score) -> None:
    record = score("controls/random_rnn", units=96, gain=1.0)
    assert record.value("spread_kept_fraction") < 0.5, "its decay is that of everything"
    assert record.reasons["rest_speed_m_s"] == "no 8 units share a lattice in this box"
    assert "pair_stability" in record.reasons


def test_a_silent_population_has_reasons_and_no_crash(score) -> None:
    class Silent(Sheet):
        def represent(self, trajectories, state=None, *, generator=None):
            found = super().represent(trajectories, state)
            return Representation(torch.zeros_like(found.rates), found.state)

    record = score(Silent.make())
    empty = record.reasons
    assert empty["perturbed_distance"] == "the push leaves the rates as they are"
    assert empty["spread_kept_fraction"] == "the rates are the same everywhere"
    assert empty["rest_change_m_s"] == "the rates do not change along the walk"


def test_rates_that_blow_up_are_called_so(score) -> None:
    class Unstable(Sheet):
        def represent(self, trajectories, state=None, *, generator=None):
            found = super().represent(trajectories, state)
            pushed = trajectories.batch == attractor.PUSHED[0] != attractor.MAP_TRIALS[0]
            return Representation(found.rates * (math.inf if pushed else 1), found.state)

    assert score(Unstable.make()).reasons["remaining_fraction"] == "the pushed rates grow without bound"


def test_the_same_seed_gives_the_same_numbers(score) -> None:
    assert score(Sheet.make()).metrics == score(Sheet.make()).metrics


def test_models_that_read_position_are_not_asked() -> None:
    (record,) = evaluate("controls/place_cells", ["attractor"], device="cpu")
    assert record.status == "not applicable"
