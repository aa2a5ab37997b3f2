"""The network of Sorscher et al. 2019 against equations written out naively."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from entorhinal.benchmarks.population import Population
from entorhinal.benchmarks.records import checkpoint_config
from entorhinal.families import check_model, get_card, make
from entorhinal.families.errors import InputError
from entorhinal.families.model import Connected, Decoder, PathIntegrator, Representation, Trainable
from entorhinal.families.supervised.sorscher import Sorscher
from entorhinal.families.supervised.walks import BLOCK
from entorhinal.families.world import Arena, World

TINY = {"units": 12, "place_cells": 20, "batch": 3, "steps_per_trajectory": 5}


def first_batch(model: Sorscher, seed: int = 0, first: int = 0, dtype: torch.dtype = torch.float64):
    world = World(Arena.square(model.config.side_m), dtype=dtype)
    return next(iter(model.training_data(world, seed, first)))


class Loss(torch.nn.Module):
    """`functional_call` calls a module, and a `Model` is called by its methods."""

    def __init__(self, model: Sorscher) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model.loss(batch)


def naive_place_code(at: np.ndarray, centres: np.ndarray, width: float, ratio: float | None) -> np.ndarray:
    square = ((at - centres) ** 2).sum(1)
    centre = np.exp(-square / (2 * width**2))
    code = centre / centre.sum()
    if ratio is not None:
        surround = np.exp(-square / (2 * ratio * width**2))
        code = code - surround / surround.sum()
        code = (code + abs(code.min())) / (code + abs(code.min())).sum()
    return code


@pytest.mark.parametrize("target", ["dog", "gaussian"])
def test_loss_is_the_equations_written_out(target: str) -> None:
    model = make("supervised/sorscher", target=target, weight_decay=0.01, surround_variance_ratio=3.0, **TINY).double()
    batch = first_batch(model)
    start, win, w, wout = (getattr(model, name).detach().numpy() for name in ("start", "input", "recurrent", "readout"))
    centres, width = model.centre_m.numpy(), model.place_width_m.item()
    ratio = 3.0 if target == "dog" else None
    total = 0.0
    for b in range(3):
        h = start @ naive_place_code(batch["start_m"][b].numpy(), centres, width, ratio)
        for t in range(5):
            h = np.maximum(w @ h + win @ batch["displacement_m"][b, t].numpy(), 0)
            logits = wout @ h
            predicted = np.exp(logits) / np.exp(logits).sum()
            wanted = naive_place_code(batch["position_m"][b, t].numpy(), centres, width, ratio)
            total -= (wanted * np.log(predicted)).sum() / 15
    terms = model.loss(batch)
    assert all(term.shape == () for term in terms.values())
    assert terms["cross_entropy"].item() == pytest.approx(total, rel=1e-12)
    assert terms["weight_penalty"].item() == pytest.approx(model.weight_decay.item() * (w**2).sum(), rel=1e-12)
    assert terms["total"].item() == pytest.approx(terms["cross_entropy"].item() + terms["weight_penalty"].item())


def test_population_gradients_equal_those_of_each_network_alone() -> None:
    settings = [
        {"seed": 0, "place_width_m": 0.12, "weight_decay": 1e-4, "surround_variance_ratio": 2.0},
        {"seed": 1, "place_width_m": 0.20, "weight_decay": 1e-2, "surround_variance_ratio": 3.0},
        {"seed": 2, "place_width_m": 0.08, "weight_decay": 0.0, "surround_variance_ratio": 2.0},
    ]
    models = [Loss(make("supervised/sorscher", **TINY, **values).double()) for values in settings]
    assert all(torch.equal(models[0].model.centre_m, other.model.centre_m) for other in models[1:])
    batch = first_batch(models[0].model)
    parameters, buffers = stack_module_state(models)
    shared = {name: None if buffer.ndim > 1 else 0 for name, buffer in buffers.items()}
    buffers = {name: models[0].get_buffer(name) if shared[name] is None else b for name, b in buffers.items()}
    assert [name for name, dim in shared.items() if dim is None] == ["model.centre_m"]

    def total(params, buffers):
        terms = functional_call(models[0], (params, buffers), (batch,))
        return terms["total"], terms

    gradients, terms = vmap(grad(total, has_aux=True), (0, shared))(parameters, buffers)
    for i, alone in enumerate(models):
        own = alone(batch)
        own["total"].backward()
        for name, term in own.items():
            torch.testing.assert_close(terms[name][i], term, rtol=1e-9, atol=1e-9)
        for name, parameter in alone.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(gradients[name][i], parameter.grad, rtol=1e-9, atol=1e-9)
            assert parameter.grad.abs().max() > 0


def test_training_batches_depend_on_seed_and_number_alone() -> None:
    model = make("supervised/sorscher", **TINY)
    world = World(Arena.square(2.2))
    numbers = (0, 1, BLOCK - 1, BLOCK, BLOCK + 5)
    run = list(islice(model.training_data(world, 7), BLOCK + 6))
    for k in numbers:
        again = next(iter(model.training_data(world, 7, first=k)))
        assert set(again) == {"start_m", "displacement_m", "position_m"}
        assert all(torch.equal(again[name], run[k][name]) for name in again)
    assert len({float(run[k]["start_m"][0, 0]) for k in numbers}) == len(numbers)
    assert not torch.equal(run[0]["start_m"], first_batch(model, 8, dtype=torch.float32)["start_m"])
    assert {tuple(t.shape) for batch in run for t in batch.values()} == {(3, 2), (3, 5, 2)}
    walked = run[3]["start_m"][:, None] + run[3]["displacement_m"].cumsum(1)
    torch.testing.assert_close(walked, run[3]["position_m"])
    first_batch(model, seed=2**63 - 1, first=2 * BLOCK)  # seeds wrap


def test_start_is_linear_in_the_place_code_and_rates_are_rectified() -> None:
    model = make("supervised/sorscher", **TINY).double()
    world = World(dtype=torch.float64)
    paths = world.walk(4, 1, seed=0)
    h0 = model.initial_state(paths.start_m)
    torch.testing.assert_close(h0, model.place_code(paths.start_m) @ model.start.T)
    assert (h0 < 0).any()
    still = paths.from_displacements(paths.start_m, torch.zeros_like(paths.displacement_m), 0.02, paths.arena)
    found = model.represent(still)
    torch.testing.assert_close(found.rates[:, 0], torch.relu(h0 @ model.recurrent.T))
    torch.testing.assert_close(found.state, found.rates[:, -1])


def test_place_cells_fill_the_box_in_both_axes_and_weights_their_bounds() -> None:
    model = make("supervised/sorscher", units=64, side_m=3.0)
    assert model.centre_m.shape == (512, 2)
    assert (model.centre_m.amin(0) < -1.45).all()
    assert (model.centre_m.amax(0) > 1.45).all()
    assert model.centre_m.abs().max() <= 1.5
    bounds = {"start": 512**-0.5, "input": 1 / 8, "recurrent": 1 / 8, "readout": 1 / 8}
    for name, bound in bounds.items():
        largest = getattr(model, name).abs().max().item()
        assert 0.9 * bound < largest <= bound
    assert set(dict(model.named_parameters())) == set(bounds)


def test_seeds_of_weights_and_of_centres_are_apart_and_global_state_is_untouched() -> None:
    before = torch.get_rng_state()
    base, other, moved = (make("supervised/sorscher", **TINY, **v) for v in ({}, {"seed": 1}, {"centre_seed": 1}))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(base.centre_m, other.centre_m)
    assert not torch.equal(base.recurrent, other.recurrent)
    assert torch.equal(base.recurrent, moved.recurrent)
    assert not torch.equal(base.centre_m, moved.centre_m)


def test_decoding_an_ideal_prediction_finds_the_animal() -> None:
    model = make("supervised/sorscher", units=512)
    with torch.no_grad():
        model.readout.copy_(torch.eye(512))
    position_m = World().walk(20, 10, seed=0).position_m
    found = model.decode(Representation(model.place_code(position_m)))
    assert found.shape == position_m.shape
    assert (found - position_m).norm(dim=-1).mean() < 0.06  # centres are 0.1 m apart


def test_powers_checks_and_presets() -> None:
    check_model("supervised/sorscher", units=32, place_cells=64)
    model = make("supervised/sorscher", **TINY)
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Trainable)
    assert isinstance(model, Decoder)
    assert isinstance(model, Connected)
    assert model.connectivity().shape == (12, 12)
    recipe = make("supervised/sorscher", **(TINY | {"batch": 200})).recipe()
    assert (recipe.optimizer, recipe.lr, recipe.steps, recipe.batch) == ("adam", 1e-4, 100_000, 200)
    assert recipe.weight_decay == 0  # it is in the loss, on W alone
    assert recipe.schedule == "constant"
    assert make("supervised/sorscher", schedule="cosine", **TINY).recipe().schedule == "cosine"
    for name in Sorscher.presets:
        Sorscher.Config.parse("preset", Sorscher.preset(name))
    assert get_card("supervised/sorscher").supervision == "target"


def test_a_default_schedule_is_not_written_and_another_is() -> None:
    """Conditions from before there was a schedule keep their hash."""
    default, cosine = (make("supervised/sorscher", schedule=name, **TINY).config for name in ("constant", "cosine"))
    assert "schedule" not in default.model_dump(mode="json")
    assert cosine.model_dump(mode="json") == default.model_dump(mode="json") | {"schedule": "cosine"}
    assert Sorscher.Config(**default.model_dump(mode="json")) == default
    for settings in ([{}, {"schedule": "cosine"}], [{"schedule": "cosine"}, {}]):
        with pytest.raises(InputError, match=r"population: schedule is '.*' and '.*'"):
            Population([make("supervised/sorscher", **TINY, **own) for own in settings], device=torch.device("cpu"))
    for name in ("sorscher", "sorscher_gaussian"):
        written = checkpoint_config(name)
        assert Sorscher.Config(**written).model_dump(mode="json") == written


@pytest.mark.parametrize(
    "bad",
    [
        {"schedule": "plateau"},
        {"place_width_m": 0.0},
        {"place_width_m": -0.1},
        {"surround_variance_ratio": 1.0},
        {"weight_decay": -1e-4},
        {"place_cells": 2},
        {"units": 0},
        {"target": "cartesian"},
    ],
)
def test_bad_configs_name_their_field(bad: dict) -> None:
    with pytest.raises(InputError, match=f"supervised/sorscher-v1: {next(iter(bad))} = "):
        make("supervised/sorscher", **bad)


def test_bad_worlds_are_refused_at_once() -> None:
    model = make("supervised/sorscher", **TINY)
    with pytest.raises(InputError, match=r"side_m=2\.2, but the arena measures 1 x 1 m"):
        model.training_data(World(Arena.square(1.0)), 0)
    with pytest.raises(InputError, match="1 dimension"):
        model.training_data(World(Arena.line(2.2)), 0)
    with pytest.raises(InputError, match="1 dimension"):
        model.represent(World(Arena.line(2.2)).walk(2, 3, seed=0))


def test_a_few_hundred_steps_lower_the_cross_entropy_and_the_error() -> None:
    model = make("supervised/sorscher", units=64, place_cells=64, batch=50, steps_per_trajectory=5, target="gaussian")
    data = model.training_data(World(), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for batch in islice(data, 300):
        optimizer.zero_grad()
        terms = model.loss(batch)
        terms["total"].backward()
        optimizer.step()
        history.append(terms["cross_entropy"].item())
    assert history[0] == pytest.approx(np.log(64), rel=0.02)
    floor = -(code := model.place_code(next(data)["position_m"])).xlogy(code).sum(-1).mean().item()
    assert np.mean(history[-20:]) - floor < 0.4 * (history[0] - floor)
    paths = World().walk(50, 5, seed=1)
    with torch.no_grad():
        error_m = (model.decode(model.represent(paths)) - paths.position_m).norm(dim=-1).mean()
    assert error_m < 0.4  # chance is 1.1 m
