"""The twins against autograd of a naive loss over all pairs; the kernels against the twins.

Kernels run on a CUDA device (tests marked ``gpu``), and elsewhere only in Triton's interpreter: ``TRITON_INTERPRET=1``.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from entorhinal.ssl import kernels
from entorhinal.ssl.kernels import Precision

WEIGHTS = ("separation", "invariance", "capacity", "conformal")
STEPS_M = {"conformal_min_step_m": 0.02, "conformal_max_step_m": 0.1}
TOLERANCE = {"float32": 1e-5, "tf32": 0.02, "bf16": 0.02}


def problem(
    networks: int,
    trajectories: int,
    steps: int,
    units: int,
    hidden: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Parameters, buffers and a batch; matrices near the identity that depend on velocity, so that states spread."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(networks, generator=generator, dtype=torch.float64)

    params = {
        "matrix.0.weight": normal(networks, hidden, 2, scale=5),
        "matrix.0.bias": normal(networks, hidden, scale=0.5),
        "matrix.2.weight": normal(networks, hidden, hidden, scale=hidden**-0.5),
        "matrix.2.bias": normal(networks, hidden, scale=0.5),
        "matrix.4.weight": normal(networks, units**2, hidden, scale=(hidden * units) ** -0.5),
        "matrix.4.bias": normal(networks, units**2, scale=0.02) + torch.eye(units, dtype=torch.float64).flatten(),
        "initial": normal(networks, units),
    }
    buffers = {
        "near_m": between(0.1, 0.2),
        "separation_width": between(0.3, 0.6),
        "separation_weight": between(0.5, 2),
        "invariance_weight": between(0.05, 0.3),
        "capacity_weight": between(0.2, 1),
        "conformal_weight": between(0.01, 0.1),
    }
    if networks > 2:
        buffers["near_m"][2] = buffers["near_m"][0]
    batch = {"velocity_m": 0.3 * torch.rand(steps, 2, generator=generator, dtype=torch.float64) - 0.15}
    params, buffers, batch = ({k: v.to(dtype) for k, v in part.items()} for part in (params, buffers, batch))
    batch["order"] = torch.rand(trajectories, steps, generator=generator).argsort(1)
    return params, buffers, batch


def naive(
    params: dict[str, Tensor], buffers: dict[str, Tensor], batch: dict[str, Tensor], activation: str = "relu"
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients by autograd of the losses as written in the paper, one network at a time, all pairs at once."""
    act: Callable[[Tensor], Tensor] = getattr(torch.nn.functional, activation)
    velocity_m, order = batch["velocity_m"], batch["order"]
    grads: dict[str, list[Tensor]] = {name: [] for name in params}
    all_terms: dict[str, list[Tensor]] = {name: [] for name in ("total", *WEIGHTS)}
    for s in range(len(params["initial"])):
        p = {name: value[s].clone().requires_grad_() for name, value in params.items()}
        b = {name: value[s] for name, value in buffers.items()}
        hidden = act(velocity_m @ p["matrix.0.weight"].T + p["matrix.0.bias"])
        hidden = act(hidden @ p["matrix.2.weight"].T + p["matrix.2.bias"])
        units = len(p["initial"])
        matrices = (hidden @ p["matrix.4.weight"].T + p["matrix.4.bias"]).view(-1, units, units)
        state = normalise(p["initial"]).expand(len(order), -1)
        states, changes = [], []
        for used in order.T:
            after = normalise((matrices[used] @ state[..., None])[..., 0])
            changes.append((after - state).square().sum(-1))
            state = after
            states.append(state)
        g = torch.stack(states, 1).flatten(0, 1)
        x = velocity_m[order].cumsum(1).flatten(0, 1)
        near = (x[:, None] - x).square().sum(-1) < b["near_m"].square()
        different = ~torch.eye(len(g), dtype=torch.bool)
        squared = (g[:, None] - g).square().sum(-1)
        alike = torch.exp(-squared / (2 * b["separation_width"] ** 2))
        speed = velocity_m.square().sum(-1).sqrt()[order]
        counted = (speed > STEPS_M["conformal_min_step_m"]) & (speed < STEPS_M["conformal_max_step_m"])
        ratio = torch.stack(changes, 1)[counted].clamp_min(1e-300).sqrt() / speed[counted]
        zero = torch.zeros((), dtype=g.dtype)
        terms = {
            "separation": alike[~near & different].mean() if (~near & different).any() else zero,
            "invariance": squared[near & different].mean() if (near & different).any() else zero,
            "capacity": -g.mean(0).square().sum(),
            "conformal": ratio.var(correction=0) if len(ratio) else zero,
        }
        total: Any = sum(b[f"{name}_weight"] * terms[name] for name in WEIGHTS)
        total.backward()
        for name, value in {"total": total, **terms}.items():
            all_terms[name].append(value.detach())
        for name, value in p.items():
            grads[name].append(torch.zeros_like(value) if value.grad is None else value.grad)
    return {k: torch.stack(v) for k, v in grads.items()}, {k: torch.stack(v) for k, v in all_terms.items()}


