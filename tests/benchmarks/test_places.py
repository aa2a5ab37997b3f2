"""Walks end where they should, agree for models that integrate, and disagree for those that do not."""

import math

import pytest
import torch

from entorhinal.analysis import path_coherence
from entorhinal.benchmarks.places import (
    best_stride_m,
    disagreement,
    lattice_m,
    slopes,
    walk_lattice,
    walk_straight,
    walk_twice,
)
from entorhinal.families import make
from entorhinal.families.model import Model, Representation

IDEAL = make("controls/ideal_grid", spacing_m=(0.5, 0.7), orientation_rad=(0.2, 0.4), units_per_module=4)
CPU = torch.device("cpu")


def places(count: int, side_m: float = 2.0) -> torch.Tensor:
    return side_m * (torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) - 0.5)


class Walker(Model):
    """Ideal grids read where the walker believes to be; the state is a pytree, and longest remembers its steps."""

    Config = type(IDEAL.config)
    card = IDEAL.card
    slip = 0.0

    def initial_state(self, start_m):
        return {"place": start_m, "more": [start_m.norm(dim=-1)]}

    def represent(self, trajectories, state=None, *, generator=None):
        state = self.initial_state(trajectories.start_m) if state is None else state
        steps_m = trajectories.displacement_m
        self.longest_m = max(getattr(self, "longest_m", 0.0), float(steps_m.norm(dim=-1).max()))
        slipped = steps_m + self.slip * torch.cat((torch.ones_like(steps_m[..., :1]), 0 * steps_m[..., :1]), -1)
        place = state["place"][:, None] + slipped.cumsum(1)
        return Representation(IDEAL.rates_at(place), {"place": place[:, -1], "more": state["more"]})


class Reader(Walker):
    initial_state = None

    def represent(self, trajectories, state=None, *, generator=None):
        return Representation(IDEAL.rates_at(trajectories.position_m))


@pytest.mark.parametrize("model", [IDEAL, Walker.make(), Reader.make()])
@pytest.mark.parametrize("stride_m", [0.02, 0.1])
def test_every_walk_leads_to_the_place(model, stride_m) -> None:
    there = torch.cat((places(8, 1.0), torch.zeros(1, 2), torch.tensor([[0.4, 0.0], [0.0, -0.02]])))
    reached = walk_straight(model, there, stride_m)
    torch.testing.assert_close(reached.place_m, there, rtol=0, atol=1e-5)
    torch.testing.assert_close(reached.rates, IDEAL.rates_at(there), rtol=0, atol=1e-4)
    both = walk_twice(model, there, stride_m)
    torch.testing.assert_close(both, IDEAL.rates_at(there).expand(2, -1, -1), rtol=0, atol=1e-4)
    lattice = walk_lattice(model, 10, 0.02, stride_m, device=CPU)
    torch.testing.assert_close(lattice, IDEAL.rates_at(lattice_m(10, 0.02)), rtol=0, atol=1e-4)


def test_strides_are_as_long_as_said_and_units_can_be_chosen() -> None:
    units = torch.tensor([1, 6])
    for stride_m in (0.02, 0.1):
        walker = Walker.make()
        some = walk_lattice(walker, 10, 0.02, stride_m, device=CPU, units=units)
        walk_twice(walker, places(10), stride_m)
        assert walker.longest_m <= stride_m * 1.001
        torch.testing.assert_close(some, IDEAL.rates_at(lattice_m(10, 0.02))[..., units], rtol=0, atol=1e-4)


def test_the_lattice_has_rows_along_y_and_its_middle_at_the_origin() -> None:
    lattice = lattice_m(2, 0.1)
    assert lattice.shape == (5, 5, 2)
    assert lattice[2, 2].abs().max() == 0
    torch.testing.assert_close(lattice[0, 4], torch.tensor([0.2, -0.2]))
    with pytest.raises(ValueError, match="half is 7"):
        walk_lattice(IDEAL, 7, 0.02, 0.1, device=CPU)


def test_walkers_do_not_depend_on_each_other(monkeypatch) -> None:
    there = places(12)
    alone = torch.cat([walk_straight(Walker.make(), place[None], 0.02).rates for place in there])
    torch.testing.assert_close(alone, walk_straight(Walker.make(), there, 0.02).rates, rtol=0, atol=1e-6)
    whole = walk_lattice(Walker.make(), 10, 0.02, 0.1, device=CPU)
    monkeypatch.setattr("entorhinal.benchmarks.places.WALKERS", 10)
    torch.testing.assert_close(walk_lattice(Walker.make(), 10, 0.02, 0.1, device=CPU), whole, rtol=0, atol=1e-6)


def test_slopes_are_those_of_the_tuning() -> None:
    reached = walk_straight(IDEAL, places(9).double(), 0.02)
    step_m = 1e-4
    found = slopes(IDEAL, reached, step_m)
    exact = torch.func.vmap(torch.func.jacrev(IDEAL.rates_at))(places(9).double())
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-3 * float(exact.abs().max()))
    assert torch.equal(slopes(IDEAL, reached, step_m, torch.tensor([3])), found[:, [3]])


def test_the_shorter_stride_is_taken_unless_it_loses_the_way() -> None:
    assert best_stride_m(IDEAL, places(8))[0] == 0.02

    class Slipping(Walker):
        """Errs by 2 mm a step, and so less in fewer steps."""

        slip = 0.002

    stride_m, both = best_stride_m(Slipping.make(), places(20))
    assert stride_m == 0.1
    assert 0 < disagreement(both) < 0.75 * disagreement(walk_twice(Slipping.make(), places(20), 0.02))


def test_a_code_of_where_one_is_going_is_not_one_of_place() -> None:
    class Heading(Walker):
        def represent(self, trajectories, state=None, *, generator=None):
            steps_m = trajectories.displacement_m
            turn = torch.atan2(steps_m[..., 1], steps_m[..., 0])
            preferred = torch.arange(8) * math.pi / 4
            return Representation((turn[..., None] - preferred).cos() + 1, state)

    both = walk_twice(Heading.make(), places(64), 0.02)
    assert path_coherence(both) < 0.8
    assert disagreement(both) > 0.7
