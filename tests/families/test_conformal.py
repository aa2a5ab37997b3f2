"""Conformal isometry against its equations written out, the closed form of its scale, and bad input."""

import logging
import math
from itertools import islice

import pytest
import torch
from torch import Tensor

from entorhinal.benchmarks.population import Population
from entorhinal.benchmarks.training import train
from entorhinal.families import make
from entorhinal.families.checkpoint import load
from entorhinal.families.errors import InputError
from entorhinal.families.function_optimization.code_table import rates_at
from entorhinal.families.function_optimization.conformal import BLOCK, SPACING, Conformal
from entorhinal.families.world import Arena, World

ID = "function_optimization/conformal"
TINY = {"units": 5, "bins": 9, "directions": 3, "batch": 12, "step_range_m": 0.2}
BOTH = pytest.mark.parametrize("transformation", ["linear", "relu"])


def first_batch(model: Conformal, seed: int = 0, first: int = 0) -> dict[str, Tensor]:
    world = World(Arena.square(model.config.side_m), dtype=torch.float64)
    return next(iter(model.training_data(world, seed, first)))


def naive_place(uniform: Tensor, step_m: Tensor) -> Tensor:
    low = [max(-0.5, -0.5 - float(d)) for d in step_m]
    high = [min(0.5, 0.5 - float(d)) for d in step_m]
    return torch.tensor([a + (b - a) * float(u) for a, b, u in zip(low, high, uniform, strict=True)]).to(step_m)


@BOTH
@torch.no_grad()
def test_loss_is_the_equations_written_out(transformation: str) -> None:
    model = make(ID, transformation=transformation, scale_per_m=7.0, isometry_weight=2.5, **TINY).double()
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1)))
    batch = first_batch(model)

    def code(at_m: Tensor) -> Tensor:
        return rates_at(model.table, at_m[None, None], 1.0)[0, 0]

    wrong, apart = 0.0, 0.0
    for k in range(3):
        for i in range(4):
            step_m = 0.2 * batch["step"][k, i]
            start_m = naive_place(batch["step_place"][k, i], step_m)
            v, length = code(start_m), math.hypot(*step_m.tolist())
            moved = v + length * model.motion[k] @ v
            if transformation == "relu":
                moved = torch.relu(model.recurrent @ v + length * model.motion[k] @ v + model.bias)
            wrong += float((moved - code(start_m + step_m)).square().sum()) / 12
            assert math.atan2(*step_m.flip(0).tolist()) % (2 * math.pi) == pytest.approx(2 * math.pi * k / 3, abs=1e-9)
    for i in range(12):
        step_m = 1.25 / 7 * batch["pair"][i]
        start_m = naive_place(batch["pair_place"][i], step_m)
        distance = float((code(start_m + step_m) - code(start_m)).norm())
        apart += (distance - 7 * math.hypot(*step_m.tolist())) ** 2 / 12
    terms = model.loss(batch)
    assert terms["transformation"].item() == pytest.approx(wrong, rel=1e-6)
    assert terms["isometry"].item() == pytest.approx(apart, rel=1e-5)
    assert terms["total"].item() == pytest.approx(wrong + 2.5 * apart, rel=1e-5)


def test_steps_and_pairs_fill_their_disks() -> None:
    model = make(ID, bins=10, step_range_m=0.2, batch=3600)
    batch = first_batch(model)
    for name in ("step", "pair"):
        length = batch[name].norm(dim=-1).flatten()
        assert length.max() <= 1
        assert float(length.square().mean()) == pytest.approx(0.5, abs=0.02)  # uniform in the disk
    assert batch["step"].shape == (18, 200, 2)


