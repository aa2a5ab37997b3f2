"""The other models of ssl/: what they train on, that it is what they compute, and what they learn."""

import itertools

import pytest
import torch

from entorhinal.benchmarks import train
from entorhinal.families import Arena, World, load, make
from entorhinal.families.errors import InputError
from entorhinal.families.world import Trajectories
from entorhinal.ssl.architecture import rectified_unit
from entorhinal.ssl.augmentations import permuted_positions
from entorhinal.ssl.paired_views import draw_pairs
from entorhinal.ssl.sic import SIC
from entorhinal.ssl.sic_unpermuted import SICUnpermuted
from entorhinal.ssl.velocity_network import BLOCK

WORLD = World(Arena.square(2.0, walls=False), dtype=torch.float64)
SMALL = {"units": 7, "hidden": 5, "steps_per_trajectory": 6, "trajectories": 4}
PAIRED = {"ssl/vicreg": {"pairs": 9}, "ssl/simclr": {"pairs": 9, "temperature": 0.2}}
VELOCITY = {"ssl/sic_unpermuted": {"conformal_weight": 0.01}, **PAIRED}


@pytest.mark.parametrize("id", VELOCITY)
def test_population_gradients_are_those_of_autograd(id: str) -> None:
    members = [make(id, **SMALL, **VELOCITY[id], near_m=0.1, seed=seed).double() for seed in (0, 1)]
    batch = next(members[0].training_data(WORLD, 0))
    params = {name: torch.stack([dict(m.named_parameters())[name].detach() for m in members])
              for name, _ in members[0].named_parameters()}  # fmt: skip
    buffers = {name: torch.stack([b, b]) for name, b in members[0].named_buffers()}
    gradients, terms = members[0].population_gradients(params, buffers, batch)
    for k, member in enumerate(members):
        expected = member.loss(batch)
        assert set(expected) == set(terms)
        for name, value in expected.items():
            assert float(terms[name][k]) == pytest.approx(float(value.detach()), rel=1e-9), name
        by_autograd = torch.autograd.grad(expected["total"], list(member.parameters()))
        for (name, _), gradient in zip(member.named_parameters(), by_autograd, strict=True):
            assert float(gradient.abs().max()) > 0, name
            torch.testing.assert_close(gradients[name][k], gradient, rtol=1e-8, atol=1e-12, msg=name)


def test_without_a_weight_its_term_has_no_gradient() -> None:
    weights = ("separation", "invariance", "capacity", "conformal")
    for kept in weights:
        off = {f"{name}_weight": 0.0 for name in weights if name != kept}
        model = SIC.make(**SMALL, near_m=0.1, **off).double()
        batch = next(model.training_data(WORLD, 0))
        gradients, terms = model.population_gradients(
            {name: p.detach()[None] for name, p in model.named_parameters()},
            {name: b[None] for name, b in model.named_buffers()},
            batch,
        )
        alone = getattr(model, f"{kept}_weight") * model.loss(batch)[kept]
        assert float(terms["total"][0]) == pytest.approx(float(alone.detach()), rel=1e-9)
        for (name, _), gradient in zip(
            model.named_parameters(), torch.autograd.grad(alone, list(model.parameters())), strict=True
        ):
            torch.testing.assert_close(gradients[name][0], gradient, rtol=1e-8, atol=1e-12, msg=f"{kept} {name}")


@pytest.mark.parametrize("id", VELOCITY)
def test_batches_are_a_function_of_seed_and_index(id: str) -> None:
    model = make(id, **SMALL, **VELOCITY[id], near_m=0.1)
    run = list(itertools.islice(model.training_data(WORLD, 9), BLOCK + 6))
    for first in (3, BLOCK, BLOCK + 5):
        later = next(model.training_data(WORLD, 9, first))
        assert all(torch.equal(later[name], run[first][name]) for name in later)


def test_unpermuted_trajectories_have_their_own_velocities_and_states() -> None:
    model = SICUnpermuted.make(**SMALL).double()
    batch = next(model.training_data(WORLD, 0))
    assert batch["velocity_m"].shape == (4, 6, 2)
    ends = batch["velocity_m"].sum(1)
    assert float(torch.pdist(ends).min()) > 0.01
    paths = Trajectories.from_displacements(torch.zeros(4, 2, dtype=torch.float64), batch["velocity_m"], 0.02,
                                            WORLD.arena)  # fmt: skip
    states, step_m = model.unrolled(batch)
    torch.testing.assert_close(model.represent(paths).rates, states)
    assert torch.equal(step_m, batch["velocity_m"])
    lone = SICUnpermuted.make(**SMALL | {"trajectories": 1}, near_m=0.1).double()
    assert lone.loss(next(lone.training_data(WORLD, 0)))["total"].isfinite()


