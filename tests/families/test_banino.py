"""The network of Banino et al. 2018 against torch's LSTM cell and equations written out naively."""

import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from entorhinal.benchmarks.cli import app
from entorhinal.benchmarks.population import Population
from entorhinal.families import check_model, load, make, memory
from entorhinal.families.errors import InputError
from entorhinal.families.model import Decoder, PathIntegrator, Representation, Trainable
from entorhinal.families.supervised.banino import Banino, movements
from entorhinal.families.supervised.walks import BLOCK
from entorhinal.families.world import Arena, Trajectories, World

TINY = {"cells": 6, "units": 10, "place_cells": 8, "head_direction_cells": 4, "batch": 3, "steps_per_trajectory": 5}
WIDE = TINY | {"place_width_m": 0.3}
WORLD = World(Arena.square(2.2), dtype=torch.float64)


def straight(start: list[float], steps: list[list[float]]) -> Trajectories:
    start_m, displacement_m = torch.tensor([start]).double(), torch.tensor([steps]).double()
    return Trajectories.from_displacements(start_m, displacement_m, 0.02, Arena.square(2.2))


def torch_cell(model: Banino) -> torch.nn.LSTMCell:
    """torch's cell, whose gates come in the order i, f, c̃, o, with the model's weights."""
    n = model.config.cells
    cell = torch.nn.LSTMCell(3, n).double()
    order = torch.cat((torch.arange(2 * n), torch.arange(3 * n, 4 * n), torch.arange(2 * n, 3 * n)))
    with torch.no_grad():
        cell.weight_ih.copy_(model.input[order])
        cell.weight_hh.copy_(model.recurrent[order])
        cell.bias_ih.copy_(model.bias[order])
        cell.bias_hh.zero_()
    return cell


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_loss_is_the_equations_written_out(dropout: float) -> None:
    model = make("supervised/banino", dropout=dropout, **WIDE).double()
    with torch.no_grad():
        model.place_bias.normal_()
        model.heading_bias.normal_()
    batch, cell, n = next(iter(model.training_data(WORLD, 3))), torch_cell(model), 6
    walk = WORLD.walk(BLOCK * 3, 5, seed=3)
    total = 0.0
    with torch.no_grad():
        for b in range(3):
            angle = np.arctan2(*walk.displacement_m[b].numpy().T[::-1])

            def heading(phi: float) -> torch.Tensor:
                weight = np.exp(model.concentration.item() * np.cos(phi - model.preferred_rad.numpy()))
                return torch.tensor(weight / weight.sum())

            def place(at: torch.Tensor) -> torch.Tensor:
                square = ((at - model.centre_m) ** 2).sum(1)
                weight = torch.exp(-square / (2 * model.place_width_m**2))
                return weight / weight.sum()

            begun = model.start_place @ place(walk.start_m[b]) + model.start_heading @ heading(angle[0])
            h, c = begun[None, :n], begun[None, n:]
            for t in range(5):
                turn = angle[t] - angle[t - 1] if t else 0.0
                speed = walk.displacement_m[b, t].norm().item() / 0.02
                h, c = cell(torch.tensor([[speed, math.cos(turn), math.sin(turn)]]).double(), (h, c))
                kept = (batch["uniform"][b, t] >= dropout) / (1 - dropout)
                g = kept * (model.linear @ h[0])
                for readout, bias, wanted in (
                    (model.place_readout, model.place_bias, place(walk.position_m[b, t])),
                    (model.heading_readout, model.heading_bias, heading(angle[t])),
                ):
                    total -= float((wanted * torch.log_softmax(readout @ g + bias, 0)).sum()) / 15
    terms = model.loss(batch)
    assert terms["total"].item() == pytest.approx(total, rel=1e-6)
    assert terms["total"].item() == pytest.approx((terms["place"] + terms["head_direction"]).item())


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    on, off = (make("supervised/banino", dropout=dropout, **WIDE).double() for dropout in (0.5, 0.0))
    paths = WORLD.walk(4, 5, seed=0)
    rates = on.represent(paths).rates
    assert torch.equal(rates, off.represent(paths).rates)
    assert torch.equal(rates, on.represent(paths, generator=torch.Generator().manual_seed(0)).rates)
    assert (rates != 0).all()
    batch = next(iter(on.training_data(WORLD, 0)))
    other = batch | {"uniform": 1 - batch["uniform"]}
    assert on.loss(batch)["total"] != on.loss(other)["total"]
    assert off.loss(batch)["total"] == off.loss(other)["total"]
    uniform = next(iter(make("supervised/banino", batch=50).training_data(WORLD, 0)))["uniform"]
    assert uniform.shape == (50, 100, 512)
    assert (uniform >= 0.5).double().mean().item() == pytest.approx(0.5, abs=0.005)
    assert not torch.equal(uniform[0], uniform[1])