def normalise(raw: Tensor) -> Tensor:
    raw = torch.relu(raw)
    return raw / torch.linalg.vector_norm(raw, dim=-1, keepdim=True).clamp_min(1e-8)


def error(out: Tensor, reference: Tensor) -> float:
    """‖out - reference‖ / ‖reference‖ of the worst network; NaN is an error."""
    out, reference = out.detach().cpu().double().flatten(1), reference.double().flatten(1)
    worst = ((out - reference).norm(dim=1) / reference.norm(dim=1).clamp_min(1e-6)).max()
    return float(worst.nan_to_num(torch.inf))


def moved(tensors: dict[str, Tensor], device: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    return {k: v.to(device, dtype if v.is_floating_point() else None) for k, v in tensors.items()}


def poisoned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.full_like(value, torch.nan) for name, value in tensors.items()}


def check(out: dict[str, Tensor], reference: dict[str, Tensor], most: float) -> None:
    assert out.keys() == reference.keys()
    errors = {
        name: error(out[name].view(len(value), -1), value.view(len(value), -1)) for name, value in reference.items()
    }
    assert max(errors.values()) <= most, errors


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_twins_equal_autograd(activation: Any) -> None:
    given = problem(3, 4, 7, 9, 11)
    grads, terms = kernels.sic_population_gradients(*given, activation=activation, **STEPS_M)
    expected_grads, expected_terms = naive(*given, activation=activation)
    check(terms, expected_terms, 1e-9)
    check(grads, expected_grads, 1e-9)
    assert all((value != 0).any() for value in grads.values())


def test_dead_states_no_near_pairs_and_no_counted_steps() -> None:
    params, buffers, batch = problem(3, 3, 5, 6, 8)
    for name in ("matrix.4.weight", "matrix.4.bias"):
        params[name][0] = -params[name][0].abs()  # every state of network 0 dies at once
    buffers["near_m"][1] = 0.0  # nothing is near
    buffers["near_m"][2] = 10.0  # nothing is far
    grads, terms = kernels.sic_population_gradients(params, buffers, batch, **STEPS_M)
    expected_grads, expected_terms = naive(params, buffers, batch)
    check(terms, expected_terms, 1e-9)
    check(grads, expected_grads, 1e-9)
    assert terms["invariance"][1] == terms["separation"][2] == grads["matrix.4.weight"][0].abs().sum() == 0
    batch["velocity_m"] = batch["velocity_m"] + 1.0  # too fast, all of them
    _, terms = kernels.sic_population_gradients(params, buffers, batch, **STEPS_M)
    assert terms["conformal"].tolist() == [0, 0, 0]


