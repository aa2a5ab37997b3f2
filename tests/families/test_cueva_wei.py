"""The network of Cueva & Wei 2018 against equations written out naively."""

from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from entorhinal.benchmarks.cli import app
from entorhinal.benchmarks.population import Population
from entorhinal.families import check_model, load, make
from entorhinal.families.errors import InputError
from entorhinal.families.model import Connected, Decoder, PathIntegrator, Trainable
from entorhinal.families.supervised.cueva_wei import BLOCK, CuevaWei
from entorhinal.families.world import Arena, World

TINY = {"units": 7, "batch": 3, "steps_per_trajectory": 5}
WORLD = World(Arena.square(2.2), dtype=torch.float64)


@pytest.mark.parametrize("direction", ["angle", "cosine_sine"])
def test_loss_is_the_equations_written_out(direction: str) -> None:
    model = make("supervised/cueva_wei", direction=direction, noise=0.7, weight_cost=0.2, **TINY).double()
    batch = next(iter(model.training_data(WORLD, 3)))
    walk = WORLD.walk(BLOCK * 3, 5, seed=3)
    start, win, w, bias, out = (
        getattr(model, name).detach().numpy() for name in ("start", "input", "recurrent", "bias", "readout")
    )
    error = activity = 0.0
    for b in range(3):
        x = start @ walk.start_m[b].numpy()
        for t in range(5):
            dx, dy = walk.displacement_m[b, t].numpy()
            angle = np.arctan2(dy, dx)
            told = [angle] if direction == "angle" else [np.cos(angle), np.sin(angle)]
            drive = w @ np.tanh(x) + win @ np.array([np.hypot(dx, dy) / 0.02, *told]) + bias
            x = 0.9 * x + 0.1 * (drive + model.noise.item() * batch["noise"][b, t].numpy())
            u = np.tanh(x)
            error += ((out @ u - walk.position_m[b, t].numpy()) ** 2).mean() / 15
            activity += (u**2).mean() / 15
    terms = model.loss(batch)
    assert terms["error_m2"].item() == pytest.approx(error, rel=1e-12)
    assert terms["activity_cost"].item() == pytest.approx(model.activity_cost.item() * activity, rel=1e-12)
    weights = model.weight_cost.item() * ((win**2).mean() + (out**2).mean())
    assert terms["weight_cost"].item() == pytest.approx(weights, rel=1e-12)
    assert terms["total"].item() == pytest.approx(sum(v.item() for k, v in terms.items() if k != "total"))


def test_noise_is_of_each_trial_step_and_unit_and_of_the_seed() -> None:
    model = make("supervised/cueva_wei", units=40, batch=30, steps_per_trajectory=20)
    world = World(Arena.square(2.2))
    noise = next(iter(model.training_data(world, 1)))["noise"]
    assert noise.shape == (30, 20, 40)
    assert noise.unique().numel() > 0.99 * noise.numel()
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    run = list(islice(model.training_data(world, 1), BLOCK + 2))
    for k in (1, BLOCK, BLOCK + 1):
        again = next(iter(model.training_data(world, 1, first=k)))
        assert all(torch.equal(again[name], run[k][name]) for name in again)
    assert all(not torch.equal(a["noise"], b["noise"]) for a, b in pairwise(run))
    assert not torch.equal(noise, next(iter(model.training_data(world, 2)))["noise"])


def test_rates_have_noise_with_a_generator_only() -> None:
    model = make("supervised/cueva_wei", units=40, noise=0.5)
    still = World(Arena.square(2.2)).walk(2, 6, seed=0).select([0, 0, 0])
    quiet = model.represent(still).rates
    assert torch.equal(quiet[0], quiet[1])
    noisy = model.represent(still, generator=torch.Generator().manual_seed(0)).rates
    assert not torch.allclose(noisy[0], noisy[1])
    silent = make("supervised/cueva_wei", units=40, noise=0.0)
    assert torch.equal(silent.represent(still, generator=torch.Generator().manual_seed(0)).rates, quiet)
    x0 = model.initial_state(still.start_m)
    first = model._unroll(x0, model.movement(still.displacement_m[:, :1], 0.02), None)[1]
    seen = torch.atanh(model.represent(still.chunk(0, 1), generator=torch.Generator().manual_seed(1)).rates[:, 0])
    spread = torch.stack([
        torch.atanh(model.represent(still.chunk(0, 1), generator=torch.Generator().manual_seed(k)).rates[:, 0]) - first
        for k in range(100)
    ])  # fmt: skip
    assert seen.shape == first.shape
    assert spread.std().item() == pytest.approx(0.1 * 0.5, rel=0.03)