def test_pairs_are_of_two_trajectories_at_nearly_one_place() -> None:
    generator = torch.Generator().manual_seed(0)
    velocity_m = 0.3 * torch.rand(12, 2, generator=generator) - 0.15
    order = torch.rand(40, 12, generator=generator).argsort(-1)
    place_m = permuted_positions(velocity_m, order)
    anchor, partner = draw_pairs(place_m, 0.05, 4000, generator=generator)
    assert (anchor // 12 != partner // 12).all()
    assert len(anchor.unique()) > 470  # of 480
    flat = place_m.flatten(0, 1)
    apart_m = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    other = torch.arange(480)[:, None] // 12 != torch.arange(480) // 12
    near = (apart_m < 0.05) & other
    for a, b in zip(anchor.tolist()[:300], partner.tolist()[:300], strict=True):
        if near[a].any():
            assert near[a, b]
        else:
            assert float(apart_m[a, b]) == float(apart_m[a][other[a]].min())
    end = anchor % 12 == 11  # has all other ends near, and is drawn 333 times or so
    assert near[anchor[end], partner[end]].all()
    assert len(partner[end & (partner % 12 == 11)].unique()) > 30


@pytest.mark.parametrize("id", PAIRED)
def test_general_losses_teach_states_of_one_place_to_agree(id: str, tmp_path) -> None:
    """After 400 steps states of one place are nearer to each other, relative to those of others, than at the start."""
    config = type(make(id)).preset("tiny") | {"steps": 400, "lr": 3e-3, "warmup_steps": 20, "clip_norm": 1.0}

    def disagreement(model) -> float:
        batch = next(model.training_data(World(Arena.square(2.0)), 77))
        states = model.unrolled(batch)[0].detach().flatten(0, 1)
        first, second = states[batch["anchor"]], states[batch["partner"]]
        return float((first - second).norm(dim=-1).mean() / (first - second.roll(1, 0)).norm(dim=-1).mean())

    (path,) = train(id, config=config, out=tmp_path)
    assert disagreement(load(path)) < 0.6 * disagreement(make(id, **config))


DISTANCE = ("ssl/distance_preserving", "ssl/distance_preserving_recurrent")


@pytest.mark.parametrize("id", DISTANCE)
def test_what_is_trained_is_what_is_evaluated(id: str) -> None:
    model = make(id, units=9, batch=5).double()
    world = World(Arena.square(2.2), dtype=torch.float64)
    batch = next(model.training_data(world, 0))
    if "start_m" in batch:
        places_m = torch.cat((batch["start_m"][:, None], batch["position_m"]), 1)
        paths = Trajectories.from_displacements(batch["start_m"], batch["displacement_m"], 0.02, world.arena)
        states = torch.cat((model.code_of(batch["start_m"])[:, None], model.represent(paths).rates), 1)
    else:
        places_m = batch["position_m"]
        paths = Trajectories.from_displacements(places_m, torch.zeros(5, 1, 2, dtype=torch.float64), 0.02, world.arena)
        states = model.represent(paths).rates[:, 0]
    expected = model.terms(states, places_m)
    assert all(torch.equal(value, expected[name]) for name, value in model.loss(batch).items())
    units = 4 * torch.pi / 2.2
    drive = places_m.flatten(0, -2) * units
    for layer in model.code:
        drive = layer(drive)
    torch.testing.assert_close(model.code_of(places_m.flatten(0, -2)), rectified_unit(drive))


def test_steps_of_the_recurrent_walks_are_those_of_the_paper() -> None:
    model = make("ssl/distance_preserving_recurrent")
    batch = next(model.training_data(World(Arena.square(2.2)), 0))
    middle = (batch["position_m"].abs() < 0.8).all(-1)
    step = batch["displacement_m"].norm(dim=-1)[middle] * 4 * torch.pi / 2.2
    assert float(step.square().mean()) == pytest.approx(2 * 0.15**2, rel=0.15)
    assert torch.equal(model.recurrent, torch.eye(256))


@pytest.mark.parametrize("id", DISTANCE)
def test_another_box_than_that_of_sigma_is_refused(id: str) -> None:
    with pytest.raises(InputError, match=r"side_m=2\.2, but the arena measures 2 x 2 m"):
        make(id).training_data(World(Arena.square(2.0)), 0)


@pytest.mark.parametrize("id", DISTANCE)
def test_distance_models_learn_to_keep_distances(id: str, tmp_path) -> None:
    """On places of their own distances are kept better than by an untrained network, and units are more active."""
    config = type(make(id)).preset("tiny") | {"steps": 400}

    def terms(model) -> dict[str, float]:
        batch = next(model.training_data(World(Arena.square(2.2)), 77))
        return {name: float(value.detach()) for name, value in model.loss(batch).items()}

    (path,) = train(id, config=config, out=tmp_path)
    trained, untrained = terms(load(path)), terms(make(id, **config))
    assert trained["mismatch"] < 0.7 * untrained["mismatch"]
    assert trained["total"] < untrained["total"]


@pytest.mark.gpu
@pytest.mark.parametrize("id", VELOCITY)
def test_gradients_on_a_gpu_are_those_of_the_cpu(id: str) -> None:
    sizes = {"units": 32, "hidden": 16, "steps_per_trajectory": 8, "trajectories": 5}
    model = make(id, **sizes, **VELOCITY[id], near_m=0.1)
    batch = next(model.training_data(World(Arena.square(2.0)), 0))
    found = []
    for device in ("cpu", "cuda"):
        params = {name: p.detach()[None].to(device) for name, p in model.named_parameters()}
        buffers = {name: b[None].to(device) for name, b in model.named_buffers()}
        found.append(model.population_gradients(params, buffers, {k: v.to(device) for k, v in batch.items()}))
    for name, gradient in found[0][0].items():
        torch.testing.assert_close(
            found[1][0][name].cpu(), gradient, rtol=1e-2, atol=1e-3 * float(gradient.abs().max()), msg=name
        )
    for name, term in found[0][1].items():
        assert float(found[1][1][name]) == pytest.approx(float(term), rel=1e-3, abs=1e-6), name