def test_a_network_does_not_depend_on_its_neighbours_and_gradients_go_where_told() -> None:
    params, buffers, batch = problem(3, 4, 6, 5, 7)
    whole = kernels.sic_population_gradients(params, buffers, batch, **STEPS_M)
    out = poisoned({name: value[1:2] for name, value in params.items()})
    alone = kernels.sic_population_gradients(
        {name: value[1:2] for name, value in params.items()},
        {name: value[1:2] for name, value in buffers.items()},
        batch,
        **STEPS_M,
        out=out,
    )
    assert alone[0] is out
    for part, of in zip(alone, whole, strict=True):
        check(part, {name: value[1:2] for name, value in of.items()}, 1e-12)


def test_twin_of_pairs_does_not_depend_on_its_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    _, buffers, batch = problem(2, 30, 50, 3, 4)
    generator = torch.Generator().manual_seed(1)
    states = torch.nn.functional.normalize(torch.rand(2, 1500, 3, generator=generator, dtype=torch.float64), dim=-1)
    position_m = batch["velocity_m"][batch["order"]].cumsum(1).flatten(0, 1)
    near, far = kernels.count_pairs_reference(position_m, buffers["near_m"])
    distance_m = torch.pdist(position_m)
    assert near.tolist() == [int((distance_m < limit).sum()) for limit in buffers["near_m"]]
    assert (near + far).tolist() == [len(distance_m)] * 2
    weights = (buffers["separation_width"], buffers["separation_weight"], buffers["invariance_weight"])
    gradient, separation, _, _ = kernels.pair_losses_reference(
        states, states.mean(1), position_m, buffers["near_m"], *weights, near, far
    )
    squared = torch.pdist(states[0]).square()
    expected = torch.exp(-squared / (2 * weights[0][0] ** 2))[distance_m >= buffers["near_m"][0]].mean()
    torch.testing.assert_close(separation[0], expected)
    assert gradient.shape == (1, 2, 1500, 3)


