"""Actionable representations against their equations written out, their group of actions, and their multiplier."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor

from entorhinal.analysis import rate_maps
from entorhinal.benchmarks.population import Population
from entorhinal.benchmarks.training import train
from entorhinal.families import make
from entorhinal.families.checkpoint import load
from entorhinal.families.errors import InputError
from entorhinal.families.function_optimization.actionable import BLOCK, Actionable
from entorhinal.families.model import PathIntegrator
from entorhinal.families.world import Arena, Trajectories, World

ID = "function_optimization/actionable"
TINY = {"units": 6, "places": 9, "rooms": 3}
WORLD = World(Arena.square(2.2), dtype=torch.float64)


def first_batch(model: Actionable, seed: int = 0) -> dict[str, Tensor]:
    return next(iter(model.training_data(WORLD, seed)))


@torch.no_grad()
def test_loss_is_the_equations_written_out() -> None:
    model = make(ID, negativity_weight=0.7, norm_weight=0.3, **TINY).double()
    model.multiplier.fill_(400.0)  # a factor of e^0.8
    batch = first_batch(model)

    def code(x: Tensor) -> Tensor:
        features = [1.0] + [math.cos(w @ x) for w in model.frequency] + [math.sin(w @ x) for w in model.frequency]
        return model.weights @ torch.tensor(features, dtype=torch.float64)

    here = torch.stack([code(x) for x in batch["place"]])
    there = torch.stack([torch.stack([code(x + o) for x in batch["place"]]) for o in batch["centre"]])
    scaled = here / here.norm(dim=0)
    separation = 0.0
    for i, x in enumerate(batch["place"]):
        for j, y in enumerate(batch["place"]):
            far = 1 - math.exp(-float((x - y).square().sum()) / (2 * 0.5**2))
            separation += math.exp(-float((scaled[i] - scaled[j]).square().sum()) / 0.8) * far / 81
    both = torch.cat((here, there.flatten(0, 1)))
    both = 0.327 * both / both.square().mean(0).sqrt()
    negativity = float(both.clamp_max(0).abs().mean())
    norm = float(((there.square().sum(1) / here.square().sum(0)) - 1).square().mean())
    terms = model.loss(batch)
    assert terms["separation"].item() == pytest.approx(separation, rel=1e-6)
    assert terms["negativity"].item() == pytest.approx(negativity, rel=1e-9)
    assert terms["norm"].item() == pytest.approx(norm, rel=1e-9)
    total = 25 * separation + 0.7 * math.exp(0.8) * negativity + 0.3 * norm
    assert terms["total"].item() == pytest.approx(total, rel=1e-6)


def test_the_multiplier_climbs_above_the_target_and_falls_below_and_weights_do_not_feel_it() -> None:
    for target, sign in ((-9.0, -1), (9.0, 1)):
        model = make(ID, log_negativity=target, **TINY).double()
        model.loss(first_batch(model))["total"].backward()
        assert model.multiplier.grad is not None
        assert math.copysign(1, model.multiplier.grad) == sign
    pure = make(ID, negativity_weight=0.0, norm_weight=0.0, **TINY).double()
    terms = pure.loss(first_batch(pure))
    both = {"weights": pure.weights, "frequency": pure.frequency}
    ours = torch.autograd.grad(terms["total"], both.values(), retain_graph=True)
    wanted = torch.autograd.grad(25 * terms["separation"], both.values())
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_actions_compose_and_the_path_does_not_matter() -> None:
    model = make(ID, **TINY).double()
    assert isinstance(model, PathIntegrator)
    walk = WORLD.walk(5, 40, seed=0)
    straight = (walk.position_m[:, -1] - walk.start_m)[:, None]
    direct = Trajectories.from_displacements(walk.start_m, straight, walk.dt_s, replace(walk.arena, walls=False))
    ends = [model.represent(paths).rates[:, -1] for paths in (walk, direct)]
    torch.testing.assert_close(*ends)
    there = model.represent(Trajectories.from_displacements(walk.position_m[:, -1], 0 * straight, 0.02, walk.arena))
    torch.testing.assert_close(there.rates[:, -1], ends[0])
    assert (model.represent(walk).state >= 0).all()
    assert (model.represent(walk).state < 2 * math.pi).all()


def test_rates_have_a_root_mean_square_of_one_and_may_be_negative() -> None:
    model = make(ID)
    walk = World(Arena.square(40.0)).walk(4000, 1, seed=0)
    rates = model.represent(walk).rates.detach()
    torch.testing.assert_close(rates.square().mean((0, 1)), torch.ones(25), rtol=0.1, atol=0)
    assert (rates < 0).any()
    maps = rate_maps(rates, walk.position_m, walk.arena.extent_m, bins=20)
    assert maps.values.shape == (25, 20, 20)


def test_networks_side_by_side_have_the_gradients_of_each_alone() -> None:
    settings = [{"seed": 0}, {"seed": 1, "negativity_weight": 0.0, "separation_variance": 0.2}]
    population = Population(
        [make(ID, **TINY, **values).double() for values in settings], device=torch.device("cpu"), dtype=torch.float64
    )
    batch = first_batch(population.template)
    gradients, _ = population.gradients(batch)
    for i, values in enumerate(settings):
        alone = make(ID, **TINY, **values).double()
        alone.loss(batch)["total"].backward()
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(gradients[name][i], parameter.grad, rtol=1e-6, atol=1e-9)


def test_batches_depend_on_seed_and_number_alone() -> None:
    model = make(ID, **TINY)
    run = list(islice(model.training_data(WORLD, 3), BLOCK + 3))
    for k in (1, BLOCK - 1, BLOCK, BLOCK + 2):
        again = next(iter(model.training_data(WORLD, 3, k)))
        assert all(torch.equal(again[name], run[k][name]) for name in run[k])
    assert run[0]["place"].shape == (9, 2)
    assert run[0]["centre"].shape == (3, 2)


def test_training_separates_codes_and_lessens_negativity(tmp_path) -> None:
    config = {**TINY, "places": 40, "negativity_weight": 10.0, "steps": 300}
    (path,) = train(ID, config=config, out=tmp_path / "run", device="cpu")
    batch = next(iter(make(ID, **config).training_data(World(), 99)))
    after, before = load(path).loss(batch), make(ID, **config).loss(batch)
    assert after["negativity"] < 0.3 * before["negativity"]
    assert load(path).multiplier > 1


@pytest.mark.parametrize(("field", "value"), [("units", 2), ("separation_variance", 0.0), ("room_spread", -1.0)])
def test_bad_config_is_named(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"actionable-v1: {field} = {value}"):
        make(ID, **{field: value})
