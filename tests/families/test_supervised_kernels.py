"""Gradients by hand against autograd of the loss; the kernels against their twins.

Kernels run on a CUDA device (tests marked ``gpu``), and elsewhere only in Triton's interpreter: ``TRITON_INTERPRET=1``.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from entorhinal.benchmarks import train
from entorhinal.benchmarks.bench import by_autograd
from entorhinal.benchmarks.population import Population
from entorhinal.benchmarks.training import matmul_precision
from entorhinal.families import load, make
from entorhinal.families.codes import difference_of_softmaxes_place_cells, softmax_place_cells
from entorhinal.families.model import PopulationTrainable
from entorhinal.families.supervised import kernels
from entorhinal.families.supervised.kernels import Precision
from entorhinal.families.supervised.nayebi import Nayebi
from entorhinal.families.supervised.schaeffer import Schaeffer
from entorhinal.families.supervised.sorscher import PlaceNetwork, Sorscher
from entorhinal.families.world import World

TINY = {"units": 12, "place_cells": 20, "batch": 3, "steps_per_trajectory": 5}
SETTINGS: list[dict[str, Any]] = [
    {"seed": 0, "weight_decay": 1e-4},
    {"seed": 1, "place_width_m": 0.20, "weight_decay": 1e-2, "surround_variance_ratio": 3.0},
    {"seed": 2, "place_width_m": 0.15, "weight_decay": 0.0},
]
WIDE = [{**own, "place_width_m": 0.2 + 0.05 * k} for k, own in enumerate(SETTINGS)]
"""Settings in which float32 can tell a centre from its surround, whatever the position."""
TOLERANCE = {"float32": 1e-3, "tf32": 0.02, "bf16": 0.08}
"""Relative to float64. In float32 one input of a ReLU that is 0 but for rounding may fall on the other side: autograd
is then up to 6e-4 off in `nayebi`, and within 1e-6 where there is no such unit."""


BY_HAND: dict[str, type[PlaceNetwork]] = {"sorscher": Sorscher, "nayebi": Nayebi}
BY_AUTOGRAD = {name: by_autograd(kind) for name, kind in BY_HAND.items()}


def population(
    kind: type[PlaceNetwork],
    settings: list[dict[str, Any]],
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
    **sizes: Any,
) -> tuple[Population, dict[str, Tensor]]:
    made = Population([kind.make(**(TINY | sizes | own)) for own in settings], device=torch.device(device), dtype=dtype)
    batch = next(kind.make(**(TINY | sizes)).training_data(World(dtype=torch.float64), 0))
    return made, {name: value.to(device, dtype) for name, value in batch.items()}


def error(found: Tensor, wanted: Tensor) -> float:
    """Largest deviation in any network, relative to the root mean square of what is wanted there."""
    wanted = wanted.double().flatten(1)
    deviation = (found.cpu().double().flatten(1) - wanted).abs().amax(1)
    return float((deviation / wanted.square().mean(1).sqrt()).max())


def cells(
    networks: int, rows: int, places: int, surround: bool, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Positions, centres, widths and ratios, in float64; widths are large against the distances of centres."""
    generator = torch.Generator().manual_seed(seed)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    ratio = between(1.5, 3, networks) if surround else None
    return between(-1, 1, rows, 2), between(-1.1, 1.1, places, 2), between(0.2, 0.5, networks), ratio