def test_the_origin_is_the_papers_start() -> None:
    model = make("supervised/cueva_wei", **TINY)
    assert (model.initial_state(torch.zeros(2, 2)) == 0).all()
    start_m = torch.tensor([[0.3, -1.0]])
    torch.testing.assert_close(model.initial_state(2 * start_m), 2 * model.initial_state(start_m))


def test_population_gradients_equal_those_of_each_network_alone() -> None:
    settings = [
        {"seed": 0},
        {"seed": 1, "noise": 0.0, "activity_cost": 0.0},
        {"seed": 2, "noise": 1.0, "weight_cost": 0.0},
    ]
    models = [make("supervised/cueva_wei", **TINY, **own).double() for own in settings]
    batch = next(iter(models[0].training_data(WORLD, 0)))
    population = Population(models, device=torch.device("cpu"), dtype=torch.float64)
    gradients, terms = population.gradients(batch)
    for k, own in enumerate(settings):
        alone = make("supervised/cueva_wei", **TINY, **own).double()
        found = alone.loss(batch)
        found["total"].backward()
        torch.testing.assert_close(terms["total"][k], found["total"].detach(), rtol=1e-9, atol=1e-12)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(gradients[name][k], parameter.grad, rtol=1e-9, atol=1e-12)
            assert parameter.grad.abs().max() > 0


def test_powers_checks_and_presets() -> None:
    check_model("supervised/cueva_wei", units=12)
    model = make("supervised/cueva_wei", **TINY)
    for power in (PathIntegrator, Trainable, Decoder, Connected):
        assert isinstance(model, power)
    assert model.connectivity().shape == (7, 7)
    for name in CuevaWei.presets:
        CuevaWei.Config.parse("preset", CuevaWei.preset(name))


@pytest.mark.parametrize(
    "bad", [{"noise": -0.1}, {"activity_cost": -1.0}, {"step_fraction": 0.0}, {"units": 0}, {"direction": "none"}]
)
def test_bad_configs_name_their_field(bad: dict) -> None:
    with pytest.raises(InputError, match=f"supervised/cueva_wei-v1: {next(iter(bad))} = "):
        make("supervised/cueva_wei", **bad)


def test_bad_worlds_are_refused_at_once() -> None:
    model = make("supervised/cueva_wei", **TINY)
    with pytest.raises(InputError, match=r"positions fill a square of side_m=2\.2, but the arena measures 1 x 1 m"):
        model.training_data(World(Arena.square(1.0)), 0)
    with pytest.raises(InputError, match="1 dimension"):
        model.represent(World(Arena.line(2.2)).walk(2, 3, seed=0))


def test_a_small_network_learns_where_it_is_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "run"
    values = {"units": 24, "batch": 40, "steps_per_trajectory": 10, "direction": "cosine_sine", "lr": 5e-3}
    values |= {"activity_cost": 0.01, "weight_cost": 0.01, "steps": 250}
    told = [argument for name, value in values.items() for argument in ("--set", f"{name}={value}")]
    asked = ["train", "supervised/cueva_wei", *told, "--seeds", "2", "--device", "cpu", "--out", str(out)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    paths = World(Arena.square(2.2)).walk(100, 10, seed=9)
    trained = sorted(out.glob("*.safetensors"))
    assert len(trained) == 2
    for path in trained:
        model = load(path)
        assert isinstance(model, CuevaWei)
        with torch.no_grad():
            error_m = (model.decode(model.represent(paths)) - paths.position_m).norm(dim=-1).median()
        assert error_m < 0.2  # guessing the middle is wrong by 0.84 m
