"""SIC: what it computes, what it learns, what it refuses."""

import itertools

import pytest
import torch

from entorhinal.analysis import rate_maps
from entorhinal.families import Arena, World, load
from entorhinal.families.errors import InputError
from entorhinal.ssl.architecture import rectified_unit, unroll, velocity_to_matrix
from entorhinal.ssl.augmentations import check_pairs, permutations, permuted_positions
from entorhinal.ssl.data import uniform_velocities
from entorhinal.ssl.sic import SIC

WORLD = World(Arena.square(2.0, walls=False), dtype=torch.float64)
SMALL = {"units": 7, "hidden": 5, "steps_per_trajectory": 6, "trajectories": 4}


def test_velocities_fill_their_square() -> None:
    found = uniform_velocities(50, 60, 0.15, generator=torch.Generator().manual_seed(0))
    assert found.shape == (50, 60, 2)
    assert float(found.abs().max()) <= 0.15
    assert float(found.std()) == pytest.approx(0.15 / 3**0.5, rel=0.02)
    assert abs(float(found.mean())) < 0.005


def test_permutations_are_permutations_and_share_their_end() -> None:
    generator = torch.Generator().manual_seed(0)
    order = permutations(2, 40, 6, generator=generator)
    assert (order.sort(-1).values == torch.arange(6)).all()
    assert len(order[0].unique(dim=0)) > 30  # of 720
    velocity_m = uniform_velocities(1, 6, 0.15, generator=generator, dtype=torch.float64)[0]
    position_m = permuted_positions(velocity_m, order[0])
    torch.testing.assert_close(position_m[:, -1], velocity_m.sum(0).expand(40, 2))


def test_unroll_is_the_network_run_one_trajectory_at_a_time() -> None:
    generator = torch.Generator().manual_seed(1)
    mlp = velocity_to_matrix(5, 4, "relu", generator).double()
    velocity_m = uniform_velocities(1, 6, 0.15, generator=generator, dtype=torch.float64)[0]
    order = permutations(1, 3, 6, generator=generator)[0]
    initial = rectified_unit(torch.rand(5, generator=generator, dtype=torch.float64))
    found = unroll(mlp(velocity_m).unflatten(-1, (5, 5)), order, initial)
    for b in range(3):
        state = initial
        for t in range(6):
            state = torch.relu(mlp(velocity_m[order[b, t]]).reshape(5, 5) @ state)
            state = state / state.norm()
            torch.testing.assert_close(found[b, t], state)


