"""How fast is a training step of ssl/sic on a CUDA device, and how far is it from what the device could do?

    python -m entorhinal.benchmarks.bench_sic [--networks 1 12] [--precision bf16] [--units 128] ...

A step is all of it (batch, gradients, clipping, Adam) in one CUDA graph; inputs are new in each replay. The floor is
counted from bytes and operations, against a copy and a product measured in the same run. Reference: autograd through
the losses as written, one network, all pairs at once.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from entorhinal.ssl import kernels
from entorhinal.ssl.kernels import Precision

BUFFERS = {
    "near_m": 0.05,
    "separation_width": 0.4,
    "separation_weight": 1.0,
    "invariance_weight": 0.1,
    "capacity_weight": 0.5,
    "conformal_weight": 0.01,
}
MIN_STEP_M, MAX_STEP_M = 0.001, 0.1


def shapes_of(units: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Parameters of one network."""
    return {
        "matrix.0.weight": (hidden, 2),
        "matrix.0.bias": (hidden,),
        "matrix.2.weight": (hidden, hidden),
        "matrix.2.bias": (hidden,),
        "matrix.4.weight": (units**2, hidden),
        "matrix.4.bias": (units**2,),
        "initial": (units,),
    }


def population(
    networks: int, units: int, hidden: int, seed: int = 0
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Flat parameters ``(S, P)``, their views by name, and buffers; matrices near the identity."""
    torch.manual_seed(seed)
    shapes = shapes_of(units, hidden)
    flat = torch.empty(networks, sum(torch.Size(shape).numel() for shape in shapes.values()), device="cuda")
    params = kernels.flat_views(flat, shapes)
    for name, value in params.items():
        value.normal_(0, 0.3 * (value.shape[-1] if name.endswith("weight") else 4) ** -0.5)
    params["matrix.4.weight"].mul_(units**-0.5)
    params["matrix.4.bias"].mul_(0.1).add_(torch.eye(units, device="cuda").flatten())
    return flat, params, {name: torch.full((networks,), value, device="cuda") for name, value in BUFFERS.items()}


def new_batch(trajectories: int, steps: int) -> dict[str, Tensor]:
    velocity_m = 0.3 * torch.rand(steps, 2, device="cuda") - 0.15
    return {"velocity_m": velocity_m, "order": torch.rand(trajectories, steps, device="cuda").argsort(1)}


def captured(function: Callable[[], object]) -> Callable[[], None]:
    """The function as one CUDA graph, after three runs on the way in."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def milliseconds(function: Callable[[], object], repeats: int = 20, rounds: int = 7) -> float:
    """Median over rounds of the mean time of a call, by device events."""
    function()
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            function()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / repeats)
    return statistics.median(times)


def training_step(
    networks: int, units: int, trajectories: int, steps: int, hidden: int, precision: Precision
) -> Callable[[], None]:
    """A whole training step as one CUDA graph."""
    flat, params, buffers = population(networks, units, hidden)
    gradient, mean, square = (torch.zeros_like(flat) for _ in range(3))
    out = kernels.flat_views(gradient, shapes_of(units, hidden))
    count = torch.zeros((), device="cuda")
    lr, decay = (torch.full((networks,), value, device="cuda") for value in (1e-5, 0.0))

    def step() -> None:
        batch = new_batch(trajectories, steps)
        kernels.sic_population_gradients(
            params,
            buffers,
            batch,
            conformal_min_step_m=MIN_STEP_M,
            conformal_max_step_m=MAX_STEP_M,
            precision=precision,
            out=out,
        )
        scale = (0.1 / (kernels.gradient_norms(gradient) + 1e-6)).clamp(max=1)
        kernels.adam_step_(flat, gradient, mean, square, count, lr=lr, weight_decay=decay, gradient_scale=scale)

    return captured(step)


