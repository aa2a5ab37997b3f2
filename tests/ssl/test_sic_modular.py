"""The variant begun as modules held apart, with drift and hard pairs."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from entorhinal.analysis import rate_maps, scores_and_lattices
from entorhinal.benchmarks import train
from entorhinal.families import Arena, World, load
from entorhinal.families.errors import InputError
from entorhinal.ssl.modular_start import modular_start_
from entorhinal.ssl.sic import SIC
from entorhinal.ssl.sic_modular import SICModular
from entorhinal.ssl.velocity_network import BLOCK

WORLD = World(Arena.square(2.0, walls=False), dtype=torch.float64)
SIZES = {"units": 7, "hidden": 5, "steps_per_trajectory": 6, "trajectories": 4}
SMALL = SIZES | {"ideal_start": False, "hard_weight": 10.0, "held_steps": 62, "ramp_start": 60, "ramp_steps": 8}


def test_population_gradients_are_those_of_autograd() -> None:
    model = SICModular.make(**SMALL).double()
    batch = next(model.training_data(WORLD, 0, 66))
    assert 0 < float(batch["hard_ramp"]) < 1
    gradients, terms = model.population_gradients(
        {name: p.detach()[None] for name, p in model.named_parameters()},
        {name: b[None] for name, b in model.named_buffers()},
        batch,
    )
    expected = model.loss(batch)
    assert float(expected["hard"].detach()) > 1e-4
    for name, value in expected.items():
        assert float(terms[name][0]) == pytest.approx(float(value.detach()), rel=1e-9), name
    for (name, parameter), gradient in zip(
        model.named_parameters(), torch.autograd.grad(expected["total"], list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(gradients[name][0], gradient, rtol=1e-8, atol=1e-12, msg=name)
        assert parameter.shape == gradient.shape


def test_drift_is_one_a_batch_rises_with_the_ramp_and_is_a_function_of_seed_and_index() -> None:
    model, plain = SICModular.make(**SMALL), SIC.make(**SIZES)
    run = list(itertools.islice(model.training_data(WORLD, 9), BLOCK + 8))
    still = list(itertools.islice(plain.training_data(WORLD, 9), BLOCK + 8))
    drift_m = torch.stack([a["velocity_m"] - b["velocity_m"] for a, b in zip(run, still, strict=True)])
    assert all(torch.equal(a["order"], b["order"]) for a, b in zip(run, still, strict=True))
    torch.testing.assert_close(drift_m, drift_m[:, :1].expand_as(drift_m))
    speed_m = drift_m[:, 0].norm(dim=-1)
    assert (speed_m[:61] == 0).all()
    assert 0.01 < float(speed_m[68:].max()) <= model.config.drift_m
    assert [float(batch["held"]) for batch in run] == [1.0] * 62 + [0.0] * (BLOCK + 8 - 62)
    for first in (3, 62, 64, 69):
        later = next(model.training_data(WORLD, 9, first))
        assert all(torch.equal(later[name], run[first][name]) for name in later)


def test_without_its_additions_it_is_sic() -> None:
    off = {"hard_weight": 0.0, "drift_m": 0.0, "input_gain": 8.0}
    model = SICModular.make(**SMALL | off)
    plain = SIC.make(**SIZES)
    batch, still = (next(m.training_data(WORLD, 1, 70)) for m in (model, plain))
    assert torch.equal(batch["velocity_m"], still["velocity_m"])
    ours, theirs = model.double().loss(batch), plain.double().loss(still)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_hard_pairs_must_be_far() -> None:
    with pytest.raises(InputError, match=r"hard_from_m=0\.01"):
        SICModular.make(**SMALL, hard_from_m=0.01)


def test_modules_are_held_apart_and_then_free(tmp_path) -> None:
    steps = {"ramp_start": 0, "ramp_steps": 1, "held_steps": 4, "steps": 8, "warmup_steps": 0, "seed": 3}
    small = SIZES | {"units": 9, "ideal_start": False, "modules": 2, "constants": 0} | steps

    def between(held: int) -> tuple[Tensor, Tensor]:
        (path,) = train("ssl/sic_modular", config=small | {"held_steps": held}, out=tmp_path / str(held))
        last = load(path).matrix[4]
        own = torch.tensor([0] * 4 + [1] * 5)
        other = (own[:, None] != own).flatten()
        assert int(other.sum()) == 2 * 4 * 5
        assert float(last.weight[~other].detach().abs().min()) > 0
        return last.weight[other].detach(), last.bias[other].detach()

    weight, bias = between(held=8)
    assert (weight == 0).all()
    assert float(bias.max() - bias.min()) == 0
    weight, bias = between(held=4)
    assert float(weight.abs().max()) > 1e-5
    assert float(bias.max() - bias.min()) > 1e-5


def test_a_modular_start_integrates_paths_with_hexagonal_modules() -> None:
    start = {"modules": 2, "start_spacing_m": 0.5, "start_ratio": 1.5, "drift_m": 0.0, "constants": 0}
    model = SICModular.make(units=54, hidden=128, **start)
    walk = World(Arena.square(20.0, walls=False)).iid_steps(512, 60, seed=0)
    found, box = model.represent(walk), Arena.square(2.0)
    assert (found.rates[..., 50:] == 0).all()
    share = torch.stack([found.rates[:, -1, k * 25 : k * 25 + 25].norm(dim=-1) for k in range(2)])
    assert float((share.detach() - math.sqrt(0.5)).abs().max()) < 0.1  # no module takes over
    inside = (walk.position_m.abs() < 1).all(-1)
    maps = rate_maps(found.rates[inside][None, :, :50].detach(), walk.position_m[inside][None], box.extent_m, 40, 0.03)
    scores, lattices = scores_and_lattices(maps.values, maps.bin_m)
    assert float(scores.min()) > 0.8
    for k, spacing_m in enumerate((0.5, 0.75)):
        found_m = lattices.spacing_m[k * 25 : k * 25 + 25]
        assert float((found_m / spacing_m - 1).abs().max()) < 0.05


def test_modules_of_a_modular_start_regain_a_strength_that_they_lost() -> None:
    start = {"modules": 2, "start_spacing_m": 0.5, "start_ratio": 1.5, "drift_m": 0.0, "constants": 0}
    model = SICModular.make(units=54, hidden=128, **start)
    walk = World(Arena.square(20.0, walls=False)).iid_steps(64, 60, seed=0)
    weaker = model.initial_state(walk.start_m).detach() * torch.where(torch.arange(54) < 25, 0.7, 1.0)
    shares = model.represent(walk, weaker).rates[..., :25].detach().norm(dim=-1).mean(0)
    assert float(shares[0]) < 0.64
    assert float(shares[30:].sub(math.sqrt(0.5)).abs().max()) < 0.03


def test_constant_units_hold_their_share_of_the_norm_and_stay_apart_while_held(tmp_path) -> None:
    start = {"modules": 2, "start_spacing_m": 0.5, "start_ratio": 1.5, "drift_m": 0.0, "constants": 3}
    model = SICModular.make(units=54, hidden=128, **start, start_constant_share=0.3)
    walk = World(Arena.square(20.0, walls=False)).iid_steps(64, 60, seed=0)
    found = model.represent(walk).rates.detach()
    assert float((found[..., -3:].square().sum(-1) - 0.3).abs().max()) < 0.03
    assert float(found[..., -3:].std((0, 1)).max()) < 0.02
    assert (found[..., 50:-3] == 0).all()
    without = SICModular.make(units=54, hidden=128, **start | {"constants": 0}).represent(walk).rates.detach()

    def mean_code(rates: Tensor) -> float:
        return float(rates[:, 10:].flatten(0, 1).mean(0).square().sum())

    assert mean_code(found) == pytest.approx(0.3 + 0.7 * mean_code(without), abs=0.02)

    steps = {"ramp_start": 0, "ramp_steps": 1, "held_steps": 4, "steps": 4, "warmup_steps": 0, "seed": 3}
    small = SIZES | {"units": 11, "ideal_start": False, "modules": 2, "constants": 2} | steps
    (path,) = train("ssl/sic_modular", config=small, out=tmp_path)
    bias = load(path).matrix[4].bias.detach().view(11, 11)
    weight = load(path).matrix[4].weight.detach().view(11, 11, -1)
    assert (weight[9:] == 0).all()
    assert (weight[:, 9:] == 0).all()
    assert (bias[:, 9:] == 0).all()
    assert float(bias[9:, :9].std()) < 1e-7
    assert float(bias[9, 0]) != float(bias[0, 5])
    assert float(bias[:4, 4:9].std()) < 1e-7
    assert float(bias[:4, :4].std()) > 1e-3


def test_a_modular_start_fits_its_matrices_and_refuses_too_few_units() -> None:
    from entorhinal.ssl.architecture import velocity_to_matrix

    def fit(hidden: int) -> float:
        generator = torch.Generator().manual_seed(0)
        mlp = velocity_to_matrix(16, hidden, "tanh", generator)
        given = {"threshold": -0.9, "max_step_m": 0.2, "generator": generator}
        return modular_start_(mlp, torch.zeros(16), torch.tensor([0.4, 0.6]), **given)

    assert fit(128) < 0.01 < fit(4)
    with pytest.raises(ValueError, match="fewer than 4 each"):
        modular_start_(
            velocity_to_matrix(7, 8, "tanh", torch.Generator()), torch.zeros(7), torch.tensor([0.4, 0.6]),
            threshold=0.0, max_step_m=0.2, generator=torch.Generator(),
        )  # fmt: skip