def test_the_initial_heading_is_that_of_the_first_displacement() -> None:
    model = make("supervised/banino", **WIDE).double()
    walk = straight([0.0, 0.0], [[0.0, 0.02], [0.0, 0.0], [0.01, 0.0], [-0.01, 0.0]])
    movement, heading = movements(walk.displacement_m, torch.zeros(1, 2).double(), 0.02)
    quarter = [[1.0, 1, 0], [0, 1, 0], [0.5, 0, -1], [0.5, -1, 0]]  # speed, cosine and sine of the turn
    torch.testing.assert_close(movement[0], torch.tensor(quarter).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(heading[0], torch.tensor([[0.0, 1], [0, 1], [1, 0], [-1, 0]]).double())
    later, _ = movements(walk.displacement_m[:, 2:], heading[:, 1], 0.02)
    torch.testing.assert_close(later, movement[:, 2:])
    still = model.represent(straight([0.1, 0.2], [[0.0, 0.0], [0.0, 0.0]]))
    assert still.rates.isfinite().all()
    torch.testing.assert_close(still.state["heading"], torch.tensor([[1.0, 0.0]]).double())


def test_a_turned_walk_gives_the_same_movements() -> None:
    """The input is egocentric: only the start and the initial heading tell a walk from a turned one."""
    paths = WORLD.walk(3, 8, seed=1)
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]]).double()
    turned = Trajectories.from_displacements(
        paths.start_m @ turn, paths.displacement_m @ turn, 0.02, Arena.square(2.2, walls=False)
    )
    model = make("supervised/banino", **WIDE).double()
    with torch.no_grad():
        model.start_place.zero_()
        assert not torch.allclose(model.represent(paths).rates, model.represent(turned).rates)
        model.start_heading.zero_()
        torch.testing.assert_close(model.represent(paths).rates, model.represent(turned).rates)


def test_population_gradients_equal_those_of_each_network_alone() -> None:
    settings = [{"seed": 0}, {"seed": 1, "dropout": 0.0}, {"seed": 2, "dropout": 0.2, "concentration": 5.0}]
    models = [make("supervised/banino", **WIDE, **own).double() for own in settings]
    batch = next(iter(models[0].training_data(WORLD, 0)))
    gradients, terms = Population(models, device=torch.device("cpu"), dtype=torch.float64).gradients(batch)
    for k, own in enumerate(settings):
        alone = make("supervised/banino", **WIDE, **own).double()
        found = alone.loss(batch)
        found["total"].backward()
        torch.testing.assert_close(terms["total"][k], found["total"].detach(), rtol=1e-9, atol=1e-12)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(gradients[name][k], parameter.grad, rtol=1e-9, atol=1e-12)
            assert parameter.grad.abs().max() > 0