def naive_step(units: int, trajectories: int, steps: int, hidden: int) -> Callable[[], object]:
    """Gradients of one network by autograd through the losses as written, all M² pairs at once."""
    _, params, buffers = population(1, units, hidden)
    p = {name: value[0].clone().requires_grad_() for name, value in params.items()}
    b = {name: float(value) for name, value in buffers.items()}

    def step() -> object:
        batch = new_batch(trajectories, steps)
        velocity_m, order = batch["velocity_m"], batch["order"]
        active = torch.relu(velocity_m @ p["matrix.0.weight"].T + p["matrix.0.bias"])
        active = torch.relu(active @ p["matrix.2.weight"].T + p["matrix.2.bias"])
        matrices = (active @ p["matrix.4.weight"].T + p["matrix.4.bias"]).view(steps, units, units)
        state = torch.nn.functional.normalize(torch.relu(p["initial"]), dim=0).expand(trajectories, -1)
        states = [state]
        for used in order.T:
            state = torch.nn.functional.normalize(torch.relu(matrices[used] @ state[..., None])[..., 0], dim=-1)
            states.append(state)
        path = torch.stack(states, 1)
        g, x = path[:, 1:].flatten(0, 1), velocity_m[order].cumsum(1).flatten(0, 1)
        near, squared = torch.cdist(x, x) < b["near_m"], torch.cdist(g, g).square()
        speed_m = torch.linalg.vector_norm(velocity_m, dim=-1)[order]
        counted = (speed_m > MIN_STEP_M) & (speed_m < MAX_STEP_M)
        ratio = torch.linalg.vector_norm(path[:, 1:] - path[:, :-1], dim=-1) / speed_m
        total = (
            b["separation_weight"] * torch.exp(squared / (-2 * b["separation_width"] ** 2))[~near].mean()
            + b["invariance_weight"] * squared[near].mean()
            - b["capacity_weight"] * g.mean(0).square().sum()
            + b["conformal_weight"] * ratio[counted].var(correction=0)
        )
        return torch.autograd.grad(total, list(p.values()))

    return step


def ceilings() -> tuple[float, float]:
    """Bytes a second of a large copy, read and written, and bfloat16 operations a second of a large product."""
    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    copying = milliseconds(lambda: target.copy_(source), 5)
    square = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    multiplying = milliseconds(lambda: square @ square, 5)
    return 8 * source.numel() / copying * 1e3, 2 * 8192**3 / multiplying * 1e3


def floor_ms(
    units: int, trajectories: int, steps: int, hidden: int, bytes_per_s: float, operations_per_s: float
) -> dict[str, float]:
    """The least time for one network and step, by part: what must move or be multiplied, at the measured ceilings.

    For the recurrence that is its states and matrices. It costs more: every trajectory reads a matrix from cache at
    every step, and its steps wait for each other.
    """
    parameters = units**2 * (hidden + 1) + hidden * (hidden + 4) + units
    states = trajectories * steps
    moved_bytes = {
        "optimiser": 28 * parameters,  # four numbers read, three written
        "perceptron": 12 * parameters,  # weights read twice, gradient written
        "norm": 4 * parameters,
        "recurrence": 8 * 4 * states * units + 26 * steps * units**2,
    }
    floors = {name: moved / bytes_per_s * 1e3 for name, moved in moved_bytes.items()}
    return {**floors, "pairs": 4 * states**2 * units / operations_per_s * 1e3}


def report(
    networks: Sequence[int] = (1, 12),
    precisions: Sequence[Precision] = ("bf16", "tf32", "float32"),
    *,
    units: int = 128,
    trajectories: int = 130,
    steps: int = 60,
    hidden: int = 256,
) -> None:
    """Print the time of a step by precision and number of networks, the floor, the reference, and cost against size."""
    sizes = (units, trajectories, steps, hidden)
    bytes_per_s, operations_per_s = ceilings()
    print(torch.cuda.get_device_name(), f"{bytes_per_s / 1e12:.2f} TB/s, {operations_per_s / 1e12:.0f} TFLOP/s in bf16")
    floors = floor_ms(*sizes, bytes_per_s, operations_per_s)
    print("floor, ms:", {name: round(value, 4) for name, value in floors.items()}, f"total {sum(floors.values()):.3f}")
    print("precision  networks  ms a step  ms a network")
    for precision in precisions:
        for count in networks:
            time = milliseconds(training_step(count, *sizes, precision))
            print(f"{precision:9}  {count:8}  {time:9.3f}  {time / count:12.3f}")
            torch.cuda.empty_cache()
    reference = milliseconds(naive_step(*sizes), 2, 3)
    print(f"autograd, all pairs, float32, 1 network: {reference:.1f} ms, without optimiser")
    print(f"cost against size, {precisions[0]}:   S    N    B    T  ms a network")
    for s, n, b, t in ((4, 128, 130, 60), (24, 128, 130, 60), (4, 64, 130, 60), (4, 256, 130, 60), (4, 128, 65, 60),
                       (4, 128, 260, 60), (4, 128, 130, 30), (4, 128, 130, 120)):  # fmt: skip
        time = milliseconds(training_step(s, n, b, t, hidden, precisions[0]))
        print(f"{'':26}{s:4} {n:4} {b:4} {t:4}  {time / s:12.3f}")
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 12])
    parser.add_argument("--precision", nargs="+", default=["bf16", "tf32", "float32"])
    for name, default in (("units", 128), ("trajectories", 130), ("steps", 60), ("hidden", 256)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    report(given.pop("networks"), given.pop("precision"), **given)


if __name__ == "__main__":
    main()
