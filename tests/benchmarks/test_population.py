"""Networks side by side are what they are alone; what they cannot differ in is refused."""

from itertools import islice

import pytest
import torch

from entorhinal.benchmarks import population as module
from entorhinal.benchmarks.population import Population, may_differ, recipe_of
from entorhinal.benchmarks.training import _Run, train
from entorhinal.families import load
from entorhinal.families.errors import InputError
from entorhinal.families.world import Arena, World
from entorhinal.ssl.sic import SIC

SETTINGS = (
    {"target": 0.5, "penalty": 0.01, "lr": 1e-2, "clip_norm": 0.3, "weight_decay": 0.0},
    {"target": -0.2, "penalty": 0.1, "lr": 3e-3, "clip_norm": 0.05, "weight_decay": 0.1},
    {"target": 0.9, "penalty": 0.0, "lr": 2e-2, "clip_norm": None, "weight_decay": 0.01},
)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_three_members_equal_themselves_trained_alone(follower, tmp_path, optimizer, monkeypatch) -> None:
    import entorhinal.families.checkpoint as checkpoint

    monkeypatch.setattr(checkpoint, "get_class", lambda id: follower)
    shared = {"optimizer": optimizer, "schedule": "cosine", "warmup_steps": 5}
    exact: list[torch.Tensor] = []
    original = Population.member
    monkeypatch.setattr(
        Population, "member", lambda self, k: (exact.append(self.flat[k].clone()), original(self, k))[1]
    )
    configs = [setting | shared | {"seed": k} for k, setting in enumerate(SETTINGS)]
    together = train(follower, seeds=[0], config=configs, out=tmp_path / "all", dtype=torch.float64)
    for k, config in enumerate(configs):
        (alone,) = train(follower, seeds=[0], config=config, out=tmp_path / f"{k}", dtype=torch.float64)
        torch.testing.assert_close(exact[k], exact[-1], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(load(together[k]).weight, load(alone).weight)
    assert not torch.allclose(exact[0], exact[1])


def test_gradients_are_those_of_autograd(follower) -> None:
    members = [follower.make(target=t, seed=s) for t, s in ((0.5, 0), (0.1, 1))]
    batch = next(members[0].training_data(World(Arena.square(1.0), dtype=torch.float64), 0))
    population = Population(members, device=torch.device("cpu"), dtype=torch.float64)
    terms = population.accumulate([batch])
    for k in range(2):
        alone = population.member(k).double()
        loss = alone.loss(batch)
        loss["total"].backward()
        assert float(terms["total"][k]) == pytest.approx(float(loss["total"].detach()), rel=1e-6)
        gradient = population.layout.views(population.gradient)["weight"][k]
        torch.testing.assert_close(gradient, alone.weight.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_accumulation_is_the_mean_over_batches(follower, device) -> None:
    population = Population([follower.make()], device=torch.device(device), dtype=torch.float64)
    data = follower.make().training_data(World(Arena.square(1.0), device=device, dtype=torch.float64), 0)
    batches = list(islice(data, 3))
    gradients = []
    for used in (*([batch] for batch in batches), batches):
        population.accumulate(used)
        gradients.append(population.gradient.clone())
    torch.testing.assert_close(gradients[3], sum(gradients[:3]) / 3)


@pytest.mark.gpu
def test_batches_side_by_side_in_a_graph_are_batches_in_turn(tmp_path, monkeypatch) -> None:
    config = SIC.preset("tiny") | {"accumulation": 3, "steps": 20, "warmup_steps": 0}
    (at_once,) = train("ssl/sic", config=config, out=tmp_path / "at_once", device="cuda")
    monkeypatch.setattr(Population, "_of_each", lambda self, batches: map(self.gradients, batches))
    monkeypatch.setattr(_Run, "_captured", lambda self, batches: self.step)
    (in_turn,) = train("ssl/sic", config=config, out=tmp_path / "in_turn", device="cuda")
    untrained = SIC.make(**config)
    for (name, one), other in zip(load(at_once).named_parameters(), load(in_turn).parameters(), strict=True):
        moved = (other - untrained.get_parameter(name)).abs().mean()
        assert (one - other).abs().mean() < 0.01 * moved  # Adam makes steps of rounding where a gradient is next to 0


def test_what_may_differ_is_read_off_the_model(follower) -> None:
    assert may_differ(follower.make()) == {"target", "penalty", "lr", "weight_decay", "clip_norm", "clip_value", "seed"}


@pytest.mark.parametrize(("field", "values"), [("units", (6, 7)), ("batch", (5, 6)), ("optimizer", ("adam", "sgd"))])
def test_members_that_differ_in_what_they_must_share_are_refused(follower, field, values) -> None:
    with pytest.raises(InputError, match=rf"{field} is .* may differ in .*lr.*target"):
        Population([follower.make(**{field: value}) for value in values], device=torch.device("cpu"))


def test_a_population_too_large_says_the_largest_that_fits(follower, tmp_path, monkeypatch) -> None:
    cpu = torch.device("cpu")
    members = [follower.make(seed=k) for k in range(50)]
    batch = next(members[0].training_data(World(Arena.square(1.0)), 0))
    one, two, many = (module.step_bytes(members[:n], batch, device=cpu, dtype=torch.float32) for n in (1, 2, 50))
    assert many == pytest.approx(one + 49 * (two - one), rel=0.1)
    monkeypatch.setattr(module, "available_bytes", lambda device: one + 9 * (two - one))
    with pytest.raises(InputError, match=r"50 networks need .* the largest population that fits has 10"):
        train(follower, seeds=50, out=tmp_path / "run")
    assert len(train(follower, seeds=10, config={"steps": 2}, out=tmp_path / "fits")) == 10


def test_a_recipe_without_steps_is_refused(follower, tmp_path) -> None:
    with pytest.raises(InputError, match=r"recipe: steps = 0"):
        train(follower, config={"steps": 0}, out=tmp_path)

    class Forgetful(follower):
        def recipe(self):
            return type(follower.make().recipe())(lr=1.0, batch=1)

    with pytest.raises(InputError, match=r"recipe: steps = .*Field required"):
        recipe_of(Forgetful.make())


def test_constraints_hold_after_every_step(follower, tmp_path, monkeypatch) -> None:
    import entorhinal.families.checkpoint as checkpoint

    class Clamped(follower):
        def constrain(self, params, batch):
            return {"weight": params["weight"].clamp(-0.1, 0.1)}

    monkeypatch.setattr(checkpoint, "get_class", lambda id: Clamped)
    for path in train(Clamped, seeds=3, config={"lr": 0.5, "steps": 7}, out=tmp_path):
        model = load(path)
        assert float(model.weight.detach().abs().max()) == pytest.approx(0.1)
        assert float(model.bias.detach().abs()) > 0.1  # not clamped