def test_batches_depend_on_seed_and_number_alone() -> None:
    model = make("supervised/banino", **TINY)
    world = World(Arena.square(2.2))
    run = list(islice(model.training_data(world, 5), BLOCK + 2))
    for k in (1, BLOCK, BLOCK + 1):
        again = next(iter(model.training_data(world, 5, first=k)))
        assert all(torch.equal(again[name], run[k][name]) for name in again)
    assert not torch.equal(run[0]["uniform"], run[1]["uniform"])


def test_decoding_an_ideal_prediction_finds_the_animal() -> None:
    model = make("supervised/banino", units=256)
    position_m = World().walk(20, 10, seed=0).position_m
    with torch.no_grad():
        model.place_readout.copy_(torch.eye(256))
        code = model.place_code(position_m)
        found = model.decode(Representation(torch.log(code + 1e-30)))
    assert found.shape == position_m.shape
    assert (found - position_m).norm(dim=-1).mean() < 0.1  # centres are 0.14 m apart


def test_powers_checks_recipe_and_presets() -> None:
    check_model("supervised/banino", cells=8, units=16, place_cells=20)
    model = make("supervised/banino", **TINY)
    for power in (PathIntegrator, Trainable, Decoder):
        assert isinstance(model, power)
    recipe = make("supervised/banino").recipe()
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.clip_value) == ("rmsprop", 1e-5, 0.9, 1e-5)
    assert (recipe.batch, recipe.clip_norm, recipe.weight_decay) == (10, None, 0)
    for name in Banino.presets:
        Banino.Config.parse("preset", Banino.preset(name))


@pytest.mark.parametrize(
    "bad", [{"dropout": 1.0}, {"dropout": -0.1}, {"place_width_m": 0.0}, {"concentration": 0.0}, {"clip_value": 0.0}]
)
def test_bad_configs_name_their_field(bad: dict) -> None:
    with pytest.raises(InputError, match=f"supervised/banino-v1: {next(iter(bad))} = "):
        make("supervised/banino", **bad)


def test_bad_worlds_are_refused_at_once() -> None:
    model = make("supervised/banino", **TINY)
    with pytest.raises(InputError, match=r"place cells fill a square of side_m=2\.2, but the arena measures 1 x 1 m"):
        model.training_data(World(Arena.square(1.0)), 0)
    with pytest.raises(InputError, match="1 dimension"):
        model.represent(World(Arena.line(2.2)).walk(2, 3, seed=0))


def test_more_place_cells_than_training_has_memory_for_are_refused(monkeypatch) -> None:
    model = make("supervised/banino", **TINY)
    each = 4 * (3 * 3 * 5 + 4 * (2 * 6 + 10))  # bytes a place cell, as the message counts them
    monkeypatch.setattr(memory, "available_bytes", lambda device: 8 * each)
    model.training_data(World(), 0)
    monkeypatch.setattr(memory, "available_bytes", lambda device: 8 * each - 1)
    with pytest.raises(InputError, match="place_cells = 8: 7 fit in the memory free on cpu, with 3 trajectories of 5"):
        model.training_data(World(), 0)


def test_a_small_network_learns_its_targets_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "run"
    values = {"cells": 24, "units": 48, "place_cells": 20, "place_width_m": 0.2, "head_direction_cells": 6}
    values |= {"batch": 40, "steps_per_trajectory": 8, "lr": 1e-3, "steps": 250, "clip_value": 0.1}
    told = [argument for name, value in values.items() for argument in ("--set", f"{name}={value}")]
    asked = ["train", "supervised/banino", *told, "--seeds", "2", "--device", "cpu", "--out", str(out)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    trained = sorted(out.glob("*.safetensors"))
    assert len(trained) == 2
    paths = World(Arena.square(2.2)).walk(100, 8, seed=9)
    for path in trained:
        model = load(path)
        assert isinstance(model, Banino)
        with torch.no_grad():
            error_m = (model.decode(model.represent(paths)) - paths.position_m).norm(dim=-1).median()
        assert error_m < 0.45  # guessing the middle is wrong by 0.84 m
