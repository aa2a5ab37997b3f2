"""The networks of Nayebi et al. 2021 and Schaeffer et al. 2022 against equations written out naively."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entorhinal.benchmarks.population import Population
from entorhinal.families import check_model, make, memory
from entorhinal.families.errors import InputError
from entorhinal.families.model import Connected, Decoder, PathIntegrator, PopulationTrainable, Trainable
from entorhinal.families.supervised.cells import ACTIVATIONS, CELLS
from entorhinal.families.supervised.nayebi import Nayebi
from entorhinal.families.supervised.schaeffer import Schaeffer, SchaefferConfig, ring_spacing_m
from entorhinal.families.world import Arena, World

TINY = {"units": 10, "place_cells": 20, "batch": 3, "steps_per_trajectory": 4, "place_width_m": 0.25}
TARGETS = ("cartesian", "gaussian", "dog", "dos")


def first_batch(model):
    return next(iter(model.training_data(World(dtype=torch.float64), 0)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


NAIVE_F = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "sigmoid": sigmoid, "linear": lambda x: x}


def naive_step(cell: str, x: np.ndarray, state: np.ndarray, w: np.ndarray, f) -> np.ndarray:
    """One trial, one unit at a time."""
    n = w.shape[1]
    new = state.copy()
    for i in range(n):
        drive = [x[gate * n + i] + w[gate * n + i] @ state[:n] for gate in range(len(w) // n)]
        if cell == "rnn":
            new[i] = f(drive[0])
        elif cell == "ugrnn":
            gate = sigmoid(drive[0] + 1)
            new[i] = gate * state[i] + (1 - gate) * f(drive[1])
        elif cell == "gru":
            z, r = sigmoid(drive[0]), sigmoid(drive[1])
            new[i] = z * state[i] + (1 - z) * f(x[2 * n + i] + r * (w[2 * n + i] @ state[:n]))
        else:
            new[n + i] = sigmoid(drive[1]) * state[n + i] + sigmoid(drive[0]) * f(drive[2])
            new[i] = sigmoid(drive[3]) * f(new[n + i])
    return new


@given(
    cell=st.sampled_from(sorted(CELLS)), f=st.sampled_from(sorted(ACTIVATIONS)), n=st.integers(1, 4),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_cells_are_their_equations_unit_by_unit(cell: str, f: str, n: int, seed: int) -> None:
    random, kind = np.random.default_rng(seed), CELLS[cell]
    x, state, w = (
        random.normal(size=size) for size in ((2, kind.gates * n), (2, kind.states * n), (kind.gates * n, n))
    )
    found = kind.step(torch.tensor(x), torch.tensor(state), torch.tensor(w), ACTIVATIONS[f]).numpy()
    for trial in range(2):
        np.testing.assert_allclose(found[trial], naive_step(cell, x[trial], state[trial], w, NAIVE_F[f]), atol=1e-12)


def test_nayebi_is_its_equations() -> None:
    model = make("supervised/nayebi", weight_decay=2**-7, **TINY).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    w = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    batch = first_batch(model)
    total = 0.0
    for b in range(3):
        h = w["start"] @ model.place_code(batch["start_m"][b]).numpy() + w["start_bias"]
        for t in range(4):
            v = w["embed"] @ batch["displacement_m"][b, t].numpy() + w["embed_bias"]
            h = naive_step("ugrnn", w["input"] @ v + w["input_bias"], h, w["recurrent"], NAIVE_F["relu"])
            g = np.maximum(w["dense"] @ h + w["dense_bias"], 0)
            logits = w["readout"] @ g + w["readout_bias"]
            predicted = np.exp(logits) / np.exp(logits).sum()
            total -= (model.place_code(batch["position_m"][b, t]).numpy() * np.log(predicted)).sum() / 12
    terms = model.loss(batch)
    assert terms["cross_entropy"].item() == pytest.approx(total, rel=1e-10)
    assert terms["weight_penalty"].item() == pytest.approx(2**-7 * (w["recurrent"] ** 2).sum(), rel=1e-10)


def test_plain_rectified_cells_are_the_network_of_sorscher() -> None:
    ours, theirs = make("supervised/schaeffer", **TINY).double(), make("supervised/sorscher", **TINY).double()
    theirs.load_state_dict({name: ours.state_dict()[name] for name in theirs.state_dict()})
    batch = first_batch(ours)
    found, wanted = ours.loss(batch), theirs.loss(batch)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)


def plain_loss(model: Schaeffer, batch) -> torch.Tensor:
    rates, _ = model._unroll(model.initial_state(batch["start_m"]), batch["displacement_m"])
    predicted, wanted = model.predicted_logits(rates), model.place_code(batch["position_m"])
    if model.config.target == "cartesian":
        error = (predicted - wanted).square().mean()
    else:
        error = -(wanted * torch.log_softmax(predicted, -1)).sum(-1).mean()
    return error + model.weight_decay * model.recurrent.square().sum()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_gradients_side_by_side_are_those_of_autograd_of_each_alone(cell: str, target: str) -> None:
    own = [
        {"seed": 0, "weight_decay": 0.01},
        {"seed": 1, "place_width_m": 0.4, "surround_variance_ratio": 3.0, "surround_amplitude": 0.5},
    ]
    models = [make("supervised/schaeffer", **(TINY | {"cell": cell, "target": target} | more)) for more in own]
    population = Population(models, device=torch.device("cpu"), dtype=torch.float64)
    assert not isinstance(population.template, PopulationTrainable)
    batch = first_batch(models[0])
    gradients, terms = population.gradients(batch)
    for k, model in enumerate(models):
        model.double()
        total = plain_loss(model, batch)
        total.backward()
        torch.testing.assert_close(terms["total"][k], total.detach(), rtol=1e-10, atol=1e-12)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name][k], parameter.grad, rtol=1e-9, atol=1e-12)


def test_targets_are_their_formulas() -> None:
    position_m = torch.tensor([[0.1, -0.3]], dtype=torch.float64)
    for target in TARGETS:
        model = make("supervised/schaeffer", target=target, surround_amplitude=0.75, **TINY).double()
        square = ((position_m.numpy() - model.centre_m.numpy()) ** 2).sum(1)
        centre, surround = np.exp(-square / (2 * 0.25**2)), np.exp(-square / (4 * 0.25**2))
        if target == "cartesian":
            wanted = position_m[0].numpy()
        elif target == "gaussian":
            wanted = centre / centre.sum()
        else:
            wanted = centre / centre.sum() - surround / surround.sum()
            if target == "dog":
                wanted = centre - 0.75 * surround
            wanted = (wanted - wanted.min()) / (wanted - wanted.min()).sum()
        np.testing.assert_allclose(model.place_code(position_m)[0].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("target", "amplitude"), [("dos", 1.0), ("dog", 0.5), ("dog", 0.7), ("dog", 1.0), ("gaussian", 1.0)]
)
def test_the_ring_is_where_the_transform_of_a_field_is_largest(target: str, amplitude: float) -> None:
    config = SchaefferConfig(target=target, surround_amplitude=amplitude, place_width_m=0.12)
    k = np.linspace(0, 40, 40_001)
    weight = {"dos": 1.0, "dog": 2 * amplitude, "gaussian": 0.0}[target]
    transform = np.abs(np.exp(-((k * 0.12) ** 2) / 2) - weight * np.exp(-2 * (k * 0.12) ** 2 / 2))
    peak = k[transform.argmax()]
    wanted = 4 * math.pi / math.sqrt(3) / peak if peak > 0 else math.inf
    assert ring_spacing_m(config) == pytest.approx(wanted, rel=1e-3)


def test_powers_checks_presets_and_shapes() -> None:
    check_model("supervised/nayebi", units=32, place_cells=64)
    check_model("supervised/schaeffer", units=32, place_cells=64, cell="lstm", target="cartesian")
    for cls in (Nayebi, Schaeffer):
        for name in cls.presets:
            cls.Config.parse("preset", cls.preset(name))
    for cell in CELLS:
        model = make("supervised/schaeffer", cell=cell, **TINY)
        assert all(isinstance(model, power) for power in (PathIntegrator, Trainable, Decoder, Connected))
        assert model.connectivity().shape == (10, 10)
        found = model.represent(World().walk(2, 3, seed=0))
        assert found.rates.shape == (2, 3, 10)
        assert found.state.shape == (2, 20 if cell == "lstm" else 10)
        assert model.decode(found).shape == (2, 3, 2)


@pytest.mark.parametrize(
    "bad",
    [{"cell": "rn"}, {"activation": "gelu"}, {"target": "polar"}, {"surround_amplitude": -1}, {"place_width_m": 0}],
)
def test_bad_configs_name_their_field(bad: dict) -> None:
    with pytest.raises(InputError, match=f"supervised/schaeffer-v1: {next(iter(bad))} = "):
        make("supervised/schaeffer", **bad)


def test_targets_that_leave_the_arena_bare_and_too_many_cells_are_refused(monkeypatch) -> None:
    bare = make("supervised/schaeffer", **(TINY | {"place_width_m": 0.02}))
    with pytest.raises(
        InputError, match=r"20 place cells of place_width_m=0\.02 reach \d% of the arena .* more place_cells"
    ):
        bare.training_data(World(), 0)
    cartesian = make("supervised/schaeffer", **(TINY | {"place_width_m": 0.02, "target": "cartesian"}))
    next(cartesian.training_data(World(), 0))
    with pytest.raises(InputError, match=r"side_m=2\.2, but the arena measures 4 x 4 m"):
        cartesian.training_data(World(Arena.square(4.0)), 0)
    each = 4 * (3 * 3 * 4 + 8 * 10)  # bytes a place cell, as the message counts them
    monkeypatch.setattr(memory, "available_bytes", lambda device: 15 * each)
    with pytest.raises(InputError, match=r"place_cells = 20: 15 fit in the memory free on cpu"):
        make("supervised/nayebi", **TINY).training_data(World(), 0)


@pytest.mark.parametrize("name", ["sorscher", "nayebi", "schaeffer", "banino"])
def test_more_place_cells_than_memory_holds_are_refused_before_they_are_made(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}-v1: place_cells = 10000000000: \d+ fit in the memory free on cpu"):
        make(f"supervised/{name}", place_cells=10**10)