def test_a_dead_state_stays_dead_and_has_a_gradient() -> None:
    drive = torch.tensor([[-1.0, -2.0], [3.0, 4.0]], requires_grad=True)
    rates = rectified_unit(drive)
    torch.testing.assert_close(rates, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    (gradient,) = torch.autograd.grad(rates.sum(), drive)
    assert gradient.isfinite().all()
    assert (gradient[0] == 0).all()


def test_initialisation_is_that_of_torch_and_of_the_seed() -> None:
    weights = [m.weight.detach() for m in velocity_to_matrix(20, 30, "relu", torch.Generator().manual_seed(0))[::2]]
    for weight, inputs in zip(weights, (2, 30, 30), strict=True):
        assert float(weight.abs().max()) <= inputs**-0.5
        assert float(weight.std()) == pytest.approx(inputs**-0.5 / 3**0.5, rel=0.2)
    plain, gained = (velocity_to_matrix(20, 30, "relu", torch.Generator().manual_seed(0), input_gain=g) for g in (1, 8))
    assert torch.equal(gained[0].weight, 8 * plain[0].weight)
    assert all(
        torch.equal(a, b) for a, b in zip(list(gained.parameters())[1:], list(plain.parameters())[1:], strict=True)
    )
    first, again, other = (SIC.make(**SMALL, seed=s).initial for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_is_trained_is_what_is_evaluated() -> None:
    """States along a trajectory are the same in the loss's unrolling and in `represent`."""
    model = SIC.make(**SMALL).double()
    batch = next(model.training_data(WORLD, 0))
    steps = batch["velocity_m"][batch["order"]]
    from entorhinal.families.world import Trajectories

    paths = Trajectories.from_displacements(torch.zeros(4, 2, dtype=torch.float64), steps, 0.02, WORLD.arena)
    initial = rectified_unit(model.initial)
    states = unroll(model.matrix(batch["velocity_m"]).unflatten(-1, (7, 7)), batch["order"], initial)
    torch.testing.assert_close(model.represent(paths).rates, states)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_population_gradients_are_those_of_autograd(activation) -> None:
    model = SIC.make(**SMALL, activation=activation, conformal_weight=0.01).double()
    batch = next(model.training_data(WORLD, 0))
    params = {name: p.detach()[None] for name, p in model.named_parameters()}
    buffers = {name: b[None] for name, b in model.named_buffers()}
    gradients, terms = model.population_gradients(params, buffers, batch)
    expected = model.loss(batch)
    for name, value in expected.items():
        assert float(terms[name][0]) == pytest.approx(float(value.detach()), rel=1e-9), name
    for (name, parameter), gradient in zip(
        model.named_parameters(), torch.autograd.grad(expected["total"], list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(gradients[name][0], gradient, rtol=1e-8, atol=1e-12, msg=name)
        assert parameter.shape == gradient.shape


def test_batches_are_a_function_of_seed_and_index() -> None:
    model = SIC.make(**SMALL)
    run = list(itertools.islice(model.training_data(WORLD, 9), 70))
    for first in (3, 64, 69):
        later = next(model.training_data(WORLD, 9, first))
        assert all(torch.equal(later[name], run[first][name]) for name in later)
    assert not torch.equal(run[0]["velocity_m"], next(model.training_data(WORLD, 10))["velocity_m"])


def test_a_trial_begins_where_it_is_told() -> None:
    """The state at a start is that of a straight walk there from the origin, in steps the network knows."""
    model = SIC.make(**SMALL).double()
    start_m = torch.tensor([[0.0, 0.0], [0.25, 0.0], [-0.3, 0.4]], dtype=torch.float64)
    found = model.initial_state(start_m)
    torch.testing.assert_close(found[0], rectified_unit(model.initial.detach()))
    for row, (steps, target) in enumerate(zip((0, 3, 5), start_m, strict=True)):
        state = rectified_unit(model.initial.detach())[None]
        for _ in range(steps):
            state = model._step(state, (target / steps)[None])
        torch.testing.assert_close(found[row], state[0])


@pytest.mark.parametrize(
    "values",
    [{"steps_per_trajectory": 1}, {"trajectories": 1}, {"near_m": 0.0}, {"separation_width": -0.1}, {"units": 1}],
)
def test_bad_numbers_are_refused_by_name(values) -> None:
    (field,) = values
    with pytest.raises(InputError, match=field):
        SIC.make(**values)


def test_steps_that_make_every_pair_near_or_far_are_refused() -> None:
    with pytest.raises(InputError, match=r"near_m=9 makes every pair near \(the farthest are .* m apart\)"):
        next(SIC.make(**SMALL, near_m=9.0).training_data(WORLD, 0))
    with pytest.raises(InputError, match=r"makes every pair far .* take a larger near_m, or smaller steps"):
        next(SIC.make(**SMALL, near_m=1e-7).training_data(WORLD, 0))
    grid = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))[None]
    check_pairs(grid, 1.1)
    with pytest.raises(InputError, match="every pair far"):
        check_pairs(grid, 0.9)


def maps_of(model: SIC) -> tuple[torch.Tensor, torch.Tensor]:
    """Split-half correlation and sd/peak of the active units, on rat-like walks in a 1 m box."""
    walks = World(Arena.square(1.0)).walk(100, 300, seed=5, start_m=torch.zeros(100, 2))
    with torch.no_grad():
        rates = model.represent(walks).rates

    def maps(trials: slice) -> torch.Tensor:
        found = rate_maps(rates[trials], walks.position_m[trials], walks.arena.extent_m, bins=20, smoothing_m=0.05)
        return found.values.flatten(1)

    whole, halves = maps(slice(None)), torch.stack((maps(slice(0, None, 2)), maps(slice(1, None, 2))))
    visited = halves.isfinite().all(1).all(0)
    active = whole.nan_to_num(0).amax(1) > 0.02
    centred = halves[..., visited] - halves[..., visited].mean(-1, keepdim=True)
    correlation = (centred[0] * centred[1]).sum(-1) / centred.norm(dim=-1).prod(0)
    return correlation[active], (whole[:, visited].std(1) / whole[:, visited].amax(1))[active]


def test_the_tiny_preset_learns_maps(tmp_path) -> None:
    from entorhinal.benchmarks.training import train

    untrained = maps_of(SIC.make(**SIC.preset("tiny")))
    (path,) = train("ssl/sic", config=SIC.preset("tiny") | {"steps": 6000}, out=tmp_path)  # half of its steps do
    trained = maps_of(load(path))
    assert int((trained[0] > 0.9).sum()) >= 20
    assert float(trained[1].median()) >= 5 * float(untrained[1].median())


def test_the_papers_schedule_waits_long_before_it_slows_down() -> None:
    recipe = SIC.make(**SIC.preset("paper")).recipe()
    assert (recipe.optimizer, recipe.lr, recipe.schedule, recipe.accumulation) == ("adamw", 2e-5, "plateau", 2)
    assert recipe.plateau_patience_steps == recipe.steps // 20 == 100_000
    assert SIC.make(steps=3).recipe().plateau_patience_steps == 1