def test_hard_pairs_equal_autograd() -> None:
    _, buffers, batch = problem(2, 9, 11, 3, 4)
    generator = torch.Generator().manual_seed(1)
    states = torch.rand(2, 99, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    position_m = batch["velocity_m"][batch["order"]].cumsum(1).flatten(0, 1)
    near, far = kernels.count_pairs_reference(position_m, buffers["near_m"])
    from_m, width, weight = torch.tensor([[0.1, 0.2], [0.2, 0.3], [3.0, 0.5]], dtype=torch.float64)
    off = torch.zeros(2, dtype=torch.float64)
    gradient, _, _, hard = kernels.pair_losses_reference(
        states.detach(),
        states.detach().mean(1),
        position_m,
        buffers["near_m"],
        buffers["separation_width"],
        off,
        off,
        near,
        far,
        kernels.HardPairs(from_m, width, weight),
    )
    total = torch.tensor(0.0, dtype=torch.float64)
    for s in range(2):
        repeats = torch.exp(-torch.pdist(states[s]).square() / (2 * width[s] ** 2))
        expected = (repeats * (torch.pdist(position_m) > from_m[s])).sum() / far[s]
        torch.testing.assert_close(hard[s], expected.detach())
        total = total + weight[s] * expected
    total.backward()
    assert states.grad is not None
    torch.testing.assert_close(gradient[0], states.grad, rtol=1e-9, atol=1e-15)


def optimiser_problem(device: str, dtype: torch.dtype) -> tuple[list[Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    flats = [torch.randn(3, 1111, generator=generator, dtype=torch.float64) for _ in range(2)]
    settings = {
        "lr": torch.tensor([1e-2, 3e-3, 1e-3]),
        "weight_decay": torch.tensor([0.0, 0.1, 0.3]),
        "gradient_scale": torch.tensor([1.0, 0.25, 0.5]),
    }
    return [flat.to(device, dtype) for flat in flats], moved(settings, device, dtype)


def compare_with_torch(decoupled: bool, device: str, dtype: torch.dtype, step_: Callable[..., None]) -> float:
    """Four steps against `torch.optim` in float64, then a step with one network stopped and its gradient NaN."""
    (parameters, gradient), settings = optimiser_problem(device, dtype)
    mean, square, step = torch.zeros_like(parameters), torch.zeros_like(parameters), torch.zeros((), device=device)
    theirs = [row.cpu().double().clone().requires_grad_() for row in parameters]
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimisers = [
        kind([row], lr=float(settings["lr"][s]), weight_decay=float(settings["weight_decay"][s]), betas=(0.8, 0.99))
        for s, row in enumerate(theirs)
    ]
    before = parameters.clone()
    for k in range(4):
        step_(parameters, gradient * (k + 1), mean, square, step, betas=(0.8, 0.99), decoupled=decoupled, **settings)
        for s, (row, optimiser) in enumerate(zip(theirs, optimisers, strict=True)):
            row.grad = gradient[s].cpu().double() * (k + 1) * float(settings["gradient_scale"][s])
            optimiser.step()
    assert step.item() == 4
    moved_by = torch.stack([row.detach() for row in theirs]) - before.cpu().double()
    worst = error(parameters.cpu().double() - before.cpu().double(), moved_by)

    gradient[1] = torch.nan
    settings["gradient_scale"][1] = 0
    kept = parameters.clone()
    step_(parameters, gradient, mean, square, step, betas=(0.8, 0.99), decoupled=decoupled, **settings)
    assert torch.equal(parameters[1], kept[1])
    assert not torch.equal(parameters[0], kept[0])
    for flat in (parameters, mean, square):
        assert flat.isfinite().all()
    return worst


@pytest.mark.parametrize("decoupled", [False, True])
def test_twin_of_adam_equals_torch(decoupled: bool) -> None:
    assert compare_with_torch(decoupled, "cpu", torch.float64, kernels.adam_step_reference_) < 1e-9


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_kernel_equals_torch(decoupled: bool, device: str) -> None:
    assert compare_with_torch(decoupled, device, torch.float32, kernels.adam_step_) < 1e-4


def test_adam_kernel_late_in_training(device: str) -> None:
    (parameters, gradient), settings = optimiser_problem(device, torch.float32)
    for taken in (0, 9, 60, 1000, 10**6):
        outs = []
        for step_ in (kernels.adam_step_, kernels.adam_step_reference_):
            flats = [parameters.clone(), gradient, 0.1 * gradient, 0.01 * gradient.square()]
            step_(*flats, torch.tensor(float(taken), device=device), **settings)
            outs.append(flats[0] - parameters)
        assert error(outs[0], outs[1].cpu()) < 1e-5


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 7, 17), (2, 3, 50, 33)])
def test_rollout_kernels_equal_twins(shape: tuple[int, int, int, int], device: str) -> None:
    networks, trajectories, steps, units = shape
    check_rollout(networks, trajectories, steps, units, device)


def test_rollout_kernels_with_matrices_too_large_for_one_tile(device: str) -> None:
    check_rollout(1, 2, 2, 300, device)


def check_rollout(networks: int, trajectories: int, steps: int, units: int, device: str) -> None:
    generator = torch.Generator().manual_seed(units)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    matrices = (normal(networks, steps, units, units) / units**0.5 + torch.eye(units)).to(device)
    order = torch.rand(trajectories, steps, generator=generator).argsort(1).to(device)
    start = torch.nn.functional.normalize(torch.relu(normal(networks, units)), dim=-1).to(device)
    gradient = normal(2, networks, trajectories, steps, units).to(device)
    shared, pull = normal(networks, units).to(device), normal(networks, trajectories, steps).to(device)
    out = kernels.rollout(matrices, order, start)
    wide = [t.cpu().double() for t in (matrices, start, gradient, shared, pull)]
    expected = kernels.rollout_reference(wide[0], order.cpu(), wide[1])
    for name, value in vars(expected).items():
        assert error(getattr(out, name), value) < 1e-5, name
    deltas, by_start = kernels.rollout_backward(matrices, order, out, gradient, shared, pull)
    expected_backward = kernels.rollout_backward_reference(wide[0], order.cpu(), expected, *wide[2:])
    assert error(deltas, expected_backward[0]) < 1e-5
    assert error(by_start, expected_backward[1]) < 1e-5


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(("count", "units"), [(2, 1), (130, 5), (301, 40)])
def test_pair_kernels_equal_twins(count: int, units: int, hard: bool, precision: Precision, device: str) -> None:
    check_pairs(4, count, units, precision, device, hard)