def test_three_waves_are_a_solution_with_the_scale_of_their_closed_form() -> None:
    spacing_m = 0.4
    k = 4 * math.pi / (math.sqrt(3) * spacing_m)
    angle = torch.arange(3, dtype=torch.float64) * 2 * math.pi / 3
    waves = k * torch.stack((angle.cos(), angle.sin()), -1)
    phase = torch.stack(torch.meshgrid(*2 * [torch.arange(6) / 6], indexing="ij"), -1).view(-1, 2).double()
    basis_m = torch.linalg.inv(waves[:2] / (2 * math.pi)).mT  # lattice vectors, a row each

    def code(at_m: Tensor) -> Tensor:
        offset_m = at_m[..., None, :] - phase @ basis_m
        rates = 1.5 + (offset_m @ waves.T).cos().sum(-1)
        return rates / rates.norm(dim=-1, keepdim=True)

    at_m = torch.rand(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (code(at_m) > -1e-12).all()
    for direction in (0.0, 0.4, 1.3):
        step_m = 1e-4 * torch.tensor([math.cos(direction), math.sin(direction)], dtype=torch.float64)
        speed = (code(at_m + step_m) - code(at_m)).norm(dim=-1) / 1e-4
        torch.testing.assert_close(speed, torch.full_like(speed, SPACING / spacing_m), rtol=1e-4, atol=0)


@BOTH
def test_networks_side_by_side_have_the_gradients_of_each_alone(transformation: str) -> None:
    settings = [
        {"seed": 0, "scale_per_m": 5.0, "isometry_weight": 1.0},
        {"seed": 1, "scale_per_m": 8.0, "isometry_weight": 4.0},
    ]
    members = [make(ID, transformation=transformation, **TINY, **values).double() for values in settings]
    population = Population(members, device=torch.device("cpu"), dtype=torch.float64)
    batch = first_batch(members[0])
    gradients, terms = population.gradients(batch)
    for i, values in enumerate(settings):
        alone = make(ID, transformation=transformation, **TINY, **values).double()
        own = alone.loss(batch)
        own["total"].backward()
        for name, term in own.items():
            torch.testing.assert_close(terms[name][i], term, rtol=1e-6, atol=1e-9)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(gradients[name][i], parameter.grad, rtol=1e-5, atol=1e-8)
            assert parameter.grad.abs().max() > 0


def test_batches_depend_on_seed_and_number_alone() -> None:
    model = make(ID, **TINY)
    run = list(islice(model.training_data(World(Arena.square(1.0)), 3), BLOCK + 3))
    for k in (1, BLOCK - 1, BLOCK, BLOCK + 2):
        again = next(iter(model.training_data(World(Arena.square(1.0)), 3, k)))
        assert all(torch.equal(again[name], run[k][name]) for name in run[k])


@BOTH
def test_training_keeps_codes_feasible_and_lowers_the_loss(transformation: str, tmp_path) -> None:
    config = {"transformation": transformation, "bins": 10, "batch": 90, "step_range_m": 0.15}
    config |= {"scale_per_m": 6.5, "lr": 0.03, "warmup_steps": 5, "steps": 200}
    (path,) = train(ID, config=config, out=tmp_path / "run", device="cpu")
    model, start = load(path), make(ID, **config)
    assert (model.table >= 0).all()
    torch.testing.assert_close(model.table.norm(dim=1), torch.ones(100))
    assert (start.table >= 0).all()
    torch.testing.assert_close(start.table.norm(dim=1), torch.ones(100))
    batch = next(iter(model.training_data(World(Arena.square(1.0)), 99)))
    assert model.loss(batch)["total"] < 0.6 * start.loss(batch)["total"]


def test_a_box_smaller_than_two_periods_is_warned_of(caplog) -> None:
    with caplog.at_level(logging.WARNING, "entorhinal"):
        make(ID, scale_per_m=10.0)
        assert not caplog.records
        make(ID, scale_per_m=5.0)
    assert "side_m=1 is less than two periods, which are about 0.65 m each at scale_per_m=5" in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 4000}, "batch = 4000: .*not a multiple of directions; give 3996"),
        ({"scale_per_m": 60.0}, "isometry_range = 1.25: .*longer than a bin.*between 1.5 and 60"),
        ({"scale_per_m": 1.0}, "isometry_range = 1.25: .*no longer than the box"),
        ({"step_range_m": 1.5}, "step_range_m = 1.5: .*longer than the box; give <= 1"),
        ({"transformation": "tanh"}, "transformation = 'tanh'"),
    ],
)
def test_bad_config_is_named(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(ID, **values)


def test_positions_outside_the_table_have_no_rates_and_other_boxes_no_training() -> None:
    model = make(ID)
    walk = World(Arena.square(2.0)).walk(40, 5, seed=0)
    outside = (walk.position_m.abs() > 0.5).any(-1)
    assert torch.equal(model.represent(walk).rates.isnan().all(-1), outside)
    assert outside.any()
    with pytest.raises(InputError, match=r"conformal-v1: the table covers a square of side_m=1"):
        model.training_data(World(Arena.square(2.0)), 0)
