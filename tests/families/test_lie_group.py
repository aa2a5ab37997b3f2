"""The Lie group of rotations against its equations written out, its integration of paths, and bad input."""

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
from entorhinal.families.function_optimization.code_table import code_at
from entorhinal.families.function_optimization.lie_group import BLOCK, LieGroup
from entorhinal.families.model import Decoder, PathIntegrator, Representation
from entorhinal.families.world import Arena, Trajectories, World

ID = "function_optimization/lie_group"
TINY = {"blocks": 2, "block_units": 3, "bins": 16, "directions": 4, "batch": 12}
WORLD = World(Arena.square(1.0), dtype=torch.float64)


def first_batch(model: LieGroup, seed: int = 0) -> dict[str, Tensor]:
    return next(iter(model.training_data(WORLD, seed)))


def stirred(**values: object) -> LieGroup:
    """A model with generators far from 0."""
    model = make(ID, **TINY, **values).double()
    with torch.no_grad():
        model.upper.add_(3 * torch.randn(model.upper.shape, generator=torch.Generator().manual_seed(5)))
        model.read_out.add_(0.1)
    return model


def naive_ends(uniform: Tensor, step_m: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.maximum(torch.full_like(step_m, -0.5), -0.5 - step_m)
    high = torch.minimum(torch.full_like(step_m, 0.5), 0.5 - step_m)
    return low + (high - low) * uniform, low + (high - low) * uniform + step_m


def test_generators_are_antisymmetric_and_steps_a_truncated_exponential() -> None:
    for order in (2, 12):
        model = stirred(order=order)
        generators = model.generators()
        assert generators.shape == (4, 2, 3, 3)
        assert torch.equal(generators, -generators.mT)
        assert int((generators[0, 0] != 0).sum()) == 6
        code = torch.randn(4, 5, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        length_m = torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 10
        moved, first = model.moved(code, generators, length_m)
        for k in range(4):
            for i in range(5):
                for b in range(2):
                    step = length_m[k, i] * generators[k, b]
                    exact = torch.linalg.matrix_exp(step) if order > 2 else torch.eye(3) + step + step @ step / 2
                    torch.testing.assert_close(moved[k, i, b], exact @ code[k, i, b])
                    torch.testing.assert_close(first[k, i, b], generators[k, b] @ code[k, i, b])


@torch.no_grad()
def test_loss_is_the_equations_written_out() -> None:
    weights = {"kernel_weight": 2.0, "motion_weight": 3.0, "isometry_weight": 5.0, "read_out_weight": 0.01}
    model = stirred(**weights)
    batch, generators = first_batch(model), model.generators()
    kernel = motion = isometry = 0.0
    for i in range(12):
        start_m, end_m = naive_ends(batch["pair_place"][i], batch["pair"][i])
        v, u = (code_at(t, at[None], 1.0)[0] for t, at in ((model.table, start_m), (model.read_out, end_m)))
        kernel += float((v @ u - torch.exp(-(batch["pair"][i].square().sum()) / (2 * 0.07**2))) ** 2) / 12
    for k in range(4):
        for i in range(3):
            step_m = 0.075 * batch["step"][k, i]
            start, end = (
                code_at(model.table, at[None], 1.0)[0] for at in naive_ends(batch["step_place"][k, i], step_m)
            )
            for b in range(2):
                v, w, matrix = start[3 * b : 3 * b + 3], end[3 * b : 3 * b + 3], generators[k, b]
                step = step_m.norm() * matrix
                motion += float(((torch.eye(3) + step + step @ step / 2) @ v - w).square().sum()) / 12
                other = generators[int(batch["other"][k]), b]
                isometry += float(((matrix @ v).norm() - (other @ v).norm()) ** 2) / 12
    terms = model.loss(batch)
    assert terms["kernel"].item() == pytest.approx(kernel, rel=1e-6)
    assert terms["motion"].item() == pytest.approx(motion, rel=1e-6)
    assert terms["isometry"].item() == pytest.approx(isometry, rel=1e-5)
    assert terms["read_out"].item() == pytest.approx(float(model.read_out.square().sum()))
    total = 2 * kernel + 3 * motion + 5 * isometry + 0.01 * terms["read_out"].item()
    assert terms["total"].item() == pytest.approx(total, rel=1e-5)


def test_networks_side_by_side_have_the_gradients_of_each_alone() -> None:
    settings = [{"seed": 0}, {"seed": 1, "isometry_weight": 0.0, "kernel_width_m": 0.1}]
    members = [make(ID, **TINY, **values).double() for values in settings]
    population = Population(members, device=torch.device("cpu"), dtype=torch.float64)
    batch = first_batch(members[0])
    gradients, _ = population.gradients(batch)
    for i, values in enumerate(settings):
        alone = make(ID, **TINY, **values).double()
        alone.loss(batch)["total"].backward()
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(gradients[name][i], parameter.grad, rtol=1e-6, atol=1e-9)
            assert parameter.grad.abs().max() > 0


def test_batches_depend_on_seed_and_number_alone_and_other_directions_are_others() -> None:
    model = make(ID, **TINY)
    run = list(islice(model.training_data(WORLD, 3), BLOCK + 3))
    for k in (1, BLOCK - 1, BLOCK, BLOCK + 2):
        again = next(iter(model.training_data(WORLD, 3, k)))
        assert all(torch.equal(again[name], run[k][name]) for name in run[k])
        assert (run[k]["other"] != torch.arange(4)).all()
    long = first_batch(make(ID, batch=9072))["pair"].norm(dim=-1)
    assert long.max() <= 1
    assert float(long.median()) == pytest.approx(0.48 * 0.641, rel=0.05)  # half-normal cut off at 2.1 widths


def rotations(directions: int = 36) -> LieGroup:
    """Three blocks, each a rotation in a plane at a rate of k along each of three axes: an exact group."""
    model = make(ID, blocks=3, block_units=2, bins=80, directions=directions, batch=360, order=12).double()
    k = 2 * math.pi / 1.7
    axis = torch.arange(3, dtype=torch.float64) * 2 * math.pi / 3
    waves = k * torch.stack((axis.cos(), axis.sin()), -1)
    centre_m = (torch.arange(80, dtype=torch.float64) + 0.5) / 80 - 0.5
    at_m = torch.stack(torch.meshgrid(centre_m, centre_m, indexing="xy"), -1).view(-1, 2)
    phase = at_m @ waves.T
    angle = torch.arange(directions, dtype=torch.float64) * 2 * math.pi / directions
    with torch.no_grad():
        model.table.copy_(torch.stack((phase.cos(), phase.sin()), -1).flatten(1) / 3**0.5)
        model.upper.copy_(-(torch.stack((angle.cos(), angle.sin()), -1) @ waves.T)[..., None])
    return model


def test_an_exact_group_integrates_a_path_and_decodes_it() -> None:
    model = rotations(directions=360)
    assert isinstance(model, PathIntegrator)
    assert isinstance(model, Decoder)
    walk = WORLD.walk(3, 60, seed=1, start_m=torch.zeros(3, 2))
    with torch.no_grad():
        found = model.represent(walk)
        wanted = code_at(model.table, walk.position_m, 1.0)
        error_m = (model.decode(found) - walk.position_m).norm(dim=-1)
    torch.testing.assert_close(found.rates, wanted, atol=0.01, rtol=0)
    assert error_m.max() < 0.02
    torch.testing.assert_close(found.rates.norm(dim=-1), torch.ones(3, 60, dtype=torch.float64))


def test_a_start_outside_the_table_has_neither_rates_nor_a_place() -> None:
    model = make(ID, **TINY)
    paths = Trajectories.from_displacements(
        torch.tensor([[0.0, 0.0], [0.7, 0.0]]), torch.zeros(2, 3, 2), 0.02, Arena.square(2.0)
    )
    found = model.represent(paths)
    assert found.rates.isnan().all(-1).all(-1).tolist() == [False, True]
    assert model.decode(found).isnan().any(-1).any(-1).tolist() == [False, True]


def test_what_is_decoded_is_the_place_itself() -> None:
    model = rotations()
    at_m = torch.tensor([[[0.3, -0.2], [-0.41, 0.07]]], dtype=torch.float64)
    place_m = model.decode(Representation(code_at(model.table, at_m, 1.0)))
    assert (place_m - at_m).abs().max() < 0.02


def test_training_keeps_constraints_and_lowers_the_loss(tmp_path) -> None:
    config = {"blocks": 2, "block_units": 6, "bins": 16, "directions": 8, "batch": 160, "lr": 0.02, "steps": 200}
    (path,) = train(ID, config=config, out=tmp_path / "run", device="cpu")
    model, start = load(path), make(ID, **config)
    assert (model.read_out >= 0).all()
    blocks = model.table.unflatten(1, (2, 6)).norm(dim=-1)
    torch.testing.assert_close(blocks, torch.full_like(blocks, 0.5**0.5))
    batch = next(iter(start.training_data(World(Arena.square(1.0)), 99)))
    assert model.loss(batch)["total"] < 0.5 * start.loss(batch)["total"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kernel_width_m": 0.02}, "kernel_width_m = 0.02: .*not above a bin, 0.025 m"),
        ({"kernel_width_m": 0.025}, "kernel_width_m = 0.025: .*not above a bin"),
        ({"batch": 9000}, "batch = 9000: .*not a multiple of directions; give 8928"),
        ({"step_range_m": 2.0}, "step_range_m = 2.0: .*longer than the box"),
        ({"order": 0}, "order = 0"),
    ],
)
def test_bad_config_is_named(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(ID, **values)


def test_another_box_is_refused() -> None:
    with pytest.raises(InputError, match=r"lie_group-v1: the table covers a square of side_m=1"):
        make(ID).training_data(World(Arena.square(2.2)), 0)