def check_pairs(
    networks: int, count: int, units: int, precision: Precision, device: str, with_hard: bool = False
) -> None:
    generator = torch.Generator().manual_seed(count)
    states = torch.nn.functional.normalize(torch.rand(networks, count, units, generator=generator), dim=-1)
    states[:, count // 2] = 0  # a dead one
    position_m = torch.rand(count, 2, generator=generator)
    near_m = torch.tensor([0.2, 0.3, 0.2, 0.0]).repeat(networks)[:networks]
    others = torch.rand(3, networks, generator=generator) + 0.2
    wide = [tensor.double() for tensor in (states, states.mean(1), position_m, near_m, *others)]
    counts = kernels.count_pairs_reference(wide[2], wide[3])
    from_m, width, weight = torch.rand(3, networks, generator=generator) + 0.3
    expected = kernels.pair_losses_reference(
        *wide, *counts, kernels.HardPairs(from_m.double(), width.double(), weight.double()) if with_hard else None
    )
    hard = kernels.HardPairs(from_m.to(device), width.to(device), weight.to(device)) if with_hard else None
    here = [tensor.to(device) for tensor in (states, states.mean(1), position_m, near_m, *others)]
    near, far = kernels.count_pairs(here[2], here[3])
    assert near.tolist() == counts[0].tolist()
    assert far.tolist() == counts[1].tolist()
    gradient, *terms = kernels.pair_losses(*here, near, far, hard=hard, precision=precision)
    assert error(gradient.sum(0), expected[0][0]) <= TOLERANCE[precision]
    for term, value in zip(terms, expected[1:], strict=True):
        assert error(term[:, None], value[:, None]) <= TOLERANCE[precision]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("shape", [(3, 5, 9, 17, 12)])
def test_population_gradients_of_kernels(shape: Any, precision: Precision, device: str) -> None:
    check_population(shape, precision, device)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize(
    "shape", [(2, 13, 31, 100, 77), (1, 33, 60, 128, 256), (2, 5, 17, 200, 33), (1, 7, 11, 512, 16)]
)
def test_population_gradients_of_kernels_at_larger_sizes(shape: Any, precision: Precision) -> None:
    check_population(shape, precision, "cuda")


def check_population(shape: tuple[int, int, int, int, int], precision: Precision, device: str) -> None:
    given = problem(*shape, seed=sum(shape), dtype=torch.float32)
    expected_grads, expected_terms = naive(*(moved(part, "cpu", torch.float64) for part in given))
    params, buffers, batch = (moved(part, device) for part in given)
    grads, terms = kernels.sic_population_gradients(
        params, buffers, batch, **STEPS_M, precision=precision, out=poisoned(params)
    )
    del terms["total"], expected_terms["total"]  # a difference of large numbers, and the sum of those checked here
    check(terms, expected_terms, TOLERANCE[precision])
    check(grads, expected_grads, TOLERANCE[precision])


@pytest.mark.gpu
def test_a_training_step_in_a_cuda_graph() -> None:
    params, buffers, batch = (moved(part, "cuda") for part in problem(2, 6, 10, 20, 16, dtype=torch.float32))
    grads, terms = kernels.sic_population_gradients(params, buffers, batch, **STEPS_M)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = kernels.sic_population_gradients(params, buffers, batch, **STEPS_M)
    graph.replay()
    for part, of in zip(captured, (grads, terms), strict=True):
        check(part, {name: value.cpu() for name, value in of.items()}, 1e-6)