@pytest.mark.parametrize("kind", BY_HAND)
@pytest.mark.parametrize("target", ["dog", "gaussian"])
@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("steps", [1, 5])
def test_gradients_by_hand_equal_autograd(networks: int, target: str, steps: int, kind: str) -> None:
    sizes = {"target": target, "steps_per_trajectory": steps}
    by_hand, batch = population(BY_HAND[kind], SETTINGS[:networks], **sizes)
    by_autograd, _ = population(BY_AUTOGRAD[kind], SETTINGS[:networks], **sizes)
    assert isinstance(by_hand.template, PopulationTrainable)
    assert not isinstance(by_autograd.template, PopulationTrainable)
    noise = torch.randn(by_hand.flat.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for made in (by_hand, by_autograd):
        made.flat.add_(noise, alpha=0.1)  # biases begin at 0
    for found, wanted in zip(by_hand.gradients(batch), by_autograd.gradients(batch), strict=True):
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert value.abs().max() > 0 or name == "weight_penalty"
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


@given(
    networks=st.integers(1, 3),
    rows=st.integers(1, 5),
    places=st.integers(3, 9),
    surround=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_cross_entropy_and_its_gradient_are_those_of_autograd(
    networks: int, rows: int, places: int, surround: bool, seed: int
) -> None:
    position_m, centre_m, width_m, ratio = cells(networks, rows, places, surround, seed)
    logits = torch.randn(networks, rows, places, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits.requires_grad_()
    code = kernels.place_code_reference(position_m, centre_m, width_m, ratio)
    for s in range(networks):
        own = (position_m, centre_m, width_m[s])
        alone = softmax_place_cells(*own) if ratio is None else difference_of_softmaxes_place_cells(*own, ratio[s])
        torch.testing.assert_close(code[s], alone)
    wanted = -(code * torch.log_softmax(logits, -1)).sum(-1).mean(-1)
    (gradient,) = torch.autograd.grad(wanted.sum(), logits)
    found, loss = kernels.place_cell_cross_entropy(logits.detach().clone(), position_m, centre_m, width_m, ratio)
    torch.testing.assert_close(loss, wanted.detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found, gradient, rtol=1e-9, atol=1e-12)


def test_members_of_a_population_train_as_by_autograd_alone(tmp_path: Path) -> None:
    sizes = TINY | {"steps": 8, "lr": 1e-2}
    free = [{name: value for name, value in own.items() if name != "seed"} for own in SETTINGS[:2]]
    together = train(
        Sorscher, seeds=[4], config=[sizes | own for own in free], out=tmp_path / "all", dtype=torch.float64,
        device="cpu",
    )  # fmt: skip
    for k, own in enumerate(free):
        (alone,) = train(
            BY_AUTOGRAD["sorscher"],
            seeds=[4],
            config=sizes | own,
            out=tmp_path / str(k),
            dtype=torch.float64,
            device="cpu",
        )
        (found,) = (path for path in together if load(path).config == load(alone).config)
        untrained = Sorscher.make(**sizes, **own, seed=4).state_dict()
        for name, value in load(alone).state_dict().items():
            torch.testing.assert_close(load(found).state_dict()[name], value, rtol=1e-6, atol=1e-7)  # kept in float32
            assert name in Sorscher.Config.model_fields or name == "centre_m" or not torch.equal(value, untrained[name])


def test_a_network_that_diverges_stops_alone(tmp_path: Path) -> None:
    sizes = TINY | {"steps": 6}
    configs = [sizes | {"lr": 1e-3}, sizes | {"lr": 1e30}]
    paths = train(Sorscher, seeds=[0], config=configs, out=tmp_path / "both", device="cpu")
    assert [load(path).config.lr for path in paths] == [1e-3]
    (stopped,) = (tmp_path / "both").glob("*.stopped.safetensors")
    assert load(stopped).config.lr == 1e30
    (alone,) = train(Sorscher, seeds=[0], config=configs[0], out=tmp_path / "one", device="cpu")
    for name, value in load(alone).state_dict().items():
        torch.testing.assert_close(load(paths[0]).state_dict()[name], value)


@pytest.mark.parametrize("surround", [True, False])
@pytest.mark.parametrize(("rows", "places"), [(3, 5), (9, 100), (2, 512), (2, 700)])
def test_place_cell_kernels_equal_twins(rows: int, places: int, surround: bool, device: str) -> None:
    check_place_cells(rows, places, surround, device)


@pytest.mark.gpu
@pytest.mark.parametrize("surround", [True, False])
@pytest.mark.parametrize(("rows", "places"), [(1000, 512), (300, 2048), (200, 4096), (50, 10_000)])
def test_place_cell_kernels_equal_twins_at_larger_sizes(rows: int, places: int, surround: bool) -> None:
    check_place_cells(rows, places, surround, "cuda")


def check_place_cells(rows: int, places: int, surround: bool, device: str) -> None:
    exact = cells(3, rows, places, surround, seed=places)
    near = [None if value is None else value.float().to(device) for value in exact]
    rounded = [None if value is None else value.float().double() for value in exact]
    code = kernels.place_code(*near)
    wanted = kernels.place_code_reference(*rounded)
    assert error(code, wanted) < 1e-4
    torch.testing.assert_close(code.sum(-1), torch.ones_like(code[..., 0]))
    logits = 3 * torch.randn(3, rows, places, generator=torch.Generator().manual_seed(rows))
    gradient, loss = kernels.place_cell_cross_entropy_reference(logits.double(), *rounded)
    smallest = 1e-4 * gradient.square().mean().sqrt().item()
    for dtype, limit in ((torch.float32, 1e-4), (torch.bfloat16, 0.01)):
        given = logits.clone().to(device)
        found, found_loss = kernels.place_cell_cross_entropy(given, *near, dtype=dtype)
        assert found.dtype == dtype
        assert (found.data_ptr() == given.data_ptr()) == (dtype == torch.float32)  # no second copy of the largest array
        torch.testing.assert_close(found.cpu().double(), gradient, rtol=limit, atol=smallest)
        torch.testing.assert_close(found_loss.cpu().double(), loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_far_from_all_centres_the_target_is_uniform_and_nan_stays_in_its_network(device: str) -> None:
    centre_m = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)).to(device)
    far_m, width_m = torch.full((2, 2), 100.0, device=device), torch.full((2,), 0.1, device=device)
    ratio = torch.full((2,), 2.0, device=device)
    code = kernels.place_code(far_m, centre_m, width_m, ratio)
    torch.testing.assert_close(code, torch.full_like(code, 1 / 20))
    logits = torch.zeros(2, 2, 20, device=device)
    logits[1, 1, 3] = math.nan
    gradient, loss = kernels.place_cell_cross_entropy(logits, far_m, centre_m, width_m, ratio)
    assert loss[0].item() == pytest.approx(math.log(20))
    assert gradient[0].isfinite().all()
    assert loss[1].isnan()
    assert gradient[1, 1].isnan().all()


@pytest.mark.parametrize(("trajectories", "units"), [(3, 5), (70, 130), (32, 128)])
def test_step_kernels_equal_twins(trajectories: int, units: int, device: str) -> None:
    generator = torch.Generator().manual_seed(units)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    states, gradients = normal(3, 4, trajectories, units), normal(3, 2, trajectories, units)
    displacement_m, w_in = normal(trajectories, 2), normal(3, units, 2)
    states[2, 1, 0, 0] = math.nan
    ours = [value.clone().to(device) for value in (states, gradients, displacement_m, w_in)]
    kernels.rectified_step_reference_(states[:, 1], displacement_m, w_in)
    kernels.rectified_step_(ours[0][:, 1], ours[2], ours[3])
    torch.testing.assert_close(ours[0].cpu(), states, equal_nan=True)  # the other steps, too, which stay as they were
    by_input = kernels.rectified_step_backward_reference_(gradients[:, 0], states[:, 1], displacement_m).sum(0)
    found = kernels.rectified_step_backward_(ours[1][:, 0], ours[0][:, 1], ours[2]).sum(0)
    torch.testing.assert_close(ours[1].cpu(), gradients)
    torch.testing.assert_close(found.cpu(), by_input, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("trajectories", "units"), [(3, 5), (70, 130), (32, 128)])
def test_gated_kernels_equal_twins(trajectories: int, units: int, device: str) -> None:
    generator = torch.Generator().manual_seed(units)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    product, displacement_m, into = normal(3, trajectories, 2 * units), normal(trajectories, 2), normal(3, 2 * units, 3)
    states, active = normal(3, 3, trajectories, units), normal(3, 2, trajectories, 2 * units)
    gradients = normal(3, 3, trajectories, units)
    product[2, 0, 0] = math.nan
    ours = [value.clone().to(device) for value in (product, displacement_m, into, states, active, gradients)]

    def compare() -> None:  # all of each: what is not written stays as it was
        for found, twin in zip(ours[3:], (states, active, gradients), strict=True):
            torch.testing.assert_close(found.cpu(), twin, rtol=1e-4, atol=1e-5, equal_nan=True)

    kernels.gated_step_reference(product, displacement_m, into, states[:, 0], active[:, 1], states[:, 1])
    kernels.gated_step(*ours[:3], ours[3][:, 0], ours[4][:, 1], ours[3][:, 1])
    assert states[2, 1, 0, 0].isnan()
    compare()
    wanted = kernels.gated_step_backward_reference_(
        active[:, 1], gradients[:, 2], states[:, 0], gradients[:, 1], displacement_m
    )
    found = kernels.gated_step_backward_(ours[4][:, 1], ours[5][:, 2], ours[3][:, 0], ours[5][:, 1], ours[1])
    torch.testing.assert_close(found.sum(0).cpu(), wanted.sum(0), rtol=1e-4, atol=1e-4, equal_nan=True)
    compare()


@pytest.mark.parametrize(("rows", "units"), [(3, 5), (70, 130), (32, 128)])
def test_rectified_kernel_equals_its_twin(rows: int, units: int, device: str) -> None:
    generator = torch.Generator().manual_seed(units)
    sums, bias = (torch.randn(3, *shape, generator=generator) for shape in ((rows, units), (units,)))
    sums[2, 1, 3] = math.nan
    for dtype in (torch.float32, torch.bfloat16):
        found = kernels.rectified(sums.to(device), bias.to(device), dtype)
        assert found.dtype == dtype
        torch.testing.assert_close(found.cpu(), kernels.rectified_reference(sums, bias).to(dtype), equal_nan=True)


@pytest.mark.parametrize("kind", BY_HAND)
@pytest.mark.parametrize("target", ["dog", "gaussian"])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_population_gradients_of_kernels(target: str, precision: Precision, kind: str, device: str) -> None:
    check_population(kind, precision, device, target=target, units=37, place_cells=40, batch=34, steps_per_trajectory=2)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", BY_HAND)
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize(
    "sizes", [{"units": 512, "place_cells": 512, "batch": 200}, {"units": 300, "place_cells": 1000, "batch": 33}]
)
def test_population_gradients_of_kernels_at_larger_sizes(
    sizes: dict[str, int], precision: Precision, kind: str
) -> None:
    check_population(kind, precision, "cuda", steps_per_trajectory=20, **sizes)


def check_population(kind: str, precision: Precision, device: str, **sizes: Any) -> None:
    by_autograd, batch = population(BY_AUTOGRAD[kind], WIDE, **sizes)
    by_hand, _ = population(BY_HAND[kind], WIDE, device, torch.float32, **sizes)
    with matmul_precision(precision):
        found = by_hand.gradients({name: value.to(device, torch.float32) for name, value in batch.items()})
    for ours, wanted in zip(found, by_autograd.gradients(batch), strict=True):
        for name, value in wanted.items():
            assert ours[name].dtype == torch.float32
            wanted_of_each = value.reshape(len(WIDE), -1)
            misses = (ours[name].cpu().double().reshape(len(WIDE), -1) - wanted_of_each).norm(dim=1)
            assert (misses <= TOLERANCE[precision] * wanted_of_each.norm(dim=1)).all(), name


@pytest.mark.gpu
@pytest.mark.parametrize("kind", BY_HAND)
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_a_training_step_in_a_cuda_graph(precision: Precision, kind: str) -> None:
    made, batch = population(BY_HAND[kind], WIDE, "cuda", torch.float32, units=64, batch=50)
    with matmul_precision(precision):
        wanted = made.gradients(batch)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = made.gradients(batch)
        graph.replay()
    for part, of in zip(captured, wanted, strict=True):
        for name, value in of.items():
            torch.testing.assert_close(part[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize(
    ("id", "sizes"),
    [
        ("supervised/banino", {"cells": 16, "units": 24, "place_cells": 20, "place_width_m": 0.3}),
        ("supervised/cueva_wei", {"units": 20}),
    ],
)
def test_gradients_of_long_walks_equal_those_in_float64(
    id: str, sizes: dict[str, Any], precision: Precision, device: str
) -> None:
    def made(device: str, dtype: torch.dtype) -> Population:
        models = [make(id, **sizes, batch=7, steps_per_trajectory=9, seed=k) for k in range(3)]
        return Population(models, device=torch.device(device), dtype=dtype)

    exact, near = made("cpu", torch.float64), made(device, torch.float32)
    batch = next(exact.template.training_data(World(dtype=torch.float64), 0))
    rounded = {name: value.to(device, torch.float32) for name, value in batch.items()}
    with matmul_precision(precision):
        gradients = near.gradients(rounded)
        if device == "cuda":  # as the harness trains
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                gradients = near.gradients(rounded)
            graph.replay()
    for found, wanted in zip(gradients, exact.gradients(batch), strict=True):
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            miss = (found[name].cpu().double() - value).norm()
            assert miss <= TOLERANCE[precision] * value.norm(), name


@pytest.mark.gpu
def test_cross_entropy_under_vmap_in_a_cuda_graph() -> None:
    settings = [{"seed": seed, "place_width_m": 0.2 + 0.1 * seed} for seed in range(3)]
    networks = [Schaeffer.make(units=64, place_cells=100, batch=50, **own) for own in settings]
    made = Population(networks, device=torch.device("cuda"))
    batch = next(networks[0].training_data(World(), 0))
    wanted = Population([Schaeffer.make(units=64, place_cells=100, batch=50, **own) for own in settings],
                        device=torch.device("cpu")).gradients(batch)  # fmt: skip
    batch = {name: value.cuda() for name, value in batch.items()}
    made.gradients(batch)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = made.gradients(batch)
    graph.replay()
    for part, of in zip(captured, wanted, strict=True):
        for name, value in of.items():
            torch.testing.assert_close(part[name].cpu(), value, rtol=1e-3, atol=1e-5)
